// SPDX-License-Identifier: Apache-2.0
// A router on a table: it does what the operations of a difference say, and insists on their order.
#pragma once

#include "site/rig_test.h"

static inline const char *short_type(const json_t *op)
{
    const char *type = strrchr(site_text(op, "type"), '.') + 1;

    return type;
}

// The place of an entity in a configuration; SIZE_MAX: none.
static inline size_t place_of(const json_t *config, const char *type, const char *name)
{
    size_t i;
    json_t *pair;

    json_array_foreach(config, i, pair)
    {
        const json_t *attrs = json_array_get(pair, 1);
        const char *is = site_text(attrs, "name");

        if (strcmp(type, "address") == 0)
            is = site_text(attrs, "prefix");
        if (strcmp(type, "log") == 0)
            is = site_text(attrs, "module");
        if (strcmp(json_string_value(json_array_get(pair, 0)), type) == 0 && strcmp(is, name) == 0)
            return i;
    }
    return SIZE_MAX;
}

static inline void check_refers(const json_t *config, const json_t *attrs)
{
    const char *profile = site_text(attrs, "sslProfile"), *listener = site_text(attrs, "listener");

    if (profile[0] && place_of(config, "sslProfile", profile) == SIZE_MAX)
        fail_msg("there is no sslProfile %s", profile);
    if (listener[0] && place_of(config, "tcpListener", listener) == SIZE_MAX)
        fail_msg("there is no tcpListener %s", listener);
}

// Nothing that is there may refer to it.
static inline void check_unused(const json_t *config, const char *type, const char *name)
{
    const char *attr = strcmp(type, "sslProfile") == 0    ? "sslProfile"
                       : strcmp(type, "tcpListener") == 0 ? "listener"
                                                          : NULL;
    size_t i;
    json_t *pair;

    json_array_foreach(config, i, pair)
    {
        if (attr && strcmp(site_text(json_array_get(pair, 1), attr), name) == 0)
            fail_msg("%s %s is still in use", type, name);
    }
}

static inline void apply_operation(json_t *config, const json_t *op)
{
    const char *operation = site_text(op, "operation"), *type = short_type(op);
    size_t at = place_of(config, type, site_text(op, "name"));
    json_t *attrs = json_object_get(op, "attributes"), *v;
    const char *key;

    if (strcmp(operation, "CREATE") == 0) {
        CHECK(at == SIZE_MAX);
        check_refers(config, attrs);
        json_array_append_new(config, json_pack("[s, O]", type, attrs));
    } else if (strcmp(operation, "DELETE") == 0) {
        CHECK(at != SIZE_MAX);
        check_unused(config, type, site_text(op, "name"));
        json_array_remove(config, at);
    } else {
        if (at == SIZE_MAX && strcmp(type, "log") == 0) { // they are always there
            at = json_array_size(config);
            json_array_append_new(config,
                                  json_pack("[s, {s:s}]", type, "module", site_text(op, "name")));
        }
        CHECK(at != SIZE_MAX);
        json_object_foreach(attrs, key, v)
        {
            if (json_is_null(v))
                json_object_del(json_array_get(json_array_get(config, at), 1), key);
            else
                json_object_set(json_array_get(json_array_get(config, at), 1), key, v);
        }
        if (strcmp(type, "log") == 0 &&
            !json_object_get(json_array_get(json_array_get(config, at), 1), "enable"))
            json_array_remove(config, at);
    }
}

// A copy of `config` after the operations; the caller owns it.
static inline json_t *applied_to(const json_t *config, const json_t *operations)
{
    json_t *copy = json_deep_copy(config), *op;
    size_t i;

    json_array_foreach(operations, i, op) apply_operation(copy, op);
    return copy;
}
