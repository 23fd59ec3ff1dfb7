// SPDX-License-Identifier: Apache-2.0
#include <assert.h>
#include <endian.h>
#include <string.h>

#include "amqp/engine.h"

// Transfer frames on the way out. Payload goes from where the caller has it to the output in one
// copy; small frames lie in one block, large ones fill block after block.

enum {
    // frame head, descriptor, list8 with handle, delivery-id, tag, format, settled, more
    TRANSFER_HEAD_MAX = HEAD_LEN + 3 + 3 + 5 + 5 + 10 + 5 + 1 + 1,
    LATER_HEAD_MAX = HEAD_LEN + 3 + 3 + 5 + 3 + 1 + 1,
    USEFUL_MIN = 256, // payload: less is not worth a frame when there is more
    SMALL_MAX = 2048, // a frame's payload up to here is kept in one block if it fits in any
};

bool amqp_link_is_ready(const struct amqp_link *l)
{
    struct amqp_session *s = l->session;
    struct amqp_conn *c = s->conn;

    if (l->credit == 0 || l->current || l->owes_abort || !l->attach_received || !link_is_live(l) ||
        !c->is_up || s->state != MAPPED)
        return false;
    if (UNLIKELY(s->remote_window == 0)) {
        s->was_refused = true;
        return false;
    }
    if (UNLIKELY(!conn_has_room(c))) {
        c->was_refused = true;
        return false;
    }
    return true;
}

struct amqp_delivery *amqp_delivery_begin(struct amqp_link *l, bool settled, uint32_t format,
                                          void *user)
{
    struct amqp_conn *c = l->session->conn;
    struct delivery *d = delivery_new(c);

    assert(l->role == AMQP_SENDER && l->credit > 0 && !l->current && link_is_live(l));
    d->pub = (struct amqp_delivery){.link = l, .user = user, .format = format, .settled = settled};
    d->is_out = true;
    d->is_known = d->is_begun = d->is_second = d->is_waiting = false;
    l->current = d;
    return &d->pub;
}

static uint8_t *put_uint(uint8_t *at, uint32_t v)
{
    if (v == 0) {
        *at = 0x43;
        return at + 1;
    }
    if (v < 256) {
        at[0] = 0x52;
        at[1] = (uint8_t)v;
        return at + 2;
    }
    at[0] = 0x70;
    amqp_store_u32(at + 1, v);
    return at + 5;
}

// The head of a frame of the delivery, up to where the payload begins. Written here and not through
// amqp_put_transfer() because it is done for every message. Returns its length.
static size_t put_head(uint8_t *out, const struct delivery *d, size_t len, bool more)
{
    const struct amqp_link *l = d->pub.link;
    const struct amqp_session *s = l->session;
    static const uint8_t start[14] = {0,   0, 0, 0, 2, FRAME_AMQP, 0, 0, 0, 0x53, AMQP_TRANSFER,
                                      0xc0};
    uint8_t *at = out + sizeof(start), count = 1;

    memcpy(out, start, sizeof(start));
    amqp_store_u16(out + 6, s->channel);
    at = put_uint(at, l->handle);
    if (!d->is_begun) {
        at = put_uint(at, d->pub.id);
        at[0] = 0xa0;
        at[1] = 8;
        uint64_t tag = htole64(s->conn->next_tag);
        memcpy(at + 2, &tag, sizeof(tag));
        at = put_uint(at + 10, d->pub.format);
        count = 4;
    } else if (d->pub.settled || more) {
        memset(at, 0x40, 3); // no delivery-id, tag and format
        at += 3;
        count = 4;
    }
    if (d->pub.settled || more) {
        *at++ = d->pub.settled ? 0x41 : 0x42;
        count++;
    }
    if (more) {
        *at++ = 0x41;
        count++;
    }
    out[12] = (uint8_t)(at - out - 13);
    out[13] = count;
    amqp_store_u32(out, (uint32_t)((size_t)(at - out) + len));
    return (size_t)(at - out);
}

// What the caller wants to send, and how far it has been read.
struct source {
    const struct iovec *part;
    size_t at; // in *part
    size_t left;
};

static void copy_from(struct source *from, uint8_t *out, size_t len)
{
    from->left -= len;
    while (len > 0) {
        size_t part = from->part->iov_len - from->at;

        if (part > len)
            part = len;
        if (part > 0)
            memcpy(out, (const uint8_t *)from->part->iov_base + from->at, part);
        out += part;
        len -= part;
        from->at += part;
        if (from->at == from->part->iov_len) {
            from->part++;
            from->at = 0;
        }
    }
}

static void write_from(struct source *from, struct buf *out, size_t len)
{
    from->left -= len;
    while (len > 0) {
        size_t part = from->part->iov_len - from->at, done;

        if (part > len)
            part = len;
        done = buf_write(out, (const uint8_t *)from->part->iov_base + from->at, part);
        assert(done == part); // there was room
        len -= part;
        from->at += part;
        if (from->at == from->part->iov_len) {
            from->part++;
            from->at = 0;
        }
    }
}

// Bytes that the output can still take without dipping into the pool's reserve.
static size_t room_left(const struct amqp_conn *c)
{
    const struct block *last = c->output.last;
    size_t used = pool_used(c->opts.pool);

    if (c->output.len >= c->opts.output_max || used >= c->block_max)
        return 0;
    return (c->block_max - used) * c->block_size + (last ? c->block_size - last->end : 0);
}

// Later frames have neither id nor tag nor format. Counted exactly, so that what another router has
// put in one frame goes on in one.
static size_t head_max_of(const struct delivery *d)
{
    if (!d->is_begun)
        return TRANSFER_HEAD_MAX;
    return d->pub.link->handle < 256 ? LATER_HEAD_MAX - 3 : LATER_HEAD_MAX;
}

// Puts one frame with up to `from->left` bytes; false when there is no room for a useful one.
static bool put_frame(struct delivery *d, struct source *from, bool is_last)
{
    struct amqp_conn *c = d->pub.link->session->conn;
    size_t room = room_left(c), len = from->left;
    uint8_t head[TRANSFER_HEAD_MAX], *at = NULL;
    size_t head_len, head_max = head_max_of(d);

    if (room > c->frame_out_max)
        room = c->frame_out_max;
    if (UNLIKELY(room <= head_max + (len < USEFUL_MIN ? len : USEFUL_MIN)))
        return false;
    if (len > room - head_max)
        len = room - head_max;
    is_last = is_last && len == from->left;
    if (LIKELY(len <= SMALL_MAX && len + head_max <= c->block_size))
        at = buf_reserve(&c->output, head_max + len);
    if (LIKELY(at)) {
        head_len = put_head(at, d, len, !is_last);
        copy_from(from, at + head_len, len);
        buf_commit(&c->output, head_len + len);
    } else {
        size_t done;

        head_len = put_head(head, d, len, !is_last);
        done = buf_write(&c->output, head, head_len);
        assert(done == head_len);
        write_from(from, &c->output, len);
    }
    d->pub.complete = is_last;
    return true;
}

// The delivery takes its place: from here on the peer knows of it.
static void begin(struct delivery *d)
{
    struct amqp_link *l = d->pub.link;
    struct amqp_session *s = l->session;

    d->is_begun = true;
    l->credit--;
    l->delivery_count++;
    s->next_out++;
    s->conn->next_tag++;
    if (d->pub.settled)
        return;
    unsettled_add(&s->out, d);
    s->conn->unsettled_out++;
    l->unsettled_count++;
}

static bool put_next_frame(struct delivery *d, struct source *from, bool is_last)
{
    struct amqp_session *s = d->pub.link->session;

    if (UNLIKELY(s->remote_window == 0)) {
        s->was_refused = true;
        return false;
    }
    if (!d->is_begun)
        d->pub.id = s->next_out;
    if (UNLIKELY(!put_frame(d, from, is_last))) {
        s->conn->was_refused = true;
        return false;
    }
    s->remote_window--;
    s->next_outgoing_id++;
    s->conn->last_put = s->conn->now;
    if (!d->is_begun)
        begin(d);
    return true;
}

size_t amqp_delivery_write(struct amqp_delivery *pub, const struct iovec *parts, int part_count,
                           bool last, bool *done)
{
    struct delivery *d = delivery_of(pub);
    struct amqp_link *l = pub->link;
    struct source from = {.part = parts};
    size_t total = 0;

    *done = false;
    assert(!pub->complete);
    if (UNLIKELY(!l->session->conn->is_up || l->session->state != MAPPED))
        return 0;
    for (int i = 0; i < part_count; i++)
        total += parts[i].iov_len;
    from.left = total;
    while (!pub->complete && (from.left > 0 || last) && put_next_frame(d, &from, last))
        continue;
    if (pub->complete) {
        *done = true;
        l->current = NULL;
        if (pub->settled)
            delivery_free(d);
    }
    return total - from.left;
}

void amqp_delivery_settle_with_end(struct amqp_delivery *pub)
{
    assert(!pub->complete && delivery_of(pub)->is_out);
    pub->settled = true;
}

size_t amqp_delivery_room(const struct amqp_delivery *pub)
{
    struct amqp_session *s = pub->link->session;
    struct amqp_conn *c = s->conn;
    size_t room = room_left(c), window;

    if (UNLIKELY(!c->is_up || s->state != MAPPED))
        return 0;
    if (s->remote_window == 0) {
        s->was_refused = true;
        return 0;
    }
    if (room > c->opts.output_max - c->output.len)
        room = c->opts.output_max - c->output.len;
    if (room <= TRANSFER_HEAD_MAX + USEFUL_MIN) {
        c->was_refused = true;
        return 0;
    }
    window = s->remote_window * (size_t)(c->frame_out_max - TRANSFER_HEAD_MAX);
    return room - TRANSFER_HEAD_MAX < window ? room - TRANSFER_HEAD_MAX : window;
}

static void put_abort(struct amqp_link *l)
{
    struct amqp_session *s = l->session;
    struct amqp_transfer_frame f = {.handle = l->handle,
                                    .tag = STR_NONE,
                                    .has_settled = true,
                                    .settled = true,
                                    .aborted = true};
    struct amqp_writer w;

    s->remote_window--;
    s->next_outgoing_id++;
    frame_begin(&w);
    amqp_put_transfer(&w, &f);
    frame_end(s->conn, &w, FRAME_AMQP, s->channel);
}

// The window has opened: what could not be taken back, is now.
void session_put_aborts(struct amqp_session *s)
{
    list_for_each (node, &s->links) {
        struct amqp_link *l = list_entry(node, struct amqp_link, on_session);

        if (!l->owes_abort || s->remote_window == 0)
            continue;
        l->owes_abort = false;
        s->abort_count--;
        put_abort(l);
    }
}

void amqp_delivery_abort(struct amqp_delivery *pub)
{
    struct delivery *d = delivery_of(pub);
    struct amqp_link *l = pub->link;
    struct amqp_session *s = l->session;

    assert(d->is_out && !pub->complete);
    if (d->is_begun && s->state == MAPPED && link_is_live(l)) {
        if (s->remote_window > 0) {
            put_abort(l);
        } else {
            l->owes_abort = true;
            s->abort_count++;
        }
    }
    delivery_free(d);
}
