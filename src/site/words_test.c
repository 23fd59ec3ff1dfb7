// SPDX-License-Identifier: Apache-2.0
#include "check.h"
#include "site/site.h"

struct row {
    const char *text;
    bool want;
};

static void check_rows(bool (*f)(struct str), const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++)
        CHECK_EQ_FOR(rows[i].text, f(str_of(rows[i].text)), rows[i].want);
}
#define CHECK_ROWS(f, rows) check_rows(f, rows, sizeof(rows) / sizeof((rows)[0]))

TEST(names_are_those_of_resources)
{
    static const struct row rows[] = {
        {"a", true},        {"west", true}, {"a-b.c9", true}, {"0", true},     {"", false},
        {"-a", false},      {"a-", false},  {"A", false},     {"a_b", false},  {"a..b", false},
        {".a", false},      {"a.", false},  {"a-.b", false},  {"a.-b", false}, {"a--b", true},
        {"../../x", false}, {"a b", false}, {"a/b", false},
    };
    char longest[SITE_NAME_MAX + 2];

    CHECK_ROWS(site_is_name, rows);
    memset(longest, 'a', sizeof(longest));
    CHECK(site_is_name((struct str){longest, SITE_NAME_MAX}));
    CHECK(!site_is_name((struct str){longest, SITE_NAME_MAX + 1}));
    CHECK(site_is_namespace(STR("a-1")));
    CHECK(!site_is_namespace(STR("a.b")));
    CHECK(!site_is_namespace((struct str){longest, 64}));
}

TEST(hosts_are_addresses_or_names)
{
    static const struct row rows[] = {
        {"localhost", true},
        {"db.example.org", true},
        {"DB.Example.org", true},
        {"10.0.0.1", true},
        {"::1", true},
        {"fe80::1", true},
        {"0.0.0.0", true},
        {"::", true},
        {"a-b", true},
        {"xn--bcher-kva", true},
        {"", false},
        {"-a", false},
        {"a-", false},
        {"a..b", false},
        {"a.-b", false},
        {"a b", false},
        {"[::1]", false},
        {"http://a", false},
        {"a:80", false},
        {".a", false},
    };

    CHECK_ROWS(site_is_host, rows);
    CHECK(site_is_ip(STR("::1")) && !site_is_ip(STR("localhost")));
}

TEST(selectors_and_paths_are_made_of_their_characters)
{
    static const struct row selectors[] = {{"app=db", true},       {"app=db,tier=back", true},
                                           {"a.b/c=d-e_f", true},  {"", false},
                                           {"a b", false},         {"a=b;c", false},
                                           {"a==b, c != d", true}, {"a in (b, c)", true},
                                           {"!a,b", true},         {"a notin (b)", true},
                                           {"a in b", false},      {"a=b,", false},
                                           {"a in (b", false},     {"=b", false}};
    static const struct row paths[] = {
        {"~/x.yaml", true}, {"/a_b-c.d", true}, {"", false}, {"a b", false}, {"a;b", false}};

    CHECK_ROWS(site_is_selector, selectors);
    CHECK_ROWS(site_is_path, paths);
}

TEST(numbers_are_digits_within_limits)
{
    int64_t n = -1;

    CHECK(site_number(STR("65535"), 0, 65535, &n) && n == 65535);
    CHECK(site_number(STR("007"), 0, 10, &n) && n == 7);
    CHECK(!site_number(STR("65536"), 0, 65535, &n));
    CHECK(!site_number(STR(""), 0, 10, &n));
    CHECK(!site_number(STR("-1"), -5, 10, &n));
    CHECK(!site_number(STR("1x"), 0, 10, &n));
    CHECK(!site_number(STR("99999999999999999999"), 0, INT64_MAX, &n));
    CHECK_EQ(n, 7);
}

TEST(durations_are_those_of_go)
{
    static const struct {
        const char *text;
        int64_t ms;
    } rows[] = {{"15m", 900000},
                {"1h30m", 5400000},
                {"1.5h", 5400000},
                {"300ms", 300},
                {"0", 0},
                {"-1s", -1000},
                {"+2s", 2000},
                {".5s", 500},
                {"1h2m3s", 3723000},
                {"1s1s", 2000},
                {"1000\xc2\xb5s", 1},
                {"2562047h", 9223369200000}};
    static const char *const wrong[] = {"",   "1",   "m", "1x",       "1m2", ".",
                                        ".s", "1 m", "-", "3000000h", NULL};
    int64_t ns = 7;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        CHECK(site_duration(str_of(rows[i].text), &ns));
        CHECK_EQ_FOR(rows[i].text, ns / 1000000, rows[i].ms);
    }
    ns = 7;
    for (size_t i = 0; wrong[i]; i++)
        CHECK_EQ_FOR(wrong[i], site_duration(str_of(wrong[i]), &ns), false);
    CHECK_EQ(ns, 7);
}

TEST(a_duration_is_written_as_go_writes_it)
{
    static const struct {
        int64_t ns;
        const char *want;
    } rows[] = {{0, "0s"},
                {900000000000, "15m0s"},
                {5400000000000, "1h30m0s"},
                {1500000000, "1.5s"},
                {60000000000, "1m0s"},
                {300000000, "300ms"},
                {1500, "1.5us"},
                {7, "7ns"},
                {-1000000000, "-1s"}};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char text[SITE_DURATION_MAX];
        int64_t back;

        site_duration_text(rows[i].ns, text);
        CHECK_STR(str_of(text), rows[i].want);
        CHECK(site_duration(str_of(text), &back));
        CHECK_EQ_FOR(text, back, rows[i].ns);
    }
}

TEST(times_are_rfc_3339)
{
    static const struct {
        const char *text;
        int64_t want;
    } rows[] = {{"2026-01-01T00:00:00Z", 1767225600},
                {"2026-01-01T01:00:00+01:00", 1767225600},
                {"2025-12-31T23:30:00.123-00:30", 1767225600},
                {"1970-01-01T00:00:00Z", 0}};
    static const char *const wrong[] = {"",
                                        "2026-01-01",
                                        "2026-01-01T00:00:00",
                                        "yesterday",
                                        "2026-01-01T00:00:00Zx",
                                        "2026-01-01T00:00:00+1",
                                        NULL};
    char text[SITE_TIME_MAX];
    int64_t seconds = 5;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        CHECK(site_time(str_of(rows[i].text), &seconds));
        CHECK_EQ_FOR(rows[i].text, seconds, rows[i].want);
    }
    for (size_t i = 0; wrong[i]; i++)
        CHECK_EQ_FOR(wrong[i], site_time(str_of(wrong[i]), &seconds), false);
    site_time_text(1767225600, text);
    CHECK_STR(str_of(text), "2026-01-01T00:00:00Z");
}

TEST(kinds_are_found_by_every_name)
{
    static const struct {
        const char *name, *want;
    } rows[] = {{"Site", "Site"},
                {"sites", "Site"},
                {"st", "Site"},
                {"LISTENER", "Listener"},
                {"grant", "AccessGrant"},
                {"to", "AccessToken"},
                {"multikeylistener", "MultiKeyListener"}};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct site_kind *k = site_find_kind(str_of(rows[i].name));

        CHECK(k != NULL);
        CHECK_STR(str_of(k->name), rows[i].want);
    }
    CHECK(site_find_kind(STR("Pod")) == NULL);
    CHECK(site_find_kind(STR("")) == NULL);
}

TEST_MAIN(CASE(names_are_those_of_resources), CASE(hosts_are_addresses_or_names),
          CASE(selectors_and_paths_are_made_of_their_characters),
          CASE(numbers_are_digits_within_limits), CASE(durations_are_those_of_go),
          CASE(a_duration_is_written_as_go_writes_it), CASE(times_are_rfc_3339),
          CASE(kinds_are_found_by_every_name))
