// SPDX-License-Identifier: Apache-2.0
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "router/core.h"

// Neighbours: which of a connection's links carry routing control, which messages, which streams;
// and the glue between the routing engine and the address table. Sections 2 to 4 of the protocol.

// Streaming links that nobody has used for this long are closed; beyond STREAM_LINKS_KEPT of one
// connection, at once.
enum { STREAM_LINK_IDLE_MS = 30000, SCRUB_MS = 10000, RETIRED_LOOK_MS = 1000 };

#define CAPABILITY_CONTROL "qd.router"
#define CAPABILITY_DATA "qd.router-data"

static void link_name(struct router *r, char out[32])
{
    char id[RNG_ID_LEN + 1];

    rng_id(&r->rng, id);
    snprintf(out, 32, "qdlink.%s", id);
}

static struct router_link *open_link(struct router_conn *c, struct amqp_session *s,
                                     enum link_kind kind, bool is_out, const char *capability)
{
    char name[32];
    struct amqp_attach attach = {
        .name = name,
        .role = is_out ? AMQP_SENDER : AMQP_RECEIVER,
        .snd_settle_mode = 2,
        .capacity = c->link_capacity,
    };
    struct router_link *l = NULL;

    link_name(c->router, name);
    if (capability) {
        attach.source.capabilities[0] = attach.target.capabilities[0] = str_of(capability);
        attach.source.capability_count = attach.target.capability_count = 1;
    }
    l = link_open(c, s, kind, is_out, &attach);
    if (!l)
        return NULL;
    l->is_router = true;
    if (!is_out)
        link_refill(l);
    return l;
}

// ------------------------------------------------------------------------------------ neighbours

static struct neighbour *neighbour_new(struct router_conn *c)
{
    struct router *r = c->router;
    struct neighbour *n = NULL;
    uint32_t number = 0;

    while (number < NEIGHBOUR_MAX && r->neighbours[number])
        number++;
    if (number == NEIGHBOUR_MAX)
        return NULL;
    n = xcalloc(1, sizeof(*n));
    n->number = number;
    n->conn = c;
    n->is_ours = c->is_ours;
    n->used_since = MONO_NEVER;
    list_init(&n->data_conns);
    r->neighbours[number] = n;
    if (number >= r->neighbour_count)
        r->neighbour_count = number + 1;
    return n;
}

static void neighbour_free(struct router *r, struct neighbour *n)
{
    struct list *node;

    while ((node = list_pop(&n->data_conns)) != NULL) {
        struct router_conn *c = list_entry(node, struct router_conn, on_group);

        c->neighbour = NULL;
        list_append(&r->data_conns, &c->on_group);
    }
    r->neighbours[n->number] = NULL;
    while (r->neighbour_count > 0 && !r->neighbours[r->neighbour_count - 1])
        r->neighbour_count--;
    free(n);
}

static bool same_group(const struct router_conn *a, const struct router_conn *b)
{
    return a->correlator[0] && strcmp(a->correlator, b->correlator) == 0 &&
           a->ordinal == b->ordinal;
}

static void join_group(struct router_conn *data, struct neighbour *n)
{
    list_remove(&data->on_group);
    list_append(&n->data_conns, &data->on_group);
    data->neighbour = n;
}

static void opened_data(struct router_conn *c)
{
    struct router *r = c->router;

    list_append(&r->data_conns, &c->on_group);
    for (uint32_t i = 0; i < r->neighbour_count; i++)
        if (r->neighbours[i] && same_group(c, r->neighbours[i]->conn))
            join_group(c, r->neighbours[i]);
}

// A second control connection of a group that is up already: the newer generation of certificates
// takes over, an older or equal one is not wanted.
static bool is_superseded(struct router_conn *c)
{
    struct router *r = c->router;

    for (uint32_t i = 0; i < r->neighbour_count; i++) {
        struct neighbour *n = r->neighbours[i];

        if (n && n->conn != c && !n->conn->is_retired && c->correlator[0] &&
            strcmp(n->conn->correlator, c->correlator) == 0 && c->ordinal <= n->conn->ordinal)
            return true;
    }
    return false;
}

static void opened_control(struct router_conn *c)
{
    struct router *r = c->router;
    struct neighbour *n = is_superseded(c) ? NULL : neighbour_new(c);

    if (!n) {
        router_conn_drop(c, is_superseded(c)
                                ? "a connection of this group with the same or a newer "
                                  "ordinal is up"
                                : "too many neighbours");
        return;
    }
    c->neighbour = n;
    list_for_each (node, &r->data_conns) {
        struct router_conn *data = list_entry(node, struct router_conn, on_group);

        if (same_group(data, c))
            join_group(data, n);
    }
    if (c->is_server)
        return;
    n->control_in = open_link(c, conn_endpoint_session(c), LINK_CONTROL, false, CAPABILITY_CONTROL);
    n->control_out = open_link(c, conn_endpoint_session(c), LINK_CONTROL, true, CAPABILITY_CONTROL);
    for (int p = 0; p < PRIORITY_COUNT; p++) {
        struct amqp_session *s = amqp_session_begin(c->amqp, c->window);
        struct router_link *in = open_link(c, s, LINK_DATA, false, CAPABILITY_DATA);
        struct router_link *out = open_link(c, s, LINK_DATA, true, CAPABILITY_DATA);

        if (in)
            in->priority = (uint8_t)p;
        if (out)
            out->priority = (uint8_t)p;
        n->data_out[p] = out;
    }
    n->data_in_count = n->data_out_count = PRIORITY_COUNT;
}

void network_opened(struct router_conn *c)
{
    if (c->role == ROUTER_ROLE_INTER_ROUTER && c->router->routing)
        opened_control(c);
    else if (c->role == ROUTER_ROLE_INTER_ROUTER_DATA && c->router->routing)
        opened_data(c);
    else if (c->role == ROUTER_ROLE_INTER_ROUTER || c->role == ROUTER_ROLE_INTER_ROUTER_DATA)
        router_conn_drop(
            c, "this router is not in mode interior: it takes no inter-router connections");
}

// An older generation of the group, or the way to a router that ends: its control links go, what is
// under way on it goes to its end, and then the connection is closed. Only the side that dialled
// does this.
static void retire(struct neighbour *n)
{
    n->conn->is_retired = true;
    list_for_each (node, &n->data_conns)
        list_entry(node, struct router_conn, on_group)->is_retired = true;
    if (n->control_out)
        link_close(n->control_out, NULL, NULL);
    if (n->control_in)
        link_close(n->control_in, NULL, NULL);
}

static bool is_newer(const struct router_conn *a, const struct router_conn *b)
{
    return !a->is_server && a->correlator[0] && strcmp(a->correlator, b->correlator) == 0 &&
           a->ordinal > b->ordinal;
}

// The same connector has come to another router instead of one that ends.
static bool is_instead(const struct router_conn *a, const struct router_conn *b)
{
    return !a->is_server && !b->is_server && !a->is_ending && b->is_ending && a->name && b->name &&
           strcmp(a->name, b->name) == 0;
}

// True when the neighbour has an older generation beside it. That goes a moment after both ends
// have begun to use the newer one: the two do not hear of it on the same connection.
static bool retire_older(const struct neighbour *n)
{
    struct router *r = n->conn->router;
    bool any = false;

    for (uint32_t i = 0; i < r->neighbour_count; i++) {
        struct neighbour *old = r->neighbours[i];

        if (!old || old->conn->is_retired ||
            !(is_newer(n->conn, old->conn) || is_instead(n->conn, old->conn)))
            continue;
        any = true;
        if (!mono_before(r->now, mono_add_ms(n->used_since, RETIRED_LOOK_MS)))
            retire(old);
    }
    return any;
}

static void check_up(struct neighbour *n)
{
    struct router *r = n->conn->router;

    if (n->is_up || !n->control_in || !n->control_out || !n->control_in->is_attached ||
        !n->control_out->is_attached)
        return;
    n->is_up = true;
    routing_link_up(r->routing, n->number, n->conn->cost, n->is_ours, r->now);
}

static void neighbour_down(struct neighbour *n)
{
    struct router *r = n->conn->router;

    if (!n->is_up)
        return;
    n->is_up = false;
    routing_link_down(r->routing, n->number, r->now);
}

bool network_is_joined(const struct router_conn *c)
{
    const struct routing *rt = c->router->routing;

    return c->neighbour && c->neighbour->conn == c && c->neighbour->is_up &&
           routing_is_adjacent(rt, c->neighbour->number) && routing_is_complete(rt);
}

// ----------------------------------------------------------------------------------------- links

static bool has_capability(struct amqp_link *al, const char *capability)
{
    return amqp_terminus_has(amqp_link_source(al), capability) ||
           amqp_terminus_has(amqp_link_target(al), capability);
}

static struct router_link *accept_link(struct router_conn *c, struct amqp_link *al,
                                       enum link_kind kind)
{
    struct router_link *l = link_new(c, al, kind, amqp_link_role(al) == AMQP_SENDER);

    l->is_attached = true;
    l->is_router = true;
    amqp_link_accept(al, STR_NONE, l->capacity);
    if (kind == LINK_STREAM)
        amqp_link_forget_termini(al); // there are many of these
    link_refill(l);
    return l;
}

static void accept_control(struct router_conn *c, struct amqp_link *al)
{
    struct neighbour *n = c->neighbour;
    bool is_out = amqp_link_role(al) == AMQP_SENDER;
    struct router_link **slot = is_out ? &n->control_out : &n->control_in;

    if (*slot) {
        amqp_link_refuse(al, "amqp:not-allowed", "there is a control link in this direction");
        return;
    }
    *slot = accept_link(c, al, LINK_CONTROL);
    check_up(n);
}

// The first ten in each direction carry the priorities, in the order of their attach; what comes
// after them carries streams.
static void accept_data(struct router_conn *c, struct amqp_link *al)
{
    struct neighbour *n = c->neighbour;
    bool is_out = amqp_link_role(al) == AMQP_SENDER;
    uint8_t *count = is_out ? &n->data_out_count : &n->data_in_count;
    struct router_link *l = accept_link(c, al, *count < PRIORITY_COUNT ? LINK_DATA : LINK_STREAM);

    if (l->kind == LINK_STREAM)
        return;
    l->priority = (*count)++;
    if (is_out)
        n->data_out[l->priority] = l;
}

bool network_attach(struct router_conn *c, struct amqp_link *al)
{
    bool is_control = has_capability(al, CAPABILITY_CONTROL);
    bool is_data = has_capability(al, CAPABILITY_DATA);

    if (c->role == ROUTER_ROLE_INTER_ROUTER && c->neighbour && is_control) {
        accept_control(c, al);
    } else if (c->role == ROUTER_ROLE_INTER_ROUTER && c->neighbour && is_data) {
        accept_data(c, al);
    } else if (c->role == ROUTER_ROLE_INTER_ROUTER_DATA && !is_control) {
        accept_link(c, al, LINK_STREAM);
    } else if (is_control || is_data) {
        amqp_link_refuse(al, "qd:forbidden", "router links belong on inter-router connections");
    } else if (c->role == ROUTER_ROLE_INTER_ROUTER) {
        amqp_link_refuse(al, "qd:connection-role",
                         "this port is for routers; attach on one with role normal");
    } else {
        return false;
    }
    return true;
}

void network_link_up(struct router_link *l)
{
    if (l->kind == LINK_CONTROL && l->conn->neighbour)
        check_up(l->conn->neighbour);
    if (l->kind == LINK_STREAM)
        amqp_link_forget_termini(l->amqp);
}

void network_link_down(struct router_link *l)
{
    struct neighbour *n = l->conn->neighbour;

    if (l->kind == LINK_STREAM && !list_empty(&l->on_idle)) {
        list_remove(&l->on_idle);
        l->conn->idle_stream_count--;
    }
    if (!n)
        return;
    if (l == n->control_in)
        n->control_in = NULL;
    else if (l == n->control_out)
        n->control_out = NULL;
    if (l->kind == LINK_CONTROL)
        neighbour_down(n);
    if (l->kind == LINK_DATA && l->is_out && n->data_out[l->priority] == l)
        n->data_out[l->priority] = NULL;
}

void network_conn_lost(struct router_conn *c)
{
    struct neighbour *n = c->neighbour;

    c->neighbour = NULL;
    list_remove(&c->on_group);
    if (n && n->conn == c) {
        neighbour_down(n);
        neighbour_free(c->router, n);
    }
}

// --------------------------------------------------------------------------------------- streams

// A stream that stands still must hold up nobody else. Its session's window is what holds it, so it
// has a session of its own. One that is never held, as its sender watches a window of its own,
// shares a session with others of the kind where the peer knows that too: half of what an idle TCP
// connection took were sessions.
static struct router_link *open_stream(struct router_conn *c, bool is_shared)
{
    struct amqp_session *s = is_shared ? c->shared_session : NULL;
    struct router_link *l;

    if (s && amqp_session_is_ended(s)) {
        amqp_session_end(s);
        s = NULL;
    }
    if (!s || c->shared_count >= STREAMS_SHARE) {
        s = amqp_session_begin(c->amqp, c->window);
        if (is_shared) {
            c->shared_session = s;
            c->shared_count = 0;
        }
    }
    l = open_link(c, s, LINK_STREAM, true,
                  c->role == ROUTER_ROLE_INTER_ROUTER ? CAPABILITY_DATA : NULL);
    if (l) {
        l->is_shared = is_shared;
        c->shared_count += is_shared;
    }
    return l;
}

// A free streaming link, or a new one. NULL when the peer does not take them or there are too many.
struct router_link *network_conn_stream_link(struct router_conn *c, bool no_hold)
{
    bool is_shared = no_hold && c->is_ours;
    struct list *node = c->idle_streams[is_shared].prev;

    if (node != &c->idle_streams[is_shared]) {
        list_remove(node);
        c->idle_stream_count--;
        return list_entry(node, struct router_link, on_idle);
    }
    return c->takes_streams ? open_stream(c, is_shared) : NULL;
}

// On the data connections of the group in turn, and where those have no session left, on the first
// connection.
struct router_link *network_stream_link(struct neighbour *n, bool no_hold)
{
    struct list tried, *node;
    struct router_link *l = NULL;

    list_init(&tried);
    while (!l && n->conn->trunks && (node = list_pop(&n->data_conns)) != NULL) {
        list_append(&tried, node);
        l = network_conn_stream_link(list_entry(node, struct router_conn, on_group), no_hold);
    }
    while ((node = list_pop(&tried)) != NULL)
        list_append(&n->data_conns, node);
    return l ? l : network_conn_stream_link(n->conn, no_hold);
}

void network_stream_done(struct router_link *l)
{
    struct router_conn *c = l->conn;

    if (!l->amqp || !list_empty(&l->on_idle) || l->queue_count > 0 || c->is_closed)
        return;
    l->idle_since = c->router->now;
    list_append(&c->idle_streams[l->is_shared], &l->on_idle);
    c->idle_stream_count++;
    network_stream_unused(l);
    c->router->scrub_at = mono_min(c->router->scrub_at, mono_add_ms(c->router->now, SCRUB_MS));
}

// Nothing of it is unsettled any more: if there are many like it, it can go.
void network_stream_unused(struct router_link *l)
{
    struct router_conn *c = l->conn;

    if (c->idle_stream_count > STREAM_LINKS_KEPT && l->sent_count == 0 &&
        list_empty(&c->on_surplus))
        list_append(&c->router->surplus, &c->on_surplus);
}

// Its session ends with the last link on it.
static void close_stream(struct router_link *l)
{
    struct amqp_session *s = amqp_link_session(l->amqp);
    struct router_conn *c = l->conn;

    link_close(l, NULL, NULL);
    if (amqp_session_has_links(s))
        return;
    if (c->shared_session == s)
        c->shared_session = NULL;
    amqp_session_end(s);
}

// Closes what is idle and settled of one list, the longest idle first: until few enough are left,
// or, to scrub, those that have been idle for long.
static void close_streams(struct router_conn *c, const struct list *idle, bool is_scrub)
{
    list_for_each (node, idle) {
        struct router_link *l = list_entry(node, struct router_link, on_idle);

        if (is_scrub ? mono_before(c->router->now, mono_add_ms(l->idle_since, STREAM_LINK_IDLE_MS))
                     : c->idle_stream_count <= STREAM_LINKS_KEPT)
            return;
        if (l->sent_count == 0)
            close_stream(l);
    }
}

static void trim_streams(struct router_conn *c)
{
    close_streams(c, &c->idle_streams[0], false);
    close_streams(c, &c->idle_streams[1], false);
}

static void scrub_streams(struct router_conn *c)
{
    close_streams(c, &c->idle_streams[0], true);
    close_streams(c, &c->idle_streams[1], true);
}

static bool is_idle(const struct router_conn *c)
{
    list_for_each (node, &c->links) {
        const struct router_link *l = list_entry(node, struct router_link, on_conn);

        if (l->is_out ? l->sent_count > 0 || l->queue_count > 0 : !list_empty(&l->deliveries))
            return false;
    }
    return true;
}

// True when it has still something to do.
static bool finish_retired(struct router_conn *c)
{
    if (!c->is_retired || c->is_closed)
        return false;
    if (!is_idle(c))
        return true;
    c->is_retired = false;
    amqp_conn_close(c->amqp, NULL, NULL);
    conn_mark(c);
    return false;
}

void network_tick(struct router *r)
{
    bool any = false, is_waiting = false;

    if (mono_before(r->now, r->scrub_at))
        return;
    for (uint32_t i = 0; i < r->neighbour_count; i++)
        if (r->neighbours[i])
            is_waiting = retire_older(r->neighbours[i]) || is_waiting;
    is_waiting = edge_retire(r) || is_waiting;
    list_for_each (node, &r->conns) {
        struct router_conn *c = list_entry(node, struct router_conn, on_router);

        scrub_streams(c);
        is_waiting = finish_retired(c) || is_waiting;
        any = any || c->idle_stream_count > 0;
    }
    r->scrub_at = is_waiting ? mono_add_ms(r->now, RETIRED_LOOK_MS)
                  : any      ? mono_add_ms(r->now, SCRUB_MS)
                             : MONO_NEVER;
}

// Done when no delivery is being looked at, as it ends links.
void network_trim_streams(struct router *r)
{
    struct list *node;

    while ((node = list_pop(&r->surplus)) != NULL)
        trim_streams(list_entry(node, struct router_conn, on_surplus));
}

// --------------------------------------------------------------------------------- routing engine

void network_alive(struct router_conn *c)
{
    if (c->neighbour && c->neighbour->is_up)
        routing_link_alive(c->router->routing, c->neighbour->number, c->router->now);
}

void network_control(struct router_link *l, struct str bytes)
{
    struct neighbour *n = l->conn->neighbour;

    if (n && n->is_up)
        routing_receive(l->conn->router->routing, n->number, bytes, l->conn->router->now);
}

void network_publish(struct router *r, struct address *a)
{
    bool is_here = a->consumer_count > 0 || (a->inside && !a->is_pinned);
    bool is_own = is_here && (a->key.ptr[0] == 'M' || a->key.ptr[0] == 'H');

    if (!r->routing || is_own == a->is_published)
        return;
    a->is_published = is_own;
    if (is_own)
        routing_address_add(r->routing, a->key, (int)a->treatment, a->producer_count, STR_NONE,
                            r->now);
    else
        routing_address_del(r->routing, a->key, r->now);
}

static void send_control(struct router *r, const struct routing_output *out)
{
    struct neighbour *n = out->link < r->neighbour_count ? r->neighbours[out->link] : NULL;
    struct router_link *l = n ? n->control_out : NULL;
    struct arrival a = {.bytes = out->bytes, .is_presettled = true, .is_complete = true};
    struct outgoing *o = NULL;

    if (!l || !l->amqp)
        return;
    arrival_delivery(r, &a);
    arrival_store(r, &a);
    a.delivery->ra_len = 0;
    a.delivery->is_routed = true;
    o = outgoing_new(a.delivery);
    outgoing_take(o);
    a.delivery->is_forwarding = false;
    if (l->queue_count == 0 && !l->current && l->is_attached && amqp_link_is_ready(l->amqp))
        outgoing_begin(o, l);
    else
        outgoing_queue(o, l);
}

static void node_key(struct router *r, uint32_t node, char *key, size_t size)
{
    struct str id = routing_id(r->routing, node);

    snprintf(key, size, "R%.*s", STR_ARG(id));
}

static void node_changed(struct router *r, const struct routing_event *ev)
{
    char key[ADDRESS_MAX + 64];
    struct address *a = NULL;

    node_key(r, ev->node, key, sizeof(key));
    if (ev->type == ROUTING_EV_NODE_UP) {
        a = address_obtain_key(r, str_of(key));
        if (a)
            address_set_remote(r, a, ev->node, -1);
    } else {
        a = address_find_key(r, str_of(key));
        if (a)
            address_unset_remote(r, a, ev->node);
    }
    r->node_generation++;
    event_add(r, ROUTER_EV_NODE, NULL, "router %s is %s", key + 1,
              ev->type == ROUTING_EV_NODE_UP ? "reachable" : "not reachable any more");
}

// Who wants to know hears that one more router has consumers of the address: a client, or who
// watches it in here, that repeats something for those who come (docs/protocol.md).
void network_tell_reach(struct router *r, const struct address *a)
{
    char to[sizeof(ROUTER_REACH) + ADDRESS_MAX];
    uint32_t others = address_others(a);
    const struct address *wanted;
    struct amqp_writer w;

    if (a->key.ptr[0] != 'M')
        return;
    stream_tell_reach(a, others);
    snprintf(to, sizeof(to), ROUTER_REACH "%.*s", STR_ARG(str_skip(a->key, 1)));
    wanted = address_find(r, str_of(to));
    if (!wanted || wanted->consumer_count == 0)
        return;
    amqp_writer_init(&w);
    amqp_put_descriptor(&w, AMQP_SECTION_VALUE);
    amqp_put_int(&w, (int32_t)others);
    forward_inside(r, str_of(to), amqp_written(&w));
    amqp_writer_fini(&w);
}

static void remote_address(struct router *r, const struct routing_event *ev)
{
    struct address *a = NULL;
    uint32_t before;

    if (ev->type == ROUTING_EV_ADDRESS_ADD) {
        a = address_obtain_key(r, ev->key);
        if (!a)
            return;
        before = a->remote_count;
        address_set_remote(r, a, ev->node, ev->treatment);
        if (a->remote_count > before)
            network_tell_reach(r, a);
    } else {
        a = address_find_key(r, ev->key);
        if (a)
            address_unset_remote(r, a, ev->node);
    }
}

static void neighbour_ends(struct router *r, uint32_t link)
{
    struct neighbour *n = link < r->neighbour_count ? r->neighbours[link] : NULL;

    if (n && !n->conn->is_server)
        conn_ends(n->conn);
}

static void routing_event(struct router *r, const struct routing_event *ev)
{
    struct str id = routing_id(r->routing, ev->node);

    switch (ev->type) {
    case ROUTING_EV_NODE_GONE:
        once_forget(r, ev->node, id);
        r->node_generation++;
        break;
    case ROUTING_EV_ROUTES:
        r->node_generation++;
        break;
    case ROUTING_EV_NODE_UP:
    case ROUTING_EV_NODE_DOWN:
        node_changed(r, ev);
        break;
    case ROUTING_EV_ADDRESS_ADD:
    case ROUTING_EV_ADDRESS_DEL:
        remote_address(r, ev);
        break;
    case ROUTING_EV_NEIGHBOUR_UP:
        if (ev->link < r->neighbour_count && r->neighbours[ev->link])
            r->neighbours[ev->link]->used_since = r->now;
        r->scrub_at = mono_min(r->scrub_at, mono_add_ms(r->now, RETIRED_LOOK_MS));
        event_add(r, ROUTER_EV_NEIGHBOUR, NULL, "neighbour %.*s is up", STR_ARG(id));
        break;
    case ROUTING_EV_NEIGHBOUR_DOWN:
        if (ev->link < r->neighbour_count && r->neighbours[ev->link])
            r->neighbours[ev->link]->used_since = MONO_NEVER;
        event_add(r, ROUTER_EV_NEIGHBOUR, NULL, "neighbour %.*s is gone", STR_ARG(id));
        break;
    case ROUTING_EV_NEIGHBOUR_ENDS:
        neighbour_ends(r, ev->link);
        break;
    case ROUTING_EV_NOTE:
        event_add(r, ROUTER_EV_NOTE, NULL, "%.*s", STR_ARG(ev->key));
        break;
    }
}

void network_poll(struct router *r)
{
    struct routing_output out;
    struct routing_event ev;

    if (!r->routing)
        return;
    while (routing_next_event(r->routing, &ev))
        routing_event(r, &ev);
    while (routing_next_output(r->routing, &out))
        send_control(r, &out);
}
