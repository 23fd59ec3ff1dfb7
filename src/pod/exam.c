// SPDX-License-Identifier: Apache-2.0
// A program that takes the steps of a link and tells each as a line of JSON. It may block in any of
// them, so it is a child, which has a limit of time and of words, and is gone when nobody waits for
// it any more.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "net/net.h"
#include "pod/inside.h"

enum { LINES_MAX = 512 * 1024 }; // octets

extern char **environ;

struct exam {
    struct net_loop *loop;
    struct exam_opts opts;
    pid_t pid; // 0: it has ended
    int out, ended;
    struct net_watch *out_watch, *ended_watch;
    struct net_timer limit;
    char *lines;
    size_t len;
};

// -------------------------------------------------------------------------------------- starting

static int spawn(struct exam *e, int out)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    sigset_t none, pipe;
    int error;

    sigemptyset(&none);
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, out, 1);
    posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addclosefrom_np(&files, 3); // connections to the API server, too
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &pipe);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    error = posix_spawn(&e->pid, e->opts.program, &files, &attributes,
                        (char *const *)(uintptr_t)e->opts.argv, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&files);
    if (error)
        e->pid = 0;
    return error;
}

static void hear(void *user, struct mono now);
static void end(void *user, struct mono now);
static void too_late(void *user, struct mono now);

static int start(struct exam *e)
{
    int pipe[2], error;

    if (pipe2(pipe, O_CLOEXEC) < 0)
        return errno;
    error = spawn(e, pipe[1]);
    close(pipe[1]);
    e->out = pipe[0];
    if (error)
        return error;
    e->ended = (int)syscall(SYS_pidfd_open, e->pid, 0);
    if (e->ended < 0)
        return errno;
    fcntl(e->out, F_SETFL, O_NONBLOCK);
    e->out_watch = net_watch_new(e->loop, e->out, hear, e);
    e->ended_watch = net_watch_new(e->loop, e->ended, end, e);
    return e->out_watch && e->ended_watch ? 0 : errno;
}

struct exam *exam_new(struct net_loop *loop, const struct exam_opts *opts, struct why *why)
{
    struct exam *e = xcalloc(1, sizeof(*e));
    int error;

    *e = (struct exam){.loop = loop,
                       .opts = *opts,
                       .out = -1,
                       .ended = -1,
                       .limit = {.fire = too_late, .user = e}};
    error = start(e);
    if (error) {
        why_set(why, "the steps cannot be taken: %s", strerror(error));
        exam_free(e);
        return NULL;
    }
    net_timer_set(loop, &e->limit, mono_add_ms(net_loop_now(loop), opts->limit_ms));
    return e;
}

// ---------------------------------------------------------------------------------------- ending

static void stop(struct exam *e)
{
    if (e->pid > 0) {
        kill(e->pid, SIGKILL);
        waitpid(e->pid, NULL, 0);
    }
    e->pid = 0;
}

static void stop_hearing(struct exam *e)
{
    net_watch_free(e->out_watch);
    e->out_watch = NULL;
    if (e->out >= 0)
        close(e->out);
    e->out = -1;
}

void exam_free(struct exam *e)
{
    if (!e)
        return;
    stop(e);
    stop_hearing(e);
    net_timer_cancel(e->loop, &e->limit);
    net_watch_free(e->ended_watch);
    if (e->ended >= 0)
        close(e->ended);
    free(e->lines);
    free(e);
}

static void hear(void *user, struct mono now)
{
    struct exam *e = user;
    char bytes[4096];
    ssize_t got = -1;

    (void)now;
    while (e->out >= 0 &&
           ((got = read(e->out, bytes, sizeof(bytes))) > 0 || (got < 0 && errno == EINTR))) {
        if (got <= 0)
            continue;
        if ((size_t)got > LINES_MAX - e->len) { // no link has so many steps
            if (e->pid > 0)
                kill(e->pid, SIGKILL);
            break;
        }
        e->lines = xrealloc(e->lines, e->len + (size_t)got, 1);
        memcpy(e->lines + e->len, bytes, (size_t)got);
        e->len += (size_t)got;
    }
    if (got >= 0)
        stop_hearing(e);
}

// The steps of whole lines; the caller's.
static json_t *read_steps(const struct exam *e)
{
    json_t *steps = json_array();
    size_t at = 0;

    while (at < e->len) {
        const char *end_of_line = memchr(e->lines + at, '\n', e->len - at);
        size_t len = end_of_line ? (size_t)(end_of_line - e->lines) - at : 0;
        json_t *step = end_of_line ? json_loadb(e->lines + at, len, 0, NULL) : NULL;

        if (json_is_object(step))
            json_array_append(steps, step);
        json_decref(step);
        at = end_of_line ? at + len + 1 : e->len;
    }
    return steps;
}

static void finish(struct exam *e, enum exam_end how, json_t *take_steps, const char *words)
{
    struct exam_opts opts = e->opts;

    exam_free(e);
    opts.done(opts.user, how, take_steps, words);
    json_decref(take_steps);
}

static void end(void *user, struct mono now)
{
    struct exam *e = user;
    struct why why = {""};
    enum exam_end how = EXAM_DONE;
    int status = 0;

    if (waitpid(e->pid, &status, WNOHANG) != e->pid)
        return;
    e->pid = 0;
    hear(e, now);
    if (WIFEXITED(status) && WEXITSTATUS(status) == POD_NO_LINK) {
        how = EXAM_NO_LINK;
    } else if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        how = EXAM_FAILED;
        why_set(&why, "what takes the steps has failed (%s %d); the log of the agent may say why",
                WIFEXITED(status) ? "exit" : "signal",
                WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
    }
    finish(e, how, read_steps(e), why.text);
}

// What is under way comes after the last step that was told: the first one at a place is the name.
static json_t *unfinished(const json_t *steps, uint32_t limit_ms)
{
    const json_t *last = json_array_get(steps, json_array_size(steps) - 1);
    bool is_name = !json_object_get(last, "endpoint");

    return json_pack(
        "{s:s, s:s, s:o, s:s}", "step", is_name ? "name" : "time", "result", "failed", "message",
        json_sprintf(is_name ? "the name is still being looked up after %u s"
                             : "given up after %u s: what comes next takes longer",
                     (limit_ms + 999) / 1000),
        "next",
        is_name ? "no DNS server answers in the pod: does a NetworkPolicy let it ask the DNS of "
                  "the cluster?"
                : "what was met until then is told; the next address, or the name of the next "
                  "endpoint, does not answer");
}

static void too_late(void *user, struct mono now)
{
    struct exam *e = user;
    json_t *steps;

    stop(e);
    hear(e, now);
    steps = read_steps(e);
    json_array_append_new(steps, unfinished(steps, e->opts.limit_ms));
    finish(e, EXAM_DONE, steps, "");
}
