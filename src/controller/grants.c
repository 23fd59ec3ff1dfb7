// SPDX-License-Identifier: Apache-2.0
// AccessGrants: one server for all namespaces. What a grant is stands in its status, so that every
// controller knows it: code, end, redemptions. The server is there when its certificate and its
// address are. A redemption is counted in the status before anything is given out: of two that
// redeem the last one at once, one gets a conflict. Who redeems waits for that, the loop does not.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/wall.h"
#include "controller/shell.h"
#include "host/host.h"
#include "pki/pki.h"

enum { COUNT_MS = 8000 }; // for the API server to take a count; who redeems waits 10 s

struct grants {
    struct controller *c;
    struct exposing *exposing;  // NULL: it was said where the server is reached
    struct token_server server; // its objects are the AccessGrants
    char *place;                // "host:port"; "" while nobody can come
    json_t *fresh; // {uid: {"code", "expirationTime"}} of grants whose status is not written yet
};

// -----------------------------------------------------------------------------------------
// statuses

// As the site model keeps grants.
static json_t *kept_form(const json_t *resource, const json_t *status)
{
    json_int_t allowed = json_integer_value(site_get(resource, "spec.redemptionsAllowed"));

    return json_pack("{s:s, s:s, s:s, s:I, s:I, s:s}", "name", site_text(resource, "metadata.name"),
                     "uid", site_text(resource, "metadata.uid"), "code", site_text(status, "code"),
                     "redemptionsAllowed", allowed > 0 ? allowed : (json_int_t)1, "redemptions",
                     json_integer_value(json_object_get(status, "redemptions")), "expirationTime",
                     site_text(status, "expirationTime"));
}

// Code and end are chosen when a grant is seen first.
static json_t *first_status(struct grants *g, const json_t *resource, struct why *why)
{
    const char *uid = site_text(resource, "metadata.uid");
    json_t *known = json_object_get(g->fresh, uid);
    char code[PKI_CODE_LEN + 1];
    struct site_grant grant;

    if (known)
        return json_incref(known);
    pki_code(code);
    if (site_grant_make(resource, uid, code, wall_s(), &grant, why) < 0)
        return NULL;
    known = site_grant_write(&grant);
    site_grant_fini(&grant);
    json_object_set(g->fresh, uid, known);
    return known;
}

static json_t *fact_of(struct grants *g, const json_t *resource)
{
    const json_t *status = json_object_get(resource, "status");
    bool is_known = site_text(status, "code")[0] != '\0';
    struct why why = {""};
    json_t *first = is_known ? NULL : first_status(g, resource, &why), *kept, *fact = NULL;
    struct site_grant grant;
    char *url;

    if (!is_known && !first)
        return json_pack("{s:s}", "error", why.text);
    if (is_known)
        json_object_del(g->fresh, site_text(resource, "metadata.uid"));
    kept = kept_form(resource, is_known ? status : first);
    url = g->place[0] ? str_fmt("https://%s/%s", g->place, site_text(resource, "metadata.uid"))
                      : xstrdup("");
    if (site_grant_read(kept, &grant, &why) < 0) {
        fact = json_pack("{s:s}", "error", why.text);
    } else {
        fact = site_grant_status(&grant, url, g->server.ca);
        site_grant_fini(&grant);
    }
    if (g->server.trouble[0])
        json_object_set_new(fact, "trouble", json_string(g->server.trouble));
    free(url);
    json_decref(kept);
    json_decref(first);
    return fact;
}

json_t *grants_facts(struct grants *g, const json_t *objects)
{
    json_t *facts = json_object(), *one;
    size_t i;

    json_array_foreach((json_t *)(uintptr_t)objects, i, one)
    {
        if (is_kind(one, "AccessGrant"))
            json_object_set_new(facts, site_text(one, "metadata.name"), fact_of(g, one));
    }
    return facts;
}

// ------------------------------------------------------------------------------------------
// serving

static void add_grant(struct grants *g, json_t *take_resource)
{
    json_t *kept = kept_form(take_resource, json_object_get(take_resource, "status"));
    struct site_grant grant;

    if (site_grant_read(kept, &grant, NULL) == 0)
        token_server_add(&g->server, &grant, take_resource);
    else // not told yet
        json_decref(take_resource);
    json_decref(kept);
}

static size_t list_grants(void *user, const struct site_grant **out)
{
    struct grants *g = user;
    struct kube_watch *w = watch_of(g->c, "AccessGrant");
    json_t *one;
    size_t at = 0;

    token_server_clear(&g->server);
    while (w && (one = kube_watch_each(w, NULL, &at)) != NULL)
        add_grant(g, one);
    *out = g->server.list;
    return g->server.count;
}

// The active Site of the grant's namespace: the one whose status names its issuer.
static json_t *site_of(const struct grants *g, const char *ns)
{
    struct kube_watch *w = watch_of(g->c, "Site");
    json_t *one;
    size_t at = 0;

    while (w && (one = kube_watch_each(w, ns, &at)) != NULL) {
        if (site_text(one, "status.defaultIssuer")[0])
            return one;
        json_decref(one);
    }
    return NULL;
}

// Where routers of other sites can link to.
static json_t *endpoints_of(const json_t *site)
{
    json_t *list = json_array(), *e;
    size_t i;

    json_array_foreach((json_t *)(uintptr_t)site_get(site, "status.endpoints"), i, e)
    {
        if (strcmp(site_text(e, "name"), "normal") != 0)
            json_array_append(list, e);
    }
    return list;
}

static int give_for(const struct grants *g, const json_t *grant, const json_t *site,
                    const char *name, const char *subject, char **text, struct why *why)
{
    const char *own = site_text(grant, "spec.issuer");
    const char *issuer = own[0] ? own : site_text(site, "status.defaultIssuer");
    struct kube_watch *w = watch_of(g->c, "Secret");
    json_t *secret = w ? kube_watch_get(w, site_text(grant, "metadata.namespace"), issuer) : NULL;
    char *cert = site_secret_get(secret, "tls.crt"), *key = site_secret_get(secret, "tls.key");
    json_t *endpoints = endpoints_of(site);
    int err = ERR_NOT_FOUND;

    if (json_is_true(site_get(site, "spec.edge")))
        why_set(why, "Edge sites cannot accept incoming links from remote sites");
    else if (json_array_size(endpoints) == 0)
        why_set(why, "No valid endpoints found for site");
    else if (!cert || !key)
        why_set(why, "Could not get issuer for requested certificate");
    else
        err = host_grant_links(str_of(cert), str_of(key), endpoints, name, subject, PKI_EC,
                               wall_s(), text, why);
    json_decref(endpoints);
    json_decref(secret);
    free(cert);
    pki_wipe(key);
    return err;
}

static int give(void *user, size_t index, const char *name, const char *subject, char **text,
                struct why *why)
{
    struct grants *g = user;
    const json_t *grant = g->server.objects[index];
    const char *ns = site_text(grant, "metadata.namespace");
    json_t *site = site_of(g, ns);
    int err = ERR_NOT_FOUND;

    if (site)
        err = give_for(g, grant, site, name, subject, text, why);
    else
        why_set(why, "Site not yet defined for %s", ns);
    json_decref(site);
    return err;
}

// What cannot be answered yet is not counted: who asked asks again.
static int can_give(const struct grants *g, const json_t *grant, struct why *why)
{
    const char *ns = site_text(grant, "metadata.namespace");
    json_t *site = site_of(g, ns), *endpoints = site ? endpoints_of(site) : NULL;
    int err = json_array_size(endpoints) > 0 ? 0 : ERR_AGAIN;

    if (!site)
        why_set(why, "Site not yet defined for %s", ns);
    else if (err < 0)
        why_set(why, "No valid endpoints found for site");
    json_decref(endpoints);
    json_decref(site);
    return err;
}

static int count(void *user, size_t index, uint64_t number, struct why *why)
{
    struct grants *g = user;
    const json_t *grant = g->server.objects[index];
    int err = can_give(g, grant, why);
    struct call *call;
    json_t *body;

    if (err < 0)
        return err;
    body = json_deep_copy(grant);
    json_object_set_new(json_object_get(body, "status"), "redemptions",
                        json_integer(g->server.list[index].used + 1));
    call = call_new(g->c, (struct call){.type = CALL_COUNT,
                                        .number = number,
                                        .uid = xstrdup(site_text(body, "metadata.uid"))});
    kube_send(g->c->kube, &(struct kube_request){.verb = KUBE_UPDATE,
                                                 .kind = kube_kind_of(body),
                                                 .ns = site_text(body, "metadata.namespace"),
                                                 .subresource = "status",
                                                 .body = body,
                                                 .timeout_ms = COUNT_MS,
                                                 .user = call});
    json_decref(body);
    return HOST_COUNT_LATER;
}

void grants_answer(struct grants *g, const struct call *call, const struct kube_answer *answer)
{
    if (call->type == CALL_COUNT)
        token_server_counted(&g->server, call, kube_result_err(answer->result), answer->why.text);
    else
        exposing_answer(g->exposing, answer);
}

// --------------------------------------------------------------------------------------- the
// server

static json_t *own_object(const struct grants *g, const char *kind, const char *name)
{
    struct kube_watch *w = watch_of(g->c, kind);

    return w ? kube_watch_get(w, g->c->settings.ns, name) : NULL;
}

// Where it is reached: as told, or the first endpoint of its SecuredAccess. The caller frees.
static char *find_place(const struct grants *g)
{
    const char *given = g->c->opts.grant_base_url;
    json_t *access;
    const json_t *e;
    char *place;

    if (given && given[0])
        return xstrdup(given);
    access = own_object(g, "SecuredAccess", GRANT_ACCESS);
    e = site_get(access, "status.endpoints[0]");
    place = site_text(e, "host")[0] ? str_fmt("%s:%s", site_text(e, "host"), site_text(e, "port"))
                                    : xstrdup("");
    json_decref(access);
    return place;
}

void grants_refresh(struct grants *g)
{
    json_t *secret;
    char *place, *url;

    if (!g)
        return;
    if (g->exposing)
        exposing_look(g->exposing);
    secret = own_object(g, "Secret", g->c->opts.grant_credentials);
    place = find_place(g);
    url = str_fmt("https://%s", place);
    if (place[0] && secret)
        token_server_show(&g->server, secret, url);
    if (g->server.server && strcmp(place, g->place) != 0) {
        free(g->place);
        g->place = place;
        place = NULL;
        spaces_mark(g->c);
    }
    free(place);
    free(url);
    json_decref(secret);
}

static void again(void *user, struct mono now)
{
    (void)now;
    grants_refresh(user);
}

bool grants_is_about(const struct grants *g, const json_t *object)
{
    return g && strcmp(site_text(object, "metadata.namespace"), g->c->settings.ns) == 0 &&
           ((is_kind(object, "Secret") &&
             strcmp(site_text(object, "metadata.name"), g->c->opts.grant_credentials) == 0) ||
            (is_kind(object, "SecuredAccess") &&
             strcmp(site_text(object, "metadata.name"), GRANT_ACCESS) == 0));
}

int grants_new(struct controller *c, struct grants **out, struct why *why)
{
    struct grants *g = xcalloc(1, sizeof(*g));
    int err;

    *g = (struct grants){.c = c, .place = xstrdup(""), .fresh = json_object()};
    if (c->opts.exposes_grants && !c->opts.grant_base_url[0])
        g->exposing = exposing_new(c);
    err = token_server_init(&g->server, c,
                            &(struct token_server_opts){.what = "tokens",
                                                        .one = "grant",
                                                        .again = again,
                                                        .server = {.port = c->opts.grant_port,
                                                                   .grants = list_grants,
                                                                   .count = count,
                                                                   .give = give,
                                                                   .user = g}},
                            why);
    if (err < 0) {
        grants_free(g);
        return err;
    }
    *out = g;
    return 0;
}

void grants_free(struct grants *g)
{
    if (!g)
        return;
    exposing_free(g->exposing);
    token_server_fini(&g->server);
    json_decref(g->fresh);
    free(g->place);
    free(g);
}
