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
#include <time.h>

#include "base/log.h"
#include "base/mem.h"
#include "controller/shell.h"
#include "host/host.h"
#include "pki/pki.h"

enum { COUNT_MS = 8000, TRIES_MAX = 5 }; // who redeems waits 10 s
static const char TYPES[] = "skupper.io/type in (token-claim,token-claim-record)";

struct claims {
    struct controller *c;
    struct claiming *claiming;
    struct kube_watch *watch; // NULL: there was no site yet
    struct host_grants *server;
    struct server_files files;
    json_t *token; // plan.token
    struct site_grant *list;
    json_t **records; // the Secrets of the same
    size_t count;
};

static int64_t now_s(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec;
}

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

static void forget_list(struct claims *cl)
{
    for (size_t i = 0; i < cl->count; i++) {
        site_grant_fini(&cl->list[i]);
        json_decref(cl->records[i]);
    }
    free(cl->list);
    free(cl->records);
    cl->list = NULL;
    cl->records = NULL;
    cl->count = 0;
}

static void add_record(struct claims *cl, json_t *take)
{
    struct site_grant g;

    if (!is_record(take) || !site_claim_read(take, &g)) {
        json_decref(take);
        return;
    }
    cl->list = xrealloc(cl->list, cl->count + 1, sizeof(*cl->list));
    cl->records = xrealloc(cl->records, cl->count + 1, sizeof(*cl->records));
    cl->list[cl->count] = g;
    cl->records[cl->count++] = take;
}

static size_t list_claims(void *user, const struct site_grant **out)
{
    struct claims *cl = user;
    json_t *one;
    size_t at = 0;

    forget_list(cl);
    while (cl->token && cl->watch && (one = kube_watch_each(cl->watch, NULL, &at)) != NULL)
        add_record(cl, one);
    *out = cl->list;
    return cl->count;
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

    if (!json_object_get(cl->token, "inter-router-host")) {
        why_set(why, "it is not known yet where this site is reached");
        return ERR_AGAIN;
    }
    send_count(cl, cl->records[index], &cl->list[index],
               (struct call){.type = CALL_CLAIM_COUNT,
                             .number = number,
                             .uid = xstrdup(cl->list[index].name)});
    return HOST_COUNT_LATER;
}

static void counted(struct claims *cl, const struct call *call, int err, const char *why)
{
    const struct site_grant *list;
    size_t count = list_claims(cl, &list), index = 0;

    while (index < count && strcmp(list[index].name, call->uid) != 0)
        index++;
    if (err == 0 && index == count)
        host_grants_counted(cl->server, call->number, index, ERR_NOT_FOUND,
                            "the claim was deleted meanwhile");
    else
        host_grants_counted(cl->server, call->number, index, err, why);
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
        counted(cl, call, ERR_AGAIN, "the claim cannot be read any more");
        return;
    }
    may_count = !g.is_corrupt && g.used < g.allowed && now_s() < g.expires;
    if (may_count)
        send_count(cl, a->value, &g,
                   (struct call){.type = CALL_CLAIM_COUNT,
                                 .number = call->number,
                                 .tries = call->tries,
                                 .uid = xstrdup(call->uid)});
    else
        counted(cl, call, ERR_AGAIN, "the claim was used up meanwhile");
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
        counted(cl, call, kube_result_err(answer->result), answer->why.text);
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
                            .not_before = now_s() - PKI_SKEW_S,
                            .not_after = now_s() + PKI_LIFE_S};
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

static int serve(struct claims *cl, struct why *why)
{
    char port[16];
    struct host_grants_opts opts = {.port = port,
                                    .cert_file = cl->files.cert_file,
                                    .key_file = cl->files.key_file,
                                    .is_of_claims = true,
                                    .grants = list_claims,
                                    .count = count,
                                    .give = give,
                                    .user = cl};

    snprintf(port, sizeof(port), "%d", cl->c->settings.claims_port);
    return cl->server ? host_grants_reload(cl->server, why)
                      : host_grants_new(cl->c->loop, &opts, &cl->server, why);
}

// With a new certificate, or again after it could not listen.
static void serve_now(struct claims *cl)
{
    struct why why = {""};
    bool is_good = serve(cl, &why) == 0, is_new = server_files_went(&cl->files, why.text);

    if (is_good)
        log_write(LOG_AGENT, LOG_INFO, "claims are redeemed at port %d",
                  host_grants_port(cl->server));
    else if (is_new)
        log_write(LOG_AGENT, LOG_ERROR, "claims %s: %s",
                  cl->server ? "are redeemed with the old certificate"
                             : "cannot be redeemed, and it is tried again",
                  why.text);
    if (is_good || is_new) // each plan leads here again
        spaces_mark(cl->c);
}

// From the moment on at which there is a certificate it listens; without a site it knows no claim.
static void refresh(struct claims *cl)
{
    json_t *secret = cl->token ? claims_secret(cl->c, CLAIMS_SERVER) : NULL;
    struct why why = {""};

    if (secret &&
        (server_files_take(&cl->files, secret, &why) || (!cl->server && cl->files.content[0])))
        serve_now(cl);
    if (why.text[0])
        log_write(LOG_AGENT, LOG_ERROR, "claims cannot be redeemed: %s", why.text);
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
    return cl && !cl->server ? cl->files.trouble : NULL;
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
    int err = server_files_init(&cl->files, c->loop, again, cl, why);

    cl->c = c;
    cl->claiming = claiming_new(c);
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
    host_grants_free(cl->server);
    kube_watch_free(cl->watch);
    server_files_fini(&cl->files);
    forget_list(cl);
    json_decref(cl->token);
    free(cl);
}
