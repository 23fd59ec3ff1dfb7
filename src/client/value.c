// SPDX-License-Identifier: Apache-2.0
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "client/inside.h"

// AMQP values as JSON and back.

static json_t *hex_text(struct str bytes)
{
    char *text = xcalloc(1, 2 * bytes.len + 1);
    json_t *j;

    for (size_t i = 0; i < bytes.len; i++)
        snprintf(text + 2 * i, 3, "%02x", (unsigned char)bytes.ptr[i]);
    j = json_string(text);
    free(text);
    return j;
}

// Octets that are no UTF-8 become '?'.
static json_t *text_json(struct str s)
{
    json_t *j = json_stringn(s.ptr ? s.ptr : "", s.len);
    char *clean;

    if (j)
        return j;
    clean = str_dup(s);
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)clean[i] >= 0x80)
            clean[i] = '?';
    j = json_stringn(clean, s.len);
    free(clean);
    return j;
}

static json_t *binary_json(struct str s)
{
    json_t *j;

    if (!s.ptr)
        return json_string("");
    j = json_stringn(s.ptr, s.len);
    return j ? j : hex_text(s);
}

// 8-4-4-4-12
static json_t *uuid_json(struct str s)
{
    char text[37];
    size_t at = 0;

    for (size_t i = 0; i < 16 && i < s.len; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            text[at++] = '-';
        at += (size_t)snprintf(text + at, 3, "%02x", (unsigned char)s.ptr[i]);
    }
    text[at] = '\0';
    return json_string(text);
}

static json_t *char_json(uint64_t c)
{
    char utf8[5] = "";

    if (c < 0x80) {
        utf8[0] = (char)c;
    } else if (c < 0x800) {
        utf8[0] = (char)(0xc0 | c >> 6);
        utf8[1] = (char)(0x80 | (c & 0x3f));
    } else if (c < 0x10000) {
        utf8[0] = (char)(0xe0 | c >> 12);
        utf8[1] = (char)(0x80 | (c >> 6 & 0x3f));
        utf8[2] = (char)(0x80 | (c & 0x3f));
    } else {
        utf8[0] = (char)(0xf0 | (c >> 18 & 7));
        utf8[1] = (char)(0x80 | (c >> 12 & 0x3f));
        utf8[2] = (char)(0x80 | (c >> 6 & 0x3f));
        utf8[3] = (char)(0x80 | (c & 0x3f));
    }
    return text_json(str_of(utf8));
}

static json_t *list_json(const struct amqp_val *v)
{
    json_t *list = json_array();

    for (uint32_t i = 0; i < v->count; i++)
        json_array_append_new(list, client_json(v->items[i]));
    return list;
}

// An octet 0 in a key becomes '?' too: jansson does not find such a key again.
static void set_key(json_t *object, const struct amqp_val *key, json_t *value)
{
    struct str text = amqp_val_str(key);
    char *name = text.ptr ? str_dup(text) : amqp_val_text(key);
    size_t len = text.ptr ? text.len : strlen(name);
    json_t *as_text;

    for (size_t i = 0; i < len; i++)
        if (!name[i])
            name[i] = '?';
    as_text = text_json((struct str){name, len});
    json_object_set_new(object, json_string_value(as_text), value);
    json_decref(as_text);
    free(name);
}

static json_t *map_json(const struct amqp_val *v)
{
    json_t *object = json_object();

    for (uint32_t i = 0; i + 1 < v->count; i += 2)
        set_key(object, v->items[i], client_json(v->items[i + 1]));
    return object;
}

json_t *client_json(const struct amqp_val *v)
{
    switch (v ? v->type : AMQP_NULL) {
    case AMQP_BOOL:
        return json_boolean(v->b);
    case AMQP_UBYTE:
    case AMQP_USHORT:
    case AMQP_UINT:
    case AMQP_ULONG:
        return v->u > INT64_MAX ? json_real((double)v->u) : json_integer((json_int_t)v->u);
    case AMQP_BYTE:
    case AMQP_SHORT:
    case AMQP_INT:
    case AMQP_LONG:
    case AMQP_TIMESTAMP:
        return json_integer((json_int_t)v->i);
    case AMQP_FLOAT:
    case AMQP_DOUBLE:
        return isfinite(v->f) ? json_real(v->f) : json_null();
    case AMQP_CHAR:
        return char_json(v->u);
    case AMQP_STRING:
    case AMQP_SYMBOL:
        return text_json(v->s);
    case AMQP_BINARY:
        return binary_json(v->s);
    case AMQP_UUID:
        return uuid_json(v->s);
    case AMQP_LIST:
    case AMQP_ARRAY:
        return list_json(v);
    case AMQP_MAP:
        return map_json(v);
    case AMQP_DESCRIBED:
        return client_json(v->items[1]);
    case AMQP_NULL:
    case AMQP_DECIMAL32:
    case AMQP_DECIMAL64:
    case AMQP_DECIMAL128:
        break;
    }
    return json_null();
}

// ------------------------------------------------------------------------------------ JSON to AMQP

static struct amqp_val *value_at(const json_t *j, int depth);

static struct amqp_val *list_value(const json_t *j, int depth)
{
    struct amqp_val *list = amqp_val_list();

    for (size_t i = 0; i < json_array_size(j); i++)
        amqp_val_append(list, value_at(json_array_get(j, i), depth + 1));
    return list;
}

// The accessors of jansson are not const, though nothing changes.
static json_t *unconst(const json_t *j)
{
    union {
        const json_t *from;
        json_t *to;
    } u = {.from = j};

    return u.to;
}

static struct amqp_val *map_value(const json_t *j, int depth)
{
    struct amqp_val *map = amqp_val_map();
    const char *key;
    json_t *value;

    json_object_foreach(unconst(j), key, value)
    {
        amqp_val_set(map, key, value_at(value, depth + 1));
    }
    return map;
}

static struct amqp_val *integer_value(json_int_t n)
{
    return n >= INT32_MIN && n <= INT32_MAX ? amqp_val_int((int32_t)n) : amqp_val_long(n);
}

static struct amqp_val *value_at(const json_t *j, int depth)
{
    if (!j || depth >= AMQP_DEPTH_MAX)
        return amqp_val_null();
    switch (json_typeof(j)) {
    case JSON_OBJECT:
        return map_value(j, depth);
    case JSON_ARRAY:
        return list_value(j, depth);
    case JSON_STRING:
        return amqp_val_string((struct str){json_string_value(j), json_string_length(j)});
    case JSON_INTEGER:
        return integer_value(json_integer_value(j));
    case JSON_REAL:
        return amqp_val_double(json_real_value(j));
    case JSON_TRUE:
    case JSON_FALSE:
        return amqp_val_bool(json_is_true(j));
    case JSON_NULL:
        break;
    }
    return amqp_val_null();
}

struct amqp_val *client_value(const json_t *j)
{
    return value_at(j, 0);
}
