// SPDX-License-Identifier: Apache-2.0
// The life of the controller. It waits for its lease; then it asks which of the optional APIs the
// cluster has, lists and watches every kind that a plan reads, and from then on each object that is
// new, changed or gone marks the namespaces that it matters to (space.c). It looks at nothing by
// interval: where nothing happens it asks for nothing but its lease.
//
// A watch that is lost is taken up again by the cache, which keeps what it knows meanwhile.
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "controller/shell.h"
#include "web/web.h"

enum {
    SCRATCH = 64 * 1024,
    REST_MS = 1000, // so long after the last event, memory goes back
};
static const char LEASE_LOST[] =
    "lease lost: another holds it, or it could not be renewed for 10 s "
    "and another may; ends, to be started anew";

// ------------------------------------------------------------------------------------------ kinds

static size_t kind_index(const char *kind)
{
    for (size_t i = 0; controller_kinds[i].api_version; i++)
        if (strcmp(controller_kinds[i].kind, kind) == 0)
            return i;
    return KINDS_MAX;
}

struct kube_watch *watch_of(const struct controller *c, const char *kind)
{
    size_t i = kind_index(kind);

    return i < KINDS_MAX ? c->watches[i] : NULL;
}

struct kube_watch *watch_for(const struct controller *c, const char *kind, const char *name)
{
    for (size_t i = 0; controller_kinds[i].api_version; i++)
        if (controller_kinds[i].name && strcmp(controller_kinds[i].name, name) == 0 &&
            strcmp(controller_kinds[i].kind, kind) == 0)
            return c->watches[i];
    return watch_of(c, kind);
}

// Whether another watch than the one that tells of an object is the one for it.
static bool is_anothers(const struct controller *c, const struct kube_watch *w,
                        const json_t *object)
{
    return is_kind(object, "ConfigMap") &&
           watch_for(c, "ConfigMap", site_text(object, "metadata.name")) != w;
}

void list_objects(const struct controller *c, const char *ns, json_t *list)
{
    for (size_t i = 0; controller_kinds[i].api_version; i++) {
        json_t *one;
        size_t at = 0;

        while (c->watches[i] && (one = kube_watch_each(c->watches[i], ns, &at)) != NULL) {
            if (!is_anothers(c, c->watches[i], one))
                json_array_append(list, one);
            json_decref(one);
        }
    }
}

void watch_kind(struct controller *c, size_t i)
{
    const struct controller_kind *k = &controller_kinds[i];
    const char *ns = c->opts.watch_ns;
    char *fields = k->name ? str_fmt("metadata.name=%s", k->name) : NULL;
    struct kube_watch_opts opts = {.kind = kube_kind(k->api_version, k->kind),
                                   .ns = ns && ns[0] ? ns : NULL,
                                   .fields = fields,
                                   .labels = k->labels,
                                   .keep = k->keep};

    c->watches[i] = kube_watch_new(c->kube, &opts);
    free(fields);
}

static bool all_synced(const struct controller *c)
{
    for (size_t i = 0; controller_kinds[i].api_version; i++)
        if (c->watches[i] && !kube_watch_is_synced(c->watches[i]))
            return false;
    return c->asked == 0 && c->knows_own && c->knows_apps;
}

static void start_watching(struct controller *c)
{
    c->is_leader = true;
    log_write(LOG_AGENT, LOG_INFO, "in charge name=%s/%s of %s", c->settings.ns, c->settings.name,
              c->opts.watch_ns && c->opts.watch_ns[0] ? c->opts.watch_ns : "all namespaces");
    for (size_t i = 0; controller_kinds[i].api_version; i++) {
        if (!controller_kinds[i].is_optional)
            watch_kind(c, i);
    }
    discovery_begin(c);
}

// ----------------------------------------------------------------------------------------- events

static void mark_name(struct controller *c, const char *ns)
{
    if (ns[0])
        space_mark(space_of(c, ns));
}

// The two halves of an attached connector, and the pods between them, matter to each other's
// namespaces.
static void mark_attached(struct controller *c, const json_t *object)
{
    struct kube_watch *bindings = watch_of(c, "AttachedConnectorBinding");
    const char *ns = site_text(object, "metadata.namespace");
    json_t *one;
    size_t at = 0;

    mark_name(c, site_text(object, "spec.siteNamespace"));
    mark_name(c, site_text(object, "spec.connectorNamespace"));
    if (!is_kind(object, "Pod") && !is_kind(object, "AttachedConnector"))
        return;
    while (bindings && (one = kube_watch_each(bindings, NULL, &at)) != NULL) {
        if (strcmp(site_text(one, "spec.connectorNamespace"), ns) == 0)
            mark_name(c, site_text(one, "metadata.namespace"));
        json_decref(one);
    }
}

// What the controller's own namespace says for all.
static bool is_for_all(const struct controller *c, const json_t *object)
{
    if (strcmp(site_text(object, "metadata.namespace"), c->settings.ns) != 0)
        return false;
    return is_kind(object, "Gateway") ||
           (is_kind(object, "ConfigMap") &&
            (label(object, "skupper.io/label-template")[0] ||
             json_object_get(site_get(object, "metadata.labels"), "skupper.io/site-sizing")));
}

static void follow_level(const struct controller *c, const json_t *object, bool is_deleted)
{
    static const char *const levels[][2] = {
        {"debug", "debug+"}, {"info", "info+"}, {"warn", "warning+"}, {"error", "error+"}};
    const char *level = is_deleted ? "" : site_text(object, "data.CONTROLLER_LOG_LEVEL");

    if (!is_kind(object, "ConfigMap") ||
        strcmp(site_text(object, "metadata.name"), "skupper-log-config") != 0 ||
        strcmp(site_text(object, "metadata.namespace"), c->settings.ns) != 0)
        return;
    log_set_enable(LOG_AGENT, "info+");
    for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++)
        if (str_is_nocase(str_of(level), levels[i][0]))
            log_set_enable(LOG_AGENT, levels[i][1]);
}

static void object_event(struct controller *c, const json_t *object, bool is_deleted)
{
    space_event(space_of(c, site_text(object, "metadata.namespace")), object, is_deleted);
    if (is_kind(object, "Pod") || strncmp(site_text(object, "kind"), "Attached", 8) == 0)
        mark_attached(c, object);
    if (is_for_all(c, object))
        spaces_mark(c);
    follow_level(c, object, is_deleted);
    if (c->has_begun && grants_is_about(c->grants, object))
        grants_refresh(c->grants);
}

struct call *call_new(struct controller *c, struct call is)
{
    struct call *call = xcalloc(1, sizeof(*call));

    *call = is;
    list_append(&c->calls, &call->on_controller);
    return call;
}

void call_free(struct call *take)
{
    list_remove(&take->on_controller);
    json_decref(take->operation);
    free(take->uid);
    free(take);
}

static void answered(struct controller *c, const struct kube_event *ev)
{
    struct call *call = ev->user;

    switch (call->type) {
    case CALL_OPERATION:
        space_answer(call->space, call, ev->answer);
        return;
    case CALL_DISCOVERY:
        discovery_answer(c, call, ev->answer);
        break;
    case CALL_COUNT:
    case CALL_EXPOSING:
        grants_answer(c->grants, call, ev->answer);
        break;
    case CALL_CLAIM_COUNT:
    case CALL_CLAIM_READ:
    case CALL_CLAIM_WRITE:
        claims_answer(c->claims, call, ev->answer);
        break;
    case CALL_EVENT: // only told
        if (ev->answer->result != KUBE_OK)
            log_write(LOG_AGENT, LOG_DEBUG, "event not told: %s", ev->answer->why.text);
        break;
    }
    call_free(call);
}

// The lease goes with the installation, whose Deployment has our name.
static void own_lease(struct controller *c)
{
    const struct kube_watch *deployments = watch_of(c, "Deployment");
    json_t *ours =
        deployments ? kube_watch_get(deployments, c->settings.ns, c->settings.name) : NULL;
    json_t *owner;

    if (!ours)
        return;
    owner = json_pack("{s:s, s:s, s:s, s:s}", "apiVersion", "apps/v1", "kind", "Deployment", "name",
                      c->settings.name, "uid", site_text(ours, "metadata.uid"));
    kube_lease_own(c->lease, owner);
    json_decref(owner);
    json_decref(ours);
}

// Everything is known: now plans can be made.
static void maybe_begin(struct controller *c)
{
    if (c->has_begun || !c->is_leader || !all_synced(c))
        return;
    c->has_begun = true;
    log_write(LOG_AGENT, LOG_INFO, "everything is listed");
    own_lease(c);
    grants_refresh(c->grants);
    // Each was marked when its first object was told.
    size_t at = 0;
    void *s;

    while (map_next(&c->spaces, &at, NULL, &s))
        space_settle(s);
}

static void count_news(struct controller *c, const struct kube_watch *w)
{
    for (size_t i = 0; controller_kinds[i].api_version; i++)
        if (c->watches[i] == w)
            c->counters.news[i]++;
}

static void handle(struct controller *c, const struct kube_event *ev)
{
    if (discovery_event(c, ev) || claims_event(c->claims, ev))
        return;
    if (ev->object && is_anothers(c, ev->watch, ev->object))
        return;
    if (ev->object)
        count_news(c, ev->watch);
    switch (ev->type) {
    case KUBE_EV_ANSWER:
        answered(c, ev);
        break;
    case KUBE_EV_ADDED:
    case KUBE_EV_CHANGED:
        object_event(c, ev->object, false);
        break;
    case KUBE_EV_DELETED:
        object_event(c, ev->object, true);
        break;
    case KUBE_EV_SYNCED:
    case KUBE_EV_WELL:
        break;
    case KUBE_EV_TROUBLE:
        log_write(LOG_AGENT, LOG_WARNING, "not watched: %s", ev->words);
        if (ev->result == KUBE_FORBIDDEN || ev->result == KUBE_NOT_FOUND)
            spaces_tell(c, "NotWatched", ev->words);
        break;
    case KUBE_EV_LEASE_HELD:
        if (!c->is_leader)
            start_watching(c);
        break;
    case KUBE_EV_LEASE_LOST:
        if (c->is_ending)
            break;
        // Another may act by now. Nothing of ours must be under way then, so this process ends.
        log_write(LOG_AGENT, LOG_ERROR, "%s", LEASE_LOST);
        c->is_lost = true;
        net_loop_stop(c->loop);
        break;
    }
}

static void turn(void *user, struct mono now)
{
    struct controller *c = user;
    struct kube_event ev;
    bool is_any = false;

    while (c->kube && kube_next(c->kube, &ev)) {
        handle(c, &ev);
        is_any = true;
    }
    maybe_begin(c);
    if (is_any)
        net_timer_set(c->loop, &c->rest_timer, mono_add_ms(now, REST_MS));
    if (c->is_ending && c->lease && kube_lease_is_released(c->lease))
        net_loop_stop(c->loop);
}

static void rest(void *user, struct mono now)
{
    struct controller *c = user;

    (void)now;
    kube_rest(c->kube);
    mem_rest();
}

// ------------------------------------------------------------------------------------------- life

// First asked, it gives the lease up, so that another need not wait; asked again, it ends at once.
static void signalled(void *user, int number, struct mono now)
{
    struct controller *c = user;

    (void)number, (void)now;
    if (c->is_ending || !c->lease || !kube_lease_is_held(c->lease))
        net_loop_stop(c->loop);
    else
        kube_lease_release(c->lease);
    c->is_ending = true;
}

// A pod of a Deployment is called NAME-HASH-HASH.
static char *deduced_name(const char *host)
{
    struct str name = str_of(host);

    for (int cut = 0; cut < 2; cut++) {
        size_t len = name.len;

        while (len > 0 && name.ptr[len - 1] != '-')
            len--;
        if (len < 2)
            return xstrdup(host[0] ? host : "skupper-controller");
        name.len = len - 1;
    }
    return str_dup(name);
}

static int connect_api(struct controller *c, struct why *why)
{
    struct kube_config_opts where = {.kubeconfig = c->opts.kubeconfig, .context = c->opts.context};
    struct kube_opts opts = {.loop = c->loop, .manager = "skupper-controller"};
    struct kube_config *config;
    int err = kube_config_load(&where, &config, why);

    return err < 0 ? err : kube_new(config, &opts, &c->kube, why);
}

static int begin(struct controller *c, char **name, char **identity, struct why *why)
{
    static const int signals[] = {SIGTERM, SIGINT, 0};
    struct net_hooks hooks = {.user = c, .turn = turn};
    const char *host = c->settings.host_name ? c->settings.host_name : "";
    int err;

    c->settings.reads_site_map = c->opts.watch_ns && c->opts.watch_ns[0];
    err = controller_settings_check(&c->settings, why);
    if (!err)
        err = net_loop_new(&hooks, SCRATCH, &c->loop);
    if (!err)
        err = connect_api(c, why);
    if (!err)
        err = issuing_new(c->loop, &c->issuing, why);
    if (!err && c->settings.has_grants)
        err = grants_new(c, &c->grants, why);
    if (!err && c->settings.reads_site_map)
        err = claims_new(c, &c->claims, why);
    if (err < 0)
        return err;
    if (!c->settings.ns || !c->settings.ns[0])
        c->settings.ns = kube_config_namespace(kube_config_of(c->kube));
    if (!c->settings.name || !c->settings.name[0])
        c->settings.name = *name = deduced_name(host);
    if (c->opts.metrics_address && c->opts.metrics_address[0])
        err = serve_new(c, c->opts.metrics_address, &c->pages, why);
    if (!err)
        err = net_signals_new(c->loop, signals, signalled, c, &c->signals, why);
    if (err < 0)
        return err;
    *identity = str_fmt("%s-%d", host[0] ? host : c->settings.name, (int)getpid());
    c->lease = kube_lease_new(c->kube, &(struct kube_lease_opts){.ns = c->settings.ns,
                                                                 .name = c->settings.name,
                                                                 .identity = *identity});
    return 0;
}

static void end(struct controller *c)
{
    struct list *node;

    web_free(c->pages);
    issuing_free(c->issuing);
    grants_free(c->grants);
    claims_free(c->claims);
    if (c->loop)
        discovery_free(c);
    for (size_t i = 0; i < KINDS_MAX; i++)
        kube_watch_free(c->watches[i]);
    kube_lease_free(c->lease);
    kube_free(c->kube);
    while ((node = list_first(&c->calls)) != NULL) // no answer comes any more
        call_free(list_entry(node, struct call, on_controller));
    if (c->loop) {
        spaces_free(c);
        net_timer_cancel(c->loop, &c->rest_timer);
        net_signals_free(c->signals);
    }
    net_loop_free(c->loop);
}

int controller_run(const struct controller_opts *opts, struct why *why)
{
    struct controller c = {
        .opts = *opts, .settings = opts->settings, .rest_timer = {.fire = rest, .user = &c}};
    char *name = NULL, *identity = NULL;
    int err;

    list_init(&c.calls);
    err = begin(&c, &name, &identity, why);

    if (!err)
        net_loop_run(c.loop);
    if (!err && c.is_lost) {
        why_set(why, "%s", LEASE_LOST);
        err = ERR_CLOSED;
    }
    end(&c);
    free(name);
    free(identity);
    return err;
}
