// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/rig_test.h"

#include "net/names_test.h"

// A port on which nobody listens.
static const char *closed_port(void)
{
    static char port[16];
    struct rig r;

    rig_begin(&r);
    rig_listen(&r, (struct net_listener_opts){0});
    snprintf(port, sizeof(port), "%d", net_listener_port(r.listener));
    rig_end(&r);
    return port;
}

static int64_t pause_left(const struct rig *r)
{
    return mono_ms_between(net_loop_now(r->loop), heap_deadline(&r->loop->timers));
}

TEST(pauses_between_attempts_double_up_to_their_limit_with_jitter)
{
    static const int64_t pauses[] = {8, 16, 32, 64, 64, 64};
    struct rig r;

    rig_begin(&r);
    rig_connect(&r, (struct net_connector_opts){
                        .port = closed_port(), .retry_min_ms = 8, .retry_max_ms = 64});
    for (int i = 0; i < 6; i++) {
        RIG_UNTIL(&r, r.connects_failed == i + 1);
        CHECK(pause_left(&r) <= pauses[i] && pause_left(&r) >= pauses[i] / 2 - 1);
    }
    CHECK_HAS(r.connect_why, "connect to 127.0.0.1:");
    CHECK_HAS(r.connect_why, "refused");
    rig_end(&r);
}

TEST(a_stream_that_was_good_starts_the_pauses_from_their_least)
{
    struct rig r;

    rig_begin(&r);
    r.refuses = false;
    rig_listen(&r, (struct net_listener_opts){0});
    rig_connect(&r, (struct net_connector_opts){.retry_min_ms = 4, .retry_max_ms = 10000});
    for (int i = 1; i <= 6; i++) { // lost six times before it was of use: 4, 8, …, 128
        RIG_UNTIL(&r, r.end_count == 2 * i);
        net_stream_drop(r.client->stream, "test");
    }
    CHECK(pause_left(&r) > 32);
    RIG_UNTIL(&r, r.end_count == 14);
    net_connector_succeeded(r.connector);
    net_stream_drop(r.client->stream, "test");
    CHECK(pause_left(&r) <= 4);
    RIG_UNTIL(&r, r.end_count == 16);
    rig_end(&r);
}

TEST(a_listener_that_comes_later_is_found)
{
    const char *port = closed_port();
    struct rig r;

    rig_begin(&r);
    rig_connect(&r, (struct net_connector_opts){.port = port, .retry_min_ms = 5});
    RIG_UNTIL(&r, r.connects_failed >= 1);
    rig_listen(&r, (struct net_listener_opts){.port = port});
    RIG_UNTIL(&r, r.end_count == 2);
    rig_end(&r);
}

TEST(all_addresses_of_a_name_are_tried_the_families_in_turn)
{
    static const struct {
        const char *name;
        bool ok;
    } rows[] = {
        {"127.0.0.2+127.0.0.3+127.0.0.1.test", true}, {"::1+127.0.0.1.test", true},
        {"127.0.0.2+::1+127.0.0.1.test", true},       {"127.0.0.2+127.0.0.3.test", false},
        {"255.255.255.255+127.0.0.1.test", true}, // not even tried by the kernel
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct rig r;

        rig_begin(&r);
        rig_listen(&r, (struct net_listener_opts){0}); // 127.0.0.1 alone
        rig_connect(&r, (struct net_connector_opts){
                            .host = rows[i].name, .retry_min_ms = 60000, .retry_max_ms = 60000});
        RIG_UNTIL(&r, r.end_count == 2 || r.connects_failed > 0);
        CHECK_EQ_FOR(rows[i].name, r.end_count, rows[i].ok ? 2 : 0);
        CHECK_EQ_FOR(rows[i].name, r.connects_failed, rows[i].ok ? 0 : 1);
        rig_end(&r);
    }
}

TEST(only_addresses_of_the_wanted_family_are_tried)
{
    struct rig r;

    rig_begin(&r);
    rig_listen(&r, (struct net_listener_opts){0});
    rig_connect(&r, (struct net_connector_opts){.host = "localhost", .family = AF_INET});
    RIG_UNTIL(&r, r.end_count == 2);
    net_connector_free(r.connector);
    rig_connect(&r, (struct net_connector_opts){.host = "127.0.0.1", .family = AF_INET6});
    RIG_UNTIL(&r, r.connects_failed > 0);
    CHECK_HAS(r.connect_why, "look up 127.0.0.1:");
    rig_end(&r);
}

TEST(a_name_that_does_not_resolve_is_told_and_tried_again)
{
    struct rig r;

    rig_begin(&r);
    rig_connect(&r, (struct net_connector_opts){.host = "no..such", .retry_min_ms = 1});
    RIG_UNTIL(&r, r.connects_failed == 2);
    CHECK_HAS(r.connect_why, "look up no..such:");
    rig_end(&r);
}

TEST(a_host_is_needed)
{
    struct net_connector_opts o = {.host = "", .port = "1"};
    struct net_connector *c = NULL;
    struct why why = {""};
    struct rig r;

    rig_begin(&r);
    CHECK_EQ(net_connector_new(r.loop, &o, &c, &why), ERR_INVALID);
    CHECK_HAS(why.text, "host is needed");
    rig_end(&r);
}

TEST(a_server_that_takes_the_connection_and_says_nothing_is_given_up)
{
    struct net_tls_opts o = {.name = "client"};
    struct net_tls *t = NULL;
    struct rig r;

    CHECK_EQ(net_tls_new(&o, &t, NULL), 0);
    rig_begin(&r);
    rig_listen(&r, (struct net_listener_opts){0}); // no TLS here: it waits for the client
    rig_connect(&r, (struct net_connector_opts){.tls = t, .connect_ms = 50});
    net_tls_unref(t);
    RIG_UNTIL(&r, r.connects_failed > 0);
    CHECK_HAS(r.connect_why, "in time");
    rig_end(&r);
}

TEST(an_address_that_never_answers_is_given_up)
{
    struct silent silent;
    struct rig r;

    silent_begin(&silent, "127.0.0.1", "0");
    rig_begin(&r);
    rig_connect(&r, (struct net_connector_opts){.port = silent.port, .connect_ms = 50});
    RIG_UNTIL(&r, r.connects_failed > 0);
    CHECK_HAS(r.connect_why, "no answer in time");
    rig_end(&r);
    silent_end(&silent);
}

// A packet to what is no longer there is lost however often it is sent; the next attempt may be led
// elsewhere.
TEST(an_only_address_that_is_silent_is_tried_anew_before_its_time_is_over)
{
    struct silent silent;
    struct rig r;

    silent_begin(&silent, "127.0.0.1", "0");
    rig_begin(&r);
    rig_connect(&r, (struct net_connector_opts){.port = silent.port, .connect_ms = 3600 * 1000});
    RIG_UNTIL(&r, r.connects_failed > 0);
    CHECK_HAS(r.connect_why, "no answer in time");
    rig_end(&r);
    silent_end(&silent);
}

static void give_up(struct rig *r)
{
    net_connector_free(r->connector);
    r->connector = NULL;
}

TEST(its_owner_may_give_it_up_when_told_of_a_failure)
{
    static const char *const hosts[] = {"127.0.0.1", "no..such"};

    for (size_t i = 0; i < 2; i++) {
        struct rig r;

        rig_begin(&r);
        r.on_connect_failed = give_up;
        rig_connect(&r, (struct net_connector_opts){
                            .host = hosts[i], .port = closed_port(), .retry_min_ms = 1});
        RIG_UNTIL(&r, r.connects_failed == 1);
        CHECK_IDLE(&r);
        CHECK_EQ(r.connects_failed, 1);
        rig_end(&r);
    }
}

TEST(given_up_it_drops_its_stream_and_does_not_come_back)
{
    struct rig r;

    rig_begin(&r);
    rig_listen(&r, (struct net_listener_opts){0});
    rig_connect(&r, (struct net_connector_opts){.retry_min_ms = 1});
    RIG_UNTIL(&r, r.end_count == 2);
    give_up(&r);
    CHECK(r.client->is_lost);
    CHECK_STR(str_of(r.client->why), "the connector is gone");
    RIG_UNTIL(&r, r.ends[0].is_lost && r.ends[1].is_lost);
    CHECK_IDLE(&r);
    CHECK_EQ(r.end_count, 2);
    rig_end(&r);
}

TEST(given_up_while_a_name_is_looked_up_nothing_follows)
{
    struct rig r;

    rig_begin(&r);
    rig_connect(&r, (struct net_connector_opts){.host = "localhost"});
    RIG_UNTIL(&r, r.loop->lookup_count == 1);
    give_up(&r);
    RIG_UNTIL(&r, r.loop->lookup_count == 0);
    CHECK_EQ(r.end_count + r.connects_failed, 0);
    rig_connect(&r, (struct net_connector_opts){.host = "localhost"});
    RIG_UNTIL(&r, r.loop->lookup_count == 1);
    rig_end(&r); // with a helper that may still be at it
}

TEST(a_loop_that_ends_does_not_wait_for_a_name)
{
    struct rig r;

    rig_begin(&r);
    rig_connect(&r, (struct net_connector_opts){.host = "slow.test"});
    rig_turn(&r);
    sem_wait(&names_asked);
    CHECK_IDLE(&r); // nor does it while it runs
    rig_end(&r);
    for (int i = 0; i < 2; i++)
        sem_post(&names_answer);
    sem_wait(&names_asked); // the helper goes on, and cleans up after itself
}

TEST(a_place_that_fails_or_is_lost_is_left_for_the_next_one)
{
    struct net_place others[] = {{(char *)(uintptr_t) "127.0.0.1", NULL},
                                 {(char *)(uintptr_t) "127.0.0.2", NULL}};
    char port[16];
    struct rig r;
    int count, at;

    rig_begin(&r);
    rig_listen(&r, (struct net_listener_opts){.host = ""});
    snprintf(port, sizeof(port), "%d", net_listener_port(r.listener));
    others[0].port = others[1].port = port;
    rig_connect(&r, (struct net_connector_opts){.host = "127.0.0.1", .port = "1"});
    net_connector_set_places(r.connector, others, 1);
    RIG_UNTIL(&r, r.client);
    CHECK_HAS(r.connect_why, "127.0.0.1:1: ");
    net_connector_places(r.connector, &count, &at);
    CHECK_EQ(count, 2);
    CHECK_EQ(at, 1);
    net_connector_set_places(r.connector, others + 1, 1); // what is used is kept
    net_connector_places(r.connector, &count, &at);
    CHECK_EQ(count, 3);
    CHECK_EQ(at, 1);
    net_stream_drop(r.client->stream, "lost");
    r.client = NULL;
    RIG_UNTIL(&r, r.client);
    CHECK(strncmp(r.client->peer.host, "127.0.0.2:", 10) == 0);
    net_connector_aim(r.connector, &others[0]); // elsewhere, though nothing is lost
    r.client = NULL;
    RIG_UNTIL(&r, r.client);
    CHECK(strncmp(r.client->peer.host, "127.0.0.1:", 10) == 0);
    net_connector_set_places(r.connector, NULL, 0);
    net_connector_places(r.connector, &count, &at);
    CHECK_EQ(count, 2); // its own, and where it is
    CHECK_EQ(at, 1);
    rig_end(&r);
}

TEST(an_attempt_goes_on_when_it_is_told_what_it_knows)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(sa);
    int server = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), fd = -1;
    const struct net_place *places;
    char port[16];
    struct rig r;
    int count, at;

    CHECK_EQ(bind(server, (struct sockaddr *)&sa, len), 0);
    CHECK_EQ(listen(server, 8), 0);
    getsockname(server, (struct sockaddr *)&sa, &len);
    snprintf(port, sizeof(port), "%d", ntohs(sa.sin_port));
    rig_begin(&r);
    rig_connect(&r, (struct net_connector_opts){.port = port});
    RIG_UNTIL(&r, (fd = accept4(server, NULL, NULL, SOCK_CLOEXEC)) >= 0);
    CHECK(!r.client); // it is not known yet
    net_connector_set_places(r.connector, NULL, 0);
    places = net_connector_places(r.connector, &count, &at);
    net_connector_aim(r.connector, &places[at]);
    RIG_UNTIL(&r, r.client);
    CHECK_EQ(accept4(server, NULL, NULL, SOCK_CLOEXEC), -1); // not begun anew
    rig_end(&r);
    close(fd);
    close(server);
}

TEST_MAIN(CASE(an_attempt_goes_on_when_it_is_told_what_it_knows),
          CASE(a_place_that_fails_or_is_lost_is_left_for_the_next_one),
          CASE(pauses_between_attempts_double_up_to_their_limit_with_jitter),
          CASE(a_stream_that_was_good_starts_the_pauses_from_their_least),
          CASE(a_listener_that_comes_later_is_found),
          CASE(all_addresses_of_a_name_are_tried_the_families_in_turn),
          CASE(only_addresses_of_the_wanted_family_are_tried),
          CASE(a_name_that_does_not_resolve_is_told_and_tried_again), CASE(a_host_is_needed),
          CASE(a_server_that_takes_the_connection_and_says_nothing_is_given_up),
          CASE(an_address_that_never_answers_is_given_up),
          CASE(an_only_address_that_is_silent_is_tried_anew_before_its_time_is_over),
          CASE(its_owner_may_give_it_up_when_told_of_a_failure),
          CASE(given_up_it_drops_its_stream_and_does_not_come_back),
          CASE(given_up_while_a_name_is_looked_up_nothing_follows),
          CASE(a_loop_that_ends_does_not_wait_for_a_name))
