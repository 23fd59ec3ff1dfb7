// SPDX-License-Identifier: Apache-2.0
// What the site model asks for, read from the objects of a namespace.
#include <stdlib.h>

#include "base/mem.h"
#include "controller/inside.h"

enum { FIRST_PORT = 1024, PORTS = 65536 };

// ------------------------------------------------------------------------------------------- pods

static bool is_running(const json_t *pod)
{
    return strcmp(site_text(pod, "status.phase"), "Running") == 0 &&
           !site_get(pod, "metadata.deletionTimestamp");
}

static bool is_ready(const json_t *pod)
{
    return is_running(pod) &&
           strcmp(site_text(site_condition(pod, "Ready"), "status"), "True") == 0;
}

static void add_pod(json_t *pods, const json_t *pod)
{
    const char *ns = site_text(pod, "metadata.namespace");
    json_t *labels = (json_t *)(uintptr_t)site_get(pod, "metadata.labels");
    json_t *list = json_object_get(pods, ns), *one;

    if (!is_running(pod))
        return;
    if (!list) {
        list = json_array();
        json_object_set_new(pods, ns, list);
    }
    one = json_pack("{s:s, s:s, s:s, s:b}", "name", site_text(pod, "metadata.name"), "uid",
                    site_text(pod, "metadata.uid"), "ip", site_text(pod, "status.podIP"), "ready",
                    (int)is_ready(pod));
    if (labels)
        json_object_set(one, "labels", labels);
    json_array_append_new(list, one);
}

static bool is_router(const json_t *pod)
{
    return strcmp(label(pod, "skupper.io/component"), "router") == 0 &&
           strcmp(label(pod, "skupper.io/type"), "site") == 0;
}

static char *pod_problem(const json_t *pod)
{
    json_t *c;
    size_t i;

    json_array_foreach((json_t *)(uintptr_t)site_get(pod, "status.conditions"), i, c)
    {
        if (strcmp(site_text(c, "status"), "False") == 0 && site_text(c, "message")[0])
            return xstrdup(site_text(c, "message"));
    }
    return str_fmt("Pod %s not ready", site_text(pod, "metadata.name"));
}

static void read_router_pod(struct planning *p, const json_t *pod)
{
    if (!is_router(pod))
        return;
    p->router_runs |= is_ready(pod);
    if (!p->router_problem && !site_get(pod, "metadata.deletionTimestamp"))
        p->router_problem = pod_problem(pod);
}

// ---------------------------------------------------------------------------------- configuration

// A ConfigMap's key as JSON; NULL when it is not there or is none.
static json_t *config_json(const struct planning *p, const char *name, const char *key)
{
    const json_t *map = plan_seen(p, "ConfigMap", name);

    return json_loads(value_of(json_object_get(map, "data"), key), 0, NULL);
}

// {name of a tcpListener: its port}, as the router has them now.
static void read_ports(struct planning *p)
{
    json_t *pair;
    size_t i;
    int64_t port;

    p->ports = json_object();
    json_array_foreach(p->config, i, pair)
    {
        const json_t *attrs = json_array_get(pair, 1);
        const char *type = json_string_value(json_array_get(pair, 0));

        if (type && strcmp(type, "tcpListener") == 0 &&
            site_number(str_of(site_text(attrs, "port")), 1, PORTS - 1, &port))
            json_object_set_new(p->ports, site_text(attrs, "name"), json_integer(port));
    }
}

// Ports that the router's listeners and tcpListeners are to have.
static void mark_used(const struct planning *p, bool *used)
{
    json_t *pair;
    size_t i;

    json_array_foreach(p->out->site.router, i, pair)
    {
        const json_t *port = json_object_get(json_array_get(pair, 1), "port");
        const char *type = json_string_value(json_array_get(pair, 0));
        int64_t n = json_integer_value(port);

        if (strcmp(type, "connector") == 0 || strcmp(type, "tcpConnector") == 0)
            continue;
        if (json_is_string(port) && !site_number(str_of(json_string_value(port)), 1, PORTS - 1, &n))
            n = 0;
        if (n > 0 && n < PORTS)
            used[n] = true;
    }
}

// Two listeners never have one port, whatever the ConfigMap says: the later one chooses anew.
static bool drop_doubles(struct planning *p)
{
    bool *used = xcalloc(PORTS, sizeof(*used)), is_new = false;
    json_t *pair;
    size_t i;

    for (size_t round = 0; round < 2; round++) {
        json_array_foreach(p->out->site.router, i, pair)
        {
            const json_t *attrs = json_array_get(pair, 1), *port = json_object_get(attrs, "port");
            bool is_tcp = strcmp(json_string_value(json_array_get(pair, 0)), "tcpListener") == 0;
            bool is_own = strcmp(json_string_value(json_array_get(pair, 0)), "listener") == 0;
            int64_t n = json_integer_value(port);

            if (json_is_string(port) &&
                !site_number(str_of(json_string_value(port)), 1, PORTS - 1, &n))
                continue;
            if (n < 1 || n >= PORTS || !(round == 0 ? is_own : is_tcp))
                continue;
            if (is_tcp && used[n]) {
                json_object_del(p->ports, site_text(attrs, "name"));
                is_new = true;
            }
            used[n] = true;
        }
    }
    free(used);
    return is_new;
}

bool facts_choose_ports(struct planning *p)
{
    bool is_new = drop_doubles(p), *used = xcalloc(PORTS, sizeof(*used));
    int next = FIRST_PORT;
    json_t *request;
    size_t i;

    mark_used(p, used);
    json_array_foreach(p->out->site.ports, i, request)
    {
        while (next < PORTS && used[next])
            next++;
        if (next == PORTS)
            break;
        used[next] = true;
        json_object_set_new(p->ports, site_text(request, "key"), json_integer(next));
        is_new = true;
    }
    free(used);
    return is_new;
}

// ---------------------------------------------------------------------------------------- Services

// A Service without our label stands where a Listener wants one; or the server refused it.
static void read_taken(struct planning *p)
{
    const char *key;
    json_t *words;

    p->taken = json_object();
    for (size_t i = 0; i < p->count; i++) {
        const json_t *s = p->seen[i];

        if (is_kind(s, "Service") && !services_may_adopt(p, s) &&
            !json_object_get(site_get(s, "metadata.labels"), SERVICE_LABEL))
            json_object_set_new(p->taken, site_text(s, "metadata.name"), json_true());
    }
    json_object_foreach((json_t *)(uintptr_t)p->f->refused, key, words)
    {
        if (strncmp(key, "Service/", 8) == 0 && !json_object_get(p->taken, key + 8) &&
            !services_has_ingress(p, key + 8))
            json_object_set(p->taken, key + 8, words);
    }
}

// ------------------------------------------------------------------------------------------ the
// rest

// Where it was found the last time: mostly it is there still, and the model need not be asked
// twice.
static void read_secured(struct planning *p, const json_t *object)
{
    json_t *endpoints = (json_t *)(uintptr_t)site_get(object, "status.endpoints");

    json_object_set_new(p->secured, site_text(object, "metadata.name"),
                        json_pack("{s:o, s:s}", "endpoints",
                                  endpoints ? json_incref(endpoints) : json_array(), "error", ""));
}

// {"host", "port", "username"} of a Secret that describes an HTTP proxy. Its password is for the
// agent in the pod alone.
static void read_proxy(struct planning *p, const json_t *secret)
{
    static const char *const keys[] = {"host", "port", "username"};
    json_t *fact = json_object();

    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        char *text = site_secret_get(secret, keys[i]);

        if (text)
            json_object_set_new(fact, keys[i], json_string(text));
        free(text);
    }
    if (json_object_get(fact, "host"))
        json_object_set(p->proxies, site_text(secret, "metadata.name"), fact);
    json_decref(fact);
}

static void read_one(struct planning *p, const json_t *object)
{
    char *key;

    if (is_kind(object, "Secret"))
        read_proxy(p, object);
    if (is_kind(object, "Pod")) {
        add_pod(p->pods, object);
        read_router_pod(p, object);
    }
    if (is_kind(object, "SecuredAccess"))
        read_secured(p, object);
    if (strcmp(site_text(object, "apiVersion"), SKUPPER_API) != 0)
        return;
    key = site_key(site_text(object, "kind"), site_text(object, "metadata.name"));
    json_object_set(p->previous, key, (json_t *)(uintptr_t)object);
    free(key);
}

static int by_place(const void *left, const void *right)
{
    const json_t *a = *(json_t *const *)left, *b = *(json_t *const *)right;
    int order = strcmp(site_text(a, "metadata.namespace"), site_text(b, "metadata.namespace"));

    return order ? order : strcmp(site_text(a, "metadata.name"), site_text(b, "metadata.name"));
}

static void read_others(struct planning *p)
{
    json_t **sorted = xcalloc(p->f->other_count + 1, sizeof(*sorted));

    for (size_t i = 0; i < p->f->other_count; i++)
        sorted[i] = p->f->others[i];
    if (p->f->other_count > 0)
        qsort(sorted, p->f->other_count, sizeof(*sorted), by_place);
    for (size_t i = 0; i < p->f->other_count; i++) {
        if (is_kind(sorted[i], "Pod"))
            add_pod(p->pods, sorted[i]);
        else if (is_kind(sorted[i], "AttachedConnector") ||
                 is_kind(sorted[i], "AttachedConnectorBinding"))
            json_array_append(p->attached, sorted[i]);
    }
    free(sorted);
}

static void read_access_types(struct planning *p)
{
    char *copy = xstrdup(p->f->settings->access_types ? p->f->settings->access_types : "");
    char *rest = copy, *item;

    p->access_types = json_object();
    while ((item = strsep(&rest, ", ")) != NULL)
        if (item[0])
            json_object_set_new(p->access_types, item, json_true());
    free(copy);
}

void facts_read(struct planning *p)
{
    p->pods = json_object();
    p->proxies = json_object();
    p->previous = json_object();
    p->attached = json_array();
    template_read(p);
    for (size_t i = 0; i < p->count; i++)
        read_one(p, p->seen[i]);
    read_others(p);
    p->config = config_json(p, site_groups[0], "skrouterd.json");
    p->network = config_json(p, "skupper-network-status", "NetworkStatus");
    read_ports(p);
    read_taken(p);
    read_access_types(p);
    certificates_read(p);
}

void facts_free(struct planning *p)
{
    json_t *const all[] = {p->proxies,   p->pods,    p->previous,     p->attached, p->certificates,
                           p->config,    p->network, p->access_types, p->ports,    p->taken,
                           p->templates, p->sizes,   p->kept,         p->contexts, p->profiles};

    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        json_decref(all[i]);
    free(p->router_problem);
    free(p->site_problem);
}
