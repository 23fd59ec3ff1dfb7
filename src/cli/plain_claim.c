// SPDX-License-Identifier: Apache-2.0
// Claims of version 1: one that this site gives is recorded in a Secret, one that it was given is a
// Secret that the controller redeems.
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/plain.h"
#include "pki/pki.h"
#include "site/site.h"

enum { CLAIM_MS = 60000 };
static const char VERSION[] = "skupper.io/site-version";
static const char EXPIRATION[] = "skupper.io/claim-expiration";

// ----------------------------------------------------------------------------------------- giving

static bool is_served(const json_t *record)
{
    return plain_note(record, PLAIN_URL)[0] != '\0';
}

// What is kept here of a claim.
static json_t *record_new(const struct store *s, const json_t *site,
                          const struct site_claim_token *t, long uses)
{
    json_t *record = plain_secret(s, site, t->name, "token-claim-record");
    json_t *notes = json_pack("{s:s}", VERSION, SITE_V1_VERSION);
    char *encoded = site_base64_write(t->password);

    if (t->expires[0])
        json_object_set_new(notes, EXPIRATION, json_string(t->expires));
    if (uses > 0)
        json_object_set_new(notes, "skupper.io/claims-remaining", json_sprintf("%ld", uses));
    json_object_set_new(json_object_get(record, "metadata"), "annotations", notes);
    json_object_set_new(record, "data", json_pack("{s:s}", "password", encoded));
    pki_wipe(encoded);
    return record;
}

static int write_claim(struct cli *c, const struct store *s, const char *file,
                       struct site_claim_token *t)
{
    json_t *authority = store_told(s, "Secret", "skupper-site-ca");
    char *ca = site_secret_get(authority, "tls.crt"), *text = NULL;
    struct why why = {""};
    int status = EXIT_OK;

    t->ca = ca;
    if (ca)
        text = site_claim_text(t);
    else
        status =
            c->failure ? c->failure : cli_fail(c, "the Secret skupper-site-ca has no certificate");
    if (text && host_write(file, str_of(text), PLAIN_TOKEN_MODE, &why) < 0)
        status = cli_fail(c, "%s", why.text);
    pki_wipe(text);
    free(ca);
    json_decref(authority);
    return status;
}

// The controller says in the record where it is redeemed. One that nobody got is taken away again.
static int have_served(struct cli *c, struct store *s, const struct token_wish *w,
                       struct site_claim_token *t)
{
    struct wish wish = {.words = "Waiting for token status ...",
                        .kind = "Secret",
                        .name = t->name,
                        .is_so = is_served,
                        .until = mono_add_ms(mono_now(), w->wait_ms)};
    json_t *last = NULL;
    struct why why = {""};
    int status;

    if (store_await(s, &wish, &last)) {
        t->url = plain_note(last, PLAIN_URL);
        status = write_claim(c, s, w->file, t);
    } else {
        status = c->failure
                     ? c->failure
                     : cli_fail(c,
                                "the controller has not said in time where the claim \"%s\" is "
                                "redeemed; Events and its log tell why",
                                t->name);
    }
    if (status != EXIT_OK)
        store_remove(s, "Secret", t->name, &why);
    json_decref(last);
    return status;
}

int plain_issue_claim(struct cli *c, struct store *s, const json_t *site, const char *name,
                      const struct token_wish *w)
{
    char password[PKI_CODE_LEN + 1], expires[SITE_TIME_MAX] = "";
    struct site_claim_token token = {.name = name,
                                     .site_id = site_text(site, "metadata.uid"),
                                     .password = password,
                                     .expires = expires};
    struct why why = {""};
    json_t *record;
    int status;

    pki_code(password);
    if (w->window_ms > 0)
        site_time_text(time(NULL) + w->window_ms / 1000, expires);
    record = record_new(s, site, &token, w->uses);
    status =
        store_put(s, record, &why) < 0 ? cli_fail(c, "%s", why.text) : have_served(c, s, w, &token);
    explicit_bzero(password, sizeof(password));
    json_decref(record);
    return status;
}

// --------------------------------------------------------------------------------------- redeeming

void plain_check_origin(struct cli *c, const struct store *s, const json_t *site,
                        const char *origin)
{
    json_t *links = plain_links(s, site, NULL), *one;
    size_t i;

    if (origin[0] && strcmp(origin, site_text(site, "metadata.uid")) == 0)
        cli_problem(c, "Can't create connection to self with token");
    json_array_foreach(links, i, one)
    {
        if (origin[0] && strcmp(site_text(one, "status.remoteSiteId"), origin) == 0)
            cli_problem(c, "Already connected to \"%s\", by the link \"%s\".", origin,
                        site_text(one, "metadata.name"));
    }
    json_decref(links);
}

char *plain_link_name(const struct store *s, const json_t *site)
{
    json_t *links = plain_links(s, site, NULL), *one;
    int64_t highest = 0, number;
    size_t i;

    json_array_foreach(links, i, one)
    {
        const char *name = site_text(one, "metadata.name");

        if (strncmp(name, "link", 4) == 0 && site_number(str_of(name + 4), 1, INT32_MAX, &number) &&
            number > highest)
            highest = number;
    }
    json_decref(links);
    return str_fmt("link%lld", (long long)highest + 1);
}

// A token of version 2 is no claim of version 1, but redeemed likewise: the controller is told so.
static json_t *claim_new(const struct store *s, const json_t *site, const struct site_token *t)
{
    json_t *claim = plain_secret(s, site, t->name, PLAIN_CLAIM);
    json_t *notes = json_pack("{s:s, s:s}", PLAIN_URL, t->url, VERSION, SITE_V1_VERSION);
    char *password = site_base64_write(t->code), *ca = site_base64_write(t->ca);
    char expires[SITE_TIME_MAX];

    if (t->kind == SITE_TOKEN_ACCESS)
        json_object_set_new(notes, SITE_CLAIM_KIND, json_string(SITE_CLAIM_IS_ACCESS));
    if (t->origin[0])
        json_object_set_new(notes, PLAIN_GENERATED_BY, json_string(t->origin));
    if (t->expires > 0) {
        site_time_text(t->expires, expires);
        json_object_set_new(notes, EXPIRATION, json_string(expires));
    }
    if (t->link_cost > 0)
        json_object_set_new(notes, SITE_V1_COST, json_sprintf("%lld", (long long)t->link_cost));
    json_object_set_new(json_object_get(claim, "metadata"), "annotations", notes);
    json_object_set_new(claim, "data", json_pack("{s:s, s:s}", "password", password, "ca.crt", ca));
    pki_wipe(password);
    free(ca);
    return claim;
}

static bool is_decided(const json_t *claim)
{
    return plain_is_token(claim) || plain_note(claim, PLAIN_FAILED)[0];
}

int plain_claim(struct cli *c, struct store *s, const json_t *site, const struct site_token *token)
{
    struct wish wish = {.words = "Waiting for token status ...",
                        .kind = "Secret",
                        .name = token->name,
                        .is_so = is_decided,
                        .until = mono_add_ms(mono_now(), CLAIM_MS)};
    json_t *claim = claim_new(s, site, token), *last = NULL;
    struct why why = {""};
    const char *said;
    int status = EXIT_OK;

    if (store_put(s, claim, &why) < 0) {
        status = cli_fail(c, "%s", why.text);
    } else if (!store_await(s, &wish, &last) || !plain_is_token(last)) {
        said = plain_note(last, PLAIN_STATUS);
        status = c->failure ? c->failure
                            : cli_fail(c, "Token \"%s\" has not been redeemed: %s", token->name,
                                       said[0] ? said : "the controller has not tried in time");
    }
    json_decref(last);
    json_decref(claim);
    return status;
}
