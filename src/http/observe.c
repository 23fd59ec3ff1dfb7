// SPDX-License-Identifier: Apache-2.0
#include "http/observe.h"

#include <stdlib.h>

#include "base/cut.h"
#include "base/mem.h"
#include "http/inside.h"

// What the two observers have in common. One step at a time takes octets from the input and may
// leave up to a few events; they are told before the next step. So nothing is queued, however many
// requests one read may hold.
//
//   observe.c   the decision, exchanges, events
//   observe1.c  HTTP/1: lines and bodies
//   observe2.c  HTTP/2: frames; header blocks through nghttp2's HPACK decoder
//
// A server that speaks before its client can only be one of HTTP/2, so its octets go there; if the
// client then turns out to speak anything else, the connection is let go.

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
enum { PREFACE_LEN = sizeof(preface) - 1 };

struct http_observer *http_observer_new(enum http_observe how)
{
    struct http_observer *o = xcalloc(1, sizeof(*o));

    if (how == HTTP_OBSERVE_1)
        o->one = http1_new();
    else if (how == HTTP_OBSERVE_2)
        o->two = http2_new();
    return o;
}

static void free_parsers(struct http_observer *o)
{
    http1_free(o->one);
    http2_free(o->two);
    o->one = NULL;
    o->two = NULL;
}

static void free_ended(struct http_observer *o)
{
    free(o->ended);
    o->ended = NULL;
}

void http_observer_free(struct http_observer *o)
{
    if (!o)
        return;
    free_parsers(o);
    free_ended(o);
    while (o->first) {
        struct http_exchange *x = o->first;

        o->first = x->next;
        free(x);
    }
    free(o);
}

bool http_observer_is_off(const struct http_observer *o)
{
    return o->is_off;
}

// ------------------------------------------------------------------------------------- exchanges

struct http_exchange *exchange_new(struct http_observer *o)
{
    struct http_exchange *x = xcalloc(1, sizeof(*x));

    x->requested_at = o->in.now;
    if (o->last)
        o->last->next = x;
    else
        o->first = x;
    o->last = x;
    o->open_count++;
    return x;
}

struct http_event *event_put(struct http_observer *o, enum http_event_type type,
                             struct http_exchange *x)
{
    struct http_event *ev = &o->events[o->event_count++];

    *ev = (struct http_event){.type = type, .exchange = x};
    return ev;
}

void exchange_responded(struct http_observer *o, struct http_exchange *x, uint16_t status)
{
    struct http_event *ev = event_put(o, HTTP_EV_RESPONSE, x);
    int64_t ns = o->in.now.ns - x->requested_at.ns;

    x->status = status;
    ev->latency_us = ns > 0 ? (uint64_t)ns / 1000 : 0;
}

void exchange_end(struct http_observer *o, struct http_exchange *x, bool is_cut)
{
    struct http_exchange **link = &o->first, *before = NULL;

    while (*link != x) {
        before = *link;
        link = &before->next;
    }
    *link = x->next;
    if (o->last == x)
        o->last = before;
    o->open_count--;
    x->is_cut = is_cut;
    o->ended = x; // one step ends one at most
    event_put(o, HTTP_EV_END, x);
}

void exchange_end_if_done(struct http_observer *o, struct http_exchange *x)
{
    if (x->request_done && x->response_done)
        exchange_end(o, x, false);
}

void let_go(struct http_observer *o, const char *why)
{
    o->is_ending = true;
    o->why = why;
    o->in.at = o->in.end;
}

struct str text_keep(char to[TEXT_MAX], struct str text)
{
    size_t len = text.len < TEXT_MAX ? text.len : TEXT_MAX;

    if (len > 0)
        memcpy(to, text.ptr, len);
    return (struct str){to, len};
}

static struct str up_to(struct str s, const char *stops)
{
    size_t len = 0;

    while (len < s.len && !strchr(stops, s.ptr[len]))
        len++;
    return (struct str){s.ptr, len};
}

// Forwarded: for=192.0.2.60;proto=http, for="[2001:db8::1]:47011"
static struct str forwarded_for(struct str value)
{
    struct str element = up_to(value, ","), pair;

    while (element.len > 0) {
        pair = up_to(element, ";");
        element = str_skip(element, pair.len < element.len ? pair.len + 1 : pair.len);
        pair = str_trim(pair, " \t");
        if (pair.len > 4 && str_is_nocase((struct str){pair.ptr, 4}, "for=")) {
            pair = str_skip(pair, 4);
            if (pair.ptr[0] == '"')
                pair = up_to(str_skip(pair, 1), "\"");
            return pair;
        }
    }
    return STR_NONE;
}

struct str first_address(struct str value, bool is_forwarded)
{
    struct str address = is_forwarded ? forwarded_for(value) : str_trim(up_to(value, ","), " \t");

    return address.len <= TEXT_MAX ? address : STR_NONE;
}

// -------------------------------------------------------------------------------------- decision

// The client has not said enough to tell. What it has said is the beginning of the preface.
static void decide(struct http_observer *o)
{
    if (o->in.from_server) {
        o->two = http2_new();
        return;
    }
    while (o->in.at < o->in.end && o->preface_len < PREFACE_LEN &&
           *o->in.at == (uint8_t)preface[o->preface_len]) {
        o->in.at++;
        o->preface_len++;
    }
    if (o->preface_len == PREFACE_LEN || o->in.at == o->in.end)
        return;
    if (o->two) {
        let_go(o, "the client does not speak HTTP/2");
        return;
    }
    o->one = http1_new();
}

// What looked like a preface was the beginning of an HTTP/1 request line.
static void replay(struct http_observer *o)
{
    struct input rest = o->in;

    o->in.at = (const uint8_t *)preface;
    o->in.end = o->in.at + o->preface_len;
    o->preface_len = 0;
    while (o->in.at < o->in.end && !o->is_ending)
        http1_step(o);
    if (o->is_ending)
        return;
    o->in = rest;
}

static void step(struct http_observer *o)
{
    bool is_undecided = !o->one && (!o->two || !o->in.from_server) && o->preface_len < PREFACE_LEN;

    if (is_undecided) {
        decide(o);
        if (o->preface_len == PREFACE_LEN && !o->two)
            o->two = http2_new();
        if (o->one)
            replay(o);
    } else if (o->one) {
        http1_step(o);
    } else {
        http2_step(o);
    }
}

// ----------------------------------------------------------------------------------------- events

void http_observer_feed(struct http_observer *o, bool from_server, const uint8_t *data, size_t len,
                        struct mono now)
{
    if (!o->is_off && !o->is_ending)
        o->in = (struct input){data, data + len, from_server, now};
}

void http_observer_end(struct http_observer *o)
{
    if (!o->is_off && !o->is_ending)
        let_go(o, NULL);
}

static bool wind_up(struct http_observer *o)
{
    if (o->is_off)
        return false;
    free_parsers(o);
    if (o->first) {
        struct http_exchange *x = o->first;
        // A response without a length ends with its connection.
        bool is_whole = !o->why && x->request_done && x->ends_with_connection;

        exchange_end(o, x, !is_whole);
        return true;
    }
    o->is_off = true;
    if (!o->why)
        return false;
    event_put(o, HTTP_EV_OFF, NULL)->why = o->why;
    return true;
}

bool http_observer_next(struct http_observer *o, struct http_event *ev)
{
    if (o->event_at == o->event_count) {
        free_ended(o);
        o->event_at = o->event_count = 0;
        while (o->event_count == 0 && !o->is_ending && o->in.at < o->in.end)
            step(o);
        if (o->event_count == 0 && (!o->is_ending || !wind_up(o)))
            return false;
    }
    *ev = o->events[o->event_at++];
    return true;
}
