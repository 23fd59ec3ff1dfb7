// SPDX-License-Identifier: Apache-2.0
#include "router/rig_test.h"

// An interior router I and edge routers E, F joined to it.
static void star(struct net *n, int edges)
{
    net_begin(n);
    net_router(n, "I", ROUTER_INTERIOR);
    for (int i = 0; i < edges; i++) {
        net_router(n, (const char *[]){"E", "F"}[i], ROUTER_EDGE);
        net_join(n, n->routers[1 + i], n->routers[0], ROUTER_ROLE_EDGE, 1);
    }
    net_pass(n, 200);
}

TEST(what_an_edge_has_nobody_for_goes_up_and_comes_down_elsewhere)
{
    struct net n;
    struct client *a, *b, *i;
    int s;

    star(&n, 2);
    a = client_of(&n, n.routers[1]);
    b = client_of(&n, n.routers[2]);
    i = client_of(&n, n.routers[0]);
    receiver(b, "closest/b", 10);
    receiver(i, "closest/i", 10);
    s = sender(a, NULL);
    send_text(a, s, "closest/b", "over two edges");
    send_text(a, s, "closest/i", "up");
    send_text(a, s, "closest/none", "lost");
    CHECK_HEARD(b, "got(over two edges)");
    CHECK_HEARD(i, "got(up)");
    CHECK_HEARD(a, "accepted accepted released");
    net_end(&n);
}

TEST(who_asks_hears_when_an_edge_comes_and_an_edge_when_somebody_is_beyond)
{
    struct net n;
    struct client *at_i, *at_e;

    star(&n, 1);
    at_i = client_of(&n, n.routers[0]);
    at_e = client_of(&n, n.routers[1]);
    receiver(at_i, ROUTER_REACH "mc/x", 10);
    receiver(at_e, ROUTER_REACH "mc/x", 10);
    sender(at_e, "mc/x");
    receiver(client_of(&n, n.routers[0]), "mc/x", 10);
    CHECK_HEARD(at_i, ""); // of its own clients nothing is told
    CHECK_HEARD(at_e, "got( settled)");
    receiver(client_of(&n, n.routers[1]), "mc/x", 10);
    CHECK_HEARD(at_i, "got( settled)");
    CHECK_HEARD(at_e, "");
    net_end(&n);
}

static struct router_watcher watcher;
static int announced;

static void on_announced(struct router_watcher *w)
{
    CHECK(w == &watcher);
    announced++;
}

static void on_changed(struct router_watcher *w)
{
    (void)w;
}

TEST(who_watches_at_an_edge_hears_when_its_interior_is_told_of_consumers_here)
{
    struct net n;
    struct wire *up;

    net_begin(&n);
    net_router(&n, "I", ROUTER_INTERIOR);
    net_router(&n, "E", ROUTER_EDGE);
    announced = 0;
    watcher = (struct router_watcher){.changed = on_changed, .announced = on_announced};
    CHECK_EQ(router_watcher_open(n.routers[1], &watcher, STR("mc/x")), 0);
    receiver(client_of(&n, n.routers[1]), "mc/x", 10);
    CHECK_EQ(announced, 0);
    up = net_join(&n, n.routers[1], n.routers[0], ROUTER_ROLE_EDGE, 1);
    CHECK_EQ(announced, 1);
    receiver(client_of(&n, n.routers[1]), "mc/x", 10);
    receiver(client_of(&n, n.routers[0]), "mc/x", 10);
    CHECK_EQ(announced, 1);
    CHECK_EQ(router_others(n.routers[0], "mc/x"), 1);
    CHECK_EQ(router_others(n.routers[1], "mc/x"), 1);
    net_cut(&n, up);
    CHECK_EQ(router_others(n.routers[1], "mc/x"), 0);
    net_join(&n, n.routers[1], n.routers[0], ROUTER_ROLE_EDGE, 1);
    CHECK_EQ(announced, 2);
    router_watcher_close(n.routers[1], &watcher);
    net_end(&n);
}

TEST(a_sender_at_an_edge_has_credit_when_the_interior_knows_somebody)
{
    struct net n;
    struct client *a, *b;
    int s, l;

    star(&n, 2);
    a = client_of(&n, n.routers[1]);
    b = client_of(&n, n.routers[2]);
    s = sender(a, "closest/x");
    CHECK_EQ(amqp_link_credit(a->links[s]), 0);
    l = receiver(b, "closest/x", 10);
    CHECK_EQ(amqp_link_credit(a->links[s]), 250);
    send_text(a, s, NULL, "x");
    CHECK_HEARD(b, "got(x)");
    CHECK_HEARD(a, "accepted");
    amqp_link_detach(b->links[l], NULL, NULL);
    net_run(&n);
    CHECK(amqp_link_is_draining(a->links[s]));
    net_end(&n);
}

TEST(a_consumer_at_the_same_edge_gets_it_and_it_does_not_come_back_from_above)
{
    struct net n;
    struct client *a, *b;
    int s;

    star(&n, 1);
    a = client_of(&n, n.routers[1]);
    b = client_of(&n, n.routers[1]);
    receiver(b, "closest/x", 10);
    receiver(b, "mc/x", 10);
    s = sender(a, "closest/x");
    send_text(a, s, NULL, "one");
    s = sender(a, "mc/x");
    send_text(a, s, NULL, "many");
    CHECK_HEARD(b, "got(one) got(many)");
    CHECK_HEARD(a, "accepted accepted");
    net_end(&n);
}

TEST(closest_at_an_edge_is_who_is_at_the_edge)
{
    struct net n;
    struct client *a, *here, *above;
    int s;

    star(&n, 1);
    a = client_of(&n, n.routers[1]);
    above = client_of(&n, n.routers[0]);
    s = sender(a, "closest/x");
    receiver(above, "closest/x", 10);
    here = client_of(&n, n.routers[1]);
    receiver(here, "closest/x", 10);
    for (int i = 0; i < 6; i++)
        send_text(a, s, NULL, "x");
    CHECK_EQ(here->received, 6);
    CHECK_EQ(above->received, 0);
    client_end(here);
    send_text(a, s, NULL, "y");
    CHECK_EQ(above->received, 1);
    net_end(&n);
}

TEST(multicast_reaches_edges_and_interior_once_each)
{
    struct net n;
    struct client *a, *at[3];
    int s;

    star(&n, 2);
    a = client_of(&n, n.routers[1]);
    for (int i = 0; i < 3; i++) {
        at[i] = client_of(&n, n.routers[i]);
        receiver(at[i], "mc/x", 10);
    }
    s = sender(a, "mc/x");
    send_text(a, s, NULL, "x");
    for (int i = 0; i < 3; i++)
        CHECK_HEARD(at[i], "got(x)");
    s = sender(a, NULL);
    send_text(a, s, "mc/x", "y");
    for (int i = 0; i < 3; i++)
        CHECK_HEARD(at[i], "got(y)");
    CHECK_HEARD(a, "accepted accepted");
    net_end(&n);
}

// An uplink of E to an interior router by the connector `name`, with the certificate of that
// ordinal.
static struct wire *uplink_to(struct net *n, int interior, const char *name, int64_t ordinal)
{
    struct wire *w = net_wire(n);
    struct router_conn_opts dial = net_conn_opts(ROUTER_ROLE_EDGE, false, 1);
    struct router_conn_opts listen = net_conn_opts(ROUTER_ROLE_EDGE, true, 1);

    dial.name = name;
    dial.tls_protocol = listen.tls_protocol = "TLSv1.3";
    dial.tls_ordinal = ordinal;
    w->conn[0] = router_conn_new(n->routers[1], &dial, n->now);
    w->conn[1] = router_conn_new(n->routers[interior], &listen, n->now);
    net_run(n);
    return w;
}

static struct wire *uplink(struct net *n, const char *name, int64_t ordinal)
{
    return uplink_to(n, 0, name, ordinal);
}

static uint32_t carried(const struct wire *w)
{
    uint32_t count = 0;

    list_for_each (node, &w->conn[0]->links)
        count += (uint32_t)list_entry(node, struct router_link, on_conn)->delivery_count;
    return count;
}

// As the shell does once a connection has said goodbye.
static bool has_ended(struct net *n, struct wire *w)
{
    if (!router_conn_is_finished(w->conn[0]) || !router_conn_is_finished(w->conn[1]))
        return false;
    net_cut(n, w);
    return true;
}

struct talk {
    struct net net;
    struct client *low, *high; // at the edge, at the interior
    int up, many_up, any_up, down, many_down;
    uint32_t sent_up, sent_down;
};

static void talk_begin(struct talk *t)
{
    struct net *n = &t->net;

    net_begin(n);
    net_router(n, "I", ROUTER_INTERIOR);
    net_router(n, "E", ROUTER_EDGE);
}

static void talk_attach(struct talk *t)
{
    t->high = client_of(&t->net, t->net.routers[0]);
    t->low = client_of(&t->net, t->net.routers[1]);
    receiver(t->low, "closest/low", 100);
    receiver(t->low, "mc/all", 100);
    receiver(t->high, "closest/high", 100);
    receiver(t->high, "mc/all", 100);
    t->up = sender(t->low, "closest/high");
    t->many_up = sender(t->low, "mc/all");
    t->any_up = sender(t->low, NULL);
    t->down = sender(t->high, "closest/low");
    t->many_down = sender(t->high, "mc/all");
    t->sent_up = t->sent_down = 0;
    t->low->received = t->high->received = 0;
}

// Messages of every kind, both ways; each must arrive where it should, and once.
static void talk_once(struct talk *t)
{
    send_text(t->low, t->up, NULL, "x");
    send_text(t->low, t->any_up, "closest/high", "x");
    send_ra(t->low, t->many_up, NULL, NULL, "x", true);
    send_text(t->high, t->down, NULL, "x");
    send_ra(t->high, t->many_down, NULL, NULL, "x", true);
    t->sent_up += 4;
    t->sent_down += 3;
    CHECK_EQ(t->high->received, t->sent_up);
    CHECK_EQ(t->low->received, t->sent_down);
    CHECK(!strstr(heard(t->low), "released") && !strstr(heard(t->high), "released"));
}

TEST(an_uplink_with_a_newer_certificate_takes_over_and_nothing_is_lost)
{
    struct talk t;
    struct wire *first, *second;
    uint32_t on_first;

    talk_begin(&t);
    first = uplink(&t.net, "up", 1);
    talk_attach(&t);
    talk_once(&t);
    t.low->holds = t.high->holds = true; // what is under way when the newer one comes
    send_text(t.low, t.up, NULL, "held");
    send_text(t.high, t.down, NULL, "held");
    t.low->holds = t.high->holds = false;
    t.sent_up++;
    t.sent_down++;
    heard(t.low);
    heard(t.high);
    second = uplink(&t.net, "up", 2);
    CHECK(t.net.routers[1]->uplink == second->conn[0]);
    talk_once(&t);
    on_first = carried(first);
    net_pass(&t.net, 900);
    talk_once(&t);
    CHECK_EQ(carried(first), on_first); // nothing new goes there
    net_pass(&t.net, 3000);
    CHECK(!has_ended(&t.net, first)); // the two are still under way
    settle_held(t.low);
    settle_held(t.high);
    CHECK_HEARD(t.low, "accepted");
    CHECK_HEARD(t.high, "accepted");
    net_pass(&t.net, 3000);
    CHECK(has_ended(&t.net, first));
    talk_once(&t);
    net_end(&t.net);
}

TEST(that_a_router_ends_is_told_once_however_often_it_says_so)
{
    struct talk t;
    struct router_event ev;
    int count = 0;

    talk_begin(&t);
    uplink(&t.net, "up", 1);
    for (int i = 0; i < 3; i++) {
        router_end_soon(t.net.routers[0], t.net.now);
        net_run(&t.net);
    }
    while (router_next_event(t.net.routers[1], &ev))
        count += ev.type == ROUTER_EV_ENDING;
    CHECK_EQ(count, 1);
    net_end(&t.net);
}

// Other interior routers have yet to hear that the edge router is reached by the next one.
TEST(an_uplink_to_a_router_that_ends_goes_on_for_a_moment_beside_the_next)
{
    struct talk t;
    struct wire *first, *second;

    talk_begin(&t);
    net_router(&t.net, "J", ROUTER_INTERIOR);
    first = uplink(&t.net, "up", 1);
    talk_attach(&t);
    second = uplink_to(&t.net, 2, "up", 1);
    CHECK(t.net.routers[1]->uplink == first->conn[0]); // stands by
    net_cut(&t.net, second);
    router_end_soon(t.net.routers[0], t.net.now);
    net_run(&t.net);
    second = uplink_to(&t.net, 2, "up", 1);
    CHECK(t.net.routers[1]->uplink == second->conn[0]);
    net_pass(&t.net, 900);
    send_text(t.high, t.down, NULL, "x");
    CHECK_EQ(t.low->received, 1);
    CHECK_HEARD(t.high, "accepted");
    net_pass(&t.net, 3000);
    send_text(t.high, t.down, NULL, "x");
    CHECK_EQ(t.low->received, 1);
    net_pass(&t.net, 3000);
    CHECK(has_ended(&t.net, first));
    net_end(&t.net);
}

TEST(an_uplink_of_another_connector_or_an_older_certificate_stands_by)
{
    static const struct {
        const char *name;
        int64_t ordinal;
    } rows[] = {{"other", 9}, {"up", 5}, {"up", 4}};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct talk t;
        struct wire *first;

        talk_begin(&t);
        first = uplink(&t.net, "up", 5);
        talk_attach(&t);
        uplink(&t.net, rows[i].name, rows[i].ordinal);
        CHECK(t.net.routers[1]->uplink == first->conn[0]);
        talk_once(&t);
        net_cut(&t.net, first); // and is there when it is needed
        CHECK(t.net.routers[1]->uplink);
        talk_once(&t);
        net_end(&t.net);
    }
}

TEST(a_multicast_that_comes_down_both_uplinks_arrives_once)
{
    struct talk t;
    struct wire *first;

    talk_begin(&t);
    first = uplink(&t.net, "up", 1);
    talk_attach(&t);
    first->is_slow = true; // the interior hears of the newer one before it hears of the end of this
    uplink(&t.net, "up", 2);
    for (int i = 0; i < 3; i++)
        send_ra(t.high, t.many_down, NULL, NULL, "x", true);
    first->is_slow = false;
    net_run(&t.net);
    CHECK_EQ(t.low->received, 3);
    CHECK(!strstr(heard(t.high), "released"));
    t.sent_up = t.high->received;
    t.sent_down = t.low->received;
    talk_once(&t);
    net_pass(&t.net, 3000);
    CHECK(has_ended(&t.net, first));
    CHECK(!t.net.routers[1]->came_down);
    talk_once(&t);
    net_end(&t.net);
}

TEST(a_newer_uplink_that_is_lost_at_once_leaves_the_older_one)
{
    struct talk t;

    talk_begin(&t);
    uplink(&t.net, "up", 1);
    talk_attach(&t);
    net_cut(&t.net, uplink(&t.net, "up", 2));
    talk_once(&t);
    net_pass(&t.net, 3000);
    talk_once(&t);
    net_end(&t.net);
}

TEST(a_dynamic_address_at_an_edge_is_reached_from_everywhere)
{
    struct net n;
    struct client *asker, *far;

    star(&n, 1);
    net_router(&n, "J", ROUTER_INTERIOR);
    net_join(&n, n.routers[2], n.routers[0], ROUTER_ROLE_INTER_ROUTER, 1);
    net_pass(&n, 5000);
    asker = client_of(&n, n.routers[1]);
    receiver(asker, NULL, 10);
    CHECK(strncmp(asker->dynamic, "amqp:/_edge/E/temp.", 19) == 0);
    far = client_of(&n, n.routers[2]);
    send_text(far, sender(far, NULL), asker->dynamic, "answer");
    CHECK_HEARD(asker, "got(answer)");
    net_end(&n);
}

TEST(an_uplink_has_joined_when_it_has_told_of_consumers_elsewhere)
{
    struct net n;
    struct wire *up;

    net_begin(&n);
    net_router(&n, "I", ROUTER_INTERIOR);
    net_router(&n, "E", ROUTER_EDGE);
    receiver(client_of(&n, n.routers[0]), "closest/x", 10);
    sender(client_of(&n, n.routers[1]), "closest/x");
    CHECK(!router_is_joined(n.routers[1], "wire"));
    up = net_join(&n, n.routers[1], n.routers[0], ROUTER_ROLE_EDGE, 1);
    CHECK(router_is_joined(n.routers[1], "wire"));
    CHECK_EQ(router_destinations(n.routers[1], "closest/x"), 1);
    CHECK(!router_is_joined(n.routers[0], "wire")); // it did not dial
    net_cut(&n, up);
    CHECK(!router_is_joined(n.routers[1], "wire"));
    net_end(&n);
}

static int settled_count;

static void on_ready(struct router_source *s)
{
    (void)s;
}

static void on_settled(struct router_source *s, enum amqp_outcome_type outcome)
{
    (void)s;
    CHECK_EQ(outcome, AMQP_ACCEPTED);
    settled_count++;
}

static int streams_under_way(const struct router *r)
{
    int count = 0;

    list_for_each (at, &r->conns) {
        const struct router_conn *c = list_entry(at, struct router_conn, on_router);

        list_for_each (node, &c->links) {
            const struct router_link *l = list_entry(node, struct router_link, on_conn);

            count += l->kind == LINK_STREAM && l->is_out && l->current;
        }
    }
    return count;
}

// For credit, of which an uplink has none when it has just come up.
TEST(streams_that_waited_for_an_edge_router_do_not_wait_for_each_other)
{
    static const struct router_source_ops ops = {.ready = on_ready, .settled = on_settled};
    struct router_source streams[2] = {{.ops = &ops}, {.ops = &ops}};
    struct amqp_writer w;
    struct net n;
    struct client *a, *b;
    int s;

    star(&n, 1);
    settled_count = 0;
    a = client_of(&n, n.routers[0]);
    b = client_of(&n, n.routers[1]);
    receiver(b, "closest/x", 300);
    s = sender(a, "closest/x");
    n.wires[0].is_slow = true; // all credit is used up
    for (int i = 0; i < 250; i++)
        send_text(a, s, NULL, "x");
    amqp_writer_init(&w);
    put_message(&w, NULL, "closest/x", "y");
    for (int i = 0; i < 2; i++)
        router_source_open(n.routers[0], &streams[i], STR("closest/x"), amqp_written(&w));
    amqp_writer_fini(&w);
    net_run(&n);
    CHECK_EQ(streams_under_way(n.routers[0]), 0);
    n.wires[0].is_slow = false;
    net_run(&n);
    CHECK_EQ(streams_under_way(n.routers[0]), 2);
    for (int i = 0; i < 2; i++)
        router_source_write(&streams[i], NULL, 0, true);
    net_run(&n);
    CHECK_EQ(settled_count, 2);
    net_end(&n);
}

TEST(when_the_active_uplink_is_lost_another_takes_over)
{
    struct net n;
    struct client *a, *b;
    struct wire *first;
    int s;

    net_begin(&n);
    net_router(&n, "I", ROUTER_INTERIOR);
    net_router(&n, "J", ROUTER_INTERIOR);
    net_router(&n, "E", ROUTER_EDGE);
    net_join(&n, n.routers[0], n.routers[1], ROUTER_ROLE_INTER_ROUTER, 1);
    first = net_join(&n, n.routers[2], n.routers[0], ROUTER_ROLE_EDGE, 1);
    net_join(&n, n.routers[2], n.routers[1], ROUTER_ROLE_EDGE, 1);
    net_pass(&n, 5000);
    a = client_of(&n, n.routers[2]);
    b = client_of(&n, n.routers[1]);
    s = sender(a, "closest/x");
    receiver(b, "closest/x", 10);
    receiver(a, "closest/back", 10);
    net_pass(&n, 2000);
    send_text(a, s, NULL, "over I");
    CHECK_HEARD(b, "got(over I)");
    net_cut(&n, first);
    net_pass(&n, 2000);
    send_text(a, s, NULL, "over J");
    CHECK_HEARD(b, "got(over J)");
    send_text(b, sender(b, "closest/back"), NULL, "back");
    CHECK_HEARD(a, "accepted accepted got(back)");
    net_end(&n);
}

// ------------------------------------------------------ an edge router of another make, by hand

static struct client *edge_client(struct net *n, const char *id)
{
    struct router_conn_opts listen = net_conn_opts(ROUTER_ROLE_EDGE, true, 1);

    return client_as(n, n->routers[0], &listen, id);
}

static int track(struct client *edge)
{
    return receiver(edge, "_$qd.edge_addr_tracking", 32);
}

static void tell_mesh(struct client *edge, int link, const char *id)
{
    struct amqp_writer w;
    struct amqp_ra ra = {.mesh = str_of(id)};
    struct amqp_mark map;

    amqp_writer_init(&w);
    amqp_put_ra(&w, &ra, STR_NONE);
    amqp_put_descriptor(&w, AMQP_SECTION_APPLICATION_PROPERTIES);
    map = amqp_begin_map(&w, false);
    amqp_put_symbol(&w, STR("meshid"));
    amqp_put_string(&w, str_of(id));
    amqp_end(&w, map, 2);
    send_bytes(edge, link, amqp_written(&w), false);
    amqp_writer_fini(&w);
}

// What tracking said last: the value section is a list [key, bool].
static bool is_told(const struct client *edge, const char *key)
{
    struct str bytes = {(const char *)edge->body, edge->body_len};
    struct amqp_msg msg;
    struct str list = body_of(bytes, &msg);
    struct amqp_reader at = amqp_reader_of(list);
    struct amqp_item name, flag;

    CHECK_EQ(amqp_read(&at, &name), 0);
    CHECK_EQ(amqp_read(&at, &flag), 0);
    CHECK_STR(name.bytes, key);
    return flag.b;
}

TEST(an_edge_hears_when_its_address_has_a_destination_elsewhere)
{
    struct net n;
    struct client *e, *b;
    int l;

    net_begin(&n);
    net_router(&n, "I", ROUTER_INTERIOR);
    e = edge_client(&n, "E");
    track(e);
    sender(e, "closest/x");
    receiver(e, "closest/x", 10); // its own does not count
    CHECK_EQ(e->received, 0);
    b = client_of(&n, n.routers[0]);
    l = receiver(b, "closest/x", 10);
    CHECK_EQ(e->received, 1);
    CHECK(is_told(e, "Mclosest/x"));
    amqp_link_detach(b->links[l], NULL, NULL);
    net_run(&n);
    CHECK_EQ(e->received, 2);
    CHECK(!is_told(e, "Mclosest/x"));
    net_end(&n);
}

TEST(a_tracking_link_that_comes_anew_is_told_anew)
{
    struct net n;
    struct client *e, *b;
    int l;

    net_begin(&n);
    net_router(&n, "I", ROUTER_INTERIOR);
    b = client_of(&n, n.routers[0]);
    receiver(b, "closest/x", 10);
    e = edge_client(&n, "E");
    sender(e, "closest/x");
    l = track(e);
    CHECK_EQ(e->received, 1);
    amqp_link_detach(e->links[l], NULL, NULL);
    net_run(&n);
    track(e);
    CHECK_EQ(e->received, 2);
    CHECK(is_told(e, "Mclosest/x"));
    net_end(&n);
}

TEST(edges_of_one_mesh_count_as_one)
{
    static const char mesh[] = "ABCDEFGHIJKLMNO";
    struct net n;
    struct client *e, *f;
    int se, sf;

    net_begin(&n);
    net_router(&n, "I", ROUTER_INTERIOR);
    e = edge_client(&n, "E");
    f = edge_client(&n, "F");
    track(e);
    sender(e, "closest/x");
    receiver(f, "closest/x", 10);
    CHECK_EQ(e->received, 1); // nothing of a mesh is known yet
    CHECK(is_told(e, "Mclosest/x"));
    se = sender(e, "_$qd.mesh_discovery");
    sf = sender(f, "_$qd.mesh_discovery");
    tell_mesh(e, se, mesh);
    tell_mesh(f, sf, mesh);
    CHECK_EQ(e->received, 2); // now they reach each other without us
    CHECK(!is_told(e, "Mclosest/x"));
    tell_mesh(f, sf, "another-mesh-id");
    CHECK_EQ(e->received, 3);
    CHECK(is_told(e, "Mclosest/x"));
    net_end(&n);
}

TEST(nothing_goes_back_to_the_mesh_it_came_from)
{
    struct amqp_ra ra = {.mesh = STR("ABCDEFGHIJKLMNO")};
    struct net n;
    struct client *e, *f, *b;

    net_begin(&n);
    net_router(&n, "I", ROUTER_INTERIOR);
    e = edge_client(&n, "E");
    f = edge_client(&n, "F");
    b = client_of(&n, n.routers[0]);
    tell_mesh(e, sender(e, "_$qd.mesh_discovery"), "ABCDEFGHIJKLMNO");
    tell_mesh(f, sender(f, "_$qd.mesh_discovery"), "ABCDEFGHIJKLMNO");
    receiver(f, "mc/x", 10);
    receiver(e, "mc/x", 10);
    receiver(b, "mc/x", 10);
    heard(e);
    send_ra(e, sender(e, NULL), &ra, "mc/x", "x", false);
    CHECK_HEARD(b, "got(x)");
    CHECK_HEARD(e, "accepted");
    CHECK_HEARD(f, "accepted"); // of its own announcement
    net_end(&n);
}

TEST(an_announcement_that_is_none_changes_nothing)
{
    struct amqp_ra ra = {.mesh = STR("ABCDEFGHIJKLMNO")};
    struct net n;
    struct client *e;
    int s;

    net_begin(&n);
    net_router(&n, "I", ROUTER_INTERIOR);
    e = edge_client(&n, "E");
    s = sender(e, "_$qd.mesh_discovery");
    tell_mesh(e, s, "ABCDEFGHIJKLMNO");
    send_ra(e, s, &ra, NULL, "no map", false);
    send_bytes(e, s, STR("\0\x53\x74\xc1\x01\x00"), false);
    send_bytes(e, s, STR("garbage"), false);
    CHECK_EQ(amqp_link_credit(e->links[s]), 3); // and credit comes back
    net_end(&n);
}

TEST(a_downlink_gets_what_is_for_its_edge_and_only_on_edge_connections)
{
    struct amqp_attach down = {.role = AMQP_RECEIVER};
    struct net n;
    struct client *e, *b;

    down.source.address = STR("E");
    down.source.capabilities[0] = STR("qd.router-edge-downlink");
    down.source.capability_count = 1;
    net_begin(&n);
    net_router(&n, "I", ROUTER_INTERIOR);
    e = edge_client(&n, "E");
    b = client_of(&n, n.routers[0]);
    client_attach(e, down, 10);
    client_attach(b, down, 10); // a client's is an address named E
    send_text(b, sender(b, NULL), "_edge/E/temp.1", "for E");
    CHECK_HEARD(b, "accepted");
    CHECK_HEARD(e, "got(for E) ra(flags=0 to= ingress=0/I trace=1 mesh=)");
    net_end(&n);
}

TEST_MAIN(CASE(an_uplink_has_joined_when_it_has_told_of_consumers_elsewhere),
          CASE(what_an_edge_has_nobody_for_goes_up_and_comes_down_elsewhere),
          CASE(who_asks_hears_when_an_edge_comes_and_an_edge_when_somebody_is_beyond),
          CASE(who_watches_at_an_edge_hears_when_its_interior_is_told_of_consumers_here),
          CASE(a_sender_at_an_edge_has_credit_when_the_interior_knows_somebody),
          CASE(a_consumer_at_the_same_edge_gets_it_and_it_does_not_come_back_from_above),
          CASE(closest_at_an_edge_is_who_is_at_the_edge),
          CASE(multicast_reaches_edges_and_interior_once_each),
          CASE(an_uplink_with_a_newer_certificate_takes_over_and_nothing_is_lost),
          CASE(that_a_router_ends_is_told_once_however_often_it_says_so),
          CASE(an_uplink_to_a_router_that_ends_goes_on_for_a_moment_beside_the_next),
          CASE(an_uplink_of_another_connector_or_an_older_certificate_stands_by),
          CASE(a_multicast_that_comes_down_both_uplinks_arrives_once),
          CASE(a_newer_uplink_that_is_lost_at_once_leaves_the_older_one),
          CASE(a_dynamic_address_at_an_edge_is_reached_from_everywhere),
          CASE(streams_that_waited_for_an_edge_router_do_not_wait_for_each_other),
          CASE(when_the_active_uplink_is_lost_another_takes_over),
          CASE(an_edge_hears_when_its_address_has_a_destination_elsewhere),
          CASE(a_tracking_link_that_comes_anew_is_told_anew), CASE(edges_of_one_mesh_count_as_one),
          CASE(nothing_goes_back_to_the_mesh_it_came_from),
          CASE(an_announcement_that_is_none_changes_nothing),
          CASE(a_downlink_gets_what_is_for_its_edge_and_only_on_edge_connections))
