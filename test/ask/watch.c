// SPDX-License-Identifier: Apache-2.0
// Prints the status of the network that a router is part of, a line each time it changes, until its
// input ends. For tests of the collector in src/flow over src/client.
//
//   watch HOST PORT
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/map.h"
#include "client/client.h"
#include "flow/flow.h"

enum { CREDIT = 256, LOOK_MS = 50 };

struct watch {
    struct client_line *line;
    struct flow_collector *collector;
    struct client_link *sender;
    struct map links; // by address
};

static void ask(struct watch *w, const char *direct)
{
    struct amqp_writer flush;

    amqp_writer_init(&flush);
    flow_put_flush(&flush, str_of(direct));
    client_send(w->sender, amqp_written(&flush), true, 0);
    amqp_writer_fini(&flush);
}

static void obey(struct watch *w)
{
    struct client *c = client_line_client(w->line);
    struct flow_want want;

    while (flow_collector_next(w->collector, &want)) {
        if (want.type == FLOW_RECEIVE)
            map_put(&w->links, str_of(want.address), client_receive(c, want.address, CREDIT, NULL));
        else if (want.type == FLOW_STOP)
            client_link_free(map_remove(&w->links, str_of(want.address)));
        else
            ask(w, want.address);
    }
}

static void print(void *user, struct str piece)
{
    (void)user;
    fwrite(piece.ptr, 1, piece.len, stdout);
}

static void tell(struct watch *w)
{
    flow_collector_tell(w->collector, mono_now(), print, NULL);
    printf("\n");
    fflush(stdout);
}

// False when the connection has ended.
static bool turn(struct watch *w)
{
    struct client_event ev;
    struct mono until =
        mono_min(flow_collector_deadline(w->collector), mono_add_ms(mono_now(), LOOK_MS));

    while (client_line_next(w->line, until, &ev)) {
        if (ev.type == CLIENT_CLOSED)
            return false;
        if (ev.type == CLIENT_MESSAGE)
            flow_collector_hear(w->collector, client_link_address(ev.link), ev.message, mono_now());
        obey(w);
    }
    flow_collector_tick(w->collector, mono_now());
    obey(w);
    if (flow_collector_has_news(w->collector))
        tell(w);
    return true;
}

int main(int argc, char **argv)
{
    struct watch w = {.collector = flow_collector_new(mono_now())};
    struct client_target target = {.name = "watch"};
    struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
    struct why why;

    if (argc != 3)
        return 2;
    target.host = argv[1];
    target.port = argv[2];
    if (client_line_new(&target, &w.line, &why) < 0) {
        printf("%s\n", why.text);
        return 1;
    }
    w.sender = client_sender(client_line_client(w.line), NULL, NULL);
    obey(&w);
    while (poll(&in, 1, 0) == 0 && turn(&w))
        ;
    map_fini(&w.links);
    client_line_free(w.line);
    flow_collector_free(w.collector);
    return 0;
}
