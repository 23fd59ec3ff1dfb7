// SPDX-License-Identifier: Apache-2.0
// How the two syntaxes hand over what they read: an entity as a list of attributes, each with the
// line it stands on. Everything that can be said about their meaning is checked behind this.
#pragma once

#include <jansson.h>

#include "base/map.h"
#include "mgmt/mgmt.h"

enum {
    CONFIG_ENTITIES_MAX = 100000,
    CONFIG_ITEMS_MAX = 1000, // attributes of an entity, items of a map or list
    CONFIG_DEPTH_MAX = 16,   // of maps and lists in each other
};

struct config_reader {
    const char *file;
    const char *(*env)(const char *name);
    struct mgmt_config *config;
    struct map by_name; // "TYPE/NAME" to entity
    struct why *why;
};

struct config_attr {
    char *name;
    struct amqp_val *value;
    int line;
};

// An entity as it is being read. Zeroed memory is an empty one.
struct config_draft {
    struct str type;
    int line;
    struct config_attr *attrs;
    size_t count;
};

// Takes the value. Returns 0 or ERR_INVALID when the name was there before, or with too many.
int config_draft_add(struct config_reader *r, struct config_draft *d, struct str name, int line,
                     struct amqp_val *take);
void config_draft_fini(struct config_draft *d);
// Checks it and adds the entity to the configuration: 0 or ERR_INVALID.
int config_add(struct config_reader *r, const struct config_draft *d);

// A text as written to a value, environment expanded.
struct amqp_val *config_text(const struct config_reader *r, struct str text);
// Null when it is too deep or too large; words are in r->why then, without a place.
struct amqp_val *config_value(const struct config_reader *r, const json_t *j, int depth);

// `text` is UTF-8 without octets 0, NUL-terminated, its comment lines blank. Return 0, ERR_DECODE
// or ERR_INVALID with words.
int config_read_json(struct config_reader *r, struct str text);
int config_read_native(struct config_reader *r, struct str text);

// The text of a file of at most 16 MiB: 0 or ERR_IO with words. The caller frees *out either way.
int config_read_file(const char *path, char **out, size_t *out_len, struct why *why);

// One reader takes several texts, r->file naming each: init, config_read_text() for each, done.
// `done` checks what one entity says of another, and hands the configuration over unless `err` or
// what it finds is an error, which it returns.
void config_reader_init(struct config_reader *r, const char *file,
                        const char *(*env)(const char *name), struct why *why);
int config_read_text(struct config_reader *r, struct str text);
int config_reader_done(struct config_reader *r, int err, struct mgmt_config **out);
