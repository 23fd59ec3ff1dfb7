// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>

#include "check.h"
#include "node/parts.h"
#include "talk.h"
#include "web/web.h"

// A listener for HTTP on a loop of its own, and what stands behind it.
struct site {
    struct node node;
    struct part part;
    struct net_listener *listener;
};

static void *ready(void *user, struct net_stream *s, const struct net_engine_ops **ops,
                   struct mono now)
{
    return health_accepted(user, s, ops, now);
}

static void begin(struct site *site, bool healthz, bool metrics)
{
    struct mgmt_entity *e = mgmt_entity_new(mgmt_find_type(STR("listener")));
    struct amqp_val *yes[2] = {amqp_val_bool(healthz), amqp_val_bool(metrics)};
    struct net_listener_opts opts = {
        .host = "127.0.0.1", .port = "0", .accept = {.ready = ready, .user = &site->part}};

    memset(site, 0, sizeof(*site));
    list_init(&site->node.connectors);
    site->node.started_at = mono_now();
    site->node.pool = pool_new(4096, 4096);
    CHECK_EQ(net_loop_new(&(struct net_hooks){0}, 65536, &site->node.loop), 0);
    site->node.router = router_new(
        &(struct router_opts){.id = "R", .mode = ROUTER_INTERIOR, .pool = site->node.pool},
        mono_now());
    site->node.flow = flow_new(&(struct flow_opts){.seed = 1}, mono_now());
    CHECK_EQ(mgmt_entity_set(e, "healthz", yes[0], MGMT_CREATE, NULL), 0);
    CHECK_EQ(mgmt_entity_set(e, "metrics", yes[1], MGMT_CREATE, NULL), 0);
    amqp_val_free(yes[0]);
    amqp_val_free(yes[1]);
    site->node.web = health_new(&site->node);
    site->part.node = &site->node;
    site->part.entity = e;
    CHECK_EQ(net_listener_new(site->node.loop, &opts, &site->listener, NULL), 0);
}

static void end(struct site *site)
{
    net_listener_free(site->listener);
    web_free(site->node.web);
    net_loop_free(site->node.loop);
    router_free(site->node.router);
    flow_free(site->node.flow);
    mgmt_entity_free(site->part.entity);
    CHECK_EQ(pool_used(site->node.pool), 0);
    pool_free(site->node.pool);
}

static char *ask(struct site *site, const char *request)
{
    int fd = talk_dial(net_listener_port(site->listener));

    talk_say(fd, request);
    return talk_hear(site->node.loop, fd);
}

#define GET(path) "GET " path " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

TEST(what_the_listener_offers_is_answered_and_nothing_else)
{
    static const struct {
        bool healthz, metrics;
        const char *request, *want;
    } rows[] = {
        {true, true, GET("/healthz"), "HTTP/1.1 200"},
        {false, true, GET("/healthz"), "HTTP/1.1 404"},
        {true, true, GET("/healthz/ready"), "HTTP/1.1 200"},
        {true, false, GET("/healthz/ready"), "HTTP/1.1 200"},
        {false, true, GET("/healthz/ready"), "HTTP/1.1 404"},
        {true, true, GET("/healthz/"), "HTTP/1.1 404"},
        {true, true, GET("/metrics"), "HTTP/1.1 200"},
        {true, false, GET("/metrics"), "HTTP/1.1 404"},
        {true, true, GET("/"), "HTTP/1.1 404"},
        {true, true, GET("/healthz?full=1"), "HTTP/1.1 200"},
        {true, true, "HEAD /healthz HTTP/1.0\r\n\r\n", "HTTP/1.1 200"},
        {true, true, "POST /healthz HTTP/1.0\r\n\r\n", "HTTP/1.1 405"},
        {true, true, "nonsense\r\n\r\n", "HTTP/1.1 400"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct site site;
        char *answer;

        begin(&site, rows[i].healthz, rows[i].metrics);
        answer = ask(&site, rows[i].request);
        if (strncmp(answer, rows[i].want, strlen(rows[i].want)) != 0)
            fail_msg("%s: %s", rows[i].request, answer);
        free(answer);
        end(&site);
    }
}

// Each metric: a line of help, its type, and a value, as Prometheus reads them.
TEST(metrics_are_in_the_form_that_prometheus_reads)
{
    struct site site;
    char *answer, *save = NULL, *body;
    int count = 0;

    begin(&site, true, true);
    for (int i = 0; i < FLOW_TRAFFIC_MAX + 3; i++)
        flow_begin(site.node.flow, FLOW_TPORT, NULL, mono_now());
    answer = ask(&site, GET("/metrics"));
    CHECK(strstr(answer, "\nskupper_flow_records 5000\n"));
    CHECK(strstr(answer, "\nskupper_flow_records_dropped_total 3\n"));
    CHECK(strstr(answer, "\r\nContent-Type: text/plain; version=0.0.4\r\n"));
    body = strstr(answer, "\r\n\r\n") + 4;
    CHECK(strstr(body, "\nqdr_routers_total 1\n"));
    // What dashboards of the existing router ask for is there, also where there is none of it.
    static const char *const names[] = {"link_routes_total",
                                        "auto_links_total",
                                        "presettled_deliveries_total",
                                        "dropped_presettled_deliveries_total",
                                        "accepted_deliveries_total",
                                        "rejected_deliveries_total",
                                        "released_deliveries_total",
                                        "modified_deliveries_total",
                                        "deliveries_ingress_total",
                                        "deliveries_egress_total",
                                        "deliveries_transit_total",
                                        "deliveries_ingress_route_container_total",
                                        "deliveries_egress_route_container_total",
                                        "deliveries_delayed_1sec_total",
                                        "deliveries_delayed_10sec_total",
                                        "deliveries_stuck_total",
                                        "links_blocked_total",
                                        "deliveries_redirected_to_fallback_total"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char line[80];

        snprintf(line, sizeof(line), "\nqdr_%s 0\n", names[i]);
        CHECK_EQ_FOR(names[i], strstr(body, line) != NULL, true);
    }
    CHECK(strstr(body, "\nprocess_open_fds "));
    CHECK(strstr(body, "\nprocess_resident_memory_bytes "));
    CHECK(body[strlen(body) - 1] == '\n');
    for (char *line = strtok_r(body, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char name[100], kind[20], again[100];
        double value;

        CHECK_EQ(sscanf(line, "# HELP %99s %*s", name), 1);
        line = strtok_r(NULL, "\n", &save);
        CHECK(line && sscanf(line, "# TYPE %99s %19s", again, kind) == 2);
        CHECK_STR(str_of(again), name);
        CHECK(!strcmp(kind, "gauge") || !strcmp(kind, "counter"));
        line = strtok_r(NULL, "\n", &save);
        CHECK(line && sscanf(line, "%99s %lf", again, &value) == 2 && value >= 0);
        CHECK_STR(str_of(again), name);
        count++;
    }
    CHECK(count > 10);
    free(answer);
    end(&site);
}

TEST_MAIN(CASE(what_the_listener_offers_is_answered_and_nothing_else),
          CASE(metrics_are_in_the_form_that_prometheus_reads))
