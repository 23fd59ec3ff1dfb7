// SPDX-License-Identifier: Apache-2.0
#include "amqp/idmap.h"

#include <stdlib.h>

#include "base/mem.h"

enum { FIRST_SIZE = 4, FIRST_SHIFT = 62 };

// The multiplier comes from where the map lies: engines have no other source of secrets, and what
// they do must not depend on one. Only the length of a probe does.
static uint64_t factor_of(const struct idmap *m)
{
    uint64_t x = (uint64_t)(uintptr_t)m + UINT64_C(0x9E3779B97F4A7C15);

    x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94D049BB133111EB);
    return (x ^ (x >> 31)) | 1;
}

void idmap_fini(struct idmap *m)
{
    free(m->table);
    *m = (struct idmap){0};
}

static void place(struct idmap_table *t, uint32_t id, void *value)
{
    uint32_t at = idmap_place(t, id);

    while (t->slots[at].value)
        at = (at + 1) & (t->size - 1);
    t->slots[at] = (struct idmap_slot){value, id};
}

static void grow(struct idmap *m)
{
    struct idmap_table *old = m->table;
    uint32_t size = old ? old->size * 2 : FIRST_SIZE;
    struct idmap_table *t = xcalloc(1, sizeof(*t) + size * sizeof(t->slots[0]));

    t->factor = old ? old->factor : factor_of(m);
    t->size = size;
    t->shift = (uint8_t)(old ? old->shift - 1 : FIRST_SHIFT);
    for (uint32_t i = 0; old && i < old->size; i++)
        if (old->slots[i].value)
            place(t, old->slots[i].id, old->slots[i].value);
    if (m->only)
        place(t, m->only_id, m->only);
    m->only = NULL;
    m->table = t;
    free(old);
}

void idmap_put(struct idmap *m, uint32_t id, void *value)
{
    if (m->table ? (m->count + 1) * 4 > m->table->size * 3 : m->count > 0)
        grow(m);
    if (m->table) {
        place(m->table, id, value);
    } else {
        m->only = value;
        m->only_id = id;
    }
    m->count++;
}

// The gap is closed by what stands behind it, so that no probe ends too early.
static void close_gap(struct idmap_table *t, uint32_t gap)
{
    uint32_t mask = t->size - 1;

    for (uint32_t at = (gap + 1) & mask; t->slots[at].value; at = (at + 1) & mask) {
        uint32_t home = idmap_place(t, t->slots[at].id);

        if (((at - home) & mask) < ((at - gap) & mask))
            continue;
        t->slots[gap] = t->slots[at];
        gap = at;
    }
    t->slots[gap] = (struct idmap_slot){0};
}

void idmap_remove(struct idmap *m, uint32_t id)
{
    struct idmap_table *t = m->table;
    uint32_t at;

    if (!idmap_get(m, id))
        return;
    m->count--;
    m->only = NULL;
    if (!t)
        return;
    for (at = idmap_place(t, id); t->slots[at].id != id || !t->slots[at].value;)
        at = (at + 1) & (t->size - 1);
    close_gap(t, at);
}
