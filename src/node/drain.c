// SPDX-License-Identifier: Apache-2.0
#include "base/mem.h"
#include "node/service.h"

// When clients may be sent to this router, and how it ends where others count on that, as in a pod
// behind a Service.
//
// Ready it is once its connectors to other routers have joined them, for before that it knows no
// consumer elsewhere and would refuse who comes. Not for ever, though: the peer of a connector that
// fails again and again is not there, and after a while nobody is waited for any more. A router
// without connectors is ready at once. Links that are lost later change nothing: taking away the
// router would take away what it serves by itself.
//
// Told to end, it is not ready any more, but goes on as before until those who send it clients have
// heard of that. Then it leaves: nobody new is accepted. What is under way comes to its end, and so
// does the router, when it has been quiet twice in a row, or when its time is up. Links to other
// routers stay up, as what is under way goes over them.

enum {
    READY_MAX_MS = 5000,
    FAILURES_MAX = 3,
    LOOK_MS = 100, // also the time in which what was sent last reaches the other end
};

// The connector that has yet to bring a link up; NULL when there is none.
static const struct part *awaited(const struct node *n)
{
    list_for_each (node, &n->connectors) {
        const struct part *p = list_entry(node, struct part, on_node);
        enum router_role role = node_role(p->entity);

        if ((role == ROUTER_ROLE_INTER_ROUTER || role == ROUTER_ROLE_EDGE) &&
            p->failed_count < FAILURES_MAX && !router_is_joined(n->router, p->name))
            return p;
    }
    return NULL;
}

bool node_is_ready(struct node *n, char **words)
{
    struct mono now = net_loop_now(n->loop);
    const struct part *p = NULL;

    if (n->drain.is_on) {
        *words = xstrdup("it is ending\n");
        return false;
    }
    if (!n->is_ready && mono_before(now, mono_add_ms(n->started_at, READY_MAX_MS)))
        p = awaited(n);
    if (p) {
        *words = str_fmt("connector %s has not joined the network yet%s%s\n", p->name,
                         p->status[0] ? ": " : "", p->status);
        return false;
    }
    if (!n->is_ready)
        log_write(LOG_SERVER, LOG_INFO, "ready after_ms=%lld",
                  (long long)mono_ms_between(n->started_at, now));
    n->is_ready = true;
    return true;
}

static bool is_quiet(const struct node *n)
{
    struct router_stats s;

    router_stats(n->router, &s);
    return tcp_count(n->tcp) == 0 && s.deliveries == 0;
}

static void leave(struct node *n)
{
    log_write(LOG_SERVER, LOG_INFO, "nobody new is accepted connections=%zu", tcp_count(n->tcp));
    services_leave(n);
    node_refuse_routers(n);
    router_end_soon(n->router, net_loop_now(n->loop));
}

static void look(void *user, struct mono now)
{
    struct node *n = user;
    struct drain *d = &n->drain;
    bool was_quiet = d->was_quiet, is_over = !mono_before(now, d->until);

    if (!d->is_leaving)
        leave(n);
    d->was_quiet = is_quiet(n);
    if ((was_quiet && d->was_quiet) || is_over) {
        log_write(LOG_SERVER, LOG_INFO, "ends connections=%zu%s", tcp_count(n->tcp),
                  d->was_quiet ? "" : ": its time is up");
        net_loop_stop(n->loop);
        return;
    }
    net_timer_set(n->loop, &d->timer, mono_add_ms(now, LOOK_MS));
}

void drain_begin(struct node *n, struct mono now)
{
    struct drain *d = &n->drain;
    uint32_t accept_ms = d->accept_ms < d->all_ms ? d->accept_ms : d->all_ms;

    log_write(LOG_SERVER, LOG_INFO, "ending accept_ms=%u all_ms=%u connections=%zu", accept_ms,
              d->all_ms, tcp_count(n->tcp));
    d->is_on = true;
    d->until = mono_add_ms(now, d->all_ms);
    d->timer = (struct net_timer){.fire = look, .user = n};
    net_timer_set(n->loop, &d->timer, mono_add_ms(now, accept_ms));
}
