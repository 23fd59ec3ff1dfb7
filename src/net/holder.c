// SPDX-License-Identifier: Apache-2.0
// Whose socket is in the way. The kernel tells everybody of every socket that listens to whom it
// belongs (proc_pid_net(5), tcp and tcp6); which program it is only its user may know.
#include <netinet/in.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "net/inside.h"

enum { LISTENS = 0x0a, NAMES_SIZE = 4096 };

static const char ANY_4[] = "00000000", ANY_6[] = "00000000000000000000000000000000";
static const char MAPPED[] = "0000000000000000FFFF0000"; // before an address of IPv4

// An address as the kernel writes it: words of 32 bits as they lie in memory.
static void write_words(const void *address, size_t words, char *out)
{
    for (size_t i = 0; i < words; i++) {
        uint32_t word;

        memcpy(&word, (const char *)address + i * sizeof(word), sizeof(word));
        sprintf(out + i * 8, "%08X", (unsigned)word);
    }
}

// Do sockets at these addresses of one port stand in each other's way?
static bool meets(const char *theirs, const char *ours)
{
    const char *four = strlen(ours) == strlen(ANY_4) ? ours : NULL;

    if (strcmp(theirs, ours) == 0 || strcmp(theirs, ANY_6) == 0 || strcmp(ours, ANY_6) == 0)
        return true;
    if (strcmp(theirs, ANY_4) == 0 || strcmp(ours, ANY_4) == 0)
        return true;
    return four && strncmp(theirs, MAPPED, strlen(MAPPED)) == 0 &&
           strcmp(theirs + strlen(MAPPED), four) == 0;
}

// The sockets that listen are the first of the list. -1: none of them is in the way.
static long find_owner(const char *path, const char *ours, unsigned port)
{
    FILE *list = fopen(path, "re");
    char line[512], address[33];
    unsigned at, state = LISTENS, uid;
    long owner = -1;

    if (!list || !fgets(line, sizeof(line), list))
        state = 0; // not even a head line
    while (owner < 0 && state == LISTENS && fgets(line, sizeof(line), list)) {
        if (sscanf(line, " %*u: %32[0-9A-F]:%x %*[0-9A-F]:%*x %x %*x:%*x %*x:%*x %*x %u", address,
                   &at, &state, &uid) != 4)
            break;
        if (state == LISTENS && at == port && meets(address, ours))
            owner = (long)uid;
    }
    if (list)
        fclose(list);
    return owner;
}

static char *words_for(uid_t uid)
{
    struct passwd entry, *found = NULL;
    char names[NAMES_SIZE];

    if (uid == geteuid())
        return xstrdup("by another program of this user");
    if (getpwuid_r(uid, &entry, names, sizeof(names), &found) == 0 && found)
        return str_fmt("by a program of user %s", found->pw_name);
    return str_fmt("by a program of the user with id %u", (unsigned)uid);
}

char *net_port_holder(const struct sockaddr_storage *address)
{
    const struct sockaddr_in *four = (const void *)address;
    const struct sockaddr_in6 *six = (const void *)address;
    bool is_four = address->ss_family == AF_INET;
    unsigned port = ntohs(is_four ? four->sin_port : six->sin6_port);
    char ours[33];
    long owner;

    if (is_four)
        write_words(&four->sin_addr, 1, ours);
    else
        write_words(&six->sin6_addr, 4, ours);
    owner = find_owner("/proc/net/tcp", ours, port);
    if (owner < 0)
        owner = find_owner("/proc/net/tcp6", ours, port);
    return owner < 0 ? NULL : words_for((uid_t)owner);
}
