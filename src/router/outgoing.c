// SPDX-License-Identifier: Apache-2.0
#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"
#include "router/core.h"

// One copy of a delivery on its way out: waiting, queued at a link, being written, or written and
// waiting for its outcome.

// delivery-failed = true: it may have been seen.
static const uint8_t modified_failed[] = {0x00, 0x53, 0x27, 0xc0, 0x02, 0x01, 0x41};

enum { HEAD_SENT = UINT32_MAX };

struct outgoing *outgoing_new(struct delivery *d)
{
    struct outgoing *o = d->copy_count == 0 && list_empty(&d->copies) ? &d->one : NULL;

    if (!o)
        o = xcalloc(1, sizeof(*o));
    else
        memset(o, 0, sizeof(*o));
    list_init(&o->on_link);
    list_init(&o->on_moved);
    list_append(&d->copies, &o->on_delivery);
    o->delivery = d;
    o->neighbour = NO_NEIGHBOUR;
    d->copy_count++;
    return o;
}

void outgoing_take(struct outgoing *o)
{
    o->chunk = o->delivery->first;
    o->chunk_at = o->delivery->ra_len;
    for (struct chunk *c = o->chunk; c; c = c->next)
        c->refs++;
}

static void release_chunks(struct outgoing *o)
{
    for (struct chunk *c = o->chunk; c; c = c->next)
        c->refs--;
    o->chunk = NULL;
}

void outgoing_advance(struct outgoing *o, size_t taken)
{
    while (o->chunk) {
        uint32_t left = o->chunk->len - o->chunk_at;

        if (taken < left) {
            o->chunk_at += (uint32_t)taken;
            return;
        }
        taken -= left;
        o->chunk->refs--;
        o->chunk = o->chunk->next;
        o->chunk_at = 0;
    }
    assert(taken == 0);
}

// Part of the message has left already: the rest follows from what is stored.
void outgoing_resume(struct outgoing *o, size_t head_len, size_t taken)
{
    outgoing_take(o);
    o->link->current = o;
    link_stall(o->link);
    if (taken < head_len) {
        o->head_at = (uint32_t)taken;
        return;
    }
    o->head_at = taken > head_len ? HEAD_SENT : (uint32_t)head_len;
    outgoing_advance(o, taken - head_len);
}

void outgoing_queue(struct outgoing *o, struct router_link *l)
{
    o->link = l;
    list_append(&l->queue, &o->on_link);
    if (l->queue_count++ == 0)
        l->stalled_since = l->conn->router->now;
    link_stall(l);
}

void outgoing_wait(struct outgoing *o, struct address *a)
{
    o->link = NULL;
    list_append(&a->waiting, &o->on_link);
    a->waiting_count++;
}

bool goes_settled(bool is_presettled, const struct router_link *l)
{
    if (l->is_router && l->conn->is_ours && l->kind != LINK_CONTROL)
        return false; // travels unsettled and marked, see RA_HELD
    return is_presettled || l->wants_settled;
}

size_t annotations_for(const struct router *r, const struct amqp_ra *in,
                       const struct router_link *out, bool is_presettled, uint8_t *head)
{
    struct amqp_ra ra = *in;
    struct amqp_writer w;
    struct str last = str_of(r->node_text);

    if (!out->is_router && out->conn->strip_out)
        return 0;
    ra.present = true;
    ra.flags &= out->is_router && out->conn->is_ours && r->mode != ROUTER_EDGE ? ~(uint32_t)RA_HELD
                                                                               : RA_OURS - 1;
    if (is_presettled && out->is_router && out->conn->is_ours)
        ra.flags |= RA_HELD;
    if (r->mode == ROUTER_EDGE) {
        ra.ingress = last = ra.trace = STR_NONE;
        ra.trace_count = 0;
        ra.mesh = out->conn->role == ROUTER_ROLE_EDGE ? str_of(r->mesh) : STR_NONE;
    } else if (r->mode == ROUTER_SHARD) {
        last = STR_NONE; // it is a part of its hub, which writes them
    } else if (ra.ingress.len == 0) {
        ra.ingress = last;
    }
    amqp_writer_init_fixed(&w, head, HEAD_MAX);
    amqp_put_ra(&w, &ra, last);
    assert(!w.failed); // RA_MAX
    return w.len;
}

void outgoing_adopt(struct outgoing *o, struct router_link *l, struct amqp_delivery *ad)
{
    o->link = l;
    o->amqp = ad;
    o->is_begun = true;
    list_append(&l->sent, &o->on_link);
    l->sent_count++;
}

void outgoing_count(struct router_link *l, bool is_presettled)
{
    l->delivery_count++;
    l->is_stuck = false;
    if (is_presettled)
        count_presettled(l);
    if (l->address && l->conn->role != ROUTER_ROLE_SHARD) {
        l->address->egress++;
        l->conn->router->stats.egress++;
    }
}

bool outgoing_begin(struct outgoing *o, struct router_link *l)
{
    struct delivery *d = o->delivery;
    bool settled = goes_settled(d->is_presettled, l);

    if (l->kind == LINK_INSIDE)
        return stream_begin(o, l);
    outgoing_count(l, d->is_presettled);
    outgoing_adopt(o, l, amqp_delivery_begin(l->amqp, settled, d->format, o));
    l->current = o;
    return outgoing_write(o);
}

// The annotations, as far as they have not been sent. They are made from the stored ones each time:
// the first chunk is there until this copy is past it.
static size_t head_left(const struct outgoing *o, uint8_t *head)
{
    const struct delivery *d = o->delivery;
    struct amqp_msg msg = {0};
    struct str bytes;

    if (!o->chunk || o->chunk != d->first || o->chunk_at != d->ra_len || o->head_at == HEAD_SENT ||
        o->link->kind == LINK_CONTROL)
        return 0;
    bytes = (struct str){(const char *)d->first->data, d->ra_len};
    if (d->ra_len > 0)
        amqp_msg_scan(bytes, true, AMQP_SCAN_RA, &msg);
    if (d->is_streaming)
        msg.ra.flags |= AMQP_RA_STREAMING; // the next router need not wait to see that it is one
    return annotations_for(o->link->conn->router, &msg.ra, o->link, d->is_presettled, head);
}

// What the link has finished sending: settled ones are done, the others wait for their outcome.
static void written(struct outgoing *o, bool was_settled)
{
    struct router_link *l = o->link;

    o->is_written = true;
    l->current = NULL;
    l->stalled_since = l->conn->router->now;
    if (l->kind == LINK_STREAM)
        network_stream_done(l);
    if (was_settled) {
        o->amqp = NULL;
        outgoing_finish(o, &(struct amqp_outcome){.type = AMQP_ACCEPTED});
    }
}

enum { IOV_MAX_HERE = 16 };

bool outgoing_write(struct outgoing *o)
{
    struct delivery *d = o->delivery;
    uint8_t head[HEAD_MAX];
    struct iovec iov[IOV_MAX_HERE];
    bool was_settled, done = false;

    if (o->link->kind == LINK_INSIDE)
        return stream_write(o);
    if (d->is_complete && ends_settled(d))
        amqp_delivery_settle_with_end(o->amqp);
    was_settled = o->amqp->settled;
    conn_mark(o->link->conn);
    for (;;) {
        size_t head_len = head_left(o, head), total = 0;
        size_t head_sent = head_len > 0 ? o->head_at : 0;
        struct chunk *c = o->chunk;
        int count = 0;

        if (head_len > head_sent)
            iov[count++] = (struct iovec){head + head_sent, head_len - head_sent};
        for (uint32_t at = o->chunk_at; c && count < IOV_MAX_HERE; c = c->next, at = 0)
            iov[count++] = (struct iovec){c->data + at, c->len - at};
        for (int i = 0; i < count; i++)
            total += iov[i].iov_len;
        if (total == 0 && !d->is_complete) {
            delivery_trim(d);
            stream_ready(d);
            return false;
        }

        bool last = d->is_complete && !c;
        size_t taken = amqp_delivery_write(o->amqp, iov, count, last, &done);

        link_note_credit(o->link);
        if (taken > 0)
            o->link->stalled_since = o->link->conn->router->now;
        size_t of_head = head_len - head_sent < taken ? head_len - head_sent : taken;

        o->head_at += (uint32_t)of_head;
        if (of_head == head_len - head_sent && o->chunk) {
            outgoing_advance(o, taken - of_head);
            if (o->chunk != d->first || o->chunk_at != d->ra_len)
                o->head_at = HEAD_SENT;
        }
        if (done) {
            delivery_trim(d);
            written(o, was_settled);
            return true;
        }
        if (taken < total || last) { // or the end of it, which takes a frame too, has to wait
            link_stall(o->link);
            delivery_trim(d);
            return false;
        }
    }
}

static int rank(enum amqp_outcome_type type)
{
    switch (type) {
    case AMQP_REJECTED:
        return 6;
    case AMQP_ACCEPTED:
        return 5;
    case AMQP_OTHER_OUTCOME:
        return 4;
    case AMQP_MODIFIED:
        return 3;
    case AMQP_RELEASED:
        return 2;
    case AMQP_RECEIVED:
    case AMQP_NO_OUTCOME:
        return 1;
    }
    return 0;
}

static void combine(struct delivery *d, const struct amqp_outcome *outcome)
{
    if (rank(outcome->type) <= rank(d->outcome) && d->outcome != AMQP_NO_OUTCOME)
        return;
    d->outcome = outcome->type;
    if (d->outcome_bytes.len == 0 && outcome->encoded.len == 0)
        return;
    free((char *)(uintptr_t)d->outcome_bytes.ptr);
    d->outcome_bytes = STR_NONE;
    if (outcome->encoded.len > 0)
        d->outcome_bytes = (struct str){str_dup(outcome->encoded), outcome->encoded.len};
}

static void uncount(struct outgoing *o)
{
    struct address *a = o->delivery->address;

    if (o->neighbour != NO_NEIGHBOUR && a && o->neighbour < a->outstanding_size)
        a->outstanding[o->neighbour]--;
    o->neighbour = NO_NEIGHBOUR;
}

// Takes the copy out of everything it is on.
static void detach(struct outgoing *o)
{
    struct router_link *l = o->link;
    struct delivery *d = o->delivery;

    if (l && o->is_begun) {
        l->sent_count--;
        if (l->current == o) {
            l->current = NULL;
            if (l->kind == LINK_STREAM && l->amqp)
                network_stream_done(l);
        } else if (l->kind == LINK_STREAM && l->amqp) {
            network_stream_unused(l);
        }
    } else if (l) {
        l->queue_count--;
        if (l->kind == LINK_STREAM && !l->current)
            network_stream_done(l); // it was opened for this one, which is taken back
    } else if (d->address && !list_empty(&o->on_link)) {
        d->address->waiting_count--;
    }
    list_remove(&o->on_link);
    list_remove(&o->on_delivery);
    uncount(o);
    release_chunks(o);
    if (o->moved) {
        o->moved->moved_count--;
        list_remove(&o->on_moved);
    }
    d->copy_count--;
    if (o != &d->one)
        free(o);
}

void outgoing_finish(struct outgoing *o, const struct amqp_outcome *outcome)
{
    struct delivery *d = o->delivery;
    struct router_link *freed = o->link && o->link->current == o ? o->link : NULL;

    combine(d, outcome);
    if (o->is_written)
        count_left(o->link, d, outcome->type);
    if (o->link && o->amqp && !o->is_written) {
        amqp_delivery_abort(o->amqp);
        conn_mark(o->link->conn);
    }
    if (o->sink)
        stream_lost(o);
    detach(o);
    if (d->copy_count == 0 && !d->is_forwarding) {
        delivery_done(d);
    } else {
        delivery_trim(d);
        if (d->copy_count == 1)
            stream_ready(d); // its source waited while there were several
    }
    if (freed)
        link_go_on(freed); // others waited behind it
}

void outgoing_lost(struct outgoing *o)
{
    struct delivery *d = o->delivery;
    bool may_go_again = !d->is_multicast && (!o->is_begun || d->resend);

    o->amqp = NULL;
    if (may_go_again) {
        detach(o);
        forward_again(d);
        return;
    }
    outgoing_finish(o, o->is_begun ? &(struct amqp_outcome){AMQP_MODIFIED,
                                                            {(const char *)modified_failed,
                                                             sizeof(modified_failed)}}
                                   : &(struct amqp_outcome){.type = AMQP_RELEASED});
}

// Released by where it went: it may be tried elsewhere, as its sender asked.
void outgoing_resend(struct outgoing *o)
{
    struct delivery *d = o->delivery;

    if (!d->tried)
        d->tried = xcalloc(1, sizeof(*d->tried));
    if (d->tried->count == sizeof(d->tried->at) / sizeof(d->tried->at[0])) {
        outgoing_finish(o, &(struct amqp_outcome){.type = AMQP_RELEASED});
        return;
    }
    d->tried->at[d->tried->count++] = o->link->conn;
    detach(o);
    forward_again(d);
}
