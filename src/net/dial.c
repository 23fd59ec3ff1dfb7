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

enum { CONNECT_MS = 10000, FRESH_MS = 5000, FAILED_MS = 1000 };

struct net_target {
    struct net_loop *loop;
    struct net_target_opts opts;
    char *host, *port;
    struct net_addresses addresses;
    struct mono fresh_until;
    int failure;              // of the last look-up, as getaddrinfo() tells it; 0: none …
    struct mono failed_until; // … good for so long
    bool is_number;
    struct lookup *lookup; // under way
    struct list dials;
};

struct net_dial {
    struct source source; // first: the socket while it connects
    struct list on_target;
    struct net_target *target;
    struct loop_timer timer;
    struct net_dialling dialling;
    struct net_stream *stream;   // in its handshake
    struct net_addresses *found; // as they were when it began; NULL: the target's, which stay
    int next_address;
    bool is_started, is_connecting;
    bool is_young; // net_dial() has not returned: nothing may be called
    int failure;   // it is known that there is no such name
    char *alpn;
    enum net_fault fault; // of the address that was tried last
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
    t->opts.connect_ms = opts->connect_ms ? opts->connect_ms : CONNECT_MS;
    t->opts.fresh_ms = opts->fresh_ms ? opts->fresh_ms : FRESH_MS;
    t->opts.failed_ms = opts->failed_ms ? opts->failed_ms : FAILED_MS;
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
    free(d->found);
    free(d->alpn);
    loop_free_later(d->target->loop, d);
}

void net_dial_cancel(struct net_dial *d)
{
    struct net_stream *s = d->stream;

    d->stream = NULL;
    if (s) {
        s->birth->dial = NULL;
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
    struct net_dialling dialling = d->dialling;
    enum net_fault fault = d->fault;
    struct mono now = d->target->loop->now;
    char words[400];

    if (d->is_young) {
        heap_set(&d->target->loop->timers, &d->timer.timer, now);
        return;
    }
    snprintf(words, sizeof(words), "%s %s:%s: %s", what, d->target->host, d->target->port, why);
    dial_free(d);
    dialling.failed(dialling.user, fault, words, now);
}

static enum net_fault fault_of(int error)
{
    switch (error) {
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
    case EADDRNOTAVAIL: // all ports are taken
        return NET_FAULT_OURS;
    default:
        return NET_FAULT_TARGET;
    }
}

static const struct net_addresses *addresses_of(const struct net_dial *d)
{
    return d->found ? d->found : &d->target->addresses;
}

static bool try_address(struct net_dial *d)
{
    struct net_loop *l = d->target->loop;
    int at = d->next_address++, fd;
    const struct net_addresses *addresses = addresses_of(d);
    const struct sockaddr_storage *sa = &addresses->at[at];

    fd = socket(sa->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    if (connect(fd, (const struct sockaddr *)sa, addresses->lengths[at]) < 0 &&
        errno != EINPROGRESS) {
        int saved = errno;

        close(fd);
        errno = saved;
        return false;
    }
    d->source = (struct source){.ready = connecting, .fd = fd};
    if (source_add(l, &d->source, EPOLLOUT) < 0) {
        int saved = errno;

        source_close(l, &d->source);
        errno = saved;
        return false;
    }
    d->is_connecting = true;
    return true;
}

static void try_next(struct net_dial *d)
{
    while (d->next_address < addresses_of(d)->count) {
        if (try_address(d))
            return;
        d->fault = fault_of(errno);
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
        d->fault = fault_of(error);
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
    d->stream->birth->dial = d;
    d->stream->birth->tls = net_tls_ref(d->target->opts.tls);
    stream_start(d->stream);
}

void dial_stream_ready(struct net_stream *s)
{
    struct net_dial *d = s->birth->dial;
    struct net_dialling dialling = d->dialling;
    const struct net_engine_ops *ops = NULL;
    struct mono now = d->target->loop->now;
    void *engine;

    s->birth->dial = NULL;
    dial_free(d);
    engine = dialling.ready(dialling.user, s, &ops, now);
    stream_engine(s, engine, ops);
}

// The handshake failed.
void dial_stream_failed(struct net_stream *s, const char *why)
{
    struct net_dial *d = s->birth->dial;

    s->birth->dial = NULL;
    d->stream = NULL;
    d->fault = d->alpn ? NET_FAULT_OFFER : NET_FAULT_TARGET;
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
    d->is_started = true;
    if (!d->target->is_number) {
        d->found = xcalloc(1, sizeof(*d->found));
        *d->found = d->target->addresses;
    }
    try_next(d);
}

void dial_timer(struct loop_timer *t)
{
    struct net_dial *d = (struct net_dial *)(void *)((char *)t - offsetof(struct net_dial, timer));
    struct net_stream *s = d->stream;

    if (!d->is_started) {
        failed(d, "look up", d->failure ? gai_strerror(d->failure) : "no answer in time");
        return;
    }
    if (!d->is_connecting && !s) {
        try_next(d); // all had failed at once
        return;
    }
    d->next_address = addresses_of(d)->count;
    if (s) {
        net_stream_drop(s, "the TLS handshake did not end in time");
        return;
    }
    d->fault = NET_FAULT_LATE;
    failed(d, "connect to", "no answer in time");
}

static bool is_fresh(const struct net_target *t)
{
    return t->is_number || mono_before(t->loop->now, t->fresh_until);
}

// True: there are addresses.
static bool take_found(struct net_target *t, const struct lookup *found)
{
    struct mono now = t->loop->now;

    t->failure = 0;
    if (found->error == 0) {
        addresses_take(&t->addresses, found->result);
        t->fresh_until = mono_add_ms(now, t->opts.fresh_ms);
    } else if (found->error == EAI_AGAIN && t->addresses.count > 0) {
        t->fresh_until = mono_add_ms(now, t->opts.failed_ms);
    } else {
        t->failure = found->error;
        t->failed_until = mono_add_ms(now, t->opts.failed_ms);
    }
    return t->failure == 0;
}

void target_looked_up(struct net_target *t, const struct lookup *found)
{
    struct list waiting, *node;
    bool is_found = take_found(t, found);

    t->lookup = NULL;
    list_init(&waiting);
    while ((node = list_pop(&t->dials)) != NULL)
        list_append(&waiting, node);
    while ((node = list_pop(&waiting)) != NULL) {
        struct net_dial *d = list_entry(node, struct net_dial, on_target);

        list_append(&t->dials, node);
        if (d->is_started)
            continue;
        if (is_found)
            start(d);
        else
            failed(d, "look up", gai_strerror(t->failure));
    }
}

struct net_dial *net_dial(struct net_target *t, const struct net_dialling *dialling,
                          const char *alpn)
{
    struct net_dial *d = xcalloc(1, sizeof(*d));

    d->target = t;
    d->source.fd = -1;
    d->dialling = *dialling;
    d->alpn = alpn && alpn[0] ? xstrdup(alpn) : NULL;
    d->timer.kind = TIMER_DIAL;
    list_append(&t->dials, &d->on_target);
    heap_set(&t->loop->timers, &d->timer.timer, mono_add_ms(t->loop->now, t->opts.connect_ms));
    if (is_fresh(t)) {
        d->is_young = true;
        start(d);
        d->is_young = false;
    } else if (t->failure && mono_before(t->loop->now, t->failed_until)) {
        d->failure = t->failure;
        heap_set(&t->loop->timers, &d->timer.timer, t->loop->now);
    } else if (!t->lookup) {
        t->lookup = lookup_start(t->loop, t->host, t->port, AF_UNSPEC);
        t->lookup->target = t;
    }
    return d;
}
