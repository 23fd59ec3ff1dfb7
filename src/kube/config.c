// SPDX-License-Identifier: Apache-2.0
// Texts of kubeconfig files to one configuration. No file is opened here.
//
// What stands in the files is merged as kubectl does it: of the clusters, users and contexts with
// the same name, and of the current context, the first one that is met counts, whole; paths are
// relative to the file that names them.
#include "kube/config.h"

#include <ctype.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/yaml.h"
#include "pki/pki.h"
#include "site/site.h"

void material_fini(struct material *m)
{
    free(m->path);
    pki_wipe(m->text);
    *m = (struct material){0};
}

static void free_texts(char **texts)
{
    for (char **at = texts; at && *at; at++)
        free(*at);
    free(texts);
}

void kube_config_free(struct kube_config *c)
{
    if (!c)
        return;
    free(c->context);
    free(c->ns);
    free(c->server);
    free(c->proxy);
    free(c->tls_name);
    free(c->source);
    material_fini(&c->ca);
    material_fini(&c->cert);
    material_fini(&c->key);
    material_fini(&c->token);
    free(c->exec.api_version);
    free_texts(c->exec.argv);
    free_texts(c->exec.env);
    free(c->exec.hint);
    free(c);
}

const char *kube_config_namespace(const struct kube_config *c)
{
    return c->ns;
}

const char *kube_config_context(const struct kube_config *c)
{
    return c->context;
}

const char *kube_config_server(const struct kube_config *c)
{
    return c->server;
}

// ------------------------------------------------------------------------------------- merging

// One entry of "clusters", "users" or "contexts", and the file it stands in.
struct found {
    const json_t *value;
    const char *path;
};

struct files {
    const struct config_source *sources;
    struct yaml_docs **docs;
    size_t count;
};

static const json_t *root(const struct files *f, size_t index)
{
    return yaml_docs_count(f->docs[index]) > 0 ? yaml_docs_at(f->docs[index], 0) : NULL;
}

static struct found find(const struct files *f, const char *list, const char *inner,
                         const char *name)
{
    const json_t *entry;
    size_t i;

    for (size_t at = 0; at < f->count; at++)
        json_array_foreach(json_object_get(root(f, at), list), i, entry)
        {
            const char *its = json_string_value(json_object_get(entry, "name"));

            if (its && strcmp(its, name) == 0)
                return (struct found){json_object_get(entry, inner), f->sources[at].path};
        }
    return (struct found){NULL, NULL};
}

// "a, b, c": at most a line of them.
static void list_names(const struct files *f, const char *list, char *out, size_t size)
{
    const json_t *entry;
    size_t i, len = 0;

    snprintf(out, size, "none");
    for (size_t at = 0; at < f->count; at++)
        json_array_foreach(json_object_get(root(f, at), list), i, entry)
        {
            const char *name = json_string_value(json_object_get(entry, "name"));

            if (name && len < size)
                len += (size_t)snprintf(out + len, size - len, "%s%s", len ? ", " : "", name);
        }
}

static const char *where(const struct files *f)
{
    return f->count == 1 ? f->sources[0].path : "the files of KUBECONFIG";
}

static const char *current_context(const struct files *f)
{
    for (size_t at = 0; at < f->count; at++) {
        const char *name = json_string_value(json_object_get(root(f, at), "current-context"));

        if (name && name[0])
            return name;
    }
    return NULL;
}

// -------------------------------------------------------------------------------------- fields

static const char *text_of(const json_t *map, const char *key)
{
    const char *text = json_string_value(json_object_get(map, key));

    return text && text[0] ? text : NULL;
}

static char *resolve(const char *file, const char *path)
{
    const char *slash = strrchr(file, '/');

    if (path[0] == '/' || !slash)
        return xstrdup(path);
    return str_fmt("%.*s/%s", (int)(slash - file), file, path);
}

// `key` names a file, `key`-data holds the same in base64 and counts more.
static int read_material(struct found in, const char *key, struct material *out, struct why *why)
{
    char data_key[64];
    const char *data, *path = text_of(in.value, key);

    snprintf(data_key, sizeof(data_key), "%s-data", key);
    data = text_of(in.value, data_key);
    if (!data) {
        if (path)
            out->path = resolve(in.path, path);
        return 0;
    }
    if (strlen(data) > MATERIAL_MAX) {
        why_set(why, "%s is larger than %d KiB", data_key, MATERIAL_MAX / 1024);
        return ERR_INVALID;
    }
    out->text = site_base64_read(data);
    if (out->text)
        return 0;
    why_set(why, "%s is no base64", data_key);
    return ERR_INVALID;
}

static int read_cluster(struct found in, struct kube_config *c, struct why *why)
{
    const char *server = text_of(in.value, "server");
    const char *proxy = text_of(in.value, "proxy-url"), *tls = text_of(in.value, "tls-server-name");
    size_t len;

    if (!server || (strncmp(server, "https://", 8) != 0 && strncmp(server, "http://", 7) != 0)) {
        why_set(why, "server is %s%s; expected a URL as https://192.0.2.1:6443",
                server ? "" : "missing", server ? server : "");
        return ERR_INVALID;
    }
    for (const char *at = server; *at; at++)
        if ((unsigned char)*at <= ' ' || strchr("?#@", *at)) {
            why_set(why, "server is %.200s, which is no URL of a server", server);
            return ERR_INVALID;
        }
    len = strlen(server);
    while (len > 0 && server[len - 1] == '/')
        len--;
    if (tls && strpbrk(tls, "/?#@: ")) {
        why_set(why, "tls-server-name is %.200s, which is no name of a host", tls);
        return ERR_INVALID;
    }
    c->server = str_dup((struct str){server, len});
    c->proxy = proxy ? xstrdup(proxy) : NULL;
    c->tls_name = tls ? xstrdup(tls) : NULL;
    c->is_insecure = json_is_true(json_object_get(in.value, "insecure-skip-tls-verify"));
    return read_material(in, "certificate-authority", &c->ca, why);
}

// ----------------------------------------------------------------------------------- credentials

static int read_args(struct found in, const json_t *args, struct exec_plan *out, struct why *why)
{
    const char *command = text_of(in.value, "command");
    const json_t *arg;
    size_t i;

    if (!command || json_array_size(args) > EXEC_ARGS_MAX) {
        why_set(why, "exec: %s", command ? "too many args" : "command is missing");
        return ERR_INVALID;
    }
    out->argv = xcalloc(json_array_size(args) + 2, sizeof(char *));
    // Without a slash it is looked for in PATH.
    out->argv[0] = strchr(command, '/') ? resolve(in.path, command) : xstrdup(command);
    json_array_foreach(args, i, arg)
    {
        if (!json_is_string(arg)) {
            why_set(why, "exec: args[%zu] is no text", i);
            return ERR_INVALID;
        }
        out->argv[i + 1] = xstrdup(json_string_value(arg));
    }
    return 0;
}

static int read_env(const json_t *env, struct exec_plan *out, struct why *why)
{
    const json_t *one;
    size_t i;

    if (json_array_size(env) > EXEC_ARGS_MAX) {
        why_set(why, "exec: too many variables in env");
        return ERR_INVALID;
    }
    out->env = xcalloc(json_array_size(env) + 1, sizeof(char *));
    json_array_foreach(env, i, one)
    {
        const char *name = text_of(one, "name");
        const char *value = json_string_value(json_object_get(one, "value"));

        if (!name || strchr(name, '=')) {
            why_set(why, "exec: env[%zu] has no name", i);
            return ERR_INVALID;
        }
        out->env[i] = str_fmt("%s=%s", name, value ? value : "");
    }
    return 0;
}

static int read_exec(struct found in, struct exec_plan *out, struct why *why)
{
    const char *version = text_of(in.value, "apiVersion"),
               *mode = text_of(in.value, "interactiveMode");
    const char *hint = text_of(in.value, "installHint");

    if (!version || (strcmp(version, "client.authentication.k8s.io/v1") != 0 &&
                     strcmp(version, "client.authentication.k8s.io/v1beta1") != 0)) {
        why_set(why,
                "exec: apiVersion is %.100s; expected client.authentication.k8s.io/v1 or /v1beta1; "
                "a newer version of the program may write it",
                version ? version : "missing");
        return ERR_INVALID;
    }
    out->api_version = xstrdup(version);
    out->hint = hint ? xstrdup(hint) : NULL;
    out->says_cluster = json_is_true(json_object_get(in.value, "provideClusterInfo"));
    out->mode = mode && strcmp(mode, "Never") == 0    ? EXEC_NEVER
                : mode && strcmp(mode, "Always") == 0 ? EXEC_ALWAYS
                                                      : EXEC_IF_AVAILABLE;
    int err = read_args(in, json_object_get(in.value, "args"), out, why);

    return err < 0 ? err : read_env(json_object_get(in.value, "env"), out, why);
}

// What would make us somebody else than the file says, were it ignored.
static int refuse_unknown(const json_t *user, struct why *why)
{
    static const char *const keys[] = {"auth-provider", "username",  "password",     "as",
                                       "as-uid",        "as-groups", "as-user-extra"};

    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        if (json_object_get(user, keys[i])) {
            why_set(why, "%s is not supported; use a token, a client certificate or an exec plugin",
                    keys[i]);
            return ERR_UNSUPPORTED;
        }
    return 0;
}

static int read_user(struct found in, struct kube_config *c, struct why *why)
{
    const char *token = text_of(in.value, "token"), *file = text_of(in.value, "tokenFile");
    const json_t *exec = json_object_get(in.value, "exec");
    int err = refuse_unknown(in.value, why);

    if (!err)
        err = read_material(in, "client-certificate", &c->cert, why);
    if (!err)
        err = read_material(in, "client-key", &c->key, why);
    if (!err && material_is_set(&c->cert) != material_is_set(&c->key)) {
        why_set(why, "client-certificate and client-key are of use only together");
        err = ERR_INVALID;
    }
    if (err < 0)
        return err;
    if (file)
        c->token.path = resolve(in.path, file);
    else if (token)
        c->token.text = xstrdup(token);
    if (c->token.path || c->token.text || !json_is_object(exec))
        return 0;
    return read_exec((struct found){exec, in.path}, &c->exec, why);
}

// ------------------------------------------------------------------------------------- choosing

static int missing(const struct files *f, const char *what, const char *list, const char *name,
                   const char *advice, struct why *why)
{
    char names[200];

    list_names(f, list, names, sizeof(names));
    why_set(why, "%.150s: there is no %s \"%.60s\" (there is: %s); %s", where(f), what, name, names,
            advice);
    return ERR_NOT_FOUND;
}

static int choose(const struct files *f, const struct kube_config_opts *opts, struct kube_config *c,
                  struct why *why)
{
    const char *asked = opts->context && opts->context[0] ? opts->context : NULL;
    const char *name = asked ? asked : current_context(f);
    const char *cluster_name, *user_name, *ns;
    struct found context, cluster, user = {NULL, NULL};
    int err;

    if (!name) {
        char names[200];

        list_names(f, "contexts", names, sizeof(names));
        why_set(why,
                "%.150s: no context is chosen (there is: %s); choose one with --context, or with "
                "\"kubectl config use-context\"",
                where(f), names);
        return ERR_NOT_FOUND;
    }
    context = find(f, "contexts", "context", name);
    if (!context.path)
        return missing(f, "context", "contexts", name, "choose one of them with --context", why);
    cluster_name = text_of(context.value, "cluster");
    user_name = text_of(context.value, "user");
    ns = opts->ns && opts->ns[0] ? opts->ns : text_of(context.value, "namespace");
    cluster = find(f, "clusters", "cluster", cluster_name ? cluster_name : "");
    if (!cluster.path)
        return missing(f, "cluster", "clusters", cluster_name ? cluster_name : "",
                       "the context names it; is the file whole?", why);
    if (user_name) {
        user = find(f, "users", "user", user_name);
        if (!user.path)
            return missing(f, "user", "users", user_name,
                           "the context names it; is the file whole?", why);
    }
    c->context = xstrdup(name);
    c->ns = xstrdup(ns ? ns : "default");
    c->source = str_fmt("context %s of %s", name, context.path);
    err = read_cluster(cluster, c, why);
    if (err < 0) {
        why_prefix(why, "%.150s: cluster %.60s", cluster.path, cluster_name);
        return err;
    }
    err = user_name ? read_user(user, c, why) : 0;
    if (err < 0)
        why_prefix(why, "%.150s: user %.60s", user.path, user_name);
    return err;
}

static bool is_empty(const struct files *f)
{
    static const char *const keys[] = {"contexts", "clusters", "users", "current-context"};

    for (size_t at = 0; at < f->count; at++)
        for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
            const json_t *value = json_object_get(root(f, at), keys[i]);

            if (json_array_size(value) > 0 || json_string_length(value) > 0)
                return false;
        }
    return true;
}

static int parse(const struct config_source *sources, size_t count, struct files *f,
                 struct why *why)
{
    for (; f->count < count; f->count++) {
        const struct config_source *s = &sources[f->count];
        int err = yaml_docs_parse(s->path, s->text, &f->docs[f->count], why);

        if (err < 0)
            return err;
        if (yaml_docs_count(f->docs[f->count]) > 0 &&
            !json_is_object(yaml_docs_at(f->docs[f->count], 0))) {
            why_set(why, "%.200s:1: this is no kubeconfig; expected a map", s->path);
            f->count++;
            return ERR_INVALID;
        }
    }
    return 0;
}

int config_read(const struct config_source *sources, size_t count,
                const struct kube_config_opts *opts, struct kube_config **out, struct why *why)
{
    struct files f = {.sources = sources, .docs = xcalloc(count + 1, sizeof(struct yaml_docs *))};
    struct kube_config *c = xcalloc(1, sizeof(*c));
    int err = parse(sources, count, &f, why);

    if (!err && is_empty(&f) && !opts->context && !opts->kubeconfig)
        err = 1;
    else if (!err)
        err = choose(&f, opts, c, why);
    for (size_t i = 0; i < f.count; i++)
        yaml_docs_free(f.docs[i]);
    free(f.docs);
    if (err == 0)
        *out = c;
    else
        kube_config_free(c);
    return err;
}
