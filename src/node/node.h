// SPDX-License-Identifier: Apache-2.0
// A running router: event loops that join sockets (net), the router (router) and management
// (mgmt), as a configuration says.
#pragma once

#include <stdbool.h>

#include "base/why.h"

struct node;

struct node_opts {
    const char *config_path; // the file of the configuration; NULL:
    const char *config_told; // what QDROUTERD_CONF holds, see mgmt_config_told()
    const char *version;
    // How long SIGTERM lets connections of TCP services come to their end (0: it ends at once), and
    // for how long of that new ones are still accepted.
    uint32_t drain_ms, drain_accept_ms;
};

// Reads the configuration whole, checks it whole, and only then starts anything. Returns 0, or a
// negative enum err with words that name file, line, entity and attribute.
int node_new(const struct node_opts *opts, struct node **out, struct why *why);
void node_free(struct node *n);

// Serves until SIGTERM and what is then left to be done (drain_ms), SIGINT or a second SIGTERM.
// Further workers are threads of this call. Returns 0, or ERR_IO with words when they cannot be
// started.
int node_run(struct node *n, struct why *why);
