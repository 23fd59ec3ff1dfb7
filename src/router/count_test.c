// SPDX-License-Identifier: Apache-2.0
#include "router/rig_test.h"

// The router's end of the client's only link in that direction.
static struct router_link *end_of(struct client *c, bool is_out)
{
    struct net *n = c->net;
    struct router_link *found = NULL;

    for (int i = 0; i < n->wire_count; i++) {
        if (n->wires[i].client != c)
            continue;
        list_for_each (node, &n->wires[i].conn[1]->links) {
            struct router_link *l = list_entry(node, struct router_link, on_conn);

            if (l->is_out == is_out)
                found = l;
        }
    }
    CHECK(found);
    return found;
}

static struct router_stats stats_of(const struct router *r)
{
    struct router_stats s;

    router_stats(r, &s);
    return s;
}

TEST(a_delivery_that_waits_counts_by_how_long_it_did)
{
    static const struct {
        int ms;
        uint64_t delayed_1s, delayed_10s;
    } rows[] = {{950, 0, 0}, {1000, 1, 0}, {9900, 1, 0}, {10000, 0, 1}, {60000, 0, 1}};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct net n;
        struct client *a, *b;
        struct router_link *in, *out;
        struct router_stats s;

        net_of_one(&n);
        a = client_of(&n, n.routers[0]);
        b = client_of(&n, n.routers[0]);
        b->holds = true;
        receiver(b, "closest/a", 10);
        send_text(a, sender(a, "closest/a"), NULL, "x");
        in = end_of(a, false);
        out = end_of(b, true);
        net_pass(&n, rows[i].ms);
        CHECK_EQ(link_counts(in)->delayed_1s + link_counts(in)->delayed_10s,
                 0); // it is not over yet
        settle_held(b);
        s = stats_of(n.routers[0]);
        CHECK_EQ(link_counts(in)->delayed_1s, rows[i].delayed_1s);
        CHECK_EQ(link_counts(in)->delayed_10s, rows[i].delayed_10s);
        CHECK_EQ(link_counts(out)->delayed_1s, rows[i].delayed_1s);
        CHECK_EQ(link_counts(out)->delayed_10s, rows[i].delayed_10s);
        CHECK_EQ(s.delayed_1s, rows[i].delayed_1s);
        CHECK_EQ(s.delayed_10s, rows[i].delayed_10s);
        net_end(&n);
    }
}

TEST(what_is_here_for_ten_seconds_is_stuck_until_it_has_its_outcome)
{
    struct net n;
    struct client *a, *b;
    struct router_link *in, *out;

    net_of_one(&n);
    a = client_of(&n, n.routers[0]);
    b = client_of(&n, n.routers[0]);
    b->holds = true;
    receiver(b, "closest/a", 10);
    send_text(a, sender(a, "closest/a"), NULL, "x");
    in = end_of(a, false);
    out = end_of(b, true);
    net_pass(&n, 9900);
    CHECK_EQ(stats_of(n.routers[0]).stuck, 0);
    net_pass(&n, 200);
    CHECK_EQ(stats_of(n.routers[0]).stuck, 1);
    CHECK_EQ(link_stuck(in), 1);
    CHECK_EQ(link_stuck(out), 1);
    settle_held(b);
    CHECK_EQ(stats_of(n.routers[0]).stuck, 0);
    CHECK_EQ(link_stuck(in), 0);
    CHECK_EQ(link_stuck(out), 0);
    net_end(&n);
}

TEST(what_is_stuck_counts_when_its_sender_is_gone_too)
{
    struct net n;
    struct client *a, *b;

    net_of_one(&n);
    a = client_of(&n, n.routers[0]);
    b = client_of(&n, n.routers[0]);
    b->holds = true;
    receiver(b, "closest/a", 10);
    send_text(a, sender(a, "closest/a"), NULL, "x");
    client_end(a);
    net_pass(&n, 10100);
    CHECK_EQ(stats_of(n.routers[0]).stuck, 1);
    settle_held(b);
    CHECK_EQ(stats_of(n.routers[0]).stuck, 0);
    net_end(&n);
}

TEST(a_stream_may_last_and_is_neither_delayed_nor_stuck)
{
    struct net n;
    struct client *a, *b;
    struct amqp_delivery *d;
    struct amqp_attach streams = {.role = AMQP_SENDER};
    struct amqp_writer w;
    struct iovec part;
    bool done;
    int s;

    net_of_one(&n);
    a = client_of(&n, n.routers[0]);
    b = client_of(&n, n.routers[0]);
    receiver(b, "closest/a", 10);
    streams.target.address = STR("closest/a");
    streams.target.capabilities[0] = STR("qd.streaming-deliveries");
    streams.target.capability_count = 1;
    s = client_attach(a, streams, 0);
    amqp_writer_init(&w);
    put_message(&w, NULL, NULL, "x");
    part = (struct iovec){(void *)(uintptr_t)amqp_written(&w).ptr, w.len};
    d = amqp_delivery_begin(a->links[s], false, 0, NULL);
    amqp_delivery_write(d, &part, 1, false, &done);
    net_pass(&n, 15000);
    CHECK_EQ(stats_of(n.routers[0]).stuck, 0);
    amqp_delivery_write(d, NULL, 0, true, &done);
    net_run(&n);
    CHECK_EQ(stats_of(n.routers[0]).delayed_10s, 0);
    CHECK_EQ(stats_of(n.routers[0]).accepted, 1);
    amqp_writer_fini(&w);
    net_end(&n);
}

TEST(the_settle_rate_is_the_mean_of_the_last_five_seconds)
{
    struct net n;
    struct client *a, *b;
    struct router_link *in, *out;
    int s;

    net_of_one(&n);
    a = client_of(&n, n.routers[0]);
    b = client_of(&n, n.routers[0]);
    receiver(b, "closest/a", 10);
    s = sender(a, "closest/a");
    in = end_of(a, false);
    out = end_of(b, true);
    for (int second = 0; second < 8; second++) {
        for (int i = 0; i < 20; i++)
            send_ra(a, s, NULL, NULL, "x", i % 2);
        net_pass(&n, 1000);
        CHECK_EQ(link_settle_rate(in, n.now), second < 3 ? 4 * (second + 1) : 16);
    }
    net_pass(&n, 2000);
    CHECK_EQ(link_settle_rate(out, n.now), 8);
    net_pass(&n, 60000);
    CHECK_EQ(link_settle_rate(in, n.now), 0);
    CHECK_EQ(link_settle_rate(out, n.now), 0);
    b->outcome = AMQP_RELEASED; // these have not been settled in any useful sense
    for (int i = 0; i < 10; i++)
        send_text(a, s, NULL, "x");
    CHECK_EQ(link_settle_rate(in, n.now), 0);
    CHECK_EQ(link_settle_rate(out, n.now), 0);
    net_end(&n);
}

TEST(a_link_without_credit_tells_for_how_long)
{
    struct net n;
    struct client *a, *b;
    struct router_link *in, *out;
    int s, l;

    net_of_one(&n);
    a = client_of(&n, n.routers[0]);
    b = client_of(&n, n.routers[0]);
    b->is_stingy = true;
    s = sender(a, "closest/a");
    in = end_of(a, false);
    net_pass(&n, 3000);
    CHECK_EQ(link_dry_s(in), 3); // there is nobody to send to
    l = receiver(b, "closest/a", 0);
    out = end_of(b, true);
    CHECK_EQ(link_dry_s(in), 0);
    net_pass(&n, 12000);
    CHECK_EQ(link_dry_s(out), 12);
    CHECK_EQ(stats_of(n.routers[0]).blocked, 1);
    grant(b, l, 1);
    CHECK_EQ(link_dry_s(out), 0);
    CHECK_EQ(stats_of(n.routers[0]).blocked, 0);
    net_pass(&n, 5000);
    send_ra(a, s, NULL, NULL, "x", true);
    CHECK_EQ(link_dry_s(out), 0);
    net_pass(&n, 2000);
    CHECK_EQ(link_dry_s(out), 2);
    for (int i = 0; i < 250; i++)
        send_text(a, s, NULL, "x");
    net_pass(&n, 4000);
    CHECK_EQ(link_dry_s(in), 4); // its sender waits for the consumer
    grant(b, l, 100);
    CHECK_EQ(link_dry_s(in), 0);
    net_end(&n);
}

TEST(a_consumers_link_tells_where_its_messages_entered_the_network)
{
    struct net n;
    struct client *near, *far, *b;
    struct router *a, *c;
    struct amqp_val *list;
    uint32_t from;

    net_begin(&n);
    a = net_router(&n, "A", ROUTER_INTERIOR);
    c = net_router(&n, "C", ROUTER_INTERIOR);
    net_join(&n, a, c, ROUTER_ROLE_INTER_ROUTER, 1);
    b = client_of(&n, c);
    receiver(b, "closest/a", 100);
    net_pass(&n, 3000);
    near = client_of(&n, c);
    far = client_of(&n, a);
    for (int i = 0; i < 3; i++)
        send_ra(near, i > 0 ? 0 : sender(near, "closest/a"), NULL, NULL, "x", i == 0);
    for (int i = 0; i < 5; i++)
        send_ra(far, i > 0 ? 0 : sender(far, "closest/a"), NULL, NULL, "x", i == 0);
    from = routing_find(c->routing, STR("A"));
    list = link_origins(c, end_of(b, true));
    CHECK_EQ(amqp_val_at(list, ROUTING_SELF)->u, 3);
    CHECK_EQ(amqp_val_at(list, from)->u, 5);
    amqp_val_free(list);
    CHECK(!link_origins(c, end_of(near, false)));
    net_end(&n);
}

TEST_MAIN(CASE(a_delivery_that_waits_counts_by_how_long_it_did),
          CASE(what_is_here_for_ten_seconds_is_stuck_until_it_has_its_outcome),
          CASE(what_is_stuck_counts_when_its_sender_is_gone_too),
          CASE(a_stream_may_last_and_is_neither_delayed_nor_stuck),
          CASE(the_settle_rate_is_the_mean_of_the_last_five_seconds),
          CASE(a_link_without_credit_tells_for_how_long),
          CASE(a_consumers_link_tells_where_its_messages_entered_the_network))
