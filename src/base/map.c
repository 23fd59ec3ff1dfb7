// SPDX-License-Identifier: Apache-2.0
#include "base/map.h"

#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"

struct map_slot {
    char *key; // NULL: never used, or deleted (then value is GONE)
    size_t len;
    uint64_t hash;
    void *value;
};

static char gone_mark;
#define GONE ((void *)&gone_mark)

enum { SLOTS_MIN = 8 };

// Set once, before threads and maps are; not state that anybody shares.
static uint64_t hash_seed = UINT64_C(0x5be0cd19137e2179);

void map_seed(uint64_t seed)
{
    hash_seed = seed;
}

static uint64_t mix(uint64_t a, uint64_t b)
{
    __uint128_t product = (__uint128_t)a * b;

    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t load(const char *at, size_t len)
{
    uint64_t word = 0;

    memcpy(&word, at, len);
    return word;
}

uint64_t map_hash(struct str key)
{
    uint64_t h = hash_seed ^ (key.len * UINT64_C(0x9e3779b97f4a7c15));
    const char *at = key.ptr;
    size_t left = key.len;

    for (; left >= 8; at += 8, left -= 8)
        h = mix(h ^ load(at, 8), UINT64_C(0xa0761d6478bd642f));
    if (left > 0)
        h = mix(h ^ load(at, left), UINT64_C(0xe7037ed1a0b428db));
    return mix(h ^ hash_seed, UINT64_C(0x8ebc6af09c88c6e3));
}

void map_init(struct map *m)
{
    memset(m, 0, sizeof(*m));
}

void map_fini(struct map *m)
{
    for (size_t i = 0; i < m->slot_count; i++)
        free(m->slots[i].key);
    free(m->slots);
    memset(m, 0, sizeof(*m));
}

static struct map_slot *find(const struct map *m, struct str key, uint64_t hash)
{
    size_t mask = m->slot_count - 1;

    if (m->slot_count == 0)
        return NULL;
    for (size_t i = hash & mask;; i = (i + 1) & mask) {
        struct map_slot *s = &m->slots[i];

        if (!s->key && s->value != GONE)
            return NULL;
        if (s->key && s->hash == hash && s->len == key.len &&
            (key.len == 0 || memcmp(s->key, key.ptr, key.len) == 0))
            return s;
    }
}

void *map_get(const struct map *m, struct str key)
{
    const struct map_slot *s = find(m, key, map_hash(key));

    return s ? s->value : NULL;
}

static void place(struct map *m, struct map_slot entry)
{
    size_t mask = m->slot_count - 1, i = entry.hash & mask;

    while (m->slots[i].key)
        i = (i + 1) & mask;
    m->used += m->slots[i].value != GONE;
    m->slots[i] = entry;
    m->count++;
}

static void resize(struct map *m, size_t slot_count)
{
    struct map old = *m;

    m->slots = xcalloc(slot_count, sizeof(*m->slots));
    m->slot_count = slot_count;
    m->count = m->used = 0;
    for (size_t i = 0; i < old.slot_count; i++)
        if (old.slots[i].key)
            place(m, old.slots[i]);
    free(old.slots);
}

void *map_put(struct map *m, struct str key, void *value)
{
    uint64_t hash = map_hash(key);
    struct map_slot *s = find(m, key, hash);

    assert(value);
    if (s) {
        void *before = s->value;

        s->value = value;
        return before;
    }
    if ((m->used + 1) * 4 > m->slot_count * 3) {
        size_t wanted = SLOTS_MIN;

        while (wanted < (m->count + 1) * 2)
            wanted *= 2;
        resize(m, wanted);
    }
    place(m, (struct map_slot){str_dup(key), key.len, hash, value});
    return NULL;
}

void *map_remove(struct map *m, struct str key)
{
    struct map_slot *s = find(m, key, map_hash(key));
    void *value;

    if (!s)
        return NULL;
    value = s->value;
    free(s->key);
    *s = (struct map_slot){.value = GONE};
    m->count--;
    return value;
}

bool map_next(const struct map *m, size_t *at, struct str *key, void **value)
{
    for (; *at < m->slot_count; (*at)++) {
        const struct map_slot *s = &m->slots[*at];

        if (!s->key)
            continue;
        if (key)
            *key = (struct str){s->key, s->len};
        *value = s->value;
        (*at)++;
        return true;
    }
    return false;
}
