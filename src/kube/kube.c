// SPDX-License-Identifier: Apache-2.0
// The client. Where to read:
//
//   kube.h         the door
//   config.c       kubeconfig files to one configuration (pure); load.c reads the files
//   credential.c   who we are; plugin.c runs programs that say it
//   kinds.c        kinds, paths, queries (pure)
//   call.c         a request with its tries; retry.c when it is tried again, status.c what an
//                  answer means (both pure)
//   watch.c        a watch; informer.c its life and its cache, pager.c lists, cut.c lists and
//                  watches cut into objects, keep.c which fields stay (all pure)
//   leasing.c      a lease; lease.c its rules (pure)
//   exchange.c     one request on the wire; transport.c libcurl in our loop
//   forward.c      a port of a pod as a socket; websocket.c the stream to it (pure)
//
// The client owns everything: calls, watches and leases ask for exchanges, and an exchange tells
// its owner of its end once, from exchanges_tell(), never from within libcurl or from within the
// call that made it. What has happened waits in the object it happened to; kube_next() looks
// through them. All time is kept by one heap of wakes, whose earliest is the loop's only timer.
#include <assert.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "kube/call.h"
#include "kube/inside.h"
#include "net/net.h"

void wake_set(struct kube *k, struct wake *w, struct mono at)
{
    heap_set(&k->wakes, &w->timer, at);
}

static bool has_events(const struct kube *k)
{
    if (!list_empty(&k->answered) || leases_are_pending(k))
        return true;
    return watches_are_pending(k);
}

// What has happened inside and is to be told inside.
static bool is_unfinished(const struct kube *k)
{
    return !list_empty(&k->over) || !list_empty(&k->for_us);
}

static void turn(struct kube *k, struct mono now)
{
    struct timer *t;

    transport_turn(k, now);
    do {
        exchanges_tell(k, now);
        while ((t = heap_pop_due(&k->wakes, now)) != NULL) {
            struct wake *w = (struct wake *)(void *)t;

            w->fire(w->user, now);
        }
        calls_tell(k, now);
        calls_go(k);
    } while (is_unfinished(k));
    kube_arm(k);
}

static void readable(void *user, struct mono now)
{
    turn(user, now);
}

static void timer_fired(void *user, struct mono now)
{
    turn(user, now);
}

static struct mono deadline(const struct kube *k)
{
    return is_unfinished(k) ? mono_now() : heap_deadline(&k->wakes);
}

void kube_arm(struct kube *k)
{
    struct mono at = deadline(k);

    if (!k->loop)
        return;
    if (at.ns == MONO_NEVER.ns)
        net_timer_cancel(k->loop, k->timer);
    else
        net_timer_set(k->loop, k->timer, at);
    if (has_events(k))
        net_loop_again(k->loop);
}

// ---------------------------------------------------------------------------------------- waiting

void kube_wait(struct kube *k, struct mono until)
{
    struct pollfd p = {.fd = k->epoll, .events = POLLIN};

    assert(!k->loop);
    turn(k, mono_now());
    while (!has_events(k)) {
        struct mono now = mono_now(), at = mono_min(until, deadline(k));
        int64_t ms = at.ns == MONO_NEVER.ns ? 1000 : mono_ms_between(now, at) + 1;

        if (!mono_before(now, until))
            return;
        poll(&p, 1, ms < 0 ? 0 : ms > 60000 ? 60000 : (int)ms);
        turn(k, mono_now());
    }
}

int kube_call(struct kube *k, const struct kube_request *r, struct kube_answer *out)
{
    uint64_t number = kube_send(k, r);

    assert(!k->loop);
    while (!call_take_answer(k, number, out)) {
        struct pollfd p = {.fd = k->epoll, .events = POLLIN};
        int64_t ms = mono_ms_between(mono_now(), deadline(k)) + 1;

        poll(&p, 1, ms < 0 ? 0 : ms > 1000 ? 1000 : (int)ms);
        turn(k, mono_now());
    }
    return kube_result_err(out->result);
}

// ------------------------------------------------------------------------------------ the client

static int join_loop(struct kube *k, struct why *why)
{
    if (!k->loop)
        return 0;
    k->timer = xcalloc(1, sizeof(*k->timer));
    k->timer->fire = timer_fired;
    k->timer->user = k;
    k->watch = net_watch_new(k->loop, k->epoll, readable, k);
    if (k->watch)
        return 0;
    why_set(why, "no descriptor is left; the limits of this process are too low");
    return ERR_IO;
}

int kube_new(struct kube_config *take, const struct kube_opts *opts, struct kube **out,
             struct why *why)
{
    struct kube *k = xcalloc(1, sizeof(*k));
    int err;

    k->config = take;
    k->manager = xstrdup(opts->manager);
    k->loop = opts->loop;
    k->epoll = -1;
    rng_init(&k->rng, rng_system_seed());
    heap_init(&k->wakes);
    list_init(&k->exchanges);
    list_init(&k->over);
    list_init(&k->queued);
    list_init(&k->flying);
    list_init(&k->answered);
    list_init(&k->for_us);
    list_init(&k->watches);
    list_init(&k->leases);
    err = transport_init(k, why);
    if (!err)
        err = join_loop(k, why);
    if (err < 0)
        kube_free(k);
    else
        *out = k;
    return err;
}

void kube_free(struct kube *k)
{
    if (!k)
        return;
    leases_free(k);
    watches_free(k);
    calls_free(k);
    plugin_cancel(k->plugin);
    transport_fini(k);
    if (k->loop && k->timer)
        net_timer_cancel(k->loop, k->timer);
    net_watch_free(k->watch);
    free(k->timer);
    if (k->epoll >= 0)
        close(k->epoll);
    heap_fini(&k->wakes);
    credential_fini(&k->credential);
    kube_config_free(k->config);
    free(k->manager);
    free(k);
}

const struct kube_config *kube_config_of(const struct kube *k)
{
    return k->config;
}

bool kube_next(struct kube *k, struct kube_event *ev)
{
    calls_take_back(k);
    return call_next(k, ev) || lease_next(k, ev) || watch_next(k, ev);
}
