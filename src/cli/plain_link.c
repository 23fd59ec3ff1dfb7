// SPDX-License-Identifier: Apache-2.0
// Links and tokens of a site of version 1: Secrets, told apart by a label.
#include <stdlib.h>
#include <string.h>

#include "base/yaml.h"
#include "cli/plain.h"
#include "pki/pki.h"
#include "site/site.h"

static const char *mark_of(const json_t *object, const char *map, const char *key)
{
    const char *text = json_string_value(
        json_object_get(json_object_get(json_object_get(object, "metadata"), map), key));

    return text ? text : "";
}

const char *plain_note(const json_t *object, const char *key)
{
    return mark_of(object, "annotations", key);
}

static bool is_of_type(const json_t *secret, const char *type)
{
    return strcmp(mark_of(secret, "labels", PLAIN_TYPE), type) == 0;
}

bool plain_is_token(const json_t *secret)
{
    return is_of_type(secret, PLAIN_TOKEN);
}

// ----------------------------------------------------------------------------------------- shown

// Whether the network knows it to work: {name: true} of the links of the site's routers.
static json_t *links_up(const struct store *s, const char *uid)
{
    json_t *network = cli_network(s), *up = json_object(), *site, *router, *link;
    size_t i, k, n;

    json_array_foreach(json_object_get(network, "siteStatus"), i, site)
    {
        if (strcmp(site_text(site, "site.identity"), uid) != 0)
            continue;
        json_array_foreach(json_object_get(site, "routerStatus"), k, router)
        {
            json_array_foreach(json_object_get(router, "links"), n, link)
            {
                if (strcasecmp(site_text(link, "status"), "up") == 0)
                    json_object_set_new(up, site_text(link, "name"), json_true());
            }
        }
    }
    json_decref(network);
    return up;
}

static void status_of(const json_t *secret, bool is_up, const char **status, const char **message)
{
    const char *said = plain_note(secret, PLAIN_STATUS);

    *status = is_up ? "Ready" : "Pending";
    *message = is_up ? "OK" : "Not operational";
    if (is_of_type(secret, PLAIN_CLAIM)) {
        bool is_lost = plain_note(secret, PLAIN_FAILED)[0];

        *status = is_lost ? "Error" : "Pending";
        *message = said[0] ? said : "the claim is not redeemed yet";
    } else if (strcasecmp(mark_of(secret, "labels", "internal.skupper.io/disabled"), "true") == 0) {
        *message = "it is disabled by the label internal.skupper.io/disabled";
    }
}

static void add_endpoint(json_t *endpoints, const json_t *secret, const char *role)
{
    char *host = str_fmt("%s-host", role), *port = str_fmt("%s-port", role);

    if (plain_note(secret, host)[0])
        json_array_append_new(endpoints, json_pack("{s:s, s:s, s:s}", "name", role, "host",
                                                   plain_note(secret, host), "port",
                                                   plain_note(secret, port)));
    free(host);
    free(port);
}

static json_t *link_of(const json_t *secret, const json_t *up)
{
    const char *name = site_text(secret, "metadata.name"), *status, *message;
    json_t *endpoints = json_array(), *link;
    int64_t cost = 1;

    status_of(secret, json_object_get(up, name) != NULL, &status, &message);
    site_number(str_of(plain_note(secret, SITE_V1_COST)), 1, INT32_MAX, &cost);
    add_endpoint(endpoints, secret, "inter-router");
    add_endpoint(endpoints, secret, "edge");
    link = json_pack(
        "{s:s, s:s, s:{s:s, s:s, s:s}, s:{s:s, s:I, s:o}, s:{s:s, s:s, s:s, s:[{s:s, s:s}]}}",
        "apiVersion", "v1", "kind", "Link", "metadata", "name", name, "namespace",
        site_text(secret, "metadata.namespace"), "uid", site_text(secret, "metadata.uid"), "spec",
        "tlsCredentials", name, "cost", (json_int_t)cost, "endpoints", endpoints, "status",
        "status", status, "message", message, "remoteSiteId",
        plain_note(secret, PLAIN_GENERATED_BY), "conditions", "type", "Ready", "status",
        strcmp(status, "Ready") == 0 ? "True" : "False");
    return link;
}

json_t *plain_links(const struct store *s, const json_t *site, const char *name)
{
    json_t *secrets =
        cluster_labelled(s, "Secret", PLAIN_TYPE " in (" PLAIN_TOKEN "," PLAIN_CLAIM ")");
    const char *uid = site_text(site, "metadata.uid");
    json_t *up = s->cli->failure ? json_object() : links_up(s, uid), *links = json_array(), *one;
    size_t i;

    json_array_foreach(secrets, i, one)
    {
        // Our own tokens wait there to be carried away.
        if (strcmp(plain_note(one, PLAIN_GENERATED_BY), uid) != 0 &&
            (!name || strcmp(site_text(one, "metadata.name"), name) == 0))
            json_array_append_new(links, link_of(one, up));
    }
    json_decref(secrets);
    json_decref(up);
    return links;
}

json_t *plain_link_patch(const json_t *link)
{
    json_int_t cost = json_integer_value(site_get(link, "spec.cost"));

    return json_pack("{s:{s:{s:o}}}", "metadata", "annotations", SITE_V1_COST,
                     json_sprintf("%lld", (long long)cost));
}

// ---------------------------------------------------------------------------------------- tokens

json_t *plain_secret(const struct store *s, const json_t *site, const char *name, const char *type)
{
    return json_pack("{s:s, s:s, s:{s:s, s:s, s:{s:s}, s:[{s:s, s:s, s:s, s:s}]}}", "apiVersion",
                     "v1", "kind", "Secret", "metadata", "name", name, "namespace", s->ns, "labels",
                     PLAIN_TYPE, type, "ownerReferences", "apiVersion", "v1", "kind", "ConfigMap",
                     "name", PLAIN_MAP, "uid", site_text(site, "metadata.uid"));
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
    int err = host_write(file, str_of(text), PLAIN_TOKEN_MODE, &why);

    pki_wipe(text);
    json_decref(out);
    return err < 0 ? cli_fail(c, "%s", why.text) : EXIT_OK;
}

// Waits for the token that the controller makes of a request, and writes it.
static int issue_certificate(struct cli *c, struct store *s, const json_t *site, const char *name,
                             const struct token_wish *w)
{
    struct wish wish = {.words = "Waiting for token status ...",
                        .kind = "Secret",
                        .name = name,
                        .is_so = plain_is_token,
                        .until = mono_add_ms(mono_now(), w->wait_ms)};
    json_t *request = plain_secret(s, site, name, "connection-token-request"), *last = NULL;
    struct why why = {""};
    int status;

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
    json_decref(last);
    json_decref(request);
    return status;
}

int plain_issue(struct cli *c, struct store *s, const json_t *site, const struct token_wish *w)
{
    char id[PKI_UUID_LEN + 1];
    const char *name = w->name ? w->name : id;
    int status;

    pki_uuid(id);
    status = w->is_certificate ? issue_certificate(c, s, site, name, w)
                               : plain_issue_claim(c, s, site, name, w);
    if (status == EXIT_OK && strcmp(site_text(site, "spec.linkAccess"), "none") == 0)
        cli_say(c, "(Note: token will only be valid for local cluster)");
    return status;
}

// A Link as version 1 has it: a Secret with the ends in its annotations.
static json_t *link_secret(const struct store *s, const json_t *site, const json_t *link,
                           const json_t *secret)
{
    json_t *out = plain_secret(s, site, site_text(link, "metadata.name"), PLAIN_TOKEN);

    json_object_set_new(json_object_get(out, "metadata"), "annotations",
                        site_link_notes(secret, link));
    json_object_set(out, "data", json_object_get(secret, "data"));
    json_object_set(out, "stringData", json_object_get(secret, "stringData"));
    return out;
}

int plain_link(struct cli *c, struct store *s, const json_t *site, const struct site_links *links)
{
    struct why why = {""};
    json_t *link, *secret;
    size_t i;
    int err = 0;

    json_array_foreach(links->links, i, link)
    {
        if (err < 0)
            break;
        secret = link_secret(s, site, link, links->secret);
        err = store_put(s, secret, &why);
        json_decref(secret);
    }
    return err < 0 ? cli_fail(c, "%s", why.text) : EXIT_OK;
}
