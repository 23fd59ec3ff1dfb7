// SPDX-License-Identifier: Apache-2.0
#include "http/http.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <time.h>

#include "base/cut.h"
#include "base/mem.h"

// A request is looked at only when its head is whole, and told only when its body is: no state for
// "half a header". What has come and is not used stays in `in`, bounded by the two limits.

struct http_conn {
    struct buf out;
    char *in;
    size_t in_len, in_size, body_max;
    size_t request_len; // of the one that is being answered; 0: none
    bool is_head, keep_alive, is_finished;
    int64_t date; // of answers; 0: none
};

struct http_conn *http_conn_new(struct pool *pool)
{
    struct http_conn *c = xcalloc(1, sizeof(*c));

    buf_init(&c->out, pool);
    c->body_max = HTTP_BODY_MAX;
    return c;
}

void http_conn_limit_body(struct http_conn *c, size_t body_max)
{
    c->body_max = body_max;
}

void http_conn_free(struct http_conn *c)
{
    if (!c)
        return;
    buf_fini(&c->out);
    free(c->in);
    free(c);
}

struct buf *http_conn_output(struct http_conn *c)
{
    return &c->out;
}

bool http_conn_is_finished(const struct http_conn *c)
{
    return c->is_finished;
}

static const char *status_text(int status)
{
    switch (status) {
    case 200:
        return "OK";
    case 400:
        return "Bad Request";
    case 403:
        return "Forbidden";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 413:
        return "Content Too Large";
    case 429:
        return "Too Many Requests";
    case 431:
        return "Request Header Fields Too Large";
    case 500:
        return "Internal Server Error";
    case 501:
        return "Not Implemented";
    case 503:
        return "Service Unavailable";
    default:
        return "Status";
    }
}

static void put(struct http_conn *c, struct str bytes)
{
    if (bytes.len > 0 && !buf_write_reserved(&c->out, bytes.ptr, bytes.len))
        c->is_finished = true;
}

void http_conn_set_date(struct http_conn *c, int64_t now)
{
    c->date = now;
}

// As RFC 9110, 5.6.7 wants it; "" without a time.
static void date_field(const struct http_conn *c, char out[64])
{
    time_t now = (time_t)c->date;
    struct tm tm;

    out[0] = '\0';
    if (c->date != 0 && gmtime_r(&now, &tm))
        strftime(out, 64, "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &tm);
}

void http_conn_respond(struct http_conn *c, int status, const char *type, struct str body)
{
    char head[320], date[64];
    int len;

    date_field(c, date);
    len = snprintf(head, sizeof(head),
                   "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n%s%s\r\n", status,
                   status_text(status), type, body.len, date,
                   c->keep_alive ? "" : "Connection: close\r\n");
    put(c, (struct str){head, (size_t)len});
    if (!c->is_head)
        put(c, body);
    c->is_finished |= !c->keep_alive;
    memmove(c->in, c->in + c->request_len, c->in_len - c->request_len);
    c->in_len -= c->request_len;
    c->request_len = 0;
}

static void refuse(struct http_conn *c, int status, const char *words)
{
    c->keep_alive = c->is_head = false;
    c->request_len = c->in_len;
    http_conn_respond(c, status, "text/plain", str_of(words));
}

size_t http_conn_feed(struct http_conn *c, const uint8_t *data, size_t len)
{
    size_t room = HTTP_HEAD_MAX + c->body_max - c->in_len;

    if (c->is_finished)
        return len; // nobody reads it any more
    if (len > room)
        len = room;
    if (c->in_len + len > c->in_size) {
        c->in_size = (c->in_len + len) * 2;
        c->in = xrealloc(c->in, c->in_size, 1);
    }
    if (len > 0)
        memcpy(c->in + c->in_len, data, len);
    c->in_len += len;
    return len;
}

// Takes a line off the front, without its end.
static struct str take_line(struct str *text)
{
    const char *end = memchr(text->ptr, '\n', text->len);
    struct str line = {text->ptr, end ? (size_t)(end - text->ptr) : text->len};

    *text = str_skip(*text, end ? line.len + 1 : line.len);
    if (line.len > 0 && line.ptr[line.len - 1] == '\r')
        line.len--;
    return line;
}

static struct str take_word(struct str *line)
{
    const char *end = memchr(line->ptr, ' ', line->len);
    struct str word = {line->ptr, end ? (size_t)(end - line->ptr) : line->len};

    *line = str_skip(*line, end ? word.len + 1 : word.len);
    return word;
}

struct head {
    struct str method, target, version, fields;
    size_t body_len;
    bool has_length, keep_alive, is_chunked, is_bad;
};

static void read_length(struct head *h, struct str value)
{
    h->is_bad |= value.len == 0 || value.len > 9 || h->has_length; // two lengths are one too many
    h->has_length = true;
    for (size_t i = 0; i < value.len && !h->is_bad; i++) {
        h->is_bad |= value.ptr[i] < '0' || value.ptr[i] > '9';
        h->body_len = h->body_len * 10 + (size_t)(value.ptr[i] - '0');
    }
}

// False: it is none.
static bool split_field(struct str line, struct str *name, struct str *value)
{
    const char *colon = memchr(line.ptr, ':', line.len);

    if (!colon || colon == line.ptr)
        return false;
    *name = (struct str){line.ptr, (size_t)(colon - line.ptr)};
    *value = str_trim(str_skip(line, name->len + 1), " \t");
    return true;
}

struct str http_request_field(const struct http_request *r, const char *name)
{
    struct str rest = r->fields, found, value;

    while (rest.len > 0)
        if (split_field(take_line(&rest), &found, &value) && str_is_nocase(found, name))
            return value;
    return STR_NONE;
}

static void read_field(struct head *h, struct str line)
{
    struct str name, value;

    if (!split_field(line, &name, &value)) {
        h->is_bad = true;
        return;
    }
    if (str_is_nocase(name, "content-length"))
        read_length(h, value);
    else if (str_is_nocase(name, "transfer-encoding"))
        h->is_chunked = true;
    else if (str_is_nocase(name, "connection"))
        h->keep_alive =
            str_is_nocase(value, "keep-alive") || (h->keep_alive && !str_is_nocase(value, "close"));
}

static struct head read_head(struct str text)
{
    struct head h = {0};
    struct str line = take_line(&text);

    h.method = take_word(&line);
    h.target = take_word(&line);
    h.version = line;
    h.fields = text;
    h.keep_alive = str_is(h.version, "HTTP/1.1");
    h.is_bad = h.method.len == 0 || h.target.len == 0 || h.target.ptr[0] != '/' ||
               !(str_is(h.version, "HTTP/1.1") || str_is(h.version, "HTTP/1.0"));
    while (text.len > 0 && !h.is_bad) {
        line = take_line(&text);
        if (line.len > 0)
            read_field(&h, line);
    }
    return h;
}

// Where the head ends (behind its empty line), or 0.
static size_t head_end(const struct http_conn *c)
{
    for (size_t i = 0; i + 1 < c->in_len; i++) {
        if (c->in[i] == '\n' && c->in[i + 1] == '\n')
            return i + 2;
        if (i + 2 < c->in_len && c->in[i] == '\n' && c->in[i + 1] == '\r' && c->in[i + 2] == '\n')
            return i + 3;
    }
    return 0;
}

bool http_conn_next(struct http_conn *c, struct http_request *out)
{
    size_t end;
    struct head h;
    const char *mark;

    if (c->request_len > 0 || c->is_finished) // what follows the last request is not looked at
        return false;
    end = head_end(c);
    if (end == 0 || end > HTTP_HEAD_MAX) {
        if (end > 0 || c->in_len > HTTP_HEAD_MAX)
            refuse(c, 431, "the request head is larger than 8 KiB\n");
        return false;
    }
    h = read_head((struct str){c->in, end});
    if (h.is_bad || h.is_chunked || h.body_len > c->body_max) {
        refuse(c,
               h.is_bad       ? 400
               : h.is_chunked ? 501
                              : 413,
               h.is_bad       ? "this is no HTTP/1.x request\n"
               : h.is_chunked ? "transfer encodings are not supported\n"
                              : "the body is larger than is allowed here\n");
        return false;
    }
    if (c->in_len < end + h.body_len)
        return false;
    c->request_len = end + h.body_len;
    c->is_head = str_is(h.method, "HEAD");
    c->keep_alive = h.keep_alive;
    mark = memchr(h.target.ptr, '?', h.target.len);
    *out = (struct http_request){
        .method = h.method,
        .path = {h.target.ptr, mark ? (size_t)(mark - h.target.ptr) : h.target.len},
        .query = mark ? str_skip(h.target, (size_t)(mark - h.target.ptr) + 1) : STR_NONE,
        .body = {c->in + end, h.body_len},
        .fields = h.fields,
        .is_head = c->is_head,
    };
    return true;
}
