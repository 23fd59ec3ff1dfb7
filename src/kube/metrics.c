// SPDX-License-Identifier: Apache-2.0
// What the client counts, under the names that existing dashboards know.
#include <stdlib.h>

#include "base/mem.h"
#include "kube/inside.h"

// The kind of object that a path is about ("secrets"); of others "other". The number of names is
// bounded by the kinds there are.
static struct str resource_of(const char *path)
{
    struct str rest = str_of(path);
    size_t skip = strncmp(path, "/apis/", 6) == 0 ? 3 : 2, at = 0;

    for (; rest.len > 0 && rest.ptr[0] == '/'; at++) {
        size_t len = 0;
        struct str part;

        rest = str_skip(rest, 1);
        while (len < rest.len && rest.ptr[len] != '/' && rest.ptr[len] != '?')
            len++;
        part = (struct str){rest.ptr, len};
        rest = str_skip(rest, len);
        // Behind a namespace's name comes what is in it, if anything does.
        if (at == skip && str_is(part, "namespaces") && rest.len > 0 && rest.ptr[0] == '/' &&
            memchr(rest.ptr + 1, '/', rest.len - 1))
            skip += 2;
        else if (at == skip)
            return part;
    }
    return STR("other");
}

static struct code_count *code_of(struct code_count *all, int code)
{
    size_t i = 0;

    while (i + 1 < CODES_MAX && all[i].count > 0 && all[i].code != code)
        i++;
    all[i].code = code;
    return &all[i];
}

static struct endpoint_times *times_of(struct kube_counts *c, struct str resource)
{
    struct endpoint_times *last = &c->endpoints[ENDPOINTS_MAX - 1];

    for (struct endpoint_times *e = c->endpoints; e < last; e++) {
        if (!e->name[0])
            snprintf(e->name, sizeof(e->name), "%.*s", STR_ARG(resource));
        if (str_is(resource, e->name))
            return e;
    }
    snprintf(last->name, sizeof(last->name), "other");
    return last;
}

void count_answer(struct kube *k, int code)
{
    code_of(k->counts.codes, code)->count++;
}

void count_time(struct kube *k, const char *path, double seconds)
{
    metrics_observe(&times_of(&k->counts, resource_of(path))->times, &metrics_requests, seconds);
}

void count_retry(struct kube *k, int code)
{
    code_of(k->counts.retries, code)->count++;
}

static void put_codes(char **text, const char *name, const char *help, const struct code_count *all)
{
    metrics_head(text, name, "counter", help);
    for (size_t i = 0; i < CODES_MAX && all[i].count > 0; i++) {
        char labels[32];

        if (all[i].code > 0)
            snprintf(labels, sizeof(labels), "status_code=\"%d\"", all[i].code);
        else
            snprintf(labels, sizeof(labels), "status_code=\"<error>\"");
        metrics_line(text, name, labels, all[i].count);
    }
}

void kube_put_metrics(const struct kube *k, char **text)
{
    static const char times[] = "skupper_kubernetes_client_http_request_duration_seconds";

    put_codes(text, "skupper_kubernetes_client_http_requests_total",
              "answers of the API server, by their status", k->counts.codes);
    put_codes(text, "skupper_kubernetes_client_http_retries_total",
              "requests that were tried again, by the status that they had", k->counts.retries);
    metrics_head(text, times, "histogram",
                 "how long requests took, watches left out, by the sort of object");
    for (size_t i = 0; i < ENDPOINTS_MAX && k->counts.endpoints[i].name[0]; i++) {
        char *labels = str_fmt("endpoint=\"%s\"", k->counts.endpoints[i].name);

        metrics_times(text, times, labels, &k->counts.endpoints[i].times, &metrics_requests);
        free(labels);
    }
}
