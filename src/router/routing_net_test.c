// SPDX-License-Identifier: Apache-2.0
#include "check.h"

#include "router/routing_net_test.h"

enum kind { OURS, PLAIN, MIXED };

static const struct {
    const char *why;
    enum kind kind;
    uint64_t seed;
} rows[] = {
    {"ours, seed 1", OURS, 1},   {"ours, seed 2", OURS, 2},   {"ours, seed 3", OURS, 3},
    {"plain, seed 4", PLAIN, 4}, {"plain, seed 5", PLAIN, 5}, {"mixed, seed 6", MIXED, 6},
    {"mixed, seed 7", MIXED, 7}, {"mixed, seed 8", MIXED, 8},
};

enum { ROW_COUNT = sizeof(rows) / sizeof(rows[0]) };

static struct net *make(uint32_t count, enum kind kind, uint64_t seed)
{
    struct net *n = net_new(count, seed);

    for (uint32_t i = 0; i < count; i++)
        n->routers[i].is_old = kind == PLAIN || (kind == MIXED && rng_below(&n->rng, 2));
    return n;
}

static struct net *make_line(uint32_t count, enum kind kind)
{
    struct net *n = make(count, kind, 9);

    for (uint32_t i = 0; i + 1 < count; i++)
        net_wire(n, i, i + 1, 1, 1000);
    return n;
}

static void check_net(const char *why, struct net *n)
{
    const char *wrong = net_check(n);

    if (wrong != NULL)
        fail_msg("%s: a router %s", why, wrong);
}

static void key_of(char out[32], uint32_t router, uint32_t i)
{
    snprintf(out, 32, "Maddress.%u.%u", router, i);
}

static void add_addresses(struct net *n, uint32_t per_router)
{
    char key[32];

    for (uint32_t i = 0; i < n->count; i++)
        for (uint32_t j = 0; j < per_router; j++) {
            key_of(key, i, j);
            net_add(n, i, key, 3);
        }
}

static void check_addresses(const char *why, struct net *n, uint32_t per_router)
{
    uint32_t alive = 0;
    char key[32];

    for (uint32_t i = 0; i < n->count; i++)
        alive += n->routers[i].rt != NULL;
    for (uint32_t i = 0; i < n->count; i++) {
        if (n->routers[i].rt == NULL)
            continue;
        CHECK_EQ_FOR(why, n->routers[i].told_count, (alive - 1) * per_router);
        for (uint32_t j = 0; j < n->count; j++) {
            key_of(key, j, per_router - 1);
            if (j != i && n->routers[j].rt && !net_has(n, i, j, key))
                fail_msg("%s: %s does not know %s of %s", why, n->routers[i].id, key,
                         n->routers[j].id);
        }
    }
}

TEST(first_route_over_a_line_of_five_takes_less_than_a_second)
{
    static const enum kind kinds[] = {OURS, PLAIN, MIXED};

    for (int i = 0; i < 3; i++) {
        struct net *n = make_line(5, kinds[i]);

        net_add(n, 4, "Mfar", 2);
        net_all_up(n);
        while (!net_has(n, 0, 4, "Mfar")) {
            net_run(n, 10);
            if (n->now.ns > 2 * NS_PER_S)
                fail_msg("kind %d takes too long", kinds[i]);
        }

        CHECK_EQ(routing_cost(n->routers[0].rt, net_number(n, 0, 4)), 4);
        CHECK_EQ(routing_radius(n->routers[0].rt), 4);
        check_net("line", n);
        net_free(n);
    }
}

TEST(random_networks_find_shortest_paths_and_the_same_trees)
{
    for (size_t i = 0; i < ROW_COUNT; i++) {
        struct net *n = make(24, rows[i].kind, rows[i].seed);

        net_random_wires(n, 5);
        add_addresses(n, 3);
        net_all_up(n);
        net_run(n, 10000);
        check_net(rows[i].why, n);
        check_addresses(rows[i].why, n, 3);
        for (uint32_t j = 0; j < n->count; j++)
            if (rows[i].kind == OURS && n->routers[j].note[0])
                fail_msg("%s: %s", rows[i].why, n->routers[j].note);
        net_free(n);
    }
}

TEST(address_changes_reach_everybody_as_differences)
{
    for (size_t i = 0; i < ROW_COUNT; i++) {
        struct net *n = make(16, rows[i].kind, rows[i].seed);
        char key[32];

        net_random_wires(n, 4);
        net_all_up(n);
        net_run(n, 10000);
        for (int j = 0; j < 200; j++) {
            uint32_t router = rng_below(&n->rng, n->count);

            key_of(key, router, rng_below(&n->rng, 3));
            if (rng_below(&n->rng, 3))
                net_add(n, router, key, 3);
            else
                net_del(n, router, key);
            net_run(n, rng_below(&n->rng, 30));
        }
        add_addresses(n, 3);
        net_run(n, 500);
        check_addresses(rows[i].why, n, 3);
        net_free(n);
    }
}

TEST(ring_heals_after_a_cut)
{
    for (size_t i = 0; i < ROW_COUNT; i++) {
        struct net *n = make(6, rows[i].kind, rows[i].seed);

        for (uint32_t j = 0; j < 6; j++)
            net_wire(n, j, (j + 1) % 6, 1, 1000);
        net_all_up(n);
        net_run(n, 8000);
        CHECK_EQ_FOR(rows[i].why, routing_cost(n->routers[1].rt, net_number(n, 1, 2)), 1);
        net_set_wire(n, 1, 1, false);
        CHECK_EQ_FOR(rows[i].why, routing_next_hop(n->routers[1].rt, net_number(n, 1, 2)),
                     routing_next_hop(n->routers[1].rt, net_number(n, 1, 0)));
        net_run(n, 100);
        CHECK_EQ_FOR(rows[i].why, routing_cost(n->routers[1].rt, net_number(n, 1, 2)), 5);
        check_net(rows[i].why, n);
        net_set_wire(n, 1, 1, true);
        net_run(n, 300);
        CHECK_EQ_FOR(rows[i].why, routing_cost(n->routers[1].rt, net_number(n, 1, 2)), 1);
        check_net(rows[i].why, n);
        net_free(n);
    }
}

TEST(dead_router_is_unreachable_as_soon_as_its_neighbours_say_so)
{
    for (size_t i = 0; i < ROW_COUNT; i++) {
        struct net *n = make(20, rows[i].kind, rows[i].seed);

        net_random_wires(n, 5);
        add_addresses(n, 2);
        net_all_up(n);
        net_run(n, 10000);
        for (uint32_t j = 0; j < n->routers[7].end_count; j++)
            net_set_wire(n, 7, j, false);
        net_kill(n, 7);
        net_run(n, rows[i].kind == OURS ? 100 : 1000); // plain routers have to ask
        check_net(rows[i].why, n);
        check_addresses(rows[i].why, n, 2);
        net_free(n);
    }
}

TEST(silent_router_is_noticed_within_a_second_by_ours_and_three_by_others)
{
    static const struct {
        const char *why;
        enum kind kind;
        int64_t after_ms;
    } ages[] = {{"ours", OURS, 1000}, {"plain", PLAIN, 3100}};

    for (int i = 0; i < 2; i++) {
        struct net *n = make_line(3, ages[i].kind);

        net_all_up(n);
        net_run(n, 5000);
        net_kill(n, 1);
        net_run(n, ages[i].after_ms);
        CHECK(!routing_is_reachable(n->routers[0].rt, net_number(n, 0, 2)));
        CHECK(!routing_is_reachable(n->routers[2].rt, net_number(n, 2, 0)));
        net_free(n);
    }
}

TEST(partition_heals)
{
    for (size_t i = 0; i < ROW_COUNT; i++) {
        struct net *n = make(12, rows[i].kind, rows[i].seed);
        uint32_t wire;

        for (uint32_t j = 0; j < 12; j++)
            if (j != 5 && j != 11)
                net_wire(n, j, j + 1, 1, 2000);
        wire = net_wire(n, 5, 6, 2, 2000);
        add_addresses(n, 2);
        net_all_up(n);
        net_run(n, 8000);
        check_addresses(rows[i].why, n, 2);
        for (int round = 0; round < 3; round++) {
            static const int64_t apart_ms[] = {200, 20000, 150000};

            net_set_wire(n, 5, wire, false);
            net_run(n, apart_ms[round] / 2);
            check_net(rows[i].why, n);
            CHECK_EQ_FOR(rows[i].why, n->routers[0].told_count, 10);
            net_del(n, 3, "Maddress.3.0");
            net_add(n, 9, "Mnew", 1);
            net_run(n, apart_ms[round] / 2);
            net_add(n, 3, "Maddress.3.0", 3);
            net_del(n, 9, "Mnew");
            net_set_wire(n, 5, wire, true);
            net_run(n, 5000);
            check_net(rows[i].why, n);
            check_addresses(rows[i].why, n, 2);
        }
        net_free(n);
    }
}

TEST(restarted_router_comes_back_with_its_new_addresses)
{
    for (size_t i = 0; i < ROW_COUNT; i++) {
        struct net *n = make(10, rows[i].kind, rows[i].seed);

        net_random_wires(n, 3);
        add_addresses(n, 2);
        net_all_up(n);
        net_run(n, 8000);
        net_add(n, 4, "Mold", 3);
        net_run(n, 1000);
        CHECK(net_has(n, 0, 4, "Mold"));
        for (uint32_t j = 0; j < n->routers[4].end_count; j++)
            net_set_wire(n, 4, j, false);
        net_kill(n, 4);
        if (rows[i].seed % 2)
            n->routers[4].instance -= 100; // its clock runs backwards
        net_restart(n, 4);
        net_add(n, 4, "Maddress.4.0", 3);
        net_add(n, 4, "Maddress.4.1", 3);
        for (uint32_t j = 0; j < n->routers[4].end_count; j++)
            net_set_wire(n, 4, j, true);
        net_run(n, 8000);
        check_net(rows[i].why, n);
        CHECK(!net_has(n, 0, 4, "Mold"));
        check_addresses(rows[i].why, n, 2);
        net_free(n);
    }
}

TEST(lost_copied_and_disordered_messages_are_repaired)
{
    for (size_t i = 0; i < ROW_COUNT; i++) {
        struct net *n = make(12, rows[i].kind, rows[i].seed);

        net_random_wires(n, 4);
        n->loss_percent = n->copy_percent = n->disorder_percent = 10;
        net_all_up(n);
        for (int j = 0; j < 10; j++) {
            net_run(n, 300);
            add_addresses(n, (uint32_t)j % 4 + 1);
            net_set_wire(n, 2, 0, j % 2);
        }
        net_set_wire(n, 2, 0, true);
        n->loss_percent = n->copy_percent = n->disorder_percent = 0;
        net_run(n, rows[i].kind == OURS ? 5000 : 40000);
        check_net(rows[i].why, n);
        check_addresses(rows[i].why, n, 4);
        net_free(n);
    }
}

// A line of 160, and at each end a router that has no room for more than 128. Ours need nothing of
// those, and each of those knows its limit's worth, its neighbour first.
TEST(peer_that_stops_at_128_routers_is_coped_with)
{
    enum { OURS_COUNT = 160, LIMIT = 128 };
    struct net *n = net_new(OURS_COUNT + 2, 12);
    uint32_t small[] = {OURS_COUNT, OURS_COUNT + 1}, next_to[] = {0, OURS_COUNT - 1};

    for (int i = 0; i < 2; i++) {
        struct net_router *r = n->routers + small[i];

        routing_free(r->rt);
        r->is_old = true;
        r->node_max = LIMIT;
        net_start(n, small[i]);
    }
    for (uint32_t i = 0; i + 1 < OURS_COUNT; i++)
        net_wire(n, i, i + 1, 1, 1000);
    for (int i = 0; i < 2; i++)
        net_wire(n, small[i], next_to[i], 1, 1000);
    add_addresses(n, 1);
    net_all_up(n);
    net_run(n, 30000);
    for (uint32_t i = 0; i < OURS_COUNT; i++) {
        CHECK_EQ(n->routers[i].reachable_count, OURS_COUNT + 1);
        CHECK_EQ(n->routers[i].told_count, OURS_COUNT + 1);
    }
    for (int i = 0; i < 2; i++) {
        const struct net_router *r = n->routers + small[i];

        CHECK(r->reachable_count > LIMIT / 2 && r->reachable_count < LIMIT);
        CHECK(net_has(n, small[i], next_to[i], i == 0 ? "Maddress.0.0" : "Maddress.159.0"));
        CHECK(r->note[0] != '\0'); // and it has said so
    }
    net_free(n);
}

TEST(same_seed_tells_the_same_story)
{
    uint64_t sent[2], bytes[2];

    for (int i = 0; i < 2; i++) {
        struct net *n = make(15, MIXED, 77);

        net_random_wires(n, 4);
        n->loss_percent = 5;
        add_addresses(n, 2);
        net_all_up(n);
        net_run(n, 20000);
        sent[i] = n->sent;
        bytes[i] = n->sent_bytes;
        net_free(n);
    }
    CHECK_EQ(sent[0], sent[1]);
    CHECK_EQ(bytes[0], bytes[1]);
}

TEST(quiet_network_exchanges_hello_and_refreshes_only)
{
    struct net *n = make(20, OURS, 3);
    uint64_t wires = 0;

    net_random_wires(n, 5);
    add_addresses(n, 5);
    net_all_up(n);
    net_run(n, 10000);
    for (uint32_t i = 0; i < n->count; i++)
        wires += n->routers[i].end_count;
    n->sent = 0;
    net_run(n, 60000);
    CHECK(n->sent <= wires * 60 * 5); // four to five a second
    net_free(n);
}

TEST(forgotten_routers_leave_nothing_behind)
{
    for (size_t i = 0; i < ROW_COUNT; i++) {
        struct net *n = make(8, rows[i].kind, rows[i].seed);

        net_random_wires(n, 4);
        add_addresses(n, 2);
        net_all_up(n);
        net_run(n, 8000);
        for (uint32_t j = 0; j < n->routers[3].end_count; j++)
            net_set_wire(n, 3, j, false);
        net_kill(n, 3);
        net_run(n, 90000);
        for (uint32_t j = 0; j < n->count; j++)
            if (n->routers[j].rt)
                CHECK_EQ_FOR(rows[i].why, net_number(n, j, 3), ROUTING_NO_NODE);
        check_net(rows[i].why, n);
        net_restart(n, 3);
        net_add(n, 3, "Maddress.3.0", 3);
        net_add(n, 3, "Maddress.3.1", 3);
        for (uint32_t j = 0; j < n->routers[3].end_count; j++)
            net_set_wire(n, 3, j, true);
        net_run(n, 8000);
        check_net(rows[i].why, n);
        check_addresses(rows[i].why, n, 2);
        net_free(n);
    }
}

// The first router joins when all others know each other.
TEST(who_says_that_it_knows_the_network_knows_every_router_and_address)
{
    enum { COUNT = 30, PER_ROUTER = 3 };

    for (int i = 0; i < ROW_COUNT; i++) {
        struct net *n = make(COUNT, rows[i].kind, rows[i].seed);
        struct net_router *late = n->routers;

        net_random_wires(n, 4);
        add_addresses(n, PER_ROUTER);
        net_all_up(n);
        for (uint32_t j = 0; j < late->end_count; j++)
            net_set_wire(n, 0, j, false);
        net_kill(n, 0);
        net_run(n, 5000);
        net_restart(n, 0);
        CHECK(!routing_is_adjacent(late->rt, 0));
        net_set_wire(n, 0, 0, true);
        while (!routing_is_adjacent(late->rt, 0) || !routing_is_complete(late->rt)) {
            CHECK(n->heap_count > 0);
            net_step(n);
        }
        CHECK_EQ_FOR(rows[i].why, late->reachable_count, COUNT - 1);
        CHECK_EQ_FOR(rows[i].why, late->told_count, (COUNT - 1) * PER_ROUTER);
        net_free(n);
    }
}

TEST_MAIN(CASE(first_route_over_a_line_of_five_takes_less_than_a_second),
          CASE(who_says_that_it_knows_the_network_knows_every_router_and_address),
          CASE(random_networks_find_shortest_paths_and_the_same_trees),
          CASE(address_changes_reach_everybody_as_differences), CASE(ring_heals_after_a_cut),
          CASE(dead_router_is_unreachable_as_soon_as_its_neighbours_say_so),
          CASE(silent_router_is_noticed_within_a_second_by_ours_and_three_by_others),
          CASE(partition_heals), CASE(restarted_router_comes_back_with_its_new_addresses),
          CASE(lost_copied_and_disordered_messages_are_repaired),
          CASE(peer_that_stops_at_128_routers_is_coped_with), CASE(same_seed_tells_the_same_story),
          CASE(quiet_network_exchanges_hello_and_refreshes_only),
          CASE(forgotten_routers_leave_nothing_behind))
