// SPDX-License-Identifier: Apache-2.0
#include "flow/tell.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

// ------------------------------------------------------------------------------------------- text

static void flush(struct teller *t)
{
    if (t->len > 0)
        t->put(t->user, (struct str){t->piece, t->len});
    t->len = 0;
}

static void put(struct teller *t, struct str text)
{
    while (text.len > 0) {
        size_t room = sizeof(t->piece) - t->len, len = text.len < room ? text.len : room;

        memcpy(t->piece + t->len, text.ptr, len);
        t->len += len;
        text = str_skip(text, len);
        if (t->len == sizeof(t->piece))
            flush(t);
    }
}

static bool is_plain(struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];

        if (c < 0x20 || c >= 0x7f || c == '"' || c == '\\')
            return false;
    }
    return true;
}

// Text that is no UTF-8 loses its odd octets.
static json_t *text_value(struct str text)
{
    json_t *j = json_stringn(text.ptr, text.len);
    char *clean;

    if (j)
        return j;
    clean = str_dup(text);
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)clean[i] >= 0x80)
            clean[i] = '?';
    j = json_stringn(clean, text.len);
    free(clean);
    return j;
}

static int put_escaped(const char *text, size_t len, void *user)
{
    struct teller *t = user;

    for (size_t i = 0; i < len; i++)
        put(t, text[i] == 0x7f ? STR("\\u007f") : (struct str){text + i, 1});
    return 0;
}

static void put_quoted(struct teller *t, struct str text)
{
    json_t *value;

    if (is_plain(text)) {
        put(t, STR("\""));
        put(t, text);
        put(t, STR("\""));
        return;
    }
    value = text_value(text);
    json_dump_callback(value, put_escaped, t, JSON_ENCODE_ANY | JSON_ENSURE_ASCII);
    json_decref(value);
}

// -------------------------------------------------------------------------------------- members

static void begin(struct teller *t, const char *key)
{
    if (t->has_before)
        put(t, STR(","));
    t->has_before = true;
    if (key) {
        put_quoted(t, str_of(key));
        put(t, STR(":"));
    }
}

static void add(struct teller *t, const char *key, json_t *take)
{
    json_t *in = t->open[t->depth - 1];

    if (key)
        json_object_set_new(in, key, take);
    else
        json_array_append_new(in, take);
}

void tell_open(struct teller *t, const char *key, char bracket)
{
    assert(t->depth < TELL_DEPTH);
    if (t->put) {
        begin(t, key);
        put(t, (struct str){&bracket, 1});
        t->has_before = false;
    } else {
        json_t *value = bracket == '{' ? json_object() : json_array();

        if (t->depth > 0)
            add(t, key, value);
        t->open[t->depth] = value;
    }
    t->closing[t->depth++] = bracket == '{' ? '}' : ']';
}

void tell_close(struct teller *t)
{
    t->depth--;
    if (t->put)
        put(t, (struct str){&t->closing[t->depth], 1});
    t->has_before = true;
}

void tell_text(struct teller *t, const char *key, struct str text)
{
    if (text.len == 0)
        return;
    if (!t->put) {
        add(t, key, text_value(text));
        return;
    }
    begin(t, key);
    put_quoted(t, text);
}

void tell_number(struct teller *t, const char *key, uint64_t number)
{
    char text[24];

    if (!t->put) {
        add(t, key, json_integer((json_int_t)number));
        return;
    }
    begin(t, key);
    snprintf(text, sizeof(text), "%" PRId64, (int64_t)number);
    put(t, str_of(text));
}

void tell_null(struct teller *t, const char *key)
{
    if (!t->put) {
        add(t, key, json_null());
        return;
    }
    begin(t, key);
    put(t, STR("null"));
}

json_t *tell_end(struct teller *t)
{
    if (!t->put)
        return t->open[0];
    flush(t);
    return NULL;
}
