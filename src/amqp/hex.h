// SPDX-License-Identifier: Apache-2.0
// Bytes for tests, written as hex digits, each in memory of exactly its length, so that a sanitizer
// sees a read past the end.
#pragma once

#include <stdlib.h>

#include "check.h"

// The first `len` bytes in memory of their own; free it.
static inline struct str exact_copy(struct str bytes, size_t len)
{
    char *copy = malloc(len > 0 ? len : 1);

    CHECK(copy != NULL && len <= bytes.len);
    if (len > 0)
        memcpy(copy, bytes.ptr, len);
    return (struct str){len > 0 ? copy : copy + 1, len};
}

static inline void exact_free(struct str s)
{
    free((char *)(uintptr_t)s.ptr - (s.len > 0 ? 0 : 1));
}

// Pairs of digits; spaces are for the eye.
static inline struct str unhex(const char *digits)
{
    char bytes[4096];
    size_t len = 0;
    unsigned octet;
    int used;

    while (sscanf(digits, " %2x%n", &octet, &used) == 1) {
        CHECK(len < sizeof(bytes));
        bytes[len++] = (char)octet;
        digits += used;
    }
    return exact_copy((struct str){bytes, len}, len);
}

#define CHECK_BYTES_FOR(why, got, want)                                                            \
    do {                                                                                           \
        struct str bytes_got = (got), bytes_want = (want);                                         \
        size_t bytes_at = 0;                                                                       \
                                                                                                   \
        while (bytes_at < bytes_got.len && bytes_at < bytes_want.len &&                            \
               bytes_got.ptr[bytes_at] == bytes_want.ptr[bytes_at])                                \
            bytes_at++;                                                                            \
        if (bytes_got.len != bytes_want.len || bytes_at < bytes_got.len)                           \
            fail_msg("%s:%d: %s: %zu bytes, not %zu, and other from byte %zu on", __FILE__,        \
                     __LINE__, (why), bytes_got.len, bytes_want.len, bytes_at);                    \
    } while (0)
