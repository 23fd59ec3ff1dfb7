// SPDX-License-Identifier: Apache-2.0
// A site on a table: resources and facts put down as JSON with single quotes, and what follows.
#pragma once

#include <stdlib.h>

#include "base/mem.h"
#include "check.h"
#include "site/site.h"
#include "status.h"

enum { DESK_MAX = 64 };

struct desk {
    json_t *values[DESK_MAX];
    struct site_input inputs[DESK_MAX];
    size_t count;
    struct site_facts facts;
    // Facts as members of one value, so that a test can put any of them down.
    json_t *known;
    struct site_wanted wanted;
    bool is_derived;
};

static inline void desk_init(struct desk *d)
{
    *d = (struct desk){
        .facts =
            {
                .platform = &site_linux,
                .namespace = "default",
                .version = "2.2.0",
                .site_id = "7b1c",
                .router_suffix = "1735689600-12345678",
                .base = "/base",
                .now = 1767225600,
            },
        .known = json_object(),
    };
}

static inline void desk_forget(struct desk *d)
{
    if (d->is_derived)
        site_wanted_free(&d->wanted);
    d->is_derived = false;
}

static inline void desk_fini(struct desk *d)
{
    desk_forget(d);
    for (size_t i = 0; i < d->count; i++)
        json_decref(d->values[i]);
    json_decref(d->known);
}

static inline void desk_put(struct desk *d, const char *text)
{
    d->values[d->count] = json_of(text);
    d->inputs[d->count] = (struct site_input){d->values[d->count], NULL};
    d->count++;
}

// A skupper.io resource.
// The first resource that was put is gone.
static inline void desk_drop_first(struct desk *d)
{
    json_decref(d->values[0]);
    d->count--;
    for (size_t i = 0; i < d->count; i++) {
        d->values[i] = d->values[i + 1];
        d->inputs[i] = d->inputs[i + 1];
    }
}

static inline void desk_put_spec(struct desk *d, const char *kind, const char *name,
                                 const char *spec)
{
    char *text = str_fmt("{'apiVersion': 'skupper.io/v2alpha1', 'kind': '%s', 'metadata': "
                         "{'name': '%s'}, 'spec': %s}",
                         kind, name, spec);

    desk_put(d, text);
    free(text);
}

// Replaces one of the facts: "ports", "certificates", "entities", "network", "shared", …
static inline void desk_know(struct desk *d, const char *what, const char *text)
{
    json_object_set_new(d->known, what, json_of(text));
}

static inline void desk_derive(struct desk *d)
{
    struct site_facts *f = &d->facts;

    desk_forget(d);
    f->hosts = json_object_get(d->known, "hosts");
    f->ports = json_object_get(d->known, "ports");
    f->certificates = json_object_get(d->known, "certificates");
    f->proxies = json_object_get(d->known, "proxies");
    f->entities = json_object_get(d->known, "entities");
    f->network = json_object_get(d->known, "network");
    f->shared = json_object_get(d->known, "shared");
    f->grants = json_object_get(d->known, "grants");
    f->tokens = json_object_get(d->known, "tokens");
    f->previous = json_object_get(d->known, "previous");
    f->pods = json_object_get(d->known, "pods");
    f->attached = json_object_get(d->known, "attached");
    f->taken = json_object_get(d->known, "taken");
    f->secured = json_object_get(d->known, "secured");
    f->access_types = json_object_get(d->known, "access_types");
    site_derive(d->inputs, d->count, f, &d->wanted);
    d->is_derived = true;
}

// An entity of the router's configuration; NULL: it is not there.
static inline const json_t *desk_entity(const struct desk *d, const char *type, const char *name)
{
    size_t i;
    json_t *pair;

    json_array_foreach(d->wanted.router, i, pair)
    {
        if (strcmp(json_string_value(json_array_get(pair, 0)), type) == 0 &&
            (!name || strcmp(site_text(json_array_get(pair, 1), "name"), name) == 0))
            return json_array_get(pair, 1);
    }
    return NULL;
}

// A desk with an active site of that spec.
static inline struct desk *site_desk(struct desk *d, const char *spec)
{
    desk_init(d);
    desk_put_spec(d, "Site", "west", spec);
    desk_know(d, "ports",
              "{'skupper-local/normal': 5671, 'west/inter-router': 55671, 'west/edge': 45671}");
    desk_know(d, "certificates", "{'skupper-local-server': {'ordinal': 0}}");
    return d;
}

// A Secret with all three keys.
#define SECRET(name)                                                                               \
    "{'apiVersion': 'v1', 'kind': 'Secret', 'metadata': {'name': '" name                           \
    "'}, 'data': {'ca.crt': 'YQ==', 'tls.crt': 'YWI=', 'tls.key': 'YWJj'}}"

static inline const json_t *desk_resource(const struct desk *d, const char *key)
{
    return json_object_get(d->wanted.resources, key);
}

#define CHECK_STATUS(d, key, type, want)                                                           \
    check_status(__FILE__, __LINE__, desk_resource(d, key), key, type, want)
