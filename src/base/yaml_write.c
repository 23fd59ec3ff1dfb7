// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <stdlib.h>
#include <yaml.h>

#include "base/mem.h"
#include "base/yaml_inside.h"

// Writing: libyaml knows how a scalar is written, we decide which form it gets.

struct out {
    char *text;
    size_t len, size;
};

static int append(void *user, unsigned char *data, size_t len)
{
    struct out *o = user;

    if (o->len + len + 1 > o->size) {
        o->size = (o->len + len + 1) * 2;
        o->text = xrealloc(o->text, o->size, 1);
    }
    memcpy(o->text + o->len, data, len);
    o->len += len;
    o->text[o->len] = '\0';
    return 1;
}

// Values are of our making and memory does not end: nothing here can fail.
static void must(int ok)
{
    if (!ok)
        abort();
}

static void emit(yaml_emitter_t *e, yaml_event_t *event, int ok)
{
    must(ok);
    must(yaml_emitter_emit(e, event));
}

// Fit for a `|` block that reads back as it was.
static bool is_block(struct str text)
{
    if (text.ptr[0] == ' ' || text.ptr[0] == '\n')
        return false;
    for (size_t i = 0; i < text.len; i++) {
        bool is_end = i + 1 == text.len || text.ptr[i + 1] == '\n';

        if ((unsigned char)text.ptr[i] >= 0x7f || text.ptr[i] == '\r' || text.ptr[i] == '\t')
            return false;
        if (is_end && (text.ptr[i] == ' ' || (i + 2 == text.len && text.ptr[i] == '\n')))
            return false;
    }
    return true;
}

static void emit_text(yaml_emitter_t *e, struct str text, bool is_key)
{
    yaml_scalar_style_t style = YAML_PLAIN_SCALAR_STYLE;
    yaml_event_t event;

    if (memchr(text.ptr, '\n', text.len))
        style =
            !is_key && is_block(text) ? YAML_LITERAL_SCALAR_STYLE : YAML_DOUBLE_QUOTED_SCALAR_STYLE;
    else if (yaml_looks_otherwise(text) || strstr(text.ptr, "\xe2\x80"))
        style = YAML_DOUBLE_QUOTED_SCALAR_STYLE;
    emit(e, &event,
         yaml_scalar_event_initialize(&event, NULL, NULL, (const yaml_char_t *)text.ptr,
                                      (int)text.len, 1, 1, style));
}

// As few digits as read back the same, and so that it reads back as no integer.
static char *real_text(double value)
{
    char text[64];

    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    return str_fmt("%s%s", text, strpbrk(text, ".e") ? "" : ".0");
}

static void emit_plain(yaml_emitter_t *e, const char *text)
{
    yaml_event_t event;

    emit(e, &event,
         yaml_scalar_event_initialize(&event, NULL, NULL, (const yaml_char_t *)text,
                                      (int)strlen(text), 1, 1, YAML_PLAIN_SCALAR_STYLE));
}

static void emit_number(yaml_emitter_t *e, const json_t *value)
{
    char *text = json_is_real(value) ? real_text(json_real_value(value))
                                     : str_fmt("%lld", (long long)json_integer_value(value));

    emit_plain(e, text);
    free(text);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

// The caller frees the array.
static const char **sorted_keys(const json_t *map)
{
    const char **keys = xcalloc(json_object_size(map) + 1, sizeof(*keys));
    size_t count = 0;
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)map, key, value) keys[count++] = key;
    qsort(keys, count, sizeof(*keys), by_name);
    return keys;
}

static void emit_value(yaml_emitter_t *e, const json_t *value);

static void emit_map(yaml_emitter_t *e, const json_t *map)
{
    const char **keys = sorted_keys(map);
    yaml_event_t event;

    emit(e, &event,
         yaml_mapping_start_event_initialize(&event, NULL, NULL, 1,
                                             json_object_size(map) > 0 ? YAML_BLOCK_MAPPING_STYLE
                                                                       : YAML_FLOW_MAPPING_STYLE));
    for (size_t i = 0; i < json_object_size(map); i++) {
        emit_text(e, str_of(keys[i]), true);
        emit_value(e, json_object_get(map, keys[i]));
    }
    emit(e, &event, yaml_mapping_end_event_initialize(&event));
    free(keys);
}

static void emit_list(yaml_emitter_t *e, const json_t *list)
{
    yaml_event_t event;

    emit(e, &event,
         yaml_sequence_start_event_initialize(
             &event, NULL, NULL, 1,
             json_array_size(list) > 0 ? YAML_BLOCK_SEQUENCE_STYLE : YAML_FLOW_SEQUENCE_STYLE));
    for (size_t i = 0; i < json_array_size(list); i++)
        emit_value(e, json_array_get(list, i));
    emit(e, &event, yaml_sequence_end_event_initialize(&event));
}

static void emit_value(yaml_emitter_t *e, const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        emit_map(e, value);
        break;
    case JSON_ARRAY:
        emit_list(e, value);
        break;
    case JSON_STRING:
        emit_text(e, (struct str){json_string_value(value), json_string_length(value)}, false);
        break;
    case JSON_INTEGER:
    case JSON_REAL:
        emit_number(e, value);
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        emit_plain(e, json_is_true(value) ? "true" : "false");
        break;
    case JSON_NULL:
        emit_plain(e, "null");
        break;
    }
}

static char *write_block(const json_t *value)
{
    struct out out = {0};
    yaml_emitter_t e;
    yaml_event_t event;

    must(yaml_emitter_initialize(&e));
    yaml_emitter_set_output(&e, append, &out);
    yaml_emitter_set_unicode(&e, 1);
    yaml_emitter_set_indent(&e, 2);
    yaml_emitter_set_width(&e, -1);
    emit(&e, &event, yaml_stream_start_event_initialize(&event, YAML_UTF8_ENCODING));
    emit(&e, &event, yaml_document_start_event_initialize(&event, NULL, NULL, NULL, 1));
    emit_value(&e, value);
    emit(&e, &event, yaml_document_end_event_initialize(&event, 1));
    emit(&e, &event, yaml_stream_end_event_initialize(&event));
    yaml_emitter_delete(&e);
    return out.text;
}

static int append_piece(const char *text, size_t len, void *user)
{
    append(user, (unsigned char *)(uintptr_t)text, len);
    return 0;
}

char *json_text(const json_t *value, size_t flags)
{
    struct out out = {0};

    must(json_dump_callback(value, append_piece, &out, flags) == 0);
    return out.text;
}

char *yaml_write(const json_t *value, enum yaml_form form)
{
    char *json, *text;

    if (form == YAML_BLOCK)
        return write_block(value);
    json = json_text(value, JSON_INDENT(2) | JSON_SORT_KEYS | JSON_ENCODE_ANY);
    text = str_fmt("%s\n", json);
    free(json);
    return text;
}

static bool is_empty(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return json_object_size(value) == 0;
    case JSON_ARRAY:
        return json_array_size(value) == 0;
    case JSON_STRING:
        return json_string_length(value) == 0;
    case JSON_INTEGER:
        return json_integer_value(value) == 0;
    case JSON_REAL:
        return json_real_value(value) == 0;
    case JSON_FALSE:
    case JSON_NULL:
        return true;
    case JSON_TRUE:
        return false;
    }
    return false;
}

json_t *yaml_pruned(const json_t *value)
{
    json_t *copy, *child, *pruned;
    const char *key;
    size_t i;

    if (json_is_array(value)) {
        copy = json_array();
        json_array_foreach(value, i, child) json_array_append_new(copy, yaml_pruned(child));
        return copy;
    }
    if (!json_is_object(value))
        return json_deep_copy(value);
    copy = json_object();
    json_object_foreach((json_t *)(uintptr_t)value, key, child)
    {
        pruned = yaml_pruned(child);
        if (!is_empty(pruned))
            json_object_set(copy, key, pruned);
        json_decref(pruned);
    }
    return copy;
}
