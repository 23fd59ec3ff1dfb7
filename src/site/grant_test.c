// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "check.h"
#include "site/site.h"

enum { NOW = 1800000000 };

// For members that their owner frees; here nobody does.
static char *fixed(const char *text)
{
    return (char *)(uintptr_t)text;
}

static struct site_grant grant(const char *uid)
{
    return (struct site_grant){.name = fixed("the-grant"),
                               .uid = fixed(uid),
                               .code = fixed("8q1xyzABC"),
                               .allowed = 2,
                               .expires = NOW + 60};
}

static struct site_grant_request request(const char *path)
{
    return (struct site_grant_request){.method = STR("POST"),
                                       .path = str_of(path),
                                       .body = STR("8q1xyzABC"),
                                       .name = STR("west-token"),
                                       .subject = STR("1b9f")};
}

TEST(the_right_code_is_redeemed)
{
    struct site_grant grants[] = {grant("uid-1"), grant("uid-2")};
    struct site_grant_request r = request("/uid-2");
    struct site_grant_verdict v;

    site_grant_judge(grants, 2, &r, NOW, &v);
    CHECK_EQ(v.status, 0);
    CHECK_EQ(v.index, 1);
    CHECK_STR(str_of(v.name), "west-token");
    CHECK_STR(str_of(v.subject), "1b9f");
    r.path = STR("//uid/-1/");
    r.subject = STR_NONE;
    site_grant_judge(grants, 2, &r, NOW, &v);
    CHECK_EQ(v.index, 0);
    CHECK_STR(str_of(v.subject), "west-token");
    r.name = STR_NONE;
    site_grant_judge(grants, 2, &r, NOW, &v);
    CHECK_STR(str_of(v.name), "the-grant");
    CHECK_STR(str_of(v.subject), "the-grant");
}

TEST(every_refusal_has_its_status_and_words)
{
    static char long_text[2000];
    static const struct {
        const char *why, *method, *path, *body, *name, *subject;
        int64_t used, later;
        bool is_corrupt;
        int status;
        const char *words;
    } rows[] = {
        {"method", "GET", "/uid", "8q1xyzABC", "", "", 0, 0, false, 405,
         "Only POST is supported\n"},
        {"unknown", "POST", "/uie", "8q1xyzABC", "", "", 0, 0, false, 404, "No such claim\n"},
        {"longer", "POST", "/uid1", "8q1xyzABC", "", "", 0, 0, false, 404, "No such claim\n"},
        {"nothing", "POST", "/", "8q1xyzABC", "", "", 0, 0, false, 404, "No such claim\n"},
        {"long", "POST", long_text, "8q1xyzABC", "", "", 0, 0, false, 404, "No such claim\n"},
        {"expired", "POST", "/uid", "8q1xyzABC", "", "", 0, 60, false, 404, "No such claim\n"},
        {"expired, and a wrong code", "POST", "/uid", "x", "", "", 0, 60, false, 404,
         "No such claim\n"},
        {"expired before it is used up", "POST", "/uid", "x", "", "", 2, 60, false, 404,
         "No such claim\n"},
        {"used up", "POST", "/uid", "8q1xyzABC", "", "", 2, 0, false, 404,
         "No such access granted\n"},
        {"used up before the code", "POST", "/uid", "x", "", "", 2, 0, false, 404,
         "No such access granted\n"},
        {"wrong code", "POST", "/uid", "8q1xyzABD", "", "", 0, 0, false, 403,
         "Redemption of access token refused\n"},
        {"shorter code", "POST", "/uid", "8q1xyzAB", "", "", 0, 0, false, 403,
         "Redemption of access token refused\n"},
        {"longer code", "POST", "/uid", "8q1xyzABC\n", "", "", 0, 0, false, 403,
         "Redemption of access token refused\n"},
        {"no code", "POST", "/uid", "", "", "", 0, 0, false, 403,
         "Redemption of access token refused\n"},
        {"huge code", "POST", "/uid", long_text, "", "", 0, 0, false, 400,
         "Request body not valid\n"},
        {"no time", "POST", "/uid", "8q1xyzABC", "", "", 0, 0, true, 500, "Corrupted claim\n"},
        {"name", "POST", "/uid", "8q1xyzABC", "../x", "", 0, 0, false, 400,
         "Request header name or subject not valid\n"},
        {"subject", "POST", "/uid", "8q1xyzABC", "", "a\tb", 0, 0, false, 400,
         "Request header name or subject not valid\n"},
        {"long subject", "POST", "/uid", "8q1xyzABC", "", long_text, 0, 0, false, 400,
         "Request header name or subject not valid\n"},
    };

    memset(long_text, 'a', sizeof(long_text) - 1);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct site_grant g = grant("uid");
        struct site_grant_request r = {.method = str_of(rows[i].method),
                                       .path = str_of(rows[i].path),
                                       .body = str_of(rows[i].body),
                                       .name = str_of(rows[i].name),
                                       .subject = str_of(rows[i].subject)};
        struct site_grant_verdict v;

        g.used = rows[i].used;
        g.is_corrupt = rows[i].is_corrupt;
        site_grant_judge(&g, 1, &r, NOW + rows[i].later, &v);
        CHECK_EQ_FOR(rows[i].why, v.status, rows[i].status);
        CHECK_STR(str_of(v.words), rows[i].words);
    }
}

TEST(a_grant_without_a_code_is_nobodys)
{
    struct site_grant g = grant("uid");
    struct site_grant_request r = request("uid");
    struct site_grant_verdict v;

    g.code = fixed("");
    r.body = STR_NONE;
    site_grant_judge(&g, 1, &r, NOW, &v);
    CHECK_EQ(v.status, 403);
}

static json_t *resource(const char *spec)
{
    json_t *value = json_pack("{s:{s:s}, s:o}", "metadata", "name", "the-grant", "spec",
                              json_loads(spec, 0, NULL));

    CHECK(value);
    return value;
}

TEST(a_grant_is_made_as_its_resource_says)
{
    static const struct {
        const char *spec, *code;
        int64_t allowed, window;
    } rows[] = {
        {"{}", "made", 1, 900},
        {"{\"redemptionsAllowed\": 0, \"expirationWindow\": \"\"}", "made", 1, 900},
        {"{\"redemptionsAllowed\": 5, \"expirationWindow\": \"1h30m\", \"code\": \"own\"}", "own",
         5, 5400},
        {"{\"expirationWindow\": \"1.5s\"}", "made", 1, 2},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        json_t *value = resource(rows[i].spec);
        struct site_grant g = {0};

        CHECK_EQ(site_grant_make(value, "uid", "made", NOW, &g, NULL), 0);
        CHECK_STR(str_of(g.name), "the-grant");
        CHECK_STR(str_of(g.code), rows[i].code);
        CHECK_EQ_FOR(rows[i].spec, g.allowed, rows[i].allowed);
        CHECK_EQ_FOR(rows[i].spec, g.expires, NOW + rows[i].window);
        CHECK_EQ(g.used, 0);
        site_grant_fini(&g);
        json_decref(value);
    }
}

TEST(a_window_that_is_none_is_told)
{
    static const char *const specs[] = {"{\"expirationWindow\": \"soon\"}",
                                        "{\"expirationWindow\": \"-5m\"}",
                                        "{\"expirationWindow\": \"0s\"}"};

    for (size_t i = 0; i < 3; i++) {
        json_t *value = resource(specs[i]);
        struct site_grant g = {0};
        struct why why = {""};

        CHECK_EQ_FOR(specs[i], site_grant_make(value, "uid", "c", NOW, &g, &why), ERR_INVALID);
        CHECK(str_starts(str_of(why.text), STR("Invalid duration \"")));
        json_decref(value);
    }
}

TEST(more_redemptions_may_be_allowed_later)
{
    json_t *one = resource("{}"), *three = resource("{\"redemptionsAllowed\": 3}");
    struct site_grant g = {0};

    CHECK_EQ(site_grant_make(one, "uid", "c", NOW, &g, NULL), 0);
    g.used = 1;
    CHECK(!site_grant_update(&g, one));
    CHECK(site_grant_update(&g, three));
    CHECK_EQ(g.allowed, 3);
    CHECK_EQ(g.used, 1);
    CHECK_EQ(g.expires, NOW + 900);
    site_grant_fini(&g);
    json_decref(one);
    json_decref(three);
}

TEST(what_is_kept_reads_back)
{
    struct site_grant g = grant("uid"), back = {0};
    json_t *kept, *status;

    g.used = 1;
    kept = site_grant_write(&g);
    CHECK_EQ(site_grant_read(kept, &back, NULL), 0);
    CHECK_STR(str_of(back.name), "the-grant");
    CHECK_STR(str_of(back.uid), "uid");
    CHECK_STR(str_of(back.code), "8q1xyzABC");
    CHECK_EQ(back.allowed, 2);
    CHECK_EQ(back.used, 1);
    CHECK_EQ(back.expires, NOW + 60);
    CHECK(!back.is_corrupt);
    status = site_grant_status(&back, "https://h:9090/uid", "PEM");
    CHECK_STR(str_of(site_text(status, "expirationTime")), "2027-01-15T08:01:00Z");
    CHECK_EQ(json_integer_value(json_object_get(status, "redemptions")), 1);
    json_decref(status);
    site_grant_fini(&back);
    json_object_set_new(kept, "expirationTime", json_string("tomorrow"));
    CHECK_EQ(site_grant_read(kept, &back, NULL), 0);
    CHECK(back.is_corrupt);
    site_grant_fini(&back);
    json_decref(kept);
}

TEST(what_is_kept_in_part_is_refused)
{
    static const char *const fields[] = {"name", "uid", "code", "redemptionsAllowed",
                                         "redemptions"};

    for (size_t i = 0; i < 5; i++) {
        struct site_grant g = grant("uid"), back = {0};
        json_t *kept = site_grant_write(&g);
        struct why why = {""};

        json_object_del(kept, fields[i]);
        CHECK_EQ_FOR(fields[i], site_grant_read(kept, &back, &why), ERR_INVALID);
        CHECK(strstr(why.text, fields[i]));
        json_decref(kept);
    }
}

TEST_MAIN(CASE(the_right_code_is_redeemed), CASE(every_refusal_has_its_status_and_words),
          CASE(a_grant_without_a_code_is_nobodys), CASE(a_grant_is_made_as_its_resource_says),
          CASE(a_window_that_is_none_is_told), CASE(more_redemptions_may_be_allowed_later),
          CASE(what_is_kept_reads_back), CASE(what_is_kept_in_part_is_refused))
