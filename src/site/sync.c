// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>

#include "base/err.h"
#include "base/fold.h"
#include "base/mem.h"
#include "base/yaml.h"
#include "site/sync.h"

// Service sharing. Every site repeats everything it offers; there are no differences, no answers
// and no order, so any message alone brings the state up to date.
//
// An origin has offers, a name has the offers of all origins, earliest first. The first one counts,
// unless this site offers the name itself; when it goes, the next one takes its place at once,
// without waiting for that site's next message. Whatever may have changed what counts puts the
// name on `changed`; what is told then is the difference between what was told last and what counts
// now, so any number of changes between two polls is one.

enum { VERSION_MAX = 100 };

struct site_sync *site_sync_new(const struct site_sync_opts *o, struct mono now)
{
    struct site_sync *s = xcalloc(1, sizeof(*s));

    s->site_id = xstrdup(o->site_id);
    s->version = xstrdup(o->version ? o->version : "");
    s->resend_ms = o->resend_ms ? o->resend_ms : SITE_SYNC_RESEND_MS;
    s->ttl_ms = SITE_SYNC_TTL_MS;
    s->check_ms = o->check_ms ? o->check_ms : SITE_SYNC_CHECK_MS;
    s->resend_at = MONO_NEVER;
    s->check_at = mono_add_ms(now, s->check_ms);
    map_init(&s->origins);
    map_init(&s->names);
    list_init(&s->changed);
    return s;
}

void site_sync_set_ttl(struct site_sync *s, uint32_t ttl_ms)
{
    s->ttl_ms = ttl_ms ? ttl_ms : SITE_SYNC_TTL_MS;
}

// ------------------------------------------------------------------------------------------ names

static void mark(struct site_sync *s, struct name *n)
{
    if (list_empty(&n->on_changed))
        list_append(&s->changed, &n->on_changed);
}

static struct name *name_get(struct site_sync *s, const char *text)
{
    struct name *n = map_get(&s->names, str_of(text));

    if (n)
        return n;
    n = xcalloc(1, sizeof(*n));
    n->text = xstrdup(text);
    list_init(&n->on_changed);
    list_init(&n->offers);
    map_put(&s->names, str_of(text), n);
    return n;
}

static void name_free(struct site_sync *s, struct name *n)
{
    map_remove(&s->names, str_of(n->text));
    list_remove(&n->on_changed);
    json_decref(n->told);
    free(n->told_origin);
    free(n->text);
    free(n);
}

static struct offer *name_winner(const struct name *n)
{
    struct list *first = n->is_own ? NULL : list_first(&n->offers);

    return first ? list_entry(first, struct offer, on_name) : NULL;
}

// Nobody speaks of it any more, and its owner knows.
static void name_forget_if_idle(struct site_sync *s, struct name *n)
{
    if (list_empty(&n->offers) && !n->is_own && !n->told && list_empty(&n->on_changed))
        name_free(s, n);
}

// ------------------------------------------------------------------------------- origins, offers

static void offer_free(struct site_sync *s, struct offer *o)
{
    struct name *n = o->name;

    list_remove(&o->on_origin);
    list_remove(&o->on_name);
    o->origin->count--;
    s->offers--;
    json_decref(o->service);
    free(o);
    mark(s, n);
}

// Among the offers of its name by age.
static void insert_by_order(struct name *n, struct offer *o)
{
    struct list *at = n->offers.prev;

    while (at != &n->offers && list_entry(at, struct offer, on_name)->order > o->order)
        at = at->prev;
    list_prepend(at, &o->on_name); // behind `at`
}

// A new reference; json_unfold() makes it what it was.
static json_t *folded(const json_t *service)
{
    char *text = json_text(service, JSON_COMPACT);
    json_t *out = json_string_nocheck(text);

    free(text);
    return out;
}

static json_t *unfolded(const json_t *text)
{
    json_t *service = json_incref((json_t *)(uintptr_t)text);

    json_unfold(&service);
    return service;
}

static void offer_new(struct site_sync *s, struct origin *from, const json_t *service,
                      uint64_t order)
{
    struct offer *o = xcalloc(1, sizeof(*o));

    o->origin = from;
    o->name = name_get(s, json_string_value(json_object_get(service, "address")));
    o->service = folded(service);
    o->order = order;
    o->is_fresh = true;
    list_append(&from->offers, &o->on_origin);
    insert_by_order(o->name, o);
    from->count++;
    s->offers++;
    mark(s, o->name);
}

static struct offer *find_offer(const struct name *n, const struct origin *from)
{
    if (!n)
        return NULL;
    list_for_each (node, &n->offers) {
        struct offer *o = list_entry(node, struct offer, on_name);

        if (o->origin == from)
            return o;
    }
    return NULL;
}

static struct origin *origin_new(struct site_sync *s, struct str id, int64_t since_s)
{
    struct origin *o = xcalloc(1, sizeof(*o));

    o->id = str_dup(id);
    o->version = xstrdup("");
    o->since_s = since_s;
    list_init(&o->offers);
    map_put(&s->origins, id, o);
    return o;
}

static void origin_free(struct site_sync *s, struct origin *o)
{
    struct list *node;

    while ((node = list_pop(&o->offers)) != NULL)
        offer_free(s, list_entry(node, struct offer, on_origin));
    s->kept -= o->kept;
    map_remove(&s->origins, str_of(o->id));
    free(o->id);
    free(o->version);
    free(o);
}

static void forget_origins(struct site_sync *s)
{
    size_t at = 0;
    struct str key;
    void *value;

    while (map_next(&s->origins, &at, &key, &value))
        origin_free(s, value);
}

static void forget_shown(struct site_sync *s)
{
    json_decref(s->shown);
    free(s->shown_name);
    free(s->shown_origin);
    free(s->farewell);
    s->shown = NULL;
    s->shown_name = s->shown_origin = s->farewell = NULL;
}

void site_sync_free(struct site_sync *s)
{
    size_t at = 0;
    struct str key;
    void *value;

    if (!s)
        return;
    forget_origins(s);
    while (map_next(&s->names, &at, &key, &value))
        name_free(s, value);
    map_fini(&s->origins);
    map_fini(&s->names);
    forget_shown(s);
    free(s->site_id);
    free(s->version);
    free(s->body);
    free(s);
}

// ------------------------------------------------------------------------------------- announcing

// The names that this site offers itself.
static void set_own(struct site_sync *s, const json_t *services)
{
    size_t at = 0;
    struct str key;
    void *value;
    json_t *own = json_object();

    for (size_t i = 0; i < json_array_size(services); i++) {
        const char *address = site_text(json_array_get(services, i), "address");

        if (address[0])
            json_object_set_new(own, address, json_true());
    }
    while (map_next(&s->names, &at, &key, &value)) {
        struct name *n = value;
        bool is_own = json_object_get(own, n->text) != NULL;

        if (n->is_own != is_own)
            mark(s, n);
        n->is_own = is_own;
    }
    for (void *it = json_object_iter(own); it; it = json_object_iter_next(own, it))
        name_get(s, json_object_iter_key(it))->is_own = true;
    json_decref(own);
}

static void switch_off(struct site_sync *s)
{
    bool had_services = s->body && strcmp(s->body, "[]") != 0;

    free(s->body);
    s->body = had_services ? xstrdup("[]") : NULL;
    s->is_due = had_services; // one farewell
    s->is_on = false;
    s->resend_at = MONO_NEVER;
    set_own(s, NULL);
    forget_origins(s);
}

static void say(struct site_sync *s, struct mono now)
{
    s->is_due = true;
    s->resend_at = mono_add_ms(now, s->resend_ms);
    s->gap_at = mono_add_ms(now, SITE_SYNC_GAP_MS);
}

int site_sync_announce(struct site_sync *s, const json_t *services, struct mono now,
                       struct why *why)
{
    char *body;

    if (!services || json_is_null(services)) {
        switch_off(s);
        return 0;
    }
    body = body_write(services);
    if (strlen(body) > SITE_SYNC_BODY_MAX) {
        why_set(why,
                "%zu services take %zu octets, more than the %d that one message may have; "
                "expose fewer, or with fewer labels and annotations",
                json_array_size(services), strlen(body), SITE_SYNC_BODY_MAX);
        free(body);
        return ERR_LIMIT;
    }
    set_own(s, services);
    if (s->is_on && strcmp(body, s->body) == 0) {
        free(body);
        return 0;
    }
    free(s->body);
    s->body = body;
    s->is_on = true;
    say(s, now);
    return 0;
}

void site_sync_repeat(struct site_sync *s, struct mono now)
{
    if (!s->is_on)
        return;
    if (mono_before(now, s->gap_at))
        s->resend_at = mono_min(s->resend_at, s->gap_at);
    else
        say(s, now);
}

bool site_sync_next_message(struct site_sync *s, struct site_sync_message *out)
{
    forget_shown(s);
    if (!s->is_due)
        return false;
    s->is_due = false;
    if (!s->is_on) {
        s->farewell = s->body;
        s->body = NULL;
    }
    *out = (struct site_sync_message){
        .subject = STR(SITE_SYNC_SUBJECT),
        .origin = str_of(s->site_id),
        .version = str_of(s->version),
        .body = str_of(s->is_on ? s->body : s->farewell),
    };
    return true;
}

// ---------------------------------------------------------------------------------------- hearing

// As far as a site would act on.
static bool is_as_good(const json_t *text, const json_t *other_text, const json_t *other)
{
    json_t *service;
    bool is;

    if (json_equal(text, other_text))
        return true;
    service = unfolded(text);
    is = body_equivalent(service, other);
    json_decref(service);
    return is;
}

// Puts one service of a message in its place.
static void take_service(struct site_sync *s, struct origin *from, const json_t *service)
{
    const char *address = json_string_value(json_object_get(service, "address"));
    struct offer *o = find_offer(map_get(&s->names, str_of(address)), from);
    json_t *text;

    if (!o) {
        if (from->count < SITE_SYNC_SERVICES_MAX && s->offers < SITE_SYNC_ALL_MAX)
            offer_new(s, from, service, s->next_order++);
        return;
    }
    text = folded(service);
    // One that is named twice overwrites itself.
    if (!o->is_fresh && is_as_good(o->service, text, service)) {
        o->is_fresh = true;
        json_decref(text);
        return;
    }
    o->is_fresh = true;
    json_decref(o->service);
    o->service = text;
    mark(s, o->name);
}

// Makes an origin's offers what the list says.
static void take_list(struct site_sync *s, struct origin *from, const json_t *services)
{
    list_for_each (node, &from->offers)
        list_entry(node, struct offer, on_origin)->is_fresh = false;
    for (size_t i = 0; i < json_array_size(services); i++)
        take_service(s, from, json_array_get(services, i));
    list_for_each (gone, &from->offers) {
        struct offer *o = list_entry(gone, struct offer, on_origin);

        if (!o->is_fresh)
            offer_free(s, o);
    }
}

// Text that JSON can hold, and no file name or log line is surprised by.
static bool is_text(struct str s)
{
    json_t *j = json_stringn(s.ptr ? s.ptr : "", s.len);
    bool is_it = j && strlen(json_string_value(j)) == s.len;

    json_decref(j);
    return is_it;
}

static void set_version(struct origin *o, struct str version)
{
    if (str_is(version, o->version))
        return;
    free(o->version);
    o->version = version.len <= VERSION_MAX && is_text(version) ? str_dup(version) : xstrdup("");
}

static int check_message(const struct site_sync *s, const struct site_sync_message *m,
                         struct why *why)
{
    if (!str_is(m->subject, SITE_SYNC_SUBJECT)) {
        why_set(why, "its subject is '%.*s', not %s",
                (int)(m->subject.len > 40 ? 40 : m->subject.len),
                m->subject.ptr ? m->subject.ptr : "", SITE_SYNC_SUBJECT);
        return ERR_INVALID;
    }
    if (m->origin.len == 0 || m->origin.len > SITE_NAME_MAX || !is_text(m->origin)) {
        why_set(why, "it does not say which site it is from");
        return ERR_INVALID;
    }
    if (m->body.len > SITE_SYNC_BODY_MAX) {
        why_set(why, "%zu octets are more than the %d that are read", m->body.len,
                SITE_SYNC_BODY_MAX);
        return ERR_LIMIT;
    }
    if (!map_get(&s->origins, m->origin) && s->origins.count >= SITE_SYNC_ORIGINS_MAX) {
        why_set(why, "there are %d sites already", SITE_SYNC_ORIGINS_MAX);
        return ERR_LIMIT;
    }
    return 0;
}

static int take_body(struct site_sync *s, struct origin *from, struct str body, struct why *why)
{
    json_t *services = NULL;
    int err;

    if (s->kept - from->kept + body.len > SITE_SYNC_KEPT_MAX) {
        why_set(why, "the lists of all sites together are larger than the %d octets that are kept",
                SITE_SYNC_KEPT_MAX);
        return ERR_LIMIT;
    }
    err = body_read(body, &services, why);
    if (err < 0)
        return err;
    s->kept += body.len - from->kept;
    from->kept = body.len;
    take_list(s, from, services);
    json_decref(services);
    return 0;
}

int site_sync_heard(struct site_sync *s, const struct site_sync_message *m, int64_t epoch_s,
                    struct mono now, struct why *why)
{
    struct origin *from;
    int err;

    if (!s->is_on || str_is(m->origin, s->site_id))
        return 0;
    err = check_message(s, m, why);
    if (err < 0)
        goto dropped;
    from = map_get(&s->origins, m->origin);
    if (!from) {
        from = origin_new(s, m->origin, epoch_s);
        site_sync_repeat(s, now); // whom we have not heard may not have heard us
    }
    from->heard = now;
    set_version(from, m->version);
    err = take_body(s, from, m->body, why);
    if (err == 0)
        return 0;
dropped:
    why_prefix(why, "a message about services of site '%.*s' was dropped",
               (int)(m->origin.len > 100 ? 100 : m->origin.len),
               m->origin.ptr ? m->origin.ptr : "");
    return err;
}

// ------------------------------------------------------------------------------------------- time

struct mono site_sync_deadline(const struct site_sync *s)
{
    return mono_min(s->resend_at, s->check_at);
}

static void check_ages(struct site_sync *s, struct mono now)
{
    size_t at = 0;
    struct str key;
    void *value;

    while (map_next(&s->origins, &at, &key, &value)) {
        struct origin *o = value;

        if (!mono_before(now, mono_add_ms(o->heard, s->ttl_ms)))
            origin_free(s, o);
    }
}

void site_sync_tick(struct site_sync *s, struct mono now)
{
    if (!mono_before(now, s->resend_at))
        say(s, now);
    if (!mono_before(now, s->check_at)) {
        check_ages(s, now);
        s->check_at = mono_add_ms(now, s->check_ms);
    }
}

// ---------------------------------------------------------------------------------------- changes

// What counts now against what was told last; false when they are the same.
static bool tell(struct site_sync *s, struct name *n, struct site_sync_change *out)
{
    struct offer *o = name_winner(n);
    bool same_origin = o && n->told && strcmp(o->origin->id, n->told_origin) == 0;

    if ((!o && !n->told) || (same_origin && json_equal(o->service, n->told)))
        return false;
    s->shown_name = xstrdup(n->text);
    s->shown_origin = o ? xstrdup(o->origin->id) : n->told_origin;
    s->shown = o ? unfolded(o->service) : NULL;
    *out = (struct site_sync_change){
        .type = !o        ? SITE_SYNC_REMOVED
                : n->told ? SITE_SYNC_CHANGED
                          : SITE_SYNC_ADDED,
        .name = s->shown_name,
        .origin = s->shown_origin,
        .service = s->shown,
    };
    if (o)
        free(n->told_origin);
    n->told_origin = o ? xstrdup(o->origin->id) : NULL;
    json_decref(n->told);
    n->told = o ? json_incref(o->service) : NULL;
    return true;
}

bool site_sync_next_change(struct site_sync *s, struct site_sync_change *out)
{
    struct list *node;
    bool any = false;

    forget_shown(s);
    while (!any && (node = list_pop(&s->changed)) != NULL) {
        struct name *n = list_entry(node, struct name, on_changed);

        any = tell(s, n, out);
        name_forget_if_idle(s, n);
    }
    return any;
}

// --------------------------------------------------------------------------------- as JSON, saved

static int by_id(const void *left, const void *right)
{
    const struct origin *a = *(struct origin *const *)left, *b = *(struct origin *const *)right;

    return strcmp(a->id, b->id);
}

// Sorted; the caller frees the list.
static struct origin **all_origins(const struct site_sync *s)
{
    struct origin **list = xcalloc(s->origins.count + 1, sizeof(struct origin *));
    size_t at = 0, count = 0;
    struct str key;
    void *value;

    while (map_next(&s->origins, &at, &key, &value))
        list[count++] = value;
    qsort(list, count, sizeof(struct origin *), by_id);
    return list;
}

static json_t *origin_json(const struct origin *o)
{
    json_t *services = json_array();

    list_for_each (node, &o->offers)
        json_array_append_new(services,
                              unfolded(list_entry(node, struct offer, on_origin)->service));
    return json_pack("{s:s, s:s, s:I, s:o}", "origin", o->id, "version", o->version, "since",
                     (json_int_t)o->since_s, "services", services);
}

json_t *site_sync_shared(const struct site_sync *s)
{
    struct origin **list = all_origins(s);
    json_t *out = json_array();

    for (size_t i = 0; list[i]; i++)
        json_array_append_new(out, origin_json(list[i]));
    free(list);
    return out;
}

json_t *site_sync_save(const struct site_sync *s, int64_t epoch_s, struct mono now)
{
    struct origin **list = all_origins(s);
    json_t *origins = json_array();

    for (size_t i = 0; list[i]; i++) {
        json_t *o = origin_json(list[i]), *orders = json_array();

        list_for_each (node, &list[i]->offers)
            json_array_append_new(
                orders, json_integer((json_int_t)list_entry(node, struct offer, on_origin)->order));
        json_object_set_new(o, "orders", orders);
        json_object_set_new(o, "silentMs", json_integer(mono_ms_between(list[i]->heard, now)));
        json_array_append_new(origins, o);
    }
    free(list);
    return json_pack("{s:I, s:o}", "saved", (json_int_t)epoch_s, "origins", origins);
}

// How long ago it was heard: as saved and since, but so that it has time to be heard again.
static int64_t silence_of(const struct site_sync *s, const json_t *saved, int64_t away_ms)
{
    int64_t silent = json_integer_value(json_object_get(saved, "silentMs"));
    int64_t most = (int64_t)s->ttl_ms - SITE_SYNC_RETURN_MS;

    if (silent < 0 || most < 0)
        return 0;
    return silent > most || away_ms > most || silent + away_ms > most ? most : silent + away_ms;
}

static void load_origin(struct site_sync *s, const json_t *saved, int64_t away_ms, struct mono now)
{
    const json_t *services = json_object_get(saved, "services");
    const json_t *orders = json_object_get(saved, "orders");
    char *text = json_is_array(services) ? json_text(services, JSON_COMPACT) : NULL;
    json_t *known = NULL;
    struct origin *o = NULL;

    if (text && strlen(text) <= SITE_SYNC_KEPT_MAX - s->kept &&
        body_read(str_of(text), &known, NULL) == 0)
        o = origin_new(s, str_of(site_text(saved, "origin")),
                       json_integer_value(json_object_get(saved, "since")));
    if (o) {
        set_version(o, str_of(site_text(saved, "version")));
        o->heard.ns = now.ns - silence_of(s, saved, away_ms) * NS_PER_MS;
        o->kept = strlen(text);
        s->kept += o->kept;
    }
    for (size_t i = 0; o && i < json_array_size(known); i++) {
        uint64_t order = (uint64_t)json_integer_value(json_array_get(orders, i));
        json_t *service = json_array_get(known, i);

        if (o->count >= SITE_SYNC_SERVICES_MAX || s->offers >= SITE_SYNC_ALL_MAX ||
            find_offer(map_get(&s->names, str_of(site_text(service, "address"))), o))
            continue;
        offer_new(s, o, service, order);
        if (order >= s->next_order)
            s->next_order = order + 1;
    }
    json_decref(known);
    free(text);
}

int site_sync_load(struct site_sync *s, const json_t *saved, int64_t epoch_s, struct mono now,
                   struct why *why)
{
    const json_t *origins = json_object_get(saved, "origins");
    int64_t away = epoch_s - json_integer_value(json_object_get(saved, "saved"));

    if (!json_is_array(origins)) {
        why_set(why, "it holds no list of sites and what they share");
        return ERR_INVALID;
    }
    if (away < 0 || away > INT32_MAX) // the clock was set back, or what was saved is nonsense
        away = away < 0 ? 0 : INT32_MAX;
    for (size_t i = 0; i < json_array_size(origins); i++) {
        const json_t *o = json_array_get(origins, i);
        struct str id = str_of(site_text(o, "origin"));

        if (id.len > 0 && id.len <= SITE_NAME_MAX && !str_is(id, s->site_id) &&
            !map_get(&s->origins, id) && s->origins.count < SITE_SYNC_ORIGINS_MAX)
            load_origin(s, o, away * 1000, now);
    }
    return 0;
}
