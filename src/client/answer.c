// SPDX-License-Identifier: Apache-2.0
// Requests as ask.c makes them, seen by who is asked.
#include "base/err.h"
#include "client/inside.h"

static struct str text_of(const struct amqp_item *it)
{
    return it->type == AMQP_STRING ? it->bytes : STR_NONE;
}

static int read_operation(struct str encoded, struct client_asked *out)
{
    struct amqp_reader at = amqp_reader_of(encoded);
    struct amqp_item map, key, value;

    if (encoded.len == 0 || amqp_read(&at, &map) < 0 || map.type != AMQP_MAP)
        return ERR_DECODE;
    at = amqp_reader_of(map.bytes);
    for (uint32_t i = 0; i + 1 < map.count; i += 2) {
        if (amqp_read(&at, &key) < 0 || amqp_read(&at, &value) < 0)
            return ERR_DECODE;
        if (str_is(text_of(&key), "operation"))
            out->operation = text_of(&value);
        else if (str_is(text_of(&key), "name"))
            out->name = text_of(&value);
    }
    return out->operation.len > 0 ? 0 : ERR_DECODE;
}

int client_read_asked(struct str message, struct client_asked *out)
{
    struct client_message m;
    struct client_asked asked;

    if (client_read_message(message, &m) < 0 || m.reply_to.len == 0)
        return ERR_DECODE;
    asked = (struct client_asked){.reply_to = m.reply_to, .correlation_id = m.correlation_id};
    if (read_operation(m.application_properties, &asked) < 0)
        return ERR_DECODE;
    *out = asked;
    return 0;
}

// [message-id, user-id, to, subject, reply-to, correlation-id]
static void put_properties(struct amqp_writer *w, const struct client_asked *to)
{
    struct amqp_mark list;

    amqp_put_descriptor(w, AMQP_SECTION_PROPERTIES);
    list = amqp_begin_list(w, true);
    amqp_put_null(w);
    amqp_put_null(w);
    amqp_put_string(w, to->reply_to);
    amqp_put_null(w);
    amqp_put_null(w);
    if (to->correlation_id.len > 0)
        amqp_put_raw(w, to->correlation_id);
    else
        amqp_put_null(w);
    amqp_end(w, list, 6);
}

int client_answer(struct client_link *sender, const struct client_asked *to, int status,
                  const char *words, const json_t *value)
{
    struct amqp_writer w;
    struct amqp_mark map;
    int err;

    amqp_writer_init(&w);
    put_properties(&w, to);
    amqp_put_descriptor(&w, AMQP_SECTION_APPLICATION_PROPERTIES);
    map = amqp_begin_map(&w, true);
    amqp_put_string(&w, STR("statusCode"));
    amqp_put_int(&w, status);
    amqp_put_string(&w, STR("statusDescription"));
    amqp_put_string(&w, str_of(words));
    amqp_end(&w, map, 4);
    if (value) {
        struct amqp_val *body = client_value(value);

        amqp_put_descriptor(&w, AMQP_SECTION_VALUE);
        amqp_val_write(&w, body, true);
        amqp_val_free(body);
    }
    err = client_send(sender, amqp_written(&w), true, 0);
    amqp_writer_fini(&w);
    return err;
}
