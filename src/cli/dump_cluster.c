// SPDX-License-Identifier: Apache-2.0
// skupper debug dump in a cluster: the objects of the site's namespace and of its controller's,
// with events and logs. What may not be read is told in errors.txt, and all else is there.
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "base/yaml.h"
#include "cli/dump.h"
#include "kube/kube.h"
#include "site/site.h"

struct place {
    struct dump *d;
    struct kube *kube;
    const char *ns, *folder; // "site-namespace"
    char **errors;
};

static void note_error(struct place *p, const char *words)
{
    char *longer = str_fmt("%s%s\n", *p->errors, words);

    free(*p->errors);
    *p->errors = longer;
}

// All of a kind; NULL when that may not be read.
static json_t *list(struct place *p, const char *version, const char *kind, const char *labels)
{
    struct kube_request r = {
        .verb = KUBE_LIST, .kind = kube_kind(version, kind), .ns = p->ns, .labels = labels};
    struct kube_answer a = {0};
    json_t *items = NULL;

    if (kube_call(p->kube, &r, &a) == 0)
        items = json_incref(json_object_get(a.value, "items"));
    else
        note_error(p, a.why.text);
    kube_answer_fini(&a);
    return items;
}

static void add_object(struct place *p, const char *version, const char *kind, json_t *object)
{
    char *name =
        str_fmt("%s/resources/%s-%s.yaml", p->folder, kind, site_text(object, "metadata.name"));
    char *text_name = str_fmt("%s.txt", name);

    json_object_set_new(object, "apiVersion", json_string(version));
    json_object_set_new(object, "kind", json_string(kind));
    json_object_del(json_object_get(object, "metadata"), "managedFields");
    dump_redact(object);
    dump_add_value(p->d, name, object);
    dump_add_value(p->d, text_name, object);
    free(text_name);
    free(name);
}

static void add_kind(struct place *p, const char *version, const char *kind, const char *labels)
{
    json_t *items = list(p, version, kind, labels), *one;
    size_t i;

    json_array_foreach(items, i, one) add_object(p, version, kind, one);
    json_decref(items);
}

// ------------------------------------------------------------------------------------ pods, events

static void add_log(struct place *p, const char *pod, const char *container, bool is_previous)
{
    char *path = str_fmt("/api/v1/namespaces/%s/pods/%s/log?container=%s&tailLines=20000%s", p->ns,
                         pod, container, is_previous ? "&previous=true" : "");
    char *name =
        str_fmt("%s/logs/%s-%s%s.txt", p->folder, pod, container, is_previous ? "-previous" : "");
    struct kube_request r = {.verb = KUBE_GET, .path = path};
    struct kube_answer a = {0};

    if (kube_call(p->kube, &r, &a) < 0)
        note_error(p, a.why.text);
    else if (a.text)
        dump_add(p->d, name, a.text);
    kube_answer_fini(&a);
    free(name);
    free(path);
}

static void add_pods(struct place *p, const char *labels)
{
    json_t *pods = list(p, "v1", "Pod", labels), *pod, *one;
    size_t i, k;

    json_array_foreach(pods, i, pod)
    {
        const json_t *containers = site_get(pod, "status.containerStatuses");
        const char *name = site_text(pod, "metadata.name");

        add_object(p, "v1", "Pod", pod);
        json_array_foreach((json_t *)(uintptr_t)containers, k, one)
        {
            add_log(p, name, site_text(one, "name"), false);
            if (json_integer_value(json_object_get(one, "restartCount")) > 0)
                add_log(p, name, site_text(one, "name"), true);
        }
    }
    json_decref(pods);
}

static const char *time_of(const json_t *event)
{
    const char *at = site_text(event, "lastTimestamp");

    return at[0] ? at : site_text(event, "metadata.creationTimestamp");
}

static int by_time(const void *a, const void *b)
{
    json_t *const *left = a, *const *right = b;

    return strcmp(time_of(*left), time_of(*right));
}

static void add_events(struct place *p)
{
    json_t *events = list(p, "v1", "Event", NULL);
    size_t count = json_array_size(events);
    json_t **sorted = xcalloc(count + 1, sizeof(json_t *));
    char *name = str_fmt("%s/events.txt", p->folder), *text = xstrdup("");

    for (size_t i = 0; i < count; i++)
        sorted[i] = json_array_get(events, i);
    qsort(sorted, count, sizeof(json_t *), by_time);
    for (size_t i = 0; i < count; i++) {
        const json_t *e = sorted[i];
        char *longer = str_fmt("%s%s %s %s %s/%s: %s\n", text, time_of(e), site_text(e, "type"),
                               site_text(e, "reason"), site_text(e, "involvedObject.kind"),
                               site_text(e, "involvedObject.name"), site_text(e, "message"));

        free(text);
        text = longer;
    }
    dump_add(p->d, name, text);
    free(text);
    free(name);
    free(sorted);
    json_decref(events);
}

// ----------------------------------------------------------------------------------------- command

static void add_versions(struct place *p)
{
    struct kube_request r = {.verb = KUBE_GET, .path = "/version"};
    struct kube_answer a = {0};
    json_t *own = json_pack("{s:s, s:s, s:s, s:I}", "skupper", cli_version, "platform",
                            "kubernetes", "namespace", p->ns, "time", (json_int_t)time(NULL));

    if (kube_call(p->kube, &r, &a) < 0)
        note_error(p, a.why.text);
    else if (a.value)
        for (int i = 0; i < 2; i++)
            dump_add_value(p->d, i ? "versions/kubernetes.yaml.txt" : "versions/kubernetes.yaml",
                           a.value);
    dump_add_value(p->d, "versions/skupper.yaml", own);
    dump_add_value(p->d, "versions/skupper.yaml.txt", own);
    json_decref(own);
    kube_answer_fini(&a);
}

static void add_site(struct place *p)
{
    static const char *const kinds[][2] = {
        {"skupper.io/v2alpha1", "AccessGrant"},
        {"skupper.io/v2alpha1", "AccessToken"},
        {"skupper.io/v2alpha1", "AttachedConnector"},
        {"skupper.io/v2alpha1", "AttachedConnectorBinding"},
        {"skupper.io/v2alpha1", "Certificate"},
        {"skupper.io/v2alpha1", "Connector"},
        {"skupper.io/v2alpha1", "Link"},
        {"skupper.io/v2alpha1", "Listener"},
        {"skupper.io/v2alpha1", "MultiKeyListener"},
        {"skupper.io/v2alpha1", "RouterAccess"},
        {"skupper.io/v2alpha1", "SecuredAccess"},
        {"skupper.io/v2alpha1", "Site"},
        {"apps/v1", "Deployment"},
        {"apps/v1", "ReplicaSet"},
        {"rbac.authorization.k8s.io/v1", "Role"},
        {"rbac.authorization.k8s.io/v1", "RoleBinding"},
        {"v1", "ConfigMap"},
        {"v1", "Service"},
    };

    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        add_kind(p, kinds[i][0], kinds[i][1], NULL);
    add_events(p);
    add_pods(p, NULL);
}

// Of the controller's namespace what is the controller's.
static void add_controller(struct place *p)
{
    static const char labels[] = "app.kubernetes.io/part-of=skupper";

    add_kind(p, "apps/v1", "Deployment", labels);
    add_kind(p, "v1", "Service", labels);
    add_kind(p, "rbac.authorization.k8s.io/v1", "Role", labels);
    add_kind(p, "rbac.authorization.k8s.io/v1", "RoleBinding", labels);
    add_pods(p, labels);
}

// What each router of the site tells, for which there is a right of its own.
static void add_routers(struct place *p)
{
    json_t *pods = reach_pods(p->d->store), *pod;
    size_t i;

    json_array_foreach(pods, i, pod)
    {
        struct reach router;
        struct why why = {""};

        if (reach_pod(p->d->store, site_text(pod, "metadata.name"), DUMP_ANSWER_MS, &router, &why) <
            0)
            note_error(p, why.text);
        else
            dump_router(p->d, router.line, NULL);
        reach_end(&router);
    }
    json_decref(pods);
}

void dump_cluster(struct dump *d)
{
    char *errors = xstrdup("");
    struct place p = {d, d->store->kube, d->store->ns, "site-namespace", &errors};
    json_t *site;

    add_versions(&p);
    add_site(&p);
    if (!d->cli->failure)
        add_routers(&p);
    // Whether there is one was asked before, and told if it could not be.
    site = d->cli->failure ? NULL : store_site(d->store);
    if (site_text(site, "status.controller.namespace")[0]) {
        p.ns = site_text(site, "status.controller.namespace");
        p.folder = "controller-namespace";
        add_controller(&p);
    }
    if (errors[0])
        dump_add(d, "errors.txt", errors);
    json_decref(site);
    free(errors);
}
