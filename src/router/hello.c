// SPDX-License-Identifier: Apache-2.0
// HELLO: who is at the other end of a control link, and does it hear us? (10.6)
//
// A HELLO goes out when a link comes up, at once again when there is news for the peer (we hear it
// now; it does not list us yet), and each interval. `seen` names the peer heard on that very link:
// nobody looks for more than its own id in it.
#include "router/routing_int.h"

enum { HELLO_GAP_MS = 50 }; // between HELLOs to a peer that does not list us

static uint32_t max_age(const struct routing *rt, const struct rlink *l)
{
    return l->is_ours ? rt->opts.fast_hello_max_age_ms : rt->opts.hello_max_age_ms;
}

static void send_hello(struct routing *rt, uint32_t link, struct mono now)
{
    struct rlink *l = rt->links + link;
    const struct node *self = rt->nodes[ROUTING_SELF];
    struct ctl_path path = rt_path(rt, ROUTING_SELF, NULL);
    size_t at = rt_out_begin(rt);
    uint32_t count, interval;
    struct amqp_mark body, seen;

    body = ctl_begin(&rt->out, &path, "HELLO", STR("amqp:/_local/qdhello"), node_id(self), &count);
    ctl_put_key_int(&rt->out, "instance", self->instance, &count);
    amqp_put_string(&rt->out, STR("seen"));
    seen = amqp_begin_list(&rt->out, true);
    if (l->is_heard)
        amqp_put_string(&rt->out, node_id(rt->nodes[l->peer]));
    amqp_end(&rt->out, seen, l->is_heard);
    count += 2;
    if (l->is_ours)
        ctl_put_key_int(&rt->out, "sum", (int64_t)flood_sum(rt), &count);
    if (l->is_ours && rt->is_ending)
        ctl_put_key_int(&rt->out, "ends", 1, &count);
    amqp_end(&rt->out, body, count);
    rt_out_send(rt, link, at);

    interval = l->is_ours ? rt->opts.fast_hello_interval_ms : rt->opts.hello_interval_ms;
    l->hello_sent_at = now;
    l->hello_at = mono_add_ms(now, interval - rng_below(&rt->rng, interval / 8 + 1));
}

void hello_end_soon(struct routing *rt, struct mono now)
{
    rt->is_ending = true;
    for (uint32_t i = 0; i < rt->link_count; i++)
        if (rt->links[i].is_up)
            rt->links[i].hello_at = now;
    rt_wake_link(rt, now);
}

// Of several links to one neighbour the cheapest carries its traffic, of equals the youngest: so a
// newer generation of certificates takes over (docs/protocol.md).
static bool is_better(const struct rlink *a, const struct rlink *b)
{
    return a->cost != b->cost ? a->cost < b->cost : a->order > b->order;
}

static void choose_link(struct routing *rt, uint32_t number)
{
    struct node *n = rt->nodes[number];

    n->link = ROUTING_NO_LINK;
    for (uint32_t i = 0; i < rt->link_count; i++) {
        const struct rlink *l = rt->links + i;

        if (l->is_adjacent && l->peer == number &&
            (n->link == ROUTING_NO_LINK || is_better(l, rt->links + n->link)))
            n->link = i;
    }
}

static void become_adjacent(struct routing *rt, uint32_t link, struct mono now)
{
    struct rlink *l = rt->links + link;
    struct node *n = rt->nodes[l->peer];

    l->is_adjacent = true;
    choose_link(rt, l->peer);
    rt_event(rt, ROUTING_EV_NEIGHBOUR_UP, l->peer, link);
    ls_own_changed(rt, now);
    if (l->is_ours) {
        rt->flood_count++;
        n->is_from_ours = true;
        flood_link_up(rt, link, now);
        return;
    }
    rt->plain_count++;
    n->need_lsr = true;
    n->lsr_at = now;
    rt_wake_node(rt, now);
    ls_introduce(rt, link, now);
}

void hello_lose(struct routing *rt, uint32_t link, struct mono now)
{
    struct rlink *l = rt->links + link;

    l->is_heard = false;
    flood_link_down(l);
    if (!l->is_adjacent)
        return;
    l->is_adjacent = false;
    *(l->is_ours ? &rt->flood_count : &rt->plain_count) -= 1;
    choose_link(rt, l->peer);
    rt_event(rt, ROUTING_EV_NEIGHBOUR_DOWN, l->peer, link);
    ls_own_changed(rt, now);
}

static bool lists_us(const struct routing *rt, const struct ctl *m)
{
    struct amqp_reader r = reader_over(m->seen.bytes);
    struct str self = node_id(rt->nodes[ROUTING_SELF]);
    struct amqp_item it;

    for (uint32_t i = 0; i < m->seen.count && amqp_read(&r, &it) == 0; i++)
        if ((it.type == AMQP_STRING || it.type == AMQP_SYMBOL) && str_eq(it.bytes, self))
            return true;
    return false;
}

void hello_receive(struct routing *rt, uint32_t link, const struct ctl *m, struct mono now)
{
    struct rlink *l = rt->links + link;
    uint32_t number;
    struct node *n = rt_learn(rt, m->id, &number, now);
    bool is_listed = lists_us(rt, m);

    if (n == NULL)
        return;
    if (l->peer != number || (n->has_instance && n->instance != m->instance)) {
        // A neighbour that restarted knows less than we remember of it; until it lists us again
        // nothing may pass through it.
        if (l->peer != ROUTING_NO_NODE)
            hello_lose(rt, link, now);
        l->peer = number;
    }
    rt_hear_instance(rt, number, m->instance, now);
    if (!l->is_heard)
        l->hello_at = now;
    else if (!is_listed)
        l->hello_at = mono_min(l->hello_at, mono_add_ms(l->hello_sent_at, HELLO_GAP_MS));
    l->is_heard = true;
    l->heard_at = now;
    l->is_listed = is_listed;
    if (is_listed) {
        l->listed_at = now;
        if (!l->is_adjacent)
            become_adjacent(rt, link, now);
    }
    if (l->is_ours && l->is_adjacent && m->ends != 0 && !l->is_ending) {
        l->is_ending = true;
        rt_event(rt, ROUTING_EV_NEIGHBOUR_ENDS, number, link);
    }
    if (l->is_ours && l->is_adjacent && m->has_sum)
        flood_compare(rt, link, m->sum, now);
    rt_wake_link(rt, hello_deadline(rt, l));
}

// Only the time gives a peer up, never what another one has sent: where this router stood still for
// a while, the peer's HELLO waits to be read.
void hello_give_up(struct routing *rt, struct mono now)
{
    for (uint32_t i = 0; i < rt->link_count; i++) {
        struct rlink *l = rt->links + i;

        if (l->is_adjacent && !mono_before(now, mono_add_ms(l->listed_at, max_age(rt, l))))
            hello_lose(rt, i, now);
        if (l->is_heard && !mono_before(now, mono_add_ms(l->heard_at, max_age(rt, l))))
            l->is_heard = false;
    }
}

void hello_tick(struct routing *rt, struct mono now)
{
    for (uint32_t i = 0; i < rt->link_count; i++)
        if (rt->links[i].is_up && !mono_before(now, rt->links[i].hello_at))
            send_hello(rt, i, now);
}

struct mono hello_deadline(const struct routing *rt, const struct rlink *l)
{
    struct mono at = l->hello_at;

    if (l->is_heard)
        at = mono_min(at, mono_add_ms(l->heard_at, max_age(rt, l)));
    if (l->is_adjacent)
        at = mono_min(at, mono_add_ms(l->listed_at, max_age(rt, l)));
    return at;
}

bool routing_is_adjacent(const struct routing *rt, uint32_t link)
{
    return link < rt->link_count && rt->links[link].is_adjacent;
}
