// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "client/inside.h"
#include "client/trace.h"

// Which way a new connection to an address would go.
//
// The map comes first: the router we talk to (or, when that is an edge, the interior router it
// hangs on: the base) knows all interior routers and their costs, each of those knows which edge
// routers hang on it, and every one tells which servers it connects to for the address. All of that
// is asked in three rounds, whatever the size of the network. Then the choice, as routers make it:
// what is here, then what is nearest. Then the way, asked hop by hop, since each router decides for
// itself. At last each router on the way is asked something small three times, for the time.

struct place {       // a router
    const char *id;  // borrowed from the answers
    const char *hub; // of an edge: the interior router it hangs on; NULL: it is one itself
    int64_t cost;    // from the base; -1: not known
    json_t *servers; // for the address
    bool is_start;
};

struct trace {
    trace_ask *ask;
    void *user;
    const char *address;
    json_t *kept;             // answers that others point into
    const char *start, *base; // ids
    bool is_edge;             // the start
    json_t *start_links;      // its connections; borrowed
    json_t *nodes;            // of the base; borrowed
    json_t *links;            // {interior router: its connections}
    json_t *destinations;     // {interior router: true} that announce the address
    const char *treatment;
    bool is_known;
    struct place *places;
    size_t count;
    struct place *chosen;
    json_t *out;
};

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text ? text : "";
}

// ----------------------------------------------------------------------------------------- asking

// The router as requests name it: NULL for the one we talk to.
static void aim(const struct trace *t, struct client_request *q, const char *router, bool is_edge)
{
    bool is_here = strcmp(router, t->start) == 0;

    q->router = is_here ? NULL : router;
    q->is_edge = !is_here && is_edge;
    q->timeout_ms = CLIENT_TRACE_MS;
}

static json_t *names_of(const char *const *names)
{
    json_t *list = json_array();

    for (; *names; names++)
        json_array_append_new(list, json_string(*names));
    return list;
}

// One QUERY; NULL with words when it fails. What comes is kept until the end.
static json_t *query(struct trace *t, const char *router, bool is_edge, const char *type,
                     const char *const *names, struct why *why, int *err)
{
    json_t *list = names_of(names);
    struct client_request q = {.operation = "QUERY", .type = type, .attributes = list};
    struct trace_answer a = {0};

    if (router)
        aim(t, &q, router, is_edge);
    else
        q.timeout_ms = CLIENT_TRACE_MS;
    t->ask(t->user, &q, &a, 1);
    json_decref(list);
    if (a.err < 0) {
        why_set(why, "%s", a.words ? a.words : err_text(a.err));
        *err = a.err;
    }
    free(a.words);
    if (a.value)
        json_array_append_new(t->kept, a.value);
    return a.value;
}

// The same to many routers at once; answers[i] is that of places[i].
static void query_all(struct trace *t, const struct place *places, size_t count, const char *type,
                      const char *const *names, struct trace_answer *answers)
{
    struct client_request *requests = xcalloc(count + 1, sizeof(*requests));
    json_t *list = names_of(names);

    for (size_t i = 0; i < count; i++) {
        requests[i] =
            (struct client_request){.operation = "QUERY", .type = type, .attributes = list};
        aim(t, &requests[i], places[i].id, places[i].hub != NULL);
    }
    t->ask(t->user, requests, answers, count);
    for (size_t i = 0; i < count; i++)
        if (answers[i].value)
            json_array_append_new(t->kept, answers[i].value);
    json_decref(list);
    free(requests);
}

static void tell_silent(struct trace *t, const struct place *s, struct trace_answer *a)
{
    if (a->err < 0)
        json_array_append_new(json_object_get(t->out, "silent"),
                              json_pack("{s:s, s:s}", "router", s->id, "why",
                                        a->words ? a->words : err_text(a->err)));
    free(a->words);
    a->words = NULL;
}

// ---------------------------------------------------------------------------------------- the map

static const char *const CONNECTION[] = {"container", "role",   "dir",    "host",
                                         "sslProto",  "opened", "active", NULL};

static void add_place(struct trace *t, const char *id, const char *hub, int64_t cost)
{
    if (t->count >= CLIENT_TRACE_ROUTERS_MAX || !id[0])
        return;
    t->places[t->count++] = (struct place){.id = id,
                                           .hub = hub,
                                           .cost = cost,
                                           .servers = json_array(),
                                           .is_start = strcmp(id, t->start) == 0};
}

static bool is_uplink(const json_t *link)
{
    return strcmp(text_of(link, "role"), "edge") == 0 && strcmp(text_of(link, "dir"), "out") == 0 &&
           !json_is_false(json_object_get(link, "opened"));
}

// Who we talk to, and the router whose view of the network is used.
static int find_base(struct trace *t, struct why *why)
{
    static const char *const names[] = {"id", "mode", NULL};
    int err = 0;
    json_t *rows = query(t, NULL, false, "router", names, why, &err);
    json_t *self = json_array_get(rows, 0);

    if (err < 0)
        return err;
    t->start = t->base = text_of(self, "id");
    t->is_edge = strcmp(text_of(self, "mode"), "edge") == 0;
    if (!t->start[0]) {
        why_set(why, "the router does not tell its id");
        return ERR_DECODE;
    }
    if (!t->is_edge)
        return 0;
    t->start_links = query(t, t->start, true, "connection", CONNECTION, why, &err);
    t->base = NULL;
    for (size_t i = 0; i < json_array_size(t->start_links); i++)
        if (!t->base && is_uplink(json_array_get(t->start_links, i)))
            t->base = text_of(json_array_get(t->start_links, i), "container");
    return err;
}

static void find_interior(struct trace *t)
{
    static const char *const names[] = {"id", "nextHop", "cost", NULL};
    int err = 0;

    t->nodes = t->base ? query(t, t->base, false, "router.node", names, NULL, &err) : NULL;
    for (size_t i = 0; i < json_array_size(t->nodes); i++) {
        const json_t *node = json_array_get(t->nodes, i);
        const char *id = text_of(node, "id");
        json_t *cost = json_object_get(node, "cost");

        add_place(t, id, NULL, strcmp(id, t->base) == 0 ? 0 : cost ? json_integer_value(cost) : -1);
    }
    if (t->count == 0) // a lone router
        add_place(t, t->start, t->is_edge ? "" : NULL, 0);
}

// The edge routers that hang on each interior router.
static void find_edges(struct trace *t)
{
    size_t interior = t->count;
    struct trace_answer *answers = xcalloc(interior + 1, sizeof(*answers));

    query_all(t, t->places, interior, "connection", CONNECTION, answers);
    for (size_t i = 0; i < interior; i++) {
        const char *hub = t->places[i].id;
        int64_t cost = t->places[i].cost;

        tell_silent(t, &t->places[i], &answers[i]);
        json_object_set(t->links, hub, answers[i].value);
        for (size_t k = 0; k < json_array_size(answers[i].value); k++) {
            const json_t *link = json_array_get(answers[i].value, k);

            if (strcmp(text_of(link, "role"), "edge") == 0 &&
                strcmp(text_of(link, "dir"), "in") == 0)
                add_place(t, text_of(link, "container"), hub, cost);
        }
    }
    free(answers);
}

static json_t *server_of(const json_t *row)
{
    static const char *const names[][2] = {{"name", "name"},
                                           {"host", "host"},
                                           {"port", "port"},
                                           {"state", "operStatus"},
                                           {"message", "connectionMsg"}};
    json_t *server = json_object(), *opened = json_object_get(row, "connectionsOpened");

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (text_of(row, names[i][1])[0])
            json_object_set(server, names[i][0], json_object_get(row, names[i][1]));
    if (json_is_integer(opened))
        json_object_set_new(
            server, "open",
            json_integer(json_integer_value(opened) -
                         json_integer_value(json_object_get(row, "connectionsClosed"))));
    return server;
}

// The rows that are about the address.
static void take_rows(const struct trace *t, json_t *to, const json_t *rows)
{
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);

        if (strcmp(text_of(row, "address"), t->address) == 0)
            json_array_append_new(to, server_of(row));
    }
}

static void find_servers(struct trace *t)
{
    // All attributes: some routers refuse names that they do not know.
    static const char *const names[] = {NULL};
    struct trace_answer *answers = xcalloc(t->count + 1, sizeof(*answers));
    int err = 0;

    query_all(t, t->places, t->count, "tcpConnector", names, answers);
    for (size_t i = 0; i < t->count; i++) {
        tell_silent(t, &t->places[i], &answers[i]);
        take_rows(t, t->places[i].servers, answers[i].value);
    }
    free(answers);
    take_rows(t, json_object_get(t->out, "listeners"),
              query(t, t->start, t->is_edge, "tcpListener", names, NULL, &err));
}

// Who announces the address, as the base sees it.
static void find_destinations(struct trace *t)
{
    char *key = str_fmt("M%s", t->address);
    struct client_request q = {.operation = "READ", .type = "router.address", .identity = key};
    struct trace_answer a = {0};
    const json_t *remote;
    int64_t here;

    if (t->base) {
        aim(t, &q, t->base, false);
        t->ask(t->user, &q, &a, 1);
    }
    free(key);
    free(a.words);
    if (!a.value)
        return;
    json_array_append_new(t->kept, a.value);
    t->is_known = true;
    t->treatment = text_of(a.value, "distribution");
    here = json_integer_value(json_object_get(a.value, "subscriberCount")) +
           json_integer_value(json_object_get(a.value, "inProcess"));
    if (here > 0)
        json_object_set_new(t->destinations, t->base, json_true());
    remote = json_object_get(a.value, "remoteHostRouters");
    for (size_t i = 0; i < json_array_size(remote); i++)
        json_object_set_new(t->destinations, json_string_value(json_array_get(remote, i)),
                            json_true());
}

// -------------------------------------------------------------------------------------- the choice

// A server that is not known to be down.
static json_t *usable_server(const struct place *s)
{
    for (size_t i = 0; i < json_array_size(s->servers); i++)
        if (strcmp(text_of(json_array_get(s->servers, i), "state"), "down") != 0)
            return json_array_get(s->servers, i);
    return NULL;
}

static const char *hub_of(const struct place *s)
{
    return s->hub ? s->hub : s->id;
}

static bool is_announced(const struct trace *t, const struct place *s)
{
    return json_object_get(t->destinations, hub_of(s)) != NULL;
}

// The edge routers of an interior router may be what makes it announce, or clients of its own.
static bool has_server_behind(const struct trace *t, const char *hub)
{
    for (size_t i = 0; i < t->count; i++)
        if (strcmp(hub_of(&t->places[i]), hub) == 0 && usable_server(&t->places[i]))
            return true;
    return false;
}

static bool is_candidate(const struct trace *t, const struct place *s)
{
    if (s->is_start && usable_server(s))
        return true;
    if (!is_announced(t, s))
        return false;
    return usable_server(s) || (!s->hub && !has_server_behind(t, s->id));
}

// What is here comes first, then what is nearest; of equals an interior router's own, then by id.
static bool is_better(const struct place *a, const struct place *b)
{
    if (a->is_start != b->is_start)
        return a->is_start;
    if (a->cost != b->cost)
        return b->cost < 0 || (a->cost >= 0 && a->cost < b->cost);
    if (!a->hub != !b->hub)
        return !a->hub;
    return strcmp(a->id, b->id) < 0;
}

static void choose(struct trace *t)
{
    for (size_t i = 0; i < t->count; i++)
        if (is_candidate(t, &t->places[i]) && (!t->chosen || is_better(&t->places[i], t->chosen)))
            t->chosen = &t->places[i];
}

// Why a connection would not go there.
static char *why_not(const struct trace *t, const struct place *s)
{
    const json_t *first = json_array_get(s->servers, 0);
    const struct place *c = t->chosen;

    if (!usable_server(s) && first)
        return str_fmt("its server %s:%s is down%s%s", text_of(first, "host"),
                       text_of(first, "port"), text_of(first, "message")[0] ? ": " : "",
                       text_of(first, "message"));
    if (!is_announced(t, s) && !s->is_start)
        return str_fmt("router '%s' does not announce the address to router '%s'", hub_of(s),
                       t->base ? t->base : t->start);
    if (strcmp(t->treatment, "multicast") == 0)
        return xstrdup("it gets a copy as well");
    if (!c)
        return xstrdup("nothing is known of the way there");
    if (s->cost == c->cost && !c->is_start)
        return str_fmt("as near as '%s'; connections are shared", c->id);
    if (strcmp(t->treatment, "closest") == 0)
        return str_fmt("farther than '%s', and the closest gets all", c->id);
    return str_fmt("farther than '%s'; it gets connections while the nearer ones have more open",
                   c->id);
}

static void tell_others(struct trace *t)
{
    json_t *others = json_object_get(t->out, "others");

    for (size_t i = 0; i < t->count; i++) {
        const struct place *s = &t->places[i];
        char *words;
        json_t *other;

        if (s == t->chosen || (json_array_size(s->servers) == 0 && !is_candidate(t, s)))
            continue;
        words = why_not(t, s);
        other = json_pack("{s:s, s:b, s:O, s:s}", "router", s->id, "edge", s->hub != NULL,
                          "servers", s->servers, "why", words);
        if (s->cost >= 0)
            json_object_set_new(other, "cost", json_integer(s->cost));
        json_array_append_new(others, other);
        free(words);
    }
}

// ------------------------------------------------------------------------------------------ the
// way

static const json_t *link_to(const json_t *links, const char *container)
{
    for (size_t i = 0; i < json_array_size(links); i++) {
        const json_t *link = json_array_get(links, i);

        if (strcmp(text_of(link, "container"), container) == 0 &&
            !json_is_false(json_object_get(link, "opened")))
            return link;
    }
    return NULL;
}

static json_t *add_hop(struct trace *t, const char *router, bool is_edge, const json_t *link)
{
    json_t *hop = json_pack("{s:s, s:b}", "router", router, "edge", is_edge), *l;

    if (link) {
        l = json_object();
        json_object_set(l, "peer", json_object_get(link, "host"));
        json_object_set(l, "dir", json_object_get(link, "dir"));
        if (text_of(link, "sslProto")[0])
            json_object_set(l, "tls", json_object_get(link, "sslProto"));
        json_object_set_new(hop, "link", l);
    }
    json_array_append_new(json_object_get(t->out, "path"), hop);
    return hop;
}

// The node of `to`, as a router told of it.
static const json_t *node_of(const json_t *nodes, const char *to)
{
    for (size_t i = 0; i < json_array_size(nodes); i++)
        if (strcmp(text_of(json_array_get(nodes, i), "id"), to) == 0)
            return json_array_get(nodes, i);
    return NULL;
}

static bool is_on_path(const struct trace *t, const char *router)
{
    const json_t *path = json_object_get(t->out, "path");

    for (size_t i = 0; i < json_array_size(path); i++)
        if (strcmp(text_of(json_array_get(path, i), "router"), router) == 0)
            return true;
    return false;
}

// From the base to an interior router, asking each what it would do. False with *words when it
// cannot be followed to its end.
static bool walk(struct trace *t, const char *to, char **words)
{
    static const char *const names[] = {"id", "nextHop", "cost", NULL};
    const char *at = t->base;
    const json_t *nodes = t->nodes;
    struct why why = {""};
    int64_t total = 0, left;
    int err = 0;

    for (int hops = 0; strcmp(at, to) != 0; hops++) {
        const json_t *node = node_of(nodes, to);
        const char *next = text_of(node, "nextHop")[0] ? text_of(node, "nextHop") : to;
        json_t *hop;

        if (!node || hops == CLIENT_TRACE_HOPS_MAX || is_on_path(t, next)) {
            *words = !node ? str_fmt("router '%s' knows no way to router '%s'%s%s", at, to,
                                     why.text[0] ? ": " : "", why.text)
                           : str_fmt("the way from router '%s' to router '%s' leads round in a "
                                     "circle at router '%s'; it may be changing just now",
                                     t->base, to, next);
            return false;
        }
        left = json_integer_value(json_object_get(node, "cost"));
        hop = add_hop(t, next, false, link_to(json_object_get(t->links, at), next));
        at = next;
        if (strcmp(at, to) != 0)
            nodes = query(t, at, false, "router.node", names, &why, &err);
        total += left - (strcmp(at, to) == 0
                             ? 0
                             : json_integer_value(json_object_get(node_of(nodes, to), "cost")));
        json_object_set_new(hop, "cost", json_integer(total));
    }
    return true;
}

static void find_way(struct trace *t, char **words)
{
    const struct place *c = t->chosen;
    json_t *server = usable_server(c);

    add_hop(t, t->start, t->is_edge, NULL);
    if (!c->is_start) {
        if (t->is_edge)
            add_hop(t, t->base, false, link_to(t->start_links, t->base));
        if (walk(t, hub_of(c), words) && c->hub)
            add_hop(t, c->id, true, link_to(json_object_get(t->links, c->hub), c->id));
    }
    if (*words)
        return;
    server = server ? json_deep_copy(server) : json_object();
    json_object_set_new(server, "router", json_string(c->id));
    json_object_set_new(t->out, "server", server);
}

enum { ROUNDS = 3 };

static void measure(struct trace *t)
{
    static const char *const names[] = {"id", NULL};
    json_t *path = json_object_get(t->out, "path"), *list = names_of(names);

    for (size_t i = 0; i < json_array_size(path); i++) {
        json_t *hop = json_array_get(path, i);
        struct client_request q = {.operation = "QUERY", .type = "router", .attributes = list};
        double best = -1;

        aim(t, &q, text_of(hop, "router"), json_is_true(json_object_get(hop, "edge")));
        for (int round = 0; round < ROUNDS; round++) {
            struct trace_answer a = {0};

            t->ask(t->user, &q, &a, 1);
            if (a.err == 0 && (best < 0 || a.ms < best))
                best = a.ms;
            json_decref(a.value);
            free(a.words);
            if (a.err < 0)
                break;
        }
        if (best >= 0)
            json_object_set_new(hop, "ms", json_real(best));
    }
    json_decref(list);
}

// What stands in the way, and what to do about it.
static char *why_none(const struct trace *t)
{
    size_t servers = 0;

    for (size_t i = 0; i < t->count; i++)
        servers += json_array_size(t->places[i].servers);
    if (t->is_edge && !t->base)
        return str_fmt("edge router '%s' has no uplink: look at its link first", t->start);
    if (servers > 0)
        return str_fmt("%zu server%s there, none of which can be reached: see the reasons at each",
                       servers, servers == 1 ? " is" : "s are");
    if (t->is_known && strcmp(t->treatment, "unavailable") == 0)
        return xstrdup("the address is configured as unavailable");
    return str_fmt("no router of the %zu that were asked has a server for it: is the connector's "
                   "routing key \"%s\", and is its site linked?",
                   t->count, t->address);
}

// -------------------------------------------------------------------------------------------- all

static void decide(struct trace *t)
{
    char *words = NULL;

    choose(t);
    if (t->chosen)
        find_way(t, &words);
    else
        words = why_none(t);
    tell_others(t);
    measure(t);
    if (t->treatment[0])
        json_object_set_new(t->out, "treatment", json_string(t->treatment));
    if (words)
        json_object_set_new(t->out, "why", json_string(words));
    free(words);
}

int trace_run(trace_ask *ask, void *user, const char *address, json_t **out, struct why *why)
{
    struct trace t = {.ask = ask,
                      .user = user,
                      .address = address,
                      .treatment = "",
                      .kept = json_array(),
                      .links = json_object(),
                      .destinations = json_object(),
                      .places = xcalloc(CLIENT_TRACE_ROUTERS_MAX, sizeof(struct place)),
                      .out = json_pack("{s:s, s:[], s:[], s:[], s:[]}", "address", address,
                                       "listeners", "path", "others", "silent")};
    int err = t.out ? find_base(&t, why) : ERR_INVALID;

    if (err == 0) {
        find_interior(&t);
        find_edges(&t);
        find_servers(&t);
        find_destinations(&t);
        decide(&t);
        *out = json_incref(t.out);
    }
    for (size_t i = 0; i < t.count; i++)
        json_decref(t.places[i].servers);
    free(t.places);
    json_decref(t.kept);
    json_decref(t.links);
    json_decref(t.destinations);
    json_decref(t.out);
    return err;
}

// ------------------------------------------------------------------------------------ over a line

enum { AT_ONCE = 64 };

struct asking {
    struct mono since;
    uint64_t id;
};

static void take(struct trace_answer *a, const struct asking *q, const struct client_answer *got)
{
    a->err = got->err;
    a->ms = (double)(mono_now().ns - q->since.ns) / 1e6;
    if (got->err < 0)
        a->words = xstrdup(got->words ? got->words : "");
    else
        a->value = json_incref(got->value);
}

static void ask_line(void *user, const struct client_request *requests,
                     struct trace_answer *answers, size_t count)
{
    struct client_line *l = user;
    struct client *c = client_line_client(l);
    struct asking *asked = xcalloc(count + 1, sizeof(*asked));
    size_t sent = 0, done = 0;
    struct client_event ev;
    struct why why;

    while (done < count) {
        for (; sent < count && sent - done < AT_ONCE; sent++) {
            struct client_request q = requests[sent];

            q.user = &asked[sent];
            asked[sent].since = mono_now();
            asked[sent].id = client_ask(c, &q, mono_now(), &why);
            if (asked[sent].id == 0) {
                answers[sent] =
                    (struct trace_answer){.err = ERR_CLOSED, .words = xstrdup(why.text)};
                done++;
            }
        }
        if (done == count || !client_line_next(l, MONO_NEVER, &ev))
            break;
        if (ev.type != CLIENT_ANSWER)
            continue;
        take(&answers[(struct asking *)ev.user - asked], ev.user, &ev.answer);
        done++;
    }
    for (size_t i = 0; i < count; i++) // the connection has ended
        if (!answers[i].value && answers[i].err == 0 && i >= sent)
            answers[i].err = ERR_CLOSED;
    free(asked);
}

int client_trace(struct client_line *l, const char *address, json_t **out, struct why *why)
{
    return trace_run(ask_line, l, address, out, why);
}
