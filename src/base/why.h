// SPDX-License-Identifier: Apache-2.0
// Words for a person: what happened, where, why, and what to do next. Filled where the failure is
// understood best, shown where the person is.
#pragma once

#include "base/attr.h"

enum { WHY_MAX = 512 };

struct why {
    char text[WHY_MAX];
};

// Replaces the text; cut at WHY_MAX - 1 bytes. `why` may be NULL: then nobody asked.
void why_set(struct why *why, const char *fmt, ...) PRINTF_LIKE(2, 3);
// Puts "prefix: " in front of what is there. `why` may be NULL.
void why_prefix(struct why *why, const char *fmt, ...) PRINTF_LIKE(2, 3);
