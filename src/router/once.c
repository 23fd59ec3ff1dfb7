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

enum { CAME_DOWN = 4096 };
enum { WINDOW_MIN = 512, WINDOW_MAX = 65536, NUMBERS = 1 << (32 - RA_NUMBER_SHIFT) };

struct seen {
    uint32_t highest;
    uint32_t size;  // bits
    uint32_t count; // numbers passed since it grew
    uint64_t *bits; // by number modulo size
};

// A router that restarts must not begin where its former self did: the others still know those
// numbers.
void once_init(struct router *r)
{
    r->multicast_number = rng_below(&r->rng, NUMBERS);
}

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

// What is known of an ingress that was gone meanwhile, for its copies may have been under way.
static struct seen *unpark(struct router *r, struct str id)
{
    for (int i = 0; i < ONCE_PARKED; i++) {
        struct seen *s = r->parked[i].seen;

        if (!s || !str_eq(str_of(r->parked[i].id), id))
            continue;
        free(r->parked[i].id);
        r->parked[i] = (struct parked){NULL, NULL};
        return s;
    }
    return NULL;
}

static struct seen *seen_new(uint32_t number)
{
    struct seen *s = xcalloc(1, sizeof(*s));

    s->size = WINDOW_MIN;
    s->bits = xcalloc(s->size / 64, sizeof(*s->bits));
    s->highest = (number - 1) & (NUMBERS - 1);
    return s;
}

static void seen_free(struct seen *s)
{
    if (s)
        free(s->bits);
    free(s);
}

static struct seen *seen_of(struct router *r, uint32_t node, struct str id, uint32_t number)
{

    if (node >= r->seen_size) {
        uint32_t size = node + 16;

        r->seen = xrealloc(r->seen, size, sizeof(struct seen *));
        memset(r->seen + r->seen_size, 0, (size - r->seen_size) * sizeof(struct seen *));
        r->seen_size = size;
    }
    if (!r->seen[node])
        r->seen[node] = unpark(r, id);
    if (!r->seen[node])
        r->seen[node] = seen_new(number);
    return r->seen[node];
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

bool once_is_new(struct router *r, uint32_t node, struct str id, uint32_t number)
{
    struct seen *s = seen_of(r, node, id, number);
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

void once_forget(struct router *r, uint32_t node, struct str id)
{
    struct parked *p = &r->parked[r->parked_next];

    if (node >= r->seen_size || !r->seen[node])
        return;
    seen_free(p->seen);
    free(p->id);
    *p = (struct parked){str_dup(id), r->seen[node]};
    r->parked_next = (r->parked_next + 1) % ONCE_PARKED;
    r->seen[node] = NULL;
}

void once_begin(struct router *r)
{
    if (!r->came_down)
        r->came_down = xcalloc(CAME_DOWN, sizeof(*r->came_down));
}

void once_end(struct router *r)
{
    free(r->came_down);
    r->came_down = NULL;
}

bool once_has_come_down(struct router *r, struct str ingress, uint32_t number)
{
    uint64_t hash = UINT64_C(14695981039346656037) ^ number, *place; // FNV-1a

    if (!r->came_down)
        return false;
    for (size_t i = 0; i < ingress.len; i++)
        hash = (hash ^ (uint8_t)ingress.ptr[i]) * UINT64_C(1099511628211);
    place = &r->came_down[hash % CAME_DOWN];
    if (*place == hash)
        return true;
    *place = hash;
    return false;
}

void once_fini(struct router *r)
{
    once_end(r);
    for (uint32_t i = 0; i < r->seen_size; i++)
        seen_free(r->seen[i]);
    for (int i = 0; i < ONCE_PARKED; i++) {
        seen_free(r->parked[i].seen);
        free(r->parked[i].id);
    }
    free(r->seen);
}
