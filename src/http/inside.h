// SPDX-License-Identifier: Apache-2.0
// Inside of the observers. Inside the folder http only.
#pragma once

#include "http/observe.h"

enum { TEXT_MAX = 64, EVENTS_MAX = 4 };

struct http1;
struct http2;

// What is being fed.
struct input {
    const uint8_t *at, *end;
    bool from_server;
    struct mono now;
};

struct http_observer {
    struct http1 *one; // once decided, one of the two
    struct http2 *two;
    struct input in;
    uint8_t preface_len; // octets of the HTTP/2 preface that the client has sent so far
    bool is_ending, is_off;
    const char *why; // ending: why it lets go; NULL: the connection is over
    struct http_exchange *first, *last, *ended; // open ones, oldest first; told as ended
    size_t open_count;
    struct http_event events[EVENTS_MAX]; // from the step just made
    uint8_t event_count, event_at;
    char method[TEXT_MAX], client[TEXT_MAX], reason[TEXT_MAX]; // of those events
};

// observe.c
struct http_exchange *exchange_new(struct http_observer *o);
struct http_event *event_put(struct http_observer *o, enum http_event_type type,
                             struct http_exchange *x);
void exchange_responded(struct http_observer *o, struct http_exchange *x, uint16_t status);
void exchange_end_if_done(struct http_observer *o, struct http_exchange *x);
void exchange_end(struct http_observer *o, struct http_exchange *x, bool is_cut);
void let_go(struct http_observer *o, const char *why);
struct str text_keep(char to[TEXT_MAX], struct str text);
// The first address in the value of X-Forwarded-For, or of Forwarded.
struct str first_address(struct str value, bool is_forwarded);

// Each takes some octets of the input, at least one; events may follow.
struct http1 *http1_new(void);
void http1_free(struct http1 *h);
void http1_step(struct http_observer *o);
struct http2 *http2_new(void);
void http2_free(struct http2 *h);
void http2_step(struct http_observer *o);
