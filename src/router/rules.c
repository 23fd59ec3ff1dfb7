// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "router/core.h"

// Which treatment an address gets: the configured rule that fits best. Rules are looked at when an
// address comes into being, never for a message, so a plain walk over them is enough.

struct treatment_rule {
    char *text;
    bool is_prefix;
    enum router_treatment treatment;
    int priority;
};

enum { RULE_MAX = 4096 };

static bool is_separator(char ch)
{
    return ch == '.' || ch == '/';
}

// Takes the first token off `s`.
static struct str next_token(struct str *s)
{
    size_t len = 0;

    while (len < s->len && !is_separator(s->ptr[len]))
        len++;

    struct str token = {s->ptr, len};

    *s = str_skip(*s, len < s->len ? len + 1 : len);
    return token;
}

// As file names are matched: when it fails, the last # takes one token more. An earlier one never
// needs to, so the time is at most that of one walk for each token of the address.
static bool matches(struct str pattern, struct str address)
{
    struct str after = STR_NONE, from = STR_NONE; // behind the last #, and where it was tried
    bool has_hash = false;

    while (address.len > 0 || pattern.len > 0) {
        struct str p = pattern, a = address, token = next_token(&p);

        if (pattern.len > 0 && str_is(token, "#")) {
            has_hash = true;
            after = pattern = p;
            from = address;
            continue;
        }
        if (pattern.len > 0 && address.len > 0) {
            struct str have = next_token(&a);

            if (str_is(token, "*") || str_eq(token, have)) {
                pattern = p;
                address = a;
                continue;
            }
        }
        if (!has_hash || from.len == 0)
            return false;
        next_token(&from);
        address = from;
        pattern = after;
    }
    return true;
}

static bool rule_matches(const struct treatment_rule *rule, struct str address)
{
    struct str text = str_of(rule->text);

    if (!rule->is_prefix)
        return matches(text, address);
    return str_starts(address, text) &&
           (address.len == text.len || is_separator(address.ptr[text.len]));
}

static int token_rank(struct str token)
{
    if (str_is(token, "#"))
        return 2;
    return str_is(token, "*") ? 1 : 0;
}

// Both match the same address: the one that is more exact at the first token where they differ.
static bool is_better(const struct treatment_rule *a, const struct treatment_rule *b)
{
    struct str at = str_of(a->text), bt = str_of(b->text);

    while (at.len > 0 && bt.len > 0) {
        int ra = token_rank(next_token(&at)), rb = token_rank(next_token(&bt));

        if (ra != rb)
            return ra < rb;
    }
    if (at.len != bt.len)
        return at.len > bt.len;
    return !a->is_prefix && b->is_prefix;
}

const struct treatment_rule *rule_for(const struct router *r, struct str address)
{
    const struct router *owner = r->hub ? r->hub : r;
    const struct treatment_rule *best = NULL;

    for (uint32_t i = 0; i < owner->rule_count; i++) {
        const struct treatment_rule *rule = &owner->rules[i];

        if (rule_matches(rule, address) && (!best || is_better(rule, best)))
            best = rule;
    }
    return best;
}

enum router_treatment rule_treatment(const struct treatment_rule *t)
{
    return t->treatment;
}

int rule_priority(const struct treatment_rule *t)
{
    return t->priority;
}

static int find(const struct router *r, struct str text, bool is_prefix)
{
    for (uint32_t i = 0; i < r->rule_count; i++)
        if (r->rules[i].is_prefix == is_prefix && str_eq(str_of(r->rules[i].text), text))
            return (int)i;
    return ERR_NOT_FOUND;
}

static struct str trimmed(struct str text, bool is_prefix)
{
    while (is_prefix && text.len > 0 && is_separator(text.ptr[text.len - 1]))
        text.len--;
    return text;
}

int router_address_config(struct router *r, struct str text, bool is_prefix,
                          enum router_treatment treatment, int priority)
{
    text = trimmed(text, is_prefix);
    if (text.len == 0 || text.len > ADDRESS_MAX || priority > PRIORITY_COUNT - 1)
        return ERR_INVALID;
    if (r->rule_count == RULE_MAX)
        return ERR_LIMIT;
    if (find(r, text, is_prefix) >= 0)
        return ERR_EXISTS;
    router_hold(r, true);
    if (r->rule_count == r->rule_size) {
        r->rule_size = r->rule_size ? r->rule_size * 2 : 8;
        r->rules = xrealloc(r->rules, r->rule_size, sizeof(*r->rules));
    }
    r->rules[r->rule_count++] = (struct treatment_rule){
        .text = str_dup(text),
        .is_prefix = is_prefix,
        .treatment = treatment,
        .priority = priority,
    };
    router_hold(r, false);
    return 0;
}

int router_address_unconfig(struct router *r, struct str text, bool is_prefix)
{
    int at = find(r, trimmed(text, is_prefix), is_prefix);

    if (at < 0)
        return at;
    router_hold(r, true);
    free(r->rules[at].text);
    r->rules[at] = r->rules[--r->rule_count];
    router_hold(r, false);
    return 0;
}

void rules_free(struct router *r)
{
    for (uint32_t i = 0; i < r->rule_count; i++)
        free(r->rules[i].text);
    free(r->rules);
}
