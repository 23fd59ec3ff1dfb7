// SPDX-License-Identifier: Apache-2.0
#include "flow/flow.h"

#include <stdlib.h>

#include "check.h"
#include "flow/captured_messages.h"
#include "flow/inside.h"

// The router of the captured messages.
static struct flow *source_at(int64_t epoch_us)
{
    struct flow_opts o = {.host_name = "skupper-router-+g_Ac", .epoch_us = epoch_us};

    return flow_new(&o, (struct mono){0});
}

static void reach_all(struct flow *f)
{
    for (int i = 0; i < FLOW_CHANNEL_COUNT; i++)
        flow_set_reached(f, (enum flow_channel)i, true);
}

static struct mono us(int64_t n)
{
    return (struct mono){n * 1000};
}

static struct mono ms(int64_t n)
{
    return us(n * 1000);
}

// What was sent until `until`, and where the last of it went. The wall clock goes along.
struct told {
    uint32_t messages, records, beacons, heartbeats;
    char to[64], id[64];
    struct flow_value values[FLOW_ATTR_MAX + 1]; // of the last record
    bool has[FLOW_ATTR_MAX + 1];
    char texts[FLOW_ATTR_MAX + 1][FLOW_TEXT_MAX + 1];
};

static void read_values(struct told *t, struct flow_read *rec)
{
    struct flow_value v;
    int got;

    memset(t->has, 0, sizeof(t->has));
    snprintf(t->id, sizeof(t->id), "%.*s", STR_ARG(rec->id));
    while ((got = flow_read_value(rec, &v)) > 0) {
        t->has[v.attr] = true;
        t->values[v.attr] = v;
        CHECK(v.text.len <= FLOW_TEXT_MAX);
        if (v.is_text)
            memcpy(t->texts[v.attr], v.text.ptr, v.text.len);
        t->texts[v.attr][v.text.len] = '\0';
    }
    CHECK_EQ(got, 0);
}

static void tell(struct told *t, const struct flow_message *m)
{
    struct flow_news n;
    struct flow_read rec;
    int got = 0;

    t->messages++;
    snprintf(t->to, sizeof(t->to), "%s", m->to);
    CHECK_EQ(flow_read(m->bytes, &n), 0);
    CHECK_STR(n.to, m->to);
    t->beacons += n.subject == FLOW_IS_BEACON;
    t->heartbeats += n.subject == FLOW_IS_HEARTBEAT;
    CHECK(n.subject != FLOW_IS_RECORD || n.record_count <= FLOW_RECORDS_MAX);
    while (n.subject == FLOW_IS_RECORD && (got = flow_read_record(&n, &rec)) > 0) {
        t->records++;
        read_values(t, &rec);
    }
    CHECK_EQ(got, 0);
}

static struct told run(struct flow *f, int64_t epoch_us, struct mono until)
{
    struct told t = {0};
    struct flow_message m;

    while (!mono_before(until, flow_deadline(f))) {
        struct mono now = flow_deadline(f);

        flow_tick(f, now, epoch_us + now.ns / 1000);
        while (flow_next(f, &m))
            tell(&t, &m);
    }
    return t;
}

// The same octets, but that the message-id is an ulong.
static void check_captured(struct str got, const unsigned char *want, size_t len, uint8_t id)
{
    unsigned char copy[1024];

    CHECK(len <= sizeof(copy) && got.len == len);
    memcpy(copy, want, len);
    CHECK_EQ(copy[12], 0x55);
    copy[12] = 0x53;
    copy[13] = id;
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)got.ptr[i] != copy[i])
            fail_msg("octet %zu is %02x, not %02x", i, (unsigned char)got.ptr[i], copy[i]);
}

#define CHECK_CAPTURED(got, name, id)                                                              \
    check_captured(got, captured_##name, sizeof(captured_##name), id)

static bool next_after(struct flow *f, int64_t epoch_us, struct mono now, struct flow_message *m)
{
    flow_tick(f, now, epoch_us + now.ns / 1000);
    return flow_next(f, m);
}

// ------------------------------------------------------------------------------- captured messages

TEST(the_answer_to_a_captured_flush_is_the_captured_one)
{
    const int64_t start = 1795399270345213;
    struct flow *f = source_at(start);
    struct flow_record *router = flow_begin(f, FLOW_ROUTER, NULL, us(0));
    struct flow_record *site = flow_begin(f, FLOW_SITE, NULL, us(364173 - 345213));
    struct flow_record *ir = flow_begin(f, FLOW_ROUTER_ACCESS, router, us(364933 - 345213));
    struct flow_record *ed = flow_begin(f, FLOW_ROUTER_ACCESS, router, us(365264 - 345213));
    struct flow_record *echo = flow_begin(f, FLOW_LISTENER, router, us(365588 - 345213));
    struct flow_message m;

    flow_set_text(site, FLOW_NAME, STR("site-a"));
    flow_set_text(site, FLOW_BUILD_VERSION, STR("2.0"));
    flow_set_text(site, FLOW_PLATFORM, STR("linux"));
    flow_set_text(site, FLOW_NAMESPACE, STR("ns-a"));
    flow_set_text(router, FLOW_MODE, STR("interior"));
    flow_set_text(router, FLOW_NAME, STR("0/RTR-A"));
    flow_set_text(router, FLOW_BUILD_VERSION, STR("main"));
    flow_set_text(ir, FLOW_NAME, STR("ir"));
    flow_set_text(ir, FLOW_ROLE, STR("inter-router"));
    flow_set_number(ir, FLOW_LINK_COUNT, 1);
    flow_set_text(ed, FLOW_NAME, STR("ed"));
    flow_set_text(ed, FLOW_ROLE, STR("edge"));
    flow_set_number(ed, FLOW_LINK_COUNT, 1);
    flow_set_text(echo, FLOW_PROTOCOL, STR("tcp"));
    flow_set_text(echo, FLOW_NAME, STR("echo-l"));
    flow_set_text(echo, FLOW_DESTINATION_HOST, STR("127.0.0.1"));
    flow_set_text(echo, FLOW_DESTINATION_PORT, STR("34010"));
    flow_set_text(echo, FLOW_VAN_ADDRESS, STR("echo:9090"));
    flow_add(echo, FLOW_COUNT_L4, 1);
    flow_add(echo, FLOW_COUNT_L4, 1);
    flow_set_reached(f, FLOW_RECORDS, true);
    flow_command(f, (struct str){(const char *)captured_flush, sizeof(captured_flush)});
    CHECK(next_after(f, start, ms(2000), &m));
    CHECK_STR(str_of(m.to), "mc/sfe.+g_Ac:0");
    CHECK_CAPTURED(m.bytes, records, 1);
    CHECK(!flow_next(f, &m));
    flow_free(f);
}

TEST(beacon_and_heartbeat_are_the_captured_ones)
{
    const int64_t start = 1795399387375494 - 6000000;
    struct flow *f = source_at(start);
    struct flow_message m;

    flow_set_reached(f, FLOW_BEACONS, true);
    flow_set_reached(f, FLOW_RECORDS, true);
    CHECK(next_after(f, start, ms(2000), &m));
    CHECK_STR(str_of(m.to), "mc/sfe.all");
    CHECK_CAPTURED(m.bytes, beacon, 1);
    CHECK(flow_next(f, &m));
    CHECK(!flow_next(f, &m));
    CHECK_EQ(run(f, start, ms(5999)).heartbeats, 1);
    CHECK(next_after(f, start, ms(6000), &m));
    CHECK_STR(str_of(m.to), "mc/sfe.+g_Ac:0");
    CHECK_CAPTURED(m.bytes, heartbeat, 4);
    flow_free(f);
}

static struct flow_record *captured_connection(struct flow *f)
{
    struct flow_record listener = {.id = (char *)(uintptr_t) "+g_Ac:4"};
    struct flow_record *c = NULL;

    f->next_id = 6;
    c = flow_begin(f, FLOW_TPORT, &listener, us(0));
    flow_set_text(c, FLOW_SOURCE_HOST, STR("127.0.0.1"));
    flow_set_text(c, FLOW_SOURCE_PORT, STR("60364"));
    flow_set_number(c, FLOW_OCTETS, 27);
    flow_set_number(c, FLOW_OCTETS_REVERSE, 27);
    flow_set_number(c, FLOW_LATENCY, 385);
    return c;
}

TEST(a_finished_connection_with_its_co_record_is_the_captured_one)
{
    const int64_t start = 1795399386395858;
    struct flow *f = source_at(start);
    struct flow_record *c, *co;
    struct flow_message m;
    struct flow *other = source_at(start);

    flow_set_reached(f, FLOW_FLOWS, true);
    c = captured_connection(f);
    co = flow_begin_corecord(other, str_of(flow_id(c)));
    flow_end(c, us(398467 - 395858));
    flow_set_text(co, FLOW_TRACE, STR("0/RTR-A"));
    flow_set_text(co, FLOW_CONNECTOR_ID, STR("lP3dH:3"));
    flow_set_number(co, FLOW_PROCESS_LATENCY, 168);
    flow_set_text(co, FLOW_PROXY_HOST, STR("127.0.0.1"));
    flow_set_text(co, FLOW_PROXY_PORT, STR("36032"));
    flow_end(co, us(0));
    CHECK(next_after(other, start, ms(2000), &m) || next_after(other, start, ms(2200), &m) ||
          next_after(other, start, ms(2400), &m) || next_after(other, start, ms(2600), &m) ||
          next_after(other, start, ms(2800), &m));
    CHECK_STR(str_of(m.to), "vfcr.+g_Ac:0");
    flow_corecord(f, m.bytes);
    CHECK_EQ(run(f, start, ms(5000)).messages, 0);
    f->next_message_id = 6;
    CHECK(next_after(f, start, flow_deadline(f), &m));
    CHECK_STR(str_of(m.to), "mc/sfe.+g_Ac:0.flows");
    CHECK_CAPTURED(m.bytes, tport, 6);
    flow_free(other);
    flow_free(f);
}

TEST(a_co_record_is_the_captured_one)
{
    struct flow_opts o = {.host_name = "x-lP3dH"};
    struct flow *f = flow_new(&o, us(0));
    struct flow_record *co = flow_begin_corecord(f, STR("+g_Ac:5"));
    struct flow_message m;

    flow_set_text(co, FLOW_TRACE, STR("0/RTR-A"));
    flow_set_text(co, FLOW_CONNECTOR_ID, STR("lP3dH:3"));
    flow_set_number(co, FLOW_PROCESS_LATENCY, 157);
    flow_set_text(co, FLOW_PROXY_HOST, STR("127.0.0.1"));
    flow_set_text(co, FLOW_PROXY_PORT, STR("50312"));
    for (int i = 0; !next_after(f, 0, flow_deadline(f), &m); i++)
        CHECK(i < SLOT_COUNT);
    CHECK_STR(str_of(m.to), "vfcr.+g_Ac:0");
    CHECK_CAPTURED(m.bytes, corecord, 1);
    flow_free(f);
}

// ------------------------------------------------------------------------------------------- time

TEST(a_beacon_each_ten_seconds_and_a_heartbeat_each_two)
{
    struct flow *f = source_at(0);
    struct told t;

    CHECK_EQ(run(f, 0, ms(60000)).messages, 0);
    flow_set_reached(f, FLOW_BEACONS, true);
    flow_set_reached(f, FLOW_RECORDS, true);
    t = run(f, 0, ms(60000 + 19900));
    CHECK_EQ(t.beacons, 2);
    CHECK_EQ(t.heartbeats, 10);
    flow_set_reached(f, FLOW_RECORDS, false);
    t = run(f, 0, ms(60000 + 39900));
    CHECK_EQ(t.beacons, 2);
    CHECK_EQ(t.heartbeats, 0);
    flow_set_reached(f, FLOW_BEACONS, false);
    CHECK_EQ(run(f, 0, ms(200000)).messages, 0);
    flow_free(f);
}

TEST(who_joins_is_greeted_with_the_next_tick_and_many_together_are_greeted_once)
{
    struct flow *f = source_at(0);
    struct told t;

    flow_set_reached(f, FLOW_BEACONS, true);
    flow_set_reached(f, FLOW_RECORDS, true);
    run(f, 0, ms(5000)); // in turn: 2, 12, 22, 32 s
    flow_greet(f, 1);
    t = run(f, 0, ms(5200));
    CHECK_EQ(t.beacons, 1);
    CHECK_EQ(t.heartbeats, 0);
    for (uint32_t others = 2; others <= 50; others++)
        flow_greet(f, others);
    CHECK_EQ(run(f, 0, ms(6000)).beacons, 0); // one second and 20 ms for each
    CHECK_EQ(run(f, 0, ms(6400)).beacons, 1);
    flow_greet(f, 51);
    CHECK_EQ(run(f, 0, ms(8000)).beacons, 0);
    CHECK_EQ(run(f, 0, ms(11900)).beacons, 1);
    flow_greet(f, 1000000);
    CHECK_EQ(run(f, 0, ms(12000)).beacons, 1); // in turn, which serves
    CHECK_EQ(run(f, 0, ms(21900)).beacons, 0);
    flow_greet(f, 1);
    CHECK_EQ(run(f, 0, ms(31900)).beacons, 1); // in turn
    flow_free(f);
}

TEST(who_asks_is_greeted_and_the_pause_grows_with_those_who_ask_together)
{
    struct flow *f = source_at(0);

    flow_set_reached(f, FLOW_BEACONS, true);
    flow_set_reached(f, FLOW_RECORDS, true);
    run(f, 0, ms(11900)); // in turn: 2, 12, 22, 32 s
    run(f, 0, ms(12000));
    for (int i = 0; i < 50; i++)
        flow_asked(f);
    CHECK_EQ(run(f, 0, ms(12200)).beacons, 1);
    flow_asked(f);
    CHECK_EQ(run(f, 0, ms(14000)).beacons, 0); // one second and 20 ms for each of the fifty
    CHECK_EQ(run(f, 0, ms(14400)).beacons, 1);
    CHECK_EQ(run(f, 0, ms(28000)).beacons, 1); // in turn
    flow_asked(f);                             // it was quiet
    CHECK_EQ(run(f, 0, ms(28200)).beacons, 1);
    flow_asked(f);
    CHECK_EQ(run(f, 0, ms(29400)).beacons, 1);
    flow_free(f);
}

TEST(who_asks_sends_its_beacon_to_those_it_asks_once)
{
    struct flow *f = source_at(0);
    struct told t;

    flow_ask(f);
    t = run(f, 0, ms(5000));
    CHECK_EQ(t.messages, 1);
    CHECK_EQ(t.beacons, 1);
    CHECK_STR(str_of(t.to), "mc/sfe.joined");
    flow_free(f);
}

TEST(who_joins_while_nobody_listens_is_not_greeted)
{
    struct flow *f = source_at(0);

    flow_greet(f, 1);
    CHECK_EQ(run(f, 0, ms(5000)).messages, 0);
    flow_set_reached(f, FLOW_BEACONS, true);
    CHECK_EQ(run(f, 0, ms(14000)).beacons, 1);
    flow_free(f);
}

TEST(a_record_is_sent_once_a_second_however_often_it_changes)
{
    struct flow *f = source_at(0);
    struct flow_record *rec = NULL;
    struct told t;
    uint32_t sent = 0;

    reach_all(f);
    run(f, 0, ms(3000));
    rec = flow_begin(f, FLOW_LISTENER, NULL, ms(3000));
    for (int64_t at = 3000; at < 13000; at += 10) {
        flow_add(rec, FLOW_COUNT_L4, 1);
        sent += run(f, 0, ms(at)).records;
    }
    CHECK(sent >= 9 && sent <= 10);
    run(f, 0, ms(15000));
    flow_add(rec, FLOW_COUNT_L4, 1);
    t = run(f, 0, ms(16000));
    CHECK_EQ(t.records, 1);
    CHECK_EQ(t.values[FLOW_COUNT_L4].number, 1001);
    CHECK(!t.has[FLOW_START_TIME]); // has not changed
    flow_set_number(rec, FLOW_COUNT_L4, 1001);
    flow_set_text(rec, FLOW_NAME, STR("x"));
    run(f, 0, ms(18000));
    flow_set_text(rec, FLOW_NAME, STR("x"));
    CHECK_EQ(run(f, 0, ms(20000)).records, 0); // nothing new
    flow_free(f);
}

static void ask_for_all(struct flow *f)
{
    struct amqp_writer w;

    amqp_writer_init(&w);
    flow_put_flush(&w, str_of(flow_address(f, FLOW_COMMANDS)));
    flow_command(f, amqp_written(&w));
    amqp_writer_fini(&w);
}

TEST(where_nobody_listens_nothing_is_kept_and_who_comes_hears_what_there_is)
{
    struct flow *f = source_at(0);
    struct flow_record *listener = flow_begin(f, FLOW_LISTENER, NULL, ms(0));
    struct flow_record *open = flow_begin(f, FLOW_TPORT, listener, ms(1));
    struct flow_stats stats;
    struct told t;

    for (int i = 0; i < 100; i++)
        flow_end(flow_begin(f, FLOW_TPORT, listener, ms(i)), ms(i));
    flow_end(flow_begin(f, FLOW_LINK, NULL, ms(0)), ms(0));
    flow_stats(f, &stats);
    CHECK_EQ(stats.traffic, 1);
    CHECK_EQ(stats.others, 1);
    CHECK_EQ(run(f, 0, ms(4000)).records, 0);
    reach_all(f);
    CHECK_EQ(run(f, 0, ms(5000)).records, 2);
    CHECK_EQ(run(f, 0, ms(8000)).records, 0);
    ask_for_all(f);
    t = run(f, 0, ms(8200));
    CHECK_EQ(t.records, 2);
    CHECK_STR(str_of(t.texts[FLOW_PARENT]), flow_id(listener));
    flow_end(open, ms(8500));
    flow_set_reached(f, FLOW_FLOWS, false); // it goes with those who would have heard
    flow_stats(f, &stats);
    CHECK_EQ(stats.traffic, 0);
    flow_free(f);
}

TEST(what_many_ask_for_at_one_time_is_told_once_to_all)
{
    struct flow *f = source_at(0);

    for (int i = 0; i < 400; i++)
        flow_begin(f, FLOW_LISTENER, NULL, ms(0));
    reach_all(f);
    CHECK_EQ(run(f, 0, ms(5000)).records, 400);
    ask_for_all(f); // this one is heard at once
    CHECK_EQ(run(f, 0, ms(6000)).records, 400);
    for (int i = 0; i < 50; i++)
        ask_for_all(f);
    CHECK_EQ(run(f, 0, ms(7000)).records, 0);
    for (int i = 0; i < 50; i++)
        ask_for_all(f);
    CHECK_EQ(run(f, 0, ms(9500)).records, 400); // a second, and five milliseconds for each
    CHECK_EQ(run(f, 0, ms(30000)).records, 0);
    flow_free(f);
}

TEST(an_ended_record_is_told_once_more_and_forgotten)
{
    struct flow *f = source_at(0);
    struct flow_record *rec = flow_begin(f, FLOW_LINK, NULL, ms(0));
    struct flow_stats stats;
    struct told t;

    reach_all(f);
    flow_end(rec, ms(5));
    t = run(f, 0, ms(4000));
    CHECK_EQ(t.records, 1);
    CHECK_EQ(t.values[FLOW_END_TIME].number, 5000);
    flow_stats(f, &stats);
    CHECK_EQ(stats.others, 0);
    flow_free(f);
}

TEST(times_of_a_record_fit_each_other_and_follow_a_clock_that_is_set)
{
    const int64_t hour_us = INT64_C(3600000000);
    struct flow *f = source_at(0);
    struct flow_record *rec;
    struct told t;

    reach_all(f);
    run(f, 0, ms(4000));
    rec = flow_begin(f, FLOW_LINK, NULL, ms(4000));
    t = run(f, -40, ms(6000)); // read a little apart from the monotonic one
    CHECK_EQ(t.values[FLOW_START_TIME].number, 4000000);
    flow_end(rec, ms(6001));
    t = run(f, 30, ms(8000));
    CHECK_EQ(t.values[FLOW_END_TIME].number, 6001000);
    run(f, hour_us, ms(10000));
    rec = flow_begin(f, FLOW_LINK, NULL, ms(10000));
    t = run(f, hour_us, ms(12000));
    CHECK_EQ(t.values[FLOW_START_TIME].number, hour_us + 10000000);
    flow_free(f);
}

// ----------------------------------------------------------------------------------------- bounds

TEST(more_records_than_fit_go_into_several_messages)
{
    struct flow *f = source_at(0);
    struct told t;

    reach_all(f);
    run(f, 0, ms(3000));
    for (int i = 0; i < 120; i++)
        flow_begin(f, FLOW_CONNECTOR, NULL, ms(3000));
    t = run(f, 0, ms(4000));
    CHECK_EQ(t.records, 120);
    CHECK_EQ(t.messages - t.heartbeats - t.beacons, 3);
    flow_free(f);
}

TEST(traffic_beyond_the_limit_is_counted_and_begins_again_below_it)
{
    struct flow *f = source_at(0);
    struct flow_record *records[FLOW_TRAFFIC_MAX];
    struct flow_stats stats;
    int at = 0;

    for (int i = 0; i < FLOW_TRAFFIC_MAX; i++)
        CHECK((records[i] = flow_begin(f, FLOW_TPORT, NULL, ms(0))) != NULL);
    CHECK(flow_begin(f, FLOW_APP, NULL, ms(0)) == NULL);
    CHECK(flow_begin_corecord(f, STR("other:7")) == NULL);
    CHECK(flow_begin(f, FLOW_LINK, NULL, ms(0)) != NULL);
    while (at < FLOW_TRAFFIC_MAX - FLOW_TRAFFIC_AGAIN)
        flow_end(records[at++], ms(1));
    CHECK(flow_begin(f, FLOW_APP, NULL, ms(1)) == NULL); // just the limit: not below it
    flow_end(records[at++], ms(1));
    CHECK(flow_begin(f, FLOW_APP, NULL, ms(1)) != NULL);
    flow_stats(f, &stats);
    CHECK_EQ(stats.dropped, 3);
    flow_set_number(NULL, FLOW_OCTETS, 1); // as those who got none do
    flow_add(NULL, FLOW_OCTETS, 1);
    flow_set_text(NULL, FLOW_NAME, STR("x"));
    flow_set_time(NULL, FLOW_UP_TIMESTAMP, ms(1));
    flow_end(NULL, ms(1));
    CHECK_STR(str_of(flow_id(NULL)), "");
    flow_free(f);
}

TEST(logs_are_kept_for_those_who_listen_and_not_without_end)
{
    struct flow *f = source_at(0);
    struct flow_record *router = flow_begin(f, FLOW_ROUTER, NULL, ms(0));
    struct flow_stats stats;
    struct told t;

    flow_log(f, router, FLOW_ERROR, STR("LOG_ROUTER: unheard"), STR("a.c"), 7, ms(1));
    flow_set_reached(f, FLOW_LOGS, true);
    for (int i = 0; i < FLOW_LOGS_MAX + 3; i++)
        flow_log(f, router, FLOW_ERROR, STR("LOG_ROUTER: trouble"), STR("a.c"), 7, ms(1));
    t = run(f, 0, ms(4000));
    CHECK_EQ(t.records, FLOW_LOGS_MAX);
    CHECK_STR(str_of(t.to), "mc/sfe.+g_Ac:0.logs");
    CHECK_STR(str_of(t.texts[FLOW_LOG_TEXT]), "LOG_ROUTER: trouble");
    CHECK_STR(str_of(t.texts[FLOW_SOURCE_FILE]), "a.c");
    CHECK_EQ(t.values[FLOW_SOURCE_LINE].number, 7);
    CHECK_EQ(t.values[FLOW_LOG_SEVERITY].number, 3);
    CHECK_EQ(t.values[FLOW_END_TIME].number, t.values[FLOW_START_TIME].number);
    flow_stats(f, &stats);
    CHECK_EQ(stats.logs_dropped, 3);
    CHECK_EQ(stats.others, 1);
    flow_free(f);
}

TEST(long_texts_are_cut_between_characters)
{
    static const struct {
        const char *why;
        size_t before; // octets in front of a character of three
        size_t want;
    } rows[] = {{"it fits", 297, 300},
                {"one octet too many", 298, 298},
                {"two", 299, 299},
                {"all", 300, 300}};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct flow *f = source_at(0);
        struct flow_record *rec = flow_begin(f, FLOW_LINK, NULL, ms(0));
        char text[310];
        struct told t;

        memset(text, 'a', sizeof(text));
        memcpy(text + rows[i].before, "\xe2\x82\xac", 3);
        reach_all(f);
        flow_set_text(rec, FLOW_REASON, (struct str){text, rows[i].before + 3});
        t = run(f, 0, ms(4000));
        CHECK_EQ_FOR(rows[i].why, strlen(t.texts[FLOW_REASON]), rows[i].want);
        flow_free(f);
    }
}

// ------------------------------------------------------------------------------------- co-records

// One record in a RECORD message.
static void put_corecord(struct amqp_writer *w, uint32_t type, const char *id, uint32_t attr,
                         const char *text)
{
    struct amqp_mark list, map;

    amqp_put_descriptor(w, AMQP_SECTION_PROPERTIES);
    list = amqp_begin_list(w, false);
    amqp_put_null(w);
    amqp_put_null(w);
    amqp_put_string(w, STR("vfcr.+g_Ac:0"));
    amqp_put_string(w, STR("RECORD"));
    amqp_end(w, list, 4);
    amqp_put_descriptor(w, AMQP_SECTION_VALUE);
    list = amqp_begin_list(w, false);
    map = amqp_begin_map(w, false);
    amqp_put_uint(w, 0);
    amqp_put_uint(w, type);
    amqp_put_uint(w, 1);
    amqp_put_string(w, str_of(id));
    amqp_put_uint(w, attr);
    amqp_put_string(w, str_of(text));
    amqp_end(w, map, 6);
    amqp_end(w, list, 1);
}

TEST(a_co_record_changes_what_the_connector_knows_and_nothing_else)
{
    static const struct {
        const char *why;
        uint32_t type;
        const char *id;
        uint32_t attr;
        bool is_taken;
    } rows[] = {
        {"the trace", FLOW_TPORT, "+g_Ac:0", FLOW_TRACE, true},
        {"an error", FLOW_TPORT, "+g_Ac:0", FLOW_ERROR_CONNECTOR_SIDE, true},
        {"not a connection", FLOW_LINK, "+g_Ac:0", FLOW_TRACE, false},
        {"of another router", FLOW_TPORT, "lP3dH:0", FLOW_TRACE, false},
        {"not known any more", FLOW_TPORT, "+g_Ac:1", FLOW_TRACE, false},
        {"a number as text", FLOW_TPORT, "+g_Ac:0", FLOW_PROCESS_LATENCY, false},
        {"the parent", FLOW_TPORT, "+g_Ac:0", FLOW_PARENT, false},
        {"an unknown attribute", FLOW_TPORT, "+g_Ac:0", FLOW_ATTR_MAX + 1, false},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct flow *f = source_at(0);
        struct amqp_writer w;
        struct told t;

        reach_all(f);
        flow_begin(f, FLOW_TPORT, NULL, ms(0));
        run(f, 0, ms(3000));
        amqp_writer_init(&w);
        put_corecord(&w, rows[i].type, rows[i].id, rows[i].attr, "said");
        flow_corecord(f, amqp_written(&w));
        flow_command(f, amqp_written(&w)); // which it is not
        amqp_writer_fini(&w);
        t = run(f, 0, ms(5000));
        CHECK_EQ_FOR(rows[i].why, t.records, rows[i].is_taken);
        if (rows[i].is_taken)
            CHECK_STR(str_of(t.texts[rows[i].attr]), "said");
        flow_free(f);
    }
}

static void say_corecord(struct flow *f, const char *id, uint32_t attr, const char *text)
{
    struct amqp_writer w;

    amqp_writer_init(&w);
    put_corecord(&w, FLOW_TPORT, id, attr, text);
    flow_corecord(f, amqp_written(&w));
    amqp_writer_fini(&w);
}

// A connection is refused by one server and taken by another.
TEST(what_a_connector_said_of_an_earlier_attempt_is_taken_back)
{
    for (int told = 0; told < 2; told++) {
        struct flow *f = source_at(0);
        struct flow_record *rec;
        struct told t;

        reach_all(f);
        rec = flow_begin(f, FLOW_TPORT, NULL, ms(0));
        CHECK_STR(str_of(flow_corecord_id(rec)), "+g_Ac:0");
        CHECK_STR(str_of(flow_corecord_id(rec)), "+g_Ac:1");
        say_corecord(f, "+g_Ac:0", FLOW_ERROR_CONNECTOR_SIDE, "refused");
        say_corecord(f, "+g_Ac:0", FLOW_CONNECTOR_ID, "first:1");
        t = run(f, 0, ms(told ? 4000 : 1000));
        CHECK_EQ(t.has[FLOW_ERROR_CONNECTOR_SIDE], told);
        say_corecord(f, "+g_Ac:1", FLOW_CONNECTOR_ID, "second:1");
        say_corecord(f, "+g_Ac:0", FLOW_CONNECTOR_ID, "first:1"); // late
        t = run(f, 0, ms(6000));
        CHECK_STR(str_of(t.id), "+g_Ac:0");
        CHECK_STR(str_of(t.texts[FLOW_CONNECTOR_ID]), "second:1");
        CHECK_EQ(t.has[FLOW_ERROR_CONNECTOR_SIDE], told);
        CHECK_STR(str_of(t.texts[FLOW_ERROR_CONNECTOR_SIDE]), "");
        flow_free(f);
    }
}

TEST(attempts_of_which_nothing_is_heard_leave_the_record_as_it_is)
{
    struct flow *f = source_at(0);
    struct flow_record *rec;
    struct told t;

    reach_all(f);
    rec = flow_begin(f, FLOW_TPORT, NULL, ms(0));
    for (int i = 0; i < FLOW_ATTEMPTS_MAX + 3; i++)
        flow_corecord_id(rec);
    CHECK_STR(str_of(flow_corecord_id(rec)), "+g_Ac:7");
    say_corecord(f, "+g_Ac:0", FLOW_ERROR_CONNECTOR_SIDE, "refused");
    flow_end(rec, ms(100));
    t = run(f, 0, ms(9000));
    CHECK_STR(str_of(t.texts[FLOW_ERROR_CONNECTOR_SIDE]), "refused");
    CHECK_STR(str_of(flow_corecord_id(NULL)), "");
    flow_free(f);
}

TEST(co_records_go_each_to_its_router)
{
    struct flow *f = source_at(0);
    const char *ids[] = {"aaaaa:1", "aaaaa:2", "bbbbb:1"};
    struct told t;

    for (int i = 0; i < 3; i++)
        flow_set_text(flow_begin_corecord(f, str_of(ids[i])), FLOW_TRACE, STR("Local"));
    CHECK(flow_begin_corecord(f, STR("nonsense")) == NULL);
    CHECK(flow_begin_corecord(f, STR(":1")) == NULL);
    CHECK(flow_begin_corecord(f, STR_NONE) == NULL);
    t = run(f, 0, ms(4000));
    CHECK_EQ(t.records, 3);
    CHECK_EQ(t.messages, 2);
    CHECK_STR(str_of(t.to), "vfcr.bbbbb:0");
    flow_free(f);
}

TEST(a_source_is_named_by_its_pod_or_at_random)
{
    static const struct {
        const char *host;
        bool is_pod;
    } rows[] = {{"skupper-router-7d9f-x2v4q", true}, {"x2v4q", false}, {"host.x2v4q", false}};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct flow_opts o = {.host_name = rows[i].host, .seed = 7};
        struct flow *f = flow_new(&o, ms(0));

        CHECK_EQ_FOR(rows[i].host, strcmp(flow_address(f, FLOW_COMMANDS), "sfe.x2v4q:0") == 0,
                     rows[i].is_pod);
        CHECK_EQ(strlen(flow_address(f, FLOW_COMMANDS)), strlen("sfe.x2v4q:0"));
        flow_free(f);
    }
}

TEST(a_site_may_have_an_identity_of_its_own)
{
    struct flow *f = source_at(0);
    struct flow_record *site, *router;
    struct told t;

    reach_all(f);
    site = flow_begin_as(f, FLOW_SITE, STR("2b5c-11"), ms(0));
    router = flow_begin(f, FLOW_ROUTER, site, ms(0));
    t = run(f, 0, ms(4000));
    CHECK_EQ(t.records, 2);
    CHECK_STR(str_of(t.id), flow_id(router));
    CHECK_STR(str_of(t.texts[FLOW_PARENT]), "2b5c-11");
    flow_free(f);
}

TEST_MAIN(CASE(the_answer_to_a_captured_flush_is_the_captured_one),
          CASE(beacon_and_heartbeat_are_the_captured_ones),
          CASE(a_finished_connection_with_its_co_record_is_the_captured_one),
          CASE(a_co_record_is_the_captured_one),
          CASE(a_beacon_each_ten_seconds_and_a_heartbeat_each_two),
          CASE(who_joins_is_greeted_with_the_next_tick_and_many_together_are_greeted_once),
          CASE(who_asks_is_greeted_and_the_pause_grows_with_those_who_ask_together),
          CASE(who_asks_sends_its_beacon_to_those_it_asks_once),
          CASE(who_joins_while_nobody_listens_is_not_greeted),
          CASE(a_record_is_sent_once_a_second_however_often_it_changes),
          CASE(where_nobody_listens_nothing_is_kept_and_who_comes_hears_what_there_is),
          CASE(what_many_ask_for_at_one_time_is_told_once_to_all),
          CASE(an_ended_record_is_told_once_more_and_forgotten),
          CASE(times_of_a_record_fit_each_other_and_follow_a_clock_that_is_set),
          CASE(more_records_than_fit_go_into_several_messages),
          CASE(traffic_beyond_the_limit_is_counted_and_begins_again_below_it),
          CASE(logs_are_kept_for_those_who_listen_and_not_without_end),
          CASE(long_texts_are_cut_between_characters),
          CASE(a_co_record_changes_what_the_connector_knows_and_nothing_else),
          CASE(what_a_connector_said_of_an_earlier_attempt_is_taken_back),
          CASE(attempts_of_which_nothing_is_heard_leave_the_record_as_it_is),
          CASE(co_records_go_each_to_its_router), CASE(a_source_is_named_by_its_pod_or_at_random),
          CASE(a_site_may_have_an_identity_of_its_own))
