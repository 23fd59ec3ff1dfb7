// SPDX-License-Identifier: Apache-2.0
// A resolver for tests: this program's getaddrinfo() stands in front of the system's. A name of
// addresses with '+' between them, as "192.0.2.1+127.0.0.1.test", has those, in that order. The
// answer to "slow.test" comes when names_answer is posted, twice: with and without AI_ADDRCONFIG.
// While names_are_out there is no answer but "try again". names_count: of questions.
#pragma once

#include <dlfcn.h>
#include <netdb.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static sem_t names_asked, names_answer; // zeroed memory is a semaphore at 0
static atomic_int names_count;
static atomic_bool names_are_out;

static inline bool is_ours(const char *host)
{
    size_t len = host ? strlen(host) : 0;

    return len > 5 && strcmp(host + len - 5, ".test") == 0;
}

// glibc frees a list entry by entry, so lists of its own may be joined.
int getaddrinfo(const char *host, const char *port, const struct addrinfo *hints,
                struct addrinfo **found)
{
    static int (*system_one)(const char *, const char *, const struct addrinfo *,
                             struct addrinfo **);
    char names[256], *save = NULL;
    struct addrinfo numeric = *hints, **end = found;

    if (!system_one)
        system_one = (int (*)(const char *, const char *, const struct addrinfo *,
                              struct addrinfo **))dlsym(RTLD_NEXT, "getaddrinfo");
    if (!is_ours(host))
        return system_one(host, port, hints, found);
    if (hints->ai_flags & AI_NUMERICHOST)
        return EAI_NONAME;
    atomic_fetch_add(&names_count, 1);
    if (atomic_load(&names_are_out))
        return EAI_AGAIN;
    if (strcmp(host, "slow.test") == 0) {
        sem_post(&names_asked);
        sem_wait(&names_answer);
        return EAI_AGAIN;
    }
    snprintf(names, sizeof(names), "%.*s", (int)strlen(host) - 5, host);
    numeric.ai_flags |= AI_NUMERICHOST;
    for (char *name = strtok_r(names, "+", &save); name; name = strtok_r(NULL, "+", &save)) {
        if (system_one(name, port, &numeric, end) != 0)
            continue;
        while (*end)
            end = &(*end)->ai_next;
    }
    return end == found ? EAI_NONAME : 0;
}
