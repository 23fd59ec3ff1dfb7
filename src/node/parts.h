// SPDX-License-Identifier: Apache-2.0
// The parts of a running node. Inside the folder node only.
#pragma once

#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "base/rng.h"
#include "flow/flow.h"
#include "mgmt/mgmt.h"
#include "net/net.h"
#include "node/node.h"
#include "node/worker.h"
#include "router/router.h"

enum { NODE_PROVIDERS = 15 };

// Who tells management about one entity type.
struct manager {
    struct node *node;
    const struct mgmt_type *type;
    struct mgmt_provider provider;
};

struct tcp;
struct service;
struct web;

// The end of a router that others count on, see drain.c.
struct drain {
    uint32_t all_ms, accept_ms; // as node_opts says
    bool is_on, is_leaving;     // told to end; nobody new is accepted any more
    bool was_quiet;             // when it was looked at last
    struct mono until;
    struct net_timer timer;
};

struct node {
    struct worker *workers; // the first has the main thread
    int worker_count;
    unsigned long worker_fill; // connections that worker 0 takes before others get some
    struct {
        pthread_mutex_t lock;
        pthread_cond_t changed;
        bool is_threaded, is_on;
        int depth, still_count;
    } hold;
    struct net_loop *loop; // of the first worker, like the next two
    struct pool *pool;
    struct router *router;
    struct mgmt_agent *agent;
    struct rng rng;
    char *version;
    struct list profiles, proxies, listeners, connectors, addresses; // of struct part
    struct list tcp_listeners, tcp_connectors, listener_addresses;
    struct map parts;     // all of these by list and name or identity
    struct list services; // service.on_node
    struct list changed_services;
    struct tcp *tcp;
    struct web *web; // of listeners for HTTP
    struct mgmt_entity *router_entity, *site, *network;
    struct manager managers[NODE_PROVIDERS];
    struct telemetry *telemetry;
    struct flow *flow; // its, like the next one
    struct flow_record *router_record;
    struct list passing;              // flows.c: connections that have a record
    struct mono counted_at, heard_at; // when they were last; when somebody last listened to flows
    struct net_signals *signals;
    struct mono started_at;
    bool is_ready; // it was once
    struct drain drain;
    int bad_line; // of the configuration, while it is applied
    int data_connections;
};

// Where connections of a listener come in, at one worker.
struct entrance {
    struct part *part;
    struct worker *worker;
    struct net_listener *listener;
};

// One configured entity and what runs because of it.
struct part {
    struct list on_node;
    struct node *node;
    struct mgmt_entity *entity;
    char *identity, *name;
    struct entrance *entrances; // listeners: one for each worker, the first one listens
    int entrance_count;
    struct net_tls *tls;
    struct net_proxy *proxy;         // connectors: on the way; proxyProfiles: what they use
    struct amqp_val *failover;       // listeners: told in open
    struct amqp_val *alternates;     // connectors: tried too
    int64_t ordinal;                 // of the sslProfile as last read
    bool has_certificate;            // likewise
    struct service *service;         // tcpListener, tcpConnector
    struct service_address *address; // listenerAddress
    // connectors: the first is the one people see, the others carry data of the same group
    struct dial *dials;
    int dial_count;
    struct former *former; // what dialled with older certificates
    char correlator[RNG_ID_LEN + 1];
    bool is_connected;
    char status[WHY_MAX];
    struct log_limit lines; // of attempts that came to nothing
    uint32_t failed_count;  // such attempts
    // listeners and connectors between routers
    struct flow_record *record;
    struct list linked;      // struct linked
    bool is_linked;          // a connector whose link was up
    uint64_t sent, received; // octets, of a connector
};

// One outgoing connection of a connector, kept up for ever.
struct dial {
    struct part *part;
    struct net_connector *connector;
    enum router_role role;
    int64_t ordinal; // of the certificate it dials with
};

// The dials of an older generation: their connections go when the newer one has taken over.
struct former {
    struct former *next;
    struct dial *dials;
    int dial_count;
};

// A connection between routers that came in at a listener, and is counted there while it is open.
struct linked {
    struct list on_part;
    struct part *part; // NULL: none, or it is gone
    bool is_up;
};

// peer.c: an AMQP connection between a socket and the router
void *peer_accepted(void *user, struct net_stream *s, const struct net_engine_ops **ops,
                    struct mono now);
void *peer_connected(void *user, struct net_stream *s, const struct net_engine_ops **ops,
                     struct mono now);
void peer_failed(void *user, const char *why, struct mono now);
void peer_refused(void *user, const struct net_peer *peer, const char *why, struct mono now);
bool peer_is_full(void *user);
void peer_paused(void *user, const char *why, struct mono now);
void peer_event(struct worker *w, const struct router_event *ev, struct mono now);

// parts.c: entities made to run
int node_add(struct node *n, const struct mgmt_entity *e, struct why *why);
// The new values are checked first: files are read, and what uses the profile takes them from its
// next handshake on. When one is wrong nothing has changed.
int node_update_profile(struct node *n, struct part *profile, struct mgmt_entity *take,
                        struct why *why);
// Likewise of a proxyProfile: connectors use it from their next attempt on.
int node_update_proxy(struct node *n, struct part *profile, struct mgmt_entity *take,
                      struct why *why);
int node_remove(struct node *n, struct list *parts, struct str identity, struct why *why);
struct part *node_find(const struct node *n, const struct list *parts, struct str name_or_identity);
struct list *node_parts(struct node *n, const char *type); // NULL: not a type with parts
void node_remove_all(struct node *n);
// A connector whose peer ends soon dials anew; what it has stays until that is up and it has its
// end.
void node_dial_anew(struct part *connector);
// Routers come in no more; those that are here stay.
void node_refuse_routers(struct node *n);
// The TLS that an entity's sslProfile asks for; none without one.
int node_service_tls(const struct part *p, bool is_server, struct net_tls **out, struct why *why);
enum router_role node_role(const struct mgmt_entity *e);

// manage.c
void manage_register(struct node *n);
// NULL: as it is; null: the default.
int manage_set_log(enum log_module m, const struct amqp_val *enable, const struct amqp_val *output,
                   struct why *why);

// telemetry.c: what collectors hear of this router
void telemetry_new(struct node *n, bool has_site); // before parts are started
void telemetry_start(struct node *n);              // when addresses are configured
void telemetry_free(struct node *n);
void telemetry_add(struct part *p); // it has started
void telemetry_remove(struct part *p);
void telemetry_linked(struct linked *l, struct part *p); // came in at a listener
void telemetry_linked_up(struct linked *l);
void telemetry_unlinked(struct linked *l);
void telemetry_up(struct part *connector, struct str access_id, struct mono now);
void telemetry_down(struct part *connector, const char *condition, const char *why,
                    struct mono now);
void telemetry_renewed(const struct part *profile); // its ordinal may be another
// The ordinal of the entity's sslProfile, if it has one.
void telemetry_set_ordinal(struct flow_record *rec, const struct part *p);

// failover.c: other places that serve as well
// The attribute of that name; *list NULL: none.
int failover_parse(const struct mgmt_entity *e, const char *attribute, struct amqp_val **list,
                   struct why *why);
void failover_begin(struct dial *d); // a fresh one: what its connector knows itself
void failover_told(struct dial *d, const struct amqp_val *list); // by its peer; NULL: nothing
void failover_follow(struct dial *control);                      // its group does
struct amqp_val *failover_urls(const struct part *connector);    // for people

// drain.c: when clients may be sent here, and how it ends. Not ready: words, which the caller frees
bool node_is_ready(struct node *n, char **words);
void drain_begin(struct node *n, struct mono now);

// health.c: HTTP on a listener
struct web *health_new(struct node *n);
void *health_accepted(struct part *p, struct net_stream *s, const struct net_engine_ops **ops,
                      struct mono now);
