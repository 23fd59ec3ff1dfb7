// SPDX-License-Identifier: Apache-2.0
// The routing engine: what this router knows of the network.
//
// A *link* is a control link of the caller's, numbered by the caller. A *node* is a router,
// numbered by us; 0 is this router. HELLO (hello.c) finds out who sits at the other end of a link
// and whether both directions work: then the two are neighbours. Each router numbers the versions
// of its *link state*, the list of its neighbours (linkstate.c), and of the set of addresses it has
// consumers for (mobile.c). From all link states path.c computes next hops and, when somebody asks,
// the trees of other routers. control.c reads and writes the messages.
//
// There are two ways in which a router learns the link states and addresses of others:
//
//  - the plain one, towards every router that knows no other: RA (the versions) is flooded, who
//    lacks something asks the originator by LSR or MAR and is answered by LSU or MAU;
//  - FLOOD (flood.c), on links between two of ours: neighbours tell each other what has changed,
//    content included, and compare checksums of all they know now and then.
//
// A router of ours at the border of both speaks the plain protocol for all that lie behind it:
// whatever it learns by FLOOD it announces by RA on behalf of the originator; requests and answers
// pass through it unchanged.
//
// A remote router is believed to be alive as long as a path of edges, which both ends list, leads
// to it. So the link states of a dead router's neighbours suffice to route around it. What is known
// of an unreachable router is kept for a while, because networks heal.
//
// Nothing here happens on a fixed tick. A change acts at once; a *throttle* spaces repeated
// changes. Every call ends in settle(), which does what is due; `link_at` and `node_at` are lower
// bounds of when links and nodes have anything to do, so that most calls look at neither.
//
// Nodes live until they are unreachable, forgotten by age and in nobody's link state (tick_nodes).
// Outputs and events are queued in arenas that are reused once the caller has polled everything.
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "router/routing_int.h"

enum {
    HELLO_INTERVAL_MS = 1000,
    HELLO_MAX_AGE_MS = 3000,
    FAST_HELLO_INTERVAL_MS = 250,
    FAST_HELLO_MAX_AGE_MS = 900,
    RA_INTERVAL_MS = 30000,
    RA_INTERVAL_FLUX_MS = 4000,
    REMOTE_LS_MAX_AGE_MS = 60000,
    HEARSAY_MAX_AGE_MS = 5000, // a router without link state that nobody lists
    ASK_AGAIN_MIN_MS = 100,
    ASK_AGAIN_MAX_MS = 1600,
    ASK_LINKS = 64,
    START_HOLD_MS = 5,       // the addresses known at the start leave together
    REFRESH_SLACK_MS = 2500, // the originator itself may be heard first
};

// --- small things --------------------------------------------------------------------------------

bool throttle_is_open(const struct throttle *t, struct mono now)
{
    return !mono_before(now, t->next);
}

void throttle_fire(struct throttle *t, uint32_t min_ms, uint32_t max_ms, struct mono now)
{
    if (t->hold_ms == 0 || mono_before(mono_add_ms(t->next, 4 * (int64_t)max_ms), now))
        t->hold_ms = min_ms;
    else
        t->hold_ms = 2 * t->hold_ms < max_ms ? 2 * t->hold_ms : max_ms;
    t->next = mono_add_ms(now, t->hold_ms);
}

bool bits_get(const struct bits *b, uint32_t at)
{
    return at / 64 < b->word_count && (b->words[at / 64] >> (at % 64) & 1);
}

void bits_set(struct bits *b, uint32_t at)
{
    if (at / 64 >= b->word_count) {
        uint32_t count = at / 64 + 1 + b->word_count / 2;

        b->words = xrealloc(b->words, count, sizeof(*b->words));
        memset(b->words + b->word_count, 0, (count - b->word_count) * sizeof(*b->words));
        b->word_count = count;
    }
    b->words[at / 64] |= UINT64_C(1) << (at % 64);
}

void bits_clear(struct bits *b, uint32_t at)
{
    if (at / 64 < b->word_count)
        b->words[at / 64] &= ~(UINT64_C(1) << (at % 64));
}

void bits_fini(struct bits *b)
{
    free(b->words);
    *b = (struct bits){0};
}

void rt_wake_link(struct routing *rt, struct mono at)
{
    rt->link_at = mono_min(rt->link_at, at);
}

void rt_wake_node(struct routing *rt, struct mono at)
{
    rt->node_at = mono_min(rt->node_at, at);
}

// --- outputs and events --------------------------------------------------------------------------

static void begin_call(struct routing *rt)
{
    if (rt->output_next == rt->output_count) {
        rt->output_next = rt->output_count = 0;
        rt->out.len = 0;
    }
    if (rt->event_next == rt->event_count) {
        rt->event_next = rt->event_count = 0;
        rt->event_text_len = 0;
    }
}

size_t rt_out_begin(struct routing *rt)
{
    return rt->out.len;
}

void rt_out_send(struct routing *rt, uint32_t link, size_t at)
{
    if (rt->output_count == rt->output_size) {
        rt->output_size = rt->output_size ? 2 * rt->output_size : 16;
        rt->outputs = xrealloc(rt->outputs, rt->output_size, sizeof(*rt->outputs));
    }
    rt->outputs[rt->output_count++] = (struct output){link, at, rt->out.len - at};
}

bool routing_next_output(struct routing *rt, struct routing_output *out)
{
    const struct output *o = rt->outputs + rt->output_next;

    if (rt->output_next == rt->output_count)
        return false;
    *out = (struct routing_output){o->link, {(const char *)rt->out.buf + o->at, o->len}};
    rt->output_next++;
    return true;
}

static size_t keep_text(struct routing *rt, const char *text, size_t len)
{
    size_t at = rt->event_text_len;

    if (at + len > rt->event_text_size) {
        rt->event_text_size = 2 * (at + len) + 256;
        rt->event_text = xrealloc(rt->event_text, rt->event_text_size, 1);
    }
    if (len > 0)
        memcpy(rt->event_text + at, text, len);
    rt->event_text_len += len;
    return at;
}

static struct queued_event *push_event(struct routing *rt, enum routing_event_type type,
                                       uint32_t node, uint32_t link)
{
    struct queued_event *ev;

    if (rt->event_count == rt->event_size) {
        rt->event_size = rt->event_size ? 2 * rt->event_size : 16;
        rt->events = xrealloc(rt->events, rt->event_size, sizeof(*rt->events));
    }
    ev = rt->events + rt->event_count++;
    *ev = (struct queued_event){.type = type, .node = node, .link = link, .treatment = -1};
    return ev;
}

void rt_event(struct routing *rt, enum routing_event_type type, uint32_t node, uint32_t link)
{
    push_event(rt, type, node, link);
}

void rt_event_address(struct routing *rt, enum routing_event_type type, uint32_t node,
                      const struct addr *a)
{
    struct queued_event *ev = push_event(rt, type, node, ROUTING_NO_LINK);

    ev->treatment = a->treatment;
    ev->key_at = keep_text(rt, a->text, (size_t)a->key_len + a->mesh_len);
    ev->key_len = a->key_len;
    ev->mesh_len = a->mesh_len;
}

void rt_note(struct routing *rt, uint8_t *noted, enum note bit, uint32_t node, uint32_t link,
             const char *fmt, ...)
{
    char text[512];
    struct queued_event *ev;
    va_list args;
    int len;

    if (*noted & bit)
        return;
    *noted |= (uint8_t)bit;
    va_start(args, fmt);
    len = vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    assert(len >= 0);
    ev = push_event(rt, ROUTING_EV_NOTE, node, link);
    ev->key_len = (size_t)len < sizeof(text) ? (size_t)len : sizeof(text) - 1;
    ev->key_at = keep_text(rt, text, ev->key_len);
}

bool routing_next_event(struct routing *rt, struct routing_event *out)
{
    const struct queued_event *ev = rt->events + rt->event_next;

    if (rt->event_next == rt->event_count)
        return false;
    *out = (struct routing_event){
        .type = ev->type, .node = ev->node, .link = ev->link, .treatment = ev->treatment};
    if (ev->key_len > 0)
        out->key = (struct str){rt->event_text + ev->key_at, ev->key_len};
    if (ev->mesh_len > 0)
        out->mesh = (struct str){rt->event_text + ev->key_at + ev->key_len, ev->mesh_len};
    rt->event_next++;
    return true;
}

// --- nodes ---------------------------------------------------------------------------------------

static uint64_t hash_id(struct str id)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325); // FNV-1a: both ends of a link must agree on it

    for (size_t i = 0; i < id.len; i++)
        h = (h ^ (uint8_t)id.ptr[i]) * UINT64_C(0x100000001b3);
    return h;
}

struct node *rt_find(const struct routing *rt, struct str id, uint32_t *number)
{
    uintptr_t found = (uintptr_t)map_get(&rt->by_id, id);

    if (found == 0)
        return NULL;
    *number = (uint32_t)(found - 1);
    return rt->nodes[*number];
}

// Where in rt->order the id stands, or would stand.
static uint32_t place_of(const struct routing *rt, struct str id)
{
    uint32_t low = 0, high = rt->node_live;

    while (low < high) {
        uint32_t mid = (low + high) / 2;

        if (str_cmp(node_id(rt->nodes[rt->order[mid]]), id) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static uint32_t free_number(struct routing *rt)
{
    if (rt->node_live < rt->node_count)
        for (uint32_t i = 0; i < rt->node_count; i++)
            if (rt->nodes[i] == NULL)
                return i;
    if (rt->node_count == rt->node_size) {
        rt->node_size = rt->node_size ? 2 * rt->node_size : 8;
        rt->nodes = xrealloc(rt->nodes, rt->node_size, sizeof(struct node *));
        rt->order = xrealloc(rt->order, rt->node_size, sizeof(*rt->order));
    }
    rt->nodes[rt->node_count] = NULL;
    return rt->node_count++;
}

static struct node *add_node(struct routing *rt, struct str id, uint32_t *number, struct mono now)
{
    struct node *n = xcalloc(1, sizeof(*n));
    uint32_t place = place_of(rt, id);

    *number = free_number(rt);
    n->id = str_dup(id);
    n->id_len = (uint32_t)id.len;
    n->id_hash = hash_id(id);
    n->link = ROUTING_NO_LINK;
    n->next_hop_node = n->mentioner = ROUTING_NO_NODE;
    n->unreachable_at = now;
    memmove(rt->order + place + 1, rt->order + place, (rt->node_live - place) * sizeof(*rt->order));
    rt->order[place] = *number;
    rt->nodes[*number] = n;
    rt->node_live++;
    rt->rank_stale = true;
    map_put(&rt->by_id, id, (void *)((uintptr_t)*number + 1));
    return n;
}

struct node *rt_learn(struct routing *rt, struct str id, uint32_t *number, struct mono now)
{
    struct node *n = rt_find(rt, id, number);

    if (n != NULL)
        return n;
    if (id.len > ROUTING_ID_MAX || rt->node_live >= rt->opts.node_max) {
        rt_note(rt, &rt->noted, NOTE_LIMIT, ROUTING_NO_NODE, ROUTING_NO_LINK,
                "router %.*s is left out: at most %u routers with ids of at most %d octets",
                STR_ARG(id), rt->opts.node_max, ROUTING_ID_MAX);
        return NULL;
    }
    rt_wake_node(rt, mono_add_ms(now, HEARSAY_MAX_AGE_MS));
    return add_node(rt, id, number, now);
}

static void clear_edges(struct routing *rt, struct node *n)
{
    for (uint32_t i = 0; i < n->edge_count; i++)
        rt->nodes[n->edges[i].to]->mentions--;
    free(n->edges);
    n->edges = NULL;
    n->edge_count = 0;
}

// What a restart, or age, leaves of a node: its name.
static void clear_state(struct routing *rt, uint32_t number)
{
    struct node *n = rt->nodes[number];

    clear_edges(rt, n);
    ma_clear(rt, number);
    n->has_ls = false;
    n->ls_seq = n->heard_ls = n->heard_mobile = 0;
    rt->topology++;
    rt->sum_stale = true;
}

static void free_node(struct routing *rt, uint32_t number)
{
    struct node *n = rt->nodes[number];

    ma_drop_diffs(rt, n);
    rt->addr_total -= n->addrs.count;
    addr_set_fini(&n->addrs);
    free(n->edges);
    free(n->id);
    free(n);
    rt->nodes[number] = NULL;
}

void rt_forget(struct routing *rt, uint32_t number)
{
    struct node *n = rt->nodes[number];
    uint32_t place = place_of(rt, node_id(n));

    assert(number != ROUTING_SELF && n->mentions == 0 && !n->is_reachable);
    clear_state(rt, number);
    flood_forget(rt, number);
    path_forget(rt, number);
    map_remove(&rt->by_id, node_id(n));
    rt->node_live--;
    memmove(rt->order + place, rt->order + place + 1, (rt->node_live - place) * sizeof(*rt->order));
    rt->rank_stale = true;
    free_node(rt, number);
    rt_event(rt, ROUTING_EV_NODE_GONE, number, ROUTING_NO_LINK);
}

void rt_restart(struct routing *rt, uint32_t number, int64_t instance, uint32_t gen,
                struct mono now)
{
    struct node *n = rt->nodes[number];

    assert(number != ROUTING_SELF);
    clear_state(rt, number);
    n->instance = instance;
    n->gen = gen;
    n->has_instance = true;
    n->noted = 0;
    n->asked = 0;
    n->need_lsr = true;
    n->need_mar = false;
    n->lsr_at = n->mar_at = now;
    rt_wake_node(rt, now);
}

void rt_hear_instance(struct routing *rt, uint32_t number, int64_t instance, struct mono now)
{
    struct node *n = rt->nodes[number];

    if (!n->has_instance) {
        n->has_instance = true;
        n->instance = instance;
        rt->sum_stale = true;
    } else if (n->instance != instance) {
        rt_restart(rt, number, instance, n->gen + (instance < n->instance), now);
    }
}

void rt_check_gap(struct routing *rt, uint32_t number, struct mono now)
{
    struct node *n = rt->nodes[number];

    n->need_lsr = n->heard_ls > n->ls_seq || (n->need_lsr && !n->has_ls);
    n->need_mar = n->heard_mobile > n->mobile_seq;
    n->lsr_at = n->mar_at = now;
    n->ask_hold_ms = n->lsr_count = n->mar_count = 0;
    if (n->is_reachable && (n->need_lsr || n->need_mar))
        rt_wake_node(rt, now);
}

// --- what is due ---------------------------------------------------------------------------------

// First the next hop, then each neighbour in turn: while link states are lacking here, the next
// hop's way to the node may lead back through us; that of all neighbours cannot.
// Each kind of question has turns of its own, or two of them would share out the neighbours.
static uint32_t link_to_ask(const struct routing *rt, const struct node *n, uint16_t turn)
{
    uint32_t links[ASK_LINKS], count = 0;
    uint32_t best = rt_link_to(rt, n, ROUTING_NO_LINK);

    for (uint32_t i = 0; i < rt->link_count && count < ASK_LINKS; i++)
        if (rt->links[i].is_adjacent && rt->nodes[rt->links[i].peer]->link == i)
            links[count++] = i;
    if (count == 0 || (turn == 0 && best != ROUTING_NO_LINK))
        return best;
    return links[(turn + count - 1) % count];
}

// A question gets lost when a router on the way knows no route yet: ask again, ever more patiently.
static void ask_node(struct routing *rt, uint32_t number, struct mono now)
{
    struct node *n = rt->nodes[number];
    bool ask_lsr = n->need_lsr && !mono_before(now, n->lsr_at);
    bool ask_mar = n->need_mar && !mono_before(now, n->mar_at);

    if (ask_lsr || ask_mar) {
        uint32_t hold = 2U * n->ask_hold_ms;

        if (link_to_ask(rt, n, 1) == ROUTING_NO_LINK)
            return; // new paths will wake us
        hold = hold < ASK_AGAIN_MIN_MS ? ASK_AGAIN_MIN_MS : hold;
        n->ask_hold_ms = (uint16_t)(hold > ASK_AGAIN_MAX_MS ? ASK_AGAIN_MAX_MS : hold);
        if (ask_lsr)
            ls_send_lsr(rt, number, link_to_ask(rt, n, n->lsr_count++));
        if (ask_mar)
            ma_send_mar(rt, number, link_to_ask(rt, n, n->mar_count++));
    }
    if (ask_lsr)
        n->lsr_at = mono_add_ms(now, n->ask_hold_ms);
    if (ask_mar) {
        n->mar_at = mono_add_ms(now, n->ask_hold_ms);
        n->need_mar = n->heard_mobile > n->mobile_seq; // a first one may need no answer
    }
    if (n->need_lsr)
        rt_wake_node(rt, n->lsr_at);
    if (n->need_mar)
        rt_wake_node(rt, n->mar_at);
}

static void age_node(struct routing *rt, uint32_t number, struct mono now)
{
    struct node *n = rt->nodes[number];
    struct mono end = mono_add_ms(n->unreachable_at,
                                  n->has_ls ? rt->opts.remote_ls_max_age_ms : HEARSAY_MAX_AGE_MS);

    if (mono_before(now, end)) {
        rt_wake_node(rt, end);
        return;
    }
    if (n->has_ls)
        clear_state(rt, number);
    if (n->mentions == 0 && n->link == ROUTING_NO_LINK)
        rt_forget(rt, number);
}

// The plain routers beyond us forget whoever they hear no RA of.
static void refresh_node(struct routing *rt, uint32_t number, struct mono now)
{
    struct node *n = rt->nodes[number];
    struct mono at = mono_add_ms(ls_ra_due(rt, n->ra_at), REFRESH_SLACK_MS);

    if (mono_before(now, at))
        rt_wake_node(rt, at);
    else if (n->has_ls)
        ls_send_ra(rt, number, ROUTING_NO_LINK, ROUTING_NO_LINK, now);
}

static void tick_nodes(struct routing *rt, struct mono now)
{
    rt->node_at = MONO_NEVER;
    for (uint32_t i = 1; i < rt->node_count; i++) {
        struct node *n = rt->nodes[i];

        if (n == NULL)
            continue;
        if (!n->is_reachable) {
            age_node(rt, i, now);
            continue;
        }
        if (n->need_lsr || n->need_mar)
            ask_node(rt, i, now);
        if (rt->plain_count > 0)
            refresh_node(rt, i, now);
    }
}

static void tick_links(struct routing *rt, struct mono now)
{
    rt->link_at = MONO_NEVER;
    for (uint32_t i = 0; i < rt->link_count; i++) {
        if (!rt->links[i].is_up)
            continue;
        if (rt->links[i].is_ours)
            flood_tick(rt, i, now);
        rt_wake_link(rt, hello_deadline(rt, rt->links + i));
    }
}

static void settle(struct routing *rt, struct mono now)
{
    if (!mono_before(now, rt->link_at))
        hello_tick(rt, now);
    if (rt->is_ls_dirty && throttle_is_open(&rt->ls_throttle, now))
        ls_announce(rt, now);
    if (rt->pending.count > 0 && throttle_is_open(&rt->ma_throttle, now))
        ma_announce(rt, now);
    if (rt->topology != rt->computed &&
        (rt->is_path_urgent || throttle_is_open(&rt->path_throttle, now)))
        path_compute(rt, now);
    if (!mono_before(now, rt->node_at))
        tick_nodes(rt, now);
    if (rt->plain_count > 0 && !mono_before(now, ls_ra_due(rt, rt->ra_sent_at)))
        ls_send_ra(rt, ROUTING_SELF, ROUTING_NO_LINK, ROUTING_NO_LINK, now);
    if (!mono_before(now, rt->link_at))
        tick_links(rt, now);
    if (!list_empty(&rt->diffs))
        flood_prune_diffs(rt);
}

struct mono routing_deadline(const struct routing *rt)
{
    struct mono at = mono_min(rt->link_at, rt->node_at);

    if (rt->is_ls_dirty)
        at = mono_min(at, rt->ls_throttle.next);
    if (rt->pending.count > 0)
        at = mono_min(at, rt->ma_throttle.next);
    if (rt->topology != rt->computed)
        at = mono_min(at, rt->path_throttle.next);
    if (rt->plain_count > 0)
        at = mono_min(at, ls_ra_due(rt, rt->ra_sent_at));
    return at;
}

void routing_tick(struct routing *rt, struct mono now)
{
    begin_call(rt);
    hello_give_up(rt, now);
    settle(rt, now);
}

// --- messages ------------------------------------------------------------------------------------

struct ctl_path rt_path(const struct routing *rt, uint32_t number, char first[ROUTING_ID_MAX + 3])
{
    struct ctl_path path = {str_of(rt->path_self), STR_NONE};

    if (number != ROUTING_SELF) {
        path.first.len = 2 + (size_t)rt->nodes[number]->id_len;
        path.first.ptr = first;
        memcpy(first, "0/", 2);
        memcpy(first + 2, rt->nodes[number]->id, rt->nodes[number]->id_len);
    }
    return path;
}

uint32_t rt_link_to(const struct routing *rt, const struct node *n, uint32_t fallback)
{
    if (n->link != ROUTING_NO_LINK && !n->is_reachable)
        return n->link;
    if (!n->is_reachable || rt->nodes[n->next_hop_node] == NULL)
        return fallback;
    return rt->nodes[n->next_hop_node]->link;
}

static bool is_version_known(struct routing *rt, uint32_t link, const struct ctl *m)
{
    bool is_mobile = m->op == CTL_MAR || m->op == CTL_MAU;
    uint32_t number = ROUTING_NO_NODE;
    struct node *n = rt_find(rt, m->id, &number);

    if (n != NULL)
        n->pv = is_mobile ? n->pv : (int)(m->pv & INT16_MAX);
    if (m->pv <= (is_mobile ? 2 : 1))
        return true;
    rt_note(rt, n ? &n->noted : &rt->links[link].noted, NOTE_VERSION, number, link,
            "router %.*s speaks version %lld of the routing protocol, which we do not know",
            STR_ARG(m->id), (long long)m->pv);
    return false;
}

static void dispatch(struct routing *rt, uint32_t link, const struct ctl *m, struct str bytes,
                     struct mono now)
{
    switch (m->op) {
    case CTL_HELLO:
        hello_receive(rt, link, m, now);
        break;
    case CTL_RA:
        ls_receive_ra(rt, link, m, bytes, now);
        break;
    case CTL_LSR:
        ls_receive_lsr(rt, link, m, now);
        break;
    case CTL_LSU:
        ls_receive_lsu(rt, link, m, now);
        break;
    case CTL_MAR:
        ma_receive_mar(rt, link, m);
        break;
    case CTL_MAU:
        ma_receive_mau(rt, link, m, bytes, now);
        break;
    case CTL_FLOOD:
        flood_receive(rt, link, m, now);
        break;
    case CTL_UNKNOWN:
        rt_note(rt, &rt->links[link].noted, NOTE_MALFORMED, ROUTING_NO_NODE, link,
                "control message of an unknown kind from %.*s", STR_ARG(m->id));
        break;
    }
}

static void receive(struct routing *rt, uint32_t link, struct str bytes, struct mono now)
{
    struct rlink *l = rt->links + link;
    const struct node *self = rt->nodes[ROUTING_SELF];
    struct ctl m;

    if (ctl_read(bytes, &m) < 0) {
        rt_note(rt, &l->noted, NOTE_MALFORMED, l->peer, link, "malformed control message ignored");
        return;
    }
    if (str_eq(m.id, node_id(self))) {
        if (m.has_instance && m.instance != self->instance)
            rt_note(rt, &l->noted, NOTE_DUPLICATE, ROUTING_NO_NODE, link,
                    "another router uses our id %.*s", STR_ARG(m.id));
        return;
    }
    if (str_starts(m.to, STR("_topo/0/"))) {
        struct str dest = str_skip(m.to, 8);
        const char *slash = memchr(dest.ptr, '/', dest.len);

        dest.len = slash ? (size_t)(slash - dest.ptr) : dest.len;
        if (!str_is(dest, "all") && !str_eq(dest, node_id(self))) {
            ls_forward_unicast(rt, link, &m, bytes, dest);
            return;
        }
    }
    if (is_version_known(rt, link, &m))
        dispatch(rt, link, &m, bytes, now);
}

void routing_receive(struct routing *rt, uint32_t link, struct str bytes, struct mono now)
{
    begin_call(rt);
    if (link < rt->link_count && rt->links[link].is_up)
        receive(rt, link, bytes, now);
    settle(rt, now);
}

// --- links ---------------------------------------------------------------------------------------

void routing_link_up(struct routing *rt, uint32_t link, int cost, bool is_ours, struct mono now)
{
    struct rlink *l;

    assert(link < ROUTING_LINK_MAX);
    begin_call(rt);
    if (link >= rt->link_count) {
        rt->links = xrealloc(rt->links, link + 1, sizeof(*rt->links));
        memset(rt->links + rt->link_count, 0, (link + 1 - rt->link_count) * sizeof(*rt->links));
        rt->link_count = link + 1;
    }
    l = rt->links + link;
    assert(!l->is_up);
    *l = (struct rlink){.is_up = true,
                        .is_ours = is_ours,
                        .cost = cost < 1 ? 1 : cost,
                        .peer = ROUTING_NO_NODE,
                        .order = ++rt->link_order,
                        .hello_at = now};
    rt_wake_link(rt, now);
    settle(rt, now);
}

void routing_link_down(struct routing *rt, uint32_t link, struct mono now)
{
    begin_call(rt);
    if (link < rt->link_count && rt->links[link].is_up) {
        hello_lose(rt, link, now);
        rt->links[link].is_up = false;
        rt->links[link].peer = ROUTING_NO_NODE;
    }
    settle(rt, now);
}

void routing_end_soon(struct routing *rt, struct mono now)
{
    begin_call(rt);
    hello_end_soon(rt, now);
    settle(rt, now);
}

void routing_link_alive(struct routing *rt, uint32_t link, struct mono now)
{
    struct rlink *l = rt->links + link;

    if (link >= rt->link_count || !l->is_heard)
        return;
    l->heard_at = now;
    if (l->is_listed)
        l->listed_at = now;
}

// --- life ----------------------------------------------------------------------------------------

static uint32_t or_default(uint32_t value, uint32_t fallback)
{
    return value ? value : fallback;
}

struct routing *routing_new(const struct routing_opts *opts, struct mono now)
{
    struct routing *rt = xcalloc(1, sizeof(*rt));
    struct routing_opts *o = &rt->opts;
    struct node *self;
    uint32_t number;

    *o = *opts;
    o->hello_interval_ms = or_default(o->hello_interval_ms, HELLO_INTERVAL_MS);
    o->hello_max_age_ms = or_default(o->hello_max_age_ms, HELLO_MAX_AGE_MS);
    o->fast_hello_interval_ms = or_default(o->fast_hello_interval_ms, FAST_HELLO_INTERVAL_MS);
    o->fast_hello_max_age_ms = or_default(o->fast_hello_max_age_ms, FAST_HELLO_MAX_AGE_MS);
    o->ra_interval_ms = or_default(o->ra_interval_ms, RA_INTERVAL_MS);
    o->ra_interval_flux_ms = or_default(o->ra_interval_flux_ms, RA_INTERVAL_FLUX_MS);
    o->remote_ls_max_age_ms = or_default(o->remote_ls_max_age_ms, REMOTE_LS_MAX_AGE_MS);
    o->node_max = or_default(o->node_max, ROUTING_NODE_MAX);
    assert(o->node_max <= ROUTING_NODE_MAX);
    assert(strlen(o->id) > 0 && strlen(o->id) <= ROUTING_ID_MAX);
    rng_init(&rt->rng, o->seed);
    rt->path_self = str_fmt("0/%s", o->id);
    map_init(&rt->by_id);
    list_init(&rt->diffs);
    amqp_writer_init(&rt->out);
    amqp_writer_init(&rt->scratch);
    rt->link_at = rt->node_at = MONO_NEVER;
    rt->ra_sent_at = rt->last_topology_change = now;
    rt->sum_stale = true;
    rt->ma_throttle.next = mono_add_ms(now, START_HOLD_MS);
    self = add_node(rt, str_of(o->id), &number, now);
    o->id = self->id;
    self->instance = o->instance;
    self->has_instance = self->has_ls = self->is_reachable = self->is_from_ours = true;
    self->pv = 1;
    assert(number == ROUTING_SELF);
    return rt;
}

void routing_free(struct routing *rt)
{
    if (rt == NULL)
        return;
    for (uint32_t i = 0; i < rt->node_count; i++)
        if (rt->nodes[i] != NULL)
            free_node(rt, i);
    for (uint32_t i = 0; i < rt->link_count; i++)
        flood_link_down(rt->links + i);
    addr_set_fini(&rt->pending);
    path_fini(rt);
    map_fini(&rt->by_id);
    amqp_writer_fini(&rt->out);
    amqp_writer_fini(&rt->scratch);
    free(rt->outputs);
    free(rt->events);
    free(rt->event_text);
    free(rt->order);
    free(rt->nodes);
    free(rt->links);
    free(rt->path_self);
    free(rt);
}

// --- own addresses -------------------------------------------------------------------------------

void routing_address_add(struct routing *rt, struct str key, int treatment, uint32_t producers,
                         struct str mesh, struct mono now)
{
    begin_call(rt);
    ma_own_add(rt, &(struct ctl_address){key, mesh, treatment, producers});
    settle(rt, now);
}

void routing_address_del(struct routing *rt, struct str key, struct mono now)
{
    begin_call(rt);
    ma_own_del(rt, key);
    settle(rt, now);
}

// --- questions -----------------------------------------------------------------------------------

static const struct node *node_at(const struct routing *rt, uint32_t node)
{
    return node < rt->node_count ? rt->nodes[node] : NULL;
}

uint32_t routing_node_count(const struct routing *rt)
{
    return rt->node_count;
}

uint32_t routing_find(const struct routing *rt, struct str id)
{
    uint32_t number;

    return rt_find(rt, id, &number) ? number : ROUTING_NO_NODE;
}

struct str routing_id(const struct routing *rt, uint32_t node)
{
    const struct node *n = node_at(rt, node);

    return n ? node_id(n) : STR_NONE;
}

bool routing_is_reachable(const struct routing *rt, uint32_t node)
{
    const struct node *n = node_at(rt, node);

    return n != NULL && n->is_reachable;
}

uint32_t routing_next_hop(const struct routing *rt, uint32_t node)
{
    const struct node *n = node_at(rt, node);

    if (n == NULL || !n->is_reachable || node == ROUTING_SELF)
        return ROUTING_NO_LINK;
    return rt_link_to(rt, n, ROUTING_NO_LINK);
}

int routing_cost(const struct routing *rt, uint32_t node)
{
    const struct node *n = node_at(rt, node);

    return n != NULL && n->is_reachable ? n->cost : 0;
}

int routing_radius(const struct routing *rt)
{
    return rt->radius;
}

bool routing_info(const struct routing *rt, uint32_t node, struct routing_node_info *out)
{
    const struct node *n = node_at(rt, node);

    if (n == NULL)
        return false;
    *out = (struct routing_node_info){
        .id = node_id(n),
        .instance = n->instance,
        .next_hop_node =
            n->is_reachable && node != ROUTING_SELF ? n->next_hop_node : ROUTING_NO_NODE,
        .link = n->link,
        .cost = n->is_reachable ? n->cost : 0,
        .protocol_version = n->pv,
        .last_topology_change = rt->last_topology_change,
    };
    return true;
}

bool routing_peer_next(const struct routing *rt, uint32_t node, size_t *at, struct str *id,
                       int *cost)
{
    const struct node *n = node_at(rt, node);

    if (n == NULL || *at >= n->edge_count)
        return false;
    *id = node_id(rt->nodes[n->edges[*at].to]);
    *cost = n->edges[*at].cost;
    (*at)++;
    return true;
}
