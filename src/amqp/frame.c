// SPDX-License-Identifier: Apache-2.0
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "amqp/engine.h"
#include "base/err.h"
#include "base/mem.h"

// Frames (part 2.3) are read where they lie. Only one that the lent bytes break off is copied to
// the carry, as far as it has come, and read there once it is whole.

enum { CARRY_FIRST = 4096 };

void frame_forget(struct amqp_conn *c)
{
    free(c->carry);
    c->carry = NULL;
    c->carry_len = c->carry_size = 0;
    c->carry_is_read = false;
}

// Room follows what has come, not what was promised.
static void grow_carry(struct amqp_conn *c, uint32_t have, uint32_t want)
{
    uint32_t size = have < CARRY_FIRST ? CARRY_FIRST : have * 2;

    if (have <= c->carry_size)
        return;
    c->carry_size = size < want ? size : want;
    c->carry = xrealloc(c->carry, c->carry_size, 1);
}

// The next `len` bytes in one piece, or NULL when they have not come. They are not taken.
static const uint8_t *peek(struct amqp_conn *c, uint32_t len)
{
    size_t have = (size_t)(c->in_end - c->in);
    uint32_t part;

    if (c->carry_len == 0) {
        if (have >= len)
            return c->in;
        if (have == 0)
            return NULL;
    }
    if (c->carry_len >= len)
        return c->carry;
    part = have < len - c->carry_len ? (uint32_t)have : len - c->carry_len;
    if (part > 0) {
        grow_carry(c, c->carry_len + part, len);
        memcpy(c->carry + c->carry_len, c->in, part);
        c->carry_len += part;
        c->in += part;
    }
    return c->carry_len == len ? c->carry : NULL;
}

// Takes what peek() has shown. It stays readable until the next frame is asked for.
static void take(struct amqp_conn *c, uint32_t len)
{
    if (c->carry_len > 0)
        c->carry_is_read = true;
    else
        c->in += len;
}

int frame_next_header(struct amqp_conn *c, const uint8_t **out)
{
    if (UNLIKELY(c->carry_is_read))
        frame_forget(c);
    *out = peek(c, HEAD_LEN);
    if (!*out)
        return 0;
    take(c, HEAD_LEN);
    return 1;
}

static uint32_t size_limit(const struct amqp_conn *c)
{
    if (LIKELY(c->open_received))
        return c->opts.frame_size_max;
    if (c->phase == PHASE_SASL)
        return SASL_FRAME_MAX;
    return EARLY_MAX;
}

int frame_next(struct amqp_conn *c, struct frame *out)
{
    const uint8_t *head;
    uint32_t size, data_at;

    if (UNLIKELY(c->carry_is_read))
        frame_forget(c);
    head = peek(c, HEAD_LEN);
    if (!head)
        return 0;
    size = amqp_load_u32(head);
    data_at = head[4] * 4U;
    out->type = head[5];
    out->channel = amqp_load_u16(head + 6);
    out->body = (struct str){NULL, size};
    if (UNLIKELY(size > size_limit(c)))
        return ERR_LIMIT;
    if (UNLIKELY(data_at < HEAD_LEN || data_at > size))
        return ERR_DECODE;
    head = peek(c, size);
    if (!head)
        return 0;
    take(c, size);
    out->body = (struct str){(const char *)head + data_at, size - data_at};
    if (UNLIKELY(c->trace))
        trace_input(c, out->channel, out->body);
    return 1;
}

// ---------------------------------------------------------------------------------------- output

void frame_begin(struct amqp_writer *w)
{
    amqp_writer_init(w);
    amqp_put_raw(w, (struct str){"\0\0\0\0\2\0\0\0", HEAD_LEN});
}

void frame_begin_fixed(struct amqp_writer *w, void *room, size_t size)
{
    amqp_writer_init_fixed(w, room, size);
    amqp_put_raw(w, (struct str){"\0\0\0\0\2\0\0\0", HEAD_LEN});
}

// Control frames are not held back by a full output: the pool's reserve is for them. A peer that
// makes us write and does not read what we write is given up.
void frame_put_bytes(struct amqp_conn *c, const void *data, size_t len)
{
    if (c->is_finished || c->close_sent)
        return;
    c->last_put = c->now;
    if (c->output.len > c->opts.output_max + CONTROL_ROOM ||
        !buf_write_reserved(&c->output, data, len))
        conn_drop(c, STR("amqp:resource-limit-exceeded"),
                  STR("no room is left for what must be told to the peer"), true);
}

void frame_end(struct amqp_conn *c, struct amqp_writer *w, uint8_t type, uint16_t channel)
{
    assert(!w->failed);
    amqp_store_u32(w->buf, (uint32_t)w->len);
    w->buf[5] = type;
    amqp_store_u16(w->buf + 6, channel);
    if (UNLIKELY(c->open_received && w->len > c->frame_out_max && w->len > FRAME_MIN))
        conn_fail(c, "amqp:frame-size-too-small", "a frame of %zu octets would be needed", w->len);
    else
        frame_put_bytes(c, w->buf, w->len);
    amqp_writer_fini(w);
}

void frame_put_empty(struct amqp_conn *c)
{
    static const uint8_t empty[HEAD_LEN] = {0, 0, 0, HEAD_LEN, 2, 0, 0, 0};

    frame_put_bytes(c, empty, sizeof(empty));
}
