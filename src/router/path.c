// SPDX-License-Identifier: Apache-2.0
// Shortest paths (10.7) and the trees of other routers (10.8).
//
// Everybody must find the same trees, so the order in which candidates are settled is fixed: by
// cost, then by id; among equal costs the first predecessor stays. An edge counts when both ends
// list it, as far as the far end's current link state is known (else it could never be asked for);
// that is how a dead router drops out as soon as its neighbours have said so. Our own edges always
// count: HELLO has shown that they work both ways.
#include <stdlib.h>

#include "base/mem.h"
#include "router/routing_int.h"

enum { PATH_HOLD_MIN_MS = 5, PATH_HOLD_MAX_MS = 100, TREE_BYTES_MAX = 32 << 20 };

#define FAR INT64_MAX

// One run of Dijkstra's algorithm. A candidate is its cost and, below that, the place of its id.
struct run {
    int64_t *cost;
    uint32_t *from, *first, *hops; // predecessor; first node after the root; edges from the root
    uint32_t *settled, settled_count;
    bool *is_settled;
    uint64_t *heap;
    size_t heap_count, heap_size;
};

static void run_fini(struct run *r)
{
    free(r->cost);
    free(r->from);
    free(r->settled);
    free(r->is_settled);
    free(r->heap);
}

static void run_init(struct run *r, uint32_t count)
{
    *r = (struct run){.cost = xcalloc(count, sizeof(*r->cost)),
                      .from = xcalloc(count, 3 * sizeof(*r->from)),
                      .settled = xcalloc(count, sizeof(*r->settled)),
                      .is_settled = xcalloc(count, sizeof(*r->is_settled))};
    r->first = r->from + count;
    r->hops = r->first + count;
    for (uint32_t i = 0; i < count; i++)
        r->cost[i] = FAR;
}

static void heap_push(struct run *r, uint64_t key)
{
    size_t at = r->heap_count++;

    if (r->heap_count > r->heap_size) {
        r->heap_size = r->heap_size ? 2 * r->heap_size : 64;
        r->heap = xrealloc(r->heap, r->heap_size, sizeof(*r->heap));
    }
    while (at > 0 && r->heap[(at - 1) / 2] > key) {
        r->heap[at] = r->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    r->heap[at] = key;
}

static uint64_t heap_take(struct run *r)
{
    uint64_t top = r->heap[0], last = r->heap[--r->heap_count];
    size_t at = 0, child;

    while ((child = 2 * at + 1) < r->heap_count) {
        if (child + 1 < r->heap_count && r->heap[child + 1] < r->heap[child])
            child++;
        if (last <= r->heap[child])
            break;
        r->heap[at] = r->heap[child];
        at = child;
    }
    r->heap[at] = last;
    return top;
}

// --- edges ---------------------------------------------------------------------------------------

static bool lists(const struct node *n, uint32_t to)
{
    uint32_t low = 0, high = n->edge_count;

    while (low < high) {
        uint32_t mid = (low + high) / 2;

        if (n->edges[mid].to < to)
            low = mid + 1;
        else
            high = mid;
    }
    return low < n->edge_count && n->edges[low].to == to;
}

static void mention(struct routing *rt, uint32_t by, uint32_t number)
{
    struct node *n = rt->nodes[number];

    if (n->mentioner == ROUTING_NO_NODE ||
        (n->mentioner != ROUTING_SELF && rt->nodes[by]->rank < rt->nodes[n->mentioner]->rank))
        n->mentioner = by;
}

// Brings ranks, two-way flags and mentioners up to date.
static void prepare(struct routing *rt)
{
    if (rt->rank_stale)
        for (uint32_t i = 0; i < rt->node_live; i++)
            rt->nodes[rt->order[i]]->rank = i;
    if (rt->prepared == rt->topology && !rt->rank_stale)
        return;
    rt->rank_stale = false;
    rt->prepared = rt->topology;
    for (uint32_t i = 0; i < rt->node_count; i++)
        if (rt->nodes[i])
            rt->nodes[i]->mentioner = ROUTING_NO_NODE;
    for (uint32_t i = 0; i < rt->node_count; i++) {
        struct node *n = rt->nodes[i];

        for (uint32_t j = 0; n && j < n->edge_count; j++) {
            const struct node *to = rt->nodes[n->edges[j].to];

            n->edges[j].is_two_way = i == ROUTING_SELF || !node_is_current(to) || lists(to, i);
            if (!to->has_ls)
                mention(rt, i, n->edges[j].to);
        }
    }
}

static void relax(const struct routing *rt, struct run *r, uint32_t from, uint32_t to, int32_t cost)
{
    int64_t sum = r->cost[from] + cost;

    if (r->is_settled[to] || sum >= r->cost[to])
        return;
    r->cost[to] = sum;
    r->from[to] = from;
    r->hops[to] = r->hops[from] + 1;
    r->first[to] = r->hops[from] == 0 ? to : r->first[from];
    heap_push(r, (uint64_t)sum << 16 | rt->nodes[to]->rank);
}

// Costs are at most 2^20 and nodes 2^16: a sum and a rank fit one key.
_Static_assert(ROUTING_NODE_MAX <= 1 << 16, "a rank takes 16 bits of a heap key");

static void compute(struct routing *rt, struct run *r, uint32_t root)
{
    prepare(rt);
    run_init(r, rt->node_count);
    r->cost[root] = 0;
    heap_push(r, rt->nodes[root]->rank);
    while (r->heap_count > 0) {
        uint32_t at = rt->order[heap_take(r) & 0xffff];
        const struct node *n = rt->nodes[at];

        if (r->is_settled[at])
            continue;
        r->is_settled[at] = true;
        r->settled[r->settled_count++] = at;
        for (uint32_t i = 0; i < n->edge_count; i++)
            if (n->edges[i].is_two_way)
                relax(rt, r, at, n->edges[i].to, n->edges[i].cost);
        // Never through a router without link state: a question for it would go astray.
        if (at == root && !n->has_ls && n->mentioner != ROUTING_NO_NODE)
            relax(rt, r, at, n->mentioner, 1);
    }
}

// --- next hops -----------------------------------------------------------------------------------

static void set_unreachable(struct routing *rt, uint32_t number, struct mono now)
{
    struct node *n = rt->nodes[number];

    ma_tell_all(rt, number, ROUTING_EV_ADDRESS_DEL);
    n->is_reachable = false;
    n->next_hop_node = ROUTING_NO_NODE;
    n->unreachable_at = now;
    rt_event(rt, ROUTING_EV_NODE_DOWN, number, ROUTING_NO_LINK);
    // FLOOD will bring what we missed; a plain router may come back with less than we remember.
    if (!n->is_from_ours) {
        ma_clear(rt, number);
        n->need_mar = n->heard_mobile > 0;
    }
}

static void take_path(struct routing *rt, uint32_t number, const struct run *r, struct mono now)
{
    struct node *n = rt->nodes[number];

    if (r->cost[number] == FAR) {
        if (n->is_reachable)
            set_unreachable(rt, number, now);
        return;
    }
    n->cost = r->cost[number] < INT32_MAX ? (int32_t)r->cost[number] : INT32_MAX;
    n->hops = (int32_t)r->hops[number];
    n->next_hop_node = r->first[number];
    if (n->hops > rt->radius)
        rt->radius = n->hops;
    if (!n->is_reachable) {
        n->is_reachable = true;
        if (!n->has_ls && rt->plain_count > 0) { // known from a neighbour's link state only
            n->need_lsr = true;
            n->lsr_at = mono_add_ms(now, rt->flood_count ? ROUTING_FLOOD_GRACE_MS : 0);
        }
        rt_event(rt, ROUTING_EV_NODE_UP, number, ROUTING_NO_LINK);
        ma_tell_all(rt, number, ROUTING_EV_ADDRESS_ADD);
    }
}

void path_compute(struct routing *rt, struct mono now)
{
    struct run r;

    compute(rt, &r, ROUTING_SELF);
    rt->radius = 0;
    for (uint32_t i = 1; i < rt->node_count; i++)
        if (rt->nodes[i])
            take_path(rt, i, &r, now);
    run_fini(&r);
    rt->computed = rt->topology;
    rt->is_path_urgent = false;
    rt->sum_stale = true;
    rt->last_topology_change = now;
    throttle_fire(&rt->path_throttle, PATH_HOLD_MIN_MS, PATH_HOLD_MAX_MS, now);
    rt_wake_node(rt, now);
    rt_event(rt, ROUTING_EV_ROUTES, ROUTING_NO_NODE, ROUTING_NO_LINK);
}

// --- trees ---------------------------------------------------------------------------------------

static void drop_tree(struct routing *rt, uint32_t origin)
{
    struct tree *t = origin < rt->tree_size ? rt->trees[origin] : NULL;

    if (t == NULL)
        return;
    rt->tree_bytes -= t->size;
    free(t);
    rt->trees[origin] = NULL;
}

static struct tree *new_tree(struct routing *rt, uint32_t origin)
{
    size_t size = sizeof(struct tree) + (rt->node_count + 63) / 64 * sizeof(uint64_t);
    struct tree *t = xcalloc(1, size);

    if (rt->tree_size < rt->node_size) {
        rt->trees = xrealloc(rt->trees, rt->node_size, sizeof(struct tree *));
        memset(rt->trees + rt->tree_size, 0,
               (rt->node_size - rt->tree_size) * sizeof(struct tree *));
        rt->tree_size = rt->node_size;
    }
    drop_tree(rt, origin);
    if (rt->tree_bytes + size > TREE_BYTES_MAX)
        for (uint32_t i = 0; i < rt->tree_size; i++)
            drop_tree(rt, i);
    rt->tree_bytes += size;
    t->size = size;
    t->version = rt->topology;
    t->node_count = rt->node_count;
    rt->trees[origin] = t;
    return t;
}

// The nodes that `origin` reaches through us.
static const struct tree *tree_of(struct routing *rt, uint32_t origin)
{
    struct tree *t = origin < rt->tree_size ? rt->trees[origin] : NULL;
    struct run r;

    if (t && t->version == rt->topology)
        return t;
    compute(rt, &r, origin);
    t = new_tree(rt, origin);
    for (uint32_t i = 0; i < r.settled_count; i++) {
        uint32_t at = r.settled[i], from = r.from[at];

        if (at == ROUTING_SELF || (at != origin && (t->words[from / 64] >> (from % 64) & 1)))
            t->words[at / 64] |= UINT64_C(1) << (at % 64);
    }
    run_fini(&r);
    return t;
}

static bool is_below(const struct tree *t, uint32_t dest)
{
    return dest < t->node_count && (t->words[dest / 64] >> (dest % 64) & 1);
}

bool routing_is_valid_origin(struct routing *rt, uint32_t origin, uint32_t dest)
{
    if (!routing_is_reachable(rt, origin) || !routing_is_reachable(rt, dest))
        return false;
    return origin == ROUTING_SELF || is_below(tree_of(rt, origin), dest);
}

bool path_is_tree_link(struct routing *rt, uint32_t origin, uint32_t link)
{
    const struct tree *t = origin == ROUTING_SELF ? NULL : tree_of(rt, origin);

    for (uint32_t i = 1; i < rt->node_count; i++) {
        const struct node *n = rt->nodes[i];

        if (n && n->is_reachable && i != origin && rt_link_to(rt, n, ROUTING_NO_LINK) == link &&
            (t == NULL || is_below(t, i)))
            return true;
    }
    return false;
}

void path_forget(struct routing *rt, uint32_t number)
{
    drop_tree(rt, number);
}

void path_fini(struct routing *rt)
{
    for (uint32_t i = 0; i < rt->tree_size; i++)
        free(rt->trees[i]);
    free(rt->trees);
}
