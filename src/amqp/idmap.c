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
    free(m->slots);
    *m = (struct idmap){0};
}

static void place(struct idmap *m, uint32_t id, void *value)
{
    uint32_t at = idmap_place(m, id);

    while (m->slots[at].value)
        at = (at + 1) & (m->size - 1);
    m->slots[at] = (struct idmap_slot){value, id};
}

static void grow(struct idmap *m)
{
    struct idmap_slot *old = m->slots;
    uint32_t old_size = m->size;

    if (m->factor == 0)
        m->factor = factor_of(m);
    m->size = old_size ? old_size * 2 : FIRST_SIZE;
    m->shift = (uint8_t)(old_size ? m->shift - 1 : FIRST_SHIFT);
    m->slots = xcalloc(m->size, sizeof(*m->slots));
    for (uint32_t i = 0; i < old_size; i++)
        if (old[i].value)
            place(m, old[i].id, old[i].value);
    free(old);
}

void idmap_put(struct idmap *m, uint32_t id, void *value)
{
    if ((m->count + 1) * 4 > m->size * 3)
        grow(m);
    place(m, id, value);
    m->count++;
}

// The gap is closed by what stands behind it, so that no probe ends too early.
void idmap_remove(struct idmap *m, uint32_t id)
{
    uint32_t mask = m->size - 1, gap;

    if (!idmap_get(m, id))
        return;
    for (gap = idmap_place(m, id); m->slots[gap].id != id || !m->slots[gap].value;)
        gap = (gap + 1) & mask;
    for (uint32_t at = (gap + 1) & mask; m->slots[at].value; at = (at + 1) & mask) {
        uint32_t home = idmap_place(m, m->slots[at].id);

        if (((at - home) & mask) < ((at - gap) & mask))
            continue;
        m->slots[gap] = m->slots[at];
        gap = at;
    }
    m->slots[gap] = (struct idmap_slot){0};
    m->count--;
}
