// SPDX-License-Identifier: Apache-2.0
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "amqp/engine.h"
#include "base/err.h"
#include "base/mem.h"

// A link lives in two halves, each with its own handle and its own word on being attached. For its
// owner it is gone at the first detach of either side; here it is kept, retired, until both have
// been exchanged, because until then the handles are taken.

// ------------------------------------------------------------------------------------------ life

// Our lowest free handle, or -1.
static int64_t free_handle(struct amqp_session *s)
{
    uint32_t handle = s->handle_hint, size;

    while (handle < s->handle_size && s->handles[handle])
        handle++;
    if (handle > s->handle_max)
        return -1;
    if (handle == s->handle_size) {
        bool is_first = s->handles == &s->only_link;

        size = handle * 2;
        s->handles = xrealloc(is_first ? NULL : s->handles, size, sizeof(struct amqp_link *));
        if (is_first)
            s->handles[0] = s->only_link;
        memset(s->handles + handle, 0, (size - handle) * sizeof(struct amqp_link *));
        s->handle_size = size;
    }
    s->handle_hint = handle + 1;
    return handle;
}

static struct amqp_link *link_new(struct amqp_session *s, enum amqp_role role)
{
    int64_t handle = free_handle(s);
    struct amqp_link *l;

    if (handle < 0)
        return NULL;
    l = xcalloc(1, sizeof(*l));
    l->session = s;
    l->role = (uint8_t)role;
    l->handle = (uint32_t)handle;
    list_init(&l->on_unanswered);
    list_init(&l->on_dirty);
    list_init(&l->on_due);
    list_append(&s->links, &l->on_session);
    s->handles[handle] = l;
    s->conn->link_count++;
    return l;
}

void amqp_link_hold(struct amqp_link *l, bool held)
{
    struct amqp_session *s = l->session;

    if (l->is_held == held)
        return;
    l->is_held = held;
    s->hold_count += held ? 1 : UINT32_MAX;
    session_reopen(s);
}

static void leave_lists(struct amqp_link *l)
{
    list_remove(&l->on_dirty);
    list_remove(&l->on_due);
    if (l->owes_abort) {
        l->owes_abort = false;
        l->session->abort_count--;
    }
    amqp_link_hold(l, false);
}

static void forget_remote_handle(struct amqp_link *l)
{
    struct amqp_session *s = l->session;

    if (l->attach_received && idmap_get(&s->remote_handles, l->remote_handle) == l)
        idmap_remove(&s->remote_handles, l->remote_handle);
    if (s->last == l)
        s->last = NULL;
}

void link_free(struct amqp_link *l)
{
    struct amqp_session *s = l->session;

    if (s->conn->gone_link == l)
        s->conn->gone_link = NULL;
    delivery_drop_all(l);
    leave_lists(l);
    forget_remote_handle(l);
    list_remove(&l->on_unanswered);
    list_remove(&l->on_session);
    s->handles[l->handle] = NULL;
    if (l->handle < s->handle_hint)
        s->handle_hint = l->handle;
    s->conn->link_count--;
    free(l->termini);
    free(l->words);
    free(l);
}

// The owner knows it no more; the peer's detach is awaited.
static void retire(struct amqp_link *l)
{
    if (l->current && l->role == AMQP_RECEIVER)
        delivery_swallow_rest(l);
    delivery_drop_all(l);
    leave_lists(l);
    l->user = NULL;
    l->is_retired = true;
}

bool link_is_live(const struct amqp_link *l)
{
    return l->attach_sent && !l->detach_sent && !l->detach_received && !l->is_retired;
}

// ---------------------------------------------------------------------------------------- frames

static void put_attach(struct amqp_link *l, const struct amqp_attach_frame *f)
{
    struct amqp_writer w;

    l->attach_sent = true;
    frame_begin(&w);
    amqp_put_attach(&w, f);
    frame_end(l->session->conn, &w, FRAME_AMQP, l->session->channel);
}

static void put_detach(struct amqp_link *l, struct str condition, struct str words)
{
    struct amqp_detach_frame f = {.handle = l->handle, .closed = true, .error = {condition, words}};
    struct amqp_writer w;

    said_put_all(l->session);
    l->detach_sent = true;
    frame_begin(&w);
    amqp_put_detach(&w, &f);
    frame_end(l->session->conn, &w, FRAME_AMQP, l->session->channel);
}

// The frame that answers the peer's attach, as it came and with nothing changed.
static struct amqp_attach_frame answer_to(const struct amqp_link *l)
{
    return (struct amqp_attach_frame){
        .name = amqp_link_name(l),
        .handle = l->handle,
        .is_receiver = l->role == AMQP_RECEIVER,
        .snd_settle_mode = l->snd_settle_mode,
        .rcv_settle_mode = l->rcv_settle_mode,
        .source = *amqp_link_source(l),
        .target = *amqp_link_target(l),
        .has_initial_delivery_count = true,
        .has_message_size_max = true,
    };
}

// A link that the peer attached and that does not come about: an answer without the terminus that
// would be ours, then the reason.
static void put_refusal(struct amqp_link *l, struct str condition, struct str words)
{
    struct amqp_attach_frame f = answer_to(l);
    struct amqp_terminus *ours = l->role == AMQP_RECEIVER ? &f.target : &f.source;

    *ours = (struct amqp_terminus){.is_null = true};
    put_attach(l, &f);
    put_detach(l, condition, words);
}

static void put_end_of_link(struct amqp_link *l, struct str condition, struct str words)
{
    if (l->detach_sent)
        return;
    if (l->attach_sent)
        put_detach(l, condition, words);
    else
        put_refusal(l, condition, words);
}

void link_bury(struct amqp_link *l)
{
    if (l->session->state != MAPPED && l->session->state != BEGIN_SENT) {
        link_free(l);
        return;
    }
    put_end_of_link(l, STR_NONE, STR_NONE);
    if (l->detach_received)
        link_free(l);
    else
        retire(l);
}

bool link_fail(struct amqp_link *l, struct amqp_event *ev, const char *condition, const char *fmt,
               ...)
{
    struct amqp_conn *c = l->session->conn;
    va_list args;
    const char *words;

    va_start(args, fmt);
    words = conn_words(c, fmt, args);
    va_end(args);
    put_end_of_link(l, str_of(condition), str_of(words));
    c->gone_link = l;
    *ev = (struct amqp_event){
        .type = AMQP_EV_DETACHED, .link = l, .ended = {str_of(condition), str_of(words), true}};
    return true;
}

// ---------------------------------------------------------------------------------------- attach

static struct amqp_terminus or_link_detach(const struct amqp_terminus *t)
{
    struct amqp_terminus out = *t;

    if (!out.is_null && !out.is_coordinator && !out.expiry.ptr)
        out.expiry = STR("link-detach");
    return out;
}

struct amqp_link *amqp_link_attach(struct amqp_session *s, const struct amqp_attach *a)
{
    struct amqp_conn *c = s->conn;
    struct amqp_attach_frame f;
    struct amqp_writer properties;
    struct amqp_link *l = NULL;

    if (session_is_usable(s) && c->link_count < c->opts.link_max)
        l = link_new(s, a->role);
    if (!l)
        return NULL;
    l->is_answer = true;
    assert(strlen(a->name) <= ATTACH_MAX);
    l->name_len = (uint16_t)strlen(a->name);
    l->words = (uint8_t *)xstrdup(a->name);
    l->snd_settle_mode = a->snd_settle_mode;
    l->rcv_settle_mode = a->rcv_settle_mode;
    l->capacity = a->capacity;
    list_append(&s->unanswered, &l->on_unanswered);

    f = answer_to(l);
    f.source = or_link_detach(&a->source);
    f.target = or_link_detach(&a->target);
    amqp_writer_init(&properties);
    if (a->properties) {
        amqp_val_write(&properties, a->properties, false);
        f.properties = amqp_written(&properties);
    }
    put_attach(l, &f);
    amqp_writer_fini(&properties);
    return l;
}

// What the peer says is kept whole, and looked at in place.
static void keep_words(struct amqp_link *l, struct str body)
{
    uint8_t *kept = memcpy(xcalloc(1, body.len), body.ptr, body.len);
    struct amqp_attach_frame f;
    int err = amqp_decode_attach((struct str){(const char *)kept, body.len}, &f);

    assert(err == 0); // it was read before
    free(l->words);
    l->words = kept;
    l->name_at = f.name.len > 0 ? (uint16_t)((const uint8_t *)f.name.ptr - kept) : 0;
    l->name_len = (uint16_t)f.name.len;
    if (!l->termini)
        l->termini = xcalloc(2, sizeof(*l->termini));
    l->termini[SOURCE] = f.source;
    l->termini[TARGET] = f.target;
    l->snd_settle_mode = f.snd_settle_mode;
    l->rcv_settle_mode = f.rcv_settle_mode;
    l->remote_handle = f.handle;
    l->attach_received = true;
    if (l->role == AMQP_RECEIVER)
        l->delivery_count = f.initial_delivery_count;
    idmap_put(&l->session->remote_handles, f.handle, l);
}

// Ours that the peer's attach answers, or NULL.
static struct amqp_link *answered(struct amqp_session *s, const struct amqp_attach_frame *f)
{
    enum amqp_role role = f->is_receiver ? AMQP_SENDER : AMQP_RECEIVER;

    list_for_each (node, &s->unanswered) {
        struct amqp_link *l = list_entry(node, struct amqp_link, on_unanswered);

        if (l->role == role && str_eq(amqp_link_name(l), f->name))
            return l;
    }
    return NULL;
}

static bool has_unsettled(struct str map)
{
    struct amqp_reader r = amqp_reader_of(map), items;
    uint32_t count = 0;

    return map.len > 0 && (amqp_read_map(&r, &items, &count) < 0 || count > 0);
}

// Whether the session can go on after such an attach; otherwise it, or the connection, has failed.
static bool check_attach(struct amqp_session *s, struct str body, const struct amqp_attach_frame *f)
{
    struct amqp_conn *c = s->conn;

    if (f->handle > HANDLE_MAX)
        return conn_fail(c, "amqp:connection:framing-error", "handle %u is above handle-max",
                         f->handle);
    if (has_unsettled(f->unsettled) || f->incomplete_unsettled)
        return conn_fail(c, "amqp:not-implemented", "links are not resumed");
    if (session_link(s, f->handle))
        return session_fail(s, "amqp:session:handle-in-use", "handle %u is attached already",
                            f->handle);
    if (body.len > ATTACH_MAX)
        return session_fail(s, "amqp:resource-limit-exceeded", "an attach has %zu octets",
                            body.len);
    if (c->link_count >= c->opts.link_max + REFUSED_MAX)
        return session_fail(s, "amqp:resource-limit-exceeded", "too many links, %u", c->link_count);
    return true;
}

static void refuse(struct amqp_link *l, struct str condition, struct str words)
{
    put_refusal(l, condition, words);
    retire(l);
}

bool link_on_attach(struct amqp_session *s, struct str body, struct amqp_event *ev)
{
    struct amqp_attach_frame f;
    struct amqp_link *l;
    bool is_too_many = s->conn->link_count >= s->conn->opts.link_max;

    if (amqp_decode_attach(body, &f) < 0)
        return conn_fail(s->conn, "amqp:decode-error",
                         "an attach frame on channel %u cannot be read", s->remote_channel);
    if (!check_attach(s, body, &f))
        return false;
    l = answered(s, &f);
    if (l) {
        list_remove(&l->on_unanswered);
        keep_words(l, body);
        if (l->is_retired)
            return false;
    } else {
        l = link_new(s, f.is_receiver ? AMQP_SENDER : AMQP_RECEIVER);
        if (!l)
            return session_fail(s, "amqp:resource-limit-exceeded", "no handle is left");
        keep_words(l, body);
        if (is_too_many) {
            refuse(l, STR("amqp:resource-limit-exceeded"), STR("too many links on the connection"));
            return false;
        }
    }
    *ev = (struct amqp_event){.type = AMQP_EV_ATTACHED, .link = l};
    return true;
}

static void or_session_end(struct amqp_terminus *t)
{
    if (!t->is_null && !t->is_coordinator && !t->expiry.ptr)
        t->expiry = STR("session-end");
}

void amqp_link_accept(struct amqp_link *l, struct str address, uint32_t capacity)
{
    struct amqp_attach_frame f = answer_to(l);
    struct amqp_terminus *ours = l->role == AMQP_RECEIVER ? &f.target : &f.source;

    assert(!l->is_answer);
    if (!l->session->conn->is_up || l->attach_sent || l->is_retired)
        return;
    l->capacity = capacity;
    if (address.ptr)
        ours->address = address;
    or_session_end(&f.source);
    or_session_end(&f.target);
    put_attach(l, &f);
    if (l->untold > 0)
        link_owes_flow(l);
}

void amqp_link_refuse(struct amqp_link *l, const char *condition, const char *description)
{
    assert(!l->is_answer);
    amqp_link_detach(l, condition, description);
}

// ---------------------------------------------------------------------------------------- detach

void amqp_link_detach(struct amqp_link *l, const char *condition, const char *description)
{
    enum session_state state = l->session->state;

    if (!l->session->conn->is_up || l->is_retired || (state != MAPPED && state != BEGIN_SENT))
        return;
    put_end_of_link(l, str_of(condition), str_of(condition ? description : NULL));
    if (l->session->conn->gone_link == l)
        l->session->conn->gone_link = NULL;
    if (l->detach_received)
        link_free(l);
    else
        retire(l);
}

bool link_on_detach(struct amqp_session *s, struct str body, struct amqp_event *ev)
{
    struct amqp_detach_frame f;
    struct amqp_link *l;

    if (amqp_decode_detach(body, &f) < 0)
        return conn_fail(s->conn, "amqp:decode-error",
                         "a detach frame on channel %u cannot be read", s->remote_channel);
    l = session_link(s, f.handle);
    if (!l)
        return session_fail(s, "amqp:session:unattached-handle",
                            "detach came for handle %u, which is not attached", f.handle);
    if (!f.closed && !l->detach_sent)
        return conn_fail(s->conn, "amqp:not-implemented",
                         "a link can only be closed, not detached for a while");
    forget_remote_handle(l);
    l->detach_received = true;
    if (l->is_retired) {
        link_free(l);
        return false;
    }
    s->conn->gone_link = l;
    *ev = (struct amqp_event){.type = AMQP_EV_DETACHED,
                              .link = l,
                              .ended = {f.error.condition, f.error.description, false}};
    return true;
}

// ---------------------------------------------------------------------------------------- credit

void link_owes_flow(struct amqp_link *l)
{
    if (!list_empty(&l->on_dirty) || !link_is_live(l))
        return;
    list_append(&l->session->dirty_links, &l->on_dirty);
    session_mark(l->session);
}

void link_put_flow(struct amqp_link *l)
{
    if (!link_is_live(l))
        return;
    l->untold = 0;
    session_put_flow(l->session, l);
}

void amqp_link_grant(struct amqp_link *l, uint32_t count)
{
    bool had_none = l->credit == l->untold, was_draining = l->is_draining;

    assert(l->role == AMQP_RECEIVER);
    if (count > UINT32_MAX - l->credit)
        count = UINT32_MAX - l->credit;
    l->is_draining = false;
    l->credit += count;
    l->untold += count;
    if (had_none || was_draining || (uint64_t)l->untold * 4 >= l->capacity)
        link_owes_flow(l);
}

void amqp_link_tell(struct amqp_link *l)
{
    assert(l->role == AMQP_RECEIVER);
    link_owes_flow(l);
}

void link_tell_credit(struct amqp_link *l)
{
    if (list_empty(&l->on_due))
        list_append(&l->session->conn->due_links, &l->on_due);
    l->session->conn->due |= DUE_LINKS;
}

void amqp_link_drain(struct amqp_link *l)
{
    assert(l->role == AMQP_RECEIVER);
    if (!link_is_live(l))
        return;
    // What the peer does not know of is simply taken back.
    l->credit -= l->untold;
    l->untold = 0;
    if (l->credit == 0) {
        link_tell_credit(l);
        return;
    }
    l->is_draining = true;
    link_owes_flow(l);
}

void amqp_link_drained(struct amqp_link *l)
{
    assert(l->role == AMQP_SENDER);
    if (!l->is_draining || l->current || l->owes_abort)
        return;
    l->is_draining = false;
    l->delivery_count += l->credit;
    l->credit = 0;
    link_owes_flow(l);
}

// The sender's count of deliveries is ahead of ours by the credit that it has given back. (While a
// delivery is under way it is not defined whether that one is counted.)
static bool sender_flow(struct amqp_link *l, const struct amqp_flow_frame *f)
{
    uint32_t told = l->credit - l->untold, given_back = f->delivery_count - l->delivery_count;

    if (!f->has_delivery_count || (int32_t)given_back <= 0 || l->current || l->is_swallowing)
        return false;
    l->delivery_count = f->delivery_count;
    l->credit -= given_back < told ? given_back : told;
    if (l->credit == l->untold)
        l->is_draining = false;
    return true;
}

static bool receiver_flow(struct amqp_link *l, const struct amqp_flow_frame *f)
{
    uint32_t seen = f->has_delivery_count ? f->delivery_count : 0;
    int64_t under_way = (int32_t)(l->delivery_count - seen);
    int64_t left = (int64_t)f->link_credit - (under_way > 0 ? under_way : 0);
    uint32_t credit = left > 0 ? (uint32_t)left : 0;
    bool is_news = credit != l->credit || f->drain || l->is_draining;

    if (!f->has_link_credit)
        return false;
    l->credit = credit;
    l->is_draining = l->peer_drains = f->drain;
    return is_news;
}

bool link_on_flow(struct amqp_session *s, const struct amqp_flow_frame *f, struct amqp_event *ev)
{
    struct amqp_link *l = session_link(s, f->handle);
    bool is_news;

    if (!l)
        return session_fail(s, "amqp:session:unattached-handle",
                            "flow came for handle %u, which is not attached", f->handle);
    if (l->is_retired)
        return false;
    is_news = l->role == AMQP_SENDER ? receiver_flow(l, f) : sender_flow(l, f);
    if (f->echo)
        link_owes_flow(l);
    if (!is_news)
        return false;
    *ev = (struct amqp_event){.type = AMQP_EV_CREDIT, .link = l};
    return true;
}

// ------------------------------------------------------------------------------------- questions

uint32_t amqp_link_credit(const struct amqp_link *l)
{
    return l->credit;
}

bool amqp_link_is_draining(const struct amqp_link *l)
{
    return l->is_draining;
}

bool amqp_link_is_answer(const struct amqp_link *l)
{
    return l->is_answer;
}

enum amqp_role amqp_link_role(const struct amqp_link *l)
{
    return l->role;
}

struct str amqp_link_name(const struct amqp_link *l)
{
    return (struct str){(const char *)l->words + l->name_at, l->name_len};
}

static const struct amqp_terminus no_terminus = {.is_null = true};

const struct amqp_terminus *amqp_link_source(const struct amqp_link *l)
{
    return l->termini ? &l->termini[SOURCE] : &no_terminus;
}

void amqp_link_forget_termini(struct amqp_link *l)
{
    uint8_t *name = (uint8_t *)str_dup(amqp_link_name(l));

    free(l->words);
    l->words = name;
    l->name_at = 0;
    free(l->termini);
    l->termini = NULL;
}

const struct amqp_terminus *amqp_link_target(const struct amqp_link *l)
{
    return l->termini ? &l->termini[TARGET] : &no_terminus;
}

bool amqp_terminus_has(const struct amqp_terminus *t, const char *capability)
{
    for (uint32_t i = 0; i < t->capability_count; i++)
        if (str_is(t->capabilities[i], capability))
            return true;
    return false;
}

uint8_t amqp_link_snd_settle_mode(const struct amqp_link *l)
{
    return l->snd_settle_mode;
}

uint8_t amqp_link_rcv_settle_mode(const struct amqp_link *l)
{
    return l->rcv_settle_mode;
}

struct amqp_session *amqp_link_session(const struct amqp_link *l)
{
    return l->session;
}

void *amqp_link_user(const struct amqp_link *l)
{
    return l->user;
}

void amqp_link_set_user(struct amqp_link *l, void *user)
{
    l->user = user;
}
