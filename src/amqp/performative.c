// SPDX-License-Identifier: Apache-2.0
// Decoding frame bodies. All of them go through `struct fields`, field by field in the order of the
// specification. Transfer, flow and disposition, of which there are one for each message, are first
// tried by code that knows how nearly everybody writes them and gives up at the first surprise.
#include "amqp/performative.h"

#include "amqp/fields.h"

int amqp_performative_slow(struct str body)
{
    struct amqp_reader r = amqp_reader_of(body);
    struct fields f;
    uint64_t code;
    int err = fields_open(&r, &code, &f);

    if (err < 0)
        return ERR_DECODE;
    return code <= INT32_MAX ? (int)code : ERR_DECODE;
}

// ----------------------------------------------------------------------------- transfer and such

// Steps of the fast decoders. Each takes one field at *at; false: the slow way, please.
static inline bool fast_uint(const uint8_t **at, const uint8_t *end, uint32_t *out)
{
    const uint8_t *p = *at;

    if (end - p >= 2 && p[0] == 0x52) {
        *out = p[1];
        *at = p + 2;
        return true;
    }
    if (end - p >= 5 && p[0] == 0x70) {
        *out = amqp_load_u32(p + 1);
        *at = p + 5;
        return true;
    }
    if (end - p >= 1 && p[0] == 0x43) {
        *out = 0;
        *at = p + 1;
        return true;
    }
    return false;
}

static inline bool fast_uint_or_null(const uint8_t **at, const uint8_t *end, bool *has,
                                     uint32_t *out)
{
    if (*at < end && **at == 0x40) {
        ++*at;
        return true;
    }
    *has = true;
    return fast_uint(at, end, out);
}

static inline bool fast_bool_or_null(const uint8_t **at, const uint8_t *end, bool *has, bool *out)
{
    if (*at == end || (uint8_t)(**at - 0x40) > 2)
        return false;
    *has = **at != 0x40;
    *out = **at == 0x41;
    ++*at;
    return true;
}

static inline bool fast_accepted(const uint8_t **at, const uint8_t *end, struct amqp_outcome *out)
{
    const uint8_t *p = *at;

    if (end - p < 4 || p[0] != 0x00 || p[1] != 0x53 || p[2] != 0x24 || p[3] != 0x45)
        return false;
    *out = (struct amqp_outcome){AMQP_ACCEPTED, {(const char *)p, 4}};
    *at = p + 4;
    return true;
}

// The head of a body with a short descriptor and a list8 that is here in full.
static inline bool fast_head(struct str body, uint8_t code, const uint8_t **at, const uint8_t **end,
                             uint32_t *count)
{
    const uint8_t *p = (const uint8_t *)body.ptr;

    if (body.len < 6 || p[0] != 0x00 || p[1] != 0x53 || p[2] != code || p[3] != 0xc0 || p[4] < 1 ||
        (size_t)p[4] + 5 > body.len)
        return false;
    *at = p + 6;
    *end = p + 5 + p[4];
    *count = p[5];
    return true;
}

// handle, delivery-id, delivery-tag, message-format, settled, more: nothing beyond.
static inline bool fast_transfer(struct str body, struct amqp_transfer_frame *t)
{
    const uint8_t *at, *end;
    uint32_t count;
    bool has_more = false;

    if (!fast_head(body, AMQP_TRANSFER, &at, &end, &count) || count > 6 || count < 1)
        return false;
    t->payload_at = (size_t)(end - (const uint8_t *)body.ptr);
    if (!fast_uint(&at, end, &t->handle))
        return false;
    if (count >= 2 && !fast_uint_or_null(&at, end, &t->has_delivery_id, &t->delivery_id))
        return false;
    if (count >= 3) {
        if (end - at >= 2 && at[0] == 0xa0 && at[1] <= AMQP_TAG_MAX && end - at - 2 >= at[1]) {
            t->tag = (struct str){(const char *)at + 2, at[1]};
            at += 2 + at[1];
        } else if (at < end && at[0] == 0x40) {
            at++;
        } else {
            return false;
        }
    }
    if (count >= 4 && !fast_uint_or_null(&at, end, &t->has_format, &t->format))
        return false;
    if (count >= 5 && !fast_bool_or_null(&at, end, &t->has_settled, &t->settled))
        return false;
    if (count >= 6 && !fast_bool_or_null(&at, end, &has_more, &t->more))
        return false;
    return at == end;
}

static int slow_transfer(struct str body, struct amqp_transfer_frame *out)
{
    struct amqp_transfer_frame t = {0};
    struct amqp_reader r = amqp_reader_of(body);
    struct fields f;
    int err = fields_open_body(&r, AMQP_TRANSFER, &f);

    if (err < 0)
        return err;
    fields_must(&f, fields_uint(&f, &t.handle));
    t.has_delivery_id = fields_uint(&f, &t.delivery_id);
    fields_bytes(&f, AMQP_BINARY, &t.tag);
    fields_must(&f, t.tag.len <= AMQP_TAG_MAX);
    t.has_format = fields_uint(&f, &t.format);
    t.has_settled = fields_bool(&f, &t.settled);
    fields_bool(&f, &t.more);
    t.has_rcv_settle_mode = fields_ubyte(&f, &t.rcv_settle_mode);
    fields_must(&f, t.rcv_settle_mode <= 1);
    fields_state(&f, &t.state);
    fields_bool(&f, &t.resume);
    fields_bool(&f, &t.aborted);
    fields_bool(&f, &t.batchable);
    t.payload_at = (size_t)(r.at - (const uint8_t *)body.ptr);
    r.at = r.end; // the payload
    err = fields_close(&r, &f);
    if (err == 0)
        *out = t;
    return err;
}

int amqp_decode_transfer(struct str body, struct amqp_transfer_frame *out)
{
    struct amqp_transfer_frame t = {0};

    if (UNLIKELY(!fast_transfer(body, &t)))
        return slow_transfer(body, out);
    *out = t;
    return 0;
}

// role, first, last, settled, state "accepted": nothing beyond.
static inline bool fast_disposition(struct str body, struct amqp_disposition_frame *d)
{
    const uint8_t *at, *end;
    uint32_t count;
    bool has = false;

    if (!fast_head(body, AMQP_DISPOSITION, &at, &end, &count) || count > 5 || count < 2 ||
        end != (const uint8_t *)body.ptr + body.len)
        return false;
    if (!fast_bool_or_null(&at, end, &has, &d->is_receiver) || !has)
        return false;
    if (!fast_uint(&at, end, &d->first))
        return false;
    d->last = d->first;
    if (count >= 3 && !fast_uint_or_null(&at, end, &d->has_last, &d->last))
        return false;
    if (count >= 4 && !fast_bool_or_null(&at, end, &has, &d->settled))
        return false;
    if (count >= 5 && !fast_accepted(&at, end, &d->state))
        return false;
    return at == end;
}

static int slow_disposition(struct str body, struct amqp_disposition_frame *out)
{
    struct amqp_disposition_frame d = {0};
    struct amqp_reader r = amqp_reader_of(body);
    struct fields f;
    int err = fields_open_body(&r, AMQP_DISPOSITION, &f);

    if (err < 0)
        return err;
    fields_must(&f, fields_bool(&f, &d.is_receiver));
    fields_must(&f, fields_uint(&f, &d.first));
    d.last = d.first;
    d.has_last = fields_uint(&f, &d.last);
    fields_bool(&f, &d.settled);
    fields_state(&f, &d.state);
    fields_bool(&f, &d.batchable);
    err = fields_close(&r, &f);
    if (err == 0)
        *out = d;
    return err;
}

int amqp_decode_disposition(struct str body, struct amqp_disposition_frame *out)
{
    struct amqp_disposition_frame d = {0};

    if (UNLIKELY(!fast_disposition(body, &d)))
        return slow_disposition(body, out);
    *out = d;
    return 0;
}

// All fields but the properties.
static inline bool fast_flow(struct str body, struct amqp_flow_frame *w)
{
    const uint8_t *at, *end;
    uint32_t count;
    bool has;

    if (!fast_head(body, AMQP_FLOW, &at, &end, &count) || count > 10 || count < 4 ||
        end != (const uint8_t *)body.ptr + body.len)
        return false;
    if (!fast_uint_or_null(&at, end, &w->has_next_incoming_id, &w->next_incoming_id) ||
        !fast_uint(&at, end, &w->incoming_window) || !fast_uint(&at, end, &w->next_outgoing_id) ||
        !fast_uint(&at, end, &w->outgoing_window))
        return false;
    if (count >= 5 && !fast_uint_or_null(&at, end, &w->has_handle, &w->handle))
        return false;
    if (count >= 6 && !fast_uint_or_null(&at, end, &w->has_delivery_count, &w->delivery_count))
        return false;
    if (count >= 7 && !fast_uint_or_null(&at, end, &w->has_link_credit, &w->link_credit))
        return false;
    if (count >= 8 && !fast_uint_or_null(&at, end, &w->has_available, &w->available))
        return false;
    if (count >= 9 && !fast_bool_or_null(&at, end, &has, &w->drain))
        return false;
    if (count >= 10 && !fast_bool_or_null(&at, end, &has, &w->echo))
        return false;
    return at == end;
}

static int slow_flow(struct str body, struct amqp_flow_frame *out)
{
    struct amqp_flow_frame w = {0};
    struct amqp_reader r = amqp_reader_of(body);
    struct fields f;
    int err = fields_open_body(&r, AMQP_FLOW, &f);

    if (err < 0)
        return err;
    w.has_next_incoming_id = fields_uint(&f, &w.next_incoming_id);
    fields_must(&f, fields_uint(&f, &w.incoming_window));
    fields_must(&f, fields_uint(&f, &w.next_outgoing_id));
    fields_must(&f, fields_uint(&f, &w.outgoing_window));
    w.has_handle = fields_uint(&f, &w.handle);
    w.has_delivery_count = fields_uint(&f, &w.delivery_count);
    w.has_link_credit = fields_uint(&f, &w.link_credit);
    w.has_available = fields_uint(&f, &w.available);
    fields_bool(&f, &w.drain);
    fields_bool(&f, &w.echo);
    fields_encoded(&f, AMQP_MAP, &w.properties);
    err = fields_close(&r, &f);
    if (err == 0)
        *out = w;
    return err;
}

int amqp_decode_flow(struct str body, struct amqp_flow_frame *out)
{
    struct amqp_flow_frame w = {0};

    if (UNLIKELY(!fast_flow(body, &w)))
        return slow_flow(body, out);
    *out = w;
    return 0;
}

// ------------------------------------------------------------------------- connections, sessions

int amqp_decode_open(struct str body, struct amqp_open_frame *out)
{
    struct amqp_open_frame o = {.frame_size_max = UINT32_MAX, .channel_max = UINT16_MAX};
    struct amqp_reader r = amqp_reader_of(body);
    struct str locales;
    struct fields f;
    int err = fields_open_body(&r, AMQP_OPEN, &f);

    if (err < 0)
        return err;
    fields_must(&f, fields_bytes(&f, AMQP_STRING, &o.container_id));
    fields_bytes(&f, AMQP_STRING, &o.hostname);
    fields_uint(&f, &o.frame_size_max);
    fields_ushort(&f, &o.channel_max);
    fields_uint(&f, &o.idle_timeout_ms);
    fields_symbols(&f, &locales);
    fields_symbols(&f, &locales);
    fields_symbols(&f, &o.offered);
    fields_symbols(&f, &o.desired);
    fields_encoded(&f, AMQP_MAP, &o.properties);
    err = fields_close(&r, &f);
    if (err == 0)
        *out = o;
    return err;
}

int amqp_decode_begin(struct str body, struct amqp_begin_frame *out)
{
    struct amqp_begin_frame b = {.handle_max = UINT32_MAX};
    struct amqp_reader r = amqp_reader_of(body);
    struct fields f;
    int err = fields_open_body(&r, AMQP_BEGIN, &f);

    if (err < 0)
        return err;
    b.has_remote_channel = fields_ushort(&f, &b.remote_channel);
    fields_must(&f, fields_uint(&f, &b.next_outgoing_id));
    fields_must(&f, fields_uint(&f, &b.incoming_window));
    fields_must(&f, fields_uint(&f, &b.outgoing_window));
    fields_uint(&f, &b.handle_max);
    fields_symbols(&f, &b.offered);
    fields_symbols(&f, &b.desired);
    fields_encoded(&f, AMQP_MAP, &b.properties);
    err = fields_close(&r, &f);
    if (err == 0)
        *out = b;
    return err;
}

int amqp_decode_detach(struct str body, struct amqp_detach_frame *out)
{
    struct amqp_detach_frame d = {0};
    struct amqp_reader r = amqp_reader_of(body);
    struct fields f;
    int err = fields_open_body(&r, AMQP_DETACH, &f);

    if (err < 0)
        return err;
    fields_must(&f, fields_uint(&f, &d.handle));
    fields_bool(&f, &d.closed);
    fields_error(&f, &d.error);
    err = fields_close(&r, &f);
    if (err == 0)
        *out = d;
    return err;
}

static int decode_goodbye(struct str body, enum amqp_performative code, struct amqp_error *out)
{
    struct amqp_error error = {0};
    struct amqp_reader r = amqp_reader_of(body);
    struct fields f;
    int err = fields_open_body(&r, code, &f);

    if (err < 0)
        return err;
    fields_error(&f, &error);
    err = fields_close(&r, &f);
    if (err == 0)
        *out = error;
    return err;
}

int amqp_decode_end(struct str body, struct amqp_error *out)
{
    return decode_goodbye(body, AMQP_END, out);
}

int amqp_decode_close(struct str body, struct amqp_error *out)
{
    return decode_goodbye(body, AMQP_CLOSE, out);
}

// ------------------------------------------------------------------------------------------- links

static void next_capabilities(struct fields *f, struct amqp_terminus *t)
{
    struct str encoded = STR_NONE;

    fields_symbols(f, &encoded);
    if (f->err < 0 || !encoded.ptr)
        return;
    t->capability_count = amqp_symbols_of(encoded, t->capabilities, AMQP_CAPABILITY_MAX);
    if (t->capability_count > AMQP_CAPABILITY_MAX) {
        t->capability_count = 0;
        fields_refuse(f, ERR_LIMIT);
    }
}

// The fields from here on, as encoded, at most `count`.
static void next_extra(struct fields *f, uint32_t count, struct str *out)
{
    const uint8_t *from = f->r.at;
    struct amqp_item it;

    for (; f->err == 0 && f->left > 0 && count > 0; count--) {
        if (fields_next(f, &it))
            fields_refuse(f, amqp_check(it.whole));
    }
    if (f->r.at > from)
        *out = amqp_bytes_between(from, f->r.at);
}

static void read_terminus(struct fields *f, uint32_t extra_count, struct amqp_terminus *t)
{
    fields_bytes(f, AMQP_STRING, &t->address);
    fields_uint(f, &t->durable);
    fields_bytes(f, AMQP_SYMBOL, &t->expiry);
    fields_uint(f, &t->timeout);
    fields_bool(f, &t->dynamic);
    next_extra(f, extra_count, &t->extra);
    next_capabilities(f, t);
}

enum {
    SOURCE_CODE = 0x28,
    TARGET_CODE = 0x29,
    COORDINATOR_CODE = 0x30,
    SOURCE_EXTRA_COUNT = 5,
    TARGET_EXTRA_COUNT = 1,
};

static void next_terminus(struct fields *f, bool is_source, struct amqp_terminus *t)
{
    struct amqp_item it;
    struct fields inner;
    uint64_t code;

    t->is_null = true;
    if (!fields_next_of(f, AMQP_DESCRIBED, &it))
        return;

    struct amqp_reader r = amqp_reader_of(it.whole);

    if (fields_open(&r, &code, &inner) < 0) {
        fields_refuse(f, ERR_DECODE);
        return;
    }
    t->is_null = false;
    if (is_source && code == SOURCE_CODE) {
        read_terminus(&inner, SOURCE_EXTRA_COUNT, t);
    } else if (!is_source && code == TARGET_CODE) {
        read_terminus(&inner, TARGET_EXTRA_COUNT, t);
    } else if (!is_source && code == COORDINATOR_CODE) {
        t->is_coordinator = true;
        next_capabilities(&inner, t);
    } else {
        fields_refuse(f, ERR_DECODE);
        return;
    }
    fields_refuse(f, fields_close(&r, &inner));
}

int amqp_decode_attach(struct str body, struct amqp_attach_frame *out)
{
    struct amqp_attach_frame a = {.snd_settle_mode = 2};
    struct amqp_reader r = amqp_reader_of(body);
    struct fields f;
    int err = fields_open_body(&r, AMQP_ATTACH, &f);

    if (err < 0)
        return err;
    fields_must(&f, fields_bytes(&f, AMQP_STRING, &a.name));
    fields_must(&f, fields_uint(&f, &a.handle));
    fields_must(&f, fields_bool(&f, &a.is_receiver));
    fields_ubyte(&f, &a.snd_settle_mode);
    fields_ubyte(&f, &a.rcv_settle_mode);
    fields_must(&f, a.snd_settle_mode <= 2 && a.rcv_settle_mode <= 1);
    next_terminus(&f, true, &a.source);
    next_terminus(&f, false, &a.target);
    fields_encoded(&f, AMQP_MAP, &a.unsettled);
    fields_bool(&f, &a.incomplete_unsettled);
    a.has_initial_delivery_count = fields_uint(&f, &a.initial_delivery_count);
    fields_must(&f, a.is_receiver || a.has_initial_delivery_count);
    a.has_message_size_max = fields_ulong(&f, &a.message_size_max);
    fields_symbols(&f, &a.offered);
    fields_symbols(&f, &a.desired);
    fields_encoded(&f, AMQP_MAP, &a.properties);
    err = fields_close(&r, &f);
    if (err == 0)
        *out = a;
    return err;
}

// -------------------------------------------------------------------------------------------- SASL

int amqp_decode_mechanisms(struct str body, struct str *mechanisms)
{
    struct amqp_reader r = amqp_reader_of(body);
    struct str names = STR_NONE;
    struct fields f;
    int err = fields_open_body(&r, AMQP_SASL_MECHANISMS, &f);

    if (err < 0)
        return err;
    fields_symbols(&f, &names);
    fields_must(&f, names.ptr != NULL);
    err = fields_close(&r, &f);
    if (err == 0)
        *mechanisms = names;
    return err;
}

int amqp_decode_init(struct str body, struct amqp_init_frame *out)
{
    struct amqp_init_frame i = {0};
    struct amqp_reader r = amqp_reader_of(body);
    struct fields f;
    int err = fields_open_body(&r, AMQP_SASL_INIT, &f);

    if (err < 0)
        return err;
    fields_must(&f, fields_bytes(&f, AMQP_SYMBOL, &i.mechanism));
    fields_bytes(&f, AMQP_BINARY, &i.response);
    fields_bytes(&f, AMQP_STRING, &i.hostname);
    err = fields_close(&r, &f);
    if (err == 0)
        *out = i;
    return err;
}

static int decode_one_binary(struct str body, enum amqp_performative code, struct str *out)
{
    struct amqp_reader r = amqp_reader_of(body);
    struct str content = STR_NONE;
    struct fields f;
    int err = fields_open_body(&r, code, &f);

    if (err < 0)
        return err;
    fields_must(&f, fields_bytes(&f, AMQP_BINARY, &content));
    err = fields_close(&r, &f);
    if (err == 0)
        *out = content;
    return err;
}

int amqp_decode_challenge(struct str body, struct str *out)
{
    return decode_one_binary(body, AMQP_SASL_CHALLENGE, out);
}

int amqp_decode_sasl_outcome(struct str body, struct amqp_sasl_outcome_frame *out)
{
    struct amqp_sasl_outcome_frame o = {0};
    struct amqp_reader r = amqp_reader_of(body);
    struct fields f;
    int err = fields_open_body(&r, AMQP_SASL_OUTCOME, &f);

    if (err < 0)
        return err;
    fields_must(&f, fields_ubyte(&f, &o.code));
    fields_bytes(&f, AMQP_BINARY, &o.additional);
    err = fields_close(&r, &f);
    if (err == 0)
        *out = o;
    return err;
}
