// SPDX-License-Identifier: Apache-2.0
// Reading values (writing is in writer.c).
//
// A value is a constructor, an octet that says type and width, and data. The high four bits of the
// constructor tell how long the data is: of a fixed width, or behind a size of one or four octets.
// So a value can be stepped over without knowing its type, and that is all amqp_read does with
// lists, maps and arrays: it finds where they end, checks that count and size can be true together,
// and leaves the inside to whoever wants it. Whatever is believed about a value is checked against
// the bytes that are really there; a count is never a reason to loop or to allocate by itself.
//
// Two things can be nested without end: compounds, which amqp_check and amqp_val_read follow to
// AMQP_DEPTH_MAX, and descriptors of descriptors, which are counted where they are stepped over.
#include "amqp/codec.h"

#include "amqp/inplace.h"

#define BAD AMQP_FORM_BAD
#define VAR(width) (AMQP_FORM_VARIABLE | (width))
#define COMP(width) (AMQP_FORM_COMPOUND | (width))
#define ARR(width) (AMQP_FORM_ARRAY | (width))
#define BAD8 BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD
#define BAD16 BAD8, BAD8

const uint8_t amqp_forms[256] = {
    AMQP_FORM_DESCRIBED,
    BAD,
    BAD,
    BAD,
    BAD,
    BAD,
    BAD,
    BAD,
    BAD8, //
    BAD16,
    BAD16,
    BAD16, //
    0,
    0,
    0,
    0,
    0,
    0,
    BAD,
    BAD,
    BAD8, // 4x
    1,
    1,
    1,
    1,
    1,
    1,
    1,
    BAD,
    BAD8, // 5x
    2,
    2,
    BAD,
    BAD,
    BAD,
    BAD,
    BAD,
    BAD,
    BAD8, // 6x
    4,
    4,
    4,
    4,
    4,
    BAD,
    BAD,
    BAD,
    BAD8, // 7x
    8,
    8,
    8,
    8,
    8,
    BAD,
    BAD,
    BAD,
    BAD8, // 8x
    BAD,
    BAD,
    BAD,
    BAD,
    16,
    BAD,
    BAD,
    BAD,
    16,
    BAD,
    BAD,
    BAD,
    BAD,
    BAD,
    BAD,
    BAD, // 9x
    VAR(1),
    VAR(1),
    BAD,
    VAR(1),
    BAD,
    BAD,
    BAD,
    BAD,
    BAD8, // ax
    VAR(4),
    VAR(4),
    BAD,
    VAR(4),
    BAD,
    BAD,
    BAD,
    BAD,
    BAD8, // bx
    COMP(1),
    COMP(1),
    BAD,
    BAD,
    BAD,
    BAD,
    BAD,
    BAD,
    BAD8, // cx
    COMP(4),
    COMP(4),
    BAD,
    BAD,
    BAD,
    BAD,
    BAD,
    BAD,
    BAD8, // dx
    ARR(1),
    BAD,
    BAD,
    BAD,
    BAD,
    BAD,
    BAD,
    BAD,
    BAD8, // ex
    ARR(4),
    BAD,
    BAD,
    BAD,
    BAD,
    BAD,
    BAD,
    BAD,
    BAD8, // fx
};

ptrdiff_t amqp_described_len(const uint8_t *at, const uint8_t *end)
{
    const uint8_t *from = at;
    uint32_t wanted = 1, described = 0;

    while (wanted > 0) {
        if (at == end)
            return ERR_AGAIN;
        if (*at == 0x00) {
            if (++described > AMQP_DEPTH_MAX)
                return ERR_LIMIT;
            at++;
            wanted++;
            continue;
        }

        ptrdiff_t len = amqp_data_len(amqp_forms[*at], at + 1, end);

        if (len < 0)
            return len;
        at += 1 + len;
        wanted--;
    }
    return at - from;
}

static int read_boolean(uint8_t octet, struct amqp_item *out)
{
    if (octet > 1)
        return ERR_DECODE;
    out->type = AMQP_BOOL;
    out->b = octet == 1;
    return 0;
}

static void set_unsigned(struct amqp_item *out, enum amqp_type type, uint64_t v)
{
    out->type = type;
    out->u = v;
}

static void set_signed(struct amqp_item *out, enum amqp_type type, int64_t v)
{
    out->type = type;
    out->i = v;
}

static void set_float(struct amqp_item *out, uint32_t bits)
{
    float v;

    memcpy(&v, &bits, sizeof(v));
    out->type = AMQP_FLOAT;
    out->f = v;
}

static void set_double(struct amqp_item *out, uint64_t bits)
{
    out->type = AMQP_DOUBLE;
    memcpy(&out->f, &bits, sizeof(out->f));
}

static void set_bytes(struct amqp_item *out, enum amqp_type type, const uint8_t *at, size_t len)
{
    out->type = type;
    out->bytes = (struct str){(const char *)at, len};
}

// Types of width 0 and 1.
static int read_narrow(uint8_t constructor, const uint8_t *at, struct amqp_item *out)
{
    switch (constructor) {
    case 0x40:
        out->type = AMQP_NULL;
        return 0;
    case 0x41:
    case 0x42:
        return read_boolean(constructor == 0x41, out);
    case 0x43:
        set_unsigned(out, AMQP_UINT, 0);
        return 0;
    case 0x44:
        set_unsigned(out, AMQP_ULONG, 0);
        return 0;
    case 0x45:
        set_bytes(out, AMQP_LIST, at, 0);
        return 0;
    case 0x50:
        set_unsigned(out, AMQP_UBYTE, at[0]);
        return 0;
    case 0x51:
        set_signed(out, AMQP_BYTE, (int8_t)at[0]);
        return 0;
    case 0x52:
        set_unsigned(out, AMQP_UINT, at[0]);
        return 0;
    case 0x53:
        set_unsigned(out, AMQP_ULONG, at[0]);
        return 0;
    case 0x54:
        set_signed(out, AMQP_INT, (int8_t)at[0]);
        return 0;
    case 0x55:
        set_signed(out, AMQP_LONG, (int8_t)at[0]);
        return 0;
    case 0x56:
        return read_boolean(at[0], out);
    default:
        return ERR_DECODE;
    }
}

// The other types of fixed width.
static int read_fixed(uint8_t constructor, const uint8_t *at, struct amqp_item *out)
{
    switch (constructor) {
    case 0x60:
        set_unsigned(out, AMQP_USHORT, amqp_load_u16(at));
        return 0;
    case 0x61:
        set_signed(out, AMQP_SHORT, (int16_t)amqp_load_u16(at));
        return 0;
    case 0x70:
        set_unsigned(out, AMQP_UINT, amqp_load_u32(at));
        return 0;
    case 0x71:
        set_signed(out, AMQP_INT, (int32_t)amqp_load_u32(at));
        return 0;
    case 0x72:
        set_float(out, amqp_load_u32(at));
        return 0;
    case 0x73:
        set_unsigned(out, AMQP_CHAR, amqp_load_u32(at));
        return 0;
    case 0x74:
        set_bytes(out, AMQP_DECIMAL32, at, 4);
        return 0;
    case 0x80:
        set_unsigned(out, AMQP_ULONG, amqp_load_u64(at));
        return 0;
    case 0x81:
        set_signed(out, AMQP_LONG, (int64_t)amqp_load_u64(at));
        return 0;
    case 0x82:
        set_double(out, amqp_load_u64(at));
        return 0;
    case 0x83:
        set_signed(out, AMQP_TIMESTAMP, (int64_t)amqp_load_u64(at));
        return 0;
    case 0x84:
        set_bytes(out, AMQP_DECIMAL64, at, 8);
        return 0;
    case 0x94:
        set_bytes(out, AMQP_DECIMAL128, at, 16);
        return 0;
    case 0x98:
        set_bytes(out, AMQP_UUID, at, 16);
        return 0;
    default:
        return read_narrow(constructor, at, out);
    }
}

static void read_variable(uint8_t constructor, const uint8_t *at, size_t len, size_t width,
                          struct amqp_item *out)
{
    uint8_t kind = constructor & 0x0f;

    set_bytes(out,
              kind == 0   ? AMQP_BINARY
              : kind == 1 ? AMQP_STRING
                          : AMQP_SYMBOL,
              at + width, len - width);
}

// The element constructor of an array without its descriptors.
struct element_form {
    const uint8_t *data; // of the first element
    uint8_t constructor;
};

static int read_element_form(struct str array, struct element_form *out)
{
    struct amqp_reader r = amqp_reader_of(array);

    for (int depth = 0; r.at < r.end && *r.at == 0x00; depth++) {
        ptrdiff_t len = amqp_value_len(r.at + 1, r.end);

        if (len < 0)
            return len == ERR_LIMIT ? ERR_LIMIT : ERR_DECODE;
        if (depth == AMQP_DEPTH_MAX)
            return ERR_LIMIT;
        r.at += 1 + len;
    }
    if (r.at == r.end || amqp_forms[*r.at] >= AMQP_FORM_DESCRIBED)
        return ERR_DECODE;
    out->constructor = *r.at;
    out->data = r.at + 1;
    return 0;
}

// Could so many elements be in there? Elements of width 0 take no bytes, so their number is a claim
// that costs the peer nothing; it has a limit of its own.
static int check_array(struct str array, uint32_t count)
{
    struct element_form form;

    if (count == 0 && array.len == 0)
        return 0;

    int err = read_element_form(array, &form);

    if (err < 0)
        return err;

    uint8_t kind = amqp_forms[form.constructor];
    size_t len = (size_t)((const uint8_t *)array.ptr + array.len - form.data);

    if (kind >= AMQP_FORM_VARIABLE)
        return (uint64_t)count * (kind & 0x0f) > len ? ERR_DECODE : 0;
    if ((uint64_t)count * kind != len)
        return ERR_DECODE;
    return kind == 0 && count > AMQP_EMPTY_ITEMS_MAX ? ERR_LIMIT : 0;
}

static int read_compound(uint8_t constructor, const uint8_t *at, size_t len, size_t width,
                         struct amqp_item *out)
{
    struct str inside = {(const char *)at + 2 * width, len - 2 * width};
    uint32_t count = width == 1 ? at[1] : amqp_load_u32(at + 4);

    out->bytes = inside;
    out->count = count;
    if (amqp_forms[constructor] >= AMQP_FORM_ARRAY) {
        out->type = AMQP_ARRAY;
        return check_array(inside, count);
    }
    out->type = (constructor & 0x0f) == 0 ? AMQP_LIST : AMQP_MAP;
    if (out->type == AMQP_MAP && count % 2 != 0)
        return ERR_DECODE;
    return count > inside.len ? ERR_DECODE : 0;
}

// Reads the data behind a constructor; `at` moves past it.
static int read_data(uint8_t constructor, const uint8_t **at, const uint8_t *end,
                     struct amqp_item *out)
{
    uint8_t form = amqp_forms[constructor];
    ptrdiff_t len = amqp_data_len(form, *at, end);
    const uint8_t *data = *at;
    size_t width = form & 0x0f;

    if (len < 0)
        return (int)len;
    *at += len;
    if (form < AMQP_FORM_VARIABLE)
        return read_fixed(constructor, data, out);
    if (form >= AMQP_FORM_COMPOUND)
        return read_compound(constructor, data, (size_t)len, width, out);
    read_variable(constructor, data, (size_t)len, width, out);
    return 0;
}

int amqp_read(struct amqp_reader *r, struct amqp_item *out)
{
    struct amqp_item it = {0};
    const uint8_t *at = r->at;

    if (at == r->end)
        return ERR_AGAIN;
    if (*at == 0x00) {
        ptrdiff_t len = amqp_described_len(at, r->end);

        if (len < 0)
            return (int)len;
        set_bytes(&it, AMQP_DESCRIBED, at + 1, (size_t)len - 1);
        at += len;
    } else {
        uint8_t constructor = *at++;
        int err = read_data(constructor, &at, r->end, &it);

        if (err < 0)
            return err;
    }
    it.whole = amqp_bytes_between(r->at, at);
    r->at = at;
    *out = it;
    return 0;
}

static int read_items(struct amqp_reader *r, enum amqp_type type, struct amqp_reader *items,
                      uint32_t *count)
{
    struct amqp_reader after = *r;
    struct amqp_item it;
    int err = amqp_read(&after, &it);

    if (err < 0)
        return err;
    if (it.type != type)
        return ERR_DECODE;
    *r = after;
    *items = amqp_reader_of(it.bytes);
    *count = it.count;
    return 0;
}

int amqp_read_list(struct amqp_reader *r, struct amqp_reader *items, uint32_t *count)
{
    return read_items(r, AMQP_LIST, items, count);
}

int amqp_read_map(struct amqp_reader *r, struct amqp_reader *items, uint32_t *count)
{
    return read_items(r, AMQP_MAP, items, count);
}

uint64_t amqp_code_of_symbol(struct str name)
{
    static const struct {
        const char *name;
        uint64_t code;
    } known[] = {
        {"amqp:open:list", 0x10},
        {"amqp:begin:list", 0x11},
        {"amqp:attach:list", 0x12},
        {"amqp:flow:list", 0x13},
        {"amqp:transfer:list", 0x14},
        {"amqp:disposition:list", 0x15},
        {"amqp:detach:list", 0x16},
        {"amqp:end:list", 0x17},
        {"amqp:close:list", 0x18},
        {"amqp:error:list", 0x1d},
        {"amqp:received:list", 0x23},
        {"amqp:accepted:list", 0x24},
        {"amqp:rejected:list", 0x25},
        {"amqp:released:list", 0x26},
        {"amqp:modified:list", 0x27},
        {"amqp:source:list", 0x28},
        {"amqp:target:list", 0x29},
        {"amqp:delete-on-close:list", 0x2b},
        {"amqp:delete-on-no-links:list", 0x2c},
        {"amqp:delete-on-no-messages:list", 0x2d},
        {"amqp:delete-on-no-links-or-messages:list", 0x2e},
        {"amqp:coordinator:list", 0x30},
        {"amqp:declare:list", 0x31},
        {"amqp:discharge:list", 0x32},
        {"amqp:declared:list", 0x33},
        {"amqp:transactional-state:list", 0x34},
        {"amqp:sasl-mechanisms:list", 0x40},
        {"amqp:sasl-init:list", 0x41},
        {"amqp:sasl-challenge:list", 0x42},
        {"amqp:sasl-response:list", 0x43},
        {"amqp:sasl-outcome:list", 0x44},
        {"amqp:header:list", 0x70},
        {"amqp:delivery-annotations:map", 0x71},
        {"amqp:message-annotations:map", 0x72},
        {"amqp:properties:list", 0x73},
        {"amqp:application-properties:map", 0x74},
        {"amqp:data:binary", 0x75},
        {"amqp:amqp-sequence:list", 0x76},
        {"amqp:amqp-value:*", 0x77},
        {"amqp:footer:map", 0x78},
    };

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (str_is(name, known[i].name))
            return known[i].code;
    }
    return UINT64_MAX;
}

int amqp_open_described(const struct amqp_item *described, uint64_t *code, struct amqp_item *value)
{
    struct amqp_reader r = amqp_reader_of(described->bytes);
    struct amqp_item descriptor, it;

    if (described->type != AMQP_DESCRIBED || amqp_read(&r, &descriptor) < 0 ||
        amqp_read(&r, &it) < 0 || !amqp_reader_done(&r))
        return ERR_DECODE;
    if (descriptor.type == AMQP_ULONG)
        *code = descriptor.u;
    else if (descriptor.type == AMQP_SYMBOL)
        *code = amqp_code_of_symbol(descriptor.bytes);
    else
        *code = UINT64_MAX;
    *value = it;
    return 0;
}

struct str amqp_array_descriptors(const struct amqp_item *array)
{
    struct element_form form;

    if (array->type != AMQP_ARRAY || read_element_form(array->bytes, &form) < 0)
        return STR_NONE;
    return amqp_bytes_between((const uint8_t *)array->bytes.ptr, form.data - 1);
}

int amqp_array_next(const struct amqp_item *array, struct amqp_reader *at, struct amqp_item *out)
{
    struct element_form form;
    struct amqp_item it = {0};

    if (array->type != AMQP_ARRAY || read_element_form(array->bytes, &form) < 0)
        return ERR_DECODE;
    if (at->at == NULL)
        *at = (struct amqp_reader){form.data, amqp_reader_of(array->bytes).end};

    const uint8_t *from = at->at;

    if (read_data(form.constructor, &at->at, at->end, &it) < 0)
        return ERR_DECODE;
    it.whole = amqp_bytes_between(from, at->at);
    *out = it;
    return 0;
}

static int check_value(struct amqp_reader *r, int depth);

static int check_items(struct str items, uint32_t count, int depth)
{
    struct amqp_reader r = amqp_reader_of(items);

    for (uint32_t i = 0; i < count; i++) {
        int err = check_value(&r, depth);

        if (err < 0)
            return err;
    }
    return amqp_reader_done(&r) ? 0 : ERR_DECODE;
}

static int check_inside(const struct amqp_item *it, int depth);

static int check_elements(const struct amqp_item *array, int depth)
{
    struct amqp_reader descriptors = amqp_reader_of(amqp_array_descriptors(array));
    struct amqp_reader at = {NULL, NULL};
    struct element_form form;
    int err = 0;

    while (err == 0 && !amqp_reader_done(&descriptors)) {
        descriptors.at++;
        err = check_value(&descriptors, depth);
    }
    if (err < 0 || array->bytes.len == 0)
        return err;
    err = read_element_form(array->bytes, &form);
    if (err < 0 || amqp_forms[form.constructor] == 0)
        return err;
    at = (struct amqp_reader){form.data, amqp_reader_of(array->bytes).end};
    for (uint32_t i = 0; i < array->count; i++) {
        struct amqp_item it = {0};

        if (read_data(form.constructor, &at.at, at.end, &it) < 0)
            return ERR_DECODE;
        err = check_inside(&it, depth);
        if (err < 0)
            return err;
    }
    return amqp_reader_done(&at) ? 0 : ERR_DECODE;
}

static int check_inside(const struct amqp_item *it, int depth)
{
    if (it->type < AMQP_LIST)
        return 0;
    if (depth == AMQP_DEPTH_MAX)
        return ERR_LIMIT;
    if (it->type == AMQP_ARRAY)
        return check_elements(it, depth + 1);
    return check_items(it->bytes, it->type == AMQP_DESCRIBED ? 2 : it->count, depth + 1);
}

static int check_value(struct amqp_reader *r, int depth)
{
    struct amqp_item it;
    int err = amqp_read(r, &it);

    if (err < 0)
        return err == ERR_AGAIN ? ERR_DECODE : err;
    return check_inside(&it, depth);
}

int amqp_check(struct str encoded)
{
    return check_items(encoded, 1, 0);
}

static bool number_of_text(struct str text, int64_t *out)
{
    bool negative = text.len > 0 && text.ptr[0] == '-';
    size_t i = text.len > 0 && (text.ptr[0] == '-' || text.ptr[0] == '+') ? 1 : 0;
    int64_t v = 0;

    if (i == text.len)
        return false;
    for (; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9')
            return false;

        int digit = text.ptr[i] - '0';

        if (__builtin_mul_overflow(v, 10, &v) ||
            __builtin_add_overflow(v, negative ? -digit : digit, &v))
            return false;
    }
    *out = v;
    return true;
}

bool amqp_item_int(const struct amqp_item *it, int64_t *out)
{
    if (it->type >= AMQP_UBYTE && it->type <= AMQP_ULONG) {
        if (it->u > INT64_MAX)
            return false;
        *out = (int64_t)it->u;
        return true;
    }
    if (it->type >= AMQP_BYTE && it->type <= AMQP_LONG) {
        *out = it->i;
        return true;
    }
    return it->type == AMQP_STRING && number_of_text(it->bytes, out);
}
