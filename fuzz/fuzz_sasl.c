// SPDX-License-Identifier: Apache-2.0
// What comes before anybody is known: protocol headers, SASL and the first open. The first byte
// chooses the role, the mechanisms, and what the transport has found out; the rest is the stream.
// Properties: survives, gives everything back, holds no more than it may, and tells the same story
// however the stream is cut.
#include <assert.h>
#include <stdlib.h>

#include "amqp/amqp.h"

enum { BEFORE_OPEN_MAX = 64 * 1024 }; // of the input; what is held of it is bounded by the engine

struct story {
    uint64_t sum;
    bool is_open;
};

static void fold(struct story *s, const void *data, size_t len)
{
    const uint8_t *at = data;

    for (size_t i = 0; i < len; i++)
        s->sum = (s->sum ^ at[i]) * UINT64_C(0x100000001b3);
}

static void fold_str(struct story *s, struct str text)
{
    fold(s, &text.len, sizeof(text.len));
    if (text.len > 0)
        fold(s, text.ptr, text.len);
}

static void on_event(struct story *s, struct amqp_conn *c, const struct amqp_event *ev)
{
    int type = (int)ev->type;

    fold(s, &type, sizeof(type));
    if (ev->type == AMQP_EV_OPENED) {
        assert(!s->is_open);
        s->is_open = true;
        fold_str(s, amqp_conn_peer(c)->container_id);
        fold_str(s, amqp_conn_peer(c)->sasl_mechanism);
    } else if (ev->type == AMQP_EV_CLOSED) {
        fold_str(s, ev->ended.condition);
        fold_str(s, ev->ended.description);
    }
}

static void fold_output(struct story *s, struct amqp_conn *c)
{
    struct buf *out = amqp_conn_output(c);

    amqp_conn_flush(c);
    while (out->len > 0) {
        size_t len;
        const uint8_t *at = buf_front(out, &len);

        fold(s, at, len);
        buf_skip(out, len);
    }
    amqp_conn_sent(c);
}

static uint64_t tell(uint8_t how, const uint8_t *data, size_t len, size_t step)
{
    struct pool *pool = pool_new(how & 0x80 ? 16 : 512, 4096);
    struct amqp_conn_opts o = {
        .is_server = how & 1,
        .pool = pool,
        .container_id = "us",
        .hostname = how & 2 ? "host" : NULL,
        .frame_size_max = 4096,
        .channel_max = 3,
        .link_max = 4,
        .incoming_window = 10,
        .output_max = 65536,
        .sasl_mechanisms = (unsigned)(how >> 2) & 3,
        .external_ok = how & 16,
        .sasl_optional = how & 32,
    };
    struct story s = {.sum = UINT64_C(0xcbf29ce484222325)};
    struct mono now = {NS_PER_S};
    struct amqp_conn *c;
    bool finished;

    if (!o.is_server || o.sasl_mechanisms == 0)
        o.sasl_mechanisms = how & 4 ? AMQP_SASL_EXTERNAL : AMQP_SASL_ANONYMOUS;
    c = amqp_conn_new(&o, now);
    for (size_t at = 0; at < len; at += step) {
        struct amqp_event ev;

        amqp_conn_feed(c, data + at, len - at < step ? len - at : step, now);
        while (amqp_conn_next(c, &ev))
            on_event(&s, c, &ev);
    }
    fold_output(&s, c);
    finished = amqp_conn_is_finished(c);
    fold(&s, &finished, sizeof(finished));
    amqp_conn_free(c);
    assert(pool_used(pool) == 0);
    pool_free(pool);
    return s.sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    uint64_t whole;

    if (len < 2 || len > BEFORE_OPEN_MAX)
        return 0;
    whole = tell(data[0], data + 1, len - 1, len);
    assert(whole == tell(data[0], data + 1, len - 1, 1));
    assert(whole == tell(data[0], data + 1, len - 1, 2 + data[1] % 23));
    return 0;
}
