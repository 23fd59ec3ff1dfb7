// SPDX-License-Identifier: Apache-2.0
#include <assert.h>
#include <stdlib.h>

#include "amqp/codec.h"
#include "base/mem.h"

enum { FIRST_SIZE = 256, WIDE_LIST = 0xd0, WIDE_MAP = 0xd1, WIDE_ARRAY = 0xf0 };

void amqp_writer_init(struct amqp_writer *w)
{
    *w = (struct amqp_writer){0};
}

void amqp_writer_init_fixed(struct amqp_writer *w, void *buf, size_t size)
{
    *w = (struct amqp_writer){.buf = buf, .size = size, .fixed = true};
}

void amqp_writer_fini(struct amqp_writer *w)
{
    if (!w->fixed)
        free(w->buf);
    *w = (struct amqp_writer){0};
}

bool amqp_writer_grow(struct amqp_writer *w, size_t len)
{
    size_t size = w->size > 0 ? w->size : FIRST_SIZE;

    if (w->failed || w->fixed || len > AMQP_WRITER_MAX || w->len + len > AMQP_WRITER_MAX) {
        w->failed = true;
        return false;
    }
    while (size - w->len < len)
        size *= 2;
    w->buf = xrealloc(w->buf, size, 1);
    w->size = size;
    return true;
}

static void put_2(struct amqp_writer *w, uint8_t constructor, uint16_t v)
{
    uint8_t *at = amqp_room(w, 3);

    if (at) {
        at[0] = constructor;
        amqp_store_u16(at + 1, v);
    }
}

void amqp_put_ushort(struct amqp_writer *w, uint16_t v)
{
    put_2(w, 0x60, v);
}

void amqp_put_byte(struct amqp_writer *w, int8_t v)
{
    amqp_put_small(w, 0x51, (uint8_t)v);
}

void amqp_put_short(struct amqp_writer *w, int16_t v)
{
    put_2(w, 0x61, (uint16_t)v);
}

void amqp_put_float(struct amqp_writer *w, float v)
{
    uint32_t bits;

    memcpy(&bits, &v, sizeof(bits));
    amqp_put_4(w, 0x72, bits);
}

void amqp_put_double(struct amqp_writer *w, double v)
{
    uint64_t bits;

    memcpy(&bits, &v, sizeof(bits));
    amqp_put_8(w, 0x82, bits);
}

void amqp_put_char(struct amqp_writer *w, uint32_t v)
{
    amqp_put_4(w, 0x73, v);
}

void amqp_put_timestamp(struct amqp_writer *w, int64_t ms)
{
    amqp_put_8(w, 0x83, (uint64_t)ms);
}

void amqp_put_uuid(struct amqp_writer *w, const uint8_t v[16])
{
    uint8_t *at = amqp_room(w, 17);

    if (at) {
        at[0] = 0x98;
        memcpy(at + 1, v, 16);
    }
}

// `constructor` is that of the narrow form; the wide one is 0x10 above.
static void put_variable(struct amqp_writer *w, uint8_t constructor, struct str v)
{
    assert(v.len <= UINT32_MAX);
    if (v.len <= UINT8_MAX)
        amqp_put_small(w, constructor, (uint8_t)v.len);
    else
        amqp_put_4(w, constructor + 0x10, (uint32_t)v.len);
    amqp_put_raw(w, v);
}

void amqp_put_binary(struct amqp_writer *w, struct str v)
{
    put_variable(w, 0xa0, v);
}

void amqp_put_string(struct amqp_writer *w, struct str v)
{
    put_variable(w, 0xa1, v);
}

void amqp_put_symbol(struct amqp_writer *w, struct str v)
{
    put_variable(w, 0xa3, v);
}

// The head of a list, map or array: the narrow form is 0x10 below the wide one. `len` octets
// follow.
static uint8_t *store_head(uint8_t *at, uint8_t wide_constructor, bool wide, size_t len,
                           uint32_t count)
{
    if (!wide) {
        at[0] = wide_constructor - 0x10;
        at[1] = (uint8_t)(len + 1);
        at[2] = (uint8_t)count;
        return at + 3;
    }
    at[0] = wide_constructor;
    amqp_store_u32(at + 1, (uint32_t)len + 4);
    amqp_store_u32(at + 5, count);
    return at + 9;
}

void amqp_put_symbols_as(struct amqp_writer *w, const struct str *v, uint32_t count, bool wide)
{
    size_t len = 1;

    for (uint32_t i = 0; i < count; i++)
        wide = wide || v[i].len > UINT8_MAX;
    for (uint32_t i = 0; i < count; i++)
        len += v[i].len + (wide ? 4 : 1);

    bool wide_array = len + 1 > UINT8_MAX || count > UINT8_MAX;
    uint8_t *at = amqp_room(w, len + (wide_array ? 9 : 3));

    if (!at)
        return;
    at = store_head(at, WIDE_ARRAY, wide_array, len, count);
    *at++ = wide ? 0xb3 : 0xa3;
    for (uint32_t i = 0; i < count; i++) {
        if (wide)
            amqp_store_u32(at, (uint32_t)v[i].len);
        else
            at[0] = (uint8_t)v[i].len;
        at += wide ? 4 : 1;
        if (v[i].len > 0)
            memcpy(at, v[i].ptr, v[i].len);
        at += v[i].len;
    }
}

void amqp_put_symbols(struct amqp_writer *w, const struct str *v, uint32_t count)
{
    amqp_put_symbols_as(w, v, count, false);
}

// Room is kept for the narrow head, or for the wide one when it is asked for; amqp_end moves the
// items if it turns out to be another.
static size_t head_len(bool wide)
{
    return wide ? 9 : 3;
}

static struct amqp_mark begin(struct amqp_writer *w, uint8_t constructor, bool wide)
{
    struct amqp_mark mark = {w->len, constructor, wide};

    amqp_room(w, head_len(wide));
    return mark;
}

struct amqp_mark amqp_begin_list(struct amqp_writer *w, bool wide)
{
    return begin(w, WIDE_LIST, wide);
}

struct amqp_mark amqp_begin_map(struct amqp_writer *w, bool wide)
{
    return begin(w, WIDE_MAP, wide);
}

struct amqp_mark amqp_begin_array(struct amqp_writer *w, bool wide)
{
    return begin(w, WIDE_ARRAY, wide);
}

void amqp_end(struct amqp_writer *w, struct amqp_mark mark, uint32_t count)
{
    if (w->failed)
        return;

    size_t items_at = mark.at + head_len(mark.wide);
    size_t len = w->len - items_at;
    bool wide = mark.wide || len + 1 > UINT8_MAX || count > UINT8_MAX;

    assert(w->len >= items_at && (mark.constructor != WIDE_MAP || count % 2 == 0));
    if (count == 0 && mark.constructor == WIDE_LIST && !wide) {
        w->buf[mark.at] = 0x45;
        w->len = mark.at + 1;
        return;
    }
    if (wide != mark.wide) {
        if (!amqp_room(w, head_len(true) - head_len(false)))
            return;
        memmove(w->buf + mark.at + head_len(true), w->buf + items_at, len);
    }
    store_head(w->buf + mark.at, mark.constructor, wide, len, count);
}
