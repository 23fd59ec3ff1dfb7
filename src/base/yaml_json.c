// SPDX-License-Identifier: Apache-2.0
#include "base/yaml_inside.h"

// JSON is read by jansson, which forgets where things stood; a second, simple pass over what is
// known to be right tells the lines.

struct scan {
    const char *at, *end;
    size_t line, nodes;
    struct yaml_doc *doc;
    bool is_over; // a limit
};

static void skip_space(struct scan *s)
{
    for (; s->at < s->end && memchr(" \t\r\n", *s->at, 4); s->at++)
        s->line += *s->at == '\n';
}

// What is between the quotes.
static struct str skip_string(struct scan *s)
{
    const char *start = ++s->at;
    struct str text;

    for (; s->at < s->end && *s->at != '"'; s->at++)
        if (*s->at == '\\')
            s->at++;
    text = (struct str){start, (size_t)(s->at - start)};
    s->at++;
    return text;
}

static void scan_value(struct scan *s, uint32_t mark, int depth);

// The fields or items of what has just been opened.
static void scan_inside(struct scan *s, uint32_t mark, int depth, char close)
{
    for (size_t index = 0; !s->is_over; index++) {
        uint32_t child;

        skip_space(s);
        if (*s->at == close)
            break;
        s->at += *s->at == ',';
        skip_space(s);
        if (close == '}') {
            size_t line = s->line;

            child = yaml_mark(s->doc, mark, skip_string(s), line);
            skip_space(s);
            s->at++; // the colon
            skip_space(s);
        } else {
            child = yaml_mark_item(s->doc, mark, index, s->line);
        }
        scan_value(s, child, depth + 1);
    }
    s->at++;
}

static void scan_value(struct scan *s, uint32_t mark, int depth)
{
    bool is_collection = *s->at == '{' || *s->at == '[';

    if (++s->nodes > YAML_NODES_MAX || (is_collection && depth > YAML_DEPTH_MAX)) {
        s->is_over = true;
    } else if (is_collection) {
        s->at++;
        scan_inside(s, mark, depth, s->at[-1] == '{' ? '}' : ']');
    } else if (*s->at == '"') {
        skip_string(s);
    } else {
        while (s->at < s->end && !strchr(",]} \t\r\n", *s->at))
            s->at++;
    }
}

bool yaml_read_json(struct str text, struct yaml_docs *y)
{
    struct scan s = {.at = text.ptr, .end = text.ptr + text.len, .line = 1};

    if (text.len > 0 && memchr(text.ptr, '\0', text.len))
        return false; // jansson passes over it
    for (skip_space(&s); s.at < s.end; skip_space(&s)) {
        json_error_t error;
        json_t *value;

        if ((*s.at != '{' && *s.at != '[' && *s.at != '"') || y->count >= YAML_DOCUMENTS_MAX)
            return false;
        value =
            json_loadb(s.at, (size_t)(s.end - s.at),
                       JSON_REJECT_DUPLICATES | JSON_DISABLE_EOF_CHECK | JSON_DECODE_ANY, &error);
        if (!value)
            return false;
        s.doc = yaml_add(y);
        s.doc->value = value;
        yaml_mark(s.doc, 0, STR_NONE, s.line);
        scan_value(&s, 0, 1);
        if (s.is_over)
            return false;
    }
    return y->count > 0;
}
