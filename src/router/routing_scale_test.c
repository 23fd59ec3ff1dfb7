// SPDX-License-Identifier: Apache-2.0
// A large random network of ours from cold, and one change in it. ROUTERS and ADDRESSES in the
// environment make it larger than the default; then it prints what it measured.
#include "check.h"

#include <time.h>

#include "router/routing_net_test.h"

static uint32_t from_env(const char *name, uint32_t fallback)
{
    const char *text = getenv(name);

    return text ? (uint32_t)strtoul(text, NULL, 10) : fallback;
}

static double cpu_s(void)
{
    return (double)clock() / CLOCKS_PER_SEC;
}

static bool is_converged(const struct net *n, uint32_t address_count)
{
    uint32_t own = address_count / n->count;

    for (uint32_t i = 0; i < n->count; i++)
        if (n->routers[i].reachable_count != n->count - 1 ||
            n->routers[i].told_count != address_count - own)
            return false;
    return true;
}

// Virtual milliseconds until everybody knows everything.
static int64_t run_until_converged(struct net *n, uint32_t address_count)
{
    struct mono start = n->now;

    while (!is_converged(n, address_count)) {
        net_run(n, 10);
        assert_true(mono_ms_between(start, n->now) < 60000);
    }
    return mono_ms_between(start, n->now);
}

static void say(bool aloud, const char *what, int64_t virtual_ms, double since, struct net *n)
{
    if (aloud)
        printf("%s: %lld ms virtual, %.2f s of CPU, %llu messages, %llu KiB\n", what,
               (long long)virtual_ms, cpu_s() - since, (unsigned long long)n->sent,
               (unsigned long long)(n->sent_bytes >> 10));
    n->sent = n->sent_bytes = 0;
}

TEST(large_network_converges_and_a_change_costs_in_proportion)
{
    bool aloud = getenv("ROUTERS") != NULL;
    uint32_t count = from_env("ROUTERS", 200), addresses = from_env("ADDRESSES", 2000);
    struct net *n = net_new(count, 42);
    uint64_t wires = 0, hello;
    int64_t took;
    double start;
    char key[32];

    addresses -= addresses % count;
    n->keep_told = false;
    net_random_wires(n, 6);
    for (uint32_t i = 0; i < count; i++)
        wires += n->routers[i].end_count;
    for (uint32_t i = 0; i < addresses; i++) {
        snprintf(key, sizeof(key), "Maddr/%u", i);
        net_add(n, i % count, key, 3);
    }
    start = cpu_s();
    net_all_up(n);
    took = run_until_converged(n, addresses);
    say(aloud, "cold start", took, start, n);
    CHECK(took < 5000);

    start = cpu_s();
    net_run(n, 5000);
    hello = n->sent / 5; // a second
    say(aloud, "5 quiet seconds", 5000, start, n);

    start = cpu_s();
    net_set_wire(n, 0, 2, false);
    net_run(n, 1000);
    CHECK(n->sent <= hello + hello / 4 + 4 * wires); // two changes, each told once over each wire
    say(aloud, "a lost wire, and a second", 1000, start, n);

    start = cpu_s();
    net_add(n, 0, "Mone.more", 3);
    net_run(n, 1000);
    CHECK_EQ(n->routers[count / 2].told_count, addresses - addresses / count + 1);
    CHECK(n->sent <= hello + hello / 4 + 2 * wires);
    say(aloud, "one more address, and a second", 1000, start, n);
    net_free(n);
}

TEST_MAIN(CASE(large_network_converges_and_a_change_costs_in_proportion))
