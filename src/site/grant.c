// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "site/site.h"

// Grants: what is kept of them, and what is answered to who wants to redeem one. The statuses and
// words are those that existing sites and their users know.

enum { KEY_MAX = SITE_GRANT_TEXT_MAX };
#define WINDOW_DEFAULT "15m"

void site_grant_fini(struct site_grant *g)
{
    free(g->name);
    free(g->uid);
    if (g->code)
        explicit_bzero(g->code, strlen(g->code));
    free(g->code);
    *g = (struct site_grant){0};
}

static int64_t allowed_by(const json_t *resource)
{
    int64_t allowed = json_integer_value(site_get(resource, "spec.redemptionsAllowed"));

    return allowed > 0 ? allowed : 1;
}

int site_grant_make(const json_t *resource, const char *uid, const char *code, int64_t now,
                    struct site_grant *out, struct why *why)
{
    const char *window = site_text(resource, "spec.expirationWindow");
    const char *own = site_text(resource, "spec.code");
    int64_t ns;

    if (!site_duration(str_of(window[0] ? window : WINDOW_DEFAULT), &ns) || ns <= 0) {
        why_set(why, "Invalid duration \"%.100s\": spec.expirationWindow is written like 15m",
                window);
        return ERR_INVALID;
    }
    if (strlen(own) > SITE_GRANT_CODE_MAX) {
        why_set(why, "spec.code: at most %d octets", SITE_GRANT_CODE_MAX);
        return ERR_INVALID;
    }
    *out = (struct site_grant){
        .name = xstrdup(site_text(resource, "metadata.name")),
        .uid = xstrdup(uid),
        .code = xstrdup(own[0] ? own : code),
        .allowed = allowed_by(resource),
        .expires = now + (ns + 999999999) / 1000000000,
    };
    return 0;
}

bool site_grant_update(struct site_grant *g, const json_t *resource)
{
    int64_t allowed = allowed_by(resource);
    bool differs = g->allowed != allowed;

    g->allowed = allowed;
    return differs;
}

// ------------------------------------------------------------------------------------------ kept

json_t *site_grant_write(const struct site_grant *g)
{
    char expires[SITE_TIME_MAX];

    site_time_text(g->expires, expires);
    return json_pack("{s:s, s:s, s:s, s:I, s:I, s:s}", "name", g->name, "uid", g->uid, "code",
                     g->code, "redemptionsAllowed", (json_int_t)g->allowed, "redemptions",
                     (json_int_t)g->used, "expirationTime", g->is_corrupt ? "" : expires);
}

int site_grant_read(const json_t *kept, struct site_grant *out, struct why *why)
{
    static const char *const needed[] = {"name", "uid", "code"};
    const json_t *allowed = json_object_get(kept, "redemptionsAllowed");
    const json_t *used = json_object_get(kept, "redemptions");
    struct site_grant g = {0};

    for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++)
        if (!site_text(kept, needed[i])[0]) {
            why_set(why, "%s is missing", needed[i]);
            return ERR_INVALID;
        }
    if (!json_is_integer(allowed) || !json_is_integer(used) || json_integer_value(used) < 0) {
        why_set(why, "redemptionsAllowed or redemptions is not a number");
        return ERR_INVALID;
    }
    g.is_corrupt = !site_time(str_of(site_text(kept, "expirationTime")), &g.expires);
    g.name = xstrdup(site_text(kept, "name"));
    g.uid = xstrdup(site_text(kept, "uid"));
    g.code = xstrdup(site_text(kept, "code"));
    g.allowed = json_integer_value(allowed);
    g.used = json_integer_value(used);
    *out = g;
    return 0;
}

json_t *site_grant_status(const struct site_grant *g, const char *url, const char *ca)
{
    char expires[SITE_TIME_MAX];

    site_time_text(g->expires, expires);
    return json_pack("{s:s, s:s, s:s, s:I, s:s}", "url", url, "ca", ca, "code", g->code,
                     "redemptions", (json_int_t)g->used, "expirationTime",
                     g->is_corrupt ? "" : expires);
}

// --------------------------------------------------------------------------------------- judging

// Takes as long for a wrong text as for the right one; `limit` is more than either has.
static bool is_same(struct str a, struct str b, size_t limit)
{
    unsigned differs = a.len != b.len;

    for (size_t i = 0; i < limit; i++) {
        unsigned char x = i < a.len ? (unsigned char)a.ptr[i] : 0;
        unsigned char y = i < b.len ? (unsigned char)b.ptr[i] : 0;

        differs |= (unsigned)(x ^ y);
    }
    return differs == 0;
}

// The path without its slashes; empty when it is longer than any key.
static struct str key_of(struct str path, char out[KEY_MAX])
{
    size_t len = 0;

    for (size_t i = 0; i < path.len; i++) {
        if (path.ptr[i] == '/')
            continue;
        if (len == KEY_MAX)
            return STR_NONE;
        out[len++] = path.ptr[i];
    }
    return (struct str){out, len};
}

// All are looked at, whichever it is.
static size_t find_grant(const struct site_grant *grants, size_t count, struct str path)
{
    char buffer[KEY_MAX];
    struct str key = key_of(path, buffer);
    size_t found = SIZE_MAX;

    for (size_t i = 0; i < count; i++)
        if (is_same(key, str_of(grants[i].uid), KEY_MAX) && key.len > 0)
            found = i;
    return found;
}

static bool is_subject(struct str text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] < ' ' || text.ptr[i] > '~')
            return false;
    return text.len < SITE_GRANT_TEXT_MAX;
}

static void answer(struct site_grant_verdict *v, int status, const char *words)
{
    v->status = status;
    v->words = words;
}

// The words of version 1 for the same.
struct words {
    const char *used_up, *refused;
};
static const struct words of_grants = {"No such access granted\n",
                                       "Redemption of access token refused\n"};
static const struct words of_claims = {"No such claim\n", "Claim refused\n"};

static void judge_grant(const struct site_grant *g, struct str body, int64_t now,
                        const struct words *words, struct site_grant_verdict *v)
{
    static char no_code[] = "000000000000000000000000";
    static const struct site_grant nobody = {.code = no_code};
    bool is_known = g != NULL, fits;

    // The code is compared in any case, so that time tells nothing either.
    if (!is_known)
        g = &nobody;
    fits = is_same(body, str_of(g->code), SITE_GRANT_CODE_MAX) && g->code[0];
    if (is_known && g->is_corrupt)
        answer(v, 500, "Corrupted claim\n");
    else if (!is_known || now >= g->expires)
        answer(v, 404, "No such claim\n");
    else if (g->used >= g->allowed)
        answer(v, 404, words->used_up);
    else if (!fits)
        answer(v, 403, words->refused);
    else
        answer(v, 0, "");
}

// "site-version=0.7.1" in a query. A release that says nothing of itself is not turned away.
static bool is_too_old(struct str query)
{
    static const char key[] = "site-version=";
    struct str rest = query;

    while (rest.len > 0) {
        size_t len = 0;

        while (len < rest.len && rest.ptr[len] != '&')
            len++;
        if (len > sizeof(key) && memcmp(rest.ptr, key, sizeof(key) - 1) == 0)
            break;
        rest = str_skip(rest, len < rest.len ? len + 1 : len);
    }
    rest = str_skip(rest, rest.len > 0 ? sizeof(key) - 1 : 0);
    return rest.len > 2 && rest.ptr[0] == '0' && rest.ptr[1] == '.' && rest.ptr[2] >= '0' &&
           rest.ptr[2] < '8' && (rest.len == 3 || rest.ptr[3] == '.');
}

void site_grant_judge(const struct site_grant *grants, size_t count,
                      const struct site_grant_request *r, int64_t now,
                      struct site_grant_verdict *out)
{
    const struct site_grant *g;
    struct str name = r->name, subject;

    *out = (struct site_grant_verdict){.index = SIZE_MAX};
    if (!str_is(r->method, "POST")) {
        answer(out, 405, "Only POST is supported\n");
        return;
    }
    if (r->body.len > SITE_GRANT_CODE_MAX) {
        answer(out, 400, "Request body not valid\n");
        return;
    }
    if ((name.len > 0 && !site_is_name(name)) || !is_subject(r->subject)) {
        answer(out, 400,
               r->is_claim ? "Request header skupper-site-name not valid\n"
                           : "Request header name or subject not valid\n");
        return;
    }
    if (r->is_claim && is_too_old(r->query)) {
        answer(out, 400, "Releases before 0.8.0 cannot link to this site\n");
        return;
    }
    out->index = find_grant(grants, count, r->path);
    g = out->index == SIZE_MAX ? NULL : &grants[out->index];
    judge_grant(g, r->body, now, r->is_claim ? &of_claims : &of_grants, out);
    if (out->status != 0)
        return;
    if (name.len == 0)
        name = str_of(g->name);
    subject = r->subject.len > 0 ? r->subject : name;
    snprintf(out->name, sizeof(out->name), "%.*s", STR_ARG(name));
    snprintf(out->subject, sizeof(out->subject), "%.*s", STR_ARG(subject));
}
