// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>

#include "base/map.h"
#include "base/mem.h"
#include "mgmt/call.h"

// QUERY: a table with a row for each entity of one type, or of all types.

enum { COLUMNS_MAX = 1024 };

struct query {
    struct call *call;
    struct str columns[COLUMNS_MAX];
    int column_count;
    // While one type is told:
    const struct mgmt_type *type;
    int places[COLUMNS_MAX]; // of the columns in the attributes of the type; -1: it has no such
    int place_count;         // columns behind these are null for all entities of the type
    int64_t skip, left;
    uint32_t rows;
};

static bool put_row(void *to, const struct amqp_val *const *values)
{
    struct query *q = to;
    struct amqp_writer *w = &q->call->out;
    int count = q->place_count;
    struct amqp_mark row;

    if (q->skip > 0) {
        q->skip--;
        return true;
    }
    if (q->left == 0)
        return false;
    q->left--;
    // Nulls at the end need not be written.
    while (count > 0 && (q->places[count - 1] < 0 || !values[q->places[count - 1]]))
        count--;
    row = amqp_begin_list(w, true);
    for (int i = 0; i < count; i++) {
        if (q->places[i] < 0)
            amqp_put_null(w);
        else
            call_put(w, &q->type->attrs[q->places[i]], values[q->places[i]]);
    }
    amqp_end(w, row, (uint32_t)count);
    q->rows++;
    return q->left > 0 && !w->failed;
}

static void query_type(struct query *q, const struct mgmt_type *t)
{
    const struct mgmt_provider *p = call_provider(q->call, t);

    if (!p || q->left == 0)
        return;
    q->type = t;
    q->place_count = 0;
    for (int i = 0; i < q->column_count; i++) {
        q->places[i] = call_place(t, q->columns[i]);
        if (q->places[i] >= 0)
            q->place_count = i + 1;
    }
    p->each(p->user, put_row, q);
}

static void all_of_type(struct query *q, const struct mgmt_type *t)
{
    for (int i = 0; t->attrs[i].name; i++)
        q->columns[q->column_count++] = str_of(t->attrs[i].name);
}

// Each attribute name once, however many types have it.
static void all_of_all(struct query *q)
{
    struct map seen;

    map_init(&seen);
    for (int t = 0; mgmt_types[t]; t++) {
        const struct mgmt_attr *attrs = mgmt_types[t]->attrs;

        for (int i = 0; attrs[i].name && q->column_count < COLUMNS_MAX; i++) {
            if (!map_put(&seen, str_of(attrs[i].name), q))
                q->columns[q->column_count++] = str_of(attrs[i].name);
        }
    }
    map_fini(&seen);
}

static bool asked_ones(struct query *q, const struct amqp_val *names)
{
    if (names->count > COLUMNS_MAX) {
        call_answer(q->call, 400, "attributeNames has more than %d names", COLUMNS_MAX);
        return false;
    }
    for (uint32_t i = 0; i < names->count; i++) {
        const struct amqp_val *name = names->items[i];

        if (name->type != AMQP_STRING && name->type != AMQP_SYMBOL) {
            call_answer(q->call, 400, "attributeNames must be a list of strings");
            return false;
        }
        q->columns[q->column_count++] = name->s;
    }
    return true;
}

// The columns asked for, or all there are.
static bool choose_columns(struct query *q, const struct mgmt_type *t)
{
    const struct amqp_val *names = amqp_val_get(q->call->body, "attributeNames");

    if (names && names->type != AMQP_LIST && names->type != AMQP_ARRAY &&
        names->type != AMQP_NULL) {
        call_answer(q->call, 400, "attributeNames must be a list of strings");
        return false;
    }
    if (names && names->type != AMQP_NULL && names->count > 0)
        return asked_ones(q, names);
    if (t)
        all_of_type(q, t);
    else
        all_of_all(q);
    return true;
}

static void put_table(struct query *q, const struct mgmt_type *t)
{
    struct amqp_writer *w = &q->call->out;
    struct amqp_mark map = amqp_begin_map(w, true), list;

    amqp_put_string(w, STR("attributeNames"));
    list = amqp_begin_list(w, true);
    for (int i = 0; i < q->column_count; i++)
        amqp_put_string(w, q->columns[i]);
    amqp_end(w, list, (uint32_t)q->column_count);
    amqp_put_string(w, STR("results"));
    list = amqp_begin_list(w, true);
    for (int i = 0; mgmt_types[i]; i++) {
        if (!t || mgmt_types[i] == t)
            query_type(q, mgmt_types[i]);
    }
    amqp_end(w, list, q->rows);
    amqp_end(w, map, 4);
}

void call_query(struct call *c)
{
    const struct mgmt_type *t = mgmt_find_type(c->entity_type);
    struct query *q = xcalloc(1, sizeof(*q));

    q->call = c;
    if (c->entity_type.len > 0 && !t) {
        call_answer(c, 400, "entityType names no type; GET-TYPES lists them");
    } else if (call_number(c, "offset", 0, &q->skip) &&
               call_number(c, "count", INT64_MAX, &q->left) && choose_columns(q, t)) {
        put_table(q, t);
        call_answer(c, 200, "OK");
    }
    free(q);
}
