// SPDX-License-Identifier: Apache-2.0
// ConfigMaps that say what else objects of ours are to have: labels and annotations (label
// skupper.io/label-template), and sizes of containers (label skupper.io/site-sizing).
#include <stdlib.h>

#include "base/mem.h"
#include "controller/inside.h"

static const char TEMPLATE[] = "skupper.io/label-template", SIZING[] = "skupper.io/site-sizing";
static const char DEFAULT_SIZE[] = "skupper.io/default-site-sizing";
static const char APPLIED[] = "kubectl.kubernetes.io/last-applied-configuration";

static bool is_listed(const char *list, const char *word)
{
    struct str rest = str_of(list);

    while (rest.len > 0) {
        size_t len = 0;

        while (rest.len > 0 && (rest.ptr[0] == ' ' || rest.ptr[0] == ','))
            rest = str_skip(rest, 1);
        while (len < rest.len && rest.ptr[len] != ',' && rest.ptr[len] != ' ')
            len++;
        if (str_is((struct str){rest.ptr, len}, word))
            return true;
        rest = str_skip(rest, len);
    }
    return false;
}

static bool is_for(const json_t *template, const json_t *object)
{
    const json_t *data = json_object_get(template, "data");
    const char *name = value_of(data, "name"), *kind = value_of(data, "kind");
    const char *selector = value_of(data, "labelSelector");

    return (!name[0] || strcmp(name, site_text(object, "metadata.name")) == 0) &&
           (!kind[0] || strcmp(kind, site_text(object, "kind")) == 0) &&
           (!selector[0] || site_selects(str_of(selector), site_get(object, "metadata.labels")));
}

static void add(json_t *to, const json_t *from, const char *exclude)
{
    const char *key;
    json_t *v;

    json_object_foreach((json_t *)(uintptr_t)from, key, v)
    {
        if (strcmp(key, TEMPLATE) != 0 && strcmp(key, APPLIED) != 0 && !is_listed(exclude, key))
            json_object_set(to, key, v);
    }
}

static void apply(const json_t *template, json_t *object, json_t *labels, json_t *annotations)
{
    const char *exclude = value_of(json_object_get(template, "data"), "exclude");

    if (!is_for(template, object))
        return;
    add(labels, site_get(template, "metadata.labels"), exclude);
    add(annotations, site_get(template, "metadata.annotations"), exclude);
}

static int by_name(const void *left, const void *right)
{
    return strcmp(site_text(*(json_t *const *)left, "metadata.name"),
                  site_text(*(json_t *const *)right, "metadata.name"));
}

static bool has_label(const json_t *object, const char *key)
{
    return is_kind(object, "ConfigMap") &&
           json_object_get(site_get(object, "metadata.labels"), key);
}

// The ConfigMaps of the controller's namespace with that label, by name.
static json_t *of_controller(const struct planning *p, const char *key)
{
    json_t **list = xcalloc(p->f->other_count + 1, sizeof(*list)), *sorted = json_array();
    size_t count = 0;

    for (size_t i = 0; i < p->f->other_count; i++)
        if (has_label(p->f->others[i], key))
            list[count++] = p->f->others[i];
    if (count > 0)
        qsort(list, count, sizeof(*list), by_name);
    for (size_t i = 0; i < count; i++)
        json_array_append(sorted, list[i]);
    free(list);
    return sorted;
}

// Those of the namespace, then those of the controller's, which win.
void template_read(struct planning *p)
{
    json_t *others = of_controller(p, TEMPLATE);

    p->templates = json_array();
    for (size_t i = 0; i < p->count; i++)
        if (has_label(p->seen[i], TEMPLATE))
            json_array_append(p->templates, (json_t *)(uintptr_t)p->seen[i]);
    json_array_extend(p->templates, others);
    if (p->root)
        json_array_append_new(p->templates, site_map_template(p));
    json_decref(others);
    p->sizes = of_controller(p, SIZING);
    if (p->root)
        json_array_insert_new(p->sizes, 0,
                              json_pack("{s:{s:{s:s}}, s:o}", "metadata", "labels", SIZING,
                                        SITE_MAP, "data", site_map_size(p)));
}

void template_apply(const struct planning *p, json_t *object)
{
    json_t *labels = json_object(), *annotations = json_object(), *template;
    size_t i;

    json_array_foreach(p->templates, i, template) apply(template, object, labels, annotations);
    // What we say ourselves is not changed by a template.
    if (json_object_size(labels) > 0)
        json_object_update_missing(object_labels(object), labels);
    if (json_object_size(annotations) > 0)
        json_object_update_missing(object_annotations(object), annotations);
    json_decref(labels);
    json_decref(annotations);
}

const json_t *template_size(const struct planning *p, const char *name)
{
    const json_t *found = NULL, *fallback = NULL;
    json_t *map;
    size_t i;

    json_array_foreach(p->sizes, i, map)
    {
        if (name[0] && strcmp(label(map, SIZING), name) == 0 && !found)
            found = map;
        if (json_object_get(site_get(map, "metadata.annotations"), DEFAULT_SIZE) && !fallback)
            fallback = map;
    }
    return json_object_get(found ? found : fallback, "data");
}
