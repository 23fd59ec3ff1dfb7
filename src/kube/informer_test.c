// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>

#include "check.h"
#include "kube/inside.h"

static struct rng rng;
static struct mono now;

struct rig {
    struct informer i;
    struct text path; // of what it asked last
};

static void rig_init(struct rig *r)
{
    const struct kube_watch_opts opts = {
        .kind = kube_kind("v1", "Pod"), .ns = "n", .labels = "a=b"};

    rng_init(&rng, 7);
    now = (struct mono){NS_PER_S};
    *r = (struct rig){0};
    informer_init(&r->i, &opts, &rng);
}

static void rig_fini(struct rig *r)
{
    informer_fini(&r->i);
    free(r->path.data);
}

// Waits as long as it wants, then lets it ask; how many ms that took.
static int64_t ask(struct rig *r)
{
    struct mono at = informer_deadline(&r->i);
    int64_t ms = mono_before(at, now) ? 0 : mono_ms_between(now, at);

    CHECK(at.ns != MONO_NEVER.ns);
    now = mono_add_ms(now, ms);
    r->path.len = 0;
    informer_ask(&r->i, &r->path);
    CHECK(informer_deadline(&r->i).ns == MONO_NEVER.ns);
    return ms;
}

static bool asks_for(const struct rig *r, const char *part)
{
    return strstr(r->path.data, part) != NULL;
}

static bool say(struct rig *r, const char *text)
{
    return informer_feed(&r->i, str_of(text));
}

static void end(struct rig *r, enum fail fail, int code)
{
    struct outcome o = {.fail = fail, .code = code, .retry_after_ms = -1, .why = {"words"}};

    informer_ended(&r->i, &o, now);
}

static void answer(struct rig *r, const char *text)
{
    informer_began(&r->i, now);
    CHECK(say(r, text));
    end(r, FAIL_NONE, 200);
}

// Everything it tells, as "+a ~b -c S(ynced) T(rouble) W(ell)".
static const char *told(struct rig *r)
{
    static char out[256];
    static const char signs[] = {
        [KUBE_EV_ADDED] = '+',  [KUBE_EV_CHANGED] = '~', [KUBE_EV_DELETED] = '-',
        [KUBE_EV_SYNCED] = 'S', [KUBE_EV_TROUBLE] = 'T', [KUBE_EV_WELL] = 'W'};
    struct kube_event ev;
    size_t len = 0;

    out[0] = '\0';
    while (informer_next(&r->i, &ev))
        len += (size_t)snprintf(out + len, sizeof(out) - len, "%c%s ", signs[ev.type],
                                ev.object ? json_string_value(json_object_get(
                                                json_object_get(ev.object, "metadata"), "name"))
                                          : "");
    CHECK(!informer_is_pending(&r->i));
    return out;
}

static const char *meta_of(const json_t *object, const char *field)
{
    return json_string_value(json_object_get(json_object_get(object, "metadata"), field));
}

#define POD(name, version, more)                                                                   \
    "{\"metadata\":{\"name\":\"" name "\",\"namespace\":\"n\",\"resourceVersion\":\"" version      \
    "\"},\"spec\":{" more "}}"
#define LIST(version, more, items)                                                                 \
    "{\"kind\":\"PodList\",\"metadata\":{\"resourceVersion\":\"" version "\"" more                 \
    "},\"items\":[" items "]}"
#define EVENT(type, object) "{\"type\":\"" type "\",\"object\":" object "}\n"

// Two pods, a and b, told; the watch is asked for.
static void begin(struct rig *r)
{
    rig_init(r);
    ask(r);
    answer(r, LIST("10", "", POD("a", "1", "") "," POD("b", "2", "")));
    CHECK_STR(str_of(told(r)), "+a +b S ");
    ask(r);
    informer_began(&r->i, now);
}

TEST(it_lists_page_by_page_then_watches)
{
    struct rig r;

    rig_init(&r);
    ask(&r);
    CHECK(asks_for(&r, "/api/v1/namespaces/n/pods?labelSelector=a%3Db&limit="));
    CHECK(!asks_for(&r, "continue") && !asks_for(&r, "watch"));
    answer(&r, LIST("10", ",\"continue\":\"c/1\"", POD("a", "1", "")));
    CHECK(!r.i.is_synced);
    CHECK_EQ(ask(&r), 0);
    CHECK(asks_for(&r, "continue=c%2F1"));
    answer(&r, LIST("10", "", POD("b", "2", "")));
    CHECK_STR(str_of(told(&r)), "+a +b S ");
    CHECK_EQ(ask(&r), 0);
    CHECK(asks_for(&r, "watch=true&allowWatchBookmarks=true&resourceVersion=10&timeoutSeconds="));
    CHECK(asks_for(&r, "labelSelector=a%3Db"));
    rig_fini(&r);
}

TEST(changes_are_told_once_and_only_if_they_show)
{
    static const char *const keep[] = {"spec.x", NULL};
    struct rig r;
    json_t *b;

    begin(&r);
    r.i.opts.keep = keep;
    say(&r,
        EVENT("MODIFIED", POD("a", "11", "\"x\":1")) EVENT("MODIFIED", POD("a", "12", "\"x\":2"))
            EVENT("ADDED", POD("c", "13", "")) EVENT("MODIFIED", POD("b", "14", "\"y\":1")));
    CHECK_STR(str_of(told(&r)), "~a +c ");
    b = informer_get(&r.i, "n", "b");
    CHECK_STR(str_of(json_string_value(
                  json_object_get(json_object_get(b, "metadata"), "resourceVersion"))),
              "14");
    json_decref(b);
    say(&r, EVENT("DELETED", POD("a", "15", "")) EVENT("ADDED", POD("d", "16", ""))
                EVENT("DELETED", POD("d", "17", "")) EVENT("DELETED", POD("never", "18", "")));
    CHECK_EQ(informer_count(&r.i), 2);
    CHECK(!informer_get(&r.i, "n", "a"));
    CHECK_STR(str_of(told(&r)), "-a ");
    say(&r, EVENT("DELETED", POD("c", "19", "")) EVENT("ADDED", POD("c", "20", "\"x\":9")));
    CHECK_STR(str_of(told(&r)), "~c ");
    CHECK_EQ(informer_count(&r.i), 2);
    rig_fini(&r);
}

TEST(a_watch_goes_on_where_it_was)
{
    struct rig r;

    begin(&r);
    say(&r,
        EVENT("MODIFIED", POD("a", "11", "")) EVENT("BOOKMARK", "{\"metadata\":"
                                                                "{\"resourceVersion\":\"40\"}}"));
    told(&r);
    now = mono_add_ms(now, 300000);
    end(&r, FAIL_NONE, 200);
    CHECK_EQ(ask(&r), 0);
    CHECK(asks_for(&r, "resourceVersion=40"));
    informer_began(&r.i, now);
    end(&r, FAIL_LOST, 200);
    CHECK(ask(&r) > 0);
    CHECK(asks_for(&r, "resourceVersion=40"));
    CHECK_STR(str_of(told(&r)), ""); // nothing of all that matters to anybody
    rig_fini(&r);
}

TEST(history_that_is_gone_is_made_up_for_by_a_list)
{
    static const char *const ways[] = {"an event", "an answer"};

    for (int way = 0; way < 2; way++) {
        struct rig r;

        begin(&r);
        if (way == 0) {
            CHECK(!say(&r, EVENT("ERROR", "{\"kind\":\"Status\",\"code\":410}")));
            end(&r, FAIL_CUT, 200);
        } else {
            end(&r, FAIL_NONE, 410);
        }
        ask(&r);
        CHECK(!asks_for(&r, "watch"));
        answer(&r, LIST("90", "", POD("b", "2", "") "," POD("c", "80", "")));
        CHECK_EQ_FOR(ways[way], strcmp(told(&r), "+c -a S "), 0);
        ask(&r);
        CHECK(asks_for(&r, "resourceVersion=90"));
        rig_fini(&r);
    }
}

TEST(nothing_is_deleted_on_suspicion)
{
    static const struct {
        const char *why, *text;
        enum fail fail;
        int code;
    } rows[] = {
        {"nobody there", "", FAIL_CONNECT, 0},
        {"lost in the middle", "{\"items\":[" POD("b", "2", "") ",", FAIL_LOST, 200},
        {"half an answer", "{\"items\":[" POD("b", "2", "") ",", FAIL_NONE, 200},
        {"no version", "{\"kind\":\"PodList\",\"metadata\":{},\"items\":[]}", FAIL_NONE, 200},
        {"not a list", "{\"kind\":\"Pod\",\"metadata\":{\"resourceVersion\":\"1\"}}", FAIL_NONE,
         200},
        {"another program", "<html>welcome</html>", FAIL_NONE, 200},
        {"an empty answer", "", FAIL_NONE, 200},
        {"no rights", "", FAIL_NONE, 403},
        {"the kind is gone", "", FAIL_NONE, 404},
        {"broken", "", FAIL_NONE, 500},
        {"too many", "", FAIL_NONE, 429},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct rig r;

        begin(&r);
        end(&r, FAIL_NONE, 410);
        for (int round = 0; round < 3; round++) {
            CHECK(ask(&r) > 0);
            if (rows[i].text[0])
                say(&r, rows[i].text);
            end(&r, rows[i].fail, rows[i].code);
        }
        CHECK_EQ_FOR(rows[i].why, informer_count(&r.i), 2);
        CHECK_EQ_FOR(rows[i].why, strcmp(told(&r), "T "), 0);
        ask(&r);
        answer(&r, LIST("95", "", POD("a", "1", "") "," POD("b", "2", "")));
        ask(&r);
        informer_began(&r.i, now);
        CHECK_EQ_FOR(rows[i].why, strcmp(told(&r), "W S "), 0);
        rig_fini(&r);
    }
}

TEST(a_list_whose_place_is_lost_is_asked_for_in_one)
{
    struct rig r;

    begin(&r);
    end(&r, FAIL_NONE, 410);
    ask(&r);
    answer(&r, LIST("50", ",\"continue\":\"x\"", POD("a", "1", "")));
    ask(&r);
    end(&r, FAIL_NONE, 410);
    CHECK_EQ(ask(&r), 0);
    CHECK(!asks_for(&r, "continue") && !asks_for(&r, "limit"));
    answer(&r, LIST("60", "", POD("b", "2", "")));
    CHECK_STR(str_of(told(&r)), "-a S ");
    rig_fini(&r);
}

TEST(a_page_that_failed_is_asked_for_again)
{
    struct rig r;

    rig_init(&r);
    ask(&r);
    answer(&r, LIST("50", ",\"continue\":\"x\"", POD("a", "1", "")));
    ask(&r);
    end(&r, FAIL_LOST, 0);
    CHECK(ask(&r) > 0);
    CHECK(asks_for(&r, "continue=x"));
    end(&r, FAIL_NONE, 400); // this one will not come
    ask(&r);
    CHECK(!asks_for(&r, "continue"));
    rig_fini(&r);
}

TEST(failures_wait_longer_and_longer)
{
    struct rig r;
    int64_t ms = 0;

    begin(&r);
    for (int i = 0; i < 10; i++) {
        end(&r, FAIL_CONNECT, 0);
        ms = ask(&r);
    }
    CHECK(ms >= 5000 && ms <= 10000);
    CHECK_STR(str_of(told(&r)), "T "); // the same words are told once
    informer_began(&r.i, now);
    say(&r, EVENT("BOOKMARK", "{\"metadata\":{\"resourceVersion\":\"40\"}}"));
    end(&r, FAIL_LOST, 200);
    CHECK(ask(&r) <= 200); // it had been well
    CHECK_STR(str_of(told(&r)), "W ");
    rig_fini(&r);
}

TEST(a_server_that_is_replaced_is_no_trouble)
{
    struct rig r;

    begin(&r);
    for (int i = 0; i < 3; i++) {
        end(&r, FAIL_LOST, 200);
        ask(&r);
        end(&r, FAIL_CONNECT, 0); // once
        ask(&r);
        informer_began(&r.i, now);
        CHECK_STR(str_of(told(&r)), "");
    }
    rig_fini(&r);
}

TEST(a_watch_that_ends_at_once_is_no_busy_loop)
{
    struct rig r;
    int64_t all_ms = 0;

    begin(&r);
    for (int i = 0; i < 20; i++) {
        informer_began(&r.i, now);
        say(&r, EVENT("BOOKMARK", "{\"metadata\":{\"resourceVersion\":\"40\"}}"));
        end(&r, FAIL_NONE, 200);
        all_ms += ask(&r);
    }
    CHECK(all_ms >= 20 * 100);
    rig_fini(&r);
}

TEST(nonsense_in_a_watch_is_told_and_made_up_for)
{
    static const char *const lines[] = {
        "nonsense\n",
        "{}\n",
        "{\"type\":\"NEW\",\"object\":" POD("z", "7", "") "}\n",
        "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"resourceVersion\":\"4\"}}}\n",
        "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"z\"}}}\n",
        "{\"type\":\"ERROR\",\"object\":{\"code\":500,\"message\":\"broken\"}}\n",
        "{\"type\":\"ERROR\"}\n",
    };

    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        struct rig r;

        begin(&r);
        CHECK_EQ_FOR(lines[i], say(&r, lines[i]), false);
        end(&r, FAIL_CUT, 200);
        CHECK_EQ_FOR(lines[i], strcmp(told(&r), "T "), 0);
        CHECK(ask(&r) > 0);
        CHECK(!asks_for(&r, "watch"));
        rig_fini(&r);
    }
}

// Anybody who may write a ConfigMap can put such text into it.
TEST(odd_texts_of_others_stop_nothing)
{
    struct rig r;
    json_t *one;

    begin(&r);
    CHECK(say(&r, EVENT("ADDED", POD("c", "11", "\"x\":\"a\\u0000b\",\"y\":1e300"))));
    CHECK_STR(str_of(told(&r)), "+c ");
    one = informer_get(&r.i, "n", "c");
    CHECK_EQ(json_string_length(json_object_get(json_object_get(one, "spec"), "x")), 3);
    json_decref(one);
    rig_fini(&r);
}

TEST(a_namespace_is_walked_alone)
{
    struct rig r;
    size_t at = 0, count = 0;
    json_t *one;

    begin(&r);
    say(&r, "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"a\",\"namespace\":\"nn\","
            "\"resourceVersion\":\"3\"}}}\n");
    while ((one = informer_each(&r.i, "n", &at)) != NULL) {
        json_decref(one);
        count++;
    }
    CHECK_EQ(count, 2);
    for (at = count = 0; (one = informer_each(&r.i, NULL, &at)) != NULL; count++)
        json_decref(one);
    CHECK_EQ(count, 3);
    rig_fini(&r);
}

// What is kept outlives being moved, and being changed and deleted afterwards.
TEST(what_is_kept_moves_together)
{
    struct rig r;
    json_t *one;

    begin(&r);
    informer_rest(&r.i);
    CHECK(r.i.packed_len > 0);
    informer_rest(&r.i); // nothing is left to move
    say(&r, EVENT("MODIFIED", POD("a", "3", "\"x\":1")) EVENT("DELETED", POD("b", "4", "")));
    CHECK_STR(str_of(told(&r)), "~a -b ");
    informer_rest(&r.i);
    say(&r, EVENT("ADDED", POD("c", "5", "")));
    one = informer_get(&r.i, "n", "a");
    CHECK_EQ(json_integer_value(json_object_get(json_object_get(one, "spec"), "x")), 1);
    CHECK(!strcmp(meta_of(one, "resourceVersion"), "3"));
    json_decref(one);
    CHECK_EQ(informer_count(&r.i), 2);
    rig_fini(&r);
}

TEST_MAIN(CASE(it_lists_page_by_page_then_watches),
          CASE(changes_are_told_once_and_only_if_they_show), CASE(a_watch_goes_on_where_it_was),
          CASE(history_that_is_gone_is_made_up_for_by_a_list),
          CASE(nothing_is_deleted_on_suspicion),
          CASE(a_list_whose_place_is_lost_is_asked_for_in_one),
          CASE(a_page_that_failed_is_asked_for_again), CASE(failures_wait_longer_and_longer),
          CASE(a_server_that_is_replaced_is_no_trouble),
          CASE(a_watch_that_ends_at_once_is_no_busy_loop),
          CASE(nonsense_in_a_watch_is_told_and_made_up_for), CASE(odd_texts_of_others_stop_nothing),
          CASE(a_namespace_is_walked_alone), CASE(what_is_kept_moves_together))
