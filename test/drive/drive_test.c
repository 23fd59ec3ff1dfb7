// SPDX-License-Identifier: Apache-2.0
#include "router.h"

#include "site/site.h"

#define LISTENER(name, port)                                                                       \
    "['tcpListener', {'name': '" name "', 'host': '127.0.0.1', 'port': '" port "', 'address': "    \
    "'a'}]"
#define CONNECTOR "['connector', {'name': 'up', 'role': 'inter-router', 'host': 'h', 'port': '1'}]"
#define ROUTER "['router', {'id': 'R', 'mode': 'interior'}]"
#define CONFIG "[" ROUTER ", " CONNECTOR ", " LISTENER("l1", "1001") ", " LISTENER("l2", "1002") "]"

static int count_of(struct rig *r, const char *type)
{
    return table_of(r, type)->count;
}

static const char *told(struct rig *r, const char *key, const char *what)
{
    return site_text(json_object_get(drive_entities(r->drive), key), what);
}

// An entity that nobody asked for: names and values in turn, up to NULL.
static void make(struct rig *r, const char *type, const char *const *attributes)
{
    const struct table *t = table_of(r, type);
    struct mgmt_entity *e = mgmt_entity_new(t->provider.type);
    int creates = r->creates;

    for (; attributes[0]; attributes += 2) {
        struct amqp_val *text = amqp_val_string(str_of(attributes[1]));

        CHECK_EQ(mgmt_entity_set(e, attributes[0], text, MGMT_CREATE, NULL), 0);
        amqp_val_free(text);
    }
    CHECK_EQ(create_item(t->provider.user, e, NULL), 0);
    r->creates = creates;
    mgmt_entity_free(e);
}

// Has its router, as one that has just been started.
static void start_router(struct rig *r, const char *id)
{
    make(r, "router", (const char *const[]){"id", id, "mode", "interior", NULL});
}

// A router brought to CONFIG.
static void begin(struct rig *r)
{
    rig_begin(r);
    start_router(r, "R");
    set_place(r);
    want(r, CONFIG);
    UNTIL(r, drive_is_settled(r->drive));
}

TEST(a_router_is_read_first_and_then_brought_to_what_is_wanted)
{
    struct rig r;

    begin(&r);
    CHECK(drive_is_up(r.drive));
    CHECK_STR(str_of(drive_problem(r.drive)), "");
    CHECK_EQ(r.opened, 1);
    CHECK_EQ(r.reads, 1);
    CHECK_EQ(r.read_count, 1); // of the router itself
    CHECK_EQ(r.creates, 3);
    CHECK_EQ(r.updates + r.removes, 0);
    CHECK_EQ(count_of(&r, "tcpListener"), 2);
    CHECK_EQ(count_of(&r, "connector"), 1);
    CHECK_EQ(drive_operation_count(r.drive), 3);
    CHECK_EQ(json_array_size(drive_applied(r.drive)), 4);
    CHECK(!drive_needs_restart(r.drive));
    rig_end(&r);
}

TEST(nothing_is_changed_before_something_is_wanted)
{
    struct rig r;

    rig_begin(&r);
    start_router(&r, "R");
    set_place(&r);
    UNTIL(&r, r.looks > 0);
    CHECK(drive_is_up(r.drive));
    CHECK(!drive_is_settled(r.drive));
    CHECK_EQ(r.creates + r.updates + r.removes, 0);
    rig_end(&r);
}

TEST(only_what_differs_is_touched)
{
    struct rig r;
    const struct mgmt_entity *kept;

    begin(&r);
    kept = item_of(&r, "tcpListener", "l1")->entity;
    want(&r, "[" ROUTER ", " CONNECTOR ", " LISTENER("l1", "1001") ", " LISTENER("l3", "1003") "]");
    CHECK(!drive_is_settled(r.drive));
    UNTIL(&r, drive_is_settled(r.drive));
    CHECK_EQ(r.creates, 4);
    CHECK_EQ(r.removes, 1);
    CHECK(!item_of(&r, "tcpListener", "l2"));
    CHECK(item_of(&r, "tcpListener", "l3"));
    CHECK(item_of(&r, "tcpListener", "l1")->entity == kept);
    want(&r, "[" ROUTER ", " CONNECTOR ", " LISTENER("l1", "1001") ", " LISTENER("l3", "1003") "]");
    CHECK(drive_is_settled(r.drive)); // the same again
    CHECK_EQ(drive_operation_count(r.drive), 5);
    rig_end(&r);
}

TEST(what_is_folded_while_it_rests_is_the_same_when_it_wakes)
{
    struct rig r;

    begin(&r);
    UNTIL(&r, r.looks > 0);
    drive_rest(r.drive);
    want(&r, CONFIG);
    CHECK(drive_is_settled(r.drive));
    drive_rest(r.drive);
    want(&r, "[" ROUTER ", " CONNECTOR ", " LISTENER("l1", "1001") "]");
    UNTIL(&r, drive_is_settled(r.drive));
    CHECK_EQ(r.creates, 3);
    CHECK_EQ(r.removes, 1);
    drive_rest(r.drive);
    CHECK_EQ(json_array_size(drive_applied(r.drive)), 3);
    rig_end(&r);
}

TEST(a_refusal_is_told_and_not_repeated_until_something_else_is_wanted_there)
{
    struct rig r;

    rig_begin(&r);
    start_router(&r, "R");
    r.refused = "l2";
    set_place(&r);
    want(&r, CONFIG);
    UNTIL(&r, drive_is_settled(r.drive)); // all that could be done has been
    CHECK(strstr(told(&r, "tcpListener/l2", "error"), "the port is taken"));
    CHECK_STR(str_of(told(&r, "tcpListener/l1", "error")), "");
    CHECK_EQ(r.creates, 3);
    want(&r, "[" ROUTER ", " CONNECTOR ", " LISTENER("l2", "1002") "]");
    UNTIL(&r, drive_is_settled(r.drive));
    CHECK_EQ(r.removes, 1);
    CHECK_EQ(r.creates, 3);
    r.refused = NULL;
    want(&r, "[" ROUTER ", " CONNECTOR ", " LISTENER("l2", "1005") "]");
    UNTIL(&r, drive_is_settled(r.drive));
    CHECK_EQ(r.creates, 4);
    CHECK_STR(str_of(told(&r, "tcpListener/l2", "error")), "");
    rig_end(&r);
}

// It was done, and nobody was told: asked for again it would be refused for ever.
TEST(after_an_answer_that_did_not_come_the_router_is_read_again)
{
    struct rig r;
    int queries;

    rig_begin_with(&r, 200);
    start_router(&r, "R");
    set_place(&r);
    UNTIL(&r, r.reads == 1 && r.looks > 0);
    queries = table_of(&r, "router")->queries;
    r.is_mute = true;
    want(&r, CONFIG);
    UNTIL(&r, count_of(&r, "tcpListener") == 2 && !drive_is_settled(r.drive));
    UNTIL(&r, table_of(&r, "router")->queries > queries);
    r.is_mute = false;
    UNTIL(&r, drive_is_settled(r.drive));
    CHECK(r.reads > 1);
    CHECK_EQ(r.creates, 3);
    CHECK_EQ(count_of(&r, "tcpListener"), 2);
    CHECK_STR(str_of(told(&r, "tcpListener/l1", "error")), "");
    CHECK_EQ(json_array_size(drive_applied(r.drive)), 4);
    rig_end(&r);
}

TEST(what_was_refused_and_came_otherwise_is_well)
{
    struct rig r;

    rig_begin(&r);
    start_router(&r, "R");
    r.refused = "l2";
    set_place(&r);
    want(&r, CONFIG);
    UNTIL(&r, drive_is_settled(r.drive));
    CHECK(told(&r, "tcpListener/l2", "error")[0]);
    r.refused = NULL;
    make(&r, "tcpListener", // by somebody else
         (const char *const[]){"name", "l2", "host", "127.0.0.1", "port", "1002", "address", "a",
                               NULL});
    UNTIL(&r, r.reads == 2 && drive_is_settled(r.drive));
    CHECK_STR(str_of(told(&r, "tcpListener/l2", "error")), "");
    CHECK_EQ(count_of(&r, "tcpListener"), 2);
    rig_end(&r);
}

TEST(what_has_gone_by_itself_needs_no_removal)
{
    struct rig r;
    struct table *t;

    begin(&r);
    t = table_of(&r, "tcpListener");
    while (t->count > 0)
        forget_item(t, 0);
    want(&r, "[" ROUTER ", " CONNECTOR "]");
    UNTIL(&r, drive_is_settled(r.drive));
    CHECK_EQ(json_array_size(drive_applied(r.drive)), 2);
    CHECK_STR(str_of(told(&r, "tcpListener/l1", "error")), "");
    rig_end(&r);
}

TEST(how_entities_are_is_looked_at_after_a_change)
{
    struct rig r;
    struct item *up;

    begin(&r);
    up = item_of(&r, "connector", "up");
    up->status = "FAILED";
    up->words = "no such host";
    UNTIL(&r, strcmp(told(&r, "connector/up", "connectionStatus"), "FAILED") == 0);
    CHECK_STR(str_of(told(&r, "connector/up", "connectionMsg")), "no such host");
    up->status = "SUCCESS"; // while something is down it is looked at again, unasked
    up->words = "";
    r.changes = 0;
    UNTIL(&r, strcmp(told(&r, "connector/up", "connectionStatus"), "SUCCESS") == 0);
    CHECK_EQ(r.changes, 1);
    rig_end(&r);
}

TEST(what_a_router_reads_at_its_start_needs_a_restart)
{
    struct rig r;

    begin(&r);
    want(&r, "[['router', {'id': 'R', 'mode': 'edge'}], " CONNECTOR "]");
    UNTIL(&r, drive_needs_restart(r.drive));
    rig_end(&r);
}

TEST(a_router_that_was_started_anew_is_brought_to_it_again)
{
    struct rig r;
    char port[16];

    begin(&r);
    snprintf(port, sizeof(port), "%d", net_listener_port(r.listener));
    net_listener_free(r.listener);
    for (int i = 0; i < TABLES; i++)
        while (r.tables[i].count > 0)
            forget_item(&r.tables[i], 0);
    net_stream_reset(r.link.stream, "killed");
    UNTIL(&r, r.closed == 1);
    CHECK(!drive_is_up(r.drive));
    CHECK(!drive_is_settled(r.drive));
    CHECK_EQ(json_object_size(drive_entities(r.drive)), 0);
    UNTIL(&r, strstr(drive_problem(r.drive), "refused"));
    r.creates = r.updates = r.removes = 0;
    start_router(&r, "R");
    listen_for_drive(&r, port);
    UNTIL(&r, drive_is_settled(r.drive));
    CHECK_EQ(r.opened, 2);
    CHECK_EQ(r.creates, 3);
    CHECK_EQ(count_of(&r, "tcpListener"), 2);
    rig_end(&r);
}

TEST(without_a_place_it_goes_nowhere_and_with_the_same_one_it_stays)
{
    struct rig r;

    begin(&r);
    set_place(&r);
    CHECK_EQ(r.closed, 0);
    drive_set_place(r.drive, NULL);
    CHECK_EQ(r.closed, 1);
    CHECK(!drive_is_up(r.drive));
    UNTIL(&r, !r.link.conn);                  // it hung up
    CHECK_EQ(count_of(&r, "tcpListener"), 2); // and left all as it was
    rig_end(&r);
}

TEST_MAIN(CASE(a_router_is_read_first_and_then_brought_to_what_is_wanted),
          CASE(nothing_is_changed_before_something_is_wanted), CASE(only_what_differs_is_touched),
          CASE(what_is_folded_while_it_rests_is_the_same_when_it_wakes),
          CASE(a_refusal_is_told_and_not_repeated_until_something_else_is_wanted_there),
          CASE(after_an_answer_that_did_not_come_the_router_is_read_again),
          CASE(what_was_refused_and_came_otherwise_is_well),
          CASE(what_has_gone_by_itself_needs_no_removal),
          CASE(how_entities_are_is_looked_at_after_a_change),
          CASE(what_a_router_reads_at_its_start_needs_a_restart),
          CASE(a_router_that_was_started_anew_is_brought_to_it_again),
          CASE(without_a_place_it_goes_nowhere_and_with_the_same_one_it_stays))
