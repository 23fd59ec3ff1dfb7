// SPDX-License-Identifier: Apache-2.0
// Whatever the order in which things happen, the same set of them ends in the same place.
#include "base/rng.h"
#include "site/apply_test.h"

// What can stand in the input, each in two forms, or be missing.
static const char *const resources[][2] = {
    {"Site west", "{'linkAccess': 'default'}"},
    {"Site west", "{'edge': true, 'settings': {'router-logging': 'info'}}"},
    {"Site abroad", "{}"},
    {"Site abroad", "{'ha': true}"},
    {"RouterAccess in", "{'roles': [{'name': 'inter-router', 'port': 55671}, {'name': 'edge'}]}"},
    {"RouterAccess in", "{'roles': [{'name': 'normal', 'port': 5671}], 'tlsCredentials': 'tls'}"},
    {"Link east", "{'tlsCredentials': 's', 'endpoints': [{'name': 'inter-router', 'host': 'h', "
                  "'port': '1'}, {'name': 'edge', 'host': 'h', 'port': '2'}]}"},
    {"Link east", "{'endpoints': [{'name': 'edge', 'host': 'h', 'port': '2'}]}"},
    {"Listener a", "{'routingKey': 'a', 'host': '127.0.0.1', 'port': 80, 'tlsCredentials': 'tls'}"},
    {"Listener a", "{'routingKey': 'a', 'host': '127.0.0.1', 'port': 5432}"},
    {"Listener b", "{'routingKey': 'b', 'host': 'localhost', 'port': 80, 'tlsCredentials': 'tls'}"},
    {"Listener b", "{'routingKey': 'db:5432', 'host': '0.0.0.0', 'port': 80, 'x': 1}"},
    {"MultiKeyListener m", "{'host': '127.0.0.1', 'port': 80, 'strategy': {'priority': "
                           "{'routingKeys': ['a', 'b']}}}"},
    {"MultiKeyListener m", "{'host': '127.0.0.1', 'port': 81, 'strategy': {'weighted': "
                           "{'routingKeys': {'a': 1, 'c': 2}}}}"},
    {"Connector c", "{'routingKey': 'c', 'host': '127.0.0.1', 'port': 5432, 'tlsCredentials': "
                    "'tls'}"},
    {"Connector c", "{'routingKey': 'c', 'port': 'x'}"},
    {"AccessGrant g", "{}"},
    {"AccessGrant g", "{'expirationWindow': 'never'}"},
    {"Certificate k", "{'ca': 'skupper-site-ca', 'subject': 'k'}"},
    {"Certificate k", "{'ca': '', 'subject': 'k', 'signing': true}"},
    {"Secret s", "{}"},
    {"Secret s", NULL},
};
static const char *const facts[][2] = {
    {"ports", "{'skupper-local/normal': 5671}"},
    {"ports", "{'west/inter-router': 55671, 'west/edge': 45671}"},
    {"certificates", "{'skupper-local-server': {'ordinal': 1}, 'tls': {'ordinal': 4}, 'in': "
                     "{'ordinal': 1}, 'west': {'ordinal': 7}, 's-profile': {'ordinal': 1}}"},
    {"certificates", "{'tls': {'error': 'disk full'}}"},
    {"network", "{'siteStatus': [{'site': {'identity': 'x'}, 'routerStatus': [{'connectors': "
                "[{'address': 'a', 'destHost': 'h'}]}]}]}"},
    {"network", "{}"},
    {"entities", "{'tcpListener/listener/a': {'operStatus': 'down', 'connectionMsg': 'in use'}}"},
    {"entities", "{'connector/east': {'connectionStatus': 'SUCCESS'}}"},
    {"shared", "[{'origin': 'o', 'version': '1.9', 'since': 2, 'services': [{'address': 'db', "
               "'protocol': 'tcp', 'ports': [80, 5432]}]}, {'origin': 'p', 'since': 1, 'services': "
               "[{'address': 'db', 'protocol': 'tcp', 'ports': [80]}]}]"},
    {"shared", "[]"},
    {"hosts", "['box']"},
    {"hosts", "[]"},
};
enum {
    RESOURCES = sizeof(resources) / sizeof(resources[0]) / 2,
    FACTS = sizeof(facts) / sizeof(facts[0]) / 2,
    EVENTS = RESOURCES + FACTS
};

static json_t *resource_of(size_t which, unsigned form)
{
    const char *const *row = resources[2 * which + form];
    struct str name = str_of(strchr(row[0], ' ') + 1);
    struct str kind = {row[0], (size_t)(strchr(row[0], ' ') - row[0])};
    char *text;
    json_t *v;

    if (str_is(kind, "Secret"))
        text = str_fmt("{'apiVersion': 'v1', 'kind': 'Secret', 'metadata': {'name': '%.*s'}, "
                       "'stringData': {'ca.crt': 'a', 'tls.crt': 'b'%s}}",
                       STR_ARG(name), row[1] ? ", 'tls.key': 'c'" : "");
    else
        text = str_fmt("{'apiVersion': 'skupper.io/v2alpha1', 'kind': '%.*s', 'metadata': {'name': "
                       "'%.*s', 'annotations': {'skupper.io/proxy': 'tcp'}}, 'spec': %s}",
                       STR_ARG(kind), STR_ARG(name), row[1]);
    v = json_of(text);
    free(text);
    return v;
}

// One happening: a form of something is there from now on (0, 1), or nothing of it is (2).
struct event {
    size_t what;
    unsigned form;
};

// A router that follows, and what was said last.
struct follower {
    json_t *live;
    json_t *slots[RESOURCES];
    struct desk desk;
};

static void fill_desk(struct follower *f, struct rng *r)
{
    size_t order[RESOURCES];

    f->desk.count = 0;
    for (size_t i = 0; i < RESOURCES; i++)
        order[i] = i;
    for (size_t i = RESOURCES; i > 1; i--) {
        size_t k = rng_below(r, (uint32_t)i), swap = order[k];

        order[k] = order[i - 1];
        order[i - 1] = swap;
    }
    for (size_t i = 0; i < RESOURCES; i++) {
        if (!f->slots[order[i]])
            continue;
        f->desk.values[f->desk.count] = json_incref(f->slots[order[i]]);
        f->desk.inputs[f->desk.count] = (struct site_input){f->slots[order[i]], NULL};
        f->desk.count++;
    }
}

static void empty_desk(struct follower *f)
{
    for (size_t i = 0; i < f->desk.count; i++)
        json_decref(f->desk.values[i]);
    f->desk.count = 0;
}

static void happen(struct follower *f, struct event e)
{
    size_t fact = e.what - RESOURCES;

    if (e.what < RESOURCES) {
        json_decref(f->slots[e.what]);
        f->slots[e.what] = e.form < 2 ? resource_of(e.what, e.form) : NULL;
    } else if (e.form < 2) {
        desk_know(&f->desk, facts[2 * fact][0], facts[2 * fact + e.form][1]);
    } else {
        json_object_del(f->desk.known, facts[2 * fact][0]);
    }
}

// The model again, and its difference into the router.
static void follow(struct follower *f, struct rng *r)
{
    bool restart;
    json_t *ops, *next;

    fill_desk(f, r);
    desk_derive(&f->desk);
    json_object_set(f->desk.known, "previous", f->desk.wanted.resources);
    ops = site_config_difference(f->live, f->desk.wanted.router, &restart);
    next = applied_to(f->live, ops);
    json_decref(ops);
    json_decref(f->live);
    f->live = next;
    ops = site_config_difference(f->live, f->desk.wanted.router, &restart);
    CHECK_EQ(json_array_size(ops), 0);
    json_decref(ops);
    empty_desk(f);
}

// All that was said, as one text; the caller frees it.
static char *all_of(const struct site_wanted *w)
{
    json_t *all = json_pack("[O, O, O, O, O, O, O, O, O, O]", w->resources, w->problems, w->router,
                            w->certificates, w->ports, w->endpoints, w->static_links, w->announce,
                            w->services, w->management);
    char *text = json_text(all);

    json_decref(all);
    return text;
}

static char *story(const struct event *final, struct rng *r)
{
    struct follower f = {.live = json_array()};
    size_t order[EVENTS];
    char *end;

    desk_init(&f.desk);
    for (size_t i = 0; i < EVENTS; i++)
        order[i] = i;
    for (size_t i = 0; i < EVENTS; i++) {
        size_t k = i + rng_below(r, (uint32_t)(EVENTS - i)), swap = order[k];

        order[k] = order[i];
        order[i] = swap;
        // Something that will not last, then what will.
        happen(&f, (struct event){rng_below(r, EVENTS), rng_below(r, 3)});
        if (rng_below(r, 2))
            follow(&f, r);
        happen(&f, final[order[i]]);
        follow(&f, r);
    }
    // What did not last may have hit something that was done with.
    for (size_t i = 0; i < EVENTS; i++)
        happen(&f, final[i]);
    follow(&f, r);
    end = all_of(&f.desk.wanted);
    for (size_t i = 0; i < RESOURCES; i++)
        json_decref(f.slots[i]);
    desk_fini(&f.desk);
    json_decref(f.live);
    return end;
}

TEST(every_order_of_events_ends_in_the_same_place)
{
    struct rng r;

    rng_init(&r, 7);
    for (int round = 0; round < 20; round++) {
        struct event final[EVENTS];
        char *first = NULL;

        for (size_t i = 0; i < EVENTS; i++)
            final[i] = (struct event){i, rng_below(&r, 3)};
        for (int telling = 0; telling < 4; telling++) {
            char *end = story(final, &r);

            if (first && strcmp(first, end) != 0)
                fail_msg("round %d:\n%s\n%s", round, first, end);
            if (!first)
                first = xstrdup(end);
            free(end);
        }
        free(first);
    }
}

TEST_MAIN(CASE(every_order_of_events_ends_in_the_same_place))
