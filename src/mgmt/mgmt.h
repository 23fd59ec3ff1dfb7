// SPDX-License-Identifier: Apache-2.0
// What a router can be told and asked: the entity types with their attributes (one table, used for
// the configuration file and for AMQP management alike), configuration files, and the management
// protocol as a function from request message to response message. Pure: no files except
// mgmt_config_load(), no sockets, no clock.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "amqp/amqp.h"
#include "base/str.h"
#include "base/why.h"

// ---------------------------------------------------------------------------------- entity types

enum mgmt_attr_type {
    MGMT_STRING,
    MGMT_INT,
    MGMT_BOOL,
    MGMT_ENUM,
    MGMT_MAP,
    MGMT_LIST,
};

enum {
    MGMT_CREATE = 1,   // may be set when created, or in the configuration
    MGMT_UPDATE = 2,   // may be changed later
    MGMT_REQUIRED = 4, // must be set when created
    MGMT_SECRET = 8,   // never shown
    MGMT_IGNORED = 16, // accepted and without effect here, kept for compatibility
};

struct mgmt_attr {
    const char *name;
    enum mgmt_attr_type type;
    unsigned flags;
    const char *initial;       // default as text; NULL: none
    const char *const *values; // ENUM: the allowed words, NULL at the end
    // INT; STRING with a max other than 0: a text that is a number stays within (ports).
    int64_t min, max;
};

enum { MGMT_ATTRS_MAX = 64 }; // of one type

enum { MGMT_OP_CREATE = 1, MGMT_OP_READ = 2, MGMT_OP_UPDATE = 4, MGMT_OP_DELETE = 8 };

struct mgmt_type {
    const char *name;        // "router.config.address", without "io.skupper.router."
    const char *config_name; // "address" in configuration files; NULL: same as name
    unsigned ops;
    bool in_config;                // may stand in a configuration file
    bool is_single;                // at most one (router, network, site)
    const struct mgmt_attr *attrs; // in the order of a QUERY for all; ends with name NULL
};

// All types, NULL at the end.
extern const struct mgmt_type *const mgmt_types[];
// By short or full name, or by configuration name; NULL when unknown.
const struct mgmt_type *mgmt_find_type(struct str name);

// --------------------------------------------------------------------------------------- entity

// The values of one entity: a map from attribute to value, checked against its type.
struct mgmt_entity {
    const struct mgmt_type *type;
    struct amqp_val **values; // one for each attribute of the type; NULL: not set and no default
    int line;                 // in the configuration file; 0 otherwise
};

// All defaults set, nothing else.
struct mgmt_entity *mgmt_entity_new(const struct mgmt_type *type);
struct mgmt_entity *mgmt_entity_copy(const struct mgmt_entity *from);
void mgmt_entity_free(struct mgmt_entity *e);
// Checks and converts (text to number, to boolean, enumerations), then stores a copy; null stands
// for the default. `as` is MGMT_CREATE or MGMT_UPDATE. Returns 0, ERR_NOT_FOUND (no such
// attribute), ERR_INVALID; with words that say what would be right.
int mgmt_entity_set(struct mgmt_entity *e, const char *attr, const struct amqp_val *v, unsigned as,
                    struct why *why);
// All required ones are there, and those that depend on each other agree.
int mgmt_entity_check(const struct mgmt_entity *e, struct why *why);
// NULL or STR_NONE / the fallback when not set.
const struct amqp_val *mgmt_entity_get(const struct mgmt_entity *e, const char *attr);
struct str mgmt_entity_str(const struct mgmt_entity *e, const char *attr);
const char *mgmt_entity_cstr(const struct mgmt_entity *e, const char *attr); // NULL when not set
int64_t mgmt_entity_int(const struct mgmt_entity *e, const char *attr, int64_t fallback);
bool mgmt_entity_bool(const struct mgmt_entity *e, const char *attr);
bool mgmt_entity_eq(const struct mgmt_entity *a, const struct mgmt_entity *b);
// The identity, as existing tools know it: listener/<host>:<port>:<name>, router/<id>,
// log/<module>, else <type>/<name>; the caller frees. It is also the name of what was given none.
char *mgmt_entity_identity(const struct mgmt_entity *e);

// --------------------------------------------------------------------------------- configuration

struct mgmt_config {
    struct mgmt_entity **entities; // in the order of the file
    size_t count;
};

// Both syntaxes: a JSON list of [type, {attributes}], or `type { attr: value }` with # comments;
// the first character that is no space or comment decides. "$NAME" and "${NAME}" in values are
// replaced from the environment through `env` (getenv-like; NULL: not at all; unknown ones stay as
// written). Everything is checked: names, types, required ones, ranges, singles, duplicates of
// names, and references (sslProfile of a listener exists). The first error ends it, with words in
// `why`: "FILE:LINE: listener 'amqp': role: 'interior' is not one of normal, inter-router, …", or
// "FILE:LINE:COLUMN: …" when the text itself cannot be read.
// Returns 0, ERR_IO, ERR_DECODE or ERR_INVALID.
int mgmt_config_load(const char *path, const char *(*env)(const char *name),
                     struct mgmt_config **out, struct why *why);
int mgmt_config_parse(const char *file_name, struct str text, const char *(*env)(const char *name),
                      struct mgmt_config **out, struct why *why);
// As a container is told in QDROUTERD_CONF: the text itself if it holds '{' and behind it '}', or
// else up to 64 places, parted by ':' or ',': files, and folders whose files *.conf are read in the
// order of their names. Together they are one configuration. Of several files, each is wholly of
// one syntax.
int mgmt_config_told(struct str told, const char *(*env)(const char *name),
                     struct mgmt_config **out, struct why *why);
void mgmt_config_free(struct mgmt_config *c);
// The single entity of a type, or NULL.
const struct mgmt_entity *mgmt_config_single(const struct mgmt_config *c, const char *type);

// -------------------------------------------------------------------------------------- protocol

// Who knows the entities of a type and can change them. Values given to `emit` are in the order of
// the type's attributes; NULL is null. `emit` returns false when no more are wanted.
typedef bool mgmt_emit(void *to, const struct amqp_val *const *values);

struct mgmt_provider {
    const struct mgmt_type *type;
    void *user;
    // Calls `emit` for each entity of the type.
    void (*each)(void *user, mgmt_emit *emit, void *to);
    // Calls it for the one with that identity, or with that name, if there is one. NULL: `each` is
    // asked for all.
    void (*one)(void *user, struct str id, mgmt_emit *emit, void *to);
    // As the operations say; NULL where the type has no such operation. `e` and `changes` have been
    // checked and converted: `changes` holds only attributes that may be updated, or null for the
    // default. `identity` is that of an entity `each` told. Return 0, or an enum err with words:
    // ERR_EXISTS and ERR_INVALID answer 400, ERR_NOT_FOUND 404, ERR_UNSUPPORTED 403, others 500.
    int (*create)(void *user, const struct mgmt_entity *e, struct why *why);
    int (*update)(void *user, struct str identity, const struct amqp_val *changes, struct why *why);
    int (*remove)(void *user, struct str identity, struct why *why);
};

struct mgmt_agent;

struct mgmt_agent *mgmt_agent_new(void);
void mgmt_agent_free(struct mgmt_agent *a);
// `p` must outlive the agent. One for each type.
void mgmt_agent_add(struct mgmt_agent *a, const struct mgmt_provider *p);
// Where GET-MGMT-NODES gets its list of addresses, and GET-LOG its newest `limit` lines, each a
// list [module, level, text, file, line, time]; the agent frees the lists.
void mgmt_agent_set_nodes(struct mgmt_agent *a, struct amqp_val *(*nodes)(void *user), void *user);
void mgmt_agent_set_log(struct mgmt_agent *a, struct amqp_val *(*log)(void *user, uint32_t limit),
                        void *user);

// One request message (its sections from the header on, no annotations) and its whole answer.
// Returns true with *reply_to and *response (bytes; the caller frees both) filled; false when the
// request has no reply-to, so nobody can be answered. Requests larger than 1 MiB or deeper than the
// codec allows are answered with 400.
bool mgmt_agent_handle(struct mgmt_agent *a, struct str request, char **reply_to,
                       struct amqp_writer *response);
