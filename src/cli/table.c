// SPDX-License-Identifier: Apache-2.0
// The table of all commands, group by group, and those that need no file of their own.
#include "cli/inside.h"

static int run_version(struct cli *c)
{
    cli_say(c, "%s", cli_version);
    return EXIT_OK;
}

static const struct flag manifest_flags[] = {
    {"output", 'o', FLAG_TEXT, "", "form", 0, "json|yaml"},
    {0},
};

// All parts are of one version.
static int run_manifest(struct cli *c)
{
    static const char *const parts[] = {"router", "cli", "agent"};
    const char *form = cli_text(c, "output");
    json_t *components = json_array(), *manifest = json_pack("{s:o}", "components", components);
    struct table t;

    table_init(&t, "COMPONENT\tVERSION");
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        json_array_append_new(
            components, json_pack("{s:s, s:s}", "component", parts[i], "version", cli_version));
        table_row(&t, "%s\t%s", parts[i], cli_version);
    }
    if (form[0])
        cli_print(c, manifest, form);
    else
        table_print(&t, c->out);
    table_free(&t);
    json_decref(manifest);
    return EXIT_OK;
}

static const struct command own_commands[] = {
    {.name = "version", .args = "", .summary = "The version of this program", .run = run_version},
    {.name = "manifest",
     .args = "",
     .summary = "The parts of this version",
     .is_hidden = true,
     .flags = manifest_flags,
     .run = run_manifest},
    {.name = "completion",
     .args = "bash|zsh|fish",
     .summary = "A script that lets a shell complete commands and flags",
     .more = "For bash: skupper completion bash > /etc/bash_completion.d/skupper",
     .args_min = 1,
     .args_max = 1,
     .run = cli_run_completion},
    {.name = "man",
     .args = "[<command>…]",
     .summary = "The manual page of a command, for man -l -",
     .args_max = 3,
     .flags = cli_man_flags,
     .run = cli_run_man},
    {0},
};

const struct command *const cli_tables[] = {
    cli_site_commands,      cli_link_commands,
    cli_token_commands,     cli_listener_commands,
    cli_connector_commands, cli_expose_commands,
    cli_first_commands,     cli_system_commands,
    cli_trace_commands,     cli_debug_commands,
    cli_agent_commands,     cli_controller_commands,
    own_commands,           NULL,
};
