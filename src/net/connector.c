// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "net/inside.h"

// A connection that is kept up: a race among its places (race.c) makes one, and when it is lost, or
// none was made, the next race begins after a pause. The pause doubles from retry_min to retry_max
// and starts over when the owner says that the stream was good.

enum { RETRY_MIN_MS = 100, RETRY_MAX_MS = 5000 };

struct net_connector {
    struct net_loop *loop;
    struct net_connector_opts opts;
    struct net_place places[1 + 1 + NET_PLACES_MAX]; // its own, the one it is at, what it was told
    int place_count, at;                             // tried first, or where the stream leads
    struct loop_timer timer;                         // the next race
    struct race *race;
    struct net_stream *stream;
    uint32_t pause_ms;
    struct rng rng;
    bool is_retired;
    bool is_bound; // to the place that it is at
    bool is_aimed; // just now, and its stream has to go
};

static uint32_t or_default(uint32_t value, uint32_t fallback)
{
    return value ? value : fallback;
}

// The next race, after a pause with jitter. It is longer after each round of all places.
static void again(struct net_connector *c, int first)
{
    uint32_t most = or_default(c->opts.retry_max_ms, RETRY_MAX_MS);
    uint32_t pause = or_default(c->opts.retry_min_ms, RETRY_MIN_MS), wait;

    if (c->is_retired)
        return;
    if (!c->is_bound)
        c->at = first;
    if (!c->is_aimed && (c->is_bound || c->at == 0)) {
        pause = c->pause_ms;
        c->pause_ms = c->pause_ms * 2 > most ? most : c->pause_ms * 2;
    }
    c->is_aimed = false;
    wait = pause / 2 + rng_below(&c->rng, pause / 2 + 1);
    heap_set(&c->loop->timers, &c->timer.timer, mono_add_ms(c->loop->now, wait));
}

static void end_race(struct net_connector *c)
{
    race_free(c->race);
    c->race = NULL;
}

// The places, or the way there, are others: so is the race.
static void race_anew(struct net_connector *c)
{
    if (!c->race)
        return;
    end_race(c);
    heap_set(&c->loop->timers, &c->timer.timer, c->loop->now);
}

void connector_timer(struct loop_timer *t)
{
    struct net_connector *c =
        (struct net_connector *)(void *)((char *)t - offsetof(struct net_connector, timer));

    c->race = c->is_bound ? race_new(c, c->loop, &c->opts, &c->places[c->at], 1, 0)
                          : race_new(c, c->loop, &c->opts, c->places, c->place_count, c->at);
}

// The last thing that is done with the connector: its owner may give it up here.
void connector_place_failed(struct net_connector *c, const char *why, bool is_over)
{
    if (is_over) {
        end_race(c);
        again(c, 0);
    }
    c->opts.connect.failed(c->opts.connect.user, why, c->loop->now);
}

void connector_won(struct net_connector *c, const struct net_place *place, struct net_stream *s)
{
    const struct net_engine_ops *ops = NULL;
    void *engine;

    end_race(c);
    c->at = (int)(place - c->places);
    c->stream = s;
    s->connector = c;
    engine = c->opts.connect.ready(c->opts.connect.user, s, &ops, c->loop->now);
    stream_engine(s, engine, ops);
}

void connector_stream_lost(struct net_connector *c)
{
    c->stream = NULL;
    again(c, (c->at + 1) % c->place_count);
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
    c->opts.proxy = net_proxy_ref(opts->proxy);
    c->places[0] = (struct net_place){xstrdup(opts->host), xstrdup(port)};
    c->place_count = 1;
    c->timer.kind = TIMER_CONNECTOR;
    c->pause_ms = or_default(opts->retry_min_ms, RETRY_MIN_MS);
    rng_init(&c->rng, rng_system_seed());
    heap_set(&l->timers, &c->timer.timer, l->now);
    *out = c;
    return 0;
}

void net_connector_set_proxy(struct net_connector *c, struct net_proxy *p)
{
    race_anew(c);
    net_proxy_ref(p);
    net_proxy_unref(c->opts.proxy);
    c->opts.proxy = p;
}

static void give_up(struct net_connector *c)
{
    heap_cancel(&c->loop->timers, &c->timer.timer);
    end_race(c);
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

static void free_place(struct net_place *p)
{
    free(p->host);
    free(p->port);
}

static int find_place(const struct net_connector *c, const struct net_place *p)
{
    for (int i = 0; i < c->place_count; i++)
        if (strcmp(c->places[i].host, p->host) == 0 && strcmp(c->places[i].port, p->port) == 0)
            return i;
    return -1;
}

// Whether its places besides its own are just these, in their order.
static bool has_places(const struct net_connector *c, const struct net_place *others, int count)
{
    if (c->place_count != 1 + count)
        return false;
    for (int i = 0; i < count; i++)
        if (find_place(c, &others[i]) != 1 + i)
            return false;
    return true;
}

void net_connector_set_places(struct net_connector *c, const struct net_place *others, int count)
{
    int old_count = c->place_count, at = c->at;
    struct net_place kept = at > 0 ? c->places[at] : (struct net_place){NULL, NULL};

    if (has_places(c, others, count))
        return; // and a race that is under way goes on
    for (int i = 1; i < old_count; i++)
        if (i != at)
            free_place(&c->places[i]);
    c->place_count = 1;
    if (kept.host)
        c->places[c->place_count++] = kept;
    c->at = c->place_count - 1;
    for (int i = 0; i < count && i < NET_PLACES_MAX; i++)
        if (find_place(c, &others[i]) < 0)
            c->places[c->place_count++] =
                (struct net_place){xstrdup(others[i].host), xstrdup(others[i].port)};
    race_anew(c);
}

const struct net_place *net_connector_places(const struct net_connector *c, int *count, int *at)
{
    *count = c->place_count;
    *at = c->at;
    return c->places;
}

void net_connector_aim(struct net_connector *c, const struct net_place *to)
{
    int i = find_place(c, to);

    if (i < 0)
        return;
    if (i == c->at && (c->stream || c->is_bound || c->place_count == 1)) {
        c->is_bound = true;
        return; // it is there, or on its way
    }
    c->at = i;
    c->is_bound = true;
    c->is_aimed = c->stream != NULL;
    race_anew(c);
    if (c->stream)
        net_stream_drop(c->stream, "it follows its group to another place");
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
    net_proxy_unref(c->opts.proxy);
    for (int i = 0; i < c->place_count; i++)
        free_place(&c->places[i]);
    loop_free_later(c->loop, c);
}

void net_connector_succeeded(struct net_connector *c)
{
    c->pause_ms = or_default(c->opts.retry_min_ms, RETRY_MIN_MS);
}
