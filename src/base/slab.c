// SPDX-License-Identifier: Apache-2.0
#include "base/slab.h"

#include <assert.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/list.h"

// Each page holds pieces of one size. Its head is in front; a free piece holds the address of the
// next. A new page is the lowest that is free, so that what lives long gathers there.

enum {
    PAGE = 4096,
    STEP = 16, // sizes are multiples of it
    PIECE_MAX = 512,
    PAGES_MAX = 1 << 16, // 256 MiB of addresses, of which only what is used takes memory
    BITS = 64,
};

struct page {
    struct list on_size; // with room for more; on no list when it is full
    void *free;
    uint16_t size, used, never_used; // pieces at the end that were never given out
};

static struct {
    pthread_mutex_t lock;
    uint8_t *region; // NULL: not asked for yet, or refused
    bool is_refused;
    uint64_t taken[PAGES_MAX / BITS];
    size_t lowest; // no word before this one has a free page
    size_t end;    // pages from here on were never touched
    size_t count;
    struct list with_room[PIECE_MAX / STEP];
} slab = {.lock = PTHREAD_MUTEX_INITIALIZER};

static bool begin(void)
{
    void *region;

    if (slab.region || slab.is_refused)
        return slab.region != NULL;
    region = mmap(NULL, (size_t)PAGES_MAX * PAGE, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    slab.is_refused = region == MAP_FAILED;
    if (slab.is_refused)
        return false;
    slab.region = region;
    for (size_t i = 0; i < PIECE_MAX / STEP; i++)
        list_init(&slab.with_room[i]);
    return true;
}

static struct page *page_at(size_t index)
{
    return (struct page *)(void *)(slab.region + index * PAGE);
}

// NULL: the region is full.
static struct page *take_page(size_t size)
{
    size_t index;
    struct page *p;

    while (slab.lowest < PAGES_MAX / BITS && ~slab.taken[slab.lowest] == 0)
        slab.lowest++;
    if (slab.lowest == PAGES_MAX / BITS)
        return NULL;
    index = slab.lowest * BITS + (size_t)__builtin_ctzll(~slab.taken[slab.lowest]);
    slab.taken[slab.lowest] |= UINT64_C(1) << index % BITS;
    slab.end = index >= slab.end ? index + 1 : slab.end;
    slab.count++;
    p = page_at(index);
    *p = (struct page){.size = (uint16_t)size};
    p->never_used = (uint16_t)((PAGE - sizeof(*p)) / size);
    assert(slab.with_room[size / STEP - 1].next); // of begin()
    list_prepend(&slab.with_room[size / STEP - 1], &p->on_size);
    return p;
}

static void give_page(struct page *p)
{
    size_t index = (size_t)((uint8_t *)p - slab.region) / PAGE;

    list_remove(&p->on_size);
    slab.taken[index / BITS] &= ~(UINT64_C(1) << index % BITS);
    slab.lowest = index / BITS < slab.lowest ? index / BITS : slab.lowest;
    slab.count--;
}

static void *take_piece(size_t size)
{
    struct list *first = list_first(&slab.with_room[size / STEP - 1]);
    struct page *p = first ? list_entry(first, struct page, on_size) : take_page(size);
    void *piece;

    if (!p)
        return NULL;
    piece = p->free;
    if (piece)
        p->free = *(void **)piece;
    else
        piece = (uint8_t *)p + PAGE - (size_t)p->never_used-- * size;
    p->used++;
    if (!p->free && p->never_used == 0)
        list_remove(&p->on_size);
    return piece;
}

static void give_piece(void *piece)
{
    size_t index = (size_t)((uint8_t *)piece - slab.region) / PAGE;
    struct page *p = page_at(index);

    if (!p->free && p->never_used == 0)
        list_prepend(&slab.with_room[p->size / STEP - 1], &p->on_size);
    *(void **)piece = p->free;
    p->free = piece;
    if (--p->used == 0)
        give_page(p);
}

void *slab_alloc(size_t size)
{
    size_t rounded = size > 0 ? (size + STEP - 1) / STEP * STEP : STEP;
    void *piece = NULL;

    if (rounded > PIECE_MAX)
        return malloc(size);
    pthread_mutex_lock(&slab.lock);
    if (begin())
        piece = take_piece(rounded);
    pthread_mutex_unlock(&slab.lock);
    return piece ? piece : malloc(rounded);
}

// The region never changes once it is there.
static bool is_piece(const void *ptr)
{
    return slab.region && (const uint8_t *)ptr >= slab.region &&
           (const uint8_t *)ptr < slab.region + (size_t)PAGES_MAX * PAGE;
}

void slab_free(void *ptr)
{
    bool is_ours;

    pthread_mutex_lock(&slab.lock);
    is_ours = is_piece(ptr);
    if (is_ours)
        give_piece(ptr);
    pthread_mutex_unlock(&slab.lock);
    if (!is_ours)
        free(ptr);
}

void slab_trim(void)
{
    size_t from = 0;

    pthread_mutex_lock(&slab.lock);
    for (size_t i = 0; i <= slab.end; i++) {
        bool is_free = i < slab.end && !(slab.taken[i / BITS] >> i % BITS & 1);

        if (is_free)
            continue;
        if (i > from)
            madvise(page_at(from), (i - from) * PAGE, MADV_DONTNEED);
        from = i + 1;
    }
    while (slab.end > 0 && !(slab.taken[(slab.end - 1) / BITS] >> (slab.end - 1) % BITS & 1))
        slab.end--;
    pthread_mutex_unlock(&slab.lock);
}

size_t slab_pages(void)
{
    size_t count;

    pthread_mutex_lock(&slab.lock);
    count = slab.count;
    pthread_mutex_unlock(&slab.lock);
    return count;
}
