// SPDX-License-Identifier: Apache-2.0
// What is wanted held against what is there: at most one operation for each object and one for its
// status, none for what is as it should be. Only fields that we set are compared. What is not ours
// is not touched, and deleted is only what says that we made it, while all is well with the Site.
#include <stdlib.h>

#include "base/mem.h"
#include "controller/inside.h"
#include "pki/pki.h"

static const char APPLIED[] = "internal.skupper.io/applied";

// In this order they are made: what others refer to comes first.
static const char *const order[] = {
    "ConfigMap",   "ServiceAccount", "Role",          "RoleBinding",
    "Certificate", "RouterAccess",   "SecuredAccess", "Gateway",
    "Deployment",  "Service",        "Route",         "Ingress",
    "HTTPProxy",   "TLSRoute",       "EndpointSlice", "NetworkPolicy",
    NULL};

// -------------------------------------------------------------------------------------- comparing

// What a server need not tell: it leaves out numbers that are 0 as well.
static bool is_empty(const json_t *v)
{
    return !v || json_is_null(v) || json_is_false(v) ||
           (json_is_integer(v) && json_integer_value(v) == 0) ||
           (json_is_string(v) && json_string_length(v) == 0) ||
           (json_is_array(v) && json_array_size(v) == 0) ||
           (json_is_object(v) && json_object_size(v) == 0);
}

static bool lists_agree(const json_t *seen, const json_t *wanted)
{
    if (json_array_size(seen) != json_array_size(wanted))
        return false;
    for (size_t i = 0; i < json_array_size(wanted); i++)
        if (!has_all(json_array_get(seen, i), json_array_get(wanted, i)))
            return false;
    return true;
}

// Others may own an object too.
static bool has_owners(const json_t *seen, const json_t *wanted)
{
    json_t *a, *b;
    size_t i, k;

    json_array_foreach((json_t *)(uintptr_t)wanted, i, a)
    {
        bool is_there = false;

        json_array_foreach((json_t *)(uintptr_t)seen, k, b) is_there |=
            strcmp(site_text(a, "uid"), site_text(b, "uid")) == 0;
        if (!is_there)
            return false;
    }
    return true;
}

// Quantities ("0.5") are told in other forms ("500m") than they were given: whether these are as
// they were applied says the annotation of the whole.
static bool is_left_out(const char *key)
{
    return strcmp(key, "resources") == 0;
}

bool has_all(const json_t *seen, const json_t *wanted)
{
    const char *key;
    json_t *v;

    if (is_empty(wanted))
        return is_empty(seen) || json_is_object(wanted);
    if (json_is_array(wanted))
        return json_is_array(seen) && lists_agree(seen, wanted);
    if (!json_is_object(wanted))
        return json_equal(seen, wanted);
    json_object_foreach((json_t *)(uintptr_t)wanted, key, v)
    {
        const json_t *there = json_object_get(seen, key);

        if (strcmp(key, "ownerReferences") == 0 ? !has_owners(there, v)
                                                : !is_left_out(key) && !has_all(there, v))
            return false;
    }
    return true;
}

// The whole text, whose form the server keeps but others may not.
static bool has_config(const json_t *seen, const json_t *wanted)
{
    const char *is = value_of(json_object_get(seen, "data"), "skrouterd.json");
    const char *should = value_of(json_object_get(wanted, "data"), "skrouterd.json");
    bool has = strcmp(is, should) == 0;

    if (!has) {
        json_t *a = json_loads(is, 0, NULL), *b = json_loads(should, 0, NULL);

        has = json_equal(a, b);
        json_decref(a);
        json_decref(b);
    }
    return has && has_all(json_object_get(seen, "metadata"), json_object_get(wanted, "metadata"));
}

// Resources of our own kinds have the spec that we give them and no more.
static bool has_spec(const json_t *seen, const json_t *wanted)
{
    const json_t *a = json_object_get(seen, "spec"), *b = json_object_get(wanted, "spec");
    const char *key;
    json_t *v;

    json_object_foreach((json_t *)(uintptr_t)a, key, v)
    {
        if (!is_empty(v) && is_empty(json_object_get(b, key)))
            return false;
    }
    return has_all(seen, wanted);
}

static bool is_resource(const json_t *object)
{
    return strcmp(site_text(object, "apiVersion"), SKUPPER_API) == 0;
}

// With a label more it would lead to nobody.
static bool has_selector(const json_t *seen, const json_t *wanted)
{
    const json_t *a = site_get(seen, "spec.selector"), *b = site_get(wanted, "spec.selector");

    return json_equal(a, b) || (is_empty(a) && is_empty(b));
}

static bool is_as_wanted(const json_t *seen, const json_t *wanted)
{
    if (is_kind(wanted, "ConfigMap"))
        return has_config(seen, wanted);
    if (is_kind(wanted, "Service") && !has_selector(seen, wanted))
        return false;
    return is_resource(wanted) ? has_spec(seen, wanted) : has_all(seen, wanted);
}

// ---------------------------------------------------------------------------------------- merging

static void merge(json_t *to, const json_t *wanted);

// Items of one name keep what others put there (the nodePort of a port).
static json_t *merged_list(const json_t *seen, const json_t *wanted)
{
    json_t *out = json_array(), *item;
    size_t i;

    json_array_foreach((json_t *)(uintptr_t)wanted, i, item)
    {
        const char *name = site_text(item, "name");
        const json_t *base = name[0] ? site_item(seen, "name", name) : NULL;
        json_t *one = base ? json_deep_copy(base) : json_deep_copy(item);

        if (base)
            merge(one, item);
        json_array_append_new(out, one);
    }
    return out;
}

static json_t *merged_owners(const json_t *seen, const json_t *wanted)
{
    json_t *out = json_is_array(seen) ? json_deep_copy(seen) : json_array(), *ref, *one;
    size_t i;

    json_array_foreach((json_t *)(uintptr_t)wanted, i, ref)
    {
        one = json_pack("[O]", ref);
        if (!has_owners(out, one))
            json_array_append(out, ref);
        json_decref(one);
    }
    return out;
}

static void merge(json_t *to, const json_t *wanted)
{
    const char *key;
    json_t *v;

    json_object_foreach((json_t *)(uintptr_t)wanted, key, v)
    {
        json_t *there = json_object_get(to, key);

        if (strcmp(key, "ownerReferences") == 0)
            json_object_set_new(to, key, merged_owners(there, v));
        else if (json_is_object(v) && json_is_object(there))
            merge(there, v);
        else if (json_is_array(v) && json_is_array(there) && json_array_size(v) > 0)
            json_object_set_new(to, key, merged_list(there, v));
        else
            json_object_set_new(to, key, json_deep_copy(v));
    }
}

// A Service that is within the cluster alone has no ports on nodes, whatever it had.
static void drop_node_ports(json_t *service)
{
    json_t *spec = json_object_get(service, "spec"), *port;
    size_t i;

    if (strcmp(site_text(spec, "type"), "ClusterIP") != 0)
        return;
    json_array_foreach(json_object_get(spec, "ports"), i, port) json_object_del(port, "nodePort");
}

// In a merge patch what is not to be there is null.
static void drop_selectors(json_t *service, const json_t *wanted)
{
    json_t *selector = json_object_get(json_object_get(service, "spec"), "selector"), *v;
    const char *key;

    json_object_foreach(selector, key, v)
    {
        if (!json_object_get(site_get(wanted, "spec.selector"), key))
            json_object_set_new(selector, key, json_null());
    }
}

// What is seen with what is wanted: for an update of the whole.
static json_t *merged(const json_t *seen, const json_t *wanted)
{
    json_t *object = json_deep_copy(seen);

    if (is_resource(wanted)) {
        json_object_del(object, "spec");
        json_object_del(object, "status");
    }
    merge(object, wanted);
    if (is_kind(wanted, "Service")) {
        drop_node_ports(object);
        drop_selectors(object, wanted);
    }
    return object;
}

// ------------------------------------------------------------------------------------- operations

static void add(struct planning *p, const char *what, const char *key, json_t *take)
{
    json_object_set_new(p->written, key, json_true());
    json_array_append_new(p->out->operations,
                          json_pack("{s:s, s:s, s:o}", "do", what, "key", key, "object", take));
}

static bool is_applied(const json_t *object)
{
    return is_kind(object, "Deployment") ||
           (is_kind(object, "Service") &&
            strcmp(site_text(object, "metadata.name"), "skupper-router-local") == 0);
}

// Says in the object what was applied, so that also what is no longer wanted is noticed.
static void sign(json_t *object)
{
    char *text = json_dumps(object, JSON_SORT_KEYS | JSON_COMPACT), digest[65];

    pki_digest(str_of(text), digest);
    json_object_set_new(object_annotations(object), APPLIED, json_string(digest));
    free(text);
}

// Only what identifies this very object.
json_t *plan_identity(const json_t *seen)
{
    return json_pack("{s:s, s:s, s:{s:s, s:s, s:s, s:s}}", "apiVersion",
                     site_text(seen, "apiVersion"), "kind", site_text(seen, "kind"), "metadata",
                     "name", site_text(seen, "metadata.name"), "namespace",
                     site_text(seen, "metadata.namespace"), "uid", site_text(seen, "metadata.uid"),
                     "resourceVersion", site_text(seen, "metadata.resourceVersion"));
}

// Selectors cannot be changed: a Deployment of releases 2.2.0 is made anew.
static bool has_old_selector(const json_t *seen)
{
    return is_kind(seen, "Deployment") &&
           value_of(site_get(seen, "spec.selector.matchLabels"), "skupper.io/group")[0];
}

static void compare(struct planning *p, const char *key, json_t *wanted)
{
    const json_t *seen = map_get(&p->by_key, str_of(key));

    if (is_applied(wanted))
        sign(wanted);
    switch (plan_own(p, key)) {
    case OWN_FOREIGN: // its trouble is told
    case OWN_LEFT:    // it is about to go
        return;
    case OWN_NONE:
        add(p, is_applied(wanted) ? "apply" : "create", key, json_deep_copy(wanted));
        return;
    case OWN_OURS:
        break;
    }
    if (has_old_selector(seen))
        add(p, "delete", key, plan_identity(seen));
    else if (is_as_wanted(seen, wanted))
        return;
    else if (is_applied(wanted))
        add(p, "apply", key, json_deep_copy(wanted));
    else
        // Of core kinds not all is kept that is there, so that they cannot be written whole.
        add(p, strcmp(site_text(seen, "apiVersion"), "v1") == 0 ? "patch" : "update", key,
            merged(seen, wanted));
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

// The keys of an object, sorted; the caller frees the array.
static const char **sorted_keys(const json_t *object, size_t *count)
{
    const char **keys = xcalloc(json_object_size(object) + 1, sizeof(*keys)), *key;
    json_t *v;

    *count = 0;
    json_object_foreach((json_t *)(uintptr_t)object, key, v) keys[(*count)++] = key;
    qsort(keys, *count, sizeof(*keys), by_text);
    return keys;
}

static void compare_objects(struct planning *p)
{
    size_t count;
    const char **keys = sorted_keys(p->out->objects, &count);

    for (size_t k = 0; order[k]; k++)
        for (size_t i = 0; i < count; i++) {
            json_t *wanted = json_object_get(p->out->objects, keys[i]);

            if (is_kind(wanted, order[k]))
                compare(p, keys[i], wanted);
        }
    free(keys);
}

static void compare_contexts(struct planning *p)
{
    size_t count;
    const char **names = sorted_keys(p->contexts, &count);

    for (size_t i = 0; i < count; i++) {
        json_t *object = plan_identity(plan_seen(p, "Secret", names[i]));
        char *key = site_key("Secret", names[i]);

        json_object_set(object_annotations(object), "internal.skupper.io/tls-profile-context",
                        json_object_get(p->contexts, names[i]));
        add(p, "patch", key, object);
        free(key);
    }
    free(names);
}

// Of what is not ours, or not alone.
static void compare_patches(struct planning *p)
{
    size_t count;
    const char **keys = sorted_keys(p->patches, &count);

    for (size_t i = 0; i < count; i++) {
        json_t *object = plan_identity(map_get(&p->by_key, str_of(keys[i])));

        json_object_update_recursive(object, json_object_get(p->patches, keys[i]));
        if (json_object_get(p->written, keys[i]))
            json_decref(object); // for the next turn
        else
            add(p, "patch", keys[i], object);
    }
    free(keys);
}

// -----------------------------------------------------------------------------------------
// statuses

// The first condition that is in error.
static const char *failed_condition(const json_t *status)
{
    const json_t *c = site_item(json_object_get(status, "conditions"), "reason", "Error");

    return c ? site_text(c, "type") : "Error";
}

// The Event that goes with a status; NULL: there is nothing to tell.
static json_t *event_of(const json_t *seen, const json_t *status)
{
    const char *before = site_text(seen, "status.message");

    if (strcmp(site_text(status, "status"), "Error") != 0 ||
        (strcmp(site_text(seen, "status.status"), "Error") == 0 &&
         strcmp(before, site_text(status, "message")) == 0))
        return NULL;
    return json_pack("{s:o, s:s, s:s, s:s}", "object", plan_identity(seen), "type", "Warning",
                     "reason", failed_condition(status), "message", site_text(status, "message"));
}

static void add_status(struct planning *p, const char *key, json_t *take, json_t *take_event)
{
    add(p, "status", key, take);
    if (take_event)
        json_object_set_new(
            json_array_get(p->out->operations, json_array_size(p->out->operations) - 1), "event",
            take_event);
}

// What is written in this turn has another version then: its status is for the next, unless the
// server has refused it.
static bool is_written(const struct planning *p, const char *key)
{
    return json_object_get(p->written, key) && !json_object_get(p->f->refused, key);
}

static void compare_statuses(struct planning *p)
{
    size_t count;
    const char **keys = sorted_keys(p->out->site.resources, &count);

    for (size_t i = 0; i < count; i++) {
        const json_t *seen = map_get(&p->by_key, str_of(keys[i]));
        json_t *status =
            json_object_get(json_object_get(p->out->site.resources, keys[i]), "status");
        json_t *object;

        if (!seen || is_written(p, keys[i]) || json_equal(json_object_get(seen, "status"), status))
            continue;
        object = json_deep_copy(seen);
        json_object_set(object, "status", status);
        add_status(p, keys[i], object, event_of(seen, status));
    }
    free(keys);
}

// ---------------------------------------------------------------------------------------- deleting

static bool has_label(const json_t *object, const char *key)
{
    return json_object_get(site_get(object, "metadata.labels"), key) != NULL;
}

static bool is_owned_by_any(const json_t *object, const json_t *uids)
{
    json_t *ref;
    size_t i;

    json_array_foreach((json_t *)(uintptr_t)site_get(object, "metadata.ownerReferences"), i, ref)
    {
        if (json_object_get(uids, site_text(ref, "uid")))
            return true;
    }
    return false;
}

static bool is_kept(const struct planning *p, const json_t *object)
{
    return is_owned_by_any(object, p->kept);
}

// Services of single pods are known by the network's status alone.
static bool knows_pods(const struct planning *p)
{
    const char *key;
    json_t *made;

    if (p->network)
        return true;
    json_object_foreach(p->made, key, made)
    {
        if (json_is_true(site_get(made, "spec.exposePodsByName")) && is_kind(made, "Listener"))
            return false;
    }
    for (size_t i = 0; i < p->count; i++)
        if (is_kind(p->seen[i], "Listener") &&
            json_is_true(site_get(p->seen[i], "spec.exposePodsByName")))
            return false;
    return true;
}

static bool is_of_access(const json_t *object)
{
    return has_label(object, "internal.skupper.io/secured-access") ||
           (is_kind(object, "TLSRoute") && has_label(object, CONTROLLED));
}

// Of a certificate that nobody wants any more.
static bool is_stale_certificate(const struct planning *p, const json_t *secret)
{
    const char *name = annotation(secret, "internal.skupper.io/certificate");

    return name[0] && !site_item(p->out->site.certificates, "name", name);
}

// Of the sorts that a Site makes, and made by it.
static bool is_of_site(const struct planning *p, const json_t *object)
{
    bool is_marked = strcmp(annotation(object, CONTROLLED), "true") == 0;

    if (is_kind(object, "ConfigMap"))
        return has_label(object, "internal.skupper.io/router-config") &&
               is_owned_by(object, p->site_uid);
    if (is_kind(object, "Deployment"))
        return is_owned_by(object, p->site_uid);
    if (is_kind(object, "Secret"))
        return is_marked && is_owned_by(object, p->site_uid) && is_stale_certificate(p, object);
    if (is_kind(object, "NetworkPolicy"))
        return is_marked && is_owned_by(object, p->site_uid);
    if (is_kind(object, "EndpointSlice"))
        return is_marked && knows_pods(p);
    if (is_kind(object, "Service"))
        return is_marked && has_label(object, SERVICE_LABEL) && knows_pods(p);
    return is_made_by_us(object);
}

static bool site_is_well(const struct planning *p)
{
    char *key = site_key("Site", site_text(p->site, "metadata.name"));
    const json_t *c = site_condition(json_object_get(p->out->site.resources, key), "Configured");

    free(key);
    return p->site && strcmp(site_text(c, "status"), "True") == 0;
}

static bool is_unwanted(const struct planning *p, const json_t *seen, const char *key, bool is_well)
{
    bool is_marked = strcmp(annotation(seen, CONTROLLED), "true") == 0;

    if (json_object_get(p->out->objects, key) || site_get(seen, "metadata.deletionTimestamp"))
        return false;
    return is_of_access(seen) ? is_marked && !is_kept(p, seen) : is_well && is_of_site(p, seen);
}

// What it owns goes with it: `gone` are the uids of those that go.
static void find_unwanted(struct planning *p, bool is_owner, json_t *gone)
{
    bool is_well = site_is_well(p);

    for (size_t i = 0; i < p->count; i++) {
        const json_t *seen = p->seen[i];
        char *key = site_key(site_text(seen, "kind"), site_text(seen, "metadata.name"));

        if ((is_kind(seen, "RouterAccess") || is_kind(seen, "SecuredAccess")) == is_owner &&
            is_unwanted(p, seen, key, is_well)) {
            if (!is_owned_by_any(seen, gone))
                add(p, "delete", key, plan_identity(seen));
            json_object_set_new(gone, site_text(seen, "metadata.uid"), json_true());
        }
        free(key);
    }
}

void plan_compare(struct planning *p)
{
    json_t *gone = json_object();

    p->written = json_object();
    compare_objects(p);
    compare_contexts(p);
    compare_patches(p);
    compare_statuses(p);
    find_unwanted(p, true, gone);
    find_unwanted(p, false, gone);
    json_decref(p->written);
    json_decref(gone);
}
