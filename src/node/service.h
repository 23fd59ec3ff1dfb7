// SPDX-License-Identifier: Apache-2.0
// TCP services of a running node. Inside the folder node only.
#pragma once

#include "http/http.h"
#include "node/parts.h"
#include "tcp/tcp.h"

// One address that a tcpListener's connections may go to.
struct service_address {
    struct list on_service;
    struct service *service;
    char *text;
    int64_t value; // of its listenerAddress
    uint64_t opened, requests;
    struct router_watcher watcher;
    struct part *part; // its listenerAddress; NULL: the listener's own address
};

// A tcpListener or tcpConnector at work, all of it in the main thread. It outlives its entity while
// connections of it do.
struct service {
    struct tcp_service tcp; // first
    struct list on_node;    // node.services
    struct node *node;
    struct part *part;      // NULL: the entity is gone
    struct list on_changed; // node.changed_services
    bool is_listener;
    struct net_tls *tls;
    struct net_timer timer; // bind or probe again
    uint32_t pause_ms;
    char status[WHY_MAX]; // "": all is well
    struct log_limit lines;
    // tcpListener
    struct list addresses;
    struct net_listener *listener;
    char pause[100]; // why nobody is accepted for now; "": clients are
    bool is_looking; // into the bytes of new connections …
    enum http_observe look_as;
    uint64_t requests;     // seen
    struct net_name *name; // of its host, being looked up
    // tcpConnector
    struct tcp_connector connector;
    struct net_target *target;
    struct net_dial *probe;
    bool is_out;
    struct mono answered_at; // its server, last
};

int service_start(struct part *p, struct why *why);
void service_stop(struct part *p);
// A listenerAddress, for the tcpListener it names.
int service_address_start(struct part *p, struct why *why);
void service_address_stop(struct part *p);
void service_changed(struct service *s);             // looked at when the turn ends
bool service_is_up(const struct service *s);         // listening; or its server answers
const char *service_status(const struct service *s); // words, when it is not; else ""
void service_updated(struct part *p);                // its entity's attributes were changed
void services_use_profile(struct node *n, const struct part *profile); // it has changed
void services_dial(struct node *n);                                    // once a turn
// After everything else of a turn.
void services_settle(struct node *n, struct mono now);
// Nobody new: no tcpListener listens, and what others serve too is left to them.
void services_leave(struct node *n);
void services_free(struct node *n); // what is left of connections ends

// wire.c: one connection between its socket and tcp.h
extern const struct net_engine_ops tcp_ops;
void *service_accepted(void *user, struct net_stream *s, const struct net_engine_ops **ops,
                       struct mono now);
void service_refused(void *user, const struct net_peer *peer, const char *why, struct mono now);
bool service_is_full(void *user);
void service_paused(void *user, const char *why, struct mono now);
void service_conn_changed(struct node *n, struct tcp_conn *c);
struct service_address *service_choose(struct service *s);
void service_server_failed(struct service *s, enum net_fault fault, const char *why,
                           struct mono now);
void service_server_answered(struct service *s, struct mono now);

// flows.c: flow records of connections and requests
void flows_start(struct node *n);
// A client's connection, for tcp_accept.observation; NULL: without a record.
void *flows_accepted(struct service *s, struct service_address *a, const struct net_peer *peer,
                     struct mono now);
void flows_refused(struct service *s, const struct net_peer *peer, const char *why,
                   struct mono now);
void flows_forget_address(struct node *n, const struct service_address *a); // it is going
void flows_count(struct node *n, struct mono now);                          // now and then
