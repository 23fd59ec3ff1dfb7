// SPDX-License-Identifier: Apache-2.0
// What a site has in a cluster alone: routers in pods, Services that lead to them, pods that
// connectors lead to, and SecuredAccesses, through which others reach a router. Objects of
// Kubernetes are not known here: what became of them is a fact.
#include <stdlib.h>

#include "base/mem.h"
#include "site/inside.h"

const char *const site_groups[SITE_GROUPS_MAX] = {"skupper-router", "skupper-router-2"};

enum {
    AMQPS_PORT = 5671,
    AMQP_PORT = 5672,
    HEALTH_PORT = 9090,
    INTER_ROUTER_PORT = 55671,
    EDGE_PORT = 45671,
    FIRST_PORT = 1024 // of tcpListeners
};

static const char SITE_CA[] = "skupper-site-ca", LOCAL_CA[] = "skupper-local-ca";
static const char LOCAL_SERVER[] = "skupper-local-server", SITE_SERVER[] = "skupper-site-server";
static const char LOCAL_NAME[] = "skupper-router-local";

static size_t group_count(const struct model *m)
{
    return m->site && spec_bool(m->site, "ha") && !m->is_edge ? 2 : 1;
}

// ------------------------------------------------------------------------------- what is always
// there

// The listeners of every router: health, and management from within the pod and from the namespace.
static void put_own_listeners(struct model *m)
{
    json_t *health = model_entity(m, ENTITY_LISTENER, "@9090");
    json_t *amqp = model_entity(m, ENTITY_LISTENER, "amqp");
    json_t *amqps = model_entity(m, ENTITY_LISTENER, "amqps");
    json_t *wanted =
        json_pack("{s:s, s:i, s:b, s:s, s:b, s:b}", "role", "normal", "port", HEALTH_PORT, "http",
                  1, "httpRootDir", "disabled", "healthz", 1, "metrics", 1);

    json_object_update(health, wanted);
    json_decref(wanted);
    json_object_set_new(amqp, "host", json_string("localhost"));
    json_object_set_new(amqp, "port", json_integer(AMQP_PORT));
    wanted = json_pack("{s:i, s:s, s:s, s:b}", "port", AMQPS_PORT, "sslProfile", LOCAL_SERVER,
                       "saslMechanisms", "EXTERNAL", "authenticatePeer", 1);
    json_object_update(amqps, wanted);
    json_decref(wanted);
    model_claim(m, "", HEALTH_PORT, "the router's health");
    model_claim(m, "", AMQP_PORT, "the router's management");
    model_claim(m, "", AMQPS_PORT, "the router's management");
}

// The listener amqps is in the configuration from the first on: a router starts when the
// certificate is there, not before.
static void put_local_profile(struct model *m, struct thing *site)
{
    static const char *const files[][2] = {
        {"caCertFile", "ca.crt"}, {"certFile", "tls.crt"}, {"privateKeyFile", "tls.key"}};
    json_t *attrs;

    if (certificate_is_there(m, LOCAL_SERVER)) {
        profile_use(m, site, "Configured", LOCAL_SERVER, LOCAL_SERVER, PROFILE_WHOLE);
        return;
    }
    attrs = model_entity(m, ENTITY_SSL_PROFILE, LOCAL_SERVER);
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
        json_object_set_new(attrs, files[i][0],
                            json_sprintf("%s/%s/%s", m->facts->base, LOCAL_SERVER, files[i][1]));
}

static void want_authority(struct model *m, const char *name, const char *what)
{
    char *subject = str_fmt("%s %s CA", m->site->name, what);

    certificate_authority(m, name, subject);
    certificate_owner(m, name, m->site, NULL);
    free(subject);
}

static void want_own_certificates(struct model *m)
{
    json_t *hosts = json_array();

    json_array_append_new(hosts, json_string(LOCAL_NAME));
    json_array_append_new(hosts, json_sprintf("%s.%s", LOCAL_NAME, m->facts->namespace));
    json_array_append_new(hosts,
                          json_sprintf("%s.%s.svc.cluster.local", LOCAL_NAME, m->facts->namespace));
    want_authority(m, SITE_CA, "site");
    want_authority(m, LOCAL_CA, "local");
    certificate_leaf(m, LOCAL_SERVER, LOCAL_CA, LOCAL_NAME, hosts, CERTIFICATE_SERVER);
    certificate_owner(m, LOCAL_SERVER, m->site, hosts);
    json_decref(hosts);
}

// Settings that stand in ours already are kept.
static json_t *access_settings(const struct model *m)
{
    char *key = site_key("RouterAccess", site_groups[0]);
    const json_t *before = site_get(json_object_get(m->facts->previous, key), "spec.settings");
    json_t *settings = before ? json_deep_copy(before) : json_object();
    const char *class = site_setting(m, "ingressClassName", NULL);

    if (class && class[0])
        json_object_set_new(settings, "ingressClassName", json_string(class));
    else if (class)
        json_object_del(settings, "ingressClassName");
    free(key);
    return settings;
}

static json_t *access_spec(const struct model *m)
{
    const char *type = spec_text(m->site, "linkAccess");
    json_t *settings = access_settings(m);
    json_t *spec =
        json_pack("{s:[{s:s, s:i}, {s:s, s:i}], s:s, s:s, s:b}", "roles", "name", "inter-router",
                  "port", INTER_ROUTER_PORT, "name", "edge", "port", EDGE_PORT, "tlsCredentials",
                  SITE_SERVER, "issuer", m->issuer, "generateTlsCredentials", 1);

    if (strcmp(type, "default") != 0)
        json_object_set_new(spec, "accessType", json_string(type));
    if (json_object_size(settings) > 0)
        json_object_set(spec, "settings", settings);
    json_decref(settings);
    return spec;
}

// What there is goes on as it is while the Site's wish cannot be understood.
static json_t *former_spec(const struct model *m)
{
    char *key = site_key("RouterAccess", site_groups[0]);
    const json_t *spec = site_get(json_object_get(m->facts->previous, key), "spec");

    free(key);
    return spec ? json_deep_copy(spec) : NULL;
}

bool cluster_has_access(const struct model *m)
{
    const char *access = spec_text(m->site, "linkAccess");

    return !m->facts->access_types || !access_is_wanted(m) || strcmp(access, "default") == 0 ||
           json_object_get(m->facts->access_types, access);
}

void cluster_defaults(struct model *m)
{
    json_t *spec;

    put_own_listeners(m);
    want_own_certificates(m);
    put_local_profile(m, m->site);
    if (!access_is_wanted(m) || model_find(m, "RouterAccess", site_groups[0]))
        return;
    spec = cluster_has_access(m) ? access_spec(m) : former_spec(m);
    if (spec)
        access_apply(m, model_make(m, "RouterAccess", site_groups[0], spec));
}

// --------------------------------------------------------------------------------- SecuredAccess

static void want_certificate(struct model *m, struct thing *t, const json_t *endpoints)
{
    const char *name = spec_text(t, "certificate"), *issuer = spec_text(t, "issuer");
    json_t *hosts = json_array(), *e;
    size_t i;

    if (!name[0])
        name = t->name;
    json_array_foreach(endpoints, i, e) list_add(hosts, site_text(e, "host"));
    list_add(hosts, t->name);
    json_array_append_new(hosts, json_sprintf("%s.%s", t->name, m->facts->namespace));
    if (certificate_leaf(m, name, issuer, t->name, hosts, CERTIFICATE_SERVER))
        certificate_owner(m, name, t, hosts);
    else
        cond_error(t, "Configured",
                   "spec.certificate: \"%s\" is the name of another certificate of this namespace; "
                   "choose a different one",
                   name);
    json_decref(hosts);
}

void secured_apply(struct model *m, struct thing *t)
{
    const json_t *fact = json_object_get(m->facts->secured, t->name);
    json_t *endpoints = json_object_get(fact, "endpoints");
    const char *error = site_text(fact, "error");

    if (spec_text(t, "issuer")[0])
        want_certificate(m, t, endpoints);
    if (error[0])
        cond_error(t, "Configured", "%s", error);
    if (!cond_is_set(t, "Configured"))
        cond_ready(t, "Configured");
    if (json_array_size(endpoints) > 0)
        json_object_set(t->status, "endpoints", endpoints);
    cond_met(t, "Resolved", json_array_size(endpoints) > 0, "Pending");
}

static json_t *secured_spec(struct model *m, const struct thing *access, const char *group)
{
    const char *issuer = spec_text(access, "issuer"), *type = spec_text(access, "accessType");
    const json_t *settings = json_object_get(access->spec, "settings");
    json_t *ports = json_array(), *role, *spec;
    size_t i;

    json_array_foreach(json_object_get(access->spec, "roles"), i, role)
    {
        json_int_t port = json_integer_value(json_object_get(role, "port"));
        const char *name = site_text(role, "name");

        if (port == 0)
            port = strcmp(name, "edge") == 0     ? EDGE_PORT
                   : strcmp(name, "normal") == 0 ? AMQPS_PORT
                                                 : INTER_ROUTER_PORT;
        json_array_append_new(ports, json_pack("{s:s, s:I, s:I, s:s}", "name", name, "port", port,
                                               "targetPort", port, "protocol", "TCP"));
    }
    spec = json_pack("{s:{s:s, s:s}, s:o, s:s}", "selector", "skupper.io/component", "router",
                     "skupper.io/group", group, "ports", ports, "certificate",
                     spec_text(access, "tlsCredentials"));
    put_text(spec, "accessType", type);
    if (spec_bool(access, "generateTlsCredentials"))
        put_text(spec, "issuer", issuer[0] ? issuer : m->issuer);
    if (json_object_size(settings) > 0)
        json_object_set(spec, "settings", (json_t *)(uintptr_t)settings);
    return spec;
}

static void add_endpoints(struct model *m, const struct thing *secured, const char *group,
                          json_t *to)
{
    json_t *all = json_object_get(m->site->status, "endpoints"), *e;
    size_t i;

    if (!all) {
        all = json_array();
        json_object_set_new(m->site->status, "endpoints", all);
    }
    json_array_foreach(json_object_get(secured->status, "endpoints"), i, e)
    {
        json_t *mine = json_deep_copy(e);

        json_object_set_new(mine, "group", json_string(group));
        json_array_append(to, mine);
        json_array_append(all, mine);
        if (strcmp(site_text(e, "name"), "normal") != 0 && !m->is_edge)
            json_array_append(m->out->endpoints, mine);
        json_decref(mine);
    }
}

static char *secured_name(const struct thing *access, size_t group)
{
    return group == 0 ? xstrdup(access->name) : str_fmt("%s-%zu", access->name, group + 1);
}

static void expose_group(struct model *m, struct thing *access, size_t group, json_t *endpoints)
{
    char *name = secured_name(access, group);
    struct thing *s;
    json_t *notes;

    if (model_find(m, "SecuredAccess", name)) {
        cond_error(access, "Configured",
                   "SecuredAccess %s already exists in namespace and is not controlled by skupper",
                   name);
    } else {
        s = model_make(m, "SecuredAccess", name, secured_spec(m, access, site_groups[group]));
        notes = json_object_get(json_object_get(s->value, "metadata"), "annotations");
        json_object_set_new(notes, "internal.skupper.io/routeraccess", json_string(access->name));
        secured_apply(m, s);
        add_endpoints(m, s, site_groups[group], endpoints);
    }
    free(name);
}

void cluster_expose(struct model *m, struct thing *access)
{
    json_t *endpoints = json_array();

    for (size_t i = 0; i < group_count(m); i++)
        expose_group(m, access, i, endpoints);
    cond_met(access, "Resolved", json_array_size(endpoints) > 0, "Pending");
    if (json_array_size(endpoints) > 0)
        json_object_set(access->status, "endpoints", endpoints);
    json_decref(endpoints);
}

void cluster_tell_exposed(struct model *m, struct thing *access)
{
    for (size_t i = 0; i < group_count(m); i++) {
        char *name = secured_name(access, i);
        const struct thing *s = model_find(m, "SecuredAccess", name);

        if (s && strcmp(cond_message(s, "Configured"), "OK") != 0)
            cond_error(access, "Configured", "%s", cond_message(s, "Configured"));
        free(name);
    }
}

// -------------------------------------------------------------------------------------- Listeners

// The router's port for a tcpListener; 0 while it is not chosen.
static int64_t chosen_port(struct model *m, struct thing *t, const char *entity)
{
    int64_t port = json_integer_value(json_object_get(m->facts->ports, entity));

    if (port >= 1 && port <= 65535)
        return port;
    json_array_append_new(
        m->out->ports, json_pack("{s:s, s:i, s:s}", "key", entity, "from", FIRST_PORT, "host", ""));
    cond_pending(t, "Configured", "the router's port is not chosen yet");
    return 0;
}

int64_t cluster_port(struct model *m, struct thing *t, const char *service, const char *port,
                     const char *entity)
{
    const json_t *taken = json_object_get(m->facts->taken, service);
    json_t *ports = json_object_get(m->out->local_services, service);
    // What the server refuses is wanted all the same: it is tried again, and the router listens.
    int64_t target = json_is_true(taken) ? 0 : chosen_port(m, t, entity);

    if (json_is_true(taken))
        cond_error(t, "Configured", "Service %s already exists in namespace", service);
    else if (taken)
        cond_error(t, "Configured", "%s", json_string_value(taken));
    if (target == 0)
        return 0;
    if (!ports) {
        ports = json_array();
        json_object_set_new(m->out->local_services, service, ports);
    }
    json_array_append_new(ports, json_pack("{s:s, s:I, s:I}", "name", port, "port",
                                           (json_int_t)spec_int(t, "port", 0), "targetPort",
                                           (json_int_t)target));
    return target;
}

json_t *cluster_listener(struct model *m, const char *entity, int64_t port)
{
    json_t *attrs = model_entity(m, ENTITY_TCP_LISTENER, entity);

    json_object_set_new(attrs, "port", json_sprintf("%lld", (long long)port));
    return attrs;
}

static void listen_for_pod(struct model *m, struct thing *t, const char *key, const char *pod,
                           const char *profile)
{
    char *entity = str_fmt("listener/%s@%s", t->name, pod), *who = thing_words(t);
    const char *holder = model_claim(m, pod, spec_int(t, "port", 0), who);
    json_t *attrs = NULL;
    int64_t port;

    if (holder && strcmp(holder, who) != 0)
        cond_error(t, "Configured", "%s with host %s and port %lld already exists in namespace",
                   holder, pod, (long long)spec_int(t, "port", 0));
    else if (!holder && (port = cluster_port(m, t, pod, t->name, entity)) > 0)
        attrs = cluster_listener(m, entity, port);
    if (attrs) {
        json_object_set_new(attrs, "address", json_string(key));
        put_text(attrs, "siteId", m->facts->site_id);
        put_text(attrs, "observer", spec_text(t, "observer"));
        put_text(attrs, "sslProfile", profile);
    }
    free(who);
    free(entity);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

void cluster_pod_listeners(struct model *m, struct thing *t, const char *profile)
{
    char *prefix = str_fmt("%s.", spec_text(t, "routingKey"));
    const char **keys = xcalloc(json_object_size(m->network.connectors) + 1, sizeof(*keys)), *key;
    size_t count = 0, len = strlen(prefix);
    json_t *v;

    json_object_foreach(m->network.connectors, key, v)
    {
        if (strncmp(key, prefix, len) == 0 && site_is_namespace(str_of(key + len)))
            keys[count++] = key;
    }
    qsort(keys, count, sizeof(*keys), by_text);
    for (size_t i = 0; i < count; i++)
        listen_for_pod(m, t, keys[i], keys[i] + len, profile);
    free(keys);
    free(prefix);
}

// -------------------------------------------------------------------------------------- workloads

static void put_connector(struct model *m, const struct workload *w, const json_t *pod,
                          const char *last, char *take_key)
{
    char *name = str_fmt("connector/%s@%s", w->name, last);
    json_t *attrs = model_entity(m, ENTITY_TCP_CONNECTOR, name);

    json_object_set_new(attrs, "host", json_string(site_text(pod, "ip")));
    json_object_set_new(attrs, "port", json_sprintf("%lld", (long long)w->port));
    put_text(attrs, "address", take_key);
    put_text(attrs, "siteId", m->facts->site_id);
    put_text(attrs, "processId", site_text(pod, "uid"));
    if (w->profile) {
        json_object_set_new(attrs, "sslProfile", json_string(w->profile));
        json_object_set_new(attrs, "verifyHostname", json_boolean(w->verifies_host));
    }
    free(take_key);
    free(name);
}

static bool is_selected(const struct workload *w, const json_t *pod)
{
    return (w->has_unready || json_is_true(json_object_get(pod, "ready"))) &&
           site_text(pod, "ip")[0] &&
           site_selects(str_of(w->selector), json_object_get(pod, "labels"));
}

size_t cluster_connect(struct model *m, struct thing *t, const struct workload *w)
{
    json_t *selected = json_array(), *pod;
    size_t i, count;

    json_array_foreach(json_object_get(m->facts->pods, w->ns), i, pod)
    {
        const char *name = site_text(pod, "name"), *ip = site_text(pod, "ip");

        if (!is_selected(w, pod))
            continue;
        json_array_append_new(selected, json_pack("{s:s, s:s}", "name", name, "ip", ip));
        if (!w->routing_key)
            continue; // only counted
        put_connector(m, w, pod, ip, xstrdup(w->routing_key));
        if (w->is_by_name)
            put_connector(m, w, pod, name, str_fmt("%s.%s", w->routing_key, name));
    }
    count = json_array_size(selected);
    if (t && count > 0)
        json_object_set(t->status, "selectedPods", selected);
    json_decref(selected);
    return count;
}

// ------------------------------------------------------------------------- attached from elsewhere

static const json_t *find_attached(const struct model *m, const char *kind, const char *ns,
                                   const char *name)
{
    size_t i;
    json_t *one;

    json_array_foreach(m->facts->attached, i, one)
    {
        if (strcmp(site_text(one, "kind"), kind) == 0 &&
            strcmp(site_text(one, "metadata.namespace"), ns) == 0 &&
            strcmp(site_text(one, "metadata.name"), name) == 0)
            return one;
    }
    return NULL;
}

// The connector's side: whether the site lets it in, and which pods it selects.
void attached_apply(struct model *m, struct thing *t)
{
    const char *ns = spec_text(t, "siteNamespace");
    bool is_here = strcmp(ns, m->facts->namespace) == 0;
    const struct thing *own = is_here ? model_find(m, "AttachedConnectorBinding", t->name) : NULL;
    const json_t *binding = is_here ? (own ? own->value : NULL)
                                    : find_attached(m, "AttachedConnectorBinding", ns, t->name);
    const char *allowed = site_text(binding, "spec.connectorNamespace");
    struct workload w = {.name = t->name,
                         .ns = m->facts->namespace,
                         .selector = spec_text(t, "selector"),
                         .has_unready = spec_bool(t, "includeNotReadyPods")};
    size_t count = cluster_connect(m, t, &w);

    if (!binding)
        cond_error(t, "Configured", "No matching AttachedConnectorBinding in site namespace");
    else if (strcmp(allowed, m->facts->namespace) != 0)
        cond_error(
            t, "Configured",
            "AttachedConnectorBinding %s/%s does not allow AttachedConnector in %s (only %s)", ns,
            t->name, m->facts->namespace, allowed);
    else if (count == 0)
        cond_error(t, "Configured", "No matches for selector");
    else
        cond_ready(t, "Configured");
}

static void bind(struct model *m, struct thing *t, const json_t *connector)
{
    const json_t *spec = json_object_get(connector, "spec");
    char *profile;
    struct workload w = {.name = t->name,
                         .ns = spec_text(t, "connectorNamespace"),
                         .selector = site_text(spec, "selector"),
                         .routing_key = spec_text(t, "routingKey"),
                         .port = json_integer_value(json_object_get(spec, "port")),
                         .has_unready = json_is_true(json_object_get(spec, "includeNotReadyPods")),
                         .is_by_name = spec_bool(t, "exposePodsByName")};

    if (connector_tls(m, t, spec, &profile)) {
        w.profile = profile;
        if (cluster_connect(m, NULL, &w) == 0)
            cond_error(t, "Configured", "No matches for selector");
        else
            cond_ready(t, "Configured");
    }
    free(profile);
}

// The site's side: its router connects to the pods of the other namespace.
void binding_apply(struct model *m, struct thing *t)
{
    const char *ns = spec_text(t, "connectorNamespace");
    bool is_here = strcmp(ns, m->facts->namespace) == 0;
    const struct thing *own = is_here ? model_find(m, "AttachedConnector", t->name) : NULL;
    const json_t *connector =
        is_here ? (own ? own->value : NULL) : find_attached(m, "AttachedConnector", ns, t->name);
    bool is_matched = network_has(m->network.listeners, spec_text(t, "routingKey"));

    if (!connector || strcmp(site_text(connector, "spec.siteNamespace"), m->facts->namespace) != 0)
        cond_error(t, "Configured", "No matching AttachedConnector");
    else
        bind(m, t, connector);
    json_object_set_new(t->status, "hasMatchingListener", json_boolean(is_matched));
    cond_met(t, "Matched", is_matched, "Pending");
}
