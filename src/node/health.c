// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "http/http.h"
#include "node/parts.h"

// HTTP on a listener with http: yes. /healthz says that the router serves; /metrics counts in the
// form that Prometheus reads.

enum {
    REQUEST_MS = 30000,   // for the next request to be whole, and for its answer to be read
    OUT_MAX = 256 * 1024, // of answers that wait to be read
};

struct health {
    struct node *node;
    struct http_conn *http;
    struct net_stream *stream;
    struct mono give_up;
    bool healthz, metrics;
};

uint64_t health_resident_bytes(void)
{
    unsigned long size = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "re");

    if (f) {
        if (fscanf(f, "%lu %lu", &size, &resident) != 2)
            resident = 0;
        fclose(f);
    }
    return resident * (unsigned long)sysconf(_SC_PAGESIZE);
}

static void put(char **text, const char *name, const char *kind, const char *help,
                unsigned long value)
{
    char *more = str_fmt("%s# HELP %s %s\n# TYPE %s %s\n%s %lu\n", *text ? *text : "", name, help,
                         name, kind, name, value);

    free(*text);
    *text = more;
}

static char *metrics_text(const struct node *n)
{
    struct router_stats s;
    char *text = NULL;

    router_stats(n->router, &s);
    put(&text, "qdr_connections_total", "gauge", "open connections", s.connections);
    put(&text, "qdr_links_total", "gauge", "open links", s.links);
    put(&text, "qdr_addresses_total", "gauge", "known addresses", s.addresses);
    put(&text, "qdr_routers_total", "gauge", "reachable routers, this one included", s.nodes);
    put(&text, "qdr_presettled_deliveries_total", "counter", "pre-settled deliveries passed on",
        s.presettled);
    put(&text, "qdr_dropped_presettled_deliveries_total", "counter",
        "pre-settled deliveries that found nobody", s.dropped_presettled);
    put(&text, "qdr_accepted_deliveries_total", "counter", "deliveries accepted", s.accepted);
    put(&text, "qdr_rejected_deliveries_total", "counter", "deliveries rejected", s.rejected);
    put(&text, "qdr_released_deliveries_total", "counter", "deliveries released", s.released);
    put(&text, "qdr_modified_deliveries_total", "counter", "deliveries modified", s.modified);
    put(&text, "qdr_deliveries_ingress_total", "counter", "deliveries from clients", s.ingress);
    put(&text, "qdr_deliveries_transit_total", "counter", "deliveries from other routers",
        s.transit);
    put(&text, "qdr_stored_bytes", "gauge", "bytes of messages held for slow consumers",
        s.stored_bytes);
    put(&text, "process_resident_memory_bytes", "gauge", "memory in use", health_resident_bytes());
    return text;
}

static void respond(struct health *h, const struct http_request *request, struct mono now)
{
    h->give_up = mono_add_ms(now, REQUEST_MS);
    if (!str_is(request->method, "GET") && !str_is(request->method, "HEAD")) {
        http_conn_respond(h->http, 405, "text/plain", STR("only GET and HEAD\n"));
    } else if (h->healthz && str_is(request->path, "/healthz")) {
        http_conn_respond(h->http, 200, "text/plain", STR("OK\n"));
    } else if (h->metrics && str_is(request->path, "/metrics")) {
        char *text = metrics_text(h->node);

        http_conn_respond(h->http, 200, "text/plain; version=0.0.4", str_of(text));
        free(text);
    } else {
        http_conn_respond(h->http, 404, "text/plain", STR("there are /healthz and /metrics\n"));
    }
}

// Answers what is there, as long as the answers are read.
static void serve(struct health *h, struct mono now)
{
    struct http_request request;

    while (http_conn_output(h->http)->len < OUT_MAX && http_conn_next(h->http, &request))
        respond(h, &request, now);
    net_want_write(h->stream);
}

static void feed(void *e, const uint8_t *data, size_t len, struct mono now)
{
    struct health *h = e;

    while (len > 0) {
        size_t taken = http_conn_feed(h->http, data, len);

        if (taken == 0) {
            net_stream_drop(h->stream, "more requests than it reads answers to");
            return;
        }
        data += taken;
        len -= taken;
        serve(h, now);
    }
}

static struct buf *output(void *e, struct mono now)
{
    struct health *h = e;

    (void)now;
    return http_conn_output(h->http);
}

static void sent(void *e, struct mono now)
{
    serve(e, now);
}

static struct mono deadline(const void *e)
{
    const struct health *h = e;

    return h->give_up;
}

static void tick(void *e, struct mono now)
{
    struct health *h = e;

    if (!mono_before(now, h->give_up))
        net_stream_drop(h->stream, "no request in time");
}

static bool is_paused(const void *e)
{
    const struct health *h = e;

    return pool_is_short(h->node->pool) || http_conn_output(h->http)->len >= OUT_MAX;
}

static bool is_finished(const void *e)
{
    const struct health *h = e;

    return http_conn_is_finished(h->http);
}

static void lost(void *e, const char *why, struct mono now)
{
    struct health *h = e;

    (void)why;
    (void)now;
    http_conn_free(h->http);
    free(h);
}

static const struct net_engine_ops health_ops = {
    .feed = feed,
    .output = output,
    .sent = sent,
    .deadline = deadline,
    .tick = tick,
    .is_paused = is_paused,
    .is_finished = is_finished,
    .lost = lost,
};

void *health_accepted(struct part *p, struct net_stream *s, const struct net_engine_ops **ops,
                      struct mono now)
{
    struct health *h = xcalloc(1, sizeof(*h));

    h->node = p->node;
    h->stream = s;
    h->http = http_conn_new(p->node->pool);
    h->give_up = mono_add_ms(now, REQUEST_MS);
    h->healthz = mgmt_entity_bool(p->entity, "healthz");
    h->metrics = mgmt_entity_bool(p->entity, "metrics");
    *ops = &health_ops;
    return h;
}
