// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/inside.h"

enum { SOCKETS_MAX = 16, PENDING_MAX = 256, BACKLOG = 1024, RETRY_MS = 100 };

struct door {
    struct source source;
    struct net_listener *listener;
};

struct net_listener {
    struct list on_waiting; // first: loop.waiting_listeners
    struct net_loop *loop;
    struct net_listener_opts opts;
    struct door doors[SOCKETS_MAX];
    int door_count, pending;
    struct loop_timer retry;
};

static void set_accepting(struct net_listener *ln, bool on)
{
    for (int i = 0; i < ln->door_count; i++)
        source_arm(ln->loop, &ln->doors[i].source, on ? (uint32_t)EPOLLIN : 0);
}

// Out of descriptors or memory: what exists is kept, new ones wait in the kernel until one of ours
// closes, or a moment has passed.
static void pause_accepting(struct net_listener *ln)
{
    set_accepting(ln, false);
    if (list_empty(&ln->on_waiting))
        list_append(&ln->loop->waiting_listeners, &ln->on_waiting);
    heap_set(&ln->loop->timers, &ln->retry.timer, mono_add_ms(ln->loop->now, RETRY_MS));
}

void listener_retry(struct net_listener *ln)
{
    heap_cancel(&ln->loop->timers, &ln->retry.timer);
    list_remove(&ln->on_waiting);
    set_accepting(ln, true);
}

void listener_timer(struct loop_timer *t)
{
    listener_retry(
        (struct net_listener *)(void *)((char *)t - offsetof(struct net_listener, retry)));
}

static void accepted(struct net_listener *ln, int fd)
{
    struct net_stream *s = stream_new(ln->loop, fd);
    uint32_t limit = ln->opts.handshake_ms ? ln->opts.handshake_ms : HANDSHAKE_MS;

    s->listener = ln;
    ln->pending++;
    s->tls = net_tls_ref(ln->opts.tls);
    s->may_be_plain = s->tls && ln->opts.tls_optional;
    heap_set(&ln->loop->timers, &s->timer.timer, mono_add_ms(ln->loop->now, limit));
    stream_start(s);
}

static void door_ready(struct source *self, uint32_t events)
{
    struct door *d = (struct door *)(void *)self;
    struct net_listener *ln = d->listener;
    int most = ln->opts.pending_max ? (int)ln->opts.pending_max : PENDING_MAX;

    (void)events;
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        int fd = accept4(self->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM))
            pause_accepting(ln);
        if (fd < 0)
            return;
        if (ln->pending >= most) {
            close(fd);
            continue;
        }
        if (!ln->opts.accept.divert || !ln->opts.accept.divert(ln->opts.accept.user, fd))
            accepted(ln, fd);
    }
}

void net_listener_adopt(struct net_listener *ln, int fd)
{
    int most = ln->opts.pending_max ? (int)ln->opts.pending_max : PENDING_MAX;

    if (ln->pending < most) {
        accepted(ln, fd);
        return;
    }
    close(fd);
    if (ln->opts.accept.failed)
        ln->opts.accept.failed(ln->opts.accept.user, &(struct net_peer){0},
                               "too many connections are in their handshake", ln->loop->now);
}

void listener_stream_ready(struct net_stream *s)
{
    struct net_listener *ln = s->listener;
    const struct net_engine_ops *ops = NULL;
    void *engine;

    ln->pending--;
    s->listener = NULL;
    engine = ln->opts.accept.ready(ln->opts.accept.user, s, &ops, ln->loop->now);
    stream_engine(s, engine, ops);
}

void listener_stream_failed(struct net_stream *s, const char *why)
{
    struct net_listener *ln = s->listener;

    ln->pending--;
    s->listener = NULL;
    if (ln->opts.accept.failed)
        ln->opts.accept.failed(ln->opts.accept.user, s->peer, why, ln->loop->now);
}

static int open_door(struct net_listener *ln, const struct addrinfo *ai, int port)
{
    struct door *d = &ln->doors[ln->door_count];
    struct sockaddr_storage sa = {0};
    int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;

    if (fd < 0)
        return errno == EAFNOSUPPORT ? 0 : ERR_IO;
    memcpy(&sa, ai->ai_addr, ai->ai_addrlen);
    if (port > 0 && sa.ss_family == AF_INET)
        ((struct sockaddr_in *)(void *)&sa)->sin_port = htons((uint16_t)port);
    else if (port > 0)
        ((struct sockaddr_in6 *)(void *)&sa)->sin6_port = htons((uint16_t)port);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    set_nodelay(fd); // what is accepted inherits these
    set_keepalive(fd, ln->opts.keepalive_s);
    if (ai->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
    if (bind(fd, (struct sockaddr *)&sa, ai->ai_addrlen) < 0 ||
        listen(fd, ln->opts.backlog ? ln->opts.backlog : BACKLOG) < 0) {
        int saved = errno;

        close(fd);
        errno = saved;
        return saved == EADDRNOTAVAIL ? 0 : ERR_IO; // "localhost" where there is no IPv6
    }
    d->source = (struct source){.ready = door_ready, .fd = fd};
    d->listener = ln;
    ln->door_count++;
    return source_add(ln->loop, &d->source, EPOLLIN);
}

static const char *port_text(const char *port)
{
    if (!port || strcmp(port, "amqp") == 0)
        return "5672";
    return strcmp(port, "amqps") == 0 ? "5671" : port;
}

int net_listener_new(struct net_loop *l, const struct net_listener_opts *opts,
                     struct net_listener **out, struct why *why)
{
    struct net_listener *ln = xcalloc(1, sizeof(*ln));
    const char *host = opts->host && opts->host[0] ? opts->host : NULL;
    struct addrinfo hints = {
        .ai_family = opts->family, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *found = NULL;
    int err = 0, port = 0;

    ln->loop = l;
    ln->opts = *opts;
    ln->opts.tls = net_tls_ref(opts->tls);
    ln->retry.kind = TIMER_LISTENER;
    list_init(&ln->on_waiting);
    if (opts->is_adopting) {
        *out = ln;
        return 0;
    }
    err = getaddrinfo(host, port_text(opts->port), &hints, &found);
    if (err != 0) {
        why_set(why, "host '%s' port '%s': %s", host ? host : "", port_text(opts->port),
                gai_strerror(err));
        net_listener_free(ln);
        return ERR_INVALID;
    }
    err = 0;
    for (struct addrinfo *ai = found; ai && err == 0 && ln->door_count < SOCKETS_MAX;
         ai = ai->ai_next) {
        err = open_door(ln, ai, port);
        if (err == 0 && ln->door_count == 1)
            port = net_listener_port(ln);
    }
    freeaddrinfo(found);
    if (err < 0 || ln->door_count == 0) {
        why_set(why, "cannot listen on %s port %s: %s", host ? host : "any address",
                port_text(opts->port), strerror(errno));
        net_listener_free(ln);
        return ERR_IO;
    }
    *out = ln;
    return 0;
}

void net_listener_free(struct net_listener *ln)
{
    if (!ln)
        return;
    list_for_each (node, &ln->loop->streams) {
        struct net_stream *s = list_entry(node, struct net_stream, on_loop);

        if (s->listener == ln)
            net_stream_drop(s, "the listener is gone");
    }
    for (int i = 0; i < ln->door_count; i++)
        source_close(ln->loop, &ln->doors[i].source);
    heap_cancel(&ln->loop->timers, &ln->retry.timer);
    list_remove(&ln->on_waiting);
    net_tls_unref(ln->opts.tls);
    loop_free_later(ln->loop, ln);
}

int net_listener_port(const struct net_listener *ln)
{
    struct sockaddr_storage sa = {0};
    socklen_t len = sizeof(sa);

    if (ln->door_count == 0 ||
        getsockname(ln->doors[0].source.fd, (struct sockaddr *)&sa, &len) < 0)
        return 0;
    if (sa.ss_family == AF_INET6)
        return ntohs(((struct sockaddr_in6 *)(void *)&sa)->sin6_port);
    return ntohs(((struct sockaddr_in *)(void *)&sa)->sin_port);
}
