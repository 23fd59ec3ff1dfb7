// SPDX-License-Identifier: Apache-2.0
// A router of several threads as its engines see it: a hub and shards, joined by wires of memory
// that carry what their mailboxes would.
#include "router/rig_test.h"

enum { AT_HUB, AT_FIRST, AT_SECOND, AT_OTHER, PLACES };

// A hub with two shards, and another router beside it.
struct house {
    struct net net;
    struct router *hub, *at[PLACES];
};

static void begin_as(struct house *h, enum router_mode mode)
{
    struct net *n = &h->net;

    net_begin(n);
    h->hub = h->at[AT_HUB] = net_router(n, "H", mode);
    h->at[AT_FIRST] = net_shard(n, h->hub);
    h->at[AT_SECOND] = net_shard(n, h->hub);
    h->at[AT_OTHER] = net_router(n, "O", ROUTER_INTERIOR);
    net_join(n, h->hub, h->at[AT_OTHER],
             mode == ROUTER_EDGE ? ROUTER_ROLE_EDGE : ROUTER_ROLE_INTER_ROUTER, 1);
    net_pass(n, 2000);
}

static void begin(struct house *h)
{
    begin_as(h, ROUTER_INTERIOR);
}

static void send_number(struct client *c, int link, int number, bool settled)
{
    char body[16];

    snprintf(body, sizeof(body), "%d", number);
    send_ra(c, link, NULL, NULL, body, settled);
}

// What the client has got since it was asked last is the numbers from `first` on, in order.
static void check_numbers(struct client *c, int first, int count)
{
    static char want[CLIENT_TOLD];
    size_t len = 0;

    want[0] = '\0';
    for (int i = first; i < first + count; i++)
        len += (size_t)snprintf(want + len, sizeof(want) - len, "%sgot(%d%s)", i > first ? " " : "",
                                i, i % 2 ? " settled" : "");
    CHECK_HEARD(c, want);
}

TEST(messages_arrive_in_order_from_everywhere_to_everywhere)
{
    static const enum router_mode modes[] = {ROUTER_INTERIOR, ROUTER_EDGE};

    for (int m = 0; m < 2; m++)
        for (int from = 0; from < PLACES; from++)
            for (int to = 0; to < PLACES; to++) {
                struct house h;
                struct client *a, *b;
                int s, first = 0;

                begin_as(&h, modes[m]);
                a = client_of(&h.net, h.at[from]);
                b = client_of(&h.net, h.at[to]);
                receiver(b, "closest/x", 50);
                net_pass(&h.net, 1500);
                s = sender(a, "closest/x");
                for (int i = 0; i < 400; i++) {
                    send_number(a, s, i, i % 2);
                    if (i % 100 == 99) {
                        check_numbers(b, first, 100);
                        first = i + 1;
                    }
                }
                net_end(&h.net);
            }
}

TEST(outcomes_keep_their_meaning_on_their_way_through_the_hub)
{
    static const struct {
        enum amqp_outcome_type outcome;
        const char *want;
    } rows[] = {{AMQP_ACCEPTED, "accepted"},
                {AMQP_REJECTED, "rejected"},
                {AMQP_RELEASED, "released"},
                {AMQP_MODIFIED, "modified"}};

    for (size_t i = 0; i < 4; i++) {
        struct house h;
        struct client *a, *b;

        begin(&h);
        a = client_of(&h.net, h.at[AT_FIRST]);
        b = client_of(&h.net, h.at[AT_SECOND]);
        b->outcome = rows[i].outcome;
        receiver(b, "closest/x", 10);
        send_text(a, sender(a, "closest/x"), NULL, "x");
        CHECK_HEARD(a, rows[i].want);
        net_end(&h.net);
    }
}

TEST(a_sender_has_credit_while_there_is_a_consumer_at_any_part)
{
    for (int to = 0; to < PLACES; to++) {
        struct house h;
        struct client *a, *b;
        int s, l;

        begin(&h);
        a = client_of(&h.net, h.at[AT_FIRST]);
        b = client_of(&h.net, h.at[to]);
        s = sender(a, "closest/x");
        net_pass(&h.net, 1500);
        CHECK_EQ(amqp_link_credit(a->links[s]), 0);
        l = receiver(b, "closest/x", 10);
        net_pass(&h.net, 1500);
        CHECK_EQ(amqp_link_credit(a->links[s]), 250);
        amqp_link_detach(b->links[l], NULL, NULL);
        net_pass(&h.net, 1500);
        CHECK(amqp_link_is_draining(a->links[s]));
        amqp_link_drained(a->links[s]);
        net_run(&h.net);
        CHECK_EQ(amqp_link_credit(a->links[s]), 0);
        net_end(&h.net);
    }
}

// However many messages the wires could hold.
TEST(a_consumer_without_credit_holds_a_sender_at_another_part_and_nothing_is_dropped)
{
    static const char *const addresses[] = {"closest/x", "b/x", "mc/x"};

    for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
        struct house h;
        struct router_stats stats;
        struct client *a, *b;
        int s, l, sent = 0;

        begin(&h);
        a = client_of(&h.net, h.at[AT_FIRST]);
        b = client_of(&h.net, h.at[AT_SECOND]);
        b->is_stingy = true;
        l = receiver(b, addresses[i], 0);
        s = sender(a, addresses[i]);
        for (; sent < 2000 && can_send(a, s); sent++)
            send_number(a, s, sent, true);
        CHECK_EQ(sent, 250);
        CHECK_EQ(b->received, 0);
        grant(b, l, 100);
        CHECK_EQ(b->received, 100);
        for (; sent < 2000 && can_send(a, s); sent++)
            send_number(a, s, sent, true);
        CHECK_EQ(sent, 350);
        grant(b, l, 1000);
        CHECK_EQ(b->received, 350);
        router_stats(h.hub, &stats);
        CHECK_EQ(stats.presettled, 350);
        CHECK_EQ(stats.dropped_presettled, 0);
        net_end(&h.net);
    }
}

TEST(closest_prefers_the_same_part_and_any_part_to_another_router)
{
    struct house h;
    struct client *a, *at[PLACES];
    int s;

    begin(&h);
    a = client_of(&h.net, h.at[AT_FIRST]);
    at[AT_OTHER] = client_of(&h.net, h.at[AT_OTHER]);
    receiver(at[AT_OTHER], "closest/x", 10);
    net_pass(&h.net, 1500);
    s = sender(a, "closest/x");
    send_text(a, s, NULL, "1");
    CHECK_HEARD(at[AT_OTHER], "got(1)");
    at[AT_SECOND] = client_of(&h.net, h.at[AT_SECOND]);
    receiver(at[AT_SECOND], "closest/x", 10);
    for (int i = 0; i < 5; i++)
        send_text(a, s, NULL, "2");
    CHECK_EQ(at[AT_SECOND]->received, 5);
    CHECK_HEARD(at[AT_OTHER], "");
    client_end(at[AT_SECOND]);
    send_text(a, s, NULL, "3");
    CHECK_HEARD(at[AT_OTHER], "got(3)");
    net_end(&h.net);
}

TEST(multicast_reaches_each_consumer_of_each_part_once)
{
    for (int from = 0; from < PLACES; from++) {
        struct house h;
        struct client *a, *at[2 * PLACES];
        int s, any;

        begin(&h);
        for (int i = 0; i < 2 * PLACES; i++) {
            at[i] = client_of(&h.net, h.at[i % PLACES]);
            receiver(at[i], "mc/x", 10);
        }
        net_pass(&h.net, 1500);
        a = client_of(&h.net, h.at[from]);
        s = sender(a, "mc/x");
        any = sender(a, NULL);
        send_text(a, s, NULL, "1");
        send_ra(a, s, NULL, NULL, "2", true);
        send_text(a, any, "mc/x", "3");
        for (int i = 0; i < 2 * PLACES; i++)
            CHECK_HEARD(at[i], "got(1) got(2 settled) got(3)");
        CHECK_HEARD(a, "accepted accepted");
        net_end(&h.net);
    }
}

TEST(what_a_lost_client_of_another_part_held_comes_back)
{
    struct house h;
    struct client *a, *b;
    int s;

    begin(&h);
    a = client_of(&h.net, h.at[AT_FIRST]);
    b = client_of(&h.net, h.at[AT_SECOND]);
    b->holds = b->is_stingy = true;
    receiver(b, "closest/x", 2);
    s = sender(a, "closest/x");
    for (int i = 0; i < 5; i++)
        send_text(a, s, NULL, "x");
    CHECK_EQ(b->received, 2);
    client_end(b);
    net_pass(&h.net, 1500);
    // Two may have been seen, three have not left the router.
    CHECK_HEARD(a, "modified modified released released released");
    net_end(&h.net);
}

TEST(a_sender_that_is_lost_leaves_what_it_sent_and_takes_nothing_of_others_along)
{
    struct house h;
    struct client *a, *b, *c;
    int s;

    begin(&h);
    a = client_of(&h.net, h.at[AT_FIRST]);
    c = client_of(&h.net, h.at[AT_FIRST]);
    b = client_of(&h.net, h.at[AT_SECOND]);
    b->holds = b->is_stingy = true;
    receiver(b, "closest/x", 10);
    send_text(a, sender(a, "closest/x"), NULL, "of a");
    s = sender(c, "closest/x");
    send_text(c, s, NULL, "of c");
    client_end(a);
    CHECK_HEARD(b, "got(of a) got(of c)");
    settle_held(b);
    CHECK_HEARD(c, "accepted");
    net_end(&h.net);
}

TEST(requests_and_answers_pass_between_the_parts)
{
    for (int from = 0; from < PLACES; from++) {
        struct house h;
        struct client *a, *b;
        int back;

        begin(&h);
        a = client_of(&h.net, h.at[from]);
        b = client_of(&h.net, h.at[AT_SECOND]);
        receiver(a, NULL, 10); // a dynamic address
        receiver(b, "closest/service", 10);
        net_pass(&h.net, 1500);
        send_text(a, sender(a, NULL), "closest/service", "ask");
        CHECK_HEARD(b, "got(ask)");
        back = sender(b, NULL);
        send_text(b, back, a->dynamic, "answer");
        CHECK_HEARD(a, "accepted got(answer)");
        CHECK_HEARD(b, "accepted");
        net_end(&h.net);
    }
}

TEST(a_stream_passes_while_it_is_sent_and_one_that_breaks_off_is_taken_back)
{
    struct house h;
    struct client *a, *b;
    struct amqp_delivery *d;
    struct amqp_writer w;
    static char body[300000];
    struct iovec part;
    bool done;
    int s;

    begin(&h);
    a = client_of(&h.net, h.at[AT_FIRST]);
    b = client_of(&h.net, h.at[AT_SECOND]);
    receiver(b, "closest/x", 10);
    s = sender(a, "closest/x");
    memset(body, 'b', sizeof(body) - 1);
    amqp_writer_init(&w);
    put_message(&w, NULL, NULL, body);
    part = (struct iovec){(void *)(uintptr_t)amqp_written(&w).ptr, w.len - 1};
    for (int i = 0; i < 2; i++) {
        d = amqp_delivery_begin(a->links[s], false, 0, NULL);
        CHECK_EQ(amqp_delivery_write(d, &part, 1, false, &done), part.iov_len);
        net_run(&h.net);
        CHECK(b->body_len > 290000);
        if (i == 0) {
            struct iovec end = {(char *)(uintptr_t)amqp_written(&w).ptr + part.iov_len, 1};

            CHECK_EQ(amqp_delivery_write(d, &end, 1, true, &done), 1);
            net_run(&h.net);
            CHECK_EQ(b->received, 1);
            CHECK_HEARD(a, "accepted");
            heard(b);
        } else {
            client_end(a);
            net_run(&h.net);
            CHECK_HEARD(b, "aborted");
        }
    }
    amqp_writer_fini(&w);
    net_end(&h.net);
}

// Workers take their mail when they come to it, and as much of it as is there.
TEST(nothing_depends_on_when_each_part_takes_its_mail)
{
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct house h;
        struct client *a[2], *b[2];
        int links[2], sent[2] = {0, 0};
        struct rng rng;

        rng_init(&rng, seed);
        begin(&h);
        for (int i = 0; i < 2; i++) {
            a[i] = client_of(&h.net, h.at[i == 0 ? AT_FIRST : AT_SECOND]);
            b[i] = client_of(&h.net, h.at[i == 0 ? AT_SECOND : AT_FIRST]);
            receiver(b[i], i == 0 ? "closest/0" : "mc/1", 7);
            links[i] = sender(a[i], i == 0 ? "closest/0" : "mc/1");
        }
        while (sent[0] < 300 || sent[1] < 300) {
            uint32_t i = rng_below(&rng, 2), at = rng_below(&rng, (uint32_t)h.net.wire_count);
            struct wire *w = &h.net.wires[at];
            struct iovec part;
            struct amqp_writer out;
            char body[16];
            bool done;

            if (sent[i] < 300 && can_send(a[i], links[i])) {
                amqp_writer_init(&out);
                snprintf(body, sizeof(body), "%d", sent[i]);
                put_message(&out, NULL, NULL, body);
                part = (struct iovec){(void *)(uintptr_t)amqp_written(&out).ptr, out.len};
                amqp_delivery_write(
                    amqp_delivery_begin(a[i]->links[links[i]], sent[i] % 2, 0, NULL), &part, 1,
                    true, &done);
                amqp_writer_fini(&out);
                sent[i]++;
            }
            if (w->conn[0] || w->client)
                net_carry(&h.net, w, (int)rng_below(&rng, 2));
        }
        net_run(&h.net);
        for (int i = 0; i < 2; i++) {
            CHECK_EQ(b[i]->received, 300);
            check_numbers(b[i], 0, 300);
        }
        net_end(&h.net);
    }
}

TEST(management_sees_the_parts_as_one_router)
{
    struct house h;
    struct router_stats s;
    struct client *a, *b;

    begin(&h);
    a = client_of(&h.net, h.at[AT_FIRST]);
    b = client_of(&h.net, h.at[AT_SECOND]);
    receiver(b, "closest/x", 10);
    send_text(a, sender(a, "closest/x"), NULL, "x");
    router_stats(h.hub, &s);
    CHECK_EQ(s.ingress, 1);
    CHECK_EQ(s.egress, 1);
    CHECK_EQ(s.transit, 0);
    CHECK_EQ(s.accepted, 1);
    CHECK_EQ(s.connections, 3); // two clients and the other router
    net_end(&h.net);
}

TEST_MAIN(CASE(messages_arrive_in_order_from_everywhere_to_everywhere),
          CASE(outcomes_keep_their_meaning_on_their_way_through_the_hub),
          CASE(a_sender_has_credit_while_there_is_a_consumer_at_any_part),
          CASE(a_consumer_without_credit_holds_a_sender_at_another_part_and_nothing_is_dropped),
          CASE(closest_prefers_the_same_part_and_any_part_to_another_router),
          CASE(multicast_reaches_each_consumer_of_each_part_once),
          CASE(what_a_lost_client_of_another_part_held_comes_back),
          CASE(a_sender_that_is_lost_leaves_what_it_sent_and_takes_nothing_of_others_along),
          CASE(requests_and_answers_pass_between_the_parts),
          CASE(a_stream_passes_while_it_is_sent_and_one_that_breaks_off_is_taken_back),
          CASE(nothing_depends_on_when_each_part_takes_its_mail),
          CASE(management_sees_the_parts_as_one_router))
