// SPDX-License-Identifier: Apache-2.0
// The parts of a running node. Inside the folder node only.
#pragma once

#include "base/list.h"
#include "base/log.h"
#include "base/rng.h"
#include "mgmt/mgmt.h"
#include "net/net.h"
#include "node/node.h"
#include "router/router.h"

enum { NODE_PROVIDERS = 10 };

// Who tells management about one entity type.
struct manager {
    struct node *node;
    const struct mgmt_type *type;
    struct mgmt_provider provider;
};

struct node {
    struct net_loop *loop;
    struct pool *pool;
    struct router *router;
    struct mgmt_agent *agent;
    struct rng rng;
    char *version;
    struct list profiles, listeners, connectors, addresses; // of struct part
    struct mgmt_entity *router_entity, *site, *network;
    struct manager managers[NODE_PROVIDERS];
    struct net_timer router_timer;
    struct net_watch *signals;
    int signal_fd;
    int worker_count, data_connections;
    struct log_limit peer_lines; // for lines that a peer can cause
};

// One configured entity and what runs because of it.
struct part {
    struct list on_node;
    struct node *node;
    struct mgmt_entity *entity;
    char *identity, *name;
    struct net_listener *listener;
    struct net_tls *tls;
    // connectors: the first is the one people see, the others carry data of the same group
    struct dial *dials;
    int dial_count;
    char correlator[RNG_ID_LEN + 1];
    bool is_connected;
    char status[WHY_MAX];
};

// One outgoing connection of a connector, kept up for ever.
struct dial {
    struct part *part;
    struct net_connector *connector;
    enum router_role role;
};

// peer.c: an AMQP connection between a socket and the router
extern const struct net_engine_ops peer_ops;
void *peer_accepted(void *user, struct net_stream *s, const struct net_engine_ops **ops,
                    struct mono now);
void *peer_connected(void *user, struct net_stream *s, const struct net_engine_ops **ops,
                     struct mono now);
void peer_failed(void *user, const char *why, struct mono now);
void peer_refused(void *user, const struct net_peer *peer, const char *why, struct mono now);
void node_settle(struct node *n, struct mono now); // what the router wants of the loop

// parts.c: entities made to run
int node_add(struct node *n, const struct mgmt_entity *e, struct why *why);
int node_remove(struct node *n, struct list *parts, struct str identity, struct why *why);
struct part *node_find(const struct list *parts, struct str name_or_identity);
struct list *node_parts(struct node *n, const char *type); // NULL: not a type with parts
void node_remove_all(struct node *n);
enum router_role node_role(const struct mgmt_entity *e);

// manage.c
void manage_register(struct node *n);

// health.c: HTTP on a listener
void *health_accepted(struct part *p, struct net_stream *s, const struct net_engine_ops **ops,
                      struct mono now);
