// SPDX-License-Identifier: Apache-2.0
#include "base/mem.h"
#include "node/parts.h"
#include "web/web.h"

// HTTP on a listener with http: yes. /healthz says that the router serves; /metrics counts in the
// form that Prometheus reads.

enum { UNREAD_MAX = 256 * 1024 }; // bytes of answers to one that asks on

static int healthz(void *user, char **text)
{
    (void)user;
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
    web_put_metric(text, "qdr_connections_total", "gauge", "open connections", s.connections);
    web_put_metric(text, "qdr_links_total", "gauge", "open links", s.links);
    web_put_metric(text, "qdr_addresses_total", "gauge", "known addresses", s.addresses);
    web_put_metric(text, "qdr_routers_total", "gauge", "reachable routers, this one included",
                   s.nodes);
    web_put_metric(text, "qdr_presettled_deliveries_total", "counter",
                   "pre-settled deliveries passed on", s.presettled);
    web_put_metric(text, "qdr_dropped_presettled_deliveries_total", "counter",
                   "pre-settled deliveries that found nobody, or not everybody",
                   s.dropped_presettled);
    web_put_metric(text, "qdr_accepted_deliveries_total", "counter", "deliveries accepted",
                   s.accepted);
    web_put_metric(text, "qdr_rejected_deliveries_total", "counter", "deliveries rejected",
                   s.rejected);
    web_put_metric(text, "qdr_released_deliveries_total", "counter", "deliveries released",
                   s.released);
    web_put_metric(text, "qdr_modified_deliveries_total", "counter", "deliveries modified",
                   s.modified);
    web_put_metric(text, "qdr_deliveries_ingress_total", "counter", "deliveries from clients",
                   s.ingress);
    web_put_metric(text, "qdr_deliveries_egress_total", "counter", "deliveries to clients",
                   s.egress);
    web_put_metric(text, "qdr_deliveries_transit_total", "counter", "deliveries from other routers",
                   s.transit);
    web_put_metric(text, "qdr_deliveries_delayed_1sec_total", "counter",
                   "deliveries that were here for 1 to 10 seconds", s.delayed_1s);
    web_put_metric(text, "qdr_deliveries_delayed_10sec_total", "counter",
                   "deliveries that were here for more than 10 seconds", s.delayed_10s);
    web_put_metric(text, "qdr_deliveries_stuck_total", "gauge",
                   "deliveries that are here for more than 10 seconds", s.stuck);
    web_put_metric(text, "qdr_links_blocked_total", "gauge",
                   "links without credit for more than 10 seconds", s.blocked);
    web_put_metric(text, "qdr_stored_bytes", "gauge", "bytes of messages held for slow consumers",
                   s.stored_bytes);
    web_put_metric(text, "skupper_flow_records", "gauge",
                   "connections and requests told to collectors now", f.traffic);
    web_put_metric(
        text, "skupper_flow_records_dropped_total", "counter",
        "connections, requests and others not told to collectors, as there were too many",
        f.dropped);
    web_put_metric(text, "process_resident_memory_bytes", "gauge", "memory in use",
                   mem_resident_bytes());
    return 200;
}

struct web *health_new(struct node *n)
{
    return web_new(&(struct web_opts){.pool = n->pool, .unread_max = UNREAD_MAX, .user = n});
}

void *health_accepted(struct part *p, struct net_stream *s, const struct net_engine_ops **ops,
                      struct mono now)
{
    static const struct web_page pages[] = {
        {"/healthz", WEB_TEXT, healthz}, {"/metrics", WEB_METRICS, metrics}, {0}};
    static const struct web_page healthz_alone[] = {{"/healthz", WEB_TEXT, healthz}, {0}};
    bool has_healthz = mgmt_entity_bool(p->entity, "healthz");
    bool has_metrics = mgmt_entity_bool(p->entity, "metrics");
    const struct web_page *first = has_healthz ? pages : pages + 1;

    if (!has_metrics)
        first = has_healthz ? healthz_alone : pages + 2;
    return web_accept(p->node->web, first, s, ops, now);
}
