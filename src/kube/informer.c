// SPDX-License-Identifier: Apache-2.0
// A cache that follows the server, as a value. Its life:
//
//     list, page by page ──all──▶ watch from the list's version ──ends──▶ watch from what came last
//          ▲                        │ 410, or nonsense
//          └────────────────────────┘
//
// Every failure waits a while and does the same again; a list that cannot be completed has no
// effect but what it added. Objects are deleted in two places: by a DELETED event, and by sweep(),
// after a list that was complete, whose `generation` those it did not name do not bear.
//
// The cache keeps compact text. The owner is told of an object through a list on which each object
// is at most once, so what waits to be told is never more than the cache.
//
// Texts that come one by one lie scattered over all that was in use when they came, and each keeps
// a page of it. informer_rest() moves them into one block.
#include <stdlib.h>

#include "base/mem.h"
#include "kube/inside.h"

enum {
    PAUSE_MIN_MS = 200,
    PAUSE_MAX_MS = 10 * 1000,
    RETRY_AFTER_MAX_MS = 60 * 1000,
    // A watch is asked to end by itself after so long and up to as much more, which spreads them.
    WATCH_S = 300,
    // One that ended well before this was of no use.
    USEFUL_MS = 5000,
    LOOSE_SHARE = 16, // of a cache, that may stay scattered
};

struct entry {
    struct list on_changed;
    char *key;
    char *text; // compact JSON of what is kept
    char *version;
    uint32_t generation; // of the list or watch that named it last
    bool is_told, is_gone;
};

static bool is_packed(const struct informer *i, const char *text)
{
    return i->packed && text >= i->packed && text < i->packed + i->packed_len;
}

static void text_free(const struct informer *i, char *text)
{
    if (!is_packed(i, text))
        free(text);
}

static void entry_free(const struct informer *i, struct entry *e)
{
    list_remove(&e->on_changed);
    free(e->key);
    text_free(i, e->text);
    text_free(i, e->version);
    free(e);
}

void informer_init(struct informer *i, const struct kube_watch_opts *opts, struct rng *rng)
{
    *i = (struct informer){.opts = *opts,
                           .rng = rng,
                           .must_list = true,
                           .lines = {.item_max = KUBE_OBJECT_MAX},
                           .pause = {.min_ms = PAUSE_MIN_MS, .max_ms = PAUSE_MAX_MS}};
    map_init(&i->objects);
    list_init(&i->changed);
}

// What the last event lent is over.
static void take_back(struct informer *i)
{
    json_decref(i->object);
    i->object = NULL;
    if (i->told)
        entry_free(i, i->told);
    i->told = NULL;
}

void informer_fini(struct informer *i)
{
    size_t at = 0;
    struct str key;
    void *value;

    take_back(i);
    while (map_next(&i->objects, &at, &key, &value))
        entry_free(i, value);
    map_fini(&i->objects);
    free(i->packed);
    pager_fini(&i->pager);
    cutter_fini(&i->lines);
    free(i->version);
}

// -------------------------------------------------------------------------------------- objects

static void changed(struct informer *i, struct entry *e)
{
    if (list_empty(&e->on_changed))
        list_append(&i->changed, &e->on_changed);
}

static char *key_of(const char *ns, const char *name)
{
    return str_fmt("%s/%s", ns ? ns : "", name);
}

static const char *meta_text(const json_t *object, const char *field)
{
    return json_string_value(json_object_get(json_object_get(object, "metadata"), field));
}

static char *kept_text(const struct informer *i, json_t *object)
{
    json_t *kept = keep_fields(object, i->opts.kind, i->opts.keep);
    char *wide = json_dumps(kept, JSON_COMPACT | JSON_SORT_KEYS);
    char *text;

    json_decref(kept);
    if (!wide)
        abort();          // no memory
    text = xstrdup(wide); // without the room to grow
    free(wide);
    return text;
}

static void put(struct informer *i, json_t *object)
{
    const char *version = meta_text(object, "resourceVersion");
    char *key = key_of(meta_text(object, "namespace"), meta_text(object, "name"));
    char *its_version = xstrdup(version ? version : "");
    char *text = kept_text(i, object);
    struct entry *e = map_get(&i->objects, str_of(key));

    if (!e) {
        e = xcalloc(1, sizeof(*e));
        list_init(&e->on_changed);
        e->key = xstrdup(key);
        map_put(&i->objects, str_of(key), e);
        changed(i, e);
    } else if (e->is_gone || strcmp(e->text, text) != 0) {
        changed(i, e);
    }
    i->gone_count -= e->is_gone;
    e->is_gone = false;
    e->generation = i->generation;
    text_free(i, e->text);
    text_free(i, e->version);
    e->text = text;
    e->version = its_version;
    free(key);
}

static void drop(struct informer *i, struct entry *e)
{
    map_remove(&i->objects, str_of(e->key));
    entry_free(i, e);
}

static void gone(struct informer *i, struct entry *e)
{
    if (e->is_gone)
        return;
    if (!e->is_told) {
        drop(i, e);
        return;
    }
    e->is_gone = true;
    i->gone_count++;
    changed(i, e);
}

static void sweep(struct informer *i)
{
    size_t at = 0;
    struct str key;
    void *value;

    while (map_next(&i->objects, &at, &key, &value)) {
        struct entry *e = value;

        if (e->generation != i->generation)
            gone(i, e);
    }
}

static char *move_text(const struct informer *i, char *take, char **to)
{
    size_t len = strlen(take) + 1;
    char *place = *to;

    memcpy(place, take, len);
    *to += len;
    text_free(i, take);
    return place;
}

void informer_rest(struct informer *i)
{
    size_t at = 0, len = 0, loose = 0;
    char *block, *to;
    void *value;

    take_back(i);
    while (map_next(&i->objects, &at, NULL, &value)) {
        const struct entry *e = value;
        size_t its = strlen(e->text) + strlen(e->version) + 2;

        len += its;
        loose += is_packed(i, e->text) ? 0 : its;
    }
    // Few are left where they are: it is not worth moving all.
    if (loose <= len / LOOSE_SHARE && i->packed_len <= 2 * len)
        return;
    block = to = xcalloc(1, len);
    at = 0;
    while (map_next(&i->objects, &at, NULL, &value)) {
        struct entry *e = value;

        e->text = move_text(i, e->text, &to);
        e->version = move_text(i, e->version, &to);
    }
    free(i->packed);
    i->packed = block;
    i->packed_len = len;
}

static json_t *value_of(const struct entry *e)
{
    json_t *object = json_loads(e->text, JSON_ALLOW_NUL, NULL);

    if (!object)
        abort(); // we wrote it; no memory
    json_object_set_new(json_object_get(object, "metadata"), "resourceVersion",
                        json_string(e->version));
    return object;
}

size_t informer_count(const struct informer *i)
{
    return i->objects.count - i->gone_count;
}

json_t *informer_get(const struct informer *i, const char *ns, const char *name)
{
    char *key = key_of(ns, name);
    const struct entry *e = map_get(&i->objects, str_of(key));

    free(key);
    return e && !e->is_gone ? value_of(e) : NULL;
}

json_t *informer_each(const struct informer *i, const char *ns, size_t *at)
{
    struct str key;
    void *value;

    while (map_next(&i->objects, at, &key, &value)) {
        const struct entry *e = value;
        size_t len = ns ? strlen(ns) : 0;

        if (!e->is_gone && (!ns || (str_starts(key, (struct str){ns, len}) && key.ptr[len] == '/')))
            return value_of(e);
    }
    return NULL;
}

// -------------------------------------------------------------------------------------- trouble

static void trouble(struct informer *i, const struct outcome *o)
{
    struct kube_answer a = {0};
    char what[256];

    snprintf(what, sizeof(what), "%s %s%s%s%s%s", i->is_watching ? "watch" : "list",
             i->opts.kind->plural, i->opts.kind->group[0] ? "." : "", i->opts.kind->group,
             i->opts.ns ? " in namespace " : "", i->opts.ns ? i->opts.ns : "");
    judge(&a, o, what);
    if (strcmp(i->why.text, a.why.text) == 0)
        return;
    i->why = a.why;
    i->trouble = a.result;
    i->tell_trouble = true;
    i->tell_well = false;
}

// A connection that ends, as servers do when they are replaced, is told from the second time on.
static void trouble_if_it_lasts(struct informer *i, const struct outcome *o)
{
    if ((o->fail != FAIL_CONNECT && o->fail != FAIL_LOST) || i->losses++ > 0)
        trouble(i, o);
}

static void well(struct informer *i)
{
    i->losses = 0;
    if (!i->why.text[0])
        return;
    i->why.text[0] = '\0';
    i->tell_well = !i->tell_trouble; // who has not heard of it need not
    i->tell_trouble = false;
}

// --------------------------------------------------------------------------------------- asking

struct mono informer_deadline(const struct informer *i)
{
    return i->is_asking ? MONO_NEVER : i->until;
}

static void ask_for_list(struct informer *i, struct text *path)
{
    if (!i->pager.next)
        i->generation++;
    pager_begin(&i->pager, path);
}

static void ask_for_watch(struct informer *i, struct text *path)
{
    char seconds[16];

    snprintf(seconds, sizeof(seconds), "%u", WATCH_S + rng_below(i->rng, WATCH_S));
    text_add_param(path, "watch", "true");
    text_add_param(path, "allowWatchBookmarks", "true");
    text_add_param(path, "resourceVersion", i->version);
    text_add_param(path, "timeoutSeconds", seconds);
    cutter_reset(&i->lines, CUT_LINES);
}

void informer_ask(struct informer *i, struct text *path)
{
    i->is_asking = true;
    i->is_watching = !i->must_list;
    i->opened = MONO_NEVER;
    kind_path(path, i->opts.kind, i->opts.ns, NULL, NULL);
    if (i->opts.labels)
        text_add_param(path, "labelSelector", i->opts.labels);
    if (i->opts.fields)
        text_add_param(path, "fieldSelector", i->opts.fields);
    if (i->is_watching)
        ask_for_watch(i, path);
    else
        ask_for_list(i, path);
}

void informer_began(struct informer *i, struct mono now)
{
    i->opened = now;
    if (i->is_watching)
        well(i);
}

// -------------------------------------------------------------------------------------- answers

static const struct outcome nonsense = {
    .fail = FAIL_CUT,
    .retry_after_ms = -1,
    .why = {"the answer is not what the API promises, or an object is larger than 12 MiB"}};

static void set_version(struct informer *i, char *take_version)
{
    free(i->version);
    i->version = take_version;
}

// The watch says why it ends; only a new list is sure to get over it.
static void stream_error(struct informer *i, json_t *status)
{
    struct outcome o = {.retry_after_ms = -1,
                        .code = (int)json_integer_value(json_object_get(status, "code")),
                        .status = status};

    i->must_list = true;
    if (o.code != 410)
        trouble(i, &o);
}

static bool take_deleted(struct informer *i, json_t *object)
{
    char *key = key_of(meta_text(object, "namespace"), meta_text(object, "name"));
    struct entry *e = map_get(&i->objects, str_of(key));

    free(key);
    if (e)
        gone(i, e);
    return true;
}

static bool take_change(struct informer *i, const char *type, json_t *object)
{
    const char *name = meta_text(object, "name");

    if (strcmp(type, "BOOKMARK") == 0)
        return true;
    if (!name || !name[0])
        return false;
    if (strcmp(type, "DELETED") == 0)
        return take_deleted(i, object);
    if (strcmp(type, "ADDED") != 0 && strcmp(type, "MODIFIED") != 0)
        return false;
    put(i, object);
    return true;
}

// False: the watch is of no more use.
static bool take_event(struct informer *i, const json_t *event)
{
    const char *type = json_string_value(json_object_get(event, "type"));
    json_t *object = json_object_get(event, "object");
    const char *version = meta_text(object, "resourceVersion");
    char *copy;

    if (type && strcmp(type, "ERROR") == 0) {
        stream_error(i, object);
        return false;
    }
    copy = version && version[0] ? xstrdup(version) : NULL; // of what putting it away uses up
    if (!type || !copy || !take_change(i, type, object)) {
        free(copy);
        i->must_list = true;
        trouble(i, &nonsense);
        return false;
    }
    set_version(i, copy);
    pause_reset(&i->pause);
    return true;
}

static bool feed_watch(struct informer *i, struct str bytes)
{
    int got;

    while ((got = cutter_next(&i->lines, &bytes)) == 1) {
        json_t *event;
        bool is_good;

        if (i->lines.item.len == 0)
            continue;
        event = json_loadb(i->lines.item.data, i->lines.item.len, JSON_ALLOW_NUL, NULL);
        is_good = take_event(i, event);
        json_decref(event);
        if (!is_good)
            return false;
    }
    if (got < 0) {
        i->must_list = true;
        trouble(i, &nonsense);
    }
    return got == 0;
}

static bool feed_list(struct informer *i, struct str bytes)
{
    json_t *item;
    int got;

    while ((got = pager_next(&i->pager, &bytes, &item)) == 1) {
        put(i, item);
        json_decref(item);
    }
    return got == 0;
}

bool informer_feed(struct informer *i, struct str bytes)
{
    return i->is_watching ? feed_watch(i, bytes) : feed_list(i, bytes);
}

static void wait_a_while(struct informer *i, struct mono now, const struct outcome *o)
{
    int64_t ms = pause_next(&i->pause, i->rng);

    if (o->retry_after_ms > ms)
        ms = o->retry_after_ms < RETRY_AFTER_MAX_MS ? o->retry_after_ms : RETRY_AFTER_MAX_MS;
    i->until = mono_add_ms(now, ms);
}

static void list_ended(struct informer *i, const struct outcome *o, struct mono now)
{
    bool is_ok = o->fail == FAIL_NONE && o->code == 200;
    int more = is_ok ? pager_end(&i->pager) : 0;

    if (is_ok && more == 0) {
        sweep(i);
        set_version(i, xstrdup(i->pager.version));
        i->must_list = false;
        i->is_synced = i->tell_synced = true;
    } else if (!is_ok && pager_is_expired(&i->pager, o)) {
        return;
    } else if (more <= 0) {
        trouble_if_it_lasts(i, is_ok ? &nonsense : o);
        if (is_ok || o->fail == FAIL_CUT || (o->code >= 400 && o->code < 429))
            pager_restart(&i->pager); // this page will not come
        wait_a_while(i, now, o);
    }
}

static void watch_ended(struct informer *i, const struct outcome *o, struct mono now)
{
    bool was_open = i->opened.ns != MONO_NEVER.ns;
    bool is_clean = o->fail == FAIL_NONE && o->code == 200;

    if (o->code == 410)
        i->must_list = true;
    else if (!was_open || (!i->must_list && !is_clean && o->fail != FAIL_LOST))
        trouble_if_it_lasts(i, o); // one that was open and is lost is no trouble yet
    if (is_clean && was_open && !i->must_list && mono_ms_between(i->opened, now) >= USEFUL_MS)
        pause_reset(&i->pause);
    else
        wait_a_while(i, now, o);
}

void informer_ended(struct informer *i, const struct outcome *o, struct mono now)
{
    i->is_asking = false;
    i->until = now;
    if (i->is_watching)
        watch_ended(i, o, now);
    else
        list_ended(i, o, now);
}

// --------------------------------------------------------------------------------------- telling

bool informer_is_pending(const struct informer *i)
{
    return i->tell_trouble || i->tell_well || i->tell_synced || !list_empty(&i->changed);
}

static void tell_object(struct informer *i, struct entry *e, struct kube_event *ev)
{
    ev->type = e->is_gone ? KUBE_EV_DELETED : e->is_told ? KUBE_EV_CHANGED : KUBE_EV_ADDED;
    e->is_told = true;
    ev->object = i->object = value_of(e);
    if (e->is_gone) {
        i->gone_count--;
        map_remove(&i->objects, str_of(e->key));
        i->told = e;
    }
}

bool informer_next(struct informer *i, struct kube_event *ev)
{
    struct list *node;

    take_back(i);
    *ev = (struct kube_event){0};
    if (i->tell_trouble || i->tell_well) {
        ev->type = i->tell_trouble ? KUBE_EV_TROUBLE : KUBE_EV_WELL;
        ev->result = i->trouble;
        ev->words = i->why.text;
        i->tell_trouble = i->tell_well = false;
        return true;
    }
    node = list_pop(&i->changed);
    if (node) {
        tell_object(i, list_entry(node, struct entry, on_changed), ev);
        return true;
    }
    ev->type = KUBE_EV_SYNCED;
    if (!i->tell_synced)
        return false;
    i->tell_synced = false;
    return true;
}
