// SPDX-License-Identifier: Apache-2.0
// AMQP values as trees, for the places where ease counts more than speed: management, routing
// control messages, connection properties. Part of the door amqp/amqp.h.
//
// A tree has one owner: amqp_val_free() on the root frees all. Functions that add a child take it.
#pragma once

#include "amqp/codec.h"

struct amqp_val {
    enum amqp_type type;
    uint32_t count; // LIST, ARRAY: items; MAP: keys plus values, alternating; DESCRIBED: 2
    union {
        bool b;
        uint64_t u;
        int64_t i;
        double f;
        struct str s;            // UUID, BINARY, STRING, SYMBOL, DECIMAL*; owned, NUL-terminated
        struct amqp_val **items; // LIST, MAP, ARRAY, DESCRIBED (descriptor, value)
    };
};

struct amqp_val *amqp_val_null(void);
struct amqp_val *amqp_val_bool(bool v);
struct amqp_val *amqp_val_uint(uint32_t v);
struct amqp_val *amqp_val_ulong(uint64_t v);
struct amqp_val *amqp_val_int(int32_t v);
struct amqp_val *amqp_val_long(int64_t v);
struct amqp_val *amqp_val_double(double v);
struct amqp_val *amqp_val_string(struct str v);
struct amqp_val *amqp_val_symbol(struct str v);
struct amqp_val *amqp_val_list(void);
struct amqp_val *amqp_val_map(void);
struct amqp_val *amqp_val_copy(const struct amqp_val *v);
void amqp_val_free(struct amqp_val *v);

void amqp_val_append(struct amqp_val *list, struct amqp_val *take);
// Sets a string-keyed (or symbol-keyed) entry of a map; an existing entry is replaced.
void amqp_val_set(struct amqp_val *map, const char *key, struct amqp_val *take);
void amqp_val_set_symbol(struct amqp_val *map, const char *key, struct amqp_val *take);

// The value under a string or symbol key; NULL when absent, or when `map` is NULL or no map.
const struct amqp_val *amqp_val_get(const struct amqp_val *map, const char *key);
const struct amqp_val *amqp_val_at(const struct amqp_val *list, uint32_t index);
// STRING, SYMBOL or BINARY content; STR_NONE for anything else and for NULL.
struct str amqp_val_str(const struct amqp_val *v);
// Any integer type, or a decimal string; false otherwise and for NULL.
bool amqp_val_int_of(const struct amqp_val *v, int64_t *out);
// BOOL, or "true"/"false"/"yes"/"no" in any case, or an integer; false when it is none of them.
bool amqp_val_bool_of(const struct amqp_val *v, bool *out);
// Equal type and content (integers by value over all integer types).
bool amqp_val_eq(const struct amqp_val *a, const struct amqp_val *b);

// Decodes exactly one value. Returns 0, ERR_AGAIN, ERR_DECODE or ERR_LIMIT (depth, or more than
// `node_max` values in all).
int amqp_val_read(struct amqp_reader *r, uint32_t node_max, struct amqp_val **out);
// Writes lists and maps in the 32-bit form when `wide` (as the reference's control messages are).
void amqp_val_write(struct amqp_writer *w, const struct amqp_val *v, bool wide);
// A one-line text for people: {"a": 1, :sym: [..]}; the caller frees it.
char *amqp_val_text(const struct amqp_val *v);
