// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/resource.h>

#include "net/rig_test.h"

#include "net/names_test.h"

TEST(port_0_is_a_free_one_and_the_number_is_told)
{
    struct rig r;
    int fd;

    rig_begin(&r);
    rig_listen(&r, (struct net_listener_opts){0});
    CHECK(net_listener_port(r.listener) > 0);
    fd = rig_dial(&r);
    RIG_UNTIL(&r, r.end_count == 1);
    close(fd);
    rig_end(&r);
}

TEST(every_address_is_bound_when_no_host_is_given)
{
    struct rig r;
    int expected = 0;

    rig_begin(&r);
    rig_listen(&r, (struct net_listener_opts){.host = ""});
    const char *const hosts[] = {"127.0.0.1", has_ipv6() ? "::1" : "127.0.0.1"};

    for (size_t i = 0; i < 2; i++) {
        rig_connect(&r, (struct net_connector_opts){.host = hosts[i]});
        expected += 2;
        RIG_UNTIL(&r, r.end_count == expected);
        if (strchr(hosts[i], ':'))
            CHECK(strncmp(r.client->peer.host, "[::1]:", 6) == 0);
        net_connector_free(r.connector);
        r.connector = NULL;
    }
    rig_end(&r);
}

TEST(an_address_that_is_not_of_this_machine_is_passed_over_when_the_name_has_others)
{
    struct rig r;
    int fd;

    rig_begin(&r);
    rig_listen(&r, (struct net_listener_opts){.host = "192.0.2.1+127.0.0.1.test"});
    fd = rig_dial(&r);
    RIG_UNTIL(&r, r.end_count == 1);
    close(fd);
    rig_end(&r);
}

TEST(what_cannot_be_listened_on_is_told_in_words)
{
    struct rig r;
    char taken[16];

    rig_begin(&r);
    rig_listen(&r, (struct net_listener_opts){0});
    snprintf(taken, sizeof(taken), "%d", net_listener_port(r.listener));
    const struct {
        const char *host, *port;
        int family, err;
        const char *says[2];
    } rows[] = {
        {"127.0.0.1", taken, AF_UNSPEC, ERR_IO, {taken, "in use by another program of this user"}},
        {NULL, taken, AF_UNSPEC, ERR_IO, {"any address", "in use by another program of this user"}},
        {"no..such", "0", AF_UNSPEC, ERR_INVALID, {"no..such", "not known"}},
        {"127.0.0.1", "no-such-service", AF_UNSPEC, ERR_INVALID, {"no-such-service", ""}},
        {"127.0.0.1", "0", AF_INET6, ERR_INVALID, {"127.0.0.1", ""}},
        {"192.0.2.1", "0", AF_UNSPEC, ERR_IO, {"192.0.2.1", "Cannot assign"}},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct net_listener_opts o = {
            .host = rows[i].host, .port = rows[i].port, .family = rows[i].family};
        struct net_listener *ln = NULL;
        struct why why = {""};

        CHECK_EQ_FOR(rows[i].host, net_listener_new(r.loop, &o, &ln, &why), rows[i].err);
        CHECK(!ln);
        CHECK_HAS(why.text, rows[i].says[0]);
        CHECK_HAS(why.text, rows[i].says[1]);
    }
    rig_end(&r);
}

TEST(an_engine_that_is_not_given_closes_the_connection)
{
    struct rig r;
    char byte;
    int fd;

    rig_begin(&r);
    r.refuses = true;
    rig_listen(&r, (struct net_listener_opts){0});
    fd = rig_dial(&r);
    CHECK(rig_recv(&r, fd, &byte, 1) <= 0);
    CHECK(list_empty(&r.loop->streams));
    close(fd);
    rig_end(&r);
}

static struct net_tls *server_profile(struct certs *c)
{
    struct net_tls_opts o = {.name = "server", .is_server = true};
    struct net_tls *t = NULL;

    certs_begin(c);
    certs_make(c, "server", &(struct cert_opts){0});
    o.cert_file = certs_path(c, "server.crt");
    o.key_file = certs_path(c, "server.key");
    CHECK_EQ(net_tls_new(&o, &t, NULL), 0);
    return t;
}

TEST(handshakes_are_bounded_in_number_and_in_time)
{
    enum { MOST = 3 };
    struct certs c;
    struct net_tls *t = server_profile(&c);
    int silent[MOST], fd;
    struct rig r;
    char byte;

    rig_begin(&r);
    rig_listen(&r, (struct net_listener_opts){.tls = t, .pending_max = MOST, .handshake_ms = 200});
    net_tls_unref(t);
    for (int i = 0; i < MOST; i++)
        silent[i] = rig_dial(&r);
    fd = rig_dial(&r); // one too many
    CHECK(rig_recv(&r, fd, &byte, 1) <= 0);
    close(fd);
    CHECK_EQ(r.accepts_failed, 0); // the others still have time
    RIG_UNTIL(&r, r.accepts_failed == MOST);
    CHECK_HAS(r.accept_why, "in time");
    CHECK_EQ(r.end_count, 0);
    for (int i = 0; i < MOST; i++) {
        CHECK_EQ(rig_recv(&r, silent[i], &byte, 1), 0);
        close(silent[i]);
    }
    fd = rig_dial(&r); // and there is room again
    rig_turn(&r);
    CHECK(recv(fd, &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN);
    close(fd);
    RIG_UNTIL(&r, r.accepts_failed == MOST + 1);
    rig_end(&r);
    certs_end(&c);
}

// As rig_dial, from another address of this machine.
static int dial_from(struct rig *r, uint32_t address)
{
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr = {htonl(address)}};
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)net_listener_port(r->listener)),
                             .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    CHECK_EQ(bind(fd, (struct sockaddr *)&from, sizeof(from)), 0);
    CHECK_EQ(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    return fd;
}

TEST(one_address_does_not_take_all_places_for_handshakes)
{
    struct certs c;
    struct net_tls *t = server_profile(&c);
    struct rig r;
    int first, second, third, other;
    char byte;

    rig_begin(&r);
    rig_listen(&r, (struct net_listener_opts){.tls = t, .pending_max = 5, .pending_of_one_max = 2});
    net_tls_unref(t);
    first = rig_dial(&r);
    second = rig_dial(&r);
    third = rig_dial(&r); // one too many
    CHECK(rig_recv(&r, third, &byte, 1) <= 0);
    other = dial_from(&r, INADDR_LOOPBACK + 10); // 127.0.0.11, no beginning of the other
    rig_turn(&r);
    CHECK(recv(other, &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN);
    close(first);
    RIG_UNTIL(&r, r.accepts_failed == 1);
    close(third);
    third = rig_dial(&r); // there is a place again
    rig_turn(&r);
    CHECK(recv(third, &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN);
    close(second);
    close(third);
    close(other);
    RIG_UNTIL(&r, r.accepts_failed == 4);
    rig_end(&r);
    certs_end(&c);
}

// Takes descriptors until `left` remain; returns how many were taken.
static int use_up(int *fds, int max, int left)
{
    int count = 0;

    while (count < max && (fds[count] = dup(STDIN_FILENO)) >= 0)
        count++;
    CHECK(count < max && errno == EMFILE);
    while (left-- > 0)
        close(fds[--count]);
    return count;
}

TEST(out_of_descriptors_it_keeps_what_it_has_and_takes_more_when_some_are_free)
{
    enum { MAX = 400 };
    struct rlimit old, low;
    int fds[MAX], taken, first, second;
    struct rig r;

    rig_begin(&r);
    rig_listen(&r, (struct net_listener_opts){0});
    first = rig_dial(&r);
    RIG_UNTIL(&r, r.end_count == 1);
    getrlimit(RLIMIT_NOFILE, &old);
    low = (struct rlimit){MAX - 10, old.rlim_max};
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &low), 0);
    taken = use_up(fds, MAX, 1);
    second = rig_dial(&r); // the last descriptor: none is left to accept with
    rig_turn(&r);
    CHECK_EQ(r.end_count, 1);
    CHECK(!list_empty(&r.loop->waiting_listeners));
    CHECK_EQ(send(first, "still", 5, 0), 5);
    RIG_UNTIL(&r, r.ends[0].got_len == 5);
    CHECK_EQ(r.end_count, 1);
    for (int i = 0; i < 5; i++)
        close(fds[--taken]);
    RIG_UNTIL(&r, r.end_count == 2); // noticed by itself
    CHECK(list_empty(&r.loop->waiting_listeners));
    CHECK_EQ(r.pauses, 1); // however often it has tried since
    CHECK_HAS(r.pause_why, "open files");
    CHECK_EQ(r.resumes, 0); // it may not last
    RIG_UNTIL(&r, r.resumes == 1);
    CHECK_EQ(r.pauses, 1);
    while (taken > 0)
        close(fds[--taken]);
    setrlimit(RLIMIT_NOFILE, &old);
    close(first);
    close(second);
    rig_end(&r);
}

TEST(out_of_memory_it_keeps_what_it_has_and_takes_more_when_there_is_some)
{
    int first, second;
    struct rig r;

    rig_begin(&r);
    rig_listen(&r, (struct net_listener_opts){0});
    first = rig_dial(&r);
    RIG_UNTIL(&r, r.end_count == 1);
    r.is_full = true;
    second = rig_dial(&r);
    RIG_UNTIL(&r, r.pauses == 1);
    CHECK_HAS(r.pause_why, "memory");
    CHECK_EQ(send(first, "still", 5, 0), 5);
    RIG_UNTIL(&r, r.ends[0].got_len == 5);
    CHECK_EQ(r.end_count, 1);
    r.is_full = false;
    RIG_UNTIL(&r, r.end_count == 2);
    RIG_UNTIL(&r, r.resumes == 1);
    CHECK_EQ(r.pauses, 1);
    close(first);
    close(second);
    rig_end(&r);
}

TEST(a_descriptor_that_one_of_its_own_gives_back_is_used_at_once)
{
    enum { MAX = 400 };
    struct rlimit old, low;
    int fds[MAX], taken, first, second;
    struct rig r;

    rig_begin(&r);
    rig_listen(&r, (struct net_listener_opts){0});
    first = rig_dial(&r);
    RIG_UNTIL(&r, r.end_count == 1);
    getrlimit(RLIMIT_NOFILE, &old);
    low = (struct rlimit){MAX - 10, old.rlim_max};
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &low), 0);
    taken = use_up(fds, MAX, 1);
    second = rig_dial(&r);
    rig_turn(&r);
    CHECK(!list_empty(&r.loop->waiting_listeners));
    net_stream_drop(r.ends[0].stream, "makes room");
    CHECK(list_empty(&r.loop->waiting_listeners));
    rig_turn(&r);
    CHECK_EQ(r.end_count, 2);
    while (taken > 0)
        close(fds[--taken]);
    setrlimit(RLIMIT_NOFILE, &old);
    close(first);
    close(second);
    rig_end(&r);
}

TEST(a_loop_that_cannot_be_made_says_so_and_closes_nothing_of_others)
{
    enum { MAX = 400 };
    struct rlimit old, low;
    int fds[MAX], taken;
    struct net_loop *l = NULL;

    getrlimit(RLIMIT_NOFILE, &old);
    low = (struct rlimit){MAX - 10, old.rlim_max};
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &low), 0);
    taken = use_up(fds, MAX, 0);
    for (int left = 0; left < 3; left++) { // epoll, its eventfd, the mailbox
        CHECK_EQ(net_loop_new(&(struct net_hooks){0}, 65536, &l), ERR_IO);
        CHECK(!l);
        close(fds[--taken]);
    }
    while (taken > 0)
        CHECK_EQ(close(fds[--taken]), 0);
    setrlimit(RLIMIT_NOFILE, &old);
    CHECK(fcntl(STDIN_FILENO, F_GETFD) >= 0);
}

static struct net_listener *victim;

static void free_victim(struct rig *r)
{
    (void)r;
    net_listener_free(victim);
    victim = NULL;
}

// Of the one socket of this process that listens.
static uint32_t backlog_in_use(void)
{
    struct tcp_info info = {0};
    socklen_t len;
    int listens;

    for (int fd = 3; fd < 256; fd++) {
        len = sizeof(listens);
        if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) < 0 || !listens)
            continue;
        len = sizeof(info);
        CHECK_EQ(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len), 0);
        return info.tcpi_sacked; // which is what it means for a socket that listens
    }
    return 0;
}

// Whoever does not fit in comes back a second later.
TEST(as_many_as_the_system_allows_wait_to_be_accepted)
{
    static const int backlogs[] = {0, 7};
    FILE *f = fopen("/proc/sys/net/core/somaxconn", "re");
    unsigned most = 0;

    CHECK(f && fscanf(f, "%u", &most) == 1);
    fclose(f);
    for (size_t i = 0; i < 2; i++) {
        struct rig r;

        rig_begin(&r);
        rig_listen(&r, (struct net_listener_opts){.backlog = backlogs[i]});
        CHECK_EQ(backlog_in_use(), backlogs[i] ? (unsigned)backlogs[i] : most);
        rig_end(&r);
    }
}

struct search {
    struct rig *rig;
    int count;
    char why[100];
};

static void search_ended(void *user, const struct net_addresses *addresses, const char *why,
                         struct mono now)
{
    struct search *s = user;

    (void)now;
    s->count++;
    if (addresses)
        rig_listen(s->rig, (struct net_listener_opts){.host = "a name", .addresses = addresses});
    else
        snprintf(s->why, sizeof(s->why), "%s", why);
}

TEST(a_name_to_listen_on_is_found_by_a_helper_where_the_loop_must_not_wait)
{
    static const char *const hosts[] = {"127.0.0.2+127.0.0.1.test", "no..such"};

    for (size_t i = 0; i < 2; i++) {
        struct net_listener_opts opts = {.host = hosts[i], .port = "0", .is_quick = true};
        struct net_listener *none = NULL;
        struct why why = {""};
        struct rig r;
        struct search s = {.rig = &r};

        rig_begin(&r);
        CHECK_EQ(net_listener_new(r.loop, &opts, &none, &why), ERR_AGAIN);
        net_name_find(r.loop, hosts[i], "0", search_ended, &s);
        CHECK_EQ(s.count, 0);
        RIG_UNTIL(&r, s.count == 1);
        CHECK_EQ(r.listener != NULL, i == 0);
        if (i == 0) { // the first address has chosen the port, the second has it too
            int fd = rig_dial(&r);

            RIG_UNTIL(&r, r.end_count == 1);
            close(fd);
        } else {
            CHECK(strlen(s.why) > 0);
        }
        rig_end(&r);
    }
}

TEST(the_loop_goes_on_while_a_name_to_listen_on_is_looked_up)
{
    struct rig r;
    struct search s = {.rig = &r};
    struct net_name *name;

    rig_begin(&r);
    name = net_name_find(r.loop, "slow.test", "0", search_ended, &s);
    sem_wait(&names_asked);
    CHECK_IDLE(&r);
    net_name_cancel(name);
    for (int i = 0; i < 2; i++)
        sem_post(&names_answer);
    sem_wait(&names_asked);
    RIG_UNTIL(&r, r.loop->lookup_count == 0);
    CHECK_EQ(s.count, 0);
    rig_end(&r);
}

TEST(a_listener_may_be_freed_in_the_turn_in_which_somebody_came)
{
    struct net_listener *one, *two;
    struct rig r;
    int a, b;

    rig_begin(&r);
    rig_listen(&r, (struct net_listener_opts){0});
    one = r.listener;
    rig_listen(&r, (struct net_listener_opts){0});
    two = r.listener;
    b = rig_dial(&r);
    r.listener = one;
    a = rig_dial(&r);
    r.on_ready = free_victim; // whichever is told first frees the other: both orders are tried
    victim = two;
    rig_turn(&r);
    rig_turn(&r);
    CHECK(!victim);
    CHECK(r.end_count >= 1);
    close(a);
    close(b);
    rig_end(&r);
}

TEST(a_listener_that_goes_drops_its_handshakes_and_keeps_its_streams)
{
    struct certs c;
    struct net_tls *t = server_profile(&c);
    struct rig r;
    int plain, silent;

    rig_begin(&r);
    rig_listen(&r, (struct net_listener_opts){.tls = t, .tls_optional = true});
    net_tls_unref(t);
    plain = rig_dial(&r);
    silent = rig_dial(&r);
    CHECK_EQ(send(plain, "x", 1, 0), 1);
    RIG_UNTIL(&r, r.end_count == 1);
    net_listener_free(r.listener);
    r.listener = NULL;
    CHECK_EQ(r.accepts_failed, 1);
    CHECK_EQ(send(plain, "y", 1, 0), 1);
    RIG_UNTIL(&r, r.ends[0].got_len == 2);
    close(plain);
    close(silent);
    rig_end(&r);
    certs_end(&c);
}

TEST_MAIN(CASE(port_0_is_a_free_one_and_the_number_is_told),
          CASE(every_address_is_bound_when_no_host_is_given),
          CASE(an_address_that_is_not_of_this_machine_is_passed_over_when_the_name_has_others),
          CASE(what_cannot_be_listened_on_is_told_in_words),
          CASE(an_engine_that_is_not_given_closes_the_connection),
          CASE(handshakes_are_bounded_in_number_and_in_time),
          CASE(one_address_does_not_take_all_places_for_handshakes),
          CASE(out_of_descriptors_it_keeps_what_it_has_and_takes_more_when_some_are_free),
          CASE(out_of_memory_it_keeps_what_it_has_and_takes_more_when_there_is_some),
          CASE(a_descriptor_that_one_of_its_own_gives_back_is_used_at_once),
          CASE(a_loop_that_cannot_be_made_says_so_and_closes_nothing_of_others),
          CASE(as_many_as_the_system_allows_wait_to_be_accepted),
          CASE(a_name_to_listen_on_is_found_by_a_helper_where_the_loop_must_not_wait),
          CASE(the_loop_goes_on_while_a_name_to_listen_on_is_looked_up),
          CASE(a_listener_may_be_freed_in_the_turn_in_which_somebody_came),
          CASE(a_listener_that_goes_drops_its_handshakes_and_keeps_its_streams))
