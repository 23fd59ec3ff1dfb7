// SPDX-License-Identifier: Apache-2.0
// Arbitrary bytes from a peer of an AMQP connection. The first byte chooses the role, whether the
// stream starts behind the opening frames (so that most of the input reaches sessions and links),
// and the size of blocks; the rest is the stream. An owner that does everything an owner may do
// reacts to the events, by chance that depends on the events alone. Properties: survives, gives
// everything back, and tells the same story however the stream is cut.
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "amqp/amqp.h"

enum { HELD_MAX = 32, INPUT_MAX = 1 << 16, BLOCKS = 1 << 16 };

struct story {
    struct amqp_conn *conn;
    struct pool *pool;
    struct mono now;
    uint64_t sum;
    uint64_t chance;
    struct amqp_session *session;
    struct amqp_delivery *held[HELD_MAX]; // not settled, and how we remember them
    uint32_t held_count;
    bool is_closed;
};

static void fold(struct story *s, const void *data, size_t len)
{
    const uint8_t *at = data;

    for (size_t i = 0; i < len; i++)
        s->sum = (s->sum ^ at[i]) * UINT64_C(0x100000001b3);
}

static void fold_number(struct story *s, uint64_t n)
{
    fold(s, &n, sizeof(n));
}

static void fold_str(struct story *s, struct str text)
{
    fold_number(s, text.len);
    if (text.len > 0)
        fold(s, text.ptr, text.len);
}

static uint32_t choose(struct story *s, uint32_t of)
{
    s->chance = s->chance * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(s->chance >> 33) % of;
}

static void hold(struct story *s, struct amqp_delivery *d)
{
    for (uint32_t i = 0; i < s->held_count; i++)
        if (s->held[i] == d)
            return;
    if (s->held_count < HELD_MAX)
        s->held[s->held_count++] = d;
}

static void forget(struct story *s, const struct amqp_delivery *d)
{
    for (uint32_t i = 0; i < s->held_count; i++)
        if (s->held[i] == d)
            s->held[i--] = s->held[--s->held_count];
}

static void forget_link(struct story *s, const struct amqp_link *l)
{
    for (uint32_t i = 0; i < s->held_count; i++)
        if (s->held[i]->link == l)
            s->held[i--] = s->held[--s->held_count];
}

static void forget_session(struct story *s, const struct amqp_session *session)
{
    for (uint32_t i = 0; i < s->held_count; i++)
        if (amqp_link_session(s->held[i]->link) == session)
            s->held[i--] = s->held[--s->held_count];
}

static struct amqp_outcome some_outcome(struct story *s)
{
    static const char modified[] = "\0\x53\x27\xc0\3\2\x41\x41";
    static const char other[] = "\0\xa3\5x:y:z\x45";
    static const struct amqp_outcome outcomes[] = {
        {.type = AMQP_ACCEPTED},
        {.type = AMQP_ACCEPTED},
        {.type = AMQP_RELEASED},
        {.type = AMQP_REJECTED},
        {.type = AMQP_MODIFIED, .encoded = {modified, sizeof(modified) - 1}},
        {.type = AMQP_OTHER_OUTCOME, .encoded = {other, sizeof(other) - 1}},
    };

    return outcomes[choose(s, 6)];
}

static void settle(struct story *s, struct amqp_delivery *d)
{
    struct amqp_outcome outcome = some_outcome(s);

    forget(s, d);
    amqp_delivery_settle(d, choose(s, 4) ? &outcome : NULL);
}

static void send(struct story *s, struct amqp_link *l)
{
    static uint8_t bytes[3000];
    struct iovec parts[2] = {{bytes, choose(s, 100)}, {bytes, choose(s, 2) ? choose(s, 3000) : 0}};
    size_t total = parts[0].iov_len + parts[1].iov_len;
    bool settled = choose(s, 2), done, last = choose(s, 3);
    struct amqp_delivery *d = amqp_delivery_begin(l, settled, choose(s, 2), NULL);
    size_t taken = amqp_delivery_write(d, parts, 2, last, &done);

    assert(taken <= total && (!done || (last && taken == total)));
    if (done && settled)
        return;
    assert(d->complete == done);
    if (!done && choose(s, 2))
        amqp_delivery_abort(d);
    else if (choose(s, 4) == 0)
        amqp_delivery_settle(d, NULL);
    else if (s->held_count < HELD_MAX)
        hold(s, d);
    else if (!done)
        amqp_delivery_abort(d);
}

static void attach_own(struct story *s)
{
    struct amqp_attach a = {.name = choose(s, 2) ? "one" : "two",
                            .role = choose(s, 2) ? AMQP_SENDER : AMQP_RECEIVER,
                            .snd_settle_mode = 2,
                            .rcv_settle_mode = (uint8_t)choose(s, 2),
                            .target = {.address = STR("to")},
                            .capacity = 10};
    struct amqp_link *l;

    if (s->session && amqp_session_is_ended(s->session)) {
        forget_session(s, s->session);
        amqp_session_end(s->session);
        s->session = NULL;
    }
    if (!s->session)
        s->session = amqp_session_begin(s->conn, 1 + choose(s, 10));
    l = s->session ? amqp_link_attach(s->session, &a) : NULL;
    if (l && a.role == AMQP_RECEIVER)
        amqp_link_grant(l, choose(s, 10));
}

static void on_attached(struct story *s, struct amqp_link *l)
{
    fold_str(s, amqp_link_name(l));
    fold_str(s, amqp_link_source(l)->address);
    fold_number(s, amqp_link_is_answer(l));
    if (amqp_link_is_answer(l))
        return;
    switch (choose(s, 8)) {
    case 0:
        amqp_link_refuse(l, "amqp:not-found", "no");
        return;
    case 1:
        return;
    default:
        amqp_link_accept(l, choose(s, 2) ? STR("given") : STR_NONE, 10);
        if (amqp_link_role(l) == AMQP_RECEIVER)
            amqp_link_grant(l, 1 + choose(s, 1000));
    }
}

static void on_transfer(struct story *s, const struct amqp_event *ev)
{
    struct amqp_delivery *d = ev->transfer.delivery;
    struct amqp_outcome outcome = some_outcome(s);
    bool is_gone = ev->transfer.aborted || (d->settled && !ev->transfer.more);

    fold_number(s, d->id);
    fold_number(s, ev->transfer.first * 4 + ev->transfer.more * 2 + ev->transfer.aborted);
    fold(s, ev->transfer.data, ev->transfer.len);
    fold_str(s, ev->transfer.tag);
    if (is_gone)
        forget(s, d);
    switch (choose(s, 12)) {
    case 0:
        amqp_link_hold(ev->link, choose(s, 2));
        break;
    case 1:
        amqp_link_drain(ev->link);
        break;
    case 2:
        amqp_delivery_update(d, &outcome);
        break;
    case 3:
        amqp_link_grant(ev->link, 1 + choose(s, 10));
        break;
    case 4:
    case 5:
        settle(s, d);
        break;
    case 6:
        if (s->held_count > 0)
            settle(s, s->held[choose(s, s->held_count)]);
        break;
    default:
        if (!is_gone && s->held_count < HELD_MAX)
            hold(s, d);
        else if (!is_gone)
            settle(s, d);
    }
}

static void on_updated(struct story *s, const struct amqp_event *ev)
{
    struct amqp_delivery *d = ev->update.delivery;

    fold_number(s, d->id);
    fold_number(s, ev->update.outcome.type * 2U + ev->update.settled);
    fold_str(s, ev->update.outcome.encoded);
    if (ev->update.settled)
        forget(s, d);
    if (choose(s, 2))
        settle(s, d);
}

// What an owner may do at any time.
static void wander(struct story *s, struct amqp_link *l)
{
    switch (choose(s, 64)) {
    case 0:
        if (l) {
            forget_link(s, l);
            amqp_link_detach(l, choose(s, 2) ? "amqp:internal-error" : NULL, "words");
        }
        break;
    case 1:
        if (l) {
            struct amqp_session *session = amqp_link_session(l);

            forget_session(s, session);
            amqp_session_end(session);
            if (session == s->session)
                s->session = NULL;
        }
        break;
    case 2:
        if (choose(s, 8) == 0)
            amqp_conn_close(s->conn, NULL, NULL);
        break;
    case 3:
    case 4:
        attach_own(s);
        break;
    case 5:
        amqp_conn_tick(s->conn, s->now);
        break;
    }
}

static void drain_output(struct story *s)
{
    struct buf *out = amqp_conn_output(s->conn);
    const uint8_t *data;
    size_t len;

    amqp_conn_flush(s->conn);
    while ((data = buf_front(out, &len)) && len > 0) {
        fold(s, data, len);
        buf_skip(out, len);
    }
    amqp_conn_sent(s->conn);
}

static void on_event(struct story *s, const struct amqp_event *ev)
{
    struct amqp_link *l = ev->link;

    assert(!s->is_closed);
    fold_number(s, ev->type);
    switch (ev->type) {
    case AMQP_EV_OPENED:
        fold_str(s, amqp_conn_peer(s->conn)->container_id);
        attach_own(s);
        attach_own(s);
        break;
    case AMQP_EV_ATTACHED:
        on_attached(s, l);
        break;
    case AMQP_EV_CREDIT:
        fold_number(s, amqp_link_credit(l));
        for (int i = 0; i < 3 && amqp_link_role(l) == AMQP_SENDER && amqp_link_is_ready(l); i++)
            send(s, l);
        if (amqp_link_role(l) == AMQP_SENDER && amqp_link_is_draining(l))
            amqp_link_drained(l);
        break;
    case AMQP_EV_WRITABLE:
        break;
    case AMQP_EV_TRANSFER:
        on_transfer(s, ev);
        break;
    case AMQP_EV_UPDATED:
        on_updated(s, ev);
        break;
    case AMQP_EV_DETACHED:
        forget_link(s, l);
        fold_str(s, ev->ended.condition);
        fold_str(s, ev->ended.description);
        break;
    case AMQP_EV_CLOSED:
        s->is_closed = true;
        fold_str(s, ev->ended.condition);
        fold_str(s, ev->ended.description);
        break;
    }
    wander(s, l);
    drain_output(s);
}

static void feed(struct story *s, const uint8_t *data, size_t len, size_t step)
{
    struct amqp_event ev;

    for (size_t at = 0; at < len;) {
        size_t part = len - at < step ? len - at : step;
        uint8_t *copy = malloc(part);

        assert(copy);
        memcpy(copy, data + at, part);
        amqp_conn_feed(s->conn, copy, part, s->now);
        while (amqp_conn_next(s->conn, &ev))
            on_event(s, &ev);
        free(copy);
        at += part;
    }
}

// Header and open; then to a server a session with a link in each direction, to a client the answer
// to its own begin.
static const uint8_t to_server[] = {
    'A', 'M',  'Q',  'P',  0,    1,    0,    0, //
    0,   0,    0,    17,   2,    0,    0,    0,    0,    0x53, 0x10, 0xc0, 4,
    1,   0xa1, 1,    'H', //
    0,   0,    0,    20,   2,    0,    0,    0,    0,    0x53, 0x11, 0xc0, 7,
    4,   0x40, 0x43, 0x52, 100,  0x52, 100, //
    0,   0,    0,    26,   2,    0,    0,    0,    0,    0x53, 0x12, 0xc0, 13,
    10,  0xa1, 1,    'a',  0x43, 0x42, 0x40, 0x40, 0x40, 0x40, 0x40, 0x40, 0x43, //
    0,   0,    0,    20,   2,    0,    0,    0,    0,    0x53, 0x12, 0xc0, 7,
    3,   0xa1, 1,    'b',  0x52, 1,    0x41,
};
static const uint8_t to_client[] = {
    'A',  'M',  'Q', 'P',  0,   1, 0, 0,                                          //
    0,    0,    0,   17,   2,   0, 0, 0, 0, 0x53, 0x10, 0xc0, 4, 1, 0xa1, 1, 'H', //
    0,    0,    0,   22,   2,   0, 0, 0, 0, 0x53, 0x11, 0xc0, 9, 4, 0x60, 0, 0,
    0x43, 0x52, 100, 0x52, 100,
};

static uint64_t tell(uint8_t how, const uint8_t *data, size_t len, size_t step)
{
    struct story s = {.now = {NS_PER_S}, .sum = UINT64_C(0xcbf29ce484222325), .chance = how};
    bool is_server = how & 1, starts_open = how & 2;
    struct amqp_conn_opts opts = {
        .is_server = is_server,
        .container_id = "me",
        .frame_size_max = 512U << (how >> 6),
        .channel_max = 3,
        .link_max = 6,
        .idle_timeout_ms = 1000,
        .handshake_ms = 1000,
        .incoming_window = 20,
        .output_max = 4096,
        .sasl_mechanisms = !is_server && starts_open ? 0 : AMQP_SASL_ANONYMOUS | (how >> 2 & 2),
        .external_ok = how & 8,
        .sasl_optional = true,
    };

    opts.pool = s.pool = pool_new(16U << (how >> 4 & 3), BLOCKS);
    s.conn = amqp_conn_new(&opts, s.now);
    if (starts_open && is_server)
        feed(&s, to_server, sizeof(to_server), sizeof(to_server));
    else if (starts_open)
        feed(&s, to_client, sizeof(to_client), sizeof(to_client));
    feed(&s, data, len, step);
    drain_output(&s);
    amqp_conn_free(s.conn);
    assert(pool_used(s.pool) == 0);
    pool_free(s.pool);
    return s.sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    uint64_t whole;

    if (len < 2 || len > INPUT_MAX)
        return 0;
    whole = tell(data[0], data + 1, len - 1, len);
    assert(whole == tell(data[0], data + 1, len - 1, 1 + data[1] % 16));
    assert(whole == tell(data[0], data + 1, len - 1, 1));
    return 0;
}
