// SPDX-License-Identifier: Apache-2.0
// Claims that others gave this site: Secrets labelled token-claim. Each is redeemed at the site
// that made it, and the Secret becomes the token that was given for it, and so a link. A site of
// version 2 with two routers gives two links: each further one is a Secret beside it, which is made
// first and goes with it. What the other site does not know (any more) is not tried again;
// everything else is. The Secret says what is the matter.
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "controller/shell.h"
#include "host/host.h"

enum { AGAIN_MS = 30000, WRITE_AGAIN_MS = 2000 };
#define GENERATED_BY "skupper.io/generated-by"
#define URL "skupper.io/url"
#define EXPIRATION "skupper.io/claim-expiration"
#define STATUS "internal.skupper.io/status"
#define FAILED "internal.skupper.io/last-failed"

struct attempt {
    struct list on_claiming;
    struct claiming *claiming;
    char *name, *uid;
    struct host_redemption *under_way; // NULL: it has ended
    json_t *writes;                    // not written yet: Secrets to be made, then a patch of it
    bool is_writing;
    bool is_over;      // written is what ends it: the cache will show it
    char *told;        // the status that was written last
    struct mono again; // not before
};

struct claiming {
    struct controller *c;
    struct list attempts;
    const struct kube_watch *secrets; // as it was given last
    char *site_id;
    struct net_timer again;
    struct mono again_at;
};

static void attempt_free(struct attempt *a)
{
    list_remove(&a->on_claiming);
    host_redeem_cancel(a->under_way);
    json_decref(a->writes);
    free(a->told);
    free(a->name);
    free(a->uid);
    free(a);
}

static struct attempt *find(const struct claiming *cl, const char *uid)
{
    list_for_each (node, &cl->attempts) {
        struct attempt *a = list_entry(node, struct attempt, on_claiming);

        if (strcmp(a->uid, uid) == 0)
            return a;
    }
    return NULL;
}

// Everything is looked at then, if not before.
static void look_at_time(struct claiming *cl, struct mono at)
{
    if (cl->again.timer.place != 0 && !mono_before(at, cl->again_at))
        return;
    cl->again_at = at;
    net_timer_set(cl->c->loop, &cl->again, at);
}

static void wait(struct attempt *a, int64_t ms)
{
    struct net_loop *loop = a->claiming->c->loop;

    a->again = mono_add_ms(net_loop_now(loop), ms);
    look_at_time(a->claiming, a->again);
}

// ---------------------------------------------------------------------------------------- writing

static void send_next(struct attempt *a)
{
    struct controller *c = a->claiming->c;
    struct call *call =
        call_new(c, (struct call){.type = CALL_CLAIM_WRITE, .uid = xstrdup(a->uid)});
    const json_t *body = json_array_get(a->writes, 0);
    bool is_last = json_array_size(a->writes) == 1;

    a->is_writing = true;
    kube_send(c->kube, &(struct kube_request){.verb = is_last ? KUBE_MERGE_PATCH : KUBE_CREATE,
                                              .kind = kube_kind("v1", "Secret"),
                                              .ns = c->opts.watch_ns,
                                              .name = site_text(body, "metadata.name"),
                                              .body = body,
                                              .user = call});
}

// Only this very Secret is changed, whatever bears its name by then. Takes the annotations.
static json_t *patch_new(const struct attempt *a, json_t *take_annotations)
{
    return json_pack("{s:s, s:s, s:{s:s, s:s, s:o}}", "apiVersion", "v1", "kind", "Secret",
                     "metadata", "name", a->name, "uid", a->uid, "annotations", take_annotations);
}

static void write_all(struct attempt *a, json_t *take_writes)
{
    json_decref(a->writes);
    a->writes = take_writes;
    send_next(a);
}

void claiming_answer(struct claiming *cl, const struct call *call, const struct kube_answer *answer)
{
    struct attempt *a = find(cl, call->uid);
    bool is_refused;

    if (!a)
        return;
    a->is_writing = false;
    // The first link is worth having without the others.
    is_refused = json_array_size(a->writes) > 1 &&
                 (answer->result == KUBE_EXISTS || answer->result == KUBE_REFUSED ||
                  answer->result == KUBE_FORBIDDEN);
    if (is_refused)
        log_write(LOG_AGENT, LOG_WARNING, "link to a further router not made claim=%s: %s", a->name,
                  answer->why.text);
    if (answer->result == KUBE_OK || is_refused) {
        json_array_remove(a->writes, 0);
        if (json_array_size(a->writes) > 0)
            send_next(a);
        return;
    }
    log_write(LOG_AGENT, LOG_WARNING, "claim not written name=%s: %s", a->name, answer->why.text);
    wait(a, WRITE_AGAIN_MS);
}

// -------------------------------------------------------------------------------------- redeeming

static void set_token(json_t *secret, json_t *take_data)
{
    json_object_set_new(object_metadata(secret), "labels",
                        json_pack("{s:s}", "skupper.io/type", "connection-token"));
    json_object_set_new(secret, "data", take_data);
}

// The link to one more router, which goes with the first.
static json_t *further_new(const struct attempt *a, const struct site_links *given, size_t index)
{
    json_t *secret = json_pack(
        "{s:s, s:s, s:{s:o, s:o, s:[{s:s, s:s, s:s, s:s}]}}", "apiVersion", "v1", "kind", "Secret",
        "metadata", "name", json_sprintf("%s-%zu", a->name, index + 1), "annotations",
        site_link_notes(given->secret, json_array_get(given->links, index)), "ownerReferences",
        "apiVersion", "v1", "kind", "Secret", "name", a->name, "uid", a->uid);

    set_token(secret, json_deep_copy(json_object_get(given->secret, "data")));
    return secret;
}

// The Secret becomes what was given for it.
static void become(struct attempt *a, const struct site_links *given)
{
    static const char *const gone[] = {URL, EXPIRATION, STATUS, FAILED, SITE_CLAIM_KIND};
    json_t *notes = site_link_notes(given->secret, json_array_get(given->links, 0)),
           *writes = json_array();
    json_t *data = json_deep_copy(json_object_get(given->secret, "data")), *patch;

    for (size_t i = 0; i < sizeof(gone) / sizeof(gone[0]); i++)
        json_object_set_new(notes, gone[i], json_null());
    json_object_set_new(data, "password", json_null());
    patch = patch_new(a, notes);
    set_token(patch, data);
    for (size_t i = 1; i < json_array_size(given->links); i++)
        json_array_append_new(writes, further_new(a, given, i));
    json_array_append_new(writes, patch);
    a->is_over = true;
    write_all(a, writes);
}

static void fail(struct attempt *a, bool is_final, const char *why)
{
    json_t *notes = json_pack("{s:s}", STATUS, why);
    char time_text[SITE_TIME_MAX];

    log_write(LOG_AGENT, LOG_WARNING, "claim not redeemed namespace=%s name=%s: %s",
              a->claiming->c->opts.watch_ns, a->name, why);
    if (is_final) {
        site_time_text(time(NULL), time_text);
        json_object_set_new(notes, FAILED, json_string(time_text));
        a->is_over = true;
    } else {
        wait(a, AGAIN_MS);
    }
    if (is_final || !a->told || strcmp(a->told, why) != 0) {
        free(a->told);
        a->told = xstrdup(why);
        write_all(a, json_pack("[o]", patch_new(a, notes)));
    } else {
        json_decref(notes);
    }
}

static void done(void *user, int err, struct site_links *take, const char *why)
{
    struct attempt *a = user;

    a->under_way = NULL;
    if (err < 0) {
        fail(a, err == ERR_NOT_FOUND, why);
        return;
    }
    log_write(LOG_AGENT, LOG_INFO, "claim redeemed namespace=%s name=%s",
              a->claiming->c->opts.watch_ns, a->name);
    become(a, take);
    site_links_fini(take);
}

static void start(struct attempt *a, const json_t *secret)
{
    struct claiming *cl = a->claiming;
    bool is_access = strcmp(annotation(secret, SITE_CLAIM_KIND), SITE_CLAIM_IS_ACCESS) == 0;
    struct site_token t = {.kind = is_access ? SITE_TOKEN_ACCESS : SITE_TOKEN_CLAIM,
                           .name = xstrdup(a->name),
                           .url = xstrdup(annotation(secret, URL)),
                           .code = site_secret_get(secret, "password"),
                           .ca = site_secret_get(secret, "ca.crt"),
                           .origin = xstrdup(annotation(secret, GENERATED_BY))};
    struct host_redeemed then = {.done = done, .user = a};
    struct why why = {""};

    site_number(str_of(annotation(secret, SITE_V1_COST)), 1, INT32_MAX, &t.link_cost);
    if (strcmp(t.origin, cl->site_id) == 0)
        fail(a, true, "Can't create connection to self with token");
    else if (!t.code || !t.ca)
        fail(a, false, "the claim has no password or no ca.crt; is it whole?");
    else if (host_redeem_start(cl->c->loop, &t, cl->site_id, &then, &a->under_way, &why) < 0)
        fail(a, false, why.text);
    site_token_fini(&t);
}

// ------------------------------------------------------------------------------------------- door

static bool is_claim(const json_t *secret)
{
    return strcmp(label(secret, "skupper.io/type"), "token-claim") == 0 &&
           !annotation(secret, FAILED)[0] && !site_get(secret, "metadata.deletionTimestamp");
}

static void look_at(struct claiming *cl, const json_t *secret)
{
    const char *uid = site_text(secret, "metadata.uid");
    struct attempt *a = find(cl, uid);

    if (!a) {
        a = xcalloc(1, sizeof(*a));
        *a = (struct attempt){.claiming = cl,
                              .name = xstrdup(site_text(secret, "metadata.name")),
                              .uid = xstrdup(uid)};
        list_append(&cl->attempts, &a->on_claiming);
    }
    if (a->under_way || a->is_writing)
        return;
    if (mono_before(net_loop_now(cl->c->loop), a->again))
        look_at_time(cl, a->again);
    else if (json_array_size(a->writes) > 0)
        send_next(a);
    else if (!a->is_over)
        start(a, secret);
}

static bool is_there(const struct claiming *cl, const struct attempt *a)
{
    json_t *secret = kube_watch_get(cl->secrets, cl->c->opts.watch_ns, a->name);
    bool is = secret && is_claim(secret) && strcmp(site_text(secret, "metadata.uid"), a->uid) == 0;

    json_decref(secret);
    return is;
}

static void look(struct claiming *cl)
{
    json_t *one;
    size_t at = 0;

    list_for_each (node, &cl->attempts) {
        struct attempt *a = list_entry(node, struct attempt, on_claiming);

        if (!cl->site_id || !is_there(cl, a))
            attempt_free(a);
    }
    while (cl->site_id && (one = kube_watch_each(cl->secrets, NULL, &at)) != NULL) {
        if (is_claim(one))
            look_at(cl, one);
        json_decref(one);
    }
}

static void fire(void *user, struct mono now)
{
    (void)now;
    look(user);
}

void claiming_look(struct claiming *cl, const struct kube_watch *secrets, const char *site_id)
{
    cl->secrets = secrets;
    free(cl->site_id);
    cl->site_id = site_id ? xstrdup(site_id) : NULL;
    look(cl);
}

struct claiming *claiming_new(struct controller *c)
{
    struct claiming *cl = xcalloc(1, sizeof(*cl));

    *cl = (struct claiming){.c = c, .again = {.fire = fire, .user = cl}};
    list_init(&cl->attempts);
    return cl;
}

void claiming_free(struct claiming *cl)
{
    struct list *node;

    if (!cl)
        return;
    while ((node = list_pop(&cl->attempts)) != NULL)
        attempt_free(list_entry(node, struct attempt, on_claiming));
    if (cl->c->loop)
        net_timer_cancel(cl->c->loop, &cl->again);
    free(cl->site_id);
    free(cl);
}
