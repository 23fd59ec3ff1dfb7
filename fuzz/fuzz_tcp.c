// SPDX-License-Identifier: Apache-2.0
// TCP services between two routers, and a peer of the first that speaks AMQP and sends streams of
// its own to the connector, whole, broken and of other kinds. The input is a row of steps: an octet
// that says what is done, one that says to which socket or how much, and bytes where it needs some.
// Properties: survives, gives everything back, and wherever bytes are cut on the wires, everybody
// is told the same story. Some inputs cut them at the sockets too: then the sockets are told the
// same, but not the peer, for in the older encapsulation each piece of a socket is a section.
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "tcp/apart.h"

enum { INPUT_MAX = 4096, PEER_HELD = 16, CUTS_SOCKETS = 16, WHOLE = INT32_MAX };

// A peer of router A with a sender and a receiver of a dynamic address.
struct peer {
    struct amqp_conn *conn;
    struct router_conn *at;
    struct amqp_link *sender, *receiver;
    struct amqp_delivery *current;         // of the sender, not complete
    struct amqp_delivery *held[PEER_HELD]; // of the receiver, not settled
    char address[128];
    struct spot heard; // what it was told, as a socket's would be
};

struct world {
    struct apart x;
    struct peer peer;
    const uint8_t *data; // the input, as far as it is left
    size_t len;
};

static void peer_transfer(struct peer *p, const struct amqp_event *ev)
{
    struct amqp_delivery *d = ev->transfer.delivery;

    spot_tell(&p->heard, ev->transfer.data, ev->transfer.len);
    if (ev->transfer.aborted)
        spot_tell(&p->heard, "<aborted>", 9);
    else if (!ev->transfer.more)
        spot_tell(&p->heard, d->settled ? "<left>" : "<end>", d->settled ? 6 : 5);
    for (int i = 0; i < PEER_HELD; i++) {
        bool is_gone = ev->transfer.aborted || (d->settled && !ev->transfer.more);

        if (p->held[i] == d && is_gone)
            p->held[i] = NULL;
        if (p->held[i] == d || is_gone)
            return;
        if (!p->held[i]) {
            p->held[i] = d;
            return;
        }
    }
}

static void peer_event(struct peer *p, const struct amqp_event *ev)
{
    static const char outcomes[] = "?racdmo";

    if (ev->type == AMQP_EV_ATTACHED && ev->link == p->receiver) {
        const struct amqp_terminus *source = amqp_link_source(ev->link);

        snprintf(p->address, sizeof(p->address), "%.*s", STR_ARG(source->address));
    } else if (ev->type == AMQP_EV_TRANSFER) {
        peer_transfer(p, ev);
    } else if (ev->type == AMQP_EV_UPDATED) {
        spot_tell(&p->heard, &outcomes[ev->update.outcome.type], 1);
        if (ev->update.delivery == p->current && ev->update.settled)
            p->current = NULL;
    } else if (ev->type == AMQP_EV_DETACHED || ev->type == AMQP_EV_CLOSED) {
        p->sender = p->receiver = NULL;
        p->current = NULL;
        memset(p->held, 0, sizeof(p->held));
    }
}

static void peer_poll(struct peer *p)
{
    struct amqp_event ev;

    while (amqp_conn_next(p->conn, &ev))
        peer_event(p, &ev);
}

static uint8_t *taken(struct buf *out, size_t *len)
{
    uint8_t *bytes = xcalloc(1, out->len + 1);

    *len = buf_copy(out, 0, bytes, out->len);
    buf_skip(out, *len);
    return bytes;
}

// Bytes between the peer and router A, both ways.
static bool peer_carry(void *user)
{
    struct world *w = user;
    struct peer *p = &w->peer;
    struct mono now = w->x.now;
    size_t up, down, step = w->x.step;
    uint8_t *bytes;

    amqp_conn_flush(p->conn);
    bytes = taken(amqp_conn_output(p->conn), &up);
    amqp_conn_sent(p->conn);
    for (size_t at = 0; at < up; at += step)
        router_conn_feed(p->at, bytes + at, up - at < step ? up - at : step, now);
    free(bytes);
    bytes = taken(router_conn_output(p->at, now), &down);
    router_conn_sent(p->at, now);
    for (size_t at = 0; at < down; at += step) {
        amqp_conn_feed(p->conn, bytes + at, down - at < step ? down - at : step, now);
        peer_poll(p);
    }
    free(bytes);
    peer_poll(p);
    return up + down > 0;
}

static void peer_begin(struct world *w)
{
    struct peer *p = &w->peer;
    struct amqp_conn_opts o = {.pool = w->x.pool,
                               .container_id = "peer",
                               .frame_size_max = 16384,
                               .channel_max = 7,
                               .link_max = 64,
                               .incoming_window = 1024,
                               .output_max = 1 << 20,
                               .sasl_mechanisms = AMQP_SASL_ANONYMOUS};
    struct router_conn_opts at = {.is_server = true,
                                  .name = "peer",
                                  .host = "memory",
                                  .sasl_mechanisms = AMQP_SASL_ANONYMOUS};
    struct amqp_attach sender = {.name = "out", .role = AMQP_SENDER, .snd_settle_mode = 2};
    struct amqp_attach receiver = {.name = "in",
                                   .role = AMQP_RECEIVER,
                                   .snd_settle_mode = 2,
                                   .source = {.dynamic = true},
                                   .capacity = 250};
    struct amqp_session *s;

    p->conn = amqp_conn_new(&o, w->x.now);
    p->at = router_conn_new(w->x.router[0], &at, w->x.now);
    w->x.more = peer_carry;
    w->x.user = w;
    apart_run(&w->x);
    s = amqp_session_begin(p->conn, 1024);
    assert(s != NULL);
    p->sender = amqp_link_attach(s, &sender);
    p->receiver = amqp_link_attach(s, &receiver);
    assert(p->sender && p->receiver);
    amqp_link_grant(p->receiver, 250);
    apart_run(&w->x);
    assert(p->address[0] != '\0');
}

static void put_properties(struct amqp_writer *w, const char *reply_to, const char *content_type)
{
    struct amqp_mark mark;

    amqp_put_descriptor(w, AMQP_SECTION_PROPERTIES);
    mark = amqp_begin_list(w, true);
    amqp_put_null(w);
    amqp_put_null(w);
    amqp_put_string(w, STR("echo"));
    amqp_put_null(w);
    amqp_put_string(w, str_of(reply_to));
    amqp_put_null(w);
    amqp_put_string(w, str_of(content_type));
    amqp_end(w, mark, 7);
}

static void put_flow_id(struct amqp_writer *w)
{
    struct amqp_mark mark;

    amqp_put_descriptor(w, AMQP_SECTION_APPLICATION_PROPERTIES);
    mark = amqp_begin_map(w, true);
    amqp_put_symbol(w, STR(":flowid"));
    amqp_put_string(w, STR("id"));
    amqp_end(w, mark, 2);
}

static void peer_write(struct peer *p, struct str bytes, bool last)
{
    struct iovec part = {(void *)(uintptr_t)bytes.ptr, bytes.len};
    bool done;

    if (!p->current)
        return;
    amqp_delivery_write(p->current, &part, 1, last, &done);
    if (last)
        p->current = NULL; // an outcome may come, to be heard and no more
}

// A stream for the connector: of either encapsulation, or whatever the input says.
static void peer_open(struct peer *p, uint8_t kind)
{
    const char *reply_to = kind & 4 ? "amqp:/_topo/0/A/temp.AAAAAAAAAAAAAAA" : p->address;
    struct amqp_writer w;

    if (!p->sender || p->current || !amqp_link_is_ready(p->sender))
        return;
    p->current = amqp_delivery_begin(p->sender, kind & 8, 0, NULL);
    amqp_writer_init(&w);
    amqp_put_ra(&w, &(struct amqp_ra){.flags = AMQP_RA_STREAMING, .to_override = STR("echo")},
                STR_NONE);
    if (kind & 1)
        put_properties(&w, reply_to, kind & 2 ? "text" : "application/octet-stream");
    else if (kind & 2)
        put_properties(&w, reply_to, "");
    if (!(kind & 1) && (kind & 2))
        put_flow_id(&w);
    if (kind & 16) {
        amqp_put_descriptor(&w, AMQP_SECTION_VALUE);
        amqp_put_null(&w);
    }
    peer_write(p, amqp_written(&w), false);
    amqp_writer_fini(&w);
}

// The last word, or one before it, about a server stream.
static void peer_settle(struct peer *p, uint8_t how)
{
    static const enum amqp_outcome_type outcomes[] = {AMQP_ACCEPTED, AMQP_REJECTED, AMQP_RELEASED,
                                                      AMQP_MODIFIED};
    struct amqp_delivery **d = &p->held[how / 8 % PEER_HELD];
    uint8_t received[] = {0x00, 0x53, 0x23, 0xc0, 0x04, 0x02, 0x43, 0x53, (uint8_t)(how & ~7)};
    struct amqp_outcome outcome = {.type = outcomes[how % 4]};

    if (!*d)
        return;
    if (how & 4) {
        outcome = (struct amqp_outcome){AMQP_RECEIVED, {(const char *)received, sizeof(received)}};
        amqp_delivery_update(*d, &outcome);
        return;
    }
    amqp_delivery_settle(*d, &outcome);
    *d = NULL;
}

static uint8_t octet(struct world *w)
{
    if (w->len == 0)
        return 0;
    w->len--;
    return *w->data++;
}

static struct str bytes(struct world *w)
{
    size_t len = octet(w);
    const uint8_t *at = w->data;

    len = len < w->len ? len : w->len;
    w->data += len;
    w->len -= len;
    return (struct str){(const char *)at, len};
}

static void do_peer(struct world *w, uint8_t what)
{
    struct peer *p = &w->peer;

    if (what == 0)
        peer_open(p, octet(w));
    else if (what == 1)
        peer_write(p, bytes(w), false);
    else if (what == 2)
        peer_write(p, STR_NONE, true);
    else if (what == 3 && p->current)
        amqp_delivery_settle_with_end(p->current);
    else if (what == 4 && p->current) {
        amqp_delivery_abort(p->current);
        p->current = NULL;
    } else if (what == 5)
        peer_settle(p, octet(w));
    apart_run(&w->x);
}

static void do_spot(struct world *w, uint8_t what)
{
    uint8_t number = octet(w);
    struct spot *p = &w->x.spots[number % SPOTS];

    if (!p->conn || p->is_dialling) {
        if (p->conn && what < 2)
            apart_answer(&w->x, p, what == 0);
        return;
    }
    if (what == 0 && !p->has_ended) {
        struct str said = bytes(w);

        apart_say(&w->x, p, said.ptr, said.len);
    } else if (what == 1) {
        apart_take(&w->x, p, octet(w));
    } else if (what == 2 && !p->has_ended) {
        apart_end_of(&w->x, p);
    } else if (what == 3) {
        apart_lose(&w->x, p);
    } else if (what == 4) {
        tcp_drop(p->conn, "dropped");
        apart_run(&w->x);
    }
}

static void do_all(struct world *w)
{
    while (w->len > 0) {
        uint8_t what = octet(w) % 16;

        if (what < 6)
            do_spot(w, what);
        else if (what < 12)
            do_peer(w, what - 6);
        else if (what == 12)
            apart_accept(&w->x);
        else if (what == 13)
            apart_pass(&w->x, 50 * (1 + octet(w) % 30));
        else if (what == 14)
            w->x.clients.is_legacy = octet(w) & 1;
        else
            apart_cut(&w->x);
    }
}

static struct world *tell(const uint8_t *data, size_t len, size_t step, size_t piece)
{
    struct world *w = calloc(1, sizeof(*w));
    struct peer *p = &w->peer;

    assert(w != NULL);
    apart_begin(&w->x, step);
    w->x.piece = piece;
    peer_begin(w);
    w->data = data;
    w->len = len;
    do_all(w);
    w->x.more = NULL;
    router_conn_lost(p->at, w->x.now);
    amqp_conn_free(p->conn);
    apart_end(&w->x);
    return w;
}

static bool is_same(const struct spot *a, const struct spot *b)
{
    return a->len == b->len && memcmp(a->told, b->told, a->len) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct world *whole, *cut;
    bool cuts_sockets;
    size_t step;

    if (len < 1 || len > INPUT_MAX)
        return 0;
    cuts_sockets = data[0] & CUTS_SOCKETS;
    step = 1 + data[0] % 7;
    whole = tell(data, len, WHOLE, WHOLE);
    cut = tell(data, len, step, cuts_sockets ? step : WHOLE);
    assert(whole->x.spot_count == cut->x.spot_count);
    for (int i = 0; i < whole->x.spot_count; i++)
        assert(is_same(&whole->x.spots[i], &cut->x.spots[i]));
    assert(cuts_sockets || is_same(&whole->peer.heard, &cut->peer.heard));
    free(whole);
    free(cut);
    return 0;
}
