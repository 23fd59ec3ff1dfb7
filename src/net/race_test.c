// SPDX-License-Identifier: Apache-2.0
#include "net/rig_test.h"

#include "net/names_test.h"

static struct net_place place(const char *host, const char *port)
{
    return (struct net_place){(char *)(uintptr_t)host, (char *)(uintptr_t)port};
}

// The places in their order; the last one is where the rig listens.
static void race(struct rig *r, struct net_connector_opts opts, const struct net_place *before)
{
    static char port[16];
    struct net_place living = place("127.0.0.1", port);

    snprintf(port, sizeof(port), "%d", net_listener_port(r->listener));
    opts.host = before->host;
    opts.port = before->port;
    rig_connect(r, opts);
    net_connector_set_places(r->connector, &living, 1);
}

static int place_of(const struct rig *r)
{
    int count, at;

    net_connector_places(r->connector, &count, &at);
    return at;
}

TEST(one_that_does_not_answer_keeps_nobody_waiting)
{
    static const char *const hosts[] = {"127.0.0.1", "127.0.0.2.test", "::1"};

    for (size_t i = 0; i < 2u + has_ipv6(); i++) {
        struct silent silent;
        struct net_place first;
        struct rig r;

        silent_begin(&silent, i == 1 ? "127.0.0.2" : hosts[i], "0");
        first = place(hosts[i], silent.port);
        rig_begin(&r);
        rig_listen(&r, (struct net_listener_opts){0});
        race(&r, (struct net_connector_opts){.retry_min_ms = 1}, &first);
        RIG_UNTIL(&r, r.client);
        CHECK_EQ_FOR(hosts[i], place_of(&r), 1);
        CHECK_EQ_FOR(hosts[i], r.connects_failed,
                     0); // it had not been given up when this one was up
        rig_end(&r);
        silent_end(&silent);
    }
}

TEST(of_the_addresses_of_a_name_one_that_does_not_answer_keeps_nobody_waiting)
{
    static const char *const names[][2] = {{"127.0.0.2", "127.0.0.2+127.0.0.1.test"},
                                           {"::1", "::1+127.0.0.1.test"}};

    for (size_t i = 0; i < 1u + has_ipv6(); i++) {
        struct silent silent;
        struct rig r;

        silent_begin(&silent, names[i][0], "0");
        rig_begin(&r);
        rig_listen(&r, (struct net_listener_opts){.port = silent.port});
        rig_connect(&r, (struct net_connector_opts){.host = names[i][1], .retry_min_ms = 1});
        RIG_UNTIL(&r, r.client);
        CHECK_EQ_FOR(names[i][1], r.connects_failed, 0);
        rig_end(&r);
        silent_end(&silent);
    }
}

TEST(a_handshake_that_does_not_end_keeps_nobody_waiting)
{
    struct net_tls_opts server = {.name = "server", .is_server = true}, client = {.name = "client"};
    struct net_tls *s = NULL, *c = NULL;
    struct certs certs;
    struct rig r, mute;
    char port[16];

    certs_begin(&certs);
    certs_make(&certs, "server", &(struct cert_opts){0});
    server.cert_file = certs_path(&certs, "server.crt");
    server.key_file = certs_path(&certs, "server.key");
    client.ca_file = certs_path(&certs, "ca.crt");
    CHECK_EQ(net_tls_new(&server, &s, NULL), 0);
    CHECK_EQ(net_tls_new(&client, &c, NULL), 0);
    rig_begin(&mute);
    rig_listen(&mute, (struct net_listener_opts){0}); // no TLS here: it waits for the client
    snprintf(port, sizeof(port), "%d", net_listener_port(mute.listener));
    rig_begin(&r);
    rig_listen(&r, (struct net_listener_opts){.tls = s});
    race(&r, (struct net_connector_opts){.tls = c, .retry_min_ms = 1},
         &(struct net_place){(char *)(uintptr_t) "127.0.0.1", port});
    while (!r.client) {
        rig_turn(&mute);
        rig_turn(&r);
    }
    CHECK_EQ(place_of(&r), 1);
    CHECK_EQ(r.connects_failed, 0);
    RIG_UNTIL(&mute, mute.end_count == 1 && mute.ends[0].is_lost); // given up, with the race
    rig_end(&r);
    rig_end(&mute);
    net_tls_unref(s);
    net_tls_unref(c);
    certs_end(&certs);
}

TEST(a_name_that_is_looked_up_for_long_keeps_nobody_waiting)
{
    struct net_place first = place("slow.test", "1");
    struct rig r;

    rig_begin(&r);
    rig_listen(&r, (struct net_listener_opts){0});
    race(&r, (struct net_connector_opts){.retry_min_ms = 1}, &first);
    RIG_UNTIL(&r, r.client);
    CHECK_EQ(r.loop->lookup_count, 1); // still
    CHECK_EQ(r.connects_failed, 0);
    rig_end(&r);
    for (int i = 0; i < 2; i++)
        sem_post(&names_answer);
    for (int i = 0; i < 2; i++)
        sem_wait(&names_asked);
}

TEST(where_all_answer_the_order_counts)
{
    struct rig r;
    struct net_place first;
    char port[16];

    rig_begin(&r);
    rig_listen(&r, (struct net_listener_opts){.host = ""});
    snprintf(port, sizeof(port), "%d", net_listener_port(r.listener));
    first = place("127.0.0.2", port);
    race(&r, (struct net_connector_opts){0}, &first);
    RIG_UNTIL(&r, r.end_count == 2);
    CHECK(strncmp(r.client->peer.host, "127.0.0.2:", 10) == 0);
    CHECK_IDLE(&r); // and nobody else was asked
    CHECK_EQ(r.end_count, 2);
    rig_end(&r);
}

TEST(each_place_that_fails_is_told_once_a_round)
{
    struct net_place others[] = {place("no..such", "1"), place("127.0.0.3+127.0.0.4.test", "1")};
    struct rig r;

    rig_begin(&r);
    rig_connect(
        &r, (struct net_connector_opts){
                .host = "127.0.0.2", .port = "1", .retry_min_ms = 60000, .retry_max_ms = 60000});
    net_connector_set_places(r.connector, others, 2);
    RIG_UNTIL(&r, r.connects_failed == 3);
    CHECK_IDLE(&r); // until the pause is over
    CHECK_EQ(r.connects_failed, 3);
    rig_end(&r);
}

TEST(bound_to_a_place_it_tries_no_other)
{
    struct net_place other = place("127.0.0.2", NULL);
    struct rig r;
    char port[16];

    rig_begin(&r);
    rig_listen(&r, (struct net_listener_opts){0}); // its own place, 127.0.0.1, alone
    snprintf(port, sizeof(port), "%d", net_listener_port(r.listener));
    other.port = port;
    rig_connect(&r, (struct net_connector_opts){.retry_min_ms = 1, .retry_max_ms = 2});
    net_connector_set_places(r.connector, &other, 1);
    RIG_UNTIL(&r, r.client);
    net_connector_aim(r.connector, &other);
    r.client = NULL;
    RIG_UNTIL(&r, r.connects_failed == 3);
    CHECK_HAS(r.connect_why, "127.0.0.2:");
    CHECK(!r.client);
    rig_end(&r);
}

TEST_MAIN(CASE(one_that_does_not_answer_keeps_nobody_waiting),
          CASE(of_the_addresses_of_a_name_one_that_does_not_answer_keeps_nobody_waiting),
          CASE(a_handshake_that_does_not_end_keeps_nobody_waiting),
          CASE(a_name_that_is_looked_up_for_long_keeps_nobody_waiting),
          CASE(where_all_answer_the_order_counts), CASE(each_place_that_fails_is_told_once_a_round),
          CASE(bound_to_a_place_it_tries_no_other))
