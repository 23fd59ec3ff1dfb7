// SPDX-License-Identifier: Apache-2.0
// What this router knows of the network: neighbours, link states, shortest paths, and which router
// has consumers for which address. A value machine: control messages and the time go in; control
// messages, events and the next deadline come out. It knows control links as small numbers and
// messages as encoded bytes; it never sees a connection.
//
// Inside the folder router only; the rest of the program sees router/router.h.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "amqp/amqp.h"
#include "base/mono.h"
#include "base/rng.h"
#include "base/str.h"

struct routing;

struct routing_opts {
    const char *id;
    int64_t instance; // differs after each restart: seconds since the epoch
    uint32_t hello_interval_ms, hello_max_age_ms, ra_interval_ms, ra_interval_flux_ms,
        remote_ls_max_age_ms;                               // 0: the default of the reference
    uint32_t fast_hello_interval_ms, fast_hello_max_age_ms; // among ours; 0: 250 and 900
    uint32_t node_max; // routers to know, itself included; 0: ROUTING_NODE_MAX
    uint64_t seed;
};

// Limits. What lies beyond is left out, and a note says so once.
enum {
    ROUTING_NODE_MAX = 65536,
    ROUTING_LINK_MAX = 4096,       // numbers that routing_link_up() takes (asserted)
    ROUTING_ADDRESS_MAX = 1 << 20, // over all routers
    ROUTING_ID_MAX = 255,          // = ROUTER_ID_MAX
    ROUTING_KEY_MAX = 2048,
};

enum { ROUTING_NO_LINK = UINT32_MAX, ROUTING_SELF = 0, ROUTING_NO_NODE = UINT32_MAX };

enum routing_event_type {
    ROUTING_EV_ROUTES,       // next hops or costs changed; anything may be asked anew
    ROUTING_EV_NODE_UP,      // node: became reachable, or is new
    ROUTING_EV_NODE_DOWN,    // node: not reachable any more; its addresses are told as DEL before
    ROUTING_EV_NODE_GONE,    // node: its number may be used for another router after this event
    ROUTING_EV_ADDRESS_ADD,  // node, key, treatment: has consumers there (again with a new
                             // treatment)
    ROUTING_EV_ADDRESS_DEL,  // node, key
    ROUTING_EV_NEIGHBOUR_UP, // node, link: for the log
    ROUTING_EV_NEIGHBOUR_DOWN,
    ROUTING_EV_NEIGHBOUR_ENDS, // node, link: it says that it will, once for a link
    ROUTING_EV_NOTE, // key holds a sentence for the log: duplicate id, malformed message, …
};

struct routing_event {
    enum routing_event_type type;
    uint32_t node;
    uint32_t link;
    struct str key;  // class letter and address; borrowed until the next call
    int treatment;   // code of MAU (0 flood, 1 multicast, 2 closest, 3 balanced), -1 when not told
    struct str mesh; // sole destination mesh, or STR_NONE
};

// A control message to be put, pre-settled, on the control link `link`.
struct routing_output {
    uint32_t link;
    struct str bytes; // annotations section and all; borrowed until the next call
};

struct routing *routing_new(const struct routing_opts *opts, struct mono now);
void routing_free(struct routing *rt);

// A control link works in both directions. `is_ours`: the peer offered our extensions (it floods
// with us, see docs/protocol.md). Link numbers are the caller's, small and dense.
void routing_link_up(struct routing *rt, uint32_t link, int cost, bool is_ours, struct mono now);
// At once, without waiting for a HELLO age.
void routing_link_down(struct routing *rt, uint32_t link, struct mono now);
// Tells neighbours of ours, now and in each HELLO, that this router ends soon.
void routing_end_soon(struct routing *rt, struct mono now);
// A message, or a part of one, came from the peer of this link: it is alive, though its HELLO may
// stand behind much else on a narrow wire. (Heartbeats say nothing of its routing.)
void routing_link_alive(struct routing *rt, uint32_t link, struct mono now);
// A whole message that arrived on a control link (its first section is the annotations).
void routing_receive(struct routing *rt, uint32_t link, struct str bytes, struct mono now);

// Our own consumers: the first has come (or treatment, producers, mesh changed), the last has gone.
void routing_address_add(struct routing *rt, struct str key, int treatment, uint32_t producers,
                         struct str mesh, struct mono now);
void routing_address_del(struct routing *rt, struct str key, struct mono now);

struct mono routing_deadline(const struct routing *rt);
void routing_tick(struct routing *rt, struct mono now);
// Poll both until false after every call above.
bool routing_next_output(struct routing *rt, struct routing_output *out);
bool routing_next_event(struct routing *rt, struct routing_event *out);

// Questions. Nodes are numbered densely; 0 is this router.
bool routing_is_adjacent(const struct routing *rt, uint32_t link); // its peer is a neighbour
// All that has been heard of is known: link state and addresses of every router, and the routes.
bool routing_is_complete(const struct routing *rt);
uint32_t routing_node_count(const struct routing *rt);          // highest number + 1
uint32_t routing_find(const struct routing *rt, struct str id); // ROUTING_NO_NODE when unknown
struct str routing_id(const struct routing *rt, uint32_t node); // STR_NONE for an unused number
bool routing_is_reachable(const struct routing *rt, uint32_t node);
uint32_t routing_next_hop(const struct routing *rt, uint32_t node); // link, or ROUTING_NO_LINK
int routing_cost(const struct routing *rt, uint32_t node);
// Does the path from `origin` to `dest`, as every router computes it, pass through here? Trees are
// computed when first asked for after a change.
bool routing_is_valid_origin(struct routing *rt, uint32_t origin, uint32_t dest);
int routing_radius(const struct routing *rt);

// For management (router.node).
struct routing_node_info {
    struct str id;
    int64_t instance;
    uint32_t next_hop_node; // ROUTING_NO_NODE for self and unreachable, the node itself: neighbour
    uint32_t link;          // neighbour's control link or ROUTING_NO_LINK
    int cost;
    int protocol_version;
    struct mono last_topology_change; // self only
};
bool routing_info(const struct routing *rt, uint32_t node, struct routing_node_info *out);
// The peers in the node's link state: false at the end. *at starts at 0.
bool routing_peer_next(const struct routing *rt, uint32_t node, size_t *at, struct str *id,
                       int *cost);
