// SPDX-License-Identifier: Apache-2.0
#include "sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "inside.h"

// A wire has two ends; each end holds an engine: a router's connection or a client's. Bytes that an
// engine puts out become packets that arrive at the other end after the wire's delay. One heap of
// timers drives everything: the packet that arrives next on each direction, the deadlines of
// routers and of ends, the turns of clients.

enum {
    IN_FLIGHT_MAX = 256 * 1024, // what sockets hold between two ends
    PIECE = 8 * 1024,
    SMALL_STORE = 100 * 1024,
    STEPS_AT_ONCE_MAX = 10000000,
};

struct packet {
    struct list on_end;
    struct mono at;
    size_t len;
    uint8_t data[];
};

void sim_report(struct sim *s, const char *fmt, ...)
{
    va_list args;

    if (s->fault[0])
        return;
    va_start(args, fmt);
    vsnprintf(s->fault, sizeof(s->fault), fmt, args);
    va_end(args);
}

const char *sim_fault(const struct sim *s)
{
    return s->fault[0] ? s->fault : NULL;
}

// Where the part of a router stands: the hub is 0, then come its shards.
static uint32_t part_at(const struct sim *s, uint32_t router, uint32_t part)
{
    return part == 0 ? router : s->station_count + router * s->shards + part - 1;
}

struct sim *sim_new(uint64_t seed, uint32_t router_count, uint32_t shards, uint32_t block_size)
{
    struct sim *s = xcalloc(1, sizeof(*s));

    rng_init(&s->rng, seed);
    s->now = (struct mono){NS_PER_S};
    s->block_size = block_size;
    heap_init(&s->heap);
    list_init(&s->wires);
    list_init(&s->clients);
    list_init(&s->woken);
    s->stored_max = seed % 2 ? 0 : SMALL_STORE;
    s->station_count = router_count;
    s->shards = shards;
    s->stations = xcalloc((size_t)router_count * (1 + shards), sizeof(*s->stations));
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

uint64_t sim_packets(const struct sim *s)
{
    return s->packets;
}

size_t sim_blocks_used(struct sim *s, uint32_t index)
{
    size_t used = 0;

    for (uint32_t part = 0; part <= s->shards; part++) {
        const struct pool *pool = s->stations[part_at(s, index, part)].pool;

        used += pool ? pool_used(pool) : 0;
    }
    return used;
}

uint64_t sim_bytes(const struct sim *s)
{
    return s->bytes;
}

// ------------------------------------------------------------------------------------------ ends

void sim_wake(struct sim *s, struct end *e)
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
        // A silent cable is no breach of the protocol.
        if (ev.type == ROUTER_EV_CLOSED && strstr(ev.text, "protocol broken") &&
            !strstr(ev.text, "idle-timeout"))
            sim_report(s, "router %s: %s", st->id, ev.text);
    }
    while ((c = router_next_dirty(st->router)) != NULL)
        sim_wake(s, router_conn_user_data(c));
    heap_set(&s->heap, &st->deadline.timer, router_deadline(st->router));
}

static struct end *other(struct end *e)
{
    return e == &e->wire->ends[0] ? &e->wire->ends[1] : &e->wire->ends[0];
}

// An end that was given more than it had allowed says so, to a link or a session.
static void watch(struct sim *s, const uint8_t *data, size_t len)
{
    static const char *const words[] = {"transfer-limit-exceeded", "window-violation"};

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (memmem(data, len, words[i], strlen(words[i])))
            sim_report(s, "credit or window overrun: %s", words[i]);
}

static struct mono arrival_time(struct sim *s, struct end *from, size_t len)
{
    const struct sim_wire *w = from->wire;
    struct mono leaves = mono_before(from->free_at, s->now) ? s->now : from->free_at, at;

    if (w->bytes_per_ms)
        from->free_at = leaves =
            mono_add_ms(leaves, (int64_t)((len + w->bytes_per_ms - 1) / w->bytes_per_ms));
    at = mono_add_ms(leaves, w->delay_ms + rng_below(&s->rng, w->jitter_ms + 1));
    if (mono_before(at, from->last_at)) // they keep their order
        at = from->last_at;
    return from->last_at = at;
}

static void packet_send(struct sim *s, struct end *from, struct buf *out, size_t len)
{
    struct end *to = other(from);
    struct packet *p;

    p = xcalloc(1, sizeof(*p) + len);
    p->len = buf_copy(out, 0, p->data, len);
    p->at = arrival_time(s, from, len);
    buf_skip(out, len);
    from->in_flight += len;
    watch(s, p->data, len);
    if (from->wire->is_silent) {
        free(p);
        return;
    }
    s->packets++;
    s->bytes += len;
    list_init(&p->on_end);
    list_append(&to->incoming, &p->on_end);
    if (to->arrival.timer.place == 0)
        heap_set(&s->heap, &to->arrival.timer, p->at);
}

// As much of the output as the wire takes; a narrow one carries it in small pieces, which arrive
// one by one. True when some has left.
static bool send_output(struct sim *s, struct end *from, struct buf *out)
{
    size_t room = IN_FLIGHT_MAX - from->in_flight, left = out->len < room ? out->len : room;
    size_t piece = from->wire->bytes_per_ms ? PIECE : left;

    if (left == 0)
        return false;
    for (; left > 0; left -= piece) {
        piece = left < piece ? left : piece;
        packet_send(s, from, out, piece);
    }
    return true;
}

static void pull_router(struct sim *s, struct end *e)
{
    if (send_output(s, e, router_conn_output(e->conn, s->now)))
        router_conn_sent(e->conn, s->now);
    heap_set(&s->heap, &e->deadline.timer, router_conn_deadline(e->conn));
    if (router_conn_is_finished(e->conn))
        sim_cut(s, e->wire);
    settle_router(s, e->router);
}

static void pull_client(struct sim *s, struct end *e)
{
    struct sim_client *c = e->client;

    amqp_conn_flush(c->conn);
    if (send_output(s, e, amqp_conn_output(c->conn))) {
        amqp_conn_sent(c->conn);
        client_poll(c);
    }
    if (c->conn)
        heap_set(&s->heap, &e->deadline.timer, amqp_conn_deadline(c->conn));
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
        client_poll(e->client);
    }
    sim_wake(s, e);
}

static void arrived(struct sim *s, struct end *e)
{
    struct packet *p = list_entry(list_pop(&e->incoming), struct packet, on_end);
    struct list *next = list_first(&e->incoming);

    if (next)
        heap_set(&s->heap, &e->arrival.timer, list_entry(next, struct packet, on_end)->at);
    other(e)->in_flight -= p->len;
    sim_wake(s, other(e));
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
    e->in_flight = 0;
    e->free_at = e->last_at = s->now;
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

void sim_delay(struct sim_wire *w, uint32_t delay_ms, uint32_t jitter_ms, uint32_t bytes_per_ms)
{
    w->delay_ms = delay_ms;
    w->jitter_ms = jitter_ms;
    w->bytes_per_ms = bytes_per_ms;
}

struct sim_wire *sim_client_wire(struct sim *s, uint32_t router)
{
    uint32_t part = s->shards > 0 ? rng_below(&s->rng, s->shards + 1) : 0;
    struct sim_wire *w = wire_new(s, router, part_at(s, router, part), 1, 1);

    w->is_client = true;
    return w;
}

void sim_client_join(struct sim *s, struct sim_wire *w)
{
    w->is_joined = true;
    end_connect(s, &w->ends[1], true, ROUTER_ROLE_NORMAL);
    sim_wake(s, &w->ends[0]);
}

void sim_join(struct sim *s, struct sim_wire *w)
{
    if (w->is_joined && !w->is_silent)
        return;
    sim_cut(s, w);
    if (w->is_client || w->is_shard || !s->stations[w->ends[0].router].router ||
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
    if (e->client && e->client->conn)
        client_lost(e->client);
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

static void cut_all(struct sim *s, uint32_t at)
{
    list_for_each (node, &s->wires) {
        struct sim_wire *w = list_entry(node, struct sim_wire, on_sim);

        if (w->ends[0].router != at && w->ends[1].router != at)
            continue;
        sim_cut(s, w);
        if (w->is_shard) {
            list_remove(&w->on_sim);
            free(w);
        }
    }
}

static void stop(struct sim *s, struct station *st)
{
    heap_cancel(&s->heap, &st->deadline.timer);
    router_free(st->router);
    st->router = NULL;
    pool_free(st->pool);
    st->pool = NULL;
}

void sim_kill(struct sim *s, uint32_t index)
{
    if (!s->stations[index].router)
        return;
    for (uint32_t part = 0; part <= s->shards; part++)
        cut_all(s, part_at(s, index, part));
    pull_woken(s);
    for (uint32_t part = s->shards + 1; part-- > 0;)
        stop(s, &s->stations[part_at(s, index, part)]);
}

// All that both ends have to say, without time passing.
static void greet(struct sim *s, struct sim_wire *w)
{
    bool any = true;

    while (any) {
        any = false;
        for (int i = 0; i < 2; i++) {
            struct buf *out = router_conn_output(w->ends[i].conn, s->now);
            size_t len = out->len;
            uint8_t *bytes = xcalloc(1, len + 1);

            any = any || len > 0;
            buf_copy(out, 0, bytes, len);
            buf_skip(out, len);
            router_conn_sent(w->ends[i].conn, s->now);
            router_conn_feed(w->ends[1 - i].conn, bytes, len, s->now);
            free(bytes);
        }
    }
}

// As a worker joins the first one: the two know each other before anybody comes.
static void join_shard(struct sim *s, uint32_t hub, uint32_t shard)
{
    struct sim_wire *w = wire_new(s, shard, hub, 1, 0);

    w->is_shard = w->is_joined = true;
    w->jitter_ms = 1;
    end_connect(s, &w->ends[0], false, ROUTER_ROLE_SHARD);
    end_connect(s, &w->ends[1], true, ROUTER_ROLE_SHARD);
    router_add_shard(s->stations[hub].router, s->stations[shard].router);
    greet(s, w);
    settle_router(s, hub);
    settle_router(s, shard);
}

static void start(struct sim *s, uint32_t index, uint32_t part)
{
    struct station *st = &s->stations[part_at(s, index, part)];

    snprintf(st->id, sizeof(st->id), "R%04u", index);
    st->pool = pool_new(s->block_size, SIM_BLOCKS);

    struct router_opts o = {
        .id = st->id,
        .mode = part == 0 ? ROUTER_INTERIOR : ROUTER_SHARD,
        .hub_mode = ROUTER_INTERIOR,
        .shard = part,
        .instance = 1000 + st->starts++,
        .seed = rng_next(&s->rng),
        .default_treatment = ROUTER_BALANCED,
        .stored_max = s->stored_max,
        .pool = st->pool,
    };

    st->router = router_new(&o, s->now);
    if (part > 0)
        join_shard(s, index, part_at(s, index, part));
}

void sim_start(struct sim *s, uint32_t index)
{
    struct station *st = &s->stations[index];

    if (st->router)
        return;
    for (uint32_t part = 0; part <= s->shards; part++)
        start(s, index, part);
    router_address_config(st->router, STR("mc"), true, ROUTER_MULTICAST, -1);
    router_address_config(st->router, STR("closest"), true, ROUTER_CLOSEST, -1);
    settle_router(s, index);
    list_for_each (node, &s->clients) {
        struct sim_client *c = list_entry(node, struct sim_client, on_sim);

        if (c->opts.router == index)
            client_connect(c);
    }
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
    free(s->by_number);
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
        client_poll(e->client);
    }
    sim_wake(s, e);
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
    case OF_CLIENT:
        s->steps++;
        client_turn(list_entry(st, struct sim_client, turn));
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

        if (s->fault[0])
            return false;
        if (!mono_before(s->now, next)) {
            uint64_t last = s->steps + STEPS_AT_ONCE_MAX;

            while (!s->fault[0] && (t = heap_pop_due(&s->heap, s->now)) != NULL) {
                fire(s, t);
                pull_woken(s);
                if (s->steps > last)
                    sim_report(s, "time stands still: something is due again and again");
            }
            continue;
        }
        if (done && done(s, user))
            return true;
        if (mono_before(until, next)) {
            s->now = until;
            return false;
        }
        s->now = next;
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

            for (int i = 0; i < 2 && !w->is_client && !w->is_shard && sim_is_joined(w); i++) {
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
