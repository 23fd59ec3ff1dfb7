// SPDX-License-Identifier: Apache-2.0
#include <sys/resource.h>

#include "net/rig_test.h"

#include "net/names_test.h"

// A target, and what became of its dials.
struct dialled {
    struct rig *rig;
    struct net_target *target;
    int failures;
    enum net_fault fault;
    char why[400];
};

static void *ready(void *user, struct net_stream *s, const struct net_engine_ops **ops,
                   struct mono now)
{
    return rig_connected(((struct dialled *)user)->rig, s, ops, now);
}

static void failed(void *user, enum net_fault fault, const char *why, struct mono now)
{
    struct dialled *d = user;

    (void)now;
    d->failures++;
    d->fault = fault;
    snprintf(d->why, sizeof(d->why), "%s", why);
}

static void aim(struct dialled *d, struct rig *r, struct net_target_opts opts)
{
    static char port[16];
    struct why why = {""};

    *d = (struct dialled){.rig = r};
    snprintf(port, sizeof(port), "%d", r->listener ? net_listener_port(r->listener) : 1);
    opts.host = opts.host ? opts.host : "127.0.0.1";
    opts.port = opts.port ? opts.port : port;
    CHECK_EQ(net_target_new(r->loop, &opts, &d->target, &why), 0);
}

static struct net_dial *dial(struct dialled *d, const char *alpn)
{
    return net_dial(d->target, &(struct net_dialling){ready, failed, d}, alpn);
}

static void done(struct dialled *d)
{
    net_target_free(d->target);
    rig_end(d->rig);
}

TEST(a_dial_ends_in_a_stream_or_in_words_and_never_before_it_has_begun)
{
    struct dialled d;
    struct rig r;

    rig_begin(&r);
    rig_listen(&r, (struct net_listener_opts){0});
    aim(&d, &r, (struct net_target_opts){0});
    dial(&d, NULL);
    CHECK_EQ(r.end_count, 0);
    RIG_UNTIL(&r, r.end_count == 2);
    net_listener_free(r.listener);
    r.listener = NULL;
    dial(&d, NULL);
    CHECK_EQ(d.failures, 0);
    RIG_UNTIL(&r, d.failures == 1);
    CHECK_EQ(d.fault, NET_FAULT_TARGET);
    CHECK_HAS(d.why, "connect to 127.0.0.1:");
    CHECK_HAS(d.why, "refused");
    done(&d);
}

TEST(the_addresses_of_a_name_are_tried_until_one_answers)
{
    static const char *const hosts[] = {"127.0.0.2+127.0.0.3+127.0.0.1.test", "127.0.0.1.test",
                                        "::1+127.0.0.1.test"};

    for (size_t i = 0; i < 3; i++) {
        struct dialled d;
        struct rig r;

        rig_begin(&r);
        rig_listen(&r, (struct net_listener_opts){0});
        aim(&d, &r, (struct net_target_opts){.host = hosts[i]});
        dial(&d, NULL);
        dial(&d, NULL); // one look-up serves both
        CHECK_EQ(r.loop->lookup_count, 1);
        RIG_UNTIL(&r, r.end_count == 4);
        dial(&d, NULL); // and this one, a moment later
        CHECK_EQ(r.loop->lookup_count, 0);
        RIG_UNTIL(&r, r.end_count == 6);
        CHECK_EQ(d.failures, 0);
        done(&d);
    }
}

TEST(a_name_that_does_not_resolve_is_asked_for_again_by_a_later_dial)
{
    struct mono began;
    struct dialled d;
    struct rig r;

    rig_begin(&r);
    aim(&d, &r, (struct net_target_opts){.host = "no..such", .failed_ms = 1});
    for (int i = 1; i <= 2; i++) {
        dial(&d, NULL);
        CHECK_EQ(r.loop->lookup_count, 1);
        RIG_UNTIL(&r, d.failures == i);
        CHECK_EQ(d.fault, NET_FAULT_TARGET);
        CHECK_HAS(d.why, "look up no..such:1: ");
        began = mono_now();
        RIG_UNTIL(&r, mono_ms_between(began, mono_now()) >= 2);
    }
    done(&d);
}

TEST(a_server_that_does_not_answer_is_given_up_in_time)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(to);
    int door = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), queue[4];
    struct mono began = mono_now();
    struct dialled d;
    struct rig r;
    char port[16];

    // A queue that is full takes nobody in.
    CHECK_EQ(bind(door, (struct sockaddr *)&to, len), 0);
    CHECK_EQ(listen(door, 0), 0);
    CHECK_EQ(getsockname(door, (struct sockaddr *)&to, &len), 0);
    snprintf(port, sizeof(port), "%u", ntohs(to.sin_port));
    for (int i = 0; i < 4; i++) {
        queue[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        (void)!connect(queue[i], (struct sockaddr *)&to, sizeof(to));
    }
    rig_begin(&r);
    aim(&d, &r, (struct net_target_opts){.port = port, .connect_ms = 50});
    dial(&d, NULL);
    RIG_UNTIL(&r, d.failures == 1);
    CHECK(mono_ms_between(began, mono_now()) >= 50);
    CHECK_EQ(d.fault, NET_FAULT_LATE);
    CHECK_HAS(d.why, "no answer in time");
    done(&d);
    for (int i = 0; i < 4; i++)
        close(queue[i]);
    close(door);
}

TEST(out_of_descriptors_the_fault_is_ours)
{
    struct rlimit old, low;
    struct dialled d;
    struct rig r;
    int fds[64], count = 0;

    rig_begin(&r);
    rig_listen(&r, (struct net_listener_opts){0});
    aim(&d, &r, (struct net_target_opts){0});
    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &old), 0);
    low = (struct rlimit){64, old.rlim_max};
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &low), 0);
    while (count < 64 && (fds[count] = dup(0)) >= 0)
        count++;
    dial(&d, NULL);
    RIG_UNTIL(&r, d.failures == 1);
    CHECK_EQ(d.fault, NET_FAULT_OURS);
    CHECK_HAS(d.why, "open files");
    while (count > 0)
        close(fds[--count]);
    setrlimit(RLIMIT_NOFILE, &old);
    dial(&d, NULL);
    RIG_UNTIL(&r, r.end_count == 2);
    done(&d);
}

static struct net_tls *tls_of(struct certs *c, bool is_server)
{
    const struct net_tls_opts opts = {.name = "test",
                                      .ca_file = certs_path(c, "ca.crt"),
                                      .cert_file = certs_path(c, "localhost.crt"),
                                      .key_file = certs_path(c, "localhost.key"),
                                      .is_server = is_server,
                                      .offer_http = true};
    struct net_tls *tls = NULL;
    struct why why = {""};

    if (net_tls_new(&opts, &tls, &why) < 0)
        fail_msg("%s", why.text);
    return tls;
}

// This server hangs up on everybody, which may be the fault of the offer only where there was one.
TEST(a_handshake_that_fails_may_be_the_fault_of_what_was_offered)
{
    static const char *const offers[] = {"spdy", NULL};

    for (size_t i = 0; i < 2; i++) {
        struct certs certs;
        struct net_tls *client;
        struct dialled d;
        struct rig r;

        certs_begin(&certs);
        certs_make(&certs, "localhost", &(struct cert_opts){.san = "DNS:localhost"});
        client = tls_of(&certs, false);
        rig_begin(&r);
        r.refuses = true; // at once, in the middle of the handshake
        rig_listen(&r, (struct net_listener_opts){0});
        aim(&d, &r, (struct net_target_opts){.tls = client});
        dial(&d, offers[i]);
        RIG_UNTIL(&r, d.failures == 1);
        CHECK_EQ(d.fault, offers[i] ? NET_FAULT_OFFER : NET_FAULT_TARGET);
        done(&d);
        net_tls_unref(client);
        certs_end(&certs);
    }
}

TEST(the_one_protocol_is_offered_and_the_host_is_checked)
{
    static const struct {
        const char *host, *alpn, *want; // NULL: it fails
    } rows[] = {
        {"localhost", "h2", "h2"},
        {"localhost", "http/1.1", "http/1.1"},
        {"localhost", NULL, ""},
        {"127.0.0.1", NULL, NULL}, // not in its certificate
    };
    struct certs certs;

    certs_begin(&certs);
    certs_make(&certs, "localhost", &(struct cert_opts){.san = "DNS:localhost"});
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct net_tls *server = tls_of(&certs, true), *client = tls_of(&certs, false);
        struct dialled d;
        struct rig r;

        rig_begin(&r);
        rig_listen(&r, (struct net_listener_opts){.tls = server});
        aim(&d, &r,
            (struct net_target_opts){.host = rows[i].host, .tls = client, .verify_host = true});
        dial(&d, rows[i].alpn);
        RIG_UNTIL(&r, r.end_count == 2 || d.failures == 1);
        CHECK_EQ(d.failures, rows[i].want ? 0 : 1);
        if (rows[i].want)
            CHECK_STR(str_of(r.client->peer.alpn), rows[i].want);
        else
            CHECK_HAS(d.why, "the host that was dialled is not in the certificate");
        done(&d);
        net_tls_unref(server);
        net_tls_unref(client);
    }
    certs_end(&certs);
}

TEST(given_up_in_any_state_nothing_follows)
{
    static const char *const hosts[] = {"127.0.0.1", "127.0.0.1.test"};

    for (int i = 0; i < 4; i++) {
        struct dialled d;
        struct rig r;
        struct net_dial *one;

        rig_begin(&r);
        rig_listen(&r, (struct net_listener_opts){0});
        aim(&d, &r, (struct net_target_opts){.host = hosts[i % 2]});
        one = dial(&d, NULL);
        dial(&d, NULL);
        if (i / 2)
            net_target_free(d.target); // both
        else
            net_dial_cancel(one);
        RIG_UNTIL(&r, r.loop->lookup_count == 0);
        if (i / 2)
            d.target = NULL;
        else
            RIG_UNTIL(&r, r.client != NULL);
        rig_turn(&r);
        rig_turn(&r);
        CHECK_EQ(d.failures, 0);
        done(&d);
    }
}

TEST_MAIN(CASE(a_dial_ends_in_a_stream_or_in_words_and_never_before_it_has_begun),
          CASE(the_addresses_of_a_name_are_tried_until_one_answers),
          CASE(a_name_that_does_not_resolve_is_asked_for_again_by_a_later_dial),
          CASE(a_server_that_does_not_answer_is_given_up_in_time),
          CASE(out_of_descriptors_the_fault_is_ours),
          CASE(a_handshake_that_fails_may_be_the_fault_of_what_was_offered),
          CASE(the_one_protocol_is_offered_and_the_host_is_checked),
          CASE(given_up_in_any_state_nothing_follows))
