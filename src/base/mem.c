// SPDX-License-Identifier: Apache-2.0
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Noreturn void out_of_memory(void)
{
    fputs("out of memory: the process ends; give it more or lower its limits\n", stderr);
    abort();
}

void *xcalloc(size_t count, size_t size)
{
    void *ptr = calloc(count, size);

    if (!ptr && count > 0 && size > 0)
        out_of_memory();
    return ptr;
}

void *xrealloc(void *ptr, size_t count, size_t size)
{
    size_t total;

    if (__builtin_mul_overflow(count, size, &total))
        out_of_memory();
    ptr = realloc(ptr, total);
    if (!ptr && total > 0)
        out_of_memory();
    return ptr;
}

char *xstrdup(const char *text)
{
    size_t len = strlen(text) + 1;

    return memcpy(xcalloc(1, len), text, len);
}
