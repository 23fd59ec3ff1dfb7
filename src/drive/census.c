// SPDX-License-Identifier: Apache-2.0
// The network as its routers tell it in flow records: the engine is flow_collector, here are its
// links and its timer.
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/mem.h"
#include "client/client.h"
#include "drive/drive.h"
#include "flow/flow.h"
#include "net/net.h"

enum { CREDIT = 64 };

struct drive_census {
    struct net_loop *loop;
    void (*news)(void *user);
    void *user;
    struct flow_collector *collector;
    struct client *client; // NULL: not connected
    struct client_link *commands;
    struct list sources; // source.on_census
    struct net_timer timer;
    struct mono now; // of the news
};

// An address that is listened to.
struct source {
    struct list on_census;
    struct drive_census *census;
    struct client_link *link;
    char *address;
};

static void source_free(struct source *s)
{
    list_remove(&s->on_census);
    free(s->address);
    free(s);
}

static void receive(struct drive_census *n, const char *address)
{
    struct source *s = xcalloc(1, sizeof(*s));

    *s = (struct source){.census = n, .address = xstrdup(address)};
    list_append(&n->sources, &s->on_census);
    s->link = client_receive(n->client, address, CREDIT, s);
}

// The others keep their order; the list is drained, as the analyzers follow that.
static void stop(struct drive_census *n, const char *address)
{
    struct list others, *node;

    list_init(&others);
    while ((node = list_pop(&n->sources)) != NULL) {
        struct source *s = list_entry(node, struct source, on_census);

        if (strcmp(s->address, address) != 0) {
            list_append(&others, &s->on_census);
            continue;
        }
        client_link_free(s->link);
        source_free(s);
    }
    while ((node = list_pop(&others)) != NULL)
        list_append(&n->sources, node);
}

static void command(struct drive_census *n, const char *address)
{
    struct amqp_writer w;

    amqp_writer_init(&w);
    flow_put_flush(&w, str_of(address));
    client_send(n->commands, amqp_written(&w), true, 0);
    amqp_writer_fini(&w);
}

// What the collector wants done, and what it has to tell.
static void drain(struct drive_census *n, struct mono now)
{
    struct flow_want want;

    while (n->client && flow_collector_next(n->collector, &want)) {
        switch (want.type) {
        case FLOW_RECEIVE:
            receive(n, want.address);
            break;
        case FLOW_STOP:
            stop(n, want.address);
            break;
        case FLOW_ASK:
            command(n, want.address);
            break;
        }
    }
    if (flow_collector_has_news(n->collector)) {
        n->now = now;
        n->news(n->user);
    }
    net_timer_set(n->loop, &n->timer, flow_collector_deadline(n->collector));
}

static void fire(void *user, struct mono now)
{
    struct drive_census *n = user;

    flow_collector_tick(n->collector, now);
    drain(n, now);
}

struct drive_census *drive_census_new(struct net_loop *loop, void (*news)(void *user), void *user)
{
    struct drive_census *n = xcalloc(1, sizeof(*n));

    *n = (struct drive_census){.loop = loop,
                               .news = news,
                               .user = user,
                               .collector = flow_collector_new(net_loop_now(loop)),
                               .timer = {.fire = fire, .user = n}};
    list_init(&n->sources);
    return n;
}

static void forget_links(struct drive_census *n)
{
    struct list *node;

    while ((node = list_pop(&n->sources)) != NULL)
        source_free(list_entry(node, struct source, on_census));
    n->client = NULL;
    n->commands = NULL;
}

// The connection goes on without it.
static void detach(struct drive_census *n)
{
    client_link_free(n->commands);
    list_for_each (node, &n->sources)
        client_link_free(list_entry(node, struct source, on_census)->link);
}

void drive_census_free(struct drive_census *n)
{
    if (!n)
        return;
    net_timer_cancel(n->loop, &n->timer);
    if (n->client)
        detach(n);
    forget_links(n);
    flow_collector_free(n->collector);
    free(n);
}

void drive_census_opened(struct drive_census *n, struct client *c)
{
    struct mono now = net_loop_now(n->loop);

    n->client = c;
    n->commands = client_sender(c, NULL, n);
    flow_collector_restart(n->collector, now);
    drain(n, now);
}

void drive_census_closed(struct drive_census *n)
{
    forget_links(n);
}

void drive_census_heard(struct drive_census *n, const struct client_event *ev)
{
    struct mono now = net_loop_now(n->loop);
    struct source *s = ev->user;

    if (ev->type != CLIENT_MESSAGE)
        return;
    flow_collector_hear(n->collector, s->address, ev->message, now);
    drain(n, now);
}

void drive_census_tell(struct drive_census *n, void (*put)(void *user, struct str piece),
                       void *user)
{
    flow_collector_tell(n->collector, n->now, put, user);
}

json_t *drive_census_status(const struct drive_census *n, const char *made)
{
    return flow_collector_status(n->collector, made);
}

uint64_t drive_census_digest(const struct drive_census *n, const char *made)
{
    return flow_collector_digest(n->collector, made);
}
