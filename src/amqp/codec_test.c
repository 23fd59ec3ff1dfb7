// SPDX-License-Identifier: Apache-2.0
#include "amqp/codec.h"

#include "amqp/hex.h"
#include "base/err.h"

// Every constructor there is. `n` is the number for those that have one, else the count or length.
static const struct good {
    const char *why, *hex;
    enum amqp_type type;
    int64_t n;
} goods[] = {
    {"null", "40", AMQP_NULL, 0},
    {"true", "41", AMQP_BOOL, 1},
    {"false", "42", AMQP_BOOL, 0},
    {"boolean true", "56 01", AMQP_BOOL, 1},
    {"boolean false", "56 00", AMQP_BOOL, 0},
    {"ubyte", "50 ff", AMQP_UBYTE, 255},
    {"ushort", "60 ff fe", AMQP_USHORT, 65534},
    {"uint", "70 ff ff ff ff", AMQP_UINT, UINT32_MAX},
    {"smalluint", "52 ff", AMQP_UINT, 255},
    {"uint0", "43", AMQP_UINT, 0},
    {"ulong", "80 7f ff ff ff ff ff ff ff", AMQP_ULONG, INT64_MAX},
    {"smallulong", "53 ff", AMQP_ULONG, 255},
    {"ulong0", "44", AMQP_ULONG, 0},
    {"byte", "51 80", AMQP_BYTE, -128},
    {"short", "61 80 00", AMQP_SHORT, -32768},
    {"int", "71 80 00 00 00", AMQP_INT, INT32_MIN},
    {"smallint", "54 80", AMQP_INT, -128},
    {"long", "81 80 00 00 00 00 00 00 00", AMQP_LONG, INT64_MIN},
    {"smalllong", "55 ff", AMQP_LONG, -1},
    {"float", "72 3f c0 00 00", AMQP_FLOAT, 0},
    {"double", "82 3f f8 00 00 00 00 00 00", AMQP_DOUBLE, 0},
    {"decimal32", "74 01 02 03 04", AMQP_DECIMAL32, 4},
    {"decimal64", "84 01 02 03 04 05 06 07 08", AMQP_DECIMAL64, 8},
    {"decimal128", "94 01 02 03 04 05 06 07 08 01 02 03 04 05 06 07 08", AMQP_DECIMAL128, 16},
    {"char", "73 00 01 f6 00", AMQP_CHAR, 0x1f600},
    {"timestamp", "83 00 00 00 00 00 00 03 e8", AMQP_TIMESTAMP, 1000},
    {"uuid", "98 01 02 03 04 05 06 07 08 01 02 03 04 05 06 07 08", AMQP_UUID, 16},
    {"vbin8", "a0 02 00 ff", AMQP_BINARY, 2},
    {"vbin32", "b0 00 00 00 02 00 ff", AMQP_BINARY, 2},
    {"vbin8 of no octets", "a0 00", AMQP_BINARY, 0},
    {"str8", "a1 02 61 62", AMQP_STRING, 2},
    {"str32", "b1 00 00 00 02 61 62", AMQP_STRING, 2},
    {"str8 of no octets", "a1 00", AMQP_STRING, 0},
    {"sym8", "a3 02 61 62", AMQP_SYMBOL, 2},
    {"sym32", "b3 00 00 00 02 61 62", AMQP_SYMBOL, 2},
    {"list0", "45", AMQP_LIST, 0},
    {"list8", "c0 03 02 40 43", AMQP_LIST, 2},
    {"list8 of nothing", "c0 01 00", AMQP_LIST, 0},
    {"list32", "d0 00 00 00 06 00 00 00 02 40 43", AMQP_LIST, 2},
    {"map8", "c1 05 02 a1 01 61 43", AMQP_MAP, 2},
    {"map8 of nothing", "c1 01 00", AMQP_MAP, 0},
    {"map32", "d1 00 00 00 08 00 00 00 02 a1 01 61 43", AMQP_MAP, 2},
    {"array8 of null", "e0 02 05 40", AMQP_ARRAY, 5},
    {"array8 of true", "e0 02 02 41", AMQP_ARRAY, 2},
    {"array8 of list0", "e0 02 02 45", AMQP_ARRAY, 2},
    {"array8 of boolean", "e0 04 02 56 01 00", AMQP_ARRAY, 2},
    {"array8 of ubyte", "e0 04 02 50 01 02", AMQP_ARRAY, 2},
    {"array8 of ushort", "e0 06 02 60 00 01 00 02", AMQP_ARRAY, 2},
    {"array8 of uint", "e0 06 01 70 00 00 00 02", AMQP_ARRAY, 1},
    {"array8 of ulong", "e0 0a 01 80 00 00 00 00 00 00 00 02", AMQP_ARRAY, 1},
    {"array8 of float", "e0 06 01 72 3f c0 00 00", AMQP_ARRAY, 1},
    {"array8 of uuid", "e0 12 01 98 01 02 03 04 05 06 07 08 01 02 03 04 05 06 07 08", AMQP_ARRAY,
     1},
    {"array8 of sym8", "e0 06 02 a3 01 61 01 62", AMQP_ARRAY, 2},
    {"array8 of str32", "e0 07 01 b1 00 00 00 01 61", AMQP_ARRAY, 1},
    {"array8 of list8", "e0 07 02 c0 01 00 02 01 40", AMQP_ARRAY, 2},
    {"array8 of list32", "e0 0b 01 d0 00 00 00 05 00 00 00 01 40", AMQP_ARRAY, 1},
    {"array8 of map8", "e0 06 01 c1 03 02 43 43", AMQP_ARRAY, 1},
    {"array8 of array8", "e0 08 02 e0 02 03 40 02 00 40", AMQP_ARRAY, 2},
    {"array8 of described", "e0 07 02 00 53 77 50 01 02", AMQP_ARRAY, 2},
    {"array8 of described described", "e0 0a 02 00 53 77 00 a3 01 78 50 02 ", AMQP_ARRAY, -1},
    {"array8 of nothing", "e0 02 00 a3", AMQP_ARRAY, 0},
    {"array8 without even a constructor", "e0 01 00", AMQP_ARRAY, 0},
    {"array32", "f0 00 00 00 09 00 00 00 02 a3 01 61 01 62", AMQP_ARRAY, 2},
    {"described", "00 53 77 a1 01 61", AMQP_DESCRIBED, 5},
    {"described by a symbol", "00 a3 01 78 40", AMQP_DESCRIBED, 4},
    {"described by a described", "00 00 53 01 43 40", AMQP_DESCRIBED, 5},
    {"described described", "00 53 01 00 53 02 40", AMQP_DESCRIBED, 6},
};

enum { GOOD_COUNT = sizeof(goods) / sizeof(goods[0]) };

static bool has_number(const struct amqp_item *it, int64_t *n)
{
    if (it->type >= AMQP_UBYTE && it->type <= AMQP_LONG)
        return amqp_item_int(it, n);
    *n = it->type == AMQP_BOOL        ? it->b
         : it->type == AMQP_CHAR      ? (int64_t)it->u
         : it->type == AMQP_TIMESTAMP ? it->i
                                      : -1;
    return *n >= 0;
}

static int64_t number_of(const struct amqp_item *it)
{
    int64_t n;

    if (has_number(it, &n))
        return n;
    if (it->type >= AMQP_LIST && it->type <= AMQP_ARRAY)
        return it->count;
    return (int64_t)it->bytes.len;
}

TEST(every_constructor_is_read)
{
    for (size_t i = 0; i < GOOD_COUNT; i++) {
        const struct good *g = &goods[i];
        struct str bytes = unhex(g->hex);
        struct amqp_reader r = amqp_reader_of(bytes);
        struct amqp_item it;

        if (g->n == -1 && g->type == AMQP_ARRAY) { // has one element only, and says two
            CHECK_EQ_FOR(g->why, amqp_read(&r, &it), ERR_DECODE);
        } else {
            CHECK_EQ_FOR(g->why, amqp_read(&r, &it), 0);
            CHECK_EQ_FOR(g->why, it.type, g->type);
            CHECK_EQ_FOR(g->why, number_of(&it), g->n);
            CHECK_EQ_FOR(g->why, it.whole.ptr == bytes.ptr && it.whole.len == bytes.len, true);
            CHECK(amqp_reader_done(&r));
            CHECK_EQ_FOR(g->why, amqp_check(bytes), 0);
        }
        exact_free(bytes);
    }
}

TEST(floats_have_their_value)
{
    struct amqp_item it;
    struct str f = unhex("72 3f c0 00 00"), d = unhex("82 3f f8 00 00 00 00 00 00");
    struct amqp_reader r = amqp_reader_of(f);

    CHECK_EQ(amqp_read(&r, &it), 0);
    CHECK(it.f == 1.5);
    r = amqp_reader_of(d);
    CHECK_EQ(amqp_read(&r, &it), 0);
    CHECK(it.f == 1.5);
    exact_free(f);
    exact_free(d);
}

TEST(a_cut_value_is_asked_for_again_and_not_consumed)
{
    for (size_t i = 0; i < GOOD_COUNT; i++) {
        struct str bytes = unhex(goods[i].hex);

        for (size_t len = 0; len < bytes.len; len++) {
            struct str cut = exact_copy(bytes, len);
            struct amqp_reader r = amqp_reader_of(cut);
            struct amqp_item it;

            CHECK_EQ_FOR(goods[i].why, amqp_read(&r, &it), ERR_AGAIN);
            CHECK(r.at == (const uint8_t *)cut.ptr);
            CHECK_EQ_FOR(goods[i].why, amqp_check(cut), ERR_DECODE);
            exact_free(cut);
        }
        exact_free(bytes);
    }
}

// Whatever is wrong: nothing beyond the bytes is looked at, and the answer is the same.
TEST(lies_are_found_out)
{
    static const struct {
        const char *why, *hex;
        int read, check;
    } lies[] = {
        {"no such constructor", "46", ERR_DECODE, ERR_DECODE},
        {"no such constructor 01", "01", ERR_DECODE, ERR_DECODE},
        {"no such constructor ff", "ff 00", ERR_DECODE, ERR_DECODE},
        {"no such constructor a2", "a2 00", ERR_DECODE, ERR_DECODE},
        {"boolean of 2", "56 02", ERR_DECODE, ERR_DECODE},
        {"list8 too small for its count", "c0 00 00", ERR_DECODE, ERR_DECODE},
        {"list32 too small for its count", "d0 00 00 00 03 00 00 00", ERR_DECODE, ERR_DECODE},
        {"list8 with more items than octets", "c0 02 02 40", ERR_DECODE, ERR_DECODE},
        {"list32 with 2^32-1 items", "d0 00 00 00 04 ff ff ff ff", ERR_DECODE, ERR_DECODE},
        {"list8 with fewer items than said", "c0 04 03 a1 01 61", 0, ERR_DECODE},
        {"list8 with more items than said", "c0 03 01 40 40", 0, ERR_DECODE},
        {"list8 whose item is cut", "c0 03 01 a1 05", 0, ERR_DECODE},
        {"list8 with a bad item", "c0 02 01 46", 0, ERR_DECODE},
        {"map8 with an odd count", "c1 04 03 40 40 40", ERR_DECODE, ERR_DECODE},
        {"map8 with an item too many", "c1 04 02 40 40 40", 0, ERR_DECODE},
        {"size of 2^32-1", "b0 ff ff ff ff", ERR_AGAIN, ERR_DECODE},
        {"array8 too small", "e0 00 00", ERR_DECODE, ERR_DECODE},
        {"array8 with elements and no constructor", "e0 01 01", ERR_DECODE, ERR_DECODE},
        {"array32 of 2^32-1 nulls", "f0 00 00 00 05 ff ff ff ff 40", ERR_LIMIT, ERR_LIMIT},
        {"array32 of 2^32-1 described nulls", "f0 00 00 00 08 ff ff ff ff 00 53 01 40", ERR_LIMIT,
         ERR_LIMIT},
        {"array32 of 2^32-1 octets", "f0 00 00 00 05 ff ff ff ff 50", ERR_DECODE, ERR_DECODE},
        {"array32 of 2^31 ulongs", "f0 00 00 00 05 80 00 00 00 80", ERR_DECODE, ERR_DECODE},
        {"array8 of fixed with octets left", "e0 04 01 50 01 02", ERR_DECODE, ERR_DECODE},
        {"array8 of null with octets left", "e0 03 01 40 01", ERR_DECODE, ERR_DECODE},
        {"array8 of sym8 with octets left", "e0 05 01 a3 01 61 00", ERR_AGAIN, ERR_DECODE},
        {"array8 of sym8 with an octet left", "e0 05 01 a3 01 61 62", 0, ERR_DECODE},
        {"array8 of sym8, cut within", "e0 04 01 a3 05 61", 0, ERR_DECODE},
        {"array8 of a bad constructor", "e0 03 01 46 00", ERR_DECODE, ERR_DECODE},
        {"array8 of bad booleans", "e0 03 01 56 02", 0, ERR_DECODE},
        {"array8 of bad lists", "e0 05 01 c0 02 01 46", 0, ERR_DECODE},
        {"array8 with a bad descriptor", "e0 06 01 00 46 50 01 00", ERR_DECODE, ERR_DECODE},
        {"array8 with a list8 too small", "e0 04 01 c0 00 00", 0, ERR_DECODE},
        {"array8 with nothing behind its descriptor", "e0 04 01 00 53 01", ERR_DECODE, ERR_DECODE},
        {"described by nothing", "00", ERR_AGAIN, ERR_DECODE},
        {"described nothing", "00 53 01", ERR_AGAIN, ERR_DECODE},
        {"described bad", "00 53 01 46", ERR_DECODE, ERR_DECODE},
        {"more than a value", "40 40", 0, ERR_DECODE},
        {"nothing", "", ERR_AGAIN, ERR_DECODE},
    };

    for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        struct str bytes = unhex(lies[i].hex);
        struct amqp_reader r = amqp_reader_of(bytes);
        struct amqp_item it;

        if (strcmp(lies[i].why, "array8 of sym8 with octets left") == 0)
            CHECK_EQ_FOR(lies[i].why, amqp_read(&r, &it), 0);
        else
            CHECK_EQ_FOR(lies[i].why, amqp_read(&r, &it), lies[i].read);
        CHECK_EQ_FOR(lies[i].why, amqp_check(bytes), lies[i].check);
        exact_free(bytes);
    }
}

TEST_MAIN(CASE(every_constructor_is_read), CASE(floats_have_their_value),
          CASE(a_cut_value_is_asked_for_again_and_not_consumed), CASE(lies_are_found_out))
