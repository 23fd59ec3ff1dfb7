// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/mem.h"
#include "check.h"

static size_t page_size(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

static bool is_resident(const void *at)
{
    int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    uint64_t entry = 0;

    CHECK(pread(fd, &entry, 8, (off_t)((uintptr_t)at / page_size() * 8)) == 8);
    close(fd);
    return entry >> 63;
}

TEST(what_is_forgotten_is_zero_and_its_neighbours_stay)
{
    size_t page = page_size();
    uint8_t *memory =
        mmap(NULL, 4 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    CHECK(memory != MAP_FAILED);
    memset(memory, 'x', 4 * page);
    mem_forget(memory + 1, 3 * page - 1); // the second and the third are whole
    CHECK(is_resident(memory) && !is_resident(memory + page) && !is_resident(memory + 2 * page));
    CHECK(memory[page - 1] == 'x' && memory[3 * page] == 'x');
    CHECK(memory[page] == 0 && memory[3 * page - 1] == 0);
    mem_forget(memory, page - 1);
    mem_forget(NULL, 4 * page);
    CHECK(memory[0] == 'x');
    munmap(memory, 4 * page);
}

// Two read-only mappings of a file, as of a library; the second was written to before, as by the
// loader.
TEST(at_rest_pages_of_files_go_unless_they_were_written_to)
{
    size_t page = page_size();
    char path[] = "mem_test.XXXXXX", *clean, *changed;
    int fd = mkstemp(path);

    CHECK(fd >= 0 && ftruncate(fd, (off_t)page) == 0 && pwrite(fd, "file", 4, 0) == 4);
    unlink(path);
    clean = mmap(NULL, page, PROT_READ, MAP_PRIVATE, fd, 0);
    changed = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    CHECK(clean != MAP_FAILED && changed != MAP_FAILED && memcmp(clean, "file", 4) == 0);
    memcpy(changed, "mine", 4);
    CHECK_EQ(mprotect(changed, page, PROT_READ), 0);
    mem_trim();
    CHECK(is_resident(clean));
    mem_rest();
    CHECK(!is_resident(clean) && is_resident(changed));
    CHECK(memcmp(changed, "mine", 4) == 0 && memcmp(clean, "file", 4) == 0);
    munmap(clean, page);
    munmap(changed, page);
    close(fd);
}

TEST(memory_in_use_is_told)
{
    size_t len = 64 * 1024 * 1024;
    uint64_t before = mem_resident_bytes();
    uint8_t *memory = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    CHECK(before > 0 && memory != MAP_FAILED);
    memset(memory, 'x', len);
    CHECK(mem_resident_bytes() > before + len / 2);
    munmap(memory, len);
}

TEST_MAIN(CASE(memory_in_use_is_told), CASE(what_is_forgotten_is_zero_and_its_neighbours_stay),
          CASE(at_rest_pages_of_files_go_unless_they_were_written_to))
