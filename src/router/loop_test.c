// SPDX-License-Identifier: Apache-2.0
// What keeps messages from going round (docs/protocol.md, Loops): in a line A - B - C with
// consumers at each, messages come to B with annotations of all kinds.
#include "router/rig_test.h"

struct line {
    struct net net;
    struct client *at[3], *peer; // peer: at B, and says what it likes
    int out;
};

static void begin(struct line *l)
{
    struct router_conn_opts edge = net_conn_opts(ROUTER_ROLE_EDGE, true, 1);
    struct net *n = &l->net;

    net_begin(n);
    for (int i = 0; i < 3; i++)
        net_router(n, (const char *[]){"A", "B", "C"}[i], ROUTER_INTERIOR);
    net_join(n, n->routers[0], n->routers[1], ROUTER_ROLE_INTER_ROUTER, 1);
    net_join(n, n->routers[1], n->routers[2], ROUTER_ROLE_INTER_ROUTER, 1);
    net_pass(n, 2000);
    for (int i = 0; i < 3; i++) {
        l->at[i] = client_of(n, n->routers[i]);
        receiver(l->at[i], "mc/x", 10);
    }
    receiver(l->at[2], "closest/c", 10);
    net_pass(n, 1000);
    l->peer = client_as(n, n->routers[1], &edge, "E");
    l->out = sender(l->peer, NULL);
}

static void send_with(struct line *l, const char *ingress, const char *passed, const char *to)
{
    struct amqp_ra ra = {.ingress = str_of(ingress)};
    struct amqp_writer trace;

    amqp_writer_init(&trace);
    if (passed) {
        amqp_put_string(&trace, str_of(passed));
        ra.trace_count = 1;
        ra.trace = amqp_written(&trace);
    }
    send_ra(l->peer, l->out, &ra, to, "m", false);
    amqp_writer_fini(&trace);
}

TEST(multicast_goes_where_its_ingress_and_its_trace_allow)
{
    static const struct {
        const char *why, *ingress, *passed;
        bool got[3];
    } rows[] = {
        {"from here", NULL, NULL, {true, true, true}},
        {"from A", "0/A", "0/A", {false, true, true}},
        {"from C", "0/C", "0/C", {true, true, false}},
        {"from here, but it passed C", NULL, "0/C", {true, true, false}},
        {"from A, but it passed C", "0/A", "0/C", {false, true, false}},
        {"from nobody we know", "0/Z", "0/Z", {false, true, false}},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct line l;

        begin(&l);
        send_with(&l, rows[i].ingress, rows[i].passed, "mc/x");
        for (int j = 0; j < 3; j++)
            CHECK_EQ_FOR(rows[i].why, l.at[j]->received, rows[i].got[j]);
        CHECK_HEARD(l.peer, "accepted");
        net_end(&l.net);
    }
}

// As the network tells it, for it cannot be configured.
TEST(a_flood_goes_wherever_its_trace_does_not_say_it_has_been)
{
    static const struct {
        const char *why, *ingress, *passed;
        bool got[3];
    } rows[] = {
        {"from here", NULL, NULL, {true, true, true}},
        {"from A", "0/A", "0/A", {false, true, true}},
        {"from A, and not by the way that leads here", "0/A", NULL, {true, true, true}},
        {"from A, but it passed C", "0/A", "0/C", {true, true, false}},
        {"from nobody we know", "0/Z", "0/Z", {true, true, true}},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct line l;

        begin(&l);
        for (int j = 0; j < 3; j++) {
            struct address *a = address_find(l.net.routers[j], STR("mc/x"));

            CHECK(a);
            a->treatment = ROUTER_FLOOD;
        }
        send_with(&l, rows[i].ingress, rows[i].passed, "mc/x");
        for (int j = 0; j < 3; j++)
            CHECK_EQ_FOR(rows[i].why, l.at[j]->received, rows[i].got[j]);
        net_end(&l.net);
    }
}

TEST(anycast_looks_at_its_ingress_and_not_at_its_trace)
{
    static const struct {
        const char *why, *ingress, *passed, *outcome;
    } rows[] = {
        {"from here", NULL, NULL, "accepted"},
        {"from here, and it passed C", NULL, "0/C", "accepted"},
        {"from A", "0/A", "0/A", "accepted"},
        {"from C, where it is for: not back", "0/C", "0/C", "released"},
        {"from nobody we know: as from here", "0/Z", "0/Z", "accepted"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct line l;

        begin(&l);
        send_with(&l, rows[i].ingress, rows[i].passed, "closest/c");
        CHECK_EQ_FOR(rows[i].why, strcmp(heard(l.peer), rows[i].outcome), 0);
        net_end(&l.net);
    }
}

TEST(long_annotations_are_passed_on_whole_and_too_long_ones_are_refused)
{
    static const struct {
        size_t len;
        const char *peer, *seen;
    } rows[] = {
        {1000, "accepted", "got(m) ra(flags=0 to= ingress=0/A trace=3 mesh=)"},
        {40000, "accepted", "got(m) ra(flags=0 to= ingress=0/A trace=3 mesh=)"},
        {50000, "rejected(amqp:invalid-field)", ""},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct router_conn_opts keeps = net_conn_opts(ROUTER_ROLE_NORMAL, true, 1);
        char *passed = xcalloc(1, rows[i].len + 1);
        struct client *c;
        struct line l;

        begin(&l);
        keeps.strip_out = false;
        c = client_as(&l.net, l.net.routers[2], &keeps, "client");
        receiver(c, "closest/kept", 10);
        net_pass(&l.net, 1000);
        memset(passed, 'x', rows[i].len);
        send_with(&l, "0/A", passed, "closest/kept");
        CHECK_HEARD(c, rows[i].seen);
        CHECK_HEARD(l.peer, rows[i].peer);
        free(passed);
        net_end(&l.net);
    }
}

TEST_MAIN(CASE(a_flood_goes_wherever_its_trace_does_not_say_it_has_been),
          CASE(long_annotations_are_passed_on_whole_and_too_long_ones_are_refused),
          CASE(multicast_goes_where_its_ingress_and_its_trace_allow),
          CASE(anycast_looks_at_its_ingress_and_not_at_its_trace))
