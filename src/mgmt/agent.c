// SPDX-License-Identifier: Apache-2.0
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "mgmt/call.h"
#include "mgmt/words.h"

// What a router can be told and asked.
//
// Everything starts with the table in types.c: entity types (listener, router.address, …) with
// their attributes. An entity (entity.c) is one set of values that has been checked against its
// type. It comes into being in two ways that mean the same: from a configuration file (config.c,
// with the two syntaxes in config_json.c and config_native.c), or by a CREATE request.
//
// This file is the protocol: a request message goes in, a response message comes out, and nothing
// else happens. What the router holds stays where it lives, with the providers: `node` knows
// listeners and connectors, `router` knows addresses, links and connections. A provider tells its
// entities one after the other, and each goes from there straight into the bytes of the response
// (query.c for QUERY, crud.c for operations on one entity), so the cost of an answer follows its
// size. What a provider is asked to create or to change has been checked before it sees it. A type
// that nobody provides has no entities and cannot be created. Requests about the table itself
// (GET-TYPES … GET-SCHEMA) are answered in schema.c.
//
// Owners: the agent owns nothing but its list of providers; a call owns the decoded request and
// frees it when the response stands.

struct mgmt_agent *mgmt_agent_new(void)
{
    return xcalloc(1, sizeof(struct mgmt_agent));
}

void mgmt_agent_free(struct mgmt_agent *a)
{
    free(a);
}

void mgmt_agent_add(struct mgmt_agent *a, const struct mgmt_provider *p)
{
    assert(a->provider_count < CALL_PROVIDERS_MAX && p->type && p->each);
    a->providers[a->provider_count++] = p;
}

void mgmt_agent_set_nodes(struct mgmt_agent *a, struct amqp_val *(*nodes)(void *user), void *user)
{
    a->nodes = nodes;
    a->nodes_user = user;
}

void mgmt_agent_set_log(struct mgmt_agent *a, struct amqp_val *(*log)(void *user, uint32_t limit),
                        void *user)
{
    a->log = log;
    a->log_user = user;
}

// ------------------------------------------------------------------------------- for all
// operations

void call_answer(struct call *c, int status, const char *fmt, ...)
{
    va_list args;

    c->status = status;
    va_start(args, fmt);
    vsnprintf(c->words, sizeof(c->words), fmt, args);
    va_end(args);
    utf8_clean(c->words);
}

const struct mgmt_provider *call_provider(const struct call *c, const struct mgmt_type *t)
{
    for (int i = 0; i < c->agent->provider_count; i++) {
        if (c->agent->providers[i]->type == t)
            return c->agent->providers[i];
    }
    return NULL;
}

bool call_number(struct call *c, const char *key, int64_t fallback, int64_t *out)
{
    const struct amqp_val *v = amqp_val_get(c->properties, key);

    if (!v || v->type == AMQP_NULL) {
        *out = fallback;
        return true;
    }
    if (amqp_val_int_of(v, out) && *out >= 0)
        return true;
    call_answer(c, 400, "application property '%s' must be a whole number, 0 or more", key);
    return false;
}

void call_put(struct amqp_writer *w, const struct mgmt_attr *a, const struct amqp_val *v)
{
    if (v && !(a->flags & MGMT_SECRET))
        amqp_val_write(w, v, true);
    else
        amqp_put_null(w);
}

int call_place(const struct mgmt_type *t, struct str attr)
{
    for (int i = 0; t->attrs[i].name; i++) {
        if (str_is(attr, t->attrs[i].name))
            return i;
    }
    return -1;
}

const char *const call_op_names[4] = {"CREATE", "READ", "UPDATE", "DELETE"};

// ---------------------------------------------------------------------------------------- dispatch

static struct str property(const struct call *c, const char *key)
{
    return amqp_val_str(amqp_val_get(c->properties, key));
}

static void run(struct call *c)
{
    static void (*const ops[4])(struct call *) = {call_create, call_read, call_update, call_delete};

    c->operation = property(c, "operation");
    c->type = property(c, "type");
    c->entity_type = property(c, "entityType");
    c->name = property(c, "name");
    c->identity = property(c, "identity");
    if (c->operation.len == 0) {
        call_answer(c, 400, "application property 'operation' is needed, a string such as QUERY");
        return;
    }
    for (int i = 0; i < 4; i++) {
        if (str_is_nocase(c->operation, call_op_names[i])) {
            ops[i](c);
            return;
        }
    }
    if (str_is_nocase(c->operation, "QUERY"))
        call_query(c);
    else if (!call_introspect(c))
        call_answer(c, 501, "there is no operation '%.*s'; GET-OPERATIONS lists those of a type",
                    STR_ARG(shown(c->operation)));
}

// ---------------------------------------------------------------------------------------- messages

static int read_value(struct str encoded, struct amqp_val **out)
{
    struct amqp_reader at = amqp_reader_of(encoded);

    return encoded.len > 0 ? amqp_val_read(&at, CALL_VALUES_MAX, out) : 0;
}

// The value of an amqp-value section; another body counts as none.
static int read_body(struct str body, struct amqp_val **out)
{
    struct amqp_reader at = amqp_reader_of(body);
    struct amqp_item section, value;
    uint64_t code = 0;
    int err;

    if (amqp_reader_done(&at))
        return 0;
    err = amqp_read(&at, &section);
    if (err == 0)
        err = amqp_open_described(&section, &code, &value);
    return err == 0 && code == AMQP_SECTION_VALUE ? read_value(value.whole, out) : err;
}

static void take_apart(struct call *c, struct str request, const struct amqp_msg *msg, int err)
{
    if (request.len > CALL_REQUEST_MAX) {
        call_answer(c, 400, "the request is larger than %d octets", CALL_REQUEST_MAX);
        return;
    }
    if (err == 0)
        err = read_value(msg->app_properties, &c->properties);
    if (err == 0)
        err = read_body(str_skip(request, msg->body_at), &c->body);
    if (err == ERR_LIMIT)
        call_answer(c, 400, "the request has more than %d values, or nests deeper than %d",
                    CALL_VALUES_MAX, AMQP_DEPTH_MAX);
    else if (err < 0)
        call_answer(c, 400, "the request is no well-formed message");
    else
        run(c);
}

static void put_properties(struct amqp_writer *w, struct str reply_to, struct str correlation_id)
{
    struct amqp_mark list;

    amqp_put_descriptor(w, AMQP_SECTION_PROPERTIES);
    list = amqp_begin_list(w, true);
    amqp_put_null(w); // message-id
    amqp_put_null(w); // user-id
    amqp_put_string(w, reply_to);
    amqp_put_null(w); // subject
    amqp_put_null(w); // reply-to
    if (correlation_id.len > 0)
        amqp_put_raw(w, correlation_id);
    else
        amqp_put_null(w);
    amqp_end(w, list, 6);
}

static void put_status(struct amqp_writer *w, const struct call *c)
{
    enum { WIDE_INT = 0x71 };
    struct amqp_mark map;

    amqp_put_descriptor(w, AMQP_SECTION_APPLICATION_PROPERTIES);
    map = amqp_begin_map(w, true);
    amqp_put_string(w, STR("statusCode"));
    amqp_put_4(w, WIDE_INT, (uint32_t)c->status);
    amqp_put_string(w, STR("statusDescription"));
    amqp_put_string(w, str_of(c->words));
    amqp_end(w, map, 4);
}

// Sections, their order and the wide forms are those that existing routers send.
static void put_response(struct amqp_writer *w, const struct call *c, struct str reply_to,
                         struct str correlation_id)
{
    struct amqp_mark mark;

    amqp_put_descriptor(w, AMQP_SECTION_HEADER);
    mark = amqp_begin_list(w, true);
    amqp_put_bool(w, false); // durable
    amqp_end(w, mark, 1);
    put_properties(w, reply_to, correlation_id);
    put_status(w, c);
    amqp_put_descriptor(w, AMQP_SECTION_VALUE);
    if (c->status < 300 && c->out.len > 0) {
        amqp_put_raw(w, amqp_written(&c->out));
    } else {
        mark = amqp_begin_map(w, true);
        amqp_end(w, mark, 0);
    }
}

bool mgmt_agent_handle(struct mgmt_agent *a, struct str request, char **reply_to,
                       struct amqp_writer *response)
{
    struct call c = {.agent = a};
    struct amqp_msg msg;
    int err = amqp_msg_scan(request, true, AMQP_SCAN_BODY, &msg);
    struct str id = msg.correlation_id;

    if (msg.reply_to.len == 0)
        return false;
    if (id.len > 0 && amqp_check(id) < 0) {
        id = STR_NONE;
        err = ERR_DECODE;
    }
    amqp_writer_init(&c.out);
    take_apart(&c, request, &msg, err);
    if (c.out.failed)
        call_answer(&c, 500, "the answer is too large; ask for parts of it by offset and count");
    put_response(response, &c, msg.reply_to, id);
    *reply_to = str_dup(msg.reply_to);
    amqp_val_free(c.properties);
    amqp_val_free(c.body);
    amqp_writer_fini(&c.out);
    return true;
}
