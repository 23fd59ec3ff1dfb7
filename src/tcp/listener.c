// SPDX-License-Identifier: Apache-2.0
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "tcp/conn.h"

// The end of a client. It opens the client stream at once, with a reply address of its own, and
// reads nothing until the server stream has come. Until then nothing is lost: when the stream is
// refused (its server did not answer, or was gone before the network knew) it is opened again, a
// few times with growing pauses, and whoever the address then chooses gets it.

enum { TRIES_MAX = 6, PAUSE_MS = 10 };

struct accepted {
    struct tcp_conn conn; // first
    struct router_reply reply;
    struct buf early; // came with the end of a TLS handshake
    char *alpn;
    uint32_t tries;
    struct mono again_at;
    char address[];
};

static struct accepted *of(struct tcp_conn *c)
{
    return (struct accepted *)(void *)c;
}

static void open_stream(struct accepted *a)
{
    char reply_text[ROUTER_REPLY_MAX], number[32];
    const char *name = "";
    struct str reply;
    struct tcp *t = a->conn.tcp;
    struct amqp_writer w;

    a->tries++;
    a->again_at = MONO_NEVER;
    amqp_writer_init(&w);
    reply = router_reply_address(t->router, &a->reply, reply_text);
    if (t->observer.name)
        name = t->observer.name(t->observer.user, &a->conn);
    if (a->conn.is_legacy && !name[0]) { // which must have one
        snprintf(number, sizeof(number), "tcp:%" PRIu64, a->conn.id);
        name = number;
    }
    if (a->conn.is_legacy)
        legacy_put_client(&w, str_of(a->address), reply, str_of(name), str_of(a->alpn));
    else
        head_put_client(&w, str_of(a->address), reply, str_of(name), str_of(a->alpn));
    router_source_open(t->router, &a->conn.source, str_of(a->address), amqp_written(&w));
    amqp_writer_fini(&w);
}

static void refused(struct tcp_conn *c, enum amqp_outcome_type outcome)
{
    struct accepted *a = of(c);

    if (outcome == AMQP_ACCEPTED || outcome == AMQP_REJECTED || a->tries >= TRIES_MAX) {
        c->service->failed++;
        end_fail(c, "no server took the connection");
        return;
    }
    a->again_at = mono_add_ms(c->active_at, (int64_t)PAUSE_MS << a->tries);
    c->check_at = mono_min(c->check_at, a->again_at);
    end_mark(c);
}

static void tick(struct tcp_conn *c, struct mono now)
{
    struct accepted *a = of(c);

    if (c->is_over || mono_before(now, a->again_at)) {
        c->check_at = mono_min(c->check_at, a->again_at);
        return;
    }
    c->active_at = now;
    open_stream(a);
}

static struct buf *early(struct tcp_conn *c)
{
    return &of(c)->early;
}

static void accepted_free(struct tcp_conn *c)
{
    struct accepted *a = of(c);

    buf_fini(&a->early);
    router_reply_close(c->tcp->router, &a->reply);
    free(a->alpn);
    free(a);
}

static void info(const struct tcp_conn *c, struct tcp_info *out)
{
    const struct accepted *a = (const struct accepted *)(const void *)c;

    out->is_listener_side = true;
    out->address = str_of(a->address);
    if (a->alpn)
        out->alpn = a->alpn;
    if (!c->is_established && !c->is_over)
        out->waits = a->again_at.ns == MONO_NEVER.ns ? "the other end's answer"
                                                     : "its next attempt to find a server";
}

static struct str reply_to(const struct tcp_conn *c, char text[ROUTER_REPLY_MAX])
{
    const struct accepted *a = (const struct accepted *)(const void *)c;

    return router_reply_address(c->tcp->router, &a->reply, text);
}

static const struct tcp_kind kind = {refused, tick, early, accepted_free, info, reply_to, false};

// The server stream.
static struct router_sink *answered(struct router_taker *taker, const struct amqp_msg *head,
                                    enum amqp_outcome_type *outcome)
{
    struct accepted *a = list_entry(taker, struct accepted, reply.taker);

    *outcome = AMQP_REJECTED;
    if ((a->conn.is_legacy ? head->content_type.len > 0 : !head_is_stream(head)) ||
        a->conn.is_established || a->conn.is_over)
        return NULL;
    end_established(&a->conn, tcp_now(a->conn.tcp));
    return end_sink(&a->conn);
}

struct tcp_conn *tcp_accepted(struct tcp *t, const struct tcp_accept *opts, struct mono now)
{
    struct accepted *a = xcalloc(1, sizeof(*a) + opts->address.len + 1);

    a->conn.peer = xstrdup(opts->peer);
    memcpy(a->address, opts->address.ptr, opts->address.len);
    a->alpn = opts->alpn && opts->alpn[0] ? xstrdup(opts->alpn) : NULL;
    a->again_at = MONO_NEVER;
    buf_init(&a->early, t->pool);
    a->reply.taker.offer = answered;
    a->conn.observation = opts->observation;
    t->now = now;
    end_init(t, &a->conn, opts->service, &kind, NULL);
    a->conn.is_legacy = opts->service->is_legacy;
    router_reply_open(t->router, &a->reply);
    open_stream(a);
    return &a->conn;
}
