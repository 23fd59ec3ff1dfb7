// SPDX-License-Identifier: Apache-2.0
// Before the router starts: its files, once all are there, or after a while those that are.
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "pod/inside.h"

struct init {
    const struct pod_opts *opts;
    struct kube *kube;
    struct pod_watches watches;
    char *told; // what was waited for when it was told last
};

// Whether nothing is missing; with words, an error that waiting may end. *config and *p are made
// anew.
static int look(struct init *in, json_t **config, struct plan *p, bool *is_whole, struct why *why)
{
    const char *ns = kube_config_namespace(kube_config_of(in->kube));
    json_t *secrets;
    int err = pod_config(&in->watches, in->opts, ns, config, why);

    if (err < 0)
        return err;
    secrets = pod_secrets(in->watches.secrets);
    plan_make(p, *config, secrets, in->opts);
    json_decref(secrets);
    *is_whole = json_object_size(p->waiting) == 0;
    return 0;
}

static void tell(struct init *in, const char *words)
{
    if (in->told && strcmp(in->told, words) == 0)
        return;
    free(in->told);
    in->told = xstrdup(words);
    if (words[0])
        log_write(LOG_AGENT, LOG_INFO, "waiting: %s", words);
}

static void tell_waiting(struct init *in, const struct plan *p, const struct why *why)
{
    char *words = p->waiting ? plan_words(p->waiting) : xstrdup(why->text);

    tell(in, words);
    free(words);
}

static bool is_synced(const struct init *in)
{
    return kube_watch_is_synced(in->watches.config) && kube_watch_is_synced(in->watches.secrets);
}

// Why nothing is known of what is there.
static void explain(const struct init *in, struct why *why)
{
    const char *config = kube_watch_trouble(in->watches.config),
               *secrets = kube_watch_trouble(in->watches.secrets);

    if (!why->text[0])
        why_set(why, "%s", config ? config : secrets ? secrets : "the API server did not answer");
}

static int write_all(const struct init *in, const json_t *config, const struct plan *p,
                     struct why *why)
{
    int err = pod_write(p, why);

    if (!err)
        err = pod_write_config(in->opts, config, p, why);
    if (!err && json_object_size(p->waiting) > 0) {
        char *words = plan_words(p->waiting);

        log_write(LOG_AGENT, LOG_WARNING, "the router starts without: %s", words);
        free(words);
    }
    return err;
}

static int wait_and_write(struct init *in, uint32_t wait_ms, struct why *why)
{
    struct mono until = mono_add_ms(mono_now(), wait_ms);
    struct kube_event ev;

    for (;;) {
        struct plan p = {0};
        struct why trouble = {""};
        json_t *config = NULL;
        bool is_whole = false, is_over = !mono_before(mono_now(), until);
        int err = ERR_AGAIN;

        while (kube_next(in->kube, &ev))
            continue;
        if (is_synced(in))
            err = look(in, &config, &p, &is_whole, &trouble);
        if (err == 0 && (is_whole || is_over))
            err = write_all(in, config, &p, why);
        else if (err < 0 && is_over)
            *why = trouble, explain(in, why);
        else {
            explain(in, &trouble);
            tell_waiting(in, &p, &trouble);
        }
        plan_fini(&p);
        json_decref(config);
        if (is_whole || is_over)
            return err;
        kube_wait(in->kube, until);
    }
}

int pod_init(const struct pod_opts *opts, uint32_t wait_ms, struct why *why)
{
    struct init in = {.opts = opts};
    struct kube_config *config;
    int err = kube_config_load(
        &(struct kube_config_opts){.kubeconfig = opts->kubeconfig, .ns = opts->ns}, &config, why);

    if (err < 0)
        return err;
    err = kube_new(config, &(struct kube_opts){.manager = "skupper-agent"}, &in.kube, why);
    if (err < 0)
        return err;
    pod_watch(&in.watches, in.kube, opts);
    err = wait_and_write(&in, wait_ms, why);
    kube_watch_free(in.watches.config);
    kube_watch_free(in.watches.secrets);
    kube_free(in.kube);
    free(in.told);
    return err;
}
