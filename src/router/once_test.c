// SPDX-License-Identifier: Apache-2.0
#include "check.h"

#include "router/core.h"

enum { NUMBERS = 1 << (32 - RA_NUMBER_SHIFT) };

TEST(each_number_of_an_ingress_is_new_once)
{
    struct router r = {0};

    for (uint32_t round = 0; round < 2; round++)
        for (uint32_t i = 1; i <= 300; i++)
            CHECK_EQ(once_is_new(&r, 7, STR("seven"), i), round == 0);
    CHECK(once_is_new(&r, 8, STR("other"), 5)); // another ingress counts by itself
    once_fini(&r);
}

// It was not heard of for a while, and has another number now.
TEST(an_ingress_that_comes_back_is_known_by_its_name)
{
    struct router r = {0};
    char id[16];

    for (uint32_t i = 1; i <= 1000; i++)
        CHECK(once_is_new(&r, 7, STR("seven"), i));
    once_forget(&r, 7, STR("seven"));
    CHECK(once_is_new(&r, 7, STR("somebody else"), 5));
    CHECK(!once_is_new(&r, 3, STR("seven"), 990));
    CHECK(once_is_new(&r, 3, STR("seven"), 1001));
    once_forget(&r, 3, STR("seven"));
    for (uint32_t i = 0; i < 2 * ONCE_PARKED; i++) { // so many have gone since
        snprintf(id, sizeof(id), "r%u", i);
        CHECK(once_is_new(&r, 100 + i, str_of(id), 1));
        once_forget(&r, 100 + i, str_of(id));
    }
    CHECK(once_is_new(&r, 3, STR("seven"), 1001));
    once_fini(&r);
}

TEST(disorder_is_no_second_copy)
{
    struct router r = {0};

    for (uint32_t i = 0; i < 20000; i += 2) {
        CHECK(once_is_new(&r, 1, STR("other"), 100 + i + 1));
        CHECK(once_is_new(&r, 1, STR("other"), 100 + i));
        CHECK(!once_is_new(&r, 1, STR("other"), 100 + i));
        CHECK(!once_is_new(&r, 1, STR("other"), 100 + i + 1));
        if (i >= 300)
            CHECK(!once_is_new(&r, 1, STR("other"),
                               100 + i - 300)); // also across the growth of the window
    }
    once_fini(&r);
}

TEST(restarted_ingress_begins_anew)
{
    struct router r = {0};

    for (uint32_t i = 0; i < 1000; i++)
        CHECK(once_is_new(&r, 1, STR("other"), 5000000 + i));
    for (uint32_t i = 1; i < 1000; i++)
        CHECK(once_is_new(&r, 1, STR("other"), i));
    once_fini(&r);
}

TEST(what_a_restarted_router_sends_first_is_new)
{
    struct router far = {0};

    for (uint64_t life = 1; life <= 20; life++) {
        struct router r = {0};

        rng_init(&r.rng, life);
        once_init(&r);
        for (int i = 0; i < 50; i++)
            CHECK(once_is_new(&far, 1, STR("r"), once_next(&r)));
    }
    once_fini(&far);
}

TEST(numbers_wrap_around_and_leave_zero_out)
{
    struct router r = {.multicast_number = NUMBERS - 3};

    for (uint32_t i = 0; i < 1000; i++) {
        uint32_t number = once_next(&r);

        CHECK(number > 0 && number < NUMBERS);
        CHECK(once_is_new(&r, 1, STR("other"), number));
        CHECK(!once_is_new(&r, 1, STR("other"), number));
    }
    once_fini(&r);
}

TEST_MAIN(CASE(an_ingress_that_comes_back_is_known_by_its_name),
          CASE(each_number_of_an_ingress_is_new_once), CASE(disorder_is_no_second_copy),
          CASE(restarted_ingress_begins_anew), CASE(what_a_restarted_router_sends_first_is_new),
          CASE(numbers_wrap_around_and_leave_zero_out))
