// SPDX-License-Identifier: Apache-2.0
// Hash map from bytes to a pointer. Keys are copied in. Open addressing; the hash is seeded for
// each process, so a peer cannot aim at one bucket.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

struct map_slot;

struct map {
    struct map_slot *slots;
    size_t slot_count; // a power of two, or 0
    size_t count;
    size_t used; // live and deleted slots
};

// Zeroed memory is an empty map too.
void map_init(struct map *m);
// Frees keys and table; the values are the caller's.
void map_fini(struct map *m);

// The value, or NULL.
void *map_get(const struct map *m, struct str key);
// Stores a non-NULL value; returns what stood there before, or NULL.
void *map_put(struct map *m, struct str key, void *value);
// Takes the entry out; returns its value, or NULL when there was none.
void *map_remove(struct map *m, struct str key);

// Walks all entries in no particular order: start with *at = 0; false at the end. Entries may be
// removed during the walk, not added.
bool map_next(const struct map *m, size_t *at, struct str *key, void **value);

// The hash that maps use, for tables of other shapes.
uint64_t map_hash(struct str key);

// Sets the seed of the hash, once at program start before any map is used; tests and the simulator
// leave it at its fixed default.
void map_seed(uint64_t seed);
