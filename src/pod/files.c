// SPDX-License-Identifier: Apache-2.0
// What is planned, put in place; and what the plan is made of, taken from the watches.
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "host/host.h"
#include "pod/inside.h"
#include "site/site.h"

enum { CONFIG_MODE = 0644 };

// The volume goes with the pod, so nothing is gained by syncing it.
int pod_write(const struct plan *p, struct why *why)
{
    for (size_t i = 0; i < p->file_count; i++) {
        const struct plan_file *f = &p->files[i];
        char *copy = xstrdup(f->path);
        int err = host_make_directory(dirname(copy), why);

        free(copy);
        if (!err)
            err = host_put(f->path, str_of(f->text), f->mode, why);
        if (err < 0)
            return err;
    }
    return 0;
}

void pod_remove(const json_t *paths)
{
    json_t *path;
    size_t i;

    json_array_foreach(paths, i, path)
    {
        char *copy = xstrdup(json_string_value(path));

        unlink(copy);
        rmdir(dirname(copy)); // fails while there is more in it
        free(copy);
    }
}

static bool has_files(const json_t *profile)
{
    static const char *const names[] = {"caCertFile", "certFile", "privateKeyFile"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const char *path = site_text(profile, names[i]);

        if (path[0] && access(path, R_OK) < 0)
            return false;
    }
    return true;
}

int pod_write_config(const struct pod_opts *opts, const json_t *config, const struct plan *p,
                     struct why *why)
{
    json_t *missing = json_copy(p->waiting), *startable, *pair;
    char *path = str_fmt("%s/skrouterd.json", opts->folder), *text;
    size_t i;
    int err;

    json_array_foreach(config, i, pair)
    {
        const json_t *attributes = json_array_get(pair, 1);

        if (strcmp(json_string_value(json_array_get(pair, 0)), "sslProfile") == 0 &&
            has_files(attributes))
            json_object_del(missing, site_text(attributes, "name"));
    }
    startable = plan_wanted(config, NULL, missing);
    text = json_dumps(startable, JSON_INDENT(4));
    err = host_put(path, str_of(text), CONFIG_MODE, why);
    json_decref(startable);
    json_decref(missing);
    free(text);
    free(path);
    return err;
}

// ---------------------------------------------------------------------------------------- watches

void pod_watch(struct pod_watches *w, struct kube *k, const struct pod_opts *opts)
{
    static const char *const keep[] = {"data[skrouterd.json]", NULL};
    const char *ns = kube_config_namespace(kube_config_of(k));
    char *field = str_fmt("metadata.name=%s", opts->router_config);

    w->config = kube_watch_new(
        k, &(struct kube_watch_opts){
               .kind = kube_kind("v1", "ConfigMap"), .ns = ns, .fields = field, .keep = keep});
    w->secrets = kube_watch_new(k, &(struct kube_watch_opts){.kind = kube_kind("v1", "Secret"),
                                                             .ns = ns,
                                                             .keep = plan_secret_keep});
    free(field);
}

json_t *pod_secrets(const struct kube_watch *w)
{
    json_t *out = json_object(), *one;
    size_t at = 0;

    while ((one = kube_watch_each(w, NULL, &at)) != NULL)
        json_object_set_new(out, site_text(one, "metadata.name"), one);
    return out;
}

int pod_config(const struct pod_watches *w, const struct pod_opts *opts, const char *ns,
               json_t **out, struct why *why)
{
    json_t *map = kube_watch_get(w->config, ns, opts->router_config);
    const char *text =
        json_string_value(json_object_get(json_object_get(map, "data"), "skrouterd.json"));
    int err = 0;

    if (!map)
        why_set(why, "there is no ConfigMap %s in namespace %s", opts->router_config, ns);
    else if (!text)
        why_set(why, "ConfigMap %s has no skrouterd.json", opts->router_config);
    if (!text)
        err = ERR_NOT_FOUND;
    else if ((err = plan_read(text, out, why)) < 0)
        why_prefix(why, "ConfigMap %s", opts->router_config);
    json_decref(map);
    return err;
}
