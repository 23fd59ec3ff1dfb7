// SPDX-License-Identifier: Apache-2.0
#include "amqp/pair.h"

static char half_bytes[] = "half";
static const struct iovec half = {half_bytes, 4};

TEST(settling_is_told_to_the_sender)
{
    struct pair *p = xcalloc(1, sizeof(*p));
    struct amqp_link *l;

    pair_open(p);
    p->b.settles = true;
    l = pair_link(p, "l", AMQP_SENDER);
    for (int i = 0; i < 3; i++)
        send_one(l, false, 10);
    send_one(l, true, 10);
    pair_run(p);
    CHECK_STR(told(&p->b), "transfer(10) transfer(10) transfer(10) transfer(10 settled)");
    CHECK_STR(told(&p->a), "accepted! accepted! accepted!");
    pair_fini(p);
    free(p);
}

TEST(large_messages_are_cut_at_the_peer_s_frame_size)
{
    static const uint32_t blocks[] = {16, 41, 64, 512, 16384};
    static const size_t lens[] = {0, 1, 470, 471, 472, 473, 512, 4096, 30000};

    for (size_t b = 0; b < 5; b++) {
        struct pair *p = xcalloc(1, sizeof(*p));
        struct amqp_conn_opts o = pair_opts(NULL, true);
        struct amqp_link *l;

        o.frame_size_max = 512;
        o.incoming_window = 2048;
        pair_init_with(p, blocks[b], 65536, NULL, &o);
        pair_run(p);
        l = pair_link(p, "l", AMQP_SENDER);
        for (size_t i = 0; i < 9; i++) {
            char want[64];

            snprintf(want, sizeof(want), "transfer(%zu%s)", lens[i], i % 2 ? " settled" : "");
            send_one(l, i % 2, lens[i]);
            pair_run(p);
            CHECK_STR(told(&p->b), want);
        }
        pair_fini(p);
        free(p);
    }
}

// What came in one frame of 512 octets from a router that says no more than it must, goes on in
// one.
TEST(later_frames_carry_as_much_as_their_shorter_head_allows)
{
    static uint8_t bytes[512 - 21];
    struct pair *p = xcalloc(1, sizeof(*p));
    struct amqp_conn_opts o = pair_opts(NULL, true);
    struct iovec first = {bytes, 1}, later = {bytes, sizeof(bytes)};
    struct amqp_delivery *d;
    size_t len, at = 0;
    uint8_t *out;
    bool done;

    o.frame_size_max = 512;
    pair_init_with(p, 16384, 65536, NULL, &o);
    pair_run(p);
    d = amqp_delivery_begin(pair_link(p, "l", AMQP_SENDER), false, 0, NULL);
    CHECK_EQ(amqp_delivery_write(d, &first, 1, false, &done), 1);
    pair_run(p);
    CHECK_EQ(amqp_delivery_write(d, &later, 1, false, &done), sizeof(bytes));
    out = side_output(&p->a, &len);
    CHECK_EQ(len, 511); // the handle is 0, which is one octet less
    CHECK(next_frame_in(out, len, &at).len > 0 && at == len);
    free(out);
    pair_fini(p);
    free(p);
}

TEST(an_unsettled_delivery_may_end_settled)
{
    struct pair *p = xcalloc(1, sizeof(*p));
    struct amqp_delivery *d;
    bool done;

    pair_open(p);
    d = amqp_delivery_begin(pair_link(p, "l", AMQP_SENDER), false, 0, NULL);
    CHECK_EQ(amqp_delivery_write(d, &half, 1, false, &done), 4);
    pair_run(p);
    amqp_delivery_settle_with_end(d);
    CHECK_EQ(amqp_delivery_write(d, &half, 1, true, &done), 4);
    CHECK(done);
    pair_run(p);
    CHECK_STR(told(&p->b), "transfer(8 settled)");
    CHECK_STR(told(&p->a), "");
    pair_fini(p);
    free(p);
}

TEST(parts_are_joined_and_may_be_empty)
{
    struct pair *p = xcalloc(1, sizeof(*p));
    char a[] = "one", b[] = "", c[] = "two", d[] = "three";
    struct iovec parts[] = {{b, 0}, {a, 3}, {b, 0}, {c, 3}, {b, 0}}, more = {d, 5};
    struct amqp_delivery *ad;
    bool done;

    pair_open(p);
    ad = amqp_delivery_begin(pair_link(p, "l", AMQP_SENDER), true, 0, NULL);
    CHECK_EQ(amqp_delivery_write(ad, parts, 1, false, &done), 0);
    CHECK(!done);
    CHECK_EQ(amqp_delivery_write(ad, parts, 5, false, &done), 6);
    CHECK(!done);
    CHECK_EQ(amqp_delivery_write(ad, &more, 1, false, &done), 5);
    CHECK_EQ(amqp_delivery_write(ad, NULL, 0, true, &done), 0);
    CHECK(done);
    CHECK_STR(heard(&p->a),
              "transfer(6 settled more) transfer(5 settled more) transfer(0 settled)");
    pair_fini(p);
    free(p);
}

static size_t write_all(struct amqp_delivery *d, const uint8_t *bytes, size_t len, bool *done)
{
    struct iovec part = {(void *)(uintptr_t)bytes, len};

    return amqp_delivery_write(d, &part, 1, true, done);
}

TEST(a_write_stops_at_the_window_and_goes_on)
{
    enum { LEN = 60000 };
    struct pair *p = xcalloc(1, sizeof(*p));
    struct amqp_conn_opts o = pair_opts(NULL, true);
    uint8_t *bytes = xcalloc(1, LEN);
    struct amqp_delivery *d;
    size_t at;
    bool done;

    for (size_t i = 0; i < LEN; i++)
        bytes[i] = (uint8_t)(i * 7);
    o.frame_size_max = 512;
    o.incoming_window = 10;
    pair_init_with(p, 64, 65536, NULL, &o);
    pair_run(p);
    d = amqp_delivery_begin(pair_link(p, "l", AMQP_SENDER), false, 0, NULL);
    at = write_all(d, bytes, LEN, &done);
    CHECK(at > 4500 && at < 5120);
    while (!done) {
        CHECK_EQ(write_all(d, bytes + at, LEN - at, &done), 0);
        pair_run(p);
        CHECK_STR(told(&p->a), "writable");
        at += write_all(d, bytes + at, LEN - at, &done);
    }
    CHECK_EQ(at, LEN);
    CHECK(d->complete);
    pair_run(p);
    CHECK_STR(told(&p->b), "transfer(60000)");
    CHECK(memcmp(p->b.body, bytes, LEN) == 0);
    free(bytes);
    pair_fini(p);
    free(p);
}

TEST(a_write_stops_at_the_limit_of_the_output_and_of_the_pool)
{
    enum { LEN = 60000 };
    static const struct {
        uint32_t block_size;
        size_t block_max, output_max;
    } rows[] = {{64, 65536, 2000}, {64, 40, 65536}, {16, 160, 65536}, {1024, 6, 65536}};

    for (size_t i = 0; i < 4; i++) {
        struct pair *p = xcalloc(1, sizeof(*p));
        struct amqp_conn_opts o = pair_opts(NULL, false), b = pair_opts(NULL, true);
        uint8_t *bytes = xcalloc(1, LEN);
        struct amqp_delivery *d;
        size_t at;
        bool done = false;

        o.output_max = rows[i].output_max;
        b.incoming_window = 10000;
        b.frame_size_max = 1024;
        pair_init_with(p, rows[i].block_size, rows[i].block_max, &o, &b);
        pair_run(p);
        d = amqp_delivery_begin(pair_link(p, "l", AMQP_SENDER), true, 0, NULL);
        at = write_all(d, bytes, LEN, &done);
        CHECK(at > 0 && at <= 6144);
        while (!done) {
            CHECK_EQ(write_all(d, bytes + at, LEN - at, &done), 0);
            CHECK(pool_used(p->pool) <= pool_block_max(p->pool));
            pair_run(p);
            amqp_conn_tick(p->a.conn, p->now); // the pool may have been empty for other reasons
            side_poll(&p->a);
            CHECK_STR(told(&p->a), "writable");
            at += write_all(d, bytes + at, LEN - at, &done);
        }
        CHECK_EQ(at, LEN);
        pair_run(p);
        CHECK_STR(told(&p->b), "transfer(60000 settled)");
        free(bytes);
        pair_fini(p);
        free(p);
    }
}

TEST(a_pool_that_others_emptied_is_looked_at_again)
{
    struct pair *p = xcalloc(1, sizeof(*p));
    struct amqp_link *l;
    struct buf others;
    uint8_t junk[64] = {0};

    pair_init_with(p, 64, 64, NULL, NULL);
    pair_run(p);
    l = pair_link(p, "l", AMQP_SENDER);
    buf_init(&others, p->pool);
    while (buf_write(&others, junk, 64) == 64)
        continue;
    CHECK(!amqp_link_is_ready(l));
    CHECK(mono_before(amqp_conn_deadline(p->a.conn), mono_add_ms(p->now, 100)));
    amqp_conn_tick(p->a.conn, amqp_conn_deadline(p->a.conn));
    side_poll(&p->a);
    CHECK_STR(told(&p->a), "");
    buf_fini(&others);
    amqp_conn_tick(p->a.conn, amqp_conn_deadline(p->a.conn));
    side_poll(&p->a);
    CHECK_STR(told(&p->a), "writable");
    CHECK(amqp_link_is_ready(l));
    pair_fini(p);
    free(p);
}

TEST(an_aborted_delivery_is_as_if_it_had_never_been)
{
    struct pair *p = xcalloc(1, sizeof(*p));
    struct amqp_delivery *d;
    struct amqp_link *l;
    bool done;

    pair_open(p);
    l = pair_link(p, "l", AMQP_SENDER);
    for (int settled = 0; settled < 2; settled++) {
        d = amqp_delivery_begin(l, settled, 0, NULL);
        amqp_delivery_write(d, &half, 1, false, &done);
        CHECK(!amqp_link_is_ready(l));
        amqp_delivery_abort(d);
        pair_run(p);
        CHECK_STR(told(&p->b), "aborted");
    }
    amqp_delivery_abort(amqp_delivery_begin(l, false, 0, NULL)); // nobody knows of it
    pair_run(p);
    CHECK_STR(told(&p->b), "");
    send_one(l, false, 3);
    pair_run(p);
    CHECK_STR(told(&p->b), "transfer(3)");
    CHECK_EQ(amqp_link_credit(l), 97);
    CHECK_EQ(amqp_link_credit(p->b.link), 97);
    pair_fini(p);
    free(p);
}

TEST(an_abort_waits_for_the_window)
{
    struct pair *p = xcalloc(1, sizeof(*p));
    struct amqp_conn_opts o = pair_opts(NULL, true);
    struct amqp_delivery *d;
    struct amqp_link *l;
    bool done;

    o.incoming_window = 2;
    pair_init_with(p, 64, 4096, NULL, &o);
    pair_run(p);
    l = pair_link(p, "l", AMQP_SENDER);
    amqp_link_hold(p->b.link, true);
    d = amqp_delivery_begin(l, false, 0, NULL);
    amqp_delivery_write(d, &half, 1, false, &done);
    amqp_delivery_write(d, &half, 1, false, &done);
    amqp_delivery_abort(d);
    CHECK(!amqp_link_is_ready(l));
    pair_run(p);
    CHECK_STR(told(&p->b), "");
    amqp_link_hold(p->b.link, false);
    pair_run(p);
    CHECK_STR(told(&p->b), "aborted");
    CHECK(amqp_link_is_ready(l));
    pair_fini(p);
    free(p);
}

TEST(what_the_receiver_settles_early_is_swallowed)
{
    struct pair *p = xcalloc(1, sizeof(*p));
    struct amqp_delivery *d;
    struct amqp_link *l;
    bool done;

    for (int settled = 0; settled < 2; settled++) {
        pair_open(p);
        l = pair_link(p, "l", AMQP_SENDER);
        d = amqp_delivery_begin(l, settled, 0, NULL);
        amqp_delivery_write(d, &half, 1, false, &done);
        pair_pass(p, &p->a, &p->b);
        amqp_delivery_settle(p->b.delivery, &(struct amqp_outcome){.type = AMQP_RELEASED});
        CHECK_EQ(amqp_delivery_write(d, &half, 1, true, &done), 4);
        pair_pass(p, &p->a, &p->b);
        send_one(l, true, 1);
        pair_run(p);
        CHECK_STR(told(&p->b), "transfer(1 settled)");
        CHECK_STR(told(&p->a), settled ? "" : "released!");
        CHECK_EQ(amqp_link_credit(p->b.link), 98);
        pair_fini(p);
    }
    free(p);
}

TEST(what_the_peer_settles_early_is_aborted)
{
    struct pair *p = xcalloc(1, sizeof(*p));
    struct amqp_link *l;
    bool done;

    pair_open(p);
    l = pair_link(p, "l", AMQP_SENDER);
    amqp_delivery_write(amqp_delivery_begin(l, false, 0, NULL), &half, 1, false, &done);
    pair_pass(p, &p->a, &p->b);
    amqp_delivery_settle(p->b.delivery, &(struct amqp_outcome){.type = AMQP_RELEASED});
    pair_pass(p, &p->b, &p->a);
    CHECK_STR(told(&p->a), "released!");
    CHECK_STR(heard(&p->a), "transfer(0 settled aborted)");
    CHECK(amqp_link_is_ready(l));
    pair_fini(p);
    free(p);
}

static bool settle_at_once(struct side *s, const struct amqp_event *ev)
{
    if (ev->type == AMQP_EV_TRANSFER)
        amqp_delivery_settle(ev->transfer.delivery, &(struct amqp_outcome){.type = AMQP_ACCEPTED});
    else if (ev->type == AMQP_EV_UPDATED)
        amqp_delivery_settle(ev->update.delivery, NULL);
    else
        return false;
    tell(s, "settled");
    return true;
}

TEST(a_delivery_may_be_settled_whenever_it_is_told_of)
{
    struct pair *p = xcalloc(1, sizeof(*p));
    struct amqp_delivery *d;
    struct amqp_link *l;
    bool done;

    pair_open(p);
    p->a.on_event = p->b.on_event = settle_at_once;
    l = pair_link(p, "l", AMQP_SENDER);
    send_one(l, false, 3);
    send_one(l, true, 3);
    d = amqp_delivery_begin(l, true, 0, NULL);
    amqp_delivery_write(d, &half, 1, false, &done);
    amqp_delivery_abort(d);
    d = amqp_delivery_begin(l, false, 0, NULL);
    amqp_delivery_write(d, &half, 1, false, &done);
    pair_run(p);
    CHECK_STR(told(&p->b), "settled settled settled settled");
    CHECK_STR(told(&p->a), "settled settled");
    send_one(l, false, 3);
    pair_run(p);
    CHECK_STR(told(&p->b), "settled");
    pair_fini(p);
    free(p);
}

static bool close_at_once(struct side *s, const struct amqp_event *ev)
{
    if (ev->type == AMQP_EV_TRANSFER || ev->type == AMQP_EV_UPDATED)
        amqp_conn_close(s->conn, "amqp:internal-error", "enough");
    return false;
}

TEST(the_connection_may_be_closed_whenever_something_is_told)
{
    for (int i = 0; i < 3; i++) {
        struct pair *p = xcalloc(1, sizeof(*p));
        struct amqp_link *l;

        pair_open(p);
        l = pair_link(p, "l", AMQP_SENDER);
        p->b.settles = true;
        if (i == 2)
            p->a.on_event = close_at_once;
        else
            p->b.on_event = close_at_once;
        send_one(l, i == 1, 3);
        send_one(l, i == 1, 3);
        pair_run(p);
        CHECK_STR(told(i == 2 ? &p->b : &p->a),
                  i == 2 ? "transfer(3) transfer(3) closed(amqp:internal-error: enough)"
                         : "closed(amqp:internal-error: enough)");
        CHECK_STR(told(i == 2 ? &p->a : &p->b), i == 0   ? "transfer(3) closed"
                                                : i == 1 ? "transfer(3 settled) closed"
                                                         : "accepted! closed");
        CHECK(!amqp_link_is_ready(l));
        pair_fini(p);
        free(p);
    }
}

TEST(what_a_sender_must_not_do)
{
    static const struct {
        const char *why;
        struct amqp_transfer_frame first, second;
        const char *told, *heard;
    } rows[] = {
        {"no id",
         {.tag = {"t", 1}},
         {0},
         "detached(amqp:invalid-field: a delivery begins without delivery-id, ours)",
         "end(amqp:invalid-field)"},
        {"no tag",
         {.has_delivery_id = true},
         {0},
         "detached(amqp:invalid-field: delivery 0 has no delivery-tag, ours)",
         "end(amqp:invalid-field)"},
        {"a gap",
         {.has_delivery_id = true, .tag = {"t", 1}},
         {.has_delivery_id = true, .delivery_id = 2, .tag = {"t", 1}},
         "transfer(1) detached(amqp:invalid-field: delivery-id 2 came where 1 was due, ours)",
         "end(amqp:invalid-field)"},
        {"twice",
         {.has_delivery_id = true, .delivery_id = 7, .tag = {"t", 1}},
         {.has_delivery_id = true, .delivery_id = 7, .tag = {"t", 1}},
         "transfer(1) detached(amqp:invalid-field: delivery-id 7 came where 8 was due, ours)",
         "end(amqp:invalid-field)"},
        {"in between",
         {.has_delivery_id = true, .tag = {"t", 1}, .more = true},
         {.has_delivery_id = true, .delivery_id = 1, .tag = {"t", 1}},
         "detached(amqp:invalid-field: delivery 1 came while delivery 0 was not complete, ours)",
         "end(amqp:invalid-field)"},
        {"resume",
         {.has_delivery_id = true, .tag = {"t", 1}, .resume = true},
         {0},
         "closed(amqp:not-implemented: deliveries are not resumed, ours)",
         "close(amqp:not-implemented)"},
    };

    for (size_t i = 0; i < 6; i++) {
        struct hand *h = xcalloc(1, sizeof(*h));

        hand_init(h);
        hand_transfer(&h->w, &rows[i].first, "x");
        if (rows[i].second.tag.ptr)
            hand_transfer(&h->w, &rows[i].second, "x");
        hand_over(&h->w, &h->s, h->now);
        CHECK_STR(told(&h->s), rows[i].told);
        CHECK_STR(heard(&h->s), rows[i].heard);
        hand_fini(h);
        free(h);
    }
}

TEST(a_transfer_on_a_link_that_receives_ends_the_session)
{
    struct hand *h = xcalloc(1, sizeof(*h));
    struct amqp_transfer_frame t = {.handle = 1, .has_delivery_id = true, .tag = STR("t")};

    hand_init(h);
    hand_attach(&h->w, "out", 1, true);
    hand_transfer(&h->w, &t, "x");
    hand_over(&h->w, &h->s, h->now);
    CHECK_STR(told(&h->s), "attached(out) "
                           "detached(amqp:not-allowed: a transfer came on handle 1, which "
                           "receives, ours) "
                           "detached(amqp:not-allowed: a transfer came on handle 1, which "
                           "receives, ours)");
    hand_fini(h);
    free(h);
}

TEST(transfers_beyond_credit_detach_the_link_alone)
{
    struct hand *h = xcalloc(1, sizeof(*h));
    struct amqp_transfer_frame t = {
        .has_delivery_id = true, .tag = STR("t"), .has_settled = true, .settled = true};
    struct amqp_transfer_frame more = {.more = true}, last = {0};
    struct amqp_detach_frame d = {.closed = true};
    size_t at;

    hand_init(h);
    for (int i = 0; i < 10; i++) {
        hand_transfer(&h->w, &t, "x");
        t.delivery_id++;
    }
    amqp_link_grant(h->s.link, 1); // not told to the peer yet
    hand_over(&h->w, &h->s, h->now);
    told(&h->s);
    t.more = true;
    hand_transfer(&h->w, &t, "x");
    hand_transfer(&h->w, &more, "x");
    hand_over(&h->w, &h->s, h->now);
    CHECK_STR(told(&h->s),
              "detached(amqp:link:transfer-limit-exceeded: delivery 10 came without credit, ours)");
    CHECK_STR(heard(&h->s), "detach(amqp:link:transfer-limit-exceeded)");
    hand_transfer(&h->w, &last, "x"); // under way
    t.delivery_id++;
    t.more = false;
    hand_transfer(&h->w, &t, "x");
    at = hand_begin(&h->w);
    amqp_put_detach(&h->w, &d);
    hand_end(&h->w, at, 0);
    hand_attach(&h->w, "again", 0, false);
    t.delivery_id++;
    hand_over(&h->w, &h->s, h->now);
    CHECK_STR(told(&h->s), "attached(again)");
    heard(&h->s);
    hand_transfer(&h->w, &t, "x");
    hand_over(&h->w, &h->s, h->now);
    CHECK_STR(told(&h->s), "transfer(1 settled)");
    hand_fini(h);
    free(h);
}

TEST(unsettled_deliveries_are_limited)
{
    enum { LIMIT = 128 * 1024 };
    struct pair *p = xcalloc(1, sizeof(*p));
    struct amqp_conn_opts b = pair_opts(NULL, true);
    struct amqp_link *l;
    uint32_t sent = 0;

    b.incoming_window = 1 << 20;
    pair_init_with(p, 65536, 1024, NULL, &b);
    pair_run(p);
    p->b.grants = 1 << 20;
    l = pair_link(p, "l", AMQP_SENDER);
    for (; sent < LIMIT + 10; sent++) {
        if (sent % 1000 == 0)
            pair_run(p);
        p->a.told_len = p->b.told_len = 0;
        if (!amqp_link_is_ready(l))
            break;
        send_one(l, false, 1);
    }
    CHECK_EQ(sent, LIMIT);
    pair_run(p);
    told(&p->a);
    amqp_delivery_settle(p->b.delivery, &(struct amqp_outcome){.type = AMQP_ACCEPTED});
    pair_run(p);
    CHECK_STR(told(&p->a), "accepted! writable");
    CHECK(amqp_link_is_ready(l));
    pair_fini(p);
    free(p);
}

TEST(quiet_connections_give_memory_back)
{
    struct pair *p = xcalloc(1, sizeof(*p));
    struct amqp_link *l;

    pair_open(p);
    p->b.settles = true;
    l = pair_link(p, "l", AMQP_SENDER);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 50 && amqp_link_is_ready(l); i++)
            send_one(l, false, 1);
        pair_run(p);
        for (int i = 1; i < 4; i++) {
            p->now = mono_add_ms(p->now, 5000);
            amqp_conn_tick(p->a.conn, p->now);
            amqp_conn_tick(p->b.conn, p->now);
        }
        amqp_link_grant(p->b.link, 50);
        pair_run(p);
    }
    CHECK_EQ(p->b.transfers, 150);
    pair_fini(p);
    free(p);
}

TEST_MAIN(CASE(settling_is_told_to_the_sender),
          CASE(large_messages_are_cut_at_the_peer_s_frame_size),
          CASE(later_frames_carry_as_much_as_their_shorter_head_allows),
          CASE(an_unsettled_delivery_may_end_settled), CASE(parts_are_joined_and_may_be_empty),
          CASE(a_write_stops_at_the_window_and_goes_on),
          CASE(a_write_stops_at_the_limit_of_the_output_and_of_the_pool),
          CASE(a_pool_that_others_emptied_is_looked_at_again),
          CASE(an_aborted_delivery_is_as_if_it_had_never_been), CASE(an_abort_waits_for_the_window),
          CASE(what_the_receiver_settles_early_is_swallowed),
          CASE(what_the_peer_settles_early_is_aborted),
          CASE(a_delivery_may_be_settled_whenever_it_is_told_of),
          CASE(the_connection_may_be_closed_whenever_something_is_told),
          CASE(what_a_sender_must_not_do),
          CASE(a_transfer_on_a_link_that_receives_ends_the_session),
          CASE(transfers_beyond_credit_detach_the_link_alone),
          CASE(unsettled_deliveries_are_limited), CASE(quiet_connections_give_memory_back))
