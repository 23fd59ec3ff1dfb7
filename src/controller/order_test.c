// SPDX-License-Identifier: Apache-2.0
// The same in any order, and a lot of it.
#include <time.h>

#include "controller/rig_test.h"

static void put_site(struct cluster *c, const char *spec)
{
    cluster_init(c);
    cluster_put(c, "Site", "west", spec);
}

static char *canonical(const struct cluster *c)
{
    json_t *all = json_deep_copy(c->objects), *v;
    const char *key;
    char *text;

    json_object_foreach(all, key, v)
    {
        if (strncmp(key, "Secret/", 7) == 0) // made by chance
            json_object_del(v, "data");
        json_object_del(metadata_of(v), "resourceVersion");
        json_object_del(metadata_of(v), "generation");
        if (strncmp(key, "Secret/", 7) == 0)
            json_object_del(metadata_of(v), "annotations");
    }
    text = json_dumps(all, JSON_SORT_KEYS | JSON_INDENT(1));
    json_decref(all);
    return text;
}

static void happen(struct cluster *c, int which)
{
    switch (which) {
    case 0:
        cluster_put(c, "Site", "west", "{'linkAccess': 'local', 'ha': true}");
        break;
    case 1:
        cluster_put(c, "Listener", "db", "{'routingKey': 'db', 'host': 'db', 'port': 5432}");
        break;
    case 2:
        cluster_put(c, "Connector", "web",
                    "{'routingKey': 'web', 'selector': 'app=web', 'port': 80}");
        break;
    case 3:
        cluster_pod(c, "web-1", "web", "10.0.0.1", true);
        break;
    case 4:
        cluster_put(c, "RouterAccess", "mine",
                    "{'roles': [{'name': 'normal', 'port': 5673}], 'tlsCredentials': 'mine',"
                    " 'generateTlsCredentials': true, 'accessType': 'local'}");
        break;
    case 5:
        cluster_put(c, "Certificate", "own",
                    "{'ca': 'skupper-site-ca', 'subject': 'own', 'hosts': ['h']}");
        break;
    default:
        cluster_put(c, "Link", "east",
                    "{'tlsCredentials': 'none', 'endpoints': [{'name': 'inter-router', 'host': 'h',"
                    " 'port': '1'}]}");
    }
}
enum { HAPPENINGS = 7 };

TEST(every_order_of_events_ends_in_the_same_place)
{
    struct rng rng;
    char *first = NULL;

    rng_init(&rng, 7);
    for (int round = 0; round < 12; round++) {
        int at[HAPPENINGS];
        struct cluster c;
        char *text;

        cluster_init(&c);
        c.shuffle = (uint64_t)round;
        for (int i = 0; i < HAPPENINGS; i++)
            at[i] = i;
        for (int i = HAPPENINGS; i-- > 1;) {
            int k = (int)rng_below(&rng, (uint32_t)i + 1), tmp = at[i];

            at[i] = at[k];
            at[k] = tmp;
        }
        for (int i = 0; i < HAPPENINGS; i++) {
            happen(&c, at[i]);
            for (uint32_t n = rng_below(&rng, 3); n > 0; n--)
                cluster_turn(&c);
        }
        cluster_settle(&c);
        text = canonical(&c);
        if (first)
            CHECK_STR(str_of(text), first);
        else
            first = xstrdup(text);
        free(text);
        cluster_fini(&c);
    }
    free(first);
}

TEST(a_plan_does_not_depend_on_the_order_of_its_facts)
{
    struct cluster c;
    char *first;

    put_site(&c, "{'linkAccess': 'local'}");
    for (int i = 0; i < 20; i++) {
        char *name = str_fmt("l%d", i);

        cluster_put(&c, "Listener", name, "{'routingKey': 'a', 'host': 'same', 'port': 80}");
        free(name);
    }
    cluster_plan(&c);
    first = json_dumps(c.plan.operations, JSON_SORT_KEYS);
    for (c.shuffle = 1; c.shuffle < 20; c.shuffle++) {
        char *other;

        cluster_plan(&c);
        other = json_dumps(c.plan.operations, JSON_SORT_KEYS);
        CHECK_STR(str_of(other), first);
        free(other);
    }
    free(first);
    cluster_fini(&c);
}

TEST(five_hundred_of_each_settle_with_one_write_each)
{
    struct cluster c;
    struct timespec a, b;

    put_site(&c, "{'linkAccess': 'local'}");
    for (int i = 0; i < 500; i++) {
        char *name = str_fmt("s%d", i);
        char *listener = str_fmt("{'routingKey': '%s', 'host': '%s', 'port': 80}", name, name);
        char *connector =
            str_fmt("{'routingKey': '%s', 'selector': 'app=%s', 'port': 80}", name, name);
        char *ip = str_fmt("10.0.%d.%d", i / 250, i % 250);

        cluster_put(&c, "Listener", name, listener);
        cluster_put(&c, "Connector", name, connector);
        cluster_pod(&c, name, name, ip, true);
        free(ip);
        free(connector);
        free(listener);
        free(name);
    }
    cluster_settle(&c);
    for (int i = 0; i < 500; i++) {
        char *service = str_fmt("Service/s%d", i), *l = str_fmt("status Listener/s%d", i);
        char *connector = str_fmt("status Connector/s%d", i);

        CHECK_EQ_FOR(service, writes_of(&c, service), 1);
        CHECK_EQ_FOR(l, writes_of(&c, l), 1);
        CHECK_EQ_FOR(connector, writes_of(&c, connector), 1);
        free(service);
        free(l);
        free(connector);
    }
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
    CHECK_EQ(cluster_turn(&c), 0);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
    printf("# a plan for 500 Listeners, 500 Connectors, 500 pods: %.1f ms of CPU\n",
           (double)(b.tv_sec - a.tv_sec) * 1e3 + (double)(b.tv_nsec - a.tv_nsec) / 1e6);
    cluster_fini(&c);
}

TEST_MAIN(CASE(every_order_of_events_ends_in_the_same_place),
          CASE(a_plan_does_not_depend_on_the_order_of_its_facts),
          CASE(five_hundred_of_each_settle_with_one_write_each))
