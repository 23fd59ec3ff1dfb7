// SPDX-License-Identifier: Apache-2.0
// The insides of the simulator, shared by its own sources.
#pragma once

#include "base/heap.h"
#include "base/list.h"
#include "base/map.h"
#include "base/rng.h"
#include "sim.h"

enum timer_kind { OF_ROUTER, OF_END, OF_PACKET, OF_CLIENT };

struct sim_timer {
    struct timer timer;
    enum timer_kind kind;
};

struct end {
    struct sim_wire *wire;
    struct router_conn *conn;  // a router's …
    struct sim_client *client; // … or a client's
    uint32_t router;
    struct list incoming; // packets
    size_t in_flight;     // bytes that left here and have not arrived
    struct mono free_at, last_at;
    struct sim_timer arrival, deadline;
    struct list on_woken;
};

struct sim_wire {
    struct list on_sim;
    struct end ends[2];
    int cost;
    uint32_t delay_ms, jitter_ms, bytes_per_ms;
    bool is_joined, is_silent, is_client, is_shard;
};

struct station {
    struct router *router;
    struct pool *pool;
    struct sim_timer deadline;
    char id[16];
    uint32_t starts;
};

struct sim {
    struct rng rng;
    struct mono now;
    struct heap heap;
    struct station *stations; // the routers, then the shards of the first, of the second, …
    uint32_t station_count, shards, block_size;
    size_t stored_max; // of each router
    struct list wires, clients, woken;
    uint64_t steps, packets, bytes;
    struct sim_client **by_number; // NULL when it has ended
    uint32_t client_count;
    char fault[256];
};

// Client.c's state of one message of a sender.
enum { MSG_UNSENT, MSG_OPEN, MSG_ACCEPTED, MSG_RELEASED, MSG_OTHER, MSG_UNKNOWN, MSG_SEEN = 16 };

struct sim_client {
    struct list on_sim;
    struct sim *sim;
    struct sim_client_opts opts;
    struct amqp_conn *conn;
    struct amqp_link *link;
    struct sim_wire *wire;
    struct pool *pool;
    struct sim_counts counts;
    struct sim_timer turn; // with a pace
    uint32_t number;
    uint8_t *states;               // sender: of each message
    struct amqp_delivery *current; // … in progress
    size_t written;
    struct map seen; // receiver: "client:number"
    struct amqp_delivery **held;
    uint32_t held_count, held_size;
    char address[64];
};

enum { SIM_BLOCKS = 1 << 20 };

void sim_report(struct sim *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
void sim_wake(struct sim *s, struct end *e);
// A wire between a client, at its first end, and a router.
struct sim_wire *sim_client_wire(struct sim *s, uint32_t router);
void sim_client_join(struct sim *s, struct sim_wire *w);

// client.c
void client_connect(struct sim_client *c);
void client_lost(struct sim_client *c);
void client_poll(struct sim_client *c);
void client_turn(struct sim_client *c);
