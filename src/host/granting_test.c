// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>

#include "base/mem.h"
#include "check.h"
#include "host/inside.h"
#include "net/net.h"

enum { NOW = 1800000000 };

// A namespace with one grant.
struct rig {
    char top[64];
    struct host_paths paths;
    struct memory memory;
    struct net_loop *loop;
    struct granting *granting;
    json_t *endpoints;
    struct site_input grant;
};

static bool set(struct rig *r)
{
    struct granting_place place = {.endpoints = r->endpoints, .issuer = "skupper-site-ca"};

    return granting_set(r->granting, &r->grant, 1, &place, NOW);
}

static void set_again(void *user)
{
    struct rig *r = user;

    CHECK(set(r));
    net_loop_stop(r->loop);
}

static void rig_init(struct rig *r)
{
    *r = (struct rig){.top = "/tmp/skupper-granting-XXXXXX"};
    CHECK(mkdtemp(r->top));
    r->paths = (struct host_paths){.ns = r->top, .root = r->top};
    r->endpoints = json_pack("[{s:s, s:s, s:s}]", "name", "inter-router", "host", "127.0.0.1",
                             "port", "55671");
    r->grant.value =
        json_pack("{s:s, s:{s:s}, s:{}}", "kind", "AccessGrant", "metadata", "name", "g", "spec");
    CHECK_EQ(memory_open(&r->memory, &r->paths, NULL), 0);
    CHECK_EQ(net_loop_new(&(struct net_hooks){.user = r}, 4096, &r->loop), 0);
    CHECK_EQ(granting_new(r->loop, &r->paths, &r->memory, set_again, r, &r->granting, NULL), 0);
}

static void rig_fini(struct rig *r)
{
    granting_free(r->granting);
    net_loop_free(r->loop);
    memory_close(&r->memory);
    json_decref(r->endpoints);
    json_decref((json_t *)(uintptr_t)r->grant.value);
    CHECK_EQ(host_remove(r->top, NULL), 0);
}

static void make_certificate(struct rig *r)
{
    json_t *hosts = json_array(), *wishes = json_array();
    int64_t renew_at;

    granting_wishes(r->granting, &r->grant, 1, hosts, wishes);
    json_decref(certs_ensure(&r->memory, &r->paths, wishes, NULL, 0, NOW, &renew_at));
    json_decref(wishes);
    json_decref(hosts);
}

TEST(what_keeps_grants_from_being_served_is_told_and_tried_again)
{
    struct rig r;
    json_t *facts;

    rig_init(&r);
    CHECK(set(&r)); // there is no certificate
    facts = granting_facts(r.granting);
    CHECK_STR(str_of(site_text(facts, "g.url")), "");
    CHECK(strstr(site_text(facts, "g.trouble"), "the server for redemptions") != NULL);
    json_decref(facts);
    make_certificate(&r);
    net_loop_run(r.loop); // until it is tried again
    facts = granting_facts(r.granting);
    CHECK(strncmp(site_text(facts, "g.url"), "https://127.0.0.1:", 18) == 0);
    CHECK_STR(str_of(site_text(facts, "g.trouble")), "");
    json_decref(facts);
    CHECK(!set(&r)); // and then no more
    rig_fini(&r);
}

TEST_MAIN(CASE(what_keeps_grants_from_being_served_is_told_and_tried_again))
