// SPDX-License-Identifier: Apache-2.0
#include "amqp/fields.h"

void fields_refuse(struct fields *f, int err)
{
    if (f->err == 0 && err < 0)
        f->err = err == ERR_LIMIT ? ERR_LIMIT : ERR_DECODE;
}

int fields_open(struct amqp_reader *r, uint64_t *code, struct fields *out)
{
    struct amqp_item described, list;
    int err = amqp_read(r, &described);

    if (err < 0)
        return err == ERR_LIMIT ? ERR_LIMIT : ERR_DECODE;
    if (described.type != AMQP_DESCRIBED || amqp_open_described(&described, code, &list) < 0 ||
        list.type != AMQP_LIST)
        return ERR_DECODE;
    *out = (struct fields){amqp_reader_of(list.bytes), list.count, 0};
    return 0;
}

int fields_open_body(struct amqp_reader *r, enum amqp_performative want, struct fields *out)
{
    uint64_t code;
    int err = fields_open(r, &code, out);

    return err == 0 && code != (uint64_t)want ? ERR_DECODE : err;
}

int fields_close(const struct amqp_reader *r, struct fields *f)
{
    struct amqp_item it;

    for (; f->err == 0 && f->left > 0; f->left--) {
        if (amqp_read(&f->r, &it) < 0)
            f->err = ERR_DECODE;
    }
    if (f->err == 0 && (!amqp_reader_done(&f->r) || !amqp_reader_done(r)))
        f->err = ERR_DECODE;
    return f->err;
}

bool fields_next(struct fields *f, struct amqp_item *it)
{
    int err;

    if (f->err < 0 || f->left == 0)
        return false;
    f->left--;
    err = amqp_read(&f->r, it);
    if (err < 0) {
        fields_refuse(f, err);
        return false;
    }
    return it->type != AMQP_NULL;
}

bool fields_next_of(struct fields *f, enum amqp_type type, struct amqp_item *it)
{
    if (!fields_next(f, it))
        return false;
    if (it->type == type)
        return true;
    fields_refuse(f, ERR_DECODE);
    return false;
}

void fields_must(struct fields *f, bool is_there)
{
    if (!is_there)
        fields_refuse(f, ERR_DECODE);
}

bool fields_uint(struct fields *f, uint32_t *out)
{
    struct amqp_item it;

    if (!fields_next_of(f, AMQP_UINT, &it))
        return false;
    *out = (uint32_t)it.u;
    return true;
}

bool fields_ushort(struct fields *f, uint16_t *out)
{
    struct amqp_item it;

    if (!fields_next_of(f, AMQP_USHORT, &it))
        return false;
    *out = (uint16_t)it.u;
    return true;
}

bool fields_ubyte(struct fields *f, uint8_t *out)
{
    struct amqp_item it;

    if (!fields_next_of(f, AMQP_UBYTE, &it))
        return false;
    *out = (uint8_t)it.u;
    return true;
}

bool fields_ulong(struct fields *f, uint64_t *out)
{
    struct amqp_item it;

    if (!fields_next_of(f, AMQP_ULONG, &it))
        return false;
    *out = it.u;
    return true;
}

bool fields_bool(struct fields *f, bool *out)
{
    struct amqp_item it;

    if (!fields_next_of(f, AMQP_BOOL, &it))
        return false;
    *out = it.b;
    return true;
}

bool fields_bytes(struct fields *f, enum amqp_type type, struct str *out)
{
    struct amqp_item it;

    if (!fields_next_of(f, type, &it))
        return false;
    *out = it.bytes;
    return true;
}

void fields_encoded(struct fields *f, enum amqp_type type, struct str *out)
{
    struct amqp_item it;

    if (!fields_next_of(f, type, &it))
        return;
    fields_refuse(f, amqp_check(it.whole));
    *out = it.whole;
}

// The next of several symbols. They belong in an array; some libraries write what their user handed
// over as a list, and the existing router takes that.
static int symbols_next(const struct amqp_item *it, struct amqp_reader *at, struct amqp_item *out)
{
    if (it->type == AMQP_ARRAY)
        return amqp_array_next(it, at, out);
    if (!at->at)
        *at = amqp_reader_of(it->bytes);
    return amqp_read(at, out);
}

static bool is_several(const struct amqp_item *it)
{
    return it->type == AMQP_ARRAY || it->type == AMQP_LIST;
}

static bool is_symbols(const struct amqp_item *it)
{
    struct amqp_reader at = {NULL, NULL};
    struct amqp_item element;

    if (it->type == AMQP_SYMBOL)
        return true;
    if (!is_several(it) || amqp_check(it->whole) < 0)
        return false;
    for (uint32_t i = 0; i < it->count; i++)
        if (symbols_next(it, &at, &element) < 0 || element.type != AMQP_SYMBOL)
            return false;
    return true;
}

void fields_symbols(struct fields *f, struct str *out)
{
    struct amqp_item it;

    if (!fields_next(f, &it))
        return;
    fields_must(f, is_symbols(&it));
    *out = it.whole;
}

uint32_t amqp_symbols_of(struct str encoded, struct str *out, uint32_t max)
{
    struct amqp_reader r = amqp_reader_of(encoded), at = {NULL, NULL};
    struct amqp_item it, element;
    uint32_t count = 0;

    if (amqp_read(&r, &it) < 0)
        return 0;
    if (it.type == AMQP_SYMBOL) {
        if (max > 0)
            out[0] = it.bytes;
        return 1;
    }
    if (!is_several(&it))
        return 0;
    for (uint32_t i = 0; i < it.count; i++) {
        if (symbols_next(&it, &at, &element) < 0 || element.type != AMQP_SYMBOL)
            break;
        if (count < max)
            out[count] = element.bytes;
        count++;
    }
    return count;
}

bool amqp_symbols_have(struct str encoded, struct str name)
{
    struct amqp_reader r = amqp_reader_of(encoded), at = {NULL, NULL};
    struct amqp_item it, element;

    if (amqp_read(&r, &it) < 0)
        return false;
    if (it.type == AMQP_SYMBOL)
        return str_eq(it.bytes, name);
    for (uint32_t i = 0; is_several(&it) && i < it.count; i++) {
        if (symbols_next(&it, &at, &element) < 0)
            return false;
        if (element.type == AMQP_SYMBOL && str_eq(element.bytes, name))
            return true;
    }
    return false;
}

// --------------------------------------------------------------------------------- errors, states

void fields_error(struct fields *f, struct amqp_error *out)
{
    struct amqp_item it;
    struct fields inner;
    uint64_t code;

    if (!fields_next_of(f, AMQP_DESCRIBED, &it))
        return;

    struct amqp_reader r = amqp_reader_of(it.whole);
    struct str info = STR_NONE;

    if (fields_open(&r, &code, &inner) < 0 || code != 0x1d) {
        fields_refuse(f, ERR_DECODE);
        return;
    }
    fields_must(&inner, fields_bytes(&inner, AMQP_SYMBOL, &out->condition));
    fields_bytes(&inner, AMQP_STRING, &out->description);
    fields_encoded(&inner, AMQP_MAP, &info);
    fields_refuse(f, fields_close(&r, &inner));
}

static enum amqp_outcome_type outcome_of_code(uint64_t code)
{
    switch (code) {
    case 0x23:
        return AMQP_RECEIVED;
    case 0x24:
        return AMQP_ACCEPTED;
    case 0x25:
        return AMQP_REJECTED;
    case 0x26:
        return AMQP_RELEASED;
    case 0x27:
        return AMQP_MODIFIED;
    default:
        return AMQP_OTHER_OUTCOME;
    }
}

static int check_state_fields(enum amqp_outcome_type type, const struct amqp_reader *r,
                              struct fields *f)
{
    struct amqp_error error = {0};
    struct str annotations;
    uint32_t number = 0;
    uint64_t offset = 0;
    bool flag;

    if (type == AMQP_RECEIVED) {
        fields_must(f, fields_uint(f, &number));
        fields_must(f, fields_ulong(f, &offset));
    } else if (type == AMQP_REJECTED) {
        fields_error(f, &error);
    } else if (type == AMQP_MODIFIED) {
        fields_bool(f, &flag);
        fields_bool(f, &flag);
        fields_encoded(f, AMQP_MAP, &annotations);
    }
    return fields_close(r, f);
}

int amqp_decode_state(struct str encoded, struct amqp_outcome *out)
{
    struct amqp_reader r = amqp_reader_of(encoded);
    struct amqp_item described, value;
    struct fields f;
    uint64_t code;
    int err = amqp_check(encoded);

    if (err < 0)
        return err;
    if (amqp_read(&r, &described) < 0 || described.type != AMQP_DESCRIBED ||
        amqp_open_described(&described, &code, &value) < 0)
        return ERR_DECODE;

    enum amqp_outcome_type type = outcome_of_code(code);

    if (type != AMQP_OTHER_OUTCOME) {
        if (value.type != AMQP_LIST)
            return ERR_DECODE;
        f = (struct fields){amqp_reader_of(value.bytes), value.count, 0};
        err = check_state_fields(type, &r, &f);
        if (err < 0)
            return err;
    }
    *out = (struct amqp_outcome){type, encoded};
    return 0;
}

void fields_state(struct fields *f, struct amqp_outcome *out)
{
    struct amqp_item it;

    if (fields_next_of(f, AMQP_DESCRIBED, &it))
        fields_refuse(f, amqp_decode_state(it.whole, out));
}
