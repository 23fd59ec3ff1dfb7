// SPDX-License-Identifier: Apache-2.0
// A site of version 1: where the definitions of our kinds are not installed, the ConfigMap
// skupper-site says what the Site would, and Secrets what Links would. What the Site makes is owned
// by the ConfigMap, and goes with it; resources that would stand between the two are not written,
// but the model knows them all the same.
//
// A Secret labelled connection-token is a link. One labelled connection-token-request becomes such
// a token for this site, to be carried to another one. One labelled token-claim-record lets
// somebody ask for such a token: where, stands in it as soon as it is known (claims.c is the
// server).
#include <stdlib.h>

#include "base/mem.h"
#include "controller/inside.h"

#define TYPE "skupper.io/type"
#define TOKEN "connection-token"
#define REQUEST "connection-token-request"
#define RECORD "token-claim-record"
#define CLAIMS "skupper-claims" // the Service
#define SITE_CA "skupper-site-ca"
#define GENERATED_BY "skupper.io/generated-by"
#define URL "skupper.io/url"
static const char IGNORE[] = "internal.skupper.io/site-controller-ignore";
static const char DISABLED[] = "internal.skupper.io/disabled";

static bool is_yes(const char *text)
{
    return str_is_nocase(str_of(text), "true");
}

bool site_map_counts(const json_t *object)
{
    return is_kind(object, "ConfigMap") &&
           strcmp(site_text(object, "metadata.name"), SITE_MAP) == 0 &&
           !is_yes(label(object, IGNORE)) && !site_get(object, "metadata.deletionTimestamp");
}

// ------------------------------------------------------------------------------------------ Site

static bool is_edge(const struct planning *p)
{
    return strcmp(site_option(p, "router-mode"), "edge") == 0 || is_yes(site_option(p, "edge"));
}

// Without one a site of version 1 was reached from within its cluster; an edge site is linked to by
// nobody, which is told to those alone who asked for it.
static const char *link_access(const struct planning *p)
{
    static const char *const other[][2] = {
        {"", "default"}, {"none", "local"}, {"nginx-ingress-v1", "ingress-nginx"}};
    const char *ingress = site_option(p, "ingress");

    if (is_edge(p) && (!ingress[0] || strcmp(ingress, "none") == 0))
        return "none";
    if (is_yes(site_option(p, "cluster-local")))
        return "local";
    for (size_t i = 0; i < sizeof(other) / sizeof(other[0]); i++)
        if (strcmp(ingress, other[i][0]) == 0)
            return other[i][1];
    return ingress;
}

static json_t *site_spec(const struct planning *p)
{
    static const char *const settings[] = {"router-logging", "router-data-connection-count"};
    json_t *spec =
        json_pack("{s:s, s:{s:s}}", "linkAccess", link_access(p), "settings", "size", SITE_MAP);
    int64_t routers = 1;

    if (is_edge(p))
        json_object_set_new(spec, "edge", json_true());
    if (site_number(str_of(site_option(p, "routers")), 2, 1000, &routers))
        json_object_set_new(spec, "ha", json_true());
    for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++)
        if (site_option(p, settings[i])[0])
            json_object_set_new(json_object_get(spec, "settings"), settings[i],
                                json_string(site_option(p, settings[i])));
    return spec;
}

// The service controller of version 1 is what shares services.
static bool is_sharing(const struct planning *p)
{
    return !site_option_is(p, "service-sync", "false") &&
           !site_option_is(p, "service-controller", "false");
}

static json_t *site_of(const struct planning *p)
{
    const char *name = site_option(p, "name");

    return json_pack("{s:s, s:s, s:{s:s, s:s, s:s, s:{s:s}}, s:o}", "apiVersion", SKUPPER_API,
                     "kind", "Site", "metadata", "name", name[0] ? name : p->f->ns, "namespace",
                     p->f->ns, "uid", site_text(p->root, "metadata.uid"), "annotations",
                     "skupper.io/service-sync", is_sharing(p) ? "true" : "false", "spec",
                     site_spec(p));
}

// ---------------------------------------------------------------------------------------- Secrets

static bool is_of_type(const json_t *object, const char *type)
{
    return is_kind(object, "Secret") && strcmp(label(object, TYPE), type) == 0;
}

// Our own tokens wait here to be carried away.
static bool is_link(const struct planning *p, const json_t *object)
{
    return is_of_type(object, TOKEN) && !is_yes(label(object, DISABLED)) &&
           strcmp(annotation(object, GENERATED_BY), p->site_uid) != 0;
}

static void add_endpoint(json_t *endpoints, const json_t *secret, const char *role)
{
    char *host = str_fmt("%s-host", role), *port = str_fmt("%s-port", role);

    if (annotation(secret, host)[0])
        json_array_append_new(endpoints, json_pack("{s:s, s:s, s:s}", "name", role, "host",
                                                   annotation(secret, host), "port",
                                                   annotation(secret, port)));
    free(host);
    free(port);
}

static void add_link(struct planning *p, const json_t *secret)
{
    const char *name = site_text(secret, "metadata.name");
    json_t *endpoints = json_array(), *link;
    char *key = site_key("Link", name), *told = site_key("Secret", name);
    int64_t cost;

    add_endpoint(endpoints, secret, "inter-router");
    add_endpoint(endpoints, secret, "edge");
    link =
        json_pack("{s:s, s:s, s:{s:s}, s:{s:s, s:o}}", "apiVersion", SKUPPER_API, "kind", "Link",
                  "metadata", "name", name, "spec", "tlsCredentials", name, "endpoints", endpoints);
    if (site_number(str_of(annotation(secret, "skupper.io/cost")), 1, INT32_MAX, &cost))
        json_object_set_new(json_object_get(link, "spec"), "cost", json_integer(cost));
    json_object_set_new(p->made, key, link);
    json_object_set_new(p->blamed, key, json_string(told));
    free(told);
    free(key);
}

// Where others reach this site: the first endpoint of each role.
static void note_endpoints(const struct planning *p, json_t *notes)
{
    char *key = site_key("Site", site_text(p->site, "metadata.name"));
    const json_t *site = json_object_get(p->out->site.resources, key);
    json_t *e;
    size_t i;

    json_array_foreach((json_t *)(uintptr_t)site_get(site, "status.endpoints"), i, e)
    {
        char *host = str_fmt("%s-host", site_text(e, "name"));
        char *port = str_fmt("%s-port", site_text(e, "name"));

        if (!json_object_get(notes, host)) {
            json_object_set(notes, host, json_object_get(e, "host"));
            json_object_set(notes, port, json_object_get(e, "port"));
        }
        free(host);
        free(port);
    }
    free(key);
}

// As soon as it is known where this site is reached, and by whom certificates are signed.
static void answer_request(struct planning *p, const json_t *request)
{
    const char *name = site_text(request, "metadata.name");
    const json_t *ca = plan_seen(p, "Secret", SITE_CA);

    if (json_object_get(p->out->token, "inter-router-host") &&
        value_of(json_object_get(ca, "data"), "tls.key")[0])
        json_object_set_new(
            p->out->issues, name,
            json_pack(
                "{s:s, s:s, s:s, s:[], s:b, s:s, s:b, s:{}, s:{s:s, s:s, s:{s:s, s:s, s:{s:s},"
                " s:O}}}",
                "name", name, "ca", SITE_CA, "subject", name, "hosts", "client", 1, "why",
                "a token was asked for", "renew", 0, "profiles", "secret", "apiVersion", "v1",
                "kind", "Secret", "metadata", "name", name, "namespace", p->f->ns, "labels", TYPE,
                TOKEN, "annotations", p->out->token));
}

// ----------------------------------------------------------------------------------------- claims

static const char *claims_place(const struct planning *p)
{
    return p->f->settings->claims_place ? p->f->settings->claims_place : "";
}

static bool has_claims(const struct planning *p)
{
    for (size_t i = 0; i < p->count; i++)
        if (is_of_type(p->seen[i], RECORD))
            return true;
    return false;
}

// The host of "host:port"; the caller frees.
static char *host_of(const char *place)
{
    const char *colon = strrchr(place, ':');
    struct str host = {place, colon ? (size_t)(colon - place) : strlen(place)};

    if (host.len > 1 && host.ptr[0] == '[' && host.ptr[host.len - 1] == ']')
        host = (struct str){host.ptr + 1, host.len - 2};
    return str_dup(host);
}

static json_t *claims_certificate(const struct planning *p)
{
    char *host = host_of(claims_place(p));
    json_t *spec = json_pack("{s:s, s:s, s:[s, s], s:b}", "ca", SITE_CA, "subject", CLAIMS, "hosts",
                             host, CLAIMS, "server", 1);

    free(host);
    return spec;
}

// Leads to all pods of the controller; NULL: it is no pod of this namespace.
static json_t *claims_access(const struct planning *p)
{
    const char *name = p->f->settings->host_name, *type = site_text(p->site, "spec.linkAccess");
    const json_t *labels = name ? site_get(plan_seen(p, "Pod", name), "metadata.labels") : NULL;
    json_t *selector, *spec;

    if (!labels)
        return NULL;
    selector = json_deep_copy(labels);
    json_object_del(selector, "pod-template-hash");
    spec = json_pack("{s:o, s:s, s:s, s:[{s:s, s:i, s:i, s:s}]}", "selector", selector, "issuer",
                     SITE_CA, "certificate", CLAIMS_SERVER, "ports", "name", "claims", "port",
                     CLAIMS_PORT, "targetPort", p->f->settings->claims_port, "protocol", "TCP");
    if (strcmp(type, "default") != 0)
        json_object_set_new(spec, "accessType", json_string(type));
    return spec;
}

static void make_resource(struct planning *p, const char *kind, const char *name, json_t *take_spec)
{
    char *key = site_key(kind, name);

    json_object_set_new(p->made, key,
                        json_pack("{s:s, s:s, s:{s:s, s:s}, s:o}", "apiVersion", SKUPPER_API,
                                  "kind", kind, "metadata", "name", name, "namespace", p->f->ns,
                                  "spec", take_spec));
    free(key);
}

// What the server of claims needs, as long as there are any. An edge site gives nothing out.
static void want_claims(struct planning *p)
{
    json_t *spec;

    if (!has_claims(p) || json_is_true(site_get(p->site, "spec.edge")))
        return;
    if (claims_place(p)[0])
        make_resource(p, "Certificate", CLAIMS_SERVER, claims_certificate(p));
    else if ((spec = claims_access(p)) != NULL)
        make_resource(p, "SecuredAccess", CLAIMS, spec);
}

// "host:port" where they are redeemed; the caller frees. "": not known yet.
static char *find_claims(const struct planning *p)
{
    const json_t *e =
        json_array_get(json_object_get(json_object_get(p->secured, CLAIMS), "endpoints"), 0);
    const char *host = site_text(e, "host");
    bool is_bare = strchr(host, ':') != NULL;

    if (claims_place(p)[0])
        return xstrdup(claims_place(p));
    return host[0] ? str_fmt("%s%s%s:%s", is_bare ? "[" : "", host, is_bare ? "]" : "",
                             site_text(e, "port"))
                   : xstrdup("");
}

// Why nobody redeems one here as things are; NULL: it only takes time. The caller frees.
static char *why_no_claims(const struct planning *p)
{
    char *key = site_key("SecuredAccess", CLAIMS);
    bool has_access = json_object_get(p->made, key) || claims_place(p)[0];
    const char *trouble = p->f->claims_trouble;

    free(key);
    if (json_is_true(site_get(p->site, "spec.edge")))
        return xstrdup("Edge sites cannot accept incoming links from remote sites");
    if (!has_access)
        return xstrdup("claims are not redeemed: the controller is no pod of this namespace, and "
                       "was not told where it is reached (-claims-base-url)");
    return trouble && trouble[0]
               ? str_fmt("claims are not redeemed, and it is tried again: %s", trouble)
               : NULL;
}

static bool is_served(const struct planning *p)
{
    const json_t *server = plan_seen(p, "Secret", CLAIMS_SERVER);

    return !p->f->claims_trouble && value_of(json_object_get(server, "data"), "tls.key")[0];
}

// A record says where it is redeemed when that is so.
static void tell_claim(struct planning *p, const json_t *record, const char *place)
{
    const char *name = site_text(record, "metadata.name");
    char *key = site_key("Secret", name), *url = str_fmt("https://%s/%s", place, name);
    char *why = why_no_claims(p);

    if (why && !json_object_get(p->wrong, key))
        json_object_set_new(p->wrong, key, json_string(why));
    else if (place[0] && json_object_get(p->out->token, "inter-router-host") && is_served(p) &&
             strcmp(annotation(record, URL), url) != 0)
        json_object_set_new(p->patches, key,
                            json_pack("{s:{s:{s:s}}}", "metadata", "annotations", URL, url));
    free(why);
    free(url);
    free(key);
}

static void tell_claims(struct planning *p)
{
    char *place = find_claims(p);

    for (size_t i = 0; i < p->count; i++)
        if (is_of_type(p->seen[i], RECORD))
            tell_claim(p, p->seen[i], place);
    free(place);
}

// ------------------------------------------------------------------------------------------ policy

// Services of the network are for the namespace alone then: whoever is not in it reaches the
// router's pods at the ports for links, and those only where there can be any.
static void want_policy(struct planning *p)
{
    char *told = site_key("Site", site_text(p->site, "metadata.name"));
    json_t *policy, *from;

    if (site_option_is(p, "create-network-policy", "true") && p->f->settings->has_policies) {
        policy =
            plan_object(p, "networking.k8s.io/v1", "NetworkPolicy", SITE_POLICY, p->site, told);
        from = json_pack("[{s:[{s:{}}]}]", "from", "podSelector");
        if (!json_is_true(site_get(p->site, "spec.edge")))
            json_array_append_new(from, json_pack("{s:[{s:s, s:i}, {s:s, s:i}]}", "ports",
                                                  "protocol", "TCP", "port", 55671, "protocol",
                                                  "TCP", "port", 45671));
        json_object_set_new(object_annotations(policy), CONTROLLED, json_string("true"));
        json_object_set_new(policy, "spec",
                            json_pack("{s:{s:{s:s, s:s}}, s:[s], s:o}", "podSelector",
                                      "matchLabels", "application", "skupper-router",
                                      "skupper.io/component", "router", "policyTypes", "Ingress",
                                      "ingress", from));
    }
    free(told);
}

// ------------------------------------------------------------------------------------------- door

json_t *site_map_size(const struct planning *p)
{
    static const char *const names[][2] = {{"router-cpu", "router-cpu-request"},
                                           {"router-memory", "router-memory-request"},
                                           {"router-cpu-limit", "router-cpu-limit"},
                                           {"router-memory-limit", "router-memory-limit"},
                                           {"config-sync-cpu", "adaptor-cpu-request"},
                                           {"config-sync-memory", "adaptor-memory-request"},
                                           {"config-sync-cpu-limit", "adaptor-cpu-limit"},
                                           {"config-sync-memory-limit", "adaptor-memory-limit"}};
    json_t *size = json_object();

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (site_option(p, names[i][0])[0])
            json_object_set_new(size, names[i][1], json_string(site_option(p, names[i][0])));
    return size;
}

void site_map_choose(struct planning *p)
{
    const json_t *map = plan_seen(p, "ConfigMap", SITE_MAP);

    if (!site_map_counts(map))
        return;
    p->root = map;
    p->site = p->made_site = site_of(p);
}

void site_map_read(struct planning *p)
{
    char *key = site_key("Site", site_text(p->site, "metadata.name"));

    p->blamed = json_object();
    if (p->root)
        json_object_set(p->made, key, p->made_site);
    for (size_t i = 0; p->root && i < p->count; i++)
        if (is_link(p, p->seen[i]))
            add_link(p, p->seen[i]);
    if (p->root)
        want_claims(p);
    free(key);
}

// The first word of what is wrong with a resource that stands in no API.
static void tell(struct planning *p, const char *key, const json_t *resource)
{
    const char *object = json_string_value(json_object_get(p->blamed, key));
    json_t *c;
    size_t i;

    if (!object)
        object = "ConfigMap/" SITE_MAP;
    json_array_foreach(json_object_get(json_object_get(resource, "status"), "conditions"), i, c)
    {
        if (strcmp(site_text(c, "reason"), "Error") == 0 && !json_object_get(p->wrong, object))
            json_object_set(p->wrong, object, json_object_get(c, "message"));
    }
}

void site_map_finish(struct planning *p)
{
    const char *key;
    json_t *resource;

    if (p->root) {
        site_options_tell(p);
        p->out->token = json_pack("{s:s, s:s}", GENERATED_BY, p->site_uid,
                                  "skupper.io/site-version", SITE_V1_VERSION);
        note_endpoints(p, p->out->token);
        tell_claims(p);
        want_policy(p);
    }
    for (size_t i = 0; p->root && i < p->count; i++)
        if (is_of_type(p->seen[i], REQUEST))
            answer_request(p, p->seen[i]);
    json_object_foreach(p->out->site.resources, key, resource)
    {
        if (p->root && !json_object_get(p->made_for, key))
            tell(p, key, resource);
    }
}

// Labels and annotations of the ConfigMap are everybody's, but for those that are about itself.
static json_t *given(const struct planning *p, const char *what, const char *exclude)
{
    json_t *excluded = annotated_pairs(annotation(p->root, exclude)), *out = json_object(), *v;
    const char *key;
    char *path = str_fmt("metadata.%s", what);

    json_object_foreach((json_t *)(uintptr_t)site_get(p->root, path), key, v)
    {
        if (strncmp(key, "skupper.io/", 11) != 0 && strncmp(key, "internal.skupper.io/", 20) != 0 &&
            strncmp(key, "kubectl.kubernetes.io/", 22) != 0 && !json_object_get(excluded, key))
            json_object_set(out, key, v);
    }
    json_decref(excluded);
    free(path);
    return out;
}

json_t *site_map_template(const struct planning *p)
{
    return json_pack("{s:{s:o, s:o}}", "metadata", "labels",
                     given(p, "labels", "skupper.io/exclude-labels"), "annotations",
                     given(p, "annotations", "skupper.io/exclude-annotations"));
}

// ServiceAccounts are made and not changed any more: nothing of them matters, and so there is no
// right to it.
void site_map_dress(struct planning *p)
{
    const char *key;
    json_t *object;

    if (!p->root)
        return;
    json_object_foreach(p->out->objects, key, object)
    {
        if (!is_kind(object, "ServiceAccount") || !map_get(&p->by_key, str_of(key)))
            template_apply(p, object);
    }
}

const json_t *plan_owner(const struct planning *p, const char *kind, const char *name)
{
    const json_t *seen = plan_seen(p, kind, name);
    char *key = site_key(kind, name);
    bool is_made = json_object_get(p->made, key) != NULL;

    free(key);
    if (p->root)
        return p->root;
    return seen || !is_made ? seen : p->site;
}
