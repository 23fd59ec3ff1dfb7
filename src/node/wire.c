// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <string.h>

#include "node/service.h"

// One connection of a TCP service between its socket and the engine. The connection's transport is
// its dial until the server answers, and its stream from then on.

enum { DIALS_PER_TURN = 64 };

static void feed(void *e, const uint8_t *data, size_t len, struct mono now)
{
    tcp_feed(e, data, len, now);
}

static struct buf *output(void *e, struct mono now)
{
    (void)now;
    return tcp_output(e);
}

static struct service *service_of(const struct tcp_conn *c)
{
    return (struct service *)(void *)tcp_service_of(c);
}

static void settle(struct service *s, struct mono now)
{
    worker_settle(&s->node->workers[0], now);
}

static void sent(void *e, struct mono now)
{
    tcp_sent(e, now);
    settle(service_of(e), now);
}

static struct mono deadline(const void *e)
{
    return tcp_deadline(e);
}

static void tick(void *e, struct mono now)
{
    tcp_tick(e, now);
    settle(service_of(e), now);
}

static size_t room(void *e)
{
    return tcp_room(e);
}

static void ended(void *e, struct mono now)
{
    tcp_ended(e, now);
}

static bool is_shut(const void *e)
{
    return tcp_is_shut(e);
}

static bool is_finished(const void *e)
{
    return tcp_is_finished(e);
}

static void tell_end(struct service *s, const struct tcp_conn *c, const char *error,
                     struct mono now)
{
    struct tcp_info i;
    uint32_t skipped;

    tcp_info(c, &i);
    if (i.error)
        error = i.error;
    if (error && log_limit_pass(&s->lines, 10, now, &skipped))
        log_write(LOG_TCP_ADAPTOR, LOG_INFO,
                  "connection ended service=%s peer=%s why=%s skipped=%u",
                  s->part ? s->part->name : "", i.peer, error, skipped);
}

static void forget(struct tcp_conn *c, const char *error, struct mono now)
{
    struct service *s = service_of(c);

    tell_end(s, c, error, now);
    tcp_lost(c, error);
    if (!s->part)
        service_changed(s); // it may be the last one
    settle(s, now);
}

static void lost(void *e, const char *why, struct mono now)
{
    forget(e, tcp_is_finished(e) ? NULL : why, now);
}

const struct net_engine_ops tcp_ops = {
    .feed = feed,
    .output = output,
    .sent = sent,
    .deadline = deadline,
    .tick = tick,
    .room = room,
    .ended = ended,
    .is_shut = is_shut,
    .is_finished = is_finished,
    .lost = lost,
};

// -------------------------------------------------------------------------------------- listeners

void *service_accepted(void *user, struct net_stream *stream, const struct net_engine_ops **ops,
                       struct mono now)
{
    struct service *s = user;
    const struct net_peer *peer = net_stream_peer(stream);
    struct service_address *a = service_choose(s);
    struct tcp_conn *c;

    if (!a)
        return NULL;
    a->opened++;
    c = tcp_accepted(s->node->tcp,
                     &(struct tcp_accept){.service = &s->tcp,
                                          .address = str_of(a->text),
                                          .peer = peer->host,
                                          .alpn = peer->alpn,
                                          .observation = flows_accepted(s, a, peer, now)},
                     now);
    tcp_set_transport(c, stream);
    net_stream_forget_peer(stream);
    *ops = &tcp_ops;
    return c;
}

void service_refused(void *user, const struct net_peer *peer, const char *why, struct mono now)
{
    struct service *s = user;
    uint32_t skipped;

    flows_refused(s, peer, why, now);
    if (log_limit_pass(&s->lines, 10, now, &skipped))
        log_write(LOG_TCP_ADAPTOR, LOG_WARNING,
                  "connection refused tcpListener=%s peer=%s why=%s skipped=%u",
                  s->part ? s->part->name : "", peer->host, why, skipped);
}

bool service_is_full(void *user)
{
    const struct service *s = user;

    return pool_is_short(s->node->pool);
}

void service_paused(void *user, const char *why, struct mono now)
{
    struct service *s = user;
    const char *name = s->part ? s->part->name : "";

    (void)now;
    s->pause[0] = '\0';
    if (why)
        snprintf(s->pause, sizeof(s->pause), "accepting pauses: %s", why);
    if (why)
        log_write(LOG_TCP_ADAPTOR, LOG_WARNING,
                  "accepting pauses tcpListener=%s why=%s (what is open is kept, who comes waits)",
                  name, why);
    else
        log_write(LOG_TCP_ADAPTOR, LOG_INFO, "accepting goes on tcpListener=%s", name);
}

// ------------------------------------------------------------------------------------- connectors

static void *connected(void *user, struct net_stream *stream, const struct net_engine_ops **ops,
                       struct mono now)
{
    struct tcp_conn *c = user;

    service_server_answered(service_of(c), now);
    tcp_set_transport(c, stream);
    tcp_connected(c, net_stream_peer(stream)->host, now);
    net_stream_forget_peer(stream);
    *ops = &tcp_ops;
    return c;
}

static void failed(void *user, enum net_fault fault, const char *why, struct mono now)
{
    struct tcp_conn *c = user;
    struct service *s = service_of(c);

    // Out first: when the client's end tries again, somebody else is to be chosen.
    service_server_failed(s, fault, why, now);
    tcp_connect_failed(c, why);
    if (!s->part)
        service_changed(s);
    settle(s, now);
}

static void dial(struct node *n, struct tcp_conn *c)
{
    struct service *s = service_of(c);
    struct net_dialling dialling = {.ready = connected, .failed = failed, .user = c};
    struct mono now = net_loop_now(n->loop);

    if (s->target)
        tcp_set_transport(c, net_dial(s->target, &dialling, tcp_alpn(c)));
    else
        failed(c, NET_FAULT_OURS, "the service is not ready", now);
}

// A crowd is connected little by little, so that others have their turn.
void services_dial(struct node *n)
{
    struct tcp_conn *c;

    for (int i = 0; n->tcp && i < DIALS_PER_TURN; i++) {
        c = tcp_next_to_connect(n->tcp);
        if (!c) {
            services_settle(n, net_loop_now(n->loop)); // some may have been let go instead
            return;
        }
        dial(n, c);
    }
    net_loop_again(n->loop);
}

// ------------------------------------------------------------------------------------------- both

void service_conn_changed(struct node *n, struct tcp_conn *c)
{
    struct mono now = net_loop_now(n->loop);

    if (!tcp_is_connected(c)) {
        if (tcp_is_finished(c) || tcp_is_reset(c)) {
            if (tcp_transport(c))
                net_dial_cancel(tcp_transport(c));
            forget(c, NULL, now);
        }
        return;
    }
    if (!tcp_transport(c))
        return; // it is being accepted
    if (tcp_is_reset(c)) {
        net_stream_reset(tcp_transport(c), "reset");
        return;
    }
    net_want_write(tcp_transport(c));
    if (tcp_room(c) > 0)
        net_stream_resume(tcp_transport(c));
}
