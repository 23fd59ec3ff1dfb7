// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>

#include "base/mem.h"
#include "flow/inside.h"
#include "flow/kept.h"
#include "flow/tell.h"

// Values of records, one copy of each set, found by the type and the encoded values.

enum { HEAD = 3 };

bool shape_needs(uint32_t type, uint32_t attr)
{
    static const uint8_t site[] = {FLOW_PLATFORM, FLOW_NAMESPACE, FLOW_NAME, FLOW_BUILD_VERSION, 0};
    static const uint8_t router[] = {FLOW_START_TIME,    FLOW_NAMESPACE, FLOW_MODE, FLOW_IMAGE_NAME,
                                     FLOW_IMAGE_VERSION, FLOW_HOST_NAME, FLOW_NAME, 0};
    static const uint8_t link[] = {FLOW_PEER,        FLOW_NAME, FLOW_LINK_COST,
                                   FLOW_OPER_STATUS, FLOW_ROLE, 0};
    static const uint8_t listener[] = {FLOW_DESTINATION_HOST, FLOW_PROTOCOL, FLOW_DESTINATION_PORT,
                                       FLOW_VAN_ADDRESS,      FLOW_NAME,     0};
    static const uint8_t connector[] = {FLOW_PROCESS_ID,       FLOW_DESTINATION_HOST, FLOW_PROTOCOL,
                                        FLOW_DESTINATION_PORT, FLOW_VAN_ADDRESS,      0};
    static const uint8_t process[] = {FLOW_SOURCE_HOST, FLOW_NAME, 0};
    static const uint8_t access[] = {0};
    static const uint8_t *const needs[] = {
        [FLOW_SITE] = site,
        [FLOW_ROUTER] = router,
        [FLOW_LINK] = link,
        [FLOW_LISTENER] = listener,
        [FLOW_CONNECTOR] = connector,
        [FLOW_PROCESS] = process,
        [FLOW_ROUTER_ACCESS] = access,
    };
    const uint8_t *list =
        type < sizeof(needs) / sizeof(needs[0]) && needs[type] ? needs[type] : NULL;

    // Attribute 0 is the type itself: asks whether such records are kept at all.
    if (list && attr == FLOW_RECORD_TYPE)
        return true;
    for (; list && *list; list++)
        if (*list == attr)
            return true;
    return false;
}

// ---------------------------------------------------------------------------------------- sharing

enum { BUCKETS_MIN = 64, TYPE_AND_LEN = 2 * sizeof(uint16_t) };

static struct shape **bucket(const struct shapes *all, uint32_t hash)
{
    return &all->buckets[hash & (all->bucket_count - 1)];
}

struct shape *shape_next(const struct flow_collector *c, const struct shape *s)
{
    const struct shapes *all = &c->shapes;
    size_t at = s ? (s->hash & (all->bucket_count - 1)) + 1 : 0;

    if (s && s->next)
        return s->next;
    while (at < all->bucket_count && !all->buckets[at])
        at++;
    return at < all->bucket_count ? all->buckets[at] : NULL;
}

static void put(struct shapes *all, struct shape *s)
{
    struct shape **first = bucket(all, s->hash);

    s->next = *first;
    *first = s;
}

static void make_room(struct flow_collector *c)
{
    struct shapes *all = &c->shapes, more = {.count = all->count};

    if (all->count < all->bucket_count)
        return;
    more.bucket_count = all->bucket_count ? all->bucket_count * 2 : BUCKETS_MIN;
    more.buckets = xcalloc(more.bucket_count, sizeof(struct shape *));
    for (size_t i = 0; i < all->bucket_count; i++)
        for (struct shape *s = all->buckets[i], *next; s; s = next) {
            next = s->next;
            put(&more, s);
        }
    free(all->buckets);
    *all = more;
}

void shapes_fini(struct flow_collector *c)
{
    free(c->shapes.buckets);
    c->shapes = (struct shapes){NULL, 0, 0};
}

static struct str key_of(const struct shape *s)
{
    return (struct str){(const char *)&s->type, TYPE_AND_LEN + s->len};
}

static size_t octets_of(const struct shape *s)
{
    return sizeof(*s) + s->len + sizeof(struct shape *);
}

// Takes a reference on the shape of these values, which may have to be made.
static struct shape *intern(struct flow_collector *c, uint32_t type, const uint8_t *values,
                            size_t len)
{
    struct shape *s = xcalloc(1, sizeof(*s) + len), *there;

    s->type = (uint16_t)type;
    s->len = (uint16_t)len;
    if (len > 0)
        memcpy(s->values, values, len);
    s->hash = (uint32_t)map_hash(key_of(s));
    make_room(c);
    there = *bucket(&c->shapes, s->hash);
    while (there && !(there->hash == s->hash && str_eq(key_of(there), key_of(s))))
        there = there->next;
    if (there) {
        free(s);
        s = there;
    } else {
        put(&c->shapes, s);
        c->shapes.count++;
        c->octets += octets_of(s);
    }
    s->refs++;
    return s;
}

struct shape *shape_empty(struct flow_collector *c, uint32_t type)
{
    return intern(c, type, NULL, 0);
}

void shape_unref(struct flow_collector *c, struct shape *s)
{
    struct shape **at = bucket(&c->shapes, s->hash);

    if (--s->refs > 0)
        return;
    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
    c->shapes.count--;
    c->octets -= octets_of(s);
    free(s);
}

// The value of an attribute, as encoded; STR_NONE when it is not set.
static struct str find(const struct shape *s, uint32_t attr)
{
    for (size_t at = 0; at + HEAD <= s->len;) {
        size_t len = (size_t)(s->values[at + 1] << 8 | s->values[at + 2]);

        if (s->values[at] == attr)
            return (struct str){(const char *)s->values + at + HEAD, len};
        at += HEAD + len;
    }
    return STR_NONE;
}

struct str shape_text(const struct shape *s, uint32_t attr)
{
    return find(s, attr);
}

uint64_t shape_number(const struct shape *s, uint32_t attr)
{
    struct str value = find(s, attr);
    uint64_t number = 0;

    if (value.len == sizeof(number))
        memcpy(&number, value.ptr, sizeof(number));
    return number;
}

struct values {
    uint8_t bytes[16 * (HEAD + FLOW_TEXT_MAX)];
    size_t len;
};

static void put_value(struct values *v, uint32_t attr, struct str value)
{
    v->bytes[v->len] = (uint8_t)attr;
    v->bytes[v->len + 1] = (uint8_t)(value.len >> 8);
    v->bytes[v->len + 2] = (uint8_t)value.len;
    if (value.len > 0)
        memcpy(v->bytes + v->len + HEAD, value.ptr, value.len);
    v->len += HEAD + value.len;
}

static const struct flow_value *changed(const struct flow_value *changes, size_t count,
                                        uint32_t attr)
{
    for (size_t i = count; i > 0; i--)
        if (changes[i - 1].attr == attr)
            return &changes[i - 1];
    return NULL;
}

// Most of what is heard is known.
static bool has_all(const struct shape *s, const struct flow_value *changes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct flow_value *v = &changes[i];
        struct str value = find(s, v->attr);
        struct str text = v->is_text ? v->text : (struct str){(const char *)&v->number, 8};

        if (!value.ptr || !str_eq(value, text))
            return false;
    }
    return true;
}

struct shape *shape_with(struct flow_collector *c, struct shape *s,
                         const struct flow_value *changes, size_t count)
{
    struct values v = {.len = 0};
    struct shape *made;

    if (has_all(s, changes, count))
        return s;

    for (uint32_t attr = 1; attr <= FLOW_ATTR_MAX; attr++) {
        const struct flow_value *change;
        struct str value;

        if (!shape_needs(s->type, attr))
            continue;
        change = changed(changes, count, attr);
        value = find(s, attr);
        if (change && change->is_text)
            value =
                (struct str){change->text.ptr,
                             change->text.len > FLOW_TEXT_MAX ? FLOW_TEXT_MAX : change->text.len};
        else if (change)
            value = (struct str){(const char *)&change->number, sizeof(change->number)};
        if (value.ptr)
            put_value(&v, attr, value);
    }
    made = intern(c, s->type, v.bytes, v.len);
    shape_unref(c, s);
    return made;
}

// ----------------------------------------------------------------------------------------- telling

struct field {
    const char *key;
    uint32_t attr;
};

void shape_tell(const struct shape *s, struct str host, struct teller *t)
{
    static const struct field site[] = {
        {"name", FLOW_NAME},
        {"namespace", FLOW_NAMESPACE},
        {"platform", FLOW_PLATFORM},
        {"siteVersion", FLOW_BUILD_VERSION},
        {NULL, 0},
    };
    static const struct field router[] = {
        {"name", FLOW_NAME},
        {"namespace", FLOW_NAMESPACE},
        {"mode", FLOW_MODE},
        {"imageName", FLOW_IMAGE_NAME},
        {"imageVersion", FLOW_IMAGE_VERSION},
        {"hostname", FLOW_HOST_NAME},
        {NULL, 0},
    };
    static const struct field link[] = {
        {"name", FLOW_NAME}, {"linkCost", FLOW_LINK_COST}, {"status", FLOW_OPER_STATUS},
        {"role", FLOW_ROLE}, {"peer", FLOW_PEER},          {NULL, 0},
    };
    static const struct field listener[] = {
        {"name", FLOW_NAME},
        {"destHost", FLOW_DESTINATION_HOST},
        {"destPort", FLOW_DESTINATION_PORT},
        {"protocol", FLOW_PROTOCOL},
        {"address", FLOW_VAN_ADDRESS},
        {NULL, 0},
    };
    static const struct field connector[] = {
        {"destHost", FLOW_DESTINATION_HOST},
        {"destPort", FLOW_DESTINATION_PORT},
        {"address", FLOW_VAN_ADDRESS},
        {NULL, 0},
    };
    static const struct field *const fields[] = {
        [FLOW_SITE] = site,         [FLOW_ROUTER] = router,       [FLOW_LINK] = link,
        [FLOW_LISTENER] = listener, [FLOW_CONNECTOR] = connector,
    };

    for (const struct field *f = fields[s->type]; f->key; f++) {
        if (f->attr == FLOW_DESTINATION_HOST && host.len > 0)
            tell_text(t, f->key, host);
        else if (attr_is_text(f->attr))
            tell_text(t, f->key, shape_text(s, f->attr));
        else if (shape_number(s, f->attr) > 0)
            tell_number(t, f->key, shape_number(s, f->attr));
    }
}
