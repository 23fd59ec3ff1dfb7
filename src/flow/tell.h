// SPDX-License-Identifier: Apache-2.0
// A value of JSON told member by member: as text in pieces, or built. Inside the folder flow only.
#pragma once

#include <jansson.h>

#include "flow/flow.h"

enum { TELL_DEPTH = 8, TELL_PIECE = 4096 };

struct teller {
    // As text: compact, and of printable ASCII alone. NULL: it is built.
    void (*put)(void *user, struct str piece);
    void *user;
    char piece[TELL_PIECE];
    size_t len;
    bool has_before; // a member before the next one
    // Built: what is open, the outermost first.
    json_t *open[TELL_DEPTH];
    char closing[TELL_DEPTH];
    int depth;
};

// `key` is NULL in an array, and for the outermost.
void tell_open(struct teller *t, const char *key, char bracket); // '{' or '['
void tell_close(struct teller *t);
// Not at all when it is empty. What is no UTF-8 has '?' for its odd octets.
void tell_text(struct teller *t, const char *key, struct str text);
void tell_number(struct teller *t, const char *key, uint64_t number);
void tell_null(struct teller *t, const char *key);
// Everything is closed: the rest of the text goes out, or this is the value.
json_t *tell_end(struct teller *t);
