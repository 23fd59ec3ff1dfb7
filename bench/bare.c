// SPDX-License-Identifier: Apache-2.0
// The floor of a pair of TCP proxies: one thread each, one TLS connection between them that carries
// all connections, heads of eight octets, and no feature at all. What a good design can reach.
//
//   bare far DIRECTORY LINK_PORT SERVER_PORT
//   bare near DIRECTORY LINK_PORT LISTEN_PORT
//
// DIRECTORY holds ca.crt, east.pem and west.pem. Everything is on 127.0.0.1.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"

enum {
    PIECE = 256 * 1024,
    FULL = 1024 * 1024, // bytes that wait: who brings more of them is not read meanwhile
    FLOWS = 16384,
    EVENTS = 256,
    LISTENER = FLOWS,
    LINK = FLOWS + 1
};

#define RESET UINT32_MAX

struct head {
    uint32_t id, len; // nothing: the end of this direction; RESET: of both
};

struct bytes {
    uint8_t *data;
    size_t at, len, cap;
};

struct flow {
    int fd;
    bool is_read_over, is_write_over; // our reads, our writes
    bool ends;                        // once its bytes are out
    bool is_full;
    struct bytes out;
};

struct bare {
    int epoll, listener, server_port;
    bool is_near, is_full;
    SSL *link;
    int link_fd, full_flows;
    uint32_t link_events;
    struct bytes out, in;
    struct flow flows[FLOWS];
    uint32_t next;
};

static void die(const char *what)
{
    perror(what);
    ERR_print_errors_fp(stderr);
    exit(1);
}

static void bytes_add(struct bytes *b, const void *data, size_t len)
{
    if (b->at == b->len)
        b->at = b->len = 0;
    if (b->cap - b->len < len) {
        b->cap = (b->len + len) * 2;
        b->data = xrealloc(b->data, b->cap, 1);
    }
    memcpy(b->data + b->len, data, len);
    b->len += len;
}

static size_t bytes_left(const struct bytes *b)
{
    return b->len - b->at;
}

static void watch(struct bare *b, int fd, uint32_t key, uint32_t events, int how)
{
    struct epoll_event ev = {.events = events, .data.u32 = key};

    if (epoll_ctl(b->epoll, how, fd, &ev) < 0)
        die("epoll_ctl");
}

static struct sockaddr_in local(int port)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)port),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    return a;
}

static int listen_at(int port)
{
    struct sockaddr_in a = local(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 1024) < 0)
        die("listen");
    return fd;
}

static int connect_to(int port)
{
    struct sockaddr_in a = local(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    while (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
        if (errno != ECONNREFUSED || usleep(1000) < 0) // the other half starts at the same time
            die("connect");
    return fd;
}

static void set_ready(int fd)
{
    int one = 1;

    fcntl(fd, F_SETFL, O_NONBLOCK);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

// ------------------------------------------------------------------------------------- the link

static void link_add(struct bare *b, uint32_t id, const void *data, size_t len)
{
    struct head h = {id, (uint32_t)len};

    bytes_add(&b->out, &h, sizeof(h));
    bytes_add(&b->out, data, len);
}

static void flow_watch(struct bare *b, struct flow *f, int how)
{
    uint32_t events = 0;

    if (!f->is_read_over && !b->is_full)
        events |= EPOLLIN;
    if (bytes_left(&f->out) > 0)
        events |= EPOLLOUT;
    watch(b, f->fd, (uint32_t)(f - b->flows), events, how);
}

static void link_watch(struct bare *b)
{
    uint32_t events = (b->full_flows == 0 ? EPOLLIN : 0) | (bytes_left(&b->out) > 0 ? EPOLLOUT : 0);

    if (events != b->link_events)
        watch(b, b->link_fd, LINK, events, EPOLL_CTL_MOD);
    b->link_events = events;
}

static void link_write(struct bare *b)
{
    bool was_full = b->is_full;
    size_t done;

    while (bytes_left(&b->out) > 0 &&
           SSL_write_ex(b->link, b->out.data + b->out.at, bytes_left(&b->out), &done) == 1)
        b->out.at += done;
    link_watch(b);
    b->is_full = bytes_left(&b->out) >= FULL;
    for (struct flow *f = b->flows; b->is_full != was_full && f < b->flows + FLOWS; f++)
        if (f->fd >= 0)
            flow_watch(b, f, EPOLL_CTL_MOD);
}

static void link_begin(struct bare *b, const char *directory, int port)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_method());
    char *ca = str_fmt("%s/ca.crt", directory);
    char *pem = str_fmt("%s/%s.pem", directory, b->is_near ? "west" : "east");
    int at = b->is_near ? -1 : listen_at(port);

    SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    SSL_CTX_set_default_read_buffer_len(ctx, PIECE);
    if (SSL_CTX_load_verify_locations(ctx, ca, NULL) != 1 ||
        SSL_CTX_use_certificate_file(ctx, pem, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_use_PrivateKey_file(ctx, pem, SSL_FILETYPE_PEM) != 1)
        die("certificates");
    b->link = SSL_new(ctx);
    b->link_fd = b->is_near ? connect_to(port) : accept(at, NULL, NULL);
    SSL_set_fd(b->link, b->link_fd);
    SSL_set_read_ahead(b->link, 1);
    if ((b->is_near ? SSL_connect(b->link) : SSL_accept(b->link)) != 1)
        die("TLS");
    set_ready(b->link_fd);
    b->link_events = EPOLLIN;
    watch(b, b->link_fd, LINK, EPOLLIN, EPOLL_CTL_ADD);
    free(ca);
    free(pem);
}

// -------------------------------------------------------------------------------------- the flows

static void flow_begin(struct bare *b, uint32_t id, int fd)
{
    set_ready(fd);
    b->flows[id] = (struct flow){.fd = fd};
    flow_watch(b, &b->flows[id], EPOLL_CTL_ADD);
}

static void flow_close(struct bare *b, struct flow *f)
{
    b->full_flows -= f->is_full;
    close(f->fd);
    free(f->out.data);
    *f = (struct flow){.fd = -1};
}

static void flow_reset(struct bare *b, struct flow *f)
{
    struct head h = {(uint32_t)(f - b->flows), RESET};

    bytes_add(&b->out, &h, sizeof(h));
    flow_close(b, f);
}

static void flow_end_if_over(struct bare *b, struct flow *f)
{
    if (f->is_read_over && f->is_write_over)
        flow_close(b, f);
}

static void flow_write(struct bare *b, struct flow *f)
{
    bool was_waiting = f->out.at > 0;
    ssize_t n = 1;

    while (bytes_left(&f->out) > 0 && n > 0) {
        n = send(f->fd, f->out.data + f->out.at, bytes_left(&f->out), MSG_NOSIGNAL);
        if (n > 0)
            f->out.at += (size_t)n;
        else if (errno != EAGAIN) {
            flow_reset(b, f);
            return;
        }
    }
    if (bytes_left(&f->out) > 0 || was_waiting)
        flow_watch(b, f, EPOLL_CTL_MOD);
    b->full_flows += (bytes_left(&f->out) >= FULL) - f->is_full;
    f->is_full = bytes_left(&f->out) >= FULL;
    if (bytes_left(&f->out) == 0 && f->ends && !f->is_write_over) {
        f->is_write_over = true;
        shutdown(f->fd, SHUT_WR);
        flow_end_if_over(b, f);
    }
}

static void flow_read(struct bare *b, struct flow *f)
{
    static uint8_t data[PIECE];
    ssize_t n = recv(f->fd, data, sizeof(data), 0);

    if (n < 0 && errno == EAGAIN)
        return;
    if (n < 0) {
        flow_reset(b, f);
        return;
    }
    link_add(b, (uint32_t)(f - b->flows), data, n > 0 ? (size_t)n : 0);
    if (n > 0)
        return;
    f->is_read_over = true;
    flow_watch(b, f, EPOLL_CTL_MOD);
    flow_end_if_over(b, f);
}

static void take(struct bare *b, const struct head *h, const uint8_t *data)
{
    struct flow *f = &b->flows[h->id % FLOWS];

    if (h->len == RESET) {
        if (f->fd >= 0)
            flow_close(b, f);
        return;
    }
    if (f->fd < 0) {
        if (b->is_near || h->len == 0)
            return;
        flow_begin(b, h->id % FLOWS, connect_to(b->server_port));
    }
    if (h->len > 0)
        bytes_add(&f->out, data, h->len);
    else
        f->ends = true;
    flow_write(b, f);
}

static void link_read(struct bare *b)
{
    static uint8_t data[PIECE];
    struct head h;
    size_t n;

    while (SSL_read_ex(b->link, data, sizeof(data), &n) == 1)
        bytes_add(&b->in, data, n);
    if (SSL_get_error(b->link, 0) != SSL_ERROR_WANT_READ)
        exit(0);
    while (bytes_left(&b->in) >= sizeof(h)) {
        memcpy(&h, b->in.data + b->in.at, sizeof(h));
        n = h.len == RESET ? 0 : h.len;
        if (bytes_left(&b->in) < sizeof(h) + n)
            break;
        take(b, &h, b->in.data + b->in.at + sizeof(h));
        b->in.at += sizeof(h) + n;
    }
    if (b->in.at > PIECE) {
        memmove(b->in.data, b->in.data + b->in.at, bytes_left(&b->in));
        b->in.len -= b->in.at;
        b->in.at = 0;
    }
}

static void accept_one(struct bare *b)
{
    int fd = accept(b->listener, NULL, NULL);

    if (fd < 0)
        return;
    while (b->flows[b->next].fd >= 0)
        b->next = (b->next + 1) % FLOWS;
    flow_begin(b, b->next, fd);
    b->next = (b->next + 1) % FLOWS;
}

static void turn(struct bare *b)
{
    struct epoll_event events[EVENTS];
    int n = epoll_wait(b->epoll, events, EVENTS, -1);

    for (int i = 0; i < n; i++) {
        uint32_t key = events[i].data.u32;
        struct flow *f = key < FLOWS ? &b->flows[key] : NULL;

        if (key == LISTENER)
            accept_one(b);
        else if (key == LINK)
            link_read(b);
        else if (f->fd >= 0 && events[i].events & EPOLLOUT)
            flow_write(b, f);
        if (f && f->fd >= 0 && !f->is_read_over && events[i].events & ~(uint32_t)EPOLLOUT)
            flow_read(b, f);
    }
    if (bytes_left(&b->out) > 0)
        link_write(b);
    link_watch(b);
}

int main(int argc, char **argv)
{
    struct bare *b = xcalloc(1, sizeof(*b));

    if (argc != 5 || (strcmp(argv[1], "near") != 0 && strcmp(argv[1], "far") != 0)) {
        fprintf(stderr, "usage: bare near|far DIRECTORY LINK_PORT PORT\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    for (int i = 0; i < FLOWS; i++)
        b->flows[i].fd = -1;
    b->is_near = strcmp(argv[1], "near") == 0;
    b->epoll = epoll_create1(EPOLL_CLOEXEC);
    b->server_port = atoi(argv[4]);
    link_begin(b, argv[2], atoi(argv[3]));
    if (b->is_near) {
        b->listener = listen_at(atoi(argv[4]));
        fcntl(b->listener, F_SETFL, O_NONBLOCK);
        watch(b, b->listener, LISTENER, EPOLLIN, EPOLL_CTL_ADD);
    }
    for (;;)
        turn(b);
}
