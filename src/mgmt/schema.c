// SPDX-License-Identifier: Apache-2.0
#include <jansson.h>
#include <stdlib.h>

#include "base/mem.h"
#include "mgmt/call.h"
#include "mgmt/words.h"

// Requests about the types themselves and about the router as a whole: the operations GET-….

// ------------------------------------------------------------------------------ one list for a
// type

static uint32_t put_attributes(struct amqp_writer *w, const struct mgmt_type *t)
{
    uint32_t count = 0;

    for (; t->attrs[count].name; count++)
        amqp_put_string(w, str_of(t->attrs[count].name));
    return count;
}

static uint32_t put_operations(struct amqp_writer *w, const struct mgmt_type *t)
{
    uint32_t count = 0;

    for (int i = 0; i < 4; i++) {
        if (!(t->ops & 1u << i))
            continue;
        amqp_put_string(w, str_of(call_op_names[i]));
        count++;
    }
    return count;
}

static uint32_t put_base(struct amqp_writer *w, const struct mgmt_type *t)
{
    amqp_put_string(w, t->in_config ? STR("io.skupper.router.configurationEntity")
                                    : STR("io.skupper.router.operationalEntity"));
    amqp_put_string(w, STR("io.skupper.router.entity"));
    return 2;
}

static uint32_t put_nothing(struct amqp_writer *w, const struct mgmt_type *t)
{
    (void)w;
    (void)t;
    return 0;
}

// The map from type to list, for the type asked for or for all.
static void get_lists(struct call *c,
                      uint32_t (*put)(struct amqp_writer *, const struct mgmt_type *))
{
    const struct mgmt_type *only = mgmt_find_type(c->entity_type);
    struct amqp_mark map;
    uint32_t count = 0;

    if (c->entity_type.len > 0 && !only) {
        call_answer(c, 400, "entityType names no type; without it all are listed");
        return;
    }
    map = amqp_begin_map(&c->out, true);
    for (int i = 0; mgmt_types[i]; i++) {
        struct amqp_mark list;
        char *full;

        if (only && mgmt_types[i] != only)
            continue;
        full = str_fmt("io.skupper.router.%s", mgmt_types[i]->name);
        amqp_put_string(&c->out, str_of(full));
        free(full);
        list = amqp_begin_list(&c->out, true);
        amqp_end(&c->out, list, put(&c->out, mgmt_types[i]));
        count += 2;
    }
    amqp_end(&c->out, map, count);
    call_answer(c, 200, "OK");
}

static void get_attributes(struct call *c)
{
    get_lists(c, put_attributes);
}

static void get_operations(struct call *c)
{
    get_lists(c, put_operations);
}

static void get_types(struct call *c)
{
    get_lists(c, put_base);
}

static void get_annotations(struct call *c)
{
    get_lists(c, put_nothing);
}

// ------------------------------------------------------------------------------------------ schema

static json_t *value_type(const struct mgmt_attr *a)
{
    static const char *const names[] = {
        [MGMT_STRING] = "string", [MGMT_INT] = "integer", [MGMT_BOOL] = "boolean",
        [MGMT_MAP] = "map",       [MGMT_LIST] = "list",
    };
    json_t *words;

    if (a->type != MGMT_ENUM)
        return json_string(names[a->type]);
    words = json_array();
    for (int i = 0; a->values[i]; i++)
        json_array_append_new(words, json_string(a->values[i]));
    return words;
}

static json_t *attribute(const struct mgmt_attr *a)
{
    json_t *j = json_object();

    json_object_set_new(j, "type", value_type(a));
    if (a->initial && a->type == MGMT_INT)
        json_object_set_new(j, "default", json_integer(strtoll(a->initial, NULL, 10)));
    else if (a->initial && a->type == MGMT_BOOL)
        json_object_set_new(j, "default", json_boolean(strcmp(a->initial, "true") == 0));
    else if (a->initial)
        json_object_set_new(j, "default", json_string(a->initial));
    json_object_set_new(j, "create", json_boolean(a->flags & MGMT_CREATE));
    json_object_set_new(j, "update", json_boolean(a->flags & MGMT_UPDATE));
    json_object_set_new(j, "required", json_boolean(a->flags & MGMT_REQUIRED));
    return j;
}

static json_t *entity_type(const struct mgmt_type *t)
{
    json_t *j = json_object(), *attrs = json_object(), *ops = json_array();

    for (int i = 0; t->attrs[i].name; i++)
        json_object_set_new(attrs, t->attrs[i].name, attribute(&t->attrs[i]));
    for (int i = 0; i < 4; i++) {
        if (t->ops & 1u << i)
            json_array_append_new(ops, json_string(call_op_names[i]));
    }
    json_object_set_new(j, "attributes", attrs);
    json_object_set_new(j, "operations", ops);
    json_object_set_new(j, "singleton", json_boolean(t->is_single));
    return j;
}

static json_t *schema(void)
{
    json_t *root = json_object(), *types = json_object();

    for (int i = 0; mgmt_types[i]; i++)
        json_object_set_new(types, mgmt_types[i]->name, entity_type(mgmt_types[i]));
    json_object_set_new(root, "prefix", json_string("io.skupper.router"));
    json_object_set_new(root, "entityTypes", types);
    return root;
}

static void put_json(struct amqp_writer *w, const json_t *j)
{
    struct amqp_mark mark;

    switch (json_typeof(j)) {
    case JSON_OBJECT:
        mark = amqp_begin_map(w, true);
        for (void *at = json_object_iter((json_t *)(uintptr_t)j); at;
             at = json_object_iter_next((json_t *)(uintptr_t)j, at)) {
            amqp_put_string(w, str_of(json_object_iter_key(at)));
            put_json(w, json_object_iter_value(at));
        }
        amqp_end(w, mark, (uint32_t)json_object_size(j) * 2);
        return;
    case JSON_ARRAY:
        mark = amqp_begin_list(w, true);
        for (size_t i = 0; i < json_array_size(j); i++)
            put_json(w, json_array_get(j, i));
        amqp_end(w, mark, (uint32_t)json_array_size(j));
        return;
    case JSON_STRING:
        amqp_put_string(w, str_of(json_string_value(j)));
        return;
    case JSON_INTEGER:
        amqp_put_long(w, json_integer_value(j));
        return;
    case JSON_TRUE:
    case JSON_FALSE:
        amqp_put_bool(w, json_is_true(j));
        return;
    case JSON_REAL:
    case JSON_NULL:
        amqp_put_null(w);
        return;
    }
}

static void get_schema(struct call *c)
{
    json_t *root = schema();

    put_json(&c->out, root);
    json_decref(root);
    call_answer(c, 200, "OK");
}

static void get_json_schema(struct call *c)
{
    json_t *root = schema();
    char *text = json_dumps(root, JSON_COMPACT);

    amqp_put_string(&c->out, str_of(text));
    free(text);
    json_decref(root);
    call_answer(c, 200, "OK");
}

// -------------------------------------------------------------------------------- the whole router

// Lines of the log hold what peers say, and may be cut anywhere.
static void clean(const struct amqp_val *v)
{
    if (v->type == AMQP_STRING)
        utf8_clean((char *)(uintptr_t)v->s.ptr);
    for (uint32_t i = 0; v->type == AMQP_LIST && i < v->count; i++)
        clean(v->items[i]);
}

static void put_taken(struct call *c, struct amqp_val *take)
{
    struct amqp_val *list = take ? take : amqp_val_list();

    clean(list);
    amqp_val_write(&c->out, list, true);
    amqp_val_free(list);
    call_answer(c, 200, "OK");
}

static void get_nodes(struct call *c)
{
    const struct mgmt_agent *a = c->agent;

    put_taken(c, a->nodes ? a->nodes(a->nodes_user) : NULL);
}

static void get_log(struct call *c)
{
    enum { LINES = 100, LINES_MAX = 10000 };
    const struct mgmt_agent *a = c->agent;
    int64_t limit;

    if (!call_number(c, "limit", LINES, &limit))
        return;
    limit = limit < LINES_MAX ? limit : LINES_MAX;
    put_taken(c, a->log ? a->log(a->log_user, (uint32_t)limit) : NULL);
}

bool call_introspect(struct call *c)
{
    static const struct {
        const char *operation;
        void (*answer)(struct call *);
    } operations[] = {
        {"GET-TYPES", get_types},           {"GET-ANNOTATIONS", get_annotations},
        {"GET-OPERATIONS", get_operations}, {"GET-ATTRIBUTES", get_attributes},
        {"GET-MGMT-NODES", get_nodes},      {"GET-LOG", get_log},
        {"GET-SCHEMA", get_schema},         {"GET-JSON-SCHEMA", get_json_schema},
    };

    for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++) {
        if (str_is_nocase(c->operation, operations[i].operation)) {
            operations[i].answer(c);
            return true;
        }
    }
    return false;
}
