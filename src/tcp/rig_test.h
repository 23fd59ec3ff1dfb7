// SPDX-License-Identifier: Apache-2.0
// One router with a listener and a connector of the address "echo"; sockets are played by the test.
#pragma once

#include "check.h"
#include "tcp/conn.h"

struct rig {
    struct pool *pool;
    struct router *router;
    struct tcp *tcp;
    struct tcp_service clients, servers;
    struct tcp_connector connector;
    struct mono now;
};

static inline void begin(struct rig *r)
{
    struct router_opts opts = {.id = "R", .default_treatment = ROUTER_BALANCED};

    memset(r, 0, sizeof(*r));
    r->now = mono_add_ms((struct mono){0}, 1000);
    opts.pool = r->pool = pool_new(4096, 4096);
    r->router = router_new(&opts, r->now);
    r->tcp = tcp_new(r->router, r->pool);
    tcp_service_init(&r->clients);
    tcp_service_init(&r->servers);
    CHECK_EQ(tcp_connector_open(r->tcp, &r->connector, &r->servers, STR("echo")), 0);
}

// Nothing may be left behind.
static inline void end(struct rig *r)
{
    struct router_stats stats;

    tcp_connector_close(&r->connector);
    CHECK_EQ(tcp_count(r->tcp), 0);
    router_stats(r->router, &stats);
    CHECK_EQ(stats.deliveries, 0);
    CHECK_EQ(stats.stored_bytes, 0);
    CHECK_EQ(pool_used(r->pool), 0);
    tcp_free(r->tcp);
    router_free(r->router);
    pool_free(r->pool);
}

static inline struct tcp_conn *accepted_at(struct rig *r, const char *address)
{
    return tcp_accepted(
        r->tcp,
        &(struct tcp_accept){
            .service = &r->clients, .address = str_of(address), .peer = "client:1", .alpn = "h2"},
        r->now);
}

static inline struct tcp_conn *accepted(struct rig *r)
{
    return accepted_at(r, "echo");
}

// The next server's end that was offered and is not connected.
static inline struct tcp_conn *offered(struct rig *r)
{
    return tcp_next_to_connect(r->tcp);
}

static inline struct tcp_conn *established(struct rig *r, struct tcp_conn **server)
{
    struct tcp_conn *client = accepted(r);

    *server = offered(r);
    CHECK(*server);
    tcp_connected(*server, "server:1", r->now);
    return client;
}

static inline void say(struct rig *r, struct tcp_conn *c, const char *text)
{
    CHECK(tcp_room(c) >= strlen(text));
    tcp_feed(c, (const uint8_t *)text, strlen(text), r->now);
}

// Its socket takes all there is.
static inline size_t drain(struct rig *r, struct tcp_conn *c, char *out, size_t size)
{
    size_t len = tcp_output(c)->len;

    if (out) {
        memset(out, 0, size);
        buf_copy(tcp_output(c), 0, out, size - 1);
    }
    buf_skip(tcp_output(c), len);
    tcp_sent(c, r->now);
    return len;
}

static inline void check_hears(struct rig *r, struct tcp_conn *c, const char *text)
{
    char got[64];

    drain(r, c, got, sizeof(got));
    CHECK_STR(str_of(got), text);
}
