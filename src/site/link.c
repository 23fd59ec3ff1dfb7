// SPDX-License-Identifier: Apache-2.0
// Link: a connector of the router. AccessGrant and AccessToken, as far as they are resources.
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "site/inside.h"

static const char SPENT[] = "Already redeemed for a deleted site";

// The first endpoint for what our router is; NULL: there is none.
static const json_t *endpoint_for(const struct thing *t, const char *role)
{
    return site_item(json_object_get(t->spec, "endpoints"), "name", role);
}

// "b:5671,[2001:db8::1]:5671": the further endpoints of that name, in their order; the caller's.
static char *alternates_of(const struct thing *t, const char *role)
{
    const json_t *first = endpoint_for(t, role);
    char *all = xstrdup("");
    size_t i;
    json_t *e;

    json_array_foreach(json_object_get(t->spec, "endpoints"), i, e)
    {
        const char *host = site_text(e, "host");
        bool is_v6 = strchr(host, ':') != NULL;
        char *more;

        if (e == first || strcmp(site_text(e, "name"), role) != 0)
            continue;
        more = str_fmt("%s%s%s%s%s:%s", all, all[0] ? "," : "", is_v6 ? "[" : "", host,
                       is_v6 ? "]" : "", site_text(e, "port"));
        free(all);
        all = more;
    }
    return all;
}

static void put_connector(struct model *m, const struct thing *t, const char *role,
                          const json_t *endpoint, const char *profile, const char *proxy)
{
    json_t *attrs = model_entity(m, ENTITY_CONNECTOR, t->name);
    int64_t cost = spec_int(t, "cost", 1);
    char *alternates = alternates_of(t, role);

    if (cost < 1)
        cost = 1;
    json_object_set_new(attrs, "role", json_string(role));
    json_object_set_new(attrs, "host", json_string(site_text(endpoint, "host")));
    json_object_set_new(attrs, "port", json_string(site_text(endpoint, "port")));
    json_object_set_new(attrs, "cost", json_integer(cost > INT32_MAX ? INT32_MAX : cost));
    put_text(attrs, "alternates", alternates); // not there for a router that knows none
    put_text(attrs, "sslProfile", profile);
    put_text(attrs, "proxyProfile", proxy);
    free(alternates);
}

// What the Secret of a proxy says; the caller frees. NULL: nothing.
static char *proxy_text(const struct model *m, const char *name, const char *key)
{
    const struct thing *secret = m->is_in_cluster ? NULL : model_find(m, "Secret", name);
    const json_t *fact = json_object_get(m->facts->proxies, name);

    return secret ? site_secret_get(secret->value, key)
           : fact ? xstrdup(site_text(fact, key))
                  : NULL;
}

// Why the Secret cannot be used; NULL: it can.
static const char *proxy_trouble(const char *host, const char *port, const char *username,
                                 const char *password, bool is_in_cluster)
{
    int64_t number;

    if (!host && !port && !username)
        return "is not there, or says nothing of a proxy; it needs the keys host and port";
    if (!host || !host[0] || !port || !port[0])
        return "needs the keys host and port of the proxy";
    if (!site_number(str_of(port), 1, UINT16_MAX, &number))
        return "has a port that is no number from 1 to 65535";
    // In a cluster the agent in the pod reads the password, and tells.
    if (!is_in_cluster && username && username[0] && !(password && password[0]))
        return "has a username and no password";
    return NULL;
}

// The profile of the HTTP proxy that a Secret of this name describes. False: it cannot be used.
static bool use_proxy(struct model *m, struct thing *t, const char *name)
{
    char *host = proxy_text(m, name, "host"), *port = proxy_text(m, name, "port");
    char *username = proxy_text(m, name, "username"), *password = proxy_text(m, name, "password");
    const char *trouble = proxy_trouble(host, port, username, password, m->is_in_cluster);
    char *folder = m->is_in_cluster
                       ? xstrdup("/etc/skupper-router-proxies")
                       : str_fmt("%s/runtime/proxies", m->facts->base ? m->facts->base : "");
    json_t *attrs;

    if (trouble) {
        cond_error(t, "Configured", "spec.settings.proxy-configuration: the Secret \"%s\" %s", name,
                   trouble);
    } else {
        attrs = model_entity(m, ENTITY_PROXY_PROFILE, name);
        json_object_set_new(attrs, "host", json_string(host));
        json_object_set_new(attrs, "port", json_string(port));
        put_text(attrs, "username", username);
        if (username && username[0])
            json_object_set_new(attrs, "password",
                                json_sprintf("file:%s/%s/password.txt", folder, name));
    }
    free(folder);
    free(host);
    free(port);
    free(username);
    if (password)
        explicit_bzero(password, strlen(password));
    free(password);
    return !trouble;
}

// Wants the Secret's keys as the files of `profile`. False: it is not there, or not whole.
static bool want_credentials(struct model *m, struct thing *t, const char *name,
                             const char *profile)
{
    static const char *const keys[] = {"ca.crt", "tls.crt", "tls.key"};
    const struct thing *secret = model_find(m, "Secret", name);
    const json_t *taken;

    if (!secret && certificate_is_there(m, profile))
        return true; // supplied as files
    if (!secret) {
        cond_error(t, "Configured", "TLS credentials secret \"%s\" not found", name);
        return false;
    }
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        char *value = site_secret_get(secret->value, keys[i]);
        bool is_there = value && value[0];

        free(value);
        if (is_there)
            continue;
        cond_error(t, "Configured", "TLS credentials secret \"%s\" has no %s", name, keys[i]);
        return false;
    }
    taken = json_object_get(m->certificates, profile);
    if (taken && strcmp(site_text(taken, "secret"), name) != 0) {
        cond_error(t, "Configured",
                   "spec.tlsCredentials: \"%s\" is the name of another certificate of this site; "
                   "choose a different one",
                   profile);
        return false;
    }
    if (!taken)
        json_object_set_new(m->certificates, profile,
                            json_pack("{s:s, s:s}", "name", profile, "secret", name));
    return true;
}

// Whether the link is up: what the router says of its connector, else what the network tells.
static void tell_operational(struct model *m, struct thing *t)
{
    char *key = str_fmt("connector/%s", t->name);
    const json_t *fact = json_object_get(m->facts->entities, key);
    const json_t *seen = json_object_get(m->network.links, t->name);
    const json_t *remote = json_object_get(m->network.accesses, site_text(seen, "peer"));
    const char *status = site_text(fact, "connectionStatus");
    const char *words = site_text(fact, "connectionMsg");
    bool is_up = status[0] ? strcmp(status, "SUCCESS") == 0
                           : str_is_nocase(str_of(site_text(seen, "status")), "up");

    free(key);
    cond_met(t, "Operational", is_up, words[0] ? words : "Not operational");
    if (!is_up)
        return;
    put_text(t->status, "remoteSiteId", site_text(remote, "id"));
    put_text(t->status, "remoteSiteName", site_text(remote, "name"));
}

void link_apply(struct model *m, struct thing *t)
{
    const char *role = m->is_edge ? "edge" : "inter-router";
    const json_t *endpoint = endpoint_for(t, role);
    const char *credentials = spec_text(t, "tlsCredentials"), *trouble;
    const char *proxy = site_text(t->spec, "settings.proxy-configuration");
    char *profile = str_fmt("%s%s", credentials, credentials[0] ? "-profile" : "");
    bool is_ok = true;

    if (!endpoint) {
        cond_error(t, "Configured",
                   "spec.endpoints: none is named \"%s\", which is the kind of link that this site "
                   "makes",
                   role);
        is_ok = false;
    } else if (credentials[0]) {
        is_ok = want_credentials(m, t, credentials, profile) &&
                profile_use(m, t, "Configured", profile, profile, PROFILE_WHOLE);
    }
    if (is_ok && proxy[0])
        is_ok = use_proxy(m, t, proxy);
    if (is_ok) {
        put_connector(m, t, role, endpoint, profile, proxy);
        trouble = proxy[0] ? entity_trouble(m, "proxyProfile", proxy) : NULL;
        if (!trouble)
            trouble = entity_trouble(m, "connector", t->name);
        if (trouble)
            cond_error(t, "Configured", "%s", trouble);
        else if (!cond_is_set(t, "Configured"))
            cond_ready(t, "Configured");
    }
    tell_operational(m, t);
    free(profile);
}

// --------------------------------------------------------------------------------- grants and
// tokens

static const char GRANT_SERVER[] = "skupper-grant-server", GRANT_CA[] = "skupper-grant-server-ca";
enum { GRANT_PORT = 9090 };

// The server that redeems needs a port and a certificate as soon as there is one grant.
static void want_server(struct model *m)
{
    json_t *hosts = json_array(), *host;
    int64_t port = json_integer_value(json_object_get(m->facts->ports, GRANT_SERVER));
    size_t i;

    if (json_object_get(m->certificates, GRANT_SERVER)) {
        json_decref(hosts);
        return;
    }
    json_array_foreach(m->facts->hosts, i, host)
        list_add(hosts, json_string_value(host) ? json_string_value(host) : "");
    list_add(hosts, "127.0.0.1");
    list_add(hosts, "localhost");
    certificate_authority(m, GRANT_CA, "SkupperGrantServerCA");
    certificate_authority(m, m->issuer, m->issuer);
    certificate_leaf(m, GRANT_SERVER, GRANT_CA, GRANT_SERVER, hosts, CERTIFICATE_SERVER);
    if (port < 1 || port > 65535)
        json_array_append_new(m->out->ports, json_pack("{s:s, s:i, s:s}", "key", GRANT_SERVER,
                                                       "from", GRANT_PORT, "host", ""));
    json_decref(hosts);
}

void grant_apply(struct model *m, struct thing *t)
{
    static const char *const kept[] = {"url", "ca", "code", "redemptions", "expirationTime", NULL};
    const json_t *fact = json_object_get(m->facts->grants, t->name);
    const char *trouble = site_text(fact, "trouble");

    if (spec_int(t, "redemptionsAllowed", 0) < 1)
        json_object_set_new(t->spec, "redemptionsAllowed", json_integer(1));
    if (m->is_edge) {
        cond_error(t, "Processed", "Edge sites cannot accept incoming links from remote sites");
        return;
    }
    if (!m->is_in_cluster) // there the controller has one for all
        want_server(m);
    for (size_t i = 0; kept[i]; i++) {
        const json_t *v = json_object_get(fact, kept[i]);

        if (v && !json_is_null(v))
            json_object_set(t->status, kept[i], (json_t *)(uintptr_t)v);
    }
    if (site_text(fact, "error")[0])
        cond_error(t, "Processed", "%s", site_text(fact, "error"));
    else
        cond_ready(t, "Processed");
    cond_met(t, "Resolved", site_text(fact, "url")[0] && site_text(fact, "ca")[0],
             trouble[0] ? trouble : "Pending");
}

// What it gave belonged to a Site that is gone, or was told so before: it gives nothing again.
static bool is_spent(const struct model *m, const struct thing *t)
{
    const json_t *before = json_object_get(json_object_get(m->facts->previous, t->key), "status");

    return m->is_in_cluster && (!m->site || strcmp(site_text(before, "message"), SPENT) == 0);
}

void token_apply(struct model *m, struct thing *t)
{
    const json_t *fact = json_object_get(m->facts->tokens, t->name);
    bool is_redeemed = json_is_true(json_object_get(fact, "redeemed"));
    const char *error = site_text(fact, "error");

    json_object_set_new(t->status, "redeemed", json_boolean(is_redeemed));
    if (!is_redeemed && error[0])
        cond_error(t, "Redeemed", "%s", error);
    else if (is_redeemed && is_spent(m, t))
        cond_spent(t, "Redeemed", SPENT);
    else
        cond_met(t, "Redeemed", is_redeemed, "Pending");
}
