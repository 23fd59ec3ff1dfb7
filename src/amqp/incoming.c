// SPDX-License-Identifier: Apache-2.0
#include "amqp/engine.h"

// Transfer frames on the way in. A settled message of one frame touches no memory of its own;
// everything else takes a struct delivery from the connection's free list.

static bool tell_transfer(struct delivery *d, const struct amqp_transfer_frame *t, struct str body,
                          bool is_first, struct amqp_event *ev)
{
    ev->type = AMQP_EV_TRANSFER;
    ev->link = d->pub.link;
    ev->transfer.delivery = &d->pub;
    ev->transfer.data = (const uint8_t *)body.ptr + t->payload_at;
    ev->transfer.len = t->aborted ? 0 : body.len - t->payload_at;
    ev->transfer.tag = is_first ? t->tag : STR_NONE;
    ev->transfer.first = is_first;
    ev->transfer.more = t->more && !t->aborted;
    ev->transfer.aborted = t->aborted;
    return true;
}

// The peer has used one more credit.
static void use_credit(struct amqp_link *l)
{
    l->credit--;
    l->delivery_count++;
    if (LIKELY(l->credit != l->untold))
        return;
    if (l->untold > 0)
        link_owes_flow(l);
    if (l->is_draining) {
        l->is_draining = false;
        link_tell_credit(l);
    }
}

static bool check_first(struct amqp_session *s, const struct amqp_transfer_frame *t)
{
    if (!t->has_delivery_id)
        return session_fail(s, "amqp:invalid-field", "a delivery begins without delivery-id");
    if (s->has_next_in && t->delivery_id != s->next_in)
        return session_fail(s, "amqp:invalid-field", "delivery-id %u came where %u was due",
                            t->delivery_id, s->next_in);
    if (!t->tag.ptr)
        return session_fail(s, "amqp:invalid-field", "delivery %u has no delivery-tag",
                            t->delivery_id);
    if (t->resume)
        return conn_fail(s->conn, "amqp:not-implemented", "deliveries are not resumed");
    return true;
}

static struct delivery *incoming(struct amqp_link *l, const struct amqp_transfer_frame *t)
{
    struct amqp_session *s = l->session;
    struct amqp_conn *c = s->conn;
    struct delivery *d;

    if (t->settled && !t->more && !t->aborted) {
        d = &c->passing;
        d->pub = (struct amqp_delivery){.link = l,
                                        .id = t->delivery_id,
                                        .format = t->format,
                                        .settled = true,
                                        .complete = true};
        return d;
    }
    d = delivery_new(c);
    d->pub = (struct amqp_delivery){.link = l,
                                    .id = t->delivery_id,
                                    .format = t->format,
                                    .settled = t->settled,
                                    .complete = !t->more && !t->aborted};
    d->is_out = d->is_known = d->is_waiting = false;
    d->is_second = (t->has_rcv_settle_mode ? t->rcv_settle_mode : l->rcv_settle_mode) == 1;
    if (t->aborted) {
        c->gone = d;
        return d;
    }
    if (!t->settled) {
        unsettled_add(&s->in, d);
        c->unsettled_in++;
        l->unsettled_count++;
    }
    if (t->more)
        l->current = d;
    return d;
}

static bool first_frame(struct amqp_link *l, const struct amqp_transfer_frame *t, struct str body,
                        struct amqp_event *ev)
{
    struct amqp_session *s = l->session;

    if (UNLIKELY(!t->has_delivery_id || !t->tag.ptr || t->resume || !s->has_next_in ||
                 t->delivery_id != s->next_in) &&
        !check_first(s, t))
        return false;
    s->next_in = t->delivery_id + 1;
    s->has_next_in = true;
    if (UNLIKELY(l->is_retired || l->credit == l->untold)) {
        l->is_swallowing = t->more && !t->aborted;
        l->swallowed_id = t->delivery_id;
        return l->is_retired ? false
                             : link_fail(l, ev, "amqp:link:transfer-limit-exceeded",
                                         "delivery %u came without credit", t->delivery_id);
    }
    use_credit(l);
    return tell_transfer(incoming(l, t), t, body, true, ev);
}

static bool next_frame(struct amqp_link *l, const struct amqp_transfer_frame *t, struct str body,
                       struct amqp_event *ev)
{
    struct delivery *d = l->current;
    uint32_t id = d ? d->pub.id : l->swallowed_id;
    bool is_last = !t->more || t->aborted;

    if (UNLIKELY(t->has_delivery_id && t->delivery_id != id))
        return session_fail(l->session, "amqp:invalid-field",
                            "delivery %u came while delivery %u was not complete", t->delivery_id,
                            id);
    if (!d) {
        l->is_swallowing = !is_last;
        return false;
    }
    d->pub.settled |= t->settled;
    if (is_last) {
        l->current = NULL;
        d->pub.complete = !t->aborted;
        if (d->is_known && (t->aborted || d->pub.settled))
            delivery_forget(d);
        if (!d->is_known)
            l->session->conn->gone = d;
    }
    return tell_transfer(d, t, body, false, ev);
}

bool session_on_transfer(struct amqp_session *s, struct str body, struct amqp_event *ev)
{
    struct amqp_transfer_frame t;
    struct amqp_link *l;

    if (UNLIKELY(amqp_decode_transfer(body, &t) < 0))
        return conn_fail(s->conn, "amqp:decode-error",
                         "a transfer frame on channel %u cannot be read", s->remote_channel);
    if (UNLIKELY(s->incoming_window == 0))
        return session_fail(s, "amqp:session:window-violation",
                            "a transfer came when the window was closed");
    s->next_incoming_id++;
    s->incoming_window--;
    if (UNLIKELY(s->incoming_window <= s->incoming_window_max / 2 && !s->owes_flow &&
                 s->hold_count == 0)) {
        s->owes_flow = true;
        session_mark(s);
    }
    l = session_link(s, t.handle);
    if (UNLIKELY(!l))
        return session_fail(s, "amqp:session:unattached-handle",
                            "a transfer came for handle %u, which is not attached", t.handle);
    if (UNLIKELY(l->role != AMQP_RECEIVER))
        return session_fail(s, "amqp:not-allowed", "a transfer came on handle %u, which receives",
                            t.handle);
    if (l->current || l->is_swallowing)
        return next_frame(l, &t, body, ev);
    return first_frame(l, &t, body, ev);
}
