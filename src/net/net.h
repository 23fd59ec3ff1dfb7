// SPDX-License-Identifier: Apache-2.0
// The only folder that makes system calls on sockets: one epoll loop a worker, listeners,
// connectors with back-off, mutual TLS. It moves bytes between a descriptor and some engine, seen
// through the functions of struct net_engine_ops, and knows nothing of what they mean.
//
// A turn of the loop: wait; read what is readable (each read goes from the worker's scratch memory
// straight into an engine); fire due timers; call the `turn` hook; then write out every stream that
// was marked with net_want_write(), once each.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/heap.h"
#include "base/mailbox.h"
#include "base/mono.h"
#include "base/why.h"

struct net_loop;
struct net_stream;
struct net_listener;
struct net_connector;
struct net_tls; // a compiled sslProfile, shared by reference count, immutable

// What a stream needs of the engine behind it. `e` is the engine pointer given at start.
struct net_engine_ops {
    // Bytes from the peer, borrowed for the call.
    void (*feed)(void *e, const uint8_t *data, size_t len, struct mono now);
    // What is to be sent; the stream skips what has left. Called when the stream is written out.
    struct buf *(*output)(void *e, struct mono now);
    // Some of the output has left.
    void (*sent)(void *e, struct mono now);
    // When to call tick at the latest.
    struct mono (*deadline)(const void *e);
    void (*tick)(void *e, struct mono now);
    // No more bytes wanted for now: the descriptor is not read. Asked again every turn.
    bool (*is_paused)(const void *e);
    // For engines that live on bytes alone (TCP services); NULL for others.
    // So many bytes are wanted now. None: nothing is read until net_stream_resume(). Instead of
    // is_paused.
    size_t (*room)(void *e);
    // The peer will send no more. NULL: that ends the stream.
    void (*ended)(void *e, struct mono now);
    // No more output will come: once it is sent the peer is told so, and may go on sending.
    bool (*is_shut)(const void *e);
    // Once the output has been sent the stream closes by itself.
    bool (*is_finished)(const void *e);
    // The stream is over (after is_finished, an error, or net_stream_drop). The engine is its
    // owner's again; the stream is freed after the call. `why` is words for the log.
    void (*lost)(void *e, const char *why, struct mono now);
};

// ---------------------------------------------------------------------------------------- loop

struct net_hooks {
    void *user;
    // After all input of a turn, before output is written.
    void (*turn)(void *user, struct mono now);
};

// `scratch_len`: size of the worker's read memory (256 KiB is good). Returns 0 or ERR_IO.
int net_loop_new(const struct net_hooks *hooks, size_t scratch_len, struct net_loop **out);
void net_loop_free(struct net_loop *l);
// Ends every stream (`lost` is called for each); listeners and connectors are their owner's.
void net_loop_drop_all(struct net_loop *l, const char *why);
// Runs until net_loop_stop().
void net_loop_run(struct net_loop *l);
// From the loop's own thread, or from a signal handler.
void net_loop_stop(struct net_loop *l);
// One turn, waiting at most until `deadline`; for tests.
void net_loop_turn(struct net_loop *l, struct mono deadline);
struct mono net_loop_now(const struct net_loop *l);

// A timer of the owner's, fired by the loop (then disarmed).
struct net_timer {
    struct timer timer;
    int kind; // the loop's
    void (*fire)(void *user, struct mono now);
    void *user;
};
void net_timer_set(struct net_loop *l, struct net_timer *t, struct mono at);
void net_timer_cancel(struct net_loop *l, struct net_timer *t);

// Any descriptor that becomes readable (signalfd, a mailbox).
struct net_watch;
struct net_watch *net_watch_new(struct net_loop *l, int fd,
                                void (*readable)(void *user, struct mono), void *user);
void net_watch_free(struct net_watch *w);
// The loop sleeps on this mailbox too, and hands over what comes in batches.
void net_loop_set_mailbox(struct net_loop *l, struct mailbox *m,
                          void (*mail)(void *user, struct mail *first, struct mono now),
                          void *user);

// --------------------------------------------------------------------------------------- stream

// How the peer is known, once the transport is ready for the engine.
struct net_peer {
    char host[64];  // numeric address:port of the peer, "[v6]:port"
    char local[64]; // our side of the socket
    bool is_encrypted;
    bool is_authenticated; // its certificate was checked against the profile's CA
    char subject[256];     // of its certificate, "" when none
    char protocol[16];     // "TLSv1.3", "" without TLS
    char cipher[64];
    char alpn[32];
    int cipher_bits;
};
const struct net_peer *net_stream_peer(const struct net_stream *s);
// Its owner has taken what it wanted of that; the memory goes.
void net_stream_forget_peer(struct net_stream *s);

// The engine has output, or its deadline or finished state changed: the stream is looked at before
// the loop waits. Cheap; call as often as you like.
void net_want_write(struct net_stream *s);
// There may be room in the engine again.
void net_stream_resume(struct net_stream *s);
// Closes at once. `lost` is called before this returns.
void net_stream_drop(struct net_stream *s, const char *why);
// The same, and the peer sees a reset.
void net_stream_reset(struct net_stream *s, const char *why);
// errno of the socket's failure, in `lost`; 0: it did not fail.
int net_stream_error(const struct net_stream *s);

// ------------------------------------------------------------------------------------------ TLS

struct net_tls_opts {
    const char *name; // of the profile, for messages
    const char *ca_file, *cert_file, *key_file;
    const char *password;  // as configured: literal, "pass:…", "env:NAME", "file:PATH"; or NULL
    const char *ciphers;   // OpenSSL list for TLS 1.2, and suites for 1.3 if it names any; or NULL
    const char *protocols; // space separated: "TLSv1.2 TLSv1.3"; NULL: both
    bool is_server;
    bool require_peer; // server: a client certificate is demanded
    bool offer_http;   // server: ALPN h2 and http/1.1
};
// Reads the files and checks that they fit together. Returns 0, ERR_IO or ERR_INVALID with words.
int net_tls_new(const struct net_tls_opts *opts, struct net_tls **out, struct why *why);
// Exchanges what two of them hold, so that handshakes to come use the other's files. Not while
// another thread may begin one.
void net_tls_swap(struct net_tls *a, struct net_tls *b);
struct net_tls *net_tls_ref(struct net_tls *t);
void net_tls_unref(struct net_tls *t); // NULL is fine

// ------------------------------------------------------------------------------------- listeners

struct net_accept {
    // A connection is there and, with TLS, its handshake has succeeded: return the engine for it,
    // or NULL to close it. Called for each; `s` stays good until its engine's `lost`.
    void *(*ready)(void *user, struct net_stream *s, const struct net_engine_ops **ops,
                   struct mono now);
    // NULL, or: a socket was accepted; true takes it, for another loop (net_listener_adopt), false
    // leaves it to this one.
    bool (*divert)(void *user, int fd);
    // A connection came to nothing before that: its handshake failed. NULL: nobody wants to know.
    void (*failed)(void *user, const struct net_peer *peer, const char *why, struct mono now);
    void *user;
};

struct net_listener_opts {
    const char *host;    // "" or NULL: all addresses; a name may resolve to several, all are bound
    const char *port;    // number or service name ("amqp" 5672, "amqps" 5671)
    int family;          // AF_UNSPEC, AF_INET, AF_INET6
    struct net_tls *tls; // referenced; NULL: none
    bool tls_optional;   // first byte decides (TLS client hello or not)
    uint32_t handshake_ms; // TLS; at most 10 s by default (0)
    uint32_t pending_max;  // connections in their handshake; more are refused. 0: 256
    int backlog;           // 0: 1024
    bool is_adopting;      // opens no socket of its own
    uint32_t keepalive_s;  // silence after which the peer is probed; 0: never
    struct net_accept accept;
};
// Binds and listens. Returns 0, ERR_IO or ERR_INVALID with words (address in use, no such host).
int net_listener_new(struct net_loop *l, const struct net_listener_opts *opts,
                     struct net_listener **out, struct why *why);
// A socket accepted elsewhere, taken over as if it had been accepted here.
void net_listener_adopt(struct net_listener *l, int fd);
// Stops listening; streams that were accepted live on.
void net_listener_free(struct net_listener *l);
// The port really bound (for port "0"); of the first socket.
int net_listener_port(const struct net_listener *l);

// ------------------------------------------------------------------------------------ connectors

struct net_connect {
    // As net_accept.ready.
    void *(*ready)(void *user, struct net_stream *s, const struct net_engine_ops **ops,
                   struct mono now);
    // An attempt failed; words say at what: resolve, connect, TLS. The next one follows by itself
    // after the back-off. (A stream that was made is told about by its engine's `lost`.)
    void (*failed)(void *user, const char *why, struct mono now);
    void *user;
};

struct net_connector_opts {
    const char *host, *port;
    int family;
    struct net_tls *tls;
    bool verify_host;                    // DNS names and IP addresses in the certificate
    uint32_t retry_min_ms, retry_max_ms; // back-off doubles between them, with jitter; 0: 100, 5000
    uint32_t connect_ms;                 // for connect and handshake together; 0: 10 s
    struct net_connect connect;
};
// Starts at once and goes on for ever. Names are looked up in a helper thread, never in the loop;
// all addresses of a name are tried, the families alternating.
int net_connector_new(struct net_loop *l, const struct net_connector_opts *opts,
                      struct net_connector **out, struct why *why);
// Gives up, dropping its stream (with `lost`) if there is one.
void net_connector_free(struct net_connector *c);
// Tries no more. A stream that it has stays until it is lost.
void net_connector_retire(struct net_connector *c);
bool net_connector_has_stream(const struct net_connector *c);
// The stream's owner says it is useful (opened): the back-off starts from its minimum again.
void net_connector_succeeded(struct net_connector *c);

// ---------------------------------------------------------------------------------------- dialling

// Somewhere that is dialled often, once for each connection. A name is looked up in a helper
// thread; what was found is used for a few seconds.
struct net_target;
struct net_dial;

struct net_target_opts {
    const char *host, *port;
    struct net_tls *tls; // referenced; NULL: none
    bool verify_host;
    uint32_t connect_ms;  // for all addresses and the handshake together; 0: 10 s
    uint32_t keepalive_s; // 0: never
};
int net_target_new(struct net_loop *l, const struct net_target_opts *opts, struct net_target **out,
                   struct why *why);
// Its dials are given up without a word; streams that were made live on.
void net_target_free(struct net_target *t);
// One connection: `ready` or `failed` is called once, not before this returns, and the dial is
// gone. `alpn`: the one protocol that is offered with TLS, or NULL.
struct net_dial *net_dial(struct net_target *t, const struct net_connect *connect,
                          const char *alpn);
void net_dial_cancel(struct net_dial *d);
