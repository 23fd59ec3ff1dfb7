// SPDX-License-Identifier: Apache-2.0
#include "site/rig_test.h"

static void link_desk(struct desk *d, const char *endpoints)
{
    char *spec = str_fmt("{'endpoints': %s}", endpoints);

    desk_init(d);
    desk_put_spec(d, "Site", "west", "{}");
    desk_put_spec(d, "Link", "to-east", spec);
    desk_derive(d);
    free(spec);
}

TEST(further_endpoints_of_the_role_are_alternates_in_their_order)
{
    struct desk d;

    link_desk(&d, "[{'name': 'edge', 'host': 'e', 'port': '1'},"
                  " {'name': 'inter-router', 'host': 'z.example', 'port': '2'},"
                  " {'name': 'inter-router', 'host': '2001:db8::1', 'port': '3'},"
                  " {'name': 'inter-router', 'host': 'a.example', 'port': '4'}]");
    CHECK_JSON(desk_entity(&d, "connector", "to-east"),
               "{'name': 'to-east', 'role': 'inter-router', 'host': 'z.example', 'port': '2',"
               " 'alternates': '[2001:db8::1]:3,a.example:4', 'cost': 1}");
    desk_fini(&d);
}

TEST(a_single_endpoint_says_nothing_that_other_routers_would_not_know)
{
    struct desk d;

    link_desk(&d, "[{'name': 'edge', 'host': 'e', 'port': '1'},"
                  " {'name': 'inter-router', 'host': 'z.example', 'port': '2'}]");
    CHECK_JSON(desk_entity(&d, "connector", "to-east"),
               "{'name': 'to-east', 'role': 'inter-router', 'host': 'z.example', 'port': '2',"
               " 'cost': 1}");
    desk_fini(&d);
}

#define PROXY(data)                                                                                \
    "{'apiVersion': 'v1', 'kind': 'Secret', 'metadata': {'name': 'out'}, 'type': "                 \
    "'kubernetes.io/basic-auth', 'stringData': " data "}"

static void proxy_desk(struct desk *d, const char *secret)
{
    desk_init(d);
    desk_put_spec(d, "Site", "west", "{}");
    desk_put_spec(d, "Link", "to-east",
                  "{'endpoints': [{'name': 'inter-router', 'host': 'e', 'port': '1'}],"
                  " 'settings': {'proxy-configuration': 'out'}}");
    if (secret)
        desk_put(d, secret);
}

TEST(a_link_goes_through_the_proxy_that_a_secret_describes)
{
    struct desk d;

    proxy_desk(&d,
               PROXY("{'host': 'p.example', 'port': '3128', 'username': 'u', 'password': 'w'}"));
    desk_derive(&d);
    CHECK_JSON(desk_entity(&d, "proxyProfile", "out"),
               "{'name': 'out', 'host': 'p.example', 'port': '3128', 'username': 'u',"
               " 'password': 'file:/base/runtime/proxies/out/password.txt'}");
    CHECK_JSON(desk_entity(&d, "connector", "to-east"),
               "{'name': 'to-east', 'role': 'inter-router', 'host': 'e', 'port': '1', 'cost': 1,"
               " 'proxyProfile': 'out'}");
    desk_fini(&d);
}

TEST(a_proxy_that_asks_for_nothing_has_no_credentials)
{
    struct desk d;

    proxy_desk(&d, PROXY("{'host': 'p.example', 'port': '3128', 'password': 'w'}"));
    desk_derive(&d);
    CHECK_JSON(desk_entity(&d, "proxyProfile", "out"),
               "{'name': 'out', 'host': 'p.example', 'port': '3128'}");
    desk_fini(&d);
}

TEST(in_a_cluster_the_password_is_where_the_agent_in_the_pod_puts_it)
{
    struct desk d;

    proxy_desk(&d, NULL);
    d.facts.platform = &site_kubernetes;
    desk_know(&d, "proxies", "{'out': {'host': 'p.example', 'port': '3128', 'username': 'u'}}");
    desk_derive(&d);
    CHECK_JSON(desk_entity(&d, "proxyProfile", "out"),
               "{'name': 'out', 'host': 'p.example', 'port': '3128', 'username': 'u',"
               " 'password': 'file:/etc/skupper-router-proxies/out/password.txt'}");
    CHECK(desk_entity(&d, "connector", "to-east") != NULL);
    desk_fini(&d);
}

TEST(a_link_whose_proxy_is_not_known_waits_and_says_why)
{
    static const struct {
        const char *secret, *why;
    } rows[] = {
        {NULL, "is not there, or says nothing of a proxy; it needs the keys host and port"},
        {PROXY("{'password': 'w'}"),
         "is not there, or says nothing of a proxy; it needs the keys host and port"},
        {PROXY("{'host': 'h'}"), "needs the keys host and port of the proxy"},
        {PROXY("{'host': '', 'port': '1'}"), "needs the keys host and port of the proxy"},
        {PROXY("{'host': 'h', 'port': '0'}"), "has a port that is no number from 1 to 65535"},
        {PROXY("{'host': 'h', 'port': 'http'}"), "has a port that is no number from 1 to 65535"},
        {PROXY("{'host': 'h', 'port': '1', 'username': 'u'}"), "has a username and no password"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct desk d;
        char *words =
            str_fmt("spec.settings.proxy-configuration: the Secret \"out\" %s", rows[i].why);

        proxy_desk(&d, rows[i].secret);
        desk_derive(&d);
        CHECK_STR(str_of(site_text(desk_resource(&d, "Link/to-east"), "status.message")), words);
        CHECK(!desk_entity(&d, "connector", "to-east"));
        CHECK(!desk_entity(&d, "proxyProfile", "out"));
        desk_fini(&d);
        free(words);
    }
}

TEST(what_the_router_says_of_a_proxy_is_told_by_the_link)
{
    struct desk d;

    proxy_desk(&d, PROXY("{'host': 'h', 'port': '1', 'username': 'a:b', 'password': 'w'}"));
    desk_know(&d, "entities", "{'proxyProfile/out': {'error': 'username: a colon'}}");
    desk_derive(&d);
    CHECK(strstr(site_text(desk_resource(&d, "Link/to-east"), "status.message"),
                 "username: a colon") != NULL);
    desk_fini(&d);
}

TEST(a_link_costs_what_it_says_and_one_at_least)
{
    static const struct {
        const char *spec;
        int want;
    } rows[] = {
        {"{'endpoints': [{'name': 'inter-router', 'host': 'h', 'port': '1'}]}", 1},
        {"{'endpoints': [{'name': 'inter-router', 'host': 'h', 'port': '1'}], 'cost': 0}", 1},
        {"{'endpoints': [{'name': 'inter-router', 'host': 'h', 'port': '1'}], 'cost': 7}", 7},
        {"{'endpoints': [{'name': 'inter-router', 'host': 'h', 'port': '1'}],"
         " 'cost': 5000000000}",
         INT32_MAX},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct desk d;

        desk_init(&d);
        desk_put_spec(&d, "Site", "west", "{}");
        desk_put_spec(&d, "Link", "to-east", rows[i].spec);
        desk_derive(&d);
        CHECK_EQ_FOR(
            rows[i].spec,
            json_integer_value(json_object_get(desk_entity(&d, "connector", "to-east"), "cost")),
            rows[i].want);
        desk_fini(&d);
    }
}

TEST_MAIN(CASE(further_endpoints_of_the_role_are_alternates_in_their_order),
          CASE(a_single_endpoint_says_nothing_that_other_routers_would_not_know),
          CASE(a_link_goes_through_the_proxy_that_a_secret_describes),
          CASE(a_proxy_that_asks_for_nothing_has_no_credentials),
          CASE(in_a_cluster_the_password_is_where_the_agent_in_the_pod_puts_it),
          CASE(a_link_whose_proxy_is_not_known_waits_and_says_why),
          CASE(what_the_router_says_of_a_proxy_is_told_by_the_link),
          CASE(a_link_costs_what_it_says_and_one_at_least))
