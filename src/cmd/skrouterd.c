// SPDX-License-Identifier: Apache-2.0
// The router daemon: arguments in, node run.
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "node/node.h"

#ifndef SKUPPER_VERSION
#define SKUPPER_VERSION "0"
#endif

static const char usage[] =
    "Usage: skrouterd [-c FILE] [options]\n"
    "\n"
    "Runs an application router as FILE says (see docs/configuration.md).\n"
    "\n"
    "  -c, --config FILE    configuration, JSON or native syntax; without it, the environment\n"
    "                       variable QDROUTERD_CONF holds it, or the names of its files\n"
    "  -d, --daemon         go to the background once everything listens\n"
    "  -P, --pidfile FILE   write the process id there\n"
    "  -U, --user NAME      become that user before serving\n"
    "  -I, --include PATH   accepted for compatibility, without effect\n"
    "  -v, --version        print the version\n"
    "  -h, --help           print this\n";

struct arguments {
    const char *config, *told, *pid_file, *user;
    bool daemon;
    uint32_t drain_s, drain_accept_s;
};

enum { DRAIN_ACCEPT_S = 3, DRAIN_MAX_S = 86400 };

// Returns -1 to go on, else the exit status, like what follows.
static int seconds(const char *name, uint32_t *out)
{
    const char *text = getenv(name);
    char *end;
    long value;

    if (!text || !text[0])
        return -1;
    value = strtol(text, &end, 10);
    if (*end || value < 0 || value > DRAIN_MAX_S) {
        fprintf(stderr, "skrouterd: %s is '%s', which is no number of seconds up to %d\n", name,
                text, DRAIN_MAX_S);
        return 2;
    }
    *out = (uint32_t)value;
    return -1;
}

// How it ends, which is a matter of where it runs.
static int read_drain(struct arguments *a)
{
    int status = seconds("SKUPPER_DRAIN_SECONDS", &a->drain_s);

    a->drain_accept_s = DRAIN_ACCEPT_S;
    return status >= 0 ? status : seconds("SKUPPER_DRAIN_ACCEPT_SECONDS", &a->drain_accept_s);
}

static int parse(int argc, char **argv, struct arguments *a)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'},
        {"daemon", no_argument, NULL, 'd'},
        {"pidfile", required_argument, NULL, 'P'},
        {"user", required_argument, NULL, 'U'},
        {"include", required_argument, NULL, 'I'},
        {"test-hooks", no_argument, NULL, 'T'},
        {"version", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int opt;

    while ((opt = getopt_long(argc, argv, "c:dP:U:I:Tvh", options, NULL)) != -1) {
        switch (opt) {
        case 'c':
            a->config = optarg;
            break;
        case 'd':
            a->daemon = true;
            break;
        case 'P':
            a->pid_file = optarg;
            break;
        case 'U':
            a->user = optarg;
            break;
        case 'I':
        case 'T':
            break;
        case 'v':
            printf("%s\n", SKUPPER_VERSION);
            return 0;
        case 'h':
            fputs(usage, stdout);
            return 0;
        default:
            fputs(usage, stderr);
            return 2;
        }
    }
    if (!a->config)
        a->told = getenv("QDROUTERD_CONF");
    if (optind < argc || (!a->config && !a->told)) {
        fprintf(stderr, "skrouterd: %s\n\n%s",
                optind < argc ? "there is an argument too many"
                              : "-c FILE is needed, or QDROUTERD_CONF in the environment",
                usage);
        return 2;
    }
    return read_drain(a);
}

// What a configuration may refer to in a container, whoever started it: HOSTNAME, and POD_ID, the
// number that a pod of a StatefulSet has at the end of its name.
static void complete_environment(void)
{
    const char *given = getenv("HOSTNAME"), *name, *dash;
    char host[HOST_NAME_MAX + 1] = "";

    gethostname(host, sizeof(host) - 1);
    name = given ? given : host;
    dash = strrchr(name, '-');
    setenv("POD_ID", dash ? dash + 1 : name, 0);
    setenv("HOSTNAME", name, 0);
}

static int become(const char *name)
{
    const struct passwd *user = getpwnam(name);

    if (!user) {
        fprintf(stderr, "skrouterd: there is no user '%s'\n", name);
        return 1;
    }
    if (setgid(user->pw_gid) < 0 || initgroups(name, user->pw_gid) < 0 ||
        setuid(user->pw_uid) < 0) {
        fprintf(stderr, "skrouterd: cannot become user '%s': %s\n", name, strerror(errno));
        return 1;
    }
    return 0;
}

static int write_pid(const char *path)
{
    FILE *f = fopen(path, "w");

    if (!f || fprintf(f, "%ld\n", (long)getpid()) < 0 || fclose(f) != 0) {
        fprintf(stderr, "skrouterd: cannot write %s: %s\n", path, strerror(errno));
        return 1;
    }
    return 0;
}

// As many connections as the system lets one process have.
static void raise_file_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

// The parent stays until the child serves, or says why it does not, and ends with its status.
static int wait_for_child(int ready, pid_t child)
{
    char byte;
    int status = 0;

    if (read(ready, &byte, 1) == 1)
        return 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) ? WEXITSTATUS(status) : 1;
}

// Goes to the background before there are threads. Returns in the child, with the descriptor that
// tells the parent, or -1.
static int go_to_background(void)
{
    int ready[2];
    pid_t child = -1;

    if (pipe2(ready, O_CLOEXEC) == 0)
        child = fork();
    if (child < 0) {
        fprintf(stderr, "skrouterd: cannot go to the background: %s\n", strerror(errno));
        return -1;
    }
    if (child > 0) {
        close(ready[1]);
        _exit(wait_for_child(ready[0], child));
    }
    close(ready[0]);
    setsid();
    return ready[1];
}

static void tell_parent(int ready)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    for (int fd = 0; null >= 0 && fd <= 2; fd++)
        dup2(null, fd);
    if (null > 2)
        close(null);
    (void)!write(ready, "1", 1);
    close(ready);
}

// Everything that can fail, then the service. Returns the exit status.
static int run(const struct arguments *a, int ready)
{
    const struct node_opts opts = {
        .config_path = a->config,
        .config_told = a->told,
        .version = SKUPPER_VERSION,
        .drain_ms = a->drain_s * 1000,
        .drain_accept_ms = a->drain_accept_s * 1000,
    };
    struct why why = {""};
    struct node *node = NULL;
    bool has_pid_file;
    int status = 0;

    if (node_new(&opts, &node, &why) < 0) {
        fprintf(stderr, "skrouterd: %s\n", why.text);
        return 1;
    }
    if (a->pid_file)
        status = write_pid(a->pid_file);
    has_pid_file = a->pid_file && status == 0;
    if (status == 0 && a->user)
        status = become(a->user);
    if (status == 0 && ready >= 0)
        tell_parent(ready);
    if (status == 0 && node_run(node, &why) < 0) {
        fprintf(stderr, "skrouterd: %s\n", why.text);
        status = 1;
    }
    node_free(node);
    if (has_pid_file)
        unlink(a->pid_file);
    return status;
}

int main(int argc, char **argv)
{
    struct arguments a = {0};
    int status = parse(argc, argv, &a), ready = -1;

    if (status >= 0)
        return status;
    raise_file_limit();
    if (a.told)
        complete_environment();
    if (a.daemon && (ready = go_to_background()) < 0)
        return 1;
    return run(&a, ready);
}
