// SPDX-License-Identifier: Apache-2.0
// A resource held against the table of kinds: what is wrong, with the path of the field; what is
// not known; and a copy with defaults and conversions, which the rest of the model reads.
#include <stdlib.h>

#include "site/inside.h"

enum { PATH_MAX_LEN = 400, SHOWN_MAX = 60 };

struct checking {
    const struct site_platform *platform;
    json_t *problems;
    char path[PATH_MAX_LEN];
    size_t len;
};

static void tell(struct checking *c, bool is_warning, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void tell(struct checking *c, bool is_warning, const char *fmt, ...)
{
    char *text = NULL;
    va_list args;

    va_start(args, fmt);
    if (vasprintf(&text, fmt, args) < 0)
        abort();
    va_end(args);
    json_array_append_new(c->problems,
                          json_pack("{s:o, s:o, s:b}", "path", words_json(c->path), "message",
                                    words_json(text), "warning", (int)is_warning));
    free(text);
}

// Appends a step to the path; returns the length to go back to.
static size_t push(struct checking *c, const char *fmt, ...) PRINTF_LIKE(2, 3);
static size_t push(struct checking *c, const char *fmt, ...)
{
    size_t before = c->len;
    va_list args;
    int len;

    va_start(args, fmt);
    len = vsnprintf(c->path + before, sizeof(c->path) - before, fmt, args);
    va_end(args);
    c->len =
        len < 0 || before + (size_t)len >= sizeof(c->path) ? strlen(c->path) : before + (size_t)len;
    return before;
}

static size_t push_name(struct checking *c, const char *name)
{
    size_t before = c->len, len = strlen(name), dot = before > 0;

    if (before + dot + len >= sizeof(c->path))
        return before; // deeper than anybody reads
    if (dot)
        c->path[before] = '.';
    memcpy(c->path + before + dot, name, len + 1);
    c->len = before + dot + len;
    return before;
}

static void pop(struct checking *c, size_t before)
{
    c->len = before;
    c->path[before] = '\0';
}

static const char *type_name(const json_t *v)
{
    switch (json_typeof(v)) {
    case JSON_OBJECT:
        return "a map";
    case JSON_ARRAY:
        return "a list";
    case JSON_STRING:
        return "text";
    case JSON_INTEGER:
    case JSON_REAL:
        return "a number";
    case JSON_TRUE:
    case JSON_FALSE:
        return "true or false";
    case JSON_NULL:
        break;
    }
    return "nothing";
}

static void tell_type(struct checking *c, const char *want, const json_t *v)
{
    tell(c, false, "must be %s, not %s", want, type_name(v));
}

// ------------------------------------------------------------------------------------------- rules

static void check_text(struct checking *c, enum site_rule rule, const char *text)
{
    struct str s = str_of(text);
    int64_t n;

    switch (rule) {
    case SITE_ANYTHING:
        return;
    case SITE_FILLED:
        if (s.len == 0)
            tell(c, false, "must not be empty");
        return;
    case SITE_NAME:
        if (!site_is_name(s))
            tell(c, false, "\"%.*s\" is no name: lower-case letters, digits, '-' and '.' inside",
                 SHOWN_MAX, text);
        return;
    case SITE_HOST:
        if (!site_is_host(s))
            tell(c, false, "\"%.*s\" is neither an IP address nor the name of a host", SHOWN_MAX,
                 text);
        return;
    case SITE_PORT:
        if (!site_number(s, 1, 65535, &n))
            tell(c, false, "\"%.*s\" is no port: a number from 1 to 65535", SHOWN_MAX, text);
        return;
    case SITE_COUNT:
        if (!site_number(s, 0, INT32_MAX, &n))
            tell(c, false, "\"%.*s\" is no number from 0 upwards", SHOWN_MAX, text);
        return;
    case SITE_SELECTOR:
        if (!site_is_selector(s))
            tell(c, false, "\"%.*s\" is no selector: key=value, several separated by commas",
                 SHOWN_MAX, text);
        return;
    case SITE_DURATION:
        if (!site_duration(s, &n) || n <= 0)
            tell(c, false, "Invalid duration \"%.*s\": write it like 15m, 2h or 1h30m", SHOWN_MAX,
                 text);
        return;
    }
}

static void check_number(struct checking *c, enum site_rule rule, json_int_t n)
{
    if (rule == SITE_PORT && (n < 1 || n > 65535))
        tell(c, false, "%lld is no port: a number from 1 to 65535", (long long)n);
    if (rule == SITE_COUNT && (n < 0 || n > INT32_MAX))
        tell(c, false, "%lld is out of range: 0 to %d", (long long)n, INT32_MAX);
}

static void check_words(struct checking *c, const struct site_field *f, const char *text)
{
    char list[200] = "";

    for (size_t i = 0; f->words[i]; i++) {
        size_t len = strlen(list);

        if (strcmp(f->words[i], text) == 0)
            return;
        snprintf(list + len, sizeof(list) - len, "%s%s", i > 0 ? ", " : "", f->words[i]);
    }
    tell(c, false, "\"%.*s\" is not one of %s", SHOWN_MAX, text, list);
}

// Numbers and booleans as the text they were written as.
static json_t *as_text(const json_t *v)
{
    char number[32];

    if (json_is_boolean(v))
        return json_string(json_is_true(v) ? "true" : "false");
    if (!json_is_number(v))
        return NULL;
    if (json_is_real(v))
        snprintf(number, sizeof(number), "%.15g", json_real_value(v));
    else
        snprintf(number, sizeof(number), "%lld", (long long)json_integer_value(v));
    return json_string(number);
}

// ------------------------------------------------------------------------------------------ values

static void check_fields(struct checking *c, const struct site_field *fields, json_t *object);

static void check_texts(struct checking *c, const struct site_field *f, const json_t *list)
{
    size_t i;
    json_t *item;

    if (json_array_size(list) == 0 && (f->flags & SITE_REQUIRED))
        tell(c, false, "must have at least one entry");
    json_array_foreach(list, i, item)
    {
        size_t before = push(c, "[%zu]", i);

        if (!json_is_string(item))
            tell_type(c, "text", item);
        else
            check_text(c, f->rule, json_string_value(item));
        pop(c, before);
    }
}

static void check_map(struct checking *c, json_t *map)
{
    const char *key;
    void *tmp;
    json_t *v;

    json_object_foreach_safe(map, tmp, key, v)
    {
        size_t before = push_name(c, key);
        json_t *text = as_text(v);

        if (text)
            json_object_set_new(map, key, text);
        else if (!json_is_string(v))
            tell_type(c, "text", v);
        pop(c, before);
    }
}

static void check_weights(struct checking *c, const json_t *map)
{
    const char *key;
    json_t *v;

    if (json_object_size(map) == 0)
        tell(c, false, "must have at least one entry");
    json_object_foreach((json_t *)(uintptr_t)map, key, v)
    {
        size_t before = push_name(c, key);

        if (!json_is_integer(v))
            tell_type(c, "a number", v);
        else if (json_integer_value(v) <= 0 || json_integer_value(v) > INT32_MAX)
            tell(c, false, "a weight is from 1 to %d", INT32_MAX);
        pop(c, before);
    }
}

static void check_list(struct checking *c, const struct site_field *f, const json_t *list)
{
    size_t i;
    json_t *item;

    if (json_array_size(list) == 0 && (f->flags & SITE_REQUIRED))
        tell(c, false, "must have at least one entry");
    json_array_foreach(list, i, item)
    {
        size_t before = push(c, "[%zu]", i);

        if (json_is_object(item))
            check_fields(c, f->fields, item);
        else
            tell_type(c, "a map", item);
        pop(c, before);
    }
}

static void check_one_text(struct checking *c, const struct site_field *f, json_t *object,
                           json_t *v)
{
    json_t *text = f->flags & SITE_NUMBER_AS_TEXT ? as_text(v) : NULL;

    if (text) {
        json_object_set_new(object, f->name, text);
        v = text;
    }
    if (!json_is_string(v)) {
        json_t *written = as_text(v);

        tell_type(c, "text", v);
        if (written)
            tell(c, false, "write \"%s\", in quotes", json_string_value(written));
        json_decref(written);
        return;
    }
    if (json_string_length(v) == 0 && !(f->flags & SITE_REQUIRED))
        return; // as if it were not there
    if (f->words)
        check_words(c, f, json_string_value(v));
    check_text(c, f->rule, json_string_value(v));
}

static void check_value(struct checking *c, const struct site_field *f, json_t *object, json_t *v)
{
    static const char *const wants[] = {
        [SITE_INT] = "a number", [SITE_BOOL] = "true or false", [SITE_TEXTS] = "a list of texts",
        [SITE_MAP] = "a map",    [SITE_WEIGHTS] = "a map",      [SITE_OBJECT] = "a map",
        [SITE_LIST] = "a list",
    };
    bool is_right = true;

    switch (f->type) {
    case SITE_TEXT:
        check_one_text(c, f, object, v);
        return;
    case SITE_INT:
        is_right = json_is_integer(v);
        if (is_right)
            check_number(c, f->rule, json_integer_value(v));
        break;
    case SITE_BOOL:
        is_right = json_is_boolean(v);
        break;
    case SITE_TEXTS:
        is_right = json_is_array(v);
        if (is_right)
            check_texts(c, f, v);
        break;
    case SITE_LIST:
        is_right = json_is_array(v);
        if (is_right)
            check_list(c, f, v);
        break;
    case SITE_MAP:
        is_right = json_is_object(v);
        if (is_right)
            check_map(c, v);
        break;
    case SITE_WEIGHTS:
        is_right = json_is_object(v);
        if (is_right)
            check_weights(c, v);
        break;
    case SITE_OBJECT:
        is_right = json_is_object(v);
        if (is_right)
            check_fields(c, f->fields, v);
        break;
    case SITE_ANY:
        break;
    }
    if (!is_right)
        tell_type(c, wants[f->type], v);
}

static void set_default(const struct site_field *f, json_t *object)
{
    if (!f->initial)
        return;
    json_object_set_new(object, f->name,
                        f->type == SITE_INT ? json_integer(strtoll(f->initial, NULL, 10))
                                            : json_string(f->initial));
}

static void check_unknown(struct checking *c, const struct site_field *fields, const json_t *object)
{
    const char *key;
    json_t *v;

    json_object_foreach((json_t *)(uintptr_t)object, key, v)
    {
        const struct site_field *f = fields;
        size_t before;

        while (f->name && strcmp(f->name, key) != 0)
            f++;
        if (f->name)
            continue;
        before = push_name(c, key);
        tell(c, true, "there is no such field; it is kept, and has no effect");
        pop(c, before);
    }
}

static void check_fields(struct checking *c, const struct site_field *fields, json_t *object)
{
    unsigned required =
        c->platform->binds_services ? SITE_REQUIRED : SITE_REQUIRED | SITE_REQUIRED_IN_CLUSTER;

    check_unknown(c, fields, object);
    for (const struct site_field *f = fields; f->name; f++) {
        json_t *v = json_object_get(object, f->name);
        size_t before = push_name(c, f->name);

        if (v && !json_is_null(v))
            check_value(c, f, object, v);
        else if (f->flags & required)
            tell(c, false, "is missing");
        else
            set_default(f, object);
        pop(c, before);
    }
}

// -------------------------------------------------------------------------- beyond single fields

static bool is_set(const json_t *spec, const char *name)
{
    return site_text(spec, name)[0] != '\0';
}

static void check_strategy(struct checking *c, const json_t *spec)
{
    const json_t *strategy = json_object_get(spec, "strategy");
    int count = json_is_object(json_object_get(strategy, "priority")) +
                json_is_object(json_object_get(strategy, "weighted"));
    size_t before;

    if (!json_is_object(strategy) || count == 1)
        return;
    before = push_name(c, "strategy");
    tell(c, false, "exactly one of the fields in [priority weighted] must be set");
    pop(c, before);
}

enum { KEYS_MAX = 256 }; // of a MultiKeyListener

static void check_keys(struct checking *c, const json_t *spec)
{
    size_t count = json_array_size(site_get(spec, "strategy.priority.routingKeys")) +
                   json_object_size(site_get(spec, "strategy.weighted.routingKeys"));
    size_t before;

    if (count <= KEYS_MAX)
        return;
    before = push_name(c, "strategy");
    tell(c, false, "there are %zu routing keys; at most %d can be served", count, KEYS_MAX);
    pop(c, before);
}

static void check_roles(struct checking *c, const json_t *spec)
{
    const json_t *all = json_object_get(spec, "roles");
    json_t *role;
    size_t i;

    json_array_foreach(all, i, role)
    {
        for (size_t k = 0; k < i; k++) {
            size_t before = c->len;

            if (strcmp(site_text(json_array_get(all, k), "name"), site_text(role, "name")) != 0)
                continue;
            push(c, ".roles[%zu].name", i);
            tell(c, false, "\"%.*s\" stands here twice", SHOWN_MAX, site_text(role, "name"));
            pop(c, before);
            return;
        }
    }
}

static void check_connector(struct checking *c, const json_t *spec)
{
    size_t before;

    if (is_set(spec, "host") || (c->platform->has_pods && is_set(spec, "selector")))
        return;
    before = push_name(c, "host");
    tell(c, false,
         c->platform->has_pods ? "Connector must define a non-empty spec.host or spec.selector"
                               : "is missing; there are no pods to select here");
    pop(c, before);
}

static void check_protocol(struct checking *c, const json_t *spec)
{
    const char *type = site_text(spec, "type");
    size_t before;

    if (type[0] == '\0' || strcmp(type, "tcp") == 0)
        return;
    before = push_name(c, "type");
    tell(c, false, "\"%.*s\" is not supported, only tcp", SHOWN_MAX, type);
    pop(c, before);
}

static void check_whole(struct checking *c, const struct site_kind *kind, json_t *spec)
{
    size_t before = push_name(c, "spec");

    check_fields(c, kind->spec, spec);
    if (strcmp(kind->name, "MultiKeyListener") == 0) {
        check_strategy(c, spec);
        check_keys(c, spec);
    }
    if (strcmp(kind->name, "RouterAccess") == 0)
        check_roles(c, spec);
    if (strcmp(kind->name, "Connector") == 0)
        check_connector(c, spec);
    if (strcmp(kind->name, "Connector") == 0 || strcmp(kind->name, "Listener") == 0)
        check_protocol(c, spec);
    pop(c, before);
}

// ---------------------------------------------------------------------------------------- the rest

// Spelled as the API server knows them; anything else is a warning.
static const struct site_field metadata_fields[] = {
    {.name = "name", .type = SITE_TEXT, .rule = SITE_NAME, .flags = SITE_REQUIRED},
    {.name = "namespace", .type = SITE_TEXT},
    {.name = "labels", .type = SITE_MAP},
    {.name = "annotations", .type = SITE_MAP},
    {.name = "uid", .type = SITE_TEXT},
    {.name = "creationTimestamp", .type = SITE_TEXT},
    {.name = "generation", .type = SITE_INT},
    {.name = "resourceVersion", .type = SITE_ANY},
    {.name = "ownerReferences", .type = SITE_ANY},
    {.name = "managedFields", .type = SITE_ANY},
    {.name = "finalizers", .type = SITE_ANY},
    {.name = "generateName", .type = SITE_ANY},
    {.name = "selfLink", .type = SITE_ANY},
    {.name = "deletionTimestamp", .type = SITE_ANY},
    {.name = "deletionGracePeriodSeconds", .type = SITE_ANY},
    {.name = NULL},
};
static const struct site_field top_fields[] = {
    {.name = "apiVersion", .type = SITE_TEXT}, {.name = "kind", .type = SITE_TEXT},
    {.name = "metadata", .type = SITE_ANY},    {.name = "spec", .type = SITE_ANY},
    {.name = "status", .type = SITE_ANY},      {.name = NULL},
};

static void check_metadata(struct checking *c, json_t *value)
{
    json_t *metadata = json_object_get(value, "metadata");
    size_t before = push_name(c, "metadata");

    if (json_is_object(metadata))
        check_fields(c, metadata_fields, metadata);
    else
        tell(c, false, "is missing, and with it the name");
    pop(c, before);
}

static void check_spec(struct checking *c, const struct site_kind *kind, json_t *value)
{
    json_t *spec = json_object_get(value, "spec");

    if (!spec || json_is_null(spec)) {
        spec = json_object();
        json_object_set_new(value, "spec", spec);
    }
    if (json_is_object(spec)) {
        check_whole(c, kind, spec);
        return;
    }
    size_t before = push_name(c, "spec");

    tell_type(c, "a map", spec);
    pop(c, before);
}

json_t *check_resource(json_t *value, const struct site_platform *platform)
{
    struct checking c = {.platform = platform, .problems = json_array()};
    const char *name = site_text(value, "kind"), *api = site_text(value, "apiVersion");
    const struct site_kind *kind = site_find_kind(str_of(name));
    size_t before = push_name(&c, "kind");

    if (!json_is_object(value))
        tell(&c, false, "a resource is a map with apiVersion, kind, metadata and spec");
    else if (!kind || strcmp(kind->name, name) != 0)
        tell(&c, true, "\"%.*s\" is no kind that is known here; ignored", SHOWN_MAX, name);
    pop(&c, before);
    if (json_array_size(c.problems) > 0 || !kind)
        return c.problems;
    before = push_name(&c, "apiVersion");
    if (strcmp(api, kind->api_version) != 0)
        tell(&c, false, "\"%.*s\" is not %s", SHOWN_MAX, api, kind->api_version);
    pop(&c, before);
    check_metadata(&c, value);
    if (kind->spec) {
        check_unknown(&c, top_fields, value);
        check_spec(&c, kind, value);
    }
    return c.problems;
}

json_t *site_check(const json_t *resource, const struct site_platform *platform)
{
    json_t *copy = json_deep_copy(resource);
    json_t *problems = check_resource(copy, platform);

    json_decref(copy);
    return problems;
}
