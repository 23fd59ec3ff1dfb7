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
    PEER_MAX = 64,
};

#define TCP_CONTENT_TYPE "application/octet-stream"

struct tcp {
    struct router *router;
    struct pool *pool;
    struct list dirty;
    struct tcp_observer observer;
    uint64_t next_id;
    size_t count;
};

struct tcp_conn;

// What the two kinds do differently.
struct tcp_kind {
    // The stream to the other end was settled before that end answered.
    void (*refused)(struct tcp_conn *c, enum amqp_outcome_type outcome);
    void (*tick)(struct tcp_conn *c, struct mono now);
    void (*free)(struct tcp_conn *c);
    void (*info)(const struct tcp_conn *c, struct tcp_info *out);
    bool is_answering; // its stream is an answer, and may find no way back while routes change
};

struct tcp_conn {
    struct list on_dirty, on_service;
    struct tcp *tcp;
    struct tcp_service *service;
    const struct tcp_kind *kind;
    void *transport;
    struct router_source source; // towards the other end
    struct router_sink sink;     // from there
    struct buf out;              // for the socket
    uint64_t id;
    uint64_t sent, acked;                  // bytes from the socket: passed on, acknowledged
    uint64_t taken, written, acknowledged; // bytes for the socket: from the stream, sent, told
    struct mono opened_at, established_at, active_at, check_at;
    struct mono last_in_at, last_out_at;
    uint8_t body_at; // octets of the body's head, or of a data section's, that have come
    uint8_t section[LEGACY_HEAD_MAX]; // legacy: that head …
    uint32_t section_left;            // … and what is to come of its section
    bool is_legacy;                   // the encapsulation of older routers, see legacy.c
    bool is_established;              // both streams are there
    bool is_ended;                    // by the socket's peer
    bool is_stream_ended;             // by the other end, after which …
    bool is_aborted;                  // … not all had come
    bool is_refused;                  // the other end takes no more
    bool is_over, is_reset;           // to be closed; to be reset
    bool is_short;                    // the sink took less than it was given
    bool wants_connect;
    char peer[PEER_MAX];
    const char *error; // words of the first failure
};

struct tcp_conn *end_init(struct tcp *t, struct tcp_conn *c, struct tcp_service *service,
                          const struct tcp_kind *kind, struct mono now);
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
