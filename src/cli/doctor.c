// SPDX-License-Identifier: Apache-2.0
// skupper link doctor: what stands between this site and another one.
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/err.h"
#include "cli/inside.h"
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

// The way to each endpoint of the link for a site of this mode. False: a step failed.
static bool examine_endpoints(const json_t *link, struct host_checkup *c, json_t *steps)
{
    const json_t *endpoints = site_get(link, "spec.endpoints");
    bool is_well = true;
    size_t i, count = 0;
    json_t *one;

    json_array_foreach((json_t *)(uintptr_t)endpoints, i, one)
    {
        char port[16];

        if (strcmp(site_text(one, "name"), c->role) != 0)
            continue;
        snprintf(port, sizeof(port), "%" JSON_INTEGER_FORMAT,
                 json_integer_value(json_object_get(one, "port")));
        c->host = site_text(one, "host");
        c->port = json_is_integer(json_object_get(one, "port")) ? port : site_text(one, "port");
        is_well &= host_check_way(c, steps);
        count++;
    }
    if (count > 0)
        return is_well;
    json_array_append_new(
        steps, json_pack("{s:s, s:s, s:s, s:s}", "step", "endpoint", "result", "failed", "message",
                         "the link says no place to go to for a site of this mode", "next",
                         "an interior site needs an endpoint called inter-router, an "
                         "edge site one called edge: issue a new token there"));
    return false;
}

static bool examine_from_here(struct cli *c, struct store *s, const json_t *link, const char *role,
                              const struct credentials *k, json_t *steps)
{
    struct host_checkup checked = checkup(c, k);
    struct proxy proxy;
    bool is_well = host_check_credentials(&checked, steps);

    checked.role = role;
    is_well &=
        find_proxy(s, link, &proxy, &checked, steps) && examine_endpoints(link, &checked, steps);
    proxy_fini(&proxy);
    return is_well;
}

// What is in the way of a router in a pod is seen there; this machine is elsewhere, and tells for
// want of something better.
static void examine_link(struct cli *c, struct store *s, const json_t *link, const char *role,
                         json_t *reports)
{
    const char *name = site_text(link, "metadata.name");
    json_t *steps = json_array();
    bool is_told = false, is_well = true;

    if (c->platform == ON_KUBERNETES)
        is_well = doctor_ask_pods(c, s, name, steps, &is_told);
    if (!is_told) {
        struct credentials k = of_link(c, s, link);

        is_well &= examine_from_here(c, s, link, role, &k, steps);
        credentials_fini(&k);
    }
    report(reports, name, is_well, steps);
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
    json_t *link;
    size_t i;
    int status = EXIT_OK;

    if (!cli_read_token(c, file, &token))
        return EXIT_INVALID;
    if (token.kind == SITE_TOKEN_LINKS) {
        struct credentials k =
            token.links.secret ? of_secret(token.links.secret) : (struct credentials){0};

        json_array_foreach(token.links.links, i, link)
        {
            json_t *steps = json_array();
            bool is_well = examine_from_here(c, s, link, role, &k, steps);

            report(reports, site_text(link, "metadata.name"), is_well, steps);
        }
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
        if (!name || strcmp(site_text(link, "metadata.name"), name) == 0)
            examine_link(c, s, link, role, reports);
    }
    json_decref(links);
    if (!name || json_array_size(reports))
        return EXIT_OK;
    cli_problem(c, "there is no link \"%s\" in the namespace \"%s\"", name, s->ns);
    return EXIT_INVALID;
}

static void print_steps(struct cli *c, const json_t *steps, size_t *failed)
{
    const char *pod = "", *endpoint = "", *address = "";
    json_t *step;
    size_t i;

    json_array_foreach((json_t *)(uintptr_t)steps, i, step)
    {
        bool is_ill = strcmp(site_text(step, "result"), "failed") == 0;

        if (strcmp(pod, site_text(step, "pod")) != 0) {
            pod = site_text(step, "pod");
            endpoint = address = "";
            cli_say(c, pod[0] ? "  in the pod %s" : "  from this machine", pod);
        }
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
