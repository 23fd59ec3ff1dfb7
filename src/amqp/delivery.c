// SPDX-License-Identifier: Apache-2.0
#include <assert.h>
#include <stdlib.h>

#include "amqp/engine.h"
#include "base/mem.h"

// The life of deliveries: from a connection's free list, through the table of unsettled ones, and
// back when they are settled.

// ------------------------------------------------------------------------------------------ life

struct delivery *delivery_new(struct amqp_conn *c)
{
    struct delivery *d = c->free;

    c->was_busy = true;
    if (UNLIKELY(!d)) {
        d = xcalloc(1, sizeof(*d));
    } else {
        c->free = d->chain;
        c->free_count--;
    }
    return d;
}

// There is room in the table again: windows that were not refilled for lack of it, are now.
static void reopen_windows(struct amqp_conn *c)
{
    list_for_each (node, &c->sessions)
        session_reopen(list_entry(node, struct amqp_session, on_conn));
}

void delivery_forget(struct delivery *d)
{
    struct amqp_link *l = d->pub.link;
    struct amqp_session *s = l->session;
    struct amqp_conn *c = s->conn;

    l->unsettled_count--;
    if (d->is_out) {
        unsettled_remove(&s->out, d);
        c->unsettled_out--;
        return;
    }
    unsettled_remove(&s->in, d);
    if (UNLIKELY(c->unsettled_in-- == UNSETTLED_MAX))
        reopen_windows(c);
}

void delivery_free(struct delivery *d)
{
    struct amqp_link *l = d->pub.link;
    struct amqp_conn *c = l->session->conn;

    if (d->is_known)
        delivery_forget(d);
    if (l->current == d)
        l->current = NULL;
    if (c->gone == d)
        c->gone = NULL;
    if (UNLIKELY(c->free_count >= DELIVERIES_KEPT)) {
        free(d);
        return;
    }
    d->chain = c->free;
    c->free = d;
    c->free_count++;
}

void delivery_drop_all(struct amqp_link *l)
{
    struct amqp_session *s = l->session;
    struct unsettled *u = l->role == AMQP_SENDER ? &s->out : &s->in;

    if (l->current)
        delivery_free(l->current);
    if (s->conn->gone && s->conn->gone->pub.link == l)
        delivery_free(s->conn->gone);
    if (l->unsettled_count == 0)
        return;
    list_for_each (node, &u->order) {
        struct delivery *d = list_entry(node, struct delivery, on_order);

        if (d->pub.link == l)
            delivery_free(d);
        if (l->unsettled_count == 0)
            return;
    }
}

void delivery_swallow_rest(struct amqp_link *l)
{
    l->swallowed_id = l->current->pub.id;
    l->is_swallowing = true;
    l->current = NULL;
}

void delivery_bury(struct delivery *d)
{
    struct amqp_link *l = d->pub.link;

    if (l->current == d && d->is_out) {
        amqp_delivery_abort(&d->pub);
        return;
    }
    if (l->current == d && !d->pub.complete)
        delivery_swallow_rest(l);
    delivery_free(d);
}

// --------------------------------------------------------------------------------------- settling

static void settle_out(struct delivery *d, const struct amqp_outcome *outcome)
{
    if (!d->pub.complete) {
        amqp_delivery_abort(&d->pub);
        return;
    }
    said_add(d->pub.link->session, false, d->pub.id, outcome, true);
    delivery_free(d);
}

void amqp_delivery_settle(struct amqp_delivery *pub, const struct amqp_outcome *outcome)
{
    struct delivery *d = delivery_of(pub);
    struct amqp_link *l = pub->link;
    struct amqp_conn *c = l->session->conn;

    if (d == &c->passing || d == c->gone || !c->is_up)
        return; // nothing is left to be said
    if (d->is_out) {
        settle_out(d, outcome);
        return;
    }
    if (d->is_known)
        said_add(l->session, true, pub->id, outcome, !d->is_second);
    if (UNLIKELY(l->current == d))
        delivery_swallow_rest(l);
    if (UNLIKELY(d->is_second && d->is_known)) {
        d->is_waiting = true;
        pub->user = NULL;
        return;
    }
    delivery_free(d);
}

void amqp_delivery_update(struct amqp_delivery *pub, const struct amqp_outcome *outcome)
{
    struct delivery *d = delivery_of(pub);

    assert(!d->is_out);
    if (d->is_known && d != pub->link->session->conn->gone)
        said_add(pub->link->session, true, pub->id, outcome, false);
}
