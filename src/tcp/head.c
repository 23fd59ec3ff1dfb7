// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>

#include "tcp/conn.h"

// The head of a stream's message: properties, application-properties, a null value; raw bytes
// follow. Lists and maps take their wide form, as existing routers write them.

enum { PROPERTY_MAX = 255 };

static void put_text(struct amqp_writer *w, struct str text)
{
    if (text.len > 0)
        amqp_put_string(w, text);
    else
        amqp_put_null(w);
}

static void put_properties(struct amqp_writer *w, struct str to, struct str reply_to, struct str id)
{
    struct amqp_mark mark;

    amqp_put_descriptor(w, AMQP_SECTION_PROPERTIES);
    mark = amqp_begin_list(w, true);
    amqp_put_null(w);
    amqp_put_null(w);
    amqp_put_string(w, to);
    amqp_put_null(w);
    put_text(w, reply_to);
    put_text(w, id);
    amqp_put_string(w, STR(TCP_CONTENT_TYPE));
    amqp_end(w, mark, 7);
}

static void put_rest(struct amqp_writer *w, struct str alpn)
{
    struct amqp_mark mark;

    amqp_put_descriptor(w, AMQP_SECTION_APPLICATION_PROPERTIES);
    mark = amqp_begin_map(w, true);
    amqp_put_string(w, STR("V"));
    amqp_put_uint(w, 1);
    if (alpn.len > 0) {
        amqp_put_string(w, STR("alpn"));
        amqp_put_string(w, alpn);
    }
    amqp_end(w, mark, alpn.len > 0 ? 4 : 2);
    amqp_put_descriptor(w, AMQP_SECTION_VALUE);
    amqp_put_null(w);
}

void head_put_client(struct amqp_writer *w, struct str to, struct str reply_to, struct str id,
                     struct str alpn)
{
    put_properties(w, to, reply_to, id);
    put_rest(w, alpn);
}

void head_put_server(struct amqp_writer *w, struct str to)
{
    put_properties(w, to, STR_NONE, STR_NONE);
    put_rest(w, STR_NONE);
}

bool head_is_stream(const struct amqp_msg *head)
{
    return str_is(head->content_type, TCP_CONTENT_TYPE);
}

struct str tcp_name_of(const struct amqp_msg *head)
{
    struct amqp_reader at = amqp_reader_of(head->correlation_id);
    struct amqp_item item;

    if (head->correlation_id.len == 0 || amqp_read(&at, &item) < 0 || item.type != AMQP_STRING)
        return STR_NONE;
    return item.bytes;
}

char *head_text(const struct amqp_msg *head, const char *property)
{
    struct amqp_reader at = amqp_reader_of(head->app_properties), items;
    struct amqp_item key, value;
    uint32_t count = 0;

    if (head->app_properties.len == 0 || amqp_read_map(&at, &items, &count) < 0)
        return NULL;
    for (uint32_t i = 0; i + 1 < count; i += 2) {
        if (amqp_read(&items, &key) < 0 || amqp_read(&items, &value) < 0)
            return NULL;
        if (str_is(key.bytes, property) && value.type == AMQP_STRING && value.bytes.len > 0 &&
            value.bytes.len <= PROPERTY_MAX)
            return str_dup(value.bytes);
    }
    return NULL;
}
