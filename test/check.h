// SPDX-License-Identifier: Apache-2.0
// A thin layer over cmocka: a test's name is the claim, variations are rows.
//
//     TEST(size_may_be_a_lie) { CHECK_EQ(f(1), 2); CHECK_EQ_FOR(row.why, f(row.in), row.want); }
//     TEST_MAIN(CASE(size_may_be_a_lie), CASE(another))
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"

#define TEST(name) static void name(void **check_state __attribute__((unused)))
#define CASE(name) cmocka_unit_test(name)
#define TEST_MAIN(...)                                                                             \
    int main(void)                                                                                 \
    {                                                                                              \
        const struct CMUnitTest tests[] = {__VA_ARGS__};                                           \
                                                                                                   \
        return cmocka_run_group_tests(tests, NULL, NULL);                                          \
    }

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond))                                                                               \
            fail_msg("%s:%d: not so: %s", __FILE__, __LINE__, #cond);                              \
    } while (0)
#define CHECK_EQ_FOR(why, got, want)                                                               \
    do {                                                                                           \
        long long check_got = (long long)(got), check_want = (long long)(want);                    \
                                                                                                   \
        if (check_got != check_want)                                                               \
            fail_msg("%s:%d: %s: %s is %lld, not %lld", __FILE__, __LINE__, (why), #got,           \
                     check_got, check_want);                                                       \
    } while (0)
#define CHECK_EQ(got, want) CHECK_EQ_FOR("here", got, want)
#define CHECK_STR(got, want)                                                                       \
    do {                                                                                           \
        struct str check_got = (got), check_want = str_of(want);                                   \
                                                                                                   \
        if (!str_eq(check_got, check_want))                                                        \
            fail_msg("%s:%d: %s is \"%.*s\", not \"%.*s\"", __FILE__, __LINE__, #got,              \
                     STR_ARG(check_got), STR_ARG(check_want));                                     \
    } while (0)
