// SPDX-License-Identifier: Apache-2.0
// One management request on its way to its response.
#pragma once

#include "base/why.h"
#include "mgmt/mgmt.h"

enum {
    CALL_PROVIDERS_MAX = 64,
    CALL_REQUEST_MAX = 1024 * 1024, // octets
    CALL_VALUES_MAX = 100000,       // values in the properties or the body
};

struct mgmt_agent {
    const struct mgmt_provider *providers[CALL_PROVIDERS_MAX];
    int provider_count;
    struct amqp_val *(*nodes)(void *user);
    struct amqp_val *(*log)(void *user, uint32_t limit);
    void *nodes_user, *log_user;
};

// The request taken apart, and what is to be answered: a status with words, and in `out` the
// encoded body (an empty map is sent when there is none, and with every failure).
struct call {
    const struct mgmt_agent *agent;
    struct amqp_val *properties, *body;
    struct str operation, type, entity_type, name, identity;
    int status;
    char words[WHY_MAX];
    struct amqp_writer out;
};

void call_answer(struct call *c, int status, const char *fmt, ...) PRINTF_LIKE(3, 4);
// NULL when nobody serves the type.
const struct mgmt_provider *call_provider(const struct call *c, const struct mgmt_type *t);
// A number of 0 or more among the application properties; `fallback` when it is absent. False when
// it is something else; the call is answered then.
bool call_number(struct call *c, const char *key, int64_t fallback, int64_t *out);

// Value or null; nothing secret is ever written.
void call_put(struct amqp_writer *w, const struct mgmt_attr *a, const struct amqp_val *v);
// The place of an attribute, or -1.
int call_place(const struct mgmt_type *t, struct str attr);

// The four operations on entities, by the bits of `ops`.
extern const char *const call_op_names[4];

void call_query(struct call *c);      // query.c
void call_create(struct call *c);     // crud.c
void call_read(struct call *c);       //
void call_update(struct call *c);     //
void call_delete(struct call *c);     //
bool call_introspect(struct call *c); // schema.c; false when the operation is none of them
