// SPDX-License-Identifier: Apache-2.0
// Between the files of the transport.
#pragma once

#include "kube/inside.h"
#include "libcurl/libcurl.h"

#define PLUGIN_EVENT UINT64_MAX // in the epoll instance, where others are numbers of sockets

// A connection to the server, made as for an exchange, over which nothing has been asked; blocks.
// *host, the caller's: what a request must name. NULL: *o says why. The credential has to be there.
CURL *exchange_connect(struct kube *k, char **host, struct outcome *o);
const char *exchange_token(const struct kube *k); // NULL: none; borrowed
// libcurl has ended it.
void exchange_done(struct exchange *x, CURLcode code);
// All that are under way end.
void exchanges_lose(struct kube *k, const char *why);
