// SPDX-License-Identifier: Apache-2.0
// Help with words that people and peers send: the nearest known one, and text that is safe to show.
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

// Finds what was probably meant by an unknown word. Fill `word`, offer all known ones, read `best`:
// NULL when none is near.
struct nearest {
    struct str word;
    const char *best;
    int distance;
};

void nearest_offer(struct nearest *n, const char *candidate);

// Octets at the front of `text` that are whole UTF-8 characters.
size_t utf8_valid_len(struct str text);
// Replaces what is no UTF-8 in a NUL-terminated text by '?', so that it may stand in an AMQP
// string.
void utf8_clean(char *text);

enum { SHOWN_LEN = 60 };
// For printf's "%.*s": at most the first SHOWN_LEN octets, so that the words behind it stay in
// view.
static inline struct str shown(struct str text)
{
    if (text.len > SHOWN_LEN)
        text.len = SHOWN_LEN;
    return text.ptr ? text : (struct str){"", 0};
}
