// SPDX-License-Identifier: Apache-2.0
// skupper link …
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "cli/inside.h"
#include "site/site.h"

static const struct flag generate_flags[] = {
    {"name", 0, FLAG_TEXT, "", "the RouterAccess to link to (default: the site's own)", ON_HOSTS,
     NULL},
    {"host", 0, FLAG_TEXT, "", "the name or address the other site reaches this one by", ON_HOSTS,
     NULL},
    {"tls-credentials", 0, FLAG_TEXT, "", "name of the Secret of the link", ON_KUBERNETES, NULL},
    {"generate-credential", 0, FLAG_BOOL, "true", "make the Secret, too", ON_KUBERNETES, NULL},
    {"cost", 0, FLAG_NUMBER, "1", "what a message over it costs", ON_KUBERNETES, NULL},
    {"timeout", 0, FLAG_DURATION, "60s", "how long to wait", ON_KUBERNETES, NULL},
    {"output", 'o', FLAG_TEXT, "yaml", "form", ON_KUBERNETES, "json|yaml"},
    {0},
};
static const struct flag update_flags[] = {
    {"cost", 0, FLAG_NUMBER, "1", "what a message over it costs", 0, NULL},
    {"tls-credentials", 0, FLAG_TEXT, "", "name of the Secret to use", 0, NULL},
    {"timeout", 0, FLAG_DURATION, "60s", "how long to wait", 0, NULL},
    {"wait", 0, FLAG_TEXT, "ready", "for what", ON_KUBERNETES, "ready|configured|none"},
    {0},
};
static const struct flag status_flags[] = {
    {"wait", 0, FLAG_NUMBER, "0", "seconds to wait for links that do not work yet", 0, NULL},
    {"output", 'o', FLAG_TEXT, "", "form", 0, "json|yaml"},
    {0},
};
static const struct flag delete_flags[] = {
    {"timeout", 0, FLAG_DURATION, "60s", "how long to wait", 0, NULL},
    {"wait", 0, FLAG_BOOL, "true", "until it is gone", ON_KUBERNETES, NULL},
    {0},
};

// Does a file called link-<access>-<host>.yaml belong to what was asked for?
static bool is_asked(const struct cli *c, const char *file)
{
    const char *access = cli_text(c, "name"), *host = cli_text(c, "host");
    char *start = str_fmt("link-%s", access), *end = str_fmt("-%s.yaml", host);
    size_t len = strlen(file), tail = strlen(end);
    bool is =
        (!access[0] || (strncmp(file, start, strlen(start)) == 0 && file[strlen(start)] == '-')) &&
        (!host[0] || (len > tail && strcmp(file + len - tail, end) == 0));

    free(start);
    free(end);
    return is;
}

// On a host the agent has made them.
static int print_link(struct cli *c, const struct store *s)
{
    char *directory = host_path(&s->paths, "runtime/links"), **names, *text = NULL;
    size_t len = 0;
    int status = EXIT_OK;

    names = host_list(directory, ".yaml");
    for (size_t i = 0; names[i] && !text; i++) {
        char *path = str_fmt("%s/%s", directory, names[i]);
        struct why why = {""};

        if (is_asked(c, names[i]) && host_read(path, &text, &len, &why) < 0)
            cli_say(c, "%s", why.text);
        free(path);
    }
    if (text)
        fputs(text, c->out);
    else if (names[0])
        status = cli_fail(c, "no tokens found for what was asked; there are %s and others in %s",
                          names[0], directory);
    else
        status =
            cli_fail(c, "this site is not enabled for link access, there are no links created: "
                        "\"skupper site update <name> --enable-link-access\" enables it");
    free(text);
    host_names_free(names);
    free(directory);
    return status;
}

static int run_generate(struct cli *c, struct store *s)
{
    return c->platform == ON_KUBERNETES ? cli_offer_links(c, s) : print_link(c, s);
}

static long cost_of(const json_t *link)
{
    long cost = (long)json_integer_value(site_get(link, "spec.cost"));

    return cost > 0 ? cost : 1;
}

static void print_one(struct cli *c, const json_t *link)
{
    cli_say(c, "Name\t: %s", site_text(link, "metadata.name"));
    cli_say(c, "Status\t: %s", cli_status_of(link));
    cli_say(c, "Cost\t: %ld", cost_of(link));
    cli_say(c, "Message\t: %s", cli_message_of(c, link));
}

static void print_table(struct cli *c, const json_t *links)
{
    struct table t;
    json_t *link;
    size_t i;

    table_init(&t, "NAME\tSTATUS\tCOST\tMESSAGE");
    json_array_foreach((json_t *)(uintptr_t)links, i, link)
    {
        table_row(&t, "%s\t%s\t%ld\t%s", site_text(link, "metadata.name"), cli_status_of(link),
                  cost_of(link), cli_message_of(c, link));
    }
    table_print(&t, c->out);
}

// Until the link that is asked for, or each, works, or the time is over.
static void await_links(const struct cli *c, const struct store *s)
{
    struct mono until = mono_add_ms(mono_now(), (int64_t)cli_number(c, "wait") * 1000);
    json_t *links = store_shown(s, "Link"), *link;
    size_t i;

    json_array_foreach(links, i, link)
    {
        struct wish wish = {.kind = "Link",
                            .name = site_text(link, "metadata.name"),
                            .is_so = cli_is_ready,
                            .until = until};
        json_t *last = NULL;

        if (c->arg_count == 0 || strcmp(wish.name, c->args[0]) == 0)
            store_await(s, &wish, &last);
        json_decref(last);
    }
    json_decref(links);
}

static int run_status(struct cli *c, struct store *s)
{
    json_t *links, *link, *named = NULL;
    const char *form = cli_text(c, "output");
    int status = EXIT_OK;
    size_t i;

    if (cli_number(c, "wait") > 0)
        await_links(c, s);
    links = store_shown(s, "Link");
    json_array_foreach(links, i, link)
    {
        if (c->arg_count && strcmp(site_text(link, "metadata.name"), c->args[0]) == 0)
            named = link;
    }
    if (c->failure) {
        status = c->failure;
    } else if (c->arg_count && !named) {
        cli_problem(c, "there is no link \"%s\" in the namespace \"%s\"", c->args[0], s->ns);
        status = EXIT_INVALID;
    } else if (json_array_size(links) == 0) {
        cli_say(c, "There are no link resources in the namespace");
    } else if (named && form[0]) {
        cli_print(c, named, form);
    } else if (named) {
        print_one(c, named);
    } else if (form[0]) {
        cli_print_list(c, links, form);
    } else {
        print_table(c, links);
    }
    json_decref(links);
    return status;
}

// What the API server has to be asked for.
static void check_cluster(struct cli *c, const struct store *s)
{
    const char *tls = cli_text(c, "tls-credentials");
    json_t *secret = tls[0] ? store_told(s, "Secret", tls) : NULL;

    cli_check_timeout(c);
    if (tls[0] && !secret && !c->failure)
        cli_problem(c,
                    "tls-secret is not valid: does not exist: there is no Secret \"%s\" in the "
                    "namespace %s",
                    tls, s->ns);
    json_decref(secret);
}

static int run_update(struct cli *c, struct store *s)
{
    struct why why = {""};
    json_t *link, *spec;
    int status;

    if (c->platform == ON_KUBERNETES)
        check_cluster(c, s);
    link = store_find(s, "Link", c->args[0]);
    if (!link && !c->failure)
        cli_problem(c, "there is no link \"%s\" in the namespace \"%s\"", c->args[0], s->ns);
    if (cli_number(c, "cost") < 1)
        cli_problem(c, "cost is not valid: it must be 1 or more");
    status = cli_verdict(c);
    if (status == EXIT_OK) {
        spec = json_object_get(link, "spec");
        if (cli_is_given(c, "cost"))
            json_object_set_new(spec, "cost", json_integer(cli_number(c, "cost")));
        if (cli_text(c, "tls-credentials")[0])
            json_object_set_new(spec, "tlsCredentials",
                                json_string(cli_text(c, "tls-credentials")));
        if (store_put(s, link, &why) < 0)
            status = cli_fail(c, "%s", why.text);
    }
    if (status == EXIT_OK)
        status = cli_await_asked(c, s, "Waiting for update to complete...", "Link", c->args[0]);
    if (status == EXIT_OK)
        cli_say(c, "Link \"%s\" is updated", c->args[0]);
    json_decref(link);
    return status;
}

// On a host the Secret goes with the last link that uses it: nobody else needs its key.
static int remove_secret(struct store *s, const char *credentials, struct why *why)
{
    json_t *links = store_list(s, STORE_INPUT, "Link"), *link;
    bool is_used = !credentials[0];
    size_t i;
    int err = 0;

    json_array_foreach(links, i, link) is_used |=
        strcmp(site_text(link, "spec.tlsCredentials"), credentials) == 0;
    json_decref(links);
    if (!is_used)
        err = store_remove(s, "Secret", credentials, why);
    return err == ERR_NOT_FOUND ? 0 : err;
}

static int run_delete(struct cli *c, struct store *s)
{
    struct why why = {""};
    json_t *link;
    int status, err;

    if (c->platform == ON_KUBERNETES)
        cli_check_timeout(c);
    link = store_find(s, "Link", c->args[0]);
    if (!link && !c->failure)
        cli_problem(c, "there is no link \"%s\" in the namespace \"%s\"", c->args[0], s->ns);
    status = cli_verdict(c);
    if (status == EXIT_OK) {
        err = store_remove(s, "Link", c->args[0], &why);
        if (!err && c->platform != ON_KUBERNETES)
            err = remove_secret(s, site_text(link, "spec.tlsCredentials"), &why);
        status = err < 0 ? cli_fail(c, "%s", why.text) : cli_await_gone(c, s, "Link", c->args[0]);
    }
    if (status == EXIT_OK)
        cli_say(c, "Link \"%s\" is deleted", c->args[0]);
    json_decref(link);
    return status;
}

const struct command cli_link_commands[] = {
    {.name = "link generate",
     .args = "",
     .summary = "Prints a link to this site, for another to apply",
     .flags = generate_flags,
     .run_on = run_generate},
    {.name = "link status",
     .args = "[<name>]",
     .summary = "How the links of this site are",
     .args_max = 1,
     .flags = status_flags,
     .run_on = run_status},
    {.name = "link update",
     .args = "<name>",
     .summary = "Changes what is given of a link",
     .args_min = 1,
     .args_max = 1,
     .flags = update_flags,
     .run_on = run_update},
    {.name = "link delete",
     .args = "<name>",
     .summary = "Removes a link",
     .args_min = 1,
     .args_max = 1,
     .flags = delete_flags,
     .run_on = run_delete},
    {.name = "link doctor",
     .args = "[<name>]",
     .summary = "Finds out, step by step, why a link does not come about",
     .more =
         "For a link of this site, for all of them, or, before it is redeemed, for what is in a "
         "token's file (which is not used up). The steps: credentials, name, route, port, tls, "
         "certificate, clock, expiry, accepted, protocol. Exit status 1: a step has failed.",
     .args_max = 1,
     .flags = cli_doctor_flags,
     .run_on = cli_run_doctor},
    {0},
};
