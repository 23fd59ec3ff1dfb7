// SPDX-License-Identifier: Apache-2.0
#include "sim.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/heap.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/rng.h"

// A wire has two ends; each end holds an engine: a router's connection or a client's. Bytes that an
// engine puts out become packets that arrive at the other end after the wire's delay. One heap of
// timers drives everything: the packet that arrives next on each direction, the deadlines of
// routers and of ends.

enum timer_kind { OF_ROUTER, OF_END, OF_PACKET };

struct sim_timer {
    struct timer timer;
    enum timer_kind kind;
};

struct packet {
    struct list on_end;
    struct mono at;
    size_t len;
    uint8_t data[];
};

struct end {
    struct sim_wire *wire;
    struct router_conn *conn;  // a router's …
    struct sim_client *client; // … or a client's
    uint32_t router;
    struct list incoming; // packets
    struct sim_timer arrival, deadline;
    struct list on_woken;
};

struct sim_wire {
    struct list on_sim;
    struct end ends[2];
    int cost;
    uint32_t delay_ms;
    bool is_joined, is_silent, is_client;
};

struct station {
    struct router *router;
    struct pool *pool;
    struct sim_timer deadline;
    char id[16];
    uint32_t starts;
};

struct sim {
    struct rng rng;
    struct mono now;
    struct heap heap;
    struct station *stations;
    uint32_t station_count, block_size;
    struct list wires, clients, woken;
    uint64_t steps, bytes;
    uint32_t client_count;
};

struct sim_client {
    struct list on_sim;
    struct sim_client_opts opts;
    struct amqp_conn *conn;
    struct amqp_link *link;
    struct sim_wire *wire;
    struct pool *pool;
    struct sim_counts counts;
    uint32_t number;
    struct map seen; // "client:number"
    struct amqp_delivery **held;
    uint32_t held_count;
    char address[64];
};

enum { BLOCKS = 1 << 20 };

struct sim *sim_new(uint64_t seed, uint32_t router_count, uint32_t block_size)
{
    struct sim *s = xcalloc(1, sizeof(*s));

    rng_init(&s->rng, seed);
    s->now = (struct mono){NS_PER_S};
    s->block_size = block_size;
    heap_init(&s->heap);
    list_init(&s->wires);
    list_init(&s->clients);
    list_init(&s->woken);
    s->station_count = router_count;
    s->stations = xcalloc(router_count, sizeof(*s->stations));
    for (uint32_t i = 0; i < router_count; i++)
        sim_start(s, i);
    return s;
}

struct mono sim_now(const struct sim *s)
{
    return s->now;
}

struct router *sim_router(struct sim *s, uint32_t index)
{
    return s->stations[index].router;
}

uint32_t sim_below(struct sim *s, uint32_t bound)
{
    return rng_below(&s->rng, bound);
}

uint64_t sim_steps(const struct sim *s)
{
    return s->steps;
}

uint64_t sim_bytes(const struct sim *s)
{
    return s->bytes;
}

// ------------------------------------------------------------------------------------------ ends

static void wake(struct sim *s, struct end *e)
{
    if (list_empty(&e->on_woken))
        list_append(&s->woken, &e->on_woken);
}

// What a router wants after anything happened to it.
static void settle_router(struct sim *s, uint32_t index)
{
    struct station *st = &s->stations[index];
    struct router_conn *c;
    struct router_event ev;

    while (router_next_event(st->router, &ev)) {
        if (ev.type == ROUTER_EV_DROP && ev.conn) {
            struct end *e = router_conn_user_data(ev.conn);

            sim_cut(s, e->wire);
        }
    }
    while ((c = router_next_dirty(st->router)) != NULL)
        wake(s, router_conn_user_data(c));
    heap_set(&s->heap, &st->deadline.timer, router_deadline(st->router));
}

static void packet_send(struct sim *s, struct end *to, struct buf *out)
{
    struct packet *p = xcalloc(1, sizeof(*p) + out->len);
    struct sim_wire *w = to->wire;

    p->len = buf_copy(out, 0, p->data, out->len);
    p->at = mono_add_ms(s->now, w->delay_ms);
    buf_skip(out, p->len);
    if (w->is_silent) {
        free(p);
        return;
    }
    s->bytes += p->len;
    list_init(&p->on_end);
    list_append(&to->incoming, &p->on_end);
    if (to->arrival.timer.place == 0)
        heap_set(&s->heap, &to->arrival.timer, p->at);
}

static struct end *other(struct end *e)
{
    return e == &e->wire->ends[0] ? &e->wire->ends[1] : &e->wire->ends[0];
}

static void client_poll(struct sim *s, struct sim_client *c);

static void pull_router(struct sim *s, struct end *e)
{
    struct buf *out = router_conn_output(e->conn, s->now);

    if (out->len > 0) {
        packet_send(s, other(e), out);
        router_conn_sent(e->conn, s->now);
    }
    heap_set(&s->heap, &e->deadline.timer, router_conn_deadline(e->conn));
    if (router_conn_is_finished(e->conn))
        sim_cut(s, e->wire);
    settle_router(s, e->router);
}

static void pull_client(struct sim *s, struct end *e)
{
    struct buf *out;

    amqp_conn_flush(e->client->conn);
    out = amqp_conn_output(e->client->conn);
    if (out->len > 0) {
        packet_send(s, other(e), out);
        amqp_conn_sent(e->client->conn);
        client_poll(s, e->client);
    }
    heap_set(&s->heap, &e->deadline.timer, amqp_conn_deadline(e->client->conn));
}

static void pull_woken(struct sim *s)
{
    struct list *node;

    while ((node = list_pop(&s->woken)) != NULL) {
        struct end *e = list_entry(node, struct end, on_woken);

        if (e->conn)
            pull_router(s, e);
        else if (e->client && e->client->conn)
            pull_client(s, e);
    }
}

static void feed(struct sim *s, struct end *e, const struct packet *p)
{
    s->steps++;
    if (e->conn) {
        router_conn_feed(e->conn, p->data, p->len, s->now);
        settle_router(s, e->router);
    } else if (e->client && e->client->conn) {
        amqp_conn_feed(e->client->conn, p->data, p->len, s->now);
        client_poll(s, e->client);
    }
    wake(s, e);
}

static void arrived(struct sim *s, struct end *e)
{
    struct packet *p = list_entry(list_pop(&e->incoming), struct packet, on_end);
    struct list *next = list_first(&e->incoming);

    if (next)
        heap_set(&s->heap, &e->arrival.timer, list_entry(next, struct packet, on_end)->at);
    feed(s, e, p);
    free(p);
}

static void drop_packets(struct sim *s, struct end *e)
{
    struct list *node;

    while ((node = list_pop(&e->incoming)) != NULL)
        free(list_entry(node, struct packet, on_end));
    heap_cancel(&s->heap, &e->arrival.timer);
    heap_cancel(&s->heap, &e->deadline.timer);
    list_remove(&e->on_woken);
}

static void end_init(struct end *e, struct sim_wire *w, uint32_t router)
{
    e->wire = w;
    e->router = router;
    e->arrival.kind = OF_PACKET;
    e->deadline.kind = OF_END;
    list_init(&e->incoming);
    list_init(&e->on_woken);
}

// ----------------------------------------------------------------------------------------- wires

static struct sim_wire *wire_new(struct sim *s, uint32_t a, uint32_t b, int cost, uint32_t delay_ms)
{
    struct sim_wire *w = xcalloc(1, sizeof(*w));

    w->cost = cost;
    w->delay_ms = delay_ms;
    end_init(&w->ends[0], w, a);
    end_init(&w->ends[1], w, b);
    list_init(&w->on_sim);
    list_append(&s->wires, &w->on_sim);
    return w;
}

static void end_connect(struct sim *s, struct end *e, bool is_server, enum router_role role)
{
    struct router_conn_opts o = {
        .is_server = is_server,
        .role = role,
        .cost = e->wire->cost,
        .idle_timeout_ms = 16000,
        .strip_in = true,
        .strip_out = true,
        .sasl_mechanisms = AMQP_SASL_ANONYMOUS,
        .user_data = e,
    };

    e->conn = router_conn_new(s->stations[e->router].router, &o, s->now);
    settle_router(s, e->router);
}

struct sim_wire *sim_link(struct sim *s, uint32_t a, uint32_t b, int cost, uint32_t delay_ms)
{
    struct sim_wire *w = wire_new(s, a, b, cost, delay_ms);

    sim_join(s, w);
    return w;
}

void sim_join(struct sim *s, struct sim_wire *w)
{
    if (w->is_joined && !w->is_silent)
        return;
    sim_cut(s, w);
    if (w->is_client || !s->stations[w->ends[0].router].router ||
        !s->stations[w->ends[1].router].router)
        return;
    w->is_joined = true;
    end_connect(s, &w->ends[0], false, ROUTER_ROLE_INTER_ROUTER);
    end_connect(s, &w->ends[1], true, ROUTER_ROLE_INTER_ROUTER);
    pull_woken(s);
}

static void end_lost(struct sim *s, struct end *e)
{
    struct router_conn *conn = e->conn;

    drop_packets(s, e);
    e->conn = NULL;
    if (conn) {
        router_conn_lost(conn, s->now);
        settle_router(s, e->router);
    }
    if (e->client && e->client->conn) {
        amqp_conn_free(e->client->conn);
        e->client->conn = NULL;
        e->client->link = NULL;
        e->client->counts.is_attached = false;
    }
}

void sim_cut(struct sim *s, struct sim_wire *w)
{
    if (!w->is_joined)
        return;
    w->is_joined = w->is_silent = false;
    end_lost(s, &w->ends[0]);
    end_lost(s, &w->ends[1]);
}

void sim_silence(struct sim *s, struct sim_wire *w)
{
    w->is_silent = true;
    for (int i = 0; i < 2; i++) {
        struct list *node;

        while ((node = list_pop(&w->ends[i].incoming)) != NULL)
            free(list_entry(node, struct packet, on_end));
        heap_cancel(&s->heap, &w->ends[i].arrival.timer);
    }
}

bool sim_is_joined(const struct sim_wire *w)
{
    return w->is_joined && !w->is_silent;
}

void sim_kill(struct sim *s, uint32_t index)
{
    struct station *st = &s->stations[index];

    if (!st->router)
        return;
    list_for_each (node, &s->wires) {
        struct sim_wire *w = list_entry(node, struct sim_wire, on_sim);

        if (w->ends[0].router == index || w->ends[1].router == index)
            sim_cut(s, w);
    }
    pull_woken(s);
    heap_cancel(&s->heap, &st->deadline.timer);
    router_free(st->router);
    st->router = NULL;
    pool_free(st->pool);
    st->pool = NULL;
}

void sim_start(struct sim *s, uint32_t index)
{
    struct station *st = &s->stations[index];

    if (st->router)
        return;
    snprintf(st->id, sizeof(st->id), "R%04u", index);
    st->pool = pool_new(s->block_size, BLOCKS);

    struct router_opts o = {
        .id = st->id,
        .mode = ROUTER_INTERIOR,
        .instance = 1000 + st->starts++,
        .seed = rng_next(&s->rng),
        .default_treatment = ROUTER_BALANCED,
        .pool = st->pool,
    };

    st->router = router_new(&o, s->now);
    router_address_config(st->router, STR("mc"), true, ROUTER_MULTICAST, -1);
    router_address_config(st->router, STR("closest"), true, ROUTER_CLOSEST, -1);
    settle_router(s, index);
}

void sim_free(struct sim *s)
{
    struct list *node;

    while ((node = list_first(&s->clients)) != NULL)
        sim_client_end(s, list_entry(node, struct sim_client, on_sim));
    for (uint32_t i = 0; i < s->station_count; i++)
        sim_kill(s, i);
    while ((node = list_pop(&s->wires)) != NULL)
        free(list_entry(node, struct sim_wire, on_sim));
    heap_fini(&s->heap);
    free(s->stations);
    free(s);
}

// ------------------------------------------------------------------------------------------ time

static void fire_router(struct sim *s, struct station *st)
{
    s->steps++;
    router_tick(st->router, s->now);
    settle_router(s, (uint32_t)(st - s->stations));
}

static void fire_end(struct sim *s, struct end *e)
{
    s->steps++;
    if (e->conn) {
        router_conn_tick(e->conn, s->now);
        settle_router(s, e->router);
    } else if (e->client && e->client->conn) {
        amqp_conn_tick(e->client->conn, s->now);
        client_poll(s, e->client);
    }
    wake(s, e);
}

static void fire(struct sim *s, struct timer *t)
{
    struct sim_timer *st = list_entry(t, struct sim_timer, timer);

    switch (st->kind) {
    case OF_ROUTER:
        fire_router(s, list_entry(st, struct station, deadline));
        break;
    case OF_END:
        fire_end(s, list_entry(st, struct end, deadline));
        break;
    case OF_PACKET:
        arrived(s, list_entry(st, struct end, arrival));
        break;
    }
}

bool sim_run(struct sim *s, uint32_t ms, bool (*done)(struct sim *s, void *user), void *user)
{
    struct mono until = mono_add_ms(s->now, ms);

    pull_woken(s);
    for (;;) {
        struct mono next = heap_deadline(&s->heap);
        struct timer *t;

        if (done && done(s, user))
            return true;
        if (mono_before(until, next)) {
            s->now = until;
            return false;
        }
        if (mono_before(s->now, next))
            s->now = next;
        while ((t = heap_pop_due(&s->heap, s->now)) != NULL) {
            fire(s, t);
            pull_woken(s);
        }
    }
}

// ---------------------------------------------------------------------------------------- routes

// Shortest paths by relaxation over the wires as they are, to compare with what routers think.
static void shortest(struct sim *s, uint32_t from, int *cost)
{
    bool changed = true;

    for (uint32_t i = 0; i < s->station_count; i++)
        cost[i] = i == from ? 0 : INT32_MAX;
    while (changed) {
        changed = false;
        list_for_each (node, &s->wires) {
            const struct sim_wire *w = list_entry(node, struct sim_wire, on_sim);

            for (int i = 0; i < 2 && !w->is_client && sim_is_joined(w); i++) {
                uint32_t u = w->ends[i].router, v = w->ends[1 - i].router;

                if (cost[u] != INT32_MAX && cost[u] + w->cost < cost[v]) {
                    cost[v] = cost[u] + w->cost;
                    changed = true;
                }
            }
        }
    }
}

bool sim_routes_are_right(struct sim *s, void *unused)
{
    int *cost = xcalloc(s->station_count, sizeof(*cost));
    bool right = true;

    (void)unused;
    for (uint32_t i = 0; i < s->station_count && right; i++) {
        if (!s->stations[i].router)
            continue;
        shortest(s, i, cost);
        for (uint32_t j = 0; j < s->station_count && right; j++)
            right = i == j || router_cost_to(s->stations[i].router, s->stations[j].id) ==
                                  (cost[j] == INT32_MAX ? -1 : cost[j]);
    }
    free(cost);
    return right;
}

// ---------------------------------------------------------------------------------------- clients

enum { MESSAGE_HEAD = 8, CLIENT_MESSAGE_MAX = 1 << 20 };

static void client_send(struct sim_client *c)
{
    uint8_t *message = xcalloc(1, c->opts.size + MESSAGE_HEAD);
    bool done = false;

    memcpy(message, (const uint8_t[]){0x00, 0x53, 0x75, 0xb0}, 4);
    for (int i = 0; i < 4; i++)
        message[4 + i] = (uint8_t)(c->opts.size >> (24 - 8 * i));
    memcpy(message + MESSAGE_HEAD, &c->number, 4);
    while (c->counts.sent < c->opts.to_send && amqp_link_is_ready(c->link)) {
        struct iovec iov = {message, c->opts.size + MESSAGE_HEAD};
        uint32_t number = c->counts.sent;

        memcpy(message + MESSAGE_HEAD + 4, &number, 4);

        struct amqp_delivery *d = amqp_delivery_begin(c->link, c->opts.presettled, 0, NULL);
        size_t taken = amqp_delivery_write(d, &iov, 1, true, &done);

        assert(done && taken == iov.iov_len); // messages are smaller than a frame
        c->counts.sent++;
        c->counts.outstanding += !c->opts.presettled;
    }
    free(message);
}

static void client_receive(struct sim_client *c, const struct amqp_event *ev)
{
    struct amqp_delivery *d = ev->transfer.delivery;
    char key[32];
    uint32_t from, number;

    if (!ev->transfer.first || ev->transfer.more || ev->transfer.len < MESSAGE_HEAD + 8)
        return;
    memcpy(&from, ev->transfer.data + MESSAGE_HEAD, 4);
    memcpy(&number, ev->transfer.data + MESSAGE_HEAD + 4, 4);
    snprintf(key, sizeof(key), "%u:%u", from, number);
    c->counts.received++;
    c->counts.duplicates += map_put(&c->seen, str_of(key), c) != NULL;
    if (!d->settled && c->held_count < c->opts.holds) {
        c->held[c->held_count++] = d;
        return;
    }
    if (!d->settled)
        amqp_delivery_settle(d, &(struct amqp_outcome){.type = AMQP_ACCEPTED});
    amqp_link_grant(c->link, 1);
}

static void client_updated(struct sim_client *c, const struct amqp_event *ev)
{
    enum amqp_outcome_type type = ev->update.outcome.type;

    assert(c->counts.outstanding > 0); // nothing is settled twice
    c->counts.outstanding--;
    c->counts.accepted += type == AMQP_ACCEPTED;
    c->counts.released += type == AMQP_RELEASED;
    c->counts.modified += type == AMQP_MODIFIED;
    c->counts.rejected += type == AMQP_REJECTED;
    if (!ev->update.settled)
        amqp_delivery_settle(ev->update.delivery, NULL);
}

static void client_attach(struct sim_client *c)
{
    struct amqp_attach attach = {
        .name = "link",
        .role = c->opts.is_sender ? AMQP_SENDER : AMQP_RECEIVER,
        .snd_settle_mode = 2,
        .capacity = c->opts.credit ? c->opts.credit : 1,
    };

    *(c->opts.is_sender ? &attach.target.address : &attach.source.address) = str_of(c->address);
    c->link = amqp_link_attach(amqp_session_begin(c->conn, 2048), &attach);
    if (!c->opts.is_sender)
        amqp_link_grant(c->link, c->opts.credit);
}

static void client_poll(struct sim *s, struct sim_client *c)
{
    struct amqp_event ev;

    while (c->conn && amqp_conn_next(c->conn, &ev)) {
        if (ev.type == AMQP_EV_OPENED)
            client_attach(c);
        else if (ev.type == AMQP_EV_ATTACHED)
            c->counts.is_attached = true;
        else if (ev.type == AMQP_EV_TRANSFER)
            client_receive(c, &ev);
        else if (ev.type == AMQP_EV_UPDATED)
            client_updated(c, &ev);
        else if (ev.type == AMQP_EV_DETACHED || ev.type == AMQP_EV_CLOSED)
            c->link = NULL;
    }
    if (c->link && c->opts.is_sender)
        client_send(c);
    wake(s, &c->wire->ends[0]);
}

struct sim_client *sim_client_new(struct sim *s, const struct sim_client_opts *opts)
{
    struct sim_client *c = xcalloc(1, sizeof(*c));
    char id[32];
    struct amqp_conn_opts engine = {
        .container_id = id,
        .frame_size_max = 16384,
        .channel_max = 3,
        .link_max = 4,
        .output_max = 1 << 20,
        .incoming_window = 2048,
        .sasl_mechanisms = AMQP_SASL_ANONYMOUS,
    };

    assert(opts->size + MESSAGE_HEAD < 16000);
    c->opts = *opts;
    c->number = s->client_count++;
    snprintf(id, sizeof(id), "client-%u", c->number);
    snprintf(c->address, sizeof(c->address), "%s", opts->address);
    c->held = xcalloc(opts->holds + 1, sizeof(struct amqp_delivery *));
    c->pool = engine.pool = pool_new(s->block_size, BLOCKS);
    c->wire = wire_new(s, opts->router, opts->router, 1, 1);
    c->wire->is_client = c->wire->is_joined = true;
    c->wire->ends[0].client = c;
    c->conn = amqp_conn_new(&engine, s->now);
    list_init(&c->on_sim);
    list_append(&s->clients, &c->on_sim);
    end_connect(s, &c->wire->ends[1], true, ROUTER_ROLE_NORMAL);
    wake(s, &c->wire->ends[0]);
    return c;
}

void sim_client_end(struct sim *s, struct sim_client *c)
{
    list_remove(&c->on_sim);
    sim_cut(s, c->wire);
    list_remove(&c->wire->on_sim);
    free(c->wire);
    map_fini(&c->seen);
    free(c->held);
    pool_free(c->pool);
    free(c);
}

const struct sim_counts *sim_counts(const struct sim_client *c)
{
    return &c->counts;
}

bool sim_has(const struct sim_client *receiver, const struct sim_client *sender, uint32_t number)
{
    char key[32];

    snprintf(key, sizeof(key), "%u:%u", sender->number, number);
    return map_get(&receiver->seen, str_of(key)) != NULL;
}
