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
#include "base/list.h"
#include "base/mono.h"
#include "base/str.h"
#include "base/why.h"
#include "mgmt/mgmt.h"

struct router;
struct router_conn;

enum { ROUTER_ID_MAX = 255 }; // octets of a router's id
enum { ROUTER_REPLY_MAX = 1024, ROUTER_REPLY_ID_LEN = 15 };

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
// Little is to be done at present: memory that was kept for more is freed.
void router_rest(struct router *r);

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
// none. Returns 0, ERR_EXISTS, ERR_LIMIT or ERR_INVALID. Addresses in use keep the treatment they
// have.
int router_address_config(struct router *r, struct str text, bool is_prefix,
                          enum router_treatment treatment, int priority);
int router_address_unconfig(struct router *r, struct str text, bool is_prefix);

// ---------------------------------------------------------------------------------------- inside

// Consumers and senders inside the process: whole messages of up to 1 MiB, their sections without
// annotations.
typedef void router_receive(void *user, struct str message);

// A client that consumes this and an address hears each time that one more router has consumers of
// that address, its body how many have (int). At an edge router those beyond its uplink are one;
// any other make of router is silent.
#define ROUTER_REACH "_local/mc/skupper.reach/"

// Makes `receive` the one consumer of a mobile address in this router, known to the whole network;
// returns 0, ERR_EXISTS or ERR_INVALID. It may send, and must leave consumers as they are.
int router_consume(struct router *r, const char *address, router_receive *receive, void *user);
void router_unconsume(struct router *r, const char *address);
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
    const struct amqp_val *failover;        // a list of maps, told in open; NULL: none
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
void *router_conn_user_data(const struct router_conn *c);
// Drops what came by the listener or connector `name` with a certificate of an older generation.
void router_drop_older(struct router *r, const char *name, uint64_t tls_ordinal);
// This router ends soon: neighbours and edge routers of ours are told, and those that dialled it
// dial anew, to have another way by then (ROUTER_EV_ENDING there).
void router_end_soon(struct router *r, struct mono now);
// A connection of the connector `name` leads to a router, and what that one tells of the network
// has been heard: consumers elsewhere are known here.
bool router_is_joined(const struct router *r, const char *name);
// Once opened: the role, which an open may change, and a text among the peer's properties.
enum router_role router_conn_role(const struct router_conn *c);
struct str router_conn_property(const struct router_conn *c, const char *name);
// Once opened: the other places that the peer told (failover-server-list); NULL: it said nothing.
const struct amqp_val *router_conn_failover(const struct router_conn *c);
// What management knows it by.
uint64_t router_conn_id(const struct router_conn *c);
// Management can ask for a line on each frame (see amqp_conn_trace): takes the next one, to be
// freed; NULL when there is none. Look after each feed and each output.
char *router_conn_next_trace(struct router_conn *c);

// --------------------------------------------------------------------------------------- streams

// Ends of streams inside the process. A stream is one unfinished message: router annotations with
// the flags of a stream, the sections that tell what it is, then bytes, for as long as it likes.
// Where both ends are here no AMQP is spoken; where the other is elsewhere, the bytes go from where
// the caller has them into the output of a connection, or from a connection's input to the sink,
// without being kept on the way.
//
// The structs are memory of their owner, zeroed before use. What is called back may be called
// during any call of this door. It may call functions of the same stream except where noted.

struct delivery;
struct outgoing;
struct router_link;
struct address;

// The end that sends.
struct router_source {
    struct delivery *delivery; // the router's; NULL: not open
    const struct router_source_ops *ops;
};

struct router_source_ops {
    // There may be room again, after there was none.
    void (*ready)(struct router_source *s);
    // The other end has done with so many bytes, in all (a state of received).
    void (*received)(struct router_source *s, uint64_t offset);
    // The other end's last word, whether all was sent or not. The source is not open any more.
    void (*settled)(struct router_source *s, enum amqp_outcome_type outcome);
};

// Sends `head` (sections up to and including the body's first) to an address, and what is written
// later behind it. `settled` may be called before this returns. Set `ops` first.
void router_source_open(struct router *r, struct router_source *s, struct str to, struct str head);
// So many bytes can be taken now without being stored. 0: `ready` will tell.
size_t router_source_room(const struct router_source *s);
// Nothing can be taken now. Asking changes nothing, and `ready` does not follow from it.
bool router_source_is_held(const struct router_source *s);
// Takes all of it. `last` ends the stream; `settled` will tell what became of it.
void router_source_write(struct router_source *s, const void *data, size_t len, bool last);
// Ends it where it is and lets go of it: settled with its end, which tells the other end that
// nobody is here any more.
void router_source_leave(struct router_source *s);

// The end that receives.
struct router_sink {
    struct outgoing *copy; // the router's; NULL: not open
    const struct router_sink_ops *ops;
};

enum router_end {
    ROUTER_END_WHOLE,   // all that was sent has come; its sender waits for the outcome
    ROUTER_END_LEFT,    // likewise, and its sender has left without waiting
    ROUTER_END_ABORTED, // not all has come, and the sink is not open any more
};

struct router_sink_ops {
    // Takes some of the bytes; the rest is kept, and offered again at router_sink_ready(). Must not
    // settle.
    size_t (*write)(struct router_sink *s, const uint8_t *data, size_t len);
    // What `write` would take now.
    size_t (*room)(struct router_sink *s);
    // No more will come.
    void (*ended)(struct router_sink *s, enum router_end how);
};

void router_sink_ready(struct router_sink *s);
void router_sink_received(struct router_sink *s, uint64_t offset);
// The last word about the stream. The sink is not open any more.
void router_sink_settle(struct router_sink *s, enum amqp_outcome_type outcome);

// Whoever may get streams. `offer` looks at the head of one and gives the sink that shall take it,
// with `ops` set, or says why not. What is written to the sink begins at the first body section.
struct router_taker {
    struct router_sink *(*offer)(struct router_taker *t, const struct amqp_msg *head,
                                 enum amqp_outcome_type *refused);
};

// A consumer of an address.
struct router_consumer {
    struct router_taker taker;
    struct router_link *link;
    struct address *address;
};
// Returns 0, or ERR_INVALID for an address that cannot be consumed.
int router_consumer_open(struct router *r, struct router_consumer *c, struct str address);
// While it is out it is not chosen; to the network it is as if it were not there.
void router_consumer_set_out(struct router *r, struct router_consumer *c, bool is_out);
// Its open streams live on.
void router_consumer_close(struct router *r, struct router_consumer *c);

// A private address that one stream can be sent to from anywhere in the network.
struct router_reply {
    struct router_taker taker;
    uint32_t slot;
    char id[ROUTER_REPLY_ID_LEN];
    bool is_open;
};
void router_reply_open(struct router *r, struct router_reply *reply);
struct str router_reply_address(const struct router *r, const struct router_reply *reply,
                                char text[ROUTER_REPLY_MAX]);
void router_reply_close(struct router *r, struct router_reply *reply);

// Somebody who sends to an address, and wants to know whether it has a consumer anywhere.
struct router_watcher {
    struct list on_address;
    struct address *address;
    bool is_reachable;
    void (*changed)(struct router_watcher *w); // is_reachable did
    // One more router has consumers; `others`: how many have now, as far as they are told apart.
    // NULL: not wanted. It may not send.
    void (*joined)(struct router_watcher *w, uint32_t others);
    // Of an edge router: its interior router is told of consumers here; others need not hear of it.
    // NULL: not wanted. It may not send.
    void (*announced)(struct router_watcher *w);
};
int router_watcher_open(struct router *r, struct router_watcher *w, struct str address);
void router_watcher_close(struct router *r, struct router_watcher *w);

// ------------------------------------------------------------------------------------------ turn

struct mono router_now(const struct router *r); // what it was told last
struct mono router_deadline(const struct router *r);
void router_tick(struct router *r, struct mono now);
// Takes one connection that has something to send, or a changed deadline; NULL when there is none.
struct router_conn *router_next_dirty(struct router *r);

enum router_event_type {
    ROUTER_EV_OPENED,    // conn: text is its container id
    ROUTER_EV_CLOSED,    // conn: the peer closed or the protocol broke; text says why
    ROUTER_EV_DROP,      // conn: drop its transport at once (management, replaced)
    ROUTER_EV_NEIGHBOUR, // text: a neighbour came or went
    ROUTER_EV_ENDING,    // conn: it was dialled here, and the router it leads to ends soon
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
    uint64_t delayed_1s, delayed_10s; // deliveries that took 1 to 10 s here, and longer
    size_t stuck, blocked; // deliveries that are here for 10 s; links without credit for 10 s
    size_t addresses, links, connections, nodes, deliveries, stored_bytes;
};
void router_stats(const struct router *r, struct router_stats *out);
uint32_t router_node_count(const struct router *r); // reachable, itself included
bool router_reaches(const struct router *r, const char *node_id);
int router_cost_to(const struct router *r, const char *node_id); // -1: unreachable
// Destinations of an address as this router sees them (local consumers plus remote routers).
uint32_t router_destinations(const struct router *r, const char *address);
bool router_is_elsewhere(const struct router *r, const char *address); // at another router
// Is there a way to it now, as far as this router knows? What is beyond an uplink it does not.
bool router_has_way(struct router *r, struct str address);
// Other routers that have consumers, as router_watcher.joined() tells it: of those behind its
// interior an edge router knows only that there are some (1), an interior also of its edges.
uint32_t router_others(const struct router *r, const char *address);
