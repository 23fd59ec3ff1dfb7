// SPDX-License-Identifier: Apache-2.0
// Two processes and a server of one lease, in virtual time.
#include <stdlib.h>

#include "check.h"
#include "kube/inside.h"

static struct rng rng;
static struct mono now;
static json_t *stored;           // what the server has
static enum kube_result refusal; // of every request; KUBE_OK: none
static int version, writes;

static struct lease a, b; // of the two

static void begin(void)
{
    rng_init(&rng, 3);
    now = (struct mono){NS_PER_S};
    version = writes = 0;
    refusal = KUBE_OK;
    lease_init(&a, "n", "l", "a", now);
    lease_init(&b, "n", "l", "b", now);
}

static void end(void)
{
    lease_fini(&a);
    lease_fini(&b);
    json_decref(stored);
    stored = NULL;
}

static json_t *owners(void)
{
    return json_object_get(json_object_get(stored, "metadata"), "ownerReferences");
}

static json_t *version_of(const json_t *object)
{
    return json_object_get(json_object_get(object, "metadata"), "resourceVersion");
}

static enum kube_result store(json_t *body)
{
    char text[16];

    if (stored && !json_equal(version_of(body), version_of(stored)))
        return KUBE_CONFLICT;
    snprintf(text, sizeof(text), "%d", ++version);
    json_object_set_new(json_object_get(body, "metadata"), "resourceVersion", json_string(text));
    json_decref(stored);
    stored = json_deep_copy(body);
    writes++;
    return KUBE_OK;
}

static void serve(enum lease_wish wish, json_t *body, struct kube_answer *answer)
{
    if (refusal)
        answer->result = refusal;
    else if (wish == LEASE_GET)
        answer->result = stored ? KUBE_OK : KUBE_NOT_FOUND;
    else if (wish == LEASE_CREATE)
        answer->result = stored ? KUBE_EXISTS : store(body);
    else
        answer->result = stored ? store(body) : KUBE_NOT_FOUND;
    if (answer->result == KUBE_OK)
        answer->value = json_deep_copy(stored);
}

// Everything that is due now; `is_cut`: it reaches no server.
static void step(struct lease *l, bool is_cut)
{
    for (int i = 0; i < 4 && !mono_before(now, lease_deadline(l)); i++) {
        struct kube_answer answer = {.result = KUBE_UNREACHABLE};
        json_t *body = NULL;
        enum lease_wish wish = lease_tick(l, now, now.ns / 1000, &body);

        if (wish == LEASE_NOTHING)
            continue;
        if (!is_cut)
            serve(wish, body, &answer);
        lease_answered(l, &answer, now, &rng);
        kube_answer_fini(&answer);
        json_decref(body);
    }
}

static void run(bool is_a_cut, bool is_b_cut, int64_t ms)
{
    for (int64_t i = 0; i < ms; i += 100) {
        now = mono_add_ms(now, 100);
        step(&a, is_a_cut);
        step(&b, is_b_cut);
        CHECK(!a.is_held || !b.is_held); // never both
    }
}

static const char *spec(const char *key)
{
    return json_string_value(json_object_get(json_object_get(stored, "spec"), key));
}

TEST(one_of_two_holds_it_and_keeps_it)
{
    begin();
    run(false, false, 60000);
    CHECK(a.is_held && a.tell && !b.is_held && !b.tell);
    CHECK_STR(str_of(b.holder), "a");
    CHECK(writes >= 25 && writes <= 40); // every two seconds
    CHECK_STR(str_of(spec("holderIdentity")), "a");
    CHECK_EQ(strlen(spec("renewTime")), strlen("2026-01-31T12:00:00.000000Z"));
    end();
}

TEST(who_is_cut_off_lets_go_before_another_takes_it)
{
    begin();
    run(false, false, 10000);
    CHECK(a.is_held);
    run(true, false, 7000);
    CHECK(a.is_held && !b.is_held);
    run(true, false, 4000);
    CHECK(!a.is_held && !b.is_held);
    run(true, false, 7000);
    CHECK(!a.is_held && b.is_held);
    CHECK_EQ(
        json_integer_value(json_object_get(json_object_get(stored, "spec"), "leaseTransitions")),
        1);
    run(false, false, 30000); // back again: it waits
    CHECK(!a.is_held && b.is_held);
    end();
}

TEST(a_short_outage_changes_nothing)
{
    begin();
    run(false, false, 5000);
    a.tell = false;
    run(true, true, 6000);
    run(false, false, 20000);
    CHECK(a.is_held && !a.tell && !b.is_held);
    end();
}

TEST(who_may_not_give_it_up_any_more_does_not_try_for_ever)
{
    static const enum kube_result refusals[] = {KUBE_FORBIDDEN, KUBE_UNAUTHORIZED};

    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
        begin();
        run(false, true, 5000);
        refusal = refusals[i];
        run(false, true, 3000);
        CHECK(a.is_held); // rights may come back
        lease_release(&a, now);
        run(false, true, 3000);
        CHECK(a.is_released);
        end();
    }
}

TEST(who_gives_it_up_makes_nobody_wait)
{
    begin();
    run(false, false, 5000);
    a.tell = false;
    lease_release(&a, now);
    CHECK(!a.is_held && a.tell && !a.is_released);
    run(false, false, 3000);
    CHECK(a.is_released && b.is_held);
    CHECK(lease_deadline(&a).ns == MONO_NEVER.ns);
    lease_release(&b, now);
    lease_release(&b, now);
    run(false, false, 3000);
    CHECK(b.is_released);
    CHECK_STR(str_of(spec("holderIdentity")), "");
    end();
}

TEST(a_lease_of_our_name_is_taken_over_by_writing_it)
{
    struct lease again;
    struct kube_answer answer = {0};
    json_t *body = NULL;

    begin();
    step(&a, false);
    CHECK(a.is_held);
    lease_init(&again, "n", "l", "a", now); // the same pod, its container restarted
    CHECK_EQ(lease_tick(&again, now, 0, &body), LEASE_GET);
    serve(LEASE_GET, NULL, &answer);
    lease_answered(&again, &answer, now, &rng);
    CHECK(!again.is_held); // that was the one before
    step(&again, false);
    CHECK(again.is_held);
    lease_fini(&again);
    end();
}

TEST(a_lease_that_is_deleted_is_made_again)
{
    begin();
    run(false, false, 5000);
    json_decref(stored);
    stored = NULL;
    run(false, false, 20000);
    CHECK(stored && a.is_held != b.is_held);
    end();
}

TEST(it_goes_with_its_owner_once_that_is_known_and_with_no_second_one)
{
    json_t *owner = json_pack("{s:s}", "uid", "1"), *other = json_pack("{s:s}", "uid", "2");

    begin();
    run(false, false, 5000);
    CHECK(a.is_held && !owners());
    lease_own(&a, owner);
    run(false, false, 5000);
    CHECK(json_equal(json_array_get(owners(), 0), owner));
    lease_own(&a, other);
    run(false, false, 5000);
    CHECK(json_array_size(owners()) == 1 && json_equal(json_array_get(owners(), 0), owner));
    json_decref(owner);
    json_decref(other);
    end();
}

TEST_MAIN(CASE(one_of_two_holds_it_and_keeps_it),
          CASE(who_is_cut_off_lets_go_before_another_takes_it),
          CASE(a_short_outage_changes_nothing),
          CASE(who_may_not_give_it_up_any_more_does_not_try_for_ever),
          CASE(who_gives_it_up_makes_nobody_wait),
          CASE(a_lease_of_our_name_is_taken_over_by_writing_it),
          CASE(a_lease_that_is_deleted_is_made_again),
          CASE(it_goes_with_its_owner_once_that_is_known_and_with_no_second_one))
