// SPDX-License-Identifier: Apache-2.0
// skupper system …: the sites of this host as a whole.
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/yaml.h"
#include "cli/inside.h"
#include "site/site.h"

enum { START_MS = 30000 };

static const struct flag file_flags[] = {
    {"filename", 'f', FLAG_TEXT, "", "file with resources; - for standard input", 0, NULL},
    {0},
};
static const struct flag setup_flags[] = {
    {"path", 0, FLAG_TEXT, "", "directory with resources to begin with", 0, NULL},
    {"strategy", 'b', FLAG_TEXT, "", "bundle or tarball", 0, "bundle|tarball"},
    {"force", 'f', FLAG_BOOL, "false", "as system reload, if it runs", 0, NULL},
    {0},
};
static const struct flag uninstall_flags[] = {
    {"force", 'f', FLAG_BOOL, "false", "stop and remove sites that are active", 0, NULL},
    {0},
};

static void apply_one(struct cli *c, struct store *s, json_t *resource);

// ------------------------------------------------------------------------------------------ start

// Warnings and errors of the input, before anything is started. False: nothing can start.
static bool check_input(struct cli *c, const struct store *s)
{
    json_t *sites = store_list(s, STORE_INPUT, "Site");
    size_t count = json_array_size(sites);

    json_decref(sites);
    if (count == 0)
        cli_say(c,
                "Namespace \"%s\" does not exist: there is no Site in it. \"skupper site create "
                "<name>\" makes one.",
                s->ns);
    if (count > 1)
        cli_say(c,
                "multiple sites found, but only one site is allowed for bootstrapping: remove "
                "all but one from %s/input/resources",
                s->paths.root);
    return count == 1;
}

static bool is_running(const json_t *site)
{
    return cli_condition(site, "Running");
}

static void say_where(struct cli *c, const struct store *s)
{
    char *links = host_path(&s->paths, "runtime/links");
    char **names = host_list(links, NULL);

    cli_say(c, "Platform: %s", cli_platform_name(c->platform));
    if (names[0])
        cli_say(c, "Static links have been defined at: %s", links);
    cli_say(c, "Definition is available at: %s/input/resources", s->paths.root);
    if (!s->paths.is_system && host_has_systemd(&s->paths) && getenv("USER"))
        cli_say(c,
                "It is recommended to enable lingering for %s, otherwise Skupper may not start "
                "on boot: loginctl enable-linger %s",
                getenv("USER"), getenv("USER"));
    host_names_free(names);
    free(links);
}

// What systemd keeps is started again.
static bool has_ended(const struct store *s)
{
    return !host_has_systemd(&s->paths) && !store_is_running(s);
}

// Why the agent ended: the last line it wrote.
static int tell_end(struct cli *c, const struct store *s, const char *name)
{
    char *log = host_path(&s->paths, "internal/agent.log"), *text = NULL, *line;
    size_t len = 0;
    int status;

    if (host_read_end(log, 4096, &text, &len) == 0)
        while (len > 0 && text[len - 1] == '\n')
            text[--len] = '\0';
    line = text ? strrchr(text, '\n') : NULL;
    line = line ? line + 1 : text;
    status = cli_fail(c, "Site \"%s\" is not running, its agent ended: %s (%s)", name,
                      line && line[0] ? line : "it says nothing", log);
    free(text);
    free(log);
    return status;
}

static int await_running(struct cli *c, const struct store *s)
{
    json_t *site = store_site(s), *last = NULL;
    const char *name = site_text(site, "metadata.name");
    struct wish wish = {.kind = "Site",
                        .name = name,
                        .is_so = is_running,
                        .is_hopeless = has_ended,
                        .until = mono_add_ms(mono_now(), START_MS)};
    bool is = store_await(s, &wish, &last);
    int status = EXIT_OK;

    if (is)
        cli_say(c, "Site \"%s\" has been created on namespace \"%s\"", name, s->ns);
    else if (has_ended(s))
        status = tell_end(c, s, name);
    else
        status = cli_fail(
            c,
            "Site \"%s\" is not running after %d s: %s. See %s/internal/agent.log and "
            "router.log",
            name, START_MS / 1000,
            last ? site_text(last, "status.message") : "the agent told nothing", s->paths.root);
    json_decref(last);
    json_decref(site);
    return status;
}

int cli_start_site(struct cli *c, const struct store *s)
{
    struct why why = {""};
    // What an earlier run told is not taken for what this one does.
    char *told = host_path(&s->paths, "runtime/resources");
    int err = host_remove(told, &why);

    free(told);
    if (!err)
        err = host_site_start(&s->paths, &why);
    if (err == ERR_EXISTS) // by another command, just now: it is to see what this one saw
        err = host_site_reload(&s->paths, &why);
    return err < 0 ? cli_fail(c, "%s", why.text) : await_running(c, s);
}

static int start_now(struct cli *c, struct store *s)
{
    int status;

    cli_say(c, "Sources will be consumed from namespace \"%s\"", s->ns);
    status = cli_start_site(c, s);
    if (status == EXIT_OK)
        say_where(c, s);
    return status;
}

static int run_start(struct cli *c, struct store *s)
{
    if (!check_input(c, s))
        return EXIT_FAILED;
    if (store_is_running(s))
        return cli_fail(c,
                        "namespace already exists: %s. It is running; changes of its input are "
                        "taken up by themselves, or with \"skupper system reload\"",
                        s->ns);
    return start_now(c, s);
}

static int run_reload(struct cli *c, struct store *s)
{
    struct why why = {""};

    if (!store_is_running(s))
        return check_input(c, s) ? start_now(c, s) : EXIT_FAILED;
    cli_say(c, "Sources will be consumed from namespace \"%s\"", s->ns);
    if (host_site_reload(&s->paths, &why) < 0)
        return cli_fail(c, "%s", why.text);
    return await_running(c, s);
}

static void take_source(void *user, json_t *resource)
{
    struct store *s = user;

    apply_one(s->cli, s, resource);
}

// The resources of another directory become the input.
static int take_path(struct cli *c, struct store *s, const char *path)
{
    struct why why = {""};

    cli_each_source(c, path, take_source, s);
    if (!c->problem_count && store_commit(s, &why) < 0)
        cli_problem(c, "%s", why.text);
    return c->problem_count ? EXIT_INVALID : EXIT_OK;
}

static int run_setup(struct cli *c, struct store *s)
{
    const char *path = cli_text(c, "path");
    int status;

    if (cli_text(c, "strategy")[0])
        return cli_fail(c,
                        "bundles are made by another command now: skupper system generate-bundle "
                        "<name> --input <directory> --type %s",
                        strcmp(cli_text(c, "strategy"), "bundle") == 0 ? "shell-script"
                                                                       : "tarball");
    status = path[0] ? take_path(c, s, path) : EXIT_OK;
    if (status != EXIT_OK)
        return status;
    return cli_bool(c, "force") ? run_reload(c, s) : run_start(c, s);
}

// ------------------------------------------------------------------------------------------- stop

static int remove_namespace(const struct host_paths *p, struct why *why)
{
    int err = host_site_stop(p, why);

    return err < 0 ? err : host_remove(p->root, why);
}

static int run_stop(struct cli *c, struct store *s)
{
    struct why why = {""};
    int status = EXIT_OK;

    if (access(s->paths.root, F_OK) != 0)
        status = cli_fail(c, "Namespace \"%s\" does not exist", s->ns);
    else if (remove_namespace(&s->paths, &why) < 0)
        status = cli_fail(c, "%s", why.text);
    else
        cli_say(c, "Namespace \"%s\" has been removed", s->ns);
    return status;
}

static int run_install(struct cli *c)
{
    cli_say(c, "Platform linux is now configured for Skupper: nothing has to be installed. Next: "
               "skupper site create <name>, skupper system start");
    return EXIT_OK;
}

static struct host_paths *sites_of(char **names, size_t *count)
{
    struct host_paths *sites = NULL;

    *count = 0;
    for (size_t i = 0; names[i]; i++) {
        sites = xrealloc(sites, *count + 1, sizeof(*sites));
        *count += host_paths_init(&sites[*count], names[i], NULL) == 0;
    }
    return sites;
}

// Nothing is touched while one of them runs, unless that is wished.
static int check_inactive(struct cli *c, const struct host_paths *sites, size_t count)
{
    for (size_t i = 0; i < count && !cli_bool(c, "force"); i++)
        if (host_site_is_running(&sites[i]))
            return cli_fail(c,
                            "Uninstallation halted: Active sites detected (%s). Use --force flag "
                            "to stop and remove active sites",
                            sites[i].ns);
    return EXIT_OK;
}

static int run_uninstall(struct cli *c, struct store *s)
{
    struct why why = {""};
    size_t count;
    char **names = host_namespaces(&s->paths);
    struct host_paths *sites = sites_of(names, &count);
    int status = check_inactive(c, sites, count);

    if (status == EXIT_OK)
        host_sites_ask_to_stop(sites, count);
    for (size_t i = 0; i < count; i++) {
        if (status == EXIT_OK && remove_namespace(&sites[i], &why) < 0)
            status = cli_fail(c, "%s", why.text);
        host_paths_fini(&sites[i]);
    }
    free(sites);
    if (status == EXIT_OK && host_remove(s->paths.home, &why) < 0)
        status = cli_fail(c, "%s", why.text);
    if (status == EXIT_OK)
        cli_say(c, "Platform linux is uninstalled: nothing of Skupper is left in %s",
                s->paths.home);
    host_names_free(names);
    return status;
}

// ------------------------------------------------------------------------------- apply and delete

// The whole of a file or of standard input; the caller's.
static char *read_source(struct cli *c, const char *name, size_t *len)
{
    char *text = NULL;
    struct why why = {""};
    size_t size = 0;

    *len = 0;
    if (strcmp(name, "-") != 0) {
        if (host_read(name, &text, len, &why) < 0)
            cli_problem(c, "%s", why.text);
        return text;
    }
    do {
        text = xrealloc(text, size + 65536, 1);
        *len += fread(text + *len, 1, size + 65536 - *len, stdin);
        size += 65536;
    } while (!feof(stdin) && !ferror(stdin) && *len <= HOST_FILE_MAX);
    return text;
}

static bool is_resource_file(const char *name)
{
    const char *point = strrchr(name, '.');

    return strcmp(name, "-") == 0 ||
           (point && (strcmp(point, ".yaml") == 0 || strcmp(point, ".yml") == 0 ||
                      strcmp(point, ".json") == 0));
}

static struct yaml_docs *read_resources(struct cli *c)
{
    const char *name = cli_text(c, "filename");
    struct yaml_docs *docs = NULL;
    struct why why = {""};
    char *text = NULL;
    size_t len;

    if (!name[0])
        cli_problem(c, "You need to provide a file with resources: -f <file>, or -f - for standard "
                       "input");
    else if (!is_resource_file(name))
        cli_problem(c, "The file has an unsupported extension, it should have one of the "
                       "following: .yaml, .json");
    else if ((text = read_source(c, name, &len)) != NULL &&
             yaml_docs_parse(name, (struct str){text, len}, &docs, &why) < 0)
        cli_problem(c, "%s", why.text);
    free(text);
    return docs;
}

static void apply_one(struct cli *c, struct store *s, json_t *resource)
{
    const char *kind = site_text(resource, "kind"), *name = site_text(resource, "metadata.name");
    const struct site_kind *known = site_find_kind(str_of(kind));
    struct why why = {""};

    if (!known || !known->on_hosts) {
        cli_say(c, "Warning: the kind \"%s\" has no meaning on this platform; it is ignored", kind);
        return;
    }
    if (!cli_check_name(c, "resource name", name))
        return;
    if (strcmp(s->ns, "default") != 0)
        json_object_set_new(json_object_get(resource, "metadata"), "namespace", json_string(s->ns));
    if (store_add(s, resource, &why) < 0)
        cli_problem(c, "%s", why.text);
    else
        cli_say(c, "%s %s added", kind, name);
}

static int run_apply(struct cli *c, struct store *s)
{
    struct why why = {""};
    struct yaml_docs *docs = read_resources(c);
    int status = EXIT_OK;

    for (size_t i = 0; docs && i < yaml_docs_count(docs); i++)
        apply_one(c, s, yaml_docs_at(docs, i));
    if (store_commit(s, &why) < 0)
        cli_problem(c, "%s", why.text);
    if (c->problem_count)
        status = docs ? EXIT_FAILED : EXIT_INVALID;
    else
        cli_say(c, "Custom resources are applied.%s",
                store_is_running(s) ? ""
                                    : " If a site is already running, run `skupper system "
                                      "reload` to make effective the changes.");
    yaml_docs_free(docs);
    return status;
}

static int run_delete(struct cli *c, struct store *s)
{
    struct yaml_docs *docs = read_resources(c);
    struct why why = {""};
    int status = EXIT_OK;

    for (size_t i = 0; docs && i < yaml_docs_count(docs); i++) {
        const json_t *r = yaml_docs_at(docs, i);
        const char *kind = site_text(r, "kind"), *name = site_text(r, "metadata.name");
        int err = store_remove(s, kind, name, &why);

        if (err == ERR_NOT_FOUND)
            cli_say(c, "%s %s is not there", kind, name);
        else if (err < 0)
            cli_problem(c, "%s", why.text);
        else
            cli_say(c, "%s %s deleted", kind, name);
    }
    if (c->problem_count)
        status = docs ? EXIT_FAILED : EXIT_INVALID;
    else
        cli_say(c, "Custom resources deleted. If a site is already running, run `skupper system "
                   "reload` to make effective the changes.");
    yaml_docs_free(docs);
    return status;
}

const struct command cli_system_commands[] = {
    {.name = "system start",
     .args = "",
     .summary = "Starts the site of this namespace",
     .platforms = ON_LINUX,
     .later = ON_PODMAN | ON_DOCKER,
     .run_on = run_start},
    {.name = "system reload",
     .args = "",
     .summary = "Takes up changes of the input; interrupts nothing",
     .platforms = ON_LINUX,
     .later = ON_PODMAN | ON_DOCKER,
     .run_on = run_reload},
    {.name = "system stop",
     .args = "",
     .summary = "Stops the site and removes its namespace, input included",
     .more = "Everything of the namespace is removed: keep what you want of its input first. (In "
             "releases 2.0 this command only stopped the router.)",
     .platforms = ON_LINUX,
     .later = ON_PODMAN | ON_DOCKER,
     .run_on = run_stop},
    {.name = "system setup", // of releases 2.0
     .args = "",
     .summary = "As system start, or with --force system reload",
     .platforms = ON_LINUX,
     .later = ON_PODMAN | ON_DOCKER,
     .is_hidden = true,
     .flags = setup_flags,
     .run_on = run_setup},
    {.name = "system teardown", // of releases 2.0
     .args = "",
     .summary = "As system stop",
     .platforms = ON_LINUX,
     .later = ON_PODMAN | ON_DOCKER,
     .is_hidden = true,
     .run_on = run_stop},
    {.name = "system apply",
     .args = "",
     .summary = "Puts resources of a file into the input",
     .platforms = ON_HOSTS,
     .flags = file_flags,
     .run_on = run_apply},
    {.name = "system delete",
     .args = "",
     .summary = "Takes resources of a file out of the input",
     .platforms = ON_HOSTS,
     .flags = file_flags,
     .run_on = run_delete},
    {.name = "system generate-bundle",
     .args = "<name>",
     .summary = "Prepares a site to be installed elsewhere",
     .more =
         "Writes <data home>/bundles/<name>.tar.gz, or .sh: the input with its certificates and "
         "the links by which others reach the site, and install.sh. Tokens in the input are "
         "redeemed now. Keep it as a secret: the keys of the site are in it.",
     .args_min = 1,
     .args_max = 1,
     .platforms = ON_LINUX,
     .later = ON_PODMAN | ON_DOCKER,
     .flags = cli_bundle_flags,
     .run_on = cli_run_bundle},
    {.name = "system install",
     .args = "",
     .summary = "Prepares this host",
     .platforms = ON_LINUX,
     .later = ON_PODMAN | ON_DOCKER,
     .run = run_install},
    {.name = "system uninstall",
     .args = "",
     .summary = "Removes Skupper's files from this host",
     .platforms = ON_LINUX,
     .later = ON_PODMAN | ON_DOCKER,
     .flags = uninstall_flags,
     .run_on = run_uninstall},
    {0},
};
