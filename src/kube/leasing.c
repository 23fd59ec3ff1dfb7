// SPDX-License-Identifier: Apache-2.0
// A lease on the wire.
#include <stdlib.h>
#include <time.h>

#include "base/mem.h"
#include "kube/call.h"
#include "kube/inside.h"

enum { TRY_MS = 5000 };

struct kube_lease {
    struct list on_kube;
    struct kube *k;
    struct lease lease;
    char *ns, *name, *identity;
    uint64_t number; // of the request that is not answered
    struct wake due;
    void *user;
};

static void act(void *user, struct mono now);

static void done(void *user, struct kube_answer *a, struct mono now)
{
    struct kube_lease *l = user;

    lease_answered(&l->lease, a, now, &l->k->rng);
    act(l, now);
}

static int64_t epoch_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void act(void *user, struct mono now)
{
    static const enum kube_verb verbs[] = {
        [LEASE_GET] = KUBE_GET, [LEASE_CREATE] = KUBE_CREATE, [LEASE_UPDATE] = KUBE_UPDATE};
    struct kube_lease *l = user;
    json_t *body = NULL;
    enum lease_wish wish = lease_tick(&l->lease, now, epoch_us(), &body);
    struct kube_request r = {.kind = kube_kind("coordination.k8s.io/v1", "Lease"),
                             .ns = l->ns,
                             .name = l->name,
                             .body = body,
                             .timeout_ms = TRY_MS,
                             .user = l};

    if (wish != LEASE_NOTHING) {
        r.verb = verbs[wish];
        l->number = call_send(l->k, &r, done);
    }
    json_decref(body);
    wake_set(l->k, &l->due, lease_deadline(&l->lease));
    kube_arm(l->k);
}

struct kube_lease *kube_lease_new(struct kube *k, const struct kube_lease_opts *opts)
{
    struct kube_lease *l = xcalloc(1, sizeof(*l));

    l->k = k;
    l->ns = xstrdup(opts->ns);
    l->name = xstrdup(opts->name);
    l->identity = xstrdup(opts->identity);
    l->user = opts->user;
    lease_init(&l->lease, l->ns, l->name, l->identity, mono_now());
    l->due = (struct wake){.fire = act, .user = l};
    list_append(&k->leases, &l->on_kube);
    act(l, mono_now());
    return l;
}

void kube_lease_own(struct kube_lease *l, const json_t *owner)
{
    lease_own(&l->lease, owner);
}

void kube_lease_free(struct kube_lease *l)
{
    if (!l)
        return;
    kube_forget(l->k, l->number);
    wake_set(l->k, &l->due, MONO_NEVER);
    list_remove(&l->on_kube);
    lease_fini(&l->lease);
    free(l->ns);
    free(l->name);
    free(l->identity);
    free(l);
}

void leases_free(struct kube *k)
{
    struct list *node;

    while ((node = list_pop(&k->leases)) != NULL)
        kube_lease_free(list_entry(node, struct kube_lease, on_kube));
}

bool kube_lease_is_held(const struct kube_lease *l)
{
    return l->lease.is_held;
}

void kube_lease_release(struct kube_lease *l)
{
    lease_release(&l->lease, mono_now());
    act(l, mono_now());
}

bool kube_lease_is_released(const struct kube_lease *l)
{
    return l->lease.is_released;
}

bool leases_are_pending(const struct kube *k)
{
    list_for_each (node, &k->leases)
        if (list_entry(node, struct kube_lease, on_kube)->lease.tell)
            return true;
    return false;
}

bool lease_next(struct kube *k, struct kube_event *ev)
{
    list_for_each (node, &k->leases) {
        struct kube_lease *l = list_entry(node, struct kube_lease, on_kube);

        if (!l->lease.tell)
            continue;
        l->lease.tell = false;
        *ev =
            (struct kube_event){.type = l->lease.is_held ? KUBE_EV_LEASE_HELD : KUBE_EV_LEASE_LOST,
                                .lease = l,
                                .user = l->user};
        return true;
    }
    return false;
}
