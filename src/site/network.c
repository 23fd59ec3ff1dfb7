// SPDX-License-Identifier: Apache-2.0
// The network as the collector tells it: looked up while conditions are decided, and shown in the
// Site's status.
#include <stdlib.h>

#include "base/mem.h"
#include "site/inside.h"

static void add_keys(json_t *keys, const json_t *list)
{
    size_t i;
    json_t *v;

    json_array_foreach(list, i, v)
    {
        const char *key = site_text(v, "address");

        if (key[0])
            json_object_set_new(keys, key, json_true());
    }
}

static void read_router(struct model *m, const json_t *site, const json_t *router)
{
    bool is_ours = strcmp(site_text(site, "identity"), m->facts->site_id) == 0;
    size_t i;
    json_t *v;

    add_keys(m->network.connectors, json_object_get(router, "connectors"));
    add_keys(m->network.listeners, json_object_get(router, "listeners"));
    json_array_foreach(json_object_get(router, "routerAccess"), i, v)
    {
        const char *id = site_text(v, "identity");

        if (id[0])
            json_object_set_new(m->network.accesses, id,
                                json_pack("{s:s, s:s}", "id", site_text(site, "identity"), "name",
                                          site_text(site, "name")));
    }
    if (!is_ours)
        return;
    json_array_foreach(json_object_get(router, "links"), i, v)
    {
        const char *name = site_text(v, "name");
        const json_t *there = json_object_get(m->network.links, name);

        // Of several records of one link the one that is up counts.
        if (name[0] && !str_is_nocase(str_of(site_text(there, "status")), "up"))
            json_object_set(m->network.links, name, v);
    }
}

// Listeners are counted there, also those that no router's list has.
static void read_address(struct model *m, const json_t *address)
{
    const char *key = site_text(address, "name");

    if (key[0] && json_integer_value(json_object_get(address, "listenerCount")) > 0)
        json_object_set_new(m->network.listeners, key, json_true());
}

void network_read(struct model *m)
{
    size_t i, k;
    json_t *status, *router;

    m->network = (struct network){json_object(), json_object(), json_object(), json_object()};
    json_array_foreach(json_object_get(m->facts->network, "addresses"), i, status)
        read_address(m, status);
    json_array_foreach(json_object_get(m->facts->network, "siteStatus"), i, status)
    {
        const json_t *site = json_object_get(status, "site");

        json_array_foreach(json_object_get(status, "routerStatus"), k, router)
            read_router(m, site, router);
    }
}

void network_free(struct network *n)
{
    json_decref(n->connectors);
    json_decref(n->listeners);
    json_decref(n->accesses);
    json_decref(n->links);
}

bool network_has(const json_t *keys, const char *routing_key)
{
    return json_object_get(keys, routing_key) != NULL;
}

// ------------------------------------------------------------------------------------ Site.status

static int by_key(const void *left, const void *right)
{
    const json_t *a = *(json_t *const *)left, *b = *(json_t *const *)right;
    static const char *const keys[] = {"id", "name", "routingKey", "remoteSiteId", NULL};

    for (size_t i = 0; keys[i]; i++) {
        int order = strcmp(site_text(a, keys[i]), site_text(b, keys[i]));

        if (order != 0)
            return order;
    }
    return json_is_string(a) && json_is_string(b)
               ? strcmp(json_string_value(a), json_string_value(b))
               : 0;
}

// A sorted list of the values; takes `list`.
static json_t *sorted(json_t *list)
{
    size_t count = json_array_size(list);
    json_t **items = xcalloc(count + 1, sizeof(json_t *)), *out = json_array();

    for (size_t i = 0; i < count; i++)
        items[i] = json_array_get(list, i);
    qsort(items, count, sizeof(json_t *), by_key);
    for (size_t i = 0; i < count; i++)
        json_array_append(out, items[i]);
    json_decref(list);
    free(items);
    return out;
}

static json_t *service_of(json_t *services, const char *key)
{
    json_t *s = json_object_get(services, key);

    if (!s) {
        s = json_pack("{s:s, s:[], s:[]}", "routingKey", key, "connectors", "listeners");
        json_object_set_new(services, key, s);
    }
    return s;
}

static bool is_made_by_itself(const char *name, const char *key)
{
    size_t len = strlen(SITE_SHARED_LISTENER);

    return strncmp(name, SITE_SHARED_LISTENER, len) == 0 && strcmp(name + len, key) == 0;
}

static void add_services(json_t *services, const json_t *router, const char *list, const char *name)
{
    size_t i;
    json_t *v;

    json_array_foreach(json_object_get(router, list), i, v)
    {
        const char *key = site_text(v, "address"), *text = site_text(v, name);

        if (key[0] && text[0] && !is_made_by_itself(text, key))
            list_add(json_object_get(service_of(services, key), list), text);
    }
}

static void add_links(const struct model *m, json_t *links, const json_t *router)
{
    size_t i;
    json_t *v;

    json_array_foreach(json_object_get(router, "links"), i, v)
    {
        const json_t *remote = json_object_get(m->network.accesses, site_text(v, "peer"));

        if (!site_text(v, "name")[0] || !remote)
            continue;
        json_array_append_new(links,
                              json_pack("{s:s, s:s, s:s, s:b}", "name", site_text(v, "name"),
                                        "remoteSiteId", site_text(remote, "id"), "remoteSiteName",
                                        site_text(remote, "name"), "operational",
                                        (int)str_is_nocase(str_of(site_text(v, "status")), "up")));
    }
}

static void put_lists(json_t *record, json_t *take_services, json_t *take_links)
{
    json_t *list = json_array(), *s;
    const char *key;

    json_object_foreach(take_services, key, s)
    {
        json_object_set_new(s, "connectors", sorted(json_incref(json_object_get(s, "connectors"))));
        json_object_set_new(s, "listeners", sorted(json_incref(json_object_get(s, "listeners"))));
        json_array_append(list, s);
    }
    json_object_set_new(record, "services", sorted(list));
    json_object_set_new(record, "links", sorted(take_links));
    json_decref(take_services);
}

static json_t *site_record(const struct model *m, const json_t *status)
{
    static const char *const names[][2] = {{"id", "identity"},
                                           {"name", "name"},
                                           {"namespace", "namespace"},
                                           {"platform", "platform"},
                                           {"version", "siteVersion"}};
    const json_t *site = json_object_get(status, "site");
    json_t *record = json_object(), *services = json_object(), *links = json_array(), *router;
    size_t i;

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        put_text(record, names[i][0], site_text(site, names[i][1]));
    json_array_foreach(json_object_get(status, "routerStatus"), i, router)
    {
        add_services(services, router, "connectors", "destHost");
        add_services(services, router, "listeners", "name");
        add_links(m, links, router);
    }
    put_lists(record, services, links);
    return record;
}

// Sites are told apart by their ids; people tell them apart by their names.
static void warn_of_namesake(struct model *m, const json_t *all)
{
    json_t *status;
    size_t i;

    json_array_foreach((json_t *)(uintptr_t)all, i, status)
    {
        const json_t *site = json_object_get(status, "site");
        const char *id = site_text(site, "identity");

        if (strcmp(site_text(site, "name"), m->site->name) != 0 ||
            strcmp(id, m->facts->site_id) == 0)
            continue;
        cond_noted(m->site, "Running",
                   "the site %s in this network has the name \"%s\" too, and nobody can tell them "
                   "apart: give one of them another (metadata.name of its Site)",
                   id, m->site->name);
        site_warning(m, "metadata.name", cond_message(m->site, "Running"));
        return;
    }
}

void network_status(struct model *m)
{
    const json_t *all = json_object_get(m->facts->network, "siteStatus");
    json_t *records = json_array(), *status;
    size_t i;

    // Without a router nothing is known of the network.
    if (m->facts->router_runs) {
        warn_of_namesake(m, all);
        json_array_foreach(all, i, status) json_array_append_new(records, site_record(m, status));
    }
    json_object_set_new(m->site->status, "sitesInNetwork",
                        json_integer((json_int_t)json_array_size(records)));
    json_object_set_new(m->site->status, "network", sorted(records));
    if (!cond_is_set(m->site, "Resolved"))
        cond_met(m->site, "Resolved",
                 json_array_size(json_object_get(m->site->status, "endpoints")) > 0, "Pending");
}
