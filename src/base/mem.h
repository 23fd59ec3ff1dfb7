// SPDX-License-Identifier: Apache-2.0
// Memory for control structures. There is no memory: the process ends with one line, so no caller
// needs a branch for it. Bulk data comes from the pool, where a short answer is ordinary.
#pragma once

#include <stddef.h>

// Zeroed.
void *xcalloc(size_t count, size_t size);
// As realloc; the new part is not zeroed.
void *xrealloc(void *ptr, size_t count, size_t size);
char *xstrdup(const char *text);
