// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "router/core.h"

// Edge routers, at both ends of their uplink (section 11 of the protocol). An edge router takes no
// part in the routing protocol: to the interior router it looks like a client with many links, one
// for each address it has consumers or producers for. The interior tells it, on a tracking link,
// which of its addresses have a destination elsewhere.
//
// Shards (router.h) are edge routers of a kind: their uplink leads to their hub, they have no name
// of their own (so no downlink, no mesh), and local and topological addresses are proxied as well.
//
//   interior   accepts the downlink (all that is for _edge/<id>/…), the tracking link, the mesh
//              announcements and the proxy links
//   edge       keeps one active uplink among its edge connections and attaches those links on it

#define CAPABILITY_DOWNLINK "qd.router-edge-downlink"
#define ADDRESS_TRACKING "_$qd.edge_addr_tracking"
#define KEY_ENDS "ends" // no address: the interior router ends soon
#define ADDRESS_MESH "_$qd.mesh_discovery"

static bool is_interior_side(const struct router_conn *c)
{
    if (c->role == ROUTER_ROLE_SHARD)
        return c->is_server;
    return c->role == ROUTER_ROLE_EDGE && c->router->mode == ROUTER_INTERIOR && c->is_server;
}

static bool is_edge_side(const struct router_conn *c)
{
    if (c->role == ROUTER_ROLE_SHARD)
        return !c->is_server;
    return c->role == ROUTER_ROLE_EDGE && c->router->mode == ROUTER_EDGE && !c->is_server;
}

// Addresses that an edge router, or a shard, has links of its own for.
static bool is_proxied(const struct address *a, bool by_shard)
{
    char class = a->key.ptr[0];

    return class == 'M' || (by_shard && (class == 'L' || class == 'T'));
}

// So long an older uplink goes on beside the newer one.
enum { HANDOVER_MS = 1000 };

enum { TOLD_NOTHING, TOLD_NEAR, TOLD_FAR };

static void all_changed(struct router *r)
{
    struct str key;
    void *value;
    size_t at = 0;

    while (map_next(&r->addresses, &at, &key, &value))
        address_changed(r, value);
}

// -------------------------------------------------------------------------------------- interior

static void accept_downlink(struct router_conn *c, struct amqp_link *al)
{
    struct router_link *l = link_new(c, al, LINK_ENDPOINT, true);
    char key[ADDRESS_MAX + 64];
    struct address *a = NULL;

    snprintf(key, sizeof(key), "H%.*s", STR_ARG(amqp_link_source(al)->address));
    a = address_obtain_key(c->router, str_of(key));
    l->is_attached = l->is_router = l->is_proxy = true;
    amqp_link_accept(al, STR_NONE, l->capacity);
    if (a)
        address_add_consumer(a, l);
}

static void accept_tracking(struct router_conn *c, struct amqp_link *al)
{
    struct router_link *l = link_new(c, al, LINK_TRACKING, true);

    l->is_attached = l->is_router = true;
    amqp_link_accept(al, STR_NONE, l->capacity);
    c->tracking = l;
    list_for_each (node, &c->links) {
        struct router_link *producer = list_entry(node, struct router_link, on_conn);

        if (!producer->address || producer->is_out)
            continue;
        producer->told = TOLD_NOTHING;
        address_changed(c->router, producer->address);
    }
}

static void accept_mesh(struct router_conn *c, struct amqp_link *al)
{
    struct router_link *l = link_new(c, al, LINK_MESH, false);

    l->is_attached = l->is_router = true;
    l->capacity = 3;
    amqp_link_accept(al, STR_NONE, l->capacity);
    link_refill(l);
}

bool edge_attach(struct router_conn *c, struct amqp_link *al)
{
    bool is_out = amqp_link_role(al) == AMQP_SENDER;
    struct str source = amqp_link_source(al)->address, target = amqp_link_target(al)->address;

    if (!is_interior_side(c))
        return false;
    if (is_out && amqp_terminus_has(amqp_link_source(al), CAPABILITY_DOWNLINK))
        accept_downlink(c, al);
    else if (is_out && str_is(source, ADDRESS_TRACKING))
        accept_tracking(c, al);
    else if (!is_out && str_is(target, ADDRESS_MESH))
        accept_mesh(c, al);
    else
        return false;
    return true;
}

// The mesh id of an edge router: application-properties {:meshid: "…"}, no body.
void edge_mesh(struct router_link *l, struct str bytes)
{
    struct router_conn *c = l->conn;
    struct amqp_msg msg;
    struct amqp_val *map = NULL;
    struct amqp_reader at;
    struct str id;

    if (amqp_msg_scan(bytes, true, AMQP_SCAN_BODY, &msg) < 0 || msg.app_properties.len == 0)
        return;
    at = amqp_reader_of(msg.app_properties);
    if (amqp_val_read(&at, 100, &map) < 0)
        return;
    id = amqp_val_str(amqp_val_get(map, "meshid"));
    if (id.ptr && id.len == RNG_ID_LEN && !str_is(id, c->mesh)) {
        snprintf(c->mesh, sizeof(c->mesh), "%.*s", STR_ARG(id));
        all_changed(c->router); // who is elsewhere, seen from its mesh
    }
    amqp_val_free(map);
}

static bool is_same_mesh(const struct router_conn *a, const struct router_conn *b)
{
    return a == b || (a->mesh[0] && strcmp(a->mesh, b->mesh) == 0);
}

// Is there a destination other than this edge router, or one of its mesh?
static bool is_elsewhere(const struct address *a, const struct router_conn *edge)
{
    if (a->remote_count > 0 || a->inside || a->all_nodes)
        return true;
    list_for_each (node, &a->consumers) {
        const struct router_link *l = list_entry(node, struct router_link, on_address);

        if (!is_same_mesh(l->conn, edge))
            return true;
    }
    return false;
}

// Is every such destination at another router?
static bool is_far(const struct address *a, const struct router_conn *shard)
{
    if (a->inside)
        return false;
    list_for_each (node, &a->consumers) {
        const struct router_link *l = list_entry(node, struct router_link, on_address);

        if (l->conn != shard && !l->is_proxy)
            return false;
    }
    return true;
}

// A shard also hears how far they are and the treatment that the network gave the address; `a` is
// NULL for others.
static void put_tracking(struct amqp_writer *w, struct str key, uint8_t told,
                         const struct address *a)
{
    struct amqp_mark mark;

    amqp_put_descriptor(w, AMQP_SECTION_HEADER);
    mark = amqp_begin_list(w, true);
    amqp_put_bool(w, false);
    amqp_end(w, mark, 1);
    amqp_put_descriptor(w, AMQP_SECTION_VALUE);
    mark = amqp_begin_list(w, true);
    amqp_put_string(w, key);
    amqp_put_bool(w, told != TOLD_NOTHING);
    if (a) {
        amqp_put_bool(w, told == TOLD_FAR);
        amqp_put_int(w, (int32_t)a->treatment);
    }
    amqp_end(w, mark, a ? 4 : 2);
}

static void send_tracking(struct router *r, struct router_link *tracking, struct str key,
                          uint8_t told, const struct address *a)
{
    struct amqp_writer w;
    struct arrival arrival = {.is_complete = true};

    amqp_writer_init(&w);
    put_tracking(&w, key, told, a);
    arrival.bytes = amqp_written(&w);
    forward_to_link(r, &arrival, tracking);
    amqp_writer_fini(&w);
}

static void track(struct router *r, struct address *a, struct router_link *producer)
{
    const struct router_conn *c = producer->conn;
    bool is_shard = c->role == ROUTER_ROLE_SHARD;
    uint8_t told = TOLD_NOTHING;

    if (!is_interior_side(c) || !c->tracking || !is_proxied(a, is_shard))
        return;
    if (is_elsewhere(a, c))
        told = is_shard && is_far(a, c) ? TOLD_FAR : TOLD_NEAR;
    if (told == producer->told)
        return;
    producer->told = told;
    send_tracking(r, c->tracking, a->key, told, is_shard ? a : NULL);
}

void edge_end_soon(struct router *r)
{
    list_for_each (node, &r->conns) {
        const struct router_conn *c = list_entry(node, struct router_conn, on_router);

        if (c->role == ROUTER_ROLE_EDGE && is_interior_side(c) && c->is_ours && c->tracking)
            send_tracking(r, c->tracking, STR(KEY_ENDS), TOLD_NEAR, NULL);
    }
}

// An address changed: every edge router that sends to it hears whether somebody is there.
void edge_address_changed(struct router *r, struct address *a)
{
    if (r->mode != ROUTER_INTERIOR && r->shard_count == 0)
        return;
    list_for_each (node, &a->producers)
        track(r, a, list_entry(node, struct router_link, on_address));
}

// ------------------------------------------------------------------------------------------ edge

static struct router_link *open_link(struct router_conn *c, enum link_kind kind, bool is_out,
                                     struct str address, const char *capability, uint32_t credit)
{
    char name[32], id[RNG_ID_LEN + 1];
    struct amqp_attach attach = {
        .name = name,
        .role = is_out ? AMQP_SENDER : AMQP_RECEIVER,
        .snd_settle_mode = 2,
        .capacity = credit,
    };
    struct amqp_terminus *t = is_out ? &attach.target : &attach.source;
    struct router_link *l = NULL;

    rng_id(&c->router->rng, id);
    snprintf(name, sizeof(name), "qdlink.%s", id);
    t->address = address;
    if (capability) {
        t->capabilities[0] = str_of(capability);
        t->capability_count = 1;
    }
    l = link_open(c, conn_endpoint_session(c), kind, is_out, &attach);
    if (!l)
        return NULL;
    l->is_router = true;
    l->capacity = credit;
    if (!is_out)
        link_refill(l);
    return l;
}

static void announce_mesh(struct router_conn *c)
{
    struct router *r = c->router;
    struct router_link *l = open_link(c, LINK_TRACKING, true, STR(ADDRESS_MESH), NULL, 0);
    struct arrival a = {.is_complete = true};
    struct amqp_writer w;
    struct amqp_mark mark;

    if (!l)
        return;
    amqp_writer_init(&w);
    amqp_put_descriptor(&w, AMQP_SECTION_APPLICATION_PROPERTIES);
    mark = amqp_begin_map(&w, true);
    amqp_put_symbol(&w, STR("meshid"));
    amqp_put_string(&w, str_of(r->mesh));
    amqp_end(&w, mark, 2);
    a.bytes = amqp_written(&w);
    forward_to_link(r, &a, l);
    amqp_writer_fini(&w);
}

// The address as the other side reads it.
static struct str proxy_text(const struct address *a, char *out, size_t size)
{
    const char *front = a->key.ptr[0] == 'L'   ? "_local/"
                        : a->key.ptr[0] == 'T' ? "_topo/0/all/"
                                               : "";

    snprintf(out, size, "%s%s", front, a->key.ptr + 1);
    return str_of(out);
}

// Local consumers make the edge a consumer of the interior, local producers a producer.
static void proxy(struct router *r, struct address *a)
{
    bool consumes = a->consumer_count > a->proxy_count || a->inside;
    bool produces = a->producer_count > 0;
    char full[ADDRESS_MAX + 64];
    struct str text = proxy_text(a, full, sizeof(full));

    if (consumes && !a->proxy_in) {
        a->proxy_in = open_link(r->uplink, LINK_PROXY_IN, false, text, NULL, LINK_CAPACITY);
        stream_tell_announced(a);
    } else if (!consumes && a->proxy_in) {
        link_close(a->proxy_in, NULL, NULL);
    }
    if (produces && !a->proxy_out) {
        a->proxy_out = open_link(r->uplink, LINK_PROXY_OUT, true, text, NULL, 0);
        if (a->proxy_out)
            a->proxy_out->proxied = a;
    } else if (!produces && a->proxy_out) {
        link_close(a->proxy_out, NULL, NULL);
    }
    if (a->proxy_in)
        a->proxy_in->proxied = a;
}

void edge_proxy_changed(struct router *r, struct address *a)
{
    if (r->uplink && is_proxied(a, r->mode == ROUTER_SHARD) && !a->is_pinned)
        proxy(r, a);
}

static void activate(struct router_conn *c)
{
    struct router *r = c->router;
    struct address *up = address_obtain_key(r, STR("Up"));
    struct router_link *l = NULL;

    r->uplink = c;
    l = open_link(c, LINK_UPLINK, true, STR_NONE, NULL, 0);
    if (l && up)
        address_add_consumer(up, l);
    c->tracking = open_link(c, LINK_TRACKING, false, STR(ADDRESS_TRACKING), NULL, 32);
    if (c->role != ROUTER_ROLE_SHARD) {
        open_link(c, LINK_DOWNLINK, false, str_of(r->id), CAPABILITY_DOWNLINK, LINK_CAPACITY);
        announce_mesh(c);
    }
    all_changed(r);
}

static bool is_newer(const struct router_conn *a, const struct router_conn *b)
{
    return a->name && b->name && strcmp(a->name, b->name) == 0 &&
           (a->tls_ordinal > b->tls_ordinal || (b->is_ending && !a->is_ending));
}

// Nothing more comes down on it.
static void drain(struct router_conn *c)
{
    list_for_each (node, &c->links) {
        struct router_link *l = list_entry(node, struct router_link, on_conn);

        if (l->kind == LINK_PROXY_IN || l->kind == LINK_DOWNLINK) {
            l->is_leaving = true;
            amqp_link_drain(l->amqp);
        }
    }
    c->is_drained = true;
    conn_mark(c);
}

// The same connector has come up with a newer certificate, or at another router than one that ends.
// What comes down comes on the new connection from now on (in the latter case also on the old one
// for a moment: other routers have yet to hear that this one is reached by the new one); what goes
// up does, for each address, once the interior has told there that somebody is elsewhere. What is
// under way goes to its end on the old one.
static void take_over(struct router_conn *c)
{
    struct router *r = c->router;
    struct router_conn *old = r->uplink;

    list_for_each (node, &old->links) {
        struct router_link *l = list_entry(node, struct router_link, on_conn);

        edge_link_down(l);
        l->proxied = NULL;
    }
    if (!old->is_ending)
        drain(old);
    once_begin(r);
    old->leaves_at = mono_add_ms(r->now, HANDOVER_MS);
    r->scrub_at = mono_min(r->scrub_at, old->leaves_at);
    activate(c);
}

// Some interiors would go on choosing it, and hold what they cannot send.
void edge_drained(struct router_link *l)
{
    if (amqp_link_credit(l->amqp) == 0 && list_empty(&l->deliveries))
        link_close(l, NULL, NULL);
}

bool edge_retire(struct router *r)
{
    bool any = false;

    list_for_each (on_router, &r->conns) {
        struct router_conn *c = list_entry(on_router, struct router_conn, on_router);

        if (c->leaves_at.ns == 0 || c->is_retired || c == r->uplink)
            continue;
        if (mono_before(r->now, c->leaves_at)) {
            any = true;
            continue;
        }
        if (!c->is_drained) {
            drain(c);
            c->leaves_at = mono_add_ms(r->now, HANDOVER_MS);
            any = true;
            continue;
        }
        c->is_retired = true;
        list_for_each (on_conn, &c->links) {
            struct router_link *l = list_entry(on_conn, struct router_link, on_conn);

            if (l->is_out)
                address_remove_link(r, l);
        }
    }
    return any;
}

void edge_opened(struct router_conn *c)
{
    if (is_edge_side(c) && !c->router->uplink)
        activate(c);
    else if (is_edge_side(c) && is_newer(c, c->router->uplink))
        take_over(c);
    else if (c->role == ROUTER_ROLE_EDGE && !is_edge_side(c) && !is_interior_side(c))
        router_conn_drop(c,
                         "role edge joins an edge router's connector with an interior's listener");
}

// Every address has its links up: what the interior has to say of them is on its way, or here.
bool edge_is_joined(const struct router_conn *c)
{
    const struct router *r = c->router;
    struct str key;
    void *value;
    size_t at = 0;

    if (!is_edge_side(c) || !c->is_open || !r->uplink)
        return false;
    if (r->uplink != c)
        return true; // it stands by
    while (map_next(&r->addresses, &at, &key, &value)) {
        const struct address *a = value;

        if (a->proxy_out && !a->proxy_out->is_attached)
            return false;
    }
    return c->tracking && c->tracking->is_attached;
}

// Another older uplink than `c`.
static bool has_former(const struct router *r, const struct router_conn *c)
{
    list_for_each (node, &r->conns) {
        const struct router_conn *other = list_entry(node, struct router_conn, on_router);

        if (other != c && other->leaves_at.ns != 0)
            return true;
    }
    return false;
}

// The active uplink is gone: another one that is open takes over.
void edge_conn_lost(struct router_conn *c)
{
    struct router *r = c->router;

    c->tracking = NULL;
    if (c->leaves_at.ns != 0 && !has_former(r, c))
        once_end(r);
    if (r->uplink != c)
        return;
    r->uplink = NULL;
    list_for_each (node, &r->conns) {
        struct router_conn *other = list_entry(node, struct router_conn, on_router);

        if (other != c && is_edge_side(other) && other->is_open && !other->is_closed &&
            !other->is_retired) {
            activate(other);
            return;
        }
    }
}

void edge_link_down(struct router_link *l)
{
    if (l->conn->tracking == l)
        l->conn->tracking = NULL;
    if (l->proxied && l->proxied->proxy_in == l)
        l->proxied->proxy_in = NULL;
    if (l->proxied && l->proxied->proxy_out == l)
        l->proxied->proxy_out = NULL;
}

// What only a hub tells its shard: how far, and the treatment.
static void tracked_by_hub(struct router *r, struct address *a, const struct amqp_val *body)
{
    const struct amqp_val *far = amqp_val_at(body, 2), *treatment = amqp_val_at(body, 3);

    a->proxy_out->is_far = far && far->type == AMQP_BOOL && far->b;
    if (treatment && treatment->type == AMQP_INT && !rule_for(r, str_skip(a->key, 1)))
        a->treatment = (enum router_treatment)treatment->i;
}

// Of an older uplink.
static void drop_former(struct router *r, struct address *a)
{
    list_for_each (node, &a->consumers) {
        struct router_link *l = list_entry(node, struct router_link, on_address);

        if (l->kind == LINK_PROXY_OUT && l != a->proxy_out)
            address_remove_link(r, l);
    }
}

static void tracked(struct router *r, const struct amqp_val *body)
{
    struct address *a = address_find_key(r, amqp_val_str(amqp_val_at(body, 0)));
    const struct amqp_val *flag = amqp_val_at(body, 1);

    if (!a || !a->proxy_out || !flag || flag->type != AMQP_BOOL)
        return;
    a->proxy_out->is_far = true; // farther than anybody here
    if (r->mode == ROUTER_SHARD)
        tracked_by_hub(r, a, body);
    drop_former(r, a);
    if (flag->b && !a->proxy_out->address) {
        a->proxy_out->is_proxy = true;
        address_add_consumer(a, a->proxy_out);
        if (r->mode == ROUTER_EDGE)
            network_tell_reach(r, a);
    } else if (!flag->b && a->proxy_out->address) {
        address_remove_link(r, a->proxy_out);
    }
}

// "M<address>" and whether somebody is there: the proxy towards the interior becomes, or stops
// being, a consumer of that address here. Or that the interior router ends.
void edge_tracked(struct router_link *l, struct str bytes)
{
    struct router *r = l->conn->router;
    struct amqp_msg msg;
    struct amqp_val *body = NULL;
    struct amqp_reader at;
    struct amqp_item section, value;
    uint64_t code;

    if (l->conn != r->uplink)
        return;
    if (amqp_msg_scan(bytes, true, AMQP_SCAN_BODY, &msg) < 0 || msg.body_at >= bytes.len)
        return;
    at = amqp_reader_of(str_skip(bytes, msg.body_at));
    if (amqp_read(&at, &section) < 0 || amqp_open_described(&section, &code, &value) < 0)
        return;
    at = amqp_reader_of(value.whole);
    if (amqp_val_read(&at, 100, &body) < 0)
        return;
    if (l->conn->is_ours && str_is(amqp_val_str(amqp_val_at(body, 0)), KEY_ENDS))
        conn_ends(l->conn);
    else
        tracked(r, body);
    amqp_val_free(body);
}
