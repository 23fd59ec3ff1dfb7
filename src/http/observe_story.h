// SPDX-License-Identifier: Apache-2.0
// What an observer tells, as lines of text. For tests and fuzzing.
#pragma once

#include <stdio.h>
#include <string.h>

#include "http/http.h"

enum { STORY_MAX = 1 << 16 };

struct story {
    struct http_observer *o;
    size_t len, requests, ends;
    char text[STORY_MAX];
};

static inline void story_line(struct story *s, const struct http_event *ev)
{
    const struct http_exchange *x = ev->exchange;
    char *at = s->text + s->len;
    size_t room = sizeof(s->text) - s->len;
    int len = 0;

    switch (ev->type) {
    case HTTP_EV_REQUEST:
        s->requests++;
        len = snprintf(at, room, "%u> %.*s %s%s%.*s\n", x->stream, STR_ARG(ev->method), ev->version,
                       ev->client.len ? " for " : "", STR_ARG(ev->client));
        break;
    case HTTP_EV_RESPONSE:
        len = snprintf(at, room, "%u< %u %.*s\n", x->stream, x->status, STR_ARG(ev->reason));
        break;
    case HTTP_EV_END:
        s->ends++;
        len = snprintf(at, room, "%u. %u: %zu %zu%s\n", x->stream, x->status,
                       (size_t)x->request_octets, (size_t)x->response_octets,
                       x->is_cut ? " cut" : "");
        break;
    case HTTP_EV_OFF:
        len = snprintf(at, room, "off: %s\n", ev->why);
        break;
    }
    s->len += len > 0 && (size_t)len < room ? (size_t)len : 0;
}

static inline void story_poll(struct story *s)
{
    struct http_event ev;

    while (http_observer_next(s->o, &ev))
        story_line(s, &ev);
}

// In pieces of at most `step` octets.
static inline void story_feed(struct story *s, bool from_server, struct str data, size_t step)
{
    for (size_t at = 0; at < data.len; at += step) {
        size_t len = data.len - at < step ? data.len - at : step;

        http_observer_feed(s->o, from_server, (const uint8_t *)data.ptr + at, len,
                           (struct mono){NS_PER_S});
        story_poll(s);
    }
}

static inline void story_end(struct story *s)
{
    http_observer_end(s->o);
    story_poll(s);
    http_observer_free(s->o);
}
