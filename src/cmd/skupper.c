// SPDX-License-Identifier: Apache-2.0
// The command line program. In a container it is also what its name says, for existing controllers
// start containers by these: "kube-adaptor", the agent beside a router, and "controller"; and
// "start", the command of our image, is the router or its agent, whichever the environment is for.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/cli.h"
#include "pod/pod.h"

#ifndef SKUPPER_VERSION
#define SKUPPER_VERSION "0"
#endif

static bool is_in_pod(void)
{
    return getenv("SKUPPER_ROUTER_CONFIG") != NULL;
}

static int start(int argc, char **argv)
{
    if (getenv("QDROUTERD_CONF")) {
        execlp("skrouterd", "skrouterd", (char *)NULL);
        fprintf(stderr, "start: skrouterd: %s\n", strerror(errno));
        return 1;
    }
    if (is_in_pod())
        return pod_main(argc, argv, SKUPPER_VERSION);
    fputs(
        "start: neither QDROUTERD_CONF nor SKUPPER_ROUTER_CONFIG is in the environment; to run the "
        "command line, say skupper\n",
        stderr);
    return 2;
}

static int control(int argc, char **argv)
{
    char name[] = "skupper", command[] = "controller",
         **words = xcalloc((size_t)argc + 2, sizeof(*words));
    int status;

    words[0] = name;
    words[1] = command;
    for (int i = 1; i < argc; i++)
        words[i + 1] = argv[i];
    status = cli_main(argc + 1, words);
    free(words);
    return status;
}

int main(int argc, char **argv)
{
    const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;
    const char *name = slash ? slash + 1 : argc > 0 ? argv[0] : "";

    if (strcmp(name, "start") == 0)
        return start(argc, argv);
    if (strcmp(name, "controller") == 0)
        return control(argc, argv);
    if (strcmp(name, "kube-adaptor") == 0)
        return pod_main(argc, argv, SKUPPER_VERSION);
    if (argc > 1 && strcmp(argv[1], "agent") == 0 && is_in_pod())
        return pod_main(argc - 1, argv + 1, SKUPPER_VERSION);
    return cli_main(argc, argv);
}
