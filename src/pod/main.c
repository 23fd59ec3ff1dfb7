// SPDX-License-Identifier: Apache-2.0
// The command line by which existing controllers start the agent. Each flag has a variable of the
// environment, which counts when the flag is not given; an empty one is none.
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "host/host.h"
#include "pod/inside.h"

enum { INIT_S = 60, INIT_S_MAX = 3600, EXIT_FAULT = 1, EXIT_USAGE = 2 };

enum flag {
    NAMESPACE,
    KUBECONFIG,
    CONFIG_DIR,
    ROUTER_CONFIG,
    METRICS_ADDRESS,
    DISABLE_METRICS,
    INIT,
    EXAMINE,
    VERSION,
    HELP,
    FLAG_COUNT
};

static const struct {
    const char *name, *variable, *initial, *help;
    bool is_switch;
} flags[FLAG_COUNT] = {
    [NAMESPACE] = {"namespace", "NAMESPACE", NULL, "default: that of the kubeconfig, or the pod's",
                   false},
    [KUBECONFIG] = {"kubeconfig", "KUBECONFIG", NULL, "default: as kubectl, or the pod's account",
                    false},
    [CONFIG_DIR] = {"config-dir", "SKUPPER_CONFIG_DIR", "/etc/skupper-router-certs",
                    "where the router's files are written", false},
    [ROUTER_CONFIG] = {"router-config", "SKUPPER_ROUTER_CONFIG", "skupper-router",
                       "the ConfigMap with the router's configuration", false},
    [METRICS_ADDRESS] = {"metrics-address", "SKUPPER_METRICS_ADDRESS", ":9000",
                         "where /metrics is served", false},
    [DISABLE_METRICS] = {"disable-metrics", "SKUPPER_METRICS_DISABLE", NULL, "serve no /metrics",
                         true},
    [INIT] = {"init", NULL, NULL, "write the router's files once, before it starts", true},
    [EXAMINE] = {"examine", NULL, NULL,
                 "take the steps of the link of this name, tell each as a line of JSON, and end",
                 false},
    [VERSION] = {"version", NULL, NULL, "print the version", true},
    [HELP] = {"help", NULL, NULL, "print this", true},
};

static void print_usage(FILE *to)
{
    fputs("Usage: kube-adaptor [-init] [flags]\n\n"
          "The agent beside a router in its pod (docs/kubernetes.md).\n\n",
          to);
    for (int i = 0; i < FLAG_COUNT; i++) {
        fprintf(to, "  -%-16s %s", flags[i].name, flags[i].help);
        if (flags[i].initial)
            fprintf(to, " (default %s)", flags[i].initial);
        if (flags[i].variable)
            fprintf(to, " [%s]", flags[i].variable);
        fputc('\n', to);
    }
}

static const char *variable(const char *name)
{
    const char *value = name ? getenv(name) : NULL;

    return value && value[0] ? value : NULL;
}

static bool is_yes(const char *value)
{
    static const char *const no[] = {"0", "f", "F", "false", "FALSE", "False"};

    for (size_t i = 0; value && i < sizeof(no) / sizeof(no[0]); i++)
        if (strcmp(value, no[i]) == 0)
            return false;
    return value != NULL;
}

// "-flag=value", "--flag value", "-switch", "-switch=false". -1: unknown.
static int parse_one(int argc, char **argv, int at, const char *values[FLAG_COUNT])
{
    const char *word = argv[at] + (argv[at][0] == '-') + (argv[at][0] == '-' && argv[at][1] == '-');
    size_t len = strcspn(word, "=");

    for (int i = 0; argv[at][0] == '-' && i < FLAG_COUNT; i++) {
        if (strlen(flags[i].name) != len || strncmp(word, flags[i].name, len) != 0)
            continue;
        if (word[len] == '=')
            values[i] = word + len + 1;
        else if (flags[i].is_switch)
            values[i] = "true";
        else if (at + 1 < argc)
            values[i] = argv[++at];
        else
            return -1;
        return at + 1;
    }
    return -1;
}

static int parse(int argc, char **argv, const char *values[FLAG_COUNT])
{
    int at = 1;

    for (int i = 0; i < FLAG_COUNT; i++) {
        values[i] = variable(flags[i].variable);
        if (!values[i])
            values[i] = flags[i].initial;
    }
    while (at < argc) {
        int next = parse_one(argc, argv, at, values);

        if (next < 0) {
            fprintf(stderr, "kube-adaptor: what is \"%s\"?\n\n", argv[at]);
            print_usage(stderr);
            return EXIT_USAGE;
        }
        at = next;
    }
    return 0;
}

// "[HOST]:PORT"; *host is the caller's.
static bool split_address(const char *address, char **host, const char **port)
{
    const char *colon = strrchr(address, ':');
    struct str name = {address, colon ? (size_t)(colon - address) : 0};

    if (!colon || !colon[1])
        return false;
    if (name.len > 2 && name.ptr[0] == '[' && name.ptr[name.len - 1] == ']')
        name = (struct str){name.ptr + 1, name.len - 2};
    *host = str_dup(name);
    *port = colon + 1;
    return true;
}

static const char *or_else(const char *value, const char *other)
{
    return value ? value : other;
}

// How long the router's start may be held up.
static uint32_t init_ms(void)
{
    const char *value = variable("SKUPPER_INIT_SECONDS");
    long seconds = value ? strtol(value, NULL, 10) : INIT_S;

    return (uint32_t)(seconds < 0 ? 0 : seconds > INIT_S_MAX ? INIT_S_MAX : seconds) * 1000;
}

// As the first process of a container it is spared signals that nobody handles.
static void end_at_once(int signal_number)
{
    _exit(128 + signal_number);
}

static void print_step(const json_t *step)
{
    (void)json_dumpf(step, stdout, JSON_COMPACT);
    putchar('\n');
    fflush(stdout);
}

// Who waits for it may be gone without a word.
static int examine(const struct pod_opts *opts, const char *link)
{
    struct why why = {""};
    int err;

    alarm(2 * HOST_DOCTOR_MS / 1000);
    err = pod_take_steps(opts, link, print_step, &why);
    if (err < 0)
        fprintf(stderr, "kube-adaptor: %s\n", why.text);
    return err == ERR_NOT_FOUND ? POD_NO_LINK : err < 0 ? EXIT_FAULT : 0;
}

static int start(const struct pod_opts *opts, bool is_init, const char *link)
{
    struct why why = {""};

    signal(SIGTERM, end_at_once); // pod_run() has a better way
    signal(SIGINT, end_at_once);

    if (link)
        return examine(opts, link);

    int err = is_init ? pod_init(opts, init_ms(), &why) : pod_run(opts, &why);

    if (err < 0)
        fprintf(stderr, "kube-adaptor: %s\n", why.text);
    return err < 0 ? EXIT_FAULT : 0;
}

int pod_main(int argc, char **argv, const char *version)
{
    const char *v[FLAG_COUNT];
    char machine[256] = "", *host = NULL;
    const char *port = NULL;
    int status = parse(argc, argv, v);

    if (status)
        return status;
    if (is_yes(v[HELP]) || is_yes(v[VERSION])) {
        if (is_yes(v[HELP]))
            print_usage(stdout);
        else
            printf("%s\n", version);
        return 0;
    }
    if (!is_yes(v[DISABLE_METRICS]) && !split_address(v[METRICS_ADDRESS], &host, &port)) {
        fprintf(stderr, "kube-adaptor: metrics-address %s is no HOST:PORT\n", v[METRICS_ADDRESS]);
        return EXIT_USAGE;
    }
    gethostname(machine, sizeof(machine) - 1);
    status = start(
        &(struct pod_opts){
            .ns = v[NAMESPACE],
            .kubeconfig = v[KUBECONFIG],
            .router_config = v[ROUTER_CONFIG],
            .folder = v[CONFIG_DIR],
            .proxy_folder = or_else(variable("SKUPPER_PROXY_DIR"), "/etc/skupper-router-proxies"),
            .deployment = variable("SKUPPER_ROUTER_DEPLOYMENT"),
            .pod = or_else(variable("HOSTNAME"), machine),
            .site_id = variable("SKUPPER_SITE_ID"),
            .site_name = or_else(variable("SKUPPER_SITE_NAME"), ""),
            .version = version,
            .router_host = "localhost",
            .router_port = or_else(variable("SKUPPER_AMQP_PORT"), "5672"),
            .health_port = or_else(variable("SKUPPER_HEALTH_PORT"), "9191"),
            .metrics_host = host,
            .metrics_port = port,
        },
        is_yes(v[INIT]), v[EXAMINE]);
    free(host);
    return status;
}
