// SPDX-License-Identifier: Apache-2.0
// AccessTokens of one namespace. What a redemption gives is kept until its Secret and Links are
// seen in the cluster; they bear the uid of their token, so that a token whose Links are there
// counts as redeemed, whoever redeemed it. Nothing is redeemed twice that succeeded once.
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "controller/shell.h"
#include "host/host.h"

#define TOKEN "internal.skupper.io/token"
enum { AGAIN_MS = 30000 };

struct attempt {
    struct list on_tokens;
    struct tokens *tokens;
    char *name, *uid;
    struct host_redemption *under_way; // NULL: it has ended
    struct site_links received;        // what it gave
    char *error;                       // or why it gave nothing
    struct mono again;                 // not before
};

struct tokens {
    struct controller *c;
    char *ns;
    struct list attempts;
    void (*changed)(void *user);
    void *user;
    struct net_timer again;
};

static void attempt_free(struct attempt *a)
{
    list_remove(&a->on_tokens);
    host_redeem_cancel(a->under_way);
    site_links_fini(&a->received);
    free(a->error);
    free(a->name);
    free(a->uid);
    free(a);
}

static struct attempt *find(const struct tokens *t, const char *uid)
{
    list_for_each (node, &t->attempts) {
        struct attempt *a = list_entry(node, struct attempt, on_tokens);

        if (strcmp(a->uid, uid) == 0)
            return a;
    }
    return NULL;
}

static void fire(void *user, struct mono now)
{
    struct tokens *t = user;

    (void)now;
    t->changed(t->user);
}

struct tokens *tokens_new(struct controller *c, const char *ns, void (*changed)(void *user),
                          void *user)
{
    struct tokens *t = xcalloc(1, sizeof(*t));

    *t = (struct tokens){.c = c,
                         .ns = xstrdup(ns),
                         .changed = changed,
                         .user = user,
                         .again = {.fire = fire, .user = t}};
    list_init(&t->attempts);
    return t;
}

void tokens_free(struct tokens *t)
{
    struct list *node;

    while ((node = list_pop(&t->attempts)) != NULL)
        attempt_free(list_entry(node, struct attempt, on_tokens));
    net_timer_cancel(t->c->loop, &t->again);
    free(t->ns);
    free(t);
}

// -------------------------------------------------------------------------------------- redeeming

static void done(void *user, int err, struct site_links *take, const char *why)
{
    struct attempt *a = user;
    struct mono now = net_loop_now(a->tokens->c->loop);

    a->under_way = NULL;
    free(a->error);
    a->error = NULL;
    if (err < 0) {
        log_write(LOG_AGENT, LOG_WARNING, "token not redeemed namespace=%s name=%s: %s",
                  a->tokens->ns, a->name, why);
        a->error = xstrdup(why);
        a->again = mono_add_ms(now, AGAIN_MS);
        net_timer_set(a->tokens->c->loop, &a->tokens->again, a->again);
    } else {
        log_write(LOG_AGENT, LOG_INFO, "token redeemed namespace=%s name=%s", a->tokens->ns,
                  a->name);
        a->received = *take;
        *take = (struct site_links){0};
    }
    a->tokens->changed(a->tokens->user);
}

static void start(struct attempt *a, const json_t *token, const char *site_uid)
{
    struct site_token t = {.kind = SITE_TOKEN_ACCESS,
                           .name = xstrdup(a->name),
                           .url = xstrdup(site_text(token, "spec.url")),
                           .code = xstrdup(site_text(token, "spec.code")),
                           .ca = xstrdup(site_text(token, "spec.ca")),
                           .origin = xstrdup(""),
                           .is_for_controller = true,
                           .link_cost = json_integer_value(site_get(token, "spec.linkCost"))};
    struct host_redeemed then = {.done = done, .user = a};
    struct why why = {""};

    if (host_redeem_start(a->tokens->c->loop, &t, site_uid, &then, &a->under_way, &why) < 0) {
        a->under_way = NULL;
        free(a->error);
        a->error = xstrdup(why.text);
        a->again = mono_add_ms(net_loop_now(a->tokens->c->loop), AGAIN_MS);
    }
    site_token_fini(&t);
}

static bool has_token(const json_t *object, const char *uid)
{
    return strcmp(annotation(object, TOKEN), uid) == 0;
}

static const json_t *seen_object(const json_t *objects, const json_t *like)
{
    json_t *one;
    size_t i;

    json_array_foreach((json_t *)(uintptr_t)objects, i, one)
    {
        if (is_kind(one, site_text(like, "kind")) &&
            strcmp(site_text(one, "metadata.name"), site_text(like, "metadata.name")) == 0)
            return one;
    }
    return NULL;
}

// Every Link that came of the token is there: of a site with two routers there are two. Who does
// not know any more what came (`a` is NULL, or has not received it) takes one for all.
static bool is_redeemed(const struct attempt *a, const json_t *token, const json_t *objects)
{
    const char *uid = site_text(token, "metadata.uid");
    size_t i, there = 0, given = a && a->received.secret ? json_array_size(a->received.links) : 0;
    json_t *one;

    if (json_is_true(site_get(token, "status.redeemed")))
        return true;
    for (i = 0; i < given; i++)
        there += has_token(seen_object(objects, json_array_get(a->received.links, i)), uid);
    if (given > 0)
        return there == given;
    json_array_foreach((json_t *)(uintptr_t)objects, i, one)
    {
        if (is_kind(one, "Link") && has_token(one, uid))
            return true;
    }
    return false;
}

json_t *tokens_facts(const struct tokens *t, const json_t *objects)
{
    json_t *facts = json_object(), *one;
    size_t i;

    json_array_foreach((json_t *)(uintptr_t)objects, i, one)
    {
        const struct attempt *a = find(t, site_text(one, "metadata.uid"));
        const char *name = site_text(one, "metadata.name");

        if (!is_kind(one, "AccessToken"))
            continue;
        if (is_redeemed(a, one, objects))
            json_object_set_new(facts, name, json_pack("{s:b}", "redeemed", 1));
        else if (a && a->error)
            json_object_set_new(facts, name, json_pack("{s:s}", "error", a->error));
    }
    return facts;
}

// --------------------------------------------------------------------------------- what they gave

static void want_object(const struct attempt *a, const json_t *given, const json_t *site,
                        const char *ns, json_t *operations)
{
    json_t *object = json_deep_copy(given), *metadata = json_object_get(object, "metadata");
    char *key = site_key(site_text(object, "kind"), site_text(object, "metadata.name"));

    json_object_set_new(metadata, "namespace", json_string(ns));
    json_object_set_new(object_annotations(object), TOKEN, json_string(a->uid));
    json_object_set_new(metadata, "ownerReferences",
                        json_pack("[{s:s, s:s, s:s, s:s}]", "apiVersion", SKUPPER_API, "kind",
                                  "Site", "name", site_text(site, "metadata.name"), "uid",
                                  site_text(site, "metadata.uid")));
    json_array_append_new(
        operations, json_pack("{s:s, s:s, s:o}", "do", "create", "key", key, "object", object));
    free(key);
}

// The condition says it from the next plan on.
static void tell(struct attempt *a, char *take_words)
{
    bool is_new = !a->error || strcmp(a->error, take_words) != 0;

    free(a->error);
    a->error = take_words;
    if (is_new)
        a->tokens->changed(a->tokens->user);
}

// One that bears our name and is not of this token stays as it is.
static void want_or_tell(struct attempt *a, const json_t *given, const json_t *site,
                         const json_t *objects, json_t *operations)
{
    const json_t *there = seen_object(objects, given);
    bool is_secret = is_kind(given, "Secret");

    if (!there) {
        want_object(a, given, site, a->tokens->ns, operations);
    } else if (!has_token(there, a->uid)) {
        tell(a, str_fmt("Controller could not create received %s: %s \"%s\" already exists",
                        is_secret ? "secret" : "link", is_secret ? "secrets" : "links",
                        site_text(given, "metadata.name")));
    }
}

// The Links follow when their Secret is there.
static void want_received(struct attempt *a, const json_t *site, const json_t *objects,
                          json_t *operations)
{
    const json_t *secret = seen_object(objects, a->received.secret);
    json_t *link;
    size_t i;

    want_or_tell(a, a->received.secret, site, objects, operations);
    if (!has_token(secret, a->uid))
        return;
    json_array_foreach(a->received.links, i, link) want_or_tell(a, link, site, objects, operations);
}

// The Site in charge; it has been told that it is.
static const json_t *active_site(const json_t *objects)
{
    json_t *one;
    size_t i;

    json_array_foreach((json_t *)(uintptr_t)objects, i, one)
    {
        if (is_kind(one, "Site") && site_get(one, "status.controller"))
            return one;
    }
    return NULL;
}

static void look_at(struct tokens *t, const json_t *token, const json_t *site,
                    const json_t *objects, json_t *operations)
{
    const char *uid = site_text(token, "metadata.uid");
    struct attempt *a = find(t, uid);

    if (is_redeemed(a, token, objects)) {
        if (a)
            attempt_free(a);
        return;
    }
    if (!a) {
        a = xcalloc(1, sizeof(*a));
        *a = (struct attempt){
            .tokens = t, .name = xstrdup(site_text(token, "metadata.name")), .uid = xstrdup(uid)};
        list_append(&t->attempts, &a->on_tokens);
    }
    if (a->received.secret)
        want_received(a, site, objects, operations);
    else if (!a->under_way && !mono_before(net_loop_now(t->c->loop), a->again))
        start(a, token, site_text(site, "metadata.uid"));
}

void tokens_look(struct tokens *t, const json_t *objects, json_t *operations)
{
    const json_t *site = active_site(objects);
    json_t *one;
    size_t i;

    list_for_each (node, &t->attempts) {
        struct attempt *a = list_entry(node, struct attempt, on_tokens);

        if (!site_item(objects, "metadata.uid", a->uid))
            attempt_free(a);
    }
    json_array_foreach((json_t *)(uintptr_t)objects, i, one)
    {
        if (site && is_kind(one, "AccessToken"))
            look_at(t, one, site, objects, operations);
    }
}
