// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "host/inside.h"

struct input_file {
    char *name;
    struct yaml_docs *docs; // the last that could be read; NULL: none yet
    json_t *stand_in;       // for a file that cannot be read, and never held a resource
    char *problem;          // with the newest text
    struct stat st;         // of what was read
};

void input_init(struct input *in, const char *directory)
{
    *in = (struct input){.directory = xstrdup(directory)};
}

static void file_fini(struct input_file *f)
{
    free(f->name);
    yaml_docs_free(f->docs);
    json_decref(f->stand_in);
    free(f->problem);
}

void input_fini(struct input *in)
{
    for (size_t i = 0; i < in->count; i++)
        file_fini(&in->files[i]);
    free(in->files);
    free(in->directory);
    *in = (struct input){0};
}

static bool is_input(const char *name)
{
    static const char *const suffixes[] = {".yaml", ".yml", ".json"};
    size_t len = strlen(name);

    for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++)
        if (len > strlen(suffixes[i]) && strcmp(name + len - strlen(suffixes[i]), suffixes[i]) == 0)
            return true;
    return false;
}

static bool is_same(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

// "Listener-db.yaml" stands for the Listener db as long as nobody could read it.
static json_t *stand_in(const char *file)
{
    const char *hyphen = strchr(file, '-'), *point = strrchr(file, '.');
    const struct site_kind *kind;

    if (!hyphen || !point || point < hyphen)
        return NULL;
    kind = site_find_kind((struct str){file, (size_t)(hyphen - file)});
    if (!kind)
        return NULL;
    return json_pack("{s:s, s:s, s:{s:s%}}", "apiVersion", kind->api_version, "kind", kind->name,
                     "metadata", "name", hyphen + 1, (size_t)(point - hyphen - 1));
}

static bool has_docs(const struct input_file *f)
{
    return f->docs && yaml_docs_count(f->docs) > 0;
}

static void read_file(const struct input *in, struct input_file *f)
{
    char *path = str_fmt("%s/%s", in->directory, f->name), *text = NULL;
    struct yaml_docs *docs = NULL;
    struct why why = {""};
    size_t len = 0;
    int err = host_read(path, &text, &len, &why);

    // Whoever writes a file makes it empty first. Until the text is there nothing is lost.
    if (!err && len == 0) {
        why_set(&why, "%s: the file is empty; to remove a resource, remove its file", f->name);
        err = ERR_DECODE;
    }
    if (!err)
        err = yaml_docs_parse(f->name, (struct str){text, len}, &docs, &why);
    free(f->problem);
    f->problem = err ? xstrdup(why.text) : NULL;
    if (!err) {
        yaml_docs_free(f->docs);
        f->docs = docs;
    }
    json_decref(f->stand_in);
    f->stand_in = err && !has_docs(f) ? stand_in(f->name) : NULL;
    free(text);
    free(path);
}

// The file of that name as it was known, taken out of the old list.
static bool take_known(struct input *in, const char *name, struct input_file *out)
{
    for (size_t i = 0; i < in->count; i++)
        if (in->files[i].name && strcmp(in->files[i].name, name) == 0) {
            *out = in->files[i];
            in->files[i] = (struct input_file){0};
            return true;
        }
    return false;
}

bool input_scan(struct input *in)
{
    char **names = host_list(in->directory, NULL);
    struct input_file *files = NULL;
    size_t count = 0;
    bool has_changed = false;

    for (size_t i = 0; names[i]; i++) {
        char *path = str_fmt("%s/%s", in->directory, names[i]);
        struct input_file f = {0};
        struct stat st;
        bool is_file = is_input(names[i]) && stat(path, &st) == 0 && S_ISREG(st.st_mode);

        free(path);
        if (!is_file)
            continue;
        if (!take_known(in, names[i], &f))
            f.name = xstrdup(names[i]);
        if (!is_same(&st, &f.st)) {
            f.st = st;
            read_file(in, &f);
            has_changed = true;
        }
        files = xrealloc(files, count + 1, sizeof(*files));
        files[count++] = f;
    }
    host_names_free(names);
    for (size_t i = 0; i < in->count; i++) {
        has_changed |= in->files[i].name != NULL;
        file_fini(&in->files[i]);
    }
    free(in->files);
    in->files = files;
    in->count = count;
    return has_changed;
}

size_t input_list(const struct input *in, struct site_input **out)
{
    struct site_input *list = NULL;
    size_t count = 0;

    for (size_t i = 0; i < in->count; i++) {
        const struct input_file *f = &in->files[i];
        size_t docs = has_docs(f) ? yaml_docs_count(f->docs) : f->stand_in != NULL;

        for (size_t k = 0; k < docs; k++) {
            list = xrealloc(list, count + 1, sizeof(*list));
            list[count++] =
                (struct site_input){.value = has_docs(f) ? yaml_docs_at(f->docs, k) : f->stand_in,
                                    .problem = f->problem};
        }
    }
    *out = list;
    return count;
}

char *input_where(void *user, const json_t *resource, const char *path)
{
    const struct input *in = user;

    for (size_t i = 0; i < in->count; i++) {
        const struct input_file *f = &in->files[i];

        for (size_t k = 0; f->docs && k < yaml_docs_count(f->docs); k++)
            if (yaml_docs_at(f->docs, k) == resource)
                return str_fmt("%s:%d", f->name, yaml_docs_line(f->docs, k, path));
    }
    return NULL;
}

void input_problems(const struct input *in, void (*each)(void *user, const char *words), void *user)
{
    for (size_t i = 0; i < in->count; i++)
        if (in->files[i].problem)
            each(user, in->files[i].problem);
}
