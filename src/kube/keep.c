// SPDX-License-Identifier: Apache-2.0
// What a cache keeps of an object. Pure.
//
// A path is read step by step: the name of a field up to '.', '[' or the end; or in brackets a key
// as it is, with * at its end all keys that begin so. Where a value is a list, the rest of the path
// means each of its items.
#include "kube/inside.h"

static const char *const always[] = {"metadata.name", "metadata.namespace", "metadata.uid",
                                     "metadata.deletionTimestamp", NULL};

static void add_path(json_t *out, json_t *in, const char *path);

// The first step of a path; what remains is returned, NULL when it is not one.
static const char *first_step(const char *path, struct str *step)
{
    size_t len;

    if (path[0] == '[') {
        len = strcspn(path, "]");
        if (!path[len])
            return NULL;
        *step = (struct str){path + 1, len - 1};
        path += len + 1;
    } else {
        len = strcspn(path, ".[");
        *step = (struct str){path, len};
        path += len;
    }
    return path[0] == '.' ? path + 1 : path;
}

// A place for a value of the kind of `in`, at `key` of `out`.
static json_t *place(json_t *out, const char *key, const json_t *in)
{
    json_t *there = json_object_get(out, key);

    if (!there) {
        there = json_is_array(in) ? json_array() : json_object();
        json_object_set_new(out, key, there);
    }
    return there;
}

static void add_items(json_t *out, json_t *in, const char *path)
{
    json_t *item;
    size_t i;

    json_array_foreach(in, i, item)
    {
        if (json_array_size(out) <= i)
            json_array_append_new(out, json_object());
        if (json_is_object(item))
            add_path(json_array_get(out, i), item, path);
    }
}

static void add_field(json_t *out, const char *key, json_t *value, const char *rest)
{
    if (rest[0] == '\0') {
        json_object_set(out, key, value);
        return;
    }
    if (json_object_get(out, key) == value)
        return; // all of it is kept
    if (json_is_array(value))
        add_items(place(out, key, value), value, rest);
    else if (json_is_object(value))
        add_path(place(out, key, value), value, rest);
}

static void add_path(json_t *out, json_t *in, const char *path)
{
    struct str step = STR_NONE;
    const char *rest = first_step(path, &step), *key;
    bool is_prefix = path[0] == '[' && step.len > 0 && step.ptr[step.len - 1] == '*';
    json_t *value;

    if (!rest)
        return;
    if (is_prefix)
        step.len--;
    json_object_foreach(in, key, value)
    {
        if (is_prefix ? str_starts(str_of(key), step) : str_is(step, key))
            add_field(out, key, value, rest);
    }
}

static void keep_most(json_t *object)
{
    json_t *meta = json_object_get(object, "metadata");
    json_t *annotations = json_object_get(meta, "annotations");

    json_object_del(meta, "managedFields");
    json_object_del(meta, "resourceVersion");
    json_object_del(annotations, "kubectl.kubernetes.io/last-applied-configuration");
    if (json_is_object(annotations) && json_object_size(annotations) == 0)
        json_object_del(meta, "annotations");
}

json_t *keep_fields(json_t *object, const struct kube_kind *kind, const char *const *keep)
{
    json_t *out = keep ? json_object() : json_incref(object);
    char version[128];

    if (keep) {
        for (const char *const *path = always; *path; path++)
            add_path(out, object, *path);
        for (const char *const *path = keep; *path; path++)
            add_path(out, object, *path);
    }
    keep_most(out);
    // The items of a list do not say it.
    snprintf(version, sizeof(version), "%s%s%s", kind->group, kind->group[0] ? "/" : "",
             kind->version);
    json_object_set_new(out, "apiVersion", json_string(version));
    json_object_set_new(out, "kind", json_string(kind->kind));
    return out;
}
