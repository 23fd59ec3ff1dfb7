// SPDX-License-Identifier: Apache-2.0
// The type system of AMQP 1.0 (part 1): values read in place from contiguous bytes, and written
// into a growing or a fixed array. Part of the door amqp/amqp.h.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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

enum { AMQP_DEPTH_MAX = 32 }; // nesting beyond this is refused as ERR_LIMIT

static inline struct amqp_reader amqp_reader_of(struct str bytes)
{
    const uint8_t *at = (const uint8_t *)bytes.ptr;

    return (struct amqp_reader){at, at + bytes.len};
}

// Reads one value, compound or not, and moves past it. Returns 0, ERR_AGAIN when the bytes end
// inside the value (nothing is consumed), ERR_DECODE or ERR_LIMIT. Contents of compounds are
// bounds-checked as a whole, not item by item: read them with a reader over `bytes`.
int amqp_read(struct amqp_reader *r, struct amqp_item *out);
// As above and the reader is put over the items: for LIST and MAP only, else ERR_DECODE.
int amqp_read_list(struct amqp_reader *r, struct amqp_reader *items, uint32_t *count);
int amqp_read_map(struct amqp_reader *r, struct amqp_reader *items, uint32_t *count);
// Splits a DESCRIBED item: a ulong descriptor, or a symbol known from the specification
// ("amqp:open: list" and so on), becomes *code; any other *code is UINT64_MAX. *value is read from
// behind it.
int amqp_open_described(const struct amqp_item *described, uint64_t *code, struct amqp_item *value);
// Iterates an ARRAY item: fills `out` for element `index` in order; at starts as {NULL, NULL}.
int amqp_array_next(const struct amqp_item *array, struct amqp_reader *at, struct amqp_item *out);
// Checks a whole value including everything inside it: 0, ERR_DECODE, ERR_LIMIT (depth).
int amqp_check(struct str encoded);

// Any integer type (and a decimal string, as management clients send) as a number.
bool amqp_item_int(const struct amqp_item *it, int64_t *out);

// Where values are written. A growing writer owns `buf` (amqp_writer_fini frees it); a fixed one
// writes into the caller's array and sets `failed` when it is full.
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

// Each writes the shortest encoding the specification allows, unless named otherwise.
void amqp_put_raw(struct amqp_writer *w, struct str encoded); // already encoded bytes
void amqp_put_null(struct amqp_writer *w);
void amqp_put_bool(struct amqp_writer *w, bool v);
void amqp_put_ubyte(struct amqp_writer *w, uint8_t v);
void amqp_put_ushort(struct amqp_writer *w, uint16_t v);
void amqp_put_uint(struct amqp_writer *w, uint32_t v);
void amqp_put_ulong(struct amqp_writer *w, uint64_t v);
void amqp_put_byte(struct amqp_writer *w, int8_t v);
void amqp_put_short(struct amqp_writer *w, int16_t v);
void amqp_put_int(struct amqp_writer *w, int32_t v);
void amqp_put_long(struct amqp_writer *w, int64_t v);
void amqp_put_float(struct amqp_writer *w, float v);
void amqp_put_double(struct amqp_writer *w, double v);
void amqp_put_char(struct amqp_writer *w, uint32_t v);
void amqp_put_timestamp(struct amqp_writer *w, int64_t ms);
void amqp_put_uuid(struct amqp_writer *w, const uint8_t v[16]);
void amqp_put_binary(struct amqp_writer *w, struct str v);
void amqp_put_string(struct amqp_writer *w, struct str v);
void amqp_put_symbol(struct amqp_writer *w, struct str v);
void amqp_put_symbols(struct amqp_writer *w, const struct str *v, uint32_t count); // an array
void amqp_put_descriptor(struct amqp_writer *w, uint64_t code); // the value follows
void amqp_put_descriptor_symbol(struct amqp_writer *w, struct str name);

// Lists and maps: begin, put the items, end. The size is filled in at the end; small ones take the
// 8-bit form (list0 when empty) unless begun with `wide`.
struct amqp_mark {
    size_t at;
    bool is_map, wide;
};
struct amqp_mark amqp_begin_list(struct amqp_writer *w, bool wide);
struct amqp_mark amqp_begin_map(struct amqp_writer *w, bool wide);
// `count`: items written since; for a map keys plus values.
void amqp_end(struct amqp_writer *w, struct amqp_mark mark, uint32_t count);
