// SPDX-License-Identifier: Apache-2.0
// A running router: event loops that join sockets (net), the router (router) and management
// (mgmt), as a configuration says.
#pragma once

#include <stdbool.h>

#include "base/why.h"

struct node;

// Reads the configuration whole, checks it whole, and only then starts anything. Returns 0, or a
// negative enum err with words that name file, line, entity and attribute.
int node_new(const char *config_path, const char *version, struct node **out, struct why *why);
void node_free(struct node *n);

// Serves until SIGTERM or SIGINT (or node_stop). Further workers are threads of this call. Returns
// 0, or ERR_IO with words when they cannot be started.
int node_run(struct node *n, struct why *why);
void node_stop(struct node *n);
