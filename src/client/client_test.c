// SPDX-License-Identifier: Apache-2.0
#include "client/rig_test.h"

static uint64_t ask(struct rig *r, const char *operation, const char *type, const char *name)
{
    struct client_request q = {.operation = operation, .type = type, .name = name, .user = r};
    struct why why = {""};
    uint64_t id = client_ask(r->client, &q, r->now, &why);

    CHECK(id != 0);
    return id;
}

static struct client_event next(struct rig *r)
{
    struct client_event ev = {0};

    CHECK(client_next(r->client, &ev));
    return ev;
}

static bool is_quiet(struct rig *r)
{
    struct client_event ev;

    return !client_next(r->client, &ev);
}

// ------------------------------------------------------------------------------------- management

TEST(a_request_is_answered)
{
    struct rig r;
    struct client_event ev;
    uint64_t id;

    rig_open(&r);
    CHECK_STR(client_peer(r.client)->container_id, "R");
    id = ask(&r, "READ", "tcpListener", "db");
    rig_run(&r);
    CHECK_STR(str_of(r.to), "$management");
    CHECK_STR(str_of(r.asked), "{\"operation\": \"READ\", \"type\": "
                               "\"io.skupper.router.tcpListener\", \"name\": \"db\"}");
    ev = next(&r);
    CHECK_EQ(ev.type, CLIENT_ANSWER);
    CHECK(ev.user == &r);
    CHECK_EQ(ev.answer.id, id);
    CHECK_EQ(ev.answer.err, 0);
    CHECK_EQ(ev.answer.status, 200);
    CHECK_STR(str_of(ev.answer.words), "OK");
    CHECK_STR(str_of(json_string_value(json_object_get(ev.answer.value, "name"))), "db");
    CHECK(is_quiet(&r));
    CHECK_EQ(client_request_count(r.client), 0);
    rig_fini(&r);
}

TEST(other_routers_have_addresses_of_their_own)
{
    static const struct {
        const char *router;
        bool is_edge;
        const char *agent, *want;
    } rows[] = {
        {NULL, false, NULL, "$management"},
        {"B", false, NULL, "amqp:/_topo/0/B/$management"},
        {"E", true, NULL, "amqp:/_edge/E/$management"},
        {NULL, false, "doctor", "_local/doctor"},
        {"B", false, "doctor", "amqp:/_topo/0/B/doctor"},
    };
    struct rig r;

    rig_open(&r);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct client_request q = {.operation = "READ",
                                   .router = rows[i].router,
                                   .is_edge = rows[i].is_edge,
                                   .agent = rows[i].agent};

        CHECK(client_ask(r.client, &q, r.now, NULL) != 0);
        rig_run(&r);
        CHECK_STR(str_of(r.to), rows[i].want);
    }
    rig_fini(&r);
}

// Asked by one client and answered by another, which here are one.
static void ask_and_answer(struct rig *r, int status, const char *words, const json_t *value)
{
    struct client_link *sender = client_sender(r->client, NULL, NULL);
    struct client_asked asked;

    ask(r, "EXAMINE", NULL, "west");
    rig_run(r);
    CHECK_EQ(client_read_asked((struct str){(char *)r->kept[0], r->kept_len[0]}, &asked), 0);
    CHECK_STR(asked.operation, "EXAMINE");
    CHECK_STR(asked.name, "west");
    CHECK_EQ(client_answer(sender, &asked, status, words, value), 0);
    rig_run(r);
    CHECK_EQ(r->messages, 1);
    CHECK_STR(str_of(r->to), "amqp:/_topo/0/R/temp.1");
    rig_send(r->replies, amqp_written(&r->in), true);
    rig_run(r);
}

TEST(what_is_asked_is_read_and_answered_by_who_is_asked)
{
    json_t *value = json_pack("{s:[{s:s}]}", "steps", "step", "name");
    struct client_event ev;
    struct rig r;

    rig_open(&r);
    r.is_silent = true;
    ask_and_answer(&r, 200, "OK", value);
    ev = next(&r);
    CHECK_EQ(ev.answer.err, 0);
    CHECK(json_equal(ev.answer.value, value));
    rig_fini(&r);
    rig_open(&r);
    r.is_silent = true;
    ask_and_answer(&r, 404, "there is none", NULL);
    ev = next(&r);
    CHECK_EQ(ev.answer.err, ERR_NOT_FOUND);
    CHECK_STR(str_of(ev.answer.words), "there is none");
    rig_fini(&r);
    json_decref(value);
}

// A request without what an answer needs is none, and neither is a part of one.
TEST(what_is_no_request_is_not_taken_for_one)
{
    struct client_properties rows[] = {
        {.to = STR("here"), .reply_to = STR("there"), .correlation_id = 7},
        {.to = STR("here"), .correlation_id = 7},
        {.to = STR("here"), .reply_to = STR("there")},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct client_asked asked;
        struct amqp_writer w;
        struct amqp_mark map;

        amqp_writer_init(&w);
        client_put_properties(&w, &rows[i]);
        CHECK_EQ(client_read_asked(amqp_written(&w), &asked), ERR_DECODE);
        amqp_put_descriptor(&w, AMQP_SECTION_APPLICATION_PROPERTIES);
        map = amqp_begin_map(&w, true);
        amqp_put_string(&w, STR("name"));
        amqp_put_int(&w, 1);
        amqp_put_string(&w, STR("operation"));
        amqp_put_string(&w, STR("READ"));
        amqp_end(&w, map, 4);
        CHECK_EQ(client_read_asked(amqp_written(&w), &asked), i == 1 ? ERR_DECODE : 0);
        if (i != 1)
            CHECK(asked.name.ptr == NULL && (asked.correlation_id.len > 0) == (i == 0));
        for (size_t len = 0; len < w.len; len++)
            CHECK_EQ(client_read_asked((struct str){(char *)w.buf, len}, &asked), ERR_DECODE);
        amqp_writer_fini(&w);
    }
}

TEST(requests_wait_for_the_connection)
{
    struct rig r;

    rig_init(&r);
    ask(&r, "READ", "router", "a");
    ask(&r, "READ", "router", "b");
    rig_run(&r);
    CHECK_EQ(next(&r).type, CLIENT_OPENED);
    CHECK_EQ(next(&r).answer.id, 1);
    CHECK_EQ(next(&r).answer.id, 2);
    rig_fini(&r);
}

TEST(answers_may_come_in_any_order)
{
    struct rig r;
    struct client_event ev;

    rig_open(&r);
    r.is_silent = true;
    ask(&r, "READ", "router", "a");
    ask(&r, "READ", "router", "b");
    ask(&r, "READ", "router", "c");
    rig_run(&r);
    CHECK_EQ(client_request_count(r.client), 3);
    rig_answer_kept(&r);
    rig_run(&r);
    for (int i = 3; i > 0; i--) {
        ev = next(&r);
        CHECK_EQ(ev.answer.id, i);
        CHECK_EQ(json_string_value(json_object_get(ev.answer.value, "name"))[0], 'a' + i - 1);
    }
    rig_fini(&r);
}

TEST(a_query_comes_in_pages_and_is_one_answer)
{
    static const uint32_t counts[] = {0, 1, CLIENT_PAGE_ROWS, CLIENT_PAGE_ROWS + 1,
                                      2 * CLIENT_PAGE_ROWS + 500};
    static const int pages[] = {1, 1, 2, 2, 3};
    struct rig r;

    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        struct client_event ev;

        rig_open(&r);
        r.row_count = counts[i];
        ask(&r, "QUERY", "router.link", NULL);
        rig_run(&r);
        ev = next(&r);
        CHECK_EQ(ev.answer.err, 0);
        CHECK_EQ(json_array_size(ev.answer.value), counts[i]);
        CHECK_EQ(r.requests, pages[i]);
        for (uint32_t k = 0; k < counts[i]; k++) {
            json_t *row = json_array_get(ev.answer.value, k);

            CHECK_EQ(json_integer_value(json_object_get(row, "number")), k);
            CHECK_EQ(json_object_size(row), k % 2 == 0 ? 2 : 1); // without nulls
        }
        rig_fini(&r);
    }
}

TEST(a_query_names_the_type_it_is_about)
{
    struct rig r;
    json_t *names = json_pack("[s]", "name");
    struct client_request q = {.operation = "QUERY", .type = "connection", .attributes = names};

    rig_open(&r);
    CHECK(client_ask(r.client, &q, r.now, NULL) != 0);
    rig_run(&r);
    CHECK_STR(str_of(r.asked),
              "{\"operation\": \"QUERY\", \"type\": \"org.amqp.management\", \"entityType\": "
              "\"io.skupper.router.connection\", \"offset\": 0, \"count\": 1000}");
    json_decref(names);
    rig_fini(&r);
}

TEST(what_a_router_refuses_is_told_with_its_words)
{
    static const struct {
        int status, err;
    } rows[] = {{400, ERR_INVALID},     {403, ERR_UNSUPPORTED}, {404, ERR_NOT_FOUND},
                {501, ERR_UNSUPPORTED}, {500, ERR_IO},          {201, 0},
                {302, ERR_INVALID}};
    struct rig r;

    rig_open(&r);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct client_event ev;

        r.status = rows[i].status;
        ask(&r, "DELETE", "listener", "x");
        rig_run(&r);
        ev = next(&r);
        CHECK_EQ_FOR("err", ev.answer.err, rows[i].err);
        CHECK_EQ(ev.answer.status, rows[i].status);
        if (rows[i].err < 0) {
            CHECK_STR(str_of(ev.answer.words), "that was wrong");
            CHECK(ev.answer.value == NULL);
        }
    }
    rig_fini(&r);
}

TEST(a_router_that_cannot_be_reached_is_told_at_once)
{
    struct rig r;
    struct client_event ev;
    struct client_request q = {.operation = "READ", .router = "B"};

    rig_open(&r);
    r.outcome = AMQP_RELEASED;
    client_ask(r.client, &q, r.now, NULL);
    rig_run(&r);
    ev = next(&r);
    CHECK_EQ(ev.answer.err, ERR_CLOSED);
    CHECK_EQ(ev.answer.status, 0);
    CHECK_STR(str_of(ev.answer.words), "router 'B' cannot be reached from here");
    rig_fini(&r);
}

TEST(no_answer_in_time_is_an_answer_and_a_late_one_is_none)
{
    struct rig r;
    struct client_event ev;

    rig_open(&r);
    r.is_silent = true;
    ask(&r, "READ", "router", "a");
    rig_run(&r);
    rig_wait(&r, CLIENT_REQUEST_MS - 1);
    CHECK(is_quiet(&r));
    CHECK(client_engine.deadline(r.client).ns <= mono_add_ms(r.now, 1).ns);
    rig_wait(&r, 1);
    ev = next(&r);
    CHECK_EQ(ev.answer.err, ERR_AGAIN);
    CHECK_STR(str_of(ev.answer.words), "the router did not answer READ within 10000 ms");
    rig_answer_kept(&r);
    rig_run(&r);
    CHECK(is_quiet(&r));
    rig_fini(&r);
}

TEST(an_answer_that_is_too_large_is_an_error)
{
    struct rig r;

    rig_open(&r);
    r.reply_octets = CLIENT_MESSAGE_MAX;
    ask(&r, "GET-SCHEMA", NULL, NULL);
    rig_run(&r);
    CHECK_EQ(next(&r).answer.err, ERR_LIMIT);
    r.reply_octets = CLIENT_MESSAGE_MAX / 2;
    ask(&r, "GET-SCHEMA", NULL, NULL);
    rig_run(&r);
    CHECK_EQ(next(&r).answer.err, 0);
    rig_fini(&r);
}

TEST(what_is_forgotten_is_not_told)
{
    struct rig r;
    uint64_t answered, waiting;

    rig_open(&r);
    answered = ask(&r, "READ", "router", "a");
    rig_run(&r);
    r.is_silent = true;
    waiting = ask(&r, "READ", "router", "b");
    rig_run(&r);
    client_forget(r.client, answered);
    client_forget(r.client, waiting);
    client_forget(r.client, 77);
    rig_answer_kept(&r);
    rig_run(&r);
    CHECK(is_quiet(&r));
    rig_fini(&r);
}

TEST(so_many_requests_and_no_more)
{
    struct rig r;
    struct client_request q = {.operation = "READ"};
    struct why why;

    rig_init(&r);
    for (int i = 0; i < CLIENT_REQUESTS_MAX; i++)
        CHECK(client_ask(r.client, &q, r.now, &why) != 0);
    CHECK_EQ(client_ask(r.client, &q, r.now, &why), 0);
    CHECK_STR(str_of(why.text), "1024 requests are under way; no more until some are answered");
    rig_run(&r);
    CHECK_EQ(next(&r).type, CLIENT_OPENED);
    for (int i = 0; i < CLIENT_REQUESTS_MAX; i++)
        CHECK_EQ(next(&r).answer.err, 0);
    CHECK(client_ask(r.client, &q, r.now, &why) != 0);
    rig_fini(&r);
}

// ------------------------------------------------------------------------------------- connection

TEST(when_the_connection_is_lost_every_request_is_answered_first)
{
    struct rig r;
    struct client_event ev;
    struct client_request q = {.operation = "READ"};
    struct why why;

    rig_open(&r);
    r.is_silent = true;
    ask(&r, "READ", "router", "a");
    ask(&r, "READ", "router", "b");
    rig_run(&r);
    client_engine.lost(r.client, "reset by peer", r.now);
    for (int i = 0; i < 2; i++) {
        ev = next(&r);
        CHECK_EQ(ev.type, CLIENT_ANSWER);
        CHECK_EQ(ev.answer.err, ERR_CLOSED);
    }
    ev = next(&r);
    CHECK_EQ(ev.type, CLIENT_CLOSED);
    CHECK_STR(str_of(ev.words), "the connection was lost: reset by peer");
    CHECK(is_quiet(&r));
    CHECK(!client_is_open(r.client));
    CHECK_EQ(client_ask(r.client, &q, r.now, &why), 0);
    CHECK_STR(str_of(why.text), "the connection to the router has ended");
    rig_fini(&r);
}

TEST(a_close_of_the_router_is_told_with_its_words)
{
    struct rig r;
    struct client_event ev;

    rig_open(&r);
    amqp_conn_close(r.router, "amqp:connection:forced", "shutting down");
    rig_poll(&r);
    rig_run(&r);
    ev = next(&r);
    CHECK_EQ(ev.type, CLIENT_CLOSED);
    CHECK_STR(str_of(ev.words),
              "the router closed the connection: amqp:connection:forced: shutting down");
    CHECK(client_engine.is_finished(r.client));
    rig_fini(&r);
}

TEST(a_router_that_says_nothing_is_given_up)
{
    struct rig r;
    struct client_event ev;

    rig_init(&r);
    r.now = client_engine.deadline(r.client);
    client_engine.tick(r.client, r.now);
    ev = next(&r);
    CHECK_EQ(ev.type, CLIENT_CLOSED);
    rig_fini(&r);
}

TEST(goodbye_is_said_and_answered)
{
    struct rig r;
    struct client_event ev;

    rig_open(&r);
    client_close(r.client);
    rig_run(&r);
    ev = next(&r);
    CHECK_EQ(ev.type, CLIENT_CLOSED);
    CHECK_STR(str_of(ev.words), "the connection was closed");
    rig_fini(&r);
}

// ------------------------------------------------------------------------------------------ links

static struct str plain_message(struct amqp_writer *w, const char *to)
{
    w->len = 0;
    client_put_properties(w, &(struct client_properties){.to = str_of(to), .subject = STR("s")});
    amqp_put_descriptor(w, AMQP_SECTION_VALUE);
    amqp_put_null(w);
    return amqp_written(w);
}

TEST(a_receiver_has_so_many_messages_waiting_and_no_more)
{
    struct rig r;
    struct amqp_writer w;
    struct client_link *l;
    struct client_event ev;
    struct client_message m;

    rig_open(&r);
    amqp_writer_init(&w);
    l = client_receive(r.client, "mc/x", 4, &w);
    CHECK_STR(str_of(client_link_address(l)), "mc/x");
    rig_run(&r);
    CHECK_STR(amqp_link_source(r.links[0])->address, "mc/x");
    CHECK_EQ(amqp_link_credit(r.links[0]), 4);
    for (int i = 0; i < 4; i++)
        rig_send(r.links[0], plain_message(&w, "mc/x"), i % 2 == 0);
    rig_run(&r);
    CHECK_EQ(amqp_link_credit(r.links[0]), 0);
    for (int i = 0; i < 4; i++) {
        ev = next(&r);
        CHECK_EQ(ev.type, CLIENT_MESSAGE);
        CHECK(ev.link == l && ev.user == &w);
        CHECK_EQ(client_read_message(ev.message, &m), 0);
        CHECK_STR(m.subject, "s");
    }
    CHECK(is_quiet(&r)); // with this the last one was taken
    rig_run(&r);
    CHECK_EQ(amqp_link_credit(r.links[0]), 4);
    client_link_free(l);
    rig_run(&r);
    amqp_writer_fini(&w);
    rig_fini(&r);
}

TEST(links_may_be_made_before_the_connection_is_open)
{
    struct rig r;
    struct amqp_writer w;
    struct client_link *s;

    rig_init(&r);
    amqp_writer_init(&w);
    s = client_sender(r.client, "a", NULL);
    CHECK(client_receive(r.client, "b", 10, NULL) != NULL);
    CHECK_EQ(client_send(s, plain_message(&w, "a"), true, 0), 0);
    CHECK_EQ(client_unsent(s), 1);
    rig_run(&r);
    CHECK_EQ(client_unsent(s), 0);
    CHECK_EQ(r.messages, 1);
    CHECK_EQ(r.link_count, 2);
    amqp_writer_fini(&w);
    rig_fini(&r);
}

TEST(the_outcome_of_an_unsettled_message_is_told)
{
    static const enum amqp_outcome_type types[] = {AMQP_ACCEPTED, AMQP_RELEASED, AMQP_REJECTED,
                                                   AMQP_MODIFIED};
    struct rig r;
    struct amqp_writer w;
    struct client_link *s;

    rig_open(&r);
    amqp_writer_init(&w);
    s = client_sender(r.client, NULL, &w);
    for (int i = 0; i < 4; i++) {
        struct client_event ev;

        r.outcome = types[i];
        CHECK_EQ(client_send(s, plain_message(&w, "somewhere"), false, 100 + (uint64_t)i), 0);
        CHECK_EQ(client_send(s, plain_message(&w, "somewhere"), true, 0), 0);
        rig_run(&r);
        ev = next(&r);
        CHECK_EQ(ev.type, CLIENT_OUTCOME);
        CHECK(ev.link == s && ev.user == &w);
        CHECK_EQ(ev.outcome.token, 100 + i);
        CHECK_EQ(ev.outcome.type, types[i]);
        CHECK(is_quiet(&r)); // nothing of the settled one
    }
    CHECK_EQ(r.messages, 8);
    amqp_writer_fini(&w);
    rig_fini(&r);
}

TEST(without_credit_messages_wait_up_to_a_limit)
{
    struct rig r;
    struct amqp_writer w;
    struct client_link *s;
    char *filling = xcalloc(1, CLIENT_UNSENT_MAX);
    size_t count = 0;

    rig_open(&r);
    r.grants = 0;
    amqp_writer_init(&w);
    plain_message(&w, "a");
    amqp_put_descriptor(&w, AMQP_SECTION_DATA);
    amqp_put_binary(&w, (struct str){filling, CLIENT_UNSENT_MAX / 8});
    s = client_sender(r.client, "a", NULL);
    while (client_send(s, amqp_written(&w), true, 0) == 0)
        count++;
    CHECK_EQ(count, 7);
    CHECK_EQ(client_send(s, amqp_written(&w), true, 0), ERR_LIMIT);
    rig_run(&r);
    CHECK_EQ(r.messages, 0);
    amqp_link_grant(r.links[0], 5);
    rig_poll(&r);
    rig_run(&r);
    CHECK_EQ(client_unsent(s), 0); // the router gives back what it uses
    CHECK_EQ(r.messages, 7);
    client_link_free(s);
    free(filling);
    amqp_writer_fini(&w);
    rig_fini(&r);
}

TEST(a_link_that_the_router_refuses_is_told)
{
    struct rig r;
    struct client_link *l;
    struct client_event ev;

    rig_open(&r);
    r.refuses = true;
    l = client_receive(r.client, "secret", 10, &r);
    rig_run(&r);
    ev = next(&r);
    CHECK_EQ(ev.type, CLIENT_DROPPED);
    CHECK(ev.link == l && ev.user == &r);
    CHECK_STR(str_of(ev.words), "the router ended the link to secret: amqp:not-allowed: not here");
    CHECK_EQ(client_send(l, STR("x"), true, 0), ERR_CLOSED);
    client_link_free(l);
    CHECK(is_quiet(&r));
    rig_fini(&r);
}

TEST(when_management_is_refused_requests_fail_and_later_ones_are_tried_again)
{
    struct rig r;
    struct client_event ev;

    rig_open(&r);
    r.refuses = true;
    ask(&r, "READ", "router", "a");
    rig_run(&r);
    ev = next(&r);
    CHECK_EQ(ev.answer.err, ERR_CLOSED);
    CHECK_STR(str_of(ev.answer.words), "the router ended the link: amqp:not-allowed: not here");
    r.refuses = false;
    ask(&r, "READ", "router", "b");
    rig_run(&r);
    CHECK_EQ(next(&r).answer.err, 0);
    rig_fini(&r);
}

TEST(a_message_that_is_too_large_is_rejected_and_nothing_else_suffers)
{
    struct rig r;
    struct amqp_writer w;
    char *filling = xcalloc(1, CLIENT_MESSAGE_MAX);

    rig_open(&r);
    amqp_writer_init(&w);
    client_receive(r.client, "x", 1, NULL);
    rig_run(&r);
    amqp_put_descriptor(&w, AMQP_SECTION_DATA);
    amqp_put_binary(&w, (struct str){filling, CLIENT_MESSAGE_MAX});
    rig_send(r.links[0], amqp_written(&w), true);
    rig_run(&r);
    CHECK(is_quiet(&r));
    CHECK_EQ(amqp_link_credit(r.links[0]), 1);
    rig_send(r.links[0], plain_message(&w, "x"), true);
    rig_run(&r);
    CHECK_EQ(next(&r).type, CLIENT_MESSAGE);
    free(filling);
    amqp_writer_fini(&w);
    rig_fini(&r);
}

TEST(nothing_is_read_while_too_much_waits_to_be_taken)
{
    enum { PART = CLIENT_UNREAD_MAX / 4 };
    struct rig r;
    struct amqp_writer w;
    char *filling = xcalloc(1, PART);

    rig_open(&r);
    amqp_writer_init(&w);
    client_receive(r.client, "x", 100, NULL);
    rig_run(&r);
    amqp_put_descriptor(&w, AMQP_SECTION_DATA);
    amqp_put_binary(&w, (struct str){filling, PART});
    for (int i = 0; i < 4; i++) {
        CHECK(!client_engine.is_paused(r.client));
        rig_send(r.links[0], amqp_written(&w), true);
        rig_run(&r);
    }
    CHECK(client_engine.is_paused(r.client));
    CHECK_EQ(next(&r).type, CLIENT_MESSAGE);
    CHECK(!client_engine.is_paused(r.client));
    free(filling);
    amqp_writer_fini(&w);
    rig_fini(&r);
}

TEST_MAIN(CASE(a_request_is_answered), CASE(other_routers_have_addresses_of_their_own),
          CASE(what_is_asked_is_read_and_answered_by_who_is_asked),
          CASE(what_is_no_request_is_not_taken_for_one), CASE(requests_wait_for_the_connection),
          CASE(answers_may_come_in_any_order), CASE(a_query_comes_in_pages_and_is_one_answer),
          CASE(a_query_names_the_type_it_is_about),
          CASE(what_a_router_refuses_is_told_with_its_words),
          CASE(a_router_that_cannot_be_reached_is_told_at_once),
          CASE(no_answer_in_time_is_an_answer_and_a_late_one_is_none),
          CASE(an_answer_that_is_too_large_is_an_error), CASE(what_is_forgotten_is_not_told),
          CASE(so_many_requests_and_no_more),
          CASE(when_the_connection_is_lost_every_request_is_answered_first),
          CASE(a_close_of_the_router_is_told_with_its_words),
          CASE(a_router_that_says_nothing_is_given_up), CASE(goodbye_is_said_and_answered),
          CASE(a_receiver_has_so_many_messages_waiting_and_no_more),
          CASE(links_may_be_made_before_the_connection_is_open),
          CASE(the_outcome_of_an_unsettled_message_is_told),
          CASE(without_credit_messages_wait_up_to_a_limit),
          CASE(a_link_that_the_router_refuses_is_told),
          CASE(when_management_is_refused_requests_fail_and_later_ones_are_tried_again),
          CASE(a_message_that_is_too_large_is_rejected_and_nothing_else_suffers),
          CASE(nothing_is_read_while_too_much_waits_to_be_taken))
