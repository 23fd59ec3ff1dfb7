// SPDX-License-Identifier: Apache-2.0
// Memory in small pieces for values that come and go in great numbers, apart from everything else:
// what lives long is not spread among them, so that when they go whole pages are free and can be
// given back. For libraries that can be told where to take memory; any thread may call. There is
// one for the process, for such a library hands no handle along.
#pragma once

#include <stddef.h>

// NULL when there is no memory. Larger pieces, and what the region has no room for, are malloc()'s.
void *slab_alloc(size_t size);
// What slab_alloc() or malloc() gave; NULL is fine.
void slab_free(void *ptr);
// Free pages go back to the system.
void slab_trim(void);
// Pages that hold something.
size_t slab_pages(void);
