// SPDX-License-Identifier: Apache-2.0
// Label selectors as Kubernetes writes them: "app=db, tier!=test, zone in (a, b), !canary, has".
#include <ctype.h>

#include "site/site.h"

struct reading {
    struct str rest;
    const json_t *labels; // NULL: the text is only checked
    bool is_met;
};

static void skip_space(struct reading *r)
{
    while (r->rest.len > 0 && r->rest.ptr[0] == ' ')
        r->rest = str_skip(r->rest, 1);
}

static bool take(struct reading *r, const char *token)
{
    if (!str_starts(r->rest, str_of(token)))
        return false;
    r->rest = str_skip(r->rest, strlen(token));
    skip_space(r);
    return true;
}

static struct str word(struct reading *r, const char *others)
{
    struct str w = {r->rest.ptr, 0};

    while (w.len < r->rest.len) {
        char c = w.ptr[w.len];

        if (!isalnum((unsigned char)c) && !(c && strchr(others, c)))
            break;
        w.len++;
    }
    r->rest = str_skip(r->rest, w.len);
    skip_space(r);
    return w;
}

static struct str value(struct reading *r)
{
    return word(r, "-_.:/");
}

// "(a, b)". *found: one of them is `is`.
static bool take_set(struct reading *r, struct str is, bool *found)
{
    *found = false;
    if (!take(r, "("))
        return false;
    do {
        if (str_eq(value(r), is))
            *found = true;
    } while (take(r, ","));
    return take(r, ")");
}

static bool take_requirement(struct reading *r)
{
    bool is_absent = take(r, "!"), found;
    struct str key = word(r, "-_./:");
    const json_t *label = r->labels ? json_object_getn(r->labels, key.ptr, key.len) : NULL;
    struct str is = label ? str_of(json_string_value(label)) : STR_NONE;

    if (key.len == 0)
        return false;
    if (is_absent) {
        r->is_met &= !label;
    } else if (take(r, "!=")) {
        found = str_eq(value(r), is);
        r->is_met &= !label || !found;
    } else if (take(r, "==") || take(r, "=")) {
        found = str_eq(value(r), is);
        r->is_met &= label && found;
    } else if (take(r, "in")) {
        if (!take_set(r, is, &found))
            return false;
        r->is_met &= label && found;
    } else if (take(r, "notin")) {
        if (!take_set(r, is, &found))
            return false;
        r->is_met &= !label || !found;
    } else {
        r->is_met &= label != NULL;
    }
    return true;
}

static bool read_all(struct reading *r)
{
    skip_space(r);
    do {
        if (!take_requirement(r))
            return false;
    } while (take(r, ","));
    return r->rest.len == 0;
}

bool site_is_selector(struct str text)
{
    struct reading r = {.rest = text};

    return read_all(&r);
}

bool site_selects(struct str selector, const json_t *labels)
{
    struct reading r = {.rest = selector, .labels = labels, .is_met = true};

    return read_all(&r) && r.is_met;
}
