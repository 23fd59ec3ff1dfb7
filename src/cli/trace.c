// SPDX-License-Identifier: Apache-2.0
// skupper trace and skupper why: which way a new connection would go, asked of the routers on it.
#include <stdlib.h>

#include "cli/inside.h"
#include "client/client.h"

static const struct flag flags[] = {
    {"output", 'o', FLAG_TEXT, "", "form", 0, "json|yaml"},
    {"timeout", 0, FLAG_DURATION, "10s", "for each answer of a router", 0, NULL},
    {0},
};

// Exit 0 when there is a way, 1 when there is none.
static int show(struct cli *c, const json_t *trace)
{
    const char *form = cli_text(c, "output");
    char *text;

    if (form[0]) {
        cli_print(c, trace, form);
    } else {
        text = client_trace_text(trace);
        fputs(text, c->out);
        free(text);
    }
    return json_array_size(json_object_get(trace, "path")) ? EXIT_OK : EXIT_FAILED;
}

static int run_trace(struct cli *c, struct store *s)
{
    struct reach router;
    struct why why = {""};
    json_t *trace = NULL;
    int status = cli_connect(c, s, (uint32_t)cli_duration_ms(c, "timeout"), &router);

    if (status == EXIT_OK && client_trace(router.line, c->args[0], &trace, &why) < 0)
        status = cli_fail(c, "%s", why.text);
    if (status == EXIT_OK)
        status = show(c, trace);
    json_decref(trace);
    reach_end(&router);
    return status;
}

const struct command cli_trace_commands[] = {
    {.name = "trace",
     .args = "<address>",
     .summary = "Which way a new connection to a service would go from here, hop by hop",
     .more = "Asks the routers on the way, with the time each takes to answer. The address is a "
             "routing key, or name:port of a shared service.",
     .args_min = 1,
     .args_max = 1,
     .platforms = ON_LINUX | ON_KUBERNETES,
     .flags = flags,
     .run_on = run_trace},
    {.name = "why",
     .args = "<address>",
     .summary = "As trace: where a connection would go, and why not elsewhere",
     .args_min = 1,
     .args_max = 1,
     .platforms = ON_LINUX | ON_KUBERNETES,
     .flags = flags,
     .run_on = run_trace},
    {0},
};
