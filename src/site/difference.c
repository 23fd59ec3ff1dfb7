// SPDX-License-Identifier: Apache-2.0
// From the configuration a router has to the one it should have, in steps that management can take:
// nothing is created before what it refers to, nothing deleted before what refers to it, and what
// does not differ is not touched.
#include <stdlib.h>

#include "base/mem.h"
#include "site/site.h"

// IS_UNTOLD: a secret, which a live router does not tell; it goes along with what is updated.
enum { IS_UPDATABLE = 1, IS_UNTOLD = 2 };

// The attributes that the model sets, with what a router takes when they are not given. Others are
// not compared: a live router tells many more.
struct attribute {
    const char *name, *initial;
    unsigned flags;
};

#define ATTRIBUTES(...)                                                                            \
    (const struct attribute[])                                                                     \
    {                                                                                              \
        __VA_ARGS__,                                                                               \
        {                                                                                          \
            NULL, NULL, 0                                                                          \
        }                                                                                          \
    }

static const struct kind {
    const char *name, *type; // in the configuration; for management
    const char *key;         // the attribute that names an entity
    const struct attribute *attributes;
} kinds[] = {
    {"sslProfile", "sslProfile", "name",
     ATTRIBUTES({"caCertFile", "", IS_UPDATABLE}, {"certFile", "", IS_UPDATABLE},
                {"privateKeyFile", "", IS_UPDATABLE}, {"ordinal", "0", IS_UPDATABLE},
                {"oldestValidOrdinal", "0", IS_UPDATABLE})},
    {"proxyProfile", "proxyProfile", "name",
     ATTRIBUTES({"host", "", IS_UPDATABLE}, {"port", "", IS_UPDATABLE},
                {"username", "", IS_UPDATABLE}, {"password", "", IS_UNTOLD})},
    {"connector", "connector", "name",
     ATTRIBUTES({"role", "normal", 0}, {"host", "127.0.0.1", 0}, {"port", "amqp", 0},
                {"alternates", "", 0}, {"cost", "1", 0}, {"sslProfile", "", 0},
                {"proxyProfile", "", 0}, {"verifyHostname", "true", 0})},
    {"listener", "listener", "name",
     ATTRIBUTES({"role", "normal", 0}, {"host", "", 0}, {"port", "amqp", 0}, {"cost", "1", 0},
                {"sslProfile", "", 0}, {"saslMechanisms", "", 0}, {"authenticatePeer", "false", 0},
                {"http", "false", 0})},
    {"address", "router.config.address", "prefix", ATTRIBUTES({"distribution", "balanced", 0})},
    {"tcpConnector", "tcpConnector", "name",
     ATTRIBUTES({"host", "127.0.0.1", 0}, {"port", "", 0}, {"address", "", 0}, {"siteId", "", 0},
                {"processId", "", 0}, {"sslProfile", "", 0}, {"verifyHostname", "true", 0})},
    {"tcpListener", "tcpListener", "name",
     ATTRIBUTES({"host", "", 0}, {"port", "", 0}, {"address", "", 0}, {"siteId", "", 0},
                {"sslProfile", "", 0}, {"authenticatePeer", "false", 0},
                {"multiAddressStrategy", "none", 0}, {"encapsulation", "lite", 0},
                {"observer", "auto", IS_UPDATABLE})},
    {"listenerAddress", "listenerAddress", "name",
     ATTRIBUTES({"address", "", 0}, {"value", "0", 0}, {"listener", "", 0})},
    {"log", "log", "module", ATTRIBUTES({"enable", "default", IS_UPDATABLE})},
};
enum {
    SSL_PROFILE,
    PROXY_PROFILE,
    CONNECTOR,
    LISTENER,
    ADDRESS,
    TCP_CONNECTOR,
    TCP_LISTENER,
    LISTENER_ADDRESS,
    LOG,
    KIND_COUNT
};

// One side, by kind and name; `names` are sorted.
struct side {
    json_t *entities[KIND_COUNT];
    const char **names[KIND_COUNT];
};

struct difference {
    struct side from, to;
    json_t *replaced; // {tcpListener: true}: its addresses go and come with it
    json_t *out;
};

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int kind_of(const json_t *pair)
{
    const char *type = json_string_value(json_array_get(pair, 0));
    int k = 0;

    while (type && k < KIND_COUNT && strcmp(type, kinds[k].name) != 0)
        k++;
    return type ? k : KIND_COUNT;
}

static void read_side(struct side *s, const json_t *config)
{
    size_t i;
    json_t *pair;

    for (int k = 0; k < KIND_COUNT; k++)
        s->entities[k] = json_object();
    json_array_foreach(config, i, pair)
    {
        json_t *attrs = json_array_get(pair, 1);
        int k = kind_of(pair);
        const char *name =
            k < KIND_COUNT ? json_string_value(json_object_get(attrs, kinds[k].key)) : NULL;

        if (name)
            json_object_set(s->entities[k], name, attrs);
    }
}

static void sort_side(struct side *s)
{
    for (int k = 0; k < KIND_COUNT; k++) {
        const char *name;
        json_t *attrs;
        size_t at = 0;

        s->names[k] = xcalloc(json_object_size(s->entities[k]) + 1, sizeof(char *));
        json_object_foreach(s->entities[k], name, attrs) s->names[k][at++] = name;
        qsort(s->names[k], at, sizeof(char *), by_text);
    }
}

static void side_free(struct side *s)
{
    for (int k = 0; k < KIND_COUNT; k++) {
        json_decref(s->entities[k]);
        free(s->names[k]);
    }
}

// ----------------------------------------------------------------------------------------
// comparing

// Any scalar as text; a number and its text are the same to a router.
static const char *scalar(const json_t *v, char room[32])
{
    if (json_is_string(v))
        return json_string_value(v);
    if (json_is_boolean(v))
        return json_is_true(v) ? "true" : "false";
    snprintf(room, 32, "%lld", (long long)json_integer_value(v));
    return room;
}

static const char *value_of(const json_t *attrs, const struct attribute *a, char room[32])
{
    const json_t *v = json_object_get(attrs, a->name);
    const char *text = v && !json_is_null(v) ? scalar(v, room) : a->initial;

    // A listener on all interfaces.
    if (strcmp(a->name, "host") == 0 && (strcmp(text, "0.0.0.0") == 0 || strcmp(text, "::") == 0))
        return "";
    return text;
}

static bool is_same(const struct attribute *a, const json_t *left, const json_t *right)
{
    char left_room[32], right_room[32];

    return strcmp(value_of(left, a, left_room), value_of(right, a, right_room)) == 0;
}

// *is_update: all that differs may be changed in a living entity.
static bool differs(int kind, const json_t *from, const json_t *to, bool *is_update)
{
    bool any = false;

    *is_update = true;
    for (const struct attribute *a = kinds[kind].attributes; a->name; a++) {
        if (a->flags & IS_UNTOLD || is_same(a, from, to))
            continue;
        any = true;
        *is_update &= (a->flags & IS_UPDATABLE) != 0;
    }
    return any;
}

// Not ours: made by the router's image, or for the machine itself.
static bool is_foreign(int kind, const char *name)
{
    static const char *const listeners[] = {"@9090", "amqp", "amqps", NULL};

    if (kind == CONNECTOR)
        return str_starts(str_of(name), STR("auto-mesh"));
    for (size_t i = 0; kind == LISTENER && listeners[i]; i++) {
        if (strcmp(listeners[i], name) == 0)
            return true;
    }
    return kind == ADDRESS;
}

// -------------------------------------------------------------------------------------- operations

static void add(struct difference *d, const char *operation, int kind, const char *name,
                json_t *take_attributes)
{
    char *type = str_fmt("io.skupper.router.%s", kinds[kind].type);
    json_t *op = json_pack("{s:s, s:s, s:s}", "operation", operation, "type", type, "name", name);

    if (take_attributes)
        json_object_set_new(op, "attributes", take_attributes);
    json_array_append_new(d->out, op);
    free(type);
}

// An address belongs to its listener, and a log module is never gone.
static bool is_replaced(const struct difference *d, int kind, const char *name, const json_t *from,
                        const json_t *to)
{
    bool is_update;

    if (kind == LISTENER_ADDRESS && from && to &&
        json_object_get(d->replaced, site_text(from, "listener")))
        return true;
    if (kind == TCP_LISTENER && json_object_get(d->replaced, name))
        return true;
    return from && to && differs(kind, from, to, &is_update) && !is_update;
}

static void remove_some(struct difference *d, int kind)
{
    const char **names = d->from.names[kind];

    for (size_t i = 0; names[i]; i++) {
        const json_t *from = json_object_get(d->from.entities[kind], names[i]);
        const json_t *to = json_object_get(d->to.entities[kind], names[i]);

        if (to ? is_replaced(d, kind, names[i], from, to) : !is_foreign(kind, names[i]))
            add(d, "DELETE", kind, names[i], NULL);
    }
}

static void create_some(struct difference *d, int kind)
{
    const char **names = d->to.names[kind];

    for (size_t i = 0; names[i]; i++) {
        const json_t *from = json_object_get(d->from.entities[kind], names[i]);
        const json_t *to = json_object_get(d->to.entities[kind], names[i]);

        if (!from || is_replaced(d, kind, names[i], from, to))
            add(d, "CREATE", kind, names[i], json_incref((json_t *)(uintptr_t)to));
    }
}

static json_t *changes(int kind, const json_t *from, const json_t *to)
{
    json_t *out = json_object();

    for (const struct attribute *a = kinds[kind].attributes; a->name; a++) {
        json_t *v = json_object_get(to, a->name);

        if (!(a->flags & IS_UNTOLD) && is_same(a, from, to))
            continue;
        if (v)
            json_object_set(out, a->name, v);
        else
            json_object_set_new(out, a->name, json_null()); // back to the default
    }
    return out;
}

static void update_some(struct difference *d, int kind)
{
    const char **names = d->to.names[kind];

    for (size_t i = 0; names[i]; i++) {
        const json_t *from = json_object_get(d->from.entities[kind], names[i]);
        const json_t *to = json_object_get(d->to.entities[kind], names[i]);
        bool is_update;

        if (from && differs(kind, from, to, &is_update) && is_update &&
            !is_replaced(d, kind, names[i], from, to))
            add(d, "UPDATE", kind, names[i], changes(kind, from, to));
    }
}

// Modules of the log are always there: what is no longer wanted goes back to its default.
static void update_logs(struct difference *d)
{
    const char **names = d->from.names[LOG];
    json_t *nothing = json_object();
    bool is_update;

    update_some(d, LOG);
    for (size_t i = 0; d->to.names[LOG][i]; i++) {
        const char *name = d->to.names[LOG][i];

        if (!json_object_get(d->from.entities[LOG], name))
            add(d, "UPDATE", LOG, name,
                changes(LOG, nothing, json_object_get(d->to.entities[LOG], name)));
    }
    for (size_t i = 0; names[i]; i++) {
        const json_t *from = json_object_get(d->from.entities[LOG], names[i]);

        if (!json_object_get(d->to.entities[LOG], names[i]) &&
            differs(LOG, from, nothing, &is_update))
            add(d, "UPDATE", LOG, names[i], changes(LOG, from, nothing));
    }
    json_decref(nothing);
}

// Nearly all of a large configuration is as it was: that is left out before anything is sorted. An
// address that is the same may still have to go and come with its listener.
static void drop_same(struct difference *d)
{
    for (int k = 0; k < KIND_COUNT; k++) {
        const char *name;
        json_t *from;
        void *next;
        bool is_update;

        json_object_foreach_safe(d->from.entities[k], next, name, from)
        {
            const json_t *to = json_object_get(d->to.entities[k], name);

            if (k == LISTENER_ADDRESS || !to || differs(k, from, to, &is_update))
                continue;
            json_object_del(d->to.entities[k], name);
            json_object_del(d->from.entities[k], name);
        }
    }
}

// Those that must be made anew take their addresses along; a listener whose kind of addressing
// changes is such a one.
static void find_replaced(struct difference *d)
{
    const char **names = d->from.names[TCP_LISTENER];

    for (size_t i = 0; names[i]; i++) {
        const json_t *from = json_object_get(d->from.entities[TCP_LISTENER], names[i]);
        const json_t *to = json_object_get(d->to.entities[TCP_LISTENER], names[i]);

        if (to && is_replaced(d, TCP_LISTENER, names[i], from, to))
            json_object_set_new(d->replaced, names[i], json_true());
    }
}

static void find_operations(struct difference *d)
{
    static const int bridges[] = {TCP_CONNECTOR, TCP_LISTENER, LISTENER_ADDRESS};
    static const int links[] = {CONNECTOR, LISTENER};

    find_replaced(d);
    create_some(d, SSL_PROFILE);
    update_some(d, SSL_PROFILE);
    create_some(d, PROXY_PROFILE);
    update_some(d, PROXY_PROFILE);
    create_some(d, ADDRESS);
    remove_some(d, LISTENER_ADDRESS);
    remove_some(d, TCP_CONNECTOR);
    remove_some(d, TCP_LISTENER);
    for (size_t i = 0; i < sizeof(bridges) / sizeof(bridges[0]); i++) {
        create_some(d, bridges[i]);
        update_some(d, bridges[i]);
    }
    for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++)
        remove_some(d, links[i]);
    for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++)
        create_some(d, links[i]);
    update_logs(d);
    remove_some(d, PROXY_PROFILE);
    remove_some(d, SSL_PROFILE);
}

static const json_t *single(const json_t *config, const char *type)
{
    size_t i;
    json_t *pair;

    json_array_foreach(config, i, pair)
    {
        const char *name = json_string_value(json_array_get(pair, 0));

        if (name && strcmp(name, type) == 0)
            return json_array_get(pair, 1);
    }
    return NULL;
}

// What a router reads only at its start.
static bool needs_restart(const json_t *applied, const json_t *wanted)
{
    static const struct attribute attributes[] = {{"id", "", 0},
                                                  {"mode", "standalone", 0},
                                                  {"metadata", "", 0},
                                                  {"dataConnectionCount", "auto", 0}};
    const json_t *from = single(applied, "router"), *to = single(wanted, "router");

    for (size_t i = 0; i < sizeof(attributes) / sizeof(attributes[0]); i++) {
        if (!is_same(&attributes[i], from, to))
            return true;
    }
    return false;
}

json_t *site_config_difference(const json_t *applied, const json_t *wanted, bool *restart)
{
    struct difference d = {.replaced = json_object(), .out = json_array()};

    read_side(&d.from, applied);
    read_side(&d.to, wanted);
    drop_same(&d);
    sort_side(&d.from);
    sort_side(&d.to);
    find_operations(&d);
    *restart = needs_restart(applied, wanted);
    side_free(&d.from);
    side_free(&d.to);
    json_decref(d.replaced);
    return d.out;
}
