// SPDX-License-Identifier: Apache-2.0
#include "check.h"
#include "node/service.h"

// A tcpListener whose connections are told; the servers' ends belong to an engine that tells
// nobody. Sockets are played by the test.
struct site {
    struct node node;
    struct part listener;
    struct service service;
    struct service_address address;
    struct tcp *servers;
    struct tcp_service of_servers;
    struct tcp_connector connector;
    struct mono now;
};

static void begin(struct site *s)
{
    struct node *n = &s->node;

    memset(s, 0, sizeof(*s));
    s->now = mono_now();
    n->pool = pool_new(4096, 4096);
    CHECK_EQ(net_loop_new(&(struct net_hooks){0}, 65536, &n->loop), 0);
    n->router = router_new(
        &(struct router_opts){.id = "R", .default_treatment = ROUTER_BALANCED, .pool = n->pool},
        s->now);
    n->flow = flow_new(&(struct flow_opts){.seed = 1}, s->now);
    n->tcp = tcp_new(n->router, n->pool);
    list_init(&n->passing);
    flows_start(n);
    s->listener.record = flow_begin(n->flow, FLOW_LISTENER, NULL, s->now);
    tcp_service_init(&s->service.tcp);
    s->service.node = n;
    s->service.is_looking = true;
    s->address.part = &s->listener;
    s->servers = tcp_new(n->router, n->pool);
    tcp_service_init(&s->of_servers);
    CHECK_EQ(tcp_connector_open(s->servers, &s->connector, &s->of_servers, STR("echo")), 0);
    flow_set_reached(n->flow, FLOW_FLOWS, true);
    flows_count(n, s->now);
}

static void end(struct site *s)
{
    struct node *n = &s->node;

    while (!list_empty(&s->service.tcp.conns))
        tcp_lost(tcp_on_service(s->service.tcp.conns.next), NULL);
    while (!list_empty(&s->of_servers.conns))
        tcp_lost(tcp_on_service(s->of_servers.conns.next), NULL);
    CHECK(list_empty(&n->passing));
    tcp_connector_close(&s->connector);
    tcp_free(s->servers);
    tcp_free(n->tcp);
    flow_free(n->flow);
    router_free(n->router);
    net_loop_free(n->loop);
    CHECK_EQ(pool_used(n->pool), 0);
    pool_free(n->pool);
}

static struct tcp_conn *established(struct site *s)
{
    struct net_peer peer = {.host = "192.0.2.7:4711"};
    struct tcp_conn *client =
        tcp_accepted(s->node.tcp,
                     &(struct tcp_accept){
                         .service = &s->service.tcp,
                         .address = STR("echo"),
                         .peer = peer.host,
                         .observation = flows_accepted(&s->service, &s->address, &peer, s->now)},
                     s->now);
    struct tcp_conn *server = tcp_next_to_connect(s->servers);

    CHECK(server);
    tcp_connected(server, "server:1", s->now);
    return client;
}

static void ask(struct site *s, struct tcp_conn *c)
{
    static const char request[] = "GET / HTTP/1.1\r\n\r\n";

    tcp_feed(c, (const uint8_t *)request, sizeof(request) - 1, s->now);
}

static size_t traffic(const struct site *s)
{
    struct flow_stats stats;

    flow_stats(s->node.flow, &stats);
    return stats.traffic;
}

static void pass(struct site *s, int64_t ms)
{
    struct flow_message m;

    s->now = mono_add_ms(s->now, ms);
    flows_count(&s->node, s->now);
    for (int i = 0; i < 10; i++) { // all that is to be sent is
        flow_tick(s->node.flow, flow_deadline(s->node.flow), 0);
        while (flow_next(s->node.flow, &m))
            ;
    }
}

TEST(a_connection_and_its_requests_have_records)
{
    struct site s;
    struct tcp_conn *c;

    begin(&s);
    c = established(&s);
    CHECK_EQ(traffic(&s), 1);
    ask(&s, c);
    ask(&s, c);
    CHECK_EQ(traffic(&s), 3);
    CHECK_EQ(s.service.requests, 2);
    CHECK_EQ(s.address.requests, 2);
    flows_forget_address(&s.node, &s.address);
    ask(&s, c);
    CHECK_EQ(s.address.requests, 2);
    CHECK_EQ(s.service.requests, 3);
    end(&s);
}

TEST(a_connection_is_not_looked_into_when_nobody_listens_or_wants_that)
{
    for (int wanted = 0; wanted < 2; wanted++) {
        struct site s;
        struct tcp_conn *c;

        begin(&s);
        s.service.is_looking = wanted;
        flow_set_reached(s.node.flow, FLOW_FLOWS, !wanted);
        c = established(&s);
        flow_set_reached(s.node.flow, FLOW_FLOWS, true);
        ask(&s, c);
        CHECK_EQ(traffic(&s), 1);
        end(&s);
    }
}

TEST(observers_let_go_when_nobody_has_listened_for_a_minute)
{
    static const struct {
        int64_t silent_ms;
        uint64_t requests;
    } rows[] = {{50000, 2}, {59000, 2}, {61000, 1}};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct site s;
        struct tcp_conn *c;

        begin(&s);
        c = established(&s);
        ask(&s, c);
        pass(&s, 1000);
        flow_set_reached(s.node.flow, FLOW_FLOWS, false);
        pass(&s, rows[i].silent_ms);
        flow_set_reached(s.node.flow, FLOW_FLOWS, true);
        pass(&s, 2000);
        ask(&s, c);
        CHECK_EQ(s.service.requests, rows[i].requests);
        CHECK_EQ(traffic(&s), rows[i].requests == 2 ? 3 : 1);
        end(&s);
    }
}

TEST(beyond_the_limit_connections_pass_without_records)
{
    struct site s;
    struct tcp_conn *c;

    begin(&s);
    for (int i = 0; i < FLOW_TRAFFIC_MAX; i++)
        flow_begin(s.node.flow, FLOW_TPORT, NULL, s.now);
    c = established(&s);
    ask(&s, c);
    CHECK_EQ(s.service.requests, 0);
    CHECK_EQ(traffic(&s), FLOW_TRAFFIC_MAX);
    CHECK_EQ(s.of_servers.opened, 1);
    end(&s);
}

TEST(a_client_whose_handshake_failed_is_told_while_somebody_listens)
{
    struct net_peer peer = {.host = "[2001:db8::1]:4711"};
    struct site s;

    begin(&s);
    s.service.part = &s.listener;
    flow_set_reached(s.node.flow, FLOW_FLOWS, false);
    flows_refused(&s.service, &peer, "no TLS", s.now);
    CHECK_EQ(traffic(&s), 0);
    flow_set_reached(s.node.flow, FLOW_FLOWS, true);
    flows_refused(&s.service, &peer, "no TLS", s.now);
    CHECK_EQ(traffic(&s), 1);
    end(&s);
}

TEST_MAIN(CASE(a_connection_and_its_requests_have_records),
          CASE(a_connection_is_not_looked_into_when_nobody_listens_or_wants_that),
          CASE(observers_let_go_when_nobody_has_listened_for_a_minute),
          CASE(beyond_the_limit_connections_pass_without_records),
          CASE(a_client_whose_handshake_failed_is_told_while_somebody_listens))
