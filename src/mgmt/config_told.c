// SPDX-License-Identifier: Apache-2.0
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/mem.h"
#include "mgmt/config_int.h"

// A configuration as a container is told of it, in one value of its environment: the text itself,
// or where it stands, in one place or in several.

enum { PLACES_MAX = 64, PATH_LEN_MAX = 4096 };

static bool is_text(struct str told)
{
    const char *open = told.len > 0 ? memchr(told.ptr, '{', told.len) : NULL;

    return open && memchr(open, '}', told.len - (size_t)(open - told.ptr));
}

static int read_file(struct config_reader *r, const char *path)
{
    char *text = NULL;
    size_t len;
    int err = config_read_file(path, &text, &len, r->why);

    r->file = path;
    if (err == 0)
        err = config_read_text(r, (struct str){text, len});
    free(text);
    return err;
}

static int is_conf(const struct dirent *d)
{
    size_t len = strlen(d->d_name);

    return len > 5 && strcmp(d->d_name + len - 5, ".conf") == 0;
}

static int read_folder(struct config_reader *r, const char *path)
{
    struct dirent **names = NULL;
    int count = scandir(path, &names, is_conf, alphasort), err = 0;

    if (count < 0) {
        why_set(r->why, "%s: %s", path, strerror(errno));
        return ERR_IO;
    }
    for (int i = 0; i < count; i++) {
        char *file = str_fmt("%s/%s", path, names[i]->d_name);

        if (err == 0)
            err = read_file(r, file);
        free(file);
        free(names[i]);
    }
    free(names);
    return err;
}

static int read_place(struct config_reader *r, struct str place)
{
    char *path = str_dup(place);
    struct stat st;
    int err;

    if (stat(path, &st) < 0) {
        why_set(r->why, "QDROUTERD_CONF: %s: %s", path, strerror(errno));
        err = ERR_IO;
    } else {
        err = S_ISDIR(st.st_mode) ? read_folder(r, path) : read_file(r, path);
    }
    free(path);
    return err;
}

// Places are parted by ':' or ','; what stands in one may refer to what stands in another.
static int read_places(struct config_reader *r, struct str told)
{
    int count = 0;

    while (told.len > 0) {
        size_t len = 0;
        int err = 0;

        while (len < told.len && told.ptr[len] != ':' && told.ptr[len] != ',')
            len++;
        if (len > PATH_LEN_MAX || (len > 0 && ++count > PLACES_MAX)) {
            why_set(r->why,
                    "QDROUTERD_CONF names more than %d places, or one of more than %d bytes",
                    PLACES_MAX, PATH_LEN_MAX);
            return ERR_INVALID;
        }
        if (len > 0)
            err = read_place(r, (struct str){told.ptr, len});
        if (err < 0)
            return err;
        told = str_skip(told, len < told.len ? len + 1 : len);
    }
    if (count > 0)
        return 0;
    why_set(r->why, "QDROUTERD_CONF is empty; it holds a configuration, or the name of its file");
    return ERR_INVALID;
}

int mgmt_config_told(struct str told, const char *(*env)(const char *name),
                     struct mgmt_config **out, struct why *why)
{
    struct config_reader r;
    int err;

    config_reader_init(&r, "QDROUTERD_CONF", env, why);
    err = is_text(told) ? config_read_text(&r, told) : read_places(&r, told);
    r.file = "QDROUTERD_CONF";
    return config_reader_done(&r, err, out);
}
