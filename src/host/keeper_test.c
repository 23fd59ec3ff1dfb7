// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>

#include "base/mem.h"
#include "host/inside.h"
#include "host/top_test.h"
#include "net/net.h"

// A keeper whose router ends at once: a script that is found by the search path.
struct rig {
    struct host_paths paths;
    struct net_loop *loop;
    struct keeper *keeper;
    struct net_timer patience;
    int ends;
    bool hurries, is_late;
};

static void ended(void *user)
{
    struct rig *r = user;

    r->ends++;
    if (r->hurries)
        keeper_hurry(r->keeper);
}

static void late(void *user, struct mono now)
{
    (void)now;
    ((struct rig *)user)->is_late = true;
}

static void put_router(void)
{
    char *script = str_fmt("%s/skrouterd", top), *path = str_fmt("%s:%s", top, getenv("PATH"));

    CHECK_EQ(host_write(script, STR("#!/bin/sh\nexit 1\n"), 0755, NULL), 0);
    CHECK_EQ(setenv("PATH", path, 1), 0);
    free(script);
    free(path);
}

static void begin(struct rig *r)
{
    char *pids;

    *r = (struct rig){.paths = {.ns = top, .root = top}};
    pids = host_path(&r->paths, "internal/pids");
    CHECK_EQ(host_make_directory(pids, NULL), 0);
    free(pids);
    put_router();
    CHECK_EQ(net_loop_new(&(struct net_hooks){0}, 65536, &r->loop), 0);
    r->patience = (struct net_timer){.fire = late, .user = r};
    r->keeper = keeper_new(r->loop, &r->paths, ended, r);
}

static void end(struct rig *r)
{
    keeper_stop(r->keeper);
    keeper_free(r->keeper);
    net_timer_cancel(r->loop, &r->patience);
    net_loop_free(r->loop);
}

// 50, 100, … 3200 and then 5000 ms: without hurry the twelfth end is after some 26 s.
TEST(in_a_hurry_the_router_is_started_again_before_others_take_its_ports)
{
    struct rig r;

    begin(&r);
    r.hurries = true;
    net_timer_set(r.loop, &r.patience, mono_add_ms(mono_now(), 20000));
    keeper_run(r.keeper, "an-id");
    while (r.ends < 12 && !r.is_late)
        net_loop_turn(r.loop, mono_add_ms(mono_now(), 100));
    CHECK_EQ(r.ends, 12);
    end(&r);
}

TOP_TEST_MAIN(CASE(in_a_hurry_the_router_is_started_again_before_others_take_its_ports))
