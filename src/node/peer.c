// SPDX-License-Identifier: Apache-2.0
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "node/parts.h"

// The thin shell between a socket's stream and the router's end of an AMQP connection. Whatever one
// connection causes on others is picked up in worker_settle(), once a turn.

enum { LINES_AT_ONCE = 40, LINES_MIN = 4 };

struct peer {
    struct end end;
    struct worker *worker;
    struct router_conn *conn;
    struct dial *dial;        // NULL: accepted, or its connector is gone
    bool is_opened, is_ended; // it has said so, and why it ended
    char condition[64];       // the peer closed with it
    struct linked linked;     // accepted from a router
    struct buf *out;          // what was to be sent when it was asked for last, and how much
    size_t out_len;
    bool is_placed; // counted among the connections of its worker
};

// The frames of a connection that is traced, a line each.
static void write_trace(struct peer *p)
{
    char *line;

    while ((line = router_conn_next_trace(p->conn)) != NULL) {
        log_write(LOG_PROTOCOL, LOG_INFO, "connection=%" PRIu64 " %s", router_conn_id(p->conn),
                  line);
        free(line);
    }
}

static void feed(void *e, const uint8_t *data, size_t len, struct mono now)
{
    struct peer *p = e;

    if (p->dial)
        p->dial->part->received += len;
    router_conn_feed(p->conn, data, len, now);
    write_trace(p);
}

static struct buf *output(void *e, struct mono now)
{
    struct peer *p = e;

    p->out = router_conn_output(p->conn, now);
    p->out_len = p->out->len;
    write_trace(p);
    return p->out;
}

static void sent(void *e, struct mono now)
{
    struct peer *p = e;

    if (p->dial)
        p->dial->part->sent += p->out_len - p->out->len;
    p->out_len = p->out->len;
    router_conn_sent(p->conn, now);
    worker_settle(p->worker, now);
}

static struct mono deadline(const void *e)
{
    const struct peer *p = e;

    return router_conn_deadline(p->conn);
}

static void tick(void *e, struct mono now)
{
    struct peer *p = e;

    router_conn_tick(p->conn, now);
}

static bool is_paused(const void *e)
{
    const struct peer *p = e;

    return pool_is_short(p->worker->pool);
}

static bool is_finished(const void *e)
{
    const struct peer *p = e;

    return router_conn_is_finished(p->conn);
}

// A line about a peer? What all workers together may tell at once is shared among them.
static bool may_tell(const struct worker *w, struct log_sources *of, const char *peer,
                     struct mono now, uint32_t *skipped)
{
    int burst = LINES_AT_ONCE / w->node->worker_count;

    return log_sources_pass(of, peer, burst < LINES_MIN ? LINES_MIN : burst, now, skipped);
}

static void lost(void *e, const char *why, struct mono now)
{
    struct peer *p = e;
    struct worker *w = p->worker;
    const char *host = net_stream_peer(p->end.stream)->host;
    uint32_t skipped;

    if (p->is_ended)
        log_write(LOG_SERVER, LOG_DEBUG, "connection closed peer=%s why=%s", host, why);
    else if (may_tell(w, &w->peers, host, now, &skipped))
        log_write(LOG_SERVER, LOG_INFO, "connection closed peer=%s why=%s skipped=%u", host, why,
                  skipped);
    if (p->dial && p->dial == p->dial->part->dials) {
        p->dial->part->is_connected = false;
        strncpy(p->dial->part->status, why, WHY_MAX - 1);
        telemetry_down(p->dial->part, p->condition, why, now);
    }
    telemetry_unlinked(&p->linked);
    if (p->is_placed)
        atomic_fetch_add(&w->ended, 1);
    router_conn_lost(p->conn, now);
    free(p);
    worker_settle(w, now);
}

static const struct net_engine_ops peer_ops = {
    .feed = feed,
    .output = output,
    .sent = sent,
    .deadline = deadline,
    .tick = tick,
    .is_paused = is_paused,
    .is_finished = is_finished,
    .lost = lost,
};

static bool wants(const char *mechanisms, const char *name)
{
    return !mechanisms || !mechanisms[0] || strstr(mechanisms, name);
}

static uint32_t milliseconds(const struct mgmt_entity *e, const char *attr)
{
    return (uint32_t)(mgmt_entity_int(e, attr, 0) * 1000);
}

// What listeners and connectors have in common.
static struct router_conn_opts common_opts(const struct part *part, struct peer *p)
{
    const struct net_peer *np = net_stream_peer(p->end.stream);
    const struct mgmt_entity *e = part->entity;
    const char *strip = mgmt_entity_cstr(e, "stripAnnotations");

    return (struct router_conn_opts){
        .role = node_role(e),
        .cost = (int)mgmt_entity_int(e, "cost", 1),
        .name = part->name,
        .host = np->host,
        .local = np->local,
        .frame_size_max = (uint32_t)mgmt_entity_int(e, "maxFrameSize", 0),
        .session_max = (uint32_t)mgmt_entity_int(e, "maxSessions", 0),
        .session_frames = (uint32_t)mgmt_entity_int(e, "maxSessionFrames", 0),
        .idle_timeout_ms = milliseconds(e, "idleTimeoutSeconds"),
        .link_capacity = (uint32_t)mgmt_entity_int(e, "linkCapacity", 0),
        .strip_in = !strip || !strcmp(strip, "both") || !strcmp(strip, "in"),
        .strip_out = !strip || !strcmp(strip, "both") || !strcmp(strip, "out"),
        .user = np->is_authenticated ? np->subject : NULL,
        .tls_protocol = np->is_encrypted ? np->protocol : NULL,
        .tls_cipher = np->is_encrypted ? np->cipher : NULL,
        .tls_bits = np->cipher_bits,
        .open_properties = mgmt_entity_get(e, "openProperties"),
        .is_traced = log_enabled(LOG_PROTOCOL, LOG_DEBUG),
        .tls_ordinal = part->ordinal,
        .user_data = p,
    };
}

static struct peer *peer_new(struct worker *w, struct net_stream *s)
{
    struct peer *p = xcalloc(1, sizeof(*p));

    p->worker = w;
    p->end.stream = s;
    list_init(&p->linked.on_part);
    return p;
}

void *peer_accepted(void *user, struct net_stream *s, const struct net_engine_ops **ops,
                    struct mono now)
{
    struct entrance *entrance = user;
    struct part *part = entrance->part;
    const struct mgmt_entity *e = part->entity;
    const char *mechanisms = mgmt_entity_cstr(e, "saslMechanisms");
    bool must_authenticate = mgmt_entity_bool(e, "authenticatePeer");

    if (mgmt_entity_bool(e, "http"))
        return health_accepted(part, s, ops, now);

    struct peer *p = peer_new(entrance->worker, s);
    struct router_conn_opts o = common_opts(part, p);

    o.is_server = true;
    o.failover = part->failover;
    o.handshake_ms = milliseconds(e, "initialHandshakeTimeoutSeconds");
    o.external_ok = net_stream_peer(s)->is_authenticated;
    if (wants(mechanisms, "EXTERNAL") && o.external_ok)
        o.sasl_mechanisms |= AMQP_SASL_EXTERNAL;
    if (wants(mechanisms, "ANONYMOUS") && !must_authenticate)
        o.sasl_mechanisms |= AMQP_SASL_ANONYMOUS;
    if (o.sasl_mechanisms == 0)
        o.sasl_mechanisms = AMQP_SASL_EXTERNAL; // refused there, with words
    o.sasl_optional = !must_authenticate && (!mechanisms || !mechanisms[0]);
    p->is_placed = o.role == ROUTER_ROLE_NORMAL;
    if (part->record) {
        telemetry_linked(&p->linked, part);
        o.access_id = flow_id(part->record);
    }
    p->conn = router_conn_new(p->worker->router, &o, now);
    *ops = &peer_ops;
    return p;
}

void *peer_connected(void *user, struct net_stream *s, const struct net_engine_ops **ops,
                     struct mono now)
{
    struct dial *d = user;
    const struct mgmt_entity *e = d->part->entity;
    struct peer *p = peer_new(&d->part->node->workers[0], s);
    struct router_conn_opts o = common_opts(d->part, p);
    int count, at;
    const char *mechanisms = mgmt_entity_cstr(e, "saslMechanisms");

    p->dial = d;
    o.role = d->role;
    o.hostname = net_connector_places(d->connector, &count, &at)[at].host;
    o.sasl_mechanisms = AMQP_SASL_ANONYMOUS;
    if (d->part->tls && d->part->has_certificate && wants(mechanisms, "EXTERNAL"))
        o.sasl_mechanisms = AMQP_SASL_EXTERNAL;
    if (o.role == ROUTER_ROLE_INTER_ROUTER || o.role == ROUTER_ROLE_INTER_ROUTER_DATA) {
        o.group_correlator = d->part->correlator;
        o.group_ordinal = (uint64_t)d->ordinal;
    }
    p->conn = router_conn_new(p->worker->router, &o, now);
    *ops = &peer_ops;
    return p;
}

// A connection that was accepted came to nothing before it was one of ours.
void peer_refused(void *user, const struct net_peer *peer, const char *why, struct mono now)
{
    struct entrance *e = user;
    uint32_t skipped;

    if (node_role(e->part->entity) == ROUTER_ROLE_NORMAL)
        atomic_fetch_add(&e->worker->ended, 1);
    if (may_tell(e->worker, &e->worker->bad_peers, peer->host, now, &skipped))
        log_write(LOG_SERVER, LOG_WARNING,
                  "connection refused listener=%s peer=%s why=%s skipped=%u", e->part->name,
                  peer->host, why, skipped);
}

bool peer_is_full(void *user)
{
    const struct entrance *e = user;

    return pool_is_short(e->worker->pool);
}

void peer_paused(void *user, const char *why, struct mono now)
{
    const struct entrance *e = user;

    (void)now;
    if (why)
        log_write(LOG_SERVER, LOG_WARNING,
                  "accepting pauses listener=%s why=%s (what is open is kept, who comes waits)",
                  e->part->name, why);
    else
        log_write(LOG_SERVER, LOG_INFO, "accepting goes on listener=%s", e->part->name);
}

void peer_failed(void *user, const char *why, struct mono now)
{
    struct dial *d = user;
    uint32_t skipped;

    if (d != d->part->dials)
        return;
    d->part->is_connected = false;
    d->part->failed_count++;
    strncpy(d->part->status, why, WHY_MAX - 1);
    flow_set_text(d->part->record, FLOW_REASON, str_of(why));
    if (log_limit_pass(&d->part->lines, LOG_SOURCE_BURST, now, &skipped))
        log_write(LOG_CONN_MGR, LOG_WARNING, "connector %s: %s (tries again by itself) skipped=%u",
                  d->part->name, why, skipped);
}

static void opened(struct peer *p, const char *container, struct mono now)
{
    struct worker *w = p->worker;
    const char *host = net_stream_peer(p->end.stream)->host;
    uint32_t skipped = 0;

    p->is_opened = true;
    if (p->dial) {
        net_connector_succeeded(p->dial->connector);
        failover_told(p->dial, router_conn_failover(p->conn));
        failover_follow(p->dial);
        p->dial->part->is_connected = true;
        p->dial->part->status[0] = '\0';
        if (p->dial == p->dial->part->dials)
            telemetry_up(p->dial->part, router_conn_property(p->conn, "qd.access-id"), now);
    } else if (router_conn_role(p->conn) != ROUTER_ROLE_INTER_ROUTER_DATA) {
        telemetry_linked_up(&p->linked);
    }
    if (p->dial || may_tell(w, &w->peers, host, now, &skipped))
        log_write(LOG_SERVER, LOG_INFO, "connection opened peer=%s container=%s skipped=%u", host,
                  container, skipped);
}

// What follows is the end of its socket, of which no second line tells.
static void ended(struct peer *p, const char *why, struct mono now)
{
    struct worker *w = p->worker;
    const char *host = net_stream_peer(p->end.stream)->host;
    uint32_t skipped;

    p->is_ended = true;
    snprintf(p->condition, sizeof(p->condition), "%.*s", (int)strcspn(why, " "), why);
    if (may_tell(w, why[0] ? &w->bad_peers : &w->peers, host, now, &skipped))
        log_write(LOG_SERVER, why[0] ? LOG_WARNING : LOG_INFO,
                  "connection ended peer=%s why=%s skipped=%u", host, why[0] ? why : "in peace",
                  skipped);
}

// The router at the other end will not be there for long: where its connector leads, there may be
// another one already.
static void ending(struct peer *p, const char *container)
{
    struct part *connector = p->dial ? p->dial->part : NULL;

    if (!connector || p->dial != connector->dials)
        return;
    log_write(LOG_CONN_MGR, LOG_INFO, "connector %s: dials anew, as router %s ends",
              connector->name, container);
    node_dial_anew(connector);
}

void peer_event(struct worker *w, const struct router_event *ev, struct mono now)
{
    struct end *end = ev->conn ? router_conn_user_data(ev->conn) : NULL;
    struct peer *p = end && end->stream ? (struct peer *)(void *)end : NULL;
    uint32_t skipped;

    switch (ev->type) {
    case ROUTER_EV_OPENED:
        if (p)
            opened(p, ev->text, now);
        break;
    case ROUTER_EV_CLOSED:
        if (p)
            ended(p, ev->text, now);
        break;
    case ROUTER_EV_DROP:
        if (p)
            net_stream_drop(p->end.stream, ev->text);
        break;
    case ROUTER_EV_ENDING:
        if (p)
            ending(p, ev->text);
        break;
    case ROUTER_EV_NEIGHBOUR:
    case ROUTER_EV_NODE:
        log_write(LOG_ROUTER, LOG_INFO, "%s", ev->text);
        break;
    case ROUTER_EV_NOTE:
        if (log_limit_pass(&w->notes, 50, now, &skipped))
            log_write(LOG_ROUTER, LOG_WARNING, "%s", ev->text);
        break;
    }
}
