// SPDX-License-Identifier: Apache-2.0
// Cuts the text of lists and watches into objects. It follows only braces, brackets and quotes;
// whether what it cuts is JSON is for the parser to say, which is handed each piece.
#include <stdlib.h>

#include "base/mem.h"
#include "kube/inside.h"

enum { KEPT_SIZE = 16 * 1024 }; // of a buffer, from one object to the next

void cutter_fini(struct cutter *c)
{
    free(c->item.data);
    free(c->rest.data);
    *c = (struct cutter){0};
}

// One large object is no reason to keep that much for ever.
static void empty(struct text *t)
{
    t->len = 0;
    if (t->size <= KEPT_SIZE)
        return;
    free(t->data);
    *t = (struct text){0};
}

void cutter_reset(struct cutter *c, enum cut_mode mode)
{
    struct text item = c->item, rest = c->rest;

    empty(&item);
    empty(&rest);
    *c = (struct cutter){
        .mode = mode, .item_max = c->item_max, .rest_max = c->rest_max, .item = item, .rest = rest};
}

static int add(struct text *t, char c, size_t max)
{
    if (t->len >= max)
        return ERR_LIMIT;
    text_add(t, (struct str){&c, 1});
    return 0;
}

static int next_line(struct cutter *c, struct str *in)
{
    const char *end = in->len ? memchr(in->ptr, '\n', in->len) : NULL;
    size_t len = end ? (size_t)(end - in->ptr) : in->len;

    if (len > c->item_max - c->item.len)
        return ERR_LIMIT;
    text_add(&c->item, (struct str){in->ptr, len});
    *in = str_skip(*in, len + (end != NULL));
    c->is_item_done = end != NULL;
    return end != NULL;
}

// The key that a value at the top belongs to.
static void note_key(struct cutter *c, char ch)
{
    if (c->depth != 1 || c->in_items)
        return;
    if (c->key_len < sizeof(c->key))
        c->key[c->key_len] = ch;
    c->key_len++;
}

static void in_text(struct cutter *c, char ch)
{
    if (c->is_escaped) {
        c->is_escaped = false;
    } else if (ch == '\\') {
        c->is_escaped = true;
    } else if (ch == '"') {
        c->in_text = false;
        if (c->depth == 1 && !c->in_items)
            c->is_key_items = c->key_len == 5 && memcmp(c->key, "items", 5) == 0;
        return;
    }
    note_key(c, ch);
}

// Outside of texts: how deep we are after `ch`.
static int out_of_text(struct cutter *c, char ch)
{
    switch (ch) {
    case '"':
        c->in_text = true;
        c->key_len = 0;
        return 0;
    case '{':
    case '[':
        c->depth++;
        if (c->depth == 2 && ch == '[' && c->is_key_items)
            c->in_items = true;
        return 0;
    case '}':
    case ']':
        c->depth--;
        if (c->depth == 1)
            c->in_items = false;
        return c->depth < 0 ? ERR_DECODE : 0;
    case ',':
        if (c->depth == 1)
            c->is_key_items = false;
        return 0;
    default:
        return 0;
    }
}

static bool is_between(char ch)
{
    return ch == ',' || ch == ' ' || ch == '\n' || ch == '\r' || ch == '\t';
}

// One more byte; 1: an item is complete.
static int take(struct cutter *c, char ch)
{
    bool was_in_items = c->in_items;
    int was_deep = c->depth, err = 0;

    if (c->in_text)
        in_text(c, ch);
    else
        err = out_of_text(c, ch);
    if (err < 0)
        return err;
    if (!was_in_items || !c->in_items)
        return add(&c->rest, ch, c->rest_max);
    if (was_deep == 2 && c->depth == 2)
        return is_between(ch) ? 0 : ERR_DECODE; // no object
    err = add(&c->item, ch, c->item_max);
    if (err < 0)
        return err;
    c->is_item_done = c->depth == 2;
    return c->is_item_done;
}

int cutter_next(struct cutter *c, struct str *in)
{
    int got = 0;

    if (c->is_item_done)
        empty(&c->item);
    c->is_item_done = false;
    if (c->mode == CUT_LINES)
        return next_line(c, in);
    while (got == 0 && in->len > 0) {
        got = take(c, *in->ptr);
        *in = str_skip(*in, 1);
    }
    return got;
}
