// SPDX-License-Identifier: Apache-2.0
// Annotated objects on the table of rig_test.h, and what becomes of them.
#pragma once

#include "controller/rig_test.h"

static inline json_t *add_object(struct cluster *c, const char *api, const char *kind,
                                 const char *name, const char *notes, const char *spec)
{
    return cluster_add(c, json_pack("{s:s, s:s, s:{s:s, s:o}, s:o}", "apiVersion", api, "kind",
                                    kind, "metadata", "name", name, "annotations", json_of(notes),
                                    "spec", json_of(spec)));
}

#define DEPLOYED                                                                                   \
    "{'selector': {'matchLabels': {'app': 'web', 'a': 'b'}}, 'template': {'spec': {'containers':"  \
    " [{'ports': [{'containerPort': 8080}, {'containerPort': 9090}]}, {'ports':"                   \
    " [{'containerPort': 1}]}]}}}"
#define PORTLESS "{'selector': {'matchLabels': {'app': 'web'}}}"
#define STATEFUL "{'selector': {'matchLabels': {'app': 'db'}}, 'serviceName': 'db', 'replicas': 2}"
#define SERVICE                                                                                    \
    "{'selector': {'app': 'web'}, 'ports': [{'port': 80, 'targetPort': 8080, 'protocol': 'TCP'}]}"
#define NAMED                                                                                      \
    "{'selector': {'app': 'web'}, 'ports': [{'name': 'a', 'port': 80, 'targetPort': 'http'}]}"

static inline json_t *add_kind(struct cluster *c, const char *kind, const char *name,
                               const char *notes, const char *spec)
{
    return add_object(c, strcmp(kind, "Service") == 0 ? "v1" : "apps/v1", kind, name, notes, spec);
}

static inline void put_site(struct cluster *c)
{
    cluster_init(c);
    cluster_put(c, "Site", "west", "{}");
}

// A definition as it stands in skupper-services; a new reference, or NULL.
static inline json_t *entry(const struct cluster *c, const char *address)
{
    const json_t *data = json_object_get(cluster_get(c, "ConfigMap/skupper-services"), "data");
    const char *text = json_string_value(json_object_get(data, address));

    return text ? json_loads(text, 0, NULL) : NULL;
}

#define CHECK_ENTRY(c, address, want) check_entry(__FILE__, __LINE__, c, address, want)
static inline void check_entry(const char *file, int line, const struct cluster *c,
                               const char *address, const char *want)
{
    json_t *got = entry(c, address);

    if (want)
        check_json(file, line, got, want);
    else if (got)
        fail_msg("%s:%d: there is an entry %s", file, line, address);
    json_decref(got);
}

#define CHECK_NOTE(c, key, want)                                                                   \
    CHECK_STR(str_of(site_text(json_object_get((c)->plan.notes, key), "message")), want)

static inline void set_notes(struct cluster *c, const char *key, const char *notes)
{
    json_object_set_new(metadata_of(cluster_get(c, key)), "annotations", json_of(notes));
    touch(c, cluster_get(c, key));
}

// An entry of skupper-services, as a user or the agent writes it.
static inline void put_entry(struct cluster *c, const char *address, const char *definition)
{
    json_t *map = cluster_get(c, "ConfigMap/skupper-services");
    json_t *value = definition ? json_of(definition) : NULL;
    char *text = value ? json_dumps(value, JSON_COMPACT) : NULL;

    if (!map)
        map =
            cluster_add(c, json_pack("{s:s, s:s, s:{s:s}, s:{}}", "apiVersion", "v1", "kind",
                                     "ConfigMap", "metadata", "name", "skupper-services", "data"));
    if (text)
        json_object_set_new(json_object_get(map, "data"), address, json_string(text));
    else
        json_object_del(json_object_get(map, "data"), address);
    touch(c, map);
    free(text);
    json_decref(value);
}

#define REMOTE                                                                                     \
    "{'address': 'far', 'protocol': 'tcp', 'ports': [5432], 'exposeIngress': '', 'targets': [],"   \
    " 'origin': 'east-site'}"
static inline bool has_entity(const struct cluster *c, const char *type, const char *name)
{
    json_t *e = cluster_entity(c, "skupper-router", type, name);
    bool has = e != NULL;

    json_decref(e);
    return has;
}
