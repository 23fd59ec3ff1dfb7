// SPDX-License-Identifier: Apache-2.0
#include "client/client.h"

#include <assert.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "client/inside.h"

// One connection to a router. The AMQP engine does the protocol; this folder adds what somebody
// needs who is no router.
//
//   client.c   the connection, and the queue of events for its owner
//   link.c     senders with a queue each, receivers that put messages together
//   ask.c      requests to management, their answers, pages and times
//   value.c    AMQP values as JSON and back
//   message.c  properties written, messages read
//   line.c     all that with a loop of its own, blocking
//
// feed() takes everything that the engine tells before it returns, since the bytes are lent; what
// concerns the owner waits as an event. What waits is bounded: by the credit of receivers, and
// since a client whose events are not taken does not read.

enum {
    FRAME_SIZE = 16384,
    BLOCK_SIZE = 4096,
    BLOCK_COUNT = 4096,
    OUTPUT_MAX = 256 * 1024,
    WINDOW = 512,
    IDLE_MS = 16000,
    HANDSHAKE_MS = 10000,
};

struct client *client_new(const struct client_opts *o, struct mono now)
{
    struct client *c = xcalloc(1, sizeof(*c));
    struct amqp_conn_opts opts = {
        .container_id = o->name,
        .hostname = o->hostname,
        .frame_size_max = FRAME_SIZE,
        .channel_max = 1,
        .link_max = CLIENT_LINKS_MAX + 2,
        .idle_timeout_ms = IDLE_MS,
        .handshake_ms = HANDSHAKE_MS,
        .incoming_window = WINDOW,
        .output_max = OUTPUT_MAX,
        .sasl_mechanisms = o->is_external ? AMQP_SASL_EXTERNAL : AMQP_SASL_ANONYMOUS,
    };

    c->pool = opts.pool = pool_new(BLOCK_SIZE, BLOCK_COUNT);
    c->conn = amqp_conn_new(&opts, now);
    c->now = now;
    c->next_request = 1;
    list_init(&c->links);
    list_init(&c->busy);
    list_init(&c->events);
    list_init(&c->unasked);
    map_init(&c->requests);
    heap_init(&c->timers);
    return c;
}

static void event_free(struct event *e)
{
    struct client *c;

    if (!e)
        return;
    if (e->ev.type == CLIENT_ANSWER)
        json_decref(e->ev.answer.value);
    c = e->has_credit ? e->ev.link->client : NULL;
    if (c && e->ev.link->link)
        amqp_link_grant(e->ev.link->link, 1);
    list_remove(&e->on_client);
    free(e->bytes);
    free(e->words);
    free(e);
}

void client_free(struct client *c)
{
    struct list *node;

    if (!c)
        return;
    ask_fini(c);
    event_free(c->told);
    c->told = NULL;
    while ((node = list_pop(&c->events)) != NULL)
        event_free(list_entry(node, struct event, on_client));
    while ((node = list_pop(&c->links)) != NULL)
        client_link_free(list_entry(node, struct client_link, on_client));
    amqp_conn_free(c->conn);
    pool_free(c->pool);
    free(c->why);
    free(c);
}

bool client_is_open(const struct client *c)
{
    return c->is_open && !c->is_closed;
}

const struct amqp_peer *client_peer(const struct client *c)
{
    return amqp_conn_peer(c->conn);
}

// ---------------------------------------------------------------------------------------- events

struct event *client_event_add(struct client *c, enum client_event_type type, struct client_link *l,
                               void *user)
{
    struct event *e = xcalloc(1, sizeof(*e));

    e->ev = (struct client_event){.type = type, .link = l, .user = user};
    list_append(&c->events, &e->on_client);
    return e;
}

bool client_next(struct client *c, struct client_event *ev)
{
    struct list *node;

    event_free(c->told);
    c->told = NULL;
    node = list_pop(&c->events);
    if (!node)
        return false;
    c->told = list_entry(node, struct event, on_client);
    c->unread -= c->told->size;
    c->held -= c->told->size;
    *ev = c->told->ev;
    return true;
}

// Nothing more will happen.
static void closed(struct client *c, const char *words)
{
    struct event *e;

    if (c->is_closed)
        return;
    c->is_closed = true;
    ask_fail_all(c, ERR_CLOSED, words);
    list_for_each (node, &c->links) {
        struct client_link *l = list_entry(node, struct client_link, on_client);

        l->link = NULL;
        l->is_gone = true;
    }
    e = client_event_add(c, CLIENT_CLOSED, NULL, NULL);
    e->words = xstrdup(words);
    e->ev.words = e->words;
}

static void opened(struct client *c)
{
    c->is_open = true;
    c->session = amqp_session_begin(c->conn, WINDOW);
    list_for_each (node, &c->links)
        link_attach(list_entry(node, struct client_link, on_client), false);
    client_event_add(c, CLIENT_OPENED, NULL, NULL);
    ask_on_open(c);
}

static void on_closed(struct client *c, const struct amqp_event *ev)
{
    char *words = NULL;

    if (ev->ended.condition.len > 0)
        words =
            str_fmt("%s closed the connection: %.*s%s%.*s",
                    ev->ended.is_ours ? "this side" : "the router", STR_ARG(ev->ended.condition),
                    ev->ended.description.len > 0 ? ": " : "", STR_ARG(ev->ended.description));
    closed(c, words ? words : "the connection was closed");
    free(words);
}

static void on_event(struct client *c, const struct amqp_event *ev)
{
    struct client_link *l = ev->link ? amqp_link_user(ev->link) : NULL;

    switch (ev->type) {
    case AMQP_EV_OPENED:
        opened(c);
        break;
    case AMQP_EV_ATTACHED:
        if (l)
            link_on_attached(l);
        else
            amqp_link_refuse(ev->link, "amqp:not-allowed", "links are attached from this side");
        break;
    case AMQP_EV_TRANSFER:
        if (l)
            link_on_transfer(l, ev);
        break;
    case AMQP_EV_UPDATED:
        if (l)
            link_on_updated(l, ev);
        break;
    case AMQP_EV_DETACHED:
        if (l)
            link_on_detached(l, ev);
        break;
    case AMQP_EV_CREDIT:
        if (l && l->is_sender && amqp_link_is_draining(ev->link) && l->unsent_count == 0)
            amqp_link_drained(ev->link);
        break;
    case AMQP_EV_WRITABLE:
        break;
    case AMQP_EV_CLOSED:
        on_closed(c, ev);
        break;
    }
}

void client_drain(struct client *c)
{
    struct amqp_event ev;

    while (amqp_conn_next(c->conn, &ev))
        on_event(c, &ev);
    links_pump(c);
}

// ---------------------------------------------------------------------------- what the loop calls

static void feed(void *e, const uint8_t *data, size_t len, struct mono now)
{
    struct client *c = e;

    c->now = now;
    amqp_conn_feed(c->conn, data, len, now);
    client_drain(c);
}

static struct buf *output(void *e, struct mono now)
{
    struct client *c = e;

    c->now = now;
    links_pump(c);
    amqp_conn_flush(c->conn);
    return amqp_conn_output(c->conn);
}

static void sent(void *e, struct mono now)
{
    struct client *c = e;

    c->now = now;
    amqp_conn_sent(c->conn);
    client_drain(c);
}

static struct mono deadline(const void *e)
{
    const struct client *c = e;

    return mono_min(amqp_conn_deadline(c->conn), heap_deadline(&c->timers));
}

static void tick(void *e, struct mono now)
{
    struct client *c = e;

    c->now = now;
    amqp_conn_tick(c->conn, now);
    client_drain(c);
    ask_tick(c);
}

static bool is_paused(const void *e)
{
    const struct client *c = e;

    return c->unread > CLIENT_UNREAD_MAX;
}

static bool is_finished(const void *e)
{
    const struct client *c = e;

    return amqp_conn_is_finished(c->conn);
}

static void lost(void *e, const char *why, struct mono now)
{
    struct client *c = e;
    char *words = str_fmt("the connection was lost: %s", why);

    c->now = now;
    closed(c, words);
    free(words);
}

const struct net_engine_ops client_engine = {
    .feed = feed,
    .output = output,
    .sent = sent,
    .deadline = deadline,
    .tick = tick,
    .is_paused = is_paused,
    .is_finished = is_finished,
    .lost = lost,
};

void client_close(struct client *c)
{
    if (!c->is_closed)
        amqp_conn_close(c->conn, NULL, NULL);
}
