// SPDX-License-Identifier: Apache-2.0
// Load for TCP proxies: a server and a client, each one thread, that check every byte.
//
//   streams serve PORT
//   streams bulk HOST:PORT [--streams N] [--seconds S] [--down]
//   streams ping HOST:PORT [--streams N] [--seconds S] [--rate PER_SECOND]
//   streams http HOST:PORT [--streams N] [--seconds S]
//   streams connect HOST:PORT [--streams N] [--seconds S]
//   streams idle HOST:PORT --streams N        holds them until its standard input ends
//
// The client prints one JSON object. The first byte of a connection tells the server what it is to
// be: S a sink, D a source, E an echo, G an HTTP server. What a sink takes and a source gives is
// one pattern, position by position; its length has no factor in common with frames or records.
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/mono.h"

enum {
    PATTERN_LEN = 65521,
    PIECE = 256 * 1024,
    PING_LEN = 64,
    SAMPLE_MAX = 8000000,
    EVENTS = 256,
    DRAIN_MS = 10000,
};

static const char http_request[] = "GET / HTTP/1.1\r\nHost: bench\r\n\r\n";
static const char http_answer[] =
    "HTTP/1.1 200 OK\r\nContent-Length: 64\r\n\r\n"
    "0123456789012345678901234567890123456789012345678901234567890123";

enum mode { BULK, PING, HTTP, CONNECT, IDLE };

struct flow {
    int fd;
    char kind; // of the server's side: 0 until the first byte has come
    bool is_ended, is_due;
    uint64_t at;         // bytes so far, after the first
    uint64_t sent, done; // client
    uint8_t wait[256];   // an answer as far as it has come; a request that the server echoes
    size_t wait_len;
    struct mono began;
};

struct bench {
    int epoll;
    uint8_t *pattern; // PATTERN_LEN + PIECE bytes: any position has a whole piece behind it
    uint8_t in[PIECE];
    // client
    enum mode mode;
    struct sockaddr_in to;
    struct flow *flows;
    int count;
    double seconds, rate;
    bool is_down;
    struct mono started, stop_at, next;
    uint64_t operations, wrong, lost;
    uint32_t *samples; // microseconds / 10
    uint32_t sample_count;
};

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static const uint8_t *expected(const struct bench *b, uint64_t at)
{
    return b->pattern + at % PATTERN_LEN;
}

static bool is_right(const struct bench *b, uint64_t at, const uint8_t *data, size_t len)
{
    return memcmp(expected(b, at), data, len) == 0;
}

static void watch(struct bench *b, struct flow *f, uint32_t events, int how)
{
    struct epoll_event ev = {.events = events, .data.ptr = f};

    if (epoll_ctl(b->epoll, how, f->fd, &ev) < 0)
        die("epoll_ctl");
}

static void set_nodelay(int fd)
{
    int one = 1;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

static void flow_close(struct flow *f)
{
    if (f->fd >= 0)
        close(f->fd);
    f->fd = -1;
}

// ---------------------------------------------------------------------------------------- server

// Small answers go out at once or the peer does not read, which no client of ours does for long.
static void answer(struct flow *f, const void *data, size_t len)
{
    ssize_t n = send(f->fd, data, len, MSG_NOSIGNAL);

    if (n != (ssize_t)len)
        f->is_ended = true;
}

static void sink_ended(struct flow *f)
{
    uint64_t told = f->done ? UINT64_MAX : f->at;

    answer(f, &told, sizeof(told));
    f->is_ended = true;
}

static void http_bytes(struct flow *f, const uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        f->sent = data[i] == '\n' ? f->sent + 1 : data[i] == '\r' ? f->sent : 0;
        if (f->sent == 2) {
            answer(f, http_answer, sizeof(http_answer) - 1);
            f->sent = 0;
        }
    }
}

static void serve_bytes(struct bench *b, struct flow *f, const uint8_t *data, size_t len)
{
    if (f->kind == 0 && len > 0) {
        f->kind = (char)data[0];
        if (f->kind == 'G')
            f->sent = 0;
        if (f->kind == 'D')
            watch(b, f, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
        data++;
        len--;
    }
    switch (f->kind) {
    case 'S':
        f->done |= !is_right(b, f->at, data, len);
        f->at += len;
        break;
    case 'E':
        if (len > 0)
            answer(f, data, len);
        break;
    case 'G':
        http_bytes(f, data, len);
        break;
    default:
        break;
    }
}

static void serve_readable(struct bench *b, struct flow *f)
{
    ssize_t n = recv(f->fd, b->in, sizeof(b->in), 0);

    if (n > 0)
        serve_bytes(b, f, b->in, (size_t)n);
    else if (n == 0 && f->kind == 'S')
        sink_ended(f);
    else if (n == 0 || errno != EAGAIN)
        f->is_ended = true;
}

static void give(struct bench *b, struct flow *f)
{
    ssize_t n = send(f->fd, expected(b, f->at), PIECE, MSG_NOSIGNAL);

    if (n > 0)
        f->at += (uint64_t)n;
    else if (n < 0 && errno != EAGAIN)
        f->is_ended = true;
}

static void serve_accept(struct bench *b, int listener)
{
    int fd;

    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct flow *f = xcalloc(1, sizeof(*f));

        f->fd = fd;
        set_nodelay(fd);
        watch(b, f, EPOLLIN, EPOLL_CTL_ADD);
    }
}

static _Noreturn void serve(struct bench *b, int port)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct flow listener = {.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0)};
    struct epoll_event events[EVENTS];
    int one = 1;

    sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(listener.fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(listener.fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 || listen(listener.fd, 4096) < 0)
        die("listen");
    watch(b, &listener, EPOLLIN, EPOLL_CTL_ADD);
    for (;;) {
        int count = epoll_wait(b->epoll, events, EVENTS, -1);

        for (int i = 0; i < count; i++) {
            struct flow *f = events[i].data.ptr;

            if (f == &listener) {
                serve_accept(b, f->fd);
                continue;
            }
            if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
                serve_readable(b, f);
            if (!f->is_ended && f->kind == 'D' && events[i].events & EPOLLOUT)
                give(b, f);
            if (f->is_ended) {
                flow_close(f);
                free(f);
            }
        }
    }
}

// ---------------------------------------------------------------------------------------- client

static void sample(struct bench *b, struct mono since)
{
    int64_t tenths = (mono_now().ns - since.ns) / 100;

    if (b->sample_count < SAMPLE_MAX)
        b->samples[b->sample_count++] = (uint32_t)(tenths < UINT32_MAX ? tenths : UINT32_MAX);
}

static void flow_connect(struct bench *b, struct flow *f)
{
    *f = (struct flow){.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0),
                       .done = f->done};
    if (f->fd < 0)
        die("socket");
    set_nodelay(f->fd);
    f->began = mono_now();
    if (connect(f->fd, (struct sockaddr *)&b->to, sizeof(b->to)) < 0 && errno != EINPROGRESS)
        die("connect");
    watch(b, f, EPOLLIN | EPOLLOUT, EPOLL_CTL_ADD);
}

static void send_whole(struct bench *b, struct flow *f, const void *data, size_t len)
{
    if (send(f->fd, data, len, MSG_NOSIGNAL) != (ssize_t)len)
        b->lost++;
}

static void ask(struct bench *b, struct flow *f)
{
    uint8_t request[1 + PING_LEN];

    f->wait_len = 0;
    f->is_due = false;
    if (b->mode == HTTP) {
        send_whole(b, f, http_request, sizeof(http_request) - 1);
        return;
    }
    request[0] = 'E';
    memcpy(request + 1, expected(b, f->sent), PING_LEN);
    if (f->sent++ == 0)
        send_whole(b, f, request, sizeof(request));
    else
        send_whole(b, f, request + 1, PING_LEN);
}

static size_t answer_len(const struct bench *b)
{
    return b->mode == HTTP ? sizeof(http_answer) - 1 : PING_LEN;
}

static bool answer_is_right(const struct bench *b, const struct flow *f)
{
    if (b->mode == HTTP)
        return memcmp(f->wait, http_answer, sizeof(http_answer) - 1) == 0;
    return is_right(b, f->sent - 1, f->wait, PING_LEN);
}

static void answered(struct bench *b, struct flow *f)
{
    b->wrong += !answer_is_right(b, f);
    b->operations++;
    f->done++;
    sample(b, f->began);
    f->is_due = true;
    if (b->mode == CONNECT) {
        flow_close(f);
        if (mono_before(mono_now(), b->stop_at))
            flow_connect(b, f);
        return;
    }
    if (b->rate > 0 || !mono_before(mono_now(), b->stop_at))
        return;
    f->began = mono_now();
    ask(b, f);
}

static void ended_early(struct bench *b, struct flow *f)
{
    if (!f->is_ended)
        b->lost++;
    f->is_ended = true;
    flow_close(f);
}

static void client_answer(struct bench *b, struct flow *f)
{
    ssize_t n = recv(f->fd, f->wait + f->wait_len, answer_len(b) - f->wait_len, 0);

    if (n > 0) {
        f->wait_len += (size_t)n;
        if (f->wait_len == answer_len(b))
            answered(b, f);
    } else if (n == 0 || errno != EAGAIN) {
        ended_early(b, f);
    }
}

static void client_download(struct bench *b, struct flow *f)
{
    ssize_t n = recv(f->fd, b->in, sizeof(b->in), 0);

    if (n > 0) {
        b->wrong += !is_right(b, f->at, b->in, (size_t)n);
        f->at += (uint64_t)n;
    } else if (n == 0 || errno != EAGAIN) {
        ended_early(b, f);
    }
}

// The sink's word on what it has taken.
static void client_verdict(struct bench *b, struct flow *f)
{
    ssize_t n = recv(f->fd, f->wait + f->wait_len, 8 - f->wait_len, 0);
    uint64_t told;

    if (n > 0 && (f->wait_len += (size_t)n) < 8)
        return;
    if (n < 0 && errno == EAGAIN)
        return;
    memcpy(&told, f->wait, sizeof(told));
    if (n <= 0)
        b->lost++;
    else if (told != f->at)
        b->wrong++;
    f->is_ended = true;
    flow_close(f);
}

static void client_upload(struct bench *b, struct flow *f)
{
    ssize_t n;

    if (!mono_before(mono_now(), b->stop_at)) {
        shutdown(f->fd, SHUT_WR);
        watch(b, f, EPOLLIN, EPOLL_CTL_MOD);
        return;
    }
    n = send(f->fd, expected(b, f->at), PIECE, MSG_NOSIGNAL);
    if (n > 0)
        f->at += (uint64_t)n;
    else if (errno != EAGAIN)
        ended_early(b, f);
}

// Connected: says what the server is to be, and begins.
static void client_connected(struct bench *b, struct flow *f)
{
    int error = 0;
    socklen_t len = sizeof(error);

    getsockopt(f->fd, SOL_SOCKET, SO_ERROR, &error, &len);
    if (error != 0) {
        ended_early(b, f);
        return;
    }
    f->kind = 'c';
    if (b->mode == BULK) {
        send_whole(b, f, b->is_down ? "D" : "S", 1);
        if (b->is_down)
            watch(b, f, EPOLLIN, EPOLL_CTL_MOD);
        return;
    }
    watch(b, f, EPOLLIN, EPOLL_CTL_MOD);
    ask(b, f);
}

static void client_event(struct bench *b, struct flow *f, uint32_t events)
{
    if (f->kind == 0) {
        client_connected(b, f);
        return;
    }
    if (b->mode != BULK) {
        client_answer(b, f);
        return;
    }
    if (events & EPOLLIN) {
        if (b->is_down)
            client_download(b, f);
        else
            client_verdict(b, f);
    }
    if (f->fd >= 0 && !b->is_down && events & EPOLLOUT)
        client_upload(b, f);
}

static void turn(struct bench *b, int64_t wait_ns)
{
    struct epoll_event events[EVENTS];
    struct timespec ts = {wait_ns / NS_PER_S, wait_ns % NS_PER_S};
    int count = epoll_pwait2(b->epoll, events, EVENTS, &ts, NULL);

    for (int i = 0; i < count; i++) {
        struct flow *f = events[i].data.ptr;

        if (f->fd >= 0)
            client_event(b, f, events[i].events);
    }
}

// At a fixed rate: the request belongs to the moment it was due, whether or not a flow was free.
static void send_due(struct bench *b)
{
    for (int i = 0; i < b->count && !mono_before(mono_now(), b->next); i++) {
        struct flow *f = &b->flows[i];

        if (!f->is_due || f->fd < 0)
            continue;
        f->began = b->next;
        b->next.ns += (int64_t)(NS_PER_S / b->rate);
        ask(b, f);
    }
}

static bool all_done(const struct bench *b)
{
    for (int i = 0; i < b->count; i++)
        if (b->flows[i].fd >= 0 && !b->flows[i].is_due)
            return false;
    return true;
}

// All flows have had one answer before the clock starts.
static void warm_up(struct bench *b)
{
    struct mono limit = mono_add_ms(mono_now(), DRAIN_MS);

    b->stop_at = mono_now(); // no second request meanwhile
    for (int i = 0; i < b->count; i++)
        flow_connect(b, &b->flows[i]);
    while (!all_done(b) && mono_before(mono_now(), limit))
        turn(b, NS_PER_S / 100);
    if (!all_done(b))
        b->lost++;
    b->operations = b->sample_count = 0;
}

static void run_requests(struct bench *b)
{
    struct mono limit;

    if (b->mode != CONNECT)
        warm_up(b);
    b->started = b->next = mono_now();
    b->stop_at = mono_add_ms(b->started, (int64_t)(b->seconds * 1000));
    for (int i = 0; i < b->count; i++) {
        struct flow *f = &b->flows[i];

        f->done = 0;
        if (b->mode == CONNECT)
            flow_connect(b, f);
        else if (b->rate <= 0 && f->fd >= 0) {
            f->began = mono_now();
            ask(b, f);
        }
    }
    while (mono_before(mono_now(), b->stop_at)) {
        int64_t wait = b->rate > 0 ? b->next.ns - mono_now().ns : NS_PER_S / 100;

        turn(b, wait < 0 ? 0 : wait);
        if (b->rate > 0)
            send_due(b);
    }
    limit = mono_add_ms(mono_now(), DRAIN_MS);
    while (!all_done(b) && mono_before(mono_now(), limit))
        turn(b, NS_PER_S / 100);
    b->lost += !all_done(b);
}

static void run_bulk(struct bench *b)
{
    struct mono limit;
    bool open = true;

    b->started = mono_now();
    b->stop_at = mono_add_ms(b->started, (int64_t)(b->seconds * 1000));
    for (int i = 0; i < b->count; i++)
        flow_connect(b, &b->flows[i]);
    while (mono_before(mono_now(), b->stop_at))
        turn(b, NS_PER_S / 100);
    limit = mono_add_ms(mono_now(), DRAIN_MS);
    while (!b->is_down && open && mono_before(mono_now(), limit)) {
        turn(b, NS_PER_S / 100);
        open = false;
        for (int i = 0; i < b->count; i++)
            open |= b->flows[i].fd >= 0;
    }
    b->lost += !b->is_down && open;
}

static void run_idle(struct bench *b)
{
    warm_up(b);
    printf("{\"open\": %d, \"wrong\": %llu, \"lost\": %llu}\n", b->count,
           (unsigned long long)b->wrong, (unsigned long long)b->lost);
    fflush(stdout);
    while (getchar() != EOF)
        ;
}

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

static double percentile(const struct bench *b, double p)
{
    return b->sample_count ? b->samples[(size_t)(p * (b->sample_count - 1))] / 10.0 : 0;
}

static void report(struct bench *b, double seconds)
{
    uint64_t bytes = 0, least = UINT64_MAX, most = 0;

    for (int i = 0; i < b->count; i++) {
        uint64_t n = b->mode == BULK ? b->flows[i].at : b->flows[i].done;

        bytes += b->mode == BULK ? n : 0;
        least = n < least ? n : least;
        most = n > most ? n : most;
    }
    qsort(b->samples, b->sample_count, sizeof(*b->samples), by_value);
    printf("{\"seconds\": %.4f, \"bytes\": %llu, \"operations\": %llu, \"p50_us\": %.1f, "
           "\"p99_us\": %.1f, \"fairness\": %.3f, \"wrong\": %llu, \"lost\": %llu}\n",
           seconds, (unsigned long long)bytes, (unsigned long long)b->operations,
           percentile(b, 0.5), percentile(b, 0.99), most ? (double)least / (double)most : 0,
           (unsigned long long)b->wrong, (unsigned long long)b->lost);
}

static bool parse_target(struct bench *b, const char *text)
{
    const char *colon = strrchr(text, ':');
    char host[64] = "";

    if (!colon || colon - text >= (ptrdiff_t)sizeof(host))
        return false;
    memcpy(host, text, (size_t)(colon - text));
    b->to =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(colon + 1))};
    return inet_pton(AF_INET, host, &b->to.sin_addr) == 1;
}

static int run_client(struct bench *b)
{
    b->flows = xcalloc((size_t)b->count, sizeof(*b->flows));
    for (int i = 0; i < b->count; i++)
        b->flows[i].fd = -1;
    b->samples = xcalloc(SAMPLE_MAX, sizeof(*b->samples));
    if (b->mode == IDLE) {
        run_idle(b);
        return 0;
    }
    if (b->mode == BULK)
        run_bulk(b);
    else
        run_requests(b);
    report(b, (double)(mono_now().ns - b->started.ns) / 1e9);
    return 0;
}

static int usage(void)
{
    fprintf(stderr, "usage: streams serve PORT\n"
                    "       streams bulk|ping|http|connect|idle HOST:PORT [--streams N] "
                    "[--seconds S] [--rate R] [--down]\n");
    return 2;
}

int main(int argc, char **argv)
{
    static const char *const modes[] = {"bulk", "ping", "http", "connect", "idle"};
    static const struct option names[] = {{"streams", 1, NULL, 'n'},
                                          {"seconds", 1, NULL, 's'},
                                          {"rate", 1, NULL, 'r'},
                                          {"down", 0, NULL, 'd'},
                                          {NULL, 0, NULL, 0}};
    struct bench *b = xcalloc(1, sizeof(*b));
    int opt, mode = 0;
    uint32_t seed = 1;

    b->epoll = epoll_create1(EPOLL_CLOEXEC);
    b->pattern = xcalloc(1, PATTERN_LEN + PIECE);
    for (size_t i = 0; i < PATTERN_LEN + PIECE; i++) {
        seed = seed * 1664525 + 1013904223;
        b->pattern[i] = i < PATTERN_LEN ? (uint8_t)(seed >> 24) : b->pattern[i - PATTERN_LEN];
    }
    b->count = 1;
    b->seconds = 3;
    while ((opt = getopt_long(argc, argv, "", names, NULL)) != -1) {
        if (opt == 'n')
            b->count = atoi(optarg);
        else if (opt == 's')
            b->seconds = atof(optarg);
        else if (opt == 'r')
            b->rate = atof(optarg);
        else if (opt == 'd')
            b->is_down = true;
        else
            return usage();
    }
    if (argc - optind != 2 || b->count < 1)
        return usage();
    if (strcmp(argv[optind], "serve") == 0)
        serve(b, atoi(argv[optind + 1]));
    while (mode < 5 && strcmp(argv[optind], modes[mode]) != 0)
        mode++;
    if (mode == 5 || !parse_target(b, argv[optind + 1]))
        return usage();
    b->mode = (enum mode)mode;
    return run_client(b);
}
