// SPDX-License-Identifier: Apache-2.0
// For tests: a client, and a router's side of the connection that does what the test says.
#pragma once

#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "check.h"
#include "client/client.h"

enum { RIG_LINKS = 16, RIG_KEPT = CLIENT_REQUESTS_MAX };

struct rig {
    struct pool *pool;
    struct client *client;
    struct amqp_conn *router;
    struct mono now;
    struct amqp_link *replies; // the router sends on it
    struct amqp_link *links[RIG_LINKS];
    int link_count;
    uint32_t grants;                // credit for senders
    bool refuses;                   // links
    bool is_silent;                 // requests get no answer
    enum amqp_outcome_type outcome; // of requests and messages
    int status;                     // of answers
    uint32_t row_count;             // QUERY: there are so many
    uint32_t reply_octets;          // body of other answers, a text; 0: a map
    int requests, messages;         // heard
    struct amqp_writer in;          // the message that comes in
    char to[128];                   // of the last message
    char asked[512];                // application properties of the last request
    uint8_t *kept[RIG_KEPT];        // requests to be answered later
    size_t kept_len[RIG_KEPT];
    int kept_count;
};

static inline void rig_init(struct rig *r)
{
    struct client_opts opts = {.name = "tester"};
    struct amqp_conn_opts router = {
        .is_server = true,
        .container_id = "R",
        .frame_size_max = 16384,
        .channel_max = 7,
        .link_max = 64,
        .incoming_window = 1000,
        .output_max = 1 << 30,
        .sasl_mechanisms = AMQP_SASL_ANONYMOUS,
    };

    *r = (struct rig){.grants = 100, .status = 200, .outcome = AMQP_ACCEPTED};
    r->pool = router.pool = pool_new(4096, 65536);
    r->now = (struct mono){NS_PER_S};
    r->client = client_new(&opts, r->now);
    r->router = amqp_conn_new(&router, r->now);
    amqp_writer_init(&r->in);
}

static inline void rig_fini(struct rig *r)
{
    client_free(r->client);
    amqp_conn_free(r->router);
    CHECK_EQ(pool_used(r->pool), 0);
    pool_free(r->pool);
    amqp_writer_fini(&r->in);
    for (int i = 0; i < r->kept_count; i++)
        free(r->kept[i]);
}

static inline void rig_send(struct amqp_link *l, struct str bytes, bool settled)
{
    struct iovec part = {(void *)(uintptr_t)bytes.ptr, bytes.len};
    bool done = false;

    CHECK(amqp_link_is_ready(l));
    amqp_delivery_write(amqp_delivery_begin(l, settled, 0, NULL), &part, 1, true, &done);
    CHECK(done);
}

// ---------------------------------------------------------------------------------------- answers

static inline int64_t rig_number(const struct amqp_val *properties, const char *key)
{
    int64_t n = 0;

    return amqp_val_int_of(amqp_val_get(properties, key), &n) ? n : 0;
}

static inline void rig_put_rows(struct rig *r, struct amqp_writer *w, const struct amqp_val *p)
{
    struct amqp_val *map = amqp_val_map(), *names = amqp_val_list(), *rows = amqp_val_list();
    int64_t at = rig_number(p, "offset"), end = at + rig_number(p, "count");

    amqp_val_append(names, amqp_val_string(STR("number")));
    amqp_val_append(names, amqp_val_string(STR("nothing")));
    amqp_val_append(names, amqp_val_string(STR("word")));
    for (; at < end && at < r->row_count; at++) {
        struct amqp_val *row = amqp_val_list();

        amqp_val_append(row, amqp_val_ulong((uint64_t)at));
        if (at % 2 == 0) {
            amqp_val_append(row, amqp_val_null());
            amqp_val_append(row, amqp_val_string(STR("even")));
        }
        amqp_val_append(rows, row);
    }
    amqp_val_set(map, "attributeNames", names);
    amqp_val_set(map, "results", rows);
    amqp_val_write(w, map, true);
    amqp_val_free(map);
}

static inline void rig_put_body(struct rig *r, struct amqp_writer *w, const struct amqp_val *p)
{
    struct amqp_val *v;

    amqp_put_descriptor(w, AMQP_SECTION_VALUE);
    if (str_is(amqp_val_str(amqp_val_get(p, "operation")), "QUERY")) {
        rig_put_rows(r, w, p);
        return;
    }
    if (r->reply_octets) {
        char *text = xcalloc(1, r->reply_octets);

        memset(text, 'x', r->reply_octets);
        v = amqp_val_string((struct str){text, r->reply_octets});
        free(text);
    } else {
        v = amqp_val_map();
        amqp_val_set(v, "name",
                     amqp_val_copy(amqp_val_get(p, "name")
                                       ? amqp_val_get(p, "name")
                                       : &(struct amqp_val){.type = AMQP_NULL}));
    }
    amqp_val_write(w, v, true);
    amqp_val_free(v);
}

static inline void rig_answer(struct rig *r, struct str request)
{
    struct client_message m;
    struct amqp_writer w;
    struct amqp_mark mark;
    struct amqp_reader at;
    struct amqp_val *p = NULL;

    CHECK_EQ(client_read_message(request, &m), 0);
    CHECK_STR(m.reply_to, "amqp:/_topo/0/R/temp.1");
    at = amqp_reader_of(m.application_properties);
    CHECK_EQ(amqp_val_read(&at, 100, &p), 0);
    amqp_writer_init(&w);
    amqp_put_descriptor(&w, AMQP_SECTION_PROPERTIES);
    mark = amqp_begin_list(&w, true);
    for (int i = 0; i < 5; i++)
        amqp_put_null(&w);
    amqp_put_raw(&w, m.correlation_id);
    amqp_end(&w, mark, 6);
    amqp_put_descriptor(&w, AMQP_SECTION_APPLICATION_PROPERTIES);
    mark = amqp_begin_map(&w, true);
    amqp_put_string(&w, STR("statusCode"));
    amqp_put_int(&w, r->status);
    amqp_put_string(&w, STR("statusDescription"));
    amqp_put_string(&w, r->status < 300 ? STR("OK") : STR("that was wrong"));
    amqp_end(&w, mark, 4);
    rig_put_body(r, &w, p);
    rig_send(r->replies, amqp_written(&w), true);
    amqp_val_free(p);
    amqp_writer_fini(&w);
}

// Answers those that were kept, the last one first, as far as there is credit.
static inline void rig_answer_kept(struct rig *r)
{
    while (r->kept_count > 0 && amqp_link_is_ready(r->replies)) {
        r->kept_count--;
        rig_answer(r, (struct str){(char *)r->kept[r->kept_count], r->kept_len[r->kept_count]});
        free(r->kept[r->kept_count]);
    }
}

// ----------------------------------------------------------------------------------------- events

static inline void rig_heard(struct rig *r, struct str bytes)
{
    struct client_message m;
    char *text;
    struct amqp_reader at;
    struct amqp_val *p = NULL;

    CHECK_EQ(client_read_message(bytes, &m), 0);
    snprintf(r->to, sizeof(r->to), "%.*s", STR_ARG(m.to));
    if (!m.reply_to.ptr) {
        r->messages++;
        return;
    }
    r->requests++;
    at = amqp_reader_of(m.application_properties);
    CHECK_EQ(amqp_val_read(&at, 100, &p), 0);
    text = amqp_val_text(p);
    snprintf(r->asked, sizeof(r->asked), "%s", text);
    free(text);
    amqp_val_free(p);
    if (r->outcome != AMQP_ACCEPTED)
        return;
    if (!r->is_silent && amqp_link_is_ready(r->replies)) {
        rig_answer(r, bytes);
        return;
    }
    CHECK(r->kept_count < RIG_KEPT);
    r->kept[r->kept_count] = (uint8_t *)str_dup(bytes);
    r->kept_len[r->kept_count++] = bytes.len;
}

static inline void rig_attached(struct rig *r, struct amqp_link *l)
{
    bool is_dynamic = amqp_link_source(l) && amqp_link_source(l)->dynamic;

    CHECK(r->link_count < RIG_LINKS);
    if (r->refuses) {
        amqp_link_refuse(l, "amqp:not-allowed", "not here");
        return;
    }
    r->links[r->link_count++] = l;
    amqp_link_accept(l, is_dynamic ? STR("amqp:/_topo/0/R/temp.1") : STR_NONE, 100);
    if (is_dynamic)
        r->replies = l;
    if (amqp_link_role(l) == AMQP_RECEIVER)
        amqp_link_grant(l, r->grants);
}

static inline void rig_event(struct rig *r, const struct amqp_event *ev)
{
    struct amqp_delivery *d;

    if (ev->type == AMQP_EV_ATTACHED)
        rig_attached(r, ev->link);
    if (ev->type == AMQP_EV_CREDIT && ev->link == r->replies && !r->is_silent)
        rig_answer_kept(r);
    if (ev->type == AMQP_EV_UPDATED && !ev->update.settled)
        amqp_delivery_settle(ev->update.delivery, NULL);
    if (ev->type != AMQP_EV_TRANSFER)
        return;
    d = ev->transfer.delivery;
    if (ev->transfer.first)
        r->in.len = 0;
    amqp_put_raw(&r->in, (struct str){(const char *)ev->transfer.data, ev->transfer.len});
    if (ev->transfer.more)
        return;
    if (!d->settled)
        amqp_delivery_settle(d, &(struct amqp_outcome){.type = r->outcome});
    rig_heard(r, amqp_written(&r->in));
    amqp_link_grant(ev->link, 1);
}

static inline bool rig_pass(struct buf *from, uint8_t **out, size_t *len)
{
    *out = xcalloc(1, from->len + 1);
    *len = buf_copy(from, 0, *out, from->len);
    buf_skip(from, *len);
    return *len > 0;
}

static inline void rig_poll(struct rig *r)
{
    struct amqp_event ev;

    while (amqp_conn_next(r->router, &ev))
        rig_event(r, &ev);
    amqp_conn_flush(r->router);
}

// Until nobody has anything to say.
static inline void rig_run(struct rig *r)
{
    bool any = true;
    uint8_t *bytes;
    size_t len;

    while (any) {
        any = rig_pass(client_engine.output(r->client, r->now), &bytes, &len);
        client_engine.sent(r->client, r->now);
        amqp_conn_feed(r->router, bytes, len, r->now);
        rig_poll(r);
        free(bytes);
        any |= rig_pass(amqp_conn_output(r->router), &bytes, &len);
        amqp_conn_sent(r->router);
        rig_poll(r);
        client_engine.feed(r->client, bytes, len, r->now);
        free(bytes);
    }
}

// Open, the event taken.
static inline void rig_open(struct rig *r)
{
    struct client_event ev;

    rig_init(r);
    rig_run(r);
    CHECK(client_next(r->client, &ev));
    CHECK_EQ(ev.type, CLIENT_OPENED);
    CHECK(!client_next(r->client, &ev));
}

static inline void rig_wait(struct rig *r, int64_t ms)
{
    r->now = mono_add_ms(r->now, ms);
    client_engine.tick(r->client, r->now);
    rig_run(r);
}
