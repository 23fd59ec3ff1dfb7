// SPDX-License-Identifier: Apache-2.0
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "amqp/engine.h"
#include "base/err.h"
#include "base/mem.h"

// Dispositions (part 2.7.6) speak of ranges of delivery ids. On the way out, those of one turn that
// say the same are saved up and joined; on the way in, a range is walked along the unsettled
// deliveries, one for each event, whatever numbers the peer has put in it.

static bool is_before(uint32_t a, uint32_t b) // RFC 1982
{
    return (int32_t)(a - b) < 0;
}

// ------------------------------------------------------------------------------ table of unsettled

enum { FEW = 4 }; // are found without a table

static void grow_table(struct unsettled *u)
{
    free(u->slots);
    u->size = u->size ? u->size * 2 : 2 * FEW;
    u->slots = xcalloc(u->size, sizeof(struct delivery *));
    list_for_each (node, &u->order) {
        struct delivery *d = list_entry(node, struct delivery, on_order);
        struct delivery **slot = &u->slots[d->pub.id & (u->size - 1)];

        d->chain = *slot;
        *slot = d;
    }
}

void unsettled_add(struct unsettled *u, struct delivery *d)
{
    if (UNLIKELY(u->count >= u->size) && u->count >= FEW)
        grow_table(u);
    if (u->size > 0) {
        struct delivery **slot = &u->slots[d->pub.id & (u->size - 1)];

        d->chain = *slot;
        *slot = d;
    }
    d->is_known = true;
    list_append(&u->order, &d->on_order);
    u->count++;
}

struct delivery *unsettled_find(const struct unsettled *u, uint32_t id)
{
    struct delivery *d;

    if (UNLIKELY(u->size == 0)) {
        list_for_each (node, &u->order) {
            d = list_entry(node, struct delivery, on_order);
            if (d->pub.id == id)
                return d;
        }
        return NULL;
    }
    d = u->slots[id & (u->size - 1)];
    while (d && d->pub.id != id)
        d = d->chain;
    return d;
}

static struct delivery *next_of(const struct unsettled *u, const struct delivery *d)
{
    return d->on_order.next == &u->order ? NULL
                                         : list_entry(d->on_order.next, struct delivery, on_order);
}

void unsettled_remove(struct unsettled *u, struct delivery *d)
{
    struct amqp_conn *c = d->pub.link->session->conn;
    struct delivery **slot = u->size > 0 ? &u->slots[d->pub.id & (u->size - 1)] : NULL;

    if (UNLIKELY(c->range.at == d))
        c->range.at = next_of(u, d);
    while (slot && *slot != d)
        slot = &(*slot)->chain;
    if (slot)
        *slot = d->chain;
    list_remove(&d->on_order);
    d->is_known = false;
    u->count--;
}

// The first one that is not before `id`.
static struct delivery *find_from(const struct unsettled *u, uint32_t id)
{
    struct delivery *d = unsettled_find(u, id);

    if (d || u->count == 0)
        return d;
    list_for_each (node, &u->order) {
        d = list_entry(node, struct delivery, on_order);
        if (!is_before(d->pub.id, id))
            return d;
    }
    return NULL;
}

// -------------------------------------------------------------------------------------------- in

void session_on_disposition(struct amqp_session *s, struct str body)
{
    struct amqp_conn *c = s->conn;
    struct amqp_disposition_frame f;
    const struct unsettled *u;
    uint32_t last_known;

    if (UNLIKELY(amqp_decode_disposition(body, &f) < 0)) {
        conn_fail(c, "amqp:decode-error", "a disposition frame on channel %u cannot be read",
                  s->remote_channel);
        return;
    }
    if (UNLIKELY(is_before(f.last, f.first))) {
        session_fail(s, "amqp:invalid-field", "a disposition runs from %u back to %u", f.first,
                     f.last);
        return;
    }
    u = f.is_receiver ? &s->out : &s->in;
    if (u->count == 0 || (!f.settled && f.state.type == AMQP_NO_OUTCOME))
        return;
    // What is begun while this is told must not be hit by it.
    last_known = list_entry(u->order.prev, struct delivery, on_order)->pub.id;
    if (is_before(last_known, f.last))
        f.last = last_known;
    // These have no fields: their plain form says all.
    if (f.state.type == AMQP_ACCEPTED || f.state.type == AMQP_RELEASED)
        f.state.encoded = STR_NONE;
    c->range.at = find_from(u, f.first);
    c->range.last = f.last;
    c->range.settled = f.settled;
    c->range.outcome = f.state;
}

bool session_next_updated(struct amqp_conn *c, struct amqp_event *ev)
{
    struct delivery *d;
    struct unsettled *u;

    while ((d = c->range.at) != NULL && c->is_up) {
        struct amqp_session *s = d->pub.link->session;

        if (is_before(c->range.last, d->pub.id))
            break;
        u = d->is_out ? &s->out : &s->in;
        c->range.at = next_of(u, d);
        if (UNLIKELY(d->is_waiting)) {
            if (c->range.settled)
                delivery_free(d);
            continue;
        }
        if (c->range.settled)
            c->gone = d;
        ev->type = AMQP_EV_UPDATED;
        ev->link = d->pub.link;
        ev->update.delivery = &d->pub;
        ev->update.outcome = c->range.outcome;
        ev->update.settled = c->range.settled;
        return true;
    }
    c->range.at = NULL;
    return false;
}

// ------------------------------------------------------------------------------------------- out

static void put(struct amqp_session *s, bool is_receiver, struct id_range range,
                const struct amqp_outcome *outcome, bool settled)
{
    struct amqp_disposition_frame f = {
        .is_receiver = is_receiver,
        .first = range.first,
        .has_last = range.last != range.first,
        .last = range.last,
        .settled = settled,
        .state = *outcome,
    };
    uint8_t room[HEAD_LEN + AMQP_DISPOSITION_LEN_MAX];
    struct amqp_writer w;

    if (f.state.encoded.len == 0)
        frame_begin_fixed(&w, room, sizeof(room));
    else
        frame_begin(&w);
    amqp_put_disposition(&w, &f);
    frame_end(s->conn, &w, FRAME_AMQP, s->channel);
}

static int compare(const void *a, const void *b)
{
    const struct id_range *x = a, *y = b;

    return (x->first > y->first) - (x->first < y->first);
}

static void put_said(struct amqp_session *s, bool is_receiver)
{
    struct said *said = s->said[is_receiver];
    struct amqp_outcome outcome = {0};
    struct id_range range;

    if (!said || !said->is_any)
        return;
    outcome.type = said->type;
    range = said->now;
    said->is_any = false;
    if (said->older_count > 0) {
        said->older[said->older_count++] = said->now;
        qsort(said->older, said->older_count, sizeof(*said->older), compare);
        range = said->older[0];
        for (uint32_t i = 1; i < said->older_count; i++) {
            if (said->older[i].first == range.last + 1) {
                range.last = said->older[i].last;
                continue;
            }
            put(s, is_receiver, range, &outcome, said->settled);
            range = said->older[i];
        }
        said->older_count = 0;
    }
    put(s, is_receiver, range, &outcome, said->settled);
}

void said_free(struct amqp_session *s, bool is_receiver)
{
    if (s->said[is_receiver])
        free(s->said[is_receiver]->older);
    free(s->said[is_receiver]);
    s->said[is_receiver] = NULL;
}

void said_put_all(struct amqp_session *s)
{
    put_said(s, false);
    put_said(s, true);
}

// There is always room for one more than SAID_MAX: the range that grows.
static void begin_range(struct amqp_session *s, struct said *said, bool is_receiver, uint32_t id)
{
    if (said->is_any) {
        if (said->older_count + 1 >= said->older_size) {
            said->older_size = said->older_size ? said->older_size * 2 : 8;
            said->older = xrealloc(said->older, said->older_size, sizeof(*said->older));
        }
        said->older[said->older_count++] = said->now;
        if (said->older_count >= SAID_MAX) {
            said->now = said->older[--said->older_count];
            put_said(s, is_receiver);
        }
    }
    said->now = (struct id_range){id, id};
    said->is_any = true;
}

// An outcome with fields goes at once, behind what was saved up. One that is too large for a frame
// goes without them, as far as it has a form without.
static void put_encoded(struct amqp_session *s, bool is_receiver, uint32_t id,
                        const struct amqp_outcome *outcome, bool settled)
{
    struct amqp_outcome out = *outcome;

    put_said(s, is_receiver);
    if (out.encoded.len + HEAD_LEN + AMQP_DISPOSITION_LEN_MAX > s->conn->frame_out_max) {
        out.encoded = STR_NONE;
        if (out.type == AMQP_OTHER_OUTCOME)
            out.type = AMQP_RELEASED;
    }
    put(s, is_receiver, (struct id_range){id, id}, &out, settled);
}

void said_add(struct amqp_session *s, bool is_receiver, uint32_t id,
              const struct amqp_outcome *outcome, bool settled)
{
    struct said *said = s->said[is_receiver];
    enum amqp_outcome_type type = outcome ? outcome->type : AMQP_NO_OUTCOME;
    bool is_plain = type == AMQP_ACCEPTED || type == AMQP_RELEASED || type == AMQP_NO_OUTCOME;

    if (UNLIKELY(s->state != MAPPED || !s->conn->is_up))
        return;
    if (!is_plain && outcome->encoded.len > 0) {
        put_encoded(s, is_receiver, id, outcome, settled);
        return;
    }
    assert(type != AMQP_OTHER_OUTCOME);
    if (UNLIKELY(!said))
        said = s->said[is_receiver] = xcalloc(1, sizeof(*said));
    if (said->is_any && (said->type != type || said->settled != settled))
        put_said(s, is_receiver);
    said->type = type;
    said->settled = settled;
    if (LIKELY(said->is_any && id == said->now.last + 1))
        said->now.last = id;
    else if (said->is_any && id + 1 == said->now.first)
        said->now.first = id;
    else
        begin_range(s, said, is_receiver, id);
    session_mark(s);
}
