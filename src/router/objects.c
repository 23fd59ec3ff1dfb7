// SPDX-License-Identifier: Apache-2.0
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "router/core.h"

// What management can see: addresses, links, connections, routers, totals. Rows are made when asked
// for, one at a time.

enum { ROW_MAX = 64 };

// One entity while it is being told; values stand at their attribute's place.
struct row {
    const struct mgmt_type *type;
    struct amqp_val *values[ROW_MAX];
};

static void set(struct row *row, const char *attr, struct amqp_val *take)
{
    for (int i = 0; i < ROW_MAX && row->type->attrs[i].name; i++) {
        if (strcmp(row->type->attrs[i].name, attr) == 0) {
            amqp_val_free(row->values[i]);
            row->values[i] = take;
            return;
        }
    }
    amqp_val_free(take);
}

static void set_text(struct row *row, const char *attr, const char *text)
{
    set(row, attr, text ? amqp_val_string(str_of(text)) : NULL);
}

static void set_count(struct row *row, const char *attr, uint64_t value)
{
    set(row, attr, amqp_val_ulong(value));
}

static void set_int(struct row *row, const char *attr, int64_t value)
{
    set(row, attr, amqp_val_long(value));
}

static void set_bool(struct row *row, const char *attr, bool value)
{
    set(row, attr, amqp_val_bool(value));
}

static void name_row(struct row *row, const char *name, const char *identity)
{
    char *type = str_fmt("io.skupper.router.%s", row->type->name);

    set_text(row, "name", name);
    set_text(row, "identity", identity);
    set_text(row, "type", type);
    free(type);
}

// Tells the row, frees its values; false when no more rows are wanted.
static bool tell(struct row *row, mgmt_emit *emit, void *to)
{
    bool more = emit(to, (const struct amqp_val *const *)row->values);

    for (int i = 0; i < ROW_MAX; i++) {
        amqp_val_free(row->values[i]);
        row->values[i] = NULL;
    }
    return more;
}

static struct row row_of(const char *type)
{
    struct row row = {.type = mgmt_find_type(str_of(type))};

    assert(row.type);
    return row;
}

// The connections of the router and of its shards, one after the other; not those between them.
static struct router_conn *next_conn(struct router *hub, struct router_conn *after)
{
    struct router *part = after ? after->router : hub;
    struct list *node = after ? after->on_router.next : part->conns.next;

    for (uint32_t index = 0; part;) {
        struct router_conn *c = NULL;

        if (node != &part->conns) {
            c = list_entry(node, struct router_conn, on_router);
            if (c->role != ROUTER_ROLE_SHARD)
                return c;
            node = node->next;
            continue;
        }
        while (router_part(hub, index) != part)
            index++;
        part = router_part(hub, index + 1);
        node = part ? part->conns.next : NULL;
    }
    return NULL;
}

// ------------------------------------------------------------------------------------- addresses

static const char *treatment_name(enum router_treatment t)
{
    switch (t) {
    case ROUTER_FLOOD:
        return "flood";
    case ROUTER_MULTICAST:
        return "multicast";
    case ROUTER_CLOSEST:
        return "closest";
    case ROUTER_BALANCED:
        return "balanced";
    case ROUTER_UNAVAILABLE:
        return "unavailable";
    }
    return "balanced";
}

static struct amqp_val *remote_hosts(const struct router *r, const struct address *a)
{
    struct amqp_val *list = amqp_val_list();

    for (uint32_t i = 0; i < a->remote_count; i++)
        amqp_val_append(list, amqp_val_string(routing_id(r->routing, a->remotes[i].node)));
    return list;
}

// Those of the shards are clients of this router like any other; the links between are not.
static uint64_t consumers_of(const struct router *r, const struct address *a)
{
    uint64_t count = 0;

    list_for_each (node, &a->consumers)
        count += list_entry(node, struct router_link, on_address)->conn->role != ROUTER_ROLE_SHARD;
    for (uint32_t i = 0; i < r->shard_count; i++) {
        const struct address *of = address_find_key(r->shards[i], a->key);

        count += of ? of->consumer_count - of->proxy_count : 0;
    }
    return count;
}

// The parts of the router count what passes through each of them.
static uint64_t summed(const struct router *r, const struct address *a, size_t counter)
{
    uint64_t sum = *(const uint64_t *)(const void *)((const char *)a + counter);

    for (uint32_t i = 0; i < r->shard_count; i++) {
        const struct address *of = address_find_key(r->shards[i], a->key);

        sum += of ? *(const uint64_t *)(const void *)((const char *)of + counter) : 0;
    }
    return sum;
}

// By the number of the neighbour that they went through.
static struct amqp_val *transit_outstanding(const struct router *r, const struct address *a)
{
    struct amqp_val *list = NULL;

    if (a->treatment != ROUTER_BALANCED || !a->outstanding)
        return NULL;
    list = amqp_val_list();
    for (uint32_t i = 0; i < r->neighbour_count; i++)
        amqp_val_append(list,
                        amqp_val_long(i < a->outstanding_size ? (int64_t)a->outstanding[i] : 0));
    return list;
}

static void each_address(void *user, mgmt_emit *emit, void *to)
{
    const struct router *r = user;
    struct row row = row_of("router.address");
    struct str key;
    void *value;
    size_t at = 0;

    while (map_next(&r->addresses, &at, &key, &value)) {
        const struct address *a = value;

        name_row(&row, a->key.ptr, a->key.ptr);
        set_text(&row, "key", a->key.ptr);
        set_text(&row, "distribution", treatment_name(a->treatment));
        set_count(&row, "inProcess", a->inside != NULL);
        set_count(&row, "subscriberCount", consumers_of(r, a));
        set_count(&row, "remoteCount", a->remote_count);
        set(&row, "remoteHostRouters", remote_hosts(r, a));
        set_count(&row, "deliveriesIngress", summed(r, a, offsetof(struct address, ingress)));
        set_count(&row, "deliveriesEgress", summed(r, a, offsetof(struct address, egress)));
        set_count(&row, "deliveriesTransit", summed(r, a, offsetof(struct address, transit)));
        set_count(&row, "deliveriesToContainer",
                  summed(r, a, offsetof(struct address, to_container)));
        set_count(&row, "deliveriesFromContainer",
                  summed(r, a, offsetof(struct address, from_container)));
        set_count(&row, "deliveriesEgressRouteContainer", 0);
        set_count(&row, "deliveriesIngressRouteContainer", 0);
        set_count(&row, "deliveriesEgressInterNetwork", 0);
        set_count(&row, "deliveriesIngressInterNetwork", 0);
        set(&row, "transitOutstanding", transit_outstanding(r, a));
        set_count(&row, "trackedDeliveries", a->delivery_refs);
        set_int(&row, "priority", a->priority);
        set_count(&row, "deliveriesRedirectedToFallback", 0);
        set_bool(&row, "watch", !list_empty(&a->watches));
        if (!tell(&row, emit, to))
            return;
    }
}

// ----------------------------------------------------------------------------------------- links

static const char *link_kind_name(const struct router_link *l)
{
    switch (l->kind) {
    case LINK_CONTROL:
        return "router-control";
    case LINK_DATA:
    case LINK_STREAM:
        return "inter-router";
    case LINK_ENDPOINT:
    case LINK_UPLINK:
    case LINK_DOWNLINK:
    case LINK_PROXY_IN:
    case LINK_PROXY_OUT:
    case LINK_TRACKING:
    case LINK_MESH:
    case LINK_INSIDE:
        break;
    }
    return "endpoint";
}

static void link_row(struct row *row, const struct router *hub, const struct router_link *l)
{
    const struct link_counts *counts = link_counts(l);
    char id[32], conn_id[32];

    snprintf(id, sizeof(id), "%" PRIu64, l->id);
    snprintf(conn_id, sizeof(conn_id), "%" PRIu64, l->conn->id);
    name_row(row, id, id);
    if (l->amqp)
        set(row, "linkName", amqp_val_string(amqp_link_name(l->amqp)));
    set_text(row, "linkType", link_kind_name(l));
    set_text(row, "linkDir", l->is_out ? "out" : "in");
    set_text(row, "owningAddr", l->address ? l->address->key.ptr : NULL);
    set_count(row, "capacity", l->capacity);
    set_count(row, "undeliveredCount", l->queue_count);
    set_count(row, "unsettledCount", l->is_out ? l->sent_count : l->open_count);
    set_count(row, "deliveryCount", l->delivery_count);
    set_text(row, "connectionId", conn_id);
    set_text(row, "operStatus", l->is_attached ? "up" : "down");
    set_count(row, "presettledCount", counts->presettled);
    set_count(row, "droppedPresettledCount", counts->dropped_presettled);
    set_count(row, "acceptedCount", counts->accepted);
    set_count(row, "rejectedCount", counts->rejected);
    set_count(row, "releasedCount", counts->released);
    set_count(row, "modifiedCount", counts->modified);
    set_count(row, "deliveriesDelayed1Sec", counts->delayed_1s);
    set_count(row, "deliveriesDelayed10Sec", counts->delayed_10s);
    set_count(row, "deliveriesStuck", link_stuck(l));
    set_count(row, "openMovedStreams", l->moved_count);
    set(row, "ingressHistogram", link_origins(hub, l));
    set_count(row, "priority", l->priority);
    set_count(row, "settleRate", link_settle_rate(l, hub->now));
    set_count(row, "creditAvailable", l->amqp ? amqp_link_credit(l->amqp) : 0);
    set_count(row, "zeroCreditSeconds", (uint64_t)link_dry_s(l));
}

static void each_link(void *user, mgmt_emit *emit, void *to)
{
    struct row row = row_of("router.link");
    struct router_conn *c = NULL;

    while ((c = next_conn(user, c)) != NULL) {
        list_for_each (link, &c->links) {
            link_row(&row, user, list_entry(link, struct router_link, on_conn));
            if (!tell(&row, emit, to))
                return;
        }
    }
}

// ----------------------------------------------------------------------------------- connections

static void connection_row(struct row *row, const struct router_conn *c)
{
    const struct router *r = c->router;
    const struct amqp_peer *peer = c->is_open ? amqp_conn_peer(c->amqp) : NULL;
    char id[32];

    snprintf(id, sizeof(id), "%" PRIu64, c->id);
    char *name = str_fmt("connection/%s", c->host ? c->host : id);

    name_row(row, name, id);
    free(name);
    set_text(row, "host", c->host);
    set_text(row, "localSocket", c->local);
    set_text(row, "role", router_role_name(c->role));
    set_text(row, "protocol", "amqp");
    set_text(row, "dir", c->is_server ? "in" : "out");
    set_text(row, "container", c->container);
    if (peer && peer->sasl_mechanism.len > 0)
        set(row, "sasl", amqp_val_string(peer->sasl_mechanism));
    set_bool(row, "isAuthenticated", c->user != NULL);
    set_text(row, "user", c->user);
    set_bool(row, "isEncrypted", c->tls_protocol != NULL);
    set_text(row, "sslProto", c->tls_protocol);
    set_text(row, "sslCipher", c->tls_cipher);
    set(row, "properties",
        peer && peer->properties ? amqp_val_copy(peer->properties) : amqp_val_map());
    set_count(row, "sslSsf", (uint64_t)c->tls_bits);
    set_bool(row, "ssl", c->tls_protocol != NULL);
    set_bool(row, "opened", c->is_open);
    set_bool(row, "active", c->is_open && !c->is_closed);
    set_text(row, "adminStatus", "enabled");
    set_text(row, "operStatus", c->is_closed ? "closing" : "up");
    if (c->is_open)
        set_count(row, "uptimeSeconds", (uint64_t)(mono_ms_between(c->opened_at, r->now) / 1000));
    if (c->last_delivery.ns)
        set_count(row, "lastDlvSeconds",
                  (uint64_t)(mono_ms_between(c->last_delivery, r->now) / 1000));
    set_bool(row, "enableProtocolTrace", amqp_conn_is_traced(c->amqp));
    set_text(row, "meshId", c->mesh[0] ? c->mesh : NULL);
    set_int(row, "tlsOrdinal", c->tls_ordinal);
    set_text(row, "groupCorrelationId", c->correlator[0] ? c->correlator : NULL);
    set_count(row, "groupOrdinal", c->ordinal);
}

static void each_connection(void *user, mgmt_emit *emit, void *to)
{
    struct row row = row_of("connection");
    struct router_conn *c = NULL;

    while ((c = next_conn(user, c)) != NULL) {
        connection_row(&row, c);
        if (!tell(&row, emit, to))
            return;
    }
}

static struct router_conn *find_connection(struct router *r, struct str identity)
{
    struct router_conn *c = NULL;

    while ((c = next_conn(r, c)) != NULL) {
        char id[32];

        snprintf(id, sizeof(id), "%" PRIu64, c->id);
        if (str_is(identity, id))
            return c;
    }
    return NULL;
}

static int close_connection(struct router_conn *c, struct str status, struct why *why)
{
    if (str_is(status, "enabled"))
        return 0;
    if (c->role != ROUTER_ROLE_NORMAL && c->role != ROUTER_ROLE_ROUTE_CONTAINER) {
        why_set(why,
                "connection %" PRIu64 " has role %s: it would come back by itself; delete its "
                "connector or listener instead",
                c->id, router_role_name(c->role));
        return ERR_UNSUPPORTED;
    }
    amqp_conn_close(c->amqp, "amqp:connection:forced", "closed by management");
    conn_mark(c);
    return 0;
}

static int update_connection(void *user, struct str identity, const struct amqp_val *changes,
                             struct why *why)
{
    struct router_conn *c = find_connection(user, identity);
    struct str status = amqp_val_str(amqp_val_get(changes, "adminStatus"));
    const struct amqp_val *trace = amqp_val_get(changes, "enableProtocolTrace");

    if (!c) {
        why_set(why, "there is no connection %.*s; query type connection for those that are open",
                STR_ARG(identity));
        return ERR_NOT_FOUND;
    }
    if (trace)
        amqp_conn_trace(c->amqp, trace->type == AMQP_BOOL && trace->b);
    return status.len > 0 ? close_connection(c, status, why) : 0;
}

// --------------------------------------------------------------------------------------- routers

static struct amqp_val *link_state(const struct router *r, uint32_t node)
{
    struct amqp_val *list = amqp_val_list();
    struct str id;
    size_t at = 0;
    int cost;

    while (routing_peer_next(r->routing, node, &at, &id, &cost))
        amqp_val_append(list, amqp_val_string(id));
    return list;
}

static struct amqp_val *valid_origins(struct router *r, uint32_t node)
{
    struct amqp_val *list = amqp_val_list();

    for (uint32_t o = 1; o < routing_node_count(r->routing); o++)
        if (o != node && routing_is_reachable(r->routing, o) &&
            routing_is_valid_origin(r->routing, o, node))
            amqp_val_append(list, amqp_val_string(routing_id(r->routing, o)));
    return list;
}

static void node_row(struct row *row, struct router *r, uint32_t node,
                     const struct routing_node_info *info)
{
    char *id = str_dup(info->id), *identity = str_fmt("router.node/%s", id);
    char *address = str_fmt("amqp:/_topo/0/%s", id);

    name_row(row, id, identity);
    set_text(row, "id", id);
    set_int(row, "protocolVersion", info->protocol_version);
    set_int(row, "instance", info->instance);
    set(row, "linkState", link_state(r, node));
    if (node == ROUTING_SELF)
        set_text(row, "nextHop", "(self)");
    else if (info->next_hop_node != ROUTING_NO_NODE && info->next_hop_node != node)
        set(row, "nextHop", amqp_val_string(routing_id(r->routing, info->next_hop_node)));
    set(row, "validOrigins", valid_origins(r, node));
    set_text(row, "address", address);
    if (info->link != ROUTING_NO_LINK)
        set_count(row, "routerLink", info->link);
    if (node != ROUTING_SELF)
        set_int(row, "cost", info->cost);
    else
        set_int(row, "lastTopoChange", info->last_topology_change.ns / NS_PER_S);
    set_count(row, "index", node);
    free(id);
    free(identity);
    free(address);
}

static void each_node(void *user, mgmt_emit *emit, void *to)
{
    struct router *r = user;
    struct row row = row_of("router.node");
    struct routing_node_info info;

    for (uint32_t i = 0; r->routing && i < routing_node_count(r->routing); i++) {
        if (!routing_info(r->routing, i, &info) ||
            (i != ROUTING_SELF && !routing_is_reachable(r->routing, i)))
            continue;
        node_row(&row, r, i, &info);
        if (!tell(&row, emit, to))
            return;
    }
}

// --------------------------------------------------------------------------------------- totals

static void each_metrics(void *user, mgmt_emit *emit, void *to)
{
    const struct router *r = user;
    // Of things that do not exist here.
    static const char *const unknown[] = {
        "deliveriesIngressRouteContainer", "deliveriesEgressRouteContainer",
        "deliveriesIngressInterNetwork", "deliveriesEgressInterNetwork"};
    struct amqp_val *connections = amqp_val_map();
    struct router_stats s;
    struct row row = row_of("routerMetrics");

    router_stats(r, &s);
    name_row(&row, "routerMetrics", "routerMetrics");
    set_count(&row, "addrCount", s.addresses);
    set_count(&row, "linkCount", s.links);
    set_count(&row, "nodeCount", s.nodes);
    set_count(&row, "autoLinkCount", 0);
    set_count(&row, "connectionCount", s.connections);
    set_count(&row, "presettledDeliveries", s.presettled);
    set_count(&row, "droppedPresettledDeliveries", s.dropped_presettled);
    set_count(&row, "acceptedDeliveries", s.accepted);
    set_count(&row, "rejectedDeliveries", s.rejected);
    set_count(&row, "releasedDeliveries", s.released);
    set_count(&row, "modifiedDeliveries", s.modified);
    set_count(&row, "deliveriesIngress", s.ingress);
    set_count(&row, "deliveriesEgress", s.egress);
    set_count(&row, "deliveriesTransit", s.transit);
    for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++)
        set_count(&row, unknown[i], 0);
    set_count(&row, "deliveriesStuck", s.stuck);
    set_count(&row, "deliveriesDelayed1Sec", s.delayed_1s);
    set_count(&row, "deliveriesDelayed10Sec", s.delayed_10s);
    if (r->resident_bytes)
        set_count(&row, "residentMemoryUsage", r->resident_bytes());
    set_count(&row, "memoryUsage", s.stored_bytes);
    amqp_val_set(connections, "amqp", amqp_val_ulong(s.connections));
    set(&row, "connectionCounters", connections);
    set_count(&row, "uptimeSeconds", (uint64_t)(mono_ms_between(r->started, r->now) / 1000));
    tell(&row, emit, to);
}

static struct amqp_val *management_nodes(void *user)
{
    const struct router *r = user;
    struct amqp_val *list = amqp_val_list();
    char *own = str_fmt("amqp:/_topo/0/%s/$management", r->id);

    amqp_val_append(list, amqp_val_string(str_of(own)));
    free(own);
    for (uint32_t i = 1; r->routing && i < routing_node_count(r->routing); i++) {
        if (!routing_is_reachable(r->routing, i))
            continue;

        char *text = str_fmt("amqp:/_topo/0/%.*s/$management", STR_ARG(routing_id(r->routing, i)));

        amqp_val_append(list, amqp_val_string(str_of(text)));
        free(text);
    }
    return list;
}

void objects_register(struct router *r)
{
    static const struct {
        const char *type;
        void (*each)(void *user, mgmt_emit *emit, void *to);
        int (*update)(void *user, struct str identity, const struct amqp_val *changes,
                      struct why *why);
    } kinds[OBJECT_KINDS] = {
        {"router.address", each_address, NULL},
        {"router.link", each_link, NULL},
        {"connection", each_connection, update_connection},
        {"router.node", each_node, NULL},
        {"routerMetrics", each_metrics, NULL},
    };

    for (int i = 0; i < OBJECT_KINDS; i++) {
        r->providers[i] = (struct mgmt_provider){
            .type = mgmt_find_type(str_of(kinds[i].type)),
            .user = r,
            .each = kinds[i].each,
            .update = kinds[i].update,
        };
        mgmt_agent_add(r->agent, &r->providers[i]);
    }
    mgmt_agent_set_nodes(r->agent, management_nodes, r);
}
