// SPDX-License-Identifier: Apache-2.0
// The objects inside a router and who owns whom. Inside the folder router only.
//
//   router ─ owns ─ addresses (map by key), connections (list), neighbours (array), routing
//   connection ─ owns ─ amqp engine, links
//   link ─ in: deliveries that came on it; out: copies queued for it or sent and not settled
//   delivery ─ owns ─ its stored bytes and its copies (outgoing)
//
// A delivery exists only while something about it is still open: bytes to come or to send, or an
// outcome to pass on. A whole, pre-settled message whose next link is ready never becomes one.
#pragma once

#include <assert.h>

#include "base/list.h"
#include "base/map.h"
#include "base/rng.h"
#include "router/router.h"
#include "router/routing.h"

enum {
    ADDRESS_MAX = 1024, // bytes of an address text; longer ones are refused
    ADDRESS_COUNT_MAX = 1000000,
    LINK_CAPACITY = 250, // default credit
    PRIORITY_COUNT = 10,
    PRIORITY_DEFAULT = 4,
    MEMO_TEXT_MAX = 127,
    INSIDE_BYTES = 1024 * 1024, // the longest message that a consumer inside the router takes
    HOLD_BYTES = 64 * 1024,   // an unfinished message becomes a stream when more than this has come
    STREAM_HIGH = 512 * 1024, // stored bytes of one stream at which its sender is held …
    STREAM_LOW = 128 * 1024,  // … and at which it may go on
    NEIGHBOUR_MAX = 4096,
    STREAM_LINKS_KEPT = 128, // idle streaming links of a neighbour that stay for a while
    STREAMS_SHARE = 12,      // those of one session, when none of them holds its window
};

enum { NO_NEIGHBOUR = UINT32_MAX };
enum { ROUTER_EVENT_MAX = 256, OBJECT_KINDS = 5 };

// Offered in open by routers that understand our extensions (docs/protocol.md).
#define ROUTER_OUR_CAPABILITY "skupper.flood"

// Flags in annotations, not on the wire of other makes.
enum {
    RA_OURS = 8, // this bit and all above
    // The message was pre-settled at its ingress and travels unsettled between our routers, so that
    // the ingress gives credit back only when it has left the network.
    RA_HELD = 8,
    RA_NUMBER_SHIFT = 4, // the rest numbers the multicasts of an ingress; 0: none (once.c)
};

// Annotations that we take, and those that we write: what came, with ours added. A trace is about
// as long as the network is wide.
enum { RA_MAX = 48 * 1024, HEAD_MAX = RA_MAX + 4096 };
static_assert(HEAD_MAX - RA_MAX > ADDRESS_MAX + 2 * ROUTER_ID_MAX + 256, "no room for ours");

struct outgoing;
struct seen;
struct delivery;
struct router_link;

struct remote {
    uint32_t node;
    int treatment;
};

// An in-process consumer: gets whole messages.
struct inside {
    router_receive *receive;
    void *user;
};

struct address {
    struct str key; // class letter and text; NUL-terminated
    enum router_treatment treatment;
    int priority;          // configured, or -1
    struct list consumers; // out links: router_link.on_address; the next to serve is first
    struct list producers; // in links with this fixed target
    struct list watches;   // router_watcher.on_address; they count as producers
    uint32_t consumer_count, producer_count;
    uint32_t proxy_count;  // consumers that stand for another router's (edge)
    struct inside *inside; // owned
    struct remote *remotes;
    uint32_t remote_count, remote_size;
    uint32_t remote_next;  // round robin among equals
    uint32_t *outstanding; // unsettled through neighbour n
    uint32_t outstanding_size;
    struct list waiting; // outgoing.on_link: for the first local consumer that has credit
    uint32_t waiting_count;
    bool all_nodes; // topological multicast: every router is a destination
    bool is_pinned; // never freed; what is inside is for this router alone
    bool had_destination, is_published;
    struct list on_changed;                   // router.changed_addresses
    uint32_t delivery_refs;                   // deliveries that name it
    struct router_link *proxy_in, *proxy_out; // of an edge router, towards its interior
    uint64_t ingress, egress, transit, to_container, from_container;
};

// What the last message of a link named: the same names come again and again, and then no hash is
// computed.
struct memo {
    struct address *address;
    uint32_t address_generation;
    uint32_t node, node_generation;
    uint8_t to_len, ingress_len;
    char to[MEMO_TEXT_MAX], ingress[MEMO_TEXT_MAX];
};

enum link_kind {
    LINK_ENDPOINT,  // of a client
    LINK_CONTROL,   // routing protocol
    LINK_DATA,      // inter-router, of one priority
    LINK_STREAM,    // inter-router, one stream at a time
    LINK_UPLINK,    // of an edge router: everything that is not local, outwards
    LINK_DOWNLINK,  // … and everything for it, inwards
    LINK_PROXY_IN,  // an edge router's, for an address it has consumers for
    LINK_PROXY_OUT, // … has producers for
    LINK_TRACKING,  // which addresses of an edge router have a destination elsewhere
    LINK_MESH,      // announcements of mesh ids
    LINK_INSIDE,    // of a consumer of streams inside the process; nothing is behind it
};

// How many there were in each of the last seconds.
enum { RATE_SECONDS = 5 };
struct rate {
    int64_t second;
    struct mono ends; // of that second
    uint32_t counts[RATE_SECONDS];
};

// What became of the deliveries of a link.
struct link_counts {
    uint64_t presettled, dropped_presettled, accepted, rejected, released, modified;
    uint64_t delayed_1s, delayed_10s;
    struct rate rate;  // of settled ones
    uint64_t *origins; // out: settled ones by the node where they entered the network
    uint32_t origin_count;
};

struct router_link {
    struct list on_conn;
    struct list on_address; // address.consumers or .producers
    union {
        struct list on_idle;    // LINK_STREAM out and idle: one of router_conn.idle_streams
        struct list on_lagging; // LINK_ENDPOINT out: router.lagging
    };
    struct list on_stalled; // out: router_conn.stalled
    struct router_conn *conn;
    struct amqp_link *amqp;
    struct address *address; // fixed; NULL: anonymous, or none
    enum link_kind kind;
    bool is_out : 1;        // we send
    bool is_attached : 1;   // both sides
    bool is_router : 1;     // carries annotations
    bool is_streaming : 1;  // every delivery is a stream from its start
    bool is_resend : 1;     // qd.resend-released
    bool wants_settled : 1; // out: the consumer asked for pre-settled deliveries only
    bool is_proxy : 1;      // stands for another router's consumers or producers
    bool is_far : 1;        // out, of an edge or a shard: nearer ones come first
    bool is_leaving : 1;    // in: gets no more credit, a newer uplink has taken over
    bool is_shared : 1;     // LINK_STREAM out: its session has others like it
    bool is_stuck : 1;      // out: no progress for long, see lag.c
    uint8_t told;           // in, of an edge: what it has heard of destinations elsewhere
    uint8_t priority;
    uint32_t capacity;
    struct address *proxied;
    uint64_t id;
    union {
        struct list deliveries; // in: delivery.on_link
        struct list queue;      // out: outgoing.on_link, not begun
    };
    union {
        char *target;               // in: text of its fixed address
        struct router_taker *taker; // LINK_INSIDE, which is out
    };
    union {
        struct {                 // in
            uint32_t open_count; // deliveries whose credit has not been given back
            uint32_t held_count; // those because of which its session's window is held
            struct memo *memo;   // the last look-ups on this link; NULL until the first
        };
        struct list moved; // out: outgoing.on_moved: chosen for it, sent on a streaming link
    };
    // out
    struct list sent; // outgoing.on_link: begun and not settled
    uint32_t queue_count, sent_count, moved_count;
    struct outgoing *current; // begun and not complete
    // counters
    uint64_t delivery_count;
    struct link_counts *counts; // NULL: none yet
    struct mono dry_since;      // without credit; MONO_NEVER: it has some
    union {
        struct mono stalled_since; // out, with a queue: no progress since
        struct mono idle_since;    // on_idle
    };
};

struct neighbour {
    uint32_t number; // index, and link number in routing
    struct router_conn *conn;
    struct router_link *control_in, *control_out;
    struct router_link *data_out[PRIORITY_COUNT];
    uint8_t data_in_count, data_out_count;
    bool is_up;             // told to routing
    bool is_ours;           // offered our extensions
    struct mono used_since; // HELLO has shown it to work both ways; MONO_NEVER: not now
    struct list data_conns; // router_conn.on_group
};

struct router_conn {
    struct list on_router;
    struct list on_dirty;
    struct router *router;
    struct amqp_conn *amqp;
    enum router_role role;
    bool is_server, is_open, is_closed, strip_in, strip_out, is_dropped;
    int cost;
    uint32_t link_capacity;
    uint32_t window; // frames, for sessions of ours
    uint64_t id;
    struct list links;
    struct list stalled;         // router_link.on_stalled: links that wait for room
    struct list idle_streams[2]; // router_link.on_idle by is_shared, the one used last at the end
    uint32_t idle_stream_count;  // on both
    struct amqp_session *shared_session; // of the next streams that share one; NULL: none begun
    uint32_t shared_count;               // links attached on it so far
    struct list on_surplus;              // router.surplus: has idle streaming links to close
    struct amqp_session *endpoint_session;
    struct neighbour *neighbour; // inter-router control connection, or the one it carries data for
    bool is_ending;              // the router it leads to has said that it ends soon
    bool is_retired;             // a newer generation of its group has taken over
    struct mono leaves_at;       // an older uplink: retired then; 0: it is none
    bool is_drained;             // likewise: its interior was asked to send nothing more
    struct list on_group;        // neighbour.data_conns, or router.data_conns while alone
    char correlator[RNG_ID_LEN + 1];
    uint64_t ordinal;
    bool is_ours, takes_streams, trunks;
    char mesh[RNG_ID_LEN + 1];
    struct router_link *tracking; // role edge
    char *name, *host, *local, *user, *tls_protocol, *tls_cipher, *hostname, *container;
    int tls_bits;
    int64_t tls_ordinal;
    struct mono opened_at, last_delivery;
    unsigned sasl;
    void *user_data;
};

// Bytes of a message, as they came in one frame. Freed when the last copy has sent them.
struct chunk {
    struct chunk *next;
    uint32_t refs; // copies that have not sent it yet
    uint32_t len;
    uint8_t data[];
};

// One copy of a delivery on its way to one consumer.
struct outgoing {
    struct list on_link;     // link.queue, link.sent or address.waiting
    struct list on_delivery; // delivery.copies
    struct delivery *delivery;
    struct router_link *link;   // NULL while waiting at the address
    struct amqp_delivery *amqp; // NULL until begun, and after it is gone
    struct router_sink *sink;   // LINK_INSIDE: once it was taken
    struct router_link *moved;  // the link it was chosen for, when another one carries it
    struct list on_moved;
    struct chunk *chunk; // next to send; NULL: all that is there has been sent
    uint32_t chunk_at;
    uint32_t neighbour;        // counted as outstanding there, or NO_NEIGHBOUR
    uint32_t head_at;          // bytes of its annotations that have been sent
    bool is_begun, is_written; // all bytes have been taken
};

struct tried {
    struct router_conn *at[4];
    uint8_t count;
};

struct delivery {
    struct router *router;
    union {
        struct list on_link;        // router_link.deliveries of `in`
        struct delivery *next_free; // while it is a spare one
    };
    struct list on_full;          // router.full
    struct router_link *in;       // NULL: its link is gone, or it comes from inside
    struct amqp_delivery *amqp;   // NULL: settled, nobody waits for an outcome
    struct router_source *source; // it comes from inside the process
    struct address *address;
    struct chunk *first, *last; // first: the oldest that some copy has not sent
    size_t stored;
    uint32_t ra_len; // bytes of annotations at the front of the first chunk
    uint32_t format;
    uint32_t ingress;    // node; of a shard: see origin_number()
    uint32_t copy_count; // not finished
    struct mono arrived;
    struct list copies;         // outgoing.on_delivery
    struct outgoing one;        // the first copy
    bool is_presettled : 1;     // its sender wants no outcome, at the ingress of the network
    bool is_source_settled : 1; // nor at this hop
    bool is_complete : 1, is_streaming : 1, is_multicast : 1;
    bool is_routed : 1;     // its copies are known
    bool is_forwarding : 1; // copies are being added or walked: it must not end now
    bool is_held : 1;       // its session's window is closed because of it
    bool no_hold : 1;       // its sender watches a window of its own
    bool is_swallowed : 1;  // finished, only its remaining frames are waited for
    bool was_dropped : 1;   // a copy was, and that is counted
    bool resend : 1;        // released copies are tried elsewhere; everything stays stored
    uint8_t priority;
    enum amqp_outcome_type outcome; // combined so far
    struct str outcome_bytes;       // owned
    struct tried *tried;            // resend-released: where it has been; NULL: nowhere yet
};

// Its sender has settled it with, or before, its last frame, which is passed on with that.
static inline bool ends_settled(const struct delivery *d)
{
    return d->is_source_settled && !d->is_presettled;
}

struct treatment_rule;

enum { ONCE_PARKED = 64 };
struct parked {
    char *id; // of a router; NULL: none
    struct seen *seen;
};

struct router {
    char *id;
    char *node_text; // "0/<id>", as in annotations
    uint64_t (*resident_bytes)(void);
    char *version;
    enum router_mode mode, hub_mode;
    struct router *hub;                       // of a shard; only its rules are looked at
    struct router *shards[ROUTER_SHARDS_MAX]; // borrowed
    uint32_t shard_count;
    void (*hold)(void *user, bool on);
    void *hold_user;
    enum router_treatment default_treatment;
    struct pool *pool;
    struct mono now;
    struct rng rng;
    struct map addresses;
    uint32_t address_generation; // changes when an address is freed
    uint32_t node_generation;    // changes when routes do
    uint32_t multicast_number;   // the last one given
    struct seen **seen;          // by node
    uint32_t seen_size, parked_next;
    struct parked parked[ONCE_PARKED]; // of those that have gone last
    uint64_t *came_down;               // the hashes of multicasts; NULL: no uplink takes over
    struct list changed_addresses;
    struct list conns, dirty, surplus;
    struct list data_conns;      // of groups whose control connection is not known yet
    struct router_conn *inside;  // what LINK_INSIDE links are on; not in `conns`
    struct router_link *orphans; // LINK_INSIDE: streams whose consumer has closed
    struct address *replies;     // all that is for a router_reply
    struct router_reply **reply_slots;
    uint32_t reply_size, reply_free; // reply_free: where to look for a free slot first
    struct neighbour *neighbours[NEIGHBOUR_MAX];
    uint32_t neighbour_count;   // highest in use + 1
    struct routing *routing;    // NULL unless interior
    struct mono scrub_at;       // when idle streaming links are looked at again
    struct mono lag_at;         // when consumers that fall behind are looked at again
    struct list lagging;        // router_link.on_lagging
    struct list full;           // delivery.on_full: held because too much is stored
    struct map origins;         // of a shard: numbers of routers' names
    struct router_conn *uplink; // mode edge: the active one
    char mesh[RNG_ID_LEN + 1];  // mode edge
    struct mgmt_agent *agent;
    struct mgmt_provider providers[OBJECT_KINDS];
    struct map rules;             // by key, see rules.c
    struct treatment_rule **wild; // those of them that have wildcards
    uint32_t rule_count, wild_count;
    struct delivery *free_deliveries; // linked by next_free
    uint32_t free_delivery_count;
    uint64_t next_id;
    size_t stored, stored_max, link_count, conn_count, delivery_count;
    struct router_event *events; // ring
    uint32_t event_first, event_count;
    struct router_stats stats;
    struct mono started;
};

// A message that has just arrived (or was made here) and is to be routed.
struct arrival {
    struct router_link *link;   // NULL: from inside
    struct amqp_delivery *amqp; // NULL: settled
    struct delivery *delivery;  // already stored; NULL: `bytes` is all of it
    struct str bytes;           // from the annotations on, as far as it has come
    struct amqp_msg msg;
    uint32_t format;
    uint32_t ingress; // node
    bool is_presettled, is_complete;
    bool was_sent;    // to somebody, without an object that would tell
    bool was_dropped; // towards somebody, and that is counted
    bool is_numbered; // by us: what it came with does not tell the number
};

// address.c
bool address_classify(const struct router *r, struct str text, char key[ADDRESS_MAX + 64],
                      struct str *out);
struct address *address_find(struct router *r, struct str text);
struct address *address_find_key(const struct router *r, struct str key);
struct address *address_obtain(struct router *r, struct str text); // NULL: refused
struct address *address_obtain_key(struct router *r, struct str key);
void address_add_consumer(struct address *a, struct router_link *l);
void address_add_producer(struct address *a, struct router_link *l);
void address_remove_link(struct router *r, struct router_link *l);
void address_set_remote(struct router *r, struct address *a, uint32_t node, int treatment);
void address_unset_remote(struct router *r, struct address *a, uint32_t node);
bool address_has_destination(const struct address *a);
uint32_t address_others(const struct address *a); // as router_others() means it
void address_changed(struct router *r, struct address *a);
void address_settle_changes(struct router *r);
void address_free_all(struct router *r);

// rules.c
const struct treatment_rule *rule_for(const struct router *r, struct str address);
enum router_treatment rule_treatment(const struct treatment_rule *t);
int rule_priority(const struct treatment_rule *t);
void rules_free(struct router *r);

// router.c
void router_hold(const struct router *r, bool on);            // its shards stand still while on
struct router *router_part(struct router *r, uint32_t index); // itself, its shards, then NULL
void router_settle(struct router *r); // what follows from changes, until nothing does

// conn.c
void conn_ends(struct router_conn *c); // the router that was dialled on it ends soon
void conn_mark(struct router_conn *c);
void router_conn_drop(struct router_conn *c, const char *why);
struct amqp_session *conn_endpoint_session(struct router_conn *c);
void event_add(struct router *r, enum router_event_type type, struct router_conn *c,
               const char *fmt, ...) PRINTF_LIKE(4, 5);

// link.c
struct router_link *link_new(struct router_conn *c, struct amqp_link *al, enum link_kind kind,
                             bool is_out);
struct router_link *link_open(struct router_conn *c, struct amqp_session *s, enum link_kind kind,
                              bool is_out, const struct amqp_attach *attach);
void link_attached(struct router_conn *c, struct amqp_link *al);
void link_detached(struct router_link *l); // frees it; the engine's part is gone
void link_close(struct router_link *l, const char *condition, const char *description);
void link_refill(struct router_link *l);   // credit up to what may stand now
void link_pump(struct router_link *l);     // sends what is queued, as far as it is ready
void link_go_on(struct router_link *l);    // ... and what waits at its address
bool link_is_ready(struct router_link *l); // and if it is not, it is pumped when there is room
void link_stall(struct router_link *l);
void link_note_credit(struct router_link *l); // it may have come or been used up
void link_init(struct router_link *l, struct router_conn *c, enum link_kind kind, bool is_out);

// delivery.c
void delivery_arrived(struct router_link *l, const struct amqp_event *ev);
void delivery_updated(struct amqp_delivery *ad, const struct amqp_event *ev);
struct delivery *arrival_delivery(struct router *r, struct arrival *a); // made when first needed
void arrival_store(struct router *r, struct arrival *a); // its bytes are kept in its delivery
void arrival_finish(struct router *r, struct arrival *a, enum amqp_outcome_type type);
void delivery_name_address(struct router *r, struct delivery *d, struct address *a);
void delivery_in_lost(struct delivery *d);
void delivery_done(struct delivery *d); // all copies are finished: the outcome goes back
void delivery_push(struct delivery *d);
void delivery_more(struct delivery *d, struct str bytes, bool last); // may end it
struct str delivery_gather(const struct delivery *d, uint8_t *room, size_t size);
void delivery_append(struct delivery *d, struct str bytes);
void delivery_flatten(struct delivery *d); // all that is stored into one chunk
void delivery_trim(struct delivery *d);    // frees what every copy has sent
void deliveries_free(struct router *r);    // the spare ones

// outgoing.c
struct outgoing *outgoing_new(struct delivery *d);
void outgoing_take(struct outgoing *o); // it will send the stored bytes, from the front
void outgoing_queue(struct outgoing *o, struct router_link *l);
void outgoing_wait(struct outgoing *o, struct address *a);
void outgoing_adopt(struct outgoing *o, struct router_link *l, struct amqp_delivery *ad);
void outgoing_count(struct router_link *l, bool is_presettled); // one more goes out on it
bool outgoing_begin(struct outgoing *o, struct router_link *l);
bool outgoing_write(struct outgoing *o);
void outgoing_advance(struct outgoing *o, size_t taken);
void outgoing_finish(struct outgoing *o, const struct amqp_outcome *outcome);
void outgoing_resume(struct outgoing *o, size_t head_len, size_t taken);
void outgoing_lost(struct outgoing *o);
void outgoing_resend(struct outgoing *o);
bool goes_settled(bool is_presettled, const struct router_link *l);
size_t annotations_for(const struct router *r, const struct amqp_ra *in,
                       const struct router_link *out, bool is_presettled, uint8_t *head);

// count.c
void count_on_link(struct router_link *l, enum amqp_outcome_type type);
// A delivery that came on `in` is over; NULL d: it was never stored, `a` is all there is.
void count_end(struct router *r, struct router_link *in, const struct delivery *d,
               const struct arrival *a, enum amqp_outcome_type type);
void count_sent(struct router_link *l, uint32_t origin); // pre-settled, at once
void count_left(struct router_link *l, const struct delivery *d, enum amqp_outcome_type type);
void count_presettled(struct router_link *l);
void count_dropped(struct router_link *l);                            // a pre-settled copy for it
void count_present(const struct router *r, struct router_stats *out); // stuck, blocked
uint32_t origin_number(struct router *shard, struct str name);        // ROUTING_NO_NODE: too many
struct amqp_val *link_origins(const struct router *hub, const struct router_link *l);
const struct link_counts *link_counts(const struct router_link *l);
void counts_free(struct router_link *l);
uint32_t link_settle_rate(const struct router_link *l, struct mono now);
uint32_t link_stuck(const struct router_link *l);
int64_t link_dry_s(const struct router_link *l); // without credit for so long

// lag.c
void lag_note(struct router_link *l); // a pre-settled multicast waits for it
// Shall a pre-settled copy for a consumer that is not ready be dropped?
bool lag_passes_by(const struct router_link *l, bool is_held_back);
void lag_tick(struct router *r);

// once.c
void once_init(struct router *r); // once r->rng is there
uint32_t once_next(struct router *r);
// And not any more after this. `id` is the node's, under which it may have been known before.
bool once_is_new(struct router *r, uint32_t node, struct str id, uint32_t number);
// Of an edge router: has this multicast come down another of its uplinks already? True at most from
// once_begin() to once_end(), while a newer uplink takes over: until the interior has heard on both
// of what is attached where, it sends a multicast down both.
void once_begin(struct router *r);
void once_end(struct router *r);
bool once_has_come_down(struct router *r, struct str ingress, uint32_t number);
void once_forget(struct router *r, uint32_t node, struct str id); // the node's number is another's
void once_fini(struct router *r);

// forward.c
void forward(struct router *r, struct arrival *a);
void forward_number(struct router *r, struct arrival *a, const struct address *to);
void forward_again(struct delivery *d); // its way is gone and nothing of it was sent
void forward_waiting(struct router *r, struct address *a); // its consumers changed
void address_serve(struct router_link *consumer);
struct address *arrival_address(struct router *r, struct arrival *a);
uint32_t arrival_node(struct router *r, struct router_link *l, struct str ingress);
void forward_to_link(struct router *r, struct arrival *a, struct router_link *l);
bool forward_inside(struct router *r, struct str to, struct str bytes);

// network.c
void network_opened(struct router_conn *c);
bool network_attach(struct router_conn *c, struct amqp_link *al);
void network_link_up(struct router_link *l);
void network_link_down(struct router_link *l);
void network_conn_lost(struct router_conn *c);
void network_control(struct router_link *l, struct str bytes);
void network_alive(struct router_conn *c); // bytes have come
void network_publish(struct router *r, struct address *a);
void network_tell_reach(struct router *r, const struct address *a);
void network_poll(struct router *r);
struct router_link *network_stream_link(struct neighbour *n, bool no_hold);
struct router_link *network_conn_stream_link(struct router_conn *c, bool no_hold);
void network_stream_done(struct router_link *l);
void network_stream_unused(struct router_link *l);
void network_trim_streams(struct router *r); // closes idle streaming links that are too many
void network_tick(struct router *r);
bool network_is_joined(const struct router_conn *c); // as router_is_joined() means it

// edge.c
void edge_opened(struct router_conn *c);
bool edge_is_joined(const struct router_conn *c); // as router_is_joined() means it
bool edge_attach(struct router_conn *c, struct amqp_link *al);
void edge_link_down(struct router_link *l);
void edge_conn_lost(struct router_conn *c);
void edge_drained(struct router_link *l); // one that is_leaving
void edge_end_soon(struct router *r);     // edge routers of ours are told
bool edge_retire(struct router *r); // older uplinks; true while there are some to look at again
void edge_address_changed(struct router *r, struct address *a);
void edge_proxy_changed(struct router *r, struct address *a);
void edge_tracked(struct router_link *l, struct str bytes);
void edge_mesh(struct router_link *l, struct str bytes);

// inside.c
void inside_init(struct router *r);

// stream.c
void stream_init(struct router *r);
void stream_fini(struct router *r);
bool stream_begin(struct outgoing *o, struct router_link *l);
bool stream_write(struct outgoing *o); // stored bytes to its sink
void stream_lost(struct outgoing *o);  // it ends, and its sink did not ask for that
void stream_settled(struct delivery *d);
void stream_ready(struct delivery *d);
void stream_received(struct delivery *d, const struct amqp_outcome *state);
void stream_watch(struct address *a); // tells who watches
void stream_tell_reach(const struct address *a, uint32_t others);
void stream_tell_announced(const struct address *a);

// objects.c
void objects_register(struct router *r);
