// SPDX-License-Identifier: Apache-2.0
// How everything wanted is computed.
//
// Each resource becomes a `struct thing`: a checked copy with defaults, sorted by kind, age and
// name. Of several Sites the oldest is the active one, unless another has the router. Then each
// thing is applied in that order: it adds entities to the router's configuration, certificates to
// those wanted, and conditions to itself. What a thing cannot have, because its text is wrong or an
// older one has it, becomes its condition, and touches no other thing. At the end the aggregate of
// its conditions is its status.
//
// Nothing is taken from earlier computations but times (when something was created, when a
// condition changed), so the same resources and facts give the same result, however they came
// about. What must not change once chosen (ports, the site's id) is a fact that the shell keeps.
//
// Where to start: derive_all() at the end; then access.c, link.c and service.c for the mapping to
// entities, share.c for services that sites tell each other of.
#include <stdlib.h>

#include "base/mem.h"
#include "base/yaml.h"
#include "site/inside.h"

static const char *const entity_names[ENTITY_COUNT] = {
    "router",       "sslProfile",  "proxyProfile",    "connector", "listener", "address",
    "tcpConnector", "tcpListener", "listenerAddress", "log",       "site"};

// ------------------------------------------------------------------------------------- small help

bool thing_is(const struct thing *t, const char *kind)
{
    return strcmp(t->kind->name, kind) == 0;
}

char *thing_words(const struct thing *t)
{
    return str_fmt("%s %s", t->kind->name, t->name);
}

const char *thing_annotation(const struct thing *t, const char *key)
{
    return json_string_value(json_object_get(site_get(t->value, "metadata.annotations"), key));
}

int64_t spec_int(const struct thing *t, const char *name, int64_t fallback)
{
    const json_t *v = json_object_get(t->spec, name);

    return json_is_integer(v) ? json_integer_value(v) : fallback;
}

bool spec_bool(const struct thing *t, const char *name)
{
    return json_is_true(json_object_get(t->spec, name));
}

const char *spec_text(const struct thing *t, const char *name)
{
    const char *text = json_string_value(json_object_get(t->spec, name));

    return text ? text : "";
}

const char *site_setting(const struct model *m, const char *name, const char *other)
{
    const json_t *settings = m->site ? json_object_get(m->site->spec, "settings") : NULL;
    const char *text = json_string_value(json_object_get(settings, name));

    return text || !other ? text : json_string_value(json_object_get(settings, other));
}

void put_text(json_t *attrs, const char *name, const char *text)
{
    if (text && text[0])
        json_object_set_new(attrs, name, json_string(text));
}

json_t *words_json(const char *text)
{
    json_t *v = json_string(text);
    char *copy;

    if (v)
        return v;
    copy = xstrdup(text);
    for (char *p = copy; *p; p++) {
        if ((unsigned char)*p >= 0x80)
            *p = '?';
    }
    v = json_string(copy);
    free(copy);
    return v;
}

void list_add(json_t *list, const char *text)
{
    size_t i;
    json_t *v;

    json_array_foreach(list, i, v)
    {
        if (strcmp(json_string_value(v), text) == 0)
            return;
    }
    json_array_append_new(list, json_string(text));
}

json_t *model_entity(struct model *m, enum entity type, const char *name)
{
    json_t *attrs = json_object();

    json_object_set_new(attrs, "name", json_string(name));
    json_object_set_new(m->entities[type], name, attrs);
    return attrs;
}

// All interfaces have one name, and so has the machine itself.
static const char *one_host(const char *host)
{
    if (host[0] == '\0' || strcmp(host, "::") == 0)
        return "0.0.0.0";
    return strcmp(host, "localhost") == 0 ? "127.0.0.1" : host;
}

char *model_place(const char *host, int64_t port)
{
    return str_fmt("%s:%lld", one_host(host), (long long)port);
}

const char *model_claim(struct model *m, const char *host, int64_t port, const char *who)
{
    char *key = model_place(host, port);
    const char *holder = json_string_value(json_object_get(m->claims, key));

    if (!holder)
        json_object_set_new(m->claims, key, json_string(who));
    free(key);
    return holder;
}

// What the router says while nobody in the network serves an address: nothing is wrong with the
// listener then.
static const char NO_CONSUMER[] = "no consumer";

const char *entity_trouble(const struct model *m, const char *type, const char *name)
{
    char *key = str_fmt("%s/%s", type, name);
    const json_t *fact = json_object_get(m->facts->entities, key);
    const char *error = site_text(fact, "error"), *words = site_text(fact, "connectionMsg");

    free(key);
    if (error[0])
        return error;
    if (strcmp(site_text(fact, "operStatus"), "down") != 0 || !words[0])
        return NULL;
    return str_starts(str_of(words), str_of(NO_CONSUMER)) ? NULL : words;
}

bool entity_is_up(const struct model *m, const char *type, const char *name)
{
    char *key = str_fmt("%s/%s", type, name);
    bool is = strcmp(site_text(json_object_get(m->facts->entities, key), "operStatus"), "up") == 0;

    free(key);
    return is;
}

// ------------------------------------------------------------------------------------ collecting

struct thing *model_find(const struct model *m, const char *kind, const char *name)
{
    char *key = site_key(kind, name);
    struct thing *t = map_get(&m->by_key, str_of(key));

    free(key);
    return t;
}

static void thing_free(struct thing *t)
{
    if (!t)
        return;
    json_decref(t->value);
    json_decref(t->errors);
    json_decref(t->status);
    cond_free(t);
    free(t->key);
    free(t);
}

// Takes `value`, which has a kind and a name.
static struct thing *thing_new(const struct site_kind *kind, json_t *value)
{
    struct thing *t = xcalloc(1, sizeof(*t));

    t->kind = kind;
    t->value = value;
    t->spec = json_object_get(value, "spec");
    t->name = site_text(value, "metadata.name");
    t->key = site_key(kind->name, t->name);
    t->errors = json_array();
    t->status = json_object();
    return t;
}

static void add_thing(struct model *m, struct thing *t)
{
    if (m->count == m->size) {
        m->size = m->size ? 2 * m->size : 1024;
        m->things = xrealloc(m->things, m->size, sizeof(struct thing *));
    }
    m->things[m->count++] = t;
}

// From the resource, else from what we said before, else it is new.
static void set_creation(const struct model *m, struct thing *t)
{
    json_t *metadata = json_object_get(t->value, "metadata");
    const json_t *before = json_object_get(m->facts->previous, t->key);
    char text[SITE_TIME_MAX];

    if (site_time(str_of(site_text(metadata, "creationTimestamp")), &t->created))
        return;
    if (!site_time(str_of(site_text(before, "metadata.creationTimestamp")), &t->created))
        t->created = m->facts->now;
    site_time_text(t->created, text);
    json_object_set_new(metadata, "creationTimestamp", json_string(text));
}

struct thing *model_make(struct model *m, const char *kind, const char *name, json_t *take_spec)
{
    const struct site_kind *k = site_find_kind(str_of(kind));
    json_t *value = json_pack("{s:s, s:s, s:{s:s, s:{s:s}}, s:o}", "apiVersion", k->api_version,
                              "kind", kind, "metadata", "name", name, "annotations",
                              "internal.skupper.io/controlled", "true", "spec", take_spec);
    struct thing *t = thing_new(k, value);
    const json_t *generation;

    set_creation(m, t);
    if ((generation = site_get(json_object_get(m->facts->previous, t->key), "metadata.generation")))
        json_object_set(json_object_get(value, "metadata"), "generation",
                        (json_t *)(uintptr_t)generation);
    add_thing(m, t);
    map_put(&m->by_key, str_of(t->key), t);
    return t;
}

static char *place_of(const struct model *m, const struct site_input *input, const char *path)
{
    return m->facts->where ? m->facts->where(m->facts->user, input->value, path) : NULL;
}

static void tell_problem(struct model *m, const struct site_input *input, const char *path,
                         const char *message, bool is_warning)
{
    char *place = place_of(m, input, path);
    json_t *problem =
        json_pack("{s:s, s:s, s:o, s:o, s:b}", "kind", site_text(input->value, "kind"), "name",
                  site_text(input->value, "metadata.name"), "path", words_json(path), "message",
                  words_json(message), "warning", (int)is_warning);

    if (place)
        json_object_set_new(problem, "where", words_json(place));
    free(place);
    json_array_append_new(m->out->problems, problem);
}

// "db.yaml:7: spec.port: …" for the status.
static void add_error(struct model *m, struct thing *t, const char *path, const char *message)
{
    char *place = place_of(m, t->input, path);
    char *text = str_fmt("%s%s%s%s%s", place ? place : "", place ? ": " : "", path,
                         path[0] ? ": " : "", message);

    json_array_append_new(t->errors, words_json(text));
    free(text);
    free(place);
    t->is_broken = true;
}

static void check_namespace(struct model *m, struct thing *t)
{
    const char *ns = site_text(t->value, "metadata.namespace");

    if (!ns[0] || strcmp(ns, m->facts->namespace) == 0)
        return;

    char *words =
        str_fmt("namespace must be \"%s\", but the resource says \"%s\"", m->facts->namespace, ns);

    t->is_foreign = true;
    tell_problem(m, t->input, "metadata.namespace", words, false);
    add_error(m, t, "metadata.namespace", words);
    free(words);
}

static void collect(struct model *m, const struct site_input *input)
{
    json_t *value = json_deep_copy(input->value);
    json_t *found = check_resource(value, m->facts->platform), *problem;
    const struct site_kind *kind = site_find_kind(str_of(site_text(value, "kind")));
    struct thing *t = NULL;
    size_t i;

    if (kind && strcmp(kind->name, site_text(value, "kind")) == 0 &&
        site_is_name(str_of(site_text(value, "metadata.name")))) {
        t = thing_new(kind, json_incref(value));
        t->input = input;
        set_creation(m, t);
        add_thing(m, t);
    }
    json_array_foreach(found, i, problem)
    {
        bool is_warning = json_is_true(json_object_get(problem, "warning"));
        const char *path = site_text(problem, "path"), *message = site_text(problem, "message");

        tell_problem(m, input, path, message, is_warning);
        if (t && !is_warning)
            add_error(m, t, path, message);
    }
    if (t)
        check_namespace(m, t);
    json_decref(found);
    json_decref(value);
}

// Something to tell equals apart.
static int by_bytes(const struct thing *a, const struct thing *b)
{
    char *left = json_text(a->value, JSON_SORT_KEYS | JSON_COMPACT);
    char *right = json_text(b->value, JSON_SORT_KEYS | JSON_COMPACT);
    int order = strcmp(left, right);

    free(left);
    free(right);
    return order;
}

static int by_age(const void *left, const void *right)
{
    const struct thing *a = *(struct thing *const *)left, *b = *(struct thing *const *)right;
    int order;

    if (a->kind != b->kind)
        return a->kind < b->kind ? -1 : 1;
    if (a->created != b->created)
        return a->created < b->created ? -1 : 1;
    order = strcmp(a->name, b->name);
    return order ? order : by_bytes(a, b);
}

// Of several with one name the first counts; the others are told and dropped.
static void index_things(struct model *m)
{
    size_t kept = 0;

    if (m->count > 0)
        qsort(m->things, m->count, sizeof(struct thing *), by_age);
    for (size_t i = 0; i < m->count; i++) {
        struct thing *t = m->things[i];
        struct thing *first = map_get(&m->by_key, str_of(t->key));

        if (!first) {
            map_put(&m->by_key, str_of(t->key), t);
            m->things[kept++] = t;
            continue;
        }
        char *place = place_of(m, first->input, "metadata.name");
        char *words = str_fmt("there is another %s of this name%s%s; this one has no effect",
                              t->kind->name, place ? " at " : "", place ? place : "");

        tell_problem(m, t->input, "metadata.name", words, json_equal(t->value, first->value));
        free(words);
        free(place);
        thing_free(t);
    }
    m->count = kept;
}

// ----------------------------------------------------------------------------------------- the
// site

// The one that has the id of the site, in a cluster its uid; else the oldest.
static struct thing *active_site(const struct model *m)
{
    const char *id = m->facts->site_id ? m->facts->site_id : "";
    struct thing *oldest = NULL;

    for (size_t i = 0; i < m->count; i++) {
        struct thing *t = m->things[i];

        if (!thing_is(t, "Site") || t->is_foreign)
            continue;
        if (strcmp(site_text(t->value, "metadata.uid"), id) == 0)
            return t;
        if (!oldest)
            oldest = t;
    }
    return oldest;
}

static void choose_site(struct model *m)
{
    m->site = active_site(m);
    for (size_t i = 0; i < m->count; i++) {
        struct thing *t = m->things[i];

        if (thing_is(t, "Site") && !t->is_foreign && t != m->site)
            cond_error(t, "Configured", "An active site already exists in the namespace (%s)",
                       m->site->name);
    }
    if (!m->site)
        return;
    m->is_edge = spec_bool(m->site, "edge");
    m->issuer = spec_text(m->site, "defaultIssuer");
    if (!m->issuer[0])
        m->issuer = "skupper-site-ca";
}

static void put_log(struct model *m, const char *module, const char *level)
{
    char *enable = str_fmt("%s%s", level, strchr(level, '+') ? "" : "+");
    json_t *attrs = json_pack("{s:s, s:s}", "module", module, "enable", enable);

    json_object_set_new(m->entities[ENTITY_LOG], module, attrs);
    free(enable);
}

static bool is_one_of(const char *word, size_t len, const char *const *words)
{
    for (; *words; words++) {
        if (str_is((struct str){word, len}, *words))
            return true;
    }
    return false;
}

static const char *const log_modules[] = {
    "ROUTER", "ROUTER_CORE", "ROUTER_HELLO", "ROUTER_LS",    "ROUTER_MA", "MESSAGE", "SERVER",
    "AGENT",  "AUTHSERVICE", "CONTAINER",    "ERROR",        "POLICY",    "HTTP",    "CONN_MGR",
    "PYTHON", "PROTOCOL",    "TCP_ADAPTOR",  "HTTP_ADAPTOR", "DEFAULT",   NULL};
static const char *const log_levels[] = {"trace",   "debug", "info",     "notice",
                                         "warning", "error", "critical", NULL};

// "MODULE:level,…" or "level", each level with an optional '+'. False: it is not. Without a model
// nothing is put.
static bool put_logs(struct model *m, const char *setting)
{
    char *copy = xstrdup(setting), *rest = copy, *item;
    bool is_ok = true;

    while ((item = strsep(&rest, ",")) != NULL && is_ok) {
        char *colon = strchr(item, ':');
        const char *module = colon ? item : "DEFAULT", *level = colon ? colon + 1 : item;
        size_t module_len = colon ? (size_t)(colon - item) : strlen("DEFAULT");
        size_t len = strlen(level);

        if (colon)
            *colon = '\0';
        is_ok = is_one_of(module, module_len, log_modules) &&
                is_one_of(level, len - (len > 0 && level[len - 1] == '+'), log_levels);
        if (is_ok && m)
            put_log(m, module, level);
    }
    free(copy);
    return is_ok;
}

bool site_is_logging(const char *setting)
{
    return put_logs(NULL, setting);
}

static void router_entities(struct model *m, const char *router_id)
{
    const struct site_facts *f = m->facts;
    json_t *meta = json_pack("{s:s, s:s, s:s}", "id", f->site_id, "version", f->version, "platform",
                             f->platform->name);
    char *metadata = json_text(meta, JSON_COMPACT);
    const char *count = site_setting(m, "router-data-connection-count", "routerDataConnections");
    json_t *router =
        json_pack("{s:s, s:s, s:s, s:s}", "id", router_id, "mode", m->is_edge ? "edge" : "interior",
                  "helloMaxAgeSeconds", "3", "metadata", metadata);
    int64_t n;

    if (count && site_number(str_of(count), 0, 1000, &n))
        put_text(router, "dataConnectionCount", count);
    json_object_set_new(m->entities[ENTITY_ROUTER], "router", router);
    // People read this name. (The existing product puts the router's id here.)
    json_object_set_new(m->entities[ENTITY_SITE], "site",
                        json_pack("{s:s, s:s, s:s, s:s}", "name", m->site->name, "namespace",
                                  f->namespace, "platform", f->platform->name, "version",
                                  f->version));
    json_object_set_new(m->entities[ENTITY_ADDRESS], "mc",
                        json_pack("{s:s, s:s}", "prefix", "mc", "distribution", "multicast"));
    free(metadata);
    json_decref(meta);
}

void site_warning(struct model *m, const char *path, const char *message)
{
    tell_problem(m, m->site->input, path, message, true);
}

static void site_apply(struct model *m)
{
    char *router_id = str_fmt("%s-%s", m->site->name, m->facts->router_suffix);
    const char *logging = site_setting(m, "router-logging", "routerLogging");
    const char *count = site_setting(m, "router-data-connection-count", "routerDataConnections");
    int64_t n;

    router_entities(m, router_id);
    free(router_id);
    put_log(m, "ROUTER_CORE", "error");
    if (logging && logging[0] && !put_logs(m, logging))
        site_warning(m, "spec.settings.router-logging",
                     "not of the form MODULE:level,… or level; what is not understood is left out");
    if (count && !site_number(str_of(count), 0, 1000, &n))
        site_warning(m, "spec.settings.router-data-connection-count",
                     "no number from 0 to 1000; left out");
    if (m->is_edge && spec_bool(m->site, "ha"))
        cond_error(m->site, "Configured", "Edge sites cannot have HA enabled");
    else if (m->facts->site_problem && m->facts->site_problem[0])
        cond_error(m->site, "Configured", "%s", m->facts->site_problem);
    else if (!cluster_has_access(m))
        cond_error(m->site, "Configured", "Unsupported value for LinkAccess: %s",
                   spec_text(m->site, "linkAccess"));
    else
        cond_ready(m->site, "Configured");
    const char *problem = m->facts->router_problem;

    cond_met(m->site, "Running", m->facts->router_runs,
             problem && problem[0] ? problem : "No router pod is ready");
    json_object_set_new(m->site->status, "defaultIssuer", json_string(m->issuer));
}

// -----------------------------------------------------------------------------------------
// applying

typedef void apply(struct model *m, struct thing *t);
static const struct {
    const char *kind;
    apply *apply;
} steps[] = {
    {"RouterAccess", access_apply},
    {"Link", link_apply},
    {"Listener", listener_apply},
    {"MultiKeyListener", multi_key_apply},
    {"Connector", connector_apply},
    {"AccessGrant", grant_apply},
    {"AccessToken", token_apply},
    {"Certificate", certificate_apply},
    {"SecuredAccess", secured_apply},
    {"AttachedConnector", attached_apply},
    {"AttachedConnectorBinding", binding_apply},
};

// In a cluster some work for others than the site of their namespace, and a token that has been
// redeemed has nothing to do any more.
static bool needs_site(const struct model *m, const struct thing *t)
{
    if (!m->is_in_cluster)
        return true;
    if (thing_is(t, "AccessToken"))
        return !json_is_true(
            json_object_get(json_object_get(m->facts->tokens, t->name), "redeemed"));
    return !(thing_is(t, "AttachedConnector") || thing_is(t, "SecuredAccess") ||
             thing_is(t, "Certificate"));
}

// As it stands it was told to be configured before.
static bool was_configured(const struct thing *t, const json_t *before)
{
    const json_t *c = site_condition(before, "Configured");

    return strcmp(site_text(c, "status"), "True") == 0 &&
           json_equal(json_object_get(c, "observedGeneration"),
                      site_get(t->value, "metadata.generation"));
}

// What is to be in the router's configuration, and cannot be written there.
static void tell_unwritten(const struct model *m, struct thing *t)
{
    static const char *const kinds[] = {
        "Listener", "MultiKeyListener", "Connector", "AttachedConnectorBinding", "Link", NULL};
    const char *words = m->facts->config_problem ? m->facts->config_problem : "";
    const json_t *before = json_object_get(m->facts->previous, t->key);

    if (words[0] && before && is_one_of(t->kind->name, strlen(t->kind->name), kinds) &&
        cond_is_set(t, "Configured") && strcmp(cond_message(t, "Configured"), "OK") == 0 &&
        !was_configured(t, before))
        cond_error(t, "Configured", "%s", words);
}

static void apply_thing(struct model *m, struct thing *t)
{
    const char *first = t->kind->conditions[0];

    if (t->is_broken || !first || thing_is(t, "Site"))
        return;
    if (!t->kind->on_hosts && m->facts->platform->binds_services) {
        cond_error(t, first, "%s has no meaning on platform %s", t->kind->name,
                   m->facts->platform->name);
        return;
    }
    if (!m->site && needs_site(m, t)) {
        cond_error(t, first, "No active site in namespace");
        return;
    }
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        if (thing_is(t, steps[i].kind))
            steps[i].apply(m, t);
    }
    tell_unwritten(m, t);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

// Sorted by name, so that equal sets make equal files.
static void write_entities(struct model *m, enum entity type)
{
    size_t count = json_object_size(m->entities[type]), at = 0;
    const char **names = xcalloc(count + 1, sizeof(*names)), *name;
    json_t *attrs;

    json_object_foreach(m->entities[type], name, attrs) names[at++] = name;
    qsort(names, count, sizeof(*names), by_text);
    for (size_t i = 0; i < count; i++)
        json_array_append_new(
            m->out->router,
            json_pack("[s, O]", entity_names[type], json_object_get(m->entities[type], names[i])));
    free(names);
}

static void write_all(struct model *m)
{
    for (int i = 0; i < ENTITY_COUNT; i++)
        write_entities(m, (enum entity)i);
    for (size_t i = 0; i < m->count; i++) {
        struct thing *t = m->things[i];

        if (!t->kind->conditions[0])
            continue;
        thing_finish(m, t);
        json_object_set(m->out->resources, t->key, t->value);
    }
}

static int by_problem(const void *left, const void *right)
{
    const json_t *a = *(json_t *const *)left, *b = *(json_t *const *)right;
    static const char *const fields[] = {"kind", "name", "path", "message", "where", NULL};

    for (size_t i = 0; fields[i]; i++) {
        int order = strcmp(site_text(a, fields[i]), site_text(b, fields[i]));

        if (order != 0)
            return order;
    }
    return 0;
}

static void sort_problems(struct model *m)
{
    size_t count = json_array_size(m->out->problems);
    json_t **list = xcalloc(count + 1, sizeof(json_t *));
    json_t *sorted = json_array();

    for (size_t i = 0; i < count; i++)
        list[i] = json_array_get(m->out->problems, i);
    qsort(list, count, sizeof(json_t *), by_problem);
    for (size_t i = 0; i < count; i++)
        json_array_append(sorted, list[i]);
    json_decref(m->out->problems);
    m->out->problems = sorted;
    free(list);
}

static void derive_all(struct model *m, const struct site_input *inputs, size_t count)
{
    size_t given;

    for (size_t i = 0; i < count && i < SITE_RESOURCES_MAX; i++)
        collect(m, &inputs[i]);
    if (count > SITE_RESOURCES_MAX)
        tell_problem(m, &inputs[SITE_RESOURCES_MAX], "",
                     "there are more resources than one site can have; the rest has no effect",
                     false);
    index_things(m);
    choose_site(m);
    network_read(m);
    share_read(m);
    given = m->count; // what follows may add some of our own behind them
    if (m->site) {
        site_apply(m);
        if (m->is_in_cluster)
            cluster_defaults(m);
        else
            access_defaults(m);
    }
    for (size_t i = 0; i < given; i++)
        apply_thing(m, m->things[i]);
    if (m->site) {
        share_announce(m);
        share_listen(m);
        network_status(m);
    }
    if (m->site || m->is_in_cluster)
        certificates_finish(m);
    write_all(m);
    sort_problems(m);
}

void site_derive(const struct site_input *inputs, size_t count, const struct site_facts *facts,
                 struct site_wanted *out)
{
    struct model m = {.facts = facts,
                      .out = out,
                      .is_in_cluster = !facts->platform->binds_services,
                      .certificates = json_object(),
                      .claims = json_object()};

    site_time_text(facts->now, m.now);
    *out = (struct site_wanted){
        .resources = json_object(),
        .problems = json_array(),
        .router = json_array(),
        .certificates = json_array(),
        .ports = json_array(),
        .endpoints = json_array(),
        .static_links = json_object(),
        .targets = json_object(),
        .announce = json_null(),
        .services = json_array(),
        .management = json_null(),
        .local_services = json_object(),
    };
    for (int i = 0; i < ENTITY_COUNT; i++)
        m.entities[i] = json_object();
    derive_all(&m, inputs, count);
    for (int i = 0; i < ENTITY_COUNT; i++)
        json_decref(m.entities[i]);
    for (size_t i = 0; i < m.count; i++)
        thing_free(m.things[i]);
    free(m.things);
    map_fini(&m.by_key);
    network_free(&m.network);
    json_decref(m.certificates);
    json_decref(m.claims);
    json_decref(m.legacy);
}

void site_wanted_free(struct site_wanted *w)
{
    json_decref(w->resources);
    json_decref(w->problems);
    json_decref(w->router);
    json_decref(w->certificates);
    json_decref(w->ports);
    json_decref(w->endpoints);
    json_decref(w->static_links);
    json_decref(w->targets);
    json_decref(w->announce);
    json_decref(w->services);
    json_decref(w->management);
    json_decref(w->local_services);
    *w = (struct site_wanted){0};
}
