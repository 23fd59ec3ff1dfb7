// SPDX-License-Identifier: Apache-2.0
// The threads of a running router. Inside the folder node only.
//
// Worker 0 is the main thread: it has the hub (router.h), all links to other routers, management
// and configuration, and it accepts. Each further worker is a thread with a loop, a pool and a
// shard of its own, and serves clients that worker 0 hands over as sockets. Workers talk by mail:
// the bytes of the connection between hub and shard, one piece of mail for all of a turn.
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "base/log.h"
#include "base/mailbox.h"
#include "net/net.h"
#include "router/router.h"

struct node;

// What the user data of every router connection begins with.
struct end {
    struct net_stream *stream; // NULL: a wire between hub and shard
};

// One end of such a wire; touched by its own thread, but for the atomics.
struct wire {
    struct end end;
    struct router_conn *conn;
    struct worker *to;       // whose mailbox the other end reads
    struct wire *other;      // the other end
    atomic_size_t in_flight; // bytes sent from here that the other end has not taken yet
    atomic_bool is_waiting;  // more stands here than may be in flight
};

struct worker {
    struct node *node;
    int index;
    struct net_loop *loop;
    struct pool *pool;
    struct router *router;
    struct net_timer router_timer;
    struct log_sources bad_peers, peers; // for lines that a peer can cause: of faults, of others
    struct log_limit notes;              // likewise, without an address
    struct mailbox mailbox;
    pthread_t thread;
    bool is_running;      // the thread, of a further worker
    struct wire up, down; // further workers: their end, and worker 0's end
    atomic_ulong ended;   // connections handed to it that are over
    unsigned long placed; // handed to it; worker 0's
};

// Makes `count` workers, the loop of the first included, and the routers by `opts` (whose pool,
// mode and shard are filled in for shards). Returns 0 or ERR_IO.
int workers_new(struct node *n, int count, struct router_opts *opts);
void workers_free(struct node *n); // after workers_stop
int workers_start(struct node *n); // the threads; 0 or ERR_IO
void workers_stop(struct node *n); // ends and joins them
// For router_set_hold(): the further workers stand still while on. May nest.
void workers_hold(void *node, bool on);
// The worker that should serve the next connection, counted as handed to it. While worker 0 has
// few, it gets them all: a message that stays on one thread wakes nobody.
struct worker *workers_place(struct node *n);
// Hands it an accepted socket for `listener` (of its loop).
void worker_give(struct worker *w, struct net_listener *listener, int fd);
// What the router wants of the loop: events told, output marked, timer set.
void worker_settle(struct worker *w, struct mono now);
