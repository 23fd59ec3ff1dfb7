// SPDX-License-Identifier: Apache-2.0
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "mgmt/mgmt.h"

// The management protocol: one request message in, one response message out. Rows go from the
// providers straight into the response, so its cost follows its size.

enum { PROVIDERS_MAX = 64, REQUEST_MAX = 1024 * 1024, NODES_MAX = 100000, COLUMNS_MAX = 64 };

struct mgmt_agent {
    const struct mgmt_provider *providers[PROVIDERS_MAX];
    int provider_count;
    struct mgmt_sources sources;
};

// A request taken apart, and its answer.
struct call {
    struct mgmt_agent *agent;
    struct amqp_val *properties, *body;
    struct str operation, type, entity_type, name, identity;
    int status;
    char words[WHY_MAX];
    struct amqp_writer out; // the encoded body of the answer
};

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
    if (a->provider_count < PROVIDERS_MAX)
        a->providers[a->provider_count++] = p;
}

void mgmt_agent_set_sources(struct mgmt_agent *a, const struct mgmt_sources *s)
{
    a->sources = *s;
}

static const struct mgmt_provider *provider_of(const struct mgmt_agent *a,
                                               const struct mgmt_type *t)
{
    for (int i = 0; i < a->provider_count; i++)
        if (a->providers[i]->type == t)
            return a->providers[i];
    return NULL;
}

static void answer(struct call *c, int status, const char *words)
{
    c->status = status;
    snprintf(c->words, sizeof(c->words), "%s", words);
}

static int status_of(int err)
{
    if (err == ERR_NOT_FOUND)
        return 404;
    if (err == ERR_UNSUPPORTED)
        return 403;
    return err == ERR_IO ? 500 : 400;
}

static void refuse(struct call *c, int err, const struct why *why)
{
    answer(c, status_of(err), why->text[0] ? why->text : err_text(err));
}

// ------------------------------------------------------------------------------------------ QUERY

struct query {
    struct call *call;
    const struct mgmt_type *type;
    int columns[COLUMNS_MAX]; // places in the type's attributes; -1: it has no such
    int column_count;
    int64_t skip, left;
    uint32_t rows;
};

static int place(const struct mgmt_type *t, struct str attr)
{
    for (int i = 0; t->attrs[i].name; i++)
        if (str_is(attr, t->attrs[i].name))
            return i;
    return -1;
}

static void put_value(struct amqp_writer *w, const struct amqp_val *v)
{
    if (v)
        amqp_val_write(w, v, true);
    else
        amqp_put_null(w);
}

static bool put_row(void *to, const struct amqp_val *const *values)
{
    struct query *q = to;
    struct amqp_mark mark;
    int count = q->column_count;

    if (q->skip-- > 0)
        return true;
    if (q->left == 0)
        return false;
    q->left--;
    // Nulls at the end need not be written.
    while (count > 0 && (q->columns[count - 1] < 0 || !values[q->columns[count - 1]]))
        count--;
    mark = amqp_begin_list(&q->call->out, true);
    for (int i = 0; i < count; i++)
        put_value(&q->call->out, q->columns[i] < 0 ? NULL : values[q->columns[i]]);
    amqp_end(&q->call->out, mark, (uint32_t)count);
    q->rows++;
    return true;
}

static int64_t number(const struct amqp_val *properties, const char *key, int64_t fallback)
{
    int64_t n;

    return amqp_val_int_of(amqp_val_get(properties, key), &n) && n >= 0 ? n : fallback;
}

// The asked columns, or all of the type. Without a type only what every entity has.
static void put_columns(struct query *q, const struct amqp_val *names)
{
    struct amqp_writer *w = &q->call->out;
    struct amqp_mark mark = amqp_begin_list(w, true);
    bool all = !names || names->type != AMQP_LIST || names->count == 0;
    int count = all ? COLUMNS_MAX : (int)names->count;

    for (int i = 0; i < count && q->column_count < COLUMNS_MAX; i++) {
        struct str name = all ? str_of(q->type->attrs[i].name) : amqp_val_str(names->items[i]);

        if (all && name.len == 0)
            break;
        q->columns[q->column_count++] = place(q->type, name);
        amqp_put_string(w, name);
    }
    amqp_end(w, mark, (uint32_t)q->column_count);
}

static void query_one(struct query *q, const struct mgmt_type *t)
{
    const struct mgmt_provider *p = provider_of(q->call->agent, t);

    if (!p)
        return;
    for (int i = 0; i < q->column_count && q->type != t; i++) {
        static const char *const common[] = {"name", "identity", "type"};

        q->columns[i] = i < 3 ? place(t, str_of(common[i])) : -1;
    }
    p->each(p->user, put_row, q);
}

static const struct mgmt_type any_type = {
    .name = "entity",
    .attrs =
        (const struct mgmt_attr[]){
            {.name = "name"}, {.name = "identity"}, {.name = "type"}, {.name = NULL}},
};

static void query(struct call *c)
{
    const struct mgmt_type *t = c->entity_type.len > 0 ? mgmt_find_type(c->entity_type) : &any_type;
    struct query q = {.call = c, .type = t};
    struct amqp_mark map, rows;

    if (!t) {
        answer(c, 400, "entityType names no type; GET-TYPES lists them");
        return;
    }
    q.skip = number(c->properties, "offset", 0);
    q.left = number(c->properties, "count", -1);
    map = amqp_begin_map(&c->out, true);
    amqp_put_string(&c->out, STR("attributeNames"));
    put_columns(&q, t == &any_type ? NULL : amqp_val_get(c->body, "attributeNames"));
    amqp_put_string(&c->out, STR("results"));
    rows = amqp_begin_list(&c->out, true);
    for (int i = 0; mgmt_types[i]; i++)
        if (t == &any_type || mgmt_types[i] == t)
            query_one(&q, mgmt_types[i]);
    amqp_end(&c->out, rows, q.rows);
    amqp_end(&c->out, map, 4);
    answer(c, 200, "OK");
}

// -------------------------------------------------------------------------------- one entity

struct search {
    struct call *call;
    const struct mgmt_type *type;
    struct str id;
    bool is_found;
    char *identity;
};

static void put_entity(struct amqp_writer *w, const struct mgmt_type *t,
                       const struct amqp_val *const *values)
{
    struct amqp_mark map = amqp_begin_map(w, true);
    uint32_t count = 0;

    for (int i = 0; t->attrs[i].name; i++) {
        if (!values[i])
            continue;
        amqp_put_string(w, str_of(t->attrs[i].name));
        put_value(w, values[i]);
        count += 2;
    }
    amqp_end(w, map, count);
}

static bool match(void *to, const struct amqp_val *const *values)
{
    struct search *s = to;
    int name = place(s->type, STR("name")), identity = place(s->type, STR("identity"));

    if (!str_eq(amqp_val_str(values[name]), s->id) &&
        !str_eq(amqp_val_str(values[identity]), s->id))
        return true;
    s->is_found = true;
    s->identity = str_dup(amqp_val_str(values[identity]));
    s->call->out.len = 0;
    put_entity(&s->call->out, s->type, values);
    return false;
}

static bool first_of(void *to, const struct amqp_val *const *values)
{
    struct search *s = to;

    s->id = amqp_val_str(values[place(s->type, STR("identity"))]);
    match(to, values);
    s->id = STR_NONE;
    return false;
}

// Finds the entity that name or identity asks for and writes it as the body. The one entity of a
// single type needs neither.
static bool look_up(struct call *c, const struct mgmt_provider *p, struct search *s)
{
    *s = (struct search){.call = c, .type = p->type};
    s->id = c->identity.len > 0 ? c->identity : c->name;
    if (s->id.len == 0 && !p->type->is_single) {
        answer(c, 400, "name or identity is needed");
        return false;
    }
    p->each(p->user, s->id.len > 0 ? match : first_of, s);
    if (!s->is_found) {
        struct why why;

        why_set(&why, "there is no %s '%.*s'; QUERY lists those there are", p->type->name,
                STR_ARG(s->id));
        answer(c, 404, why.text);
    }
    return s->is_found;
}

static void read_entity(struct call *c, const struct mgmt_provider *p)
{
    struct search s;

    if (look_up(c, p, &s))
        answer(c, 200, "OK");
    free(s.identity);
}

static void create_entity(struct call *c, const struct mgmt_provider *p)
{
    struct mgmt_entity *e = mgmt_entity_new(p->type);
    struct why why = {""};
    int err = 0;

    if (c->name.len > 0) {
        struct amqp_val *name = amqp_val_string(c->name);

        mgmt_entity_set(e, "name", name, MGMT_CREATE, NULL);
        amqp_val_free(name);
    }
    for (uint32_t i = 0; err == 0 && c->body && c->body->type == AMQP_MAP && i + 1 < c->body->count;
         i += 2) {
        char *attr = str_dup(amqp_val_str(c->body->items[i]));

        err = mgmt_entity_set(e, attr, c->body->items[i + 1], MGMT_CREATE, &why);
        if (err == ERR_NOT_FOUND)
            err = ERR_INVALID; // of an attribute; the entity itself is not "not found"
        free(attr);
    }
    if (err == 0)
        err = mgmt_entity_check(e, &why);
    if (err == 0)
        err = p->create(p->user, e, &why);
    if (err < 0) {
        refuse(c, err, &why);
    } else {
        char *identity = mgmt_entity_identity(e);
        struct search s;

        c->identity = str_of(identity);
        if (look_up(c, p, &s))
            answer(c, 201, "Created");
        else
            answer(c, 500, "created, but it cannot be read back");
        free(s.identity);
        free(identity);
    }
    mgmt_entity_free(e);
}

static void update_entity(struct call *c, const struct mgmt_provider *p)
{
    struct why why = {""};
    struct search s, again;
    int err;

    if (!look_up(c, p, &s))
        return;
    if (!c->body || c->body->type != AMQP_MAP) {
        answer(c, 400, "the body must be a map of attributes");
        free(s.identity);
        return;
    }
    err = p->update(p->user, str_of(s.identity), c->body, &why);
    if (err < 0) {
        c->out.len = 0;
        refuse(c, err, &why);
    } else {
        c->identity = str_of(s.identity);
        if (look_up(c, p, &again))
            answer(c, 200, "OK");
        free(again.identity);
    }
    free(s.identity);
}

static void delete_entity(struct call *c, const struct mgmt_provider *p)
{
    struct why why = {""};
    struct search s;
    int err;

    if (!look_up(c, p, &s))
        return;
    err = p->remove(p->user, str_of(s.identity), &why);
    free(s.identity);
    c->out.len = 0;
    if (err < 0)
        refuse(c, err, &why);
    else
        answer(c, 204, "No content");
}

// --------------------------------------------------------------------------------- GET operations

static const char *const operation_names[] = {"CREATE", "READ", "UPDATE", "DELETE"};

static void put_list(struct call *c, const struct mgmt_type *t, struct str operation)
{
    struct amqp_mark list = amqp_begin_list(&c->out, true);
    uint32_t count = 0;

    if (str_is_nocase(operation, "GET-ATTRIBUTES")) {
        for (; t->attrs[count].name; count++)
            amqp_put_string(&c->out, str_of(t->attrs[count].name));
    } else if (str_is_nocase(operation, "GET-OPERATIONS")) {
        for (int i = 0; i < 4; i++)
            if (t->ops & 1u << i) {
                amqp_put_string(&c->out, str_of(operation_names[i]));
                count++;
            }
    } else if (str_is_nocase(operation, "GET-TYPES")) {
        amqp_put_string(&c->out, STR("io.skupper.router.entity"));
        count = 1;
    }
    amqp_end(&c->out, list, count);
}

static void get_map(struct call *c)
{
    struct amqp_mark map = amqp_begin_map(&c->out, true);
    uint32_t count = 0;

    for (int i = 0; mgmt_types[i]; i++) {
        char *full;

        if (c->entity_type.len > 0 && mgmt_find_type(c->entity_type) != mgmt_types[i])
            continue;
        full = str_fmt("io.skupper.router.%s", mgmt_types[i]->name);
        amqp_put_string(&c->out, str_of(full));
        put_list(c, mgmt_types[i], c->operation);
        free(full);
        count += 2;
    }
    amqp_end(&c->out, map, count);
    answer(c, 200, "OK");
}

static void get_from(struct call *c, struct amqp_val *take)
{
    put_value(&c->out, take);
    amqp_val_free(take);
    answer(c, 200, "OK");
}

static struct amqp_val *schema_of(const struct mgmt_type *t)
{
    static const char *const names[] = {"string", "integer", "boolean", "string", "map", "list"};
    struct amqp_val *attrs = amqp_val_map(), *type = amqp_val_map(), *ops = amqp_val_list();

    for (int i = 0; t->attrs[i].name; i++) {
        const struct mgmt_attr *a = &t->attrs[i];
        struct amqp_val *one = amqp_val_map();

        amqp_val_set(one, "type", amqp_val_string(str_of(names[a->type])));
        if (a->initial)
            amqp_val_set(one, "default", amqp_val_string(str_of(a->initial)));
        amqp_val_set(one, "create", amqp_val_bool(a->flags & MGMT_CREATE));
        amqp_val_set(one, "update", amqp_val_bool(a->flags & MGMT_UPDATE));
        amqp_val_set(one, "required", amqp_val_bool(a->flags & MGMT_REQUIRED));
        amqp_val_set(attrs, a->name, one);
    }
    for (int i = 0; i < 4; i++)
        if (t->ops & 1u << i)
            amqp_val_append(ops, amqp_val_string(str_of(operation_names[i])));
    amqp_val_set(type, "attributes", attrs);
    amqp_val_set(type, "operations", ops);
    return type;
}

static struct amqp_val *schema(void)
{
    struct amqp_val *types = amqp_val_map(), *root = amqp_val_map();

    for (int i = 0; mgmt_types[i]; i++)
        amqp_val_set(types, mgmt_types[i]->name, schema_of(mgmt_types[i]));
    amqp_val_set(root, "prefix", amqp_val_string(STR("io.skupper.router")));
    amqp_val_set(root, "entityTypes", types);
    return root;
}

static void get_json_schema(struct call *c)
{
    struct amqp_val *root = schema();
    char *text = amqp_val_text(root);

    amqp_put_string(&c->out, str_of(text));
    free(text);
    amqp_val_free(root);
    answer(c, 200, "OK");
}

// Operations on the agent itself. False: it knows none of that name.
static bool on_agent(struct call *c)
{
    const struct mgmt_sources *from = &c->agent->sources;

    if (str_is_nocase(c->operation, "QUERY"))
        query(c);
    else if (str_is_nocase(c->operation, "GET-TYPES") ||
             str_is_nocase(c->operation, "GET-ANNOTATIONS") ||
             str_is_nocase(c->operation, "GET-OPERATIONS") ||
             str_is_nocase(c->operation, "GET-ATTRIBUTES"))
        get_map(c);
    else if (str_is_nocase(c->operation, "GET-MGMT-NODES"))
        get_from(c, from->nodes ? from->nodes(from->user) : amqp_val_list());
    else if (str_is_nocase(c->operation, "GET-LOG"))
        get_from(c, from->log ? from->log(from->user, (uint32_t)number(c->properties, "limit", 100))
                              : amqp_val_list());
    else if (str_is_nocase(c->operation, "GET-SCHEMA"))
        get_from(c, schema());
    else if (str_is_nocase(c->operation, "GET-JSON-SCHEMA"))
        get_json_schema(c);
    else
        return false;
    return true;
}

static unsigned operation_bit(struct str operation)
{
    for (int i = 0; i < 4; i++)
        if (str_is_nocase(operation, operation_names[i]))
            return 1u << i;
    return 0;
}

static void on_entity(struct call *c)
{
    const struct mgmt_type *t = mgmt_find_type(c->type);
    const struct mgmt_provider *p = t ? provider_of(c->agent, t) : NULL;
    unsigned op = operation_bit(c->operation);

    if (!t)
        answer(c, 400, "type names no entity type; GET-TYPES lists them");
    else if (op == 0 || !(t->ops & op))
        answer(c, 501, "this operation does not exist for that type; GET-OPERATIONS lists them");
    else if (!p || (op == MGMT_OP_CREATE && !p->create) || (op == MGMT_OP_UPDATE && !p->update) ||
             (op == MGMT_OP_DELETE && !p->remove))
        answer(c, 501, "this router does not serve that type");
    else if (op == MGMT_OP_CREATE)
        create_entity(c, p);
    else if (op == MGMT_OP_READ)
        read_entity(c, p);
    else if (op == MGMT_OP_UPDATE)
        update_entity(c, p);
    else
        delete_entity(c, p);
}

// ---------------------------------------------------------------------------------------- messages

static struct amqp_val *read_value(struct str encoded)
{
    struct amqp_reader at = amqp_reader_of(encoded);
    struct amqp_val *v = NULL;

    if (encoded.len == 0 || amqp_val_read(&at, NODES_MAX, &v) < 0)
        return NULL;
    return v;
}

static struct amqp_val *read_body(struct str request, size_t body_at)
{
    struct amqp_reader at = amqp_reader_of(str_skip(request, body_at));
    struct amqp_item section, value;
    uint64_t code;

    if (amqp_read(&at, &section) < 0 || amqp_open_described(&section, &code, &value) < 0 ||
        code != AMQP_SECTION_VALUE)
        return NULL;
    return read_value(value.whole);
}

static void put_response(struct amqp_writer *w, const struct call *c, struct str reply_to,
                         struct str correlation_id)
{
    struct amqp_mark mark;

    amqp_put_descriptor(w, AMQP_SECTION_HEADER);
    mark = amqp_begin_list(w, true);
    amqp_put_bool(w, false);
    amqp_end(w, mark, 1);
    amqp_put_descriptor(w, AMQP_SECTION_PROPERTIES);
    mark = amqp_begin_list(w, true);
    amqp_put_null(w);
    amqp_put_null(w);
    amqp_put_string(w, reply_to);
    amqp_put_null(w);
    amqp_put_null(w);
    if (correlation_id.len > 0)
        amqp_put_raw(w, correlation_id);
    else
        amqp_put_null(w);
    amqp_end(w, mark, 6);
    amqp_put_descriptor(w, AMQP_SECTION_APPLICATION_PROPERTIES);
    mark = amqp_begin_map(w, true);
    amqp_put_string(w, STR("statusCode"));
    amqp_put_raw(
        w, (struct str){(const char[]){0x71, 0, 0, (char)(c->status >> 8), (char)c->status}, 5});
    amqp_put_string(w, STR("statusDescription"));
    amqp_put_string(w, str_of(c->words));
    amqp_end(w, mark, 4);
    amqp_put_descriptor(w, AMQP_SECTION_VALUE);
    if (c->out.len > 0) {
        amqp_put_raw(w, amqp_written(&c->out));
    } else {
        mark = amqp_begin_map(w, true);
        amqp_end(w, mark, 0);
    }
}

static struct str property(const struct call *c, const char *key)
{
    return amqp_val_str(amqp_val_get(c->properties, key));
}

static void run(struct call *c)
{
    c->operation = property(c, "operation");
    c->type = property(c, "type");
    c->entity_type = property(c, "entityType");
    c->name = property(c, "name");
    c->identity = property(c, "identity");
    if (c->operation.len == 0)
        answer(c, 400, "application property 'operation' is needed");
    else if (!on_agent(c))
        on_entity(c);
}

bool mgmt_agent_handle(struct mgmt_agent *a, struct str request, char **reply_to,
                       struct amqp_writer *response)
{
    struct call c = {.agent = a, .status = 400};
    struct amqp_msg msg;
    int err = amqp_msg_scan(request, true, AMQP_SCAN_BODY, &msg);

    if (err < 0 || msg.reply_to.len == 0)
        return false;
    amqp_writer_init(&c.out);
    c.properties = read_value(msg.app_properties);
    c.body = read_body(request, msg.body_at);
    if (request.len > REQUEST_MAX)
        answer(&c, 400, "the request is larger than 1 MiB");
    else
        run(&c);
    if (c.status >= 300)
        c.out.len = 0;
    put_response(response, &c, msg.reply_to, msg.correlation_id);
    *reply_to = str_dup(msg.reply_to);
    amqp_val_free(c.properties);
    amqp_val_free(c.body);
    amqp_writer_fini(&c.out);
    return true;
}
