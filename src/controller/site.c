// SPDX-License-Identifier: Apache-2.0
// The objects of a Site: for each router a ConfigMap and a Deployment; what lets its pods into the
// API; the Service through which the namespace manages it; and the Services of Listeners.
#include <stdlib.h>

#include "base/mem.h"
#include "controller/inside.h"
#include "pki/pki.h"

static const char CERTS[] = "/etc/skupper-router-certs", PROXIES[] = "/etc/skupper-router-proxies";
static const char NAME[] = "skupper-router", LOCAL[] = "skupper-router-local";
enum { INTER_ROUTER_PORT = 55671, EDGE_PORT = 45671, AMQPS_PORT = 5671, HTTP_PORT = 9090 };

static json_t *site_object(struct planning *p, const char *api_version, const char *kind,
                           const char *name)
{
    char *told = site_key("Site", site_text(p->site, "metadata.name"));
    json_t *object = plan_object(p, api_version, kind, name, p->site, told);

    free(told);
    return object;
}

static void put_labels(json_t *labels)
{
    json_object_set_new(labels, "app.kubernetes.io/name", json_string(NAME));
    json_object_set_new(labels, "app.kubernetes.io/part-of", json_string("skupper"));
    json_object_set_new(labels, "application", json_string(NAME));
    json_object_set_new(labels, "skupper.io/component", json_string("router"));
}

static const char *setting(const struct planning *p, const char *name, const char *other)
{
    const json_t *settings = site_get(p->site, "spec.settings");
    const char *text = value_of(settings, name);

    return text[0] ? text : value_of(settings, other);
}

static bool is_true_text(const char *text)
{
    static const char *const words[] = {"1", "t", "T", "true", "True", "TRUE", NULL};

    for (size_t i = 0; words[i]; i++)
        if (strcmp(text, words[i]) == 0)
            return true;
    return false;
}

// ------------------------------------------------------------------------------------ ConfigMap

// The first role for routers, with the RouterAccess that has it.
static const json_t *peer_role(const struct planning *p, const json_t **access)
{
    const char *key;
    json_t *one, *role;
    size_t i;

    json_object_foreach(p->out->site.resources, key, one)
    {
        if (!is_kind(one, "RouterAccess"))
            continue;
        json_array_foreach((json_t *)(uintptr_t)site_get(one, "spec.roles"), i, role)
        {
            if (strcmp(site_text(role, "name"), "inter-router") != 0)
                continue;
            // Of several the first by name, whatever the order in which they came.
            if (!*access ||
                strcmp(site_text(one, "metadata.name"), site_text(*access, "metadata.name")) < 0)
                *access = one;
        }
    }
    json_array_foreach((json_t *)(uintptr_t)site_get(*access, "spec.roles"), i, role)
    {
        if (strcmp(site_text(role, "name"), "inter-router") == 0)
            return role;
    }
    return NULL;
}

static bool has_profile(const json_t *config, const char *name)
{
    json_t *pair;
    size_t i;

    json_array_foreach((json_t *)(uintptr_t)config, i, pair)
    {
        if (strcmp(json_string_value(json_array_get(pair, 0)), "sslProfile") == 0 &&
            strcmp(site_text(json_array_get(pair, 1), "name"), name) == 0)
            return true;
    }
    return false;
}

// The name of the SecuredAccess, and its Service, that leads to a router.
static char *access_name(const json_t *access, size_t group)
{
    const char *name = site_text(access, "metadata.name");

    return group == 0 ? xstrdup(name) : str_fmt("%s-%zu", name, group + 1);
}

// Of two routers each connects to the other, which is all that makes them one site: so one that is
// started anew knows the network before it is ready, whoever calls whom otherwise.
static json_t *config_of(const struct planning *p, size_t group)
{
    json_t *config = json_copy(p->out->site.router), *pair;
    const json_t *access = NULL, *role = p->groups > 1 ? peer_role(p, &access) : NULL;
    const char *profile = site_text(access, "spec.tlsCredentials");
    json_int_t port = json_integer_value(json_object_get(role, "port"));
    size_t i, at = 0;
    char *peer;

    if (!role || !has_profile(config, profile))
        return config;
    peer = access_name(access, group == 0 ? 1 : 0);
    json_array_foreach(config, i, pair)
    {
        const char *type = json_string_value(json_array_get(pair, 0));

        if (strcmp(type, "router") == 0 || strcmp(type, "sslProfile") == 0)
            at = i + 1;
    }
    json_array_insert_new(
        config, at,
        json_pack("[s, {s:s, s:s, s:s, s:o, s:i, s:s}]", "connector", "name",
                  site_groups[group == 0 ? 1 : 0], "role", "inter-router", "host", peer, "port",
                  json_sprintf("%lld", (long long)(port > 0 ? port : INTER_ROUTER_PORT)), "cost", 1,
                  "sslProfile", profile));
    free(peer);
    return config;
}

// As a site of version 1 may say it of connections between routers.
static json_t *with_frames(const struct planning *p, json_t *take)
{
    json_t *size = site_option_number(p, "xp-router-max-frame-size"), *config = take, *pair;
    json_t *frames = site_option_number(p, "xp-router-max-session-frames");
    size_t i;

    if (size || frames) {
        config = json_deep_copy(take);
        json_decref(take);
    }
    json_array_foreach(config, i, pair)
    {
        json_t *attrs = json_array_get(pair, 1);
        const char *role = site_text(attrs, "role");

        if (strcmp(role, "inter-router") != 0 && strcmp(role, "edge") != 0)
            continue;
        if (size)
            json_object_set(attrs, "maxFrameSize", size);
        if (frames)
            json_object_set(attrs, "maxSessionFrames", frames);
    }
    json_decref(size);
    json_decref(frames);
    return config;
}

static void put_config(struct planning *p, size_t group)
{
    json_t *map = site_object(p, "v1", "ConfigMap", site_groups[group]);
    json_t *config = with_frames(p, config_of(p, group));
    char *text = json_dumps(config, JSON_INDENT(4));

    json_object_set_new(object_labels(map), "internal.skupper.io/router-config", json_string(""));
    json_object_set_new(map, "data", json_pack("{s:s}", "skrouterd.json", text));
    template_apply(p, map);
    free(text);
    json_decref(config);
}

// ------------------------------------------------------------------------------------ permissions

static const char role_rules[] =
    "[{\"apiGroups\":[\"\"],\"resources\":[\"secrets\",\"pods\"],\"verbs\":[\"get\",\"list\","
    "\"watch\"]},"
    "{\"apiGroups\":[\"\"],\"resources\":[\"configmaps\"],\"verbs\":[\"get\",\"list\",\"watch\","
    "\"create\",\"update\",\"delete\"]},"
    "{\"apiGroups\":[\"apps\"],\"resources\":[\"deployments\"],\"verbs\":[\"get\"]},"
    "{\"apiGroups\":[\"\"],\"resources\":[\"secrets\"],\"verbs\":[\"update\",\"delete\"]},"
    "{\"apiGroups\":[\"\"],\"resources\":[\"services\"],\"verbs\":[\"get\",\"list\",\"watch\"]},"
    "{\"apiGroups\":[\"coordination.k8s.io\"],\"resources\":[\"leases\"],\"verbs\":[\"get\","
    "\"list\",\"watch\",\"create\",\"update\",\"delete\"]}]";

static void put_permissions(struct planning *p)
{
    static const char api[] = "rbac.authorization.k8s.io/v1";
    json_t *role = site_object(p, api, "Role", NAME);
    json_t *binding = site_object(p, api, "RoleBinding", NAME);

    site_object(p, "v1", "ServiceAccount", NAME);
    json_object_set_new(role, "rules", json_loads(role_rules, 0, NULL));
    json_object_set_new(binding, "subjects",
                        json_pack("[{s:s, s:s, s:s}]", "kind", "ServiceAccount", "name", NAME,
                                  "namespace", p->f->ns));
    json_object_set_new(binding, "roleRef",
                        json_pack("{s:s, s:s, s:s}", "apiGroup", "rbac.authorization.k8s.io",
                                  "kind", "Role", "name", NAME));
}

// ------------------------------------------------------------------------------------- Deployment

// Changes with what only a new pod can take up.
static void config_digest(const struct planning *p, char out[65])
{
    char *all =
        str_fmt("%s%s%s", json_is_true(site_get(p->site, "spec.edge")) ? "edge" : "interior",
                setting(p, "router-data-connection-count", "routerDataConnections"),
                setting(p, "router-logging", "routerLogging"));

    pki_digest(str_of(all), out);
    free(all);
}

static json_t *env(const char *name, const char *value)
{
    return json_pack("{s:s, s:s}", "name", name, "value", value);
}

static json_t *port(const char *name, int number)
{
    return json_pack("{s:s, s:i, s:s}", "name", name, "containerPort", number, "protocol", "TCP");
}

static json_t *probe(const char *path, int number, int delay, int period, int failures)
{
    return json_pack("{s:{s:s, s:i, s:s}, s:i, s:i, s:i, s:i}", "httpGet", "path", path, "port",
                     number, "scheme", "HTTP", "initialDelaySeconds", delay, "periodSeconds",
                     period, "failureThreshold", failures, "timeoutSeconds", 1);
}

// A router is ready a moment after it starts: it is asked at once, and each second.
static json_t *readiness(const char *path, int number)
{
    return probe(path, number, 0, 1, 10);
}

static void put_quantity(json_t *resources, const char *kind, const char *what, const json_t *size,
                         const char *key)
{
    const char *value = value_of(size, key);
    json_t *of;

    if (!value[0])
        return;
    of = json_object_get(resources, kind);
    if (!of) {
        of = json_object();
        json_object_set_new(resources, kind, of);
    }
    json_object_set_new(of, what, json_string(value));
}

static void put_size(const struct planning *p, json_t *container, const char *who)
{
    static const char *const what[] = {"cpu", "memory"};
    const json_t *size = template_size(p, setting(p, "size", ""));
    json_t *resources = json_object();

    for (size_t i = 0; i < 2; i++) {
        char *request = str_fmt("%s-%s-request", who, what[i]);
        char *limit = str_fmt("%s-%s-limit", who, what[i]);

        put_quantity(resources, "requests", what[i], size, request);
        put_quantity(resources, "limits", what[i], size, limit);
        free(request);
        free(limit);
    }
    if (json_object_size(resources) > 0)
        json_object_set(container, "resources", resources);
    json_decref(resources);
}

// Takes `env`.
static json_t *container(const struct planning *p, const char *name, bool is_router, json_t *take)
{
    const struct controller_settings *s = p->f->settings;
    const char *image = is_router ? s->router_image : s->adaptor_image;
    const char *policy = is_router ? s->router_pull_policy : s->adaptor_pull_policy;
    json_t *c =
        json_pack("{s:s, s:s, s:o, s:[{s:s, s:s}, {s:s, s:s}]}", "name", name, "image",
                  image ? image : "", "env", take, "volumeMounts", "name", "skupper-router-certs",
                  "mountPath", CERTS, "name", "skupper-router-proxies", "mountPath", PROXIES);

    if (policy && policy[0])
        json_object_set_new(c, "imagePullPolicy", json_string(policy));
    if (!s->leaves_security_context)
        json_object_set_new(c, "securityContext",
                            json_pack("{s:b, s:{s:[s]}, s:b}", "allowPrivilegeEscalation", 0,
                                      "capabilities", "drop", "ALL", "runAsNonRoot", 1));
    put_size(p, c, is_router ? "router" : "adaptor");
    return c;
}

// With another router beside it, clients have somewhere to go while this one ends. The second takes
// a little longer, so that routers told to end at one time do not leave the network at one time.
// Both are done within the grace period that pods have (30 s).
static void put_drain(const struct planning *p, size_t group, json_t *variables)
{
    static const char *const accept_s[SITE_GROUPS_MAX] = {"3", "6"};
    static const char *const all_s[SITE_GROUPS_MAX] = {"24", "27"};

    if (p->groups < 2)
        return;
    json_array_append_new(variables, env("SKUPPER_DRAIN_SECONDS", all_s[group]));
    json_array_append_new(variables, env("SKUPPER_DRAIN_ACCEPT_SECONDS", accept_s[group]));
}

static json_t *router_container(const struct planning *p, size_t group)
{
    json_t *variables =
        json_pack("[o, o, o]", env("QDROUTERD_CONF", "/etc/skupper-router-certs/skrouterd.json"),
                  env("QDROUTERD_CONF_TYPE", "json"), env("SKUPPER_SITE_ID", p->site_uid));
    json_t *c;

    put_drain(p, group, variables);
    c = container(p, "router", true, variables);
    json_object_set_new(c, "ports",
                        json_pack("[o, o, o, o]", port("amqps", AMQPS_PORT),
                                  port("http", HTTP_PORT), port("inter-router", INTER_ROUTER_PORT),
                                  port("edge", EDGE_PORT)));
    json_object_set_new(c, "livenessProbe", probe("/healthz", HTTP_PORT, 60, 10, 3));
    json_object_set_new(c, "readinessProbe", readiness("/healthz/ready", HTTP_PORT));
    return c;
}

static json_t *adaptor_container(const struct planning *p, const char *group)
{
    json_t *list =
        json_pack("[{s:s, s:{s:{s:s, s:s}}}, o, o, o, o]", "name", "SKUPPER_NAMESPACE", "valueFrom",
                  "fieldRef", "apiVersion", "v1", "fieldPath", "metadata.namespace",
                  env("SKUPPER_SITE_ID", p->site_uid),
                  env("SKUPPER_SITE_NAME", site_text(p->site, "metadata.name")),
                  env("SKUPPER_ROUTER_CONFIG", group), env("SKUPPER_ROUTER_DEPLOYMENT", group));
    json_t *c = container(p, "kube-adaptor", false, list);

    json_object_set_new(c, "ports", json_pack("[o]", port("metrics", 9000)));
    json_object_set_new(c, "readinessProbe", readiness("/healthz", 9191));
    return c;
}

static json_t *init_container(const struct planning *p, const char *group)
{
    json_t *c =
        container(p, "config-init", false, json_pack("[o]", env("SKUPPER_ROUTER_CONFIG", group)));

    json_object_set_new(c, "command", json_pack("[s, s]", "/app/kube-adaptor", "-init"));
    return c;
}

// Two routers rather not on one node.
static json_t *apart(void)
{
    return json_pack("{s:{s:[{s:i, s:{s:s, s:{s:{s:s, s:s}}}}]}}", "podAntiAffinity",
                     "preferredDuringSchedulingIgnoredDuringExecution", "weight", 100,
                     "podAffinityTerm", "topologyKey", "kubernetes.io/hostname", "labelSelector",
                     "matchLabels", "application", NAME, "skupper.io/type", "site");
}

static json_t *near_pods(const struct planning *p, const char *option)
{
    json_t *labels = annotated_pairs(site_option(p, option)), *term = NULL;

    if (json_object_size(labels) > 0)
        term = json_pack("{s:i, s:{s:s, s:{s:O}}}", "weight", 100, "podAffinityTerm", "topologyKey",
                         "kubernetes.io/hostname", "labelSelector", "matchLabels", labels);
    json_decref(labels);
    return term;
}

// Beside pods with these labels, and away from those, where that is possible.
static void put_affinity(const struct planning *p, json_t *spec)
{
    static const char *const kinds[][2] = {{"podAffinity", "router-pod-affinity"},
                                           {"podAntiAffinity", "router-pod-antiaffinity"}};
    static const char preferred[] = "preferredDuringSchedulingIgnoredDuringExecution";
    json_t *affinity = json_object();

    if (p->groups > 1 && !is_true_text(setting(p, "disable-anti-affinity", ""))) {
        json_decref(affinity);
        affinity = apart();
    }
    for (size_t i = 0; i < 2; i++) {
        json_t *term = near_pods(p, kinds[i][1]), *kind = json_object_get(affinity, kinds[i][0]);

        if (term && kind)
            json_array_append(json_object_get(kind, preferred), term);
        else if (term)
            json_object_set_new(affinity, kinds[i][0], json_pack("{s:[O]}", preferred, term));
        json_decref(term);
    }
    if (json_object_size(affinity) > 0)
        json_object_set(spec, "affinity", affinity);
    json_decref(affinity);
}

static void put_security(const struct planning *p, json_t *spec)
{
    json_t *user = site_option_number(p, "run-as-user");
    json_t *group = site_option_number(p, "run-as-group"), *context = json_object();

    if (!p->f->settings->leaves_security_context)
        json_object_update_new(context, json_pack("{s:b, s:{s:s}}", "runAsNonRoot", 1,
                                                  "seccompProfile", "type", "RuntimeDefault"));
    if (user)
        json_object_set(context, "runAsUser", user);
    if (group)
        json_object_set(context, "runAsGroup", group);
    if (json_object_size(context) > 0)
        json_object_set(spec, "securityContext", context);
    json_decref(context);
    json_decref(user);
    json_decref(group);
}

static json_t *pod_spec(const struct planning *p, size_t number)
{
    const char *group = site_groups[number];
    const char *account = site_text(p->site, "spec.serviceAccount");
    json_t *spec = json_pack("{s:s, s:[o], s:[o, o], s:[{s:s, s:{}}, {s:s, s:{}}]}",
                             "serviceAccountName", account[0] ? account : NAME, "initContainers",
                             init_container(p, group), "containers", router_container(p, number),
                             adaptor_container(p, group), "volumes", "name", "skupper-router-certs",
                             "emptyDir", "name", "skupper-router-proxies", "emptyDir");
    json_t *nodes;

    nodes = annotated_pairs(site_option(p, "router-node-selector"));
    if (json_object_size(nodes) > 0)
        json_object_set(spec, "nodeSelector", nodes);
    json_decref(nodes);
    put_security(p, spec);
    put_affinity(p, spec);
    return spec;
}

// Labels and annotations of templates are the pod's too.
static json_t *pod_metadata(const struct planning *p, const json_t *deployment, const char *group)
{
    const json_t *notes = site_get(deployment, "metadata.annotations");
    json_t *labels = json_deep_copy(site_get(deployment, "metadata.labels"));
    json_t *annotations = notes ? json_deep_copy(notes) : json_object();
    json_t *more = site_option_pairs(p, "router-pod-annotations");
    char digest[65];

    config_digest(p, digest);
    json_object_update_missing(annotations, more);
    json_decref(more);
    json_object_set_new(labels, "skupper.io/group", json_string(group));
    json_object_set_new(annotations, "prometheus.io/port", json_string("9090"));
    json_object_set_new(annotations, "prometheus.io/scrape", json_string("true"));
    json_object_set_new(annotations, "skupper.io/config-digest", json_string(digest));
    return json_pack("{s:o, s:o}", "labels", labels, "annotations", annotations);
}

static void put_deployment(struct planning *p, size_t group)
{
    const char *name = site_groups[group];
    json_t *d = site_object(p, "apps/v1", "Deployment", name), *labels = object_labels(d);

    put_labels(labels);
    json_object_set_new(labels, "skupper.io/type", json_string("site"));
    template_apply(p, d);
    json_object_set_new(d, "spec",
                        json_pack("{s:i, s:{s:{s:s}}, s:{s:o, s:o}}", "replicas", 1, "selector",
                                  "matchLabels", "skupper.io/component", "router", "template",
                                  "metadata", pod_metadata(p, d, name), "spec",
                                  pod_spec(p, group)));
}

// --------------------------------------------------------------------------------------- Services

static void put_local_service(struct planning *p)
{
    json_t *s = site_object(p, "v1", "Service", LOCAL), *selector = json_object();

    put_labels(selector);
    template_apply(p, s);
    json_object_set_new(s, "spec",
                        json_pack("{s:[{s:s, s:i, s:i, s:s}], s:o}", "ports", "name", "amqps",
                                  "port", AMQPS_PORT, "targetPort", AMQPS_PORT, "protocol", "TCP",
                                  "selector", selector));
}

static void put_listener_service(struct planning *p, const char *name, const json_t *ports)
{
    json_t *s = plan_object(p, "v1", "Service", name, p->site, NULL);
    json_t *list = json_array(), *one;
    size_t i;

    json_object_set_new(object_labels(s), SERVICE_LABEL,
                        json_string(site_text(json_array_get(ports, 0), "name")));
    json_object_set_new(object_annotations(s), CONTROLLED, json_string("true"));
    json_array_foreach((json_t *)(uintptr_t)ports, i, one)
    {
        json_t *with = json_copy(one);

        json_object_set_new(with, "protocol", json_string("TCP"));
        json_array_append_new(list, with);
    }
    json_object_set_new(s, "spec",
                        json_pack("{s:o, s:{s:s, s:s}}", "ports", list, "selector", "application",
                                  NAME, "skupper.io/component", "router"));
    template_apply(p, s);
}

// A RouterAccess of the Site, unless a user wrote it.
static void put_access(struct planning *p)
{
    char *key = site_key("RouterAccess", NAME);
    const json_t *wanted = json_object_get(p->out->site.resources, key);
    json_t *object;

    if (!p->root && wanted && strcmp(annotation(wanted, CONTROLLED), "true") == 0) {
        object = site_object(p, SKUPPER_API, "RouterAccess", NAME);
        json_object_set_new(object_annotations(object), CONTROLLED, json_string("true"));
        json_object_set(object, "spec", json_object_get(wanted, "spec"));
    }
    free(key);
}

// The site has a Service of that name itself, or is about to.
static bool is_own_service(const struct planning *p, const char *name)
{
    char *key = site_key("SecuredAccess", name);
    bool is = strcmp(name, LOCAL) == 0 || json_object_get(p->out->site.resources, key);

    free(key);
    return is;
}

static void put_service(struct planning *p, const char *name, const json_t *ports)
{
    json_t *named = services_ports(p, ports);

    if (is_own_service(p, name))
        json_object_set_new(p->taken, name, json_true());
    else if (!services_put(p, name, ports))
        put_listener_service(p, name, named);
    json_decref(named);
}

void site_objects(struct planning *p)
{
    const char *name;
    json_t *ports;

    if (!site_text(p->site, "spec.serviceAccount")[0])
        put_permissions(p);
    put_access(p);
    put_local_service(p);
    for (size_t i = 0; i < p->groups; i++) {
        put_config(p, i);
        put_deployment(p, i);
    }
    json_object_foreach(p->out->site.local_services, name, ports) put_service(p, name, ports);
}
