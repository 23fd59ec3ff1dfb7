// SPDX-License-Identifier: Apache-2.0
// A tunnel through an HTTP proxy, as a value: what is said to it and what its answer means. No
// socket, clock or log inside. Source of the rules: RFC 9110, 9.3.6 (CONNECT) and 15 (status), RFC
// 7617 (Basic credentials), RFC 9112, 2 to 4 (how an answer is written).
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/why.h"

enum {
    TUNNEL_ANSWER_MAX = 8192, // octets of all its heads together
    TUNNEL_SECRET_MAX = 1024, // of a password
};

struct net_proxy;

struct tunnel {
    const struct net_proxy *proxy; // borrowed
    char *request;                 // what the proxy is told; the tunnel's
    size_t request_len;
    char line[32]; // beginning of the line of the answer that is being read
    size_t line_len;
    uint32_t answer_len;
    int status; // 0: the status line is not whole yet
    bool has_credentials, wants_basic;
};

// Asks for a way to that port of that host, which the proxy looks up. The password is read now.
// 0, or ERR_INVALID with words: there is no password where it should be.
int tunnel_init(struct tunnel *t, const struct net_proxy *p, const char *host, const char *port,
                struct why *why);
void tunnel_fini(struct tunnel *t); // wipes the request; zeroed memory is fine

// Octets of the proxy's answer. Returns how many of them belong to it: what follows is the far
// end's. *result: ERR_AGAIN, more are needed; 0, the tunnel is open; ERR_DECODE, ERR_LIMIT or
// ERR_CLOSED with words: it is not, and the tunnel is good for fini only.
size_t tunnel_feed(struct tunnel *t, const uint8_t *data, size_t len, int *result, struct why *why);
// Words for an answer that ended before it was whole, or was not whole in time.
void tunnel_cut(const struct tunnel *t, struct why *why);
void tunnel_late(const struct tunnel *t, struct why *why);
