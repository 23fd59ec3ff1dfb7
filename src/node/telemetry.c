// SPDX-License-Identifier: Apache-2.0
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "node/service.h"

// What collectors hear of this router: records of the site, the router, its links and where links
// come in; and the log's warnings. All on the main thread but for the log, whose lines come by
// mail.

enum { NOTES_MAX = 256 }; // lines of the log on their way to the main thread; more are left out

struct telemetry {
    struct node *node;
    struct net_timer timer;
    struct router_watcher listeners[FLOW_LOGS + 1]; // is somebody there?
    struct router_watcher asked;                    // is somebody there to be asked?
    struct router_consumer askers;
    bool is_asking; // as soon as there is
    struct mailbox notes;
    atomic_int note_count;
    atomic_bool is_wanted; // somebody listens to the log
};

struct note {
    struct mail mail;
    struct mono when;
    enum flow_severity severity;
    int line;
    char file[64];
    char text[FLOW_TEXT_MAX + 1];
};

// The wall clock at `now`, which may be a while ago.
static int64_t wall_us(struct mono now)
{
    struct timespec ts;
    int64_t ago_us = (mono_now().ns - now.ns) / 1000;

    clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000 - ago_us;
}

// ----------------------------------------------------------------------------------------- logs

static void on_line(void *user, enum log_module m, enum log_level l, struct str text,
                    const char *file, int line)
{
    static const enum flow_severity severities[LOG_LEVEL_COUNT] = {
        [LOG_WARNING] = FLOW_WARNING, [LOG_ERROR] = FLOW_ERROR, [LOG_CRITICAL] = FLOW_CRITICAL};
    struct telemetry *t = user;
    struct note *note = NULL;

    if (l < LOG_WARNING || l >= LOG_LEVEL_COUNT || m == LOG_FLOW_LOG ||
        !atomic_load(&t->is_wanted) || atomic_load(&t->note_count) >= NOTES_MAX)
        return;
    atomic_fetch_add(&t->note_count, 1);
    note = xcalloc(1, sizeof(*note));
    note->when = mono_now();
    note->severity = severities[l];
    note->line = line;
    while (strncmp(file, "../", 3) == 0)
        file += 3;
    snprintf(note->file, sizeof(note->file), "%s", file);
    snprintf(note->text, sizeof(note->text), "LOG_%s: %.*s", log_module_name(m), STR_ARG(text));
    mailbox_send(&t->notes, &note->mail);
}

static void take_notes(struct telemetry *t, bool is_told)
{
    struct mail *mail = mailbox_take(&t->notes);

    while (mail) {
        struct note *note = (struct note *)(void *)mail;

        mail = mail->next;
        if (is_told)
            flow_log(t->node->flow, t->node->router_record, note->severity, str_of(note->text),
                     str_of(note->file), (uint64_t)note->line, note->when);
        atomic_fetch_sub(&t->note_count, 1);
        free(note);
    }
}

// ----------------------------------------------------------------------------------------- ticks

static void count_octets(struct node *n)
{
    list_for_each (node, &n->connectors) {
        struct part *p = list_entry(node, struct part, on_node);

        flow_set_number(p->record, FLOW_OCTETS, p->sent);
        flow_set_number(p->record, FLOW_OCTETS_REVERSE, p->received);
    }
}

static void count_connections(struct node *n)
{
    list_for_each (node, &n->services) {
        struct service *s = list_entry(node, struct service, on_node);

        if (!s->part)
            continue;
        flow_set_number(s->part->record, FLOW_COUNT_L4, s->tcp.opened);
        if (s->is_listener)
            flow_set_number(s->part->record, FLOW_COUNT_L7, s->requests);
        list_for_each (at, &s->addresses) {
            struct service_address *a = list_entry(at, struct service_address, on_service);

            if (!a->part)
                continue;
            flow_set_number(a->part->record, FLOW_COUNT_L4, a->opened);
            flow_set_number(a->part->record, FLOW_COUNT_L7, a->requests);
        }
    }
}

static void due(void *user, struct mono now)
{
    struct telemetry *t = user;
    struct node *n = t->node;
    struct flow_message m;

    for (int i = FLOW_BEACONS; i <= FLOW_LOGS; i++)
        flow_set_reached(n->flow, (enum flow_channel)i, t->listeners[i].is_reachable);
    atomic_store(&t->is_wanted, flow_is_reached(n->flow, FLOW_LOGS));
    take_notes(t, true);
    if (flow_is_reached(n->flow, FLOW_RECORDS)) {
        count_octets(n);
        count_connections(n);
    }
    flows_count(n, now);
    if (t->is_asking && router_others(n->router, flow_address(n->flow, FLOW_JOINED)) > 0) {
        t->is_asking = false;
        flow_ask(n->flow);
    }
    flow_tick(n->flow, now, wall_us(now));
    while (flow_next(n->flow, &m))
        router_send(n->router, m.to, m.bytes);
    net_timer_set(n->loop, &t->timer, flow_deadline(n->flow));
    worker_settle(&n->workers[0], now);
}

// With the next tick.
static void looked_at_in_time(struct router_watcher *w)
{
    (void)w;
}

static void on_joined(struct router_watcher *w, uint32_t others)
{
    struct telemetry *t = list_entry(w, struct telemetry, listeners[FLOW_BEACONS]);

    flow_greet(t->node->flow, others);
}

// Who listens here hears the beacons to come; the last ones it has missed.
static void on_announced(struct router_watcher *w)
{
    struct telemetry *t = list_entry(w, struct telemetry, listeners[FLOW_BEACONS]);

    t->is_asking = true;
}

static struct router_sink *on_asked(struct router_taker *taker, const struct amqp_msg *head,
                                    enum amqp_outcome_type *refused)
{
    struct telemetry *t = list_entry(taker, struct telemetry, askers.taker);

    (void)head;
    flow_asked(t->node->flow);
    *refused = AMQP_ACCEPTED; // there is no more to it than that it came
    return NULL;
}

static void on_command(void *user, struct str message)
{
    struct node *n = user;

    flow_command(n->flow, message);
}

static void on_corecord(void *user, struct str message)
{
    struct node *n = user;

    flow_corecord(n->flow, message);
}

// ------------------------------------------------------------------------------- site and router

static void copy_text(struct flow_record *rec, enum flow_attr attr, const struct mgmt_entity *e,
                      const char *name)
{
    if (mgmt_entity_str(e, name).len > 0)
        flow_set_text(rec, attr, mgmt_entity_str(e, name));
}

static void from_environment(struct flow_record *rec, enum flow_attr attr, const char *name)
{
    const char *value = getenv(name);

    if (value && value[0])
        flow_set_text(rec, attr, str_of(value));
}

static void begin_router(struct node *n, struct mono now)
{
    struct flow_record *rec = flow_begin(n->flow, FLOW_ROUTER, NULL, now);
    char *name = str_fmt("0/%s", mgmt_entity_cstr(n->router_entity, "id"));

    flow_set_text(rec, FLOW_MODE, mgmt_entity_str(n->router_entity, "mode"));
    flow_set_text(rec, FLOW_NAME, str_of(name));
    flow_set_text(rec, FLOW_BUILD_VERSION, str_of(n->version));
    from_environment(rec, FLOW_PARENT, "SKUPPER_SITE_ID");
    from_environment(rec, FLOW_HOST_NAME, "HOSTNAME");
    from_environment(rec, FLOW_NAMESPACE, "POD_NAMESPACE");
    from_environment(rec, FLOW_IMAGE_NAME, "APPLICATION_NAME");
    from_environment(rec, FLOW_IMAGE_VERSION, "VERSION");
    n->router_record = rec;
    free(name);
}

static void begin_site(struct node *n, struct mono now)
{
    struct str id = str_of(getenv("SKUPPER_SITE_ID"));
    struct flow_record *rec = id.len > 0 ? flow_begin_as(n->flow, FLOW_SITE, id, now)
                                         : flow_begin(n->flow, FLOW_SITE, NULL, now);

    copy_text(rec, FLOW_NAME, n->site, "name");
    copy_text(rec, FLOW_LOCATION, n->site, "location");
    copy_text(rec, FLOW_PROVIDER, n->site, "provider");
    copy_text(rec, FLOW_PLATFORM, n->site, "platform");
    copy_text(rec, FLOW_NAMESPACE, n->site, "namespace");
    copy_text(rec, FLOW_BUILD_VERSION, n->site, "version");
    flow_set_text(n->router_record, FLOW_PARENT, str_of(flow_id(rec)));
}

void telemetry_new(struct node *n, bool has_site)
{
    struct telemetry *t = xcalloc(1, sizeof(*t));
    struct mono now = mono_now();
    struct flow_opts opts = {
        .host_name = getenv("HOSTNAME"), .seed = rng_next(&n->rng), .epoch_us = wall_us(now)};

    t->node = n;
    t->notes.fd = -1;
    n->telemetry = t;
    n->flow = flow_new(&opts, now);
    begin_router(n, now);
    if (has_site)
        begin_site(n, now);
}

void telemetry_start(struct node *n)
{
    struct telemetry *t = n->telemetry;

    for (int i = FLOW_BEACONS; i <= FLOW_LOGS; i++) {
        t->listeners[i].changed = looked_at_in_time;
        router_watcher_open(n->router, &t->listeners[i],
                            str_of(flow_address(n->flow, (enum flow_channel)i)));
    }
    t->listeners[FLOW_BEACONS].joined = on_joined;
    t->listeners[FLOW_BEACONS].announced = on_announced;
    t->asked.changed = looked_at_in_time;
    router_watcher_open(n->router, &t->asked, str_of(flow_address(n->flow, FLOW_JOINED)));
    t->askers.taker.offer = on_asked;
    router_consumer_open(n->router, &t->askers, str_of(flow_address(n->flow, FLOW_JOINED)));
    router_consume(n->router, flow_address(n->flow, FLOW_COMMANDS), on_command, n);
    router_consume(n->router, flow_address(n->flow, FLOW_CORECORDS), on_corecord, n);
    if (mailbox_init(&t->notes) == 0)
        log_set_tap(on_line, t);
    t->timer = (struct net_timer){.fire = due, .user = t};
    net_timer_set(n->loop, &t->timer, flow_deadline(n->flow));
}

void telemetry_free(struct node *n)
{
    struct telemetry *t = n->telemetry;

    if (!t)
        return;
    log_set_tap(NULL, NULL);
    for (int i = FLOW_BEACONS; i <= FLOW_LOGS; i++)
        router_watcher_close(n->router, &t->listeners[i]);
    router_watcher_close(n->router, &t->asked);
    router_consumer_close(n->router, &t->askers);
    router_unconsume(n->router, flow_address(n->flow, FLOW_COMMANDS));
    router_unconsume(n->router, flow_address(n->flow, FLOW_CORECORDS));
    if (t->timer.fire)
        net_timer_cancel(n->loop, &t->timer);
    if (t->notes.fd >= 0) {
        take_notes(t, false);
        mailbox_fini(&t->notes);
    }
    flow_free(n->flow);
    n->flow = NULL;
    free(t);
    n->telemetry = NULL;
}

// ------------------------------------------------------------------------------------------ links

static bool joins_routers(enum router_role role)
{
    return role == ROUTER_ROLE_INTER_ROUTER || role == ROUTER_ROLE_EDGE ||
           role == ROUTER_ROLE_INTER_EDGE;
}

void telemetry_set_ordinal(struct flow_record *rec, const struct part *p)
{
    const struct part *profile =
        node_find(p->node, &p->node->profiles, mgmt_entity_str(p->entity, "sslProfile"));

    if (rec && profile)
        flow_set_number(rec, FLOW_ACTIVE_TLS_ORDINAL,
                        (uint64_t)mgmt_entity_int(profile->entity, "ordinal", 0));
}

// What listens uses it from the next handshake on; a link when it is up again (telemetry_up).
void telemetry_renewed(const struct part *profile)
{
    struct node *n = profile->node;

    list_for_each (node, &n->listeners) {
        struct part *p = list_entry(node, struct part, on_node);

        if (node_find(n, &n->profiles, mgmt_entity_str(p->entity, "sslProfile")) == profile)
            telemetry_set_ordinal(p->record, p);
    }
}

static void begin_access(struct part *p, struct mono now)
{
    p->record = flow_begin(p->node->flow, FLOW_ROUTER_ACCESS, p->node->router_record, now);
    flow_set_number(p->record, FLOW_LINK_COUNT, 0);
    telemetry_set_ordinal(p->record, p);
}

static void begin_link(struct part *p, struct mono now)
{
    bool has_tls = mgmt_entity_str(p->entity, "sslProfile").len > 0;

    p->record = flow_begin(p->node->flow, FLOW_LINK, p->node->router_record, now);
    flow_set_number(p->record, FLOW_LINK_COST, (uint64_t)mgmt_entity_int(p->entity, "cost", 1));
    flow_set_text(p->record, FLOW_OPER_STATUS, STR("down"));
    flow_set_number(p->record, FLOW_DOWN_COUNT, 0);
    flow_set_text(p->record, FLOW_PROTOCOL, has_tls ? STR("amqps") : STR("amqp"));
    copy_text(p->record, FLOW_DESTINATION_HOST, p->entity, "host");
    copy_text(p->record, FLOW_DESTINATION_PORT, p->entity, "port");
    flow_set_number(p->record, FLOW_OCTETS, 0);
    flow_set_number(p->record, FLOW_OCTETS_REVERSE, 0);
    flow_set_text(p->record, FLOW_HTTP_PROXY, p->proxy ? STR("yes") : STR("no"));
}

// `of`: the tcpListener or tcpConnector; `p` may be one of its addresses.
static void begin_service(struct part *p, const struct part *of, struct mono now)
{
    enum flow_type type = of->service->is_listener ? FLOW_LISTENER : FLOW_CONNECTOR;

    p->record = flow_begin(p->node->flow, type, p->node->router_record, now);
    flow_set_text(p->record, FLOW_NAME, str_of(of->name));
    flow_set_text(p->record, FLOW_PROTOCOL, STR("tcp"));
    copy_text(p->record, FLOW_DESTINATION_HOST, of->entity, "host");
    copy_text(p->record, FLOW_DESTINATION_PORT, of->entity, "port");
    copy_text(p->record, FLOW_VAN_ADDRESS, p->entity, "address");
    flow_set_number(p->record, FLOW_COUNT_L4, 0);
    if (type == FLOW_LISTENER)
        flow_set_number(p->record, FLOW_COUNT_L7, 0);
    else
        copy_text(p->record, FLOW_PROCESS_ID, p->entity, "processId");
}

void telemetry_add(struct part *p)
{
    struct service_address *a = p->service ? NULL : p->address;
    struct mono now = mono_now();

    if (a)
        begin_service(p, a->service->part, now);
    // Several addresses: each has a record, and the tcpListener none.
    else if (p->service && mgmt_entity_str(p->entity, "address").len > 0)
        begin_service(p, p, now);
    if (!p->entrances && !p->dials)
        return;
    if (!joins_routers(node_role(p->entity)))
        return;
    if (p->dials)
        begin_link(p, now);
    else
        begin_access(p, now);
    flow_set_text(p->record, FLOW_NAME, str_of(p->name));
    copy_text(p->record, FLOW_ROLE, p->entity, "role");
}

void telemetry_remove(struct part *p)
{
    struct list *node;

    while ((node = list_pop(&p->linked)) != NULL)
        list_entry(node, struct linked, on_part)->part = NULL;
    flow_end(p->record, mono_now());
    p->record = NULL;
}

static void count_links(struct part *p)
{
    uint64_t count = 0;

    list_for_each (node, &p->linked)
        count += list_entry(node, struct linked, on_part)->is_up;
    flow_set_number(p->record, FLOW_LINK_COUNT, count);
}

void telemetry_linked(struct linked *l, struct part *p)
{
    l->part = p;
    list_append(&p->linked, &l->on_part);
}

void telemetry_linked_up(struct linked *l)
{
    l->is_up = true;
    if (l->part)
        count_links(l->part);
}

void telemetry_unlinked(struct linked *l)
{
    list_remove(&l->on_part);
    if (l->part)
        count_links(l->part);
}

void telemetry_up(struct part *p, struct str access_id, struct mono now)
{
    flow_set_text(p->record, FLOW_OPER_STATUS, STR("up"));
    flow_set_time(p->record, FLOW_UP_TIMESTAMP, now);
    if (access_id.len > 0)
        flow_set_text(p->record, FLOW_PEER, access_id);
    telemetry_set_ordinal(p->record, p);
    p->is_linked = true;
}

void telemetry_down(struct part *p, const char *condition, const char *why, struct mono now)
{
    if (!p->is_linked)
        return;
    p->is_linked = false;
    flow_set_text(p->record, FLOW_OPER_STATUS, STR("down"));
    flow_set_time(p->record, FLOW_DOWN_TIMESTAMP, now);
    flow_add(p->record, FLOW_DOWN_COUNT, 1);
    flow_set_text(p->record, FLOW_RESULT, str_of(condition));
    flow_set_text(p->record, FLOW_REASON, str_of(why));
}
