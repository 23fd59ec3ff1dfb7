// SPDX-License-Identifier: Apache-2.0
// The resources of a site, wherever they are: files of this host (files.c), or objects of a cluster
// (cluster.c). The commands know no other way to them.
#include <string.h>

#include "base/err.h"
#include "cli/inside.h"
#include "site/site.h"

int store_open(struct cli *c, struct store *s)
{
    bool in_cluster = c->platform == ON_KUBERNETES;

    *s = (struct store){.cli = c, .ops = in_cluster ? &store_cluster : &store_files};
    return in_cluster ? cluster_open(c, s) : files_open(c, s);
}

void store_close(struct store *s)
{
    s->ops->close(s);
}

json_t *store_list(const struct store *s, enum store_side side, const char *kind)
{
    return s->ops->list(s, side, kind);
}

json_t *store_find(struct store *s, const char *kind, const char *name)
{
    return s->ops->find(s, kind, name);
}

json_t *store_told(const struct store *s, const char *kind, const char *name)
{
    return s->ops->told(s, kind, name);
}

json_t *store_site(const struct store *s)
{
    json_t *sites = store_list(s, STORE_INPUT, "Site"), *site = json_array_get(sites, 0);

    json_incref(site);
    json_decref(sites);
    return site;
}

json_t *store_new(const struct store *s, const char *kind, const char *name)
{
    const struct site_kind *k = site_find_kind(str_of(kind));
    json_t *resource = json_pack("{s:s, s:s, s:{s:s}, s:{}}", "apiVersion", k->api_version, "kind",
                                 kind, "metadata", "name", name, "spec");

    if (s->cli->platform == ON_KUBERNETES || strcmp(s->ns, "default") != 0)
        json_object_set_new(json_object_get(resource, "metadata"), "namespace", json_string(s->ns));
    return resource;
}

int store_put(struct store *s, json_t *resource, struct why *why)
{
    return s->ops->put(s, resource, why);
}

int store_remove(struct store *s, const char *kind, const char *name, struct why *why)
{
    return s->ops->remove(s, kind, name, why);
}

bool store_await(const struct store *s, const struct wish *w, json_t **last)
{
    return s->ops->await(s, w, last);
}

json_t *store_shown(const struct store *s, const char *kind)
{
    json_t *is = store_list(s, STORE_RUNTIME, kind), *wanted, *one;
    size_t i;

    if (s->cli->platform == ON_KUBERNETES)
        return is;
    // Not taken up yet: without a status, but there.
    wanted = store_list(s, STORE_INPUT, kind);
    json_array_foreach(wanted, i, one)
    {
        if (!site_item(is, "metadata.name", site_text(one, "metadata.name")))
            json_array_append(is, one);
    }
    json_decref(wanted);
    return is;
}

// ---------------------------------------------------------------------------------- what it tells

bool cli_condition(const json_t *resource, const char *type)
{
    const json_t *condition = site_condition(resource, type),
                 *seen = json_object_get(condition, "observedGeneration"),
                 *newest = site_get(resource, "metadata.generation");

    // What it says of an older text is no answer.
    if (json_is_integer(seen) && json_is_integer(newest) &&
        json_integer_value(seen) < json_integer_value(newest))
        return false;
    return strcmp(site_text(condition, "status"), "True") == 0;
}

const char *cli_status_of(const json_t *resource)
{
    const char *status = site_text(resource, "status.status");

    return status[0] ? status : "Pending";
}

const char *cli_message_of(const struct cli *c, const json_t *resource)
{
    if (site_get(resource, "status.status") || site_text(resource, "status.message")[0])
        return site_text(resource, "status.message");
    return c->platform == ON_KUBERNETES ? "no controller has taken it up yet" : "not started";
}

// ---------------------------------------------------------------------------------------- waiting

struct mono cli_until(struct cli *c, const char *flag)
{
    return mono_add_ms(mono_now(), cli_duration_ms(c, flag));
}

void cli_check_timeout(struct cli *c)
{
    if (cli_duration_ms(c, "timeout") < TIMEOUT_MIN_MS)
        cli_problem(c, "timeout is not valid: duration must not be less than 10s; got %s",
                    cli_text(c, "timeout"));
}

bool cli_is_ready(const json_t *resource)
{
    return cli_condition(resource, "Ready");
}

void cli_check_active(struct cli *c, const json_t *site)
{
    if (site && !cli_is_ready(site))
        cli_problem(c,
                    "there is no active skupper site in this namespace: the site \"%s\" is not "
                    "ready: %s",
                    site_text(site, "metadata.name"), cli_message_of(c, site));
    else if (!site && !c->failure)
        cli_problem(c, "there is no active skupper site in this namespace: \"skupper site create "
                       "<name>\" makes one");
}

static bool is_configured(const json_t *resource)
{
    return cli_condition(resource, "Configured");
}

// What to do about a token that will never be redeemed; NULL: it may be yet.
static const char *refusal(const json_t *resource)
{
    return site_redeeming_refusal(site_text(site_condition(resource, "Redeemed"), "message"));
}

static bool is_redeemed_or_refused(const json_t *resource)
{
    return cli_condition(resource, "Redeemed") || refusal(resource);
}

static bool is_gone(const json_t *resource)
{
    return resource == NULL;
}

// The words for a condition that did not come: its own, or those of the whole.
static void tell_late(struct cli *c, const struct wish *w, const char *condition, const char *state,
                      const json_t *last)
{
    const char *message = site_text(site_condition(last, condition), "message");

    if (!message[0])
        message = site_text(last, "status.message");
    if (strcmp(w->kind, "Site") == 0 && strcmp(message, "Pending") == 0 &&
        !cli_condition(last, "Resolved"))
        message = "its link access has no address yet: \"kubectl get securedaccesses\" tells of "
                  "each way in";
    if (!last || message[0])
        cli_fail(c, "%s \"%s\" is not yet %s: %s", w->kind, w->name, state,
                 last ? message : "it is gone");
    else
        cli_fail(c,
                 "%s \"%s\" is not yet %s: no controller has taken it up. Does one run for this "
                 "namespace? \"kubectl get deployments -A\" shows it as skupper-controller, "
                 "docs/kubernetes.md tells how to install it",
                 w->kind, w->name, state);
}

int cli_await(struct cli *c, const struct store *s, struct wish *w, const char *condition)
{
    static const struct {
        const char *condition, *state;
        bool (*is_so)(const json_t *resource);
    } known[] = {{"Ready", "ready", cli_is_ready},
                 {"Configured", "configured", is_configured},
                 {"Redeemed", "redeemed", is_redeemed_or_refused}};
    size_t at = 0;
    json_t *last = NULL;
    bool is;

    while (strcmp(known[at].condition, condition) != 0)
        at++;
    w->is_so = known[at].is_so;
    is = store_await(s, w, &last);
    if (is && !cli_condition(last, condition)) {
        cli_fail(c, "%s \"%s\" will not be %s: %s: %s. The %s stays until it is deleted", w->kind,
                 w->name, known[at].state, site_text(site_condition(last, condition), "message"),
                 refusal(last), w->kind);
        is = false;
    } else if (!is && !c->failure) {
        tell_late(c, w, condition, known[at].state, last);
    }
    json_decref(last);
    return is ? EXIT_OK : c->failure ? c->failure : EXIT_FAILED;
}

int cli_await_asked(struct cli *c, const struct store *s, const char *words, const char *kind,
                    const char *name)
{
    const char *what = c->platform == ON_KUBERNETES ? cli_text(c, "wait") : "none";
    struct wish w = {.words = words, .kind = kind, .name = name};

    if (strcmp(what, "none") == 0)
        return EXIT_OK;
    w.until = cli_until(c, "timeout");
    return cli_await(c, s, &w, strcmp(what, "ready") == 0 ? "Ready" : "Configured");
}

int cli_await_gone(struct cli *c, const struct store *s, const char *kind, const char *name)
{
    struct wish w = {.words = "Waiting for deletion to complete...",
                     .kind = kind,
                     .name = name,
                     .is_so = is_gone};
    json_t *last = NULL;
    bool is;

    if (c->platform != ON_KUBERNETES || !cli_bool(c, "wait"))
        return EXIT_OK;
    w.until = cli_until(c, "timeout");
    is = store_await(s, &w, &last);
    json_decref(last);
    if (is || c->failure)
        return is ? EXIT_OK : c->failure;
    return cli_fail(c,
                    "%s \"%s\" is not gone yet: something holds it (metadata.finalizers), or its "
                    "deletion takes longer than --timeout",
                    kind, name);
}

int cli_verdict(const struct cli *c)
{
    return c->failure ? c->failure : c->problem_count ? EXIT_INVALID : EXIT_OK;
}
