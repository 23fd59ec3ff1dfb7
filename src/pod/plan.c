// SPDX-License-Identifier: Apache-2.0
// From the configuration of a router, and the Secrets there are, to files and to what the router
// can be given now. A profile's files and its entity move together: until its Secret is whole and
// as new as the configuration says, neither is touched.
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "pod/inside.h"
#include "site/site.h"

#define CONTEXT "internal.skupper.io/tls-profile-context"
#define ANNOTATION ("metadata.annotations[" CONTEXT "]")

enum { OPEN_MODE = 0644, SECRET_MODE = 0600, WORDS_MAX = 3 };

const char *const plan_secret_keep[] = {
    "type", "data[ca.crt]", "data[tls.crt]", "data[tls.key]", "data[password]", ANNOTATION, NULL};

// Which key of a Secret an attribute of a profile names a file for.
static const struct {
    const char *attribute, *key;
    mode_t mode;
} parts[] = {
    {"caCertFile", "ca.crt", OPEN_MODE},
    {"certFile", "tls.crt", OPEN_MODE},
    {"privateKeyFile", "tls.key", SECRET_MODE},
};
enum { PART_COUNT = sizeof(parts) / sizeof(parts[0]) };

// --------------------------------------------------------------------------------------- reading

static bool is_entity(const json_t *pair)
{
    return json_is_string(json_array_get(pair, 0)) &&
           (json_array_size(pair) == 1 ||
            (json_array_size(pair) == 2 && json_is_object(json_array_get(pair, 1))));
}

int plan_read(const char *text, json_t **out, struct why *why)
{
    size_t len = strnlen(text, PLAN_CONFIG_MAX + 1), i;
    json_error_t error;
    json_t *config, *pair;

    if (len > PLAN_CONFIG_MAX) {
        why_set(why, "skrouterd.json is larger than %d octets", PLAN_CONFIG_MAX);
        return ERR_DECODE;
    }
    config = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
    if (!config) {
        why_set(why, "skrouterd.json:%d:%d: %s", error.line, error.column, error.text);
        return ERR_DECODE;
    }
    if (!json_is_array(config))
        why_set(why, "skrouterd.json is no list of entities");
    json_array_foreach(config, i, pair)
    {
        if (!why->text[0] && !is_entity(pair))
            why_set(why, "skrouterd.json: item %zu is not [type, {attributes}]", i);
    }
    if (why->text[0]) {
        json_decref(config);
        return ERR_DECODE;
    }
    *out = config;
    return 0;
}

static const char *type_of(const json_t *pair)
{
    return json_string_value(json_array_get(pair, 0));
}

static bool is_type(const json_t *pair, const char *type)
{
    return strcmp(type_of(pair), type) == 0;
}

static json_t *attributes_of(const json_t *pair)
{
    return json_array_get(pair, 1);
}

// ---------------------------------------------------------------------------------------- secrets

// {profile: {"secret", "ordinal"}} as the Secrets themselves say.
static json_t *read_contexts(const json_t *secrets)
{
    json_t *out = json_object(), *secret, *item;
    const char *name;
    size_t i;

    json_object_foreach((json_t *)(uintptr_t)secrets, name, secret)
    {
        const json_t *annotations =
            json_object_get(json_object_get(secret, "metadata"), "annotations");
        const char *text = json_string_value(json_object_get(annotations, CONTEXT));
        json_t *list = text ? json_loads(text, 0, NULL) : NULL;

        json_array_foreach(list, i, item)
        {
            const char *profile = site_text(item, "profileName");
            json_int_t ordinal = json_integer_value(json_object_get(item, "ordinal"));
            const json_t *other = json_object_get(out, profile);

            if (profile[0] &&
                (!other || json_integer_value(json_object_get(other, "ordinal")) < ordinal))
                json_object_set_new(out, profile,
                                    json_pack("{s:s, s:I}", "secret", name, "ordinal", ordinal));
        }
        json_decref(list);
    }
    return out;
}

// The Secret of a profile: one that says so, or one of its name, or of that without "-profile".
static const json_t *find_secret(const json_t *secrets, const json_t *context, const char *profile,
                                 const char **name)
{
    static const char suffix[] = "-profile";
    size_t len = strlen(profile), tail = sizeof(suffix) - 1;
    json_t *found;

    *name = context ? site_text(context, "secret") : profile;
    found = json_object_get(secrets, *name);
    if (!found && !context && len > tail && strcmp(profile + len - tail, suffix) == 0) {
        char *cut = str_dup((struct str){profile, len - tail});

        found = json_object_get(secrets, cut);
        free(cut);
    }
    return found;
}

static json_int_t number(const json_t *attributes, const char *name)
{
    const json_t *v = json_object_get(attributes, name);

    return json_is_string(v) ? strtoll(json_string_value(v), NULL, 10) : json_integer_value(v);
}

// ------------------------------------------------------------------------------------------ files

// Beneath the folder, and there is no way out of it.
static bool is_beneath(const char *path, const char *folder)
{
    size_t len = strlen(folder);

    return strncmp(path, folder, len) == 0 && path[len] == '/' && !strstr(path, "/../") &&
           path[strlen(path) - 1] != '/';
}

static void add_file(struct plan *p, const char *path, char *take_text, mode_t mode)
{
    if ((p->file_count & (p->file_count - 1)) == 0)
        p->files = xrealloc(p->files, p->file_count ? p->file_count * 2 : 1, sizeof(*p->files));
    p->files[p->file_count++] =
        (struct plan_file){.path = xstrdup(path), .text = take_text, .mode = mode};
}

static void wait_for(struct plan *p, const char *profile, char *take_words)
{
    json_object_set_new(p->waiting, profile, json_string(take_words));
    free(take_words);
}

static void file_free(struct plan_file *f)
{
    if (f->text)
        explicit_bzero(f->text, strlen(f->text));
    free(f->text);
    free(f->path);
}

// All of a profile's files, or none.
static void plan_files(struct plan *p, const json_t *profile, const json_t *secret,
                       const char *secret_name, const char *folder)
{
    const char *name = site_text(profile, "name");
    size_t before = p->file_count;

    for (size_t i = 0; i < PART_COUNT; i++) {
        const char *path = site_text(profile, parts[i].attribute);
        char *text = path[0] ? site_secret_get(secret, parts[i].key) : NULL;

        if (!path[0])
            continue;
        if (text && text[0] && is_beneath(path, folder)) {
            add_file(p, path, text, parts[i].mode);
            continue;
        }
        wait_for(p, name,
                 is_beneath(path, folder)
                     ? str_fmt("Secret %s has no %s yet", secret_name, parts[i].key)
                     : str_fmt("%s %s is not beneath %s", parts[i].attribute, path, folder));
        free(text);
        while (p->file_count > before)
            file_free(&p->files[--p->file_count]);
        return;
    }
}

static void plan_profile(struct plan *p, const json_t *profile, const json_t *secrets,
                         const json_t *contexts, const char *folder)
{
    const char *name = site_text(profile, "name"), *secret_name;
    const json_t *context = json_object_get(contexts, name);
    const json_t *secret = find_secret(secrets, context, name, &secret_name);
    json_int_t wanted = number(profile, "ordinal");
    json_int_t has = context ? json_integer_value(json_object_get(context, "ordinal")) : 0;

    if (!name[0])
        return; // the router refuses it
    if (!secret)
        wait_for(p, name, str_fmt("there is no Secret %s", secret_name));
    else if (has < wanted)
        wait_for(p, name,
                 str_fmt("Secret %s is of revision %lld, and %lld is wanted", secret_name,
                         (long long)has, (long long)wanted));
    else
        plan_files(p, profile, secret, secret_name, folder);
}

// Profiles of both types may have one name.
static char *proxy_key(const char *name)
{
    return str_fmt("proxyProfile/%s", name);
}

static void plan_proxy(struct plan *p, const json_t *proxy, const json_t *secrets,
                       const char *folder)
{
    const char *name = site_text(proxy, "name"), *path = site_text(proxy, "password");
    const json_t *secret = json_object_get(secrets, name);
    char *text = secret ? site_secret_get(secret, "password") : NULL;

    if (strncmp(path, "file:", 5) == 0 && is_beneath(path + 5, folder) && text && text[0]) {
        add_file(p, path + 5, text, SECRET_MODE);
        return;
    }
    free(text);
    if (strncmp(path, "file:", 5) == 0) {
        char *key = proxy_key(name);

        wait_for(p, key, str_fmt("Secret %s has no password for the proxy", name));
        free(key);
    }
}

void plan_make(struct plan *p, const json_t *config, const json_t *secrets,
               const struct pod_opts *opts)
{
    json_t *contexts = read_contexts(secrets), *pair;
    size_t i, count = 0;

    *p = (struct plan){.waiting = json_object()};
    json_array_foreach(config, i, pair)
    {
        if (is_type(pair, "sslProfile") && count++ < PLAN_PROFILES_MAX)
            plan_profile(p, attributes_of(pair), secrets, contexts, opts->folder);
        else if (is_type(pair, "proxyProfile"))
            plan_proxy(p, attributes_of(pair), secrets, opts->proxy_folder);
    }
    json_decref(contexts);
}

void plan_fini(struct plan *p)
{
    for (size_t i = 0; i < p->file_count; i++)
        file_free(&p->files[i]);
    free(p->files);
    json_decref(p->waiting);
    *p = (struct plan){0};
}

// ----------------------------------------------------------------------------------------- wanted

static const char *name_of(const json_t *pair)
{
    return site_text(attributes_of(pair), "name");
}

static json_t *find(const json_t *config, const char *type, const char *name)
{
    json_t *pair;
    size_t i;

    json_array_foreach(config, i, pair)
    {
        if (is_type(pair, type) && strcmp(name_of(pair), name) == 0)
            return pair;
    }
    return NULL;
}

static bool proxy_waits(const json_t *waiting, const char *name)
{
    char *key = proxy_key(name);
    bool waits = json_object_get(waiting, key) != NULL;

    free(key);
    return waits;
}

static bool is_waiting(const json_t *pair, const json_t *waiting)
{
    const json_t *attributes = attributes_of(pair);

    if (is_type(pair, "sslProfile"))
        return json_object_get(waiting, name_of(pair)) != NULL;
    if (is_type(pair, "proxyProfile"))
        return proxy_waits(waiting, name_of(pair));
    return json_object_get(waiting, site_text(attributes, "sslProfile")) != NULL ||
           (json_object_get(attributes, "proxyProfile") &&
            proxy_waits(waiting, site_text(attributes, "proxyProfile")));
}

// What an entity that stays as it is refers to stays too.
static void keep_profile(json_t *out, const json_t *pair, const json_t *applied)
{
    static const char *const types[] = {"sslProfile", "proxyProfile"};

    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        const char *profile = site_text(attributes_of(pair), types[i]);
        json_t *kept = profile[0] ? find(applied, types[i], profile) : NULL;

        if (kept && !find(out, types[i], profile))
            json_array_append(out, kept);
    }
}

// An address of a listener that is left out has nothing to stand in.
static void drop_addresses(json_t *out)
{
    for (size_t i = json_array_size(out); i-- > 0;) {
        const json_t *one = json_array_get(out, i);

        if (is_type(one, "listenerAddress") &&
            !find(out, "tcpListener", site_text(attributes_of(one), "listener")))
            json_array_remove(out, i);
    }
}

json_t *plan_wanted(const json_t *config, const json_t *applied, const json_t *waiting)
{
    json_t *out = json_array(), *held = json_array(), *pair, *last;
    bool is_homeless = false;
    size_t i;

    json_array_foreach(config, i, pair)
    {
        if (!is_waiting(pair, waiting))
            json_array_append(out, pair);
        else if ((last = find(applied, type_of(pair), name_of(pair))) != NULL)
            json_array_append(held, last);
        else
            is_homeless |= is_type(pair, "tcpListener");
    }
    json_array_extend(out, held);
    json_array_foreach(held, i, pair) keep_profile(out, pair, applied);
    json_decref(held);
    if (is_homeless)
        drop_addresses(out);
    return out;
}

// {path: true} of what profiles name.
static void add_paths(json_t *out, const json_t *config, const struct pod_opts *opts)
{
    json_t *pair;
    size_t i;

    json_array_foreach(config, i, pair)
    {
        const char *password = site_text(attributes_of(pair), "password");

        for (size_t k = 0; is_type(pair, "sslProfile") && k < PART_COUNT; k++) {
            const char *path = site_text(attributes_of(pair), parts[k].attribute);

            if (is_beneath(path, opts->folder))
                json_object_set_new(out, path, json_true());
        }
        if (is_type(pair, "proxyProfile") && strncmp(password, "file:", 5) == 0 &&
            is_beneath(password + 5, opts->proxy_folder))
            json_object_set_new(out, password + 5, json_true());
    }
}

json_t *plan_leftovers(const json_t *applied, const json_t *config, const json_t *wanted,
                       const struct pod_opts *opts)
{
    json_t *had = json_object(), *named = json_object(), *out = json_array(), *yes;
    const char *path;

    add_paths(had, applied, opts);
    add_paths(named, config, opts);
    add_paths(named, wanted, opts);
    json_object_foreach(had, path, yes)
    {
        if (!json_object_get(named, path))
            json_array_append_new(out, json_string(path));
    }
    json_decref(had);
    json_decref(named);
    return out;
}

char *plan_words(const json_t *waiting)
{
    char *words = xstrdup("");
    const char *name;
    json_t *why;
    int count = 0;

    json_object_foreach((json_t *)(uintptr_t)waiting, name, why)
    {
        char *more = count < WORDS_MAX ? str_fmt("%s%s%s: %s", words, count ? "; " : "", name,
                                                 json_string_value(why))
                     : count == WORDS_MAX
                         ? str_fmt("%s; and %zu more", words, json_object_size(waiting) - WORDS_MAX)
                         : xstrdup(words);

        free(words);
        words = more;
        count++;
    }
    return words;
}
