// SPDX-License-Identifier: Apache-2.0
// Load for routers: senders and receivers in one thread, over the same AMQP engine that the router
// uses. Prints one JSON object: messages, seconds, rate, latency percentiles, what was lost.
//
//   load --to HOST:PORT --from HOST:PORT --address A [--size N] [--seconds S] [--presettled]
//        [--pairs N] [--receivers N] [--rate PER_SECOND] [--credit N]
//
// Every message carries its number and its send time in the body, so loss, order and latency are
// seen at the receiver. With --receivers above the pairs, all receive from one address (multicast).
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "amqp/amqp.h"
#include "base/mem.h"

enum {
    CLIENT_MAX = 64,
    READ_SIZE = 256 * 1024,
    SAMPLE_MAX = 4000000,
    HEAD = 12,
    MESSAGE_MAX = 1 << 20
};

struct options {
    const char *to, *from, *address;
    size_t size;
    double seconds, rate;
    bool presettled;
    int pairs, receivers;
    uint32_t credit;
};

struct client {
    int fd;
    bool is_sender, is_ready, wants_out;
    int index;
    struct amqp_conn *conn;
    struct amqp_link *link;
    uint64_t count, settled, lost, expected;
};

struct load {
    struct options o;
    int epoll;
    struct pool *pool;
    struct client clients[CLIENT_MAX];
    int client_count, ready_count;
    uint8_t *message;
    uint8_t read_buf[READ_SIZE];
    struct mono started, stop_at, next_send;
    uint64_t sent, received, settled, lost, refused;
    uint32_t *samples; // microseconds / 10
    size_t sample_count;
};

static void fail(const char *what)
{
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int dial(const char *where)
{
    char host[64];
    const char *colon = strrchr(where, ':');
    struct sockaddr_in sa = {.sin_family = AF_INET};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

    if (!colon || (size_t)(colon - where) >= sizeof(host))
        fail("HOST:PORT is needed");
    memcpy(host, where, (size_t)(colon - where));
    host[colon - where] = '\0';
    sa.sin_port = htons((uint16_t)atoi(colon + 1));
    if (inet_pton(AF_INET, host, &sa.sin_addr) != 1)
        fail("the host must be an IPv4 address");
    if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
        fail(where);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    return fd;
}

static void client_start(struct load *l, bool is_sender, int index)
{
    struct client *c = &l->clients[l->client_count++];
    char id[32];
    struct amqp_conn_opts opts = {
        .pool = l->pool,
        .container_id = id,
        .frame_size_max = 65536,
        .channel_max = 10,
        .link_max = 10,
        .output_max = 256 * 1024,
        .sasl_mechanisms = AMQP_SASL_ANONYMOUS,
        .incoming_window = 2048,
    };
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};

    snprintf(id, sizeof(id), "load-%d-%d-%d", (int)getpid(), is_sender, index);
    c->index = index;
    c->is_sender = is_sender;
    c->fd = dial(is_sender ? l->o.to : l->o.from);
    c->conn = amqp_conn_new(&opts, mono_now());
    amqp_conn_set_user(c->conn, c);
    if (epoll_ctl(l->epoll, EPOLL_CTL_ADD, c->fd, &ev) < 0)
        fail("epoll");
}

static void attach(struct load *l, struct client *c)
{
    char name[32], address[128];
    struct amqp_attach a = {.name = name,
                            .role = c->is_sender ? AMQP_SENDER : AMQP_RECEIVER,
                            .snd_settle_mode = l->o.presettled ? 1 : 0,
                            .capacity = l->o.credit};

    snprintf(name, sizeof(name), "link-%d", c->index);
    if (l->o.receivers > 0)
        snprintf(address, sizeof(address), "%s", l->o.address);
    else
        snprintf(address, sizeof(address), "%s/%d", l->o.address, c->index);
    *(c->is_sender ? &a.target.address : &a.source.address) = str_of(address);
    c->link = amqp_link_attach(amqp_session_begin(c->conn, 2048), &a);
    if (!c->is_sender)
        amqp_link_grant(c->link, l->o.credit);
}

static void flush_client(struct load *l, struct client *c)
{
    struct buf *out;
    struct iovec iov[64];

    amqp_conn_flush(c->conn);
    out = amqp_conn_output(c->conn);
    while (out->len > 0) {
        int count = buf_peek(out, iov, 64);
        ssize_t n = writev(c->fd, iov, count);

        if (n < 0 && errno != EAGAIN)
            fail("write");
        if (n < 0)
            break;
        buf_skip(out, (size_t)n);
        amqp_conn_sent(c->conn);
    }
    if ((out->len > 0) != c->wants_out) {
        struct epoll_event ev = {.data.ptr = c};

        c->wants_out = out->len > 0;
        ev.events = EPOLLIN | (c->wants_out ? EPOLLOUT : 0u);
        epoll_ctl(l->epoll, EPOLL_CTL_MOD, c->fd, &ev);
    }
}

// properties-free message: one data section with number, time and filling.
static bool send_one(struct load *l, struct client *c, struct mono now)
{
    struct iovec iov = {l->message, l->o.size};
    struct amqp_delivery *d;
    bool done = false;

    if (!amqp_link_is_ready(c->link))
        return false;
    memcpy(l->message + 8, &c->count, 8);
    memcpy(l->message + 16, &now.ns, 8);
    d = amqp_delivery_begin(c->link, l->o.presettled, 0, NULL);
    if (amqp_delivery_write(d, &iov, 1, true, &done) < l->o.size || !done) {
        fprintf(stderr, "load: a message did not fit a frame; use a smaller --size\n");
        exit(1);
    }
    c->count++;
    l->sent++;
    return true;
}

static void on_transfer(struct load *l, struct client *c, const struct amqp_event *ev)
{
    uint64_t number;
    int64_t sent_at;

    assert(ev->transfer.len == l->o.size && ev->transfer.first && !ev->transfer.more);
    memcpy(&number, ev->transfer.data + 8, 8);
    memcpy(&sent_at, ev->transfer.data + 16, 8);
    if (number > c->expected)
        l->lost += number - c->expected;
    c->expected = number + 1;
    l->received++;
    if (l->o.rate > 0 && l->sample_count < SAMPLE_MAX)
        l->samples[l->sample_count++] = (uint32_t)((mono_now().ns - sent_at) / 100);
    if (!ev->transfer.delivery->settled)
        amqp_delivery_settle(ev->transfer.delivery, &(struct amqp_outcome){.type = AMQP_ACCEPTED});
    amqp_link_grant(c->link, 1);
}

static void on_event(struct load *l, struct client *c, const struct amqp_event *ev)
{
    switch (ev->type) {
    case AMQP_EV_ATTACHED:
        if (!c->is_sender && !c->is_ready) {
            c->is_ready = true;
            l->ready_count++;
        }
        break;
    case AMQP_EV_CREDIT:
        if (c->is_sender && !c->is_ready && amqp_link_credit(c->link) > 0) {
            c->is_ready = true;
            l->ready_count++;
        }
        break;
    case AMQP_EV_TRANSFER:
        on_transfer(l, c, ev);
        break;
    case AMQP_EV_UPDATED:
        l->settled++;
        l->refused += ev->update.outcome.type != AMQP_ACCEPTED;
        if (!ev->update.settled)
            amqp_delivery_settle(ev->update.delivery, NULL);
        break;
    case AMQP_EV_DETACHED:
    case AMQP_EV_CLOSED:
        fprintf(stderr, "load: the router ended it: %.*s %.*s\n", STR_ARG(ev->ended.condition),
                STR_ARG(ev->ended.description));
        exit(1);
    case AMQP_EV_OPENED:
        attach(l, c);
        break;
    case AMQP_EV_WRITABLE:
        break;
    }
}

static void read_client(struct load *l, struct client *c, struct mono now)
{
    ssize_t n = recv(c->fd, l->read_buf, READ_SIZE, MSG_DONTWAIT);
    struct amqp_event ev;

    if (n == 0 || (n < 0 && errno != EAGAIN))
        fail("the router closed the connection");
    if (n < 0)
        return;
    amqp_conn_feed(c->conn, l->read_buf, (size_t)n, now);
    while (amqp_conn_next(c->conn, &ev))
        on_event(l, c, &ev);
}

static void send_all(struct load *l, struct mono now)
{
    bool more = true;

    if (l->o.rate > 0) {
        while (!mono_before(now, l->next_send)) {
            for (int i = 0; i < l->client_count; i++)
                if (l->clients[i].is_sender)
                    send_one(l, &l->clients[i], mono_now());
            l->next_send.ns += (int64_t)(1e9 / l->o.rate);
        }
        return;
    }
    while (more) {
        more = false;
        for (int i = 0; i < l->client_count; i++)
            if (l->clients[i].is_sender)
                more |= send_one(l, &l->clients[i], now);
    }
}

static void turn(struct load *l, int64_t wait_ns)
{
    struct epoll_event events[CLIENT_MAX];
    struct timespec ts = {wait_ns / NS_PER_S, wait_ns % NS_PER_S};
    int count = epoll_pwait2(l->epoll, events, CLIENT_MAX, &ts, NULL);
    struct mono now = mono_now();

    for (int i = 0; i < count; i++)
        read_client(l, events[i].data.ptr, now);
    if (l->ready_count == l->client_count && mono_before(now, l->stop_at))
        send_all(l, now);
    for (int i = 0; i < l->client_count; i++)
        flush_client(l, &l->clients[i]);
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

static double percentile(const struct load *l, double p)
{
    return l->sample_count ? l->samples[(size_t)((double)(l->sample_count - 1) * p)] / 10.0 : 0;
}

static void report(struct load *l, struct mono end, uint64_t expected)
{
    double seconds = (double)(end.ns - l->started.ns) / 1e9;

    qsort(l->samples, l->sample_count, sizeof(*l->samples), compare);
    printf("{\"sent\": %lu, \"received\": %lu, \"expected\": %lu, \"settled\": %lu, "
           "\"refused\": %lu, \"gaps\": %lu, \"seconds\": %.4f, \"rate\": %.0f, "
           "\"p50_us\": %.1f, \"p99_us\": %.1f, \"max_us\": %.1f}\n",
           l->sent, l->received, expected, l->settled, l->refused, l->lost, seconds,
           (double)l->received / seconds, percentile(l, 0.5), percentile(l, 0.99),
           percentile(l, 1));
}

static void run(struct load *l)
{
    int per_message =
        l->o.receivers > 0 && strncmp(l->o.address, "mc", 2) == 0 ? l->o.receivers : 1;
    struct mono give_up, end;
    uint64_t before = UINT64_MAX;

    l->stop_at = MONO_NEVER;
    give_up = mono_add_ms(mono_now(), 20000);
    l->next_send = MONO_NEVER; // nothing is sent before all are ready
    while (l->ready_count < l->client_count) {
        turn(l, NS_PER_S / 100);
        if (!mono_before(mono_now(), give_up))
            fail("no credit for the senders within 20 s");
    }
    l->started = l->next_send = mono_now();
    l->stop_at = (struct mono){l->started.ns + (int64_t)(l->o.seconds * 1e9)};
    l->sent = l->received = l->settled = 0;
    for (int i = 0; i < l->client_count; i++)
        l->clients[i].expected = l->clients[i].count;
    while (mono_before(mono_now(), l->stop_at)) {
        int64_t wait = l->o.rate > 0 ? l->next_send.ns - mono_now().ns : NS_PER_S / 100;

        turn(l, wait < 0 ? 0 : wait);
    }
    // What is under way still arrives; a second without anything means that it will not.
    end = mono_now();
    while (l->received < l->sent * (uint64_t)per_message && before != l->received) {
        before = l->received;
        give_up = mono_add_ms(mono_now(), 1000);
        while (l->received < l->sent * (uint64_t)per_message && mono_before(mono_now(), give_up))
            turn(l, NS_PER_S / 100);
        if (l->received > before)
            end = mono_now();
    }
    report(l, end, l->sent * (uint64_t)per_message);
}

int main(int argc, char **argv)
{
    static const struct option names[] = {
        {"to", 1, NULL, 't'},        {"from", 1, NULL, 'f'},    {"address", 1, NULL, 'a'},
        {"size", 1, NULL, 's'},      {"seconds", 1, NULL, 'd'}, {"presettled", 0, NULL, 'p'},
        {"pairs", 1, NULL, 'n'},     {"rate", 1, NULL, 'r'},    {"credit", 1, NULL, 'c'},
        {"receivers", 1, NULL, 'm'}, {NULL, 0, NULL, 0},
    };
    struct load *l = xcalloc(1, sizeof(*l));
    int opt;

    l->o =
        (struct options){.address = "bench", .size = 100, .seconds = 3, .pairs = 1, .credit = 1000};
    while ((opt = getopt_long(argc, argv, "", names, NULL)) != -1) {
        switch (opt) {
        case 't':
            l->o.to = optarg;
            break;
        case 'f':
            l->o.from = optarg;
            break;
        case 'a':
            l->o.address = optarg;
            break;
        case 's':
            l->o.size = (size_t)atol(optarg);
            break;
        case 'd':
            l->o.seconds = atof(optarg);
            break;
        case 'p':
            l->o.presettled = true;
            break;
        case 'n':
            l->o.pairs = atoi(optarg);
            break;
        case 'r':
            l->o.rate = atof(optarg);
            break;
        case 'c':
            l->o.credit = (uint32_t)atoi(optarg);
            break;
        case 'm':
            l->o.receivers = atoi(optarg);
            break;
        default:
            return 2;
        }
    }
    if (!l->o.to || !l->o.from || l->o.size < 32 || l->o.size > MESSAGE_MAX || l->o.pairs < 1 ||
        2 * l->o.pairs + l->o.receivers > CLIENT_MAX) {
        fprintf(stderr, "usage: load --to HOST:PORT --from HOST:PORT [--address A] [--size N] "
                        "[--seconds S] [--presettled] [--pairs N] [--receivers N] [--rate R]\n");
        return 2;
    }
    l->epoll = epoll_create1(EPOLL_CLOEXEC);
    l->pool = pool_new(16384, 65536);
    l->samples = xcalloc(SAMPLE_MAX, sizeof(*l->samples));
    l->message = xcalloc(1, l->o.size);
    memcpy(l->message, (const uint8_t[]){0x00, 0x53, 0x75, 0xb0}, 4);
    for (int i = 0; i < 4; i++)
        l->message[4 + i] = (uint8_t)((l->o.size - 8) >> (24 - 8 * i));
    for (int i = 0; i < (l->o.receivers > 0 ? l->o.receivers : l->o.pairs); i++)
        client_start(l, false, i);
    for (int i = 0; i < l->o.pairs; i++)
        client_start(l, true, i);
    run(l);
    return 0;
}
