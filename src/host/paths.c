// SPDX-License-Identifier: Apache-2.0
// Where the files of a namespace are: by user, by environment, inside a container or not.
#include <dirent.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "host/host.h"
#include "site/site.h"

enum { NAME_MAX_LEN = 63 };

static const char *env(const char *name)
{
    const char *value = getenv(name);

    return value && value[0] ? value : NULL;
}

// "${NAME:-$HOME/rest}/tail", or NULL without either.
static char *user_directory(const char *name, const char *rest, const char *tail)
{
    const char *home = env("HOME");

    if (env(name))
        return str_fmt("%s/%s", env(name), tail);
    return home ? str_fmt("%s/%s/%s", home, rest, tail) : NULL;
}

static bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

bool host_is_name(const char *name)
{
    return strlen(name) <= NAME_MAX_LEN && site_is_namespace(str_of(name));
}

int host_paths_init(struct host_paths *p, const char *ns, struct why *why)
{
    const char *output = env("SKUPPER_OUTPUT_PATH");
    bool in_container = exists("/run/.containerenv") || exists("/.dockerenv");

    *p = (struct host_paths){.is_system = getuid() == 0,
                             .is_container = in_container && exists("/output")};
    if (!host_is_name(ns)) {
        why_set(why,
                "the namespace \"%s\" is not allowed: use a-z, 0-9 and hyphens, begun and ended by "
                "a letter or digit, at most %d of them",
                ns, NAME_MAX_LEN);
        return ERR_INVALID;
    }
    if (p->is_container)
        p->home = xstrdup("/output");
    else if (output)
        p->home = xstrdup(output);
    else if (p->is_system)
        p->home = xstrdup("/var/lib/skupper");
    else
        p->home = user_directory("XDG_DATA_HOME", ".local/share", "skupper");
    p->units = p->is_system ? xstrdup("/etc/systemd/system")
                            : user_directory("XDG_CONFIG_HOME", ".config", "systemd/user");
    if (!p->home || !p->units) {
        host_paths_fini(p);
        why_set(why, "there is no place for the site: set HOME or XDG_DATA_HOME");
        return ERR_INVALID;
    }
    p->ns = xstrdup(ns);
    p->root = str_fmt("%s/namespaces/%s", p->home, ns);
    p->shown = str_fmt("%s/namespaces/%s", p->is_container && output ? output : p->home, ns);
    return 0;
}

void host_paths_fini(struct host_paths *p)
{
    free(p->ns);
    free(p->home);
    free(p->root);
    free(p->shown);
    free(p->units);
    *p = (struct host_paths){0};
}

char *host_path(const struct host_paths *p, const char *fmt, ...)
{
    char rest[1024];
    va_list args;

    va_start(args, fmt);
    vsnprintf(rest, sizeof(rest), fmt, args);
    va_end(args);
    return str_fmt("%s/%s", p->root, rest);
}

char **host_namespaces(const struct host_paths *p)
{
    char *directory = str_fmt("%s/namespaces", p->home);
    char **names = host_list(directory, NULL);

    free(directory);
    return names;
}
