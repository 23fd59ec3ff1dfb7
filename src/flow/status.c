// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>

#include "base/mem.h"
#include "flow/inside.h"
#include "flow/kept.h"
#include "flow/tell.h"

// The status of the network, told anew from all records: sites by id, their routers by id, what
// belongs to each by id, addresses by name.

struct entry {
    struct str parent; // of a router: its site
    const struct source *source;
    const struct kept *record;
    char *id;
};

struct entries {
    struct entry *list;
    size_t count, size;
};

struct status {
    const struct flow_collector *c;
    const char *made; // what is asked for is told, without listeners called so; NULL: everything
    struct entries sites, routers, processes;
    struct map by_id;   // processes
    struct map by_host; // processes by site and host
    struct teller *t;
};

// ----------------------------------------------------------------------------------------
// gathering

static void add(struct entries *all, const struct source *s, const struct kept *k)
{
    if (all->count == all->size) {
        all->size = all->size * 2 + 16;
        all->list = xrealloc(all->list, all->size, sizeof(*all->list));
    }
    all->list[all->count++] =
        (struct entry){.parent = kept_parent(s, k), .source = s, .record = k, .id = kept_id(s, k)};
}

static void sort(struct entries *all, int (*order)(const void *, const void *))
{
    if (all->count > 1)
        qsort(all->list, all->count, sizeof(*all->list), order);
}

static void entries_fini(struct entries *all)
{
    for (size_t i = 0; i < all->count; i++)
        free(all->list[i].id);
    free(all->list);
}

static void gather(struct status *st)
{
    list_for_each (node, &st->c->sources) {
        const struct source *s = list_entry(node, struct source, on_collector);

        for (size_t i = 0; i < s->count; i++) {
            const struct kept *k = &s->records[i];

            if (kept_shape(k)->type == FLOW_SITE)
                add(&st->sites, s, k);
            else if (kept_shape(k)->type == FLOW_ROUTER)
                add(&st->routers, s, k);
            else if (kept_shape(k)->type == FLOW_PROCESS)
                add(&st->processes, s, k);
        }
    }
}

// Of several sources that tell of one site a controller counts; it knows the site's name.
static int by_site(const void *left, const void *right)
{
    const struct entry *a = left, *b = right;
    int order = strcmp(a->id, b->id);

    if (order == 0)
        order = b->source->is_controller - a->source->is_controller;
    return order ? order : strcmp(a->source->id, b->source->id);
}

static uint64_t start_of(const struct entry *e)
{
    return shape_number(kept_shape(e->record), FLOW_START_TIME);
}

// By name, the youngest of a name first.
static int by_name(const void *left, const void *right)
{
    const struct entry *a = left, *b = right;
    int order = str_cmp(a->parent, b->parent);

    if (order == 0)
        order = str_cmp(shape_text(kept_shape(a->record), FLOW_NAME),
                        shape_text(kept_shape(b->record), FLOW_NAME));
    if (order == 0 && start_of(a) != start_of(b))
        order = start_of(a) > start_of(b) ? -1 : 1;
    return order ? order : strcmp(a->id, b->id);
}

static int by_parent(const void *left, const void *right)
{
    const struct entry *a = left, *b = right;
    int order = str_cmp(a->parent, b->parent);

    return order ? order : strcmp(a->id, b->id);
}

// A router that has restarted is there twice until its former self is forgotten.
static void drop_former_selves(struct entries *routers)
{
    size_t kept = 0;

    sort(routers, by_name);
    for (size_t i = 0; i < routers->count; i++) {
        struct entry *e = &routers->list[i], *last = kept > 0 ? &routers->list[kept - 1] : NULL;

        if (last && str_eq(last->parent, e->parent) &&
            shape_text(kept_shape(e->record), FLOW_NAME).len > 0 &&
            str_eq(shape_text(kept_shape(last->record), FLOW_NAME),
                   shape_text(kept_shape(e->record), FLOW_NAME)))
            free(e->id);
        else
            routers->list[kept++] = *e;
    }
    routers->count = kept;
    sort(routers, by_parent);
}

static char *host_key(struct str site, struct str host)
{
    return str_fmt("%.*s|%.*s", STR_ARG(site), STR_ARG(host));
}

static void index_processes(struct status *st)
{
    sort(&st->processes, by_parent);
    for (size_t i = 0; i < st->processes.count; i++) {
        struct entry *e = &st->processes.list[i];
        struct str host = shape_text(kept_shape(e->record), FLOW_SOURCE_HOST);
        char *key = host_key(e->parent, host);

        map_put(&st->by_id, str_of(e->id), e);
        if (host.len > 0 && !map_get(&st->by_host, str_of(key)))
            map_put(&st->by_host, str_of(key), e);
        free(key);
    }
}

// Of several that tell of one site the first counts.
static void drop_namesakes(struct entries *sites)
{
    size_t kept = 0;

    sort(sites, by_site);
    for (size_t i = 0; i < sites->count; i++) {
        if (kept > 0 && strcmp(sites->list[kept - 1].id, sites->list[i].id) == 0)
            free(sites->list[i].id);
        else
            sites->list[kept++] = sites->list[i];
    }
    sites->count = kept;
}

// Routers without a site that is known. Both are sorted by the site.
static void drop_homeless(const struct entries *sites, struct entries *routers)
{
    size_t kept = 0, at = 0;

    for (size_t i = 0; i < routers->count; i++) {
        struct entry *e = &routers->list[i];

        while (at < sites->count && str_cmp(str_of(sites->list[at].id), e->parent) < 0)
            at++;
        if (at < sites->count && str_is(e->parent, sites->list[at].id))
            routers->list[kept++] = *e;
        else
            free(e->id);
    }
    routers->count = kept;
}

// The records of a router: from *at on, until NULL.
static const struct kept *next_part(const struct entry *router, uint8_t parent, size_t *at)
{
    const struct source *s = router->source;

    while (parent > 0 && *at < s->count) {
        const struct kept *k = &s->records[(*at)++];

        if (k->parent == parent)
            return k;
    }
    return NULL;
}

// --------------------------------------------------------------------------------------- addresses

struct address {
    struct str name, protocol;
    uint64_t listeners, connectors;
};

static void count_uses(const struct entry *router)
{
    uint8_t parent = kept_parent_index(router->source, str_of(router->id));
    const struct kept *k;
    size_t at = 0;

    while ((k = next_part(router, parent, &at)) != NULL)
        kept_shape(k)->uses++;
}

static void count_shape(struct map *addresses, const struct shape *s)
{
    struct str name = shape_text(s, FLOW_VAN_ADDRESS), protocol = shape_text(s, FLOW_PROTOCOL);
    struct address *a = map_get(addresses, name);

    if (!a) {
        a = xcalloc(1, sizeof(*a));
        a->name = name;
        map_put(addresses, name, a);
    }
    if (protocol.len > 0 && (a->protocol.len == 0 || str_cmp(protocol, a->protocol) < 0))
        a->protocol = protocol;
    if (s->type == FLOW_LISTENER)
        a->listeners += s->uses;
    else
        a->connectors += s->uses;
}

static int by_address(const void *left, const void *right)
{
    const struct address *const *a = left, *const *b = right;

    return str_cmp((*a)->name, (*b)->name);
}

static void tell_address(const struct status *st, const struct address *a)
{
    struct teller *t = st->t;

    if (st->made && a->listeners == 0)
        return;
    tell_open(t, NULL, '{');
    tell_text(t, "name", a->name);
    if (st->made) {
        tell_number(t, "listenerCount", 1);
        tell_close(t);
        return;
    }
    tell_number(t, "startTime", 0);
    tell_number(t, "endTime", 0);
    tell_text(t, "protocol", a->protocol);
    tell_number(t, "listenerCount", a->listeners);
    tell_number(t, "connectorCount", a->connectors);
    tell_close(t);
}

// Those that have one value share its shape: it is enough to count the shapes.
static void tell_addresses(const struct status *st)
{
    struct map addresses = {0};
    struct address **list;
    size_t at = 0, count = 0;
    struct str key;
    void *value;

    for (size_t i = 0; i < st->routers.count; i++)
        count_uses(&st->routers.list[i]);
    for (struct shape *s = NULL; (s = shape_next(st->c, s)) != NULL;) {
        if (s->uses > 0 && (s->type == FLOW_LISTENER || s->type == FLOW_CONNECTOR) &&
            shape_text(s, FLOW_VAN_ADDRESS).len > 0)
            count_shape(&addresses, s);
        s->uses = 0;
    }
    list = xcalloc(addresses.count + 1, sizeof(struct address *));
    for (at = 0; map_next(&addresses, &at, &key, &value); count++)
        list[count] = value;
    qsort(list, count, sizeof(struct address *), by_address);
    tell_open(st->t, "addresses", '[');
    for (size_t i = 0; i < count; i++) {
        tell_address(st, list[i]);
        free(list[i]);
    }
    tell_close(st->t);
    free(list);
    map_fini(&addresses);
}

// ----------------------------------------------------------------------------------------- routers

// The process behind a connector, if that is known.
static const struct entry *process_of(const struct status *st, struct str site,
                                      const struct shape *s)
{
    struct str process = shape_text(s, FLOW_PROCESS_ID);
    const struct entry *e;
    char *key;

    if (process.len > 0 || st->processes.count == 0)
        return map_get(&st->by_id, process);
    key = host_key(site, shape_text(s, FLOW_DESTINATION_HOST));
    e = map_get(&st->by_host, str_of(key));
    free(key);
    return e;
}

static void tell_process(const struct status *st, struct str site, const struct shape *s)
{
    struct str process = shape_text(s, FLOW_PROCESS_ID);
    const struct entry *e = process_of(st, site, s);

    tell_text(st->t, "process", e && process.len == 0 ? str_of(e->id) : process);
    if (e)
        tell_text(st->t, "target", shape_text(kept_shape(e->record), FLOW_NAME));
}

static bool is_left_out(const struct status *st, const struct shape *s)
{
    struct str name = shape_text(s, FLOW_NAME), made = str_of(st->made);

    return st->made && s->type == FLOW_LISTENER && str_starts(name, made) &&
           str_eq(str_skip(name, made.len), shape_text(s, FLOW_VAN_ADDRESS));
}

// A listener or connector as a site asks for it.
static void tell_briefly(const struct status *st, const struct shape *s)
{
    if (s->type == FLOW_LISTENER)
        tell_text(st->t, "name", shape_text(s, FLOW_NAME));
    else
        tell_text(st->t, "destHost", shape_text(s, FLOW_DESTINATION_HOST));
    tell_text(st->t, "address", shape_text(s, FLOW_VAN_ADDRESS));
}

static int by_record(const void *left, const void *right)
{
    return kept_order(*(const struct kept *const *)left, *(const struct kept *const *)right);
}

static void tell_parts(const struct status *st, const struct entry *router,
                       const struct kept *const *parts, const char *list, enum flow_type type)
{
    tell_open(st->t, list, '[');
    for (; *parts; parts++) {
        const struct shape *s = kept_shape(*parts);

        if (s->type != type || is_left_out(st, s))
            continue;
        tell_open(st->t, NULL, '{');
        if (type == FLOW_ROUTER_ACCESS) {
            char *id = kept_id(router->source, *parts);

            tell_text(st->t, "identity", str_of(id));
            free(id);
        } else if (st->made && type != FLOW_LINK) {
            tell_briefly(st, s);
        } else {
            shape_tell(s, kept_host(router->source, *parts), st->t);
        }
        if (type == FLOW_CONNECTOR && !st->made)
            tell_process(st, router->parent, s);
        tell_close(st->t);
    }
    tell_close(st->t);
}

static void tell_router(const struct status *st, const struct entry *router)
{
    const struct source *s = router->source;
    const struct kept **parts = xcalloc(s->count + 1, sizeof(struct kept *)), *k;
    uint8_t parent = kept_parent_index(s, str_of(router->id));
    size_t count = 0, at = 0;

    while ((k = next_part(router, parent, &at)) != NULL)
        parts[count++] = k;
    qsort(parts, count, sizeof(struct kept *), by_record);
    tell_open(st->t, NULL, '{');
    if (!st->made) {
        tell_open(st->t, "router", '{');
        shape_tell(kept_shape(router->record), STR_NONE, st->t);
        tell_close(st->t);
    }
    tell_parts(st, router, parts, "links", FLOW_LINK);
    tell_parts(st, router, parts, "routerAccess", FLOW_ROUTER_ACCESS);
    tell_parts(st, router, parts, "listeners", FLOW_LISTENER);
    tell_parts(st, router, parts, "connectors", FLOW_CONNECTOR);
    tell_close(st->t);
    free(parts);
}

// A site and its routers, which are those from *at on.
static void tell_site(const struct status *st, const struct entry *site, size_t *at)
{
    size_t from = *at;

    tell_open(st->t, NULL, '{');
    tell_open(st->t, "site", '{');
    tell_text(st->t, "identity", str_of(site->id));
    shape_tell(kept_shape(site->record), STR_NONE, st->t);
    tell_close(st->t);
    while (*at < st->routers.count && str_is(st->routers.list[*at].parent, site->id))
        ++*at;
    if (*at == from) {
        tell_null(st->t, "routerStatus");
    } else {
        tell_open(st->t, "routerStatus", '[');
        for (size_t i = from; i < *at; i++)
            tell_router(st, &st->routers.list[i]);
        tell_close(st->t);
    }
    tell_close(st->t);
}

static void tell_all(const struct flow_collector *c, const char *made, struct teller *t)
{
    struct status st = {.c = c, .made = made, .t = t};
    size_t at = 0;

    gather(&st);
    drop_namesakes(&st.sites);
    drop_former_selves(&st.routers);
    drop_homeless(&st.sites, &st.routers);
    index_processes(&st);
    tell_open(t, NULL, '{');
    tell_addresses(&st);
    tell_open(t, "siteStatus", '[');
    for (size_t i = 0; i < st.sites.count; i++)
        tell_site(&st, &st.sites.list[i], &at);
    tell_close(t);
    tell_close(t);
    map_fini(&st.by_id);
    map_fini(&st.by_host);
    entries_fini(&st.sites);
    entries_fini(&st.routers);
    entries_fini(&st.processes);
}

void flow_collector_tell(struct flow_collector *c, struct mono now,
                         void (*put)(void *user, struct str piece), void *user)
{
    struct teller t = {.put = put, .user = user};

    c->now = now;
    tell_all(c, NULL, &t);
    tell_end(&t);
    c->is_changed = c->has_news = false;
    c->tell_at = mono_add_ms(now, FLOW_TELL_MS + (int64_t)(c->record_count / FLOW_TELL_RECORDS));
}

json_t *flow_collector_status(const struct flow_collector *c, const char *made)
{
    struct teller t = {.put = NULL};

    tell_all(c, made, &t);
    return tell_end(&t);
}

static void mix(void *user, struct str piece)
{
    uint64_t *digest = user;

    *digest = *digest * 31 + map_hash(piece);
}

uint64_t flow_collector_digest(const struct flow_collector *c, const char *made)
{
    uint64_t digest = 0;
    struct teller t = {.put = mix, .user = &digest};

    tell_all(c, made, &t);
    tell_end(&t);
    return digest;
}
