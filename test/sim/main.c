// SPDX-License-Identifier: Apache-2.0
// sim SEED ROUTERS [0 SHARDS]: a random network, messages of every treatment, and faults from the
// seed: slow and jittery wires, lost links, silent cables, partitions, restarts, slow consumers.
// sim SEED ROUTERS ADDRESSES [SHARDS]: how such a network of so many addresses converges from cold,
// and what one change costs.
//
// Prints what it did and what it cost; exits 1, with the seed, when an invariant does not hold.
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/mem.h"
#include "sim.h"

enum {
    ROUNDS = 6,
    FAULTS_A_ROUND = 4,
    STREAMS = 16, // senders, each with its own address and receivers
    RECEIVERS = 3,
    MESSAGES = 300,
    CONVERGE_PACKETS = 60, // a wire; what it costs a machine is told, not judged
};

struct run {
    struct sim *s;
    uint64_t seed;
    uint32_t routers, shards, wire_count;
    struct sim_wire **wires;
    uint32_t (*wire_ends)[2];
    struct sim_client *senders[STREAMS], *receivers[STREAMS][RECEIVERS];
    struct router_stats *before;
    size_t heap_before;
};

static void fail(const struct run *r, const char *what)
{
    printf("FAILED seed=%lu routers=%u shards=%u: %s\n", r->seed, r->routers, r->shards, what);
    exit(1);
}

// Runs on, and fails with the simulator's own words if it has found something.
static bool run_on(struct run *r, uint32_t ms, bool (*done)(struct sim *s, void *user), void *user)
{
    bool reached = sim_run(r->s, ms, done, user);

    if (sim_fault(r->s))
        fail(r, sim_fault(r->s));
    return reached;
}

static double cpu_s(void)
{
    return (double)clock() / CLOCKS_PER_SEC;
}

// --------------------------------------------------------------------------------------- network

static void add_wire(struct run *r, uint32_t a, uint32_t b)
{
    r->wire_ends[r->wire_count][0] = a;
    r->wire_ends[r->wire_count][1] = b;
    r->wires[r->wire_count++] =
        sim_link(r->s, a, b, 1 + (int)sim_below(r->s, 3), 1 + sim_below(r->s, 5));
}

// A tree, so that all are connected, and two more links for each router.
static void build(struct run *r)
{
    r->wires = xcalloc((size_t)r->routers * 3, sizeof(struct sim_wire *));
    r->wire_ends = xcalloc((size_t)r->routers * 3, sizeof(*r->wire_ends));
    for (uint32_t i = 1; i < r->routers; i++)
        add_wire(r, i, sim_below(r->s, i));
    for (uint32_t i = 0; i < 2 * r->routers; i++) {
        uint32_t a = sim_below(r->s, r->routers), b = sim_below(r->s, r->routers);

        if (a != b)
            add_wire(r, a, b);
    }
}

static void check_routes(struct run *r, const char *when)
{
    struct mono before = sim_now(r->s);
    uint64_t bytes = sim_bytes(r->s);

    if (!run_on(r, 20000, sim_routes_are_right, NULL))
        fail(r, when);
    printf("%s: routes equal the shortest paths after %ld ms of virtual time, %lu KiB\n", when,
           (long)mono_ms_between(before, sim_now(r->s)), (sim_bytes(r->s) - bytes) / 1024);
}

// --------------------------------------------------------------------------------------- clients

static const char *treatment_of(uint32_t stream)
{
    static const char *const names[] = {"mc", "closest", "balanced"};

    return names[stream % 3];
}

static uint32_t size_of(struct sim *s)
{
    static const uint32_t sizes[] = {100, 100, 3000, 100000};

    return sizes[sim_below(s, 4)];
}

static void start_stream(struct run *r, uint32_t i)
{
    char address[32];
    struct sim_client_opts from = {.router = sim_below(r->s, r->routers),
                                   .address = address,
                                   .is_sender = true,
                                   .presettled = i % 5 == 4,
                                   .to_send = MESSAGES,
                                   .size = size_of(r->s),
                                   .pace_ms = sim_below(r->s, 30)};

    snprintf(address, sizeof(address), "%s/%u", treatment_of(i), i);
    for (uint32_t j = 0; j < RECEIVERS; j++) {
        struct sim_client_opts to = {.router = sim_below(r->s, r->routers),
                                     .address = address,
                                     .credit = 1 + sim_below(r->s, 200),
                                     .pace_ms = j == 0 ? sim_below(r->s, 20) : 0};

        r->receivers[i][j] = sim_client_new(r->s, &to);
    }
    r->senders[i] = sim_client_new(r->s, &from);
}

static bool all_is_settled(struct sim *s, void *user)
{
    struct run *r = user;

    (void)s;
    for (uint32_t i = 0; i < STREAMS; i++)
        if (sim_counts(r->senders[i])->sent < MESSAGES ||
            sim_counts(r->senders[i])->outstanding > 0)
            return false;
    return true;
}

static void tell_counts(const struct run *r)
{
    struct sim_counts sum = {0};

    for (uint32_t i = 0; i < STREAMS; i++) {
        const struct sim_counts *n = sim_counts(r->senders[i]);

        sum.sent += n->sent;
        sum.accepted += n->accepted;
        sum.released += n->released;
        sum.modified += n->modified;
        sum.unknown += n->unknown;
        for (uint32_t j = 0; j < RECEIVERS; j++)
            sum.received += sim_counts(r->receivers[i][j])->received;
    }
    printf("messages: %u sent, %u copies received; %u accepted, %u released, %u modified, %u lost "
           "their sender\n",
           sum.sent, sum.received, sum.accepted, sum.released, sum.modified, sum.unknown);
}

static void tell_open(const struct run *r)
{
    for (uint32_t i = 0; i < STREAMS; i++) {
        const struct sim_counts *n = sim_counts(r->senders[i]);

        if (n->sent < MESSAGES || n->outstanding > 0)
            printf("%s/%u: %u sent, %u of them open, %u links\n", treatment_of(i), i, n->sent,
                   n->outstanding, n->attached);
    }
}

// ---------------------------------------------------------------------------------------- faults

// Two halves that do not hear of each other; told or silent.
static void partition(struct run *r)
{
    bool told = sim_below(r->s, 2);
    uint32_t seed = sim_below(r->s, r->routers);

    for (uint32_t i = 0; i < r->wire_count; i++) {
        bool a = (r->wire_ends[i][0] + seed) % r->routers < r->routers / 2;
        bool b = (r->wire_ends[i][1] + seed) % r->routers < r->routers / 2;

        if (a != b && told)
            sim_cut(r->s, r->wires[i]);
        else if (a != b && sim_is_joined(r->wires[i]))
            sim_silence(r->s, r->wires[i]);
    }
}

static void fault(struct run *r)
{
    struct sim_wire *w = r->wires[sim_below(r->s, r->wire_count)];
    uint32_t router = sim_below(r->s, r->routers);

    switch (sim_below(r->s, 8)) {
    case 0:
    case 1:
        sim_cut(r->s, w);
        break;
    case 2:
        if (sim_is_joined(w))
            sim_silence(r->s, w);
        break;
    case 3:
        sim_kill(r->s, router);
        break;
    case 4:
        sim_kill(r->s, router);
        sim_start(r->s, router);
        break;
    case 5:
        sim_delay(w, sim_below(r->s, 100), sim_below(r->s, 100), 100 + sim_below(r->s, 1000));
        break;
    case 6:
        if (sim_below(r->s, 2))
            partition(r);
        break;
    default:
        sim_join(r->s, w);
        break;
    }
    run_on(r, 1 + sim_below(r->s, 400), NULL, NULL);
}

static void heal(struct run *r)
{
    for (uint32_t i = 0; i < r->routers; i++)
        sim_start(r->s, i);
    for (uint32_t i = 0; i < r->wire_count; i++) {
        sim_delay(r->wires[i], 1, 0, 0);
        sim_join(r->s, r->wires[i]);
    }
}

// ---------------------------------------------------------------------------------------- memory

static void remember(struct run *r)
{
    run_on(r, 5000, NULL, NULL);
    r->before = xcalloc(r->routers, sizeof(*r->before));
    for (uint32_t i = 0; i < r->routers; i++)
        router_stats(sim_router(r->s, i), &r->before[i]);
    r->heap_before = mallinfo2().uordblks;
}

static void check_memory(struct run *r)
{
    for (uint32_t i = 0; i < STREAMS; i++) {
        sim_client_end(r->s, r->senders[i]);
        for (uint32_t j = 0; j < RECEIVERS; j++)
            sim_client_end(r->s, r->receivers[i][j]);
    }
    run_on(r, 60000, NULL, NULL); // idle streaming links go after 30 to 40 s
    for (uint32_t i = 0; i < r->routers; i++) {
        const struct router_stats *b = &r->before[i];
        struct router_stats now;

        router_stats(sim_router(r->s, i), &now);
        if (now.deliveries > 0 || now.stored_bytes > 0 || sim_blocks_used(r->s, i) > 0)
            fail(r, "a router still holds messages when all is idle");
        if (now.addresses != b->addresses || now.links != b->links ||
            now.connections != b->connections || now.nodes != b->nodes) {
            printf("router %u: %zu addresses, not %zu; %zu links, not %zu; %zu connections, not "
                   "%zu; %zu nodes, not %zu\n",
                   i, now.addresses, b->addresses, now.links, b->links, now.connections,
                   b->connections, now.nodes, b->nodes);
            fail(r, "a router is not back at what it had before the messages");
        }
    }
    printf("memory: %zu KiB in use before, %zu KiB after\n", r->heap_before / 1024,
           mallinfo2().uordblks / 1024);
}

static void run_faults(struct run *r)
{
    build(r);
    check_routes(r, "cold start");
    remember(r);
    for (uint32_t i = 0; i < STREAMS; i++)
        start_stream(r, i);
    for (int i = 0; i < ROUNDS; i++) {
        for (int j = 0; j < FAULTS_A_ROUND; j++)
            fault(r);
        check_routes(r, "after faults");
    }
    heal(r);
    check_routes(r, "all healed");
    if (!run_on(r, 120000, all_is_settled, r)) {
        tell_open(r);
        fail(r, "a message was never settled");
    }
    tell_counts(r);
    check_memory(r);
    printf("ok: %lu steps, %lu KiB, %.2f s of CPU\n", sim_steps(r->s), sim_bytes(r->s) / 1024,
           cpu_s());
}

// ----------------------------------------------------------------------------------- convergence

// Addresses a/ROUTER/0, a/ROUTER/1, …, each with one consumer.
struct spread {
    struct run *run;
    uint32_t each;
    uint32_t router; // looked at last: all before it know all
};

static bool knows_all(const struct spread *p, uint32_t router)
{
    char address[32];

    for (uint32_t i = 0; i < p->run->routers * p->each; i++) {
        snprintf(address, sizeof(address), "a/%u/%u", i / p->each, i % p->each);
        if (router_destinations(sim_router(p->run->s, router), address) != 1)
            return false;
    }
    return true;
}

static bool everybody_knows_all(struct sim *s, void *user)
{
    struct spread *p = user;

    for (; p->router < p->run->routers; p->router++)
        if (!knows_all(p, p->router))
            return false;
    return sim_routes_are_right(s, NULL);
}

static void consumers(struct run *r, uint32_t each)
{
    for (uint32_t i = 0; i < r->routers; i++) {
        char address[32];
        struct sim_client_opts o = {
            .router = i, .address = address, .address_count = each, .credit = 1};

        snprintf(address, sizeof(address), "a/%u", i);
        sim_client_new(r->s, &o);
    }
}

// Packets on all wires in a second.
static uint64_t packets_in_a_second(struct run *r)
{
    uint64_t before = sim_packets(r->s);

    run_on(r, 1000, NULL, NULL);
    return sim_packets(r->s) - before;
}

// A change is told at most twice over each wire in each direction, whatever is known besides.
static void check_change(struct run *r, const char *what, uint64_t quiet, uint64_t changes)
{
    uint64_t now = packets_in_a_second(r), more = now > quiet ? now - quiet : 0;

    printf("%s: %lu packets more than in a quiet second, %.2f a wire\n", what, more,
           (double)more / r->wire_count);
    if (more > 4 * changes * r->wire_count)
        fail(r, "a change costs more than wires x changes");
}

static void check_changes(struct run *r)
{
    struct sim_client_opts o = {.router = 0, .address = "one/more", .credit = 1};
    uint64_t quiet;

    run_on(r, 5000, NULL, NULL);
    quiet = packets_in_a_second(r);
    sim_client_new(r->s, &o);
    check_change(r, "one more address", quiet, 1);
    sim_cut(r->s, r->wires[r->wire_count / 2]);
    check_change(r, "a lost wire", quiet, 2); // both its ends tell
    if (!run_on(r, 1000, sim_routes_are_right, NULL))
        fail(r, "routes after the change");
}

static void run_convergence(struct run *r, uint32_t addresses)
{
    struct spread p = {.run = r, .each = addresses / r->routers};
    struct mono start = sim_now(r->s);
    double took;

    build(r);
    consumers(r, p.each);
    if (!run_on(r, 60000, everybody_knows_all, &p))
        fail(r, "convergence");
    took = cpu_s();
    printf("%u routers, %u wires, %u addresses: everybody knows all after %ld ms of virtual time, "
           "%.1f s of CPU, %lu packets (%.1f a wire), %lu MiB\n",
           r->routers, r->wire_count, p.each * r->routers,
           (long)mono_ms_between(start, sim_now(r->s)), took, sim_packets(r->s),
           (double)sim_packets(r->s) / r->wire_count, sim_bytes(r->s) >> 20);
    if (sim_packets(r->s) > CONVERGE_PACKETS * r->wire_count)
        fail(r, "too many packets");
    check_changes(r);
    printf("ok: %.1f s of CPU in all\n", cpu_s());
}

int main(int argc, char **argv)
{
    struct run *r = xcalloc(1, sizeof(*r));
    uint32_t addresses = argc > 3 ? (uint32_t)strtoul(argv[3], NULL, 10) : 0;
    uint32_t shards = argc > 4 ? (uint32_t)strtoul(argv[4], NULL, 10) : 0;

    if (argc < 3 || argc > 5 || shards > ROUTER_SHARDS_MAX) {
        fprintf(stderr, "usage: sim SEED ROUTERS [ADDRESSES [SHARDS]]\n");
        return 2;
    }
    r->seed = strtoull(argv[1], NULL, 10);
    r->routers = (uint32_t)strtoul(argv[2], NULL, 10);
    if (r->routers < 2 || r->routers > 100000) {
        fprintf(stderr, "sim: ROUTERS must be from 2 to 100000\n");
        return 2;
    }
    r->shards = shards;
    r->s = sim_new(r->seed, r->routers, shards, 4096);
    printf("seed=%lu routers=%u shards=%u\n", r->seed, r->routers, shards);
    if (addresses > 0)
        run_convergence(r, addresses);
    else
        run_faults(r);
    sim_free(r->s);
    free(r->wires);
    free(r->wire_ends);
    free(r->before);
    free(r);
    return 0;
}
