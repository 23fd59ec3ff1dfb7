// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "client/inside.h"

// Senders and receivers. A sender's messages stand in a queue until the router gives credit, then
// among the unsettled ones until their outcome comes. A receiver puts a message together, accepts
// it, and gives its credit back when the owner has taken the event.

// What is being put together, of all receivers, and waits in events. Beyond it messages are
// rejected as if they were too large.
enum { HELD_MAX = 4 * CLIENT_MESSAGE_MAX };

struct client_link *client_link_new(struct client *c, const char *address, void *user)
{
    struct client_link *l = xcalloc(1, sizeof(*l));

    l->client = c;
    l->address = address ? xstrdup(address) : NULL;
    l->user = user;
    l->is_gone = c->is_closed;
    list_init(&l->on_busy);
    list_init(&l->unsent);
    list_init(&l->unsettled);
    amqp_writer_init(&l->part);
    list_append(&c->links, &l->on_client);
    c->link_count++;
    return l;
}

void link_attach(struct client_link *l, bool is_dynamic)
{
    struct client *c = l->client;
    char name[32];
    struct amqp_attach a = {
        .name = name,
        .role = l->is_sender ? AMQP_SENDER : AMQP_RECEIVER,
        .snd_settle_mode = 2,
        .capacity = l->credit,
    };

    if (!client_is_open(c) || l->link || l->is_gone)
        return;
    snprintf(name, sizeof(name), "%c%llu", l->is_sender ? 's' : 'r',
             (unsigned long long)c->next_link++);
    (l->is_sender ? &a.target : &a.source)->address = str_of(l->address);
    a.source.dynamic = is_dynamic;
    l->link = amqp_link_attach(c->session, &a);
    if (!l->link) {
        l->is_gone = true;
        client_event_add(c, CLIENT_DROPPED, l, l->user)->ev.words =
            "no more links on this connection";
        return;
    }
    amqp_link_set_user(l->link, l);
    if (!l->is_sender)
        amqp_link_grant(l->link, l->credit);
}

struct client_link *client_receive(struct client *c, const char *address, uint32_t credit,
                                   void *user)
{
    struct client_link *l;

    if (c->link_count >= CLIENT_LINKS_MAX)
        return NULL;
    l = client_link_new(c, address, user);
    l->credit = credit;
    link_attach(l, false);
    return l;
}

struct client_link *client_sender(struct client *c, const char *address, void *user)
{
    struct client_link *l;

    if (c->link_count >= CLIENT_LINKS_MAX)
        return NULL;
    l = client_link_new(c, address, user);
    l->is_sender = true;
    link_attach(l, false);
    return l;
}

const char *client_link_address(const struct client_link *l)
{
    return l->address;
}

// ---------------------------------------------------------------------------------------- ending

static void outgoing_free(struct outgoing *o)
{
    struct client_link *l = o->link;

    if (o->bytes) {
        l->client->unsent -= o->len;
        l->unsent_count--;
    }
    list_remove(&o->on_link);
    free(o->bytes);
    free(o);
}

static void forget_part(struct client_link *l)
{
    l->client->held -= l->part.len;
    l->is_too_large = false;
    amqp_writer_fini(&l->part);
    amqp_writer_init(&l->part);
}

// Events that speak of it, which nobody can look at any more.
static void forget_events(struct client_link *l)
{
    struct client *c = l->client;

    list_for_each (node, &c->events) {
        struct event *e = list_entry(node, struct event, on_client);

        if (e->ev.link != l)
            continue;
        c->unread -= e->size;
        c->held -= e->size;
        list_remove(&e->on_client);
        free(e->bytes);
        free(e->words);
        free(e);
    }
    if (c->told && c->told->ev.link == l)
        c->told->has_credit = false;
}

void client_link_free(struct client_link *l)
{
    struct list *node;

    if (!l)
        return;
    while ((node = list_pop(&l->unsent)) != NULL)
        outgoing_free(list_entry(node, struct outgoing, on_link));
    while ((node = list_pop(&l->unsettled)) != NULL)
        outgoing_free(list_entry(node, struct outgoing, on_link));
    if (l->link)
        amqp_link_detach(l->link, NULL, NULL);
    forget_part(l);
    forget_events(l);
    list_remove(&l->on_busy);
    list_remove(&l->on_client);
    l->client->link_count--;
    free(l->address);
    free(l);
}

void link_on_detached(struct client_link *l, const struct amqp_event *ev)
{
    struct client *c = l->client;
    struct event *e;
    char *words =
        str_fmt("the router ended the link%s%s: %.*s%s%.*s", l->address ? " to " : "",
                l->address ? l->address : "", STR_ARG(ev->ended.condition),
                ev->ended.description.len > 0 ? ": " : "", STR_ARG(ev->ended.description));

    l->link = NULL;
    l->is_gone = true;
    list_remove(&l->on_busy);
    forget_part(l);
    if (l == c->asker || l == c->replies) {
        ask_on_dropped(c, words);
        free(words);
        return;
    }
    e = client_event_add(c, CLIENT_DROPPED, l, l->user);
    e->ev.words = e->words = words;
}

// --------------------------------------------------------------------------------------- sending

// Of one that is on no list. False when it must wait.
static bool send_some(struct outgoing *o)
{
    struct client_link *l = o->link;
    struct iovec part = {o->bytes + o->at, o->len - o->at};
    bool done = false;

    if (!o->delivery) {
        if (!amqp_link_is_ready(l->link))
            return false;
        o->delivery = amqp_delivery_begin(l->link, o->settled, 0, o);
    }
    o->at += amqp_delivery_write(o->delivery, &part, 1, true, &done);
    if (!done)
        return false;
    l->client->unsent -= o->len;
    l->unsent_count--;
    free(o->bytes);
    o->bytes = NULL;
    if (o->settled)
        free(o);
    else
        list_append(&l->unsettled, &o->on_link);
    return true;
}

void links_pump(struct client *c)
{
    list_for_each (node, &c->busy) {
        struct client_link *l = list_entry(node, struct client_link, on_busy);
        struct list *first;

        while (l->link && (first = list_pop(&l->unsent)) != NULL) {
            if (send_some(list_entry(first, struct outgoing, on_link)))
                continue;
            list_prepend(&l->unsent, first);
            break;
        }
        if (list_empty(&l->unsent))
            list_remove(&l->on_busy);
    }
}

int client_send(struct client_link *l, struct str message, bool settled, uint64_t token)
{
    struct client *c = l->client;
    struct outgoing *o;

    if (l->is_gone)
        return ERR_CLOSED;
    if (message.len > CLIENT_UNSENT_MAX - c->unsent)
        return ERR_LIMIT;
    o = xcalloc(1, sizeof(*o));
    o->link = l;
    o->settled = settled;
    o->token = token;
    o->bytes = (uint8_t *)str_dup(message);
    o->len = message.len;
    c->unsent += o->len;
    l->unsent_count++;
    list_append(&l->unsent, &o->on_link);
    if (list_empty(&l->on_busy))
        list_append(&c->busy, &l->on_busy);
    links_pump(c);
    return 0;
}

size_t client_unsent(const struct client_link *l)
{
    return l->unsent_count;
}

void link_on_updated(struct client_link *l, const struct amqp_event *ev)
{
    struct client *c = l->client;
    struct outgoing *o = ev->update.delivery->user;
    enum amqp_outcome_type type = ev->update.outcome.type;
    struct event *e;

    if (!l->is_sender ||
        (!ev->update.settled && (type == AMQP_RECEIVED || type == AMQP_NO_OUTCOME)))
        return;
    if (!ev->update.settled)
        amqp_delivery_settle(ev->update.delivery, NULL);
    if (l == c->asker) {
        ask_on_outcome(c, o->token, type);
    } else {
        e = client_event_add(c, CLIENT_OUTCOME, l, l->user);
        e->ev.outcome.token = o->token;
        e->ev.outcome.type = type;
    }
    outgoing_free(o);
}

// ------------------------------------------------------------------------------------- receiving

void link_on_attached(struct client_link *l)
{
    struct client *c = l->client;

    if (l == c->replies)
        ask_on_address(c, amqp_link_source(l->link)->address);
    amqp_link_forget_termini(l->link);
}

// A message is whole: the bytes become the event's.
static void received(struct client_link *l)
{
    struct client *c = l->client;
    struct event *e = client_event_add(c, CLIENT_MESSAGE, l, l->user);

    e->bytes = (char *)l->part.buf;
    e->size = l->part.len;
    e->ev.message = (struct str){e->bytes, e->size};
    e->has_credit = true;
    c->unread += e->size;
    amqp_writer_init(&l->part);
}

static void append(struct client_link *l, const uint8_t *data, size_t len)
{
    struct client *c = l->client;

    if (l->part.len + len > CLIENT_MESSAGE_MAX || c->held + len > HELD_MAX)
        l->is_too_large = true;
    if (l->is_too_large)
        return;
    amqp_put_raw(&l->part, (struct str){(const char *)data, len});
    c->held += len;
}

void link_on_transfer(struct client_link *l, const struct amqp_event *ev)
{
    struct amqp_delivery *d = ev->transfer.delivery;
    bool is_too_large;

    if (ev->transfer.first)
        forget_part(l);
    append(l, ev->transfer.data, ev->transfer.len);
    if (ev->transfer.more && !ev->transfer.aborted)
        return;
    is_too_large = l->is_too_large;
    if (!d->settled && !ev->transfer.aborted)
        amqp_delivery_settle(
            d, &(struct amqp_outcome){.type = is_too_large ? AMQP_REJECTED : AMQP_ACCEPTED});
    if (l == l->client->replies && !ev->transfer.aborted)
        ask_on_reply(l->client, amqp_written(&l->part), is_too_large);
    else if (!is_too_large && !ev->transfer.aborted) {
        received(l);
        return;
    }
    forget_part(l);
    amqp_link_grant(l->link, 1);
}
