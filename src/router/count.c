// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>

#include "base/mem.h"
#include "router/core.h"

// What links and the router count, for management and metrics. Whatever is told of the last seconds
// or of the present is worked out from times that are written down anyway; no timer runs for it.

enum { ORIGINS_MAX = 4096, DELAYED_S = 1, STUCK_S = 10 };

// ------------------------------------------------------------------------------------- outcomes

// Most streams are over before there is anything to count.
static struct link_counts *counts_of(struct router_link *l)
{
    if (UNLIKELY(!l->counts))
        l->counts = xcalloc(1, sizeof(*l->counts));
    return l->counts;
}

const struct link_counts *link_counts(const struct router_link *l)
{
    static const struct link_counts none;

    return l->counts ? l->counts : &none;
}

void counts_free(struct router_link *l)
{
    if (l->counts)
        free(l->counts->origins);
    free(l->counts);
}

void count_on_link(struct router_link *l, enum amqp_outcome_type type)
{
    struct link_counts *counts = counts_of(l);

    counts->accepted += type == AMQP_ACCEPTED;
    counts->rejected += type == AMQP_REJECTED;
    counts->released += type == AMQP_RELEASED;
    counts->modified += type == AMQP_MODIFIED;
}

// ------------------------------------------------------------------------------------------ rates

// The slot of this second; those between it and the last one that was used are empty.
static void roll(struct rate *rate, struct mono now)
{
    int64_t second = now.ns / NS_PER_S, passed = second - rate->second;

    for (int64_t i = 1; i <= passed && i <= RATE_SECONDS; i++)
        rate->counts[(rate->second + i) % RATE_SECONDS] = 0;
    rate->second = second;
    rate->ends = (struct mono){(second + 1) * NS_PER_S};
}

static void count_rate(struct rate *rate, struct mono now)
{
    if (!mono_before(now, rate->ends))
        roll(rate, now);
    rate->counts[rate->second % RATE_SECONDS]++;
}

uint32_t link_settle_rate(const struct router_link *l, struct mono now)
{
    struct rate rate = link_counts(l)->rate;
    uint32_t sum = 0;

    roll(&rate, now);
    for (int i = 0; i < RATE_SECONDS; i++)
        sum += rate.counts[i];
    return sum / RATE_SECONDS;
}

// ---------------------------------------------------------------------------------------- origins

// A shard knows no routers: it numbers the names it meets, and its hub, asked for them, finds out
// whose they are.
uint32_t origin_number(struct router *shard, struct str name)
{
    void *number = map_get(&shard->origins, name);

    if (!number && shard->origins.count < ORIGINS_MAX) {
        number = (void *)(uintptr_t)(shard->origins.count + 1);
        map_put(&shard->origins, name, number);
    }
    return number ? (uint32_t)(uintptr_t)number : ROUTING_NO_NODE;
}

// Where what leaves on it came from is counted on links of clients.
static bool has_histogram(const struct router_link *l)
{
    const struct router *r = l->conn->router;

    return l->is_out && l->kind == LINK_ENDPOINT && l->conn->role != ROUTER_ROLE_SHARD &&
           r->mode != ROUTER_EDGE && r->hub_mode != ROUTER_EDGE;
}

static void count_origin(struct router_link *l, uint32_t origin)
{
    struct link_counts *c = counts_of(l);

    if (origin >= c->origin_count) {
        uint32_t count = origin + 1;

        if (!has_histogram(l) || origin >= ROUTING_NODE_MAX)
            return;
        c->origins = xrealloc(c->origins, count, sizeof(*c->origins));
        memset(c->origins + c->origin_count, 0, (count - c->origin_count) * sizeof(*c->origins));
        c->origin_count = count;
    }
    c->origins[origin]++;
}

struct amqp_val *link_origins(const struct router *hub, const struct router_link *l)
{
    const struct router *part = l->conn->router;
    const struct link_counts *c = link_counts(l);
    uint32_t count = hub->routing ? routing_node_count(hub->routing) : 1;
    struct amqp_val *list = NULL;
    uint64_t *sums = NULL;
    struct str name;
    void *number;
    size_t at = 0;

    if (!has_histogram(l))
        return NULL;
    sums = xcalloc(count, sizeof(*sums));
    if (part->mode != ROUTER_SHARD) {
        for (uint32_t i = 0; i < count && i < c->origin_count; i++)
            sums[i] = c->origins[i];
    } else if (c->origin_count > 0) {
        sums[ROUTING_SELF] = c->origins[ROUTING_SELF];
        while (map_next(&part->origins, &at, &name, &number)) {
            uint32_t node = hub->routing ? routing_find(hub->routing, name) : ROUTING_SELF;

            if (node < count && (uintptr_t)number < c->origin_count)
                sums[node] += c->origins[(uintptr_t)number];
        }
    }
    list = amqp_val_list();
    for (uint32_t i = 0; i < count; i++)
        amqp_val_append(list, amqp_val_ulong(sums[i]));
    free(sums);
    return list;
}

// ------------------------------------------------------------------------------------------ delay

// Streams may last as long as they like.
static int64_t age_s(const struct delivery *d, struct mono now)
{
    return d->is_streaming ? 0 : (now.ns - d->arrived.ns) / NS_PER_S;
}

static void count_delay(struct router_link *l, const struct delivery *d, bool in_all)
{
    struct router *r = l->conn->router;
    int64_t held;

    if (LIKELY(r->now.ns - d->arrived.ns < DELAYED_S * NS_PER_S))
        return;
    held = age_s(d, r->now);
    counts_of(l)->delayed_10s += held >= STUCK_S;
    counts_of(l)->delayed_1s += held >= DELAYED_S && held < STUCK_S;
    if (in_all) {
        r->stats.delayed_10s += held >= STUCK_S;
        r->stats.delayed_1s += held >= DELAYED_S && held < STUCK_S;
    }
}

static bool is_stuck(const struct delivery *d, struct mono now)
{
    return !d->is_swallowed && age_s(d, now) >= STUCK_S;
}

static uint32_t stuck_copies(const struct router_link *l, bool orphans_only)
{
    const struct list *lists[] = {&l->queue, &l->sent};
    uint32_t count = 0;

    for (size_t i = 0; i < 2; i++)
        list_for_each (node, lists[i]) {
            const struct outgoing *o = list_entry(node, struct outgoing, on_link);
            bool is_first = o->delivery->copies.next == &o->on_delivery;

            if (!orphans_only || (!o->delivery->in && is_first))
                count += is_stuck(o->delivery, l->conn->router->now);
        }
    return count;
}

uint32_t link_stuck(const struct router_link *l)
{
    uint32_t count = 0;

    if (l->is_out)
        return stuck_copies(l, false);
    list_for_each (node, &l->deliveries)
        count += is_stuck(list_entry(node, struct delivery, on_link), l->conn->router->now);
    return count;
}

int64_t link_dry_s(const struct router_link *l)
{
    if (!l->amqp || l->dry_since.ns == MONO_NEVER.ns)
        return 0;
    return (l->conn->router->now.ns - l->dry_since.ns) / NS_PER_S;
}

void count_present(const struct router *r, struct router_stats *out)
{
    list_for_each (on_router, &r->conns) {
        const struct router_conn *c = list_entry(on_router, struct router_conn, on_router);

        if (c->role == ROUTER_ROLE_SHARD)
            continue; // counted where the client is
        list_for_each (on_conn, &c->links) {
            const struct router_link *l = list_entry(on_conn, struct router_link, on_conn);

            // One whose sender is gone counts where its first copy is.
            out->stuck += l->is_out ? stuck_copies(l, true) : link_stuck(l);
            out->blocked += link_dry_s(l) >= STUCK_S;
        }
    }
}

// ----------------------------------------------------------------------------------- all together

void count_end(struct router *r, struct router_link *in, const struct delivery *d,
               const struct arrival *a, enum amqp_outcome_type type)
{
    bool is_presettled = d ? d->is_presettled : a->is_presettled;
    bool was_counted = d ? d->was_dropped : a->was_dropped;

    if (in->conn->role == ROUTER_ROLE_SHARD)
        return; // counted where its client is
    if (d)
        count_delay(in, d, true);
    if (!is_presettled) {
        count_on_link(in, type);
        r->stats.accepted += type == AMQP_ACCEPTED;
        r->stats.rejected += type == AMQP_REJECTED;
        r->stats.released += type == AMQP_RELEASED;
        r->stats.modified += type == AMQP_MODIFIED;
    } else if (type == AMQP_ACCEPTED) {
        r->stats.presettled++;
        counts_of(in)->presettled++;
    } else {
        r->stats.dropped_presettled += !was_counted;
        counts_of(in)->dropped_presettled++;
        return;
    }
    if (type == AMQP_ACCEPTED || type == AMQP_REJECTED)
        count_rate(&counts_of(in)->rate, r->now);
}

void count_presettled(struct router_link *l)
{
    counts_of(l)->presettled++;
}

void count_sent(struct router_link *l, uint32_t origin)
{
    struct link_counts *c = counts_of(l);

    count_rate(&c->rate, l->conn->router->now);
    if (origin < c->origin_count)
        c->origins[origin]++;
    else
        count_origin(l, origin);
}

void count_left(struct router_link *l, const struct delivery *d, enum amqp_outcome_type type)
{
    count_delay(l, d, false);
    if (type == AMQP_ACCEPTED || type == AMQP_REJECTED)
        count_rate(&counts_of(l)->rate, l->conn->router->now);
    count_origin(l, d->ingress);
}

void count_dropped(struct router_link *l)
{
    counts_of(l)->dropped_presettled++;
    l->conn->router->stats.dropped_presettled++;
}
