// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "check.h"
#include "mgmt/mgmt.h"

static const char *environment(const char *name)
{
    return strcmp(name, "POD_ID") == 0 ? "2" : NULL;
}

static char *folder(void)
{
    char *path = xstrdup("told.XXXXXX");

    CHECK(mkdtemp(path) != NULL);
    return path;
}

static char *write_file(const char *folder, const char *name, const char *text)
{
    char *path = str_fmt("%s/%s", folder, name);
    FILE *f = fopen(path, "w");

    CHECK(f && fputs(text, f) >= 0 && fclose(f) == 0);
    return path;
}

static struct mgmt_config *told(const char *text)
{
    struct mgmt_config *c = NULL;
    struct why why = {""};

    if (mgmt_config_told(str_of(text), environment, &c, &why) != 0)
        fail_msg("%s", why.text);
    return c;
}

static void check_refused(const char *text, int want, const char *words)
{
    struct mgmt_config *c = NULL;
    struct why why = {""};

    CHECK_EQ(mgmt_config_told(str_of(text), environment, &c, &why), want);
    if (!strstr(why.text, words))
        fail_msg("'%s' does not say '%s'", why.text, words);
}

// Removes the file and frees its name.
static void remove_file(char *path)
{
    unlink(path);
    free(path);
}

TEST(the_text_itself_is_read_in_both_syntaxes)
{
    static const char *const texts[] = {"[[\"router\", {\"id\": \"db-${POD_ID}\"}]]",
                                        "router { id: db-${POD_ID} }",
                                        "router {\n  id: db-${POD_ID}\n}\n", "{\"router\": 1}"};

    for (size_t i = 0; i < 3; i++) {
        struct mgmt_config *c = told(texts[i]);

        CHECK_STR(mgmt_entity_str(mgmt_config_single(c, "router"), "id"), "db-2");
        mgmt_config_free(c);
    }
    check_refused(texts[3], ERR_DECODE, "QDROUTERD_CONF");
    check_refused("[[\"listener\", {\"sslProfile\": \"p\"}]]", ERR_INVALID,
                  "there is no sslProfile named 'p'");
}

TEST(files_and_folders_are_one_configuration)
{
    char *dir = folder();
    char *a = write_file(dir, "a.conf", "router { id: A }\n");
    char *b = write_file(dir, "b.conf", "listener { name: b\n sslProfile: p }\n");
    char *other = write_file(dir, "c.txt", "nonsense");
    char *json = write_file(dir, "p.json", "[[\"sslProfile\", {\"name\": \"p\"}]]");
    char *both = str_fmt("%s,:%s", dir, json);
    struct mgmt_config *c = told(both);

    CHECK_EQ(c->count, 3);
    CHECK_STR(mgmt_entity_str(c->entities[0], "id"), "A");
    CHECK_STR(mgmt_entity_str(c->entities[1], "name"), "b");
    CHECK_STR(mgmt_entity_str(c->entities[2], "name"), "p");
    mgmt_config_free(c);
    check_refused(dir, ERR_INVALID, "there is no sslProfile named 'p'");
    check_refused(other, ERR_DECODE, other);
    free(both);
    remove_file(a);
    remove_file(b);
    remove_file(other);
    remove_file(json);
    rmdir(dir);
    free(dir);
}

TEST(what_is_not_there_is_named)
{
    char many[200];

    check_refused("", ERR_INVALID, "QDROUTERD_CONF is empty");
    check_refused(":,", ERR_INVALID, "QDROUTERD_CONF is empty");
    check_refused("/nowhere/skrouterd.json", ERR_IO, "/nowhere/skrouterd.json: No such file");
    memset(many, ',', sizeof(many) - 1);
    for (size_t i = 0; i < sizeof(many) - 1; i += 2)
        many[i] = '.';
    many[sizeof(many) - 1] = '\0';
    check_refused(many, ERR_INVALID, "more than 64 places");
}

TEST_MAIN(CASE(the_text_itself_is_read_in_both_syntaxes),
          CASE(files_and_folders_are_one_configuration), CASE(what_is_not_there_is_named))
