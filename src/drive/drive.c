// SPDX-License-Identifier: Apache-2.0
// When the connection opens, the router's entities are read; then, as often as something else is
// wanted, the difference is applied, operation by operation in order. What the router refuses is
// kept with its words, and tried again now and then. Each time what it has is read anew, as it also
// is after an answer that did not come: what was asked may have been done, or not. census.c is the
// other part of this folder.
#include <stdlib.h>
#include <string.h>

#include "base/fold.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "client/client.h"
#include "drive/drive.h"
#include "net/net.h"
#include "site/site.h"

enum {
    RETRY_MIN_MS = 20,
    RETRY_MAX_MS = 1000,
    UNDER_WAY_MAX = 256, // operations at a time
    FAILED_AGAIN_MS = 5000,
    READ_AGAIN_MS = 1000,
    STATE_SOON_MS = 100,    // after a change, and a millisecond for each two to look at
    STATE_UNWELL_MS = 1000, // as long as something is down, and more the more there is to tell
    STATE_EACH_MS = 10,
    STATE_WELL_MS = 10000,
};

// The types that are read, as management names them and as the configuration does.
static const struct {
    const char *type, *name;
} types[] = {
    {"router", "router"},
    {"sslProfile", "sslProfile"},
    {"proxyProfile", "proxyProfile"},
    {"connector", "connector"},
    {"listener", "listener"},
    {"router.config.address", "address"},
    {"tcpConnector", "tcpConnector"},
    {"tcpListener", "tcpListener"},
    {"listenerAddress", "listenerAddress"},
    {"log", "log"},
};
enum { TYPE_COUNT = sizeof(types) / sizeof(types[0]) };

// Those whose state is asked for.
static const char *const stateful[] = {"connector", "tcpConnector", "tcpListener"};
enum { STATEFUL_COUNT = sizeof(stateful) / sizeof(stateful[0]) };

struct question {
    struct list on_router;
    enum { READ_TYPE, CHANGE, STATE } kind;
    int type;     // READ_TYPE, STATE: index
    json_t *what; // CHANGE: the operation
};

struct drive {
    struct net_loop *loop;
    struct drive_hooks hooks;
    struct place {
        bool is_set;
        char *host, *port, *certificates;
    } place;
    struct net_tls *tls;
    struct net_connector *connector;
    struct net_stream *stream;
    struct client *client;
    char *problem;
    bool is_open, needs_restart, is_settled;
    bool is_unsure; // of what it has: an answer is missing
    int unread;     // types still to be read
    int changing;   // operations under way
    int stating;
    uint64_t operation_count; // done
    json_t *failed;
    // Folded while there is nothing to do: wake_config(), wake_entities().
    json_t *applied, *wanted, *entities;
    json_t *places;        // of entities in `applied`, by key
    struct list questions; // without an answer yet
    struct net_timer state_timer, failed_timer, place_timer;
};

static void reconcile(struct drive *r, struct mono now);

static void wake_config(struct drive *r)
{
    json_unfold(&r->applied);
    json_unfold(&r->places);
    json_unfold(&r->wanted);
}

static void wake_entities(struct drive *r)
{
    json_unfold(&r->entities);
}

void drive_rest(struct drive *r)
{
    if (r->unread > 0 || r->changing > 0 || r->stating > 0)
        return;
    json_fold(&r->applied);
    json_fold(&r->places);
    json_fold(&r->wanted);
    json_fold(&r->entities);
}

// ------------------------------------------------------------------------------------- questions

static void question_free(struct question *q)
{
    list_remove(&q->on_router);
    json_decref(q->what);
    free(q);
}

// A request that cannot be made is answered by the end of the connection, which follows.
static void ask(struct drive *r, struct question *take, struct client_request *req, struct mono now)
{
    struct why why = {""};

    list_append(&r->questions, &take->on_router);
    req->user = take;
    if (client_ask(r->client, req, now, &why) == 0) {
        log_write(LOG_AGENT, LOG_ERROR, "management not asked: %s", why.text);
        question_free(take);
    }
}

static void ask_state(struct drive *r, struct mono now)
{
    static const char *const names[] = {"name", "operStatus", "connectionStatus", "connectionMsg"};

    net_timer_cancel(r->loop, &r->state_timer);
    if (!r->is_open || r->unread > 0 || r->stating > 0)
        return;
    for (int i = 0; i < STATEFUL_COUNT; i++) {
        struct question *q = xcalloc(1, sizeof(*q));
        json_t *attributes = json_array();
        struct client_request req = {.operation = "QUERY",
                                     .type = stateful[i],
                                     .attributes = attributes,
                                     .timeout_ms = r->hooks.answer_ms};

        for (size_t k = 0; k < sizeof(names) / sizeof(names[0]); k++)
            json_array_append_new(attributes, json_string(names[k]));
        *q = (struct question){.kind = STATE, .type = i};
        r->stating++;
        ask(r, q, &req, now);
        json_decref(attributes);
    }
}

static void state_fire(void *user, struct mono now)
{
    ask_state(user, now);
}

static void state_in(struct drive *r, uint32_t ms)
{
    net_timer_set(r->loop, &r->state_timer, mono_add_ms(net_loop_now(r->loop), ms));
}

// What it has, from the beginning. What is under way has been answered, or never will be.
static void read_all(struct drive *r, struct mono now)
{
    net_timer_cancel(r->loop, &r->failed_timer);
    wake_config(r);
    json_array_clear(r->applied);
    json_object_clear(r->places);
    json_object_clear(r->failed);
    r->is_unsure = false;
    r->unread = TYPE_COUNT;
    for (int i = 0; i < TYPE_COUNT; i++) {
        struct question *q = xcalloc(1, sizeof(*q));
        struct client_request req = {
            .operation = "QUERY", .type = types[i].type, .timeout_ms = r->hooks.answer_ms};

        *q = (struct question){.kind = READ_TYPE, .type = i};
        ask(r, q, &req, now);
    }
}

static void failed_fire(void *user, struct mono now)
{
    struct drive *r = user;

    if (r->unread == 0 && r->changing == 0)
        read_all(r, now);
}

static void failed_again_in(struct drive *r, struct mono now, uint32_t ms)
{
    net_timer_set(r->loop, &r->failed_timer, mono_add_ms(now, ms));
}

// -------------------------------------------------------------------------------------- applying

static const char *config_name(const char *type)
{
    const char *prefix = "io.skupper.router.";

    if (strncmp(type, prefix, strlen(prefix)) == 0)
        type += strlen(prefix);
    for (int i = 0; i < TYPE_COUNT; i++)
        if (strcmp(types[i].type, type) == 0)
            return types[i].name;
    return type;
}

static char *key_of(const json_t *operation)
{
    return str_fmt("%s/%s", config_name(site_text(operation, "type")),
                   site_text(operation, "name"));
}

static bool has_failed(const struct drive *r, const json_t *operation)
{
    char *key = key_of(operation);
    bool failed = json_equal(json_object_get(r->failed, key), operation);

    free(key);
    return failed;
}

static void ask_change(struct drive *r, json_t *operation, struct mono now)
{
    struct question *q = xcalloc(1, sizeof(*q));
    struct client_request req = {.operation = site_text(operation, "operation"),
                                 .type = site_text(operation, "type"),
                                 .name = site_text(operation, "name"),
                                 .attributes = json_object_get(operation, "attributes"),
                                 .timeout_ms = r->hooks.answer_ms};

    *q = (struct question){.kind = CHANGE, .what = json_incref(operation)};
    r->changing++;
    ask(r, q, &req, now);
}

// What was refused and is there all the same, as after it was read anew, is well.
static void forget_refusals(struct drive *r)
{
    const char *key;
    json_t *facts;
    bool is_new = false;

    wake_entities(r);
    json_object_foreach(r->entities, key, facts)
    {
        if (!json_object_get(r->failed, key))
            is_new |= json_object_del(facts, "error") == 0;
    }
    if (is_new)
        r->hooks.changed(r->hooks.user);
}

static void reconcile(struct drive *r, struct mono now)
{
    json_t *operations, *operation;
    bool restart = false;
    size_t i;

    if (!r->is_open || r->unread > 0 || r->changing > 0 || !r->wanted)
        return;
    wake_config(r);
    operations = site_config_difference(r->applied, r->wanted, &restart);
    json_array_foreach(operations, i, operation)
    {
        if (r->changing < UNDER_WAY_MAX && !has_failed(r, operation))
            ask_change(r, operation, now);
    }
    json_decref(operations);
    if (r->changing == 0)
        forget_refusals(r);
    r->is_settled = r->changing == 0;
    if (restart != r->needs_restart) {
        r->needs_restart = restart;
        r->hooks.changed(r->hooks.user);
    }
    if (r->is_settled && json_object_size(r->failed) > 0)
        failed_again_in(r, now, FAILED_AGAIN_MS);
}

static char *key_of_entity(const json_t *pair)
{
    const char *type = json_string_value(json_array_get(pair, 0));
    const char *name = strcmp(type, "address") == 0 ? "prefix"
                       : strcmp(type, "log") == 0   ? "module"
                                                    : "name";

    return str_fmt("%s/%s", type, site_text(json_array_get(pair, 1), name));
}

// Puts an entity down as applied, at its place or behind the others.
static void place(struct drive *r, size_t at, json_t *take_pair)
{
    char *key = key_of_entity(take_pair);

    json_object_set_new(r->places, key, json_integer((json_int_t)at));
    if (at < json_array_size(r->applied))
        json_array_set_new(r->applied, at, take_pair);
    else
        json_array_append_new(r->applied, take_pair);
    free(key);
}

// The last takes its place: the order means nothing.
static void displace(struct drive *r, const char *key, size_t at)
{
    size_t last = json_array_size(r->applied) - 1;

    json_object_del(r->places, key);
    if (at < last)
        place(r, at, json_incref(json_array_get(r->applied, last)));
    json_array_remove(r->applied, last);
}

// The router did it: so it is there.
static void note_applied(struct drive *r, const json_t *operation, const char *key)
{
    const char *type = config_name(site_text(operation, "type"));
    const char *verb = site_text(operation, "operation");
    json_t *attributes = json_object_get(operation, "attributes");
    const json_t *known = json_object_get(r->places, key);
    size_t at = known ? (size_t)json_integer_value(known) : json_array_size(r->applied);

    if (strcmp(verb, "CREATE") == 0)
        place(r, at, json_pack("[s, O]", type, attributes));
    else if (known && strcmp(verb, "DELETE") == 0)
        displace(r, key, at);
    else if (known) {
        json_t *both = json_copy(json_array_get(json_array_get(r->applied, at), 1));

        json_object_update(both, attributes);
        place(r, at, json_pack("[s, o]", type, both));
    }
}

// The facts of an entity, made if need be; borrowed.
static json_t *facts_of(struct drive *r, const char *key)
{
    json_t *facts = json_object_get(r->entities, key);

    if (!facts) {
        facts = json_object();
        json_object_set_new(r->entities, key, facts);
    }
    return facts;
}

// The words are kept over the next attempt, so that the same ones are no news.
static void note_refused(struct drive *r, const json_t *operation, const char *key,
                         const char *words)
{
    json_t *facts = facts_of(r, key);

    json_object_set(r->failed, key, (json_t *)(uintptr_t)operation);
    if (strcmp(site_text(facts, "error"), words) == 0)
        return;
    log_write(LOG_AGENT, LOG_WARNING, "the router refused %s %s: %s",
              site_text(operation, "operation"), key, words);
    json_object_set_new(facts, "error", json_string(words));
    r->hooks.changed(r->hooks.user);
}

static void changed(struct drive *r, const struct question *q, const struct client_answer *a,
                    struct mono now)
{
    char *key = key_of(q->what);
    const char *verb = site_text(q->what, "operation");
    bool is_gone = a->err == ERR_NOT_FOUND && strcmp(verb, "DELETE") == 0;

    r->changing--;
    if (a->err == 0 || is_gone) {
        note_applied(r, q->what, key);
        r->operation_count++;
        json_object_del(r->failed, key);
        if (strcmp(verb, "DELETE") == 0)
            json_object_del(r->entities, key);
    } else if (a->err == ERR_AGAIN) {
        r->is_unsure = true;
    } else if (a->err != ERR_CLOSED) {
        note_refused(r, q->what, key, a->words);
    }
    free(key);
    if (r->changing > 0)
        return;
    if (r->is_unsure) {
        log_write(LOG_AGENT, LOG_WARNING, "%s; what it has is read again", a->words);
        read_all(r, now);
        return;
    }
    reconcile(r, now);
    state_in(r, STATE_SOON_MS + (uint32_t)json_object_size(r->entities) / 2);
}

// --------------------------------------------------------------------------------------- reading

static void read_type(struct drive *r, const struct question *q, const struct client_answer *a,
                      struct mono now)
{
    json_t *row;
    size_t i;

    r->unread--;
    r->is_unsure |= a->err < 0;
    json_array_foreach(a->value, i, row)
        place(r, json_array_size(r->applied), json_pack("[s, O]", types[q->type].name, row));
    if (r->unread > 0)
        return;
    if (r->is_unsure) { // better nothing than changes from a picture with holes
        failed_again_in(r, now, READ_AGAIN_MS);
        return;
    }
    if (r->hooks.read)
        r->hooks.read(r->hooks.user, r->applied);
    reconcile(r, now);
    ask_state(r, now);
}

// A row of state into the facts; whether they are new.
static bool note_state(struct drive *r, const char *type, const json_t *row)
{
    static const char *const kept[] = {"operStatus", "connectionStatus", "connectionMsg"};
    char *key = str_fmt("%s/%s", type, site_text(row, "name"));
    json_t *facts = facts_of(r, key);
    bool is_new = false;

    for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
        const char *value = site_text(row, kept[i]);

        if (strcmp(site_text(facts, kept[i]), value) == 0)
            continue;
        json_object_set_new(facts, kept[i], json_string(value));
        is_new = true;
    }
    free(key);
    return is_new;
}

static bool is_well(const struct drive *r)
{
    const char *key;
    json_t *facts;

    json_object_foreach(r->entities, key, facts)
    {
        if (strcmp(site_text(facts, "operStatus"), "down") == 0 ||
            (site_text(facts, "connectionStatus")[0] &&
             strcmp(site_text(facts, "connectionStatus"), "SUCCESS") != 0))
            return false;
    }
    return true;
}

// When to look again: soon if something is down, but never so often that looking is the main work.
static uint32_t next_look_ms(const struct drive *r)
{
    size_t ms = STATE_UNWELL_MS + STATE_EACH_MS * json_object_size(r->entities);

    return is_well(r) || ms > STATE_WELL_MS ? STATE_WELL_MS : (uint32_t)ms;
}

static void state(struct drive *r, const struct question *q, const struct client_answer *a)
{
    bool is_new = false;
    json_t *row;
    size_t i;

    r->stating--;
    json_array_foreach(a->value, i, row) is_new |= note_state(r, stateful[q->type], row);
    if (is_new)
        r->hooks.changed(r->hooks.user);
    if (r->stating > 0)
        return;
    state_in(r, next_look_ms(r));
    if (r->hooks.looked)
        r->hooks.looked(r->hooks.user);
}

// ------------------------------------------------------------------------------------ connection

static void opened(struct drive *r, struct mono now)
{
    r->is_open = true;
    free(r->problem);
    r->problem = xstrdup("");
    net_connector_succeeded(r->connector);
    wake_entities(r);
    json_object_clear(r->entities);
    read_all(r, now);
    r->hooks.opened(r->hooks.user, r->client);
    r->hooks.changed(r->hooks.user);
}

static void closed(struct drive *r, const char *words)
{
    bool was_open = r->is_open;

    free(r->problem);
    r->problem = xstrdup(words);
    r->is_open = r->is_settled = r->needs_restart = false;
    r->unread = r->changing = r->stating = 0;
    wake_entities(r);
    json_object_clear(r->entities);
    net_timer_cancel(r->loop, &r->state_timer);
    net_timer_cancel(r->loop, &r->failed_timer);
    if (was_open)
        r->hooks.closed(r->hooks.user);
    if (r->stream)
        net_stream_drop(r->stream, r->problem);
    client_free(r->client);
    r->client = NULL;
    for (struct list *node; (node = list_pop(&r->questions)) != NULL;)
        question_free(list_entry(node, struct question, on_router));
    r->hooks.changed(r->hooks.user);
}

static void answer(struct drive *r, const struct client_event *ev, struct mono now)
{
    struct question *q = ev->user;

    wake_entities(r);
    switch (q->kind) {
    case READ_TYPE:
        read_type(r, q, &ev->answer, now);
        break;
    case CHANGE:
        changed(r, q, &ev->answer, now);
        break;
    case STATE:
        state(r, q, &ev->answer);
        break;
    }
    question_free(q);
}

void drive_turn(struct drive *r, struct mono now)
{
    struct client_event ev;

    while (r->client && client_next(r->client, &ev)) {
        if (ev.type == CLIENT_OPENED) {
            opened(r, now);
        } else if (ev.type == CLIENT_CLOSED) {
            closed(r, ev.words);
            break;
        } else if (ev.type == CLIENT_ANSWER && !ev.link) {
            answer(r, &ev, now);
        } else {
            r->hooks.event(r->hooks.user, &ev);
        }
    }
    if (r->stream)
        net_want_write(r->stream);
}

static void lost(void *e, const char *why, struct mono now)
{
    struct drive *r = e;

    r->stream = NULL;
    client_engine.lost(r->client, why, now);
}

// The engine of the stream is the router, since a client outlives its stream until its last event
// has been taken.
static void feed(void *e, const uint8_t *data, size_t len, struct mono now)
{
    client_engine.feed(((struct drive *)e)->client, data, len, now);
}

static struct buf *output(void *e, struct mono now)
{
    return client_engine.output(((struct drive *)e)->client, now);
}

static void sent(void *e, struct mono now)
{
    client_engine.sent(((struct drive *)e)->client, now);
}

static struct mono deadline(const void *e)
{
    return client_engine.deadline(((const struct drive *)e)->client);
}

static void tick(void *e, struct mono now)
{
    client_engine.tick(((struct drive *)e)->client, now);
}

static bool is_paused(const void *e)
{
    return client_engine.is_paused(((const struct drive *)e)->client);
}

static bool is_finished(const void *e)
{
    return client_engine.is_finished(((const struct drive *)e)->client);
}

static const struct net_engine_ops router_engine = {
    .feed = feed,
    .output = output,
    .sent = sent,
    .deadline = deadline,
    .tick = tick,
    .is_paused = is_paused,
    .is_finished = is_finished,
    .lost = lost,
};

static void *ready(void *user, struct net_stream *s, const struct net_engine_ops **ops,
                   struct mono now)
{
    struct drive *r = user;
    struct client_opts opts = {.name = "skupper-agent", .is_external = r->tls != NULL};

    if (r->client) // its last events have not been taken
        return NULL;
    r->client = client_new(&opts, now);
    r->stream = s;
    *ops = &router_engine;
    return r;
}

static void failed(void *user, const char *why, struct mono now)
{
    struct drive *r = user;

    (void)now;
    if (strcmp(r->problem, why) == 0)
        return;
    free(r->problem);
    r->problem = xstrdup(why);
    r->hooks.changed(r->hooks.user);
}

// ------------------------------------------------------------------------------------ life, door

static void disconnect(struct drive *r)
{
    if (r->client)
        closed(r, "the place of management changes");
    net_connector_free(r->connector);
    net_tls_unref(r->tls);
    r->connector = NULL;
    r->tls = NULL;
}

static int read_tls(const struct drive *r, struct net_tls **out, struct why *why)
{
    const char *directory = r->place.certificates;
    char *ca = str_fmt("%s/ca.crt", directory), *cert = str_fmt("%s/tls.crt", directory),
         *key = str_fmt("%s/tls.key", directory);
    struct net_tls_opts opts = {
        .name = "skupper-local-client", .ca_file = ca, .cert_file = cert, .key_file = key};
    int err = net_tls_new(&opts, out, why);

    free(ca);
    free(cert);
    free(key);
    return err;
}

static int connect_to(struct drive *r, struct why *why)
{
    struct net_connector_opts opts = {.host = r->place.host,
                                      .port = r->place.port,
                                      .verify_host = true,
                                      .retry_min_ms = RETRY_MIN_MS,
                                      .retry_max_ms = RETRY_MAX_MS,
                                      .connect = {.ready = ready, .failed = failed, .user = r}};
    int err = r->place.certificates ? read_tls(r, &r->tls, why) : 0;

    opts.tls = r->tls;
    if (!err)
        err = net_connector_new(r->loop, &opts, &r->connector, why);
    return err;
}

static void place_fire(void *user, struct mono now)
{
    struct drive *r = user;
    struct why why = {""};

    if (!r->place.is_set || connect_to(r, &why) == 0)
        return;
    failed(r, why.text, now);
    disconnect(r);
    net_timer_set(r->loop, &r->place_timer, mono_add_ms(now, RETRY_MAX_MS));
}

static void forget_place(struct drive *r)
{
    free(r->place.host);
    free(r->place.port);
    free(r->place.certificates);
    r->place = (struct place){0};
}

static bool is_there(const struct drive *r, const struct drive_place *p)
{
    const char *mine = r->place.certificates ? r->place.certificates : "";

    if (!p || !r->place.is_set)
        return !p == !r->place.is_set;
    return strcmp(r->place.host, p->host) == 0 && strcmp(r->place.port, p->port) == 0 &&
           strcmp(mine, p->certificates ? p->certificates : "") == 0;
}

void drive_set_place(struct drive *r, const struct drive_place *place)
{
    if (is_there(r, place))
        return;
    disconnect(r);
    forget_place(r);
    if (place)
        r->place = (struct place){.is_set = true,
                                  .host = xstrdup(place->host),
                                  .port = xstrdup(place->port),
                                  .certificates =
                                      place->certificates ? xstrdup(place->certificates) : NULL};
    net_timer_cancel(r->loop, &r->place_timer);
    place_fire(r, net_loop_now(r->loop));
}

int drive_reload(struct drive *r, struct why *why)
{
    struct net_tls *fresh;
    int err = r->tls ? read_tls(r, &fresh, why) : 0;

    if (!r->tls || err < 0)
        return err;
    net_tls_swap(r->tls, fresh);
    net_tls_unref(fresh);
    return 0;
}

struct drive *drive_new(struct net_loop *loop, const struct drive_hooks *hooks)
{
    struct drive *r = xcalloc(1, sizeof(*r));

    *r = (struct drive){.loop = loop,
                        .hooks = *hooks,
                        .problem = xstrdup("not connected yet"),
                        .applied = json_array(),
                        .places = json_object(),
                        .entities = json_object(),
                        .failed = json_object(),
                        .state_timer = {.fire = state_fire, .user = r},
                        .failed_timer = {.fire = failed_fire, .user = r},
                        .place_timer = {.fire = place_fire, .user = r}};
    list_init(&r->questions);
    return r;
}

void drive_free(struct drive *r)
{
    if (!r)
        return;
    disconnect(r);
    net_timer_cancel(r->loop, &r->place_timer);
    forget_place(r);
    json_decref(r->applied);
    json_decref(r->places);
    json_decref(r->wanted);
    json_decref(r->entities);
    json_decref(r->failed);
    free(r->problem);
    free(r);
}

bool drive_wants(struct drive *r, const json_t *config)
{
    json_unfold(&r->wanted);
    return r->wanted && json_equal(r->wanted, config);
}

void drive_want(struct drive *r, const json_t *config)
{
    bool is_same = drive_wants(r, config);

    json_decref(r->wanted);
    r->wanted = json_incref((json_t *)(uintptr_t)config);
    if (is_same)
        return;
    r->is_settled = false;
    reconcile(r, net_loop_now(r->loop));
}

bool drive_needs_restart(const struct drive *r)
{
    return r->needs_restart;
}

bool drive_is_up(const struct drive *r)
{
    return r->is_open;
}

bool drive_is_settled(const struct drive *r)
{
    return r->is_settled;
}

const json_t *drive_entities(struct drive *r)
{
    wake_entities(r);
    return r->entities;
}

uint64_t drive_operation_count(const struct drive *r)
{
    return r->operation_count;
}

const json_t *drive_applied(struct drive *r)
{
    wake_config(r);
    return r->applied;
}

const char *drive_problem(const struct drive *r)
{
    return r->problem;
}
