// SPDX-License-Identifier: Apache-2.0
// Services of others that are made to lead to the router, and given back. What they were stands in
// annotations: those of version 1, for its tools, and one of ours with everything, so that what is
// given back is what was taken.
//
// The user's wish is what counts: who changes the selector or a port of such a Service changes what
// it will be afterwards, and where its service leads meanwhile.
#include <stdlib.h>

#include "base/mem.h"
#include "controller/inside.h"

#define ORIGINAL "internal.skupper.io/original"
#define SELECTOR "internal.skupper.io/originalSelector"
#define TARGETS "internal.skupper.io/originalTargetPort"
#define ASSIGNED "internal.skupper.io/originalAssignedPort"
static const char *const ours[] = {ORIGINAL, SELECTOR, TARGETS, ASSIGNED, NULL};

static json_t *borrow(const json_t *value)
{
    return (json_t *)(uintptr_t)value;
}

static bool has_note(const json_t *service, const char *key)
{
    return json_object_get(site_get(service, "metadata.annotations"), key) != NULL;
}

bool adopt_is(const json_t *service)
{
    return is_kind(service, "Service") &&
           (has_note(service, ORIGINAL) || has_note(service, SELECTOR) ||
            has_note(service, TARGETS));
}

json_t *adopt_selector(void)
{
    return json_pack("{s:s, s:s}", "application", "skupper-router", "skupper.io/component",
                     "router");
}

static json_int_t number(const json_t *port)
{
    return json_integer_value(json_object_get(port, "port"));
}

static json_t *port_numbered(const json_t *list, json_int_t n)
{
    json_t *one;
    size_t i;

    json_array_foreach(borrow(list), i, one)
    {
        if (number(one) == n)
            return one;
    }
    return NULL;
}

// "port:target,…" as {"port": target}.
static json_t *read_numbers(const char *text)
{
    char *copy = xstrdup(text), *rest = copy, *item;
    json_t *out = json_object();

    while ((item = strsep(&rest, ",")) != NULL) {
        char *colon = strchr(item, ':');
        int64_t target;

        if (!colon)
            continue;
        *colon = '\0';
        if (site_number(str_of(colon + 1), 0, 65535, &target))
            json_object_set_new(out, item, json_integer(target));
    }
    free(copy);
    return out;
}

// "port:target,…" of a list of ports.
static char *write_numbers(const json_t *ports)
{
    char *all = xstrdup("");
    json_t *one;
    size_t i;

    json_array_foreach(borrow(ports), i, one)
    {
        json_int_t target = json_integer_value(json_object_get(one, "targetPort"));
        char *longer = str_fmt("%s%s%lld:%lld", all, i > 0 ? "," : "", (long long)number(one),
                               (long long)(target > 0 ? target : number(one)));

        free(all);
        all = longer;
    }
    return all;
}

// -------------------------------------------------------------------------------------- what it
// was

// Of a Service that a controller of version 1 has changed: as it would give it back.
static json_t *record_of_version_1(const json_t *service)
{
    json_t *targets = read_numbers(annotation(service, TARGETS)), *ports = json_array();
    json_t *selector = annotated_pairs(annotation(service, SELECTOR)), *target;
    const char *key;

    json_object_foreach(targets, key, target)
    {
        json_int_t n = strtoll(key, NULL, 10);
        const json_t *there = port_numbered(site_get(service, "spec.ports"), n);
        json_t *port = there ? json_deep_copy(there)
                             : json_pack("{s:o, s:I, s:s}", "name", json_sprintf("port%s", key),
                                         "port", n, "protocol", "TCP");

        json_object_set(port, "targetPort", target);
        json_array_append_new(ports, port);
    }
    json_decref(targets);
    return json_pack("{s:o, s:o}", "selector", selector, "ports", ports);
}

// As it was when it was adopted; NULL: it was not.
static json_t *record_of(const json_t *service)
{
    json_t *record = adopt_is(service) ? json_loads(annotation(service, ORIGINAL), 0, NULL) : NULL;

    if (record || !adopt_is(service))
        return record;
    return record_of_version_1(service);
}

// The selector that users want: what they have written since, else the one there was.
static json_t *wanted_selector(const json_t *service, const json_t *record)
{
    json_t *now = json_deep_copy(site_get(service, "spec.selector")), *router = adopt_selector();
    bool is_routers = value_of(now, "skupper.io/component")[0] != '\0';
    const char *key;
    json_t *v;

    json_object_foreach(router, key, v)
    {
        if (is_routers)
            json_object_del(now, key);
    }
    json_decref(router);
    if (json_object_size(now) > 0 || !record)
        return now;
    json_decref(now);
    return json_incref(json_object_get(record, "selector"));
}

static bool is_as_assigned(const json_t *assigned, const json_t *port)
{
    char *key = str_fmt("%lld", (long long)number(port));
    bool is = json_equal(json_object_get(assigned, key), json_object_get(port, "targetPort"));

    free(key);
    return is;
}

static bool is_assigned(const json_t *assigned, const json_t *port)
{
    char *key = str_fmt("%lld", (long long)number(port));
    bool is = json_object_get(assigned, key) != NULL;

    free(key);
    return is;
}

// A port as we left it, with what a user or the API server has said of it since (its nodePort): it
// leads again where it led, and a name that we gave it is none.
static json_t *led_back(const json_t *there, const json_t *was)
{
    json_t *port = json_copy(borrow(there)), *target = json_object_get(was, "targetPort");

    if (target)
        json_object_set(port, "targetPort", target);
    else
        json_object_del(port, "targetPort");
    if (!json_object_get(was, "name"))
        json_object_del(port, "name");
    return port;
}

// Each port that there was, unless a user has taken it away or written it anew; then those that are
// new.
static json_t *wanted_ports(const json_t *service, const json_t *record)
{
    const json_t *now = site_get(service, "spec.ports"), *was = json_object_get(record, "ports");
    json_t *assigned = read_numbers(annotation(service, ASSIGNED)), *out = json_array(), *port;
    size_t i;

    json_array_foreach(borrow(was), i, port)
    {
        json_t *there = port_numbered(now, number(port));

        if (there && !is_as_assigned(assigned, there))
            json_array_append(out, there);
        else if (there)
            json_array_append_new(out, led_back(there, port));
        else if (!is_assigned(assigned, port))
            json_array_append(out, port);
    }
    json_array_foreach(borrow(now), i, port)
    {
        if (!port_numbered(out, number(port)) && !is_as_assigned(assigned, port))
            json_array_append(out, port);
    }
    json_decref(assigned);
    return out;
}

json_t *adopt_original(const json_t *service)
{
    json_t *record = record_of(service), *ports, *selector = wanted_selector(service, record);
    json_t *out = json_object();

    ports = record ? wanted_ports(service, record)
                   : json_incref(borrow(site_get(service, "spec.ports")));
    if (selector)
        json_object_set_new(out, "selector", selector);
    json_object_set_new(out, "ports", ports ? ports : json_array());
    json_decref(record);
    return out;
}

// ---------------------------------------------------------------------------------------- patches

// What makes `to` of `from`; NULL when they are equal.
static json_t *map_patch(const json_t *from, const json_t *to)
{
    json_t *patch = json_object(), *v;
    const char *key;

    json_object_foreach(borrow(to), key, v)
    {
        if (!json_equal(json_object_get(from, key), v))
            json_object_set(patch, key, v);
    }
    json_object_foreach(borrow(from), key, v)
    {
        if (!json_object_get(to, key))
            json_object_set_new(patch, key, json_null());
    }
    if (json_object_size(patch) > 0)
        return patch;
    json_decref(patch);
    return NULL;
}

static void put(json_t *patch, const char *place, const char *member, json_t *take)
{
    json_t *at = json_object_get(patch, place);

    if (!take)
        return;
    if (!at) {
        at = json_object();
        json_object_set_new(patch, place, at);
    }
    json_object_set_new(at, member, take);
}

// A merge patch with which `service` gets this metadata and spec; NULL when it has them. Takes all.
static json_t *patch_to(const json_t *service, json_t *labels, json_t *annotations,
                        json_t *selector, json_t *ports)
{
    json_t *patch = json_object();

    put(patch, "metadata", "labels", map_patch(site_get(service, "metadata.labels"), labels));
    put(patch, "metadata", "annotations",
        map_patch(site_get(service, "metadata.annotations"), annotations));
    put(patch, "spec", "selector", map_patch(site_get(service, "spec.selector"), selector));
    if (!json_equal(site_get(service, "spec.ports"), ports))
        put(patch, "spec", "ports", json_incref(ports));
    json_decref(labels);
    json_decref(annotations);
    json_decref(selector);
    json_decref(ports);
    if (json_object_size(patch) > 0)
        return patch;
    json_decref(patch);
    return NULL;
}

static json_t *copy_of(const json_t *service, const char *path)
{
    const json_t *there = site_get(service, path);

    return there ? json_copy(borrow(there)) : json_object();
}

// As they were: {key: value, null for one that was not there}.
static void restore(json_t *map, const json_t *was)
{
    const char *key;
    json_t *v;

    json_object_foreach(borrow(was), key, v)
    {
        if (json_is_null(v))
            json_object_del(map, key);
        else
            json_object_set(map, key, v);
    }
}

// Puts `more` in; what stood there before, as restore() wants it.
static json_t *overlay(json_t *map, const json_t *more)
{
    json_t *was = json_object(), *v;
    const char *key;

    json_object_foreach(borrow(more), key, v)
    {
        json_t *there = json_object_get(map, key);

        json_object_set_new(was, key, there ? json_incref(there) : json_null());
        json_object_set(map, key, v);
    }
    return was;
}

// The ports of the definition, as the user has them where he has them, to the router. The others
// keep what the API server gave them.
static json_t *router_ports(const json_t *service, const json_t *original, const json_t *ports)
{
    json_t *out = json_array(), *one;
    size_t i;

    json_array_foreach(borrow(ports), i, one)
    {
        const json_t *base = port_numbered(json_object_get(original, "ports"), number(one));
        const json_t *now = port_numbered(site_get(service, "spec.ports"), number(one));
        json_t *port = base || now ? json_copy(borrow(base ? base : now)) : json_copy(one);

        if (!base)
            json_object_set_new(port, "protocol", json_string("TCP"));
        else if (json_array_size(ports) > 1 && !site_text(port, "name")[0])
            json_object_set(port, "name", json_object_get(one, "name"));
        json_object_set(port, "targetPort", json_object_get(one, "targetPort"));
        json_array_append_new(out, port);
    }
    return out;
}

static void put_note(json_t *annotations, const char *key, char *take_text)
{
    if (take_text[0])
        json_object_set_new(annotations, key, json_string(take_text));
    free(take_text);
}

// Takes `original`.
static void put_notes(json_t *annotations, json_t *original, const json_t *ports)
{
    char *text = json_dumps(original, JSON_COMPACT);

    json_object_set_new(annotations, ORIGINAL, json_string(text));
    put_note(annotations, SELECTOR, annotated_text(json_object_get(original, "selector")));
    put_note(annotations, TARGETS, write_numbers(json_object_get(original, "ports")));
    put_note(annotations, ASSIGNED, write_numbers(ports));
    free(text);
    json_decref(original);
}

json_t *adopt_patch(const json_t *service, const json_t *ports, const json_t *definition)
{
    json_t *record = record_of(service), *original = adopt_original(service);
    json_t *labels = copy_of(service, "metadata.labels");
    json_t *annotations = copy_of(service, "metadata.annotations");
    json_t *routed = router_ports(service, original, ports);

    restore(labels, json_object_get(record, "labels"));
    restore(annotations, json_object_get(record, "annotations"));
    json_object_set_new(original, "labels", overlay(labels, json_object_get(definition, "labels")));
    json_object_set_new(original, "annotations",
                        overlay(annotations, json_object_get(definition, "annotations")));
    json_decref(record);
    for (size_t i = 0; ours[i]; i++)
        json_object_del(annotations, ours[i]);
    put_notes(annotations, original, routed);
    return patch_to(service, labels, annotations, adopt_selector(), routed);
}

json_t *adopt_return(const json_t *service)
{
    json_t *record = record_of(service), *original = adopt_original(service);
    json_t *labels = copy_of(service, "metadata.labels");
    json_t *annotations = copy_of(service, "metadata.annotations");
    json_t *selector = json_object_get(original, "selector");
    json_t *ports = json_incref(json_object_get(original, "ports"));

    restore(labels, json_object_get(record, "labels"));
    restore(annotations, json_object_get(record, "annotations"));
    for (size_t i = 0; ours[i]; i++)
        json_object_del(annotations, ours[i]);
    selector = selector ? json_incref(selector) : json_object();
    json_decref(record);
    json_decref(original);
    return patch_to(service, labels, annotations, selector, ports);
}
