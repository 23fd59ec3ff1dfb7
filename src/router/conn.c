// SPDX-License-Identifier: Apache-2.0
#include <assert.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "router/core.h"

enum {
    FRAME_SIZE = 16384,
    SESSION_MAX = 32768,
    WINDOW_BYTES = 2 * 1024 * 1024, // a peer can have so much in flight on one session
    WINDOW_MIN = 8,
    WINDOW_MAX = 2048,
    OUTPUT_MAX = 256 * 1024, // waiting in the output before links stop being ready
    LINK_MAX = 65536,
    HANDSHAKE_MS = 10000,
};

#define FAILOVER_LIST "failover-server-list"

static char *dup_or_null(const char *text)
{
    return text && text[0] ? xstrdup(text) : NULL;
}

static bool is_router_role(enum router_role role)
{
    return role == ROUTER_ROLE_INTER_ROUTER || role == ROUTER_ROLE_INTER_ROUTER_DATA ||
           role == ROUTER_ROLE_EDGE || role == ROUTER_ROLE_INTER_EDGE || role == ROUTER_ROLE_SHARD;
}

// Section 1.2 of the protocol: keys are symbols, and the type of each value matters.
static struct amqp_val *open_properties(const struct router *r, const struct router_conn *c,
                                        const struct router_conn_opts *o)
{
    struct amqp_val *map = amqp_val_map();

    amqp_val_set_symbol(map, "product", amqp_val_string(STR("skupper-router")));
    amqp_val_set_symbol(map, "version", amqp_val_string(str_of(r->version)));
    amqp_val_set_symbol(map, "qd.conn-id", amqp_val_int((int32_t)(c->id & INT32_MAX)));
    if (o->cost > 1)
        amqp_val_set_symbol(map, "qd.inter-router-cost", amqp_val_int(o->cost));
    if (!o->is_server && o->role == ROUTER_ROLE_INTER_ROUTER_DATA)
        amqp_val_set_symbol(map, "qd.inter-router-role",
                            amqp_val_int(ROUTER_ROLE_INTER_ROUTER_DATA));
    if (!o->is_server && o->group_correlator) {
        amqp_val_set_symbol(map, "qd.group-correlator",
                            amqp_val_string(str_of(o->group_correlator)));
        if (o->tls_protocol)
            amqp_val_set_symbol(map, "qd.group-ordinal", amqp_val_ulong(o->group_ordinal));
    }
    if (o->access_id)
        amqp_val_set_symbol(map, "qd.access-id", amqp_val_string(str_of(o->access_id)));
    if (is_router_role(o->role))
        amqp_val_set_symbol(map, "qd.annotations-version", amqp_val_int(2));
    if (o->failover)
        amqp_val_set_symbol(map, FAILOVER_LIST, amqp_val_copy(o->failover));
    for (uint32_t i = 0; o->open_properties && i + 1 < o->open_properties->count; i += 2) {
        char *key = str_dup(amqp_val_str(o->open_properties->items[i]));

        amqp_val_set_symbol(map, key, amqp_val_copy(o->open_properties->items[i + 1]));
        free(key);
    }
    return map;
}

static uint32_t window_for(uint32_t frame_size, uint32_t configured)
{
    uint32_t frames = WINDOW_BYTES / frame_size;

    if (configured)
        return configured;
    if (frames < WINDOW_MIN)
        return WINDOW_MIN;
    return frames > WINDOW_MAX ? WINDOW_MAX : frames;
}

static void start_engine(struct router_conn *c, const struct router_conn_opts *o, struct mono now)
{
    struct router *r = c->router;
    uint32_t frame_size = o->frame_size_max ? o->frame_size_max : FRAME_SIZE;
    uint32_t sessions = o->session_max ? o->session_max : SESSION_MAX;
    struct amqp_val *properties = open_properties(r, c, o);
    struct str offered[5] = {STR("ANONYMOUS-RELAY"), STR("qd.streaming-links"),
                             STR("qd.connection_trunking")};
    uint32_t offered_count = 3;

    if (o->role == ROUTER_ROLE_INTER_EDGE)
        offered[offered_count++] = STR("qd.router-inter-edge");
    if (is_router_role(o->role))
        offered[offered_count++] = STR(ROUTER_OUR_CAPABILITY);

    struct amqp_conn_opts engine = {
        .is_server = o->is_server,
        .pool = r->pool,
        .container_id = r->id,
        .hostname = o->hostname,
        .frame_size_max = frame_size,
        .channel_max = (uint16_t)(sessions > 65536 ? 65535 : sessions - 1),
        .link_max = LINK_MAX,
        .idle_timeout_ms = o->idle_timeout_ms,
        .handshake_ms = o->handshake_ms ? o->handshake_ms : HANDSHAKE_MS,
        .incoming_window = window_for(frame_size, o->session_frames),
        .output_max = OUTPUT_MAX,
        .sasl_mechanisms = o->sasl_mechanisms ? o->sasl_mechanisms : AMQP_SASL_ANONYMOUS,
        .external_ok = o->external_ok,
        .sasl_optional = o->sasl_optional,
        .offered = offered,
        .offered_count = offered_count,
        .properties = properties,
    };

    c->window = engine.incoming_window;
    c->amqp = amqp_conn_new(&engine, now);
    amqp_conn_set_user(c->amqp, c);
    amqp_val_free(properties);
}

struct router_conn *router_conn_new(struct router *r, const struct router_conn_opts *o,
                                    struct mono now)
{
    struct router_conn *c = xcalloc(1, sizeof(*c));

    r->now = now;
    c->router = r;
    c->role = o->role;
    c->is_server = o->is_server;
    c->strip_in = o->strip_in;
    c->strip_out = o->strip_out;
    c->cost = o->cost > 0 ? o->cost : 1;
    c->link_capacity = o->link_capacity ? o->link_capacity : LINK_CAPACITY;
    c->id = r->next_id++;
    c->ordinal = o->group_ordinal;
    c->name = dup_or_null(o->name);
    c->host = dup_or_null(o->host);
    c->local = dup_or_null(o->local);
    c->hostname = dup_or_null(o->hostname);
    c->user = dup_or_null(o->user);
    c->tls_protocol = dup_or_null(o->tls_protocol);
    c->tls_cipher = dup_or_null(o->tls_cipher);
    c->tls_bits = o->tls_bits;
    c->tls_ordinal = o->tls_ordinal;
    c->user_data = o->user_data;
    if (o->group_correlator && strlen(o->group_correlator) <= RNG_ID_LEN)
        strcpy(c->correlator, o->group_correlator);
    list_init(&c->links);
    list_init(&c->on_dirty);
    list_init(&c->on_group);
    list_init(&c->stalled);
    list_init(&c->idle_streams[0]);
    list_init(&c->idle_streams[1]);
    list_init(&c->on_surplus);
    list_append(&r->conns, &c->on_router);
    r->conn_count += c->role != ROUTER_ROLE_SHARD;
    start_engine(c, o, now);
    amqp_conn_trace(c->amqp, o->is_traced);
    conn_mark(c);
    return c;
}

static void conn_free(struct router_conn *c)
{
    list_remove(&c->on_router);
    list_remove(&c->on_dirty);
    list_remove(&c->on_group);
    list_remove(&c->on_surplus);
    c->router->conn_count -= c->role != ROUTER_ROLE_SHARD;
    amqp_conn_free(c->amqp);
    free(c->name);
    free(c->host);
    free(c->local);
    free(c->hostname);
    free(c->user);
    free(c->tls_protocol);
    free(c->tls_cipher);
    free(c->container);
    free(c);
}

// The engine has forgotten the link and its deliveries; nothing of them may be named to it again.
static void link_disconnect(struct router_link *l)
{
    l->amqp = NULL;
    if (!l->is_out)
        list_for_each (node, &l->deliveries)
            list_entry(node, struct delivery, on_link)->amqp = NULL;
    list_for_each (node, &l->sent)
        list_entry(node, struct outgoing, on_link)->amqp = NULL;
}

// The connection is not there any more, though its transport may still be: everything on it ends.
static void conn_closed(struct router_conn *c)
{
    struct router_link *l;

    if (c->is_closed)
        return;
    c->is_closed = true;
    list_for_each (node, &c->links)
        link_disconnect(list_entry(node, struct router_link, on_conn));
    network_conn_lost(c);
    edge_conn_lost(c);
    while (!list_empty(&c->links)) {
        l = list_entry(c->links.next, struct router_link, on_conn);
        link_detached(l);
    }
}

void router_conn_lost(struct router_conn *c, struct mono now)
{
    struct router *r = c->router;

    r->now = now;
    conn_closed(c);
    for (uint32_t i = 0; i < r->event_count; i++) {
        struct router_event *ev = &r->events[(r->event_first + i) % ROUTER_EVENT_MAX];

        if (ev->conn == c)
            ev->conn = NULL;
    }
    conn_free(c);
    router_settle(r);
}

void conn_mark(struct router_conn *c)
{
    if (list_empty(&c->on_dirty) && c->amqp)
        list_append(&c->router->dirty, &c->on_dirty);
}

void router_conn_drop(struct router_conn *c, const char *why)
{
    if (c->is_dropped)
        return;
    c->is_dropped = true;
    event_add(c->router, ROUTER_EV_DROP, c, "%s", why);
}

void conn_ends(struct router_conn *c)
{
    if (c->is_ending) // each time the connector would dial anew
        return;
    c->is_ending = true;
    event_add(c->router, ROUTER_EV_ENDING, c, "%s", c->container);
}

struct amqp_session *conn_endpoint_session(struct router_conn *c)
{
    if (!c->endpoint_session)
        c->endpoint_session = amqp_session_begin(c->amqp, c->window);
    return c->endpoint_session;
}

static int int_property(const struct amqp_peer *peer, const char *key, int fallback)
{
    const struct amqp_val *v = amqp_val_get(peer->properties, key);

    if (!v || v->type != AMQP_INT || v->i < 1 || v->i > INT32_MAX)
        return fallback;
    return (int)v->i;
}

static void opened(struct router_conn *c)
{
    const struct amqp_peer *peer = amqp_conn_peer(c->amqp);
    struct str correlator = amqp_val_str(amqp_val_get(peer->properties, "qd.group-correlator"));
    const struct amqp_val *ordinal = amqp_val_get(peer->properties, "qd.group-ordinal");
    int cost = int_property(peer, "qd.inter-router-cost", 1);

    c->is_open = true;
    c->opened_at = c->router->now;
    c->container = str_dup(peer->container_id);
    c->takes_streams = amqp_peer_offers(peer, "qd.streaming-links");
    c->trunks = amqp_peer_offers(peer, "qd.connection_trunking");
    c->is_ours = amqp_peer_offers(peer, ROUTER_OUR_CAPABILITY);
    if (cost > c->cost)
        c->cost = cost;
    if (c->is_server && c->role == ROUTER_ROLE_INTER_ROUTER &&
        int_property(peer, "qd.inter-router-role", 0) == ROUTER_ROLE_INTER_ROUTER_DATA)
        c->role = ROUTER_ROLE_INTER_ROUTER_DATA;
    if (c->is_server && correlator.len == RNG_ID_LEN) {
        memcpy(c->correlator, correlator.ptr, correlator.len);
        if (ordinal && ordinal->type == AMQP_ULONG)
            c->ordinal = ordinal->u;
    }
    event_add(c->router, ROUTER_EV_OPENED, c, "%s", c->container);
    network_opened(c);
    edge_opened(c);
}

static void closed(struct router_conn *c, const struct amqp_event *ev)
{
    struct str condition = ev->ended.condition, words = ev->ended.description;

    event_add(c->router, ROUTER_EV_CLOSED, c, "%s%.*s%s%.*s",
              ev->ended.is_ours ? "protocol broken by peer: " : "", STR_ARG(condition),
              words.len ? ": " : "", STR_ARG(words));
    conn_closed(c);
}

// Room has come back: whatever waited for it goes on.
static void writable(struct router_conn *c)
{
    struct list waiting, *node;

    list_init(&waiting);
    while ((node = list_pop(&c->stalled)) != NULL)
        list_append(&waiting, node);
    while ((node = list_pop(&waiting)) != NULL) {
        struct router_link *l = list_entry(node, struct router_link, on_stalled);

        link_pump(l);
        if (l->address && l->address->waiting_count > 0)
            address_serve(l);
    }
}

static void handle(struct router_conn *c, const struct amqp_event *ev)
{
    struct router_link *l = ev->link ? amqp_link_user(ev->link) : NULL;

    switch (ev->type) {
    case AMQP_EV_OPENED:
        opened(c);
        break;
    case AMQP_EV_ATTACHED:
        link_attached(c, ev->link);
        break;
    case AMQP_EV_CREDIT:
        if (l)
            link_note_credit(l);
        if (l && l->is_out)
            link_go_on(l);
        else if (l && l->is_leaving)
            edge_drained(l);
        else if (l)
            link_refill(l); // it gave credit back as asked, and there may be a destination again
        break;
    case AMQP_EV_WRITABLE:
        writable(c);
        break;
    case AMQP_EV_TRANSFER:
        network_alive(c);
        if (l)
            delivery_arrived(l, ev);
        break;
    case AMQP_EV_UPDATED:
        delivery_updated(ev->update.delivery, ev);
        break;
    case AMQP_EV_DETACHED:
        if (l) {
            link_disconnect(l);
            link_detached(l);
        }
        break;
    case AMQP_EV_CLOSED:
        closed(c, ev);
        break;
    }
}

// What a neighbour says of its addresses holds for the message that follows in the same bytes.
static bool brings_news(const struct amqp_event *ev)
{
    const struct router_link *l = ev->link ? amqp_link_user(ev->link) : NULL;

    return ev->type == AMQP_EV_TRANSFER && l && l->kind == LINK_CONTROL;
}

static void poll(struct router_conn *c)
{
    struct amqp_event ev;
    bool any = false;

    for (; amqp_conn_next(c->amqp, &ev); any = true) {
        bool news = !c->is_closed && brings_news(&ev);

        if (!c->is_closed)
            handle(c, &ev);
        if (news)
            router_settle(c->router);
    }
    if (!any)
        return;
    conn_mark(c);
    router_settle(c->router);
}

void router_conn_feed(struct router_conn *c, const uint8_t *data, size_t len, struct mono now)
{
    c->router->now = now;
    amqp_conn_feed(c->amqp, data, len, now);
    conn_mark(c);
    poll(c);
}

struct buf *router_conn_output(struct router_conn *c, struct mono now)
{
    c->router->now = now;
    amqp_conn_flush(c->amqp);
    return amqp_conn_output(c->amqp);
}

void router_conn_sent(struct router_conn *c, struct mono now)
{
    c->router->now = now;
    amqp_conn_sent(c->amqp);
    poll(c);
}

struct mono router_conn_deadline(const struct router_conn *c)
{
    return amqp_conn_deadline(c->amqp);
}

void router_conn_tick(struct router_conn *c, struct mono now)
{
    c->router->now = now;
    amqp_conn_tick(c->amqp, now);
    conn_mark(c);
    poll(c);
}

bool router_conn_is_finished(const struct router_conn *c)
{
    return c->is_dropped || amqp_conn_is_finished(c->amqp);
}

void *router_conn_user_data(const struct router_conn *c)
{
    return c->user_data;
}

uint64_t router_conn_id(const struct router_conn *c)
{
    return c->id;
}

char *router_conn_next_trace(struct router_conn *c)
{
    return amqp_conn_next_trace(c->amqp);
}

enum router_role router_conn_role(const struct router_conn *c)
{
    return c->role;
}

struct str router_conn_property(const struct router_conn *c, const char *name)
{
    return amqp_val_str(amqp_val_get(amqp_conn_peer(c->amqp)->properties, name));
}

const struct amqp_val *router_conn_failover(const struct router_conn *c)
{
    return amqp_val_get(amqp_conn_peer(c->amqp)->properties, FAILOVER_LIST);
}

void router_drop_older(struct router *r, const char *name, uint64_t tls_ordinal)
{
    list_for_each (node, &r->conns) {
        struct router_conn *c = list_entry(node, struct router_conn, on_router);

        if (c->tls_protocol && c->name && strcmp(c->name, name) == 0 &&
            (uint64_t)c->tls_ordinal < tls_ordinal)
            router_conn_drop(c, "the ordinal of its certificate is below oldestValidOrdinal");
    }
}

void router_end_soon(struct router *r, struct mono now)
{
    r->now = now;
    if (r->routing)
        routing_end_soon(r->routing, now);
    edge_end_soon(r);
    router_settle(r);
}

bool router_is_joined(const struct router *r, const char *name)
{
    list_for_each (node, &r->conns) {
        const struct router_conn *c = list_entry(node, struct router_conn, on_router);

        if (c->is_server || !c->name || strcmp(c->name, name) != 0)
            continue;
        if (c->role == ROUTER_ROLE_EDGE ? edge_is_joined(c) : network_is_joined(c))
            return true;
    }
    return false;
}
