// SPDX-License-Identifier: Apache-2.0
// Sites on one machine share its ports. Where one finds its server another must not listen for what
// is shared: it would be that server, and connections would go in a circle. So each site tells in a
// file where its Connectors lead to, and looks at the files of the others.
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "host/inside.h"

enum { PLAIN_MODE = 0644, TARGETS_MAX = 1 << 20 };

struct neighbour {
    char *ns;
    struct stat st;  // of what was read
    json_t *targets; // {"host:port": "Connector db"}
};

struct neighbours {
    const struct host_paths *paths;
    struct neighbour *list; // sorted by name
    size_t count;
};

static char *file_of(const struct neighbours *n, const char *ns)
{
    return str_fmt("%s/namespaces/%s/runtime/shared/targets.json", n->paths->home, ns);
}

static void neighbour_fini(struct neighbour *one)
{
    free(one->ns);
    json_decref(one->targets);
}

struct neighbours *neighbours_new(const struct host_paths *paths)
{
    struct neighbours *n = xcalloc(1, sizeof(*n));

    n->paths = paths;
    return n;
}

void neighbours_free(struct neighbours *n)
{
    if (!n)
        return;
    for (size_t i = 0; i < n->count; i++)
        neighbour_fini(&n->list[i]);
    free(n->list);
    free(n);
}

void neighbours_tell(const struct neighbours *n, const json_t *targets)
{
    char *path = file_of(n, n->paths->ns), *text = json_text(targets, JSON_SORT_KEYS);
    struct why why = {""};

    if (host_put(path, str_of(text), PLAIN_MODE, &why) < 0)
        log_write(LOG_AGENT, LOG_ERROR, "%s", why.text);
    free(text);
    free(path);
}

// What cannot be read, or is no object, leads nowhere.
static void read_targets(struct neighbour *one, const char *path)
{
    char *text = NULL;
    size_t len = 0;

    json_decref(one->targets);
    one->targets = NULL;
    if (one->st.st_size <= TARGETS_MAX && host_read(path, &text, &len, NULL) == 0)
        one->targets = json_loadb(text, len, 0, NULL);
    free(text);
}

// The one of that name as it was known, taken out of the old list.
static struct neighbour take_known(struct neighbours *n, const char *ns)
{
    for (size_t i = 0; i < n->count; i++) {
        struct neighbour known = n->list[i];

        if (known.ns && strcmp(known.ns, ns) == 0) {
            n->list[i] = (struct neighbour){0};
            return known;
        }
    }
    return (struct neighbour){.ns = xstrdup(ns)};
}

static bool look(struct neighbours *n, struct neighbour *one)
{
    char *path = file_of(n, one->ns);
    struct stat st = {0};
    bool is_new;

    if (stat(path, &st) < 0)
        st = (struct stat){0};
    is_new = st.st_ino != one->st.st_ino || st.st_mtim.tv_sec != one->st.st_mtim.tv_sec ||
             st.st_mtim.tv_nsec != one->st.st_mtim.tv_nsec;
    one->st = st;
    if (is_new)
        read_targets(one, path);
    free(path);
    return is_new;
}

bool neighbours_look(struct neighbours *n)
{
    char **names = host_namespaces(n->paths);
    struct neighbour *list = NULL;
    size_t count = 0;
    bool is_new = false;

    for (size_t i = 0; names[i]; i++) {
        struct neighbour one;

        if (strcmp(names[i], n->paths->ns) == 0)
            continue;
        one = take_known(n, names[i]);
        is_new |= look(n, &one);
        list = xrealloc(list, count + 1, sizeof(*list));
        list[count++] = one;
    }
    host_names_free(names);
    for (size_t i = 0; i < n->count; i++) {
        is_new |= n->list[i].targets != NULL;
        neighbour_fini(&n->list[i]);
    }
    free(n->list);
    n->list = list;
    n->count = count;
    return is_new;
}

json_t *neighbours_facts(const struct neighbours *n)
{
    json_t *facts = json_object(), *who;
    const char *place;

    for (size_t i = 0; i < n->count; i++)
        json_object_foreach(n->list[i].targets, place, who)
        {
            char *words = str_fmt("%s of namespace %s",
                                  json_is_string(who) ? json_string_value(who) : "a Connector",
                                  n->list[i].ns);

            json_object_set_new(facts, place, json_string(words));
            free(words);
        }
    return facts;
}
