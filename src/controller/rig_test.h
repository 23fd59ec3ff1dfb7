// SPDX-License-Identifier: Apache-2.0
// A namespace on a table: objects that a server would have, and a plan's operations done to them as
// it would, with uids, versions, and children that go with their owner.
#pragma once

#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/rng.h"
#include "check.h"
#include "controller/controller.h"
#include "status.h"

enum { TURNS_MAX = 12 };

struct cluster {
    json_t *objects; // {key: object}
    json_t *writes;  // {"Service/db": how many}; statuses by "status Site/west"
    json_t *others;  // list
    json_t *refused;
    json_t *grants;
    struct controller_settings settings;
    int64_t now;
    json_t *births; // {key: how many of that name there have been}
    int version;
    uint64_t shuffle; // 0: as they come
    struct plan plan;
    json_t *checked; // as the plan before found it
    bool has_plan;
};

static inline void cluster_init(struct cluster *c)
{
    *c = (struct cluster){
        .objects = json_object(),
        .writes = json_object(),
        .births = json_object(),
        .others = json_array(),
        .refused = json_object(),
        .grants = json_object(),
        .settings = {.ns = "skupper",
                     .name = "skupper-controller",
                     .version = "2.2.0",
                     .router_image = "example.org/router:1",
                     .adaptor_image = "example.org/agent:1",
                     .access_types = "local,loadbalancer,nodeport,route,ingress,ingress-nginx,"
                                     "contour-http-proxy,gateway",
                     .cluster_host = "node.example.org",
                     .gateway_class = "gw",
                     .has_http_proxies = true,
                     .has_gateways = true,
                     .has_grants = true},
        .now = 1767225600,
    };
}

static inline void cluster_fini(struct cluster *c)
{
    if (c->has_plan)
        controller_plan_free(&c->plan);
    json_decref(c->objects);
    json_decref(c->writes);
    json_decref(c->births);
    json_decref(c->others);
    json_decref(c->refused);
    json_decref(c->grants);
    json_decref(c->checked);
}

static inline json_t *cluster_get(const struct cluster *c, const char *key)
{
    return json_object_get(c->objects, key);
}

static inline json_t *metadata_of(json_t *object)
{
    return json_object_get(object, "metadata");
}

static inline void touch(struct cluster *c, json_t *object)
{
    json_object_set_new(metadata_of(object), "resourceVersion", json_sprintf("%d", ++c->version));
}

// As a new object of the server; takes it.
static inline json_t *cluster_add(struct cluster *c, json_t *take)
{
    char *key = site_key(site_text(take, "kind"), site_text(take, "metadata.name"));

    if (cluster_get(c, key))
        fail_msg("%s is there already", key);
    json_object_set_new(metadata_of(take), "namespace", json_string("west"));
    json_object_set_new(
        metadata_of(take), "uid",
        json_sprintf("%s#%lld", key,
                     (long long)json_integer_value(json_object_get(c->births, key))));
    json_object_set_new(c->births, key,
                        json_integer(json_integer_value(json_object_get(c->births, key)) + 1));
    json_object_set_new(metadata_of(take), "generation", json_integer(1));
    if (!site_text(take, "metadata.creationTimestamp")[0])
        json_object_set_new(metadata_of(take), "creationTimestamp",
                            json_string("2026-01-01T00:00:00Z"));
    touch(c, take);
    json_object_set_new(c->objects, key, take);
    free(key);
    return take;
}

// A user's resource.
static inline json_t *cluster_put(struct cluster *c, const char *kind, const char *name,
                                  const char *spec)
{
    return cluster_add(c, json_pack("{s:s, s:s, s:{s:s}, s:o}", "apiVersion", "skupper.io/v2alpha1",
                                    "kind", kind, "metadata", "name", name, "spec", json_of(spec)));
}

static inline void cluster_set_spec(struct cluster *c, const char *key, const char *spec)
{
    json_t *object = cluster_get(c, key);
    json_int_t generation = json_integer_value(json_object_get(metadata_of(object), "generation"));

    json_object_set_new(object, "spec", json_of(spec));
    json_object_set_new(metadata_of(object), "generation", json_integer(generation + 1));
    touch(c, object);
}

static inline void cluster_set_status(struct cluster *c, const char *key, const char *status)
{
    json_object_set_new(cluster_get(c, key), "status", json_of(status));
    touch(c, cluster_get(c, key));
}

static inline json_t *cluster_pod(struct cluster *c, const char *name, const char *app,
                                  const char *ip, bool is_ready)
{
    return cluster_add(c, json_pack("{s:s, s:s, s:{s:s, s:{s:s}}, s:{s:s, s:s, s:[{s:s, s:s}]}}",
                                    "apiVersion", "v1", "kind", "Pod", "metadata", "name", name,
                                    "labels", "app", app, "status", "phase", "Running", "podIP", ip,
                                    "conditions", "type", "Ready", "status",
                                    is_ready ? "True" : "False"));
}

static inline bool has_owner(const json_t *object, const char *uid)
{
    json_t *ref;
    size_t i;

    json_array_foreach((json_t *)(uintptr_t)site_get(object, "metadata.ownerReferences"), i, ref)
    {
        if (strcmp(site_text(ref, "uid"), uid) == 0)
            return true;
    }
    return false;
}

// With all that it owns.
static inline void cluster_remove(struct cluster *c, const char *key)
{
    json_t *object = json_incref(cluster_get(c, key)), *one, *copy;
    const char *child;

    json_object_del(c->objects, key);
    copy = json_copy(c->objects);
    json_object_foreach(copy, child, one)
    {
        if (has_owner(one, site_text(object, "metadata.uid")) && cluster_get(c, child))
            cluster_remove(c, child);
    }
    json_decref(copy);
    json_decref(object);
}

static inline void merge_patch(json_t *to, const json_t *patch)
{
    const char *key;
    json_t *v;

    json_object_foreach((json_t *)(uintptr_t)patch, key, v)
    {
        json_t *there = json_object_get(to, key);

        if (json_is_null(v))
            json_object_del(to, key);
        else if (json_is_object(v) && json_is_object(there))
            merge_patch(there, v);
        else
            json_object_set_new(to, key, json_deep_copy(v));
    }
}

static inline void count_write(struct cluster *c, const char *what, const char *key)
{
    char *name = str_fmt("%s%s", strcmp(what, "status") == 0 ? "status " : "", key);
    json_int_t n = json_integer_value(json_object_get(c->writes, name));

    json_object_set_new(c->writes, name, json_integer(n + 1));
    free(name);
}

// Bumps what a server bumps.
static inline void replaced(struct cluster *c, const char *key, json_t *take_object, bool is_spec)
{
    json_int_t n = json_integer_value(json_object_get(metadata_of(take_object), "generation"));

    if (is_spec)
        json_object_set_new(metadata_of(take_object), "generation", json_integer(n + 1));
    touch(c, take_object);
    json_object_set_new(c->objects, key, take_object);
}

static inline void cluster_do(struct cluster *c, const json_t *op)
{
    const char *what = site_text(op, "do"), *key = site_text(op, "key");
    json_t *object = json_object_get(op, "object"), *there = cluster_get(c, key), *copy;
    const char *version = site_text(object, "metadata.resourceVersion");

    if (json_object_get(c->refused, key))
        return;
    count_write(c, what, key);
    if (strcmp(what, "create") == 0 || (strcmp(what, "apply") == 0 && !there)) {
        cluster_add(c, json_deep_copy(object));
        return;
    }
    if (!there)
        fail_msg("%s of %s, which is not there", what, key);
    if (version[0] && strcmp(version, site_text(there, "metadata.resourceVersion")) != 0)
        fail_msg("%s of %s has an old version", what, key);
    if (strcmp(what, "delete") == 0) {
        cluster_remove(c, key);
    } else if (strcmp(what, "status") == 0) {
        copy = json_deep_copy(there);
        json_object_set(copy, "status", json_object_get(object, "status"));
        replaced(c, key, copy, false);
    } else if (strcmp(what, "update") == 0) {
        copy = json_deep_copy(object);
        if (json_object_get(there, "status"))
            json_object_set(copy, "status", json_object_get(there, "status"));
        replaced(c, key, copy, true);
    } else {
        copy = json_deep_copy(there);
        merge_patch(copy, object);
        replaced(c, key, copy, strcmp(what, "apply") == 0);
    }
}

// An RSA key takes long to make: a CA of one name is made once for all tests.
static inline json_t *issued(const struct cluster *c, const json_t *issue)
{
    static json_t *kept;
    char *key = site_key("Secret", site_text(issue, "ca"));
    const json_t *ca = cluster_get(c, key);
    bool is_first = strcmp(site_text(issue, "why"), "there is none") == 0 &&
                    json_is_true(json_object_get(issue, "signing"));
    const char *subject = site_text(issue, "subject");
    json_t *out = NULL;
    struct why why = {""};
    char *own = site_key("Secret", site_text(issue, "name"));

    if (!kept)
        kept = json_object();
    if (is_first && json_object_get(kept, subject)) {
        out = json_deep_copy(json_object_get(issue, "secret"));
        json_object_set(out, "data", json_object_get(kept, subject));
    } else if (controller_issue(issue, ca, cluster_get(c, own), c->now, &out, &why) < 0) {
        fail_msg("%s", why.text);
    }
    if (is_first)
        json_object_set(kept, subject, json_object_get(out, "data"));
    free(own);
    free(key);
    return out;
}

static inline void cluster_issue(struct cluster *c, const json_t *issue)
{
    json_t *secret = issued(c, issue), *copy;
    char *key = site_key("Secret", site_text(issue, "name"));

    count_write(c, "issue", key);
    if (cluster_get(c, key)) {
        copy = json_deep_copy(cluster_get(c, key));
        merge_patch(copy, secret);
        replaced(c, key, copy, false);
        json_decref(secret);
    } else {
        cluster_add(c, secret);
    }
    free(key);
}

static inline void cluster_plan(struct cluster *c)
{
    size_t count = json_object_size(c->objects), other_count = json_array_size(c->others), at = 0;
    json_t **list = xcalloc(count + 1, sizeof(*list)), **others, *v;
    struct rng rng;
    const char *key;

    json_object_foreach(c->objects, key, v) list[at++] = v;
    rng_init(&rng, c->shuffle);
    for (size_t i = count; c->shuffle && i-- > 1;) {
        size_t k = rng_below(&rng, (uint32_t)i + 1);
        json_t *tmp = list[i];

        list[i] = list[k];
        list[k] = tmp;
    }
    others = xcalloc(other_count + 1, sizeof(*others));
    for (size_t i = 0; i < other_count; i++)
        others[i] = json_array_get(c->others, i);
    if (c->has_plan)
        controller_plan_free(&c->plan);
    controller_plan(&(struct plan_facts){.settings = &c->settings,
                                         .ns = "west",
                                         .now = c->now,
                                         .objects = list,
                                         .count = count,
                                         .others = others,
                                         .other_count = other_count,
                                         .grants = c->grants,
                                         .refused = c->refused,
                                         .checked = c->checked},
                    &c->plan);
    c->has_plan = true;
    json_decref(c->checked);
    c->checked = json_incref(c->plan.checked);
    free(list);
    free(others);
}

// Plans and does it; how much there was to do.
static inline size_t cluster_turn(struct cluster *c)
{
    json_t *op, *issue;
    const char *name;
    size_t i, count;

    cluster_plan(c);
    count = json_array_size(c->plan.operations) + json_object_size(c->plan.issues);
    json_array_foreach(c->plan.operations, i, op) cluster_do(c, op);
    json_object_foreach(c->plan.issues, name, issue) cluster_issue(c, issue);
    return count;
}

// Until there is nothing to do.
static inline void cluster_settle(struct cluster *c)
{
    for (int i = 0; i < TURNS_MAX; i++)
        if (cluster_turn(c) == 0)
            return;
    char *text = json_dumps(c->plan.operations, JSON_INDENT(1));

    fail_msg("it never settles:\n%s", text);
}

static inline json_int_t writes_of(const struct cluster *c, const char *key)
{
    return json_integer_value(json_object_get(c->writes, key));
}

// An entity of a router's configuration, the first of its type without a name; a new reference, or
// NULL.
static inline json_t *cluster_entity(const struct cluster *c, const char *map, const char *type,
                                     const char *name)
{
    char *key = site_key("ConfigMap", map);
    json_t *config =
        json_loads(json_string_value(json_object_get(json_object_get(cluster_get(c, key), "data"),
                                                     "skrouterd.json")),
                   0, NULL);
    json_t *pair, *found = NULL;
    size_t i;

    json_array_foreach(config, i, pair)
    {
        if (!found && strcmp(json_string_value(json_array_get(pair, 0)), type) == 0 &&
            (!name || strcmp(site_text(json_array_get(pair, 1), "name"), name) == 0))
            found = json_incref(json_array_get(pair, 1));
    }
    json_decref(config);
    free(key);
    return found;
}

#define CHECK_STATUS(c, key, type, want)                                                           \
    check_status(__FILE__, __LINE__, cluster_get(c, key), key, type, want)
