// SPDX-License-Identifier: Apache-2.0
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "mgmt/mgmt.h"

static int attr_count(const struct mgmt_type *t)
{
    int count = 0;

    while (t->attrs[count].name)
        count++;
    return count;
}

static int find(const struct mgmt_type *t, const char *attr)
{
    for (int i = 0; t->attrs[i].name; i++)
        if (strcmp(t->attrs[i].name, attr) == 0)
            return i;
    return -1;
}

struct mgmt_entity *mgmt_entity_new(const struct mgmt_type *type)
{
    struct mgmt_entity *e = xcalloc(1, sizeof(*e));
    int count = attr_count(type);

    e->type = type;
    e->values = xcalloc((size_t)count, sizeof(struct amqp_val *));
    for (int i = 0; i < count; i++) {
        const struct mgmt_attr *a = &type->attrs[i];

        if (!a->initial)
            continue;
        if (a->type == MGMT_INT)
            e->values[i] = amqp_val_long(strtoll(a->initial, NULL, 10));
        else if (a->type == MGMT_BOOL)
            e->values[i] = amqp_val_bool(strcmp(a->initial, "true") == 0);
        else
            e->values[i] = amqp_val_string(str_of(a->initial));
    }
    return e;
}

struct mgmt_entity *mgmt_entity_copy(const struct mgmt_entity *from)
{
    struct mgmt_entity *e = xcalloc(1, sizeof(*e));
    int count = attr_count(from->type);

    e->type = from->type;
    e->line = from->line;
    e->values = xcalloc((size_t)count, sizeof(struct amqp_val *));
    for (int i = 0; i < count; i++)
        if (from->values[i])
            e->values[i] = amqp_val_copy(from->values[i]);
    return e;
}

void mgmt_entity_free(struct mgmt_entity *e)
{
    if (!e)
        return;
    for (int i = 0; e->type->attrs[i].name; i++)
        amqp_val_free(e->values[i]);
    free(e->values);
    free(e);
}

// How many single changes lead from one word to the other; for "did you mean".
static int distance(const char *a, const char *b)
{
    enum { LONGEST = 40 };
    int row[LONGEST + 1];
    size_t na = strlen(a), nb = strlen(b);

    if (na > LONGEST || nb > LONGEST)
        return LONGEST;
    for (size_t j = 0; j <= nb; j++)
        row[j] = (int)j;
    for (size_t i = 1; i <= na; i++) {
        int diagonal = row[0];

        row[0] = (int)i;
        for (size_t j = 1; j <= nb; j++) {
            int change = diagonal + (a[i - 1] != b[j - 1]);
            int smaller = row[j] < row[j - 1] ? row[j] + 1 : row[j - 1] + 1;

            diagonal = row[j];
            row[j] = change < smaller ? change : smaller;
        }
    }
    return row[nb];
}

static void suggest(const struct mgmt_type *t, const char *attr, struct why *why)
{
    const char *best = NULL;
    int best_distance = 4;

    for (int i = 0; t->attrs[i].name; i++) {
        int d = distance(attr, t->attrs[i].name);

        if (d < best_distance) {
            best = t->attrs[i].name;
            best_distance = d;
        }
    }
    if (best)
        why_set(why, "there is no attribute '%s'; did you mean '%s'?", attr, best);
    else
        why_set(why, "there is no attribute '%s' of a %s", attr, t->name);
}

static void list_words(const struct mgmt_attr *a, char *out, size_t size)
{
    size_t len = 0;

    out[0] = '\0';
    for (int i = 0; a->values[i] && len < size; i++)
        len += (size_t)snprintf(out + len, size - len, "%s%s", i ? ", " : "", a->values[i]);
}

static struct amqp_val *as_word(const struct mgmt_attr *a, const struct amqp_val *v,
                                struct why *why)
{
    struct str s = amqp_val_str(v);
    char words[300];

    for (int i = 0; a->values[i]; i++)
        if (str_is_nocase(s, a->values[i]))
            return amqp_val_string(str_of(a->values[i]));
    list_words(a, words, sizeof(words));
    why_set(why, "%s: '%.*s' is not one of %s", a->name, STR_ARG(s), words);
    return NULL;
}

static struct amqp_val *as_number(const struct mgmt_attr *a, const struct amqp_val *v,
                                  struct why *why)
{
    int64_t n;

    if (!amqp_val_int_of(v, &n)) {
        char *text = amqp_val_text(v);

        why_set(why, "%s: %s is not a number", a->name, text);
        free(text);
        return NULL;
    }
    if (n < a->min || n > a->max) {
        why_set(why, "%s: %lld is not between %lld and %lld", a->name, (long long)n,
                (long long)a->min, (long long)a->max);
        return NULL;
    }
    return amqp_val_long(n);
}

static struct amqp_val *as_text(const struct mgmt_attr *a, const struct amqp_val *v,
                                struct why *why)
{
    char number[32];
    int64_t n;

    if (v->type == AMQP_STRING || v->type == AMQP_SYMBOL)
        return amqp_val_string(amqp_val_str(v));
    if (v->type == AMQP_BOOL)
        return amqp_val_string(v->b ? STR("true") : STR("false"));
    if (amqp_val_int_of(v, &n)) {
        snprintf(number, sizeof(number), "%lld", (long long)n);
        return amqp_val_string(str_of(number));
    }
    why_set(why, "%s: a text is needed", a->name);
    return NULL;
}

static struct amqp_val *convert(const struct mgmt_attr *a, const struct amqp_val *v,
                                struct why *why)
{
    bool flag;

    switch (a->type) {
    case MGMT_STRING:
        return as_text(a, v, why);
    case MGMT_INT:
        return as_number(a, v, why);
    case MGMT_ENUM:
        return as_word(a, v, why);
    case MGMT_BOOL:
        if (amqp_val_bool_of(v, &flag))
            return amqp_val_bool(flag);
        why_set(why, "%s: true or false is needed", a->name);
        return NULL;
    case MGMT_MAP:
    case MGMT_LIST:
        if (v->type == (a->type == MGMT_MAP ? AMQP_MAP : AMQP_LIST))
            return amqp_val_copy(v);
        why_set(why, "%s: a %s is needed", a->name, a->type == MGMT_MAP ? "map" : "list");
        return NULL;
    }
    return NULL;
}

int mgmt_entity_set(struct mgmt_entity *e, const char *attr, const struct amqp_val *v, unsigned as,
                    struct why *why)
{
    int at = find(e->type, attr);
    struct amqp_val *converted = NULL;

    if (at < 0) {
        suggest(e->type, attr, why);
        return ERR_NOT_FOUND;
    }
    // Tools send back what they have read: what cannot be set anyway is passed over for these.
    if (strcmp(attr, "type") == 0 || strcmp(attr, "identity") == 0)
        return 0;
    if (!(e->type->attrs[at].flags & as)) {
        why_set(why, "%s: cannot be %s", attr,
                as == MGMT_CREATE ? "set, only read"
                                  : "changed; delete the entity and create it anew");
        return ERR_INVALID;
    }
    if (v->type != AMQP_NULL) {
        converted = convert(&e->type->attrs[at], v, why);
        if (!converted)
            return ERR_INVALID;
    }
    amqp_val_free(e->values[at]);
    e->values[at] = converted;
    return 0;
}

int mgmt_entity_check(const struct mgmt_entity *e, struct why *why)
{
    for (int i = 0; e->type->attrs[i].name; i++) {
        if ((e->type->attrs[i].flags & MGMT_REQUIRED) && !e->values[i]) {
            why_set(why, "%s is needed", e->type->attrs[i].name);
            return ERR_INVALID;
        }
    }
    return 0;
}

const struct amqp_val *mgmt_entity_get(const struct mgmt_entity *e, const char *attr)
{
    int at = find(e->type, attr);

    return at < 0 ? NULL : e->values[at];
}

struct str mgmt_entity_str(const struct mgmt_entity *e, const char *attr)
{
    return amqp_val_str(mgmt_entity_get(e, attr));
}

const char *mgmt_entity_cstr(const struct mgmt_entity *e, const char *attr)
{
    return mgmt_entity_str(e, attr).ptr;
}

int64_t mgmt_entity_int(const struct mgmt_entity *e, const char *attr, int64_t fallback)
{
    int64_t n;

    return amqp_val_int_of(mgmt_entity_get(e, attr), &n) ? n : fallback;
}

bool mgmt_entity_bool(const struct mgmt_entity *e, const char *attr)
{
    const struct amqp_val *v = mgmt_entity_get(e, attr);

    return v && v->type == AMQP_BOOL && v->b;
}

bool mgmt_entity_eq(const struct mgmt_entity *a, const struct mgmt_entity *b)
{
    if (a->type != b->type)
        return false;
    for (int i = 0; a->type->attrs[i].name; i++) {
        if (!a->values[i] != !b->values[i])
            return false;
        if (a->values[i] && !amqp_val_eq(a->values[i], b->values[i]))
            return false;
    }
    return true;
}

// What stands behind the type in an identity (section 14.2 of the protocol's facts).
static char *identifier(const struct mgmt_entity *e)
{
    const char *name = mgmt_entity_cstr(e, "name"), *port = mgmt_entity_cstr(e, "port");
    const char *host = mgmt_entity_cstr(e, "host");

    if (port && find(e->type, "host") >= 0 && strcmp(e->type->name, "proxyProfile") != 0)
        return str_fmt("%s:%s%s%s", host ? host : "", port, name ? ":" : "", name ? name : "");
    if (name)
        return xstrdup(name);
    for (const char *const *key =
             (const char *const[]){"module", "id", "prefix", "pattern", "address", NULL};
         *key; key++)
        if (find(e->type, *key) >= 0 && mgmt_entity_cstr(e, *key))
            return xstrdup(mgmt_entity_cstr(e, *key));
    return xstrdup("0");
}

char *mgmt_entity_identity(const struct mgmt_entity *e)
{
    char *id = identifier(e), *identity = str_fmt("%s/%s", e->type->name, id);

    free(id);
    return identity;
}
