// SPDX-License-Identifier: Apache-2.0
// A plain socket of this machine, talked to while the loop of what it talks to is turned.
#pragma once

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "check.h"
#include "net/net.h"

enum { TALK_MS = 20000 }; // that something never happens is told after so long

// Connects to that port of 127.0.0.1, as 127.0.0.`from`.
static inline int talk_dial_as(int from, int port)
{
    struct sockaddr_in us = {.sin_family = AF_INET,
                             .sin_addr = {htonl(INADDR_LOOPBACK - 1 + from)}};
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    CHECK(fd >= 0);
    CHECK_EQ(bind(fd, (struct sockaddr *)&us, sizeof(us)), 0);
    CHECK_EQ(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    return fd;
}

static inline int talk_dial(int port)
{
    return talk_dial_as(1, port);
}

static inline void talk_say(int fd, const char *text)
{
    CHECK_EQ(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

// All that comes until the end of the connection, which is closed; the caller's.
static inline char *talk_hear(struct net_loop *l, int fd)
{
    size_t len = 0, size = 65536;
    char *text = xcalloc(1, size);
    struct mono limit = mono_add_ms(mono_now(), TALK_MS);

    for (;;) {
        ssize_t n = recv(fd, text + len, size - len - 1, MSG_DONTWAIT);

        CHECK(mono_before(mono_now(), limit));
        if (n == 0 || (n < 0 && errno != EAGAIN))
            break;
        if (n < 0) {
            net_loop_turn(l, mono_add_ms(mono_now(), 5));
            continue;
        }
        len += (size_t)n;
        if (size - len < 4096)
            text = xrealloc(text, size *= 2, 1);
        text[len] = '\0';
    }
    close(fd);
    return text;
}
