// SPDX-License-Identifier: Apache-2.0
// Trees to bytes, and to text for people.
#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "amqp/value.h"
#include "base/mem.h"

// ------------------------------------------------------------------------------------------ arrays

// An element constructor stands for all elements: texts take the form that the longest one needs,
// everything else its wide form.
static uint8_t element_constructor(struct amqp_val *const *items, uint32_t count)
{
    static const uint8_t wide[] = {
        [AMQP_NULL] = 0x40,      [AMQP_BOOL] = 0x56,      [AMQP_UBYTE] = 0x50,
        [AMQP_USHORT] = 0x60,    [AMQP_UINT] = 0x70,      [AMQP_ULONG] = 0x80,
        [AMQP_BYTE] = 0x51,      [AMQP_SHORT] = 0x61,     [AMQP_INT] = 0x71,
        [AMQP_LONG] = 0x81,      [AMQP_FLOAT] = 0x72,     [AMQP_DOUBLE] = 0x82,
        [AMQP_DECIMAL32] = 0x74, [AMQP_DECIMAL64] = 0x84, [AMQP_DECIMAL128] = 0x94,
        [AMQP_CHAR] = 0x73,      [AMQP_TIMESTAMP] = 0x83, [AMQP_UUID] = 0x98,
        [AMQP_BINARY] = 0xb0,    [AMQP_STRING] = 0xb1,    [AMQP_SYMBOL] = 0xb3,
        [AMQP_LIST] = 0xd0,      [AMQP_MAP] = 0xd1,       [AMQP_ARRAY] = 0xf0,
    };
    enum amqp_type type = items[0]->type;

    if (type < AMQP_BINARY || type > AMQP_SYMBOL)
        return wide[type];
    for (uint32_t i = 0; i < count; i++) {
        if (items[i]->s.len > UINT8_MAX)
            return wide[type];
    }
    return wide[type] - 0x10;
}

static void put_number(struct amqp_writer *w, uint64_t v, size_t width)
{
    uint8_t *at = amqp_room(w, width);

    for (size_t i = 0; at && i < width; i++)
        at[i] = (uint8_t)(v >> (8 * (width - 1 - i)));
}

static void put_float_data(struct amqp_writer *w, const struct amqp_val *v)
{
    if (v->type == AMQP_DOUBLE) {
        put_number(w, v->u, 8); // the bits
        return;
    }

    float narrow = (float)v->f;
    uint32_t bits;

    memcpy(&bits, &narrow, sizeof(bits));
    put_number(w, bits, 4);
}

// Writes a compound in its wide form without the constructor: that lands on the octet in front, as
// there always is one, which is put back.
static void put_compound_data(struct amqp_writer *w, const struct amqp_val *v)
{
    if (w->failed)
        return;

    size_t at = --w->len;
    uint8_t kept = w->buf[at];

    amqp_val_write(w, v, true);
    w->buf[at] = kept;
}

static void put_element(struct amqp_writer *w, const struct amqp_val *v, uint8_t constructor)
{
    switch (constructor >> 4) {
    case 0x5:
        put_number(w, v->type == AMQP_BOOL ? v->b : v->u, 1);
        break;
    case 0x6:
        put_number(w, v->u, 2);
        break;
    case 0x7:
    case 0x8:
        if (v->type == AMQP_FLOAT || v->type == AMQP_DOUBLE)
            put_float_data(w, v);
        else if (v->type == AMQP_DECIMAL32 || v->type == AMQP_DECIMAL64)
            amqp_put_raw(w, v->s);
        else
            put_number(w, v->u, constructor >> 4 == 0x7 ? 4 : 8);
        break;
    case 0x9:
        amqp_put_raw(w, v->s);
        break;
    case 0xa:
    case 0xb:
        put_number(w, v->s.len, constructor >> 4 == 0xa ? 1 : 4);
        amqp_put_raw(w, v->s);
        break;
    case 0xd:
    case 0xf:
        put_compound_data(w, v);
        break;
    }
}

// Writes elements, which are of one type, behind their constructor. Described ones have the same
// descriptor.
static void put_elements(struct amqp_writer *w, struct amqp_val *const *items, uint32_t count)
{
    for (uint32_t i = 1; i < count; i++)
        assert(items[i]->type == items[0]->type);
    if (items[0]->type == AMQP_DESCRIBED) {
        struct amqp_val **inner = xcalloc(count, sizeof(struct amqp_val *));

        for (uint32_t i = 0; i < count; i++) {
            assert(amqp_val_eq(items[i]->items[0], items[0]->items[0]));
            inner[i] = items[i]->items[1];
        }
        amqp_put_u8(w, 0x00);
        amqp_val_write(w, items[0]->items[0], false);
        put_elements(w, inner, count);
        free(inner);
        return;
    }

    uint8_t constructor = element_constructor(items, count);

    amqp_put_u8(w, constructor);
    for (uint32_t i = 0; i < count; i++)
        put_element(w, items[i], constructor);
}

// ---------------------------------------------------------------------------------------- encoding

static void put_items(struct amqp_writer *w, const struct amqp_val *v, bool wide)
{
    for (uint32_t i = 0; i < v->count; i++)
        amqp_val_write(w, v->items[i], wide);
}

static void put_compound(struct amqp_writer *w, const struct amqp_val *v, bool wide)
{
    struct amqp_mark mark;

    if (v->type == AMQP_DESCRIBED) {
        amqp_put_u8(w, 0x00);
        put_items(w, v, wide);
        return;
    }
    if (v->type == AMQP_ARRAY) {
        mark = amqp_begin_array(w, wide);
        if (v->count > 0)
            put_elements(w, v->items, v->count);
        else
            amqp_put_null(w); // some constructor must be there
    } else {
        mark = v->type == AMQP_MAP ? amqp_begin_map(w, wide) : amqp_begin_list(w, wide);
        put_items(w, v, wide);
    }
    amqp_end(w, mark, v->count);
}

static void put_decimal(struct amqp_writer *w, const struct amqp_val *v)
{
    amqp_put_u8(w, v->type == AMQP_DECIMAL32 ? 0x74 : v->type == AMQP_DECIMAL64 ? 0x84 : 0x94);
    amqp_put_raw(w, v->s);
}

void amqp_val_write(struct amqp_writer *w, const struct amqp_val *v, bool wide)
{
    switch (v->type) {
    case AMQP_NULL:
        return amqp_put_null(w);
    case AMQP_BOOL:
        return amqp_put_bool(w, v->b);
    case AMQP_UBYTE:
        return amqp_put_ubyte(w, (uint8_t)v->u);
    case AMQP_USHORT:
        return amqp_put_ushort(w, (uint16_t)v->u);
    case AMQP_UINT:
        return amqp_put_uint(w, (uint32_t)v->u);
    case AMQP_ULONG:
        return amqp_put_ulong(w, v->u);
    case AMQP_BYTE:
        return amqp_put_byte(w, (int8_t)v->i);
    case AMQP_SHORT:
        return amqp_put_short(w, (int16_t)v->i);
    case AMQP_INT:
        return amqp_put_int(w, (int32_t)v->i);
    case AMQP_LONG:
        return amqp_put_long(w, v->i);
    case AMQP_FLOAT:
        return amqp_put_float(w, (float)v->f);
    case AMQP_DOUBLE:
        return amqp_put_double(w, v->f);
    case AMQP_DECIMAL32:
    case AMQP_DECIMAL64:
    case AMQP_DECIMAL128:
        return put_decimal(w, v);
    case AMQP_CHAR:
        return amqp_put_char(w, (uint32_t)v->u);
    case AMQP_TIMESTAMP:
        return amqp_put_timestamp(w, v->i);
    case AMQP_UUID:
        return amqp_put_uuid(w, (const uint8_t *)v->s.ptr);
    case AMQP_BINARY:
        return amqp_put_binary(w, v->s);
    case AMQP_STRING:
        return amqp_put_string(w, v->s);
    case AMQP_SYMBOL:
        return amqp_put_symbol(w, v->s);
    case AMQP_LIST:
    case AMQP_MAP:
    case AMQP_ARRAY:
    case AMQP_DESCRIBED:
        return put_compound(w, v, wide);
    }
}

// -------------------------------------------------------------------------------------------- text

static void say(struct amqp_writer *w, const char *fmt, ...) PRINTF_LIKE(2, 3);

static void say(struct amqp_writer *w, const char *fmt, ...)
{
    char text[64];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    amqp_put_raw(w, str_of(text));
}

static void say_bytes(struct amqp_writer *w, struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        uint8_t octet = (uint8_t)s.ptr[i];

        if (octet == '"' || octet == '\\')
            amqp_put_u8(w, '\\');
        if (octet < 0x20 || octet == 0x7f)
            say(w, "\\x%02x", octet);
        else
            amqp_put_u8(w, octet);
    }
}

static void say_hex(struct amqp_writer *w, struct str s, const char *dashes_before)
{
    for (size_t i = 0; i < s.len; i++)
        say(w, "%s%02x", strchr(dashes_before, (int)('a' + i)) ? "-" : "", (uint8_t)s.ptr[i]);
}

static void say_double(struct amqp_writer *w, double v)
{
    char text[32];

    snprintf(text, sizeof(text), "%.15g", v);
    if (strtod(text, NULL) == v)
        amqp_put_raw(w, str_of(text));
    else
        say(w, "%.17g", v);
}

static void say_value(struct amqp_writer *w, const struct amqp_val *v);

static void say_items(struct amqp_writer *w, const struct amqp_val *v, const char *open,
                      const char *close)
{
    say(w, "%s", open);
    for (uint32_t i = 0; i < v->count; i++) {
        if (i > 0)
            say(w, "%s", v->type == AMQP_MAP && i % 2 == 1 ? ": " : ", ");
        say_value(w, v->items[i]);
    }
    say(w, "%s", close);
}

static void say_quoted(struct amqp_writer *w, const char *before, struct str s, const char *after)
{
    say(w, "%s", before);
    say_bytes(w, s);
    say(w, "%s", after);
}

static void say_value(struct amqp_writer *w, const struct amqp_val *v)
{
    switch (v->type) {
    case AMQP_NULL:
        return say(w, "null");
    case AMQP_BOOL:
        return say(w, v->b ? "true" : "false");
    case AMQP_UBYTE:
    case AMQP_USHORT:
    case AMQP_UINT:
    case AMQP_ULONG:
        return say(w, "%" PRIu64, v->u);
    case AMQP_BYTE:
    case AMQP_SHORT:
    case AMQP_INT:
    case AMQP_LONG:
    case AMQP_TIMESTAMP:
        return say(w, "%" PRId64, v->i);
    case AMQP_FLOAT:
    case AMQP_DOUBLE:
        return say_double(w, v->f);
    case AMQP_DECIMAL32:
    case AMQP_DECIMAL64:
    case AMQP_DECIMAL128:
        say(w, "decimal ");
        return say_hex(w, v->s, "");
    case AMQP_CHAR:
        return say(w, "U+%04" PRIX64, v->u);
    case AMQP_UUID:
        return say_hex(w, v->s, "egik");
    case AMQP_BINARY:
        return say_quoted(w, "b\"", v->s, "\"");
    case AMQP_STRING:
        return say_quoted(w, "\"", v->s, "\"");
    case AMQP_SYMBOL:
        return say_quoted(w, ":", v->s, "");
    case AMQP_LIST:
        return say_items(w, v, "[", "]");
    case AMQP_MAP:
        return say_items(w, v, "{", "}");
    case AMQP_ARRAY:
        return say_items(w, v, "array[", "]");
    case AMQP_DESCRIBED:
        return say_items(w, v, "@(", ")");
    }
}

char *amqp_val_text(const struct amqp_val *v)
{
    struct amqp_writer w;
    char *text;

    amqp_writer_init(&w);
    if (v)
        say_value(&w, v);
    text = str_dup(amqp_written(&w));
    amqp_writer_fini(&w);
    return text;
}
