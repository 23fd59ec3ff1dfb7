// SPDX-License-Identifier: Apache-2.0
#include <malloc.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/rng.h"
#include "check.h"
#include "flow/captured_messages.h"
#include "flow/heard_test.h"
#include "flow/inside.h"
#include "flow/kept.h"

// All wants as one text: "+mc/sfe.all ?sfe.a:0 -mc/sfe.b:0".
static struct str wants(struct flow_collector *c)
{
    static char text[16000];
    struct flow_want w;
    size_t len = 0;

    text[0] = '\0';
    while (flow_collector_next(c, &w))
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%c%s", len ? " " : "",
                                "+-?"[w.type], w.address);
    return str_of(text);
}

static void append(void *user, struct str piece)
{
    char **all = user, *longer = str_fmt("%s%.*s", *all, STR_ARG(piece));

    free(*all);
    *all = longer;
}

// As it is told, which is what the value says.
static char *status_text(struct flow_collector *c, int64_t ms)
{
    char *text = str_fmt("%s", "");
    json_t *status = flow_collector_status(c, NULL), *told;

    flow_collector_tell(c, at(ms), append, &text);
    told = json_loads(text, 0, NULL);
    CHECK(told && json_equal(told, status));
    json_decref(told);
    json_decref(status);
    return text;
}

static void ignore(void *user, struct str piece)
{
    *(size_t *)user += piece.len;
}

// How long what is told is.
static size_t tell(struct flow_collector *c, int64_t ms)
{
    size_t len = 0;

    flow_collector_tell(c, at(ms), ignore, &len);
    return len;
}

#define CHECK_STATUS(c, ms, want)                                                                  \
    do {                                                                                           \
        char *check_text = status_text(c, ms);                                                     \
                                                                                                   \
        CHECK_STR(str_of(check_text), want);                                                       \
        free(check_text);                                                                          \
    } while (0)

static const char NOTHING[] = "{\"addresses\":[],\"siteStatus\":[]}";

static const char SMALL[] =
    "{\"addresses\":[{\"name\":\"db\",\"startTime\":0,\"endTime\":0,\"protocol\":\"tcp\","
    "\"listenerCount\":1,\"connectorCount\":0}],\"siteStatus\":[{\"site\":{\"identity\":\"site-a\","
    "\"name\":\"a\"},\"routerStatus\":[{\"router\":{\"name\":\"0/A\",\"mode\":\"interior\"},"
    "\"links\":[],\"routerAccess\":[],\"listeners\":[{\"name\":\"db\",\"destHost\":\"127.0.0.1\","
    "\"destPort\":\"1024\",\"protocol\":\"tcp\",\"address\":\"db\"}],\"connectors\":[]}]}]}";

// ----------------------------------------------------------------------------------------- status

TEST(routers_as_they_are_found_in_the_field_are_understood)
{
    struct flow_collector *c = flow_collector_new(at(0));
    struct words m;

    flow_collector_hear(c, "mc/sfe.all",
                        (struct str){(const char *)captured_beacon, sizeof(captured_beacon)},
                        at(0));
    CHECK_STR(wants(c), "+mc/sfe.all +mc/sfe.+g_Ac:0");
    flow_collector_hear(c, "mc/sfe.+g_Ac:0",
                        (struct str){(const char *)captured_heartbeat, sizeof(captured_heartbeat)},
                        at(1));
    CHECK_STR(wants(c), "?sfe.+g_Ac:0");
    flow_collector_hear(c, "mc/sfe.+g_Ac:0",
                        (struct str){(const char *)captured_records, sizeof(captured_records)},
                        at(2));
    // This one's environment did not say which site it belongs to.
    CHECK_STATUS(
        c, 2,
        "{\"addresses\":[],\"siteStatus\":[{\"site\":{\"identity\":\"+g_Ac:1\",\"name\":"
        "\"site-a\",\"namespace\":\"ns-a\",\"platform\":\"linux\",\"siteVersion\":\"2.0\"},"
        "\"routerStatus\":null}]}");
    begin_records(&m);
    put_record(&m, FLOW_ROUTER, "+g_Ac:0", FLOW_PARENT, "+g_Ac:1", 0);
    hear_records(c, "+g_Ac:0", &m, 3);
    CHECK_STATUS(
        c, 3,
        "{\"addresses\":[{\"name\":\"echo:9090\",\"startTime\":0,\"endTime\":0,\"protocol\":"
        "\"tcp\","
        "\"listenerCount\":1,\"connectorCount\":0}],\"siteStatus\":[{\"site\":{\"identity\":"
        "\"+g_Ac:1\",\"name\":\"site-a\",\"namespace\":\"ns-a\",\"platform\":\"linux\","
        "\"siteVersion\":\"2.0\"},\"routerStatus\":[{\"router\":{\"name\":\"0/RTR-A\",\"mode\":"
        "\"interior\"},\"links\":[],\"routerAccess\":[{\"identity\":\"+g_Ac:2\"},{\"identity\":"
        "\"+g_Ac:3\"}],\"listeners\":[{\"name\":\"echo-l\",\"destHost\":\"127.0.0.1\",\"destPort\":"
        "\"34010\",\"protocol\":\"tcp\",\"address\":\"echo:9090\"}],\"connectors\":[]}]}]}");
    flow_collector_free(c);
}

// Two sites as controllers and routers of a cluster tell of them, in messages of their own.
enum { MESSAGES = 7 };

static const char *say(struct words *m, int i)
{
    static const char *const sources[MESSAGES] = {"site-e",  "site-w",  "aaaaa:0", "aaaaa:0",
                                                  "aaaaa:0", "bbbbb:0", "bbbbb:0"};

    begin_records(m);
    if (i == 0)
        put_record(m, FLOW_SITE, "site-e", FLOW_NAME, "east", FLOW_NAMESPACE, "e", FLOW_PLATFORM,
                   "kubernetes", FLOW_BUILD_VERSION, "2.2.1", 0);
    if (i == 0)
        put_record(m, FLOW_PROCESS, "pod-1", FLOW_PARENT, "site-e", FLOW_NAME, "backend-7d",
                   FLOW_SOURCE_HOST, "10.1.2.3", FLOW_MODE, "external", 0);
    if (i == 1)
        put_record(m, FLOW_SITE, "site-w", FLOW_NAME, "west", 0);
    if (i == 2)
        put_record(m, FLOW_ROUTER, "aaaaa:0", FLOW_PARENT, "site-w", FLOW_NAME, "0/west", FLOW_MODE,
                   "interior", FLOW_IMAGE_NAME, "skupper-router", FLOW_IMAGE_VERSION, "3.4",
                   FLOW_HOST_NAME, "pod-w", FLOW_NAMESPACE, "w", 0);
    if (i == 3)
        put_record(m, FLOW_LINK, "aaaaa:2", FLOW_PARENT, "aaaaa:0", FLOW_NAME, "to-east",
                   FLOW_LINK_COST, UINT64_C(1), FLOW_OPER_STATUS, "up", FLOW_ROLE, "inter-router",
                   FLOW_PEER, "bbbbb:1", FLOW_OCTETS, UINT64_C(77), 0);
    for (int k = 9; i == 4 && k <= 10; k++)
        put_listener(m, k == 9 ? "aaaaa:9" : "aaaaa:10", "aaaaa:0", k == 9 ? "web" : "backend");
    if (i == 5)
        put_record(m, FLOW_ROUTER, "bbbbb:0", FLOW_PARENT, "site-e", FLOW_NAME, "0/east", FLOW_MODE,
                   "edge", 0);
    if (i == 5)
        put_record(m, FLOW_ROUTER_ACCESS, "bbbbb:1", FLOW_PARENT, "bbbbb:0", FLOW_NAME, "ir", 0);
    for (int k = 0; i == 6 && k < 3; k++)
        put_record(m, FLOW_CONNECTOR,
                   k == 0   ? "bbbbb:5"
                   : k == 1 ? "bbbbb:6"
                            : "bbbbb:7",
                   FLOW_PARENT, "bbbbb:0", FLOW_DESTINATION_HOST, k == 2 ? "10.9.9.9" : "10.1.2.3",
                   FLOW_DESTINATION_PORT, "8080", FLOW_PROTOCOL, "tcp", FLOW_VAN_ADDRESS,
                   k == 2 ? "web" : "backend", k == 0 ? FLOW_PROCESS_ID : FLOW_NAME,
                   k == 0 ? "pod-1" : "c", 0);
    return sources[i];
}

static const char BOTH[] =
    "{\"addresses\":[{\"name\":\"backend\",\"startTime\":0,\"endTime\":0,\"protocol\":\"tcp\","
    "\"listenerCount\":1,\"connectorCount\":2},{\"name\":\"web\",\"startTime\":0,\"endTime\":0,"
    "\"protocol\":\"tcp\",\"listenerCount\":1,\"connectorCount\":1}],\"siteStatus\":["
    "{\"site\":{\"identity\":\"site-e\",\"name\":\"east\",\"namespace\":\"e\",\"platform\":"
    "\"kubernetes\",\"siteVersion\":\"2.2.1\"},\"routerStatus\":[{\"router\":{\"name\":\"0/east\","
    "\"mode\":\"edge\"},\"links\":[],\"routerAccess\":[{\"identity\":\"bbbbb:1\"}],\"listeners\":[]"
    ","
    "\"connectors\":[{\"destHost\":\"10.1.2.3\",\"destPort\":\"8080\",\"address\":\"backend\","
    "\"process\":\"pod-1\",\"target\":\"backend-7d\"},{\"destHost\":\"10.1.2.3\",\"destPort\":"
    "\"8080\",\"address\":\"backend\",\"process\":\"pod-1\",\"target\":\"backend-7d\"},"
    "{\"destHost\":\"10.9.9.9\",\"destPort\":\"8080\",\"address\":\"web\"}]}]},"
    "{\"site\":{\"identity\":\"site-w\",\"name\":\"west\"},\"routerStatus\":[{\"router\":{\"name\":"
    "\"0/west\",\"namespace\":\"w\",\"mode\":\"interior\",\"imageName\":\"skupper-router\","
    "\"imageVersion\":\"3.4\",\"hostname\":\"pod-w\"},\"links\":[{\"name\":\"to-east\","
    "\"linkCost\":"
    "1,\"status\":\"up\",\"role\":\"inter-router\",\"peer\":\"bbbbb:1\"}],\"routerAccess\":[],"
    "\"listeners\":[{\"name\":\"backend\",\"destHost\":\"127.0.0.1\",\"destPort\":\"1024\","
    "\"protocol\":\"tcp\",\"address\":\"backend\"},{\"name\":\"web\",\"destHost\":\"127.0.0.1\","
    "\"destPort\":\"1024\",\"protocol\":\"tcp\",\"address\":\"web\"}],\"connectors\":[]}]}]}";

TEST(the_order_of_arrival_does_not_matter)
{
    struct rng rng;

    rng_init(&rng, 11);
    for (int round = 0; round < 200; round++) {
        struct flow_collector *c = flow_collector_new(at(0));
        int order[MESSAGES];

        hear_beacon(c, "aaaaa:0", "ROUTER", 0);
        hear_beacon(c, "bbbbb:0", "ROUTER", 0);
        hear_beacon(c, "site-e", "CONTROLLER", 0);
        hear_beacon(c, "site-w", "CONTROLLER", 0);
        for (int i = 0; i < MESSAGES; i++) {
            int k = (int)rng_below(&rng, (uint32_t)i + 1);

            order[i] = order[k];
            order[k] = i;
        }
        for (int i = 0; i < MESSAGES; i++) {
            struct words m;
            const char *source = say(&m, order[i]);

            hear_records(c, source, &m, 1);
        }
        CHECK_STATUS(c, 1, BOTH);
        flow_collector_free(c);
    }
}

TEST(records_change_and_end)
{
    struct flow_collector *c = flow_collector_new(at(0));
    struct words m;
    char *text;

    hear_small_site(c, 0);
    CHECK_STATUS(c, 0, SMALL);
    begin_records(&m);
    put_record(&m, FLOW_LISTENER, "aaaaa:4", FLOW_VAN_ADDRESS, "db2", 0);
    hear_records(c, "aaaaa:0", &m, 1);
    text = status_text(c, 1);
    CHECK(strstr(text, "\"address\":\"db2\"") && strstr(text, "\"destPort\":\"1024\""));
    free(text);
    begin_records(&m);
    put_record(&m, FLOW_LISTENER, "aaaaa:4", FLOW_END_TIME, UINT64_C(9), 0);
    hear_records(c, "aaaaa:0", &m, 2);
    text = status_text(c, 2);
    CHECK(strstr(text, "\"listeners\":[]") && strstr(text, "\"addresses\":[]"));
    free(text);
    flow_collector_free(c);
}

TEST(a_controller_knows_better_than_a_router_what_a_site_is_called)
{
    struct flow_collector *c = flow_collector_new(at(0));
    struct words m;
    char *text;

    hear_beacon(c, "site-a", "CONTROLLER", 0);
    begin_records(&m);
    put_record(&m, FLOW_SITE, "site-a", FLOW_NAME, "proper name", 0);
    hear_records(c, "site-a", &m, 0);
    hear_small_site(c, 0);
    text = status_text(c, 1);
    CHECK(strstr(text, "\"name\":\"proper name\"") && !strstr(text, "\"name\":\"a\""));
    free(text);
    flow_collector_free(c);
}

static void put_record_of(struct words *m, struct str id, struct str parent)
{
    struct amqp_mark map = amqp_begin_map(&m->w, true);

    amqp_put_uint(&m->w, FLOW_RECORD_TYPE);
    amqp_put_uint(&m->w, FLOW_LISTENER);
    amqp_put_uint(&m->w, FLOW_IDENTITY);
    amqp_put_string(&m->w, id);
    amqp_put_uint(&m->w, FLOW_PARENT);
    amqp_put_string(&m->w, parent);
    amqp_end(&m->w, map, 6);
    m->count++;
}

TEST(text_that_is_none_does_no_harm)
{
    struct flow_collector *c = flow_collector_new(at(0));
    struct flow_collector_stats stats;
    struct words m;
    char *text;

    hear_small_site(c, 0);
    begin_records(&m);
    put_listener(&m, "aaaaa:5", "aaaaa:0", "\xff\xfe");
    hear_records(c, "aaaaa:0", &m, 1);
    text = status_text(c, 2);
    CHECK(strstr(text, "\"name\":\"?\?\"") != NULL);
    free(text);
    begin_records(&m);
    put_record_of(&m, STR("aaaaa:\0x"), STR("aaaaa:0\0"));
    hear_records(c, "aaaaa:0", &m, 3);
    flow_collector_tick(c, at(FLOW_SILENT_MS + 3));
    flow_collector_stats(c, &stats);
    CHECK_EQ(stats.octets, 0);
    flow_collector_free(c);
}

// ---------------------------------------------------------------------------------------- sources

TEST(sources_are_found_listened_to_and_asked)
{
    struct flow_collector *c = flow_collector_new(at(0));

    CHECK_STR(wants(c), "+mc/sfe.all");
    hear_beacon(c, "aaaaa:0", "ROUTER", 0);
    CHECK_STR(wants(c), "+mc/sfe.aaaaa:0");
    hear_beacon(c, "site-a", "CONTROLLER", 0);
    CHECK_STR(wants(c), "+mc/sfe.site-a +mc/sfe.site-a.heartbeats");
    hear_heartbeat(c, "site-a", 100);
    CHECK_STR(wants(c), "?sfe.site-a");
    hear_heartbeat(c, "site-a", 200);
    CHECK_STR(wants(c), "");
    flow_collector_tick(c, at(999));
    CHECK_STR(wants(c), "");
    flow_collector_tick(c, at(1000));
    CHECK_STR(wants(c), "?sfe.aaaaa:0"); // nothing was heard of it
    flow_collector_free(c);
}

TEST(who_does_not_answer_is_asked_again_ever_less_often)
{
    struct flow_collector *c = flow_collector_new(at(0));
    int asked = 0;

    wants(c);
    hear_beacon(c, "aaaaa:0", "ROUTER", 0);
    wants(c);
    for (int64_t ms = 0; ms <= 300000; ms += 1000) {
        if (ms % 2000 == 0)
            hear_heartbeat(c, "aaaaa:0", ms);
        flow_collector_tick(c, at(ms));
        asked += wants(c).len > 0;
    }
    CHECK(asked >= 7 && asked <= 9); // at 0, 5, 15, 35, 75, 135, … s
    flow_collector_free(c);
}

TEST(a_lost_source_is_kept_for_a_minute_and_then_forgotten)
{
    struct flow_collector *c = flow_collector_new(at(0));

    hear_small_site(c, 0);
    wants(c);
    flow_collector_tick(c, at(59999));
    CHECK_STATUS(c, 59999, SMALL);
    CHECK(!mono_before(at(60000), flow_collector_deadline(c)));
    flow_collector_tick(c, at(60000));
    CHECK_STATUS(c, 60000, NOTHING);
    CHECK_STR(wants(c), "-mc/sfe.aaaaa:0");
    hear_small_site(c, 70000); // back
    CHECK_STR(wants(c), "+mc/sfe.aaaaa:0 ?sfe.aaaaa:0");
    CHECK_STATUS(c, 70000, SMALL);
    flow_collector_free(c);
}

TEST(a_source_that_comes_back_in_time_shows_no_gap_and_is_asked_what_was_missed)
{
    struct flow_collector *c = flow_collector_new(at(0));
    struct words m;
    char *text;

    hear_small_site(c, 0);
    begin_records(&m);
    put_listener(&m, "aaaaa:5", "aaaaa:0", "old"); // will end while we do not hear it
    hear_records(c, "aaaaa:0", &m, 1);
    wants(c);
    flow_collector_tick(c, at(40000));
    hear_heartbeat(c, "aaaaa:0", 40000);
    CHECK_STR(wants(c), "?sfe.aaaaa:0");
    hear_small_site(c, 40500); // the answer
    text = status_text(c, 41000);
    CHECK(strstr(text, "\"old\"") != NULL); // it may still be told
    free(text);
    flow_collector_tick(c, at(50000));
    CHECK_STATUS(c, 50000, SMALL);
    flow_collector_free(c);
}

TEST(what_is_not_answered_is_not_forgotten)
{
    struct flow_collector *c = flow_collector_new(at(0));

    hear_small_site(c, 0);
    hear_heartbeat(c, "aaaaa:0", 30000); // asked, and only heartbeats come
    for (int64_t ms = 32000; ms < 120000; ms += 2000) {
        hear_heartbeat(c, "aaaaa:0", ms);
        flow_collector_tick(c, at(ms));
    }
    CHECK_STATUS(c, 120000, SMALL);
    flow_collector_free(c);
}

TEST(a_router_that_restarts_takes_the_place_of_its_former_self)
{
    struct flow_collector *c = flow_collector_new(at(0));
    struct words m;

    hear_small_site(c, 0);
    hear_beacon(c, "zzzzz:0", "ROUTER", 5000);
    begin_records(&m);
    put_record(&m, FLOW_SITE, "site-a", FLOW_NAME, "a", 0);
    put_router(&m, "zzzzz:0", "0/A", "site-a", 6);
    put_listener(&m, "zzzzz:3", "zzzzz:0", "db");
    hear_records(c, "zzzzz:0", &m, 5000);
    CHECK_STATUS(c, 5000, SMALL); // one router, one listener
    for (int64_t ms = 10000; ms <= 70000; ms += 10000) {
        hear_heartbeat(c, "zzzzz:0", ms);
        flow_collector_tick(c, at(ms));
        CHECK_STATUS(c, ms, SMALL);
    }
    flow_collector_free(c);
}

TEST(a_router_that_restarts_under_its_old_identity_has_lost_what_it_had)
{
    struct flow_collector *c = flow_collector_new(at(0));
    struct words m;
    char *text;

    hear_small_site(c, 0);
    wants(c);
    begin_records(&m);
    put_router(&m, "aaaaa:0", "0/A", "site-a", 99);
    hear_records(c, "aaaaa:0", &m, 5000);
    CHECK_STR(wants(c), "?sfe.aaaaa:0");
    text = status_text(c, 5000);
    CHECK(!strstr(text, "db"));
    free(text);
    flow_collector_free(c);
}

TEST(a_new_connection_asks_for_everything_and_forgets_nothing)
{
    struct flow_collector *c = flow_collector_new(at(0));

    hear_small_site(c, 0);
    wants(c);
    flow_collector_restart(c, at(50000));
    CHECK_STR(wants(c), "+mc/sfe.all +mc/sfe.aaaaa:0");
    hear_heartbeat(c, "aaaaa:0", 50100);
    CHECK_STR(wants(c), "?sfe.aaaaa:0");
    flow_collector_tick(c, at(80000));
    CHECK_STATUS(c, 80000, SMALL);
    flow_collector_free(c);
}

// ------------------------------------------------------------------------------------------- news

TEST(news_are_told_at_most_once_a_second_and_only_when_something_changed)
{
    struct flow_collector *c = flow_collector_new(at(0));
    struct words m;

    flow_collector_tick(c, at(0));
    CHECK(!flow_collector_has_news(c));
    hear_small_site(c, 0);
    CHECK_EQ(flow_collector_deadline(c).ns, at(0).ns);
    flow_collector_tick(c, at(0));
    CHECK(flow_collector_has_news(c));
    tell(c, 0);
    CHECK(!flow_collector_has_news(c));
    hear_small_site(c, 100); // the same
    begin_records(&m);
    put_record(&m, FLOW_LISTENER, "aaaaa:4", FLOW_COUNT_L4, UINT64_C(5), 0);
    hear_records(c, "aaaaa:0", &m, 200);
    flow_collector_tick(c, at(5000));
    CHECK(!flow_collector_has_news(c));
    tell(c, 5000);
    begin_records(&m);
    put_listener(&m, "aaaaa:6", "aaaaa:0", "web");
    hear_records(c, "aaaaa:0", &m, 5100);
    flow_collector_tick(c, at(5999));
    CHECK(!flow_collector_has_news(c));
    CHECK(!mono_before(at(6000), flow_collector_deadline(c)));
    flow_collector_tick(c, at(6000));
    CHECK(flow_collector_has_news(c));
    flow_collector_free(c);
}

// ----------------------------------------------------------------------------------------- limits

// `count` listeners and connectors of one router, of services that all have or that nobody shares.
static void hear_services(struct flow_collector *c, int router, int count, bool is_shared)
{
    char source[32], id[32], name[32], host[32];
    struct words m;

    snprintf(host, sizeof(host), "127.0.1.%d", router); // each has an address of its own
    snprintf(source, sizeof(source), "r%04d:0", router);
    hear_beacon(c, source, "ROUTER", 0);
    begin_records(&m);
    snprintf(name, sizeof(name), "router-%d", router);
    put_record(&m, FLOW_SITE, "site", FLOW_NAME, "s", 0);
    put_router(&m, source, name, "site", 1);
    for (int i = 0; i < count; i++) {
        snprintf(id, sizeof(id), "r%04d:%d", router, 2 * i + 1);
        snprintf(name, sizeof(name), "service-%d-%d", is_shared ? 0 : router, i);
        put_listener_at(&m, id, source, name, host);
        snprintf(id, sizeof(id), "r%04d:%d", router, 2 * i + 2);
        put_record(&m, FLOW_CONNECTOR, id, FLOW_PARENT, source, FLOW_DESTINATION_HOST, "127.0.0.1",
                   FLOW_DESTINATION_PORT, "5432", FLOW_PROTOCOL, "tcp", FLOW_VAN_ADDRESS, name, 0);
        if (i % 20 == 19) {
            hear_records(c, source, &m, 0);
            begin_records(&m);
        }
    }
    hear_records(c, source, &m, 0);
}

// More hosts than are kept beside the records.
TEST(each_listener_is_told_with_its_own_host)
{
    enum { COUNT = TEXTS_MAX + 5 };
    struct flow_collector *c = flow_collector_new(at(0));
    json_t *status, *listeners;
    char id[32], host[32];
    struct words m;

    hear_small_site(c, 0);
    for (int round = 0; round < 2; round++) {
        begin_records(&m);
        for (int i = 0; i < COUNT; i++) {
            snprintf(id, sizeof(id), "aaaaa:%d", 100 + i);
            snprintf(host, sizeof(host), "10.0.%d.%d", round, i);
            put_listener_at(&m, id, "aaaaa:0", "web", host);
        }
        hear_records(c, "aaaaa:0", &m, 0);
    }
    status = flow_collector_status(c, NULL);
    listeners = json_object_get(
        json_array_get(json_object_get(json_array_get(json_object_get(status, "siteStatus"), 0),
                                       "routerStatus"),
                       0),
        "listeners");
    for (int i = 0; i < COUNT; i++) { // "aaaaa:100" is the first of all identities
        snprintf(host, sizeof(host), "10.0.1.%d", i);
        CHECK_STR(str_of(json_string_value(
                      json_object_get(json_array_get(listeners, (size_t)i), "destHost"))),
                  host);
    }
    json_decref(status);
    flow_collector_free(c);
}

static size_t allocated(void)
{
    return mallinfo2().uordblks;
}

static size_t most, *least; // allocated while it was told, and before

static void look(void *user, struct str piece)
{
    (void)user, (void)piece;
    if (allocated() - *least > most)
        most = allocated() - *least;
}

// What a network costs, and what its status costs while it is told. Allocated octets are 0 under a
// sanitizer, which has memory of its own.
static void check_memory(const char *what, int routers, int services, bool is_shared,
                         size_t kept_max)
{
    struct flow_collector *c;
    struct flow_collector_stats stats;
    size_t before = allocated(), kept;

    c = flow_collector_new(at(0));
    for (int i = 0; i < routers; i++)
        hear_services(c, i, services, is_shared);
    while (wants(c).len > 0)
        ;
    kept = allocated() - before;
    least = &before;
    most = 0;
    flow_collector_tell(c, at(0), look, NULL);
    flow_collector_stats(c, &stats);
    print_message("%s: %zu octets, counted %zu, while the status is told %zu\n", what, kept,
                  stats.octets, most);
    CHECK_EQ(stats.sources, routers);
    CHECK_EQ(stats.records, routers * (2 * services + 2));
    CHECK_EQ(stats.dropped + stats.unread, 0);
    CHECK(kept < kept_max && most <= 2 * kept);
    CHECK(kept < 2 * stats.octets);
    flow_collector_free(c);
    // What malloc keeps at hand, up to seven pieces of each small size, counts as allocated.
    CHECK(allocated() < before + 128 * 1024);
}

TEST(two_hundred_routers_with_fifty_services_each_take_less_than_3_mib)
{
    check_memory("200 routers, 50 services each", 200, 50, false, 3 << 20);
}

TEST(services_that_all_sites_share_cost_little_for_each_of_them)
{
    check_memory("50 routers, 1000 shared services", 50, 1000, true, 9 << 18);
}

static void hear_one_more(struct flow_collector *c, int number, int64_t ms)
{
    struct words m;
    char id[32];

    snprintf(id, sizeof(id), "r0000:%d", number);
    begin_records(&m);
    put_listener(&m, id, "r0000:0", "new");
    hear_records(c, "r0000:0", &m, ms);
}

TEST(large_networks_are_told_of_less_often)
{
    struct flow_collector *c = flow_collector_new(at(0));

    for (int i = 0; i < 50; i++)
        hear_services(c, i, 500, true);
    tell(c, 0);
    hear_one_more(c, 99999, 10);
    flow_collector_tick(c, at(6000)); // 50,100 records: 5 s more than a second
    CHECK(!flow_collector_has_news(c));
    flow_collector_tick(c, at(6100));
    CHECK(flow_collector_has_news(c));
    flow_collector_free(c);
}

TEST(a_large_network_is_told_of_when_it_is_quiet_or_patience_ends)
{
    struct flow_collector *c = flow_collector_new(at(0));
    int64_t ms = 10000;

    for (int i = 0; i < 50; i++)
        hear_services(c, i, 500, true);
    tell(c, 0);
    hear_heartbeat(c, "r0000:0", ms);
    hear_one_more(c, 99998, ms);
    flow_collector_tick(c, at(ms + 1001));
    CHECK(!flow_collector_has_news(c));
    CHECK(!mono_before(at(ms + 1010), flow_collector_deadline(c)));
    flow_collector_tick(c, at(ms + 1010)); // a second of quiet
    CHECK(flow_collector_has_news(c));
    tell(c, ms + 1010);
    for (ms = 20000; !flow_collector_has_news(c); ms += 500) {
        hear_one_more(c, 100000 + (int)ms, ms); // never quiet
        flow_collector_tick(c, at(ms));
    }
    CHECK(ms >= 33000 && ms <= 35000);
    flow_collector_free(c);
}

TEST(sources_and_what_they_may_be_called_have_limits)
{
    static const char *const ids[] = {"", "a:0"};
    struct flow_collector *c = flow_collector_new(at(0));
    struct flow_collector_stats stats;
    char id[32];

    hear_beacon(c, ids[0], "ROUTER", 0);
    flow_collector_stats(c, &stats);
    CHECK_EQ(stats.sources, 0);
    CHECK_EQ(stats.unread, 1);
    for (int i = 0; i < FLOW_SOURCES_MAX + 5; i++) {
        snprintf(id, sizeof(id), "s%d:0", i);
        hear_beacon(c, id, "ROUTER", 0);
    }
    flow_collector_stats(c, &stats);
    CHECK_EQ(stats.sources, FLOW_SOURCES_MAX);
    CHECK_EQ(stats.unread, 6);
    flow_collector_hear(c, "mc/sfe.all", STR("junk"), at(0));
    flow_collector_stats(c, &stats);
    CHECK_EQ(stats.unread, 7);
    flow_collector_free(c);
}

TEST(records_have_a_limit_and_room_is_given_back)
{
    struct flow_collector *c = flow_collector_new(at(0));
    struct flow_collector_stats stats;

    for (int i = 0; i < 135; i++)
        hear_services(c, i, 1000, true);
    flow_collector_stats(c, &stats);
    CHECK_EQ(stats.records, FLOW_KEPT_MAX);
    CHECK_EQ(stats.dropped, 135 * 2002 - FLOW_KEPT_MAX);
    flow_collector_tick(c, at(FLOW_SILENT_MS));
    flow_collector_stats(c, &stats);
    CHECK_EQ(stats.records, 0);
    CHECK_EQ(stats.sources, 0);
    CHECK_EQ(stats.octets, 0);
    flow_collector_free(c);
}

TEST(identities_are_sorted_as_texts)
{
    static const uint32_t numbers[] = {0,   1,   9,   10,  11,  19,   90,       99,
                                       100, 101, 110, 199, 900, 1000, 123456789};
    enum { COUNT = sizeof(numbers) / sizeof(numbers[0]) };

    for (int i = 0; i < COUNT; i++) {
        for (int k = 0; k < COUNT; k++) {
            char a[16], b[16];
            int want;

            snprintf(a, sizeof(a), "%u", numbers[i]);
            snprintf(b, sizeof(b), "%u", numbers[k]);
            want = strcmp(a, b);
            CHECK_EQ_FOR(a,
                         kept_order(&(struct kept){.number = numbers[i]},
                                    &(struct kept){.number = numbers[k]}),
                         want < 0 ? -1 : want > 0);
        }
    }
}

TEST_MAIN(CASE(routers_as_they_are_found_in_the_field_are_understood),
          CASE(the_order_of_arrival_does_not_matter), CASE(records_change_and_end),
          CASE(a_controller_knows_better_than_a_router_what_a_site_is_called),
          CASE(text_that_is_none_does_no_harm), CASE(sources_are_found_listened_to_and_asked),
          CASE(who_does_not_answer_is_asked_again_ever_less_often),
          CASE(a_lost_source_is_kept_for_a_minute_and_then_forgotten),
          CASE(a_source_that_comes_back_in_time_shows_no_gap_and_is_asked_what_was_missed),
          CASE(what_is_not_answered_is_not_forgotten),
          CASE(a_router_that_restarts_takes_the_place_of_its_former_self),
          CASE(a_router_that_restarts_under_its_old_identity_has_lost_what_it_had),
          CASE(a_new_connection_asks_for_everything_and_forgets_nothing),
          CASE(news_are_told_at_most_once_a_second_and_only_when_something_changed),
          CASE(each_listener_is_told_with_its_own_host),
          CASE(two_hundred_routers_with_fifty_services_each_take_less_than_3_mib),
          CASE(services_that_all_sites_share_cost_little_for_each_of_them),
          CASE(large_networks_are_told_of_less_often),
          CASE(a_large_network_is_told_of_when_it_is_quiet_or_patience_ends),
          CASE(sources_and_what_they_may_be_called_have_limits),
          CASE(records_have_a_limit_and_room_is_given_back), CASE(identities_are_sorted_as_texts))
