// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "check.h"
#include "host/inside.h"
#include "host/top_test.h"

static const char ID[] = "1b9f0c3e-6a52-4a4c-9c43-0f6d8a1a2b3c";

static void put(const struct host_paths *paths, const char *name, const char *text)
{
    char *path = host_path(paths, "%s", name);

    CHECK_EQ(host_put(path, str_of(text), 0600, NULL), 0);
    free(path);
}

static struct host_paths paths_of(const char *name)
{
    struct host_paths paths = {.root = str_fmt("%s/%s", top, name)};
    static const char *const names[] = {"internal", "runtime/router"};

    for (int i = 0; i < 2; i++) {
        char *path = host_path(&paths, "%s", names[i]);

        CHECK_EQ(host_make_directory(path, NULL), 0);
        free(path);
    }
    return paths;
}

// A listening socket on a port of 127.0.0.1 that nobody had.
static int take_port(int *port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0 && listen(fd, 1) == 0);
    CHECK_EQ(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    *port = ntohs(at.sin_port);
    return fd;
}

static bool choose(struct memory *m, const char *key, int from)
{
    json_t *wish = json_pack("[{s:s, s:s, s:i}]", "key", key, "host", "127.0.0.1", "from", from);
    bool is_new = memory_choose_ports(m, wish);

    json_decref(wish);
    return is_new;
}

static int port_of(struct memory *m, const char *key)
{
    return (int)json_integer_value(json_object_get(memory_object(m, "ports"), key));
}

TEST(who_a_site_is_is_chosen_once)
{
    struct host_paths paths = paths_of("once");
    struct memory m;
    char *id;

    CHECK_EQ(memory_open(&m, &paths, NULL), 0);
    id = xstrdup(memory_text(&m, "siteId"));
    CHECK_EQ(strlen(id), 36);
    CHECK(memory_text(&m, "routerSuffix")[0]);
    CHECK_STR(str_of(memory_text(&m, "nothing")), "");
    CHECK_EQ(memory_save(&m, NULL), 0);
    memory_close(&m);
    CHECK_EQ(memory_open(&m, &paths, NULL), 0);
    CHECK_STR(str_of(memory_text(&m, "siteId")), id);
    memory_close(&m);
    free(id);
    free(paths.root);
}

TEST(what_another_site_has_chosen_is_not_chosen_though_it_is_free)
{
    struct host_paths paths[2] = {paths_of("first"), paths_of("second")};
    struct memory m[2];
    int port, fd = take_port(&port);

    close(fd);
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(memory_open(&m[i], &paths[i], NULL), 0);
        CHECK(choose(&m[i], "normal", port));
    }
    CHECK(port_of(&m[1], "normal") != port_of(&m[0], "normal"));
    // Its own former choice is none of others.
    json_object_del(memory_object(&m[0], "ports"), "normal");
    CHECK(choose(&m[0], "normal", port));
    CHECK(port_of(&m[1], "normal") != port_of(&m[0], "normal"));
    for (int i = 0; i < 2; i++) {
        memory_close(&m[i]);
        free(paths[i].root);
    }
}

TEST(an_installation_of_the_existing_product_keeps_its_id)
{
    struct host_paths paths = paths_of("old");
    char *config = str_fmt("[[\"router\", {\"id\": \"west\", \"metadata\": \"{\\\"id\\\":"
                           "\\\"%s\\\",\\\"version\\\":\\\"2.0\\\"}\"}]]",
                           ID);
    static const char *const others[] = {
        "[[\"router\", {\"id\": \"west\"}]]", "[[1]]", "{", "[]",
        "[[\"router\", {\"metadata\": \"{\\\"id\\\":\\\"x\\\"}\"}]]"};
    struct memory m;

    put(&paths, "runtime/router/skrouterd.json", config);
    CHECK_EQ(memory_open(&m, &paths, NULL), 0);
    CHECK_STR(str_of(memory_text(&m, "siteId")), ID);
    memory_close(&m);
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        put(&paths, "runtime/router/skrouterd.json", others[i]);
        CHECK_EQ(memory_open(&m, &paths, NULL), 0);
        CHECK_EQ(strlen(memory_text(&m, "siteId")), 36);
        CHECK(strcmp(memory_text(&m, "siteId"), ID) != 0);
        memory_close(&m);
    }
    free(config);
    free(paths.root);
}

TEST(what_is_damaged_is_told_and_left_alone)
{
    static const char *const texts[] = {"", "{\"siteId\": \"", "[]", "{}", "{\"siteId\": 7}"};
    struct host_paths paths = paths_of("damaged");

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct memory m;
        struct why why = {""};
        char *path = host_path(&paths, "internal/state.json"), *text;
        size_t len;

        put(&paths, "internal/state.json", texts[i]);
        CHECK_EQ_FOR(texts[i], memory_open(&m, &paths, &why), ERR_DECODE);
        CHECK(strstr(why.text, "internal/state.json is damaged: put a copy back"));
        CHECK_EQ(host_read(path, &text, &len, NULL), 0);
        CHECK_STR(str_of(text), texts[i]);
        free(text);
        free(path);
    }
    free(paths.root);
}

TEST(a_part_of_another_type_is_begun_anew)
{
    struct host_paths paths = paths_of("typed");
    struct memory m;
    int port;
    int fd = take_port(&port);

    close(fd);
    put(&paths, "internal/state.json", "{\"siteId\": \"x\", \"ports\": [1]}");
    CHECK_EQ(memory_open(&m, &paths, NULL), 0);
    CHECK(choose(&m, "a", port));
    CHECK(!choose(&m, "a", port));
    CHECK_EQ(port_of(&m, "a"), port);
    memory_close(&m);
    free(paths.root);
}

TEST(a_port_is_the_first_free_one_and_is_kept)
{
    struct host_paths paths = paths_of("ports");
    struct memory m;
    int port;
    int fd = take_port(&port);

    CHECK_EQ(memory_open(&m, &paths, NULL), 0);
    CHECK(choose(&m, "a", port));
    CHECK(port_of(&m, "a") > port);
    CHECK(choose(&m, "b", port));
    CHECK(port_of(&m, "b") > port_of(&m, "a")); // not ours already
    close(fd);
    CHECK(!choose(&m, "a", port));
    CHECK(port_of(&m, "a") > port);
    memory_close(&m);
    free(paths.root);
}

TEST(ports_that_others_took_are_chosen_again_until_somebody_was_served)
{
    struct host_paths paths = paths_of("released");
    struct memory m;
    int port, again;
    int fd = take_port(&port);

    close(fd);
    CHECK_EQ(memory_open(&m, &paths, NULL), 0);
    CHECK(choose(&m, "a", port));
    again = port_of(&m, "a");
    CHECK(!memory_release_ports(&m));
    CHECK_EQ(port_of(&m, "a"), again);
    json_object_set_new(memory_object(&m, "ports"), "b", json_integer(1));
    fd = take_port(&port);
    json_object_set_new(memory_object(&m, "ports"), "b", json_integer(port));
    CHECK(memory_release_ports(&m));
    CHECK_EQ(port_of(&m, "b"), 0);
    json_object_set_new(memory_object(&m, "ports"), "b", json_integer(port));
    memory_ports_served(&m);
    CHECK(!memory_release_ports(&m));
    CHECK_EQ(port_of(&m, "b"), port);
    close(fd);
    memory_close(&m);
    free(paths.root);
}

TOP_TEST_MAIN(CASE(who_a_site_is_is_chosen_once),
              CASE(what_another_site_has_chosen_is_not_chosen_though_it_is_free),
              CASE(an_installation_of_the_existing_product_keeps_its_id),
              CASE(what_is_damaged_is_told_and_left_alone),
              CASE(a_part_of_another_type_is_begun_anew),
              CASE(a_port_is_the_first_free_one_and_is_kept),
              CASE(ports_that_others_took_are_chosen_again_until_somebody_was_served))
