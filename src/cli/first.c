// SPDX-License-Identifier: Apache-2.0
// Commands of the first version that have become others: their words are kept for those who have
// them in their fingers, and in scripts.
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/inside.h"
#include "site/site.h"

static const struct flag init_flags[] = {
    {"site-name", 0, FLAG_TEXT, "", "name of the site (default: the host's, or the namespace's)", 0,
     NULL},
    {"ingress", 0, FLAG_TEXT, "external", "whether other sites can link to this one", ON_HOSTS,
     "external|none"},
    {"ingress", 0, FLAG_TEXT, "default", "how other sites can link to this one", ON_KUBERNETES,
     "default|route|loadbalancer|nodeport|ingress|nginx-ingress-v1|contour-http-proxy|gateway|"
     "local|none"},
    {"router-mode", 0, FLAG_TEXT, "interior", "an edge site has one way out", 0, "interior|edge"},
    {"enable-service-sync", 0, FLAG_BOOL, "true", "share services with other sites", ON_HOSTS,
     NULL},
    {"routers", 0, FLAG_NUMBER, "1", "1 or 2", ON_KUBERNETES, "1|2"},
    {"timeout", 0, FLAG_DURATION, "2m", "how long to wait", ON_KUBERNETES, NULL},
    {"wait", 0, FLAG_TEXT, "ready", "for what", ON_KUBERNETES, "ready|configured|none"},
    {0},
};
static const struct flag delete_flags[] = {
    {"timeout", 0, FLAG_DURATION, "60s", "how long to wait", ON_KUBERNETES, NULL},
    {"wait", 0, FLAG_BOOL, "true", "until it is gone", ON_KUBERNETES, NULL},
    {0},
};
static const struct flag token_flags[] = {
    {"uses", 0, FLAG_NUMBER, "1", "how often it can be used", 0, NULL},
    {"expiry", 0, FLAG_DURATION, "15m", "how long it can be used", 0, NULL},
    {"name", 0, FLAG_TEXT, "", "accepted, without effect", ON_HOSTS, NULL},
    {"name", 0, FLAG_TEXT, "", "of the token of a site without resource definitions", ON_KUBERNETES,
     NULL},
    {"token-type", 0, FLAG_TEXT, "claim", "what the token is", ON_HOSTS, "claim"},
    {"token-type", 0, FLAG_TEXT, "claim",
     "what the token is; cert: for all who have it, of a site without resource definitions",
     ON_KUBERNETES, "claim|cert"},
    {0},
};
static const struct flag link_flags[] = {
    {"name", 0, FLAG_TEXT, "", "name of the link (default: the token's)", 0, NULL},
    {"cost", 0, FLAG_NUMBER, "1", "what a message over it costs", 0, NULL},
    {0},
};

// The name of this host, as far as a site may be called by it.
static char *host_name(void)
{
    char text[64] = "";

    if (gethostname(text, sizeof(text) - 1) != 0 || !text[0])
        return str_dup(STR("site"));
    text[strcspn(text, ".")] = '\0';
    return str_dup(site_is_name(str_of(text)) ? str_of(text) : STR("site"));
}

// The name without one given: of this host, or in a cluster of the namespace.
static char *name_of(const struct cli *c, const struct store *s)
{
    if (cli_text(c, "site-name")[0])
        return str_dup(str_of(cli_text(c, "site-name")));
    return c->platform == ON_KUBERNETES ? str_dup(str_of(s->ns)) : host_name();
}

static json_t *site_asked(const struct cli *c, const struct store *s, const char *name)
{
    json_t *site = store_new(s, "Site", name), *spec = json_object_get(site, "spec");
    const char *ingress = cli_text(c, "ingress");

    if (strcmp(ingress, "external") == 0)
        ingress = "default";
    else if (strcmp(ingress, "nginx-ingress-v1") == 0)
        ingress = "ingress-nginx";
    if (strcmp(ingress, "none") != 0)
        json_object_set_new(spec, "linkAccess", json_string(ingress));
    if (strcmp(cli_text(c, "router-mode"), "edge") == 0)
        json_object_set_new(spec, "edge", json_true());
    if (c->platform == ON_KUBERNETES && cli_number(c, "routers") == 2)
        json_object_set_new(spec, "ha", json_true());
    if (c->platform != ON_KUBERNETES && !cli_bool(c, "enable-service-sync"))
        json_object_set_new(json_object_get(site, "metadata"), "annotations",
                            json_pack("{s:s}", "skupper.io/service-sync", "false"));
    return site;
}

static int start(struct cli *c, const struct store *s, const char *name)
{
    return c->platform == ON_KUBERNETES
               ? cli_await_asked(c, s, "Waiting for status...", "Site", name)
               : cli_start_site(c, s);
}

static int run_init(struct cli *c, struct store *s)
{
    struct why why = {""};
    json_t *site;
    char *name;
    int status;

    cli_say_default_platform(c);
    if (c->platform == ON_KUBERNETES)
        cli_check_timeout(c);
    c->is_plain_fine = true;
    name = name_of(c, s);
    site = store_site(s);
    if (site)
        cli_problem(c, "Skupper is already installed in namespace '%s': the site is \"%s\"", s->ns,
                    site_text(site, "metadata.name"));
    cli_check_name(c, "site name", name);
    json_decref(site);
    status = cli_verdict(c);
    if (status == EXIT_OK) {
        site = site_asked(c, s, name);
        if (store_put(s, site, &why) < 0)
            status = cli_fail(c, "%s", why.text);
        json_decref(site);
    }
    if (status == EXIT_OK)
        status = start(c, s, name);
    free(name);
    if (status == EXIT_OK)
        cli_say(c,
                "Skupper is now installed in namespace '%s'.  Use 'skupper status' to get more "
                "information.",
                s->ns);
    return status;
}

// In a cluster: what is of Skupper in the namespace, the rest goes with its owners.
static int delete_in_cluster(struct cli *c, struct store *s)
{
    json_t *site;
    int status;

    cli_check_timeout(c);
    c->is_plain_fine = true;
    site = store_site(s);
    status = cli_verdict(c);
    if (status == EXIT_OK && !site)
        status = cli_fail(c, "Skupper is not enabled in namespace '%s'", s->ns);
    if (status == EXIT_OK)
        status = cli_delete_site(c, s, site_text(site, "metadata.name"), true);
    json_decref(site);
    return status;
}

static int run_delete(struct cli *c, struct store *s)
{
    struct why why = {""};
    int status = EXIT_OK;

    if (c->platform == ON_KUBERNETES) {
        status = delete_in_cluster(c, s);
        if (status == EXIT_OK)
            cli_say(c, "Skupper is now removed from '%s'.", s->ns);
    } else if (access(s->paths.root, F_OK) != 0)
        status = cli_fail(c, "Skupper is not enabled in namespace '%s'", s->ns);
    else if (host_site_stop(&s->paths, &why) < 0 || host_remove(s->paths.root, &why) < 0)
        status = cli_fail(c, "%s", why.text);
    else
        cli_say(c, "Skupper is now removed from '%s'.", s->ns);
    return status;
}

static void say_connected(FILE *out, long others)
{
    if (others <= 0)
        fprintf(out, " It is not connected to any other sites.");
    else if (others == 1)
        fprintf(out, " It is connected to 1 other site.");
    else
        fprintf(out, " It is connected to %ld other sites.", others);
}

static int run_status(struct cli *c, struct store *s)
{
    json_t *sites = store_shown(s, "Site"), *site = json_array_get(sites, 0);
    json_t *services = cli_services(s);
    int status = EXIT_OK;
    const char *state;

    if (c->failure) {
        status = c->failure;
    } else if (!site) {
        status = cli_fail(c, "Skupper is not enabled in namespace '%s'", s->ns);
    } else {
        state = site_text(site, "metadata.name");
        fprintf(c->out, "Skupper is enabled for namespace \"%s\"", s->ns);
        if (strcmp(state, s->ns) != 0)
            fprintf(c->out, " with site name \"%s\"", state);
        fprintf(c->out, ".");
        if (!cli_condition(site, "Running"))
            fprintf(c->out, " Status pending...");
        else
            say_connected(c->out,
                          (long)json_integer_value(site_get(site, "status.sitesInNetwork")) - 1);
        if (json_array_size(services) == 0)
            fprintf(c->out, " It has no exposed services.\n");
        else if (json_array_size(services) == 1)
            fprintf(c->out, " It has 1 exposed service.\n");
        else
            fprintf(c->out, " It has %zu exposed services.\n", json_array_size(services));
    }
    json_decref(services);
    json_decref(sites);
    return status;
}

static int run_token_create(struct cli *c, struct store *s)
{
    const char *name = cli_text(c, "name");
    struct token_wish wish = {.file = c->args[0],
                              .name = name[0] ? name : NULL,
                              .is_certificate = strcmp(cli_text(c, "token-type"), "cert") == 0,
                              .uses = cli_number(c, "uses"),
                              .window = cli_text(c, "expiry"),
                              .window_ms = cli_duration_ms(c, "expiry"),
                              .cost = 1,
                              .wait_ms = 60000};
    int status = cli_issue_token(c, s, &wish);

    if (status == EXIT_OK)
        cli_say(c, "Token written to %s ", c->args[0]);
    return status;
}

// As in version 1 where a site is of it; NULL: the token's. The caller frees.
static char *link_name(const struct cli *c, const struct store *s)
{
    json_t *site = c->platform == ON_KUBERNETES ? store_site(s) : NULL;
    char *name = plain_is(site) ? plain_link_name(s, site) : NULL;

    json_decref(site);
    return name;
}

static int run_link_create(struct cli *c, struct store *s)
{
    const char *given = cli_text(c, "name");
    char *name = NULL;
    int status;

    if (given[0])
        cli_check_name(c, "link name", given);
    if (cli_number(c, "cost") < 1)
        cli_problem(c, "cost is not valid: it must be 1 or more");
    status = cli_verdict(c);
    if (status == EXIT_OK && !given[0])
        name = link_name(c, s);
    if (status == EXIT_OK)
        status = cli_redeem(c, s, c->args[0], given[0] ? given : name,
                            cli_is_given(c, "cost") ? cli_number(c, "cost") : 0);
    free(name);
    if (status == EXIT_OK)
        cli_say(c, "Check the status of the link using 'skupper link status'.");
    return status;
}

const struct command cli_first_commands[] = {
    {.name = "init",
     .args = "",
     .summary = "Makes a site in this namespace and starts it",
     .platforms = ON_LINUX | ON_KUBERNETES,
     .flags = init_flags,
     .run_on = run_init},
    {.name = "status",
     .args = "",
     .summary = "The site in a sentence",
     .platforms = ON_LINUX | ON_KUBERNETES,
     .run_on = run_status},
    {.name = "delete",
     .args = "",
     .summary = "Stops the site and removes it",
     .flags = delete_flags,
     .platforms = ON_LINUX | ON_KUBERNETES,
     .run_on = run_delete},
    {.name = "token create",
     .args = "<file>",
     .summary = "As token issue",
     .args_min = 1,
     .args_max = 1,
     .platforms = ON_LINUX | ON_KUBERNETES,
     .flags = token_flags,
     .run_on = run_token_create},
    {.name = "link create",
     .args = "<file>",
     .summary = "As token redeem",
     .args_min = 1,
     .args_max = 1,
     .platforms = ON_LINUX | ON_KUBERNETES,
     .flags = link_flags,
     .run_on = run_link_create},
    {0},
};
