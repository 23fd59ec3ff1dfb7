// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>

#include "base/err.h"
#include "mgmt/config_int.h"

// The JSON syntax: [["type", {attributes}], …]. The JSON library reads it; as it forgets where
// things stood, a second, simple pass over the same text goes along and tells the lines.

struct place {
    const char *at;
    int line, depth;
};

static void skip_string(struct place *p)
{
    for (p->at++; *p->at && *p->at != '"'; p->at++) {
        if (*p->at == '\\' && p->at[1])
            p->at++;
    }
    if (*p->at)
        p->at++;
}

static void step(struct place *p)
{
    if (*p->at == '"') {
        skip_string(p);
        return;
    }
    p->line += *p->at == '\n';
    p->depth += *p->at == '[' || *p->at == '{';
    p->depth -= *p->at == ']' || *p->at == '}';
    p->at++;
}

// To the next bracket that opens at this depth; its line.
static int next_open(struct place *p, int depth)
{
    int before = p->depth;

    while (*p->at && !(before == depth - 1 && p->depth == depth)) {
        before = p->depth;
        step(p);
    }
    return p->line;
}

// To the next item of the outermost list; its line.
static int next_item(struct place *p)
{
    while (*p->at && p->depth > 1)
        step(p);
    while (*p->at && strchr(", \t\r\n", *p->at))
        step(p);
    return p->line;
}

// To the next key of the object at this depth; its line.
static int next_key(struct place *p, int depth)
{
    while (*p->at) {
        bool is_string = *p->at == '"' && p->depth == depth;
        const char *behind;

        step(p);
        if (!is_string)
            continue;
        behind = p->at + strspn(p->at, " \t\r\n");
        if (*behind == ':')
            return p->line;
    }
    return p->line;
}

static int add_pair(struct config_reader *r, const json_t *pair, int line, struct place *p)
{
    const json_t *type = json_array_get(pair, 0);
    json_t *attrs = json_array_get(pair, 1);
    struct config_draft d = {.line = line};
    int err = 0;

    if (json_array_size(pair) > 2 || !json_is_string(type) || (attrs && !json_is_object(attrs))) {
        why_set(r->why, "%s:%d: an entity is written as [\"type\", {\"attribute\": value, …}]",
                r->file, line);
        return ERR_INVALID;
    }
    d.type = str_of(json_string_value(type));
    if (attrs)
        next_open(p, 3);
    for (void *at = json_object_iter(attrs); at && err == 0;
         at = json_object_iter_next(attrs, at)) {
        int key_line = next_key(p, 3);
        struct amqp_val *v = config_value(r, json_object_iter_value(at), 0);

        if (!v) {
            why_prefix(r->why, "%s:%d: %s: %s", r->file, key_line, d.type.ptr,
                       json_object_iter_key(at));
            err = ERR_INVALID;
        } else {
            err = config_draft_add(r, &d, str_of(json_object_iter_key(at)), key_line, v);
        }
    }
    if (err == 0)
        err = config_add(r, &d);
    config_draft_fini(&d);
    return err;
}

int config_read_json(struct config_reader *r, struct str text)
{
    struct place p = {.at = text.ptr, .line = 1};
    json_error_t error;
    json_t *root = json_loadb(text.ptr, text.len, JSON_REJECT_DUPLICATES, &error);
    int err = 0;

    if (!root) {
        why_set(r->why, "%s:%d:%d: %s", r->file, error.line, error.column, error.text);
        return ERR_DECODE;
    }
    if (!json_is_array(root)) {
        why_set(r->why, "%s:1: a list of [\"type\", {\"attribute\": value, …}] is needed", r->file);
        err = ERR_DECODE;
    }
    next_open(&p, 1);
    for (size_t i = 0; i < json_array_size(root) && err == 0; i++) {
        const json_t *pair = json_array_get(root, i);
        int line = next_item(&p);

        if (json_is_array(pair))
            next_open(&p, 2);
        err = add_pair(r, pair, line, &p);
    }
    json_decref(root);
    return err;
}
