// SPDX-License-Identifier: Apache-2.0
// A router as a value machine: bytes of its connections and the time go in, bytes, dirty
// connections and events come out. It forwards messages between links by address, keeps settlement
// and credit end to end, and takes part in the network's routing protocol. No socket, clock or log
// inside; one owner, one thread.
//
// A turn of the shell: feed what has arrived, tick what is due; then router_next_dirty() names the
// connections whose output, deadline or finished state changed, and router_next_event() tells what
// an operator may want to know. Facts of the protocol: docs/protocol.md.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "amqp/amqp.h"
#include "base/buf.h"
#include "base/mono.h"
#include "base/str.h"
#include "base/why.h"
#include "mgmt/mgmt.h"

struct router;
struct router_conn;

// ROUTER_SHARD: not one that can be configured; see router_add_shard().
enum router_mode { ROUTER_STANDALONE, ROUTER_INTERIOR, ROUTER_EDGE, ROUTER_SHARD };

// How an address chooses among its consumers. The numbers are those of the routing protocol.
enum router_treatment {
    ROUTER_FLOOD = 0,
    ROUTER_MULTICAST = 1,
    ROUTER_CLOSEST = 2,
    ROUTER_BALANCED = 3,
    ROUTER_UNAVAILABLE = 4,
};

// Decided by the port that was dialled. The numbers are those of the property qd.inter-router-role.
enum router_role {
    ROUTER_ROLE_NORMAL = 0,
    ROUTER_ROLE_INTER_ROUTER = 1,
    ROUTER_ROLE_ROUTE_CONTAINER = 2,
    ROUTER_ROLE_EDGE = 3,
    ROUTER_ROLE_INTER_ROUTER_DATA = 4,
    ROUTER_ROLE_INTER_EDGE = 5,
    ROUTER_ROLE_INTER_NETWORK = 6,
    ROUTER_ROLE_SHARD = 7, // between a hub (server) and its shard (client), inside one process
};
// "normal", "inter-router", …
const char *router_role_name(enum router_role role);

struct router_opts {
    const char *id;
    enum router_mode mode;
    enum router_mode hub_mode; // of a shard: how its hub is configured
    uint32_t shard;            // of a shard: its number, from 1
    int64_t instance;          // differs after each restart: seconds since the epoch
    uint64_t seed;
    enum router_treatment default_treatment; // for addresses without configuration
    uint32_t hello_interval_ms, hello_max_age_ms, ra_interval_ms, ra_interval_flux_ms,
        remote_ls_max_age_ms; // 0: defaults
    struct pool *pool;        // output of all connections; borrowed
    size_t stored_max;   // bytes of messages held for slow consumers before senders wait; 0: 64 MiB
    const char *version; // told in open and by management
    uint64_t (*resident_bytes)(void); // of the process, told by management; NULL: not told
};

struct router *router_new(const struct router_opts *opts, struct mono now);
// Connections first: all must be lost or freed.
void router_free(struct router *r);

// Requests to $management are answered by it; borrowed. The router's own types (router.address,
// router.link, router.node, connection, routerMetrics) are added to it here.
void router_set_agent(struct router *r, struct mgmt_agent *agent);

// One router served by several threads is several values: a hub, which is all that other routers
// and management see, and shards, one for each further thread, which serve clients only. Each is
// touched by its own thread alone; between them runs an AMQP connection of role ROUTER_ROLE_SHARD,
// like that of an edge router, over memory. Addresses, credit and outcomes are the hub's.
//
// `hold` is called with true before the hub looks into its shards (management, configuration) and
// with false afterwards: in between their threads must not run. Shards are freed before their hub.
enum { ROUTER_SHARDS_MAX = 63 };
void router_add_shard(struct router *hub, struct router *shard);
void router_set_hold(struct router *hub, void (*hold)(void *user, bool on), void *user);

// ------------------------------------------------------------------------------------- addresses

// Sets the treatment of addresses that match. `text` is a prefix (like text and text/#) or a
// pattern of tokens between '.' or '/', with * for one token and # for any number. priority -1:
// none. Returns 0, ERR_EXISTS or ERR_INVALID. Addresses in use keep the treatment they have.
int router_address_config(struct router *r, struct str text, bool is_prefix,
                          enum router_treatment treatment, int priority);
int router_address_unconfig(struct router *r, struct str text, bool is_prefix);

// ---------------------------------------------------------------------------------------- inside

// Consumers and senders inside the process: whole messages of up to 1 MiB, their sections without
// annotations.
typedef void router_receive(void *user, struct str message);

// Makes `receive` the one consumer of a mobile address in this router, known to the whole network;
// returns 0, ERR_EXISTS or ERR_INVALID. It may send, and must leave consumers as they are.
int router_consume(struct router *r, const char *address, router_receive *receive, void *user);
void router_unconsume(struct router *r, const char *address);
// The address is sent to from inside: it stays known, so that router_destinations() tells, on an
// edge router too, whether anybody listens.
void router_watch(struct router *r, const char *address);
// Sends a message, pre-settled; false when it found nobody.
bool router_send(struct router *r, const char *to, struct str message);

// ----------------------------------------------------------------------------------- connections

struct router_conn_opts {
    bool is_server;
    enum router_role role;
    int cost;                 // of an inter-router connection; >= 1
    const char *name;         // of the listener or connector it belongs to
    const char *host;         // numeric peer address and port, for people
    const char *local;        // our side of the socket
    const char *hostname;     // client: the configured host, sent in open; NULL: none
    uint32_t frame_size_max;  // 0: 16384
    uint32_t session_max;     // 0: 32768
    uint32_t session_frames;  // incoming window of a session; 0: about 2 MiB
    uint32_t idle_timeout_ms; // 0: never
    uint32_t handshake_ms;    // 0: 10 s
    uint32_t link_capacity;   // credit of a link; 0: 250
    bool strip_in, strip_out; // router annotations, on roles that are not routers'
    unsigned sasl_mechanisms; // AMQP_SASL_*; server: offered, client: used
    bool external_ok;
    bool sasl_optional;
    const char *user;                      // authenticated name of the peer, or NULL
    const char *tls_protocol, *tls_cipher; // NULL: no TLS
    int tls_bits;
    const char *group_correlator; // connector, inter-router; NULL: none
    uint64_t group_ordinal;
    const char *access_id;                  // listener; NULL: none
    const struct amqp_val *open_properties; // appended to our open; NULL: none
    bool is_traced;                         // from the first frame on
    int64_t tls_ordinal;                    // of the sslProfile
    void *user_data;                        // the shell's
};

// Strings are copied.
struct router_conn *router_conn_new(struct router *r, const struct router_conn_opts *opts,
                                    struct mono now);
// The transport is gone: links, deliveries and routes that went over it are dealt with, and the
// connection is freed.
void router_conn_lost(struct router_conn *c, struct mono now);

void router_conn_feed(struct router_conn *c, const uint8_t *data, size_t len, struct mono now);
// Saved-up frames are added first. Skip what has left, then call router_conn_sent().
struct buf *router_conn_output(struct router_conn *c, struct mono now);
void router_conn_sent(struct router_conn *c, struct mono now);
struct mono router_conn_deadline(const struct router_conn *c);
void router_conn_tick(struct router_conn *c, struct mono now);
// Once its output is sent, the transport can be dropped.
bool router_conn_is_finished(const struct router_conn *c);
// Says goodbye with an AMQP close; NULL condition: in peace.
void router_conn_close(struct router_conn *c, const char *condition, const char *description,
                       struct mono now);
void *router_conn_user_data(const struct router_conn *c);
// What management knows it by.
uint64_t router_conn_id(const struct router_conn *c);
// Management can ask for a line on each frame (see amqp_conn_trace): takes the next one, to be
// freed; NULL when there is none. Look after each feed and each output.
char *router_conn_next_trace(struct router_conn *c);

// ------------------------------------------------------------------------------------------ turn

struct mono router_deadline(const struct router *r);
void router_tick(struct router *r, struct mono now);
// Takes one connection that has something to send, or a changed deadline; NULL when there is none.
struct router_conn *router_next_dirty(struct router *r);

enum router_event_type {
    ROUTER_EV_OPENED,    // conn: text is its container id
    ROUTER_EV_CLOSED,    // conn: the peer closed or the protocol broke; text says why
    ROUTER_EV_DROP,      // conn: drop its transport at once (management, replaced)
    ROUTER_EV_NEIGHBOUR, // text: a neighbour came or went
    ROUTER_EV_NODE,      // text: a router became reachable or unreachable
    ROUTER_EV_NOTE,      // text: something odd that was survived
};

struct router_event {
    enum router_event_type type;
    struct router_conn *conn;
    char text[256];
};
bool router_next_event(struct router *r, struct router_event *ev);

// Facts for health, metrics and tests.
struct router_stats {
    uint64_t accepted, rejected, released, modified, presettled, dropped_presettled;
    uint64_t ingress, egress, transit;
    size_t addresses, links, connections, nodes, deliveries, stored_bytes;
};
void router_stats(const struct router *r, struct router_stats *out);
uint32_t router_node_count(const struct router *r); // reachable, itself included
bool router_reaches(const struct router *r, const char *node_id);
int router_cost_to(const struct router *r, const char *node_id); // -1: unreachable
// Destinations of an address as this router sees them (local consumers plus remote routers).
uint32_t router_destinations(const struct router *r, const char *address);
