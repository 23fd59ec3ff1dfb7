// SPDX-License-Identifier: Apache-2.0
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

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
    char *address;
    char *alpn;
    uint32_t tries;
    struct mono again_at;
};

static struct accepted *of(struct tcp_conn *c)
{
    return (struct accepted *)(void *)c;
}

static void open_stream(struct accepted *a)
{
    char reply_text[ROUTER_REPLY_MAX], id[32];
    struct str reply;
    struct tcp *t = a->conn.tcp;
    struct amqp_writer w;

    a->tries++;
    a->again_at = MONO_NEVER;
    amqp_writer_init(&w);
    reply = router_reply_address(t->router, &a->reply, reply_text);
    snprintf(id, sizeof(id), "tcp:%" PRIu64, a->conn.id);
    if (a->conn.is_legacy)
        legacy_put_client(&w, str_of(a->address), reply, str_of(id), str_of(a->alpn));
    else
        head_put_client(&w, str_of(a->address), reply, STR_NONE, str_of(a->alpn));
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

static void accepted_free(struct tcp_conn *c)
{
    struct accepted *a = of(c);

    router_reply_close(c->tcp->router, &a->reply);
    free(a->address);
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
}

static const struct tcp_kind kind = {refused, tick, accepted_free, info, false};

// The server stream.
static struct router_sink *answered(struct router_taker *taker, const struct amqp_msg *head,
                                    enum amqp_outcome_type *outcome)
{
    struct accepted *a = list_entry(taker, struct accepted, reply.taker);

    *outcome = AMQP_REJECTED;
    if ((a->conn.is_legacy ? head->content_type.len > 0 : !head_is_stream(head)) ||
        a->conn.is_established || a->conn.is_over)
        return NULL;
    end_established(&a->conn, a->conn.active_at);
    return end_sink(&a->conn);
}

struct tcp_conn *tcp_accepted(struct tcp *t, const struct tcp_accept *opts, struct mono now)
{
    struct accepted *a = xcalloc(1, sizeof(*a));

    snprintf(a->conn.peer, sizeof(a->conn.peer), "%s", opts->peer);
    a->address = str_dup(opts->address);
    a->alpn = opts->alpn && opts->alpn[0] ? xstrdup(opts->alpn) : NULL;
    a->again_at = MONO_NEVER;
    a->reply.taker.offer = answered;
    end_init(t, &a->conn, opts->service, &kind, now);
    a->conn.is_legacy = opts->service->is_legacy;
    router_reply_open(t->router, &a->reply);
    open_stream(a);
    return &a->conn;
}
