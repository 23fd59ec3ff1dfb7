// SPDX-License-Identifier: Apache-2.0
#include "amqp/value.h"

#include <assert.h>
#include <stdlib.h>

#include "amqp/inplace.h"
#include "base/mem.h"

static struct amqp_val *new_val(enum amqp_type type)
{
    struct amqp_val *v = xcalloc(1, sizeof(*v));

    v->type = type;
    return v;
}

static bool has_bytes(enum amqp_type type)
{
    return (type >= AMQP_UUID && type <= AMQP_SYMBOL) ||
           (type >= AMQP_DECIMAL32 && type <= AMQP_DECIMAL128);
}

static bool has_items(enum amqp_type type)
{
    return type >= AMQP_LIST;
}

static bool is_unsigned(enum amqp_type type)
{
    return type >= AMQP_UBYTE && type <= AMQP_ULONG;
}

static bool is_signed(enum amqp_type type)
{
    return type >= AMQP_BYTE && type <= AMQP_LONG;
}

struct amqp_val *amqp_val_null(void)
{
    return new_val(AMQP_NULL);
}

struct amqp_val *amqp_val_bool(bool v)
{
    struct amqp_val *val = new_val(AMQP_BOOL);

    val->b = v;
    return val;
}

static struct amqp_val *new_unsigned(enum amqp_type type, uint64_t v)
{
    struct amqp_val *val = new_val(type);

    val->u = v;
    return val;
}

static struct amqp_val *new_signed(enum amqp_type type, int64_t v)
{
    struct amqp_val *val = new_val(type);

    val->i = v;
    return val;
}

static struct amqp_val *new_bytes(enum amqp_type type, struct str v)
{
    struct amqp_val *val = new_val(type);

    val->s = (struct str){str_dup(v), v.len};
    return val;
}

struct amqp_val *amqp_val_uint(uint32_t v)
{
    return new_unsigned(AMQP_UINT, v);
}

struct amqp_val *amqp_val_ulong(uint64_t v)
{
    return new_unsigned(AMQP_ULONG, v);
}

struct amqp_val *amqp_val_int(int32_t v)
{
    return new_signed(AMQP_INT, v);
}

struct amqp_val *amqp_val_long(int64_t v)
{
    return new_signed(AMQP_LONG, v);
}

struct amqp_val *amqp_val_double(double v)
{
    struct amqp_val *val = new_val(AMQP_DOUBLE);

    val->f = v;
    return val;
}

struct amqp_val *amqp_val_string(struct str v)
{
    return new_bytes(AMQP_STRING, v);
}

struct amqp_val *amqp_val_symbol(struct str v)
{
    return new_bytes(AMQP_SYMBOL, v);
}

struct amqp_val *amqp_val_list(void)
{
    return new_val(AMQP_LIST);
}

struct amqp_val *amqp_val_map(void)
{
    return new_val(AMQP_MAP);
}

// Room for a power of two of items, which push() relies on.
static struct amqp_val **new_items(uint32_t count)
{
    size_t size = 1;

    if (count == 0)
        return NULL;
    while (size < count)
        size *= 2;
    return xcalloc(size, sizeof(struct amqp_val *));
}

static char *bytes_of(const struct amqp_val *v)
{
    return (char *)(uintptr_t)v->s.ptr;
}

struct amqp_val *amqp_val_copy(const struct amqp_val *v)
{
    struct amqp_val *copy = new_val(v->type);

    *copy = *v;
    if (has_bytes(v->type)) {
        copy->s.ptr = str_dup(v->s);
    } else if (has_items(v->type)) {
        copy->items = new_items(v->count);
        for (uint32_t i = 0; i < v->count; i++)
            copy->items[i] = amqp_val_copy(v->items[i]);
    }
    return copy;
}

void amqp_val_free(struct amqp_val *v)
{
    if (!v)
        return;
    if (has_bytes(v->type)) {
        free(bytes_of(v));
    } else if (has_items(v->type)) {
        for (uint32_t i = 0; i < v->count; i++)
            amqp_val_free(v->items[i]);
        free(v->items);
    }
    free(v);
}

// ------------------------------------------------------------------------------ building, looking

// The items' room doubles whenever their count is a power of two.
static void push(struct amqp_val *v, struct amqp_val *take)
{
    if ((v->count & (v->count - 1)) == 0) {
        size_t size = v->count > 0 ? (size_t)v->count * 2 : 1;

        v->items = xrealloc(v->items, size, sizeof(struct amqp_val *));
    }
    v->items[v->count++] = take;
}

void amqp_val_append(struct amqp_val *list, struct amqp_val *take)
{
    assert(list->type == AMQP_LIST);
    push(list, take);
}

static bool is_key(const struct amqp_val *v, struct str key)
{
    return (v->type == AMQP_STRING || v->type == AMQP_SYMBOL) && str_eq(v->s, key);
}

static void set(struct amqp_val *map, enum amqp_type key_type, const char *key,
                struct amqp_val *take)
{
    assert(map->type == AMQP_MAP);
    for (uint32_t i = 0; i + 1 < map->count; i += 2) {
        if (is_key(map->items[i], str_of(key))) {
            amqp_val_free(map->items[i + 1]);
            map->items[i + 1] = take;
            return;
        }
    }
    push(map, new_bytes(key_type, str_of(key)));
    push(map, take);
}

void amqp_val_set(struct amqp_val *map, const char *key, struct amqp_val *take)
{
    set(map, AMQP_STRING, key, take);
}

void amqp_val_set_symbol(struct amqp_val *map, const char *key, struct amqp_val *take)
{
    set(map, AMQP_SYMBOL, key, take);
}

const struct amqp_val *amqp_val_get(const struct amqp_val *map, const char *key)
{
    if (!map || map->type != AMQP_MAP)
        return NULL;
    for (uint32_t i = 0; i + 1 < map->count; i += 2) {
        if (is_key(map->items[i], str_of(key)))
            return map->items[i + 1];
    }
    return NULL;
}

const struct amqp_val *amqp_val_at(const struct amqp_val *list, uint32_t index)
{
    if (!list || !has_items(list->type) || index >= list->count)
        return NULL;
    return list->items[index];
}

struct str amqp_val_str(const struct amqp_val *v)
{
    if (!v || v->type < AMQP_BINARY || v->type > AMQP_SYMBOL)
        return STR_NONE;
    return v->s;
}

bool amqp_val_int_of(const struct amqp_val *v, int64_t *out)
{
    struct amqp_item it;

    if (!v || !(is_unsigned(v->type) || is_signed(v->type) || v->type == AMQP_STRING))
        return false;
    it = (struct amqp_item){.type = v->type};
    if (v->type == AMQP_STRING)
        it.bytes = v->s;
    else
        it.u = v->u;
    return amqp_item_int(&it, out);
}

bool amqp_val_bool_of(const struct amqp_val *v, bool *out)
{
    int64_t number;

    if (!v)
        return false;
    if (v->type == AMQP_BOOL) {
        *out = v->b;
        return true;
    }
    if (v->type == AMQP_STRING || v->type == AMQP_SYMBOL) {
        bool yes = str_is_nocase(v->s, "true") || str_is_nocase(v->s, "yes");

        if (yes || str_is_nocase(v->s, "false") || str_is_nocase(v->s, "no")) {
            *out = yes;
            return true;
        }
    }
    if (!amqp_val_int_of(v, &number))
        return false;
    *out = number != 0;
    return true;
}

static bool same_integer(const struct amqp_val *a, const struct amqp_val *b)
{
    bool a_below_0 = is_signed(a->type) && a->i < 0;
    bool b_below_0 = is_signed(b->type) && b->i < 0;

    return a_below_0 == b_below_0 && a->u == b->u;
}

bool amqp_val_eq(const struct amqp_val *a, const struct amqp_val *b)
{
    if ((is_unsigned(a->type) || is_signed(a->type)) &&
        (is_unsigned(b->type) || is_signed(b->type)))
        return same_integer(a, b);
    if (a->type != b->type)
        return false;
    if (a->type == AMQP_NULL)
        return true;
    if (a->type == AMQP_BOOL)
        return a->b == b->b;
    if (has_bytes(a->type))
        return str_eq(a->s, b->s);
    if (!has_items(a->type))
        return a->u == b->u; // the bits, so that a NaN equals itself
    if (a->count != b->count)
        return false;
    for (uint32_t i = 0; i < a->count; i++) {
        if (!amqp_val_eq(a->items[i], b->items[i]))
            return false;
    }
    return true;
}

// ----------------------------------------------------------------------------------------- reading

struct reading {
    uint32_t left; // values that may still be made
    int depth;
};

static int read_value(struct reading *rd, struct amqp_reader *r, struct amqp_val **out);

static int make_value(struct reading *rd, const struct amqp_item *it, struct amqp_val **out);

// Checks the claim of a count before memory is spent on it.
static int reserve_items(struct reading *rd, struct amqp_val *v, uint32_t count)
{
    if (count > rd->left)
        return ERR_LIMIT;
    v->items = new_items(count);
    return 0;
}

// Items that stand one behind the other and fill all of `bytes`.
static int read_items(struct reading *rd, struct str bytes, uint32_t count, struct amqp_val *v)
{
    struct amqp_reader r = amqp_reader_of(bytes);
    int err = reserve_items(rd, v, count);

    while (err == 0 && v->count < count) {
        err = read_value(rd, &r, &v->items[v->count]);
        if (err == 0)
            v->count++;
    }
    if (err == 0 && !amqp_reader_done(&r))
        err = ERR_DECODE;
    return err;
}

// Takes values from the budget.
static int spend(struct reading *rd, size_t count)
{
    if (count > rd->left)
        return ERR_LIMIT;
    rd->left -= (uint32_t)count;
    return 0;
}

// Puts the descriptors that all elements of an array share around one of them. `take` is freed when
// that fails.
static int describe(struct reading *rd, struct amqp_reader descriptors, struct amqp_val *take,
                    struct amqp_val **out)
{
    struct amqp_val *described;
    int err;

    if (amqp_reader_done(&descriptors)) {
        *out = take;
        return 0;
    }
    described = new_val(AMQP_DESCRIBED);
    described->items = new_items(2);
    descriptors.at++;
    err = spend(rd, 1);
    if (err == 0)
        err = read_value(rd, &descriptors, &described->items[0]);
    if (err == 0) {
        described->count = 1;
        err = describe(rd, descriptors, take, &described->items[1]);
        take = NULL;
    }
    if (err < 0) {
        amqp_val_free(take);
        amqp_val_free(described);
        return err;
    }
    described->count = 2;
    *out = described;
    return 0;
}

// The descriptors are copied for each element, so their length counts too, or a long one in front
// of many small elements would make much of little.
enum { DESCRIPTOR_LEN_PER_VALUE = 64 };

static int read_elements(struct reading *rd, const struct amqp_item *array, struct amqp_val *v)
{
    struct str prefix = amqp_array_descriptors(array);
    struct amqp_reader at = {NULL, NULL};
    struct amqp_item it;
    int err = reserve_items(rd, v, array->count);

    while (err == 0 && v->count < array->count) {
        struct amqp_val *element = NULL;

        err = amqp_array_next(array, &at, &it);
        if (err == 0)
            err = spend(rd, prefix.len / DESCRIPTOR_LEN_PER_VALUE);
        if (err == 0)
            err = make_value(rd, &it, &element);
        if (err == 0)
            err = describe(rd, amqp_reader_of(prefix), element, &v->items[v->count]);
        if (err == 0)
            v->count++;
    }
    if (err == 0 && array->count > 0 && !amqp_reader_done(&at))
        err = ERR_DECODE;
    return err;
}

static int fill_value(struct reading *rd, const struct amqp_item *it, struct amqp_val *v)
{
    int err;

    if (has_bytes(it->type)) {
        v->s = (struct str){str_dup(it->bytes), it->bytes.len};
        return 0;
    }
    if (!has_items(it->type)) {
        if (it->type == AMQP_BOOL)
            v->b = it->b;
        else
            v->u = it->u; // whichever member it is
        return 0;
    }
    if (rd->depth == AMQP_DEPTH_MAX)
        return ERR_LIMIT;
    rd->depth++;
    if (it->type == AMQP_ARRAY)
        err = read_elements(rd, it, v);
    else
        err = read_items(rd, it->bytes, it->type == AMQP_DESCRIBED ? 2 : it->count, v);
    rd->depth--;
    return err;
}

static int make_value(struct reading *rd, const struct amqp_item *it, struct amqp_val **out)
{
    int err = spend(rd, 1);

    if (err < 0)
        return err;

    struct amqp_val *v = new_val(it->type);

    err = fill_value(rd, it, v);
    if (err < 0) {
        amqp_val_free(v);
        return err;
    }
    *out = v;
    return 0;
}

static int read_value(struct reading *rd, struct amqp_reader *r, struct amqp_val **out)
{
    struct amqp_item it;
    int err = amqp_read(r, &it);

    return err < 0 ? err : make_value(rd, &it, out);
}

int amqp_val_read(struct amqp_reader *r, uint32_t node_max, struct amqp_val **out)
{
    struct reading rd = {.left = node_max};
    struct amqp_reader after = *r;
    struct amqp_item it;
    int err = amqp_read(&after, &it);

    if (err < 0)
        return err;
    err = make_value(&rd, &it, out);
    if (err < 0)
        return err == ERR_AGAIN ? ERR_DECODE : err; // the value is here, what is inside it is cut
    *r = after;
    return 0;
}
