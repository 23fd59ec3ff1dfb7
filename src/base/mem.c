// SPDX-License-Identifier: Apache-2.0
#include "base/mem.h"

#include <malloc.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

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

void mem_forget(void *ptr, size_t len)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), at = (uintptr_t)ptr;
    uintptr_t first = (at + page - 1) & ~(page - 1), end = (at + len) & ~(page - 1);

    if (ptr && first < end)
        madvise((uint8_t *)ptr + (first - at), end - first, MADV_DONTNEED);
}

// A mapping of a file that cannot be written to, and has not been: relocations and the breakpoints
// of a debugger stay.
struct mapping {
    unsigned long start, end;
    bool is_file;
};

static void read_mapping(const char *line, struct mapping *m)
{
    unsigned long start, end, inode, anonymous;
    char rights[8];

    if (sscanf(line, "%lx-%lx %7s %*x %*s %lu", &start, &end, rights, &inode) == 4)
        *m = (struct mapping){start, end, inode != 0 && rights[1] == '-' && rights[3] == 'p'};
    else if (sscanf(line, "Anonymous: %lu kB", &anonymous) == 1 && anonymous == 0 && m->is_file)
        madvise((void *)m->start, m->end - m->start, MADV_DONTNEED);
}

static void forget_files(void)
{
    FILE *f = fopen("/proc/self/smaps", "re");
    struct mapping m = {0};
    char line[512];

    while (f && fgets(line, sizeof(line), f))
        read_mapping(line, &m);
    if (f)
        fclose(f);
}

void mem_trim(void)
{
    malloc_trim(0);
}

void mem_rest(void)
{
    forget_files();
    mem_trim();
}

uint64_t mem_resident_bytes(void)
{
    unsigned long size = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "re");

    if (f) {
        if (fscanf(f, "%lu %lu", &size, &resident) != 2)
            resident = 0;
        fclose(f);
    }
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}
