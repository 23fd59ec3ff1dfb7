// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>

#include "check.h"
#include "kube/inside.h"

static const struct outcome lost = {.fail = FAIL_LOST, .retry_after_ms = -1};

TEST(pauses_double_between_their_bounds)
{
    struct pause p = {.min_ms = 100, .max_ms = 1000};
    static const uint32_t want[] = {100, 200, 400, 800, 1000, 1000};
    struct rng rng;

    rng_init(&rng, 1);
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
            uint32_t ms = pause_next(&p, &rng);

            CHECK(ms >= want[i] / 2 && ms <= want[i]);
        }
        pause_reset(&p);
    }
}

TEST(what_may_have_been_done_is_not_created_twice)
{
    static const struct {
        const char *why;
        enum kube_verb verb;
        struct outcome o;
        bool is_tried;
    } rows[] = {
        {"a read whose answer is lost", KUBE_GET, {.fail = FAIL_LOST}, true},
        {"an apply whose answer is lost", KUBE_APPLY, {.fail = FAIL_LOST}, true},
        {"a create whose answer is lost", KUBE_CREATE, {.fail = FAIL_LOST}, false},
        {"a create that reached nobody", KUBE_CREATE, {.fail = FAIL_CONNECT}, true},
        {"a create that was turned away", KUBE_CREATE, {.code = 429}, true},
        {"a create that failed inside", KUBE_CREATE, {.code = 500}, false},
        {"an update that failed inside", KUBE_UPDATE, {.code = 500}, true},
        {"a conflict", KUBE_UPDATE, {.code = 409}, false},
        {"no rights", KUBE_GET, {.code = 403}, false},
        {"another server", KUBE_GET, {.fail = FAIL_TLS}, false},
        {"nonsense", KUBE_GET, {.fail = FAIL_CUT}, false},
        {"no credentials", KUBE_GET, {.fail = FAIL_CREDENTIALS}, false},
        {"success", KUBE_GET, {.code = 200}, false},
    };
    struct rng rng;

    rng_init(&rng, 1);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct pause p = {.min_ms = 100, .max_ms = 1000};
        struct outcome o = rows[i].o;

        o.retry_after_ms = -1;
        CHECK_EQ_FOR(rows[i].why, retry_after(rows[i].verb, &o, 1, 30000, &p, &rng) >= 0,
                     rows[i].is_tried);
    }
}

TEST(the_server_says_when_and_our_time_says_how_long)
{
    struct pause p = {.min_ms = 100, .max_ms = 1000};
    struct outcome busy = {.code = 429, .retry_after_ms = 3000};
    struct outcome broken = {.code = 500, .retry_after_ms = -1};
    struct rng rng;

    rng_init(&rng, 1);
    CHECK_EQ(retry_after(KUBE_GET, &busy, 1, 30000, &p, &rng), 3000);
    CHECK_EQ(retry_after(KUBE_GET, &busy, 1, 3000, &p, &rng), -1); // would be too late
    busy.retry_after_ms = INT64_MAX;
    CHECK_EQ(retry_after(KUBE_GET, &busy, 1, INT64_MAX, &p, &rng), 60000);
    CHECK(retry_after(KUBE_GET, &lost, 9, 30000, &p, &rng) >= 0);
    CHECK_EQ(retry_after(KUBE_GET, &lost, 10, 30000, &p, &rng), -1);
    CHECK(retry_after(KUBE_GET, &broken, 2, 30000, &p, &rng) >= 0);
    CHECK_EQ(retry_after(KUBE_GET, &broken, 3, 30000, &p, &rng), -1);
}

static struct kube_answer judged(int code, const char *status)
{
    struct outcome o = {.code = code, .status = json_loads(status, 0, NULL)};
    struct kube_answer a = {0};

    judge(&a, &o, "get pods/x");
    CHECK((a.result == KUBE_OK) == (a.why.text[0] == '\0'));
    CHECK((kube_result_err(a.result) == 0) == (a.result == KUBE_OK));
    outcome_fini(&o);
    return a;
}

TEST(an_answer_means_what_the_api_says)
{
    static const struct {
        int code;
        const char *status;
        enum kube_result want;
    } rows[] = {
        {200, "", KUBE_OK},
        {201, "", KUBE_OK},
        {404, "{\"reason\":\"NotFound\",\"message\":\"pods \\\"x\\\" not found\"}", KUBE_NOT_FOUND},
        {409, "{\"reason\":\"AlreadyExists\"}", KUBE_EXISTS},
        {409, "{\"reason\":\"Conflict\"}", KUBE_CONFLICT},
        {409,
         "{\"reason\":\"Conflict\",\"details\":{\"causes\":[{\"reason\":\"FieldManagerConflict\"}]}"
         "}",
         KUBE_OWNED},
        {409, "no JSON", KUBE_CONFLICT},
        {409, "{\"details\":{\"causes\":{}}}", KUBE_CONFLICT},
        {422, "{\"reason\":\"Invalid\"}", KUBE_REFUSED},
        {401, "", KUBE_UNAUTHORIZED},
        {403, "{\"reason\":\"Forbidden\"}", KUBE_FORBIDDEN},
        {429, "", KUBE_BUSY},
        {503, "", KUBE_BUSY},
        {302, "", KUBE_UNUSABLE},
        {0, "", KUBE_UNUSABLE},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        CHECK_EQ_FOR(rows[i].status, judged(rows[i].code, rows[i].status).result, rows[i].want);
    CHECK_STR(str_of(judged(404, rows[2].status).reason), "NotFound");
    CHECK_STR(str_of(judged(404, rows[2].status).why.text),
              "cannot get pods/x: pods \"x\" not found");
}

TEST_MAIN(CASE(pauses_double_between_their_bounds),
          CASE(what_may_have_been_done_is_not_created_twice),
          CASE(the_server_says_when_and_our_time_says_how_long),
          CASE(an_answer_means_what_the_api_says))
