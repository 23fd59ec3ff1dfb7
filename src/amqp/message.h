// SPDX-License-Identifier: Apache-2.0
// The sections of a message (part 3.2), and the router annotations in front of them. A router
// looks at annotations, header and properties, and never decodes a body. Part of the door
// amqp/amqp.h.
#pragma once

#include "amqp/codec.h"

enum {
    AMQP_SECTION_HEADER = 0x70,
    AMQP_SECTION_DELIVERY_ANNOTATIONS = 0x71,
    AMQP_SECTION_MESSAGE_ANNOTATIONS = 0x72,
    AMQP_SECTION_PROPERTIES = 0x73,
    AMQP_SECTION_APPLICATION_PROPERTIES = 0x74,
    AMQP_SECTION_DATA = 0x75,
    AMQP_SECTION_SEQUENCE = 0x76,
    AMQP_SECTION_VALUE = 0x77,
    AMQP_SECTION_FOOTER = 0x78,
};

// Router annotations: a private first section with the 8-octet descriptor "SKPR--RA".
enum {
    AMQP_RA_STREAMING = 1,
    AMQP_RA_RESEND_RELEASED = 2,
    AMQP_RA_NO_HOLD = 4, // the receiver must not hold the stream back by buffer count
};
#define AMQP_RA_DESCRIPTOR UINT64_C(0x534B50522D2D5241)
enum { AMQP_RA_SIZE_MAX = 65536 }; // octets in its list; more is ERR_LIMIT

struct amqp_ra {
    bool present;
    uint32_t flags;
    struct str to_override; // STR_NONE when null
    struct str ingress;     // STR_NONE when null
    struct str trace;       // the encoded items of the list, each a string
    uint32_t trace_count;
    struct str mesh; // 15 octets or STR_NONE
};

// What routing needs of a message; all views into the scanned bytes.
struct amqp_msg {
    struct amqp_ra ra;
    size_t ra_len; // length of the annotations section; the rest begins there
    bool has_priority;
    uint8_t priority; // header.priority, 4 when absent
    bool has_properties;
    struct str to;             // properties.to as text, STR_NONE when absent
    struct str reply_to;       // likewise
    struct str correlation_id; // encoded value, STR_NONE when absent
    struct str content_type;
    struct str app_properties; // the encoded map, STR_NONE when absent
    size_t body_at;            // offset of the first body section, or of what was not looked at
};

// How far to look.
enum amqp_scan { AMQP_SCAN_RA, AMQP_SCAN_PROPERTIES, AMQP_SCAN_BODY };

// Reads sections from the front as far as `depth` asks. Returns 0 when all of that is known (either
// seen, or a later section proves it absent); ERR_AGAIN when the bytes end before (with
// is_complete: the rest counts as absent unless a section is cut); ERR_DECODE or ERR_LIMIT for
// malformed sections. A bad annotations section (fewer than four items, a null fifth, a trace of
// non-strings, list0) is ERR_INVALID. The annotations alone cost one short pass; nothing is copied.
// *out is written in any case: what was not reached is absent.
int amqp_msg_scan(struct str bytes, bool is_complete, enum amqp_scan depth, struct amqp_msg *out);

// Writes the annotations section as the reference does: list32 always, trace list32 (list0 when
// empty). `trace_last` is appended to the encoded items in ra->trace unless it is STR_NONE.
void amqp_put_ra(struct amqp_writer *w, const struct amqp_ra *ra, struct str trace_last);
// Iterates ra.trace: false at the end. `at` starts as amqp_reader_of(ra->trace).
bool amqp_ra_trace_next(struct amqp_reader *at, struct str *router);
