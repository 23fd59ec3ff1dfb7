// SPDX-License-Identifier: Apache-2.0
// skupper listener … and skupper connector …: two kinds whose commands differ in a few words.
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "cli/inside.h"
#include "site/site.h"

#define COMMON_FLAGS                                                                               \
    {"tls-credentials", 0, FLAG_TEXT, "", "name of the certificate to use", 0, NULL},              \
    {                                                                                              \
        "type", 0, FLAG_TEXT, "tcp", "protocol", 0, "tcp"                                          \
    }
#define WAIT_FLAGS                                                                                 \
    {"timeout", 0, FLAG_DURATION, "60s", "how long to wait", ON_KUBERNETES, NULL},                 \
    {                                                                                              \
        "wait", 0, FLAG_TEXT, "configured", "for what", ON_KUBERNETES, "ready|configured|none"     \
    }
#define PORT_FLAG                                                                                  \
    {                                                                                              \
        "port", 0, FLAG_NUMBER, "0", "port (0: as it is)", 0, NULL                                 \
    }
#define OUTPUT_FLAG(initial)                                                                       \
    {                                                                                              \
        "output", 'o', FLAG_TEXT, initial, "form", 0, "json|yaml"                                  \
    }
#define LISTENER_FLAGS                                                                             \
    {"routing-key", 0, FLAG_TEXT, "", "the address in the network (default: the name)", 0, NULL},  \
        {"host", 0,   FLAG_TEXT, "", "where it listens (hosts: 0.0.0.0; Kubernetes: the name)",    \
         0,      NULL},                                                                            \
        COMMON_FLAGS
#define CONNECTOR_FLAGS(letter)                                                                      \
    {"routing-key", letter, FLAG_TEXT, "", "the address in the network (default: the name)", 0,      \
     NULL},                                                                                          \
        {"host", 0, FLAG_TEXT, "", "the server (hosts: localhost)", 0, NULL},                        \
        {"selector", 's', FLAG_TEXT, "", "labels of the pods", ON_KUBERNETES, NULL},                 \
        {"workload",    'w', FLAG_TEXT, "", "deployment/x, service/x, daemonset/x or statefulset/x", \
         ON_KUBERNETES, NULL},                                                                       \
        {"include-not-ready",           'i',           FLAG_BOOL, "false",                           \
         "pods that are not ready too", ON_KUBERNETES, NULL},                                        \
        COMMON_FLAGS

static const struct flag listener_create[] = {LISTENER_FLAGS, WAIT_FLAGS, {0}};
static const struct flag listener_update[] = {LISTENER_FLAGS, PORT_FLAG, WAIT_FLAGS, {0}};
static const struct flag listener_generate[] = {LISTENER_FLAGS, OUTPUT_FLAG("yaml"), {0}};
static const struct flag connector_create[] = {CONNECTOR_FLAGS('r'), WAIT_FLAGS, {0}};
static const struct flag connector_update[] = {CONNECTOR_FLAGS('r'), PORT_FLAG, WAIT_FLAGS, {0}};
static const struct flag connector_generate[] = {CONNECTOR_FLAGS(0), OUTPUT_FLAG("yaml"), {0}};
static const struct flag status_flags[] = {OUTPUT_FLAG(""), {0}};
static const struct flag delete_flags[] = {
    {"timeout", 't', FLAG_DURATION, "60s", "how long to wait", 0, NULL},
    {"wait", 0, FLAG_BOOL, "true", "until it is gone", 0, NULL},
    {0}};

static bool is_listener(const struct cli *c)
{
    return strncmp(c->command->name, "listener", 8) == 0;
}

static const char *kind_of(const struct cli *c)
{
    return is_listener(c) ? "Listener" : "Connector";
}

static void check_port(struct cli *c, const char *text)
{
    int64_t port;

    if (!site_number(str_of(text), 1, 65535, &port))
        cli_problem(c, "port is not valid: \"%s\" is no number from 1 to 65535", text);
}

// What the API server has to be asked for.
static void check_cluster(struct cli *c, const struct store *s)
{
    const char *tls = cli_text(c, "tls-credentials");
    json_t *secret;

    if (c->platform != ON_KUBERNETES)
        return;
    cli_check_timeout(c);
    if (!tls[0] || c->problem_count)
        return;
    secret = store_told(s, "Secret", tls);
    if (!secret && !c->failure)
        cli_problem(c,
                    "tls-secret is not valid: does not exist: there is no Secret \"%s\" in the "
                    "namespace %s",
                    tls, s->ns);
    json_decref(secret);
}

static void check(struct cli *c)
{
    const char *key = cli_text(c, "routing-key"), *host = cli_text(c, "host"),
               *tls = cli_text(c, "tls-credentials");

    cli_check_name(c, is_listener(c) ? "listener name" : "connector name", c->args[0]);
    if (c->arg_count > 1)
        check_port(c, c->args[1]);
    if (key[0])
        cli_check_name(c, "routing key", key);
    if (host[0] && !site_is_host(str_of(host)))
        cli_problem(c, "host is not valid: \"%s\" is neither an IP address nor a host name", host);
    if (tls[0])
        cli_check_name(c, "tls-credentials", tls);
    if (c->platform == ON_KUBERNETES && !is_listener(c) &&
        (host[0] != '\0') + (cli_text(c, "selector")[0] != '\0') +
                (cli_text(c, "workload")[0] != '\0') >
            1)
        cli_problem(c, "give one of --host, --selector and --workload");
    if (c->platform == ON_KUBERNETES && !is_listener(c)) {
        if (cli_text(c, "selector")[0] && !site_is_selector(str_of(cli_text(c, "selector"))))
            cli_problem(c, "selector is not valid: \"%s\" does not select labels, as app=db does",
                        cli_text(c, "selector"));
        if (cli_text(c, "workload")[0])
            cli_check_workload(c, cli_text(c, "workload"));
    }
}

static void set(json_t *spec, const char *name, const char *text)
{
    if (text[0])
        json_object_set_new(spec, name, json_string(text));
}

// What is given goes into the spec; nothing else of it is touched.
static void fill(struct cli *c, json_t *resource, const char *port)
{
    json_t *spec = json_object_get(resource, "spec");

    if (!spec) {
        spec = json_object();
        json_object_set_new(resource, "spec", spec);
    }
    set(spec, "routingKey", cli_text(c, "routing-key"));
    set(spec, "host", cli_text(c, "host"));
    set(spec, "tlsCredentials", cli_text(c, "tls-credentials"));
    if (cli_is_given(c, "type"))
        set(spec, "type", cli_text(c, "type"));
    if (c->platform == ON_KUBERNETES && !is_listener(c)) {
        set(spec, "selector", cli_text(c, "selector"));
        if (cli_is_given(c, "include-not-ready"))
            json_object_set_new(spec, "includeNotReadyPods",
                                json_boolean(cli_bool(c, "include-not-ready")));
        // One of the two says where the server is.
        if (cli_text(c, "host")[0])
            json_object_del(spec, "selector");
        else if (cli_text(c, "selector")[0])
            json_object_del(spec, "host");
    }
    if (strcmp(port, "0") != 0)
        json_object_set_new(spec, "port", json_integer(strtol(port, NULL, 10)));
}

static void fill_defaults(struct cli *c, json_t *resource)
{
    json_t *spec = json_object_get(resource, "spec");
    const char *name = site_text(resource, "metadata.name");
    bool in_cluster = c->platform == ON_KUBERNETES;

    if (!json_object_get(spec, "routingKey"))
        set(spec, "routingKey", name);
    if (json_object_get(spec, "host") || json_object_get(spec, "selector"))
        return;
    if (is_listener(c))
        set(spec, "host", in_cluster ? name : "0.0.0.0");
    else if (!in_cluster)
        set(spec, "host", "localhost");
    else
        json_object_set_new(spec, "selector", json_sprintf("app=%s", name));
}

// Labels of the pods of --workload; true: they are in the spec, or the reason is told.
static void select_workload(struct cli *c, const struct store *s, json_t *resource)
{
    char *selector;

    if (is_listener(c) || c->platform != ON_KUBERNETES || !cli_text(c, "workload")[0])
        return;
    selector = cli_workload_selector(c, s, cli_text(c, "workload"));
    if (selector) {
        json_object_set_new(json_object_get(resource, "spec"), "selector", json_string(selector));
        json_object_del(json_object_get(resource, "spec"), "host");
    }
    free(selector);
}

static const char *word_of(const struct cli *c)
{
    return is_listener(c) ? "listener" : "connector";
}

// In a cluster, how it went.
static int finish_create(struct cli *c, const struct store *s)
{
    const char *what, *name = c->args[0];
    int status;

    if (c->platform != ON_KUBERNETES)
        return EXIT_OK;
    status = cli_await_asked(c, s, "Waiting for create to complete...", kind_of(c), name);
    what = cli_text(c, "wait");
    if (status == EXIT_OK)
        cli_say(c, "%s \"%s\" is %s.", kind_of(c), name,
                strcmp(what, "none") == 0 ? "created" : what);
    return status;
}

static int run_create(struct cli *c, struct store *s)
{
    struct why why = {""};
    json_t *old, *resource;
    int status;

    check(c);
    check_cluster(c, s);
    old = store_find(s, kind_of(c), c->args[0]);
    if (old)
        cli_problem(c, "There is already a %s %s created for namespace %s", word_of(c), c->args[0],
                    s->ns);
    json_decref(old);
    resource = store_new(s, kind_of(c), c->args[0]);
    fill(c, resource, c->args[1]);
    if (cli_verdict(c) == EXIT_OK)
        select_workload(c, s, resource);
    fill_defaults(c, resource);
    status = cli_verdict(c);
    if (status == EXIT_OK && store_put(s, resource, &why) < 0)
        status = cli_fail(c, "%s", why.text);
    if (status == EXIT_OK)
        status = finish_create(c, s);
    json_decref(resource);
    return status;
}

static int finish_update(struct cli *c, const struct store *s)
{
    const char *wait = c->platform == ON_KUBERNETES ? cli_text(c, "wait") : "none";
    int status = cli_await_asked(c, s, "Waiting for update to complete...", kind_of(c), c->args[0]);

    if (status == EXIT_OK && is_listener(c))
        cli_say(c, "Listener \"%s\" is updated", c->args[0]);
    else if (status == EXIT_OK)
        cli_say(c, "Connector \"%s\" is %s.", c->args[0],
                strcmp(wait, "ready") == 0 ? "ready" : "configured");
    return status;
}

static int run_update(struct cli *c, struct store *s)
{
    struct why why = {""};
    json_t *resource;
    int status;

    check(c);
    check_cluster(c, s);
    if (cli_number(c, "port") != 0)
        check_port(c, cli_text(c, "port"));
    resource = store_find(s, kind_of(c), c->args[0]);
    if (!resource && !c->failure)
        cli_problem(c, "%s %s must exist in namespace %s to be updated", word_of(c), c->args[0],
                    s->ns);
    if (cli_verdict(c) == EXIT_OK) {
        fill(c, resource, cli_text(c, "port"));
        select_workload(c, s, resource);
    }
    status = cli_verdict(c);
    if (status == EXIT_OK && store_put(s, resource, &why) < 0)
        status = cli_fail(c, "%s", why.text);
    if (status == EXIT_OK)
        status = finish_update(c, s);
    json_decref(resource);
    return status;
}

static int run_delete(struct cli *c, struct store *s)
{
    struct why why = {""};
    int status, err;

    if (c->platform == ON_KUBERNETES)
        cli_check_timeout(c);
    err = c->problem_count ? 0 : store_remove(s, kind_of(c), c->args[0], &why);
    if (err == ERR_NOT_FOUND && !c->failure)
        cli_problem(c, "%s \"%s\" does not exist in namespace %s", word_of(c), c->args[0], s->ns);
    status = cli_verdict(c);
    if (status == EXIT_OK && err < 0)
        status = cli_fail(c, "%s", why.text);
    if (status == EXIT_OK)
        status = cli_await_gone(c, s, kind_of(c), c->args[0]);
    if (status == EXIT_OK)
        cli_say(c, "%s \"%s\" deleted", kind_of(c), c->args[0]);
    return status;
}

static int run_generate(struct cli *c)
{
    json_t *resource;

    check(c);
    if (c->problem_count)
        return EXIT_INVALID;
    resource = json_pack("{s:s, s:s, s:{s:s}, s:{}}", "apiVersion", "skupper.io/v2alpha1", "kind",
                         kind_of(c), "metadata", "name", c->args[0], "spec");
    if (cli_is_given(c, "namespace"))
        json_object_set_new(json_object_get(resource, "metadata"), "namespace",
                            json_string(cli_namespace(c)));
    fill(c, resource, c->args[1]);
    fill_defaults(c, resource);
    cli_print(c, resource, cli_text(c, "output"));
    json_decref(resource);
    return EXIT_OK;
}

// ----------------------------------------------------------------------------------------- status

static bool is_matched(const struct cli *c, const json_t *r)
{
    return json_is_true(
        site_get(r, is_listener(c) ? "status.hasMatchingConnector" : "status.hasMatchingListener"));
}

static long port_of(const json_t *r)
{
    return (long)json_integer_value(site_get(r, "spec.port"));
}

static void print_one(struct cli *c, const json_t *r)
{
    cli_say(c, "Name:\t\t\t%s", site_text(r, "metadata.name"));
    cli_say(c, "Status:\t\t\t%s", cli_status_of(r));
    cli_say(c, "Routing key:\t\t%s", site_text(r, "spec.routingKey"));
    if (!is_listener(c))
        cli_say(c, "Selector:\t\t%s", site_text(r, "spec.selector"));
    cli_say(c, "Host:\t\t\t%s", site_text(r, "spec.host"));
    cli_say(c, "Port:\t\t\t%ld", port_of(r));
    cli_say(c, "Has Matching %s:\t%s", is_listener(c) ? "Connector" : "Listener",
            is_matched(c, r) ? "true" : "false");
    cli_say(c, "Message:\t\t%s", cli_message_of(c, r));
}

static void print_table(struct cli *c, const json_t *all)
{
    struct table t;
    json_t *r;
    size_t i;

    table_init(&t, is_listener(c)
                       ? "NAME\tSTATUS\tROUTING-KEY\tHOST\tPORT\tMATCHING-CONNECTOR\tMESSAGE"
                       : "NAME\tSTATUS\tROUTING-KEY\tSELECTOR\tHOST\tPORT\tHAS MATCHING "
                         "LISTENER\tMESSAGE");
    json_array_foreach((json_t *)(uintptr_t)all, i, r)
    {
        table_row(&t, "%s\t%s\t%s\t%s%s%s\t%ld\t%s\t%s", site_text(r, "metadata.name"),
                  cli_status_of(r), site_text(r, "spec.routingKey"),
                  is_listener(c) ? "" : site_text(r, "spec.selector"), is_listener(c) ? "" : "\t",
                  site_text(r, "spec.host"), port_of(r), is_matched(c, r) ? "true" : "false",
                  cli_message_of(c, r));
    }
    table_print(&t, c->out);
}

static int run_status(struct cli *c, struct store *s)
{
    const char *form = cli_text(c, "output");
    json_t *all = store_shown(s, kind_of(c)), *one;
    int status = EXIT_OK;
    size_t i;

    if (c->arg_count) {
        json_t *found = json_array();

        json_array_foreach(all, i, one)
        {
            if (strcmp(site_text(one, "metadata.name"), c->args[0]) == 0)
                json_array_append(found, one);
        }
        json_decref(all);
        all = found;
    }
    if (c->failure) {
        status = c->failure;
    } else if (json_array_size(all) == 0 && c->arg_count) {
        cli_problem(c, "%s %s does not exist in namespace %s", word_of(c), c->args[0], s->ns);
        status = EXIT_INVALID;
    } else if (json_array_size(all) == 0) {
        cli_say(c, is_listener(c) ? "No listeners found" : "No connectors found");
    } else if (form[0]) {
        cli_print_list(c, all, form);
    } else if (c->arg_count) {
        print_one(c, json_array_get(all, 0));
    } else {
        print_table(c, all);
    }
    json_decref(all);
    return status;
}

const struct command cli_listener_commands[] = {
    {.name = "listener create",
     .args = "<name> <port>",
     .summary = "A local port at which a service of the network is reached",
     .args_min = 2,
     .args_max = 2,
     .flags = listener_create,
     .run_on = run_create},
    {.name = "listener status",
     .args = "[<name>]",
     .summary = "How the listeners are",
     .args_max = 1,
     .flags = status_flags,
     .run_on = run_status},
    {.name = "listener update",
     .args = "<name>",
     .summary = "Changes what is given of a listener",
     .args_min = 1,
     .args_max = 1,
     .flags = listener_update,
     .run_on = run_update},
    {.name = "listener delete",
     .args = "<name>",
     .summary = "Removes a listener",
     .args_min = 1,
     .args_max = 1,
     .flags = delete_flags,
     .run_on = run_delete},
    {.name = "listener generate",
     .args = "<name> <port>",
     .summary = "Prints the resource of a listener",
     .args_min = 2,
     .args_max = 2,
     .flags = listener_generate,
     .run = run_generate},
    {0},
};

const struct command cli_connector_commands[] = {
    {.name = "connector create",
     .args = "<name> <port>",
     .summary = "Offers a local server to the network",
     .args_min = 2,
     .args_max = 2,
     .flags = connector_create,
     .run_on = run_create},
    {.name = "connector status",
     .args = "[<name>]",
     .summary = "How the connectors are",
     .args_max = 1,
     .flags = status_flags,
     .run_on = run_status},
    {.name = "connector update",
     .args = "<name>",
     .summary = "Changes what is given of a connector",
     .args_min = 1,
     .args_max = 1,
     .flags = connector_update,
     .run_on = run_update},
    {.name = "connector delete",
     .args = "<name>",
     .summary = "Removes a connector",
     .args_min = 1,
     .args_max = 1,
     .flags = delete_flags,
     .run_on = run_delete},
    {.name = "connector generate",
     .args = "<name> <port>",
     .summary = "Prints the resource of a connector",
     .args_min = 2,
     .args_max = 2,
     .flags = connector_generate,
     .run = run_generate},
    {0},
};
