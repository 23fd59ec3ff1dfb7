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
    // There was much to do, and now is little: what was kept for more can go. `is_quiet`: there is
    // so little that nobody is kept waiting by what takes a while. May be NULL.
    void (*rest)(void *user, bool is_quiet);
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
// So much was received that the loop does not see, in bytes (or a handshake made, which counts as
// NET_HANDSHAKE_WORK): what `rest` is called for.
enum { NET_HANDSHAKE_WORK = 256 * 1024 };
void net_loop_worked(struct net_loop *l, size_t work);
// Not all is done that could be: the next turn follows without waiting.
void net_loop_again(struct net_loop *l);

// A timer of the owner's, fired by the loop (then disarmed).
struct net_timer {
    struct timer timer;
    int kind; // the loop's
    void (*fire)(void *user, struct mono now);
    void *user;
};
void net_timer_set(struct net_loop *l, struct net_timer *t, struct mono at);
void net_timer_cancel(struct net_loop *l, struct net_timer *t);

// Any descriptor that becomes readable (inotify, an eventfd).
struct net_watch;
struct net_watch *net_watch_new(struct net_loop *l, int fd,
                                void (*readable)(void *user, struct mono), void *user);
void net_watch_free(struct net_watch *w);
// Signals of this process, which from now on do nothing but be told in the loop; `numbers` ends
// with 0. Before threads are started that must not take them. SIGPIPE is ignored from now on.
// Returns 0, or ERR_IO with words.
struct net_signals;
int net_signals_new(struct net_loop *l, const int *numbers,
                    void (*caught)(void *user, int number, struct mono now), void *user,
                    struct net_signals **out, struct why *why);
// They stay as they are, and are told to nobody. NULL is fine.
void net_signals_free(struct net_signals *s);
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
    bool is_bulk;      // much goes through it: records as in gcm.h where that helps
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
    // NULL, or: true while there is no memory for more connections. Asked before one is accepted.
    bool (*is_full)(void *user);
    // NULL, or: no more are accepted for now, and why; with NULL, that it goes on. What is open is
    // kept, who comes meanwhile waits.
    void (*paused)(void *user, const char *why, struct mono now);
    void *user;
};

// The addresses of a name, which are found without the loop waiting for them.
struct net_name;
struct net_addresses;
// Looks it up in a helper thread. `found` is called once, not before this returns, and the name is
// gone after it; its addresses are lent for the call. None: why.
struct net_name *net_name_find(struct net_loop *l, const char *host, const char *port,
                               void (*found)(void *user, const struct net_addresses *addresses,
                                             const char *why, struct mono now),
                               void *user);
void net_name_cancel(struct net_name *n); // NULL is fine

struct net_listener_opts {
    const char *host; // "" or NULL: all addresses; a name may resolve to several, all are bound
    const char *port; // number or service name ("amqp" 5672, "amqps" 5671)
    const struct net_addresses *addresses; // of the host; NULL: they are looked up …
    bool is_quick;                         // … unless that may take a while: ERR_AGAIN
    int family;                            // AF_UNSPEC, AF_INET, AF_INET6
    struct net_tls *tls;                   // referenced; NULL: none
    bool tls_optional;                     // first byte decides (TLS client hello or not)
    uint32_t handshake_ms;                 // TLS; at most 10 s by default (0)
    uint32_t pending_max;        // connections in their handshake; more are refused. 0: 256
    uint32_t pending_of_one_max; // of these, from one address. 0: as many as of all
    int backlog;                 // 0: as many as the system allows
    bool is_adopting;            // opens no socket of its own
    uint32_t keepalive_s;        // silence after which the peer is probed; 0: never
    struct net_accept accept;
};
// Binds and listens. Returns 0, ERR_IO or ERR_INVALID with words (address in use, no such host), or
// ERR_AGAIN when the host is a name that must be looked up first (is_quick).
int net_listener_new(struct net_loop *l, const struct net_listener_opts *opts,
                     struct net_listener **out, struct why *why);
// A socket accepted elsewhere, taken over as if it had been accepted here.
void net_listener_adopt(struct net_listener *l, int fd);
// Stops listening; streams that were accepted live on.
void net_listener_free(struct net_listener *l);
// The port really bound (for port "0"); of the first socket.
int net_listener_port(const struct net_listener *l);

// --------------------------------------------------------------------------------------- proxies

// A way through an HTTP proxy, which is asked for a tunnel by CONNECT. Immutable, shared by
// reference count within one loop.
struct net_proxy;
struct net_proxy_opts {
    const char *name; // of the profile, for messages
    const char *host, *port;
    const char *username; // of Basic credentials; NULL or "": none are given
    const char *password; // as of struct net_tls_opts; read for each connection
};
// Returns 0, or ERR_INVALID with words.
int net_proxy_new(const struct net_proxy_opts *opts, struct net_proxy **out, struct why *why);
struct net_proxy *net_proxy_ref(struct net_proxy *p);
void net_proxy_unref(struct net_proxy *p); // NULL is fine

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
    // Referenced; NULL: none. With it the proxy's name is looked up, its addresses are tried, and
    // the host is told to it as it is.
    struct net_proxy *proxy;
    bool verify_host;                    // DNS names and IP addresses in the certificate
    uint32_t retry_min_ms, retry_max_ms; // back-off doubles between them, with jitter; 0: 100, 5000
    // For connect, the proxy's answer and handshake together; 0: 10 s. An address that has not
    // answered within 2.5 s is given up.
    uint32_t connect_ms;
    struct net_connect connect;
};
// Starts in the loop's next turn and goes on for ever. Names are looked up in a helper thread,
// never in the loop; all addresses of a name are tried side by side, the families alternating: each
// begins 250 ms after the one before, or as soon as that has failed, and the first that is ready is
// taken.
int net_connector_new(struct net_loop *l, const struct net_connector_opts *opts,
                      struct net_connector **out, struct why *why);
// Gives up, dropping its stream (with `lost`) if there is one.
void net_connector_free(struct net_connector *c);
// Goes through this one from the next attempt on; NULL: through none. A stream that it has stays.
void net_connector_set_proxy(struct net_connector *c, struct net_proxy *p);
// Tries no more. A stream that it has stays until it is lost.
void net_connector_retire(struct net_connector *c);
bool net_connector_has_stream(const struct net_connector *c);
// The stream's owner says it is useful (opened): the back-off starts from its minimum again.
void net_connector_succeeded(struct net_connector *c);

// Other places that serve as well. They are tried side by side like the addresses of a name, its
// own first; when one is lost, the one behind it first. The pause grows after each round of all.
// They take the place of those it was told before, except for the one that it is at. Copied; at
// most NET_PLACES_MAX. An attempt that is under way goes on when they are what it knows already.
enum { NET_PLACES_MAX = 16 };
struct net_place {
    char *host, *port;
};
void net_connector_set_places(struct net_connector *c, const struct net_place *others, int count);
// All of them, its own first; *at: the one that it is at, or tries first.
const struct net_place *net_connector_places(const struct net_connector *c, int *count, int *at);
// Goes to this one of its places, away from any other, and to no other until it is told to.
void net_connector_aim(struct net_connector *c, const struct net_place *place);

// ---------------------------------------------------------------------------------------- dialling

// Somewhere that is dialled often, once for each connection. A name is looked up in a helper
// thread, once for all who wait; what was found is used for fresh_ms, and that there is nothing for
// failed_ms. While no name server answers, what was found last is used on.
struct net_target;
struct net_dial;

struct net_target_opts {
    const char *host, *port;
    struct net_tls *tls; // referenced; NULL: none
    bool verify_host;
    uint32_t connect_ms;          // for the name, all addresses and the handshake together; 0: 10 s
    uint32_t keepalive_s;         // 0: never
    uint32_t fresh_ms, failed_ms; // 0: 5 s, 1 s
};
int net_target_new(struct net_loop *l, const struct net_target_opts *opts, struct net_target **out,
                   struct why *why);
// Its dials are given up without a word; streams that were made live on.
void net_target_free(struct net_target *t);
// What a dial came to nothing for.
enum net_fault {
    NET_FAULT_TARGET, // it refuses, or is not who it should be
    NET_FAULT_LATE,   // it did not answer in time: it is gone, or has more callers than it can take
    NET_FAULT_OFFER,  // its handshake failed with the protocol that was offered; others may do
    NET_FAULT_OURS,   // no descriptor, port or memory is left here: that says nothing of the target
};

struct net_dialling {
    // As net_accept.ready.
    void *(*ready)(void *user, struct net_stream *s, const struct net_engine_ops **ops,
                   struct mono now);
    void (*failed)(void *user, enum net_fault fault, const char *why, struct mono now);
    void *user;
};

// One connection: `ready` or `failed` is called once, not before this returns, and the dial is
// gone. `alpn`: the one protocol that is offered with TLS, or NULL.
struct net_dial *net_dial(struct net_target *t, const struct net_dialling *dialling,
                          const char *alpn);
void net_dial_cancel(struct net_dial *d);

// ----------------------------------------------------------------------------------------- probing

// A connection made step by step, each of which blocks and tells how it went: for programs that
// find out why there is none. Nothing is checked that TLS itself need not check: what the peer
// shows is for the caller to judge.
struct net_found {
    _Alignas(8) uint8_t address[128]; // a struct sockaddr_storage
    uint32_t len;
    char text[48]; // "192.0.2.1"
};
// All addresses of a host, each once, in the order in which they would be tried. Returns how many,
// or ERR_NOT_FOUND with words. *out is the caller's.
int net_probe_resolve(const char *host, const char *port, struct net_found **out, struct why *why);
// The address of this machine that packets to the place would have. ERR_NOT_FOUND: there is no way
// there.
int net_probe_route(const struct net_found *place, char source[48], struct why *why);

struct net_probe;
// ERR_CLOSED: refused; ERR_AGAIN: no answer in time; ERR_NOT_FOUND: no way there; ERR_IO. What is
// begun is to be freed.
int net_probe_connect(const struct net_found *place, uint32_t timeout_ms, struct net_probe **out,
                      struct why *why);
void net_probe_free(struct net_probe *p); // NULL is fine
// What is connected to is an HTTP proxy: it is asked for a tunnel, which what follows goes through.
// ERR_INVALID: the profile or its password cannot be used; ERR_CLOSED: refused; ERR_DECODE or
// ERR_LIMIT: what answers is no proxy; ERR_AGAIN: no answer in time. With words.
int net_probe_tunnel(struct net_probe *p, const struct net_proxy_opts *proxy, const char *host,
                     const char *port, struct why *why);
struct net_probe_tls {
    const char *host;       // told to the peer if it is a name
    const char *cert, *key; // PEM text to show; NULL: nothing
};
// The handshake. ERR_INVALID: what we are to show cannot be used; ERR_DECODE: what answers is not
// TLS; ERR_CLOSED: refused; ERR_AGAIN: no answer in time.
int net_probe_tls(struct net_probe *p, const struct net_probe_tls *opts, struct why *why);
const char *net_probe_protocol(const struct net_probe *p); // "TLSv1.3"
// The certificates that the peer showed, its own first, as PEM text; the caller's. NULL: none.
char *net_probe_chain(const struct net_probe *p);
bool net_probe_is_asked(const struct net_probe *p); // the peer wants a certificate of ours
// All of it. ERR_CLOSED or ERR_AGAIN with words.
int net_probe_write(struct net_probe *p, const void *data, size_t len, struct why *why);
// Octets read, at least one, or ERR_AGAIN when the time is up, ERR_CLOSED with words: the peer has
// ended it; words tell when it refused our certificate.
int net_probe_read(struct net_probe *p, void *data, size_t max, uint32_t timeout_ms,
                   struct why *why);
