// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>

#include "base/mem.h"
#include "flow/kept.h"

// The records of one source in a sorted array. Identities of a router are its prefix and a number
// that counts up, so nearly all of them are found by number and added at the end.

// The number behind the source's prefix, if the identity has that form.
static bool read_number(const struct source *s, struct str id, uint32_t *out)
{
    struct str digits;
    uint64_t n = 0;

    if (id.len <= s->prefix_len || s->prefix_len == 0 || id.len > s->prefix_len + 9 ||
        memcmp(id.ptr, s->id, s->prefix_len) != 0)
        return false;
    digits = str_skip(id, s->prefix_len);
    if (digits.ptr[0] == '0' && digits.len > 1)
        return false;
    for (size_t i = 0; i < digits.len; i++) {
        if (digits.ptr[i] < '0' || digits.ptr[i] > '9')
            return false;
        n = n * 10 + (uint64_t)(digits.ptr[i] - '0');
    }
    *out = (uint32_t)n;
    return true;
}

// A record's place against an identity.
static int compare(const struct kept *k, bool is_number, uint32_t number, struct str id)
{
    if (k->is_named == is_number)
        return is_number ? 1 : -1;
    if (is_number)
        return k->number < number ? -1 : k->number > number;
    return str_cmp(str_of(k->named->text), id);
}

// Where it is, or would be.
static size_t place_of(const struct source *s, struct str id, bool *is_there)
{
    size_t low = 0, high = s->count;
    uint32_t number = 0;
    bool is_number = read_number(s, id, &number);

    *is_there = false;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = compare(&s->records[middle], is_number, number, id);

        if (order == 0) {
            *is_there = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct kept *kept_find(struct source *s, struct str id)
{
    bool is_there;
    size_t at = place_of(s, id, &is_there);

    return is_there ? &s->records[at] : NULL;
}

struct shape *kept_shape(const struct kept *k)
{
    return k->is_named ? k->named->shape : k->shape;
}

void kept_set_shape(struct kept *k, struct shape *shape)
{
    if (k->is_named)
        k->named->shape = shape;
    else
        k->shape = shape;
}

static void resize(struct source *s, size_t size)
{
    s->collector->octets -= s->size * sizeof(*s->records);
    s->size = size;
    s->records = xrealloc(s->records, s->size, sizeof(*s->records));
    s->collector->octets += s->size * sizeof(*s->records);
}

void kept_fit(struct source *s)
{
    if (s->count > 0 && s->count < s->size)
        resize(s, s->count);
}

// Its identity becomes a text of its own.
static void set_name(struct source *s, struct kept *k, struct str id)
{
    struct named *n = xcalloc(1, sizeof(*n) + id.len + 1);

    n->shape = k->shape;
    memcpy(n->text, id.ptr, id.len);
    k->named = n;
    k->is_named = true;
    s->collector->octets += sizeof(*n) + id.len + 1;
}

struct kept *kept_add(struct source *s, uint32_t type, struct str id)
{
    struct flow_collector *c = s->collector;
    bool is_there;
    size_t at = place_of(s, id, &is_there);
    struct kept *k;

    if (c->record_count >= FLOW_KEPT_MAX || c->octets >= FLOW_KEPT_OCTETS_MAX ||
        id.len > FLOW_TEXT_MAX) {
        c->dropped++;
        return NULL;
    }
    if (s->count == s->size)
        resize(s, s->size + s->size / 4 + 8);
    k = &s->records[at];
    memmove(k + 1, k, (s->count - at) * sizeof(*k));
    *k = (struct kept){.shape = shape_empty(c, type)};
    if (!read_number(s, id, &k->number))
        set_name(s, k, id);
    s->count++;
    c->record_count++;
    return k;
}

static void fini(struct source *s, struct kept *k)
{
    shape_unref(s->collector, kept_shape(k));
    if (k->is_named) {
        s->collector->octets -= sizeof(*k->named) + strlen(k->named->text) + 1;
        free(k->named);
    }
    s->collector->record_count--;
}

void kept_remove(struct source *s, struct kept *k)
{
    size_t at = (size_t)(k - s->records);

    fini(s, k);
    s->count--;
    memmove(k, k + 1, (s->count - at) * sizeof(*k));
}

static void texts_clear(struct source *s, struct texts *t)
{
    while (t->count > 0) {
        char *text = t->list[--t->count];

        s->collector->octets -= strlen(text) + 1;
        free(text);
    }
}

void kept_clear(struct source *s)
{
    for (size_t i = 0; i < s->count; i++)
        fini(s, &s->records[i]);
    s->collector->octets -= s->size * sizeof(*s->records);
    free(s->records);
    s->records = NULL;
    s->count = s->size = 0;
    texts_clear(s, &s->parents);
    texts_clear(s, &s->hosts);
}

static uint8_t index_of(const struct texts *t, struct str text)
{
    for (uint8_t i = 0; i < t->count; i++)
        if (str_is(text, t->list[i]))
            return (uint8_t)(i + 1);
    return 0;
}

static struct str text_at(const struct texts *t, uint8_t index)
{
    return index > 0 ? str_of(t->list[index - 1]) : STR_NONE;
}

// Its index, newly given if need be; 0: there is no room.
static uint8_t add_text(struct source *s, struct texts *t, struct str text)
{
    uint8_t index = index_of(t, text);

    if (index > 0 || t->count == TEXTS_MAX || text.len > FLOW_TEXT_MAX)
        return index;
    t->list[t->count++] = str_dup(text);
    s->collector->octets += text.len + 1;
    return t->count;
}

uint8_t kept_parent_index(const struct source *s, struct str id)
{
    return index_of(&s->parents, id);
}

bool kept_set_parent(struct source *s, struct kept *k, struct str id)
{
    uint8_t index = add_text(s, &s->parents, id);

    if (index > 0)
        k->parent = index;
    return index > 0;
}

struct str kept_parent(const struct source *s, const struct kept *k)
{
    return text_at(&s->parents, k->parent);
}

bool kept_set_host(struct source *s, struct kept *k, struct str host)
{
    k->host = add_text(s, &s->hosts, host);
    return k->host > 0;
}

struct str kept_host(const struct source *s, const struct kept *k)
{
    return text_at(&s->hosts, k->host);
}

char *kept_id(const struct source *s, const struct kept *k)
{
    if (k->is_named)
        return xstrdup(k->named->text);
    return str_fmt("%.*s%u", (int)s->prefix_len, s->id, k->number);
}

static uint64_t power_above(uint64_t n)
{
    uint64_t power = 10;

    while (power <= n)
        power *= 10;
    return power;
}

// Decimal numbers as texts are sorted: 10 before 9, 1 before 10.
static int digits_order(uint64_t a, uint64_t b)
{
    uint64_t above_a = power_above(a), above_b = power_above(b);
    uint64_t x = a * (above_b > above_a ? above_b / above_a : 1);
    uint64_t y = b * (above_a > above_b ? above_a / above_b : 1);

    if (x == y)
        return a < b ? -1 : a > b;
    return x < y ? -1 : 1;
}

int kept_order(const struct kept *a, const struct kept *b)
{
    if (a->is_named && b->is_named)
        return strcmp(a->named->text, b->named->text);
    if (a->is_named || b->is_named)
        return a->is_named ? 1 : -1;
    return digits_order(a->number, b->number);
}
