// SPDX-License-Identifier: Apache-2.0
// A small HTTP/1.x server engine: bytes in, requests polled, responses and bytes out. No socket and
// no clock. What is too large or malformed is answered with the right status and ends the
// connection. One request at a time; pipelined ones wait in order.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"
#include "http/observe.h"

struct http_conn;

enum { HTTP_HEAD_MAX = 8192, HTTP_BODY_MAX = 65536 };

struct http_request {
    struct str method, path, query, body; // views, good until the request is answered
    struct str fields;                    // of the head, as they came
    bool is_head;
};

// The value of the first header field of that name (in any case); STR_NONE when there is none.
struct str http_request_field(const struct http_request *r, const char *name);

struct http_conn *http_conn_new(struct pool *pool);
void http_conn_free(struct http_conn *c);
// Bodies are smaller than HTTP_BODY_MAX here; larger ones are refused. Before anything is fed.
void http_conn_limit_body(struct http_conn *c, size_t body_max);
// Bytes taken; what is left has room when a request has been answered. (A buffer that is full holds
// one, or has been refused.)
size_t http_conn_feed(struct http_conn *c, const uint8_t *data, size_t len);
// The next request to be answered; false when there is none (or one is still unanswered).
bool http_conn_next(struct http_conn *c, struct http_request *out);
// The time, in seconds since the epoch, that answers to come tell as their Date; 0: none, as at
// first.
void http_conn_set_date(struct http_conn *c, int64_t now);
// Answers it. `type` as in Content-Type; a body is left out for HEAD.
void http_conn_respond(struct http_conn *c, int status, const char *type, struct str body);
struct buf *http_conn_output(struct http_conn *c);
// Nothing follows: close once the output has left.
bool http_conn_is_finished(const struct http_conn *c);
