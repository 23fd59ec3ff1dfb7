// SPDX-License-Identifier: Apache-2.0
#include "amqp/pair.h"

// Captured between two routers: the connector's control link, and a data link of its.
static const uint8_t control_attach[] = {
    0x00, 0x00, 0x00, 0x7a, 0x02, 0x00, 0x00, 0x00, 0x00, 0x53, 0x12, 0xc0, 0x6d, 0x0b, 0xa1, 0x16,
    0x71, 0x64, 0x6c, 0x69, 0x6e, 0x6b, 0x2e, 0x61, 0x74, 0x6d, 0x36, 0x39, 0x4d, 0x68, 0x73, 0x56,
    0x4e, 0x35, 0x35, 0x38, 0x59, 0x6d, 0x43, 0x41, 0x50, 0x02, 0x50, 0x00, 0x00, 0x53, 0x28, 0xc0,
    0x22, 0x0b, 0x40, 0x43, 0xa3, 0x0b, 0x6c, 0x69, 0x6e, 0x6b, 0x2d, 0x64, 0x65, 0x74, 0x61, 0x63,
    0x68, 0x43, 0x42, 0x40, 0x40, 0x40, 0x40, 0x40, 0xa3, 0x09, 0x71, 0x64, 0x2e, 0x72, 0x6f, 0x75,
    0x74, 0x65, 0x72, 0x00, 0x53, 0x29, 0xc0, 0x1e, 0x07, 0x40, 0x43, 0xa3, 0x0b, 0x6c, 0x69, 0x6e,
    0x6b, 0x2d, 0x64, 0x65, 0x74, 0x61, 0x63, 0x68, 0x43, 0x42, 0x40, 0xa3, 0x09, 0x71, 0x64, 0x2e,
    0x72, 0x6f, 0x75, 0x74, 0x65, 0x72, 0x40, 0x40, 0x43, 0x44,
};
static const uint8_t data_attach[] = {
    0x00, 0x00, 0x00, 0x85, 0x02, 0x00, 0x00, 0x01, 0x00, 0x53, 0x12, 0xc0, 0x78, 0x0b, 0xa1,
    0x16, 0x71, 0x64, 0x6c, 0x69, 0x6e, 0x6b, 0x2e, 0x38, 0x38, 0x46, 0x6e, 0x66, 0x61, 0x6d,
    0x7a, 0x58, 0x45, 0x6a, 0x42, 0x49, 0x59, 0x67, 0x52, 0x01, 0x42, 0x50, 0x02, 0x50, 0x00,
    0x00, 0x53, 0x28, 0xc0, 0x27, 0x0b, 0x40, 0x43, 0xa3, 0x0b, 0x6c, 0x69, 0x6e, 0x6b, 0x2d,
    0x64, 0x65, 0x74, 0x61, 0x63, 0x68, 0x43, 0x42, 0x40, 0x40, 0x40, 0x40, 0x40, 0xa3, 0x0e,
    0x71, 0x64, 0x2e, 0x72, 0x6f, 0x75, 0x74, 0x65, 0x72, 0x2d, 0x64, 0x61, 0x74, 0x61, 0x00,
    0x53, 0x29, 0xc0, 0x23, 0x07, 0x40, 0x43, 0xa3, 0x0b, 0x6c, 0x69, 0x6e, 0x6b, 0x2d, 0x64,
    0x65, 0x74, 0x61, 0x63, 0x68, 0x43, 0x42, 0x40, 0xa3, 0x0e, 0x71, 0x64, 0x2e, 0x72, 0x6f,
    0x75, 0x74, 0x65, 0x72, 0x2d, 0x64, 0x61, 0x74, 0x61, 0x40, 0x40, 0x43, 0x44,
};
static const uint8_t begin_frame[] = {
    0x00, 0x00, 0x00, 0x1f, 0x02, 0x00, 0x00, 0x00, 0x00, 0x53, 0x11, 0xc0, 0x12, 0x05, 0x40, 0x43,
    0x70, 0x00, 0x00, 0x20, 0x00, 0x70, 0x7f, 0xff, 0xff, 0xff, 0x70, 0x7f, 0xff, 0xff, 0xff,
};

static struct amqp_attach router_attach(const char *name, enum amqp_role role,
                                        const char *capability)
{
    struct amqp_terminus t = {.capabilities = {str_of(capability)}, .capability_count = 1};

    return (struct amqp_attach){.name = name,
                                .role = role,
                                .snd_settle_mode = 2,
                                .source = t,
                                .target = t,
                                .capacity = 250};
}

TEST(own_attaches_look_as_the_reference_s)
{
    struct pair *p = xcalloc(1, sizeof(*p));
    struct amqp_attach control =
        router_attach("qdlink.atm69MhsVN558Ym", AMQP_RECEIVER, "qd.router");
    struct amqp_attach filler = router_attach("x", AMQP_RECEIVER, "qd.router-data");
    struct amqp_attach data =
        router_attach("qdlink.88FnfamzXEjBIYg", AMQP_SENDER, "qd.router-data");
    struct amqp_session *s;
    uint8_t *out;
    size_t len;

    pair_open(p);
    s = amqp_session_begin(p->a.conn, 8192);
    amqp_link_attach(s, &control);
    out = side_output(&p->a, &len);
    CHECK_EQ(len, sizeof(begin_frame) + sizeof(control_attach));
    CHECK(memcmp(out, begin_frame, sizeof(begin_frame)) == 0);
    CHECK(memcmp(out + sizeof(begin_frame), control_attach, sizeof(control_attach)) == 0);
    free(out);
    s = amqp_session_begin(p->a.conn, 8192);
    amqp_link_attach(s, &filler);
    free(side_output(&p->a, &len));
    amqp_link_attach(s, &data);
    out = side_output(&p->a, &len);
    CHECK_EQ(len, sizeof(data_attach));
    CHECK(memcmp(out, data_attach, len) == 0);
    free(out);
    pair_fini(p);
    free(p);
}

TEST(an_attach_of_the_reference_is_understood)
{
    struct hand *h = xcalloc(1, sizeof(*h));

    hand_init_with(h, NULL);
    side_feed(&h->s, begin_frame, sizeof(begin_frame), 5, h->now);
    side_feed(&h->s, control_attach, sizeof(control_attach), 5, h->now);
    CHECK_STR(told(&h->s), "attached(qdlink.atm69MhsVN558Ym)");
    CHECK_EQ(amqp_link_role(h->s.link), AMQP_SENDER);
    CHECK(amqp_terminus_has(amqp_link_source(h->s.link), "qd.router"));
    CHECK(amqp_terminus_has(amqp_link_target(h->s.link), "qd.router"));
    CHECK(!amqp_terminus_has(amqp_link_target(h->s.link), "qd.router-data"));
    CHECK_STR(amqp_link_source(h->s.link)->expiry, "link-detach");
    CHECK_EQ(amqp_link_snd_settle_mode(h->s.link), 2);
    CHECK_EQ(amqp_link_rcv_settle_mode(h->s.link), 0);
    hand_fini(h);
    free(h);
}

static void next_attach(struct side *s, struct amqp_attach_frame *f, uint8_t **kept)
{
    size_t len, at = 0;
    uint8_t *out = side_output(s, &len);
    struct str body;

    do
        body = next_frame_in(out, len, &at);
    while (body.ptr && amqp_performative_of(body) != AMQP_ATTACH);
    CHECK(body.ptr != NULL);
    CHECK_EQ(amqp_decode_attach(body, f), 0);
    *kept = out;
}

TEST(the_answer_repeats_what_was_asked)
{
    struct hand *h = xcalloc(1, sizeof(*h));
    struct amqp_attach_frame ask = {
        .name = STR("n"),
        .handle = 3,
        .is_receiver = true,
        .snd_settle_mode = 1,
        .rcv_settle_mode = 1,
        .source = {.dynamic = true,
                   .durable = 2,
                   .timeout = 30,
                   .capabilities = {STR("x"), STR("y")},
                   .capability_count = 2,
                   // dynamic-node-properties, distribution-mode, filter
                   .extra = {"\x40\xa3\4move\xc1\1\0", 10}},
        .target = {.address = STR("there"), .expiry = STR("never")},
    };
    struct amqp_attach_frame got;
    uint8_t *kept;
    size_t at;

    hand_init(h);
    h->s.leaves_attach = true;
    at = hand_begin(&h->w);
    amqp_put_attach(&h->w, &ask);
    hand_end(&h->w, at, 0);
    hand_over(&h->w, &h->s, h->now);
    CHECK(amqp_link_source(h->s.link)->dynamic);
    CHECK_STR(heard(&h->s), ""); // the owner has not answered
    amqp_link_accept(h->s.link, STR("given"), 0);
    next_attach(&h->s, &got, &kept);
    CHECK_STR(got.name, "n");
    CHECK(!got.is_receiver);
    CHECK_EQ(got.snd_settle_mode, 1);
    CHECK_EQ(got.rcv_settle_mode, 1);
    CHECK_STR(got.source.address, "given");
    CHECK(got.source.dynamic);
    CHECK_EQ(got.source.durable, 2);
    CHECK_EQ(got.source.timeout, 30);
    CHECK_STR(got.source.expiry, "session-end");
    CHECK_EQ(got.source.capability_count, 2);
    CHECK_STR(got.source.capabilities[1], "y");
    CHECK(got.source.extra.len >= 10 &&
          memcmp(got.source.extra.ptr, ask.source.extra.ptr, 10) == 0);
    CHECK_STR(got.target.address, "there");
    CHECK_STR(got.target.expiry, "never");
    CHECK_EQ(got.initial_delivery_count, 0);
    free(kept);
    hand_fini(h);
    free(h);
}

TEST(a_refusal_is_an_answer_without_our_terminus_and_a_detach)
{
    for (int is_receiver = 0; is_receiver < 2; is_receiver++) {
        struct hand *h = xcalloc(1, sizeof(*h));
        struct amqp_attach_frame got;
        uint8_t *kept;

        hand_init(h);
        h->s.leaves_attach = true;
        hand_attach(&h->w, "n", 1, is_receiver);
        hand_over(&h->w, &h->s, h->now);
        amqp_link_refuse(h->s.link, "qd:forbidden", "no");
        next_attach(&h->s, &got, &kept);
        CHECK_EQ(got.source.is_null, is_receiver);
        CHECK_EQ(got.target.is_null, !is_receiver);
        free(kept);
        hand_attach(&h->w, "o", 2, is_receiver);
        hand_over(&h->w, &h->s, h->now);
        amqp_link_refuse(h->s.link, "qd:forbidden", "no");
        CHECK_STR(heard(&h->s), "attach detach(qd:forbidden)");
        hand_fini(h);
        free(h);
    }
}

TEST(the_refused_side_hears_attached_then_detached)
{
    struct pair *p = xcalloc(1, sizeof(*p));
    struct amqp_attach at = attach_as("l", AMQP_RECEIVER);
    struct amqp_link *l;

    pair_open(p);
    p->b.leaves_attach = true;
    p->a.session = amqp_session_begin(p->a.conn, 10);
    l = amqp_link_attach(p->a.session, &at);
    amqp_link_grant(l, 10);
    pair_run(p);
    amqp_link_refuse(p->b.link, "amqp:not-found", "Node not found");
    pair_run(p);
    CHECK_STR(told(&p->a), "attached(l) detached(amqp:not-found: Node not found)");
    CHECK_STR(told(&p->b), "attached(l) credit(10)");
    pair_fini(p);
    free(p);
}

TEST(handles_must_be_attached_once)
{
    static const struct {
        const char *why;
        int what;
        const char *told, *heard;
    } rows[] = {
        {"attached twice", 0,
         "detached(amqp:session:handle-in-use: handle 0 is attached already, ours)",
         "end(amqp:session:handle-in-use)"},
        {"transfer on none", 1,
         "detached(amqp:session:unattached-handle: a transfer came for handle 9, which is not "
         "attached, ours)",
         "end(amqp:session:unattached-handle)"},
        {"flow on none", 2,
         "detached(amqp:session:unattached-handle: flow came for handle 9, which is not attached, "
         "ours)",
         "end(amqp:session:unattached-handle)"},
        {"detach of none", 3,
         "detached(amqp:session:unattached-handle: detach came for handle 9, which is not "
         "attached, ours)",
         "end(amqp:session:unattached-handle)"},
        {"above handle-max", 4,
         "closed(amqp:connection:framing-error: handle 2147483648 is above handle-max, ours)",
         "close(amqp:connection:framing-error)"},
        {"detached for a while", 5,
         "closed(amqp:not-implemented: a link can only be closed, not detached for a while, ours)",
         "close(amqp:not-implemented)"},
    };

    for (size_t i = 0; i < 6; i++) {
        struct hand *h = xcalloc(1, sizeof(*h));
        struct amqp_transfer_frame t = {.handle = 9, .has_delivery_id = true, .tag = STR("t")};
        struct amqp_flow_frame f = {.has_handle = true, .handle = 9};
        struct amqp_detach_frame d = {.handle = rows[i].what == 5 ? 0 : 9,
                                      .closed = rows[i].what != 5};
        size_t at;

        hand_init(h);
        at = hand_begin(&h->w);
        switch (rows[i].what) {
        case 0:
        case 4:
            h->w.len = at;
            hand_attach(&h->w, "other", rows[i].what ? UINT32_C(1) << 31 : 0, true);
            break;
        case 1:
            amqp_put_transfer(&h->w, &t);
            break;
        case 2:
            amqp_put_flow(&h->w, &f);
            break;
        case 3:
        case 5:
            amqp_put_detach(&h->w, &d);
            break;
        }
        hand_end(&h->w, at, 0);
        hand_over(&h->w, &h->s, h->now);
        CHECK_STR(told(&h->s), rows[i].told);
        CHECK_STR(heard(&h->s), rows[i].heard);
        hand_fini(h);
        free(h);
    }
}

TEST(detach_is_answered_and_the_handle_is_free_again)
{
    struct pair *p = xcalloc(1, sizeof(*p));
    struct amqp_link *l;

    pair_open(p);
    for (int i = 0; i < 50; i++) { // far more than link_max
        l = pair_link(p, "l", i % 2 ? AMQP_SENDER : AMQP_RECEIVER);
        amqp_link_detach(i % 3 ? l : p->b.link, i % 4 ? NULL : "amqp:internal-error", "words");
        pair_run(p);
        CHECK_STR(told(i % 3 ? &p->b : &p->a),
                  i % 4 ? "detached" : "detached(amqp:internal-error: words)");
        CHECK_STR(told(i % 3 ? &p->a : &p->b), "");
    }
    pair_fini(p);
    free(p);
}

TEST(detaches_may_cross)
{
    struct pair *p = xcalloc(1, sizeof(*p));
    struct amqp_link *l;

    pair_open(p);
    l = pair_link(p, "l", AMQP_SENDER);
    send_one(l, false, 5);
    amqp_link_detach(l, NULL, NULL);
    amqp_link_detach(p->b.link, NULL, NULL);
    pair_run(p);
    CHECK_STR(told(&p->a), "");
    CHECK_STR(told(&p->b), "");
    l = pair_link(p, "l", AMQP_SENDER);
    send_one(l, false, 5);
    pair_run(p);
    CHECK_STR(told(&p->b), "transfer(5)");
    pair_fini(p);
    free(p);
}

static bool detach_at_once(struct side *s, const struct amqp_event *ev)
{
    if (!ev->link || ev->type == AMQP_EV_DETACHED)
        return false;
    tell(s, "detaching");
    amqp_link_detach(ev->link, "amqp:internal-error", NULL);
    return true;
}

TEST(a_link_may_be_detached_while_it_is_told_of)
{
    static const struct {
        const char *why, *a, *b;
    } rows[] = {
        {"attached", "attached(l) detached(amqp:internal-error)", "detaching"},
        {"transfer", "detached(amqp:internal-error)", "detaching"},
        {"settled transfer", "detached(amqp:internal-error)", "detaching"},
        {"updated", "detaching", "detached(amqp:internal-error)"},
        {"credit", "detaching", "detached(amqp:internal-error)"},
    };

    for (int i = 0; i < 5; i++) {
        struct pair *p = xcalloc(1, sizeof(*p));
        struct amqp_attach at = attach_as("l", AMQP_SENDER);
        struct amqp_link *l = NULL;

        pair_open(p);
        if (i == 0) {
            p->b.on_event = detach_at_once;
            l = amqp_link_attach(amqp_session_begin(p->a.conn, 10), &at);
        } else {
            l = pair_link(p, "l", AMQP_SENDER);
        }
        if (i == 1 || i == 2) {
            p->b.on_event = detach_at_once;
            send_one(l, i == 2, 10);
            send_one(l, i == 2, 10);
        } else if (i == 3) {
            send_one(l, false, 10);
            send_one(l, false, 10);
            p->b.settles = true;
            pair_pass(p, &p->a, &p->b);
            told(&p->b);
            p->a.on_event = detach_at_once;
        } else if (i == 4) {
            p->a.on_event = detach_at_once;
            amqp_link_grant(p->b.link, 1000);
        }
        pair_run(p);
        CHECK_STR(told(&p->a), rows[i].a);
        CHECK_STR(told(&p->b), rows[i].b);
        pair_fini(p);
        free(p);
    }
}

TEST(links_are_limited)
{
    struct pair *p = xcalloc(1, sizeof(*p));
    struct amqp_attach at = attach_as("l", AMQP_SENDER);
    struct amqp_conn_opts a = pair_opts(NULL, false);

    a.link_max = 20;
    pair_init_with(p, 64, 4096, &a, NULL);
    pair_run(p);
    p->a.session = amqp_session_begin(p->a.conn, 10);
    for (int i = 0; i < 20; i++)
        CHECK(amqp_link_attach(p->a.session, &at) != NULL);
    CHECK(amqp_link_attach(p->a.session, &at) == NULL);
    told(&p->a);
    told(&p->b);
    p->b.on_event = NULL;
    pair_run(p);
    // b takes 16; the other four are told so, and are gone
    CHECK(strstr(told(&p->a).ptr, "attached(l) detached(amqp:resource-limit-exceeded: too many "
                                  "links on the connection)") != NULL);
    for (int i = 0; i < 4; i++)
        CHECK(amqp_link_attach(p->a.session, &at) != NULL);
    CHECK(amqp_link_attach(p->a.session, &at) == NULL);
    pair_run(p);
    CHECK(amqp_conn_is_open(p->b.conn));
    pair_fini(p);
    free(p);
}

TEST(refused_links_that_are_never_detached_end_the_session)
{
    struct hand *h = xcalloc(1, sizeof(*h));

    hand_init(h);
    for (uint32_t i = 1; i < 100; i++)
        hand_attach(&h->w, "n", i, i & 1);
    hand_over(&h->w, &h->s, h->now);
    CHECK(strstr(told(&h->s).ptr, "detached(amqp:resource-limit-exceeded: too many links, 80, "
                                  "ours)") != NULL);
    CHECK(!amqp_conn_is_finished(h->s.conn));
    hand_fini(h);
    free(h);
}

TEST(an_attach_that_resumes_is_not_implemented)
{
    struct hand *h = xcalloc(1, sizeof(*h));
    struct amqp_attach_frame f = {.name = STR("n"),
                                  .handle = 3,
                                  .is_receiver = true,
                                  .unsettled = {"\xc1\5\2\xa0\1x\x40", 7}};
    size_t at;

    hand_init(h);
    at = hand_begin(&h->w);
    amqp_put_attach(&h->w, &f);
    hand_end(&h->w, at, 0);
    hand_over(&h->w, &h->s, h->now);
    CHECK_STR(told(&h->s), "closed(amqp:not-implemented: links are not resumed, ours)");
    hand_fini(h);
    free(h);
}

TEST(flows_go_when_a_quarter_of_the_capacity_has_come_back)
{
    struct hand *h = xcalloc(1, sizeof(*h));
    struct amqp_transfer_frame t = {
        .has_delivery_id = true, .tag = STR("t"), .has_settled = true, .settled = true};

    hand_init_with(h, NULL);
    h->s.grants = 40;
    hand_session(&h->w, 0);
    hand_attach(&h->w, "in", 0, false);
    hand_over(&h->w, &h->s, h->now);
    CHECK_STR(heard(&h->s), "begin attach flow(window 64, 0: count 0 credit 40)");
    for (int i = 0; i < 10; i++) {
        CHECK_STR(heard(&h->s), "");
        hand_transfer(&h->w, &t, "x");
        hand_over(&h->w, &h->s, h->now);
        t.delivery_id++;
        CHECK_EQ(amqp_link_credit(h->s.link), 39);
        amqp_link_grant(h->s.link, 1);
    }
    CHECK_STR(heard(&h->s), "flow(window 64, 0: count 10 credit 40)"); // brings the window too
    hand_fini(h);
    free(h);
}

TEST(a_peer_without_any_credit_is_told_at_once)
{
    struct hand *h = xcalloc(1, sizeof(*h));
    struct amqp_transfer_frame t = {
        .has_delivery_id = true, .tag = STR("t"), .has_settled = true, .settled = true};

    hand_init_with(h, NULL);
    h->s.grants = 40;
    hand_session(&h->w, 0);
    hand_attach(&h->w, "in", 0, false);
    hand_over(&h->w, &h->s, h->now);
    heard(&h->s);
    amqp_link_grant(h->s.link, 1); // too little to tell
    CHECK_STR(heard(&h->s), "");
    for (int i = 0; i < 40; i++) {
        hand_transfer(&h->w, &t, "x");
        t.delivery_id++;
    }
    hand_over(&h->w, &h->s, h->now);
    CHECK_STR(heard(&h->s), "flow(window 64, 0: count 40 credit 1)");
    hand_transfer(&h->w, &t, "x");
    hand_over(&h->w, &h->s, h->now);
    amqp_link_grant(h->s.link, 1);
    CHECK_STR(heard(&h->s), "flow(window 64, 0: count 41 credit 1)");
    hand_fini(h);
    free(h);
}

TEST(drain_gives_credit_back)
{
    struct pair *p = xcalloc(1, sizeof(*p));
    struct amqp_link *l;

    pair_open(p);
    l = pair_link(p, "l", AMQP_SENDER);
    send_one(l, true, 1);
    amqp_link_drain(p->b.link);
    pair_run(p);
    CHECK_STR(told(&p->a), "credit(99 drain)");
    CHECK(amqp_link_is_draining(l));
    send_one(l, true, 1);
    amqp_link_drained(l);
    CHECK(!amqp_link_is_draining(l));
    CHECK_EQ(amqp_link_credit(l), 0);
    pair_run(p);
    CHECK_STR(told(&p->b), "transfer(1 settled) transfer(1 settled) credit(0)");
    CHECK_EQ(amqp_link_credit(p->b.link), 0);
    CHECK_STR(told(&p->a), "");
    amqp_link_drain(p->b.link); // nothing to give back
    side_poll(&p->b);
    CHECK_STR(told(&p->b), "credit(0)");
    amqp_link_grant(p->b.link, 10);
    pair_run(p);
    CHECK_STR(told(&p->a), "credit(10)");
    pair_fini(p);
    free(p);
}

TEST(what_a_sender_may_do_is_told_once_more_when_asked_to)
{
    struct hand *h = xcalloc(1, sizeof(*h));

    hand_init_with(h, NULL);
    h->s.grants = 40;
    hand_session(&h->w, 0);
    hand_attach(&h->w, "in", 0, false);
    hand_over(&h->w, &h->s, h->now);
    heard(&h->s);
    amqp_link_tell(h->s.link);
    CHECK_STR(heard(&h->s), "flow(window 64, 0: count 0 credit 40)");
    CHECK_STR(heard(&h->s), "");
    hand_fini(h);
    free(h);
}

TEST(drain_ends_when_all_credit_was_used_or_more_is_given)
{
    struct pair *p = xcalloc(1, sizeof(*p));
    struct amqp_link *l;

    pair_open(p);
    p->b.grants = 2;
    l = pair_link(p, "l", AMQP_SENDER);
    amqp_link_drain(p->b.link);
    pair_run(p);
    send_one(l, true, 1);
    send_one(l, true, 1);
    pair_run(p);
    CHECK_STR(told(&p->b), "transfer(1 settled) transfer(1 settled) credit(0)");
    amqp_link_drained(l); // must not confuse anybody
    pair_run(p);
    CHECK_STR(told(&p->b), "");
    amqp_link_grant(p->b.link, 2);
    pair_run(p);
    CHECK_STR(told(&p->a), "credit(2 drain) credit(2)");
    amqp_link_drain(p->b.link);
    amqp_link_grant(p->b.link, 1);
    pair_run(p);
    CHECK_STR(told(&p->a), "credit(3)");
    pair_fini(p);
    free(p);
}

TEST(echo_is_answered)
{
    struct hand *h = xcalloc(1, sizeof(*h));
    struct amqp_flow_frame f = {.has_handle = true,
                                .incoming_window = 100,
                                .echo = true,
                                .has_delivery_count = true,
                                .delivery_count = 0};
    size_t at;

    hand_init(h);
    at = hand_begin(&h->w);
    amqp_put_flow(&h->w, &f);
    hand_end(&h->w, at, 0);
    hand_over(&h->w, &h->s, h->now);
    CHECK_STR(heard(&h->s), "flow(window 64, 0: count 0 credit 10)");
    CHECK_STR(told(&h->s), "");
    f.has_handle = f.has_delivery_count = false;
    at = hand_begin(&h->w);
    amqp_put_flow(&h->w, &f);
    hand_end(&h->w, at, 0);
    hand_over(&h->w, &h->s, h->now);
    CHECK_STR(heard(&h->s), "flow(window 64, 0: count 0 credit 10)");
    hand_fini(h);
    free(h);
}

TEST(credit_follows_from_the_count_of_deliveries)
{
    static const struct {
        const char *why;
        bool has_count;
        uint32_t count, credit, left;
    } rows[] = {
        {"all seen", true, 3, 10, 10},         {"two under way", true, 1, 10, 8},
        {"nothing seen", false, 0, 10, 7},     {"taken back", true, 0, 2, 0},
        {"from the future", true, 99, 10, 10},
    };

    for (size_t i = 0; i < 5; i++) {
        struct pair *p = xcalloc(1, sizeof(*p));
        struct amqp_flow_frame f = {.incoming_window = 1000,
                                    .has_handle = true,
                                    .has_delivery_count = rows[i].has_count,
                                    .delivery_count = rows[i].count,
                                    .has_link_credit = true,
                                    .link_credit = rows[i].credit};
        struct amqp_link *l;
        struct amqp_writer w;
        size_t at;

        pair_open(p);
        l = pair_link(p, "l", AMQP_SENDER);
        for (int n = 0; n < 3; n++)
            send_one(l, true, 1);
        amqp_writer_init(&w);
        at = hand_begin(&w);
        amqp_put_flow(&w, &f);
        hand_end(&w, at, 0);
        hand_over(&w, &p->a, p->now);
        CHECK_EQ_FOR(rows[i].why, amqp_link_credit(l), rows[i].left);
        amqp_writer_fini(&w);
        pair_fini(p);
        free(p);
    }
}

TEST(a_link_detached_half_way_through_a_delivery_swallows_the_rest)
{
    struct hand *h = xcalloc(1, sizeof(*h));
    struct amqp_transfer_frame t = {.has_delivery_id = true, .tag = STR("t"), .more = true};
    struct amqp_transfer_frame last = {.has_delivery_id = true};
    struct amqp_detach_frame d = {.closed = false}; // answers ours: that is good enough
    size_t at;

    hand_init(h);
    hand_transfer(&h->w, &t, "x");
    hand_over(&h->w, &h->s, h->now);
    amqp_link_detach(h->s.link, NULL, NULL);
    amqp_link_detach(h->s.link, NULL, NULL); // once is enough
    hand_transfer(&h->w, &last, "x");
    at = hand_begin(&h->w);
    amqp_put_detach(&h->w, &d);
    hand_end(&h->w, at, 0);
    hand_attach(&h->w, "again", 0, false);
    hand_over(&h->w, &h->s, h->now);
    CHECK_STR(told(&h->s), "attached(again)");
    CHECK_STR(heard(&h->s), "detach attach flow(window 64, 0: count 0 credit 10)");
    hand_fini(h);
    free(h);
}

TEST(credit_granted_before_the_answer_follows_it)
{
    struct hand *h = xcalloc(1, sizeof(*h));

    hand_init_with(h, NULL);
    h->s.leaves_attach = true;
    hand_session(&h->w, 0);
    hand_attach(&h->w, "in", 0, false);
    hand_over(&h->w, &h->s, h->now);
    amqp_link_grant(h->s.link, UINT32_MAX);
    amqp_link_grant(h->s.link, 5); // as much as there can be
    amqp_link_drain(h->s.link);    // not before it is attached
    CHECK_STR(heard(&h->s), "begin");
    amqp_link_accept(h->s.link, STR_NONE, 5);
    amqp_link_accept(h->s.link, STR_NONE, 5);
    CHECK_STR(heard(&h->s), "attach flow(window 64, 0: count 0 credit 4294967295)");
    hand_fini(h);
    free(h);
}

TEST(a_link_of_ours_may_be_detached_before_it_is_answered)
{
    struct pair *p = xcalloc(1, sizeof(*p));
    struct amqp_val *properties = amqp_val_map();
    struct amqp_attach at = attach_as("l", AMQP_RECEIVER);
    struct amqp_link *l;

    pair_open(p);
    amqp_val_set_symbol(properties, "key", amqp_val_int(1));
    at.properties = properties;
    p->a.session = amqp_session_begin(p->a.conn, 10);
    l = amqp_link_attach(p->a.session, &at);
    amqp_link_grant(l, 10);
    amqp_link_detach(l, NULL, NULL);
    amqp_val_free(properties);
    pair_run(p);
    CHECK_STR(told(&p->a), "");
    CHECK_STR(told(&p->b), "attached(l) detached");
    pair_link(p, "l", AMQP_RECEIVER);
    pair_fini(p);
    free(p);
}

static bool detach_in_return(struct side *s, const struct amqp_event *ev)
{
    if (ev->type != AMQP_EV_DETACHED)
        return false;
    amqp_link_detach(ev->link, "amqp:internal-error", "me too");
    tell(s, "too");
    return true;
}

TEST(a_detach_may_be_answered_with_words)
{
    struct pair *p = xcalloc(1, sizeof(*p));
    struct amqp_link *l;

    pair_open(p);
    l = pair_link(p, "l", AMQP_SENDER);
    send_one(l, false, 1);
    p->b.on_event = detach_in_return;
    amqp_link_detach(l, NULL, NULL);
    pair_pass(p, &p->a, &p->b);
    CHECK_STR(told(&p->b), "transfer(1) too");
    CHECK_STR(heard(&p->b), "detach(amqp:internal-error)");
    pair_fini(p);
    free(p);
}

TEST(an_attach_larger_than_is_kept_ends_the_session)
{
    struct hand *h = xcalloc(1, sizeof(*h));
    char *name = xcalloc(1, 9000);

    memset(name, 'n', 8999);
    hand_init(h);
    hand_attach(&h->w, name, 1, true);
    hand_over(&h->w, &h->s, h->now);
    CHECK(strstr(told(&h->s).ptr, "detached(amqp:resource-limit-exceeded: an attach has ") != NULL);
    free(name);
    hand_fini(h);
    free(h);
}

TEST(the_peer_s_handle_max_limits_us)
{
    struct hand *h = xcalloc(1, sizeof(*h));
    struct amqp_begin_frame f = {.incoming_window = 10, .outgoing_window = 10, .handle_max = 1};
    struct amqp_attach at = attach_as("l", AMQP_SENDER);
    struct amqp_session *s;
    size_t begin;

    hand_init_with(h, NULL);
    begin = hand_begin(&h->w);
    amqp_put_begin(&h->w, &f);
    hand_end(&h->w, begin, 0);
    hand_attach(&h->w, "in", 0, false);
    hand_over(&h->w, &h->s, h->now);
    s = h->s.session;
    CHECK(amqp_link_attach(s, &at) != NULL);
    CHECK(amqp_link_attach(s, &at) == NULL);
    hand_attach(&h->w, "another", 1, false);
    hand_over(&h->w, &h->s, h->now);
    CHECK_STR(told(&h->s),
              "attached(in) detached(amqp:resource-limit-exceeded: no handle is left, ours) "
              "detached(amqp:resource-limit-exceeded: no handle is left, ours)");
    hand_fini(h);
    free(h);
}

TEST_MAIN(CASE(own_attaches_look_as_the_reference_s),
          CASE(an_attach_of_the_reference_is_understood), CASE(the_answer_repeats_what_was_asked),
          CASE(a_refusal_is_an_answer_without_our_terminus_and_a_detach),
          CASE(the_refused_side_hears_attached_then_detached), CASE(handles_must_be_attached_once),
          CASE(detach_is_answered_and_the_handle_is_free_again), CASE(detaches_may_cross),
          CASE(a_link_may_be_detached_while_it_is_told_of), CASE(links_are_limited),
          CASE(refused_links_that_are_never_detached_end_the_session),
          CASE(an_attach_that_resumes_is_not_implemented),
          CASE(flows_go_when_a_quarter_of_the_capacity_has_come_back),
          CASE(a_peer_without_any_credit_is_told_at_once), CASE(drain_gives_credit_back),
          CASE(drain_ends_when_all_credit_was_used_or_more_is_given), CASE(echo_is_answered),
          CASE(credit_follows_from_the_count_of_deliveries),
          CASE(a_link_detached_half_way_through_a_delivery_swallows_the_rest),
          CASE(what_a_sender_may_do_is_told_once_more_when_asked_to),
          CASE(credit_granted_before_the_answer_follows_it),
          CASE(a_link_of_ours_may_be_detached_before_it_is_answered),
          CASE(a_detach_may_be_answered_with_words),
          CASE(an_attach_larger_than_is_kept_ends_the_session),
          CASE(the_peer_s_handle_max_limits_us))
