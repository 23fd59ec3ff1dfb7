// SPDX-License-Identifier: Apache-2.0
#include "net/rig_test.h"

#include "net/names_test.h"

// Clients of one service that are dialled for, and how that ended.
struct dials {
    struct rig rig;
    struct net_target *target;
    char port[16];
    int ready, failed;
    char why[400];
};

static void *dial_ready(void *user, struct net_stream *s, const struct net_engine_ops **ops,
                        struct mono now)
{
    struct dials *d = user;

    (void)s;
    (void)ops;
    (void)now;
    d->ready++;
    return NULL; // closed at once
}

static void dial_failed(void *user, enum net_fault fault, const char *why, struct mono now)
{
    struct dials *d = user;

    (void)now;
    CHECK_EQ(fault, NET_FAULT_TARGET);
    d->failed++;
    snprintf(d->why, sizeof(d->why), "%s", why);
}

static void begin(struct dials *d, struct net_target_opts opts)
{
    struct why why = {""};

    memset(d, 0, sizeof(*d));
    atomic_store(&names_count, 0);
    rig_begin(&d->rig);
    d->rig.refuses = true; // the listener closes what it accepts
    rig_listen(&d->rig, (struct net_listener_opts){0});
    snprintf(d->port, sizeof(d->port), "%d", net_listener_port(d->rig.listener));
    opts.port = d->port;
    CHECK_EQ(net_target_new(d->rig.loop, &opts, &d->target, &why), 0);
}

static void finish(struct dials *d)
{
    net_target_free(d->target);
    rig_end(&d->rig);
}

static struct net_dial *dial(struct dials *d)
{
    struct net_dialling dialling = {.ready = dial_ready, .failed = dial_failed, .user = d};

    return net_dial(d->target, &dialling, NULL);
}

static void wait_ms(struct dials *d, int ms)
{
    struct mono until = mono_add_ms(mono_now(), ms);

    RIG_UNTIL(&d->rig, !mono_before(mono_now(), until));
}

TEST(a_thousand_clients_ask_for_the_name_of_their_server_once)
{
    struct dials d;

    begin(&d, (struct net_target_opts){.host = "127.0.0.1.test", .fresh_ms = 60000});
    for (int round = 1; round <= 10; round++) {
        for (int i = 0; i < 100; i++)
            dial(&d);
        RIG_UNTIL(&d.rig, d.ready == 100 * round);
    }
    CHECK_EQ(atomic_load(&names_count), 1);
    CHECK_EQ(d.failed, 0);
    finish(&d);
}

TEST(what_was_found_is_asked_for_again_after_its_time)
{
    struct dials d;

    begin(&d, (struct net_target_opts){.host = "127.0.0.1.test", .fresh_ms = 1});
    for (int i = 1; i <= 3; i++) {
        dial(&d);
        RIG_UNTIL(&d.rig, d.ready == i);
        CHECK_EQ(atomic_load(&names_count), i);
        wait_ms(&d, 2);
    }
    finish(&d);
}

// Each question is asked twice, with and without AI_ADDRCONFIG.
TEST(that_a_name_is_unknown_is_told_to_all_and_asked_again_after_its_time)
{
    struct dials d;

    begin(&d, (struct net_target_opts){.host = "nobody.test", .failed_ms = 60000});
    dial(&d);
    dial(&d);
    RIG_UNTIL(&d.rig, d.failed == 2);
    CHECK_HAS(d.why, "look up nobody.test:");
    d.why[0] = '\0';
    dial(&d);
    CHECK_EQ(d.failed, 2); // not before net_dial() returns
    RIG_UNTIL(&d.rig, d.failed == 3);
    CHECK_HAS(d.why, "look up nobody.test:");
    net_dial_cancel(dial(&d));
    CHECK_EQ(atomic_load(&names_count), 2);
    finish(&d);

    begin(&d, (struct net_target_opts){.host = "nobody.test", .failed_ms = 1});
    for (int i = 1; i <= 2; i++) {
        dial(&d);
        RIG_UNTIL(&d.rig, d.failed == i);
        CHECK_EQ(atomic_load(&names_count), 2 * i);
        wait_ms(&d, 2);
    }
    finish(&d);
}

TEST(while_no_name_server_answers_what_was_found_last_is_used)
{
    struct dials d;

    begin(&d,
          (struct net_target_opts){.host = "127.0.0.1.test", .fresh_ms = 1, .failed_ms = 60000});
    dial(&d);
    RIG_UNTIL(&d.rig, d.ready == 1);
    wait_ms(&d, 2);
    atomic_store(&names_are_out, true);
    for (int i = 2; i <= 4; i++) {
        dial(&d);
        RIG_UNTIL(&d.rig, d.ready == i);
    }
    CHECK_EQ(atomic_load(&names_count), 3);
    CHECK_EQ(d.failed, 0);
    finish(&d);

    begin(&d, (struct net_target_opts){.host = "127.0.0.1.test"});
    dial(&d);
    RIG_UNTIL(&d.rig, d.failed == 1);
    atomic_store(&names_are_out, false);
    finish(&d);
}

TEST(a_name_server_that_says_nothing_is_waited_for_no_longer_than_for_a_server)
{
    struct dials d;

    begin(&d, (struct net_target_opts){.host = "slow.test", .connect_ms = 20});
    dial(&d);
    RIG_UNTIL(&d.rig, d.failed == 1);
    CHECK_HAS(d.why, "look up slow.test:");
    CHECK_HAS(d.why, "no answer in time");
    dial(&d);
    sem_post(&names_answer);
    sem_post(&names_answer);
    RIG_UNTIL(&d.rig, d.failed == 2 && d.rig.loop->lookup_count == 0);
    finish(&d);
}

struct rival {
    struct rival *other;
    struct net_dial *dial;
    int failed;
};

static void rival_failed(void *user, enum net_fault fault, const char *why, struct mono now)
{
    struct rival *r = user;

    (void)fault;
    (void)why;
    (void)now;
    r->failed++;
    net_dial_cancel(r->other->dial);
}

TEST(a_dial_may_be_given_up_when_the_news_of_it_is_at_hand)
{
    struct dials d;
    struct rival rivals[2] = {{.other = &rivals[1]}, {.other = &rivals[0]}};

    begin(&d, (struct net_target_opts){.host = "127.0.0.2"}); // where nobody listens
    for (int i = 0; i < 2; i++) {
        struct net_dialling dialling = {
            .ready = dial_ready, .failed = rival_failed, .user = &rivals[i]};

        rivals[i].dial = net_dial(d.target, &dialling, NULL);
    }
    RIG_UNTIL(&d.rig, rivals[0].failed + rivals[1].failed == 1);
    finish(&d);
}

TEST_MAIN(CASE(a_thousand_clients_ask_for_the_name_of_their_server_once),
          CASE(what_was_found_is_asked_for_again_after_its_time),
          CASE(that_a_name_is_unknown_is_told_to_all_and_asked_again_after_its_time),
          CASE(while_no_name_server_answers_what_was_found_last_is_used),
          CASE(a_name_server_that_says_nothing_is_waited_for_no_longer_than_for_a_server),
          CASE(a_dial_may_be_given_up_when_the_news_of_it_is_at_hand))
