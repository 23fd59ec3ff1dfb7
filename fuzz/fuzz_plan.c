// SPDX-License-Identifier: Apache-2.0
// A configuration, Secrets and what a router has, of any shape: no file is planned outside of its
// folder, nothing that is wanted refers to a profile that waits unless the router has it so, and
// what the router has as the configuration says stays wanted whatever waits.
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "pod/inside.h"
#include "site/site.h"

static const struct pod_opts opts = {.folder = "/certs", .proxy_folder = "/proxies"};

static bool has(const json_t *config, const json_t *pair)
{
    const json_t *one;
    size_t i;

    json_array_foreach((json_t *)(uintptr_t)config, i, one)
    {
        if (json_equal(one, pair))
            return true;
    }
    return false;
}

static json_t *read_config(const json_t *value)
{
    char *text = json_dumps(value, 0);
    json_t *config = NULL;
    struct why why = {""};
    int err = text ? plan_read(text, &config, &why) : -1;

    assert(!text || (err == 0) == (why.text[0] == '\0'));
    free(text);
    return config;
}

static void check_files(const struct plan *p)
{
    for (size_t i = 0; i < p->file_count; i++) {
        const char *path = p->files[i].path;

        assert(strncmp(path, "/certs/", 7) == 0 || strncmp(path, "/proxies/", 9) == 0);
        assert(!strstr(path, "/../"));
        assert(p->files[i].text[0]);
    }
}

static void check_wanted(const json_t *config, const json_t *applied, const json_t *waiting)
{
    json_t *wanted = plan_wanted(config, applied, waiting), *pair;
    size_t i;

    json_array_foreach(wanted, i, pair)
    {
        const char *type = json_string_value(json_array_get(pair, 0));
        const char *names = strcmp(type, "sslProfile") == 0 ? "name" : "sslProfile";
        const char *profile =
            strcmp(type, "proxyProfile") == 0 ? "" : site_text(json_array_get(pair, 1), names);

        assert(has(config, pair) || has(applied, pair));
        assert(!json_object_get(waiting, profile) || has(applied, pair));
    }
    json_decref(wanted);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    json_t *all = json_loadb((const char *)data, len, 0, NULL);
    json_t *config = read_config(json_object_get(all, "config"));
    json_t *applied = read_config(json_object_get(all, "applied"));
    struct plan p = {0};
    char *words;

    if (config) {
        plan_make(&p, config, json_object_get(all, "secrets"), &opts);
        check_files(&p);
        check_wanted(config, applied, p.waiting);
        check_wanted(config, config, p.waiting);
        words = plan_words(p.waiting);
        assert((words[0] == '\0') == (json_object_size(p.waiting) == 0));
        free(words);
        plan_fini(&p);
    }
    json_decref(applied);
    json_decref(config);
    json_decref(all);
    return 0;
}
