// SPDX-License-Identifier: Apache-2.0
#include "base/yaml.h"

#include <stdio.h>
#include <stdlib.h>
#include <yaml.h>

#include "base/err.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/yaml_inside.h"

// Reading. A text that is JSON is read by jansson, everything else by libyaml's parser, whose
// events become values as they come. Beside the value each document has an array of marks: for each
// node its parent, a hash of its key and its line, which is all that is needed to find a path.

// ----------------------------------------------------------------------------------------- marks

uint32_t yaml_hash(struct str text)
{
    uint32_t hash = 2166136261u;

    for (size_t i = 0; i < text.len; i++)
        hash = (hash ^ (uint8_t)text.ptr[i]) * 16777619u;
    return hash;
}

uint32_t yaml_mark(struct yaml_doc *d, uint32_t parent, struct str key, size_t line)
{
    if (d->mark_count == d->mark_size) {
        d->mark_size = d->mark_size ? d->mark_size * 2 : 16;
        d->marks = xrealloc(d->marks, d->mark_size, sizeof(*d->marks));
    }
    d->marks[d->mark_count] = (struct yaml_mark){parent, yaml_hash(key), (uint32_t)line};
    return d->mark_count++;
}

uint32_t yaml_mark_item(struct yaml_doc *d, uint32_t parent, size_t index, size_t line)
{
    char key[32];
    int len = snprintf(key, sizeof(key), "[%zu]", index);

    return yaml_mark(d, parent, (struct str){key, (size_t)len}, line);
}

static bool find_child(const struct yaml_doc *d, uint32_t parent, struct str key, uint32_t *out)
{
    uint32_t hash = yaml_hash(key);

    for (uint32_t i = parent + 1; i < d->mark_count; i++)
        if (d->marks[i].parent == parent && d->marks[i].key == hash) {
            *out = i;
            return true;
        }
    return false;
}

// The longest beginning of *path that names a child; it is taken off.
static bool step_down(const struct yaml_doc *d, uint32_t *at, struct str *path)
{
    if (path->len > 0 && path->ptr[0] == '.')
        *path = str_skip(*path, 1);
    for (size_t len = path->len; len > 0; len--) {
        bool is_end = len == path->len || path->ptr[len] == '.' || path->ptr[len] == '[';

        if (is_end && find_child(d, *at, (struct str){path->ptr, len}, at)) {
            *path = str_skip(*path, len);
            return true;
        }
    }
    return false;
}

int yaml_docs_line(const struct yaml_docs *y, size_t index, const char *path)
{
    const struct yaml_doc *d = &y->docs[index];
    struct str rest = str_of(path);
    uint32_t at = 0;

    while (rest.len > 0 && step_down(d, &at, &rest))
        ;
    return (int)d->marks[at].line;
}

// ------------------------------------------------------------------------------------- documents

size_t yaml_docs_count(const struct yaml_docs *y)
{
    return y->count;
}

json_t *yaml_docs_at(const struct yaml_docs *y, size_t index)
{
    return y->docs[index].value;
}

void yaml_docs_free(struct yaml_docs *y)
{
    if (!y)
        return;
    for (size_t i = 0; i < y->count; i++) {
        json_decref(y->docs[i].value);
        free(y->docs[i].marks);
    }
    free(y->docs);
    free(y);
}

struct yaml_doc *yaml_add(struct yaml_docs *y)
{
    if (y->count == y->size) {
        y->size = y->size ? y->size * 2 : 4;
        y->docs = xrealloc(y->docs, y->size, sizeof(*y->docs));
    }
    y->docs[y->count] = (struct yaml_doc){0};
    return &y->docs[y->count++];
}

// --------------------------------------------------------------------------------------- reading

// What an anchor stands for.
struct anchor {
    json_t *value;
    size_t nodes, bytes;
};

struct reader {
    const char *file;
    struct why *why;
    struct yaml_docs *yaml;
    yaml_parser_t parser;
    struct map anchors; // of this document
    char path[256];     // where we are, for messages; cut when it is longer
    size_t path_len;
    size_t nodes, bytes; // so far
};

static int fault(struct reader *r, int err, size_t line, const char *words)
{
    why_set(r->why, "%s:%zu: %s%s%s", r->file, line, r->path_len > 0 ? r->path : "",
            r->path_len > 0 ? ": " : "", words);
    return err;
}

static int next_event(struct reader *r, yaml_event_t *e)
{
    const yaml_parser_t *p = &r->parser;

    if (yaml_parser_parse(&r->parser, e))
        return 0;
    if (p->error == YAML_READER_ERROR)
        why_set(r->why, "%s:%zu: at byte %zu: %s", r->file, p->mark.line + 1, p->problem_offset,
                p->problem);
    else
        why_set(r->why, "%s:%zu: column %zu: %s%s%s", r->file, p->problem_mark.line + 1,
                p->problem_mark.column + 1, p->context ? p->context : "", p->context ? ": " : "",
                p->problem ? p->problem : "not YAML");
    return ERR_DECODE;
}

static size_t line_of(const yaml_event_t *e)
{
    return e->start_mark.line + 1;
}

// Appends to the path; returns how long it was.
static size_t path_push(struct reader *r, struct str key, bool is_item)
{
    size_t before = r->path_len, room = sizeof(r->path) - r->path_len;
    int len = snprintf(r->path + r->path_len, room, "%s%.*s", before > 0 && !is_item ? "." : "",
                       STR_ARG(key));

    r->path_len = (size_t)len < room ? before + (size_t)len : sizeof(r->path) - 1;
    return before;
}

static void path_pop(struct reader *r, size_t before)
{
    r->path_len = before;
    r->path[before] = '\0';
}

static int spend(struct reader *r, size_t line, size_t nodes, size_t bytes)
{
    r->nodes += nodes;
    r->bytes += bytes;
    if (r->nodes <= YAML_NODES_MAX && r->bytes <= YAML_TEXT_MAX)
        return 0;
    return fault(r, ERR_LIMIT, line,
                 "too much: at most 500,000 values and 8 MiB of text, aliases counted as what they "
                 "stand for");
}

static int text_value(struct reader *r, size_t line, struct str text, json_t **out)
{
    if (memchr(text.ptr, '\0', text.len))
        return fault(r, ERR_UNSUPPORTED, line, "a NUL has no place in a text");
    *out = json_stringn(text.ptr, text.len);
    return *out ? 0 : fault(r, ERR_DECODE, line, "the text is not UTF-8");
}

// What a tag of the core schema asks for, or YAML_ANY.
static bool known_tag(const char *tag, enum yaml_scalar *out)
{
    static const struct {
        const char *tag;
        enum yaml_scalar scalar;
    } tags[] = {
        {"!", SCALAR_TEXT},           {YAML_STR_TAG, SCALAR_TEXT}, {YAML_NULL_TAG, SCALAR_NULL},
        {YAML_BOOL_TAG, SCALAR_BOOL}, {YAML_INT_TAG, SCALAR_INT},  {YAML_FLOAT_TAG, SCALAR_FLOAT},
    };

    for (size_t i = 0; i < sizeof(tags) / sizeof(tags[0]); i++)
        if (strcmp(tag, tags[i].tag) == 0) {
            *out = tags[i].scalar;
            return true;
        }
    return false;
}

static int number_value(struct reader *r, size_t line, enum yaml_scalar scalar, struct str text,
                        json_t **out)
{
    int64_t whole;
    double real;

    if (scalar == SCALAR_INT && yaml_read_int(text, &whole)) {
        *out = json_integer(whole);
        return 0;
    }
    if (scalar == SCALAR_INT)
        return fault(r, ERR_UNSUPPORTED, line,
                     "an integer of more than 64 bits; put it in quotes if it is a text");
    if (yaml_read_real(text, &real) && (*out = json_real(real)) != NULL)
        return 0;
    return fault(r, ERR_UNSUPPORTED, line,
                 "a number that is infinite or none; put it in quotes if it is a text");
}

static int scalar_value(struct reader *r, const yaml_event_t *e, json_t **out)
{
    struct str text = {(const char *)e->data.scalar.value, e->data.scalar.length};
    const char *tag = (const char *)e->data.scalar.tag;
    bool is_plain = e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    enum yaml_scalar scalar = yaml_scalar_of(text), wanted = scalar;

    if (tag && !known_tag(tag, &wanted))
        return fault(r, ERR_UNSUPPORTED, line_of(e), "a tag that is not one of YAML's own");
    if (!tag && !is_plain)
        wanted = SCALAR_TEXT;
    if (wanted == SCALAR_FLOAT && scalar == SCALAR_INT)
        scalar = SCALAR_FLOAT;
    if (wanted != SCALAR_TEXT && wanted != scalar)
        return fault(r, ERR_DECODE, line_of(e), "the value is not what its tag says");
    switch (wanted) {
    case SCALAR_TEXT:
        return text_value(r, line_of(e), text, out);
    case SCALAR_NULL:
        *out = json_null();
        return 0;
    case SCALAR_BOOL:
        *out = json_boolean(text.ptr[0] == 't' || text.ptr[0] == 'T');
        return 0;
    case SCALAR_INT:
    case SCALAR_FLOAT:
        return number_value(r, line_of(e), wanted, text, out);
    }
    return ERR_DECODE;
}

static void anchor_forget(struct reader *r)
{
    size_t at = 0;
    struct str name;
    void *value;

    while (map_next(&r->anchors, &at, &name, &value)) {
        struct anchor *a = value;

        json_decref(a->value);
        free(a);
    }
    map_fini(&r->anchors);
    map_init(&r->anchors);
}

// A value that just ended has a name from here on. It does not know itself, so it holds no circle.
static void anchor_put(struct reader *r, const char *name, json_t *value, size_t nodes,
                       size_t bytes)
{
    struct anchor *a = xcalloc(1, sizeof(*a)), *old;

    *a = (struct anchor){json_incref(value), r->nodes - nodes, r->bytes - bytes};
    old = map_put(&r->anchors, str_of(name), a);
    if (old)
        json_decref(old->value);
    free(old);
}

static int alias_value(struct reader *r, const yaml_event_t *e, json_t **out)
{
    const struct anchor *a = map_get(&r->anchors, str_of((const char *)e->data.alias.anchor));
    int err;

    if (!a)
        return fault(r, ERR_DECODE, line_of(e), "an alias to what has not been there");
    err = spend(r, line_of(e), a->nodes, a->bytes);
    if (err == 0)
        *out = json_deep_copy(a->value);
    return err;
}

static int read_value(struct reader *r, yaml_event_t *e, uint32_t mark, int depth, json_t **out);

static int read_list(struct reader *r, uint32_t mark, int depth, json_t *list)
{
    yaml_event_t e;
    int err;

    while ((err = next_event(r, &e)) == 0 && e.type != YAML_SEQUENCE_END_EVENT) {
        char item[32];
        size_t before;
        json_t *value = NULL;

        snprintf(item, sizeof(item), "[%zu]", json_array_size(list));
        before = path_push(r, str_of(item), true);
        err = read_value(r, &e, yaml_mark(yaml_last(r->yaml), mark, str_of(item), line_of(&e)),
                         depth + 1, &value);
        if (err < 0)
            return err;
        path_pop(r, before);
        json_array_append_new(list, value);
    }
    if (err == 0)
        yaml_event_delete(&e);
    return err;
}

// The key of a field: any scalar, as it is written.
static int read_key(struct reader *r, const yaml_event_t *e, const json_t *map)
{
    struct str key = {(const char *)e->data.scalar.value, e->data.scalar.length};
    char words[160];

    if (e->type != YAML_SCALAR_EVENT)
        return fault(r, ERR_UNSUPPORTED, line_of(e), "a key must be a scalar");
    if (memchr(key.ptr, '\0', key.len))
        return fault(r, ERR_UNSUPPORTED, line_of(e), "a NUL has no place in a key");
    if (str_is(key, "<<") && e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE)
        return fault(r, ERR_UNSUPPORTED, line_of(e),
                     "maps are not merged (<<); write the fields out");
    if (!json_object_get(map, key.ptr))
        return spend(r, line_of(e), 0, key.len);
    path_push(r, key, false);
    snprintf(words, sizeof(words), "is there twice, first in line %d",
             yaml_docs_line(r->yaml, r->yaml->count - 1, r->path));
    return fault(r, ERR_DECODE, line_of(e), words);
}

static int read_field(struct reader *r, const yaml_event_t *key, uint32_t mark, int depth,
                      json_t *map)
{
    struct str name = {(const char *)key->data.scalar.value, key->data.scalar.length};
    json_t *value = NULL;
    yaml_event_t e;
    size_t before;
    int err = read_key(r, key, map);

    if (err < 0)
        return err;
    before = path_push(r, name, false);
    err = next_event(r, &e);
    if (err == 0)
        err = read_value(r, &e, yaml_mark(yaml_last(r->yaml), mark, name, line_of(key)), depth + 1,
                         &value);
    if (err < 0)
        return err;
    path_pop(r, before);
    if (json_object_set_new(map, name.ptr, value) < 0)
        return fault(r, ERR_DECODE, line_of(key), "a key is not UTF-8");
    return 0;
}

static int read_map(struct reader *r, uint32_t mark, int depth, json_t *map)
{
    yaml_event_t e;
    int err;

    while ((err = next_event(r, &e)) == 0 && e.type != YAML_MAPPING_END_EVENT) {
        err = read_field(r, &e, mark, depth, map);
        yaml_event_delete(&e);
        if (err < 0)
            return err;
    }
    if (err == 0)
        yaml_event_delete(&e);
    return err;
}

static int read_collection(struct reader *r, const yaml_event_t *e, uint32_t mark, int depth,
                           json_t **out)
{
    bool is_map = e->type == YAML_MAPPING_START_EVENT;
    const char *tag =
        (const char *)(is_map ? e->data.mapping_start.tag : e->data.sequence_start.tag);

    if (depth >= YAML_DEPTH_MAX)
        return fault(r, ERR_LIMIT, line_of(e), "more than 64 maps and lists within each other");
    if (tag && strcmp(tag, "!") != 0 && strcmp(tag, is_map ? YAML_MAP_TAG : YAML_SEQ_TAG) != 0)
        return fault(r, ERR_UNSUPPORTED, line_of(e), "a tag that is not one of YAML's own");
    *out = is_map ? json_object() : json_array();
    return is_map ? read_map(r, mark, depth, *out) : read_list(r, mark, depth, *out);
}

// Takes the event.
static int read_value(struct reader *r, yaml_event_t *e, uint32_t mark, int depth, json_t **out)
{
    size_t nodes = r->nodes, bytes = r->bytes;
    const char *anchor = NULL;
    json_t *value = NULL;
    int err = 0;

    if (e->type == YAML_SCALAR_EVENT) {
        anchor = (const char *)e->data.scalar.anchor;
        err = spend(r, line_of(e), 1, e->data.scalar.length);
        if (err == 0)
            err = scalar_value(r, e, &value);
    } else if (e->type == YAML_ALIAS_EVENT) {
        err = alias_value(r, e, &value);
    } else {
        anchor =
            (const char *)(e->type == YAML_MAPPING_START_EVENT ? e->data.mapping_start.anchor
                                                               : e->data.sequence_start.anchor);
        err = spend(r, line_of(e), 1, 0);
        if (err == 0)
            err = read_collection(r, e, mark, depth, &value);
    }
    if (err == 0 && anchor)
        anchor_put(r, anchor, value, nodes, bytes);
    yaml_event_delete(e);
    if (err == 0)
        *out = value;
    else
        json_decref(value);
    return err;
}

static bool is_empty(const yaml_event_t *e)
{
    return e->type == YAML_SCALAR_EVENT && e->data.scalar.length == 0 && !e->data.scalar.tag &&
           e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
}

// Between the start of a document and its end.
static int read_document(struct reader *r, size_t line)
{
    struct yaml_doc *d;
    yaml_event_t e;
    int err;

    if (r->yaml->count >= YAML_DOCUMENTS_MAX)
        return fault(r, ERR_LIMIT, line, "more than 10,000 documents");
    err = next_event(r, &e);
    if (err < 0)
        return err;
    if (is_empty(&e)) {
        yaml_event_delete(&e);
    } else {
        json_t *value = NULL;

        d = yaml_add(r->yaml);
        yaml_mark(d, 0, STR_NONE, line_of(&e));
        err = read_value(r, &e, 0, 0, &value);
        yaml_last(r->yaml)->value = value;
    }
    anchor_forget(r);
    if (err == 0)
        err = next_event(r, &e); // its end
    if (err == 0)
        yaml_event_delete(&e);
    return err;
}

static int read_stream(struct reader *r)
{
    yaml_event_t e;
    yaml_event_type_t type;
    size_t line;
    int err;

    do {
        err = next_event(r, &e);
        if (err < 0)
            return err;
        type = e.type;
        line = line_of(&e);
        yaml_event_delete(&e);
        if (type == YAML_DOCUMENT_START_EVENT)
            err = read_document(r, line);
    } while (err == 0 && type != YAML_STREAM_END_EVENT);
    return err;
}

static int read_yaml(const char *file, struct str text, struct yaml_docs *y, struct why *why)
{
    struct reader r = {.file = file, .why = why, .yaml = y};
    int err;

    if (!yaml_parser_initialize(&r.parser))
        abort(); // no memory
    map_init(&r.anchors);
    yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)(text.ptr ? text.ptr : ""),
                                 text.len);
    err = read_stream(&r);
    anchor_forget(&r);
    map_fini(&r.anchors);
    yaml_parser_delete(&r.parser);
    return err;
}

int yaml_docs_parse(const char *file, struct str text, struct yaml_docs **out, struct why *why)
{
    struct yaml_docs *y = xcalloc(1, sizeof(*y));
    int err = 0;

    if (text.len > YAML_TEXT_MAX) {
        why_set(why, "%s:1: %zu bytes; at most 8 MiB are read", file, text.len);
        err = ERR_LIMIT;
    } else if (!yaml_read_json(text, y)) {
        yaml_docs_free(y);
        y = xcalloc(1, sizeof(*y));
        err = read_yaml(file, text, y, why);
    }
    if (err < 0) {
        yaml_docs_free(y);
        return err;
    }
    *out = y;
    return 0;
}
