// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "mgmt/config_int.h"
#include "mgmt/words.h"

// What both syntaxes of a configuration have in common: comments, the environment, and what makes a
// list of entities a configuration.

enum { FILE_MAX = 16 * 1024 * 1024 };

// ------------------------------------------------------------------------------------ environment

// A reference "$NAME" or "${NAME}" at the front of `text`: its length and its value, or 0.
static size_t find_reference(const struct config_reader *r, struct str text, const char **value)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_";
    bool is_braced = text.len > 1 && text.ptr[1] == '{';
    size_t at = is_braced ? 2 : 1, end = at;
    char *name;

    while (end < text.len && strchr(letters, text.ptr[end]))
        end++;
    if (end == at || (is_braced && (end == text.len || text.ptr[end] != '}')))
        return 0;
    name = str_dup((struct str){text.ptr + at, end - at});
    *value = r->env(name);
    free(name);
    return *value ? end + is_braced : 0;
}

struct amqp_val *config_text(const struct config_reader *r, struct str text)
{
    struct amqp_writer out;
    struct amqp_val *v;

    if (!r->env || text.len == 0 || !memchr(text.ptr, '$', text.len))
        return amqp_val_string(text);
    amqp_writer_init(&out);
    while (text.len > 0) {
        const char *value = NULL;
        size_t len = text.ptr[0] == '$' ? find_reference(r, text, &value) : 0;

        if (len > 0)
            amqp_put_raw(&out, str_of(value));
        else
            amqp_put_u8(&out, (uint8_t)text.ptr[0]);
        text = str_skip(text, len > 0 ? len : 1);
    }
    v = amqp_val_string(amqp_written(&out));
    amqp_writer_fini(&out);
    return v;
}

// ------------------------------------------------------------------------------------ JSON to
// value

static struct amqp_val *list_value(const struct config_reader *r, const json_t *j, int depth)
{
    struct amqp_val *list = amqp_val_list();

    for (size_t i = 0; i < json_array_size(j); i++) {
        struct amqp_val *item = config_value(r, json_array_get(j, i), depth + 1);

        if (!item) {
            amqp_val_free(list);
            return NULL;
        }
        amqp_val_append(list, item);
    }
    return list;
}

static struct amqp_val *map_value(const struct config_reader *r, const json_t *j, int depth)
{
    struct amqp_val *map = amqp_val_map();
    json_t *object = (json_t *)(uintptr_t)j; // only read; the iterator takes no const

    for (void *at = json_object_iter(object); at; at = json_object_iter_next(object, at)) {
        struct amqp_val *item = config_value(r, json_object_iter_value(at), depth + 1);

        if (!item) {
            amqp_val_free(map);
            return NULL;
        }
        amqp_val_set(map, json_object_iter_key(at), item);
    }
    return map;
}

struct amqp_val *config_value(const struct config_reader *r, const json_t *j, int depth)
{
    if (depth > CONFIG_DEPTH_MAX) {
        why_set(r->why, "maps and lists stand in each other more than %d deep", CONFIG_DEPTH_MAX);
        return NULL;
    }
    if (json_array_size(j) > CONFIG_ITEMS_MAX || json_object_size(j) > CONFIG_ITEMS_MAX) {
        why_set(r->why, "a map or list has more than %d items", CONFIG_ITEMS_MAX);
        return NULL;
    }
    switch (json_typeof(j)) {
    case JSON_STRING:
        return config_text(r, (struct str){json_string_value(j), json_string_length(j)});
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
        return list_value(r, j, depth);
    case JSON_OBJECT:
        return map_value(r, j, depth);
    }
    return amqp_val_null();
}

// ------------------------------------------------------------------------------------------ drafts

int config_draft_add(struct config_reader *r, struct config_draft *d, struct str name, int line,
                     struct amqp_val *take)
{
    for (size_t i = 0; i < d->count; i++) {
        if (!str_is(name, d->attrs[i].name))
            continue;
        why_set(r->why, "%s:%d: %.*s: attribute '%s' stands on line %d already", r->file, line,
                STR_ARG(shown(d->type)), d->attrs[i].name, d->attrs[i].line);
        amqp_val_free(take);
        return ERR_INVALID;
    }
    if (d->count == CONFIG_ITEMS_MAX) {
        why_set(r->why, "%s:%d: %.*s has more than %d attributes", r->file, line,
                STR_ARG(shown(d->type)), CONFIG_ITEMS_MAX);
        amqp_val_free(take);
        return ERR_INVALID;
    }
    d->attrs = xrealloc(d->attrs, d->count + 1, sizeof(*d->attrs));
    d->attrs[d->count++] = (struct config_attr){str_dup(name), take, line};
    return 0;
}

void config_draft_fini(struct config_draft *d)
{
    for (size_t i = 0; i < d->count; i++) {
        free(d->attrs[i].name);
        amqp_val_free(d->attrs[i].value);
    }
    free(d->attrs);
}

// -----------------------------------------------------------------------------------------
// entities

static int refuse(const struct config_reader *r, const struct mgmt_entity *e, int line)
{
    struct str name = shown(mgmt_entity_str(e, "name"));

    why_prefix(r->why, "%s:%d: %s%s%.*s%s", r->file, line, e->type->name, name.len ? " '" : "",
               STR_ARG(name), name.len ? "'" : "");
    return ERR_INVALID;
}

static int refuse_type(const struct config_reader *r, const struct config_draft *d)
{
    struct nearest nearest = {.word = d->type};
    const struct mgmt_type *type = mgmt_find_type(d->type);

    for (int i = 0; mgmt_types[i]; i++) {
        const struct mgmt_type *t = mgmt_types[i];

        if (t->in_config)
            nearest_offer(&nearest, t->config_name ? t->config_name : t->name);
    }
    if (type)
        why_set(r->why,
                "%s:%d: entities of type '%s' cannot be configured, only read by management",
                r->file, d->line, type->name);
    else if (nearest.best)
        why_set(r->why, "%s:%d: unknown entity type '%.*s'; did you mean '%s'?", r->file, d->line,
                STR_ARG(shown(d->type)), nearest.best);
    else
        why_set(r->why,
                "%s:%d: unknown entity type '%.*s'; there are router, listener, connector, "
                "sslProfile, address, log, tcpListener, tcpConnector and more",
                r->file, d->line, STR_ARG(shown(d->type)));
    return ERR_INVALID;
}

// The name comes first, so that what is said about the others can tell it.
static int set_all(const struct config_reader *r, struct mgmt_entity *e,
                   const struct config_draft *d)
{
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < d->count; i++) {
            const struct config_attr *a = &d->attrs[i];

            if ((strcmp(a->name, "name") == 0) != (pass == 0))
                continue;
            if (mgmt_entity_set(e, a->name, a->value, MGMT_CREATE, r->why) < 0)
                return refuse(r, e, a->line ? a->line : d->line);
        }
    }
    if (mgmt_entity_check(e, r->why) < 0)
        return refuse(r, e, d->line);
    return 0;
}

static char *name_key(const struct mgmt_type *type, struct str name)
{
    return str_fmt("%s/%.*s", type->name, STR_ARG(name));
}

// Settings of one log module may stand in several entities; the last one counts.
static int check_unique(struct config_reader *r, struct mgmt_entity *e)
{
    struct str name = mgmt_entity_str(e, "name");
    const struct mgmt_entity *other;
    char *key;

    if (strcmp(e->type->name, "log") == 0)
        return 0;
    key = e->type->is_single ? name_key(e->type, STR(""))
          : name.len > 0     ? name_key(e->type, name)
                             : mgmt_entity_identity(e);
    other = map_get(&r->by_name, str_of(key));
    if (other && e->type->is_single)
        why_set(r->why, "there is one on line %d already, and there can be only one", other->line);
    else if (other && name.len > 0)
        why_set(r->why, "the name is in use on line %d; names of one type differ", other->line);
    else if (other)
        why_set(r->why, "the same stands on line %d already; give one of them a name", other->line);
    else
        map_put(&r->by_name, str_of(key), e);
    free(key);
    return other ? refuse(r, e, e->line) : 0;
}

int config_add(struct config_reader *r, const struct config_draft *d)
{
    const struct mgmt_type *type = mgmt_find_type(d->type);
    struct mgmt_config *c = r->config;
    struct mgmt_entity *e;
    int err;

    if (!type || !type->in_config)
        return refuse_type(r, d);
    if (c->count == CONFIG_ENTITIES_MAX) {
        why_set(r->why, "%s:%d: more than %d entities", r->file, d->line, CONFIG_ENTITIES_MAX);
        return ERR_INVALID;
    }
    e = mgmt_entity_new(type);
    e->line = d->line;
    err = set_all(r, e, d);
    if (err == 0)
        err = check_unique(r, e);
    if (err < 0) {
        mgmt_entity_free(e);
        return err;
    }
    if ((c->count & (c->count - 1)) == 0)
        c->entities =
            xrealloc(c->entities, c->count ? c->count * 2 : 1, sizeof(struct mgmt_entity *));
    c->entities[c->count++] = e;
    return 0;
}

// A name that is referred to must exist.
static int check_references(const struct config_reader *r)
{
    static const struct {
        const char *attr, *type, *only_in;
    } references[] = {
        {"sslProfile", "sslProfile", NULL},
        {"proxyProfile", "proxyProfile", NULL},
        {"listener", "tcpListener", "listenerAddress"},
    };

    for (size_t i = 0; i < r->config->count; i++) {
        const struct mgmt_entity *e = r->config->entities[i];

        for (size_t k = 0; k < sizeof(references) / sizeof(references[0]); k++) {
            struct str name = mgmt_entity_str(e, references[k].attr);
            char *key;
            bool exists;

            if (name.len == 0 ||
                (references[k].only_in && strcmp(e->type->name, references[k].only_in) != 0))
                continue;
            key = name_key(mgmt_find_type(str_of(references[k].type)), name);
            exists = map_get(&r->by_name, str_of(key)) != NULL;
            free(key);
            if (exists)
                continue;
            why_set(r->why, "%s: there is no %s named '%.*s' in this file", references[k].attr,
                    references[k].type, STR_ARG(shown(name)));
            return refuse(r, e, e->line);
        }
    }
    return 0;
}

// ------------------------------------------------------------------------------------------- texts

// Lines that begin with # become blank, so that lines and columns stay true.
static char *without_comments(struct str text)
{
    char *copy = str_dup(text);
    bool at_start = true;

    for (size_t i = 0; i < text.len; i++) {
        if (at_start && copy[i] == '#') {
            while (i < text.len && copy[i] != '\n')
                copy[i++] = ' ';
        } else {
            at_start = copy[i] == '\n' || (at_start && strchr(" \t\r", copy[i]));
        }
    }
    return copy;
}

static int check_text(const struct config_reader *r, struct str text)
{
    const char *zero = text.len > 0 ? memchr(text.ptr, '\0', text.len) : NULL;
    size_t good = zero ? (size_t)(zero - text.ptr) : utf8_valid_len(text);
    int line = 1;

    if (good == text.len)
        return 0;
    for (size_t i = 0; i < good; i++)
        line += text.ptr[i] == '\n';
    why_set(r->why, "%s:%d: this is no text in UTF-8", r->file, line);
    return ERR_DECODE;
}

int config_read_text(struct config_reader *r, struct str text)
{
    char *copy;
    size_t at = 0;
    int err = check_text(r, text);

    if (err < 0)
        return err;
    if (str_starts(text, STR("\xef\xbb\xbf"))) // a byte order mark
        text = str_skip(text, 3);
    copy = without_comments(text);
    text.ptr = copy;
    while (at < text.len && strchr(" \t\r\n", copy[at]))
        at++;
    if (at < text.len && strchr("[{", copy[at]))
        err = config_read_json(r, text);
    else
        err = config_read_native(r, text);
    free(copy);
    return err;
}

void config_reader_init(struct config_reader *r, const char *file,
                        const char *(*env)(const char *name), struct why *why)
{
    *r = (struct config_reader){
        .file = file, .env = env, .config = xcalloc(1, sizeof(struct mgmt_config)), .why = why};
    map_init(&r->by_name);
}

int config_reader_done(struct config_reader *r, int err, struct mgmt_config **out)
{
    if (err == 0)
        err = check_references(r);
    map_fini(&r->by_name);
    if (err < 0)
        mgmt_config_free(r->config);
    else
        *out = r->config;
    return err;
}

int mgmt_config_parse(const char *file_name, struct str text, const char *(*env)(const char *name),
                      struct mgmt_config **out, struct why *why)
{
    struct config_reader r;

    config_reader_init(&r, file_name, env, why);
    return config_reader_done(&r, config_read_text(&r, text), out);
}

int config_read_file(const char *path, char **out, size_t *out_len, struct why *why)
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
        why_set(why, "%s: %s", path, ferror(f) ? strerror(errno) : "larger than 16 MiB");
        err = ERR_IO;
    }
    fclose(f);
    *out = text;
    *out_len = len;
    return err;
}

int mgmt_config_load(const char *path, const char *(*env)(const char *name),
                     struct mgmt_config **out, struct why *why)
{
    char *text = NULL;
    size_t len;
    int err = config_read_file(path, &text, &len, why);

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
    for (size_t i = 0; i < c->count; i++) {
        if (strcmp(c->entities[i]->type->name, type) == 0)
            return c->entities[i];
    }
    return NULL;
}
