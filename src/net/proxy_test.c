// SPDX-License-Identifier: Apache-2.0
// Connectors that go through an HTTP proxy; the rig's listener is the proxy.
#include "net/rig_test.h"

#include "net/names_test.h"

static const char *reply; // of the proxy to a whole request
static size_t reply_step; // octets of it at a time; 0: all
static bool closes;       // after that
static char asked[600];   // the last request
static size_t asked_len;  // so much of it is there

static void on_feed(struct end *e)
{
    size_t len = strlen(reply), step = reply_step ? reply_step : len;

    if (!memmem(e->got, e->got_len, "\r\n\r\n", 4))
        return;
    snprintf(asked, sizeof(asked), "%s", e->got);
    asked_len = e->got_len;
    e->on_feed = NULL;
    e->got_len = 0;
    for (size_t at = 0; at < len; at += step) {
        end_say(e, reply + at, len - at < step ? len - at : step);
        if (reply_step)
            stream_flush(e->stream);
    }
    e->is_finished = closes;
    net_want_write(e->stream);
    e->echoes = true;
}

static void on_ready(struct rig *r)
{
    struct end *e = &r->ends[r->end_count - 1];

    if (atoi(strrchr(e->peer.local, ':') + 1) == net_listener_port(r->listener))
        e->on_feed = on_feed; // it came in
}

static struct net_proxy *begin(struct rig *r, const char *answer, const char *host)
{
    static char port[16];
    struct net_proxy *p = NULL;

    reply = answer;
    reply_step = 0;
    closes = false;
    asked[0] = '\0';
    rig_begin(r);
    r->on_ready = on_ready;
    rig_listen(r, (struct net_listener_opts){0});
    snprintf(port, sizeof(port), "%d", net_listener_port(r->listener));
    CHECK_EQ(net_proxy_new(&(struct net_proxy_opts){.name = "out",
                                                    .host = host ? host : "127.0.0.1",
                                                    .port = port,
                                                    .username = "a",
                                                    .password = "b"},
                           &p, NULL),
             0);
    return p;
}

static void connect_through(struct rig *r, struct net_proxy *p, struct net_connector_opts opts)
{
    opts.host = "far.invalid";
    opts.port = "55671";
    opts.proxy = p;
    opts.retry_min_ms = opts.retry_max_ms = opts.retry_min_ms ? opts.retry_min_ms : 60000;
    rig_connect(r, opts);
    net_proxy_unref(p);
}

TEST(what_follows_the_answer_is_the_far_ends)
{
    for (size_t step = 0; step < 3; step++) {
        struct rig r;
        struct net_proxy *p = begin(&r, "HTTP/1.1 200 OK\r\nX: y\r\n\r\nfirst words ", NULL);

        reply_step = step;
        connect_through(&r, p, (struct net_connector_opts){0});
        RIG_UNTIL(&r, r.client && r.client->got_len >= 12);
        end_say(r.client, "and mine", 8);
        RIG_UNTIL(&r, r.client->got_len == 20);
        CHECK_STR(str_of(r.client->got), "first words and mine");
        CHECK_STR(str_of(asked), "CONNECT far.invalid:55671 HTTP/1.1\r\nHost: far.invalid:55671\r\n"
                                 "Proxy-Authorization: Basic YTpi\r\n\r\n");
        CHECK_EQ(asked_len, strlen(asked)); // we say nothing before the answer
        CHECK_EQ(r.connects_failed, 0);
        rig_end(&r);
    }
}

TEST(of_the_addresses_of_a_proxy_one_that_does_not_answer_keeps_nobody_waiting)
{
    struct silent silent;
    struct rig r;
    struct net_proxy *p = NULL;

    silent_begin(&silent, "127.0.0.2", "0");
    reply = "HTTP/1.1 200 OK\r\n\r\n";
    reply_step = 0;
    closes = false;
    asked[0] = '\0';
    rig_begin(&r);
    r.on_ready = on_ready;
    rig_listen(&r, (struct net_listener_opts){.port = silent.port});
    CHECK_EQ(net_proxy_new(&(struct net_proxy_opts){.name = "out",
                                                    .host = "127.0.0.2+127.0.0.1.test",
                                                    .port = silent.port},
                           &p, NULL),
             0);
    connect_through(&r, p, (struct net_connector_opts){0});
    RIG_UNTIL(&r, r.client);
    CHECK_EQ(r.connects_failed, 0);
    rig_end(&r);
    silent_end(&silent);
}

TEST(each_failure_is_told_and_tried_again)
{
    static const struct {
        const char *reply, *why;
        bool closes;
    } rows[] = {
        {"HTTP/1.1 403 No\r\n\r\n", "the proxy answers 403: it does not allow this", false},
        {"HTTP/1.1 407 No\r\nProxy-Authenticate: Basic\r\n\r\n", "it refuses the credentials",
         false},
        {"AMQP", "what answers is no HTTP proxy", false},
        {"", "the proxy closed the connection before its answer was whole", true},
        {"HTTP/1.1 200 OK\r\n", "the proxy closed the connection before its answer was whole",
         true},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct rig r;
        struct net_proxy *p = begin(&r, rows[i].reply, NULL);

        closes = rows[i].closes;
        connect_through(&r, p, (struct net_connector_opts){.retry_min_ms = 1});
        RIG_UNTIL(&r, r.connects_failed >= 2);
        CHECK_HAS(r.connect_why, "connect to far.invalid:55671 through proxy 127.0.0.1:");
        CHECK_HAS(r.connect_why, rows[i].why);
        CHECK(!r.client);
        rig_end(&r);
    }
}

TEST(a_proxy_that_says_nothing_is_given_up)
{
    static const char *const replies[] = {"", "HTTP/1.1 200 OK\r\n"};

    for (size_t i = 0; i < 2; i++) {
        struct rig r;
        struct net_proxy *p = begin(&r, replies[i], NULL);

        connect_through(&r, p, (struct net_connector_opts){.connect_ms = 50});
        RIG_UNTIL(&r, r.connects_failed == 1);
        CHECK_HAS(r.connect_why, "the proxy did not answer in time");
        CHECK(!r.client);
        rig_end(&r);
    }
}

TEST(a_proxy_that_is_not_there_is_told)
{
    static const struct {
        const char *host, *why;
    } rows[] = {
        {"127.0.0.9", "connect to proxy 127.0.0.9:"},
        {"no..such", "look up proxy no..such:"},
    };

    for (size_t i = 0; i < 2; i++) {
        struct rig r;
        struct net_proxy *p = begin(&r, "", rows[i].host);

        connect_through(&r, p, (struct net_connector_opts){0});
        RIG_UNTIL(&r, r.connects_failed == 1);
        CHECK_HAS(r.connect_why, rows[i].why);
        CHECK_HAS(r.connect_why, " on the way to far.invalid:55671: ");
        CHECK_HAS(r.connect_why, "are host and port of the proxyProfile 'out' right?");
        rig_end(&r);
    }
}

TEST(a_password_that_cannot_be_read_is_told)
{
    struct rig r;
    struct net_proxy *p = begin(&r, "", NULL), *q = NULL;

    CHECK_EQ(net_proxy_new(&(struct net_proxy_opts){.name = "out",
                                                    .host = p->host,
                                                    .port = p->port,
                                                    .username = "a",
                                                    .password = "file:/nowhere/at/all"},
                           &q, NULL),
             0);
    net_proxy_unref(p);
    connect_through(&r, q, (struct net_connector_opts){0});
    RIG_UNTIL(&r, r.connects_failed == 1);
    CHECK_HAS(r.connect_why, "its password cannot be read");
    rig_end(&r);
}

// Whoever waits for the next attempt need not wait for what has been corrected.
TEST(another_proxy_is_taken_from_the_next_attempt_on)
{
    struct rig r;
    struct net_proxy *p = begin(&r, "HTTP/1.1 200 OK\r\n\r\n", NULL);

    net_proxy_ref(p);
    rig_connect(&r,
                (struct net_connector_opts){.host = "127.0.0.9", .port = "1", .retry_min_ms = 1});
    RIG_UNTIL(&r, r.connects_failed >= 1);
    net_connector_set_proxy(r.connector, p);
    RIG_UNTIL(&r, r.client);
    CHECK_HAS(asked, "CONNECT 127.0.0.9:1 ");
    net_connector_set_proxy(r.connector, NULL); // what is open stays
    CHECK_IDLE(&r);
    CHECK(!r.client->is_lost);
    net_proxy_unref(p);
    net_proxy_unref(p);
    rig_end(&r);
}

TEST_MAIN(CASE(what_follows_the_answer_is_the_far_ends),
          CASE(of_the_addresses_of_a_proxy_one_that_does_not_answer_keeps_nobody_waiting),
          CASE(each_failure_is_told_and_tried_again), CASE(a_proxy_that_says_nothing_is_given_up),
          CASE(a_proxy_that_is_not_there_is_told), CASE(a_password_that_cannot_be_read_is_told),
          CASE(another_proxy_is_taken_from_the_next_attempt_on))
