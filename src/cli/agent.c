// SPDX-License-Identifier: Apache-2.0
// The long-running part beside a router.
#include <stdlib.h>
#include <string.h>

#include "cli/inside.h"
#include "host/host.h"

static int run_agent(struct cli *c)
{
    const char *reload = getenv("SKUPPER_SYSTEM_RELOAD_TYPE");
    struct host_agent_opts opts = {.ns = cli_namespace(c),
                                   .version = cli_version,
                                   .keeps_router = cli_bool(c, "keep-router"),
                                   .is_manual = reload && strcmp(reload, "manual") == 0};
    struct why why = {""};

    return host_agent(&opts, &why) < 0 ? cli_fail(c, "%s", why.text) : EXIT_OK;
}

static const struct flag flags[] = {
    {"keep-router", 0, FLAG_BOOL, "false",
     "start the router and keep it running, where systemd does not", 0, NULL},
    {0},
};

const struct command cli_agent_commands[] = {
    {.name = "agent",
     .args = "",
     .summary = "Runs a site on this host: watches its resources and its router",
     .more = "Started by \"skupper system start\". It reads input/resources, keeps certificates, "
             "applies differences to the running router and writes status to runtime/resources. "
             "Traffic goes on without it.",
     .platforms = ON_LINUX,
     .flags = flags,
     .run = run_agent},
    {0},
};
