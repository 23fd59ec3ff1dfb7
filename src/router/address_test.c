// SPDX-License-Identifier: Apache-2.0
#include "router/rig_test.h"

static struct str class_of(const struct router *r, const char *text)
{
    static char key[ADDRESS_MAX + 64];
    struct str out = STR_NONE;

    return address_classify(r, str_of(text), key, &out) ? out : STR("malformed");
}

TEST(an_address_has_the_class_that_its_text_says)
{
    static const struct {
        const char *text, *interior, *edge;
    } rows[] = {
        {"a/b", "Ma/b", "Ma/b"},
        {"amqp:/a/b", "Ma/b", "Ma/b"},
        {"amqp://host:5672/a/b", "Ma/b", "Ma/b"},
        {"amqp://host", "malformed", "malformed"},
        {"amqp:", "malformed", "malformed"},
        {"/a/b", "Ma/b", "Ma/b"},
        {"a/b/", "Ma/b", "Ma/b"},
        {"a.b.", "Ma.b", "Ma.b"},
        {"a/b//", "Ma/b/", "Ma/b/"},
        {"a", "Ma", "Ma"},
        {"", "malformed", "malformed"},
        {"/", "malformed", "malformed"},
        {"_local/x", "Lx", "Lx"},
        {"amqp:/_local/x/y", "Lx/y", "Lx/y"},
        {"_local/", "M_local", "M_local"},
        {"_topo/0/all/x", "Tx", "Up"},
        {"_topo/all/all/x", "Tx", "Up"},
        {"_topo/0/me/x", "Lx", "Lx"},
        {"amqp:/_topo/0/me/temp.abc", "Ltemp.abc", "Ltemp.abc"},
        {"_topo/0/other/x", "Rother", "Up"},
        {"_topo/all/other/x", "Rother", "Up"},
        {"_topo/7/other/x", "A7", "A7"},
        {"_topo/0", "malformed", "malformed"},
        {"_topo/0/me", "malformed", "malformed"},
        {"_edge/me/x", "Hme", "Lx"},
        {"_edge/other/x", "Hother", "Up"},
        {"_edge/other", "malformed", "malformed"},
        {"_xtopo/net/0/me/x", "Lx", "Lx"},
        {"_xtopo/0/0/other/x", "Rother", "Up"},
        {"_xedge/net/other/x", "Hother", "Up"},
        {"_xtopo/net", "malformed", "malformed"},
        {"_topology/x", "M_topology/x", "M_topology/x"},
        {"$management", "M$management", "M$management"},
        {"mc/$skupper-service-sync", "Mmc/$skupper-service-sync", "Mmc/$skupper-service-sync"},
    };
    struct net n;
    struct router *interior, *edge;

    net_begin(&n);
    interior = net_router(&n, "me", ROUTER_INTERIOR);
    edge = net_router(&n, "me", ROUTER_EDGE);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct str want = str_of(rows[i].interior);

        if (!str_eq(class_of(interior, rows[i].text), want))
            fail_msg("interior: %s is %.*s", rows[i].text,
                     STR_ARG(class_of(interior, rows[i].text)));
        if (!str_is(class_of(edge, rows[i].text), rows[i].edge))
            fail_msg("edge: %s is %.*s", rows[i].text, STR_ARG(class_of(edge, rows[i].text)));
    }
    net_end(&n);
}

TEST(an_address_of_1024_bytes_is_taken_and_one_more_is_not)
{
    char text[ADDRESS_MAX + 2];
    struct net n;
    struct router *r;

    net_begin(&n);
    r = net_router(&n, "me", ROUTER_INTERIOR);
    memset(text, 'a', sizeof(text));
    text[ADDRESS_MAX] = '\0';
    CHECK_EQ(class_of(r, text).len, ADDRESS_MAX + 1);
    text[ADDRESS_MAX] = 'a';
    text[ADDRESS_MAX + 1] = '\0';
    CHECK_STR(class_of(r, text), "malformed");
    net_end(&n);
}

TEST(the_rule_that_matches_best_token_by_token_gives_the_treatment)
{
    static const struct {
        const char *text;
        bool is_prefix;
        int priority;
    } rules[] = {
        {"#", false, 0},       {"a", true, 1},      {"a/*", false, 2}, {"a/b", false, 3},
        {"a/*/c", false, 4},   {"a/#/z", false, 5}, {"x.y", true, 6},  {"*/q", false, 7},
        {"m/#/n/#", false, 8}, {"p/#", false, 9},
    };
    static const struct {
        const char *address;
        int want;
    } rows[] = {
        {"a", 1},     {"a/b", 3},         {"a.b", 3},     {"a/x", 2},
        {"a/x/c", 4}, {"a/x/y", 1},       {"a/x/y/z", 5}, {"a/z", 2},
        {"ab", 0},    {"x.y", 6},         {"x.y.z", 6},   {"x/y", 0},
        {"x.yz", 0},  {"other", 0},       {"k/q", 7},     {"k/q/r", 0},
        {"m/n", 8},   {"m/1/2/n/3/4", 8}, {"m/n/n/n", 8}, {"m/1/2", 0},
        {"p", 9},     {"p/1/2/3", 9},     {"q", 0},       {"a/b/c/d/e/f/g", 1},
    };
    struct net n;
    struct router *r;

    net_begin(&n);
    r = net_router(&n, "me", ROUTER_INTERIOR);
    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
        CHECK_EQ(router_address_config(r, str_of(rules[i].text), rules[i].is_prefix, ROUTER_CLOSEST,
                                       rules[i].priority),
                 0);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct treatment_rule *rule = rule_for(r, str_of(rows[i].address));

        CHECK(rule);
        CHECK_EQ_FOR(rows[i].address, rule_priority(rule), rows[i].want);
    }
    net_end(&n);
}

TEST(rules_are_refused_twice_and_when_they_make_no_sense)
{
    struct net n;
    struct router *r;

    net_begin(&n);
    r = net_router(&n, "me", ROUTER_INTERIOR);
    CHECK_EQ(router_address_config(r, STR("a/"), true, ROUTER_CLOSEST, -1), 0);
    CHECK_EQ(router_address_config(r, STR("a"), true, ROUTER_MULTICAST, -1), ERR_EXISTS);
    CHECK_EQ(router_address_config(r, STR("a"), false, ROUTER_MULTICAST, -1), 0);
    CHECK_EQ(router_address_config(r, STR(""), true, ROUTER_CLOSEST, -1), ERR_INVALID);
    CHECK_EQ(router_address_config(r, STR("//"), true, ROUTER_CLOSEST, -1), ERR_INVALID);
    CHECK_EQ(router_address_config(r, STR("b"), true, ROUTER_CLOSEST, 10), ERR_INVALID);
    CHECK_EQ(router_address_unconfig(r, STR("b"), true), ERR_NOT_FOUND);
    CHECK_EQ(router_address_unconfig(r, STR("a"), false), 0);
    CHECK_EQ(rule_treatment(rule_for(r, STR("a"))), ROUTER_CLOSEST);
    CHECK_EQ(router_address_unconfig(r, STR("a/"), true), 0);
    CHECK(!rule_for(r, STR("a")));
    net_end(&n);
}

TEST(the_separators_of_a_pattern_may_be_others_than_those_of_the_address)
{
    struct net n;
    struct router *r;

    net_begin(&n);
    r = net_router(&n, "me", ROUTER_INTERIOR);
    CHECK_EQ(router_address_config(r, STR("a.b"), false, ROUTER_CLOSEST, 1), 0);
    CHECK_EQ(rule_priority(rule_for(r, STR("a/b"))), 1);
    CHECK_EQ(rule_priority(rule_for(r, STR("a.b/"))), 1);
    CHECK(!rule_for(r, STR("a/b/c")));
    CHECK_EQ(router_address_config(r, STR("a/b"), false, ROUTER_CLOSEST, 2), 0); // of the same
    CHECK_EQ(router_address_config(r, STR("a/b"), false, ROUTER_CLOSEST, 3), ERR_EXISTS);
    CHECK_EQ(router_address_unconfig(r, STR("a.b"), false), 0);
    CHECK_EQ(rule_priority(rule_for(r, STR("a.b"))), 2);
    CHECK_EQ(router_address_unconfig(r, STR("a/b"), false), 0);
    CHECK(!rule_for(r, STR("a.b")));
    net_end(&n);
}

TEST(there_may_be_ten_thousand_rules_and_no_more)
{
    char text[32];
    struct net n;
    struct router *r;
    int count = 3; // the rig's own

    net_begin(&n);
    r = net_router(&n, "me", ROUTER_INTERIOR);
    for (; count < 10000; count++) {
        snprintf(text, sizeof(text), count % 100 ? "p%d" : "*/p%d", count);
        CHECK_EQ(router_address_config(r, str_of(text), count % 2, ROUTER_CLOSEST, count % 10), 0);
    }
    CHECK_EQ(router_address_config(r, STR("more"), true, ROUTER_CLOSEST, -1), ERR_LIMIT);
    CHECK_EQ(rule_priority(rule_for(r, STR("p7777/x"))), 7);
    CHECK(!rule_for(r, STR("p7778/x"))); // no prefix
    CHECK_EQ(rule_priority(rule_for(r, STR("p7778"))), 8);
    CHECK_EQ(rule_priority(rule_for(r, STR("x/p7700"))), 0);
    CHECK_EQ(router_address_unconfig(r, STR("p7777"), true), 0);
    CHECK(!rule_for(r, STR("p7777/x")));
    CHECK_EQ(router_address_config(r, STR("more"), true, ROUTER_CLOSEST, -1), 0);
    net_end(&n);
}

// A peer chooses the address; no pattern may make the match take long.
TEST(many_wildcards_and_a_long_address_are_matched_in_no_time)
{
    char address[ADDRESS_MAX + 1];
    struct net n;
    struct router *r;

    net_begin(&n);
    r = net_router(&n, "me", ROUTER_INTERIOR);
    CHECK_EQ(
        router_address_config(r, STR("#/a/#/a/#/a/#/a/#/a/#/a/#/a/#/z"), false, ROUTER_CLOSEST, -1),
        0);
    for (size_t i = 0; i < ADDRESS_MAX; i++)
        address[i] = i % 2 ? '/' : 'a';
    address[ADDRESS_MAX] = '\0';
    CHECK(!rule_for(r, str_of(address)));
    address[ADDRESS_MAX - 2] = 'z';
    address[ADDRESS_MAX - 1] = '\0';
    CHECK(rule_for(r, str_of(address)));
    net_end(&n);
}

TEST_MAIN(CASE(an_address_has_the_class_that_its_text_says),
          CASE(an_address_of_1024_bytes_is_taken_and_one_more_is_not),
          CASE(the_rule_that_matches_best_token_by_token_gives_the_treatment),
          CASE(rules_are_refused_twice_and_when_they_make_no_sense),
          CASE(the_separators_of_a_pattern_may_be_others_than_those_of_the_address),
          CASE(there_may_be_ten_thousand_rules_and_no_more),
          CASE(many_wildcards_and_a_long_address_are_matched_in_no_time))
