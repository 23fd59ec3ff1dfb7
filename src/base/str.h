// SPDX-License-Identifier: Apache-2.0
// Text or bytes as pointer and length; borrowed, not NUL-terminated.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "base/attr.h"

struct str {
    const char *ptr;
    size_t len;
};

// For printf's "%.*s".
#define STR_ARG(s) (int)(s).len, (s).ptr
#define STR(literal) ((struct str){"" literal, sizeof(literal) - 1})
#define STR_NONE ((struct str){NULL, 0})

// A view of a NUL-terminated text; NULL gives STR_NONE.
static inline struct str str_of(const char *text)
{
    return (struct str){text, text ? strlen(text) : 0};
}

static inline bool str_eq(struct str a, struct str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

static inline bool str_is(struct str a, const char *text)
{
    return str_eq(a, str_of(text));
}

// Bytewise order, shorter first among equals: <0, 0, >0.
int str_cmp(struct str a, struct str b);

static inline bool str_starts(struct str s, struct str prefix)
{
    return s.len >= prefix.len && (prefix.len == 0 || memcmp(s.ptr, prefix.ptr, prefix.len) == 0);
}

// Case-insensitive in ASCII.
bool str_is_nocase(struct str a, const char *text);

static inline struct str str_skip(struct str s, size_t len)
{
    return (struct str){s.ptr + len, s.len - len};
}

// A NUL-terminated copy; the caller frees it. Bytes 0 inside are kept.
char *str_dup(struct str s);
// printf into fresh memory; the caller frees it. Ends the process when there is no memory.
char *str_fmt(const char *fmt, ...) PRINTF_LIKE(1, 2);
