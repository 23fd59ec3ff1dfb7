// SPDX-License-Identifier: Apache-2.0
// Texts cut into pieces, none of them copied: each is a window onto the text that was given.
#pragma once

#include "base/str.h"

// The piece in front of the first `at`, or all of it; *rest is what stands behind.
static inline struct str str_cut(struct str *rest, char at)
{
    const char *end = rest->len > 0 ? memchr(rest->ptr, at, rest->len) : NULL;
    struct str piece = {rest->ptr, end ? (size_t)(end - rest->ptr) : rest->len};

    *rest = str_skip(*rest, piece.len + (end != NULL));
    return piece;
}

// Without what of these characters (" \t") stands at its ends.
static inline struct str str_trim(struct str s, const char *of)
{
    while (s.len > 0 && s.ptr[0] != '\0' && strchr(of, s.ptr[0]))
        s = str_skip(s, 1);
    while (s.len > 0 && s.ptr[s.len - 1] != '\0' && strchr(of, s.ptr[s.len - 1]))
        s.len--;
    return s;
}
