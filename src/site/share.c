// SPDX-License-Identifier: Apache-2.0
// Services that sites tell each other of. A Connector with the annotation skupper.io/proxy is
// announced under a name and ports; each port of a service has the routing key NAME:PORT, as sites
// of version 1 have it. What others announce gets a listener of its own here, unless a Listener,
// this site itself or an older service is in its place.
#include <stdlib.h>

#include "base/cut.h"
#include "base/mem.h"
#include "site/inside.h"

enum { PORTS_MAX = 64 }; // of one service

static const char PROXY[] = "skupper.io/proxy", ADDRESS[] = "skupper.io/address";
static const char PORT[] = "skupper.io/port", SYNC[] = "skupper.io/service-sync";
static const char IN_USE[] = "Address already in use"; // as a router says it: EADDRINUSE
static const char HOST[] = "skupper.io/service-host", EXCLUDE[] = "skupper.io/service-exclude";

static bool is_off(const struct model *m)
{
    const char *text = thing_annotation(m->site, SYNC);

    if (!m->facts->platform->binds_services)
        return true; // there it is Services that carry the annotations
    return text && str_is_nocase(str_of(text), "false");
}

// ------------------------------------------------------------------------------------ announcing

struct offer {
    const char *address;
    struct {
        int64_t port, target;
    } ports[PORTS_MAX];
    size_t count;
};

// "p[:t],…". A single port without a target leads to the port of the Connector.
static bool read_ports(const char *text, int64_t own, struct offer *o)
{
    struct str rest = str_of(text);
    bool is_single = !strchr(text, ',');

    while (rest.len > 0) {
        struct str item = str_trim(str_cut(&rest, ','), " "), port = str_cut(&item, ':');
        int64_t p, t;

        if (o->count == PORTS_MAX || !site_number(port, 1, 65535, &p))
            return false;
        t = is_single ? own : p;
        if (item.len > 0 && !site_number(item, 1, 65535, &t))
            return false;
        o->ports[o->count].port = p;
        o->ports[o->count++].target = t;
    }
    return o->count > 0;
}

// What a Connector offers to others. False: nothing, and if that is a mistake its condition says
// so.
static bool read_offer(struct thing *t, struct offer *o)
{
    const char *proxy = thing_annotation(t, PROXY), *ports = thing_annotation(t, PORT);
    const char *address = thing_annotation(t, ADDRESS);
    int64_t own = spec_int(t, "port", 0);

    *o = (struct offer){.address = address ? address : spec_text(t, "routingKey"), .count = 0};
    if (!proxy)
        return false;
    if (strcmp(proxy, "tcp") != 0 && strcmp(proxy, "http") != 0 && strcmp(proxy, "http2") != 0) {
        cond_error(
            t, "Configured",
            "metadata.annotations: %s: \"%s\" is not one of tcp, http, http2; the service is "
            "not shared",
            PROXY, proxy);
        return false;
    }
    if (!site_is_name(str_of(o->address))) {
        cond_error(t, "Configured",
                   "metadata.annotations: %s: \"%s\" is no name for a service; it is not shared",
                   ADDRESS, o->address);
        return false;
    }
    if (!ports) {
        o->ports[o->count].port = own;
        o->ports[o->count++].target = own;
        return true;
    }
    if (read_ports(ports, own, o))
        return true;
    cond_error(
        t, "Configured",
        "metadata.annotations: %s: \"%s\" is not of the form port[:target],…; the service is "
        "not shared",
        PORT, ports);
    return false;
}

static char *key_of(const char *address, int64_t port)
{
    return str_fmt("%s:%lld", address, (long long)port);
}

// A connector of the router for one port under the name others know.
static void put_offer(struct model *m, struct thing *t, const char *address, int64_t port,
                      int64_t target)
{
    char *key = key_of(address, port), *name = str_fmt("service/%s@%s", key, t->name);
    char *main_name = str_fmt("connector/%s@%s", t->name, spec_text(t, "host"));
    const json_t *main = json_object_get(m->entities[ENTITY_TCP_CONNECTOR], main_name);
    char *target_text = str_fmt("%lld", (long long)target);

    if (main &&
        (strcmp(spec_text(t, "routingKey"), key) != 0 || target != spec_int(t, "port", 0))) {
        json_t *attrs = json_deep_copy(main);

        json_object_set_new(attrs, "name", json_string(name));
        json_object_set_new(attrs, "address", json_string(key));
        json_object_set_new(attrs, "port", json_string(target_text));
        json_object_set_new(m->entities[ENTITY_TCP_CONNECTOR], name, attrs);
    }
    if (network_has(m->network.listeners, key)) {
        cond_ready(t, "Matched");
        json_object_set_new(t->status, "hasMatchingListener", json_true());
    }
    free(target_text);
    free(main_name);
    free(name);
    free(key);
}

static int by_number(const void *left, const void *right)
{
    int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;

    return a < b ? -1 : a > b;
}

// A sorted list of distinct ports.
static size_t sort_ports(int64_t *ports, size_t count)
{
    size_t kept = 0;

    qsort(ports, count, sizeof(*ports), by_number);
    for (size_t i = 0; i < count; i++) {
        if (kept == 0 || ports[kept - 1] != ports[i])
            ports[kept++] = ports[i];
    }
    return kept;
}

// The numbers of a list, those that are ports, at most PORTS_MAX.
static size_t ports_of(const json_t *service, int64_t out[PORTS_MAX])
{
    const json_t *old = json_object_get(service, "port");
    size_t i, count = 0;
    json_t *v;

    json_array_foreach(json_object_get(service, "ports"), i, v)
    {
        int64_t port = json_integer_value(v);

        if (port >= 1 && port <= 65535 && count < PORTS_MAX)
            out[count++] = port;
    }
    if (count == 0 && json_integer_value(old) >= 1 && json_integer_value(old) <= 65535)
        out[count++] = json_integer_value(old);
    return sort_ports(out, count);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

// The keys of an object, sorted; the caller frees the list, not the keys.
static const char **sorted_keys(const json_t *object)
{
    const char **keys = xcalloc(json_object_size(object) + 1, sizeof(*keys)), *key;
    size_t at = 0;
    json_t *v;

    json_object_foreach((json_t *)(uintptr_t)object, key, v) keys[at++] = key;
    qsort(keys, at, sizeof(*keys), by_text);
    return keys;
}

static void write_announcement(struct model *m, const json_t *offered)
{
    const char **keys = sorted_keys(offered);

    m->out->announce = json_array();
    for (size_t i = 0; keys[i]; i++) {
        json_t *s = json_object_get(offered, keys[i]), *list = json_array();
        int64_t ports[PORTS_MAX];
        size_t count = ports_of(s, ports);

        for (size_t k = 0; k < count; k++)
            json_array_append_new(list, json_integer(ports[k]));
        json_array_append_new(m->out->announce, json_pack("{s:s, s:s, s:o, s:s, s:[]}", "address",
                                                          keys[i], "protocol", "tcp", "ports", list,
                                                          "exposeIngress", "", "targets"));
    }
    free(keys);
}

void share_announce(struct model *m)
{
    json_t *offered = json_object(); // {address: {"ports": […]}}

    if (is_off(m)) {
        json_decref(offered);
        return;
    }
    for (size_t i = 0; i < m->count; i++) {
        struct thing *t = m->things[i];
        struct offer o;
        json_t *s;

        if (!thing_is(t, "Connector") || t->is_broken || !read_offer(t, &o))
            continue;
        s = json_object_get(offered, o.address);
        if (!s) {
            s = json_pack("{s:[]}", "ports");
            json_object_set_new(offered, o.address, s);
        }
        for (size_t k = 0; k < o.count; k++) {
            json_array_append_new(json_object_get(s, "ports"), json_integer(o.ports[k].port));
            put_offer(m, t, o.address, o.ports[k].port, o.ports[k].target);
        }
    }
    write_announcement(m, offered);
    json_decref(offered);
}

// ------------------------------------------------------------------------------ what others share

static bool is_version_1(const json_t *origin)
{
    return str_starts(str_of(site_text(origin, "version")), STR("1."));
}

static int by_since(const void *left, const void *right)
{
    const json_t *a = *(json_t *const *)left, *b = *(json_t *const *)right;
    json_int_t since_a = json_integer_value(json_object_get(a, "since"));
    json_int_t since_b = json_integer_value(json_object_get(b, "since"));

    if (since_a != since_b)
        return since_a < since_b ? -1 : 1;
    return strcmp(site_text(a, "origin"), site_text(b, "origin"));
}

// Who was heard first comes first; ourselves not at all.
static json_t *sorted_origins(const struct model *m)
{
    size_t count = json_array_size(m->facts->shared), kept = 0, i;
    json_t **list = xcalloc(count + 1, sizeof(json_t *)), *out = json_array(), *origin;

    json_array_foreach(m->facts->shared, i, origin)
    {
        if (strcmp(site_text(origin, "origin"), m->facts->site_id) != 0)
            list[kept++] = origin;
    }
    qsort(list, kept, sizeof(json_t *), by_since);
    for (i = 0; i < kept; i++)
        json_array_append(out, list[i]);
    free(list);
    return out;
}

// A routing key without the port is understood where there is one port only.
static void read_legacy(struct model *m, const json_t *service)
{
    const char *address = site_text(service, "address");
    int64_t ports[PORTS_MAX];
    size_t count = ports_of(service, ports);

    for (size_t i = 0; i < count; i++) {
        char *key = key_of(address, ports[i]);

        json_object_set_new(m->legacy, key, json_string(key));
        if (count == 1 && !json_object_get(m->legacy, address))
            json_object_set_new(m->legacy, address, json_string(key));
        free(key);
    }
}

void share_read(struct model *m)
{
    json_t *origins, *origin, *s;
    size_t i, k;

    m->legacy = json_object();
    if (!m->site || (m->facts->platform->binds_services && is_off(m)))
        return;
    origins = sorted_origins(m);
    json_array_foreach(origins, i, origin)
    {
        json_array_foreach(json_object_get(origin, "services"), k, s)
        {
            if (is_version_1(origin) && site_is_name(str_of(site_text(s, "address"))))
                read_legacy(m, s);
        }
    }
    json_decref(origins);
}

// What stands in the way of listeners for shared services.
struct obstacles {
    const char *host;
    json_t *keys;    // {routing key: "Listener db"}
    json_t *servers; // {"host:port": "Connector db"}: ours, and those of other sites here
    json_t *own;     // {address: true}
    json_t *texts;   // {text: itself}: what is said of every service, once
};

static void add_key(json_t *keys, const char *key, const struct thing *t)
{
    char *who = thing_words(t);

    if (key[0] && !json_object_get(keys, key))
        json_object_set_new(keys, key, json_string(who));
    free(who);
}

static void add_obstacle(struct obstacles *o, const struct thing *t)
{
    size_t i;
    json_t *v;
    const char *key;

    if (thing_is(t, "Listener")) {
        add_key(o->keys, spec_text(t, "routingKey"), t);
    } else if (thing_is(t, "MultiKeyListener")) {
        json_array_foreach(site_get(t->spec, "strategy.priority.routingKeys"), i, v)
            add_key(o->keys, json_string_value(v), t);
        json_object_foreach((json_t *)(uintptr_t)site_get(t->spec, "strategy.weighted.routingKeys"),
                            key, v) add_key(o->keys, key, t);
    } else if (thing_is(t, "Connector")) {
        char *place = model_place(spec_text(t, "host"), spec_int(t, "port", 0));

        add_key(o->servers, place, t);
        free(place);
    }
}

static void find_obstacles(struct model *m, struct obstacles *o)
{
    const char *host = thing_annotation(m->site, HOST);
    size_t i;
    json_t *s;

    if (host && !site_is_host(str_of(host)))
        site_warning(m, "metadata.annotations.skupper.io/service-host",
                     "neither an IP address nor the name of a host; 127.0.0.1 is used");
    *o = (struct obstacles){host && site_is_host(str_of(host)) ? host : "127.0.0.1", json_object(),
                            json_object(), json_object(), json_object()};
    for (i = 0; i < m->count; i++) {
        if (!m->things[i]->is_broken)
            add_obstacle(o, m->things[i]);
    }
    json_object_update(m->out->targets, o->servers);
    json_object_update_missing(o->servers, (json_t *)(uintptr_t)m->facts->neighbours);
    json_array_foreach(m->out->announce, i, s)
        json_object_set_new(o->own, site_text(s, "address"), json_true());
}

static void obstacles_free(struct obstacles *o)
{
    json_decref(o->keys);
    json_decref(o->servers);
    json_decref(o->own);
    json_decref(o->texts);
}

// As a value, which is shared with all who say the same; borrowed.
static json_t *one_text(const struct obstacles *o, const char *text)
{
    json_t *value = json_object_get(o->texts, text);

    if (!value) {
        value = json_string(text);
        json_object_set_new(o->texts, text, value);
    }
    return value;
}

// One port of one service.
struct shared {
    const json_t *origin, *service;
    const char *address;
    int64_t port;
    char *key; // its routing key
};

static void tell(struct model *m, const struct obstacles *o, const struct shared *s,
                 const char *state, const char *fmt, ...) PRINTF_LIKE(5, 6);
static void tell(struct model *m, const struct obstacles *o, const struct shared *s,
                 const char *state, const char *fmt, ...)
{
    va_list args;
    char *text = NULL;

    va_start(args, fmt);
    if (vasprintf(&text, fmt, args) < 0)
        abort();
    va_end(args);
    json_array_append_new(m->out->services,
                          json_pack("{s:s, s:I, s:O, s:s, s:O, s:O, s:O}", "address", s->address,
                                    "port", (json_int_t)s->port, "host", one_text(o, o->host),
                                    "routingKey", s->key, "origin",
                                    one_text(o, site_text(s->origin, "origin")), "state",
                                    one_text(o, state), "message", one_text(o, text)));
    free(text);
}

static bool is_excluded(const struct model *m, const struct shared *s)
{
    const char *list = thing_annotation(m->site, EXCLUDE);
    struct str rest = str_of(list);

    while (rest.len > 0) {
        struct str item = str_trim(str_cut(&rest, ','), " ");

        if (str_is(item, s->address) || str_is(item, s->key))
            return true;
    }
    return false;
}

static bool is_supported(const struct shared *s)
{
    const char *protocol = site_text(s->service, "protocol");

    if (json_is_object(json_object_get(s->service, "headless")))
        return false;
    return strcmp(protocol, "tcp") == 0 ||
           (!is_version_1(s->origin) &&
            (strcmp(protocol, "http") == 0 || strcmp(protocol, "http2") == 0));
}

// True: nothing stands in its way. Otherwise it has been told.
static bool has_place(struct model *m, const struct obstacles *o, const struct shared *s)
{
    const char *listener = json_string_value(json_object_get(o->keys, s->key)), *holder;
    char *place = model_place(o->host, s->port), *who;
    const char *server = json_string_value(json_object_get(o->servers, place));

    free(place);
    if (!listener)
        listener = json_string_value(json_object_get(o->keys, s->address));
    if (!is_supported(s))
        tell(m, o, s, "unsupported", "protocol %s of version %s cannot be served here",
             site_text(s->service, "protocol"), site_text(s->origin, "version"));
    else if (strcmp(site_text(s->service, "exposeIngress"), "Never") == 0 || is_excluded(m, s))
        tell(m, o, s, "off", "switched off");
    else if (json_object_get(o->own, s->address))
        tell(m, o, s, "own", "this site offers it itself");
    else if (listener)
        tell(m, o, s, "replaced", "%s takes its place", listener);
    else if (server)
        tell(m, o, s, "conflict", "host %s and port %lld are where %s finds its server", o->host,
             (long long)s->port, server);
    else {
        who = str_fmt("service %s", s->key);
        holder = model_claim(m, o->host, s->port, who);
        free(who);
        if (!holder)
            return true;
        tell(m, o, s, "conflict",
             "host %s and port %lld are in use by %s; a Listener with routing key %s can have "
             "another port",
             o->host, (long long)s->port, holder, s->address);
    }
    return false;
}

// Its TLS credentials are made here, as every site makes them. False: it has to wait for them.
static bool shared_profile(struct model *m, const struct shared *s, struct thing *t,
                           const char **profile)
{
    const char *name = *profile = site_text(s->service, "tlsCredentials");
    json_t *hosts = json_pack("[s]", s->address);
    bool is_ok = !name[0];

    if (name[0] && !site_is_name(str_of(name))) {
        cond_error(t, "Configured", "its TLS credentials have a name that is none");
    } else if (name[0]) {
        certificate_authority(m, "skupper-service-ca", "skupper-service-ca");
        if (!certificate_leaf(m, name, "skupper-service-ca", s->address, hosts, CERTIFICATE_SERVER))
            cond_error(t, "Configured", "\"%s\" is the name of another certificate of this site",
                       name);
        else
            is_ok = profile_use(m, t, "Configured", name, name, PROFILE_WHOLE);
    }
    json_decref(hosts);
    return is_ok;
}

static void put_listener(struct model *m, const struct obstacles *o, const struct shared *s,
                         const char *name, const char *profile)
{
    json_t *attrs = model_entity(m, ENTITY_TCP_LISTENER, name);
    const char *protocol = site_text(s->service, "protocol");
    char *port = str_fmt("%lld", (long long)s->port);

    json_object_set(attrs, "host", one_text(o, o->host));
    put_text(attrs, "port", port);
    put_text(attrs, "address", s->key);
    json_object_set(attrs, "siteId", one_text(o, m->facts->site_id));
    put_text(attrs, "sslProfile", profile);
    if (strcmp(protocol, "tcp") != 0)
        put_text(attrs, "observer", strcmp(protocol, "http") == 0 ? "http1" : "http2");
    if (json_object_get(m->legacy, s->key))
        put_text(attrs, "encapsulation", "legacy");
    free(port);
}

// What the router could not do. A port in use is nothing that it, or another site, can help.
static void tell_trouble(struct model *m, const struct obstacles *o, const struct shared *s,
                         const char *trouble)
{
    if (!strstr(trouble, IN_USE))
        tell(m, o, s, "error", "%s", trouble);
    else
        tell(
            m, o, s, "conflict",
            "%s; a Listener with routing key %s can have another port, and skupper.io/service-host "
            "of the Site gives all services another address, as 127.0.0.2",
            trouble, s->address);
}

static void share_port(struct model *m, const struct obstacles *o, const struct shared *s)
{
    struct thing scratch = {.kind = NULL}; // for what TLS has to say
    const char *profile, *trouble;
    bool is_ok;
    char *name;

    if (!has_place(m, o, s))
        return;
    is_ok = shared_profile(m, s, &scratch, &profile);
    name = str_fmt(SITE_SHARED_LISTENER "%s", s->key);
    trouble = entity_trouble(m, "tcpListener", name);
    if (!is_ok) {
        tell(m, o, s, "error", "%s", cond_message(&scratch, "Configured"));
    } else {
        put_listener(m, o, s, name, profile);
        if (trouble)
            tell_trouble(m, o, s, trouble);
        else
            tell(m, o, s, "shared", "%s",
                 network_has(m->network.connectors, s->key) || entity_is_up(m, "tcpListener", name)
                     ? "OK"
                     : "No matching connectors");
    }
    free(name);
    cond_free(&scratch);
}

static void share_service(struct model *m, const struct obstacles *o, struct shared *s)
{
    int64_t ports[PORTS_MAX];
    size_t count = ports_of(s->service, ports);

    for (size_t i = 0; i < count && json_array_size(m->out->services) < SITE_SERVICES_MAX; i++) {
        s->port = ports[i];
        s->key = key_of(s->address, s->port);
        share_port(m, o, s);
        free(s->key);
    }
}

// The services of one origin, by address; the first origin of an address wins.
static void share_origin(struct model *m, const struct obstacles *o, const json_t *origin,
                         json_t *seen)
{
    json_t *by_address = json_object(), *v;
    const char **keys;
    size_t i;

    json_array_foreach(json_object_get(origin, "services"), i, v)
    {
        if (site_is_name(str_of(site_text(v, "address"))))
            json_object_set(by_address, site_text(v, "address"), v);
    }
    keys = sorted_keys(by_address);
    for (i = 0; keys[i]; i++) {
        struct shared s = {.origin = origin, .address = keys[i]};

        s.service = json_object_get(by_address, keys[i]);
        if (!json_object_get(seen, keys[i]))
            share_service(m, o, &s);
        json_object_set_new(seen, keys[i], json_true());
    }
    free(keys);
    json_decref(by_address);
}

void share_listen(struct model *m)
{
    json_t *origins, *seen, *origin;
    struct obstacles o;
    size_t i;

    find_obstacles(m, &o);
    if (is_off(m)) {
        obstacles_free(&o);
        return;
    }
    origins = sorted_origins(m);
    seen = json_object();
    json_array_foreach(origins, i, origin) share_origin(m, &o, origin, seen);
    if (json_array_size(m->out->services) >= SITE_SERVICES_MAX)
        site_warning(
            m, "metadata.annotations.skupper.io/service-sync",
            "other sites share more services than one site can take; the rest is left out");
    obstacles_free(&o);
    json_decref(seen);
    json_decref(origins);
}
