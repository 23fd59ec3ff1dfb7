// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "node/service.h"

// TCP services: a tcpListener has a socket only while one of its addresses has a consumer
// somewhere; a tcpConnector consumes its address only while its server answers. What goes wrong is
// a status, and is tried again: a port in use, a profile that cannot be read, a server that
// refuses.

enum { PAUSE_MIN_MS = 100, PAUSE_MAX_MS = 5000 };

static void set_status(struct service *s, const char *status)
{
    uint32_t skipped;

    if (strcmp(s->status, status) == 0)
        return;
    strncpy(s->status, status, WHY_MAX - 1);
    if (s->part && log_limit_pass(&s->lines, 10, net_loop_now(s->node->loop), &skipped))
        log_write(LOG_TCP_ADAPTOR, status[0] ? LOG_WARNING : LOG_INFO, "%s %s: %s",
                  s->is_listener ? "tcpListener" : "tcpConnector", s->part->name,
                  status[0] ? status : "all is well again");
}

static void try_again(struct service *s, struct mono now)
{
    net_timer_set(s->node->loop, &s->timer, mono_add_ms(now, s->pause_ms));
    s->pause_ms = s->pause_ms * 2 > PAUSE_MAX_MS ? PAUSE_MAX_MS : s->pause_ms * 2;
}

static uint32_t seconds_ms(const struct service *s, const char *attr)
{
    return (uint32_t)(mgmt_entity_int(s->part->entity, attr, 0) * 1000);
}

// What an update may change, for new connections.
static void set_options(struct service *s)
{
    struct str observer = mgmt_entity_str(s->part->entity, "observer");

    s->is_looking = observer.len > 0 && !str_is(observer, "none");
    s->look_as = str_is(observer, "http1")   ? HTTP_OBSERVE_1
                 : str_is(observer, "http2") ? HTTP_OBSERVE_2
                                             : HTTP_OBSERVE_AUTO;
    s->tcp.idle_ms = seconds_ms(s, "idleTimeoutSeconds");
    s->tcp.half_closed_ms = seconds_ms(s, "halfClosedTimeoutSeconds");
}

static bool make_tls(struct service *s)
{
    struct why why = {""};

    if (s->tls || node_service_tls(s->part, s->is_listener, &s->tls, &why) == 0)
        return true;
    set_status(s, why.text);
    return false;
}

// New connections use the new certificates; what cannot be used is told and changes nothing.
static void renew_tls(struct service *s)
{
    struct net_tls *fresh = NULL;
    struct why why = {""};

    if (node_service_tls(s->part, s->is_listener, &fresh, &why) < 0) {
        set_status(s, why.text);
        return;
    }
    net_tls_swap(s->tls, fresh);
    net_tls_unref(fresh);
}

// -------------------------------------------------------------------------------------- listeners

static bool is_reachable(const struct service *s)
{
    list_for_each (node, &s->addresses)
        if (list_entry(node, struct service_address, on_service)->watcher.is_reachable)
            return true;
    return false;
}

static void name_found(void *user, const struct net_addresses *addresses, const char *why,
                       struct mono now);

// The host's addresses are lent; NULL: not looked up yet.
static void open_door(struct service *s, const struct net_addresses *addresses)
{
    const struct mgmt_entity *e = s->part->entity;
    struct why why = {""};
    struct net_listener_opts opts = {
        .host = mgmt_entity_cstr(e, "host"),
        .port = mgmt_entity_cstr(e, "port"),
        .addresses = addresses,
        .is_quick = true,
        .tls = s->tls,
        .backlog = (int)mgmt_entity_int(e, "backlog", 0),
        .keepalive_s = (uint32_t)mgmt_entity_int(e, "keepAliveSeconds", 0),
        .accept = {.ready = service_accepted,
                   .failed = service_refused,
                   .is_full = service_is_full,
                   .paused = service_paused,
                   .user = s},
    };
    int err = net_listener_new(s->node->loop, &opts, &s->listener, &why);

    if (err == ERR_AGAIN) {
        s->name = net_name_find(s->node->loop, opts.host, opts.port, name_found, s);
        return;
    }
    if (err < 0) {
        set_status(s, why.text);
        return;
    }
    s->pause_ms = PAUSE_MIN_MS;
    set_status(s, "");
    log_write(LOG_TCP_ADAPTOR, LOG_INFO, "listening name=%s host=%s port=%d", s->part->name,
              opts.host ? opts.host : "", net_listener_port(s->listener));
}

static void name_found(void *user, const struct net_addresses *addresses, const char *words,
                       struct mono now)
{
    struct service *s = user;
    struct why why = {""};

    s->name = NULL;
    if (addresses) {
        open_door(s, addresses);
    } else {
        why_set(&why, "host '%s' cannot be looked up: %s",
                mgmt_entity_cstr(s->part->entity, "host"), words);
        set_status(s, why.text);
    }
    if (!s->listener)
        try_again(s, now);
}

static void update_listener(struct service *s, struct mono now)
{
    bool is_leaving = s->node->drain.is_leaving;
    bool wanted = s->part && !is_leaving && is_reachable(s);

    if (!wanted) {
        bool was_open = s->listener != NULL;

        net_name_cancel(s->name);
        s->name = NULL;
        net_listener_free(s->listener);
        s->listener = NULL;
        s->pause[0] = '\0';
        if (was_open && s->part)
            log_write(LOG_TCP_ADAPTOR, LOG_INFO, "not listening name=%s: %s", s->part->name,
                      is_leaving ? "the router is ending" : "no consumer");
        net_timer_cancel(s->node->loop, &s->timer);
        return;
    }
    if (s->listener || s->name)
        return;
    if (make_tls(s))
        open_door(s, NULL);
    if (!s->listener && !s->name)
        try_again(s, now);
}

void service_changed(struct service *s)
{
    if (list_empty(&s->on_changed))
        list_append(&s->node->changed_services, &s->on_changed);
}

static void watched(struct router_watcher *w)
{
    service_changed(list_entry(w, struct service_address, watcher)->service);
}

static int add_address(struct service *s, struct str text, int64_t value, struct part *part,
                       struct why *why)
{
    struct service_address *a = xcalloc(1, sizeof(*a));

    a->service = s;
    a->text = str_dup(text);
    a->value = value;
    a->part = part;
    a->watcher.changed = watched;
    if (router_watcher_open(s->node->router, &a->watcher, text) < 0) {
        why_set(why, "address '%s' is longer than 1024 bytes or empty", a->text);
        free(a->text);
        free(a);
        return ERR_INVALID;
    }
    if (part)
        part->address = a;
    list_append(&s->addresses, &a->on_service);
    service_changed(s);
    return 0;
}

static void remove_address(struct service_address *a)
{
    service_changed(a->service);
    flows_forget_address(a->service->node, a);
    if (a->part) {
        telemetry_remove(a->part);
        a->part->address = NULL;
    }
    router_watcher_close(a->service->node->router, &a->watcher);
    list_remove(&a->on_service);
    free(a->text);
    free(a);
}

// The reachable address with the highest value, or one by lot with the values as weights.
struct service_address *service_choose(struct service *s)
{
    bool by_weight =
        s->part && str_is(mgmt_entity_str(s->part->entity, "multiAddressStrategy"), "weighted");
    struct service_address *best = NULL;
    uint64_t sum = 0;

    list_for_each (node, &s->addresses) {
        struct service_address *a = list_entry(node, struct service_address, on_service);
        uint64_t weight = (uint64_t)a->value;

        if (!a->watcher.is_reachable)
            continue;
        sum += weight;
        if (!best || (by_weight ? sum > 0 && rng_next(&s->node->rng) % sum < weight
                                : a->value > best->value))
            best = a;
    }
    return best;
}

static int start_listener(struct service *s, struct why *why)
{
    const struct mgmt_entity *e = s->part->entity;
    struct str address = mgmt_entity_str(e, "address");
    bool has_strategy = !str_is(mgmt_entity_str(e, "multiAddressStrategy"), "none");

    if (has_strategy == (address.len > 0)) {
        why_set(why, has_strategy ? "address has no meaning with a multiAddressStrategy: create a "
                                    "listenerAddress for each address"
                                  : "address is needed (or a multiAddressStrategy)");
        return ERR_INVALID;
    }
    return address.len > 0 ? add_address(s, address, 0, NULL, why) : 0;
}

// ------------------------------------------------------------------------------------- connectors

static bool make_target(struct service *s)
{
    const struct mgmt_entity *e = s->part->entity;
    struct why why = {""};
    struct net_target_opts opts = {
        .host = mgmt_entity_cstr(e, "host"),
        .port = mgmt_entity_cstr(e, "port"),
        .verify_host = mgmt_entity_bool(e, "verifyHostname"),
        .connect_ms = seconds_ms(s, "connectTimeoutSeconds"),
        .keepalive_s = (uint32_t)mgmt_entity_int(e, "keepAliveSeconds", 0),
    };

    if (s->target)
        return true;
    if (!make_tls(s))
        return false;
    opts.tls = s->tls;
    if (net_target_new(s->node->loop, &opts, &s->target, &why) == 0)
        return true;
    set_status(s, why.text);
    return false;
}

static void set_out(struct service *s, bool is_out)
{
    s->is_out = is_out;
    tcp_connector_set_out(&s->connector, is_out);
    if (is_out)
        return;
    s->pause_ms = PAUSE_MIN_MS;
    set_status(s, "");
}

static void probe(struct service *s, struct mono now);

// Since a call began that got no answer in time, the server has answered others: it lives, with
// more callers than it can take.
static bool is_crowded(const struct service *s, enum net_fault fault, struct mono now)
{
    int64_t patience_ms = seconds_ms(s, "connectTimeoutSeconds");

    return fault == NET_FAULT_LATE && mono_before(mono_add_ms(now, -patience_ms), s->answered_at);
}

void service_server_failed(struct service *s, enum net_fault fault, const char *why,
                           struct mono now)
{
    set_status(s, why);
    if (!s->part || s->is_out || fault == NET_FAULT_OURS || is_crowded(s, fault, now) ||
        !mgmt_entity_bool(s->part->entity, "healthCheck"))
        return;
    if (fault == NET_FAULT_OFFER) { // no client may take a server out by what it asks for
        if (!s->probe)
            probe(s, now);
        return;
    }
    set_out(s, true);
    try_again(s, now);
}

void service_server_answered(struct service *s, struct mono now)
{
    s->answered_at = now;
    if (!s->is_out)
        set_status(s, "");
}

static void *probe_ready(void *user, struct net_stream *stream, const struct net_engine_ops **ops,
                         struct mono now)
{
    struct service *s = user;

    (void)stream;
    (void)ops;
    (void)now;
    s->probe = NULL;
    set_out(s, false);
    return NULL;
}

static void probe_failed(void *user, enum net_fault fault, const char *why, struct mono now)
{
    struct service *s = user;

    s->probe = NULL;
    set_status(s, why);
    if (fault != NET_FAULT_OURS && !s->is_out)
        set_out(s, true);
    try_again(s, now);
}

// What was read from files may have been the cause.
static void probe(struct service *s, struct mono now)
{
    struct net_dialling dialling = {.ready = probe_ready, .failed = probe_failed, .user = s};

    if (s->tls)
        renew_tls(s);
    if (make_target(s))
        s->probe = net_dial(s->target, &dialling, NULL);
    else
        try_again(s, now);
}

static int start_connector(struct service *s, struct why *why)
{
    struct str address = mgmt_entity_str(s->part->entity, "address");
    int err = tcp_connector_open(s->node->tcp, &s->connector, &s->tcp, address);

    if (err < 0) {
        why_set(why, "address '%.*s' cannot be consumed: it is this router's own, or unavailable",
                STR_ARG(address));
        return err;
    }
    if (!make_target(s)) {
        s->is_out = true;
        tcp_connector_set_out(&s->connector, true);
        try_again(s, net_loop_now(s->node->loop));
    }
    return 0;
}

// --------------------------------------------------------------------------------------- both

static void due(void *user, struct mono now)
{
    struct service *s = user;

    if (s->is_listener)
        update_listener(s, now);
    else
        probe(s, now);
}

static void service_free(struct service *s)
{
    list_remove(&s->on_node);
    list_remove(&s->on_changed);
    net_timer_cancel(s->node->loop, &s->timer);
    net_name_cancel(s->name);
    net_listener_free(s->listener);
    net_target_free(s->target);
    net_tls_unref(s->tls);
    free(s);
}

int service_start(struct part *p, struct why *why)
{
    struct service *s = xcalloc(1, sizeof(*s));
    int err;

    tcp_service_init(&s->tcp);
    s->tcp.user = s;
    s->node = p->node;
    s->part = p;
    s->is_listener = strcmp(p->entity->type->name, "tcpListener") == 0;
    s->timer = (struct net_timer){.fire = due, .user = s};
    s->pause_ms = PAUSE_MIN_MS;
    list_init(&s->addresses);
    list_init(&s->on_changed);
    list_append(&p->node->services, &s->on_node);
    s->tcp.is_legacy = str_is(mgmt_entity_str(p->entity, "encapsulation"), "legacy");
    set_options(s);
    p->service = s;
    err = s->is_listener ? start_listener(s, why) : start_connector(s, why);
    return err;
}

void service_stop(struct part *p)
{
    struct service *s = p->service;
    bool drop = mgmt_entity_bool(p->node->router_entity, "dropTcpConnections");
    struct list *first;

    if (!s)
        return;
    p->service = NULL;
    s->part = NULL;
    service_changed(s);
    net_timer_cancel(s->node->loop, &s->timer);
    net_name_cancel(s->name);
    s->name = NULL;
    while ((first = list_pop(&s->addresses)) != NULL)
        remove_address(list_entry(first, struct service_address, on_service));
    net_listener_free(s->listener);
    s->listener = NULL;
    if (s->probe)
        net_dial_cancel(s->probe);
    s->probe = NULL;
    if (s->connector.consumer.link)
        tcp_connector_close(&s->connector);
    list_for_each (node, &s->tcp.conns)
        if (drop || !tcp_is_connected(tcp_on_service(node)))
            tcp_drop(tcp_on_service(node), "its service was deleted");
}

static struct service *listener_named(struct node *n, struct str name)
{
    struct part *p = node_find(n, &n->tcp_listeners, name);

    return p ? p->service : NULL;
}

int service_address_start(struct part *p, struct why *why)
{
    const struct mgmt_entity *e = p->entity;
    struct service *s = listener_named(p->node, mgmt_entity_str(e, "listener"));

    if (!s) {
        why_set(why, "there is no tcpListener '%.*s'", STR_ARG(mgmt_entity_str(e, "listener")));
        return ERR_NOT_FOUND;
    }
    if (str_is(mgmt_entity_str(s->part->entity, "multiAddressStrategy"), "none")) {
        why_set(why, "tcpListener '%s' has no multiAddressStrategy", s->part->name);
        return ERR_INVALID;
    }
    return add_address(s, mgmt_entity_str(e, "address"), mgmt_entity_int(e, "value", 0), p, why);
}

void service_address_stop(struct part *p)
{
    if (p->address)
        remove_address(p->address);
}

bool service_is_up(const struct service *s)
{
    return s->is_listener ? s->listener != NULL : !s->is_out;
}

const char *service_status(const struct service *s)
{
    if (s->status[0] || !s->is_listener)
        return s->status;
    return is_reachable(s) ? s->pause : "no consumer of the address is known in the network";
}

void service_updated(struct part *p)
{
    if (!p->service)
        return;
    set_options(p->service);
    tcp_service_changed(&p->service->tcp);
}

void services_use_profile(struct node *n, const struct part *profile)
{
    list_for_each (node, &n->services) {
        struct service *s = list_entry(node, struct service, on_node);

        if (s->tls && s->part &&
            node_find(n, &n->profiles, mgmt_entity_str(s->part->entity, "sslProfile")) == profile)
            renew_tls(s);
    }
}

void services_settle(struct node *n, struct mono now)
{
    struct tcp_conn *c;
    struct list *node;

    if (!n->tcp)
        return;
    while ((c = tcp_next_dirty(n->tcp)) != NULL)
        service_conn_changed(n, c);
    while ((node = list_pop(&n->changed_services)) != NULL) {
        struct service *s = list_entry(node, struct service, on_changed);

        if (s->is_listener)
            update_listener(s, now);
        if (!s->part && list_empty(&s->tcp.conns))
            service_free(s);
    }
}

// Its address is another router's alone from now on; who comes meanwhile is still served.
static void leave_to_others(struct service *s)
{
    const char *address = mgmt_entity_cstr(s->part->entity, "address");

    if (!s->connector.consumer.link || !router_is_elsewhere(s->node->router, address))
        return;
    net_timer_cancel(s->node->loop, &s->timer);
    if (s->probe)
        net_dial_cancel(s->probe);
    s->probe = NULL;
    set_out(s, true);
}

void services_leave(struct node *n)
{
    n->drain.is_leaving = true;
    list_for_each (node, &n->services) {
        struct service *s = list_entry(node, struct service, on_node);

        if (s->part && !s->is_listener)
            leave_to_others(s);
        service_changed(s);
    }
}

void services_free(struct node *n)
{
    while (!list_empty(&n->services)) {
        struct service *s = list_entry(n->services.next, struct service, on_node);

        while (!list_empty(&s->tcp.conns))
            tcp_lost(tcp_on_service(s->tcp.conns.next), "the router stops");
        service_free(s);
    }
    tcp_free(n->tcp);
    n->tcp = NULL;
}
