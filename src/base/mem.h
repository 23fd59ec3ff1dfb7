// SPDX-License-Identifier: Apache-2.0
// Memory for control structures. There is no memory: the process ends with one line, so no caller
// needs a branch for it. Bulk data comes from the pool, where a short answer is ordinary.
#pragma once

#include <stddef.h>
#include <stdint.h>

// Zeroed.
void *xcalloc(size_t count, size_t size);
// As realloc; the new part is not zeroed.
void *xrealloc(void *ptr, size_t count, size_t size);
char *xstrdup(const char *text);

// The whole pages of it are not resident until they are touched again, and then read as zeros.
void mem_forget(void *ptr, size_t len);
// Free memory of the allocator goes back to the system.
void mem_trim(void);
// As well as pages of programs and libraries that were needed once, to start or for a handshake,
// and can be read from their files again. That takes a millisecond or so, and as long again from
// those who need such a page next: for a time when nothing much is to be done.
void mem_rest(void);
// How much memory of this process is in use, in bytes; 0: the system does not tell.
uint64_t mem_resident_bytes(void);
