// SPDX-License-Identifier: Apache-2.0
// Credential plugins (client.authentication.k8s.io). The program is started without a shell, told
// in KUBERNETES_EXEC_INFO what is wanted, and answers on its standard output; what it says on
// standard error is for the person. It has a time limit, and is gone when the client is.
#include "kube/plugin.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "kube/config.h"
#include "kube/exchange.h"
#include "site/site.h"

enum {
    LIMIT_MS = 60 * 1000,
    PERSON_LIMIT_MS = 300 * 1000, // somebody may have to log in
    ANSWER_MAX = 1024 * 1024,
};

extern char **environ;

struct plugin {
    struct kube *k;
    pid_t pid;
    bool has_group;
    int out, ended; // its output; a descriptor that tells its end
    struct text answer;
    bool is_too_long;
    struct wake limit;
};

// -------------------------------------------------------------------------------------- starting

static json_t *cluster_info(const struct kube_config *c)
{
    json_t *info =
        json_pack("{s:s, s:b}", "server", c->server, "insecure-skip-tls-verify", c->is_insecure);

    if (c->tls_name)
        json_object_set_new(info, "tls-server-name", json_string(c->tls_name));
    if (c->proxy)
        json_object_set_new(info, "proxy-url", json_string(c->proxy));
    if (c->ca.text) {
        char *coded = site_base64_write(c->ca.text);

        json_object_set_new(info, "certificate-authority-data", json_string(coded));
        free(coded);
    }
    return info;
}

static char *exec_info(const struct kube_config *c, bool is_person)
{
    json_t *spec = json_pack("{s:b}", "interactive", is_person);
    json_t *info;
    char *text, *line;

    if (c->exec.says_cluster)
        json_object_set_new(spec, "cluster", cluster_info(c));
    info = json_pack("{s:s, s:s, s:o}", "apiVersion", c->exec.api_version, "kind", "ExecCredential",
                     "spec", spec);
    text = json_dumps(info, JSON_COMPACT);
    line = str_fmt("KUBERNETES_EXEC_INFO=%s", text ? text : "");
    free(text);
    json_decref(info);
    return line;
}

static bool has_variable(char *const *env, size_t count, const char *line)
{
    size_t len = strcspn(line, "=");

    for (size_t i = 0; i < count; i++)
        if (strncmp(env[i], line, len) == 0 && env[i][len] == '=')
            return true;
    return false;
}

// Ours first, then those of this process that have no other value there. Borrowed texts.
static char **environment(const struct exec_plan *e, char *info)
{
    size_t ours = 0, theirs = 0, count = 0;
    char **env;

    while (e->env[ours])
        ours++;
    while (environ[theirs])
        theirs++;
    env = xcalloc(ours + theirs + 2, sizeof(char *));
    env[count++] = info;
    for (size_t i = 0; i < ours; i++)
        env[count++] = e->env[i];
    for (size_t i = 0, known = count; i < theirs; i++)
        if (!has_variable(env, known, environ[i]))
            env[count++] = environ[i];
    return env;
}

static int spawn(struct plugin *p, const struct exec_plan *e, bool is_person, int out)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    char *info = exec_info(p->k->config, is_person), **env = environment(e, info);
    sigset_t none, pipe;
    int error;

    sigemptyset(&none);
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, out, 1);
    if (!is_person)
        posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &pipe);
    // With a person at the terminal it stays in the group that may read from there.
    p->has_group = !is_person;
    posix_spawnattr_setflags(&attributes, (short)(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
                                                  (p->has_group ? POSIX_SPAWN_SETPGROUP : 0)));
    error = posix_spawnp(&p->pid, e->argv[0], &files, &attributes, e->argv, env);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&files);
    free(env);
    free(info);
    return error;
}

static void listen_to(struct plugin *p, int fd)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.u64 = PLUGIN_EVENT};

    (void)epoll_ctl(p->k->epoll, EPOLL_CTL_ADD, fd, &ev); // else its time runs out
}

static void too_late(void *user, struct mono now);

static int start(struct plugin *p, const struct exec_plan *e, bool is_person, struct why *why)
{
    int pipe[2], error;

    if (pipe2(pipe, O_CLOEXEC) < 0) {
        why_set(why, "exec plugin %.150s cannot be started: %s", e->argv[0], strerror(errno));
        return ERR_INVALID;
    }
    error = spawn(p, e, is_person, pipe[1]);
    close(pipe[1]);
    p->out = pipe[0];
    if (error) {
        p->pid = 0;
        why_set(why, "exec plugin %.150s cannot be started: %s%s%.200s", e->argv[0],
                strerror(error), e->hint ? "; " : "", e->hint ? e->hint : "");
        return ERR_INVALID;
    }
    p->ended = (int)syscall(SYS_pidfd_open, p->pid, 0);
    if (p->ended < 0) {
        why_set(why, "exec plugin %.150s: its end cannot be seen: %s", e->argv[0], strerror(errno));
        return ERR_INVALID;
    }
    fcntl(p->out, F_SETFL, O_NONBLOCK);
    listen_to(p, p->out);
    listen_to(p, p->ended);
    p->limit = (struct wake){.fire = too_late, .user = p};
    wake_set(p->k, &p->limit, mono_add_ms(mono_now(), is_person ? PERSON_LIMIT_MS : LIMIT_MS));
    return 0;
}

int plugin_start(struct kube *k, struct why *why)
{
    const struct exec_plan *e = &k->config->exec;
    // On a loop nobody waits at a terminal.
    bool is_person = e->mode != EXEC_NEVER && !k->loop && isatty(0);
    struct plugin *p;
    int err;

    if (e->mode == EXEC_ALWAYS && !is_person) {
        why_set(why,
                "exec plugin %.150s wants to ask a person (interactiveMode: Always), and there "
                "is no terminal",
                e->argv[0]);
        return ERR_INVALID;
    }
    if (e->says_cluster && material_refresh(&k->config->ca, why) < 0)
        return ERR_INVALID;
    p = xcalloc(1, sizeof(*p));
    p->k = k;
    p->out = p->ended = -1;
    err = start(p, e, is_person, why);
    if (err < 0)
        plugin_cancel(p);
    else
        k->plugin = p;
    return err;
}

// ---------------------------------------------------------------------------------------- ending

void plugin_cancel(struct plugin *p)
{
    if (!p)
        return;
    if (p->pid > 0) {
        kill(p->has_group ? -p->pid : p->pid, SIGKILL);
        waitpid(p->pid, NULL, 0);
    }
    wake_set(p->k, &p->limit, MONO_NEVER);
    if (p->out >= 0)
        close(p->out);
    if (p->ended >= 0)
        close(p->ended);
    if (p->answer.data)
        explicit_bzero(p->answer.data, p->answer.len);
    free(p->answer.data);
    free(p);
}

static void finish(struct plugin *p, struct credential *take, const char *words)
{
    struct kube *k = p->k;

    plugin_cancel(p);
    plugin_done(k, take, words);
}

static void fail(struct plugin *p, const char *words)
{
    const struct exec_plan *e = &p->k->config->exec;
    struct credential none = {0};
    struct why why;

    why_set(&why, "exec plugin %.150s %.250s", e->argv[0], words);
    finish(p, &none, why.text);
}

static void too_late(void *user, struct mono now)
{
    (void)now;
    fail(user, "does not answer in time; run it by hand to see why");
}

static void read_answer(struct plugin *p)
{
    char bytes[4096];
    ssize_t got;

    while ((got = read(p->out, bytes, sizeof(bytes))) > 0 || (got < 0 && errno == EINTR)) {
        if (got > 0 && (size_t)got > ANSWER_MAX - p->answer.len)
            p->is_too_long = true;
        else if (got > 0)
            text_add(&p->answer, (struct str){bytes, (size_t)got});
    }
    explicit_bzero(bytes, sizeof(bytes));
    if (got == 0) { // not told again
        close(p->out);
        p->out = -1;
    }
}

static void judge_end(struct plugin *p, int status)
{
    const struct exec_plan *e = &p->k->config->exec;
    struct credential c = {0};
    struct why why = {""};
    char words[64];

    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        snprintf(words, sizeof(words), "failed (%s %d)", WIFEXITED(status) ? "exit" : "signal",
                 WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
        fail(p, words);
        return;
    }
    if (p->is_too_long) {
        fail(p, "answers more than 1 MiB");
        return;
    }
    if (credential_read((struct str){p->answer.data, p->answer.len}, e->api_version, &c, &why) < 0)
        why_prefix(&why, "exec plugin %.150s", e->argv[0]);
    finish(p, &c, why.text);
}

void plugin_ready(struct kube *k, struct mono now)
{
    struct plugin *p = k->plugin;
    int status;

    (void)now;
    if (!p) // both descriptors were ready, and the first has ended it
        return;
    if (p->out >= 0)
        read_answer(p);
    if (waitpid(p->pid, &status, WNOHANG) != p->pid)
        return;
    p->pid = 0;
    if (p->out >= 0)
        read_answer(p);
    judge_end(p, status);
}
