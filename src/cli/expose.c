// SPDX-License-Identifier: Apache-2.0
// Short verbs that users of the first version know: init, expose, service and network status.
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "cli/inside.h"
#include "site/site.h"

enum { NETWORK_MS = 5000 }; // so long a router that was just started may be silent

static const struct flag expose_flags[] = {
    {"address", 0, FLAG_TEXT, "", "name under which the other sites know it", 0, NULL},
    {"port", 0, FLAG_TEXT, "", "port under which they do (default: the server's)", 0, NULL},
    {"target-port", 0, FLAG_TEXT, "", "port of the server (default: --port)", 0, NULL},
    {"protocol", 0, FLAG_TEXT, "tcp", "what is spoken", 0, "tcp|http|http2"},
    {0},
};
static const struct flag unexpose_flags[] = {
    {"address", 0, FLAG_TEXT, "", "the name it was exposed under", 0, NULL},
    {0},
};
static const struct flag output_flags[] = {
    {"output", 'o', FLAG_TEXT, "", "form", 0, "json|yaml"},
    {0},
};

// ----------------------------------------------------------------------------------------- expose

struct exposed {
    char *host, *name; // of the Connector
    const char *address;
    int64_t port, target_port;
};

static void exposed_fini(struct exposed *e)
{
    free(e->host);
    free(e->name);
}

// "localhost:5432", "[::1]:5432", "localhost".
static void split_host(struct cli *c, const char *text, struct exposed *e)
{
    const char *colon = strrchr(text, ':');
    bool is_bracketed = text[0] == '[' && strchr(text, ']');
    bool has_port = colon && (is_bracketed ? colon[-1] == ']' : strchr(text, ':') == colon);
    struct str host = {text, has_port ? (size_t)(colon - text) : strlen(text)};

    if (is_bracketed)
        host = (struct str){text + 1, (size_t)(strchr(text, ']') - text - 1)};
    e->host = str_dup(host);
    if (!site_is_host(host))
        cli_problem(c, "host is not valid: \"%s\" is neither an IP address nor a host name",
                    e->host);
    if (has_port && !site_number(str_of(colon + 1), 1, 65535, &e->target_port))
        cli_problem(c, "port is not valid: \"%s\" is no number from 1 to 65535", colon + 1);
}

static void read_port(struct cli *c, const char *flag, int64_t *port)
{
    const char *text = cli_text(c, flag);

    if (text[0] && !site_number(str_of(text), 1, 65535, port))
        cli_problem(c, "%s is not valid: \"%s\" is no number from 1 to 65535", flag, text);
}

static bool read_target(struct cli *c, struct exposed *e)
{
    *e = (struct exposed){.address = cli_text(c, "address")};
    if (strcmp(c->args[0], "host") != 0 || c->arg_count < 2) {
        cli_problem(
            c,
            "on this platform only \"host\" can be exposed: skupper %s host <host>[:<port>] "
            "--address <name>",
            c->command->name);
        return false;
    }
    split_host(c, c->args[1], e);
    if (!e->address[0])
        cli_problem(c, "--address is needed: the name under which the other sites know it");
    else
        cli_check_name(c, "address", e->address);
    e->name = str_dup(str_of(e->address));
    return c->problem_count == 0;
}

static json_t *connector_of(const struct cli *c, const struct store *s, const struct exposed *e)
{
    json_t *connector = store_new(s, "Connector", e->name), *spec, *annotations;

    spec = json_object_get(connector, "spec");
    json_object_set_new(spec, "routingKey", json_string(e->address));
    json_object_set_new(spec, "host", json_string(e->host));
    json_object_set_new(spec, "port", json_integer(e->target_port));
    annotations = json_pack("{s:s, s:s}", "skupper.io/proxy", cli_text(c, "protocol"),
                            "skupper.io/address", e->address);
    json_object_set_new(annotations, "skupper.io/port", json_sprintf("%lld", (long long)e->port));
    json_object_set_new(json_object_get(connector, "metadata"), "annotations", annotations);
    return connector;
}

static int run_expose(struct cli *c, struct store *s)
{
    struct exposed e;
    struct why why = {""};
    json_t *connector;
    int status;

    if (c->platform == ON_KUBERNETES)
        return cli_share(c, s);
    read_target(c, &e);
    read_port(c, "port", &e.port);
    read_port(c, "target-port", &e.target_port);
    if (!e.target_port)
        e.target_port = e.port;
    if (!e.port)
        e.port = e.target_port;
    if (!c->problem_count && !e.port)
        cli_problem(c, "the port is needed: %s:<port>, or --port", e.host);
    status = c->problem_count ? EXIT_INVALID : EXIT_OK;
    if (status == EXIT_OK) {
        connector = connector_of(c, s, &e);
        if (store_put(s, connector, &why) < 0)
            status = cli_fail(c, "%s", why.text);
        else
            cli_say(c, "host %s exposed as %s", e.host, e.address);
        json_decref(connector);
    }
    exposed_fini(&e);
    return status;
}

static int run_unexpose(struct cli *c, struct store *s)
{
    struct exposed e;
    struct why why = {""};
    int status, err;

    if (c->platform == ON_KUBERNETES)
        return cli_unshare(c, s);
    read_target(c, &e);
    status = c->problem_count ? EXIT_INVALID : EXIT_OK;
    if (status == EXIT_OK) {
        err = store_remove(s, "Connector", e.name, &why);
        if (err == ERR_NOT_FOUND) {
            cli_problem(c, "nothing is exposed as %s in the namespace %s", e.address, s->ns);
            status = EXIT_INVALID;
        } else if (err < 0) {
            status = cli_fail(c, "%s", why.text);
        } else {
            cli_say(c, "host %s unexposed", e.host);
        }
    }
    exposed_fini(&e);
    return status;
}

// ------------------------------------------------------------------------------------------- trees

json_t *cli_told(const struct store *s, const char *file)
{
    char *path = host_path(&s->paths, "%s", file), *text = NULL;
    size_t len = 0;
    json_t *value = NULL;

    if (host_read(path, &text, &len, NULL) == 0)
        value = json_loadb(text, len, 0, NULL);
    free(text);
    free(path);
    return value;
}

static const char *branch(size_t i, size_t count)
{
    return i + 1 == count ? "╰─" : "├─";
}

static int run_service_status(struct cli *c, struct store *s)
{
    json_t *services = cli_services(s), *one;
    const char *form = cli_text(c, "output");
    int status = cli_verdict(c);
    size_t i;

    if (status != EXIT_OK) {
        json_decref(services);
        return status;
    }
    if (form[0] && services) {
        cli_print(c, services, form);
    } else if (json_array_size(services) == 0) {
        cli_say(c, "No services defined");
    } else {
        cli_say(c, "Services exposed through Skupper:");
        json_array_foreach(services, i, one)
        {
            const char *message = site_text(one, "message"), *state = site_text(one, "state");
            bool is_plain = strcmp(state, "shared") == 0 || strcmp(state, "own") == 0;

            cli_say(c, "%s %s:%lld (tcp)%s%s%s%s", branch(i, json_array_size(services)),
                    site_text(one, "address"),
                    (long long)json_integer_value(json_object_get(one, "port")),
                    is_plain ? "" : " ", is_plain ? "" : state, message[0] ? ": " : "", message);
        }
    }
    json_decref(services);
    return EXIT_OK;
}

static const char *site_name_of(const json_t *site)
{
    return site_text(site, "site.name");
}

// The site that holds the router access of that id.
static const char *peer_name(const json_t *sites, const char *access)
{
    size_t i, k, j;
    json_t *site, *router, *one;

    json_array_foreach((json_t *)(uintptr_t)sites, i, site)
    {
        json_array_foreach(json_object_get(site, "routerStatus"), k, router)
        {
            json_array_foreach(json_object_get(router, "routerAccess"), j, one)
            {
                if (strcmp(site_text(one, "identity"), access) == 0)
                    return site_name_of(site);
            }
        }
    }
    return "";
}

static void print_entities(struct cli *c, const json_t *router, const json_t *sites,
                           const char *indent)
{
    size_t i;
    json_t *one;

    json_array_foreach(json_object_get(router, "links"), i, one)
    {
        const char *peer = peer_name(sites, site_text(one, "peer"));

        if (site_text(one, "name")[0])
            cli_say(c, "%slink %s%s%s (%s, cost %lld)", indent, site_text(one, "name"),
                    peer[0] ? " to " : "", peer, site_text(one, "status"),
                    (long long)json_integer_value(json_object_get(one, "linkCost")));
    }
    json_array_foreach(json_object_get(router, "connectors"), i, one)
        cli_say(c, "%soffers %s (%s:%s)", indent, site_text(one, "address"),
                site_text(one, "destHost"), site_text(one, "destPort"));
    json_array_foreach(json_object_get(router, "listeners"), i, one)
        cli_say(c, "%suses %s (%s:%s)", indent, site_text(one, "address"),
                site_text(one, "destHost"), site_text(one, "destPort"));
}

static void print_network(struct cli *c, const json_t *network, const char *own)
{
    const json_t *sites = json_object_get(network, "siteStatus");
    size_t i, k, count = json_array_size(sites);
    json_t *site, *router;

    cli_say(c, "Sites:");
    json_array_foreach((json_t *)(uintptr_t)sites, i, site)
    {
        const char *id = site_text(site, "site.identity");
        bool is_last = i + 1 == count;

        cli_say(c, "%s %s %s (%s, %s %s)%s", branch(i, count), site_name_of(site),
                site_text(site, "site.namespace"), id, site_text(site, "site.platform"),
                site_text(site, "site.siteVersion"), strcmp(id, own) == 0 ? " [local]" : "");
        json_array_foreach(json_object_get(site, "routerStatus"), k, router)
            print_entities(c, router, sites, is_last ? "     " : "│    ");
    }
}

// A site that has just been started hears of the network a moment later.
static json_t *await_network(struct store *s)
{
    struct mono until = mono_add_ms(mono_now(), NETWORK_MS);
    char *directory;
    json_t *network = cli_network(s);

    if (s->cli->platform == ON_KUBERNETES)
        return network;
    directory = host_path(&s->paths, "runtime/resources");

    while (!network && store_is_running(s) && host_await_change(directory, until))
        network = cli_network(s);
    free(directory);
    return network;
}

// How this site is called in the network; the caller's.
static char *own_id(const struct store *s)
{
    bool in_cluster = s->cli->platform == ON_KUBERNETES;
    json_t *state = in_cluster ? store_site(s) : cli_told(s, "internal/state.json");
    char *id = str_dup(str_of(site_text(state, in_cluster ? "metadata.uid" : "siteId")));

    json_decref(state);
    return id;
}

// Why nothing is told of the network.
static int tell_silence(struct cli *c, const struct store *s)
{
    int status;

    if (c->platform == ON_KUBERNETES) {
        status = c->failure ? c->failure : cli_check_enabled(c, s);
        if (status != EXIT_OK)
            return status;
    }
    if (c->platform == ON_KUBERNETES || store_is_running(s))
        return cli_fail(c,
                        "The site in namespace '%s' has not heard of the network yet: its router "
                        "does not answer, see \"skupper site status\"",
                        s->ns);
    return cli_fail(
        c, "Skupper is not running in namespace '%s': \"skupper system start\" starts it", s->ns);
}

static int run_network_status(struct cli *c, struct store *s)
{
    json_t *network = await_network(s);
    char *own = own_id(s);
    const char *form = cli_text(c, "output");
    int status = EXIT_OK;

    if (!network)
        status = tell_silence(c, s);
    else if (form[0])
        cli_print_whole(c, network, form); // the lists are there, be they empty
    else
        print_network(c, network, own);
    json_decref(network);
    free(own);
    return status;
}

const struct command cli_expose_commands[] = {
    {.name = "expose",
     .args = "<kind> <name>",
     .summary = "Offers a local server to all sites of the network",
     .more =
         "On a host: host <host>[:<port>]. In Kubernetes: deployment, statefulset, daemonset or "
         "service with its name (also as deployment/backend), or host; a Service with the "
         "address as its name appears in every linked namespace.",
     .args_min = 1,
     .args_max = 2,
     .flags = expose_flags,
     .run_on = run_expose},
    {.name = "unexpose",
     .args = "<kind> <name>",
     .summary = "Takes it back",
     .args_min = 1,
     .args_max = 2,
     .flags = unexpose_flags,
     .run_on = run_unexpose},
    {.name = "service status",
     .args = "",
     .summary = "The services that sites share",
     .flags = output_flags,
     .run_on = run_service_status},
    {.name = "network status",
     .args = "",
     .summary = "The whole network: sites, links, who offers and who uses what",
     .flags = output_flags,
     .run_on = run_network_status},
    {0},
};
