// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/rng.h"
#include "net/inside.h"

// A connection that is kept up: look up the name, try its addresses one after the other (the
// families in turn), hand the stream over, and begin again when it is lost. The pause between
// rounds doubles from retry_min to retry_max and starts over when the owner says that the stream
// was good.

enum { RETRY_MIN_MS = 100, RETRY_MAX_MS = 5000, CONNECT_MS = 10000 };

struct net_connector {
    struct source source; // first: the socket while it connects
    struct net_loop *loop;
    struct net_connector_opts opts;
    char *host, *port;
    struct loop_timer timer;
    struct lookup *lookup;
    struct addresses addresses;
    int next_address;
    struct net_stream *stream;
    uint32_t pause_ms;
    struct mono give_up; // this attempt, its handshake included
    struct rng rng;
    bool is_connecting, is_retired;
};

static void connecting(struct source *self, uint32_t events);

static uint32_t or_default(uint32_t value, uint32_t fallback)
{
    return value ? value : fallback;
}

static void look_up(struct net_connector *c)
{
    c->lookup = lookup_start(c->loop, c->host, c->port, c->opts.family);
    c->lookup->connector = c;
}

// The next round, after a pause with jitter.
static void again(struct net_connector *c)
{
    uint32_t most = or_default(c->opts.retry_max_ms, RETRY_MAX_MS);
    uint32_t wait = c->pause_ms / 2 + rng_below(&c->rng, c->pause_ms / 2 + 1);

    if (c->is_retired)
        return;
    c->pause_ms = c->pause_ms * 2 > most ? most : c->pause_ms * 2;
    c->is_connecting = false;
    heap_set(&c->loop->timers, &c->timer.timer, mono_add_ms(c->loop->now, wait));
}

// The last thing that is done with the connector: its owner may give it up here.
static void failed(struct net_connector *c, const char *what, const char *why)
{
    char words[400];

    snprintf(words, sizeof(words), "%s %s:%s: %s", what, c->host, c->port, why);
    c->opts.connect.failed(c->opts.connect.user, words, c->loop->now);
}

static bool try_address(struct net_connector *c)
{
    int at = c->next_address++, fd;
    struct sockaddr_storage *sa = &c->addresses.at[at];

    fd = socket(sa->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    if (connect(fd, (struct sockaddr *)sa, c->addresses.lengths[at]) < 0 && errno != EINPROGRESS) {
        int saved = errno;

        close(fd);
        errno = saved;
        return false;
    }
    c->source = (struct source){.ready = connecting, .fd = fd};
    c->is_connecting = true;
    source_add(c->loop, &c->source, EPOLLOUT);
    c->give_up = mono_add_ms(c->loop->now, or_default(c->opts.connect_ms, CONNECT_MS));
    heap_set(&c->loop->timers, &c->timer.timer, c->give_up);
    return true;
}

static void try_next(struct net_connector *c, const char *why)
{
    char words[200];

    while (c->next_address < c->addresses.count && !c->is_retired) {
        if (try_address(c))
            return;
        snprintf(words, sizeof(words), "%s", strerror(errno));
        why = words;
    }
    again(c);
    failed(c, "connect to", why ? why : "no address");
}

static void connecting(struct source *self, uint32_t events)
{
    struct net_connector *c = (struct net_connector *)(void *)self;
    struct net_stream *s = NULL;
    int error = 0, fd = self->fd;
    socklen_t len = sizeof(error);

    (void)events;
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
    heap_cancel(&c->loop->timers, &c->timer.timer);
    if (error != 0) {
        source_close(c->loop, self);
        try_next(c, strerror(error));
        return;
    }
    epoll_ctl(c->loop->epoll, EPOLL_CTL_DEL, fd, NULL);
    self->fd = -1;
    c->is_connecting = false;
    set_nodelay(fd);
    s = c->stream = stream_new(c->loop, fd);
    s->connector = c;
    s->tls = net_tls_ref(c->opts.tls);
    heap_set(&c->loop->timers, &s->timer.timer, c->give_up);
    stream_start(s);
}

const char *connector_expected_host(const struct net_connector *c)
{
    return c->opts.verify_host ? c->host : NULL;
}

void connector_stream_ready(struct net_stream *s)
{
    struct net_connector *c = s->connector;
    const struct net_engine_ops *ops = NULL;
    void *engine = c->opts.connect.ready(c->opts.connect.user, s, &ops, c->loop->now);

    stream_engine(s, engine, ops);
}

void connector_stream_failed(struct net_stream *s, const char *why)
{
    struct net_connector *c = s->connector;

    c->stream = NULL;
    s->connector = NULL;
    try_next(c, why);
}

void connector_stream_lost(struct net_connector *c)
{
    c->stream = NULL;
    again(c);
}

void connector_timer(struct loop_timer *t)
{
    struct net_connector *c =
        (struct net_connector *)(void *)((char *)t - offsetof(struct net_connector, timer));

    if (c->is_connecting) {
        source_close(c->loop, &c->source);
        c->is_connecting = false;
        try_next(c, "no answer in time");
        return;
    }
    look_up(c);
}

void connector_looked_up(struct lookup *l)
{
    struct net_connector *c = l->connector;

    c->lookup = NULL;
    c->next_address = 0;
    addresses_take(&c->addresses, l->error == 0 ? l->result : NULL);
    if (l->error != 0) {
        again(c);
        failed(c, "look up", gai_strerror(l->error));
    } else {
        try_next(c, NULL);
    }
    lookup_free(l);
}

int net_connector_new(struct net_loop *l, const struct net_connector_opts *opts,
                      struct net_connector **out, struct why *why)
{
    struct net_connector *c = xcalloc(1, sizeof(*c));
    const char *port = opts->port ? opts->port : "amqp";

    if (strcmp(port, "amqp") == 0 || strcmp(port, "amqps") == 0)
        port = port[4] ? "5671" : "5672";
    if (!opts->host || !opts->host[0]) {
        why_set(why, "host is needed");
        free(c);
        return ERR_INVALID;
    }
    c->loop = l;
    c->opts = *opts;
    c->opts.tls = net_tls_ref(opts->tls);
    c->source.fd = -1;
    c->host = xstrdup(opts->host);
    c->port = xstrdup(port);
    c->timer.kind = TIMER_CONNECTOR;
    c->pause_ms = or_default(opts->retry_min_ms, RETRY_MIN_MS);
    rng_init(&c->rng, rng_system_seed());
    *out = c;
    look_up(c);
    return 0;
}

static void give_up(struct net_connector *c)
{
    heap_cancel(&c->loop->timers, &c->timer.timer);
    if (c->lookup)
        c->lookup->connector = NULL;
    c->lookup = NULL;
    source_close(c->loop, &c->source);
    c->is_connecting = false;
}

void net_connector_retire(struct net_connector *c)
{
    c->is_retired = true;
    if (!c->stream)
        give_up(c);
}

bool net_connector_has_stream(const struct net_connector *c)
{
    return c->stream != NULL;
}

void net_connector_free(struct net_connector *c)
{
    if (!c)
        return;
    give_up(c);
    if (c->stream) {
        c->stream->connector = NULL;
        net_stream_drop(c->stream, "the connector is gone");
    }
    net_tls_unref(c->opts.tls);
    free(c->host);
    free(c->port);
    loop_free_later(c->loop, c);
}

void net_connector_succeeded(struct net_connector *c)
{
    c->pause_ms = or_default(c->opts.retry_min_ms, RETRY_MIN_MS);
}
