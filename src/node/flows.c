// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "node/service.h"

// Flow records of TCP services. A connection's record is begun where its client comes in; the
// router of the connector adds what it knows (a co-record), under the name that the client stream's
// head tells it. Where a listener's bytes are looked into, each request has a record below its
// connection's.
//
// What a connection costs here: a few small allocations when it begins, and a look at its counters
// once a second and at its end. Its bytes are shown to nobody unless they are looked into, and that
// is only begun while somebody listens to flows: an observer cannot join in the middle, so a
// connection that was open before stays unseen. When nobody has listened for GRACE_MS all observers
// let go; a collector that starts again within that time misses nothing.

enum { COUNT_MS = 1000, GRACE_MS = 60000 };

struct passing {
    struct list on_node; // node.passing
    struct tcp_conn *conn;
    struct flow_record *record; // of the connection, or a co-record
    char *told;                 // the co-record's identity, when all has been said but an error
    struct service *service;
    struct service_address *address; // the client's choice; NULL: gone, or the connector's end
    struct http_observer *http;      // NULL: not looked into
    bool is_client;
};

static struct passing *passing_new(struct service *s, struct flow_record *record)
{
    struct passing *p = xcalloc(1, sizeof(*p));

    p->service = s;
    p->record = record;
    list_append(&s->node->passing, &p->on_node);
    return p;
}

// "192.0.2.1:40001", "[2001:db8::1]:40001"
static void set_address(struct flow_record *rec, enum flow_attr host, enum flow_attr port,
                        const char *text)
{
    const char *colon = strrchr(text, ':');
    struct str s = {text, colon ? (size_t)(colon - text) : 0};

    if (!colon)
        return;
    if (s.len > 2 && s.ptr[0] == '[')
        s = (struct str){s.ptr + 1, s.len - 2};
    flow_set_text(rec, host, s);
    flow_set_text(rec, port, str_of(colon + 1));
}

static uint64_t us_between(struct mono from, struct mono to)
{
    return to.ns > from.ns ? (uint64_t)(to.ns - from.ns) / 1000 : 0;
}

static bool has_both(struct mono first, struct mono second)
{
    return second.ns != MONO_NEVER.ns && !mono_before(second, first);
}

// Nothing more is known at the connector's end, so the co-record is needed no longer.
static void say_all(struct passing *p, uint64_t latency_us)
{
    flow_set_number(p->record, FLOW_PROCESS_LATENCY, latency_us);
    p->told = xstrdup(flow_id(p->record));
    flow_end(p->record, net_loop_now(p->service->node->loop));
    p->record = NULL;
}

// The first octet there and the first one back: of the client's end the whole way, of the
// connector's the server alone. Where the server speaks first there is none.
static void count(struct passing *p)
{
    struct tcp_info i;

    tcp_info(p->conn, &i);
    if (!p->is_client) {
        if (p->record && has_both(i.first_out_at, i.first_in_at))
            say_all(p, us_between(i.first_out_at, i.first_in_at));
        return;
    }
    flow_set_number(p->record, FLOW_OCTETS, i.bytes_in);
    flow_set_number(p->record, FLOW_OCTETS_REVERSE, i.bytes_out);
    if (has_both(i.first_in_at, i.first_out_at))
        flow_set_number(p->record, FLOW_LATENCY, us_between(i.first_in_at, i.first_out_at));
}

// -------------------------------------------------------------------------------------- requests

static void request(struct passing *p, const struct http_event *ev)
{
    struct http_exchange *x = ev->exchange;
    struct flow_record *rec =
        flow_begin(p->service->node->flow, FLOW_APP, p->record, x->requested_at);

    x->user = rec;
    p->service->requests++;
    if (p->address)
        p->address->requests++;
    flow_set_text(rec, FLOW_PROTOCOL, str_of(ev->version));
    flow_set_text(rec, FLOW_METHOD, ev->method);
    flow_set_number(rec, FLOW_OCTETS, 0);
    flow_set_number(rec, FLOW_OCTETS_REVERSE, 0);
    if (ev->client.len > 0)
        flow_set_text(rec, FLOW_SOURCE_HOST, ev->client);
    if (x->stream > 0)
        flow_set_number(rec, FLOW_STREAM_ID, x->stream);
}

static void response(const struct http_event *ev)
{
    struct flow_record *rec = ev->exchange->user;
    char status[8];

    snprintf(status, sizeof(status), "%u", ev->exchange->status);
    flow_set_text(rec, FLOW_RESULT, str_of(status));
    if (ev->reason.len > 0)
        flow_set_text(rec, FLOW_REASON, ev->reason);
    flow_set_number(rec, FLOW_LATENCY, ev->latency_us);
}

static void ended(const struct http_event *ev, struct mono now)
{
    struct flow_record *rec = ev->exchange->user;

    flow_set_number(rec, FLOW_OCTETS, ev->exchange->request_octets);
    flow_set_number(rec, FLOW_OCTETS_REVERSE, ev->exchange->response_octets);
    flow_end(rec, now);
}

// Under `auto` most of what is let go never was HTTP, which is nobody's fault.
static void off(const struct passing *p, const struct http_event *ev, struct mono now)
{
    struct service *s = p->service;
    bool is_two = s->look_as == HTTP_OBSERVE_2;
    uint32_t skipped;

    if (s->look_as != HTTP_OBSERVE_AUTO && log_limit_pass(&s->lines, 10, now, &skipped))
        log_write(is_two ? LOG_HTTP2_OBSERVER : LOG_HTTP1_OBSERVER, LOG_INFO,
                  "connection of %s is not looked into: %s skipped=%u",
                  s->part ? s->part->name : "", ev->why, skipped);
}

static void take_events(struct passing *p, struct mono now)
{
    struct http_event ev;

    while (http_observer_next(p->http, &ev)) {
        switch (ev.type) {
        case HTTP_EV_REQUEST:
            request(p, &ev);
            break;
        case HTTP_EV_RESPONSE:
            response(&ev);
            break;
        case HTTP_EV_END:
            ended(&ev, now);
            break;
        case HTTP_EV_OFF:
            off(p, &ev, now);
            break;
        }
    }
}

static void look_away(struct passing *p, struct mono now)
{
    if (!p->http)
        return;
    http_observer_end(p->http);
    take_events(p, now);
    http_observer_free(p->http);
    p->http = NULL;
    tcp_look_into(p->conn, false);
}

static void bytes(void *user, struct tcp_conn *c, bool from_socket, const uint8_t *data, size_t len,
                  struct mono now)
{
    struct passing *p = tcp_observation(c);

    (void)user;
    http_observer_feed(p->http, !from_socket, data, len, now);
    take_events(p, now);
    if (http_observer_is_off(p->http))
        look_away(p, now);
}

// ------------------------------------------------------------------------------ the client's end

static struct flow_record *begin_tport(struct service *s, const struct flow_record *parent,
                                       const struct net_peer *peer, struct mono now)
{
    struct flow_record *rec = parent ? flow_begin(s->node->flow, FLOW_TPORT, parent, now) : NULL;

    set_address(rec, FLOW_SOURCE_HOST, FLOW_SOURCE_PORT, peer->host);
    flow_set_number(rec, FLOW_OCTETS, 0);
    flow_set_number(rec, FLOW_OCTETS_REVERSE, 0);
    if (peer->is_encrypted && s->part)
        telemetry_set_ordinal(rec, s->part);
    return rec;
}

void *flows_accepted(struct service *s, struct service_address *a, const struct net_peer *peer,
                     struct mono now)
{
    const struct part *parent = a->part ? a->part : s->part;
    struct flow_record *rec = begin_tport(s, parent ? parent->record : NULL, peer, now);
    struct passing *p = NULL;

    if (!rec)
        return NULL;
    p = passing_new(s, rec);
    p->address = a;
    p->is_client = true;
    if (s->is_looking && flow_is_reached(s->node->flow, FLOW_FLOWS))
        p->http = http_observer_new(s->look_as);
    return p;
}

void flows_refused(struct service *s, const struct net_peer *peer, const char *why, struct mono now)
{
    struct flow_record *rec = NULL;

    if (flow_is_reached(s->node->flow, FLOW_FLOWS))
        rec = begin_tport(s, s->part ? s->part->record : NULL, peer, now);
    flow_set_text(rec, FLOW_ERROR_LISTENER_SIDE, str_of(why));
    flow_end(rec, now);
}

void flows_forget_address(struct node *n, const struct service_address *a)
{
    list_for_each (node, &n->passing) {
        struct passing *p = list_entry(node, struct passing, on_node);

        if (p->address == a)
            p->address = NULL;
    }
}

static const char *name(void *user, struct tcp_conn *c)
{
    struct passing *p = tcp_observation(c);

    (void)user;
    return p ? flow_corecord_id(p->record) : "";
}

// --------------------------------------------------------------------------- the connector's end

// The routers that the client stream has passed.
static void set_trace(struct flow_record *rec, const struct amqp_ra *ra)
{
    struct amqp_reader at = amqp_reader_of(ra->trace);
    struct str router;
    char text[FLOW_TEXT_MAX + 1];
    size_t len = 0;

    while (amqp_ra_trace_next(&at, &router) && len + 1 + router.len < sizeof(text)) {
        if (len > 0)
            text[len++] = '|';
        memcpy(text + len, router.ptr, router.len);
        len += router.len;
    }
    flow_set_text(rec, FLOW_TRACE, len > 0 ? (struct str){text, len} : STR("Local"));
}

static void offered(struct node *n, struct tcp_conn *c, const struct amqp_msg *head)
{
    struct service *s = (struct service *)(void *)tcp_service_of(c);
    struct flow_record *rec = flow_begin_corecord(n->flow, tcp_name_of(head));
    struct passing *p = NULL;

    if (!rec)
        return;
    set_trace(rec, &head->ra);
    if (s->part)
        flow_set_text(rec, FLOW_CONNECTOR_ID, str_of(flow_id(s->part->record)));
    p = passing_new(s, rec);
    p->conn = c;
    tcp_set_observation(c, p);
}

// ------------------------------------------------------------------------------------------- both

static void opened(void *user, struct tcp_conn *c, const struct amqp_msg *head)
{
    struct passing *p = tcp_observation(c);

    if (head) {
        offered(user, c, head);
    } else if (p) {
        p->conn = c;
        tcp_look_into(c, p->http != NULL);
    }
}

static void established(void *user, struct tcp_conn *c)
{
    struct passing *p = tcp_observation(c);

    (void)user;
    if (p && !p->is_client)
        set_address(p->record, FLOW_PROXY_HOST, FLOW_PROXY_PORT,
                    net_stream_peer(tcp_transport(c))->local);
}

static void closed(void *user, struct tcp_conn *c, const char *error)
{
    struct node *n = user;
    struct passing *p = tcp_observation(c);
    struct mono now = net_loop_now(n->loop);

    if (!p)
        return;
    look_away(p, now);
    count(p);
    if (error && p->told)
        p->record = flow_begin_corecord(n->flow, str_of(p->told));
    if (error)
        flow_set_text(p->record,
                      p->is_client ? FLOW_ERROR_LISTENER_SIDE : FLOW_ERROR_CONNECTOR_SIDE,
                      str_of(error));
    flow_end(p->record, now);
    list_remove(&p->on_node);
    free(p->told);
    free(p);
}

void flows_start(struct node *n)
{
    static const struct tcp_observer observer = {
        .opened = opened,
        .name = name,
        .established = established,
        .bytes = bytes,
        .closed = closed,
    };
    struct tcp_observer o = observer;

    o.user = n;
    tcp_observe(n->tcp, &o);
}

void flows_count(struct node *n, struct mono now)
{
    bool is_heard = flow_is_reached(n->flow, FLOW_FLOWS);

    if (is_heard)
        n->heard_at = now;
    if (mono_before(now, mono_add_ms(n->counted_at, COUNT_MS)))
        return;
    n->counted_at = now;
    list_for_each (node, &n->passing) {
        struct passing *p = list_entry(node, struct passing, on_node);

        if (is_heard || !p->is_client)
            count(p);
        if (!mono_before(now, mono_add_ms(n->heard_at, GRACE_MS)))
            look_away(p, now);
    }
}
