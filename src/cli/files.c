// SPDX-License-Identifier: Apache-2.0
// Resources of a site on this host, as files: what the user wants, in input/resources, and what is,
// with its status, in runtime/resources.
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/yaml.h"
#include "cli/inside.h"
#include "host/host.h"
#include "site/site.h"

enum { PLAIN_MODE = 0644, SECRET_MODE = 0600 };

int files_open(struct cli *c, struct store *s)
{
    struct why why = {""};

    if (host_paths_init(&s->paths, cli_namespace(c), &why) < 0) {
        cli_problem(c, "%s", why.text);
        return EXIT_INVALID;
    }
    s->ns = s->paths.ns;
    return EXIT_OK;
}

static void files_close(struct store *s)
{
    json_decref(s->files);
    host_paths_fini(&s->paths);
}

static char *directory_of(const struct store *s, enum store_side side)
{
    return host_path(&s->paths, "%s/resources", side == STORE_INPUT ? "input" : "runtime");
}

// Calls `each` for every resource of a file; the file's documents are freed after it.
static void read_file(const struct store *s, const char *directory, const char *file,
                      void (*each)(void *user, const char *file, json_t *resource), void *user)
{
    char *path = str_fmt("%s/%s", directory, file), *text = NULL;
    struct yaml_docs *docs = NULL;
    struct why why = {""};
    size_t len = 0;

    if (host_read(path, &text, &len, &why) < 0 ||
        yaml_docs_parse(file, (struct str){text, len}, &docs, &why) < 0)
        fprintf(s->cli->err, "Warning: %s\n", why.text);
    for (size_t i = 0; docs && i < yaml_docs_count(docs); i++)
        each(user, file, yaml_docs_at(docs, i));
    yaml_docs_free(docs);
    free(text);
    free(path);
}

static void read_all(const struct store *s, enum store_side side,
                     void (*each)(void *user, const char *file, json_t *resource), void *user)
{
    char *directory = directory_of(s, side), **names = host_list(directory, NULL);

    for (size_t i = 0; names[i]; i++) {
        const char *point = strrchr(names[i], '.');

        if (point && (strcmp(point, ".yaml") == 0 || strcmp(point, ".yml") == 0 ||
                      strcmp(point, ".json") == 0))
            read_file(s, directory, names[i], each, user);
    }
    host_names_free(names);
    free(directory);
}

struct search {
    const char *kind, *name; // name NULL: all of the kind
    json_t *found;           // array
};

static void search_one(void *user, const char *file, json_t *resource)
{
    const struct search *search = user;

    (void)file;
    if (strcmp(site_text(resource, "kind"), search->kind) != 0 ||
        (search->name && strcmp(site_text(resource, "metadata.name"), search->name) != 0))
        return;
    json_array_append(search->found, resource);
}

static json_t *files_list(const struct store *s, enum store_side side, const char *kind)
{
    struct search search = {.kind = kind, .found = json_array()};

    read_all(s, side, search_one, &search);
    return search.found;
}

static void index_one(void *user, const char *file, json_t *resource)
{
    char *key = site_key(site_text(resource, "kind"), site_text(resource, "metadata.name"));

    json_object_set_new(user, key, json_string(file));
    free(key);
}

// In which file of the input a resource stands; NULL: in none. Read once for all resources that a
// command works on.
static const char *file_of(struct store *s, const char *kind, const char *name)
{
    char *key = site_key(kind, name);
    const char *file;

    if (!s->files) {
        s->files = json_object();
        read_all(s, STORE_INPUT, index_one, s->files);
    }
    file = json_string_value(json_object_get(s->files, key));
    free(key);
    return file;
}

static void note_file(struct store *s, const char *kind, const char *name, const char *file)
{
    char *key = site_key(kind, name);

    if (file)
        json_object_set_new(s->files, key, json_string(file));
    else
        json_object_del(s->files, key);
    free(key);
}

static json_t *find_wanted(struct store *s, const char *kind, const char *name)
{
    struct search search = {.kind = kind, .name = name, .found = json_array()};
    const char *file = file_of(s, kind, name);
    char *directory = directory_of(s, STORE_INPUT);
    json_t *found;

    if (file)
        read_file(s, directory, file, search_one, &search);
    found = json_incref(json_array_get(search.found, 0));
    json_decref(search.found);
    free(directory);
    return found;
}

static json_t *files_told(const struct store *s, const char *kind, const char *name)
{
    struct search search = {.kind = kind, .name = name, .found = json_array()};
    char *directory = directory_of(s, STORE_RUNTIME);
    char *file = str_fmt("%s-%s.yaml", kind, name), *path = str_fmt("%s/%s", directory, file);
    json_t *found;

    if (access(path, F_OK) == 0)
        read_file(s, directory, file, search_one, &search);
    found = json_incref(json_array_get(search.found, 0));
    json_decref(search.found);
    free(path);
    free(file);
    free(directory);
    return found;
}

// Secrets, tokens and grants are for nobody else's eyes.
static mode_t mode_of(const char *kind)
{
    return strcmp(kind, "Secret") == 0 || strncmp(kind, "Access", 6) == 0 ? SECRET_MODE
                                                                          : PLAIN_MODE;
}

struct others {
    const char *kind, *name;
    json_t *replacement; // NULL: it goes
    char *text;          // of all documents of the file
    size_t count;
};

static void collect(void *user, const char *file, json_t *resource)
{
    struct others *o = user;
    bool is_it = strcmp(site_text(resource, "kind"), o->kind) == 0 &&
                 strcmp(site_text(resource, "metadata.name"), o->name) == 0;
    const json_t *kept = is_it ? o->replacement : resource;
    char *one, *all;

    (void)file;
    if (!kept)
        return;
    one = yaml_write(kept, YAML_BLOCK);
    all = str_fmt("%s%s%s", o->text, o->count ? "---\n" : "", one);
    free(one);
    free(o->text);
    o->text = all;
    o->count++;
}

// Rewrites the file in which a resource stands, with it replaced or gone.
static int rewrite(const struct store *s, const char *file, const char *kind, const char *name,
                   json_t *replacement, struct why *why)
{
    char *directory = directory_of(s, STORE_INPUT), *path = str_fmt("%s/%s", directory, file);
    struct others o = {.kind = kind, .name = name, .replacement = replacement, .text = xstrdup("")};
    mode_t mode =
        strcmp(kind, "Secret") == 0 || strncmp(kind, "Access", 6) == 0 ? SECRET_MODE : PLAIN_MODE;
    int err;

    read_file(s, directory, file, collect, &o);
    err = o.count ? host_write(path, str_of(o.text), mode, why) : host_remove(path, why);
    free(o.text);
    free(path);
    free(directory);
    return err;
}

static int files_put(struct store *s, json_t *resource, struct why *why)
{
    const char *kind = site_text(resource, "kind"), *name = site_text(resource, "metadata.name");
    const char *old = file_of(s, kind, name);
    char *directory = directory_of(s, STORE_INPUT), *file, *path, *text;
    int err = host_make_directory(directory, why);

    if (!err && old) {
        err = rewrite(s, old, kind, name, resource, why);
    } else if (!err) {
        file = str_fmt("%s-%s.yaml", kind, name);
        path = str_fmt("%s/%s", directory, file);
        text = yaml_write(resource, YAML_BLOCK);
        err = host_write(path, str_of(text), mode_of(kind), why);
        if (!err)
            note_file(s, kind, name, file);
        free(text);
        free(path);
        free(file);
    }
    free(directory);
    return err;
}

int store_add(struct store *s, json_t *resource, struct why *why)
{
    const char *kind = site_text(resource, "kind"), *name = site_text(resource, "metadata.name");
    char *directory, *path, *text, *file;
    int err;

    if (file_of(s, kind, name))
        return files_put(s, resource, why);
    directory = directory_of(s, STORE_INPUT);
    file = str_fmt("%s-%s.yaml", kind, name);
    path = str_fmt("%s/%s", directory, file);
    text = yaml_write(resource, YAML_BLOCK);
    err = host_make_directory(directory, why);
    if (!err)
        err = host_batch_add(&s->batch, path, str_of(text), mode_of(kind), why);
    if (!err)
        note_file(s, kind, name, file);
    free(text);
    free(path);
    free(file);
    free(directory);
    return err;
}

int store_commit(struct store *s, struct why *why)
{
    char *directory = directory_of(s, STORE_INPUT);
    int err = s->batch.count ? host_batch_commit(&s->batch, directory, why) : 0;

    free(directory);
    return err;
}

static int files_remove(struct store *s, const char *kind, const char *name, struct why *why)
{
    const char *file = file_of(s, kind, name);
    int err = file ? rewrite(s, file, kind, name, NULL, why) : ERR_NOT_FOUND;

    if (!err)
        note_file(s, kind, name, NULL);
    return err;
}

bool store_is_running(const struct store *s)
{
    return host_site_is_running(&s->paths);
}

static bool files_await(const struct store *s, const struct wish *w, json_t **last)
{
    char *directory = directory_of(s, STORE_RUNTIME);
    struct progress progress;
    bool is = false, is_hopeless;

    *last = NULL;
    progress_begin(&progress, s->cli->out, w->words);
    do {
        is_hopeless = w->is_hopeless && w->is_hopeless(s); // before the look at what it told
        json_t *now = files_told(s, w->kind, w->name);

        if (now) {
            json_decref(*last);
            *last = now;
        }
        is = *last && w->is_so(*last);
        progress_tick(&progress, mono_now(), site_text(*last, "status.message"));
    } while (!is && !is_hopeless &&
             (host_await_change(directory, mono_min(w->until, progress.next)) ||
              mono_before(mono_now(), w->until)));
    progress_end(&progress);
    free(directory);
    return is;
}

const struct store_ops store_files = {
    .list = files_list,
    .find = find_wanted,
    .told = files_told,
    .put = files_put,
    .remove = files_remove,
    .await = files_await,
    .close = files_close,
};
