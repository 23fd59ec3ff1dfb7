// SPDX-License-Identifier: Apache-2.0
#include "router/rig_test.h"

static void send_many(struct client *c, int link, const char *to, int count)
{
    char body[16];

    for (int i = 0; i < count; i++) {
        snprintf(body, sizeof(body), "%d", i);
        send_text(c, link, to, body);
    }
}

// --------------------------------------------------------------------------------- one router

TEST(a_sender_has_credit_only_while_there_is_somebody_to_send_to)
{
    struct net n;
    struct client *a, *b;
    int s, l;

    net_of_one(&n);
    a = client_of(&n, n.routers[0]);
    b = client_of(&n, n.routers[0]);
    s = sender(a, "closest/a");
    CHECK_EQ(amqp_link_credit(a->links[s]), 0);
    l = receiver(b, "closest/a", 10);
    CHECK_EQ(amqp_link_credit(a->links[s]), 250);
    send_text(a, s, NULL, "one");
    CHECK_HEARD(b, "got(one)");
    CHECK_HEARD(a, "accepted");
    CHECK_EQ(amqp_link_credit(a->links[s]), 249 + 0); // told a quarter at a time
    amqp_link_detach(b->links[l], NULL, NULL);
    net_run(&n);
    CHECK(amqp_link_is_draining(a->links[s]));
    amqp_link_drained(a->links[s]);
    net_run(&n);
    CHECK_EQ(amqp_link_credit(a->links[s]), 0);
    receiver(b, "closest/a", 10);
    CHECK_EQ(amqp_link_credit(a->links[s]), 250);
    net_end(&n);
}

TEST(an_outcome_reaches_the_sender_with_its_meaning)
{
    static const struct {
        enum amqp_outcome_type outcome;
        const char *want;
    } rows[] = {{AMQP_ACCEPTED, "accepted"},
                {AMQP_REJECTED, "rejected"},
                {AMQP_RELEASED, "released"},
                {AMQP_MODIFIED, "modified"}};

    for (size_t i = 0; i < 4; i++) {
        struct net n;
        struct client *a, *b;

        net_of_one(&n);
        a = client_of(&n, n.routers[0]);
        b = client_of(&n, n.routers[0]);
        b->outcome = rows[i].outcome;
        receiver(b, "closest/a", 10);
        send_text(a, sender(a, "closest/a"), NULL, "x");
        CHECK_HEARD(a, rows[i].want);
        net_end(&n);
    }
}

TEST(an_anonymous_sender_without_a_destination_hears_it)
{
    struct net n;
    struct client *a;
    int s;

    net_of_one(&n);
    a = client_of(&n, n.routers[0]);
    s = sender(a, NULL);
    CHECK_EQ(amqp_link_credit(a->links[s]), 250);
    send_text(a, s, "nobody/there", "x");
    CHECK_HEARD(a, "released");
    send_text(a, s, NULL, "x");
    CHECK_HEARD(a, "rejected(amqp:precondition-failed)");
    send_text(a, s, "nowhere/x", "x");
    CHECK_HEARD(a, "released");
    net_end(&n);
}

TEST(a_link_to_an_unavailable_address_is_refused)
{
    struct net n;
    struct client *a;

    net_of_one(&n);
    a = client_of(&n, n.routers[0]);
    sender(a, "nowhere/x");
    receiver(a, "nowhere/x", 1);
    CHECK_HEARD(a, "detached(amqp:not-found) detached(amqp:not-found)");
    net_end(&n);
}

// What is for other routers is not for a client to take.
TEST(nobody_but_its_router_can_receive_what_is_for_a_router)
{
    static const struct {
        enum router_mode mode;
        const char *address;
    } rows[] = {
        {ROUTER_INTERIOR, "_topo/0/other/x"}, {ROUTER_INTERIOR, "_edge/other/x"},
        {ROUTER_INTERIOR, "_topo/9/other/x"}, {ROUTER_EDGE, "_topo/0/other/x"},
        {ROUTER_EDGE, "_topo/0/all/x"},       {ROUTER_EDGE, "_edge/other/x"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct net n;
        struct client *a;

        net_begin(&n);
        net_router(&n, "R", rows[i].mode);
        a = client_of(&n, n.routers[0]);
        receiver(a, rows[i].address, 10);
        CHECK_HEARD(a, "detached(amqp:not-allowed)");
        net_end(&n);
    }
}

TEST(closest_takes_local_consumers_in_turn)
{
    struct net n;
    struct client *a, *b[3];
    int s;

    net_of_one(&n);
    a = client_of(&n, n.routers[0]);
    for (int i = 0; i < 3; i++) {
        b[i] = client_of(&n, n.routers[0]);
        receiver(b[i], "closest/a", 100);
    }
    s = sender(a, "closest/a");
    send_many(a, s, NULL, 30);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(b[i]->received, 10);
    net_end(&n);
}

TEST(balanced_gives_to_the_consumer_with_the_fewest_unsettled)
{
    struct net n;
    struct client *a, *fast, *slow;
    int s;

    net_of_one(&n);
    a = client_of(&n, n.routers[0]);
    fast = client_of(&n, n.routers[0]);
    slow = client_of(&n, n.routers[0]);
    slow->holds = true;
    receiver(fast, "a", 100);
    receiver(slow, "a", 100);
    s = sender(a, "a");
    send_many(a, s, NULL, 20);
    CHECK_EQ(slow->received, 1); // one unsettled is more than none
    CHECK_EQ(fast->received, 19);
    fast->holds = true;
    send_many(a, s, NULL, 21); // evens out: 1 + 10, 11
    CHECK_EQ(fast->held_count, 11);
    CHECK_EQ(slow->held_count, 11);
    settle_held(fast);
    settle_held(slow);
    net_end(&n);
}

TEST(a_message_waits_for_the_first_consumer_that_has_credit)
{
    struct net n;
    struct client *a, *b, *c;
    int s, l;

    net_of_one(&n);
    a = client_of(&n, n.routers[0]);
    b = client_of(&n, n.routers[0]);
    c = client_of(&n, n.routers[0]);
    receiver(b, "closest/a", 0);
    l = receiver(c, "closest/a", 0);
    s = sender(a, "closest/a");
    send_many(a, s, NULL, 3);
    CHECK_HEARD(a, "");
    amqp_link_grant(c->links[l], 2);
    net_run(&n);
    CHECK_HEARD(c, "got(0) got(1) got(2)"); // it gives credit back as it settles
    CHECK_HEARD(a, "accepted accepted accepted");
    CHECK_EQ(b->received, 0);
    net_end(&n);
}

TEST(what_waits_goes_back_when_the_last_consumer_goes)
{
    struct net n;
    struct client *a, *b;
    int s;

    net_of_one(&n);
    a = client_of(&n, n.routers[0]);
    b = client_of(&n, n.routers[0]);
    b->holds = true;
    receiver(b, "a", 1);
    s = sender(a, "a");
    send_many(a, s, NULL, 3);
    CHECK_HEARD(b, "got(0)");
    client_end(b);
    net_run(&n);
    // The first may have been seen; the others surely not.
    CHECK_HEARD(a, "modified released released");
    net_end(&n);
}

TEST(multicast_gives_each_consumer_a_copy_and_the_sender_the_combined_outcome)
{
    static const struct {
        enum amqp_outcome_type one, two;
        const char *want;
    } rows[] = {
        {AMQP_ACCEPTED, AMQP_ACCEPTED, "accepted"}, {AMQP_ACCEPTED, AMQP_REJECTED, "rejected"},
        {AMQP_RELEASED, AMQP_ACCEPTED, "accepted"}, {AMQP_RELEASED, AMQP_MODIFIED, "modified"},
        {AMQP_MODIFIED, AMQP_ACCEPTED, "accepted"}, {AMQP_RELEASED, AMQP_RELEASED, "released"},
        {AMQP_REJECTED, AMQP_MODIFIED, "rejected"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct net n;
        struct client *a, *b, *c;

        net_of_one(&n);
        a = client_of(&n, n.routers[0]);
        b = client_of(&n, n.routers[0]);
        c = client_of(&n, n.routers[0]);
        b->outcome = rows[i].one;
        c->outcome = rows[i].two;
        receiver(b, "mc/a", 10);
        receiver(c, "mc/a", 10);
        send_text(a, sender(a, "mc/a"), NULL, "x");
        CHECK_HEARD(b, "got(x)");
        CHECK_HEARD(c, "got(x)");
        CHECK_HEARD(a, rows[i].want);
        net_end(&n);
    }
}

TEST(a_pre_settled_message_is_told_no_outcome)
{
    struct net n;
    struct client *a, *b;
    int s;

    net_of_one(&n);
    a = client_of(&n, n.routers[0]);
    b = client_of(&n, n.routers[0]);
    receiver(b, "closest/a", 10);
    s = sender(a, "closest/a");
    send_ra(a, s, NULL, NULL, "x", true);
    CHECK_HEARD(b, "got(x settled)");
    CHECK_HEARD(a, "");
    net_end(&n);
}

// The budget is the router's; whoever sends beyond it gets no more window, whatever credit it has.
TEST(beyond_what_may_be_stored_senders_wait_and_when_it_is_gone_they_go_on)
{
    enum { BUDGET = 50000, SIZE = 1000, WINDOW_FRAMES = 128 };
    static char body[SIZE + 1];
    struct router_stats stats;
    struct client *a[2], *b;
    struct router *r;
    struct net n;
    int s[2], l, sent[2] = {0, 0};

    net_begin(&n);
    r = net_router(&n, "R", ROUTER_INTERIOR);
    r->stored_max = BUDGET;
    memset(body, 'b', SIZE);
    b = client_of(&n, r);
    b->is_stingy = true;
    l = receiver(b, "closest/x", 0);
    for (int i = 0; i < 2; i++) {
        a[i] = client_of(&n, r);
        s[i] = sender(a[i], "closest/x");
        while (sent[i] < 250 && can_send(a[i], s[i])) {
            send_text(a[i], s[i], NULL, body);
            sent[i]++;
        }
    }
    CHECK(sent[0] >= BUDGET / SIZE && sent[0] <= BUDGET / SIZE + WINDOW_FRAMES);
    CHECK(sent[1] <= WINDOW_FRAMES); // the budget was used up when it began
    CHECK(amqp_link_credit(a[1]->links[s[1]]) > 0);
    router_stats(r, &stats);
    CHECK(stats.stored_bytes < (BUDGET + 2 * WINDOW_FRAMES * SIZE) * 2);
    grant(b, l, 1000);
    CHECK_EQ(b->received, sent[0] + sent[1]);
    for (int i = 0; i < 2; i++)
        for (int more = 0; more < 300; more++)
            send_text(a[i], s[i], NULL, body);
    CHECK_EQ(b->received, sent[0] + sent[1] + 600);
    net_end(&n);
}

TEST(a_dynamic_address_takes_answers)
{
    struct net n;
    struct client *a, *b;

    net_of_one(&n);
    a = client_of(&n, n.routers[0]);
    b = client_of(&n, n.routers[0]);
    receiver(a, NULL, 10);
    CHECK(strncmp(a->dynamic, "amqp:/_topo/0/R/temp.", 21) == 0);
    CHECK_EQ(strlen(a->dynamic), 21 + 15);
    send_text(b, sender(b, NULL), a->dynamic, "answer");
    CHECK_HEARD(a, "got(answer)");
    CHECK_HEARD(b, "accepted");
    net_end(&n);
}

TEST(annotations_of_a_client_are_dropped_where_they_are_to_be_stripped)
{
    struct amqp_ra ra = {
        .flags = AMQP_RA_STREAMING, .to_override = STR("closest/other"), .ingress = STR("0/liar")};
    struct net n;
    struct client *a, *b, *c;
    int s;

    net_of_one(&n);
    a = client_of(&n, n.routers[0]);
    b = client_of(&n, n.routers[0]);
    c = client_of(&n, n.routers[0]);
    receiver(b, "closest/a", 10);
    receiver(c, "closest/other", 10);
    s = sender(a, "closest/a");
    send_ra(a, s, &ra, NULL, "x", false);
    CHECK_HEARD(b, "got(x)"); // and none on the way out
    send_ra(a, sender(a, NULL), &ra, "closest/a", "y", false);
    CHECK_HEARD(b, "got(y)");
    CHECK_HEARD(c, "");
    net_end(&n);
}

TEST(stripped_annotations_are_not_told_to_other_routers_either)
{
    struct amqp_ra ra = {.to_override = STR("closest/other"), .ingress = STR("0/liar")};
    char *large = xcalloc(1, 40001);
    struct net n;
    struct client *a, *b, *c;
    int s;

    memset(large, 'x', 40000);
    net_begin(&n);
    net_router(&n, "A", ROUTER_INTERIOR);
    net_router(&n, "B", ROUTER_INTERIOR);
    net_join(&n, n.routers[0], n.routers[1], ROUTER_ROLE_INTER_ROUTER, 1);
    net_pass(&n, 4000);
    a = client_of(&n, n.routers[0]);
    b = client_of(&n, n.routers[1]);
    c = client_of(&n, n.routers[1]);
    receiver(b, "closest/a", 10);
    receiver(c, "closest/other", 10);
    net_pass(&n, 2000);
    s = sender(a, NULL);
    send_ra(a, s, &ra, "closest/a", "small", false);
    send_ra(a, s, &ra, "closest/a", large, false);
    s = sender(a, "closest/a");
    send_ra(a, s, &ra, NULL, "small", false);
    send_ra(a, s, &ra, NULL, large, false);
    CHECK_EQ(b->received, 4);
    CHECK_EQ(c->received, 0);
    CHECK_HEARD(a, "accepted accepted accepted accepted");
    net_end(&n);
    free(large);
}

TEST(malformed_annotations_are_rejected_and_the_link_lives_on)
{
    static const struct {
        const char *why;
        uint8_t bytes[48];
        size_t len;
        const char *condition;
    } rows[] = {
        {"list0", {0x45}, 1, "invalid-field"},
        {"three items", {0xc0, 4, 3, 0x43, 0x40, 0x40}, 6, "invalid-field"},
        {"a null fifth", {0xc0, 6, 5, 0x43, 0x40, 0x40, 0x45, 0x40}, 8, "invalid-field"},
        {"a mesh of two",
         {0xc0, 9, 5, 0x43, 0x40, 0x40, 0x45, 0xa1, 2, 'a', 'b'},
         11,
         "invalid-field"},
        {"flags as text", {0xc0, 7, 4, 0xa1, 1, 'a', 0x40, 0x40, 0x45}, 9, "invalid-field"},
        {"null flags", {0xc0, 5, 4, 0x40, 0x40, 0x40, 0x45}, 7, "invalid-field"},
        {"a number to go to", {0xc0, 6, 4, 0x43, 0x52, 1, 0x40, 0x45}, 8, "invalid-field"},
        {"no trace", {0xc0, 5, 4, 0x43, 0x40, 0x40, 0x40}, 7, "invalid-field"},
        {"a trace of numbers",
         {0xc0, 8, 4, 0x43, 0x40, 0x40, 0xc0, 2, 1, 0x43},
         10,
         "invalid-field"},
        {"a list that ends too early", {0xc0, 40, 4, 0x43}, 4, "decode-error"},
        {"no list", {0x43}, 1, "decode-error"},
    };
    static const char prefix[] = "\0\x80SKPR--RA";
    struct net n;
    struct client *a, *b;
    int s;

    net_of_one(&n);
    a = client_of(&n, n.routers[0]);
    b = client_of(&n, n.routers[0]);
    receiver(b, "closest/a", 100);
    s = sender(a, "closest/a");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct amqp_writer w;
        char want[64];

        amqp_writer_init(&w);
        amqp_put_raw(&w, (struct str){prefix, 10});
        amqp_put_raw(&w, (struct str){(const char *)rows[i].bytes, rows[i].len});
        if (strcmp(rows[i].condition, "invalid-field") == 0)
            put_message(&w, NULL, NULL, "x");
        send_bytes(a, s, amqp_written(&w), false);
        amqp_writer_fini(&w);
        snprintf(want, sizeof(want), "rejected(amqp:%s)", rows[i].condition);
        const char *have = heard(a);

        if (strcmp(have, want) != 0)
            fail_msg("%s: %s, not %s", rows[i].why, have, want);
    }
    CHECK_HEARD(b, "");
    send_text(a, s, NULL, "fine");
    CHECK_HEARD(b, "got(fine)");
    net_end(&n);
}

// ------------------------------------------------------------------------------- several routers

// A line A - B - C, and what it takes until all know each other.
static void line(struct net *n)
{
    net_begin(n);
    for (int i = 0; i < 3; i++)
        net_router(n, (const char *[]){"A", "B", "C"}[i], ROUTER_INTERIOR);
    net_join(n, n->routers[0], n->routers[1], ROUTER_ROLE_INTER_ROUTER, 1);
    net_join(n, n->routers[1], n->routers[2], ROUTER_ROLE_INTER_ROUTER, 1);
    net_pass(n, 5000);
    CHECK_EQ(router_cost_to(n->routers[0], "C"), 2);
}

TEST(a_message_goes_two_hops_and_its_outcome_comes_back)
{
    struct net n;
    struct client *a, *c;
    int s;

    line(&n);
    a = client_of(&n, n.routers[0]);
    c = client_of(&n, n.routers[2]);
    s = sender(a, "closest/x");
    c->outcome = AMQP_MODIFIED;
    receiver(c, "closest/x", 10);
    net_pass(&n, 2000);
    CHECK_EQ(amqp_link_credit(a->links[s]), 250);
    send_text(a, s, NULL, "far");
    CHECK_HEARD(c, "got(far)");
    CHECK_HEARD(a, "modified");
    net_end(&n);
}

TEST(closest_prefers_near_consumers_and_among_equals_takes_turns)
{
    struct net n;
    struct client *a, *at[3];
    int s;

    // D is joined to three: B and C near, E far.
    net_begin(&n);
    for (int i = 0; i < 4; i++)
        net_router(&n, (const char *[]){"D", "B", "C", "E"}[i], ROUTER_INTERIOR);
    for (int i = 1; i < 4; i++)
        net_join(&n, n.routers[0], n.routers[i], ROUTER_ROLE_INTER_ROUTER, i == 3 ? 5 : 1);
    net_pass(&n, 5000);
    a = client_of(&n, n.routers[0]);
    s = sender(a, "closest/x");
    for (int i = 0; i < 3; i++) {
        at[i] = client_of(&n, n.routers[i + 1]);
        receiver(at[i], "closest/x", 100);
    }
    net_pass(&n, 2000);
    send_many(a, s, NULL, 20);
    CHECK_EQ(at[0]->received, 10);
    CHECK_EQ(at[1]->received, 10);
    CHECK_EQ(at[2]->received, 0);
    client_end(at[0]);
    client_end(at[1]);
    net_pass(&n, 2000);
    send_many(a, s, NULL, 5);
    CHECK_EQ(at[2]->received, 5);
    net_end(&n);
}

TEST(balanced_weighs_cost_against_what_is_outstanding)
{
    struct net n;
    struct client *a, *here, *there;
    int s;

    net_begin(&n);
    net_router(&n, "A", ROUTER_INTERIOR);
    net_router(&n, "B", ROUTER_INTERIOR);
    net_join(&n, n.routers[0], n.routers[1], ROUTER_ROLE_INTER_ROUTER, 4);
    net_pass(&n, 5000);
    a = client_of(&n, n.routers[0]);
    here = client_of(&n, n.routers[0]);
    there = client_of(&n, n.routers[1]);
    here->holds = there->holds = true;
    receiver(here, "x", 200);
    receiver(there, "x", 200);
    net_pass(&n, 2000);
    s = sender(a, "x");
    send_many(a, s, NULL, 4);
    CHECK_EQ(here->received, 4);
    CHECK_EQ(there->received, 0);
    send_many(a, s, NULL, 16); // from here on evenly: 12 here, 8 there
    CHECK_EQ(here->received, 12);
    CHECK_EQ(there->received, 8);
    settle_held(here);
    settle_held(there);
    net_end(&n);
}

TEST(balanced_messages_that_wait_here_go_where_a_consumer_appears)
{
    struct net n;
    struct client *a, *near, *far;
    int s;

    line(&n);
    a = client_of(&n, n.routers[0]);
    near = client_of(&n, n.routers[0]);
    near->is_stingy = near->holds = true;
    receiver(near, "b/a", 5);
    s = sender(a, "b/a");
    send_many(a, s, NULL, 8);
    CHECK_HEARD(near, "got(0) got(1) got(2) got(3) got(4)");
    far = client_of(&n, n.routers[2]);
    receiver(far, "b/a", 10);
    net_pass(&n, 2000);
    CHECK_HEARD(far, "got(5) got(6) got(7)"); // in their order
    CHECK_HEARD(a, "accepted accepted accepted");
    net_end(&n);
}

static void reaches_everybody_once_in_a_ring(enum router_treatment treatment)
{
    struct net n;
    struct client *a, *at[4];
    int s;

    net_begin(&n);
    for (int i = 0; i < 4; i++)
        net_router(&n, (const char *[]){"A", "B", "C", "D"}[i], ROUTER_INTERIOR);
    for (int i = 0; i < 4; i++)
        net_join(&n, n.routers[i], n.routers[(i + 1) % 4], ROUTER_ROLE_INTER_ROUTER, 1);
    net_pass(&n, 6000);
    a = client_of(&n, n.routers[0]);
    for (int i = 0; i < 4; i++) {
        at[i] = client_of(&n, n.routers[i]);
        receiver(at[i], "mc/x", 100);
    }
    net_pass(&n, 2000);
    for (int i = 0; i < 4; i++)
        address_find(n.routers[i], STR("mc/x"))->treatment = treatment;
    s = sender(a, "mc/x");
    send_many(a, s, NULL, 10);
    for (int i = 0; i < 4; i++)
        CHECK_EQ(at[i]->received, 10);
    CHECK_HEARD(a, "accepted accepted accepted accepted accepted accepted accepted accepted "
                   "accepted accepted");
    net_end(&n);
}

// A flood's copies meet; their numbers tell that they are the same.
TEST(multicast_reaches_everybody_once_in_a_ring)
{
    reaches_everybody_once_in_a_ring(ROUTER_MULTICAST);
    reaches_everybody_once_in_a_ring(ROUTER_FLOOD);
}

TEST(what_a_lost_router_may_have_seen_is_modified_and_what_it_cannot_is_released)
{
    struct net n;
    struct client *a, *b;
    int s;

    net_begin(&n);
    net_router(&n, "A", ROUTER_INTERIOR);
    net_router(&n, "B", ROUTER_INTERIOR);
    struct wire *w = net_join(&n, n.routers[0], n.routers[1], ROUTER_ROLE_INTER_ROUTER, 1);

    net_pass(&n, 5000);
    a = client_of(&n, n.routers[0]);
    b = client_of(&n, n.routers[1]);
    b->holds = true;
    receiver(b, "x", 10);
    net_pass(&n, 2000);
    s = sender(a, "x");
    send_text(a, s, NULL, "one");
    CHECK_HEARD(b, "got(one)");
    net_cut(&n, w);
    CHECK_HEARD(a, "modified");
    net_end(&n);
}

// Begins a message and leaves it open.
static struct amqp_delivery *begin_settled(struct client *c, int link, const char *to, size_t len,
                                           bool settled)
{
    char *body = xcalloc(1, len + 1);
    struct amqp_delivery *d;
    struct amqp_writer w;
    struct iovec part;
    bool done;

    memset(body, 'x', len);
    amqp_writer_init(&w);
    put_message(&w, NULL, to, body);
    part = (struct iovec){w.buf, w.len - 1};
    CHECK(can_send(c, link));
    d = amqp_delivery_begin(c->links[link], settled, 0, NULL);
    CHECK_EQ(amqp_delivery_write(d, &part, 1, false, &done), w.len - 1);
    net_run(c->net);
    amqp_writer_fini(&w);
    free(body);
    return d;
}

static struct amqp_delivery *begin_stream(struct client *c, int link, const char *to, size_t len)
{
    return begin_settled(c, link, to, len, false);
}

static void end_stream(struct client *c, struct amqp_delivery *d)
{
    struct iovec part = {(void *)(uintptr_t) "x", 1};
    bool done;

    CHECK_EQ(amqp_delivery_write(d, &part, 1, true, &done), 1);
    net_run(c->net);
}

// Its sender was held because too much of it was stored; what is still to come interests nobody,
// but the rest of the session waits behind it.
TEST(a_stream_whose_consumer_left_comes_to_its_end)
{
    static uint8_t block[64 * 1024];
    struct iovec part = {block, sizeof(block)};
    struct client *a, *b;
    struct amqp_delivery *d;
    struct net n;
    bool done;
    int s;

    net_begin(&n);
    net_router(&n, "A", ROUTER_INTERIOR);
    a = client_of(&n, n.routers[0]);
    b = client_of(&n, n.routers[0]);
    receiver(b, "x", 0);
    s = sender(a, "x");
    d = begin_settled(a, s, NULL, 900 * 1024, true);
    client_end(b);
    for (int i = 0; i < 64; i++) {
        CHECK_EQ(amqp_delivery_write(d, &part, 1, i == 63, &done), sizeof(block));
        net_run(&n);
    }
    CHECK(done);
    b = client_of(&n, n.routers[0]);
    receiver(b, "x", 10);
    send_text(a, s, NULL, "next");
    CHECK_HEARD(b, "got(next)");
    net_end(&n);
}

// The existing router would use its link no more.
TEST(a_stream_of_another_router_is_settled_when_it_has_ended)
{
    struct router_conn_opts edge = net_conn_opts(ROUTER_ROLE_EDGE, true, 1);
    struct client *e, *c;
    struct amqp_delivery *d;
    struct net n;
    int s;

    net_begin(&n);
    net_router(&n, "A", ROUTER_INTERIOR);
    e = client_as(&n, n.routers[0], &edge, "E");
    e->goes_on = true;
    s = sender(e, NULL);
    for (int is_taken_back = 0; is_taken_back < 2; is_taken_back++) {
        c = client_of(&n, n.routers[0]);
        receiver(c, "x", 10);
        d = begin_stream(e, s, "x", 700 * 1024);
        client_end(c);
        CHECK_HEARD(e, "modified");
        CHECK(!e->was_settled);
        if (is_taken_back) {
            amqp_delivery_abort(d);
            net_run(&n);
            CHECK_HEARD(e, "");
            continue;
        }
        end_stream(e, d);
        CHECK_HEARD(e, "modified");
        CHECK(e->was_settled);
    }
    c = client_of(&n, n.routers[0]);
    receiver(c, "x", 10);
    send_text(e, s, "x", "next");
    CHECK_HEARD(c, "got(next)");
    net_end(&n);
}

TEST(a_stream_is_passed_on_before_it_has_ended)
{
    struct net n;
    struct client *a, *c;
    struct amqp_delivery *d;
    int s;

    line(&n);
    a = client_of(&n, n.routers[0]);
    c = client_of(&n, n.routers[2]);
    receiver(c, "closest/x", 10);
    net_pass(&n, 2000);
    s = sender(a, "closest/x");
    d = begin_stream(a, s, NULL, 200000);
    CHECK(c->body_len > 190000 && c->received == 0);
    end_stream(a, d);
    CHECK_EQ(c->received, 1);
    CHECK_HEARD(a, "accepted");
    net_end(&n);
}

TEST(a_stream_whose_sender_leaves_with_its_end_is_settled_at_every_hop)
{
    struct net n;
    struct client *a, *c;
    struct amqp_delivery *d;

    line(&n);
    a = client_of(&n, n.routers[0]);
    c = client_of(&n, n.routers[2]);
    receiver(c, "closest/x", 10);
    net_pass(&n, 2000);
    d = begin_stream(a, sender(a, "closest/x"), NULL, 200000);
    amqp_delivery_settle_with_end(d);
    end_stream(a, d);
    CHECK_EQ(c->received, 1);
    CHECK(strstr(heard(c), " settled)"));
    CHECK_HEARD(a, "");
    net_end(&n);
}

TEST(a_stream_that_breaks_off_is_taken_back_at_the_other_end)
{
    struct net n;
    struct client *a, *c;

    line(&n);
    a = client_of(&n, n.routers[0]);
    c = client_of(&n, n.routers[2]);
    receiver(c, "closest/x", 10);
    net_pass(&n, 2000);
    begin_stream(a, sender(a, "closest/x"), NULL, 200000);
    CHECK(c->body_len > 190000);
    client_end(a);
    CHECK_HEARD(c, "aborted");
    CHECK_EQ(c->received, 0);
    net_end(&n);
}

// The next router answers before the stream has ended; its links must not run out of credit.
TEST(streams_that_are_released_halfway_leave_their_links_usable)
{
    struct net n;
    struct client *a, *c;
    int s;

    line(&n);
    a = client_of(&n, n.routers[0]);
    s = sender(a, NULL);
    for (int i = 0; i < 300; i++) {
        begin_stream(a, s, "_topo/0/B/nobody", 70000);
        CHECK_HEARD(a, "released");
    }
    c = client_of(&n, n.routers[2]);
    receiver(c, "closest/x", 10);
    net_pass(&n, 2000);
    for (int i = 0; i < 3; i++) {
        end_stream(a, begin_stream(a, s, "closest/x", 200000));
        CHECK_HEARD(a, "accepted");
    }
    CHECK_EQ(c->received, 3);
    net_end(&n);
}

TEST(the_local_and_topological_forms_reach_the_routers_they_name)
{
    struct net n;
    struct client *a, *at[3];
    int s;

    line(&n);
    a = client_of(&n, n.routers[0]);
    for (int i = 0; i < 3; i++) {
        at[i] = client_of(&n, n.routers[i]);
        receiver(at[i], "_local/here", 100);
    }
    s = sender(a, NULL);
    send_text(a, s, "_topo/0/C/here", "to C");
    CHECK_HEARD(at[2], "got(to C)");
    send_text(a, s, "_local/here", "to A");
    CHECK_HEARD(at[0], "got(to A)");
    send_text(a, s, "_topo/0/nobody/here", "x");
    CHECK_HEARD(at[1], "");
    CHECK_HEARD(a, "accepted accepted released");
    net_end(&n);
}

TEST(a_message_that_walked_farther_than_the_network_is_wide_is_released)
{
    struct amqp_ra ra = {.ingress = STR("0/B"), .trace_count = 3};
    struct net n;
    struct client *a, *peer;
    struct amqp_writer trace;
    struct router_conn_opts edge = net_conn_opts(ROUTER_ROLE_EDGE, true, 1);

    net_begin(&n);
    net_router(&n, "A", ROUTER_INTERIOR);
    peer = client_as(&n, n.routers[0], &edge, "E");
    a = client_of(&n, n.routers[0]);
    receiver(a, "closest/x", 10);
    amqp_writer_init(&trace);
    for (int i = 0; i < 3; i++)
        amqp_put_string(&trace, STR("0/B"));
    ra.trace = amqp_written(&trace);
    send_ra(peer, sender(peer, NULL), &ra, "closest/x", "round and round", false);
    CHECK_HEARD(peer, "released");
    CHECK_HEARD(a, "");
    amqp_writer_fini(&trace);
    net_end(&n);
}

TEST_MAIN(CASE(a_sender_has_credit_only_while_there_is_somebody_to_send_to),
          CASE(an_outcome_reaches_the_sender_with_its_meaning),
          CASE(an_anonymous_sender_without_a_destination_hears_it),
          CASE(a_link_to_an_unavailable_address_is_refused),
          CASE(nobody_but_its_router_can_receive_what_is_for_a_router),
          CASE(closest_takes_local_consumers_in_turn),
          CASE(balanced_gives_to_the_consumer_with_the_fewest_unsettled),
          CASE(a_message_waits_for_the_first_consumer_that_has_credit),
          CASE(what_waits_goes_back_when_the_last_consumer_goes),
          CASE(multicast_gives_each_consumer_a_copy_and_the_sender_the_combined_outcome),
          CASE(a_pre_settled_message_is_told_no_outcome),
          CASE(beyond_what_may_be_stored_senders_wait_and_when_it_is_gone_they_go_on),
          CASE(a_dynamic_address_takes_answers),
          CASE(annotations_of_a_client_are_dropped_where_they_are_to_be_stripped),
          CASE(stripped_annotations_are_not_told_to_other_routers_either),
          CASE(malformed_annotations_are_rejected_and_the_link_lives_on),
          CASE(a_message_goes_two_hops_and_its_outcome_comes_back),
          CASE(closest_prefers_near_consumers_and_among_equals_takes_turns),
          CASE(balanced_weighs_cost_against_what_is_outstanding),
          CASE(balanced_messages_that_wait_here_go_where_a_consumer_appears),
          CASE(multicast_reaches_everybody_once_in_a_ring),
          CASE(what_a_lost_router_may_have_seen_is_modified_and_what_it_cannot_is_released),
          CASE(a_stream_whose_consumer_left_comes_to_its_end),
          CASE(a_stream_of_another_router_is_settled_when_it_has_ended),
          CASE(a_stream_is_passed_on_before_it_has_ended),
          CASE(a_stream_whose_sender_leaves_with_its_end_is_settled_at_every_hop),
          CASE(a_stream_that_breaks_off_is_taken_back_at_the_other_end),
          CASE(streams_that_are_released_halfway_leave_their_links_usable),
          CASE(the_local_and_topological_forms_reach_the_routers_they_name),
          CASE(a_message_that_walked_farther_than_the_network_is_wide_is_released))
