// SPDX-License-Identifier: Apache-2.0
// The objects behind the door amqp.h, for the source files of the engine alone. conn.c tells how
// they hang together and which file does what.
#pragma once

#include <stdarg.h>

#include "amqp/amqp.h"
#include "amqp/idmap.h"
#include "amqp/performative.h"
#include "base/attr.h"
#include "base/list.h"

// The limits of a connection that are not among its options.
enum {
    EARLY_MAX = 16 * 1024,       // a frame before the peer's open has arrived
    SASL_FRAME_MAX = 512,        // fixed by the specification
    FRAME_MIN = 512,             // what every peer must take
    FRAME_OUT_MIN = 16 * 1024,   // we send no larger frames than this, or than we accept
    ATTACH_MAX = 8 * 1024,       // octets of an attach: they are kept
    REFUSED_MAX = 64,            // refused links that the peer has not detached yet
    UNSETTLED_MAX = 128 * 1024,  // deliveries, in each direction
    SAID_MAX = 1024,             // ranges of dispositions saved up, a session and role
    DELIVERIES_KEPT = 4096,      // free ones, for reuse
    CONTROL_ROOM = 1024 * 1024,  // output beyond output_max before we give up on the peer
    HANDLE_MAX = INT32_MAX,      // announced
    OUTGOING_WINDOW = INT32_MAX, // announced: nobody counts on it
    PROPERTIES_MAX = 1024,       // values in the properties of open
    CLOSE_WAIT_MS = 5000,        // for the peer's close after ours
    POOL_WAIT_MS = 5,            // until a pool that others emptied is looked at again
    TRIM_MS = 4000,              // quiet for so long: spare memory goes back
};

enum { HEAD_LEN = 8, FRAME_AMQP = 0, FRAME_SASL = 1 };

// ----------------------------------------------------------------------------------- deliveries

struct delivery {
    struct amqp_delivery pub;
    struct list on_order;   // its session's unsettled ones, by id
    struct delivery *chain; // in the slot of the table, or the next free one
    bool is_out;
    bool is_known;   // is in the table of unsettled ones
    bool is_begun;   // out: its first frame has been put
    bool is_second;  // in: settled only when its sender has settled
    bool is_waiting; // in: the owner has settled, and only the sender's settlement is awaited
};

// The unsettled deliveries of one direction of a session, found by id. Ids are dense, so the slot
// is their low bits; an old one that stays gets a chain and costs the others nothing. Very few are
// found without a table.
struct unsettled {
    struct delivery **slots;
    uint32_t size, count; // size: a power of two, or 0: no table
    struct list order;
};

static inline struct delivery *delivery_of(struct amqp_delivery *pub)
{
    return (struct delivery *)(void *)pub;
}

struct delivery *delivery_new(struct amqp_conn *c);
// Takes it out of the table and gives it back.
void delivery_free(struct delivery *d);
// Takes it out of the table only.
void delivery_forget(struct delivery *d);
void delivery_drop_all(struct amqp_link *l);
// The owner has heard that it is gone.
void delivery_bury(struct delivery *d);
// Nobody is interested in the frames that are still to come of the incoming current delivery.
void delivery_swallow_rest(struct amqp_link *l);

void unsettled_add(struct unsettled *u, struct delivery *d);
void unsettled_remove(struct unsettled *u, struct delivery *d);
struct delivery *unsettled_find(const struct unsettled *u, uint32_t id);

// ------------------------------------------------------------------------ dispositions saved up

struct id_range {
    uint32_t first, last;
};

// Dispositions of one role of a session that say the same: the range that grows now, and those
// that were begun before, sorted and joined when they are put.
struct said {
    struct id_range now;
    bool is_any, settled;
    enum amqp_outcome_type type;
    struct id_range *older;
    uint32_t older_count, older_size;
};

void said_add(struct amqp_session *s, bool is_receiver, uint32_t id,
              const struct amqp_outcome *outcome, bool settled);
void said_put_all(struct amqp_session *s);
void said_free(struct amqp_session *s, bool is_receiver); // what was not put is lost

// ----------------------------------------------------------------------------------------- links

struct amqp_link {
    struct amqp_session *session;
    void *user;
    struct list on_session, on_unanswered, on_dirty, on_due;
    struct delivery *current; // the delivery whose frames are on their way
    uint32_t credit;          // receiver: `untold` is included
    uint32_t untold;          // receiver: credit that no flow has announced
    uint32_t capacity;
    uint32_t delivery_count;
    uint32_t unsettled_count;
    uint32_t handle, remote_handle;
    uint32_t swallowed_id;
    uint16_t name_at, name_len; // in `words`; at most ATTACH_MAX
    uint8_t role;               // enum amqp_role
    uint8_t snd_settle_mode, rcv_settle_mode;
    bool is_answer : 1; // we attached first
    bool attach_sent : 1, attach_received : 1, detach_sent : 1, detach_received : 1;
    bool is_retired : 1;    // gone for the owner: only the peer's detach is awaited
    bool is_swallowing : 1; // receiver: the rest of the current delivery interests nobody
    bool is_held : 1;       // receiver: holds the session's window
    bool is_draining : 1;   // receiver: we asked for it. Sender: we owe the answer
    bool peer_drains : 1;   // sender: what the last flow said
    bool owes_abort : 1;    // sender: when the window lets it
    uint8_t *words;         // the name we gave, or the peer's whole attach
    struct amqp_terminus
        *termini; // as the peer says; NULL: not yet, or the owner has no use for them
};

enum { SOURCE, TARGET };

bool link_on_attach(struct amqp_session *s, struct str body, struct amqp_event *ev);
bool link_on_detach(struct amqp_session *s, struct str body, struct amqp_event *ev);
bool link_is_live(const struct amqp_link *l);
bool link_on_flow(struct amqp_session *s, const struct amqp_flow_frame *f, struct amqp_event *ev);
// The engine has found a fault of the peer: detaches, and makes *ev tell it. Returns true.
bool link_fail(struct amqp_link *l, struct amqp_event *ev, const char *condition, const char *fmt,
               ...) PRINTF_LIKE(4, 5);
// The owner has heard that it is gone.
void link_bury(struct amqp_link *l);
void link_free(struct amqp_link *l);
void link_owes_flow(struct amqp_link *l);
void link_put_flow(struct amqp_link *l);
// Makes AMQP_EV_CREDIT due.
void link_tell_credit(struct amqp_link *l);

// -------------------------------------------------------------------------------------- sessions

enum session_state {
    ILLEGAL,
    UNMAPPED,
    BEGIN_SENT,
    BEGIN_RCVD,
    MAPPED,
    END_SENT,
    END_RCVD,
    DISCARDING,
    SESSION_STATE_COUNT
};

struct amqp_session {
    struct amqp_conn *conn;
    struct list on_conn, on_dirty;
    struct list links, unanswered, dirty_links;
    enum session_state state;
    uint16_t channel, remote_channel;
    bool is_mine;     // begun by our owner, who holds a pointer
    bool is_released; // its owner has ended it
    bool owes_flow, has_next_in;
    uint32_t hold_count; // links that hold the window
    bool was_refused;    // the owner waits for window
    uint32_t next_incoming_id, incoming_window, incoming_window_max;
    uint32_t next_outgoing_id, remote_window;
    uint32_t next_in, next_out; // delivery ids
    uint32_t handle_max;
    uint32_t abort_count; // links that owe one
    struct unsettled in, out;
    struct said
        *said[2]; // as sender, as receiver; NULL: nothing yet        // as sender, as receiver
    struct amqp_link **handles; // by ours; the first is `only_link` as long as there is no other
    struct amqp_link *only_link;
    uint32_t handle_size, handle_hint;
    struct idmap remote_handles;
    struct amqp_link *last;
};

bool session_is_usable(const struct amqp_session *s);
void session_mark(struct amqp_session *s);
void session_flush(struct amqp_session *s);
void session_put_flow(struct amqp_session *s, struct amqp_link *l);
// Nothing holds its window any more: it is refilled, if that is worth a frame.
void session_reopen(struct amqp_session *s);
void session_on_begin(struct amqp_conn *c, uint16_t channel, struct str body);
void session_on_end(struct amqp_session *s, struct str body);
bool session_on_flow(struct amqp_session *s, struct str body, struct amqp_event *ev);
bool session_on_transfer(struct amqp_session *s, struct str body, struct amqp_event *ev);
void session_on_disposition(struct amqp_session *s, struct str body);
// The next link that went down with c->ending; false, and the session is dealt with, when all are
// told.
bool session_next_ended(struct amqp_conn *c, struct amqp_event *ev);
// The next delivery in c->range; false when there are no more.
bool session_next_updated(struct amqp_conn *c, struct amqp_event *ev);
void session_put_aborts(struct amqp_session *s);
// The engine has found a fault of the peer: ends the session. Returns false, as there is no event
// of the frame itself.
bool session_fail(struct amqp_session *s, const char *condition, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
void session_free(struct amqp_session *s);
// Gives spare memory back.
void session_trim(struct amqp_session *s);

static inline struct amqp_link *session_link(struct amqp_session *s, uint32_t handle)
{
    if (LIKELY(s->last && s->last->remote_handle == handle))
        return s->last;
    return s->last = idmap_get(&s->remote_handles, handle);
}

// ------------------------------------------------------------------------------------ connection

enum phase {
    PHASE_FIRST_HEADER,
    PHASE_SASL,
    PHASE_SECOND_HEADER,
    PHASE_FRAMES,
};

enum { DUE_OPENED = 1, DUE_WRITABLE = 2, DUE_LINKS = 4, DUE_CLOSED = 8 };

struct frame {
    struct str body;
    uint16_t channel;
    uint8_t type;
};

// Why something ended; views that stay until the next frame is read.
struct reason {
    struct str condition, description;
    bool is_ours;
};

struct amqp_conn {
    struct amqp_conn_opts opts; // its pointers are not kept
    void *user;
    struct buf output;
    uint32_t block_size;
    size_t block_max;
    struct mono now, started, last_input, last_put, close_at, trimmed;

    enum phase phase;
    bool open_sent, open_received, close_sent;
    bool is_up;       // open on both sides and no close on its way: frames of sessions may be put
    bool is_finished; // nothing more is read or put
    bool was_refused; // the owner waits for room in the output
    bool was_busy;    // deliveries came or went since the last trim
    uint8_t due;      // DUE_*

    // Lent bytes, and the beginning of a frame whose end has not come.
    const uint8_t *in, *in_end;
    uint8_t *carry;
    uint32_t carry_len, carry_size;
    bool carry_is_read;

    uint8_t *open; // our open frame until it is sent; then the peer's
    uint32_t open_len;
    struct amqp_peer peer;
    struct amqp_val *offered, *properties;
    uint32_t frame_out_max;

    struct list sessions, dirty, due_links;
    uint32_t session_count, link_count;
    uint32_t unsettled_in, unsettled_out;
    struct amqp_session **channels; // by ours
    uint32_t channel_free;          // none below it is free
    uint32_t channel_size;
    struct idmap remote_channels;
    struct amqp_session *last;
    uint64_t next_tag;

    struct delivery *free;
    uint32_t free_count;
    struct delivery passing; // a settled delivery of one frame needs no memory of its own

    // What the event being looked at leaves behind.
    struct delivery *gone;
    struct amqp_link *gone_link;
    // Events that are still to come from the frame read last.
    struct amqp_session *ending;
    struct {
        struct delivery *at; // NULL: none
        uint32_t last;
        bool settled;
        struct amqp_outcome outcome;
    } range;
    struct reason reason;
    char *words;         // formatted for `reason`
    struct trace *trace; // NULL: off
};

// The engine has found a fault of the peer, or run into a limit: tells the peer and ends the
// connection. Returns false, as there is no event of the frame itself.
bool conn_fail(struct amqp_conn *c, const char *condition, const char *fmt, ...) PRINTF_LIKE(3, 4);
// As above where no frame can be sent.
void conn_drop(struct amqp_conn *c, struct str condition, struct str words, bool is_ours);
void conn_put_open(struct amqp_conn *c);
bool conn_has_room(const struct amqp_conn *c);
const char *conn_words(struct amqp_conn *c, const char *fmt, va_list args) PRINTF_LIKE(2, 0);

// frame.c
// The next protocol header or frame in place: 1, 0 when more bytes are needed, ERR_DECODE or
// ERR_LIMIT with *out telling what was seen.
int frame_next(struct amqp_conn *c, struct frame *out);
int frame_next_header(struct amqp_conn *c, const uint8_t **out);
void frame_forget(struct amqp_conn *c);
// A frame on its way into the output: begin, put one performative, end. The end counts as put only
// while nothing has failed.
void frame_begin(struct amqp_writer *w);
void frame_begin_fixed(struct amqp_writer *w, void *room, size_t size);
void frame_end(struct amqp_conn *c, struct amqp_writer *w, uint8_t type, uint16_t channel);
void frame_put_bytes(struct amqp_conn *c, const void *data, size_t len);
void frame_put_empty(struct amqp_conn *c);

// trace.c; only while it is on
void trace_input(struct amqp_conn *c, uint16_t channel, struct str body);
void trace_output(struct amqp_conn *c); // what has been put since
void trace_sent(struct amqp_conn *c);

// sasl.c
void sasl_start(struct amqp_conn *c);
// Reads headers and SASL frames until more bytes are needed or the phase is PHASE_FRAMES.
bool sasl_read(struct amqp_conn *c);
