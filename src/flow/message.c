// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>

#include "base/err.h"
#include "flow/inside.h"

// The messages of the protocol, written and read. Writing takes the forms that existing routers
// take, octet for octet, but for the message-id: theirs is of a type AMQP does not allow there.

enum { VERSION = 1 };

static void put_properties(struct flow *f, struct amqp_writer *w, const char *to,
                           const char *subject)
{
    struct amqp_mark mark;

    amqp_put_descriptor(w, AMQP_SECTION_PROPERTIES);
    mark = amqp_begin_list(w, true);
    amqp_put_ulong(w, f->next_message_id++);
    amqp_put_null(w);
    amqp_put_string(w, str_of(to));
    amqp_put_string(w, str_of(subject));
    amqp_end(w, mark, 4);
    f->stats.messages++;
}

static void put_pair(struct amqp_writer *w, const char *key, const char *value)
{
    amqp_put_symbol(w, str_of(key));
    amqp_put_string(w, str_of(value));
}

static void put_empty_body(struct amqp_writer *w)
{
    amqp_put_descriptor(w, AMQP_SECTION_VALUE);
    amqp_put_null(w);
}

void message_beacon(struct flow *f, enum flow_channel channel, struct amqp_writer *w)
{
    struct amqp_mark mark;

    put_properties(f, w, f->addresses[channel], "BEACON");
    amqp_put_descriptor(w, AMQP_SECTION_APPLICATION_PROPERTIES);
    mark = amqp_begin_map(w, true);
    amqp_put_symbol(w, STR("v"));
    amqp_put_uint(w, VERSION);
    put_pair(w, "sourceType", f->source_type);
    put_pair(w, "id", f->addresses[FLOW_COMMANDS] + strlen("sfe."));
    put_pair(w, "address", f->addresses[FLOW_RECORDS]);
    put_pair(w, "direct", f->addresses[FLOW_COMMANDS]);
    amqp_end(w, mark, 10);
    put_empty_body(w);
}

void message_heartbeat(struct flow *f, struct amqp_writer *w, uint64_t now_us)
{
    struct amqp_mark mark;

    put_properties(f, w, f->addresses[FLOW_RECORDS], "HEARTBEAT");
    amqp_put_descriptor(w, AMQP_SECTION_APPLICATION_PROPERTIES);
    mark = amqp_begin_map(w, true);
    amqp_put_symbol(w, STR("v"));
    amqp_put_uint(w, VERSION);
    amqp_put_symbol(w, STR("now"));
    amqp_put_ulong(w, now_us);
    put_pair(w, "id", f->addresses[FLOW_COMMANDS] + strlen("sfe."));
    amqp_end(w, mark, 6);
    put_empty_body(w);
}

void flow_put_flush(struct amqp_writer *w, struct str direct)
{
    struct amqp_mark mark;

    amqp_put_descriptor(w, AMQP_SECTION_PROPERTIES);
    mark = amqp_begin_list(w, false);
    amqp_put_null(w);
    amqp_put_null(w);
    amqp_put_string(w, direct);
    amqp_put_string(w, STR("FLUSH"));
    amqp_end(w, mark, 4);
    put_empty_body(w);
}

// --------------------------------------------------------------------------------------- records

// Type, identity and what has changed.
static void put_record(struct amqp_writer *w, struct flow_record *rec)
{
    struct amqp_mark mark = amqp_begin_map(w, true);
    uint32_t items = 4;

    amqp_put_uint(w, FLOW_RECORD_TYPE);
    amqp_put_uint(w, rec->type);
    amqp_put_uint(w, FLOW_IDENTITY);
    amqp_put_string(w, str_of(rec->id));
    for (uint8_t i = 0; i < rec->count; i++) {
        struct value *v = &rec->values[i];

        if (!v->is_changed)
            continue;
        v->is_changed = false;
        v->was_sent = true;
        amqp_put_uint(w, v->attr);
        if (attr_is_text(v->attr))
            amqp_put_string(w, str_of(value_text(v)));
        else
            amqp_put_ulong(w, v->number);
        items += 2;
    }
    amqp_end(w, mark, items);
}

// The router that keeps the record is named in front of the colon.
static char *corecord_address(const struct flow_record *rec)
{
    return str_fmt("vfcr.%.*s:0", (int)(strchr(rec->id, ':') - rec->id), rec->id);
}

static const char *address_of(struct flow *f, enum flow_channel channel,
                              const struct flow_record *rec)
{
    if (channel != FLOW_CORECORDS)
        return f->addresses[channel];
    free(f->to);
    f->to = corecord_address(rec);
    return f->to;
}

static bool goes_along(const struct flow_record *rec, const struct flow_record *first)
{
    size_t len = (size_t)(strchr(first->id, ':') - first->id) + 1;

    return strncmp(rec->id, first->id, len) == 0;
}

const char *message_records(struct flow *f, enum flow_channel channel, struct amqp_writer *w)
{
    struct flow_record *first = list_entry(f->due[channel].next, struct flow_record, on_slot);
    const char *to = address_of(f, channel, first);
    struct amqp_mark mark;
    struct list done;
    struct list *node;
    uint32_t count = 0;

    list_init(&done);
    put_properties(f, w, to, "RECORD");
    amqp_put_descriptor(w, AMQP_SECTION_VALUE);
    mark = amqp_begin_list(w, true);
    while (count < FLOW_RECORDS_MAX && (node = list_first(&f->due[channel])) != NULL) {
        struct flow_record *rec = list_entry(node, struct flow_record, on_slot);

        if (channel == FLOW_CORECORDS && !goes_along(rec, first))
            break;
        list_remove(node);
        put_record(w, rec);
        count++;
        if (rec->is_ended)
            list_append(&done, node);
    }
    amqp_end(w, mark, count);
    while ((node = list_pop(&done)) != NULL)
        record_free(list_entry(node, struct flow_record, on_slot));
    return to;
}

// --------------------------------------------------------------------------------------- reading

static bool read_text(struct amqp_reader *at, struct str *out)
{
    struct amqp_item it;

    *out = STR_NONE;
    if (amqp_read(at, &it) < 0)
        return false;
    if (it.type == AMQP_STRING || it.type == AMQP_SYMBOL)
        *out = it.bytes;
    return true;
}

// The next section's code and value; false at the end, or when it cannot be read.
static bool read_section(struct amqp_reader *at, uint64_t *code, struct amqp_item *value)
{
    struct amqp_item section;

    return !amqp_reader_done(at) && amqp_read(at, &section) == 0 &&
           section.type == AMQP_DESCRIBED && amqp_open_described(&section, code, value) == 0;
}

// [message-id, user-id, to, subject, …]
static int read_properties(const struct amqp_item *list, struct flow_news *n, struct str *subject)
{
    struct amqp_reader at = amqp_reader_of(list->bytes);
    struct amqp_item skipped;

    if (list->type != AMQP_LIST)
        return ERR_DECODE;
    if (list->count < 4)
        return ERR_INVALID;
    if (amqp_read(&at, &skipped) < 0 || amqp_read(&at, &skipped) < 0 || !read_text(&at, &n->to) ||
        !read_text(&at, subject))
        return ERR_DECODE;
    return 0;
}

// Keys are symbols or strings; a value of another type than expected counts as absent.
static int read_application_properties(const struct amqp_item *map, struct flow_news *n)
{
    struct amqp_reader at = amqp_reader_of(map->bytes);
    struct amqp_item value;
    struct str key;

    if (map->type != AMQP_MAP)
        return ERR_DECODE;
    for (uint32_t i = 0; i + 1 < map->count; i += 2) {
        if (!read_text(&at, &key) || amqp_read(&at, &value) < 0)
            return ERR_DECODE;
        if (value.type == AMQP_UINT && str_is(key, "v"))
            n->version = (uint32_t)value.u;
        else if (value.type == AMQP_ULONG && str_is(key, "now"))
            n->now_us = value.u;
        else if (value.type != AMQP_STRING)
            continue;
        else if (str_is(key, "id"))
            n->id = value.bytes;
        else if (str_is(key, "sourceType"))
            n->source_type = value.bytes;
        else if (str_is(key, "address"))
            n->address = value.bytes;
        else if (str_is(key, "direct"))
            n->direct = value.bytes;
    }
    return 0;
}

static int name_subject(struct str subject, enum flow_subject *out)
{
    static const char *const names[] = {"BEACON", "HEARTBEAT", "RECORD", "FLUSH"};

    for (int i = 0; i < 4; i++) {
        if (str_is(subject, names[i])) {
            *out = (enum flow_subject)i;
            return 0;
        }
    }
    return ERR_INVALID;
}

int flow_read(struct str message, struct flow_news *out)
{
    struct amqp_reader at = amqp_reader_of(message);
    struct flow_news n = {0};
    struct str subject = STR_NONE;
    struct amqp_item value, body = {0};
    uint64_t code;
    int err = 0;

    while (err == 0 && !amqp_reader_done(&at)) {
        if (!read_section(&at, &code, &value))
            return ERR_DECODE;
        if (code == AMQP_SECTION_PROPERTIES)
            err = read_properties(&value, &n, &subject);
        else if (code == AMQP_SECTION_APPLICATION_PROPERTIES)
            err = read_application_properties(&value, &n);
        else if (code == AMQP_SECTION_VALUE)
            body = value;
    }
    if (err == 0)
        err = name_subject(subject, &n.subject);
    if (err == 0 && n.subject == FLOW_IS_RECORD) {
        if (body.type != AMQP_LIST)
            return ERR_DECODE;
        n.rest = amqp_reader_of(body.bytes);
        n.record_count = body.count;
    }
    if (err == 0)
        *out = n;
    return err;
}

// Type and identity, wherever they stand. As a rule they are in front: nothing is read twice then.
static int read_head(struct flow_read *rec)
{
    struct amqp_reader at = rec->rest;
    uint32_t left = rec->value_count;
    bool has_type = false, is_in_front = true;

    for (; left > 0 && !(has_type && rec->id.len > 0); left--) {
        struct amqp_item key, value;

        if (amqp_read(&at, &key) < 0 || amqp_read(&at, &value) < 0 || key.type != AMQP_UINT)
            return ERR_DECODE;
        if (key.u == FLOW_RECORD_TYPE && value.type == AMQP_UINT) {
            rec->type = (uint32_t)value.u;
            has_type = true;
        } else if (key.u == FLOW_IDENTITY && value.type == AMQP_STRING) {
            rec->id = value.bytes;
        } else {
            is_in_front = false;
        }
    }
    if (!has_type || rec->id.len == 0)
        return ERR_DECODE;
    if (is_in_front) {
        rec->rest = at;
        rec->value_count = left;
    }
    return 0;
}

int flow_read_record(struct flow_news *n, struct flow_read *out)
{
    struct amqp_item map;

    if (n->record_count == 0)
        return 0;
    if (amqp_read(&n->rest, &map) < 0 || map.type != AMQP_MAP)
        return ERR_DECODE;
    n->record_count--;
    *out = (struct flow_read){.rest = amqp_reader_of(map.bytes), .value_count = map.count / 2};
    return read_head(out) < 0 ? ERR_DECODE : 1;
}

int flow_read_value(struct flow_read *rec, struct flow_value *out)
{
    struct amqp_item key, value;

    while (rec->value_count > 0) {
        rec->value_count--;
        if (amqp_read(&rec->rest, &key) < 0 || amqp_read(&rec->rest, &value) < 0 ||
            key.type != AMQP_UINT)
            return ERR_DECODE;
        if (key.u <= FLOW_IDENTITY || key.u > FLOW_ATTR_MAX)
            continue;
        *out =
            (struct flow_value){.attr = (uint32_t)key.u, .is_text = attr_is_text((uint32_t)key.u)};
        if (value.type != (out->is_text ? AMQP_STRING : AMQP_ULONG))
            return ERR_DECODE;
        if (out->is_text)
            out->text = value.bytes;
        else
            out->number = value.u;
        return 1;
    }
    return 0;
}
