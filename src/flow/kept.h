// SPDX-License-Identifier: Apache-2.0
// What a collector keeps. Inside the folder flow only.
#pragma once

#include "base/heap.h"
#include "base/list.h"
#include "base/map.h"
#include "flow/flow.h"

// The values of a record, shared by all that have the same: fifty sites that listen to one service
// have one shape of it. Immutable, counted.
struct shape {
    struct shape *next; // with a hash of the same bucket
    uint32_t hash;      // of all from `type` on
    uint32_t refs;
    uint32_t uses; // counted while the status is told, else 0
    uint16_t type;
    uint16_t len;
    uint8_t values[]; // attribute, length in two octets, text or eight octets of a number
};

// All there are. They are their own keys: there are as many as different services, and more.
struct shapes {
    struct shape **buckets;
    size_t bucket_count, count; // a power of two, or 0
};

// A record, as small as can be: an agent keeps one for each listener of each site. Its identity is
// a number behind the source's prefix, or, which is rare, a text of its own.
struct kept {
    union {
        struct shape *shape;
        struct named {
            struct shape *shape;
            char text[];
        } * named;
    };
    uint32_t number;
    uint8_t parent;    // index into source.parents
    uint8_t host;      // of a listener: into source.hosts; 0: its shape has it, if anything
    bool is_named : 1; // has the text, and no number
    bool is_fresh : 1; // told since it was asked for
};

// What records of one source share, by index: 0 is none.
enum { TEXTS_MAX = 63 };
struct texts {
    char *list[TEXTS_MAX];
    uint8_t count;
};

struct source {
    struct timer timer; // first
    struct flow_collector *collector;
    struct list on_collector;
    char *id, *address, *direct;
    size_t prefix_len; // of identities: up to the colon, which is included
    bool is_controller;
    struct mono heard_at, ask_at, sweep_at;
    bool has_spoken;   // on its own address
    bool has_answered; // a record came since it was asked
    uint32_t patience_ms;
    struct kept *records; // sorted: numbers, then texts
    size_t count, size;
    // Hosts, as sites of one network listen to the same services at hosts of their own: without
    // them their listeners have one shape.
    struct texts parents, hosts;
};

struct flow_collector {
    struct mono now;
    struct heap timers;
    struct list sources;   // source.on_collector
    struct map by_id;      // source
    struct map by_address; // source
    struct shapes shapes;  // by type and values
    struct list wants;     // want.on_collector
    struct want *shown;
    size_t source_count, record_count, octets;
    uint64_t dropped, unread;
    bool is_changed, has_news;
    struct mono changed_at, last_changed_at; // since the status was told
    struct mono tell_at;                     // not before
};

// shape.c
struct shape *shape_empty(struct flow_collector *c, uint32_t type);
void shape_unref(struct flow_collector *c, struct shape *s);
// Walks all, from NULL to NULL.
struct shape *shape_next(const struct flow_collector *c, const struct shape *s);
void shapes_fini(struct flow_collector *c); // when there are none
// The same with these values put over its own; consumes the caller's reference on `s`.
struct shape *shape_with(struct flow_collector *c, struct shape *s,
                         const struct flow_value *changes, size_t count);
// Does the status need this attribute?
bool shape_needs(uint32_t type, uint32_t attr);
struct str shape_text(const struct shape *s, uint32_t attr); // STR_NONE: not set
uint64_t shape_number(const struct shape *s, uint32_t attr);
// Its values as members of the object that is open; `host` instead of its own, if there is one.
struct teller;
void shape_tell(const struct shape *s, struct str host, struct teller *t);

// kept.c
struct kept *kept_find(struct source *s, struct str id);
// Makes it; NULL at a limit.
struct kept *kept_add(struct source *s, uint32_t type, struct str id);
struct shape *kept_shape(const struct kept *k);
void kept_set_shape(struct kept *k, struct shape *shape);
void kept_fit(struct source *s); // no more are expected soon
void kept_remove(struct source *s, struct kept *k);
void kept_clear(struct source *s);
// False when there are too many parents.
bool kept_set_parent(struct source *s, struct kept *k, struct str id);
struct str kept_parent(const struct source *s, const struct kept *k);
// Where a listener is. False when there are too many hosts: it is to be put into the shape.
bool kept_set_host(struct source *s, struct kept *k, struct str host);
struct str kept_host(const struct source *s, const struct kept *k); // STR_NONE: not kept so
// As kept.parent of those that have this parent; 0: none has.
uint8_t kept_parent_index(const struct source *s, struct str id);
char *kept_id(const struct source *s, const struct kept *k); // the caller frees
// As their identities' texts are sorted.
int kept_order(const struct kept *a, const struct kept *b);
