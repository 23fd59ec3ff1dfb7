// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "check.h"
#include "mgmt/mgmt.h"

static const char *environment(const char *name)
{
    static const struct {
        const char *name, *value;
    } known[] = {
        {"ID", "R1"}, {"PORT", "5672"}, {"EMPTY", ""}, {"NESTED", "$ID"}, {"x_9", "under"}};

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (strcmp(known[i].name, name) == 0)
            return known[i].value;
    }
    return NULL;
}

static struct mgmt_config *parse(const char *text)
{
    struct mgmt_config *c = NULL;
    struct why why = {""};

    if (mgmt_config_parse("f", str_of(text), environment, &c, &why) != 0)
        fail_msg("%s\nin:\n%s", why.text, text);
    return c;
}

// One configuration that uses every kind of value, in both syntaxes.
static const char as_json[] =
    "# a comment is a line of its own\n"
    "[\n"
    "  [\"router\", {\"id\": \"R1\", \"mode\": \"interior\",\n"
    "    \"helloMaxAgeSeconds\": \"3\", \"metadata\": \"{\\\"id\\\":1}\"}],\n"
    "  # between them too\n"
    "  [\"sslProfile\", {\"name\": \"p\", \"caCertFile\": \"/ca # 1.pem\"}],\n"
    "  [\"listener\", {\"name\": \"amqp\", \"host\": \"\", \"port\": 5672,\n"
    "    \"authenticatePeer\": true, \"sslProfile\": \"p\",\n"
    "    \"openProperties\": {\"a\": 1, \"b\": {\"c\": \"d\", \"e\": false}}}],\n"
    "  [\"address\", {\"prefix\": \"mc\", \"distribution\": \"multicast\"}],\n"
    "  [\"log\", {\"module\": \"ROUTER_CORE\", \"enable\": \"error+\"}],\n"
    "  [\"network\"]\n"
    "]\n";

static const char as_native[] = "# a comment\n"
                                "router {\n"
                                "    id: R1\n"
                                "    mode: interior   # behind a value\n"
                                "    helloMaxAgeSeconds: 3\n"
                                "    metadata: \"{\\\"id\\\":1}\"\n"
                                "}\n"
                                "sslProfile { name: p\n"
                                "    \"caCertFile\": \"/ca # 1.pem\" }\n"
                                "listener {\n"
                                "    name: amqp\n"
                                "    host: \"\"\n"
                                "    port: 5672\r\n"
                                "    authenticatePeer: yes\n"
                                "    sslProfile: p,\n"
                                "    openProperties: {\n"
                                "        a: 1\n"
                                "        b: {\"c\": \"d\", \"e\": false}\n"
                                "    }\n"
                                "}\n"
                                "address { prefix: mc\n distribution: multicast }\n"
                                "log {\n module: ROUTER_CORE\n enable: error+\n}\n"
                                "network { }";

TEST(both_syntaxes_say_the_same)
{
    static const char *const types[] = {"router", "sslProfile", "listener", "router.config.address",
                                        "log",    "network"};
    struct mgmt_config *a = parse(as_json), *b = parse(as_native);
    const struct amqp_val *open;

    CHECK_EQ(a->count, 6);
    CHECK_EQ(b->count, 6);
    for (size_t i = 0; i < a->count; i++) {
        CHECK_STR(str_of(a->entities[i]->type->name), types[i]);
        if (!mgmt_entity_eq(a->entities[i], b->entities[i]))
            fail_msg("%s differs", types[i]);
    }
    CHECK_STR(mgmt_entity_str(a->entities[0], "metadata"), "{\"id\":1}");
    CHECK_EQ(mgmt_entity_int(a->entities[0], "helloMaxAgeSeconds", 0), 3);
    CHECK_STR(mgmt_entity_str(b->entities[1], "caCertFile"), "/ca # 1.pem");
    CHECK_STR(mgmt_entity_str(b->entities[2], "port"), "5672");
    CHECK(mgmt_entity_bool(b->entities[2], "authenticatePeer"));
    open = mgmt_entity_get(b->entities[2], "openProperties");
    CHECK(amqp_val_get(open, "a")->type == AMQP_LONG);
    CHECK(amqp_val_get(amqp_val_get(open, "b"), "e")->type == AMQP_BOOL);
    CHECK(mgmt_config_single(a, "router") == a->entities[0]);
    CHECK(mgmt_config_single(a, "site") == NULL);
    mgmt_config_free(a);
    mgmt_config_free(b);
    mgmt_config_free(NULL);
}

// As the control plane of existing sites writes them.
TEST(a_file_of_an_existing_site_is_read)
{
    struct mgmt_config *c = parse(
        "[[\"router\", {\"id\": \"site-a-router-1\", \"mode\": \"interior\", "
        "\"helloMaxAgeSeconds\": \"3\", \"metadata\": "
        "\"{\\\"id\\\":\\\"u\\\",\\\"version\\\":\\\"2.0\\\"}\", \"dataConnectionCount\": \"2\"}],"
        "[\"sslProfile\", {\"name\": \"skupper-internal\", \"certFile\": \"/t/tls.crt\", "
        "\"privateKeyFile\": \"/t/tls.key\", \"caCertFile\": \"/t/ca.crt\"}],"
        "[\"sslProfile\", {\"name\": \"link1\"}],"
        "[\"listener\", {\"name\": \"amqp\", \"host\": \"localhost\", \"port\": 5672}],"
        "[\"listener\", {\"name\": \"interior-listener\", \"role\": \"inter-router\", \"port\": "
        "55671, \"sslProfile\": \"skupper-internal\", \"saslMechanisms\": \"EXTERNAL\", "
        "\"authenticatePeer\": true, \"maxFrameSize\": 16384, \"maxSessionFrames\": 640}],"
        "[\"connector\", {\"name\": \"link1\", \"role\": \"inter-router\", \"host\": "
        "\"peer.example\", \"port\": \"55671\", \"cost\": 1, \"sslProfile\": \"link1\"}],"
        "[\"address\", {\"prefix\": \"mc\", \"distribution\": \"multicast\"}],"
        "[\"tcpListener\", {\"name\": \"backend\", \"address\": \"backend\", \"host\": "
        "\"0.0.0.0\", \"port\": \"1024\", \"siteId\": \"s\"}],"
        "[\"tcpConnector\", {\"name\": \"backend/10.0.0.1\", \"address\": \"backend\", "
        "\"host\": \"10.0.0.1\", \"port\": \"8080\", \"siteId\": \"s\", \"processId\": \"p\"}],"
        "[\"log\", {\"module\": \"ROUTER_CORE\", \"enable\": \"error+\"}],"
        "[\"site\", {\"name\": \"site-a\", \"location\": \"l\", \"provider\": \"p\", "
        "\"platform\": \"kubernetes\", \"namespace\": \"n\", \"version\": \"v\"}]]");
    char *identity = mgmt_entity_identity(c->entities[8]);

    CHECK_EQ(c->count, 11);
    CHECK_STR(str_of(identity), "tcpConnector/10.0.0.1:8080:backend/10.0.0.1");
    CHECK_EQ(mgmt_entity_int(c->entities[4], "maxSessionFrames", 0), 640);
    free(identity);
    mgmt_config_free(c);
}

TEST(an_entity_knows_its_line)
{
    struct mgmt_config *json = parse(as_json), *native = parse(as_native);

    CHECK_EQ(json->entities[0]->line, 3);
    CHECK_EQ(json->entities[1]->line, 6);
    CHECK_EQ(json->entities[2]->line, 7);
    CHECK_EQ(json->entities[5]->line, 12);
    CHECK_EQ(native->entities[0]->line, 2);
    CHECK_EQ(native->entities[1]->line, 8);
    CHECK_EQ(native->entities[5]->line, 27);
    mgmt_config_free(json);
    mgmt_config_free(native);
}

TEST(the_environment_fills_values)
{
    static const struct {
        const char *text, *want;
    } rows[] = {
        {"$ID", "R1"},
        {"${ID}", "R1"},
        {"pre-${ID}-post", "pre-R1-post"},
        {"$ID-$PORT", "R1-5672"},
        {"${ID}x$ID.y", "R1xR1.y"},
        {"$IDx", "$IDx"},
        {"$x_9", "under"},
        {"$UNKNOWN ${UNKNOWN}", "$UNKNOWN ${UNKNOWN}"},
        {"$NESTED", "$ID"},
        {"a${EMPTY}b", "ab"},
        {"costs 5$", "costs 5$"},
        {"$ ${ ${}", "$ ${ ${}"},
        {"${ID", "${ID"},
        {"$$ID", "$R1"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char *text = str_fmt("[[\"router\", {\"id\": \"%s\"}]]", rows[i].text);
        struct mgmt_config *c = parse(text);

        CHECK_STR(mgmt_entity_str(c->entities[0], "id"), rows[i].want);
        mgmt_config_free(c);
        free(text);
    }
}

TEST(the_environment_fills_native_values_maps_and_numbers)
{
    struct mgmt_config *c = parse("listener {\n"
                                  " port: ${PORT}\n"
                                  " name: ${ID}.$PORT # ${ID}\n"
                                  " openProperties: { id: $ID }\n"
                                  " linkCapacity: $PORT }\n"
                                  "router { id: ${ID} }\n");
    const struct mgmt_entity *e = c->entities[0];

    CHECK_STR(mgmt_entity_str(e, "port"), "5672");
    CHECK_STR(mgmt_entity_str(e, "name"), "R1.5672");
    CHECK_STR(amqp_val_str(amqp_val_get(mgmt_entity_get(e, "openProperties"), "id")), "R1");
    CHECK_EQ(mgmt_entity_int(e, "linkCapacity", 0), 5672);
    CHECK_STR(mgmt_entity_str(c->entities[1], "id"), "R1");
    mgmt_config_free(c);
}

TEST(without_an_environment_nothing_is_replaced)
{
    struct mgmt_config *c = NULL;
    struct why why = {""};

    CHECK_EQ(mgmt_config_parse("f", STR("router { id: $ID }"), NULL, &c, &why), 0);
    CHECK_STR(mgmt_entity_str(c->entities[0], "id"), "$ID");
    mgmt_config_free(c);
}

TEST(an_empty_file_is_an_empty_configuration)
{
    static const char *const texts[] = {"",   "\n \t\r\n",  "# only this",
                                        "[]", "# x\n[ ]\n", "\xef\xbb\xbf[]"};

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct mgmt_config *c = parse(texts[i]);

        CHECK_EQ_FOR(texts[i], c->count, 0);
        mgmt_config_free(c);
    }
}

static void check_refusal(const char *text, int want, const char *words)
{
    struct mgmt_config *c = NULL;
    struct why why = {""};
    int err = mgmt_config_parse("f", str_of(text), environment, &c, &why);

    if (err != want || strcmp(why.text, words) != 0)
        fail_msg("%d, not %d: '%s', not '%s'\nin:\n%s", err, want, why.text, words, text);
    CHECK(c == NULL);
}

TEST(text_that_cannot_be_read_tells_line_and_column)
{
    static const struct {
        const char *text, *words;
    } rows[] = {
        {"[[\"router\", {\"id\": \"a\"}]", "f:1:24: ']' expected near end of file"},
        {"[\n[\"router\",\n {\"id\" \"a\"}]]", "f:3:10: ':' expected near '\"a\"'"},
        {"[\n# comments keep the place\n[\"router\" {}]]", "f:3:11: ']' expected near '{'"},
        {"[[\"router\", {\"id\": \"a\", \"id\": \"b\"}]]",
         "f:1:28: duplicate object key near '\"id\"'"},
        {"{\"router\": {}}", "f:1: a list of [\"type\", {\"attribute\": value, …}] is needed"},
        {"router {\n id R1\n}",
         "f:2:5: ':' and a value are needed behind the name of an attribute"},
        {"router {\n id:\n}", "f:2:5: a value is needed here; write \"\" for an empty text"},
        {"router {\n id: }", "f:2:6: a value is needed here; write \"\" for an empty text"},
        {"router {\n id: \"R1\n}", "f:2:8: unexpected newline near '\"R1'"},
        {"router {\n id: \"a\" mode: edge\n}",
         "f:2:10: something stands behind the value; a new line is needed"},
        {"router {\n id: a\n", "f:1: the '{' of this router is never closed"},
        {"listener {\n openProperties: {\n a: 1\n", "f:2: the '{' of this map is never closed"},
        {"router {\n :x\n}", "f:2:2: 'attribute: value' or '}' is needed"},
        {"router\nid: a", "f:2:1: an entity is needed, written as 'type {' and its attributes"},
        {"router { }\n}", "f:2:1: an entity is needed, written as 'type {' and its attributes"},
        {"router { }\nwhat", "f:2:5: an entity is needed, written as 'type {' and its attributes"},
        {"listener {\n openProperties: [1\n,\n2 3]\n}", "f:4:3: ']' expected near '3'"},
        {"router {\n id: a\xff\n}", "f:2: this is no text in UTF-8"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        check_refusal(rows[i].text, ERR_DECODE, rows[i].words);
}

TEST(an_entity_that_is_wrong_tells_line_entity_attribute_and_what_would_be_right)
{
    static const struct {
        const char *text, *words;
    } rows[] = {
        {"[[\"router\", {}],\n [\"listener\",\n  {\"role\": \"interior\",\n   \"name\": \"x\"}]]",
         "f:3: listener 'x': role: 'interior' is not one of normal, inter-router, route-container, "
         "edge, inter-edge, inter-network"},
        {"listener {\n name: x\n role: interior\n}",
         "f:3: listener 'x': role: 'interior' is not one of normal, inter-router, route-container, "
         "edge, inter-edge, inter-network"},
        {"[[\"listener\", {\n\"openProperties\": {\"a\": [1, {\"b\":\n 2}]},\n\"hots\": \"x\"}]]",
         "f:4: listener: unknown attribute 'hots'; did you mean 'host'?"},
        {"listener {\n port: 65536\n}", "f:2: listener: port: 65536 is not between 0 and 65535"},
        {"listener {\n cost: cheap\n}", "f:2: listener: cost: \"cheap\" is no whole number"},
        {"connector {\n name: c\n connectionMsg: x\n}",
         "f:3: connector 'c': connectionMsg: cannot be set, only read"},
        {"tcpConnector {\n address: a\n}", "f:1: tcpConnector: port is needed"},
        {"log {\n module: ROUTR\n}",
         "f:2: log: module: 'ROUTR' is not one of ROUTER, ROUTER_CORE, ROUTER_HELLO, ROUTER_LS, "
         "ROUTER_MA, MESSAGE, SERVER, AGENT, CONTAINER, ERROR, POLICY, HTTP, CONN_MGR, PYTHON, "
         "PROTOCOL, TCP_ADAPTOR, HTTP_ADAPTOR, FLOW_LOG, ADDRESS_WATCH, HTTP1_OBSERVER, "
         "HTTP2_OBSERVER, HTTP2_DECODER, AUTHSERVICE, DEFAULT"},
        {"log {\n module: ROUTER\n enable: loud\n}",
         "f:1: log: enable: 'loud' is no level; a comma list of debug, info, warning, error, "
         "critical, each with an optional +, or none or default is needed"},
        {"\nlistner {\n}", "f:2: unknown entity type 'listner'; did you mean 'listener'?"},
        {"[[\"router.config.adress\", {}]]",
         "f:1: unknown entity type 'router.config.adress'; did you mean 'router'?"},
        {"xyzzy { }",
         "f:1: unknown entity type 'xyzzy'; there are router, listener, connector, sslProfile, "
         "address, log, tcpListener, tcpConnector and more"},
        {"connection { }",
         "f:1: entities of type 'connection' cannot be configured, only read by management"},
        {"router { }\nrouter { }",
         "f:2: router: there is one on line 1 already, and there can be only one"},
        {"listener { name: a\n port: 1 }\n\nlistener { name: a\n port: 2 }",
         "f:4: listener 'a': the name is in use on line 1; names of one type differ"},
        {"listener { port: 1 }\nlistener { port: 1 }",
         "f:2: listener: the same stands on line 1 already; give one of them a name"},
        {"router {\n id: a\n id: b\n}", "f:3: router: attribute 'id' stands on line 2 already"},
        {"listener {\n name: a\n sslProfile: tls\n}",
         "f:1: listener 'a': sslProfile: there is no sslProfile named 'tls' in this file"},
        {"connector {\n proxyProfile: p\n}",
         "f:1: connector: proxyProfile: there is no proxyProfile named 'p' in this file"},
        {"listenerAddress { address: a\n value: 1\n listener: l }",
         "f:1: listenerAddress: listener: there is no tcpListener named 'l' in this file"},
        {"address {\n distribution: closest\n}",
         "f:1: router.config.address: prefix or pattern is needed"},
        {"[[\"router\", {}, 1]]",
         "f:1: an entity is written as [\"type\", {\"attribute\": value, …}]"},
        {"[\n[\"router\", []]]",
         "f:2: an entity is written as [\"type\", {\"attribute\": value, …}]"},
        {"[\n[1, {}]]", "f:2: an entity is written as [\"type\", {\"attribute\": value, …}]"},
        {"[[\"router\", {}],\n7]",
         "f:2: an entity is written as [\"type\", {\"attribute\": value, …}]"},
        {"listener {\n openProperties: {\n a: 1\n a: 2 }\n}",
         "f:4:2: a name stands twice in this map"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        check_refusal(rows[i].text, ERR_INVALID, rows[i].words);
}

TEST(modules_of_the_log_may_be_set_more_than_once)
{
    struct mgmt_config *c = parse("log {\n module: ROUTER\n enable: info+ }\n"
                                  "log {\n module: ROUTER\n enable: none }\n");

    CHECK_EQ(c->count, 2);
    mgmt_config_free(c);
}

static char *nested(int depth, const char *open, const char *shut)
{
    size_t open_len = strlen(open), shut_len = strlen(shut);
    char *text = xcalloc((size_t)depth * (open_len + shut_len) + 2, 1), *at = text;

    for (int i = 0; i < depth; i++, at += open_len)
        memcpy(at, open, open_len);
    *at++ = '1';
    for (int i = 0; i < depth; i++, at += shut_len)
        memcpy(at, shut, shut_len);
    return text;
}

struct bracket {
    const char *before, *open, *shut, *after;
};

static char *nested_text(const struct bracket *b, int depth)
{
    char *inside = nested(depth, b->open, b->shut);
    char *text = str_fmt("%s%s%s", b->before, inside, b->after);

    free(inside);
    return text;
}

TEST(depth_has_a_limit_that_is_told)
{
    static const struct {
        struct bracket brackets;
        const char *words;
    } rows[] = {
        {{"[[\"listener\", {\"openProperties\": {\"a\":\n", "[", "]", "}}]]"},
         "f:1: listener: openProperties: maps and lists stand in each other more than 16 deep"},
        {{"listener {\n openProperties: { a: ", "{ a: ", "}", "\n}\n}"},
         "f:2:98: maps stand in each other too deep"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char *good = nested_text(&rows[i].brackets, 15), *bad = nested_text(&rows[i].brackets, 18);

        mgmt_config_free(parse(good));
        check_refusal(bad, ERR_INVALID, rows[i].words);
        free(good);
        free(bad);
    }
}

TEST(numbers_of_items_have_a_limit_that_is_told)
{
    struct amqp_writer w;

    amqp_writer_init(&w);
    amqp_put_raw(&w, STR("router {\n"));
    for (int i = 0; i <= 1000; i++) {
        char *line = str_fmt("a%d: 1\n", i);

        amqp_put_raw(&w, str_of(line));
        free(line);
    }
    amqp_put_raw(&w, (struct str){"}", 2});
    check_refusal(amqp_written(&w).ptr, ERR_INVALID,
                  "f:1002: router has more than 1000 attributes");
    amqp_writer_fini(&w);
}

TEST(a_file_that_cannot_be_read_is_named)
{
    struct mgmt_config *c = NULL;
    struct why why = {""};

    CHECK_EQ(mgmt_config_load("/nowhere/router.json", NULL, &c, &why), ERR_IO);
    CHECK_STR(str_of(why.text), "/nowhere/router.json: No such file or directory");
    CHECK_EQ(mgmt_config_load("/", NULL, &c, &why), ERR_IO);
    CHECK_STR(str_of(why.text), "/: Is a directory");
    CHECK(c == NULL);
}

TEST(a_file_is_read_as_its_text)
{
    char path[] = "/tmp/config_test.XXXXXX";
    struct mgmt_config *c = NULL;
    struct why why = {""};
    int fd = mkstemp(path);
    FILE *f = fd < 0 ? NULL : fdopen(fd, "w");

    CHECK(f != NULL);
    for (int i = 0; i < 5000; i++)
        fprintf(f, "address { prefix: a%d }\n", i);
    CHECK_EQ(fclose(f), 0);
    CHECK_EQ(mgmt_config_load(path, NULL, &c, &why), 0);
    CHECK_EQ(c->count, 5000);
    CHECK_STR(mgmt_entity_str(c->entities[4999], "prefix"), "a4999");
    CHECK_EQ(c->entities[4999]->line, 5000);
    mgmt_config_free(c);
    remove(path);
}

TEST(cut_anywhere_a_text_is_refused_or_read_never_more)
{
    for (size_t len = 0; len < sizeof(as_native); len++) {
        struct mgmt_config *c = NULL;
        struct why why = {""};
        int err = mgmt_config_parse("f", (struct str){as_native, len}, environment, &c, &why);

        CHECK((err == 0) == (c != NULL));
        CHECK(err == 0 || strncmp(why.text, "f:", 2) == 0);
        mgmt_config_free(c);
    }
}

TEST_MAIN(CASE(both_syntaxes_say_the_same), CASE(a_file_of_an_existing_site_is_read),
          CASE(an_entity_knows_its_line), CASE(the_environment_fills_values),
          CASE(the_environment_fills_native_values_maps_and_numbers),
          CASE(without_an_environment_nothing_is_replaced),
          CASE(an_empty_file_is_an_empty_configuration),
          CASE(text_that_cannot_be_read_tells_line_and_column),
          CASE(an_entity_that_is_wrong_tells_line_entity_attribute_and_what_would_be_right),
          CASE(modules_of_the_log_may_be_set_more_than_once), CASE(depth_has_a_limit_that_is_told),
          CASE(numbers_of_items_have_a_limit_that_is_told),
          CASE(a_file_that_cannot_be_read_is_named), CASE(a_file_is_read_as_its_text),
          CASE(cut_anywhere_a_text_is_refused_or_read_never_more))
