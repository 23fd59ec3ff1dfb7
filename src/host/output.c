// SPDX-License-Identifier: Apache-2.0
// What the agent tells in files. They are all made from what is known, so that after a crash they
// are simply written again.
#include <stdlib.h>
#include <string.h>

#include "host/inside.h"
#include "pki/pki.h"

enum { LINK_MODE = 0600, SECRET_MODE = 0600, PLAIN_MODE = 0644 };

// "Listener/db" is in Listener-db.yaml.
static char *file_of(const char *key)
{
    char *name = str_fmt("%s.yaml", key), *slash = strchr(name, '/');

    if (slash)
        *slash = '-';
    return name;
}

static int write_one(const char *directory, const char *key, const json_t *resource,
                     struct why *why)
{
    char *name = file_of(key), *path = str_fmt("%s/%s", directory, name);
    char *text = yaml_write(resource, YAML_BLOCK);
    bool is_secret = strcmp(site_text(resource, "kind"), "Secret") == 0 ||
                     strncmp(key, "Access", 6) == 0; // codes of tokens and grants
    int err = host_put(path, str_of(text), is_secret ? SECRET_MODE : PLAIN_MODE, why);

    free(text);
    free(path);
    free(name);
    return err;
}

// Removes the files of keys that are not in `now`.
static int remove_others(const char *directory, const json_t *now, struct why *why)
{
    char **names = host_list(directory, ".yaml");
    int err = 0;

    for (size_t i = 0; !err && names[i]; i++) {
        char *key = str_dup((struct str){names[i], strlen(names[i]) - strlen(".yaml")});
        char *hyphen = strchr(key, '-'), *path = str_fmt("%s/%s", directory, names[i]);

        if (hyphen)
            *hyphen = '/';
        if (!json_object_get(now, key) && strncmp(key, "ConfigMap/", 10) != 0)
            err = host_remove(path, why);
        free(path);
        free(key);
    }
    host_names_free(names);
    return err;
}

int output_resources(const struct host_paths *paths, const json_t *before, const json_t *now,
                     struct why *why)
{
    char *directory = host_path(paths, "runtime/resources");
    const char *key;
    json_t *resource;
    int err = 0;

    // One that cannot be written keeps no other from being told.
    json_object_foreach((json_t *)(uintptr_t)now, key, resource)
    {
        if (!json_equal(json_object_get(before, key), resource) &&
            write_one(directory, key, resource, err ? NULL : why) < 0)
            err = ERR_IO;
    }
    if (!err)
        err = remove_others(directory, now, why);
    free(directory);
    return err;
}

int output_router(const struct host_paths *paths, const json_t *config, struct why *why)
{
    char *path = host_path(paths, "runtime/router/skrouterd.json");
    char *text = json_text(config, JSON_INDENT(4));
    int err = host_write(path, str_of(text), PLAIN_MODE, why);

    free(text);
    free(path);
    return err;
}

static char *read_pem(const struct host_paths *paths, const char *certificate, const char *file)
{
    char *path = host_path(paths, "runtime/certs/%s/%s", certificate, file), *text = NULL;
    size_t len = 0;

    if (host_read(path, &text, &len, NULL) < 0)
        text = NULL;
    free(path);
    return text;
}

static char *link_text(const struct host_paths *paths, const json_t *link)
{
    const char *certificate = site_text(link, "certificate");
    const json_t *documents = json_object_get(link, "documents");
    json_t *secret = json_deep_copy(json_array_get(documents, 0));
    char *ca = read_pem(paths, certificate, "ca.crt"),
         *cert = read_pem(paths, certificate, "tls.crt"),
         *key = read_pem(paths, certificate, "tls.key");
    char *first, *second, *text;

    site_secret_fill(secret, ca, cert, key);
    first = yaml_write(secret, YAML_BLOCK);
    second = yaml_write(json_array_get(documents, 1), YAML_BLOCK);
    text = str_fmt("---\n%s---\n%s", first, second);
    json_decref(secret);
    free(ca);
    free(cert);
    free(key);
    free(first);
    free(second);
    return text;
}

int output_links(const struct host_paths *paths, const json_t *links, struct why *why)
{
    char *directory = host_path(paths, "runtime/links"), **names = host_list(directory, NULL);
    const char *file;
    json_t *link;
    int err = 0;

    json_object_foreach((json_t *)(uintptr_t)links, file, link)
    {
        char *text = link_text(paths, link), *path = str_fmt("%s/%s", directory, file);

        if (!err)
            err = host_put(path, str_of(text), LINK_MODE, why);
        free(text);
        free(path);
    }
    for (size_t i = 0; !err && names[i]; i++) {
        char *path = str_fmt("%s/%s", directory, names[i]);

        if (!json_object_get(links, names[i]))
            err = host_remove(path, why);
        free(path);
    }
    host_names_free(names);
    free(directory);
    return err;
}

static char *password_of(const struct site_input *inputs, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        const json_t *secret = inputs[i].value;

        if (strcmp(site_text(secret, "kind"), "Secret") == 0 &&
            strcmp(site_text(secret, "metadata.name"), name) == 0)
            return site_secret_get(secret, "password");
    }
    return NULL;
}

static int write_password(const char *directory, const char *name, struct str password,
                          struct why *why)
{
    char *folder = str_fmt("%s/%s", directory, name), *path = str_fmt("%s/password.txt", folder);
    int err = host_make_directory(folder, why);

    if (!err)
        err = host_put(path, password, SECRET_MODE, why);
    free(folder);
    free(path);
    return err;
}

static int remove_proxies(const char *directory, const json_t *wanted, struct why *why)
{
    char **names = host_list(directory, NULL);
    int err = 0;

    for (size_t i = 0; !err && names[i]; i++) {
        char *path = str_fmt("%s/%s", directory, names[i]);

        if (!json_object_get(wanted, names[i]))
            err = host_remove(path, why);
        free(path);
    }
    host_names_free(names);
    return err;
}

int output_proxies(const struct host_paths *paths, const json_t *config,
                   const struct site_input *inputs, size_t count, struct why *why)
{
    char *directory = host_path(paths, "runtime/proxies");
    json_t *wanted = json_object(), *pair;
    size_t i;
    int err = 0;

    json_array_foreach((json_t *)(uintptr_t)config, i, pair)
    {
        const json_t *attrs = json_array_get(pair, 1);
        const char *name = site_text(attrs, "name");
        char *password;

        if (strcmp(json_string_value(json_array_get(pair, 0)), "proxyProfile") != 0 ||
            !json_object_get(attrs, "password"))
            continue;
        json_object_set_new(wanted, name, json_true());
        password = password_of(inputs, count, name);
        if (!err && password)
            err = write_password(directory, name, str_of(password), why);
        pki_wipe(password);
    }
    if (!err)
        err = remove_proxies(directory, wanted, why);
    json_decref(wanted);
    free(directory);
    return err;
}
