// SPDX-License-Identifier: Apache-2.0
// The bodies of frames (parts 2.7 and 5.3): decoded into views of the frame, and encoded. Internal
// to amqp.
//
// Every decode takes a whole frame body (descriptor first, without the frame header), returns 0,
// ERR_DECODE or ERR_LIMIT, and writes *out only on success. Mandatory fields are there and every
// field has its type, or it is ERR_DECODE. A text that was null is STR_NONE, an empty one has a
// pointer. Fields with a default in the specification hold it when they were null.
//
// Every put appends a performative to the writer, again without the frame header, leaving out null
// fields at the end. What follows a transfer's performative is the payload.
#pragma once

#include "amqp/amqp.h"
#include "amqp/codec.h"

enum amqp_performative {
    AMQP_OPEN = 0x10,
    AMQP_BEGIN = 0x11,
    AMQP_ATTACH = 0x12,
    AMQP_FLOW = 0x13,
    AMQP_TRANSFER = 0x14,
    AMQP_DISPOSITION = 0x15,
    AMQP_DETACH = 0x16,
    AMQP_END = 0x17,
    AMQP_CLOSE = 0x18,
    AMQP_SASL_MECHANISMS = 0x40,
    AMQP_SASL_INIT = 0x41,
    AMQP_SASL_CHALLENGE = 0x42,
    AMQP_SASL_RESPONSE = 0x43,
    AMQP_SASL_OUTCOME = 0x44,
};

enum {
    AMQP_TAG_MAX = 32,             // octets in a delivery tag; more is ERR_DECODE
    AMQP_TRANSFER_LEN_MAX = 64,    // of an encoded transfer without state, whatever its fields
    AMQP_FLOW_LEN_MAX = 56,        // of an encoded flow without properties
    AMQP_DISPOSITION_LEN_MAX = 32, // of an encoded disposition whose state has no `encoded`
};

// Slow forms, for bodies that the inline ones below do not take.
int amqp_performative_slow(struct str body);

// The code in the descriptor (which of enum amqp_performative, or another number), or ERR_DECODE.
static inline int amqp_performative_of(struct str body)
{
    const uint8_t *at = (const uint8_t *)body.ptr;

    if (LIKELY(body.len >= 3 && at[0] == 0x00 && at[1] == 0x53))
        return at[2];
    return amqp_performative_slow(body);
}

struct amqp_error {
    struct str condition; // STR_NONE: there is no error
    struct str description;
};

struct amqp_open_frame {
    struct str container_id;
    struct str hostname;
    uint32_t frame_size_max;     // default UINT32_MAX
    uint16_t channel_max;        // default UINT16_MAX
    uint32_t idle_timeout_ms;    // 0: none
    struct str offered, desired; // encoded symbol or array of symbols
    struct str properties;       // encoded map
};

struct amqp_begin_frame {
    bool has_remote_channel;
    uint16_t remote_channel;
    uint32_t next_outgoing_id;
    uint32_t incoming_window;
    uint32_t outgoing_window;
    uint32_t handle_max;         // default UINT32_MAX, and then left out
    struct str offered, desired; // encoded symbol or array of symbols
    struct str properties;       // encoded map
};

// In source and target the `extra` holds the encoded fields between dynamic and capabilities, as
// many as there were (source: dynamic-node-properties, distribution-mode, filter, default-outcome,
// outcomes; target: dynamic-node-properties). More than AMQP_CAPABILITY_MAX capabilities are
// ERR_LIMIT. A coordinator has nothing but its capabilities.
struct amqp_attach_frame {
    struct str name;
    uint32_t handle;
    bool is_receiver;        // role
    uint8_t snd_settle_mode; // default 2
    uint8_t rcv_settle_mode; // default 0
    struct amqp_terminus source, target;
    struct str unsettled; // encoded map
    bool incomplete_unsettled;
    bool has_initial_delivery_count; // always so when the role is sender
    uint32_t initial_delivery_count;
    bool has_message_size_max;
    uint64_t message_size_max;
    struct str offered, desired; // encoded symbol or array of symbols
    struct str properties;       // encoded map
};

struct amqp_flow_frame {
    bool has_next_incoming_id;
    uint32_t next_incoming_id;
    uint32_t incoming_window;
    uint32_t next_outgoing_id;
    uint32_t outgoing_window;
    bool has_handle;
    uint32_t handle;
    bool has_delivery_count;
    uint32_t delivery_count;
    bool has_link_credit;
    uint32_t link_credit;
    bool has_available;
    uint32_t available;
    bool drain, echo;
    struct str properties; // encoded map
};

struct amqp_transfer_frame {
    uint32_t handle;
    bool has_delivery_id;
    uint32_t delivery_id;
    struct str tag; // STR_NONE when null
    bool has_format;
    uint32_t format;
    bool has_settled, settled;
    bool more;
    bool has_rcv_settle_mode;
    uint8_t rcv_settle_mode;
    struct amqp_outcome state; // AMQP_NO_OUTCOME when null
    bool resume, aborted, batchable;
    size_t payload_at; // offset in the body; nothing to the put
};

struct amqp_disposition_frame {
    bool is_receiver; // role
    uint32_t first;
    bool has_last;
    uint32_t last; // equals first when null
    bool settled;
    struct amqp_outcome state; // AMQP_NO_OUTCOME when null
    bool batchable;
};

struct amqp_detach_frame {
    uint32_t handle;
    bool closed;
    struct amqp_error error;
};

struct amqp_init_frame {
    struct str mechanism;
    struct str response; // may be empty, with a pointer
    struct str hostname;
};

struct amqp_sasl_outcome_frame {
    uint8_t code; // 0 ok, 1 auth, 2 sys, 3 sys-perm, 4 sys-temp
    struct str additional;
};

int amqp_decode_open(struct str body, struct amqp_open_frame *out);
int amqp_decode_begin(struct str body, struct amqp_begin_frame *out);
int amqp_decode_attach(struct str body, struct amqp_attach_frame *out);
int amqp_decode_flow(struct str body, struct amqp_flow_frame *out);
int amqp_decode_transfer(struct str body, struct amqp_transfer_frame *out);
int amqp_decode_disposition(struct str body, struct amqp_disposition_frame *out);
int amqp_decode_detach(struct str body, struct amqp_detach_frame *out);
int amqp_decode_end(struct str body, struct amqp_error *out);
int amqp_decode_close(struct str body, struct amqp_error *out);
// *mechanisms: encoded symbol or array of symbols.
int amqp_decode_mechanisms(struct str body, struct str *mechanisms);
int amqp_decode_init(struct str body, struct amqp_init_frame *out);
// The one field, a binary.
int amqp_decode_challenge(struct str body, struct str *out);
int amqp_decode_sasl_outcome(struct str body, struct amqp_sasl_outcome_frame *out);

void amqp_put_open(struct amqp_writer *w, const struct amqp_open_frame *f);
void amqp_put_begin(struct amqp_writer *w, const struct amqp_begin_frame *f);
void amqp_put_attach(struct amqp_writer *w, const struct amqp_attach_frame *f);
void amqp_put_flow(struct amqp_writer *w, const struct amqp_flow_frame *f);
void amqp_put_transfer(struct amqp_writer *w, const struct amqp_transfer_frame *f);
void amqp_put_disposition(struct amqp_writer *w, const struct amqp_disposition_frame *f);
void amqp_put_detach(struct amqp_writer *w, const struct amqp_detach_frame *f);
void amqp_put_end(struct amqp_writer *w, const struct amqp_error *error);
void amqp_put_close(struct amqp_writer *w, const struct amqp_error *error);
void amqp_put_mechanisms(struct amqp_writer *w, const struct str *names, uint32_t count);
void amqp_put_init(struct amqp_writer *w, const struct amqp_init_frame *f);
void amqp_put_response(struct amqp_writer *w, struct str response);
void amqp_put_sasl_outcome(struct amqp_writer *w, const struct amqp_sasl_outcome_frame *f);

// A delivery state (part 3.4) from its encoded form, which is checked to its last octet, as it may
// be passed on: 0, ERR_DECODE or ERR_LIMIT. A state that part 3.4 does not know is
// AMQP_OTHER_OUTCOME.
int amqp_decode_state(struct str encoded, struct amqp_outcome *out);
// What `encoded` says, or the plain form of `type`; null for AMQP_NO_OUTCOME. (A plain "received"
// has section-number and section-offset 0.)
void amqp_put_state(struct amqp_writer *w, const struct amqp_outcome *state);

// Capabilities as the reference writes them: null, one symbol, or an array of wide symbols.
void amqp_put_capabilities(struct amqp_writer *w, const struct str *names, uint32_t count);
// The symbols in an encoded symbol or array, the first `max` of them; returns how many there are.
uint32_t amqp_symbols_of(struct str encoded, struct str *out, uint32_t max);
bool amqp_symbols_have(struct str encoded, struct str name);
