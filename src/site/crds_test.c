// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/yaml.h"
#include "check.h"
#include "site/site.h"

// The resource definitions in deploy/crds say what the table of kinds says: fields and their types,
// which are required, what words they take, columns, short names, conditions.

// Where a definition takes more than the table: what is wrong is told in the status then, for
// resources of existing networks must remain valid.
static const char *const lax[] = {
    "Link.spec.endpoints[].name", "Link.spec.endpoints[].host", "Link.spec.endpoints[].port",
    "RouterAccess.spec.roles[].name.words", // any name is taken for inter-router
};
// Where it takes less: the table has it as text that may be empty, but it must be there.
static const char *const strict[] = {"Certificate.spec.ca"};

static bool is_listed(const char *const *list, size_t count, const char *place)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(list[i], place) == 0)
            return true;
    }
    return false;
}

#define IS_LISTED(list, place) is_listed(list, sizeof(list) / sizeof((list)[0]), place)

static json_t *read_definition(const char *plural)
{
    static const char *const folders[] = {"deploy", "../deploy"}; // from the root, from a build
    enum { SIZE = 1 << 20 };
    char *text = xcalloc(SIZE, 1);
    struct yaml_docs *docs = NULL;
    struct why why = {0};
    size_t len = 0;

    for (int i = 0; i < 2 && !len; i++) {
        char *path = str_fmt("%s/crds/%s.yaml", folders[i], plural);
        FILE *f = fopen(path, "re");

        free(path);
        if (!f)
            continue;
        len = fread(text, 1, SIZE - 1, f);
        fclose(f);
    }
    if (!len)
        fail_msg("deploy/crds/%s.yaml cannot be read from here", plural);
    CHECK_EQ(yaml_docs_parse(plural, str_of(text), &docs, &why), 0);
    CHECK_EQ(yaml_docs_count(docs), 1);
    json_t *doc = json_incref(yaml_docs_at(docs, 0));
    yaml_docs_free(docs);
    free(text);
    return doc;
}

static const char *word(const json_t *at, const char *name)
{
    const char *text = json_string_value(json_object_get(at, name));

    return text ? text : "";
}

static bool has_word(const json_t *list, const char *wanted)
{
    size_t i;
    json_t *v;

    json_array_foreach(list, i, v)
    {
        if (strcmp(json_string_value(v), wanted) == 0)
            return true;
    }
    return false;
}

static void check_fields(const char *place, const struct site_field *fields, const json_t *schema);

// The schema of what a map or a list holds.
static void check_inner(const char *place, const json_t *schema, const char *name, const char *type)
{
    if (strcmp(word(json_object_get(schema, name), "type"), type) != 0)
        fail_msg("%s: %s of %s wanted", place, name, type);
}

static void check_type(const char *place, const struct site_field *f, const json_t *schema)
{
    static const char *const types[] = {
        [SITE_TEXT] = "string",   [SITE_INT] = "integer", [SITE_BOOL] = "boolean",
        [SITE_TEXTS] = "array",   [SITE_MAP] = "object",  [SITE_WEIGHTS] = "object",
        [SITE_OBJECT] = "object", [SITE_LIST] = "array",  [SITE_ANY] = "",
    };

    if (strcmp(word(schema, "type"), types[f->type]) != 0)
        fail_msg("%s is %s, the table says %s", place, word(schema, "type"), types[f->type]);
    if (f->type == SITE_TEXTS)
        check_inner(place, schema, "items", "string");
    if (f->type == SITE_MAP)
        check_inner(place, schema, "additionalProperties", "string");
    if (f->type == SITE_WEIGHTS)
        check_inner(place, schema, "additionalProperties", "integer");
    if (f->type == SITE_OBJECT)
        check_fields(place, f->fields, schema);
    if (f->type == SITE_LIST) {
        char *inner = str_fmt("%s[]", place);

        check_fields(inner, f->fields, json_object_get(schema, "items"));
        free(inner);
    }
}

static void check_words(const char *place, const struct site_field *f, const json_t *schema)
{
    const json_t *listed = json_object_get(schema, "enum");
    char *as_words = str_fmt("%s.words", place);
    size_t count = 0;

    for (; f->words && f->words[count]; count++) {
        if (!has_word(listed, f->words[count]) && !IS_LISTED(lax, as_words))
            fail_msg("%s does not take %s", place, f->words[count]);
    }
    if (json_array_size(listed) > count)
        fail_msg("%s takes words that the table does not have", place);
    free(as_words);
}

static void check_field(const char *place, const struct site_field *f, const json_t *schema,
                        bool is_required)
{
    bool wanted = f->flags & (SITE_REQUIRED | SITE_REQUIRED_IN_CLUSTER);

    if (!schema)
        fail_msg("%s is not in the definition", place);
    if (wanted != is_required && !(wanted && IS_LISTED(lax, place)) &&
        !(is_required && IS_LISTED(strict, place)))
        fail_msg("%s: required %d, the table says %d", place, is_required, wanted);
    // Defaults are filled in by the programs, and told to people.
    if (json_object_get(schema, "default"))
        fail_msg("%s has a default", place);
    if (f->initial && !strstr(word(schema, "description"), f->initial))
        fail_msg("the description of %s does not say that it is %s", place, f->initial);
    if (strlen(word(schema, "description")) < 10)
        fail_msg("%s has no description", place);
    check_type(place, f, schema);
    check_words(place, f, schema);
}

static void check_fields(const char *place, const struct site_field *fields, const json_t *schema)
{
    const json_t *properties = json_object_get(schema, "properties");
    size_t count = 0;

    for (const struct site_field *f = fields; f->name; f++, count++) {
        char *inner = str_fmt("%s.%s", place, f->name);

        check_field(inner, f, json_object_get(properties, f->name),
                    has_word(json_object_get(schema, "required"), f->name));
        free(inner);
    }
    if (json_object_size(properties) != count)
        fail_msg("%s has %zu fields, the table %zu", place, json_object_size(properties), count);
}

// The type of a column is that of the field it shows.
static void check_column(const struct site_kind *k, const struct site_column *c,
                         const json_t *column, const json_t *schema)
{
    char *path = str_fmt(".%s", c->path);
    char *copy = xstrdup(c->path), *rest = copy, *step;

    if (strcmp(word(column, "name"), c->title) != 0 || strcmp(word(column, "jsonPath"), path) != 0)
        fail_msg("%s: column %s %s, the table says %s %s", k->name, word(column, "name"),
                 word(column, "jsonPath"), c->title, path);
    while ((step = strsep(&rest, ".")) != NULL)
        schema = json_object_get(json_object_get(schema, "properties"), step);
    if (strcmp(word(column, "type"), word(schema, "type")) != 0)
        fail_msg("%s: column %s is %s, the field %s", k->name, c->title, word(column, "type"),
                 word(schema, "type"));
    free(copy);
    free(path);
}

static void check_names(const struct site_kind *k, const json_t *names)
{
    const json_t *shorts = json_object_get(names, "shortNames");
    size_t count = 0;

    CHECK_STR(str_of(word(names, "kind")), k->name);
    CHECK_STR(str_of(word(names, "plural")), k->plural);
    for (; k->short_names[count]; count++) {
        if (!has_word(shorts, k->short_names[count]))
            fail_msg("%s has no short name %s", k->name, k->short_names[count]);
    }
    CHECK_EQ(json_array_size(shorts), count);
}

static void check_kind(const struct site_kind *k)
{
    json_t *crd = read_definition(k->plural);
    const json_t *version = site_get(crd, "spec.versions[0]");
    const json_t *schema = site_get(version, "schema.openAPIV3Schema");
    const json_t *columns = site_get(version, "additionalPrinterColumns");
    const char *conditions =
        site_text(schema, "properties.status.properties.conditions.description");
    char *place = str_fmt("%s.spec", k->name);
    char *api = str_fmt("%s/%s", site_text(crd, "spec.group"), word(version, "name"));
    size_t count = 0;

    CHECK_STR(str_of(api), k->api_version);
    check_names(k, site_get(crd, "spec.names"));
    CHECK(site_get(version, "subresources.status") != NULL);
    check_fields(place, k->spec, site_get(schema, "properties.spec"));
    for (; k->columns[count].title; count++)
        check_column(k, &k->columns[count], json_array_get(columns, count), schema);
    CHECK_EQ(json_array_size(columns), count);
    for (size_t i = 0; k->conditions[i]; i++) {
        if (!strstr(conditions, k->conditions[i]))
            fail_msg("%s: the description of conditions does not have %s", k->name,
                     k->conditions[i]);
    }
    free(api);
    free(place);
    json_decref(crd);
}

TEST(definitions_say_what_the_table_says)
{
    size_t count = 0;

    for (const struct site_kind *k = site_kinds; k->name; k++) {
        if (!k->spec)
            continue; // Secret, ConfigMap: not ours
        check_kind(k);
        count++;
    }
    CHECK_EQ(count, 12);
}

TEST_MAIN(CASE(definitions_say_what_the_table_says))
