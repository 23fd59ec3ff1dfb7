// SPDX-License-Identifier: Apache-2.0
// skupper token …: a file that lets another site link to this one, made here and redeemed there.
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "cli/inside.h"
#include "pki/pki.h"
#include "site/site.h"

enum { TOKEN_MODE = 0600, WINDOW_MIN_MS = 60000, TOKEN_MS = 60000 };

static const struct flag issue_flags[] = {
    {"redemptions-allowed", 'r', FLAG_NUMBER, "1", "how often it can be used", 0, NULL},
    {"expiration-window", 'e', FLAG_DURATION, "15m", "how long it can be used", 0, NULL},
    {"timeout", 't', FLAG_DURATION, "60s", "how long to wait", 0, NULL},
    {"cost", 0, FLAG_NUMBER, "1", "what a message over the link costs", 0, NULL},
    {0},
};
static const struct flag redeem_flags[] = {
    {"timeout", 't', FLAG_DURATION, "60s", "how long to wait", 0, NULL},
    {0},
};

// ------------------------------------------------------------------------------------------ issue

// In a cluster a RouterAccess of the user's own will do.
static bool has_access(const struct cli *c, const json_t *site)
{
    const char *mode = site_text(site, "spec.linkAccess");

    return (mode[0] && strcmp(mode, "none") != 0) || plain_is(site) ||
           (c->platform == ON_KUBERNETES &&
            json_array_size(site_get(site, "status.endpoints")) > 0);
}

static void check_file(struct cli *c, const char *file)
{
    const char *slash = strrchr(file, '/');
    char *folder = slash == file ? str_fmt("/")
                   : slash       ? str_dup((struct str){file, (size_t)(slash - file)})
                                 : str_fmt(".");
    struct stat st;

    if (stat(file, &st) == 0 && S_ISDIR(st.st_mode))
        cli_problem(c, "token file is not valid: %s is a directory; name a file in it", file);
    else if (access(folder, W_OK) != 0)
        cli_problem(c, "token file is not valid: %s cannot be written: %s: %s", file, folder,
                    strerror(errno));
    free(folder);
}

// In version 1 a claim of no uses, or no end, is one without limits.
static void check_plain(struct cli *c, const struct token_wish *w)
{
    if (w->uses < 0)
        cli_problem(c, "number of redemptions is not valid: it must be 0 (no limit) or more");
    check_file(c, w->file);
}

static void check_issue(struct cli *c, const struct token_wish *w, const json_t *site,
                        const struct store *s)
{
    if (!site && !c->failure)
        cli_problem(
            c,
            "A site must exist in namespace %s before a token can be created: \"skupper site "
            "create <name> --enable-link-access\"",
            s->ns);
    else if (json_is_true(site_get(site, "spec.edge")))
        cli_problem(c, "Edge sites cannot accept incoming links from remote sites");
    else if (site && !has_access(c, site))
        cli_problem(c,
                    "You must enable link access for this site before you can create a token: "
                    "\"skupper site update %s --enable-link-access\"",
                    site_text(site, "metadata.name"));
    else if (site && c->platform == ON_KUBERNETES)
        cli_check_active(c, site);
    else if (site && !store_is_running(s))
        cli_problem(c, "The site is not running: \"skupper system start\" starts it");
    if (w->is_certificate && site && !plain_is(site))
        cli_problem(c,
                    "token-type is not valid: a site with resource definitions issues no "
                    "certificates as tokens; \"skupper link generate\" prints a link that can be "
                    "used as often as one likes");
    if (w->name)
        cli_check_name(c, "name", w->name);
    if (plain_is(site)) {
        check_plain(c, w);
        return;
    }
    if (w->uses < 1)
        cli_problem(c, "number of redemptions is not valid: it must be 1 or more");
    if (w->window_ms < WINDOW_MIN_MS)
        cli_problem(c, "expiration time is not valid: duration must not be less than 1m; got %s",
                    w->window);
    if (w->cost < 1)
        cli_problem(c, "cost is not valid: it must be 1 or more");
    check_file(c, w->file);
}

static int write_token(struct cli *c, const struct token_wish *w, const json_t *grant)
{
    struct why why = {""};
    char *text =
        site_token_text(site_text(grant, "metadata.name"), site_text(grant, "status.url"),
                        site_text(grant, "status.code"), site_text(grant, "status.ca"), w->cost);
    int err = host_write(w->file, str_of(text), TOKEN_MODE, &why);

    pki_wipe(text);
    return err < 0 ? cli_fail(c, "%s", why.text) : EXIT_OK;
}

static int issue(struct cli *c, const struct token_wish *w, struct store *s, const json_t *site)
{
    struct wish wish = {
        .words = "Waiting for token status ...", .kind = "AccessGrant", .is_so = cli_is_ready};
    char id[PKI_UUID_LEN + 1];
    char *name;
    struct why why = {""};
    json_t *grant, *last = NULL;
    int status;

    pki_uuid(id);
    name = str_fmt("%s-%s", site_text(site, "metadata.name"), id);
    grant = store_new(s, "AccessGrant", name);
    json_object_set_new(grant, "spec",
                        json_pack("{s:I, s:s}", "redemptionsAllowed", (json_int_t)w->uses,
                                  "expirationWindow", w->window));
    wish.name = name;
    wish.until = mono_add_ms(mono_now(), w->wait_ms);
    if (store_put(s, grant, &why) < 0)
        status = cli_fail(c, "%s", why.text);
    else if (store_await(s, &wish, &last))
        status = write_token(c, w, last);
    else if (!c->failure)
        status =
            cli_fail(c, "grant \"%s\" not ready yet, check the status for more information: %s",
                     name, last ? cli_message_of(c, last) : "the agent told nothing");
    else
        status = c->failure;
    if (status == EXIT_OK)
        cli_say(c, "\nGrant \"%s\" is ready", name);
    json_decref(last);
    json_decref(grant);
    free(name);
    return status;
}

int cli_issue_token(struct cli *c, struct store *s, const struct token_wish *w)
{
    json_t *site = store_site(s);
    int status;

    check_issue(c, w, site, s);
    status = cli_verdict(c);
    if (status == EXIT_OK)
        status = plain_is(site) ? plain_issue(c, s, site, w) : issue(c, w, s, site);
    json_decref(site);
    return status;
}

static int run_issue(struct cli *c, struct store *s)
{
    struct token_wish wish = {.file = c->args[0],
                              .uses = cli_number(c, "redemptions-allowed"),
                              .window = cli_text(c, "expiration-window"),
                              .window_ms = cli_duration_ms(c, "expiration-window"),
                              .cost = cli_number(c, "cost"),
                              .wait_ms = cli_duration_ms(c, "timeout")};
    char window[SITE_DURATION_MAX];
    int status;

    if (c->platform == ON_KUBERNETES)
        cli_check_timeout(c);
    status = cli_issue_token(c, s, &wish);
    if (status != EXIT_OK)
        return status;
    site_duration_text(wish.window_ms * 1000000, window);
    cli_say(c, "Token file %s created\n", wish.file);
    cli_say(c, "Transfer this file to a remote site. At the remote site,\n"
               "create a link to this site using the \"skupper token redeem\" command:\n");
    cli_say(c, "\tskupper token redeem %s\n", wish.file);
    cli_say(c, "The token expires after %ld use(s) or after %s.", wish.uses, window);
    return EXIT_OK;
}

// ----------------------------------------------------------------------------------------- redeem

static int store_one(struct store *s, json_t *resource, struct why *why)
{
    if (s->cli->platform == ON_KUBERNETES || strcmp(s->ns, "default") != 0)
        json_object_set_new(json_object_get(resource, "metadata"), "namespace", json_string(s->ns));
    return store_put(s, resource, why);
}

// In a cluster the Secret is its Links', and goes with them. One that is there is not replaced.
static int create_links(struct cli *c, struct store *s, const struct site_links *links)
{
    const char *name = site_text(links->secret, "metadata.name");
    json_t *old = links->secret ? store_told(s, "Secret", name) : NULL;
    json_t *owners = json_array(), *link;
    struct why why = {""};
    size_t i;
    int err = 0;

    if (old)
        cli_problem(c,
                    "there is a Secret \"%s\" in the namespace %s already, which is left as it is: "
                    "delete it first, or give the link another name (skupper link create --name)",
                    name, s->ns);
    json_decref(old);
    if (cli_verdict(c) == EXIT_OK)
        json_array_foreach(links->links, i, link)
        {
            if (!err)
                err = store_one(s, link, &why);
            json_array_append_new(owners, json_pack("{s:s, s:s, s:s, s:s}", "apiVersion",
                                                    "skupper.io/v2alpha1", "kind", "Link", "name",
                                                    site_text(link, "metadata.name"), "uid",
                                                    site_text(link, "metadata.uid")));
        }
    if (!err && links->secret && cli_verdict(c) == EXIT_OK) {
        json_object_set(json_object_get(links->secret, "metadata"), "ownerReferences", owners);
        err = store_one(s, links->secret, &why);
    }
    json_decref(owners);
    return err < 0 ? cli_fail(c, "%s", why.text) : cli_verdict(c);
}

int cli_store_links(struct cli *c, struct store *s, const struct site_links *links)
{
    struct why why = {""};
    json_t *link;
    size_t i;
    int err = 0;

    if (c->platform == ON_KUBERNETES) {
        json_t *site = store_site(s);
        int status = plain_is(site) ? plain_link(c, s, site, links) : create_links(c, s, links);

        json_decref(site);
        return status;
    }
    // The Secret first, so that a link never waits for it.
    if (links->secret)
        err = store_one(s, links->secret, &why);
    json_array_foreach(links->links, i, link)
    {
        if (!err)
            err = store_one(s, link, &why);
    }
    return err < 0 ? cli_fail(c, "%s", why.text) : EXIT_OK;
}

// One Link gets the name, several get it with a number each.
static void rename_links(struct site_links *links, const char *name)
{
    size_t i, count = json_array_size(links->links);
    json_t *link;

    json_array_foreach(links->links, i, link)
        json_object_set_new(json_object_get(link, "metadata"), "name",
                            count == 1 ? json_string(name) : json_sprintf("%s-%zu", name, i + 1));
}

// A claim that somebody redeems for the site: in a cluster its controller does.
static int hand_over(struct cli *c, struct store *s, const struct site_token *token)
{
    json_t *resource = store_new(s, "AccessToken", token->name), *spec;
    struct wish wish = {.words = "Waiting for token status ...",
                        .kind = "AccessToken",
                        .name = token->name,
                        .until = mono_add_ms(mono_now(), TOKEN_MS)};
    struct why why = {""};
    int err;

    spec = json_pack("{s:s, s:s, s:s}", "url", token->url, "code", token->code, "ca", token->ca);
    if (token->link_cost > 0)
        json_object_set_new(spec, "linkCost", json_integer(token->link_cost));
    json_object_set_new(resource, "spec", spec);
    if (cli_has_flag(c, "timeout"))
        wish.until = cli_until(c, "timeout");
    err = store_put(s, resource, &why);
    json_decref(resource);
    return err < 0 ? cli_fail(c, "%s", why.text) : cli_await(c, s, &wish, "Redeemed");
}

// In a cluster a token is redeemed for a site that runs.
static int check_redeem(struct cli *c, const struct store *s, const json_t *site,
                        const struct site_token *token)
{
    if (c->platform != ON_KUBERNETES)
        return EXIT_OK;
    if (cli_has_flag(c, "timeout"))
        cli_check_timeout(c);
    cli_check_active(c, site);
    if (plain_is(site))
        plain_check_origin(c, s, site, token->origin ? token->origin : "");
    return cli_verdict(c);
}

// In a cluster the site's controller redeems what it can.
static int take_for(struct cli *c, struct store *s, const json_t *site, struct site_token *token,
                    const char *name, long cost)
{
    struct site_links links = {0};
    struct why why = {""};
    int status = check_redeem(c, s, site, token);

    if (status != EXIT_OK)
        return status;
    if (token->kind != SITE_TOKEN_LINKS && plain_is(site))
        return plain_claim(c, s, site, token);
    if (token->kind == SITE_TOKEN_ACCESS && c->platform == ON_KUBERNETES)
        return hand_over(c, s, token);
    if (token->kind == SITE_TOKEN_LINKS) {
        links = token->links;
        token->links = (struct site_links){0};
        site_links_set_cost(&links, cost);
        if (name)
            rename_links(&links, name);
    } else if (host_redeem(token, s->ns, &links, &why) < 0) {
        status = cli_fail(c, "Token \"%s\" has not been redeemed: %s", token->name, why.text);
    }
    if (status == EXIT_OK)
        status = cli_store_links(c, s, &links);
    site_links_fini(&links);
    return status;
}

static int take(struct cli *c, struct store *s, struct site_token *token, const char *name,
                long cost)
{
    json_t *site = c->platform == ON_KUBERNETES ? store_site(s) : NULL;
    int status = take_for(c, s, site, token, name, cost);

    json_decref(site);
    return status;
}

bool cli_read_token(struct cli *c, const char *file, struct site_token *out)
{
    struct why why = {""};
    char *text = NULL;
    size_t len = 0;
    bool is_read = host_read(file, &text, &len, &why) == 0 &&
                   site_token_read(file, (struct str){text, len}, out, &why) == 0;

    pki_wipe(text);
    if (!is_read)
        cli_problem(c, "%s", why.text);
    return is_read;
}

int cli_redeem(struct cli *c, struct store *s, const char *file, const char *name, long cost)
{
    struct site_token token;
    int status;

    if (!cli_read_token(c, file, &token))
        return EXIT_INVALID;
    if (name) {
        free(token.name);
        token.name = str_dup(str_of(name));
    }
    if (cost > 0)
        token.link_cost = cost;
    status = take(c, s, &token, name, cost);
    if (status == EXIT_OK)
        cli_say(c, "Token \"%s\" has been redeemed.", token.name);
    site_token_fini(&token);
    return status;
}

static int run_redeem(struct cli *c, struct store *s)
{
    return cli_redeem(c, s, c->args[0], NULL, 0);
}

const struct command cli_token_commands[] = {
    {.name = "token issue",
     .args = "<file>",
     .summary = "Writes a token that lets another site link to this one",
     .args_min = 1,
     .args_max = 1,
     .platforms = ON_LINUX | ON_KUBERNETES,
     .later = ON_PODMAN | ON_DOCKER,
     .flags = issue_flags,
     .run_on = run_issue},
    {.name = "token redeem",
     .args = "<file>",
     .summary = "Links this site to the one that issued the token",
     .args_min = 1,
     .args_max = 1,
     .flags = redeem_flags,
     .run_on = run_redeem},
    {0},
};
