// SPDX-License-Identifier: Apache-2.0
#include "base/mem.h"
#include "base/metrics.h"
#include "node/parts.h"
#include "web/web.h"

// HTTP on a listener with http: yes. /healthz says that the router serves, /healthz/ready whether
// clients may be sent to it; /metrics counts in the form that Prometheus reads. A router that has
// only /healthz answers there for both.

enum { UNREAD_MAX = 256 * 1024 }; // bytes of answers to one that asks on

static int healthz(void *user, char **text)
{
    (void)user;
    *text = xstrdup("OK\n");
    return 200;
}

static int ready(void *user, char **text)
{
    if (!node_is_ready(user, text))
        return 503;
    *text = xstrdup("OK\n");
    return 200;
}

static int metrics(void *user, char **text)
{
    const struct node *n = user;
    struct router_stats s;
    struct flow_stats f;

    router_stats(n->router, &s);
    flow_stats(n->flow, &f);
    metrics_put(text, "qdr_connections_total", "gauge", "open connections", s.connections);
    metrics_put(text, "qdr_links_total", "gauge", "open links", s.links);
    metrics_put(text, "qdr_addresses_total", "gauge", "known addresses", s.addresses);
    metrics_put(text, "qdr_routers_total", "gauge", "reachable routers, this one included",
                s.nodes);
    metrics_put(text, "qdr_presettled_deliveries_total", "counter",
                "pre-settled deliveries passed on", s.presettled);
    metrics_put(text, "qdr_dropped_presettled_deliveries_total", "counter",
                "pre-settled deliveries that found nobody, or not everybody", s.dropped_presettled);
    metrics_put(text, "qdr_accepted_deliveries_total", "counter", "deliveries accepted",
                s.accepted);
    metrics_put(text, "qdr_rejected_deliveries_total", "counter", "deliveries rejected",
                s.rejected);
    metrics_put(text, "qdr_released_deliveries_total", "counter", "deliveries released",
                s.released);
    metrics_put(text, "qdr_modified_deliveries_total", "counter", "deliveries modified",
                s.modified);
    metrics_put(text, "qdr_deliveries_ingress_total", "counter", "deliveries from clients",
                s.ingress);
    metrics_put(text, "qdr_deliveries_egress_total", "counter", "deliveries to clients", s.egress);
    metrics_put(text, "qdr_deliveries_transit_total", "counter", "deliveries from other routers",
                s.transit);
    metrics_put(text, "qdr_deliveries_delayed_1sec_total", "counter",
                "deliveries that were here for 1 to 10 seconds", s.delayed_1s);
    metrics_put(text, "qdr_deliveries_delayed_10sec_total", "counter",
                "deliveries that were here for more than 10 seconds", s.delayed_10s);
    metrics_put(text, "qdr_deliveries_stuck_total", "gauge",
                "deliveries that are here for more than 10 seconds", s.stuck);
    metrics_put(text, "qdr_links_blocked_total", "gauge",
                "links without credit for more than 10 seconds", s.blocked);
    // What this router does not have, so that what is computed of these names goes on.
    metrics_put(text, "qdr_link_routes_total", "gauge", "there are no link routes here", 0);
    metrics_put(text, "qdr_auto_links_total", "gauge", "there are no auto links here", 0);
    metrics_put(text, "qdr_deliveries_ingress_route_container_total", "counter",
                "those of route containers are counted with clients", 0);
    metrics_put(text, "qdr_deliveries_egress_route_container_total", "counter",
                "those of route containers are counted with clients", 0);
    metrics_put(text, "qdr_deliveries_redirected_to_fallback_total", "counter",
                "there are no fallback addresses here", 0);
    metrics_put(text, "qdr_stored_bytes", "gauge", "bytes of messages held for slow consumers",
                s.stored_bytes);
    metrics_put(text, "skupper_flow_records", "gauge",
                "connections and requests told to collectors now", f.traffic);
    metrics_put(text, "skupper_flow_records_dropped_total", "counter",
                "connections, requests and others not told to collectors, as there were too many",
                f.dropped);
    metrics_process(text);
    return 200;
}

struct web *health_new(struct node *n)
{
    return web_new(&(struct web_opts){.pool = n->pool, .unread_max = UNREAD_MAX, .user = n});
}

void *health_accepted(struct part *p, struct net_stream *s, const struct net_engine_ops **ops,
                      struct mono now)
{
    static const struct web_page pages[] = {{"/healthz", WEB_TEXT, healthz},
                                            {"/healthz/ready", WEB_TEXT, ready},
                                            {"/metrics", WEB_METRICS, metrics},
                                            {0}};
    static const struct web_page health_alone[] = {
        {"/healthz", WEB_TEXT, healthz}, {"/healthz/ready", WEB_TEXT, ready}, {0}};
    bool has_healthz = mgmt_entity_bool(p->entity, "healthz");
    bool has_metrics = mgmt_entity_bool(p->entity, "metrics");
    const struct web_page *first = has_healthz ? pages : pages + 2;

    if (!has_metrics)
        first = has_healthz ? health_alone : pages + 3;
    return web_accept(p->node->web, first, s, ops, now);
}
