// SPDX-License-Identifier: Apache-2.0
// A site of version 1 in a cluster without our resource definitions: its ConfigMap skupper-site,
// shown as the Site that it stands for, and its links, which are Secrets.
#include <stdlib.h>
#include <string.h>

#include "base/yaml.h"
#include "cli/inside.h"
#include "pki/pki.h"
#include "site/site.h"

enum { TOKEN_MODE = 0600 };
static const char MAP[] = "skupper-site";
#define TYPE "skupper.io/type" // of a Secret
#define TOKEN "connection-token"
#define REQUEST "connection-token-request"

// Ways in are called otherwise in a Site.
static const char *const ways[][2] = {
    {"", "default"}, {"none", "none"}, {"nginx-ingress-v1", "ingress-nginx"}};

static const char *other_way(const char *word, int from)
{
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
        if (strcmp(ways[i][from], word) == 0)
            return ways[i][1 - from];
    return word;
}

// What the router's Deployment and the network's status tell.
static json_t *status_of(const struct store *s)
{
    json_t *deployment = store_told(s, "Deployment", "skupper-router"), *network = cli_network(s);
    bool is_up = json_integer_value(site_get(deployment, "status.readyReplicas")) > 0;
    const char *is = is_up ? "True" : "False";
    size_t sites = json_array_size(json_object_get(network, "siteStatus"));
    json_t *status =
        json_pack("{s:s, s:s, s:I, s:[{s:s, s:s}, {s:s, s:s}]}", "status",
                  is_up ? "Ready" : "Pending", "message",
                  is_up        ? "OK"
                  : deployment ? "its router is not ready"
                               : "no controller has taken it up: \"kubectl apply -f "
                                 "deploy/skupper-version-1.yaml\" installs one for the namespace",
                  "sitesInNetwork", (json_int_t)sites, "conditions", "type", "Running", "status",
                  is, "type", "Ready", "status", is);

    json_decref(deployment);
    json_decref(network);
    return status;
}

json_t *plain_site(const struct store *s)
{
    json_t *map = store_told(s, "ConfigMap", MAP), *site = NULL;
    const char *name = site_text(map, "data.name");

    if (map)
        site = json_pack("{s:s, s:s, s:{s:s, s:s, s:s}, s:{s:s}, s:o}", "apiVersion", "v1", "kind",
                         "Site", "metadata", "name", name[0] ? name : s->ns, "namespace", s->ns,
                         "uid", site_text(map, "metadata.uid"), "spec", "linkAccess",
                         other_way(site_text(map, "data.ingress"), 0), "status", status_of(s));
    json_decref(map);
    return site;
}

json_t *plain_map(const struct store *s, const json_t *site)
{
    const char *access = site_text(site, "spec.linkAccess");
    json_t *map = json_pack("{s:s, s:s, s:{s:s, s:s}, s:{s:s, s:s}}", "apiVersion", "v1", "kind",
                            "ConfigMap", "metadata", "name", MAP, "namespace", s->ns, "data",
                            "name", site_text(site, "metadata.name"), "ingress",
                            access[0] ? other_way(access, 1) : "none");
    json_t *data = json_object_get(map, "data");

    if (json_is_true(site_get(site, "spec.edge")))
        json_object_set_new(data, "router-mode", json_string("edge"));
    if (json_is_true(site_get(site, "spec.ha")))
        json_object_set_new(data, "routers", json_string("2"));
    return map;
}

bool plain_is(const json_t *site)
{
    return strcmp(site_text(site, "apiVersion"), "v1") == 0;
}

// ------------------------------------------------------------------------------------------- links

static json_t *secret_new(const struct store *s, const char *name, const char *type)
{
    return json_pack("{s:s, s:s, s:{s:s, s:s, s:{s:s}}}", "apiVersion", "v1", "kind", "Secret",
                     "metadata", "name", name, "namespace", s->ns, "labels", TYPE, type);
}

static bool is_token(const json_t *secret)
{
    const json_t *labels = site_get(secret, "metadata.labels");
    const char *type = json_string_value(json_object_get(labels, TYPE));

    return type && strcmp(type, TOKEN) == 0;
}

// What another site applies, or redeems.
static int write_token(struct cli *c, const json_t *secret, const char *file)
{
    json_t *out = json_pack(
        "{s:s, s:s, s:{s:O, s:O, s:O}, s:O}", "apiVersion", "v1", "kind", "Secret", "metadata",
        "name", site_get(secret, "metadata.name"), "labels", site_get(secret, "metadata.labels"),
        "annotations", site_get(secret, "metadata.annotations"), "data", site_get(secret, "data"));
    char *text = yaml_write(out, YAML_BLOCK);
    struct why why = {""};
    int err = host_write(file, str_of(text), TOKEN_MODE, &why);

    pki_wipe(text);
    json_decref(out);
    return err < 0 ? cli_fail(c, "%s", why.text) : EXIT_OK;
}

int plain_issue(struct cli *c, struct store *s, const json_t *site, const struct token_wish *w)
{
    char id[PKI_UUID_LEN + 1], *name;
    struct wish wish = {
        .words = "Waiting for token status ...", .kind = "Secret", .is_so = is_token};
    json_t *request, *last = NULL;
    struct why why = {""};
    int status = EXIT_OK;

    pki_uuid(id);
    name = str_fmt("skupper-token-%s", id);
    wish.name = name;
    wish.until = mono_add_ms(mono_now(), w->wait_ms);
    request = secret_new(s, name, REQUEST);
    if (store_put(s, request, &why) < 0)
        status = cli_fail(c, "%s", why.text);
    else if (store_await(s, &wish, &last))
        status = write_token(c, last, w->file);
    else
        status = c->failure
                     ? c->failure
                     : cli_fail(c, "the controller has not made the token \"%s\" in time", name);
    if (status == EXIT_OK)
        cli_say(c, "It can be used by whoever has it, as often as they like, for as long as its "
                   "certificate is valid.");
    if (status == EXIT_OK && strcmp(site_text(site, "spec.linkAccess"), "none") == 0)
        cli_say(c, "(Note: token will only be valid for local cluster)");
    json_decref(last);
    json_decref(request);
    free(name);
    return status;
}

// A Link as version 1 has it: a Secret with the ends in its annotations.
static json_t *link_secret(const struct store *s, const json_t *link, const json_t *secret)
{
    json_t *out = secret_new(s, site_text(link, "metadata.name"), TOKEN), *e;
    json_t *notes = json_object();
    const json_t *cost = site_get(link, "spec.cost");
    size_t i;

    json_array_foreach((json_t *)(uintptr_t)site_get(link, "spec.endpoints"), i, e)
    {
        char *host = str_fmt("%s-host", site_text(e, "name"));
        char *port = str_fmt("%s-port", site_text(e, "name"));

        json_object_set(notes, host, json_object_get(e, "host"));
        json_object_set(notes, port, json_object_get(e, "port"));
        free(host);
        free(port);
    }
    if (json_is_integer(cost))
        json_object_set_new(notes, "skupper.io/cost",
                            json_sprintf("%lld", (long long)json_integer_value(cost)));
    json_object_set_new(json_object_get(out, "metadata"), "annotations", notes);
    json_object_set(out, "data", json_object_get(secret, "data"));
    json_object_set(out, "stringData", json_object_get(secret, "stringData"));
    return out;
}

int plain_link(struct cli *c, struct store *s, const struct site_links *links)
{
    struct why why = {""};
    json_t *link, *secret;
    size_t i;
    int err = 0;

    json_array_foreach(links->links, i, link)
    {
        if (err < 0)
            break;
        secret = link_secret(s, link, links->secret);
        err = store_put(s, secret, &why);
        json_decref(secret);
    }
    return err < 0 ? cli_fail(c, "%s", why.text) : EXIT_OK;
}
