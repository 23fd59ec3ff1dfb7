// SPDX-License-Identifier: Apache-2.0
// A network of routing engines in memory, with virtual time: wires with latency, loss, copies and
// disorder by seed; and a plain computation of the trees everybody should have found.
#pragma once

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/map.h"
#include "base/mem.h"
#include "router/routing.h"

struct net_end {
    uint32_t peer, peer_link;
    int cost;
    bool is_up, is_ours;
    uint32_t latency_us;
    struct mono free_at; // messages keep their order
};

struct net_router {
    struct routing *rt;
    char id[24];
    int64_t instance;
    struct net_end ends[64];
    uint32_t end_count;
    struct mono tick_at;
    struct map told; // "router key" as events told, when the net keeps them
    char note[128];  // the last one
    uint64_t told_count, routes_count, neighbour_downs;
    uint32_t reachable_count;
    bool is_old; // knows the plain protocol only
    uint32_t node_max;
};

struct net_item {
    struct mono at;
    uint64_t order;
    uint32_t router, link;
    int64_t instance; // of the receiver when it was sent
    char *bytes;      // NULL: a tick
    size_t len;
};

struct net {
    struct net_router *routers;
    uint32_t count;
    struct net_item *heap;
    size_t heap_count, heap_size;
    uint64_t order, sent, sent_bytes;
    struct mono now;
    struct rng rng;
    bool keep_told;
    uint32_t loss_percent, copy_percent, disorder_percent;
    struct routing_opts opts;
};

static inline bool net_is_before(const struct net_item *a, const struct net_item *b)
{
    return a->at.ns < b->at.ns || (a->at.ns == b->at.ns && a->order < b->order);
}

static inline void net_push(struct net *n, struct net_item item)
{
    size_t at = n->heap_count++;

    if (n->heap_count > n->heap_size) {
        n->heap_size = n->heap_size ? 2 * n->heap_size : 1024;
        n->heap = xrealloc(n->heap, n->heap_size, sizeof(*n->heap));
    }
    item.order = n->order++;
    for (; at > 0 && net_is_before(&item, &n->heap[(at - 1) / 2]); at = (at - 1) / 2)
        n->heap[at] = n->heap[(at - 1) / 2];
    n->heap[at] = item;
}

static inline struct net_item net_pop(struct net *n)
{
    struct net_item top = n->heap[0], last = n->heap[--n->heap_count];
    size_t at = 0, child;

    while ((child = 2 * at + 1) < n->heap_count) {
        if (child + 1 < n->heap_count && net_is_before(&n->heap[child + 1], &n->heap[child]))
            child++;
        if (!net_is_before(&n->heap[child], &last))
            break;
        n->heap[at] = n->heap[child];
        at = child;
    }
    n->heap[at] = last;
    return top;
}

static inline void net_send(struct net *n, uint32_t from, const struct routing_output *out)
{
    struct net_end *e = &n->routers[from].ends[out->link];
    struct mono at = {n->now.ns + e->latency_us * INT64_C(1000)};
    uint32_t copies = 1;

    assert(e->is_up);
    n->sent++;
    n->sent_bytes += out->bytes.len;
    if (n->loss_percent && rng_below(&n->rng, 100) < n->loss_percent)
        return;
    if (n->copy_percent && rng_below(&n->rng, 100) < n->copy_percent)
        copies = 2;
    if (n->disorder_percent && rng_below(&n->rng, 100) < n->disorder_percent)
        at.ns += 40 * NS_PER_MS;
    else if (mono_before(at, e->free_at))
        at = e->free_at;
    if (n->disorder_percent == 0)
        e->free_at = at;
    while (copies-- > 0) {
        struct net_item item = {.at = at,
                                .router = e->peer,
                                .link = e->peer_link,
                                .instance = n->routers[e->peer].instance,
                                .len = out->bytes.len};

        item.bytes = xcalloc(1, item.len);
        memcpy(item.bytes, out->bytes.ptr, item.len);
        net_push(n, item);
    }
}

static inline void net_tell(struct net *n, struct net_router *r, const struct routing_event *ev)
{
    char text[600];
    struct str id = routing_id(r->rt, ev->node);
    struct str key = {text, 0};

    snprintf(text, sizeof(text), "%.*s %.*s", STR_ARG(id), STR_ARG(ev->key));
    key.len = strlen(text);
    if (ev->type == ROUTING_EV_ADDRESS_ADD) {
        r->told_count +=
            !n->keep_told || map_put(&r->told, key, (void *)(uintptr_t)(ev->treatment + 2)) == NULL;
        return;
    }
    if (n->keep_told && map_remove(&r->told, key) == NULL) {
        fprintf(stderr, "%s: deleted but never added: %s\n", r->id, text);
        abort();
    }
    r->told_count--;
}

static inline void net_poll(struct net *n, uint32_t router)
{
    struct net_router *r = n->routers + router;
    struct routing_output out;
    struct routing_event ev;
    struct mono at;

    while (routing_next_output(r->rt, &out))
        net_send(n, router, &out);
    while (routing_next_event(r->rt, &ev)) {
        if (ev.type == ROUTING_EV_ADDRESS_ADD || ev.type == ROUTING_EV_ADDRESS_DEL)
            net_tell(n, r, &ev);
        if (ev.type == ROUTING_EV_NOTE)
            snprintf(r->note, sizeof(r->note), "%.*s", STR_ARG(ev.key));
        r->routes_count += ev.type == ROUTING_EV_ROUTES;
        r->neighbour_downs += ev.type == ROUTING_EV_NEIGHBOUR_DOWN;
        r->reachable_count += ev.type == ROUTING_EV_NODE_UP;
        r->reachable_count -= ev.type == ROUTING_EV_NODE_DOWN;
    }
    at = routing_deadline(r->rt);
    if (at.ns < n->now.ns)
        at = n->now;
    if (mono_before(at, r->tick_at)) {
        r->tick_at = at;
        net_push(n, (struct net_item){.at = at, .router = router, .instance = r->instance});
    }
}

static inline void net_start(struct net *n, uint32_t router)
{
    struct net_router *r = n->routers + router;
    struct routing_opts opts = n->opts;

    opts.id = r->id;
    opts.instance = r->instance;
    opts.node_max = r->node_max;
    opts.seed = rng_next(&n->rng);
    r->rt = routing_new(&opts, n->now);
    r->tick_at = MONO_NEVER;
    r->told_count = r->reachable_count = 0;
}

static inline struct net *net_new(uint32_t count, uint64_t seed)
{
    struct net *n = xcalloc(1, sizeof(*n));

    n->routers = xcalloc(count, sizeof(*n->routers));
    n->count = count;
    n->now.ns = NS_PER_S;
    n->keep_told = true;
    rng_init(&n->rng, seed);
    for (uint32_t i = 0; i < count; i++) {
        // An order of ids that is not the order of numbers.
        snprintf(n->routers[i].id, sizeof(n->routers[i].id), "R%03u", (i * 37 + 11) % count);
        for (uint32_t j = 0; j < i; j++)
            if (strcmp(n->routers[j].id, n->routers[i].id) == 0)
                snprintf(n->routers[i].id, sizeof(n->routers[i].id), "S%03u", i);
        n->routers[i].instance = 1000 + i;
        net_start(n, i);
    }
    return n;
}

static inline void net_free(struct net *n)
{
    for (uint32_t i = 0; i < n->count; i++) {
        routing_free(n->routers[i].rt);
        map_fini(&n->routers[i].told);
    }
    while (n->heap_count > 0)
        free(net_pop(n).bytes);
    free(n->heap);
    free(n->routers);
    free(n);
}

// Puts a wire between two routers; it is down at first. Returns the number at `a`.
static inline uint32_t net_wire(struct net *n, uint32_t a, uint32_t b, int cost,
                                uint32_t latency_us)
{
    struct net_router *x = n->routers + a, *y = n->routers + b;
    bool is_ours = !x->is_old && !y->is_old;

    assert(x->end_count < 64 && y->end_count < 64);
    x->ends[x->end_count] =
        (struct net_end){b, y->end_count, cost, false, is_ours, latency_us, {0}};
    y->ends[y->end_count] =
        (struct net_end){a, x->end_count, cost, false, is_ours, latency_us, {0}};
    y->end_count++;
    return x->end_count++;
}

static inline void net_set(struct net *n, uint32_t router, uint32_t link, bool is_up)
{
    struct net_router *r = n->routers + router;
    struct net_end *e = r->ends + link;

    if (e->is_up == is_up)
        return;
    e->is_up = is_up;
    if (r->rt && is_up)
        routing_link_up(r->rt, link, e->cost, e->is_ours, n->now);
    else if (r->rt)
        routing_link_down(r->rt, link, n->now);
    if (r->rt)
        net_poll(n, router);
}

// Both ends of a wire. Messages under way are lost with it.
static inline void net_set_wire(struct net *n, uint32_t a, uint32_t link, bool is_up)
{
    struct net_end *e = n->routers[a].ends + link;
    size_t kept = 0;
    struct net_item *old = n->heap;
    size_t old_count = n->heap_count;

    if (!is_up) {
        n->heap = NULL;
        n->heap_count = n->heap_size = 0;
        for (size_t i = 0; i < old_count; i++) {
            const struct net_item *it = old + i;

            if (it->bytes && ((it->router == a && it->link == link) ||
                              (it->router == e->peer && it->link == e->peer_link)))
                free(it->bytes);
            else
                old[kept++] = *it;
        }
        for (size_t i = 0; i < kept; i++)
            net_push(n, old[i]);
        free(old);
    }
    net_set(n, a, link, is_up);
    net_set(n, e->peer, e->peer_link, is_up);
}

static inline void net_all_up(struct net *n)
{
    for (uint32_t i = 0; i < n->count; i++)
        for (uint32_t j = 0; j < n->routers[i].end_count; j++)
            if (n->routers[i].ends[j].peer > i)
                net_set_wire(n, i, j, true);
}

// The router is gone, and nobody hears a closing link: as when a cable is pulled.
static inline void net_kill(struct net *n, uint32_t router)
{
    struct net_router *r = n->routers + router;

    routing_free(r->rt);
    r->rt = NULL;
    map_fini(&r->told);
    r->instance += 5;
}

// Comes back with a new instance; its wires must be set up again.
static inline void net_restart(struct net *n, uint32_t router)
{
    struct net_router *r = n->routers + router;

    for (uint32_t i = 0; i < r->end_count; i++)
        r->ends[i].is_up = false;
    net_start(n, router);
}

static inline void net_step(struct net *n)
{
    struct net_item item = net_pop(n);
    struct net_router *r = n->routers + item.router;

    n->now = item.at;
    if (r->rt && item.instance == r->instance) {
        if (item.bytes) {
            routing_receive(r->rt, item.link, (struct str){item.bytes, item.len}, n->now);
        } else if (r->tick_at.ns == item.at.ns) {
            r->tick_at = MONO_NEVER;
            routing_tick(r->rt, n->now);
        }
        net_poll(n, item.router);
    }
    free(item.bytes);
}

static inline void net_run(struct net *n, int64_t ms)
{
    struct mono end = mono_add_ms(n->now, ms);

    while (n->heap_count > 0 && !mono_before(end, n->heap[0].at))
        net_step(n);
    n->now = end;
}

static inline void net_add(struct net *n, uint32_t router, const char *key, int treatment)
{
    routing_address_add(n->routers[router].rt, str_of(key), treatment, 0, STR_NONE, n->now);
    net_poll(n, router);
}

static inline void net_del(struct net *n, uint32_t router, const char *key)
{
    routing_address_del(n->routers[router].rt, str_of(key), n->now);
    net_poll(n, router);
}

static inline bool net_has(struct net *n, uint32_t router, uint32_t at, const char *key)
{
    char text[64];

    snprintf(text, sizeof(text), "%s %s", n->routers[at].id, key);
    return map_get(&n->routers[router].told, str_of(text)) != NULL;
}

static inline uint32_t net_number(const struct net *n, uint32_t router, uint32_t of)
{
    return routing_find(n->routers[router].rt, str_of(n->routers[of].id));
}

// --- what they should have found -----------------------------------------------------------------

enum { NET_FAR = 1 << 28 };

static inline int net_edge(const struct net *n, uint32_t a, uint32_t b)
{
    const struct net_router *r = n->routers + a;
    int cost = NET_FAR;

    if (r->rt == NULL || n->routers[b].rt == NULL)
        return NET_FAR;
    for (uint32_t i = 0; i < r->end_count; i++)
        if (r->ends[i].peer == b && r->ends[i].is_up && r->ends[i].cost < cost)
            cost = r->ends[i].cost;
    return cost;
}

// Every candidate is looked at in each round: cost first, then id.
static inline void net_tree(const struct net *n, const int *edges, uint32_t root, int *cost,
                            uint32_t *from)
{
    bool *done = xcalloc(n->count, sizeof(*done));

    for (uint32_t i = 0; i < n->count; i++) {
        cost[i] = i == root ? 0 : NET_FAR;
        from[i] = UINT32_MAX;
    }
    for (;;) {
        uint32_t best = UINT32_MAX;

        for (uint32_t i = 0; i < n->count; i++)
            if (!done[i] && cost[i] < NET_FAR &&
                (best == UINT32_MAX || cost[i] < cost[best] ||
                 (cost[i] == cost[best] && strcmp(n->routers[i].id, n->routers[best].id) < 0)))
                best = i;
        if (best == UINT32_MAX)
            break;
        done[best] = true;
        for (uint32_t i = 0; i < n->count; i++)
            if (!done[i] && edges[best * n->count + i] < NET_FAR &&
                cost[best] + edges[best * n->count + i] < cost[i]) {
                cost[i] = cost[best] + edges[best * n->count + i];
                from[i] = best;
            }
    }
    free(done);
}

static inline void net_floyd_warshall(uint32_t count, int *dist)
{
    for (uint32_t k = 0; k < count; k++)
        for (uint32_t i = 0; i < count; i++)
            for (uint32_t j = 0; j < count; j++)
                if (dist[i * count + k] + dist[k * count + j] < dist[i * count + j])
                    dist[i * count + j] = dist[i * count + k] + dist[k * count + j];
}

// Does the path to `dest`, walked back over `from`, pass `through`?
static inline bool net_passes(const uint32_t *from, uint32_t dest, uint32_t through)
{
    for (uint32_t at = dest; at != UINT32_MAX; at = from[at])
        if (at == through)
            return true;
    return false;
}

static inline const char *net_check_one(struct net *n, uint32_t origin, const int *dist,
                                        const int *cost, const uint32_t *from)
{
    for (uint32_t d = 0; d < n->count; d++) {
        struct net_router *o = n->routers + origin;
        uint32_t number = net_number(n, origin, d), hop = d;

        if (d == origin)
            continue;
        if (cost[d] >= NET_FAR) {
            if (number != ROUTING_NO_NODE && routing_is_reachable(o->rt, number))
                return "reaches what it cannot";
            continue;
        }
        while (from[hop] != origin)
            hop = from[hop];
        if (number == ROUTING_NO_NODE || !routing_is_reachable(o->rt, number))
            return "does not reach what it can";
        if (routing_cost(o->rt, number) != cost[d] || cost[d] != dist[origin * n->count + d])
            return "has a wrong cost";
        if (o->ends[routing_next_hop(o->rt, number)].peer != hop)
            return "has a wrong next hop";
        for (uint32_t r = 0; r < n->count; r++) {
            if (n->routers[r].rt == NULL || r == origin || cost[r] >= NET_FAR)
                continue;
            if (routing_is_valid_origin(n->routers[r].rt, net_number(n, r, origin),
                                        net_number(n, r, d)) != net_passes(from, d, r))
                return "has another tree at another router";
        }
    }
    return NULL;
}

// NULL when all next hops, costs and trees are as they should be, else what is wrong.
static inline const char *net_check(struct net *n)
{
    int *edges = xcalloc(n->count * n->count, sizeof(int));
    int *dist = xcalloc(n->count * n->count, sizeof(int)), *cost = xcalloc(n->count, sizeof(int));
    uint32_t *from = xcalloc(n->count, sizeof(*from));
    const char *wrong = NULL;

    for (uint32_t i = 0; i < n->count; i++)
        for (uint32_t j = 0; j < n->count; j++) {
            edges[i * n->count + j] = net_edge(n, i, j);
            dist[i * n->count + j] = i == j ? 0 : edges[i * n->count + j];
        }
    net_floyd_warshall(n->count, dist);
    for (uint32_t i = 0; i < n->count && !wrong; i++) {
        if (n->routers[i].rt == NULL)
            continue;
        net_tree(n, edges, i, cost, from);
        wrong = net_check_one(n, i, dist, cost, from);
    }
    free(edges);
    free(dist);
    free(cost);
    free(from);
    return wrong;
}

// A ring with chords: connected, about `degree` wires for each router, some between the same two.
static inline void net_random_wires(struct net *n, uint32_t degree)
{
    uint32_t wires = n->count * degree / 2;

    for (uint32_t i = 0; i < wires; i++) {
        uint32_t a = i < n->count ? i : rng_below(&n->rng, n->count);
        uint32_t b = i < n->count ? (i + 1) % n->count : rng_below(&n->rng, n->count);

        if (a != b && n->routers[a].end_count < 60 && n->routers[b].end_count < 60)
            net_wire(n, a, b, 1 + (int)rng_below(&n->rng, 3), 500 + rng_below(&n->rng, 9500));
    }
}
