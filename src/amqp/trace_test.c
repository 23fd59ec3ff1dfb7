// SPDX-License-Identifier: Apache-2.0
#include "amqp/pair.h"

static char *all_lines(struct amqp_conn *c)
{
    struct amqp_writer w;
    char *line, *text;

    amqp_writer_init(&w);
    while ((line = amqp_conn_next_trace(c)) != NULL) {
        amqp_put_raw(&w, str_of(line));
        amqp_put_u8(&w, '\n');
        free(line);
    }
    text = str_dup(amqp_written(&w));
    amqp_writer_fini(&w);
    return text;
}

static void check_lines(struct amqp_conn *c, const char *want)
{
    char *got = all_lines(c);

    CHECK_STR(str_of(got), want);
    free(got);
}

TEST(every_frame_of_a_connection_is_a_line_from_its_first)
{
    struct pair p;

    pair_init(&p);
    amqp_conn_trace(p.a.conn, true);
    pair_run(&p);
    check_lines(p.a.conn, "0 <- @sasl-mechanisms [array[:ANONYMOUS]]\n"
                          "0 -> @sasl-init (hidden)\n"
                          "0 <- @sasl-outcome [0]\n"
                          "0 -> @open [\"A\", \"host\", 16384, 7]\n"
                          "0 <- @open [\"B\", null, 16384, 7]\n");
    CHECK(amqp_conn_next_trace(p.a.conn) == NULL);
    CHECK(amqp_conn_next_trace(p.b.conn) == NULL);
    pair_fini(&p);
}

TEST(it_begins_and_ends_at_the_frame_where_it_is_told_to)
{
    struct pair p;
    struct amqp_link *l;
    char *lines;

    pair_open(&p);
    l = pair_link(&p, "l", AMQP_SENDER);
    send_one(l, true, 5);
    CHECK(!amqp_conn_is_traced(p.a.conn));
    amqp_conn_trace(p.a.conn, true); // a frame waits in the output: it is not shown
    amqp_conn_trace(p.a.conn, true);
    CHECK(amqp_conn_is_traced(p.a.conn));
    send_one(l, true, 1000);
    pair_run(&p);
    lines = all_lines(p.a.conn);
    CHECK(strncmp(lines, "0 -> @transfer [0, 1, b\"", 24) == 0);
    CHECK_STR(str_of(strstr(lines, "\", 0, ")), "\", 0, true] (1000 octets)\n");
    free(lines);
    amqp_conn_trace(p.a.conn, false);
    send_one(l, true, 5);
    pair_run(&p);
    CHECK(amqp_conn_next_trace(p.a.conn) == NULL);
    CHECK_EQ(p.b.transfers, 3);
    pair_fini(&p);
}

TEST(both_ends_tell_the_same_however_the_bytes_are_cut)
{
    for (size_t step = 0; step < 40; step++) {
        struct pair p;
        char *a, *b;

        pair_init(&p);
        p.step = step;
        p.b.settles = true;
        amqp_conn_trace(p.a.conn, true);
        amqp_conn_trace(p.b.conn, true);
        pair_run(&p);
        send_one(pair_link(&p, "l", AMQP_SENDER), false, 20000);
        amqp_conn_close(p.a.conn, "amqp:internal-error", "enough");
        pair_run(&p);
        a = all_lines(p.a.conn);
        b = all_lines(p.b.conn);
        for (char *at = b; (at = strpbrk(at, "<>")) != NULL; at += 2)
            memcpy(*at == '<' ? at : at - 1, *at == '<' ? "->" : "<-", 2);
        // In what order the two directions meet is each end's own matter.
        CHECK_EQ(strlen(a), strlen(b));
        CHECK(strstr(a, "-> @close [") != NULL && strstr(a, "\"enough\"") != NULL);
        CHECK(strstr(b, "-> @close [") != NULL && strstr(b, "\"enough\"") != NULL);
        free(a);
        free(b);
        pair_fini(&p);
    }
}

TEST(lines_that_nobody_takes_are_counted)
{
    static const uint8_t empty[8] = {0, 0, 0, 8, 2, 0, 0, 0};
    struct pair p;
    char *line = NULL;

    pair_open(&p);
    amqp_conn_trace(p.a.conn, true);
    for (int i = 0; i < 5000; i++)
        side_feed(&p.a, empty, sizeof(empty), 0, p.now);
    for (int i = 0; i < 4096; i++) {
        line = amqp_conn_next_trace(p.a.conn);
        CHECK_STR(str_of(line), "0 <- (empty)");
        free(line);
    }
    line = amqp_conn_next_trace(p.a.conn);
    CHECK_STR(str_of(line), "(904 more frames)");
    free(line);
    CHECK(amqp_conn_next_trace(p.a.conn) == NULL);
    pair_fini(&p);
}

TEST(what_cannot_be_read_is_counted_and_what_waits_is_freed)
{
    static const uint8_t odd[12] = {0, 0, 0, 12, 2, 0, 0, 3, 0, 0x53, 0x99, 0x45};
    struct pair p;
    char *line;

    pair_open(&p);
    amqp_conn_trace(p.a.conn, true);
    side_feed(&p.a, odd, sizeof(odd), 0, p.now);
    line = amqp_conn_next_trace(p.a.conn);
    CHECK_STR(str_of(line), "3 <- (4 octets that cannot be shown)");
    free(line);
    pair_run(&p); // the close that follows stays untaken
    pair_fini(&p);
}

TEST_MAIN(CASE(every_frame_of_a_connection_is_a_line_from_its_first),
          CASE(it_begins_and_ends_at_the_frame_where_it_is_told_to),
          CASE(both_ends_tell_the_same_however_the_bytes_are_cut),
          CASE(lines_that_nobody_takes_are_counted),
          CASE(what_cannot_be_read_is_counted_and_what_waits_is_freed))
