// SPDX-License-Identifier: Apache-2.0
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "router/core.h"

// Ends of streams inside the process. A source is a delivery that came on no link; a sink is a copy
// on a link with nothing behind it (LINK_INSIDE), so choice, settlement and loss are those of every
// other message. The links are on one connection of the router to itself, which has no engine and
// is never told to anybody.
//
// Every reply address is the same address here, known by its form (temp.<15 characters>): the
// characters name a slot in a table, so an open connection costs no entry in the table of
// addresses.

enum { SLOT_CHARS = 5, SLOT_MAX = 1 << 24 };

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+_";

// delivery-failed true, undeliverable-here false
static const uint8_t modified_failed[] = {0x00, 0x53, 0x27, 0xc0, 0x03, 0x02, 0x41, 0x42};

static struct router_link *inside_link(struct router *r, struct router_taker *taker)
{
    struct router_link *l = xcalloc(1, sizeof(*l));

    link_init(l, r->inside, LINK_INSIDE, true);
    l->is_attached = true;
    l->taker = taker;
    return l;
}

static void link_free(struct router_link *l)
{
    assert(l->sent_count == 0);
    list_remove(&l->on_conn);
    list_remove(&l->on_lagging);
    l->conn->router->link_count--;
    counts_free(l);
    free(l);
}

// ------------------------------------------------------------------------------------- the source

void router_source_open(struct router *r, struct router_source *s, struct str to, struct str head)
{
    struct arrival a = {.ingress = ROUTING_SELF};
    struct delivery *d = arrival_delivery(r, &a);
    uint8_t room[64];
    struct amqp_writer w;

    amqp_writer_init_fixed(&w, room, sizeof(room));
    amqp_put_ra(&w, &(struct amqp_ra){.flags = AMQP_RA_STREAMING | AMQP_RA_NO_HOLD}, STR_NONE);
    s->delivery = d;
    d->source = s;
    d->is_streaming = d->no_hold = true;
    d->ra_len = (uint32_t)w.len;
    delivery_append(d, amqp_written(&w));
    delivery_append(d, head);
    delivery_flatten(d);
    a.bytes = delivery_gather(d, NULL, 0);
    amqp_msg_scan(a.bytes, false, AMQP_SCAN_RA, &a.msg);
    a.msg.to = to;
    forward(r, &a);
}

static struct outgoing *only_copy(const struct delivery *d)
{
    return d->copy_count == 1 ? list_entry(d->copies.next, struct outgoing, on_delivery) : NULL;
}

// Where it goes, once it goes and nothing is stored; NULL: it has to wait.
static struct outgoing *open_copy(const struct router_source *s)
{
    struct outgoing *o = s->delivery ? only_copy(s->delivery) : NULL;

    return o && o->is_begun && !o->chunk ? o : NULL;
}

static size_t copy_room(const struct outgoing *o)
{
    if (o->link->kind == LINK_INSIDE)
        return o->sink ? o->sink->ops->room(o->sink) : 0;
    return o->amqp ? amqp_delivery_room(o->amqp) : 0;
}

size_t router_source_room(const struct router_source *s)
{
    struct outgoing *o = open_copy(s);
    size_t room = o ? copy_room(o) : 0;

    if (o && room == 0 && o->link->kind != LINK_INSIDE)
        link_stall(o->link);
    return room;
}

bool router_source_is_held(const struct router_source *s)
{
    const struct outgoing *o = open_copy(s);

    return !o || copy_room(o) == 0;
}

void router_source_write(struct router_source *s, const void *data, size_t len, bool last)
{
    if (s->delivery)
        delivery_more(s->delivery, (struct str){data, len}, last);
}

void router_source_leave(struct router_source *s)
{
    struct delivery *d = s->delivery;

    if (!d)
        return;
    s->delivery = NULL;
    d->source = NULL;
    if (d->is_complete)
        return;
    d->is_source_settled = true;
    delivery_more(d, STR_NONE, true);
}

void stream_settled(struct delivery *d)
{
    struct router_source *s = d->source;

    d->source = NULL;
    s->delivery = NULL;
    s->ops->settled(s, d->outcome);
}

void stream_ready(struct delivery *d)
{
    if (d->source)
        d->source->ops->ready(d->source);
}

// state received{section-number, section-offset}
static bool section_offset(struct str state, uint64_t *out)
{
    struct amqp_reader at = amqp_reader_of(state), items;
    struct amqp_item described, list, number, offset;
    uint64_t code;
    uint32_t count;
    int64_t value;

    if (amqp_read(&at, &described) < 0 || amqp_open_described(&described, &code, &list) < 0)
        return false;
    at = amqp_reader_of(list.whole);
    if (amqp_read_list(&at, &items, &count) < 0 || count < 2 || amqp_read(&items, &number) < 0 ||
        amqp_read(&items, &offset) < 0 || !amqp_item_int(&offset, &value) || value < 0)
        return false;
    *out = (uint64_t)value;
    return true;
}

void stream_received(struct delivery *d, const struct amqp_outcome *state)
{
    uint64_t offset;

    if (d->amqp && d->copy_count == 1) {
        amqp_delivery_update(d->amqp, state);
        conn_mark(d->in->conn);
    } else if (d->source && section_offset(state->encoded, &offset)) {
        d->source->ops->received(d->source, offset);
    }
}

// --------------------------------------------------------------------------------------- the sink

enum { STREAM_HEAD_MAX = 64 * 1024 };

// Offers the stream as soon as its head has come. NULL: that is still to come, or nobody takes it
// and the copy is gone.
static struct router_sink *offer(struct outgoing *o)
{
    struct delivery *d = o->delivery;
    enum amqp_outcome_type refused = AMQP_REJECTED;
    uint8_t *room = d->first && d->first->next ? xcalloc(1, STREAM_HEAD_MAX) : NULL;
    struct str bytes = delivery_gather(d, room, STREAM_HEAD_MAX);
    struct router_sink *sink = NULL;
    struct amqp_msg msg;
    int err = amqp_msg_scan(bytes, d->is_complete, AMQP_SCAN_BODY, &msg);
    bool decided = err != ERR_AGAIN || bytes.len >= STREAM_HEAD_MAX;
    // Older services send properties, and no body before there are bytes of it.
    bool is_bodiless = err == ERR_AGAIN && msg.has_properties && msg.content_type.len == 0 &&
                       msg.body_at == bytes.len;

    if (msg.ra.to_override.len > 0)
        msg.to = msg.ra.to_override;
    if (err == 0 || is_bodiless)
        sink = o->link->taker->offer(o->link->taker, &msg, &refused);
    if (sink) {
        sink->copy = o;
        o->sink = sink;
        outgoing_advance(o, msg.body_at - d->ra_len);
    } else if (decided) {
        outgoing_finish(o, &(struct amqp_outcome){.type = refused});
    }
    free(room);
    return sink;
}

bool stream_begin(struct outgoing *o, struct router_link *l)
{
    l->delivery_count++;
    outgoing_adopt(o, l, NULL);
    if (l->address)
        l->address->egress++;
    return stream_write(o);
}

// False always: nothing waits for the link.
bool stream_write(struct outgoing *o)
{
    struct delivery *d = o->delivery;

    if (!o->sink && !offer(o))
        return false;
    while (o->chunk) {
        size_t left = o->chunk->len - o->chunk_at;
        size_t taken = o->sink->ops->write(o->sink, o->chunk->data + o->chunk_at, left);

        outgoing_advance(o, taken);
        if (taken < left) {
            delivery_trim(d);
            return false;
        }
    }
    delivery_trim(d);
    if (d->is_complete) {
        o->is_written = true;
        o->sink->ops->ended(o->sink, ends_settled(d) ? ROUTER_END_LEFT : ROUTER_END_WHOLE);
    } else {
        stream_ready(d);
    }
    return false;
}

void stream_lost(struct outgoing *o)
{
    struct router_sink *s = o->sink;

    o->sink = NULL;
    s->copy = NULL;
    s->ops->ended(s, ROUTER_END_ABORTED);
}

void router_sink_ready(struct router_sink *s)
{
    if (!s->copy)
        return;
    if (s->copy->chunk)
        stream_write(s->copy);
    else if (!s->copy->is_written)
        stream_ready(s->copy->delivery);
}

void router_sink_received(struct router_sink *s, uint64_t offset)
{
    struct delivery *d = s->copy ? s->copy->delivery : NULL;
    uint8_t room[32];
    struct amqp_writer w;
    struct amqp_mark mark;

    if (!d)
        return;
    if (d->source) {
        d->source->ops->received(d->source, offset);
        return;
    }
    amqp_writer_init_fixed(&w, room, sizeof(room));
    amqp_put_descriptor(&w, 0x23);
    mark = amqp_begin_list(&w, false);
    amqp_put_uint(&w, 0);
    amqp_put_8(&w, 0x80, offset);
    amqp_end(&w, mark, 2);
    stream_received(d, &(struct amqp_outcome){AMQP_RECEIVED, amqp_written(&w)});
}

void router_sink_settle(struct router_sink *s, enum amqp_outcome_type outcome)
{
    struct outgoing *o = s->copy;
    struct amqp_outcome out = {.type = outcome};

    if (!o)
        return;
    if (outcome == AMQP_MODIFIED)
        out.encoded = (struct str){(const char *)modified_failed, sizeof(modified_failed)};
    s->copy = NULL;
    o->sink = NULL;
    o->is_written = true;
    outgoing_finish(o, &out);
}

// ------------------------------------------------------------------------------------- consumers

int router_consumer_open(struct router *r, struct router_consumer *c, struct str text)
{
    struct address *a = address_obtain(r, text);

    if (!a || a->inside || a->treatment == ROUTER_UNAVAILABLE) {
        if (a)
            address_changed(r, a);
        router_settle(r);
        return ERR_INVALID;
    }
    c->link = inside_link(r, &c->taker);
    c->address = a;
    a->delivery_refs++; // stays while it is out
    address_add_consumer(a, c->link);
    router_settle(r);
    return 0;
}

void router_consumer_set_out(struct router *r, struct router_consumer *c, bool is_out)
{
    if (is_out && c->link->address)
        address_remove_link(r, c->link);
    else if (!is_out && !c->link->address)
        address_add_consumer(c->address, c->link);
    router_settle(r);
}

void router_consumer_close(struct router *r, struct router_consumer *c)
{
    struct list *node;

    if (!c->link)
        return;
    address_remove_link(r, c->link);
    while ((node = list_pop(&c->link->sent)) != NULL) {
        struct outgoing *o = list_entry(node, struct outgoing, on_link);

        list_append(&r->orphans->sent, node);
        o->link = r->orphans;
        c->link->sent_count--;
        r->orphans->sent_count++;
    }
    link_free(c->link);
    c->link = NULL;
    if (--c->address->delivery_refs == 0)
        address_changed(r, c->address);
    c->address = NULL;
    router_settle(r);
}

// A stream whose consumer has closed before its head had come.
static struct router_sink *refuse_orphan(struct router_taker *t, const struct amqp_msg *head,
                                         enum amqp_outcome_type *refused)
{
    (void)t;
    (void)head;
    *refused = AMQP_RELEASED;
    return NULL;
}

// --------------------------------------------------------------------------------------- replies

static void slot_text(uint32_t slot, char out[SLOT_CHARS])
{
    for (int i = SLOT_CHARS - 1; i >= 0; i--, slot /= 64)
        out[i] = digits[slot % 64];
}

static struct router_reply *find_reply(const struct router *r, struct str id)
{
    uint32_t slot = 0;

    if (id.len != RNG_ID_LEN)
        return NULL;
    for (int i = 0; i < SLOT_CHARS; i++) {
        const char *digit = id.ptr[i] ? strchr(digits, id.ptr[i]) : NULL;

        if (!digit)
            return NULL;
        slot = slot * 64 + (uint32_t)(digit - digits);
    }
    if (slot >= r->reply_size || !r->reply_slots[slot] ||
        memcmp(r->reply_slots[slot]->id, id.ptr, id.len) != 0)
        return NULL;
    return r->reply_slots[slot];
}

struct reply_taker {
    struct router_taker taker;
    struct router *router;
};

// Something for a reply address: the rest of its text tells for whom.
static struct router_sink *offer_reply(struct router_taker *t, const struct amqp_msg *head,
                                       enum amqp_outcome_type *refused)
{
    struct router *r = ((struct reply_taker *)(void *)t)->router;
    struct router_reply *reply = NULL;

    if (head->to.len > RNG_ID_LEN)
        reply = find_reply(r, str_skip(head->to, head->to.len - RNG_ID_LEN));
    if (reply)
        return reply->taker.offer(&reply->taker, head, refused);
    *refused = AMQP_RELEASED;
    return NULL;
}

static uint32_t free_slot(struct router *r)
{
    for (uint32_t i = 0; i < r->reply_size; i++) {
        uint32_t slot = (r->reply_free + i) % r->reply_size;

        if (!r->reply_slots[slot]) {
            r->reply_free = slot + 1;
            return slot;
        }
    }

    uint32_t size = r->reply_size ? r->reply_size * 2 : 16, slot = r->reply_size;

    r->reply_slots = xrealloc(r->reply_slots, size, sizeof(struct router_reply *));
    for (uint32_t i = r->reply_size; i < size; i++)
        r->reply_slots[i] = NULL;
    r->reply_size = size;
    r->reply_free = slot + 1;
    return slot;
}

void router_reply_open(struct router *r, struct router_reply *reply)
{
    char id[RNG_ID_LEN + 1];

    assert(!reply->is_open);
    rng_id(&r->rng, id);
    reply->slot = free_slot(r);
    assert(reply->slot < SLOT_MAX);
    slot_text(reply->slot, id);
    memcpy(reply->id, id, RNG_ID_LEN);
    reply->is_open = true;
    r->reply_slots[reply->slot] = reply;
}

void router_reply_close(struct router *r, struct router_reply *reply)
{
    if (!reply->is_open)
        return;
    reply->is_open = false;
    r->reply_slots[reply->slot] = NULL;
    if (reply->slot < r->reply_free)
        r->reply_free = reply->slot;
}

struct str router_reply_address(const struct router *r, const struct router_reply *reply,
                                char text[ROUTER_REPLY_MAX])
{
    int len = snprintf(text, ROUTER_REPLY_MAX, "amqp:/%s/%s/temp.%.*s",
                       r->mode == ROUTER_EDGE ? "_edge" : "_topo/0", r->id, RNG_ID_LEN, reply->id);

    return (struct str){text, len < ROUTER_REPLY_MAX ? (size_t)len : ROUTER_REPLY_MAX - 1};
}

// --------------------------------------------------------------------------------------- watches

int router_watcher_open(struct router *r, struct router_watcher *w, struct str text)
{
    struct address *a = address_obtain(r, text);

    if (!a)
        return ERR_INVALID;
    w->address = a;
    a->producer_count++;
    list_append(&a->watches, &w->on_address);
    w->is_reachable = address_has_destination(a);
    a->had_destination = w->is_reachable;
    address_changed(r, a);
    router_settle(r);
    return 0;
}

void router_watcher_close(struct router *r, struct router_watcher *w)
{
    if (!w->address)
        return;
    list_remove(&w->on_address);
    w->address->producer_count--;
    address_changed(r, w->address);
    w->address = NULL;
    router_settle(r);
}

void stream_watch(struct address *a)
{
    list_for_each (node, &a->watches) {
        struct router_watcher *w = list_entry(node, struct router_watcher, on_address);

        w->is_reachable = a->had_destination;
        w->changed(w);
    }
}

void stream_tell_reach(const struct address *a, uint32_t others)
{
    list_for_each (node, &a->watches) {
        struct router_watcher *w = list_entry(node, struct router_watcher, on_address);

        if (w->joined)
            w->joined(w, others);
    }
}

void stream_tell_announced(const struct address *a)
{
    list_for_each (node, &a->watches) {
        struct router_watcher *w = list_entry(node, struct router_watcher, on_address);

        if (w->announced)
            w->announced(w);
    }
}

// ------------------------------------------------------------------------------------------- all

static struct router_conn *inside_conn(struct router *r)
{
    struct router_conn *c = xcalloc(1, sizeof(*c));

    c->router = r;
    c->role = ROUTER_ROLE_NORMAL;
    c->strip_in = c->strip_out = true;
    list_init(&c->on_router);
    list_init(&c->on_dirty);
    list_init(&c->on_group);
    list_init(&c->on_surplus);
    list_init(&c->stalled);
    list_init(&c->idle_streams[0]);
    list_init(&c->idle_streams[1]);
    list_init(&c->links);
    return c;
}

void stream_init(struct router *r)
{
    static const struct router_taker orphan = {.offer = refuse_orphan};
    struct reply_taker *replies = xcalloc(1, sizeof(*replies));
    struct router_link *l;

    *replies = (struct reply_taker){{offer_reply}, r};
    r->inside = inside_conn(r);
    r->orphans = inside_link(r, (struct router_taker *)(uintptr_t)&orphan);
    l = inside_link(r, &replies->taker);
    r->replies = address_obtain_key(r, STR("L$replies"));
    r->replies->is_pinned = true;
    address_add_consumer(r->replies, l);
    router_settle(r);
}

// Whatever is open ends; its owners hear it as a loss.
void stream_fini(struct router *r)
{
    struct router_taker *replies = NULL;

    if (!r->inside)
        return;
    while (!list_empty(&r->inside->links)) {
        struct router_link *l = list_entry(r->inside->links.next, struct router_link, on_conn);

        if (l->address == r->replies)
            replies = l->taker;
        while (!list_empty(&l->sent))
            outgoing_finish(list_entry(l->sent.next, struct outgoing, on_link),
                            &(struct amqp_outcome){.type = AMQP_RELEASED});
        address_remove_link(r, l);
        link_free(l);
    }
    free(replies);
    free(r->inside);
    free(r->reply_slots);
}
