// SPDX-License-Identifier: Apache-2.0
#include "base/buf.h"

#include <stdlib.h>

#include "base/rng.h"
#include "check.h"

enum { BLOCK = 4, MOST = 16, RESERVE = 4 };

TEST(bytes_come_out_as_they_went_in_whatever_the_pieces)
{
    struct pool *pool = pool_new(BLOCK, 1000);
    struct rng rng;
    struct buf b;
    uint8_t in = 0, out = 0, data[64];

    rng_init(&rng, 1);
    buf_init(&b, pool);
    for (int round = 0; round < 5000; round++) {
        size_t len = rng_below(&rng, 40);

        if (b.len < 200 && rng_below(&rng, 2)) {
            for (size_t i = 0; i < len; i++)
                data[i] = in++;
            CHECK_EQ(buf_write(&b, data, len), len);
        } else {
            size_t front;
            const uint8_t *at = buf_front(&b, &front);

            len = len < b.len ? len : b.len;
            CHECK_EQ(buf_copy(&b, 0, data, len), len);
            for (size_t i = 0; i < len; i++)
                CHECK_EQ(data[i], (uint8_t)(out + i));
            CHECK(front == 0 || at[0] == out);
            buf_skip(&b, len);
            out = (uint8_t)(out + len);
        }
        CHECK_EQ(b.len % 256, (uint8_t)(in - out));
        CHECK(pool_used(pool) <= b.len / BLOCK + 2);
    }
    buf_skip(&b, b.len);
    CHECK_EQ(pool_used(pool), 0); // an empty buf holds no block
    buf_fini(&b);
    pool_free(pool);
}

TEST(a_pool_at_its_limit_takes_a_part_and_its_reserve_all_or_nothing)
{
    struct pool *pool = pool_new(BLOCK, MOST);
    uint8_t data[BLOCK * (MOST + RESERVE + 1)] = {0};
    struct buf b, control;

    buf_init(&b, pool);
    buf_init(&control, pool);
    CHECK(!pool_is_short(pool));
    CHECK_EQ(buf_write(&b, data, sizeof(data)), BLOCK * MOST);
    CHECK(pool_is_short(pool));
    CHECK_EQ(buf_write(&b, data, 1), 0);
    CHECK(!buf_write_reserved(&control, data, BLOCK * RESERVE + 1));
    CHECK_EQ(control.len, 0);
    CHECK(buf_write_reserved(&control, data, BLOCK * RESERVE - 1));
    CHECK(buf_write_reserved(&control, data, 1)); // fits into what is begun
    CHECK(!buf_write_reserved(&control, data, 1));
    CHECK(!buf_reserve(&control, 1));
    buf_skip(&b, BLOCK * (MOST - 1)); // back below the limit, the reserve's blocks counted
    CHECK(!pool_is_short(pool));
    CHECK(buf_reserve(&control, BLOCK));
    buf_fini(&control);
    buf_fini(&b);
    CHECK_EQ(pool_used(pool), 0);
    pool_free(pool);
}

TEST(room_is_contiguous_and_holds_what_was_committed)
{
    struct pool *pool = pool_new(8, MOST);
    struct buf b;
    uint8_t *room, out[16];

    buf_init(&b, pool);
    CHECK(!buf_reserve(&b, 9)); // more than a block
    CHECK_EQ(buf_write(&b, "abcde", 5), 5);
    room = buf_reserve(&b, 4); // does not fit behind them: a block of its own
    memcpy(room, "fghi", 4);
    buf_commit(&b, 3);
    CHECK_EQ(buf_write(&b, "xyz", 3), 3);
    CHECK_EQ(b.len, 11);
    CHECK_EQ(buf_copy(&b, 0, out, sizeof(out)), 11);
    CHECK(memcmp(out, "abcdefghxyz", 11) == 0);
    CHECK_EQ(buf_copy(&b, 4, out, 4), 4);
    CHECK(memcmp(out, "efgh", 4) == 0);
    CHECK_EQ(buf_copy(&b, 11, out, 4), 0);
    buf_fini(&b);
    pool_free(pool);
}

TEST(pieces_to_send_are_all_the_bytes_in_order)
{
    struct pool *pool = pool_new(BLOCK, MOST);
    struct iovec iov[8];
    struct buf a, b;

    buf_init(&a, pool);
    buf_init(&b, pool);
    buf_write(&a, "abcdef", 6);
    buf_write(&b, "ghijkl", 6);
    buf_skip(&a, 1);
    buf_move(&a, &b);
    CHECK_EQ(b.len, 0);
    CHECK_EQ(a.len, 11);
    CHECK_EQ(buf_peek(&a, iov, 8), 4);
    CHECK_EQ(iov[0].iov_len, 3);
    CHECK(memcmp(iov[3].iov_base, "kl", 2) == 0);
    CHECK_EQ(buf_peek(&a, iov, 2), 2);
    buf_move(&a, &b); // of nothing
    CHECK_EQ(buf_write(&b, "m", 1), 1);
    buf_move(&b, &a);
    CHECK_EQ(b.len, 12);
    buf_fini(&a);
    buf_fini(&b);
    pool_free(pool);
}

TEST(zeroed_memory_is_an_empty_buf_to_its_end)
{
    struct buf b = {0};

    buf_fini(&b);
    CHECK_EQ(b.len, 0);
    pool_free(NULL);
}

TEST_MAIN(CASE(bytes_come_out_as_they_went_in_whatever_the_pieces),
          CASE(a_pool_at_its_limit_takes_a_part_and_its_reserve_all_or_nothing),
          CASE(room_is_contiguous_and_holds_what_was_committed),
          CASE(pieces_to_send_are_all_the_bytes_in_order),
          CASE(zeroed_memory_is_an_empty_buf_to_its_end))
