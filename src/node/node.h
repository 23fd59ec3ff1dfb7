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
};

// Reads the configuration whole, checks it whole, and only then starts anything. Returns 0, or a
// negative enum err with words that name file, line, entity and attribute.
int node_new(const struct node_opts *opts, struct node **out, struct why *why);
void node_free(struct node *n);

// Serves until SIGTERM or SIGINT (or node_stop). Further workers are threads of this call. Returns
// 0, or ERR_IO with words when they cannot be started.
int node_run(struct node *n, struct why *why);
void node_stop(struct node *n);
