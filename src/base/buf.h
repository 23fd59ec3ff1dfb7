// SPDX-License-Identifier: Apache-2.0
// Bytes on their way through the router. A pool hands out blocks of one size up to a fixed limit; a
// buf is a queue of bytes in such blocks, written at its end and read at its front. An empty buf
// holds no block. A pool and its bufs belong to one thread.
//
// The pool has a limit, and reaching it is how a fast sender learns to wait: a short write is an
// ordinary answer. Control frames may dip into a reserve behind the limit (buf_write_reserved).
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct block {
    struct block *next;
    uint32_t start, end; // the bytes in use: data[start, end)
    uint8_t data[];
};

struct pool;

// Blocks carry `block_size` bytes each, at most `block_max` at a time; another eighth (at least 4)
// is the reserve. Free blocks are kept for reuse up to a small number, the rest goes back to the
// system, so memory follows load down.
struct pool *pool_new(uint32_t block_size, size_t block_max);
// All bufs must be empty by then (asserted).
void pool_free(struct pool *p);
void pool_rest(struct pool *p);           // free blocks go back to the system
size_t pool_used(const struct pool *p);   // blocks handed out
bool pool_is_short(const struct pool *p); // at its limit: stop reading
uint32_t pool_block_size(const struct pool *p);
size_t pool_block_max(const struct pool *p);

struct buf {
    struct block *first, *last;
    size_t len;
    struct pool *pool;
};

void buf_init(struct buf *b, struct pool *pool);
// Gives the blocks back; accepts zeroed memory.
void buf_fini(struct buf *b);

// Bytes taken, up to `len`; fewer only when the pool is at its limit.
size_t buf_write(struct buf *b, const void *data, size_t len);
// All or nothing; false when even the reserve is gone.
bool buf_write_reserved(struct buf *b, const void *data, size_t len);

// Room for `len` contiguous bytes (at most block_size) at the end, or NULL when there is no block
// left (the reserve is used). Write there, then buf_commit() what was written. Space left in the
// last block is skipped if it is too small.
uint8_t *buf_reserve(struct buf *b, size_t len);
void buf_commit(struct buf *b, size_t len);

// Entries filled with the readable pieces from the front, at most `iov_max`.
int buf_peek(const struct buf *b, struct iovec *iov, int iov_max);
// The first contiguous piece; *len 0 when empty.
const uint8_t *buf_front(const struct buf *b, size_t *len);
// Copies up to `len` bytes from offset `at` without consuming; returns the count.
size_t buf_copy(const struct buf *b, size_t at, void *out, size_t len);
// Drops the first `len` bytes (at most b->len).
void buf_skip(struct buf *b, size_t len);
// Appends all of `from` to `to` (same pool) and leaves `from` empty. No bytes are copied.
void buf_move(struct buf *to, struct buf *from);
