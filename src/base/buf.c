// SPDX-License-Identifier: Apache-2.0
#include "base/buf.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum { FREE_KEPT = 64 };

// With -Dpool_block=N every pool of larger blocks has blocks of that size instead, and as many more
// of them: the whole suite runs so once, and meets every boundary.
#ifdef POOL_BLOCK
enum { BLOCK_SIZE_MAX = POOL_BLOCK };
#else
enum { BLOCK_SIZE_MAX = 1 << 30 };
#endif

struct pool {
    uint32_t block_size;
    size_t block_max, reserve;
    size_t used;
    struct block *free;
    size_t free_count;
};

struct pool *pool_new(uint32_t block_size, size_t block_max)
{
    struct pool *p = xcalloc(1, sizeof(*p));

    if (block_size > BLOCK_SIZE_MAX) {
        block_max = block_max * block_size / BLOCK_SIZE_MAX;
        block_size = BLOCK_SIZE_MAX;
    }
    p->block_size = block_size;
    p->block_max = block_max;
    p->reserve = block_max / 8 < 4 ? 4 : block_max / 8;
    return p;
}

void pool_rest(struct pool *p)
{
    while (p->free) {
        struct block *b = p->free;

        p->free = b->next;
        free(b);
    }
    p->free_count = 0;
}

void pool_free(struct pool *p)
{
    if (!p)
        return;
    assert(p->used == 0);
    pool_rest(p);
    free(p);
}

size_t pool_used(const struct pool *p)
{
    return p->used;
}

bool pool_is_short(const struct pool *p)
{
    return p->used >= p->block_max;
}

uint32_t pool_block_size(const struct pool *p)
{
    return p->block_size;
}

size_t pool_block_max(const struct pool *p)
{
    return p->block_max;
}

static struct block *take_block(struct pool *p, bool from_reserve)
{
    struct block *b = p->free;

    if (p->used >= p->block_max + (from_reserve ? p->reserve : 0))
        return NULL;
    if (b) {
        p->free = b->next;
        p->free_count--;
    } else {
        b = malloc(sizeof(*b) + p->block_size);
        if (!b)
            return NULL;
    }
    b->next = NULL;
    b->start = b->end = 0;
    p->used++;
    return b;
}

static void give_block(struct pool *p, struct block *b)
{
    p->used--;
    if (p->free_count >= FREE_KEPT) {
        free(b);
        return;
    }
    b->next = p->free;
    p->free = b;
    p->free_count++;
}

void buf_init(struct buf *b, struct pool *pool)
{
    b->first = b->last = NULL;
    b->len = 0;
    b->pool = pool;
}

void buf_fini(struct buf *b)
{
    while (b->first) {
        struct block *block = b->first;

        b->first = block->next;
        give_block(b->pool, block);
    }
    b->last = NULL;
    b->len = 0;
}

static bool add_block(struct buf *b, bool from_reserve)
{
    struct block *block = take_block(b->pool, from_reserve);

    if (!block)
        return false;
    if (b->last)
        b->last->next = block;
    else
        b->first = block;
    b->last = block;
    return true;
}

static size_t append(struct buf *b, const uint8_t *data, size_t len, bool from_reserve)
{
    size_t done = 0;

    while (done < len) {
        size_t room = b->last ? b->pool->block_size - b->last->end : 0;
        size_t part = len - done < room ? len - done : room;

        if (part == 0) {
            if (!add_block(b, from_reserve))
                break;
            continue;
        }
        memcpy(b->last->data + b->last->end, data + done, part);
        b->last->end += (uint32_t)part;
        done += part;
    }
    b->len += done;
    return done;
}

size_t buf_write(struct buf *b, const void *data, size_t len)
{
    return append(b, data, len, false);
}

bool buf_write_reserved(struct buf *b, const void *data, size_t len)
{
    const struct pool *p = b->pool;
    size_t room = b->last ? p->block_size - b->last->end : 0;
    size_t more = len > room ? (len - room + p->block_size - 1) / p->block_size : 0;

    if (p->used + more > p->block_max + p->reserve)
        return false;
    return append(b, data, len, true) == len;
}

uint8_t *buf_reserve(struct buf *b, size_t len)
{
    if (len > b->pool->block_size)
        return NULL;
    if ((!b->last || b->pool->block_size - b->last->end < len) && !add_block(b, true))
        return NULL;
    return b->last->data + b->last->end;
}

void buf_commit(struct buf *b, size_t len)
{
    assert(b->last && b->last->end + len <= b->pool->block_size);
    b->last->end += (uint32_t)len;
    b->len += len;
}

int buf_peek(const struct buf *b, struct iovec *iov, int iov_max)
{
    int count = 0;

    for (struct block *block = b->first; block && count < iov_max; block = block->next)
        if (block->end > block->start)
            iov[count++] = (struct iovec){block->data + block->start, block->end - block->start};
    return count;
}

const uint8_t *buf_front(const struct buf *b, size_t *len)
{
    for (const struct block *block = b->first; block; block = block->next) {
        if (block->end > block->start) {
            *len = block->end - block->start;
            return block->data + block->start;
        }
    }
    *len = 0;
    return NULL;
}

size_t buf_copy(const struct buf *b, size_t at, void *out, size_t len)
{
    size_t done = 0;

    for (const struct block *block = b->first; block && done < len; block = block->next) {
        size_t have = block->end - block->start;
        size_t part = have > at ? have - at : 0;

        if (part > len - done)
            part = len - done;
        if (part > 0)
            memcpy((uint8_t *)out + done, block->data + block->start + at, part);
        at -= at < have ? at : have;
        done += part;
    }
    return done;
}

void buf_skip(struct buf *b, size_t len)
{
    assert(len <= b->len);
    b->len -= len;
    while (b->first) {
        struct block *block = b->first;
        size_t have = block->end - block->start;

        if (len < have) {
            block->start += (uint32_t)len;
            return;
        }
        len -= have;
        b->first = block->next;
        if (!b->first)
            b->last = NULL;
        give_block(b->pool, block);
        if (len == 0 && b->first && b->len > 0 && b->first->end > b->first->start)
            return;
    }
}

void buf_move(struct buf *to, struct buf *from)
{
    assert(to->pool == from->pool);
    if (!from->first)
        return;
    if (to->last)
        to->last->next = from->first;
    else
        to->first = from->first;
    to->last = from->last;
    to->len += from->len;
    from->first = from->last = NULL;
    from->len = 0;
}
