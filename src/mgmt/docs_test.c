// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>

#include "base/mem.h"
#include "check.h"
#include "mgmt/mgmt.h"

// docs/configuration.md and docs/management.md say what the table says, all of it and no more.

static const char *const pages[] = {"management.md", "configuration.md"}; // by in_config

static char *read_page(const char *name)
{
    static const char *const folders[] = {"docs", "../docs"}; // from the root, from a build
    char *text = NULL;

    for (int i = 0; i < 2 && !text; i++) {
        char *path = str_fmt("%s/%s", folders[i], name);
        FILE *f = fopen(path, "re");
        size_t size = 1 << 20;

        free(path);
        if (!f)
            continue;
        text = xcalloc(size, 1);
        CHECK(fread(text, 1, size - 1, f) < size - 1);
        fclose(f);
    }
    if (!text)
        fail_msg("docs/%s cannot be read from here", name);
    return text;
}

static void add(char **text, const char *more)
{
    char *both = str_fmt("%s%s", *text, more);

    free(*text);
    *text = both;
}

static char *value_of(const struct mgmt_attr *a)
{
    enum { MANY = 1000000 };
    char *words;

    switch (a->type) {
    case MGMT_STRING:
        return xstrdup(a->max ? "port" : "text");
    case MGMT_BOOL:
        return xstrdup("true, false");
    case MGMT_MAP:
        return xstrdup("map");
    case MGMT_LIST:
        return xstrdup("list");
    case MGMT_INT:
        if (a->min == INT64_MIN)
            return xstrdup("number");
        return a->max >= MANY ? str_fmt("%lld or more", (long long)a->min)
                              : str_fmt("%lld to %lld", (long long)a->min, (long long)a->max);
    case MGMT_ENUM:
        break;
    }
    words = xstrdup(a->values[0]);
    for (int i = 1; a->values[i]; i++) {
        add(&words, ", ");
        add(&words, a->values[i]);
    }
    return words;
}

static char *default_of(const struct mgmt_attr *a)
{
    if (!a->initial)
        return xstrdup(a->flags & MGMT_REQUIRED ? "*needed*" : "");
    return str_fmt("`%s`", a->initial[0] ? a->initial : "\"\"");
}

static const char *set_by(unsigned flags)
{
    if (flags & MGMT_UPDATE)
        return flags & MGMT_CREATE ? "C U" : "U";
    return flags & MGMT_CREATE ? "C" : "–";
}

// The row of the attribute up to its meaning.
static char *row_of(const struct mgmt_attr *a)
{
    char *value = value_of(a), *initial = default_of(a);
    char *row = str_fmt("\n| `%s` | %s | %s | %s%s%s | ", a->name, value, initial, set_by(a->flags),
                        a->flags & MGMT_IGNORED ? ", ignored" : "",
                        a->flags & MGMT_SECRET ? ", secret" : "");

    free(value);
    free(initial);
    return row;
}

static const char *name_of(const struct mgmt_type *t)
{
    return t->config_name ? t->config_name : t->name;
}

static char *heading_of(const struct mgmt_type *t)
{
    return str_fmt("\n### %s\n", name_of(t));
}

// The text between a heading and the next one, to be freed.
static char *section_of(const char *page, const struct mgmt_type *t)
{
    char *heading = heading_of(t);
    const char *start = strstr(page, heading), *end;
    char *section;

    if (!start)
        fail_msg("docs/%s lacks the heading:%s", pages[t->in_config], heading);
    start += strlen(heading) - 1;
    end = strstr(start, "\n### ");
    section = str_dup((struct str){start, end ? (size_t)(end - start) + 1 : strlen(start)});
    free(heading);
    return section;
}

static int count_of(const char *text, const char *what)
{
    int count = 0;

    for (; (text = strstr(text, what)) != NULL; text++)
        count++;
    return count;
}

static bool is_told(const struct mgmt_attr *a)
{
    return strcmp(a->name, "identity") != 0 && strcmp(a->name, "type") != 0;
}

TEST(every_attribute_of_the_table_has_its_row_and_there_are_no_others)
{
    char *texts[2] = {read_page(pages[0]), read_page(pages[1])};

    for (int i = 0; mgmt_types[i]; i++) {
        const struct mgmt_type *t = mgmt_types[i];
        char *section = section_of(texts[t->in_config], t);
        int rows = 0;

        for (int k = 0; t->attrs[k].name; k++) {
            char *row = row_of(&t->attrs[k]);
            const char *at = strstr(section, row);

            rows += is_told(&t->attrs[k]);
            if (is_told(&t->attrs[k]) && (!at || at[strlen(row)] == '|' || at[strlen(row)] == '\n'))
                fail_msg("docs/%s, %s: this row is missing, or has no meaning:%s…",
                         pages[t->in_config], name_of(t), row);
            free(row);
        }
        if (count_of(section, "\n| `") != rows)
            fail_msg("docs/%s, %s: a row that the table does not have", pages[t->in_config],
                     name_of(t));
        free(section);
    }
    free(texts[0]);
    free(texts[1]);
}

TEST(every_type_tells_its_operations_and_there_are_no_others)
{
    static const char *const names[] = {"CREATE", "READ", "UPDATE", "DELETE"};
    char *texts[2] = {read_page(pages[0]), read_page(pages[1])};
    int types = 0;

    for (; mgmt_types[types]; types++) {
        const struct mgmt_type *t = mgmt_types[types];
        char *section = section_of(texts[t->in_config], t), *want = xstrdup("\nOperations: ");

        for (int i = 0; i < 4; i++) {
            if (!(t->ops & 1u << i))
                continue;
            add(&want, want[strlen(want) - 2] == ':' ? "" : ", ");
            add(&want, names[i]);
        }
        add(&want, ".\n");
        if (!strstr(section, want))
            fail_msg("docs/%s, %s lacks:%s", pages[t->in_config], name_of(t), want);
        free(section);
        free(want);
    }
    CHECK_EQ(count_of(texts[0], "\n### ") + count_of(texts[1], "\n### "), types);
    free(texts[0]);
    free(texts[1]);
}

static char *block_of(const char *page, const char *begins)
{
    const char *start = strstr(page, begins), *end = start ? strstr(start, "```\n") : NULL;

    if (!end)
        fail_msg("there is no block that begins with %s", begins);
    return str_dup((struct str){start, (size_t)(end - start)});
}

static struct mgmt_config *parse(const char *text)
{
    struct mgmt_config *c = NULL;
    struct why why = {""};

    if (mgmt_config_parse("docs", str_of(text), NULL, &c, &why) < 0)
        fail_msg("%s in\n%s", why.text, text);
    return c;
}

TEST(the_examples_can_be_read)
{
    char *page = read_page("configuration.md");
    char *json = block_of(page, "[\n  [\"router\""), *native = block_of(page, "router {");
    struct mgmt_config *a = parse(json), *b = parse(native);

    CHECK_EQ(a->count, 6);
    CHECK_EQ(b->count, 3);
    for (size_t i = 0; i < b->count; i++)
        CHECK(mgmt_entity_eq(a->entities[i], b->entities[i]));
    mgmt_config_free(a);
    mgmt_config_free(b);
    free(json);
    free(native);
    free(page);
}

TEST_MAIN(CASE(every_attribute_of_the_table_has_its_row_and_there_are_no_others),
          CASE(every_type_tells_its_operations_and_there_are_no_others),
          CASE(the_examples_can_be_read))
