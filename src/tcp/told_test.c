// SPDX-License-Identifier: Apache-2.0
#include "tcp/rig_test.h"

// What is told of connections: to an observer, and when they are asked.

struct story {
    size_t len;
    int names;
    char text[1024];
};

__attribute__((format(printf, 2, 3))) static void note(struct story *s, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    s->len += (size_t)vsnprintf(s->text + s->len, sizeof(s->text) - s->len, format, args);
    va_end(args);
    CHECK(s->len < sizeof(s->text));
}

static const char *side(const struct tcp_conn *c)
{
    struct tcp_info i;

    tcp_info(c, &i);
    return i.is_listener_side ? "client" : "server";
}

static void on_opened(void *user, struct tcp_conn *c, const struct amqp_msg *head)
{
    struct str name = head ? tcp_name_of(head) : STR_NONE;

    note(user, "%s opened ", side(c));
    if (name.len > 0)
        note(user, "as %.*s", STR_ARG(name));
    note(user, "\n");
    if (!head)
        tcp_look_into(c, tcp_observation(c) != NULL);
}

static const char *on_name(void *user, struct tcp_conn *c)
{
    struct story *s = user;
    static char name[8];

    (void)c;
    snprintf(name, sizeof(name), "f:%d", s->names++);
    return name;
}

static void on_established(void *user, struct tcp_conn *c)
{
    note(user, "%s established\n", side(c));
}

static void on_bytes(void *user, struct tcp_conn *c, bool from_socket, const uint8_t *data,
                     size_t len, struct mono now)
{
    note(user, "%s %s %.*s at %lld\n", side(c), from_socket ? "said" : "heard", (int)len,
         (const char *)data, (long long)(now.ns / NS_PER_MS));
    if (len == 3)
        tcp_look_into(c, false);
}

static void on_closed(void *user, struct tcp_conn *c, const char *error)
{
    note(user, "%s closed%s%s\n", side(c), error ? ": " : "", error ? error : "");
}

static const struct tcp_observer observer = {
    .opened = on_opened,
    .name = on_name,
    .established = on_established,
    .bytes = on_bytes,
    .closed = on_closed,
};

static void observe(struct rig *r, struct story *s)
{
    struct tcp_observer o = observer;

    memset(s, 0, sizeof(*s));
    o.user = s;
    tcp_observe(r->tcp, &o);
}

TEST(an_observer_hears_of_both_ends_and_sees_the_bytes_that_it_asked_for)
{
    struct rig r;
    struct story s;
    struct tcp_conn *client, *server;
    struct tcp_info i;

    begin(&r);
    observe(&r, &s);
    client = tcp_accepted(
        r.tcp,
        &(struct tcp_accept){
            .service = &r.clients, .address = STR("echo"), .peer = "client:1", .observation = &s},
        r.now);
    server = offered(&r);
    tcp_connect_failed(server, "refused");
    r.now = tcp_deadline(client);
    tcp_tick(client, r.now);
    server = offered(&r);
    tcp_connected(server, "server:1", r.now);
    r.now = mono_add_ms((struct mono){0}, 2000);
    say(&r, client, "ask");
    drain(&r, server, NULL, 0);
    say(&r, client, "more"); // nobody looks any more
    drain(&r, server, NULL, 0);
    tcp_look_into(client, true);
    r.now = mono_add_ms(r.now, 5);
    say(&r, server, "answer");
    drain(&r, client, NULL, 0);
    tcp_info(client, &i);
    CHECK_EQ(mono_ms_between(i.first_in_at, i.first_out_at), 5);
    tcp_info(server, &i);
    CHECK_EQ(mono_ms_between(i.first_out_at, i.first_in_at), 5);
    tcp_lost(client, "gone");
    tcp_lost(server, NULL);
    CHECK_STR(str_of(s.text), "client opened \n"
                              "server opened as f:0\n"
                              "server closed: refused\n"
                              "server opened as f:1\n"
                              "client established\n"
                              "server established\n"
                              "client said ask at 2000\n"
                              "client heard answer at 2005\n"
                              "client closed: gone\n"
                              "server closed: the other end was reset\n");
    end(&r);
}

TEST(a_connection_of_the_older_encapsulation_has_a_name_for_older_routers_alone)
{
    struct rig r;
    struct story s;
    struct tcp_conn *client;

    begin(&r);
    r.clients.is_legacy = true;
    observe(&r, &s);
    client = accepted(&r);
    CHECK_STR(str_of(s.text), "client opened \nserver opened \n");
    CHECK_EQ(s.names, 1);
    tcp_connect_failed(offered(&r), "refused");
    tcp_lost(client, NULL);
    end(&r);
}

TEST(what_a_connection_waits_for_can_be_asked)
{
    struct rig r;
    struct tcp_conn *client, *server;
    struct tcp_info i;
    char text[ROUTER_REPLY_MAX];

    begin(&r);
    client = accepted(&r);
    tcp_info(client, &i);
    CHECK_STR(str_of(i.state), "connecting");
    CHECK_STR(str_of(i.waits), "the other end's answer");
    server = offered(&r);
    tcp_info(server, &i);
    CHECK_STR(str_of(i.waits), "its server to answer");
    tcp_connect_failed(server, "refused");
    tcp_info(client, &i);
    CHECK_STR(str_of(i.waits), "its next attempt to find a server");
    r.now = tcp_deadline(client);
    tcp_tick(client, r.now);
    server = offered(&r);
    tcp_connected(server, "server:1", r.now);
    CHECK_STR(tcp_reply_to(client, text), tcp_reply_to(server, NULL).ptr);
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

TEST(a_path_that_takes_nothing_is_waited_for)
{
    static const uint8_t zeros[4096];
    struct rig r;
    struct tcp_conn *client, *server;
    struct tcp_info i;
    struct buf hog; // memory is short, so that little may wait for a socket

    begin(&r);
    client = established(&r, &server);
    buf_init(&hog, r.pool);
    for (int k = 0; k < 1100; k++)
        CHECK_EQ(buf_write(&hog, zeros, sizeof(zeros)), sizeof(zeros));
    while (tcp_room(client) > 0) {
        size_t room = tcp_room(client);

        tcp_feed(client, zeros, room < sizeof(zeros) ? room : sizeof(zeros), r.now);
    }
    tcp_info(client, &i);
    CHECK_STR(str_of(i.waits), "the path to the other end");
    drain(&r, server, NULL, 0);
    tcp_info(client, &i);
    CHECK_STR(str_of(i.waits), "");
    buf_fini(&hog);
    tcp_lost(client, NULL);
    tcp_lost(server, NULL);
    end(&r);
}

TEST_MAIN(CASE(an_observer_hears_of_both_ends_and_sees_the_bytes_that_it_asked_for),
          CASE(a_connection_of_the_older_encapsulation_has_a_name_for_older_routers_alone),
          CASE(a_path_that_takes_nothing_is_waited_for),
          CASE(what_a_connection_waits_for_can_be_asked))
