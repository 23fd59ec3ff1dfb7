// SPDX-License-Identifier: Apache-2.0
#include "check.h"
#include "tcp/conn.h"

// One router with a listener and a connector of the address "echo"; sockets are played by the test.
struct rig {
    struct pool *pool;
    struct router *router;
    struct tcp *tcp;
    struct tcp_service clients, servers;
    struct tcp_connector connector;
    struct mono now;
};

static void begin(struct rig *r)
{
    struct router_opts opts = {.id = "R", .default_treatment = ROUTER_BALANCED};

    memset(r, 0, sizeof(*r));
    r->now = mono_add_ms((struct mono){0}, 1000);
    opts.pool = r->pool = pool_new(4096, 4096);
    r->router = router_new(&opts, r->now);
    r->tcp = tcp_new(r->router, r->pool);
    tcp_service_init(&r->clients);
    tcp_service_init(&r->servers);
    CHECK_EQ(tcp_connector_open(r->tcp, &r->connector, &r->servers, STR("echo")), 0);
}

// Nothing may be left behind.
static void end(struct rig *r)
{
    struct router_stats stats;

    tcp_connector_close(&r->connector);
    CHECK_EQ(tcp_count(r->tcp), 0);
    router_stats(r->router, &stats);
    CHECK_EQ(stats.deliveries, 0);
    CHECK_EQ(stats.stored_bytes, 0);
    CHECK_EQ(pool_used(r->pool), 0);
    tcp_free(r->tcp);
    router_free(r->router);
    pool_free(r->pool);
}

static struct tcp_conn *accepted(struct rig *r)
{
    return tcp_accepted(
        r->tcp,
        &(struct tcp_accept){
            .service = &r->clients, .address = STR("echo"), .peer = "client:1", .alpn = "h2"},
        r->now);
}

// The server's end that was offered last and is not connected.
static struct tcp_conn *offered(struct rig *r)
{
    struct list *node = r->servers.conns.prev;

    if (node == &r->servers.conns || !tcp_wants_connect(tcp_on_service(node)))
        return NULL;
    return tcp_on_service(node);
}

static struct tcp_conn *established(struct rig *r, struct tcp_conn **server)
{
    struct tcp_conn *client = accepted(r);

    *server = offered(r);
    CHECK(*server);
    tcp_connected(*server, "server:1", r->now);
    return client;
}

static void say(struct rig *r, struct tcp_conn *c, const char *text)
{
    CHECK(tcp_room(c) >= strlen(text));
    tcp_feed(c, (const uint8_t *)text, strlen(text), r->now);
}

// Its socket takes all there is.
static size_t drain(struct rig *r, struct tcp_conn *c, char *out, size_t size)
{
    size_t len = tcp_output(c)->len;

    if (out) {
        memset(out, 0, size);
        buf_copy(tcp_output(c), 0, out, size - 1);
    }
    buf_skip(tcp_output(c), len);
    tcp_sent(c, r->now);
    return len;
}

static void check_hears(struct rig *r, struct tcp_conn *c, const char *text)
{
    char got[64];

    drain(r, c, got, sizeof(got));
    CHECK_STR(str_of(got), text);
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

static struct router_source told = {.ops = NULL};
static enum amqp_outcome_type outcome;

static void settled(struct router_source *s, enum amqp_outcome_type type)
{
    (void)s;
    outcome = type;
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

TEST(what_a_connection_waits_for_can_be_asked)
{
    struct rig r;
    struct tcp_conn *client, *server;
    struct tcp_info i;

    begin(&r);
    client = accepted(&r);
    tcp_info(client, &i);
    CHECK_STR(str_of(i.state), "connecting");
    CHECK_STR(str_of(i.waits), "the other end's answer");
    server = offered(&r);
    tcp_connected(server, "server:1", r.now);
    tcp_info(client, &i);
    CHECK_STR(str_of(i.state), "open");
    CHECK_STR(i.address, "echo");
    CHECK_STR(str_of(i.peer), "client:1");
    say(&r, client, "x");
    tcp_info(server, &i);
    CHECK_STR(str_of(i.waits), "its own peer to read");
    CHECK_EQ(i.unsent, 1);
    tcp_lost(client, NULL);
    tcp_lost(server, NULL);
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
          CASE(a_refusal_is_tried_again_with_pauses_and_then_told),
          CASE(a_connector_that_is_out_gets_nothing_and_leaves_its_streams_alone),
          CASE(a_connection_without_bytes_ends_after_its_time_and_not_before),
          CASE(messages_that_are_no_streams_are_refused),
          CASE(what_a_connection_waits_for_can_be_asked))
