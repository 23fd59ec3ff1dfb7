// SPDX-License-Identifier: Apache-2.0
#include "base/why.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void why_set(struct why *why, const char *fmt, ...)
{
    va_list args;

    if (!why)
        return;
    va_start(args, fmt);
    vsnprintf(why->text, sizeof(why->text), fmt, args);
    va_end(args);
}

void why_prefix(struct why *why, const char *fmt, ...)
{
    char old[WHY_MAX];
    va_list args;
    size_t len;

    if (!why)
        return;
    memcpy(old, why->text, sizeof(old));
    va_start(args, fmt);
    vsnprintf(why->text, sizeof(why->text), fmt, args);
    va_end(args);
    len = strlen(why->text);
    snprintf(why->text + len, sizeof(why->text) - len, ": %s", old);
}
