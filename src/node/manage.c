// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "node/service.h"

// The configured entities as management sees them. What the entity does not hold itself (status of
// a connector, counts of a log module) is put over a copy of its values.

enum { VALUE_MAX = 64 };

static bool is_type(const struct mgmt_type *t, const char *name)
{
    return strcmp(t->name, name) == 0;
}

static void put(const struct mgmt_type *t, const struct amqp_val *values[VALUE_MAX],
                const char *attr, const struct amqp_val *v)
{
    for (int i = 0; i < VALUE_MAX && t->attrs[i].name; i++)
        if (strcmp(t->attrs[i].name, attr) == 0)
            values[i] = v;
}

// One entity told with up to three values put over its own.
struct extra {
    const char *attr;
    struct amqp_val *value; // taken
};

static bool tell(const struct mgmt_type *t, const struct mgmt_entity *e, struct extra *extras,
                 size_t extra_count, mgmt_emit *emit, void *to)
{
    const struct amqp_val *values[VALUE_MAX] = {NULL};
    char *full = str_fmt("io.skupper.router.%s", t->name);
    struct amqp_val *type = amqp_val_string(str_of(full));
    bool more;

    for (int i = 0; e && i < VALUE_MAX && t->attrs[i].name; i++)
        values[i] = t->attrs[i].flags & MGMT_SECRET ? NULL : e->values[i];
    put(t, values, "type", type);
    for (size_t i = 0; i < extra_count; i++)
        put(t, values, extras[i].attr, extras[i].value);
    more = emit(to, values);
    for (size_t i = 0; i < extra_count; i++)
        amqp_val_free(extras[i].value);
    amqp_val_free(type);
    free(full);
    return more;
}

static struct amqp_val *text(const char *s)
{
    return s ? amqp_val_string(str_of(s)) : NULL;
}

// ---------------------------------------------------------- listener, connector, profile, address

static bool tell_part(const struct manager *self, const struct part *p, mgmt_emit *emit, void *to)
{
    bool is_dial = p->dial_count > 0;
    const char *status = p->is_connected ? "SUCCESS" : p->status[0] ? "FAILED" : "CONNECTING";
    struct extra extras[] = {
        {"identity", text(p->identity)},
        {"name", text(p->name)},
        {"connectionStatus", is_dial ? text(status) : NULL},
        {"connectionMsg", is_dial ? text(p->status) : NULL},
        {"failoverUrls", is_dial ? failover_urls(p) : NULL},
    };

    return tell(self->type, p->entity, extras, is_dial ? 5 : 2, emit, to);
}

typedef bool tell_entity(const struct manager *self, const struct part *p, mgmt_emit *emit,
                         void *to);

static void each_of(struct manager *self, tell_entity *told, mgmt_emit *emit, void *to)
{
    list_for_each (node, node_parts(self->node, self->type->name))
        if (!told(self, list_entry(node, struct part, on_node), emit, to))
            return;
}

static void one_of(struct manager *self, struct str id, tell_entity *told, mgmt_emit *emit,
                   void *to)
{
    struct part *p = node_find(self->node, node_parts(self->node, self->type->name), id);

    if (p)
        told(self, p, emit, to);
}

static void each_part(void *user, mgmt_emit *emit, void *to)
{
    each_of(user, tell_part, emit, to);
}

static void one_part(void *user, struct str id, mgmt_emit *emit, void *to)
{
    one_of(user, id, tell_part, emit, to);
}

static int create_part(void *user, const struct mgmt_entity *e, struct why *why)
{
    struct manager *self = user;

    return node_add(self->node, e, why);
}

static int remove_part(void *user, struct str identity, struct why *why)
{
    struct manager *self = user;
    struct node *n = self->node;

    return node_remove(n, node_parts(n, self->type->name), identity, why);
}

static int set_all(struct mgmt_entity *e, const struct amqp_val *changes, struct why *why)
{
    for (uint32_t i = 0; i + 1 < changes->count; i += 2) {
        char *attr = str_dup(amqp_val_str(changes->items[i]));
        int err = mgmt_entity_set(e, attr, changes->items[i + 1], MGMT_UPDATE, why);

        free(attr);
        if (err < 0)
            return err;
    }
    return 0;
}

// Of an sslProfile or a proxyProfile.
static int update_profile(void *user, struct str identity, const struct amqp_val *changes,
                          struct why *why)
{
    struct manager *self = user;
    struct node *n = self->node;
    struct part *p = node_find(n, node_parts(n, self->type->name), identity);

    if (!p) {
        why_set(why, "there is no %s '%.*s'", self->type->name, STR_ARG(identity));
        return ERR_NOT_FOUND;
    }

    struct mgmt_entity *changed = mgmt_entity_copy(p->entity);
    int err = set_all(changed, changes, why);

    if (err == 0)
        return is_type(self->type, "sslProfile") ? node_update_profile(n, p, changed, why)
                                                 : node_update_proxy(n, p, changed, why);
    mgmt_entity_free(changed);
    return err;
}

// ----------------------------------------------------------------------------------- TCP services

static bool tell_service(const struct manager *self, const struct part *p, mgmt_emit *emit,
                         void *to)
{
    const struct service *s = p->service;
    struct extra extras[] = {
        {"identity", text(p->identity)},
        {"name", text(p->name)},
        {"connectionsOpened", amqp_val_ulong(s->tcp.opened)},
        {"connectionsClosed", amqp_val_ulong(s->tcp.closed)},
        {"bytesIn", amqp_val_ulong(s->tcp.bytes_in)},
        {"bytesOut", amqp_val_ulong(s->tcp.bytes_out)},
        {"operStatus", text(service_is_up(s) ? "up" : "down")},
        {"connectionMsg", text(service_status(s))},
    };

    return tell(self->type, p->entity, extras, sizeof(extras) / sizeof(extras[0]), emit, to);
}

static void each_service(void *user, mgmt_emit *emit, void *to)
{
    each_of(user, tell_service, emit, to);
}

static void one_service(void *user, struct str id, mgmt_emit *emit, void *to)
{
    one_of(user, id, tell_service, emit, to);
}

static int update_service(void *user, struct str identity, const struct amqp_val *changes,
                          struct why *why)
{
    struct manager *self = user;
    struct part *p = node_find(self->node, node_parts(self->node, self->type->name), identity);
    int err;

    if (!p) {
        why_set(why, "there is no %s '%.*s'", self->type->name, STR_ARG(identity));
        return ERR_NOT_FOUND;
    }
    err = set_all(p->entity, changes, why);
    service_updated(p);
    return err;
}

static bool tell_listener_address(const struct manager *self, const struct part *p, mgmt_emit *emit,
                                  void *to)
{
    const struct service_address *a = p->address;
    struct extra extras[] = {
        {"identity", text(p->identity)},
        {"name", text(p->name)},
        {"connectionsOpened", amqp_val_ulong(a ? a->opened : 0)},
    };

    return tell(self->type, p->entity, extras, 3, emit, to);
}

static void each_listener_address(void *user, mgmt_emit *emit, void *to)
{
    each_of(user, tell_listener_address, emit, to);
}

static void one_listener_address(void *user, struct str id, mgmt_emit *emit, void *to)
{
    one_of(user, id, tell_listener_address, emit, to);
}

// Null: it has not happened yet.
static struct amqp_val *seconds_since(struct mono at, struct mono now)
{
    return at.ns == MONO_NEVER.ns ? NULL : amqp_val_long(mono_ms_between(at, now) / 1000);
}

static bool tell_connection(struct manager *self, const struct tcp_conn *c, mgmt_emit *emit,
                            void *to)
{
    const struct service *s = (const struct service *)(const void *)tcp_service_of(c);
    struct mono now = net_loop_now(self->node->loop);
    struct tcp_info i;
    char id[32], reply_to[ROUTER_REPLY_MAX];

    tcp_info(c, &i);
    snprintf(id, sizeof(id), "tcpConnection/%llu", (unsigned long long)i.id);

    struct extra extras[] = {
        {"identity", text(id)},
        {"name", text(id)},
        {"address", s->part ? text(mgmt_entity_cstr(s->part->entity, "address")) : NULL},
        {"host", text(i.peer)},
        {"direction", text(i.is_listener_side ? "in" : "out")},
        {"bytesIn", amqp_val_ulong(i.bytes_in)},
        {"bytesOut", amqp_val_ulong(i.bytes_out)},
        {"uptimeSeconds", seconds_since(i.opened_at, now)},
        {"lastInSeconds", seconds_since(i.last_in_at, now)},
        {"lastOutSeconds", seconds_since(i.last_out_at, now)},
        {"service", s->part ? text(s->part->name) : NULL},
        {"replyTo", amqp_val_string(tcp_reply_to(c, reply_to))},
        {"state", text(i.state)},
        {"waitsFor", text(i.waits)},
        {"unacknowledged", amqp_val_ulong(i.unacknowledged)},
        {"unsent", amqp_val_ulong(i.unsent)},
    };
    if (i.address.len > 0) {
        amqp_val_free(extras[2].value);
        extras[2].value = amqp_val_string(i.address);
    }
    return tell(self->type, NULL, extras, sizeof(extras) / sizeof(extras[0]), emit, to);
}

static void each_connection(void *user, mgmt_emit *emit, void *to)
{
    struct manager *self = user;

    list_for_each (node, &self->node->services) {
        struct service *s = list_entry(node, struct service, on_node);

        list_for_each (at, &s->tcp.conns)
            if (!tell_connection(self, tcp_on_service(at), emit, to))
                return;
    }
}

// ------------------------------------------------------------------------- router, site, network

static void each_single(void *user, mgmt_emit *emit, void *to)
{
    struct manager *self = user;
    struct node *n = self->node;
    bool is_router = is_type(self->type, "router");
    const struct mgmt_entity *e = is_router                     ? n->router_entity
                                  : is_type(self->type, "site") ? n->site
                                                                : n->network;
    const char *id = is_router ? mgmt_entity_cstr(e, "id") : mgmt_entity_cstr(e, "name");
    char *identity = str_fmt("%s/%s", self->type->name, id ? id : "0");
    char host[256] = "";
    struct extra extras[] = {
        {"identity", text(identity)},
        {"name", text(is_router || !id ? identity : id)},
        {"version", is_router ? text(n->version) : NULL},
        {"hostName", NULL},
        {"workerThreads", is_router ? amqp_val_long(n->worker_count) : NULL},
    };

    gethostname(host, sizeof(host) - 1);
    extras[3].value = is_router ? text(host) : NULL;
    tell(self->type, e, extras, is_router ? 5 : 2, emit, to);
    free(identity);
}

static int update_network(void *user, struct str identity, const struct amqp_val *changes,
                          struct why *why)
{
    struct manager *self = user;
    struct node *n = self->node;

    (void)identity;
    return set_all(n->network, changes, why);
}

// ------------------------------------------------------------------------------------------ logs

static void each_log(void *user, mgmt_emit *emit, void *to)
{
    struct manager *self = user;

    for (int m = 0; m < LOG_MODULE_COUNT; m++) {
        const char *name = log_module_name((enum log_module)m);
        char *identity = str_fmt("log/%s", name);
        struct extra extras[] = {
            {"identity", text(identity)},
            {"name", text(identity)},
            {"module", text(name)},
            {"enable", text(log_get_enable((enum log_module)m))},
            {"outputFile", text(log_get_output((enum log_module)m))},
        };
        bool more = tell(self->type, NULL, extras, 5, emit, to);

        free(identity);
        if (!more)
            return;
    }
}

int manage_set_log(enum log_module m, const struct amqp_val *enable, const struct amqp_val *output,
                   struct why *why)
{
    char *levels = str_dup(amqp_val_str(enable)), *path = str_dup(amqp_val_str(output));
    int err = 0;

    if (enable)
        err = log_set_enable(m, levels);
    if (err < 0)
        why_set(why, "enable: '%s' is no list of levels such as info+ or debug,error", levels);
    if (err == 0 && output)
        err = log_set_output(m, path[0] ? path : NULL);
    if (err == ERR_IO)
        why_set(why, "outputFile: %s cannot be written: %s", path, strerror(errno));
    free(levels);
    free(path);
    return err;
}

static int update_log(void *user, struct str identity, const struct amqp_val *changes,
                      struct why *why)
{
    (void)user;
    for (int m = 0; m < LOG_MODULE_COUNT; m++) {
        char *own = str_fmt("log/%s", log_module_name((enum log_module)m));
        bool is_it = str_is(identity, own);
        int err;

        free(own);
        if (!is_it)
            continue;
        err = manage_set_log((enum log_module)m, amqp_val_get(changes, "enable"),
                             amqp_val_get(changes, "outputFile"), why);
        return err == ERR_IO ? ERR_INVALID : err;
    }
    why_set(why, "there is no '%.*s'", STR_ARG(identity));
    return ERR_NOT_FOUND;
}

static void each_log_stats(void *user, mgmt_emit *emit, void *to)
{
    static const char *const counts[LOG_LEVEL_COUNT] = {"debugCount", "infoCount", "warningCount",
                                                        "errorCount", "criticalCount"};
    struct manager *self = user;

    for (int m = 0; m < LOG_MODULE_COUNT; m++) {
        char *identity = str_fmt("logStats/%s", log_module_name((enum log_module)m));
        struct extra extras[2 + LOG_LEVEL_COUNT] = {{"identity", text(identity)},
                                                    {"name", text(identity)}};
        bool more;

        for (int l = 0; l < LOG_LEVEL_COUNT; l++)
            extras[2 + l] = (struct extra){
                counts[l], amqp_val_ulong(log_count((enum log_module)m, (enum log_level)l))};
        more = tell(self->type, NULL, extras, 2 + LOG_LEVEL_COUNT, emit, to);
        free(identity);
        if (!more)
            return;
    }
}

static struct amqp_val *recent_log(void *user, uint32_t limit)
{
    struct amqp_val *list = amqp_val_list();
    struct log_line line;

    (void)user;
    for (uint32_t left = log_recent_count(limit); left > 0 && log_recent(left, &line); left--) {
        struct amqp_val *entry = amqp_val_list();

        amqp_val_append(entry, amqp_val_string(str_of(log_module_name(line.module))));
        amqp_val_append(entry, amqp_val_string(str_of(log_level_name(line.level))));
        amqp_val_append(entry, amqp_val_string(str_of(line.text)));
        amqp_val_append(entry, amqp_val_null()); // where in the source: not told
        amqp_val_append(entry, amqp_val_null());
        amqp_val_append(entry, amqp_val_long(line.time));
        amqp_val_append(list, entry);
    }
    return list;
}

void manage_register(struct node *n)
{
    static const struct {
        const char *type;
        void (*each)(void *user, mgmt_emit *emit, void *to);
        void (*one)(void *user, struct str id, mgmt_emit *emit, void *to);
        int (*create)(void *user, const struct mgmt_entity *e, struct why *why);
        int (*update)(void *user, struct str identity, const struct amqp_val *changes,
                      struct why *why);
        int (*remove)(void *user, struct str identity, struct why *why);
    } kinds[] = {
        {"router", each_single, NULL, NULL, NULL, NULL},
        {"site", each_single, NULL, NULL, NULL, NULL},
        {"network", each_single, NULL, NULL, update_network, NULL},
        {"listener", each_part, one_part, create_part, NULL, remove_part},
        {"connector", each_part, one_part, create_part, NULL, remove_part},
        {"sslProfile", each_part, one_part, create_part, update_profile, remove_part},
        {"proxyProfile", each_part, one_part, create_part, update_profile, remove_part},
        {"router.config.address", each_part, one_part, create_part, NULL, remove_part},
        {"tcpListener", each_service, one_service, create_part, update_service, remove_part},
        {"tcpConnector", each_service, one_service, create_part, update_service, remove_part},
        {"listenerAddress", each_listener_address, one_listener_address, create_part, NULL,
         remove_part},
        {"tcpConnection", each_connection, NULL, NULL, NULL, NULL},
        {"log", each_log, NULL, NULL, update_log, NULL},
        {"logStats", each_log_stats, NULL, NULL, NULL, NULL},
    };

    _Static_assert(sizeof(kinds) / sizeof(kinds[0]) <= NODE_PROVIDERS, "providers");
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        struct manager *m = &n->managers[i];

        m->node = n;
        m->type = mgmt_find_type(str_of(kinds[i].type));
        m->provider = (struct mgmt_provider){
            .type = m->type,
            .user = m,
            .each = kinds[i].each,
            .one = kinds[i].one,
            .create = kinds[i].create,
            .update = kinds[i].update,
            .remove = kinds[i].remove,
        };
        mgmt_agent_add(n->agent, &m->provider);
    }
    mgmt_agent_set_log(n->agent, recent_log, n);
}
