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

enum { SOCKETS_MAX = ADDRESSES_MAX, PENDING_MAX = 256, BACKLOG = 65535, PORTS_TRIED = 20 };
// Out of descriptors, it tries again after RETRY_MS; it is over when that went well for RESUMED_MS.
enum { RETRY_MS = 100, RESUMED_MS = 1000 };

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
    bool is_short;        // it has told that accepting pauses
    struct mono short_at; // when it had to last
    struct loop_timer retry;
};

static void set_accepting(struct net_listener *ln, bool on)
{
    for (int i = 0; i < ln->door_count; i++)
        source_arm(ln->loop, &ln->doors[i].source, on ? (uint32_t)EPOLLIN : 0);
}

static void tell(struct net_listener *ln, const char *why)
{
    bool was_short = ln->is_short;

    ln->is_short = why != NULL;
    if (ln->opts.accept.paused && ln->is_short != was_short)
        ln->opts.accept.paused(ln->opts.accept.user, why, ln->loop->now);
}

// Out of descriptors or memory: what exists is kept, new ones wait in the kernel until one of ours
// closes, or a moment has passed.
static void pause_accepting(struct net_listener *ln, const char *why)
{
    ln->short_at = ln->loop->now;
    tell(ln, why);
    set_accepting(ln, false);
    if (list_empty(&ln->on_waiting))
        list_append(&ln->loop->waiting_listeners, &ln->on_waiting);
    heap_set(&ln->loop->timers, &ln->retry.timer, mono_add_ms(ln->loop->now, RETRY_MS));
}

void listener_retry(struct net_listener *ln)
{
    heap_set(&ln->loop->timers, &ln->retry.timer, mono_add_ms(ln->short_at, RESUMED_MS));
    list_remove(&ln->on_waiting);
    set_accepting(ln, true);
}

void listener_timer(struct loop_timer *t)
{
    struct net_listener *ln =
        (struct net_listener *)(void *)((char *)t - offsetof(struct net_listener, retry));

    if (list_empty(&ln->on_waiting))
        tell(ln, NULL);
    else
        listener_retry(ln);
}

static void accepted(struct net_listener *ln, int fd)
{
    struct net_stream *s = stream_new(ln->loop, fd);
    uint32_t limit = ln->opts.handshake_ms ? ln->opts.handshake_ms : HANDSHAKE_MS;

    s->birth->listener = ln;
    ln->pending++;
    s->birth->tls = net_tls_ref(ln->opts.tls);
    s->birth->may_be_plain = s->birth->tls && ln->opts.tls_optional;
    heap_set(&ln->loop->timers, &s->timer.timer, mono_add_ms(ln->loop->now, limit));
    stream_start(s);
}

// Whether so many of that address are in their handshake already that others would find no place.
static bool is_greedy(const struct net_listener *ln, const struct sockaddr_storage *peer)
{
    char text[64];
    size_t len;
    uint32_t count = 0;

    if (ln->opts.pending_of_one_max == 0)
        return false;
    address_text(peer, text, sizeof(text));
    len = (size_t)(strrchr(text, ':') + 1 - text); // without the port
    list_for_each (node, &ln->loop->streams) {
        const struct net_stream *s = list_entry(node, struct net_stream, on_loop);

        count +=
            s->birth && s->birth->listener == ln && strncmp(s->birth->peer.host, text, len) == 0;
    }
    return count >= ln->opts.pending_of_one_max;
}

static void door_ready(struct source *self, uint32_t events)
{
    struct door *d = (struct door *)(void *)self;
    struct net_listener *ln = d->listener;
    int most = ln->opts.pending_max ? (int)ln->opts.pending_max : PENDING_MAX;

    (void)events;
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        struct sockaddr_storage peer = {0};
        socklen_t len = sizeof(peer);
        int fd;

        if (ln->opts.accept.is_full && ln->opts.accept.is_full(ln->opts.accept.user)) {
            pause_accepting(ln, "no memory is left for what more connections would be sent");
            return;
        }
        fd = accept4(self->fd, (struct sockaddr *)&peer, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM))
            pause_accepting(ln, strerror(errno));
        if (fd < 0)
            return;
        if (ln->pending >= most || is_greedy(ln, &peer)) {
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
    struct net_listener *ln = s->birth->listener;
    const struct net_engine_ops *ops = NULL;
    void *engine;

    ln->pending--;
    s->birth->listener = NULL;
    engine = ln->opts.accept.ready(ln->opts.accept.user, s, &ops, ln->loop->now);
    stream_engine(s, engine, ops);
}

void listener_stream_failed(struct net_stream *s, const char *why)
{
    struct net_listener *ln = s->birth->listener;

    ln->pending--;
    s->birth->listener = NULL;
    if (ln->opts.accept.failed)
        ln->opts.accept.failed(ln->opts.accept.user, &s->birth->peer, why, ln->loop->now);
}

static int open_door(struct net_listener *ln, const struct sockaddr_storage *at, socklen_t len,
                     int port)
{
    struct door *d = &ln->doors[ln->door_count];
    struct sockaddr_storage sa = *at;
    int fd = socket(sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;

    if (fd < 0)
        return errno == EAFNOSUPPORT ? 0 : ERR_IO;
    if (port > 0 && sa.ss_family == AF_INET)
        ((struct sockaddr_in *)(void *)&sa)->sin_port = htons((uint16_t)port);
    else if (port > 0)
        ((struct sockaddr_in6 *)(void *)&sa)->sin6_port = htons((uint16_t)port);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    set_nodelay(fd); // what is accepted inherits these
    set_keepalive(fd, ln->opts.keepalive_s);
    if (sa.ss_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
    if (bind(fd, (struct sockaddr *)&sa, len) < 0 ||
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

const char *port_text(const char *port)
{
    if (!port || strcmp(port, "amqp") == 0)
        return "5672";
    return strcmp(port, "amqps") == 0 ? "5671" : port;
}

// The addresses to bind, in the order in which the resolver has them.
static int find_addresses(const struct net_listener_opts *opts, struct net_addresses *out,
                          struct why *why)
{
    const char *host = opts->host && opts->host[0] ? opts->host : NULL;
    struct addrinfo hints = {.ai_family = opts->family,
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_PASSIVE | (opts->is_quick ? AI_NUMERICHOST : 0)};
    struct addrinfo *found = NULL;
    int err = getaddrinfo(host, port_text(opts->port), &hints, &found);

    if (err == EAI_NONAME && host && opts->is_quick)
        return ERR_AGAIN;
    if (err != 0) {
        why_set(why, "host '%s' port '%s': %s", host ? host : "", port_text(opts->port),
                gai_strerror(err));
        return ERR_INVALID;
    }
    out->count = 0;
    for (struct addrinfo *ai = found; ai && out->count < SOCKETS_MAX; ai = ai->ai_next) {
        memcpy(&out->at[out->count], ai->ai_addr, ai->ai_addrlen);
        out->lengths[out->count++] = ai->ai_addrlen;
    }
    freeaddrinfo(found);
    return 0;
}

// All on the port that the first one has.
static int open_each(struct net_listener *ln, const struct net_addresses *addresses)
{
    int err = 0, port = 0;

    for (int i = 0; i < addresses->count && err == 0; i++) {
        err = open_door(ln, &addresses->at[i], addresses->lengths[i], port);
        if (err == 0 && ln->door_count == 1)
            port = net_listener_port(ln);
    }
    return err;
}

static void close_doors(struct net_listener *ln)
{
    while (ln->door_count > 0)
        source_close(ln->loop, &ln->doors[--ln->door_count].source);
}

// Why it could not be, as errno says; a port in use is somebody's, whom one can ask.
static void explain(const struct net_listener *ln, const struct net_addresses *addresses,
                    struct why *why)
{
    const char *host = ln->opts.host && ln->opts.host[0] ? ln->opts.host : "any address";
    int error = errno;
    char *holder = NULL;

    for (int i = 0; i < addresses->count && !holder && error == EADDRINUSE; i++)
        holder = net_port_holder(&addresses->at[i]);
    why_set(why, "cannot listen on %s port %s: %s%s%s", host, port_text(ln->opts.port),
            strerror(error), holder ? " " : "", holder ? holder : "");
    free(holder);
}

static int open_doors(struct net_listener *ln, const struct net_addresses *addresses,
                      struct why *why)
{
    bool is_any_port = strcmp(port_text(ln->opts.port), "0") == 0;
    int err = open_each(ln, addresses);

    // A port that is free at the first address may be somebody's at the next one.
    for (int i = 0; i < PORTS_TRIED && err < 0 && errno == EADDRINUSE && is_any_port; i++) {
        close_doors(ln);
        err = open_each(ln, addresses);
    }
    if (err == 0 && ln->door_count > 0)
        return 0;
    explain(ln, addresses, why);
    return ERR_IO;
}

int net_listener_new(struct net_loop *l, const struct net_listener_opts *opts,
                     struct net_listener **out, struct why *why)
{
    struct net_listener *ln = xcalloc(1, sizeof(*ln));
    struct net_addresses found = {.count = 0};
    int err = 0;

    ln->loop = l;
    ln->opts = *opts;
    ln->opts.tls = net_tls_ref(opts->tls);
    ln->retry.kind = TIMER_LISTENER;
    list_init(&ln->on_waiting);
    if (!opts->is_adopting && !opts->addresses)
        err = find_addresses(opts, &found, why);
    if (err == 0 && !opts->is_adopting)
        err = open_doors(ln, opts->addresses ? opts->addresses : &found, why);
    ln->opts.addresses = NULL; // they were lent
    if (err < 0) {
        net_listener_free(ln);
        return err;
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

        if (s->birth && s->birth->listener == ln)
            net_stream_drop(s, "the listener is gone");
    }
    close_doors(ln);
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
    // Its family says what was filled in. NOLINTNEXTLINE(clang-analyzer-core.CallAndMessage)
    return ntohs(((struct sockaddr_in *)(void *)&sa)->sin_port);
}
