// SPDX-License-Identifier: Apache-2.0
#include <assert.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "router/core.h"

enum { FREE_DELIVERIES_KEPT = 4096, CONTROL_BYTES = 4 * 1024 * 1024 };

// ------------------------------------------------------------------------------- credit and end

// A delivery of the link is finished: the credit it used comes back.
static void give_credit(struct router_link *l)
{
    if (l->kind != LINK_ENDPOINT)
        return;
    l->open_count--;
    if (!l->amqp || (l->address && !address_has_destination(l->address)))
        return;
    amqp_link_grant(l->amqp, 1);
    l->dry_since = MONO_NEVER;
    conn_mark(l->conn);
}

// A router's link gets its credit back as soon as a message is in: what is held back, is held back
// at the ingress.
static void arrived_whole(struct router_link *l)
{
    if (l->kind == LINK_ENDPOINT || !l->amqp || l->is_leaving)
        return;
    amqp_link_grant(l->amqp, 1);
    l->dry_since = MONO_NEVER;
}

// ---------------------------------------------------------------------------------------- bytes

void delivery_append(struct delivery *d, struct str bytes)
{
    struct router *r = d->router;
    struct chunk *c = malloc(sizeof(*c) + bytes.len);

    if (!c)
        c = xcalloc(1, sizeof(*c) + bytes.len);
    c->next = NULL;
    c->refs = 0;
    c->len = (uint32_t)bytes.len;
    memcpy(c->data, bytes.ptr, bytes.len);
    if (d->last)
        d->last->next = c;
    else
        d->first = c;
    d->last = c;
    d->stored += bytes.len;
    r->stored += bytes.len;
    list_for_each (node, &d->copies) {
        struct outgoing *o = list_entry(node, struct outgoing, on_delivery);

        if (o->is_written)
            continue;
        c->refs++;
        if (!o->chunk) {
            o->chunk = c;
            o->chunk_at = 0;
        }
    }
}

static void set_hold(struct delivery *d, bool held)
{
    if (d->is_held == held || !d->in || !d->in->amqp)
        return;
    d->is_held = held;
    d->in->held_count += held ? 1 : UINT32_MAX;
    amqp_link_hold(d->in->amqp, d->in->held_count > 0);
    conn_mark(d->in->conn);
}

// Between routers of ours no window is closed because much is stored: two of them would wait for
// each other.
static bool may_hold_for_all(const struct delivery *d)
{
    return (d->is_complete || d->is_routed) && !(d->in->is_router && d->in->conn->is_ours);
}

// More is stored than one delivery, or the router, should: its sender gets no more window. What is
// waited for to be whole, is let in.
static void maybe_hold(struct delivery *d)
{
    struct router *r = d->router;

    if (d->no_hold || !d->in)
        return;
    if (d->stored > STREAM_HIGH)
        set_hold(d, true);
    if (LIKELY(r->stored <= r->stored_max) || !list_empty(&d->on_full) || !may_hold_for_all(d))
        return;
    set_hold(d, true);
    list_append(&r->full, &d->on_full);
}

// The router stores less. When it has room again, those go on that were held for lack of it.
static void stored_less(struct router *r, size_t len)
{
    struct list *node;

    r->stored -= len;
    if (LIKELY(list_empty(&r->full)) || r->stored > r->stored_max / 4 * 3)
        return;
    while ((node = list_pop(&r->full)) != NULL) {
        struct delivery *d = list_entry(node, struct delivery, on_full);

        if (d->stored < STREAM_LOW)
            set_hold(d, false);
    }
}

// What every copy has read is freed; not while copies are still being added.
void delivery_trim(struct delivery *d)
{
    while (d->first && d->first->refs == 0 && d->is_routed && !d->is_forwarding && !d->resend) {
        struct chunk *c = d->first;

        d->first = c->next;
        if (!d->first)
            d->last = NULL;
        d->stored -= c->len;
        stored_less(d->router, c->len);
        d->ra_len = 0;
        free(c);
    }
    if (d->is_held && d->stored < STREAM_LOW && list_empty(&d->on_full))
        set_hold(d, false);
}

static void free_chunks(struct delivery *d)
{
    while (d->first) {
        struct chunk *c = d->first;

        d->first = c->next;
        free(c);
    }
    d->last = NULL;
    stored_less(d->router, d->stored);
    d->stored = 0;
}

// So that it can be read in place.
void delivery_flatten(struct delivery *d)
{
    struct chunk *whole = NULL;
    size_t at = 0;

    if (!d->first || !d->first->next)
        return;
    whole = xcalloc(1, sizeof(*whole) + d->stored);
    for (struct chunk *c = d->first, *next = NULL; c; c = next) {
        next = c->next;
        memcpy(whole->data + at, c->data, c->len);
        at += c->len;
        free(c);
    }
    whole->len = (uint32_t)at;
    d->first = d->last = whole;
}

// The first stored bytes in one piece: where they lie, or copied into `room`.
struct str delivery_gather(const struct delivery *d, uint8_t *room, size_t size)
{
    size_t at = 0;

    if (!d->first || !d->first->next)
        return d->first ? (struct str){(const char *)d->first->data, d->first->len} : STR_NONE;
    for (const struct chunk *c = d->first; c && at < size; c = c->next) {
        size_t len = c->len < size - at ? c->len : size - at;

        memcpy(room + at, c->data, len);
        at += len;
    }
    return (struct str){(const char *)room, at};
}

static struct str stored_bytes(const struct delivery *d)
{
    return d->first ? (struct str){(const char *)d->first->data, d->first->len} : STR_NONE;
}

// --------------------------------------------------------------------------------------- objects

static struct delivery *delivery_new(struct router *r)
{
    struct delivery *d = r->free_deliveries;

    if (d) {
        r->free_deliveries = d->next_free;
        r->free_delivery_count--;
        memset(d, 0, sizeof(*d));
    } else {
        d = xcalloc(1, sizeof(*d));
    }
    d->router = r;
    d->arrived = r->now;
    list_init(&d->on_link);
    list_init(&d->on_full);
    list_init(&d->copies);
    r->delivery_count++;
    return d;
}

static void delivery_free(struct delivery *d)
{
    struct router *r = d->router;

    list_remove(&d->on_full);
    set_hold(d, false);
    free_chunks(d);
    free((char *)(uintptr_t)d->outcome_bytes.ptr);
    free(d->tried);
    list_remove(&d->on_link);
    if (d->address && --d->address->delivery_refs == 0)
        address_changed(r, d->address);
    r->delivery_count--;
    if (r->free_delivery_count < FREE_DELIVERIES_KEPT) {
        d->next_free = r->free_deliveries;
        r->free_deliveries = d;
        r->free_delivery_count++;
    } else {
        free(d);
    }
}

void deliveries_free(struct router *r)
{
    while (r->free_deliveries) {
        struct delivery *d = r->free_deliveries;

        r->free_deliveries = d->next_free;
        free(d);
    }
    r->free_delivery_count = 0;
}

void delivery_name_address(struct router *r, struct delivery *d, struct address *a)
{
    if (d->address == a)
        return;
    if (d->address && --d->address->delivery_refs == 0)
        address_changed(r, d->address);
    d->address = a;
    if (a)
        a->delivery_refs++;
}

struct delivery *arrival_delivery(struct router *r, struct arrival *a)
{
    struct delivery *d = a->delivery;

    if (d)
        return d;
    d = a->delivery = delivery_new(r);
    d->in = a->link;
    d->amqp = a->amqp;
    d->format = a->format;
    d->ingress = a->ingress;
    d->is_presettled = a->is_presettled;
    d->is_complete = a->is_complete;
    d->is_forwarding = true;
    d->resend = (a->msg.ra.flags & AMQP_RA_RESEND_RELEASED) != 0;
    if (a->amqp)
        a->amqp->user = d;
    if (a->link)
        list_append(&a->link->deliveries, &d->on_link);
    return d;
}

// A link with a fixed target says where its messages go, they need not. What is stored must tell
// by itself, because the link may be gone when it is sent: so its annotations are written anew. So
// are those that are to be stripped, and those that say too little.
static bool needs_head(const struct arrival *a)
{
    const struct router_link *l = a->link;

    if (a->is_numbered)
        return true;
    return l && !l->is_router &&
           (l->target || l->is_resend || (l->conn->strip_in && a->msg.ra.present));
}

static void store_with_head(struct delivery *d, const struct arrival *a)
{
    uint8_t head[HEAD_MAX];
    struct amqp_writer w;

    amqp_writer_init_fixed(&w, head, sizeof(head));
    amqp_put_ra(&w, &a->msg.ra, STR_NONE);
    delivery_append(d, amqp_written(&w));
    delivery_append(d, str_skip(a->bytes, a->msg.ra_len));
    delivery_flatten(d);
}

// The views in a->msg are good for what is stored from here on.
static void rescan(struct delivery *d, struct arrival *a)
{
    a->bytes = stored_bytes(d);
    amqp_msg_scan(a->bytes, a->is_complete, AMQP_SCAN_PROPERTIES, &a->msg);
    d->ra_len = (uint32_t)a->msg.ra_len;
}

void arrival_store(struct router *r, struct arrival *a)
{
    struct delivery *d = arrival_delivery(r, a);

    if (d->first)
        return;
    if (needs_head(a))
        store_with_head(d, a);
    else
        delivery_append(d, a->bytes);
    rescan(d, a);
    maybe_hold(d);
}

// Its outcome is known, and nobody wants what is still to come of it.
static void swallow_rest(struct delivery *d)
{
    d->is_swallowed = true;
    set_hold(d, false); // the rest must be waited for, so let it come
    free_chunks(d);
}

static void swallowed(struct router_link *l, struct delivery *d)
{
    if (d->amqp)
        amqp_delivery_settle(
            d->amqp, &(struct amqp_outcome){.type = d->outcome, .encoded = d->outcome_bytes});
    d->amqp = NULL;
    conn_mark(l->conn);
    give_credit(l);
    delivery_free(d);
}

// A router whose stream is settled before it has ended may use the link no more for the next one
// (the existing router does not), so it hears the outcome now and the settlement at the end.
static bool is_settled_at_end(const struct delivery *d)
{
    return d->amqp && d->in && d->in->is_router && !d->is_complete;
}

void delivery_done(struct delivery *d)
{
    struct router_link *in = d->in;
    struct amqp_outcome outcome = {d->outcome, d->outcome_bytes};

    assert(d->copy_count == 0);
    if (is_settled_at_end(d)) {
        amqp_delivery_update(d->amqp, &outcome);
        conn_mark(in->conn);
        count_end(d->router, in, d, NULL, d->outcome);
        swallow_rest(d);
        return;
    }
    if (d->amqp) {
        amqp_delivery_settle(d->amqp, &outcome);
        d->amqp = NULL;
        if (in && !d->is_complete)
            arrived_whole(in); // its rest is swallowed without a word
    }
    if (d->source)
        stream_settled(d);
    if (in) {
        conn_mark(in->conn);
        count_end(d->router, in, d, NULL, d->outcome);
        if (!d->is_complete && d->is_source_settled) {
            swallow_rest(d);
            return;
        }
        give_credit(in);
    }
    delivery_free(d);
}

void arrival_finish(struct router *r, struct arrival *a, enum amqp_outcome_type type)
{
    if (a->delivery) {
        a->delivery->outcome = type;
        a->delivery->is_routed = true;
        delivery_done(a->delivery);
        return;
    }
    if (a->amqp)
        amqp_delivery_settle(a->amqp, &(struct amqp_outcome){.type = type});
    if (a->link) {
        count_end(r, a->link, NULL, a, type);
        give_credit(a->link);
    }
}

// Nothing of an unfinished delivery shall arrive.
static void delivery_abort(struct delivery *d)
{
    struct list *node;

    d->is_forwarding = true;
    while ((node = list_first(&d->copies)) != NULL)
        outgoing_finish(list_entry(node, struct outgoing, on_delivery),
                        &(struct amqp_outcome){.type = AMQP_RELEASED});
    d->is_forwarding = false;
    d->is_complete = true;
    delivery_done(d);
}

// The sender is gone. What has come whole goes on its way; half a message is taken back.
void delivery_in_lost(struct delivery *d)
{
    d->amqp = NULL;
    d->in = NULL;
    d->is_held = false;
    list_remove(&d->on_full);
    if (d->is_complete)
        return;
    d->is_complete = true;
    d->outcome = AMQP_RELEASED;
    delivery_abort(d);
}

// --------------------------------------------------------------------------------------- arrival

static void put_rejected(struct amqp_writer *w, const char *condition, const char *words)
{
    enum { STATE_REJECTED = 0x25, ERROR = 0x1d };
    struct amqp_mark state, error;

    amqp_put_descriptor(w, STATE_REJECTED);
    state = amqp_begin_list(w, false);
    amqp_put_descriptor(w, ERROR);
    error = amqp_begin_list(w, false);
    amqp_put_symbol(w, str_of(condition));
    amqp_put_string(w, str_of(words));
    amqp_end(w, error, 2);
    amqp_end(w, state, 1);
}

static void put_reason(struct amqp_writer *w, int err)
{
    if (err == ERR_NOT_FOUND)
        put_rejected(w, "amqp:precondition-failed",
                     "neither the link nor the message has an address");
    else if (err == ERR_INVALID)
        put_rejected(w, "amqp:invalid-field", "the router annotations are malformed or too long");
    else
        put_rejected(w, "amqp:decode-error", "the sections of the message are malformed");
}

// A malformed message is rejected with the reason, and its link lives on.
static void reject(struct router *r, struct arrival *a, int err)
{
    struct amqp_writer w;

    amqp_writer_init(&w);
    put_reason(&w, err);
    if (a->delivery) {
        a->delivery->outcome_bytes = (struct str){str_dup(amqp_written(&w)), w.len};
    } else if (a->amqp) {
        amqp_delivery_settle(a->amqp, &(struct amqp_outcome){AMQP_REJECTED, amqp_written(&w)});
        a->amqp = NULL;
    }
    amqp_writer_fini(&w);
    arrival_finish(r, a, AMQP_REJECTED);
}

// How much of a message must be read: a fixed address with consumers here alone needs nothing of
// it.
static enum amqp_scan depth_for(const struct router_link *l)
{
    const struct address *a = l->address;

    return a && a->remote_count == 0 && !a->inside && !a->all_nodes ? AMQP_SCAN_RA
                                                                    : AMQP_SCAN_PROPERTIES;
}

// 0, or why this message cannot be sent anywhere.
static int scan(struct arrival *a)
{
    const struct router_link *l = a->link;
    int err = amqp_msg_scan(a->bytes, a->is_complete, depth_for(l), &a->msg);

    if (err == 0 && a->msg.ra_len > RA_MAX)
        return ERR_INVALID;
    if (err == 0 && !l->address && !l->target && a->msg.ra.to_override.len == 0 &&
        a->msg.to.len == 0)
        return ERR_NOT_FOUND;
    return err;
}

static void prepare(struct router *r, struct arrival *a)
{
    struct router_link *l = a->link;

    if (!l->is_router && l->conn->strip_in) {
        struct str none = STR_NONE;

        a->msg.ra.to_override = a->msg.ra.ingress = a->msg.ra.trace = a->msg.ra.mesh = none;
        a->msg.ra.trace_count = 0;
        a->msg.ra.flags = 0;
    }
    if (!l->is_router || !l->conn->is_ours)
        a->msg.ra.flags &= RA_OURS - 1;
    if (l->is_resend)
        a->msg.ra.flags |= AMQP_RA_RESEND_RELEASED;
    if (l->target && !l->is_router && a->msg.ra.to_override.len == 0)
        a->msg.ra.to_override = str_of(l->target);
    if (a->msg.ra.flags & RA_HELD)
        a->is_presettled = true;
    a->ingress = arrival_node(r, l, a->msg.ra.ingress);
}

// The session of a stream that is not held has others like it, and their windows are no business of
// it: it must not be what they wait for where the way is long.
static void widen(struct router_link *l)
{
    if (!l->conn->is_ours || !l->amqp)
        return;
    amqp_session_widen(amqp_link_session(l->amqp), STREAMS_SHARE * l->conn->window);
    conn_mark(l->conn);
}

// An incomplete message is held until its address can be read and it is clear that it is a stream,
// or until it is complete.
static void route_stored(struct delivery *d)
{
    struct router *r = d->router;
    struct arrival a = {.link = d->in,
                        .amqp = d->amqp,
                        .delivery = d,
                        .format = d->format,
                        .is_presettled = d->is_presettled,
                        .is_complete = d->is_complete};
    int err;

    delivery_flatten(d);
    a.bytes = stored_bytes(d);
    err = scan(&a);
    if (err == ERR_AGAIN && d->stored <= HOLD_BYTES)
        return;
    if (err < 0) {
        reject(r, &a, err);
        return;
    }
    prepare(r, &a);
    d->is_streaming |= (a.msg.ra.flags & AMQP_RA_STREAMING) || d->in->is_streaming;
    if (!d->is_complete && !d->is_streaming && d->stored <= HOLD_BYTES)
        return;

    struct address *to = arrival_address(r, &a);

    if (to && to->inside && !d->is_complete) {
        if (d->stored > INSIDE_BYTES)
            arrival_finish(r, &a, AMQP_REJECTED);
        return;
    }
    d->is_streaming |= !d->is_complete;
    d->no_hold = (a.msg.ra.flags & AMQP_RA_NO_HOLD) != 0;
    if (d->no_hold)
        widen(d->in);
    d->ra_len = (uint32_t)a.msg.ra_len;
    forward_number(r, &a, to);
    if (needs_head(&a)) {
        struct chunk *raw = d->first;

        d->first = d->last = NULL;
        d->stored = 0;
        r->stored -= raw->len;
        store_with_head(d, &a);
        free(raw);
        rescan(d, &a);
    }
    d->is_presettled = a.is_presettled;
    d->ingress = a.ingress;
    forward(r, &a);
}

// The existing router sometimes forgets to send on a stream whose second piece came to it while it
// sent the first. A flow wakes it, and among themselves each stream is answered with one at once.
static void wake_sender(struct router_link *l)
{
    if (!l->is_router || l->conn->is_ours)
        return;
    amqp_link_tell(l->amqp);
    conn_mark(l->conn);
}

static void first_piece(struct router *r, struct router_link *l, const struct amqp_event *ev)
{
    struct amqp_delivery *ad = ev->transfer.delivery;
    struct arrival a = {
        .link = l,
        .amqp = ad->settled ? NULL : ad,
        .bytes = {(const char *)ev->transfer.data, ev->transfer.len},
        .format = ad->format,
        .is_presettled = ad->settled,
        .is_complete = !ev->transfer.more,
    };
    int err;

    l->delivery_count++;
    link_note_credit(l);
    if (l->kind == LINK_ENDPOINT)
        l->open_count++;
    l->conn->last_delivery = r->now;
    if (ev->transfer.aborted) {
        give_credit(l);
        arrived_whole(l);
        return;
    }
    if (!a.is_complete) {
        struct delivery *d = arrival_delivery(r, &a);

        ad->user = d;
        d->is_forwarding = false;
        d->is_source_settled = ad->settled;
        if (a.bytes.len > 0)
            delivery_append(d, a.bytes);
        wake_sender(l);
        route_stored(d);
        return;
    }
    arrived_whole(l);
    err = scan(&a);
    if (err < 0) {
        reject(r, &a, err);
        return;
    }
    prepare(r, &a);
    forward(r, &a);
}

// A caught-up single copy gets the bytes as they are; nothing is stored unless it cannot take them.
static struct str pass_through(struct delivery *d, struct str bytes)
{
    struct outgoing *o =
        d->copy_count == 1 ? list_entry(d->copies.next, struct outgoing, on_delivery) : NULL;
    struct iovec iov = {(void *)(uintptr_t)bytes.ptr, bytes.len};
    bool done;

    if (!o || !o->is_begun || o->chunk || d->is_complete || d->resend)
        return bytes;
    if (o->sink)
        return str_skip(bytes, o->sink->ops->write(o->sink, (const uint8_t *)bytes.ptr, bytes.len));
    if (!o->amqp)
        return bytes;
    conn_mark(o->link->conn);
    return str_skip(bytes, amqp_delivery_write(o->amqp, &iov, 1, false, &done));
}

static void next_piece(struct router *r, struct router_link *l, const struct amqp_event *ev)
{
    struct delivery *d = ev->transfer.delivery->user;
    struct str bytes = {(const char *)ev->transfer.data, ev->transfer.len};

    l->conn->last_delivery = r->now;
    if (!ev->transfer.more || ev->transfer.aborted)
        arrived_whole(l);
    if (!d)
        return;
    if (ev->transfer.aborted)
        d->amqp = NULL; // gone with this event
    if (!ev->transfer.more && ev->transfer.delivery->settled) {
        d->amqp = NULL; // settled with its last frame: nobody waits for the outcome
        d->is_source_settled = true;
    }
    if (d->is_swallowed) {
        if (!ev->transfer.more || ev->transfer.aborted)
            swallowed(l, d);
        return;
    }
    if (ev->transfer.aborted)
        delivery_abort(d);
    else
        delivery_more(d, bytes, !ev->transfer.more);
}

void delivery_more(struct delivery *d, struct str bytes, bool last)
{
    if (d->is_routed)
        bytes = pass_through(d, bytes);
    if (bytes.len > 0)
        delivery_append(d, bytes);
    d->is_complete = last;
    if (!d->is_routed) {
        route_stored(d);
        return;
    }
    if (bytes.len == 0 && !last)
        return;
    maybe_hold(d);
    delivery_push(d);
}

// Copies that stood waiting for bytes go on.
void delivery_push(struct delivery *d)
{
    d->is_forwarding = true;
    list_for_each (node, &d->copies) {
        struct outgoing *o = list_entry(node, struct outgoing, on_delivery);
        struct router_link *l = o->link;

        if (o->is_begun && !o->is_written && outgoing_write(o))
            link_go_on(l);
    }
    d->is_forwarding = false;
    if (d->copy_count == 0)
        delivery_done(d);
    else
        delivery_trim(d);
}

static void control_whole(struct router_link *l, struct str bytes)
{
    if (l->kind == LINK_CONTROL)
        network_control(l, bytes);
    else if (l->kind == LINK_TRACKING)
        edge_tracked(l, bytes);
    else
        edge_mesh(l, bytes);
}

// Messages between routers about routing: whole, and for this router alone.
static void control_piece(struct router *r, struct router_link *l, const struct amqp_event *ev)
{
    struct amqp_delivery *ad = ev->transfer.delivery;
    struct str bytes = {(const char *)ev->transfer.data, ev->transfer.len};
    struct delivery *d = ev->transfer.first ? NULL : ad->user;

    if (!ev->transfer.more)
        arrived_whole(l);
    if (!d && !ev->transfer.more && !ev->transfer.aborted) {
        control_whole(l, bytes);
    } else if (!ev->transfer.aborted) {
        if (!d) {
            struct arrival a = {.link = l, .is_presettled = true};

            d = ad->user = arrival_delivery(r, &a);
        }
        if (d->stored + bytes.len <= CONTROL_BYTES)
            delivery_append(d, bytes);
        if (!ev->transfer.more) {
            delivery_flatten(d);
            control_whole(l, stored_bytes(d));
        }
    }
    if (d && !ev->transfer.more)
        delivery_free(d);
    if (!ad->settled && !ev->transfer.more && !ev->transfer.aborted)
        amqp_delivery_settle(ad, &(struct amqp_outcome){.type = AMQP_ACCEPTED});
}

void delivery_arrived(struct router_link *l, const struct amqp_event *ev)
{
    struct router *r = l->conn->router;

    if (l->kind == LINK_CONTROL || l->kind == LINK_TRACKING || l->kind == LINK_MESH)
        control_piece(r, l, ev);
    else if (ev->transfer.first)
        first_piece(r, l, ev);
    else
        next_piece(r, l, ev);
}

// --------------------------------------------------------------------------------------- outcome

static void copy_updated(struct outgoing *o, const struct amqp_event *ev)
{
    struct delivery *d = o->delivery;
    struct amqp_outcome outcome = ev->update.outcome;

    if (!ev->update.settled && outcome.type == AMQP_RECEIVED) {
        d->resend = false;
        stream_received(d, &outcome);
        return;
    }
    if (!ev->update.settled && outcome.type == AMQP_NO_OUTCOME)
        return;
    if (o->is_written) {
        if (!ev->update.settled)
            amqp_delivery_settle(o->amqp, NULL);
        o->amqp = NULL;
    }
    conn_mark(o->link->conn);
    count_on_link(o->link, outcome.type);
    if (outcome.type == AMQP_RELEASED && d->resend && o->is_written) {
        outgoing_resend(o);
        return;
    }
    if (outcome.type != AMQP_RELEASED)
        d->resend = false;
    outgoing_finish(o, &outcome);
}

void delivery_updated(struct amqp_delivery *ad, const struct amqp_event *ev)
{
    struct router_link *l = amqp_link_user(ad->link);

    if (!ad->user || !l)
        return;
    if (l->is_out) {
        copy_updated(ad->user, ev);
    } else if (ev->update.settled) {
        struct delivery *d = ad->user;

        d->amqp = NULL; // its sender does not wait for the outcome any more
        d->is_source_settled = true;
    }
}
