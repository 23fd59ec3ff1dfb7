// SPDX-License-Identifier: Apache-2.0
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "router/core.h"

// The router: how its parts fit together. Read core.h for the objects, then follow a message:
//
//   conn.c       events of a connection's AMQP engine are told apart and handed on
//   link.c       links: who may attach to what, credit, the queue of an outgoing link
//   delivery.c   one message: its bytes while they must be kept, its copies, its outcome
//   forward.c    the choice: which consumer, which next hop, how many copies; once.c: no copy twice
//   lag.c        consumers of pre-settled multicasts that do not keep up; count.c: what is counted
//   address.c    the table of addresses and of who consumes them; rules.c: their treatment
//   network.c    neighbours: control, data and streaming links, and the glue to routing.h
//   edge.c       edge routers, at both ends of their uplink
//   routing.c …  the routing protocol, a value of its own that sees only control messages
//   inside.c     consumers inside the router: management
//   stream.c     ends of streams inside the process: TCP services
//   objects.c    what management can see of all this
//
// A whole, pre-settled message for a link that is ready passes through without an object of its
// own: it is parsed in place, and its bytes go from the input to the output of the next connection.
// An unsettled one leaves a small struct delivery behind, which waits for the outcome. Bytes are
// kept (struct chunk) only when the next link is not ready or the message is not complete.
//
// Nothing here looks at a clock or sleeps; everything that follows from an input is done before the
// call that brought it returns.

enum { STORED_MAX = 64 * 1024 * 1024 };

struct router *router_new(const struct router_opts *opts, struct mono now)
{
    struct router *r = xcalloc(1, sizeof(*r));

    r->id = xstrdup(opts->id);
    r->node_text = str_fmt("0/%s", opts->id);
    r->resident_bytes = opts->resident_bytes;
    r->version = xstrdup(opts->version ? opts->version : "0");
    r->mode = opts->mode;
    r->hub_mode = opts->hub_mode;
    r->default_treatment = opts->default_treatment;
    r->pool = opts->pool;
    r->stored_max = opts->stored_max ? opts->stored_max : STORED_MAX;
    r->now = r->started = now;
    r->next_id = 1 + ((uint64_t)opts->shard << 40); // told apart by management
    rng_init(&r->rng, opts->seed);
    once_init(r);
    rng_id(&r->rng, r->mesh);
    map_init(&r->addresses);
    map_init(&r->rules);
    list_init(&r->changed_addresses);
    list_init(&r->conns);
    list_init(&r->dirty);
    list_init(&r->surplus);
    list_init(&r->data_conns);
    list_init(&r->lagging);
    list_init(&r->full);
    map_init(&r->origins);
    r->scrub_at = r->lag_at = MONO_NEVER;
    r->events = xcalloc(ROUTER_EVENT_MAX, sizeof(*r->events));
    if (opts->mode == ROUTER_INTERIOR) {
        struct routing_opts routing = {
            .id = opts->id,
            .instance = opts->instance,
            .hello_interval_ms = opts->hello_interval_ms,
            .hello_max_age_ms = opts->hello_max_age_ms,
            .ra_interval_ms = opts->ra_interval_ms,
            .ra_interval_flux_ms = opts->ra_interval_flux_ms,
            .remote_ls_max_age_ms = opts->remote_ls_max_age_ms,
            .seed = opts->seed,
        };

        r->routing = routing_new(&routing, now);
    }
    if (opts->mode != ROUTER_SHARD) {
        inside_init(r);
        stream_init(r);
    }
    return r;
}

void router_rest(struct router *r)
{
    deliveries_free(r);
    list_for_each (node, &r->conns)
        amqp_conn_rest(list_entry(node, struct router_conn, on_router)->amqp);
}

void router_free(struct router *r)
{
    if (!r)
        return;
    assert(list_empty(&r->conns));
    stream_fini(r);
    routing_free(r->routing);
    address_free_all(r);
    rules_free(r);
    deliveries_free(r);
    once_fini(r);
    map_fini(&r->origins);
    free(r->events);
    free(r->id);
    free(r->node_text);
    free(r->version);
    free(r);
}

void router_add_shard(struct router *hub, struct router *shard)
{
    assert(hub->shard_count < ROUTER_SHARDS_MAX && shard->mode == ROUTER_SHARD);
    hub->shards[hub->shard_count++] = shard;
    shard->hub = hub;
}

void router_set_hold(struct router *hub, void (*hold)(void *user, bool on), void *user)
{
    hub->hold = hold;
    hub->hold_user = user;
}

struct router *router_part(struct router *r, uint32_t index)
{
    if (index == 0)
        return r;
    return index <= r->shard_count ? r->shards[index - 1] : NULL;
}

void router_hold(const struct router *r, bool on)
{
    if (r->hold)
        r->hold(r->hold_user, on);
}

void router_set_agent(struct router *r, struct mgmt_agent *agent)
{
    r->agent = agent;
    objects_register(r);
}

const char *router_role_name(enum router_role role)
{
    switch (role) {
    case ROUTER_ROLE_NORMAL:
        return "normal";
    case ROUTER_ROLE_INTER_ROUTER:
        return "inter-router";
    case ROUTER_ROLE_ROUTE_CONTAINER:
        return "route-container";
    case ROUTER_ROLE_EDGE:
        return "edge";
    case ROUTER_ROLE_INTER_ROUTER_DATA:
        return "inter-router-data";
    case ROUTER_ROLE_INTER_EDGE:
        return "inter-edge";
    case ROUTER_ROLE_SHARD:
        return "shard";
    case ROUTER_ROLE_INTER_NETWORK:
        return "inter-network";
    }
    return "unknown";
}

// When nobody listens the oldest events are lost, never the newest.
void event_add(struct router *r, enum router_event_type type, struct router_conn *c,
               const char *fmt, ...)
{
    if (r->event_count == ROUTER_EVENT_MAX) {
        r->event_first = (r->event_first + 1) % ROUTER_EVENT_MAX;
        r->event_count--;
    }

    struct router_event *ev = &r->events[(r->event_first + r->event_count++) % ROUTER_EVENT_MAX];
    va_list args;

    ev->type = type;
    ev->conn = c;
    va_start(args, fmt);
    vsnprintf(ev->text, sizeof(ev->text), fmt, args);
    va_end(args);
}

bool router_next_event(struct router *r, struct router_event *ev)
{
    if (r->event_count == 0)
        return false;
    *ev = r->events[r->event_first];
    r->event_first = (r->event_first + 1) % ROUTER_EVENT_MAX;
    r->event_count--;
    return true;
}

struct mono router_now(const struct router *r)
{
    return r->now;
}

struct mono router_deadline(const struct router *r)
{
    struct mono at = mono_min(r->scrub_at, r->lag_at);

    return r->routing ? mono_min(routing_deadline(r->routing), at) : at;
}

void router_tick(struct router *r, struct mono now)
{
    r->now = now;
    if (r->routing && !mono_before(now, routing_deadline(r->routing)))
        routing_tick(r->routing, now);
    network_tick(r);
    lag_tick(r);
    router_settle(r);
}

void router_settle(struct router *r)
{
    do {
        address_settle_changes(r);
        network_poll(r);
        network_trim_streams(r);
    } while (!list_empty(&r->changed_addresses));
}

struct router_conn *router_next_dirty(struct router *r)
{
    struct list *node = list_pop(&r->dirty);

    return node ? list_entry(node, struct router_conn, on_dirty) : NULL;
}

static void add_stats(struct router_stats *out, const struct router *r)
{
    out->accepted += r->stats.accepted;
    out->rejected += r->stats.rejected;
    out->released += r->stats.released;
    out->modified += r->stats.modified;
    out->presettled += r->stats.presettled;
    out->dropped_presettled += r->stats.dropped_presettled;
    out->ingress += r->stats.ingress;
    out->egress += r->stats.egress;
    out->transit += r->stats.transit;
    out->delayed_1s += r->stats.delayed_1s;
    out->delayed_10s += r->stats.delayed_10s;
    count_present(r, out);
    out->links += r->link_count;
    out->connections += r->conn_count;
    out->deliveries += r->delivery_count;
    out->stored_bytes += r->stored;
}

void router_stats(const struct router *r, struct router_stats *out)
{
    *out = (struct router_stats){.addresses = r->addresses.count, .nodes = router_node_count(r)};
    router_hold(r, true);
    add_stats(out, r);
    for (uint32_t i = 0; i < r->shard_count; i++)
        add_stats(out, r->shards[i]);
    router_hold(r, false);
}

uint32_t router_node_count(const struct router *r)
{
    uint32_t count = 1;

    if (!r->routing)
        return 1;
    for (uint32_t i = 1; i < routing_node_count(r->routing); i++)
        count += routing_is_reachable(r->routing, i);
    return count;
}

int router_cost_to(const struct router *r, const char *node_id)
{
    uint32_t node = r->routing ? routing_find(r->routing, str_of(node_id)) : ROUTING_NO_NODE;

    if (node == ROUTING_NO_NODE || !routing_is_reachable(r->routing, node))
        return -1;
    return routing_cost(r->routing, node);
}

bool router_reaches(const struct router *r, const char *node_id)
{
    return router_cost_to(r, node_id) >= 0;
}
