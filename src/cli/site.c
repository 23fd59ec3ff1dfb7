// SPDX-License-Identifier: Apache-2.0
// skupper site …
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "cli/inside.h"
#include "site/site.h"

// clang-format off
#define SITE_FLAGS                                                                                 \
    {"enable-link-access", 0, FLAG_BOOL, "false", "let other sites link to this one", 0, NULL},    \
    {"bind-host", 0, FLAG_TEXT, "",                                                                \
     "address at which other sites may link to this one (default all)", ON_HOSTS, NULL},           \
    {"subject-alternative-names", 0, FLAG_TEXT, "",                                                \
     "by which names and addresses, with commas between (default all of this host)", ON_HOSTS,     \
     NULL},                                                                                        \
    {"service-account", 0, FLAG_TEXT, "", "the ServiceAccount of the router", ON_KUBERNETES,       \
     NULL},                                                                                        \
    {"link-access-type", 0, FLAG_TEXT, "", "how: route, loadbalancer or default", ON_KUBERNETES,   \
     NULL},                                                                                        \
    {"service-host", 0, FLAG_TEXT, "",                                                             \
     "address at which services of other sites are reached here (default 127.0.0.1)", ON_HOSTS,    \
     NULL},                                                                                        \
    {"enable-service-sync", 0, FLAG_BOOL, "true", "share services with other sites", ON_HOSTS,     \
     NULL},                                                                                        \
    {"enable-ha", 0, FLAG_BOOL, "false", "two routers", ON_KUBERNETES, NULL}
// clang-format on

static const struct flag create_flags[] = {
    SITE_FLAGS,
    {"timeout", 0, FLAG_DURATION, "3m", "how long to wait", ON_KUBERNETES, NULL},
    {"wait", 0, FLAG_TEXT, "ready", "for what", ON_KUBERNETES, "ready|configured|none"},
    {0},
};
static const struct flag update_flags[] = {
    SITE_FLAGS,
    {"timeout", 0, FLAG_DURATION, "30s", "how long to wait", ON_KUBERNETES, NULL},
    {"wait", 0, FLAG_TEXT, "ready", "for what", ON_KUBERNETES, "ready|configured|none"},
    {0},
};
static const struct flag generate_flags[] = {
    SITE_FLAGS,
    {"output", 'o', FLAG_TEXT, "yaml", "form", 0, "json|yaml"},
    {0},
};
static const struct flag delete_flags[] = {
    {"all", 0, FLAG_BOOL, "false", "all resources of the site too", 0, NULL},
    {"timeout", 0, FLAG_DURATION, "60s", "how long to wait", ON_KUBERNETES, NULL},
    {"wait", 0, FLAG_BOOL, "true", "until it is gone", ON_KUBERNETES, NULL},
    {0},
};
static const struct flag status_flags[] = {
    {"output", 'o', FLAG_TEXT, "", "form", 0, "json|yaml"},
    {0},
};

bool cli_check_name(struct cli *c, const char *what, const char *name)
{
    if (site_is_name(str_of(name)))
        return true;
    cli_problem(c,
                "%s is not valid: \"%s\" must be made of a-z, 0-9, hyphens and points, begun and "
                "ended by a letter or digit",
                what, name);
    return false;
}

static json_t *spec_of(json_t *site)
{
    if (!json_object_get(site, "spec"))
        json_object_set_new(site, "spec", json_object());
    return json_object_get(site, "spec");
}

static void set_access(struct cli *c, json_t *site)
{
    const char *type = c->platform == ON_KUBERNETES ? cli_text(c, "link-access-type") : "";
    bool is_open = cli_bool(c, "enable-link-access");

    json_object_set_new(spec_of(site), "linkAccess",
                        json_string(!is_open  ? "none"
                                    : type[0] ? type
                                              : "default"));
}

// What is given of the sharing of services, as annotations.
static void set_sharing(struct cli *c, json_t *site)
{
    json_t *metadata = json_object_get(site, "metadata");
    json_t *annotations = json_object_get(metadata, "annotations");

    if (c->platform == ON_KUBERNETES ||
        (!cli_is_given(c, "service-host") && !cli_is_given(c, "enable-service-sync")))
        return;
    if (!annotations) {
        annotations = json_object();
        json_object_set_new(metadata, "annotations", annotations);
    }
    if (cli_is_given(c, "service-host"))
        json_object_set_new(annotations, "skupper.io/service-host",
                            json_string(cli_text(c, "service-host")));
    if (cli_is_given(c, "enable-service-sync"))
        json_object_set_new(annotations, "skupper.io/service-sync",
                            json_string(cli_bool(c, "enable-service-sync") ? "true" : "false"));
}

static void check_sharing(struct cli *c)
{
    const char *host;

    if (c->platform == ON_KUBERNETES || !cli_is_given(c, "service-host"))
        return;
    host = cli_text(c, "service-host");
    if (!site_is_host(str_of(host)))
        cli_problem(c, "service-host is not valid: \"%s\" is neither an IP address nor a host name",
                    host);
}

static void check_access_type(struct cli *c)
{
    const char *type;

    if (c->platform != ON_KUBERNETES || !cli_text(c, "link-access-type")[0])
        return;
    type = cli_text(c, "link-access-type");
    if (strcmp(type, "route") != 0 && strcmp(type, "loadbalancer") != 0 &&
        strcmp(type, "default") != 0)
        cli_problem(c,
                    "link access type is not valid: value %s not allowed. It should be one of "
                    "these options: [route loadbalancer default]",
                    type);
    if (!cli_bool(c, "enable-link-access"))
        cli_problem(c, "for the site to work with this type of linkAccess, the "
                       "--enable-link-access option must be set to true");
}

// What is given of what only sites in clusters have.
static void set_cluster(struct cli *c, json_t *site)
{
    if (c->platform != ON_KUBERNETES)
        return;
    if (cli_is_given(c, "enable-ha"))
        json_object_set_new(spec_of(site), "ha", json_boolean(cli_bool(c, "enable-ha")));
    if (cli_text(c, "service-account")[0])
        json_object_set_new(spec_of(site), "serviceAccount",
                            json_string(cli_text(c, "service-account")));
}

static bool has_access(const json_t *site)
{
    const char *access = site_text(site, "spec.linkAccess");

    return access[0] && strcmp(access, "none") != 0;
}

static int save(struct cli *c, struct store *s, json_t *site)
{
    struct why why = {""};
    int status = EXIT_OK;

    if (c->platform != ON_KUBERNETES)
        status = cli_store_access(c, s, site_text(site, "metadata.name"));
    if (status != EXIT_OK)
        return status;
    if (store_put(s, site, &why) < 0)
        return cli_fail(c, "%s", why.text);
    return EXIT_OK;
}

// What a command that changes a site checks before it asks for anything.
static void check(struct cli *c)
{
    check_sharing(c);
    check_access_type(c);
    if (c->platform == ON_KUBERNETES)
        cli_check_timeout(c);
}

static const char *state_asked(const struct cli *c)
{
    return strcmp(cli_text(c, "wait"), "ready") == 0 ? "ready" : "configured";
}

// The next step, or, in a cluster, how it went.
static int finish_create(struct cli *c, const struct store *s)
{
    int status;

    if (c->platform != ON_KUBERNETES) {
        if (!store_is_running(s))
            cli_say(c, "Site \"%s\" is created. Start it with \"skupper system start%s%s\".",
                    c->args[0], cli_is_given(c, "namespace") ? " -n " : "",
                    cli_is_given(c, "namespace") ? s->ns : "");
        return EXIT_OK;
    }
    status = cli_await_asked(c, s, "Waiting for status...", "Site", c->args[0]);
    if (status == EXIT_OK && strcmp(cli_text(c, "wait"), "none") == 0)
        cli_say(c, "Site \"%s\" is created. \"skupper site status\" tells how it is.", c->args[0]);
    else if (status == EXIT_OK)
        cli_say(c, "Site \"%s\" is %s.", c->args[0], state_asked(c));
    return status;
}

static int run_create(struct cli *c, struct store *s)
{
    json_t *old, *site;
    int status;

    cli_say_default_platform(c);
    cli_check_name(c, "site name", c->args[0]);
    check(c);
    cli_check_access(c, cli_bool(c, "enable-link-access"));
    old = store_site(s);
    if (old)
        cli_problem(c,
                    "There is already a site created for this namespace: \"%s\". Change it with "
                    "\"skupper site update\", or use another namespace (-n)",
                    site_text(old, "metadata.name"));
    json_decref(old);
    status = cli_verdict(c);
    if (status == EXIT_OK) {
        site = store_new(s, "Site", c->args[0]);
        if (cli_bool(c, "enable-link-access"))
            set_access(c, site);
        set_sharing(c, site);
        set_cluster(c, site);
        status = save(c, s, site);
        json_decref(site);
    }
    if (status == EXIT_OK)
        status = finish_create(c, s);
    return status;
}

// The site that is meant, as it is; NULL: the reason is told.
static json_t *find_site(struct cli *c, struct store *s, const json_t *site)
{
    if (!site && !c->failure)
        cli_problem(c,
                    "There is no existing Skupper site resource to update in the namespace "
                    "\"%s\"; \"skupper site create\" makes one",
                    s->ns);
    if (site && c->arg_count && strcmp(site_text(site, "metadata.name"), c->args[0]) != 0) {
        cli_problem(c, "site with name \"%s\" is not available; the site here is \"%s\"",
                    c->args[0], site_text(site, "metadata.name"));
        return NULL;
    }
    return site ? store_find(s, "Site", site_text(site, "metadata.name")) : NULL;
}

static int change(struct cli *c, struct store *s, json_t *site)
{
    const char *name = site_text(site, "metadata.name");
    int status;

    if (cli_is_given(c, "enable-link-access"))
        set_access(c, site);
    set_sharing(c, site);
    set_cluster(c, site);
    status = save(c, s, site);
    if (status == EXIT_OK)
        status = cli_await_asked(c, s, "Waiting for update to complete...", "Site", name);
    if (status == EXIT_OK)
        cli_say(c, "Site \"%s\" is updated", name);
    return status;
}

static int run_update(struct cli *c, struct store *s)
{
    json_t *site = NULL, *old;
    int status;

    if (c->arg_count == 0 && c->platform != ON_KUBERNETES)
        cli_problem(c, "skupper site update takes <name>; 0 arguments were given");
    check(c);
    old = store_site(s);
    cli_check_access(c, cli_is_given(c, "enable-link-access") ? cli_bool(c, "enable-link-access")
                                                              : has_access(old));
    if (!c->problem_count)
        site = find_site(c, s, old);
    status = cli_verdict(c);
    if (status == EXIT_OK)
        status = change(c, s, site);
    json_decref(site);
    json_decref(old);
    return status;
}

// Everything the user wrote.
static int remove_all(struct cli *c, const struct store *s)
{
    char *directory = host_path(&s->paths, "input/resources"), **names = host_list(directory, NULL);
    struct why why = {""};
    int err = 0;

    for (size_t i = 0; !err && names[i]; i++) {
        char *path = str_fmt("%s/%s", directory, names[i]);

        err = host_remove(path, &why);
        free(path);
    }
    host_names_free(names);
    free(directory);
    return err < 0 ? cli_fail(c, "%s", why.text) : EXIT_OK;
}

// In a cluster, everything of ours in the namespace but the Site: the last first, as what leads to
// something goes before that does.
static int remove_kinds(struct cli *c, struct store *s)
{
    static const char *const kinds[] = {
        "AttachedConnectorBinding",
        "AttachedConnector",
        "Connector",
        "Listener",
        "MultiKeyListener",
        "AccessToken",
        "AccessGrant",
        "Link",
        "RouterAccess",
        "SecuredAccess",
        "Certificate",
    };
    struct why why = {""};
    int err = 0;

    for (size_t i = 0; err == 0 && i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        json_t *all = store_list(s, STORE_INPUT, kinds[i]), *one;
        size_t k;

        json_array_foreach(all, k, one)
        {
            if (err == 0)
                err = store_remove(s, kinds[i], site_text(one, "metadata.name"), &why);
            // Its owner may have taken it along.
            if (err == ERR_NOT_FOUND)
                err = 0;
        }
        json_decref(all);
    }
    if (c->failure)
        return c->failure;
    return err < 0 ? cli_fail(c, "%s", why.text) : EXIT_OK;
}

static int remove_site(struct cli *c, struct store *s, const char *name)
{
    struct why why = {""};
    char *access = cli_access_name(name);
    int err = store_remove(s, "Site", name, &why);

    if (!err && c->platform != ON_KUBERNETES)
        store_remove(s, "RouterAccess", access, NULL);
    free(access);
    return err < 0 && err != ERR_NOT_FOUND ? cli_fail(c, "%s", why.text) : EXIT_OK;
}

int cli_delete_site(struct cli *c, struct store *s, const char *name, bool has_all)
{
    int status = EXIT_OK;

    if (has_all)
        status = c->platform == ON_KUBERNETES ? remove_kinds(c, s) : remove_all(c, s);
    if (status == EXIT_OK && name[0] && !(has_all && c->platform != ON_KUBERNETES))
        status = remove_site(c, s, name);
    return status == EXIT_OK && name[0] ? cli_await_gone(c, s, "Site", name) : status;
}

static int run_delete(struct cli *c, struct store *s)
{
    bool has_all = cli_bool(c, "all"), in_cluster = c->platform == ON_KUBERNETES;
    json_t *site;
    const char *name;
    int status;

    if (in_cluster)
        cli_check_timeout(c);
    site = store_site(s);
    name = site_text(site, "metadata.name");
    if (c->arg_count == 0 && !has_all && !in_cluster)
        cli_problem(c, "site name must be given, or --all");
    else if (!c->failure && c->arg_count && strcmp(name, c->args[0]) != 0)
        cli_problem(c, "there is no site \"%s\" in the namespace \"%s\"", c->args[0], s->ns);
    else if (!c->failure && !site && !has_all)
        cli_problem(c, "there is no site in the namespace \"%s\"", s->ns);
    status = cli_verdict(c);
    if (status == EXIT_OK)
        status = cli_delete_site(c, s, name, has_all);
    if (status == EXIT_OK && (site || !in_cluster))
        cli_say(c, "Site \"%s\" is deleted", name);
    else if (status == EXIT_OK)
        cli_say(c, "There was no site; what else was of Skupper in the namespace \"%s\" is deleted",
                s->ns);
    json_decref(site);
    return status;
}

static int run_status(struct cli *c, struct store *s)
{
    json_t *sites = store_shown(s, "Site"), *site;
    const char *form = cli_text(c, "output");
    struct table t;
    size_t i;

    if (json_array_size(sites) == 0) {
        if (!c->failure)
            cli_say(c, "There is no existing Skupper site resource");
    } else if (form[0]) {
        cli_print_list(c, sites, form);
    } else {
        table_init(&t, "NAME\tSTATUS\tMESSAGE");
        json_array_foreach(sites, i, site)
        {
            bool is_new = c->platform != ON_KUBERNETES && !site_get(site, "status.message");

            table_row(&t, "%s\t%s\t%s", site_text(site, "metadata.name"), cli_status_of(site),
                      is_new ? "not started: run \"skupper system start\""
                             : cli_message_of(c, site));
        }
        table_print(&t, c->out);
    }
    json_decref(sites);
    return cli_verdict(c);
}

// The RouterAccess that belongs to it, as a second document.
static void print_access(struct cli *c, const json_t *site)
{
    char *name = cli_access_name(c->args[0]);
    json_t *access = json_deep_copy(site);

    json_object_set_new(access, "kind", json_string("RouterAccess"));
    json_object_set_new(json_object_get(access, "metadata"), "name", json_string(name));
    json_object_del(json_object_get(access, "metadata"), "annotations");
    json_object_set_new(access, "spec", json_object());
    if (cli_set_access(c, access)) {
        cli_say(c, "%s", strcmp(cli_text(c, "output"), "json") == 0 ? "" : "---");
        cli_print(c, access, cli_text(c, "output"));
    }
    json_decref(access);
    free(name);
}

static int run_generate(struct cli *c)
{
    json_t *site;

    cli_check_name(c, "site name", c->args[0]);
    check_access_type(c);
    cli_check_access(c, cli_bool(c, "enable-link-access"));
    if (c->problem_count)
        return EXIT_INVALID;
    site = json_pack("{s:s, s:s, s:{s:s}, s:{}}", "apiVersion", "skupper.io/v2alpha1", "kind",
                     "Site", "metadata", "name", c->args[0], "spec");
    if (cli_is_given(c, "namespace"))
        json_object_set_new(json_object_get(site, "metadata"), "namespace",
                            json_string(cli_namespace(c)));
    if (cli_bool(c, "enable-link-access"))
        set_access(c, site);
    set_sharing(c, site);
    set_cluster(c, site);
    cli_print(c, site, cli_text(c, "output"));
    print_access(c, site);
    json_decref(site);
    return EXIT_OK;
}

const struct command cli_site_commands[] = {
    {.name = "site create",
     .args = "<name>",
     .summary = "Makes a site in this namespace",
     .args_min = 1,
     .args_max = 1,
     .flags = create_flags,
     .run_on = run_create},
    {.name = "site status",
     .args = "[<name>]",
     .summary = "How the site is",
     .args_max = 1,
     .flags = status_flags,
     .run_on = run_status},
    {.name = "site update",
     .args = "[<name>]",
     .summary = "Changes what is given of the site, and nothing else",
     .args_max = 1,
     .flags = update_flags,
     .run_on = run_update},
    {.name = "site delete",
     .args = "[<name>]",
     .summary = "Removes the site",
     .args_max = 1,
     .flags = delete_flags,
     .run_on = run_delete},
    {.name = "site generate",
     .args = "<name>",
     .summary = "Prints the resource of a site",
     .args_min = 1,
     .args_max = 1,
     .flags = generate_flags,
     .run = run_generate},
    {0},
};
