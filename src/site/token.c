// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/yaml.h"
#include "site/site.h"

// Texts of tokens of all versions, and what is said when one is redeemed.

enum { URL_MAX = 2048, LINKS_MAX = 16 };

static void wipe(char *secret)
{
    if (secret)
        explicit_bzero(secret, strlen(secret));
    free(secret);
}

void site_token_fini(struct site_token *t)
{
    free(t->name);
    free(t->url);
    wipe(t->code);
    free(t->ca);
    free(t->origin);
    site_links_fini(&t->links);
    *t = (struct site_token){0};
}

char *site_token_text(const char *name, const char *url, const char *code, const char *ca,
                      int64_t link_cost)
{
    json_t *token = json_pack("{s:s, s:s, s:{s:s}, s:{s:s, s:s, s:I, s:s}}", "apiVersion",
                              "skupper.io/v2alpha1", "kind", "AccessToken", "metadata", "name",
                              name, "spec", "ca", ca, "code", code, "linkCost",
                              (json_int_t)(link_cost > 0 ? link_cost : 1), "url", url);
    char *text = yaml_write(token, YAML_BLOCK);

    json_decref(token);
    return text;
}

// --------------------------------------------------------------------------------------- reading

struct reading {
    const char *source;
    const struct yaml_docs *docs;
    size_t index;
    struct why *why;
};

static int fault(const struct reading *r, const char *path, const char *words)
{
    why_set(r->why, "%s:%d: %s: %s", r->source, yaml_docs_line(r->docs, r->index, path), path,
            words);
    return ERR_INVALID;
}

static const char *mark_of(const json_t *value, const char *map, const char *key)
{
    const char *text = json_string_value(
        json_object_get(json_object_get(json_object_get(value, "metadata"), map), key));

    return text ? text : "";
}

static bool is_claim(const json_t *value)
{
    const char *type = mark_of(value, "labels", "skupper.io/type");

    if (strcmp(site_text(value, "kind"), "Secret") != 0)
        return false;
    return strcmp(type, "token-claim") == 0 ||
           (!type[0] && mark_of(value, "annotations", "skupper.io/url")[0] &&
            !json_object_get(json_object_get(value, "data"), "tls.crt"));
}

static int read_access(const struct reading *r, const json_t *value, struct site_token *t)
{
    static const char *const needed[] = {"spec.url", "spec.code", "spec.ca"};
    const json_t *cost = site_get(value, "spec.linkCost");

    for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++)
        if (!site_text(value, needed[i])[0])
            return fault(r, needed[i], "a token needs this; is it whole?");
    if (cost && !json_is_null(cost) &&
        (!json_is_integer(cost) || json_integer_value(cost) < 0 ||
         json_integer_value(cost) > INT32_MAX))
        return fault(r, "spec.linkCost", "a number from 1 upwards is needed");
    t->kind = SITE_TOKEN_ACCESS;
    t->url = xstrdup(site_text(value, "spec.url"));
    t->code = xstrdup(site_text(value, "spec.code"));
    t->ca = xstrdup(site_text(value, "spec.ca"));
    t->link_cost = json_integer_value(cost);
    t->origin = xstrdup("");
    return 0;
}

static int read_claim(const struct reading *r, const json_t *value, struct site_token *t)
{
    t->kind = SITE_TOKEN_CLAIM;
    t->url = xstrdup(mark_of(value, "annotations", "skupper.io/url"));
    t->code = site_secret_get(value, "password");
    t->ca = site_secret_get(value, "ca.crt");
    t->origin = xstrdup(mark_of(value, "annotations", "skupper.io/generated-by"));
    site_number(str_of(mark_of(value, "annotations", "skupper.io/cost")), 1, INT32_MAX,
                &t->link_cost);
    site_time(str_of(mark_of(value, "annotations", "skupper.io/claim-expiration")), &t->expires);
    if (!t->url[0])
        return fault(r, "metadata.annotations", "skupper.io/url is missing; is the token whole?");
    if (!t->code || !t->code[0])
        return fault(r, "data", "password is missing, or no base64; is the token whole?");
    if (!t->ca || !t->ca[0])
        return fault(r, "data", "ca.crt is missing, or no base64; is the token whole?");
    return 0;
}

static int read_token(const struct reading *r, const json_t *value, struct site_token *t)
{
    const char *name = site_text(value, "metadata.name");

    if (!site_is_name(str_of(name)))
        return fault(r, "metadata.name", "the name of the link to come is needed");
    t->name = xstrdup(name);
    return is_claim(value) ? read_claim(r, value, t) : read_access(r, value, t);
}

static int read_links(const char *source, struct str text, struct site_token *t, struct why *why)
{
    int err = site_links_read(source, text, &t->links, why);
    const json_t *first;

    if (err < 0)
        return err;
    first = t->links.secret ? t->links.secret : json_array_get(t->links.links, 0);
    t->kind = SITE_TOKEN_LINKS;
    t->name = xstrdup(site_text(first, "metadata.name"));
    t->origin = xstrdup(mark_of(first, "annotations", "skupper.io/generated-by"));
    return 0;
}

// The only token of the text. Their count.
static size_t find_token(struct reading *r)
{
    size_t count = 0;

    for (size_t i = 0; i < yaml_docs_count(r->docs); i++) {
        const json_t *value = yaml_docs_at(r->docs, i);

        if (strcmp(site_text(value, "kind"), "AccessToken") != 0 && !is_claim(value))
            continue;
        r->index = i;
        count++;
    }
    return count;
}

int site_token_read(const char *source, struct str text, struct site_token *out, struct why *why)
{
    struct yaml_docs *docs = NULL;
    struct site_token t = {0};
    struct reading r = {.source = source, .why = why};
    int err = yaml_docs_parse(source, text, &docs, why);
    size_t count;

    if (err < 0)
        return err;
    r.docs = docs;
    count = find_token(&r);
    if (count == 1)
        err = read_token(&r, yaml_docs_at(docs, r.index), &t);
    else if (count == 0)
        err = read_links(source, text, &t, why);
    else
        err = fault(&r, "kind", "a second token; redeem them one by one, each in a file");
    if (err == ERR_INVALID && count == 0)
        why_prefix(why, "%s is neither an AccessToken nor a link", source);
    yaml_docs_free(docs);
    if (err == 0)
        *out = t;
    else
        site_token_fini(&t);
    return err;
}

// ------------------------------------------------------------------------------------- redeeming

static bool is_https(const char *url)
{
    struct str rest = str_of(url);

    if (rest.len > URL_MAX || rest.len < 9 || !str_is_nocase((struct str){url, 8}, "https://"))
        return false;
    for (size_t i = 0; i < rest.len; i++)
        if (url[i] <= ' ' || url[i] > '~')
            return false;
    return true;
}

int site_redeeming_make(const struct site_token *t, const char *subject, struct site_redeeming *out,
                        struct why *why)
{
    if (!t->ca || !t->ca[0]) {
        why_set(why, "%stoken does not have a CA", t->is_for_controller ? "" : "the ");
        return ERR_INVALID;
    }
    if (!is_https(t->url)) {
        if (t->is_for_controller)
            why_set(why, "token url scheme must be https");
        else
            why_set(why, "the token's URL is '%.200s'; its scheme must be https", t->url);
        return ERR_INVALID;
    }
    if (t->kind == SITE_TOKEN_CLAIM)
        *out = (struct site_redeeming){.url = str_fmt("%s%csite-version=%s", t->url,
                                                      strchr(t->url, '?') ? '&' : '?',
                                                      SITE_V1_VERSION),
                                       .names = {"skupper-site-name"},
                                       .values = {subject},
                                       .count = 1};
    else
        *out = (struct site_redeeming){.url = xstrdup(t->url),
                                       .names = {"name", "subject"},
                                       .values = {t->name, subject},
                                       .count = 2};
    return 0;
}

// What a server wrote, as one line that can be shown.
static void line_of(struct str body, char *out, size_t size)
{
    size_t len = 0;

    for (size_t i = 0; i < body.len && len + 1 < size; i++) {
        if (body.ptr[i] == '\n' || body.ptr[i] == '\r')
            break;
        out[len++] = body.ptr[i] >= ' ' && body.ptr[i] <= '~' ? body.ptr[i] : '?';
    }
    out[len] = '\0';
}

// What it means, and what to do.
static int meaning_of(int status, const char *said, const char **words)
{
    switch (status) {
    case 403:
        *words = "the code is not the right one; have a new token issued";
        return ERR_INVALID;
    case 404:
        *words = strcmp(said, "No such access granted") == 0
                     ? "the token has been redeemed as often as it may be; have a new one issued"
                     : "the token is not known there, or has expired; have a new one issued";
        return ERR_NOT_FOUND;
    case 429:
        *words = "too many attempts from here; it will be tried again";
        return ERR_AGAIN;
    default:
        *words = status >= 500 ? "that is trouble at the other site; it will be tried again"
                               : "this is not what a site answers; is the URL the right one?";
        return status >= 500 ? ERR_AGAIN : ERR_INVALID;
    }
}

#define REFUSED "Controller got failed response: "

const char *site_redeeming_refusal(const char *message)
{
    const char *number = message + strlen(REFUSED), *words, *said;
    char *end;
    long status;

    if (!str_starts(str_of(message), STR(REFUSED)))
        return NULL;
    status = strtol(number, &end, 10);
    said = strstr(end, ") ");
    if (status < 400 || status > 599)
        return NULL;
    return meaning_of((int)status, said ? said + 2 : "", &words) == ERR_AGAIN ? NULL : words;
}

static const char *text_of(int status)
{
    switch (status) {
    case 400:
        return "Bad Request";
    case 403:
        return "Forbidden";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 429:
        return "Too Many Requests";
    case 500:
        return "Internal Server Error";
    case 503:
        return "Service Unavailable";
    default:
        return "";
    }
}

static int read_answer(struct str body, struct site_links *out, struct why *why)
{
    int err = site_links_read("the answer", body, out, why);

    if (err < 0)
        return err;
    if (out->secret && json_array_size(out->links) <= LINKS_MAX)
        return 0;
    if (out->secret)
        why_set(why, "the answer: more than %d Links", LINKS_MAX);
    else
        why_set(why, "the answer: there is no Secret in it");
    site_links_fini(out);
    return ERR_INVALID;
}

int site_redeeming_read(const struct site_token *t, int status, struct str body,
                        struct site_links *out, struct why *why)
{
    struct site_links found = {0};
    char said[160];
    const char *words;
    int err;

    if (status != 200) {
        line_of(body, said, sizeof(said));
        err = meaning_of(status, said, &words);
        if (t->is_for_controller)
            why_set(why, REFUSED "%d (%s) %s", status, text_of(status), said);
        else
            why_set(why, "%.200s answered %d%s%s: %s", t->url, status, said[0] ? " " : "", said,
                    words);
        return err;
    }
    err = read_answer(body, &found, why);
    if (err < 0) {
        why_prefix(why, "%.200s",
                   t->is_for_controller ? "Controller could not decode response" : t->url);
        return ERR_INVALID;
    }
    site_links_rename(&found, t->name);
    site_links_set_cost(&found, t->link_cost);
    *out = found;
    return 0;
}
