// SPDX-License-Identifier: Apache-2.0
#include "flow/flow.h"

#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/rng.h"
#include "flow/inside.h"

// An event source. A record that changes is put into a slot; there are five, and each 200 ms one is
// flushed in turn. A changed record goes into the one just flushed, so it is sent at most once a
// second, whatever happens to it. Ended records are sent a last time and forgotten.
//
//   flow.c     the source: slots and timers, commands, what is to be sent next
//   record.c   records, their values, and when a change is worth telling
//   message.c  the messages, written and read
//
// While nobody listens records only keep their values: nothing is queued, and one that ends is gone
// at once. Who comes first hears all there is, others ask for it (FLUSH).

enum { TICK_MS = 200, IDLE_MS = 1000, FIRST_MS = 2000, BEAT_MS = 2000, BEATS_TO_BEACON = 5 };
enum { CLOCK_SET_NS = 100000000 };
// Everything is told again no more often than this: longer the more there is, but short of the time
// in which collectors take for gone what they asked for and did not hear.
enum { TELL_MIN_MS = 1000, TELL_EACH_MS = 5, TELL_MAX_MS = 5000 };
// Between two beacons out of turn: all who join are greeted by everybody.
enum { GREET_MIN_MS = 1000, GREET_EACH_MS = 20, GREET_MAX_MS = BEAT_MS * BEATS_TO_BEACON };

static void name_source(struct flow *f, const struct flow_opts *opts)
{
    struct str host = str_of(opts->host_name);
    char id[RNG_ID_LEN + 1];
    struct rng rng;

    // The name of a pod ends with "-" and five characters that no other pod has.
    if (host.len > PREFIX_LEN && host.ptr[host.len - PREFIX_LEN - 1] == '-') {
        memcpy(f->prefix, host.ptr + host.len - PREFIX_LEN, PREFIX_LEN);
    } else {
        rng_init(&rng, opts->seed);
        rng_id(&rng, id);
        memcpy(f->prefix, id, PREFIX_LEN);
    }
}

struct flow *flow_new(const struct flow_opts *opts, struct mono now)
{
    struct flow *f = xcalloc(1, sizeof(*f));
    char *id;

    f->epoch_ns = opts->epoch_us * 1000 - now.ns;
    f->next_tick = mono_add_ms(now, FIRST_MS);
    f->next_message_id = 1;
    name_source(f, opts);
    f->source_type = xstrdup(opts->type ? opts->type : "ROUTER");
    id = opts->id ? xstrdup(opts->id) : str_fmt("%s:0", f->prefix);
    f->addresses[FLOW_BEACONS] = xstrdup("mc/sfe.all");
    f->addresses[FLOW_RECORDS] = str_fmt("mc/sfe.%s", id);
    f->addresses[FLOW_FLOWS] = str_fmt("mc/sfe.%s.flows", id);
    f->addresses[FLOW_LOGS] = str_fmt("mc/sfe.%s.logs", id);
    f->addresses[FLOW_COMMANDS] = str_fmt("sfe.%s", id);
    f->addresses[FLOW_CORECORDS] = str_fmt("vfcr.%s", id);
    f->addresses[FLOW_JOINED] = xstrdup("mc/sfe.joined");
    free(id);
    list_init(&f->records);
    list_init(&f->corecords);
    list_init(&f->ending);
    for (int i = 0; i < SLOT_COUNT; i++)
        list_init(&f->slots[i]);
    for (int i = 0; i < FLOW_CHANNEL_COUNT; i++)
        list_init(&f->due[i]);
    map_init(&f->tports);
    amqp_writer_init(&f->out);
    return f;
}

void flow_free(struct flow *f)
{
    if (!f)
        return;
    while (!list_empty(&f->records))
        record_free(list_entry(f->records.next, struct flow_record, on_flow));
    while (!list_empty(&f->corecords))
        record_free(list_entry(f->corecords.next, struct flow_record, on_flow));
    map_fini(&f->tports);
    for (int i = 0; i < FLOW_CHANNEL_COUNT; i++)
        free(f->addresses[i]);
    amqp_writer_fini(&f->out);
    free(f->source_type);
    free(f->to);
    free(f);
}

const char *flow_address(const struct flow *f, enum flow_channel channel)
{
    return f->addresses[channel];
}

bool flow_is_reached(const struct flow *f, enum flow_channel channel)
{
    return f->is_reached[channel];
}

void flow_stats(const struct flow *f, struct flow_stats *out)
{
    *out = f->stats;
    out->traffic = f->traffic;
    out->others = f->others;
}

// ------------------------------------------------------------------------------------------ time

static void tell_all(struct flow *f, enum flow_channel channel)
{
    list_for_each (node, &f->records) {
        struct flow_record *rec = list_entry(node, struct flow_record, on_flow);

        if (record_channel(rec) == channel)
            record_retell(rec);
    }
}

void flow_set_reached(struct flow *f, enum flow_channel channel, bool is_reached)
{
    if (f->is_reached[channel] == is_reached)
        return;
    f->is_reached[channel] = is_reached;
    if (channel == FLOW_BEACONS) {
        f->beat_count = 0;
        f->next_beat = (struct mono){0}; // the next tick
    } else if (is_reached) {
        tell_all(f, channel);
    } else if (channel == FLOW_FLOWS) {
        while (!list_empty(&f->ending))
            record_free(list_entry(f->ending.next, struct flow_record, on_slot));
    }
}

void flow_greet(struct flow *f, uint32_t others)
{
    f->greet_count = others > 0 ? others : 1;
}

void flow_ask(struct flow *f)
{
    f->ask_due = true;
}

void flow_asked(struct flow *f)
{
    if (f->greet_count == 0 && !mono_before(f->ticked_at, mono_add_ms(f->greet_at, GREET_MAX_MS)))
        f->asked_count = 0;
    f->asked_count++;
    if (f->greet_count < f->asked_count)
        f->greet_count = f->asked_count;
}

// All who collect hear what one of them asked for. When a network starts, each asks everybody, so
// who has much to tell lets the questions gather.
static void tell_all_in_time(struct flow *f)
{
    int64_t pause = TELL_MIN_MS + (int64_t)f->others * TELL_EACH_MS;

    if (!f->all_due || mono_before(f->ticked_at, f->all_at))
        return;
    f->all_due = false;
    f->all_at = mono_add_ms(f->ticked_at, pause < TELL_MAX_MS ? pause : TELL_MAX_MS);
    tell_all(f, FLOW_RECORDS);
    tell_all(f, FLOW_FLOWS);
}

struct mono flow_deadline(const struct flow *f)
{
    return f->next_tick;
}

static void beat(struct flow *f, struct mono now)
{
    if (!f->is_reached[FLOW_BEACONS] || mono_before(now, f->next_beat))
        return;
    f->beacon_due = f->beat_count++ % BEATS_TO_BEACON == 0;
    f->heartbeat_due = f->is_reached[FLOW_RECORDS];
    f->beat_us = (uint64_t)((now.ns + f->epoch_ns) / 1000);
    f->next_beat = mono_add_ms(f->next_beat.ns ? f->next_beat : now, BEAT_MS);
    if (mono_before(f->next_beat, now)) // the shell was late
        f->next_beat = mono_add_ms(now, BEAT_MS);
}

// A beacon in turn serves as well.
static void greet(struct flow *f, struct mono now)
{
    int64_t pause = GREET_MIN_MS + (int64_t)f->greet_count * GREET_EACH_MS;

    if (f->greet_count == 0 || !f->is_reached[FLOW_BEACONS] ||
        (!f->beacon_due && mono_before(now, f->greet_at)))
        return;
    f->beacon_due = true;
    f->greet_count = 0;
    f->greet_at = mono_add_ms(now, pause < GREET_MAX_MS ? pause : GREET_MAX_MS);
}

// Connections whose co-records have had their time are sent a last time.
static void let_go(struct flow *f, struct mono now)
{
    struct list *node;

    while ((node = list_first(&f->ending)) != NULL) {
        struct flow_record *rec = list_entry(node, struct flow_record, on_slot);

        if (mono_before(now, rec->forget_at))
            break;
        list_remove(node);
        list_append(&f->slots[f->slot], node);
    }
}

static void flush_slot(struct flow *f)
{
    struct list *node;

    while ((node = list_pop(&f->slots[f->slot])) != NULL) {
        struct flow_record *rec = list_entry(node, struct flow_record, on_slot);

        if (record_is_heard(rec))
            list_append(&f->due[record_channel(rec)], node);
        else if (rec->is_ended)
            record_free(rec);
    }
    f->slot = (f->slot + 1) % SLOT_COUNT;
}

static bool has_work(const struct flow *f)
{
    for (int i = 0; i < SLOT_COUNT; i++)
        if (!list_empty(&f->slots[i]))
            return true;
    return f->all_due || f->is_reached[FLOW_BEACONS] || !list_empty(&f->ending);
}

// Followed when the clock was set, and else left alone: two readings are never at one moment, and
// a record's times would not fit its latency.
static void set_epoch(struct flow *f, struct mono now, int64_t epoch_us)
{
    int64_t epoch_ns = epoch_us * 1000 - now.ns;

    if (epoch_ns - f->epoch_ns > CLOCK_SET_NS || f->epoch_ns - epoch_ns > CLOCK_SET_NS)
        f->epoch_ns = epoch_ns;
}

void flow_tick(struct flow *f, struct mono now, int64_t epoch_us)
{
    if (mono_before(now, f->next_tick))
        return;
    f->ticked_at = now;
    set_epoch(f, now, epoch_us);
    tell_all_in_time(f);
    beat(f, now);
    greet(f, now);
    let_go(f, now);
    flush_slot(f);
    f->next_tick = mono_add_ms(now, has_work(f) ? TICK_MS : IDLE_MS);
}

bool flow_next(struct flow *f, struct flow_message *out)
{
    f->out.len = 0;
    out->to = NULL;
    if (f->ask_due) {
        f->ask_due = false;
        message_beacon(f, FLOW_JOINED, &f->out);
        out->to = f->addresses[FLOW_JOINED];
    } else if (f->beacon_due) {
        f->beacon_due = false;
        message_beacon(f, FLOW_BEACONS, &f->out);
        out->to = f->addresses[FLOW_BEACONS];
    } else if (f->heartbeat_due) {
        f->heartbeat_due = false;
        message_heartbeat(f, &f->out, f->beat_us);
        out->to = f->addresses[FLOW_RECORDS];
    }
    for (int i = 0; !out->to && i < FLOW_CHANNEL_COUNT; i++)
        if (!list_empty(&f->due[i]))
            out->to = message_records(f, (enum flow_channel)i, &f->out);
    out->bytes = amqp_written(&f->out);
    return out->to != NULL;
}

// -------------------------------------------------------------------------------------- commands

void flow_command(struct flow *f, struct str message)
{
    struct flow_news n;

    if (flow_read(message, &n) < 0 || n.subject != FLOW_IS_FLUSH)
        return;
    f->all_due = true;
    tell_all_in_time(f);
}

static bool is_well_formed(struct flow_read rec)
{
    struct flow_value v;
    int got, count = 0;

    while ((got = flow_read_value(&rec, &v)) > 0)
        count++;
    return got == 0 && count > 0;
}

void flow_corecord(struct flow *f, struct str message)
{
    struct flow_news n;
    struct flow_read rec;
    struct flow_value v;

    if (flow_read(message, &n) < 0 || n.subject != FLOW_IS_RECORD)
        return;
    while (flow_read_record(&n, &rec) > 0) {
        struct flow_record *mine = map_get(&f->tports, rec.id);

        if (!mine || rec.type != FLOW_TPORT || !is_well_formed(rec) || !record_hears(mine, rec.id))
            continue;
        while (flow_read_value(&rec, &v) > 0) {
            if (!attr_is_connectors(v.attr))
                continue;
            if (v.is_text)
                flow_set_text(mine, (enum flow_attr)v.attr, v.text);
            else
                flow_set_number(mine, (enum flow_attr)v.attr, v.number);
        }
    }
}
