// SPDX-License-Identifier: Apache-2.0
// Looking into the traffic of a TCP service: which requests pass, and how they fare. Octets of both
// directions go in, in the order in which they passed; exchanges come out. Nothing is altered or
// held back, and what cannot be followed is let go for good. Part of the door http/http.h.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mono.h"
#include "base/str.h"

enum {
    // Octets that one observer allocates at most; an idle HTTP/1 connection takes under 1 KiB.
    HTTP_OBSERVER_MEMORY = 32 * 1024,
    HTTP_PIPELINE_MAX = 64,            // HTTP/1 requests without a response; with more it lets go
    HTTP_STREAMS_MAX = 128,            // HTTP/2 streams at a time; more are passed over
    HTTP_HEAD_OCTETS_MAX = 256 * 1024, // of one HTTP/1 head; with more it lets go
};

// AUTO: the first octets of the client decide.
enum http_observe { HTTP_OBSERVE_AUTO, HTTP_OBSERVE_1, HTTP_OBSERVE_2 };

// One request and its response.
struct http_exchange {
    void *user;      // the caller's
    uint32_t stream; // HTTP/2: its stream; HTTP/1: 0
    uint16_t status; // 0: none yet
    bool is_cut;     // it ended before its time
    bool request_done, response_done;
    uint64_t request_octets, response_octets; // of bodies
    struct mono requested_at;                 // first octet
    // the observer's
    bool is_head, is_connect, ends_with_connection;
    struct http_exchange *next;
};

enum http_event_type {
    HTTP_EV_REQUEST,  // its head is complete
    HTTP_EV_RESPONSE, // likewise; interim ones (1xx) are not told
    HTTP_EV_END,      // the exchange is gone after this
    HTTP_EV_OFF,      // let go; nothing more comes
};

struct http_event {
    enum http_event_type type;
    struct http_exchange *exchange;
    const char *version; // REQUEST: "HTTP/1.0", "HTTP/1.1", "HTTP/2"
    struct str method;   // REQUEST
    struct str client;   // REQUEST: the first address of X-Forwarded-For or Forwarded
    struct str reason;   // RESPONSE: HTTP/1's words
    uint64_t latency_us; // RESPONSE: since the request's first octet
    const char *why;     // OFF: words for the log
};

struct http_observer;

struct http_observer *http_observer_new(enum http_observe how);
void http_observer_free(struct http_observer *o); // open exchanges go untold
// Lends octets until http_observer_next() has said false.
void http_observer_feed(struct http_observer *o, bool from_server, const uint8_t *data, size_t len,
                        struct mono now);
// The connection is over: open exchanges end.
void http_observer_end(struct http_observer *o);
// The next thing that happened; views are good until the next call.
bool http_observer_next(struct http_observer *o, struct http_event *ev);
// It need not be fed any more.
bool http_observer_is_off(const struct http_observer *o);
