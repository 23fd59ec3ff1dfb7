// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "router/core.h"

// Which treatment an address gets: the configured rule that fits best. Rules are looked at when an
// address comes into being, never for a message. Those without wildcards, which are most, are found
// by their text; those with some are walked over.

struct treatment_rule {
    char *text;
    bool is_prefix;
    enum router_treatment treatment;
    int priority;
    struct treatment_rule *same; // the next one with the same key
};

enum { RULE_MAX = 10000 };

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

// ------------------------------------------------------------------------------------------- keys

// What a rule is found by. Tokens of a pattern may be parted by either separator, and one at the
// end is none; a prefix is meant octet for octet.
static struct str key_of(char kind, struct str text, char key[ADDRESS_MAX + 1])
{
    key[0] = kind;
    memcpy(key + 1, text.ptr, text.len);
    if (kind != 'p') {
        for (size_t i = 1; i <= text.len; i++)
            if (is_separator(key[i]))
                key[i] = '/';
        if (text.len > 0 && key[text.len] == '/')
            text.len--;
    }
    return (struct str){key, 1 + text.len};
}

static bool has_wildcard(struct str text)
{
    while (text.len > 0)
        if (token_rank(next_token(&text)) > 0)
            return true;
    return false;
}

// 'p': a prefix, 't': a text, 'w': a pattern with wildcards.
static char kind_of(struct str text, bool is_prefix)
{
    return is_prefix ? 'p' : has_wildcard(text) ? 'w' : 't';
}

static const struct treatment_rule *better(const struct treatment_rule *a,
                                           const struct treatment_rule *b)
{
    return a && (!b || is_better(a, b)) ? a : b;
}

static const struct treatment_rule *look_up(const struct router *r, char kind, struct str text)
{
    char key[ADDRESS_MAX + 1];

    return map_get(&r->rules, key_of(kind, text, key));
}

const struct treatment_rule *rule_for(const struct router *r, struct str address)
{
    const struct router *owner = r->hub ? r->hub : r;
    const struct treatment_rule *best = NULL;

    if (address.len > ADDRESS_MAX || owner->rules.count == 0)
        return NULL;
    best = look_up(owner, 't', address);
    for (size_t i = 1; i <= address.len; i++)
        if (i == address.len || is_separator(address.ptr[i]))
            best = better(look_up(owner, 'p', (struct str){address.ptr, i}), best);
    for (uint32_t i = 0; i < owner->wild_count; i++)
        if (matches(str_of(owner->wild[i]->text), address))
            best = better(owner->wild[i], best);
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

static struct str trimmed(struct str text, bool is_prefix)
{
    while (is_prefix && text.len > 0 && is_separator(text.ptr[text.len - 1]))
        text.len--;
    return text;
}

// Where the pointer to it is: that to the first one of its key, or behind another of them. At the
// end of them when it is not there.
static struct treatment_rule **find(struct treatment_rule **at, struct str text)
{
    while (*at && !str_eq(str_of((*at)->text), text))
        at = &(*at)->same;
    return at;
}

static void add_wild(struct router *r, struct treatment_rule *rule)
{
    r->wild = xrealloc(r->wild, r->wild_count + 1, sizeof(struct treatment_rule *));
    r->wild[r->wild_count++] = rule;
}

static void remove_wild(struct router *r, const struct treatment_rule *rule)
{
    for (uint32_t i = 0; i < r->wild_count; i++)
        if (r->wild[i] == rule) {
            r->wild[i] = r->wild[--r->wild_count];
            return;
        }
}

int router_address_config(struct router *r, struct str text, bool is_prefix,
                          enum router_treatment treatment, int priority)
{
    char kind, key_text[ADDRESS_MAX + 1];
    struct treatment_rule *first, **at;
    struct str key;

    text = trimmed(text, is_prefix);
    if (text.len == 0 || text.len > ADDRESS_MAX || priority > PRIORITY_COUNT - 1)
        return ERR_INVALID;
    if (r->rule_count == RULE_MAX)
        return ERR_LIMIT;
    kind = kind_of(text, is_prefix);
    key = key_of(kind, text, key_text);
    first = map_get(&r->rules, key);
    at = find(&first, text);
    if (*at)
        return ERR_EXISTS;
    router_hold(r, true);
    *at = xcalloc(1, sizeof(**at));
    **at = (struct treatment_rule){str_dup(text), is_prefix, treatment, priority, NULL};
    map_put(&r->rules, key, first);
    if (kind == 'w')
        add_wild(r, *at);
    r->rule_count++;
    router_hold(r, false);
    return 0;
}

static void rule_free(struct treatment_rule *rule)
{
    free(rule->text);
    free(rule);
}

int router_address_unconfig(struct router *r, struct str text, bool is_prefix)
{
    char key_text[ADDRESS_MAX + 1];
    struct treatment_rule *first, **at, *gone;
    struct str key;

    text = trimmed(text, is_prefix);
    if (text.len > ADDRESS_MAX)
        return ERR_NOT_FOUND;
    key = key_of(kind_of(text, is_prefix), text, key_text);
    first = map_get(&r->rules, key);
    at = find(&first, text);
    gone = *at;
    if (!gone)
        return ERR_NOT_FOUND;
    router_hold(r, true);
    *at = gone->same;
    if (first)
        map_put(&r->rules, key, first);
    else
        map_remove(&r->rules, key);
    remove_wild(r, gone);
    rule_free(gone);
    r->rule_count--;
    router_hold(r, false);
    return 0;
}

void rules_free(struct router *r)
{
    size_t at = 0;
    void *value;

    while (map_next(&r->rules, &at, NULL, &value))
        for (struct treatment_rule *rule = value, *next; rule; rule = next) {
            next = rule->same;
            rule_free(rule);
        }
    map_fini(&r->rules);
    free(r->wild);
}
