// SPDX-License-Identifier: Apache-2.0
// The type system of AMQP 1.0 (part 1): values read in place from contiguous bytes, and written
// into a growing or a fixed array. Part of the door amqp/amqp.h.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/str.h"

enum amqp_type {
    AMQP_NULL,
    AMQP_BOOL,
    AMQP_UBYTE,
    AMQP_USHORT,
    AMQP_UINT,
    AMQP_ULONG,
    AMQP_BYTE,
    AMQP_SHORT,
    AMQP_INT,
    AMQP_LONG,
    AMQP_FLOAT,
    AMQP_DOUBLE,
    AMQP_DECIMAL32,
    AMQP_DECIMAL64,
    AMQP_DECIMAL128,
    AMQP_CHAR,
    AMQP_TIMESTAMP, // ms since the epoch
    AMQP_UUID,
    AMQP_BINARY,
    AMQP_STRING,
    AMQP_SYMBOL,
    AMQP_LIST,
    AMQP_MAP,
    AMQP_ARRAY,
    AMQP_DESCRIBED,
};

// One value as read. Which member is good follows from `type`.
struct amqp_item {
    enum amqp_type type;
    uint32_t count; // LIST, MAP (keys and values), ARRAY: number of items
    union {
        bool b;
        uint64_t u; // UBYTE..ULONG, CHAR
        int64_t i;  // BYTE..LONG, TIMESTAMP
        double f;   // FLOAT, DOUBLE
    };
    struct str bytes; // UUID, BINARY, STRING, SYMBOL, DECIMAL*: the content.
                      // LIST, MAP: the encoded items. ARRAY: element constructor and data.
                      // DESCRIBED: the encoded descriptor followed by the encoded value.
    struct str whole; // the value as encoded, constructor included
};

// Bytes still to be read. A reader never looks past `end`.
struct amqp_reader {
    const uint8_t *at, *end;
};

enum {
    AMQP_DEPTH_MAX = 32,          // nesting beyond this is refused as ERR_LIMIT
    AMQP_EMPTY_ITEMS_MAX = 65536, // so many elements of width 0 in an array; more is ERR_LIMIT
    AMQP_WRITER_MAX = 1 << 30,    // octets in a growing writer; more makes it `failed`
};

static inline struct amqp_reader amqp_reader_of(struct str bytes)
{
    const uint8_t *at = (const uint8_t *)bytes.ptr;

    return (struct amqp_reader){at, bytes.len > 0 ? at + bytes.len : at};
}

static inline bool amqp_reader_done(const struct amqp_reader *r)
{
    return r->at == r->end;
}

static inline struct str amqp_bytes_between(const uint8_t *at, const uint8_t *end)
{
    return (struct str){(const char *)at, (size_t)(end - at)};
}

static inline uint16_t amqp_load_u16(const uint8_t *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}

static inline uint32_t amqp_load_u32(const uint8_t *at)
{
    uint32_t v;

    memcpy(&v, at, sizeof(v));
    return __builtin_bswap32(v);
}

static inline uint64_t amqp_load_u64(const uint8_t *at)
{
    uint64_t v;

    memcpy(&v, at, sizeof(v));
    return __builtin_bswap64(v);
}

static inline void amqp_store_u16(uint8_t *at, uint16_t v)
{
    at[0] = (uint8_t)(v >> 8);
    at[1] = (uint8_t)v;
}

static inline void amqp_store_u32(uint8_t *at, uint32_t v)
{
    v = __builtin_bswap32(v);
    memcpy(at, &v, sizeof(v));
}

static inline void amqp_store_u64(uint8_t *at, uint64_t v)
{
    v = __builtin_bswap64(v);
    memcpy(at, &v, sizeof(v));
}

// Reads one value, compound or not, and moves past it. Returns 0, ERR_AGAIN when the bytes end
// inside the value (nothing is consumed), ERR_DECODE or ERR_LIMIT. Contents of compounds are
// bounds-checked as a whole, not item by item: read them with a reader over `bytes`.
int amqp_read(struct amqp_reader *r, struct amqp_item *out);
// As above and the reader is put over the items: for LIST and MAP only, else ERR_DECODE.
int amqp_read_list(struct amqp_reader *r, struct amqp_reader *items, uint32_t *count);
int amqp_read_map(struct amqp_reader *r, struct amqp_reader *items, uint32_t *count);
// Splits a DESCRIBED item: a ulong descriptor, or a symbol known from the specification
// ("amqp:open:list" and so on), becomes *code; any other *code is UINT64_MAX. *value is read from
// behind it. Returns 0 or ERR_DECODE.
int amqp_open_described(const struct amqp_item *described, uint64_t *code, struct amqp_item *value);
// Iterates an ARRAY item, `array->count` times: fills `out` with the next element; `at` starts as
// {NULL, NULL}. Returns 0 or ERR_DECODE. An element's `whole` lacks the constructor, which stands
// once, in front of all. Elements that are described come without their descriptor.
int amqp_array_next(const struct amqp_item *array, struct amqp_reader *at, struct amqp_item *out);
// What is common to the elements of an ARRAY item: the encoded descriptors in front of the element
// constructor, each behind its octet 0 (empty if there are none).
struct str amqp_array_descriptors(const struct amqp_item *array);
// Checks that `encoded` is one whole value, including everything inside it: 0, ERR_DECODE,
// ERR_LIMIT (depth).
int amqp_check(struct str encoded);

// Any integer type (and a decimal string, as management clients send) as a number.
bool amqp_item_int(const struct amqp_item *it, int64_t *out);

// Where values are written. A growing writer owns `buf` (amqp_writer_fini frees it); a fixed one
// writes into the caller's array and sets `failed` when it is full. What was written is of no use
// once a writer has failed. To use a growing one again, set `len` to 0.
struct amqp_writer {
    uint8_t *buf;
    size_t len, size;
    bool fixed, failed;
};

void amqp_writer_init(struct amqp_writer *w);
void amqp_writer_init_fixed(struct amqp_writer *w, void *buf, size_t size);
void amqp_writer_fini(struct amqp_writer *w);
static inline struct str amqp_written(const struct amqp_writer *w)
{
    return (struct str){(const char *)w->buf, w->len};
}

// Makes room for `len` more octets; false, and `failed`, when there is none to be had.
bool amqp_writer_grow(struct amqp_writer *w, size_t len);

// The place where the next `len` octets go, which count as written; NULL when there is no room.
static inline uint8_t *amqp_room(struct amqp_writer *w, size_t len)
{
    if (UNLIKELY(w->size - w->len < len) && !amqp_writer_grow(w, len))
        return NULL;
    w->len += len;
    return w->buf + (w->len - len);
}

static inline void amqp_put_u8(struct amqp_writer *w, uint8_t v)
{
    uint8_t *at = amqp_room(w, 1);

    if (LIKELY(at != NULL))
        at[0] = v;
}

// A constructor and one octet.
static inline void amqp_put_small(struct amqp_writer *w, uint8_t constructor, uint8_t v)
{
    uint8_t *at = amqp_room(w, 2);

    if (LIKELY(at != NULL)) {
        at[0] = constructor;
        at[1] = v;
    }
}

static inline void amqp_put_4(struct amqp_writer *w, uint8_t constructor, uint32_t v)
{
    uint8_t *at = amqp_room(w, 5);

    if (LIKELY(at != NULL)) {
        at[0] = constructor;
        amqp_store_u32(at + 1, v);
    }
}

static inline void amqp_put_8(struct amqp_writer *w, uint8_t constructor, uint64_t v)
{
    uint8_t *at = amqp_room(w, 9);

    if (LIKELY(at != NULL)) {
        at[0] = constructor;
        amqp_store_u64(at + 1, v);
    }
}

// Already encoded bytes.
static inline void amqp_put_raw(struct amqp_writer *w, struct str encoded)
{
    uint8_t *at = encoded.len > 0 ? amqp_room(w, encoded.len) : NULL;

    if (at)
        memcpy(at, encoded.ptr, encoded.len);
}

// Each writes the shortest encoding the specification allows, unless named otherwise.
static inline void amqp_put_null(struct amqp_writer *w)
{
    amqp_put_u8(w, 0x40);
}

static inline void amqp_put_bool(struct amqp_writer *w, bool v)
{
    amqp_put_u8(w, v ? 0x41 : 0x42);
}

static inline void amqp_put_ubyte(struct amqp_writer *w, uint8_t v)
{
    amqp_put_small(w, 0x50, v);
}

static inline void amqp_put_uint(struct amqp_writer *w, uint32_t v)
{
    if (v == 0)
        amqp_put_u8(w, 0x43);
    else if (v <= UINT8_MAX)
        amqp_put_small(w, 0x52, (uint8_t)v);
    else
        amqp_put_4(w, 0x70, v);
}

static inline void amqp_put_ulong(struct amqp_writer *w, uint64_t v)
{
    if (v == 0)
        amqp_put_u8(w, 0x44);
    else if (v <= UINT8_MAX)
        amqp_put_small(w, 0x53, (uint8_t)v);
    else
        amqp_put_8(w, 0x80, v);
}

static inline void amqp_put_int(struct amqp_writer *w, int32_t v)
{
    if (v >= INT8_MIN && v <= INT8_MAX)
        amqp_put_small(w, 0x54, (uint8_t)v);
    else
        amqp_put_4(w, 0x71, (uint32_t)v);
}

static inline void amqp_put_long(struct amqp_writer *w, int64_t v)
{
    if (v >= INT8_MIN && v <= INT8_MAX)
        amqp_put_small(w, 0x55, (uint8_t)v);
    else
        amqp_put_8(w, 0x81, (uint64_t)v);
}

// The value follows.
static inline void amqp_put_descriptor(struct amqp_writer *w, uint64_t code)
{
    amqp_put_u8(w, 0x00);
    amqp_put_ulong(w, code);
}

void amqp_put_ushort(struct amqp_writer *w, uint16_t v);
void amqp_put_byte(struct amqp_writer *w, int8_t v);
void amqp_put_short(struct amqp_writer *w, int16_t v);
void amqp_put_float(struct amqp_writer *w, float v);
void amqp_put_double(struct amqp_writer *w, double v);
void amqp_put_char(struct amqp_writer *w, uint32_t v);
void amqp_put_timestamp(struct amqp_writer *w, int64_t ms);
void amqp_put_uuid(struct amqp_writer *w, const uint8_t v[16]);
void amqp_put_binary(struct amqp_writer *w, struct str v);
void amqp_put_string(struct amqp_writer *w, struct str v);
void amqp_put_symbol(struct amqp_writer *w, struct str v);
void amqp_put_symbols(struct amqp_writer *w, const struct str *v, uint32_t count); // an array
// As above, with the elements in their 32-bit form when `wide`.
void amqp_put_symbols_as(struct amqp_writer *w, const struct str *v, uint32_t count, bool wide);

// Lists and maps: begin, put the items, end. The size is filled in at the end; small ones take the
// 8-bit form (list0 when empty) unless begun with `wide`.
struct amqp_mark {
    size_t at;
    uint8_t constructor; // of the wide form
    bool wide;
};
struct amqp_mark amqp_begin_list(struct amqp_writer *w, bool wide);
struct amqp_mark amqp_begin_map(struct amqp_writer *w, bool wide);
// Arrays likewise: the element constructor and the elements' data follow. `count`: of the elements.
struct amqp_mark amqp_begin_array(struct amqp_writer *w, bool wide);
// `count`: items written since; for a map keys plus values.
void amqp_end(struct amqp_writer *w, struct amqp_mark mark, uint32_t count);
