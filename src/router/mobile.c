// SPDX-License-Identifier: Apache-2.0
// Which router has consumers for which address (10.4, 10.6): MAU tells, whole or as a difference,
// MAR asks. Our own changes are collected for a moment and leave as one numbered difference.
#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"
#include "router/routing_int.h"

enum { MA_HOLD_MIN_MS = 5, MA_HOLD_MAX_MS = 100, MESH_LEN = 15 };

// --- sets ----------------------------------------------------------------------------------------

static struct str addr_key(const struct addr *a)
{
    return (struct str){a->text, a->key_len};
}

static struct ctl_address addr_view(const struct addr *a)
{
    return (struct ctl_address){.key = addr_key(a),
                                .mesh = {a->text + a->key_len, a->mesh_len},
                                .treatment = a->treatment,
                                .producers = a->producers};
}

static struct addr *addr_new(const struct ctl_address *from)
{
    struct addr *a = xcalloc(1, sizeof(*a) + from->key.len + from->mesh.len);

    a->producers = from->producers;
    a->treatment = (int16_t)from->treatment;
    a->key_len = (uint16_t)from->key.len;
    a->mesh_len = (uint8_t)from->mesh.len;
    memcpy(a->text, from->key.ptr, from->key.len);
    if (from->mesh.len > 0)
        memcpy(a->text + a->key_len, from->mesh.ptr, from->mesh.len);
    return a;
}

// Where the key stands, or would stand.
static uint32_t addr_place(const struct addr_set *set, struct str key)
{
    uint32_t low = 0, high = set->count;

    while (low < high) {
        uint32_t mid = (low + high) / 2;

        if (str_cmp(addr_key(set->items[mid]), key) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static struct addr *addr_find(const struct addr_set *set, struct str key)
{
    uint32_t at = addr_place(set, key);

    return at < set->count && str_eq(addr_key(set->items[at]), key) ? set->items[at] : NULL;
}

static void addr_reserve(struct addr_set *set, uint32_t count)
{
    if (count <= set->size)
        return;
    set->size = count < 2 * set->size ? 2 * set->size : count;
    set->items = xrealloc(set->items, set->size, sizeof(struct addr *));
}

// Puts an item in the place of an equal one; true when there was none.
static bool addr_put(struct addr_set *set, struct addr *take)
{
    uint32_t at = addr_place(set, addr_key(take));

    if (at < set->count && str_eq(addr_key(set->items[at]), addr_key(take))) {
        free(set->items[at]);
        set->items[at] = take;
        return false;
    }
    addr_reserve(set, set->count + 1);
    memmove(set->items + at + 1, set->items + at, (set->count - at) * sizeof(struct addr *));
    set->items[at] = take;
    set->count++;
    return true;
}

static void addr_remove(struct addr_set *set, struct str key)
{
    uint32_t at = addr_place(set, key);

    if (at == set->count || !str_eq(addr_key(set->items[at]), key))
        return;
    free(set->items[at]);
    set->count--;
    memmove(set->items + at, set->items + at + 1, (set->count - at) * sizeof(struct addr *));
}

void addr_set_fini(struct addr_set *set)
{
    for (uint32_t i = 0; i < set->count; i++)
        free(set->items[i]);
    free(set->items);
    *set = (struct addr_set){0};
}

static int compare_addrs(const void *a, const void *b)
{
    return str_cmp(addr_key(*(struct addr *const *)a), addr_key(*(struct addr *const *)b));
}

static bool is_same(const struct addr *a, const struct ctl_address *b)
{
    struct ctl_address v = addr_view(a);

    return v.treatment == b->treatment && v.producers == b->producers && str_eq(v.mesh, b->mesh);
}

// --- what a node has -----------------------------------------------------------------------------

// The addresses of a reachable node are known outside.
static bool is_told(const struct routing *rt, uint32_t number)
{
    return number != ROUTING_SELF && rt->nodes[number]->is_reachable;
}

static bool has_room(struct routing *rt, uint32_t number, const struct ctl_address *a,
                     uint32_t count)
{
    if (a->key.len <= ROUTING_KEY_MAX && count < ROUTING_ADDRESS_MAX)
        return true;
    rt_note(rt, &rt->noted, NOTE_LIMIT, number, ROUTING_NO_LINK,
            "address %.*s is left out: at most %d addresses of at most %d octets", STR_ARG(a->key),
            ROUTING_ADDRESS_MAX, ROUTING_KEY_MAX);
    return false;
}

static void put_address(struct routing *rt, uint32_t number, const struct ctl_address *a)
{
    struct node *n = rt->nodes[number];
    const struct addr *old = addr_find(&n->addrs, a->key);
    struct addr *now;
    bool is_news =
        old == NULL || old->treatment != a->treatment || !str_eq(addr_view(old).mesh, a->mesh);

    if (old == NULL && !has_room(rt, number, a, rt->addr_total))
        return;
    now = addr_new(a);
    rt->addr_total += addr_put(&n->addrs, now);
    if (is_news && is_told(rt, number))
        rt_event_address(rt, ROUTING_EV_ADDRESS_ADD, number, now);
}

static void remove_address(struct routing *rt, uint32_t number, struct str key)
{
    struct node *n = rt->nodes[number];
    const struct addr *a = addr_find(&n->addrs, key);

    if (a == NULL)
        return;
    if (is_told(rt, number))
        rt_event_address(rt, ROUTING_EV_ADDRESS_DEL, number, a);
    addr_remove(&n->addrs, key);
    rt->addr_total--;
}

void ma_tell_all(struct routing *rt, uint32_t number, enum routing_event_type type)
{
    const struct addr_set *set = &rt->nodes[number]->addrs;

    for (uint32_t i = 0; i < set->count; i++)
        rt_event_address(rt, type, number, set->items[i]);
}

void ma_clear(struct routing *rt, uint32_t number)
{
    struct node *n = rt->nodes[number];

    if (is_told(rt, number))
        ma_tell_all(rt, number, ROUTING_EV_ADDRESS_DEL);
    rt->addr_total -= n->addrs.count;
    addr_set_fini(&n->addrs);
    ma_drop_diffs(rt, n);
    n->mobile_seq = 0;
    rt->sum_stale = true;
}

static void set_seq(struct routing *rt, struct node *n, int64_t seq)
{
    n->mobile_seq = seq;
    n->ma_change = ++rt->change;
    rt->sum_stale = true;
}

static struct addr_set read_set(struct routing *rt, uint32_t number, const struct ctl_items *list,
                                uint32_t others)
{
    struct amqp_reader r = reader_over(list->bytes);
    struct addr_set set = {0};
    struct ctl_address a;
    uint32_t kept = 0;

    addr_reserve(&set, list->count);
    for (uint32_t i = 0; i < list->count && ctl_read_address(&r, &a); i++)
        if (has_room(rt, number, &a, others + set.count))
            set.items[set.count++] = addr_new(&a);
    if (set.count > 1)
        qsort(set.items, set.count, sizeof(struct addr *), compare_addrs);
    for (uint32_t i = 0; i < set.count; i++) {
        if (kept > 0 && str_eq(addr_key(set.items[kept - 1]), addr_key(set.items[i])))
            free(set.items[i]);
        else
            set.items[kept++] = set.items[i];
    }
    set.count = kept;
    return set;
}

// Both sets are sorted: walk them side by side.
static void tell_difference(struct routing *rt, uint32_t number, const struct addr_set *old,
                            const struct addr_set *now)
{
    uint32_t i = 0, j = 0;

    while (i < old->count || j < now->count) {
        int order = i == old->count   ? 1
                    : j == now->count ? -1
                                      : compare_addrs(&old->items[i], &now->items[j]);

        if (order < 0) {
            rt_event_address(rt, ROUTING_EV_ADDRESS_DEL, number, old->items[i++]);
            continue;
        }
        if (order > 0 || old->items[i]->treatment != now->items[j]->treatment ||
            !str_eq(addr_view(old->items[i]).mesh, addr_view(now->items[j]).mesh))
            rt_event_address(rt, ROUTING_EV_ADDRESS_ADD, number, now->items[j]);
        j++;
        i += order == 0;
    }
}

void ma_apply_exist(struct routing *rt, uint32_t number, int64_t seq, const struct ctl_items *exist)
{
    struct node *n = rt->nodes[number];
    struct addr_set old = n->addrs;

    n->addrs = read_set(rt, number, exist, rt->addr_total - old.count);
    rt->addr_total = rt->addr_total - old.count + n->addrs.count;
    if (is_told(rt, number))
        tell_difference(rt, number, &old, &n->addrs);
    addr_set_fini(&old);
    ma_drop_diffs(rt, n);
    set_seq(rt, n, seq);
}

// --- differences ---------------------------------------------------------------------------------

static struct diff *keep_diff(struct routing *rt, uint32_t number, int64_t seq,
                              const struct ctl_items *add, const struct ctl_items *del)
{
    struct node *n = rt->nodes[number];
    size_t len = add->bytes.len + del->bytes.len;
    struct diff *d = xcalloc(1, sizeof(*d) + len);

    d->node = number;
    d->mobile_seq = seq;
    d->change = n->ma_change;
    d->add_count = add->count;
    d->add_len = (uint32_t)add->bytes.len;
    d->del_count = del->count;
    d->del_len = (uint32_t)del->bytes.len;
    if (d->add_len > 0)
        memcpy(d->bytes, add->bytes.ptr, d->add_len);
    if (d->del_len > 0)
        memcpy(d->bytes + d->add_len, del->bytes.ptr, d->del_len);
    list_append(&rt->diffs, &d->on_diffs);
    rt->diff_bytes += len;
    if (n->diffs_last)
        n->diffs_last->next = d;
    else
        n->diffs = d;
    n->diffs_last = d;
    return d;
}

void ma_drop_diffs(struct routing *rt, struct node *n)
{
    while (n->diffs) {
        struct diff *d = n->diffs;

        n->diffs = d->next;
        rt->diff_bytes -= d->add_len + d->del_len;
        list_remove(&d->on_diffs);
        free(d);
    }
    n->diffs_last = NULL;
}

const struct diff *ma_apply_diff(struct routing *rt, uint32_t number, int64_t seq,
                                 const struct ctl_items *add, const struct ctl_items *del)
{
    struct amqp_reader r = reader_over(add->bytes);
    struct ctl_address a;

    for (uint32_t i = 0; i < add->count && ctl_read_address(&r, &a); i++)
        put_address(rt, number, &a);
    r = reader_over(del->bytes);
    for (uint32_t i = 0; i < del->count && ctl_read_address(&r, &a); i++)
        remove_address(rt, number, a.key);
    set_seq(rt, rt->nodes[number], seq);
    return keep_diff(rt, number, seq, add, del);
}

static void put_list(struct amqp_writer *w, const char *key, uint32_t count, struct str items)
{
    struct amqp_mark mark;

    amqp_put_symbol(w, str_of(key));
    mark = amqp_begin_list(w, true);
    amqp_put_raw(w, items);
    amqp_end(w, mark, count);
}

void ma_send_diff(struct routing *rt, uint32_t number, const struct diff *d)
{
    char first[ROUTING_ID_MAX + 3];
    struct ctl_path path = rt_path(rt, number, first);
    size_t at = rt_out_begin(rt);
    struct amqp_mark body;
    uint32_t count;

    if (rt->plain_count == 0)
        return;
    body = ctl_begin_mobile(&rt->out, &path, "MAU", STR("_topo/0/all/qdrouter.ma"),
                            node_id(rt->nodes[number]), &count);
    ctl_put_symbol_long(&rt->out, "mobile_seq", d->mobile_seq, &count);
    put_list(&rt->out, "add", d->add_count, (struct str){d->bytes, d->add_len});
    put_list(&rt->out, "del", d->del_count, (struct str){d->bytes + d->add_len, d->del_len});
    amqp_end(&rt->out, body, count + 4);
    for (uint32_t i = 0; i < rt->link_count; i++)
        if (ls_is_plain_way(rt, i) && rt->links[i].peer != number &&
            path_is_tree_link(rt, number, i))
            rt_out_send(rt, i, at);
}

// --- MAR and MAU ---------------------------------------------------------------------------------

void ma_send_mar(struct routing *rt, uint32_t number, uint32_t link)
{
    const struct node *n = rt->nodes[number];
    uint32_t count;
    struct ctl_path path = rt_path(rt, ROUTING_SELF, NULL);
    size_t at = rt_out_begin(rt);
    struct amqp_mark body;

    body = ctl_begin_mobile(&rt->out, &path, "MAR", ls_unicast_to(rt, node_id(n), "/qdrouter.ma"),
                            node_id(rt->nodes[ROUTING_SELF]), &count);
    ctl_put_symbol_long(&rt->out, "have_seq", n->mobile_seq, &count);
    amqp_end(&rt->out, body, count);
    rt_out_send(rt, link, at);
}

void ma_put_exist(struct amqp_writer *w, const struct node *n)
{
    struct amqp_mark list = amqp_begin_list(w, true);

    for (uint32_t i = 0; i < n->addrs.count; i++) {
        struct ctl_address a = addr_view(n->addrs.items[i]);

        ctl_put_address(w, &a);
    }
    amqp_end(w, list, n->addrs.count);
}

void ma_receive_mar(struct routing *rt, uint32_t link, const struct ctl *m)
{
    const struct node *self = rt->nodes[ROUTING_SELF];
    struct ctl_path path = rt_path(rt, ROUTING_SELF, NULL);
    uint32_t count, number;
    const struct node *n = rt_find(rt, m->id, &number);
    size_t at = rt_out_begin(rt);
    struct amqp_mark body;

    if (m->have_seq >= self->mobile_seq)
        return;
    body = ctl_begin_mobile(&rt->out, &path, "MAU", ls_unicast_to(rt, m->id, "/qdrouter.ma"),
                            node_id(self), &count);
    ctl_put_symbol_long(&rt->out, "mobile_seq", self->mobile_seq, &count);
    amqp_put_symbol(&rt->out, STR("exist"));
    ma_put_exist(&rt->out, self);
    amqp_end(&rt->out, body, count + 2);
    rt_out_send(rt, n ? rt_link_to(rt, n, link) : link, at);
}

static void receive_diff(struct routing *rt, uint32_t link, uint32_t number, const struct ctl *m,
                         struct str bytes, struct mono now)
{
    struct node *n = rt->nodes[number];
    bool follows = m->mobile_seq == n->mobile_seq + 1;

    // A gap is repaired by MAR, and those beyond us may have none.
    if (follows || m->mobile_seq > n->heard_mobile)
        ls_forward_flooded(rt, link, m, bytes, &number);
    if (m->mobile_seq > n->heard_mobile)
        n->heard_mobile = m->mobile_seq;
    if (follows) {
        ma_apply_diff(rt, number, m->mobile_seq, &m->add, &m->del);
        n->is_from_ours = false;
        rt_check_gap(rt, number, now);
        flood_mark(rt, number, link, now);
    } else {
        ls_note_gap(rt, number, now);
    }
}

void ma_receive_mau(struct routing *rt, uint32_t link, const struct ctl *m, struct str bytes,
                    struct mono now)
{
    uint32_t number;
    struct node *n = rt_find(rt, m->id, &number);

    if (n == NULL)
        rt_note(rt, &rt->links[link].noted, NOTE_UNKNOWN, ROUTING_NO_NODE, link,
                "addresses of unknown router %.*s ignored", STR_ARG(m->id));
    if (n == NULL || m->mobile_seq <= n->mobile_seq)
        return;
    if (!ctl_check_addresses(&m->exist) || !ctl_check_addresses(&m->add) ||
        !ctl_check_addresses(&m->del)) {
        rt_note(rt, &rt->links[link].noted, NOTE_MALFORMED, number, link,
                "malformed addresses of %.*s ignored", STR_ARG(m->id));
        return;
    }
    if (!m->exist.present) {
        receive_diff(rt, link, number, m, bytes, now);
        return;
    }
    ma_apply_exist(rt, number, m->mobile_seq, &m->exist);
    n->is_from_ours = false;
    if (m->mobile_seq > n->heard_mobile)
        n->heard_mobile = m->mobile_seq;
    rt_check_gap(rt, number, now);
    flood_mark(rt, number, link, now);
}

// --- our own addresses ---------------------------------------------------------------------------

void ma_own_add(struct routing *rt, const struct ctl_address *a)
{
    const struct addr *announced = addr_find(&rt->nodes[ROUTING_SELF]->addrs, a->key);

    assert(a->key.len > 0 && (a->mesh.len == 0 || a->mesh.len == MESH_LEN));
    if (announced && is_same(announced, a))
        addr_remove(&rt->pending, a->key);
    else if (announced || has_room(rt, ROUTING_SELF, a, rt->addr_total + rt->pending.count))
        addr_put(&rt->pending, addr_new(a));
}

void ma_own_del(struct routing *rt, struct str key)
{
    const struct addr *announced = addr_find(&rt->nodes[ROUTING_SELF]->addrs, key);

    if (announced) {
        struct ctl_address view = addr_view(announced);
        struct addr *gone = addr_new(&view);

        gone->is_gone = true;
        addr_put(&rt->pending, gone);
    } else {
        addr_remove(&rt->pending, key);
    }
}

// Writes the pending additions, or the deletions, as a list's items.
static struct ctl_items put_pending(struct routing *rt, bool is_gone)
{
    struct ctl_items items = {.present = true};
    size_t at = rt->scratch.len;

    for (uint32_t i = 0; i < rt->pending.count; i++) {
        const struct addr *a = rt->pending.items[i];
        struct ctl_address view = addr_view(a);
        struct amqp_mark mark;

        if (a->is_gone != is_gone)
            continue;
        items.count++;
        if (!is_gone) {
            ctl_put_address(&rt->scratch, &view);
            continue;
        }
        mark = amqp_begin_list(&rt->scratch, true);
        amqp_put_string(&rt->scratch, view.key);
        amqp_end(&rt->scratch, mark, 1);
    }
    items.bytes = (struct str){NULL, rt->scratch.len - at};
    return items;
}

void ma_announce(struct routing *rt, struct mono now)
{
    struct node *self = rt->nodes[ROUTING_SELF];
    struct ctl_items add, del;
    const struct diff *d;

    rt->scratch.len = 0;
    add = put_pending(rt, false);
    del = put_pending(rt, true);
    add.bytes.ptr = (const char *)rt->scratch.buf;
    del.bytes.ptr = add.bytes.ptr + add.bytes.len;
    addr_set_fini(&rt->pending);
    d = ma_apply_diff(rt, ROUTING_SELF, self->mobile_seq + 1, &add, &del);
    throttle_fire(&rt->ma_throttle, MA_HOLD_MIN_MS, MA_HOLD_MAX_MS, now);
    ma_send_diff(rt, ROUTING_SELF, d);
    if (rt->plain_count > 0)
        ls_send_ra(rt, ROUTING_SELF, ROUTING_NO_LINK, ROUTING_NO_LINK, now);
    flood_mark(rt, ROUTING_SELF, ROUTING_NO_LINK, now);
}
