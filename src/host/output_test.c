// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "check.h"
#include "host/inside.h"
#include "host/top_test.h"

static const struct host_paths paths = {.root = top};

static char *at(const char *name)
{
    return host_path(&paths, "%s", name);
}

static struct stat stat_of(const char *name)
{
    char *path = at(name);
    struct stat st = {0};

    if (stat(path, &st) != 0)
        st.st_mode = 0;
    free(path);
    return st;
}

static void make(const char *name)
{
    char *path = at(name);

    CHECK_EQ(host_make_directory(path, NULL), 0);
    free(path);
}

static void put(const char *name, const char *text)
{
    char *path = at(name);

    CHECK_EQ(host_put(path, str_of(text), 0644, NULL), 0);
    free(path);
}

static json_t *resource(const char *kind, const char *name, const char *value)
{
    return json_pack("{s:s, s:{s:s}, s:{s:s}}", "kind", kind, "metadata", "name", name, "spec",
                     "value", value);
}

static json_t *resources(const char *db)
{
    return json_pack("{s:o, s:o, s:o}", "Listener/db", resource("Listener", "db", db),
                     "Listener/web-ui", resource("Listener", "web-ui", "x"), "AccessGrant/g",
                     resource("AccessGrant", "g", "code"));
}

TEST(what_changed_is_written_and_what_is_gone_is_removed)
{
    json_t *first = resources("1"), *second = resources("2");
    struct stat kept, changed;

    make("runtime/resources");
    put("runtime/resources/Listener-left.yaml", "kind: Listener\n");
    put("runtime/resources/ConfigMap-skupper-network-status.yaml", "kind: ConfigMap\n");
    CHECK_EQ(output_resources(&paths, NULL, first, NULL), 0);
    CHECK_EQ(stat_of("runtime/resources/Listener-left.yaml").st_mode, 0);
    CHECK(stat_of("runtime/resources/ConfigMap-skupper-network-status.yaml").st_mode);
    CHECK_EQ(stat_of("runtime/resources/AccessGrant-g.yaml").st_mode & 07777, 0600);
    CHECK_EQ(stat_of("runtime/resources/Listener-db.yaml").st_mode & 07777, 0644);
    kept = stat_of("runtime/resources/Listener-web-ui.yaml");
    changed = stat_of("runtime/resources/Listener-db.yaml");
    json_object_del(second, "AccessGrant/g");
    CHECK_EQ(output_resources(&paths, first, second, NULL), 0);
    CHECK_EQ(stat_of("runtime/resources/Listener-web-ui.yaml").st_ino, kept.st_ino);
    CHECK(stat_of("runtime/resources/Listener-db.yaml").st_ino != changed.st_ino);
    CHECK_EQ(stat_of("runtime/resources/AccessGrant-g.yaml").st_mode, 0);
    json_decref(first);
    json_decref(second);
}

TEST(what_cannot_be_written_is_said_and_does_not_stop_the_others)
{
    json_t *all = resources("3");
    struct why why = {""};

    make("runtime/resources/Listener-db.yaml.tmp/in-the-way");
    json_object_set_new(all, "Listener/new", resource("Listener", "new", "x"));
    CHECK_EQ(output_resources(&paths, NULL, all, &why), ERR_IO);
    CHECK(strstr(why.text, "Listener-db.yaml"));
    CHECK(stat_of("runtime/resources/Listener-new.yaml").st_mode);
    char *path = at("runtime/resources/Listener-db.yaml.tmp");

    CHECK_EQ(host_remove(path, NULL), 0);
    free(path);
    CHECK_EQ(output_resources(&paths, NULL, all, &why), 0);
    json_decref(all);
}

TEST(a_static_link_has_its_certificate_and_is_for_its_owner_alone)
{
    json_t *links =
               json_pack("{s:{s:s, s:[o, o]}}", "link-west-host.yaml", "certificate", "client",
                         "documents", resource("Secret", "s", "x"), resource("Link", "l", "x")),
           *none = json_object();
    char *path, *text = NULL;
    size_t len;

    make("runtime/links");
    make("runtime/certs/client");
    put("runtime/certs/client/ca.crt", "the ca");
    put("runtime/certs/client/tls.crt", "the cert");
    put("runtime/certs/client/tls.key", "the key");
    put("runtime/links/link-old.yaml", "x");
    CHECK_EQ(output_links(&paths, links, NULL), 0);
    CHECK_EQ(stat_of("runtime/links/link-old.yaml").st_mode, 0);
    CHECK_EQ(stat_of("runtime/links/link-west-host.yaml").st_mode & 07777, 0600);
    path = at("runtime/links/link-west-host.yaml");
    CHECK_EQ(host_read(path, &text, &len, NULL), 0);
    CHECK(strstr(text, "dGhlIGtleQ==")); // "the key"
    free(text);
    free(path);
    CHECK_EQ(output_links(&paths, none, NULL), 0);
    CHECK_EQ(stat_of("runtime/links/link-west-host.yaml").st_mode, 0);
    json_decref(none);
    json_decref(links);
}

TEST(the_password_of_a_proxy_is_for_its_owner_alone_and_goes_with_it)
{
    json_t *config = json_pack("[[s, {s:s, s:s}], [s, {s:s}]]", "proxyProfile", "name", "out",
                               "password", "file:x", "proxyProfile", "name", "open");
    json_t *secret = json_pack("{s:s, s:{s:s}, s:{s:s}}", "kind", "Secret", "metadata", "name",
                               "out", "stringData", "password", "w0rd");
    struct site_input inputs[] = {{secret, NULL}};
    char *path = at("runtime/proxies/out/password.txt"), *text;
    size_t len;

    make("runtime/proxies");
    CHECK_EQ(output_proxies(&paths, config, inputs, 1, NULL), 0);
    CHECK_EQ(host_read(path, &text, &len, NULL), 0);
    CHECK_STR(str_of(text), "w0rd");
    free(text);
    CHECK_EQ(stat_of("runtime/proxies/out/password.txt").st_mode & 0777, 0600);
    CHECK_EQ(stat_of("runtime/proxies/open").st_mode, 0); // it has none
    json_array_remove(config, 0);
    CHECK_EQ(output_proxies(&paths, config, inputs, 1, NULL), 0);
    CHECK_EQ(stat_of("runtime/proxies/out").st_mode, 0);
    free(path);
    json_decref(secret);
    json_decref(config);
}

TOP_TEST_MAIN(CASE(what_changed_is_written_and_what_is_gone_is_removed),
              CASE(what_cannot_be_written_is_said_and_does_not_stop_the_others),
              CASE(a_static_link_has_its_certificate_and_is_for_its_owner_alone),
              CASE(the_password_of_a_proxy_is_for_its_owner_alone_and_goes_with_it))
