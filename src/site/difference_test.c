// SPDX-License-Identifier: Apache-2.0
#include "site/apply_test.h"

// "DELETE tcpListener a; CREATE …" from one configuration to the other.
static char *steps_between(const char *from, const char *to, bool *restart)
{
    json_t *applied = json_of(from), *wanted = json_of(to), *op;
    json_t *ops = site_config_difference(applied, wanted, restart);
    char *out = str_fmt("%s", "");
    size_t i;

    json_array_foreach(ops, i, op)
    {
        char *longer =
            str_fmt("%s%s%s %s %s", out, i > 0 ? "; " : "", site_text(op, "operation"),
                    site_text(op, "type") + strlen("io.skupper.router."), site_text(op, "name"));

        free(out);
        out = longer;
    }
    json_decref(applied_to(applied, ops));
    json_decref(ops);
    json_decref(applied);
    json_decref(wanted);
    return out;
}

static void check_steps(int line, const char *from, const char *to, const char *want)
{
    bool restart;
    char *got = steps_between(from, to, &restart);

    if (strcmp(got, want) != 0)
        fail_msg("line %d: \"%s\", not \"%s\"", line, got, want);
    CHECK(!restart);
    free(got);
}
#define CHECK_STEPS(from, to, want) check_steps(__LINE__, from, to, want)

#define LISTENER(name, more) "['tcpListener', {'name': '" name "', 'port': '1'" more "}]"

TEST(equal_configurations_need_nothing)
{
    CHECK_STEPS("[]", "[]", "");
    CHECK_STEPS("[" LISTENER("a", ", 'host': '0.0.0.0', 'observer': 'auto'") "]",
                "[" LISTENER("a", "") "]", "");
    CHECK_STEPS("[" LISTENER("a", ", 'host': '::'") "]", "[" LISTENER("a", ", 'host': ''") "]", "");
    CHECK_STEPS("[['tcpConnector', {'name': 'c', 'port': '1', 'verifyHostname': true}]]",
                "[['tcpConnector', {'name': 'c', 'port': '1'}]]", "");
    CHECK_STEPS("[['listener', {'name': 'l', 'port': '5'}]]",
                "[['listener', {'name': 'l', 'port': "
                "5}]]",
                "");
    // A live router tells more than it was told.
    CHECK_STEPS("[" LISTENER("a", ", 'host': null, 'operStatus': 'up', 'connectionsOpened': 7, "
                                  "'idleTimeoutSeconds': 86400, 'encapsulation': 'lite'") "]",
                "[" LISTENER("a", "") "]", "");
}

TEST(an_edit_touches_nothing_else)
{
    CHECK_STEPS(
        "[" LISTENER("a", "") "," LISTENER("b", "") "," LISTENER("c", "") "]",
        "[" LISTENER("a", "") "," LISTENER("b", ", 'address': 'x'") "," LISTENER("d", "") "]",
        "DELETE tcpListener b; DELETE tcpListener c; CREATE tcpListener b; CREATE "
        "tcpListener d");
    CHECK_STEPS("[['connector', {'name': 'l', 'cost': 1}], ['connector', {'name': 'm'}]]",
                "[['connector', {'name': 'l', 'cost': 2}], ['connector', {'name': 'm'}]]",
                "DELETE connector l; CREATE connector l");
}

TEST(what_can_be_changed_in_place_is_updated)
{
    CHECK_STEPS("[" LISTENER("a", "") "]", "[" LISTENER("a", ", 'observer': 'none'") "]",
                "UPDATE tcpListener a");
    CHECK_STEPS("[['sslProfile', {'name': 'p', 'ordinal': 1}], ['connector', {'name': 'c', "
                "'sslProfile': 'p'}]]",
                "[['sslProfile', {'name': 'p', 'ordinal': 2}], ['connector', {'name': 'c', "
                "'sslProfile': 'p'}]]",
                "UPDATE sslProfile p");
    CHECK_STEPS("[['log', {'module': 'ROUTER', 'enable': 'info+'}]]",
                "[['log', {'module': 'DEFAULT', 'enable': 'info+'}]]",
                "UPDATE log DEFAULT; UPDATE log ROUTER");
}

// A live router does not tell it.
TEST(the_password_of_a_proxy_goes_along_and_is_not_compared)
{
    json_t *from = json_of("[['proxyProfile', {'name': 'p', 'host': 'h', 'port': 1}]]");
    json_t *to = json_of("[['proxyProfile', {'name': 'p', 'host': 'h', 'port': '1', 'username': "
                         "'u', 'password': 'file:x'}]]");
    bool restart;
    json_t *ops = site_config_difference(from, to, &restart);

    CHECK_JSON(ops, "[{'operation': 'UPDATE', 'type': 'io.skupper.router.proxyProfile', 'name': "
                    "'p', 'attributes': {'username': 'u', 'password': 'file:x'}}]");
    json_decref(ops);
    json_decref(from);
    json_decref(to);
    CHECK_STEPS("[['proxyProfile', {'name': 'p', 'host': 'h', 'port': '1', 'username': 'u'}]]",
                "[['proxyProfile', {'name': 'p', 'host': 'h', 'port': 1, 'username': 'u', "
                "'password': 'x'}]]",
                "");
    CHECK_STEPS("[['proxyProfile', {'name': 'o'}], ['connector', {'name': 'c', 'proxyProfile': "
                "'o'}]]",
                "[['proxyProfile', {'name': 'p'}], ['connector', {'name': 'c', 'proxyProfile': "
                "'p'}]]",
                "CREATE proxyProfile p; DELETE connector c; CREATE connector c; DELETE "
                "proxyProfile o");
}

TEST(only_what_changed_is_in_an_update)
{
    json_t *from = json_of("[['sslProfile', {'name': 'p', 'certFile': 'f', 'ordinal': 1, "
                           "'oldestValidOrdinal': 1}]]");
    json_t *to = json_of("[['sslProfile', {'name': 'p', 'certFile': 'f', 'ordinal': 2}]]");
    bool restart;
    json_t *ops = site_config_difference(from, to, &restart);

    CHECK_JSON(ops, "[{'operation': 'UPDATE', 'type': 'io.skupper.router.sslProfile', 'name': 'p',"
                    " 'attributes': {'ordinal': 2, 'oldestValidOrdinal': null}}]");
    json_decref(ops);
    json_decref(from);
    json_decref(to);
}

TEST(profiles_come_before_and_go_after_their_users)
{
    CHECK_STEPS(
        "[['sslProfile', {'name': 'old'}], ['listener', {'name': 'l', 'sslProfile': 'old'}],"
        " " LISTENER("t", ", 'sslProfile': 'old'") "]",
        "[['sslProfile', {'name': 'new'}], ['listener', {'name': 'l', 'sslProfile': 'new'}],"
        " " LISTENER("t", ", 'sslProfile': 'new'") "]",
        "CREATE sslProfile new; DELETE tcpListener t; CREATE tcpListener t; "
        "DELETE listener l; CREATE listener l; DELETE sslProfile old");
}

#define ADDRESS(name, key, listener)                                                               \
    "['listenerAddress', {'name': '" name "', 'address': '" key                                    \
    "', 'value': 1, 'listener': '" listener "'}]"

TEST(the_addresses_of_a_listener_go_and_come_with_it)
{
    CHECK_STEPS("[" LISTENER("m", "") "," LISTENER("n", "") "," ADDRESS(
                    "m/a", "a", "m") "," ADDRESS("n/a", "a", "n") "]",
                "[" LISTENER("m", ", 'multiAddressStrategy': 'weighted'") "," LISTENER(
                    "n", "") "," ADDRESS("m/a", "a", "m") "," ADDRESS("n/a", "a", "n") "]",
                "DELETE listenerAddress m/a; DELETE tcpListener m; CREATE tcpListener m; "
                "CREATE listenerAddress m/a");
    CHECK_STEPS("[" LISTENER("m", "") "," ADDRESS("m/a", "a", "m") "]",
                "[" LISTENER("m", "") "," ADDRESS("m/b", "b", "m") "]",
                "DELETE listenerAddress m/a; CREATE listenerAddress m/b");
}

TEST(what_the_model_never_makes_is_left_alone)
{
    CHECK_STEPS("[['connector', {'name': 'auto-mesh-1'}], ['listener', {'name': 'amqp'}],"
                " ['listener', {'name': '@9090'}], ['address', {'prefix': 'mc', 'distribution': "
                "'multicast'}], ['thing', {'name': 'x'}], ['address', {'pattern': 'p'}]]",
                "[]", "");
    CHECK_STEPS("[]", "[['address', {'prefix': 'mc', 'distribution': 'multicast'}]]",
                "CREATE router.config.address mc");
}

TEST(another_id_or_mode_needs_a_restart)
{
    static const struct {
        const char *from, *to;
        bool want;
    } rows[] = {
        {"[['router', {'id': 'a', 'mode': 'edge', 'version': 'x'}]]",
         "[['router', {'mode': 'edge', 'id': 'a'}]]", false},
        {"[['router', {'id': 'a'}]]", "[['router', {'id': 'b'}]]", true},
        {"[['router', {'id': 'a', 'mode': 'edge'}]]",
         "[['router', {'id': 'a', 'mode': 'interior'}]]", true},
        {"[['router', {'id': 'a'}]]", "[['router', {'id': 'a', 'dataConnectionCount': '4'}]]",
         true},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        bool restart;
        char *steps = steps_between(rows[i].from, rows[i].to, &restart);

        CHECK_STR(str_of(steps), "");
        CHECK_EQ_FOR(rows[i].to, restart, rows[i].want);
        free(steps);
    }
}

TEST_MAIN(CASE(equal_configurations_need_nothing), CASE(an_edit_touches_nothing_else),
          CASE(what_can_be_changed_in_place_is_updated),
          CASE(the_password_of_a_proxy_goes_along_and_is_not_compared),
          CASE(only_what_changed_is_in_an_update),
          CASE(profiles_come_before_and_go_after_their_users),
          CASE(the_addresses_of_a_listener_go_and_come_with_it),
          CASE(what_the_model_never_makes_is_left_alone), CASE(another_id_or_mode_needs_a_restart))
