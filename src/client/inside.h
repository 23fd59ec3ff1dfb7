// SPDX-License-Identifier: Apache-2.0
// The connection, its links and requests. Inside the folder client only.
#pragma once

#include "base/heap.h"
#include "base/list.h"
#include "base/map.h"
#include "client/client.h"

struct client {
    struct amqp_conn *conn;
    struct pool *pool;
    struct amqp_session *session;
    bool is_open, is_closed;
    char *why;         // words of CLIENT_CLOSED
    struct list links; // client_link.on_client
    size_t link_count;
    uint64_t next_link; // for names
    struct list busy;   // client_link.on_busy: senders whose messages wait
    size_t unsent;      // octets
    struct list events; // event.on_client
    struct event *told; // what the owner looks at
    size_t unread;      // octets in events
    size_t held;        // those, and messages that are not whole
    // Management.
    struct client_link *asker, *replies; // NULL until they are needed
    char *reply_to;                      // NULL until the router has named it
    struct map requests;                 // by id
    struct list unasked;                 // request.on_unasked
    struct heap timers;                  // of requests
    uint64_t next_request;
    struct mono now;
};

struct client_link {
    struct list on_client, on_busy;
    struct client *client;
    struct amqp_link *link; // NULL: not attached yet, or gone
    char *address;
    void *user;
    bool is_sender, is_gone;
    uint32_t credit;
    // Sender.
    struct list unsent;    // outgoing.on_link
    struct list unsettled; // outgoing.on_link: sent, no outcome yet
    size_t unsent_count;
    // Receiver: the message that comes in.
    struct amqp_writer part;
    bool is_too_large;
};

struct outgoing {
    struct list on_link;
    struct client_link *link;
    struct amqp_delivery *delivery; // begun
    uint64_t token;
    bool settled;
    uint8_t *bytes;
    size_t len, at;
};

struct event {
    struct list on_client;
    struct client_event ev;
    size_t size;     // octets it holds
    bool has_credit; // a message: its receiver's credit goes back when it has been taken
    char *bytes, *words;
};

// client.c
struct event *client_event_add(struct client *c, enum client_event_type type, struct client_link *l,
                               void *user);
void client_drain(struct client *c); // all that the connection has to tell

// link.c
struct client_link *client_link_new(struct client *c, const char *address, void *user);
void link_attach(struct client_link *l, bool is_dynamic);
void link_on_attached(struct client_link *l);
void link_on_transfer(struct client_link *l, const struct amqp_event *ev);
void link_on_updated(struct client_link *l, const struct amqp_event *ev);
void link_on_detached(struct client_link *l, const struct amqp_event *ev);
void links_pump(struct client *c);

// ask.c
void ask_on_open(struct client *c);
void ask_on_address(struct client *c, struct str address); // answers go there
void ask_on_reply(struct client *c, struct str message, bool is_cut);
void ask_on_outcome(struct client *c, uint64_t id, enum amqp_outcome_type type);
void ask_on_dropped(struct client *c, const char *words); // no way to ask any more
void ask_tick(struct client *c);
void ask_fail_all(struct client *c, int err, const char *words);
void ask_fini(struct client *c);
