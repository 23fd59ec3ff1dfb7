// SPDX-License-Identifier: Apache-2.0
#include "base/heap.h"

#include <stdlib.h>

#include "base/mem.h"

void heap_init(struct heap *h)
{
    h->nodes = NULL;
    h->count = h->size = 0;
}

void heap_fini(struct heap *h)
{
    for (size_t i = 0; i < h->count; i++)
        h->nodes[i]->place = 0;
    free(h->nodes);
    heap_init(h);
}

static void put(struct heap *h, size_t index, struct timer *t)
{
    h->nodes[index] = t;
    t->place = index + 1;
}

static void sift_up(struct heap *h, size_t index)
{
    struct timer *t = h->nodes[index];

    while (index > 0 && mono_before(t->at, h->nodes[(index - 1) / 2]->at)) {
        put(h, index, h->nodes[(index - 1) / 2]);
        index = (index - 1) / 2;
    }
    put(h, index, t);
}

static void sift_down(struct heap *h, size_t index)
{
    struct timer *t = h->nodes[index];

    for (;;) {
        size_t child = 2 * index + 1;

        if (child + 1 < h->count && mono_before(h->nodes[child + 1]->at, h->nodes[child]->at))
            child++;
        if (child >= h->count || !mono_before(h->nodes[child]->at, t->at))
            break;
        put(h, index, h->nodes[child]);
        index = child;
    }
    put(h, index, t);
}

void heap_cancel(struct heap *h, struct timer *t)
{
    size_t index = t->place - 1;

    if (t->place == 0)
        return;
    t->place = 0;
    h->count--;
    if (index == h->count)
        return;
    put(h, index, h->nodes[h->count]);
    sift_up(h, index);
    sift_down(h, h->nodes[index]->place - 1);
}

void heap_set(struct heap *h, struct timer *t, struct mono at)
{
    if (t->place > 0 && t->at.ns == at.ns)
        return;
    heap_cancel(h, t);
    t->at = at;
    if (at.ns == MONO_NEVER.ns)
        return;
    if (h->count == h->size) {
        h->size = h->size ? h->size * 2 : 16;
        h->nodes = xrealloc(h->nodes, h->size, sizeof(struct timer *));
    }
    h->nodes[h->count] = t;
    sift_up(h, h->count++);
}

struct mono heap_deadline(const struct heap *h)
{
    return h->count > 0 ? h->nodes[0]->at : MONO_NEVER;
}

struct timer *heap_pop_due(struct heap *h, struct mono now)
{
    struct timer *t = h->count > 0 ? h->nodes[0] : NULL;

    if (!t || mono_before(now, t->at))
        return NULL;
    heap_cancel(h, t);
    return t;
}
