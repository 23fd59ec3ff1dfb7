// SPDX-License-Identifier: Apache-2.0
// Groups of connections between two routers: control and data, and generations of certificates.
#include "router/rig_test.h"

#define GROUP "correlator-0001"

struct pair {
    struct net net;
    struct router *a, *b; // a dials
};

static void begin(struct pair *p)
{
    net_begin(&p->net);
    p->a = net_router(&p->net, "A", ROUTER_INTERIOR);
    p->b = net_router(&p->net, "B", ROUTER_INTERIOR);
}

static struct wire *join(struct pair *p, enum router_role role, uint64_t ordinal)
{
    struct wire *w = net_wire(&p->net);
    struct router_conn_opts dial = net_conn_opts(role, false, 1);
    struct router_conn_opts listen = net_conn_opts(ROUTER_ROLE_INTER_ROUTER, true, 1);

    dial.group_correlator = GROUP;
    dial.group_ordinal = ordinal;
    dial.tls_protocol = listen.tls_protocol = "TLSv1.3";
    dial.tls_ordinal = (int64_t)ordinal;
    w->conn[0] = router_conn_new(p->a, &dial, p->net.now);
    w->conn[1] = router_conn_new(p->b, &listen, p->net.now);
    net_run(&p->net);
    return w;
}

// B knows of C, which has the consumer.
TEST(a_connector_has_joined_when_consumers_beyond_its_peer_are_known)
{
    struct pair p;
    struct router *c;
    struct wire *w;

    begin(&p);
    c = net_router(&p.net, "C", ROUTER_INTERIOR);
    net_join(&p.net, c, p.b, ROUTER_ROLE_INTER_ROUTER, 1);
    receiver(client_of(&p.net, c), "at/c", 10);
    net_pass(&p.net, 2000);
    CHECK_EQ(router_destinations(p.b, "at/c"), 1);
    w = net_join(&p.net, p.a, p.b, ROUTER_ROLE_INTER_ROUTER, 1);
    CHECK(!router_is_joined(p.a, "wire")); // C is not known yet
    CHECK_EQ(router_destinations(p.a, "at/c"), 0);
    for (int i = 0; i < 40 && !router_is_joined(p.a, "wire"); i++)
        net_pass(&p.net, 50);
    CHECK(router_is_joined(p.a, "wire"));
    CHECK_EQ(router_destinations(p.a, "at/c"), 1);
    CHECK(!router_is_joined(p.a, "another"));
    CHECK(!router_is_joined(p.b, "wire")); // it did not dial
    net_cut(&p.net, w);
    CHECK(!router_is_joined(p.a, "wire"));
    net_end(&p.net);
}

TEST(who_asks_hears_when_one_more_router_has_consumers)
{
    struct pair p;
    struct router *c;
    struct client *asker, *at_b, *at_c;
    struct wire *w;

    begin(&p);
    c = net_router(&p.net, "C", ROUTER_INTERIOR);
    w = net_join(&p.net, p.a, p.b, ROUTER_ROLE_INTER_ROUTER, 1);
    net_join(&p.net, p.b, c, ROUTER_ROLE_INTER_ROUTER, 1);
    asker = client_of(&p.net, p.a);
    receiver(asker, ROUTER_REACH "mc/x", 10);
    receiver(asker, "mc/x", 10);
    at_b = client_of(&p.net, p.b);
    at_c = client_of(&p.net, c);
    net_pass(&p.net, 1000);
    CHECK_HEARD(asker, "");
    receiver(at_b, "mc/x", 10);
    receiver(at_b, "mc/y", 10);
    net_pass(&p.net, 500);
    CHECK_HEARD(asker, "got( settled)");
    receiver(at_b, "mc/x", 10);
    net_pass(&p.net, 500);
    CHECK_HEARD(asker, "");
    receiver(at_c, "mc/x", 10);
    net_pass(&p.net, 500);
    CHECK_HEARD(asker, "got( settled)");
    net_cut(&p.net, w);
    net_pass(&p.net, 500);
    CHECK_HEARD(asker, "");
    net_join(&p.net, p.a, p.b, ROUTER_ROLE_INTER_ROUTER, 1);
    net_pass(&p.net, 1000);
    CHECK_HEARD(asker, "got( settled) got( settled)");
    net_end(&p.net);
}

static uint32_t count_links(const struct router_conn *c, enum link_kind kind)
{
    uint32_t count = 0;

    list_for_each (node, &c->links)
        count += list_entry(node, struct router_link, on_conn)->kind == kind;
    return count;
}

static uint64_t carried(const struct router_conn *c)
{
    uint64_t count = 0;

    list_for_each (node, &c->links) {
        const struct router_link *l = list_entry(node, struct router_link, on_conn);

        count += l->kind == LINK_CONTROL ? 0 : l->delivery_count;
    }
    return count;
}

// A message that is not whole when it comes; its rest follows at once when `ends`.
static struct amqp_delivery *send_stream(struct client *c, int link)
{
    static uint8_t bytes[100000] = {0x00, 0x53, 0x75, 0xb0, 0x00, 0x01, 0x86, 0x98};
    struct iovec part = {bytes, sizeof(bytes)};
    struct amqp_delivery *d = amqp_delivery_begin(c->links[link], false, 0, NULL);
    bool done;

    CHECK_EQ(amqp_delivery_write(d, &part, 1, false, &done), sizeof(bytes));
    net_run(c->net);
    return d;
}

static void end_stream(struct client *c, struct amqp_delivery *d)
{
    static const uint8_t rest[] = {0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00};
    struct iovec part = {(void *)(uintptr_t)rest, 0};
    bool done;

    amqp_delivery_write(d, &part, 1, true, &done);
    CHECK(done);
    net_run(c->net);
}

// Under load what was said on the one connection may be read long after what was said on the other.
TEST(a_neighbour_whose_streams_flow_is_alive_though_its_hello_is_late)
{
    static uint8_t bytes[10];
    struct iovec part = {bytes, sizeof(bytes)};
    bool done;

    for (int flows = 0; flows < 2; flows++) {
        struct pair p;
        struct wire *control, late;
        struct client *ends[2];
        struct amqp_delivery *d[2];
        struct router_stats s;

        begin(&p);
        control = join(&p, ROUTER_ROLE_INTER_ROUTER, 0);
        join(&p, ROUTER_ROLE_INTER_ROUTER_DATA, 0);
        net_pass(&p.net, 500);
        ends[0] = client_of(&p.net, p.a);
        ends[1] = client_of(&p.net, p.b);
        receiver(ends[0], "at/a", 10);
        receiver(ends[1], "at/b", 10);
        net_pass(&p.net, 500);
        d[0] = send_stream(ends[0], sender(ends[0], "at/b"));
        d[1] = send_stream(ends[1], sender(ends[1], "at/a"));
        late = *control;
        *control = (struct wire){0};
        for (int ms = 0; ms < 2000; ms += 50) {
            for (int i = 0; flows && i < 2; i++)
                CHECK_EQ(amqp_delivery_write(d[i], &part, 1, false, &done), sizeof(bytes));
            net_pass(&p.net, 50);
        }
        router_stats(p.a, &s);
        CHECK_EQ(s.nodes, flows ? 2 : 1);
        router_stats(p.b, &s);
        CHECK_EQ(s.nodes, flows ? 2 : 1);
        *control = late;
        net_end(&p.net);
    }
}

TEST(data_connections_carry_the_streams_and_nothing_else)
{
    struct pair p;
    struct wire *first, *control, *second;
    struct client *from, *to;
    struct amqp_delivery *d[2];
    int out;

    begin(&p);
    first = join(&p, ROUTER_ROLE_INTER_ROUTER_DATA, 0); // before its control connection: waits
    CHECK(list_empty(&first->conn[0]->links));
    control = join(&p, ROUTER_ROLE_INTER_ROUTER, 0);
    second = join(&p, ROUTER_ROLE_INTER_ROUTER_DATA, 0);
    net_pass(&p.net, 500);
    to = client_of(&p.net, p.b);
    receiver(to, "x", 10);
    net_pass(&p.net, 500);
    from = client_of(&p.net, p.a);
    out = sender(from, "x");
    send_text(from, out, NULL, "whole");
    CHECK_HEARD(to, "got(whole)");
    CHECK_EQ(carried(control->conn[0]), 1);
    CHECK_EQ(carried(first->conn[0]) + carried(second->conn[0]), 0);

    d[0] = send_stream(from, out);
    end_stream(from, d[0]);
    d[1] = send_stream(from, out);
    end_stream(from, d[1]);
    CHECK_EQ(to->received, 3);
    CHECK_EQ(carried(first->conn[0]), 1); // in turn
    CHECK_EQ(carried(second->conn[0]), 1);
    CHECK_EQ(carried(control->conn[0]), 1);
    CHECK_EQ(count_links(control->conn[0], LINK_STREAM), 0);
    CHECK_EQ(count_links(first->conn[0], LINK_STREAM), 1);
    CHECK_EQ(count_links(second->conn[1], LINK_STREAM), 1);
    net_end(&p.net);
}

TEST(data_connection_of_another_generation_or_group_is_not_used)
{
    struct pair p;
    struct wire *control, *data;
    struct client *from, *to;

    begin(&p);
    control = join(&p, ROUTER_ROLE_INTER_ROUTER, 1);
    data = join(&p, ROUTER_ROLE_INTER_ROUTER_DATA, 2);
    net_pass(&p.net, 500);
    to = client_of(&p.net, p.b);
    receiver(to, "x", 10);
    net_pass(&p.net, 500);
    from = client_of(&p.net, p.a);
    end_stream(from, send_stream(from, sender(from, "x")));
    CHECK_EQ(to->received, 1);
    CHECK_EQ(carried(data->conn[0]), 0);
    CHECK_EQ(count_links(control->conn[0], LINK_STREAM), 1);
    net_end(&p.net);
}

TEST(newer_generation_takes_over_and_the_old_one_goes_when_its_work_is_done)
{
    struct pair p;
    struct wire *old, *new;
    struct client *from, *to;
    struct amqp_delivery *open;
    int out, other;

    begin(&p);
    old = join(&p, ROUTER_ROLE_INTER_ROUTER, 1);
    net_pass(&p.net, 500);
    to = client_of(&p.net, p.b);
    receiver(to, "x", 10); // one for the stream,
    receiver(to, "x", 10); // one for what overtakes it
    net_pass(&p.net, 500);
    from = client_of(&p.net, p.a);
    out = sender(from, "x");
    other = sender(from, "x");
    open = send_stream(from, out); // under way when the change comes

    new = join(&p, ROUTER_ROLE_INTER_ROUTER, 2);
    CHECK_EQ(count_links(old->conn[0], LINK_CONTROL), 2);
    for (int ms = 0; ms < 1500; ms += 50) { // neither loses the other for a moment
        net_pass(&p.net, 50);
        CHECK(router_reaches(p.a, "B") && router_reaches(p.b, "A"));
    }
    CHECK_EQ(count_links(old->conn[0], LINK_CONTROL), 0);
    CHECK_EQ(count_links(old->conn[1], LINK_CONTROL), 0);
    CHECK_EQ(count_links(new->conn[0], LINK_CONTROL), 2);
    send_text(from, other, NULL, "on the new one");
    CHECK_HEARD(to, "got(on the new one)");
    CHECK_EQ(carried(new->conn[0]), 1);
    CHECK(!router_conn_is_finished(old->conn[0])); // the stream is not at its end

    end_stream(from, open);
    CHECK_EQ(to->received, 2);
    net_pass(&p.net, 1500);
    CHECK(router_conn_is_finished(old->conn[0]) && router_conn_is_finished(old->conn[1]));
    net_cut(&p.net, old);
    CHECK(router_reaches(p.a, "B") && router_reaches(p.b, "A"));
    net_end(&p.net);
}

TEST(equal_or_older_generation_is_dropped)
{
    for (uint64_t ordinal = 1; ordinal <= 2; ordinal++) {
        struct pair p;
        struct wire *first, *late;

        begin(&p);
        first = join(&p, ROUTER_ROLE_INTER_ROUTER, 2);
        net_pass(&p.net, 500);
        late = join(&p, ROUTER_ROLE_INTER_ROUTER, ordinal);
        CHECK(router_conn_is_finished(late->conn[0]) || router_conn_is_finished(late->conn[1]));
        net_cut(&p.net, late);
        net_pass(&p.net, 500);
        CHECK(!router_conn_is_finished(first->conn[0]));
        CHECK(router_reaches(p.a, "B"));
        net_end(&p.net);
    }
}

TEST(certificate_below_the_oldest_valid_ordinal_ends_its_connection)
{
    struct pair p;
    struct wire *w;

    begin(&p);
    w = join(&p, ROUTER_ROLE_INTER_ROUTER, 3);
    router_drop_older(p.a, "wire", 3);
    CHECK(!router_conn_is_finished(w->conn[0]));
    router_drop_older(p.a, "another", 4);
    CHECK(!router_conn_is_finished(w->conn[0]));
    router_drop_older(p.a, "wire", 4);
    CHECK(router_conn_is_finished(w->conn[0]));
    net_end(&p.net);
}

TEST_MAIN(CASE(who_asks_hears_when_one_more_router_has_consumers),
          CASE(a_connector_has_joined_when_consumers_beyond_its_peer_are_known),
          CASE(a_neighbour_whose_streams_flow_is_alive_though_its_hello_is_late),
          CASE(data_connections_carry_the_streams_and_nothing_else),
          CASE(data_connection_of_another_generation_or_group_is_not_used),
          CASE(newer_generation_takes_over_and_the_old_one_goes_when_its_work_is_done),
          CASE(equal_or_older_generation_is_dropped),
          CASE(certificate_below_the_oldest_valid_ordinal_ends_its_connection))
