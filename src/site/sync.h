// SPDX-License-Identifier: Apache-2.0
// Services that sites tell each other of: the state behind site_sync. Inside the folder site only.
#pragma once

#include "base/list.h"
#include "base/map.h"
#include "site/site.h"

struct origin {
    char *id, *version;
    struct mono heard;
    int64_t since_s;
    struct list offers; // offer.on_origin
    size_t count, kept; // offers; octets of their last text
};

// One service of one origin.
struct offer {
    struct list on_origin, on_name;
    struct origin *origin;
    struct name *name;
    json_t *service; // as its text, which takes a tenth of the room
    uint64_t order;  // smaller: offered earlier
    bool is_fresh;   // in the message that is being read
};

// One name, of whatever origin.
struct name {
    char *text;
    struct list on_changed;
    struct list offers; // offer.on_name, the earliest first
    bool is_own;        // this site offers it
    json_t *told;       // as the owner of the engine knows it, as a text; NULL: not at all
    char *told_origin;
};

struct site_sync {
    char *site_id, *version;
    uint32_t resend_ms, ttl_ms, check_ms;
    struct map origins, names;
    struct list changed; // name.on_changed
    size_t offers, kept;
    uint64_t next_order;
    char *body; // last announced; NULL: nothing yet, or off
    bool is_on, is_due;
    struct mono resend_at, check_at, gap_at; // gap_at: no repetition before
    // What was told last is good until the next call.
    json_t *shown;
    char *shown_name, *shown_origin, *farewell;
};

// sync_body.c
// The services of a text, as [service…] in the order of the text, checked and brought into the
// present form, with known members only. ERR_DECODE or ERR_INVALID with words.
int body_read(struct str text, json_t **out, struct why *why);
// Sorted by address, one of each; the caller frees.
char *body_write(const json_t *services);
// As far as a site would act on.
bool body_equivalent(const json_t *a, const json_t *b);
