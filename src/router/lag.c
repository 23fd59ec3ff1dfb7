// SPDX-License-Identifier: Apache-2.0
#include "router/core.h"

// Consumers of pre-settled multicasts that do not keep up. Their senders get credit back when every
// copy has left, so whoever falls behind holds them at its pace, and nothing is lost. That ends
// where a consumer has taken nothing at all for LAG_MS: it is stuck. What waits for it is dropped
// and counted, and what comes then passes it by, until it takes something again. So a consumer that
// has stopped holds nobody for longer.
//
// Who cannot be held back (another make of router, the router itself) loses what a consumer's queue
// has no room for.

enum { LAG_MS = 5000, LOOK_MS = 1000, QUEUE_MAX = 2 * LINK_CAPACITY };

void lag_note(struct router_link *l)
{
    struct router *r = l->conn->router;

    if (l->kind != LINK_ENDPOINT || !list_empty(&l->on_lagging))
        return;
    list_append(&r->lagging, &l->on_lagging);
    r->lag_at = mono_min(r->lag_at, mono_add_ms(r->now, LOOK_MS));
}

bool lag_passes_by(const struct router_link *l, bool is_held_back)
{
    return l->is_stuck || (!is_held_back && l->queue_count >= QUEUE_MAX);
}

static void drop_waiting(struct router_link *l)
{
    list_for_each (node, &l->queue) {
        struct outgoing *o = list_entry(node, struct outgoing, on_link);

        if (!o->delivery->is_presettled || !o->delivery->is_multicast)
            continue;
        o->delivery->was_dropped = true;
        count_dropped(l);
        outgoing_finish(o, &(struct amqp_outcome){.type = AMQP_RELEASED});
    }
}

void lag_tick(struct router *r)
{
    if (mono_before(r->now, r->lag_at))
        return;
    list_for_each (node, &r->lagging) {
        struct router_link *l = list_entry(node, struct router_link, on_lagging);

        if (l->queue_count > 0 && mono_before(r->now, mono_add_ms(l->stalled_since, LAG_MS)))
            continue;
        list_remove(node);
        if (l->queue_count == 0)
            continue;
        l->is_stuck = true;
        drop_waiting(l);
    }
    r->lag_at = list_empty(&r->lagging) ? MONO_NEVER : mono_add_ms(r->now, LOOK_MS);
}
