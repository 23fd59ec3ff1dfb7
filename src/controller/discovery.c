// SPDX-License-Identifier: Apache-2.0
// Which of the APIs that a cluster need not have are there. At the start each is asked for. What is
// defined later is seen by a watch of the definitions, or, where that is not allowed, by asking
// once a minute for what is missing. Once watched, a kind stays watched: if its definition goes,
// the cache says so and goes on when it comes back.
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "controller/shell.h"

enum {
    SOON_MS = 2000,  // after an API could not be asked for
    LOOK_MS = 30000, // where definitions cannot be watched
};

static const char *const keep[] = {"spec.group",
                                   "spec.names.kind",
                                   "spec.versions.name",
                                   "status.conditions.type",
                                   "status.conditions.status",
                                   NULL};

static bool is_missing(const struct controller *c, size_t i)
{
    return controller_kinds[i].is_optional && !c->watches[i] && !c->denied[i];
}

static bool is_own(size_t i)
{
    return strcmp(controller_kinds[i].api_version, SKUPPER_API) == 0;
}

static bool is_of_api(size_t i, size_t other)
{
    return strcmp(controller_kinds[i].api_version, controller_kinds[other].api_version) == 0;
}

static bool is_any_missing(const struct controller *c)
{
    for (size_t i = 0; controller_kinds[i].api_version; i++)
        if (is_missing(c, i))
            return true;
    return false;
}

static void watch(struct controller *c, size_t i)
{
    const char *kind = controller_kinds[i].kind;

    log_write(LOG_AGENT, LOG_DEBUG, "watched kind=%s", kind);
    watch_kind(c, i);
    c->settings.has_routes |= strcmp(kind, "Route") == 0;
    c->settings.has_http_proxies |= strcmp(kind, "HTTPProxy") == 0;
    c->settings.has_gateways |= strcmp(kind, "TLSRoute") == 0;
    c->settings.has_slices |= strcmp(kind, "EndpointSlice") == 0;
    c->settings.has_policies |= strcmp(kind, "NetworkPolicy") == 0;
    if (c->has_begun)
        spaces_retry(c);
}

static void look_in(struct controller *c, int64_t ms)
{
    net_timer_set(c->loop, &c->look_timer, mono_add_ms(net_loop_now(c->loop), ms));
}

// ------------------------------------------------------------------------------------------ asking

static void ask_for(struct controller *c, size_t i)
{
    struct call *call = call_new(c, (struct call){.type = CALL_DISCOVERY, .kind = i});
    char *path = str_fmt("/apis/%s", controller_kinds[i].api_version);

    c->asked++;
    kube_send(c->kube, &(struct kube_request){.verb = KUBE_GET, .path = path, .user = call});
    free(path);
}

// Each API of which a kind is missing, once.
static void ask(struct controller *c)
{
    for (size_t i = 0; controller_kinds[i].api_version; i++) {
        bool is_first = true;

        for (size_t before = 0; before < i; before++)
            is_first &= !is_missing(c, before) || !is_of_api(before, i);
        if (is_missing(c, i) && is_first)
            ask_for(c, i);
    }
}

static void look(void *user, struct mono now)
{
    struct controller *c = user;

    (void)now;
    if (c->asked == 0)
        ask(c);
}

// Does the list of an API's resources name it?
static bool names_kind(const json_t *list, const char *kind)
{
    json_t *one;
    size_t i;

    json_array_foreach((json_t *)(uintptr_t)json_object_get(list, "resources"), i, one)
    {
        if (is_kind(one, kind))
            return true;
    }
    return false;
}

// Without our own nothing can be done for those who use them.
static void tell_missing(const struct controller *c, size_t i)
{
    if (is_own(i) && !c->has_begun)
        log_write(LOG_AGENT, LOG_WARNING,
                  "there is no definition of kind=%s (%s): it is taken up when it is installed",
                  controller_kinds[i].kind, SKUPPER_API);
}

void discovery_answer(struct controller *c, const struct call *call, const struct kube_answer *a)
{
    bool is_ours = is_own(call->kind);
    bool is_apps = strncmp(controller_kinds[call->kind].api_version, "apps/", 5) == 0;

    c->asked--;
    if (a->result != KUBE_OK && a->result != KUBE_NOT_FOUND) {
        log_write(LOG_AGENT, LOG_WARNING, "not known whether there is api=%s: %s",
                  controller_kinds[call->kind].api_version, a->why.text);
        look_in(c, is_ours || is_apps ? SOON_MS : LOOK_MS); // nothing begins without them
        return;
    }
    for (size_t i = 0; controller_kinds[i].api_version; i++) {
        if (!is_missing(c, i) || !is_of_api(i, call->kind))
            continue;
        if (a->result == KUBE_OK && names_kind(a->value, controller_kinds[i].kind))
            watch(c, i);
        else
            tell_missing(c, i);
    }
    c->knows_own |= is_ours;
    c->knows_apps |= is_apps;
    if (!c->definitions && is_any_missing(c))
        look_in(c, LOOK_MS);
}

// ---------------------------------------------------------------------------------- definitions

static bool is_served(const json_t *definition, const char *version)
{
    json_t *one;
    size_t i;
    bool has_version = false, is_established = false;

    json_array_foreach((json_t *)(uintptr_t)site_get(definition, "spec.versions"), i, one)
        has_version |= strcmp(site_text(one, "name"), version) == 0;
    json_array_foreach((json_t *)(uintptr_t)site_get(definition, "status.conditions"), i, one)
        is_established |= strcmp(site_text(one, "type"), "Established") == 0 &&
                          strcmp(site_text(one, "status"), "True") == 0;
    return has_version && is_established;
}

static void defined(struct controller *c, const json_t *definition)
{
    const char *group = site_text(definition, "spec.group");
    size_t len = strlen(group);

    for (size_t i = 0; controller_kinds[i].api_version; i++) {
        const char *api = controller_kinds[i].api_version;

        if (is_missing(c, i) && strncmp(api, group, len) == 0 && api[len] == '/' &&
            strcmp(controller_kinds[i].kind, site_text(definition, "spec.names.kind")) == 0 &&
            is_served(definition, api + len + 1))
            watch(c, i);
    }
}

// A kind of others that may not be seen, from the first on, is as if it were not there.
static bool is_denied(struct controller *c, const struct kube_event *ev)
{
    size_t i = 0;

    while (controller_kinds[i].api_version && c->watches[i] != ev->watch)
        i++;
    if (ev->type != KUBE_EV_TROUBLE || ev->result != KUBE_FORBIDDEN ||
        !controller_kinds[i].api_version || !controller_kinds[i].is_optional || is_own(i) ||
        kube_watch_is_synced(ev->watch))
        return false;
    log_write(LOG_AGENT, LOG_INFO, "done without kind=%s: %s", controller_kinds[i].kind, ev->words);
    kube_watch_free(c->watches[i]);
    c->watches[i] = NULL;
    c->denied[i] = true;
    c->settings.has_routes &= strcmp(controller_kinds[i].kind, "Route") != 0;
    c->settings.has_http_proxies &= strcmp(controller_kinds[i].kind, "HTTPProxy") != 0;
    c->settings.has_gateways &= strcmp(controller_kinds[i].kind, "TLSRoute") != 0;
    c->settings.has_slices &= strcmp(controller_kinds[i].kind, "EndpointSlice") != 0;
    c->settings.has_policies &= strcmp(controller_kinds[i].kind, "NetworkPolicy") != 0;
    return true;
}

bool discovery_event(struct controller *c, const struct kube_event *ev)
{
    if (is_denied(c, ev))
        return true;
    if (!c->definitions || ev->watch != c->definitions)
        return false;
    if (ev->type == KUBE_EV_ADDED || ev->type == KUBE_EV_CHANGED) {
        defined(c, ev->object);
    } else if (ev->type == KUBE_EV_TROUBLE && ev->result == KUBE_FORBIDDEN) {
        log_write(LOG_AGENT, LOG_INFO, "what is installed later is looked for: %s", ev->words);
        kube_watch_free(c->definitions);
        c->definitions = NULL;
        look_in(c, LOOK_MS);
    }
    return true;
}

// With the rights of version 1 none of ours may be seen, defined or not.
static void do_without_own(struct controller *c)
{
    for (size_t i = 0; controller_kinds[i].api_version; i++)
        c->denied[i] |= is_own(i);
    c->knows_own = true;
}

// Only a site of version 1 can ask for one.
static void do_without_policies(struct controller *c)
{
    for (size_t i = 0; controller_kinds[i].api_version; i++)
        c->denied[i] |= strcmp(controller_kinds[i].kind, "NetworkPolicy") == 0;
}

void discovery_begin(struct controller *c)
{
    struct kube_watch_opts opts = {
        .kind = kube_kind("apiextensions.k8s.io/v1", "CustomResourceDefinition"), .keep = keep};

    if (c->opts.does_without_own)
        do_without_own(c);
    if (!c->settings.reads_site_map)
        do_without_policies(c);
    c->look_timer = (struct net_timer){.fire = look, .user = c};
    c->definitions = kube_watch_new(c->kube, &opts);
    ask(c);
}

void discovery_free(struct controller *c)
{
    net_timer_cancel(c->loop, &c->look_timer);
    kube_watch_free(c->definitions);
}
