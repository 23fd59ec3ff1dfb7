// SPDX-License-Identifier: Apache-2.0
#include <assert.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "client/inside.h"

// Management: a request is a message to some router's agent with a number of ours as
// correlation-id; the answer comes to an address that the router made for us. The two links for it
// are attached with the first request; until the router has named the address requests wait. A
// QUERY is asked again with a higher offset until a page is not full.

enum { REPLY_CREDIT = 64 };

struct request {
    struct timer timer;
    struct list on_unasked; // waits for the address
    uint64_t id;
    void *user;
    char *router; // NULL: the one connected to
    char *agent;  // NULL: $management
    bool is_edge, is_query, is_of_entity;
    char *operation, *type, *name, *identity;
    struct amqp_writer body;
    uint32_t limit, timeout_ms;
    uint32_t offset;
    json_t *rows; // of a QUERY, so far
};

static struct str key_of(const uint64_t *id)
{
    return (struct str){(const char *)id, sizeof(*id)};
}

static char *copy_of(const char *text)
{
    return text ? xstrdup(text) : NULL;
}

static void request_free(struct client *c, struct request *r)
{
    map_remove(&c->requests, key_of(&r->id));
    heap_cancel(&c->timers, &r->timer);
    list_remove(&r->on_unasked);
    free(r->router);
    free(r->agent);
    free(r->operation);
    free(r->type);
    free(r->name);
    free(r->identity);
    amqp_writer_fini(&r->body);
    json_decref(r->rows);
    free(r);
}

// `take` is the event's.
static void answer(struct client *c, struct request *r, int err, int status, char *take_words,
                   json_t *take)
{
    struct event *e = client_event_add(c, CLIENT_ANSWER, NULL, r->user);

    e->words = take_words;
    e->ev.answer = (struct client_answer){
        .id = r->id, .err = err, .status = status, .words = take_words, .value = take};
    request_free(c, r);
}

// "router 'R'", "edge router 'E'", "the router".
static char *name_router(const struct request *r)
{
    if (!r->router)
        return xstrdup("the router");
    return str_fmt("%srouter '%s'", r->is_edge ? "edge " : "", r->router);
}

static void fail(struct client *c, struct request *r, int err, const char *what)
{
    char *who = name_router(r);

    answer(c, r, err, 0, str_fmt("%s %s", who, what), NULL);
    free(who);
}

void ask_fail_all(struct client *c, int err, const char *words)
{
    size_t at = 0;
    struct str key;
    void *value;

    while (map_next(&c->requests, &at, &key, &value))
        answer(c, value, err, 0, xstrdup(words), NULL);
}

void ask_fini(struct client *c)
{
    size_t at = 0;
    struct str key;
    void *value;

    while (map_next(&c->requests, &at, &key, &value))
        request_free(c, value);
    map_fini(&c->requests);
    heap_fini(&c->timers);
    free(c->reply_to);
    c->reply_to = NULL;
}

void ask_tick(struct client *c)
{
    struct timer *t;

    while ((t = heap_pop_due(&c->timers, c->now)) != NULL) {
        struct request *r = (struct request *)(void *)t;
        char *what = str_fmt("did not answer %s within %u ms", r->operation, r->timeout_ms);

        fail(c, r, ERR_AGAIN, what);
        free(what);
    }
}

// --------------------------------------------------------------------------------------- request

static void put_pair(struct amqp_writer *w, const char *key, const char *value, uint32_t *items)
{
    if (!value)
        return;
    amqp_put_string(w, str_of(key));
    amqp_put_string(w, str_of(value));
    *items += 2;
}

static void put_number(struct amqp_writer *w, const char *key, uint32_t value, uint32_t *items)
{
    amqp_put_string(w, str_of(key));
    amqp_put_int(w, (int32_t)value);
    *items += 2;
}

static void put_application_properties(struct amqp_writer *w, const struct request *r)
{
    struct amqp_mark map;
    uint32_t items = 0;

    amqp_put_descriptor(w, AMQP_SECTION_APPLICATION_PROPERTIES);
    map = amqp_begin_map(w, true);
    put_pair(w, "operation", r->operation, &items);
    put_pair(w, "type", r->is_of_entity ? r->type : "org.amqp.management", &items);
    if (!r->is_of_entity)
        put_pair(w, "entityType", r->type, &items);
    put_pair(w, "name", r->name, &items);
    put_pair(w, "identity", r->identity, &items);
    if (r->limit > 0)
        put_number(w, "limit", r->limit, &items);
    if (r->is_query) {
        put_number(w, "offset", r->offset, &items);
        put_number(w, "count", CLIENT_PAGE_ROWS, &items);
    }
    amqp_end(w, map, items);
}

static char *address_of(const struct request *r)
{
    const char *agent = r->agent ? r->agent : "$management";

    if (r->router)
        return str_fmt("amqp:/%s/%s/%s", r->is_edge ? "_edge" : "_topo/0", r->router, agent);
    return str_fmt("%s%s", r->agent ? "_local/" : "", agent);
}

static void send(struct client *c, struct request *r)
{
    char *to = address_of(r);
    struct client_properties p = {
        .to = str_of(to), .reply_to = str_of(c->reply_to), .correlation_id = r->id};
    struct amqp_writer w;
    int err;

    amqp_writer_init(&w);
    client_put_properties(&w, &p);
    put_application_properties(&w, r);
    amqp_put_descriptor(&w, AMQP_SECTION_VALUE);
    amqp_put_raw(&w, amqp_written(&r->body));
    err = client_send(c->asker, amqp_written(&w), false, r->id);
    amqp_writer_fini(&w);
    free(to);
    if (err < 0)
        fail(c, r, err, "was not asked: too much waits to be sent");
}

void ask_on_open(struct client *c)
{
    if (list_empty(&c->unasked) || c->asker || !client_is_open(c))
        return;
    c->asker = client_link_new(c, NULL, NULL);
    c->asker->is_sender = true;
    c->replies = client_link_new(c, NULL, NULL);
    c->replies->credit = REPLY_CREDIT;
    link_attach(c->asker, false);
    link_attach(c->replies, true);
}

void ask_on_address(struct client *c, struct str address)
{
    struct list *node;

    if (address.len == 0)
        return; // refused: the detach follows
    free(c->reply_to);
    c->reply_to = str_dup(address);
    while ((node = list_pop(&c->unasked)) != NULL)
        send(c, list_entry(node, struct request, on_unasked));
}

void ask_on_dropped(struct client *c, const char *words)
{
    ask_fail_all(c, ERR_CLOSED, words);
    client_link_free(c->asker);
    client_link_free(c->replies);
    c->asker = c->replies = NULL;
    free(c->reply_to);
    c->reply_to = NULL;
}

static char *full_type(const char *type)
{
    if (!type || strncmp(type, "org.amqp.", 9) == 0 || strncmp(type, "io.skupper.", 11) == 0)
        return copy_of(type);
    return str_fmt("io.skupper.router.%s", type);
}

static bool is_of_entity(const char *operation)
{
    static const char *const names[] = {"CREATE", "READ", "UPDATE", "DELETE"};

    for (int i = 0; i < 4; i++)
        if (str_is_nocase(str_of(operation), names[i]))
            return true;
    return false;
}

static void put_body(struct request *r, const json_t *attributes)
{
    struct amqp_val *map = amqp_val_map(), *given;

    if (r->is_query) {
        given = attributes ? client_value(attributes) : amqp_val_list();
        amqp_val_set(map, "attributeNames", given);
    } else if (attributes) {
        amqp_val_free(map);
        map = client_value(attributes);
    }
    amqp_val_write(&r->body, map, true);
    amqp_val_free(map);
}

uint64_t client_ask(struct client *c, const struct client_request *q, struct mono now,
                    struct why *why)
{
    struct request *r;

    if (c->is_closed || c->requests.count >= CLIENT_REQUESTS_MAX) {
        why_set(why,
                c->is_closed ? "the connection to the router has ended"
                             : "%d requests are under way; no more until some are answered",
                CLIENT_REQUESTS_MAX);
        return 0;
    }
    c->now = now;
    r = xcalloc(1, sizeof(*r));
    r->id = c->next_request++;
    r->user = q->user;
    r->router = copy_of(q->router);
    r->agent = copy_of(q->agent);
    r->is_edge = q->is_edge;
    r->operation = xstrdup(q->operation);
    r->is_query = str_is_nocase(str_of(q->operation), "QUERY");
    r->is_of_entity = is_of_entity(q->operation);
    r->type = full_type(q->type);
    r->name = copy_of(q->name);
    r->identity = copy_of(q->identity);
    r->limit = q->limit;
    r->timeout_ms = q->timeout_ms ? q->timeout_ms : CLIENT_REQUEST_MS;
    r->rows = r->is_query ? json_array() : NULL;
    list_init(&r->on_unasked);
    amqp_writer_init(&r->body);
    put_body(r, q->attributes);
    map_put(&c->requests, key_of(&r->id), r);
    heap_set(&c->timers, &r->timer, mono_add_ms(now, r->timeout_ms));

    uint64_t id = r->id;

    if (c->reply_to) {
        send(c, r);
    } else {
        list_append(&c->unasked, &r->on_unasked);
        ask_on_open(c);
    }
    return id;
}

void client_forget(struct client *c, uint64_t id)
{
    struct request *r = map_get(&c->requests, key_of(&id));

    if (r)
        request_free(c, r);
    list_for_each (node, &c->events) {
        struct event *e = list_entry(node, struct event, on_client);

        if (e->ev.type != CLIENT_ANSWER || e->ev.answer.id != id)
            continue;
        list_remove(&e->on_client);
        json_decref(e->ev.answer.value);
        free(e->words);
        free(e);
    }
}

size_t client_request_count(const struct client *c)
{
    return c->requests.count;
}

// ---------------------------------------------------------------------------------------- answer

static int err_of(int status)
{
    switch (status) {
    case 403:
    case 501:
        return ERR_UNSUPPORTED;
    case 404:
        return ERR_NOT_FOUND;
    case 500:
        return ERR_IO;
    default:
        return status >= 200 && status < 300 ? 0 : ERR_INVALID;
    }
}

static struct amqp_val *read_value(struct str encoded, int *err)
{
    struct amqp_reader at = amqp_reader_of(encoded);
    struct amqp_val *v = NULL;

    if (encoded.len > 0)
        *err = amqp_val_read(&at, CLIENT_VALUES_MAX, &v);
    return *err < 0 ? NULL : v;
}

static json_t *row_object(const struct amqp_val *names, const struct amqp_val *row)
{
    json_t *object = json_object();

    for (uint32_t i = 0; i < row->count && i < names->count; i++) {
        struct str name = amqp_val_str(names->items[i]);

        if (name.len > 0 && row->items[i]->type != AMQP_NULL)
            json_object_setn_new(object, name.ptr, name.len, client_json(row->items[i]));
    }
    return object;
}

// Takes the rows of one page; how many, or a negative enum err.
static int take_page(struct request *r, const struct amqp_val *body)
{
    const struct amqp_val *names = amqp_val_get(body, "attributeNames");
    const struct amqp_val *rows = amqp_val_get(body, "results");

    if (!names || names->type != AMQP_LIST || !rows || rows->type != AMQP_LIST)
        return ERR_DECODE;
    if (json_array_size(r->rows) + rows->count > CLIENT_ROWS_MAX)
        return ERR_LIMIT;
    for (uint32_t i = 0; i < rows->count; i++) {
        if (rows->items[i]->type != AMQP_LIST)
            return ERR_DECODE;
        json_array_append_new(r->rows, row_object(names, rows->items[i]));
    }
    return (int)rows->count;
}

static void take_query(struct client *c, struct request *r, const struct amqp_val *body, int status,
                       struct str words)
{
    int count = take_page(r, body);

    if (count < 0) {
        fail(c, r, count,
             count == ERR_LIMIT ? "has more rows than are taken; ask for fewer"
                                : "answered QUERY with something else than rows");
    } else if (count == CLIENT_PAGE_ROWS && c->reply_to) {
        r->offset += CLIENT_PAGE_ROWS;
        heap_set(&c->timers, &r->timer, mono_add_ms(c->now, r->timeout_ms));
        send(c, r);
    } else {
        answer(c, r, 0, status, str_dup(words), json_incref(r->rows));
    }
}

static void take_answer(struct client *c, struct request *r, const struct client_message *m)
{
    int err = 0;
    struct amqp_val *properties = read_value(m->application_properties, &err);
    struct amqp_val *body = read_value(m->value, &err);
    struct str words = amqp_val_str(amqp_val_get(properties, "statusDescription"));
    int64_t status = 0;

    if (err < 0)
        fail(c, r, err, "answered with a message that cannot be read");
    else if (!amqp_val_int_of(amqp_val_get(properties, "statusCode"), &status) || status < 100 ||
             status > 999)
        fail(c, r, ERR_DECODE, "answered without a statusCode");
    else if (err_of((int)status) < 0)
        answer(c, r, err_of((int)status), (int)status, str_dup(words), NULL);
    else if (r->is_query)
        take_query(c, r, body, (int)status, words);
    else
        answer(c, r, 0, (int)status, str_dup(words), client_json(body));
    amqp_val_free(properties);
    amqp_val_free(body);
}

void ask_on_reply(struct client *c, struct str message, bool is_cut)
{
    struct client_message m;
    struct amqp_reader at;
    struct amqp_item id;
    struct request *r;
    int64_t number;
    struct amqp_msg head;

    // Of a message that is cut the properties are there, and name the request.
    if (amqp_msg_scan(message, !is_cut, AMQP_SCAN_PROPERTIES, &head) < 0)
        return;
    at = amqp_reader_of(head.correlation_id);
    if (head.correlation_id.len == 0 || amqp_read(&at, &id) < 0 || !amqp_item_int(&id, &number))
        return;
    r = map_get(&c->requests, key_of(&(uint64_t){(uint64_t)number}));
    if (!r)
        return; // it came too late
    if (is_cut)
        fail(c, r, ERR_LIMIT, "answered with a message that is too large");
    else if (client_read_message(message, &m) < 0)
        fail(c, r, ERR_DECODE, "answered with a message that cannot be read");
    else
        take_answer(c, r, &m);
}

void ask_on_outcome(struct client *c, uint64_t id, enum amqp_outcome_type type)
{
    struct request *r = map_get(&c->requests, key_of(&id));

    if (!r)
        return;
    if (type == AMQP_RELEASED)
        fail(c, r, ERR_CLOSED, "cannot be reached from here");
    else if (type == AMQP_MODIFIED)
        fail(c, r, ERR_CLOSED, "was lost while it was asked; what it did is not known");
    else if (type == AMQP_REJECTED)
        fail(c, r, ERR_INVALID, "rejected the request");
}
