// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/map.h"
#include "base/mem.h"
#include "node/cpus.h"
#include "node/service.h"
#include "web/web.h"

// The running router: configuration in, sockets and a router that serve until told to stop.
//
//   node.c    start, stop, signals; the configuration is read whole and checked whole before
//             anything starts
//   parts.c   one entity (listener, connector, profile, address) made to run, or ended
//   peer.c    one AMQP connection between its socket and the router
//   worker.c  the threads: the first has everything, further ones serve clients (cpus.c: how many)
//   health.c  /healthz, whether it is ready, and /metrics
//   drain.c   when it is ready, and its end when connections are to come to theirs first
//   manage.c  the same entities as management sees them
//   telemetry.c  what collectors hear of them; flows.c  and of connections and requests

// What workerThreads says, else a worker for each CPU.
static int worker_count(const struct mgmt_entity *router)
{
    int64_t count = mgmt_entity_int(router, "workerThreads", cpus_usable());

    return count > ROUTER_SHARDS_MAX ? ROUTER_SHARDS_MAX + 1 : (int)count;
}

static int data_connection_count(const struct mgmt_entity *router, int workers)
{
    struct str count = mgmt_entity_str(router, "dataConnectionCount");
    char text[16] = "";

    if (count.len == 0 || str_is(count, "auto") || count.len >= sizeof(text))
        return (workers + 1) / 2;
    memcpy(text, count.ptr, count.len);
    return (int)strtol(text, NULL, 10);
}

static enum router_mode mode_of(const struct mgmt_entity *router)
{
    struct str mode = mgmt_entity_str(router, "mode");

    if (str_is(mode, "interior"))
        return ROUTER_INTERIOR;
    return str_is(mode, "edge") ? ROUTER_EDGE : ROUTER_STANDALONE;
}

static enum router_treatment default_treatment(const struct mgmt_entity *router)
{
    struct str name = mgmt_entity_str(router, "defaultDistribution");

    if (str_is(name, "multicast"))
        return ROUTER_MULTICAST;
    if (str_is(name, "closest"))
        return ROUTER_CLOSEST;
    return str_is(name, "unavailable") ? ROUTER_UNAVAILABLE : ROUTER_BALANCED;
}

static uint32_t interval_ms(const struct mgmt_entity *router, const char *attr)
{
    return (uint32_t)mgmt_entity_int(router, attr, 0) * 1000;
}

// A router that was given no name has a random one.
static void name_router(struct node *n)
{
    char id[RNG_ID_LEN + 1];
    struct amqp_val *v;

    if (mgmt_entity_cstr(n->router_entity, "id"))
        return;
    rng_id(&n->rng, id);
    v = amqp_val_string(str_of(id));
    mgmt_entity_set(n->router_entity, "id", v, MGMT_CREATE, NULL);
    amqp_val_free(v);
}

static int check_id(struct node *n, struct why *why)
{
    size_t len = strlen(mgmt_entity_cstr(n->router_entity, "id"));

    if (len <= ROUTER_ID_MAX)
        return 0;
    n->bad_line = n->router_entity->line;
    why_set(why, "router: id: it has %zu octets, and may have %d", len, ROUTER_ID_MAX);
    return ERR_INVALID;
}

static int make_router(struct node *n)
{
    const struct mgmt_entity *e = n->router_entity;

    struct router_opts opts = {
        .id = mgmt_entity_cstr(e, "id"),
        .mode = mode_of(e),
        .instance = (int64_t)time(NULL),
        .seed = rng_next(&n->rng),
        .default_treatment = default_treatment(e),
        .hello_interval_ms = interval_ms(e, "helloIntervalSeconds"),
        .hello_max_age_ms = interval_ms(e, "helloMaxAgeSeconds"),
        .ra_interval_ms = interval_ms(e, "raIntervalSeconds"),
        .ra_interval_flux_ms = interval_ms(e, "raIntervalFluxSeconds"),
        .remote_ls_max_age_ms = interval_ms(e, "remoteLsMaxAgeSeconds"),
        .version = n->version,
        .resident_bytes = mem_resident_bytes,
    };

    return workers_new(n, worker_count(e), &opts);
}

static void on_signal(void *user, int number, struct mono now)
{
    struct node *n = user;

    log_write(LOG_SERVER, LOG_INFO, "signal=%s", strsignal(number));
    if (number == SIGTERM && n->drain.all_ms > 0 && !n->drain.is_on) {
        drain_begin(n, now);
        return;
    }
    if (number != SIGHUP) {
        net_loop_stop(n->loop);
        return;
    }
    workers_hold(n, true); // nobody writes to a file that is being closed
    log_reopen();
    workers_hold(n, false);
}

static int set_log(const struct mgmt_entity *e, struct why *why)
{
    int err = 0;

    for (int m = 0; m < LOG_MODULE_COUNT && err == 0; m++) {
        if (str_is(mgmt_entity_str(e, "module"), log_module_name((enum log_module)m)))
            err = manage_set_log((enum log_module)m, mgmt_entity_get(e, "enable"),
                                 mgmt_entity_get(e, "outputFile"), why);
    }
    if (err < 0)
        why_prefix(why, "log");
    return err;
}

// Entities that make something run, profiles before those who name them. Types of services that are
// not there yet are told and passed over, so that an existing file starts the router.
static int apply(struct node *n, const struct mgmt_config *config, struct why *why)
{
    static const char *const order[] = {
        "log",       "router.config.address", "sslProfile",   "proxyProfile",   "listener",
        "connector", "tcpListener",           "tcpConnector", "listenerAddress"};
    int err = 0;

    for (size_t o = 0; o < sizeof(order) / sizeof(order[0]); o++) {
        for (size_t i = 0; i < config->count && err == 0; i++) {
            const struct mgmt_entity *e = config->entities[i];

            if (strcmp(e->type->name, order[o]) != 0)
                continue;
            err = o == 0 ? set_log(e, why) : node_add(n, e, why);
            n->bad_line = err < 0 ? e->line : 0;
        }
    }
    return err;
}

static void tell_unserved(const struct mgmt_config *config)
{
    static const char *const served[] = {"log",          "router.config.address",
                                         "sslProfile",   "proxyProfile",
                                         "listener",     "connector",
                                         "router",       "site",
                                         "network",      "tcpListener",
                                         "tcpConnector", "listenerAddress"};

    for (size_t i = 0; i < config->count; i++) {
        bool is_served = false;

        for (size_t s = 0; s < sizeof(served) / sizeof(served[0]); s++)
            is_served |= strcmp(config->entities[i]->type->name, served[s]) == 0;
        if (!is_served)
            log_write(LOG_AGENT, LOG_WARNING,
                      "line %d: %s is not served by this router yet; passed over",
                      config->entities[i]->line, config->entities[i]->type->name);
    }
}

static struct mgmt_entity *single(const struct mgmt_config *config, const char *type)
{
    const struct mgmt_entity *e = mgmt_config_single(config, type);

    return e ? mgmt_entity_copy(e) : mgmt_entity_new(mgmt_find_type(str_of(type)));
}

static const char *environment(const char *name)
{
    return getenv(name);
}

static int start(struct node *n, const struct mgmt_config *config, struct why *why)
{
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP, 0};
    int err;

    n->router_entity = single(config, "router");
    n->site = single(config, "site");
    n->network = single(config, "network");
    n->worker_fill = (unsigned long)mgmt_entity_int(n->router_entity, "workerFill", 0);
    name_router(n);
    err = check_id(n, why);
    if (err < 0)
        return err;
    err = make_router(n);
    if (err < 0) {
        why_set(why, "the event loops cannot be made: %s", strerror(errno));
        return err;
    }
    n->data_connections = data_connection_count(n->router_entity, n->worker_count);
    n->tcp = tcp_new(n->router, n->pool);
    n->web = health_new(n);
    n->agent = mgmt_agent_new();
    router_set_agent(n->router, n->agent);
    manage_register(n);
    telemetry_new(n, mgmt_config_single(config, "site") != NULL);
    flows_start(n);
    err = net_signals_new(n->loop, signals, on_signal, n, &n->signals, why);
    if (err == 0)
        err = apply(n, config, why);
    if (err == 0)
        telemetry_start(n);
    return err;
}

int node_new(const struct node_opts *opts, struct node **out, struct why *why)
{
    const char *place = opts->config_path                ? opts->config_path
                        : strchr(opts->config_told, '{') ? "QDROUTERD_CONF"
                                                         : opts->config_told;
    struct mgmt_config *config = NULL;
    struct node *n = NULL;
    int err = opts->config_path
                  ? mgmt_config_load(place, environment, &config, why)
                  : mgmt_config_told(str_of(opts->config_told), environment, &config, why);

    if (err < 0)
        return err;
    n = xcalloc(1, sizeof(*n));
    n->version = xstrdup(opts->version);
    n->started_at = mono_now();
    n->drain.all_ms = opts->drain_ms;
    n->drain.accept_ms = opts->drain_accept_ms;
    list_init(&n->profiles);
    list_init(&n->proxies);
    list_init(&n->listeners);
    list_init(&n->connectors);
    list_init(&n->addresses);
    list_init(&n->tcp_listeners);
    list_init(&n->tcp_connectors);
    list_init(&n->listener_addresses);
    list_init(&n->services);
    list_init(&n->changed_services);
    list_init(&n->passing);
    rng_init(&n->rng, rng_system_seed());
    map_seed(rng_next(&n->rng));
    map_init(&n->parts);
    err = start(n, config, why);
    if (err < 0) {
        if (n->bad_line)
            why_prefix(why, "%s:%d", place, n->bad_line);
        else
            why_prefix(why, "%s", place);
        node_free(n);
    } else {
        tell_unserved(config);
        *out = n;
    }
    mgmt_config_free(config);
    return err;
}

void node_free(struct node *n)
{
    if (!n)
        return;
    node_remove_all(n);
    map_fini(&n->parts);
    net_signals_free(n->signals);
    if (n->loop)
        net_timer_cancel(n->loop, &n->drain.timer);
    if (n->tcp) {
        net_loop_drop_all(n->loop, "the router stops");
        services_free(n);
    }
    web_free(n->web);
    telemetry_free(n);
    workers_free(n);
    mgmt_agent_free(n->agent);
    mgmt_entity_free(n->router_entity);
    mgmt_entity_free(n->site);
    mgmt_entity_free(n->network);
    free(n->version);
    free(n);
}

int node_run(struct node *n, struct why *why)
{
    if (workers_start(n) < 0) {
        why_set(why, "workerThreads %d: not so many threads can be started: %s", n->worker_count,
                strerror(errno));
        return ERR_IO;
    }
    log_write(LOG_SERVER, LOG_INFO, "router %s version=%s mode=%.*s is running",
              mgmt_entity_cstr(n->router_entity, "id"), n->version,
              STR_ARG(mgmt_entity_str(n->router_entity, "mode")));
    worker_settle(&n->workers[0], mono_now());
    mem_rest(); // what only the start needed
    net_loop_run(n->loop);
    workers_stop(n);
    return 0;
}
