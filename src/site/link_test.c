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

TEST_MAIN(CASE(further_endpoints_of_the_role_are_alternates_in_their_order),
          CASE(a_single_endpoint_says_nothing_that_other_routers_would_not_know))
