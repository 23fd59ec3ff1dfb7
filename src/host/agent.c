// SPDX-License-Identifier: Apache-2.0
// The agent beside a router: one loop that turns what the user wrote and what is observed into what
// is wanted (site_derive), and then does the difference. Nothing here decides; deciding is the
// model's. Anything new marks the agent, and a few milliseconds later everything is derived once.
//
//   input.c    files of the user           drive      the router's entities by management
//   memory.c   what was chosen once        keeper.c   the router's process
//   certs.c    certificates as files       output.c   what is told in files
//   render.c   from input to what is wanted
//   granting.c tokens given out            redeeming.c tokens of others used
//   sharing.c  services told and heard   census.c   who is there, from flow records
//   neighbours.c other sites on this machine
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/slab.h"
#include "base/wall.h"
#include "drive/drive.h"
#include "host/inside.h"
#include "net/net.h"

enum {
    SETTLE_MS = 10,      // so long after something new, everything is derived
    SETTLE_SHARE = 9,    // and so many times what the last time took: a tenth of the time is work
    SETTLE_MAX_MS = 250, // as long as it is about this site alone,
    SETTLE_EACH_MS = 5,  // longer by this for each service of others that there is
    REST_MS = 1000,      // so long after the last turn, memory goes back
    RETRY_MS = 2000,     // after a failure to write
    SCRATCH = 64 * 1024,
    DAY_MS = 24 * 3600 * 1000,
};

struct agent {
    struct host_paths paths;
    const struct host_agent_opts *opts;
    struct net_loop *loop;
    struct render render;
    struct drive *router;
    struct keeper *keeper; // NULL: systemd keeps the router
    struct granting *granting;
    struct redeeming *redeeming;
    struct sharing *sharing;
    struct census *census;
    struct neighbours *neighbours;
    bool is_marked; // something is new, to be derived at derive_at
    struct mono derive_at;
    bool input_due;    // files of the user may have changed
    bool has_unit;     // of the router, without a keeper
    bool has_output;   // written once
    bool has_config;   // the router's, likewise
    size_t heard;      // services of others
    int64_t derive_ms; // what the last turn took
    json_t *told;      // problems already in the log
    struct net_timer derive_timer, renew_timer, rest_timer;
    struct net_watch *files;
    struct net_signals *signals;
    int inotify, claim;
};

// Many events in a row cost one turn; the more a turn costs, also because others want the machine,
// the longer they are collected.
static void mark_within(struct agent *a, int64_t most_ms)
{
    int64_t wait = SETTLE_MS + SETTLE_SHARE * a->derive_ms;
    struct mono at = mono_add_ms(net_loop_now(a->loop), wait < most_ms ? wait : most_ms);

    if (a->is_marked && !mono_before(at, a->derive_at))
        return;
    a->is_marked = true;
    a->derive_at = at;
    net_timer_set(a->loop, &a->derive_timer, at);
}

static void mark(struct agent *a)
{
    mark_within(a, SETTLE_MAX_MS + SETTLE_EACH_MS * (int64_t)a->heard);
}

// --------------------------------------------------------------------------------------- input

static int watch_directory(const struct agent *a, const char *path)
{
    return inotify_add_watch(a->inotify, path,
                             IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE |
                                 IN_DELETE_SELF | IN_CREATE);
}

// Each certificate has a directory of its own; one that is watched already stays as it is.
static void watch_each(const struct agent *a, const char *directory)
{
    char *top = host_path(&a->paths, "%s", directory), **names;

    names = a->files ? host_list(top, NULL) : xcalloc(1, sizeof(*names));
    for (size_t i = 0; names[i]; i++) {
        char *path = str_fmt("%s/%s", top, names[i]);

        watch_directory(a, path);
        free(path);
    }
    host_names_free(names);
    free(top);
}

// What the user wrote. The certificates are looked at too: that one was replaced can be seen
// nowhere else.
static void scan(struct agent *a)
{
    a->input_due = false;
    input_scan(&a->render.input);
    watch_each(a, "input/certs");
    watch_each(a, "input/issuers");
    a->render.certs_due = true;
}

// ------------------------------------------------------------------------------------- deriving

static void observe(void *user, struct site_facts *facts)
{
    struct agent *a = user;

    facts->router_runs = drive_is_up(a->router);
    facts->router_problem = a->keeper ? keeper_problem(a->keeper) : "";
    facts->entities = drive_entities(a->router);
    facts->network = census_facts(a->census);
    neighbours_look(a->neighbours);
    facts->neighbours = neighbours_facts(a->neighbours);
    facts->shared = sharing_facts(a->sharing);
    facts->grants = granting_facts(a->granting);
    facts->tokens = redeeming_facts(a->redeeming);
}

static void observed(void *user, struct site_facts *facts)
{
    (void)user;
    json_decref((json_t *)(uintptr_t)facts->network);
    json_decref((json_t *)(uintptr_t)facts->neighbours);
    json_decref((json_t *)(uintptr_t)facts->shared);
    json_decref((json_t *)(uintptr_t)facts->grants);
}

static void wish(void *user, const struct render_inputs *in, json_t *certificates)
{
    struct agent *a = user;

    granting_wishes(a->granting, in->list, in->count, a->render.hosts, certificates);
}

static void certified(void *user)
{
    struct agent *a = user;
    struct why why = {""};

    if (granting_reload(a->granting, &why) < 0)
        log_write(LOG_AGENT, LOG_ERROR, "grants go on with the old certificate: %s", why.text);
    if (drive_reload(a->router, &why) < 0)
        log_write(LOG_AGENT, LOG_ERROR, "management goes on with the old certificate: %s",
                  why.text);
}

// The site that is active, among what was derived; NULL: none.
static const json_t *active_site(const struct agent *a)
{
    const char *key;
    json_t *one;

    json_object_foreach(a->render.wanted.resources, key, one)
    {
        if (strncmp(key, "Site/", 5) == 0 && site_text(one, "status.defaultIssuer")[0])
            return one;
    }
    return NULL;
}

// True when there is something new about grants.
static bool ensure_grants(void *user, const struct render_inputs *in)
{
    struct agent *a = user;
    const json_t *site = active_site(a);
    struct granting_place place = {.endpoints = a->render.wanted.endpoints,
                                   .issuer = site_text(site, "status.defaultIssuer")};

    if (site)
        redeeming_set(a->redeeming, in->list, in->count);
    return granting_set(a->granting, in->list, in->count, &place, wall_s());
}

static void tell_problems(struct agent *a)
{
    json_t *problem, *told = json_object();
    size_t i;

    json_array_foreach(a->render.wanted.problems, i, problem)
    {
        bool is_warning = json_is_true(json_object_get(problem, "warning"));
        char *words = render_problem(problem);

        if (!json_object_get(a->told, words))
            log_write(LOG_AGENT, is_warning ? LOG_WARNING : LOG_ERROR, "%s", words);
        json_object_set_new(told, words, json_true());
        free(words);
    }
    json_decref(a->told);
    a->told = told;
}

static bool has_router(const struct agent *a)
{
    return json_array_size(a->render.wanted.router) > 0;
}

// `place` as in site_wanted.management; null: nowhere.
static void set_place(struct agent *a, const json_t *place)
{
    if (!json_is_object(place)) {
        drive_set_place(a->router, NULL);
        return;
    }
    long long number = json_integer_value(json_object_get(place, "port"));
    char *port = number ? str_fmt("%lld", number) : xstrdup(site_text(place, "port"));
    char *certificates = certs_directory(&a->paths, site_text(place, "certificate"), false);

    drive_set_place(a->router, &(struct drive_place){.host = site_text(place, "host"),
                                                     .port = port,
                                                     .certificates = certificates});
    free(port);
    free(certificates);
}

// What the router reads at its start, and what it is to have while it runs: the same in two forms,
// so the file is written when the other changes.
static int configure(struct agent *a, bool *is_new, struct why *why)
{
    int err;

    *is_new = !a->has_config || !drive_wants(a->router, a->render.wanted.router);
    if (!*is_new)
        return 0;
    err = output_router(&a->paths, a->render.wanted.router, why);
    a->has_config = !err;
    return err;
}

// The router's process and its entities.
static int apply(struct agent *a, struct why *why)
{
    bool is_new;
    int err;

    if (!has_router(a)) {
        drive_set_place(a->router, NULL);
        if (a->keeper)
            keeper_stop(a->keeper);
        return 0;
    }
    err = configure(a, &is_new, why);
    if (err < 0) {
        // Who takes a service back on a full disk is not to wait for room until it is closed.
        if (drive_is_up(a->router))
            drive_want(a->router, a->render.wanted.router);
        return err;
    }
    if (a->keeper)
        keeper_run(a->keeper, memory_text(&a->render.memory, "siteId"));
    else if (!a->has_unit)
        err = host_site_run_router(&a->paths, memory_text(&a->render.memory, "siteId"), why);
    if (err < 0)
        return err;
    a->has_unit = true;
    set_place(a, a->render.wanted.management);
    if (is_new)
        drive_want(a->router, a->render.wanted.router);
    if (drive_needs_restart(a->router)) {
        log_write(LOG_AGENT, LOG_WARNING, "router restarted: its id or mode has changed");
        if (a->keeper)
            keeper_restart(a->keeper);
        else
            err = host_unit_restart(&a->paths, why);
    }
    return err;
}

static int tell(struct agent *a, const json_t *before, struct why *why)
{
    int err =
        output_resources(&a->paths, a->has_output ? before : NULL, a->render.wanted.resources, why);

    a->has_output = !err;
    if (!err)
        err = output_links(&a->paths, a->render.wanted.static_links, why);
    return err;
}

static void derive(void *user, struct mono now)
{
    struct agent *a = user;
    struct render_live live = {.user = a,
                               .observe = observe,
                               .observed = observed,
                               .wish = wish,
                               .certified = certified,
                               .settle = ensure_grants};
    struct why why = {""};
    json_t *before;
    int err;

    now = mono_now();
    net_timer_cancel(a->loop, &a->derive_timer);
    a->is_marked = false;
    if (a->input_due)
        scan(a);
    render_wake(&a->render);
    before = a->render.has_wanted ? json_incref(a->render.wanted.resources) : NULL;
    render(&a->render, &live);
    tell_problems(a); // before the status shows them: who sees one finds its line
    err = memory_save(&a->render.memory, &why);
    if (!err)
        err = apply(a, &why);
    if (!err)
        err = tell(a, before, &why);
    json_decref(before);
    neighbours_tell(a->neighbours, a->render.wanted.targets); // before anybody can listen for it
    sharing_set(a->sharing, a->render.wanted.announce, a->render.wanted.services);
    a->heard = json_array_size(a->render.wanted.services);
    render_applied(&a->render);
    if (err < 0) {
        log_write(LOG_AGENT, LOG_ERROR, "%s", why.text);
        net_timer_set(a->loop, &a->derive_timer, mono_add_ms(now, RETRY_MS));
    }
    int64_t wait = a->render.renew_at > wall_s() ? (a->render.renew_at - wall_s()) : 1;

    net_timer_set(a->loop, &a->renew_timer,
                  mono_add_ms(now, wait < DAY_MS / 1000 ? wait * 1000 : DAY_MS));
    net_timer_set(a->loop, &a->rest_timer, mono_add_ms(now, REST_MS));
    a->derive_ms = mono_ms_between(now, mono_now());
}

static void rest(void *user, struct mono now)
{
    struct agent *a = user;

    (void)now;
    if (a->is_marked) // there is something to do soon, and it ends with a rest
        return;
    render_rest(&a->render);
    drive_rest(a->router);
    census_rest(a->census);
    slab_trim();
    mem_rest();
}

static void renew(void *user, struct mono now)
{
    struct agent *a = user;

    (void)now;
    if (a->render.renew_at <= wall_s())
        a->render.certs_due = true;
    mark(a);
}

// --------------------------------------------------------------------------------------- events

static void input_is_due(struct agent *a)
{
    a->input_due = true;
    mark_within(a, SETTLE_MAX_MS);
}

static void files_changed(void *user, struct mono now)
{
    struct agent *a = user;
    _Alignas(struct inotify_event) char events[4096];

    (void)now;
    while (read(a->inotify, events, sizeof(events)) > 0)
        continue;
    if (access(a->render.input.directory, F_OK) != 0) {
        log_write(LOG_AGENT, LOG_INFO, "namespace removed, the agent ends");
        net_loop_stop(a->loop);
        return;
    }
    input_is_due(a);
}

static void signalled(void *user, int number, struct mono now)
{
    struct agent *a = user;

    (void)now;
    if (number != SIGHUP) {
        net_loop_stop(a->loop);
        return;
    }
    a->has_output = a->has_config = false; // somebody else may have removed it: it is told again
    input_is_due(a);
}

static void router_changed(void *user)
{
    mark(user);
}

// A port that was free when it was chosen may be somebody else's by now.
static void router_ended(void *user)
{
    struct agent *a = user;

    a->has_config = false; // it is about to be read, whoever has touched it
    if (!memory_release_ports(&a->render.memory)) {
        mark(a);
        return;
    }
    // The router is started again soon: by then its configuration must say the new ports, for it
    // is at them that it will be asked. And so soon that nobody else takes them meanwhile: where
    // many sites start, who waits longer each time finds his ports taken each time.
    derive(a, net_loop_now(a->loop));
    keeper_hurry(a->keeper);
}

static void router_opened(void *user, struct client *c)
{
    struct agent *a = user;

    memory_ports_served(&a->render.memory);

    drive_sharing_opened(sharing_exchange(a->sharing), c);
    drive_census_opened(census_engine(a->census), c);
}

static void router_event(void *user, const struct client_event *ev)
{
    struct agent *a = user;

    if (!drive_sharing_event(sharing_exchange(a->sharing), ev))
        drive_census_heard(census_engine(a->census), ev);
}

static void router_closed(void *user)
{
    struct agent *a = user;

    drive_sharing_closed(sharing_exchange(a->sharing));
    drive_census_closed(census_engine(a->census));
}

static void router_looked(void *user)
{
    struct agent *a = user;

    if (neighbours_look(a->neighbours))
        mark(a);
    net_timer_set(a->loop, &a->rest_timer, mono_add_ms(net_loop_now(a->loop), REST_MS));
}

static void turn(void *user, struct mono now)
{
    struct agent *a = user;

    if (a->router)
        drive_turn(a->router, now);
}

// ----------------------------------------------------------------------------------------- life

static int cannot_watch(struct why *why)
{
    why_set(why, "cannot watch the input: %s%s", strerror(errno),
            errno == EMFILE   ? ": this user has as many inotify instances as there may be; "
                                "sysctl fs.inotify.max_user_instances=1024 allows more"
            : errno == ENOSPC ? ": this user watches as many files as there may be; "
                                "sysctl fs.inotify.max_user_watches=524288 allows more"
                              : "");
    return ERR_IO;
}

static int watch_files(struct agent *a, struct why *why)
{
    static const char *const names[] = {"input/resources", "input/certs", "input/issuers"};

    a->inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    for (size_t i = 0; a->inotify >= 0 && i < sizeof(names) / sizeof(names[0]); i++) {
        char *path = host_path(&a->paths, "%s", names[i]);
        int rc = watch_directory(a, path);

        free(path);
        if (rc < 0)
            return cannot_watch(why);
    }
    if (a->inotify < 0)
        return cannot_watch(why);
    a->files = net_watch_new(a->loop, a->inotify, files_changed, a);
    return 0;
}

static int begin(struct agent *a, struct why *why)
{
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP, 0};
    struct net_hooks hooks = {.user = a, .turn = turn};
    struct drive_hooks router = {.user = a,
                                 .changed = router_changed,
                                 .opened = router_opened,
                                 .event = router_event,
                                 .closed = router_closed,
                                 .looked = router_looked};
    char *pid_file = host_path(&a->paths, "internal/pids/agent");
    int err = render_make_directories(&a->paths, why);

    if (!err) {
        a->claim = host_claim(pid_file, why);
        err = a->claim < 0 ? a->claim : 0;
    }
    free(pid_file);
    if (!err)
        err = render_init(&a->render, &a->paths, a->opts->version, why);
    if (!err)
        err = net_loop_new(&hooks, SCRATCH, &a->loop);
    if (!err)
        err = granting_new(a->loop, &a->paths, &a->render.memory, router_changed, a, &a->granting,
                           why);
    if (err < 0)
        return err;
    a->redeeming = redeeming_new(a->loop, &a->paths, &a->render.memory, router_changed, a);
    a->sharing = sharing_new(a->loop, &a->paths, memory_text(&a->render.memory, "siteId"),
                             a->opts->version, router_changed, a);
    a->neighbours = neighbours_new(&a->paths);
    a->census = census_new(a->loop, &a->paths, router_changed, a);
    a->router = drive_new(a->loop, &router);
    if (a->opts->keeps_router)
        a->keeper = keeper_new(a->loop, &a->paths, router_ended, a);
    err = net_signals_new(a->loop, signals, signalled, a, &a->signals, why);
    return err < 0 || a->opts->is_manual ? err : watch_files(a, why);
}

static void end(struct agent *a)
{
    if (a->loop) {
        net_timer_cancel(a->loop, &a->derive_timer);
        net_timer_cancel(a->loop, &a->renew_timer);
        net_timer_cancel(a->loop, &a->rest_timer);
    }
    drive_free(a->router);
    keeper_free(a->keeper);
    granting_free(a->granting);
    redeeming_free(a->redeeming);
    sharing_free(a->sharing);
    census_free(a->census);
    neighbours_free(a->neighbours);
    net_watch_free(a->files);
    net_signals_free(a->signals);
    net_loop_free(a->loop);
    if (a->inotify >= 0)
        close(a->inotify);
    if (a->claim >= 0)
        close(a->claim);
    render_fini(&a->render);
    json_decref(a->told);
    host_paths_fini(&a->paths);
}

// Most that an agent holds is values of JSON, made by the hundred thousand and dropped: they get a
// place of their own. Where each access is checked, every piece is a malloc().
static void place_values(void)
{
#ifndef __SANITIZE_ADDRESS__
    json_set_alloc_funcs(slab_alloc, slab_free);
#endif
}

int host_agent(const struct host_agent_opts *opts, struct why *why)
{
    struct agent a = {.opts = opts,
                      .inotify = -1,
                      .claim = -1,
                      .derive_timer = {.fire = derive, .user = &a},
                      .renew_timer = {.fire = renew, .user = &a},
                      .rest_timer = {.fire = rest, .user = &a}};
    int err;

    place_values();
    a.told = json_object();
    err = host_paths_init(&a.paths, opts->ns, why);
    if (!err)
        err = begin(&a, why);
    if (!err) {
        log_write(LOG_AGENT, LOG_INFO, "agent started namespace=%s site=%s", a.paths.ns,
                  memory_text(&a.render.memory, "siteId"));
        a.input_due = true;
        derive(&a, net_loop_now(a.loop));
        net_loop_run(a.loop);
    }
    end(&a);
    return err;
}
