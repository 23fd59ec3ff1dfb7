// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>

#include "tcp/conn.h"

// The encapsulation of routers before 3.0, in their default mode: no content-type, and the bytes in
// data sections. A client stream is known by the flow id in its application-properties.

#define FLOW_ID ":flowid"

enum { BINARY8 = 0xa0, BINARY32 = 0xb0 };

static void put_properties(struct amqp_writer *w, struct str to, struct str id, struct str reply_to)
{
    struct amqp_mark mark;

    amqp_put_descriptor(w, AMQP_SECTION_PROPERTIES);
    mark = amqp_begin_list(w, true);
    amqp_put_null(w);
    amqp_put_null(w);
    amqp_put_string(w, to);
    if (id.len > 0)
        amqp_put_string(w, id); // subject: informative
    else
        amqp_put_null(w);
    if (reply_to.len > 0)
        amqp_put_string(w, reply_to);
    amqp_end(w, mark, reply_to.len > 0 ? 5 : 4);
}

void legacy_put_client(struct amqp_writer *w, struct str to, struct str reply_to, struct str id,
                       struct str alpn)
{
    struct amqp_mark mark;

    put_properties(w, to, id, reply_to);
    amqp_put_descriptor(w, AMQP_SECTION_APPLICATION_PROPERTIES);
    mark = amqp_begin_map(w, true);
    amqp_put_symbol(w, STR(FLOW_ID));
    amqp_put_string(w, id);
    if (alpn.len > 0) {
        amqp_put_string(w, STR("alpn"));
        amqp_put_string(w, alpn);
    }
    amqp_end(w, mark, alpn.len > 0 ? 4 : 2);
}

void legacy_put_server(struct amqp_writer *w, struct str to)
{
    put_properties(w, to, STR_NONE, STR_NONE);
}

bool legacy_is_client(const struct amqp_msg *head)
{
    char *id = head->content_type.len == 0 ? head_text(head, FLOW_ID) : NULL;

    free(id);
    return id != NULL;
}

size_t legacy_put_head(uint8_t head[LEGACY_HEAD_MAX], size_t len)
{
    head[0] = 0x00;
    head[1] = 0x53;
    head[2] = AMQP_SECTION_DATA;
    head[3] = BINARY32;
    amqp_store_u32(head + 4, (uint32_t)len);
    return LEGACY_HEAD_MAX;
}

// The octets of a section's head come one by one at worst.
size_t legacy_read_head(struct tcp_conn *c, const uint8_t *data, size_t len)
{
    static const uint8_t start[] = {0x00, 0x53, AMQP_SECTION_DATA};

    for (size_t at = 0; at < len; at++) {
        uint8_t octet = data[at], place = c->body_at++;

        c->section[place] = octet;
        if (place < sizeof(start) ? octet != start[place]
                                  : place == 3 && octet != BINARY8 && octet != BINARY32) {
            end_fail(c, "the other end sent a body of another kind");
            return len;
        }
        if (place == 4 && c->section[3] == BINARY8)
            c->section_left = octet;
        else if (place == 7)
            c->section_left = amqp_load_u32(c->section + 4);
        else
            continue;
        c->body_at = 0;
        if (c->section_left > 0)
            return at + 1;
    }
    return len;
}
