// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "host/host.h"
#include "host/top_test.h"

static const char *at(const char *name)
{
    static char path[256];

    snprintf(path, sizeof(path), "%s/%s", top, name);
    return path;
}

static mode_t mode_of(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 ? st.st_mode & 07777 : 0;
}

static void check_holds(const char *path, const char *want)
{
    char *text = NULL;
    size_t len = 0;

    CHECK_EQ(host_read(path, &text, &len, NULL), 0);
    CHECK_STR(str_of(text), want);
    CHECK_EQ(len, strlen(want));
    free(text);
}

TEST(a_file_is_written_whole_with_its_mode)
{
    CHECK_EQ(host_write(at("key"), STR("secret"), 0600, NULL), 0);
    check_holds(at("key"), "secret");
    CHECK_EQ(mode_of(at("key")), 0600);
    CHECK_EQ(host_write(at("key"), STR("other"), 0640, NULL), 0);
    check_holds(at("key"), "other");
    CHECK_EQ(mode_of(at("key")), 0640);
}

TEST(what_is_the_same_is_left_alone)
{
    struct stat before, after;

    CHECK_EQ(host_write(at("same"), STR("x"), 0644, NULL), 0);
    CHECK_EQ(stat(at("same"), &before), 0);
    CHECK_EQ(host_write(at("same"), STR("x"), 0644, NULL), 0);
    CHECK_EQ(stat(at("same"), &after), 0);
    CHECK_EQ(before.st_ino, after.st_ino);
}

TEST(a_file_left_half_written_by_a_crash_is_in_nobodys_way)
{
    char *left = str_fmt("%s.tmp", at("crash"));
    int fd = open(left, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    char **names;

    CHECK(fd >= 0 && write(fd, "half", 4) == 4);
    close(fd);
    names = host_list(top, NULL);
    for (size_t i = 0; names[i]; i++)
        CHECK(strcmp(names[i], "crash.tmp") != 0);
    host_names_free(names);
    CHECK_EQ(host_write(at("crash"), STR("whole"), 0644, NULL), 0);
    check_holds(at("crash"), "whole");
    CHECK_EQ(access(left, F_OK), -1);
    free(left);
}

TEST(many_files_are_put_in_place_together)
{
    struct host_batch batch = {0};

    CHECK_EQ(host_write(at("one"), STR("old"), 0644, NULL), 0);
    CHECK_EQ(host_batch_add(&batch, at("one"), STR("1"), 0644, NULL), 0);
    CHECK_EQ(host_batch_add(&batch, at("two"), STR("2"), 0600, NULL), 0);
    check_holds(at("one"), "old");
    CHECK_EQ(access(at("two"), F_OK), -1);
    CHECK_EQ(host_batch_commit(&batch, top, NULL), 0);
    check_holds(at("one"), "1");
    check_holds(at("two"), "2");
    CHECK_EQ(mode_of(at("two")), 0600);
    CHECK_EQ(access(at("two.tmp"), F_OK), -1);
}

TEST(what_cannot_be_written_is_said_in_words_and_changes_nothing)
{
    struct why why = {""};

    CHECK_EQ(host_write(at("no/such/place"), STR("x"), 0644, &why), ERR_IO);
    CHECK(strstr(why.text, "no/such/place: No such file") != NULL);
    CHECK_EQ(host_write("/dev/full/x", STR("x"), 0644, &why), ERR_IO);
}

TEST(what_is_poured_appears_whole_or_not_at_all)
{
    struct host_pour p;
    struct why why = {""};

    host_pour_begin(&p, at("poured"), 0640);
    host_pour(&p, STR("one "));
    CHECK_EQ(mode_of(at("poured")), 0);
    host_pour(&p, STR("two"));
    CHECK_EQ(host_pour_end(&p, &why), 0);
    check_holds(at("poured"), "one two");
    CHECK_EQ(mode_of(at("poured")), 0640);
    host_pour_begin(&p, at("nowhere/poured"), 0640);
    host_pour(&p, STR("lost"));
    CHECK_EQ(host_pour_end(&p, &why), ERR_IO);
    CHECK(strstr(why.text, "nowhere/poured"));
    // A device that is full: the words come at the end, and nothing is left beside.
    host_pour_begin(&p, at("full"), 0640);
    close(p.fd);
    p.fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    host_pour(&p, STR("lost"));
    CHECK_EQ(host_pour_end(&p, &why), ERR_IO);
    CHECK(strstr(why.text, "make room"));
    CHECK_EQ(mode_of(at("full")), 0);
    CHECK_EQ(mode_of(at("full.tmp")), 0);
}

TEST(a_missing_file_and_one_too_large_are_told_apart)
{
    char *text = NULL;
    size_t len = 0;
    struct why why = {""};

    CHECK_EQ(host_read(at("none"), &text, &len, &why), ERR_NOT_FOUND);
    CHECK_EQ(host_write(at("large"), STR("x"), 0644, NULL), 0);
    CHECK_EQ(truncate(at("large"), HOST_FILE_MAX + 1), 0);
    CHECK_EQ(host_read(at("large"), &text, &len, &why), ERR_LIMIT);
    CHECK(text == NULL);
}

TEST(directories_are_made_listed_in_order_and_removed_with_all_in_them)
{
    char *deep = str_fmt("%s/a/b/c", top);
    char **names;

    CHECK_EQ(host_make_directory(deep, NULL), 0);
    CHECK_EQ(host_make_directory(deep, NULL), 0);
    CHECK_EQ(host_write(at("a/2.yaml"), STR("x"), 0644, NULL), 0);
    CHECK_EQ(host_write(at("a/1.yaml"), STR("x"), 0644, NULL), 0);
    CHECK_EQ(host_write(at("a/3.txt"), STR("x"), 0644, NULL), 0);
    CHECK_EQ(symlink("/etc/passwd", at("a/4.yaml")), 0);
    names = host_list(at("a"), ".yaml");
    CHECK_STR(str_of(names[0]), "1.yaml");
    CHECK_STR(str_of(names[1]), "2.yaml");
    CHECK_STR(str_of(names[2]), "4.yaml");
    CHECK(names[3] == NULL);
    host_names_free(names);
    CHECK_EQ(host_remove(at("a"), NULL), 0);
    CHECK_EQ(access(at("a"), F_OK), -1);
    CHECK_EQ(access("/etc/passwd", F_OK), 0);
    CHECK_EQ(host_remove(at("a"), NULL), 0);
    free(deep);
}

TEST(names_of_namespaces_are_checked)
{
    static const char *const good[] = {"a", "west", "west-1", "0"};
    static const char *const bad[] = {"", "-a", "a-", "West", "a.b", "../x", "a/b", "a b"};

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        CHECK(host_is_name(good[i]));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        CHECK(!host_is_name(bad[i]));
}

TEST(the_paths_of_a_user_follow_the_environment)
{
    struct host_paths p;
    char *file;

    CHECK_EQ(setenv("SKUPPER_OUTPUT_PATH", "/elsewhere", 1), 0);
    CHECK_EQ(host_paths_init(&p, "west", NULL), 0);
    CHECK_STR(str_of(p.root), "/elsewhere/namespaces/west");
    host_paths_fini(&p);
    CHECK_EQ(unsetenv("SKUPPER_OUTPUT_PATH"), 0);
    if (getuid() == 0) { // root's are fixed
        CHECK_EQ(host_paths_init(&p, "west", NULL), 0);
        CHECK_STR(str_of(p.root), "/var/lib/skupper/namespaces/west");
        CHECK_STR(str_of(p.units), "/etc/systemd/system");
    } else {
        CHECK_EQ(setenv("XDG_DATA_HOME", "/data", 1), 0);
        CHECK_EQ(host_paths_init(&p, "west", NULL), 0);
        CHECK_STR(str_of(p.root), "/data/skupper/namespaces/west");
    }
    file = host_path(&p, "input/%s", "resources");
    CHECK(strstr(file, "/namespaces/west/input/resources") != NULL);
    free(file);
    host_paths_fini(&p);
}

TEST(a_unit_says_what_runs_and_with_whom_it_stops)
{
    struct host_unit u = {.name = "skupper-west-agent.service",
                          .description = "Skupper agent of west",
                          .exec = "/usr/bin/skupper agent -n west",
                          .bound_to = "skupper-west.service"};
    char *text = host_unit_text(&u, false);

    CHECK(strstr(text, "\nExecStart=/usr/bin/skupper agent -n west\n") != NULL);
    CHECK(strstr(text, "\nPartOf=skupper-west.service\n") != NULL);
    CHECK(strstr(text, "\nWantedBy=default.target\n") != NULL);
    CHECK(strstr(text, "SKUPPER_SITE_ID") == NULL);
    free(text);
    u.bound_to = NULL;
    u.site_id = "1b9f";
    text = host_unit_text(&u, true);
    CHECK(strstr(text, "\nEnvironment=SKUPPER_SITE_ID=1b9f\n") != NULL);
    CHECK(strstr(text, "\nAfter=network-online.target\n") != NULL);
    free(text);
}

TOP_TEST_MAIN(CASE(a_file_is_written_whole_with_its_mode), CASE(what_is_the_same_is_left_alone),
              CASE(a_file_left_half_written_by_a_crash_is_in_nobodys_way),
              CASE(many_files_are_put_in_place_together),
              CASE(what_cannot_be_written_is_said_in_words_and_changes_nothing),
              CASE(what_is_poured_appears_whole_or_not_at_all),
              CASE(a_missing_file_and_one_too_large_are_told_apart),
              CASE(directories_are_made_listed_in_order_and_removed_with_all_in_them),
              CASE(names_of_namespaces_are_checked),
              CASE(the_paths_of_a_user_follow_the_environment),
              CASE(a_unit_says_what_runs_and_with_whom_it_stops))
