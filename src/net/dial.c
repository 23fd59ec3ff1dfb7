// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/inside.h"

// A connection that is made once: the addresses of its target are tried one after the other until
// one answers or the time is up. The target keeps the addresses, so that a busy service asks no
// name server for each connection.

enum { CONNECT_MS = 10000, FRESH_MS = 5000 };

struct net_target {
    struct net_loop *loop;
    struct net_target_opts opts;
    char *host, *port;
    struct addresses addresses;
    struct mono found_at;
    bool is_number;
    struct lookup *lookup; // under way
    struct list dials;
};

struct net_dial {
    struct source source; // first: the socket while it connects
    struct list on_target;
    struct net_target *target;
    struct loop_timer timer;
    struct net_connect connect;
    struct net_stream *stream; // in its handshake
    struct addresses addresses;
    int next_address;
    bool is_started, is_connecting;
    bool is_young; // net_dial() has not returned: nothing may be called
    char *alpn;
    char why[160];
};

static void connecting(struct source *self, uint32_t events);

int net_target_new(struct net_loop *l, const struct net_target_opts *opts, struct net_target **out,
                   struct why *why)
{
    struct net_target *t;

    if (!opts->host || !opts->host[0] || !opts->port || !opts->port[0]) {
        why_set(why, "host and port are needed");
        return ERR_INVALID;
    }
    t = xcalloc(1, sizeof(*t));
    t->loop = l;
    t->opts = *opts;
    t->opts.tls = net_tls_ref(opts->tls);
    t->host = xstrdup(opts->host);
    t->port = xstrdup(opts->port);
    list_init(&t->dials);
    t->is_number = addresses_of_number(&t->addresses, t->host, t->port);
    *out = t;
    return 0;
}

static void dial_free(struct net_dial *d)
{
    list_remove(&d->on_target);
    heap_cancel(&d->target->loop->timers, &d->timer.timer);
    source_close(d->target->loop, &d->source);
    free(d->alpn);
    free(d);
}

void net_dial_cancel(struct net_dial *d)
{
    struct net_stream *s = d->stream;

    d->stream = NULL;
    if (s) {
        s->dial = NULL;
        net_stream_drop(s, "not wanted any more");
    }
    dial_free(d);
}

void net_target_free(struct net_target *t)
{
    if (!t)
        return;
    while (!list_empty(&t->dials))
        net_dial_cancel(list_entry(t->dials.next, struct net_dial, on_target));
    if (t->lookup)
        t->lookup->target = NULL;
    net_tls_unref(t->opts.tls);
    free(t->host);
    free(t->port);
    free(t);
}

static void failed(struct net_dial *d, const char *what, const char *why)
{
    struct net_connect connect = d->connect;
    struct mono now = d->target->loop->now;
    char words[400];

    if (d->is_young) {
        heap_set(&d->target->loop->timers, &d->timer.timer, now);
        return;
    }
    snprintf(words, sizeof(words), "%s %s:%s: %s", what, d->target->host, d->target->port, why);
    dial_free(d);
    connect.failed(connect.user, words, now);
}

static bool try_address(struct net_dial *d)
{
    struct net_loop *l = d->target->loop;
    int at = d->next_address++, fd;
    const struct sockaddr_storage *sa = &d->addresses.at[at];

    fd = socket(sa->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    if (connect(fd, (const struct sockaddr *)sa, d->addresses.lengths[at]) < 0 &&
        errno != EINPROGRESS) {
        int saved = errno;

        close(fd);
        errno = saved;
        return false;
    }
    d->source = (struct source){.ready = connecting, .fd = fd};
    d->is_connecting = true;
    source_add(l, &d->source, EPOLLOUT);
    return true;
}

static void try_next(struct net_dial *d)
{
    while (d->next_address < d->addresses.count) {
        if (try_address(d))
            return;
        snprintf(d->why, sizeof(d->why), "%s", strerror(errno));
    }
    failed(d, "connect to", d->why[0] ? d->why : "no address");
}

static void connecting(struct source *self, uint32_t events)
{
    struct net_dial *d = (struct net_dial *)(void *)self;
    struct net_loop *l = d->target->loop;
    int error = 0, fd = self->fd;
    socklen_t len = sizeof(error);

    (void)events;
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
    d->is_connecting = false;
    if (error != 0) {
        snprintf(d->why, sizeof(d->why), "%s", strerror(error));
        source_close(l, self);
        try_next(d);
        return;
    }
    self->fd = -1;
    set_nodelay(fd);
    set_keepalive(fd, d->target->opts.keepalive_s);
    d->stream = stream_new(l, fd);
    d->stream->source.is_removed = false; // it takes this source's place in epoll
    d->stream->source.armed = EPOLLOUT;
    d->stream->dial = d;
    d->stream->tls = net_tls_ref(d->target->opts.tls);
    stream_start(d->stream);
}

void dial_stream_ready(struct net_stream *s)
{
    struct net_dial *d = s->dial;
    struct net_connect connect = d->connect;
    const struct net_engine_ops *ops = NULL;
    struct mono now = d->target->loop->now;
    void *engine;

    s->dial = NULL;
    dial_free(d);
    engine = connect.ready(connect.user, s, &ops, now);
    stream_engine(s, engine, ops);
}

// The handshake failed.
void dial_stream_failed(struct net_stream *s, const char *why)
{
    struct net_dial *d = s->dial;

    s->dial = NULL;
    d->stream = NULL;
    snprintf(d->why, sizeof(d->why), "%s", why);
    try_next(d);
}

const char *dial_expected_host(const struct net_dial *d)
{
    return d->target->opts.verify_host ? d->target->host : NULL;
}

const char *dial_alpn(const struct net_dial *d)
{
    return d->alpn;
}

static void start(struct net_dial *d)
{
    uint32_t limit = d->target->opts.connect_ms ? d->target->opts.connect_ms : CONNECT_MS;

    d->is_started = true;
    d->addresses = d->target->addresses;
    heap_set(&d->target->loop->timers, &d->timer.timer, mono_add_ms(d->target->loop->now, limit));
    try_next(d);
}

void dial_timer(struct loop_timer *t)
{
    struct net_dial *d = (struct net_dial *)(void *)((char *)t - offsetof(struct net_dial, timer));
    struct net_stream *s = d->stream;

    if (!d->is_connecting && !s) {
        try_next(d); // all had failed at once
        return;
    }
    d->next_address = d->addresses.count;
    if (s)
        net_stream_drop(s, "the TLS handshake did not end in time");
    else
        failed(d, "connect to", "no answer in time");
}

static bool is_fresh(const struct net_target *t)
{
    return t->is_number || (t->addresses.count > 0 &&
                            mono_before(t->loop->now, mono_add_ms(t->found_at, FRESH_MS)));
}

void target_looked_up(struct net_target *t, const struct lookup *found)
{
    struct list waiting, *node;

    t->lookup = NULL;
    if (found->error == 0) {
        addresses_take(&t->addresses, found->result);
        t->found_at = t->loop->now;
    }
    list_init(&waiting);
    while ((node = list_pop(&t->dials)) != NULL)
        list_append(&waiting, node);
    while ((node = list_pop(&waiting)) != NULL) {
        struct net_dial *d = list_entry(node, struct net_dial, on_target);

        list_append(&t->dials, node);
        if (d->is_started)
            continue;
        if (found->error == 0)
            start(d);
        else
            failed(d, "look up", gai_strerror(found->error));
    }
}

struct net_dial *net_dial(struct net_target *t, const struct net_connect *connect, const char *alpn)
{
    struct net_dial *d = xcalloc(1, sizeof(*d));

    d->target = t;
    d->source.fd = -1;
    d->connect = *connect;
    d->alpn = alpn && alpn[0] ? xstrdup(alpn) : NULL;
    d->timer.kind = TIMER_DIAL;
    list_append(&t->dials, &d->on_target);
    if (is_fresh(t)) {
        d->is_young = true;
        start(d);
        d->is_young = false;
    } else if (!t->lookup) {
        t->lookup = lookup_start(t->loop, t->host, t->port, AF_UNSPEC);
        t->lookup->target = t;
    }
    return d;
}
