// SPDX-License-Identifier: Apache-2.0
// Workloads of a cluster, "deployment/backend": which pods are theirs.
#include <stdlib.h>
#include <string.h>

#include "cli/inside.h"
#include "site/site.h"

static const struct workload {
    const char *word, *kind;
    const char *labels; // where its labels stand
} workloads[] = {
    {"deployment", "Deployment", "spec.selector.matchLabels"},
    {"statefulset", "StatefulSet", "spec.selector.matchLabels"},
    {"daemonset", "DaemonSet", "spec.selector.matchLabels"},
    {"service", "Service", "spec.selector"},
};

static const struct workload *find(const char *text)
{
    struct str word = {text, strcspn(text, "/")};

    for (size_t i = 0; i < sizeof(workloads) / sizeof(workloads[0]); i++)
        if (str_is_nocase(word, workloads[i].word))
            return &workloads[i];
    return NULL;
}

static const char *name_of(const char *text)
{
    const char *slash = strchr(text, '/');

    return slash ? slash + 1 : "";
}

bool cli_check_workload(struct cli *c, const char *text)
{
    if (find(text) && site_is_name(str_of(name_of(text))))
        return true;
    cli_problem(c,
                "workload is not valid: \"%s\" is not one of deployment/<name>, "
                "statefulset/<name>, daemonset/<name>, service/<name>",
                text);
    return false;
}

json_t *cli_workload(const struct store *s, const char *text)
{
    return store_told(s, find(text)->kind, name_of(text));
}

// "app=backend,tier=db".
static char *join(const json_t *labels)
{
    char *out = str_fmt("%s", "");
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)labels, key, value)
    {
        char *longer = str_fmt("%s%s%s=%s", out, out[0] ? "," : "", key, json_string_value(value));

        free(out);
        out = longer;
    }
    return out;
}

char *cli_workload_selector(struct cli *c, const struct store *s, const char *text)
{
    const struct workload *w = find(text);
    json_t *object = cli_workload(s, text);
    const json_t *labels = site_get(object, w->labels);
    char *selector = NULL;

    if (!object && !c->failure)
        cli_problem(c, "workload is not valid: there is no %s \"%s\" in the namespace %s", w->word,
                    name_of(text), s->ns);
    else if (object &&
             (json_object_size(labels) == 0 || site_get(object, "spec.selector.matchExpressions")))
        cli_problem(c,
                    "workload is not valid: the pods of %s are not selected by labels alone; say "
                    "which with --selector, or give a --host",
                    text);
    else if (object)
        selector = join(labels);
    json_decref(object);
    return selector;
}
