// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "check.h"
#include "json.h"
#include "site/site.h"

enum { NOW = 1800000000 };  // 2027-01-15T08:00:00Z
#define PASSWORD "cGFzcw==" // pass

static json_t *record(const char *notes)
{
    return json_pack("{s:s, s:{s:s, s:o}, s:{s:s}}", "kind", "Secret", "metadata", "name", "abc",
                     "annotations", json_of(notes), "data", "password", PASSWORD);
}

static struct site_grant_request request(const char *query)
{
    return (struct site_grant_request){.method = STR("POST"),
                                       .path = STR("/abc"),
                                       .body = STR("pass"),
                                       .subject = STR("1b9f"),
                                       .is_claim = true,
                                       .query = str_of(query)};
}

TEST(every_refusal_is_that_of_version_1)
{
    static const struct {
        const char *notes, *path, *body, *query;
        int status;
        const char *words;
    } rows[] = {
        {"{}", "/abc", "pass", "site-version=1.9.6", 0, ""},
        {"{}", "/abc", "pass", "", 0, ""},
        {"{}", "/abc", "pass", "site-version=0.8.0", 0, ""},
        {"{}", "/abc", "pass", "a=b&site-version=0.80.1", 0, ""},
        {"{}", "/abc", "pass", "a=b&site-version=0.7.9", 400,
         "Releases before 0.8.0 cannot link to this site\n"},
        {"{}", "/abd", "pass", "", 404, "No such claim\n"},
        {"{}", "/abc", "past", "", 403, "Claim refused\n"},
        {"{}", "/abc", "", "", 403, "Claim refused\n"},
        {"{'skupper.io/claims-remaining': '0', 'skupper.io/claims-made': '3'}", "/abc", "pass", "",
         404, "No such claim\n"},
        {"{'skupper.io/claims-remaining': '1', 'skupper.io/claims-made': '3'}", "/abc", "pass", "",
         0, ""},
        {"{'skupper.io/claims-remaining': 'some'}", "/abc", "pass", "", 500, "Corrupted claim\n"},
        {"{'skupper.io/claims-made': 'many'}", "/abc", "pass", "", 500, "Corrupted claim\n"},
        {"{'skupper.io/claim-expiration': '2027-01-15T08:00:01Z'}", "/abc", "pass", "", 0, ""},
        {"{'skupper.io/claim-expiration': '2027-01-15T08:00:00Z'}", "/abc", "pass", "", 404,
         "No such claim\n"},
        {"{'skupper.io/claim-expiration': 'soon'}", "/abc", "pass", "", 500, "Corrupted claim\n"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        json_t *secret = record(rows[i].notes);
        struct site_grant_request r = request(rows[i].query);
        struct site_grant_verdict v;
        struct site_grant g;

        r.path = str_of(rows[i].path);
        r.body = str_of(rows[i].body);
        CHECK(site_claim_read(secret, &g));
        site_grant_judge(&g, 1, &r, NOW, &v);
        CHECK_EQ_FOR(rows[i].notes, v.status, rows[i].status);
        CHECK_STR(str_of(v.words), rows[i].words);
        if (v.status == 0) {
            CHECK_STR(str_of(v.name), "abc");
            CHECK_STR(str_of(v.subject), "1b9f");
        }
        site_grant_fini(&g);
        json_decref(secret);
    }
}

TEST(what_is_asked_otherwise_than_by_post_is_refused)
{
    struct site_grant_request r = request("");
    struct site_grant_verdict v;

    r.method = STR("GET");
    site_grant_judge(NULL, 0, &r, NOW, &v);
    CHECK_EQ(v.status, 405);
    CHECK_STR(str_of(v.words), "Only POST is supported\n");
    r = request("");
    r.subject = STR("a\nb");
    site_grant_judge(NULL, 0, &r, NOW, &v);
    CHECK_EQ(v.status, 400);
}

TEST(a_redemption_is_one_more_and_one_less)
{
    static const struct {
        const char *notes, *want;
    } rows[] = {
        {"{'skupper.io/claims-remaining': '1'}",
         "{'skupper.io/claims-made': '1', 'skupper.io/claims-remaining': '0'}"},
        {"{'skupper.io/claims-remaining': '2', 'skupper.io/claims-made': '7'}",
         "{'skupper.io/claims-made': '8', 'skupper.io/claims-remaining': '1'}"},
        {"{'skupper.io/claims-made': '41'}", "{'skupper.io/claims-made': '42'}"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        json_t *secret = record(rows[i].notes), *counted;
        struct site_grant g;

        CHECK(site_claim_read(secret, &g));
        counted = site_claim_counted(&g);
        CHECK_JSON(counted, rows[i].want);
        json_decref(counted);
        site_grant_fini(&g);
        json_decref(secret);
    }
}

TEST(a_record_without_a_password_is_nobodys)
{
    json_t *secret = record("{}");
    struct site_grant g;

    json_object_clear(json_object_get(secret, "data"));
    CHECK(!site_claim_read(secret, &g));
    json_decref(secret);
}

TEST(what_is_given_out_is_a_token_that_links)
{
    json_t *notes = json_of("{'inter-router-host': 'west.example.org', 'inter-router-port': '443',"
                            " 'skupper.io/generated-by': 'west'}");
    char *text = site_claim_answer("abc", notes, "ca", "cert", "key");
    struct site_token t;

    CHECK_EQ(site_token_read("answer", str_of(text), &t, NULL), 0);
    CHECK_EQ(t.kind, SITE_TOKEN_LINKS);
    CHECK_STR(str_of(t.origin), "west");
    CHECK_JSON(site_get(json_array_get(t.links.links, 0), "spec.endpoints"),
               "[{'name': 'inter-router', 'host': 'west.example.org', 'port': '443'}]");
    site_token_fini(&t);
    json_decref(notes);
    free(text);
}

TEST(what_is_carried_away_is_a_claim)
{
    struct site_claim_token is = {.name = "abc",
                                  .url = "https://west:8081/abc",
                                  .site_id = "west",
                                  .password = "pass",
                                  .ca = "ca",
                                  .expires = "2027-01-15T08:00:00Z"};
    char *text = site_claim_text(&is);
    struct site_token t;

    CHECK_EQ(site_token_read("claim", str_of(text), &t, NULL), 0);
    CHECK_EQ(t.kind, SITE_TOKEN_CLAIM);
    CHECK_STR(str_of(t.url), "https://west:8081/abc");
    CHECK_STR(str_of(t.code), "pass");
    CHECK_STR(str_of(t.ca), "ca");
    CHECK_STR(str_of(t.origin), "west");
    CHECK_EQ(t.expires, NOW);
    CHECK(strstr(text, "skupper.io/site-version: 1.9.6\n"));
    site_token_fini(&t);
    free(text);
}

TEST_MAIN(CASE(every_refusal_is_that_of_version_1),
          CASE(what_is_asked_otherwise_than_by_post_is_refused),
          CASE(a_redemption_is_one_more_and_one_less), CASE(a_record_without_a_password_is_nobodys),
          CASE(what_is_given_out_is_a_token_that_links), CASE(what_is_carried_away_is_a_claim))
