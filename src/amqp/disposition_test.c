// SPDX-License-Identifier: Apache-2.0
#include "amqp/pair.h"

TEST(unsettled_deliveries_are_settled_in_ranges)
{
    struct pair *p = xcalloc(1, sizeof(*p));
    struct amqp_link *l;

    pair_open(p);
    p->b.settles = true;
    l = pair_link(p, "l", AMQP_SENDER);
    for (int i = 0; i < 5; i++)
        send_one(l, false, 10);
    pair_pass(p, &p->a, &p->b);
    CHECK_STR(told(&p->b), "transfer(10) transfer(10) transfer(10) transfer(10) transfer(10)");
    CHECK_STR(heard(&p->b), "disposition(r 0-4 accepted!)");
    pair_fini(p);
    free(p);
}

static bool remember(struct side *s, const struct amqp_event *ev)
{
    struct amqp_delivery **list = s->user;

    if (ev->type == AMQP_EV_TRANSFER && !ev->transfer.more)
        list[ev->transfer.delivery->id] = ev->transfer.delivery;
    return false;
}

TEST(settling_in_any_order_makes_as_few_ranges_as_there_are)
{
    static const struct {
        const char *why;
        int order[12];
        enum amqp_outcome_type types[12];
        const char *heard;
    } rows[] = {
        {"forwards", {0, 1, 2, 3, -1}, {0}, "disposition(r 0-3 accepted!)"},
        {"backwards", {3, 2, 1, 0, -1}, {0}, "disposition(r 0-3 accepted!)"},
        {"interleaved", {0, 2, 4, 1, 3, 5, -1}, {0}, "disposition(r 0-5 accepted!)"},
        {"three interleaved", {0, 3, 6, 1, 4, 7, 2, 5, 8, -1}, {0}, "disposition(r 0-8 accepted!)"},
        {"a gap",
         {0, 1, 7, 3, 4, -1},
         {0},
         "disposition(r 0-1 accepted!) disposition(r 3-4 accepted!) disposition(r 7-7 accepted!)"},
        {"another outcome",
         {0, 1, 2, 3, -1},
         {AMQP_ACCEPTED, AMQP_ACCEPTED, AMQP_RELEASED, AMQP_ACCEPTED},
         "disposition(r 0-1 accepted!) disposition(r 2-2 released!) disposition(r 3-3 accepted!)"},
    };

    for (size_t i = 0; i < 6; i++) {
        struct pair *p = xcalloc(1, sizeof(*p));
        struct amqp_delivery *list[10];
        struct amqp_link *l;

        pair_open(p);
        p->b.user = list;
        p->b.on_event = remember;
        l = pair_link(p, "l", AMQP_SENDER);
        for (int n = 0; n < 10; n++)
            send_one(l, false, 1);
        pair_pass(p, &p->a, &p->b);
        for (int n = 0; rows[i].order[n] >= 0; n++) {
            struct amqp_outcome o = {.type = rows[i].types[n]};

            if (o.type == AMQP_NO_OUTCOME)
                o.type = AMQP_ACCEPTED;
            amqp_delivery_settle(list[rows[i].order[n]], &o);
        }
        CHECK_STR(heard(&p->b), rows[i].heard);
        pair_fini(p);
        free(p);
    }
}

TEST(scattered_settlements_are_bounded)
{
    enum { COUNT = 6000 };
    struct pair *p = xcalloc(1, sizeof(*p));
    struct amqp_conn_opts a = pair_opts(NULL, false), b = pair_opts(NULL, true);
    struct amqp_delivery **list = xcalloc(COUNT, sizeof(*list));
    struct amqp_link *l;
    size_t before;

    a.output_max = 1 << 20;
    b.incoming_window = COUNT;
    pair_init_with(p, 4096, 65536, &a, &b);
    pair_run(p);
    p->b.grants = COUNT;
    p->b.user = list;
    p->b.on_event = remember;
    l = pair_link(p, "l", AMQP_SENDER);
    for (int n = 0; n < COUNT; n++)
        send_one(l, false, 1);
    pair_pass(p, &p->a, &p->b);
    before = amqp_conn_output(p->b.conn)->len;
    for (int n = 0; n < COUNT; n += 2)
        amqp_delivery_settle(list[n], &(struct amqp_outcome){.type = AMQP_ACCEPTED});
    CHECK(amqp_conn_output(p->b.conn)->len > before); // the first ones have gone
    for (int n = 1; n < COUNT; n += 2)
        amqp_delivery_settle(list[n], &(struct amqp_outcome){.type = AMQP_ACCEPTED});
    told(&p->a);
    p->a.told_len = 0;
    pair_run(p);
    amqp_link_detach(l, NULL, NULL);
    pair_run(p);
    free(list);
    pair_fini(p);
    free(p);
}

TEST(outcomes_with_fields_come_as_they_are)
{
    // rejected with an error: condition and description
    static const char state[] = "\0\x53\x25\xc0\x10\1\0\x53\x1d\xc0\x0a\2\xa3\3x:y\xa1\2no";
    struct pair *p = xcalloc(1, sizeof(*p));
    struct amqp_outcome rejected = {AMQP_REJECTED, {state, sizeof(state) - 1}};
    struct amqp_outcome other = {AMQP_OTHER_OUTCOME, {"\0\x53\x77\x45", 4}};
    struct amqp_event ev;
    uint8_t *out;
    size_t len;

    pair_open(p);
    send_one(pair_link(p, "l", AMQP_SENDER), false, 10);
    pair_run(p);
    amqp_delivery_update(p->b.delivery, &other);
    amqp_delivery_settle(p->b.delivery, &rejected);
    out = side_output(&p->b, &len);
    amqp_conn_feed(p->a.conn, out, len, p->now);
    CHECK(amqp_conn_next(p->a.conn, &ev));
    CHECK_EQ(ev.update.outcome.type, AMQP_OTHER_OUTCOME);
    CHECK(str_eq(ev.update.outcome.encoded, other.encoded));
    CHECK(!ev.update.settled);
    CHECK(amqp_conn_next(p->a.conn, &ev));
    CHECK_EQ(ev.update.outcome.type, AMQP_REJECTED);
    CHECK(str_eq(ev.update.outcome.encoded, rejected.encoded));
    CHECK(ev.update.settled);
    CHECK(!amqp_conn_next(p->a.conn, &ev));
    free(out);
    pair_fini(p);
    free(p);
}

TEST(an_outcome_too_large_for_the_peer_goes_without_its_words)
{
    struct pair *p = xcalloc(1, sizeof(*p));
    struct amqp_conn_opts a = pair_opts(NULL, false);
    struct amqp_outcome o;
    struct amqp_writer w;
    char *words = xcalloc(1, 4001);

    memset(words, 'x', 4000);
    amqp_writer_init(&w);
    amqp_put_descriptor(&w, 0x25);
    amqp_put_raw(&w, (struct str){"\xd0\0\0\x0f\xa9\0\0\0\1", 9}); // list32: not looked at here
    amqp_put_string(&w, str_of(words));
    o = (struct amqp_outcome){AMQP_REJECTED, amqp_written(&w)};
    a.frame_size_max = 512;
    pair_init_with(p, 64, 4096, &a, NULL);
    pair_run(p);
    told(&p->a);
    send_one(pair_link(p, "l", AMQP_SENDER), false, 10);
    pair_run(p);
    amqp_delivery_settle(p->b.delivery, &o);
    pair_run(p);
    CHECK_STR(told(&p->a), "rejected!");
    amqp_writer_fini(&w);
    free(words);
    pair_fini(p);
    free(p);
}

TEST(the_sender_settles_after_an_outcome_that_was_not_settled)
{
    struct pair *p = xcalloc(1, sizeof(*p));
    struct amqp_link *l;

    pair_open(p);
    l = pair_link(p, "l", AMQP_SENDER);
    send_one(l, false, 10);
    send_one(l, false, 10);
    pair_run(p);
    amqp_delivery_update(p->b.delivery, &(struct amqp_outcome){.type = AMQP_ACCEPTED});
    pair_run(p);
    CHECK_STR(told(&p->a), "accepted");
    amqp_delivery_settle(p->a.delivery, NULL);
    pair_run(p);
    CHECK_STR(told(&p->b), "transfer(10) transfer(10) none!");
    CHECK_STR(told(&p->a), "");
    pair_fini(p);
    free(p);
}

TEST(outcomes_are_told_before_their_link_is_detached)
{
    struct pair *p = xcalloc(1, sizeof(*p));
    struct amqp_link *l;

    pair_open(p);
    l = pair_link(p, "l", AMQP_SENDER);
    send_one(l, false, 10);
    pair_run(p);
    amqp_delivery_settle(p->b.delivery, &(struct amqp_outcome){.type = AMQP_RELEASED});
    amqp_link_detach(p->b.link, NULL, NULL);
    pair_run(p);
    CHECK_STR(told(&p->a), "released! detached");
    pair_fini(p);
    free(p);
}

TEST(with_mode_second_the_receiver_waits_for_the_sender)
{
    struct pair *p = xcalloc(1, sizeof(*p));
    struct amqp_attach at = attach_as("l", AMQP_SENDER);
    struct amqp_link *l;

    pair_open(p);
    p->b.settles = true;
    at.rcv_settle_mode = 1;
    p->a.session = amqp_session_begin(p->a.conn, 10);
    l = amqp_link_attach(p->a.session, &at);
    pair_run(p);
    CHECK_EQ(amqp_link_rcv_settle_mode(p->b.link), 1);
    send_one(l, false, 10);
    send_one(l, false, 10);
    told(&p->b);
    told(&p->a);
    pair_pass(p, &p->a, &p->b);
    CHECK_STR(told(&p->b), "transfer(10) transfer(10)");
    pair_pass(p, &p->b, &p->a);
    CHECK_STR(told(&p->a), "accepted accepted");
    CHECK_EQ(p->a.delivery->id, 1);
    amqp_delivery_settle(p->a.delivery, NULL);
    CHECK_STR(heard(&p->a), "disposition(s 1-1 none!)");
    pair_run(p);
    CHECK_STR(told(&p->b), ""); // that was between the engines
    amqp_link_detach(l, NULL, NULL);
    pair_run(p);
    CHECK_STR(told(&p->b), "detached");
    pair_fini(p);
    free(p);
}

TEST(ranges_of_any_size_hit_what_there_is)
{
    static const struct {
        const char *why;
        uint32_t first, last;
        const char *told;
    } rows[] = {
        {"all", 0, 9, "0 1 2 4 7 9"},
        {"far too much", 0, INT32_MAX, "0 1 2 4 7 9"},
        {"from before", UINT32_MAX - 5, 100, "0 1 2 4 7 9"},
        {"half of all ids", UINT32_MAX - 100, INT32_MAX - 101, "0 1 2 4 7 9"},
        {"in the middle", 2, 7, "2 4 7"},
        {"from a gap to a gap", 3, 8, "4 7"},
        {"a gap", 5, 6, ""},
        {"later", 10, 20, ""},
        {"earlier", UINT32_MAX - 20, UINT32_MAX - 10, ""},
    };

    for (size_t i = 0; i < 9; i++) {
        struct pair *p = xcalloc(1, sizeof(*p));
        struct amqp_delivery *sent[10];
        struct amqp_writer w;
        struct amqp_link *l;
        struct amqp_event ev;
        char got[64] = "";

        pair_open(p);
        l = pair_link(p, "l", AMQP_SENDER);
        for (int n = 0; n < 10; n++)
            sent[n] = send_one(l, false, 1);
        for (int n = 0; n < 10; n++)
            if (n == 3 || n == 5 || n == 6 || n == 8)
                amqp_delivery_settle(sent[n], NULL);
        amqp_writer_init(&w);
        hand_disposition(&w, true, rows[i].first, rows[i].last, true, AMQP_ACCEPTED);
        amqp_conn_feed(p->a.conn, w.buf, w.len, p->now);
        while (amqp_conn_next(p->a.conn, &ev)) {
            CHECK_EQ(ev.type, AMQP_EV_UPDATED);
            snprintf(got + strlen(got), 8, "%s%u", got[0] ? " " : "", ev.update.delivery->id);
        }
        CHECK_STR(str_of(got), rows[i].told);
        amqp_writer_fini(&w);
        pair_fini(p);
        free(p);
    }
}

static bool settle_the_next(struct side *s, const struct amqp_event *ev)
{
    struct amqp_delivery **sent = s->user;
    uint32_t id;

    if (ev->type != AMQP_EV_UPDATED)
        return false;
    id = ev->update.delivery->id;
    if (id % 2 == 0 && id + 1 < 10)
        amqp_delivery_settle(sent[id + 1], NULL);
    if (amqp_link_is_ready(ev->link))
        send_one(ev->link, false, 1); // is not in the range
    tell(s, "%u", id);
    return true;
}

TEST(a_range_goes_on_whatever_happens_meanwhile)
{
    struct pair *p = xcalloc(1, sizeof(*p));
    struct amqp_delivery *sent[10];
    struct amqp_writer w;
    struct amqp_link *l;

    pair_open(p);
    l = pair_link(p, "l", AMQP_SENDER);
    for (int n = 0; n < 10; n++)
        sent[n] = send_one(l, false, 1);
    p->a.user = sent;
    p->a.on_event = settle_the_next;
    amqp_writer_init(&w);
    hand_disposition(&w, true, 0, INT32_MAX, true, AMQP_ACCEPTED);
    hand_over(&w, &p->a, p->now);
    CHECK_STR(told(&p->a), "0 2 4 6 8");
    amqp_writer_fini(&w);
    pair_fini(p);
    free(p);
}

TEST(a_range_that_runs_backwards_ends_the_session)
{
    struct hand *h = xcalloc(1, sizeof(*h));

    hand_init(h);
    hand_disposition(&h->w, true, 5, 4, true, AMQP_ACCEPTED);
    hand_over(&h->w, &h->s, h->now);
    CHECK_STR(told(&h->s),
              "detached(amqp:invalid-field: a disposition runs from 5 back to 4, ours)");
    hand_fini(h);
    free(h);
}

TEST(one_old_delivery_costs_the_others_nothing)
{
    struct pair *p = xcalloc(1, sizeof(*p));
    struct amqp_delivery *old;
    struct amqp_link *l, *m;

    pair_open(p);
    m = pair_link(p, "old", AMQP_SENDER);
    l = pair_link(p, "l", AMQP_SENDER);
    old = send_one(m, false, 1);
    p->a.user = NULL;
    pair_run(p);
    p->b.settles = true;
    for (int i = 0; i < 5000; i++) {
        send_one(l, false, 1);
        pair_run(p);
        amqp_link_grant(p->b.link, 1);
        p->a.told_len = p->b.told_len = 0;
    }
    CHECK_EQ(old->id, 0);
    amqp_delivery_settle(old, NULL);
    pair_run(p);
    CHECK_STR(told(&p->b), "none!");
    pair_fini(p);
    free(p);
}

TEST(a_sender_may_settle_first)
{
    struct hand *h = xcalloc(1, sizeof(*h));
    struct amqp_transfer_frame t = {.has_delivery_id = true, .tag = STR("t"), .more = true};
    struct amqp_transfer_frame last = {0};

    hand_init(h);
    hand_transfer(&h->w, &t, "x");
    hand_disposition(&h->w, false, 0, 5, true, AMQP_NO_OUTCOME);
    hand_transfer(&h->w, &last, "x"); // nobody is interested any more
    t.delivery_id = 1;
    t.more = false;
    hand_transfer(&h->w, &t, "y");
    hand_disposition(&h->w, false, 1, 1, false, AMQP_NO_OUTCOME); // says nothing
    hand_disposition(&h->w, false, 1, 1, true, AMQP_ACCEPTED);
    hand_over(&h->w, &h->s, h->now);
    CHECK_STR(told(&h->s), "none! transfer(1) accepted!");
    hand_fini(h);
    free(h);
}

TEST_MAIN(CASE(unsettled_deliveries_are_settled_in_ranges),
          CASE(settling_in_any_order_makes_as_few_ranges_as_there_are),
          CASE(scattered_settlements_are_bounded), CASE(outcomes_with_fields_come_as_they_are),
          CASE(an_outcome_too_large_for_the_peer_goes_without_its_words),
          CASE(the_sender_settles_after_an_outcome_that_was_not_settled),
          CASE(outcomes_are_told_before_their_link_is_detached),
          CASE(with_mode_second_the_receiver_waits_for_the_sender),
          CASE(ranges_of_any_size_hit_what_there_is),
          CASE(a_range_goes_on_whatever_happens_meanwhile),
          CASE(a_range_that_runs_backwards_ends_the_session),
          CASE(one_old_delivery_costs_the_others_nothing), CASE(a_sender_may_settle_first))
