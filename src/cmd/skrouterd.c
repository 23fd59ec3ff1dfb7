// SPDX-License-Identifier: Apache-2.0
// The router daemon: arguments in, node run.
#include <errno.h>
#include <getopt.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "node/node.h"

#ifndef SKUPPER_VERSION
#define SKUPPER_VERSION "0"
#endif

static const char usage[] =
    "Usage: skrouterd -c FILE [options]\n"
    "\n"
    "Runs an application router as FILE says (see docs/configuration.md).\n"
    "\n"
    "  -c, --config FILE    configuration, JSON or native syntax (required)\n"
    "  -d, --daemon         go to the background once everything listens\n"
    "  -P, --pidfile FILE   write the process id there\n"
    "  -U, --user NAME      become that user before serving\n"
    "  -I, --include PATH   accepted for compatibility, without effect\n"
    "  -v, --version        print the version\n"
    "  -h, --help           print this\n";

struct arguments {
    const char *config, *pid_file, *user;
    bool daemon;
};

// Returns -1 to go on, else the exit status.
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
    if (optind < argc || !a->config) {
        fprintf(stderr, "skrouterd: %s\n\n%s",
                a->config ? "there is an argument too many" : "-c FILE is needed", usage);
        return 2;
    }
    return -1;
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

int main(int argc, char **argv)
{
    struct arguments a = {0};
    struct why why = {""};
    struct node *node = NULL;
    int status = parse(argc, argv, &a);

    if (status >= 0)
        return status;
    raise_file_limit();
    if (node_new(a.config, SKUPPER_VERSION, &node, &why) < 0) {
        fprintf(stderr, "skrouterd: %s\n", why.text);
        return 1;
    }
    if (a.daemon && daemon(1, 0) < 0) {
        fprintf(stderr, "skrouterd: cannot go to the background: %s\n", strerror(errno));
        status = 1;
    }
    if (status < 0 && a.pid_file)
        status = write_pid(a.pid_file) ? 1 : -1;
    if (status < 0 && a.user)
        status = become(a.user) ? 1 : -1;
    if (status < 0) {
        status = node_run(node, &why) < 0;
        if (status)
            fprintf(stderr, "skrouterd: %s\n", why.text);
    }
    node_free(node);
    if (a.pid_file && status == 0)
        unlink(a.pid_file);
    return status;
}
