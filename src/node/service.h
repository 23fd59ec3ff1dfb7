// SPDX-License-Identifier: Apache-2.0
// TCP services of a running node. Inside the folder node only.
#pragma once

#include "node/parts.h"
#include "tcp/tcp.h"

// One address that a tcpListener's connections may go to.
struct service_address {
    struct list on_service;
    struct service *service;
    char *text;
    int64_t value; // of its listenerAddress
    uint64_t opened;
    struct router_watcher watcher;
    const struct part *part; // its listenerAddress; NULL: the listener's own address
};

// A tcpListener or tcpConnector at work, all of it in the main thread. It outlives its entity while
// connections of it do.
struct service {
    struct tcp_service tcp; // first
    struct list on_node;    // node.services
    struct node *node;
    struct part *part; // NULL: the entity is gone
    bool is_listener, is_changed;
    struct net_tls *tls;
    struct net_timer timer; // bind or probe again
    uint32_t pause_ms;
    char status[WHY_MAX]; // "": all is well
    struct log_limit lines;
    // tcpListener
    struct list addresses;
    struct net_listener *listener;
    // tcpConnector
    struct tcp_connector connector;
    struct net_target *target;
    struct net_dial *probe;
    bool is_out;
};

int service_start(struct part *p, struct why *why);
void service_stop(struct part *p);
// A listenerAddress, for the tcpListener it names.
int service_address_start(struct part *p, struct why *why);
void service_address_stop(struct part *p);
struct service_address *service_address_of(const struct part *p);
bool service_is_up(const struct service *s);         // listening; or its server answers
const char *service_status(const struct service *s); // words, when it is not; else ""
void service_updated(struct part *p);                // its entity's attributes were changed
void services_use_profile(struct node *n, const struct part *profile); // it has changed
// After everything else of a turn.
void services_settle(struct node *n, struct mono now);
void services_free(struct node *n); // what is left of connections ends

// wire.c: one connection between its socket and tcp.h
extern const struct net_engine_ops tcp_ops;
void *service_accepted(void *user, struct net_stream *s, const struct net_engine_ops **ops,
                       struct mono now);
void service_refused(void *user, const struct net_peer *peer, const char *why, struct mono now);
void service_conn_changed(struct node *n, struct tcp_conn *c);
struct service_address *service_choose(struct service *s);
void service_server_failed(struct service *s, const char *why, struct mono now);
