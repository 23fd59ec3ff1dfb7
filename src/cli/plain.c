// SPDX-License-Identifier: Apache-2.0
// A site of version 1 in a cluster without our resource definitions: its ConfigMap skupper-site,
// shown as the Site that it stands for.
#include <stdlib.h>
#include <string.h>

#include "cli/plain.h"
#include "site/site.h"

// Ways in are called otherwise in a Site.
static const char *const ways[][2] = {
    {"", "default"}, {"none", "none"}, {"nginx-ingress-v1", "ingress-nginx"}};

static const char *other_way(const char *word, int from)
{
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
        if (strcmp(ways[i][from], word) == 0)
            return ways[i][1 - from];
    return word;
}

static const char *value_of(const json_t *map, const char *key)
{
    const char *text = json_string_value(json_object_get(json_object_get(map, "data"), key));

    return text ? text : "";
}

// What the router's Deployment and the network's status tell.
static json_t *status_of(const struct store *s)
{
    json_t *deployment = store_told(s, "Deployment", "skupper-router"), *network = cli_network(s);
    bool is_up = json_integer_value(site_get(deployment, "status.readyReplicas")) > 0;
    const char *is = is_up ? "True" : "False";
    size_t sites = json_array_size(json_object_get(network, "siteStatus"));
    json_t *status =
        json_pack("{s:s, s:s, s:I, s:[{s:s, s:s}, {s:s, s:s}]}", "status",
                  is_up ? "Ready" : "Pending", "message",
                  is_up        ? "OK"
                  : deployment ? "its router is not ready"
                               : "no controller has taken it up: \"kubectl apply -f "
                                 "deploy/skupper-version-1.yaml\" installs one for the namespace",
                  "sitesInNetwork", (json_int_t)sites, "conditions", "type", "Running", "status",
                  is, "type", "Ready", "status", is);

    json_decref(deployment);
    json_decref(network);
    return status;
}

static bool is_edge(const json_t *map)
{
    return strcmp(value_of(map, "router-mode"), "edge") == 0 ||
           strcasecmp(value_of(map, "edge"), "true") == 0;
}

json_t *plain_site(const struct store *s)
{
    json_t *map = store_told(s, "ConfigMap", PLAIN_MAP), *site = NULL;
    const char *name = site_text(map, "data.name");

    if (map)
        site = json_pack("{s:s, s:s, s:{s:s, s:s, s:s}, s:{s:s, s:b}, s:o}", "apiVersion", "v1",
                         "kind", "Site", "metadata", "name", name[0] ? name : s->ns, "namespace",
                         s->ns, "uid", site_text(map, "metadata.uid"), "spec", "linkAccess",
                         other_way(site_text(map, "data.ingress"), 0), "edge", (int)is_edge(map),
                         "status", status_of(s));
    json_decref(map);
    return site;
}

json_t *plain_map(const struct store *s, const json_t *site)
{
    const char *access = site_text(site, "spec.linkAccess");
    json_t *map = json_pack("{s:s, s:s, s:{s:s, s:s}, s:{s:s, s:s}}", "apiVersion", "v1", "kind",
                            "ConfigMap", "metadata", "name", PLAIN_MAP, "namespace", s->ns, "data",
                            "name", site_text(site, "metadata.name"), "ingress",
                            access[0] ? other_way(access, 1) : "none");
    json_t *data = json_object_get(map, "data");

    if (json_is_true(site_get(site, "spec.edge")))
        json_object_set_new(data, "router-mode", json_string("edge"));
    if (json_is_true(site_get(site, "spec.ha")))
        json_object_set_new(data, "routers", json_string("2"));
    return map;
}

bool plain_is(const json_t *site)
{
    return strcmp(site_text(site, "apiVersion"), "v1") == 0;
}
