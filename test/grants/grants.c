// SPDX-License-Identifier: Apache-2.0
// The server for redemptions and the client as a program, for tests with other ends than ours.
//
//   grants serve DIRECTORY PORT ALLOWED WINDOW PATIENCE_MS rsa|ec
//       serves one grant, kept in DIRECTORY/kept; the token is DIRECTORY/token.yaml. CAs that are
//       in the directory are used again. Ends with SIGTERM.
//   grants redeem TOKEN SUBJECT
//       prints what it got, or why not (and exits with 1).
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "host/host.h"
#include "net/net.h"
#include "pki/pki.h"

struct server {
    const char *directory;
    struct host_grant_store *store;
    struct pki_pair site_ca, server_ca;
    enum pki_key key;
    json_t *endpoints;
};

static struct net_loop *loop;

static _Noreturn void die(const char *words)
{
    printf("%s\n", words);
    exit(1);
}

static char *path(const struct server *s, const char *name)
{
    return str_fmt("%s/%s", s->directory, name);
}

static void keep(const struct server *s, const char *name, const char *text)
{
    char *to = path(s, name);
    struct why why = {""};

    if (host_write(to, str_of(text), 0600, &why) < 0)
        die(why.text);
    free(to);
}

// The text of a file, or NULL.
static char *kept(const struct server *s, const char *name)
{
    char *from = path(s, name), *text = NULL;
    size_t len;

    if (host_read(from, &text, &len, NULL) < 0)
        text = NULL;
    free(from);
    return text;
}

// A CA in files of that name, made when it is not there.
static struct pki_pair have_ca(const struct server *s, const char *name)
{
    char *cert = str_fmt("%s.crt", name), *key = str_fmt("%s.key", name);
    struct pki_pair ca = {.cert = kept(s, cert), .key = kept(s, key)};
    struct pki_wish w = {.name = name,
                         .key = s->key,
                         .not_before = time(NULL),
                         .not_after = time(NULL) + PKI_LIFE_S};
    struct why why = {""};

    if (!ca.cert || !ca.key) {
        if (pki_make_ca(&w, &ca, &why) < 0)
            die(why.text);
        keep(s, cert, ca.cert);
        keep(s, key, ca.key);
    }
    free(cert);
    free(key);
    return ca;
}

static void make_certificate(const struct server *s)
{
    static const char *const hosts[] = {"127.0.0.1", "localhost"};
    struct pki_wish w = {.name = "skupper-grant-server",
                         .hosts = hosts,
                         .host_count = 2,
                         .key = s->key,
                         .not_before = time(NULL),
                         .not_after = time(NULL) + PKI_LIFE_S};
    struct pki_pair pair = {0};
    struct why why = {""};

    if (pki_make_leaf(&w, str_of(s->server_ca.cert), str_of(s->server_ca.key), &pair, &why) < 0)
        die(why.text);
    keep(s, "tls.crt", pair.cert);
    keep(s, "tls.key", pair.key);
    pki_pair_fini(&pair);
}

static size_t grants(void *user, const struct site_grant **out)
{
    const struct server *s = user;

    return host_grant_store_grants(s->store, out);
}

static int count(void *user, size_t index, uint64_t number, struct why *why)
{
    const struct server *s = user;

    (void)number;
    return host_grant_store_count(s->store, index, why);
}

static int give(void *user, size_t index, const char *name, const char *subject, char **text,
                struct why *why)
{
    const struct server *s = user;

    (void)index;
    return host_grant_links(str_of(s->site_ca.cert), str_of(s->site_ca.key), s->endpoints, name,
                            subject, s->key, time(NULL), text, why);
}

static void write_token(const struct server *s, int port)
{
    const struct site_grant *g = NULL;
    char *url, *text;

    if (host_grant_store_grants(s->store, &g) != 1)
        die("there is not one grant");
    url = str_fmt("https://127.0.0.1:%d/%s", port, g[0].uid);
    text = site_token_text("west-token", url, g[0].code, s->server_ca.cert, 1);
    keep(s, "token.yaml", text);
    free(url);
    pki_wipe(text);
}

static void open_store(struct server *s, const char *allowed, const char *window)
{
    json_t *resources =
        json_pack("[{s:{s:s}, s:{s:i, s:s}}]", "metadata", "name", "the-grant", "spec",
                  "redemptionsAllowed", atoi(allowed), "expirationWindow", window);
    char *directory = path(s, "kept");
    struct why why = {""};

    if (host_grant_store_open(directory, &s->store, &why) < 0)
        die(why.text);
    host_grant_store_set(s->store, resources, time(NULL));
    json_decref(resources);
    free(directory);
}

static void stop(int number)
{
    (void)number;
    net_loop_stop(loop);
}

static void serve(struct server *s, const char *port, const char *patience_ms)
{
    char *cert = path(s, "tls.crt"), *key = path(s, "tls.key");
    struct host_grants_opts o = {.host = "127.0.0.1",
                                 .port = port,
                                 .cert_file = cert,
                                 .key_file = key,
                                 .patience_ms = (uint32_t)atoi(patience_ms),
                                 .grants = grants,
                                 .count = count,
                                 .give = give,
                                 .user = s};
    struct host_grants *server;
    struct why why = {""};

    if (net_loop_new(&(struct net_hooks){0}, 65536, &loop) < 0)
        die("no loop");
    if (host_grants_new(loop, &o, &server, &why) < 0)
        die(why.text);
    write_token(s, host_grants_port(server));
    signal(SIGTERM, stop);
    printf("listening on %d\n", host_grants_port(server));
    fflush(stdout);
    net_loop_run(loop);
    host_grants_free(server);
    net_loop_free(loop);
    free(cert);
    free(key);
}

static int run_server(char **args)
{
    struct server s = {.directory = args[0], .key = strcmp(args[5], "ec") == 0 ? PKI_EC : PKI_RSA};

    s.site_ca = have_ca(&s, "site-ca");
    s.server_ca = have_ca(&s, "server-ca");
    s.endpoints = json_pack("[{s:s, s:s, s:s}, {s:s, s:s, s:s}]", "name", "inter-router", "host",
                            "203.0.113.7", "port", "55671", "name", "edge", "host", "203.0.113.7",
                            "port", "45671");
    make_certificate(&s);
    open_store(&s, args[2], args[3]);
    serve(&s, args[1], args[4]);
    host_grant_store_free(s.store);
    json_decref(s.endpoints);
    pki_pair_fini(&s.site_ca);
    pki_pair_fini(&s.server_ca);
    return 0;
}

static int run_redeem(const char *file, const char *subject)
{
    struct site_token token = {0};
    struct site_links links = {0};
    struct why why = {""};
    char *text = NULL;
    size_t len = 0;
    int err = host_read(file, &text, &len, &why);

    if (err == 0)
        err = site_token_read(file, (struct str){text, len}, &token, &why);
    pki_wipe(text);
    if (err == 0)
        err = host_redeem(&token, subject, &links, &why);
    site_token_fini(&token);
    if (err < 0)
        die(why.text);
    text = site_links_text(&links);
    fputs(text, stdout);
    pki_wipe(text);
    site_links_fini(&links);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 8 && strcmp(argv[1], "serve") == 0)
        return run_server(argv + 2);
    if (argc == 4 && strcmp(argv[1], "redeem") == 0)
        return run_redeem(argv[2], argv[3]);
    die("grants serve DIRECTORY PORT ALLOWED WINDOW PATIENCE_MS rsa|ec, or grants redeem TOKEN "
        "SUBJECT");
}
