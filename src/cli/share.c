// SPDX-License-Identifier: Apache-2.0
// expose and unexpose in a cluster, as in version 1: a definition in the ConfigMap
// skupper-services, which the controller makes into a Service here, and the agent tells to all
// other sites.
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/yaml.h"
#include "cli/inside.h"
#include "site/site.h"

enum { ADDRESS_MAX = 63 };

struct share {
    struct cli *cli;
    struct store *store;
    char *kind;          // "deployment", "host"
    const char *name;    // "backend"
    const char *address; // under which it is known
    json_t *map;         // the ConfigMap
    json_t *ports;       // [8080]
    json_t *target;      // {"name", "selector" or "service", "targetPorts", "namespace"}
};

static void share_fini(struct share *e)
{
    json_decref(e->map);
    json_decref(e->ports);
    json_decref(e->target);
    free(e->kind);
}

static bool is_host(const struct share *e)
{
    return strcmp(e->kind, "host") == 0;
}

// "deployment/backend", the caller's.
static char *workload_of(const struct share *e)
{
    return str_fmt("%s/%s", e->kind, e->name);
}

// It becomes the name of a Service.
static void check_address(struct cli *c, const char *address)
{
    if (!site_is_namespace(str_of(address)) || !islower((unsigned char)address[0]) ||
        strlen(address) > ADDRESS_MAX)
        cli_problem(c,
                    "address is not valid: \"%s\" is no name for a Service, of at most %d a-z, 0-9 "
                    "and hyphens, begun by a letter: give one with --address",
                    address, ADDRESS_MAX);
}

// "deployment backend" or "deployment/backend".
static void read_words(struct share *e)
{
    struct cli *c = e->cli;
    const char *slash = strchr(c->args[0], '/');
    char *workload;

    e->kind = str_dup((struct str){c->args[0], strcspn(c->args[0], "/")});
    e->name = c->arg_count > 1 ? c->args[1] : slash ? slash + 1 : "";
    e->address = cli_text(c, "address")[0] ? cli_text(c, "address") : e->name;
    workload = workload_of(e);
    if (is_host(e) && !site_is_host(str_of(e->name)))
        cli_problem(c, "host is not valid: \"%s\" is neither an IP address nor a host name",
                    e->name);
    else if (is_host(e) || cli_check_workload(c, workload))
        check_address(c, e->address);
    free(workload);
}

static void read_port(struct cli *c, const char *flag, int64_t *port)
{
    const char *text = cli_text(c, flag);

    if (text[0] && !site_number(str_of(text), 1, 65535, port))
        cli_problem(c, "%s is not valid: \"%s\" is no number from 1 to 65535", flag, text);
}

static void add_port(struct share *e, int64_t port, int64_t target)
{
    char *key = str_fmt("%lld", (long long)port);

    json_array_append_new(e->ports, json_integer(port));
    json_object_set_new(json_object_get(e->target, "targetPorts"), key, json_integer(target));
    free(key);
}

// Those of a Service, or of the first container of pods that tells some.
static void add_own_ports(struct share *e, const json_t *workload)
{
    const json_t *ports = site_get(workload, "spec.ports"), *one;
    const json_t *containers = site_get(workload, "spec.template.spec.containers");
    bool has_service = json_object_get(e->target, "service") != NULL;
    size_t i;

    for (i = 0; !ports && i < json_array_size(containers); i++)
        ports = json_object_get(json_array_get(containers, i), "ports");
    json_array_foreach((json_t *)(uintptr_t)ports, i, one)
    {
        json_int_t port = json_integer_value(json_object_get(one, "port"));
        const json_t *target = json_object_get(one, "targetPort");

        if (!port)
            port = json_integer_value(json_object_get(one, "containerPort"));
        if (json_is_string(target) && !has_service)
            cli_problem(e->cli,
                        "the port %lld of the service \"%s\" leads to a port that has a name: say "
                        "which with --port and --target-port",
                        (long long)port, e->name);
        add_port(e, port,
                 json_is_integer(target) && !has_service ? json_integer_value(target) : port);
    }
}

// A Service that keeps its name is asked for its pods, as it will lead to the router; any other
// workload too. One under another name is spoken to itself.
static void find_target(struct share *e, json_t **workload)
{
    struct cli *c = e->cli;
    char *text = workload_of(e), *selector;
    bool is_service;

    *workload = is_host(e) ? NULL : cli_workload(e->store, text);
    is_service = strcmp(site_text(*workload, "kind"), "Service") == 0;
    e->target =
        json_pack("{s:s, s:{}, s:s}", "name", e->name, "targetPorts", "namespace", e->store->ns);
    if (is_host(e) || (is_service && strcmp(e->name, e->address) != 0)) {
        json_object_set_new(e->target, "service", json_string(e->name));
    } else {
        selector = cli_workload_selector(c, e->store, text);
        if (selector)
            json_object_set_new(e->target, "selector", json_string(selector));
        free(selector);
    }
    free(text);
}

static void look_at(struct share *e)
{
    struct cli *c = e->cli;
    int64_t port = 0, target_port = 0;
    json_t *workload;

    read_port(c, "port", &port);
    read_port(c, "target-port", &target_port);
    if (c->problem_count)
        return;
    e->ports = json_array();
    find_target(e, &workload);
    if (port || target_port)
        add_port(e, port ? port : target_port, target_port ? target_port : port);
    else
        add_own_ports(e, workload);
    if (cli_verdict(c) == EXIT_OK && json_array_size(e->ports) == 0)
        cli_problem(c, "the port is needed: %s \"%s\" tells none; say which with --port", e->kind,
                    e->name);
    json_decref(workload);
}

// --------------------------------------------------------------------------------------
// definitions

// EXIT_OK with the ConfigMap; else the reason is told.
static int find_map(struct share *e)
{
    struct cli *c = e->cli;
    int status = cli_check_enabled(c, e->store);

    if (status != EXIT_OK)
        return status;
    e->map = store_find(e->store, "ConfigMap", "skupper-services");
    if (!e->map && !c->failure)
        return cli_fail(c,
                        "There is no ConfigMap skupper-services in the namespace %s, which the "
                        "controller makes for a site: \"skupper site status\" tells how it is. "
                        "Without one: skupper connector create, skupper listener create",
                        e->store->ns);
    if (e->map && !json_object_get(e->map, "data"))
        json_object_set_new(e->map, "data", json_object());
    return c->failure;
}

// That of an address, a new reference; NULL: none.
static json_t *definition_of(const struct share *e, const char *address)
{
    const json_t *text = json_object_get(json_object_get(e->map, "data"), address);

    return text ? json_loads(json_string_value(text) ? json_string_value(text) : "", 0, NULL)
                : NULL;
}

static void keep(struct share *e, const char *address, const json_t *definition)
{
    char *text = json_text(definition, JSON_COMPACT);

    json_object_set_new(json_object_get(e->map, "data"), address, json_string(text));
    free(text);
}

static bool is_annotated(const json_t *definition)
{
    return strcmp(site_text(definition, "origin"), "annotation") == 0;
}

// The targets without the one of that name; *is_there: there was one.
static json_t *other_targets(const json_t *definition, const char *name, bool *is_there)
{
    json_t *out = json_array(), *one;
    size_t i;

    *is_there = false;
    json_array_foreach(json_object_get(definition, "targets"), i, one)
    {
        if (strcmp(site_text(one, "name"), name) == 0)
            *is_there = true;
        else
            json_array_append(out, one);
    }
    return out;
}

// What it is to be: of this site alone, or one more target of what it is already.
static json_t *defined(struct share *e, const char *protocol)
{
    json_t *old = definition_of(e, e->address), *targets;
    bool is_local = old && !site_text(old, "origin")[0], is_there;

    if (old && is_annotated(old))
        cli_problem(e->cli,
                    "the address \"%s\" is exposed by an annotation (skupper.io/proxy) already, "
                    "which is left as it is: choose another --address",
                    e->address);
    targets = is_local ? other_targets(old, e->name, &is_there) : json_array();
    if (json_array_size(targets) > 0 && (strcmp(site_text(old, "protocol"), protocol) != 0 ||
                                         !json_equal(json_object_get(old, "ports"), e->ports)))
        cli_problem(e->cli,
                    "the address \"%s\" has other targets already, with another protocol or other "
                    "ports: take the same, or another --address",
                    e->address);
    json_array_append(targets, e->target);
    json_decref(old);
    return json_pack("{s:s, s:s, s:O, s:s, s:o}", "address", e->address, "protocol", protocol,
                     "ports", e->ports, "exposeIngress", "", "targets", targets);
}

int cli_share(struct cli *c, struct store *s)
{
    struct share e = {.cli = c, .store = s};
    struct why why = {""};
    json_t *definition;
    int status = find_map(&e);

    if (status == EXIT_OK)
        read_words(&e);
    if (status == EXIT_OK && !c->problem_count)
        look_at(&e);
    status = status == EXIT_OK ? cli_verdict(c) : status;
    if (status == EXIT_OK) {
        definition = defined(&e, cli_text(c, "protocol"));
        keep(&e, e.address, definition);
        json_decref(definition);
        status = cli_verdict(c);
    }
    if (status == EXIT_OK && store_put(s, e.map, &why) < 0)
        status = cli_fail(c, "%s", why.text);
    if (status == EXIT_OK)
        cli_say(c, "%s %s exposed as %s", e.kind, e.name, e.address);
    share_fini(&e);
    return status;
}

// Takes the target out of one definition. True: it was there.
static bool take_out(struct share *e, const char *address)
{
    json_t *definition = definition_of(e, address), *targets;
    bool is_there;

    if (!definition || (site_text(definition, "origin")[0] && !is_annotated(definition))) {
        json_decref(definition);
        return false;
    }
    targets = other_targets(definition, e->name, &is_there);
    if (is_there && is_annotated(definition)) {
        cli_problem(e->cli,
                    "%s %s is exposed as %s by its annotation skupper.io/proxy: remove that, with "
                    "\"kubectl annotate %s %s skupper.io/proxy-\"",
                    e->kind, e->name, address, e->kind, e->name);
    } else if (is_there && json_array_size(targets) == 0) {
        json_object_del(json_object_get(e->map, "data"), address);
    } else if (is_there) {
        json_object_set(definition, "targets", targets);
        keep(e, address, definition);
    }
    json_decref(targets);
    json_decref(definition);
    return is_there;
}

static bool take_out_all(struct share *e)
{
    const char *asked = cli_text(e->cli, "address"), *address;
    json_t *text;
    void *next;
    bool is_there = false;

    json_object_foreach_safe(json_object_get(e->map, "data"), next, address, text)
    {
        if (!asked[0] || strcmp(asked, address) == 0)
            is_there |= take_out(e, address);
    }
    return is_there;
}

int cli_unshare(struct cli *c, struct store *s)
{
    struct share e = {.cli = c, .store = s};
    struct why why = {""};
    int status = find_map(&e);

    if (status == EXIT_OK)
        read_words(&e);
    if (status == EXIT_OK && !c->problem_count && !take_out_all(&e))
        cli_problem(c, "%s %s is not exposed%s%s in the namespace %s", e.kind, e.name,
                    cli_text(c, "address")[0] ? " as " : "", cli_text(c, "address"), s->ns);
    status = status == EXIT_OK ? cli_verdict(c) : status;
    if (status == EXIT_OK && store_put(s, e.map, &why) < 0)
        status = cli_fail(c, "%s", why.text);
    if (status == EXIT_OK)
        cli_say(c, "%s %s unexposed", e.kind, e.name);
    share_fini(&e);
    return status;
}

// -------------------------------------------------------------------------------------------
// status

int cli_check_enabled(struct cli *c, const struct store *s)
{
    json_t *site = store_site(s);
    bool is = site != NULL;

    json_decref(site);
    if (!is && !c->failure)
        return cli_fail(c, "Skupper is not enabled in namespace '%s': \"skupper init\" enables it",
                        s->ns);
    return c->failure;
}
