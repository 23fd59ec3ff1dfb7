// SPDX-License-Identifier: Apache-2.0
// Conditions and their aggregate, as every kind tells them.
#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"
#include "site/inside.h"

static struct condition *find(const struct thing *t, const char *type)
{
    for (size_t i = 0; i < CONDITIONS_MAX && t->conditions[i].type; i++) {
        if (strcmp(t->conditions[i].type, type) == 0)
            return (struct condition *)(uintptr_t)&t->conditions[i];
    }
    return NULL;
}

static void set(struct thing *t, const char *type, bool is_true, const char *reason, char *take)
{
    struct condition *c = find(t, type);

    for (size_t i = 0; !c; i++) {
        assert(i < CONDITIONS_MAX);
        if (!t->conditions[i].type)
            c = &t->conditions[i];
    }
    free(c->message);
    *c = (struct condition){type, is_true, reason, take};
}

void cond_free(struct thing *t)
{
    for (size_t i = 0; i < CONDITIONS_MAX; i++)
        free(t->conditions[i].message);
}

static PRINTF_LIKE(1, 0) char *print(const char *fmt, va_list args)
{
    char *text = NULL;

    if (vasprintf(&text, fmt, args) < 0)
        abort();
    return text;
}

void cond_ready(struct thing *t, const char *type)
{
    set(t, type, true, "Ready", str_fmt("OK"));
}

void cond_noted(struct thing *t, const char *type, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    set(t, type, true, "Ready", print(fmt, args));
    va_end(args);
}

void cond_pending(struct thing *t, const char *type, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    set(t, type, false, "Pending", print(fmt, args));
    va_end(args);
}

void cond_error(struct thing *t, const char *type, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    set(t, type, false, "Error", print(fmt, args));
    va_end(args);
}

void cond_spent(struct thing *t, const char *type, const char *words)
{
    set(t, type, true, "Error", xstrdup(words));
}

void cond_met(struct thing *t, const char *type, bool is_met, const char *else_text)
{
    if (is_met)
        cond_ready(t, type);
    else
        cond_pending(t, type, "%s", else_text);
}

bool cond_is_set(const struct thing *t, const char *type)
{
    return find(t, type) != NULL;
}

const char *cond_message(const struct thing *t, const char *type)
{
    const struct condition *c = find(t, type);

    return c ? c->message : "";
}

// ------------------------------------------------------------------------------- the first words

// What is wrong with the text stands in the first condition of the kind.
static void tell_errors(struct thing *t)
{
    const char *first = t->kind->conditions[0];
    char *all = str_fmt("%s", "");
    size_t i;
    json_t *error;

    if (t->input && t->input->problem) {
        free(all);
        cond_error(t, first, "%s", t->input->problem);
        return;
    }
    json_array_foreach(t->errors, i, error)
    {
        char *longer = str_fmt("%s%s%s", all, i > 0 ? "\n" : "", json_string_value(error));

        free(all);
        all = longer;
    }
    if (json_array_size(t->errors) > 0)
        cond_error(t, first, "%s", all);
    free(all);
}

// -------------------------------------------------------------------------------------- aggregate

static bool is_required(const struct thing *t, const char *type)
{
    const char *access = spec_text(t, "linkAccess");

    return strcmp(t->kind->name, "Site") != 0 || strcmp(type, "Resolved") != 0 ||
           (access[0] && strcmp(access, "none") != 0);
}

// The first condition that is not as it should be; of a type "Not <Type>" if it is missing.
static struct condition aggregate(const struct thing *t)
{
    const char *note = "OK"; // of the first one that is met and has something to say

    for (size_t i = 0; t->kind->conditions[i]; i++) {
        const char *type = t->kind->conditions[i];
        const struct condition *c = find(t, type);

        if (!is_required(t, type))
            continue;
        if (!c)
            return (struct condition){"Ready", false, "Pending", str_fmt("Not %s", type)};
        if (!c->is_true || strcmp(c->reason, "Error") == 0)
            return (struct condition){"Ready", false, c->reason, xstrdup(c->message)};
        if (strcmp(note, "OK") == 0)
            note = c->message;
    }
    return (struct condition){"Ready", true, "Ready", xstrdup(note)};
}

// ------------------------------------------------------------------------------------- the output

// The time of a transition changes only when the status does.
static json_t *transition(const struct model *m, const struct condition *c, const json_t *before)
{
    const json_t *old = site_item(json_object_get(before, "conditions"), "type", c->type);
    json_t *time = json_object_get(old, "lastTransitionTime");

    if (json_is_string(time) &&
        strcmp(site_text(old, "status"), c->is_true ? "True" : "False") == 0)
        return json_incref(time);
    return json_string(m->now);
}

static json_t *write_condition(const struct model *m, const struct thing *t,
                               const struct condition *c, const json_t *before)
{
    json_t *generation = json_object_get(json_object_get(t->value, "metadata"), "generation");
    json_t *out = json_object();

    json_object_set_new(out, "type", json_string(c->type));
    json_object_set_new(out, "status", json_string(c->is_true ? "True" : "False"));
    json_object_set_new(out, "reason", json_string(c->reason));
    json_object_set_new(out, "message", words_json(c->message));
    json_object_set_new(out, "lastTransitionTime", transition(m, c, before));
    if (json_is_integer(generation))
        json_object_set(out, "observedGeneration", generation);
    return out;
}

void thing_finish(const struct model *m, struct thing *t)
{
    const json_t *before = json_object_get(json_object_get(m->facts->previous, t->key), "status");
    json_t *list = json_array();
    struct condition sum;

    tell_errors(t);
    sum = aggregate(t);
    for (size_t i = 0; t->kind->conditions[i]; i++) {
        const struct condition *c = find(t, t->kind->conditions[i]);

        if (c)
            json_array_append_new(list, write_condition(m, t, c, before));
    }
    if (t->kind->tells_ready)
        json_array_append_new(list, write_condition(m, t, &sum, before));
    json_object_set_new(t->status, "conditions", list);
    json_object_set_new(t->status, "status", json_string(sum.reason));
    json_object_set_new(t->status, "message", words_json(sum.message));
    json_object_set(t->value, "status", t->status);
    free(sum.message);
}
