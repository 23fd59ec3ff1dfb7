// SPDX-License-Identifier: Apache-2.0
// SecuredAccess: the Service that leads to its pods, what lets others in from outside of the
// cluster, and where that is. One type of access is one row of a table.
#include <stdlib.h>

#include "base/mem.h"
#include "controller/inside.h"

#define LABEL "internal.skupper.io/secured-access"
static const char GATEWAY[] = "skupper";

struct access {
    struct planning *p;
    const json_t *wanted; // as the model has it
    const json_t *seen;   // as it stands in the API: it owns what is made for it
    const char *name, *told;
    json_t *endpoints;
    const char *error; // why there is nothing to make
};

static const char *or_empty(const char *text)
{
    return text ? text : "";
}

static const char *setting(const struct access *a, const char *name)
{
    return value_of(site_get(a->wanted, "spec.settings"), name);
}

// An option of a site of version 1 has a name for the router and one for the controller, which
// claims are redeemed at.
static const char *own_option(const struct access *a, const char *what)
{
    bool is_router = strcmp(a->name, "skupper-claims") != 0;
    char *key = str_fmt("%s-%s", is_router ? "router" : "controller", what);
    const char *text = site_option(a->p, key);

    free(key);
    return text;
}

// The host under which it is reached, where the cluster does not know it; "": not said.
static const char *host_option(const struct access *a)
{
    const char *own = own_option(a, "ingress-host");

    return own[0] ? own : site_option(a->p, "ingress-host");
}

static void put_annotations(struct access *a, json_t *object, const char *option)
{
    json_t *pairs = site_option_pairs(a->p, option);

    if (json_object_size(pairs) > 0)
        json_object_update_missing(object_annotations(object), pairs);
    json_decref(pairs);
}

static const json_t *ports(const struct access *a)
{
    return site_get(a->wanted, "spec.ports");
}

static json_int_t number(const json_t *port, const char *name)
{
    return json_integer_value(json_object_get(port, name));
}

// Takes `port`.
static void add_endpoint(struct access *a, const char *name, const char *host, json_t *port)
{
    if (host[0])
        json_array_append_new(
            a->endpoints, json_pack("{s:s, s:s, s:O}", "name", name, "host", host, "port", port));
    json_decref(port);
}

static json_t *port_text(json_int_t n)
{
    return json_sprintf("%lld", (long long)n);
}

static json_t *make(struct access *a, const char *api_version, const char *kind, const char *name)
{
    json_t *object = plan_object(a->p, api_version, kind, name, a->seen, a->told);

    json_object_set_new(object_labels(object), LABEL, json_string("true"));
    json_object_set_new(object_annotations(object), CONTROLLED, json_string("true"));
    return object;
}

static void put_service(struct access *a, const char *type)
{
    json_t *s = make(a, "v1", "Service", a->name), *list = json_array(), *port, *spec;
    size_t i;

    json_array_foreach((json_t *)(uintptr_t)ports(a), i, port)
    {
        json_int_t target = number(port, "targetPort");
        const char *protocol = site_text(port, "protocol");

        json_array_append_new(list,
                              json_pack("{s:s, s:I, s:I, s:s}", "name", site_text(port, "name"),
                                        "port", number(port, "port"), "targetPort",
                                        target > 0 ? target : number(port, "port"), "protocol",
                                        protocol[0] ? protocol : "TCP"));
    }
    spec = json_pack("{s:O, s:o}", "selector", site_get(a->wanted, "spec.selector"), "ports", list);
    json_object_set_new(spec, "type", json_string(type ? type : "ClusterIP"));
    if (type && strcmp(type, "LoadBalancer") == 0 && own_option(a, "load-balancer-ip")[0])
        json_object_set_new(spec, "loadBalancerIP", json_string(own_option(a, "load-balancer-ip")));
    json_object_set_new(s, "spec", spec);
    put_annotations(a, s,
                    strcmp(a->name, "skupper-claims") == 0 ? "controller-service-annotations"
                                                           : "router-service-annotations");
    template_apply(a->p, s);
}

// ------------------------------------------------------------------------------- within the
// cluster

static void local(struct access *a)
{
    char *host = str_fmt("%s.%s", a->name, a->p->f->ns);
    json_t *port;
    size_t i;

    put_service(a, NULL);
    json_array_foreach((json_t *)(uintptr_t)ports(a), i, port)
        add_endpoint(a, site_text(port, "name"), host, port_text(number(port, "port")));
    free(host);
}

// -------------------------------------------------------------------------------- by the Service

static void load_balancer(struct access *a)
{
    const json_t *seen = plan_seen(a->p, "Service", a->name);
    json_t *ingress, *port;
    size_t i, k;

    put_service(a, "LoadBalancer");
    json_array_foreach((json_t *)(uintptr_t)site_get(seen, "status.loadBalancer.ingress"), i,
                       ingress)
    {
        const char *ip = site_text(ingress, "ip");

        json_array_foreach((json_t *)(uintptr_t)ports(a), k, port)
            add_endpoint(a, site_text(port, "name"), ip[0] ? ip : site_text(ingress, "hostname"),
                         port_text(number(port, "port")));
    }
}

static void node_port(struct access *a)
{
    const json_t *seen = plan_seen(a->p, "Service", a->name);
    const char *own = host_option(a);
    const char *host = own[0] ? own : or_empty(a->p->f->settings->cluster_host);
    json_t *port;
    size_t i;

    put_service(a, "NodePort");
    if (!host[0])
        a->error = "nobody has said where the nodes are reached: router-ingress-host says it here, "
                   "-cluster-host at the controller";
    json_array_foreach((json_t *)(uintptr_t)site_get(seen, "spec.ports"), i, port)
    {
        if (number(port, "nodePort") > 0)
            add_endpoint(a, site_text(port, "name"), host, port_text(number(port, "nodePort")));
    }
}

// ------------------------------------------------------------------------------- by a name for
// each

// "<name>-<port>": an object for each port. The caller frees.
static char *port_object(const struct access *a, const json_t *port)
{
    return str_fmt("%s-%s", a->name, site_text(port, "name"));
}

static char *port_host(const struct access *a, const json_t *port, const char *domain)
{
    return str_fmt("%s-%s.%s.%s", a->name, site_text(port, "name"), a->p->f->ns, domain);
}

static void put_route(struct access *a, const json_t *port)
{
    char *name = port_object(a, port), *host = NULL;
    const char *domain = setting(a, "domain");
    json_t *route = make(a, "route.openshift.io/v1", "Route", name), *spec, *ingress;
    size_t i;

    spec = json_pack("{s:{s:s, s:s, s:i}, s:{s:s}, s:{s:s, s:s}}", "to", "kind", "Service", "name",
                     a->name, "weight", 100, "port", "targetPort", site_text(port, "name"), "tls",
                     "termination", "passthrough", "insecureEdgeTerminationPolicy", "None");
    if (domain[0]) {
        host = port_host(a, port, domain);
        json_object_set_new(spec, "host", json_string(host));
    }
    json_object_set_new(route, "spec", spec);
    put_annotations(a, route, "ingress-annotations");
    template_apply(a->p, route);
    json_array_foreach(
        (json_t *)(uintptr_t)site_get(plan_seen(a->p, "Route", name), "status.ingress"), i, ingress)
        add_endpoint(a, site_text(port, "name"), site_text(ingress, "host"), port_text(443));
    free(host);
    free(name);
}

static void route(struct access *a)
{
    json_t *port;
    size_t i;

    if (!a->p->f->settings->has_routes) {
        a->error = "unsupported access type";
        return;
    }
    put_service(a, NULL);
    json_array_foreach((json_t *)(uintptr_t)ports(a), i, port) put_route(a, port);
}

// What the ingress controller says where it is; the caller frees. "" while it does not.
static char *ingress_domain(const struct access *a)
{
    const char *given = or_empty(a->p->f->settings->ingress_domain), *own = setting(a, "domain");
    const json_t *first = json_array_get(
        site_get(plan_seen(a->p, "Ingress", a->name), "status.loadBalancer.ingress"), 0);

    if (own[0] || host_option(a)[0] || given[0])
        return xstrdup(own[0] ? own : host_option(a)[0] ? host_option(a) : given);
    if (site_text(first, "hostname")[0])
        return xstrdup(site_text(first, "hostname"));
    if (site_text(first, "ip")[0])
        return str_fmt("%s.nip.io", site_text(first, "ip"));
    return xstrdup("");
}

static json_t *ingress_rule(const struct access *a, const json_t *port, const char *host)
{
    json_t *rule = json_pack("{s:{s:[{s:s, s:s, s:{s:{s:s, s:{s:I}}}}]}}", "http", "paths", "path",
                             "/", "pathType", "Prefix", "backend", "service", "name", a->name,
                             "port", "number", number(port, "port"));

    if (host)
        json_object_set_new(rule, "host", json_string(host));
    return rule;
}

static void put_ingress(struct access *a, bool is_nginx)
{
    const char *own = setting(a, "ingressClassName");
    const char *class = own[0] ? own : or_empty(a->p->f->settings->ingress_class);
    json_t *ingress, *spec, *rules = json_array(), *port;
    char *domain = ingress_domain(a);
    size_t i;

    put_service(a, NULL);
    ingress = make(a, "networking.k8s.io/v1", "Ingress", a->name);
    json_array_foreach((json_t *)(uintptr_t)ports(a), i, port)
    {
        char *host =
            domain[0] ? str_fmt("%s.%s.%s", site_text(port, "name"), a->p->f->ns, domain) : NULL;

        json_array_append_new(rules, ingress_rule(a, port, host));
        if (host)
            add_endpoint(a, site_text(port, "name"), host, port_text(443));
        free(host);
    }
    spec = json_pack("{s:o}", "rules", rules);
    if (is_nginx) {
        json_t *notes = object_annotations(ingress);

        json_object_set_new(notes, "nginx.ingress.kubernetes.io/ssl-passthrough",
                            json_string("true"));
        json_object_set_new(notes, "nginx.ingress.kubernetes.io/ssl-redirect", json_string("true"));
    }
    if (class[0] || is_nginx)
        json_object_set_new(spec, "ingressClassName", json_string(class[0] ? class : "nginx"));
    json_object_set_new(ingress, "spec", spec);
    put_annotations(a, ingress, "ingress-annotations");
    template_apply(a->p, ingress);
    free(domain);
}

static void ingress(struct access *a)
{
    put_ingress(a, false);
}

static void ingress_nginx(struct access *a)
{
    put_ingress(a, true);
}

static void put_http_proxy(struct access *a, const json_t *port, const char *domain)
{
    char *name = port_object(a, port), *host = port_host(a, port, domain);
    json_t *proxy = make(a, "projectcontour.io/v1", "HTTPProxy", name);

    json_object_set_new(proxy, "spec",
                        json_pack("{s:{s:s, s:{s:b}}, s:{s:[{s:s, s:I}]}}", "virtualhost", "fqdn",
                                  host, "tls", "passthrough", 1, "tcpproxy", "services", "name",
                                  a->name, "port", number(port, "port")));
    put_annotations(a, proxy, "ingress-annotations");
    template_apply(a->p, proxy);
    add_endpoint(a, site_text(port, "name"), host, port_text(443));
    free(host);
    free(name);
}

static void contour(struct access *a)
{
    const char *own = setting(a, "domain")[0] ? setting(a, "domain") : host_option(a);
    const char *domain = own[0] ? own : or_empty(a->p->f->settings->http_proxy_domain);
    json_t *port;
    size_t i;

    if (!a->p->f->settings->has_http_proxies) {
        a->error = "unsupported access type";
        return;
    }
    if (!domain[0]) {
        a->error =
            "HTTP proxy domain not set: start the controller with -http-proxy-domain, or set "
            "spec.settings.domain";
        return;
    }
    put_service(a, NULL);
    json_array_foreach((json_t *)(uintptr_t)ports(a), i, port) put_http_proxy(a, port, domain);
}

// ---------------------------------------------------------------------------------------- Gateway

static const json_t *seen_gateway(const struct planning *p)
{
    const json_t *own = plan_seen(p, "Gateway", GATEWAY);

    for (size_t i = 0; !own && i < p->f->other_count; i++)
        if (is_kind(p->f->others[i], "Gateway") &&
            strcmp(site_text(p->f->others[i], "metadata.name"), GATEWAY) == 0 &&
            strcmp(site_text(p->f->others[i], "metadata.namespace"), p->f->settings->ns) == 0)
            own = p->f->others[i];
    return own;
}

// The first name among its addresses, else the first address; the caller frees. "": none yet.
static char *gateway_domain(const struct access *a)
{
    const char *given = or_empty(a->p->f->settings->gateway_domain), *ip = "", *own;
    json_t *address;
    size_t i;

    own = setting(a, "domain");
    if (own[0] || given[0])
        return xstrdup(own[0] ? own : given);
    json_array_foreach((json_t *)(uintptr_t)site_get(seen_gateway(a->p), "status.addresses"), i,
                       address)
    {
        if (strcmp(site_text(address, "type"), "Hostname") == 0)
            return xstrdup(site_text(address, "value"));
        if (!ip[0])
            ip = site_text(address, "value");
    }
    return ip[0] ? str_fmt("%s.nip.io", ip) : xstrdup("");
}

static int gateway_port(const struct planning *p)
{
    return p->f->settings->gateway_port > 0 ? p->f->settings->gateway_port : 8443;
}

static void put_tls_route(struct access *a, const json_t *port, const char *domain)
{
    char *name = port_object(a, port), *host = port_host(a, port, domain);
    json_t *r =
        plan_object(a->p, "gateway.networking.k8s.io/v1alpha2", "TLSRoute", name, a->seen, a->told);

    json_object_set_new(object_labels(r), "internal.skupper.io/securedaccess",
                        json_string(a->name));
    json_object_set_new(object_labels(r), CONTROLLED, json_string("true"));
    json_object_set_new(object_annotations(r), CONTROLLED, json_string("true"));
    json_object_set_new(r, "spec",
                        json_pack("{s:[{s:s, s:s, s:s}], s:[s], s:[{s:[{s:s, s:I}]}]}",
                                  "parentRefs", "name", GATEWAY, "namespace", a->p->f->settings->ns,
                                  "sectionName", "tls", "hostnames", host, "rules", "backendRefs",
                                  "name", a->name, "port", number(port, "port")));
    template_apply(a->p, r);
    add_endpoint(a, site_text(port, "name"), host, port_text(gateway_port(a->p)));
    free(host);
    free(name);
}

static void gateway(struct access *a)
{
    char *domain;
    json_t *port;
    size_t i;

    if (!a->p->f->settings->has_gateways) {
        a->error = "unsupported access type";
        return;
    }
    put_service(a, NULL);
    domain = gateway_domain(a);
    if (!domain[0])
        plan_trouble(a->p, a->told, "Gateway base domain not yet resolved");
    else
        json_array_foreach((json_t *)(uintptr_t)ports(a), i, port) put_tls_route(a, port, domain);
    free(domain);
}

// The one for all sites, in the controller's namespace.
static void put_gateway(struct planning *p)
{
    const struct controller_settings *s = p->f->settings;
    json_t *g;

    if (!s->has_gateways || strcmp(p->f->ns, s->ns) != 0 ||
        !json_object_get(p->access_types, "gateway"))
        return;
    g = plan_object(p, "gateway.networking.k8s.io/v1", "Gateway", GATEWAY, NULL, "Gateway/skupper");
    json_object_set_new(object_annotations(g), CONTROLLED, json_string("true"));
    json_object_set_new(g, "spec",
                        json_pack("{s:s, s:[{s:s, s:i, s:s, s:{s:s}, s:{s:{s:s}}}]}",
                                  "gatewayClassName", or_empty(s->gateway_class), "listeners",
                                  "name", "tls", "port", gateway_port(p), "protocol", "TLS", "tls",
                                  "mode", "Passthrough", "allowedRoutes", "namespaces", "from",
                                  "All"));
}

// ------------------------------------------------------------------------------------------- types

static const struct {
    const char *type;
    void (*realise)(struct access *a);
} types[] = {
    {"local", local},
    {"loadbalancer", load_balancer},
    {"nodeport", node_port},
    {"route", route},
    {"ingress", ingress},
    {"ingress-nginx", ingress_nginx},
    {"contour-http-proxy", contour},
    {"gateway", gateway},
};
enum { TYPES = sizeof(types) / sizeof(types[0]) };

static bool is_enabled(const struct planning *p, const char *type)
{
    return json_object_get(p->access_types, type) != NULL;
}

static const char *default_type(const struct planning *p)
{
    const struct controller_settings *s = p->f->settings;
    const char *first = json_object_iter_key(json_object_iter(p->access_types));

    if (s->default_access && s->default_access[0])
        return s->default_access;
    if (s->has_routes && is_enabled(p, "route"))
        return "route";
    if (is_enabled(p, "loadbalancer"))
        return "loadbalancer";
    return first ? first : "";
}

static void realise(struct access *a)
{
    const char *type = site_text(a->wanted, "spec.accessType");

    if (!type[0])
        type = default_type(a->p);
    a->error = "unsupported access type";
    for (size_t i = 0; i < TYPES; i++) {
        if (strcmp(types[i].type, type) != 0 || !is_enabled(a->p, type))
            continue;
        a->error = NULL;
        types[i].realise(a);
    }
    // What it had goes on working while its text is wrong.
    if (a->error)
        json_object_set_new(a->p->kept, site_text(a->seen, "metadata.uid"), json_true());
}

static void put_secured(struct planning *p, const json_t *wanted)
{
    const char *name = site_text(wanted, "metadata.name");
    const char *access = annotation(wanted, "internal.skupper.io/routeraccess");
    const json_t *owner = plan_seen(p, "RouterAccess", access);
    char *told;
    json_t *object;

    if (!owner)
        return; // it is made in this turn
    told = site_key("SecuredAccess", name);
    object = plan_object(p, SKUPPER_API, "SecuredAccess", name, owner, told);
    json_object_set_new(object_annotations(object), CONTROLLED, json_string("true"));
    json_object_set_new(object_annotations(object), "internal.skupper.io/routeraccess",
                        json_string(access));
    json_object_set(object, "spec", json_object_get(wanted, "spec"));
    template_apply(p, object);
    free(told);
}

static void access_object(struct planning *p, const json_t *wanted, json_t *facts)
{
    const char *name = site_text(wanted, "metadata.name");
    char *key = site_key("SecuredAccess", name);
    struct access a = {.p = p,
                       .wanted = wanted,
                       .seen = plan_owner(p, "SecuredAccess", name),
                       .name = name,
                       .told = key,
                       .endpoints = json_array()};

    if (!p->root && strcmp(annotation(wanted, CONTROLLED), "true") == 0)
        put_secured(p, wanted);
    if (a.seen)
        realise(&a);
    if (!a.error && json_object_get(p->trouble, key))
        a.error = value_of(p->trouble, key);
    json_object_set_new(
        facts, name,
        json_pack("{s:o, s:s}", "endpoints", a.endpoints, "error", a.error ? a.error : ""));
    free(key);
}

void access_objects(struct planning *p)
{
    json_t *facts = json_object(), *one;
    const char *key;

    put_gateway(p);
    json_object_foreach(p->out->site.resources, key, one)
    {
        if (is_kind(one, "SecuredAccess"))
            access_object(p, one, facts);
    }
    json_decref(p->secured);
    p->secured = facts;
}

static bool lists(const char *list, const char *word)
{
    size_t len = strlen(word);

    for (const char *at = strstr(list, word); at; at = strstr(at + 1, word))
        if ((at == list || at[-1] == ',' || at[-1] == ' ') &&
            (at[len] == '\0' || at[len] == ',' || at[len] == ' '))
            return true;
    return false;
}

int controller_settings_check(const struct controller_settings *s, struct why *why)
{
    const char *enabled = or_empty(s->access_types), *first = or_empty(s->default_access);

    if (first[0] && !lists(enabled, first)) {
        why_set(why, "Default access type \"%s\" is not in enabled list.", first);
        return ERR_INVALID;
    }
    // A site of version 1 may say itself where its nodes are reached.
    if (lists(enabled, "nodeport") && !or_empty(s->cluster_host)[0] && !s->reads_site_map) {
        why_set(why, "Cluster host must be set to enable nodeport access type.");
        return ERR_INVALID;
    }
    if (lists(enabled, "gateway") && !or_empty(s->gateway_class)[0]) {
        why_set(why, "Gateway class must be set to enable gateway access type.");
        return ERR_INVALID;
    }
    return 0;
}
