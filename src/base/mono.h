// SPDX-License-Identifier: Apache-2.0
// Monotonic time in nanoseconds, wrapped so that it is never mixed up with a length or a count.
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct mono {
    int64_t ns;
};

#define MONO_NEVER ((struct mono){INT64_MAX})
#define NS_PER_MS INT64_C(1000000)
#define NS_PER_S INT64_C(1000000000)

static inline bool mono_before(struct mono a, struct mono b)
{
    return a.ns < b.ns;
}

static inline struct mono mono_min(struct mono a, struct mono b)
{
    return a.ns < b.ns ? a : b;
}

// `t` and some milliseconds; stays MONO_NEVER when it is, or would pass it.
static inline struct mono mono_add_ms(struct mono t, int64_t ms)
{
    struct mono sum;

    if (__builtin_mul_overflow(ms, NS_PER_MS, &sum.ns) ||
        __builtin_add_overflow(sum.ns, t.ns, &sum.ns))
        return MONO_NEVER;
    return sum;
}

// Whole milliseconds from `from` to `to`; negative when `to` is earlier.
static inline int64_t mono_ms_between(struct mono from, struct mono to)
{
    return (to.ns - from.ns) / NS_PER_MS;
}

// The clock of this machine. Only shells call it; engines are told the time.
struct mono mono_now(void);
