// SPDX-License-Identifier: Apache-2.0
// Values as trees, what writes them, and the map from a peer's numbers.
#include "amqp/value.h"

#include "amqp/codec.h"
#include "amqp/hex.h"
#include "amqp/idmap.h"
#include "base/err.h"
#include "base/rng.h"

static struct amqp_val *parse(const char *hex)
{
    struct str bytes = unhex(hex);
    struct amqp_reader r = amqp_reader_of(bytes);
    struct amqp_val *v = NULL;

    CHECK_EQ_FOR(hex, amqp_val_read(&r, 1000, &v), 0);
    CHECK(amqp_reader_done(&r));
    exact_free(bytes);
    return v;
}

TEST(a_tree_is_written_as_it_was_read)
{
    static const struct {
        const char *hex, *text;
        bool wide;
    } rows[] = {
        {"40", "null", false},
        {"41", "true", false},
        {"43", NULL, false},
        {"53 07", NULL, false},
        {"54 ff", NULL, false},
        {"81 7f ff ff ff ff ff ff ff", NULL, false},
        {"82 3f f8 00 00 00 00 00 00", NULL, false},
        {"83 00 00 00 00 00 00 03 e8", NULL, false},
        {"98 01 02 03 04 05 06 07 08 01 02 03 04 05 06 07 08", NULL, false},
        {"a0 02 00 ff", NULL, false},
        {"a1 02 61 62", "\"ab\"", false},
        {"a3 02 61 62", ":ab", false},
        {"45", "[]", false},
        {"c0 03 02 40 41", "[null, true]", false},
        {"d0 00 00 00 06 00 00 00 02 40 41", "[null, true]", true},
        {"c1 05 02 a1 01 61 41", "{\"a\": true}", false},
        {"d1 00 00 00 08 00 00 00 02 a3 01 61 41", "{:a: true}", true},
        {"c0 0a 02 c0 04 01 c0 01 00 c1 01 00", NULL, false},
        {"00 53 77 a1 01 61", NULL, false},
        {"e0 06 02 a3 01 61 01 62", NULL, false},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct str want = unhex(rows[i].hex);
        struct amqp_val *v = parse(rows[i].hex), *copy = amqp_val_copy(v), *again = NULL;
        struct amqp_reader r;
        struct amqp_writer w;
        char *text = amqp_val_text(v);

        amqp_writer_init(&w);
        amqp_val_write(&w, copy, rows[i].wide);
        // An empty list inside has a shorter form than the one it came in.
        if (!strstr(rows[i].hex, "c0 01 00"))
            CHECK_BYTES_FOR(rows[i].hex, amqp_written(&w), want);
        r = amqp_reader_of(amqp_written(&w));
        CHECK_EQ_FOR(rows[i].hex, amqp_val_read(&r, 1000, &again), 0);
        CHECK(amqp_val_eq(v, copy) && amqp_val_eq(v, again));
        if (rows[i].text)
            CHECK_STR(str_of(text), rows[i].text);
        free(text);
        amqp_val_free(v);
        amqp_val_free(copy);
        amqp_val_free(again);
        amqp_writer_fini(&w);
        exact_free(want);
    }
}

TEST(a_tree_has_a_bound_in_nodes_and_in_depth)
{
    struct str many = unhex("c0 05 04 40 40 40 40");
    struct amqp_reader r = amqp_reader_of(many);
    struct amqp_val *v = NULL;
    struct amqp_writer w;
    struct amqp_mark marks[200];

    CHECK_EQ(amqp_val_read(&r, 4, &v), ERR_LIMIT);
    CHECK(!v);
    r = amqp_reader_of(many);
    CHECK_EQ(amqp_val_read(&r, 5, &v), 0);
    amqp_val_free(v);
    v = NULL;
    exact_free(many);
    amqp_writer_init(&w);
    for (int i = 0; i < 200; i++)
        marks[i] = amqp_begin_list(&w, true);
    amqp_put_null(&w);
    for (int i = 200; i-- > 0;)
        amqp_end(&w, marks[i], 1);
    r = amqp_reader_of(amqp_written(&w));
    CHECK_EQ(amqp_val_read(&r, 1000000, &v), ERR_LIMIT);
    CHECK(!v);
    amqp_writer_fini(&w);
}

TEST(entries_of_a_map_are_found_by_text_or_symbol_and_replaced)
{
    struct amqp_val *map = amqp_val_map();
    int64_t n = 0;

    amqp_val_set(map, "a", amqp_val_int(1));
    amqp_val_set_symbol(map, "b", amqp_val_string(STR("two")));
    amqp_val_set(map, "a", amqp_val_int(3));
    CHECK_EQ(map->count, 4);
    CHECK(amqp_val_int_of(amqp_val_get(map, "a"), &n));
    CHECK_EQ(n, 3);
    CHECK_STR(amqp_val_str(amqp_val_get(map, "b")), "two");
    CHECK(!amqp_val_get(map, "c") && !amqp_val_get(NULL, "a"));
    CHECK(!amqp_val_at(map, 99));
    amqp_val_free(map);
}

TEST(numbers_and_truth_are_taken_from_what_people_write)
{
    static const struct {
        const char *hex;
        bool is_int, is_bool, truth;
        int64_t n;
    } rows[] = {
        {"54 ff", true, true, true, -1},
        {"43", true, true, false, 0},
        {"a1 02 34 32", true, true, true, 42},
        {"a1 03 2d 34 32", true, true, true, -42},
        {"a1 03 34 32 78", false, false, false, 0},
        {"a1 00", false, false, false, 0},
        {"a1 04 74 72 75 65", false, true, true, 0},
        {"a1 02 6e 6f", false, true, false, 0},
        {"a1 03 59 45 53", false, true, true, 0},
        {"41", false, true, true, 0},
        {"40", false, false, false, 0},
        {"80 ff ff ff ff ff ff ff ff", false, false, false, 0}, // beyond what fits
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct amqp_val *v = parse(rows[i].hex);
        int64_t n = 0;
        bool b = false;

        CHECK_EQ_FOR(rows[i].hex, amqp_val_int_of(v, &n), rows[i].is_int);
        CHECK_EQ_FOR(rows[i].hex, n, rows[i].n);
        CHECK_EQ_FOR(rows[i].hex, amqp_val_bool_of(v, &b), rows[i].is_bool);
        CHECK_EQ_FOR(rows[i].hex, b, rows[i].truth);
        amqp_val_free(v);
    }
}

TEST(a_writer_grows_widens_and_gives_up_at_its_end)
{
    char text[300];
    uint8_t small[4];
    struct amqp_writer w;
    struct amqp_mark list;
    struct amqp_val *v = NULL;
    struct amqp_reader r;

    memset(text, 'x', sizeof(text));
    amqp_writer_init(&w);
    list = amqp_begin_list(&w, false); // turns out to be a wide one
    for (int i = 0; i < 300; i++)
        amqp_put_string(&w, (struct str){text, (size_t)i});
    amqp_end(&w, list, 300);
    CHECK_EQ((uint8_t)w.buf[0], 0xd0);
    r = amqp_reader_of(amqp_written(&w));
    CHECK_EQ(amqp_val_read(&r, 1000, &v), 0);
    CHECK_EQ(v->count, 300);
    CHECK_EQ(amqp_val_str(amqp_val_at(v, 299)).len, 299);
    amqp_val_free(v);
    amqp_writer_fini(&w);

    amqp_writer_init_fixed(&w, small, sizeof(small));
    list = amqp_begin_list(&w, false);
    amqp_put_null(&w);
    CHECK(!w.failed);
    amqp_put_null(&w); // no room
    CHECK(w.failed);
    amqp_end(&w, list, 2);
    CHECK(w.failed);
    amqp_writer_fini(&w);
}

TEST(a_peers_numbers_are_found_whatever_they_are)
{
    enum { IDS = 400 };
    static int values[IDS];
    bool is_in[IDS] = {false};
    struct idmap m = {0};
    struct rng rng;

    rng_init(&rng, 5);
    CHECK(!idmap_get(&m, 0));
    idmap_remove(&m, 0);
    idmap_put(&m, 7, &values[7]); // alone
    CHECK(idmap_get(&m, 7) == &values[7] && !idmap_get(&m, 0));
    idmap_remove(&m, 8);
    idmap_remove(&m, 7);
    CHECK(!idmap_get(&m, 7) && m.count == 0);
    for (int i = 0; i < 20000; i++) {
        uint32_t k = rng_below(&rng, IDS);
        uint32_t id = k % 2 ? k << 20 : UINT32_MAX - k * 4096; // alike in their low bits

        if (!is_in[k])
            idmap_put(&m, id, &values[k]);
        else
            idmap_remove(&m, id);
        is_in[k] = !is_in[k];
        k = rng_below(&rng, IDS);
        id = k % 2 ? k << 20 : UINT32_MAX - k * 4096;
        CHECK(idmap_get(&m, id) == (is_in[k] ? &values[k] : NULL));
    }
    idmap_fini(&m);
    CHECK_EQ(m.count, 0);
}

TEST_MAIN(CASE(a_tree_is_written_as_it_was_read), CASE(a_tree_has_a_bound_in_nodes_and_in_depth),
          CASE(entries_of_a_map_are_found_by_text_or_symbol_and_replaced),
          CASE(numbers_and_truth_are_taken_from_what_people_write),
          CASE(a_writer_grows_widens_and_gives_up_at_its_end),
          CASE(a_peers_numbers_are_found_whatever_they_are))
