// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "check.h"
#include "node/parts.h"

enum { PATIENCE_MS = 20000 };

// A listener for HTTP on a loop of its own, and what stands behind it.
struct site {
    struct node node;
    struct part part;
    struct net_listener *listener;
};

static void *ready(void *user, struct net_stream *s, const struct net_engine_ops **ops,
                   struct mono now)
{
    return health_accepted(user, s, ops, now);
}

static void begin(struct site *site, bool healthz, bool metrics)
{
    struct mgmt_entity *e = mgmt_entity_new(mgmt_find_type(STR("listener")));
    struct amqp_val *yes[2] = {amqp_val_bool(healthz), amqp_val_bool(metrics)};
    struct net_listener_opts opts = {
        .host = "127.0.0.1", .port = "0", .accept = {.ready = ready, .user = &site->part}};

    memset(site, 0, sizeof(*site));
    site->node.pool = pool_new(4096, 4096);
    CHECK_EQ(net_loop_new(&(struct net_hooks){0}, 65536, &site->node.loop), 0);
    site->node.router = router_new(
        &(struct router_opts){.id = "R", .mode = ROUTER_INTERIOR, .pool = site->node.pool},
        mono_now());
    CHECK_EQ(mgmt_entity_set(e, "healthz", yes[0], MGMT_CREATE, NULL), 0);
    CHECK_EQ(mgmt_entity_set(e, "metrics", yes[1], MGMT_CREATE, NULL), 0);
    amqp_val_free(yes[0]);
    amqp_val_free(yes[1]);
    site->part.node = &site->node;
    site->part.entity = e;
    CHECK_EQ(net_listener_new(site->node.loop, &opts, &site->listener, NULL), 0);
}

static void end(struct site *site)
{
    net_listener_free(site->listener);
    net_loop_free(site->node.loop);
    router_free(site->node.router);
    mgmt_entity_free(site->part.entity);
    CHECK_EQ(pool_used(site->node.pool), 0);
    pool_free(site->node.pool);
}

static int dial(struct site *site)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)net_listener_port(site->listener)),
                             .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    CHECK_EQ(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    return fd;
}

// All that comes until the end of the connection.
static char *read_all(struct site *site, int fd)
{
    size_t len = 0, size = 65536;
    char *text = xcalloc(1, size);
    struct mono limit = mono_add_ms(mono_now(), PATIENCE_MS);

    for (;;) {
        ssize_t n = recv(fd, text + len, size - len - 1, MSG_DONTWAIT);

        CHECK(mono_before(mono_now(), limit));
        if (n == 0 || (n < 0 && errno != EAGAIN))
            break;
        if (n < 0) {
            net_loop_turn(site->node.loop, mono_add_ms(mono_now(), 5));
            continue;
        }
        len += (size_t)n;
        if (size - len < 4096)
            text = xrealloc(text, size *= 2, 1);
        text[len] = '\0';
    }
    close(fd);
    return text;
}

static char *ask(struct site *site, const char *request)
{
    int fd = dial(site);

    CHECK_EQ(send(fd, request, strlen(request), 0), strlen(request));
    return read_all(site, fd);
}

#define GET(path) "GET " path " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

TEST(what_the_listener_offers_is_answered_and_nothing_else)
{
    static const struct {
        bool healthz, metrics;
        const char *request, *want;
    } rows[] = {
        {true, true, GET("/healthz"), "HTTP/1.1 200"},
        {false, true, GET("/healthz"), "HTTP/1.1 404"},
        {true, true, GET("/metrics"), "HTTP/1.1 200"},
        {true, false, GET("/metrics"), "HTTP/1.1 404"},
        {true, true, GET("/"), "HTTP/1.1 404"},
        {true, true, GET("/healthz?full=1"), "HTTP/1.1 200"},
        {true, true, "HEAD /healthz HTTP/1.0\r\n\r\n", "HTTP/1.1 200"},
        {true, true, "POST /healthz HTTP/1.0\r\n\r\n", "HTTP/1.1 405"},
        {true, true, "nonsense\r\n\r\n", "HTTP/1.1 400"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct site site;
        char *answer;

        begin(&site, rows[i].healthz, rows[i].metrics);
        answer = ask(&site, rows[i].request);
        if (strncmp(answer, rows[i].want, strlen(rows[i].want)) != 0)
            fail_msg("%s: %s", rows[i].request, answer);
        free(answer);
        end(&site);
    }
}

// Each metric: a line of help, its type, and a value, as Prometheus reads them.
TEST(metrics_are_in_the_form_that_prometheus_reads)
{
    struct site site;
    char *answer, *save = NULL, *body;
    int count = 0;

    begin(&site, true, true);
    answer = ask(&site, GET("/metrics"));
    CHECK(strstr(answer, "\r\nContent-Type: text/plain; version=0.0.4\r\n"));
    body = strstr(answer, "\r\n\r\n") + 4;
    CHECK(strstr(body, "\nqdr_routers_total 1\n"));
    CHECK(strstr(body, "\nprocess_resident_memory_bytes "));
    CHECK(body[strlen(body) - 1] == '\n');
    for (char *line = strtok_r(body, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char name[100], kind[20], again[100];
        double value;

        CHECK_EQ(sscanf(line, "# HELP %99s %*s", name), 1);
        line = strtok_r(NULL, "\n", &save);
        CHECK(line && sscanf(line, "# TYPE %99s %19s", again, kind) == 2);
        CHECK_STR(str_of(again), name);
        CHECK(!strcmp(kind, "gauge") || !strcmp(kind, "counter"));
        line = strtok_r(NULL, "\n", &save);
        CHECK(line && sscanf(line, "%99s %lf", again, &value) == 2 && value >= 0);
        CHECK_STR(str_of(again), name);
        count++;
    }
    CHECK(count > 10);
    free(answer);
    end(&site);
}

TEST(requests_may_come_in_one_piece_or_byte_by_byte)
{
    static const char requests[] = "GET /healthz HTTP/1.1\r\n\r\n" GET("/nothing");
    struct site site;
    char *whole, *pieces;
    int fd;

    begin(&site, true, true);
    whole = ask(&site, requests);
    CHECK(strstr(whole, "200 OK") && strstr(whole, "404 Not Found"));
    fd = dial(&site);
    for (size_t i = 0; i < sizeof(requests) - 1; i++) {
        CHECK_EQ(send(fd, requests + i, 1, MSG_NOSIGNAL), 1);
        net_loop_turn(site.node.loop, mono_add_ms(mono_now(), 1));
    }
    pieces = read_all(&site, fd);
    CHECK_STR(str_of(pieces), whole);
    free(whole);
    free(pieces);
    end(&site);
}

static size_t pool_bytes(const struct site *site)
{
    return pool_used(site->node.pool) * pool_block_size(site->node.pool);
}

TEST(who_asks_and_does_not_read_is_held_back_then_dropped)
{
    static const char request[] = "GET /metrics HTTP/1.1\r\n\r\n";
    char *many = xcalloc(1, 1000 * sizeof(request));
    struct mono limit = mono_add_ms(mono_now(), PATIENCE_MS);
    struct site site;
    ssize_t n = 0;
    int fd, size = 4096;

    begin(&site, true, true);
    for (int i = 0; i < 1000; i++)
        strcat(many + (size_t)i * (sizeof(request) - 1), request);
    fd = dial(&site);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    while (n >= 0 || errno == EAGAIN) { // until the connection is broken
        n = send(fd, many, strlen(many), MSG_NOSIGNAL | MSG_DONTWAIT);
        net_loop_turn(site.node.loop, mono_add_ms(mono_now(), 1));
        CHECK(pool_bytes(&site) < 400000);
        CHECK(mono_before(mono_now(), limit));
        if (n < 0 && errno == EAGAIN && pool_bytes(&site) >= 256 * 1024)
            break; // it is not read any more: as good
    }
    close(fd);
    free(many);
    end(&site);
}

TEST_MAIN(CASE(what_the_listener_offers_is_answered_and_nothing_else),
          CASE(metrics_are_in_the_form_that_prometheus_reads),
          CASE(requests_may_come_in_one_piece_or_byte_by_byte),
          CASE(who_asks_and_does_not_read_is_held_back_then_dropped))
