// SPDX-License-Identifier: Apache-2.0
#include "node/cpus.h"

#include "check.h"

TEST(a_quota_is_rounded_up_to_whole_cpus)
{
    static const struct {
        const char *text;
        int want;
    } rows[] = {
        {"200000 100000", 2}, {"150000 100000", 2}, {"50000 100000", 1}, {"max 100000", 0}, {"", 0},
        {"-1 100000", 0},     {"100000 0", 0},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        CHECK_EQ_FOR(rows[i].text, cpus_of_quota(rows[i].text), rows[i].want);
}

TEST(there_is_always_a_cpu)
{
    CHECK(cpus_usable() >= 1);
}

TEST_MAIN(CASE(a_quota_is_rounded_up_to_whole_cpus), CASE(there_is_always_a_cpu))
