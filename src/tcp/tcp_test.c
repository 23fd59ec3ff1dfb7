// SPDX-License-Identifier: Apache-2.0
#include "tcp/apart.h"
#include "tcp/rig_test.h"

static struct router_source told = {.ops = NULL};
static enum amqp_outcome_type outcome;

static void ready(struct router_source *s)
{
    (void)s;
}

static void settled(struct router_source *s, enum amqp_outcome_type type)
{
    (void)s;
    outcome = type;
}

TEST(heads_are_those_that_existing_routers_write)
{
    static const uint8_t client[] =
        "\x00\x53\x73\xd0\x00\x00\x00\x5f\x00\x00\x00\x07\x40\x40\xa1\x09"
        "echo:9090\x40\xa1\x28"
        "amqp:/_topo/0/RTR-A/temp.2gs5vlinc9+q0qJ\xa1\x07+g_Ac:5\xa1\x18"
        "application/octet-stream\x00\x53\x74\xd1\x00\x00\x00\x09\x00\x00\x00\x02\xa1\x01V\x52\x01"
        "\x00\x53\x77\x40";
    static const uint8_t server[] =
        "\x00\x53\x73\xd0\x00\x00\x00\x4d\x00\x00\x00\x07\x40\x40\xa1\x28"
        "amqp:/_topo/0/RTR-A/temp.2gs5vlinc9+q0qJ\x40\x40\x40\xa1\x18"
        "application/octet-stream\x00\x53\x74\xd1\x00\x00\x00\x09\x00\x00\x00\x02\xa1\x01V\x52\x01"
        "\x00\x53\x77\x40";
    struct str reply = STR("amqp:/_topo/0/RTR-A/temp.2gs5vlinc9+q0qJ");
    struct amqp_writer w;

    amqp_writer_init(&w);
    head_put_client(&w, STR("echo:9090"), reply, STR("+g_Ac:5"), STR_NONE);
    CHECK_EQ(w.len, sizeof(client) - 1);
    CHECK(memcmp(w.buf, client, w.len) == 0);
    w.len = 0;
    head_put_server(&w, reply);
    CHECK_EQ(w.len, sizeof(server) - 1);
    CHECK(memcmp(w.buf, server, w.len) == 0);
    amqp_writer_fini(&w);
}

TEST(nothing_is_read_of_a_client_before_its_server_answers)
{
    struct rig r;
    struct tcp_conn *client, *server;

    begin(&r);
    client = accepted(&r);
    server = offered(&r);
    CHECK(server);
    CHECK_STR(str_of(tcp_alpn(server)), "h2");
    CHECK_EQ(tcp_room(client), 0);
    CHECK(!tcp_is_finished(client));
    tcp_connected(server, "server:1", r.now);
    CHECK(tcp_room(client) > 0);
    tcp_lost(client, "test");
    tcp_lost(server, "test");
    end(&r);
}

TEST(bytes_pass_both_ways_and_are_counted)
{
    struct rig r;
    struct tcp_conn *client, *server;

    begin(&r);
    client = established(&r, &server);
    say(&r, client, "ask");
    check_hears(&r, server, "ask");
    say(&r, server, "answer");
    check_hears(&r, client, "answer");
    CHECK_EQ(r.clients.bytes_in, 3);
    CHECK_EQ(r.clients.bytes_out, 6);
    CHECK_EQ(r.servers.bytes_in, 6);
    CHECK_EQ(r.servers.bytes_out, 3);
    tcp_lost(client, NULL);
    tcp_lost(server, NULL);
    end(&r);
}

TEST(the_older_encapsulation_passes_bytes_and_ends_as_well)
{
    struct rig r;
    struct tcp_conn *client, *server;

    begin(&r);
    r.clients.is_legacy = true;
    client = established(&r, &server);
    CHECK(server->is_legacy);
    CHECK_STR(str_of(tcp_alpn(server)), "h2");
    say(&r, client, "ask");
    say(&r, client, " again");
    check_hears(&r, server, "ask again");
    say(&r, server, "answer");
    check_hears(&r, client, "answer");
    tcp_ended(client, r.now);
    CHECK(tcp_is_shut(server));
    tcp_lost(client, NULL);
    tcp_lost(server, NULL);
    end(&r);
}

TEST(data_sections_are_read_wherever_they_are_cut)
{
    static const uint8_t bytes[] = "\x00\x53\x75\xa0\x03"
                                   "abc\x00\x53\x75\xa0\x00\x00\x53\x75\xb0\x00\x00\x00\x02"
                                   "de";

    for (size_t step = 1; step < sizeof(bytes); step++) {
        struct rig r;
        struct tcp_conn *client, *server;

        begin(&r);
        r.clients.is_legacy = true;
        client = established(&r, &server);
        for (size_t at = 0; at < sizeof(bytes) - 1; at += step) {
            size_t left = sizeof(bytes) - 1 - at;

            router_source_write(&client->source, bytes + at, left < step ? left : step, false);
        }
        check_hears(&r, server, "abcde");
        tcp_lost(client, NULL);
        tcp_lost(server, NULL);
        end(&r);
    }
}

TEST(a_reader_that_does_not_read_stops_its_sender_at_the_window)
{
    static const uint8_t block[64 * 1024];
    struct rig r;
    struct tcp_conn *client, *server;
    size_t sent = 0, room;

    begin(&r);
    client = established(&r, &server);
    while ((room = tcp_room(client)) > 0) {
        size_t len = room < sizeof(block) ? room : sizeof(block);

        tcp_feed(client, block, len, r.now);
        sent += len;
    }
    CHECK_EQ(sent, WINDOW_BYTES);
    CHECK_EQ(tcp_output(server)->len, WINDOW_BYTES);
    buf_skip(tcp_output(server), ACK_BYTES - 1);
    tcp_sent(server, r.now);
    CHECK_EQ(tcp_room(client), 0);
    buf_skip(tcp_output(server), 1);
    tcp_sent(server, r.now);
    CHECK_EQ(tcp_room(client), ACK_BYTES);
    tcp_lost(client, NULL);
    tcp_lost(server, NULL);
    end(&r);
}

TEST(an_end_passes_when_all_before_it_was_written_and_the_other_direction_goes_on)
{
    struct rig r;
    struct tcp_conn *client, *server;

    begin(&r);
    client = established(&r, &server);
    say(&r, client, "that is all");
    tcp_ended(client, r.now);
    CHECK(!tcp_is_shut(server));
    check_hears(&r, server, "that is all");
    CHECK(tcp_is_shut(server) && !tcp_is_finished(server) && !tcp_is_finished(client));
    say(&r, server, "more");
    tcp_ended(server, r.now);
    check_hears(&r, client, "more");
    CHECK(tcp_is_finished(client) && tcp_is_finished(server));
    CHECK(!tcp_is_reset(client) && !tcp_is_reset(server));
    tcp_lost(client, NULL);
    tcp_lost(server, NULL);
    CHECK_EQ(r.clients.closed, 1);
    end(&r);
}

TEST(a_socket_that_broke_resets_the_one_at_the_other_end)
{
    for (int side = 0; side < 2; side++) {
        struct rig r;
        struct tcp_conn *client, *server, *other;

        begin(&r);
        client = established(&r, &server);
        other = side ? client : server;
        tcp_lost(side ? server : client, "connection reset");
        CHECK(tcp_is_reset(other));
        tcp_lost(other, NULL);
        end(&r);
    }
}

// The two streams of a connection may take different ways, and what they tell comes in any order.
TEST(a_stream_whose_sender_has_left_is_a_reset_by_itself)
{
    for (int side = 0; side < 2; side++) {
        struct rig r;
        struct tcp_conn *client, *server, *gone, *other;

        begin(&r);
        client = established(&r, &server);
        gone = side ? server : client;
        other = side ? client : server;
        router_source_leave(&gone->source);
        CHECK(tcp_is_reset(other) && !tcp_is_shut(other));
        tcp_lost(gone, NULL);
        tcp_lost(other, NULL);
        end(&r);
    }
}

TEST(the_end_of_a_connection_that_has_ended_both_ways_is_no_reset)
{
    struct rig r;
    struct tcp_conn *client, *server;

    begin(&r);
    client = established(&r, &server);
    tcp_ended(client, r.now);
    router_source_leave(&server->source);
    CHECK(tcp_is_finished(client) && !tcp_is_reset(client));
    tcp_lost(client, NULL);
    tcp_lost(server, NULL);
    end(&r);
}

TEST(a_refusal_waits_a_moment_for_what_was_sent_before_it)
{
    struct rig r;
    struct tcp_conn *client, *server;

    begin(&r);
    client = established(&r, &server);
    router_sink_settle(&client->sink, AMQP_MODIFIED);
    CHECK(!tcp_is_reset(server) && !tcp_is_finished(server));
    say(&r, client, "last words");
    check_hears(&r, server, "last words");
    CHECK(mono_before(tcp_deadline(server), mono_add_ms(r.now, 200)));
    r.now = tcp_deadline(server);
    tcp_tick(server, r.now);
    CHECK(tcp_is_reset(server));
    tcp_lost(server, NULL);
    r.now = tcp_deadline(client); // it has let go of its stream, and hears no end of it
    tcp_tick(client, r.now);
    CHECK(tcp_is_reset(client));
    tcp_lost(client, NULL);
    end(&r);
}

TEST(what_a_socket_has_not_taken_is_given_to_it_before_its_reset_but_not_for_ever)
{
    for (int takes = 0; takes < 2; takes++) {
        struct rig r;
        struct tcp_conn *client, *server;

        begin(&r);
        client = established(&r, &server);
        say(&r, client, "not read yet");
        tcp_lost(client, "connection reset");
        CHECK(!tcp_is_reset(server) && !tcp_is_finished(server) && !tcp_is_shut(server));
        if (takes) {
            check_hears(&r, server, "not read yet");
        } else {
            r.now = tcp_deadline(server);
            tcp_tick(server, r.now);
            CHECK_EQ(tcp_output(server)->len, 0);
        }
        CHECK(tcp_is_reset(server));
        tcp_lost(server, NULL);
        end(&r);
    }
}

TEST(half_an_answer_does_not_look_like_a_whole_one_when_the_path_is_lost)
{
    struct apart *x = xcalloc(1, sizeof(*x));
    struct spot *client, *server;

    apart_begin(x, SIZE_MAX / 2);
    client = apart_accept(x);
    server = apart_dialling(x);
    apart_answer(x, server, true);
    CHECK_EQ(apart_say(x, server, "half of it", 10), 10);
    apart_cut(x);
    CHECK(client->conn && server->conn == NULL);
    apart_take(x, client, 100);
    CHECK_STR(str_of(client->told), "half of it<reset>");
    CHECK_STR(str_of(server->told), "<reset>");
    apart_end(x);
    free(x);
}

// A stream that stands still on a link of others would hold them up.
TEST(more_connections_than_fit_between_two_routers_are_refused_until_there_is_room)
{
    struct apart *x = xcalloc(1, sizeof(*x));
    struct spot *clients[SPOTS / 2], *server;
    int count = 0, refused = 0;

    // Two sessions are left for streams: one each way, shared by so many.
    apart_begin_with(x, SIZE_MAX / 2, 13);
    for (; count < SPOTS / 2; count++) {
        clients[count] = apart_accept(x);
        server = apart_dialling(x);
        if (!server)
            break;
        apart_answer(x, server, true);
    }
    CHECK_EQ(count, 12);
    apart_pass(x, 1000);
    CHECK_STR(str_of(clients[count]->told), "<closed>");
    CHECK_EQ(x->clients.failed, 1);
    for (int i = 0; i < count; i++)
        refused += apart_say(x, clients[i], "hello", 5) != 5;
    CHECK_EQ(refused, 0);
    apart_lose(x, clients[0]);
    clients[0] = apart_accept(x);
    server = apart_dialling(x);
    CHECK(server);
    apart_answer(x, server, true);
    CHECK_EQ(apart_say(x, clients[0], "hello", 5), 5);
    apart_take(x, server, 100);
    CHECK_STR(str_of(server->told), "hello");
    apart_end(x);
    free(x);
}

TEST(what_came_with_a_handshake_waits_for_the_server_that_answers)
{
    static const size_t lens[] = {0, 5};

    for (size_t i = 0; i < 4; i++) {
        struct apart *x = xcalloc(1, sizeof(*x));
        struct spot *client, *server;
        size_t len = lens[i % 2];
        bool ends = i / 2;

        apart_begin(x, SIZE_MAX / 2);
        client = apart_accept(x);
        CHECK_EQ(tcp_room(client->conn), 0);
        if (len > 0)
            tcp_feed(client->conn, (const uint8_t *)"early", len, x->now);
        if (ends)
            apart_end_of(x, client);
        apart_answer(x, apart_dialling(x), false); // and the next one does
        apart_pass(x, 100);
        server = apart_dialling(x);
        CHECK(server);
        apart_answer(x, server, true);
        if (!ends)
            CHECK_EQ(apart_say(x, client, "later", 5), 5);
        apart_take(x, server, 100);
        CHECK_STR(str_of(server->told),
                  ends ? (len ? "early<end>" : "<end>") : (len ? "earlylater" : "later"));
        apart_end(x);
        free(x);
    }
}

// A client's end by hand: its stream, and somebody at its reply address or nobody.
static struct router_sink answer;

static size_t answer_write(struct router_sink *sink, const uint8_t *data, size_t len)
{
    (void)sink;
    (void)data;
    return len;
}

static void answer_ended(struct router_sink *sink, enum router_end how)
{
    (void)sink;
    (void)how;
}

static struct router_sink *take_answer(struct router_taker *taker, const struct amqp_msg *head,
                                       enum amqp_outcome_type *refused)
{
    static const struct router_sink_ops ops = {.write = answer_write, .ended = answer_ended};

    (void)taker;
    (void)head;
    (void)refused;
    answer.ops = &ops;
    return &answer;
}

static void open_to_reply(struct rig *r, struct router_source *s, struct str reply_to)
{
    static const struct router_source_ops ops = {.ready = ready, .settled = settled};
    struct amqp_writer w;

    *s = (struct router_source){.ops = &ops};
    outcome = AMQP_NO_OUTCOME;
    amqp_writer_init(&w);
    head_put_client(&w, STR("echo"), reply_to, STR_NONE, STR_NONE);
    router_source_open(r->router, s, STR("echo"), amqp_written(&w));
    amqp_writer_fini(&w);
}

static void open_by_hand(struct rig *r, struct router_reply *reply)
{
    char text[ROUTER_REPLY_MAX];
    struct str to = STR("amqp:/_topo/0/R/temp.AAAAAAAAAAAAAAA");

    if (reply) {
        reply->taker.offer = take_answer;
        router_reply_open(r->router, reply);
        to = router_reply_address(r->router, reply, text);
    }
    open_to_reply(r, &told, to);
}

TEST(a_server_stream_that_finds_no_way_back_is_nothing_that_was_taken)
{
    struct rig r;
    struct tcp_conn *server;

    begin(&r);
    open_by_hand(&r, NULL);
    server = offered(&r);
    CHECK(server);
    tcp_connected(server, "server:1", r.now);
    CHECK(tcp_is_finished(server) && !tcp_is_reset(server));
    CHECK_EQ(outcome, AMQP_NO_OUTCOME);
    tcp_lost(server, NULL);
    CHECK_EQ(outcome, AMQP_MODIFIED); // with which a client's end tries again
    end(&r);
}

TEST(a_server_stream_that_is_lost_on_its_way_is_told_to_the_client_s_end_soon)
{
    struct router_reply reply = {.is_open = false};
    struct rig r;
    struct tcp_conn *server;

    begin(&r);
    open_by_hand(&r, &reply);
    server = offered(&r);
    CHECK(server);
    tcp_connected(server, "server:1", r.now);
    router_sink_settle(&answer, AMQP_MODIFIED);
    CHECK(mono_before(tcp_deadline(server), mono_add_ms(r.now, 200)));
    r.now = tcp_deadline(server);
    tcp_tick(server, r.now);
    CHECK(tcp_is_reset(server));
    tcp_lost(server, NULL);
    CHECK_EQ(outcome, AMQP_MODIFIED);
    router_reply_close(r.router, &reply);
    end(&r);
}

TEST(a_refusal_is_tried_again_with_pauses_and_then_told)
{
    struct rig r;
    struct tcp_conn *client;
    int tries = 0;

    begin(&r);
    client = accepted(&r);
    while (!tcp_is_finished(client)) {
        struct tcp_conn *server = offered(&r);

        CHECK(server);
        tries++;
        tcp_connect_failed(server, "refused");
        if (tcp_is_finished(client))
            break;
        CHECK(!offered(&r));
        CHECK(mono_before(r.now, tcp_deadline(client)));
        r.now = tcp_deadline(client);
        tcp_tick(client, r.now);
    }
    CHECK_EQ(tries, 6);
    CHECK(!tcp_is_reset(client));
    CHECK_EQ(r.servers.failed, 6);
    tcp_lost(client, NULL);
    end(&r);
}

TEST(a_connector_that_is_out_gets_nothing_and_leaves_its_streams_alone)
{
    struct rig r;
    struct tcp_conn *client, *server, *second;

    begin(&r);
    client = established(&r, &server);
    tcp_connector_set_out(&r.connector, true);
    CHECK_EQ(router_destinations(r.router, "echo"), 0);
    second = accepted(&r);
    CHECK(!offered(&r));
    tcp_connector_set_out(&r.connector, false);
    r.now = tcp_deadline(second);
    tcp_tick(second, r.now);
    CHECK(offered(&r));
    tcp_connector_close(&r.connector);
    say(&r, client, "still here");
    check_hears(&r, server, "still here");
    tcp_lost(client, NULL);
    tcp_lost(server, NULL);
    tcp_lost(second, NULL);
    tcp_connect_failed(tcp_on_service(r.servers.conns.next), "gone");
    end(&r);
}

TEST(a_connection_without_bytes_ends_after_its_time_and_not_before)
{
    struct rig r;
    struct tcp_conn *client, *server;

    begin(&r);
    r.clients.idle_ms = 10000;
    r.clients.half_closed_ms = 1000;
    client = established(&r, &server);
    r.now = mono_add_ms(r.now, 9000);
    say(&r, client, "I am here");
    drain(&r, server, NULL, 0);
    r.now = tcp_deadline(client);
    tcp_tick(client, r.now);
    CHECK(!tcp_is_reset(client));
    tcp_ended(client, r.now);
    r.now = mono_add_ms(r.now, 1000);
    tcp_tick(client, r.now);
    CHECK(tcp_is_reset(client));
    tcp_lost(client, NULL);
    tcp_lost(server, NULL);
    end(&r);
}

TEST(of_a_multicast_the_first_server_that_answers_has_the_connection)
{
    struct tcp_connector second = {.tcp = NULL};
    struct tcp_conn *client, *first, *other;
    struct rig r;

    begin(&r);
    tcp_connector_close(&r.connector);
    r.connector = (struct tcp_connector){.tcp = NULL};
    router_address_config(r.router, STR("mc"), true, ROUTER_MULTICAST, -1);
    CHECK_EQ(tcp_connector_open(r.tcp, &r.connector, &r.servers, STR("mc/echo")), 0);
    CHECK_EQ(tcp_connector_open(r.tcp, &second, &r.servers, STR("mc/echo")), 0);
    client = accepted_at(&r, "mc/echo");
    first = offered(&r);
    other = offered(&r);
    CHECK(first && other);
    tcp_connected(first, "server:1", r.now);
    CHECK_EQ(tcp_room(client), 0); // the other one would get it too
    while (tcp_next_dirty(r.tcp))
        continue;
    tcp_connected(other, "server:2", r.now);
    CHECK(tcp_is_finished(other));
    tcp_lost(other, NULL);
    CHECK(tcp_next_dirty(r.tcp) == client); // which is how it hears of it
    say(&r, client, "hello");
    check_hears(&r, first, "hello");
    tcp_lost(client, NULL);
    tcp_lost(first, NULL);
    tcp_connector_close(&second);
    end(&r);
}

TEST(times_that_are_changed_apply_to_open_connections)
{
    struct rig r;
    struct tcp_conn *client, *server;

    begin(&r);
    r.clients.idle_ms = 1000000;
    client = established(&r, &server);
    r.now = mono_add_ms(r.now, 500);
    r.clients.idle_ms = 2000;
    tcp_service_changed(&r.clients);
    CHECK_EQ(mono_ms_between(r.now, tcp_deadline(client)), 1500);
    r.now = tcp_deadline(client);
    tcp_tick(client, r.now);
    CHECK(tcp_is_reset(client));
    tcp_lost(client, NULL);
    tcp_lost(server, NULL);
    end(&r);
}

TEST(messages_that_are_no_streams_are_refused)
{
    static const struct {
        const char *why;
        struct str head;
        enum amqp_outcome_type want;
    } rows[] = {
        {"no content-type", STR("\x00\x53\x73\xc0\x06\x03\x40\x40\xa1\x01x\x00\x53\x77\x40"),
         AMQP_RELEASED},
        {"no reply-to",
         STR("\x00\x53\x73\xc0\x22\x07\x40\x40\x40\x40\x40\x40\xa1\x18"
             "application/octet-stream\x00\x53\x77\x40"),
         AMQP_REJECTED},
        {"properties that are no list", STR("\x00\x53\x73\x40"), AMQP_REJECTED},
    };
    static const struct router_source_ops ops = {.settled = settled};
    struct rig r;

    begin(&r);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        told = (struct router_source){.ops = &ops};
        outcome = AMQP_NO_OUTCOME;
        router_source_open(r.router, &told, STR("echo"), rows[i].head);
        CHECK_EQ_FOR(rows[i].why, outcome, rows[i].want);
    }
    CHECK_EQ(tcp_count(r.tcp), 0);
    end(&r);
}

// It has its copy while another consumer holds one.
TEST(a_consumer_of_a_multicast_may_refuse_what_another_takes)
{
    static const struct router_source_ops ops = {.ready = ready, .settled = settled};
    struct router_consumer taking = {.taker.offer = take_answer};
    struct tcp_connector refusing[2] = {{.tcp = NULL}}; // before it and after it
    struct rig r;

    begin(&r);
    router_address_config(r.router, STR("mc"), true, ROUTER_MULTICAST, -1);
    CHECK_EQ(tcp_connector_open(r.tcp, &refusing[0], &r.servers, STR("mc/echo")), 0);
    CHECK_EQ(router_consumer_open(r.router, &taking, STR("mc/echo")), 0);
    CHECK_EQ(tcp_connector_open(r.tcp, &refusing[1], &r.servers, STR("mc/echo")), 0);
    told = (struct router_source){.ops = &ops};
    outcome = AMQP_NO_OUTCOME;
    router_source_open(r.router, &told, STR("mc/echo"), STR("\x00\x53\x77\x40"));
    CHECK(!offered(&r));
    CHECK_EQ(outcome, AMQP_NO_OUTCOME);
    router_sink_settle(&answer, AMQP_ACCEPTED);
    CHECK_EQ(outcome, AMQP_ACCEPTED);
    tcp_connector_close(&refusing[0]);
    tcp_connector_close(&refusing[1]);
    router_consumer_close(r.router, &taking);
    end(&r);
}

static struct router_sink *take_no_answer(struct router_taker *taker, const struct amqp_msg *head,
                                          enum amqp_outcome_type *refused)
{
    (void)taker;
    (void)head;
    *refused = AMQP_REJECTED;
    return NULL;
}

TEST(a_server_is_connected_once_there_is_a_way_back_to_the_client)
{
    struct router_consumer client = {.taker.offer = take_no_answer};
    struct rig r;
    struct tcp_conn *server;
    struct tcp_info i;

    begin(&r);
    open_to_reply(&r, &told, STR("beyond"));
    CHECK(!offered(&r));
    tcp_info(tcp_on_service(r.servers.conns.next), &i);
    CHECK_STR(str_of(i.waits), "a way back to its client");
    CHECK_EQ(router_consumer_open(r.router, &client, STR("beyond")), 0);
    server = offered(&r);
    CHECK(server);
    CHECK_EQ(outcome, AMQP_NO_OUTCOME);
    tcp_lost(server, NULL);
    router_consumer_close(r.router, &client);
    end(&r);
}

TEST(a_stream_without_a_way_back_to_its_client_is_released_after_a_while)
{
    struct rig r;
    struct tcp_conn *server;

    begin(&r);
    open_to_reply(&r, &told, STR("beyond"));
    router_tick(r.router, mono_add_ms(r.now, 999));
    CHECK(!offered(&r));
    CHECK_EQ(outcome, AMQP_NO_OUTCOME);
    router_tick(r.router, mono_add_ms(r.now, 1000));
    CHECK(!offered(&r));
    CHECK_EQ(outcome, AMQP_RELEASED); // with which a client's end tries again
    server = tcp_next_dirty(r.tcp);
    CHECK(server && tcp_is_finished(server) && !tcp_is_connected(server));
    tcp_lost(server, NULL);
    end(&r);
}

TEST(of_streams_without_a_way_back_a_thousand_wait)
{
    static struct router_source sources[1001];
    struct rig r;

    begin(&r);
    outcome = AMQP_NO_OUTCOME;
    for (int i = 0; i <= 1000; i++) {
        CHECK_EQ(outcome, AMQP_NO_OUTCOME);
        open_to_reply(&r, &sources[i], STR("beyond"));
    }
    CHECK_EQ(outcome, AMQP_RELEASED);
    while (!list_empty(&r.servers.conns))
        tcp_lost(tcp_on_service(r.servers.conns.next), NULL);
    open_to_reply(&r, &told, STR("beyond"));
    CHECK_EQ(outcome, AMQP_NO_OUTCOME);
    tcp_lost(tcp_on_service(r.servers.conns.next), NULL);
    end(&r);
}

TEST_MAIN(CASE(heads_are_those_that_existing_routers_write),
          CASE(nothing_is_read_of_a_client_before_its_server_answers),
          CASE(bytes_pass_both_ways_and_are_counted),
          CASE(the_older_encapsulation_passes_bytes_and_ends_as_well),
          CASE(data_sections_are_read_wherever_they_are_cut),
          CASE(a_reader_that_does_not_read_stops_its_sender_at_the_window),
          CASE(an_end_passes_when_all_before_it_was_written_and_the_other_direction_goes_on),
          CASE(a_socket_that_broke_resets_the_one_at_the_other_end),
          CASE(a_stream_whose_sender_has_left_is_a_reset_by_itself),
          CASE(the_end_of_a_connection_that_has_ended_both_ways_is_no_reset),
          CASE(a_refusal_waits_a_moment_for_what_was_sent_before_it),
          CASE(what_a_socket_has_not_taken_is_given_to_it_before_its_reset_but_not_for_ever),
          CASE(half_an_answer_does_not_look_like_a_whole_one_when_the_path_is_lost),
          CASE(more_connections_than_fit_between_two_routers_are_refused_until_there_is_room),
          CASE(what_came_with_a_handshake_waits_for_the_server_that_answers),
          CASE(a_server_stream_that_finds_no_way_back_is_nothing_that_was_taken),
          CASE(a_server_stream_that_is_lost_on_its_way_is_told_to_the_client_s_end_soon),
          CASE(a_refusal_is_tried_again_with_pauses_and_then_told),
          CASE(a_connector_that_is_out_gets_nothing_and_leaves_its_streams_alone),
          CASE(a_connection_without_bytes_ends_after_its_time_and_not_before),
          CASE(of_a_multicast_the_first_server_that_answers_has_the_connection),
          CASE(a_consumer_of_a_multicast_may_refuse_what_another_takes),
          CASE(a_server_is_connected_once_there_is_a_way_back_to_the_client),
          CASE(a_stream_without_a_way_back_to_its_client_is_released_after_a_while),
          CASE(of_streams_without_a_way_back_a_thousand_wait),
          CASE(times_that_are_changed_apply_to_open_connections),
          CASE(messages_that_are_no_streams_are_refused))
