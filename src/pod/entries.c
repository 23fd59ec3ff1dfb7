// SPDX-License-Identifier: Apache-2.0
// The ConfigMap skupper-services as the exchange with other sites sees it. An entry has an origin:
// none, or "annotation", and it is this site's, to be announced; else it is the id of the site that
// announces it, and is written and taken away here. Pure.
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "pod/inside.h"
#include "site/site.h"

static const char VERSIONS[] = "internal.skupper.io/versions";
static const char SYNC[] = "skupper.io/service-sync", TTL[] = "skupper.io/service-sync-site-ttl";

static const json_t *data_of(const json_t *map)
{
    return json_object_get(map, "data");
}

static const char *note(const json_t *map, const char *key)
{
    const json_t *notes = json_object_get(json_object_get(map, "metadata"), "annotations");
    const char *text = json_string_value(json_object_get(notes, key));

    return text ? text : "";
}

// The definition of an entry; NULL: there is none that can be read.
static json_t *entry(const json_t *data, const char *address)
{
    const char *text = json_string_value(json_object_get(data, address));
    json_t *d = text ? json_loads(text, 0, NULL) : NULL;

    if (json_is_object(d) && strcmp(site_text(d, "address"), address) == 0)
        return d;
    json_decref(d);
    return NULL;
}

static bool is_local(const json_t *definition)
{
    const char *origin = site_text(definition, "origin");

    return !origin[0] || strcmp(origin, "annotation") == 0;
}

bool entries_are_shared(const json_t *map)
{
    return map && strcmp(note(map, SYNC), "false") != 0;
}

uint32_t entries_ttl_ms(const json_t *map)
{
    int64_t ns = 0;

    if (!site_duration(str_of(note(map, TTL)), &ns) || ns <= 0 || ns / NS_PER_MS > UINT32_MAX)
        return 0;
    return (uint32_t)(ns / NS_PER_MS);
}

json_t *entries_local(const json_t *map)
{
    json_t *out = json_array(), *v;
    const char *address;

    json_object_foreach((json_t *)(uintptr_t)data_of(map), address, v)
    {
        json_t *d = entry(data_of(map), address);

        if (d && is_local(d))
            json_array_append(out, d);
        json_decref(d);
    }
    return out;
}

json_t *entries_saved(const json_t *map)
{
    json_t *versions = json_loads(note(map, VERSIONS), 0, NULL), *origins = json_object(), *v;
    json_t *list = json_array();
    const char *key;

    json_object_foreach((json_t *)(uintptr_t)data_of(map), key, v)
    {
        json_t *d = entry(data_of(map), key), *services;

        if (d && !is_local(d)) {
            services = json_object_get(origins, site_text(d, "origin"));
            if (!services) {
                services = json_array();
                json_object_set_new(origins, site_text(d, "origin"), services);
            }
            json_object_del(d, "origin");
            json_array_append(services, d);
        }
        json_decref(d);
    }
    json_object_foreach(origins, key, v)
    {
        const char *version = json_string_value(json_object_get(versions, key));

        json_array_append_new(list, json_pack("{s:s, s:s, s:O}", "origin", key, "version",
                                              version ? version : "", "services", v));
    }
    json_decref(origins);
    json_decref(versions);
    return json_pack("{s:o}", "origins", list);
}

// ---------------------------------------------------------------------------------------- writing

// An entry for a service that another site shares; whether it has a Service here is this site's
// affair.
static json_t *entry_for(const json_t *told, const json_t *before)
{
    json_t *d = json_deep_copy(json_object_get(told, "service"));
    const json_t *ingress = json_object_get(before, "exposeIngress");

    json_object_set_new(d, "exposeIngress",
                        json_string(json_string_value(ingress) ? json_string_value(ingress) : ""));
    json_object_set_new(d, "targets", json_array());
    json_object_set(d, "origin", json_object_get(told, "origin"));
    return d;
}

static void put_told(json_t *data, const json_t *told)
{
    const char *address;
    json_t *t;

    json_object_foreach((json_t *)(uintptr_t)told, address, t)
    {
        json_t *before = entry(data, address), *d = NULL;
        bool is_taken = before ? is_local(before) : json_object_get(data, address) != NULL;

        // What users have written, readable or not, is theirs.
        if (!is_taken)
            d = entry_for(t, before);
        if (d && !json_equal(d, before)) {
            char *text = json_dumps(d, JSON_COMPACT);

            json_object_set_new(data, address, json_string(text));
            free(text);
        }
        json_decref(before);
        json_decref(d);
    }
}

static void drop_untold(json_t *data, const json_t *told)
{
    const char *address;
    json_t *v;
    void *tmp;

    json_object_foreach_safe(data, tmp, address, v)
    {
        json_t *d = entry(data, address);

        if (d && !is_local(d) && !json_object_get(told, address))
            json_object_del(data, address);
        json_decref(d);
    }
}

// {origin: version} of those whose services are told; the caller frees the text.
static char *versions_of(const json_t *told, const json_t *shared)
{
    json_t *versions = json_object(), *origin, *t;
    const char *address;
    char *text;
    size_t i;

    json_array_foreach((json_t *)(uintptr_t)shared, i, origin)
    {
        json_object_foreach((json_t *)(uintptr_t)told, address, t)
        {
            if (strcmp(site_text(t, "origin"), site_text(origin, "origin")) == 0)
                json_object_set(versions, site_text(t, "origin"),
                                json_object_get(origin, "version"));
        }
    }
    text = json_object_size(versions) > 0 ? json_dumps(versions, JSON_COMPACT | JSON_SORT_KEYS)
                                          : xstrdup("");
    json_decref(versions);
    return text;
}

// A member that is an object, made if it is not there.
static json_t *member(json_t *object, const char *name)
{
    json_t *there = json_object_get(object, name);

    if (!json_is_object(there)) {
        there = json_object();
        json_object_set_new(object, name, there);
    }
    return there;
}

json_t *entries_wanted(const json_t *map, const json_t *told, const json_t *shared)
{
    json_t *out = json_deep_copy(map), *data = member(out, "data");
    char *versions = versions_of(told, shared);
    bool is_same;

    drop_untold(data, told);
    put_told(data, told);
    is_same = strcmp(versions, note(map, VERSIONS)) == 0 &&
              (json_equal(data, data_of(map)) || (json_object_size(data) == 0 && !data_of(map)));
    if (versions[0])
        json_object_set_new(member(member(out, "metadata"), "annotations"), VERSIONS,
                            json_string(versions));
    else
        json_object_del(json_object_get(json_object_get(out, "metadata"), "annotations"), VERSIONS);
    free(versions);
    if (!is_same)
        return out;
    json_decref(out);
    return NULL;
}
