// SPDX-License-Identifier: Apache-2.0
// From numbers that the peer chose (channels, handles) to pointers: open addressing, and a secret
// odd multiplier as the hash, so that no choice of numbers makes it slow. One entry alone, which is
// all that the session of a stream has, takes no table. Internal to amqp.
#pragma once

#include <stddef.h>
#include <stdint.h>

struct idmap_slot {
    void *value; // NULL: free
    uint32_t id;
};

struct idmap_table {
    uint64_t factor;
    uint32_t size; // a power of two
    uint8_t shift;
    struct idmap_slot slots[];
};

// Zeroed memory is an empty map.
struct idmap {
    struct idmap_table *table; // NULL: `only` is all there is
    void *only;                // NULL: nothing
    uint32_t only_id, count;
};

void idmap_fini(struct idmap *m);
// `id` is not in the map, `value` not NULL.
void idmap_put(struct idmap *m, uint32_t id, void *value);
// Nothing happens when it is not there.
void idmap_remove(struct idmap *m, uint32_t id);

static inline uint32_t idmap_place(const struct idmap_table *t, uint32_t id)
{
    return (uint32_t)((id * t->factor) >> t->shift);
}

// The value, or NULL.
static inline void *idmap_get(const struct idmap *m, uint32_t id)
{
    const struct idmap_table *t = m->table;

    if (!t)
        return m->only_id == id ? m->only : NULL;
    for (uint32_t at = idmap_place(t, id);; at = (at + 1) & (t->size - 1)) {
        const struct idmap_slot *slot = &t->slots[at];

        if (!slot->value || slot->id == id)
            return slot->value;
    }
}
