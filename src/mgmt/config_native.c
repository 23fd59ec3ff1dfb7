// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>

#include "base/err.h"
#include "mgmt/config_int.h"
#include "mgmt/words.h"

// The native syntax: `type { attribute: value … }`, an attribute on each line, comments behind #.
// A value is the rest of its line, or a JSON string, list or map, or a map in this same syntax.

struct cursor {
    struct config_reader *reader;
    const char *at, *end, *line_start;
    int line;
};

static int refuse(const struct cursor *c, int err, const char *words)
{
    why_set(c->reader->why, "%s:%d:%d: %s", c->reader->file, c->line,
            (int)(c->at - c->line_start) + 1, words);
    return err;
}

static void advance(struct cursor *c)
{
    if (*c->at++ == '\n') {
        c->line++;
        c->line_start = c->at;
    }
}

static bool is_at(const struct cursor *c, const char *any_of)
{
    return c->at < c->end && strchr(any_of, *c->at);
}

static void skip_blanks(struct cursor *c)
{
    while (is_at(c, " \t\r"))
        c->at++;
}

static void skip_space(struct cursor *c)
{
    while (is_at(c, " \t\r\n#")) {
        if (*c->at == '#')
            while (c->at < c->end && *c->at != '\n')
                c->at++;
        else
            advance(c);
    }
}

static struct str take_word(struct cursor *c, const char *stops)
{
    const char *start = c->at;

    while (c->at < c->end && !strchr(stops, *c->at))
        c->at++;
    return (struct str){start, (size_t)(c->at - start)};
}

// A JSON value: text in quotes, list or map.
static json_t *take_json(struct cursor *c)
{
    json_error_t error;
    json_t *j =
        json_loadb(c->at, (size_t)(c->end - c->at),
                   JSON_DISABLE_EOF_CHECK | JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &error);

    if (!j) {
        int column = error.line == 1 ? (int)(c->at - c->line_start) : 0;

        why_set(c->reader->why, "%s:%d:%d: %s", c->reader->file, c->line + error.line - 1,
                column + error.column, error.text);
        return NULL;
    }
    for (const char *behind = c->at + error.position; c->at < behind;)
        advance(c);
    return j;
}

static int take_json_value(struct cursor *c, int depth, struct amqp_val **out)
{
    int line = c->line;
    json_t *j = take_json(c);
    struct amqp_val *v;

    if (!j)
        return ERR_DECODE;
    v = config_value(c->reader, j, depth);
    json_decref(j);
    if (!v) {
        why_prefix(c->reader->why, "%s:%d", c->reader->file, line);
        return ERR_INVALID;
    }
    *out = v;
    return 0;
}

// Up to the end of the line, a comment behind a space, or the bracket that ends the entity; the
// brackets of ${NAME} belong to the text.
static struct str take_line(struct cursor *c)
{
    const char *start = c->at;
    size_t len;

    while (c->at < c->end && *c->at != '\n' && *c->at != '}') {
        if (*c->at == '#' && (c->at == start || strchr(" \t", c->at[-1])))
            break;
        if (*c->at == '$' && c->at + 1 < c->end && c->at[1] == '{')
            while (c->at + 1 < c->end && *c->at != '}' && c->at[1] != '\n')
                c->at++;
        c->at++;
    }
    len = (size_t)(c->at - start);
    while (len > 0 && strchr(" \t\r", start[len - 1]))
        len--;
    if (len > 0 && start[len - 1] == ',')
        len--;
    return (struct str){start, len};
}

// Inside maps no table says which type is meant: numbers and truth values are what they look like.
static struct amqp_val *plain_value(const struct cursor *c, struct str text, int depth)
{
    struct amqp_val *v = config_text(c->reader, text);
    int64_t n;

    if (depth == 0)
        return v;
    if (amqp_val_int_of(v, &n)) {
        amqp_val_free(v);
        return amqp_val_long(n);
    }
    if (str_is(text, "true") || str_is(text, "false")) {
        amqp_val_free(v);
        return amqp_val_bool(str_is(text, "true"));
    }
    return v;
}

static int take_map(struct cursor *c, int depth, struct amqp_val **out);

static bool begins_json_map(const struct cursor *c)
{
    struct cursor inside = *c;

    inside.at++;
    skip_space(&inside);
    return is_at(&inside, "\"}");
}

// `depth` is 0 for the value of an attribute of an entity.
static int take_value(struct cursor *c, int depth, struct amqp_val **out)
{
    struct str text;
    int err;

    if (is_at(c, "{") && !begins_json_map(c))
        err = take_map(c, depth + 1, out);
    else if (is_at(c, "{[\""))
        err = take_json_value(c, depth, out);
    else {
        text = take_line(c);
        if (text.len == 0)
            return refuse(c, ERR_DECODE, "a value is needed here; write \"\" for an empty text");
        *out = plain_value(c, text, depth);
        return 0;
    }
    if (err < 0)
        return err;
    skip_blanks(c);
    if (is_at(c, ","))
        c->at++;
    skip_blanks(c);
    if (c->at == c->end || is_at(c, "\n}#"))
        return 0;
    amqp_val_free(*out);
    return refuse(c, ERR_DECODE, "something stands behind the value; a new line is needed");
}

// "name: value"; the name is copied.
static int take_attribute(struct cursor *c, int depth, char **name, struct amqp_val **value)
{
    struct str word;
    int err;

    if (is_at(c, "\"")) {
        json_t *quoted = take_json(c);

        if (!quoted)
            return ERR_DECODE;
        *name = str_dup(str_of(json_string_value(quoted)));
        json_decref(quoted);
    } else {
        word = take_word(c, ": \t\r\n{}#\"");
        if (word.len == 0)
            return refuse(c, ERR_DECODE, "'attribute: value' or '}' is needed");
        *name = str_dup(word);
    }
    skip_blanks(c);
    if (is_at(c, ":")) {
        c->at++;
        skip_blanks(c);
        err = take_value(c, depth, value);
    } else {
        err = refuse(c, ERR_DECODE, "':' and a value are needed behind the name of an attribute");
    }
    if (err < 0)
        free(*name);
    return err;
}

static int take_map(struct cursor *c, int depth, struct amqp_val **out)
{
    struct amqp_val *map = amqp_val_map();
    int line = c->line, err = 0;

    if (depth > CONFIG_DEPTH_MAX)
        err = refuse(c, ERR_INVALID, "maps stand in each other too deep");
    c->at++;
    while (err == 0) {
        struct cursor start;
        struct amqp_val *value;
        char *name;

        skip_space(c);
        start = *c;
        if (is_at(c, "}")) {
            c->at++;
            *out = map;
            return 0;
        }
        if (c->at == c->end || map->count / 2 == CONFIG_ITEMS_MAX) {
            why_set(c->reader->why, "%s:%d: the '{' of this map %s", c->reader->file, line,
                    c->at == c->end ? "is never closed" : "holds too many items");
            err = ERR_DECODE;
            break;
        }
        err = take_attribute(c, depth, &name, &value);
        if (err < 0)
            break;
        if (amqp_val_get(map, name)) {
            err = refuse(&start, ERR_INVALID, "a name stands twice in this map");
            amqp_val_free(value);
        } else {
            amqp_val_set(map, name, value);
        }
        free(name);
    }
    amqp_val_free(map);
    return err;
}

static int take_attributes(struct cursor *c, struct config_draft *d)
{
    for (;;) {
        struct amqp_val *value;
        char *name;
        int err, line;

        skip_space(c);
        if (is_at(c, "}")) {
            c->at++;
            return 0;
        }
        if (c->at == c->end) {
            why_set(c->reader->why, "%s:%d: the '{' of this %.*s is never closed", c->reader->file,
                    d->line, STR_ARG(shown(d->type)));
            return ERR_DECODE;
        }
        line = c->line;
        err = take_attribute(c, 0, &name, &value);
        if (err < 0)
            return err;
        err = config_draft_add(c->reader, d, str_of(name), line, value);
        free(name);
        if (err < 0)
            return err;
    }
}

static int take_entity(struct cursor *c)
{
    struct config_draft d = {.line = c->line};
    int err;

    d.type = take_word(c, ": \t\r\n{}#\"");
    skip_space(c);
    if (d.type.len == 0 || !is_at(c, "{"))
        return refuse(c, ERR_DECODE, "an entity is needed, written as 'type {' and its attributes");
    c->at++;
    err = take_attributes(c, &d);
    if (err == 0)
        err = config_add(c->reader, &d);
    config_draft_fini(&d);
    return err;
}

int config_read_native(struct config_reader *r, struct str text)
{
    struct cursor c = {r, text.ptr, text.ptr + text.len, text.ptr, 1};
    int err = 0;

    skip_space(&c);
    while (err == 0 && c.at < c.end) {
        err = take_entity(&c);
        skip_space(&c);
    }
    return err;
}
