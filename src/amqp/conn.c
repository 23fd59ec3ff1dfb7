// SPDX-License-Identifier: Apache-2.0
#include "amqp/engine.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"

// The engine of one AMQP connection. A connection owns its sessions, a session its links and the
// deliveries that are not settled, in a table for each direction; links point at the one delivery
// whose frames are on their way. Everything is freed by its owner, and nothing is counted.
//
//   frame.c  bytes to frames and back       incoming.c, outgoing.c  transfers
//   sasl.c   headers and SASL               delivery.c              life and settling
//   conn.c   open, close, time, events      disposition.c           ranges of ids, in and out
//   session.c  begin, end, windows          link.c                  attach, detach, credit
//   codec.c and performative.c know what frames look like.
//
// Start reading at amqp_conn_next(): it goes from frame to frame until one makes an event. A frame
// that makes several (end: one for each link; disposition: one for each delivery) leaves a place to
// go on from (c->ending, c->range), and no other frame is read before that is told. So every view
// into a frame that an event shows is good until the next call. What an event says is gone
// (c->gone, c->gone_link) is really freed at the start of the next call, and whoever frees
// something earlier, because its owner asked for it while looking at the event, clears these
// places.
//
// Frames are put into the output at once, except what is better told late: dispositions, and flows
// of links and sessions. Their sessions are on c->dirty until amqp_conn_flush().
//
// Time: c->now is what the shell said last. Four things wait for it: a peer that does not open in
// time, silence, our own heartbeats, and a peer that does not answer our close.

const char *conn_words(struct amqp_conn *c, const char *fmt, va_list args)
{
    char *words = NULL;

    if (vasprintf(&words, fmt, args) < 0)
        words = NULL;
    free(c->words);
    c->words = words;
    return words ? words : "";
}

// ------------------------------------------------------------------------------------ life

static void encode_open(struct amqp_conn *c, const struct amqp_conn_opts *o)
{
    struct amqp_open_frame f = {
        .container_id = o->container_id ? str_of(o->container_id) : STR(""),
        .hostname = o->is_server ? STR_NONE : str_of(o->hostname),
        .frame_size_max = o->frame_size_max,
        .channel_max = o->channel_max,
        .idle_timeout_ms = o->idle_timeout_ms / 2,
    };
    struct amqp_writer offered, properties, w;

    amqp_writer_init(&offered);
    amqp_writer_init(&properties);
    if (o->offered_count > 0) {
        amqp_put_capabilities(&offered, o->offered, o->offered_count);
        f.offered = f.desired = amqp_written(&offered);
    }
    if (o->properties) {
        amqp_val_write(&properties, o->properties, false);
        f.properties = amqp_written(&properties);
    }
    frame_begin(&w);
    amqp_put_open(&w, &f);
    c->open = w.buf; // freed when it has been put
    c->open_len = (uint32_t)w.len;
    amqp_writer_fini(&offered);
    amqp_writer_fini(&properties);
}

struct amqp_conn *amqp_conn_new(const struct amqp_conn_opts *opts, struct mono now)
{
    struct amqp_conn *c = xcalloc(1, sizeof(*c));

    assert(opts->frame_size_max >= FRAME_MIN && opts->pool);
    c->opts = *opts;
    c->now = c->started = c->last_input = c->last_put = c->trimmed = now;
    c->block_size = pool_block_size(opts->pool);
    c->block_max = pool_block_max(opts->pool);
    c->frame_out_max = FRAME_MIN;
    buf_init(&c->output, opts->pool);
    list_init(&c->sessions);
    list_init(&c->dirty);
    list_init(&c->due_links);
    encode_open(c, opts);
    c->opts.container_id = c->opts.hostname = NULL;
    c->opts.offered = NULL;
    c->opts.properties = NULL;
    sasl_start(c);
    return c;
}

static void free_spare_deliveries(struct amqp_conn *c)
{
    while (c->free) {
        struct delivery *d = c->free;

        c->free = d->chain;
        free(d);
    }
    c->free_count = 0;
}

void amqp_conn_free(struct amqp_conn *c)
{
    struct list *node;

    if (!c)
        return;
    c->is_up = false;
    c->is_finished = true;
    while ((node = list_first(&c->sessions)) != NULL)
        session_free(list_entry(node, struct amqp_session, on_conn));
    free_spare_deliveries(c);
    idmap_fini(&c->remote_channels);
    free(c->channels);
    frame_forget(c);
    amqp_conn_trace(c, false);
    amqp_val_free(c->offered);
    amqp_val_free(c->properties);
    free(c->open);
    free(c->words);
    buf_fini(&c->output);
    free(c);
}

// ------------------------------------------------------------------------------- open and close

void conn_put_open(struct amqp_conn *c)
{
    struct amqp_writer w = {.buf = c->open, .len = c->open_len, .size = c->open_len};

    c->open_sent = true;
    c->open = NULL;
    c->last_input = c->now;
    frame_end(c, &w, FRAME_AMQP, 0);
}

static void put_close(struct amqp_conn *c, struct str condition, struct str words)
{
    struct amqp_error error = {condition, words};
    struct amqp_writer w;

    if (!c->open_sent)
        conn_put_open(c);
    frame_begin(&w);
    amqp_put_close(&w, &error);
    frame_end(c, &w, FRAME_AMQP, 0);
    c->close_sent = true;
    c->is_up = false;
}

void conn_drop(struct amqp_conn *c, struct str condition, struct str words, bool is_ours)
{
    if (c->is_finished)
        return;
    c->is_finished = true;
    c->is_up = false;
    c->due = DUE_CLOSED;
    c->reason = (struct reason){condition, words, is_ours};
}

bool conn_fail(struct amqp_conn *c, const char *condition, const char *fmt, ...)
{
    va_list args;
    const char *words;

    if (c->is_finished)
        return false;
    va_start(args, fmt);
    words = conn_words(c, fmt, args);
    va_end(args);
    if (c->phase == PHASE_FRAMES && !c->close_sent)
        put_close(c, str_of(condition), str_of(words));
    conn_drop(c, str_of(condition), str_of(words), true);
    return false;
}

void amqp_conn_close(struct amqp_conn *c, const char *condition, const char *description)
{
    if (c->is_finished || c->close_sent)
        return;
    if (c->phase != PHASE_FRAMES) {
        conn_drop(c, STR_NONE, STR_NONE, false);
        return;
    }
    amqp_conn_flush(c);
    put_close(c, str_of(condition), str_of(condition ? description : NULL));
    c->close_at = mono_add_ms(c->now, CLOSE_WAIT_MS);
}

static int read_tree(struct str encoded, struct amqp_val **out)
{
    struct amqp_reader r = amqp_reader_of(encoded);

    return encoded.len == 0 ? 0 : amqp_val_read(&r, PROPERTIES_MAX, out);
}

static bool keep_open(struct amqp_conn *c, struct str body)
{
    struct amqp_open_frame f;
    uint8_t *kept = memcpy(xcalloc(1, body.len), body.ptr, body.len);
    uint32_t own = c->opts.frame_size_max > FRAME_OUT_MIN ? c->opts.frame_size_max : FRAME_OUT_MIN;

    if (!c->open_sent)
        conn_put_open(c);
    c->open = kept;
    if (amqp_decode_open((struct str){(const char *)kept, body.len}, &f) < 0 ||
        read_tree(f.offered, &c->offered) < 0 || read_tree(f.properties, &c->properties) < 0)
        return conn_fail(c, "amqp:decode-error", "the open frame cannot be read");
    if (f.frame_size_max < FRAME_MIN)
        return conn_fail(c, "amqp:invalid-field", "max-frame-size is %u, less than 512",
                         f.frame_size_max);
    c->peer = (struct amqp_peer){
        .container_id = f.container_id,
        .hostname = f.hostname,
        .frame_size_max = f.frame_size_max,
        .channel_max = f.channel_max,
        .idle_timeout_ms = f.idle_timeout_ms,
        .offered = c->offered,
        .properties = c->properties,
        .sasl_mechanism = c->peer.sasl_mechanism,
    };
    c->frame_out_max = f.frame_size_max < own ? f.frame_size_max : own;
    return true;
}

static void on_open(struct amqp_conn *c, struct str body)
{
    if (c->open_received) {
        conn_fail(c, "amqp:not-allowed", "a second open frame came");
        return;
    }
    if (!keep_open(c, body))
        return;
    c->open_received = true;
    if (c->close_sent || c->is_finished)
        return;
    c->is_up = true;
    c->due |= DUE_OPENED;
}

static void on_close(struct amqp_conn *c, struct str body)
{
    struct amqp_error error;

    if (amqp_decode_close(body, &error) < 0) {
        conn_fail(c, "amqp:decode-error", "the close frame cannot be read");
        return;
    }
    if (!c->close_sent) {
        amqp_conn_flush(c);
        put_close(c, STR_NONE, STR_NONE);
    }
    conn_drop(c, error.condition, error.description, false);
}

// ---------------------------------------------------------------------------------------- frames

static struct amqp_session *session_at(struct amqp_conn *c, uint16_t channel)
{
    if (LIKELY(c->last && c->last->remote_channel == channel))
        return c->last;
    return c->last = idmap_get(&c->remote_channels, channel);
}

// A frame of a session. Returns whether *ev was filled.
static bool on_session_frame(struct amqp_conn *c, const struct frame *f, int code,
                             struct amqp_event *ev)
{
    struct amqp_session *s = session_at(c, f->channel);

    if (!s)
        return conn_fail(c, "amqp:not-allowed", "a frame came on channel %u, which has no session",
                         f->channel);
    if (code == AMQP_END) {
        session_on_end(s, f->body);
        return false;
    }
    if (s->state != MAPPED)
        return false; // it has been ended, and the peer does not know yet
    switch (code) {
    case AMQP_TRANSFER:
        return session_on_transfer(s, f->body, ev);
    case AMQP_DISPOSITION:
        session_on_disposition(s, f->body);
        return false;
    case AMQP_FLOW:
        return session_on_flow(s, f->body, ev);
    case AMQP_ATTACH:
        return link_on_attach(s, f->body, ev);
    case AMQP_DETACH:
        return link_on_detach(s, f->body, ev);
    }
    return false;
}

static bool on_frame(struct amqp_conn *c, const struct frame *f, struct amqp_event *ev)
{
    int code;

    if (UNLIKELY(f->type != FRAME_AMQP))
        return conn_fail(c, "amqp:connection:framing-error", "a frame of type %u came", f->type);
    if (f->body.len == 0)
        return false;
    code = amqp_performative_of(f->body);
    if (UNLIKELY(code < AMQP_OPEN || code > AMQP_CLOSE))
        return conn_fail(c, "amqp:decode-error", "a frame came that is none of the AMQP ones");
    if (UNLIKELY(!c->open_received && code != AMQP_OPEN))
        return conn_fail(c, "amqp:not-allowed", "the first frame is not open");
    if (code == AMQP_OPEN)
        on_open(c, f->body);
    else if (code == AMQP_CLOSE)
        on_close(c, f->body);
    else if (UNLIKELY(c->close_sent))
        return false;
    else if (code == AMQP_BEGIN)
        session_on_begin(c, f->channel, f->body);
    else
        return on_session_frame(c, f, code, ev);
    return false;
}

static void bad_frame(struct amqp_conn *c, int err, const struct frame *f)
{
    if (err == ERR_LIMIT)
        conn_fail(c, "amqp:connection:framing-error", "a frame of %zu octets is too large",
                  f->body.len);
    else
        conn_fail(c, "amqp:connection:framing-error",
                  "the data offset of a frame of %zu octets lies outside of it", f->body.len);
}

// ---------------------------------------------------------------------------------------- events

// Frees what the last event said is gone.
static inline void bury(struct amqp_conn *c)
{
    if (c->gone) {
        struct delivery *d = c->gone;

        c->gone = NULL;
        delivery_bury(d);
    }
    if (UNLIKELY(c->gone_link)) {
        struct amqp_link *l = c->gone_link;

        c->gone_link = NULL;
        link_bury(l);
    }
}

static bool tell_due(struct amqp_conn *c, struct amqp_event *ev)
{
    struct list *node;

    if (c->due & DUE_CLOSED) {
        c->due = 0;
        *ev = (struct amqp_event){
            .type = AMQP_EV_CLOSED,
            .ended = {c->reason.condition, c->reason.description, c->reason.is_ours}};
        return true;
    }
    if (c->due & DUE_OPENED) {
        c->due &= (uint8_t)~DUE_OPENED;
        *ev = (struct amqp_event){.type = AMQP_EV_OPENED};
        return c->is_up;
    }
    if (c->due & DUE_WRITABLE) {
        c->due &= (uint8_t)~DUE_WRITABLE;
        *ev = (struct amqp_event){.type = AMQP_EV_WRITABLE};
        return c->is_up;
    }
    node = list_pop(&c->due_links);
    if (node && c->is_up) {
        *ev = (struct amqp_event){.type = AMQP_EV_CREDIT,
                                  .link = list_entry(node, struct amqp_link, on_due)};
        return true;
    }
    c->due = 0;
    return false;
}

static void forget_input(struct amqp_conn *c)
{
    c->in = c->in_end = NULL;
    frame_forget(c);
}

bool amqp_conn_next(struct amqp_conn *c, struct amqp_event *ev)
{
    struct frame f;
    int got;

    bury(c);
    for (;;) {
        if (UNLIKELY(c->is_finished)) {
            if (c->due)
                return tell_due(c, ev);
            forget_input(c);
            return false;
        }
        if (c->range.at && session_next_updated(c, ev))
            return true;
        if (UNLIKELY(c->ending) && session_next_ended(c, ev))
            return true;
        if (UNLIKELY(c->due) && tell_due(c, ev))
            return true;
        if (UNLIKELY(c->phase != PHASE_FRAMES)) {
            if (!sasl_read(c))
                return false;
            continue;
        }
        got = frame_next(c, &f);
        if (got == 0)
            return false;
        if (UNLIKELY(got < 0))
            bad_frame(c, got, &f);
        else if (on_frame(c, &f, ev))
            return true;
    }
}

void amqp_conn_feed(struct amqp_conn *c, const uint8_t *data, size_t len, struct mono now)
{
    c->now = c->last_input = now;
    if (c->is_finished)
        return;
    assert(c->in == c->in_end);
    c->in = data;
    c->in_end = data + len;
}

void amqp_conn_flush(struct amqp_conn *c)
{
    struct list *node;

    if (!c->is_up)
        return;
    while ((node = list_pop(&c->dirty)) != NULL)
        session_flush(list_entry(node, struct amqp_session, on_dirty));
}

struct buf *amqp_conn_output(struct amqp_conn *c)
{
    if (UNLIKELY(c->trace))
        trace_output(c);
    return &c->output;
}

bool conn_has_room(const struct amqp_conn *c)
{
    return c->output.len < c->opts.output_max && pool_used(c->opts.pool) < c->block_max &&
           c->unsettled_out < UNSETTLED_MAX;
}

// Room comes back in larger pieces than it was missing, or every event would bring one frame.
static void maybe_writable(struct amqp_conn *c)
{
    if (!c->was_refused || !c->is_up || c->output.len > c->opts.output_max / 2 || !conn_has_room(c))
        return;
    c->was_refused = false;
    c->due |= DUE_WRITABLE;
}

void amqp_conn_sent(struct amqp_conn *c)
{
    if (UNLIKELY(c->trace))
        trace_sent(c);
    maybe_writable(c);
}

// ------------------------------------------------------------------------------------------ time

static struct mono heartbeat_at(const struct amqp_conn *c)
{
    uint32_t timeout_ms = c->peer.idle_timeout_ms;

    if (!c->is_up || timeout_ms == 0)
        return MONO_NEVER;
    return mono_add_ms(c->last_put, timeout_ms / 2);
}

static struct mono silence_at(const struct amqp_conn *c)
{
    if (c->close_sent)
        return c->close_at;
    if (!c->open_sent || c->opts.idle_timeout_ms == 0)
        return MONO_NEVER;
    return mono_add_ms(c->last_input, c->opts.idle_timeout_ms);
}

static struct mono handshake_at(const struct amqp_conn *c)
{
    if (c->open_received || c->close_sent || c->opts.handshake_ms == 0)
        return MONO_NEVER;
    return mono_add_ms(c->started, c->opts.handshake_ms);
}

struct mono amqp_conn_deadline(const struct amqp_conn *c)
{
    struct mono at;

    if (c->is_finished)
        return MONO_NEVER;
    at = mono_min(heartbeat_at(c), mono_min(silence_at(c), handshake_at(c)));
    if (c->was_refused && c->output.len <= c->opts.output_max / 2)
        at = mono_min(at, mono_add_ms(c->now, POOL_WAIT_MS));
    return at;
}

void amqp_conn_rest(struct amqp_conn *c)
{
    free_spare_deliveries(c);
    list_for_each (node, &c->sessions)
        session_trim(list_entry(node, struct amqp_session, on_conn));
}

// A connection that was quiet for a while keeps no memory for traffic.
static void trim(struct amqp_conn *c)
{
    if (mono_ms_between(c->trimmed, c->now) < TRIM_MS)
        return;
    c->trimmed = c->now;
    if (!c->was_busy)
        amqp_conn_rest(c);
    c->was_busy = false;
}

static bool is_due(struct mono at, struct mono now)
{
    return !mono_before(now, at);
}

void amqp_conn_tick(struct amqp_conn *c, struct mono now)
{
    c->now = now;
    if (c->is_finished)
        return;
    if (is_due(handshake_at(c), now)) {
        conn_fail(c, "amqp:resource-limit-exceeded", "no open frame came within %u ms",
                  c->opts.handshake_ms);
        return;
    }
    if (is_due(silence_at(c), now)) {
        if (c->close_sent)
            conn_drop(c, STR_NONE, STR_NONE, false);
        else
            conn_fail(c, "amqp:resource-limit-exceeded", "local-idle-timeout expired");
        return;
    }
    // What waits in the output is as good as a heartbeat.
    if (is_due(heartbeat_at(c), now)) {
        if (c->output.len == 0)
            frame_put_empty(c);
        c->last_put = now;
    }
    maybe_writable(c);
    trim(c);
}

// ------------------------------------------------------------------------------------- questions

bool amqp_conn_is_finished(const struct amqp_conn *c)
{
    return c->is_finished;
}

bool amqp_conn_is_open(const struct amqp_conn *c)
{
    return c->is_up;
}

const struct amqp_peer *amqp_conn_peer(const struct amqp_conn *c)
{
    return &c->peer;
}

bool amqp_peer_offers(const struct amqp_peer *p, const char *capability)
{
    const struct amqp_val *v = p->offered;

    if (!v)
        return false;
    if (v->type == AMQP_SYMBOL)
        return str_is(v->s, capability);
    for (uint32_t i = 0; i < v->count; i++)
        if (v->items[i]->type == AMQP_SYMBOL && str_is(v->items[i]->s, capability))
            return true;
    return false;
}

void *amqp_conn_user(const struct amqp_conn *c)
{
    return c->user;
}

void amqp_conn_set_user(struct amqp_conn *c, void *user)
{
    c->user = user;
}
