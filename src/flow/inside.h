// SPDX-License-Identifier: Apache-2.0
// The source and its records. Inside the folder flow only.
#pragma once

#include "base/list.h"
#include "base/map.h"
#include "flow/flow.h"

enum { SLOT_COUNT = 5, PREFIX_LEN = 5 };

struct flow {
    char prefix[PREFIX_LEN + 1];
    char *source_type;
    char *addresses[FLOW_CHANNEL_COUNT];
    bool is_reached[FLOW_CHANNEL_COUNT];
    int64_t epoch_ns; // wall clock = monotonic + this
    struct mono next_tick, next_beat;
    struct mono ticked_at, all_at; // everything is told again, but not before
    bool all_due;
    struct mono greet_at; // a beacon out of turn, but not before
    uint32_t greet_count; // who listens then; 0: none is due
    uint32_t asked_count; // by so many, with no long pause between
    bool ask_due;
    uint32_t beat_count;
    bool beacon_due, heartbeat_due;
    uint64_t beat_us; // of the heartbeat that is due
    uint64_t next_id, next_message_id;
    struct list records;                 // flow_record.on_flow: parents before their children
    struct list corecords;               // flow_record.on_flow
    struct list slots[SLOT_COUNT];       // flow_record.on_slot: changed
    struct list due[FLOW_CHANNEL_COUNT]; // to be sent now
    struct list ending;                  // connections that wait for their co-records, oldest first
    uint32_t slot;                       // flushed next
    struct map tports;                   // by identity, for co-records
    size_t traffic, others, logs;
    bool is_full;
    struct amqp_writer out;
    char *to;
    struct flow_stats stats;
};

struct value {
    uint8_t attr;
    bool is_changed; // since it was sent
    bool was_sent;
    bool is_short; // the text is `few`: as addresses, ports, identities and methods mostly are
    union {
        uint64_t number;
        char *text;
        char few[16];
    };
};

struct flow_record {
    struct list on_flow;
    struct list on_slot; // a slot, ending, or due
    struct flow *flow;
    enum flow_type type;
    bool is_ended, is_corecord;
    uint8_t attempt_count, heard; // by flow_corecord_id(); that of the last co-record
    uint8_t count, size;
    struct mono forget_at; // while ending
    struct value *values;  // by attribute
    char *id;
    char **attempts; // their identities after the first; NULL: there was one at most
};

// record.c
bool attr_is_text(uint32_t attr);
const char *value_text(const struct value *v); // NULL: none yet
bool attr_is_connectors(uint32_t attr);        // told by the router of the connector
bool type_is_traffic(enum flow_type type);
enum flow_channel record_channel(const struct flow_record *rec);
bool record_is_heard(const struct flow_record *rec);
void record_free(struct flow_record *rec);
bool record_hears(struct flow_record *rec, struct str corecord_id); // false: of an older attempt
void record_touch(struct flow_record *rec);                         // it will be sent
void record_retell(struct flow_record *rec);

// message.c
// `channel`: FLOW_BEACONS or FLOW_JOINED.
void message_beacon(struct flow *f, enum flow_channel channel, struct amqp_writer *w);
void message_heartbeat(struct flow *f, struct amqp_writer *w, uint64_t now_us);
// Of the list's first FLOW_RECORDS_MAX records; co-records: those to the same router. They are
// taken off, and freed if they have ended. Returns the address.
const char *message_records(struct flow *f, enum flow_channel channel, struct amqp_writer *w);
