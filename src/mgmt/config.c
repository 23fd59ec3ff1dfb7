// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "mgmt/mgmt.h"

// Configuration files. Both syntaxes come down to the same: one JSON object of attributes for each
// entity, with the line it began on. JSON is read by jansson; the native form is cut here, and
// values that begin with { or [ are JSON again.

enum { FILE_MAX = 64 * 1024 * 1024, ENTITY_MAX = 1000000 };

struct parser {
    const char *file;
    const char *(*env)(const char *name);
    struct mgmt_config *config;
    struct why *why;
};

// ---------------------------------------------------------------------------------------- values

// "$NAME" and "${NAME}" from the environment; what is not set stays as it is written.
static char *expand(const struct parser *p, const char *text)
{
    char *out = xcalloc(1, 1);
    size_t len = 0;

    while (*text) {
        const char *piece = text, *value = NULL;
        size_t piece_len = 1;

        if (*text == '$' && p->env) {
            bool braced = text[1] == '{';
            const char *name = text + 1 + braced;
            size_t name_len =
                strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_");

            if (name_len > 0 && (!braced || name[name_len] == '}')) {
                char *key = str_dup((struct str){name, name_len});

                value = p->env(key);
                free(key);
                piece_len = 1 + name_len + 2 * braced;
            }
        }
        size_t add = value ? strlen(value) : piece_len;

        out = xrealloc(out, len + add + 1, 1);
        memcpy(out + len, value ? value : piece, add);
        len += add;
        out[len] = '\0';
        text += piece_len;
    }
    return out;
}

static struct amqp_val *value_of(const struct parser *p, const json_t *j)
{
    struct amqp_val *v = NULL;
    const char *key;
    const json_t *item;
    size_t index;
    char *text;

    switch (json_typeof(j)) {
    case JSON_STRING:
        text = expand(p, json_string_value(j));
        v = amqp_val_string(str_of(text));
        free(text);
        return v;
    case JSON_INTEGER:
        return amqp_val_long(json_integer_value(j));
    case JSON_REAL:
        return amqp_val_double(json_real_value(j));
    case JSON_TRUE:
    case JSON_FALSE:
        return amqp_val_bool(json_is_true(j));
    case JSON_NULL:
        return amqp_val_null();
    case JSON_ARRAY:
        v = amqp_val_list();
        json_array_foreach(j, index, item) amqp_val_append(v, value_of(p, item));
        return v;
    case JSON_OBJECT:
        v = amqp_val_map();
        json_object_foreach((json_t *)(uintptr_t)j, key, item)
            amqp_val_set(v, key, value_of(p, item));
        return v;
    }
    return amqp_val_null();
}

// --------------------------------------------------------------------------------------- entities

static int refuse(const struct parser *p, struct mgmt_entity *e, int line, int err)
{
    const char *name = e ? mgmt_entity_cstr(e, "name") : NULL;

    if (e)
        why_prefix(p->why, "%s:%d: %s%s%s%s", p->file, line, e->type->name, name ? " '" : "",
                   name ? name : "", name ? "'" : "");
    mgmt_entity_free(e);
    return err;
}

static int check_unique(const struct parser *p, const struct mgmt_entity *e)
{
    struct str name = mgmt_entity_str(e, "name");

    for (size_t i = 0; i < p->config->count; i++) {
        const struct mgmt_entity *other = p->config->entities[i];

        if (other->type != e->type)
            continue;
        if (e->type->is_single) {
            why_set(p->why, "there is one on line %d already, and there can be only one",
                    other->line);
            return ERR_EXISTS;
        }
        if (name.len > 0 && str_eq(name, mgmt_entity_str(other, "name"))) {
            why_set(p->why, "the name is in use on line %d; names of one type differ", other->line);
            return ERR_EXISTS;
        }
    }
    return 0;
}

static int add_entity(struct parser *p, struct str type_name, const json_t *attrs, int line)
{
    const struct mgmt_type *type = mgmt_find_type(type_name);
    struct mgmt_config *c = p->config;
    struct mgmt_entity *e = NULL;
    const json_t *item;
    const char *key;
    int err = 0;

    if (!type || !type->in_config) {
        why_set(p->why, "%s:%d: there is no entity type '%.*s'%s", p->file, line,
                STR_ARG(type_name), type ? " in configuration files" : "");
        return ERR_INVALID;
    }
    e = mgmt_entity_new(type);
    e->line = line;
    json_object_foreach((json_t *)(uintptr_t)attrs, key, item)
    {
        struct amqp_val *v = value_of(p, item);

        if (err == 0)
            err = mgmt_entity_set(e, key, v, MGMT_CREATE, p->why);
        amqp_val_free(v);
    }
    if (err == 0)
        err = mgmt_entity_check(e, p->why);
    if (err == 0)
        err = check_unique(p, e);
    if (err < 0)
        return refuse(p, e, line, ERR_INVALID);
    c->entities = xrealloc(c->entities, c->count + 1, sizeof(struct mgmt_entity *));
    c->entities[c->count++] = e;
    return 0;
}

// A name that is referred to must exist.
static int check_reference(const struct parser *p, struct mgmt_entity *e, const char *attr,
                           const char *type)
{
    struct str name = mgmt_entity_str(e, attr);

    if (name.len == 0)
        return 0;
    for (size_t i = 0; i < p->config->count; i++) {
        const struct mgmt_entity *other = p->config->entities[i];

        if (strcmp(other->type->name, type) == 0 && str_eq(name, mgmt_entity_str(other, "name")))
            return 0;
    }
    why_set(p->why, "%s:%d: %s '%s': %s: there is no %s named '%.*s' in this file", p->file,
            e->line, e->type->name, mgmt_entity_cstr(e, "name") ? mgmt_entity_cstr(e, "name") : "",
            attr, type, STR_ARG(name));
    return ERR_INVALID;
}

static int check_references(const struct parser *p)
{
    int err = 0;

    for (size_t i = 0; i < p->config->count && err == 0; i++) {
        struct mgmt_entity *e = p->config->entities[i];

        err = check_reference(p, e, "sslProfile", "sslProfile");
        if (err == 0)
            err = check_reference(p, e, "proxyProfile", "proxyProfile");
        if (err == 0 && strcmp(e->type->name, "listenerAddress") == 0)
            err = check_reference(p, e, "listener", "tcpListener");
    }
    return err;
}

// ------------------------------------------------------------------------------------------ JSON

// Comment lines are no JSON; they become blank, so that lines and columns stay true.
static char *without_comments(struct str text)
{
    char *copy = str_dup(text);
    bool at_start = true;

    for (size_t i = 0; i < text.len; i++) {
        if (at_start && copy[i] == '#')
            for (; i < text.len && copy[i] != '\n'; i++)
                copy[i] = ' ';
        if (i < text.len && copy[i] == '\n')
            at_start = true;
        else if (i < text.len && copy[i] != ' ' && copy[i] != '\t')
            at_start = false;
    }
    return copy;
}

// The line on which each element of the outer list begins.
static int *element_lines(const char *text, size_t count)
{
    int *lines = xcalloc(count + 1, sizeof(*lines)), line = 1, depth = 0;
    size_t found = 0;
    bool in_string = false;

    for (const char *at = text; *at && found < count; at++) {
        if (*at == '\n')
            line++;
        if (in_string) {
            if (*at == '\\' && at[1])
                at++;
            else if (*at == '"')
                in_string = false;
            continue;
        }
        if (*at == '"')
            in_string = true;
        if ((*at == '[' || *at == '{') && ++depth == 2)
            lines[found++] = line;
        if (*at == ']' || *at == '}')
            depth--;
    }
    return lines;
}

static int parse_json(struct parser *p, struct str text)
{
    char *plain = without_comments(text);
    json_error_t error;
    json_t *root = json_loads(plain, JSON_REJECT_DUPLICATES, &error);
    int err = 0, *lines = NULL;

    if (!root || !json_is_array(root)) {
        if (!root)
            why_set(p->why, "%s:%d:%d: %s", p->file, error.line, error.column, error.text);
        else
            why_set(p->why, "%s:1: a list of [\"type\", {attributes}] is needed", p->file);
        err = ERR_DECODE;
    } else {
        lines = element_lines(plain, json_array_size(root));
    }
    for (size_t i = 0; err == 0 && i < json_array_size(root) && i < ENTITY_MAX; i++) {
        const json_t *pair = json_array_get(root, i);
        const json_t *type = json_array_get(pair, 0), *attrs = json_array_get(pair, 1);

        if (!json_is_string(type) || (json_array_size(pair) > 1 && !json_is_object(attrs)) ||
            json_array_size(pair) > 2) {
            why_set(p->why, "%s:%d: an entity is written as [\"type\", {attributes}]", p->file,
                    lines[i]);
            err = ERR_INVALID;
            break;
        }
        err = add_entity(p, str_of(json_string_value(type)), attrs, lines[i]);
    }
    json_decref(root);
    free(lines);
    free(plain);
    return err;
}

// ---------------------------------------------------------------------------------------- native

struct cursor {
    const char *at, *end;
    int line;
};

static void skip_space(struct cursor *c)
{
    while (c->at < c->end) {
        if (*c->at == '#')
            while (c->at < c->end && *c->at != '\n')
                c->at++;
        if (c->at >= c->end || !strchr(" \t\r\n", *c->at))
            return;
        c->line += *c->at == '\n';
        c->at++;
    }
}

static struct str take_word(struct cursor *c, const char *stops)
{
    const char *start = c->at;

    while (c->at < c->end && !strchr(stops, *c->at))
        c->at++;
    return (struct str){start, (size_t)(c->at - start)};
}

static json_t *take_json(struct parser *p, struct cursor *c)
{
    json_error_t error;
    json_t *j = json_loadb(c->at, (size_t)(c->end - c->at), JSON_DISABLE_EOF_CHECK, &error);

    if (!j) {
        why_set(p->why, "%s:%d: %s", p->file, c->line + error.line - 1, error.text);
        return NULL;
    }
    for (int i = 0; i < error.position; i++)
        c->line += c->at[i] == '\n';
    c->at += error.position;
    return j;
}

// To the end of the line, without a comment and spaces at its ends.
static json_t *take_text(struct cursor *c)
{
    struct str text = take_word(c, "\n#}");

    while (text.len > 0 && strchr(" \t\r", text.ptr[text.len - 1]))
        text.len--;
    return json_stringn_nocheck(text.ptr, text.len);
}

static int take_attribute(struct parser *p, struct cursor *c, json_t *attrs)
{
    struct str name = take_word(c, ": \t\r\n{}#");
    json_t *value = NULL;
    char *key;

    while (c->at < c->end && (*c->at == ' ' || *c->at == '\t'))
        c->at++;
    if (name.len == 0 || c->at >= c->end || *c->at != ':') {
        why_set(p->why, "%s:%d: 'attribute: value' or '}' is needed", p->file, c->line);
        return ERR_DECODE;
    }
    c->at++;
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\t'))
        c->at++;
    value = c->at < c->end && strchr("{[\"", *c->at) ? take_json(p, c) : take_text(c);
    if (!value)
        return ERR_DECODE;
    key = str_dup(name);
    json_object_set_new(attrs, key, value);
    free(key);
    return 0;
}

static int parse_section(struct parser *p, struct cursor *c)
{
    int line = c->line, err = 0;
    struct str type = take_word(c, " \t\r\n{}#");
    json_t *attrs = json_object();

    skip_space(c);
    if (type.len == 0 || c->at >= c->end || *c->at != '{') {
        why_set(p->why, "%s:%d: 'type {' is needed", p->file, line);
        err = ERR_DECODE;
    } else {
        c->at++;
    }
    while (err == 0) {
        skip_space(c);
        if (c->at >= c->end) {
            why_set(p->why, "%s:%d: the '{' of this %.*s is never closed", p->file, line,
                    STR_ARG(type));
            err = ERR_DECODE;
        } else if (*c->at == '}') {
            c->at++;
            err = add_entity(p, type, attrs, line);
            break;
        } else {
            err = take_attribute(p, c, attrs);
        }
    }
    json_decref(attrs);
    return err;
}

static int parse_native(struct parser *p, struct str text)
{
    struct cursor c = {text.ptr, text.ptr + text.len, 1};
    int err = 0;

    for (skip_space(&c); err == 0 && c.at < c.end; skip_space(&c))
        err = parse_section(p, &c);
    return err;
}

// ------------------------------------------------------------------------------------------- all

int mgmt_config_parse(const char *file_name, struct str text, const char *(*env)(const char *name),
                      struct mgmt_config **out, struct why *why)
{
    struct parser p = {file_name, env, xcalloc(1, sizeof(struct mgmt_config)), why};
    struct cursor first = {text.ptr, text.ptr + text.len, 1};
    int err;

    if (text.len > 0 && memchr(text.ptr, '\0', text.len)) {
        why_set(why, "%s: this is no text file", file_name);
        mgmt_config_free(p.config);
        return ERR_DECODE;
    }
    skip_space(&first);
    err = first.at < first.end && *first.at == '[' ? parse_json(&p, text) : parse_native(&p, text);
    if (err == 0)
        err = check_references(&p);
    if (err < 0)
        mgmt_config_free(p.config);
    else
        *out = p.config;
    return err;
}

int mgmt_config_load(const char *path, const char *(*env)(const char *name),
                     struct mgmt_config **out, struct why *why)
{
    FILE *f = fopen(path, "re");
    char *text = NULL;
    size_t len = 0, size = 0;
    int err = 0;

    if (!f) {
        why_set(why, "%s: %s", path, strerror(errno));
        return ERR_IO;
    }
    do {
        size = size ? size * 2 : 16384;
        text = xrealloc(text, size, 1);
        len += fread(text + len, 1, size - len, f);
    } while (len == size && size < FILE_MAX);
    if (ferror(f) || len == size) {
        why_set(why, "%s: %s", path, ferror(f) ? strerror(errno) : "larger than 64 MiB");
        err = ERR_IO;
    }
    fclose(f);
    if (err == 0)
        err = mgmt_config_parse(path, (struct str){text, len}, env, out, why);
    free(text);
    return err;
}

void mgmt_config_free(struct mgmt_config *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->count; i++)
        mgmt_entity_free(c->entities[i]);
    free(c->entities);
    free(c);
}

const struct mgmt_entity *mgmt_config_single(const struct mgmt_config *c, const char *type)
{
    for (size_t i = 0; i < c->count; i++)
        if (strcmp(c->entities[i]->type->name, type) == 0)
            return c->entities[i];
    return NULL;
}
