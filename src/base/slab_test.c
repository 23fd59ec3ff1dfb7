// SPDX-License-Identifier: Apache-2.0
#include "base/slab.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/rng.h"
#include "check.h"

enum { PIECES = 20000, ROUNDS = 200000 };

struct piece {
    uint8_t *at;
    size_t len;
    uint8_t mark;
};

static void check_piece(const struct piece *p)
{
    CHECK_EQ((uintptr_t)p->at % 16, 0);
    for (size_t i = 0; i < p->len; i++)
        CHECK_EQ(p->at[i], p->mark);
}

TEST(pieces_of_all_sizes_keep_what_is_in_them)
{
    struct piece *all = calloc(PIECES, sizeof(*all));
    struct rng rng;

    rng_init(&rng, 7);
    for (int round = 0; round < ROUNDS; round++) {
        struct piece *p = &all[rng_below(&rng, PIECES)];

        if (p->at)
            check_piece(p);
        slab_free(p->at);
        *p = (struct piece){.len = rng_below(&rng, 600), .mark = (uint8_t)round};
        p->at = slab_alloc(p->len);
        memset(p->at, p->mark, p->len);
        if (round % 10000 == 0)
            slab_trim();
    }
    for (int i = 0; i < PIECES; i++) {
        if (all[i].at)
            check_piece(&all[i]);
        slab_free(all[i].at);
    }
    CHECK_EQ(slab_pages(), 0);
    free(all);
}

TEST(what_malloc_gave_may_be_freed_too)
{
    slab_free(malloc(10));
    slab_free(NULL);
    slab_free(slab_alloc(100000));
    slab_free(slab_alloc(0));
    CHECK_EQ(slab_pages(), 0);
}

TEST(what_remains_of_many_takes_its_own_pages_alone)
{
    static void *kept[100], *gone[100000];

    for (int i = 0; i < 100; i++)
        kept[i] = slab_alloc(32);
    for (int i = 0; i < 100000; i++)
        gone[i] = slab_alloc(32);
    CHECK(slab_pages() > 700);
    for (int i = 0; i < 100000; i++)
        slab_free(gone[i]);
    CHECK_EQ(slab_pages(), 1);
    slab_trim();
    // The next one is beside those that remained.
    gone[0] = slab_alloc(32);
    CHECK_EQ((uintptr_t)gone[0] / 4096, (uintptr_t)kept[0] / 4096);
    slab_free(gone[0]);
    for (int i = 0; i < 100; i++)
        slab_free(kept[i]);
    CHECK_EQ(slab_pages(), 0);
}

TEST(free_pages_go_back_to_the_system)
{
    static void *many[50000];
    unsigned char resident[1];
    void *page;

    for (int i = 0; i < 50000; i++)
        many[i] = slab_alloc(64);
    page = (void *)((uintptr_t)many[25000] & ~(uintptr_t)4095);
    CHECK_EQ(mincore(page, 4096, resident), 0);
    CHECK_EQ(resident[0] & 1, 1);
    for (int i = 0; i < 50000; i++)
        slab_free(many[i]);
    slab_trim();
    CHECK_EQ(mincore(page, 4096, resident), 0);
    CHECK_EQ(resident[0] & 1, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(pieces_of_all_sizes_keep_what_is_in_them),
        CASE(what_malloc_gave_may_be_freed_too),
        CASE(what_remains_of_many_takes_its_own_pages_alone),
        CASE(free_pages_go_back_to_the_system),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
