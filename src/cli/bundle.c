// SPDX-License-Identifier: Apache-2.0
// skupper system generate-bundle: a site prepared here, to be installed elsewhere. What can be made
// without a router (certificates, the links by which others reach it) is in it; its id and its
// ports are chosen where it is installed.
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/yaml.h"
#include "cli/inside.h"
#include "site/site.h"

enum { KEPT_SECRET = 0600, KEPT_PLAIN = 0644, PROGRAM = 0755 };

static const char install_script[] =
#include "cli/install_script.inc"
    ;

// The script whose end is the archive itself.
static const char unpack_script[] =
    "#!/bin/sh\n"
    "# Installs a Skupper site; -h tells how.\n"
    "set -eu\n"
    "for tool in mktemp tail tar gzip; do\n"
    "    command -v \"$tool\" >/dev/null || { echo \"$tool is not installed\"; exit 1; }\n"
    "done\n"
    "place=$(mktemp -d)\n"
    "trap 'rm -rf \"$place\"' EXIT\n"
    "tail -n +12 \"$0\" | tar -xz -C \"$place\" || exit 1\n"
    "\"$place/install.sh\" \"$@\"\n"
    "exit $?\n";

const struct flag cli_bundle_flags[] = {
    {"input", 0, FLAG_TEXT, "", "directory with resources (default: the input of the namespace)", 0,
     NULL},
    {"type", 0, FLAG_TEXT, "tarball", "form", 0, "tarball|shell-script"},
    {0},
};

// A bundle on its way: a directory beside where it is going to be.
struct bundle {
    struct cli *cli;
    const struct store *store; // of the namespace
    struct store stage;        // of the directory
    char *place;
    struct host_archive *out;
};

// --------------------------------------------------------------------------------------- sources

static bool is_source(const char *name)
{
    const char *point = strrchr(name, '.');

    return point && (strcmp(point, ".yaml") == 0 || strcmp(point, ".yml") == 0 ||
                     strcmp(point, ".json") == 0);
}

static void take_file(struct cli *c, const char *path, void (*each)(void *user, json_t *resource),
                      void *user)
{
    struct yaml_docs *docs = NULL;
    struct why why = {""};
    char *text = NULL;
    size_t len = 0;

    if (host_read(path, &text, &len, &why) < 0 ||
        yaml_docs_parse(path, (struct str){text, len}, &docs, &why) < 0)
        cli_problem(c, "%s", why.text);
    for (size_t i = 0; docs && i < yaml_docs_count(docs); i++)
        each(user, yaml_docs_at(docs, i));
    yaml_docs_free(docs);
    free(text);
}

void cli_each_source(struct cli *c, const char *directory,
                     void (*each)(void *user, json_t *resource), void *user)
{
    char **names = host_list(directory, NULL);

    if (!names[0])
        cli_problem(c, "there are no resources in %s", directory);
    for (size_t i = 0; names[i]; i++) {
        char *path = str_fmt("%s/%s", directory, names[i]);

        if (is_source(names[i]))
            take_file(c, path, each, user);
        free(path);
    }
    host_names_free(names);
}

// A token is redeemed now: where the bundle is installed there is only what it gives.
static void redeem(struct bundle *b, const json_t *token)
{
    char *path = str_fmt("%s/token.yaml", b->place), *text = yaml_write(token, YAML_BLOCK);
    struct why why = {""};

    if (host_write(path, str_of(text), KEPT_SECRET, &why) < 0)
        cli_problem(b->cli, "%s", why.text);
    else if (cli_redeem(b->cli, &b->stage, path, NULL, 0) != EXIT_OK)
        b->cli->problem_count++;
    host_remove(path, NULL);
    free(text);
    free(path);
}

static void take(void *user, json_t *resource)
{
    struct bundle *b = user;
    const char *kind = site_text(resource, "kind"), *access;
    const struct site_kind *known = site_find_kind(str_of(kind));
    struct why why = {""};

    if (!known || !known->on_hosts) {
        cli_say(b->cli, "Warning: the kind \"%s\" has no meaning on this platform; it is ignored",
                kind);
        return;
    }
    // It is called otherwise where it is installed.
    json_object_del(json_object_get(resource, "metadata"), "namespace");
    if (strcmp(kind, "AccessToken") == 0) {
        redeem(b, resource);
        return;
    }
    access = site_text(resource, "spec.linkAccess");
    if (strcmp(kind, "Site") == 0 && access[0] && strcmp(access, "none") != 0) {
        cli_say(b->cli, "Warning: linkAccess of the Site is ignored in a bundle: write a "
                        "RouterAccess with the names by which it will be reached");
        json_object_del(json_object_get(resource, "spec"), "linkAccess");
    }
    if (store_add(&b->stage, resource, &why) < 0)
        cli_problem(b->cli, "%s", why.text);
}

// --------------------------------------------------------------------------------------- archive

// Certificates that are for one host alone are made where it is installed.
static bool is_local(const char *path)
{
    return strstr(path, "/skupper-local-") || strstr(path, "/skupper-grant-server");
}

static void add_tree(struct bundle *b, const char *from, const char *to)
{
    char **names = host_list(from, NULL), *text;
    struct stat st;
    size_t len;

    for (size_t i = 0; names[i]; i++) {
        char *path = str_fmt("%s/%s", from, names[i]), *name = str_fmt("%s/%s", to, names[i]);

        text = NULL;
        if (is_local(name) || stat(path, &st) != 0) {
            // not for others
        } else if (S_ISDIR(st.st_mode)) {
            add_tree(b, path, name);
        } else if (host_read(path, &text, &len, NULL) == 0) {
            host_archive_add(b->out, name, (struct str){text, len}, st.st_mode & 0777);
        }
        free(text);
        free(name);
        free(path);
    }
    host_names_free(names);
}

static void add_parts(struct bundle *b, const char *site)
{
    static const char *const parts[] = {"input/resources", "runtime/certs", "runtime/issuers",
                                        "runtime/links"};
    static const char *const given[] = {"input/certs", "input/issuers"};
    char *conf = str_fmt("site='%s'\ndefault_namespace='%s'\n", site, b->store->ns);

    host_archive_add(b->out, "install.sh", (struct str){install_script, sizeof(install_script) - 1},
                     PROGRAM);
    host_archive_add(b->out, "bundle.conf", str_of(conf), KEPT_PLAIN);
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        char *from = host_path(&b->stage.paths, "%s", parts[i]),
             *to = str_fmt("namespace/%s", parts[i]);

        add_tree(b, from, to);
        free(from);
        free(to);
    }
    for (size_t i = 0; i < sizeof(given) / sizeof(given[0]); i++) {
        char *from = host_path(&b->store->paths, "%s", given[i]),
             *to = str_fmt("namespace/%s", given[i]);

        add_tree(b, from, to);
        free(from);
        free(to);
    }
    free(conf);
}

// The archive with the script in front of it.
static int wrap(const char *archive, const char *path, struct why *why)
{
    char *text = NULL, *all;
    size_t len = 0, head = sizeof(unpack_script) - 1;
    int err = host_read(archive, &text, &len, why);

    if (err < 0)
        return err;
    all = xcalloc(1, head + len + 1);
    memcpy(all, unpack_script, head);
    memcpy(all + head, text, len);
    err = host_write(path, (struct str){all, head + len}, 0700, why);
    explicit_bzero(all, head + len);
    free(all);
    free(text);
    return err;
}

static int write_bundle(struct bundle *b, const char *site)
{
    bool is_script = strcmp(cli_text(b->cli, "type"), "shell-script") == 0;
    char *path = str_fmt("%s/bundles/%s.%s", b->store->paths.home, b->cli->args[0],
                         is_script ? "sh" : "tar.gz");
    char *archive = is_script ? str_fmt("%s/payload.tar.gz", b->place) : xstrdup(path);
    struct why why = {""};
    int err = host_archive_new(archive, KEPT_SECRET, &b->out, &why), status = EXIT_OK;

    if (!err) {
        add_parts(b, site);
        err = host_archive_close(b->out, &why);
    }
    if (!err && is_script)
        err = wrap(archive, path, &why);
    if (err < 0) {
        status = cli_fail(b->cli, "%s", why.text);
    } else {
        cli_say(b->cli, "Installation bundle available at: %s", path);
        cli_say(b->cli, "Default namespace: %s", b->store->ns);
        cli_say(b->cli, "Default platform: %s", cli_platform_name(b->cli->platform));
    }
    free(archive);
    free(path);
    return status;
}

// --------------------------------------------------------------------------------------- command

static void problem(void *user, const char *words)
{
    struct bundle *b = user;

    cli_say(b->cli, "Warning: %s", words);
}

static int fill(struct bundle *b)
{
    const char *given = cli_text(b->cli, "input");
    char *input = given[0] ? xstrdup(given) : host_path(&b->store->paths, "input/resources");
    struct why why = {""};
    json_t *sites, *site;
    int status = EXIT_FAILED;

    cli_each_source(b->cli, input, take, b);
    if (store_commit(&b->stage, &why) < 0)
        cli_problem(b->cli, "%s", why.text);
    free(input);
    if (b->cli->problem_count)
        return EXIT_FAILED;
    sites = store_list(&b->stage, STORE_INPUT, "Site");
    site = json_array_get(sites, 0);
    if (json_array_size(sites) != 1)
        cli_say(b->cli, "a bundle is one site: there are %zu Sites in its input",
                json_array_size(sites));
    else if (host_render(&b->stage.paths, cli_version, problem, b, &why) < 0)
        cli_say(b->cli, "%s", why.text);
    else
        status = write_bundle(b, site_text(site, "metadata.name"));
    json_decref(sites);
    return status;
}

// The paths of the stage: a namespace without a name of its own.
static int open_stage(struct bundle *b)
{
    struct host_paths *p = &b->stage.paths;
    char *bundles = str_fmt("%s/bundles", b->store->paths.home);
    struct why why = {""};
    int status = EXIT_OK;

    b->place = str_fmt("%s/.%s-XXXXXX", bundles, b->cli->args[0]);
    b->stage = (struct store){.cli = b->cli, .ops = &store_files, .ns = "default"};
    if (host_make_directory(bundles, &why) < 0 || host_paths_init(p, "default", &why) < 0)
        status = cli_fail(b->cli, "%s", why.text);
    else if (!mkdtemp(b->place))
        status = cli_fail(b->cli, "there cannot be a directory %s", b->place);
    free(bundles);
    if (status == EXIT_OK) {
        free(p->root);
        free(p->shown);
        p->root = str_fmt("%s/namespace", b->place);
        p->shown = xstrdup(p->root);
    }
    return status;
}

int cli_run_bundle(struct cli *c, struct store *s)
{
    struct bundle b = {.cli = c, .store = s};
    int status;

    if (!cli_check_name(c, "bundle name", c->args[0]))
        return EXIT_INVALID;
    status = open_stage(&b);
    if (status == EXIT_OK) {
        status = fill(&b);
        host_remove(b.place, NULL);
    }
    store_close(&b.stage);
    free(b.place);
    return status;
}
