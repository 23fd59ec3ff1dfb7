// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "tcp/conn.h"

// The end of a server. The consumer of an address is offered client streams; for each the shell is
// asked to connect, and when it has, the server stream goes to the reply address.

struct dialled {
    struct tcp_conn conn; // first
    char *reply_to, *alpn, *correlation;
};

static struct dialled *of(struct tcp_conn *c)
{
    return (struct dialled *)(void *)c;
}

// The client's end went away while the server stream was on its way, or no router there knew the
// way back yet: then the client's end hears that this was nothing, and tries again.
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

static void dialled_free(struct tcp_conn *c)
{
    struct dialled *d = of(c);

    free(d->reply_to);
    free(d->alpn);
    free(d->correlation);
    free(d);
}

static void info(const struct tcp_conn *c, struct tcp_info *out)
{
    const struct dialled *d = (const struct dialled *)(const void *)c;

    out->reply_to = d->reply_to;
    if (d->correlation)
        out->correlation = d->correlation;
    if (d->alpn)
        out->alpn = d->alpn;
}

static const struct tcp_kind kind = {refused, tick, dialled_free, info, true};

static char *text_of(struct str encoded)
{
    struct amqp_reader at = amqp_reader_of(encoded);
    struct amqp_item item;

    if (encoded.len == 0 || amqp_read(&at, &item) < 0 || item.type != AMQP_STRING)
        return NULL;
    return str_dup(item.bytes);
}

static struct router_sink *offered(struct router_taker *taker, const struct amqp_msg *head,
                                   enum amqp_outcome_type *outcome)
{
    struct tcp_connector *k = list_entry(taker, struct tcp_connector, consumer.taker);
    struct dialled *d = NULL;

    bool is_legacy = legacy_is_client(head);

    *outcome = AMQP_RELEASED; // another consumer may understand it
    if (!head_is_stream(head) && !is_legacy)
        return NULL;
    *outcome = AMQP_REJECTED;
    if (head->reply_to.len == 0)
        return NULL;
    d = xcalloc(1, sizeof(*d));
    d->reply_to = str_dup(head->reply_to);
    d->alpn = head_text(head, "alpn");
    d->correlation = text_of(head->correlation_id);
    end_init(k->tcp, &d->conn, k->service, &kind, router_now(k->tcp->router));
    d->conn.is_legacy = is_legacy;
    d->conn.wants_connect = true;
    end_mark(&d->conn);
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

bool tcp_wants_connect(struct tcp_conn *c)
{
    bool wants = c->wants_connect;

    c->wants_connect = false;
    return wants;
}

const char *tcp_alpn(const struct tcp_conn *c)
{
    return ((const struct dialled *)(const void *)c)->alpn;
}

void tcp_connected(struct tcp_conn *c, const char *peer, struct mono now)
{
    struct dialled *d = of(c);
    struct amqp_writer w;

    snprintf(c->peer, sizeof(c->peer), "%s", peer);
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
