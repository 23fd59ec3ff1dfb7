// SPDX-License-Identifier: Apache-2.0
#include <netinet/tcp.h>

#include "net/rig_test.h"

static void small_buffer(int fd, int option)
{
    int size = 32768;

    setsockopt(fd, SOL_SOCKET, option, &size, sizeof(size));
}

// A pattern in which every place differs from its neighbours of other lengths.
static uint8_t at(size_t i)
{
    return (uint8_t)(i * 31 + (i >> 8) * 7 + (i >> 16));
}

static uint8_t *pattern(size_t len)
{
    uint8_t *data = xcalloc(1, len);

    for (size_t i = 0; i < len; i++)
        data[i] = at(i);
    return data;
}

TEST(both_ends_know_each_other_by_address)
{
    struct rig r;

    rig_begin(&r);
    rig_listen(&r, (struct net_listener_opts){0});
    rig_connect(&r, (struct net_connector_opts){0});
    RIG_UNTIL(&r, r.end_count == 2);
    CHECK_STR(str_of(r.ends[0].peer.host), r.ends[1].peer.local);
    CHECK_STR(str_of(r.ends[0].peer.local), r.ends[1].peer.host);
    CHECK(strncmp(r.ends[0].peer.host, "127.0.0.1:", 10) == 0);
    CHECK(!r.ends[0].peer.is_encrypted && !r.ends[0].peer.is_authenticated);
    rig_end(&r);
}

TEST(what_one_end_says_comes_back_from_the_other_byte_for_byte)
{
    enum { LEN = 3000000 };
    uint8_t *data = pattern(LEN);
    struct rig r;

    rig_begin(&r);
    r.echoes = true;
    rig_listen(&r, (struct net_listener_opts){0});
    rig_connect(&r, (struct net_connector_opts){0});
    RIG_UNTIL(&r, r.end_count == 2);
    small_buffer(r.client->stream->source.fd, SO_RCVBUF);
    small_buffer(r.client->stream->source.fd, SO_SNDBUF);
    end_say(r.client, data, LEN);
    RIG_UNTIL(&r, r.client->got_len == LEN);
    CHECK(memcmp(r.client->got, data, LEN) == 0);
    rig_end(&r);
    free(data);
}

TEST(a_socket_that_was_full_once_leaves_the_loop_idle_afterwards)
{
    enum { LEN = 4000000 };
    uint8_t *data = pattern(LEN), *got = xcalloc(1, LEN);
    size_t len = 0;
    struct rig r;
    int fd;

    rig_begin(&r);
    rig_listen(&r, (struct net_listener_opts){0});
    fd = rig_dial(&r);
    RIG_UNTIL(&r, r.end_count == 1);
    small_buffer(fd, SO_RCVBUF); // else it grows to many megabytes where there is memory
    small_buffer(r.ends[0].stream->source.fd, SO_SNDBUF);
    end_say(&r.ends[0], data, LEN);
    rig_turn(&r);
    CHECK(r.ends[0].out.len > 0); // the kernel does not hold that much
    while (len < LEN)
        len += (size_t)rig_recv(&r, fd, got + len, LEN - len);
    CHECK(memcmp(got, data, LEN) == 0);
    CHECK_EQ(r.ends[0].out.len, 0);
    CHECK_IDLE(&r);
    close(fd);
    rig_end(&r);
    free(data);
    free(got);
}

TEST(a_paused_engine_is_fed_again_when_it_wants)
{
    struct rig r;
    int fd;

    rig_begin(&r);
    rig_listen(&r, (struct net_listener_opts){0});
    fd = rig_dial(&r);
    RIG_UNTIL(&r, r.end_count == 1);
    r.ends[0].is_paused = true;
    CHECK_EQ(send(fd, "hello", 5, 0), 5);
    rig_turn(&r);
    rig_turn(&r);
    CHECK_EQ(r.ends[0].got_len, 0);
    CHECK_IDLE(&r);
    r.ends[0].is_paused = false;
    RIG_UNTIL(&r, r.ends[0].got_len == 5);
    close(fd);
    rig_end(&r);
}

TEST(a_paused_engine_learns_at_once_that_its_peer_broke_off)
{
    struct linger hard = {.l_onoff = 1};
    struct rig r;
    int fd;

    rig_begin(&r);
    rig_listen(&r, (struct net_listener_opts){0});
    fd = rig_dial(&r);
    RIG_UNTIL(&r, r.end_count == 1);
    r.ends[0].is_paused = true;
    CHECK_EQ(send(fd, "hello", 5, 0), 5);
    rig_turn(&r);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
    close(fd); // sends RST
    RIG_UNTIL(&r, r.ends[0].is_lost);
    CHECK_HAS(r.ends[0].why, "broke");
    CHECK_IDLE(&r);
    rig_end(&r);
}

TEST(last_words_reach_a_peer_that_is_still_talking)
{
    uint8_t *data = pattern(300000);
    char got[64] = "";
    struct rig r;
    int fd;

    rig_begin(&r);
    rig_listen(&r, (struct net_listener_opts){0});
    fd = rig_dial(&r);
    RIG_UNTIL(&r, r.end_count == 1);
    r.ends[0].is_paused = true; // so that bytes lie unread when it closes
    CHECK(send(fd, data, 300000, MSG_DONTWAIT) > 0);
    rig_turn(&r);
    r.ends[0].is_finished = true;
    end_say(&r.ends[0], "goodbye", 7);
    RIG_UNTIL(&r, r.ends[0].is_lost);
    CHECK_STR(str_of(r.ends[0].why), "closed");
    CHECK_EQ(rig_recv(&r, fd, got, sizeof(got)), 7);
    CHECK_STR(str_of(got), "goodbye");
    CHECK_EQ(rig_recv(&r, fd, got, sizeof(got)), 0);
    CHECK(send(fd, data, 1000, MSG_DONTWAIT | MSG_NOSIGNAL) > 0); // and nobody minds
    close(fd);
    RIG_UNTIL(&r, list_empty(&r.loop->streams));
    rig_end(&r);
    free(data);
}

TEST(a_peer_that_never_closes_is_not_waited_for)
{
    struct rig r;
    char got[8];
    int fd;

    rig_begin(&r);
    rig_listen(&r, (struct net_listener_opts){0});
    fd = rig_dial(&r);
    RIG_UNTIL(&r, r.end_count == 1);
    r.ends[0].is_finished = true;
    net_want_write(r.ends[0].stream);
    CHECK_EQ(rig_recv(&r, fd, got, sizeof(got)), 0);
    CHECK(!list_empty(&r.loop->streams));
    RIG_UNTIL(&r, list_empty(&r.loop->streams));
    close(fd);
    rig_end(&r);
}

static void drop_myself(struct end *e)
{
    net_stream_drop(e->stream, "enough");
}

TEST(an_engine_may_drop_its_stream_while_it_is_fed)
{
    struct rig r;
    char got[8];
    int fd;

    rig_begin(&r);
    rig_listen(&r, (struct net_listener_opts){0});
    fd = rig_dial(&r);
    RIG_UNTIL(&r, r.end_count == 1);
    r.ends[0].on_feed = drop_myself;
    CHECK_EQ(send(fd, "hello", 5, 0), 5);
    RIG_UNTIL(&r, r.ends[0].is_lost);
    CHECK_STR(str_of(r.ends[0].why), "enough");
    CHECK(rig_recv(&r, fd, got, sizeof(got)) <= 0);
    close(fd);
    rig_end(&r);
}

TEST(the_end_of_the_peer_is_told_in_words)
{
    struct rig r;
    int fd;

    rig_begin(&r);
    rig_listen(&r, (struct net_listener_opts){0});
    fd = rig_dial(&r);
    RIG_UNTIL(&r, r.end_count == 1);
    close(fd);
    RIG_UNTIL(&r, r.ends[0].is_lost);
    CHECK_STR(str_of(r.ends[0].why), "the peer closed the connection");
    rig_end(&r);
}

TEST(a_deadline_of_the_engine_ticks_it)
{
    struct rig r;
    int fd;

    rig_begin(&r);
    rig_listen(&r, (struct net_listener_opts){0});
    fd = rig_dial(&r);
    RIG_UNTIL(&r, r.end_count == 1);
    r.ends[0].deadline = mono_add_ms(mono_now(), 1);
    net_want_write(r.ends[0].stream);
    RIG_UNTIL(&r, r.ends[0].ticks == 1);
    CHECK_IDLE(&r);
    CHECK_EQ(r.ends[0].ticks, 1);
    close(fd);
    rig_end(&r);
}

TEST_MAIN(CASE(both_ends_know_each_other_by_address),
          CASE(what_one_end_says_comes_back_from_the_other_byte_for_byte),
          CASE(a_socket_that_was_full_once_leaves_the_loop_idle_afterwards),
          CASE(a_paused_engine_is_fed_again_when_it_wants),
          CASE(a_paused_engine_learns_at_once_that_its_peer_broke_off),
          CASE(last_words_reach_a_peer_that_is_still_talking),
          CASE(a_peer_that_never_closes_is_not_waited_for),
          CASE(an_engine_may_drop_its_stream_while_it_is_fed),
          CASE(the_end_of_the_peer_is_told_in_words), CASE(a_deadline_of_the_engine_ticks_it))
