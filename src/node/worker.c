// SPDX-License-Identifier: Apache-2.0
#include "node/worker.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "node/service.h"

enum {
    BLOCK_SIZE = 16 * 1024,  // one TLS record, one frame
    BLOCK_COUNT_MAX = 16384, // 256 MiB of output waiting, over all connections of a worker
    SCRATCH_SIZE = 256 * 1024,
    WIRE_BYTES_MAX = 2 * 1024 * 1024, // in flight between two workers, one way
    LETTER_BYTES = 64 * 1024,
};

enum letter_kind { LETTER_BYTES_FOR, LETTER_ROOM, LETTER_SOCKET, LETTER_HOLD, LETTER_STOP };

struct letter {
    struct mail mail;
    enum letter_kind kind;
    struct wire *wire;             // BYTES_FOR, ROOM: the receiver's end
    struct net_listener *listener; // SOCKET
    int fd;                        // SOCKET
    size_t len;                    // BYTES_FOR
    uint8_t data[];
};

static struct letter *letter_new(enum letter_kind kind, size_t len)
{
    struct letter *l = xcalloc(1, sizeof(*l) + len);

    l->kind = kind;
    l->len = len;
    return l;
}

// --------------------------------------------------------------------------------------- wires

static bool has_room(struct wire *w)
{
    return atomic_load(&w->in_flight) < WIRE_BYTES_MAX;
}

static void send_piece(struct wire *w, struct buf *out)
{
    size_t len = out->len < LETTER_BYTES ? out->len : LETTER_BYTES;
    struct letter *l = letter_new(LETTER_BYTES_FOR, len);

    buf_copy(out, 0, l->data, len);
    buf_skip(out, len);
    l->wire = w->other;
    atomic_fetch_add(&w->in_flight, len);
    mailbox_send(&w->to->mailbox, &l->mail);
}

// All that stands here, as far as it may be in flight; the rest waits for LETTER_ROOM, and its
// engine sees a full output meanwhile.
static void wire_flush(struct wire *w, struct mono now)
{
    struct buf *out = router_conn_output(w->conn, now);

    while (out->len > 0) {
        while (out->len > 0 && has_room(w))
            send_piece(w, out);
        router_conn_sent(w->conn, now);
        out = router_conn_output(w->conn, now);
        if (out->len == 0)
            return;
        atomic_store(&w->is_waiting, true);
        if (!has_room(w))
            return;
        atomic_store(&w->is_waiting, false);
    }
}

static void wire_receive(struct wire *w, const struct letter *l, struct mono now)
{
    router_conn_feed(w->conn, l->data, l->len, now);
    atomic_fetch_sub(&w->other->in_flight, l->len);
    if (has_room(w->other) && atomic_exchange(&w->other->is_waiting, false)) {
        struct letter *room = letter_new(LETTER_ROOM, 0);

        room->wire = w->other;
        mailbox_send(&w->to->mailbox, &room->mail);
    }
}

// ------------------------------------------------------------------------------------------ mail

static void stand_still(struct node *n)
{
    pthread_mutex_lock(&n->hold.lock);
    n->hold.still_count++;
    pthread_cond_broadcast(&n->hold.changed);
    while (n->hold.is_on)
        pthread_cond_wait(&n->hold.changed, &n->hold.lock);
    n->hold.still_count--;
    pthread_cond_broadcast(&n->hold.changed);
    pthread_mutex_unlock(&n->hold.lock);
}

static void receive(void *user, struct mail *first, struct mono now)
{
    struct worker *w = user;

    while (first) {
        struct letter *l = (struct letter *)(void *)first;

        first = first->next;
        switch (l->kind) {
        case LETTER_BYTES_FOR:
            wire_receive(l->wire, l, now);
            break;
        case LETTER_ROOM:
            wire_flush(l->wire, now);
            break;
        case LETTER_SOCKET:
            net_listener_adopt(l->listener, l->fd);
            break;
        case LETTER_HOLD:
            stand_still(w->node);
            break;
        case LETTER_STOP:
            net_loop_stop(w->loop);
            break;
        }
        free(l);
    }
}

void workers_hold(void *user, bool on)
{
    struct node *n = user;

    if (on ? n->hold.depth++ > 0 : --n->hold.depth > 0)
        return;
    if (!n->hold.is_threaded)
        return;
    pthread_mutex_lock(&n->hold.lock);
    n->hold.is_on = on;
    pthread_cond_broadcast(&n->hold.changed);
    for (int i = 1; on && i < n->worker_count; i++)
        mailbox_send(&n->workers[i].mailbox, &letter_new(LETTER_HOLD, 0)->mail);
    while (n->hold.still_count != (on ? n->worker_count - 1 : 0))
        pthread_cond_wait(&n->hold.changed, &n->hold.lock);
    pthread_mutex_unlock(&n->hold.lock);
}

// ------------------------------------------------------------------------------------- placement

static unsigned long load_of(const struct worker *w)
{
    return w->placed - atomic_load(&w->ended);
}

struct worker *workers_place(struct node *n)
{
    struct worker *best = &n->workers[0];

    if (load_of(best) >= n->worker_fill)
        for (int i = 1; i < n->worker_count; i++)
            if (load_of(&n->workers[i]) < load_of(best))
                best = &n->workers[i];
    best->placed++;
    return best;
}

void worker_give(struct worker *w, struct net_listener *listener, int fd)
{
    struct letter *l = letter_new(LETTER_SOCKET, 0);

    l->listener = listener;
    l->fd = fd;
    mailbox_send(&w->mailbox, &l->mail);
}

// ----------------------------------------------------------------------------------------- a turn

void worker_settle(struct worker *w, struct mono now)
{
    struct router_conn *c;
    struct router_event ev;

    while (router_next_event(w->router, &ev))
        peer_event(w, &ev, now);
    while ((c = router_next_dirty(w->router)) != NULL) {
        struct end *end = router_conn_user_data(c);

        if (end->stream)
            net_want_write(end->stream);
        else
            wire_flush((struct wire *)(void *)end, now);
    }
    if (w->index == 0)
        services_settle(w->node, now);
    net_timer_set(w->loop, &w->router_timer, router_deadline(w->router));
}

static void router_due(void *user, struct mono now)
{
    struct worker *w = user;

    router_tick(w->router, now);
    worker_settle(w, now);
}

static void turn(void *user, struct mono now)
{
    struct worker *w = user;

    worker_settle(w, now);
    if (w->index == 0)
        services_dial(w->node);
}

static void rest(void *user, bool is_quiet)
{
    struct worker *w = user;

    pool_rest(w->pool);
    router_rest(w->router);
    if (is_quiet)
        mem_rest();
    else
        mem_trim();
}

// ------------------------------------------------------------------------------------ coming up

static void join(struct worker *hub, struct worker *w)
{
    struct router_conn_opts opts = {.role = ROUTER_ROLE_SHARD, .name = "shard"};
    struct mono now = mono_now();

    w->up = (struct wire){.to = hub, .other = &w->down};
    w->down = (struct wire){.to = w, .other = &w->up};
    opts.user_data = &w->up;
    w->up.conn = router_conn_new(w->router, &opts, now);
    opts.is_server = true;
    opts.user_data = &w->down;
    w->down.conn = router_conn_new(hub->router, &opts, now);
    router_add_shard(hub->router, w->router);
}

// Both ends have said what opens the connection before any thread runs, so that no client meets a
// shard without its hub.
static void greet(struct worker *hub, struct worker *w)
{
    struct mail *for_hub, *for_shard;
    struct mono now = mono_now();

    do {
        worker_settle(hub, now);
        worker_settle(w, now);
        for_hub = mailbox_take(&hub->mailbox);
        for_shard = mailbox_take(&w->mailbox);
        receive(hub, for_hub, now);
        receive(w, for_shard, now);
    } while (for_hub || for_shard);
}

static int worker_init(struct node *n, struct worker *w, int index)
{
    struct net_hooks hooks = {.user = w, .turn = turn, .rest = rest};

    w->node = n;
    w->index = index;
    w->mailbox.fd = -1;
    w->pool = pool_new(BLOCK_SIZE, BLOCK_COUNT_MAX);
    w->router_timer = (struct net_timer){.fire = router_due, .user = w};
    if (net_loop_new(&hooks, SCRATCH_SIZE, &w->loop) < 0 || mailbox_init(&w->mailbox) < 0)
        return ERR_IO;
    net_loop_set_mailbox(w->loop, &w->mailbox, receive, w);
    return 0;
}

int workers_new(struct node *n, int count, struct router_opts *opts)
{
    n->workers = xcalloc((size_t)count, sizeof(*n->workers));
    n->worker_count = count;
    pthread_mutex_init(&n->hold.lock, NULL);
    pthread_cond_init(&n->hold.changed, NULL);
    for (int i = 0; i < count; i++) {
        struct worker *w = &n->workers[i];

        if (worker_init(n, w, i) < 0)
            return ERR_IO;
        opts->pool = w->pool;
        opts->shard = (uint32_t)i;
        w->router = router_new(opts, mono_now());
        if (i > 0)
            join(&n->workers[0], w);
        opts->hub_mode = i == 0 ? opts->mode : opts->hub_mode;
        opts->mode = ROUTER_SHARD;
        opts->seed++;
    }
    n->loop = n->workers[0].loop;
    n->pool = n->workers[0].pool;
    n->router = n->workers[0].router;
    router_set_hold(n->router, workers_hold, n);
    for (int i = 1; i < count; i++)
        greet(&n->workers[0], &n->workers[i]);
    return 0;
}

static void *run(void *user)
{
    struct worker *w = user;

    net_loop_run(w->loop);
    return NULL;
}

int workers_start(struct node *n)
{
    for (int i = 1; i < n->worker_count; i++) {
        struct worker *w = &n->workers[i];

        w->is_running = pthread_create(&w->thread, NULL, run, w) == 0;
        if (!w->is_running) {
            workers_stop(n);
            return ERR_IO;
        }
    }
    n->hold.is_threaded = n->worker_count > 1;
    return 0;
}

void workers_stop(struct node *n)
{
    for (int i = 1; i < n->worker_count; i++)
        if (n->workers[i].is_running)
            mailbox_send(&n->workers[i].mailbox, &letter_new(LETTER_STOP, 0)->mail);
    for (int i = 1; i < n->worker_count; i++) {
        if (n->workers[i].is_running)
            pthread_join(n->workers[i].thread, NULL);
        n->workers[i].is_running = false;
    }
    n->hold.is_threaded = false;
}

static void throw_away(struct worker *w)
{
    struct mail *m = w->mailbox.fd >= 0 ? mailbox_take(&w->mailbox) : NULL;

    while (m) {
        struct letter *l = (struct letter *)(void *)m;

        m = m->next;
        if (l->kind == LETTER_SOCKET)
            close(l->fd);
        free(l);
    }
}

static void worker_fini(struct worker *w, struct mono now)
{
    if (w->loop) {
        net_timer_cancel(w->loop, &w->router_timer);
        net_loop_drop_all(w->loop, "the router stops");
    }
    if (w->up.conn)
        router_conn_lost(w->up.conn, now);
}

void workers_free(struct node *n)
{
    struct mono now = mono_now();

    for (int i = n->worker_count - 1; i >= 0; i--)
        worker_fini(&n->workers[i], now);
    for (int i = 1; i < n->worker_count; i++)
        if (n->workers[i].down.conn)
            router_conn_lost(n->workers[i].down.conn, now);
    for (int i = n->worker_count - 1; i >= 0; i--) {
        struct worker *w = &n->workers[i];

        router_free(w->router);
        throw_away(w);
        net_loop_free(w->loop);
        mailbox_fini(&w->mailbox);
        pool_free(w->pool);
    }
    if (n->workers) {
        pthread_cond_destroy(&n->hold.changed);
        pthread_mutex_destroy(&n->hold.lock);
    }
    free(n->workers);
}
