// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>

#include "base/mem.h"
#include "router/core.h"

// While routes change, routers see different trees for a moment, and copies of one multicast can
// meet again further on. Between routers of ours a multicast carries a number that its ingress gave
// it (docs/protocol.md): whoever has had it lets the second copy go.
//
// For each ingress a window of the numbers seen lately, one bit each. It begins small, because many
// routers only say a word now and then, and doubles while they keep talking.

enum { WINDOW_MIN = 512, WINDOW_MAX = 65536, NUMBERS = 1 << (32 - RA_NUMBER_SHIFT) };

struct seen {
    uint32_t highest;
    uint32_t size;  // bits
    uint32_t count; // numbers passed since it grew
    uint64_t *bits; // by number modulo size
};

uint32_t once_next(struct router *r)
{
    r->multicast_number = (r->multicast_number + 1) % NUMBERS;
    if (r->multicast_number == 0) // which stands for none
        r->multicast_number = 1;
    return r->multicast_number;
}

static uint64_t mask(uint32_t number)
{
    return UINT64_C(1) << (number % 64);
}

static bool get(const struct seen *s, uint32_t number)
{
    return s->bits[number % s->size / 64] & mask(number);
}

static void set(struct seen *s, uint32_t number)
{
    s->bits[number % s->size / 64] |= mask(number);
}

static void restart(struct seen *s, uint32_t number)
{
    memset(s->bits, 0, s->size / 8);
    s->highest = number;
    s->count = 0;
    set(s, number);
}

static void grow(struct seen *s)
{
    struct seen old = *s;

    s->size *= 2;
    s->count = 0;
    s->bits = xcalloc(s->size / 64, sizeof(*s->bits));
    for (uint32_t i = 0; i < old.size; i++) {
        uint32_t number = (s->highest - i) & (NUMBERS - 1);

        if (get(&old, number))
            set(s, number);
    }
    free(old.bits);
}

static struct seen *seen_of(struct router *r, uint32_t node, uint32_t number)
{
    struct seen *s = NULL;

    if (node >= r->seen_size) {
        uint32_t size = node + 16;

        r->seen = xrealloc(r->seen, size, sizeof(struct seen *));
        memset(r->seen + r->seen_size, 0, (size - r->seen_size) * sizeof(struct seen *));
        r->seen_size = size;
    }
    if (r->seen[node])
        return r->seen[node];
    s = r->seen[node] = xcalloc(1, sizeof(*s));
    s->size = WINDOW_MIN;
    s->bits = xcalloc(s->size / 64, sizeof(*s->bits));
    s->highest = (number - 1) & (NUMBERS - 1);
    return s;
}

static void advance(struct seen *s, uint32_t ahead)
{
    s->count += ahead;
    if (s->count > s->size && s->size < WINDOW_MAX)
        grow(s);
    for (uint32_t i = 1; i <= ahead; i++)
        s->bits[(s->highest + i) % s->size / 64] &= ~mask(s->highest + i);
    s->highest = (s->highest + ahead) & (NUMBERS - 1);
}

bool once_is_new(struct router *r, uint32_t node, uint32_t number)
{
    struct seen *s = seen_of(r, node, number);
    uint32_t ahead = (number - s->highest) & (NUMBERS - 1);
    uint32_t behind = (s->highest - number) & (NUMBERS - 1);

    if (behind < s->size) {
        if (get(s, number))
            return false;
        set(s, number);
    } else if (ahead < s->size) {
        advance(s, ahead);
        set(s, number);
    } else {
        restart(s, number); // another life of that router, or a long silence
    }
    return true;
}

void once_forget(struct router *r, uint32_t node)
{
    if (node >= r->seen_size || !r->seen[node])
        return;
    free(r->seen[node]->bits);
    free(r->seen[node]);
    r->seen[node] = NULL;
}

void once_fini(struct router *r)
{
    for (uint32_t i = 0; i < r->seen_size; i++)
        once_forget(r, i);
    free(r->seen);
}
