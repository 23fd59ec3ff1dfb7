// SPDX-License-Identifier: Apache-2.0
// A random network with faults from a seed: sim SEED ROUTERS. Prints what it did and what it cost;
// exits 1, with the seed, when an invariant does not hold.
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/mem.h"
#include "sim.h"

enum { FAULTS = 20, CLIENTS = 12, MESSAGES = 200 };

struct run {
    struct sim *s;
    uint64_t seed;
    uint32_t routers, wire_count;
    struct sim_wire **wires;
    struct sim_client *receivers[CLIENTS], *senders[CLIENTS];
    bool is_down[100000];
};

static void fail(const struct run *r, const char *what)
{
    printf("FAILED seed=%lu routers=%u: %s\n", r->seed, r->routers, what);
    exit(1);
}

// A tree, so that all are connected, and two more links for each router.
static void build(struct run *r)
{
    r->wires = xcalloc((size_t)r->routers * 3, sizeof(*r->wires));
    for (uint32_t i = 1; i < r->routers; i++)
        r->wires[r->wire_count++] =
            sim_link(r->s, i, sim_below(r->s, i), 1 + (int)sim_below(r->s, 3), 1);
    for (uint32_t i = 0; i < 2 * r->routers; i++) {
        uint32_t a = sim_below(r->s, r->routers), b = sim_below(r->s, r->routers);

        if (a != b)
            r->wires[r->wire_count++] = sim_link(r->s, a, b, 1 + (int)sim_below(r->s, 3), 1);
    }
}

static void check_converges(struct run *r, const char *when)
{
    struct mono before = sim_now(r->s);
    uint64_t bytes = sim_bytes(r->s);

    if (!sim_run(r->s, 20000, sim_routes_are_right, NULL))
        fail(r, when);
    printf("%s: routes right after %ld ms of virtual time, %lu KiB on the wires\n", when,
           (long)mono_ms_between(before, sim_now(r->s)), (sim_bytes(r->s) - bytes) / 1024);
}

static void start_clients(struct run *r)
{
    for (uint32_t i = 0; i < CLIENTS; i++) {
        char address[32];
        struct sim_client_opts to = {.router = sim_below(r->s, r->routers),
                                     .address = address,
                                     .credit = 20 + sim_below(r->s, 200)};
        struct sim_client_opts from = {.router = sim_below(r->s, r->routers),
                                       .address = address,
                                       .is_sender = true,
                                       .to_send = MESSAGES,
                                       .size = 100};

        snprintf(address, sizeof(address), "%s/%u",
                 i % 3 == 0   ? "mc"
                 : i % 3 == 1 ? "closest"
                              : "b",
                 i);
        r->receivers[i] = sim_client_new(r->s, &to);
        r->senders[i] = sim_client_new(r->s, &from);
    }
}

static void fault(struct run *r)
{
    struct sim_wire *w = r->wires[sim_below(r->s, r->wire_count)];
    uint32_t router = sim_below(r->s, r->routers);

    switch (sim_below(r->s, 4)) {
    case 0:
        sim_cut(r->s, w);
        break;
    case 1:
        if (sim_is_joined(w))
            sim_silence(r->s, w);
        break;
    case 2:
        sim_kill(r->s, router);
        r->is_down[router] = true;
        break;
    default:
        sim_join(r->s, w);
        break;
    }
    sim_run(r->s, 1 + sim_below(r->s, 400), NULL, NULL);
}

static void heal(struct run *r)
{
    for (uint32_t i = 0; i < r->routers; i++)
        sim_start(r->s, i);
    for (uint32_t i = 0; i < r->wire_count; i++)
        sim_join(r->s, r->wires[i]);
}

static bool nothing_open(struct sim *s, void *user)
{
    struct run *r = user;

    (void)s;
    for (uint32_t i = 0; i < CLIENTS; i++)
        if (sim_counts(r->senders[i])->is_attached && sim_counts(r->senders[i])->outstanding > 0)
            return false;
    return true;
}

static void check_clients(struct run *r)
{
    if (!sim_run(r->s, 30000, nothing_open, r))
        fail(r, "a message was never settled");
    for (uint32_t i = 0; i < CLIENTS; i++) {
        if (sim_counts(r->receivers[i])->duplicates > 0)
            fail(r, "a message arrived twice");
        if (sim_counts(r->senders[i])->accepted > sim_counts(r->receivers[i])->received)
            fail(r, "a message was accepted that nobody received");
    }
}

static void check_memory(struct run *r)
{
    for (uint32_t i = 0; i < CLIENTS; i++) {
        sim_client_end(r->s, r->senders[i]);
        sim_client_end(r->s, r->receivers[i]);
    }
    sim_run(r->s, 5000, NULL, NULL);
    for (uint32_t i = 0; i < r->routers; i++) {
        struct router_stats stats;

        router_stats(sim_router(r->s, i), &stats);
        if (stats.deliveries > 0 || stats.stored_bytes > 0)
            fail(r, "a router still holds messages when all is idle");
    }
}

int main(int argc, char **argv)
{
    struct run *r = xcalloc(1, sizeof(*r));
    clock_t began = clock();

    if (argc != 3) {
        fprintf(stderr, "usage: sim SEED ROUTERS\n");
        return 2;
    }
    r->seed = strtoull(argv[1], NULL, 10);
    r->routers = (uint32_t)strtoul(argv[2], NULL, 10);
    if (r->routers < 2 || r->routers > 100000) {
        fprintf(stderr, "sim: ROUTERS must be from 2 to 100000\n");
        return 2;
    }
    r->s = sim_new(r->seed, r->routers, 4096);
    printf("seed=%lu routers=%u\n", r->seed, r->routers);
    build(r);
    check_converges(r, "cold start");
    start_clients(r);
    for (int i = 0; i < FAULTS; i++)
        fault(r);
    heal(r);
    check_converges(r, "after the faults");
    check_clients(r);
    check_memory(r);
    printf("ok: %lu steps, %lu KiB, %.2f s of CPU\n", sim_steps(r->s), sim_bytes(r->s) / 1024,
           (double)(clock() - began) / CLOCKS_PER_SEC);
    sim_free(r->s);
    free(r->wires);
    free(r);
    return 0;
}
