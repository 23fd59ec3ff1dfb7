// SPDX-License-Identifier: Apache-2.0
// TCP services: accepted connections become streams to an address, and streams for an address
// become connections to a server. Engines without sockets: the shell moves bytes between a socket
// and a struct tcp_conn, and the router's streams (router.h) between the two ends. What travels is
// described in docs/protocol.md.
//
// A turn of the shell: feed what was received as far as there is room, send the output, tick what
// is due; tcp_next_dirty() names the connections at which something changed.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/mono.h"
#include "router/router.h"

struct tcp;
struct tcp_conn;

// ---------------------------------------------------------------------------------------- service

// What the connections of one listener, or of one connector, have in common. Memory of the owner,
// zeroed before use; it must live as long as its connections.
struct tcp_service {
    struct list conns;            // tcp_conn.on_service
    uint32_t idle_ms;             // a connection without bytes for so long ends; 0: never
    bool is_legacy;               // listeners: speak the encapsulation of older routers
    uint32_t half_closed_ms;      // likewise when one of its directions has ended
    uint64_t opened, closed;      // connections
    uint64_t bytes_in, bytes_out; // from and to sockets of this service
    uint64_t failed;              // connections that found no server
    void *user;                   // the shell's
};
void tcp_service_init(struct tcp_service *s);
// Its times have changed: those of open connections run anew from their last byte.
void tcp_service_changed(struct tcp_service *s);

// ------------------------------------------------------------------------------------------- all

struct tcp *tcp_new(struct router *r, struct pool *pool);
// All connections must be lost, all connectors closed.
void tcp_free(struct tcp *t);
size_t tcp_count(const struct tcp *t); // open connections
// The next connection whose output, room or state changed; NULL when there is none.
struct tcp_conn *tcp_next_dirty(struct tcp *t);

// Who wants to know how connections fare, for telemetry. All of it may be NULL.
struct tcp_observer {
    // `head`: of the client's stream, at the connector's end; NULL at the listener's.
    void (*opened)(void *user, struct tcp_conn *c, const struct amqp_msg *head);
    // The listener's end sends the client's stream, first or once more to another server: what its
    // head shall call the connection. "": nothing.
    const char *(*name)(void *user, struct tcp_conn *c);
    // The other end is there: bytes may pass.
    void (*established)(void *user, struct tcp_conn *c);
    // Bytes of a connection that is looked into (tcp_look_into), from its socket or for it, when
    // they have been passed on. Both directions come in the order in which they passed.
    void (*bytes)(void *user, struct tcp_conn *c, bool from_socket, const uint8_t *data, size_t len,
                  struct mono now);
    // `error`: words, or NULL when it ended in peace. The connection is gone after this.
    void (*closed)(void *user, struct tcp_conn *c, const char *error);
    void *user;
};
void tcp_observe(struct tcp *t, const struct tcp_observer *o);
// The observer's pointer; at the listener's end it comes with tcp_accept.
void *tcp_observation(const struct tcp_conn *c);
void tcp_set_observation(struct tcp_conn *c, void *observation);
void tcp_look_into(struct tcp_conn *c, bool on); // off at first; costs nothing while off
// What the listener's end calls the connection, from the head of its stream; STR_NONE: nothing.
struct str tcp_name_of(const struct amqp_msg *head);

// ---------------------------------------------------------------------------------- listener's end

struct tcp_accept {
    struct tcp_service *service;
    struct str address;
    const char *peer; // of the socket, for people; copied
    const char *alpn; // NULL or "": none
    void *observation;
};
// A client has connected, and its TLS handshake is done. Nothing is read before the server's end
// answers.
struct tcp_conn *tcp_accepted(struct tcp *t, const struct tcp_accept *a, struct mono now);

// --------------------------------------------------------------------------------- connector's end

struct tcp_connector {
    struct router_consumer consumer;
    struct tcp *tcp;
    struct tcp_service *service;
};
// Consumes the address; for each stream there is a connection for the shell to connect. Returns 0
// or ERR_INVALID.
int tcp_connector_open(struct tcp *t, struct tcp_connector *c, struct tcp_service *service,
                       struct str address);
// While out it is not chosen: its server does not answer.
void tcp_connector_set_out(struct tcp_connector *c, bool is_out);
// No new connections; those that are open live on.
void tcp_connector_close(struct tcp_connector *c);

// The next connection that the shell must connect; NULL when there is none. They may wait.
struct tcp_conn *tcp_next_to_connect(struct tcp *t);
const char *tcp_alpn(const struct tcp_conn *c); // to be offered to the server, or NULL
void tcp_connected(struct tcp_conn *c, const char *peer, struct mono now);
// The client's end hears it, and may try another server. The connection is gone.
void tcp_connect_failed(struct tcp_conn *c, const char *why);

// ---------------------------------------------------------------------------------- both, sockets

void tcp_feed(struct tcp_conn *c, const uint8_t *data, size_t len, struct mono now);
size_t tcp_room(struct tcp_conn *c); // bytes that tcp_feed() should be given at most
void tcp_ended(struct tcp_conn *c, struct mono now); // the socket's peer has ended its direction
struct buf *tcp_output(struct tcp_conn *c);
void tcp_sent(struct tcp_conn *c, struct mono now); // some output has left
bool tcp_is_shut(const struct tcp_conn *c);         // there is no more output to come
bool tcp_is_finished(const struct tcp_conn *c);     // close the socket once the output is sent
bool tcp_is_reset(const struct tcp_conn *c);        // reset the socket now
struct mono tcp_deadline(const struct tcp_conn *c);
void tcp_tick(struct tcp_conn *c, struct mono now);
// The socket is gone. `error`: words, NULL when it closed in peace. The connection is gone.
void tcp_lost(struct tcp_conn *c, const char *error);
// It shall end now (management): its socket is to be reset.
void tcp_drop(struct tcp_conn *c, const char *why);

// It has a socket: at the connector's end only once it was connected.
bool tcp_is_connected(const struct tcp_conn *c);
// The shell's pointer to the socket or what will become it.
struct tcp_service *tcp_service_of(const struct tcp_conn *c);
void *tcp_transport(const struct tcp_conn *c);
void tcp_set_transport(struct tcp_conn *c, void *transport);

struct tcp_info {
    uint64_t id;
    struct tcp_service *service;
    bool is_listener_side;
    const char *peer;                // of the socket; "" until connected
    struct str address;              // STR_NONE at the connector's end
    const char *alpn;                // "" when none
    const char *state;               // one word
    const char *error;               // why it ends; NULL: in peace
    const char *waits;               // what for; "" when for nothing
    uint64_t bytes_in, bytes_out;    // from and to the socket
    uint64_t unacknowledged, unsent; // towards the other end; towards the socket
    struct mono opened_at, established_at, last_in_at, last_out_at; // MONO_NEVER: not yet
    struct mono first_in_at, first_out_at;
};
void tcp_info(const struct tcp_conn *c, struct tcp_info *out);
// The address of the server's stream, by which both ends know the connection. In `text`, or a view.
struct str tcp_reply_to(const struct tcp_conn *c, char text[ROUTER_REPLY_MAX]);
struct tcp_conn *tcp_on_service(struct list *node); // entry of tcp_service.conns
