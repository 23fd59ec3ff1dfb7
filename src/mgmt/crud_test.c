// SPDX-License-Identifier: Apache-2.0
#include "mgmt/ask.h"

static const char config[] = "router { id: R }\n"
                             "listener { name: a\n port: 1 }\n"
                             "listener { name: b\n port: 2\n role: edge }\n"
                             "listener { host: h\n port: 3 }\n"
                             "sslProfile { name: p\n certFile: /c\n password: hush }\n";

#define A_LISTENER                                                                                 \
    "{\"name\": \"a\", \"identity\": \"listener/:1:a\", \"host\": \"\", \"port\": \"1\", "         \
    "\"role\": \"normal\", \"cost\": 1, \"authenticatePeer\": false, "                             \
    "\"requireEncryption\": false, \"requireSsl\": false, \"maxFrameSize\": 16384, "               \
    "\"maxSessions\": 32768, \"idleTimeoutSeconds\": 16, "                                         \
    "\"initialHandshakeTimeoutSeconds\": 0, \"stripAnnotations\": \"both\", \"healthz\": true, "   \
    "\"metrics\": true, \"websockets\": true, \"http\": false}"

TEST(read_finds_by_name_by_identity_and_by_both)
{
    static const struct ask_row rows[] = {
        {"{\"operation\": \"READ\", \"type\": \"io.skupper.router.listener\", \"name\": \"a\"}",
         NULL, 200, "OK", A_LISTENER},
        {"{\"operation\": \"read\", \"type\": \"listener\", \"identity\": \"listener/:1:a\"}", NULL,
         200, "OK", A_LISTENER},
        {"{\"operation\": \"Read\", \"identity\": \"listener/:1:a\", \"name\": \"a\"}", NULL, 200,
         "OK", A_LISTENER},
        {"{\"operation\": \"READ\", \"type\": \"listener\", \"name\": \"listener/h:3\"}", NULL, 200,
         "OK", NULL},
        {"{\"operation\": \"READ\", \"type\": \"router\"}", NULL, 200, "OK", NULL},
        {"{\"operation\": \"READ\", \"type\": \"router\", \"identity\": \"router/R\"}", NULL, 200,
         "OK", NULL},
    };

    CHECK_ROWS(rows);
}

TEST(what_read_cannot_find_is_said)
{
    static const struct ask_row rows[] = {
        {"{\"operation\": \"READ\", \"type\": \"listener\", \"name\": \"c\"}", NULL, 404,
         "there is no listener 'c'; QUERY lists those there are", "{}"},
        {"{\"operation\": \"READ\", \"type\": \"listener\", \"identity\": \"listener/:2:a\"}", NULL,
         404, "there is no listener 'listener/:2:a'; QUERY lists those there are", "{}"},
        {"{\"operation\": \"READ\", \"type\": \"listener\", \"identity\": \"listener/:1:a\", "
         "\"name\": \"b\"}",
         NULL, 400, "the entity with this identity has another name", "{}"},
        {"{\"operation\": \"READ\", \"type\": \"listener\", \"identity\": \"sslProfile/p\"}", NULL,
         400, "this is the identity of an entity of type sslProfile, not listener", "{}"},
        {"{\"operation\": \"READ\", \"type\": \"listener\"}", NULL, 400,
         "application property 'name' or 'identity' is needed", "{}"},
        {"{\"operation\": \"READ\"}", NULL, 400,
         "application property 'type' is needed; GET-TYPES lists the types", "{}"},
        {"{\"operation\": \"READ\", \"type\": \"io.skupper.router.lis\"}", NULL, 400,
         "there is no entity type 'io.skupper.router.lis'; GET-TYPES lists them", "{}"},
        {"{\"operation\": \"READ\", \"type\": \"connector\", \"name\": \"c\"}", NULL, 404,
         "there is no connector 'c'; QUERY lists those there are", "{}"},
    };

    CHECK_ROWS(rows);
}

TEST(what_is_secret_is_never_told)
{
    static const struct ask_row rows[] = {
        {"{\"operation\": \"READ\", \"type\": \"sslProfile\", \"name\": \"p\"}", NULL, 200, "OK",
         "{\"name\": \"p\", \"identity\": \"sslProfile/p\", \"certFile\": \"/c\", \"ordinal\": 0, "
         "\"oldestValidOrdinal\": 0}"},
        {"{\"operation\": \"QUERY\", \"type\": \"org.amqp.management\", \"entityType\": "
         "\"sslProfile\"}",
         "{\"attributeNames\": [\"password\", \"name\"]}", 200, "OK",
         "{\"attributeNames\": [\"password\", \"name\"], \"results\": [[null, \"p\"]]}"},
        {"{\"operation\": \"CREATE\", \"type\": \"sslProfile\", \"name\": \"q\"}",
         "{\"password\": \"hush\"}", 201, "Created",
         "{\"name\": \"q\", \"identity\": \"sslProfile/q\", \"type\": "
         "\"io.skupper.router.sslProfile\", \"ordinal\": 0, \"oldestValidOrdinal\": 0}"},
        {"{\"operation\": \"UPDATE\", \"type\": \"sslProfile\", \"name\": \"q\"}",
         "{\"password\": \"hush hush\"}", 200, "OK",
         "{\"name\": \"q\", \"identity\": \"sslProfile/q\", \"ordinal\": 0, "
         "\"oldestValidOrdinal\": 0}"},
    };

    CHECK_ROWS(rows);
}

TEST(create_answers_with_what_was_made)
{
    static const struct ask_row rows[] = {
        {"{\"operation\": \"CREATE\", \"type\": \"io.skupper.router.tcpListener\", \"name\": "
         "\"t\"}",
         "{\"port\": 80, \"address\": \"web\", \"identity\": \"read before\", \"type\": \"any\"}",
         201, "Created",
         "{\"name\": \"t\", \"identity\": \"tcpListener/:80:t\", \"type\": "
         "\"io.skupper.router.tcpListener\", \"address\": \"web\", \"host\": \"\", \"port\": "
         "\"80\", \"backlog\": 0, \"multiAddressStrategy\": \"none\", \"authenticatePeer\": "
         "false, \"observer\": \"auto\", "
         "\"idleTimeoutSeconds\": 86400, \"halfClosedTimeoutSeconds\": 300, "
         "\"keepAliveSeconds\": 60, \"encapsulation\": \"lite\"}"},
        {"{\"operation\": \"CREATE\", \"type\": \"tcpListener\"}",
         "{\"port\": \"81\", \"address\": \"web\", \"name\": null, \"authenticatePeer\": \"True\", "
         "\"backlog\": \"5\"}",
         201, "Created",
         "{\"name\": \"tcpListener/:81\", \"identity\": \"tcpListener/:81\", \"type\": "
         "\"io.skupper.router.tcpListener\", \"address\": \"web\", \"host\": \"\", \"port\": "
         "\"81\", \"backlog\": 5, \"multiAddressStrategy\": \"none\", \"authenticatePeer\": "
         "true, \"observer\": \"auto\", "
         "\"idleTimeoutSeconds\": 86400, \"halfClosedTimeoutSeconds\": 300, "
         "\"keepAliveSeconds\": 60, \"encapsulation\": \"lite\"}"},
        {"{\"operation\": \"READ\", \"type\": \"tcpListener\", \"name\": \"tcpListener/:81\"}",
         NULL, 200, "OK", NULL},
    };

    CHECK_ROWS(rows);
}

TEST(create_refuses_with_words_and_makes_nothing)
{
    static const struct ask_row rows[] = {
        {"{\"operation\": \"CREATE\", \"type\": \"listener\", \"name\": \"n\"}",
         "{\"hots\": \"x\"}", 400, "unknown attribute 'hots'; did you mean 'host'?", "{}"},
        {"{\"operation\": \"CREATE\", \"type\": \"listener\", \"name\": \"n\"}",
         "{\"role\": \"interior\"}", 400,
         "role: 'interior' is not one of normal, inter-router, route-container, edge, inter-edge, "
         "inter-network",
         "{}"},
        {"{\"operation\": \"CREATE\", \"type\": \"tcpListener\", \"name\": \"n\"}",
         "{\"address\": \"a\"}", 400, "port is needed", "{}"},
        {"{\"operation\": \"CREATE\", \"type\": \"tcpListener\", \"name\": \"n\"}",
         "{\"address\": \"a\", \"port\": \"1\", \"operStatus\": \"up\"}", 400,
         "operStatus: cannot be set, only read", "{}"},
        {"{\"operation\": \"CREATE\", \"type\": \"listener\", \"name\": \"n\"}",
         "{\"name\": \"m\"}", 400, "the body has another name than the application properties",
         "{}"},
        {"{\"operation\": \"CREATE\", \"type\": \"listener\", \"name\": \"n\"}", "[\"port\"]", 400,
         "the body must be a map of attributes in an amqp-value section", "{}"},
        {"{\"operation\": \"CREATE\", \"type\": \"router\", \"name\": \"n\"}", "{}", 501,
         "CREATE does not exist for router; GET-OPERATIONS lists what does", "{}"},
        {"{\"operation\": \"CREATE\", \"type\": \"connection\", \"name\": \"n\"}", "{}", 501,
         "CREATE does not exist for connection; GET-OPERATIONS lists what does", "{}"},
        {"{\"operation\": \"CREATE\", \"type\": \"vhost\", \"name\": \"n\"}", "{}", 501,
         "this router does not serve entities of type vhost", "{}"},
    };
    struct store *s = store_new(config);

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        check_ask(s, &rows[i]);
    CHECK_EQ(store_shelf(s, "listener")->count, 3);
    CHECK_EQ(store_shelf(s, "tcpListener")->count, 0);
    store_free(s);
}

TEST(an_error_of_the_provider_becomes_a_status)
{
    static const struct {
        int err, status;
    } rows[] = {
        {ERR_EXISTS, 400},      {ERR_INVALID, 400}, {ERR_NOT_FOUND, 404},
        {ERR_UNSUPPORTED, 403}, {ERR_IO, 500},
    };
    static const char *const operations[] = {
        "{\"operation\": \"CREATE\", \"type\": \"listener\", \"name\": \"n\"}",
        "{\"operation\": \"UPDATE\", \"type\": \"sslProfile\", \"name\": \"p\"}",
        "{\"operation\": \"DELETE\", \"type\": \"listener\", \"name\": \"a\"}",
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        for (size_t k = 0; k < 3; k++) {
            struct store *s = store_new(config);
            struct ask_row row = {operations[k], k == 1 ? "{\"ordinal\": 3}" : "{}", rows[i].status,
                                  "the store says no", "{}"};

            store_shelf(s, "listener")->fail = store_shelf(s, "sslProfile")->fail = rows[i].err;
            check_ask(s, &row);
            CHECK_EQ(store_shelf(s, "listener")->count, 3);
            store_free(s);
        }
    }
}

TEST(update_changes_what_may_change_and_answers_with_the_whole)
{
    static const struct ask_row rows[] = {
        {"{\"operation\": \"UPDATE\", \"type\": \"sslProfile\", \"name\": \"p\"}",
         "{\"ordinal\": \"5\", \"certFile\": \"/d\"}", 200, "OK",
         "{\"name\": \"p\", \"identity\": \"sslProfile/p\", \"certFile\": \"/d\", \"ordinal\": 5, "
         "\"oldestValidOrdinal\": 0}"},
        // null stands for the default; what is as it was may come along
        {"{\"operation\": \"UPDATE\", \"type\": \"sslProfile\", \"identity\": \"sslProfile/p\"}",
         "{\"certFile\": null, \"ordinal\": null, \"name\": \"p\", \"identity\": \"sslProfile/p\"}",
         200, "OK",
         "{\"name\": \"p\", \"identity\": \"sslProfile/p\", \"ordinal\": 0, "
         "\"oldestValidOrdinal\": 0}"},
    };

    CHECK_ROWS(rows);
}

TEST(update_of_nothing_calls_nobody)
{
    struct store *s = store_new(config);
    struct ask_row row = {"{\"operation\": \"UPDATE\", \"type\": \"sslProfile\", \"name\": \"p\"}",
                          NULL, 200, "OK", NULL};

    check_ask(s, &row);
    row.body = "{\"name\": \"p\"}";
    check_ask(s, &row);
    CHECK_EQ(store_shelf(s, "sslProfile")->updates, 0);
    store_free(s);
}

TEST(update_refuses_with_words_and_changes_nothing)
{
    static const struct ask_row rows[] = {
        {"{\"operation\": \"UPDATE\", \"type\": \"listener\", \"name\": \"a\"}", "{\"cost\": 2}",
         501, "UPDATE does not exist for listener; GET-OPERATIONS lists what does", "{}"},
        {"{\"operation\": \"UPDATE\", \"type\": \"sslProfile\", \"name\": \"p\"}",
         "{\"ordinal\": 5, \"name\": \"q\"}", 400,
         "name: cannot be changed; delete the entity and create it anew", "{}"},
        {"{\"operation\": \"UPDATE\", \"type\": \"sslProfile\", \"name\": \"p\"}",
         "{\"ordinal\": 5, \"cert\": \"q\"}", 400,
         "unknown attribute 'cert'; did you mean 'certFile'?", "{}"},
        {"{\"operation\": \"UPDATE\", \"type\": \"sslProfile\", \"name\": \"p\"}",
         "{\"ordinal\": -1}", 400, "ordinal: -1 is not between 0 and 9223372036854775807", "{}"},
        {"{\"operation\": \"UPDATE\", \"type\": \"sslProfile\", \"name\": \"z\"}",
         "{\"ordinal\": 1}", 404, "there is no sslProfile 'z'; QUERY lists those there are", "{}"},
        {"{\"operation\": \"UPDATE\", \"type\": \"sslProfile\", \"name\": \"p\"}", "\"text\"", 400,
         "the body must be a map of attributes in an amqp-value section", "{}"},
        {"{\"operation\": \"UPDATE\", \"type\": \"sslProfile\"}", "{\"ordinal\": 1}", 400,
         "application property 'name' or 'identity' is needed", "{}"},
    };
    struct store *s = store_new(config);

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        check_ask(s, &rows[i]);
    CHECK_EQ(store_shelf(s, "sslProfile")->updates, 0);
    store_free(s);
}

static void each_module(void *user, mgmt_emit *emit, void *to)
{
    const struct mgmt_type *t = user;
    struct mgmt_entity *e = mgmt_entity_new(t);

    for (int i = 0; t->attrs[i].name; i++) {
        if (i < 2 || strcmp(t->attrs[i].name, "module") == 0) {
            amqp_val_free(e->values[i]);
            e->values[i] = amqp_val_string(STR("SERVER"));
        }
    }
    emit(to, (const struct amqp_val *const *)e->values);
    mgmt_entity_free(e);
}

static int update_module(void *user, struct str identity, const struct amqp_val *changes,
                         struct why *why)
{
    (void)user;
    (void)why;
    CHECK_STR(identity, "SERVER");
    CHECK_STR(amqp_val_str(amqp_val_get(changes, "enable")), "error");
    return 0;
}

TEST(update_is_checked_as_a_whole)
{
    const struct mgmt_type *log = mgmt_find_type(STR("log"));
    struct mgmt_provider p = {
        .type = log, .user = (void *)(uintptr_t)log, .each = each_module, .update = update_module};
    struct store *s = store_new(config);
    struct ask_row bad = {
        "{\"operation\": \"UPDATE\", \"type\": \"log\", \"name\": \"SERVER\"}",
        "{\"enable\": \"loud\"}", 400,
        "enable: 'loud' is no level; a comma list of debug, info, warning, error, "
        "critical, each with an optional +, or none or default is needed",
        "{}"};
    struct ask_row good = {bad.properties, "{\"enable\": \"error\"}", 200, "OK", NULL};

    mgmt_agent_add(s->agent, &p);
    check_ask(s, &bad);
    check_ask(s, &good);
    store_free(s);
}

TEST(delete_takes_away_and_says_so_without_a_body)
{
    static const struct ask_row rows[] = {
        {"{\"operation\": \"DELETE\", \"type\": \"listener\", \"name\": \"a\"}", NULL, 204,
         "No Content", "{}"},
        {"{\"operation\": \"DELETE\", \"type\": \"listener\", \"name\": \"a\"}", NULL, 404,
         "there is no listener 'a'; QUERY lists those there are", "{}"},
        {"{\"operation\": \"delete\", \"identity\": \"listener/h:3\"}", "{}", 204, "No Content",
         "{}"},
        {"{\"operation\": \"DELETE\", \"type\": \"router\", \"name\": \"R\"}", NULL, 501,
         "DELETE does not exist for router; GET-OPERATIONS lists what does", "{}"},
        {"{\"operation\": \"DELETE\", \"type\": \"listener\"}", NULL, 400,
         "application property 'name' or 'identity' is needed", "{}"},
    };
    struct store *s = store_new(config);

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        check_ask(s, &rows[i]);
    CHECK_EQ(store_shelf(s, "listener")->count, 1);
    store_free(s);
}

TEST_MAIN(CASE(read_finds_by_name_by_identity_and_by_both), CASE(what_read_cannot_find_is_said),
          CASE(what_is_secret_is_never_told), CASE(create_answers_with_what_was_made),
          CASE(create_refuses_with_words_and_makes_nothing),
          CASE(an_error_of_the_provider_becomes_a_status),
          CASE(update_changes_what_may_change_and_answers_with_the_whole),
          CASE(update_of_nothing_calls_nobody), CASE(update_refuses_with_words_and_changes_nothing),
          CASE(update_is_checked_as_a_whole), CASE(delete_takes_away_and_says_so_without_a_body))
