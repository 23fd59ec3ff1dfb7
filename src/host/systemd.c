// SPDX-License-Identifier: Apache-2.0
// Units of systemd, of the system or of one user.
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/host.h"

extern char **environ;

bool host_has_systemd(const struct host_paths *p)
{
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    char *private;
    bool has;

    if (p->is_container || access("/run/systemd/system", F_OK) != 0)
        return false;
    if (p->is_system)
        return true;
    private = runtime ? str_fmt("%s/systemd/private", runtime)
                      : str_fmt("/run/user/%u/systemd/private", (unsigned)getuid());
    has = access(private, F_OK) == 0;
    free(private);
    return has;
}

char *host_unit_text(const struct host_unit *u, bool is_system)
{
    char *bound = u->bound_to
                      ? str_fmt("PartOf=%s\nAfter=%s\n", u->bound_to, u->bound_to)
                      : str_fmt("Wants=network-online.target\nAfter=network-online.target\n");
    char *site =
        u->site_id ? str_fmt("Environment=SKUPPER_SITE_ID=%s\n", u->site_id) : str_fmt("%s", "");
    // What faces the network gets no more than it needs; a user's manager cannot grant less.
    const char *least = is_system ? "NoNewPrivileges=yes\nProtectHome=read-only\n" : "";
    char *text =
        str_fmt("[Unit]\nDescription=%s\n%s\n"
                "[Service]\nType=simple\nExecStart=%s\nExecReload=/bin/kill -HUP $MAINPID\n"
                "Restart=always\nRestartSec=1\nTimeoutStopSec=70\nLimitNOFILE=infinity\n%s%s\n"
                "[Install]\nWantedBy=default.target\n",
                u->description, bound, u->exec, least, site);

    free(bound);
    free(site);
    return text;
}

// Runs systemctl and keeps its words. 0, or ERR_IO.
static int systemctl(const struct host_paths *p, const char *verb, const char *unit,
                     struct why *why)
{
    const char *argv[6] = {"systemctl"};
    posix_spawn_file_actions_t files;
    char words[256] = "";
    int out[2], status = -1, at = 1;
    ssize_t got = 0;
    pid_t pid;

    if (!p->is_system)
        argv[at++] = "--user";
    argv[at++] = verb;
    argv[at++] = unit;
    if (pipe2(out, O_CLOEXEC) < 0)
        return ERR_IO;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, out[1], 1);
    posix_spawn_file_actions_adddup2(&files, out[1], 2);
    int rc = posix_spawnp(&pid, argv[0], &files, NULL, (char *const *)(uintptr_t)argv, environ);

    posix_spawn_file_actions_destroy(&files);
    close(out[1]);
    if (rc == 0) {
        got = read(out[0], words, sizeof(words) - 1);
        waitpid(pid, &status, 0);
    }
    close(out[0]);
    words[got > 0 ? got : 0] = '\0';
    words[strcspn(words, "\n")] = '\0';
    if (status == 0)
        return 0;
    why_set(why, "systemctl %s%s %s failed: %s", p->is_system ? "" : "--user ", verb,
            unit ? unit : "", words[0] ? words : strerror(rc));
    return ERR_IO;
}

static char *unit_path(const struct host_paths *p, const char *name)
{
    return str_fmt("%s/%s", p->units, name);
}

int host_unit_install(const struct host_paths *p, const struct host_unit *u, struct why *why)
{
    char *path = unit_path(p, u->name), *text = host_unit_text(u, p->is_system);
    int err = host_make_directory(p->units, why);

    if (!err)
        err = host_write(path, str_of(text), 0644, why);
    if (!err)
        err = systemctl(p, "daemon-reload", NULL, why);
    if (!err)
        err = systemctl(p, "enable", u->name, why);
    if (!err)
        err = systemctl(p, "start", u->name, why);
    free(path);
    free(text);
    return err;
}

int host_unit_restart(const struct host_paths *p, struct why *why)
{
    char *name = str_fmt("skupper-%s.service", p->ns);
    int err = systemctl(p, "restart", name, why);

    free(name);
    return err;
}

int host_unit_remove(const struct host_paths *p, const char *name, struct why *why)
{
    char *path = unit_path(p, name);
    int err;

    if (access(path, F_OK) != 0) {
        free(path);
        return 0;
    }
    err = systemctl(p, "stop", name, why);
    if (!err)
        err = systemctl(p, "disable", name, why);
    if (!err)
        err = host_remove(path, why);
    if (!err)
        err = systemctl(p, "daemon-reload", NULL, why);
    // A unit that never failed has nothing to reset; that is no error.
    systemctl(p, "reset-failed", name, NULL);
    free(path);
    return err;
}
