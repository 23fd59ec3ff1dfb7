// SPDX-License-Identifier: Apache-2.0
// Both ends of connections on one loop, over loopback: what the tests of net stand on. An `end` is
// an engine that keeps what it is fed and sends what it is told to.
#pragma once

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "certs.h"
#include "check.h"
#include "net/inside.h"

enum { ENDS = 40, PATIENCE_MS = 20000 };

struct rig;

struct end {
    struct rig *rig;
    struct net_stream *stream;
    struct buf out;
    char *got;
    size_t got_len, got_size;
    bool is_paused, is_finished, is_lost, echoes;
    void (*on_feed)(struct end *e);
    int ticks;
    struct mono deadline;
    struct net_peer peer;
    char why[400];
};

struct rig {
    struct net_loop *loop;
    struct pool *pool;
    struct end ends[ENDS]; // in the order in which they became ready
    int end_count;
    struct end *client; // the end that our connector made last
    struct net_listener *listener;
    struct net_connector *connector;
    bool refuses, echoes; // of ends to come
    bool is_full;         // no memory for more
    int pauses, resumes;  // of accepting
    char pause_why[100];
    int accepts_failed, connects_failed;
    char accept_why[400], connect_why[400];
    char accept_peer[64];
    void (*on_ready)(struct rig *r);
    void (*on_connect_failed)(struct rig *r);
};

static inline void end_say(struct end *e, const void *data, size_t len)
{
    CHECK_EQ(buf_write(&e->out, data, len), len);
    if (!e->is_lost)
        net_want_write(e->stream);
}

static inline void end_feed(void *engine, const uint8_t *data, size_t len, struct mono now)
{
    struct end *e = engine;

    (void)now;
    CHECK(!e->is_lost);
    if (e->got_len + len + 1 > e->got_size) {
        e->got_size = (e->got_len + len + 1) * 2;
        e->got = xrealloc(e->got, e->got_size, 1);
    }
    memcpy(e->got + e->got_len, data, len);
    e->got_len += len;
    e->got[e->got_len] = '\0';
    if (e->echoes)
        end_say(e, data, len);
    if (e->on_feed)
        e->on_feed(e);
}

static inline struct buf *end_output(void *engine, struct mono now)
{
    struct end *e = engine;

    (void)now;
    return &e->out;
}

static inline void end_sent(void *engine, struct mono now)
{
    (void)engine;
    (void)now;
}

static inline struct mono end_deadline(const void *engine)
{
    return ((const struct end *)engine)->deadline;
}

static inline void end_tick(void *engine, struct mono now)
{
    struct end *e = engine;

    (void)now;
    e->ticks++;
    e->deadline = MONO_NEVER;
}

static inline bool end_is_paused(const void *engine)
{
    return ((const struct end *)engine)->is_paused;
}

static inline bool end_is_finished(const void *engine)
{
    return ((const struct end *)engine)->is_finished;
}

static inline void end_lost(void *engine, const char *why, struct mono now)
{
    struct end *e = engine;

    (void)now;
    CHECK(!e->is_lost);
    e->is_lost = true;
    snprintf(e->why, sizeof(e->why), "%s", why);
}

static const struct net_engine_ops end_ops = {
    .feed = end_feed,
    .output = end_output,
    .sent = end_sent,
    .deadline = end_deadline,
    .tick = end_tick,
    .is_paused = end_is_paused,
    .is_finished = end_is_finished,
    .lost = end_lost,
};

static inline void *rig_ready(void *user, struct net_stream *s, const struct net_engine_ops **ops,
                              struct mono now)
{
    struct rig *r = user;
    struct end *e = &r->ends[r->end_count];

    (void)now;
    if (r->refuses)
        return NULL;
    CHECK(r->end_count < ENDS);
    r->end_count++;
    *e = (struct end){.rig = r,
                      .stream = s,
                      .deadline = MONO_NEVER,
                      .peer = *net_stream_peer(s),
                      .echoes = r->echoes};
    buf_init(&e->out, r->pool);
    *ops = &end_ops;
    if (r->on_ready)
        r->on_ready(r);
    return e;
}

static inline void *rig_connected(void *user, struct net_stream *s,
                                  const struct net_engine_ops **ops, struct mono now)
{
    struct rig *r = user;

    r->client = rig_ready(user, s, ops, now);
    if (r->client)
        r->client->echoes = false;
    return r->client;
}

static inline void rig_accept_failed(void *user, const struct net_peer *peer, const char *why,
                                     struct mono now)
{
    struct rig *r = user;

    (void)now;
    r->accepts_failed++;
    snprintf(r->accept_peer, sizeof(r->accept_peer), "%s", peer->host);
    snprintf(r->accept_why, sizeof(r->accept_why), "%s", why);
}

static inline bool rig_is_full(void *user)
{
    return ((struct rig *)user)->is_full;
}

static inline void rig_paused(void *user, const char *why, struct mono now)
{
    struct rig *r = user;

    (void)now;
    r->pauses += why != NULL;
    r->resumes += why == NULL;
    if (why)
        snprintf(r->pause_why, sizeof(r->pause_why), "%s", why);
}

static inline void rig_connect_failed(void *user, const char *why, struct mono now)
{
    struct rig *r = user;

    (void)now;
    r->connects_failed++;
    snprintf(r->connect_why, sizeof(r->connect_why), "%s", why);
    if (r->on_connect_failed)
        r->on_connect_failed(r);
}

static inline void rig_begin(struct rig *r)
{
    memset(r, 0, sizeof(*r));
    r->pool = pool_new(4096, 100000);
    CHECK_EQ(net_loop_new(&(struct net_hooks){0}, 65536, &r->loop), 0);
}

// Everything ends, and everything is given back.
static inline void rig_end(struct rig *r)
{
    net_listener_free(r->listener);
    net_connector_free(r->connector);
    net_loop_free(r->loop);
    for (int i = 0; i < r->end_count; i++) {
        CHECK(r->ends[i].is_lost);
        buf_fini(&r->ends[i].out);
        free(r->ends[i].got);
    }
    CHECK_EQ(pool_used(r->pool), 0);
    pool_free(r->pool);
}

static inline void rig_turn(struct rig *r)
{
    net_loop_turn(r->loop, mono_add_ms(mono_now(), 20));
}

// Turns the loop until it is so; that it never becomes so is a failure, told after a long while.
#define RIG_UNTIL(r, cond)                                                                         \
    do {                                                                                           \
        struct mono rig_limit = mono_add_ms(mono_now(), PATIENCE_MS);                              \
                                                                                                   \
        while (!(cond)) {                                                                          \
            rig_turn(r);                                                                           \
            if (mono_before(rig_limit, mono_now()))                                                \
                fail_msg("%s:%d: never so: %s (accept: %s, connect: %s)", __FILE__, __LINE__,      \
                         #cond, (r)->accept_why, (r)->connect_why);                                \
        }                                                                                          \
    } while (0)

// The loop has nothing to do: a turn lasts until the time that it was given.
#define CHECK_IDLE(r)                                                                              \
    do {                                                                                           \
        struct mono rig_until = mono_add_ms(mono_now(), 30);                                       \
                                                                                                   \
        rig_turn(r); /* what is left of before */                                                  \
        rig_until = mono_add_ms(mono_now(), 30);                                                   \
        net_loop_turn((r)->loop, rig_until);                                                       \
        CHECK(!mono_before(mono_now(), rig_until));                                                \
    } while (0)

static inline void rig_listen(struct rig *r, struct net_listener_opts opts)
{
    struct why why = {""};

    opts.host = opts.host ? opts.host : "127.0.0.1";
    opts.port = opts.port ? opts.port : "0";
    opts.accept = (struct net_accept){.ready = rig_ready,
                                      .failed = rig_accept_failed,
                                      .is_full = rig_is_full,
                                      .paused = rig_paused,
                                      .user = r};
    if (net_listener_new(r->loop, &opts, &r->listener, &why) < 0)
        fail_msg("%s", why.text);
}

static inline void rig_connect(struct rig *r, struct net_connector_opts opts)
{
    static char port[16];
    struct why why = {""};

    snprintf(port, sizeof(port), "%d", r->listener ? net_listener_port(r->listener) : 1);
    opts.host = opts.host ? opts.host : "127.0.0.1";
    opts.port = opts.port ? opts.port : port;
    opts.connect = (struct net_connect){rig_connected, rig_connect_failed, r};
    if (net_connector_new(r->loop, &opts, &r->connector, &why) < 0)
        fail_msg("%s", why.text);
}

// An address that answers nothing: a listening socket whose queue is full.
struct silent {
    int door, queue[4];
    char port[16];
};

static inline void silent_begin(struct silent *s, const char *host, const char *port)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST}, *at = NULL;
    struct sockaddr_in6 sa = {0}; // of either family: the port is at the same place
    socklen_t len = sizeof(sa);
    int one = 1;

    CHECK_EQ(getaddrinfo(host, port, &hints, &at), 0);
    s->door = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK_EQ(setsockopt(s->door, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)), 0);
    CHECK_EQ(bind(s->door, at->ai_addr, at->ai_addrlen), 0);
    CHECK_EQ(listen(s->door, 0), 0);
    CHECK_EQ(getsockname(s->door, (struct sockaddr *)&sa, &len), 0);
    snprintf(s->port, sizeof(s->port), "%d", ntohs(sa.sin6_port));
    for (int i = 0; i < 4; i++) {
        s->queue[i] = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        (void)!connect(s->queue[i], (struct sockaddr *)&sa, len);
    }
    freeaddrinfo(at);
}

static inline void silent_end(struct silent *s)
{
    for (int i = 0; i < 4; i++)
        close(s->queue[i]);
    close(s->door);
}

// A plain blocking-when-needed socket to the listener, outside of the loop.
static inline int rig_dial(struct rig *r)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)net_listener_port(r->listener)),
                             .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    CHECK(fd >= 0);
    CHECK_EQ(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    return fd;
}

// Turns the loop while it waits for bytes: their count, 0 at the end, -1 for a broken connection.
static inline ssize_t rig_recv(struct rig *r, int fd, void *out, size_t size)
{
    struct mono limit = mono_add_ms(mono_now(), PATIENCE_MS);
    ssize_t n;

    while ((n = recv(fd, out, size, MSG_DONTWAIT)) < 0 && errno == EAGAIN) {
        net_loop_turn(r->loop, mono_add_ms(mono_now(), 5));
        CHECK(mono_before(mono_now(), limit));
    }
    return n;
}

static inline bool has_ipv6(void)
{
    struct sockaddr_in6 sa = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = fd >= 0 && bind(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0;

    if (fd >= 0)
        close(fd);
    return ok;
}

#define CHECK_HAS(text, part)                                                                      \
    do {                                                                                           \
        if (!strstr(text, part))                                                                   \
            fail_msg("%s:%d: \"%s\" does not say \"%s\"", __FILE__, __LINE__, text, part);         \
    } while (0)
