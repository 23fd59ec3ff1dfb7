// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/yaml.h"
#include "host/host.h"
#include "pki/pki.h"

struct host_grant_store {
    char *directory;
    struct site_grant *grants;
    size_t count, size;
    json_t *broken; // {name: words}: files that cannot be read
    json_t *errors; // {name: words}: of the resources as they are now
};

static char *path_of(const struct host_grant_store *s, const char *name)
{
    return str_fmt("%s/%s.json", s->directory, name);
}

static struct site_grant *find(const struct host_grant_store *s, const char *name)
{
    for (size_t i = 0; i < s->count; i++)
        if (strcmp(s->grants[i].name, name) == 0)
            return &s->grants[i];
    return NULL;
}

// Takes the grant.
static void add(struct host_grant_store *s, const struct site_grant *take)
{
    if (s->count == s->size) {
        s->size = s->size ? s->size * 2 : 8;
        s->grants = xrealloc(s->grants, s->size, sizeof(*s->grants));
    }
    s->grants[s->count++] = *take;
}

static int keep(const struct host_grant_store *s, const struct site_grant *g, struct why *why)
{
    json_t *value = site_grant_write(g);
    char *json = json_text(value, JSON_INDENT(2) | JSON_SORT_KEYS);
    char *text = str_fmt("%s\n", json), *path = path_of(s, g->name);
    int err = host_write(path, str_of(text), 0600, why);

    pki_wipe(json);
    pki_wipe(text);
    free(path);
    json_decref(value);
    return err;
}

// --------------------------------------------------------------------------------------- opening

static int read_file(const char *path, const char *name, struct site_grant *out, struct why *why)
{
    char *text = NULL;
    size_t len = 0;
    int err = host_read(path, &text, &len, why);
    json_error_t error;
    json_t *value;

    if (err < 0)
        return err;
    value = json_loadb(text, len, 0, &error);
    pki_wipe(text);
    if (!value) {
        why_set(why, "%s:%d: %s", path, error.line, error.text);
        return ERR_DECODE;
    }
    err = site_grant_read(value, out, why);
    json_decref(value);
    if (err < 0)
        why_prefix(why, "%s", path);
    if (err == 0 && strcmp(out->name, name) != 0) {
        why_set(why, "%s: it is of the grant '%.100s'", path, out->name);
        site_grant_fini(out);
        return ERR_INVALID;
    }
    return err;
}

static void load(struct host_grant_store *s, const char *file)
{
    char *path = str_fmt("%s/%s", s->directory, file);
    char *name = str_dup((struct str){file, strlen(file) - strlen(".json")});
    struct site_grant g = {0};
    struct why why = {""};

    if (read_file(path, name, &g, &why) == 0) {
        add(s, &g);
    } else {
        log_write(LOG_AGENT, LOG_ERROR, "a grant serves nobody: %s", why.text);
        why_prefix(&why, "the file of the grant cannot be used, remove it for a new one");
        json_object_set_new(s->broken, name, json_string(why.text));
    }
    free(name);
    free(path);
}

int host_grant_store_open(const char *directory, struct host_grant_store **out, struct why *why)
{
    struct host_grant_store *s;
    int err = host_make_directory(directory, why);
    char **files;

    if (err < 0)
        return err;
    s = xcalloc(1, sizeof(*s));
    s->directory = xstrdup(directory);
    s->broken = json_object();
    s->errors = json_object();
    files = host_list(directory, ".json");
    for (char **file = files; *file; file++)
        load(s, *file);
    host_names_free(files);
    *out = s;
    return 0;
}

void host_grant_store_free(struct host_grant_store *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->count; i++)
        site_grant_fini(&s->grants[i]);
    free(s->grants);
    free(s->directory);
    json_decref(s->broken);
    json_decref(s->errors);
    free(s);
}

// -------------------------------------------------------------------------------------- changing

static int make(struct host_grant_store *s, const json_t *resource, int64_t now, struct why *why)
{
    char uid[PKI_UUID_LEN + 1], code[PKI_CODE_LEN + 1];
    struct site_grant g = {0};
    int err;

    pki_uuid(uid);
    pki_code(code);
    err = site_grant_make(resource, uid, code, now, &g, why);
    if (err == 0)
        err = keep(s, &g, why);
    if (err == 0)
        add(s, &g);
    else
        site_grant_fini(&g);
    return err;
}

// True: something changed.
static bool follow(struct host_grant_store *s, const json_t *resource, int64_t now)
{
    const char *name = site_text(resource, "metadata.name");
    struct site_grant *g = find(s, name);
    json_t *broken = json_object_get(s->broken, name);
    struct why why = {""};
    int err = 0;
    bool differs = true;

    if (!site_is_name(str_of(name)))
        return false; // the model says so
    if (broken) {
        json_object_set(s->errors, name, broken);
        return false;
    }
    if (!g)
        err = make(s, resource, now, &why);
    else if ((differs = site_grant_update(g, resource)))
        err = keep(s, g, &why);
    if (err < 0)
        json_object_set_new(s->errors, name, json_string(why.text));
    return differs && err == 0;
}

static bool is_wanted(const json_t *resources, const char *name)
{
    for (size_t i = 0; i < json_array_size(resources); i++)
        if (strcmp(site_text(json_array_get(resources, i), "metadata.name"), name) == 0)
            return true;
    return false;
}

// The file goes first: what is forgotten must not come back with the next start.
static bool forget_others(struct host_grant_store *s, const json_t *resources)
{
    size_t kept = 0;
    bool any = false;

    for (size_t i = 0; i < s->count; i++) {
        struct site_grant g = s->grants[i];
        char *path;

        if (is_wanted(resources, g.name)) {
            s->grants[kept++] = g;
            continue;
        }
        path = path_of(s, g.name);
        if (host_remove(path, NULL) < 0)
            log_write(LOG_AGENT, LOG_ERROR, "a grant is gone, but its file %s cannot be removed",
                      path);
        free(path);
        site_grant_fini(&g);
        any = true;
    }
    s->count = kept;
    return any;
}

bool host_grant_store_set(struct host_grant_store *s, const json_t *resources, int64_t now)
{
    bool any = forget_others(s, resources);
    json_t *before = s->errors, *resource;
    size_t i;

    s->errors = json_object();
    json_array_foreach(resources, i, resource) any |= follow(s, resource, now);
    any |= !json_equal(before, s->errors);
    json_decref(before);
    return any;
}

// --------------------------------------------------------------------------------------- reading

json_t *host_grant_store_facts(const struct host_grant_store *s, const char *server, const char *ca)
{
    json_t *facts = json_object(), *words;
    const char *name;

    for (size_t i = 0; i < s->count; i++) {
        const struct site_grant *g = &s->grants[i];
        char *url = server[0] ? str_fmt("https://%s/%s", server, g->uid) : xstrdup("");

        json_object_set_new(facts, g->name, site_grant_status(g, url, ca));
        free(url);
    }
    json_object_foreach(s->errors, name, words)
        json_object_set_new(facts, name, json_pack("{s:O}", "error", words));
    return facts;
}

size_t host_grant_store_grants(void *user, const struct site_grant **out)
{
    const struct host_grant_store *s = user;

    *out = s->grants;
    return s->count;
}

int host_grant_store_count(void *user, size_t index, struct why *why)
{
    struct host_grant_store *s = user;
    struct site_grant *g = &s->grants[index];
    int err;

    g->used++;
    err = keep(s, g, why);
    if (err < 0)
        g->used--;
    return err;
}
