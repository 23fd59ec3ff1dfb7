// SPDX-License-Identifier: Apache-2.0
// Listener, MultiKeyListener and Connector: the ends of TCP services.
#include <stdlib.h>

#include "site/inside.h"

// The place is ours, or an older resource has it.
static bool claim_place(struct model *m, struct thing *t)
{
    const char *host = spec_text(t, "host");
    int64_t port = spec_int(t, "port", 0);
    char *who = thing_words(t);
    const char *holder = model_claim(m, host, port, who);

    if (holder)
        cond_error(t, "Configured", "%s with host %s and port %lld already exists in namespace",
                   holder, host, (long long)port);
    free(who);
    return !holder;
}

static void tell_configured(const struct model *m, struct thing *t, const char *type,
                            const char *entity)
{
    const char *trouble = entity_trouble(m, type, entity);

    if (cond_is_set(t, "Configured"))
        return;
    if (trouble)
        cond_error(t, "Configured", "%s", trouble);
    else
        cond_ready(t, "Configured");
}

// The attributes that all ends have.
static void put_common(struct model *m, const struct thing *t, json_t *attrs)
{
    put_text(attrs, "address", spec_text(t, "routingKey"));
    put_text(attrs, "siteId", m->facts->site_id);
}

static json_t *put_service(struct model *m, const struct thing *t, enum entity type,
                           const char *name)
{
    json_t *attrs = model_entity(m, type, name);
    char *port = str_fmt("%lld", (long long)spec_int(t, "port", 0));

    json_object_set_new(attrs, "host", json_string(spec_text(t, "host")));
    json_object_set_new(attrs, "port", json_string(port));
    put_common(m, t, attrs);
    free(port);
    return attrs;
}

// A listener's TLS towards its clients. False: it has to wait.
static bool listener_tls(struct model *m, struct thing *t)
{
    const char *name = spec_text(t, "tlsCredentials");

    return !name[0] || ((m->is_in_cluster || service_tls(m, t, spec_text(t, "host"))) &&
                        profile_use(m, t, "Configured", name, name, PROFILE_SERVICE));
}

// The router's end of a Listener, `port_name` what its port is called where a Service leads to it.
// NULL: it has to wait.
static json_t *put_listener(struct model *m, struct thing *t, const char *name,
                            const char *port_name)
{
    json_t *attrs;
    int64_t port;

    if (!claim_place(m, t))
        return NULL;
    if (m->is_in_cluster) {
        port = cluster_port(m, t, spec_text(t, "host"), port_name, name);
        attrs = port > 0 && listener_tls(m, t) ? cluster_listener(m, name, port) : NULL;
        if (attrs)
            put_common(m, t, attrs);
    } else {
        attrs = listener_tls(m, t) ? put_service(m, t, ENTITY_TCP_LISTENER, name) : NULL;
    }
    if (attrs) // which only a tcpListener has, whatever else a resource says
        put_text(attrs, "observer", spec_text(t, "observer"));
    return attrs;
}

// Towards sites of version 1 the routing key has the port in it, and streams another form.
static void speak_legacy(json_t *attrs, const char *legacy)
{
    if (!legacy)
        return;
    json_object_set_new(attrs, "address", json_string(legacy));
    json_object_set_new(attrs, "encapsulation", json_string("legacy"));
}

void listener_apply(struct model *m, struct thing *t)
{
    char *name = str_fmt("listener/%s", t->name);
    const char *key = spec_text(t, "routingKey");
    const char *legacy = json_string_value(json_object_get(m->legacy, key));
    bool is_matched = network_has(m->network.connectors, legacy ? legacy : key) ||
                      entity_is_up(m, "tcpListener", name);

    json_t *attrs = put_listener(m, t, name, t->name);

    if (attrs) {
        put_text(attrs, "sslProfile", spec_text(t, "tlsCredentials"));
        speak_legacy(attrs, legacy);
        if (m->is_in_cluster && spec_bool(t, "exposePodsByName"))
            cluster_pod_listeners(m, t, spec_text(t, "tlsCredentials"));
        tell_configured(m, t, "tcpListener", name);
    }
    json_object_set_new(t->status, "hasMatchingConnector", json_boolean(is_matched));
    cond_met(t, "Matched", is_matched, "No matching connectors");
    free(name);
}

// ---------------------------------------------------------------------------------- several keys

static void put_address(struct model *m, const struct thing *t, const char *listener,
                        const char *key, int64_t value)
{
    char *name = str_fmt("%s/%s", t->name, key);
    json_t *attrs = model_entity(m, ENTITY_LISTENER_ADDRESS, name);

    json_object_set_new(attrs, "address", json_string(key));
    json_object_set_new(attrs, "value", json_integer(value));
    json_object_set_new(attrs, "listener", json_string(listener));
    free(name);
}

static const json_t *priorities(const struct thing *t)
{
    return site_get(t->spec, "strategy.priority.routingKeys");
}

static const json_t *weights(const struct thing *t)
{
    return site_get(t->spec, "strategy.weighted.routingKeys");
}

static void put_addresses(struct model *m, const struct thing *t, const char *listener)
{
    size_t i, count = json_array_size(priorities(t));
    const char *key;
    json_t *v;

    // From the last on, so that of a key given twice the first place counts.
    for (i = count; i-- > 0;)
        put_address(m, t, listener, json_string_value(json_array_get(priorities(t), i)),
                    (int64_t)(count - 1 - i));
    json_object_foreach((json_t *)(uintptr_t)weights(t), key, v)
        put_address(m, t, listener, key, json_integer_value(v));
}

static bool tell_reachable(struct model *m, struct thing *t)
{
    json_t *list = json_array(), *map = json_object(), *v;
    bool is_any;
    size_t i;
    const char *key;

    json_array_foreach(priorities(t), i, v)
    {
        if (network_has(m->network.connectors, json_string_value(v)))
            list_add(list, json_string_value(v));
    }
    json_object_foreach((json_t *)(uintptr_t)weights(t), key, v)
    {
        if (network_has(m->network.connectors, key))
            json_object_set(map, key, v);
    }
    is_any = json_array_size(list) > 0 || json_object_size(map) > 0;
    if (is_any)
        json_object_set_new(t->status, "strategy",
                            weights(t)
                                ? json_pack("{s:{s:O}}", "weighted", "routingKeysReachable", map)
                                : json_pack("{s:{s:O}}", "priority", "routingKeysReachable", list));
    json_decref(list);
    json_decref(map);
    return is_any;
}

void multi_key_apply(struct model *m, struct thing *t)
{
    char *name = str_fmt("multiAddress/%s", t->name);
    char *port_name = str_fmt("multiaddress-%s", t->name);
    json_t *attrs = put_listener(m, t, name, port_name);
    bool has_any;

    if (attrs) {
        json_object_set_new(attrs, "multiAddressStrategy",
                            json_string(weights(t) ? "weighted" : "priority"));
        put_text(attrs, "sslProfile", spec_text(t, "tlsCredentials"));
        if (spec_bool(t, "requireClientCert"))
            json_object_set_new(attrs, "authenticatePeer", json_true());
        put_addresses(m, t, name);
        tell_configured(m, t, "tcpListener", name);
    }
    has_any = tell_reachable(m, t) || entity_is_up(m, "tcpListener", name);
    json_object_set_new(t->status, "hasDestination", json_boolean(has_any));
    cond_met(t, "Operational", has_any, "No matching connectors");
    free(port_name);
    free(name);
}

// ------------------------------------------------------------------------------------- connectors

bool connector_tls(struct model *m, struct thing *told, const json_t *spec, char **profile)
{
    const char *name = site_text(spec, "tlsCredentials");
    bool is_whole = json_is_true(json_object_get(spec, "useClientCert"));

    *profile = NULL;
    if (!name[0])
        return true;
    *profile = str_fmt("%s%s", name, is_whole ? "" : "-profile");
    return (m->is_in_cluster || service_tls(m, told, site_text(spec, "host"))) &&
           profile_use(m, told, "Configured", *profile, name,
                       is_whole ? PROFILE_SERVICE : PROFILE_CA);
}

static void connect_host(struct model *m, struct thing *t, const char *profile)
{
    char *name = str_fmt("connector/%s@%s", t->name, spec_text(t, "host"));
    json_t *attrs = put_service(m, t, ENTITY_TCP_CONNECTOR, name);

    if (profile) {
        json_object_set_new(attrs, "sslProfile", json_string(profile));
        json_object_set_new(attrs, "verifyHostname", json_boolean(spec_bool(t, "verifyHostname")));
    }
    tell_configured(m, t, "tcpConnector", name);
    free(name);
}

static void connect_pods(struct model *m, struct thing *t, const char *profile)
{
    struct workload w = {.name = t->name,
                         .ns = m->facts->namespace,
                         .selector = spec_text(t, "selector"),
                         .routing_key = spec_text(t, "routingKey"),
                         .profile = profile,
                         .port = spec_int(t, "port", 0),
                         .verifies_host = spec_bool(t, "verifyHostname"),
                         .has_unready = spec_bool(t, "includeNotReadyPods"),
                         .is_by_name = spec_bool(t, "exposePodsByName")};

    if (cluster_connect(m, t, &w) == 0)
        cond_error(t, "Configured", "No matches for selector");
    else
        cond_ready(t, "Configured");
}

void connector_apply(struct model *m, struct thing *t)
{
    bool is_matched = network_has(m->network.listeners, spec_text(t, "routingKey"));
    char *profile;

    if (connector_tls(m, t, t->spec, &profile)) {
        if (spec_text(t, "host")[0])
            connect_host(m, t, profile);
        else
            connect_pods(m, t, profile);
    }
    json_object_set_new(t->status, "hasMatchingListener", json_boolean(is_matched));
    cond_met(t, "Matched", is_matched, "No matching listeners");
    free(profile);
}
