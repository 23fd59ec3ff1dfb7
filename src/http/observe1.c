// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>

#include "base/cut.h"
#include "base/mem.h"
#include "http/inside.h"

// HTTP/1. Each direction is a row of lines and bodies. A line is looked at when it is complete; of
// one that is cut by the reads its beginning and its end are kept, which is where the words stand
// that matter. Bodies are skipped by count.

enum { LINE_KEPT = 1024, TAIL_KEPT = 16, METHOD_MAX = 32, VERSION_LEN = 8 };
enum { NO_LENGTH = -1 };
#define LENGTH_MAX (INT64_MAX / 4)

enum place {
    AT_START, // of a request or response
    IN_HEAD,
    IN_BODY,
    AT_CHUNK_SIZE,
    IN_CHUNK,
    AT_CHUNK_END,
    IN_TRAILERS,
    TO_THE_END, // of the connection
};

struct line {
    size_t len; // all of it
    size_t tail_len;
    char text[LINE_KEPT], tail[TAIL_KEPT];
};

// A complete line, without its end.
struct words {
    size_t len;
    struct str text, tail; // its first LINE_KEPT octets, its last TAIL_KEPT
};

struct side {
    enum place place;
    struct line *line; // begun and not complete
    size_t head_len;
    int64_t left;   // octets of the body or chunk
    int64_t length; // as the head says
    bool is_chunked, has_coding;
    struct http_exchange *exchange; // whose body is passing
};

struct http1 {
    struct side client, server;
    struct mono begun; // the request that is being read
    const char *version;
    size_t method_len, client_len, reason_len; // of the observer's texts
    uint16_t status;
};

struct http1 *http1_new(void)
{
    struct http1 *h = xcalloc(1, sizeof(*h));

    h->client.length = h->server.length = NO_LENGTH;
    return h;
}

void http1_free(struct http1 *h)
{
    if (!h)
        return;
    free(h->client.line);
    free(h->server.line);
    free(h);
}

static struct side *side_of(struct http_observer *o)
{
    return o->in.from_server ? &o->one->server : &o->one->client;
}

// ----------------------------------------------------------------------------------------- lines

static bool is_token_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("!#$%&'*+-.^_`|~", c));
}

// Can this be the beginning of a request line, or of a status line?
static bool may_begin(struct str text, bool from_server)
{
    static const char status[] = "HTTP/1.";
    size_t len = 0;

    if (from_server) {
        len = text.len < sizeof(status) - 1 ? text.len : sizeof(status) - 1;
        return len == 0 || memcmp(text.ptr, status, len) == 0;
    }
    while (len < text.len && is_token_char(text.ptr[len]))
        len++;
    if (len > METHOD_MAX)
        return false;
    return len == text.len || (text.ptr[len] == ' ' ? len > 0 : len == 0 && text.ptr[0] == '\r');
}

static void append(struct line *l, const char *at, size_t len)
{
    size_t room = l->len < LINE_KEPT ? LINE_KEPT - l->len : 0;
    size_t tail = len < TAIL_KEPT ? len : TAIL_KEPT;
    size_t keep = l->tail_len + tail > TAIL_KEPT ? TAIL_KEPT - tail : l->tail_len;

    if (room > 0)
        memcpy(l->text + l->len, at, len < room ? len : room);
    memmove(l->tail, l->tail + l->tail_len - keep, keep);
    memcpy(l->tail + keep, at + len - tail, tail);
    l->tail_len = keep + tail;
    l->len += len;
}

static void cut_end(struct words *w)
{
    if (w->tail.len == 0 || w->tail.ptr[w->tail.len - 1] != '\r')
        return;
    w->tail.len--;
    w->text.len -= w->text.len == w->len;
    w->len--;
}

// Takes octets up to the end of the line. True: it is complete, in *w.
static bool take_line(struct http_observer *o, struct side *s, struct words *w)
{
    const char *at = (const char *)o->in.at;
    size_t len = (size_t)(o->in.end - o->in.at);
    const char *end = memchr(at, '\n', len);

    len = end ? (size_t)(end - at) : len;
    o->in.at += len + (end != NULL);
    if (s->line || !end) {
        if (!s->line)
            s->line = xcalloc(1, sizeof(*s->line));
        append(s->line, at, len);
        w->len = s->line->len;
        w->text = (struct str){s->line->text, w->len < LINE_KEPT ? w->len : LINE_KEPT};
        w->tail = (struct str){s->line->tail, s->line->tail_len};
    } else {
        w->len = len;
        w->text = (struct str){at, len < LINE_KEPT ? len : LINE_KEPT};
        w->tail.len = len < TAIL_KEPT ? len : TAIL_KEPT;
        w->tail.ptr = end - w->tail.len;
    }
    if (s->head_len + w->len > HTTP_HEAD_OCTETS_MAX)
        let_go(o, "a head of more than 256 KiB");
    else if (s->place == AT_START && !may_begin(w->text, o->in.from_server))
        let_go(o, "not HTTP/1");
    if (o->is_ending || !end)
        return false;
    s->head_len += w->len;
    cut_end(w);
    return true;
}

// --------------------------------------------------------------------------------------- headers

static void read_length(struct http_observer *o, struct side *s, struct str value)
{
    int64_t length = 0;

    for (size_t i = 0; i < value.len && length <= LENGTH_MAX; i++) {
        if (value.ptr[i] < '0' || value.ptr[i] > '9' || length > LENGTH_MAX / 10)
            length = INT64_MAX;
        else
            length = length * 10 + (value.ptr[i] - '0');
    }
    if (value.len == 0 || length > LENGTH_MAX || (s->length != NO_LENGTH && s->length != length))
        let_go(o, "a content-length that cannot be followed");
    s->length = length;
}

static void read_coding(struct side *s, struct str value)
{
    size_t at = value.len;

    while (at > 0 && value.ptr[at - 1] != ',')
        at--;
    s->has_coding = true;
    s->is_chunked = str_is_nocase(str_trim(str_skip(value, at), " \t"), "chunked");
}

static void read_header(struct http_observer *o, struct side *s, const struct words *w)
{
    const char *colon = memchr(w->text.ptr, ':', w->text.len);
    struct str name, value;
    bool is_forwarded;

    if (!colon) {
        if (w->text.ptr[0] != ' ' && w->text.ptr[0] != '\t')
            let_go(o, "a header without a colon");
        return;
    }
    name = (struct str){w->text.ptr, (size_t)(colon - w->text.ptr)};
    value = str_trim(str_skip(w->text, name.len + 1), " \t");
    if (str_is_nocase(name, "content-length")) {
        read_length(o, s, w->len > LINE_KEPT ? STR_NONE : value);
    } else if (str_is_nocase(name, "transfer-encoding")) {
        if (w->len > LINE_KEPT)
            let_go(o, "a transfer-encoding that cannot be followed");
        read_coding(s, value);
    } else if (!o->in.from_server && o->one->client_len == 0) {
        is_forwarded = str_is_nocase(name, "forwarded");
        if (is_forwarded || str_is_nocase(name, "x-forwarded-for"))
            o->one->client_len = text_keep(o->client, first_address(value, is_forwarded)).len;
    }
}

static void begin_head(struct side *s)
{
    s->place = IN_HEAD;
    s->length = NO_LENGTH;
    s->is_chunked = s->has_coding = false;
}

static const char *version_in(struct str s)
{
    if (str_starts(s, STR("HTTP/1.1")))
        return "HTTP/1.1";
    return str_starts(s, STR("HTTP/1.0")) ? "HTTP/1.0" : NULL;
}

static void read_request_line(struct http_observer *o, const struct words *w)
{
    struct http1 *h = o->one;
    size_t method = 0;

    while (method < w->text.len && w->text.ptr[method] != ' ')
        method++;
    h->version = w->tail.len > VERSION_LEN && w->tail.ptr[w->tail.len - VERSION_LEN - 1] == ' '
                     ? version_in(str_skip(w->tail, w->tail.len - VERSION_LEN))
                     : NULL;
    if (!h->version || w->len < method + 3 + VERSION_LEN) {
        let_go(o, "a request line of another protocol");
        return;
    }
    h->method_len = text_keep(o->method, (struct str){w->text.ptr, method}).len;
    h->client_len = 0;
    begin_head(&h->client);
}

static void read_status_line(struct http_observer *o, const struct words *w)
{
    const char *p = w->text.ptr;
    struct http1 *h = o->one;

    if (w->text.len < 12 || !version_in(w->text) || p[8] != ' ' || p[9] < '1' || p[9] > '9' ||
        p[10] < '0' || p[10] > '9' || p[11] < '0' || p[11] > '9' ||
        (w->text.len > 12 && p[12] != ' ')) {
        let_go(o, "a status line of another protocol");
        return;
    }
    if (!o->first || o->first->response_done) {
        let_go(o, "a response that nobody asked for");
        return;
    }
    h->status = (uint16_t)((p[9] - '0') * 100 + (p[10] - '0') * 10 + (p[11] - '0'));
    h->reason_len =
        text_keep(o->reason, str_trim(str_skip(w->text, w->text.len > 12 ? 13 : 12), " \t")).len;
    begin_head(&h->server);
}

// ----------------------------------------------------------------------------------------- bodies

static void body_done(struct http_observer *o, struct side *s)
{
    struct http_exchange *x = s->exchange;

    s->place = AT_START;
    s->exchange = NULL;
    s->head_len = 0;
    if (o->in.from_server)
        x->response_done = true;
    else
        x->request_done = true;
    exchange_end_if_done(o, x);
}

static void begin_body(struct http_observer *o, struct side *s)
{
    s->head_len = 0;
    if (s->is_chunked)
        s->place = AT_CHUNK_SIZE;
    else if (s->length > 0 && !s->has_coding)
        s->place = IN_BODY;
    else
        body_done(o, s);
    s->left = s->length;
}

static void request_head_done(struct http_observer *o)
{
    struct http1 *h = o->one;
    struct http_exchange *x = NULL;
    struct http_event *ev = NULL;

    if (o->open_count >= HTTP_PIPELINE_MAX) {
        let_go(o, "more than 64 requests without a response");
        return;
    }
    if (h->client.has_coding && !h->client.is_chunked) {
        let_go(o, "a request whose end cannot be told");
        return;
    }
    x = h->client.exchange = exchange_new(o);
    x->requested_at = h->begun;
    ev = event_put(o, HTTP_EV_REQUEST, x);
    ev->version = h->version;
    ev->method = (struct str){o->method, h->method_len};
    ev->client = (struct str){o->client, h->client_len};
    x->is_head = str_is(ev->method, "HEAD");
    x->is_connect = str_is(ev->method, "CONNECT");
    begin_body(o, &h->client);
}

// From here on the connection is no HTTP any more.
static void switched(struct http_observer *o, struct http_exchange *x)
{
    exchange_end(o, x, false);
    let_go(o, "switched to another protocol");
}

static void response_head_done(struct http_observer *o)
{
    struct http1 *h = o->one;
    struct side *s = &h->server;
    struct http_exchange *x = s->exchange = o->first;
    bool has_switched = h->status == 101 || (x->is_connect && h->status / 100 == 2);

    if (h->status / 100 == 1 && !has_switched) {
        s->place = AT_START;
        s->head_len = 0;
        return;
    }
    exchange_responded(o, x, h->status);
    o->events[o->event_count - 1].reason = (struct str){o->reason, h->reason_len};
    if (has_switched) {
        switched(o, x);
    } else if (x->is_head || h->status == 204 || h->status == 304) {
        body_done(o, s);
    } else if (s->is_chunked || (s->length != NO_LENGTH && !s->has_coding)) {
        begin_body(o, s);
    } else {
        s->place = TO_THE_END;
        x->ends_with_connection = true;
    }
}

static void count_octets(struct http_observer *o, struct side *s, size_t len)
{
    if (o->in.from_server)
        s->exchange->response_octets += len;
    else
        s->exchange->request_octets += len;
    o->in.at += len;
}

static void take_body(struct http_observer *o, struct side *s)
{
    size_t len = (size_t)(o->in.end - o->in.at);

    if (s->place != TO_THE_END && (int64_t)len > s->left)
        len = (size_t)s->left;
    count_octets(o, s, len);
    if (s->place == TO_THE_END)
        return;
    s->left -= (int64_t)len;
    if (s->left > 0)
        return;
    if (s->place == IN_CHUNK)
        s->place = AT_CHUNK_END;
    else
        body_done(o, s);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static void read_chunk_size(struct http_observer *o, struct side *s, const struct words *w)
{
    int64_t size = 0;
    size_t at = 0;

    while (at < w->text.len && hex_digit(w->text.ptr[at]) >= 0 && size <= LENGTH_MAX / 16)
        size = size * 16 + hex_digit(w->text.ptr[at++]);
    if (at == 0 || (at < w->text.len && !strchr("; \t", w->text.ptr[at]))) {
        let_go(o, "a chunk whose size cannot be read");
        return;
    }
    s->head_len = 0;
    s->left = size;
    s->place = size > 0 ? IN_CHUNK : IN_TRAILERS;
}

// ------------------------------------------------------------------------------------------- all

static void take_words(struct http_observer *o, struct side *s, const struct words *w)
{
    switch (s->place) {
    case AT_START:
        if (w->len == 0 && !o->in.from_server)
            s->head_len = 0; // an empty line between requests
        else if (o->in.from_server)
            read_status_line(o, w);
        else
            read_request_line(o, w);
        break;
    case IN_HEAD:
        if (w->len > 0)
            read_header(o, s, w);
        else if (o->in.from_server)
            response_head_done(o);
        else
            request_head_done(o);
        break;
    case AT_CHUNK_SIZE:
        read_chunk_size(o, s, w);
        break;
    case AT_CHUNK_END:
        s->place = AT_CHUNK_SIZE;
        if (w->len > 0)
            let_go(o, "a chunk that is longer than it says");
        break;
    case IN_TRAILERS:
        if (w->len == 0)
            body_done(o, s);
        break;
    case IN_BODY:
    case IN_CHUNK:
    case TO_THE_END:
        break;
    }
}

void http1_step(struct http_observer *o)
{
    struct side *s = side_of(o);
    struct words w;

    if (s->place == IN_BODY || s->place == IN_CHUNK || s->place == TO_THE_END) {
        take_body(o, s);
        return;
    }
    if (s->place == AT_START && !s->line && !o->in.from_server)
        o->one->begun = o->in.now;
    if (take_line(o, s, &w))
        take_words(o, s, &w);
    else if (!o->is_ending)
        return;
    free(s->line);
    s->line = NULL;
}
