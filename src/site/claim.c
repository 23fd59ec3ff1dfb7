// SPDX-License-Identifier: Apache-2.0
// Claims of version 1: what is kept of one, what is carried away, and what is given out for it.
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/yaml.h"
#include "site/site.h"

static const char REMAINING[] = "skupper.io/claims-remaining", MADE[] = "skupper.io/claims-made";
static const char EXPIRATION[] = "skupper.io/claim-expiration";
#define TYPE "skupper.io/type"

static const char *annotation(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(site_get(object, "metadata.annotations"), key));
}

// A number that is not there is `otherwise`; false: it cannot be read.
static bool read_number(const json_t *record, const char *key, int64_t otherwise, int64_t *out)
{
    const char *text = annotation(record, key);

    *out = otherwise;
    return !text || site_number(str_of(text), 0, INT32_MAX, out);
}

bool site_claim_read(const json_t *record, struct site_grant *out)
{
    const char *name = site_text(record, "metadata.name"), *end = annotation(record, EXPIRATION);
    char *code = site_secret_get(record, "password");
    struct site_grant g = {.expires = INT64_MAX};
    int64_t remaining;

    if (!code || !code[0]) {
        free(code);
        return false;
    }
    g.is_corrupt = end && !site_time(str_of(end), &g.expires);
    g.is_corrupt |= !read_number(record, REMAINING, INT64_MAX, &remaining);
    g.is_corrupt |= !read_number(record, MADE, 0, &g.used);
    g.allowed = remaining == INT64_MAX ? INT64_MAX : g.used + remaining;
    g.name = xstrdup(name);
    g.uid = xstrdup(name);
    g.code = code;
    *out = g;
    return true;
}

static json_t *number(int64_t n)
{
    return json_sprintf("%lld", (long long)n);
}

json_t *site_claim_counted(const struct site_grant *g)
{
    json_t *notes = json_pack("{s:o}", MADE, number(g->used + 1));

    if (g->allowed != INT64_MAX)
        json_object_set_new(notes, REMAINING, number(g->allowed - g->used - 1));
    return notes;
}

static char *text_of(json_t *take_secret)
{
    char *text = yaml_write(take_secret, YAML_BLOCK);

    json_decref(take_secret);
    return text;
}

char *site_claim_answer(const char *name, const json_t *annotations, const char *ca,
                        const char *cert, const char *key)
{
    json_t *secret = site_secret_new(name);
    json_t *metadata = json_object_get(secret, "metadata");

    json_object_set_new(metadata, "labels", json_pack("{s:s}", TYPE, "connection-token"));
    json_object_set_new(metadata, "annotations", json_deep_copy(annotations));
    site_secret_fill(secret, ca, cert, key);
    return text_of(secret);
}

char *site_claim_text(const struct site_claim_token *t)
{
    char *password = site_base64_write(t->password), *ca = site_base64_write(t->ca);
    json_t *notes = json_pack("{s:s, s:s, s:s}", "skupper.io/generated-by", t->site_id,
                              "skupper.io/site-version", SITE_V1_VERSION, "skupper.io/url", t->url);
    json_t *secret =
        json_pack("{s:s, s:s, s:{s:s, s:{s:s}, s:o}, s:{s:s, s:s}}", "apiVersion", "v1", "kind",
                  "Secret", "metadata", "name", t->name, "labels", TYPE, "token-claim",
                  "annotations", notes, "data", "ca.crt", ca, "password", password);

    if (t->expires[0])
        json_object_set_new(notes, EXPIRATION, json_string(t->expires));
    explicit_bzero(password, strlen(password));
    free(password);
    free(ca);
    return text_of(secret);
}
