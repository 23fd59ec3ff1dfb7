// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "node/service.h"

// Entities made to run: a listener gets a socket, a connector its connections, an address its rule.
// Used for the configuration at start and for management later, so that both mean the same.

enum router_role node_role(const struct mgmt_entity *e)
{
    struct str role = mgmt_entity_str(e, "role");

    for (int i = ROUTER_ROLE_NORMAL; i <= ROUTER_ROLE_INTER_NETWORK; i++)
        if (str_is(role, router_role_name((enum router_role)i)))
            return (enum router_role)i;
    return ROUTER_ROLE_NORMAL;
}

static int family_of(const struct mgmt_entity *e)
{
    struct str family = mgmt_entity_str(e, "socketAddressFamily");

    if (str_is_nocase(family, "IPv4"))
        return AF_INET;
    return str_is_nocase(family, "IPv6") ? AF_INET6 : AF_UNSPEC;
}

struct list *node_parts(struct node *n, const char *type)
{
    if (strcmp(type, "sslProfile") == 0)
        return &n->profiles;
    if (strcmp(type, "proxyProfile") == 0)
        return &n->proxies;
    if (strcmp(type, "listener") == 0)
        return &n->listeners;
    if (strcmp(type, "connector") == 0)
        return &n->connectors;
    if (strcmp(type, "tcpListener") == 0)
        return &n->tcp_listeners;
    if (strcmp(type, "tcpConnector") == 0)
        return &n->tcp_connectors;
    if (strcmp(type, "listenerAddress") == 0)
        return &n->listener_addresses;
    return strcmp(type, "router.config.address") == 0 ? &n->addresses : NULL;
}

// Where a part is found by: its list, and its name or identity.
static char *key_text(const struct list *parts, const char *what, struct str id)
{
    return str_fmt("%p %s %.*s", (const void *)parts, what, STR_ARG(id));
}

static struct part *look_up(const struct node *n, const struct list *parts, const char *what,
                            struct str id)
{
    char *key = key_text(parts, what, id);
    struct part *p = map_get(&n->parts, str_of(key));

    free(key);
    return p;
}

struct part *node_find(const struct node *n, const struct list *parts, struct str id)
{
    struct part *p = id.len > 0 ? look_up(n, parts, "name", id) : NULL;

    return p || id.len == 0 ? p : look_up(n, parts, "identity", id);
}

static void register_part(struct part *p, struct list *parts)
{
    char *name = key_text(parts, "name", str_of(p->name));
    char *identity = key_text(parts, "identity", str_of(p->identity));

    list_append(parts, &p->on_node);
    map_put(&p->node->parts, str_of(name), p);
    map_put(&p->node->parts, str_of(identity), p);
    free(name);
    free(identity);
}

static void unregister_part(struct part *p)
{
    const struct list *parts = node_parts(p->node, p->entity->type->name);
    char *name = key_text(parts, "name", str_of(p->name));
    char *identity = key_text(parts, "identity", str_of(p->identity));

    if (!list_empty(&p->on_node)) {
        list_remove(&p->on_node);
        map_remove(&p->node->parts, str_of(name));
        map_remove(&p->node->parts, str_of(identity));
    }
    free(name);
    free(identity);
}

static struct part *part_new(struct node *n, const struct mgmt_entity *e)
{
    struct part *p = xcalloc(1, sizeof(*p));

    p->node = n;
    p->entity = mgmt_entity_copy(e);
    p->identity = mgmt_entity_identity(e);
    p->name = xstrdup(mgmt_entity_cstr(e, "name") ? mgmt_entity_cstr(e, "name") : p->identity);
    list_init(&p->on_node);
    list_init(&p->linked);
    return p;
}

static void free_entrances(struct part *p)
{
    if (p->entrance_count == 0)
        return;
    workers_hold(p->node, true);
    for (int i = 0; i < p->entrance_count; i++)
        net_listener_free(p->entrances[i].listener);
    workers_hold(p->node, false);
    free(p->entrances);
    p->entrances = NULL;
    p->entrance_count = 0;
}

static void free_dials(struct dial *dials, int count)
{
    for (int i = 0; i < count; i++)
        net_connector_free(dials[i].connector);
    free(dials);
}

static bool has_stream(const struct former *f)
{
    for (int i = 0; i < f->dial_count; i++)
        if (net_connector_has_stream(f->dials[i].connector))
            return true;
    return false;
}

// Those that have no connection any more, or all.
static void free_former(struct part *p, bool all)
{
    struct former **at = &p->former;

    while (*at) {
        struct former *f = *at;

        if (!all && has_stream(f)) {
            at = &f->next;
            continue;
        }
        *at = f->next;
        free_dials(f->dials, f->dial_count);
        free(f);
    }
}

static void part_free(struct part *p)
{
    if (!p)
        return;
    unregister_part(p);
    telemetry_remove(p);
    service_stop(p);
    service_address_stop(p);
    free_entrances(p);
    free_former(p, true);
    free_dials(p->dials, p->dial_count);
    net_tls_unref(p->tls);
    net_proxy_unref(p->proxy);
    amqp_val_free(p->failover);
    amqp_val_free(p->alternates);
    mgmt_entity_free(p->entity);
    free(p->identity);
    free(p->name);
    free(p);
}

static struct net_tls_opts profile_opts(const struct part *profile)
{
    return (struct net_tls_opts){
        .name = profile->name,
        .ca_file = mgmt_entity_cstr(profile->entity, "caCertFile"),
        .cert_file = mgmt_entity_cstr(profile->entity, "certFile"),
        .key_file = mgmt_entity_cstr(profile->entity, "privateKeyFile"),
        .password = mgmt_entity_cstr(profile->entity, "password"),
        .ciphers = mgmt_entity_cstr(profile->entity, "ciphers"),
        .protocols = mgmt_entity_cstr(profile->entity, "protocols"),
        .is_bulk = true,
    };
}

static void remember_profile(struct part *p, const struct part *profile)
{
    p->ordinal = mgmt_entity_int(profile->entity, "ordinal", 0);
    p->has_certificate = mgmt_entity_cstr(profile->entity, "certFile") != NULL;
}

// Files that are not there are the fault of who names them.
static int read_profile(const struct net_tls_opts *opts, struct net_tls **out, struct why *why)
{
    int err = net_tls_new(opts, out, why);

    return err == ERR_IO ? ERR_INVALID : err;
}

static int tls_with(const struct part *p, const struct part *profile, struct net_tls **out,
                    struct why *why)
{
    struct net_tls_opts opts = profile_opts(profile);

    opts.is_server = strcmp(p->entity->type->name, "listener") == 0;
    opts.require_peer =
        opts.is_server && (mgmt_entity_bool(p->entity, "authenticatePeer") ||
                           str_is(mgmt_entity_str(p->entity, "saslMechanisms"), "EXTERNAL"));
    return read_profile(&opts, out, why);
}

// The TLS that an entity's sslProfile asks for; none without one.
static int make_tls(struct part *p, struct why *why)
{
    struct str name = mgmt_entity_str(p->entity, "sslProfile");
    const struct part *profile = node_find(p->node, &p->node->profiles, name);

    if (name.len == 0)
        return 0;
    if (!profile) {
        why_set(why, "sslProfile '%.*s' does not exist; create it first", STR_ARG(name));
        return ERR_INVALID;
    }
    remember_profile(p, profile);
    return tls_with(p, profile, &p->tls, why);
}

int node_service_tls(const struct part *p, bool is_server, struct net_tls **out, struct why *why)
{
    struct str name = mgmt_entity_str(p->entity, "sslProfile");
    const struct part *profile = node_find(p->node, &p->node->profiles, name);
    struct net_tls_opts opts;

    if (name.len == 0)
        return 0;
    if (!profile) {
        why_set(why, "sslProfile '%.*s' does not exist; create it first", STR_ARG(name));
        return ERR_INVALID;
    }
    opts = profile_opts(profile);
    opts.is_server = opts.offer_http = is_server;
    opts.require_peer = is_server && mgmt_entity_bool(p->entity, "authenticatePeer");
    return net_tls_new(&opts, out, why);
}

// A role must fit the mode of the router.
static int check_role(const struct part *p, struct why *why)
{
    enum router_role role = node_role(p->entity);
    struct str mode = mgmt_entity_str(p->node->router_entity, "mode");
    const char *needed = NULL;

    if (role == ROUTER_ROLE_INTER_ROUTER && !str_is(mode, "interior"))
        needed = "interior";
    else if (role == ROUTER_ROLE_EDGE && str_is(mode, "standalone"))
        needed = "interior or edge";
    else if (role == ROUTER_ROLE_INTER_EDGE && !str_is(mode, "edge"))
        needed = "edge";
    if (!needed)
        return 0;
    why_set(why, "role: %s needs a router whose mode is %s; this one's is %.*s",
            router_role_name(role), needed, STR_ARG(mode));
    return ERR_INVALID;
}

// An accepted socket goes to the worker that should have it; HTTP stays here.
static bool divert(void *user, int fd)
{
    struct entrance *e = user;
    struct part *p = e->part;
    struct worker *w = NULL;

    if (node_role(p->entity) != ROUTER_ROLE_NORMAL || mgmt_entity_bool(p->entity, "http"))
        return false;
    w = workers_place(p->node);
    if (w->index == 0)
        return false;
    worker_give(w, p->entrances[w->index].listener, fd);
    return true;
}

static int open_entrances(struct part *p, struct net_listener_opts *opts, struct why *why)
{
    struct node *n = p->node;
    int err = 0;

    p->entrances = xcalloc((size_t)n->worker_count, sizeof(*p->entrances));
    workers_hold(n, true);
    for (int i = 0; err == 0 && i < n->worker_count; i++) {
        struct entrance *e = &p->entrances[p->entrance_count++];

        *e = (struct entrance){.part = p, .worker = &n->workers[i]};
        opts->is_adopting = i > 0;
        opts->accept = (struct net_accept){.ready = peer_accepted,
                                           .divert = i == 0 ? divert : NULL,
                                           .failed = peer_refused,
                                           .is_full = peer_is_full,
                                           .paused = peer_paused,
                                           .user = e};
        err = net_listener_new(e->worker->loop, opts, &e->listener, why);
    }
    workers_hold(n, false);
    return err;
}

static int start_listener(struct part *p, struct why *why)
{
    const struct mgmt_entity *e = p->entity;
    int err = check_role(p, why);

    if (err == 0)
        err = failover_parse(e, "failoverUrls", &p->failover, why);
    if (err == 0)
        err = make_tls(p, why);
    if (err < 0)
        return err;

    struct net_listener_opts opts = {
        .host = mgmt_entity_cstr(e, "host"),
        .port = mgmt_entity_cstr(e, "port"),
        .family = family_of(e),
        .tls = p->tls,
        .tls_optional =
            p->tls && node_role(e) == ROUTER_ROLE_NORMAL && !mgmt_entity_bool(e, "requireSsl") &&
            !mgmt_entity_bool(e, "requireEncryption") && !mgmt_entity_bool(e, "authenticatePeer"),
    };

    err = open_entrances(p, &opts, why);
    if (err == 0)
        log_write(LOG_CONN_MGR, LOG_INFO, "listening name=%s host=%s port=%d role=%s", p->name,
                  opts.host ? opts.host : "", net_listener_port(p->entrances[0].listener),
                  router_role_name(node_role(e)));
    return err;
}

static int start_dial(struct part *p, struct dial *d, enum router_role role, struct why *why)
{
    const struct mgmt_entity *e = p->entity;
    struct net_connector_opts opts = {
        .host = mgmt_entity_cstr(e, "host"),
        .port = mgmt_entity_cstr(e, "port"),
        .family = family_of(e),
        .tls = p->tls,
        .proxy = p->proxy,
        .verify_host = mgmt_entity_bool(e, "verifyHostname"),
        .connect = {.ready = peer_connected, .failed = peer_failed, .user = d},
    };

    d->part = p;
    d->role = role;
    d->ordinal = p->ordinal;
    int err = net_connector_new(p->node->loop, &opts, &d->connector, why);

    if (err == 0)
        failover_begin(d);
    return err;
}

static int start_dials(struct part *p, struct why *why)
{
    enum router_role role = node_role(p->entity);
    int data = role == ROUTER_ROLE_INTER_ROUTER ? p->node->data_connections : 0, err = 0;

    p->dials = xcalloc((size_t)data + 1, sizeof(*p->dials));
    p->dial_count = 0;
    for (int i = 0; err == 0 && i < 1 + data; i++) {
        err = start_dial(p, &p->dials[i], i == 0 ? role : ROUTER_ROLE_INTER_ROUTER_DATA, why);
        p->dial_count += err == 0;
    }
    return err;
}

static int make_proxy(const struct mgmt_entity *e, const char *name, struct net_proxy **out,
                      struct why *why)
{
    struct net_proxy_opts opts = {
        .name = name,
        .host = mgmt_entity_cstr(e, "host"),
        .port = mgmt_entity_cstr(e, "port"),
        .username = mgmt_entity_cstr(e, "username"),
        .password = mgmt_entity_cstr(e, "password"),
    };

    return net_proxy_new(&opts, out, why);
}

// The proxy that the connector's proxyProfile names; none without one.
static int take_proxy(struct part *p, struct why *why)
{
    struct str name = mgmt_entity_str(p->entity, "proxyProfile");
    const struct part *profile = node_find(p->node, &p->node->proxies, name);

    if (name.len > 0 && !profile) {
        why_set(why, "proxyProfile '%.*s' does not exist; create it first", STR_ARG(name));
        return ERR_INVALID;
    }
    p->proxy = profile ? net_proxy_ref(profile->proxy) : NULL;
    return 0;
}

static int start_connector(struct part *p, struct why *why)
{
    int err = check_role(p, why);

    if (err == 0)
        err = take_proxy(p, why);
    if (err == 0)
        err = failover_parse(p->entity, "alternates", &p->alternates, why);
    if (err == 0)
        err = make_tls(p, why);
    rng_id(&p->node->rng, p->correlator);
    return err == 0 ? start_dials(p, why) : err;
}

// Connections that newer ones take over from.
static bool is_rotated(const struct part *p)
{
    enum router_role role = node_role(p->entity);

    return role == ROUTER_ROLE_INTER_ROUTER || role == ROUTER_ROLE_EDGE;
}

// A newer certificate: a second set of connections of the same group. When it is up, it takes over
// (router/network.c, edge.c) and the first one ends; nothing is interrupted. Likewise, with a group
// of their own, connections to another router than one that ends.
static int renew_connector(struct part *p, struct why *why)
{
    struct former *f = xcalloc(1, sizeof(*f));

    free_former(p, false);
    for (int i = 0; i < p->dial_count; i++)
        net_connector_retire(p->dials[i].connector);
    *f = (struct former){p->former, p->dials, p->dial_count};
    p->former = f;
    return start_dials(p, why);
}

void node_dial_anew(struct part *connector)
{
    struct why why = {0};

    rng_id(&connector->node->rng, connector->correlator);
    if (renew_connector(connector, &why) < 0)
        log_write(LOG_CONN_MGR, LOG_WARNING, "connector %s: %s", connector->name, why.text);
}

void node_refuse_routers(struct node *n)
{
    list_for_each (node, &n->listeners) {
        struct part *p = list_entry(node, struct part, on_node);

        if (node_role(p->entity) != ROUTER_ROLE_NORMAL)
            free_entrances(p);
    }
}

static enum router_treatment treatment_of(const struct mgmt_entity *e)
{
    static const struct {
        const char *name;
        enum router_treatment treatment;
    } names[] = {
        {"multicast", ROUTER_MULTICAST},     {"closest", ROUTER_CLOSEST},
        {"balanced", ROUTER_BALANCED},       {"flood", ROUTER_FLOOD},
        {"unavailable", ROUTER_UNAVAILABLE},
    };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (str_is(mgmt_entity_str(e, "distribution"), names[i].name))
            return names[i].treatment;
    return ROUTER_BALANCED;
}

static int start_address(struct part *p, struct why *why)
{
    struct str prefix = mgmt_entity_str(p->entity, "prefix");
    struct str pattern = mgmt_entity_str(p->entity, "pattern");
    int err;

    err = router_address_config(p->node->router, prefix.len > 0 ? prefix : pattern, prefix.len > 0,
                                treatment_of(p->entity),
                                (int)mgmt_entity_int(p->entity, "priority", -1));
    if (err < 0)
        why_set(why, "%s: %s", prefix.len > 0 ? "prefix" : "pattern",
                err == ERR_EXISTS  ? "another address has the same"
                : err == ERR_LIMIT ? "there are as many addresses as a router takes"
                                   : "it is empty, or too long");
    return err;
}

static int start(struct part *p, struct why *why)
{
    const char *type = p->entity->type->name;

    if (strcmp(type, "listener") == 0)
        return start_listener(p, why);
    if (strcmp(type, "proxyProfile") == 0)
        return make_proxy(p->entity, p->name, &p->proxy, why);
    if (strcmp(type, "connector") == 0)
        return start_connector(p, why);
    if (strcmp(type, "router.config.address") == 0)
        return start_address(p, why);
    if (strcmp(type, "tcpListener") == 0 || strcmp(type, "tcpConnector") == 0)
        return service_start(p, why);
    if (strcmp(type, "listenerAddress") == 0)
        return service_address_start(p, why);
    // A profile is read when it is used, but a bad one should be told at once.
    struct net_tls_opts opts = profile_opts(p);
    struct net_tls *tls = NULL;
    int err = read_profile(&opts, &tls, why);

    net_tls_unref(tls);
    return err;
}

int node_add(struct node *n, const struct mgmt_entity *e, struct why *why)
{
    struct list *parts = node_parts(n, e->type->name);
    struct part *p = NULL;
    int err;

    if (!parts) {
        why_set(why, "entities of type %s are not served by this router yet", e->type->name);
        return ERR_UNSUPPORTED;
    }
    p = part_new(n, e);
    if (node_find(n, parts, str_of(p->name))) {
        why_set(why, "the name '%s' is in use for another %s", p->name, e->type->name);
        part_free(p);
        return ERR_EXISTS;
    }
    err = start(p, why);
    if (err < 0) {
        if (parts != &n->profiles && parts != &n->proxies) // whose words name it
            why_prefix(why, "%s '%s'", e->type->name, p->name);
        part_free(p);
        return err;
    }
    register_part(p, parts);
    telemetry_add(p);
    return 0;
}

// Makes with the new values what the old ones were used for; all of it, or nothing changes.
static int refresh(struct node *n, const struct part *profile, struct part **users, size_t count,
                   struct why *why)
{
    struct net_tls **fresh = xcalloc(count + 1, sizeof(struct net_tls *));
    int err = 0;

    for (size_t i = 0; i < count && err == 0; i++) {
        err = tls_with(users[i], profile, &fresh[i], why);
        if (err < 0)
            why_prefix(why, "%s '%s'", users[i]->entity->type->name, users[i]->name);
    }
    workers_hold(n, true);
    for (size_t i = 0; i < count && err == 0; i++) {
        int64_t before = users[i]->ordinal;

        net_tls_swap(users[i]->tls, fresh[i]);
        remember_profile(users[i], profile);
        if (users[i]->dials && users[i]->ordinal > before && is_rotated(users[i]))
            err = renew_connector(users[i], why);
        for (int w = 0; w < n->worker_count; w++)
            router_drop_older(n->workers[w].router, users[i]->name,
                              (uint64_t)mgmt_entity_int(profile->entity, "oldestValidOrdinal", 0));
    }
    workers_hold(n, false);
    for (size_t i = 0; i < count; i++)
        net_tls_unref(fresh[i]);
    free(fresh);
    return err;
}

int node_update_profile(struct node *n, struct part *profile, struct mgmt_entity *take,
                        struct why *why)
{
    struct mgmt_entity *old = profile->entity;
    struct list *lists[] = {&n->listeners, &n->connectors};
    struct part **users = NULL;
    size_t count = 0;
    int err;

    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        list_for_each (node, lists[i]) {
            struct part *p = list_entry(node, struct part, on_node);

            if (!p->tls ||
                node_find(n, &n->profiles, mgmt_entity_str(p->entity, "sslProfile")) != profile)
                continue;
            users = xrealloc(users, count + 1, sizeof(*users));
            users[count++] = p;
        }
    }
    profile->entity = take;
    err = start(profile, why);
    if (err == 0)
        err = refresh(n, profile, users, count, why);
    if (err == 0)
        services_use_profile(n, profile);
    if (err == 0)
        telemetry_renewed(profile);
    if (err < 0)
        profile->entity = old;
    mgmt_entity_free(err < 0 ? take : old);
    free(users);
    return err;
}

static void use_proxy(struct part *connector, struct net_proxy *proxy)
{
    net_proxy_ref(proxy);
    net_proxy_unref(connector->proxy);
    connector->proxy = proxy;
    for (int i = 0; i < connector->dial_count; i++)
        net_connector_set_proxy(connector->dials[i].connector, proxy);
}

int node_update_proxy(struct node *n, struct part *profile, struct mgmt_entity *take,
                      struct why *why)
{
    struct net_proxy *proxy;
    int err = make_proxy(take, profile->name, &proxy, why);

    if (err < 0) {
        mgmt_entity_free(take);
        return err;
    }
    list_for_each (node, &n->connectors) {
        struct part *p = list_entry(node, struct part, on_node);

        if (node_find(n, &n->proxies, mgmt_entity_str(p->entity, "proxyProfile")) == profile)
            use_proxy(p, proxy);
    }
    net_proxy_unref(profile->proxy);
    profile->proxy = proxy;
    mgmt_entity_free(profile->entity);
    profile->entity = take;
    return 0;
}

int node_remove(struct node *n, struct list *parts, struct str identity, struct why *why)
{
    struct part *p = node_find(n, parts, identity);

    if (!p) {
        why_set(why, "there is no '%.*s'; query the type for the names there are",
                STR_ARG(identity));
        return ERR_NOT_FOUND;
    }
    if (parts == &n->addresses) {
        struct str prefix = mgmt_entity_str(p->entity, "prefix");

        router_address_unconfig(n->router,
                                prefix.len > 0 ? prefix : mgmt_entity_str(p->entity, "pattern"),
                                prefix.len > 0);
    }
    part_free(p);
    return 0;
}

void node_remove_all(struct node *n)
{
    struct list *all[] = {&n->listener_addresses, &n->tcp_listeners, &n->tcp_connectors,
                          &n->connectors,         &n->listeners,     &n->addresses,
                          &n->profiles,           &n->proxies};

    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        while (!list_empty(all[i])) // Who is freed leaves it. NOLINTNEXTLINE(*-unix.Malloc)
            part_free(list_entry(all[i]->next, struct part, on_node));
}
