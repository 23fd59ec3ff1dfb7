// SPDX-License-Identifier: Apache-2.0
// Link states the plain way (10.3, 10.6): RA announces versions and is flooded, LSR asks, LSU
// tells.
//
// An RA is passed on when it is news, or when none of that originator has been passed on for half a
// second: so a flood visits each edge a bounded number of times, whatever the neighbours do.
#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"
#include "router/routing_int.h"

enum {
    RA_REFRESH_GAP_MS = 500,
    LS_HOLD_MIN_MS = 10,
    LS_HOLD_MAX_MS = 200,
    COST_MAX = 1 << 20,
};

// --- edges ---------------------------------------------------------------------------------------

static int compare_edges(const void *a, const void *b)
{
    const struct edge *x = a, *y = b;

    return (x->to > y->to) - (x->to < y->to);
}

// Takes `edges` (sorted, each node once) as the edges of the node.
static void set_edges(struct routing *rt, struct node *n, struct edge *take, uint32_t count)
{
    bool same = n->has_ls && count == n->edge_count;

    for (uint32_t i = 0; i < count; i++) {
        rt->nodes[take[i].to]->mentions++;
        same = same && take[i].to == n->edges[i].to && take[i].cost == n->edges[i].cost;
    }
    for (uint32_t i = 0; i < n->edge_count; i++)
        rt->nodes[n->edges[i].to]->mentions--;
    if (same)
        for (uint32_t i = 0; i < count; i++)
            take[i].is_two_way = n->edges[i].is_two_way;
    free(n->edges);
    n->edges = take;
    n->edge_count = count;
    n->has_ls = true;
    if (!same)
        rt->topology++;
}

static uint32_t sort_edges(struct edge *edges, uint32_t count)
{
    uint32_t kept = 0;

    if (count > 1)
        qsort(edges, count, sizeof(*edges), compare_edges);
    for (uint32_t i = 0; i < count; i++)
        if (kept == 0 || edges[kept - 1].to != edges[i].to)
            edges[kept++] = edges[i];
    return kept;
}

static bool read_peer(struct amqp_reader *r, struct str *id, int64_t *cost)
{
    struct amqp_item key, value;

    if (amqp_read(r, &key) < 0 || amqp_read(r, &value) < 0 ||
        (key.type != AMQP_STRING && key.type != AMQP_SYMBOL) || key.bytes.len == 0 ||
        !amqp_item_int(&value, cost))
        return false;
    *id = key.bytes;
    *cost = *cost < 1 ? 1 : *cost > COST_MAX ? COST_MAX : *cost;
    return true;
}

bool ls_apply(struct routing *rt, uint32_t number, int64_t seq, const struct ctl_items *peers,
              struct mono now)
{
    struct node *n = rt->nodes[number];
    struct amqp_reader r = reader_over(peers->bytes);
    uint32_t to, count = 0, size = peers->count / 2;
    struct edge *edges;
    bool was_current = node_is_current(n);
    struct str id;
    int64_t cost;

    for (uint32_t i = 0; i < size; i++)
        if (!read_peer(&r, &id, &cost))
            return false;
    edges = xcalloc(size ? size : 1, sizeof(*edges));
    r = reader_over(peers->bytes);
    while (count < size && read_peer(&r, &id, &cost)) {
        if (rt_learn(rt, id, &to, now) == NULL || to == number)
            size--;
        else
            edges[count++] = (struct edge){.to = to, .cost = (int32_t)cost};
    }
    set_edges(rt, n, edges, sort_edges(edges, count));
    n->ls_seq = seq;
    n->ls_change = ++rt->change;
    rt->sum_stale = true;
    rt->topology += was_current != node_is_current(n);
    return true;
}

void ls_own_changed(struct routing *rt, struct mono now)
{
    struct node *self = rt->nodes[ROUTING_SELF];
    struct edge *edges = xcalloc(rt->link_count + 1, sizeof(*edges));
    uint32_t count = 0;

    for (uint32_t i = 0; i < rt->link_count; i++) {
        const struct rlink *l = rt->links + i;

        if (l->is_adjacent && rt->nodes[l->peer]->link == i)
            edges[count++] = (struct edge){.to = l->peer, .cost = l->cost};
    }
    set_edges(rt, self, edges, sort_edges(edges, count));
    rt->topology++; // another link to the same neighbour is a change too
    rt->is_ls_dirty = rt->is_path_urgent = true;
    rt->last_topology_change = now;
}

// --- RA ------------------------------------------------------------------------------------------

struct mono ls_ra_due(const struct routing *rt, struct mono last)
{
    struct mono flux = mono_add_ms(last, rt->opts.ra_interval_flux_ms);
    struct mono flux_end =
        mono_add_ms(rt->last_topology_change, 2 * (int64_t)rt->opts.ra_interval_flux_ms);

    return mono_before(flux_end, flux) ? mono_add_ms(last, rt->opts.ra_interval_ms) : flux;
}

bool ls_is_plain_way(const struct routing *rt, uint32_t link)
{
    const struct rlink *l = rt->links + link;

    return l->is_adjacent && !l->is_ours && rt->nodes[l->peer]->link == link;
}

void ls_send_ra(struct routing *rt, uint32_t number, uint32_t link, uint32_t except,
                struct mono now)
{
    const struct node *n = rt->nodes[number];
    char first[ROUTING_ID_MAX + 3];
    struct ctl_path path = rt_path(rt, number, first);
    size_t at = rt_out_begin(rt);
    bool is_self = number == ROUTING_SELF;
    struct amqp_mark body;
    uint32_t count;

    body = ctl_begin(&rt->out, &path, "RA", STR("amqp:/_topo/0/all/qdrouter"), node_id(n), &count);
    ctl_put_key_int(&rt->out, "instance", n->instance, &count);
    ctl_put_key_int(&rt->out, "ls_seq", is_self ? n->ls_seq : n->heard_ls, &count);
    ctl_put_key_int(&rt->out, "mobile_seq", is_self ? n->mobile_seq : n->heard_mobile, &count);
    amqp_end(&rt->out, body, count);
    if (link != ROUTING_NO_LINK) {
        rt_out_send(rt, link, at);
        return;
    }
    for (uint32_t i = 0; i < rt->link_count; i++)
        if (i != except && ls_is_plain_way(rt, i) && rt->links[i].peer != number)
            rt_out_send(rt, i, at);
    rt->nodes[number]->ra_at = now;
    if (is_self)
        rt->ra_sent_at = now;
}

void ls_tell_plain(struct routing *rt, uint32_t number, struct mono now)
{
    struct node *n = rt->nodes[number];

    if (n->ls_seq <= n->heard_ls && n->mobile_seq <= n->heard_mobile)
        return;
    if (n->heard_ls < n->ls_seq)
        n->heard_ls = n->ls_seq;
    if (n->heard_mobile < n->mobile_seq)
        n->heard_mobile = n->mobile_seq;
    if (rt->plain_count > 0)
        ls_send_ra(rt, number, ROUTING_NO_LINK, ROUTING_NO_LINK, now);
}

void ls_introduce(struct routing *rt, uint32_t link, struct mono now)
{
    for (uint32_t i = 1; i < rt->node_count; i++) {
        const struct node *n = rt->nodes[i];

        if (n != NULL && n->is_reachable && n->has_ls && i != rt->links[link].peer)
            ls_send_ra(rt, i, link, ROUTING_NO_LINK, now);
    }
}

void ls_announce(struct routing *rt, struct mono now)
{
    struct node *self = rt->nodes[ROUTING_SELF];

    self->ls_seq++;
    self->ls_change = ++rt->change;
    rt->sum_stale = true;
    rt->is_ls_dirty = false;
    throttle_fire(&rt->ls_throttle, LS_HOLD_MIN_MS, LS_HOLD_MAX_MS, now);
    if (rt->plain_count > 0)
        ls_send_ra(rt, ROUTING_SELF, ROUTING_NO_LINK, ROUTING_NO_LINK, now);
    flood_mark(rt, ROUTING_SELF, ROUTING_NO_LINK, now);
}

void ls_note_gap(struct routing *rt, uint32_t number, struct mono now)
{
    struct node *n = rt->nodes[number];
    bool may_come = n->is_from_ours && rt->flood_count > 0;
    struct mono at = may_come ? mono_add_ms(now, ROUTING_FLOOD_GRACE_MS) : now;

    if (!n->need_lsr && !n->need_mar)
        n->ask_hold_ms = n->lsr_count = n->mar_count = 0;
    if (!n->need_lsr && n->heard_ls > n->ls_seq) {
        n->need_lsr = true;
        n->lsr_at = at;
    }
    if (!n->need_mar && n->heard_mobile > n->mobile_seq) {
        n->need_mar = true;
        n->mar_at = at;
    }
    if (n->is_reachable && (n->need_lsr || n->need_mar))
        rt_wake_node(rt, at);
}

// Keeps what the RA says of versions; true when it is news.
static bool hear_versions(struct routing *rt, uint32_t link, uint32_t number, const struct ctl *m,
                          struct mono now)
{
    struct node *n = rt->nodes[number];
    bool is_news = !n->has_instance || n->instance != m->instance, was_current;

    rt_hear_instance(rt, number, m->instance, now);
    is_news = is_news || m->ls_seq > n->heard_ls || m->mobile_seq > n->heard_mobile;
    was_current = node_is_current(n);
    if (m->ra.trace_count <= 1) { // from itself: it knows best
        if (m->ls_seq < n->ls_seq || m->mobile_seq < n->mobile_seq)
            rt_note(rt, &n->noted, NOTE_BACKWARDS, number, link,
                    "sequence numbers of router %.*s run backwards", STR_ARG(m->id));
        n->heard_ls = n->ls_seq;
        n->heard_mobile = n->mobile_seq;
    }
    n->heard_ls = m->ls_seq > n->heard_ls ? m->ls_seq : n->heard_ls;
    n->heard_mobile = m->mobile_seq > n->heard_mobile ? m->mobile_seq : n->heard_mobile;
    rt->topology += was_current != node_is_current(n);
    return is_news;
}

void ls_receive_ra(struct routing *rt, uint32_t link, const struct ctl *m, struct str bytes,
                   struct mono now)
{
    uint32_t number;
    struct node *n = rt_learn(rt, m->id, &number, now);

    if (n == NULL)
        return;
    if (hear_versions(rt, link, number, m, now) ||
        !mono_before(now, mono_add_ms(n->ra_at, RA_REFRESH_GAP_MS))) {
        n->ra_at = now;
        ls_forward_flooded(rt, link, m, bytes, NULL);
    }
    ls_note_gap(rt, number, now);
}

// --- LSR and LSU ---------------------------------------------------------------------------------

// "amqp:/_topo/0/<id><tail>", into rt->scratch.
struct str ls_unicast_to(struct routing *rt, struct str id, const char *tail)
{
    rt->scratch.len = 0;
    amqp_put_raw(&rt->scratch, STR("amqp:/_topo/0/"));
    amqp_put_raw(&rt->scratch, id);
    amqp_put_raw(&rt->scratch, str_of(tail));
    return amqp_written(&rt->scratch);
}

void ls_send_lsr(struct routing *rt, uint32_t number, uint32_t link)
{
    const struct node *n = rt->nodes[number];
    uint32_t count;
    struct ctl_path path = rt_path(rt, ROUTING_SELF, NULL);
    size_t at = rt_out_begin(rt);
    struct amqp_mark body;

    body = ctl_begin(&rt->out, &path, "LSR", ls_unicast_to(rt, node_id(n), "/qdrouter"),
                     node_id(rt->nodes[ROUTING_SELF]), &count);
    amqp_end(&rt->out, body, count);
    rt_out_send(rt, link, at);
}

void ls_put_peers(struct routing *rt, struct amqp_writer *w, const struct node *n, bool wide)
{
    struct amqp_mark peers = amqp_begin_map(w, wide);

    for (uint32_t i = 0; i < n->edge_count; i++) {
        amqp_put_string(w, node_id(rt->nodes[n->edges[i].to]));
        ctl_put_int(w, n->edges[i].cost);
    }
    amqp_end(w, peers, 2 * n->edge_count);
}

static void put_ls(struct routing *rt, const struct node *n)
{
    struct amqp_writer *w = &rt->out;
    struct amqp_mark map = amqp_begin_map(w, true);
    uint32_t count = 6;

    amqp_put_string(w, STR("id"));
    amqp_put_string(w, node_id(n));
    amqp_put_string(w, STR("area"));
    amqp_put_string(w, STR("0"));
    ctl_put_key_int(w, "ls_seq", n->ls_seq, &count);
    amqp_put_string(w, STR("peers"));
    ls_put_peers(rt, w, n, true);
    amqp_end(w, map, count);
}

void ls_receive_lsr(struct routing *rt, uint32_t link, const struct ctl *m, struct mono now)
{
    const struct node *self = rt->nodes[ROUTING_SELF];
    struct ctl_path path = rt_path(rt, ROUTING_SELF, NULL);
    uint32_t count, number;
    struct node *n = rt_learn(rt, m->id, &number, now);
    size_t at = rt_out_begin(rt);
    struct amqp_mark body;

    if (n == NULL)
        return;
    body = ctl_begin(&rt->out, &path, "LSU", ls_unicast_to(rt, node_id(n), "/qdrouter"),
                     node_id(self), &count);
    ctl_put_key_int(&rt->out, "instance", self->instance, &count);
    ctl_put_key_int(&rt->out, "ls_seq", self->ls_seq, &count);
    amqp_put_string(&rt->out, STR("ls"));
    put_ls(rt, self);
    amqp_end(&rt->out, body, count + 2);
    rt_out_send(rt, rt_link_to(rt, n, link), at);
}

void ls_receive_lsu(struct routing *rt, uint32_t link, const struct ctl *m, struct mono now)
{
    uint32_t number;
    struct node *n = rt_learn(rt, m->id, &number, now);
    bool is_first;

    if (n == NULL)
        return;
    is_first = !n->has_ls;
    if (m->has_instance) {
        if (n->has_instance && m->instance < n->instance)
            return; // late, from before a restart
        rt_hear_instance(rt, number, m->instance, now);
    }
    if (n->has_ls && m->ls_seq <= n->ls_seq) {
        n->need_lsr = n->heard_ls > n->ls_seq; // an answer, though it was known
        return;
    }
    if (!ls_apply(rt, number, m->ls_seq, &m->peers, now)) {
        rt_note(rt, &rt->links[link].noted, NOTE_MALFORMED, number, link,
                "malformed link state of %.*s ignored", STR_ARG(m->id));
        return;
    }
    n->is_from_ours = false;
    n->heard_ls = n->heard_ls > n->ls_seq ? n->heard_ls : n->ls_seq;
    rt_check_gap(rt, number, now);
    if (is_first && n->mobile_seq == 0) { // its first RA may be long in coming
        n->need_mar = true;
        rt_wake_node(rt, now);
    }
    flood_mark(rt, number, link, now);
}

// --- passing on ----------------------------------------------------------------------------------

// Is the router, written "0/id" in annotations, among those passed?
static bool is_in_trace(const struct ctl *m, struct str id)
{
    struct amqp_reader at = reader_over(m->ra.trace);
    struct str router;

    if (str_eq(m->id, id))
        return true;
    if (!m->ra.present)
        return false;
    while (amqp_ra_trace_next(&at, &router))
        if (router.len == id.len + 2 && str_eq(str_skip(router, 2), id))
            return true;
    return false;
}

static void put_passed_on(struct routing *rt, uint32_t from, const struct ctl *m, struct str bytes)
{
    uint32_t peer = rt->links[from].peer;
    char first[ROUTING_ID_MAX + 3];
    struct amqp_ra ra = m->ra;

    if (m->ra.present && ra.ingress.ptr != NULL) {
        amqp_put_ra(&rt->out, &ra, str_of(rt->path_self));
    } else {
        // A simple peer without annotations: it is the ingress.
        struct ctl_path path = rt_path(rt, peer != ROUTING_NO_NODE ? peer : ROUTING_SELF, first);

        ctl_put_annotations(&rt->out, &path);
    }
    amqp_put_raw(&rt->out, str_skip(bytes, m->ra_len));
}

void ls_forward_flooded(struct routing *rt, uint32_t from, const struct ctl *m, struct str bytes,
                        const uint32_t *origin)
{
    size_t at = rt_out_begin(rt);
    bool is_written = false;

    if (rt->plain_count == 0 || is_in_trace(m, node_id(rt->nodes[ROUTING_SELF])))
        return;
    for (uint32_t i = 0; i < rt->link_count; i++) {
        if (i == from || !ls_is_plain_way(rt, i) || rt->links[i].peer == rt->links[from].peer ||
            is_in_trace(m, node_id(rt->nodes[rt->links[i].peer])) ||
            (origin && !path_is_tree_link(rt, *origin, i)))
            continue;
        if (!is_written)
            put_passed_on(rt, from, m, bytes);
        is_written = true;
        rt_out_send(rt, i, at);
    }
}

void ls_forward_unicast(struct routing *rt, uint32_t from, const struct ctl *m, struct str bytes,
                        struct str dest)
{
    uint32_t number, link;
    struct node *n = rt_find(rt, dest, &number);
    size_t at = rt_out_begin(rt);

    if (n == NULL) {
        rt_note(rt, &rt->links[from].noted, NOTE_UNKNOWN, ROUTING_NO_NODE, from,
                "control message for unknown router %.*s dropped", STR_ARG(dest));
        return;
    }
    // The trace ends every loop. Our radius is no measure here: where costs differ, a message may
    // come further than we see.
    link = rt_link_to(rt, n, ROUTING_NO_LINK);
    if (link == ROUTING_NO_LINK || link == from ||
        is_in_trace(m, node_id(rt->nodes[rt->links[link].peer])))
        return;
    put_passed_on(rt, from, m, bytes);
    rt_out_send(rt, link, at);
}

bool routing_is_complete(const struct routing *rt)
{
    for (uint32_t i = 1; i < rt->node_count; i++) {
        const struct node *n = rt->nodes[i];

        if (n &&
            (!node_is_current(n) || n->asked || n->need_mar || n->heard_mobile > n->mobile_seq))
            return false;
    }
    return rt->computed == rt->topology;
}
