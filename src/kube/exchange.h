// SPDX-License-Identifier: Apache-2.0
// Between the files of the transport.
#pragma once

#include "kube/inside.h"
#include "libcurl/libcurl.h"

#define PLUGIN_EVENT UINT64_MAX // in the epoll instance, where others are numbers of sockets

// libcurl has ended it.
void exchange_done(struct exchange *x, CURLcode code);
// All that are under way end.
void exchanges_lose(struct kube *k, const char *why);
