// SPDX-License-Identifier: Apache-2.0
// AccessGrants: one server for all namespaces. What a grant is stands in its status, so that every
// controller knows it: code, end, redemptions. The server is there when its certificate and its
// address are. A redemption is counted in the status before anything is given out: of two that
// redeem the last one at once, one gets a conflict. Who redeems waits for that, the loop does not.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/mem.h"
#include "controller/shell.h"
#include "host/host.h"
#include "pki/pki.h"

enum { COUNT_MS = 8000 }; // for the API server to take a count; who redeems waits 10 s

struct grants {
    struct controller *c;
    struct exposing *exposing; // NULL: it was said where the server is reached
    struct host_grants *server;
    struct server_files files; // its certificate
    char *place;               // "host:port"; "" while nobody can come
    json_t *fresh; // {uid: {"code", "expirationTime"}} of grants whose status is not written yet
    struct site_grant *list;
    json_t **resources; // of the same grants
    size_t count;
};

static int64_t now_s(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec;
}

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
    if (site_grant_make(resource, uid, code, now_s(), &grant, why) < 0)
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
        fact = site_grant_status(&grant, url, g->files.ca);
        site_grant_fini(&grant);
    }
    if (g->files.trouble[0])
        json_object_set_new(fact, "trouble", json_string(g->files.trouble));
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

static void forget_list(struct grants *g)
{
    for (size_t i = 0; i < g->count; i++) {
        site_grant_fini(&g->list[i]);
        json_decref(g->resources[i]);
    }
    free(g->list);
    free(g->resources);
    g->list = NULL;
    g->resources = NULL;
    g->count = 0;
}

static void add_grant(struct grants *g, json_t *take_resource)
{
    json_t *kept = kept_form(take_resource, json_object_get(take_resource, "status"));
    struct site_grant grant;

    if (site_grant_read(kept, &grant, NULL) < 0) { // not told yet
        json_decref(kept);
        json_decref(take_resource);
        return;
    }
    g->list = xrealloc(g->list, g->count + 1, sizeof(*g->list));
    g->resources = xrealloc(g->resources, g->count + 1, sizeof(*g->resources));
    g->list[g->count] = grant;
    g->resources[g->count++] = take_resource;
    json_decref(kept);
}

static size_t list_grants(void *user, const struct site_grant **out)
{
    struct grants *g = user;
    struct kube_watch *w = watch_of(g->c, "AccessGrant");
    json_t *one;
    size_t at = 0;

    forget_list(g);
    while (w && (one = kube_watch_each(w, NULL, &at)) != NULL)
        add_grant(g, one);
    *out = g->list;
    return g->count;
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
        err = host_grant_links(str_of(cert), str_of(key), endpoints, name, subject, PKI_EC, now_s(),
                               text, why);
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
    const json_t *grant = g->resources[index];
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
    const json_t *grant = g->resources[index];
    int err = can_give(g, grant, why);
    struct call *call;
    json_t *body;

    if (err < 0)
        return err;
    body = json_deep_copy(grant);
    json_object_set_new(json_object_get(body, "status"), "redemptions",
                        json_integer(g->list[index].used + 1));
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

// The grants may have changed meanwhile; what is given out is for the one that was counted.
static void counted(struct grants *g, const struct call *call, const struct kube_answer *a)
{
    const struct site_grant *list;
    size_t count = list_grants(g, &list), index = 0;

    while (index < count && strcmp(list[index].uid, call->uid) != 0)
        index++;
    if (a->result != KUBE_OK)
        host_grants_counted(g->server, call->number, index, kube_result_err(a->result),
                            a->why.text);
    else if (index == count)
        host_grants_counted(g->server, call->number, index, ERR_NOT_FOUND,
                            "the grant was deleted meanwhile");
    else
        host_grants_counted(g->server, call->number, index, 0, "");
}

void grants_answer(struct grants *g, const struct call *call, const struct kube_answer *answer)
{
    if (call->type == CALL_COUNT)
        counted(g, call, answer);
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

static int serve(struct grants *g, struct why *why)
{
    struct host_grants_opts opts = {.port = g->c->opts.grant_port,
                                    .cert_file = g->files.cert_file,
                                    .key_file = g->files.key_file,
                                    .grants = list_grants,
                                    .count = count,
                                    .give = give,
                                    .user = g};

    return g->server ? host_grants_reload(g->server, why)
                     : host_grants_new(g->c->loop, &opts, &g->server, why);
}

// With a new certificate, or again after it could not listen.
static void serve_at(struct grants *g, const char *place)
{
    struct why why = {""};
    bool is_good = serve(g, &why) == 0, is_new = server_files_went(&g->files, why.text);

    if (is_good)
        log_write(LOG_AGENT, LOG_INFO, "tokens are redeemed at https://%s", place);
    else if (is_new)
        log_write(LOG_AGENT, LOG_ERROR, "tokens %s: %s",
                  g->server ? "are redeemed with the old certificate"
                            : "cannot be redeemed, and it is tried again",
                  why.text);
    if (is_good || is_new)
        spaces_mark(g->c);
}

void grants_refresh(struct grants *g)
{
    json_t *secret;
    struct why why = {""};
    char *place;

    if (!g)
        return;
    if (g->exposing)
        exposing_look(g->exposing);
    secret = own_object(g, "Secret", g->c->opts.grant_credentials);
    place = find_place(g);
    if (place[0] && secret &&
        (server_files_take(&g->files, secret, &why) || (!g->server && g->files.content[0])))
        serve_at(g, place);
    if (why.text[0])
        log_write(LOG_AGENT, LOG_ERROR, "tokens cannot be redeemed: %s", why.text);
    if (g->server && strcmp(place, g->place) != 0) {
        free(g->place);
        g->place = place;
        place = NULL;
        spaces_mark(g->c);
    }
    free(place);
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

    *g = (struct grants){.c = c, .place = xstrdup(""), .fresh = json_object()};
    if (c->opts.exposes_grants && !c->opts.grant_base_url[0])
        g->exposing = exposing_new(c);
    if (server_files_init(&g->files, c->loop, again, g, why) < 0) {
        grants_free(g);
        return ERR_IO;
    }
    *out = g;
    return 0;
}

void grants_free(struct grants *g)
{
    if (!g)
        return;
    exposing_free(g->exposing);
    host_grants_free(g->server);
    forget_list(g);
    server_files_fini(&g->files);
    json_decref(g->fresh);
    free(g->place);
    free(g);
}
