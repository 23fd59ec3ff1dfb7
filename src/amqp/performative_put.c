// SPDX-License-Identifier: Apache-2.0
// Encoding frame bodies, as the reference does: fields in their shortest form, capabilities as
// arrays of wide symbols, nulls at the end left out. Transfer, flow and disposition are written
// straight into room for the largest, the others through `struct field_list`.
#include <assert.h>

#include "amqp/performative.h"

// A list being written, which remembers where its last field that is not null ended.
struct field_list {
    struct amqp_writer *w;
    struct amqp_mark mark;
    uint32_t count, used_count;
    size_t used_len;
};

static struct field_list begin_list(struct amqp_writer *w, uint64_t code)
{
    struct field_list l = {.w = w};

    amqp_put_descriptor(w, code);
    l.mark = amqp_begin_list(w, false);
    l.used_len = w->len;
    return l;
}

static void end_list(struct field_list *l)
{
    if (l->w->failed)
        return;
    l->w->len = l->used_len;
    amqp_end(l->w, l->mark, l->used_count);
}

static void add_null(struct field_list *l)
{
    amqp_put_null(l->w);
    l->count++;
}

static void added(struct field_list *l)
{
    l->used_count = ++l->count;
    l->used_len = l->w->len;
}

static void add_bool(struct field_list *l, bool v)
{
    amqp_put_bool(l->w, v);
    added(l);
}

// A field whose default is false.
static void add_flag(struct field_list *l, bool v)
{
    if (v)
        add_bool(l, true);
    else
        add_null(l);
}

static void add_ubyte(struct field_list *l, uint8_t v)
{
    amqp_put_ubyte(l->w, v);
    added(l);
}

static void add_ushort(struct field_list *l, uint16_t v)
{
    amqp_put_ushort(l->w, v);
    added(l);
}

static void add_uint(struct field_list *l, bool has, uint32_t v)
{
    if (!has) {
        add_null(l);
        return;
    }
    amqp_put_uint(l->w, v);
    added(l);
}

static void add_ulong(struct field_list *l, bool has, uint64_t v)
{
    if (!has) {
        add_null(l);
        return;
    }
    amqp_put_ulong(l->w, v);
    added(l);
}

// A text or binary; null without a pointer.
static void add_bytes(struct field_list *l, void (*put)(struct amqp_writer *, struct str),
                      struct str v)
{
    if (!v.ptr) {
        add_null(l);
        return;
    }
    put(l->w, v);
    added(l);
}

static void add_encoded(struct field_list *l, struct str encoded)
{
    if (encoded.len == 0) {
        add_null(l);
        return;
    }
    amqp_put_raw(l->w, encoded);
    added(l);
}

static void add_error(struct field_list *l, const struct amqp_error *error)
{
    if (!error || !error->condition.ptr) {
        add_null(l);
        return;
    }

    struct field_list inner = begin_list(l->w, 0x1d);

    add_bytes(&inner, amqp_put_symbol, error->condition);
    add_bytes(&inner, amqp_put_string, error->description);
    end_list(&inner);
    added(l);
}

// -------------------------------------------------------------------------- transfer and such

// The same by plain stores: `at` is where the next field goes, `used` the end of the last one that
// is not null. There is room for all.
struct quick {
    uint8_t *at, *used;
    uint8_t count, used_count;
};

// The descriptor and room for the head of a list8.
static inline struct quick quick_begin(uint8_t *room, uint8_t code)
{
    room[0] = 0x00;
    room[1] = 0x53;
    room[2] = code;
    room[3] = 0xc0;
    return (struct quick){room + 6, room + 6, 0, 0};
}

// Octets from `room` to the end.
static inline size_t quick_end(struct quick *q, uint8_t *room)
{
    room[4] = (uint8_t)(q->used - (room + 5));
    room[5] = q->used_count;
    return (size_t)(q->used - room);
}

static inline void quick_null(struct quick *q)
{
    *q->at++ = 0x40;
    q->count++;
}

static inline void quick_added(struct quick *q, size_t len)
{
    q->at += len;
    q->used = q->at;
    q->used_count = ++q->count;
}

static inline void quick_uint(struct quick *q, bool has, uint32_t v)
{
    if (!has) {
        quick_null(q);
    } else if (v == 0) {
        q->at[0] = 0x43;
        quick_added(q, 1);
    } else if (v <= UINT8_MAX) {
        q->at[0] = 0x52;
        q->at[1] = (uint8_t)v;
        quick_added(q, 2);
    } else {
        q->at[0] = 0x70;
        amqp_store_u32(q->at + 1, v);
        quick_added(q, 5);
    }
}

static inline void quick_bool(struct quick *q, bool has, bool v)
{
    if (!has) {
        quick_null(q);
    } else {
        q->at[0] = v ? 0x41 : 0x42;
        quick_added(q, 1);
    }
}

static inline void quick_ubyte(struct quick *q, bool has, uint8_t v)
{
    if (!has) {
        quick_null(q);
    } else {
        q->at[0] = 0x50;
        q->at[1] = v;
        quick_added(q, 2);
    }
}

static inline void quick_tag(struct quick *q, struct str tag)
{
    if (!tag.ptr) {
        quick_null(q);
    } else {
        q->at[0] = 0xa0;
        q->at[1] = (uint8_t)tag.len;
        memcpy(q->at + 2, tag.ptr, tag.len);
        quick_added(q, 2 + tag.len);
    }
}

static const uint8_t plain_received[] = {0x00, 0x53, 0x23, 0xc0, 0x03, 0x02, 0x43, 0x44};

// The plain form of a state: a list0 behind the descriptor, but for "received".
static inline uint8_t *store_plain_state(uint8_t *at, enum amqp_outcome_type type)
{
    static const uint8_t codes[] = {
        [AMQP_ACCEPTED] = 0x24,
        [AMQP_REJECTED] = 0x25,
        [AMQP_RELEASED] = 0x26,
        [AMQP_MODIFIED] = 0x27,
    };

    if (type == AMQP_RECEIVED) {
        memcpy(at, plain_received, sizeof(plain_received));
        return at + sizeof(plain_received);
    }
    assert(type != AMQP_OTHER_OUTCOME); // has no plain form
    at[0] = 0x00;
    at[1] = 0x53;
    at[2] = codes[type];
    at[3] = 0x45;
    return at + 4;
}

static inline void quick_plain_state(struct quick *q, enum amqp_outcome_type type)
{
    if (type == AMQP_NO_OUTCOME)
        quick_null(q);
    else
        quick_added(q, (size_t)(store_plain_state(q->at, type) - q->at));
}

// Room for what may become at most `len` octets of output, and the return of what is not used. A
// fixed writer that has less room left gets the bytes by way of `spare`.
static inline uint8_t *borrow(struct amqp_writer *w, size_t len, uint8_t *spare)
{
    if (UNLIKELY(w->size - w->len < len)) {
        if (w->fixed || !amqp_writer_grow(w, len))
            return spare;
    }
    return w->buf + w->len;
}

static inline void repay(struct amqp_writer *w, const uint8_t *room, size_t len,
                         const uint8_t *spare)
{
    if (LIKELY(room != spare))
        w->len += len;
    else
        amqp_put_raw(w, (struct str){(const char *)spare, len});
}

static void add_state(struct field_list *l, const struct amqp_outcome *state)
{
    if (state->type == AMQP_NO_OUTCOME && !state->encoded.ptr) {
        add_null(l);
        return;
    }
    amqp_put_state(l->w, state);
    added(l);
}

static void put_transfer_with_state(struct amqp_writer *w, const struct amqp_transfer_frame *f)
{
    struct field_list l = begin_list(w, AMQP_TRANSFER);

    add_uint(&l, true, f->handle);
    add_uint(&l, f->has_delivery_id, f->delivery_id);
    add_bytes(&l, amqp_put_binary, f->tag);
    add_uint(&l, f->has_format, f->format);
    if (f->has_settled)
        add_bool(&l, f->settled);
    else
        add_null(&l);
    add_flag(&l, f->more);
    if (f->has_rcv_settle_mode)
        add_ubyte(&l, f->rcv_settle_mode);
    else
        add_null(&l);
    add_state(&l, &f->state);
    add_flag(&l, f->resume);
    add_flag(&l, f->aborted);
    add_flag(&l, f->batchable);
    end_list(&l);
}

void amqp_put_transfer(struct amqp_writer *w, const struct amqp_transfer_frame *f)
{
    uint8_t spare[AMQP_TRANSFER_LEN_MAX];

    assert(f->tag.len <= AMQP_TAG_MAX);
    if (UNLIKELY(f->state.type != AMQP_NO_OUTCOME)) {
        put_transfer_with_state(w, f);
        return;
    }

    uint8_t *room = borrow(w, sizeof(spare), spare);
    struct quick q = quick_begin(room, AMQP_TRANSFER);

    quick_uint(&q, true, f->handle);
    quick_uint(&q, f->has_delivery_id, f->delivery_id);
    quick_tag(&q, f->tag);
    quick_uint(&q, f->has_format, f->format);
    quick_bool(&q, f->has_settled, f->settled);
    quick_bool(&q, f->more, true);
    quick_ubyte(&q, f->has_rcv_settle_mode, f->rcv_settle_mode);
    quick_null(&q);
    quick_bool(&q, f->resume, true);
    quick_bool(&q, f->aborted, true);
    quick_bool(&q, f->batchable, true);
    repay(w, room, quick_end(&q, room), spare);
}

static void put_disposition_with_state(struct amqp_writer *w,
                                       const struct amqp_disposition_frame *f)
{
    struct field_list l = begin_list(w, AMQP_DISPOSITION);

    add_bool(&l, f->is_receiver);
    add_uint(&l, true, f->first);
    add_uint(&l, f->has_last, f->last);
    add_flag(&l, f->settled);
    add_state(&l, &f->state);
    add_flag(&l, f->batchable);
    end_list(&l);
}

void amqp_put_disposition(struct amqp_writer *w, const struct amqp_disposition_frame *f)
{
    uint8_t spare[AMQP_DISPOSITION_LEN_MAX];

    if (UNLIKELY(f->state.encoded.ptr != NULL)) {
        put_disposition_with_state(w, f);
        return;
    }

    uint8_t *room = borrow(w, sizeof(spare), spare);
    struct quick q = quick_begin(room, AMQP_DISPOSITION);

    quick_bool(&q, true, f->is_receiver);
    quick_uint(&q, true, f->first);
    quick_uint(&q, f->has_last, f->last);
    quick_bool(&q, f->settled, true);
    quick_plain_state(&q, f->state.type);
    quick_bool(&q, f->batchable, true);
    repay(w, room, quick_end(&q, room), spare);
}

static void put_flow_with_properties(struct amqp_writer *w, const struct amqp_flow_frame *f)
{
    struct field_list l = begin_list(w, AMQP_FLOW);

    add_uint(&l, f->has_next_incoming_id, f->next_incoming_id);
    add_uint(&l, true, f->incoming_window);
    add_uint(&l, true, f->next_outgoing_id);
    add_uint(&l, true, f->outgoing_window);
    add_uint(&l, f->has_handle, f->handle);
    add_uint(&l, f->has_delivery_count, f->delivery_count);
    add_uint(&l, f->has_link_credit, f->link_credit);
    add_uint(&l, f->has_available, f->available);
    add_flag(&l, f->drain);
    add_flag(&l, f->echo);
    add_encoded(&l, f->properties);
    end_list(&l);
}

void amqp_put_flow(struct amqp_writer *w, const struct amqp_flow_frame *f)
{
    uint8_t spare[AMQP_FLOW_LEN_MAX];

    if (UNLIKELY(f->properties.len > 0)) {
        put_flow_with_properties(w, f);
        return;
    }

    uint8_t *room = borrow(w, sizeof(spare), spare);
    struct quick q = quick_begin(room, AMQP_FLOW);

    quick_uint(&q, f->has_next_incoming_id, f->next_incoming_id);
    quick_uint(&q, true, f->incoming_window);
    quick_uint(&q, true, f->next_outgoing_id);
    quick_uint(&q, true, f->outgoing_window);
    quick_uint(&q, f->has_handle, f->handle);
    quick_uint(&q, f->has_delivery_count, f->delivery_count);
    quick_uint(&q, f->has_link_credit, f->link_credit);
    quick_uint(&q, f->has_available, f->available);
    quick_bool(&q, f->drain, true);
    quick_bool(&q, f->echo, true);
    repay(w, room, quick_end(&q, room), spare);
}

void amqp_put_state(struct amqp_writer *w, const struct amqp_outcome *state)
{
    uint8_t plain[sizeof(plain_received)];

    if (state->encoded.ptr) {
        amqp_put_raw(w, state->encoded);
    } else if (state->type == AMQP_NO_OUTCOME) {
        amqp_put_null(w);
    } else {
        const uint8_t *end = store_plain_state(plain, state->type);

        amqp_put_raw(w, amqp_bytes_between(plain, end));
    }
}

// ------------------------------------------------------------------------------------- the others

void amqp_put_capabilities(struct amqp_writer *w, const struct str *names, uint32_t count)
{
    if (count == 0)
        amqp_put_null(w);
    else if (count == 1)
        amqp_put_symbol(w, names[0]);
    else
        amqp_put_symbols_as(w, names, count, true);
}

void amqp_put_open(struct amqp_writer *w, const struct amqp_open_frame *f)
{
    struct field_list l = begin_list(w, AMQP_OPEN);

    add_bytes(&l, amqp_put_string, f->container_id);
    add_bytes(&l, amqp_put_string, f->hostname);
    add_uint(&l, true, f->frame_size_max);
    add_ushort(&l, f->channel_max);
    add_uint(&l, f->idle_timeout_ms > 0, f->idle_timeout_ms);
    add_null(&l); // outgoing-locales
    add_null(&l); // incoming-locales
    add_encoded(&l, f->offered);
    add_encoded(&l, f->desired);
    add_encoded(&l, f->properties);
    end_list(&l);
}

void amqp_put_begin(struct amqp_writer *w, const struct amqp_begin_frame *f)
{
    struct field_list l = begin_list(w, AMQP_BEGIN);

    if (f->has_remote_channel)
        add_ushort(&l, f->remote_channel);
    else
        add_null(&l);
    add_uint(&l, true, f->next_outgoing_id);
    add_uint(&l, true, f->incoming_window);
    add_uint(&l, true, f->outgoing_window);
    add_uint(&l, f->handle_max != UINT32_MAX, f->handle_max);
    add_encoded(&l, f->offered);
    add_encoded(&l, f->desired);
    add_encoded(&l, f->properties);
    end_list(&l);
}

// The fields in `extra`, and nulls for those that it lacks.
static void add_extra(struct field_list *l, struct str extra, uint32_t count)
{
    struct amqp_reader r = amqp_reader_of(extra);
    struct amqp_item it;
    uint32_t i = 0;

    for (; i < count && amqp_read(&r, &it) == 0; i++)
        add_encoded(l, it.type == AMQP_NULL ? STR_NONE : it.whole);
    assert(amqp_reader_done(&r));
    for (; i < count; i++)
        add_null(l);
}

static void add_capabilities(struct field_list *l, const struct amqp_terminus *t)
{
    if (t->capability_count == 0) {
        add_null(l);
        return;
    }
    amqp_put_capabilities(l->w, t->capabilities, t->capability_count);
    added(l);
}

static void add_terminus(struct field_list *l, const struct amqp_terminus *t, bool is_source)
{
    if (t->is_null) {
        add_null(l);
        return;
    }

    struct field_list inner = begin_list(l->w, is_source ? 0x28 : t->is_coordinator ? 0x30 : 0x29);

    if (!t->is_coordinator) {
        add_bytes(&inner, amqp_put_string, t->address);
        add_uint(&inner, true, t->durable);
        add_bytes(&inner, amqp_put_symbol, t->expiry);
        add_uint(&inner, true, t->timeout);
        add_bool(&inner, t->dynamic);
        add_extra(&inner, t->extra, is_source ? 5 : 1);
    }
    add_capabilities(&inner, t);
    end_list(&inner);
    added(l);
}

void amqp_put_attach(struct amqp_writer *w, const struct amqp_attach_frame *f)
{
    struct field_list l = begin_list(w, AMQP_ATTACH);

    add_bytes(&l, amqp_put_string, f->name);
    add_uint(&l, true, f->handle);
    add_bool(&l, f->is_receiver);
    add_ubyte(&l, f->snd_settle_mode);
    add_ubyte(&l, f->rcv_settle_mode);
    add_terminus(&l, &f->source, true);
    add_terminus(&l, &f->target, false);
    add_encoded(&l, f->unsettled);
    add_flag(&l, f->incomplete_unsettled);
    add_uint(&l, f->has_initial_delivery_count, f->initial_delivery_count);
    add_ulong(&l, f->has_message_size_max, f->message_size_max);
    add_encoded(&l, f->offered);
    add_encoded(&l, f->desired);
    add_encoded(&l, f->properties);
    end_list(&l);
}

void amqp_put_detach(struct amqp_writer *w, const struct amqp_detach_frame *f)
{
    struct field_list l = begin_list(w, AMQP_DETACH);

    add_uint(&l, true, f->handle);
    add_flag(&l, f->closed);
    add_error(&l, &f->error);
    end_list(&l);
}

static void put_goodbye(struct amqp_writer *w, uint64_t code, const struct amqp_error *error)
{
    struct field_list l = begin_list(w, code);

    add_error(&l, error);
    end_list(&l);
}

void amqp_put_end(struct amqp_writer *w, const struct amqp_error *error)
{
    put_goodbye(w, AMQP_END, error);
}

void amqp_put_close(struct amqp_writer *w, const struct amqp_error *error)
{
    put_goodbye(w, AMQP_CLOSE, error);
}

void amqp_put_mechanisms(struct amqp_writer *w, const struct str *names, uint32_t count)
{
    struct field_list l = begin_list(w, AMQP_SASL_MECHANISMS);

    amqp_put_symbols(w, names, count);
    added(&l);
    end_list(&l);
}

void amqp_put_init(struct amqp_writer *w, const struct amqp_init_frame *f)
{
    struct field_list l = begin_list(w, AMQP_SASL_INIT);

    add_bytes(&l, amqp_put_symbol, f->mechanism);
    add_bytes(&l, amqp_put_binary, f->response);
    add_bytes(&l, amqp_put_string, f->hostname);
    end_list(&l);
}

static void put_one_binary(struct amqp_writer *w, uint64_t code, struct str content)
{
    struct field_list l = begin_list(w, code);

    amqp_put_binary(w, content);
    added(&l);
    end_list(&l);
}

void amqp_put_response(struct amqp_writer *w, struct str response)
{
    put_one_binary(w, AMQP_SASL_RESPONSE, response);
}

void amqp_put_sasl_outcome(struct amqp_writer *w, const struct amqp_sasl_outcome_frame *f)
{
    struct field_list l = begin_list(w, AMQP_SASL_OUTCOME);

    add_ubyte(&l, f->code);
    add_bytes(&l, amqp_put_binary, f->additional);
    end_list(&l);
}
