// SPDX-License-Identifier: Apache-2.0
// Seeded pseudo-random numbers: choices, jitter and names, never keys.
#pragma once

#include <stdint.h>

struct rng {
    uint64_t state[4];
};

void rng_init(struct rng *r, uint64_t seed);
uint64_t rng_next(struct rng *r);
// 0 <= result < bound; bound > 0.
uint32_t rng_below(struct rng *r, uint32_t bound);

enum { RNG_ID_LEN = 15 };
// Fifteen characters of A-Z a-z 0-9 + _ and a NUL: the "discriminator" in names of links, temporary
// addresses and connection groups.
void rng_id(struct rng *r, char out[RNG_ID_LEN + 1]);
// A seed from the system's entropy; for shells.
uint64_t rng_system_seed(void);
