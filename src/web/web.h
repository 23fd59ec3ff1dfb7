// SPDX-License-Identifier: Apache-2.0
// Requests over HTTP answered at sockets: joins the engine of http to the streams of net. Each
// connection is a visit. A request is answered when it is whole, and the next one when what was
// answered has been read; who is slow, or many, or asks and does not read, has a limit.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/mono.h"
#include "base/str.h"
#include "base/why.h"
#include "net/net.h"

struct http_request;
struct web;
struct web_visit;

#define WEB_TEXT "text/plain"
#define WEB_METRICS "text/plain; version=0.0.4" // as Prometheus reads them

// What GET and HEAD of a path are answered with. A list of pages ends with one without a path.
struct web_page {
    const char *path, *type;
    // Fills in the text, the caller's; returns its status.
    int (*get)(void *user, char **text);
};

struct web_opts {
    struct pool *pool;        // for answers, outlives it all; NULL: one of its own
    uint32_t patience_ms;     // for the next request to be whole and its answer to be read; 0: 30 s
    size_t unread_max;        // so many bytes of answers wait to be read; 0: those to one request
    size_t body_max;          // of a request; 0: HTTP_BODY_MAX
    size_t visits_max;        // at once; 0: as many as come
    size_t visits_of_one_max; // from one address; 0: likewise
    bool oldest_leaves;       // when all places are taken; else who comes then is closed
    bool tells_date;          // with each answer
    const struct web_page *pages;
    // NULL: with the pages. Else answers a request, by one web_respond() before it returns, or
    // later after web_wait().
    void (*answer)(void *user, struct web_visit *v, const struct http_request *r, struct mono now);
    void *user;
};
struct web *web_new(const struct web_opts *opts);
// Drops its visits. Not from within a callback of its. NULL is fine.
void web_free(struct web *w);
// Listens; once. `where` without `accept`. Returns what net_listener_new() does.
int web_listen(struct web *w, struct net_loop *l, const struct net_listener_opts *where,
               struct why *why);
int web_port(const struct web *w); // that it listens on
// For connections that somebody else accepts: as net_accept.ready. `pages`: for this visit, instead
// of those in the options. NULL: it is one too many.
void *web_accept(struct web *w, const struct web_page *pages, struct net_stream *s,
                 const struct net_engine_ops **ops, struct mono now);
void web_respond(struct web_visit *v, int status, const char *type, struct str body);
// This request is answered later: a number for web_waiting(). Then web_respond() and web_go_on().
uint64_t web_wait(struct web_visit *v);
struct web_visit *web_waiting(const struct web *w, uint64_t number); // NULL: it has left
void web_go_on(struct web_visit *v, struct mono now);

// Whom a visit is counted with: an IPv4 address, or the network of an IPv6 address.
struct web_source {
    uint8_t bytes[8];
};
bool web_source_is_same(struct web_source a, struct web_source b);
struct web_source web_visit_source(const struct web_visit *v);
// The address and port of the peer, good as long as the visit is.
const char *web_visit_host(const struct web_visit *v);
