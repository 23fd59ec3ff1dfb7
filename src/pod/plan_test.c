// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "check.h"
#include "json.h"
#include "pod/inside.h"
#include "site/site.h"

static const struct pod_opts opts = {.folder = "/certs", .proxy_folder = "/proxies"};

static json_t *config_of(const char *text)
{
    struct why why = {""};
    json_t *config = NULL;

    if (plan_read(text, &config, &why) < 0)
        fail_msg("%s", why.text);
    return config;
}

// A Secret with what is not NULL, of that revision for that profile.
static void add_secret(json_t *secrets, const char *name, const char *profile, int ordinal,
                       const char *ca, const char *cert, const char *key)
{
    json_t *secret = site_secret_new(name);
    char *context =
        str_fmt("[{\"profileName\":\"%s\",\"ordinal\":%d}]", profile ? profile : "", ordinal);

    site_secret_fill(secret, ca, cert, key);
    if (profile)
        json_object_set_new(json_object_get(secret, "metadata"), "annotations",
                            json_pack("{s:s}", "internal.skupper.io/tls-profile-context", context));
    json_object_set_new(secrets, name, secret);
    free(context);
}

static const char three[] =
    "[[\"sslProfile\", {\"name\": \"web\", \"caCertFile\": \"/certs/web/ca.crt\","
    "  \"certFile\": \"/certs/web/tls.crt\", \"privateKeyFile\": \"/certs/web/tls.key\","
    "  \"ordinal\": 2}]]";

TEST(a_profile_has_all_its_files_or_none)
{
    static const struct {
        const char *why, *ca, *cert, *key;
        int ordinal;
        size_t files;
        const char *words;
    } rows[] = {
        {"whole", "A", "B", "C", 2, 3, NULL},
        {"newer than asked for", "A", "B", "C", 3, 3, NULL},
        {"no key", "A", "B", NULL, 2, 0, "Secret web has no tls.key yet"},
        {"an empty CA", "", "B", "C", 2, 0, "Secret web has no ca.crt yet"},
        {"older", "A", "B", "C", 1, 0, "Secret web is of revision 1, and 2 is wanted"},
    };
    json_t *config = config_of(three);

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        json_t *secrets = json_object();
        struct plan p;

        add_secret(secrets, "web", "web", rows[i].ordinal, rows[i].ca, rows[i].cert, rows[i].key);
        plan_make(&p, config, secrets, &opts);
        CHECK_EQ_FOR(rows[i].why, p.file_count, rows[i].files);
        CHECK_EQ_FOR(rows[i].why, json_object_size(p.waiting), rows[i].words != NULL);
        if (rows[i].words)
            CHECK_STR(str_of(site_text(p.waiting, "web")), rows[i].words);
        plan_fini(&p);
        json_decref(secrets);
    }
    json_decref(config);
}

TEST(files_have_their_content_and_mode)
{
    json_t *config = config_of(three), *secrets = json_object();
    struct plan p;

    add_secret(secrets, "web", "web", 2, "A", "B", "C");
    plan_make(&p, config, secrets, &opts);
    CHECK_STR(str_of(p.files[0].path), "/certs/web/ca.crt");
    CHECK_STR(str_of(p.files[0].text), "A");
    CHECK_EQ(p.files[0].mode, 0644);
    CHECK_STR(str_of(p.files[1].text), "B");
    CHECK_EQ(p.files[1].mode, 0644);
    CHECK_STR(str_of(p.files[2].path), "/certs/web/tls.key");
    CHECK_EQ(p.files[2].mode, 0600);
    plan_fini(&p);
    json_decref(secrets);
    json_decref(config);
}

TEST(the_secret_of_a_profile_is_the_one_that_says_so_or_has_its_name)
{
    static const struct {
        const char *why, *name, *profile;
        bool is_found;
    } rows[] = {
        {"its name", "link-profile", NULL, true},      {"without the ending", "link", NULL, true},
        {"says so", "anything", "link-profile", true}, {"says another", "link", "other", true},
        {"another name", "unlink", NULL, false},
    };
    json_t *config = config_of("[[\"sslProfile\", {\"name\": \"link-profile\","
                               " \"caCertFile\": \"/certs/l/ca.crt\"}]]");

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        json_t *secrets = json_object();
        struct plan p;

        add_secret(secrets, rows[i].name, rows[i].profile, 0, "A", NULL, NULL);
        plan_make(&p, config, secrets, &opts);
        CHECK_EQ_FOR(rows[i].why, p.file_count, rows[i].is_found);
        plan_fini(&p);
        json_decref(secrets);
    }
    json_decref(config);
}

TEST(nothing_is_written_outside_of_the_folder)
{
    static const char *const paths[] = {"/etc/passwd", "/certs/../etc/x",  "/certsx/ca.crt",
                                        "ca.crt",      "/certs/a/../../x", "/certs/a/"};
    json_t *secrets = json_object();

    add_secret(secrets, "p", NULL, 0, "A", "B", "C");
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        char *text =
            str_fmt("[[\"sslProfile\", {\"name\": \"p\", \"caCertFile\": \"%s\"}]]", paths[i]);
        json_t *config = config_of(text);
        struct plan p;

        plan_make(&p, config, secrets, &opts);
        CHECK_EQ_FOR(paths[i], p.file_count, 0);
        CHECK_EQ_FOR(paths[i], json_object_size(p.waiting), 1);
        plan_fini(&p);
        json_decref(config);
        free(text);
    }
    json_decref(secrets);
}

TEST(a_proxy_has_its_password_in_a_file_of_its_own)
{
    json_t *config = config_of("[[\"proxyProfile\", {\"name\": \"out\", \"password\":"
                               " \"file:/proxies/out/password.txt\"}],"
                               " [\"connector\", {\"name\": \"c\", \"proxyProfile\": \"out\"}]]");
    json_t *secrets = json_object(), *wanted;
    struct plan p;

    plan_make(&p, config, secrets, &opts);
    wanted = plan_wanted(config, NULL, p.waiting);
    CHECK_EQ(json_array_size(wanted), 0);
    json_decref(wanted);
    plan_fini(&p);
    json_object_set_new(secrets, "out", json_of("{\"data\": {\"password\": \"c2VjcmV0\"}}"));
    plan_make(&p, config, secrets, &opts);
    CHECK_EQ(p.file_count, 1);
    CHECK_STR(str_of(p.files[0].path), "/proxies/out/password.txt");
    CHECK_STR(str_of(p.files[0].text), "secret");
    CHECK_EQ(p.files[0].mode, 0600);
    plan_fini(&p);
    json_decref(secrets);
    json_decref(config);
}

// Names of what is wanted, in order: "connector/a".
static void check_wanted(const char *config_text, const char *applied_text,
                         const char *waiting_text, const char *want)
{
    json_t *config = json_of(config_text), *applied = json_of(applied_text),
           *waiting = json_of(waiting_text);
    json_t *wanted = plan_wanted(config, applied, waiting), *pair;
    char *got = xstrdup("");
    size_t i;

    json_array_foreach(wanted, i, pair)
    {
        const json_t *attributes = json_array_get(pair, 1);
        char *more =
            str_fmt("%s%s%s/%s:%s", got, i ? " " : "", json_string_value(json_array_get(pair, 0)),
                    site_text(attributes, "name"), site_text(attributes, "host"));

        free(got);
        got = more;
    }
    CHECK_STR(str_of(got), want);
    free(got);
    json_decref(wanted);
    json_decref(waiting);
    json_decref(applied);
    json_decref(config);
}

TEST(what_needs_a_missing_secret_waits_and_nothing_else)
{
    check_wanted("[[\"sslProfile\", {\"name\": \"p\"}], [\"sslProfile\", {\"name\": \"q\"}],"
                 " [\"connector\", {\"name\": \"a\", \"sslProfile\": \"p\"}],"
                 " [\"connector\", {\"name\": \"b\", \"sslProfile\": \"q\"}]]",
                 "[]", "{\"p\": \"no\"}", "sslProfile/q: connector/b:");
}

TEST(a_connection_that_works_stays_while_its_new_certificate_is_missing)
{
    check_wanted("[[\"sslProfile\", {\"name\": \"p\", \"ordinal\": 2}],"
                 " [\"connector\", {\"name\": \"a\", \"host\": \"new\", \"sslProfile\": \"p\"}]]",
                 "[[\"sslProfile\", {\"name\": \"old\"}],"
                 " [\"connector\", {\"name\": \"a\", \"host\": \"now\", \"sslProfile\": \"old\"}]]",
                 "{\"p\": \"no\"}", "connector/a:now sslProfile/old:");
    check_wanted(
        "[[\"proxyProfile\", {\"name\": \"p\", \"host\": \"new\"}],"
        " [\"connector\", {\"name\": \"a\", \"proxyProfile\": \"p\"}]]",
        "[[\"proxyProfile\", {\"name\": \"old\"}],"
        " [\"connector\", {\"name\": \"a\", \"host\": \"now\", \"proxyProfile\": \"old\"}]]",
        "{\"proxyProfile/p\": \"no\"}", "connector/a:now proxyProfile/old:");
    check_wanted("[[\"sslProfile\", {\"name\": \"p\", \"host\": \"new\"}],"
                 " [\"connector\", {\"name\": \"a\", \"sslProfile\": \"p\"}]]",
                 "[[\"sslProfile\", {\"name\": \"p\", \"host\": \"now\"}],"
                 " [\"connector\", {\"name\": \"a\", \"sslProfile\": \"p\"}]]",
                 "{\"p\": \"no\"}", "sslProfile/p:now connector/a:");
}

TEST(a_profile_without_a_name_holds_up_nothing)
{
    json_t *config = config_of("[[\"sslProfile\", {\"caCertFile\": \"/certs/x/ca.crt\"}],"
                               " [\"listener\", {\"name\": \"plain\"}]]");
    json_t *secrets = json_object(), *wanted;
    struct plan p;

    plan_make(&p, config, secrets, &opts);
    wanted = plan_wanted(config, NULL, p.waiting);
    CHECK_EQ(json_array_size(wanted), 2);
    json_decref(wanted);
    plan_fini(&p);
    json_decref(secrets);
    json_decref(config);
}

TEST(an_address_goes_with_the_listener_that_is_left_out)
{
    check_wanted("[[\"tcpListener\", {\"name\": \"m\", \"sslProfile\": \"p\"}],"
                 " [\"tcpListener\", {\"name\": \"n\"}],"
                 " [\"listenerAddress\", {\"name\": \"m/k\", \"listener\": \"m\"}],"
                 " [\"listenerAddress\", {\"name\": \"n/k\", \"listener\": \"n\"}]]",
                 "[]", "{\"p\": \"no\"}", "tcpListener/n: listenerAddress/n/k:");
}

TEST(files_that_nobody_names_any_more_are_left_over)
{
    json_t *applied =
        json_of("[[\"sslProfile\", {\"name\": \"a\", \"caCertFile\": \"/certs/a/ca.crt\"}],"
                " [\"sslProfile\", {\"name\": \"b\", \"certFile\": \"/certs/b/tls.crt\"}],"
                " [\"sslProfile\", {\"name\": \"c\", \"certFile\": \"/certs/c/tls.crt\"}],"
                " [\"sslProfile\", {\"name\": \"d\", \"certFile\": \"/etc/d/tls.crt\"}]]");
    json_t *config =
        json_of("[[\"sslProfile\", {\"name\": \"x\", \"caCertFile\": \"/certs/a/ca.crt\"}]]");
    json_t *wanted =
        json_of("[[\"sslProfile\", {\"name\": \"b\", \"certFile\": \"/certs/b/tls.crt\"}]]");
    json_t *left = plan_leftovers(applied, config, wanted, &opts);

    CHECK_EQ(json_array_size(left), 1);
    CHECK_STR(str_of(json_string_value(json_array_get(left, 0))), "/certs/c/tls.crt");
    json_decref(left);
    json_decref(wanted);
    json_decref(config);
    json_decref(applied);
}

TEST(a_configuration_that_is_none_is_refused_with_words)
{
    static const struct {
        const char *text, *words;
    } rows[] = {
        {"", "skrouterd.json:"},
        {"[[\"router\"", "skrouterd.json:1:"},
        {"{}", "skrouterd.json is no list"},
        {"[1]", "item 0 is not"},
        {"[[\"router\", {}], [\"listener\", 1]]", "item 1 is not"},
        {"[[\"router\", {}, {}]]", "item 0 is not"},
        {"[[1, {}]]", "item 0 is not"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct why why = {""};
        json_t *config = NULL;

        CHECK_EQ_FOR(rows[i].text, plan_read(rows[i].text, &config, &why), ERR_DECODE);
        if (!strstr(why.text, rows[i].words))
            fail_msg("%s: '%s'", rows[i].text, why.text);
    }
}

TEST(many_problems_are_few_words)
{
    json_t *waiting =
        json_of("{\"a\": \"x\", \"b\": \"x\", \"c\": \"x\", \"d\": \"x\", \"e\": \"x\"}");
    char *words = plan_words(waiting);

    CHECK_STR(str_of(words), "a: x; b: x; c: x; and 2 more");
    free(words);
    json_decref(waiting);
}

TEST_MAIN(CASE(a_profile_has_all_its_files_or_none), CASE(files_have_their_content_and_mode),
          CASE(the_secret_of_a_profile_is_the_one_that_says_so_or_has_its_name),
          CASE(nothing_is_written_outside_of_the_folder),
          CASE(a_proxy_has_its_password_in_a_file_of_its_own),
          CASE(what_needs_a_missing_secret_waits_and_nothing_else),
          CASE(a_connection_that_works_stays_while_its_new_certificate_is_missing),
          CASE(a_profile_without_a_name_holds_up_nothing),
          CASE(an_address_goes_with_the_listener_that_is_left_out),
          CASE(files_that_nobody_names_any_more_are_left_over),
          CASE(a_configuration_that_is_none_is_refused_with_words),
          CASE(many_problems_are_few_words))
