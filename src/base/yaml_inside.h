// SPDX-License-Identifier: Apache-2.0
// Inside of yaml.h: between its three files only.
#pragma once

#include "base/yaml.h"

// Where a node stands. The document itself is mark 0; a parent comes before its children.
struct yaml_mark {
    uint32_t parent;
    uint32_t key; // a hash of the key, or of "[index]"
    uint32_t line;
};

struct yaml_doc {
    json_t *value;
    struct yaml_mark *marks;
    uint32_t mark_count, mark_size;
};

struct yaml_docs {
    struct yaml_doc *docs;
    size_t count, size;
};

// yaml.c
struct yaml_doc *yaml_add(struct yaml_docs *y); // moves those that are there
static inline struct yaml_doc *yaml_last(struct yaml_docs *y)
{
    return &y->docs[y->count - 1];
}
uint32_t yaml_hash(struct str text);
uint32_t yaml_mark(struct yaml_doc *d, uint32_t parent, struct str key, size_t line);
uint32_t yaml_mark_item(struct yaml_doc *d, uint32_t parent, size_t index, size_t line);

// yaml_scalar.c: what a plain scalar is (YAML 1.2, 10.3.2)
enum yaml_scalar { SCALAR_TEXT, SCALAR_NULL, SCALAR_BOOL, SCALAR_INT, SCALAR_FLOAT };
enum yaml_scalar yaml_scalar_of(struct str text);
// False: it does not fit in 64 bits.
bool yaml_read_int(struct str text, int64_t *out);
// False: it is infinite, or none.
bool yaml_read_real(struct str text, double *out);
// Text that some reader, of YAML 1.1 or 1.2, would take for something else when it is not quoted.
bool yaml_looks_otherwise(struct str text);

// yaml_json.c: the text is JSON values in a row, and they are read; false: it is not.
bool yaml_read_json(struct str text, struct yaml_docs *y);
