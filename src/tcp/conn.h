// SPDX-License-Identifier: Apache-2.0
// One TCP connection's end, and what its two kinds have in common. Inside the folder tcp only.
#pragma once

#include "base/list.h"
#include "tcp/tcp.h"

enum {
    ACK_BYTES = 521216,           // written to the socket since the last acknowledgement
    WINDOW_BYTES = 2 * ACK_BYTES, // sent and not acknowledged: no more is read
    LEGACY_ACK_BYTES = 364905,
    LEGACY_WINDOW_BYTES = 4 * LEGACY_ACK_BYTES,
    LEGACY_HEAD_MAX = 8,     // of a data section
    OUT_LARGE = 1024 * 1024, // output kept for a socket while memory is plenty …
    OUT_SMALL = 64 * 1024,   // … and while it is not
    VERDICT_MS = 100,        // between a refusal and the end of the stream that tells why
    RESET_MS = 1000,         // for the socket to take what came before a reset
};

#define TCP_CONTENT_TYPE "application/octet-stream"

struct tcp {
    struct router *router;
    struct pool *pool;
    struct list dirty;
    struct list to_connect; // dialled.on_connect
    struct list wayless;    // likewise: first for a way back to its client; the oldest is first
    uint32_t wayless_count;
    struct tcp_observer observer;
    struct mono now; // what it was told last
    uint64_t next_id;
    size_t count;
};

struct tcp_conn;

// What the two kinds do differently.
struct tcp_kind {
    // The stream to the other end was settled before that end answered.
    void (*refused)(struct tcp_conn *c, enum amqp_outcome_type outcome);
    void (*tick)(struct tcp_conn *c, struct mono now);
    // Bytes that were read before the other end answered, or NULL: there are none.
    struct buf *(*early)(struct tcp_conn *c);
    void (*free)(struct tcp_conn *c);
    void (*info)(const struct tcp_conn *c, struct tcp_info *out); // what only it knows
    struct str (*reply_to)(const struct tcp_conn *c, char text[ROUTER_REPLY_MAX]);
    bool is_answering; // its stream is an answer, and may find no way back while routes change
};

struct tcp_conn {
    struct list on_dirty, on_service;
    struct tcp *tcp;
    struct tcp_service *service;
    const struct tcp_kind *kind;
    void *transport, *observation;
    struct router_source source; // towards the other end
    struct router_sink sink;     // from there
    struct buf out;              // for the socket
    uint64_t id;
    uint64_t sent, acked;                  // bytes from the socket: passed on, acknowledged
    uint64_t taken, written, acknowledged; // bytes for the socket: from the stream, sent, told
    struct mono opened_at, established_at, active_at, check_at;
    struct mono last_in_at, last_out_at, first_in_at, first_out_at;
    struct mono reset_at;             // it is broken: reset it then at the latest
    uint32_t section_left;            // legacy: what is to come of a data section …
    uint8_t section[LEGACY_HEAD_MAX]; // … and its head
    uint8_t body_at;                  // octets of that, or of the body's head, that have come
    bool is_legacy : 1;               // the encapsulation of older routers, see legacy.c
    bool is_established : 1;          // both streams are there
    bool owes_early : 1;              // now that they are, what was read before
    bool is_ended : 1;                // by the socket's peer
    bool is_stream_ended : 1;         // by the other end
    bool is_refused : 1;              // the other end takes no more
    bool is_over : 1;                 // to be closed …
    bool is_reset : 1;                // … and reset, once all that has come is written
    bool is_looked_into : 1;
    char *peer;        // of the socket; NULL until connected
    const char *error; // words of the first failure
};

// `head`: as tcp_observer.opened gets it.
void end_init(struct tcp *t, struct tcp_conn *c, struct tcp_service *service,
              const struct tcp_kind *kind, const struct amqp_msg *head);
struct mono tcp_now(const struct tcp *t);
void end_mark(struct tcp_conn *c);
void end_established(struct tcp_conn *c, struct mono now);
void end_fail(struct tcp_conn *c, const char *why); // to be closed
struct router_sink *end_sink(struct tcp_conn *c);

// legacy.c
size_t legacy_read_head(struct tcp_conn *c, const uint8_t *data, size_t len); // octets used
size_t legacy_put_head(uint8_t head[LEGACY_HEAD_MAX], size_t len);
void legacy_put_client(struct amqp_writer *w, struct str to, struct str reply_to, struct str id,
                       struct str alpn);
void legacy_put_server(struct amqp_writer *w, struct str to);
bool legacy_is_client(const struct amqp_msg *head);

// head.c: the sections in front of a stream's bytes
void head_put_client(struct amqp_writer *w, struct str to, struct str reply_to, struct str id,
                     struct str alpn);
void head_put_server(struct amqp_writer *w, struct str to);
bool head_is_stream(const struct amqp_msg *head);
char *head_text(const struct amqp_msg *head, const char *property); // NULL: absent; freed by caller
