// SPDX-License-Identifier: Apache-2.0
#include "base/err.h"
#include "check.h"
#include "flow/captured_messages.h"
#include "flow/flow.h"

#define CAPTURED(name)                                                                             \
    (struct str)                                                                                   \
    {                                                                                              \
        (const char *)captured_##name, sizeof(captured_##name)                                     \
    }

TEST(what_routers_and_collectors_say_is_understood)
{
    struct flow_news n;

    CHECK_EQ(flow_read(CAPTURED(beacon), &n), 0);
    CHECK_EQ(n.subject, FLOW_IS_BEACON);
    CHECK_EQ(n.version, 1);
    CHECK_STR(n.to, "mc/sfe.all");
    CHECK_STR(n.source_type, "ROUTER");
    CHECK_STR(n.id, "+g_Ac:0");
    CHECK_STR(n.address, "mc/sfe.+g_Ac:0");
    CHECK_STR(n.direct, "sfe.+g_Ac:0");
    CHECK_EQ(flow_read(CAPTURED(heartbeat), &n), 0);
    CHECK_EQ(n.subject, FLOW_IS_HEARTBEAT);
    CHECK_EQ(n.now_us, 1795399387375494);
    CHECK_EQ(flow_read(CAPTURED(flush), &n), 0);
    CHECK_EQ(n.subject, FLOW_IS_FLUSH);
    CHECK_STR(n.to, "sfe.+g_Ac:0");
}

TEST(the_records_of_a_message_are_read_one_by_one)
{
    static const uint32_t types[] = {FLOW_SITE, FLOW_ROUTER, FLOW_ROUTER_ACCESS, FLOW_ROUTER_ACCESS,
                                     FLOW_LISTENER};
    static const int value_counts[] = {5, 4, 5, 5, 8};
    struct flow_news n;
    struct flow_read rec;
    struct flow_value v;

    CHECK_EQ(flow_read(CAPTURED(records), &n), 0);
    CHECK_EQ(n.record_count, 5);
    for (int i = 0; i < 5; i++) {
        int count = 0;

        CHECK_EQ(flow_read_record(&n, &rec), 1);
        CHECK_EQ(rec.type, types[i]);
        while (flow_read_value(&rec, &v) > 0)
            count++;
        CHECK_EQ(count, value_counts[i]);
    }
    CHECK_STR(rec.id, "+g_Ac:4");
    CHECK_EQ(v.attr, FLOW_COUNT_L4);
    CHECK_EQ(v.number, 2);
    CHECK_EQ(flow_read_record(&n, &rec), 0);
}

// Controllers write string keys.
TEST(keys_may_be_strings)
{
    struct amqp_writer w;
    struct amqp_mark mark;
    struct flow_news n;

    amqp_writer_init(&w);
    amqp_put_descriptor(&w, AMQP_SECTION_PROPERTIES);
    mark = amqp_begin_list(&w, false);
    amqp_put_null(&w);
    amqp_put_null(&w);
    amqp_put_string(&w, STR("mc/sfe.all"));
    amqp_put_string(&w, STR("BEACON"));
    amqp_end(&w, mark, 4);
    amqp_put_descriptor(&w, AMQP_SECTION_APPLICATION_PROPERTIES);
    mark = amqp_begin_map(&w, false);
    amqp_put_string(&w, STR("v"));
    amqp_put_uint(&w, 1);
    amqp_put_string(&w, STR("id"));
    amqp_put_string(&w, STR("site-1"));
    amqp_put_string(&w, STR("direct"));
    amqp_put_ulong(&w, 5); // of the wrong type: as if it were not there
    amqp_end(&w, mark, 6);
    CHECK_EQ(flow_read(amqp_written(&w), &n), 0);
    CHECK_STR(n.id, "site-1");
    CHECK_EQ(n.version, 1);
    CHECK_EQ(n.direct.len, 0);
    amqp_writer_fini(&w);
}

TEST(a_message_that_is_cut_is_no_message)
{
    struct flow_news n;
    struct flow_read rec;

    for (size_t len = 0; len < sizeof(captured_records); len++) {
        struct str cut = {(const char *)captured_records, len};

        CHECK(flow_read(cut, &n) < 0);
    }
    for (size_t len = 0; len < sizeof(captured_beacon) - 3; len++) {
        struct str cut = {(const char *)captured_beacon, len};
        int err = flow_read(cut, &n);

        // Whole sections alone are a message too; its subject decides.
        CHECK(err < 0 || n.subject == FLOW_IS_BEACON);
    }
    CHECK_EQ(flow_read(STR_NONE, &n), ERR_INVALID);
    n = (struct flow_news){.subject = FLOW_IS_RECORD, .record_count = 1};
    CHECK_EQ(flow_read_record(&n, &rec), ERR_DECODE);
}

static int read_one(uint8_t key_constructor, uint8_t value_constructor, uint8_t attr)
{
    // {0: uint 16, 1: "a:1", attr: value}
    const uint8_t map[] = {0xc1, 17,
                           6,    0x43,
                           0x52, 16,
                           0x52, 1,
                           0xa1, 3,
                           'a',  ':',
                           '1',  key_constructor,
                           attr, value_constructor,
                           1,    'x',
                           0x40};
    struct flow_news n = {.subject = FLOW_IS_RECORD, .record_count = 1};
    struct flow_read rec;
    struct flow_value v;
    int err;

    n.rest = amqp_reader_of((struct str){(const char *)map, sizeof(map)});
    err = flow_read_record(&n, &rec);
    return err < 0 ? err : flow_read_value(&rec, &v);
}

TEST(types_of_keys_and_values_are_strict)
{
    CHECK_EQ(read_one(0x52, 0xa1, FLOW_NAME), 1);
    CHECK_EQ(read_one(0x53, 0xa1, FLOW_NAME), ERR_DECODE);   // an ulong key
    CHECK_EQ(read_one(0x52, 0xa3, FLOW_NAME), ERR_DECODE);   // a symbol
    CHECK_EQ(read_one(0x52, 0xa1, FLOW_OCTETS), ERR_DECODE); // a number as text
    CHECK_EQ(read_one(0x52, 0xa1, 200), 0);                  // unknown: passed over
}

TEST(type_and_identity_may_stand_anywhere)
{
    // {name: "n", 0: uint 16, address: "v", 1: "a:1"}
    static const uint8_t map[] = {
        0xc1, 21, 8,   0x52, FLOW_NAME, 0xa1, 1, 'n', 0x43, 0x52, 16, 0x52, FLOW_VAN_ADDRESS,
        0xa1, 1,  'v', 0x52, 1,         0xa1, 3, 'a', ':',  '1'};
    struct flow_news n = {.subject = FLOW_IS_RECORD, .record_count = 1};
    struct flow_read rec;
    struct flow_value v;

    n.rest = amqp_reader_of((struct str){(const char *)map, sizeof(map)});
    CHECK_EQ(flow_read_record(&n, &rec), 1);
    CHECK_EQ(rec.type, 16);
    CHECK_STR(rec.id, "a:1");
    CHECK_EQ(flow_read_value(&rec, &v), 1);
    CHECK_EQ(v.attr, FLOW_NAME);
    CHECK_EQ(flow_read_value(&rec, &v), 1);
    CHECK_EQ(v.attr, FLOW_VAN_ADDRESS);
    CHECK_EQ(flow_read_value(&rec, &v), 0);
    CHECK_EQ(flow_read_record(&n, &rec), 0);
}

TEST_MAIN(CASE(what_routers_and_collectors_say_is_understood),
          CASE(the_records_of_a_message_are_read_one_by_one), CASE(keys_may_be_strings),
          CASE(a_message_that_is_cut_is_no_message), CASE(types_of_keys_and_values_are_strict),
          CASE(type_and_identity_may_stand_anywhere))
