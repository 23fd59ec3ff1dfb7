// SPDX-License-Identifier: Apache-2.0
// What a resource says of itself.
#pragma once

#include "json.h"
#include "site/site.h"

// "True Ready OK" of a condition, or of the whole with `type` NULL: "Ready OK".
static inline void check_status(const char *file, int line, const json_t *resource, const char *key,
                                const char *type, const char *want)
{
    char *got = NULL;
    size_t i;
    json_t *c;

    if (!type)
        got = str_fmt("%s %s", site_text(resource, "status.status"),
                      site_text(resource, "status.message"));
    json_array_foreach((json_t *)(uintptr_t)site_get(resource, "status.conditions"), i, c)
    {
        if (type && strcmp(site_text(c, "type"), type) == 0)
            got = str_fmt("%s %s %s", site_text(c, "status"), site_text(c, "reason"),
                          site_text(c, "message"));
    }
    if (strcmp(got ? got : "nothing", want) != 0)
        fail_msg("%s:%d: %s %s is \"%s\", not \"%s\"", file, line, key, type ? type : "",
                 got ? got : "nothing", want);
    free(got);
}
