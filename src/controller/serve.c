// SPDX-License-Identifier: Apache-2.0
// /healthz says that the controller lives; /metrics counts in the form that Prometheus reads.
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "controller/shell.h"
#include "web/web.h"

enum { VISITS_MAX = 64 };

static int healthz(void *user, char **text)
{
    (void)user;
    *text = xstrdup("OK\n");
    return 200;
}

static int metrics(void *user, char **text)
{
    const struct controller *c = user;

    web_put_metric(text, "skupper_controller_plans_total", "counter", "namespaces computed",
                   c->counters.plans);
    web_put_metric(text, "skupper_controller_writes_total", "counter",
                   "writes asked of the API server", c->counters.writes);
    web_put_metric(text, "skupper_controller_refusals_total", "counter",
                   "writes that the API server refused", c->counters.refusals);
    web_put_metric(text, "skupper_controller_events_total", "counter", "events told",
                   c->counters.events);
    web_put_metric(text, "skupper_controller_leader", "gauge", "1: this one acts", c->is_leader);
    web_put_metric(text, "process_resident_memory_bytes", "gauge", "memory in use",
                   mem_resident_bytes());
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
