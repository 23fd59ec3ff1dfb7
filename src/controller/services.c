// SPDX-License-Identifier: Apache-2.0
// Services as sites of version 1 have them: definitions in the ConfigMap skupper-services. Those of
// annotated objects are written there, those that users wrote there or other sites told of (the
// agent beside the router writes them down) are read. Each becomes what the model knows: a Listener
// and Connectors for each port, with the routing key ADDRESS:PORT, which exist in the plan alone.
//
// Who defines a service: a user in the ConfigMap, else an annotation, else another site.
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "controller/inside.h"

#define MAP "skupper-services"
static const char SYNC[] = "skupper.io/service-sync"; // of the Site: "false" is off
static const char TTL[] = "skupper.io/service-sync-site-ttl";
static const char NO_PODS[] = "No matches for selector";
// Whatever users made is older, and so comes first where two want the same.
static const char LATE[] = "9999-01-01T00:00:00Z";

static bool is_annotations(const json_t *definition)
{
    return strcmp(site_text(definition, "origin"), "annotation") == 0;
}

static bool is_local(const json_t *definition)
{
    return !site_text(definition, "origin")[0] || is_annotations(definition);
}

static void wrong(struct planning *p, const char *key, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void wrong(struct planning *p, const char *key, const char *fmt, ...)
{
    char words[WHY_MAX];
    va_list args;

    if (json_object_get(p->wrong, key))
        return;
    va_start(args, fmt);
    vsnprintf(words, sizeof(words), fmt, args);
    va_end(args);
    json_object_set_new(p->wrong, key, json_string(words));
}

// Whose fault a definition is.
static const char *blamed(const struct planning *p, const char *address)
{
    const char *key = json_string_value(json_object_get(p->told_by, address));

    return key ? key : "ConfigMap/" MAP;
}

// -------------------------------------------------------------------------------------- ConfigMap

// Releases before 0.8 knew one port.
static void convert(json_t *d)
{
    json_t *port = json_object_get(d, "port"), *target, *one;
    size_t i;

    if (json_object_get(d, "ports") || !json_is_integer(port))
        return;
    json_object_set_new(d, "ports", json_pack("[O]", port));
    json_array_foreach(json_object_get(d, "targets"), i, one)
    {
        char *key = str_fmt("%lld", (long long)json_integer_value(port));

        target = json_object_get(one, "targetPort");
        json_object_set_new(
            one, "targetPorts",
            json_pack("{s:O}", key, json_integer_value(target) > 0 ? target : port));
        free(key);
    }
}

static bool has_good_ports(const json_t *d)
{
    json_t *ports = json_object_get(d, "ports"), *one;
    size_t i;

    json_array_foreach(ports, i, one)
    {
        if (!json_is_integer(one) || json_integer_value(one) < 1 || json_integer_value(one) > 65535)
            return false;
    }
    return json_array_size(ports) > 0;
}

// What is wrong with a definition; NULL: nothing.
static const char *fault_of(const char *address, const json_t *d)
{
    static const char *const known[] = {"tcp", "http", "http2", NULL};
    bool is_known = false;

    for (size_t i = 0; known[i]; i++)
        is_known |= strcmp(site_text(d, "protocol"), known[i]) == 0;
    if (!json_is_object(d))
        return "it is no JSON object";
    if (strcmp(site_text(d, "address"), address) != 0 || !annotated_is_address(address))
        return "address: it has to be its key, and a name for a Service";
    if (!is_known)
        return "protocol: it is not one of tcp, http, http2";
    return has_good_ports(d) ? NULL : "ports: it has to be a list of ports";
}

static void take_stored(struct planning *p, const char *address, const json_t *text,
                        const json_t *annotated)
{
    json_t *d = json_loads(json_string_value(text) ? json_string_value(text) : "", 0, NULL);
    json_t *own = json_object_get(annotated, address);
    const char *fault;

    convert(d);
    fault = fault_of(address, d);
    if (is_annotations(d) && !own) {
        json_object_set_new(p->entries, address, json_null());
    } else if (is_annotations(d) || (own && site_text(d, "origin")[0])) {
        if (!json_equal(d, own))
            json_object_set(p->entries, address, own);
        json_object_set(p->definitions, address, own);
    } else if (own) {
        wrong(p, blamed(p, address), "the service \"%s\" is defined in the ConfigMap %s already",
              address, MAP);
        json_object_del(p->told_by, address);
    }
    if (fault && !is_annotations(d))
        wrong(p, "ConfigMap/" MAP, "%s: %s", address, fault);
    else if (!json_object_get(p->definitions, address) && !is_annotations(d))
        json_object_set(p->definitions, address, d);
    json_decref(d);
}

static void read_definitions(struct planning *p)
{
    const json_t *map = plan_seen(p, "ConfigMap", MAP), *stored = json_object_get(map, "data");
    json_t *annotated = annotated_read(p, p->told_by, p->wrong), *v;
    const char *address;

    json_object_foreach((json_t *)(uintptr_t)stored, address, v)
        take_stored(p, address, v, annotated);
    json_object_foreach(annotated, address, v)
    {
        if (json_object_get(stored, address))
            continue;
        json_object_set(p->entries, address, v);
        json_object_set(p->definitions, address, v);
    }
    json_decref(annotated);
}

// What other sites share, as the model wants it: of which release each is decides how their streams
// are spoken.
static json_t *shared_facts(const struct planning *p)
{
    const json_t *map = plan_seen(p, "ConfigMap", MAP);
    json_t *versions = json_loads(annotation(map, SERVICES_VERSIONS), 0, NULL);
    json_t *origins = json_object(), *list = json_array(), *d, *services;
    const char *key;

    json_object_foreach(p->definitions, key, d)
    {
        const char *origin = site_text(d, "origin");

        if (is_local(d))
            continue;
        services = json_object_get(origins, origin);
        if (!services) {
            services = json_array();
            json_object_set_new(origins, origin, services);
        }
        json_array_append(services, d);
    }
    json_object_foreach(origins, key, services) json_array_append_new(
        list, json_pack("{s:s, s:s, s:i, s:O}", "origin", key, "version", value_of(versions, key),
                        "since", 0, "services", services));
    json_decref(origins);
    json_decref(versions);
    return list;
}

// ------------------------------------------------------------------------------------ for the
// model

static void make(struct planning *p, const char *kind, char *take_name, json_t *take_spec,
                 const char *address)
{
    json_t *r = json_pack("{s:s, s:s, s:{s:s, s:s, s:s}, s:o}", "apiVersion", SKUPPER_API, "kind",
                          kind, "metadata", "name", take_name, "namespace", p->f->ns,
                          "creationTimestamp", LATE, "spec", take_spec);
    char *key = site_key(kind, take_name);

    if (!site_is_name(str_of(take_name)))
        wrong(p, blamed(p, address), "the name of a target is too long: %s", take_name);
    else
        json_object_set(p->made, key, r);
    json_object_set_new(p->made_for, key, json_string(address));
    json_decref(r);
    free(take_name);
    free(key);
}

static void put(json_t *spec, const char *member, const char *text)
{
    if (text[0])
        json_object_set_new(spec, member, json_string(text));
}

bool services_has_ingress(const struct planning *p, const char *address)
{
    const json_t *d = json_object_get(p->definitions, address);

    // Where the pods are, their own Service leads to each of them.
    if (is_local(d) && json_object_get(d, "headless"))
        return false;
    return d && strcmp(site_text(d, "exposeIngress"), "Never") != 0;
}

// Each pod of a headless service is reached by its name.
static void put_by_name(json_t *spec, const json_t *d)
{
    if (json_object_get(d, "headless"))
        json_object_set_new(spec, "exposePodsByName", json_true());
}

static void make_listener(struct planning *p, const json_t *d, json_int_t port)
{
    const char *address = site_text(d, "address"), *protocol = site_text(d, "protocol");
    json_t *spec =
        json_pack("{s:o, s:s, s:I}", "routingKey",
                  json_sprintf("%s:%lld", address, (long long)port), "host", address, "port", port);

    put(spec, "tlsCredentials", site_text(d, "tlsCredentials"));
    put_by_name(spec, d);
    if (strcmp(protocol, "tcp") != 0)
        put(spec, "observer", strcmp(protocol, "http") == 0 ? "http1" : "http2");
    make(p, "Listener", str_fmt("service.%s.%lld", address, (long long)port), spec, address);
}

// Without a target port of its own a port leads to itself.
static json_int_t target_port(const json_t *target, json_int_t port)
{
    char *key = str_fmt("%lld", (long long)port);
    json_int_t n = json_integer_value(json_object_get(json_object_get(target, "targetPorts"), key));

    free(key);
    return n > 0 ? n : port;
}

static void make_connector(struct planning *p, const json_t *d, const json_t *target,
                           json_int_t port)
{
    const char *address = site_text(d, "address"), *ns = site_text(target, "namespace");
    const char *service = site_text(target, "service");
    json_t *spec;

    if (ns[0] && strcmp(ns, p->f->ns) != 0) {
        wrong(p, blamed(p, address), "%s: the target \"%s\" is in another namespace", address,
              site_text(target, "name"));
        return;
    }
    spec = json_pack("{s:o, s:I}", "routingKey", json_sprintf("%s:%lld", address, (long long)port),
                     "port", target_port(target, port));
    if (service[0])
        put(spec, "host", service);
    else
        put(spec, "selector", site_text(target, "selector"));
    if (json_is_true(json_object_get(d, "publishNotReadyAddresses")))
        json_object_set_new(spec, "includeNotReadyPods", json_true());
    put(spec, "tlsCredentials", site_text(d, "tlsCertAuthority"));
    put_by_name(spec, d);
    make(p, "Connector",
         str_fmt("service.%s.%lld.%s", address, (long long)port, site_text(target, "name")), spec,
         address);
}

// Of a user, whatever is in it.
static bool is_supplied(const struct planning *p, const char *name)
{
    char *key = site_key("Secret", name);
    bool is = plan_own(p, key) == OWN_FOREIGN;

    free(key);
    return is;
}

static void make_certificate(struct planning *p, const char *name, const char *ca,
                             const char *subject, const char *use, const char *address)
{
    json_t *spec = json_pack("{s:s, s:s, s:b}", "ca", ca, "subject", subject, use, 1);

    if (strcmp(use, "server") == 0)
        json_object_set_new(spec, "hosts", json_pack("[s]", address));
    if (is_supplied(p, name))
        json_decref(spec);
    else
        make(p, "Certificate", xstrdup(name), spec, address);
}

// What version 1 generates for a service in each site: a certificate for its name, and what trusts
// it.
static void make_tls(struct planning *p, const json_t *d)
{
    static const char generated[] = "skupper-tls-", trust[] = "skupper-service-client";
    static const char authority[] = "skupper-service-ca";
    const char *address = site_text(d, "address"), *name = site_text(d, "tlsCredentials");
    bool has_trust = strcmp(site_text(d, "tlsCertAuthority"), trust) == 0;
    bool is_generated = strncmp(name, generated, sizeof(generated) - 1) == 0;

    if (is_generated && site_is_name(str_of(name)))
        make_certificate(p, name, authority, address, "server", address);
    if (has_trust)
        make_certificate(p, trust, authority, trust, "client", address);
    if (is_generated || has_trust)
        make_certificate(p, authority, "", authority, "signing", address);
}

static void make_resources(struct planning *p, const json_t *d)
{
    json_t *port, *target;
    size_t i, k;

    make_tls(p, d);
    json_array_foreach(json_object_get(d, "ports"), i, port)
    {
        if (services_has_ingress(p, site_text(d, "address")))
            make_listener(p, d, json_integer_value(port));
        json_array_foreach(json_object_get(d, "targets"), k, target)
            make_connector(p, d, target, json_integer_value(port));
    }
}

void services_read(struct planning *p)
{
    const char *address;
    json_t *d;

    p->definitions = json_object();
    p->entries = json_object();
    p->told_by = json_object();
    p->wrong = json_object();
    p->made = json_object();
    p->made_for = json_object();
    p->patches = json_object();
    if (p->site && !site_option_is(p, "service-controller", "false"))
        read_definitions(p);
    p->shared = shared_facts(p);
    json_object_foreach(p->definitions, address, d) make_resources(p, d);
}

void services_free(struct planning *p)
{
    json_t *const all[] = {p->definitions, p->entries,  p->told_by, p->wrong,
                           p->made,        p->made_for, p->patches, p->shared};

    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        json_decref(all[i]);
}

// ---------------------------------------------------------------------------------------- Services

bool services_may_adopt(const struct planning *p, const json_t *service)
{
    const char *name = site_text(service, "metadata.name");

    return services_has_ingress(p, name) &&
           !headless_counts(p, json_object_get(p->definitions, name)) &&
           strcmp(site_text(service, "spec.type"), "ExternalName") != 0 &&
           strcmp(site_text(service, "spec.clusterIP"), "None") != 0;
}

// The ports of a Service as those of version 1 are called, and those whose Listener has a name that
// is none for a port.
json_t *services_ports(const struct planning *p, const json_t *ports)
{
    json_t *out = json_array(), *one;
    size_t i;

    json_array_foreach((json_t *)(uintptr_t)ports, i, one)
    {
        json_t *port = json_copy(one);
        char *key = site_key("Listener", site_text(one, "name"));

        if (json_object_get(p->made, key) || !site_is_namespace(str_of(site_text(one, "name"))))
            json_object_set_new(port, "name",
                                json_sprintf("port%lld", (long long)json_integer_value(
                                                             json_object_get(one, "port"))));
        json_array_append_new(out, port);
        free(key);
    }
    return out;
}

// Leads to the router.
static json_t *router_spec(const json_t *ports)
{
    json_t *list = json_deep_copy(ports), *port;
    size_t i;

    json_array_foreach(list, i, port) json_object_set_new(port, "protocol", json_string("TCP"));
    return json_pack("{s:o, s:o}", "ports", list, "selector", adopt_selector());
}

static void put_service(struct planning *p, const char *name, const json_t *d, const json_t *ports)
{
    json_t *s = plan_object(p, "v1", "Service", name, p->site, NULL);

    if (headless_counts(p, d))
        headless_put(p, s, name, ports);
    else
        json_object_set_new(s, "spec", router_spec(ports));
    if (json_is_true(json_object_get(d, "publishNotReadyAddresses")))
        json_object_set_new(json_object_get(s, "spec"), "publishNotReadyAddresses", json_true());
    if (json_object_get(d, "labels"))
        json_object_update(object_labels(s), json_object_get(d, "labels"));
    if (json_object_get(d, "annotations"))
        json_object_update(object_annotations(s), json_object_get(d, "annotations"));
    json_object_set_new(object_labels(s), SERVICE_LABEL, json_string(name));
    json_object_set_new(object_annotations(s), CONTROLLED, json_string("true"));
    template_apply(p, s);
}

bool services_put(struct planning *p, const char *name, const json_t *ports)
{
    const json_t *d = json_object_get(p->definitions, name);
    const json_t *seen = plan_seen(p, "Service", name);
    char *key = site_key("Service", name);
    json_t *list, *patch;

    if (d) {
        list = services_ports(p, ports);
        if (plan_own(p, key) != OWN_FOREIGN)
            put_service(p, name, d, list);
        else if (services_may_adopt(p, seen) && (patch = adopt_patch(seen, list, d)) != NULL)
            json_object_set_new(p->patches, key, patch);
        json_decref(list);
    }
    free(key);
    return d != NULL;
}

// Those that nobody wants any more.
static void give_back(struct planning *p)
{
    for (size_t i = 0; i < p->count; i++) {
        const json_t *s = p->seen[i];
        char *key = site_key("Service", site_text(s, "metadata.name"));
        json_t *patch = NULL;

        if (adopt_is(s) && !services_may_adopt(p, s) && !site_get(s, "metadata.deletionTimestamp"))
            patch = adopt_return(s);
        if (patch)
            json_object_set_new(p->patches, key, patch);
        free(key);
    }
}

// ------------------------------------------------------------------------------------ afterwards

// The ConfigMap that each Site has, unless a user wrote it, and its entries that have to change.
static void put_entries(struct planning *p)
{
    const json_t *seen = plan_seen(p, "ConfigMap", MAP);
    const char *sync = annotation(p->site, SYNC), *address;
    const char *ttl = site_option(p, "service-sync-site-ttl");
    json_t *object = plan_object(p, "v1", "ConfigMap", MAP, p->site, NULL);
    json_t *data = json_object(), *d;

    json_object_set_new(object_annotations(object), SYNC,
                        json_string(str_is_nocase(str_of(sync), "false") ? "false" : "true"));
    if (ttl[0] || annotation(seen, TTL)[0]) // "" is none: what others may have set is not removed
        json_object_set_new(object_annotations(object), TTL, json_string(ttl));

    json_object_foreach(p->entries, address, d)
    {
        char *text = json_is_null(d) ? NULL : json_dumps(d, JSON_COMPACT);

        json_object_set_new(data, address, text ? json_string(text) : json_null());
        free(text);
    }
    if (!seen)
        json_object_set(object, "data", data);
    else if (json_object_size(data) > 0)
        json_object_set_new(p->patches, "ConfigMap/" MAP, json_pack("{s:O}", "data", data));
    json_decref(data);
}

// What the API server refuses to write for a definition.
static void tell_refusals(struct planning *p)
{
    const char *key;
    json_t *words;

    json_object_foreach((json_t *)(uintptr_t)p->f->refused, key, words)
    {
        if (strncmp(key, "Service/", 8) == 0 && services_has_ingress(p, key + 8))
            wrong(p, blamed(p, key + 8), "%s: %s", key + 8, json_string_value(words));
        if (strcmp(key, "ConfigMap/" MAP) == 0)
            wrong(p, key, "%s", json_string_value(words));
    }
}

// What the model says of what we made of a definition is told where the definition comes from.
static void tell_conditions(struct planning *p)
{
    const char *key;
    json_t *address, *c;
    size_t i;

    json_object_foreach(p->made_for, key, address)
    {
        const json_t *status =
            json_object_get(json_object_get(p->out->site.resources, key), "status");

        json_array_foreach(json_object_get(status, "conditions"), i, c)
        {
            const char *message = site_text(c, "message");

            if (strcmp(site_text(c, "type"), "Configured") == 0 &&
                strcmp(site_text(c, "reason"), "Error") == 0 && strcmp(message, NO_PODS) != 0)
                wrong(p, blamed(p, json_string_value(address)), "%s: %s",
                      json_string_value(address), message);
        }
    }
}

void services_finish(struct planning *p)
{
    const char *key;
    json_t *words;

    give_back(p);
    if (p->site)
        put_entries(p);
    tell_refusals(p);
    tell_conditions(p);
    json_object_foreach(p->wrong, key, words)
    {
        const json_t *object = map_get(&p->by_key, str_of(key));

        if (object)
            json_object_set_new(p->out->notes, key,
                                json_pack("{s:o, s:s, s:s, s:O}", "object", plan_identity(object),
                                          "type", "Warning", "reason", "NotExposed", "message",
                                          words));
    }
}
