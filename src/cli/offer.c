// SPDX-License-Identifier: Apache-2.0
// skupper link generate in a cluster: Links to this site with a certificate of its CA, printed for
// another site to apply.
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/yaml.h"
#include "cli/inside.h"
#include "site/site.h"

// The names under which others reach the site, as the subject of the certificate.
static char *hosts_of(const json_t *endpoints)
{
    char *out = str_fmt("%s", "");
    json_t *seen = json_object(), *e;
    size_t i;

    json_array_foreach((json_t *)(uintptr_t)endpoints, i, e)
    {
        const char *host = site_text(e, "host");
        char *longer;

        if (json_object_get(seen, host))
            continue;
        json_object_set_new(seen, host, json_true());
        longer = str_fmt("%s%s%s", out, out[0] ? "," : "", host);
        free(out);
        out = longer;
    }
    json_decref(seen);
    return out;
}

// It goes with the Site.
static json_t *certificate_of(const struct store *s, const json_t *site, const char *name)
{
    const char *issuer = site_text(site, "status.defaultIssuer");
    char *subject = hosts_of(site_get(site, "status.endpoints"));
    json_t *certificate = store_new(s, "Certificate", name);

    json_object_set_new(certificate, "spec",
                        json_pack("{s:s, s:s, s:b}", "ca", issuer[0] ? issuer : "skupper-site-ca",
                                  "subject", subject, "client", 1));
    json_object_set_new(json_object_get(certificate, "metadata"), "ownerReferences",
                        json_pack("[{s:s, s:s, s:s, s:s}]", "apiVersion", "skupper.io/v2alpha1",
                                  "kind", "Site", "name", site_text(site, "metadata.name"), "uid",
                                  site_text(site, "metadata.uid")));
    free(subject);
    return certificate;
}

// The Secret as it travels; NULL, the reason told.
static json_t *secret_of(struct cli *c, struct store *s, const json_t *site, const char *name)
{
    json_t *certificate = store_find(s, "Certificate", name), *made, *secret = NULL;
    struct wish wish = {.kind = "Certificate", .name = name, .until = cli_until(c, "timeout")};
    struct why why = {""};

    if (!certificate && !c->failure) {
        certificate = certificate_of(s, site, name);
        if (store_put(s, certificate, &why) < 0)
            c->failure = cli_fail(c, "%s", why.text);
    }
    if (!c->failure)
        c->failure = cli_await(c, s, &wish, "Ready");
    made = c->failure ? NULL : store_told(s, "Secret", name);
    if (made)
        secret = json_pack("{s:s, s:s, s:{s:s}, s:s, s:O}", "apiVersion", "v1", "kind", "Secret",
                           "metadata", "name", name, "type", "kubernetes.io/tls", "data",
                           json_object_get(made, "data"));
    else if (!c->failure)
        cli_fail(c, "the Secret \"%s\" of the Certificate is gone again: try once more", name);
    json_decref(made);
    json_decref(certificate);
    return secret;
}

// A Link for each group of endpoints: each router of the site is one.
static json_t *links_of(const json_t *site, const char *credentials, long cost)
{
    json_t *groups = json_object(), *links = json_array(), *e, *group;
    const char *key;
    size_t i;

    json_array_foreach((json_t *)(uintptr_t)site_get(site, "status.endpoints"), i, e)
    {
        group = json_object_get(groups, site_text(e, "group"));
        if (!group) {
            group = json_array();
            json_object_set_new(groups, site_text(e, "group"), group);
        }
        json_array_append(group, e);
    }
    json_object_foreach(groups, key, group)
    {
        char *name =
            str_fmt("link-%s%s%s", site_text(site, "metadata.name"), key[0] ? "-" : "", key);

        json_array_append_new(links, site_link_new(name, credentials, group, cost));
        free(name);
    }
    json_decref(groups);
    return links;
}

static void print_all(struct cli *c, const json_t *documents)
{
    const char *form = cli_text(c, "output");
    json_t *one;
    size_t i;

    json_array_foreach((json_t *)(uintptr_t)documents, i, one)
    {
        if (i > 0)
            fputs(strcmp(form, "json") == 0 ? "\n" : "---\n", c->out);
        cli_print(c, one, form);
    }
}

static void check(struct cli *c, const json_t *site)
{
    cli_check_timeout(c);
    if (cli_number(c, "cost") < 1)
        cli_problem(c, "cost is not valid: it must be 1 or more");
    if (cli_text(c, "tls-credentials")[0])
        cli_check_name(c, "tls-credentials", cli_text(c, "tls-credentials"));
    if (!cli_bool(c, "generate-credential") && !cli_text(c, "tls-credentials")[0])
        cli_problem(c, "without --generate-credential the name of the Secret at the other site is "
                       "needed: --tls-credentials");
    cli_check_active(c, site);
    if (cli_is_ready(site) && json_array_size(site_get(site, "status.endpoints")) == 0)
        cli_problem(c,
                    "A link cannot be generated because link access is not enabled: \"skupper site "
                    "update %s --enable-link-access\" enables it",
                    site_text(site, "metadata.name"));
}

int cli_offer_links(struct cli *c, struct store *s)
{
    json_t *site = store_site(s), *documents, *secret = NULL;
    const char *given = cli_text(c, "tls-credentials");
    char *name;
    int status;

    check(c, site);
    status = cli_verdict(c);
    name = given[0] ? str_fmt("%s", given) : str_fmt("link-%s", site_text(site, "metadata.name"));
    if (status == EXIT_OK && cli_bool(c, "generate-credential")) {
        secret = secret_of(c, s, site, name);
        status = secret ? EXIT_OK : EXIT_FAILED;
    }
    if (status == EXIT_OK) {
        documents = links_of(site, name, cli_number(c, "cost"));
        if (secret)
            json_array_append(documents, secret);
        print_all(c, documents);
        json_decref(documents);
    }
    free(name);
    json_decref(secret);
    json_decref(site);
    return status;
}
