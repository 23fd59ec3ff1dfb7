// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/mem.h"
#include "host/inside.h"
#include "net/net.h"
#include "pki/pki.h"

#define SERVER "skupper-grant-server"
#define SERVER_CA SERVER "-ca"
#define PORT_KEY SERVER "/https"
enum { FIRST_PORT = 9090, PORT_TRIES = 8, AGAIN_MS = 2000 };

struct granting {
    struct net_loop *loop;
    const struct host_paths *paths;
    struct memory *memory;
    struct host_grant_store *store;
    struct host_grants *server; // NULL: nobody is served yet
    json_t *endpoints;
    char *issuer;
    char *trouble; // why nobody is served, though it is wanted; ""
    bool is_wanted;
    void (*changed)(void *user);
    void *user;
    struct net_timer again;
};

static char *certificate_file(const struct granting *g, const char *file)
{
    return host_path(g->paths, "runtime/certs/" SERVER "/%s", file);
}

static size_t grants(void *user, const struct site_grant **out)
{
    struct granting *g = user;

    return host_grant_store_grants(g->store, out);
}

static int count_one(void *user, size_t index, uint64_t number, struct why *why)
{
    struct granting *g = user;

    (void)number;
    return host_grant_store_count(g->store, index, why);
}

static int read_issuer(const struct granting *g, const char *file, char **text, struct why *why)
{
    char *directory = certs_directory(g->paths, g->issuer, true);
    char *path = str_fmt("%s/%s", directory, file);
    size_t len = 0;
    int err = host_read(path, text, &len, why);

    free(path);
    free(directory);
    return err;
}

static int give(void *user, size_t index, const char *name, const char *subject, char **text,
                struct why *why)
{
    struct granting *g = user;
    char *cert = NULL, *key = NULL;
    int err = read_issuer(g, "tls.crt", &cert, why);

    (void)index;
    if (!err)
        err = read_issuer(g, "tls.key", &key, why);
    if (!err)
        err = host_grant_links(str_of(cert), str_of(key), g->endpoints, name, subject, PKI_EC,
                               time(NULL), text, why);
    free(cert);
    pki_wipe(key);
    return err;
}

static void fire(void *user, struct mono now)
{
    struct granting *g = user;

    (void)now;
    g->changed(g->user);
}

int granting_new(struct net_loop *loop, const struct host_paths *paths, struct memory *m,
                 void (*changed)(void *user), void *user, struct granting **out, struct why *why)
{
    struct granting *g = xcalloc(1, sizeof(*g));
    char *directory = host_path(paths, "runtime/grants");
    int err = host_make_directory(directory, why);

    *g = (struct granting){.loop = loop,
                           .paths = paths,
                           .memory = m,
                           .issuer = xstrdup(""),
                           .trouble = xstrdup(""),
                           .changed = changed,
                           .user = user,
                           .again = {.fire = fire, .user = g}};
    if (!err)
        err = host_grant_store_open(directory, &g->store, why);
    free(directory);
    if (err < 0) {
        granting_free(g);
        return err;
    }
    *out = g;
    return 0;
}

void granting_free(struct granting *g)
{
    if (!g)
        return;
    host_grants_free(g->server);
    host_grant_store_free(g->store);
    json_decref(g->endpoints);
    free(g->issuer);
    free(g->trouble);
    net_timer_cancel(g->loop, &g->again);
    free(g);
}

static json_t *resources_of(const struct site_input *inputs, size_t count)
{
    json_t *list = json_array();

    for (size_t i = 0; i < count; i++)
        if (strcmp(site_text(inputs[i].value, "kind"), "AccessGrant") == 0)
            json_array_append(list, (json_t *)(uintptr_t)inputs[i].value);
    return list;
}

void granting_wishes(const struct granting *g, const struct site_input *inputs, size_t count,
                     const json_t *hosts, json_t *wishes)
{
    json_t *grants_now = resources_of(inputs, count), *names;
    bool has_one = json_array_size(grants_now) > 0 || g->is_wanted;

    json_decref(grants_now);
    if (!has_one)
        return;
    names = json_deep_copy(hosts);
    json_array_append_new(names, json_string("localhost"));
    json_array_append_new(names, json_string("127.0.0.1"));
    json_array_append_new(wishes, json_pack("{s:s, s:s, s:s, s:[], s:b, s:b}", "name", SERVER_CA,
                                            "ca", "", "subject", "SkupperGrantServerCA", "hosts",
                                            "signing", 1, "ours", 1));
    json_array_append_new(wishes,
                          json_pack("{s:s, s:s, s:s, s:o, s:b}", "name", SERVER, "ca", SERVER_CA,
                                    "subject", SERVER, "hosts", names, "server", 1));
}

static int port_of(struct granting *g)
{
    json_t *wish = json_pack("[{s:s, s:s, s:i}]", "key", PORT_KEY, "host", "", "from", FIRST_PORT);

    memory_choose_ports(g->memory, wish);
    json_decref(wish);
    return (int)json_integer_value(json_object_get(memory_object(g->memory, "ports"), PORT_KEY));
}

// A port that was free when it was chosen may be somebody else's by now: then another one serves,
// which the grants tell of. Or somebody was just trying whether it is free.
static int listen_somewhere(struct granting *g, struct host_grants_opts *opts, struct why *why)
{
    char port[16];
    int err = ERR_IO;

    opts->port = port;
    for (int i = 0; i < PORT_TRIES && err < 0; i++) {
        snprintf(port, sizeof(port), "%d", port_of(g));
        err = host_grants_new(g->loop, opts, &g->server, why);
        if (err < 0 && memory_release_port(g->memory, PORT_KEY))
            log_write(LOG_AGENT, LOG_WARNING, "tokens are not redeemed at port %s any more: %s",
                      port, why->text);
    }
    return err;
}

// The server, once its certificate is there.
static int serve(struct granting *g, struct why *why)
{
    char *cert = certificate_file(g, "tls.crt"), *key = certificate_file(g, "tls.key");
    struct host_grants_opts opts = {.cert_file = cert,
                                    .key_file = key,
                                    .grants = grants,
                                    .count = count_one,
                                    .give = give,
                                    .user = g};
    int err;

    err = g->server ? host_grants_reload(g->server, why) : listen_somewhere(g, &opts, why);
    free(cert);
    free(key);
    return err;
}

// Until it goes well it is tried again, and the grants say why.
static void serve_or_tell(struct granting *g)
{
    struct why why = {""};
    bool is_new;

    if (serve(g, &why) == 0)
        why = (struct why){""};
    else
        net_timer_set(g->loop, &g->again, mono_add_ms(net_loop_now(g->loop), AGAIN_MS));
    is_new = strcmp(g->trouble, why.text) != 0;
    if (is_new && why.text[0])
        log_write(LOG_AGENT, LOG_ERROR, "grants are not served, and it is tried again: %s",
                  why.text);
    free(g->trouble);
    g->trouble = xstrdup(why.text);
}

bool granting_set(struct granting *g, const struct site_input *inputs, size_t count,
                  const struct granting_place *place, int64_t now)
{
    json_t *list = resources_of(inputs, count);
    bool is_new = host_grant_store_set(g->store, list, now);

    g->is_wanted = json_array_size(list) > 0 && json_array_size(place->endpoints) > 0;
    json_decref(list);
    json_decref(g->endpoints);
    g->endpoints = json_deep_copy(place->endpoints);
    free(g->issuer);
    g->issuer = xstrdup(place->issuer);
    if (!g->is_wanted) { // nothing is open that nobody needs
        host_grants_free(g->server);
        g->server = NULL;
    }
    if (g->is_wanted && !g->server) {
        serve_or_tell(g);
        is_new = true;
    }
    return is_new;
}

int granting_reload(struct granting *g, struct why *why)
{
    return g->server ? serve(g, why) : 0;
}

json_t *granting_facts(const struct granting *g)
{
    char *path = certificate_file(g, "ca.crt"), *ca = NULL, *server = NULL;
    const char *host = site_text(json_array_get(g->endpoints, 0), "host");
    size_t len = 0;
    json_t *facts, *fact;
    const char *name;

    if (host_read(path, &ca, &len, NULL) < 0)
        ca = xstrdup("");
    if (g->server && host[0])
        server = strchr(host, ':') ? str_fmt("[%s]:%d", host, host_grants_port(g->server))
                                   : str_fmt("%s:%d", host, host_grants_port(g->server));
    facts = host_grant_store_facts(g->store, server ? server : "", ca);
    if (g->is_wanted && !g->server && g->trouble[0])
        json_object_foreach(facts, name, fact)
            json_object_set_new(fact, "trouble", json_string(g->trouble));
    free(server);
    free(ca);
    free(path);
    return facts;
}
