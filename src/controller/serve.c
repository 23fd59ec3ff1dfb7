// SPDX-License-Identifier: Apache-2.0
// /healthz says that the controller lives; /metrics counts in the form that Prometheus reads.
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/metrics.h"
#include "controller/shell.h"
#include "web/web.h"

enum { VISITS_MAX = 64 };

static int healthz(void *user, char **text)
{
    (void)user;
    *text = xstrdup("OK\n");
    return 200;
}

// Under the names of the existing product, whose queues have an event each; ours have namespaces,
// which many events mark once.
static void put_queue(const struct controller *c, char **text)
{
    static const char adds[] = "skupper_workqueue_adds_total", ns[] = "kind=\"Namespace\"";
    const struct counters *k = &c->counters;

    metrics_head(text, adds, "counter", "events of watches; times a namespace was to be computed");
    metrics_line(text, adds, ns, k->marks);
    for (size_t i = 0; controller_kinds[i].api_version; i++) {
        const char *name = controller_kinds[i].name;
        char *labels =
            str_fmt("kind=\"%s%s%s\"", controller_kinds[i].kind, name ? "/" : "", name ? name : "");

        if (k->news[i] > 0)
            metrics_line(text, adds, labels, k->news[i]);
        free(labels);
    }
    metrics_head(text, "skupper_workqueue_depth", "gauge", "namespaces to be computed");
    metrics_line(text, "skupper_workqueue_depth", ns, spaces_waiting(c));
    metrics_head(text, "skupper_workqueue_delay_seconds", "histogram", "how long each waited");
    metrics_times(text, "skupper_workqueue_delay_seconds", ns, &k->waited, &metrics_work);
    metrics_head(text, "skupper_workqueue_duration_seconds", "histogram", "how long each took");
    metrics_times(text, "skupper_workqueue_duration_seconds", ns, &k->took, &metrics_work);
    metrics_head(text, "skupper_workqueue_retries_total", "counter",
                 "times that something has to be tried again");
    metrics_line(text, "skupper_workqueue_retries_total", ns, k->retries);
}

static int metrics(void *user, char **text)
{
    const struct controller *c = user;

    metrics_put(text, "skupper_controller_plans_total", "counter", "namespaces computed",
                c->counters.plans);
    metrics_put(text, "skupper_controller_writes_total", "counter",
                "writes asked of the API server", c->counters.writes);
    metrics_put(text, "skupper_controller_refusals_total", "counter",
                "writes that the API server refused", c->counters.refusals);
    metrics_put(text, "skupper_controller_events_total", "counter", "events told",
                c->counters.events);
    metrics_put(text, "skupper_controller_leader", "gauge", "1: this one acts", c->is_leader);
    metrics_put(text, "skupper_controller_namespaces", "gauge",
                "namespaces of which something is remembered", c->spaces.count);
    put_queue(c, text);
    kube_put_metrics(c->kube, text);
    metrics_process(text);
    return 200;
}

int serve_new(struct controller *c, const char *address, struct web **out, struct why *why)
{
    static const struct web_page pages[] = {
        {"/healthz", WEB_TEXT, healthz}, {"/metrics", WEB_METRICS, metrics}, {0}};
    struct web *w =
        web_new(&(struct web_opts){.visits_max = VISITS_MAX, .pages = pages, .user = c});
    const char *colon = strrchr(address, ':');
    char *host = colon ? str_dup((struct str){address, (size_t)(colon - address)}) : xstrdup("");
    struct net_listener_opts where = {.host = host, .port = colon ? colon + 1 : address};
    int err = web_listen(w, c->loop, &where, why);

    free(host);
    if (err < 0) {
        why_prefix(why, "metrics");
        web_free(w);
        return err;
    }
    *out = w;
    return 0;
}
