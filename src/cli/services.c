// SPDX-License-Identifier: Apache-2.0
// The services that a site knows: on a host those that sites share, in a cluster what definitions
// of the first version, Listeners and Connectors, and the network's status say.
#include <stdlib.h>
#include <string.h>

#include "cli/inside.h"
#include "site/site.h"

// One that is told under its routing key; the first word of it counts.
static void tell(json_t *services, const char *key, const char *address, int64_t port,
                 const char *state, const char *message)
{
    if (!json_object_get(services, key))
        json_object_set_new(services, key,
                            json_pack("{s:s, s:I, s:s, s:s, s:s}", "address", address, "port",
                                      (json_int_t)port, "routingKey", key, "state", state,
                                      "message", message));
}

// As the first version defines them, here or at other sites.
static void add_definitions(const struct store *s, json_t *services)
{
    json_t *map = store_told(s, "ConfigMap", "skupper-services"), *text, *d, *port;
    const char *address;
    size_t i;

    json_object_foreach(json_object_get(map, "data"), address, text)
    {
        d = json_loads(json_string_value(text) ? json_string_value(text) : "", 0, NULL);
        json_array_foreach(json_object_get(d, "ports"), i, port)
        {
            const char *origin = site_text(d, "origin");
            bool is_own = !origin[0] || strcmp(origin, "annotation") == 0;
            char *key = str_fmt("%s:%lld", address, (long long)json_integer_value(port));

            tell(services, key, address, json_integer_value(port), is_own ? "own" : "shared", "");
            free(key);
        }
        json_decref(d);
    }
    json_decref(map);
}

static void add_listeners(const struct store *s, json_t *services)
{
    json_t *all = store_list(s, STORE_RUNTIME, "Listener"), *one;
    size_t i;

    json_array_foreach(all, i, one)
    {
        bool is_matched = json_is_true(site_get(one, "status.hasMatchingConnector"));

        tell(services, site_text(one, "spec.routingKey"), site_text(one, "spec.host"),
             json_integer_value(site_get(one, "spec.port")), is_matched ? "shared" : "waits",
             is_matched ? "" : "no connector offers it");
    }
    json_decref(all);
}

static void add_connectors(const struct store *s, json_t *services)
{
    json_t *all = store_list(s, STORE_RUNTIME, "Connector"), *one;
    size_t i;

    json_array_foreach(all, i, one)
    {
        const char *key = site_text(one, "spec.routingKey");

        tell(services, key, key, json_integer_value(site_get(one, "spec.port")), "offered",
             "no listener here");
    }
    json_decref(all);
}

static void add_router(json_t *services, const json_t *router, const char *site)
{
    json_t *one;
    size_t i;

    json_array_foreach(json_object_get(router, "connectors"), i, one)
    {
        const char *key = site_text(one, "address");
        char *message = str_fmt("at site %s; no listener here", site);
        int64_t port = 0;

        site_number(str_of(site_text(one, "destPort")), 1, 65535, &port);
        tell(services, key, key, port, "offered", message);
        free(message);
    }
}

static void add_network(const struct store *s, json_t *services)
{
    json_t *network = cli_network(s), *site, *router;
    size_t i, k;

    json_array_foreach(json_object_get(network, "siteStatus"), i, site)
    {
        json_array_foreach(json_object_get(site, "routerStatus"), k, router)
            add_router(services, router, site_text(site, "site.name"));
    }
    json_decref(network);
}

json_t *cli_services(const struct store *s)
{
    json_t *services, *list, *one;
    const char *key;

    if (s->cli->platform != ON_KUBERNETES)
        return cli_told(s, "runtime/shared/services.json");
    services = json_object();
    list = json_array();
    add_definitions(s, services);
    add_listeners(s, services);
    add_connectors(s, services);
    if (!s->cli->failure)
        add_network(s, services);
    json_object_foreach(services, key, one) json_array_append(list, one);
    json_decref(services);
    return list;
}

json_t *cli_network(const struct store *s)
{
    json_t *map = store_told(s, "ConfigMap", "skupper-network-status");
    json_t *network = json_loads(site_text(map, "data.NetworkStatus"), 0, NULL);

    json_decref(map);
    return network;
}
