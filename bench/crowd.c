// SPDX-License-Identifier: Apache-2.0
// Plays many sites to one that is real, over the connection of a client: their telemetry, each with
// a listener for every service of all others, and what they say of their services. So one agent can
// be measured in a network that would not fit on the machine. Ends when its input does.
//
//   crowd HOST PORT CA CERT KEY SITES SERVICES
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "client/client.h"
#include "flow/flow.h"
#include "site/site.h"

enum { SITES_MAX = 500, CREDIT = 64, WAITING_MAX = 100, LOOK_MS = 20, FIRST_PORT = 20000 };

struct player {
    struct flow *flow;
    struct site_sync *sync;
    char id[40];
};

struct crowd {
    struct client_line *line;
    struct client_link *telemetry, *services;
    struct player players[SITES_MAX];
    int site_count, service_count;
};

static int64_t now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void set_text(struct flow_record *r, enum flow_attr attr, char *take)
{
    flow_set_text(r, attr, str_of(take));
    free(take);
}

static char *address_of(int site, int service, int port)
{
    return str_fmt("service-%d-%d:%d", site, service, port);
}

// One end of a service, as a router tells it.
static void add_end(struct player *p, const struct flow_record *router, enum flow_type type,
                    char *take_name, char *take_address, int port)
{
    struct flow_record *r = flow_begin(p->flow, type, router, mono_now());

    set_text(r, FLOW_NAME, take_name);
    set_text(r, FLOW_VAN_ADDRESS, take_address);
    flow_set_text(r, FLOW_PROTOCOL, STR("tcp"));
    flow_set_text(r, FLOW_DESTINATION_HOST, STR("127.0.0.1"));
    set_text(r, FLOW_DESTINATION_PORT, str_fmt("%d", port));
    flow_set_number(r, FLOW_COUNT_L4, 0);
}

// The services of a site, at the site `at`.
static void add_services(struct crowd *c, int of, struct player *p, int at,
                         const struct flow_record *router)
{
    for (int k = 0; k < c->service_count; k++) {
        int port = FIRST_PORT + of * c->service_count + k;
        char *address = address_of(of, k, port);

        if (of == at) {
            add_end(p, router, FLOW_CONNECTOR, str_fmt("connector/service-%d-%d@127.0.0.1", of, k),
                    str_fmt("service-%d-%d", of, k), port);
            add_end(p, router, FLOW_CONNECTOR, str_fmt("connector/service-%d-%d@127.0.0.1", of, k),
                    address, port);
        } else {
            add_end(p, router, FLOW_LISTENER, str_fmt(SITE_SHARED_LISTENER "%s", address),
                    xstrdup(address), port);
            free(address);
        }
    }
}

static void add_records(struct crowd *c, int number)
{
    struct player *p = &c->players[number];
    struct mono now = mono_now();
    struct flow_record *router = flow_begin(p->flow, FLOW_ROUTER, NULL, now), *site, *link;

    set_text(router, FLOW_NAME, str_fmt("0/played-%d-%d", number, 100000 + number));
    flow_set_text(router, FLOW_MODE, STR("interior"));
    flow_set_text(router, FLOW_PARENT, str_of(p->id));
    site = flow_begin_as(p->flow, FLOW_SITE, str_of(p->id), now);
    set_text(site, FLOW_NAME, str_fmt("played-%d", number));
    flow_set_text(site, FLOW_PLATFORM, STR("linux"));
    flow_set_text(site, FLOW_NAMESPACE, STR("default"));
    link = flow_begin(p->flow, FLOW_LINK, router, now);
    set_text(link, FLOW_NAME, str_fmt("link-%d", number));
    flow_set_text(link, FLOW_ROLE, STR("inter-router"));
    flow_set_text(link, FLOW_OPER_STATUS, STR("up"));
    flow_set_number(link, FLOW_LINK_COST, 1);
    flow_begin(p->flow, FLOW_ROUTER_ACCESS, router, now);
    for (int of = 0; of < c->site_count; of++)
        add_services(c, of, p, number, router);
    for (int channel = FLOW_BEACONS; channel <= FLOW_RECORDS; channel++)
        flow_set_reached(p->flow, (enum flow_channel)channel, true);
}

static void announce(struct crowd *c, int number)
{
    json_t *services = json_array();

    for (int k = 0; k < c->service_count; k++) {
        int port = FIRST_PORT + number * c->service_count + k;
        char *name = str_fmt("service-%d-%d", number, k);

        json_array_append_new(services,
                              json_pack("{s:s, s:s, s:[i], s:s, s:[]}", "address", name, "protocol",
                                        "tcp", "ports", port, "exposeIngress", "", "targets"));
        free(name);
    }
    site_sync_announce(c->players[number].sync, services, mono_now(), NULL);
    json_decref(services);
}

static void begin(struct crowd *c, int number)
{
    struct player *p = &c->players[number];
    struct flow_opts flow = {.seed = (uint64_t)number + 1, .epoch_us = now_us()};
    struct site_sync_opts sync = {.site_id = p->id, .version = "2.2.0"};

    snprintf(p->id, sizeof(p->id), "00000000-0000-4000-8000-%012d", number);
    p->flow = flow_new(&flow, mono_now());
    p->sync = site_sync_new(&sync, mono_now());
    add_records(c, number);
    announce(c, number);
    client_receive(client_line_client(c->line), flow_address(p->flow, FLOW_COMMANDS), CREDIT, p);
}

static void send_services(struct crowd *c, const struct site_sync_message *m)
{
    struct client_properties properties = {.subject = m->subject};
    struct amqp_writer w;
    struct amqp_mark map;

    amqp_writer_init(&w);
    client_put_properties(&w, &properties);
    amqp_put_descriptor(&w, AMQP_SECTION_APPLICATION_PROPERTIES);
    map = amqp_begin_map(&w, false);
    amqp_put_string(&w, STR("origin"));
    amqp_put_string(&w, m->origin);
    amqp_put_string(&w, STR("version"));
    amqp_put_string(&w, m->version);
    amqp_end(&w, map, 4);
    amqp_put_descriptor(&w, AMQP_SECTION_VALUE);
    amqp_put_string(&w, m->body);
    client_send(c->services, amqp_written(&w), true, 0);
    amqp_writer_fini(&w);
}

static void play(struct crowd *c)
{
    struct mono now = mono_now();

    for (int i = 0; i < c->site_count; i++) {
        struct player *p = &c->players[i];
        struct flow_message m;
        struct site_sync_message told;

        flow_tick(p->flow, now, now_us());
        while (client_unsent(c->telemetry) < WAITING_MAX && flow_next(p->flow, &m))
            client_send(c->telemetry, m.bytes, true, 0);
        site_sync_tick(p->sync, now);
        while (site_sync_next_message(p->sync, &told))
            send_services(c, &told);
    }
}

static bool has_input_ended(void)
{
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    char byte;

    return poll(&input, 1, 0) > 0 && read(STDIN_FILENO, &byte, 1) <= 0;
}

static int run(struct crowd *c)
{
    struct client_event ev;

    while (!has_input_ended()) {
        play(c);
        if (!client_line_next(c->line, mono_add_ms(mono_now(), LOOK_MS), &ev))
            continue;
        if (ev.type == CLIENT_CLOSED) {
            fprintf(stderr, "crowd: %s\n", ev.words);
            return 1;
        }
        if (ev.type == CLIENT_MESSAGE)
            flow_command(((struct player *)ev.user)->flow, ev.message);
    }
    return 0;
}

int main(int argc, char **argv)
{
    static struct crowd c;
    struct net_tls_opts tls = {.name = "crowd"};
    struct client_target target = {.name = "crowd", .tls = &tls, .verify_host = true};
    struct why why = {""};

    if (argc != 8 || atoi(argv[6]) > SITES_MAX)
        return 2;
    target.host = argv[1];
    target.port = argv[2];
    tls.ca_file = argv[3];
    tls.cert_file = argv[4];
    tls.key_file = argv[5];
    c.site_count = atoi(argv[6]);
    c.service_count = atoi(argv[7]);
    if (client_line_new(&target, &c.line, &why) < 0) {
        fprintf(stderr, "crowd: %s\n", why.text);
        return 1;
    }
    c.telemetry = client_sender(client_line_client(c.line), NULL, NULL);
    c.services = client_sender(client_line_client(c.line), SITE_SYNC_ADDRESS, NULL);
    for (int i = 0; i < c.site_count; i++)
        begin(&c, i);
    return run(&c);
}
