// SPDX-License-Identifier: Apache-2.0
// Headless services of other sites: each pod there is reached here as POD.ADDRESS. A pod has a
// Service of its name that leads to the router (the model's exposePodsByName). The Service of the
// address is headless, and an EndpointSlice of ours says that its endpoints are these Services,
// each with the name of its pod: so the name service of the cluster answers as it does where the
// pods are, and each port is the one that it is there.
//
// Without the right to EndpointSlices the pods are reached by their names alone, and the Service of
// the address leads to any of them.
#include <stdlib.h>

#include "base/mem.h"
#include "controller/inside.h"

bool headless_counts(const struct planning *p, const json_t *definition)
{
    return p->f->settings->has_slices && json_object_get(definition, "headless") != NULL;
}

static bool is_of_definition(const struct planning *p, const char *address, const json_t *ports)
{
    char *key = site_key("Listener", site_text(json_array_get(ports, 0), "name"));
    bool is = strcmp(value_of(p->made_for, key), address) == 0;

    free(key);
    return is;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

// The Services of its pods, sorted; the caller frees the list.
static const char **pods_of(const struct planning *p, const char *address)
{
    const json_t *all = p->out->site.local_services;
    const char **names = xcalloc(json_object_size(all) + 1, sizeof(*names)), *name;
    size_t count = 0;
    json_t *ports;

    json_object_foreach((json_t *)(uintptr_t)all, name, ports)
    {
        if (strcmp(name, address) != 0 && is_of_definition(p, address, ports))
            names[count++] = name;
    }
    qsort(names, count, sizeof(*names), by_text);
    return names;
}

// The places of those that have one by now.
static json_t *endpoints_of(const struct planning *p, const char *address)
{
    const char **pods = pods_of(p, address);
    json_t *list = json_array();

    for (size_t i = 0; pods[i]; i++) {
        const char *ip = site_text(plan_seen(p, "Service", pods[i]), "spec.clusterIP");

        if (site_is_ip(str_of(ip)))
            json_array_append_new(list, json_pack("{s:[s], s:s, s:{s:b}}", "addresses", ip,
                                                  "hostname", pods[i], "conditions", "ready", 1));
    }
    free(pods);
    return list;
}

static json_t *ports_as_there(const json_t *ports, bool is_service)
{
    json_t *out = json_array(), *one;
    size_t i;

    json_array_foreach((json_t *)(uintptr_t)ports, i, one)
    {
        json_t *port = json_pack("{s:O, s:O, s:s}", "name", json_object_get(one, "name"), "port",
                                 json_object_get(one, "port"), "protocol", "TCP");

        if (is_service)
            json_object_set(port, "targetPort", json_object_get(one, "port"));
        json_array_append_new(out, port);
    }
    return out;
}

static void put_slice(struct planning *p, const char *address, const json_t *ports)
{
    json_t *endpoints = endpoints_of(p, address), *slice, *labels;
    const char *first = site_text(endpoints, "[0].addresses[0]");
    char *name = str_fmt("%s-skupper", address);

    slice = plan_object(p, "discovery.k8s.io/v1", "EndpointSlice", name, p->site, NULL);
    labels = object_labels(slice);
    json_object_set_new(labels, "kubernetes.io/service-name", json_string(address));
    json_object_set_new(labels, SLICE_LABEL, json_string(SLICE_VALUE));
    json_object_set_new(object_annotations(slice), CONTROLLED, json_string("true"));
    json_object_set_new(slice, "addressType", json_string(strchr(first, ':') ? "IPv6" : "IPv4"));
    json_object_set_new(slice, "endpoints", endpoints);
    json_object_set_new(slice, "ports", ports_as_there(ports, false));
    free(name);
}

void headless_put(struct planning *p, json_t *service, const char *address, const json_t *ports)
{
    json_object_set_new(
        service, "spec",
        json_pack("{s:s, s:o}", "clusterIP", "None", "ports", ports_as_there(ports, true)));
    // While the network is not known, those that are known stay.
    if (p->network)
        put_slice(p, address, ports);
}
