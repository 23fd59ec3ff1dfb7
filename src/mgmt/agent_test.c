// SPDX-License-Identifier: Apache-2.0
#include "mgmt/ask.h"

static const char config[] = "router { id: R }\n"
                             "listener { name: a\n port: 1 }\n"
                             "listener { name: b\n port: 2\n sslProfile: p }\n"
                             "listener { name: c\n port: 3 }\n"
                             "sslProfile { name: p }\n";

#define QUERY_OF(type)                                                                             \
    "{\"operation\": \"QUERY\", \"type\": \"org.amqp.management\", \"entityType\": \"" type "\"}"
#define PART_OF(type, part)                                                                        \
    "{\"operation\": \"QUERY\", \"type\": \"org.amqp.management\", \"entityType\": \"" type        \
    "\", " part "}"
#define GET(what) "{\"operation\": \"" what "\", \"type\": \"org.amqp.management\"}"
#define GET_OF(what, type)                                                                         \
    "{\"operation\": \"" what "\", \"type\": \"org.amqp.management\", \"entityType\": \"" type "\"}"
#define NAMES "{\"attributeNames\": [\"name\"]}"

// ------------------------------------------------------------------------------------------- QUERY

TEST(query_gives_the_columns_asked_for_and_cuts_nulls_at_the_end)
{
    static const struct ask_row rows[] = {
        {QUERY_OF("io.skupper.router.listener"),
         "{\"attributeNames\": [\"port\", \"name\", \"sslProfile\", \"noSuch\"]}", 200, "OK",
         "{\"attributeNames\": [\"port\", \"name\", \"sslProfile\", \"noSuch\"], \"results\": "
         "[[\"1\", \"a\"], [\"2\", \"b\", \"p\"], [\"3\", \"c\"]]}"},
        {QUERY_OF("listener"), "{\"attributeNames\": [\"sslProfile\", \"cost\"]}", 200, "OK",
         "{\"attributeNames\": [\"sslProfile\", \"cost\"], \"results\": [[null, 1], [\"p\", 1], "
         "[null, 1]]}"},
        {QUERY_OF("connector"), NAMES, 200, "OK",
         "{\"attributeNames\": [\"name\"], \"results\": []}"},
        {QUERY_OF("sslProfile"), NULL, 200, "OK",
         "{\"attributeNames\": [\"name\", \"identity\", \"type\", \"ciphers\", \"protocols\", "
         "\"caCertFile\", \"certFile\", \"privateKeyFile\", \"password\", \"ordinal\", "
         "\"oldestValidOrdinal\", \"uidFormat\", \"uidNameMappingFile\"], \"results\": [[\"p\", "
         "\"sslProfile/p\", null, null, null, null, null, null, null, 0, 0]]}"},
        {QUERY_OF("sslProfile"), "{\"attributeNames\": []}", 200, "OK", NULL},
        {QUERY_OF("sslProfile"), "{\"attributeNames\": null}", 200, "OK", NULL},
    };

    CHECK_ROWS(rows);
}

TEST(query_without_a_type_tells_all_types)
{
    static const struct ask_row rows[] = {
        {"{\"operation\": \"QUERY\", \"type\": \"org.amqp.management\"}", NAMES, 200, "OK",
         "{\"attributeNames\": [\"name\"], \"results\": [[\"router/R\"], [\"p\"], [\"a\"], "
         "[\"b\"], [\"c\"]]}"},
        {"{\"operation\": \"QUERY\", \"count\": 2, \"offset\": 1}", NAMES, 200, "OK",
         "{\"attributeNames\": [\"name\"], \"results\": [[\"p\"], [\"a\"]]}"},
    };

    CHECK_ROWS(rows);
}

TEST(offset_and_count_cut_a_part_out)
{
    static const struct ask_row rows[] = {
        {PART_OF("listener", "\"offset\": 1"), NAMES, 200, "OK",
         "{\"attributeNames\": [\"name\"], \"results\": [[\"b\"], [\"c\"]]}"},
        {PART_OF("listener", "\"count\": 1"), NAMES, 200, "OK",
         "{\"attributeNames\": [\"name\"], \"results\": [[\"a\"]]}"},
        {PART_OF("listener", "\"offset\": \"1\", \"count\": \"1\""), NAMES, 200, "OK",
         "{\"attributeNames\": [\"name\"], \"results\": [[\"b\"]]}"},
        {PART_OF("listener", "\"offset\": 3"), NAMES, 200, "OK",
         "{\"attributeNames\": [\"name\"], \"results\": []}"},
        {PART_OF("listener", "\"count\": 0"), NAMES, 200, "OK",
         "{\"attributeNames\": [\"name\"], \"results\": []}"},
        {PART_OF("listener", "\"count\": null, \"offset\": null"), NAMES, 200, "OK",
         "{\"attributeNames\": [\"name\"], \"results\": [[\"a\"], [\"b\"], [\"c\"]]}"},
        {PART_OF("listener", "\"count\": -1"), NAMES, 400,
         "application property 'count' must be a whole number, 0 or more", "{}"},
        {PART_OF("listener", "\"offset\": \"x\""), NAMES, 400,
         "application property 'offset' must be a whole number, 0 or more", "{}"},
    };
    struct store *s = store_new(config);

    CHECK_ROWS(rows);
    check_ask(s, &rows[1]);
    CHECK_EQ(store_shelf(s, "listener")->told, 1); // nobody is asked for more than is wanted
    store_free(s);
}

TEST(a_query_that_makes_no_sense_is_refused)
{
    static const struct ask_row rows[] = {
        {QUERY_OF("lisener"), NAMES, 400, "entityType names no type; GET-TYPES lists them", "{}"},
        {QUERY_OF("listener"), "{\"attributeNames\": \"name\"}", 400,
         "attributeNames must be a list of strings", "{}"},
        {QUERY_OF("listener"), "{\"attributeNames\": [1]}", 400,
         "attributeNames must be a list of strings", "{}"},
    };

    CHECK_ROWS(rows);
}

// --------------------------------------------------------------------------------------- GET-…

TEST(get_operations_tell_the_table)
{
    static const struct ask_row rows[] = {
        {GET_OF("GET-TYPES", "listener"), NULL, 200, "OK",
         "{\"io.skupper.router.listener\": [\"io.skupper.router.configurationEntity\", "
         "\"io.skupper.router.entity\"]}"},
        {GET_OF("get-operations", "io.skupper.router.log"), "{}", 200, "OK",
         "{\"io.skupper.router.log\": [\"READ\", \"UPDATE\"]}"},
        {GET_OF("GET-ATTRIBUTES", "network"), NULL, 200, "OK",
         "{\"io.skupper.router.network\": [\"name\", \"identity\", \"type\", \"networkId\", "
         "\"tenantId\"]}"},
        {GET_OF("GET-ANNOTATIONS", "network"), NULL, 200, "OK",
         "{\"io.skupper.router.network\": []}"},
        {GET_OF("GET-TYPES", "nothing"), NULL, 400,
         "entityType names no type; without it all are listed", "{}"},
        {GET("GET-MGMT-NODES"), NULL, 200, "OK", "[]"},
        {GET("GET-LOG"), NULL, 200, "OK", "[]"},
        {"{\"operation\": \"GET-LOG\", \"limit\": \"many\"}", NULL, 400,
         "application property 'limit' must be a whole number, 0 or more", "{}"},
        {GET("GET-TYPES"), NULL, 200, "OK", NULL},
    };

    CHECK_ROWS(rows);
}

static struct amqp_val *one_node(void *user)
{
    struct amqp_val *list = amqp_val_list();

    amqp_val_append(list, amqp_val_string(str_of(user)));
    return list;
}

static struct amqp_val *log_lines(void *user, uint32_t limit)
{
    struct amqp_val *list = one_node(user);

    amqp_val_append(list, amqp_val_uint(limit));
    return list;
}

TEST(nodes_and_log_come_from_their_sources)
{
    static char what[] = "x\xc3"; // cut in a character
    static const struct ask_row rows[] = {
        {GET("GET-MGMT-NODES"), NULL, 200, "OK", "[\"x?\"]"},
        {GET("GET-LOG"), NULL, 200, "OK", "[\"x?\", 100]"},
        {"{\"operation\": \"GET-LOG\", \"limit\": 3}", NULL, 200, "OK", "[\"x?\", 3]"},
        {"{\"operation\": \"GET-LOG\", \"limit\": 99999999}", NULL, 200, "OK", "[\"x?\", 10000]"},
    };
    struct store *s = store_new(config);

    mgmt_agent_set_nodes(s->agent, one_node, what);
    mgmt_agent_set_log(s->agent, log_lines, what);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        check_ask(s, &rows[i]);
    store_free(s);
}

TEST(the_schema_is_told_as_a_map_and_as_json_that_agree)
{
    struct store *s = store_new(config);
    struct answer map = ask(s, GET("GET-SCHEMA"), NULL),
                  text = ask(s, GET("GET-JSON-SCHEMA"), NULL);

    CHECK_EQ(map.status, 200);
    CHECK_EQ(text.status, 200);
    CHECK(strstr(map.body, "\"mode\": {\"type\": [\"standalone\", \"interior\", \"edge\"], "
                           "\"default\": \"standalone\", \"create\": true, \"update\": false, "
                           "\"required\": false}") != NULL);
    CHECK(strstr(map.body, "\"observer\": {\"type\": [\"auto\", \"none\", \"http1\", \"http2\"], "
                           "\"default\": \"auto\", \"create\": true, \"update\": true") != NULL);
    CHECK(strstr(text.body, "\\\"mode\\\":{\\\"type\\\":[\\\"standalone\\\",") != NULL);
    CHECK(strstr(text.body, "\\\"default\\\":16384") != NULL);
    answer_fini(&map);
    answer_fini(&text);
    store_free(s);
}

// ---------------------------------------------------------------------------------------- protocol

TEST(what_is_no_operation_is_told)
{
    static const struct ask_row rows[] = {
        {"{}", NULL, 400, "application property 'operation' is needed, a string such as QUERY",
         "{}"},
        {"{\"operation\": 5}", NULL, 400,
         "application property 'operation' is needed, a string such as QUERY", "{}"},
        {"{\"operation\": \"EXPLODE\", \"type\": \"router\"}", NULL, 501,
         "there is no operation 'EXPLODE'; GET-OPERATIONS lists those of a type", "{}"},
        {"[]", NULL, 400, "the request is no well-formed message", "{}"},
    };

    CHECK_ROWS(rows);
}

static struct answer handle(struct str request)
{
    struct store *s = store_new(config);
    struct amqp_writer response;
    char *reply_to = NULL;
    struct answer a;

    amqp_writer_init(&response);
    CHECK(mgmt_agent_handle(s->agent, request, &reply_to, &response));
    a = read_answer(amqp_written(&response));
    free(reply_to);
    amqp_writer_fini(&response);
    store_free(s);
    return a;
}

TEST(a_request_that_is_too_large_or_malformed_is_refused)
{
    struct amqp_writer w = request_of(QUERY_OF("listener"), NAMES);
    size_t len = w.len;
    struct answer a;

    for (size_t cut = len - 1; cut > len - 20; cut--) {
        a = handle((struct str){amqp_written(&w).ptr, cut});
        CHECK_EQ(a.status, 400);
        CHECK_STR(str_of(a.words), "the request is no well-formed message");
        answer_fini(&a);
    }
    while (w.len <= 1024 * 1024)
        amqp_put_null(&w);
    a = handle(amqp_written(&w));
    CHECK_EQ(a.status, 400);
    CHECK_STR(str_of(a.words), "the request is larger than 1048576 octets");
    answer_fini(&a);
    amqp_writer_fini(&w);
}

TEST(a_body_of_too_many_values_is_refused)
{
    struct amqp_writer w = request_of(QUERY_OF("listener"), NULL);
    struct amqp_mark list;
    struct answer a;

    amqp_put_descriptor(&w, AMQP_SECTION_VALUE);
    list = amqp_begin_list(&w, true);
    for (int i = 0; i < 100001; i++)
        amqp_put_null(&w);
    amqp_end(&w, list, 100001);
    a = handle(amqp_written(&w));
    CHECK_EQ(a.status, 400);
    CHECK(strstr(a.words, "the request has more than 100000 values, or nests deeper than") != NULL);
    answer_fini(&a);
    amqp_writer_fini(&w);
}

TEST(without_reply_to_there_is_no_answer)
{
    struct store *s = store_new(config);
    struct amqp_writer w, response;
    struct amqp_mark map;
    char *reply_to = NULL;

    amqp_writer_init(&w);
    amqp_writer_init(&response);
    amqp_put_descriptor(&w, AMQP_SECTION_APPLICATION_PROPERTIES);
    map = amqp_begin_map(&w, false);
    amqp_put_string(&w, STR("operation"));
    amqp_put_string(&w, STR("DELETE"));
    amqp_put_string(&w, STR("identity"));
    amqp_put_string(&w, STR("listener/:1:a"));
    amqp_end(&w, map, 4);
    CHECK(!mgmt_agent_handle(s->agent, amqp_written(&w), &reply_to, &response));
    CHECK(!mgmt_agent_handle(s->agent, STR(""), &reply_to, &response));
    CHECK(reply_to == NULL);
    CHECK_EQ(response.len, 0);
    CHECK_EQ(store_shelf(s, "listener")->count, 3);
    amqp_writer_fini(&w);
    amqp_writer_fini(&response);
    store_free(s);
}

// The frames of an exchange between existing tools, without frame head and transfer.
static const char captured_request[] =
    "00 53 73 c0 32 06 40 40 40 40 a1 28"
    "61 6d 71 70 3a 2f 5f 74 6f 70 6f 2f 30 2f 52 54 52 2d 41 2f 74 65 6d 70 2e 7a 43 6a 57 2b 77 "
    "67"
    "46 79 54 69 35 73 6e 6c a1 01 31 00 53 74 c1 59 06 a1 09 6f 70 65 72 61 74 69 6f 6e a1 05 51 "
    "55"
    "45 52 59 a1 04 74 79 70 65 a1 13 6f 72 67 2e 61 6d 71 70 2e 6d 61 6e 61 67 65 6d 65 6e 74 a1 "
    "0a"
    "65 6e 74 69 74 79 54 79 70 65 a1 1d 69 6f 2e 73 6b 75 70 70 65 72 2e 72 6f 75 74 65 72 2e 74 "
    "63"
    "70 4c 69 73 74 65 6e 65 72 00 53 77 c1 2f 02 a1 0e 61 74 74 72 69 62 75 74 65 4e 61 6d 65 73 "
    "c0"
    "1c 03 a1 04 6e 61 6d 65 a1 07 61 64 64 72 65 73 73 a1 0a 6f 70 65 72 53 74 61 74 75 73";
static const char captured_response[] = "00 53 70"
                                        "d0 00 00 00 05 00 00 00 01 42 00 53 73 d0 00 00 00 35 00 "
                                        "00 00 06 40 40 a1 28 61 6d 71 70 3a 2f"
                                        "5f 74 6f 70 6f 2f 30 2f 52 54 52 2d 41 2f 74 65 6d 70 2e "
                                        "7a 43 6a 57 2b 77 67 46 79 54 69 35 73"
                                        "6e 6c 40 40 a1 01 31 00 53 74 d1 00 00 00 2c 00 00 00 04 "
                                        "a1 0a 73 74 61 74 75 73 43 6f 64 65 71"
                                        "00 00 00 c8 a1 11 73 74 61 74 75 73 44 65 73 63 72 69 70 "
                                        "74 69 6f 6e a1 02 4f 4b 00 53 77 d1 00"
                                        "00 00 87 00 00 00 04 a1 0e 61 74 74 72 69 62 75 74 65 4e "
                                        "61 6d 65 73 d0 00 00 00 1f 00 00 00 03"
                                        "a1 04 6e 61 6d 65 a1 07 61 64 64 72 65 73 73 a1 0a 6f 70 "
                                        "65 72 53 74 61 74 75 73 a1 07 72 65 73"
                                        "75 6c 74 73 d0 00 00 00 41 00 00 00 02 d0 00 00 00 1b 00 "
                                        "00 00 03 a1 06 65 63 68 6f 2d 6c a1 09"
                                        "65 63 68 6f 3a 39 30 39 30 a1 02 75 70 d0 00 00 00 18 00 "
                                        "00 00 03 a1 06 64 65 61 64 2d 6c a1 06"
                                        "64 65 61 64 3a 31 a1 02 75 70";

// Pairs of digits; spaces are for the eye.
static struct amqp_writer unhex(const char *digits)
{
    struct amqp_writer w;
    unsigned octet;
    int used;

    amqp_writer_init(&w);
    for (; sscanf(digits, " %2x%n", &octet, &used) == 1; digits += used)
        amqp_put_u8(&w, (uint8_t)octet);
    return w;
}

static void captured_listeners(void *user, mgmt_emit *emit, void *to)
{
    static const char *const rows[][2] = {{"echo-l", "echo:9090"}, {"dead-l", "dead:1"}};
    const struct mgmt_provider *p = user;
    struct amqp_val *up = amqp_val_string(STR("up"));

    for (int i = 0; i < 2; i++) {
        const struct amqp_val *values[MGMT_ATTRS_MAX] = {NULL};
        struct amqp_val *name = amqp_val_string(str_of(rows[i][0]));
        struct amqp_val *address = amqp_val_string(str_of(rows[i][1]));

        for (int k = 0; p->type->attrs[k].name; k++) {
            if (strcmp(p->type->attrs[k].name, "address") == 0)
                values[k] = address;
            if (strcmp(p->type->attrs[k].name, "operStatus") == 0)
                values[k] = up;
        }
        values[0] = name;
        CHECK(emit(to, values));
        amqp_val_free(name);
        amqp_val_free(address);
    }
    amqp_val_free(up);
}

TEST(a_captured_query_gets_the_captured_answer_byte_for_byte)
{
    struct mgmt_provider p = {.type = mgmt_find_type(STR("tcpListener")),
                              .each = captured_listeners};
    struct mgmt_agent *agent = mgmt_agent_new();
    struct amqp_writer request = unhex(captured_request), want = unhex(captured_response);
    struct amqp_writer response;
    char *reply_to = NULL;

    p.user = &p;
    mgmt_agent_add(agent, &p);
    amqp_writer_init(&response);
    CHECK(mgmt_agent_handle(agent, amqp_written(&request), &reply_to, &response));
    CHECK_STR(str_of(reply_to), "amqp:/_topo/0/RTR-A/temp.zCjW+wgFyTi5snl");
    CHECK_EQ(response.len, want.len);
    for (size_t i = 0; i < want.len; i++)
        CHECK_EQ_FOR("octet", response.buf[i], want.buf[i]);
    free(reply_to);
    amqp_writer_fini(&response);
    mgmt_agent_free(agent);
    amqp_writer_fini(&request);
    amqp_writer_fini(&want);
}

TEST(a_captured_query_cut_anywhere_is_survived)
{
    struct store *s = store_new(config);
    struct amqp_writer whole = unhex(captured_request);

    for (size_t len = 1; len < whole.len; len++) {
        char *cut = memcpy(xcalloc(len, 1), whole.buf, len); // so that a read past it is seen
        struct amqp_writer response;
        struct amqp_msg msg;
        char *reply_to = NULL;

        amqp_writer_init(&response);
        if (mgmt_agent_handle(s->agent, (struct str){cut, len}, &reply_to, &response))
            CHECK_EQ(amqp_msg_scan(amqp_written(&response), true, AMQP_SCAN_BODY, &msg), 0);
        free(reply_to);
        amqp_writer_fini(&response);
        free(cut);
    }
    amqp_writer_fini(&whole);
    store_free(s);
}

TEST_MAIN(CASE(query_gives_the_columns_asked_for_and_cuts_nulls_at_the_end),
          CASE(query_without_a_type_tells_all_types), CASE(offset_and_count_cut_a_part_out),
          CASE(a_query_that_makes_no_sense_is_refused), CASE(get_operations_tell_the_table),
          CASE(nodes_and_log_come_from_their_sources),
          CASE(the_schema_is_told_as_a_map_and_as_json_that_agree),
          CASE(what_is_no_operation_is_told),
          CASE(a_request_that_is_too_large_or_malformed_is_refused),
          CASE(a_body_of_too_many_values_is_refused), CASE(without_reply_to_there_is_no_answer),
          CASE(a_captured_query_gets_the_captured_answer_byte_for_byte),
          CASE(a_captured_query_cut_anywhere_is_survived))
