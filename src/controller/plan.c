// SPDX-License-Identifier: Apache-2.0
// How a namespace is computed.
//
// facts.c reads from the objects what the site model asks for: pods, ports once chosen, Secrets,
// the network. The model says what the resources mean. From that the objects of Kubernetes follow:
// site.c, access.c and certificate.c. Some of what they find out is a fact again (a port chosen, an
// address that a Service got, an object in our place that is not ours), so the model is asked until
// nothing is new. difference.c compares with what is there.
//
// Services by annotation, and those that other sites tell of, become resources that stand in no API
// (services.c): the model knows them as it knows those of users.
//
// RouterAccess, SecuredAccess and Certificate may be written by a user or by us. Ours are not read
// but made anew each time, in the same turn as what they are made for. An object whose owner is
// not there yet, and so has no uid, waits for the turn in which it is.
//
// Nothing that a plan depends on is remembered between two: what must not change once chosen is
// read back from the router's ConfigMap and from annotations. What is handed on (plan.checked) only
// saves work.
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "controller/inside.h"

enum { ROUNDS_MAX = 5 };

// ------------------------------------------------------------------------------------- small help

const char *value_of(const json_t *map, const char *key)
{
    const char *text = json_string_value(json_object_get(map, key));

    return text ? text : "";
}

const char *annotation(const json_t *object, const char *key)
{
    return value_of(site_get(object, "metadata.annotations"), key);
}

const char *label(const json_t *object, const char *key)
{
    return value_of(site_get(object, "metadata.labels"), key);
}

bool is_kind(const json_t *object, const char *kind)
{
    return strcmp(site_text(object, "kind"), kind) == 0;
}

bool is_owned_by(const json_t *object, const char *uid)
{
    json_t *ref;
    size_t i;

    json_array_foreach((json_t *)(uintptr_t)site_get(object, "metadata.ownerReferences"), i, ref)
    {
        if (uid[0] && strcmp(site_text(ref, "uid"), uid) == 0)
            return true;
    }
    return false;
}

json_t *object_metadata(json_t *object)
{
    return json_object_get(object, "metadata");
}

static json_t *member(json_t *object, const char *name)
{
    json_t *there = json_object_get(object, name);

    if (!there) {
        there = json_object();
        json_object_set_new(object, name, there);
    }
    return there;
}

json_t *object_annotations(json_t *object)
{
    return member(object_metadata(object), "annotations");
}

json_t *object_labels(json_t *object)
{
    return member(object_metadata(object), "labels");
}

const json_t *plan_seen(const struct planning *p, const char *kind, const char *name)
{
    char *key = site_key(kind, name);
    const json_t *object = map_get(&p->by_key, str_of(key));

    free(key);
    return object;
}

static void look_for_trouble(struct planning *p, const char *key, const char *told)
{
    const char *refused = value_of(p->f->refused, key);
    const char *slash = strchr(key, '/');

    if (plan_own(p, key) == OWN_FOREIGN && strncmp(key, "ConfigMap/", 10) == 0)
        plan_trouble(p, told, "%s is not owned by skupper site \"%s\"", slash + 1, p->site_uid);
    else if (plan_own(p, key) == OWN_FOREIGN)
        plan_trouble(p, told,
                     "%.*s %s already exists in namespace and is not controlled by skupper",
                     (int)(slash - key), key, slash + 1);
    else if (refused[0])
        plan_trouble(p, told, "%s", refused);
}

json_t *plan_object(struct planning *p, const char *api_version, const char *kind, const char *name,
                    const json_t *owner, const char *told)
{
    char *key = site_key(kind, name);
    json_t *object = json_pack("{s:s, s:s, s:{s:s, s:s}}", "apiVersion", api_version, "kind", kind,
                               "metadata", "name", name, "namespace", p->f->ns);

    if (owner == p->site && p->root)
        owner = p->root;
    if (owner)
        json_object_set_new(
            object_metadata(object), "ownerReferences",
            json_pack("[{s:s, s:s, s:s, s:s}]", "apiVersion", site_text(owner, "apiVersion"),
                      "kind", site_text(owner, "kind"), "name", site_text(owner, "metadata.name"),
                      "uid", site_text(owner, "metadata.uid")));
    json_object_set_new(p->out->objects, key, object);
    look_for_trouble(p, key, told);
    free(key);
    return object;
}

void plan_trouble(struct planning *p, const char *key, const char *fmt, ...)
{
    char words[WHY_MAX];
    va_list args;

    if (json_object_get(p->trouble, key))
        return;
    va_start(args, fmt);
    vsnprintf(words, sizeof(words), fmt, args);
    va_end(args);
    json_object_set_new(p->trouble, key, json_string(words));
}

enum own plan_own(const struct planning *p, const char *key)
{
    const json_t *object = map_get(&p->by_key, str_of(key));
    bool is_left = false;
    json_t *ref;
    size_t i;

    if (!object)
        return OWN_NONE;
    if (site_get(object, "metadata.deletionTimestamp"))
        return OWN_LEFT;
    if (strcmp(annotation(object, CONTROLLED), "true") == 0)
        return OWN_OURS;
    json_array_foreach((json_t *)(uintptr_t)site_get(object, "metadata.ownerReferences"), i, ref)
    {
        if (json_object_get(p->owned, site_text(ref, "uid")))
            return OWN_OURS;
        is_left |= strncmp(site_text(ref, "apiVersion"), "skupper.io/", 11) == 0;
    }
    return is_left ? OWN_LEFT : OWN_FOREIGN;
}

// ------------------------------------------------------------------------------------- collecting

static int by_key(const void *left, const void *right)
{
    const json_t *a = *(const json_t *const *)left, *b = *(const json_t *const *)right;
    int order = strcmp(site_text(a, "kind"), site_text(b, "kind"));

    return order ? order : strcmp(site_text(a, "metadata.name"), site_text(b, "metadata.name"));
}

static void collect(struct planning *p)
{
    size_t count = p->f->count < PLAN_OBJECTS_MAX ? p->f->count : PLAN_OBJECTS_MAX;

    p->seen = xcalloc(count + 1, sizeof(*p->seen));
    for (size_t i = 0; i < count; i++)
        p->seen[p->count++] = p->f->objects[i];
    if (p->count > 0)
        qsort(p->seen, p->count, sizeof(*p->seen), by_key);
    for (size_t i = 0; i < p->count; i++) {
        char *key = site_key(site_text(p->seen[i], "kind"), site_text(p->seen[i], "metadata.name"));

        map_put(&p->by_key, str_of(key), (json_t *)(uintptr_t)p->seen[i]);
        free(key);
    }
}

// The one that has the router; else, as the model has it, the oldest, then by name.
static void choose_site(struct planning *p)
{
    const json_t *config = plan_seen(p, "ConfigMap", site_groups[0]);

    for (size_t i = 0; i < p->count; i++) {
        const json_t *s = p->seen[i];

        if (!is_kind(s, "Site"))
            continue;
        if (is_owned_by(config, site_text(s, "metadata.uid"))) {
            p->site = s;
            break;
        }
        if (!p->site || strcmp(site_text(s, "metadata.creationTimestamp"),
                               site_text(p->site, "metadata.creationTimestamp")) < 0)
            p->site = s;
    }
    if (!p->site && p->f->settings->reads_site_map)
        site_map_choose(p);
    p->site_uid = site_text(p->site, "metadata.uid");
    p->groups = p->site && json_is_true(site_get(p->site, "spec.ha")) &&
                        !json_is_true(site_get(p->site, "spec.edge"))
                    ? 2
                    : 1;
}

// The router's alone of all Deployments: what users' own is theirs.
static bool is_owner(const json_t *object)
{
    static const char *const kinds[] = {"RouterAccess", "SecuredAccess", "Certificate", NULL};

    for (size_t i = 0; kinds[i]; i++)
        if (is_kind(object, kinds[i]))
            return true;
    for (size_t i = 0; i < SITE_GROUPS_MAX; i++)
        if (is_kind(object, "Deployment") &&
            strcmp(site_text(object, "metadata.name"), site_groups[i]) == 0)
            return true;
    return false;
}

static void collect_owners(struct planning *p)
{
    p->owned = json_object();
    if (p->site_uid[0])
        json_object_set_new(p->owned, p->site_uid, json_true());
    for (size_t i = 0; i < p->count; i++) {
        const char *uid = site_text(p->seen[i], "metadata.uid");

        if (uid[0] && is_owner(p->seen[i]))
            json_object_set_new(p->owned, uid, json_true());
    }
}

// ---------------------------------------------------------------------------------- asking the
// model

static bool is_owned_by_kind(const json_t *object, const char *kind)
{
    json_t *ref;
    size_t i;

    json_array_foreach((json_t *)(uintptr_t)site_get(object, "metadata.ownerReferences"), i, ref)
    {
        if (is_kind(ref, kind))
            return true;
    }
    return false;
}

// Of the kinds that users and we write: ours are made anew.
bool is_made_by_us(const json_t *object)
{
    if (strcmp(annotation(object, CONTROLLED), "true") != 0)
        return false;
    if (is_kind(object, "RouterAccess"))
        return is_owned_by_kind(object, "Site");
    if (is_kind(object, "SecuredAccess"))
        return is_owned_by_kind(object, "RouterAccess");
    return is_kind(object, "Certificate") &&
           (is_owned_by_kind(object, "Site") || is_owned_by_kind(object, "SecuredAccess"));
}

static bool is_for_model(const json_t *object)
{
    const struct site_kind *kind = site_find_kind(str_of(site_text(object, "kind")));

    return kind && !is_kind(object, "ConfigMap") && !is_made_by_us(object);
}

static const char *config_problem(const struct planning *p)
{
    const char *words = "";

    for (size_t i = 0; i < p->groups && !words[0]; i++) {
        char *key = site_key("ConfigMap", site_groups[i]);

        words = value_of(p->f->refused, key);
        free(key);
    }
    return words;
}

static void derive(struct planning *p, const struct site_input *inputs, size_t count)
{
    const struct site_facts facts = {
        .platform = &site_kubernetes,
        .namespace = p->f->ns,
        .version = p->f->settings->version,
        .site_id = p->site_uid,
        .router_suffix = "${HOSTNAME}",
        .base = "/etc/skupper-router-certs",
        .now = p->f->now,
        .ports = p->ports,
        .certificates = p->certificates,
        .proxies = p->proxies,
        .router_runs = p->router_runs,
        .router_problem = p->router_problem,
        .network = p->network,
        .grants = p->f->grants,
        .tokens = p->f->tokens,
        .previous = p->previous,
        .pods = p->pods,
        .attached = p->attached,
        .taken = p->taken,
        .site_problem = p->site_problem,
        .config_problem = config_problem(p),
        .secured = p->secured,
        .access_types = p->access_types,
        .shared = p->shared,
    };

    site_wanted_free(&p->out->site);
    site_derive(inputs, count, &facts, &p->out->site);
}

// What stands in the way of the Site's own objects is said by the Site.
static bool note_site_trouble(struct planning *p)
{
    char *key = site_key("Site", site_text(p->site, "metadata.name"));
    const char *words = value_of(p->trouble, key);
    bool is_new = strcmp(words, p->site_problem ? p->site_problem : "") != 0;

    free(key);
    if (is_new) {
        free(p->site_problem);
        p->site_problem = xstrdup(words);
    }
    return is_new;
}

// One round; true: something is new that the model should hear.
static bool one_round(struct planning *p, const struct site_input *inputs, size_t count)
{
    json_t *secured = json_deep_copy(p->secured), *certificates = json_deep_copy(p->certificates);
    json_t *taken = json_deep_copy(p->taken);
    bool is_new;

    json_object_clear(p->out->objects);
    json_object_clear(p->out->issues);
    json_object_clear(p->patches);
    json_object_clear(p->trouble);
    derive(p, inputs, count);
    is_new = facts_choose_ports(p);
    if (p->site)
        site_objects(p);
    access_objects(p);
    certificate_objects(p);
    is_new |= note_site_trouble(p);
    is_new |= !json_equal(secured, p->secured) || !json_equal(certificates, p->certificates) ||
              !json_equal(taken, p->taken);
    json_decref(secured);
    json_decref(certificates);
    json_decref(taken);
    return is_new;
}

static void ask_model(struct planning *p)
{
    struct site_input *inputs = xcalloc(p->count + json_object_size(p->made) + 1, sizeof(*inputs));
    size_t count = 0;
    const char *key;
    json_t *made;

    for (size_t i = 0; i < p->count; i++)
        if (is_for_model(p->seen[i]))
            inputs[count++].value = p->seen[i];
    json_object_foreach(p->made, key, made) inputs[count++].value = made;
    for (int i = 0; i < ROUNDS_MAX && one_round(p, inputs, count); i++)
        ;
    free(inputs);
}

// ------------------------------------------------------------------------------------ the last
// words

// What statuses have in a cluster beside what the model says.
static void finish_statuses(struct planning *p)
{
    const struct controller_settings *s = p->f->settings;
    const char *key;
    json_t *one;

    json_object_foreach(p->out->site.resources, key, one)
    {
        json_t *status = json_object_get(one, "status");

        if (is_kind(one, "Site") && p->site &&
            strcmp(site_text(one, "metadata.name"), site_text(p->site, "metadata.name")) == 0)
            json_object_set_new(status, "controller",
                                json_pack("{s:s, s:s, s:s}", "name", s->name, "namespace", s->ns,
                                          "version", s->version));
        if (is_kind(one, "AccessGrant") && !s->has_grants) {
            json_object_clear(status);
            json_object_set_new(status, "message", json_string("AccessGrants are not enabled"));
        }
    }
}

void controller_plan(const struct plan_facts *f, struct plan *out)
{
    struct planning p = {.f = f,
                         .out = out,
                         .secured = json_object(),
                         .kept = json_object(),
                         .contexts = json_object(),
                         .trouble = json_object()};

    *out = (struct plan){.objects = json_object(),
                         .issues = json_object(),
                         .operations = json_array(),
                         .notes = json_object(),
                         .checked = json_object(),
                         .next_at = INT64_MAX};
    collect(&p);
    choose_site(&p);
    collect_owners(&p);
    services_read(&p);
    site_map_read(&p);
    facts_read(&p);
    ask_model(&p);
    site_map_finish(&p);
    services_finish(&p);
    site_map_dress(&p);
    secret_contexts(&p);
    finish_statuses(&p);
    out->has_site = p.site != NULL;
    out->is_quiet = site_option_is(&p, "enable-skupper-events", "false");
    plan_compare(&p);
    facts_free(&p);
    services_free(&p);
    json_decref(p.made_site);
    json_decref(p.blamed);
    json_decref(p.secured);
    json_decref(p.trouble);
    json_decref(p.owned);
    map_fini(&p.by_key);
    free(p.seen);
}

void controller_plan_free(struct plan *p)
{
    site_wanted_free(&p->site);
    json_decref(p->objects);
    json_decref(p->issues);
    json_decref(p->operations);
    json_decref(p->notes);
    json_decref(p->checked);
    json_decref(p->token);
    *p = (struct plan){0};
}
