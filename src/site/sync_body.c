// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/yaml.h"
#include "site/sync.h"

// The text of a message: a list of services. Read with only the members we know, so that what is
// kept is bounded by what is understood; written sorted, so that equal sets are equal texts.

struct member {
    const char *name;
    json_type type; // JSON_TRUE: a boolean
    bool counts;    // a difference is a change
};

static const struct member members[] = {
    {"address", JSON_STRING, false},
    {"protocol", JSON_STRING, true},
    {"ports", JSON_ARRAY, true},
    {"exposeIngress", JSON_STRING, false},
    {"eventchannel", JSON_TRUE, true},
    {"aggregate", JSON_STRING, true},
    {"headless", JSON_OBJECT, true},
    {"labels", JSON_OBJECT, true},
    {"annotations", JSON_OBJECT, true},
    {"targets", JSON_ARRAY, false},
    {"tlsCredentials", JSON_STRING, true},
    {"tlsCertAuthority", JSON_STRING, true},
    {"publishNotReadyAddresses", JSON_TRUE, true},
    {"bridgeImage", JSON_STRING, false},
};
enum { MEMBER_COUNT = sizeof(members) / sizeof(members[0]), ADDRESS_MAX = 253 };

static bool fits(const json_t *v, json_type type)
{
    return type == JSON_TRUE ? json_is_boolean(v) : v && json_typeof(v) == type;
}

// As if it were not there.
static bool is_nothing(const json_t *v)
{
    return !v || json_is_false(v) || (json_is_string(v) && json_string_length(v) == 0) ||
           (json_is_object(v) && json_object_size(v) == 0) ||
           (json_is_array(v) && json_array_size(v) == 0);
}

bool body_equivalent(const json_t *a, const json_t *b)
{
    for (size_t i = 0; i < MEMBER_COUNT; i++) {
        json_t *left = json_object_get(a, members[i].name);
        json_t *right = json_object_get(b, members[i].name);

        if (members[i].counts && !(is_nothing(left) && is_nothing(right)) &&
            !json_equal(left, right))
            return false;
    }
    return true;
}

// ----------------------------------------------------------------------------------- the old form

// headless.targetPort becomes targetPorts {port: targetPort or port}.
static void convert_headless(json_t *headless, json_t *port)
{
    json_t *target = json_object_get(headless, "targetPort");
    json_t *ports;
    char key[24];

    if (!json_is_object(headless) || json_object_get(headless, "targetPorts"))
        return;
    snprintf(key, sizeof(key), "%lld", (long long)json_integer_value(port));
    ports = json_object();
    json_object_set(ports, key, json_integer_value(target) > 0 ? target : port);
    json_object_set_new(headless, "targetPorts", ports);
    json_object_del(headless, "targetPort");
}

// A single port, as releases before 0.8 wrote it. Targets are local and not looked at.
static void convert(json_t *service)
{
    json_t *port = json_object_get(service, "port");

    if (!json_is_integer(port) || json_object_get(service, "ports"))
        return;
    json_object_set_new(service, "ports", json_pack("[O]", port));
    convert_headless(json_object_get(service, "headless"), port);
}

// ---------------------------------------------------------------------------------------- reading

static bool is_port_list(const json_t *ports)
{
    for (size_t i = 0; i < json_array_size(ports); i++)
        if (!json_is_integer(json_array_get(ports, i)))
            return false;
    return true;
}

// What we know of it; NULL when it has no usable name.
static json_t *known_members(const json_t *service)
{
    const json_t *address = json_object_get(service, "address");
    json_t *known;

    if (!json_is_string(address) || json_string_length(address) == 0 ||
        json_string_length(address) > ADDRESS_MAX)
        return NULL;
    known = json_object();
    for (size_t i = 0; i < MEMBER_COUNT; i++) {
        json_t *v = json_object_get(service, members[i].name);

        if (fits(v, members[i].type) && strcmp(members[i].name, "targets") != 0 &&
            (strcmp(members[i].name, "ports") != 0 || is_port_list(v)))
            json_object_set(known, members[i].name, v);
    }
    return known;
}

int body_read(struct str text, json_t **out, struct why *why)
{
    json_error_t error;
    json_t *list = json_loadb(text.ptr ? text.ptr : "", text.len, 0, &error), *services;
    bool is_old;

    if (!list) {
        why_set(why, "it is no JSON: %s", error.text);
        return ERR_DECODE;
    }
    if (!json_is_array(list)) {
        json_decref(list);
        why_set(why, "it is no list of services");
        return ERR_INVALID;
    }
    is_old = !json_object_get(json_array_get(list, 0), "ports");
    services = json_array();
    for (size_t i = 0; i < json_array_size(list); i++) {
        json_t *service = json_array_get(list, i), *known;

        if (is_old)
            convert(service);
        known = known_members(service);
        if (known)
            json_array_append_new(services, known);
    }
    json_decref(list);
    *out = services;
    return 0;
}

// ---------------------------------------------------------------------------------------- writing

static int by_address(const void *left, const void *right)
{
    const json_t *a = *(json_t *const *)left, *b = *(json_t *const *)right;

    return strcmp(site_text(a, "address"), site_text(b, "address"));
}

// What others need; nothing of targets, which are local.
static json_t *outward(const json_t *service)
{
    json_t *out = json_object();

    for (size_t i = 0; i < MEMBER_COUNT; i++) {
        const char *name = members[i].name;
        json_t *v = json_object_get(service, name);

        if (strcmp(name, "targets") == 0)
            json_object_set_new(out, name, json_array());
        else if (strcmp(name, "exposeIngress") == 0)
            json_object_set_new(out, name, json_string(""));
        else if (strcmp(name, "ports") == 0 && !v)
            json_object_set_new(out, name, json_array());
        else if (strcmp(name, "address") == 0 || strcmp(name, "protocol") == 0 ||
                 strcmp(name, "ports") == 0 || !is_nothing(v))
            json_object_set(out, name, v);
    }
    return out;
}

char *body_write(const json_t *services)
{
    size_t count = json_array_size(services), kept = 0;
    json_t **list = xcalloc(count + 1, sizeof(json_t *)), *out = json_array();
    char *text;

    for (size_t i = 0; i < count; i++)
        if (site_text(json_array_get(services, i), "address")[0])
            list[kept++] = json_array_get(services, i);
    qsort(list, kept, sizeof(json_t *), by_address);
    for (size_t i = 0; i < kept; i++)
        if (i == 0 || by_address(&list[i - 1], &list[i]) != 0)
            json_array_append_new(out, outward(list[i]));
    text = json_text(out, JSON_COMPACT);
    json_decref(out);
    free(list);
    return text;
}
