// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "inside.h"

// Clients, and the ledger of what became of each message: its sender keeps a state for it, and
// whoever receives it marks it there as seen. A message carries its sender's number and its own.

enum { HEAD = 8, NAMES = 8, FRAME = 16384, WINDOW = 2048 };

// ---------------------------------------------------------------------------------------- ledger

static void arm(struct sim_client *c)
{
    if (c->turn.timer.place == 0)
        heap_set(&c->sim->heap, &c->turn.timer, mono_add_ms(c->sim->now, c->opts.pace_ms));
}

static void mark_seen(struct sim_client *to, uint32_t from, uint32_t number)
{
    struct sim *s = to->sim;
    struct sim_client *sender = from < s->client_count ? s->by_number[from] : NULL;
    char key[32];

    snprintf(key, sizeof(key), "%u:%u", from, number);
    if (map_put(&to->seen, str_of(key), to) != NULL)
        sim_report(s, "client %u received message %s a second time", to->number, key);
    if (!sender || number >= sender->opts.to_send) {
        if (from >= s->client_count)
            sim_report(s, "client %u received a message nobody sent", to->number);
        return;
    }
    if ((sender->states[number] & (MSG_SEEN - 1)) == MSG_RELEASED)
        sim_report(s, "message %s was released, and then client %u received it", key, to->number);
    sender->states[number] |= MSG_SEEN;
}

static void mark_outcome(struct sim_client *c, uint32_t number, enum amqp_outcome_type type)
{
    uint8_t *state = &c->states[number], seen = *state & MSG_SEEN;

    if ((*state & ~MSG_SEEN) != MSG_OPEN)
        sim_report(c->sim, "message %u of client %u is settled a second time", number, c->number);
    else if (type == AMQP_ACCEPTED && !seen)
        sim_report(c->sim, "message %u of client %u was accepted, and nobody received it", number,
                   c->number);
    else if (type == AMQP_RELEASED && seen)
        sim_report(c->sim, "message %u of client %u was released, and somebody received it", number,
                   c->number);
    *state = seen | (type == AMQP_ACCEPTED   ? MSG_ACCEPTED
                     : type == AMQP_RELEASED ? MSG_RELEASED
                                             : MSG_OTHER);
}

// --------------------------------------------------------------------------------------- sending

static void put_head(const struct sim_client *c, uint8_t *message, uint32_t number)
{
    memcpy(message, (const uint8_t[]){0x00, 0x53, 0x75, 0xb0}, 4);
    for (int i = 0; i < 4; i++)
        message[4 + i] = (uint8_t)(c->opts.size >> (24 - 8 * i));
    memcpy(message + HEAD, &c->number, 4);
    memcpy(message + HEAD + 4, &number, 4);
}

// Goes on with the message in progress; true when it has left.
static bool send_rest(struct sim_client *c)
{
    size_t size = c->opts.size + HEAD;
    uint8_t *message = xcalloc(1, size);
    struct iovec iov = {message + c->written, size - c->written};
    bool done = false;

    put_head(c, message, c->counts.sent - 1);
    c->written += amqp_delivery_write(c->current, &iov, 1, true, &done);
    if (done)
        c->current = NULL;
    free(message);
    return done;
}

static bool send_one(struct sim_client *c)
{
    uint32_t number = c->counts.sent;

    if (number == c->opts.to_send || !amqp_link_is_ready(c->link))
        return false;
    c->current = amqp_delivery_begin(c->link, c->opts.presettled, 0, (void *)(uintptr_t)number);
    c->written = 0;
    c->states[number] = c->opts.presettled ? MSG_OTHER : MSG_OPEN;
    c->counts.sent++;
    c->counts.outstanding += !c->opts.presettled;
    return send_rest(c);
}

static void send_all(struct sim_client *c)
{
    if (c->current && !send_rest(c))
        return;
    if (c->opts.pace_ms && c->counts.sent < c->opts.to_send)
        arm(c);
    else
        while (send_one(c))
            ;
    if (!c->current && amqp_link_is_draining(c->link))
        amqp_link_drained(c->link);
}

static void updated(struct sim_client *c, const struct amqp_event *ev)
{
    enum amqp_outcome_type type = ev->update.outcome.type;

    if (!ev->update.settled && (type == AMQP_RECEIVED || type == AMQP_NO_OUTCOME))
        return;
    mark_outcome(c, (uint32_t)(uintptr_t)ev->update.delivery->user, type);
    c->counts.outstanding--;
    c->counts.accepted += type == AMQP_ACCEPTED;
    c->counts.released += type == AMQP_RELEASED;
    c->counts.modified += type == AMQP_MODIFIED;
    c->counts.rejected += type == AMQP_REJECTED;
    if (ev->update.delivery == c->current) // not complete: aborted by this
        c->current = NULL;
    if (!ev->update.settled)
        amqp_delivery_settle(ev->update.delivery, NULL);
}

// ------------------------------------------------------------------------------------- receiving

static void accept_one(struct amqp_delivery *d)
{
    struct amqp_link *link = d->link;

    amqp_delivery_settle(d, &(struct amqp_outcome){.type = AMQP_ACCEPTED});
    amqp_link_grant(link, 1);
}

static void hold(struct sim_client *c, struct amqp_delivery *d)
{
    if (c->held_count == c->held_size) {
        c->held_size = c->held_size ? 2 * c->held_size : 64;
        c->held = xrealloc(c->held, c->held_size, sizeof(struct amqp_delivery *));
    }
    c->held[c->held_count++] = d;
    if (c->opts.pace_ms)
        arm(c);
}

static void received(struct sim_client *c, const struct amqp_event *ev)
{
    struct amqp_delivery *d = ev->transfer.delivery;
    const uint8_t *names = ev->transfer.data + HEAD;
    uint32_t from, number;

    if (ev->transfer.first && !ev->transfer.aborted) {
        if (ev->transfer.len < HEAD + NAMES) {
            sim_report(c->sim, "client %u received less than was sent", c->number);
            return;
        }
        memcpy(&from, names, 4);
        memcpy(&number, names + 4, 4);
        d->user = (void *)((uintptr_t)from << 32 | number);
    }
    if (ev->transfer.aborted)
        amqp_link_grant(d->link, 1);
    if (ev->transfer.aborted || ev->transfer.more)
        return;
    c->counts.received++;
    mark_seen(c, (uint32_t)((uintptr_t)d->user >> 32), (uint32_t)(uintptr_t)d->user);
    if (d->settled)
        amqp_link_grant(d->link, 1);
    else if (c->opts.pace_ms || c->held_count < c->opts.holds)
        hold(c, d);
    else
        accept_one(d);
}

// ------------------------------------------------------------------------------------ connection

static void attach_one(struct sim_client *c, struct amqp_session *session, const char *address,
                       const char *name)
{
    struct amqp_attach attach = {
        .name = name,
        .role = c->opts.is_sender ? AMQP_SENDER : AMQP_RECEIVER,
        .snd_settle_mode = 2,
        .capacity = c->opts.credit ? c->opts.credit : 1,
    };

    *(c->opts.is_sender ? &attach.target.address : &attach.source.address) = str_of(address);
    c->link = amqp_link_attach(session, &attach);
    if (!c->opts.is_sender)
        amqp_link_grant(c->link, attach.capacity);
}

static void attach(struct sim_client *c)
{
    struct amqp_session *session = amqp_session_begin(c->conn, WINDOW);
    char address[96], name[16];

    if (c->opts.address_count == 0)
        attach_one(c, session, c->address, "link");
    for (uint32_t i = 0; i < c->opts.address_count; i++) {
        snprintf(address, sizeof(address), "%s/%u", c->address, i);
        snprintf(name, sizeof(name), "link%u", i);
        attach_one(c, session, address, name);
    }
}

static void ended(struct sim_client *c, const struct amqp_event *ev)
{
    struct str condition = ev->ended.condition;

    if (condition.len > 0)
        sim_report(c->sim, "client %u: %.*s: %.*s", c->number, STR_ARG(condition),
                   STR_ARG(ev->ended.description));
    c->link = NULL;
    c->current = NULL;
}

void client_poll(struct sim_client *c)
{
    struct amqp_event ev;

    while (c->conn && amqp_conn_next(c->conn, &ev)) {
        if (ev.type == AMQP_EV_OPENED)
            attach(c);
        else if (ev.type == AMQP_EV_ATTACHED)
            c->counts.attached++;
        else if (ev.type == AMQP_EV_TRANSFER)
            received(c, &ev);
        else if (ev.type == AMQP_EV_UPDATED)
            updated(c, &ev);
        else if (ev.type == AMQP_EV_DETACHED || ev.type == AMQP_EV_CLOSED)
            ended(c, &ev);
    }
    if (c->conn && c->link && c->opts.is_sender)
        send_all(c);
    sim_wake(c->sim, &c->wire->ends[0]);
}

// With a pace: one message is sent, or one is accepted.
void client_turn(struct sim_client *c)
{
    if (!c->conn || !c->link)
        return;
    if (c->opts.is_sender) {
        if (!c->current)
            send_one(c);
        if (c->counts.sent < c->opts.to_send)
            arm(c);
    } else if (c->held_count > 0) {
        accept_one(c->held[0]);
        memmove(c->held, c->held + 1, --c->held_count * sizeof(struct amqp_delivery *));
        if (c->held_count > 0)
            arm(c);
    }
    sim_wake(c->sim, &c->wire->ends[0]);
}

void client_connect(struct sim_client *c)
{
    char id[32];
    struct amqp_conn_opts engine = {
        .pool = c->pool,
        .container_id = id,
        .frame_size_max = FRAME,
        .channel_max = 3,
        .link_max = c->opts.address_count + 4,
        .output_max = 1 << 20,
        .incoming_window = WINDOW,
        .sasl_mechanisms = AMQP_SASL_ANONYMOUS,
    };

    if (c->conn)
        return;
    snprintf(id, sizeof(id), "client-%u", c->number);
    c->conn = amqp_conn_new(&engine, c->sim->now);
    sim_client_join(c->sim, c->wire);
}

// The outcomes that were still to come are nobody's claim any more.
void client_lost(struct sim_client *c)
{
    amqp_conn_free(c->conn);
    c->conn = NULL;
    c->link = NULL;
    c->current = NULL;
    c->held_count = 0;
    c->counts.attached = 0;
    for (uint32_t i = 0; c->opts.is_sender && i < c->counts.sent; i++)
        if ((c->states[i] & ~MSG_SEEN) == MSG_OPEN)
            c->states[i] = MSG_UNKNOWN | (c->states[i] & MSG_SEEN);
    c->counts.unknown += c->counts.outstanding;
    c->counts.outstanding = 0;
}

struct sim_client *sim_client_new(struct sim *s, const struct sim_client_opts *opts)
{
    struct sim_client *c = xcalloc(1, sizeof(*c));

    c->sim = s;
    c->opts = *opts;
    if (c->opts.size < NAMES)
        c->opts.size = NAMES;
    c->number = s->client_count++;
    s->by_number = xrealloc(s->by_number, s->client_count, sizeof(struct sim_client *));
    s->by_number[c->number] = c;
    snprintf(c->address, sizeof(c->address), "%s", opts->address);
    c->opts.address = c->address;
    c->states = xcalloc(opts->to_send + 1, 1);
    c->turn.kind = OF_CLIENT;
    c->pool = pool_new(s->block_size, SIM_BLOCKS);
    c->wire = sim_client_wire(s, opts->router);
    c->wire->ends[0].client = c;
    map_init(&c->seen);
    list_init(&c->on_sim);
    list_append(&s->clients, &c->on_sim);
    if (s->stations[opts->router].router)
        client_connect(c);
    return c;
}

void sim_client_end(struct sim *s, struct sim_client *c)
{
    list_remove(&c->on_sim);
    heap_cancel(&s->heap, &c->turn.timer);
    sim_cut(s, c->wire);
    list_remove(&c->wire->on_sim);
    free(c->wire);
    s->by_number[c->number] = NULL;
    map_fini(&c->seen);
    free(c->held);
    free(c->states);
    pool_free(c->pool);
    free(c);
}

struct sim_wire *sim_wire_of(const struct sim_client *c)
{
    return c->wire;
}

const struct sim_counts *sim_counts(const struct sim_client *c)
{
    return &c->counts;
}

bool sim_has(const struct sim_client *receiver, const struct sim_client *sender, uint32_t number)
{
    char key[32];

    snprintf(key, sizeof(key), "%u:%u", sender->number, number);
    return map_get(&receiver->seen, str_of(key)) != NULL;
}
