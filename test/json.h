// SPDX-License-Identifier: Apache-2.0
// JSON as tests write it: 'x' stands for "x".
#pragma once

#include <jansson.h>
#include <stdlib.h>

#include "base/mem.h"
#include "check.h"

// The text with the quotes that JSON has; the caller's.
static inline char *quoted(const char *text)
{
    char *copy = xstrdup(text);

    for (char *p = copy; *p; p++)
        if (*p == '\'')
            *p = '"';
    return copy;
}

// The value; a new reference. What is no JSON fails the test.
static inline json_t *json_of(const char *text)
{
    char *copy = quoted(text);
    json_error_t error;
    json_t *v = json_loads(copy, JSON_DECODE_ANY, &error);

    if (!v)
        fail_msg("not JSON: %s in %s", error.text, copy);
    free(copy);
    return v;
}

// All of it in one line, members in order; the caller's.
static inline char *json_text(const json_t *v)
{
    return json_dumps(v, JSON_SORT_KEYS | JSON_COMPACT | JSON_ENCODE_ANY);
}

#define CHECK_JSON(got, want) check_json(__FILE__, __LINE__, got, want)
static inline void check_json(const char *file, int line, const json_t *got, const char *want)
{
    json_t *wanted = json_of(want);

    if (!json_equal(got, wanted)) {
        char *a = json_text(got), *b = json_text(wanted);

        fail_msg("%s:%d: is\n%s, not\n%s", file, line, a ? a : "nothing", b);
    }
    json_decref(wanted);
}
