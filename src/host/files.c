// SPDX-License-Identifier: Apache-2.0
// Files that survive a crash at any instant, and the few things that are done with directories.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <libgen.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "host/host.h"

static int failed(struct why *why, const char *what, const char *path)
{
    int error = errno;
    const char *advice = "";

    if (error == ENOSPC || error == EDQUOT)
        advice = "; make room, it is tried again";
    else if (error == EACCES || error == EPERM)
        advice = "; run as the user the site belongs to";
    why_set(why, "cannot %s %s: %s%s", what, path, strerror(error), advice);
    return ERR_IO;
}

static int write_all(int fd, struct str text)
{
    while (text.len > 0) {
        ssize_t done = write(fd, text.ptr, text.len);

        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return -1;
        text = str_skip(text, (size_t)done);
    }
    return 0;
}

static int sync_directory_of(const char *path)
{
    char *copy = xstrdup(path);
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = fd < 0 ? -1 : fsync(fd);

    if (fd >= 0)
        close(fd);
    free(copy);
    return rc;
}

static bool is_same(const char *path, struct str text, mode_t mode)
{
    struct stat st;
    char *old = NULL;
    size_t len = 0;
    bool same = stat(path, &st) == 0 && (st.st_mode & 07777) == mode &&
                (size_t)st.st_size == text.len && host_read(path, &old, &len, NULL) == 0 &&
                str_eq(text, (struct str){old, len});

    free(old);
    return same;
}

// Opens "<path>.tmp". The mode is right from the first octet: a key is readable by nobody else at
// any time. -1 with errno.
static int open_beside(const char *beside, mode_t mode)
{
    int fd;

    unlink(beside);
    fd = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode & 0700);
    if (fd >= 0 && fchmod(fd, mode) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static int write_beside(const char *path, struct str text, mode_t mode, bool is_synced,
                        struct why *why)
{
    char *beside = str_fmt("%s.tmp", path);
    int fd = open_beside(beside, mode), err = 0;

    if (fd < 0 || write_all(fd, text) < 0 || (is_synced && fsync(fd) < 0))
        err = failed(why, "write", path);
    if (fd >= 0)
        close(fd);
    if (err)
        unlink(beside);
    free(beside);
    return err;
}

static int put_in_place(const char *path, struct why *why)
{
    char *beside = str_fmt("%s.tmp", path);
    int err = rename(beside, path) < 0 ? failed(why, "put in place", path) : 0;

    if (err)
        unlink(beside);
    free(beside);
    return err;
}

static int write_file(const char *path, struct str text, mode_t mode, bool is_synced,
                      struct why *why)
{
    int err;

    if (is_same(path, text, mode))
        return 0;
    err = write_beside(path, text, mode, is_synced, why);
    if (!err)
        err = put_in_place(path, why);
    if (!err && is_synced && sync_directory_of(path) < 0)
        err = failed(why, "sync the directory of", path);
    return err;
}

int host_batch_add(struct host_batch *b, const char *path, struct str text, mode_t mode,
                   struct why *why)
{
    int err = write_beside(path, text, mode, false, why);

    if (err < 0)
        return err;
    b->paths = xrealloc(b->paths, b->count + 1, sizeof(*b->paths));
    b->paths[b->count++] = xstrdup(path);
    return 0;
}

int host_batch_commit(struct host_batch *b, const char *directory, struct why *why)
{
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int err = fd < 0 || syncfs(fd) < 0 ? failed(why, "sync", directory) : 0;

    for (size_t i = 0; i < b->count; i++) {
        if (!err)
            err = put_in_place(b->paths[i], why);
        free(b->paths[i]);
    }
    if (!err && fsync(fd) < 0)
        err = failed(why, "sync", directory);
    if (fd >= 0)
        close(fd);
    free(b->paths);
    *b = (struct host_batch){0};
    return err;
}

int host_write(const char *path, struct str text, mode_t mode, struct why *why)
{
    return write_file(path, text, mode, true, why);
}

int host_put(const char *path, struct str text, mode_t mode, struct why *why)
{
    return write_file(path, text, mode, false, why);
}

int host_sync(const char *path, struct why *why)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int err =
        fd < 0 || fsync(fd) < 0 || sync_directory_of(path) < 0 ? failed(why, "sync", path) : 0;

    if (fd >= 0)
        close(fd);
    return err;
}

void host_pour_begin(struct host_pour *p, const char *path, mode_t mode)
{
    char *beside = str_fmt("%s.tmp", path);

    *p = (struct host_pour){.path = path, .fd = open_beside(beside, mode)};
    p->error = p->fd < 0 ? errno : 0;
    free(beside);
}

void host_pour(void *pour, struct str piece)
{
    struct host_pour *p = pour;

    if (!p->error && write_all(p->fd, piece) < 0)
        p->error = errno;
}

int host_pour_end(struct host_pour *p, struct why *why)
{
    char *beside;

    if (p->fd >= 0)
        close(p->fd);
    if (!p->error)
        return put_in_place(p->path, why);
    beside = str_fmt("%s.tmp", p->path);
    unlink(beside);
    free(beside);
    errno = p->error;
    return failed(why, "write", p->path);
}

int host_read(const char *path, char **text, size_t *len, struct why *why)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC), err = 0;
    size_t have = 0;
    struct stat st;
    char *data = NULL;

    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR)) {
        why_set(why, "there is no file %s", path);
        return ERR_NOT_FOUND;
    }
    if (fd < 0)
        return failed(why, "read", path);
    if (fstat(fd, &st) < 0 || st.st_size > HOST_FILE_MAX) {
        why_set(why, "%s is larger than %d octets", path, HOST_FILE_MAX);
        err = ERR_LIMIT;
        goto done;
    }
    data = xcalloc((size_t)st.st_size + 1, 1);
    while (have < (size_t)st.st_size) {
        ssize_t got = read(fd, data + have, (size_t)st.st_size - have);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            err = failed(why, "read", path);
        if (got <= 0)
            break;
        have += (size_t)got;
    }
    if (err < 0)
        goto done;
    data[have] = '\0';
    *text = data;
    *len = have;
    data = NULL;
done:
    free(data);
    close(fd);
    return err;
}

int host_read_end(const char *path, size_t max, char **text, size_t *len)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    ssize_t got = -1;

    if (fd < 0)
        return ERR_NOT_FOUND;
    *text = xcalloc(max + 1, 1);
    if (fstat(fd, &st) == 0)
        got = pread(fd, *text, max, st.st_size > (off_t)max ? st.st_size - (off_t)max : 0);
    close(fd);
    *len = got > 0 ? (size_t)got : 0;
    return 0;
}

int host_make_directory(const char *path, struct why *why)
{
    char *copy = xstrdup(path);
    int err = 0;

    for (char *at = copy + 1; !err; at++) {
        char was = *at;

        if (was != '/' && was != '\0')
            continue;
        *at = '\0';
        if (mkdir(copy, 0755) < 0 && errno != EEXIST)
            err = failed(why, "make the directory", copy);
        *at = was;
        if (was == '\0')
            break;
    }
    free(copy);
    return err;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st, (void)at;
    return (kind == FTW_DP ? rmdir(path) : unlink(path)) < 0 && errno != ENOENT ? -1 : 0;
}

int host_remove(const char *path, struct why *why)
{
    struct stat st;

    if (lstat(path, &st) < 0)
        return errno == ENOENT || errno == ENOTDIR ? 0 : failed(why, "remove", path);
    if (nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS) < 0 && errno != ENOENT)
        return failed(why, "remove", path);
    return 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool is_wanted(const char *name, const char *suffix)
{
    struct str s = str_of(name), end = str_of(suffix), left = STR(".tmp");

    if (name[0] == '.' || (s.len >= left.len && str_eq(str_skip(s, s.len - left.len), left)))
        return false;
    return end.len == 0 || (s.len > end.len && str_eq(str_skip(s, s.len - end.len), end));
}

bool host_await_change(const char *directory, struct mono until)
{
    enum { STEP_MS = 50 }; // a change between a look and this call is seen that much later
    struct mono now = mono_now();
    int fd, left = (int)mono_ms_between(now, until);
    struct pollfd changed = {.events = POLLIN};

    if (left <= 0)
        return false;
    fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (fd >= 0)
        inotify_add_watch(fd, directory, IN_CLOSE_WRITE | IN_MOVED_TO | IN_DELETE);
    changed.fd = fd;
    poll(&changed, 1, left < STEP_MS ? left : STEP_MS);
    if (fd >= 0)
        close(fd);
    return true;
}

char **host_list(const char *directory, const char *suffix)
{
    char **names = xcalloc(1, sizeof(*names));
    DIR *dir = opendir(directory);
    struct dirent *entry;
    size_t count = 0;

    while (dir && (entry = readdir(dir)) != NULL) {
        if (!is_wanted(entry->d_name, suffix))
            continue;
        names = xrealloc(names, count + 2, sizeof(*names));
        names[count++] = xstrdup(entry->d_name);
        names[count] = NULL;
    }
    if (dir)
        closedir(dir);
    qsort(names, count, sizeof(*names), by_name);
    return names;
}

void host_names_free(char **names)
{
    for (size_t i = 0; names && names[i]; i++)
        free(names[i]);
    free(names);
}
