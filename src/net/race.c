// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/inside.h"

// One round of a connector: its places are tried side by side, and the first whose connection is
// ready, its handshake included, is taken; the others are given up. They begin in their order, each
// a moment after the one before or as soon as that has failed, so where several live the order
// counts. Of a name all addresses are tried, the second ones after the first of all places.

enum {
    CONNECT_MS = 10000,
    HEAD_START_MS = 250, // before the next one
    // For an answer: enough for a packet to be lost once. Where there is nowhere else to try, the
    // same place is tried anew: what stands for a server that moved (a Service whose pod is another
    // now) sends all packets of one attempt to where the first one went.
    ANSWER_MS = 2500,
};

struct way { // to one of the places
    const struct net_place *place;
    struct race *race;
    struct lookup *lookup; // under way
    struct net_addresses addresses;
    int next_address;
    int attempt_count; // under way
    bool is_begun, is_told;
    const char *what; // came to nothing last, and why
    bool is_beyond;   // the proxy, if there is one, had been reached
    char why[400];
};

struct attempt {          // at one address
    struct source source; // first: the socket while it connects
    struct way *way;
    struct list on_race;
    struct net_stream *stream; // in its handshake
    struct mono silent_until, give_up;
};

struct race {
    struct net_loop *loop;
    struct net_connector *connector;
    const struct net_connector_opts *opts;
    struct loop_timer timer;
    struct list attempts;
    struct way *ways;
    int way_count;
    struct mono due; // when the next one may begin
};

static void note(struct way *w, const char *what, const char *why)
{
    w->what = what;
    w->is_beyond = false;
    snprintf(w->why, sizeof(w->why), "%s", why);
    w->race->due = w->race->loop->now;
}

static bool is_over(const struct way *w)
{
    return w->is_begun && !w->lookup && w->attempt_count == 0 &&
           w->next_address == w->addresses.count;
}

// Whose turn it is, or NULL.
static struct way *next_way(const struct race *r)
{
    struct way *best = NULL;

    for (int i = 0; i < r->way_count; i++) {
        struct way *w = &r->ways[i];
        bool has_more = !w->is_begun || w->next_address < w->addresses.count;

        if (has_more && (!best || w->next_address < best->next_address))
            best = w;
    }
    return best;
}

static void attempt_free(struct attempt *a)
{
    struct race *r = a->way->race;

    a->way->attempt_count--;
    list_remove(&a->on_race);
    source_close(r->loop, &a->source);
    if (a->stream) {
        a->stream->birth->attempt = NULL;
        net_stream_drop(a->stream, "another place was quicker");
    }
    loop_free_later(r->loop, a);
}

static void connecting(struct source *self, uint32_t events);

static bool start_connect(struct attempt *a, const struct sockaddr_storage *sa, socklen_t len)
{
    int fd = socket(sa->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return false;
    a->source = (struct source){.ready = connecting, .fd = fd};
    if (connect(fd, (const struct sockaddr *)sa, len) < 0 && errno != EINPROGRESS)
        return false;
    return source_add(a->way->race->loop, &a->source, EPOLLOUT) == 0;
}

static void try_address(struct way *w)
{
    struct race *r = w->race;
    struct attempt *a = xcalloc(1, sizeof(*a));
    int at = w->next_address++;

    a->way = w;
    a->source.fd = -1;
    list_append(&r->attempts, &a->on_race);
    w->attempt_count++;
    a->give_up = mono_add_ms(r->loop->now, r->opts->connect_ms ? r->opts->connect_ms : CONNECT_MS);
    a->silent_until = mono_min(a->give_up, mono_add_ms(r->loop->now, ANSWER_MS));
    if (!start_connect(a, &w->addresses.at[at], w->addresses.lengths[at])) {
        note(w, "connect to", strerror(errno));
        attempt_free(a);
    }
}

static void begin_what_is_due(struct race *r)
{
    const struct net_proxy *proxy = r->opts->proxy;
    struct way *w;

    while (!mono_before(r->loop->now, r->due) && (w = next_way(r)) != NULL) {
        r->due = mono_add_ms(r->loop->now, HEAD_START_MS);
        if (w->is_begun) {
            try_address(w);
            continue;
        }
        w->is_begun = true;
        w->lookup = lookup_start(r->loop, proxy ? proxy->host : w->place->host,
                                 proxy ? proxy->port : w->place->port, r->opts->family);
        w->lookup->way = w;
    }
}

static struct way *one_to_tell(const struct race *r)
{
    for (int i = 0; i < r->way_count; i++)
        if (is_over(&r->ways[i]) && !r->ways[i].is_told)
            return &r->ways[i];
    return NULL;
}

static bool all_told(const struct race *r)
{
    for (int i = 0; i < r->way_count; i++)
        if (!r->ways[i].is_told)
            return false;
    return true;
}

static void arm(struct race *r)
{
    struct mono at = next_way(r) ? r->due : MONO_NEVER;

    list_for_each (it, &r->attempts) {
        const struct attempt *a = list_entry(it, struct attempt, on_race);

        if (!a->stream) // else the stream has a timer
            at = mono_min(at, a->silent_until);
    }
    heap_set(&r->loop->timers, &r->timer.timer, one_to_tell(r) ? r->loop->now : at);
}

static void say(const struct way *w, char *out, size_t size)
{
    const struct net_proxy *p = w->race->opts->proxy;
    const char *host = w->place->host, *port = w->place->port;

    if (!p)
        snprintf(out, size, "%s %s:%s: %s", w->what, host, port, w->why);
    else if (w->is_beyond)
        snprintf(out, size, "%s %s:%s through proxy %s:%s: %s", w->what, host, port, p->host,
                 p->port, w->why);
    else
        snprintf(out, size,
                 "%s proxy %s:%s on the way to %s:%s: %s; does it run, and are host and port of "
                 "the proxyProfile '%s' right?",
                 w->what, p->host, p->port, host, port, w->why, p->name);
}

// After anything has happened; the last thing that is done with the race, which may be gone then.
static void settle(struct race *r)
{
    struct way *w;
    char words[1000];

    begin_what_is_due(r);
    w = one_to_tell(r);
    if (w) {
        w->is_told = true;
        say(w, words, sizeof(words));
    }
    arm(r);
    if (w)
        connector_place_failed(r->connector, words, all_told(r));
}

static void connecting(struct source *self, uint32_t events)
{
    struct attempt *a = (struct attempt *)(void *)self;
    struct race *r = a->way->race;
    int error = 0, fd = self->fd;
    socklen_t len = sizeof(error);
    struct tunnel tunnel = {0};
    struct why why = {""};

    (void)events;
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
    if (error != 0)
        why_set(&why, "%s", strerror(error));
    else if (r->opts->proxy)
        error =
            tunnel_init(&tunnel, r->opts->proxy, a->way->place->host, a->way->place->port, &why);
    if (error != 0) {
        note(a->way, "connect to", why.text);
        a->way->is_beyond = error < 0; // else it is not there
        attempt_free(a);
        settle(r);
        return;
    }
    epoll_ctl(r->loop->epoll, EPOLL_CTL_DEL, fd, NULL);
    self->fd = -1;
    set_nodelay(fd);
    a->stream = stream_new(r->loop, fd);
    a->stream->birth->attempt = a;
    a->stream->birth->tunnel = tunnel;
    a->stream->birth->tls = net_tls_ref(r->opts->tls);
    heap_set(&r->loop->timers, &a->stream->timer.timer, a->give_up);
    stream_start(a->stream);
}

const char *race_expected_host(const struct attempt *a)
{
    return a->way->race->opts->verify_host ? a->way->place->host : NULL;
}

void race_stream_ready(struct net_stream *s)
{
    struct attempt *a = s->birth->attempt;

    a->stream = NULL;
    s->birth->attempt = NULL;
    connector_won(a->way->race->connector, a->way->place, s);
}

void race_stream_failed(struct net_stream *s, const char *why)
{
    struct attempt *a = s->birth->attempt;
    struct race *r = a->way->race;

    a->stream = NULL;
    note(a->way, "connect to", why);
    a->way->is_beyond = true;
    attempt_free(a);
    settle(r);
}

void race_looked_up(const struct lookup *l)
{
    struct way *w = l->way;

    w->lookup = NULL;
    note(w, "connect to", "no address");
    if (l->error == 0)
        addresses_take(&w->addresses, l->result);
    else
        note(w, "look up", gai_strerror(l->error));
    settle(w->race);
}

void race_timer(struct loop_timer *t)
{
    struct race *r = (struct race *)(void *)((char *)t - offsetof(struct race, timer));

    list_for_each (it, &r->attempts) {
        struct attempt *a = list_entry(it, struct attempt, on_race);

        if (!a->stream && !mono_before(r->loop->now, a->silent_until)) {
            note(a->way, "connect to", "no answer in time");
            attempt_free(a);
        }
    }
    settle(r);
}

struct race *race_new(struct net_connector *c, struct net_loop *l,
                      const struct net_connector_opts *opts, const struct net_place *places,
                      int count, int first)
{
    struct race *r = xcalloc(1, sizeof(*r));

    *r = (struct race){.loop = l,
                       .connector = c,
                       .opts = opts,
                       .timer.kind = TIMER_RACE,
                       .ways = xcalloc((size_t)count, sizeof(*r->ways)),
                       .way_count = count,
                       .due = l->now};
    list_init(&r->attempts);
    for (int i = 0; i < count; i++) {
        r->ways[i].race = r;
        r->ways[i].place = &places[(first + i) % count];
    }
    settle(r); // looks up the first, of which nothing is heard yet
    return r;
}

void race_free(struct race *r)
{
    if (!r)
        return;
    while (!list_empty(&r->attempts))
        attempt_free(list_entry(r->attempts.next, struct attempt, on_race));
    for (int i = 0; i < r->way_count; i++)
        if (r->ways[i].lookup)
            r->ways[i].lookup->way = NULL;
    heap_cancel(&r->loop->timers, &r->timer.timer);
    free(r->ways);
    free(r);
}
