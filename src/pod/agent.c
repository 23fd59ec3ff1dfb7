// SPDX-License-Identifier: Apache-2.0
// The agent beside a router in its pod: one loop. Watches of the ConfigMap and of the Secrets mark
// it; a few milliseconds later everything is planned once (plan.c), files are written (files.c),
// and the difference goes to the router (drive). Nothing is taken from the router because something
// is not known: without a ConfigMap that can be read, and while the API server is away, what it has
// stays. Whoever holds the lease also tells the network's status (publish.c, source.c), and
// exchanges services with other sites (shared.c). Each takes the steps of a link for who asks
// (doctor.c).
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "client/client.h"
#include "drive/drive.h"
#include "net/net.h"
#include "pod/inside.h"
#include "site/site.h"
#include "web/web.h"

enum {
    SETTLE_MS = 10,  // so long after something new, everything is planned
    REST_MS = 1000,  // so long after something was done, memory goes back
    RETRY_MS = 2000, // after a failure to write
    LEAVE_MS = 3000, // for the lease to be given up, at the end
    SCRATCH = 64 * 1024,
    VISITS_MAX = 32, // of each page, at once
};

struct agent {
    const struct pod_opts *opts;
    struct net_loop *loop;
    struct kube *kube;
    const char *ns; // of the client
    struct pod_watches watches;
    struct kube_watch *pods;   // while it leads
    struct kube_watch *status; // its own ConfigMap, while it leads
    struct drive *router;
    struct kube_lease *lease;
    struct drive_census *census; // while it leads
    struct source *source;       // while it leads
    struct publish *publish;
    struct shared *shared; // while it leads
    struct client *client; // of the router; NULL: not connected
    struct doctor *doctor;
    struct web *health, *metrics;
    json_t *config; // read last; NULL: none yet
    json_t *waiting;
    char *told; // problem told last
    bool is_marked, is_ending;
    bool was_up; // the router was there once
    uint64_t plan_count;
    struct net_signals *signals;
    struct net_timer plan_timer, rest_timer, leave_timer;
};

static void mark(struct agent *a)
{
    if (a->is_marked)
        return;
    a->is_marked = true;
    net_timer_set(a->loop, &a->plan_timer, mono_add_ms(net_loop_now(a->loop), SETTLE_MS));
}

// ----------------------------------------------------------------------------------------- plan

// Each problem once, and when there is none any more.
static void tell(struct agent *a, const char *words)
{
    if (strcmp(a->told, words) == 0)
        return;
    if (words[0])
        log_write(LOG_AGENT, LOG_WARNING, "%s", words);
    else
        log_write(LOG_AGENT, LOG_INFO, "nothing is missing any more");
    free(a->told);
    a->told = xstrdup(words);
}

static void want(struct agent *a, const json_t *applied)
{
    json_t *wanted, *leftovers;

    if (!a->config)
        return;
    wanted = plan_wanted(a->config, applied, a->waiting);
    leftovers = plan_leftovers(applied, a->config, wanted, a->opts);
    drive_want(a->router, wanted);
    pod_remove(leftovers);
    json_decref(leftovers);
    json_decref(wanted);
}

// Files first: what the router is told refers to them.
static int carry_out(struct agent *a, json_t *take_config, struct why *why)
{
    json_t *secrets = pod_secrets(a->watches.secrets);
    struct plan p;
    int err;

    plan_make(&p, take_config, secrets, a->opts);
    json_decref(secrets);
    err = pod_write(&p, why);
    if (!err)
        err = pod_write_config(a->opts, take_config, &p, why);
    if (err < 0) {
        json_decref(take_config);
        plan_fini(&p);
        return err;
    }
    json_decref(a->config);
    json_decref(a->waiting);
    a->config = take_config;
    a->waiting = json_incref(p.waiting);
    plan_fini(&p);
    // Until the router's entities have been read nothing is known of them; read_router() follows.
    if (drive_is_up(a->router) && json_array_size(drive_applied(a->router)) > 0)
        want(a, drive_applied(a->router));
    return 0;
}

static void plan(void *user, struct mono now)
{
    struct agent *a = user;
    json_t *config = NULL;
    struct why why = {""};
    int err;

    a->is_marked = false;
    if (!kube_watch_is_synced(a->watches.config) || !kube_watch_is_synced(a->watches.secrets))
        return; // KUBE_EV_SYNCED marks again
    a->plan_count++;
    err = pod_config(&a->watches, a->opts, a->ns, &config, &why);
    if (err < 0) {
        tell(a, why.text);
        return;
    }
    err = carry_out(a, config, &why);
    if (err < 0) {
        tell(a, why.text);
        net_timer_set(a->loop, &a->plan_timer, mono_add_ms(now, RETRY_MS));
        return;
    }
    char *words = plan_words(a->waiting);
    char *line =
        words[0] ? str_fmt("the router goes on without what is missing: %s", words) : xstrdup("");

    tell(a, line);
    free(line);
    free(words);
    net_timer_set(a->loop, &a->rest_timer, mono_add_ms(now, REST_MS));
}

// Not while the router is still told of things, for nothing may follow that would ask for it again.
static void rest(void *user, struct mono now)
{
    struct agent *a = user;

    if (a->router && drive_is_up(a->router) && !drive_is_settled(a->router)) {
        net_timer_set(a->loop, &a->rest_timer, mono_add_ms(now, REST_MS));
        return;
    }
    if (a->router)
        drive_rest(a->router);
    kube_rest(a->kube);
    mem_rest();
}

// ----------------------------------------------------------------------------------------- router

static void router_changed(void *user)
{
    struct agent *a = user;

    a->was_up |= drive_is_up(a->router);
    net_timer_set(a->loop, &a->rest_timer, mono_add_ms(net_loop_now(a->loop), REST_MS));
}

static void router_read(void *user, const json_t *applied)
{
    want(user, applied);
}

static void router_opened(void *user, struct client *c)
{
    struct agent *a = user;

    a->client = c;
    log_write(LOG_AGENT, LOG_INFO, "connected to the router");
    doctor_opened(a->doctor, c);
    if (a->census) {
        drive_census_opened(a->census, c);
        source_opened(a->source, c);
        drive_sharing_opened(shared_exchange(a->shared), c);
    }
}

static void router_closed(void *user)
{
    struct agent *a = user;

    a->client = NULL;
    if (!a->is_ending)
        log_write(LOG_AGENT, LOG_WARNING, "the router is gone: %s", drive_problem(a->router));
    doctor_closed(a->doctor);
    if (a->census) {
        drive_census_closed(a->census);
        source_closed(a->source);
        drive_sharing_closed(shared_exchange(a->shared));
    }
}

static void router_event(void *user, const struct client_event *ev)
{
    struct agent *a = user;

    if (!doctor_event(a->doctor, ev) && a->census && !source_event(a->source, ev) &&
        !drive_sharing_event(shared_exchange(a->shared), ev))
        drive_census_heard(a->census, ev);
}

// ---------------------------------------------------------------------------------------- leading

static void census_has_news(void *user)
{
    struct agent *a = user;

    publish_set(a->publish, a->census);
}

static void lead(struct agent *a)
{
    log_write(LOG_AGENT, LOG_INFO, "leads: tells the status of the network");
    a->publish = publish_new(a->loop, a->kube, a->ns, a->opts->deployment);
    a->source = source_new(a->loop, a->opts, a->ns);
    a->shared = shared_new(a->loop, a->kube, a->ns, a->opts->site_id, a->opts->version);
    a->census = drive_census_new(a->loop, census_has_news, a);
    a->pods = kube_watch_new(a->kube, &(struct kube_watch_opts){.kind = kube_kind("v1", "Pod"),
                                                                .ns = a->ns,
                                                                .keep = source_pod_keep});
    a->status = publish_watch(a->kube, a->ns);
    if (a->client) {
        drive_census_opened(a->census, a->client);
        source_opened(a->source, a->client);
        drive_sharing_opened(shared_exchange(a->shared), a->client);
    }
}

static void follow(struct agent *a)
{
    if (!a->census)
        return;
    log_write(LOG_AGENT, LOG_INFO, "leads no more");
    drive_census_free(a->census);
    source_free(a->source);
    shared_free(a->shared);
    publish_free(a->publish);
    kube_watch_free(a->pods);
    kube_watch_free(a->status);
    a->status = NULL;
    a->census = NULL;
    a->source = NULL;
    a->shared = NULL;
    a->publish = NULL;
    a->pods = NULL;
}

// --------------------------------------------------------------------------------------- events

static void changed(struct agent *a, const struct kube_event *ev)
{
    if (ev->watch == a->pods)
        source_pod(a->source, ev->object, ev->type == KUBE_EV_DELETED);
    else if (ev->watch == a->status)
        publish_seen(a->publish, ev->type == KUBE_EV_DELETED);
    else
        mark(a);
}

static void kube_heard(struct agent *a, const struct kube_event *ev)
{
    if (shared_event(a->shared, ev))
        return;
    switch (ev->type) {
    case KUBE_EV_ADDED:
    case KUBE_EV_CHANGED:
    case KUBE_EV_DELETED:
        changed(a, ev);
        break;
    case KUBE_EV_SYNCED:
        mark(a);
        break;
    case KUBE_EV_TROUBLE:
        log_write(LOG_AGENT, LOG_WARNING, "%s", ev->words);
        break;
    case KUBE_EV_WELL:
        log_write(LOG_AGENT, LOG_INFO, "the API server answers again");
        break;
    case KUBE_EV_LEASE_HELD:
        lead(a);
        break;
    case KUBE_EV_LEASE_LOST:
        follow(a);
        break;
    case KUBE_EV_ANSWER:
        publish_event(a->publish, ev);
        if (publish_owner(a->publish))
            kube_lease_own(a->lease, publish_owner(a->publish));
        break;
    }
}

static void turn(void *user, struct mono now)
{
    struct agent *a = user;
    struct kube_event ev;

    if (a->router)
        drive_turn(a->router, now);
    while (a->kube && kube_next(a->kube, &ev)) {
        kube_heard(a, &ev);
        net_timer_set(a->loop, &a->rest_timer, mono_add_ms(now, REST_MS));
    }
    if (a->is_ending && (!a->lease || kube_lease_is_released(a->lease)))
        net_loop_stop(a->loop);
}

static void leave(void *user, struct mono now)
{
    (void)now;
    net_loop_stop(((struct agent *)user)->loop);
}

// The lease is given up, so that another agent need not wait until it ends.
static void signalled(void *user, int number, struct mono now)
{
    struct agent *a = user;

    (void)number;
    if (a->is_ending || !a->lease) {
        net_loop_stop(a->loop);
        return;
    }
    a->is_ending = true;
    kube_lease_release(a->lease);
    net_timer_set(a->loop, &a->leave_timer, mono_add_ms(now, LEAVE_MS));
}

// ----------------------------------------------------------------------------------------- pages

// Ready once the router has been reached: from then on the router's own probe says how it is, and
// an API server that is away takes no pod out of service.
static int health(void *user, char **text)
{
    struct agent *a = user;

    if (a->was_up) {
        *text = xstrdup("ok\n");
        return 200;
    }
    *text = str_fmt("the router has not been reached yet: %s\n", drive_problem(a->router));
    return 503;
}

static int metrics(void *user, char **text)
{
    struct agent *a = user;

    metrics_put(text, "skupper_agent_router_up", "gauge", "1 while the router answers",
                drive_is_up(a->router));
    metrics_put(text, "skupper_agent_settled", "gauge",
                "1 while the router has all that could be applied", drive_is_settled(a->router));
    metrics_put(text, "skupper_agent_waiting", "gauge",
                "profiles whose Secret is missing or not complete", json_object_size(a->waiting));
    metrics_put(text, "skupper_agent_operations_total", "counter",
                "changes of the router's entities", drive_operation_count(a->router));
    metrics_put(text, "skupper_agent_plans_total", "counter", "times that everything was compared",
                a->plan_count);
    metrics_put(text, "skupper_agent_leads", "gauge", "1 while it tells the status of the network",
                a->census != NULL);
    kube_put_metrics(a->kube, text);
    metrics_process(text);
    return 200;
}

// ------------------------------------------------------------------------------------------- life

static int open_pages(struct agent *a, struct why *why)
{
    static const struct web_page ready[] = {{"/healthz", WEB_TEXT, health}, {0}};
    static const struct web_page counts[] = {{"/metrics", WEB_METRICS, metrics}, {0}};
    struct net_listener_opts here = {.port = a->opts->health_port};
    int err;

    a->health = web_new(&(struct web_opts){.visits_max = VISITS_MAX, .pages = ready, .user = a});
    err = web_listen(a->health, a->loop, &here, why);
    if (err < 0 || !a->opts->metrics_port)
        return err;
    here = (struct net_listener_opts){.host = a->opts->metrics_host, .port = a->opts->metrics_port};
    a->metrics = web_new(&(struct web_opts){.visits_max = VISITS_MAX, .pages = counts, .user = a});
    return web_listen(a->metrics, a->loop, &here, why);
}

static int connect_kube(struct agent *a, struct why *why)
{
    struct kube_config_opts opts = {.kubeconfig = a->opts->kubeconfig, .ns = a->opts->ns};
    struct kube_config *config;
    int err = kube_config_load(&opts, &config, why);

    if (!err)
        err = kube_new(config, &(struct kube_opts){.loop = a->loop, .manager = "skupper-agent"},
                       &a->kube, why);
    if (!err)
        a->ns = kube_config_namespace(kube_config_of(a->kube));
    return err;
}

static int begin(struct agent *a, struct why *why)
{
    static const int signals[] = {SIGTERM, SIGINT, 0};
    struct net_hooks hooks = {.user = a, .turn = turn};
    struct drive_hooks router = {.user = a,
                                 .changed = router_changed,
                                 .opened = router_opened,
                                 .event = router_event,
                                 .closed = router_closed,
                                 .read = router_read};
    struct drive_place place = {.host = a->opts->router_host, .port = a->opts->router_port};
    int err = net_loop_new(&hooks, SCRATCH, &a->loop);

    if (err < 0)
        return err;
    err = connect_kube(a, why);
    if (err < 0)
        return err;
    a->doctor = doctor_new(a->loop, a->opts);
    a->router = drive_new(a->loop, &router);
    err = open_pages(a, why);
    if (!err)
        err = net_signals_new(a->loop, signals, signalled, a, &a->signals, why);
    if (err < 0)
        return err;
    pod_watch(&a->watches, a->kube, a->opts);
    drive_set_place(a->router, &place);
    if (a->opts->site_id)
        a->lease = kube_lease_new(a->kube, &(struct kube_lease_opts){.ns = a->ns,
                                                                     .name = "skupper-site-leader",
                                                                     .identity = a->opts->pod});
    return 0;
}

static void end(struct agent *a)
{
    struct net_timer *timers[] = {&a->plan_timer, &a->rest_timer, &a->leave_timer};

    for (size_t i = 0; a->loop && i < sizeof(timers) / sizeof(timers[0]); i++)
        net_timer_cancel(a->loop, timers[i]);
    follow(a);
    drive_free(a->router);
    doctor_free(a->doctor);
    web_free(a->health);
    web_free(a->metrics);
    kube_lease_free(a->lease);
    kube_watch_free(a->watches.config);
    kube_watch_free(a->watches.secrets);
    kube_free(a->kube);
    net_signals_free(a->signals);
    net_loop_free(a->loop);
    json_decref(a->config);
    json_decref(a->waiting);
    free(a->told);
}

int pod_run(const struct pod_opts *opts, struct why *why)
{
    struct agent a = {.opts = opts,
                      .told = xstrdup(""),
                      .waiting = json_object(),
                      .plan_timer = {.fire = plan, .user = &a},
                      .rest_timer = {.fire = rest, .user = &a},
                      .leave_timer = {.fire = leave, .user = &a}};
    int err = begin(&a, why);

    if (!err) {
        log_write(LOG_AGENT, LOG_INFO, "agent started namespace=%s pod=%s", a.ns, opts->pod);
        net_loop_run(a.loop);
    }
    end(&a);
    return err;
}
