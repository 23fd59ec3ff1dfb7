// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "check.h"
#include "kube/config.h"
#include "kube/inside.h"

static const char main_text[] = "apiVersion: v1\n"
                                "kind: Config\n"
                                "current-context: one\n"
                                "clusters:\n"
                                "- name: c1\n"
                                "  cluster:\n"
                                "    server: https://192.0.2.1:6443/\n"
                                "    certificate-authority: pki/ca.crt\n"
                                "    tls-server-name: kubernetes\n"
                                "    proxy-url: http://proxy:3128\n"
                                "contexts:\n"
                                "- name: one\n"
                                "  context: {cluster: c1, user: u1, namespace: here}\n"
                                "- name: two\n"
                                "  context: {cluster: c1, user: plugin}\n"
                                "users:\n"
                                "- name: u1\n"
                                "  user:\n"
                                "    client-certificate-data: Y2VydA==\n"
                                "    client-key: /keys/u1.key\n"
                                "- name: plugin\n"
                                "  user:\n"
                                "    exec:\n"
                                "      apiVersion: client.authentication.k8s.io/v1\n"
                                "      command: bin/login\n"
                                "      args: [--for, cluster]\n"
                                "      env: [{name: A, value: b}]\n"
                                "      interactiveMode: Never\n"
                                "      provideClusterInfo: true\n";

static int read_texts(const char *first, const char *second, const struct kube_config_opts *opts,
                      struct kube_config **out, struct why *why)
{
    struct config_source sources[] = {{"/home/me/first", str_of(first)},
                                      {"/home/me/sub/second", str_of(second)}};

    return config_read(sources, second ? 2 : first ? 1 : 0, opts, out, why);
}

TEST(a_kubeconfig_says_where_and_who)
{
    struct kube_config_opts opts = {0};
    struct kube_config *c = NULL;

    CHECK_EQ(read_texts(main_text, NULL, &opts, &c, NULL), 0);
    CHECK_STR(str_of(kube_config_server(c)), "https://192.0.2.1:6443");
    CHECK_STR(str_of(kube_config_namespace(c)), "here");
    CHECK_STR(str_of(kube_config_context(c)), "one");
    CHECK_STR(str_of(c->ca.path), "/home/me/pki/ca.crt");
    CHECK_STR(str_of(c->tls_name), "kubernetes");
    CHECK_STR(str_of(c->proxy), "http://proxy:3128");
    CHECK_STR(str_of(c->cert.text), "cert");
    CHECK_STR(str_of(c->key.path), "/keys/u1.key");
    CHECK(!c->is_insecure && !c->exec.argv && !c->token.text);
    kube_config_free(c);

    opts = (struct kube_config_opts){.context = "two", .ns = "there"};
    CHECK_EQ(read_texts(main_text, NULL, &opts, &c, NULL), 0);
    CHECK_STR(str_of(kube_config_namespace(c)), "there");
    CHECK_STR(str_of(c->exec.argv[0]), "/home/me/bin/login");
    CHECK_STR(str_of(c->exec.argv[2]), "cluster");
    CHECK(!c->exec.argv[3]);
    CHECK_STR(str_of(c->exec.env[0]), "A=b");
    CHECK(c->exec.says_cluster && c->exec.mode == EXEC_NEVER);
    kube_config_free(c);
}

TEST(of_several_files_the_first_counts_entry_by_entry)
{
    static const char second[] =
        "current-context: two\n"
        "clusters: [{name: c1, cluster: {server: 'https://other'}},"
        " {name: c2, cluster: {server: 'https://two', insecure-skip-tls-verify: true}}]\n"
        "contexts: [{name: one, context: {cluster: c2}}, {name: three, context: {cluster: c2, "
        "user: u2}}]\n"
        "users: [{name: u1, user: {token: no}}, {name: u2, user: {tokenFile: t}}]\n";
    struct kube_config_opts opts = {0};
    struct kube_config *c = NULL;

    CHECK_EQ(read_texts(main_text, second, &opts, &c, NULL), 0);
    CHECK_STR(str_of(kube_config_server(c)), "https://192.0.2.1:6443");
    CHECK(!c->token.text);
    kube_config_free(c);
    opts.context = "three";
    CHECK_EQ(read_texts(main_text, second, &opts, &c, NULL), 0);
    CHECK_STR(str_of(kube_config_server(c)), "https://two");
    CHECK_STR(str_of(kube_config_namespace(c)), "default");
    CHECK_STR(str_of(c->token.path), "/home/me/sub/t");
    CHECK(c->is_insecure);
    kube_config_free(c);
}

TEST(what_cannot_be_used_is_said)
{
    static const struct {
        const char *text, *context, *words;
        int want;
    } rows[] = {
        {main_text, "tow",
         "/home/me/first: there is no context \"tow\" (there is: one, two); choose one of them "
         "with "
         "--context",
         ERR_NOT_FOUND},
        {"contexts: [{name: a, context: {}}]", NULL, "no context is chosen (there is: a)",
         ERR_NOT_FOUND},
        {"contexts: [{name: a, context: {cluster: c}}]", "a", "there is no cluster \"c\"",
         ERR_NOT_FOUND},
        {"contexts: [{name: a, context: {cluster: c, user: u}}]\n"
         "clusters: [{name: c, cluster: {server: 'https://x'}}]",
         "a", "there is no user \"u\"", ERR_NOT_FOUND},
        {"contexts: [{name: a, context: {cluster: c}}]\nclusters: [{name: c, cluster: {}}]", "a",
         "/home/me/first: cluster c: server is missing", ERR_INVALID},
        {"contexts: [{name: a, context: {cluster: c}}]\n"
         "clusters: [{name: c, cluster: {server: 'ftp://x'}}]",
         "a", "server is ftp://x", ERR_INVALID},
        {"contexts: [{name: a, context: {cluster: c}}]\n"
         "clusters: [{name: c, cluster: {server: 'https://x', certificate-authority-data: '!'}}]",
         "a", "certificate-authority-data is no base64", ERR_INVALID},
        {"a: [", NULL, "/home/me/first:", ERR_DECODE},
        {"[]", NULL, "this is no kubeconfig", ERR_INVALID},
        {NULL, "a", "there is no context \"a\" (there is: none)", ERR_NOT_FOUND},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct kube_config_opts opts = {.context = rows[i].context};
        struct kube_config *c = NULL;
        struct why why = {""};

        CHECK_EQ_FOR(rows[i].words, read_texts(rows[i].text, NULL, &opts, &c, &why), rows[i].want);
        if (!strstr(why.text, rows[i].words))
            fail_msg("\"%s\" does not say \"%s\"", why.text, rows[i].words);
        CHECK(!c);
    }
}

TEST(a_user_that_cannot_be_is_said)
{
    static const struct {
        const char *user, *words;
        int want;
    } rows[] = {
        {"{username: a, password: b}", "username is not supported", ERR_UNSUPPORTED},
        {"{auth-provider: {name: gcp}}", "auth-provider is not supported", ERR_UNSUPPORTED},
        {"{token: t, as: admin}", "as is not supported", ERR_UNSUPPORTED},
        {"{client-certificate: c}", "only together", ERR_INVALID},
        {"{exec: {command: x}}", "apiVersion is missing", ERR_INVALID},
        {"{exec: {apiVersion: client.authentication.k8s.io/v1alpha1, command: x}}",
         "expected client.authentication.k8s.io/v1", ERR_INVALID},
        {"{exec: {apiVersion: client.authentication.k8s.io/v1}}", "command is missing",
         ERR_INVALID},
        {"{exec: {apiVersion: client.authentication.k8s.io/v1, command: x, args: [1]}}",
         "args[0] is no text", ERR_INVALID},
        {"{exec: {apiVersion: client.authentication.k8s.io/v1, command: x, env: [{name: 'a=b'}]}}",
         "env[0] has no name", ERR_INVALID},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct kube_config_opts opts = {0};
        struct kube_config *c = NULL;
        struct why why = {""};
        char *text = str_fmt("current-context: a\n"
                             "contexts: [{name: a, context: {cluster: c, user: u}}]\n"
                             "clusters: [{name: c, cluster: {server: 'https://x'}}]\n"
                             "users: [{name: u, user: %s}]\n",
                             rows[i].user);

        CHECK_EQ_FOR(rows[i].user, read_texts(text, NULL, &opts, &c, &why), rows[i].want);
        if (!strstr(why.text, rows[i].words) || !strstr(why.text, "/home/me/first: user u: "))
            fail_msg("\"%s\" does not say \"%s\"", why.text, rows[i].words);
        free(text);
    }
}

// ----------------------------------------------------------------------------------------- files

static char top[] = "/tmp/skupper-kube-XXXXXX";

static const char *at(const char *name)
{
    static char path[4][256];
    static int turn;
    char *p = path[turn++ % 4];

    snprintf(p, 256, "%s/%s", top, name);
    return p;
}

static void put(const char *name, const char *text)
{
    FILE *f = fopen(at(name), "w");

    CHECK(f);
    fputs(text, f);
    fclose(f);
}

#define FILE_OF(server)                                                                            \
    "current-context: a\ncontexts: [{name: a, context: {cluster: c}}]\n"                           \
    "clusters: [{name: c, cluster: {server: '" server "'}}]\n"

static int load(const struct kube_config_opts *opts, struct config_env *env, char *server,
                struct why *why)
{
    struct kube_config *c = NULL;
    int err = config_load(opts, env, &c, why);

    if (c)
        snprintf(server, 64, "%s", kube_config_server(c));
    kube_config_free(c);
    return err;
}

// Tests use the same folder, one after another.
TEST(files_are_looked_for_as_kubectl_does)
{
    struct config_env env = {.home = top};
    struct kube_config_opts opts = {0};
    struct why why = {""};
    char server[64], list[600];

    CHECK(mkdtemp(top));
    mkdir(at(".kube"), 0755);
    CHECK_EQ(load(&opts, &env, server, &why), ERR_NOT_FOUND);
    CHECK(strstr(why.text, "~/.kube/config"));
    put(".kube/config", FILE_OF("https://home"));
    CHECK_EQ(load(&opts, &env, server, &why), 0);
    CHECK_STR(str_of(server), "https://home");

    put("second", FILE_OF("https://second"));
    put("third", FILE_OF("https://third"));
    snprintf(list, sizeof(list), ":%s:%s:%s:", at("absent"), at("second"), at("third"));
    env.kubeconfig = list;
    CHECK_EQ(load(&opts, &env, server, &why), 0);
    CHECK_STR(str_of(server), "https://second");

    opts.kubeconfig = at("third");
    CHECK_EQ(load(&opts, &env, server, &why), 0);
    CHECK_STR(str_of(server), "https://third");
    opts.kubeconfig = at("absent");
    CHECK_EQ(load(&opts, &env, server, &why), ERR_NOT_FOUND);
    CHECK(strstr(why.text, "absent: No such file"));
}

TEST(in_a_pod_it_is_what_is_mounted)
{
    static const char *const made[] = {"mount/token", "mount/ca.crt", "mount/namespace", "mount",
                                       "second",      "third",        ".kube",           ""};
    char mount[256];
    struct config_env env = {
        .home = top, .service_host = "fd00::1", .service_port = "443", .mount = mount};
    struct kube_config_opts opts = {0};
    struct kube_config *c = NULL;
    struct why why = {""};

    snprintf(mount, sizeof(mount), "%s", at("mount"));
    unlink(at(".kube/config"));
    CHECK_EQ(config_load(&opts, &env, &c, &why), ERR_IO);
    CHECK(strstr(why.text, "its service account is not mounted: cannot read"));
    mkdir(at("mount"), 0755);
    put("mount/token", "secret-1\n");
    put("mount/ca.crt", "pem\n");
    put("mount/namespace", "ns");
    CHECK_EQ(config_load(&opts, &env, &c, &why), 0);
    CHECK_STR(str_of(kube_config_server(c)), "https://[fd00::1]:443");
    CHECK_STR(str_of(kube_config_namespace(c)), "ns");
    CHECK_STR(str_of(kube_config_context(c)), "");
    CHECK_STR(str_of(c->token.text), "secret-1");

    put("mount/token.new", "secret-2\n"); // as it is rotated
    CHECK_EQ(rename(at("mount/token.new"), at("mount/token")), 0);
    CHECK_EQ(material_refresh(&c->token, NULL), 0);
    CHECK_STR(str_of(c->token.text), "secret-2");
    unlink(at("mount/token"));
    CHECK_EQ(material_refresh(&c->token, &why), ERR_IO);
    CHECK_STR(str_of(c->token.text), "secret-2"); // which may still be good
    put("mount/token", "\n");
    CHECK_EQ(material_refresh(&c->token, &why), ERR_INVALID);
    kube_config_free(c);
    for (size_t i = 0; i < sizeof(made) / sizeof(made[0]); i++)
        CHECK_EQ_FOR(made[i], remove(at(made[i])), 0);
}

// -------------------------------------------------------------------------------------- plugins

TEST(a_plugin_answers_in_the_version_it_was_asked_in)
{
    static const struct {
        const char *text, *words; // words NULL: it is good
    } rows[] = {
        {"{\"kind\":\"ExecCredential\",\"apiVersion\":\"v\",\"status\":{\"token\":\"t\"}}", NULL},
        {"{\"kind\":\"ExecCredential\",\"apiVersion\":\"v\",\"status\":{\"clientCertificateData\":"
         "\"c\",\"clientKeyData\":\"k\",\"expirationTimestamp\":\"2030-01-01T00:00:00Z\"}}",
         NULL},
        {"", "no ExecCredential"},
        {"[1]", "no ExecCredential"},
        {"{\"kind\":\"ExecCredential\",\"apiVersion\":\"w\"}", "of version w, asked for was v"},
        {"{\"kind\":\"ExecCredential\"}", "of version (none)"},
        {"{\"kind\":\"ExecCredential\",\"apiVersion\":\"v\"}", "has no token"},
        {"{\"kind\":\"ExecCredential\",\"apiVersion\":\"v\",\"status\":{\"clientKeyData\":\"k\"}}",
         "has no token"},
        {"{\"kind\":\"ExecCredential\",\"apiVersion\":\"v\",\"status\":{\"token\":\"a\\r\\nX: "
         "y\"}}",
         "is no line"},
        {"{\"kind\":\"ExecCredential\",\"apiVersion\":\"v\",\"status\":{\"token\":\"t\","
         "\"expirationTimestamp\":\"soon\"}}",
         "is no time: soon"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct credential c = {0};
        struct why why = {""};
        int err = credential_read(str_of(rows[i].text), "v", &c, &why);

        CHECK_EQ_FOR(rows[i].text, err, rows[i].words ? ERR_DECODE : 0);
        if (rows[i].words && !strstr(why.text, rows[i].words))
            fail_msg("\"%s\" does not say \"%s\"", why.text, rows[i].words);
        CHECK((c.token || c.cert) == (err == 0));
        credential_fini(&c);
    }
}

TEST_MAIN(CASE(a_kubeconfig_says_where_and_who),
          CASE(of_several_files_the_first_counts_entry_by_entry), CASE(what_cannot_be_used_is_said),
          CASE(a_user_that_cannot_be_is_said), CASE(files_are_looked_for_as_kubectl_does),
          CASE(in_a_pod_it_is_what_is_mounted),
          CASE(a_plugin_answers_in_the_version_it_was_asked_in))
