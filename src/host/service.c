// SPDX-License-Identifier: Apache-2.0
// A site of this host as a whole: started, told to read its input anew, stopped. With systemd its
// two processes are units; without, the agent runs by itself and keeps the router.
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "host/inside.h"

enum { AGENT_GRACE_MS = 5000, ROUTER_GRACE_MS = 10000 };

static char *pid_file(const struct host_paths *p, const char *name)
{
    return host_path(p, "internal/pids/%s", name);
}

// Our own program, absolute; the caller frees it.
static char *own_program(void)
{
    char self[1024];
    ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);

    self[len > 0 ? len : 0] = '\0';
    return xstrdup(len > 0 ? self : "skupper");
}

static int start_detached(const struct host_paths *p, struct why *why)
{
    char *program = own_program(), *pid = pid_file(p, "agent");
    char *log = host_path(p, "internal/agent.log");
    const char *argv[] = {program, "agent", "--keep-router", "-p", "linux", "-n", p->ns, NULL};
    struct host_process process = {.pid_file = pid, .log_file = log, .argv = argv};
    int err = host_start(&process, why);

    free(program);
    free(pid);
    free(log);
    return err;
}

// The router's unit is installed by the agent once there is a configuration to run with; the
// agent's own comes first.
static int start_units(const struct host_paths *p, struct why *why)
{
    char *program = own_program();
    char *name = str_fmt("skupper-%s-agent.service", p->ns);
    char *about = str_fmt("Skupper agent of the namespace %s", p->ns);
    char *exec = str_fmt("%s agent -p linux -n %s", program, p->ns);
    struct host_unit unit = {.name = name, .description = about, .exec = exec};
    int err = host_unit_install(p, &unit, why);

    free(program);
    free(name);
    free(about);
    free(exec);
    return err;
}

int host_site_start(const struct host_paths *p, struct why *why)
{
    char *pids = host_path(p, "internal/pids");
    int err = host_make_directory(pids, why);

    free(pids);
    if (err < 0)
        return err;
    return host_has_systemd(p) ? start_units(p, why) : start_detached(p, why);
}

bool host_site_is_running(const struct host_paths *p)
{
    char *pid = pid_file(p, "agent");
    bool is = host_running(pid) != 0;

    free(pid);
    return is;
}

int host_site_reload(const struct host_paths *p, struct why *why)
{
    char *file = pid_file(p, "agent");
    pid_t pid = host_running(file);

    free(file);
    if (pid > 0 && kill(pid, SIGHUP) == 0)
        return 0;
    why_set(why,
            "the site of the namespace \"%s\" is not running: \"skupper system start -n %s\" "
            "starts it",
            p->ns, p->ns);
    return ERR_NOT_FOUND;
}

static int stop_process(const struct host_paths *p, const char *name, uint32_t grace_ms,
                        struct why *why)
{
    char *file = pid_file(p, name);
    int err = host_stop(file, grace_ms, why);

    free(file);
    return err;
}

int host_site_stop(const struct host_paths *p, struct why *why)
{
    char *agent = str_fmt("skupper-%s-agent.service", p->ns);
    char *router = str_fmt("skupper-%s.service", p->ns);
    int err = 0;

    if (host_has_systemd(p)) {
        err = host_unit_remove(p, agent, why);
        if (!err)
            err = host_unit_remove(p, router, why);
    }
    if (!err)
        err = stop_process(p, "agent", AGENT_GRACE_MS, why);
    if (!err)
        err = stop_process(p, "router", ROUTER_GRACE_MS, why);
    free(agent);
    free(router);
    return err;
}

static void ask_process(const struct host_paths *p, const char *name)
{
    char *file = pid_file(p, name);

    if (!host_has_systemd(p))
        host_ask_to_stop(file);
    free(file);
}

// An agent that is still there would start its router again.
void host_sites_ask_to_stop(const struct host_paths *sites, size_t count)
{
    for (size_t i = 0; i < count; i++)
        ask_process(&sites[i], "agent");
    for (size_t i = 0; i < count; i++)
        if (!host_has_systemd(&sites[i]) &&
            stop_process(&sites[i], "agent", AGENT_GRACE_MS, NULL) == 0)
            ask_process(&sites[i], "router");
}

int host_site_run_router(const struct host_paths *p, const char *site_id, struct why *why)
{
    char *program = keeper_program();
    char *name = str_fmt("skupper-%s.service", p->ns);
    char *about = str_fmt("Skupper router of the namespace %s", p->ns);
    char *exec = str_fmt("%s -c %s/runtime/router/skrouterd.json", program, p->shown);
    struct host_unit unit = {.name = name, .description = about, .exec = exec, .site_id = site_id};
    int err = host_unit_install(p, &unit, why);

    free(program);
    free(name);
    free(about);
    free(exec);
    return err;
}
