// SPDX-License-Identifier: Apache-2.0
// Claims of a site of version 1: Secrets that record a password, an end, and how often each may be
// used. Whoever has the password gets a certificate token for it. As with grants (grants.c) a
// redemption is counted before anything is given out; here in annotations of the Secret, in the
// version that was judged: when somebody else wrote it meanwhile, it is read, judged and counted
// again.
//
// Passwords are in a cache of their own, with these Secrets alone.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/wall.h"
#include "controller/shell.h"
#include "host/host.h"
#include "pki/pki.h"

enum { COUNT_MS = 8000, TRIES_MAX = 5 }; // who redeems waits 10 s
static const char TYPES[] = "skupper.io/type in (token-claim,token-claim-record)";

struct claims {
    struct controller *c;
    struct claiming *claiming;
    struct kube_watch *watch;   // NULL: there was no site yet
    struct token_server server; // its objects are those Secrets
    char port[16];
    json_t *token; // plan.token
};

json_t *claims_secret(const struct controller *c, const char *name)
{
    struct kube_watch *w = watch_of(c, "Secret");

    return w ? kube_watch_get(w, c->opts.watch_ns, name) : NULL;
}

// ------------------------------------------------------------------------------------------ lists

static bool is_record(const json_t *secret)
{
    return strcmp(label(secret, "skupper.io/type"), "token-claim-record") == 0;
}

static void add_record(struct claims *cl, json_t *take)
{
    struct site_grant g;

    if (is_record(take) && site_claim_read(take, &g))
        token_server_add(&cl->server, &g, take);
    else
        json_decref(take);
}

static size_t list_claims(void *user, const struct site_grant **out)
{
    struct claims *cl = user;
    json_t *one;
    size_t at = 0;

    token_server_clear(&cl->server);
    while (cl->token && cl->watch && (one = kube_watch_each(cl->watch, NULL, &at)) != NULL)
        add_record(cl, one);
    *out = cl->server.list;
    return cl->server.count;
}

// --------------------------------------------------------------------------------------- counting

// Conflicts when the Secret is no longer the one that was judged.
static void send_count(struct claims *cl, const json_t *record, const struct site_grant *g,
                       struct call is)
{
    json_t *body = plan_identity(record);
    struct call *call = call_new(cl->c, is);

    json_object_set_new(object_metadata(body), "annotations", site_claim_counted(g));
    kube_send(cl->c->kube, &(struct kube_request){.verb = KUBE_MERGE_PATCH,
                                                  .kind = kube_kind_of(body),
                                                  .ns = cl->c->opts.watch_ns,
                                                  .name = g->name,
                                                  .body = body,
                                                  .timeout_ms = COUNT_MS,
                                                  .user = call});
    json_decref(body);
}

// What cannot be answered yet is not counted: who asked asks again.
static int count(void *user, size_t index, uint64_t number, struct why *why)
{
    struct claims *cl = user;
    const struct site_grant *g = &cl->server.list[index];

    if (!json_object_get(cl->token, "inter-router-host")) {
        why_set(why, "it is not known yet where this site is reached");
        return ERR_AGAIN;
    }
    send_count(cl, cl->server.objects[index], g,
               (struct call){.type = CALL_CLAIM_COUNT, .number = number, .uid = xstrdup(g->name)});
    return HOST_COUNT_LATER;
}

static void read_again(struct claims *cl, const struct call *call)
{
    struct call *again = call_new(cl->c, (struct call){.type = CALL_CLAIM_READ,
                                                       .number = call->number,
                                                       .tries = call->tries + 1,
                                                       .uid = xstrdup(call->uid)});

    kube_send(cl->c->kube, &(struct kube_request){.verb = KUBE_GET,
                                                  .kind = kube_kind("v1", "Secret"),
                                                  .ns = cl->c->opts.watch_ns,
                                                  .name = call->uid,
                                                  .timeout_ms = COUNT_MS,
                                                  .user = again});
}

// The password was the right one; what may have changed is how often and how long it counts.
static void was_read(struct claims *cl, const struct call *call, const struct kube_answer *a)
{
    struct site_grant g;
    bool may_count;

    if (a->result != KUBE_OK || !is_record(a->value) || !site_claim_read(a->value, &g)) {
        token_server_counted(&cl->server, call, ERR_AGAIN, "the claim cannot be read any more");
        return;
    }
    may_count = !g.is_corrupt && g.used < g.allowed && wall_s() < g.expires;
    if (may_count)
        send_count(cl, a->value, &g,
                   (struct call){.type = CALL_CLAIM_COUNT,
                                 .number = call->number,
                                 .tries = call->tries,
                                 .uid = xstrdup(call->uid)});
    else
        token_server_counted(&cl->server, call, ERR_AGAIN, "the claim was used up meanwhile");
    site_grant_fini(&g);
}

void claims_answer(struct claims *cl, const struct call *call, const struct kube_answer *answer)
{
    if (call->type == CALL_CLAIM_WRITE)
        claiming_answer(cl->claiming, call, answer);
    else if (call->type == CALL_CLAIM_READ)
        was_read(cl, call, answer);
    else if (answer->result == KUBE_CONFLICT && call->tries < TRIES_MAX)
        read_again(cl, call);
    else
        token_server_counted(&cl->server, call, kube_result_err(answer->result), answer->why.text);
}

// ---------------------------------------------------------------------------------------- serving

static int give(void *user, size_t index, const char *name, const char *subject, char **text,
                struct why *why)
{
    struct claims *cl = user;
    json_t *secret = claims_secret(cl->c, "skupper-site-ca");
    char *cert = site_secret_get(secret, "tls.crt"), *key = site_secret_get(secret, "tls.key");
    struct pki_wish wish = {.name = subject,
                            .key = PKI_EC,
                            .not_before = wall_s() - PKI_SKEW_S,
                            .not_after = wall_s() + PKI_LIFE_S};
    struct pki_pair pair = {0};
    int err = ERR_NOT_FOUND;

    (void)index;
    if (cert && key)
        err = pki_make_leaf(&wish, str_of(cert), str_of(key), &pair, why);
    else
        why_set(why, "Could not get issuer for requested certificate");
    if (!err)
        *text = site_claim_answer(name, cl->token, cert, pair.cert, pair.key);
    pki_pair_fini(&pair);
    json_decref(secret);
    free(cert);
    pki_wipe(key);
    return err;
}

// From the moment on at which there is a certificate it listens; without a site it knows no claim.
static void refresh(struct claims *cl)
{
    json_t *secret = cl->token ? claims_secret(cl->c, CLAIMS_SERVER) : NULL;
    char place[32];

    snprintf(place, sizeof(place), "port %s", cl->port);
    if (secret)
        token_server_show(&cl->server, secret, place);
    json_decref(secret);
}

static void again(void *user, struct mono now)
{
    (void)now;
    refresh(user);
}

// ------------------------------------------------------------------------------------------- door

static void look(struct claims *cl)
{
    refresh(cl);
    if (cl->watch && kube_watch_is_synced(cl->watch))
        claiming_look(cl->claiming, cl->watch,
                      cl->token ? value_of(cl->token, "skupper.io/generated-by") : NULL);
}

void claims_look(struct claims *cl, const json_t *token)
{
    struct kube_watch_opts opts = {
        .kind = kube_kind("v1", "Secret"), .ns = cl->c->opts.watch_ns, .labels = TYPES};

    if (token && !cl->watch)
        cl->watch = kube_watch_new(cl->c->kube, &opts);
    json_decref(cl->token);
    cl->token = token ? json_deep_copy(token) : NULL;
    look(cl);
}

const char *claims_trouble(const struct claims *cl)
{
    return cl && !cl->server.server ? cl->server.trouble : NULL;
}

bool claims_event(struct claims *cl, const struct kube_event *ev)
{
    if (!cl || !cl->watch || ev->watch != cl->watch)
        return false;
    if (ev->type == KUBE_EV_TROUBLE)
        log_write(LOG_AGENT, LOG_WARNING, "claims are not watched: %s", ev->words);
    else
        look(cl);
    return true;
}

int claims_new(struct controller *c, struct claims **out, struct why *why)
{
    struct claims *cl = xcalloc(1, sizeof(*cl));
    int err;

    cl->c = c;
    cl->claiming = claiming_new(c);
    snprintf(cl->port, sizeof(cl->port), "%d", c->settings.claims_port);
    err = token_server_init(&cl->server, c,
                            &(struct token_server_opts){.what = "claims",
                                                        .one = "claim",
                                                        .again = again,
                                                        .server = {.port = cl->port,
                                                                   .is_of_claims = true,
                                                                   .grants = list_claims,
                                                                   .count = count,
                                                                   .give = give,
                                                                   .user = cl}},
                            why);
    if (err < 0) {
        claims_free(cl);
        return err;
    }
    *out = cl;
    return 0;
}

void claims_free(struct claims *cl)
{
    if (!cl)
        return;
    claiming_free(cl->claiming);
    token_server_fini(&cl->server);
    kube_watch_free(cl->watch);
    json_decref(cl->token);
    free(cl);
}
