// SPDX-License-Identifier: Apache-2.0
// Load for routers: senders and receivers in one thread, over the same AMQP engine that the router
// uses. Prints one JSON object: messages, seconds, rate, latency, what was lost, processor time.
//
//   load --to HOST:PORT --from HOST:PORT [--address A] [--size N] [--seconds S] [--presettled]
//        [--pairs N] [--receivers N] [--rate PER_SECOND] [--credit N] [--pids PID,PID,…] [--least
//        N]
//   load --to HOST:PORT --from HOST:PORT --stream BYTES [--slow BYTES_PER_SECOND]
//   load --to HOST:PORT --idle CONNECTIONS
//
// Every message carries its number and its send time in the body, and a filling that the receiver
// compares byte for byte: loss, order, damage and latency are seen there. With --receivers all
// receive from one address (multicast). --stream sends one message of that size and nothing else.
// --idle opens connections with one receiving link each, says so, and keeps them until its input
// ends. --pids names processes whose processor time, from the first measured message to the last,
// is told too. It goes on for --seconds, and with --least until so many messages are sent.
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "amqp/amqp.h"
#include "base/mem.h"

enum {
    PAIR_MAX = 64,
    IDLE_MAX = 20000,
    EVENTS = 256,
    READ_SIZE = 256 * 1024,
    SAMPLE_MAX = 4000000,
    HEAD = 24, // head of the data section, number, time
    FILLING = 65521,
    PARTS = 5,
    MESSAGE_MAX = 60000, // one frame
    PID_MAX = 16,
    WARM_MS = 300,
    READY_MS = 20000,
    SILENCE_MS = 5000, // nothing for so long: what has not come does not come any more
};

struct options {
    const char *to, *from, *address;
    size_t size;
    double seconds, rate, slow;
    bool presettled;
    int pairs, receivers, idle;
    uint32_t credit;
    uint64_t stream, least;
};

struct client {
    int fd;
    uint32_t events; // epoll listens to, while the output is empty
    bool is_sender, is_ready, wants_out;
    int index;
    struct amqp_conn *conn;
    struct amqp_link *link;
    uint64_t number;              // the next message's
    struct amqp_delivery *stream; // being sent
    uint64_t at;                  // in the message being sent or received
    uint8_t head[HEAD];
};

struct load {
    struct options o;
    int epoll;
    struct pool *pool;
    struct client *clients;
    int client_count, ready_count;
    clockid_t pids[PID_MAX];
    int pid_count;
    uint8_t filling[2 * FILLING]; // twice, so that any piece of one length is contiguous
    uint8_t read_buf[READ_SIZE];
    struct mono started, stop_at, next_send, next_tick;
    double router_cpu, own_cpu; // at the start
    uint64_t sent, received, settled, gaps, refused, damaged, bytes, slow_bytes;
    bool is_measuring;
    uint32_t *samples; // tenths of microseconds
    size_t sample_count;
};

static void fail(const char *what)
{
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static double clock_seconds(clockid_t id)
{
    struct timespec t;

    return clock_gettime(id, &t) < 0 ? 0 : (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double router_cpu(const struct load *l)
{
    double sum = 0;

    for (int i = 0; i < l->pid_count; i++)
        sum += clock_seconds(l->pids[i]);
    return sum;
}

// ------------------------------------------------------------------------------------ connections

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
    char id[48];
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
    struct epoll_event ev = {.data.ptr = c};

    snprintf(id, sizeof(id), "load-%d-%d-%d", (int)getpid(), is_sender, index);
    c->index = index;
    c->is_sender = is_sender;
    c->events = l->o.slow > 0 && !is_sender ? 0 : EPOLLIN;
    c->fd = dial(is_sender ? l->o.to : l->o.from);
    c->conn = amqp_conn_new(&opts, mono_now());
    amqp_conn_set_user(c->conn, c);
    ev.events = c->events;
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
        ev.events = c->events | (c->wants_out ? (uint32_t)EPOLLOUT : 0);
        epoll_ctl(l->epoll, EPOLL_CTL_MOD, c->fd, &ev);
    }
}

// ----------------------------------------------------------------------------------------- sending

// One data section with number, time and filling.
static void make_head(const struct load *l, const struct client *c, uint64_t size,
                      uint8_t head[HEAD])
{
    struct mono now = l->o.rate > 0 ? mono_now() : l->started;
    uint32_t section = (uint32_t)(size - 8);

    memcpy(head, (const uint8_t[]){0x00, 0x53, 0x75, 0xb0}, 4);
    for (int i = 0; i < 4; i++)
        head[4 + i] = (uint8_t)(section >> (24 - 8 * i));
    memcpy(head + 8, &c->number, 8);
    memcpy(head + 16, &now.ns, 8);
}

static bool send_one(struct load *l, struct client *c)
{
    uint8_t head[HEAD];
    struct iovec iov[2] = {{head, HEAD}, {l->filling + HEAD, l->o.size - HEAD}};
    bool done = false;

    if (!amqp_link_is_ready(c->link))
        return false;
    make_head(l, c, l->o.size, head);
    if (amqp_delivery_write(amqp_delivery_begin(c->link, l->o.presettled, 0, NULL), iov, 2, true,
                            &done) < l->o.size ||
        !done) {
        fprintf(stderr, "load: a message did not fit a frame; use a smaller --size\n");
        exit(1);
    }
    c->number++;
    l->sent++;
    return true;
}

// As much of the one long message as there is room for.
static bool send_stream(struct load *l, struct client *c)
{
    uint8_t head[HEAD];
    struct iovec iov[PARTS + 1];
    uint64_t at = c->at, left = l->o.stream - c->at;
    int count = 0;
    bool done = false;
    size_t taken;

    if (!c->stream && (c->number > 0 || !amqp_link_is_ready(c->link)))
        return false;
    if (!c->stream)
        c->stream = amqp_delivery_begin(c->link, l->o.presettled, 0, NULL);
    if (at < HEAD) {
        make_head(l, c, l->o.stream, head);
        iov[count++] = (struct iovec){head + at, HEAD - at};
        left -= HEAD - at;
        at = HEAD;
    }
    while (left > 0 && count <= PARTS) {
        size_t part = left < FILLING ? (size_t)left : FILLING;

        iov[count++] = (struct iovec){l->filling + at % FILLING, part};
        left -= part;
        at += part;
    }
    taken = amqp_delivery_write(c->stream, iov, count, left == 0, &done);
    c->at += taken;
    if (done) {
        c->stream = NULL;
        c->number++;
        l->sent++;
    }
    return taken > 0 && !done;
}

static void send_all(struct load *l, struct mono now)
{
    bool more = true;

    if (l->o.rate > 0) {
        for (; !mono_before(now, l->next_send); l->next_send.ns += (int64_t)(1e9 / l->o.rate))
            for (int i = 0; i < l->client_count; i++)
                if (l->clients[i].is_sender)
                    send_one(l, &l->clients[i]);
        return;
    }
    while (more) {
        more = false;
        for (int i = 0; i < l->client_count; i++)
            if (l->clients[i].is_sender)
                more |= l->o.stream ? send_stream(l, &l->clients[i]) : send_one(l, &l->clients[i]);
    }
}

// --------------------------------------------------------------------------------------- receiving

static void take_head(struct load *l, struct client *c)
{
    uint64_t number;
    int64_t sent_at;

    memcpy(&number, c->head + 8, 8);
    memcpy(&sent_at, c->head + 16, 8);
    if (number > c->number)
        l->gaps += number - c->number;
    l->damaged += number < c->number;
    c->number = number + 1;
    if (l->o.rate > 0 && l->is_measuring && l->sample_count < SAMPLE_MAX)
        l->samples[l->sample_count++] = (uint32_t)((mono_now().ns - sent_at) / 100);
}

// The next bytes of the message being received.
static void take_bytes(struct load *l, struct client *c, const uint8_t *data, size_t len)
{
    l->bytes += len;
    if (c->at < HEAD) {
        size_t part = len < HEAD - c->at ? len : HEAD - (size_t)c->at;

        memcpy(c->head + c->at, data, part);
        c->at += part;
        data += part;
        len -= part;
        if (c->at == HEAD)
            take_head(l, c);
    }
    while (len > 0) {
        size_t part = len < FILLING ? len : FILLING;

        l->damaged += memcmp(data, l->filling + c->at % FILLING, part) != 0;
        c->at += part;
        data += part;
        len -= part;
    }
}

static void on_transfer(struct load *l, struct client *c, const struct amqp_event *ev)
{
    if (ev->transfer.first)
        c->at = 0;
    take_bytes(l, c, ev->transfer.data, ev->transfer.len);
    if (ev->transfer.more)
        return;
    l->received++;
    l->damaged += ev->transfer.aborted || c->at != (l->o.stream ? l->o.stream : l->o.size);
    if (!ev->transfer.delivery->settled)
        amqp_delivery_settle(ev->transfer.delivery, &(struct amqp_outcome){.type = AMQP_ACCEPTED});
    amqp_link_grant(c->link, 1);
}

static void ready(struct load *l, struct client *c)
{
    if (c->is_ready)
        return;
    c->is_ready = true;
    l->ready_count++;
}

static void on_event(struct load *l, struct client *c, const struct amqp_event *ev)
{
    switch (ev->type) {
    case AMQP_EV_ATTACHED:
        if (!c->is_sender)
            ready(l, c);
        break;
    case AMQP_EV_CREDIT:
        if (c->is_sender && amqp_link_credit(c->link) > 0)
            ready(l, c);
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

static void read_client(struct load *l, struct client *c, size_t most, struct mono now)
{
    ssize_t n = recv(c->fd, l->read_buf, most, MSG_DONTWAIT);
    struct amqp_event ev;

    if (n == 0 || (n < 0 && errno != EAGAIN))
        fail("the router closed the connection");
    if (n < 0)
        return;
    if (l->is_measuring && !c->is_sender)
        l->slow_bytes += (uint64_t)n;
    amqp_conn_feed(c->conn, l->read_buf, (size_t)n, now);
    while (amqp_conn_next(c->conn, &ev))
        on_event(l, c, &ev);
}

// Receivers that read no faster than they are told to.
static void read_slowly(struct load *l, struct mono now)
{
    double allowed = l->o.slow * (double)(now.ns - l->started.ns) / 1e9 - (double)l->slow_bytes;

    if (!l->is_measuring)
        allowed = READ_SIZE;
    for (int i = 0; i < l->client_count && allowed >= 1; i++)
        if (l->clients[i].events == 0)
            read_client(l, &l->clients[i], allowed < READ_SIZE ? (size_t)allowed : READ_SIZE, now);
}

// ------------------------------------------------------------------------------------------- turns

static void tick_all(struct load *l, struct mono now)
{
    if (mono_before(now, l->next_tick))
        return;
    l->next_tick = mono_add_ms(now, 1000);
    for (int i = 0; i < l->client_count; i++)
        amqp_conn_tick(l->clients[i].conn, now);
}

static void turn(struct load *l, int64_t wait_ns)
{
    struct epoll_event events[EVENTS];
    struct timespec ts = {wait_ns / NS_PER_S, wait_ns % NS_PER_S};
    int count = epoll_pwait2(l->epoll, events, EVENTS, &ts, NULL);
    struct mono now = mono_now();

    for (int i = 0; i < count; i++)
        if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
            read_client(l, events[i].data.ptr, READ_SIZE, now);
    if (l->o.slow > 0)
        read_slowly(l, now);
    if (l->ready_count == l->client_count && mono_before(now, l->stop_at))
        send_all(l, now);
    tick_all(l, now);
    for (int i = 0; i < l->client_count; i++)
        flush_client(l, &l->clients[i]);
}

// How long the loop may sleep when nothing comes.
static int64_t nap(const struct load *l, struct mono now)
{
    int64_t wait = l->o.slow > 0 ? NS_PER_MS : 10 * NS_PER_MS;

    if (l->o.rate > 0 && l->next_send.ns - now.ns < wait)
        wait = l->next_send.ns - now.ns;
    return wait < 0 ? 0 : wait;
}

static void wait_ready(struct load *l)
{
    struct mono give_up = mono_add_ms(mono_now(), READY_MS);

    l->stop_at = (struct mono){0};
    while (l->ready_count < l->client_count) {
        turn(l, NS_PER_MS);
        errno = ETIMEDOUT;
        if (!mono_before(mono_now(), give_up))
            fail("no credit for the senders within 20 s");
    }
}

static bool all_arrived(const struct load *l, uint64_t copies)
{
    return l->received >= l->sent * copies && (l->o.presettled || l->settled >= l->sent);
}

// What is under way still arrives. Returns when the last of it came.
static struct mono drain(struct load *l, uint64_t copies)
{
    struct mono last = mono_now();
    uint64_t before = l->received + l->settled + l->bytes;

    while (!all_arrived(l, copies) && mono_ms_between(last, mono_now()) < SILENCE_MS) {
        turn(l, NS_PER_MS);
        if (l->received + l->settled + l->bytes != before)
            last = mono_now();
        before = l->received + l->settled + l->bytes;
    }
    return last;
}

static bool goes_on(const struct load *l, struct mono now, struct mono end)
{
    return mono_before(now, end) || (l->is_measuring && l->sent < l->o.least);
}

static void send_for(struct load *l, double seconds)
{
    struct mono now = mono_now(), end = {now.ns + (int64_t)(seconds * 1e9)};

    l->next_send = now;
    l->stop_at = MONO_NEVER;
    for (; l->o.stream ? l->sent == 0 : goes_on(l, now, end); now = mono_now())
        turn(l, nap(l, now));
    l->stop_at = now;
}

static void start_measuring(struct load *l)
{
    l->sent = l->received = l->settled = l->refused = l->gaps = l->bytes = 0;
    l->is_measuring = true;
    l->started = mono_now();
    l->router_cpu = router_cpu(l);
    l->own_cpu = clock_seconds(CLOCK_PROCESS_CPUTIME_ID);
}

// ------------------------------------------------------------------------------------------ report

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
           "\"refused\": %lu, \"gaps\": %lu, \"damaged\": %lu, \"bytes\": %lu, "
           "\"seconds\": %.4f, \"rate\": %.0f, \"router_cpu\": %.6f, \"load_cpu\": %.6f, "
           "\"p50_us\": %.1f, \"p99_us\": %.1f, \"max_us\": %.1f}\n",
           l->sent, l->received, expected, l->settled, l->refused, l->gaps, l->damaged, l->bytes,
           seconds, (double)l->received / seconds, router_cpu(l) - l->router_cpu,
           clock_seconds(CLOCK_PROCESS_CPUTIME_ID) - l->own_cpu, percentile(l, 0.5),
           percentile(l, 0.99), percentile(l, 1));
}

static void run(struct load *l)
{
    uint64_t copies =
        l->o.receivers > 0 && strncmp(l->o.address, "mc", 2) == 0 ? (uint64_t)l->o.receivers : 1;
    struct mono end;

    wait_ready(l);
    if (!l->o.stream) {
        send_for(l, WARM_MS / 1000.0);
        drain(l, copies);
        for (int i = 0; i < l->client_count; i++)
            l->clients[i].number = 0; // what was lost while warming up is no loss
    }
    start_measuring(l);
    send_for(l, l->o.seconds);
    end = drain(l, copies);
    report(l, end, l->sent * copies);
}

static void stay_idle(struct load *l)
{
    struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};

    wait_ready(l);
    printf("{\"idle\": %d}\n", l->client_count);
    fflush(stdout);
    while (poll(&in, 1, 0) == 0)
        turn(l, 100 * NS_PER_MS);
}

// ----------------------------------------------------------------------------------------- options

static void add_pids(struct load *l, char *list)
{
    for (char *pid = strtok(list, ","); pid && l->pid_count < PID_MAX; pid = strtok(NULL, ","))
        if (clock_getcpuclockid((pid_t)atol(pid), &l->pids[l->pid_count++]) != 0)
            fail("a process of --pids is not there");
}

static bool is_usable(const struct options *o)
{
    if (!o->to || o->idle < 0 || o->idle > IDLE_MAX)
        return false;
    return o->idle > 0 || (o->from && o->size >= HEAD && o->size <= MESSAGE_MAX && o->pairs >= 1 &&
                           o->pairs <= PAIR_MAX && o->receivers <= PAIR_MAX &&
                           (o->stream == 0 || (o->stream >= HEAD && o->stream <= UINT32_MAX)));
}

static bool read_options(struct load *l, int argc, char **argv)
{
    static const struct option names[] = {
        {"to", 1, NULL, 't'},        {"from", 1, NULL, 'f'},    {"address", 1, NULL, 'a'},
        {"size", 1, NULL, 's'},      {"seconds", 1, NULL, 'd'}, {"presettled", 0, NULL, 'p'},
        {"pairs", 1, NULL, 'n'},     {"rate", 1, NULL, 'r'},    {"credit", 1, NULL, 'c'},
        {"receivers", 1, NULL, 'm'}, {"stream", 1, NULL, 'b'},  {"slow", 1, NULL, 'l'},
        {"idle", 1, NULL, 'i'},      {"pids", 1, NULL, 'P'},    {"least", 1, NULL, 'L'},
        {NULL, 0, NULL, 0},
    };
    struct options *o = &l->o;
    int opt;

    while ((opt = getopt_long(argc, argv, "", names, NULL)) != -1) {
        if (opt == 't')
            o->to = optarg;
        else if (opt == 'f')
            o->from = optarg;
        else if (opt == 'a')
            o->address = optarg;
        else if (opt == 's')
            o->size = strtoul(optarg, NULL, 10);
        else if (opt == 'd')
            o->seconds = atof(optarg);
        else if (opt == 'p')
            o->presettled = true;
        else if (opt == 'n')
            o->pairs = atoi(optarg);
        else if (opt == 'r')
            o->rate = atof(optarg);
        else if (opt == 'c')
            o->credit = (uint32_t)atoi(optarg);
        else if (opt == 'm')
            o->receivers = atoi(optarg);
        else if (opt == 'b')
            o->stream = strtoul(optarg, NULL, 10);
        else if (opt == 'l')
            o->slow = atof(optarg);
        else if (opt == 'i')
            o->idle = atoi(optarg);
        else if (opt == 'L')
            o->least = strtoul(optarg, NULL, 10);
        else if (opt == 'P')
            add_pids(l, optarg);
        else
            return false;
    }
    return is_usable(o);
}

static void fill(struct load *l)
{
    uint32_t x = 1;

    for (size_t i = 0; i < FILLING; i++) {
        x = x * 1664525 + 1013904223;
        l->filling[i] = l->filling[i + FILLING] = (uint8_t)(x >> 24);
    }
}

int main(int argc, char **argv)
{
    struct load *l = xcalloc(1, sizeof(*l));
    int receivers, senders;

    l->o =
        (struct options){.address = "bench", .size = 100, .seconds = 3, .pairs = 1, .credit = 1000};
    if (!read_options(l, argc, argv)) {
        fprintf(stderr,
                "usage: load --to HOST:PORT --from HOST:PORT [--address A] [--size N]\n"
                "            [--seconds S] [--presettled] [--pairs N] [--receivers N] [--rate R]\n"
                "            [--credit N] [--pids PID,…] [--least N] [--stream BYTES [--slow "
                "PER_SECOND]]\n"
                "       load --to HOST:PORT --idle CONNECTIONS\n");
        return 2;
    }
    receivers = l->o.idle ? l->o.idle : l->o.receivers ? l->o.receivers : l->o.pairs;
    senders = l->o.idle ? 0 : l->o.pairs;
    if (!l->o.from)
        l->o.from = l->o.to;
    prctl(PR_SET_TIMERSLACK, 1UL);
    fill(l);
    l->epoll = epoll_create1(EPOLL_CLOEXEC);
    l->pool = pool_new(16384, 65536);
    l->samples = xcalloc(SAMPLE_MAX, sizeof(*l->samples));
    l->clients = xcalloc((size_t)(receivers + senders), sizeof(*l->clients));
    for (int i = 0; i < receivers; i++)
        client_start(l, false, i);
    for (int i = 0; i < senders; i++)
        client_start(l, true, i);
    if (l->o.idle)
        stay_idle(l);
    else
        run(l);
    return 0;
}
