// SPDX-License-Identifier: Apache-2.0
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "amqp/engine.h"
#include "base/err.h"
#include "base/mem.h"

enum session_move { SENT_BEGIN, GOT_BEGIN, SENT_END, SENT_ERROR, GOT_END, SESSION_MOVE_COUNT };

// The drawing in part 2.5.5, cell by cell. A cell left out is a protocol error: the peer's if we
// got the frame, ours if we were about to send it.
static const uint8_t session_table[SESSION_STATE_COUNT][SESSION_MOVE_COUNT] = {
    [UNMAPPED] = {[SENT_BEGIN] = BEGIN_SENT, [GOT_BEGIN] = BEGIN_RCVD},
    [BEGIN_SENT] = {[GOT_BEGIN] = MAPPED},
    [BEGIN_RCVD] = {[SENT_BEGIN] = MAPPED},
    [MAPPED] = {[SENT_END] = END_SENT, [SENT_ERROR] = DISCARDING, [GOT_END] = END_RCVD},
    [END_SENT] = {[GOT_END] = UNMAPPED},
    [END_RCVD] = {[SENT_END] = UNMAPPED},
    [DISCARDING] = {[GOT_END] = UNMAPPED},
};

static void move(struct amqp_session *s, enum session_move m)
{
    assert(session_table[s->state][m] != ILLEGAL);
    s->state = session_table[s->state][m];
}

bool session_is_usable(const struct amqp_session *s)
{
    return s->conn->is_up && !s->is_released && (s->state == BEGIN_SENT || s->state == MAPPED);
}

void session_mark(struct amqp_session *s)
{
    if (list_empty(&s->on_dirty))
        list_append(&s->conn->dirty, &s->on_dirty);
}

// ------------------------------------------------------------------------------------------ life

// The lowest channel that is free, or -1.
static int free_channel(struct amqp_conn *c)
{
    uint32_t max = c->opts.channel_max, channel = c->channel_free, size;

    if (c->peer.channel_max < max)
        max = c->peer.channel_max;
    while (channel < c->channel_size && c->channels[channel])
        channel++;
    c->channel_free = channel;
    if (channel > max)
        return -1;
    if (channel == c->channel_size) {
        size = channel ? channel * 2 : 2;
        c->channels = xrealloc(c->channels, size, sizeof(struct amqp_session *));
        memset(c->channels + channel, 0, (size - channel) * sizeof(struct amqp_session *));
        c->channel_size = size;
    }
    return (int)channel;
}

static struct amqp_session *session_new(struct amqp_conn *c, uint32_t window)
{
    int channel = c->session_count > c->opts.channel_max ? -1 : free_channel(c);
    struct amqp_session *s;

    if (channel < 0)
        return NULL;
    s = xcalloc(1, sizeof(*s));
    s->conn = c;
    s->channel = (uint16_t)channel;
    s->state = UNMAPPED;
    s->incoming_window = s->incoming_window_max = window;
    s->handle_max = HANDLE_MAX;
    s->handles = &s->only_link;
    s->handle_size = 1;
    list_init(&s->on_dirty);
    list_init(&s->links);
    list_init(&s->unanswered);
    list_init(&s->dirty_links);
    list_init(&s->in.order);
    list_init(&s->out.order);
    list_append(&c->sessions, &s->on_conn);
    c->channels[channel] = s;
    c->session_count++;
    return s;
}

static void free_links(struct amqp_session *s)
{
    struct list *node;

    while ((node = list_first(&s->links)) != NULL)
        link_free(list_entry(node, struct amqp_link, on_session));
}

void session_trim(struct amqp_session *s)
{
    struct unsettled *tables[] = {&s->in, &s->out};

    for (size_t i = 0; i < 2; i++) {
        if (tables[i]->count == 0) {
            free(tables[i]->slots);
            tables[i]->slots = NULL;
            tables[i]->size = 0;
        }
        if (s->said[i] && !s->said[i]->is_any)
            said_free(s, i);
    }
}

// Nothing more will come or go on its channels.
static void unmap(struct amqp_session *s)
{
    struct amqp_conn *c = s->conn;

    if (c->channels[s->channel] == s) {
        c->channels[s->channel] = NULL;
        if (s->channel < c->channel_free)
            c->channel_free = s->channel;
        if (idmap_get(&c->remote_channels, s->remote_channel) == s)
            idmap_remove(&c->remote_channels, s->remote_channel);
    }
    if (c->last == s)
        c->last = NULL;
    if (c->ending == s)
        c->ending = NULL;
    list_remove(&s->on_dirty);
}

void session_free(struct amqp_session *s)
{
    unmap(s);
    free_links(s);
    session_trim(s);
    said_free(s, false);
    said_free(s, true);
    free(s->in.slots);
    free(s->out.slots);
    if (s->handles != &s->only_link)
        free(s->handles);
    idmap_fini(&s->remote_handles);
    list_remove(&s->on_conn);
    s->conn->session_count--;
    free(s);
}

// Both sides have ended it. Who began it may still hold a pointer.
static void forget(struct amqp_session *s)
{
    s->state = UNMAPPED;
    if (s->is_mine && !s->is_released)
        unmap(s);
    else
        session_free(s);
}

// --------------------------------------------------------------------------------- begin and end

static void put_begin(struct amqp_session *s, bool is_answer)
{
    struct amqp_begin_frame f = {
        .has_remote_channel = is_answer,
        .remote_channel = s->remote_channel,
        .next_outgoing_id = s->next_outgoing_id,
        .incoming_window = s->incoming_window,
        .outgoing_window = OUTGOING_WINDOW,
        .handle_max = HANDLE_MAX,
    };
    struct amqp_writer w;

    move(s, SENT_BEGIN);
    frame_begin(&w);
    amqp_put_begin(&w, &f);
    frame_end(s->conn, &w, FRAME_AMQP, s->channel);
}

static void put_end(struct amqp_session *s, struct str condition, struct str words)
{
    struct amqp_error error = {condition, words};
    struct amqp_writer w;

    frame_begin(&w);
    amqp_put_end(&w, &error);
    frame_end(s->conn, &w, FRAME_AMQP, s->channel);
}

struct amqp_session *amqp_session_begin(struct amqp_conn *c, uint32_t incoming_window)
{
    struct amqp_session *s = c->is_up ? session_new(c, incoming_window) : NULL;

    if (!s)
        return NULL;
    s->is_mine = true;
    put_begin(s, false);
    return s;
}

// The peer's begin for one of ours, or for a new one; NULL when the connection has failed over it.
static struct amqp_session *begun(struct amqp_conn *c, const struct amqp_begin_frame *f)
{
    struct amqp_session *s = NULL;

    if (f->has_remote_channel) {
        if (f->remote_channel < c->channel_size)
            s = c->channels[f->remote_channel];
        if (!s || s->state != BEGIN_SENT) {
            conn_fail(c, "amqp:not-allowed", "begin answers none of ours: remote-channel is %u",
                      f->remote_channel);
            return NULL;
        }
        return s;
    }
    s = session_new(c, c->opts.incoming_window);
    if (!s)
        conn_fail(c, "amqp:resource-limit-exceeded", "there are %u sessions, no more are allowed",
                  c->session_count);
    return s;
}

void session_on_begin(struct amqp_conn *c, uint16_t channel, struct str body)
{
    struct amqp_begin_frame f;
    struct amqp_session *s;

    if (amqp_decode_begin(body, &f) < 0) {
        conn_fail(c, "amqp:decode-error", "a begin frame cannot be read");
        return;
    }
    if (channel > c->opts.channel_max) {
        conn_fail(c, "amqp:connection:framing-error", "channel %u is above channel-max %u", channel,
                  c->opts.channel_max);
        return;
    }
    if (idmap_get(&c->remote_channels, channel)) {
        conn_fail(c, "amqp:not-allowed", "begin came twice on channel %u", channel);
        return;
    }
    s = begun(c, &f);
    if (!s)
        return;
    s->remote_channel = channel;
    s->next_incoming_id = f.next_outgoing_id;
    s->remote_window = f.incoming_window;
    s->handle_max = f.handle_max < HANDLE_MAX ? f.handle_max : HANDLE_MAX;
    idmap_put(&c->remote_channels, channel, s);
    c->last = s;
    move(s, GOT_BEGIN);
    if (s->state == BEGIN_RCVD)
        put_begin(s, true);
    if (s->is_released) {
        move(s, SENT_END);
        put_end(s, STR_NONE, STR_NONE);
    }
}

void session_on_end(struct amqp_session *s, struct str body)
{
    struct amqp_conn *c = s->conn;
    struct amqp_error error;

    if (amqp_decode_end(body, &error) < 0) {
        conn_fail(c, "amqp:decode-error", "an end frame cannot be read");
        return;
    }
    move(s, GOT_END);
    if (s->state == UNMAPPED) {
        forget(s);
        return;
    }
    c->ending = s;
    c->reason = (struct reason){error.condition, error.description, false};
}

bool session_fail(struct amqp_session *s, const char *condition, const char *fmt, ...)
{
    struct amqp_conn *c = s->conn;
    va_list args;
    const char *words;

    va_start(args, fmt);
    words = conn_words(c, fmt, args);
    va_end(args);
    c->reason = (struct reason){str_of(condition), str_of(words), true};
    said_put_all(s);
    move(s, SENT_ERROR);
    put_end(s, c->reason.condition, c->reason.description);
    c->ending = s;
    return false;
}

bool session_next_ended(struct amqp_conn *c, struct amqp_event *ev)
{
    struct amqp_session *s = c->ending;
    struct list *node;

    while (c->is_up && (node = list_first(&s->links)) != NULL) {
        struct amqp_link *l = list_entry(node, struct amqp_link, on_session);

        if (l->is_retired) {
            link_free(l);
            continue;
        }
        c->gone_link = l;
        *ev = (struct amqp_event){
            .type = AMQP_EV_DETACHED,
            .link = l,
            .ended = {c->reason.condition, c->reason.description, c->reason.is_ours}};
        return true;
    }
    c->ending = NULL;
    if (c->is_up && s->state == END_RCVD) {
        move(s, SENT_END);
        put_end(s, STR_NONE, STR_NONE);
        forget(s);
    }
    return false;
}

void amqp_session_end(struct amqp_session *s)
{
    if (!s->conn->is_up || s->is_released)
        return;
    s->is_released = true;
    if (s->state == MAPPED)
        said_put_all(s);
    free_links(s);
    if (s->state == UNMAPPED) {
        session_free(s);
    } else if (s->state == MAPPED) {
        move(s, SENT_END);
        put_end(s, STR_NONE, STR_NONE);
    }
}

bool amqp_session_is_ended(const struct amqp_session *s)
{
    return !session_is_usable(s);
}

bool amqp_session_has_links(const struct amqp_session *s)
{
    list_for_each (node, &s->links)
        if (!list_entry(node, struct amqp_link, on_session)->is_retired)
            return true;
    return false;
}

// --------------------------------------------------------------------------------------- windows

// The peer's window is filled up again, unless our owner does not want that, or so much waits for
// its outcome that more could not be remembered.
static void refill(struct amqp_session *s)
{
    if (s->hold_count == 0 && s->conn->unsettled_in < UNSETTLED_MAX)
        s->incoming_window = s->incoming_window_max;
}

void session_put_flow(struct amqp_session *s, struct amqp_link *l)
{
    struct amqp_flow_frame f = {
        .has_next_incoming_id = s->state == MAPPED,
        .next_incoming_id = s->next_incoming_id,
        .next_outgoing_id = s->next_outgoing_id,
        .outgoing_window = OUTGOING_WINDOW,
    };
    uint8_t room[HEAD_LEN + AMQP_FLOW_LEN_MAX];
    struct amqp_writer w;

    refill(s);
    s->owes_flow = false;
    f.incoming_window = s->incoming_window;
    if (l) {
        f.has_handle = f.has_link_credit = true;
        f.handle = l->handle;
        f.has_delivery_count = l->role == AMQP_SENDER || l->attach_received;
        f.delivery_count = l->delivery_count;
        f.link_credit = l->credit;
        f.has_available = l->role == AMQP_SENDER;
        f.drain = l->role == AMQP_SENDER ? l->peer_drains : l->is_draining;
    }
    frame_begin_fixed(&w, room, sizeof(room));
    amqp_put_flow(&w, &f);
    frame_end(s->conn, &w, FRAME_AMQP, s->channel);
}

static bool can_carry_flow(const struct amqp_link *l)
{
    return l->role == AMQP_RECEIVER && l->attach_received && link_is_live(l);
}

// A flow frame for the window alone goes out in the name of a link. It need not, but a peer that
// looks for room only when it hears of a link (qpid-proton tells its user of no other flow) would
// not learn that the window is open again, and stand still for good.
static void put_window(struct amqp_session *s)
{
    if (s->last && can_carry_flow(s->last)) {
        link_put_flow(s->last);
        return;
    }
    list_for_each (node, &s->links) {
        struct amqp_link *l = list_entry(node, struct amqp_link, on_session);

        if (can_carry_flow(l)) {
            link_put_flow(l);
            return;
        }
    }
    session_put_flow(s, NULL);
}

void session_flush(struct amqp_session *s)
{
    struct list *node;

    if (s->state != MAPPED && s->state != BEGIN_SENT)
        return;
    said_put_all(s);
    while ((node = list_pop(&s->dirty_links)) != NULL)
        link_put_flow(list_entry(node, struct amqp_link, on_dirty));
    if (s->owes_flow && s->state == MAPPED)
        put_window(s);
}

void session_reopen(struct amqp_session *s)
{
    if (s->hold_count == 0 && s->state == MAPPED &&
        s->incoming_window <= s->incoming_window_max / 2) {
        s->owes_flow = true;
        session_mark(s);
    }
}

void amqp_session_widen(struct amqp_session *s, uint32_t window)
{
    if (window <= s->incoming_window_max)
        return;
    s->incoming_window_max = window;
    session_reopen(s);
}

static uint32_t window_left(const struct amqp_session *s, const struct amqp_flow_frame *f)
{
    uint32_t seen = f->has_next_incoming_id ? f->next_incoming_id : 0;
    int64_t under_way = (int32_t)(s->next_outgoing_id - seen);
    int64_t left = (int64_t)f->incoming_window - (under_way > 0 ? under_way : 0);

    return left > 0 ? (uint32_t)left : 0;
}

bool session_on_flow(struct amqp_session *s, struct str body, struct amqp_event *ev)
{
    struct amqp_conn *c = s->conn;
    struct amqp_flow_frame f;

    if (UNLIKELY(amqp_decode_flow(body, &f) < 0))
        return conn_fail(c, "amqp:decode-error", "a flow frame on channel %u cannot be read",
                         s->remote_channel);
    s->remote_window = window_left(s, &f);
    if (UNLIKELY(s->abort_count > 0))
        session_put_aborts(s);
    if (s->was_refused && s->remote_window > 0) {
        s->was_refused = false;
        c->due |= DUE_WRITABLE;
    }
    if (f.has_handle)
        return link_on_flow(s, &f, ev);
    if (f.echo) {
        s->owes_flow = true;
        session_mark(s);
    }
    return false;
}
