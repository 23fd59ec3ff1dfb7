// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "host/inside.h"
#include "net/net.h"

enum {
    GRACE_MS = 5000,
    AGAIN_MIN_MS = 50,
    AGAIN_MAX_MS = 5000,
    HEALTHY_MS = 10000,
    LAST_WORDS_MAX = 400
};

struct keeper {
    struct net_loop *loop;
    char *pid_file, *log_file, *config, *site_id;
    struct net_watch *watch;
    int ended; // readable when the process has ended; -1: none runs
    struct net_timer again;
    uint32_t again_ms;
    struct mono started;
    bool is_wanted;
    bool is_missed; // it ended before it could be watched
    char *problem;
    void (*hook)(void *user);
    void *user;
};

char *keeper_program(void)
{
    char self[1024];
    ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
    static const char *const places[] = {"skrouterd", "../sbin/skrouterd"};

    self[len > 0 ? len : 0] = '\0';
    for (size_t i = 0; strrchr(self, '/') && i < sizeof(places) / sizeof(places[0]); i++) {
        char *path = str_fmt("%.*s/%s", (int)(strrchr(self, '/') - self), self, places[i]);

        if (access(path, X_OK) == 0)
            return path;
        free(path);
    }
    return xstrdup("skrouterd");
}

static void start(struct keeper *k, struct mono now);

static void forget(struct keeper *k)
{
    net_watch_free(k->watch);
    k->watch = NULL;
    if (k->ended >= 0)
        close(k->ended);
    k->ended = -1;
}

static void set_problem(struct keeper *k, const char *text)
{
    free(k->problem);
    k->problem = xstrdup(text);
}

static void try_again(struct keeper *k, struct mono now)
{
    net_timer_set(k->loop, &k->again, mono_add_ms(now, k->again_ms));
    k->again_ms = k->again_ms * 2 < AGAIN_MAX_MS ? k->again_ms * 2 : AGAIN_MAX_MS;
}

// The last words of the router are the best there are.
static void note_why(struct keeper *k)
{
    char *text = NULL, *words;
    size_t len = 0;

    if (host_read_end(k->log_file, LAST_WORDS_MAX, &text, &len) < 0)
        text = xstrdup("");
    while (len > 0 && text[len - 1] == '\n')
        text[--len] = '\0';
    words = strrchr(text, '\n');
    words = words ? words + 1 : text;
    free(k->problem);
    k->problem = str_fmt("the router has ended and is started again: %s", words);
    free(text);
}

static void gone(struct keeper *k, struct mono now)
{
    log_write(LOG_DEFAULT, LOG_WARNING, "router ended, it is started again log=%s", k->log_file);
    note_why(k);
    if (mono_before(mono_add_ms(k->started, HEALTHY_MS), now))
        k->again_ms = AGAIN_MIN_MS;
    try_again(k, now);
    k->hook(k->user);
}

static void ended(void *user, struct mono now)
{
    struct keeper *k = user;

    forget(k);
    if (k->is_wanted)
        gone(k, now);
}

static void watch(struct keeper *k)
{
    k->ended = host_watch_process(k->pid_file);
    if (k->ended >= 0)
        k->watch = net_watch_new(k->loop, k->ended, ended, k);
}

static void start(struct keeper *k, struct mono now)
{
    char *program = keeper_program();
    const char *argv[] = {program, "-c", k->config, NULL};
    struct host_process p = {.pid_file = k->pid_file, .log_file = k->log_file, .argv = argv};
    struct why why = {""};
    int err;

    setenv("SKUPPER_SITE_ID", k->site_id, 1);
    err = host_start(&p, &why);
    free(program);
    k->started = now;
    k->is_missed = false;
    if (err == 0 || err == ERR_EXISTS) {
        set_problem(k, "");
        watch(k);
        if (k->ended < 0) { // told by the loop, not while it is started
            k->is_missed = true;
            net_timer_set(k->loop, &k->again, now);
        }
    } else {
        set_problem(k, why.text);
        log_write(LOG_DEFAULT, LOG_ERROR, "router not started: %s", why.text);
        try_again(k, now);
    }
}

static void fire(void *user, struct mono now)
{
    struct keeper *k = user;

    if (!k->is_wanted || k->ended >= 0)
        return;
    if (k->is_missed) {
        k->is_missed = false;
        gone(k, now);
    } else {
        start(k, now);
    }
}

struct keeper *keeper_new(struct net_loop *loop, const struct host_paths *paths,
                          void (*ended_hook)(void *user), void *user)
{
    struct keeper *k = xcalloc(1, sizeof(*k));

    *k = (struct keeper){.loop = loop,
                         .pid_file = host_path(paths, "internal/pids/router"),
                         .log_file = host_path(paths, "internal/router.log"),
                         .config = host_path(paths, "runtime/router/skrouterd.json"),
                         .ended = -1,
                         .again = {.fire = fire, .user = k},
                         .again_ms = AGAIN_MIN_MS,
                         .problem = xstrdup(""),
                         .hook = ended_hook,
                         .user = user};
    return k;
}

void keeper_free(struct keeper *k)
{
    if (!k)
        return;
    net_timer_cancel(k->loop, &k->again);
    forget(k);
    free(k->pid_file);
    free(k->log_file);
    free(k->config);
    free(k->site_id);
    free(k->problem);
    free(k);
}

void keeper_run(struct keeper *k, const char *site_id)
{
    if (k->is_wanted)
        return;
    k->is_wanted = true;
    free(k->site_id);
    k->site_id = xstrdup(site_id);
    start(k, net_loop_now(k->loop));
}

void keeper_stop(struct keeper *k)
{
    struct why why = {""};

    k->is_wanted = false;
    net_timer_cancel(k->loop, &k->again);
    forget(k);
    if (host_stop(k->pid_file, GRACE_MS, &why) < 0)
        log_write(LOG_DEFAULT, LOG_ERROR, "router not stopped: %s", why.text);
}

void keeper_restart(struct keeper *k)
{
    if (!k->is_wanted)
        return;
    keeper_stop(k);
    k->is_wanted = true;
    start(k, net_loop_now(k->loop));
}

void keeper_hurry(struct keeper *k)
{
    if (!k->is_wanted || k->ended >= 0)
        return;
    k->again_ms = AGAIN_MIN_MS;
    net_timer_set(k->loop, &k->again, mono_add_ms(net_loop_now(k->loop), AGAIN_MIN_MS));
}

const char *keeper_problem(const struct keeper *k)
{
    return k->problem;
}
