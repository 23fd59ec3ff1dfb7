// SPDX-License-Identifier: Apache-2.0
// YAML text, of which JSON is a part, to jansson values with the line of each field, and back.
//
// Scalars are those of YAML 1.2's core schema: null, true, false, integers of 64 bits, floating
// point numbers; everything else, and everything in quotes, is text. So `5432` is a number,
// `"5432"`, `yes` and `2026-01-31` are text. A text that is JSON, one value or several in a row, is
// read as JSON.
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"
#include "base/why.h"

enum {
    YAML_TEXT_MAX = 8 * 1024 * 1024, // bytes of text; and of all its texts once aliases are copied
    YAML_DEPTH_MAX = 64,             // maps and lists within each other
    YAML_NODES_MAX = 500 * 1000,     // values, aliases counted as what they stand for
    YAML_DOCUMENTS_MAX = 10000,
};

// The documents of one text, each with the lines its fields stand on.
struct yaml_docs;

// Reads all documents of a text; empty ones are left out. `file` is what messages call it. Returns
// 0, or with words that begin "file:line: " ERR_DECODE (no YAML; a key that is there twice) or
// ERR_LIMIT (larger than the limits above) or ERR_UNSUPPORTED (what JSON cannot hold: tags of one's
// own, keys that are no scalars, infinite numbers, NUL in a text).
int yaml_docs_parse(const char *file, struct str text, struct yaml_docs **out, struct why *why);
void yaml_docs_free(struct yaml_docs *y);
size_t yaml_docs_count(const struct yaml_docs *y);
// Borrowed; take a reference to keep or to change it.
json_t *yaml_docs_at(const struct yaml_docs *y, size_t index);
// The line, from 1, of a field like "spec.endpoints[1].port" ("" is the document), or of the
// nearest thing around it that is there: for a field that is missing, the line of its map. A key
// that holds dots is written as it is.
int yaml_docs_line(const struct yaml_docs *y, size_t index, const char *path);

enum yaml_form {
    YAML_BLOCK, // keys sorted, lists not indented, text of several lines as `|` block
    YAML_JSON,  // keys sorted, indented by two
};
// One document as text that ends with one newline, without `---`; the caller frees it. Text that
// would read back as something else is quoted, also where only YAML 1.1 would (`yes`, `1_000`).
char *yaml_write(const json_t *value, enum yaml_form form);
// An object or a list (else the flags must say JSON_ENCODE_ANY), as json_dumps() has it. The caller
// frees it with free(), also where values of JSON have another place than malloc()'s.
char *json_text(const json_t *value, size_t flags);
// A deep copy in which maps have no field that is null, false, 0, or an empty text, map or list;
// items of lists stay. A new reference.
json_t *yaml_pruned(const json_t *value);
