// SPDX-License-Identifier: Apache-2.0
// skupper trace and skupper why: which way a new connection would go, asked of the routers on it.
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "cli/inside.h"
#include "client/client.h"
#include "site/site.h"

static const struct flag flags[] = {
    {"output", 'o', FLAG_TEXT, "", "form", 0, "json|yaml"},
    {"timeout", 0, FLAG_DURATION, "10s", "for each answer of a router", 0, NULL},
    {0},
};

// The port of the site's own listener for management; 0: there is none.
static long local_port(const struct store *s)
{
    json_t *state = cli_told(s, "internal/state.json");
    long port = (long)json_integer_value(
        json_object_get(json_object_get(state, "ports"), "skupper-local/normal"));

    json_decref(state);
    return port;
}

int cli_dial(const struct store *s, uint32_t timeout_ms, struct client_line **out, struct why *why)
{
    char *ca = host_path(&s->paths, "runtime/certs/skupper-local-client/ca.crt");
    char *cert = host_path(&s->paths, "runtime/certs/skupper-local-client/tls.crt");
    char *key = host_path(&s->paths, "runtime/certs/skupper-local-client/tls.key");
    struct net_tls_opts tls = {
        .name = "skupper-local-client", .ca_file = ca, .cert_file = cert, .key_file = key};
    char port[16];
    struct client_target target = {.name = "skupper",
                                   .host = "127.0.0.1",
                                   .port = port,
                                   .tls = &tls,
                                   .verify_host = true,
                                   .timeout_ms = timeout_ms};
    int err = ERR_NOT_FOUND;

    snprintf(port, sizeof(port), "%ld", local_port(s));
    if (strcmp(port, "0") == 0)
        why_set(why, "it was never started");
    else
        err = client_line_new(&target, out, why);
    free(ca);
    free(cert);
    free(key);
    return err;
}

int cli_connect(struct cli *c, const struct store *s, uint32_t timeout_ms, struct client_line **out)
{
    struct why why = {""};

    if (!store_is_running(s) || local_port(s) == 0)
        return cli_fail(c,
                        "The site of the namespace \"%s\" is not running: \"skupper system "
                        "start\" starts it",
                        s->ns);
    if (cli_dial(s, timeout_ms, out, &why) < 0)
        return cli_fail(c,
                        "The router of this site does not answer: %s. Its log is %s/internal/"
                        "router.log",
                        why.text, s->paths.root);
    return EXIT_OK;
}

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
    struct client_line *line = NULL;
    struct why why = {""};
    json_t *trace = NULL;
    int status = cli_connect(c, s, (uint32_t)cli_duration_ms(c, "timeout"), &line);

    if (status == EXIT_OK && client_trace(line, c->args[0], &trace, &why) < 0)
        status = cli_fail(c, "%s", why.text);
    if (status == EXIT_OK)
        status = show(c, trace);
    json_decref(trace);
    client_line_free(line);
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
     .platforms = ON_LINUX,
     .flags = flags,
     .run_on = run_trace},
    {.name = "why",
     .args = "<address>",
     .summary = "As trace: where a connection would go, and why not elsewhere",
     .args_min = 1,
     .args_max = 1,
     .platforms = ON_LINUX,
     .flags = flags,
     .run_on = run_trace},
    {0},
};
