// SPDX-License-Identifier: Apache-2.0
#include "amqp/pair.h"

TEST(begin_is_answered_and_ours_is_usable_at_once)
{
    struct pair *p = xcalloc(1, sizeof(*p));
    struct amqp_attach at = attach_as("l", AMQP_SENDER);

    pair_open(p);
    p->a.session = amqp_session_begin(p->a.conn, 10);
    CHECK(amqp_link_attach(p->a.session, &at) != NULL);
    pair_run(p);
    CHECK_STR(told(&p->b), "attached(l)");
    CHECK_STR(told(&p->a), "attached(l) credit(100)");
    pair_fini(p);
    free(p);
}

TEST(channels_are_limited)
{
    struct pair *p = xcalloc(1, sizeof(*p));
    struct amqp_session *s[9];

    pair_open(p);
    for (int i = 0; i < 8; i++) {
        s[i] = amqp_session_begin(p->a.conn, 10);
        CHECK(s[i] != NULL);
    }
    CHECK(amqp_session_begin(p->a.conn, 10) == NULL);
    pair_run(p);
    amqp_session_end(s[3]);
    CHECK(amqp_session_begin(p->a.conn, 10) == NULL); // until the peer has answered
    pair_run(p);
    s[3] = amqp_session_begin(p->a.conn, 10);
    CHECK(s[3] != NULL);
    pair_run(p);
    CHECK_STR(told(&p->a), "");
    CHECK_STR(told(&p->b), "");
    pair_fini(p);
    free(p);
}

TEST(what_the_peer_must_not_do_with_sessions)
{
    static const struct {
        const char *why;
        uint16_t channel;
        bool has_remote;
        uint16_t remote;
        const char *told;
    } rows[] = {
        {"above channel-max", 8, false, 0,
         "closed(amqp:connection:framing-error: channel 8 is above channel-max 7, ours)"},
        {"twice", 0, false, 0, "closed(amqp:not-allowed: begin came twice on channel 0, ours)"},
        {"an answer to nothing", 1, true, 3,
         "closed(amqp:not-allowed: begin answers none of ours: remote-channel is 3, ours)"},
        {"an answer to what was not asked", 1, true, 0,
         "closed(amqp:not-allowed: begin answers none of ours: remote-channel is 0, ours)"},
    };

    for (size_t i = 0; i < 4; i++) {
        struct hand *h = xcalloc(1, sizeof(*h));
        struct amqp_begin_frame f = {.has_remote_channel = rows[i].has_remote,
                                     .remote_channel = rows[i].remote,
                                     .handle_max = 1};
        size_t at;

        hand_init(h);
        at = hand_begin(&h->w);
        amqp_put_begin(&h->w, &f);
        hand_end(&h->w, at, rows[i].channel);
        hand_over(&h->w, &h->s, h->now);
        CHECK_STR(told(&h->s), rows[i].told);
        hand_fini(h);
        free(h);
    }
}

TEST(end_of_the_peer_takes_its_links)
{
    struct hand *h = xcalloc(1, sizeof(*h));
    struct amqp_error e = {STR("amqp:internal-error"), STR("oops")};
    size_t at;

    hand_init(h);
    hand_attach(&h->w, "out", 1, true);
    at = hand_begin(&h->w);
    amqp_put_end(&h->w, &e);
    hand_end(&h->w, at, 0);
    hand_session(&h->w, 0); // the channel is free again
    hand_attach(&h->w, "in", 7, false);
    hand_over(&h->w, &h->s, h->now);
    CHECK_STR(told(&h->s), "attached(out) detached(amqp:internal-error: oops) "
                           "detached(amqp:internal-error: oops) attached(in)");
    CHECK_STR(heard(&h->s), "attach end begin attach flow(window 64, 0: count 0 credit 10)");
    hand_fini(h);
    free(h);
}

TEST(a_session_of_ours_outlives_its_end_by_the_peer)
{
    struct pair *p = xcalloc(1, sizeof(*p));
    struct amqp_attach at = attach_as("again", AMQP_SENDER);

    pair_open(p);
    pair_link(p, "l", AMQP_SENDER);
    CHECK(!amqp_session_is_ended(p->a.session));
    amqp_session_end(p->b.session);
    pair_run(p);
    CHECK_STR(told(&p->a), "detached");
    CHECK_STR(told(&p->b), "");
    CHECK(amqp_session_is_ended(p->a.session));
    CHECK(amqp_link_attach(p->a.session, &at) == NULL);
    amqp_session_end(p->a.session);
    p->a.session = NULL;
    pair_link(p, "l2", AMQP_SENDER);
    pair_fini(p);
    free(p);
}

TEST(end_by_us_is_silent_at_any_time)
{
    struct pair *p = xcalloc(1, sizeof(*p));
    struct amqp_attach at = attach_as("l", AMQP_SENDER);

    pair_open(p);
    p->a.session = amqp_session_begin(p->a.conn, 10);
    CHECK(amqp_link_attach(p->a.session, &at) != NULL);
    amqp_session_end(p->a.session); // before the peer has answered begin
    p->a.session = NULL;
    pair_run(p);
    CHECK_STR(told(&p->a), "");
    CHECK_STR(told(&p->b), "attached(l) detached");

    send_one(pair_link(p, "l", AMQP_SENDER), false, 10);
    amqp_session_end(p->a.session);
    pair_run(p);
    CHECK_STR(told(&p->a), "");
    CHECK_STR(told(&p->b), "transfer(10) detached");
    pair_fini(p);
    free(p);
}

static bool end_session(struct side *s, const struct amqp_event *ev)
{
    if (ev->type == AMQP_EV_DETACHED || ev->type == AMQP_EV_TRANSFER) {
        tell(s, "ending");
        amqp_session_end(amqp_link_session(ev->link));
        return true;
    }
    return false;
}

TEST(end_by_us_while_we_are_told_something)
{
    for (int i = 0; i < 2; i++) {
        struct pair *p = xcalloc(1, sizeof(*p));
        struct amqp_link *l;

        pair_open(p);
        pair_link(p, "l", AMQP_SENDER);
        l = pair_link(p, "m", AMQP_SENDER);
        p->b.on_event = end_session;
        if (i == 0) {
            send_one(l, false, 10);
            send_one(l, true, 10);
        } else {
            amqp_session_end(p->a.session);
        }
        pair_run(p);
        CHECK_STR(told(&p->b), "ending");
        CHECK_STR(told(&p->a), i == 0 ? "detached detached" : "");
        pair_fini(p);
        free(p);
    }
}

TEST(the_window_is_refilled_at_half_unless_held)
{
    struct hand *h = xcalloc(1, sizeof(*h));
    struct amqp_transfer_frame t = {
        .has_delivery_id = true, .tag = STR("t"), .has_settled = true, .settled = true};

    hand_init(h);
    amqp_link_grant(h->s.link, 1000);
    CHECK_STR(heard(&h->s), "flow(window 64, 0: count 0 credit 1010)");
    for (int i = 0; i < 32; i++) {
        CHECK_STR(heard(&h->s), "");
        hand_transfer(&h->w, &t, "x");
        hand_over(&h->w, &h->s, h->now);
        t.delivery_id++;
    }
    CHECK_STR(heard(&h->s), "flow(window 64, 0: count 32 credit 978)");
    CHECK_STR(heard(&h->s), "");
    amqp_link_hold(h->s.link, true);
    for (int i = 0; i < 64; i++) {
        hand_transfer(&h->w, &t, "x");
        t.delivery_id++;
    }
    hand_over(&h->w, &h->s, h->now);
    amqp_link_grant(h->s.link, 1000);
    CHECK_STR(heard(&h->s), "flow(window 0, 0: count 96 credit 1914)");
    amqp_link_hold(h->s.link, false);
    CHECK_STR(heard(&h->s), "flow(window 64, 0: count 96 credit 1914)");
    told(&h->s);
    for (int i = 0; i < 65; i++) {
        hand_transfer(&h->w, &t, "x");
        t.delivery_id++;
    }
    hand_over(&h->w, &h->s, h->now);
    CHECK(strstr(told(&h->s).ptr, "detached(amqp:session:window-violation: a transfer came when "
                                  "the window was closed, ours)") != NULL);
    CHECK_STR(heard(&h->s), "end(amqp:session:window-violation)");
    hand_over(&h->w, &h->s, h->now);
    CHECK(!amqp_conn_is_finished(h->s.conn));
    hand_fini(h);
    free(h);
}

// Whoever looks for room only when a link is spoken of (qpid-proton) would stand still without.
TEST(a_window_is_told_in_the_name_of_a_receiving_link)
{
    struct hand *h = xcalloc(1, sizeof(*h));
    struct amqp_transfer_frame t = {
        .has_delivery_id = true, .tag = STR("t"), .has_settled = true, .settled = true};
    struct amqp_flow_frame f = {
        .has_handle = true, .handle = 1, .incoming_window = 100, .has_link_credit = true};
    struct amqp_link *in;
    size_t at;

    hand_init(h);
    in = h->s.link;
    amqp_link_grant(in, 1000);
    heard(&h->s);
    amqp_link_hold(in, true);
    for (; t.delivery_id < 40; t.delivery_id++)
        hand_transfer(&h->w, &t, "x");
    hand_attach(&h->w, "out", 1, true);
    at = hand_begin(&h->w);
    amqp_put_flow(&h->w, &f); // now the link spoken of last is one that sends
    hand_end(&h->w, at, 0);
    hand_over(&h->w, &h->s, h->now);
    while (heard(&h->s).len > 0)
        continue;
    amqp_link_hold(in, false);
    CHECK_STR(heard(&h->s), "flow(window 64, 0: count 40 credit 970)");
    CHECK_STR(heard(&h->s), "");
    hand_fini(h);
    free(h);
}

TEST(every_link_that_holds_the_window_must_let_it_go)
{
    struct pair *p = xcalloc(1, sizeof(*p));
    struct amqp_link *l, *first;

    pair_open(p);
    l = pair_link(p, "l", AMQP_SENDER);
    first = p->b.link;
    pair_link(p, "m", AMQP_SENDER);
    amqp_link_hold(first, true);
    amqp_link_hold(first, true);
    amqp_link_hold(p->b.link, true);
    while (amqp_link_is_ready(l))
        send_one(l, true, 5);
    pair_run(p);
    amqp_link_hold(first, false);
    pair_run(p);
    CHECK(!amqp_link_is_ready(l));
    amqp_link_detach(p->b.link, NULL, NULL); // it holds nothing any more
    pair_run(p);
    CHECK(amqp_link_is_ready(l));
    pair_fini(p);
    free(p);
}

TEST(the_peer_s_window_holds_us_back)
{
    struct pair *p = xcalloc(1, sizeof(*p));
    struct amqp_link *l;
    int sent = 0;

    pair_open(p);
    l = pair_link(p, "l", AMQP_SENDER);
    amqp_link_hold(p->b.link, true);
    for (; amqp_link_is_ready(l); sent++)
        send_one(l, true, 5);
    CHECK_EQ(sent, 64);
    pair_run(p);
    CHECK_EQ(p->b.transfers, 64);
    CHECK_STR(told(&p->a), "");
    CHECK(!amqp_link_is_ready(l));
    amqp_link_hold(p->b.link, false);
    pair_run(p);
    CHECK_STR(told(&p->a), "writable");
    CHECK(amqp_link_is_ready(l));
    pair_fini(p);
    free(p);
}

TEST(a_full_window_of_one_session_leaves_the_others_alone)
{
    struct pair *p = xcalloc(1, sizeof(*p));
    struct amqp_link *l, *m;

    pair_open(p);
    l = pair_link(p, "l", AMQP_SENDER);
    amqp_link_hold(p->b.link, true);
    p->a.session = NULL;
    m = pair_link(p, "m", AMQP_SENDER);
    while (amqp_link_is_ready(l))
        send_one(l, true, 5);
    pair_run(p);
    CHECK(amqp_link_is_ready(m));
    send_one(m, true, 5);
    pair_run(p);
    CHECK_EQ(p->b.transfers, 65);
    pair_fini(p);
    free(p);
}

TEST(windows_are_computed_from_what_is_under_way)
{
    static const struct {
        const char *why;
        bool has_next;
        uint32_t next, window;
        int left;
    } rows[] = {
        {"all seen", true, 3, 10, 10},      {"two under way", true, 1, 10, 8},
        {"nothing seen", false, 0, 10, 7},  {"more under way than window", true, 0, 2, 0},
        {"not sent yet", true, 99, 10, 10}, {"closed", true, 3, 0, 0},
    };

    for (size_t i = 0; i < 6; i++) {
        struct hand *h = xcalloc(1, sizeof(*h));
        struct amqp_flow_frame f = {.has_handle = true,
                                    .handle = 1,
                                    .incoming_window = 1000,
                                    .has_link_credit = true,
                                    .link_credit = 100};
        int sent = 0;
        size_t at;

        hand_init(h);
        hand_attach(&h->w, "out", 1, true);
        at = hand_begin(&h->w);
        amqp_put_flow(&h->w, &f);
        hand_end(&h->w, at, 0);
        hand_over(&h->w, &h->s, h->now);
        CHECK_STR(told(&h->s), "attached(out) credit(100)");
        for (int n = 0; n < 3; n++)
            send_one(h->s.link, true, 1);
        at = hand_begin(&h->w);
        f.has_handle = f.has_link_credit = false;
        f.has_next_incoming_id = rows[i].has_next;
        f.next_incoming_id = rows[i].next;
        f.incoming_window = rows[i].window;
        amqp_put_flow(&h->w, &f);
        hand_end(&h->w, at, 0);
        hand_over(&h->w, &h->s, h->now);
        for (; amqp_link_is_ready(h->s.link); sent++)
            send_one(h->s.link, true, 1);
        CHECK_EQ_FOR(rows[i].why, sent, rows[i].left);
        hand_fini(h);
        free(h);
    }
}

TEST(a_peer_with_too_many_sessions_is_left)
{
    struct hand *h = xcalloc(1, sizeof(*h));

    hand_init_with(h, NULL);
    CHECK(amqp_session_begin(h->s.conn, 10) != NULL); // one is ours
    for (uint16_t i = 0; i < 8; i++)
        hand_session(&h->w, i);
    hand_over(&h->w, &h->s, h->now);
    CHECK_STR(told(&h->s), "closed(amqp:resource-limit-exceeded: there are 8 sessions, no more are "
                           "allowed, ours)");
    hand_fini(h);
    free(h);
}

TEST_MAIN(CASE(begin_is_answered_and_ours_is_usable_at_once), CASE(channels_are_limited),
          CASE(what_the_peer_must_not_do_with_sessions), CASE(end_of_the_peer_takes_its_links),
          CASE(a_session_of_ours_outlives_its_end_by_the_peer),
          CASE(end_by_us_is_silent_at_any_time), CASE(end_by_us_while_we_are_told_something),
          CASE(the_window_is_refilled_at_half_unless_held),
          CASE(a_window_is_told_in_the_name_of_a_receiving_link),
          CASE(every_link_that_holds_the_window_must_let_it_go),
          CASE(the_peer_s_window_holds_us_back),
          CASE(a_full_window_of_one_session_leaves_the_others_alone),
          CASE(windows_are_computed_from_what_is_under_way),
          CASE(a_peer_with_too_many_sessions_is_left))
