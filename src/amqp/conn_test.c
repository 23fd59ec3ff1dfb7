// SPDX-License-Identifier: Apache-2.0
#include "amqp/pair.h"

static const uint8_t open_of_connector[] = {
    0x00, 0x00, 0x01, 0x54, 0x02, 0x00, 0x00, 0x00, 0x00, 0x53, 0x10, 0xd0, 0x00, 0x00, 0x01, 0x44,
    0x00, 0x00, 0x00, 0x0a, 0xa1, 0x05, 0x52, 0x54, 0x52, 0x2d, 0x42, 0xa1, 0x09, 0x31, 0x32, 0x37,
    0x2e, 0x30, 0x2e, 0x30, 0x2e, 0x31, 0x70, 0x00, 0x00, 0x40, 0x00, 0x60, 0x7f, 0xff, 0x70, 0x00,
    0x00, 0x1f, 0x40, 0x40, 0x40, 0xe0, 0x45, 0x03, 0xb3, 0x00, 0x00, 0x00, 0x0f, 0x41, 0x4e, 0x4f,
    0x4e, 0x59, 0x4d, 0x4f, 0x55, 0x53, 0x2d, 0x52, 0x45, 0x4c, 0x41, 0x59, 0x00, 0x00, 0x00, 0x12,
    0x71, 0x64, 0x2e, 0x73, 0x74, 0x72, 0x65, 0x61, 0x6d, 0x69, 0x6e, 0x67, 0x2d, 0x6c, 0x69, 0x6e,
    0x6b, 0x73, 0x00, 0x00, 0x00, 0x16, 0x71, 0x64, 0x2e, 0x63, 0x6f, 0x6e, 0x6e, 0x65, 0x63, 0x74,
    0x69, 0x6f, 0x6e, 0x5f, 0x74, 0x72, 0x75, 0x6e, 0x6b, 0x69, 0x6e, 0x67, 0xe0, 0x45, 0x03, 0xb3,
    0x00, 0x00, 0x00, 0x0f, 0x41, 0x4e, 0x4f, 0x4e, 0x59, 0x4d, 0x4f, 0x55, 0x53, 0x2d, 0x52, 0x45,
    0x4c, 0x41, 0x59, 0x00, 0x00, 0x00, 0x12, 0x71, 0x64, 0x2e, 0x73, 0x74, 0x72, 0x65, 0x61, 0x6d,
    0x69, 0x6e, 0x67, 0x2d, 0x6c, 0x69, 0x6e, 0x6b, 0x73, 0x00, 0x00, 0x00, 0x16, 0x71, 0x64, 0x2e,
    0x63, 0x6f, 0x6e, 0x6e, 0x65, 0x63, 0x74, 0x69, 0x6f, 0x6e, 0x5f, 0x74, 0x72, 0x75, 0x6e, 0x6b,
    0x69, 0x6e, 0x67, 0xc1, 0x8f, 0x0c, 0xa3, 0x07, 0x70, 0x72, 0x6f, 0x64, 0x75, 0x63, 0x74, 0xa1,
    0x0e, 0x73, 0x6b, 0x75, 0x70, 0x70, 0x65, 0x72, 0x2d, 0x72, 0x6f, 0x75, 0x74, 0x65, 0x72, 0xa3,
    0x07, 0x76, 0x65, 0x72, 0x73, 0x69, 0x6f, 0x6e, 0xa1, 0x04, 0x6d, 0x61, 0x69, 0x6e, 0xa3, 0x0a,
    0x71, 0x64, 0x2e, 0x63, 0x6f, 0x6e, 0x6e, 0x2d, 0x69, 0x64, 0x54, 0x03, 0xa3, 0x14, 0x71, 0x64,
    0x2e, 0x69, 0x6e, 0x74, 0x65, 0x72, 0x2d, 0x72, 0x6f, 0x75, 0x74, 0x65, 0x72, 0x2d, 0x63, 0x6f,
    0x73, 0x74, 0x54, 0x02, 0xa3, 0x13, 0x71, 0x64, 0x2e, 0x67, 0x72, 0x6f, 0x75, 0x70, 0x2d, 0x63,
    0x6f, 0x72, 0x72, 0x65, 0x6c, 0x61, 0x74, 0x6f, 0x72, 0xa1, 0x0f, 0x6e, 0x61, 0x52, 0x4c, 0x6b,
    0x35, 0x70, 0x71, 0x65, 0x63, 0x72, 0x72, 0x34, 0x62, 0x6f, 0xa3, 0x16, 0x71, 0x64, 0x2e, 0x61,
    0x6e, 0x6e, 0x6f, 0x74, 0x61, 0x74, 0x69, 0x6f, 0x6e, 0x73, 0x2d, 0x76, 0x65, 0x72, 0x73, 0x69,
    0x6f, 0x6e, 0x54, 0x02,
};

TEST(a_listener_opens_after_the_peer)
{
    static const uint8_t sasl[] = {
        'A',  'M',  'Q',  'P',  3,    1,    0,    0, //
        0x00, 0x00, 0x00, 0x27, 0x02, 0x01, 0x00, 0x00, 0x00, 0x53, 0x41, 0xc0, 0x1a,
        0x02, 0xa3, 0x09, 0x41, 0x4e, 0x4f, 0x4e, 0x59, 0x4d, 0x4f, 0x55, 0x53, 0xa0,
        0x0c, 0x61, 0x6e, 0x6f, 0x6e, 0x79, 0x6d, 0x6f, 0x75, 0x73, 0x40, 0x76, 0x6d, //
        'A',  'M',  'Q',  'P',  0,    1,    0,    0,
    };
    static const uint8_t answer[] = {
        'A',  'M',  'Q',  'P',  3,    1,    0,    0, //
        0x00, 0x00, 0x00, 0x1c, 0x02, 0x01, 0x00, 0x00, 0x00, 0x53, 0x40, 0xc0, 0x0f, 0x01,
        0xe0, 0x0c, 0x01, 0xa3, 0x09, 0x41, 0x4e, 0x4f, 0x4e, 0x59, 0x4d, 0x4f, 0x55, 0x53, //
        0x00, 0x00, 0x00, 0x10, 0x02, 0x01, 0x00, 0x00, 0x00, 0x53, 0x44, 0xc0, 0x03, 0x01,
        0x50, 0x00, //
        'A',  'M',  'Q',  'P',  0,    1,    0,    0,
    };
    struct pair *p = xcalloc(1, sizeof(*p));
    struct amqp_conn_opts o = pair_opts(NULL, true);
    const struct amqp_peer *peer;
    uint8_t *out;
    size_t len;

    server_init(p, &o);
    side_feed(&p->b, sasl, sizeof(sasl), 0, p->now);
    out = side_output(&p->b, &len);
    CHECK_EQ(len, sizeof(answer));
    CHECK(memcmp(out, answer, len) == 0);
    free(out);
    side_feed(&p->b, open_of_connector, sizeof(open_of_connector), 7, p->now);
    CHECK_STR(told(&p->b), "opened");
    CHECK_STR(heard(&p->b), "open");
    peer = amqp_conn_peer(p->b.conn);
    CHECK_STR(peer->container_id, "RTR-B");
    CHECK_EQ(peer->idle_timeout_ms, 8000);
    CHECK_EQ(peer->channel_max, 32767);
    CHECK(amqp_peer_offers(peer, "qd.streaming-links"));
    CHECK(amqp_peer_offers(peer, "qd.connection_trunking"));
    CHECK(!amqp_peer_offers(peer, "qd.connection"));
    CHECK_STR(amqp_val_str(amqp_val_get(peer->properties, "qd.group-correlator")),
              "naRLk5pqecrr4bo");
    pair_fini(p);
    free(p);
}

static struct amqp_val *properties_of_connector(void)
{
    struct amqp_val *map = amqp_val_map();

    amqp_val_set_symbol(map, "product", amqp_val_string(STR("skupper-router")));
    amqp_val_set_symbol(map, "version", amqp_val_string(STR("main")));
    amqp_val_set_symbol(map, "qd.conn-id", amqp_val_int(3));
    amqp_val_set_symbol(map, "qd.inter-router-cost", amqp_val_int(2));
    amqp_val_set_symbol(map, "qd.group-correlator", amqp_val_string(STR("naRLk5pqecrr4bo")));
    amqp_val_set_symbol(map, "qd.annotations-version", amqp_val_int(2));
    return map;
}

TEST(a_connector_speaks_as_the_reference_does)
{
    static const uint8_t external[] = {0,    0,   0,    21,   2, 1,   0,   0,   0,   0x53, 0x41, //
                                       0xc0, 13,  2,    0xa3, 8, 'E', 'X', 'T', 'E', 'R',  'N',
                                       'A',  'L', 0xa0, 0};
    const struct str offered[] = {STR("ANONYMOUS-RELAY"), STR("qd.streaming-links"),
                                  STR("qd.connection_trunking")};
    struct amqp_val *properties = properties_of_connector();
    struct pair *p = xcalloc(1, sizeof(*p));
    struct amqp_conn_opts a = pair_opts(NULL, false), b = pair_opts(NULL, true);
    uint8_t *out;
    size_t len;

    a.container_id = "RTR-B";
    a.hostname = "127.0.0.1";
    a.channel_max = 32767;
    a.idle_timeout_ms = 16000;
    a.offered = offered;
    a.offered_count = 3;
    a.properties = properties;
    a.sasl_mechanisms = b.sasl_mechanisms = AMQP_SASL_EXTERNAL;
    b.external_ok = true;
    pair_init_with(p, 64, 4096, &a, &b);
    amqp_val_free(properties);
    pair_pass(p, &p->a, &p->b);
    pair_pass(p, &p->b, &p->a);
    out = side_output(&p->a, &len); // init
    CHECK_EQ(len, 26);
    CHECK_EQ(out[3], 26);
    CHECK(memcmp(out + 4, external + 4, 8) == 0);
    CHECK(memcmp(out + len - 2, "\xa0", 2) == 0);
    side_feed(&p->b, out, len, 0, p->now);
    free(out);
    pair_pass(p, &p->b, &p->a);
    out = side_output(&p->a, &len); // header and open in one go
    CHECK_EQ(len, 8 + sizeof(open_of_connector));
    CHECK(memcmp(out, "AMQP\0\1\0\0", 8) == 0);
    CHECK(memcmp(out + 8, open_of_connector, sizeof(open_of_connector)) == 0);
    free(out);
    pair_fini(p);
    free(p);
}

TEST(bytes_that_are_no_frames_close_with_the_reason)
{
    static const struct {
        const char *bytes;
        size_t len;
        const char *told, *heard;
    } rows[] = {
        {"\0\0\0\7\2\0\0\0", 8,
         "closed(amqp:connection:framing-error: the data offset of a frame of 7 octets lies "
         "outside of it, ours)",
         "close(amqp:connection:framing-error)"},
        {"\0\0\0\x0c\1\0\0\0", 8,
         "closed(amqp:connection:framing-error: the data offset of a frame of 12 octets lies "
         "outside of it, ours)",
         "close(amqp:connection:framing-error)"},
        {"\0\0\0\x0c\4\0\0\0", 8,
         "closed(amqp:connection:framing-error: the data offset of a frame of 12 octets lies "
         "outside of it, ours)",
         "close(amqp:connection:framing-error)"},
        {"\0\0\x40\1\2\0\0\0", 8,
         "closed(amqp:connection:framing-error: a frame of 16385 octets is too large, ours)",
         "close(amqp:connection:framing-error)"},
        {"\0\0\0\x08\2\1\0\0", 8,
         "closed(amqp:connection:framing-error: a frame of type 1 came, ours)",
         "close(amqp:connection:framing-error)"},
        {"\0\0\0\x0c\2\0\0\0\0\x53\x19\x45", 12,
         "closed(amqp:decode-error: a frame came that is none of the AMQP ones, ours)",
         "close(amqp:decode-error)"},
        {"\0\0\0\x0c\2\0\0\0\x41\x41\x41\x41", 12,
         "closed(amqp:decode-error: a frame came that is none of the AMQP ones, ours)",
         "close(amqp:decode-error)"},
        {"\0\0\0\x0c\2\0\0\0\0\x53\x10\x45", 12,
         "closed(amqp:not-allowed: a second open frame came, ours)", "close(amqp:not-allowed)"},
        {"\0\0\0\x0c\2\0\0\5\0\x53\x17\x45", 12,
         "closed(amqp:not-allowed: a frame came on channel 5, which has no session, ours)",
         "close(amqp:not-allowed)"},
        {"\0\0\0\x0c\2\0\0\0\0\x53\x11\x45", 12,
         "closed(amqp:decode-error: a begin frame cannot be read, ours)",
         "close(amqp:decode-error)"},
        {"\0\0\0\x08\2\0\0\0", 8, "", ""},
        {"\0\0\0\x0c\3\0\0\0\1\2\3\4", 12, "", ""},
        {"\0\0\0\x0c\2\0\0\0\0\x53\x18\x45", 12, "closed", "close"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct hand *h = xcalloc(1, sizeof(*h));

        hand_init_with(h, NULL);
        side_feed(&h->s, rows[i].bytes, rows[i].len, 0, h->now);
        CHECK_STR(told(&h->s), rows[i].told);
        CHECK_STR(heard(&h->s), rows[i].heard);
        CHECK_EQ_FOR(rows[i].told, amqp_conn_is_finished(h->s.conn), rows[i].told[0] != '\0');
        hand_fini(h);
        free(h);
    }
}

TEST(before_open_little_is_taken)
{
    static const struct {
        const char *bytes;
        size_t len;
        const char *told, *heard;
    } rows[] = {
        {"\0\0\x40\1\2\0\0\0", 8,
         "closed(amqp:connection:framing-error: a frame of 16385 octets is too large, ours)",
         "open close(amqp:connection:framing-error)"},
        {"\0\0\0\x0c\2\0\0\0\0\x53\x11\x45", 12,
         "closed(amqp:not-allowed: the first frame is not open, ours)",
         "open close(amqp:not-allowed)"},
        {"\0\0\0\x0c\2\0\0\0\0\x53\x10\x45", 12,
         "closed(amqp:decode-error: the open frame cannot be read, ours)",
         "open close(amqp:decode-error)"},
    };

    for (size_t i = 0; i < 3; i++) {
        struct pair *p = xcalloc(1, sizeof(*p));
        struct amqp_conn_opts o = pair_opts(NULL, true);
        size_t len;

        o.sasl_optional = true;
        o.frame_size_max = 1 << 20;
        server_init(p, &o);
        side_feed(&p->b, "AMQP\0\1\0\0", 8, 0, p->now);
        free(side_output(&p->b, &len));
        side_feed(&p->b, rows[i].bytes, rows[i].len, 0, p->now);
        CHECK_STR(told(&p->b), rows[i].told);
        CHECK_STR(heard(&p->b), rows[i].heard);
        pair_fini(p);
        free(p);
    }
}

TEST(who_does_not_open_in_time_is_left)
{
    struct pair *p = xcalloc(1, sizeof(*p));
    struct amqp_conn_opts o = pair_opts(NULL, true);
    size_t len;

    o.handshake_ms = 10000;
    o.sasl_optional = true;
    server_init(p, &o);
    CHECK_EQ(amqp_conn_deadline(p->b.conn).ns, mono_add_ms(p->now, 10000).ns);
    side_feed(&p->b, "AMQP\0\1\0\0", 8, 0, p->now);
    free(side_output(&p->b, &len));
    amqp_conn_tick(p->b.conn, mono_add_ms(p->now, 9999));
    side_poll(&p->b);
    CHECK_STR(told(&p->b), "");
    amqp_conn_tick(p->b.conn, mono_add_ms(p->now, 10000));
    side_poll(&p->b);
    CHECK_STR(told(&p->b),
              "closed(amqp:resource-limit-exceeded: no open frame came within 10000 ms, ours)");
    CHECK_STR(heard(&p->b), "open close(amqp:resource-limit-exceeded)");
    CHECK_EQ(amqp_conn_deadline(p->b.conn).ns, INT64_MAX);
    pair_fini(p);
    free(p);
}

TEST(silence_is_given_up_on)
{
    struct hand *h = xcalloc(1, sizeof(*h));
    struct amqp_conn_opts o = pair_opts(NULL, true);

    o.idle_timeout_ms = 16000;
    hand_init_with(h, &o);
    CHECK_EQ(amqp_conn_deadline(h->s.conn).ns, mono_add_ms(h->now, 16000).ns);
    h->now = mono_add_ms(h->now, 15000);
    side_feed(&h->s, "\0\0\0\x08\2\0\0\0", 8, 0, h->now); // a heartbeat
    CHECK_EQ(amqp_conn_deadline(h->s.conn).ns, mono_add_ms(h->now, 16000).ns);
    amqp_conn_tick(h->s.conn, mono_add_ms(h->now, 15999));
    side_poll(&h->s);
    CHECK_STR(told(&h->s), "");
    amqp_conn_tick(h->s.conn, mono_add_ms(h->now, 16000));
    side_poll(&h->s);
    CHECK_STR(told(&h->s),
              "closed(amqp:resource-limit-exceeded: local-idle-timeout expired, ours)");
    CHECK_STR(heard(&h->s), "close(amqp:resource-limit-exceeded)");
    hand_fini(h);
    free(h);
}

TEST(heartbeats_go_at_half_of_what_the_peer_announced)
{
    struct hand *h = xcalloc(1, sizeof(*h));
    struct amqp_conn_opts o = pair_opts(NULL, true);
    size_t len;

    h->pool = pool_new(64, 4096);
    h->now = (struct mono){NS_PER_S};
    o.pool = h->pool;
    o.sasl_optional = true;
    h->s.conn = amqp_conn_new(&o, h->now);
    amqp_writer_init(&h->w);
    amqp_put_raw(&h->w, (struct str){"AMQP\0\1\0\0", 8});
    hand_open(&h->w, 16384, 8000);
    hand_over(&h->w, &h->s, h->now);
    free(side_output(&h->s, &len));
    CHECK_EQ(amqp_conn_deadline(h->s.conn).ns, mono_add_ms(h->now, 4000).ns);
    amqp_conn_tick(h->s.conn, mono_add_ms(h->now, 3999));
    CHECK_STR(heard(&h->s), "");
    h->now = mono_add_ms(h->now, 4000);
    amqp_conn_tick(h->s.conn, h->now);
    CHECK_EQ(amqp_conn_deadline(h->s.conn).ns, mono_add_ms(h->now, 4000).ns);
    h->now = mono_add_ms(h->now, 4000);
    amqp_conn_tick(h->s.conn, h->now); // the first one still waits: no second one
    CHECK_STR(heard(&h->s), "empty");
    hand_fini(h);
    free(h);
}

TEST(close_is_answered)
{
    struct pair *p = xcalloc(1, sizeof(*p));

    pair_open(p);
    pair_link(p, "l", AMQP_SENDER);
    amqp_conn_close(p->a.conn, "amqp:connection:forced", "enough");
    amqp_conn_close(p->a.conn, NULL, NULL);
    CHECK(!amqp_conn_is_finished(p->a.conn));
    pair_run(p);
    CHECK_STR(told(&p->a), "closed");
    CHECK_STR(told(&p->b), "closed(amqp:connection:forced: enough)");
    CHECK(amqp_conn_is_finished(p->a.conn) && amqp_conn_is_finished(p->b.conn));
    CHECK(amqp_session_begin(p->a.conn, 1) == NULL);
    pair_fini(p);
    free(p);
}

TEST(close_is_not_waited_for_for_ever)
{
    struct hand *h = xcalloc(1, sizeof(*h));

    hand_init(h);
    amqp_conn_close(h->s.conn, NULL, NULL);
    CHECK_STR(heard(&h->s), "close");
    hand_session(&h->w, 1); // crosses: not looked at
    hand_over(&h->w, &h->s, h->now);
    CHECK_STR(told(&h->s), "");
    CHECK(!mono_before(mono_add_ms(h->now, 10000), amqp_conn_deadline(h->s.conn)));
    amqp_conn_tick(h->s.conn, amqp_conn_deadline(h->s.conn));
    side_poll(&h->s);
    CHECK_STR(told(&h->s), "closed");
    CHECK_STR(heard(&h->s), "");
    hand_fini(h);
    free(h);
}

TEST(a_peer_that_makes_us_write_and_does_not_read_is_given_up)
{
    struct hand *h = xcalloc(1, sizeof(*h));
    struct amqp_flow_frame f = {.incoming_window = 1, .echo = true};
    size_t at;

    hand_init(h);
    for (int i = 0; i < 100000 && !amqp_conn_is_finished(h->s.conn); i++) {
        at = hand_begin(&h->w);
        amqp_put_flow(&h->w, &f);
        hand_end(&h->w, at, 0);
        hand_over(&h->w, &h->s, h->now);
        amqp_conn_flush(h->s.conn);
    }
    side_poll(&h->s);
    CHECK_STR(told(&h->s), "closed(amqp:resource-limit-exceeded: no room is left for what must be "
                           "told to the peer, ours)");
    CHECK(amqp_conn_output(h->s.conn)->len < 2 * 1024 * 1024);
    hand_fini(h);
    free(h);
}

TEST(a_frame_too_small_for_us_is_refused)
{
    struct pair *p = xcalloc(1, sizeof(*p));
    struct amqp_conn_opts o = pair_opts(NULL, true);
    struct amqp_writer w;

    o.sasl_optional = true;
    server_init(p, &o);
    amqp_writer_init(&w);
    amqp_put_raw(&w, (struct str){"AMQP\0\1\0\0", 8});
    hand_open(&w, 511, 0);
    hand_over(&w, &p->b, p->now);
    CHECK_STR(told(&p->b),
              "closed(amqp:invalid-field: max-frame-size is 511, less than 512, ours)");
    amqp_writer_fini(&w);
    pair_fini(p);
    free(p);
}

TEST(bodies_that_cannot_be_read_close_with_their_name)
{
    static const struct {
        uint8_t code;
        const char *words;
    } rows[] = {
        {AMQP_BEGIN, "a begin frame cannot be read"},
        {AMQP_ATTACH, "an attach frame on channel 0 cannot be read"},
        {AMQP_FLOW, "a flow frame on channel 0 cannot be read"},
        {AMQP_TRANSFER, "a transfer frame on channel 0 cannot be read"},
        {AMQP_DISPOSITION, "a disposition frame on channel 0 cannot be read"},
        {AMQP_DETACH, "a detach frame on channel 0 cannot be read"},
        {AMQP_END, "an end frame cannot be read"},
        {AMQP_CLOSE, "the close frame cannot be read"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct hand *h = xcalloc(1, sizeof(*h));
        uint8_t frame[] = {0, 0, 0, 15, 2, 0, 0, 0, 0, 0x53, rows[i].code, 0xc0, 2, 1, 0x71};
        char want[128];

        snprintf(want, sizeof(want), "closed(amqp:decode-error: %s, ours)", rows[i].words);
        hand_init(h);
        side_feed(&h->s, frame, sizeof(frame), 0, h->now);
        CHECK_STR(told(&h->s), want);
        CHECK_STR(heard(&h->s), "close(amqp:decode-error)");
        hand_fini(h);
        free(h);
    }
}

TEST(a_peer_with_frames_too_small_for_what_must_be_said_is_left)
{
    struct pair *p = xcalloc(1, sizeof(*p));
    struct amqp_conn_opts b = pair_opts(NULL, true);
    struct amqp_attach at = attach_as("l", AMQP_SENDER);
    char address[701];

    memset(address, 'x', 700);
    address[700] = '\0';
    at.source.address = str_of(address);
    b.frame_size_max = 512;
    pair_init_with(p, 64, 4096, NULL, &b);
    pair_run(p);
    told(&p->a);
    told(&p->b);
    CHECK(amqp_link_attach(amqp_session_begin(p->a.conn, 10), &at) != NULL);
    pair_run(p);
    CHECK(strstr(told(&p->a).ptr, "closed(amqp:frame-size-too-small: a frame of ") != NULL);
    CHECK(strstr(told(&p->b).ptr, "closed(amqp:frame-size-too-small: a frame of ") != NULL);
    pair_fini(p);
    free(p);
}

static void check_offer(struct str offered)
{
    struct pair *p = xcalloc(1, sizeof(*p));
    struct amqp_open_frame f = {
        .container_id = STR("H"), .frame_size_max = 512, .offered = offered};
    struct amqp_conn_opts o = pair_opts(NULL, true);
    struct amqp_writer w;
    size_t at;

    o.sasl_optional = true;
    server_init(p, &o);
    amqp_writer_init(&w);
    amqp_put_raw(&w, (struct str){"AMQP\0\1\0\0", 8});
    at = hand_begin(&w);
    amqp_put_open(&w, &f);
    hand_end(&w, at, 0);
    hand_over(&w, &p->b, p->now);
    CHECK_STR(told(&p->b), "opened");
    CHECK(amqp_peer_offers(amqp_conn_peer(p->b.conn), "one"));
    CHECK(!amqp_peer_offers(amqp_conn_peer(p->b.conn), "on"));
    CHECK(amqp_session_begin(p->b.conn, 1) != NULL); // the peer's channel-max is 0
    CHECK(amqp_session_begin(p->b.conn, 1) == NULL);
    amqp_conn_set_user(p->b.conn, p);
    CHECK(amqp_conn_user(p->b.conn) == p);
    amqp_writer_fini(&w);
    pair_fini(p);
    free(p);
}

TEST(capabilities_may_come_alone_as_an_array_or_as_a_list)
{
    check_offer((struct str){"\xa3\3one", 5});
    check_offer((struct str){"\xe0\x0a\2\xa3\3two\3one", 12});
    check_offer((struct str){"\xc0\x0b\2\xa3\3two\xa3\3one", 13});
}

TEST_MAIN(CASE(a_listener_opens_after_the_peer), CASE(a_connector_speaks_as_the_reference_does),
          CASE(bytes_that_are_no_frames_close_with_the_reason), CASE(before_open_little_is_taken),
          CASE(who_does_not_open_in_time_is_left), CASE(silence_is_given_up_on),
          CASE(heartbeats_go_at_half_of_what_the_peer_announced), CASE(close_is_answered),
          CASE(close_is_not_waited_for_for_ever),
          CASE(a_peer_that_makes_us_write_and_does_not_read_is_given_up),
          CASE(a_frame_too_small_for_us_is_refused),
          CASE(bodies_that_cannot_be_read_close_with_their_name),
          CASE(a_peer_with_frames_too_small_for_what_must_be_said_is_left),
          CASE(capabilities_may_come_alone_as_an_array_or_as_a_list))
