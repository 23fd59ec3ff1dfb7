// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <ctype.h>
#include <stdlib.h>

#include "base/mem.h"
#include "pki/inside.h"

struct str host_trimmed(const char *host)
{
    struct str s = str_of(host);

    while (s.len > 0 && isspace((unsigned char)s.ptr[0]))
        s = str_skip(s, 1);
    while (s.len > 0 && isspace((unsigned char)s.ptr[s.len - 1]))
        s.len--;
    return s;
}

size_t host_address(struct str host, uint8_t out[16])
{
    char text[INET6_ADDRSTRLEN];

    if (host.len == 0 || host.len >= sizeof(text))
        return 0;
    memcpy(text, host.ptr, host.len);
    text[host.len] = '\0';
    if (inet_pton(AF_INET, text, out) == 1)
        return 4;
    return inet_pton(AF_INET6, text, out) == 1 ? 16 : 0;
}

static void put(struct host_set *s, struct str host)
{
    char *copy = str_dup(host);

    for (char *c = copy; *c; c++)
        *c = (char)tolower((unsigned char)*c);
    if (s->count == s->size) {
        s->size = s->size ? s->size * 2 : 8;
        s->at = xrealloc(s->at, s->size, sizeof(*s->at));
    }
    s->at[s->count++] = copy;
}

void hosts_add_address(struct host_set *s, const void *address, size_t len)
{
    char text[INET6_ADDRSTRLEN];

    inet_ntop(len == 4 ? AF_INET : AF_INET6, address, text, sizeof(text));
    put(s, str_of(text));
}

void hosts_add(struct host_set *s, struct str host)
{
    uint8_t address[16];
    size_t len = host_address(host, address);

    if (len > 0)
        hosts_add_address(s, address, len);
    else
        put(s, host);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void hosts_sort(struct host_set *s)
{
    size_t kept = 0;

    if (s->count > 0)
        qsort(s->at, s->count, sizeof(*s->at), by_text);
    for (size_t i = 0; i < s->count; i++) {
        if (kept > 0 && strcmp(s->at[kept - 1], s->at[i]) == 0)
            free(s->at[i]);
        else
            s->at[kept++] = s->at[i];
    }
    s->count = kept;
}

void hosts_fini(struct host_set *s)
{
    for (size_t i = 0; i < s->count; i++)
        free(s->at[i]);
    free(s->at);
    *s = (struct host_set){0};
}
