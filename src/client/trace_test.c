// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "check.h"
#include "client/trace.h"
#include "json.h"

// A network written down: {router: {type: rows}}, and who is asked first.
struct written {
    json_t *routers;
    const char *start;
    int asked;
};

static json_t *answer_of(const struct written *n, const struct client_request *q)
{
    const char *router = q->router ? q->router : n->start;
    json_t *r = json_object_get(n->routers, router);

    if (!r)
        return NULL;
    if (strcmp(q->operation, "READ") == 0) {
        CHECK_STR(str_of(q->type), "router.address");
        return json_object_get(r, q->identity);
    }
    CHECK_STR(str_of(q->operation), "QUERY");
    return json_object_get(r, q->type) ? json_object_get(r, q->type) : json_object_get(r, "none");
}

static void ask_written(void *user, const struct client_request *requests,
                        struct trace_answer *answers, size_t count)
{
    struct written *n = user;

    for (size_t i = 0; i < count; i++) {
        json_t *value = answer_of(n, &requests[i]);

        n->asked++;
        answers[i] = (struct trace_answer){.value = json_incref(value), .ms = 1.5};
        if (!value)
            answers[i] = (struct trace_answer){
                .err = ERR_CLOSED,
                .words = str_fmt("router '%s' cannot be reached from here", requests[i].router)};
    }
}

// W -1- M -2- E, X behind M at cost 9, edge K on M, all with TLS.
static const char NETWORK[] =
    "{'W': {'router': [{'id': 'W', 'mode': 'interior'}],"
    "  'router.node': [{'id': 'W', 'nextHop': '(self)', 'cost': 0}, {'id': 'M', 'cost': 1},"
    "    {'id': 'E', 'nextHop': 'M', 'cost': 3}, {'id': 'X', 'nextHop': 'M', 'cost': 10}],"
    "  'connection': [{'container': 'M', 'role': 'inter-router', 'dir': 'out', 'host': "
    "    '10.0.0.2:55671', 'sslProto': 'TLSv1.3', 'opened': true}],"
    "  'tcpListener': [{'name': 'l', 'host': '127.0.0.1', 'port': '5432', 'address': 'db',"
    "    'operStatus': 'up'}, {'name': 'o', 'address': 'other'}],"
    "  'Mdb': {'distribution': 'balanced', 'subscriberCount': 0, 'inProcess': 0,"
    "    'remoteHostRouters': ['E', 'X']}},"
    " 'M': {'none': [], 'router.node': [{'id': 'M', 'nextHop': '(self)'}, {'id': 'E', 'cost': 2},"
    "    {'id': 'X', 'cost': 9}, {'id': 'W', 'cost': 1}],"
    "  'Mdb': {'distribution': 'balanced', 'remoteHostRouters': ['E', 'X']},"
    "  'connection': [{'container': 'E', 'role': 'inter-router', 'dir': 'in', 'host': "
    "    '10.0.0.3:4711', 'opened': true}, {'container': 'K', 'role': 'edge', 'dir': 'in', 'host': "
    "    '10.0.0.9:4712', 'opened': true}]},"
    " 'E': {'none': [], 'tcpConnector': [{'name': 'c', 'host': '127.0.0.1', 'port': '5432',"
    "    'address': 'db', 'operStatus': 'up', 'connectionsOpened': 7, 'connectionsClosed': 4}]},"
    " 'X': {'none': [], 'tcpConnector': [{'name': 'x', 'host': '10.1.1.1', 'port': '1', 'address':"
    "    'db'}]},"
    " 'K': {'router': [{'id': 'K', 'mode': 'edge'}], 'none': [], 'connection': [{'container': 'M',"
    "    'role': 'edge', 'dir': 'out', 'host': '10.0.0.2:45671', 'opened': true}]}}";

static struct written written_new(const char *start)
{
    struct written n = {.start = start, .routers = json_of(NETWORK)};

    json_object_set_new(json_object_get(n.routers, "W"), "none", json_array());
    return n;
}

static json_t *router_of(const struct written *n, const char *name)
{
    return json_object_get(n->routers, name);
}

static void set(const struct written *n, const char *router, const char *type, const char *json)
{
    json_object_set_new(router_of(n, router), type, json_of(json));
}

// The trace as people see it.
static char *traced(struct written *n, const char *address)
{
    json_t *trace = NULL;
    char *text;
    struct why why = {""};

    CHECK_EQ(trace_run(ask_written, n, address, &trace, &why), 0);
    text = client_trace_text(trace);
    json_decref(trace);
    return text;
}

#define CHECK_TRACE(n, address, want)                                                              \
    do {                                                                                           \
        char *check_text = traced(n, address);                                                     \
                                                                                                   \
        CHECK_STR(str_of(check_text), want);                                                       \
        free(check_text);                                                                          \
    } while (0)

// From W to E, and not to X, as written_new() has it.
#define WAY_BEHIND_THE_LISTENER                                                                    \
    "    1.50 ms  W\n"                                                                             \
    "    1.50 ms  M, over 10.0.0.2:55671, TLSv1.3, cost 1\n"                                       \
    "    1.50 ms  E, linked from 10.0.0.3:4711, cost 3\n"                                          \
    "  server    127.0.0.1:5432 (c), up, 3 open\n"                                                 \
    "not to:\n"                                                                                    \
    "  X, cost 10: farther than 'E'; it gets connections while the nearer ones have more open\n"

TEST(the_way_to_the_nearest_is_told_hop_by_hop)
{
    struct written n = written_new("W");

    CHECK_TRACE(&n, "db",
                "db, balanced\n"
                "  listener  127.0.0.1:5432 (l), up\n" WAY_BEHIND_THE_LISTENER);
    json_decref(n.routers);
}

TEST(the_trace_is_data_too)
{
    struct written n = written_new("W");
    json_t *trace = NULL, *path;

    CHECK_EQ(trace_run(ask_written, &n, "db", &trace, NULL), 0);
    path = json_object_get(trace, "path");
    CHECK_EQ(json_array_size(path), 3);
    CHECK_EQ(json_integer_value(json_object_get(json_array_get(path, 2), "cost")), 3);
    CHECK(json_real_value(json_object_get(json_array_get(path, 1), "ms")) == 1.5);
    CHECK_STR(
        str_of(json_string_value(json_object_get(json_object_get(trace, "server"), "router"))),
        "E");
    CHECK(json_object_get(trace, "why") == NULL);
    json_decref(trace);
    json_decref(n.routers);
}

TEST(a_server_here_comes_first)
{
    struct written n = written_new("W");

    set(&n, "W", "tcpConnector",
        "[{\"name\":\"mine\",\"host\":\"127.0.0.1\",\"port\":\"9\",\"address\":\"db\"}]");
    set(&n, "W", "Mdb",
        "{\"distribution\":\"closest\",\"subscriberCount\":1,\"remoteHostRouters\":[\"E\",\"X\"]}");
    CHECK_TRACE(&n, "db",
                "db, closest\n"
                "  listener  127.0.0.1:5432 (l), up\n"
                "    1.50 ms  W\n"
                "  server    127.0.0.1:9 (mine)\n"
                "not to:\n"
                "  E, cost 3: farther than 'W', and the closest gets all\n"
                "  X, cost 10: farther than 'W', and the closest gets all\n");
    json_decref(n.routers);
}

TEST(a_server_that_is_down_is_passed_over_with_its_reason)
{
    struct written n = written_new("W");

    set(&n, "E", "tcpConnector",
        "[{\"name\":\"c\",\"host\":\"127.0.0.1\",\"port\":\"5432\",\"address\":\"db\","
        "\"operStatus\":\"down\",\"connectionMsg\":\"Connection refused\"}]");
    set(&n, "W", "Mdb", "{\"distribution\":\"balanced\",\"remoteHostRouters\":[\"X\"]}");
    CHECK_TRACE(&n, "db",
                "db, balanced\n"
                "  listener  127.0.0.1:5432 (l), up\n"
                "    1.50 ms  W\n"
                "    1.50 ms  M, over 10.0.0.2:55671, TLSv1.3, cost 1\n"
                "    1.50 ms  X, cost 10\n"
                "  server    10.1.1.1:1 (x)\n"
                "not to:\n"
                "  E, cost 3: its server 127.0.0.1:5432 is down: Connection refused\n");
    json_decref(n.routers);
}

TEST(an_edge_router_is_reached_over_the_one_it_hangs_on)
{
    struct written n = written_new("W");

    set(&n, "K", "tcpConnector",
        "[{\"name\":\"k\",\"host\":\"127.0.0.1\",\"port\":\"7\",\"address\":\"db\"}]");
    set(&n, "W", "Mdb", "{\"distribution\":\"balanced\",\"remoteHostRouters\":[\"E\",\"M\"]}");
    CHECK_TRACE(&n, "db",
                "db, balanced\n"
                "  listener  127.0.0.1:5432 (l), up\n"
                "    1.50 ms  W\n"
                "    1.50 ms  M, over 10.0.0.2:55671, TLSv1.3, cost 1\n"
                "    1.50 ms  K (edge), linked from 10.0.0.9:4712\n"
                "  server    127.0.0.1:7 (k)\n"
                "not to:\n"
                "  E, cost 3: farther than 'K'; it gets connections while the nearer ones have "
                "more open\n"
                "  X, cost 10: router 'X' does not announce the address to router 'W'\n");
    json_decref(n.routers);
}

TEST(from_an_edge_router_the_way_begins_with_its_uplink)
{
    struct written n = written_new("K");

    CHECK_TRACE(&n, "db",
                "db, balanced\n"
                "  listener  none here: applications cannot connect to it at this router\n"
                "    1.50 ms  K (edge)\n"
                "    1.50 ms  M, over 10.0.0.2:45671\n"
                "    1.50 ms  E, linked from 10.0.0.3:4711, cost 2\n"
                "  server    127.0.0.1:5432 (c), up, 3 open\n"
                "not to:\n"
                "  X, cost 9: farther than 'E'; it gets connections while the nearer ones have "
                "more open\n");
    json_decref(n.routers);
}

TEST(an_edge_router_without_an_uplink_reaches_nobody)
{
    struct written n = written_new("K");

    set(&n, "K", "connection", "[]");
    CHECK_TRACE(&n, "db",
                "db\n"
                "  listener  none here: applications cannot connect to it at this router\n"
                "no way: edge router 'K' has no uplink: look at its link first\n");
    json_decref(n.routers);
}

TEST(a_client_that_receives_is_a_destination_too)
{
    struct written n = written_new("W");

    set(&n, "W", "Mq", "{\"distribution\":\"balanced\",\"remoteHostRouters\":[\"M\"]}");
    CHECK_TRACE(&n, "q",
                "q, balanced\n"
                "  listener  none here: applications cannot connect to it at this router\n"
                "    1.50 ms  W\n"
                "    1.50 ms  M, over 10.0.0.2:55671, TLSv1.3, cost 1\n"
                "  server    a client that receives from the address\n");
    json_decref(n.routers);
}

TEST(a_listener_of_a_pod_is_at_all_of_its_addresses)
{
    struct written n = written_new("W");

    set(&n, "W", "tcpListener",
        "[{\"name\":\"listener/db\",\"port\":\"1024\",\"address\":\"db\",\"operStatus\":\"up\"}]");
    CHECK_TRACE(&n, "db",
                "db, balanced\n"
                "  listener  *:1024 (listener/db), up\n" WAY_BEHIND_THE_LISTENER);
    json_decref(n.routers);
}

TEST(an_address_that_nobody_serves_has_no_way)
{
    struct written n = written_new("W");

    CHECK_TRACE(&n, "nothing",
                "nothing\n"
                "  listener  none here: applications cannot connect to it at this router\n"
                "no way: no router of the 5 that were asked has a server for it: is the "
                "connector's routing key \"nothing\", and is its site linked?\n");
    json_decref(n.routers);
}

TEST(routers_that_do_not_answer_are_named)
{
    struct written n = written_new("W");
    char *text;

    json_object_del(n.routers, "X");
    text = traced(&n, "db");
    CHECK(strstr(text, "not heard:\n  X: router 'X' cannot be reached from here\n") != NULL);
    free(text);
    json_decref(n.routers);
}

TEST(a_way_in_a_circle_is_told_and_ends)
{
    struct written n = written_new("W");
    char *text;

    set(&n, "M", "router.node", "[{\"id\":\"E\",\"nextHop\":\"W\",\"cost\":4}]");
    text = traced(&n, "db");
    CHECK(strstr(text, "leads round in a circle at router 'W'") != NULL);
    CHECK(!strstr(text, "server  "));
    free(text);
    set(&n, "M", "router.node", "[]");
    text = traced(&n, "db");
    CHECK(strstr(text, "router 'M' knows no way to router 'E'") != NULL);
    free(text);
    json_decref(n.routers);
}

TEST(equals_share)
{
    struct written n = written_new("W");
    char *text;

    set(&n, "W", "router.node",
        "[{\"id\":\"W\",\"cost\":0},{\"id\":\"M\",\"cost\":1},{\"id\":\"E\",\"nextHop\":\"M\","
        "\"cost\":"
        "3},{\"id\":\"X\",\"nextHop\":\"M\",\"cost\":3}]");
    text = traced(&n, "db");
    CHECK(strstr(text, "X, cost 3: as near as 'E'; connections are shared\n") != NULL);
    free(text);
    json_decref(n.routers);
}

TEST(without_an_answer_of_the_first_router_there_is_no_trace)
{
    struct written n = written_new("nobody");
    json_t *trace = NULL;
    struct why why = {""};

    CHECK_EQ(trace_run(ask_written, &n, "db", &trace, &why), ERR_CLOSED);
    CHECK(why.text[0] && !trace);
    json_decref(n.routers);
}

TEST_MAIN(CASE(the_way_to_the_nearest_is_told_hop_by_hop), CASE(the_trace_is_data_too),
          CASE(a_server_here_comes_first),
          CASE(a_server_that_is_down_is_passed_over_with_its_reason),
          CASE(an_edge_router_is_reached_over_the_one_it_hangs_on),
          CASE(from_an_edge_router_the_way_begins_with_its_uplink),
          CASE(an_edge_router_without_an_uplink_reaches_nobody),
          CASE(a_client_that_receives_is_a_destination_too),
          CASE(a_listener_of_a_pod_is_at_all_of_its_addresses),
          CASE(an_address_that_nobody_serves_has_no_way),
          CASE(routers_that_do_not_answer_are_named), CASE(a_way_in_a_circle_is_told_and_ends),
          CASE(equals_share), CASE(without_an_answer_of_the_first_router_there_is_no_trace))
