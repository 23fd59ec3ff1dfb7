// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "check.h"
#include "host/inside.h"
#include "host/top_test.h"

static void put(const char *name, const char *text)
{
    char *path = str_fmt("%s/%s", top, name);

    CHECK_EQ(host_put(path, str_of(text), 0644, NULL), 0);
    free(path);
}

static void drop(const char *name)
{
    char *path = str_fmt("%s/%s", top, name);

    CHECK_EQ(unlink(path), 0);
    free(path);
}

// "kind/name kind/name!" in the order of the files, with "!" where a newer text cannot be used; the
// caller's.
static char *told(const struct input *in)
{
    struct site_input *list;
    size_t count = input_list(in, &list);
    char *all = xstrdup("");

    for (size_t i = 0; i < count; i++) {
        char *more = str_fmt("%s%s%s/%s%s", all, i ? " " : "", site_text(list[i].value, "kind"),
                             site_text(list[i].value, "metadata.name"), list[i].problem ? "!" : "");

        free(all);
        all = more;
    }
    free(list);
    return all;
}

static void check_told(const struct input *in, const char *want)
{
    char *is = told(in);

    CHECK_STR(str_of(is), want);
    free(is);
}

static void resource(const char *file, const char *name)
{
    char *text = str_fmt("kind: Listener\nmetadata:\n  name: %s\nspec:\n  port: 1\n", name);

    put(file, text);
    free(text);
}

TEST(files_come_change_and_go)
{
    struct input in;

    input_init(&in, top);
    CHECK(!input_scan(&in));
    resource("b.yaml", "b");
    resource("a.json", "a");
    resource("notes.txt", "no");
    CHECK(input_scan(&in));
    check_told(&in, "Listener/a Listener/b");
    CHECK(!input_scan(&in));
    resource("b.yaml", "other");
    CHECK(input_scan(&in));
    check_told(&in, "Listener/a Listener/other");
    drop("a.json");
    CHECK(input_scan(&in));
    check_told(&in, "Listener/other");
    drop("b.yaml");
    CHECK(input_scan(&in));
    check_told(&in, "");
    CHECK(!input_scan(&in));
    drop("notes.txt");
    input_fini(&in);
}

TEST(a_torn_file_keeps_what_it_had_and_says_so)
{
    struct input in;
    struct site_input *list;

    input_init(&in, top);
    resource("db.yaml", "db");
    CHECK(input_scan(&in));
    put("db.yaml", "kind: Listener\nmetadata: {\n");
    CHECK(input_scan(&in));
    check_told(&in, "Listener/db!");
    CHECK_EQ(input_list(&in, &list), 1);
    CHECK(str_starts(str_of(list[0].problem), STR("db.yaml:")));
    free(list);
    resource("db.yaml", "db");
    CHECK(input_scan(&in));
    check_told(&in, "Listener/db");
    drop("db.yaml");
    input_fini(&in);
}

TEST(a_file_that_never_could_be_read_is_known_by_its_name)
{
    struct input in;

    input_init(&in, top);
    put("Listener-db-two.yaml", "kind: [\n");
    put("Nothing-db.yaml", "kind: [\n");
    put("plain.yaml", "kind: [\n");
    CHECK(input_scan(&in));
    check_told(&in, "Listener/db-two!");
    resource("Listener-db-two.yaml", "db-two");
    CHECK(input_scan(&in));
    check_told(&in, "Listener/db-two");
    drop("Listener-db-two.yaml");
    drop("Nothing-db.yaml");
    drop("plain.yaml");
    input_fini(&in);
}

TEST(a_file_that_is_being_written_is_empty_for_a_moment)
{
    struct input in;

    input_init(&in, top);
    put("Listener-db.yaml", "");
    resource("old.yaml", "old");
    CHECK(input_scan(&in));
    check_told(&in, "Listener/db! Listener/old");
    put("Listener-db.yaml", "kind: [\n");
    put("old.yaml", "");
    CHECK(input_scan(&in));
    check_told(&in, "Listener/db! Listener/old!");
    resource("Listener-db.yaml", "db");
    put("old.yaml", "# what was here is not wanted any more\n");
    CHECK(input_scan(&in));
    check_told(&in, "Listener/db");
    put("old.yaml", "kind: [\n");
    CHECK(input_scan(&in));
    check_told(&in, "Listener/db");
    drop("Listener-db.yaml");
    drop("old.yaml");
    input_fini(&in);
}

static void collect(void *user, const char *words)
{
    char **all = user, *more = str_fmt("%s%s\n", *all, words);

    free(*all);
    *all = more;
}

TEST(every_file_that_cannot_be_read_is_told)
{
    struct input in;
    char *all = xstrdup("");

    input_init(&in, top);
    put("plain.yaml", "kind: [\n");
    resource("good.yaml", "good");
    CHECK(input_scan(&in));
    input_problems(&in, collect, &all);
    CHECK(str_starts(str_of(all), STR("plain.yaml:")));
    CHECK(!strstr(all, "good"));
    drop("plain.yaml");
    drop("good.yaml");
    free(all);
    input_fini(&in);
}

TEST(a_file_may_hold_several_documents_each_with_its_place)
{
    struct input in;
    struct site_input *list;
    char *where;

    input_init(&in, top);
    put("all.yaml", "kind: Listener\nmetadata:\n  name: a\n---\n"
                    "kind: Listener\nmetadata:\n  name: b\nspec:\n  port: 7\n");
    CHECK(input_scan(&in));
    check_told(&in, "Listener/a Listener/b");
    CHECK_EQ(input_list(&in, &list), 2);
    where = input_where(&in, list[1].value, "spec.port");
    CHECK_STR(str_of(where), "all.yaml:9");
    free(where);
    where = input_where(&in, list[0].value, "metadata.name");
    CHECK_STR(str_of(where), "all.yaml:3");
    free(where);
    free(list);
    drop("all.yaml");
    input_fini(&in);
}

TOP_TEST_MAIN(CASE(files_come_change_and_go), CASE(a_torn_file_keeps_what_it_had_and_says_so),
              CASE(a_file_that_never_could_be_read_is_known_by_its_name),
              CASE(a_file_that_is_being_written_is_empty_for_a_moment),
              CASE(every_file_that_cannot_be_read_is_told),
              CASE(a_file_may_hold_several_documents_each_with_its_place))
