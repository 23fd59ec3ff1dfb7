// SPDX-License-Identifier: Apache-2.0
// Whole routers, the shipped code, in one process over wires made of memory, in virtual time. What
// happens follows from a seed alone, so a failure is replayed by its seed.
//
// The simulator watches while it runs, and stops at the first thing that must never happen (see
// sim_fault): a message settled twice, accepted though nobody got it, released though somebody did,
// received twice by one receiver; a transfer without credit or window; a router or a client that
// finds its peer breaking the protocol.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "amqp/amqp.h"
#include "base/mono.h"
#include "router/router.h"

struct sim;
struct sim_wire;
struct sim_client;

// With an even seed routers store little, so that being full is met all the time.
// Each router has `shards` beside its hub (router.h), joined to it by wires that lose nothing and
// take up to a millisecond; its clients are spread over all of them.
struct sim *sim_new(uint64_t seed, uint32_t router_count, uint32_t shards, uint32_t block_size);
void sim_free(struct sim *s);
struct mono sim_now(const struct sim *s);
struct router *sim_router(struct sim *s, uint32_t index); // NULL while it is down
size_t sim_blocks_used(struct sim *s, uint32_t index);    // of that router's pools
uint32_t sim_below(struct sim *s, uint32_t bound);        // a number from the seed
// What must never happen and did; NULL while all is well.
const char *sim_fault(const struct sim *s);

// A link between two routers; `a` dials. Bytes take about `delay_ms` each way.
struct sim_wire *sim_link(struct sim *s, uint32_t a, uint32_t b, int cost, uint32_t delay_ms);
// Each packet from now on takes `delay_ms` and up to `jitter_ms` more, and so many bytes pass in a
// millisecond (0: any number). An end that cannot get rid of its bytes waits, as for a socket.
void sim_delay(struct sim_wire *w, uint32_t delay_ms, uint32_t jitter_ms, uint32_t bytes_per_ms);
// As if the cable were cut and both ends were told; a later sim_join dials anew.
void sim_cut(struct sim *s, struct sim_wire *w);
void sim_join(struct sim *s, struct sim_wire *w);
// As if the cable were pulled: nobody is told, bytes vanish.
void sim_silence(struct sim *s, struct sim_wire *w);
bool sim_is_joined(const struct sim_wire *w);
// kill -9 and start: everything the router knew is gone, its links are dialled anew. Clients of a
// router that comes back connect again; what a sender had open then is nobody's claim any more.
void sim_kill(struct sim *s, uint32_t index);
void sim_start(struct sim *s, uint32_t index);

// Runs until the virtual time has come, a fault is found, or `done` says so (asked after every
// instant in which something happened; may be NULL). Returns whether `done` was reached.
bool sim_run(struct sim *s, uint32_t ms, bool (*done)(struct sim *s, void *user), void *user);
// All routes equal the shortest paths over the wires that are joined.
bool sim_routes_are_right(struct sim *s, void *unused);
// Steps (inputs handed to an engine), packets and bytes carried so far.
uint64_t sim_steps(const struct sim *s);
uint64_t sim_packets(const struct sim *s);
uint64_t sim_bytes(const struct sim *s);

// ---------------------------------------------------------------------------------------- clients

struct sim_client_opts {
    uint32_t router;
    const char *address;
    uint32_t address_count; // receiver: a link for address/0, address/1, …; 0: for address alone
    bool is_sender, presettled;
    uint32_t credit;  // receiver
    uint32_t holds;   // receiver: leaves so many unsettled before it accepts any
    uint32_t to_send; // sender: so many messages of `size`
    uint32_t size;
    uint32_t pace_ms; // sender: between two messages; receiver: before it accepts one; 0: none
};

struct sim_counts {
    uint32_t sent, accepted, released, modified, rejected, outstanding; // sender
    uint32_t unknown;                                                   // … lost with its router
    uint32_t received;                                                  // receiver
    uint32_t attached;                                                  // links
};

struct sim_client *sim_client_new(struct sim *s, const struct sim_client_opts *opts);
void sim_client_end(struct sim *s, struct sim_client *c); // closes its connection at once
const struct sim_counts *sim_counts(const struct sim_client *c);
struct sim_wire *sim_wire_of(const struct sim_client *c);
// Did the receiver get message `number` of that sender?
bool sim_has(const struct sim_client *receiver, const struct sim_client *sender, uint32_t number);
