// SPDX-License-Identifier: Apache-2.0
// Observed traffic: however it is cut, the same story; and what was begun is ended. The input is a
// row of pieces: an octet (direction, length) and what is said.
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "http/observe_story.h"

enum { INPUT_MAX = 4096 };

static struct story *tell(const uint8_t *data, size_t len, size_t step)
{
    struct story *s = calloc(1, sizeof(*s));
    size_t at = 1;

    assert(s != NULL);
    s->o = http_observer_new((enum http_observe)(data[0] % 3));
    while (at < len) {
        bool from_server = data[at] & 1;
        size_t piece = (size_t)(data[at] >> 1) * 4 + 1;

        at++;
        piece = piece < len - at ? piece : len - at;
        story_feed(s, from_server, (struct str){(const char *)data + at, piece}, step);
        at += piece;
    }
    story_end(s);
    assert(s->requests == s->ends);
    return s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct story *whole, *cut;

    if (len < 1 || len > INPUT_MAX)
        return 0;
    whole = tell(data, len, INPUT_MAX);
    cut = tell(data, len, 1 + data[0] % 7);
    assert(strcmp(whole->text, cut->text) == 0);
    free(whole);
    free(cut);
    return 0;
}
