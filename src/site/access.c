// SPDX-License-Identifier: Apache-2.0
// RouterAccess: listeners for other routers and for this machine, their certificates, and what
// others need to link here.
#include <stdlib.h>
#include <string.h>

#include "site/inside.h"

static const char LOCAL[] = "skupper-local", LOCAL_CA[] = "skupper-local-ca";
static const char LOCAL_SERVER[] = "skupper-local-server", LOCAL_CLIENT[] = "skupper-local-client";
static const char NO_LINKS[] = "Edge sites cannot accept incoming links from remote sites";

static const struct {
    const char *role;
    int port;
} default_ports[] = {{"inter-router", 55671}, {"edge", 45671}, {"normal", 5671}};

static int default_port(const char *role)
{
    for (size_t i = 0; i < sizeof(default_ports) / sizeof(default_ports[0]); i++) {
        if (strcmp(default_ports[i].role, role) == 0)
            return default_ports[i].port;
    }
    return 55671;
}

static bool is_any_address(const char *host)
{
    return host[0] == '\0' || strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0;
}

// ------------------------------------------------------------------------------------------ hosts

static const json_t *given_names(const struct thing *t)
{
    return json_object_get(t->spec, "subjectAlternativeNames");
}

// What the certificate is for.
static json_t *certificate_hosts(const struct thing *t)
{
    json_t *hosts = json_array(), *name;
    const char *bind = spec_text(t, "bindHost");
    size_t i;

    json_array_foreach(given_names(t), i, name) list_add(hosts, json_string_value(name));
    if (bind[0])
        list_add(hosts, bind);
    if (is_any_address(bind))
        list_add(hosts, "127.0.0.1");
    return hosts;
}

// Where others can reach it, best first: what the user named, then where it is bound.
static json_t *link_hosts(const struct thing *t)
{
    json_t *hosts = json_array(), *name;
    const char *bind = spec_text(t, "bindHost");
    size_t i;

    json_array_foreach(given_names(t), i, name)
    {
        if (!is_any_address(json_string_value(name)))
            list_add(hosts, json_string_value(name));
    }
    if (!is_any_address(bind))
        list_add(hosts, bind);
    if (json_array_size(hosts) == 0)
        list_add(hosts, "127.0.0.1");
    return hosts;
}

// --------------------------------------------------------------------------------------- listeners

static bool is_for_links(const char *role)
{
    return strcmp(role, "normal") != 0;
}

static void put_listener(struct model *m, const struct thing *t, const char *name, const char *role,
                         int64_t port, const char *profile)
{
    json_t *attrs = model_entity(m, ENTITY_LISTENER, name);

    json_object_set_new(attrs, "role", json_string(role));
    put_text(attrs, "host", spec_text(t, "bindHost"));
    json_object_set_new(attrs, "port", json_integer(port));
    json_object_set_new(attrs, "sslProfile", json_string(profile));
    json_object_set_new(attrs, "saslMechanisms", json_string("EXTERNAL"));
    json_object_set_new(attrs, "authenticatePeer", json_true());
}

// Is it a RouterAccess that stands in for the one that the site's link access makes?
static bool is_own(const struct model *m, const char *name)
{
    static const size_t len = sizeof(SITE_OWN_ACCESS) - 1;

    return strncmp(name, SITE_OWN_ACCESS, len) == 0 && strcmp(name + len, m->site->name) == 0;
}

// The port of a role; 0 while it has not been chosen.
static int64_t role_port(struct model *m, struct thing *t, json_t *role)
{
    const char *name = site_text(role, "name");
    int64_t port = json_integer_value(json_object_get(role, "port"));
    char *key;

    if (port > 0)
        return port;
    if (t->input && !is_own(m, t->name)) {
        port = default_port(name);
    } else {
        key = str_fmt("%s/%s", is_own(m, t->name) ? m->site->name : t->name, name);
        port = json_integer_value(json_object_get(m->facts->ports, key));
        if (port < 1 || port > 65535) {
            port = 0;
            json_array_append_new(m->out->ports,
                                  json_pack("{s:s, s:i, s:s}", "key", key, "from",
                                            default_port(name), "host", spec_text(t, "bindHost")));
            cond_pending(t, "Configured", "the port for %s is not chosen yet", name);
        }
        free(key);
    }
    if (port > 0)
        json_object_set_new(role, "port", json_integer(port));
    return port;
}

// Says what stands in the way of the listener; false: something does.
static bool may_listen(struct model *m, struct thing *t, const char *name, int64_t port)
{
    const char *bind = spec_text(t, "bindHost");
    char *who = thing_words(t);
    const char *holder = model_claim(m, bind, port, who);
    const char *trouble = entity_trouble(m, "listener", name);

    free(who);
    if (holder) {
        cond_error(t, "Configured", "host %s and port %lld are in use by %s",
                   bind[0] ? bind : "0.0.0.0", (long long)port, holder);
        return false;
    }
    if (trouble)
        cond_error(t, "Configured", "%s", trouble);
    return true;
}

static void apply_role(struct model *m, struct thing *t, json_t *role, const char *profile)
{
    const char *role_name = site_text(role, "name");
    int64_t port = role_port(m, t, role);
    char *name = str_fmt("%s-%s", t->name, role_name);

    if (m->is_edge && is_for_links(role_name))
        cond_error(t, "Configured", "%s", NO_LINKS);
    else if (port > 0 && may_listen(m, t, name, port) && profile)
        put_listener(m, t, name, role_name, port, profile);
    free(name);
}

// --------------------------------------------------------------------------- what others need to
// know

static json_t *endpoint(const json_t *role, const char *host, const char *group)
{
    char *port = str_fmt("%lld", json_integer_value(json_object_get(role, "port")));
    json_t *e = json_pack("{s:s, s:s, s:s, s:s}", "name", site_text(role, "name"), "host", host,
                          "port", port, "group", group);

    free(port);
    return e;
}

static bool is_usable(const struct model *m, const json_t *role)
{
    return json_integer_value(json_object_get(role, "port")) > 0 &&
           !(m->is_edge && is_for_links(site_text(role, "name")));
}

// As the status of a site on a host tells them.
static void tell_site(struct model *m, const struct thing *t, const json_t *role, const char *host)
{
    json_t *list = json_object_get(m->site->status, "endpoints");
    json_t *e = endpoint(role, host, site_groups[0]);
    char *name = str_fmt("%s-%s", t->name, site_text(role, "name"));

    if (!list) {
        list = json_array();
        json_object_set_new(m->site->status, "endpoints", list);
    }
    json_object_set_new(e, "name", json_string(name));
    json_array_append_new(list, e);
    free(name);
}

static void tell_endpoints(struct model *m, struct thing *t, const json_t *hosts, const char *ca)
{
    const json_t *roles = json_object_get(t->spec, "roles");
    json_t *mine = json_array(), *role, *host;
    size_t i, k;

    json_array_foreach(hosts, k, host)
    {
        json_array_foreach(roles, i, role)
        {
            bool is_link = is_for_links(site_text(role, "name"));

            if (!is_usable(m, role))
                continue;
            json_array_append_new(mine, endpoint(role, json_string_value(host), site_groups[0]));
            if (is_link && strcmp(ca, m->issuer) == 0)
                json_array_append_new(m->out->endpoints,
                                      endpoint(role, json_string_value(host), site_groups[0]));
            if (is_link && k == 0)
                tell_site(m, t, role, json_string_value(host));
        }
    }
    cond_met(t, "Resolved", json_array_size(mine) > 0, "Pending");
    if (json_array_size(mine) > 0)
        json_object_set(t->status, "endpoints", mine);
    json_decref(mine);
}

static json_t *static_link(const struct model *m, const struct thing *t, const char *name,
                           const char *host)
{
    json_t *endpoints = json_array(), *role, *link;
    size_t i;

    json_array_foreach(json_object_get(t->spec, "roles"), i, role)
    {
        if (is_usable(m, role) && is_for_links(site_text(role, "name")))
            json_array_append_new(endpoints, endpoint(role, host, ""));
    }
    link = site_link_new(name, name, endpoints, 1);
    json_decref(endpoints);
    return link;
}

// One file for each host under which this access may be reached.
static void tell_links(struct model *m, const struct thing *t, const json_t *hosts,
                       const char *client)
{
    char *name = str_fmt("link-%s", t->name);
    json_t *all = json_deep_copy(hosts), *host;
    size_t i;

    if (is_any_address(spec_text(t, "bindHost")))
        list_add(all, "127.0.0.1");
    json_array_foreach(all, i, host)
    {
        const char *h = json_string_value(host);
        char *file = str_fmt("%s-%s.yaml", name, h);
        json_t *link = static_link(m, t, name, h);

        if (json_array_size(site_get(link, "spec.endpoints")) > 0 && !strchr(h, '/'))
            json_object_set_new(m->out->static_links, file,
                                json_pack("{s:s, s:[o, O]}", "certificate", client, "documents",
                                          site_secret_new(name), link));
        json_decref(link);
        free(file);
    }
    json_decref(all);
    free(name);
}

// --------------------------------------------------------------------------------------- the whole

static void tell_management(struct model *m, const struct thing *t, const char *client)
{
    const char *bind = spec_text(t, "bindHost");
    size_t i;
    json_t *role;

    json_array_foreach(json_object_get(t->spec, "roles"), i, role)
    {
        if (is_for_links(site_text(role, "name")) || !is_usable(m, role) ||
            json_is_object(m->out->management))
            continue;
        m->out->management =
            json_pack("{s:s, s:O, s:s}", "host", is_any_address(bind) ? "127.0.0.1" : bind, "port",
                      json_object_get(role, "port"), "certificate", client);
    }
}

static void apply_with(struct model *m, struct thing *t, const char *server, const char *client,
                       const char *ca)
{
    json_t *hosts = link_hosts(t), *role;
    bool is_there = profile_use(m, t, "Configured", server, server, PROFILE_WHOLE);
    size_t i;

    json_array_foreach(json_object_get(t->spec, "roles"), i, role)
        apply_role(m, t, role, is_there ? server : NULL);
    tell_endpoints(m, t, hosts, ca);
    tell_links(m, t, hosts, client);
    tell_management(m, t, client);
    if (!cond_is_set(t, "Configured"))
        cond_ready(t, "Configured");
    json_decref(hosts);
}

// There the routers of a site listen in their pods, and SecuredAccesses lead to them.
static void apply_in_cluster(struct model *m, struct thing *t)
{
    const char *server = spec_text(t, "tlsCredentials");
    json_t *role;
    bool is_there;
    size_t i;

    cluster_expose(m, t);
    is_there = profile_use(m, t, "Configured", server, server, PROFILE_WHOLE);
    json_array_foreach(json_object_get(t->spec, "roles"), i, role)
        apply_role(m, t, role, is_there ? server : NULL);
    cluster_tell_exposed(m, t);
    if (!cond_is_set(t, "Configured"))
        cond_ready(t, "Configured");
}

void access_apply(struct model *m, struct thing *t)
{
    if (m->is_in_cluster) {
        apply_in_cluster(m, t);
        return;
    }

    const char *server = spec_text(t, "tlsCredentials"), *ca = spec_text(t, "issuer");
    char *client;
    json_t *hosts;

    if (!server[0])
        server = t->name;
    if (!ca[0])
        ca = m->issuer;
    client = str_fmt("client-%s", server);
    hosts = certificate_hosts(t);
    certificate_authority(m, ca, ca);
    if (certificate_leaf(m, server, ca, t->name, hosts, CERTIFICATE_SERVER) &&
        certificate_leaf(m, client, ca, client, NULL, CERTIFICATE_CLIENT))
        apply_with(m, t, server, client, ca);
    else
        cond_error(t, "Configured",
                   "spec.tlsCredentials: \"%s\" is the name of another certificate of this site; "
                   "choose a different one",
                   server);
    json_decref(hosts);
    free(client);
}

static bool has_local(const struct model *m)
{
    for (size_t i = 0; i < m->count; i++) {
        const struct thing *t = m->things[i];
        size_t k;
        json_t *role;

        if (!thing_is(t, "RouterAccess") || t->is_broken)
            continue;
        json_array_foreach(json_object_get(t->spec, "roles"), k, role)
        {
            if (!is_for_links(site_text(role, "name")))
                return true;
        }
    }
    return model_find(m, "RouterAccess", LOCAL) != NULL;
}

static void make_local(struct model *m)
{
    json_t *hosts = json_pack("[s, s]", "127.0.0.1", "localhost");
    struct thing *t =
        model_make(m, "RouterAccess", LOCAL,
                   json_pack("{s:[{s:s}], s:s, s:s, s:s}", "roles", "name", "normal", "bindHost",
                             "127.0.0.1", "tlsCredentials", LOCAL_SERVER, "issuer", LOCAL_CA));

    certificate_authority(m, LOCAL_CA, LOCAL_CA);
    certificate_leaf(m, LOCAL_SERVER, LOCAL_CA, "127.0.0.1", hosts, CERTIFICATE_SERVER);
    certificate_leaf(m, LOCAL_CLIENT, LOCAL_CA, "127.0.0.1", hosts, CERTIFICATE_CLIENT);
    apply_with(m, t, LOCAL_SERVER, LOCAL_CLIENT, LOCAL_CA);
    json_decref(hosts);
}

bool access_is_wanted(const struct model *m)
{
    const char *access = spec_text(m->site, "linkAccess");

    return access[0] && strcmp(access, "none") != 0;
}

static void make_link_access(struct model *m)
{
    json_t *names = json_pack("[s, s]", "0.0.0.0", "::"), *host;
    size_t i;

    json_array_foreach(m->facts->hosts, i, host)
    {
        if (json_string_length(host) > 0)
            list_add(names, json_string_value(host));
    }
    access_apply(m, model_make(m, "RouterAccess", m->site->name,
                               json_pack("{s:[{s:s}, {s:s}], s:o}", "roles", "name", "inter-router",
                                         "name", "edge", "subjectAlternativeNames", names)));
}

static bool has_own(struct model *m)
{
    char *name = str_fmt("%s%s", SITE_OWN_ACCESS, m->site->name);
    bool has = model_find(m, "RouterAccess", m->site->name) || model_find(m, "RouterAccess", name);

    free(name);
    return has;
}

void access_defaults(struct model *m)
{
    if (!has_local(m))
        make_local(m);
    if (access_is_wanted(m) && m->is_edge)
        cond_error(m->site, "Resolved", "%s", NO_LINKS);
    else if (access_is_wanted(m) && !has_own(m))
        make_link_access(m);
}
