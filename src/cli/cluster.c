// SPDX-License-Identifier: Apache-2.0
// Resources of a site in a cluster, as objects of its API. Of an object that was found only what
// the command changed is written, so that nobody else's words are lost; what was not found is made,
// and never in the place of something that is there.
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "cli/plain.h"
#include "kube/kube.h"
#include "site/site.h"

enum { REQUEST_MS = 10000, POLL_MS = 1000 };

int cluster_open(struct cli *c, struct store *s)
{
    const char *file = cli_text(c, "kubeconfig"), *context = cli_text(c, "context");
    const char *ns = cli_text(c, "namespace");
    struct kube_config_opts opts = {file[0] ? file : NULL, context[0] ? context : NULL,
                                    ns[0] ? ns : NULL};
    struct kube_opts with = {.manager = "skupper-cli"};
    struct kube_config *config;
    struct why why = {""};

    if (ns[0] && !site_is_namespace(str_of(ns))) {
        cli_problem(c,
                    "namespace is not valid: \"%s\" must be made of a-z, 0-9 and hyphens, begun "
                    "and ended by a letter or digit",
                    ns);
        return EXIT_INVALID;
    }
    if (kube_config_load(&opts, &config, &why) < 0 || kube_new(config, &with, &s->kube, &why) < 0)
        return cli_fail(c, "%s%s", why.text,
                        c->is_platform_chosen ? "" : "; \"-p linux\" is for sites on this host");
    s->ns = kube_config_namespace(kube_config_of(s->kube));
    s->found = json_object();
    return EXIT_OK;
}

static void cluster_close(struct store *s)
{
    json_decref(s->found);
    kube_free(s->kube);
}

// ---------------------------------------------------------------------------------------- trouble

static const struct kube_kind *kind_of(const char *kind)
{
    static const char *const versions[] = {"skupper.io/v2alpha1", "v1", "apps/v1",
                                           "rbac.authorization.k8s.io/v1"};
    const struct kube_kind *k = NULL;

    for (size_t i = 0; !k && i < sizeof(versions) / sizeof(versions[0]); i++)
        k = kube_kind(versions[i], kind);
    return k;
}

static bool is_ours(const struct kube_kind *k)
{
    return strcmp(k->group, "skupper.io") == 0;
}

static void tell_no_definitions(struct cli *c, const char *server)
{
    cli_problem(c,
                "The Skupper CRDs are not yet installed in the cluster %s. To install them, and "
                "the controller, an administrator runs\n"
                "\"kubectl apply -f deploy/skupper-cluster-scope.yaml\"\n"
                "Without them \"skupper init\" makes a site of version 1, where "
                "deploy/skupper-version-1.yaml is installed",
                server);
    c->failure = EXIT_INVALID;
}

// What could not be read, once: what follows from it is no news.
static void lose(const struct store *s, const struct kube_kind *k, const struct kube_answer *a)
{
    struct cli *c = s->cli;
    const struct kube_config *config = kube_config_of(s->kube);
    const char *context = kube_config_context(config);

    if (c->failure)
        return;
    if (a->result == KUBE_NOT_FOUND && k && is_ours(k)) {
        tell_no_definitions(c, kube_config_server(config));
        return;
    }
    c->failure = EXIT_FAILED;
    if (a->result == KUBE_UNREACHABLE)
        cli_say(c,
                "%s. The cluster is %s%s%s: does it run, and is it the one that is meant? "
                "(--context, --kubeconfig, KUBECONFIG)%s",
                a->why.text, kube_config_server(config), context[0] ? ", context " : "", context,
                c->is_platform_chosen ? "" : " \"-p linux\" is for sites on this host");
    else
        cli_say(c, "%s", a->why.text);
}

// --------------------------------------------------------------------------------------- requests

static json_t *without_noise(json_t *object)
{
    json_object_del(json_object_get(object, "metadata"), "managedFields");
    return object;
}

// About an object of the namespace, or with no name about all of the kind.
static struct kube_request request_of(const struct store *s, enum kube_verb verb,
                                      const struct kube_kind *kind, const char *name)
{
    return (struct kube_request){.verb = verb,
                                 .kind = kind,
                                 .ns = s->ns,
                                 .name = name,
                                 .timeout_ms = REQUEST_MS,
                                 .is_hasty = true};
}

int cluster_check(const struct store *s)
{
    struct kube_request r = {.verb = KUBE_GET, .path = "/version", .is_hasty = true};
    struct kube_answer a = {0};

    if (kube_call(s->kube, &r, &a) < 0 && a.result == KUBE_UNREACHABLE)
        lose(s, NULL, &a);
    kube_answer_fini(&a);
    return s->cli->failure;
}

// Are our kinds unknown? Who lacks the right to them is not told so otherwise.
static bool lacks_kinds(const struct store *s, const struct kube_kind *k,
                        const struct kube_answer *a)
{
    struct kube_request r = {.verb = KUBE_GET,
                             .path = "/apis/skupper.io/v2alpha1",
                             .timeout_ms = REQUEST_MS,
                             .is_hasty = true};
    struct kube_answer found = {0};
    bool is_unknown = a->result == KUBE_NOT_FOUND;

    if (is_ours(k) && a->result == KUBE_FORBIDDEN) {
        kube_call(s->kube, &r, &found);
        is_unknown = found.result == KUBE_NOT_FOUND;
        kube_answer_fini(&found);
    }
    return is_ours(k) && is_unknown;
}

static bool is_any(const struct store *s, enum kube_verb verb, const char *kind, const char *name)
{
    struct kube_request r = request_of(s, verb, kind_of(kind), name);
    struct kube_answer a = {0};
    bool is = kube_call(s->kube, &r, &a) == 0 &&
              (verb == KUBE_GET || json_array_size(json_object_get(a.value, "items")) > 0);

    kube_answer_fini(&a);
    return is;
}

// Where our kinds are defined a namespace may still hold a site of version 1, if it has no other.
static bool is_plain_here(const struct store *s, const char *kind)
{
    return (strcmp(kind, "Site") == 0 || strcmp(kind, "Link") == 0) &&
           is_any(s, KUBE_GET, "ConfigMap", PLAIN_MAP) && !is_any(s, KUBE_LIST, "Site", NULL);
}

// What there is of our kinds at a site of version 1; NULL: there is not even that.
static json_t *list_plain(const struct store *s, const char *kind, const char *name)
{
    json_t *site = plain_site(s), *items = NULL;
    bool is_it =
        strcmp(kind, "Site") == 0 && (!name || strcmp(site_text(site, "metadata.name"), name) == 0);

    // Where the site is made or removed nobody asks for its links, which go with it.
    if (site && strcmp(kind, "Link") == 0 && !s->cli->is_plain_fine)
        items = plain_links(s, site, name);
    else if (site || s->cli->is_plain_fine)
        items = site && is_it ? json_pack("[O]", site) : json_array();
    json_decref(site);
    return items;
}

// What there is of a kind, as the request chooses; a new reference.
static json_t *ask(const struct store *s, const char *kind, const char *name, const char *labels)
{
    const struct kube_kind *k = kind_of(kind);
    char *fields = name ? str_fmt("metadata.name=%s", name) : NULL;
    struct kube_request r = {.verb = KUBE_LIST,
                             .kind = k,
                             .ns = s->ns,
                             .labels = labels,
                             .fields = fields,
                             .timeout_ms = REQUEST_MS,
                             .is_hasty = true};
    struct kube_answer a = {0};
    json_t *items = NULL, *plain = NULL, *one;
    size_t i;

    if (kube_call(s->kube, &r, &a) == 0) {
        items = json_incref(json_object_get(a.value, "items"));
        if (json_array_size(items) == 0 && is_plain_here(s, kind))
            plain = list_plain(s, kind, name);
    } else if (lacks_kinds(s, k, &a)) {
        a.result = KUBE_NOT_FOUND;
        plain = list_plain(s, kind, name);
    }
    if (!items && !plain)
        lose(s, k, &a);
    kube_answer_fini(&a);
    free(fields);
    if (plain) {
        json_decref(items);
        return plain;
    }
    json_array_foreach(items, i, one)
    {
        // Items of a list do not say what they are.
        json_object_set_new(one, "kind", json_string(kind));
        json_object_set_new(one, "apiVersion",
                            json_sprintf("%s%s%s", k->group, k->group[0] ? "/" : "", k->version));
        without_noise(one);
    }
    return items ? items : json_array();
}

// All of a kind, or the one of a name.
static json_t *list(const struct store *s, const char *kind, const char *name)
{
    return ask(s, kind, name, NULL);
}

json_t *cluster_labelled(const struct store *s, const char *kind, const char *labels)
{
    return ask(s, kind, NULL, labels);
}

static json_t *cluster_list(const struct store *s, enum store_side side, const char *kind)
{
    (void)side;
    return list(s, kind, NULL);
}

// Of other kinds people may read one without being allowed to list all.
static json_t *get(const struct store *s, const struct kube_kind *k, const char *name)
{
    struct kube_request r = request_of(s, KUBE_GET, k, name);
    struct kube_answer a = {0};
    json_t *object = NULL;

    if (kube_call(s->kube, &r, &a) == 0)
        object = without_noise(json_incref(a.value));
    else if (a.result != KUBE_NOT_FOUND)
        lose(s, k, &a);
    kube_answer_fini(&a);
    return object;
}

static json_t *cluster_told(const struct store *s, const char *kind, const char *name)
{
    const struct kube_kind *k = kind_of(kind);
    json_t *found, *one;

    if (!is_ours(k))
        return get(s, k, name);
    found = list(s, kind, name);
    one = json_incref(json_array_get(found, 0));
    json_decref(found);
    return one;
}

static json_t *cluster_find(struct store *s, const char *kind, const char *name)
{
    json_t *one = cluster_told(s, kind, name);
    char *key = site_key(kind, name);

    if (one)
        json_object_set_new(s->found, key, json_deep_copy(one));
    free(key);
    return one;
}

// What differs, as a merge patch: a field that went is null.
static json_t *difference(const json_t *old, const json_t *now)
{
    json_t *patch = json_object(), *value, *before;
    const char *key;

    json_object_foreach((json_t *)(uintptr_t)now, key, value)
    {
        before = json_object_get(old, key);
        if (json_is_object(value) && json_is_object(before)) {
            json_t *inner = difference(before, value);

            if (json_object_size(inner) > 0)
                json_object_set(patch, key, inner);
            json_decref(inner);
        } else if (!before || !json_equal(before, value)) {
            json_object_set(patch, key, value);
        }
    }
    json_object_foreach((json_t *)(uintptr_t)old, key, value)
    {
        if (!json_object_get(now, key))
            json_object_set_new(patch, key, json_null());
    }
    return patch;
}

// Why something could not be made.
static void explain(const struct store *s, const json_t *resource, const struct kube_answer *a,
                    struct why *why)
{
    const char *kind = site_text(resource, "kind"), *name = site_text(resource, "metadata.name");

    if (a->result == KUBE_EXISTS)
        why_set(why,
                "there is %s %s \"%s\" in the namespace %s already, which is left as it is: "
                "delete it first, or take another name",
                strchr("AEIOU", kind[0]) ? "an" : "a", kind, name, s->ns);
    else if (a->result == KUBE_NOT_FOUND && strstr(a->why.text, "namespaces \""))
        why_set(why, "the namespace %s does not exist: \"kubectl create namespace %s\" makes it",
                s->ns, s->ns);
    else if (lacks_kinds(s, kind_of(kind), a))
        why_set(why,
                "the Skupper CRDs are not installed, so there is no %s: at a site of version 1 "
                "services are exposed by \"skupper expose\" or by annotation",
                kind);
    else
        *why = a->why;
}

// A Site becomes the ConfigMap of one of version 1.
static int put_plain(const struct store *s, const json_t *site, struct why *why)
{
    json_t *map = plain_map(s, site);
    struct kube_request r = {.verb = KUBE_CREATE,
                             .kind = kind_of("ConfigMap"),
                             .ns = s->ns,
                             .body = map,
                             .timeout_ms = REQUEST_MS,
                             .is_hasty = true};
    struct kube_answer a = {0};
    int err = kube_call(s->kube, &r, &a);

    if (err < 0)
        explain(s, map, &a, why);
    kube_answer_fini(&a);
    json_decref(map);
    return err;
}

// One that stands for a Secret.
static bool is_plain_link(const json_t *found)
{
    return strcmp(site_text(found, "kind"), "Link") == 0 &&
           strcmp(site_text(found, "apiVersion"), "v1") == 0;
}

static int cluster_put(struct store *s, json_t *resource, struct why *why)
{
    const char *kind = site_text(resource, "kind"), *name = site_text(resource, "metadata.name");
    char *key = site_key(kind, name);
    const json_t *old = json_object_get(s->found, key);
    bool is_plain = is_plain_link(old);
    json_t *patch = is_plain ? plain_link_patch(resource) : old ? difference(old, resource) : NULL;
    struct kube_request r = {.verb = old ? KUBE_MERGE_PATCH : KUBE_CREATE,
                             .kind = kind_of(is_plain ? "Secret" : kind),
                             .ns = s->ns,
                             .name = name,
                             .body = old ? patch : resource,
                             .timeout_ms = REQUEST_MS,
                             .is_hasty = true};
    struct kube_answer a = {0};
    int err = 0;

    free(key);
    if (!patch || json_object_size(patch) > 0)
        err = kube_call(s->kube, &r, &a);
    if (err < 0 && strcmp(kind, "Site") == 0 && s->cli->is_plain_fine &&
        lacks_kinds(s, kind_of(kind), &a))
        err = put_plain(s, resource, why);
    else if (err < 0)
        explain(s, resource, &a, why);
    else if (a.value) // whoever owns something must be named by it
        json_object_set_new(json_object_get(resource, "metadata"), "uid",
                            json_string(site_text(a.value, "metadata.uid")));
    kube_answer_fini(&a);
    json_decref(patch);
    return err;
}

static int cluster_remove(struct store *s, const char *kind, const char *name, struct why *why)
{
    struct kube_request r = request_of(s, KUBE_DELETE, kind_of(kind), name);
    struct kube_answer a = {0};
    json_t *old = cluster_told(s, kind, name);
    int err;

    // One that could not be looked up is not there either; why is told.
    if (!old)
        return ERR_NOT_FOUND;
    r.uid = site_text(old, "metadata.uid");
    if (strcmp(site_text(old, "apiVersion"), "v1") == 0 && strcmp(kind, "Site") == 0) {
        r.kind = kind_of("ConfigMap");
        r.name = PLAIN_MAP;
    }
    if (is_plain_link(old))
        r.kind = kind_of("Secret");
    err = kube_call(s->kube, &r, &a);
    if (err < 0 && err != ERR_NOT_FOUND)
        *why = a.why;
    kube_answer_fini(&a);
    json_decref(old);
    return err == ERR_NOT_FOUND ? 0 : err;
}

// ---------------------------------------------------------------------------------------- waiting

struct waiting {
    const struct store *s;
    const struct wish *w;
    struct progress progress;
    struct kube_watch *watch; // NULL: there is none of it, and it is asked for again and again
    json_t *last;             // as it was last
};

// True: it is as wished.
static bool look(struct waiting *g, json_t *take)
{
    bool is = g->w->is_so(take);

    if (take) {
        json_decref(g->last);
        g->last = without_noise(take);
    }
    return is;
}

static bool poll_again(struct waiting *g)
{
    bool is = look(g, cluster_told(g->s, g->w->kind, g->w->name));

    return is || g->s->cli->failure;
}

// Passes on what the watch has; gives it up where listing is allowed and watching is not.
static bool take_events(struct waiting *g)
{
    struct kube_event ev;
    bool is_refused = false;

    while (kube_next(g->s->kube, &ev))
        is_refused |= ev.type == KUBE_EV_TROUBLE &&
                      (ev.result == KUBE_FORBIDDEN || ev.result == KUBE_NOT_FOUND);
    if (is_refused) {
        kube_watch_free(g->watch);
        g->watch = NULL;
        return poll_again(g);
    }
    return kube_watch_is_synced(g->watch) &&
           look(g, kube_watch_get(g->watch, g->s->ns, g->w->name));
}

static bool cluster_await(const struct store *s, const struct wish *w, json_t **last)
{
    char *fields = str_fmt("metadata.name=%s", w->name);
    struct kube_watch_opts opts = {.kind = kind_of(w->kind), .ns = s->ns, .fields = fields};
    struct waiting g = {.s = s, .w = w};
    struct mono now = mono_now();
    bool is = false;

    if (!is_plain_here(s, w->kind))
        g.watch = kube_watch_new(s->kube, &opts);
    progress_begin(&g.progress, s->cli->out, w->words);
    while (!is && mono_before(now, w->until)) {
        struct mono until = g.watch ? w->until : mono_add_ms(now, POLL_MS);

        progress_tick(&g.progress, now, site_text(g.last, "status.message"));
        kube_wait(s->kube, mono_min(mono_min(until, w->until), g.progress.next));
        is = g.watch ? take_events(&g) : poll_again(&g);
        now = mono_now();
    }
    progress_end(&g.progress);
    if (!is && g.watch && kube_watch_trouble(g.watch))
        s->cli->failure = cli_fail(s->cli, "%s", kube_watch_trouble(g.watch));
    kube_watch_free(g.watch);
    free(fields);
    *last = g.last;
    return is && !s->cli->failure;
}

const struct store_ops store_cluster = {
    .list = cluster_list,
    .find = cluster_find,
    .told = cluster_told,
    .put = cluster_put,
    .remove = cluster_remove,
    .await = cluster_await,
    .close = cluster_close,
};
