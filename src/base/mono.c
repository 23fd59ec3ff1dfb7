// SPDX-License-Identifier: Apache-2.0
#include "base/mono.h"

#include <time.h>

struct mono mono_now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (struct mono){ts.tv_sec * NS_PER_S + ts.tv_nsec};
}
