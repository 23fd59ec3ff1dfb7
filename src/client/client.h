// SPDX-License-Identifier: Apache-2.0
// A router as seen from outside: one AMQP connection over which its owner asks for management,
// sends and receives. An engine as a value: bytes and the time go in, bytes, events and a deadline
// come out; no socket, clock or log. Not thread safe: one owner, one thread.
//
// A turn: the loop feeds it through client_engine; the owner takes events with client_next() until
// there is none (the `turn` hook of the loop is the place), and calls net_want_write() after
// anything that may have made output. When CLIENT_CLOSED has come the owner frees the value and, if
// it wants to, begins with a new one on a new stream. At the end of the file is a form that blocks,
// for command lines.
#pragma once

#include <jansson.h>

#include "amqp/amqp.h"
#include "base/mono.h"
#include "base/str.h"
#include "base/why.h"
#include "net/net.h"

enum {
    CLIENT_REQUESTS_MAX = 1024,   // under way or waiting
    CLIENT_LINKS_MAX = 16384,     // senders and receivers
    CLIENT_MESSAGE_MAX = 4 << 20, // octets of a received message; a larger one is rejected
    CLIENT_UNREAD_MAX = 4 << 20,  // octets in events not taken: then the socket is not read
    CLIENT_UNSENT_MAX = 4 << 20,  // octets that wait for credit, of all senders
    CLIENT_ROWS_MAX = 100000,     // of the answer to one QUERY
    CLIENT_PAGE_ROWS = 1000,      // asked for at a time
    CLIENT_VALUES_MAX = 500000,   // AMQP values in one answer
    CLIENT_REQUEST_MS = 10000,    // for one answer, when nothing else is said
};

struct client;
struct client_link; // a sender or a receiver

struct client_opts {
    const char *name;     // our container id
    const char *hostname; // field of open; may be NULL
    bool is_external;     // SASL EXTERNAL, over TLS with a certificate; else ANONYMOUS
};

struct client *client_new(const struct client_opts *opts, struct mono now);
// With all links, requests and events, untold.
void client_free(struct client *c);
// The functions the loop calls; the engine is the struct client.
extern const struct net_engine_ops client_engine;
// In peace: no more requests; CLIENT_CLOSED follows.
void client_close(struct client *c);
bool client_is_open(const struct client *c);
// What the router said in open (container_id is its id); only while open.
const struct amqp_peer *client_peer(const struct client *c);

// ---------------------------------------------------------------------------------------- events

enum client_event_type {
    CLIENT_OPENED,  // client_peer() tells whom we met
    CLIENT_ANSWER,  // answer: to a request; each gets exactly one
    CLIENT_MESSAGE, // link, message: on a receiver. It has been accepted
    CLIENT_OUTCOME, // link, outcome: of an unsettled message that was sent
    CLIENT_DROPPED, // link, words: the router refused or ended it; client_link_free() it
    CLIENT_CLOSED,  // words: nothing follows. Every request has been answered before
};

struct client_answer {
    uint64_t id;
    int err;           // 0, or ERR_NOT_FOUND (404), ERR_UNSUPPORTED (403, 501), ERR_IO (500),
                       // ERR_INVALID (400 and others); ERR_CLOSED: that router cannot be reached,
                       // or the connection ended; ERR_AGAIN: no answer in time; ERR_DECODE and
                       // ERR_LIMIT: an answer that is not understood, or too large
    int status;        // of the router; 0 when there was none
    const char *words; // the router's description, or ours
    json_t *value;     // QUERY: an array of objects without nulls; else the body. NULL on failure
};

struct client_event {
    enum client_event_type type;
    struct client_link *link;
    void *user; // of the link, or of the request
    union {
        struct client_answer answer;
        struct str message; // its sections
        struct {
            uint64_t token; // as given to client_send()
            enum amqp_outcome_type type;
        } outcome;
        const char *words;
    };
};

// The next thing that happened; false when all is told. What *ev points to is good until the next
// call; json_incref() keeps a value.
bool client_next(struct client *c, struct client_event *ev);

// ------------------------------------------------------------------------------------ management

struct client_request {
    const char *router;       // id of the router that is asked; NULL: the one connected to
    bool is_edge;             // that one is an edge router
    const char *agent;        // another one at that router than "$management", who takes requests
                              // with client_read_asked(); NULL: that one
    const char *operation;    // "QUERY", "READ", "CREATE", "UPDATE", "DELETE", "GET-LOG", …
    const char *type;         // "tcpListener"; NULL: org.amqp.management. QUERY: of the entities
    const char *name;         // or NULL
    const char *identity;     // or NULL
    const json_t *attributes; // CREATE, UPDATE: an object. QUERY: an array of names, or NULL: all
    uint32_t limit;           // GET-LOG: so many lines; 0: as many as the router likes
    uint32_t timeout_ms;      // 0: CLIENT_REQUEST_MS. For each page of a QUERY
    void *user;
};

// Asks; everything is copied. May be called before the connection is open. QUERY is asked for in
// pages of CLIENT_PAGE_ROWS and told as one answer. Returns the id of the answer to come, 0 with
// words when CLIENT_REQUESTS_MAX are under way or the connection has ended.
uint64_t client_ask(struct client *c, const struct client_request *r, struct mono now,
                    struct why *why);
// Nobody wants the answer any more; it will not be told.
void client_forget(struct client *c, uint64_t id);
size_t client_request_count(const struct client *c);

// ----------------------------------------------------------------------------------------- links

// NULL when CLIENT_LINKS_MAX are there. May be made before the connection is open.
// Receiver: at most `credit` messages wait to be taken.
struct client_link *client_receive(struct client *c, const char *address, uint32_t credit,
                                   void *user);
// With an address behind it: where a router of ours tells that one more router has consumers of
// that address. Any other router is silent there.
#define CLIENT_REACH "_local/mc/skupper.reach/"
// Sender to an address; NULL: each message says in its properties where it goes.
struct client_link *client_sender(struct client *c, const char *address, void *user);
// Detaches it, if need be. Its messages and events are gone. NULL is fine.
void client_link_free(struct client_link *l);
const char *client_link_address(const struct client_link *l); // NULL: a sender to anywhere
// Sends when there is credit, in order; `message` is copied. For an unsettled one CLIENT_OUTCOME
// will tell `token`. ERR_LIMIT when CLIENT_UNSENT_MAX octets wait, ERR_CLOSED when it has ended.
int client_send(struct client_link *l, struct str message, bool settled, uint64_t token);
// Messages that wait for credit.
size_t client_unsent(const struct client_link *l);

// ---------------------------------------------------------------------------------------- values

// AMQP as JSON, which the caller owns: numbers as they are (an unsigned one beyond int64 as a
// real), symbols, uuids and characters as text, binary as text if it is UTF-8, else in hexadecimal,
// times as milliseconds, keys of maps as text, described values without descriptor. Octets that
// are no UTF-8 become '?'. What JSON has no form for is null.
json_t *client_json(const struct amqp_val *v);
// JSON as AMQP, which the caller owns: integers as int if they fit, else long; reals as double;
// keys as strings. Deeper than AMQP_DEPTH_MAX: null. NULL is null.
struct amqp_val *client_value(const json_t *j);

// ------------------------------------------------------------------------------------- messages

// Properties section with what is not STR_NONE.
struct client_properties {
    struct str to, subject, reply_to;
    uint64_t correlation_id; // 0: none
};
void client_put_properties(struct amqp_writer *w, const struct client_properties *p);

// Views of what a plain message says; absent texts are STR_NONE. Values of maps and bodies are for
// the caller to read. Returns 0 or ERR_DECODE.
struct client_message {
    struct str to, subject, reply_to;
    struct str correlation_id;         // as encoded
    struct str application_properties; // the encoded map
    struct str value;                  // encoded value of an amqp-value body
};
int client_read_message(struct str message, struct client_message *out);
// The other side of client_ask(): a request that came to an address of ours, "_local/<agent>".
// Views of the message; absent texts are STR_NONE.
struct client_asked {
    struct str reply_to, operation, name;
    struct str correlation_id; // as encoded
};
// ERR_DECODE: it is none.
int client_read_asked(struct str message, struct client_asked *out);
// Answers it by a sender to anywhere: a status as of HTTP (2xx: well), words, and a body, which is
// left out when it is NULL. As client_send().
int client_answer(struct client_link *sender, const struct client_asked *to, int status,
                  const char *words, const json_t *value);
// What came from CLIENT_REACH: how many routers have consumers; 0 if it does not say.
uint32_t client_read_reach(struct str message);

// ------------------------------------------------------------------------------- blocking, for CLI

// A connection with a loop of its own, for programs that ask, print and end.
struct client_line;

struct client_target {
    const char *name; // our container id
    const char *host, *port;
    int fd; // 0: it is dialled. Else a socket that leads there, non-blocking, taken in any case
    const struct net_tls_opts *tls; // NULL: none, and ANONYMOUS. Not with a socket
    bool verify_host;
    uint32_t timeout_ms; // to be connected, and for each answer; 0: CLIENT_REQUEST_MS
};

// Connects and opens. ERR_IO, ERR_INVALID (files of TLS), ERR_CLOSED (refused), ERR_AGAIN (time),
// with words.
int client_line_new(const struct client_target *t, struct client_line **out, struct why *why);
void client_line_free(struct client_line *l); // says goodbye; NULL is fine
struct client *client_line_client(struct client_line *l);
// The next event, waited for until `deadline`; false: none came.
bool client_line_next(struct client_line *l, struct mono deadline, struct client_event *ev);
// One request and its answer; 0 with *value the caller's (NULL for none), or the answer's err with
// words. Other events are passed over meanwhile.
int client_line_ask(struct client_line *l, const struct client_request *r, json_t **value,
                    struct why *why);
// All of that for one question: connect, ask, hang up.
int client_call(const struct client_target *t, const struct client_request *r, json_t **value,
                struct why *why);

// ------------------------------------------------------------------- which way would it go, and
// why

enum {
    CLIENT_TRACE_ROUTERS_MAX = 2000, // asked; of a larger network the rest is left out
    CLIENT_TRACE_HOPS_MAX = 64,
    CLIENT_TRACE_MS = 5000, // for one router's answer
};

// Which way a new connection to a service's address would go from the router that the line leads
// to, found out by asking the routers themselves, of whichever make:
//
//   {"address", "treatment", "listeners": [{"name", "host", "port", "state", "message"}] there,
//    "path": [{"router", "edge": bool, "ms": the quickest of three answers, "cost": so far,
//              "link": {"peer", "dir", "tls"} to it; not of the first}], empty when there is no
//              way,
//    "server": {"router", "name", "host", "port", "state", "message", "open"} where it ends,
//    "others": [{"router", "edge", "cost", "servers": [as above], "why"}] where it would not go,
//    "silent": [{"router", "why"}] that did not tell what they have,
//    "why": what stands in the way, when there is none}
//
// What is not known is left out. 0 with *out the caller's, also when there is no way; an error with
// words when the router itself cannot be asked.
int client_trace(struct client_line *l, const char *address, json_t **out, struct why *why);
// The same for people: lines, the last one with its end. The caller frees it.
char *client_trace_text(const json_t *trace);
