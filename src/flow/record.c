// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>

#include "base/mem.h"
#include "flow/inside.h"

// A record's values stand in one small array, ordered by attribute, each with a mark whether it has
// changed since it was last sent.

enum { FIRST_VALUES = 8, MORE_VALUES = 4, ENDING_MS = 5000 };

// What a value is: n number, s text, space: not in use.
static const char kinds[FLOW_ATTR_MAX + 2] =
    "nssnnsssnssssssssssssssnnnnssssssnsnnnnnnnnnnssnnssnnssnnnnnsnssssns";

bool attr_is_text(uint32_t attr)
{
    return attr <= FLOW_ATTR_MAX && kinds[attr] == 's';
}

const char *value_text(const struct value *v)
{
    return v->is_short ? v->few : v->text;
}

static void value_forget_text(struct value *v)
{
    if (attr_is_text(v->attr) && !v->is_short)
        free(v->text);
    v->is_short = false;
    memset(v->few, 0, sizeof(v->few));
}

bool attr_is_connectors(uint32_t attr)
{
    return attr == FLOW_TRACE || (attr >= FLOW_CONNECTOR_ID && attr <= FLOW_PROXY_PORT) ||
           attr == FLOW_ERROR_CONNECTOR_SIDE;
}

bool type_is_traffic(enum flow_type type)
{
    return type == FLOW_TPORT || type == FLOW_APP;
}

static struct list *slot_just_flushed(struct flow *f)
{
    return &f->slots[(f->slot + SLOT_COUNT - 1) % SLOT_COUNT];
}

enum flow_channel record_channel(const struct flow_record *rec)
{
    if (rec->is_corecord)
        return FLOW_CORECORDS;
    if (rec->type == FLOW_LOG)
        return FLOW_LOGS;
    return type_is_traffic(rec->type) ? FLOW_FLOWS : FLOW_RECORDS;
}

bool record_is_heard(const struct flow_record *rec)
{
    return rec->is_corecord || rec->flow->is_reached[record_channel(rec)];
}

void record_touch(struct flow_record *rec)
{
    if (list_empty(&rec->on_slot) && record_is_heard(rec))
        list_append(slot_just_flushed(rec->flow), &rec->on_slot);
}

// All of it will be sent, in the next tick.
void record_retell(struct flow_record *rec)
{
    if (rec->is_ended)
        return;
    for (uint8_t i = 0; i < rec->count; i++)
        rec->values[i].is_changed = true;
    if (!record_is_heard(rec))
        return;
    list_remove(&rec->on_slot);
    list_append(&rec->flow->slots[rec->flow->slot], &rec->on_slot);
}

// ---------------------------------------------------------------------------------------- values

// The place of an attribute, made if it is not there; NULL: it is not of that kind.
static struct value *obtain(struct flow_record *rec, enum flow_attr attr, char kind)
{
    uint8_t at = 0;

    if (!rec || (unsigned)attr > FLOW_ATTR_MAX || kinds[attr] != kind)
        return NULL;
    while (at < rec->count && rec->values[at].attr < attr)
        at++;
    if (at < rec->count && rec->values[at].attr == attr)
        return &rec->values[at];
    if (rec->count == rec->size) {
        rec->size = (uint8_t)(rec->size ? rec->size + MORE_VALUES : FIRST_VALUES);
        rec->values = xrealloc(rec->values, rec->size, sizeof(*rec->values));
    }
    memmove(rec->values + at + 1, rec->values + at,
            (size_t)(rec->count - at) * sizeof(*rec->values));
    rec->count++;
    rec->values[at] = (struct value){.attr = (uint8_t)attr};
    return &rec->values[at];
}

static void changed(struct flow_record *rec, struct value *v)
{
    v->is_changed = true;
    record_touch(rec);
}

void flow_set_number(struct flow_record *rec, enum flow_attr attr, uint64_t value)
{
    uint8_t count = rec ? rec->count : 0;
    struct value *v = obtain(rec, attr, 'n');

    if (!v || (rec->count == count && v->number == value))
        return;
    v->number = value;
    changed(rec, v);
}

void flow_add(struct flow_record *rec, enum flow_attr attr, uint64_t more)
{
    struct value *v = obtain(rec, attr, 'n');

    if (!v)
        return;
    v->number += more;
    changed(rec, v);
}

// Cut in front of the character that does not fit.
static struct str shorten(struct str s)
{
    if (s.len <= FLOW_TEXT_MAX)
        return s;
    s.len = FLOW_TEXT_MAX;
    while (s.len > 0 && ((unsigned char)s.ptr[s.len] & 0xc0) == 0x80)
        s.len--;
    return s;
}

void flow_set_text(struct flow_record *rec, enum flow_attr attr, struct str value)
{
    struct value *v = obtain(rec, attr, 's');

    if (!v)
        return;
    value = shorten(value);
    if (value_text(v) && str_is(value, value_text(v)))
        return;
    value_forget_text(v);
    v->is_short = value.len < sizeof(v->few);
    if (!v->is_short)
        v->text = str_dup(value);
    else if (value.len > 0)
        memcpy(v->few, value.ptr, value.len);
    changed(rec, v);
}

void flow_set_time(struct flow_record *rec, enum flow_attr attr, struct mono when)
{
    if (rec)
        flow_set_number(rec, attr, (uint64_t)((when.ns + rec->flow->epoch_ns) / 1000));
}

// ----------------------------------------------------------------------------------- their lives

static bool has_room(struct flow *f, bool is_traffic)
{
    if (!is_traffic)
        return f->others < FLOW_OTHERS_MAX;
    if (f->traffic >= FLOW_TRAFFIC_MAX)
        f->is_full = true;
    else if (f->traffic < FLOW_TRAFFIC_AGAIN)
        f->is_full = false;
    return !f->is_full;
}

static bool admit(struct flow *f, enum flow_type type)
{
    bool has = has_room(f, type_is_traffic(type));

    f->stats.dropped += !has;
    return has;
}

static struct flow_record *record_new(struct flow *f, enum flow_type type, char *take_id)
{
    struct flow_record *rec = xcalloc(1, sizeof(*rec));

    rec->flow = f;
    rec->type = type;
    rec->id = take_id;
    list_init(&rec->on_flow);
    list_init(&rec->on_slot);
    if (type_is_traffic(type))
        f->traffic++;
    else
        f->others++;
    f->logs += type == FLOW_LOG;
    return rec;
}

void record_free(struct flow_record *rec)
{
    struct flow *f = rec->flow;

    list_remove(&rec->on_flow);
    list_remove(&rec->on_slot);
    if (rec->type == FLOW_TPORT && !rec->is_corecord)
        map_remove(&f->tports, str_of(rec->id));
    for (uint8_t i = 1; i < rec->attempt_count; i++) {
        map_remove(&f->tports, str_of(rec->attempts[i - 1]));
        free(rec->attempts[i - 1]);
    }
    if (type_is_traffic(rec->type))
        f->traffic--;
    else
        f->others--;
    f->logs -= rec->type == FLOW_LOG;
    for (uint8_t i = 0; i < rec->count; i++)
        value_forget_text(&rec->values[i]);
    free(rec->values);
    free(rec->attempts);
    free(rec->id);
    free(rec);
}

static struct flow_record *begin(struct flow *f, enum flow_type type, char *take_id,
                                 const struct flow_record *parent, struct mono now)
{
    struct flow_record *rec = record_new(f, type, take_id);

    if (type == FLOW_SITE)
        list_prepend(&f->records, &rec->on_flow);
    else
        list_append(&f->records, &rec->on_flow);
    if (type == FLOW_TPORT)
        map_put(&f->tports, str_of(rec->id), rec);
    if (parent)
        flow_set_text(rec, FLOW_PARENT, str_of(parent->id));
    flow_set_time(rec, FLOW_START_TIME, now);
    return rec;
}

// "<prefix>:<number>", by hand: there is one for each connection and request.
static char *new_id(struct flow *f)
{
    char text[PREFIX_LEN + 1 + 20], *at = text + sizeof(text);
    uint64_t rest = f->next_id++;

    do {
        *--at = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    *--at = ':';
    at -= PREFIX_LEN;
    memcpy(at, f->prefix, PREFIX_LEN);
    return str_dup((struct str){at, (size_t)(text + sizeof(text) - at)});
}

struct flow_record *flow_begin(struct flow *f, enum flow_type type,
                               const struct flow_record *parent, struct mono now)
{
    return admit(f, type) ? begin(f, type, new_id(f), parent, now) : NULL;
}

struct flow_record *flow_begin_as(struct flow *f, enum flow_type type, struct str id,
                                  struct mono now)
{
    return admit(f, type) ? begin(f, type, str_dup(id), NULL, now) : NULL;
}

struct flow_record *flow_begin_corecord(struct flow *f, struct str id)
{
    const char *colon = id.len > 0 ? memchr(id.ptr, ':', id.len) : NULL;
    struct flow_record *rec = NULL;

    if (!colon || colon == id.ptr || id.len > FLOW_TEXT_MAX || !admit(f, FLOW_TPORT))
        return NULL;
    rec = record_new(f, FLOW_TPORT, str_dup(id));
    rec->is_corecord = true;
    list_append(&f->corecords, &rec->on_flow);
    return rec;
}

const char *flow_id(const struct flow_record *rec)
{
    return rec ? rec->id : "";
}

// Values that were not sent yet go; of the others only the error says something that the next
// co-record may leave as it is.
static void forget_connectors(struct flow_record *rec)
{
    uint8_t kept = 0;

    for (uint8_t i = 0; i < rec->count; i++) {
        struct value *v = &rec->values[i];

        if (!attr_is_connectors(v->attr) || v->was_sent)
            rec->values[kept++] = *v;
        else
            value_forget_text(v);
    }
    rec->count = kept;
    for (uint8_t i = 0; i < rec->count; i++)
        if (rec->values[i].attr == FLOW_ERROR_CONNECTOR_SIDE)
            flow_set_text(rec, FLOW_ERROR_CONNECTOR_SIDE, STR(""));
}

const char *flow_corecord_id(struct flow_record *rec)
{
    if (!rec)
        return "";
    if (rec->attempt_count++ == 0)
        return rec->id;
    if (rec->attempt_count > FLOW_ATTEMPTS_MAX) {
        rec->attempt_count = FLOW_ATTEMPTS_MAX;
    } else {
        char *id = new_id(rec->flow);

        rec->attempts = xrealloc(rec->attempts, rec->attempt_count, sizeof(char *));
        rec->attempts[rec->attempt_count - 2] = id;
        map_put(&rec->flow->tports, str_of(id), rec);
    }
    return rec->attempts[rec->attempt_count - 2];
}

static uint8_t attempt_of(const struct flow_record *rec, struct str id)
{
    for (uint8_t i = 1; i < rec->attempt_count; i++)
        if (str_is(id, rec->attempts[i - 1]))
            return i;
    return 0;
}

bool record_hears(struct flow_record *rec, struct str id)
{
    uint8_t attempt = attempt_of(rec, id);

    if (attempt < rec->heard)
        return false;
    if (attempt > rec->heard)
        forget_connectors(rec);
    rec->heard = attempt;
    return true;
}

void flow_end(struct flow_record *rec, struct mono now)
{
    if (!rec)
        return;
    if (!rec->is_corecord)
        flow_set_time(rec, FLOW_END_TIME, now);
    rec->is_ended = true;
    if (rec->type == FLOW_TPORT && !rec->is_corecord && record_is_heard(rec)) {
        rec->forget_at = mono_add_ms(now, ENDING_MS);
        list_remove(&rec->on_slot);
        list_append(&rec->flow->ending, &rec->on_slot);
    } else if (list_empty(&rec->on_slot)) {
        record_free(rec);
    }
}

void flow_log(struct flow *f, const struct flow_record *router, enum flow_severity severity,
              struct str text, struct str file, uint64_t line, struct mono now)
{
    struct flow_record *rec = NULL;

    if (!f->is_reached[FLOW_LOGS])
        return;
    if (f->logs >= FLOW_LOGS_MAX) {
        f->stats.logs_dropped++;
        return;
    }
    rec = flow_begin(f, FLOW_LOG, router, now);
    if (!rec)
        return;
    flow_set_number(rec, FLOW_LOG_SEVERITY, severity);
    flow_set_text(rec, FLOW_LOG_TEXT, text);
    flow_set_text(rec, FLOW_SOURCE_FILE, file);
    flow_set_number(rec, FLOW_SOURCE_LINE, line);
    flow_end(rec, now);
}
