// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "mgmt/mgmt.h"
#include "mgmt/words.h"

static size_t attr_count(const struct mgmt_type *t)
{
    size_t count = 0;

    while (t->attrs[count].name)
        count++;
    return count;
}

static int find(const struct mgmt_type *t, const char *attr)
{
    for (int i = 0; t->attrs[i].name; i++) {
        if (strcmp(t->attrs[i].name, attr) == 0)
            return i;
    }
    return -1;
}

static struct amqp_val *initial_value(const struct mgmt_attr *a)
{
    if (!a->initial)
        return NULL;
    if (a->type == MGMT_INT)
        return amqp_val_long(strtoll(a->initial, NULL, 10));
    if (a->type == MGMT_BOOL)
        return amqp_val_bool(strcmp(a->initial, "true") == 0);
    return amqp_val_string(str_of(a->initial));
}

static struct mgmt_entity *entity_of(const struct mgmt_type *type)
{
    struct mgmt_entity *e = xcalloc(1, sizeof(*e));

    e->type = type;
    e->values = xcalloc(attr_count(type), sizeof(struct amqp_val *));
    return e;
}

struct mgmt_entity *mgmt_entity_new(const struct mgmt_type *type)
{
    struct mgmt_entity *e = entity_of(type);

    for (int i = 0; type->attrs[i].name; i++)
        e->values[i] = initial_value(&type->attrs[i]);
    return e;
}

struct mgmt_entity *mgmt_entity_copy(const struct mgmt_entity *from)
{
    struct mgmt_entity *e = entity_of(from->type);

    e->line = from->line;
    for (int i = 0; e->type->attrs[i].name; i++) {
        if (from->values[i])
            e->values[i] = amqp_val_copy(from->values[i]);
    }
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

// ------------------------------------------------------------------------------------ conversions

static void explain_unknown(const struct mgmt_type *t, const char *attr, struct why *why)
{
    struct nearest nearest = {.word = str_of(attr)};
    char known[WHY_MAX] = "";
    size_t len = 0;

    for (int i = 0; t->attrs[i].name; i++) {
        nearest_offer(&nearest, t->attrs[i].name);
        if ((t->attrs[i].flags & MGMT_CREATE) && len < sizeof(known))
            len += (size_t)snprintf(known + len, sizeof(known) - len, "%s%s", len ? ", " : "",
                                    t->attrs[i].name);
    }
    if (nearest.best)
        why_set(why, "unknown attribute '%s'; did you mean '%s'?", attr, nearest.best);
    else
        why_set(why, "unknown attribute '%.*s'; these may be set: %s", STR_ARG(shown(str_of(attr))),
                known);
}

static struct amqp_val *as_word(const struct mgmt_attr *a, const struct amqp_val *v,
                                struct why *why)
{
    struct str s = amqp_val_str(v);
    char words[WHY_MAX];
    size_t len = 0;

    for (int i = 0; a->values[i]; i++) {
        if (s.ptr && str_is_nocase(s, a->values[i]))
            return amqp_val_string(str_of(a->values[i]));
        if (len < sizeof(words))
            len += (size_t)snprintf(words + len, sizeof(words) - len, "%s%s", i ? ", " : "",
                                    a->values[i]);
    }
    if (s.ptr)
        why_set(why, "%s: '%.*s' is not one of %s", a->name, STR_ARG(shown(s)), words);
    else
        why_set(why, "%s: one of the words %s is needed", a->name, words);
    return NULL;
}

static bool in_range(const struct mgmt_attr *a, int64_t n, struct why *why)
{
    if (n >= a->min && n <= a->max)
        return true;
    why_set(why, "%s: %lld is not between %lld and %lld", a->name, (long long)n, (long long)a->min,
            (long long)a->max);
    return false;
}

static struct amqp_val *as_number(const struct mgmt_attr *a, const struct amqp_val *v,
                                  struct why *why)
{
    int64_t n;

    if (!amqp_val_int_of(v, &n)) {
        char *text = amqp_val_text(v);

        why_set(why, "%s: %.*s is no whole number", a->name, STR_ARG(shown(str_of(text))));
        free(text);
        return NULL;
    }
    return in_range(a, n, why) ? amqp_val_long(n) : NULL;
}

static bool is_text(struct str s)
{
    return utf8_valid_len(s) == s.len && (s.len == 0 || !memchr(s.ptr, '\0', s.len));
}

static struct amqp_val *refuse_text(const struct mgmt_attr *a, struct why *why)
{
    why_set(why, "%s: these octets are no text in UTF-8", a->name);
    return NULL;
}

static struct amqp_val *as_text(const struct mgmt_attr *a, const struct amqp_val *v,
                                struct why *why)
{
    char number[32];
    int64_t n;
    bool is_number = amqp_val_int_of(v, &n);

    if (is_number && a->max > 0 && !in_range(a, n, why))
        return NULL;
    if (v->type == AMQP_STRING || v->type == AMQP_SYMBOL)
        return is_text(v->s) ? amqp_val_string(v->s) : refuse_text(a, why);
    if (v->type == AMQP_BOOL)
        return amqp_val_string(v->b ? STR("true") : STR("false"));
    if (is_number) {
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
        if (v->type == AMQP_MAP)
            return amqp_val_copy(v);
        why_set(why, "%s: a map {name: value, …} is needed", a->name);
        return NULL;
    case MGMT_LIST:
        if (v->type == AMQP_LIST)
            return amqp_val_copy(v);
        why_set(why, "%s: a list [value, …] is needed", a->name);
        return NULL;
    }
    return NULL;
}

int mgmt_entity_set(struct mgmt_entity *e, const char *attr, const struct amqp_val *v, unsigned as,
                    struct why *why)
{
    int at = find(e->type, attr);
    const struct mgmt_attr *a;
    struct amqp_val *converted;

    if (at < 0) {
        explain_unknown(e->type, attr, why);
        return ERR_NOT_FOUND;
    }
    a = &e->type->attrs[at];
    // Tools send back what they have read.
    if (strcmp(attr, "type") == 0 || strcmp(attr, "identity") == 0)
        return 0;
    if (!(a->flags & as)) {
        why_set(why, "%s: cannot be %s", attr,
                !(a->flags & MGMT_CREATE) ? "set, only read"
                                          : "changed; delete the entity and create it anew");
        return ERR_INVALID;
    }
    converted = v->type == AMQP_NULL ? initial_value(a) : convert(a, v, why);
    if (!converted && v->type != AMQP_NULL)
        return ERR_INVALID;
    amqp_val_free(e->values[at]);
    e->values[at] = converted;
    return 0;
}

// ------------------------------------------------------------------------------------------ checks

static int check_router(const struct mgmt_entity *e, struct why *why)
{
    enum { COUNT_MAX = 1024 };
    const struct amqp_val *count = mgmt_entity_get(e, "dataConnectionCount");
    int64_t n;

    if (str_is(amqp_val_str(count), "auto") ||
        (amqp_val_int_of(count, &n) && n >= 0 && n <= COUNT_MAX))
        return 0;
    why_set(why, "dataConnectionCount: '%.*s' is neither auto nor a number up to %d",
            STR_ARG(shown(amqp_val_str(count))), COUNT_MAX);
    return ERR_INVALID;
}

static int check_address(const struct mgmt_entity *e, struct why *why)
{
    bool has_prefix = mgmt_entity_str(e, "prefix").len > 0;

    if (has_prefix != (mgmt_entity_str(e, "pattern").len > 0))
        return 0;
    why_set(why, has_prefix ? "prefix and pattern exclude each other; make two entities of it"
                            : "prefix or pattern is needed");
    return ERR_INVALID;
}

static bool is_level(struct str word)
{
    static const char *const others[] = {"trace", "notice", "none"};

    while (word.len > 0 && word.ptr[0] == ' ')
        word = str_skip(word, 1);
    if (word.len > 0 && word.ptr[word.len - 1] == '+')
        word.len--;
    for (int l = 0; l < LOG_LEVEL_COUNT; l++) {
        if (str_is_nocase(word, log_level_name((enum log_level)l)))
            return true;
    }
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        if (str_is_nocase(word, others[i]))
            return true;
    }
    return false;
}

static int check_log(const struct mgmt_entity *e, struct why *why)
{
    struct str enable = mgmt_entity_str(e, "enable"), left = enable;

    if (str_is_nocase(enable, "default"))
        return 0;
    do {
        const char *comma = left.len > 0 ? memchr(left.ptr, ',', left.len) : NULL;
        struct str word = {left.ptr, comma ? (size_t)(comma - left.ptr) : left.len};

        if (!is_level(word)) {
            why_set(why,
                    "enable: '%.*s' is no level; a comma list of debug, info, warning, error, "
                    "critical, each with an optional +, or none or default is needed",
                    STR_ARG(shown(word)));
            return ERR_INVALID;
        }
        left = str_skip(left, word.len + (comma != NULL));
    } while (left.len > 0);
    return 0;
}

static int check_tcp_listener(const struct mgmt_entity *e, struct why *why)
{
    bool has_address = mgmt_entity_str(e, "address").len > 0;
    bool has_many = !str_is(mgmt_entity_str(e, "multiAddressStrategy"), "none");

    if (has_address != has_many)
        return 0;
    why_set(why, has_many ? "address and multiAddressStrategy exclude each other; name the "
                            "addresses by listenerAddress entities"
                          : "address is needed, or a multiAddressStrategy");
    return ERR_INVALID;
}

int mgmt_entity_check(const struct mgmt_entity *e, struct why *why)
{
    static const struct {
        const char *type;
        int (*check)(const struct mgmt_entity *e, struct why *why);
    } rules[] = {
        {"router", check_router},
        {"router.config.address", check_address},
        {"log", check_log},
        {"tcpListener", check_tcp_listener},
    };

    for (int i = 0; e->type->attrs[i].name; i++) {
        if ((e->type->attrs[i].flags & MGMT_REQUIRED) && !e->values[i]) {
            why_set(why, "%s is needed", e->type->attrs[i].name);
            return ERR_INVALID;
        }
    }
    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
        if (strcmp(rules[i].type, e->type->name) == 0)
            return rules[i].check(e, why);
    }
    return 0;
}

// ----------------------------------------------------------------------------------------- reading

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

static bool is_one_of(const char *word, const char *const *words)
{
    for (; *words; words++) {
        if (strcmp(word, *words) == 0)
            return true;
    }
    return false;
}

// What stands behind the type in an identity.
static char *identifier(const struct mgmt_entity *e)
{
    static const char *const by_place[] = {"listener", "connector", "tcpListener", "tcpConnector",
                                           NULL};
    static const char *const by_other[] = {"router", "log", NULL};
    static const char *const keys[] = {"id", "module", "hostname", "prefix", "pattern", "address"};
    const char *name = mgmt_entity_cstr(e, "name");

    if (is_one_of(e->type->name, by_place)) {
        const char *host = mgmt_entity_cstr(e, "host"), *port = mgmt_entity_cstr(e, "port");

        return str_fmt("%s:%s%s%s", host ? host : "", port ? port : "", name ? ":" : "",
                       name ? name : "");
    }
    if (name && !is_one_of(e->type->name, by_other))
        return xstrdup(name);
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        const char *text = mgmt_entity_cstr(e, keys[i]);

        if (text)
            return xstrdup(text);
    }
    return xstrdup("0");
}

char *mgmt_entity_identity(const struct mgmt_entity *e)
{
    char *id = identifier(e), *identity = str_fmt("%s/%s", e->type->name, id);

    free(id);
    return identity;
}
