// SPDX-License-Identifier: Apache-2.0
#include "web/web.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/list.h"
#include "base/mem.h"
#include "http/http.h"

enum { PATIENCE_MS = 30000, BLOCK = 4096, BLOCKS_MAX = 2048 };

struct web {
    struct web_opts opts;
    struct net_listener *listener; // NULL: others accept for it
    struct pool *own_pool;         // NULL: it is somebody else's
    struct list visits;            // the oldest first
    size_t visit_count;
    uint64_t last_number; // of those that wait
};

struct web_visit {
    struct list on_web;
    struct web *web;
    const struct web_page *pages;
    struct http_conn *http;
    struct net_stream *stream;
    struct mono give_up;
    struct web_source source;
    uint64_t waits; // the number of the request that is answered later; 0: none is
    bool is_ended;  // the peer sends no more, and may still read
};

// --------------------------------------------------------------------------------------- sources

static struct web_source source_of(const char *peer)
{
    struct web_source s = {{0}};
    uint8_t v6[16];
    char text[64];
    size_t len;

    snprintf(text, sizeof(text), "%s", peer + (peer[0] == '['));
    len = strcspn(text, peer[0] == '[' ? "]" : ":");
    text[len] = '\0';
    if (inet_pton(AF_INET6, text, v6) == 1)
        memcpy(s.bytes, v6, sizeof(s.bytes));
    else
        inet_pton(AF_INET, text, s.bytes);
    return s;
}

bool web_source_is_same(struct web_source a, struct web_source b)
{
    return memcmp(a.bytes, b.bytes, sizeof(a.bytes)) == 0;
}

struct web_source web_visit_source(const struct web_visit *v)
{
    return v->source;
}

const char *web_visit_host(const struct web_visit *v)
{
    return net_stream_peer(v->stream)->host;
}

// ----------------------------------------------------------------------------------------- pages

// What a path that is none of them is answered with.
static char *names_of(const struct web_page *pages)
{
    char *text = NULL;
    size_t len;
    FILE *f = open_memstream(&text, &len);

    if (!f)
        abort(); // no memory
    fprintf(f, "%s", !pages->path ? "there is nothing" : pages[1].path ? "there are" : "there is");
    for (const struct web_page *page = pages; page->path; page++)
        fprintf(f, "%s %s", page > pages ? " and" : "", page->path);
    fprintf(f, "\n");
    fclose(f);
    return text;
}

static void answer_page(struct web_visit *v, const struct http_request *r)
{
    const struct web_page *page = v->pages;
    char *text = NULL;
    int status = 404;

    if (!str_is(r->method, "GET") && !str_is(r->method, "HEAD")) {
        web_respond(v, 405, WEB_TEXT, STR("only GET and HEAD\n"));
        return;
    }
    while (page->path && !str_is(r->path, page->path))
        page++;
    if (page->path)
        status = page->get(v->web->opts.user, &text);
    else
        text = names_of(v->pages);
    web_respond(v, status, page->path ? page->type : WEB_TEXT, str_of(text));
    free(text);
}

// ---------------------------------------------------------------------------------------- visits

void web_respond(struct web_visit *v, int status, const char *type, struct str body)
{
    if (v->web->opts.tells_date)
        http_conn_set_date(v->http, (int64_t)time(NULL));
    http_conn_respond(v->http, status, type, body);
}

// Answers what is there, as long as the answers are read.
static void serve(struct web_visit *v, struct mono now)
{
    const struct web_opts *o = &v->web->opts;
    struct http_request request;

    while (!v->waits && http_conn_output(v->http)->len < o->unread_max &&
           http_conn_next(v->http, &request)) {
        v->give_up = mono_add_ms(now, o->patience_ms);
        if (o->answer)
            o->answer(o->user, v, &request, now);
        else
            answer_page(v, &request);
    }
    net_want_write(v->stream);
}

uint64_t web_wait(struct web_visit *v)
{
    v->waits = ++v->web->last_number;
    return v->waits;
}

struct web_visit *web_waiting(const struct web *w, uint64_t number)
{
    list_for_each (node, &w->visits) {
        struct web_visit *v = list_entry(node, struct web_visit, on_web);

        if (v->waits == number)
            return v;
    }
    return NULL;
}

void web_go_on(struct web_visit *v, struct mono now)
{
    v->waits = 0;
    v->give_up = mono_add_ms(now, v->web->opts.patience_ms);
    serve(v, now);
}

static void feed(void *e, const uint8_t *data, size_t len, struct mono now)
{
    struct web_visit *v = e;

    while (len > 0) {
        size_t taken = http_conn_feed(v->http, data, len);

        if (taken == 0) {
            net_stream_drop(v->stream, "more requests than it reads answers to");
            return;
        }
        data += taken;
        len -= taken;
        serve(v, now);
    }
}

static struct buf *output(void *e, struct mono now)
{
    struct web_visit *v = e;

    (void)now;
    return http_conn_output(v->http);
}

static void sent(void *e, struct mono now)
{
    serve(e, now);
}

static struct mono deadline(const void *e)
{
    const struct web_visit *v = e;

    return v->give_up;
}

static void tick(void *e, struct mono now)
{
    struct web_visit *v = e;

    if (!mono_before(now, v->give_up))
        net_stream_drop(v->stream, "no request in time");
}

static bool is_paused(const void *e)
{
    const struct web_visit *v = e;

    return v->waits || pool_is_short(v->web->opts.pool) ||
           http_conn_output(v->http)->len >= v->web->opts.unread_max;
}

static void ended(void *e, struct mono now)
{
    (void)now;
    ((struct web_visit *)e)->is_ended = true;
}

// Where no answer waits, every request that was whole has had its own.
static bool is_finished(const void *e)
{
    const struct web_visit *v = e;

    return !v->waits &&
           (http_conn_is_finished(v->http) || (v->is_ended && http_conn_output(v->http)->len == 0));
}

static void lost(void *e, const char *why, struct mono now)
{
    struct web_visit *v = e;

    (void)why, (void)now;
    list_remove(&v->on_web);
    v->web->visit_count--;
    http_conn_free(v->http);
    free(v);
}

static const struct net_engine_ops visit_ops = {
    .feed = feed,
    .output = output,
    .sent = sent,
    .deadline = deadline,
    .tick = tick,
    .is_paused = is_paused,
    .ended = ended,
    .is_finished = is_finished,
    .lost = lost,
};

static size_t visits_of(const struct web *w, struct web_source source)
{
    size_t count = 0;

    list_for_each (node, &w->visits)
        count += web_source_is_same(list_entry(node, struct web_visit, on_web)->source, source);
    return count;
}

static void drop_oldest(struct web *w, const char *why)
{
    net_stream_drop(list_entry(w->visits.next, struct web_visit, on_web)->stream, why);
}

// False: there is no place for one more.
static bool make_place(struct web *w, struct web_source source)
{
    const struct web_opts *o = &w->opts;

    if (o->visits_of_one_max > 0 && visits_of(w, source) >= o->visits_of_one_max)
        return false;
    if (o->visits_max == 0 || w->visit_count < o->visits_max)
        return true;
    if (o->oldest_leaves)
        drop_oldest(w, "others are waiting");
    return o->oldest_leaves;
}

void *web_accept(struct web *w, const struct web_page *pages, struct net_stream *s,
                 const struct net_engine_ops **ops, struct mono now)
{
    struct web_source source = source_of(net_stream_peer(s)->host);
    struct web_visit *v;

    if (!make_place(w, source))
        return NULL;
    v = xcalloc(1, sizeof(*v));
    *v = (struct web_visit){.web = w,
                            .pages = pages,
                            .http = http_conn_new(w->opts.pool),
                            .stream = s,
                            .give_up = mono_add_ms(now, w->opts.patience_ms),
                            .source = source};
    if (w->opts.body_max > 0)
        http_conn_limit_body(v->http, w->opts.body_max);
    list_append(&w->visits, &v->on_web);
    w->visit_count++;
    *ops = &visit_ops;
    return v;
}

// ---------------------------------------------------------------------------------------- server

static void *ready(void *user, struct net_stream *s, const struct net_engine_ops **ops,
                   struct mono now)
{
    struct web *w = user;

    return web_accept(w, w->opts.pages, s, ops, now);
}

struct web *web_new(const struct web_opts *opts)
{
    struct web *w = xcalloc(1, sizeof(*w));

    w->opts = *opts;
    if (!w->opts.pool)
        w->opts.pool = w->own_pool = pool_new(BLOCK, BLOCKS_MAX);
    if (w->opts.patience_ms == 0)
        w->opts.patience_ms = PATIENCE_MS;
    if (w->opts.unread_max == 0)
        w->opts.unread_max = 1; // the next answer, when this one has left
    list_init(&w->visits);
    return w;
}

int web_listen(struct web *w, struct net_loop *l, const struct net_listener_opts *where,
               struct why *why)
{
    struct net_listener_opts opts = *where;

    opts.accept = (struct net_accept){.ready = ready, .user = w};
    return net_listener_new(l, &opts, &w->listener, why);
}

int web_port(const struct web *w)
{
    return net_listener_port(w->listener);
}

void web_free(struct web *w)
{
    if (!w)
        return;
    if (w->listener)
        net_listener_free(w->listener);
    while (!list_empty(&w->visits))
        drop_oldest(w, "the server ends");
    if (w->own_pool)
        pool_free(w->own_pool);
    free(w);
}
