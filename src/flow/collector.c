// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "flow/inside.h"
#include "flow/kept.h"

// A collector: who is there, what they say, and when the status is worth telling.
//
//   collector.c  sources: found by their beacons, asked for everything, forgotten when silent
//   kept.c       the records of one source, small and sorted
//   shape.c      values of records, one copy of each set
//   status.c     the network's status, made of all that
//
// A source says what has changed, once. What was missed, before we listened or while the network
// was cut, is asked for: with the first message on a source's own address, which shows that its
// messages reach us, or after a second without one; and again when it was silent for longer than
// the time between two beacons. Ten seconds after it was asked, what it did not repeat is gone, if
// it repeated anything. A router whose start time changed has lost all it had.

enum {
    ASK_MS = 1000,   // after the first beacon, when nothing else is heard
    AGAIN_MS = 5000, // when there was no answer; doubled each time
    AGAIN_MAX_MS = 60000,
    GAP_MS = 15000, // silence after which something may have been missed
    SWEEP_MS = 10000,
    CHANGES_MAX = 64, // values of one record
    ADDRESS_MAX = 320,
};

static const char EVERYBODY[] = "mc/sfe.all";

struct want {
    struct list on_collector;
    enum flow_want_type type;
    char *address;
};

static void want(struct flow_collector *c, enum flow_want_type type, const char *address,
                 const char *suffix)
{
    struct want *w = xcalloc(1, sizeof(*w));

    w->type = type;
    w->address = str_fmt("%s%s", address, suffix);
    list_append(&c->wants, &w->on_collector);
}

static void want_free(struct want *w)
{
    if (!w)
        return;
    list_remove(&w->on_collector);
    free(w->address);
    free(w);
}

// Something that the status shows.
static void changed(struct flow_collector *c)
{
    if (!c->is_changed)
        c->changed_at = c->now;
    c->is_changed = true;
    c->last_changed_at = c->now;
}

bool flow_collector_next(struct flow_collector *c, struct flow_want *out)
{
    struct list *node;

    want_free(c->shown);
    c->shown = NULL;
    node = list_pop(&c->wants);
    if (!node)
        return false;
    c->shown = list_entry(node, struct want, on_collector);
    *out = (struct flow_want){.type = c->shown->type, .address = c->shown->address};
    return true;
}

struct flow_collector *flow_collector_new(struct mono now)
{
    struct flow_collector *c = xcalloc(1, sizeof(*c));

    c->now = c->tell_at = now;
    heap_init(&c->timers);
    list_init(&c->sources);
    list_init(&c->wants);
    want(c, FLOW_RECEIVE, EVERYBODY, "");
    return c;
}

// ---------------------------------------------------------------------------------------- sources

static void schedule(struct source *s)
{
    struct mono at = mono_add_ms(s->heard_at, FLOW_SILENT_MS);

    heap_set(&s->collector->timers, &s->timer, mono_min(at, mono_min(s->ask_at, s->sweep_at)));
}

static void want_messages(struct source *s, enum flow_want_type type)
{
    want(s->collector, type, s->address, "");
    if (s->is_controller)
        want(s->collector, type, s->address, ".heartbeats");
}

static void ask(struct source *s)
{
    struct flow_collector *c = s->collector;

    want(c, FLOW_ASK, s->direct, "");
    for (size_t i = 0; i < s->count; i++)
        s->records[i].is_fresh = false;
    s->has_answered = false;
    s->ask_at = mono_add_ms(c->now, s->patience_ms);
    s->patience_ms = s->patience_ms * 2 > AGAIN_MAX_MS ? AGAIN_MAX_MS : s->patience_ms * 2;
    s->sweep_at = mono_add_ms(c->now, SWEEP_MS);
    schedule(s);
}

static void source_free(struct source *s)
{
    struct flow_collector *c = s->collector;

    if (s->count > 0)
        changed(c);
    kept_clear(s);
    heap_cancel(&c->timers, &s->timer);
    list_remove(&s->on_collector);
    map_remove(&c->by_id, str_of(s->id));
    map_remove(&c->by_address, str_of(s->address));
    c->source_count--;
    free(s->id);
    free(s->address);
    free(s->direct);
    free(s);
}

static void forget_wants(struct flow_collector *c)
{
    struct list *node;

    while ((node = list_pop(&c->wants)) != NULL)
        want_free(list_entry(node, struct want, on_collector));
}

void flow_collector_free(struct flow_collector *c)
{
    struct list *node;

    if (!c)
        return;
    while ((node = list_pop(&c->sources)) != NULL)
        source_free(list_entry(node, struct source, on_collector));
    forget_wants(c);
    want_free(c->shown);
    map_fini(&c->by_id);
    map_fini(&c->by_address);
    shapes_fini(c);
    heap_fini(&c->timers);
    free(c);
}

void flow_collector_restart(struct flow_collector *c, struct mono now)
{
    c->now = now;
    forget_wants(c);
    want(c, FLOW_RECEIVE, EVERYBODY, "");
    list_for_each (node, &c->sources) {
        struct source *s = list_entry(node, struct source, on_collector);

        want_messages(s, FLOW_RECEIVE);
        s->heard_at = now; // it was us who did not listen
        s->has_spoken = false;
        s->patience_ms = AGAIN_MS;
        s->ask_at = mono_add_ms(now, ASK_MS);
        schedule(s);
    }
}

static bool is_address(struct str text, const char *prefix)
{
    return text.len > strlen(prefix) && text.len <= ADDRESS_MAX &&
           str_starts(text, str_of(prefix)) && !memchr(text.ptr, '\0', text.len);
}

static void source_new(struct flow_collector *c, const struct flow_news *n)
{
    struct source *s;
    const char *colon;

    if (c->source_count >= FLOW_SOURCES_MAX || n->id.len == 0 || n->id.len > FLOW_TEXT_MAX ||
        memchr(n->id.ptr, '\0', n->id.len) || !is_address(n->address, "mc/sfe.") ||
        !is_address(n->direct, "sfe.") || map_get(&c->by_address, n->address)) {
        c->unread++;
        return;
    }
    s = xcalloc(1, sizeof(*s));
    s->collector = c;
    s->id = str_dup(n->id);
    s->address = str_dup(n->address);
    s->direct = str_dup(n->direct);
    s->is_controller = str_is(n->source_type, "CONTROLLER");
    colon = strchr(s->id, ':');
    s->prefix_len = colon ? (size_t)(colon - s->id) + 1 : 0;
    s->heard_at = c->now;
    s->patience_ms = AGAIN_MS;
    s->ask_at = mono_add_ms(c->now, ASK_MS);
    s->sweep_at = MONO_NEVER;
    list_append(&c->sources, &s->on_collector);
    map_put(&c->by_id, n->id, s);
    map_put(&c->by_address, n->address, s);
    c->source_count++;
    want_messages(s, FLOW_RECEIVE);
    schedule(s);
}

// It lives. `is_own`: the message came on its own address.
static void heard(struct source *s, bool is_own)
{
    struct flow_collector *c = s->collector;
    bool was_cut = mono_before(mono_add_ms(s->heard_at, GAP_MS), c->now);

    s->heard_at = c->now;
    if (was_cut)
        s->patience_ms = AGAIN_MS;
    if (was_cut || (is_own && !s->has_spoken))
        ask(s);
    s->has_spoken |= is_own;
}

// --------------------------------------------------------------------------------------- records

// What a message says of one record.
struct change {
    struct str id;
    uint32_t type;
    struct str parent;
    bool has_ended;
    struct flow_value values[CHANGES_MAX];
    size_t count;
};

// A text ends at its first octet 0, which no honest one has.
static struct str ended(struct str text)
{
    return (struct str){text.ptr, text.len > 0 ? strnlen(text.ptr, text.len) : 0};
}

static bool read_change(struct flow_read *rec, struct change *out)
{
    struct flow_value v;
    int got;

    *out = (struct change){.id = ended(rec->id), .type = rec->type};
    while ((got = flow_read_value(rec, &v)) > 0) {
        if (v.is_text)
            v.text = ended(v.text);
        if (v.attr == FLOW_PARENT)
            out->parent = v.text;
        else if (v.attr == FLOW_END_TIME)
            out->has_ended = v.number > 0;
        else if (shape_needs(out->type, v.attr) && out->count < CHANGES_MAX)
            out->values[out->count++] = v;
    }
    return got == 0 && out->id.len > 0;
}

// A router that began anew under its old name: nothing of before is there any more.
static bool is_restart(const struct kept *k, const struct change *change)
{
    uint64_t before = shape_number(kept_shape(k), FLOW_START_TIME);

    if (change->type != FLOW_ROUTER || before == 0)
        return false;
    for (size_t i = 0; i < change->count; i++)
        if (change->values[i].attr == FLOW_START_TIME && change->values[i].number != before)
            return true;
    return false;
}

// Takes the host out of the values of a listener, if there is room for it elsewhere.
static void take_host(struct source *s, struct kept *k, struct change *change)
{
    size_t count = 0;

    if (change->type != FLOW_LISTENER)
        return;
    for (size_t i = 0; i < change->count; i++) {
        const struct flow_value *v = &change->values[i];
        uint8_t before = k->host;

        if (v->attr != FLOW_DESTINATION_HOST || !v->is_text || !kept_set_host(s, k, v->text))
            change->values[count++] = *v;
        if (k->host != before)
            changed(s->collector);
    }
    change->count = count;
}

static void take_change(struct source *s, struct change *change)
{
    struct flow_collector *c = s->collector;
    struct kept *k = kept_find(s, change->id);
    struct shape *before;

    if (k && (kept_shape(k)->type != change->type || change->has_ended)) {
        kept_remove(s, k);
        changed(c);
        k = NULL;
    }
    if (change->has_ended)
        return;
    if (k && is_restart(k, change)) {
        kept_clear(s);
        changed(c);
        s->patience_ms = AGAIN_MS;
        ask(s);
        k = NULL;
    }
    if (!k) {
        k = kept_add(s, change->type, change->id);
        if (k)
            changed(c);
    }
    if (!k)
        return;
    before = kept_shape(k);
    k->is_fresh = true;
    if (change->parent.len > 0 && !str_eq(kept_parent(s, k), change->parent)) {
        changed(c);
        if (!kept_set_parent(s, k, change->parent))
            c->dropped++;
    }
    take_host(s, k, change);
    if (change->count > 0)
        kept_set_shape(k, shape_with(c, before, change->values, change->count));
    if (kept_shape(k) != before)
        changed(c);
}

static void take_records(struct source *s, struct flow_news *n)
{
    struct flow_read rec;
    struct change change;
    int got;

    s->has_answered = true;
    while ((got = flow_read_record(n, &rec)) > 0) {
        if (!shape_needs(rec.type, FLOW_RECORD_TYPE))
            continue;
        if (read_change(&rec, &change))
            take_change(s, &change);
        else
            s->collector->unread++;
    }
    if (got < 0)
        s->collector->unread++;
}

void flow_collector_hear(struct flow_collector *c, const char *address, struct str message,
                         struct mono now)
{
    struct flow_news n;
    struct source *s = NULL;

    c->now = now;
    if (flow_read(message, &n) < 0) {
        c->unread++;
        return;
    }
    switch (n.subject) {
    case FLOW_IS_BEACON:
    case FLOW_IS_HEARTBEAT:
        s = map_get(&c->by_id, n.id);
        if (s)
            heard(s, n.subject == FLOW_IS_HEARTBEAT);
        else if (n.subject == FLOW_IS_BEACON)
            source_new(c, &n);
        break;
    case FLOW_IS_RECORD:
        s = map_get(&c->by_address, str_of(address));
        if (!s)
            break;
        heard(s, true);
        take_records(s, &n);
        break;
    case FLOW_IS_FLUSH:
        break;
    }
}

// ------------------------------------------------------------------------------------------- time

// What was not repeated when it was asked for everything is gone.
static void sweep(struct source *s)
{
    bool has_fresh = false;

    s->sweep_at = MONO_NEVER;
    for (size_t i = 0; i < s->count; i++)
        has_fresh |= s->records[i].is_fresh;
    for (size_t i = s->count; has_fresh && i > 0; i--) {
        if (s->records[i - 1].is_fresh)
            continue;
        kept_remove(s, &s->records[i - 1]);
        changed(s->collector);
    }
    kept_fit(s);
}

static void source_due(struct source *s)
{
    struct flow_collector *c = s->collector;

    if (!mono_before(c->now, mono_add_ms(s->heard_at, FLOW_SILENT_MS))) {
        want_messages(s, FLOW_STOP);
        source_free(s);
        return;
    }
    if (!mono_before(c->now, s->sweep_at))
        sweep(s);
    if (!mono_before(c->now, s->ask_at)) {
        if (s->has_answered)
            s->ask_at = MONO_NEVER;
        else
            ask(s);
    }
    schedule(s);
}

// When a change is told: some time after the last telling, and, as long as more changes come, when
// it is quiet, but no later than its patience allows. All of that grows with what there is to tell.
static struct mono news_at(const struct flow_collector *c)
{
    int64_t records = (int64_t)c->record_count;
    struct mono quiet = mono_add_ms(c->last_changed_at, records / FLOW_QUIET_RECORDS);
    struct mono latest = mono_add_ms(c->changed_at, FLOW_TELL_MS + records / FLOW_PATIENCE_RECORDS);
    struct mono at = mono_min(quiet, latest);

    return mono_before(at, c->tell_at) ? c->tell_at : at;
}

void flow_collector_tick(struct flow_collector *c, struct mono now)
{
    struct timer *t;

    c->now = now;
    while ((t = heap_pop_due(&c->timers, now)) != NULL)
        source_due((struct source *)(void *)t);
    if (c->is_changed && !mono_before(now, news_at(c))) {
        c->is_changed = false;
        c->has_news = true;
    }
}

struct mono flow_collector_deadline(const struct flow_collector *c)
{
    struct mono at = heap_deadline(&c->timers);

    return c->is_changed ? mono_min(at, news_at(c)) : at;
}

bool flow_collector_has_news(const struct flow_collector *c)
{
    return c->has_news;
}

void flow_collector_stats(const struct flow_collector *c, struct flow_collector_stats *out)
{
    *out = (struct flow_collector_stats){.sources = c->source_count,
                                         .records = c->record_count,
                                         .octets = c->octets,
                                         .dropped = c->dropped,
                                         .unread = c->unread};
}
