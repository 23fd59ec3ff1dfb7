// SPDX-License-Identifier: Apache-2.0
#include "check.h"

#include "router/core.h"

enum { NUMBERS = 1 << (32 - RA_NUMBER_SHIFT) };

TEST(each_number_of_an_ingress_is_new_once)
{
    struct router r = {0};

    for (uint32_t round = 0; round < 2; round++)
        for (uint32_t i = 1; i <= 300; i++)
            CHECK_EQ(once_is_new(&r, 7, i), round == 0);
    CHECK(once_is_new(&r, 8, 5)); // another ingress counts by itself
    once_forget(&r, 7);
    CHECK(once_is_new(&r, 7, 5));
    once_fini(&r);
}

TEST(disorder_is_no_second_copy)
{
    struct router r = {0};

    for (uint32_t i = 0; i < 20000; i += 2) {
        CHECK(once_is_new(&r, 1, 100 + i + 1));
        CHECK(once_is_new(&r, 1, 100 + i));
        CHECK(!once_is_new(&r, 1, 100 + i));
        CHECK(!once_is_new(&r, 1, 100 + i + 1));
        if (i >= 300)
            CHECK(!once_is_new(&r, 1, 100 + i - 300)); // also across the growth of the window
    }
    once_fini(&r);
}

TEST(restarted_ingress_begins_anew)
{
    struct router r = {0};

    for (uint32_t i = 0; i < 1000; i++)
        CHECK(once_is_new(&r, 1, 5000000 + i));
    for (uint32_t i = 1; i < 1000; i++)
        CHECK(once_is_new(&r, 1, i));
    once_fini(&r);
}

TEST(numbers_wrap_around_and_leave_zero_out)
{
    struct router r = {.multicast_number = NUMBERS - 3};

    for (uint32_t i = 0; i < 1000; i++) {
        uint32_t number = once_next(&r);

        CHECK(number > 0 && number < NUMBERS);
        CHECK(once_is_new(&r, 1, number));
        CHECK(!once_is_new(&r, 1, number));
    }
    once_fini(&r);
}

TEST_MAIN(CASE(each_number_of_an_ingress_is_new_once), CASE(disorder_is_no_second_copy),
          CASE(restarted_ingress_begins_anew), CASE(numbers_wrap_around_and_leave_zero_out))
