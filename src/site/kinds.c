// SPDX-License-Identifier: Apache-2.0
// The kinds of resources in one table: fields, columns of `get`, conditions.
#include <stdlib.h>
#include <string.h>

#include "site/site.h"

#define API "skupper.io/v2alpha1"

#define FIELD(n, t, r, f, d)                                                                       \
    {                                                                                              \
        .name = n, .type = t, .rule = r, .flags = f, .initial = d                                  \
    }
#define TEXT(n) FIELD(n, SITE_TEXT, SITE_ANYTHING, 0, NULL)
#define NAME(n) FIELD(n, SITE_TEXT, SITE_NAME, 0, NULL)
#define FLAG(n) FIELD(n, SITE_BOOL, SITE_ANYTHING, 0, NULL)
#define SETTINGS FIELD("settings", SITE_MAP, SITE_ANYTHING, 0, NULL)
#define KEY FIELD("routingKey", SITE_TEXT, SITE_FILLED, SITE_REQUIRED, NULL)
#define HOST FIELD("host", SITE_TEXT, SITE_HOST, SITE_REQUIRED, NULL)
#define PORT FIELD("port", SITE_INT, SITE_PORT, SITE_REQUIRED, NULL)
#define PROTOCOL FIELD("type", SITE_TEXT, SITE_ANYTHING, 0, "tcp")
#define OBSERVER                                                                                   \
    {                                                                                              \
        .name = "observer", .type = SITE_TEXT, .words = observers                                  \
    }
#define PARTS(n, t, f, list)                                                                       \
    {                                                                                              \
        .name = n, .type = t, .flags = f, .fields = list                                           \
    }
#define END                                                                                        \
    {                                                                                              \
        .name = NULL                                                                               \
    }

static const char *const observers[] = {"auto", "none", "http1", "http2", NULL};

static const struct site_field site_spec[] = {TEXT("linkAccess"),
                                              NAME("serviceAccount"),
                                              NAME("defaultIssuer"),
                                              FLAG("ha"),
                                              FLAG("edge"),
                                              SETTINGS,
                                              END};

static const struct site_field endpoint_fields[] = {
    FIELD("name", SITE_TEXT, SITE_FILLED, SITE_REQUIRED, NULL), HOST,
    FIELD("port", SITE_TEXT, SITE_PORT, SITE_REQUIRED | SITE_NUMBER_AS_TEXT, NULL), TEXT("group"),
    END};
static const struct site_field link_spec[] = {
    PARTS("endpoints", SITE_LIST, SITE_REQUIRED, endpoint_fields), NAME("tlsCredentials"),
    FIELD("cost", SITE_INT, SITE_ANYTHING, 0, "1"), SETTINGS, END};

static const struct site_field listener_spec[] = {
    KEY,      HOST, PORT, PROTOCOL, NAME("tlsCredentials"), OBSERVER, FLAG("exposePodsByName"),
    SETTINGS, END};

static const struct site_field priority_fields[] = {
    FIELD("routingKeys", SITE_TEXTS, SITE_FILLED, SITE_REQUIRED, NULL), END};
static const struct site_field weighted_fields[] = {
    FIELD("routingKeys", SITE_WEIGHTS, SITE_FILLED, SITE_REQUIRED, NULL), END};
static const struct site_field strategy_fields[] = {
    PARTS("priority", SITE_OBJECT, 0, priority_fields),
    PARTS("weighted", SITE_OBJECT, 0, weighted_fields), END};
static const struct site_field multi_key_spec[] = {
    HOST,
    PORT,
    PARTS("strategy", SITE_OBJECT, SITE_REQUIRED, strategy_fields),
    NAME("tlsCredentials"),
    OBSERVER,
    FLAG("requireClientCert"),
    SETTINGS,
    END};

static const struct site_field connector_spec[] = {
    KEY,
    PORT,
    FIELD("selector", SITE_TEXT, SITE_SELECTOR, 0, NULL),
    FIELD("host", SITE_TEXT, SITE_HOST, 0, NULL),
    PROTOCOL,
    NAME("tlsCredentials"),
    FLAG("useClientCert"),
    FLAG("verifyHostname"),
    FLAG("includeNotReadyPods"),
    FLAG("exposePodsByName"),
    SETTINGS,
    END};

static const struct site_field attached_spec[] = {
    FIELD("siteNamespace", SITE_TEXT, SITE_NAME, SITE_REQUIRED, NULL),
    FIELD("selector", SITE_TEXT, SITE_SELECTOR, SITE_REQUIRED, NULL),
    PORT,
    NAME("tlsCredentials"),
    FLAG("useClientCert"),
    FLAG("includeNotReadyPods"),
    PROTOCOL,
    SETTINGS,
    END};
static const struct site_field binding_spec[] = {
    FIELD("connectorNamespace", SITE_TEXT, SITE_NAME, SITE_REQUIRED, NULL), KEY,
    FLAG("exposePodsByName"), SETTINGS, END};

static const struct site_field grant_spec[] = {
    FIELD("redemptionsAllowed", SITE_INT, SITE_COUNT, 0, "1"),
    FIELD("expirationWindow", SITE_TEXT, SITE_DURATION, 0, "15m"),
    TEXT("code"),
    NAME("issuer"),
    SETTINGS,
    END};
static const struct site_field token_spec[] = {
    FIELD("url", SITE_TEXT, SITE_FILLED, SITE_REQUIRED, NULL),
    FIELD("code", SITE_TEXT, SITE_FILLED, SITE_REQUIRED | SITE_NUMBER_AS_TEXT, NULL),
    FIELD("ca", SITE_TEXT, SITE_FILLED, SITE_REQUIRED, NULL),
    FIELD("linkCost", SITE_INT, SITE_COUNT, 0, NULL),
    SETTINGS,
    END};

static const char *const roles[] = {"inter-router", "edge", "normal", NULL};
static const struct site_field role_fields[] = {
    {.name = "name", .type = SITE_TEXT, .flags = SITE_REQUIRED, .words = roles},
    FIELD("port", SITE_INT, SITE_PORT, 0, NULL),
    END};
static const struct site_field access_spec[] = {
    PARTS("roles", SITE_LIST, SITE_REQUIRED, role_fields),
    FIELD("tlsCredentials", SITE_TEXT, SITE_NAME, SITE_REQUIRED_IN_CLUSTER, NULL),
    FLAG("generateTlsCredentials"),
    NAME("issuer"),
    TEXT("accessType"),
    FIELD("bindHost", SITE_TEXT, SITE_HOST, 0, NULL),
    FIELD("subjectAlternativeNames", SITE_TEXTS, SITE_FILLED, 0, NULL),
    SETTINGS,
    END};

static const struct site_field secured_port_fields[] = {
    FIELD("name", SITE_TEXT, SITE_FILLED, SITE_REQUIRED, NULL), PORT,
    FIELD("targetPort", SITE_INT, SITE_COUNT, 0, NULL), TEXT("protocol"), END};
static const struct site_field secured_spec[] = {
    FIELD("selector", SITE_MAP, SITE_ANYTHING, SITE_REQUIRED, NULL),
    PARTS("ports", SITE_LIST, SITE_REQUIRED, secured_port_fields),
    TEXT("accessType"),
    NAME("certificate"),
    NAME("issuer"),
    SETTINGS,
    END};

static const struct site_field certificate_spec[] = {
    TEXT("ca"),
    FIELD("subject", SITE_TEXT, SITE_FILLED, SITE_REQUIRED, NULL),
    FIELD("hosts", SITE_TEXTS, SITE_FILLED, 0, NULL),
    FLAG("client"),
    FLAG("server"),
    FLAG("signing"),
    SETTINGS,
    END};

#define STATUS                                                                                     \
    {                                                                                              \
        "Status", "status.status"                                                                  \
    }
#define MESSAGE                                                                                    \
    {                                                                                              \
        "Message", "status.message"                                                                \
    }
#define COLUMNS(...)                                                                               \
    (const struct site_column[])                                                                   \
    {                                                                                              \
        __VA_ARGS__,                                                                               \
        {                                                                                          \
            NULL, NULL                                                                             \
        }                                                                                          \
    }
#define WORDS(...)                                                                                 \
    (const char *const[])                                                                          \
    {                                                                                              \
        __VA_ARGS__, NULL                                                                          \
    }

// In the order in which they are applied: what others refer to by name comes first.
const struct site_kind site_kinds[] = {
    {"Secret", "secrets", "v1", WORDS(NULL), NULL, COLUMNS({NULL, NULL}), WORDS(NULL), false, true},
    {"ConfigMap", "configmaps", "v1", WORDS("cm"), NULL, COLUMNS({NULL, NULL}), WORDS(NULL), false,
     true},
    {"Site", "sites", API, WORDS("st"), site_spec,
     COLUMNS(STATUS, {"Sites In Network", "status.sitesInNetwork"}, MESSAGE),
     WORDS("Configured", "Running", "Resolved"), true, true},
    {"Certificate", "certificates", API, WORDS(NULL), certificate_spec,
     COLUMNS({"CA", "spec.ca"}, {"Server", "spec.server"}, {"Client", "spec.client"},
             {"Signing", "spec.signing"}, STATUS, {"Expiration", "status.expiration"}, MESSAGE),
     WORDS("Ready"), false, true},
    {"RouterAccess", "routeraccesses", API, WORDS(NULL), access_spec, COLUMNS(STATUS, MESSAGE),
     WORDS("Configured", "Resolved"), true, true},
    {"Link", "links", API, WORDS("ln"), link_spec,
     COLUMNS(STATUS, {"Remote Site", "status.remoteSiteName"}, MESSAGE),
     WORDS("Configured", "Operational"), true, true},
    {"Listener", "listeners", API, WORDS("lnr"), listener_spec,
     COLUMNS({"Routing Key", "spec.routingKey"}, {"Port", "spec.port"}, {"Host", "spec.host"},
             STATUS, {"Has Matching Connector", "status.hasMatchingConnector"}, MESSAGE),
     WORDS("Configured", "Matched"), true, true},
    {"MultiKeyListener", "multikeylisteners", API, WORDS(NULL), multi_key_spec,
     COLUMNS(STATUS, MESSAGE, {"HasDestination", "status.hasDestination"}),
     WORDS("Configured", "Operational"), false, true},
    {"Connector", "connectors", API, WORDS("cnr"), connector_spec,
     COLUMNS({"Routing Key", "spec.routingKey"}, {"Port", "spec.port"}, {"Host", "spec.host"},
             {"Selector", "spec.selector"}, STATUS,
             {"Has Matching Listener", "status.hasMatchingListener"}, MESSAGE),
     WORDS("Configured", "Matched"), true, true},
    {"AttachedConnector", "attachedconnectors", API, WORDS("acnr"), attached_spec,
     COLUMNS({"Port", "spec.port"}, {"Selector", "spec.selector"},
             {"Site Namespace", "spec.siteNamespace"}, STATUS),
     WORDS("Configured"), true, false},
    {"AttachedConnectorBinding", "attachedconnectorbindings", API, WORDS("acnrb"), binding_spec,
     COLUMNS({"Routing Key", "spec.routingKey"}, {"Connector Namespace", "spec.connectorNamespace"},
             STATUS, {"Has Matching Listener", "status.hasMatchingListener"}),
     WORDS("Configured", "Matched"), true, false},
    {"AccessGrant", "accessgrants", API, WORDS("grant", "gr"), grant_spec,
     COLUMNS({"Redemptions Allowed", "spec.redemptionsAllowed"},
             {"Redemptions Made", "status.redemptions"}, {"Expiration", "status.expirationTime"},
             STATUS, MESSAGE),
     WORDS("Processed", "Resolved"), true, true},
    {"AccessToken", "accesstokens", API, WORDS("token", "to"), token_spec,
     COLUMNS({"URL", "spec.url"}, {"Redeemed", "status.redeemed"}, STATUS, MESSAGE),
     WORDS("Redeemed"), false, true},
    {"SecuredAccess", "securedaccesses", API, WORDS(NULL), secured_spec, COLUMNS(STATUS, MESSAGE),
     WORDS("Configured", "Resolved"), true, false},
    {.name = NULL},
};

const struct site_kind *site_find_kind(struct str name)
{
    for (const struct site_kind *k = site_kinds; k->name; k++) {
        if (str_is_nocase(name, k->name) || str_is_nocase(name, k->plural))
            return k;
        for (size_t i = 0; k->short_names[i]; i++) {
            if (str_is_nocase(name, k->short_names[i]))
                return k;
        }
    }
    return NULL;
}

const struct site_platform site_linux = {"linux", true, false};
const struct site_platform site_kubernetes = {"kubernetes", false, true};

char *site_key(const char *kind, const char *name)
{
    return str_fmt("%s/%s", kind, name);
}

// ------------------------------------------------------------------------------------------- paths

// One step: "name", or "[3]" of a list. *path moves behind it.
static const json_t *step(const json_t *at, const char **path)
{
    const char *p = *path;
    size_t len;

    if (*p == '[') {
        char *end;
        unsigned long index = strtoul(p + 1, &end, 10);

        *path = *end == ']' ? end + 1 : end + strlen(end);
        return *end == ']' ? json_array_get(at, index) : NULL;
    }
    p += *p == '.';
    len = strcspn(p, ".[");
    *path = p + len;
    return json_object_getn(at, p, len);
}

const json_t *site_get(const json_t *resource, const char *path)
{
    while (resource && *path)
        resource = step(resource, &path);
    return json_is_null(resource) ? NULL : resource;
}

const char *site_text(const json_t *resource, const char *path)
{
    const char *text = json_string_value(site_get(resource, path));

    return text ? text : "";
}

const json_t *site_item(const json_t *list, const char *path, const char *text)
{
    json_t *item;
    size_t i;

    json_array_foreach((json_t *)(uintptr_t)list, i, item)
    {
        if (strcmp(site_text(item, path), text) == 0)
            return item;
    }
    return NULL;
}

const json_t *site_condition(const json_t *resource, const char *type)
{
    return site_item(site_get(resource, "status.conditions"), "type", type);
}
