// SPDX-License-Identifier: Apache-2.0
#include "router/rig_test.h"

// Sends pre-settled messages for as long as there is credit; returns how many.
static int send_all(struct client *c, int link, int most)
{
    int count = 0;

    for (; count < most && can_send(c, link); count++)
        send_ra(c, link, NULL, NULL, "x", true);
    return count;
}

static uint64_t dropped(const struct router *r)
{
    struct router_stats s;

    router_stats(r, &s);
    return s.dropped_presettled;
}

// A consumer that keeps up and one that takes what it is told to, of the same address.
struct pair {
    struct client *fast, *slow;
    int slow_link;
};

static struct pair consumers(struct net *n, struct router *r)
{
    struct pair p = {client_of(n, r), client_of(n, r), 0};

    receiver(p.fast, "mc/x", 1000);
    p.slow->is_stingy = true;
    p.slow_link = receiver(p.slow, "mc/x", 0);
    return p;
}

static void keeps_everything(struct net *n, struct router *at, struct router *from)
{
    struct pair p = consumers(n, at);
    struct client *a[3];
    int links[3], sent = 0;

    net_pass(n, 3000);
    for (int i = 0; i < 3; i++) {
        a[i] = client_of(n, from);
        links[i] = sender(a[i], "mc/x");
        sent += send_all(a[i], links[i], 1000);
    }
    CHECK_EQ(sent, 3 * 250);
    for (int step = 0; step < 20; step++) {
        net_pass(n, 4000); // a consumer that takes something now and then is not stuck
        grant(p.slow, p.slow_link, 100);
        sent += send_all(a[step % 3], links[step % 3], 40);
    }
    CHECK(sent > 1000); // which would not fit its queue
    CHECK_EQ(p.fast->received, sent);
    CHECK_EQ(p.slow->received, sent);
    CHECK_EQ(dropped(at), 0);
    CHECK_EQ(dropped(from), 0);
}

TEST(a_slow_consumer_of_a_multicast_holds_its_senders_and_loses_nothing)
{
    struct net n;
    struct router *r;

    net_begin(&n);
    r = net_router(&n, "R", ROUTER_INTERIOR);
    keeps_everything(&n, r, r);
    net_end(&n);
}

TEST(a_slow_consumer_at_another_router_holds_them_too)
{
    struct net n;
    struct router *a, *b;

    net_begin(&n);
    a = net_router(&n, "A", ROUTER_INTERIOR);
    b = net_router(&n, "B", ROUTER_INTERIOR);
    net_join(&n, a, b, ROUTER_ROLE_INTER_ROUTER, 1);
    keeps_everything(&n, b, a);
    net_end(&n);
}

TEST(a_slow_consumer_at_an_interior_holds_senders_at_its_edge)
{
    struct net n;
    struct router *a, *e;

    net_begin(&n);
    a = net_router(&n, "A", ROUTER_INTERIOR);
    e = net_router(&n, "E", ROUTER_EDGE);
    net_join(&n, e, a, ROUTER_ROLE_EDGE, 1);
    keeps_everything(&n, a, e);
    net_end(&n);
}

static void passes_by(struct net *n, struct router *at, struct router *from)
{
    struct pair p = consumers(n, at);
    struct client *a;
    int s;

    net_pass(n, 3000);
    a = client_of(n, from);
    s = sender(a, "mc/x");
    CHECK_EQ(send_all(a, s, 1000), 250);
    net_pass(n, 4000);
    CHECK_EQ(dropped(at), 0);
    CHECK_EQ(send_all(a, s, 1000), 0);
    net_pass(n, 2500);
    CHECK_EQ(dropped(at), 250);
    CHECK_EQ(send_all(a, s, 600), 600); // nobody waits for it any more
    CHECK_EQ(p.fast->received, 850);
    CHECK_EQ(p.slow->received, 0);
    CHECK_EQ(dropped(at), 850);
    grant(p.slow, p.slow_link, 5); // and it is back
    CHECK_EQ(send_all(a, s, 5), 5);
    CHECK_EQ(p.slow->received, 5);
    CHECK_EQ(send_all(a, s, 10), 10); // what it is behind with now waits for it again
    CHECK_EQ(dropped(at), 850);
    grant(p.slow, p.slow_link, 10);
    CHECK_EQ(p.slow->received, 15);
}

TEST(a_consumer_that_takes_nothing_for_long_is_passed_by_and_what_it_loses_is_counted)
{
    struct net n;
    struct router *r;

    net_begin(&n);
    r = net_router(&n, "R", ROUTER_INTERIOR);
    passes_by(&n, r, r);
    net_end(&n);
}

TEST(a_stuck_consumer_at_another_router_is_passed_by_too)
{
    struct net n;
    struct router *a, *b;

    net_begin(&n);
    a = net_router(&n, "A", ROUTER_INTERIOR);
    b = net_router(&n, "B", ROUTER_INTERIOR);
    net_join(&n, a, b, ROUTER_ROLE_INTER_ROUTER, 1);
    passes_by(&n, b, a);
    CHECK_EQ(dropped(a), 0); // the fast one had them all
    net_end(&n);
}

// Alone, a stuck consumer keeps what was sent unsettled, and its sender waits.
TEST(unsettled_multicasts_wait_for_as_long_as_it_takes)
{
    struct net n;
    struct pair p;
    struct client *a;
    int s;

    net_of_one(&n);
    p = consumers(&n, n.routers[0]);
    a = client_of(&n, n.routers[0]);
    s = sender(a, "mc/x");
    send_text(a, s, NULL, "1");
    net_pass(&n, 60000);
    CHECK_HEARD(a, "");
    grant(p.slow, p.slow_link, 1);
    CHECK_HEARD(p.slow, "got(1)");
    CHECK_HEARD(a, "accepted");
    net_end(&n);
}

TEST(who_cannot_be_held_back_loses_what_the_queue_has_no_room_for)
{
    struct net n;
    struct pair p;
    struct amqp_writer w;

    net_of_one(&n);
    p = consumers(&n, n.routers[0]);
    amqp_writer_init(&w);
    put_message(&w, NULL, "mc/x", "x");
    for (int i = 0; i < 600; i++) {
        CHECK(router_send(n.routers[0], "mc/x", amqp_written(&w)));
        net_run(&n);
    }
    amqp_writer_fini(&w);
    CHECK_EQ(p.fast->received, 600);
    CHECK_EQ(dropped(n.routers[0]), 100);
    grant(p.slow, p.slow_link, 1000);
    CHECK_EQ(p.slow->received, 500);
    net_end(&n);
}

TEST_MAIN(CASE(a_slow_consumer_of_a_multicast_holds_its_senders_and_loses_nothing),
          CASE(a_slow_consumer_at_another_router_holds_them_too),
          CASE(a_slow_consumer_at_an_interior_holds_senders_at_its_edge),
          CASE(a_consumer_that_takes_nothing_for_long_is_passed_by_and_what_it_loses_is_counted),
          CASE(a_stuck_consumer_at_another_router_is_passed_by_too),
          CASE(unsettled_multicasts_wait_for_as_long_as_it_takes),
          CASE(who_cannot_be_held_back_loses_what_the_queue_has_no_room_for))
