// SPDX-License-Identifier: Apache-2.0
// For tests: a router with entities that are nothing but memory, and a drive before it, on one
// loop.
#pragma once

#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "check.h"
#include "drive/drive.h"
#include "net/net.h"
#include "router/router.h"

enum { TABLES = 9, ITEMS = 64, PATIENCE_MS = 20000 };

struct item {
    struct mgmt_entity *entity;
    char *name, *identity;
    const char *status, *words; // of a connector
};

struct rig;

struct table { // the entities of one type
    struct rig *rig;
    struct mgmt_provider provider;
    struct item items[ITEMS];
    int count, queries;
};

struct rig {
    struct pool *pool;
    struct net_loop *loop;
    struct router *router;
    struct mgmt_agent *agent;
    struct table tables[TABLES];
    struct net_listener *listener;
    struct net_timer timer; // the router's
    struct link {
        struct net_stream *stream;
        struct router_conn *conn;
    } link;
    int creates, updates, removes; // that were asked for
    const char *refused;           // the name of what is not made
    bool is_mute;                  // answers wait
    struct buf silence;
    struct drive *drive;
    int opened, closed, reads, changes, looks; // hooks that were called
    size_t read_count;                         // entities that were read
};

// --------------------------------------------------------------------------------------- entities

static inline int attr_at(const struct mgmt_type *t, const char *name)
{
    for (int i = 0; t->attrs[i].name; i++)
        if (strcmp(t->attrs[i].name, name) == 0)
            return i;
    return -1;
}

static inline bool tell_item(const struct item *item, mgmt_emit *emit, void *to)
{
    static const char *const names[] = {"name", "identity", "connectionStatus", "connectionMsg"};
    const char *texts[] = {item->name, item->identity, item->status, item->words};
    const struct mgmt_type *t = item->entity->type;
    const struct amqp_val *values[MGMT_ATTRS_MAX] = {NULL};
    struct amqp_val *own[4] = {NULL};
    bool more;

    for (int i = 0; t->attrs[i].name; i++)
        values[i] = item->entity->values[i];
    for (int i = 0; i < 4; i++) {
        if (!texts[i] || attr_at(t, names[i]) < 0)
            continue;
        own[i] = amqp_val_string(str_of(texts[i]));
        values[attr_at(t, names[i])] = own[i];
    }
    more = emit(to, values);
    for (int i = 0; i < 4; i++)
        amqp_val_free(own[i]);
    return more;
}

static inline void each_item(void *user, mgmt_emit *emit, void *to)
{
    struct table *t = user;

    t->queries++;
    for (int i = 0; i < t->count && tell_item(&t->items[i], emit, to); i++)
        ;
}

static inline int create_item(void *user, const struct mgmt_entity *e, struct why *why)
{
    struct table *t = user;
    struct item *item = &t->items[t->count];
    char *identity = mgmt_entity_identity(e);
    const char *name = mgmt_entity_cstr(e, "name");

    CHECK(t->count < ITEMS);
    t->rig->creates++;
    if (t->rig->refused && name && strcmp(t->rig->refused, name) == 0) {
        free(identity);
        why_set(why, "the port is taken");
        return ERR_INVALID;
    }
    *item = (struct item){.entity = mgmt_entity_copy(e),
                          .name = xstrdup(name ? name : identity),
                          .status = "CONNECTING",
                          .identity = identity};
    t->count++;
    return 0;
}

static inline int find_item(const struct table *t, struct str identity)
{
    for (int i = 0; i < t->count; i++)
        if (str_is(identity, t->items[i].identity))
            return i;
    return -1;
}

static inline int update_item(void *user, struct str identity, const struct amqp_val *changes,
                              struct why *why)
{
    struct table *t = user;
    int at = find_item(t, identity), err = 0;

    t->rig->updates++;
    CHECK(at >= 0);
    for (uint32_t i = 0; !err && i < changes->count; i += 2) {
        char *name = str_dup(amqp_val_str(changes->items[i]));

        err = mgmt_entity_set(t->items[at].entity, name, changes->items[i + 1], MGMT_UPDATE, why);
        free(name);
    }
    return err;
}

static inline void forget_item(struct table *t, int at)
{
    mgmt_entity_free(t->items[at].entity);
    free(t->items[at].name);
    free(t->items[at].identity);
    t->items[at] = t->items[--t->count];
}

static inline int remove_item(void *user, struct str identity, struct why *why)
{
    struct table *t = user;
    int at = find_item(t, identity);

    (void)why;
    t->rig->removes++;
    CHECK(at >= 0);
    forget_item(t, at);
    return 0;
}

static inline struct table *table_of(struct rig *r, const char *type)
{
    for (int i = 0; i < TABLES; i++)
        if (strcmp(r->tables[i].provider.type->name, type) == 0)
            return &r->tables[i];
    fail_msg("no type %s", type);
    return NULL;
}

static inline struct item *item_of(struct rig *r, const char *type, const char *name)
{
    struct table *t = table_of(r, type);

    for (int i = 0; i < t->count; i++)
        if (strcmp(t->items[i].name, name) == 0)
            return &t->items[i];
    return NULL;
}

// ----------------------------------------------------------------------------- the router's engine

static inline void settle(struct rig *r)
{
    struct router_event ev;

    while (router_next_event(r->router, &ev))
        ;
    while (router_next_dirty(r->router))
        net_want_write(r->link.stream);
    net_timer_set(r->loop, &r->timer, router_deadline(r->router));
}

static inline void link_feed(void *e, const uint8_t *data, size_t len, struct mono now)
{
    router_conn_feed(((struct rig *)e)->link.conn, data, len, now);
}

static inline struct buf *link_output(void *e, struct mono now)
{
    if (((struct rig *)e)->is_mute)
        return &((struct rig *)e)->silence;
    return router_conn_output(((struct rig *)e)->link.conn, now);
}

static inline void link_sent(void *e, struct mono now)
{
    router_conn_sent(((struct rig *)e)->link.conn, now);
}

static inline struct mono link_deadline(const void *e)
{
    return router_conn_deadline(((const struct rig *)e)->link.conn);
}

static inline void link_tick(void *e, struct mono now)
{
    router_conn_tick(((struct rig *)e)->link.conn, now);
}

static inline bool link_is_paused(const void *e)
{
    (void)e;
    return false;
}

static inline bool link_is_finished(const void *e)
{
    return router_conn_is_finished(((const struct rig *)e)->link.conn);
}

static inline void link_lost(void *e, const char *why, struct mono now)
{
    struct rig *r = e;

    (void)why;
    router_conn_lost(r->link.conn, now);
    r->link = (struct link){NULL, NULL};
}

static inline void *accepted(void *user, struct net_stream *s, const struct net_engine_ops **ops,
                             struct mono now)
{
    static const struct net_engine_ops engine = {.feed = link_feed,
                                                 .output = link_output,
                                                 .sent = link_sent,
                                                 .deadline = link_deadline,
                                                 .tick = link_tick,
                                                 .is_paused = link_is_paused,
                                                 .is_finished = link_is_finished,
                                                 .lost = link_lost};
    struct rig *r = user;
    struct router_conn_opts opts = {.is_server = true,
                                    .name = "here",
                                    .host = "drive",
                                    .local = "here",
                                    .sasl_mechanisms = AMQP_SASL_ANONYMOUS};

    CHECK(!r->link.conn);
    r->link = (struct link){s, router_conn_new(r->router, &opts, now)};
    *ops = &engine;
    return r;
}

static inline void router_due(void *user, struct mono now)
{
    router_tick(((struct rig *)user)->router, now);
}

// ------------------------------------------------------------------------------------------ hooks

static inline void hook_changed(void *user)
{
    ((struct rig *)user)->changes++;
}

static inline void hook_opened(void *user, struct client *c)
{
    (void)c;
    ((struct rig *)user)->opened++;
}

static inline void hook_event(void *user, const struct client_event *ev)
{
    (void)user;
    (void)ev;
    fail_msg("%s", "nobody made a link");
}

static inline void hook_closed(void *user)
{
    ((struct rig *)user)->closed++;
}

static inline void hook_read(void *user, const json_t *applied)
{
    struct rig *r = user;

    if (r->reads++ == 0)
        CHECK_EQ(r->creates + r->updates + r->removes, 0); // in time for the first difference
    r->read_count = json_array_size(applied);
}

static inline void hook_looked(void *user)
{
    ((struct rig *)user)->looks++;
}

static inline void turn(void *user, struct mono now)
{
    struct rig *r = user;

    settle(r);
    drive_turn(r->drive, now);
}

// ------------------------------------------------------------------------------------- life, turns

static inline void listen_for_drive(struct rig *r, const char *port)
{
    struct net_listener_opts opts = {
        .host = "127.0.0.1", .port = port, .accept = {.ready = accepted, .user = r}};
    struct why why = {""};

    if (net_listener_new(r->loop, &opts, &r->listener, &why) < 0)
        fail_msg("%s", why.text);
}

static inline void rig_begin_with(struct rig *r, uint32_t answer_ms)
{
    static const char *const types[TABLES] = {
        "router",       "sslProfile",  "connector",       "listener", "router.config.address",
        "tcpConnector", "tcpListener", "listenerAddress", "log"};
    struct router_opts opts = {.id = "R", .instance = 1, .seed = 1, .version = "1"};
    struct drive_hooks hooks = {.user = r,
                                .changed = hook_changed,
                                .opened = hook_opened,
                                .event = hook_event,
                                .closed = hook_closed,
                                .read = hook_read,
                                .looked = hook_looked,
                                .answer_ms = answer_ms};
    struct net_hooks loop_hooks = {.turn = turn, .user = r};

    memset(r, 0, sizeof(*r));
    r->pool = opts.pool = pool_new(4096, 4096);
    buf_init(&r->silence, r->pool);
    CHECK_EQ(net_loop_new(&loop_hooks, 65536, &r->loop), 0);
    r->router = router_new(&opts, net_loop_now(r->loop));
    r->agent = mgmt_agent_new();
    for (int i = 0; i < TABLES; i++) {
        struct table *t = &r->tables[i];

        t->rig = r;
        t->provider = (struct mgmt_provider){.type = mgmt_find_type(str_of(types[i])),
                                             .user = t,
                                             .each = each_item,
                                             .create = create_item,
                                             .update = update_item,
                                             .remove = remove_item};
        mgmt_agent_add(r->agent, &t->provider);
    }
    router_set_agent(r->router, r->agent);
    r->timer = (struct net_timer){.fire = router_due, .user = r};
    r->drive = drive_new(r->loop, &hooks);
    listen_for_drive(r, "0");
}

static inline void rig_begin(struct rig *r)
{
    rig_begin_with(r, 0);
}

static inline void set_place(struct rig *r)
{
    char port[16];

    snprintf(port, sizeof(port), "%d", net_listener_port(r->listener));
    drive_set_place(r->drive, &(struct drive_place){.host = "127.0.0.1", .port = port});
}

static inline void rig_end(struct rig *r)
{
    drive_free(r->drive);
    net_listener_free(r->listener);
    net_loop_drop_all(r->loop, "the end");
    net_timer_cancel(r->loop, &r->timer);
    router_free(r->router);
    mgmt_agent_free(r->agent);
    net_loop_free(r->loop);
    for (int i = 0; i < TABLES; i++)
        while (r->tables[i].count > 0)
            forget_item(&r->tables[i], 0);
    CHECK_EQ(pool_used(r->pool), 0);
    pool_free(r->pool);
}

// Turns the loop until it is so.
#define UNTIL(r, cond)                                                                             \
    do {                                                                                           \
        struct mono until_limit = mono_add_ms(mono_now(), PATIENCE_MS);                            \
                                                                                                   \
        while (!(cond)) {                                                                          \
            net_loop_turn((r)->loop, mono_add_ms(mono_now(), 20));                                 \
            if (mono_before(until_limit, mono_now()))                                              \
                fail_msg("%s:%d: never so: %s (%s)", __FILE__, __LINE__, #cond,                    \
                         drive_problem((r)->drive));                                               \
        }                                                                                          \
    } while (0)

static inline void want(struct rig *r, const char *text)
{
    json_error_t error;
    char *copy = xstrdup(text);
    json_t *config;

    for (char *p = copy; *p; p++)
        *p = *p == '\'' ? '"' : *p;
    config = json_loads(copy, 0, &error);
    if (!config)
        fail_msg("%s: %s", copy, error.text);
    drive_want(r->drive, config);
    json_decref(config);
    free(copy);
}
