// SPDX-License-Identifier: Apache-2.0
// An archive in the making.
#pragma once

#include "cli/inside.h"

enum { DUMP_ANSWER_MS = 5000 }; // for each answer of a router

struct dump {
    struct cli *cli;
    const struct store *store;
    struct host_archive *out;
};

// What may be given away alone: a text in which there is a private key is left out.
void dump_add(struct dump *d, const char *name, const char *text);
// As YAML, or as JSON where the name says so.
void dump_add_value(struct dump *d, const char *name, const json_t *value);
// Takes out what is secret; true: there was something.
bool dump_redact(json_t *resource);
// What the router's management tells, under skstat; its line NULL: why it does not, in words.
void dump_router(struct dump *d, struct client_line *line, const char *words);
// Everything of a site in a cluster.
void dump_cluster(struct dump *d);
