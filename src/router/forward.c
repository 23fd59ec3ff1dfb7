// SPDX-License-Identifier: Apache-2.0
#include <assert.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "router/core.h"

// The choice: given a message and its address, which consumer, which next hop, how many copies.
// Everything is computed from local counters and the routes; nothing about load is told on the
// wire.

enum { WAITING_MAX = 20000 }; // messages that wait at one address for a consumer with credit

// Where one copy goes.
struct way {
    struct router_link *link;    // a consumer's link, or NULL
    struct neighbour *neighbour; // a next hop, or NULL
    bool waits;                  // for the first local consumer that has credit
};

// --------------------------------------------------------------------------------------- address

static struct memo *memo_of(struct router_link *l)
{
    if (!l->memo) {
        l->memo = xcalloc(1, sizeof(*l->memo));
        l->memo->node = ROUTING_NO_NODE;
    }
    return l->memo;
}

static struct address *find_with_memo(struct router *r, struct router_link *l, struct str to)
{
    struct memo *m = NULL;

    if (!l || l->kind == LINK_STREAM || to.len > MEMO_TEXT_MAX)
        return address_find(r, to);
    m = memo_of(l);
    if (m->address && m->address_generation == r->address_generation && m->to_len == to.len &&
        memcmp(m->to, to.ptr, to.len) == 0)
        return m->address;
    m->address = address_find(r, to);
    m->address_generation = r->address_generation;
    m->to_len = (uint8_t)to.len;
    memcpy(m->to, to.ptr, to.len);
    return m->address;
}

struct address *arrival_address(struct router *r, struct arrival *a)
{
    struct str to = a->msg.ra.to_override.len > 0 ? a->msg.ra.to_override : a->msg.to;

    if (a->link && a->link->address)
        return a->link->address;
    return to.len > 0 ? find_with_memo(r, a->link, to) : NULL;
}

static uint32_t find_node(struct router *r, struct str id)
{
    return r->routing ? routing_find(r->routing, id) : origin_number(r, id);
}

uint32_t arrival_node(struct router *r, struct router_link *l, struct str ingress)
{
    struct memo *m = NULL;

    if ((!r->routing && r->mode != ROUTER_SHARD) || ingress.len < 3)
        return ROUTING_SELF;
    if (!l || l->kind == LINK_STREAM || ingress.len > MEMO_TEXT_MAX)
        return find_node(r, str_skip(ingress, 2));
    m = memo_of(l);
    if (m->node_generation == r->node_generation && m->ingress_len == ingress.len &&
        memcmp(m->ingress, ingress.ptr, ingress.len) == 0)
        return m->node;
    m->node = find_node(r, str_skip(ingress, 2));
    m->node_generation = r->node_generation;
    m->ingress_len = (uint8_t)ingress.len;
    memcpy(m->ingress, ingress.ptr, ingress.len);
    return m->node;
}

// ------------------------------------------------------------------------------------- one copy

static bool can_take(struct router_link *l)
{
    if (l->kind == LINK_INSIDE)
        return true;
    return l->is_attached && l->amqp && l->queue_count == 0 && !l->current && link_is_ready(l);
}

static void count_outstanding(struct address *to, struct outgoing *o, uint32_t neighbour)
{
    if (!to || neighbour == NO_NEIGHBOUR)
        return;
    if (neighbour >= to->outstanding_size) {
        uint32_t size = neighbour + 4;

        to->outstanding = xrealloc(to->outstanding, size, sizeof(*to->outstanding));
        memset(to->outstanding + to->outstanding_size, 0,
               (size - to->outstanding_size) * sizeof(*to->outstanding));
        to->outstanding_size = size;
    }
    to->outstanding[neighbour]++;
    o->neighbour = neighbour;
}

static bool is_multicast(const struct address *to)
{
    return to && (to->treatment == ROUTER_MULTICAST || to->treatment == ROUTER_FLOOD);
}

static void send_stored(struct router *r, struct arrival *a, struct router_link *l,
                        struct address *to, uint32_t neighbour)
{
    struct delivery *d = arrival_delivery(r, a);
    struct outgoing *o = NULL;

    arrival_store(r, a);
    delivery_name_address(r, d, to);
    o = outgoing_new(d);
    outgoing_take(o);
    count_outstanding(to, o, neighbour);
    if (can_take(l)) {
        outgoing_begin(o, l);
        return;
    }
    outgoing_queue(o, l);
    if (a->is_presettled && is_multicast(to))
        lag_note(l);
}

// The whole message at once, from where it was received to the output of the next connection.
static void send_direct(struct router *r, struct arrival *a, struct router_link *l,
                        struct address *to, uint32_t neighbour)
{
    uint8_t head[HEAD_MAX];
    size_t head_len = annotations_for(r, &a->msg.ra, l, a->is_presettled, head);
    struct str payload = str_skip(a->bytes, a->msg.ra_len);
    struct iovec iov[2] = {{head, head_len}, {(void *)(uintptr_t)payload.ptr, payload.len}};
    bool settled = goes_settled(a->is_presettled, l), done = false;
    struct outgoing *o = NULL;
    struct amqp_delivery *ad = NULL;
    size_t taken;

    if (!settled) {
        delivery_name_address(r, arrival_delivery(r, a), to);
        o = outgoing_new(a->delivery);
        count_outstanding(to, o, neighbour);
    }
    ad = amqp_delivery_begin(l->amqp, settled, a->format, o);
    if (o)
        outgoing_adopt(o, l, ad);
    taken = amqp_delivery_write(ad, iov, 2, true, &done);
    conn_mark(l->conn);
    link_note_credit(l);
    outgoing_count(l, a->is_presettled);
    a->was_sent = true;
    if (done) {
        if (o)
            o->is_written = true;
        else
            count_sent(l, a->ingress);
        return;
    }
    delivery_name_address(r, arrival_delivery(r, a), to);
    arrival_store(r, a);
    if (!o) {
        o = outgoing_new(a->delivery);
        outgoing_adopt(o, l, ad);
        ad->user = o;
    }
    outgoing_resume(o, head_len, taken);
}

static void send_copy(struct router *r, struct arrival *a, struct router_link *l,
                      struct address *to, uint32_t neighbour)
{
    bool is_whole =
        a->is_complete && !(a->delivery && a->delivery->first) && l->kind != LINK_INSIDE;

    if (is_whole && !(a->msg.ra.flags & AMQP_RA_RESEND_RELEASED) && can_take(l))
        send_direct(r, a, l, to, neighbour);
    else
        send_stored(r, a, l, to, neighbour);
}

// A message made here, for one link and nobody else; queued there until it can go.
void forward_to_link(struct router *r, struct arrival *a, struct router_link *l)
{
    struct delivery *d = arrival_delivery(r, a);

    d->is_routed = true;
    send_stored(r, a, l, NULL, NO_NEIGHBOUR);
    d->is_forwarding = false;
    if (d->copy_count == 0)
        delivery_done(d);
}

// --------------------------------------------------------------------------------------- anycast

static bool was_tried(const struct arrival *a, const struct router_conn *c)
{
    const struct tried *t = a->delivery ? a->delivery->tried : NULL;

    for (uint8_t i = 0; t && i < t->count; i++)
        if (t->at[i] == c)
            return true;
    return false;
}

// From the interior of this edge router, on whichever of its uplinks.
static bool came_down(const struct arrival *a)
{
    const struct router_conn *c = a->link ? a->link->conn : NULL;

    return c && c->role == ROUTER_ROLE_EDGE && c->router->mode == ROUTER_EDGE;
}

// Back to the edge router it came from, or to another one of the same mesh.
static bool is_echo(const struct arrival *a, const struct router_link *l)
{
    if (!a->link)
        return false;
    // A shard leaves the whole choice to its hub where its client's link names no address.
    if (l->conn->role == ROUTER_ROLE_SHARD && l->conn == a->link->conn)
        return !l->conn->is_server || a->link->address != NULL;
    if (!l->is_proxy)
        return false;
    if (l->conn == a->link->conn || came_down(a))
        return true;
    return a->msg.ra.mesh.len == RNG_ID_LEN && l->conn->mesh[0] &&
           memcmp(l->conn->mesh, a->msg.ra.mesh.ptr, RNG_ID_LEN) == 0;
}

// What a shard's hub would have to send on to another router is farther than any consumer here.
static bool is_nearest(const struct address *to, const struct router_link *l)
{
    return !l->is_far || to->consumer_count == 1;
}

// The consumer here that should have it. With `least`: the one with the fewest unsettled, told in
// *value; otherwise the next in turn. NULL with *any when there are only busy ones.
static struct router_link *pick_local(struct address *to, const struct arrival *a, bool least,
                                      uint32_t *value, bool *any)
{
    struct router_link *best = NULL;

    *value = UINT32_MAX;
    list_for_each (node, &to->consumers) {
        struct router_link *l = list_entry(node, struct router_link, on_address);
        uint32_t open = l->sent_count + l->moved_count + l->is_far;

        if (is_echo(a, l) || was_tried(a, l->conn))
            continue;
        if (!least && !is_nearest(to, l))
            continue;
        *any = true;
        if (open >= *value || !can_take(l))
            continue;
        best = l;
        *value = open;
        if (!least || open == 0)
            break;
    }
    if (best) {
        list_remove(&best->on_address);
        list_append(&to->consumers, &best->on_address);
    }
    return best;
}

static struct neighbour *next_hop(struct router *r, uint32_t node)
{
    uint32_t link = routing_next_hop(r->routing, node);

    return link < r->neighbour_count ? r->neighbours[link] : NULL;
}

static bool may_go(struct router *r, uint32_t ingress, uint32_t node)
{
    return ingress == ROUTING_SELF || ingress == ROUTING_NO_NODE ||
           routing_is_valid_origin(r->routing, ingress, node);
}

static uint32_t outstanding(const struct address *to, const struct neighbour *n)
{
    return n->number < to->outstanding_size ? to->outstanding[n->number] : 0;
}

// The next hop towards the best remote consumer: by cost alone, or (balanced) by cost and what is
// outstanding through it.
static struct neighbour *pick_remote(struct router *r, struct address *to, const struct arrival *a,
                                     bool balanced, uint32_t *value)
{
    struct neighbour *best = NULL;
    uint32_t best_at = to->remote_next;

    *value = UINT32_MAX;
    for (uint32_t i = 0; i < to->remote_count; i++) {
        uint32_t at = (to->remote_next + i) % to->remote_count;
        uint32_t node = to->remotes[at].node;
        struct neighbour *n = next_hop(r, node);
        uint32_t v;

        if (!n || was_tried(a, n->conn) || !may_go(r, a->ingress, node))
            continue;
        v = (uint32_t)routing_cost(r->routing, node);
        if (balanced)
            v += outstanding(to, n);
        if (v < *value) {
            best = n;
            best_at = at;
            *value = v;
        }
    }
    if (to->remote_count > 1)
        to->remote_next = (best_at + 1) % to->remote_count; // equals take turns
    return best;
}

static struct way choose_closest(struct router *r, struct address *to, const struct arrival *a)
{
    struct way way = {0};
    uint32_t value;

    way.link = pick_local(to, a, false, &value, &way.waits);
    if (!way.link && !way.waits && to->remote_count > 0)
        way.neighbour = pick_remote(r, to, a, false, &value);
    return way;
}

static struct way choose_balanced(struct router *r, struct address *to, const struct arrival *a)
{
    struct way way = {0};
    uint32_t local, remote;

    way.link = pick_local(to, a, true, &local, &way.waits);
    if ((way.link && local == 0) || to->remote_count == 0)
        return way;
    way.neighbour = pick_remote(r, to, a, true, &remote);
    // A busy consumer here is still better than a next hop that is as busy; one without credit is
    // not, as long as that hop has room.
    if (way.neighbour && (way.link ? remote >= local : way.waits && remote >= LINK_CAPACITY))
        way.neighbour = NULL;
    else if (way.neighbour)
        way.link = NULL;
    return way;
}

static uint8_t priority_of(const struct arrival *a, const struct address *to)
{
    int p = to->priority >= 0     ? to->priority
            : a->msg.has_priority ? a->msg.priority
                                  : PRIORITY_DEFAULT;

    return (uint8_t)(p >= PRIORITY_COUNT ? PRIORITY_COUNT - 1 : p);
}

// The link to a neighbour that this message takes: a stream has one of its own, others share the
// one of their priority (or the next lower that is there).
static struct router_link *link_to(struct neighbour *n, const struct arrival *a,
                                   const struct address *to)
{
    int p = priority_of(a, to);

    if (!a->is_complete) {
        bool no_hold = (a->msg.ra.flags & AMQP_RA_NO_HOLD) != 0;
        struct router_link *l = network_stream_link(n, no_hold);

        // One that may stand still for as long as it likes must not do so in front of others.
        if (l || (n->conn->takes_streams && no_hold))
            return l;
    }
    while (p >= 0 && !n->data_out[p])
        p--;
    return p >= 0 ? n->data_out[p] : NULL;
}

static bool wait_here(struct router *r, struct arrival *a, struct address *to)
{
    struct delivery *d = NULL;
    struct outgoing *o = NULL;

    if (to->waiting_count >= WAITING_MAX)
        return false;
    d = arrival_delivery(r, a);
    arrival_store(r, a);
    delivery_name_address(r, d, to);
    o = outgoing_new(d);
    outgoing_take(o);
    outgoing_wait(o, to);
    return true;
}

// Where another router stands behind the link, a stream gets a streaming link and leaves this one
// to the others. NULL: it cannot.
static struct router_link *link_beside(struct router_link *l, bool is_complete, bool no_hold)
{
    if (is_complete || l->conn->role != ROUTER_ROLE_EDGE || !l->conn->takes_streams)
        return NULL;
    return network_conn_stream_link(l->conn, no_hold);
}

static void note_moved(struct outgoing *o, struct router_link *l)
{
    o->moved = l;
    l->moved_count++;
    list_append(&l->moved, &o->on_moved);
}

static bool send_moved(struct router *r, struct arrival *a, struct router_link *l,
                       struct address *to)
{
    struct router_link *streaming =
        link_beside(l, a->is_complete, (a->msg.ra.flags & AMQP_RA_NO_HOLD) != 0);

    if (!streaming)
        return false;
    send_copy(r, a, streaming, to, NO_NEIGHBOUR);
    note_moved(list_entry(a->delivery->copies.prev, struct outgoing, on_delivery), l);
    return true;
}

static bool send_anycast(struct router *r, struct arrival *a, struct address *to)
{
    struct way way =
        to->treatment == ROUTER_BALANCED ? choose_balanced(r, to, a) : choose_closest(r, to, a);
    struct router_link *l = way.link;

    if (l && !way.neighbour && send_moved(r, a, l, to))
        return true;
    if (way.neighbour)
        l = link_to(way.neighbour, a, to);
    if (l) {
        send_copy(r, a, l, to, way.neighbour ? way.neighbour->number : NO_NEIGHBOUR);
        return true;
    }
    return way.waits && wait_here(r, a, to);
}

// ------------------------------------------------------------------------------------- multicast

static bool is_in_trace(const struct arrival *a, const char *router)
{
    struct amqp_reader at = amqp_reader_of(a->msg.ra.trace);
    struct str name;

    while (a->msg.ra.trace_count > 0 && amqp_ra_trace_next(&at, &name))
        if (name.len > 2 && str_is(str_skip(name, 2), router))
            return true;
    return false;
}

enum { MARK_WORDS = NEIGHBOUR_MAX / 64 };

// Along the tree of its ingress, so that each router gets one copy. A flood goes wherever its trace
// does not say that it has been, from nobody we know as well.
static bool is_on_its_way(struct router *r, const struct arrival *a, const struct address *to,
                          uint32_t node)
{
    if (a->ingress == ROUTING_SELF || (to->treatment == ROUTER_FLOOD && !to->all_nodes))
        return true;
    return a->ingress != ROUTING_NO_NODE && routing_is_valid_origin(r->routing, a->ingress, node);
}

static void mark_next_hop(struct router *r, const struct arrival *a, const struct address *to,
                          uint32_t node, uint64_t marks[MARK_WORDS])
{
    struct neighbour *n = next_hop(r, node);

    if (n && is_on_its_way(r, a, to, node))
        marks[n->number / 64] |= UINT64_C(1) << (n->number % 64);
}

static bool multicast_remote(struct router *r, struct arrival *a, struct address *to)
{
    uint64_t marks[MARK_WORDS] = {0};
    bool any = false;

    for (uint32_t i = 0; i < to->remote_count; i++)
        mark_next_hop(r, a, to, to->remotes[i].node, marks);
    for (uint32_t i = 1; to->all_nodes && r->routing && i < routing_node_count(r->routing); i++)
        mark_next_hop(r, a, to, i, marks);
    for (uint32_t i = 0; i < r->neighbour_count; i++) {
        struct router_link *l = NULL;

        if (!(marks[i / 64] & UINT64_C(1) << (i % 64)) ||
            is_in_trace(a, r->neighbours[i]->conn->container))
            continue;
        l = link_to(r->neighbours[i], a, to);
        if (l) {
            send_copy(r, a, l, to, NO_NEIGHBOUR);
            any = true;
        }
    }
    return any;
}

// Does its sender wait until every copy has left? Other makes of router, and what is made here, do
// not.
static bool is_held_back(const struct arrival *a)
{
    return a->link && (a->link->kind == LINK_ENDPOINT || (a->msg.ra.flags & RA_HELD));
}

static bool send_multicast(struct router *r, struct arrival *a, struct address *to)
{
    bool any = false;

    // More than one copy, some of which may have to wait: what is stored is stored once.
    if (to->consumer_count + to->remote_count > 1 && !a->is_presettled)
        arrival_delivery(r, a)->is_multicast = true;
    list_for_each (node, &to->consumers) {
        struct router_link *l = list_entry(node, struct router_link, on_address);

        if (is_echo(a, l))
            continue;
        if (a->is_presettled && lag_passes_by(l, is_held_back(a)) && !can_take(l)) {
            count_dropped(l);
            a->was_dropped = true;
            continue;
        }
        send_copy(r, a, l, to, NO_NEIGHBOUR);
        any = true;
    }
    if (to->remote_count > 0 || to->all_nodes)
        any |= multicast_remote(r, a, to);
    if (a->delivery) {
        a->delivery->is_multicast = true;
        a->delivery->was_dropped |= a->was_dropped;
    }
    return any;
}

// ------------------------------------------------------------------------------------------ all

static void count_direction(struct router *r, const struct arrival *a, struct address *to)
{
    bool from_router = a->link && a->link->is_router;

    if (a->link && a->link->conn->role == ROUTER_ROLE_SHARD)
        return; // counted where its client is
    if (from_router) {
        to->transit++;
        r->stats.transit++;
    } else if (!a->link && !(a->delivery && a->delivery->source)) {
        to->from_container++;
    } else {
        to->ingress++;
        r->stats.ingress++;
    }
}

static bool send_inside(struct arrival *a, struct address *to)
{
    if (!a->is_complete)
        return false;
    to->to_container++;
    to->inside->receive(to->inside->user, str_skip(a->bytes, a->msg.ra_len));
    a->was_sent = true;
    return true;
}

static bool send(struct router *r, struct arrival *a, struct address *to)
{
    if (r->routing && a->msg.ra.trace_count > (uint32_t)routing_radius(r->routing) + 1)
        return false;
    if (to->inside)
        return send_inside(a, to);
    switch (to->treatment) {
    case ROUTER_FLOOD:
    case ROUTER_MULTICAST:
        return send_multicast(r, a, to);
    case ROUTER_CLOSEST:
    case ROUTER_BALANCED:
        return send_anycast(r, a, to);
    case ROUTER_UNAVAILABLE:
        return false;
    }
    return false;
}

// Of an edge router or a shard: what has no destination here goes to its interior or hub. A shard
// knows of destinations elsewhere only for addresses that links name; its hub would send back to it
// what has lost its last consumer here.
static bool goes_up(const struct router *r, const struct arrival *a, const struct address *to)
{
    if (!r->uplink || (a->link && a->link->conn == r->uplink) || came_down(a))
        return false;
    if (r->mode == ROUTER_SHARD && a->link)
        return !a->link->address;
    return !to || !address_has_destination(to);
}

// A multicast that enters the network here gets its number.
void forward_number(struct router *r, struct arrival *a, const struct address *to)
{
    if (!r->routing || !is_multicast(to) || a->is_numbered || a->msg.ra.ingress.len > 0)
        return;
    a->msg.ra.flags &= (1 << RA_NUMBER_SHIFT) - 1;
    a->msg.ra.flags |= once_next(r) << RA_NUMBER_SHIFT;
    a->is_numbered = true;
}

// Has this copy of a multicast come before, another way?
static bool is_second_copy(struct router *r, const struct arrival *a, const struct address *to)
{
    uint32_t number = a->msg.ra.flags >> RA_NUMBER_SHIFT;

    if (!is_multicast(to) || number == 0 || a->is_numbered || a->msg.ra.ingress.len == 0)
        return false;
    if (came_down(a))
        return once_has_come_down(r, a->msg.ra.ingress, number);
    if (!r->routing || a->ingress == ROUTING_NO_NODE)
        return false;
    return a->ingress == ROUTING_SELF ||
           !once_is_new(r, a->ingress, str_skip(a->msg.ra.ingress, 2), number);
}

// Where clients are not held by the window, as between routers, twice as much is too much.
static bool is_overfull(const struct router *r, const struct arrival *a)
{
    return UNLIKELY(r->stored > 2 * r->stored_max) && a->is_complete && a->link &&
           a->link->is_router;
}

void forward(struct router *r, struct arrival *a)
{
    struct address *to = arrival_address(r, a);
    bool sent = false;

    if (!to && a->delivery)
        to = a->delivery->address;
    if (goes_up(r, a, to))
        to = address_find_key(r, STR("Up"));
    if (a->delivery) {
        a->delivery->is_routed = true;
        a->delivery->is_forwarding = true;
        a->delivery->resend = (a->msg.ra.flags & AMQP_RA_RESEND_RELEASED) != 0;
    }
    if (to && !is_second_copy(r, a, to) && !is_overfull(r, a)) {
        if (!a->delivery)
            forward_number(r, a, to);
        count_direction(r, a, to);
        sent = send(r, a, to);
    }
    if (!sent) {
        if (a->delivery)
            a->delivery->is_forwarding = false;
        arrival_finish(r, a, AMQP_RELEASED);
        return;
    }
    if (!a->delivery) {
        arrival_finish(r, a, AMQP_ACCEPTED);
        return;
    }

    struct delivery *d = a->delivery;

    d->is_routed = true;
    d->is_forwarding = false;
    if (a->was_sent && d->outcome == AMQP_NO_OUTCOME && (d->copy_count == 0 || d->is_presettled))
        d->outcome = AMQP_ACCEPTED;
    if (d->copy_count == 0)
        delivery_done(d);
    else
        delivery_trim(d);
}

void forward_again(struct delivery *d)
{
    struct router *r = d->router;
    struct arrival a = {
        .link = d->in,
        .amqp = d->amqp,
        .delivery = d,
        .format = d->format,
        .ingress = d->ingress,
        .is_presettled = d->is_presettled,
        .is_complete = d->is_complete,
        .bytes = d->first ? (struct str){(const char *)d->first->data, d->first->len} : STR_NONE,
    };

    amqp_msg_scan(a.bytes, a.is_complete, AMQP_SCAN_PROPERTIES, &a.msg);
    forward(r, &a);
}

// Does the best next hop towards another router's consumer have room for it?
static bool may_leave(struct router *r, struct address *to, struct delivery *d)
{
    struct arrival a = {.link = d->in, .delivery = d, .ingress = d->ingress};
    uint32_t value;

    return pick_remote(r, to, &a, true, &value) && value < LINK_CAPACITY;
}

void forward_waiting(struct router *r, struct address *a)
{
    uint32_t count = a->waiting_count;

    list_for_each (node, &a->consumers)
        address_serve(list_entry(node, struct router_link, on_address));
    while (a->treatment == ROUTER_BALANCED && a->remote_count > 0 && count-- > 0 &&
           a->waiting_count > 0) {
        struct outgoing *o = list_entry(a->waiting.next, struct outgoing, on_link);

        if (!may_leave(r, a, o->delivery))
            break;
        outgoing_lost(o);
    }
    if (a->consumer_count > 0)
        return;
    count = a->waiting_count;
    // Each may come back here if there is still no other way, so this is one pass.
    while (count-- > 0 && a->waiting_count > 0) {
        struct outgoing *o = list_entry(a->waiting.next, struct outgoing, on_link);

        outgoing_lost(o);
    }
}

void address_serve(struct router_link *l)
{
    struct address *a = l->address;

    if (!a || !l->is_out)
        return;
    while (a->waiting_count > 0 && can_take(l)) {
        struct outgoing *o = list_entry(list_pop(&a->waiting), struct outgoing, on_link);
        struct router_link *streaming =
            link_beside(l, o->delivery->is_complete, o->delivery->no_hold);

        a->waiting_count--;
        if (streaming) {
            note_moved(o, l);
            if (can_take(streaming))
                outgoing_begin(o, streaming);
            else
                outgoing_queue(o, streaming);
        } else if (!outgoing_begin(o, l)) {
            return;
        }
    }
}

bool forward_inside(struct router *r, struct str to, struct str bytes)
{
    struct arrival a = {
        .bytes = bytes,
        .is_presettled = true,
        .is_complete = true,
        .ingress = ROUTING_SELF,
    };

    if (amqp_msg_scan(bytes, true, AMQP_SCAN_PROPERTIES, &a.msg) < 0)
        return false;
    if (!str_eq(a.msg.to, to))
        a.msg.ra.to_override = to;
    forward(r, &a);
    return a.was_sent || a.delivery;
}
