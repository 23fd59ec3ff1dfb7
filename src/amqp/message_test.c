// SPDX-License-Identifier: Apache-2.0
#include "amqp/message.h"

#include "amqp/hex.h"
#include "base/err.h"

// A message with everything in front of its body.
static struct str whole(struct amqp_writer *w)
{
    struct amqp_ra ra = {.flags = 5,
                         .to_override = STR("over"),
                         .ingress = STR("0/A"),
                         .mesh = STR("ABCDEFGHIJKLMNO")};
    struct amqp_mark m;

    amqp_writer_init(w);
    amqp_put_ra(w, &ra, STR("0/B"));
    amqp_put_descriptor(w, AMQP_SECTION_HEADER);
    m = amqp_begin_list(w, false);
    amqp_put_bool(w, true);
    amqp_put_ubyte(w, 9);
    amqp_end(w, m, 2);
    for (uint64_t code = AMQP_SECTION_DELIVERY_ANNOTATIONS;
         code <= AMQP_SECTION_MESSAGE_ANNOTATIONS; code++) {
        amqp_put_descriptor(w, code);
        amqp_put_raw(w, STR("\xc1\x01\x00"));
    }
    amqp_put_descriptor(w, AMQP_SECTION_PROPERTIES);
    m = amqp_begin_list(w, false);
    amqp_put_null(w);
    amqp_put_null(w);
    amqp_put_string(w, STR("to"));
    amqp_put_null(w);
    amqp_put_string(w, STR("back"));
    amqp_put_ulong(w, 7);
    amqp_put_symbol(w, STR("type"));
    amqp_end(w, m, 7);
    amqp_put_descriptor(w, AMQP_SECTION_APPLICATION_PROPERTIES);
    amqp_put_raw(w, STR("\xc1\x05\x02\xa1\x01k\x41"));
    amqp_put_descriptor(w, AMQP_SECTION_DATA);
    amqp_put_binary(w, STR("body"));
    return amqp_written(w);
}

TEST(what_routing_needs_is_read_and_the_body_is_not)
{
    struct amqp_writer w;
    struct str bytes = whole(&w);
    struct amqp_msg msg;
    struct amqp_reader trace;
    struct str router;

    CHECK_EQ(amqp_msg_scan(bytes, true, AMQP_SCAN_BODY, &msg), 0);
    CHECK(msg.ra.present && msg.has_properties && msg.has_priority);
    CHECK_EQ(msg.ra.flags, 5);
    CHECK_STR(msg.ra.to_override, "over");
    CHECK_STR(msg.ra.ingress, "0/A");
    CHECK_STR(msg.ra.mesh, "ABCDEFGHIJKLMNO");
    CHECK_EQ(msg.ra.trace_count, 1);
    trace = amqp_reader_of(msg.ra.trace);
    CHECK(amqp_ra_trace_next(&trace, &router));
    CHECK_STR(router, "0/B");
    CHECK(!amqp_ra_trace_next(&trace, &router));
    CHECK_EQ(msg.priority, 9);
    CHECK_STR(msg.to, "to");
    CHECK_STR(msg.reply_to, "back");
    CHECK_STR(msg.content_type, "type");
    CHECK(str_eq(msg.correlation_id, STR("\x53\x07")));
    CHECK_EQ(msg.app_properties.len, 7);
    CHECK(str_eq(str_skip(bytes, msg.body_at), STR("\0\x53\x75\xa0\x04"
                                                   "body")));
    amqp_writer_fini(&w);
}

TEST(a_cut_message_is_asked_for_again_until_what_is_wanted_is_there)
{
    static const enum amqp_scan depths[] = {AMQP_SCAN_RA, AMQP_SCAN_PROPERTIES, AMQP_SCAN_BODY};
    struct amqp_writer w;
    struct str bytes = whole(&w);

    for (size_t d = 0; d < 3; d++) {
        bool was_enough = false;

        for (size_t len = 0; len <= bytes.len; len++) {
            struct str cut = exact_copy(bytes, len);
            struct amqp_msg msg;
            int err = amqp_msg_scan(cut, false, depths[d], &msg);

            CHECK(err == ERR_AGAIN || err == 0);
            CHECK(!(was_enough && err == ERR_AGAIN));
            was_enough = err == 0;
            exact_free(cut);
        }
        CHECK(was_enough);
    }
    amqp_writer_fini(&w);
}

TEST(messages_that_are_none_are_told_from_those_that_are)
{
    static const struct {
        const char *why, *hex;
        int err;
    } rows[] = {
        {"nothing at all", "", 0},
        {"a body alone", "00 53 75 a0 01 78", 0},
        {"a body described by name",
         "00 a3 10 61 6d 71 70 3a 64 61 74 61 3a 62 69 6e 61 72 79"
         " a0 01 78",
         0},
        {"no descriptor", "a1 01 61", ERR_DECODE},
        {"a section of another kind", "00 53 10 45", ERR_DECODE},
        {"properties before the header", "00 53 73 45 00 53 70 45", ERR_DECODE},
        {"the header twice", "00 53 70 45 00 53 70 45", ERR_DECODE},
        {"a header that is a map", "00 53 70 c1 01 00", ERR_DECODE},
        {"annotations that are a list", "00 53 72 45", ERR_DECODE},
        {"an address that is a number", "00 53 73 c0 04 03 40 40 43", ERR_DECODE},
        {"a priority that is text", "00 53 70 c0 05 02 40 a1 01 61", ERR_DECODE},
        {"a header that ends too early", "00 53 70 c0 05 02 40", ERR_DECODE},
        {"fewer items than said", "00 53 73 c0 02 03 40", ERR_DECODE},
        {"annotations larger than 64 KiB",
         "00 80 53 4b 50 52 2d 2d 52 41 d0 00 01 00 01 00 00 00 04", ERR_LIMIT},
        {"half a prefix of annotations", "00 80 53 4b 50", ERR_DECODE},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct str bytes = unhex(rows[i].hex);
        struct amqp_msg msg;

        CHECK_EQ_FOR(rows[i].why, amqp_msg_scan(bytes, true, AMQP_SCAN_BODY, &msg), rows[i].err);
        exact_free(bytes);
    }
}

TEST(annotations_come_back_as_they_were_written)
{
    static const struct amqp_ra rows[] = {
        {.flags = 0},
        {.flags = 255, .to_override = {"to", 2}},
        {.flags = 256, .ingress = {"0/X", 3}},
        {.flags = UINT32_MAX, .mesh = {"ABCDEFGHIJKLMNO", 15}},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char large[400];
        struct amqp_ra in = rows[i];
        struct amqp_writer w, trace;
        struct amqp_msg msg;

        memset(large, 'r', sizeof(large));
        amqp_writer_init(&trace);
        for (size_t t = 0; t < i; t++)
            amqp_put_string(&trace, (struct str){large, 100 * (t + 1)});
        in.trace = amqp_written(&trace);
        in.trace_count = (uint32_t)i;
        amqp_writer_init(&w);
        amqp_put_ra(&w, &in, i % 2 ? STR("0/me") : STR_NONE);
        CHECK_EQ(amqp_msg_scan(amqp_written(&w), true, AMQP_SCAN_RA, &msg), 0);
        CHECK_EQ(msg.ra_len, w.len);
        CHECK_EQ(msg.ra.flags, in.flags);
        CHECK(str_eq(msg.ra.to_override, in.to_override) && str_eq(msg.ra.ingress, in.ingress));
        CHECK(str_eq(msg.ra.mesh, in.mesh));
        CHECK_EQ(msg.ra.trace_count, in.trace_count + i % 2);
        amqp_writer_fini(&w);
        amqp_writer_fini(&trace);
    }
}

TEST_MAIN(CASE(what_routing_needs_is_read_and_the_body_is_not),
          CASE(a_cut_message_is_asked_for_again_until_what_is_wanted_is_there),
          CASE(messages_that_are_none_are_told_from_those_that_are),
          CASE(annotations_come_back_as_they_were_written))
