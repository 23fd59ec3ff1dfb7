// SPDX-License-Identifier: Apache-2.0
#include <nghttp2/nghttp2.h>
#include <stdlib.h>

#include "base/mem.h"
#include "http/inside.h"

// HTTP/2. Frames are cut by our own few lines; header blocks go through nghttp2's HPACK decoder,
// one for each direction, whose memory is counted: when it wants more than its share the connection
// is let go. Only the head of a frame and what is read of a header block is kept.

enum {
    FRAME_HEAD = 9,
    HPACK_MEMORY = 18 * 1024, // of both decoders
    BLOCK_MAX = 256 * 1024,   // octets of one header block; with more it lets go

};

enum { DATA = 0, HEADERS = 1, RST_STREAM = 3, SETTINGS = 4, PUSH_PROMISE = 5, CONTINUATION = 9 };
enum { END_STREAM = 1, END_HEADERS = 4, PADDED = 8, PRIORITY = 32 };

// One direction.
struct way {
    nghttp2_hd_inflater *inflater;
    uint8_t head[FRAME_HEAD];
    uint8_t head_len;
    bool has_begun;  // its SETTINGS have come
    bool is_padded;  // the length of the padding is still to come
    bool in_block;   // CONTINUATION must follow
    bool ends;       // the frame that began the block ends its stream
    bool is_ignored; // the block is decoded for its effects only
    uint8_t type, flags;
    uint8_t skip;           // octets in front of the fragment
    uint32_t stream;        // of the frame
    uint32_t block_stream;  // of the block
    uint32_t left, padding; // octets of the frame still to come; the last of them are padding
    size_t block_len;
    // of the block being read
    char method[TEXT_MAX], client[TEXT_MAX];
    uint8_t method_len, client_len;
    uint16_t status;
};

struct http2 {
    struct way client, server;
    nghttp2_mem mem;
    size_t used; // by the decoders
    uint32_t last_stream;
    struct http_exchange *recent; // looked up last
};

// ---------------------------------------------------------------------------------------- memory

struct counted {
    size_t size;
    max_align_t data[];
};

static void *count_realloc(void *ptr, size_t size, void *user)
{
    struct http2 *h = user;
    struct counted *c = ptr ? (struct counted *)(void *)((char *)ptr - sizeof(*c)) : NULL;
    size_t before = c ? c->size : 0;

    if (h->used - before + size + sizeof(*c) > HPACK_MEMORY)
        return NULL;
    c = xrealloc(c, 1, size + sizeof(*c));
    h->used = h->used - before + size + sizeof(*c);
    c->size = size + sizeof(*c);
    return c->data;
}

static void *count_malloc(size_t size, void *user)
{
    return count_realloc(NULL, size, user);
}

static void *count_calloc(size_t count, size_t size, void *user)
{
    void *ptr = count_realloc(NULL, count * size, user);

    return ptr ? memset(ptr, 0, count * size) : NULL;
}

static void count_free(void *ptr, void *user)
{
    struct http2 *h = user;
    struct counted *c = ptr ? (struct counted *)(void *)((char *)ptr - sizeof(*c)) : NULL;

    if (!c)
        return;
    h->used -= c->size;
    free(c);
}

_Static_assert(HPACK_MEMORY + sizeof(struct http2) + sizeof(struct http_observer) +
                       HTTP_STREAMS_MAX * (sizeof(struct http_exchange) + sizeof(max_align_t)) <=
                   HTTP_OBSERVER_MEMORY,
               "memory of an observer");

struct http2 *http2_new(void)
{
    struct http2 *h = xcalloc(1, sizeof(*h));

    h->mem = (nghttp2_mem){h, count_malloc, count_free, count_calloc, count_realloc};
    nghttp2_hd_inflate_new2(&h->client.inflater, &h->mem);
    nghttp2_hd_inflate_new2(&h->server.inflater, &h->mem);
    return h;
}

void http2_free(struct http2 *h)
{
    if (!h)
        return;
    if (h->client.inflater)
        nghttp2_hd_inflate_del(h->client.inflater);
    if (h->server.inflater)
        nghttp2_hd_inflate_del(h->server.inflater);
    free(h);
}

// ---------------------------------------------------------------------------------------- streams

static struct http_exchange *find(struct http_observer *o, uint32_t stream)
{
    struct http_exchange *x = o->two->recent;

    if (x && x->stream == stream)
        return x;
    for (x = o->first; x && x->stream != stream; x = x->next)
        ;
    o->two->recent = x;
    return x;
}

static void end_if_done(struct http_observer *o, struct http_exchange *x)
{
    if (!x->request_done || !x->response_done)
        return;
    o->two->recent = NULL;
    exchange_end(o, x, false);
}

static void stream_ends(struct http_observer *o, struct http_exchange *x)
{
    if (o->in.from_server)
        x->response_done = true;
    else
        x->request_done = true;
    end_if_done(o, x);
}

static void requested(struct http_observer *o, struct way *w)
{
    struct http_exchange *x = NULL;
    struct http_event *ev = NULL;

    if (w->block_stream <= o->two->last_stream || w->block_stream % 2 == 0)
        return; // trailers of one that is passed over
    o->two->last_stream = w->block_stream;
    if (w->method_len == 0 || o->open_count >= HTTP_STREAMS_MAX)
        return;
    x = exchange_new(o);
    x->stream = w->block_stream;
    ev = event_put(o, HTTP_EV_REQUEST, x);
    ev->version = "HTTP/2";
    ev->method = text_keep(o->method, (struct str){w->method, w->method_len});
    ev->client = text_keep(o->client, (struct str){w->client, w->client_len});
}

static void block_done(struct http_observer *o, struct way *w)
{
    struct http_exchange *x = NULL;

    if (w->is_ignored)
        return;
    x = find(o, w->block_stream);
    if (!o->in.from_server && !x) {
        requested(o, w);
        x = find(o, w->block_stream);
    } else if (x && o->in.from_server && x->status == 0 && w->status >= 200) {
        exchange_responded(o, x, w->status);
    }
    if (x && w->ends)
        stream_ends(o, x);
}

// ---------------------------------------------------------------------------------------- blocks

static uint16_t read_status(const nghttp2_nv *nv)
{
    uint16_t status = 0;

    for (size_t i = 0; i < nv->valuelen && i < 3; i++)
        status = (uint16_t)(status * 10 + (nv->value[i] - '0') % 10);
    return status;
}

static void take_header(struct way *w, const nghttp2_nv *nv)
{
    struct str name = {(const char *)nv->name, nv->namelen};
    struct str value = {(const char *)nv->value, nv->valuelen};

    if (str_is(name, ":method"))
        w->method_len = (uint8_t)text_keep(w->method, value).len;
    else if (str_is(name, ":status"))
        w->status = read_status(nv);
    else if (w->client_len > 0)
        return;
    else if (str_is(name, "x-forwarded-for") || str_is(name, "forwarded"))
        w->client_len = (uint8_t)text_keep(w->client, first_address(value, name.len == 9)).len;
}

// A piece of a header block; `last`: it ends with it.
static void inflate(struct http_observer *o, struct way *w, const uint8_t *data, size_t len,
                    bool last)
{
    w->block_len += len;
    if (w->block_len > BLOCK_MAX || !w->inflater) {
        let_go(o, "a header block of more than 256 KiB");
        return;
    }
    for (;;) {
        nghttp2_nv nv;
        int flags = 0;
        ssize_t used = nghttp2_hd_inflate_hd2(w->inflater, &nv, &flags, data, len, last);

        if (used < 0) {
            let_go(o, used == NGHTTP2_ERR_NOMEM ? "header tables that take too much memory"
                                                : "a header block that cannot be decoded");
            return;
        }
        data += used;
        len -= (size_t)used;
        if (flags & NGHTTP2_HD_INFLATE_EMIT)
            take_header(w, &nv);
        if (flags & NGHTTP2_HD_INFLATE_FINAL) {
            nghttp2_hd_inflate_end_headers(w->inflater);
            return;
        }
        if (!(flags & NGHTTP2_HD_INFLATE_EMIT) && len == 0)
            return;
    }
}

// ---------------------------------------------------------------------------------------- frames

static bool is_block(const struct way *w)
{
    return w->type == HEADERS || w->type == PUSH_PROMISE || w->type == CONTINUATION;
}

static void frame_done(struct http_observer *o, struct way *w)
{
    struct http_exchange *x = NULL;

    w->head_len = 0;
    if (is_block(w) && w->flags & END_HEADERS) {
        w->in_block = false;
        inflate(o, w, NULL, 0, true);
        if (!o->is_ending)
            block_done(o, w);
        return;
    }
    if (w->type != DATA && w->type != RST_STREAM)
        return;
    x = find(o, w->stream);
    if (x && w->type == RST_STREAM) {
        o->two->recent = NULL;
        exchange_end(o, x, true);
    } else if (x && w->flags & END_STREAM) {
        stream_ends(o, x);
    }
}

static void begin_block(struct way *w)
{
    w->in_block = true;
    w->ends = w->flags & END_STREAM && w->type == HEADERS;
    w->is_ignored = w->type == PUSH_PROMISE;
    w->block_stream = w->stream;
    w->block_len = 0;
    w->method_len = w->client_len = 0;
    w->status = 0;
}

static const char *fault_of(const struct way *w)
{
    if (!w->has_begun && w->type != SETTINGS)
        return "not HTTP/2";
    if (w->in_block != (w->type == CONTINUATION) || (w->in_block && w->stream != w->block_stream))
        return "a header block that is interrupted";
    return is_block(w) && w->stream == 0 ? "a header block without a stream" : NULL;
}

static void frame_begins(struct http_observer *o, struct way *w)
{
    const uint8_t *h = w->head;
    const char *fault = NULL;

    w->left = (uint32_t)(h[0] << 16 | h[1] << 8 | h[2]);
    w->type = h[3];
    w->flags = h[4];
    w->stream = (uint32_t)(h[5] & 0x7f) << 24 | (uint32_t)(h[6] << 16 | h[7] << 8 | h[8]);
    w->padding = 0;
    w->skip = 0;
    w->is_padded =
        w->flags & PADDED && (w->type == DATA || w->type == HEADERS || w->type == PUSH_PROMISE);
    fault = fault_of(w);
    if (fault) {
        let_go(o, fault);
        return;
    }
    w->has_begun = true;
    if (w->type == PUSH_PROMISE)
        w->skip = 4; // the promised stream
    else if (w->type == HEADERS && w->flags & PRIORITY)
        w->skip = 5;
    if (w->type == HEADERS || w->type == PUSH_PROMISE)
        begin_block(w);
    if ((uint32_t)w->skip + w->is_padded > w->left)
        let_go(o, "a frame that is too short");
    else if (w->left == 0)
        frame_done(o, w);
}

static void take_padding_length(struct http_observer *o, struct way *w)
{
    w->padding = *o->in.at++;
    w->left--;
    w->is_padded = false;
    if (w->padding + w->skip > w->left)
        let_go(o, "more padding than there is room");
}

static void count_octets(struct http_observer *o, struct way *w, size_t len)
{
    struct http_exchange *x = find(o, w->stream);

    if (x && o->in.from_server)
        x->response_octets += len;
    else if (x)
        x->request_octets += len;
}

static void take_payload(struct http_observer *o, struct way *w)
{
    size_t len = (size_t)(o->in.end - o->in.at);
    size_t content = w->left - w->padding;

    if (content == 0) { // the rest is padding
        len = len < w->left ? len : w->left;
        w->padding -= (uint32_t)len;
    } else if (w->skip > 0) {
        len = len < w->skip ? len : w->skip;
        w->skip = (uint8_t)(w->skip - len);
    } else {
        len = len < content ? len : content;
        if (w->type == DATA)
            count_octets(o, w, len);
        else if (is_block(w))
            inflate(o, w, o->in.at, len, false);
    }
    if (o->is_ending)
        return;
    o->in.at += len;
    w->left -= (uint32_t)len;
    if (w->left == 0)
        frame_done(o, w);
}

void http2_step(struct http_observer *o)
{
    struct way *w = o->in.from_server ? &o->two->server : &o->two->client;

    if (w->head_len < FRAME_HEAD) {
        w->head[w->head_len++] = *o->in.at++;
        if (w->head_len == FRAME_HEAD)
            frame_begins(o, w);
    } else if (w->is_padded) {
        take_padding_length(o, w);
        if (!o->is_ending && w->left == 0)
            frame_done(o, w);
    } else {
        take_payload(o, w);
    }
}
