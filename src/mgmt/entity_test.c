// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>

#include "base/err.h"
#include "check.h"
#include "mgmt/mgmt.h"
#include "mgmt/words.h"

static struct mgmt_entity *new_entity(const char *type)
{
    const struct mgmt_type *t = mgmt_find_type(str_of(type));

    CHECK(t != NULL);
    return mgmt_entity_new(t);
}

static int set(struct mgmt_entity *e, const char *attr, struct amqp_val *take, struct why *why)
{
    int err = mgmt_entity_set(e, attr, take, MGMT_CREATE, why);

    amqp_val_free(take);
    return err;
}

static int set_text(struct mgmt_entity *e, const char *attr, const char *text)
{
    struct why why = {""};

    return set(e, attr, amqp_val_string(str_of(text)), &why);
}

TEST(the_table_keeps_its_own_rules)
{
    for (int i = 0; mgmt_types[i]; i++) {
        const struct mgmt_type *t = mgmt_types[i];
        bool has_base[3] = {false};
        int count = 0;

        for (; t->attrs[count].name; count++) {
            const struct mgmt_attr *a = &t->attrs[count];

            for (int j = 0; j < count; j++)
                CHECK(strcmp(a->name, t->attrs[j].name) != 0);
            CHECK((a->type == MGMT_ENUM) == (a->values != NULL));
            CHECK(a->type != MGMT_INT || a->min < a->max);
            CHECK(!(a->flags & MGMT_REQUIRED) || ((a->flags & MGMT_CREATE) && !a->initial));
            has_base[0] |= strcmp(a->name, "name") == 0;
            has_base[1] |= strcmp(a->name, "identity") == 0;
            has_base[2] |= strcmp(a->name, "type") == 0;
        }
        CHECK(count < MGMT_ATTRS_MAX);
        CHECK(has_base[0] && has_base[1] && has_base[2]);
        CHECK(mgmt_find_type(str_of(t->name)) == t);
    }
}

TEST(types_are_found_by_short_full_and_configuration_name)
{
    static const struct {
        const char *name, *want;
    } rows[] = {
        {"listener", "listener"},
        {"io.skupper.router.listener", "listener"},
        {"address", "router.config.address"},
        {"router.config.address", "router.config.address"},
        {"io.skupper.router.router.config.address", "router.config.address"},
        {"io.skupper.router.router.node", "router.node"},
        {"autoLink", "router.config.autoLink"},
        {"io.skupper.router.address", NULL},
        {"Listener", NULL},
        {"", NULL},
        {"org.amqp.management", NULL},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct mgmt_type *t = mgmt_find_type(str_of(rows[i].name));

        CHECK_EQ_FOR(rows[i].name, t != NULL, rows[i].want != NULL);
        if (t)
            CHECK_STR(str_of(t->name), rows[i].want);
    }
    CHECK(mgmt_find_type(STR_NONE) == NULL);
}

TEST(rows_come_in_the_order_that_tools_rely_on)
{
    static const struct {
        const char *type, *attr;
        int place;
    } rows[] = {
        {"router.address", "key", 3},   {"router.address", "watch", 22},
        {"router.link", "linkName", 3}, {"router.link", "zeroCreditSeconds", 27},
        {"connection", "type", 16},     {"connection", "host", 2},
        {"connection", "container", 7}, {"connection", "groupOrdinal", 28},
        {"address", "pattern", 5},      {"autoLink", "lastError", 10},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        CHECK_STR(str_of(mgmt_find_type(str_of(rows[i].type))->attrs[rows[i].place].name),
                  rows[i].attr);
}

TEST(a_new_entity_has_its_defaults)
{
    struct mgmt_entity *e = new_entity("listener");

    CHECK_STR(mgmt_entity_str(e, "role"), "normal");
    CHECK_STR(mgmt_entity_str(e, "port"), "amqp");
    CHECK_EQ(mgmt_entity_int(e, "maxFrameSize", -1), 16384);
    CHECK_EQ(mgmt_entity_int(e, "linkCapacity", -1), -1);
    CHECK(mgmt_entity_bool(e, "healthz"));
    CHECK(!mgmt_entity_bool(e, "http"));
    CHECK(mgmt_entity_cstr(e, "name") == NULL);
    CHECK(mgmt_entity_get(e, "no such") == NULL);
    mgmt_entity_free(e);
    mgmt_entity_free(NULL);
}

TEST(values_are_taken_in_any_fitting_type)
{
    struct mgmt_entity *e = new_entity("listener");
    struct why why;

    CHECK_EQ(set(e, "port", amqp_val_uint(5672), &why), 0);
    CHECK_STR(mgmt_entity_str(e, "port"), "5672");
    CHECK_EQ(set_text(e, "port", "amqps"), 0);
    CHECK_EQ(set_text(e, "cost", "7"), 0);
    CHECK_EQ(mgmt_entity_int(e, "cost", 0), 7);
    CHECK_EQ(set(e, "cost", amqp_val_ulong(8), &why), 0);
    CHECK_EQ(mgmt_entity_int(e, "cost", 0), 8);
    CHECK_EQ(set_text(e, "authenticatePeer", "True"), 0);
    CHECK(mgmt_entity_bool(e, "authenticatePeer"));
    CHECK_EQ(set_text(e, "authenticatePeer", "no"), 0);
    CHECK(!mgmt_entity_bool(e, "authenticatePeer"));
    CHECK_EQ(set(e, "role", amqp_val_symbol(STR("Inter-Router")), &why), 0);
    CHECK_STR(mgmt_entity_str(e, "role"), "inter-router");
    CHECK_EQ(set(e, "host", amqp_val_bool(true), &why), 0);
    CHECK_STR(mgmt_entity_str(e, "host"), "true");
    CHECK_EQ(set(e, "openProperties", amqp_val_map(), &why), 0);
    CHECK(mgmt_entity_get(e, "openProperties")->type == AMQP_MAP);
    CHECK_EQ(set(e, "cost", amqp_val_null(), &why), 0);
    CHECK_EQ(mgmt_entity_int(e, "cost", 0), 1);
    CHECK_EQ(set(e, "openProperties", amqp_val_null(), &why), 0);
    CHECK(mgmt_entity_get(e, "openProperties") == NULL);
    CHECK_EQ(set_text(e, "identity", "what was read"), 0);
    CHECK(mgmt_entity_get(e, "identity") == NULL);
    mgmt_entity_free(e);
}

TEST(a_bad_value_is_refused_with_words_that_help)
{
    static const char zero[] = "a\0b";
    static const struct {
        const char *type, *attr, *text; // text NULL: a list is given
        int want;
        const char *words;
    } rows[] = {
        {"listener", "hots", "x", ERR_NOT_FOUND, "unknown attribute 'hots'; did you mean 'host'?"},
        {"listener", "sslprofile", "x", ERR_NOT_FOUND, "did you mean 'sslProfile'?"},
        {"sslProfile", "caCert", "x", ERR_NOT_FOUND, "did you mean 'caCertFile'?"},
        {"address", "addr", "x", ERR_NOT_FOUND,
         "unknown attribute 'addr'; these may be set: name, prefix, distribution"},
        {"listener", "role", "interior", ERR_INVALID,
         "role: 'interior' is not one of normal, inter-router, route-container, edge, "},
        {"listener", "role", NULL, ERR_INVALID, "role: one of the words normal, "},
        {"listener", "cost", "many", ERR_INVALID, "cost: \"many\" is no whole number"},
        {"listener", "cost", "1.5", ERR_INVALID, "is no whole number"},
        {"listener", "cost", "0", ERR_INVALID, "cost: 0 is not between 1 and 2147483647"},
        {"listener", "maxFrameSize", "100", ERR_INVALID, "maxFrameSize: 100 is not between 512"},
        {"listener", "port", "65536", ERR_INVALID, "port: 65536 is not between 0 and 65535"},
        {"listener", "port", "-1", ERR_INVALID, "port: -1 is not between 0 and 65535"},
        {"listener", "http", "maybe", ERR_INVALID, "http: true or false is needed"},
        {"listener", "host", NULL, ERR_INVALID, "host: a text is needed"},
        {"listener", "host", zero, ERR_INVALID, "host: these octets are no text in UTF-8"},
        {"listener", "openProperties", "x", ERR_INVALID, "openProperties: a map "},
        {"connector", "connectionStatus", "x", ERR_INVALID,
         "connectionStatus: cannot be set, only read"},
        {"router.address", "remoteHostRouters", "x", ERR_INVALID, "cannot be set, only read"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct mgmt_entity *e = new_entity(rows[i].type), *before = mgmt_entity_copy(e);
        struct str text = rows[i].text == zero ? STR("a\0b") : str_of(rows[i].text);
        struct why why = {""};
        int err =
            set(e, rows[i].attr, rows[i].text ? amqp_val_string(text) : amqp_val_list(), &why);

        CHECK_EQ_FOR(why.text, err, rows[i].want);
        if (!strstr(why.text, rows[i].words))
            fail_msg("'%s' does not say '%s'", why.text, rows[i].words);
        CHECK(mgmt_entity_eq(e, before));
        mgmt_entity_free(before);
        mgmt_entity_free(e);
    }
}

TEST(an_update_may_only_change_what_is_marked_so)
{
    struct mgmt_entity *e = new_entity("tcpListener");
    struct amqp_val *word = amqp_val_string(STR("http2"));
    struct why why = {""};

    CHECK_EQ(mgmt_entity_set(e, "observer", word, MGMT_UPDATE, &why), 0);
    CHECK_EQ(mgmt_entity_set(e, "address", word, MGMT_UPDATE, &why), ERR_INVALID);
    CHECK_STR(str_of(why.text), "address: cannot be changed; delete the entity and create it anew");
    amqp_val_free(word);
    mgmt_entity_free(e);
}

TEST(a_check_names_what_is_missing_or_in_conflict)
{
    static const struct {
        const char *type;
        const char *set[4]; // attribute, text, …
        const char *words;  // NULL: all is well
    } rows[] = {
        {"tcpConnector", {"address", "a"}, "port is needed"},
        {"tcpConnector", {"port", "1"}, "address is needed"},
        {"tcpConnector", {"address", "a", "port", "1"}, NULL},
        {"log", {"enable", "info+"}, "module is needed"},
        {"log", {"module", "router_core", "enable", "notice+, debug"}, NULL},
        {"log", {"module", "AUTHSERVICE", "enable", "none"}, NULL},
        {"log", {"module", "DEFAULT", "enable", "loud"}, "enable: 'loud' is no level"},
        {"log", {"module", "DEFAULT", "enable", "info+,,"}, "enable: '' is no level"},
        {"log", {"module", "DEFAULT", "enable", ""}, "enable: '' is no level"},
        {"address", {"distribution", "closest"}, "prefix or pattern is needed"},
        {"address", {"prefix", "a", "pattern", "b"}, "exclude each other"},
        {"address", {"pattern", "b/#"}, NULL},
        {"tcpListener", {"port", "1"}, "address is needed, or a multiAddressStrategy"},
        {"tcpListener", {"port", "1", "multiAddressStrategy", "weighted"}, NULL},
        {"router", {"dataConnectionCount", "4"}, NULL},
        {"router", {"dataConnectionCount", "four"}, "'four' is neither auto nor a number"},
        {"router", {"dataConnectionCount", "-1"}, "'-1' is neither"},
        {"router", {"id", "x"}, NULL},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct mgmt_entity *e = new_entity(rows[i].type);
        struct why why = {""};

        for (int k = 0; k < 4 && rows[i].set[k]; k += 2)
            CHECK_EQ_FOR(rows[i].set[k], set_text(e, rows[i].set[k], rows[i].set[k + 1]), 0);
        CHECK_EQ_FOR(why.text, mgmt_entity_check(e, &why), rows[i].words ? ERR_INVALID : 0);
        if (rows[i].words && !strstr(why.text, rows[i].words))
            fail_msg("'%s' does not say '%s'", why.text, rows[i].words);
        mgmt_entity_free(e);
    }
}

TEST(both_addresses_and_strategy_of_a_tcp_listener_are_refused)
{
    struct mgmt_entity *e = new_entity("tcpListener");
    struct why why = {""};

    set_text(e, "port", "1");
    set_text(e, "address", "a");
    set_text(e, "multiAddressStrategy", "priority");
    CHECK_EQ(mgmt_entity_check(e, &why), ERR_INVALID);
    CHECK(strstr(why.text, "exclude each other") != NULL);
    mgmt_entity_free(e);
}

TEST(identities_are_those_that_tools_know)
{
    static const struct {
        const char *type;
        const char *set[6];
        const char *want;
    } rows[] = {
        {"router", {"id", "R1"}, "router/R1"},
        {"listener", {"name", "amqp", "host", "h", "port", "1"}, "listener/h:1:amqp"},
        {"listener", {"port", "5672"}, "listener/:5672"},
        {"connector", {"name", "c", "port", "1"}, "connector/127.0.0.1:1:c"},
        {"tcpListener", {"name", "listener/db", "port", "2"}, "tcpListener/:2:listener/db"},
        {"tcpConnector", {"name", "c", "host", "h", "port", "2"}, "tcpConnector/h:2:c"},
        {"sslProfile", {"name", "p"}, "sslProfile/p"},
        {"log", {"module", "ROUTER"}, "log/ROUTER"},
        {"log", {"module", "ROUTER", "name", "n"}, "log/ROUTER"},
        {"address", {"prefix", "mc"}, "router.config.address/mc"},
        {"address", {"pattern", "a/*", "name", "n"}, "router.config.address/n"},
        {"site", {"name", "s"}, "site/s"},
        {"network", {NULL}, "network/0"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct mgmt_entity *e = new_entity(rows[i].type);
        char *identity;

        for (int k = 0; k < 6 && rows[i].set[k]; k += 2)
            CHECK_EQ_FOR(rows[i].set[k], set_text(e, rows[i].set[k], rows[i].set[k + 1]), 0);
        identity = mgmt_entity_identity(e);
        CHECK_STR(str_of(identity), rows[i].want);
        free(identity);
        mgmt_entity_free(e);
    }
}

TEST(copies_are_equal_until_one_changes)
{
    struct mgmt_entity *a = new_entity("listener"), *b, *other = new_entity("connector");

    set_text(a, "name", "x");
    b = mgmt_entity_copy(a);
    CHECK(mgmt_entity_eq(a, b));
    CHECK(!mgmt_entity_eq(a, other));
    set_text(b, "port", "1");
    CHECK(!mgmt_entity_eq(a, b));
    set_text(a, "port", "1");
    set_text(a, "linkCapacity", "1");
    CHECK(!mgmt_entity_eq(a, b));
    mgmt_entity_free(a);
    mgmt_entity_free(b);
    mgmt_entity_free(other);
}

TEST(only_near_words_are_offered)
{
    static const struct {
        const char *word, *want;
    } rows[] = {
        {"hots", "host"}, {"HOST", "host"}, {"hst", "host"},
        {"prot", "port"}, {"xyzzy", NULL},  {"hostname", "host"},
        {"", NULL},       {"po", "port"},   {"a word so long that nobody can have meant one", NULL},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct nearest n = {.word = str_of(rows[i].word)};

        nearest_offer(&n, "cost");
        nearest_offer(&n, "host");
        nearest_offer(&n, "port");
        if (rows[i].want)
            CHECK_STR(str_of(n.best), rows[i].want);
        else
            CHECK(n.best == NULL);
    }
}

TEST(text_that_is_no_utf8_is_made_showable)
{
    static const struct {
        const char *text, *want;
    } rows[] = {
        {"plain", "plain"},
        {"gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f"},
        {"cut \xc3", "cut ?"},
        {"\xff\xfe", "??"},
        {"over\xc0\xaf", "over??"},
        {"long \xe0\x80\x80", "long ???"},
        {"half \xed\xa0\x80", "half ???"},
        {"high \xf4\x90\x80\x80", "high ????"},
        {"\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80"},
        {"\xf0\x80\x80\x80", "????"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char text[32];

        snprintf(text, sizeof(text), "%s", rows[i].text);
        utf8_clean(text);
        CHECK_STR(str_of(text), rows[i].want);
    }
}

TEST_MAIN(CASE(the_table_keeps_its_own_rules),
          CASE(types_are_found_by_short_full_and_configuration_name),
          CASE(rows_come_in_the_order_that_tools_rely_on), CASE(a_new_entity_has_its_defaults),
          CASE(values_are_taken_in_any_fitting_type),
          CASE(a_bad_value_is_refused_with_words_that_help),
          CASE(an_update_may_only_change_what_is_marked_so),
          CASE(a_check_names_what_is_missing_or_in_conflict),
          CASE(both_addresses_and_strategy_of_a_tcp_listener_are_refused),
          CASE(identities_are_those_that_tools_know), CASE(copies_are_equal_until_one_changes),
          CASE(only_near_words_are_offered), CASE(text_that_is_no_utf8_is_made_showable))
