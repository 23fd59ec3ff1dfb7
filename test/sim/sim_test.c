// SPDX-License-Identifier: Apache-2.0
#include "sim.h"

#include "base/err.h"
#include "check.h"

enum { BLOCK = 4096 };

static struct sim *line_of(uint32_t count)
{
    struct sim *s = sim_new(1, count, 0, BLOCK);

    for (uint32_t i = 1; i < count; i++)
        sim_link(s, i, i - 1, 1, 1);
    return s;
}

static void end(struct sim *s)
{
    if (sim_fault(s))
        fail_msg("%s", sim_fault(s));
    sim_free(s);
}

static bool is_attached(struct sim *s, void *client)
{
    (void)s;
    return sim_counts(client)->attached > 0;
}

static bool all_settled(struct sim *s, void *client)
{
    const struct sim_counts *n = sim_counts(client);

    (void)s;
    return n->sent > 0 && n->outstanding == 0;
}

static struct sim_client *receiver(struct sim *s, uint32_t router, const char *address)
{
    struct sim_client_opts o = {.router = router, .address = address, .credit = 100};
    struct sim_client *c = sim_client_new(s, &o);

    CHECK(sim_run(s, 1000, is_attached, c));
    return c;
}

static struct sim_client *sender(struct sim *s, uint32_t router, const char *address,
                                 uint32_t count)
{
    struct sim_client_opts o = {
        .router = router, .address = address, .is_sender = true, .to_send = count, .size = 100};

    return sim_client_new(s, &o);
}

static bool all_sent_and_settled(struct sim *s, void *client)
{
    const struct sim_counts *n = sim_counts(client);

    (void)s;
    return n->sent == 500 && n->outstanding == 0;
}

TEST(a_line_of_five_knows_its_routes_within_a_second)
{
    struct sim *s = line_of(5);

    CHECK(sim_run(s, 1000, sim_routes_are_right, NULL));
    end(s);
}

TEST(messages_cross_the_line_and_are_accepted_once)
{
    struct sim *s = line_of(5);
    struct sim_client *to, *from;

    CHECK(sim_run(s, 1000, sim_routes_are_right, NULL));
    to = receiver(s, 4, "x");
    from = sender(s, 0, "x", 500);
    CHECK(sim_run(s, 10000, all_sent_and_settled, from));
    CHECK_EQ(sim_counts(from)->accepted, 500);
    CHECK_EQ(sim_counts(to)->received, 500);
    end(s);
}

TEST(multicast_gives_everybody_each_message_once)
{
    struct sim *s = sim_new(2, 5, 0, BLOCK);
    struct sim_client *to[5], *from;

    for (uint32_t i = 0; i < 5; i++) // a ring: two ways to everywhere
        sim_link(s, i, (i + 1) % 5, 1, 1);
    CHECK(sim_run(s, 2000, sim_routes_are_right, NULL));
    for (uint32_t i = 0; i < 5; i++)
        to[i] = receiver(s, i, "mc/x");
    sim_run(s, 2000, NULL, NULL); // every router has heard of every subscriber
    from = sender(s, 2, "mc/x", 500);
    CHECK(sim_run(s, 10000, all_sent_and_settled, from));
    for (uint32_t i = 0; i < 5; i++) {
        CHECK_EQ(sim_counts(to[i])->received, 500);
    }
    end(s);
}

TEST(a_ring_heals_at_once_when_a_link_is_cut)
{
    struct sim *s = sim_new(3, 6, 0, BLOCK);
    struct sim_wire *w[6];

    for (uint32_t i = 0; i < 6; i++)
        w[i] = sim_link(s, i, (i + 1) % 6, 1, 1);
    CHECK(sim_run(s, 2000, sim_routes_are_right, NULL));
    sim_cut(s, w[0]);
    CHECK_EQ(router_cost_to(sim_router(s, 0), "R0001"), 5); // in the turn that notices it
    CHECK_EQ(router_cost_to(sim_router(s, 1), "R0000"), 5);
    CHECK(sim_run(s, 100, sim_routes_are_right, NULL));
    sim_join(s, w[0]);
    CHECK(sim_run(s, 2000, sim_routes_are_right, NULL));
    sim_kill(s, 3);
    CHECK(sim_run(s, 100, sim_routes_are_right, NULL));
    end(s);
}

TEST(a_pulled_cable_is_noticed_within_a_second)
{
    struct sim *s = sim_new(4, 4, 0, BLOCK);
    struct sim_wire *w[4];

    for (uint32_t i = 0; i < 4; i++)
        w[i] = sim_link(s, i, (i + 1) % 4, 1, 1);
    CHECK(sim_run(s, 2000, sim_routes_are_right, NULL));
    sim_silence(s, w[1]);
    CHECK(sim_run(s, 1100, sim_routes_are_right, NULL));
    end(s);
}

TEST(what_a_lost_router_had_is_settled_with_the_truth)
{
    struct sim *s = line_of(3);
    struct sim_client_opts slow = {.router = 2, .address = "x", .credit = 50, .holds = 50};
    struct sim_client *to, *from;

    CHECK(sim_run(s, 1000, sim_routes_are_right, NULL));
    to = sim_client_new(s, &slow);
    CHECK(sim_run(s, 1000, is_attached, to));
    from = sender(s, 0, "x", 100);
    sim_run(s, 500, NULL, NULL); // 50 are at the receiver, held; the rest waits on the way
    CHECK_EQ(sim_counts(to)->received, 50);
    sim_kill(s, 2);
    CHECK(sim_run(s, 2000, all_settled, from));
    CHECK_EQ(sim_counts(from)->accepted, 0);
    CHECK(sim_counts(from)->modified >= 50);
    end(s);
}

TEST(sender_gets_credit_again_when_its_destination_comes_back_at_once)
{
    struct sim *s = line_of(2);
    struct sim_client_opts slow = {
        .router = 0, .address = "x", .is_sender = true, .to_send = 500, .size = 100, .pace_ms = 5};
    struct sim_client *from, *to;

    CHECK(sim_run(s, 1000, sim_routes_are_right, NULL));
    to = receiver(s, 0, "x");
    from = sim_client_new(s, &slow);
    sim_run(s, 500, NULL, NULL); // has credit, and uses little of it
    sim_client_end(s, to);       // asked to give it back …
    receiver(s, 0, "x");         // … and there is a destination before it answers
    CHECK(sim_run(s, 10000, all_sent_and_settled, from));
    end(s);
}

static uint32_t total_links(struct sim *s, uint32_t routers)
{
    uint32_t sum = 0;

    for (uint32_t i = 0; i < routers; i++) {
        struct router_stats stats;

        router_stats(sim_router(s, i), &stats);
        sum += (uint32_t)stats.links;
    }
    return sum;
}

TEST(long_messages_reach_every_subscriber_and_their_links_are_closed_once_idle)
{
    struct sim *s = line_of(3);
    struct sim_client *to[6], *from;
    struct sim_client_opts large = {
        .router = 0, .address = "mc/x", .is_sender = true, .to_send = 500, .size = 100000};
    uint32_t before;

    CHECK(sim_run(s, 1000, sim_routes_are_right, NULL));
    before = total_links(s, 3);
    for (uint32_t i = 0; i < 6; i++)
        to[i] = receiver(s, i % 3, "mc/x");
    sim_run(s, 1000, NULL, NULL);
    from = sim_client_new(s, &large);
    CHECK(sim_run(s, 60000, all_sent_and_settled, from));
    for (uint32_t i = 0; i < 6; i++)
        CHECK_EQ(sim_counts(to[i])->received, 500);
    sim_client_end(s, from);
    for (uint32_t i = 0; i < 6; i++)
        sim_client_end(s, to[i]);
    CHECK(total_links(s, 3) > before);
    sim_run(s, 41000, NULL, NULL);
    CHECK_EQ(total_links(s, 3), before);
    end(s);
}

TEST(streams_that_wait_for_one_slow_consumer_all_get_through)
{
    struct sim *s = line_of(3);
    struct sim_client_opts slow = {.router = 2, .address = "closest/x", .credit = 3, .pace_ms = 3};
    struct sim_client_opts large = {
        .router = 0, .address = "closest/x", .is_sender = true, .to_send = 500, .size = 100000};
    struct sim_client *from, *to;

    CHECK(sim_run(s, 1000, sim_routes_are_right, NULL));
    to = sim_client_new(s, &slow);
    CHECK(sim_run(s, 1000, is_attached, to));
    from = sim_client_new(s, &large);
    CHECK(sim_run(s, 60000, all_sent_and_settled, from));
    CHECK_EQ(sim_counts(from)->accepted, 500);
    end(s);
}

TEST(memory_is_back_at_its_start_once_idle)
{
    struct sim *s = line_of(3);
    struct router_stats before, after;
    struct sim_client *to, *from;

    CHECK(sim_run(s, 1000, sim_routes_are_right, NULL));
    sim_run(s, 3000, NULL, NULL);
    router_stats(sim_router(s, 1), &before);
    to = receiver(s, 2, "x");
    from = sender(s, 0, "x", 500);
    CHECK(sim_run(s, 10000, all_sent_and_settled, from));
    sim_client_end(s, from);
    sim_client_end(s, to);
    sim_run(s, 5000, NULL, NULL);
    router_stats(sim_router(s, 1), &after);
    CHECK_EQ(after.deliveries, 0);
    CHECK_EQ(after.stored_bytes, 0);
    CHECK_EQ(after.addresses, before.addresses);
    CHECK_EQ(after.links, before.links);
    end(s);
}

struct got {
    uint32_t count;
    char text[64];
};

static void count_message(void *user, struct str message)
{
    struct got *got = user;

    got->count++;
    CHECK(message.len <= sizeof(got->text));
    memcpy(got->text, message.ptr, message.len);
}

static bool knows_a_consumer(struct sim *s, void *router)
{
    (void)s;
    return router_destinations(router, "y") > 0;
}

static bool has_got(struct sim *s, void *user)
{
    const struct got *got = user;

    (void)s;
    return got->count > 0;
}

// An amqp-value section; none of the others is needed.
#define SAYS_HI STR("\0\x53\x77\xa1\x02hi")

TEST(ends_inside_two_routers_meet_over_the_network)
{
    struct sim *s = line_of(3);
    struct got got = {0}, same = {0};

    CHECK(sim_run(s, 1000, sim_routes_are_right, NULL));
    CHECK(!router_send(sim_router(s, 0), "y", SAYS_HI));
    CHECK_EQ(router_consume(sim_router(s, 2), "y", count_message, &got), 0);
    CHECK_EQ(router_consume(sim_router(s, 2), "y", count_message, &same), ERR_EXISTS);
    CHECK(sim_run(s, 3000, knows_a_consumer, sim_router(s, 0)));
    CHECK(router_send(sim_router(s, 0), "y", SAYS_HI));
    CHECK(sim_run(s, 1000, has_got, &got));
    CHECK(memcmp(got.text, SAYS_HI.ptr, SAYS_HI.len) == 0);
    router_unconsume(sim_router(s, 2), "y");
    sim_run(s, 3000, NULL, NULL);
    CHECK(!knows_a_consumer(s, sim_router(s, 0)));
    CHECK(!router_send(sim_router(s, 0), "y", SAYS_HI));
    CHECK_EQ(got.count, 1);
    CHECK_EQ(same.count, 0);
    end(s);
}

struct counted {
    const struct sim_client *receivers[3];
    uint32_t wanted;
};

static bool all_have_all(struct sim *s, void *user)
{
    const struct counted *c = user;

    (void)s;
    for (int i = 0; i < 3; i++)
        if (sim_counts(c->receivers[i])->received < c->wanted)
            return false;
    return true;
}

TEST(presettled_multicasts_go_at_the_pace_of_the_slowest_and_none_is_lost)
{
    enum { ROUTERS = 5, SENDERS = 3, EACH = 600 };
    struct sim *s = sim_new(5, ROUTERS, 1, BLOCK);
    struct counted all = {.wanted = SENDERS * EACH};
    struct router_stats stats;

    for (uint32_t i = 0; i + 1 < ROUTERS; i++)
        sim_link(s, i, i + 1, 1, 1);
    for (uint32_t i = 0; i < 3; i++)
        all.receivers[i] = sim_client_new(
            s,
            &(struct sim_client_opts){.router = i * 2, .address = "mc/x", .credit = i ? 300 : 3});
    sim_run(s, 5000, NULL, NULL);
    sim_delay(sim_wire_of(all.receivers[0]), 20, 0, 0); // three messages each 40 ms
    for (uint32_t i = 0; i < SENDERS; i++)
        sim_client_new(s, &(struct sim_client_opts){.router = 4 - i,
                                                    .address = "mc/x",
                                                    .is_sender = true,
                                                    .presettled = true,
                                                    .to_send = EACH,
                                                    .size = 100});
    CHECK(sim_run(s, 120000, all_have_all, &all));
    CHECK(!sim_fault(s));
    for (uint32_t i = 0; i < ROUTERS; i++) {
        router_stats(sim_router(s, i), &stats);
        CHECK_EQ(stats.dropped_presettled, 0);
    }
    sim_free(s);
}

TEST_MAIN(CASE(presettled_multicasts_go_at_the_pace_of_the_slowest_and_none_is_lost),
          CASE(a_line_of_five_knows_its_routes_within_a_second),
          CASE(messages_cross_the_line_and_are_accepted_once),
          CASE(multicast_gives_everybody_each_message_once),
          CASE(a_ring_heals_at_once_when_a_link_is_cut),
          CASE(a_pulled_cable_is_noticed_within_a_second),
          CASE(what_a_lost_router_had_is_settled_with_the_truth),
          CASE(sender_gets_credit_again_when_its_destination_comes_back_at_once),
          CASE(long_messages_reach_every_subscriber_and_their_links_are_closed_once_idle),
          CASE(streams_that_wait_for_one_slow_consumer_all_get_through),
          CASE(memory_is_back_at_its_start_once_idle),
          CASE(ends_inside_two_routers_meet_over_the_network))
