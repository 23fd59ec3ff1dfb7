// SPDX-License-Identifier: Apache-2.0
#include <malloc.h>
#include <stdlib.h>

#include "base/err.h"
#include "check.h"
#include "site/sync.h"

static const char EXAMPLE[] = "[{\"address\":\"backend\",\"protocol\":\"tcp\",\"ports\":[8080],"
                              "\"exposeIngress\":\"\",\"targets\":[]}]";
static const char EXAMPLE_ORIGIN[] = "5b6e0b0e-7a3c-4d26-9b1f-2f6f5b0c9f10";

static struct mono at(int64_t ms)
{
    return (struct mono){1000 * NS_PER_S + ms * NS_PER_MS};
}

static struct site_sync *sync_new(void)
{
    struct site_sync_opts o = {.site_id = "me", .version = "2.2.1"};

    return site_sync_new(&o, at(0));
}

static int announce(struct site_sync *s, const char *json, int64_t ms)
{
    json_t *services = json ? json_loads(json, 0, NULL) : json_null();
    int err;

    CHECK(services != NULL);
    err = site_sync_announce(s, services, at(ms), NULL);
    json_decref(services);
    return err;
}

// One that listens.
static struct site_sync *sync_on(void)
{
    struct site_sync *s = sync_new();
    struct site_sync_message m;

    CHECK_EQ(announce(s, "[]", 0), 0);
    CHECK(site_sync_next_message(s, &m));
    return s;
}

static struct site_sync_message message(const char *origin, const char *body)
{
    return (struct site_sync_message){.subject = STR("service-sync-update-v2"),
                                      .origin = str_of(origin),
                                      .version = STR("1.8.7"),
                                      .body = str_of(body)};
}

static int hear(struct site_sync *s, const char *origin, const char *body, int64_t ms)
{
    struct site_sync_message m = message(origin, body);

    return site_sync_heard(s, &m, 5000 + ms / 1000, at(ms), NULL);
}

// A list with one service of one port.
static int hear_one(struct site_sync *s, const char *origin, const char *name, int port, int64_t ms)
{
    char body[200];

    snprintf(body, sizeof(body), "[{\"address\":\"%s\",\"protocol\":\"tcp\",\"ports\":[%d]}]", name,
             port);
    return hear(s, origin, body, ms);
}

// All changes as one text: "+db@east:5432 ~web@west:80 -x@east".
static struct str changes(struct site_sync *s)
{
    static char text[2000];
    struct site_sync_change c;
    size_t len = 0;

    text[0] = '\0';
    while (site_sync_next_change(s, &c)) {
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%c%s@%s", len ? " " : "",
                                "+~-"[c.type], c.name, c.origin);
        if (c.service)
            len += (size_t)snprintf(
                text + len, sizeof(text) - len, ":%lld",
                json_integer_value(json_array_get(json_object_get(c.service, "ports"), 0)));
    }
    return str_of(text);
}

static bool is_silent(struct site_sync *s)
{
    struct site_sync_message m;

    return !site_sync_next_message(s, &m);
}

// ---------------------------------------------------------------------------------------- sending

TEST(nothing_is_sent_before_this_site_has_spoken)
{
    struct site_sync *s = sync_new();

    CHECK(is_silent(s));
    site_sync_tick(s, at(SITE_SYNC_RESEND_MS));
    CHECK(is_silent(s));
    site_sync_free(s);
}

// When messages go out until `end`, as "0 5000".
static struct str sending_times(struct site_sync *s, int64_t from, int64_t end)
{
    static char text[200];
    struct site_sync_message m;
    size_t len = 0;

    text[0] = '\0';
    for (int64_t ms = from; ms <= end; ms += 100) {
        site_sync_tick(s, at(ms));
        while (site_sync_next_message(s, &m))
            len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%lld", len ? " " : "",
                                    (long long)ms);
    }
    return str_of(text);
}

TEST(who_comes_hears_it_at_once_but_never_more_than_once_a_second)
{
    struct site_sync *s = sync_on();

    site_sync_repeat(s, at(2000));
    CHECK_STR(sending_times(s, 2000, 2300), "2000");
    for (int i = 0; i < 100; i++)
        site_sync_repeat(s, at(2300 + i));
    CHECK_STR(sending_times(s, 2400, 9000), "3000 8000");
    hear_one(s, "east", "db", 5432, 9500);
    CHECK_STR(sending_times(s, 9500, 9500), "9500");
    hear_one(s, "east", "db", 5432, 10600);
    CHECK_STR(sending_times(s, 10600, 14500), "14500"); // that one has had its turn
    site_sync_free(s);
}

TEST(who_does_not_share_repeats_nothing)
{
    struct site_sync *s = sync_new();

    site_sync_repeat(s, at(2000));
    hear_one(s, "east", "db", 5432, 2000);
    CHECK_STR(sending_times(s, 2000, 9000), "");
    site_sync_free(s);
}

TEST(a_message_is_what_v1_sites_send)
{
    struct site_sync *s = sync_new();
    struct site_sync_message m;

    CHECK_EQ(announce(s, EXAMPLE, 0), 0);
    CHECK(site_sync_next_message(s, &m));
    CHECK_STR(m.subject, "service-sync-update-v2");
    CHECK_STR(m.origin, "me");
    CHECK_STR(m.version, "2.2.1");
    CHECK_STR(m.body, EXAMPLE);
    CHECK(is_silent(s));
    site_sync_free(s);
}

TEST(all_there_is_is_sent_sorted_and_without_what_is_local)
{
    struct site_sync *s = sync_new();
    struct site_sync_message m;

    CHECK_EQ(
        announce(s,
                 "[{\"address\":\"b\",\"protocol\":\"tcp\",\"ports\":[1],\"labels\":{},"
                 "\"targets\":[{\"name\":\"x\"}],\"origin\":\"annotation\"},"
                 "{\"ports\":[2],\"protocol\":\"http\",\"address\":\"a\",\"eventchannel\":true,"
                 "\"tlsCredentials\":\"t\"}]",
                 0),
        0);
    CHECK(site_sync_next_message(s, &m));
    CHECK_STR(m.body,
              "[{\"address\":\"a\",\"protocol\":\"http\",\"ports\":[2],\"exposeIngress\":\"\","
              "\"eventchannel\":true,\"targets\":[],\"tlsCredentials\":\"t\"},"
              "{\"address\":\"b\",\"protocol\":\"tcp\",\"ports\":[1],\"exposeIngress\":\"\","
              "\"targets\":[]}]");
    site_sync_free(s);
}

TEST(a_change_is_sent_at_once_and_everything_again_every_five_seconds)
{
    struct site_sync *s = sync_on();
    struct site_sync_message m;

    CHECK_EQ(announce(s, "[]", 1000), 0);
    CHECK(is_silent(s)); // it is the same
    CHECK_EQ(announce(s, EXAMPLE, 2000), 0);
    CHECK(site_sync_next_message(s, &m));
    CHECK_EQ(site_sync_deadline(s).ns, at(7000).ns);
    site_sync_tick(s, at(6999));
    CHECK(is_silent(s));
    site_sync_tick(s, at(7000));
    CHECK(site_sync_next_message(s, &m));
    CHECK_STR(m.body, EXAMPLE);
    CHECK(is_silent(s));
    CHECK_EQ(site_sync_deadline(s).ns, at(12000).ns);
    site_sync_free(s);
}

TEST(an_empty_list_is_sent_too)
{
    struct site_sync *s = sync_new();
    struct site_sync_message m;

    CHECK_EQ(announce(s, EXAMPLE, 0), 0);
    CHECK(site_sync_next_message(s, &m));
    CHECK_EQ(announce(s, "[]", 0), 0);
    CHECK(site_sync_next_message(s, &m));
    CHECK_STR(m.body, "[]");
    site_sync_free(s);
}

TEST(switched_off_it_says_goodbye_once_and_hears_nothing)
{
    struct site_sync *s = sync_new();
    struct site_sync_message m;

    CHECK_EQ(announce(s, EXAMPLE, 0), 0);
    CHECK(site_sync_next_message(s, &m));
    CHECK_EQ(hear_one(s, "east", "db", 5432, 10), 0);
    CHECK_STR(changes(s), "+db@east:5432");
    CHECK_EQ(announce(s, NULL, 20), 0);
    CHECK_STR(changes(s), "-db@east");
    CHECK(site_sync_next_message(s, &m));
    CHECK_STR(m.body, "[]");
    CHECK(is_silent(s));
    site_sync_tick(s, at(SITE_SYNC_RESEND_MS + 20));
    CHECK(is_silent(s));
    CHECK_EQ(hear_one(s, "east", "db", 5432, 30), 0);
    CHECK_STR(changes(s), "");
    CHECK_EQ(announce(s, EXAMPLE, 40), 0);
    CHECK(site_sync_next_message(s, &m));
    CHECK_STR(m.body, EXAMPLE);
    site_sync_free(s);
}

TEST(what_is_too_large_for_a_message_is_not_announced)
{
    struct site_sync *s = sync_on();
    json_t *services = json_array();
    struct site_sync_message m;
    struct why why;

    for (int i = 0; i < 20000; i++)
        json_array_append_new(
            services,
            json_pack("{s:o, s:s}", "address", json_sprintf("service-%05d", i), "protocol", "tcp"));
    CHECK_EQ(site_sync_announce(s, services, at(0), &why), ERR_LIMIT);
    CHECK(strstr(why.text, "expose fewer") != NULL);
    CHECK(is_silent(s));
    site_sync_tick(s, at(SITE_SYNC_RESEND_MS));
    CHECK(site_sync_next_message(s, &m));
    CHECK_STR(m.body, "[]");
    json_decref(services);
    site_sync_free(s);
}

// ---------------------------------------------------------------------------------------- hearing

TEST(the_example_of_v1_is_understood)
{
    struct site_sync *s = sync_on();
    json_t *shared;
    char *text;

    CHECK_EQ(hear(s, EXAMPLE_ORIGIN, EXAMPLE, 0), 0);
    CHECK_STR(changes(s), "+backend@5b6e0b0e-7a3c-4d26-9b1f-2f6f5b0c9f10:8080");
    shared = site_sync_shared(s);
    text = json_dumps(shared, JSON_COMPACT);
    CHECK_STR(str_of(text), "[{\"origin\":\"5b6e0b0e-7a3c-4d26-9b1f-2f6f5b0c9f10\",\"version\":"
                            "\"1.8.7\",\"since\":5000,\"services\":[{\"address\":\"backend\","
                            "\"protocol\":\"tcp\",\"ports\":[8080],\"exposeIngress\":\"\"}]}]");
    free(text);
    json_decref(shared);
    site_sync_free(s);
}

TEST(services_come_change_and_go)
{
    struct site_sync *s = sync_on();

    CHECK_EQ(hear_one(s, "east", "db", 5432, 0), 0);
    CHECK_STR(changes(s), "+db@east:5432");
    CHECK_EQ(hear_one(s, "east", "db", 5432, 10), 0);
    CHECK_STR(changes(s), "");
    CHECK_EQ(hear_one(s, "east", "db", 5433, 20), 0);
    CHECK_STR(changes(s), "~db@east:5433");
    CHECK_EQ(hear_one(s, "east", "web", 80, 30), 0);
    CHECK_STR(changes(s), "+web@east:80 -db@east");
    CHECK_EQ(hear(s, "east", "[]", 40), 0);
    CHECK_STR(changes(s), "-web@east");
    CHECK_EQ(s->names.count, 0);
    site_sync_free(s);
}

TEST(changes_between_two_looks_are_one_or_none)
{
    struct site_sync *s = sync_on();

    hear_one(s, "east", "db", 1, 0);
    hear_one(s, "east", "db", 2, 1);
    CHECK_STR(changes(s), "+db@east:2");
    hear(s, "east", "[]", 2);
    hear_one(s, "east", "db", 2, 3);
    CHECK_STR(changes(s), "");
    hear_one(s, "east", "x", 1, 4);
    hear_one(s, "east", "db", 2, 5);
    CHECK_STR(changes(s), "");
    site_sync_free(s);
}

TEST(what_a_site_acts_on_counts_as_a_change_and_nothing_else)
{
    static const struct {
        const char *more;
        bool counts;
    } rows[] = {
        {"\"eventchannel\":true", true},
        {"\"eventchannel\":false", false},
        {"\"aggregate\":\"json\"", true},
        {"\"labels\":{\"a\":\"b\"}", true},
        {"\"labels\":{}", false},
        {"\"annotations\":{\"a\":\"b\"}", true},
        {"\"tlsCredentials\":\"t\"", true},
        {"\"tlsCertAuthority\":\"t\"", true},
        {"\"publishNotReadyAddresses\":true", true},
        {"\"headless\":{\"name\":\"n\",\"size\":3}", true},
        {"\"bridgeImage\":\"i\"", false},
        {"\"exposeIngress\":\"Always\"", false},
        {"\"targets\":[{\"name\":\"t\"}]", false},
        {"\"origin\":\"other\"", false},
        {"\"unheardOf\":1", false},
    };
    struct site_sync *s = sync_on();
    char body[300];

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        hear(s, "east", "[{\"address\":\"x\",\"protocol\":\"tcp\",\"ports\":[1]}]", 0);
        changes(s);
        snprintf(body, sizeof(body), "[{\"address\":\"x\",\"protocol\":\"tcp\",\"ports\":[1],%s}]",
                 rows[i].more);
        CHECK_EQ(hear(s, "east", body, 1), 0);
        CHECK_EQ_FOR(rows[i].more, changes(s).len > 0, rows[i].counts);
    }
    site_sync_free(s);
}

TEST(our_own_messages_are_passed_over)
{
    struct site_sync *s = sync_on();

    CHECK_EQ(hear_one(s, "me", "db", 1, 0), 0);
    CHECK_STR(changes(s), "");
    CHECK_EQ(s->origins.count, 0);
    site_sync_free(s);
}

TEST(the_first_origin_of_a_name_wins)
{
    struct site_sync *s = sync_on();

    hear_one(s, "east", "db", 1, 0);
    hear_one(s, "north", "db", 2, 1);
    CHECK_STR(changes(s), "+db@east:1");
    hear_one(s, "north", "db", 3, 2); // nobody sees that
    CHECK_STR(changes(s), "");
    site_sync_free(s);
}

TEST(when_the_first_withdraws_a_name_the_next_takes_its_place_at_once)
{
    struct site_sync *s = sync_on();

    hear_one(s, "east", "db", 1, 0);
    hear_one(s, "north", "db", 2, 1);
    hear_one(s, "west", "db", 3, 2);
    changes(s);
    hear(s, "east", "[]", 3);
    CHECK_STR(changes(s), "~db@north:2");
    hear_one(s, "east", "db", 1, 4); // back, and now the last in line
    CHECK_STR(changes(s), "");
    hear(s, "north", "[]", 5);
    CHECK_STR(changes(s), "~db@west:3");
    hear(s, "west", "[]", 6);
    CHECK_STR(changes(s), "~db@east:1");
    site_sync_free(s);
}

TEST(what_this_site_offers_itself_is_not_taken_from_others)
{
    struct site_sync *s = sync_on();

    hear_one(s, "east", "backend", 1, 0);
    CHECK_STR(changes(s), "+backend@east:1");
    CHECK_EQ(announce(s, EXAMPLE, 1), 0);
    CHECK_STR(changes(s), "-backend@east");
    hear_one(s, "east", "backend", 2, 2);
    CHECK_STR(changes(s), "");
    CHECK_EQ(announce(s, "[]", 3), 0);
    CHECK_STR(changes(s), "+backend@east:2");
    site_sync_free(s);
}

TEST(a_repeated_name_overwrites_itself)
{
    struct site_sync *s = sync_on();
    static const char body[] =
        "[{\"address\":\"x\",\"ports\":[1]},{\"address\":\"x\",\"ports\":[2]}]";

    CHECK_EQ(hear(s, "east", body, 0), 0);
    CHECK_STR(changes(s), "+x@east:2");
    CHECK_EQ(hear(s, "east", body, 1), 0);
    CHECK_STR(changes(s), "");
    site_sync_free(s);
}

TEST(lists_of_old_releases_are_converted)
{
    static const struct {
        const char *body, *want;
    } rows[] = {
        {"[{\"address\":\"x\",\"protocol\":\"tcp\",\"port\":80}]",
         "{\"address\":\"x\",\"protocol\":\"tcp\",\"ports\":[80]}"},
        {"[{\"address\":\"x\",\"port\":80,\"headless\":{\"name\":\"n\",\"targetPort\":90}}]",
         "{\"address\":\"x\",\"ports\":[80],\"headless\":{\"name\":\"n\",\"targetPorts\":{\"80\":"
         "90}}}"},
        {"[{\"address\":\"x\",\"port\":80,\"headless\":{\"name\":\"n\"}}]",
         "{\"address\":\"x\",\"ports\":[80],\"headless\":{\"name\":\"n\",\"targetPorts\":{\"80\":"
         "80}}}"},
        // The first service decides: this one is of the present form, and has no port.
        {"[{\"address\":\"x\",\"ports\":[1]},{\"address\":\"y\",\"port\":80}]",
         "{\"address\":\"x\",\"ports\":[1]}"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        json_t *services = NULL;
        char *text;

        CHECK_EQ(body_read(str_of(rows[i].body), &services, NULL), 0);
        text = json_dumps(json_array_get(services, 0), JSON_COMPACT);
        CHECK_STR(str_of(text), rows[i].want);
        CHECK(json_object_get(json_array_get(services, 1), "ports") == NULL);
        free(text);
        json_decref(services);
    }
}

TEST(a_message_that_makes_no_sense_changes_nothing)
{
    struct site_sync *s = sync_on();
    char *large = calloc(1, SITE_SYNC_BODY_MAX + 2);
    struct site_sync_message rows[] = {
        message("east", "[]"), message("east", "[]"), message("east", "{}"), message("east", "[{"),
        message("east", ""),   message("", "[]"),     message("\xff", "[]"), message("east", "[]"),
    };
    static const int want[] = {ERR_INVALID, ERR_INVALID, ERR_INVALID, ERR_DECODE,
                               ERR_DECODE,  ERR_INVALID, ERR_INVALID, ERR_LIMIT};

    memset(large, ' ', SITE_SYNC_BODY_MAX + 1);
    rows[0].subject = STR("service-sync-update");
    rows[1].subject = STR_NONE;
    rows[7].body = str_of(large);
    hear_one(s, "east", "db", 1, 0);
    changes(s);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct why why = {""};

        CHECK_EQ(site_sync_heard(s, &rows[i], 1, at(1), &why), want[i]);
        CHECK(strncmp(why.text, "a message about services of site '", 34) == 0);
        CHECK_STR(changes(s), "");
    }
    free(large);
    site_sync_free(s);
}

TEST(members_of_a_wrong_type_and_services_without_a_name_are_passed_over)
{
    struct site_sync *s = sync_on();

    CHECK_EQ(hear(s, "east",
                  "[5, null, {}, {\"address\":1}, {\"address\":\"\"},"
                  "{\"address\":\"x\",\"ports\":[1],\"protocol\":5,\"labels\":[]},"
                  "{\"address\":\"y\",\"ports\":[\"80\"]}]",
                  0),
             0);
    // The first one decides about the form: no ports there.
    CHECK_STR(changes(s), "+x@east:1 +y@east:0");
    site_sync_free(s);
}

// --------------------------------------------------------------------------------- ageing, limits

TEST(a_site_that_falls_silent_loses_its_services_after_three_minutes)
{
    struct site_sync *s = sync_on();

    hear_one(s, "east", "db", 1, 1000);
    hear_one(s, "north", "web", 2, 50000);
    changes(s);
    for (int64_t ms = 30000; ms <= 180000; ms += 30000) {
        site_sync_tick(s, at(ms)); // 179 s after east was heard
        CHECK_STR(changes(s), "");
    }
    CHECK(!mono_before(at(210000), site_sync_deadline(s)));
    site_sync_tick(s, at(210000));
    CHECK_STR(changes(s), "-db@east");
    CHECK_EQ(s->origins.count, 1);
    site_sync_tick(s, at(240000));
    CHECK_STR(changes(s), "-web@north");
    site_sync_free(s);
}

TEST(any_message_keeps_a_site_alive)
{
    struct site_sync *s = sync_on();

    hear_one(s, "east", "db", 1, 0);
    changes(s);
    for (int64_t ms = 5000; ms <= 600000; ms += 5000) {
        hear_one(s, "east", "db", 1, ms);
        site_sync_tick(s, at(ms));
        CHECK_STR(changes(s), "");
    }
    site_sync_free(s);
}

TEST(times_can_be_set)
{
    struct site_sync_opts o = {.site_id = "me", .version = "1", .resend_ms = 100, .check_ms = 500};
    struct site_sync *s = site_sync_new(&o, at(0));
    struct site_sync_message m;

    site_sync_set_ttl(s, 1000);

    announce(s, "[]", 0);
    CHECK(site_sync_next_message(s, &m));
    hear_one(s, "east", "db", 1, 0);
    changes(s);
    site_sync_tick(s, at(100));
    CHECK(site_sync_next_message(s, &m));
    site_sync_tick(s, at(999));
    CHECK_STR(changes(s), "");
    site_sync_tick(s, at(1499));
    CHECK_STR(changes(s), "-db@east");
    site_sync_free(s);
}

TEST(sites_and_services_have_limits)
{
    struct site_sync *s = sync_on();
    char origin[32], *body;
    json_t *services = json_array();

    for (int i = 0; i < SITE_SYNC_ORIGINS_MAX; i++) {
        snprintf(origin, sizeof(origin), "site-%d", i);
        CHECK_EQ(hear(s, origin, "[]", 0), 0);
    }
    CHECK_EQ(hear(s, "one-more", "[]", 0), ERR_LIMIT);
    for (int i = 0; i < SITE_SYNC_SERVICES_MAX + 10; i++)
        json_array_append_new(
            services, json_pack("{s:o, s:[i]}", "address", json_sprintf("n%d", i), "ports", 1));
    body = json_dumps(services, JSON_COMPACT);
    for (int i = 0; i < 6; i++) {
        snprintf(origin, sizeof(origin), "site-%d", i);
        CHECK_EQ(hear(s, origin, body, 0), 0);
    }
    CHECK_EQ(s->offers, SITE_SYNC_ALL_MAX);
    CHECK_EQ(s->names.count, SITE_SYNC_SERVICES_MAX);
    free(body);
    json_decref(services);
    site_sync_free(s);
}

// Octets; 0 under a sanitizer, which has memory of its own.
static size_t allocated(void)
{
    return mallinfo2().uordblks;
}

TEST(a_thousand_services_take_less_than_700_kib)
{
    struct site_sync *s = sync_on();
    size_t before = allocated(), kept;
    struct site_sync_change c;
    char origin[32];

    for (int i = 0; i < 50; i++) {
        json_t *services = json_array();
        char *body;

        for (int k = 0; k < 20; k++)
            json_array_append_new(
                services, json_pack("{s:o, s:s, s:[i], s:s, s:[]}", "address",
                                    json_sprintf("service-%d-%d", i, k), "protocol", "tcp", "ports",
                                    20000 + i * 20 + k, "exposeIngress", "", "targets"));
        body = json_dumps(services, JSON_COMPACT);
        snprintf(origin, sizeof(origin), "site-%d", i);
        CHECK_EQ(hear(s, origin, body, 0), 0);
        free(body);
        json_decref(services);
    }
    while (site_sync_next_change(s, &c))
        ;
    CHECK_EQ(s->offers, 1000);
    kept = allocated() - before;
    print_message("1000 services: %zu octets\n", kept);
    CHECK(kept < 700 * 1024);
    site_sync_free(s);
}

TEST(texts_of_all_sites_together_have_a_limit)
{
    struct site_sync *s = sync_on();
    char origin[32], *body = malloc(SITE_SYNC_BODY_MAX + 1);
    int i, err = 0;

    memset(body, ' ', SITE_SYNC_BODY_MAX);
    body[SITE_SYNC_BODY_MAX] = '\0';
    body[0] = '[';
    body[SITE_SYNC_BODY_MAX - 1] = ']';
    for (i = 0; err == 0 && i < 100; i++) {
        snprintf(origin, sizeof(origin), "site-%d", i);
        err = hear(s, origin, body, 0);
    }
    CHECK_EQ(err, ERR_LIMIT);
    CHECK_EQ(i, SITE_SYNC_KEPT_MAX / SITE_SYNC_BODY_MAX + 1);
    CHECK_EQ(hear(s, "site-0", "[]", 0), 0); // makes room
    CHECK_EQ(hear(s, "site-1", "[]", 0), 0);
    CHECK_EQ(hear(s, origin, body, 0), 0);
    free(body);
    site_sync_free(s);
}

// ----------------------------------------------------------------------------------------- saving

static struct site_sync *restart(struct site_sync *take, int64_t stopped_ms, int64_t started_s)
{
    struct site_sync *s = sync_new();
    json_t *saved = site_sync_save(take, 5000 + stopped_ms / 1000, at(stopped_ms));

    site_sync_free(take);
    CHECK_EQ(site_sync_load(s, saved, 5000 + started_s, at(0), NULL), 0);
    json_decref(saved);
    announce(s, "[]", 0);
    return s;
}

TEST(a_restart_forgets_nothing)
{
    struct site_sync *s = sync_on();
    json_t *before, *after;

    hear_one(s, "north", "db", 2, 0);
    hear_one(s, "east", "db", 1, 1000);
    before = site_sync_shared(s);
    s = restart(s, 2000, 3);
    after = site_sync_shared(s);
    CHECK(json_equal(before, after));
    CHECK_STR(changes(s), "+db@north:2"); // who was first is still the first
    hear_one(s, "north", "db", 2, 10);
    hear_one(s, "east", "db", 1, 10);
    CHECK_STR(changes(s), "");
    json_decref(before);
    json_decref(after);
    site_sync_free(s);
}

TEST(what_a_lost_site_offered_ages_out_over_restarts)
{
    struct site_sync *s = sync_on();

    hear_one(s, "east", "db", 1, 0);
    s = restart(s, 60000, 60 + 30); // silent for 90 s in all: 90 are left
    CHECK_STR(changes(s), "+db@east:1");
    site_sync_tick(s, at(60000));
    CHECK_STR(changes(s), "");
    site_sync_tick(s, at(90000));
    CHECK_STR(changes(s), "-db@east");
    site_sync_free(s);
}

TEST(after_a_long_stop_every_site_has_a_minute_to_be_heard)
{
    struct site_sync *s = sync_on();

    hear_one(s, "east", "db", 1, 0);
    s = restart(s, 1000, 100000);
    changes(s);
    site_sync_tick(s, at(59000));
    CHECK_STR(changes(s), "");
    site_sync_tick(s, at(90000));
    CHECK_STR(changes(s), "-db@east");
    site_sync_free(s);
}

TEST(a_clock_that_was_set_back_makes_nobody_older)
{
    struct site_sync *s = sync_on();

    hear_one(s, "east", "db", 1, 0);
    s = restart(s, 1000, -4000);
    changes(s);
    site_sync_tick(s, at(150000));
    CHECK_STR(changes(s), "");
    site_sync_free(s);
}

TEST(what_is_no_saved_state_is_refused_and_nonsense_in_it_passed_over)
{
    struct site_sync *s = sync_on();
    struct why why;
    json_t
        *bad = json_object(),
        *odd = json_loads(
            "{\"saved\":\"x\",\"origins\":[1,{\"origin\":\"me\"},{\"origin\":\"a\",\"services\":5},"
            "{\"origin\":\"b\",\"silentMs\":-9223372036854775807,\"orders\":[-1],"
            "\"services\":[{\"address\":\"x\",\"ports\":[1]},{\"address\":\"x\",\"ports\":[2]}]}]}",
            0, NULL);

    CHECK_EQ(site_sync_load(s, bad, 0, at(0), &why), ERR_INVALID);
    CHECK_EQ(site_sync_load(s, odd, 0, at(0), &why), 0);
    CHECK_STR(changes(s), "+x@b:1");
    json_decref(bad);
    json_decref(odd);
    site_sync_free(s);
}

TEST_MAIN(CASE(nothing_is_sent_before_this_site_has_spoken),
          CASE(who_comes_hears_it_at_once_but_never_more_than_once_a_second),
          CASE(who_does_not_share_repeats_nothing), CASE(a_message_is_what_v1_sites_send),
          CASE(all_there_is_is_sent_sorted_and_without_what_is_local),
          CASE(a_change_is_sent_at_once_and_everything_again_every_five_seconds),
          CASE(an_empty_list_is_sent_too),
          CASE(switched_off_it_says_goodbye_once_and_hears_nothing),
          CASE(what_is_too_large_for_a_message_is_not_announced),
          CASE(the_example_of_v1_is_understood), CASE(services_come_change_and_go),
          CASE(changes_between_two_looks_are_one_or_none),
          CASE(what_a_site_acts_on_counts_as_a_change_and_nothing_else),
          CASE(our_own_messages_are_passed_over), CASE(the_first_origin_of_a_name_wins),
          CASE(when_the_first_withdraws_a_name_the_next_takes_its_place_at_once),
          CASE(what_this_site_offers_itself_is_not_taken_from_others),
          CASE(a_repeated_name_overwrites_itself), CASE(lists_of_old_releases_are_converted),
          CASE(a_message_that_makes_no_sense_changes_nothing),
          CASE(members_of_a_wrong_type_and_services_without_a_name_are_passed_over),
          CASE(a_site_that_falls_silent_loses_its_services_after_three_minutes),
          CASE(any_message_keeps_a_site_alive), CASE(times_can_be_set),
          CASE(sites_and_services_have_limits), CASE(a_thousand_services_take_less_than_700_kib),
          CASE(texts_of_all_sites_together_have_a_limit), CASE(a_restart_forgets_nothing),
          CASE(what_a_lost_site_offered_ages_out_over_restarts),
          CASE(after_a_long_stop_every_site_has_a_minute_to_be_heard),
          CASE(a_clock_that_was_set_back_makes_nobody_older),
          CASE(what_is_no_saved_state_is_refused_and_nonsense_in_it_passed_over))
