// SPDX-License-Identifier: Apache-2.0
// One AMQP 1.0 connection as a plain value machine: SASL, open, sessions, links, deliveries, credit
// (parts 2 and 5 of the specification), in both roles. It owns no socket, reads no clock and writes
// no log. Not thread safe: one owner, one thread. Knows no addresses' meaning and no routers.
//
// A turn: amqp_conn_feed() lends bytes; amqp_conn_next() is called until it says false (frames are
// cut and read in place meanwhile, and what is left over is kept); calls on links and deliveries
// put frames into the output; amqp_conn_flush() adds the dispositions and flows that were saved up;
// the shell sends the output and skips what has left.
//
// What the engine does by itself: protocol headers and SASL, answering begin and end, heartbeats,
// session windows, cutting deliveries into frames, merging dispositions into ranges, echo. What it
// leaves to its owner: answering attach, granting credit, settling.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "amqp/codec.h"
#include "amqp/message.h"
#include "amqp/value.h"
#include "base/buf.h"
#include "base/mono.h"
#include "base/str.h"

struct amqp_conn;
struct amqp_session;
struct amqp_link;

// ------------------------------------------------------------------------------------ connection

enum { AMQP_SASL_ANONYMOUS = 1, AMQP_SASL_EXTERNAL = 2 };

struct amqp_conn_opts {
    bool is_server;            // accepts: waits for the peer's header and open before its own
    struct pool *pool;         // for output; borrowed for the engine's life
    const char *container_id;  // ours
    const char *hostname;      // field of open, client only; may be NULL
    uint32_t frame_size_max;   // what we announce; >= 512
    uint16_t channel_max;      // highest channel, ours and the limit for the peer's
    uint32_t link_max;         // links on this connection, both roles; more is refused
    uint32_t idle_timeout_ms;  // silence after which we give up; half of it is announced; 0: never
    uint32_t handshake_ms;     // from new to the peer's open; 0: no limit
    uint32_t incoming_window;  // frames, for sessions the peer begins
    size_t output_max;         // links stop being ready while more than this waits in the output
    unsigned sasl_mechanisms;  // server: offered. Client: the one to use
    bool external_ok;          // server: the transport has authenticated the peer by certificate
    bool sasl_optional;        // server: a client may start with the plain AMQP header
    const struct str *offered; // capabilities in open, offered and desired alike
    uint32_t offered_count;
    const struct amqp_val *properties; // of open; copied; may be NULL
};

// What the peer said in open. Views are good until the connection is freed.
struct amqp_peer {
    struct str container_id, hostname;
    uint32_t frame_size_max;
    uint16_t channel_max;
    uint32_t idle_timeout_ms;
    const struct amqp_val *offered;    // a symbol, an array of symbols, or NULL
    const struct amqp_val *properties; // a map or NULL
    struct str sasl_mechanism;         // what was used; STR_NONE without SASL
};

enum amqp_event_type {
    AMQP_EV_OPENED,   // both opens have been exchanged; see amqp_conn_peer()
    AMQP_EV_ATTACHED, // link: the peer attached it (amqp_link_is_answer() false: accept or refuse
                      // it now), or answered ours (true; a refusal is followed by DETACHED)
    AMQP_EV_CREDIT, // link: the peer changed credit or drain of one we send on; or, one we receive
                    // on, gave credit back
    AMQP_EV_WRITABLE, // connection: a session's window or the output has room again, after
                      // amqp_link_is_ready() or amqp_delivery_write() refused for lack of it
    AMQP_EV_TRANSFER, // transfer: the next bytes of an incoming delivery
    AMQP_EV_UPDATED,  // update: the peer's view of a delivery (outcome, settled) changed
    AMQP_EV_DETACHED, // link: it is gone when this event is done, with all its deliveries;
                      // our detach, if still owed, is sent by the engine
    AMQP_EV_CLOSED,   // connection: nothing follows; all links are gone without DETACHED events.
                      // (Their memory stays until amqp_conn_free(), and calls on them do nothing.)
};

enum amqp_outcome_type {
    AMQP_NO_OUTCOME,
    AMQP_RECEIVED,
    AMQP_ACCEPTED,
    AMQP_REJECTED,
    AMQP_RELEASED,
    AMQP_MODIFIED,
    AMQP_OTHER_OUTCOME, // a described state that is not one of part 3.4
};

struct amqp_outcome {
    enum amqp_outcome_type type;
    struct str encoded; // the whole described state as it came, to be passed on; STR_NONE: the
                        // plain form of `type`
};

// One delivery, in either direction, from its first frame until it is settled (or, settled from the
// start, complete). The engine owns it; `user` is the owner's.
struct amqp_delivery {
    struct amqp_link *link;
    void *user;
    uint32_t id;
    uint32_t format;
    bool settled;  // by its sender
    bool complete; // all frames have been seen or sent
};

struct amqp_event {
    enum amqp_event_type type;
    struct amqp_link *link; // ATTACHED, CREDIT, TRANSFER, UPDATED, DETACHED; else NULL
    union {
        struct {
            struct amqp_delivery *delivery; // gone after this event if settled and complete or
                                            // aborted; else until settled or detached
            const uint8_t *data;            // borrowed until the next call of amqp_conn_next()
            size_t len;
            struct str tag; // on the first frame
            bool first, more, aborted;
        } transfer;
        struct {
            struct amqp_delivery *delivery; // gone after this event if `settled`; an outgoing one
                                            // that is not complete is aborted then
            struct amqp_outcome outcome;
            bool settled; // by the peer
        } update;
        struct {
            struct str condition;   // DETACHED, CLOSED: STR_NONE when the peer left in peace
            struct str description; // words, maybe STR_NONE
            bool is_ours;           // the engine found the fault and told the peer
        } ended;
    };
};

// Copies strings and properties of `opts`.
struct amqp_conn *amqp_conn_new(const struct amqp_conn_opts *opts, struct mono now);
void amqp_conn_free(struct amqp_conn *c);

// While the owner looks at an event it may call anything on this connection or on another one:
// settle or abort the event's delivery, detach its link, close. What it makes go away is gone at
// once.

// Lends bytes from the peer; they must stay until amqp_conn_next() has said false. A peer that
// breaks the protocol is no error of this call: the engine queues its close frame, so that the peer
// hears why, and reports AMQP_EV_CLOSED.
void amqp_conn_feed(struct amqp_conn *c, const uint8_t *data, size_t len, struct mono now);
// The next thing that happened; false when all is told. *ev is good until the next call of this.
bool amqp_conn_next(struct amqp_conn *c, struct amqp_event *ev);
// Puts saved-up dispositions and flows into the output. Call once a turn, before sending.
void amqp_conn_flush(struct amqp_conn *c);
// Bytes for the peer. Skip what has left.
struct buf *amqp_conn_output(struct amqp_conn *c);
// Call after skipping: makes AMQP_EV_WRITABLE due when links were refused for lack of room.
void amqp_conn_sent(struct amqp_conn *c);
// Call tick no later than the deadline: heartbeats to send, silent peers to give up on. Events may
// follow (poll amqp_conn_next).
struct mono amqp_conn_deadline(const struct amqp_conn *c);
void amqp_conn_tick(struct amqp_conn *c, struct mono now);
// Memory that is kept for traffic is freed. It does so by itself when it was quiet for a while.
void amqp_conn_rest(struct amqp_conn *c);

// Says goodbye: close is queued, AMQP_EV_CLOSED follows when the peer has answered. A NULL
// condition means in peace. Later calls change nothing.
void amqp_conn_close(struct amqp_conn *c, const char *condition, const char *description);
// True when both sides have closed, or SASL or the protocol failed: once the output is sent, drop
// the transport.
bool amqp_conn_is_finished(const struct amqp_conn *c);
bool amqp_conn_is_open(const struct amqp_conn *c);
const struct amqp_peer *amqp_conn_peer(const struct amqp_conn *c);
bool amqp_peer_offers(const struct amqp_peer *p, const char *capability);
void *amqp_conn_user(const struct amqp_conn *c);
void amqp_conn_set_user(struct amqp_conn *c, void *user);

// For people: while it is on, each frame leaves a line, "0 -> @flow [1, 2048, …]" (channel, ours or
// theirs, fields; the payload only counted, secrets of SASL hidden). The owner takes them after
// each feed and output; 4096 wait at most, and how many there were more is a line of its own.
void amqp_conn_trace(struct amqp_conn *c, bool on);
bool amqp_conn_is_traced(const struct amqp_conn *c);
char *amqp_conn_next_trace(struct amqp_conn *c); // to be freed; NULL when there is none

// -------------------------------------------------------------------------------------- sessions

// Begins one of ours with a window of so many frames; NULL when channels are used up or the
// connection is not open. Usable at once. The pointer is good until amqp_session_end(), even when
// the peer has ended the session (no event tells but the DETACHED ones of its links).
struct amqp_session *amqp_session_begin(struct amqp_conn *c, uint32_t incoming_window);
// Ends it. Its links and their deliveries are gone without events.
void amqp_session_end(struct amqp_session *s);
// By the peer, or with the connection: no link can be attached any more.
bool amqp_session_is_ended(const struct amqp_session *s);
// Links of its owner's: those it detached are not counted, whatever the peer has still to say.
bool amqp_session_has_links(const struct amqp_session *s);
// The peer may send so many frames at once from now on, if that is more than it was. It is told.
void amqp_session_widen(struct amqp_session *s, uint32_t window);

// ----------------------------------------------------------------------------------------- links

enum amqp_role { AMQP_SENDER, AMQP_RECEIVER }; // ours

enum { AMQP_CAPABILITY_MAX = 8 };

struct amqp_terminus {
    bool is_null;        // as in an answer that refuses
    bool is_coordinator; // target: transactions, which we do not do
    bool dynamic;
    uint32_t durable, timeout;
    struct str address; // STR_NONE when null
    struct str expiry;  // symbol; STR_NONE when null
    struct str capabilities[AMQP_CAPABILITY_MAX];
    uint32_t capability_count;
    struct str extra; // source: encoded distribution-mode, filter, default-outcome, outcomes are
                      // kept inside the link and given back in the answer; not visible here
};

struct amqp_attach {
    const char *name;
    enum amqp_role role;
    uint8_t snd_settle_mode, rcv_settle_mode; // 0 unsettled, 1 settled, 2 mixed; 0 first, 1 second
    struct amqp_terminus source, target;      // expiry STR_NONE: link-detach
    const struct amqp_val *properties;        // may be NULL
    uint32_t capacity; // receiver: the most credit we will let stand; flows are sent when a quarter
                       // of it has come back
};

// Attaches one of ours; NULL when link_max or the session's handles are used up, or the session has
// been ended. Credit may be granted before the answer is there.
struct amqp_link *amqp_link_attach(struct amqp_session *s, const struct amqp_attach *a);

// Answers the peer's attach: its own source and target come back, with `address` in place of the
// dynamic one when not STR_NONE, and capabilities repeated.
void amqp_link_accept(struct amqp_link *l, struct str address, uint32_t capacity);
// Answers with a null terminus and a detach. The link is gone for the caller.
void amqp_link_refuse(struct amqp_link *l, const char *condition, const char *description);
// Detaches (closed). The link and its deliveries are gone for the caller; no event follows.
void amqp_link_detach(struct amqp_link *l, const char *condition, const char *description);

bool amqp_link_is_answer(const struct amqp_link *l); // we attached first
enum amqp_role amqp_link_role(const struct amqp_link *l);
struct str amqp_link_name(const struct amqp_link *l);
const struct amqp_terminus *amqp_link_source(const struct amqp_link *l); // the peer's words
const struct amqp_terminus *amqp_link_target(const struct amqp_link *l);
// They have been looked at for the last time; their memory goes.
void amqp_link_forget_termini(struct amqp_link *l);
bool amqp_terminus_has(const struct amqp_terminus *t, const char *capability);
uint8_t amqp_link_snd_settle_mode(const struct amqp_link *l); // the peer's words, or ours if silent
uint8_t amqp_link_rcv_settle_mode(const struct amqp_link *l);
struct amqp_session *amqp_link_session(const struct amqp_link *l);
void *amqp_link_user(const struct amqp_link *l);
void amqp_link_set_user(struct amqp_link *l, void *user);

// Receiver: lets the peer send `count` more. It is told at a flush, once a quarter of the capacity
// has come together or it has no credit left, and may not use it before.
void amqp_link_grant(struct amqp_link *l, uint32_t count);
// Receiver: what the sender may do is told at the next flush, though nothing has changed.
void amqp_link_tell(struct amqp_link *l);
// Receiver: asks the sender to use up or give back its credit (flow with drain). When the sender
// has answered, AMQP_EV_CREDIT tells and credit is 0; granting again ends the drain.
void amqp_link_drain(struct amqp_link *l);
// Sender: what the peer allows. Receiver: what we have allowed and is not yet used.
uint32_t amqp_link_credit(const struct amqp_link *l);
bool amqp_link_is_draining(const struct amqp_link *l); // sender: the peer asked for it
// Sender: gives all credit back because there is nothing to send (answers drain).
void amqp_link_drained(struct amqp_link *l);

// ------------------------------------------------------------------------------------ deliveries

// Receiver: while any of its links holds it, a session's window is not refilled: at most what the
// peer already may send will come. A link that is gone holds nothing.
void amqp_link_hold(struct amqp_link *l, bool held);

// Sender: attached, with credit, no delivery in progress, room in the session window and output.
bool amqp_link_is_ready(const struct amqp_link *l);

// Begins a delivery on a link that is ready (asserted). The tag is chosen by the engine: 8 octets,
// a counter.
struct amqp_delivery *amqp_delivery_begin(struct amqp_link *l, bool settled, uint32_t format,
                                          void *user);
// Sends the next bytes, cut at the peer's frame size; `last` ends the delivery with the last byte
// of `parts`. Returns the bytes taken: fewer when the session window or the output is full, and
// AMQP_EV_WRITABLE will tell when to go on (pass the rest then, `last` again). When all was taken
// with `last` and the delivery was settled, it is gone.
// With `last`, zero bytes taken of zero bytes may mean either; see amqp_delivery.complete before
// the call, or *done after it.
size_t amqp_delivery_write(struct amqp_delivery *d, const struct iovec *parts, int part_count,
                           bool last, bool *done);
// An unfinished outgoing delivery becomes a settled one: its next frames say so.
void amqp_delivery_settle_with_end(struct amqp_delivery *d);
// Payload bytes of an unfinished outgoing delivery that amqp_delivery_write() would take now. When
// that is none, AMQP_EV_WRITABLE will tell.
size_t amqp_delivery_room(const struct amqp_delivery *d);
// Ends an unfinished outgoing delivery as if it had never been (transfer with aborted). It is gone.
void amqp_delivery_abort(struct amqp_delivery *d);
// Receiver: the final word on an incoming delivery (nothing happens when it is gone after the
// current event anyway). With rcv-settle-mode second the engine waits for the peer's settlement by
// itself. The delivery is gone for the caller (an incomplete one's remaining frames are swallowed,
// its credit and window accounted for). Sender: settles towards the peer (role sender), after an
// UPDATED that was not settled, or to forget; an incomplete one is aborted.
void amqp_delivery_settle(struct amqp_delivery *d, const struct amqp_outcome *outcome);
// Receiver: a state without settling, such as received.
void amqp_delivery_update(struct amqp_delivery *d, const struct amqp_outcome *outcome);
