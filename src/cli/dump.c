// SPDX-License-Identifier: Apache-2.0
// skupper debug dump: everything that helps to find out what is wrong with a site, in one file that
// may be given to others: no private key is in it, and no code of a token or a grant.
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/yaml.h"
#include "cli/dump.h"
#include "client/client.h"
#include "site/site.h"

enum { LOG_MAX = 4 << 20, FILE_MODE = 0644, ARCHIVE_MODE = 0600 };

void dump_add(struct dump *d, const char *name, const char *text)
{
    if (strstr(text, "PRIVATE KEY"))
        text = "left out: there is a private key in it\n";
    host_archive_add(d->out, name, str_of(text), FILE_MODE);
}

void dump_add_value(struct dump *d, const char *name, const json_t *value)
{
    char *text = yaml_write(value, strstr(name, ".json") ? YAML_JSON : YAML_BLOCK);

    dump_add(d, name, text);
    free(text);
}

// ------------------------------------------------------------------------------------- resources

// Of a Secret the certificates stay, of tokens and grants everything but the code.
bool dump_redact(json_t *resource)
{
    static const char *const parts[] = {"data", "stringData"};
    const char *kind = site_text(resource, "kind");
    void *next;
    const char *key;
    json_t *value;

    if (strcmp(kind, "Secret") == 0) {
        for (size_t i = 0; i < 2; i++)
            json_object_foreach_safe(json_object_get(resource, parts[i]), next, key, value)
            {
                if (strlen(key) < 4 || strcmp(key + strlen(key) - 4, ".crt") != 0)
                    json_object_set_new(json_object_get(resource, parts[i]), key,
                                        json_string("left out"));
            }
        // An earlier text of it may stand in an annotation of kubectl.
        json_object_del(json_object_get(resource, "metadata"), "annotations");
        return true;
    }
    if (strncmp(kind, "Access", 6) != 0)
        return false;
    json_object_del(json_object_get(resource, "spec"), "code");
    json_object_del(json_object_get(resource, "status"), "code");
    json_object_del(json_object_get(resource, "metadata"), "annotations");
    return true;
}

// A file of resources: as it stands, unless there is a secret in it.
static void add_resources(struct dump *d, const char *name, const char *path)
{
    struct yaml_docs *docs = NULL;
    struct why why = {""};
    char *text = NULL, *all = xstrdup("");
    size_t len = 0;
    bool is_redacted = false;

    if (host_read(path, &text, &len, &why) < 0 ||
        yaml_docs_parse(name, (struct str){text, len}, &docs, &why) < 0) {
        char *words = str_fmt("left out: %s\n", why.text);

        dump_add(d, name, words);
        free(words);
        free(text);
        free(all);
        return;
    }
    for (size_t i = 0; i < yaml_docs_count(docs); i++) {
        json_t *doc = yaml_docs_at(docs, i);
        char *one, *longer;

        is_redacted |= dump_redact(doc);
        one = yaml_write(doc, YAML_BLOCK);
        longer = str_fmt("%s%s%s", all, i ? "---\n" : "", one);
        free(one);
        free(all);
        all = longer;
    }
    dump_add(d, name, is_redacted ? all : text);
    yaml_docs_free(docs);
    free(all);
    free(text);
}

// Calls `each` for every file of a directory of the namespace.
static void each_file(struct dump *d, const char *directory, const char *to,
                      void (*each)(struct dump *d, const char *name, const char *path))
{
    char *from = host_path(&d->store->paths, "%s", directory), **names = host_list(from, NULL);

    for (size_t i = 0; names[i]; i++) {
        char *name = str_fmt("%s/%s", to, names[i]), *path = str_fmt("%s/%s", from, names[i]);

        each(d, name, path);
        free(name);
        free(path);
    }
    host_names_free(names);
    free(from);
}

// ------------------------------------------------------------------------------------ plain files

static void add_file(struct dump *d, const char *name, const char *path)
{
    char *text = NULL;
    size_t len = 0;

    if (host_read_end(path, LOG_MAX, &text, &len) == 0)
        dump_add(d, name, text);
    free(text);
}

// A directory with a certificate: never its key.
static void add_certificate(struct dump *d, const char *name, const char *path)
{
    static const char *const files[] = {"ca.crt", "tls.crt"};

    for (size_t i = 0; i < 2; i++) {
        char *to = str_fmt("%s/%s", name, files[i]), *from = str_fmt("%s/%s", path, files[i]);

        add_file(d, to, from);
        free(to);
        free(from);
    }
}

static void add_grant(struct dump *d, const char *name, const char *path)
{
    char *text = NULL;
    size_t len = 0;
    json_t *grant = NULL;

    if (host_read(path, &text, &len, NULL) == 0)
        grant = json_loads(text, 0, NULL);
    if (grant) {
        json_object_del(grant, "code");
        dump_add_value(d, name, grant);
    }
    json_decref(grant);
    free(text);
}

// What a program prints; nothing when there is no such program.
static void add_output(struct dump *d, const char *name, const char *command)
{
    FILE *from = popen(command, "r");
    char *text = xcalloc(1, LOG_MAX + 1);
    size_t len = 0, n;

    while (from && len < LOG_MAX && (n = fread(text + len, 1, LOG_MAX - len, from)) > 0)
        len += n;
    if (from)
        pclose(from);
    if (len > 0)
        dump_add(d, name, text);
    free(text);
}

static void add_units(struct dump *d)
{
    const struct host_paths *p = &d->store->paths;
    const char *user = p->is_system ? "" : " --user";

    for (size_t i = 0; i < 2; i++) {
        char *unit = i == 0 ? str_fmt("skupper-%s.service", p->ns)
                            : str_fmt("skupper-%s-agent.service", p->ns);
        char *name = str_fmt("systemd/%s", unit), *path = str_fmt("%s/%s", p->units, unit);
        char *log = str_fmt("logs/%s.log", unit);
        char *command = str_fmt("journalctl%s -n 10000 --no-pager -u %s 2>/dev/null", user, unit);

        add_file(d, name, path);
        if (host_has_systemd(p))
            add_output(d, log, command);
        free(unit);
        free(name);
        free(path);
        free(log);
        free(command);
    }
}

static void add_versions(struct dump *d)
{
    struct cli *c = d->cli;
    json_t *v = json_pack("{s:s, s:s, s:s}", "skupper", cli_version, "platform",
                          cli_platform_name(c->platform), "namespace", d->store->ns);

    json_object_set_new(v, "running", json_boolean(store_is_running(d->store)));
    json_object_set_new(v, "time", json_integer(time(NULL)));
    dump_add_value(d, "versions/skupper.yaml", v);
    add_output(d, "versions/host.txt", "uname -srm; cat /etc/os-release 2>/dev/null");
    json_decref(v);
}

// ------------------------------------------------------------------------------------- the router

// The letters are those of skstat, under which people look for them.
static const struct {
    const char *letter, *type;
} questions[] = {
    {"g", "router"},
    {"c", "connection"},
    {"l", "router.link"},
    {"n", "router.node"},
    {"e", "connector"},
    {"a", "router.address"},
    {"m", "allocator"},
    {"p", "policy"},
    {"listeners", "listener"},
    {"profiles", "sslProfile"},
    {"tcp-listeners", "tcpListener"},
    {"tcp-connectors", "tcpConnector"},
    {"log", "log"},
    {"metrics", "routerMetrics"},
};

static void ask(struct dump *d, struct client_line *line)
{
    char *router = xstrdup("router");

    for (size_t i = 0; i < sizeof(questions) / sizeof(questions[0]); i++) {
        struct client_request r = {
            .operation = "QUERY", .type = questions[i].type, .timeout_ms = DUMP_ANSWER_MS};
        struct why why = {""};
        json_t *answer = NULL;
        char *name;

        if (client_line_ask(line, &r, &answer, &why) < 0)
            answer = json_pack("{s:s}", "error", why.text);
        if (i == 0 && json_is_array(answer) && site_text(json_array_get(answer, 0), "id")[0]) {
            free(router);
            router = str_dup(str_of(site_text(json_array_get(answer, 0), "id")));
        }
        name = str_fmt("skstat/%s-skstat-%s.json", router, questions[i].letter);
        dump_add_value(d, name, answer);
        free(name);
        json_decref(answer);
    }
    free(router);
}

void dump_router(struct dump *d, struct client_line *line, const char *words)
{
    char *text;

    if (line) {
        ask(d, line);
        return;
    }
    text = str_fmt("the router does not answer: %s\n", words);
    dump_add(d, "skstat/error.txt", text);
    free(text);
}

static void add_router(struct dump *d)
{
    struct reach router;
    struct why why = {""};

    (void)reach_host(d->store, DUMP_ANSWER_MS, &router, &why); // else there are words
    dump_router(d, router.line, why.text);
    reach_end(&router);
}

// ---------------------------------------------------------------------------------------- command

static void fill(struct dump *d)
{
    static const char *const files[][2] = {
        {"router/skrouterd.json", "runtime/router/skrouterd.json"},
        {"logs/agent.log", "internal/agent.log"},
        {"logs/router.log", "internal/router.log"},
        {"state/state.json", "internal/state.json"},
        {"state/services.json", "runtime/shared/services.json"},
        {"state/heard.json", "runtime/shared/heard.json"},
    };

    add_versions(d);
    each_file(d, "input/resources", "input/resources", add_resources);
    each_file(d, "runtime/resources", "runtime/resources", add_resources);
    each_file(d, "runtime/links", "runtime/links", add_resources);
    each_file(d, "runtime/certs", "runtime/certs", add_certificate);
    each_file(d, "runtime/issuers", "runtime/issuers", add_certificate);
    each_file(d, "input/certs", "input/certs", add_certificate);
    each_file(d, "input/issuers", "input/issuers", add_certificate);
    each_file(d, "runtime/grants", "runtime/grants", add_grant);
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        char *path = host_path(&d->store->paths, "%s", files[i][1]);

        add_file(d, files[i][0], path);
        free(path);
    }
    add_units(d);
    add_router(d);
}

// "<arg or skupper-dump>-<namespace>-<time>.tar.gz"; the caller's.
static char *file_name(const struct cli *c, const char *ns)
{
    const char *given = c->arg_count ? c->args[0] : "skupper-dump";
    size_t len = strlen(given);
    time_t now = time(NULL);
    char stamp[32];
    struct tm tm;

    if (len > 7 && strcmp(given + len - 7, ".tar.gz") == 0)
        len -= 7;
    else if (len > 4 && strcmp(given + len - 4, ".tgz") == 0)
        len -= 4;
    strftime(stamp, sizeof(stamp), "%Y%m%d%H%M%S", localtime_r(&now, &tm));
    return str_fmt("%.*s-%s-%s.tar.gz", (int)len, given, ns, stamp);
}

static int run_dump(struct cli *c, struct store *s)
{
    struct dump d = {.cli = c, .store = s};
    struct why why = {""};
    char *name;
    int status = EXIT_OK;

    if (c->platform == ON_KUBERNETES && cluster_check(s) != EXIT_OK)
        return c->failure;
    name = file_name(c, s->ns);
    if (host_archive_new(name, ARCHIVE_MODE, &d.out, &why) < 0) {
        status = cli_fail(c, "%s", why.text);
    } else {
        if (c->platform == ON_KUBERNETES)
            dump_cluster(&d);
        else
            fill(&d);
        if (host_archive_close(d.out, &why) < 0)
            status = cli_fail(c, "%s", why.text);
        else
            cli_say(c, "Skupper dump details written to compressed archive:  %s", name);
    }
    free(name);
    return status;
}

const struct command cli_debug_commands[] = {
    {.name = "debug dump",
     .args = "[<file>]",
     .summary = "Everything that helps to find a fault, in one archive",
     .more =
         "Writes <file>-<namespace>-<time>.tar.gz with versions, resources, certificates, logs, "
         "units, the router's configuration and what its management tells. No private key and "
         "no code of a token is in it.",
     .args_max = 1,
     .run_on = run_dump},
    {0},
};
