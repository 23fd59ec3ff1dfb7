// SPDX-License-Identifier: Apache-2.0
#include "amqp/pair.h"

TEST(both_sides_open_whatever_authenticates_them)
{
    static const struct {
        const char *why;
        unsigned client, server;
        bool external_ok, sasl_optional;
        const char *used;
    } rows[] = {
        {"anonymous", AMQP_SASL_ANONYMOUS, AMQP_SASL_ANONYMOUS, false, false, "ANONYMOUS"},
        {"external", AMQP_SASL_EXTERNAL, AMQP_SASL_EXTERNAL, true, false, "EXTERNAL"},
        {"the best of two", AMQP_SASL_EXTERNAL, 3, true, false, "EXTERNAL"},
        {"one of two", AMQP_SASL_ANONYMOUS, 3, true, false, "ANONYMOUS"},
        {"none", 0, AMQP_SASL_ANONYMOUS, false, true, NULL},
    };
    static const uint32_t blocks[] = {16, 33, 64, 4096};

    for (size_t i = 0; i < 5; i++) {
        for (size_t step = 0; step < 4; step++) {
            struct pair *p = xcalloc(1, sizeof(*p));
            struct amqp_conn_opts a = pair_opts(NULL, false), b = pair_opts(NULL, true);

            a.sasl_mechanisms = rows[i].client;
            b.sasl_mechanisms = rows[i].server;
            b.external_ok = rows[i].external_ok;
            b.sasl_optional = rows[i].sasl_optional;
            pair_init_with(p, blocks[step], 4096, &a, &b);
            p->step = step;
            pair_run(p);
            CHECK_STR(told(&p->a), "opened");
            CHECK_STR(told(&p->b), "opened");
            CHECK(amqp_conn_is_open(p->a.conn) && amqp_conn_is_open(p->b.conn));
            CHECK_STR(amqp_conn_peer(p->a.conn)->container_id, "B");
            CHECK_STR(amqp_conn_peer(p->b.conn)->container_id, "A");
            CHECK_STR(amqp_conn_peer(p->b.conn)->hostname, "host");
            CHECK(amqp_conn_peer(p->a.conn)->hostname.ptr == NULL);
            CHECK(str_eq(amqp_conn_peer(p->b.conn)->sasl_mechanism, str_of(rows[i].used)));
            CHECK_EQ_FOR(rows[i].why, amqp_conn_peer(p->b.conn)->frame_size_max, 16384);
            pair_fini(p);
            free(p);
        }
    }
}

TEST(authentication_that_fails_ends_both_sides)
{
    static const struct {
        unsigned client, server;
        const char *a, *b;
    } rows[] = {
        {AMQP_SASL_EXTERNAL, AMQP_SASL_EXTERNAL,
         "closed(amqp:unauthorized-access: the peer refused us: SASL outcome 1, ours)",
         "closed(amqp:unauthorized-access: SASL mechanism EXTERNAL needs a client certificate, "
         "ours)"},
        {AMQP_SASL_EXTERNAL, AMQP_SASL_ANONYMOUS,
         "closed(amqp:unauthorized-access: the peer offers no SASL mechanism that we use, ours)",
         ""},
    };

    for (size_t i = 0; i < 2; i++) {
        struct pair *p = xcalloc(1, sizeof(*p));
        struct amqp_conn_opts a = pair_opts(NULL, false), b = pair_opts(NULL, true);

        a.sasl_mechanisms = rows[i].client;
        b.sasl_mechanisms = rows[i].server;
        pair_init_with(p, 64, 4096, &a, &b);
        pair_run(p);
        CHECK_STR(told(&p->a), rows[i].a);
        CHECK_STR(told(&p->b), rows[i].b);
        CHECK(amqp_conn_is_finished(p->a.conn));
        pair_fini(p);
        free(p);
    }
}

TEST(a_wrong_header_is_answered_with_ours_and_ends)
{
    static const struct {
        const char *why, *in, *words;
        bool optional;
        uint8_t answer;
    } rows[] = {
        {"http", "GET / HT",
         "closed(amqp:connection:framing-error: the peer does not speak AMQP: it began with "
         "\"GET / HT\", ours)",
         false, 3},
        {"tls", "\x16\x03\x01\x02\x01\x01\x01\x01",
         "closed(amqp:connection:framing-error: the peer does not speak AMQP: it began with 16 03 "
         "01 02, ours)",
         false, 3},
        {"no SASL", "AMQP\0\1\0\0",
         "closed(amqp:not-implemented: the peer wants AMQP protocol 0 version 1.0.0, ours)", false,
         3},
        {"amqp 0.9", "AMQP\0\0\x09\1",
         "closed(amqp:not-implemented: the peer wants AMQP protocol 0 version 0.9.1, ours)", true,
         3},
        {"tls inside", "AMQP\2\1\0\0",
         "closed(amqp:not-implemented: the peer wants AMQP protocol 2 version 1.0.0, ours)", true,
         3},
    };

    for (size_t i = 0; i < 5; i++) {
        struct pair *p = xcalloc(1, sizeof(*p));
        struct amqp_conn_opts o = pair_opts(NULL, true);
        uint8_t *out;
        size_t len;

        o.sasl_optional = rows[i].optional;
        server_init(p, &o);
        side_feed(&p->b, rows[i].in, 8, 3, p->now);
        CHECK_STR(told(&p->b), rows[i].words);
        CHECK(amqp_conn_is_finished(p->b.conn));
        out = side_output(&p->b, &len);
        CHECK_EQ_FOR(rows[i].why, len, 8);
        CHECK(memcmp(out, "AMQP", 4) == 0);
        CHECK_EQ_FOR(rows[i].why, out[4], rows[i].answer);
        free(out);
        side_feed(&p->b, "more", 4, 0, p->now); // nobody listens
        CHECK_STR(told(&p->b), "");
        pair_fini(p);
        free(p);
    }
}

TEST(what_does_not_belong_into_sasl_ends_it)
{
    static const struct {
        const char *why, *bytes;
        size_t len;
        const char *words;
    } rows[] = {
        {"no SASL frame", "\0\0\0\x08\2\0\0\0", 8,
         "closed(amqp:connection:framing-error: a frame of type 0 came during SASL, ours)"},
        {"empty", "\0\0\0\x08\2\1\0\0", 8,
         "closed(amqp:not-allowed: a frame came that does not belong here in SASL, ours)"},
        {"outcome from a client", "\0\0\0\x10\2\1\0\0\0\x53\x44\xc0\3\1\x50\0", 16,
         "closed(amqp:not-allowed: a frame came that does not belong here in SASL, ours)"},
        {"init without mechanism", "\0\0\0\x0c\2\1\0\0\0\x53\x41\x45", 12,
         "closed(amqp:decode-error: the sasl-init frame cannot be read, ours)"},
        {"too large", "\0\0\2\1\2\1\0\0", 8,
         "closed(amqp:connection:framing-error: a SASL frame is malformed or too large, ours)"},
        {"a mechanism with a long name",
         "\0\0\0\x38\2\1\0\0\0\x53\x41\xc0\x2b\1\xa3\x28"
         "MECHANISMMECHANISMMECHANISMMECHANISM----",
         56,
         "closed(amqp:unauthorized-access: SASL mechanism MECHANISMMECHANISMMECHANISMMECHA is not "
         "offered, ours)"},
        {"another header",
         "\0\0\0\x1b\2\1\0\0\0\x53\x41\xc0\x0e\2\xa3\x09"
         "ANONYMOUS\xa0\0"
         "AMQP\3\1\0\0",
         35, "closed(amqp:not-implemented: the peer wants AMQP protocol 3 version 1.0.0, ours)"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct pair *p = xcalloc(1, sizeof(*p));
        struct amqp_conn_opts o = pair_opts(NULL, true);

        server_init(p, &o);
        side_feed(&p->b, "AMQP\3\1\0\0", 8, 0, p->now);
        side_feed(&p->b, rows[i].bytes, rows[i].len, i, p->now);
        CHECK_STR(told(&p->b), rows[i].words);
        CHECK(amqp_conn_is_finished(p->b.conn));
        pair_fini(p);
        free(p);
    }
}

TEST(a_client_takes_what_a_server_may_say)
{
    static const char mechanisms[] = "\0\0\0\x19\2\1\0\0\0\x53\x40\xc0\x0c\1\xa3\x09"
                                     "ANONYMOUS";
    static const struct {
        const char *why, *bytes;
        size_t len;
        const char *words;
    } rows[] = {
        {"challenge, outcome",
         "\0\0\0\x10\2\1\0\0\0\x53\x42\xc0\3\1\xa0\0\0\0\0\x10\2\1\0\0\0\x53\x44\xc0\3\1\x50\0", 32,
         ""},
        {"mechanisms twice", mechanisms, sizeof(mechanisms) - 1,
         "closed(amqp:not-allowed: a frame came that does not belong here in SASL, ours)"},
        {"bad challenge", "\0\0\0\x0c\2\1\0\0\0\x53\x42\x45", 12,
         "closed(amqp:decode-error: the sasl-challenge frame cannot be read, ours)"},
        {"bad outcome", "\0\0\0\x0c\2\1\0\0\0\x53\x44\x45", 12,
         "closed(amqp:decode-error: the sasl-outcome frame cannot be read, ours)"},
        {"temporary failure", "\0\0\0\x10\2\1\0\0\0\x53\x44\xc0\3\1\x50\4", 16,
         "closed(amqp:unauthorized-access: the peer refused us: SASL outcome 4, ours)"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct pair *p = xcalloc(1, sizeof(*p));
        struct amqp_conn_opts o = pair_opts(NULL, false);

        server_init(p, &o);
        side_feed(&p->b, "AMQP\3\1\0\0", 8, 0, p->now);
        side_feed(&p->b, mechanisms, sizeof(mechanisms) - 1, 0, p->now);
        side_feed(&p->b, rows[i].bytes, rows[i].len, i, p->now);
        CHECK_STR(told(&p->b), rows[i].words);
        CHECK_EQ_FOR(rows[i].why, amqp_conn_is_finished(p->b.conn), i > 0);
        pair_fini(p);
        free(p);
    }
}

TEST(a_client_leaves_a_server_that_speaks_something_else)
{
    static const struct {
        const char *bytes;
        size_t len;
        const char *words;
    } rows[] = {
        {"AMQP\0\1\0\0", 8,
         "closed(amqp:not-implemented: the peer wants AMQP protocol 0 version 1.0.0, ours)"},
        {"HTTP/1.1", 8,
         "closed(amqp:connection:framing-error: the peer does not speak AMQP: it began with "
         "\"HTTP/1.1\", ours)"},
        {"AMQP\3\1\0\0\0\0\0\x0c\2\1\0\0\0\x53\x40\x45", 20,
         "closed(amqp:decode-error: the sasl-mechanisms frame cannot be read, ours)"},
    };

    for (size_t i = 0; i < 3; i++) {
        struct pair *p = xcalloc(1, sizeof(*p));
        struct amqp_conn_opts o = pair_opts(NULL, false);

        server_init(p, &o);
        side_feed(&p->b, rows[i].bytes, rows[i].len, 0, p->now);
        CHECK_STR(told(&p->b), rows[i].words);
        pair_fini(p);
        free(p);
    }
}

TEST(close_during_sasl_is_the_end)
{
    struct pair *p = xcalloc(1, sizeof(*p));

    pair_init(p);
    amqp_conn_close(p->a.conn, NULL, NULL);
    side_poll(&p->a);
    CHECK_STR(told(&p->a), "closed");
    CHECK(amqp_conn_is_finished(p->a.conn));
    amqp_conn_tick(p->a.conn, mono_add_ms(p->now, 100000));
    side_poll(&p->a);
    CHECK_STR(told(&p->a), "");
    pair_fini(p);
    free(p);
}

TEST_MAIN(CASE(both_sides_open_whatever_authenticates_them),
          CASE(authentication_that_fails_ends_both_sides),
          CASE(a_wrong_header_is_answered_with_ours_and_ends),
          CASE(what_does_not_belong_into_sasl_ends_it), CASE(a_client_takes_what_a_server_may_say),
          CASE(a_client_leaves_a_server_that_speaks_something_else),
          CASE(close_during_sasl_is_the_end))
