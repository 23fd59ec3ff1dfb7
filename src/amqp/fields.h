// SPDX-License-Identifier: Apache-2.0
// The fields of a performative, one after the other in the order of the specification. Internal to
// amqp.
#pragma once

#include "amqp/performative.h"
#include "base/err.h"

// What is left of a list of fields. A field behind the end of the list is null. The first failure
// stays in `err`, and all later fields are null.
struct fields {
    struct amqp_reader r;
    uint32_t left;
    int err;
};

// Opens the list in a described value and steps `r` over it all.
int fields_open(struct amqp_reader *r, uint64_t *code, struct fields *out);
// Opens a frame body that must be the given performative.
int fields_open_body(struct amqp_reader *r, enum amqp_performative want, struct fields *out);
// A body without payload: the list must have been all of it. Fields that we do not know are only
// checked to be values.
int fields_close(const struct amqp_reader *r, struct fields *f);

void fields_refuse(struct fields *f, int err); // unless `err` is 0
void fields_must(struct fields *f, bool is_there);

// Each takes the next field and returns whether it was there; *out is written only then.
bool fields_next(struct fields *f, struct amqp_item *it);
bool fields_next_of(struct fields *f, enum amqp_type type, struct amqp_item *it);
bool fields_uint(struct fields *f, uint32_t *out);
bool fields_ushort(struct fields *f, uint16_t *out);
bool fields_ubyte(struct fields *f, uint8_t *out);
bool fields_ulong(struct fields *f, uint64_t *out);
bool fields_bool(struct fields *f, bool *out);
// The content of a binary, string or symbol.
bool fields_bytes(struct fields *f, enum amqp_type type, struct str *out);
// A value kept as encoded. It may be given to others, so it must be well formed to its last octet.
void fields_encoded(struct fields *f, enum amqp_type type, struct str *out);
// A field of type symbol, multiple="true".
void fields_symbols(struct fields *f, struct str *out);
void fields_error(struct fields *f, struct amqp_error *out);
void fields_state(struct fields *f, struct amqp_outcome *out);
