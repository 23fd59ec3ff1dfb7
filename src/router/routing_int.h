// SPDX-License-Identifier: Apache-2.0
// The insides of the routing engine, shared by its own sources. The essay is in routing.c.
#pragma once

#include "amqp/amqp.h"
#include "base/list.h"
#include "base/map.h"
#include "router/routing.h"

#define ROUTING_FLOOD_TO "_local/skupper.flood"
// When FLOOD may teach us what a plain question would, it is given this much time first.
#define ROUTING_FLOOD_GRACE_MS 50
#define CTL_SEQ_MAX (INT64_C(1) << 53) // larger sequence numbers are malformed

// A view may be empty and NULL, as lists without items are.
static inline struct amqp_reader reader_over(struct str bytes)
{
    return bytes.len ? amqp_reader_of(bytes) : (struct amqp_reader){NULL, NULL};
}

// --- control.c: control messages as structs ------------------------------------------------------

enum ctl_op { CTL_HELLO, CTL_RA, CTL_LSR, CTL_LSU, CTL_MAR, CTL_MAU, CTL_FLOOD, CTL_UNKNOWN };

// A list or map inside a message, still encoded.
struct ctl_items {
    bool present;
    uint32_t count; // for a map keys plus values
    struct str bytes;
};

// A control message read in place; all views into the message.
struct ctl {
    enum ctl_op op;
    struct amqp_ra ra;
    size_t ra_len;
    struct str to; // without "amqp:/"
    struct str id;
    bool has_instance;
    int64_t pv, instance, ls_seq, mobile_seq, have_seq;
    uint64_t sum; // FLOOD's checksum in a HELLO
    bool has_sum;
    int64_t ends; // in a HELLO: not 0: its sender ends soon
    struct ctl_items seen, peers, exist, add, del, have, want;
};

// Returns 0, or negative for anything that is not a well-formed control message.
int ctl_read(struct str bytes, struct ctl *out);

// Where a message claims to come from and which routers it passed. `self` is appended to the trace.
struct ctl_path {
    struct str self;  // "0/id" of this router
    struct str first; // "0/id" of the originator when this router speaks for it, or STR_NONE
};
void ctl_put_annotations(struct amqp_writer *w, const struct ctl_path *path);
// Begins HELLO, RA, LSR, LSU, FLOOD (string keys): annotations up to the body's `id`, `pv`, `area`.
// *count is set to the items so far; ctl_end() closes the body.
struct amqp_mark ctl_begin(struct amqp_writer *w, const struct ctl_path *path, const char *opcode,
                           struct str to, struct str id, uint32_t *count);
// Likewise MAR and MAU (symbol keys, long integers, shorter properties).
struct amqp_mark ctl_begin_mobile(struct amqp_writer *w, const struct ctl_path *path,
                                  const char *opcode, struct str to, struct str id,
                                  uint32_t *count);
void ctl_put_int(struct amqp_writer *w, int64_t v); // int, or long when it does not fit
void ctl_put_key_int(struct amqp_writer *w, const char *key, int64_t v, uint32_t *count);
void ctl_put_symbol_long(struct amqp_writer *w, const char *key, int64_t v, uint32_t *count);

// One descriptor of an address (10.4).
struct ctl_address {
    struct str key, mesh;
    int treatment; // -1: not told
    uint32_t producers;
};
bool ctl_read_address(struct amqp_reader *items, struct ctl_address *out);
void ctl_put_address(struct amqp_writer *w, const struct ctl_address *a);
// Every item is an address: nothing is applied of a message that is half good.
bool ctl_check_addresses(const struct ctl_items *list);

// One router in FLOOD's `have`.
struct ctl_record {
    struct str id;
    int64_t gen, instance, ls_seq, mobile_seq;
    struct ctl_items peers, exist, diffs;
};
bool ctl_read_record(struct amqp_reader *items, struct ctl_record *out);

// --- the objects ---------------------------------------------------------------------------------

struct edge {
    uint32_t to;
    int32_t cost;
    bool is_two_way; // as of rt->prepared
};

struct addr {
    uint32_t producers;
    int16_t treatment;
    uint16_t key_len;
    uint8_t mesh_len;
    bool is_gone; // in rt->pending: a deletion
    char text[];  // key, then mesh
};

// Sorted by key.
struct addr_set {
    struct addr **items;
    uint32_t count, size;
};

// One differential update, kept until every link among ours has been told.
struct diff {
    struct list on_diffs; // rt->diffs, oldest first
    struct diff *next;    // of the same node
    uint32_t node;
    uint64_t change;
    int64_t mobile_seq;
    uint32_t add_count, add_len, del_count, del_len;
    char bytes[]; // encoded descriptors: additions, then deletions
};

// Has this happened too often? First at once, then further and further apart, until it is quiet.
struct throttle {
    struct mono next;
    uint32_t hold_ms;
};

struct node {
    char *id;
    uint32_t id_len, rank; // rank: place in the order of ids
    uint64_t id_hash;
    int64_t instance;
    uint32_t gen; // counts restarts to an instance that is not larger (docs/protocol.md)
    bool has_instance, has_ls, is_reachable, is_from_ours, need_lsr, need_mar;
    uint8_t noted; // bits of enum note
    int pv;
    int64_t ls_seq, mobile_seq;     // what we hold
    int64_t heard_ls, heard_mobile; // what we know to exist
    uint64_t ls_change, ma_change;  // rt->change when it last changed
    struct edge *edges;             // sorted by `to`
    uint32_t edge_count, next_hop_node;
    uint32_t mentions;  // edges of others that lead here
    uint32_t mentioner; // without link state: who stands in for it (10.7), or ROUTING_NO_NODE
    struct addr_set addrs;
    struct diff *diffs, *diffs_last;
    int32_t cost, hops;
    uint32_t link; // adjacent: the link in use, else ROUTING_NO_LINK
    uint8_t asked; // bits of enum part, asked for at `asked_at`
    struct mono asked_at, unreachable_at, ra_at;
    struct mono lsr_at, mar_at; // earliest next question
    uint16_t ask_hold_ms, lsr_count, mar_count;
};

enum part { PART_LS = 1, PART_MA = 2 };

enum note {
    NOTE_MALFORMED = 1,
    NOTE_VERSION = 2,
    NOTE_DUPLICATE = 4,
    NOTE_BACKWARDS = 8,
    NOTE_UNKNOWN = 16,
    NOTE_LIMIT = 32,
};

// Bits by node number; grows.
struct bits {
    uint64_t *words;
    uint32_t word_count;
};

struct rlink {
    bool is_up, is_ours, is_heard, is_adjacent, need_digest;
    bool is_listed; // by its last HELLO
    bool is_ending; // its peer has said so
    uint8_t noted;
    int cost;
    uint32_t peer;  // node heard on this link, or ROUTING_NO_NODE
    uint64_t order; // of coming up; the youngest link to a neighbour carries its traffic
    struct mono heard_at, listed_at; // a HELLO; a HELLO that lists us
    struct mono hello_sent_at, hello_at;
    // Among ours:
    struct bits dirty, want_ls, want_ma; // to be told; asked for by the peer
    struct bits ask_ls, ask_ma;          // to ask the peer for
    uint64_t flushed;                    // rt->change up to which the peer has been told
    struct throttle flush;
    bool is_flush_due;
    uint64_t peer_sum, own_sum; // as of the last HELLO that showed a difference
    uint32_t same_difference;   // HELLOs in a row that showed the same one
    uint32_t digest_hold_ms;
    struct mono differs_since, digest_at;
};

struct tree {
    uint64_t version;
    size_t size;
    uint32_t node_count;
    uint64_t words[];
};

struct output {
    uint32_t link;
    size_t at, len;
};

struct queued_event {
    enum routing_event_type type;
    uint32_t node, link;
    int treatment;
    size_t key_at, key_len, mesh_len; // in rt->event_text
    bool has_mesh;
};

struct routing {
    struct routing_opts opts;
    struct rng rng;
    char *path_self; // "0/id"
    struct rlink *links;
    uint32_t link_count;               // highest number + 1
    uint32_t plain_count, flood_count; // adjacent links by kind
    uint64_t link_order;

    struct node **nodes; // by number; NULL for an unused one
    uint32_t node_count, node_size, node_live;
    uint32_t *order; // node numbers in the order of ids
    bool rank_stale;
    struct map by_id; // id to node number + 1, as a pointer
    uint32_t addr_total;
    uint8_t noted;

    uint64_t change; // counts changes of what we hold
    struct list diffs;
    size_t diff_bytes;
    bool sum_stale;
    uint64_t sum;

    bool is_ls_dirty, is_path_urgent;
    bool is_ending; // this router, soon
    struct throttle ls_throttle, ma_throttle, path_throttle, self_throttle;
    struct addr_set pending; // own addresses changed since the last update
    struct mono last_topology_change, ra_sent_at;
    // Versions of all edges: current, as prepared for computations, as in our next hops.
    uint64_t topology, prepared, computed;
    int radius;
    struct tree **trees; // by origin
    uint32_t tree_size;
    size_t tree_bytes;

    struct mono link_at, node_at; // nothing to do for links or nodes before; a lower bound
    struct amqp_writer out, scratch;
    struct output *outputs;
    uint32_t output_count, output_size, output_next;
    struct queued_event *events;
    uint32_t event_count, event_size, event_next;
    char *event_text;
    size_t event_text_len, event_text_size;
};

// --- routing.c -----------------------------------------------------------------------------------

bool throttle_is_open(const struct throttle *t, struct mono now);
void throttle_fire(struct throttle *t, uint32_t min_ms, uint32_t max_ms, struct mono now);

bool bits_get(const struct bits *b, uint32_t at);
void bits_set(struct bits *b, uint32_t at);
void bits_clear(struct bits *b, uint32_t at);
void bits_fini(struct bits *b);

// Do we hold the link state that the node is known to have announced last?
static inline bool node_is_current(const struct node *n)
{
    return n->has_ls && n->heard_ls <= n->ls_seq;
}

static inline struct str node_id(const struct node *n)
{
    return (struct str){n->id, n->id_len};
}

struct node *rt_find(const struct routing *rt, struct str id, uint32_t *number);
// The node, made when it is new; NULL at the limits, which are noted.
struct node *rt_learn(struct routing *rt, struct str id, uint32_t *number, struct mono now);
void rt_forget(struct routing *rt, uint32_t number);
// The instance heard differs from the known one, which must exist.
void rt_restart(struct routing *rt, uint32_t number, int64_t instance, uint32_t gen,
                struct mono now);
// As a HELLO, RA or LSU of the node says it.
void rt_hear_instance(struct routing *rt, uint32_t number, int64_t instance, struct mono now);

// Something has been learnt of the node by the plain protocol: is there still a gap to ask about?
void rt_check_gap(struct routing *rt, uint32_t number, struct mono now);

void rt_event(struct routing *rt, enum routing_event_type type, uint32_t node, uint32_t link);
void rt_event_address(struct routing *rt, enum routing_event_type type, uint32_t node,
                      const struct addr *a);
// Says it once for each set bit.
void rt_note(struct routing *rt, uint8_t *noted, enum note bit, uint32_t node, uint32_t link,
             const char *fmt, ...) PRINTF_LIKE(6, 7);

// Messages are written into rt->out between rt_out_begin() and rt_out_send(), which may be called
// for several links.
size_t rt_out_begin(struct routing *rt);
void rt_out_send(struct routing *rt, uint32_t link, size_t at);
// The annotations of a message that this router sends, or sends on behalf of another one.
struct ctl_path rt_path(const struct routing *rt, uint32_t number, char first[ROUTING_ID_MAX + 3]);
// The link to a node: its next hop, else `fallback`.
uint32_t rt_link_to(const struct routing *rt, const struct node *n, uint32_t fallback);
void rt_wake_link(struct routing *rt, struct mono at);
void rt_wake_node(struct routing *rt, struct mono at);

// --- hello.c -------------------------------------------------------------------------------------

void hello_receive(struct routing *rt, uint32_t link, const struct ctl *m, struct mono now);
void hello_tick(struct routing *rt, struct mono now);
void hello_give_up(struct routing *rt, struct mono now); // peers that were silent for too long
struct mono hello_deadline(const struct routing *rt, const struct rlink *l);
// The peer of this link is no neighbour over it any more.
void hello_end_soon(struct routing *rt, struct mono now); // every HELLO says so, from now on
void hello_lose(struct routing *rt, uint32_t link, struct mono now);

// --- linkstate.c ---------------------------------------------------------------------------------

void ls_receive_ra(struct routing *rt, uint32_t link, const struct ctl *m, struct str bytes,
                   struct mono now);
void ls_receive_lsr(struct routing *rt, uint32_t link, const struct ctl *m, struct mono now);
void ls_receive_lsu(struct routing *rt, uint32_t link, const struct ctl *m, struct mono now);
// Takes the peers of a link state into node `number`. False when they are malformed.
bool ls_apply(struct routing *rt, uint32_t number, int64_t seq, const struct ctl_items *peers,
              struct mono now);
// A plain neighbour has come: it hears of everybody at once.
void ls_introduce(struct routing *rt, uint32_t link, struct mono now);
// Our own neighbours changed: rebuild our edges now, announce soon.
void ls_own_changed(struct routing *rt, struct mono now);
void ls_announce(struct routing *rt, struct mono now);
// An RA of ours, or on behalf of another router, to one link or (ROUTING_NO_LINK) all that are not
// of ours, less `except`.
void ls_send_ra(struct routing *rt, uint32_t number, uint32_t link, uint32_t except,
                struct mono now);
void ls_send_lsr(struct routing *rt, uint32_t number, uint32_t link);
// What we hold of the node has become newer: tell those who speak only the plain protocol.
void ls_tell_plain(struct routing *rt, uint32_t number, struct mono now);
// When the next RA is due after one sent at `last`.
struct mono ls_ra_due(const struct routing *rt, struct mono last);
// Passes a message on as it is, annotations rewritten, to plain neighbours that are not in its
// trace. With `origin` only down the tree of that node.
void ls_forward_flooded(struct routing *rt, uint32_t from, const struct ctl *m, struct str bytes,
                        const uint32_t *origin);
struct str ls_unicast_to(struct routing *rt, struct str id, const char *tail);
// Is this the link that the plain neighbour at its end is reached by?
bool ls_is_plain_way(const struct routing *rt, uint32_t link);
void ls_note_gap(struct routing *rt, uint32_t number, struct mono now);
void ls_put_peers(struct routing *rt, struct amqp_writer *w, const struct node *n, bool wide);
void ls_forward_unicast(struct routing *rt, uint32_t from, const struct ctl *m, struct str bytes,
                        struct str dest);

// --- mobile.c ------------------------------------------------------------------------------------

void addr_set_fini(struct addr_set *set);

void ma_receive_mar(struct routing *rt, uint32_t link, const struct ctl *m);
void ma_receive_mau(struct routing *rt, uint32_t link, const struct ctl *m, struct str bytes,
                    struct mono now);
// Replaces the set; the list has been checked.
void ma_apply_exist(struct routing *rt, uint32_t number, int64_t seq,
                    const struct ctl_items *exist);
// Applies a checked difference that follows what we hold, and keeps it for our neighbours.
const struct diff *ma_apply_diff(struct routing *rt, uint32_t number, int64_t seq,
                                 const struct ctl_items *add, const struct ctl_items *del);
void ma_send_mar(struct routing *rt, uint32_t number, uint32_t link);
// Tells the addresses of a node as added or deleted.
void ma_tell_all(struct routing *rt, uint32_t number, enum routing_event_type type);
// A difference of any router to plain neighbours down its tree (10.8).
void ma_send_diff(struct routing *rt, uint32_t number, const struct diff *d);
void ma_own_add(struct routing *rt, const struct ctl_address *a);
void ma_own_del(struct routing *rt, struct str key);
void ma_clear(struct routing *rt, uint32_t number);
void ma_announce(struct routing *rt, struct mono now);
void ma_drop_diffs(struct routing *rt, struct node *n);
void ma_put_exist(struct amqp_writer *w, const struct node *n);

// --- flood.c -------------------------------------------------------------------------------------

void flood_receive(struct routing *rt, uint32_t link, const struct ctl *m, struct mono now);
// Node `number` changed as heard from link `from` (ROUTING_NO_LINK: anywhere else).
void flood_mark(struct routing *rt, uint32_t number, uint32_t from, struct mono now);
void flood_link_up(struct routing *rt, uint32_t link, struct mono now);
void flood_link_down(struct rlink *l);
void flood_tick(struct routing *rt, uint32_t link, struct mono now);
void flood_prune_diffs(struct routing *rt);
void flood_forget(struct routing *rt, uint32_t number);
uint64_t flood_sum(struct routing *rt);
void flood_compare(struct routing *rt, uint32_t link, uint64_t sum, struct mono now);

// --- path.c --------------------------------------------------------------------------------------

// Computes next hops and reachability, and tells what changed.
void path_compute(struct routing *rt, struct mono now);
// Does any destination behind `link` lie below us in the tree of `origin`?
bool path_is_tree_link(struct routing *rt, uint32_t origin, uint32_t link);
void path_forget(struct routing *rt, uint32_t number);
void path_fini(struct routing *rt);
