// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>

#include "base/err.h"
#include "check.h"
#include "client/client.h"

static void check_json(struct amqp_val *take, const char *want)
{
    json_t *j = client_json(take);
    char *text = json_dumps(j, JSON_COMPACT | JSON_ENCODE_ANY);

    CHECK_STR(str_of(text), want);
    free(text);
    json_decref(j);
    amqp_val_free(take);
}

static struct amqp_val *of_type(enum amqp_type type, uint64_t u)
{
    struct amqp_val *v = amqp_val_ulong(u);

    v->type = type;
    return v;
}

static struct amqp_val *bytes_as(enum amqp_type type, struct str s)
{
    struct amqp_val *v = amqp_val_string(s);

    v->type = type;
    return v;
}

TEST(amqp_becomes_json)
{
    struct amqp_val *map = amqp_val_map(), *list = amqp_val_list();

    check_json(NULL, "null");
    check_json(amqp_val_null(), "null");
    check_json(amqp_val_bool(true), "true");
    check_json(of_type(AMQP_UBYTE, 7), "7");
    check_json(amqp_val_ulong(INT64_MAX), "9223372036854775807");
    check_json(amqp_val_ulong(UINT64_MAX), "1.8446744073709552e19");
    check_json(amqp_val_long(INT64_MIN), "-9223372036854775808");
    check_json(of_type(AMQP_TIMESTAMP, 1500), "1500");
    check_json(amqp_val_double(0.5), "0.5");
    check_json(amqp_val_double(1.0 / 0.0), "null");
    check_json(of_type(AMQP_CHAR, 0x20ac), "\"\xe2\x82\xac\"");
    check_json(of_type(AMQP_CHAR, 'x'), "\"x\"");
    check_json(amqp_val_string(STR("")), "\"\"");
    check_json(amqp_val_symbol(STR("s")), "\"s\"");
    check_json(amqp_val_string(STR("a\xff")), "\"a?\"");
    check_json(bytes_as(AMQP_BINARY, STR("text")), "\"text\"");
    check_json(bytes_as(AMQP_BINARY, STR("\xff\x01")), "\"ff01\"");
    check_json(bytes_as(AMQP_UUID, STR("\x01\x23\x45\x67\x89\xab\xcd\xef\x01\x23\x45\x67\x89\xab"
                                       "\xcd\xef")),
               "\"01234567-89ab-cdef-0123-456789abcdef\"");
    check_json(bytes_as(AMQP_DECIMAL32, STR("1234")), "null");
    amqp_val_append(list, amqp_val_int(1));
    amqp_val_append(list, amqp_val_null());
    amqp_val_set(map, "list", list);
    amqp_val_set_symbol(map, "symbol", amqp_val_int(2));
    check_json(map, "{\"list\":[1,null],\"symbol\":2}");
}

TEST(keys_that_are_no_text_become_text)
{
    struct amqp_reader at = amqp_reader_of(STR("\xc1\x05\x02\x52\x05\x54\x03")); // {uint 5: int 3}
    struct amqp_val *map = NULL;

    CHECK_EQ(amqp_val_read(&at, 10, &map), 0);
    check_json(map, "{\"5\":3}");
}

static void check_value(const char *json, const char *want)
{
    json_t *j = json_loads(json, JSON_DECODE_ANY, NULL);
    struct amqp_val *v = client_value(j);
    char *text = amqp_val_text(v);

    CHECK(j != NULL);
    CHECK_STR(str_of(text), want);
    free(text);
    amqp_val_free(v);
    json_decref(j);
}

TEST(json_becomes_amqp)
{
    struct amqp_val *v = client_value(NULL);

    CHECK_EQ(v->type, AMQP_NULL);
    amqp_val_free(v);
    check_value("null", "null");
    check_value("[true, false]", "[true, false]");
    check_value("-3", "-3");
    check_value("5000000000", "5000000000");
    check_value("\"x\"", "\"x\"");
    check_value("{\"a\": {\"b\": [1]}}", "{\"a\": {\"b\": [1]}}");
}

TEST(integers_take_the_type_they_fit)
{
    static const struct {
        json_int_t n;
        enum amqp_type type;
    } rows[] = {{0, AMQP_INT},
                {INT32_MAX, AMQP_INT},
                {(json_int_t)INT32_MAX + 1, AMQP_LONG},
                {INT32_MIN, AMQP_INT},
                {(json_int_t)INT32_MIN - 1, AMQP_LONG}};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        json_t *j = json_integer(rows[i].n);
        struct amqp_val *v = client_value(j);

        CHECK_EQ(v->type, rows[i].type);
        CHECK_EQ(v->i, rows[i].n);
        amqp_val_free(v);
        json_decref(j);
    }
}

TEST(nesting_has_an_end)
{
    json_t *j = json_array(), *inner = j;
    struct amqp_val *v;
    const struct amqp_val *at;
    int depth = 0;

    for (int i = 0; i < 100; i++) {
        json_t *next = json_array();

        json_array_append_new(inner, next);
        inner = next;
    }
    v = client_value(j);
    for (at = v; at->type == AMQP_LIST; at = at->items[0])
        depth++;
    CHECK_EQ(depth, AMQP_DEPTH_MAX);
    amqp_val_free(v);
    json_decref(j);
}

TEST(a_message_is_written_and_read)
{
    struct client_properties p = {.to = STR("here"), .reply_to = STR("there"), .correlation_id = 7};
    struct client_message m;
    struct amqp_writer w;
    struct amqp_reader at;
    struct amqp_item id;

    amqp_writer_init(&w);
    client_put_properties(&w, &p);
    amqp_put_descriptor(&w, AMQP_SECTION_VALUE);
    amqp_put_string(&w, STR("body"));
    CHECK_EQ(client_read_message(amqp_written(&w), &m), 0);
    CHECK_STR(m.to, "here");
    CHECK(m.subject.ptr == NULL);
    CHECK_STR(m.reply_to, "there");
    at = amqp_reader_of(m.correlation_id);
    CHECK_EQ(amqp_read(&at, &id), 0);
    CHECK_EQ(id.u, 7);
    CHECK_EQ(m.value.len, 6);
    CHECK(m.application_properties.ptr == NULL);
    for (size_t len = 1; len < w.len; len++)
        if (len != w.len - 9)
            CHECK_EQ(client_read_message((struct str){(char *)w.buf, len}, &m), ERR_DECODE);
    amqp_writer_fini(&w);
}

// What a site of version 1 says of its services, as a router hands it to a client.
// clang-format off
static const unsigned char shared_services[] = {
    0x00, 0x53, 0x70, 0x45, 0x00, 0x53, 0x73, 0xc0, 0x1c, 0x04, 0x40, 0x40, 0x40, 0xa1, 0x16, 0x73,
    0x65, 0x72, 0x76, 0x69, 0x63, 0x65, 0x2d, 0x73, 0x79, 0x6e, 0x63, 0x2d, 0x75, 0x70, 0x64, 0x61,
    0x74, 0x65, 0x2d, 0x76, 0x32, 0x00, 0x53, 0x74, 0xd1, 0x00, 0x00, 0x00, 0x42, 0x00, 0x00, 0x00,
    0x04, 0xa1, 0x06, 0x6f, 0x72, 0x69, 0x67, 0x69, 0x6e, 0xa1, 0x24, 0x35, 0x62, 0x36, 0x65, 0x30,
    0x62, 0x30, 0x65, 0x2d, 0x37, 0x61, 0x33, 0x63, 0x2d, 0x34, 0x64, 0x32, 0x36, 0x2d, 0x39, 0x62,
    0x31, 0x66, 0x2d, 0x32, 0x66, 0x36, 0x66, 0x35, 0x62, 0x30, 0x63, 0x39, 0x66, 0x31, 0x30, 0xa1,
    0x07, 0x76, 0x65, 0x72, 0x73, 0x69, 0x6f, 0x6e, 0xa1, 0x05, 0x31, 0x2e, 0x38, 0x2e, 0x37, 0x00,
    0x53, 0x77, 0xa1, 0x57, 0x5b, 0x7b, 0x22, 0x61, 0x64, 0x64, 0x72, 0x65, 0x73, 0x73, 0x22, 0x3a,
    0x22, 0x62, 0x61, 0x63, 0x6b, 0x65, 0x6e, 0x64, 0x22, 0x2c, 0x22, 0x70, 0x72, 0x6f, 0x74, 0x6f,
    0x63, 0x6f, 0x6c, 0x22, 0x3a, 0x22, 0x74, 0x63, 0x70, 0x22, 0x2c, 0x22, 0x70, 0x6f, 0x72, 0x74,
    0x73, 0x22, 0x3a, 0x5b, 0x38, 0x30, 0x38, 0x30, 0x5d, 0x2c, 0x22, 0x65, 0x78, 0x70, 0x6f, 0x73,
    0x65, 0x49, 0x6e, 0x67, 0x72, 0x65, 0x73, 0x73, 0x22, 0x3a, 0x22, 0x22, 0x2c, 0x22, 0x74, 0x61,
    0x72, 0x67, 0x65, 0x74, 0x73, 0x22, 0x3a, 0x5b, 0x5d, 0x7d, 0x5d,
};
// clang-format on

static json_t *read_json(struct str encoded)
{
    struct amqp_reader at = amqp_reader_of(encoded);
    struct amqp_val *v = NULL;
    json_t *j;

    CHECK_EQ(amqp_val_read(&at, 100, &v), 0);
    j = client_json(v);
    amqp_val_free(v);
    return j;
}

TEST(a_message_about_shared_services_is_read)
{
    struct client_message m;
    json_t *properties, *body;

    CHECK_EQ(client_read_message(
                 (struct str){(const char *)shared_services, sizeof(shared_services)}, &m),
             0);
    CHECK_STR(m.subject, "service-sync-update-v2");
    CHECK(m.to.ptr == NULL);
    properties = read_json(m.application_properties);
    body = read_json(m.value);
    CHECK_STR(str_of(json_string_value(json_object_get(properties, "origin"))),
              "5b6e0b0e-7a3c-4d26-9b1f-2f6f5b0c9f10");
    CHECK_STR(str_of(json_string_value(json_object_get(properties, "version"))), "1.8.7");
    CHECK_STR(str_of(json_string_value(body)),
              "[{\"address\":\"backend\",\"protocol\":\"tcp\",\"ports\":[8080],"
              "\"exposeIngress\":\"\",\"targets\":[]}]");
    json_decref(properties);
    json_decref(body);
}

TEST_MAIN(CASE(a_message_about_shared_services_is_read), CASE(amqp_becomes_json),
          CASE(keys_that_are_no_text_become_text), CASE(json_becomes_amqp),
          CASE(integers_take_the_type_they_fit), CASE(nesting_has_an_end),
          CASE(a_message_is_written_and_read))
