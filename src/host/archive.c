// SPDX-License-Identifier: Apache-2.0
// Archives in the format of tar (POSIX.1-1988, "ustar"), compressed by zlib.
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <zlib.h>

#include "base/mem.h"
#include "host/host.h"

enum { BLOCK = 512, NAME_LEN = 100, PREFIX_LEN = 155 };

struct host_archive {
    char *path;
    gzFile out;
    bool is_broken;
};

// The fields of a file's first block, as the standard lays them out.
struct head {
    char name[NAME_LEN], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], type;
    char link[NAME_LEN], magic[6], version[2], user[32], group[32], major[8], minor[8];
    char prefix[PREFIX_LEN], pad[12];
};
static_assert(sizeof(struct head) == BLOCK, "one block");

int host_archive_new(const char *path, mode_t mode, struct host_archive **out, struct why *why)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);

    if (fd < 0) {
        why_set(why, "%.300s cannot be written: %s", path, strerror(errno));
        return ERR_IO;
    }
    *out = xcalloc(1, sizeof(**out));
    (*out)->path = xstrdup(path);
    (*out)->out = gzdopen(fd, "wb");
    if (!(*out)->out)
        abort(); // no memory
    return 0;
}

static void put(struct host_archive *a, const void *data, size_t len)
{
    if (len > 0 && gzwrite(a->out, data, (unsigned)len) != (int)len)
        a->is_broken = true;
}

static void octal(char *field, size_t size, uint64_t value)
{
    char text[32];

    snprintf(text, sizeof(text), "%0*llo", (int)size - 1, (unsigned long long)value);
    memcpy(field, text, size);
}

// A name too long for its field is cut at a slash, the front stands in `prefix`.
static bool set_name(struct head *h, const char *name)
{
    size_t len = strlen(name), cut = 0;

    if (len >= NAME_LEN) {
        const char *slash = strchr(name + len - NAME_LEN, '/');

        cut = slash ? (size_t)(slash - name) : 0;
        if (cut == 0 || cut > PREFIX_LEN)
            return false;
        memcpy(h->prefix, name, cut);
        cut++;
    }
    memcpy(h->name, name + cut, len - cut);
    return true;
}

void host_archive_add(struct host_archive *a, const char *name, struct str text, mode_t mode)
{
    static const char zeros[BLOCK];
    struct head h = {.type = '0', .magic = "ustar", .version = {'0', '0'}};
    const unsigned char *octets = (const unsigned char *)&h;
    unsigned sum = 0;

    if (!set_name(&h, name))
        return;
    octal(h.mode, sizeof(h.mode), mode & 07777);
    octal(h.uid, sizeof(h.uid), 0);
    octal(h.gid, sizeof(h.gid), 0);
    octal(h.size, sizeof(h.size), text.len);
    octal(h.mtime, sizeof(h.mtime), (uint64_t)time(NULL));
    memset(h.checksum, ' ', sizeof(h.checksum));
    for (size_t i = 0; i < sizeof(h); i++)
        sum += octets[i];
    octal(h.checksum, sizeof(h.checksum) - 1, sum);
    put(a, &h, sizeof(h));
    put(a, text.ptr, text.len);
    put(a, zeros, (BLOCK - text.len % BLOCK) % BLOCK);
}

int host_archive_close(struct host_archive *a, struct why *why)
{
    static const char end[2 * BLOCK];
    int err = 0;

    put(a, end, sizeof(end));
    if (gzclose(a->out) != Z_OK || a->is_broken) {
        why_set(why, "%.300s could not be written whole: is the disk full?", a->path);
        unlink(a->path);
        err = ERR_IO;
    }
    free(a->path);
    free(a);
    return err;
}
