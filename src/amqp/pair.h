// SPDX-License-Identifier: Apache-2.0
// For the tests of amqp: two engines back to back in memory, or one engine and frames made by hand.
// What happens on a side is written down in words, so that a test compares one text.
#pragma once

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "amqp/amqp.h"
#include "amqp/performative.h"
#include "base/mem.h"
#include "check.h"

enum { TOLD_MAX = 16384 };

struct side {
    struct amqp_conn *conn;
    struct amqp_session *session;   // ours, or that of the link attached last
    struct amqp_link *link;         // attached last
    struct amqp_delivery *delivery; // told of last
    uint32_t grants;                // credit for each link that the peer attaches
    bool leaves_attach;             // does not answer attach
    bool settles;                   // accepts what is complete
    bool (*on_event)(struct side *s, const struct amqp_event *ev); // true: nothing else is done
    void *user;
    char told[TOLD_MAX];
    size_t told_len;
    uint8_t body[65536]; // of the current delivery
    size_t body_len;
    uint32_t transfers;
};

struct pair {
    struct pool *pool;
    struct side a, b; // a connects, b listens
    struct mono now;
    size_t step; // bytes are passed in pieces of at most so many; 0: as they come
};

static inline void tell(struct side *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
static inline void tell(struct side *s, const char *fmt, ...)
{
    va_list args;
    int len;

    if (s->told_len >= TOLD_MAX - 256)
        return;
    if (s->told_len > 0)
        s->told[s->told_len++] = ' ';
    va_start(args, fmt);
    len = vsnprintf(s->told + s->told_len, 256, fmt, args);
    va_end(args);
    s->told_len += (size_t)(len < 255 ? len : 255);
}

// What happened on the side since this was called last.
static inline struct str told(struct side *s)
{
    static char text[TOLD_MAX];
    size_t len = s->told_len;

    memcpy(text, s->told, len);
    text[len] = '\0';
    s->told_len = 0;
    return (struct str){text, len};
}

static inline void tell_end(struct side *s, const char *what, const struct amqp_event *ev)
{
    if (ev->ended.condition.ptr)
        tell(s, "%s(%.*s%s%.*s%s)", what, STR_ARG(ev->ended.condition),
             ev->ended.description.len ? ": " : "", STR_ARG(ev->ended.description),
             ev->ended.is_ours ? ", ours" : "");
    else
        tell(s, "%s", what);
}

static inline const char *outcome_name(enum amqp_outcome_type type)
{
    static const char *const names[] = {"none",     "received", "accepted", "rejected",
                                        "released", "modified", "other"};

    return names[type];
}

static inline void side_transfer(struct side *s, const struct amqp_event *ev)
{
    struct amqp_delivery *d = ev->transfer.delivery;

    s->transfers++;
    if (ev->transfer.first)
        s->body_len = 0;
    if (ev->transfer.len > 0 && s->body_len + ev->transfer.len <= sizeof(s->body)) {
        memcpy(s->body + s->body_len, ev->transfer.data, ev->transfer.len);
        s->body_len += ev->transfer.len;
    }
    s->delivery = d;
    if (ev->transfer.aborted)
        tell(s, "aborted");
    else if (!ev->transfer.more)
        tell(s, "transfer(%zu%s)", s->body_len, d->settled ? " settled" : "");
    if (s->settles && !d->settled && d->complete)
        amqp_delivery_settle(d, &(struct amqp_outcome){.type = AMQP_ACCEPTED});
}

static inline void side_event(struct side *s, const struct amqp_event *ev)
{
    if (s->on_event && s->on_event(s, ev))
        return;
    switch (ev->type) {
    case AMQP_EV_OPENED:
        tell(s, "opened");
        break;
    case AMQP_EV_ATTACHED:
        tell(s, "attached(%.*s)", STR_ARG(amqp_link_name(ev->link)));
        s->link = ev->link;
        s->session = amqp_link_session(ev->link);
        if (amqp_link_is_answer(ev->link) || s->leaves_attach)
            break;
        amqp_link_accept(ev->link, STR_NONE, s->grants);
        if (amqp_link_role(ev->link) == AMQP_RECEIVER && s->grants > 0)
            amqp_link_grant(ev->link, s->grants);
        break;
    case AMQP_EV_CREDIT:
        tell(s, "credit(%u%s)", amqp_link_credit(ev->link),
             amqp_link_is_draining(ev->link) ? " drain" : "");
        break;
    case AMQP_EV_WRITABLE:
        tell(s, "writable");
        break;
    case AMQP_EV_TRANSFER:
        side_transfer(s, ev);
        break;
    case AMQP_EV_UPDATED:
        s->delivery = ev->update.delivery;
        tell(s, "%s%s", outcome_name(ev->update.outcome.type), ev->update.settled ? "!" : "");
        break;
    case AMQP_EV_DETACHED:
        tell_end(s, "detached", ev);
        if (s->link == ev->link)
            s->link = NULL;
        break;
    case AMQP_EV_CLOSED:
        tell_end(s, "closed", ev);
        break;
    }
}

static inline void side_poll(struct side *s)
{
    struct amqp_event ev;

    while (amqp_conn_next(s->conn, &ev))
        side_event(s, &ev);
}

// Feeds the bytes in pieces, each in memory of its own, so that looking too far is noticed.
static inline void side_feed(struct side *s, const void *data, size_t len, size_t step,
                             struct mono now)
{
    for (size_t at = 0; at < len;) {
        size_t part = step && step < len - at ? step : len - at;
        uint8_t *copy = xcalloc(1, part);

        memcpy(copy, (const uint8_t *)data + at, part);
        amqp_conn_feed(s->conn, copy, part, now);
        side_poll(s);
        free(copy);
        at += part;
    }
}

// All of the output, taken; the caller frees it.
static inline uint8_t *side_output(struct side *s, size_t *len)
{
    struct buf *out;
    uint8_t *bytes;

    amqp_conn_flush(s->conn);
    out = amqp_conn_output(s->conn);
    bytes = xcalloc(1, out->len + 1);
    *len = buf_copy(out, 0, bytes, out->len);
    CHECK_EQ(*len, out->len);
    buf_skip(out, *len);
    amqp_conn_sent(s->conn);
    side_poll(s);
    return bytes;
}

static inline bool pair_pass(struct pair *p, struct side *from, struct side *to)
{
    size_t len;
    uint8_t *bytes = side_output(from, &len);

    side_feed(to, bytes, len, p->step, p->now);
    free(bytes);
    return len > 0;
}

static inline void pair_run(struct pair *p)
{
    bool any = true;

    side_poll(&p->a);
    side_poll(&p->b);
    for (int i = 0; any && i < 10000; i++) {
        any = pair_pass(p, &p->a, &p->b);
        any |= pair_pass(p, &p->b, &p->a);
    }
    CHECK(!any);
}

static inline struct amqp_conn_opts pair_opts(struct pool *pool, bool is_server)
{
    return (struct amqp_conn_opts){
        .is_server = is_server,
        .pool = pool,
        .container_id = is_server ? "B" : "A",
        .hostname = is_server ? NULL : "host",
        .frame_size_max = 16384,
        .channel_max = 7,
        .link_max = 16,
        .incoming_window = 64,
        .output_max = 65536,
        .sasl_mechanisms = AMQP_SASL_ANONYMOUS,
    };
}

static inline void pair_init_with(struct pair *p, uint32_t block_size, size_t block_max,
                                  const struct amqp_conn_opts *a, const struct amqp_conn_opts *b)
{
    struct amqp_conn_opts opts[2];

    memset(p, 0, sizeof(*p));
    p->pool = pool_new(block_size, block_max);
    p->now = (struct mono){NS_PER_S};
    opts[0] = a ? *a : pair_opts(p->pool, false);
    opts[1] = b ? *b : pair_opts(p->pool, true);
    opts[0].pool = opts[1].pool = p->pool;
    p->a.conn = amqp_conn_new(&opts[0], p->now);
    p->b.conn = amqp_conn_new(&opts[1], p->now);
    p->a.grants = p->b.grants = 100;
}

static inline void pair_init(struct pair *p)
{
    pair_init_with(p, 64, 65536, NULL, NULL);
}

// As above, and both have opened.
static inline void pair_open(struct pair *p)
{
    pair_init(p);
    pair_run(p);
    CHECK_STR(told(&p->a), "opened");
    CHECK_STR(told(&p->b), "opened");
}

static inline void pair_fini(struct pair *p)
{
    amqp_conn_free(p->a.conn);
    amqp_conn_free(p->b.conn);
    CHECK_EQ(pool_used(p->pool), 0);
    pool_free(p->pool);
}

static inline struct amqp_attach attach_as(const char *name, enum amqp_role role)
{
    return (struct amqp_attach){
        .name = name,
        .role = role,
        .snd_settle_mode = 2,
        .source = {.address = STR("from")},
        .target = {.address = STR("to")},
        .capacity = 100,
    };
}

// A link from a to b (a sends), attached, with b's `grants` of credit.
static inline struct amqp_link *pair_link(struct pair *p, const char *name, enum amqp_role role)
{
    struct amqp_attach at = attach_as(name, role);
    struct amqp_link *l;

    if (!p->a.session)
        p->a.session = amqp_session_begin(p->a.conn, 64);
    l = amqp_link_attach(p->a.session, &at);
    CHECK(l != NULL);
    pair_run(p);
    told(&p->a);
    told(&p->b);
    return l;
}

// Sends `len` bytes at once; returns the delivery, or NULL when it is gone.
static inline struct amqp_delivery *send_one(struct amqp_link *l, bool settled, size_t len)
{
    uint8_t *bytes = xcalloc(1, len + 1);
    struct iovec part = {bytes, len};
    struct amqp_delivery *d = amqp_delivery_begin(l, settled, 0, NULL);
    bool done;

    memset(bytes, 'x', len);
    CHECK_EQ(amqp_delivery_write(d, &part, 1, true, &done), len);
    CHECK(done);
    free(bytes);
    return settled ? NULL : d;
}

// --------------------------------------------------------------------------------- frames by hand

// Appends a frame to what is written in `w`: begin, amqp_put_..., end.
static inline size_t hand_begin(struct amqp_writer *w)
{
    size_t at = w->len;

    amqp_put_raw(w, (struct str){"\0\0\0\0\2\0\0\0", 8});
    return at;
}

static inline void hand_end(struct amqp_writer *w, size_t at, uint16_t channel)
{
    amqp_store_u32(w->buf + at, (uint32_t)(w->len - at));
    amqp_store_u16(w->buf + at + 6, channel);
}

static inline void hand_open(struct amqp_writer *w, uint32_t frame_size_max, uint32_t idle_ms)
{
    struct amqp_open_frame f = {.container_id = STR("H"),
                                .frame_size_max = frame_size_max,
                                .channel_max = UINT16_MAX,
                                .idle_timeout_ms = idle_ms};
    size_t at = hand_begin(w);

    amqp_put_open(w, &f);
    hand_end(w, at, 0);
}

static inline void hand_session(struct amqp_writer *w, uint16_t channel)
{
    struct amqp_begin_frame f = {
        .incoming_window = 1000, .outgoing_window = 1000, .handle_max = UINT32_MAX};
    size_t at = hand_begin(w);

    amqp_put_begin(w, &f);
    hand_end(w, at, channel);
}

static inline void hand_attach(struct amqp_writer *w, const char *name, uint32_t handle,
                               bool is_receiver)
{
    struct amqp_attach_frame f = {.name = str_of(name),
                                  .handle = handle,
                                  .is_receiver = is_receiver,
                                  .snd_settle_mode = 2,
                                  .source = {.address = STR("from")},
                                  .target = {.address = STR("to")},
                                  .has_initial_delivery_count = true};
    size_t at = hand_begin(w);

    amqp_put_attach(w, &f);
    hand_end(w, at, 0);
}

static inline void hand_transfer(struct amqp_writer *w, const struct amqp_transfer_frame *f,
                                 const char *payload)
{
    size_t at = hand_begin(w);

    amqp_put_transfer(w, f);
    amqp_put_raw(w, str_of(payload));
    hand_end(w, at, 0);
}

static inline void hand_disposition(struct amqp_writer *w, bool is_receiver, uint32_t first,
                                    uint32_t last, bool settled, enum amqp_outcome_type type)
{
    struct amqp_disposition_frame f = {.is_receiver = is_receiver,
                                       .first = first,
                                       .has_last = true,
                                       .last = last,
                                       .settled = settled,
                                       .state = {.type = type}};
    size_t at = hand_begin(w);

    amqp_put_disposition(w, &f);
    hand_end(w, at, 0);
}

// Feeds what was written and forgets it.
static inline void hand_over(struct amqp_writer *w, struct side *to, struct mono now)
{
    side_feed(to, w->buf, w->len, 0, now);
    w->len = 0;
}

// One engine that listens, and a hand that writes what it hears: all has been opened.
struct hand {
    struct pool *pool;
    struct side s;
    struct amqp_writer w;
    struct mono now;
};

static inline void hand_init_with(struct hand *h, const struct amqp_conn_opts *opts)
{
    struct amqp_conn_opts o;
    size_t len;

    memset(h, 0, sizeof(*h));
    h->pool = pool_new(64, 65536);
    h->now = (struct mono){NS_PER_S};
    o = opts ? *opts : pair_opts(h->pool, true);
    o.pool = h->pool;
    o.sasl_optional = true;
    h->s.conn = amqp_conn_new(&o, h->now);
    h->s.grants = 10;
    amqp_writer_init(&h->w);
    amqp_put_raw(&h->w, (struct str){"AMQP\0\1\0\0", 8});
    hand_open(&h->w, 16384, 0);
    hand_over(&h->w, &h->s, h->now);
    CHECK_STR(told(&h->s), "opened");
    free(side_output(&h->s, &len));
}

// As above with session 0 and a link on handle 0 that the hand sends on, with 10 credits.
static inline void hand_init(struct hand *h)
{
    size_t len;

    hand_init_with(h, NULL);
    hand_session(&h->w, 0);
    hand_attach(&h->w, "in", 0, false);
    hand_over(&h->w, &h->s, h->now);
    CHECK_STR(told(&h->s), "attached(in)");
    free(side_output(&h->s, &len));
}

static inline void hand_fini(struct hand *h)
{
    amqp_conn_free(h->s.conn);
    amqp_writer_fini(&h->w);
    CHECK_EQ(pool_used(h->pool), 0);
    pool_free(h->pool);
}

// The next frame in `bytes` behind *at: its body, or STR_NONE at the end.
static inline struct str next_frame_in(const uint8_t *bytes, size_t len, size_t *at)
{
    struct str body;
    uint32_t size;

    if (*at + 8 > len)
        return STR_NONE;
    size = amqp_load_u32(bytes + *at);
    CHECK(size >= 8 && size <= len - *at);
    body = (struct str){(const char *)bytes + *at + 8, size - 8};
    *at += size;
    return body;
}

// The engine's output as words: the performatives' names, with what matters of some. The output
// must begin with a frame.
static inline struct str heard(struct side *s)
{
    static char text[8192];
    size_t len, at = 0, n = 0;
    uint8_t *bytes = side_output(s, &len);
    struct str body;

    text[0] = '\0';
    while ((body = next_frame_in(bytes, len, &at)).ptr && n < sizeof(text) - 300) {
        static const char *const names[] = {"open",        "begin",  "attach", "flow", "transfer",
                                            "disposition", "detach", "end",    "close"};
        struct amqp_error e = {STR_NONE, STR_NONE};
        int code = body.len ? amqp_performative_of(body) : -1;
        struct amqp_disposition_frame df;
        struct amqp_flow_frame ff;
        struct amqp_detach_frame tf;
        struct amqp_transfer_frame xf;

        n += (size_t)snprintf(text + n, 300, "%s%s", n ? " " : "",
                              code < 0 ? "empty" : names[code - AMQP_OPEN]);
        if (code == AMQP_END)
            CHECK_EQ(amqp_decode_end(body, &e), 0);
        if (code == AMQP_CLOSE)
            CHECK_EQ(amqp_decode_close(body, &e), 0);
        if (code == AMQP_DETACH) {
            CHECK_EQ(amqp_decode_detach(body, &tf), 0);
            e = tf.error;
        }
        if (e.condition.ptr)
            n += (size_t)snprintf(text + n, 300, "(%.*s)", STR_ARG(e.condition));
        if (code == AMQP_DISPOSITION) {
            CHECK_EQ(amqp_decode_disposition(body, &df), 0);
            n += (size_t)snprintf(text + n, 300, "(%c %u-%u %s%s)", df.is_receiver ? 'r' : 's',
                                  df.first, df.last, outcome_name(df.state.type),
                                  df.settled ? "!" : "");
        }
        if (code == AMQP_FLOW) {
            CHECK_EQ(amqp_decode_flow(body, &ff), 0);
            if (ff.has_handle)
                n += (size_t)snprintf(text + n, 300, "(window %u, %u: count %u credit %u%s)",
                                      ff.incoming_window, ff.handle, ff.delivery_count,
                                      ff.link_credit, ff.drain ? " drain" : "");
            else
                n += (size_t)snprintf(text + n, 300, "(window %u)", ff.incoming_window);
        }
        if (code == AMQP_TRANSFER) {
            CHECK_EQ(amqp_decode_transfer(body, &xf), 0);
            n += (size_t)snprintf(text + n, 300, "(%zu%s%s%s)", body.len - xf.payload_at,
                                  xf.settled ? " settled" : "", xf.more ? " more" : "",
                                  xf.aborted ? " aborted" : "");
        }
    }
    free(bytes);
    return str_of(text);
}

// Only b, with these options.
static inline void server_init(struct pair *p, struct amqp_conn_opts *o)
{
    p->pool = pool_new(64, 4096);
    p->now = (struct mono){NS_PER_S};
    o->pool = p->pool;
    p->b.conn = amqp_conn_new(o, p->now);
}
