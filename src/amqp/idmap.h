// SPDX-License-Identifier: Apache-2.0
// From numbers that the peer chose (channels, handles) to pointers: open addressing, and a secret
// odd multiplier as the hash, so that no choice of numbers makes it slow. Internal to amqp.
#pragma once

#include <stddef.h>
#include <stdint.h>

struct idmap_slot {
    void *value; // NULL: free
    uint32_t id;
};

// Zeroed memory is an empty map.
struct idmap {
    struct idmap_slot *slots;
    uint64_t factor;
    uint32_t size, count; // size: a power of two, or 0
    uint8_t shift;
};

void idmap_fini(struct idmap *m);
// `id` is not in the map, `value` not NULL.
void idmap_put(struct idmap *m, uint32_t id, void *value);
// Nothing happens when it is not there.
void idmap_remove(struct idmap *m, uint32_t id);

static inline uint32_t idmap_place(const struct idmap *m, uint32_t id)
{
    return (uint32_t)((id * m->factor) >> m->shift);
}

// The value, or NULL.
static inline void *idmap_get(const struct idmap *m, uint32_t id)
{
    if (m->count == 0)
        return NULL;
    for (uint32_t at = idmap_place(m, id);; at = (at + 1) & (m->size - 1)) {
        const struct idmap_slot *slot = &m->slots[at];

        if (!slot->value || slot->id == id)
            return slot->value;
    }
}
