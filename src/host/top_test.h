// SPDX-License-Identifier: Apache-2.0
// A directory for the tests of one program, which goes away with all that is in it.
#pragma once

#include <stdlib.h>

#include "check.h"
#include "host/host.h"

static char top[] = "/tmp/skupper-host-XXXXXX";

static inline int top_make(void **state)
{
    (void)state;
    return mkdtemp(top) ? 0 : -1;
}

static inline int top_remove(void **state)
{
    (void)state;
    return host_remove(top, NULL);
}

// As TEST_MAIN.
#define TOP_TEST_MAIN(...)                                                                         \
    int main(void)                                                                                 \
    {                                                                                              \
        const struct CMUnitTest tests[] = {__VA_ARGS__};                                           \
                                                                                                   \
        return cmocka_run_group_tests(tests, top_make, top_remove);                                \
    }
