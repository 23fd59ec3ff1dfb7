// SPDX-License-Identifier: Apache-2.0
// skupper link doctor: what stands between this site and another one.
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/err.h"
#include "cli/inside.h"
#include "client/client.h"
#include "pki/pki.h"
#include "site/site.h"

const struct flag cli_doctor_flags[] = {
    {"token", 0, FLAG_TEXT, "", "file of a token or of links, instead of a link that is here", 0,
     NULL},
    {"timeout", 0, FLAG_DURATION, "5s", "how long each step may take", 0, NULL},
    {"output", 'o', FLAG_TEXT, "", "form", 0, "json|yaml"},
    {0},
};

struct credentials {
    char *ca, *cert, *key;
};

static void credentials_fini(struct credentials *k)
{
    free(k->ca);
    free(k->cert);
    pki_wipe(k->key);
}

static char *read_file(const struct store *s, const char *name, const char *file)
{
    char *path = host_path(&s->paths, "runtime/certs/%s-profile/%s", name, file), *text = NULL;
    size_t len = 0;

    if (host_read(path, &text, &len, NULL) < 0)
        text = NULL;
    free(path);
    return text;
}

static struct credentials of_secret(const json_t *secret)
{
    return (struct credentials){.ca = site_secret_get(secret, "ca.crt"),
                                .cert = site_secret_get(secret, "tls.crt"),
                                .key = site_secret_get(secret, "tls.key")};
}

// What the router uses; before it does, what it is going to.
static struct credentials of_link(const struct cli *c, struct store *s, const json_t *link)
{
    const char *name = site_text(link, "spec.tlsCredentials");
    struct credentials k = {0};
    json_t *secret;

    if (c->platform != ON_KUBERNETES)
        k = (struct credentials){.ca = read_file(s, name, "ca.crt"),
                                 .cert = read_file(s, name, "tls.crt"),
                                 .key = read_file(s, name, "tls.key")};
    if (k.ca)
        return k;
    credentials_fini(&k);
    secret = name[0] ? store_find(s, "Secret", name) : NULL;
    k = secret ? of_secret(secret) : (struct credentials){0};
    json_decref(secret);
    return k;
}

// What the Secret says that the link's proxy-configuration names.
struct proxy {
    char *host, *port, *username, *password;
};

static void proxy_fini(struct proxy *p)
{
    free(p->host);
    free(p->port);
    free(p->username);
    pki_wipe(p->password);
}

// False: the link is to go through a proxy of which nothing is known, which is a step that failed.
static bool find_proxy(struct store *s, const json_t *link, struct proxy *p,
                       struct host_checkup *checked, json_t *steps)
{
    const char *name = site_text(link, "spec.settings.proxy-configuration");
    json_t *secret = name[0] ? store_find(s, "Secret", name) : NULL;

    *p = (struct proxy){0};
    if (!name[0])
        return true;
    if (secret)
        *p = (struct proxy){.host = site_secret_get(secret, "host"),
                            .port = site_secret_get(secret, "port"),
                            .username = site_secret_get(secret, "username"),
                            .password = site_secret_get(secret, "password")};
    json_decref(secret);
    checked->proxy = (struct host_proxy){name, p->host, p->port, p->username, p->password};
    if (p->host && p->port)
        return true;
    json_array_append_new(
        steps,
        json_pack("{s:s, s:s, s:o, s:s}", "step", "proxy", "result", "failed", "message",
                  json_sprintf("the Secret \"%s\", which describes the HTTP proxy of this link, is "
                               "not there, or lacks host or port",
                               name),
                  "next",
                  "make it: host, port and, if the proxy asks for them, username and password"));
    return false;
}

// Appends {"link", "result", "steps"} to `reports`; takes the steps.
static void report(json_t *reports, const char *name, bool is_well, json_t *steps)
{
    json_array_append_new(reports, json_pack("{s:s, s:s, s:o}", "link", name, "result",
                                             is_well ? "ok" : "failed", "steps", steps));
}

static struct host_checkup checkup(struct cli *c, const struct credentials *k)
{
    return (struct host_checkup){.ca = k->ca,
                                 .cert = k->cert,
                                 .key = k->key,
                                 .timeout_ms = (uint32_t)cli_duration_ms(c, "timeout"),
                                 .now = time(NULL)};
}

static void add_step(json_t *steps, const char *result, const char *message, const char *next)
{
    json_array_append_new(steps, json_pack("{s:s, s:s, s:s, s:s*}", "step", "router", "result",
                                           result, "message", message, "next", next));
}

// The connector of that name, as the router tells it; NULL with words.
static json_t *ask_router(struct cli *c, const struct store *s, const char *pod, const char *name,
                          struct why *why)
{
    struct client_request r = {.operation = "READ", .type = "connector", .name = name};
    struct reach router;
    json_t *row = NULL;

    if (reach_pod(s, pod, (uint32_t)cli_duration_ms(c, "timeout"), &router, why) == 0)
        (void)client_line_ask(router.line, &r, &row, why); // else there are words
    reach_end(&router);
    return row;
}

// How the link is doing where it begins: the router in its pod makes the same steps, and tells
// which of them failed there.
static bool examine_in_pod(struct cli *c, const struct store *s, const char *name, json_t *steps)
{
    json_t *pods = reach_pods(s), *row = NULL;
    struct why why = {"no router of the site runs in a pod"};
    const char *pod = site_text(json_array_get(pods, 0), "metadata.name"), *said;
    bool is_up;

    if (pod[0])
        row = ask_router(c, s, pod, name, &why);
    said = site_text(row, "connectionMsg");
    is_up = strcmp(site_text(row, "connectionStatus"), "SUCCESS") == 0;
    if (!row)
        add_step(steps, "skipped", why.text,
                 "the steps below are taken from this machine alone; docs/kubernetes.md says which "
                 "right is needed to ask the router");
    else if (is_up)
        add_step(steps, "ok", "the router in its pod is connected", NULL);
    else
        add_step(steps, "failed", said[0] ? said : "the router in its pod is about to connect",
                 "this is what the router meets from within its pod; a step below that is ok from "
                 "here is something that is in the way there: a NetworkPolicy, the DNS of the "
                 "cluster, an egress rule");
    json_decref(row);
    json_decref(pods);
    return !row || is_up;
}

// `is_here`: the router has it, or will.
static void examine_link(struct cli *c, struct store *s, const json_t *link, bool is_here,
                         const char *role, const struct credentials *k, json_t *reports)
{
    struct host_checkup checked = checkup(c, k);
    struct proxy proxy;
    const json_t *endpoints = site_get(link, "spec.endpoints");
    json_t *steps = json_array(), *one;
    bool is_well = host_check_credentials(&checked, steps);
    bool has_way = find_proxy(s, link, &proxy, &checked, steps);
    size_t i, count = 0;

    if (is_here && c->platform == ON_KUBERNETES)
        is_well &= examine_in_pod(c, s, site_text(link, "metadata.name"), steps);
    is_well &= has_way;
    checked.role = role;
    json_array_foreach((json_t *)(uintptr_t)endpoints, i, one)
    {
        char port[16];

        if (!has_way || strcmp(site_text(one, "name"), role) != 0)
            continue;
        snprintf(port, sizeof(port), "%" JSON_INTEGER_FORMAT,
                 json_integer_value(json_object_get(one, "port")));
        checked.host = site_text(one, "host");
        checked.port =
            json_is_integer(json_object_get(one, "port")) ? port : site_text(one, "port");
        is_well &= host_check_way(&checked, steps);
        count++;
    }
    if (has_way && count == 0) {
        is_well = false;
        json_array_append_new(
            steps,
            json_pack("{s:s, s:s, s:s, s:s}", "step", "endpoint", "result", "failed", "message",
                      "the link says no place to go to for a site of this mode", "next",
                      "an interior site needs an endpoint called inter-router, an "
                      "edge site one called edge: issue a new token there"));
    }
    report(reports, site_text(link, "metadata.name"), is_well, steps);
    proxy_fini(&proxy);
}

// https://host:port/path taken apart in place; false when it is none.
static bool cut_url(char *url, char **host, char **port)
{
    char *end, *colon;

    if (strncmp(url, "https://", 8) != 0)
        return false;
    *host = url + 8;
    (*host)[strcspn(*host, "/")] = '\0';
    end = **host == '[' ? strchr(*host, ']') : NULL;
    if (end) {
        *end = '\0';
        (*host)++;
    }
    colon = strchr(end ? end + 1 : *host, ':');
    if (colon)
        *colon = '\0';
    *port = colon ? colon + 1 : (char *)(uintptr_t) "443";
    return (*host)[0] != '\0';
}

static int examine_grant(struct cli *c, const struct site_token *t, json_t *reports)
{
    struct credentials k = {.ca = t->ca};
    struct host_checkup checked = checkup(c, &k);
    char *url = str_dup(str_of(t->url)), *host, *port;
    json_t *steps = json_array();
    bool is_well;

    if (!cut_url(url, &host, &port)) {
        cli_problem(c, "the URL of the token, \"%s\", is not valid: it must begin with https://",
                    t->url);
        json_decref(steps);
        free(url);
        return EXIT_INVALID;
    }
    checked.role = "grant";
    checked.host = host;
    checked.port = port;
    is_well = host_check_credentials(&checked, steps);
    is_well &= host_check_way(&checked, steps);
    report(reports, t->name, is_well, steps);
    free(url);
    return EXIT_OK;
}

static int examine_token(struct cli *c, struct store *s, const char *role, json_t *reports)
{
    const char *file = cli_text(c, "token");
    struct site_token token;
    struct why why = {""};
    char *text = NULL;
    size_t len = 0, i;
    json_t *link;
    int status = EXIT_OK;

    if (host_read(file, &text, &len, &why) < 0 ||
        site_token_read(file, (struct str){text, len}, &token, &why) < 0) {
        pki_wipe(text);
        cli_problem(c, "%s", why.text);
        return EXIT_INVALID;
    }
    pki_wipe(text);
    if (token.kind == SITE_TOKEN_LINKS) {
        struct credentials k =
            token.links.secret ? of_secret(token.links.secret) : (struct credentials){0};

        json_array_foreach(token.links.links, i, link)
            examine_link(c, s, link, false, role, &k, reports);
        credentials_fini(&k);
    } else {
        status = examine_grant(c, &token, reports);
    }
    site_token_fini(&token);
    return status;
}

static int examine_links(struct cli *c, struct store *s, const char *role, json_t *reports)
{
    json_t *links = store_list(s, STORE_INPUT, "Link"), *link;
    const char *name = c->arg_count ? c->args[0] : NULL;
    size_t i;

    json_array_foreach(links, i, link)
    {
        struct credentials k;

        if (name && strcmp(site_text(link, "metadata.name"), name) != 0)
            continue;
        k = of_link(c, s, link);
        examine_link(c, s, link, true, role, &k, reports);
        credentials_fini(&k);
    }
    json_decref(links);
    if (!name || json_array_size(reports))
        return EXIT_OK;
    cli_problem(c, "there is no link \"%s\" in the namespace \"%s\"", name, s->ns);
    return EXIT_INVALID;
}

static void print_steps(struct cli *c, const json_t *steps, size_t *failed)
{
    const char *endpoint = "", *address = "";
    json_t *step;
    size_t i;

    json_array_foreach((json_t *)(uintptr_t)steps, i, step)
    {
        bool is_ill = strcmp(site_text(step, "result"), "failed") == 0;

        if (strcmp(endpoint, site_text(step, "endpoint")) != 0)
            cli_say(c, "  to %s", endpoint = site_text(step, "endpoint"));
        if (strcmp(address, site_text(step, "address")) != 0) {
            address = site_text(step, "address");
            if (address[0])
                cli_say(c, "  at %s", address);
        }
        cli_say(c, "    %-11s  %-6s  %s", site_text(step, "step"), site_text(step, "result"),
                site_text(step, "message"));
        if (site_text(step, "next")[0])
            cli_say(c, "    %-11s  next    %s", "", site_text(step, "next"));
        *failed += is_ill;
    }
}

static int tell(struct cli *c, const json_t *reports)
{
    const char *form = cli_text(c, "output");
    bool is_well = true;
    json_t *one;
    size_t i, failed = 0;

    json_array_foreach((json_t *)(uintptr_t)reports, i, one)
    {
        is_well &= strcmp(site_text(one, "result"), "ok") == 0;
        if (form[0])
            continue;
        cli_say(c, "Link \"%s\"", site_text(one, "link"));
        print_steps(c, json_object_get(one, "steps"), &failed);
    }
    if (form[0])
        cli_print_list(c, reports, form);
    else if (json_array_size(reports) == 0)
        cli_say(c, "There are no link resources in the namespace");
    else if (is_well)
        cli_say(c, "All is well.");
    else
        cli_say(c, "%zu step%s failed.", failed, failed == 1 ? "" : "s");
    return is_well ? EXIT_OK : EXIT_FAILED;
}

int cli_run_doctor(struct cli *c, struct store *s)
{
    json_t *site = store_site(s), *reports = json_array();
    const char *role = json_is_true(site_get(site, "spec.edge")) ? "edge" : "inter-router";
    int status = EXIT_OK;

    if (cli_text(c, "token")[0] && c->arg_count) {
        cli_problem(c, "give the name of a link or --token, not both");
        status = EXIT_INVALID;
    } else if (cli_text(c, "token")[0]) {
        status = examine_token(c, s, role, reports);
    } else {
        status = examine_links(c, s, role, reports);
    }
    if (status == EXIT_OK)
        status = tell(c, reports);
    json_decref(site);
    json_decref(reports);
    return status;
}
