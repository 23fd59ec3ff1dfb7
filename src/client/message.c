// SPDX-License-Identifier: Apache-2.0
#include "base/err.h"
#include "client/inside.h"

// Plain messages: properties written, and what is of interest read.

static void put_text(struct amqp_writer *w, struct str text)
{
    if (text.ptr)
        amqp_put_string(w, text);
    else
        amqp_put_null(w);
}

// [message-id, user-id, to, subject, reply-to, correlation-id]
void client_put_properties(struct amqp_writer *w, const struct client_properties *p)
{
    struct amqp_mark list;

    amqp_put_descriptor(w, AMQP_SECTION_PROPERTIES);
    list = amqp_begin_list(w, false);
    amqp_put_null(w);
    amqp_put_null(w);
    put_text(w, p->to);
    put_text(w, p->subject);
    put_text(w, p->reply_to);
    if (p->correlation_id)
        amqp_put_ulong(w, p->correlation_id);
    else
        amqp_put_null(w);
    amqp_end(w, list, 6);
}

static struct str text_of(const struct amqp_item *it)
{
    return it->type == AMQP_STRING || it->type == AMQP_SYMBOL ? it->bytes : STR_NONE;
}

static int read_properties(const struct amqp_item *list, struct client_message *out)
{
    struct amqp_reader at = amqp_reader_of(list->bytes);
    struct amqp_item it;

    if (list->type != AMQP_LIST)
        return ERR_DECODE;
    for (uint32_t i = 0; i < list->count && i < 6; i++) {
        if (amqp_read(&at, &it) < 0)
            return ERR_DECODE;
        if (i == 2)
            out->to = text_of(&it);
        else if (i == 3)
            out->subject = text_of(&it);
        else if (i == 4)
            out->reply_to = text_of(&it);
        else if (i == 5 && it.type != AMQP_NULL)
            out->correlation_id = it.whole;
    }
    return 0;
}

int client_read_message(struct str message, struct client_message *out)
{
    struct amqp_reader at = amqp_reader_of(message);
    struct client_message m = {0};
    struct amqp_item section, value;
    uint64_t code;
    int err = 0;

    while (err == 0 && !amqp_reader_done(&at)) {
        if (amqp_read(&at, &section) < 0 || section.type != AMQP_DESCRIBED ||
            amqp_open_described(&section, &code, &value) < 0)
            return ERR_DECODE;
        if (code == AMQP_SECTION_PROPERTIES)
            err = read_properties(&value, &m);
        else if (code == AMQP_SECTION_APPLICATION_PROPERTIES)
            m.application_properties = value.whole;
        else if (code == AMQP_SECTION_VALUE)
            m.value = value.whole;
    }
    if (err == 0)
        *out = m;
    return err;
}

uint32_t client_read_reach(struct str message)
{
    struct client_message m;
    struct amqp_reader at;
    struct amqp_item count;

    if (client_read_message(message, &m) < 0 || m.value.len == 0)
        return 0;
    at = amqp_reader_of(m.value);
    if (amqp_read(&at, &count) < 0 || count.type != AMQP_INT || count.i < 0)
        return 0;
    return (uint32_t)count.i;
}
