// SPDX-License-Identifier: Apache-2.0
// The source and its records. Inside the folder flow only.
#pragma once

#include "base/list.h"
#include "base/map.h"
#include "flow/flow.h"

enum { SLOT_COUNT = 5, PREFIX_LEN = 5 };

struct flow {
    char prefix[PREFIX_LEN + 1];
    char *addresses[FLOW_CHANNEL_COUNT];
    bool is_reached[FLOW_CHANNEL_COUNT];
    int64_t epoch_ns; // wall clock = monotonic + this
    struct mono next_tick, next_beat;
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
    bool is_changed;
    union {
        uint64_t number;
        char *text;
    };
};

struct flow_record {
    struct list on_flow;
    struct list on_slot; // a slot, ending, or due
    struct flow *flow;
    enum flow_type type;
    bool is_ended, is_corecord;
    uint8_t count, size;
    struct mono forget_at; // while ending
    struct value *values;  // by attribute
    char *id;
};

// record.c
bool attr_is_text(uint32_t attr);
bool attr_is_number(uint32_t attr);
bool type_is_traffic(enum flow_type type);
enum flow_channel record_channel(const struct flow_record *rec);
bool record_is_heard(const struct flow_record *rec);
void record_free(struct flow_record *rec);
void record_touch(struct flow_record *rec); // it will be sent
void record_retell(struct flow_record *rec);

// message.c
void message_beacon(struct flow *f, struct amqp_writer *w);
void message_heartbeat(struct flow *f, struct amqp_writer *w, uint64_t now_us);
// Of the list's first FLOW_RECORDS_MAX records; co-records: those to the same router. They are
// taken off, and freed if they have ended. Returns the address.
const char *message_records(struct flow *f, enum flow_channel channel, struct amqp_writer *w);
