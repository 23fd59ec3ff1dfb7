// SPDX-License-Identifier: Apache-2.0
// For tests of forwarding: a few routers and clients in memory, joined by passing bytes until
// nothing moves. Time stands still but for net_pass(). What a client sees is written down in words.
#pragma once

#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "check.h"
#include "router/core.h"

enum { NET_ROUTERS = 6, NET_WIRES = 32, CLIENT_LINKS = 24, CLIENT_TOLD = 16384 };

struct net;

struct client {
    struct net *net;
    struct amqp_conn *conn;
    struct amqp_session *session;
    struct amqp_link *links[CLIENT_LINKS]; // NULL: detached
    int link_count;
    bool holds;                     // does not settle what it gets
    bool is_stingy;                 // gives no credit back by itself
    bool goes_on;                   // does not settle, nor take back, what has an outcome
    bool was_settled;               // as the last outcome was told
    enum amqp_outcome_type outcome; // what it settles with, else accepted
    struct amqp_delivery *held[256];
    int held_count;
    char dynamic[128]; // the address that a dynamic source got
    uint8_t body[1 << 20];
    size_t body_len;
    uint32_t received;
    struct str ra_trace;
    char told[CLIENT_TOLD];
};

struct wire {
    struct router_conn *conn[2]; // [1] is the one that listens; NULL: a client's
    struct client *client;
    bool is_slow; // carries nothing while it is
};

struct net {
    struct pool *pool;
    struct mono now;
    struct router *routers[NET_ROUTERS];
    uint64_t own_links[NET_ROUTERS]; // that a router has from its start
    struct wire wires[NET_WIRES];
    int wire_count;
};

// What the client has seen since this was asked last: got(body), accepted, detached(why), …
static inline const char *heard(struct client *c)
{
    static char text[CLIENT_TOLD];

    snprintf(text, sizeof(text), "%s", c->told);
    c->told[0] = '\0';
    return text;
}

static inline void client_tell(struct client *c, const char *fmt, ...) PRINTF_LIKE(2, 3);
static inline void client_tell(struct client *c, const char *fmt, ...)
{
    size_t len = strlen(c->told);
    va_list args;

    if (len > 0 && len + 1 < CLIENT_TOLD)
        c->told[len++] = ' ';
    va_start(args, fmt);
    vsnprintf(c->told + len, CLIENT_TOLD - len, fmt, args);
    va_end(args);
}

// The text in the data section; messages of these tests have one.
static inline struct str body_of(struct str bytes, struct amqp_msg *msg)
{
    struct amqp_item section, value;
    struct amqp_reader at;
    uint64_t code;

    CHECK_EQ(amqp_msg_scan(bytes, true, AMQP_SCAN_BODY, msg), 0);
    at = amqp_reader_of(str_skip(bytes, msg->body_at));
    if (amqp_read(&at, &section) < 0 || amqp_open_described(&section, &code, &value) < 0)
        return STR_NONE;
    return value.bytes;
}

static inline void client_settle(struct client *c, struct amqp_delivery *d)
{
    enum amqp_outcome_type type = c->outcome == AMQP_NO_OUTCOME ? AMQP_ACCEPTED : c->outcome;

    amqp_delivery_settle(d, &(struct amqp_outcome){.type = type});
    if (!c->is_stingy)
        amqp_link_grant(d->link, 1);
}

static inline void client_transfer(struct client *c, const struct amqp_event *ev)
{
    struct amqp_delivery *d = ev->transfer.delivery;
    struct amqp_msg msg;
    struct str body;

    if (ev->transfer.first)
        c->body_len = 0;
    CHECK(c->body_len + ev->transfer.len <= sizeof(c->body));
    if (ev->transfer.len > 0)
        memcpy(c->body + c->body_len, ev->transfer.data, ev->transfer.len);
    c->body_len += ev->transfer.len;
    if (ev->transfer.aborted)
        client_tell(c, "aborted");
    if (ev->transfer.more || ev->transfer.aborted)
        return;
    body = body_of((struct str){(const char *)c->body, c->body_len}, &msg);
    c->received++;
    client_tell(c, "got(%.*s%s)", (int)(body.len < 40 ? body.len : 40), body.ptr,
                d->settled ? " settled" : "");
    if (msg.ra.present)
        client_tell(c, "ra(flags=%u to=%.*s ingress=%.*s trace=%u mesh=%.*s)", msg.ra.flags,
                    STR_ARG(msg.ra.to_override), STR_ARG(msg.ra.ingress), msg.ra.trace_count,
                    STR_ARG(msg.ra.mesh));
    if (d->settled && !c->is_stingy)
        amqp_link_grant(d->link, 1);
    else if (d->settled)
        return;
    else if (c->holds)
        c->held[c->held_count++ % 256] = d;
    else
        client_settle(c, d);
}

static inline void client_attached(struct client *c, struct amqp_link *l)
{
    const struct amqp_terminus *source = amqp_link_source(l);

    if (!amqp_link_is_answer(l)) { // a router's own: taken as it comes
        CHECK(c->link_count < CLIENT_LINKS);
        c->links[c->link_count++] = l;
        amqp_link_accept(l, STR_NONE, 250);
        if (amqp_link_role(l) == AMQP_RECEIVER)
            amqp_link_grant(l, 250);
        return;
    }
    if (source->dynamic)
        snprintf(c->dynamic, sizeof(c->dynamic), "%.*s", STR_ARG(source->address));
}

// "(condition)" where there is one.
static inline const char *why_rejected(const struct amqp_outcome *o)
{
    static char text[64];
    const char *at = o->type == AMQP_REJECTED && o->encoded.len > 0
                         ? memmem(o->encoded.ptr, o->encoded.len, "amqp:", 5)
                         : NULL;

    if (!at)
        return "";
    snprintf(text, sizeof(text), "(%.*s)", at[-1], at); // the octet before it is its length
    return text;
}

static inline void client_event(struct client *c, const struct amqp_event *ev)
{
    static const char *const names[] = {"none",     "received", "accepted", "rejected",
                                        "released", "modified", "other"};

    switch (ev->type) {
    case AMQP_EV_ATTACHED:
        client_attached(c, ev->link);
        break;
    case AMQP_EV_TRANSFER:
        client_transfer(c, ev);
        break;
    case AMQP_EV_UPDATED:
        client_tell(c, "%s%s", names[ev->update.outcome.type], why_rejected(&ev->update.outcome));
        c->was_settled = ev->update.settled;
        if (!ev->update.settled && !c->goes_on)
            amqp_delivery_settle(ev->update.delivery, NULL);
        break;
    case AMQP_EV_DETACHED:
        client_tell(c, "detached(%.*s)", STR_ARG(ev->ended.condition));
        for (int i = 0; i < c->link_count; i++)
            if (c->links[i] == ev->link)
                c->links[i] = NULL;
        break;
    case AMQP_EV_CLOSED:
        client_tell(c, "closed(%.*s)", STR_ARG(ev->ended.condition));
        break;
    case AMQP_EV_OPENED:
    case AMQP_EV_CREDIT:
    case AMQP_EV_WRITABLE:
        break;
    }
}

static inline void client_poll(struct client *c)
{
    struct amqp_event ev;

    while (amqp_conn_next(c->conn, &ev))
        client_event(c, &ev);
}

static inline struct router *net_part(struct net *n, const char *id, enum router_mode mode,
                                      enum router_mode hub_mode, uint32_t shard)
{
    struct router_opts o = {
        .id = id,
        .mode = mode,
        .hub_mode = hub_mode,
        .shard = shard,
        .instance = 1,
        .seed = 7,
        .default_treatment = ROUTER_BALANCED,
        .pool = n->pool,
    };
    struct router_stats stats;
    int i = 0;

    while (n->routers[i])
        CHECK(++i < NET_ROUTERS);
    o.seed += (uint64_t)i;
    n->routers[i] = router_new(&o, n->now);
    router_stats(n->routers[i], &stats);
    n->own_links[i] = stats.links;
    if (mode == ROUTER_SHARD)
        return n->routers[i]; // its hub has the rules
    router_address_config(n->routers[i], STR("mc"), true, ROUTER_MULTICAST, -1);
    router_address_config(n->routers[i], STR("closest"), true, ROUTER_CLOSEST, -1);
    router_address_config(n->routers[i], STR("nowhere"), true, ROUTER_UNAVAILABLE, -1);
    return n->routers[i];
}

static inline struct router *net_router(struct net *n, const char *id, enum router_mode mode)
{
    return net_part(n, id, mode, mode, 0);
}

static inline void net_begin(struct net *n)
{
    memset(n, 0, sizeof(*n));
    n->pool = pool_new(256, 1 << 20);
    n->now = (struct mono){NS_PER_S};
}

// A network of the one interior router R.
static inline void net_of_one(struct net *n)
{
    net_begin(n);
    net_router(n, "R", ROUTER_INTERIOR);
}

// Everything one end has to say; false when that is nothing.
static inline bool net_carry(struct net *n, struct wire *w, int from)
{
    struct router_conn *to = w->conn[!from];
    struct buf *out;
    uint8_t *bytes;
    size_t len;

    if (w->conn[from]) {
        out = router_conn_output(w->conn[from], n->now);
    } else {
        amqp_conn_flush(w->client->conn);
        out = amqp_conn_output(w->client->conn);
    }
    len = out->len;
    if (len == 0)
        return false;
    bytes = xcalloc(1, len);
    buf_copy(out, 0, bytes, len);
    buf_skip(out, len);
    if (w->conn[from])
        router_conn_sent(w->conn[from], n->now);
    else
        amqp_conn_sent(w->client->conn);
    if (to) {
        router_conn_feed(to, bytes, len, n->now);
    } else {
        amqp_conn_feed(w->client->conn, bytes, len, n->now);
        client_poll(w->client);
    }
    free(bytes);
    return true;
}

static inline void net_run(struct net *n)
{
    bool any = true;

    for (int round = 0; any; round++) {
        CHECK(round < 100000);
        any = false;
        for (int i = 0; i < n->wire_count; i++)
            for (int from = 0; from < 2; from++)
                if (!n->wires[i].is_slow && (n->wires[i].conn[from] || n->wires[i].client))
                    any |= net_carry(n, &n->wires[i], from);
        for (int i = 0; i < NET_ROUTERS && n->routers[i]; i++)
            while (router_next_dirty(n->routers[i]))
                ;
    }
}

// Lets time pass, so that the routers learn of each other.
static inline void net_pass(struct net *n, int ms)
{
    net_run(n);
    for (; ms > 0; ms -= 50) {
        n->now = mono_add_ms(n->now, 50);
        for (int i = 0; i < NET_ROUTERS && n->routers[i]; i++)
            router_tick(n->routers[i], n->now);
        for (int i = 0; i < n->wire_count; i++)
            for (int end = 0; end < 2; end++)
                if (n->wires[i].conn[end])
                    router_conn_tick(n->wires[i].conn[end], n->now);
        net_run(n);
    }
}

static inline struct wire *net_wire(struct net *n)
{
    CHECK(n->wire_count < NET_WIRES);
    return &n->wires[n->wire_count++];
}

static inline struct router_conn_opts net_conn_opts(enum router_role role, bool is_server, int cost)
{
    return (struct router_conn_opts){
        .is_server = is_server,
        .role = role,
        .cost = cost,
        .name = "wire",
        .host = "memory",
        .strip_in = true,
        .strip_out = true,
        .sasl_mechanisms = AMQP_SASL_ANONYMOUS,
    };
}

// `a` dials, `b` listens.
static inline struct wire *net_join(struct net *n, struct router *a, struct router *b,
                                    enum router_role role, int cost)
{
    struct wire *w = net_wire(n);
    struct router_conn_opts dial = net_conn_opts(role, false, cost);
    struct router_conn_opts listen = net_conn_opts(role, true, cost);

    w->conn[0] = router_conn_new(a, &dial, n->now);
    w->conn[1] = router_conn_new(b, &listen, n->now);
    net_run(n);
    return w;
}

// One more shard of a hub, joined to it.
static inline struct router *net_shard(struct net *n, struct router *hub)
{
    struct router *r = net_part(n, hub->id, ROUTER_SHARD, hub->mode, hub->shard_count + 1);

    router_add_shard(hub, r);
    net_join(n, r, hub, ROUTER_ROLE_SHARD, 1);
    return r;
}

static inline void net_cut(struct net *n, struct wire *w)
{
    struct wire was = *w;

    *w = (struct wire){0};
    for (int end = 0; end < 2; end++)
        if (was.conn[end])
            router_conn_lost(was.conn[end], n->now);
    if (was.client) {
        amqp_conn_free(was.client->conn);
        free(was.client);
    }
    net_run(n);
}

static inline struct client *client_as(struct net *n, struct router *r,
                                       const struct router_conn_opts *listen, const char *container)
{
    struct wire *w = net_wire(n);
    struct amqp_conn_opts o = {
        .pool = n->pool,
        .container_id = container,
        .frame_size_max = 16384,
        .channel_max = 7,
        .link_max = 64,
        .incoming_window = 1024,
        .output_max = 1 << 20,
        .sasl_mechanisms = AMQP_SASL_ANONYMOUS,
    };
    struct client *c = xcalloc(1, sizeof(*c));

    c->net = n;
    c->conn = amqp_conn_new(&o, n->now);
    w->client = c;
    w->conn[1] = router_conn_new(r, listen, n->now);
    net_run(n);
    c->session = amqp_session_begin(c->conn, 1024);
    CHECK(c->session);
    return c;
}

static inline struct client *client_of(struct net *n, struct router *r)
{
    struct router_conn_opts listen = net_conn_opts(ROUTER_ROLE_NORMAL, true, 1);

    return client_as(n, r, &listen, "client");
}

static inline void client_end(struct client *c)
{
    struct net *n = c->net;

    for (int i = 0; i < n->wire_count; i++)
        if (n->wires[i].client == c) {
            net_cut(n, &n->wires[i]);
            return;
        }
}

static inline int client_attach(struct client *c, struct amqp_attach a, uint32_t credit)
{
    char name[32];
    struct amqp_link *l;

    snprintf(name, sizeof(name), "link%d", c->link_count);
    a.name = name;
    a.snd_settle_mode = 2;
    a.capacity = 250;
    l = amqp_link_attach(c->session, &a);
    CHECK(l && c->link_count < CLIENT_LINKS);
    c->links[c->link_count++] = l;
    if (a.role == AMQP_RECEIVER && credit > 0)
        amqp_link_grant(l, credit);
    net_run(c->net);
    return c->link_count - 1;
}

static inline int receiver(struct client *c, const char *address, uint32_t credit)
{
    struct amqp_attach a = {.role = AMQP_RECEIVER};

    a.source.address = str_of(address);
    a.source.dynamic = !address;
    return client_attach(c, a, credit);
}

// NULL: any address, each message says its own.
static inline int sender(struct client *c, const char *address)
{
    struct amqp_attach a = {.role = AMQP_SENDER};

    a.target.address = str_of(address);
    return client_attach(c, a, 0);
}

static inline void grant(struct client *c, int link, uint32_t credit)
{
    amqp_link_grant(c->links[link], credit);
    net_run(c->net);
}

static inline void put_message(struct amqp_writer *w, const struct amqp_ra *ra, const char *to,
                               const char *body)
{
    struct amqp_mark mark;

    if (ra)
        amqp_put_ra(w, ra, STR_NONE);
    if (to) {
        amqp_put_descriptor(w, AMQP_SECTION_PROPERTIES);
        mark = amqp_begin_list(w, false);
        amqp_put_null(w);
        amqp_put_null(w);
        amqp_put_string(w, str_of(to));
        amqp_end(w, mark, 3);
    }
    amqp_put_descriptor(w, AMQP_SECTION_DATA);
    amqp_put_binary(w, str_of(body));
}

static inline bool can_send(const struct client *c, int link)
{
    return c->links[link] && amqp_link_is_ready(c->links[link]);
}

static inline void send_bytes(struct client *c, int link, struct str bytes, bool settled)
{
    struct iovec part = {(void *)(uintptr_t)bytes.ptr, bytes.len};
    struct amqp_delivery *d;
    bool done;

    CHECK(can_send(c, link));
    d = amqp_delivery_begin(c->links[link], settled, 0, NULL);
    CHECK_EQ(amqp_delivery_write(d, &part, 1, true, &done), bytes.len);
    net_run(c->net);
}

static inline void send_ra(struct client *c, int link, const struct amqp_ra *ra, const char *to,
                           const char *body, bool settled)
{
    struct amqp_writer w;

    amqp_writer_init(&w);
    put_message(&w, ra, to, body);
    send_bytes(c, link, amqp_written(&w), settled);
    amqp_writer_fini(&w);
}

static inline void send_text(struct client *c, int link, const char *to, const char *body)
{
    send_ra(c, link, NULL, to, body, false);
}

static inline void settle_held(struct client *c)
{
    for (int i = 0; i < c->held_count; i++)
        client_settle(c, c->held[i]);
    c->held_count = 0;
    net_run(c->net);
}

// All ends; nothing may be left of anything.
static inline void net_end(struct net *n)
{
    for (int i = 0; i < n->wire_count; i++)
        net_cut(n, &n->wires[i]);
    for (int i = 0; i < NET_ROUTERS && n->routers[i]; i++) {
        struct router_stats s;

        router_stats(n->routers[i], &s);
        CHECK_EQ(s.deliveries, 0);
        CHECK_EQ(s.stored_bytes, 0);
        CHECK_EQ(s.links, n->own_links[i]);
    }
    for (int i = NET_ROUTERS; i-- > 0;) // shards before their hub
        router_free(n->routers[i]);
    CHECK_EQ(pool_used(n->pool), 0);
    pool_free(n->pool);
}

#define CHECK_HEARD(client, want) CHECK_STR(str_of(heard(client)), want)
