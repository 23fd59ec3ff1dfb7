// SPDX-License-Identifier: Apache-2.0
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "tcp/conn.h"

// A connection is two streams. Bytes that were read from the socket go to the source, bytes of the
// sink go to the socket.
//
//   conn.c       windows, half close, reset, timers: the same at both ends
//   listener.c   the end of a client; it opens the first stream, and again elsewhere when refused
//   connector.c  the end of a server; it is offered streams, and answers with the second one
//   head.c       the sections in front of the bytes; legacy.c  those of older routers
//
// The window: whoever writes to a socket tells every ACK_BYTES how many it has written in all;
// whoever reads stops when WINDOW_BYTES are not acknowledged. So a slow reader stops its own
// sender, however many routers and streams are between.
//
// How it ends. A socket that ended its direction ends the source; the other end writes what is
// left, ends its direction and accepts. A socket that broke settles the sink as modified, and the
// source with its end, by which the other end knows at once that this is no half close: it resets
// its socket. So it does when a stream is aborted, which was lost between routers: half an answer
// must not look like a whole one. A refusal alone waits a moment for the end of the stream, so that
// what was sent before it arrives.

void tcp_service_init(struct tcp_service *s)
{
    list_init(&s->conns);
}

struct tcp *tcp_new(struct router *r, struct pool *pool)
{
    struct tcp *t = xcalloc(1, sizeof(*t));

    t->router = r;
    t->pool = pool;
    t->next_id = 1;
    list_init(&t->dirty);
    list_init(&t->to_connect);
    list_init(&t->wayless);
    return t;
}

void tcp_free(struct tcp *t)
{
    assert(!t || t->count == 0);
    free(t);
}

size_t tcp_count(const struct tcp *t)
{
    return t->count;
}

void tcp_observe(struct tcp *t, const struct tcp_observer *o)
{
    t->observer = *o;
}

struct mono tcp_now(const struct tcp *t)
{
    struct mono told = router_now(t->router);

    return mono_before(told, t->now) ? t->now : told;
}

void *tcp_observation(const struct tcp_conn *c)
{
    return c->observation;
}

void tcp_set_observation(struct tcp_conn *c, void *observation)
{
    c->observation = observation;
}

void tcp_look_into(struct tcp_conn *c, bool on)
{
    c->is_looked_into = on && c->tcp->observer.bytes;
}

static void show(struct tcp_conn *c, bool from_socket, const uint8_t *data, size_t len)
{
    const struct tcp_observer *o = &c->tcp->observer;

    if (len > 0)
        o->bytes(o->user, c, from_socket, data, len, tcp_now(c->tcp));
}

void end_mark(struct tcp_conn *c)
{
    if (list_empty(&c->on_dirty))
        list_append(&c->tcp->dirty, &c->on_dirty);
}

void end_fail(struct tcp_conn *c, const char *why)
{
    if (!c->error)
        c->error = why;
    c->is_over = true;
    end_mark(c);
}

// ------------------------------------------------------------------------------------- the timers

static uint32_t limit_ms(const struct tcp_conn *c)
{
    bool is_half = c->is_ended || c->is_stream_ended || c->is_refused;

    return is_half && c->is_established ? c->service->half_closed_ms : c->service->idle_ms;
}

// Looked at when due, and not moved with every byte.
static void watch(struct tcp_conn *c)
{
    uint32_t ms = limit_ms(c);
    struct mono due = ms > 0 ? mono_add_ms(c->active_at, ms) : MONO_NEVER;

    c->check_at = mono_min(c->check_at, due);
    end_mark(c);
}

void tcp_service_changed(struct tcp_service *s)
{
    list_for_each (node, &s->conns)
        watch(list_entry(node, struct tcp_conn, on_service));
}

struct mono tcp_deadline(const struct tcp_conn *c)
{
    return mono_min(c->check_at, c->reset_at);
}

// Breaks off: the socket is reset when it has taken what is there, or by then.
static void break_off(struct tcp_conn *c, const char *why)
{
    c->is_reset = true;
    c->reset_at = mono_add_ms(router_now(c->tcp->router), RESET_MS);
    end_fail(c, why);
}

void tcp_tick(struct tcp_conn *c, struct mono now)
{
    uint32_t ms = limit_ms(c);

    if (!mono_before(now, c->reset_at))
        tcp_drop(c, "the path to the other end was lost");
    if (mono_before(now, c->check_at))
        return;
    c->check_at = MONO_NEVER;
    if (ms > 0 && !mono_before(now, mono_add_ms(c->active_at, ms)))
        tcp_drop(c, c->is_established ? "no bytes passed for too long" : "nobody answered in time");
    watch(c);
    c->kind->tick(c, now);
}

// ------------------------------------------------------------------------------------- the source

static struct tcp_conn *of_source(struct router_source *s)
{
    return list_entry(s, struct tcp_conn, source);
}

static void source_ready(struct router_source *s)
{
    end_mark(of_source(s));
}

static void source_received(struct router_source *s, uint64_t offset)
{
    struct tcp_conn *c = of_source(s);

    if (offset <= c->acked)
        return;
    c->acked = offset < c->sent ? offset : c->sent;
    end_mark(c);
}

static void source_settled(struct router_source *s, enum amqp_outcome_type outcome)
{
    struct tcp_conn *c = of_source(s);

    bool is_unwanted = outcome == AMQP_RELEASED || outcome == AMQP_REJECTED;

    if (!c->is_established || (c->kind->is_answering && is_unwanted && c->acked == 0)) {
        c->kind->refused(c, outcome);
        return;
    }
    if (outcome == AMQP_ACCEPTED && c->is_ended)
        return;
    c->is_refused = true;
    if (c->is_stream_ended)
        break_off(c, "the other end was reset");
    else if (!c->is_ended) // otherwise what it sends may still be worth having
        c->reset_at = mono_add_ms(router_now(c->tcp->router), VERDICT_MS);
    watch(c);
}

static const struct router_source_ops source_ops = {
    .ready = source_ready,
    .received = source_received,
    .settled = source_settled,
};

size_t tcp_room(struct tcp_conn *c)
{
    uint64_t open = c->sent - c->acked;
    uint64_t window = c->is_legacy ? LEGACY_WINDOW_BYTES : WINDOW_BYTES;
    size_t room;

    if (!c->is_established || c->owes_early || c->is_over || !c->source.delivery || open >= window)
        return 0;
    room = router_source_room(&c->source);
    if (c->is_legacy)
        room = room > LEGACY_HEAD_MAX ? room - LEGACY_HEAD_MAX : 0;
    return room < window - open ? room : (size_t)(window - open);
}

static void pass_on(struct tcp_conn *c, const uint8_t *data, size_t len)
{
    if (c->is_legacy) {
        uint8_t head[LEGACY_HEAD_MAX];

        router_source_write(&c->source, head, legacy_put_head(head, len), false);
    }
    router_source_write(&c->source, data, len, false);
    if (c->is_looked_into)
        show(c, true, data, len);
}

void tcp_feed(struct tcp_conn *c, const uint8_t *data, size_t len, struct mono now)
{
    struct buf *early = c->is_established && !c->owes_early ? NULL : c->kind->early(c);

    c->tcp->now = c->active_at = c->last_in_at = now;
    if (c->sent == 0)
        c->first_in_at = now;
    c->sent += len;
    c->service->bytes_in += len;
    if (!early)
        pass_on(c, data, len);
    else if (buf_write(early, data, len) < len)
        tcp_drop(c, "no memory is left for what came with its handshake");
}

void tcp_ended(struct tcp_conn *c, struct mono now)
{
    c->active_at = now;
    c->is_ended = true;
    if (c->is_established && !c->owes_early)
        router_source_write(&c->source, NULL, 0, true);
    watch(c);
}

// A handshake may bring bytes with it, and the end of them.
static void pass_on_early(struct tcp_conn *c)
{
    struct buf *early = c->kind->early(c);
    const uint8_t *data;
    size_t len;

    c->owes_early = false;
    while (early && (data = buf_front(early, &len)) != NULL && len > 0) {
        pass_on(c, data, len);
        buf_skip(early, len);
    }
    if (c->is_ended)
        router_source_write(&c->source, NULL, 0, true);
}

struct tcp_conn *tcp_next_dirty(struct tcp *t)
{
    struct list *node = list_pop(&t->dirty);
    struct tcp_conn *c = node ? list_entry(node, struct tcp_conn, on_dirty) : NULL;

    if (c && c->owes_early)
        pass_on_early(c);
    return c;
}

// --------------------------------------------------------------------------------------- the sink

static struct tcp_conn *of_sink(struct router_sink *s)
{
    return list_entry(s, struct tcp_conn, sink);
}

// How much may wait for the socket: less when the pool gets short, so that many slow readers leave
// room to the others. The rest waits in the router, which holds the sender.
static size_t out_max(const struct tcp_conn *c)
{
    return pool_used(c->tcp->pool) < pool_block_max(c->tcp->pool) / 4 ? OUT_LARGE : OUT_SMALL;
}

static size_t sink_room(struct router_sink *s)
{
    const struct tcp_conn *c = of_sink(s);
    size_t most = out_max(c);

    return c->out.len < most ? most - c->out.len : 0;
}

static const uint8_t null_value[] = {0x00, 0x53, AMQP_SECTION_VALUE, 0x40};

// The body begins with a null value, which is not for the socket. Returns its octets in `data`.
static size_t skip_value(struct tcp_conn *c, const uint8_t *data, size_t len)
{
    size_t at = 0;

    for (; at < len && c->body_at < sizeof(null_value); at++, c->body_at++)
        if (data[at] != null_value[c->body_at])
            end_fail(c, "the other end sent a body of another kind");
    return at;
}

// In front of the next bytes for the socket there are still octets of the encapsulation.
static bool is_at_head(const struct tcp_conn *c)
{
    return c->is_legacy ? c->section_left == 0 : c->body_at < sizeof(null_value);
}

static size_t sink_write(struct router_sink *s, const uint8_t *data, size_t len)
{
    struct tcp_conn *c = of_sink(s);
    size_t at = 0, wanted, most, done;

    while (at < len && !c->is_over) {
        if (is_at_head(c)) {
            at += c->is_legacy ? legacy_read_head(c, data + at, len - at)
                               : skip_value(c, data + at, len - at);
            continue;
        }
        most = c->is_legacy ? c->section_left : SIZE_MAX;
        wanted = len - at < most ? len - at : most;
        most = sink_room(s);
        done = buf_write(&c->out, data + at, wanted < most ? wanted : most);
        if (c->is_looked_into)
            show(c, false, data + at, done);
        c->taken += done;
        at += done;
        if (c->is_legacy)
            c->section_left -= (uint32_t)done;
        if (done < wanted)
            break;
    }
    end_mark(c);
    return c->is_over ? len : at; // what comes when it is over, nobody will read
}

// All that was for the socket has left.
static void settle_if_written(struct tcp_conn *c)
{
    if (c->is_stream_ended && c->out.len == 0)
        router_sink_settle(&c->sink, AMQP_ACCEPTED);
}

static void sink_ended(struct router_sink *s, enum router_end how)
{
    struct tcp_conn *c = of_sink(s);

    c->is_stream_ended = true;
    if (how == ROUTER_END_ABORTED)
        break_off(c, "the path to the other end was lost");
    else if (c->is_refused || (how == ROUTER_END_LEFT && !c->is_ended))
        break_off(c, "the other end was reset");
    settle_if_written(c);
    watch(c);
}

static const struct router_sink_ops sink_ops = {
    .write = sink_write,
    .room = sink_room,
    .ended = sink_ended,
};

struct router_sink *end_sink(struct tcp_conn *c)
{
    c->sink.ops = &sink_ops;
    return &c->sink;
}

struct buf *tcp_output(struct tcp_conn *c)
{
    return &c->out;
}

void tcp_sent(struct tcp_conn *c, struct mono now)
{
    uint64_t written = c->taken - c->out.len;

    c->service->bytes_out += written - c->written;
    c->written = written;
    if (c->first_out_at.ns == MONO_NEVER.ns)
        c->first_out_at = now;
    c->tcp->now = c->active_at = c->last_out_at = now;
    if (written - c->acknowledged >= (c->is_legacy ? LEGACY_ACK_BYTES : ACK_BYTES)) {
        c->acknowledged = written;
        router_sink_received(&c->sink, written);
    }
    if (c->out.len < OUT_SMALL)
        router_sink_ready(&c->sink);
    settle_if_written(c);
    if (c->is_reset)
        end_mark(c);
}

bool tcp_is_shut(const struct tcp_conn *c)
{
    return c->is_stream_ended && !c->is_over && c->out.len == 0;
}

bool tcp_is_reset(const struct tcp_conn *c)
{
    return c->is_reset && (c->out.len == 0 || !tcp_is_connected(c));
}

bool tcp_is_finished(const struct tcp_conn *c)
{
    return !c->is_reset && (c->is_over || (c->is_ended && tcp_is_shut(c)));
}

// ------------------------------------------------------------------------------------------- life

void end_init(struct tcp *t, struct tcp_conn *c, struct tcp_service *service,
              const struct tcp_kind *kind, const struct amqp_msg *head)
{
    c->tcp = t;
    c->service = service;
    c->kind = kind;
    c->source.ops = &source_ops;
    c->id = t->next_id++;
    c->opened_at = c->active_at = tcp_now(t);
    c->established_at = c->check_at = c->reset_at = MONO_NEVER;
    c->last_in_at = c->last_out_at = c->first_in_at = c->first_out_at = MONO_NEVER;
    buf_init(&c->out, t->pool);
    list_init(&c->on_dirty);
    list_append(&service->conns, &c->on_service);
    service->opened++;
    t->count++;
    if (t->observer.opened)
        t->observer.opened(t->observer.user, c, head);
}

void end_established(struct tcp_conn *c, struct mono now)
{
    const struct buf *early = c->kind->early(c);

    c->is_established = true;
    c->owes_early = c->is_ended || (early && early->len > 0);
    c->established_at = now;
    c->active_at = now;
    if (c->tcp->observer.established)
        c->tcp->observer.established(c->tcp->observer.user, c);
    watch(c);
}

static void end_free(struct tcp_conn *c)
{
    struct tcp *t = c->tcp;

    if (t->observer.closed)
        t->observer.closed(t->observer.user, c, c->error);
    c->service->closed++;
    t->count--;
    list_remove(&c->on_dirty);
    list_remove(&c->on_service);
    buf_fini(&c->out);
    free(c->peer);
    c->kind->free(c);
}

// What the other end sees: the truth.
void tcp_lost(struct tcp_conn *c, const char *error)
{
    if (!c->error)
        c->error = error;
    router_sink_settle(&c->sink, AMQP_MODIFIED);
    router_source_leave(&c->source);
    end_free(c);
}

void tcp_connect_failed(struct tcp_conn *c, const char *why)
{
    c->error = why;
    c->service->failed++;
    router_sink_settle(&c->sink, AMQP_MODIFIED);
    end_free(c);
}

void tcp_drop(struct tcp_conn *c, const char *why)
{
    c->taken -= c->out.len; // nobody will get it
    buf_skip(&c->out, c->out.len);
    c->is_reset = true;
    c->reset_at = MONO_NEVER;
    end_fail(c, why);
}

bool tcp_is_connected(const struct tcp_conn *c)
{
    return c->peer != NULL;
}

struct tcp_service *tcp_service_of(const struct tcp_conn *c)
{
    return c->service;
}

void *tcp_transport(const struct tcp_conn *c)
{
    return c->transport;
}

void tcp_set_transport(struct tcp_conn *c, void *transport)
{
    c->transport = transport;
}

struct tcp_conn *tcp_on_service(struct list *node)
{
    return list_entry(node, struct tcp_conn, on_service);
}

static const char *waits_for(const struct tcp_conn *c)
{
    if (c->sent - c->acked >= (c->is_legacy ? LEGACY_WINDOW_BYTES : WINDOW_BYTES))
        return "the other end to read";
    if (c->out.len > 0)
        return "its own peer to read";
    if (c->source.delivery && !c->is_ended && router_source_is_held(&c->source))
        return "the path to the other end";
    return "";
}

void tcp_info(const struct tcp_conn *c, struct tcp_info *out)
{
    bool half = c->is_ended || c->is_stream_ended;

    *out = (struct tcp_info){
        .id = c->id,
        .service = c->service,
        .peer = c->peer ? c->peer : "",
        .alpn = "",
        .state = c->is_over           ? "closing"
                 : !c->is_established ? "connecting"
                 : half               ? "half-closed"
                                      : "open",
        .waits = c->is_established ? waits_for(c) : "",
        .error = c->error,
        .bytes_in = c->sent,
        .bytes_out = c->taken - c->out.len,
        .unacknowledged = c->sent - c->acked,
        .unsent = c->out.len,
        .opened_at = c->opened_at,
        .established_at = c->established_at,
        .last_in_at = c->last_in_at,
        .last_out_at = c->last_out_at,
        .first_in_at = c->first_in_at,
        .first_out_at = c->first_out_at,
    };
    c->kind->info(c, out);
}

struct str tcp_reply_to(const struct tcp_conn *c, char text[ROUTER_REPLY_MAX])
{
    return c->kind->reply_to(c, text);
}
