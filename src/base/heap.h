// SPDX-License-Identifier: Apache-2.0
// A heap of deadlines. The node lives inside what it times; its owner keeps it.
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/mono.h"

struct timer {
    struct mono at;
    size_t place; // index in the heap + 1; 0 when not armed
};

struct heap {
    struct timer **nodes;
    size_t count, size;
};

void heap_init(struct heap *h);
void heap_fini(struct heap *h);
// Arms, or moves, the timer. MONO_NEVER disarms.
void heap_set(struct heap *h, struct timer *t, struct mono at);
void heap_cancel(struct heap *h, struct timer *t);
// The earliest deadline, MONO_NEVER when there is none.
struct mono heap_deadline(const struct heap *h);
// Disarms and returns the earliest timer if it is due at `now`, else NULL.
struct timer *heap_pop_due(struct heap *h, struct mono now);
