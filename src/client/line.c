// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "client/inside.h"

// A connection with a loop of its own. Each turn of the loop may leave events; who waits for one
// turns the loop until there is one, or the time is up.

enum { SCRATCH = 64 * 1024 };

struct client_line {
    struct net_loop *loop;
    struct net_tls *tls;
    struct net_target *target;
    struct net_listener *adopting; // of a socket that was given
    struct net_stream *stream;     // NULL: not yet, or lost
    struct client *client;
    uint32_t timeout_ms;
    bool has_failed;
    char *why; // of it
};

// ------------------------------------------------------------------------- the connection's engine

static void feed(void *e, const uint8_t *data, size_t len, struct mono now)
{
    struct client_line *l = e;

    client_engine.feed(l->client, data, len, now);
}

static struct buf *output(void *e, struct mono now)
{
    struct client_line *l = e;

    return client_engine.output(l->client, now);
}

static void sent(void *e, struct mono now)
{
    struct client_line *l = e;

    client_engine.sent(l->client, now);
}

static struct mono deadline(const void *e)
{
    const struct client_line *l = e;

    return client_engine.deadline(l->client);
}

static void tick(void *e, struct mono now)
{
    struct client_line *l = e;

    client_engine.tick(l->client, now);
}

// Events are taken before each turn, so that no more wait than one turn brings.
static bool is_paused(const void *e)
{
    (void)e;
    return false;
}

static bool is_finished(const void *e)
{
    const struct client_line *l = e;

    return client_engine.is_finished(l->client);
}

static void lost(void *e, const char *why, struct mono now)
{
    struct client_line *l = e;

    l->stream = NULL;
    client_engine.lost(l->client, why, now);
}

static const struct net_engine_ops line_engine = {
    .feed = feed,
    .output = output,
    .sent = sent,
    .deadline = deadline,
    .tick = tick,
    .is_paused = is_paused,
    .is_finished = is_finished,
    .lost = lost,
};

static void *ready(void *user, struct net_stream *s, const struct net_engine_ops **ops,
                   struct mono now)
{
    struct client_line *l = user;

    (void)now;
    l->stream = s;
    *ops = &line_engine;
    return l;
}

static void failed(void *user, enum net_fault fault, const char *why, struct mono now)
{
    struct client_line *l = user;

    (void)fault;
    (void)now;
    l->has_failed = true;
    free(l->why);
    l->why = xstrdup(why);
}

// ------------------------------------------------------------------------------------------ turns

static void turn(struct client_line *l, struct mono until)
{
    if (l->stream)
        net_want_write(l->stream);
    net_loop_turn(l->loop, until);
}

bool client_line_next(struct client_line *l, struct mono until, struct client_event *ev)
{
    for (;;) {
        if (client_next(l->client, ev))
            return true;
        if (!l->stream || !mono_before(mono_now(), until))
            return false;
        turn(l, until);
    }
}

// Waits until the router has opened.
static int wait_open(struct client_line *l, struct mono until, const struct client_target *t,
                     struct why *why)
{
    struct client_event ev;

    while (!l->stream && !l->has_failed && mono_before(mono_now(), until))
        turn(l, until);
    if (l->has_failed) {
        why_set(why, "%s", l->why);
        return ERR_IO;
    }
    while (l->stream && client_line_next(l, until, &ev)) {
        if (ev.type == CLIENT_OPENED)
            return 0;
        if (ev.type == CLIENT_CLOSED) {
            why_set(why, "%s:%s: %s", t->host, t->port, ev.words);
            return ERR_CLOSED;
        }
    }
    if (client_next(l->client, &ev) && ev.type == CLIENT_CLOSED) {
        why_set(why, "%s:%s: %s", t->host, t->port, ev.words);
        return ERR_CLOSED;
    }
    why_set(why, "%s:%s: no router answered within %u ms", t->host, t->port, l->timeout_ms);
    return ERR_AGAIN;
}

// As if it had been accepted.
static int adopt(struct client_line *l, int take_fd, struct why *why)
{
    struct net_listener_opts opts = {
        .port = "0", .is_adopting = true, .accept = {.ready = ready, .user = l}};
    int err = net_listener_new(l->loop, &opts, &l->adopting, why);

    if (err < 0)
        close(take_fd);
    else
        net_listener_adopt(l->adopting, take_fd);
    return err;
}

int client_line_new(const struct client_target *t, struct client_line **out, struct why *why)
{
    struct client_line *l = xcalloc(1, sizeof(*l));
    struct client_opts opts = {.name = t->name, .hostname = t->host, .is_external = t->tls != NULL};
    struct net_hooks hooks = {0};
    struct net_target_opts target = {
        .host = t->host, .port = t->port, .verify_host = t->verify_host};
    struct net_dialling dialling = {.ready = ready, .failed = failed, .user = l};
    int err;

    l->timeout_ms = target.connect_ms = t->timeout_ms ? t->timeout_ms : CLIENT_REQUEST_MS;
    err = net_loop_new(&hooks, SCRATCH, &l->loop);
    if (err < 0) {
        why_set(why, "no event loop can be made: too many files are open");
        goto failed;
    }
    err = t->tls ? net_tls_new(t->tls, &l->tls, why) : 0;
    if (err < 0)
        goto failed;
    target.tls = l->tls;
    l->client = client_new(&opts, net_loop_now(l->loop));
    if (t->fd > 0)
        err = adopt(l, t->fd, why);
    else
        err = net_target_new(l->loop, &target, &l->target, why);
    if (err < 0)
        goto failed;
    if (l->target)
        net_dial(l->target, &dialling, NULL);
    err = wait_open(l, mono_add_ms(mono_now(), l->timeout_ms), t, why);
    if (err < 0)
        goto failed;
    *out = l;
    return 0;
failed:
    client_line_free(l);
    return err;
}

// Long enough for a close to leave and its answer to come, short enough for nobody to notice.
enum { GOODBYE_MS = 500 };

void client_line_free(struct client_line *l)
{
    struct client_event ev;
    struct mono until = mono_add_ms(mono_now(), GOODBYE_MS);

    if (!l)
        return;
    if (l->stream && client_is_open(l->client)) {
        client_close(l->client);
        while (client_line_next(l, until, &ev) && ev.type != CLIENT_CLOSED)
            ;
    }
    if (l->loop)
        net_loop_drop_all(l->loop, "done");
    net_target_free(l->target);
    net_listener_free(l->adopting);
    client_free(l->client);
    net_tls_unref(l->tls);
    net_loop_free(l->loop);
    free(l->why);
    free(l);
}

struct client *client_line_client(struct client_line *l)
{
    return l->client;
}

int client_line_ask(struct client_line *l, const struct client_request *r, json_t **value,
                    struct why *why)
{
    struct client_event ev;
    struct client_request q = *r;
    uint64_t id;

    if (q.timeout_ms == 0)
        q.timeout_ms = l->timeout_ms;
    id = client_ask(l->client, &q, mono_now(), why);
    if (id == 0)
        return ERR_CLOSED;
    // Every request is answered, by a timer if need be.
    while (client_line_next(l, MONO_NEVER, &ev)) {
        if (ev.type != CLIENT_ANSWER || ev.answer.id != id)
            continue;
        if (ev.answer.err < 0)
            why_set(why, "%s", ev.answer.words);
        else
            *value = json_incref(ev.answer.value);
        return ev.answer.err;
    }
    why_set(why, "the connection to the router has ended");
    return ERR_CLOSED;
}

int client_call(const struct client_target *t, const struct client_request *r, json_t **value,
                struct why *why)
{
    struct client_line *l = NULL;
    int err = client_line_new(t, &l, why);

    if (err == 0)
        err = client_line_ask(l, r, value, why);
    client_line_free(l);
    return err;
}
