// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "tcp/conn.h"

// The end of a server. The consumer of an address is offered client streams; for each the shell is
// asked to connect, and when it has, the server stream goes to the reply address.
//
// While a network joins, a stream may be here before this router knows the way back to its client.
// A server would be asked in vain then, so it is not: the stream waits for a way, and when none
// comes it is released, with which the client's end tries again. (To hand it back at once would
// cost a client whose router is of another make its connection, for that one does not try again.)

enum { WAY_MS = 1000, WAYLESS_MAX = 1000 };

struct dialled {
    struct tcp_conn conn; // first
    struct list on_connect;
    char *reply_to, *alpn;
    bool is_wayless;
};

static struct dialled *of(struct tcp_conn *c)
{
    return (struct dialled *)(void *)c;
}

// The client's end went away while the server stream was on its way, another server was faster
// (where the address is a multicast), or a router on the way did not know the way back yet: then
// the client's end hears that this was nothing, and tries again.
static void refused(struct tcp_conn *c, enum amqp_outcome_type outcome)
{
    (void)outcome;
    end_fail(c, "the client is gone");
}

static void tick(struct tcp_conn *c, struct mono now)
{
    (void)c;
    (void)now;
}

// Nothing is read of a server before its stream is open.
static struct buf *early(struct tcp_conn *c)
{
    (void)c;
    return NULL;
}

static void leave_wayless(struct dialled *d)
{
    list_remove(&d->on_connect);
    d->conn.tcp->wayless_count -= d->is_wayless;
    d->is_wayless = false;
}

static void dialled_free(struct tcp_conn *c)
{
    struct dialled *d = of(c);

    leave_wayless(d);
    free(d->reply_to);
    free(d->alpn);
    free(d);
}

static void info(const struct tcp_conn *c, struct tcp_info *out)
{
    const struct dialled *d = (const struct dialled *)(const void *)c;

    if (d->alpn)
        out->alpn = d->alpn;
    if (!c->is_established && !c->is_over)
        out->waits = d->is_wayless ? "a way back to its client" : "its server to answer";
}

static struct str reply_to(const struct tcp_conn *c, char text[ROUTER_REPLY_MAX])
{
    const struct dialled *d = (const struct dialled *)(const void *)c;

    (void)text;
    return str_of(d->reply_to);
}

static const struct tcp_kind kind = {refused, tick, early, dialled_free, info, reply_to, true};

static struct router_sink *offered(struct router_taker *taker, const struct amqp_msg *head,
                                   enum amqp_outcome_type *outcome)
{
    struct tcp_connector *k = list_entry(taker, struct tcp_connector, consumer.taker);
    bool is_legacy = legacy_is_client(head);
    struct dialled *d = NULL;
    bool has_way = false;

    *outcome = AMQP_RELEASED; // another consumer may understand it
    if (!head_is_stream(head) && !is_legacy)
        return NULL;
    *outcome = AMQP_REJECTED;
    if (head->reply_to.len == 0)
        return NULL;
    *outcome = AMQP_RELEASED;
    has_way = router_has_way(k->tcp->router, head->reply_to);
    if (!has_way && k->tcp->wayless_count >= WAYLESS_MAX)
        return NULL;
    d = xcalloc(1, sizeof(*d));
    d->reply_to = str_dup(head->reply_to);
    d->alpn = head_text(head, "alpn");
    end_init(k->tcp, &d->conn, k->service, &kind, head);
    d->conn.is_legacy = is_legacy;
    list_init(&d->on_connect);
    list_append(has_way ? &k->tcp->to_connect : &k->tcp->wayless, &d->on_connect);
    d->is_wayless = !has_way;
    k->tcp->wayless_count += d->is_wayless;
    return end_sink(&d->conn);
}

int tcp_connector_open(struct tcp *t, struct tcp_connector *c, struct tcp_service *service,
                       struct str address)
{
    c->tcp = t;
    c->service = service;
    c->consumer.taker.offer = offered;
    return router_consumer_open(t->router, &c->consumer, address);
}

void tcp_connector_set_out(struct tcp_connector *c, bool is_out)
{
    router_consumer_set_out(c->tcp->router, &c->consumer, is_out);
}

void tcp_connector_close(struct tcp_connector *c)
{
    if (c->tcp)
        router_consumer_close(c->tcp->router, &c->consumer);
}

// Those that have a way now are connected, those that have waited for too long let go.
static void look_for_ways(struct tcp *t)
{
    struct mono last = mono_add_ms(tcp_now(t), -WAY_MS);
    struct list *next;

    for (struct list *node = t->wayless.next; node != &t->wayless; node = next) {
        struct dialled *d = list_entry(node, struct dialled, on_connect);

        next = node->next;
        if (router_has_way(t->router, str_of(d->reply_to))) {
            leave_wayless(d);
            list_append(&t->to_connect, &d->on_connect);
        } else if (!mono_before(last, d->conn.opened_at)) {
            leave_wayless(d);
            end_fail(&d->conn, "no way back to the client is known");
            router_sink_settle(&d->conn.sink, AMQP_RELEASED);
        }
    }
}

struct tcp_conn *tcp_next_to_connect(struct tcp *t)
{
    struct list *node;

    if (list_empty(&t->to_connect))
        look_for_ways(t);
    node = list_pop(&t->to_connect);
    return node ? &list_entry(node, struct dialled, on_connect)->conn : NULL;
}

const char *tcp_alpn(const struct tcp_conn *c)
{
    return ((const struct dialled *)(const void *)c)->alpn;
}

void tcp_connected(struct tcp_conn *c, const char *peer, struct mono now)
{
    struct dialled *d = of(c);
    struct amqp_writer w;

    c->tcp->now = now;
    c->peer = xstrdup(peer);
    amqp_writer_init(&w);
    if (c->is_legacy)
        legacy_put_server(&w, str_of(d->reply_to));
    else
        head_put_server(&w, str_of(d->reply_to));
    router_source_open(c->tcp->router, &c->source, str_of(d->reply_to), amqp_written(&w));
    amqp_writer_fini(&w);
    if (c->source.delivery)
        end_established(c, now);
}
