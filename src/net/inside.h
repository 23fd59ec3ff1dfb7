// SPDX-License-Identifier: Apache-2.0
// The objects behind net.h. Inside the folder net only.
#pragma once

#include <netdb.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include "base/list.h"
#include "net/net.h"
#include "net/tunnel.h"

enum {
    RECORD_MAX = 16384,            // plain bytes in a TLS record
    RECORD_EXTRA = 512,            // what a record adds, generously
    READS_PER_TURN = 1,            // scratch fulls of one stream before others have their turn
    CIPHER_SPARE = 4 * RECORD_MAX, // room for more than one full output of an engine
    COPY_MAX = 16384,              // of what a socket does not take: more stays where it is
    IOV_COUNT = 64,
    ACCEPTS_PER_TURN = 64,
    HANDSHAKE_MS = 10000,
    HANDSHAKE_BYTES_MAX = 16384, // of an accepted peer, before we know who it is
    LINGER_MS = 1000,            // for the peer to read our last words
    REST_MS = 1000,              // how often a busy loop looks whether it may rest
    REST_AGAIN_MS = 10000,       // after the first rest, and until it is quiet
    REST_WORK = 256 * 1024,      // bytes received in REST_MS: with more it is busy
    QUIET_WORK = 16 * 1024,      // with less it is quiet: a rest makes nobody wait
    STREAM_WORK = 4096,          // likewise a stream that has ended
};

// Whatever epoll tells about: the first member of what it is.
struct source {
    void (*ready)(struct source *self, uint32_t events);
    int fd;
    uint32_t armed : 31; // events asked for
    bool is_removed : 1; // taken out for a while, because it cannot be silenced otherwise
};

enum timer_kind {
    TIMER_USER,
    TIMER_STREAM,
    TIMER_LISTENER,
    TIMER_CONNECTOR,
    TIMER_RACE,
    TIMER_DIAL,
    TIMER_REST
};

struct loop_timer {
    struct timer timer;
    enum timer_kind kind;
};

struct net_loop {
    int epoll, wake_fd;
    struct net_hooks hooks;
    struct heap timers;
    struct mono now;
    struct list to_write, paused, streams, dead;
    struct list to_read, read_later; // those that have waited come before those that just read
    bool stopping;
    bool is_unfinished; // its owner has more to do in the next turn
    bool is_coarse;     // it can wait for whole milliseconds only
    uint8_t *scratch, *plain, *gather;
    size_t scratch_len;
    // TLS between socket and SSL: what was received and not yet read, what is to be sent
    const uint8_t *cipher_in;
    size_t cipher_in_len;
    uint8_t *cipher_out, *cipher_spare;
    size_t cipher_out_len, cipher_out_size;
    BIO_METHOD *bio_method;
    struct answers *answers; // of lookups
    struct source lookup_source, wake_source, mail_source;
    int lookup_count; // under way
    struct mailbox *mailbox;
    void (*mail)(void *user, struct mail *first, struct mono now);
    void *mail_user;
    struct list waiting_listeners; // out of descriptors
    struct mono work_since;
    size_t work, work_before; // since then, as REST_WORK, and in the REST_MS before
    int rests;                // still to come
    struct loop_timer rest_timer;
    void **rubbish; // freed at the end of the turn: events may still name it
    size_t rubbish_count, rubbish_size;
    char refused[256]; // subject of the certificate that was refused last
};

// What of a stream's records is sent at once.
static inline size_t cipher_size(const struct net_loop *l)
{
    return l->scratch_len + CIPHER_SPARE;
}

enum stream_state {
    STREAM_SNIFFING,
    STREAM_TUNNELLING, // the proxy has not answered yet
    STREAM_HANDSHAKE,
    STREAM_RUNNING,
    STREAM_LINGERING, // all is sent; the engine has gone
    STREAM_CLOSED
};

// What a stream needs until its engine is there, and for its owner to ask about the peer.
struct birth {
    struct net_peer peer;
    struct net_listener *listener; // NULL once the engine is there, like the next one
    struct net_dial *dial;
    struct attempt *attempt;
    struct tunnel tunnel;     // to be opened first, if it has a request
    struct net_tls *tls;      // for the handshake to come
    uint32_t handshake_bytes; // received
    bool may_be_plain;        // accepted where TLS is optional
};

struct net_stream {
    struct source source;
    struct net_loop *loop;
    struct list on_write, on_read, on_loop;
    struct loop_timer timer;
    enum stream_state state;
    const struct net_engine_ops *ops;
    void *engine;
    SSL *ssl;
    struct birth *birth;
    uint8_t *pending; // ciphertext that the socket did not take
    uint32_t pending_len, pending_at;
    bool is_pending_loops;  // memory of cipher_out
    bool is_full;           // the socket took less than there was
    bool is_parked;         // its engine has no room
    bool is_ended, is_shut; // no more comes from the peer; no more goes to it
    bool is_leaving;        // its engine is done with, its last words are not sent
    struct net_connector *connector;
};

struct net_proxy {
    int refs;
    char *name, *host, *port, *username, *password; // the last two NULL: none
};

struct net_tls {
    SSL_CTX *ctx;
    int refs;
    bool is_server;
    char *name;
};

struct lookup;

// secret.c
// The word that a configuration means: "env:NAME", "file:PATH" (its first line), "pass:WORD",
// "literal:WORD", or the word itself. Returns its length; ERR_NOT_FOUND or ERR_LIMIT.
int secret_read(const char *spec, char *out, size_t size);

// loop.c
int source_add(struct net_loop *l, struct source *s, uint32_t events);
int source_arm(struct net_loop *l, struct source *s, uint32_t events);
void source_silence(struct net_loop *l, struct source *s);
void source_close(struct net_loop *l, struct source *s);
void loop_free_later(struct net_loop *l, void *ptr);

// stream.c
struct net_stream *stream_new(struct net_loop *l, int fd);
void stream_start(struct net_stream *s); // sniff, handshake or run
void stream_engine(struct net_stream *s, void *engine, const struct net_engine_ops *ops);
void stream_timer(struct net_stream *s);
void stream_flush(struct net_stream *s);
void stream_read_more(struct net_stream *s);
void stream_resume(struct net_stream *s); // if its engine is not paused any more
void stream_free(struct net_stream *s);
void stream_names(struct net_stream *s);
void address_text(const struct sockaddr_storage *sa, char *out, size_t size);

// tls.c
SSL *tls_ssl_new(struct net_tls *t, struct net_stream *s);
void tls_expect_host(SSL *ssl, const char *host);
void tls_offer(SSL *ssl, const char *alpn);
void tls_describe(struct net_stream *s);
void tls_failure(SSL *ssl, char *out, size_t size);
// What an error of OpenSSL means for somebody who set up a link: the peer's alerts, and our
// refusals.
const char *tls_words(unsigned long err);
BIO_METHOD *tls_bio_method(void);

// listener.c and connector.c: what becomes of a stream they made
void listener_stream_ready(struct net_stream *s);
void listener_stream_failed(struct net_stream *s, const char *why);
void listener_timer(struct loop_timer *t);
void listener_retry(struct net_listener *l);
// holder.c: "by a program of user alice", who listens where we would; NULL: nobody knows. The
// caller frees it.
char *net_port_holder(const struct sockaddr_storage *address);
void connector_stream_lost(struct net_connector *c);
void connector_timer(struct loop_timer *t);
// Of a race: somebody was first, which ends it; or a place came to nothing, as the last one
// (is_over) or not.
void connector_won(struct net_connector *c, const struct net_place *place, struct net_stream *s);
void connector_place_failed(struct net_connector *c, const char *why, bool is_over);

// race.c
struct race;
struct attempt;
// Among `count` places, which are borrowed like the options, from `first` on.
struct race *race_new(struct net_connector *c, struct net_loop *l,
                      const struct net_connector_opts *opts, const struct net_place *places,
                      int count, int first);
void race_free(struct race *r); // what is under way is given up without a word
void race_timer(struct loop_timer *t);
void race_looked_up(const struct lookup *l);
void race_stream_ready(struct net_stream *s);
void race_stream_failed(struct net_stream *s, const char *why);
const char *race_expected_host(const struct attempt *a); // NULL: any will do

// dial.c
void dial_stream_ready(struct net_stream *s);
void dial_stream_failed(struct net_stream *s, const char *why);
const char *dial_expected_host(const struct net_dial *d);
const char *dial_alpn(const struct net_dial *d);
void dial_timer(struct loop_timer *t);
void target_looked_up(struct net_target *t, const struct lookup *l);

// resolve.c
enum { ADDRESSES_MAX = 16 };

struct net_addresses {
    struct sockaddr_storage at[ADDRESSES_MAX];
    socklen_t lengths[ADDRESSES_MAX];
    int count;
};
void addresses_take(struct net_addresses *a, const struct addrinfo *found);
bool addresses_of_number(struct net_addresses *a, const char *host, const char *port);
void set_keepalive(int fd, uint32_t seconds);
void set_nodelay(int fd);
// Where helper threads put what they found. It outlives the loop when one of them is still at it.
struct answers {
    struct mailbox box;
    int refs; // the loop's and one for each helper
};
struct answers *answers_new(void); // NULL: no descriptor for it
void answers_unref(struct answers *a);
struct lookup {
    struct mail mail; // first
    struct answers *answers;
    struct way *way; // touched by the loop only; all NULL: nobody waits any more
    struct net_target *target;
    struct net_name *name;
    char *host, *port;
    int family, error;
    struct addrinfo *result;
};
struct lookup *lookup_start(struct net_loop *l, const char *host, const char *port, int family);
const char *port_text(const char *port); // "amqp" and "amqps" need no table of services
void lookup_free(struct lookup *l);
void name_looked_up(struct net_name *n, const struct lookup *l);
