// SPDX-License-Identifier: Apache-2.0
// For tests and fuzzing: a listener at router A, a connector at router B, and sockets that are
// played. Between the routers a wire of memory passes bytes in pieces of `step`, the sockets say
// theirs in pieces of `piece`; time stands still but for apart_pass(). What a socket gets is
// written down in words.
#pragma once

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "tcp/tcp.h"

enum { SPOTS = 48, SPOT_TOLD = 2048, TURNS_MAX = 100000 };

// A socket. At the connector's end it waits to be connected, or to fail, first.
struct spot {
    struct tcp_conn *conn; // NULL: gone
    bool is_server, is_dialling, is_shut, has_ended;
    size_t len;
    char told[SPOT_TOLD];
};

struct apart {
    struct pool *pool;
    struct mono now;
    size_t step, piece;
    struct router *router[2];
    struct tcp *tcp[2];
    struct router_conn *wire[2];
    struct tcp_service clients, servers;
    struct tcp_connector connector;
    struct spot spots[SPOTS]; // in the order in which they came to be
    int spot_count;
    // What else moves bytes: true while it did.
    bool (*more)(void *user);
    void *user;
};

static inline void spot_tell(struct spot *p, const void *data, size_t len)
{
    size_t room = SPOT_TOLD - 1 - p->len;

    memcpy(p->told + p->len, data, len < room ? len : room);
    p->len += len < room ? len : room;
}

static inline void spot_gone(struct spot *p, const char *how, const char *error)
{
    struct tcp_conn *c = p->conn;

    spot_tell(p, how, strlen(how));
    p->conn = NULL;
    tcp_lost(c, error);
}

static inline struct spot *spot_of(struct apart *x, struct tcp_conn *c)
{
    struct spot *p = tcp_transport(c);

    if (p)
        return p;
    if (x->spot_count == SPOTS)
        return NULL;
    p = &x->spots[x->spot_count++];
    p->conn = c;
    p->is_server = true;
    tcp_set_transport(c, p);
    return p;
}

// What the shell does with a connection at which something changed.
static inline void apart_look(struct apart *x, struct tcp_conn *c)
{
    struct spot *p = spot_of(x, c);

    if (!p)
        tcp_connect_failed(c, "no sockets are left");
    else if (tcp_is_reset(c))
        spot_gone(p, "<reset>", NULL);
    else if (tcp_is_finished(c) && tcp_output(c)->len == 0)
        spot_gone(p, "<closed>", NULL);
    else if (tcp_is_shut(c) && !p->is_shut) {
        p->is_shut = true;
        spot_tell(p, "<end>", 5);
    }
}

static inline void apart_dial(struct apart *x, struct tcp_conn *c)
{
    struct spot *p = spot_of(x, c);

    if (p)
        p->is_dialling = true;
    else
        tcp_connect_failed(c, "no sockets are left");
}

static inline bool apart_carry(struct apart *x, int from)
{
    struct buf *out = x->wire[from] ? router_conn_output(x->wire[from], x->now) : NULL;
    size_t len = out ? out->len : 0;
    uint8_t *bytes;

    if (len == 0)
        return false;
    bytes = xcalloc(1, len);
    buf_copy(out, 0, bytes, len);
    buf_skip(out, len);
    router_conn_sent(x->wire[from], x->now);
    for (size_t at = 0; at < len; at += x->step)
        router_conn_feed(x->wire[!from], bytes + at, len - at < x->step ? len - at : x->step,
                         x->now);
    free(bytes);
    return true;
}

// Until nothing moves.
static inline void apart_run(struct apart *x)
{
    struct router_event ev;
    struct tcp_conn *c;
    bool any = true;

    for (int turn = 0; any; turn++) {
        assert(turn < TURNS_MAX);
        any = false;
        for (int i = 0; i < 2; i++) {
            any |= apart_carry(x, i);
            for (; (c = tcp_next_to_connect(x->tcp[i])) != NULL; any = true)
                apart_dial(x, c);
            for (; (c = tcp_next_dirty(x->tcp[i])) != NULL; any = true)
                apart_look(x, c);
            while (router_next_dirty(x->router[i]))
                continue;
            while (router_next_event(x->router[i], &ev))
                continue;
        }
        any |= x->more && x->more(x->user);
    }
}

static inline void apart_pass(struct apart *x, int ms)
{
    apart_run(x);
    for (; ms > 0; ms -= 50) {
        x->now = mono_add_ms(x->now, 50);
        for (int i = 0; i < 2; i++) {
            router_tick(x->router[i], x->now);
            if (x->wire[i])
                router_conn_tick(x->wire[i], x->now);
        }
        for (int i = 0; i < x->spot_count; i++)
            if (x->spots[i].conn && !mono_before(x->now, tcp_deadline(x->spots[i].conn)))
                tcp_tick(x->spots[i].conn, x->now);
        apart_run(x);
    }
}

// The wire has room for so many sessions; 0: many.
static inline void apart_begin_with(struct apart *x, size_t step, uint32_t session_max)
{
    struct router_opts o = {.mode = ROUTER_INTERIOR,
                            .instance = 1,
                            .seed = 7,
                            .default_treatment = ROUTER_BALANCED,
                            .hello_interval_ms = 100,
                            .ra_interval_flux_ms = 100};
    struct router_conn_opts w = {.role = ROUTER_ROLE_INTER_ROUTER,
                                 .cost = 1,
                                 .name = "wire",
                                 .host = "memory",
                                 .sasl_mechanisms = AMQP_SASL_ANONYMOUS};
    int err;

    memset(x, 0, sizeof(*x));
    w.session_max = session_max;
    x->step = x->piece = step;
    x->now = (struct mono){NS_PER_S};
    o.pool = x->pool = pool_new(4096, 65536);
    for (int i = 0; i < 2; i++) {
        o.id = i == 0 ? "A" : "B";
        o.seed++;
        x->router[i] = router_new(&o, x->now);
        x->tcp[i] = tcp_new(x->router[i], x->pool);
    }
    tcp_service_init(&x->clients);
    tcp_service_init(&x->servers);
    err = tcp_connector_open(x->tcp[1], &x->connector, &x->servers, STR("echo"));
    assert(err == 0);
    for (int i = 0; i < 2; i++, w.is_server = true)
        x->wire[i] = router_conn_new(x->router[i], &w, x->now);
    while (router_destinations(x->router[0], "echo") == 0)
        apart_pass(x, 50);
}

static inline void apart_begin(struct apart *x, size_t step)
{
    apart_begin_with(x, step, 0);
}

// The wire breaks.
static inline void apart_cut(struct apart *x)
{
    for (int i = 0; i < 2; i++)
        if (x->wire[i])
            router_conn_lost(x->wire[i], x->now);
    x->wire[0] = x->wire[1] = NULL;
    apart_run(x);
}

// A client's socket is accepted at A; NULL when there are enough.
static inline struct spot *apart_accept(struct apart *x)
{
    struct tcp_accept a = {.service = &x->clients, .address = STR("echo"), .peer = "client"};
    struct spot *p = &x->spots[x->spot_count];

    if (x->spot_count == SPOTS)
        return NULL;
    x->spot_count++;
    p->conn = tcp_accepted(x->tcp[0], &a, x->now);
    tcp_set_transport(p->conn, p);
    apart_run(x);
    return p;
}

// Its server answers, or not.
static inline void apart_answer(struct apart *x, struct spot *p, bool is_there)
{
    struct tcp_conn *c = p->conn;

    p->is_dialling = false;
    if (is_there) {
        tcp_connected(c, "server", x->now);
    } else {
        spot_tell(p, "<failed>", 8);
        p->conn = NULL;
        tcp_connect_failed(c, "refused");
    }
    apart_run(x);
}

// The socket's peer sends, in pieces of `piece`, as far as there is room. Returns what was taken.
static inline size_t apart_say(struct apart *x, struct spot *p, const void *data, size_t len)
{
    size_t at = 0;

    while (p->conn && at < len) {
        size_t room = tcp_room(p->conn), piece = len - at < x->piece ? len - at : x->piece;

        if (room == 0)
            break;
        piece = piece < room ? piece : room;
        tcp_feed(p->conn, (const uint8_t *)data + at, piece, x->now);
        at += piece;
    }
    apart_run(x);
    return at;
}

static inline void apart_end_of(struct apart *x, struct spot *p)
{
    p->has_ended = true;
    tcp_ended(p->conn, x->now);
    apart_run(x);
}

// The socket takes up to `most` bytes.
static inline void apart_take(struct apart *x, struct spot *p, size_t most)
{
    char bytes[512];
    size_t len =
        buf_copy(tcp_output(p->conn), 0, bytes, most < sizeof(bytes) ? most : sizeof(bytes));

    if (len == 0)
        return;
    spot_tell(p, bytes, len);
    buf_skip(tcp_output(p->conn), len);
    tcp_sent(p->conn, x->now);
    if (p->conn)
        apart_look(x, p->conn);
    apart_run(x);
}

static inline void apart_lose(struct apart *x, struct spot *p)
{
    spot_gone(p, "<lost>", "connection reset");
    apart_run(x);
}

// The last spot that waits to be connected, or NULL.
static inline struct spot *apart_dialling(struct apart *x)
{
    for (int i = x->spot_count - 1; i >= 0; i--)
        if (x->spots[i].conn && x->spots[i].is_dialling)
            return &x->spots[i];
    return NULL;
}

// All ends, and nothing may be left of anything.
static inline void apart_end(struct apart *x)
{
    struct router_stats stats;

    for (int i = 0; i < x->spot_count; i++)
        if (x->spots[i].conn)
            apart_lose(x, &x->spots[i]);
    tcp_connector_close(&x->connector);
    apart_cut(x);
    for (int i = 0; i < 2; i++) {
        assert(tcp_count(x->tcp[i]) == 0);
        tcp_free(x->tcp[i]);
        router_stats(x->router[i], &stats);
        assert(stats.deliveries == 0 && stats.stored_bytes == 0);
        router_free(x->router[i]);
    }
    assert(pool_used(x->pool) == 0);
    pool_free(x->pool);
}
