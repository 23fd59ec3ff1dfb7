// SPDX-License-Identifier: Apache-2.0
// Watches: informers on the wire.
#include <stdlib.h>

#include "base/mem.h"
#include "kube/call.h"
#include "kube/inside.h"

enum { PAGE_MS = 60 * 1000 };

struct kube_watch {
    struct list on_kube;
    struct kube *k;
    struct informer informer;
    char *ns, *labels, *fields;
    struct exchange *exchange;
    struct wake due;
};

static void began(void *user, struct mono now)
{
    struct kube_watch *w = user;

    informer_began(&w->informer, now);
}

static bool feed(void *user, struct str bytes)
{
    struct kube_watch *w = user;

    return informer_feed(&w->informer, bytes);
}

static void ended(void *user, const struct outcome *o, struct mono now)
{
    struct kube_watch *w = user;

    w->exchange = NULL;
    if (o->code == 401)
        credential_refused(w->k);
    informer_ended(&w->informer, o, now);
    wake_set(w->k, &w->due, informer_deadline(&w->informer));
}

static void ask(void *user, struct mono now)
{
    struct kube_watch *w = user;
    struct text path = {0};
    struct exchange_opts opts = {
        .method = "GET", .began = began, .feed = feed, .ended = ended, .user = w};

    (void)now;
    informer_ask(&w->informer, &path);
    opts.path = path.data;
    opts.timeout_ms = w->informer.is_watching ? 0 : PAGE_MS;
    w->exchange = exchange_new(w->k, &opts);
    free(path.data);
}

static char *copy(const char *text)
{
    return text && text[0] ? xstrdup(text) : NULL;
}

struct kube_watch *kube_watch_new(struct kube *k, const struct kube_watch_opts *opts)
{
    struct kube_watch *w = xcalloc(1, sizeof(*w));
    struct kube_watch_opts own = *opts;

    w->k = k;
    own.ns = w->ns = opts->kind->is_cluster ? NULL : copy(opts->ns);
    own.labels = w->labels = copy(opts->labels);
    own.fields = w->fields = copy(opts->fields);
    informer_init(&w->informer, &own, &k->rng);
    w->due = (struct wake){.fire = ask, .user = w};
    list_append(&k->watches, &w->on_kube);
    wake_set(k, &w->due, mono_now());
    kube_arm(k);
    return w;
}

void kube_watch_free(struct kube_watch *w)
{
    if (!w)
        return;
    exchange_cancel(w->exchange);
    wake_set(w->k, &w->due, MONO_NEVER);
    list_remove(&w->on_kube);
    informer_fini(&w->informer);
    free(w->ns);
    free(w->labels);
    free(w->fields);
    free(w);
}

void watches_free(struct kube *k)
{
    struct list *node;

    while ((node = list_pop(&k->watches)) != NULL)
        kube_watch_free(list_entry(node, struct kube_watch, on_kube));
}

bool watches_are_pending(const struct kube *k)
{
    list_for_each (node, &k->watches)
        if (informer_is_pending(&list_entry(node, struct kube_watch, on_kube)->informer))
            return true;
    return false;
}

bool watch_next(struct kube *k, struct kube_event *ev)
{
    list_for_each (node, &k->watches) {
        struct kube_watch *w = list_entry(node, struct kube_watch, on_kube);

        if (!informer_next(&w->informer, ev))
            continue;
        ev->watch = w;
        ev->user = w->informer.opts.user;
        return true;
    }
    return false;
}

bool kube_watch_is_synced(const struct kube_watch *w)
{
    return w->informer.is_synced;
}

const char *kube_watch_trouble(const struct kube_watch *w)
{
    return w->informer.why.text[0] ? w->informer.why.text : NULL;
}

void kube_rest(struct kube *k)
{
    list_for_each (node, &k->watches)
        informer_rest(&list_entry(node, struct kube_watch, on_kube)->informer);
}

size_t kube_watch_count(const struct kube_watch *w)
{
    return informer_count(&w->informer);
}

json_t *kube_watch_get(const struct kube_watch *w, const char *ns, const char *name)
{
    return informer_get(&w->informer, ns, name);
}

json_t *kube_watch_each(const struct kube_watch *w, const char *ns, size_t *at)
{
    return informer_each(&w->informer, ns, at);
}
