// SPDX-License-Identifier: Apache-2.0
// The time of day. It may be set at any moment: how long something takes is not measured by it
// (base/mono.h).
#pragma once

#include <stdint.h>
#include <time.h>

// Seconds since the epoch. Only shells ask; engines are told the time.
static inline int64_t wall_s(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec;
}
