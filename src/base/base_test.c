// SPDX-License-Identifier: Apache-2.0
// Lists, timers, maps, numbers and texts.
#include <stdlib.h>

#include "base/err.h"
#include "base/heap.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/str.h"
#include "base/why.h"
#include "check.h"

struct item {
    struct timer timer; // first
    struct list on_list;
    int number;
};

TEST(a_list_keeps_its_order_and_lets_go_of_anything)
{
    struct item items[5];
    struct list head, *node;
    int expected = 0;

    list_init(&head);
    CHECK(list_empty(&head) && !list_first(&head) && !list_pop(&head));
    for (int i = 1; i < 5; i++) {
        items[i].number = i;
        list_append(&head, &items[i].on_list);
    }
    items[0].number = 0;
    list_prepend(&head, &items[0].on_list);
    list_for_each (at, &head)
        CHECK_EQ(list_entry(at, struct item, on_list)->number, expected++);
    CHECK_EQ(expected, 5);
    list_for_each (at, &head)
        if (list_entry(at, struct item, on_list)->number % 2 == 1)
            list_remove(at);
    list_remove(&items[1].on_list); // once more does no harm
    for (expected = 0; (node = list_pop(&head)) != NULL; expected += 2)
        CHECK_EQ(list_entry(node, struct item, on_list)->number, expected);
    CHECK_EQ(expected, 6);
}

TEST(the_earliest_timer_comes_first_however_they_were_set_moved_and_cancelled)
{
    enum { COUNT = 300 };
    struct item *items = xcalloc(COUNT, sizeof(*items));
    struct mono last = {0};
    struct heap h;
    struct rng rng;
    struct timer *t;
    int armed = 0, fired = 0;

    heap_init(&h);
    rng_init(&rng, 3);
    CHECK_EQ(heap_deadline(&h).ns, MONO_NEVER.ns);
    for (int i = 0; i < 3000; i++) {
        struct timer *any = &items[rng_below(&rng, COUNT)].timer;

        if (rng_below(&rng, 4) == 0)
            heap_cancel(&h, any);
        else if (rng_below(&rng, 8) == 0)
            heap_set(&h, any, MONO_NEVER);
        else
            heap_set(&h, any, (struct mono){1 + rng_below(&rng, 1000)});
    }
    for (int i = 0; i < COUNT; i++)
        armed += items[i].timer.place > 0;
    CHECK(!heap_pop_due(&h, (struct mono){0}));
    while ((t = heap_pop_due(&h, (struct mono){1000})) != NULL) {
        CHECK(t->at.ns >= last.ns);
        CHECK_EQ(t->place, 0);
        last = t->at;
        fired++;
    }
    CHECK_EQ(fired, armed);
    heap_set(&h, &items[0].timer, (struct mono){5});
    heap_fini(&h);
    CHECK_EQ(items[0].timer.place, 0);
    free(items);
}

TEST(a_map_finds_what_was_put_through_growth_and_removal)
{
    enum { KEYS = 500 };
    int values[KEYS];
    bool is_in[KEYS] = {false};
    struct map m = {0};
    struct rng rng;
    size_t count = 0;

    rng_init(&rng, 4);
    for (int i = 0; i < 20000; i++) {
        uint32_t k = rng_below(&rng, KEYS);
        char text[16];
        struct str key = {text, (size_t)snprintf(text, sizeof(text), "k%u", k)};

        if (rng_below(&rng, 2)) {
            CHECK((map_put(&m, key, &values[k]) != NULL) == is_in[k]);
            count += !is_in[k];
            is_in[k] = true;
        } else {
            CHECK(map_remove(&m, key) == (is_in[k] ? &values[k] : NULL));
            count -= is_in[k];
            is_in[k] = false;
        }
        CHECK(map_get(&m, key) == (is_in[k] ? &values[k] : NULL));
        CHECK_EQ(m.count, count);
    }
    CHECK(m.slot_count <= 2048); // deleted slots do not make it grow
    map_fini(&m);
}

TEST(a_map_is_walked_once_round_and_may_lose_entries_meanwhile)
{
    struct map m;
    struct str key;
    void *value;
    size_t at = 0;
    int seen = 0, dummy;

    map_init(&m);
    for (int i = 0; i < 100; i++) {
        char text[8];

        snprintf(text, sizeof(text), "%d", i);
        map_put(&m, str_of(text), &dummy);
    }
    while (map_next(&m, &at, &key, &value)) {
        char *copy = str_dup(key);

        CHECK(value == &dummy);
        map_remove(&m, str_of(copy));
        free(copy);
        seen++;
    }
    CHECK_EQ(seen, 100);
    CHECK_EQ(m.count, 0);
    map_fini(&m);
}

TEST(keys_of_a_map_are_bytes)
{
    struct map m = {0};
    int a, b, c;

    map_put(&m, STR(""), &a);
    map_put(&m, STR("x\0y"), &b);
    map_put(&m, STR("x"), &c);
    CHECK(map_get(&m, STR_NONE) == &a);
    CHECK(map_get(&m, STR("x\0y")) == &b);
    CHECK(map_get(&m, STR("x")) == &c);
    CHECK(map_put(&m, STR("x"), &a) == &c);
    CHECK_EQ(m.count, 3);
    map_fini(&m);
}

TEST(numbers_repeat_with_their_seed_and_keep_their_bound)
{
    struct rng a, b;
    char id[RNG_ID_LEN + 1];
    int hits[10] = {0};

    rng_init(&a, 42);
    rng_init(&b, 42);
    for (int i = 0; i < 10000; i++) {
        uint32_t n = rng_below(&a, 10);

        CHECK_EQ(n, rng_below(&b, 10));
        CHECK(n < 10);
        hits[n]++;
    }
    for (int i = 0; i < 10; i++)
        CHECK(hits[i] > 800 && hits[i] < 1200);
    CHECK_EQ(rng_below(&a, 1), 0);
    rng_id(&a, id);
    CHECK_EQ(strlen(id), 15);
    CHECK_EQ(strspn(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+_"), 15);
    CHECK(rng_system_seed() != rng_system_seed());
}

TEST(texts_compare_as_bytes)
{
    char *copy;

    CHECK(str_eq(STR("a"), str_of("a")) && !str_eq(STR("a"), STR("ab")));
    CHECK(str_eq(STR_NONE, STR("")) && str_is(STR(""), ""));
    CHECK(str_cmp(STR("a"), STR("b")) < 0 && str_cmp(STR("b"), STR("a")) > 0);
    CHECK(str_cmp(STR("a"), STR("ab")) < 0 && str_cmp(STR("ab"), STR("a")) > 0);
    CHECK(str_cmp(STR("\xff"), STR("a")) > 0);
    CHECK_EQ(str_cmp(STR_NONE, STR("")), 0);
    CHECK(str_starts(STR("abc"), STR("ab")) && !str_starts(STR("a"), STR("ab")));
    CHECK(str_starts(STR("a"), STR_NONE));
    CHECK(str_is_nocase(STR("HeLLo"), "hEllO") && !str_is_nocase(STR("hello"), "hell"));
    CHECK_STR(str_skip(STR("abc"), 2), "c");
    copy = str_dup(STR("a\0b"));
    CHECK(memcmp(copy, "a\0b\0", 4) == 0);
    free(copy);
    copy = str_fmt("%s-%d", "x", 7);
    CHECK_STR(str_of(copy), "x-7");
    free(copy);
}

TEST(words_are_cut_not_overrun)
{
    struct why why = {""};
    char *tail = xcalloc(1, 2 * WHY_MAX);

    memset(tail, 'x', 2 * WHY_MAX - 1);
    why_set(&why, "%s", tail);
    CHECK_EQ(strlen(why.text), WHY_MAX - 1);
    why_prefix(&why, "in %s", "front");
    CHECK(strncmp(why.text, "in front: xxx", 13) == 0);
    CHECK_EQ(strlen(why.text), WHY_MAX - 1);
    why_prefix(&why, "%s", tail);
    CHECK_EQ(strlen(why.text), WHY_MAX - 1);
    why_set(&why, "cause");
    why_prefix(&why, "entity");
    CHECK_STR(str_of(why.text), "entity: cause");
    why_set(NULL, "nobody asked");
    why_prefix(NULL, "nobody asked");
    free(tail);
}

TEST(time_does_not_wrap)
{
    struct mono t = {5 * NS_PER_MS};

    CHECK_EQ(mono_add_ms(t, 3).ns, 8 * NS_PER_MS);
    CHECK_EQ(mono_add_ms(t, INT64_MAX).ns, MONO_NEVER.ns);
    CHECK_EQ(mono_add_ms(MONO_NEVER, 1).ns, MONO_NEVER.ns);
    CHECK_EQ(mono_ms_between(t, mono_add_ms(t, 9)), 9);
    CHECK_EQ(mono_ms_between(mono_add_ms(t, 9), t), -9);
    CHECK_EQ(mono_min(t, MONO_NEVER).ns, t.ns);
    CHECK(mono_before(t, MONO_NEVER) && !mono_before(t, t));
    CHECK(!mono_before(mono_now(), t));
}

TEST(every_error_has_words)
{
    for (int err = ERR_UNSUPPORTED; err < 0; err++)
        CHECK(strlen(err_text(err)) > 3);
    CHECK(err_text(-1000) != NULL);
}

TEST_MAIN(CASE(a_list_keeps_its_order_and_lets_go_of_anything),
          CASE(the_earliest_timer_comes_first_however_they_were_set_moved_and_cancelled),
          CASE(a_map_finds_what_was_put_through_growth_and_removal),
          CASE(a_map_is_walked_once_round_and_may_lose_entries_meanwhile),
          CASE(keys_of_a_map_are_bytes), CASE(numbers_repeat_with_their_seed_and_keep_their_bound),
          CASE(texts_compare_as_bytes), CASE(words_are_cut_not_overrun), CASE(time_does_not_wrap),
          CASE(every_error_has_words))
