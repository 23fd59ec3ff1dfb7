// SPDX-License-Identifier: Apache-2.0
// For tests: an agent before a small store of listeners, profiles and one router, requests written
// as JSON, answers read as text.
#pragma once

#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "check.h"
#include "mgmt/config_int.h"

enum { STORE_MAX = 8, STORE_TYPES = 4 };

struct store {
    struct mgmt_agent *agent;
    struct mgmt_provider providers[STORE_TYPES];
    struct shelf {
        const struct mgmt_type *type;
        struct mgmt_entity *entities[STORE_MAX];
        int count;
        int told, updates; // calls
        int fail;          // an enum err for the next change
    } shelves[STORE_TYPES];
};

// ------------------------------------------------------------------------------------------ store

static inline bool store_tell(struct shelf *s, int i, mgmt_emit *emit, void *to)
{
    const struct mgmt_entity *e = s->entities[i];
    const struct amqp_val *values[MGMT_ATTRS_MAX] = {NULL};
    char *identity = mgmt_entity_identity(e);
    struct amqp_val *id = amqp_val_string(str_of(identity));
    bool more;

    for (int k = 0; e->type->attrs[k].name; k++)
        values[k] = e->values[k];
    values[0] = values[0] ? values[0] : id;
    values[1] = id;
    more = emit(to, values);
    s->told++;
    amqp_val_free(id);
    free(identity);
    return more;
}

static inline void store_each(void *user, mgmt_emit *emit, void *to)
{
    struct shelf *s = user;

    for (int i = 0; i < s->count && store_tell(s, i, emit, to); i++)
        ;
}

static inline int store_find(const struct shelf *s, struct str wanted)
{
    for (int i = 0; i < s->count; i++) {
        char *identity = mgmt_entity_identity(s->entities[i]);
        bool is_it = str_is(wanted, identity);

        free(identity);
        if (is_it)
            return i;
    }
    return -1;
}

static inline void store_one(void *user, struct str id, mgmt_emit *emit, void *to)
{
    struct shelf *s = user;
    int at = store_find(s, id);

    for (int i = 0; i < s->count && at < 0; i++)
        if (str_eq(mgmt_entity_str(s->entities[i], "name"), id))
            at = i;
    if (at >= 0)
        store_tell(s, at, emit, to);
}

static inline int store_fail(struct shelf *s, struct why *why)
{
    int err = s->fail;

    s->fail = 0;
    if (err < 0)
        why_set(why, "the store says no");
    return err;
}

static inline int store_create(void *user, const struct mgmt_entity *e, struct why *why)
{
    struct shelf *s = user;

    if (s->fail < 0)
        return store_fail(s, why);
    CHECK(s->count < STORE_MAX);
    s->entities[s->count++] = mgmt_entity_copy(e);
    return 0;
}

static inline int store_update(void *user, struct str identity, const struct amqp_val *changes,
                               struct why *why)
{
    struct shelf *s = user;
    int at = store_find(s, identity);

    CHECK(at >= 0);
    s->updates++;
    for (uint32_t i = 0; i + 1 < changes->count; i += 2)
        CHECK_EQ(mgmt_entity_set(s->entities[at], changes->items[i]->s.ptr, changes->items[i + 1],
                                 MGMT_UPDATE, why),
                 0);
    return store_fail(s, why);
}

static inline int store_remove(void *user, struct str identity, struct why *why)
{
    struct shelf *s = user;
    int at = store_find(s, identity);

    CHECK(at >= 0);
    if (s->fail < 0)
        return store_fail(s, why);
    mgmt_entity_free(s->entities[at]);
    s->entities[at] = s->entities[--s->count];
    return 0;
}

static inline struct store *store_new(const char *config)
{
    static const char *const types[STORE_TYPES] = {"router", "listener", "sslProfile",
                                                   "tcpListener"};
    struct store *s = xcalloc(1, sizeof(*s));
    struct mgmt_config *c = NULL;
    struct why why = {""};

    s->agent = mgmt_agent_new();
    for (int i = 0; i < STORE_TYPES; i++) {
        s->shelves[i].type = mgmt_find_type(str_of(types[i]));
        s->providers[i] = (struct mgmt_provider){
            .type = s->shelves[i].type,
            .user = &s->shelves[i],
            .each = store_each,
            .one = strcmp(types[i], "listener") == 0 ? store_one : NULL,
            .create = store_create,
            .update = store_update,
            .remove = store_remove,
        };
        mgmt_agent_add(s->agent, &s->providers[i]);
    }
    if (mgmt_config_parse("store", str_of(config), NULL, &c, &why) < 0)
        fail_msg("%s", why.text);
    for (size_t i = 0; i < c->count; i++) {
        for (int k = 0; k < STORE_TYPES; k++) {
            if (s->shelves[k].type == c->entities[i]->type)
                CHECK_EQ(store_create(&s->shelves[k], c->entities[i], &why), 0);
        }
    }
    mgmt_config_free(c);
    return s;
}

static inline struct shelf *store_shelf(struct store *s, const char *type)
{
    for (int i = 0; i < STORE_TYPES; i++) {
        if (strcmp(s->shelves[i].type->name, type) == 0)
            return &s->shelves[i];
    }
    fail_msg("no shelf for %s", type);
    return NULL;
}

static inline void store_free(struct store *s)
{
    for (int i = 0; i < STORE_TYPES; i++) {
        for (int k = 0; k < s->shelves[i].count; k++)
            mgmt_entity_free(s->shelves[i].entities[k]);
    }
    mgmt_agent_free(s->agent);
    free(s);
}

// ---------------------------------------------------------------------------------------- requests

static inline struct amqp_val *value_of_json(const char *text)
{
    struct why why = {""};
    struct config_reader r = {.why = &why};
    json_error_t error;
    json_t *j = json_loads(text, JSON_DECODE_ANY, &error);
    struct amqp_val *v;

    if (!j)
        fail_msg("%s in %s", error.text, text);
    v = config_value(&r, j, 0);
    json_decref(j);
    CHECK(v != NULL);
    return v;
}

// A whole request message, to be freed as a writer. `properties` and `body` are JSON; without body
// there is no body section.
static inline struct amqp_writer request_of(const char *properties, const char *body)
{
    struct amqp_val *p = value_of_json(properties), *b = body ? value_of_json(body) : NULL;
    struct amqp_writer w;
    struct amqp_mark list;

    amqp_writer_init(&w);
    amqp_put_descriptor(&w, AMQP_SECTION_PROPERTIES);
    list = amqp_begin_list(&w, false);
    for (int i = 0; i < 4; i++)
        amqp_put_null(&w);
    amqp_put_string(&w, STR("back"));
    amqp_put_ulong(&w, 7);
    amqp_end(&w, list, 6);
    amqp_put_descriptor(&w, AMQP_SECTION_APPLICATION_PROPERTIES);
    amqp_val_write(&w, p, false);
    if (b) {
        amqp_put_descriptor(&w, AMQP_SECTION_VALUE);
        amqp_val_write(&w, b, false);
    }
    amqp_val_free(p);
    amqp_val_free(b);
    return w;
}

// An answer taken apart; `body` is a text for people.
struct answer {
    int64_t status;
    char *words, *body;
};

static inline void answer_fini(struct answer *a)
{
    free(a->words);
    free(a->body);
}

static inline struct answer read_answer(struct str message)
{
    struct answer a = {0};
    struct amqp_msg msg;
    struct amqp_reader at;
    struct amqp_val *properties, *section;

    CHECK_EQ(amqp_msg_scan(message, true, AMQP_SCAN_BODY, &msg), 0);
    CHECK_STR(msg.to, "back");
    CHECK(msg.reply_to.ptr == NULL);
    CHECK_EQ(msg.correlation_id.len, 2);
    CHECK_EQ(msg.correlation_id.ptr[1], 7);
    at = amqp_reader_of(msg.app_properties);
    CHECK_EQ(amqp_val_read(&at, 100, &properties), 0);
    CHECK_EQ(properties->count, 4);
    CHECK(amqp_val_get(properties, "statusCode")->type == AMQP_INT);
    CHECK(amqp_val_int_of(amqp_val_get(properties, "statusCode"), &a.status));
    a.words = str_dup(amqp_val_str(amqp_val_get(properties, "statusDescription")));
    amqp_val_free(properties);

    at = amqp_reader_of(str_skip(message, msg.body_at));
    CHECK_EQ(amqp_val_read(&at, 1000000, &section), 0);
    CHECK(amqp_reader_done(&at));
    CHECK(section->type == AMQP_DESCRIBED && section->items[0]->u == AMQP_SECTION_VALUE);
    a.body = amqp_val_text(section->items[1]);
    amqp_val_free(section);
    return a;
}

static inline struct answer ask(struct store *s, const char *properties, const char *body)
{
    struct amqp_writer request = request_of(properties, body), response;
    char *reply_to = NULL;
    struct answer a;

    amqp_writer_init(&response);
    CHECK(mgmt_agent_handle(s->agent, amqp_written(&request), &reply_to, &response));
    CHECK_STR(str_of(reply_to), "back");
    a = read_answer(amqp_written(&response));
    free(reply_to);
    amqp_writer_fini(&request);
    amqp_writer_fini(&response);
    return a;
}

// A request and what must come back; `want_body` NULL: not looked at.
struct ask_row {
    const char *properties, *body;
    int status;
    const char *words, *want_body;
};

static inline void check_ask(struct store *s, const struct ask_row *row)
{
    struct answer a = ask(s, row->properties, row->body);

    if (a.status != row->status || strcmp(a.words, row->words) != 0 ||
        (row->want_body && strcmp(a.body, row->want_body) != 0))
        fail_msg("%s %s\ngives %d %s\n%s\n  not %d %s\n%s", row->properties,
                 row->body ? row->body : "", (int)a.status, a.words, a.body, row->status,
                 row->words, row->want_body ? row->want_body : "(any)");
    answer_fini(&a);
}

// All of the rows, of one store with what is in `config`, which is a text of the test's.
#define CHECK_ROWS(rows) check_rows(config, rows, sizeof(rows) / sizeof((rows)[0]))
static inline void check_rows(const char *config, const struct ask_row *rows, size_t count)
{
    struct store *s = store_new(config);

    for (size_t i = 0; i < count; i++)
        check_ask(s, &rows[i]);
    store_free(s);
}
