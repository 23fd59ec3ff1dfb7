// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/inside.h"

static int read_line(const char *path, char *out, size_t size)
{
    FILE *f = fopen(path, "re");
    bool ok = f && fgets(out, (int)size, f);

    if (f)
        fclose(f);
    if (!ok)
        return ERR_NOT_FOUND;
    out[strcspn(out, "\r\n")] = '\0';
    return (int)strlen(out);
}

int secret_read(const char *spec, char *out, size_t size)
{
    const char *word = spec;

    if (!spec)
        return ERR_NOT_FOUND;
    if (strncmp(spec, "file:", 5) == 0)
        return read_line(spec + 5, out, size);
    if (strncmp(spec, "env:", 4) == 0)
        word = getenv(spec + 4);
    else if (strncmp(spec, "pass:", 5) == 0)
        word = spec + 5;
    else if (strncmp(spec, "literal:", 8) == 0)
        word = spec + 8;
    if (!word)
        return ERR_NOT_FOUND;
    if (strlen(word) >= size)
        return ERR_LIMIT;
    strcpy(out, word);
    return (int)strlen(out);
}
