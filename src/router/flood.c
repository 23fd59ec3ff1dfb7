// SPDX-License-Identifier: Apache-2.0
// FLOOD: what routers of ours tell each other about the network (docs/protocol.md). It stays
// between two neighbours and replaces RA, LSR, LSU, MAR and MAU on their link.
//
// Per link a bit for each node says "tell the peer about it". A flush, a few milliseconds apart at
// most, turns the set bits into records: versions always, content when it changed since the last
// flush or was asked for. A record that shows the peer to be ahead without telling how makes us
// ask. So nothing here depends on what was said before, and a digest (records of everything,
// without content) repairs any loss. HELLO carries a checksum of all versions; when it differs for
// a while although nothing moves, a digest follows.
#include <assert.h>
#include <stdlib.h>

#include "router/routing_int.h"

enum {
    FLUSH_HOLD_MIN_MS = 2,
    FLUSH_HOLD_MAX_MS = 20,
    MESSAGE_MAX = 32 << 10, // a message is closed when it has grown beyond this
    FLUSH_MAX = 256 << 10,  // likewise a flush
    DIFF_BYTES_MAX = 1 << 20,
    ASK_MS = 300, // leave an answer this much time before another neighbour is asked
    SAME_DIFFERENCE_MAX = 3,
    DIFFERENCE_MAX_MS = 5000,
    DIGEST_HOLD_MIN_MS = 500,
    DIGEST_HOLD_MAX_MS = 32000,
    SELF_HOLD_MIN_MS = 1000,
    SELF_HOLD_MAX_MS = 64000,
};

// --- checksum ------------------------------------------------------------------------------------

static uint64_t mix(uint64_t h, uint64_t v)
{
    h = (h ^ v) * UINT64_C(0xbf58476d1ce4e5b9);
    h ^= h >> 29;
    h *= UINT64_C(0x94d049bb133111eb);
    return h ^ h >> 32;
}

static bool is_shared(const struct node *n)
{
    return n != NULL && n->is_reachable && n->has_ls && n->has_instance;
}

uint64_t flood_sum(struct routing *rt)
{
    uint64_t sum = 0;

    if (!rt->sum_stale)
        return rt->sum;
    for (uint32_t i = 0; i < rt->node_count; i++) {
        const struct node *n = rt->nodes[i];

        if (is_shared(n))
            sum ^=
                mix(mix(mix(mix(n->id_hash, n->gen), (uint64_t)n->instance), (uint64_t)n->ls_seq),
                    (uint64_t)n->mobile_seq);
    }
    rt->sum = sum;
    rt->sum_stale = false;
    return sum;
}

static void want_flush(struct routing *rt, struct rlink *l, struct mono now)
{
    l->is_flush_due = true;
    rt_wake_link(rt, throttle_is_open(&l->flush, now) ? now : l->flush.next);
}

void flood_compare(struct routing *rt, uint32_t link, uint64_t sum, struct mono now)
{
    struct rlink *l = rt->links + link;
    uint64_t own = flood_sum(rt);

    if (sum == own) {
        l->same_difference = 0;
        l->differs_since = MONO_NEVER;
        l->digest_hold_ms = DIGEST_HOLD_MIN_MS;
        l->need_digest = false;
        return;
    }
    l->same_difference = sum == l->peer_sum && own == l->own_sum ? l->same_difference + 1 : 1;
    l->peer_sum = sum;
    l->own_sum = own;
    l->differs_since = mono_min(l->differs_since, now);
    if ((l->same_difference < SAME_DIFFERENCE_MAX &&
         mono_before(now, mono_add_ms(l->differs_since, DIFFERENCE_MAX_MS))) ||
        mono_before(now, l->digest_at))
        return;
    l->need_digest = true;
    l->same_difference = 0;
    l->differs_since = MONO_NEVER;
    l->digest_at = mono_add_ms(now, l->digest_hold_ms);
    l->digest_hold_ms =
        2 * l->digest_hold_ms < DIGEST_HOLD_MAX_MS ? 2 * l->digest_hold_ms : DIGEST_HOLD_MAX_MS;
    want_flush(rt, l, now);
}

// --- sending -------------------------------------------------------------------------------------

// A message being written, its list open.
struct batch {
    struct routing *rt;
    uint32_t link, body_count, item_count;
    const char *key; // "have" or "want"
    size_t at, total;
    struct amqp_mark body, list;
};

static void batch_close(struct batch *b)
{
    struct amqp_writer *w = &b->rt->out;

    if (b->item_count == 0)
        return;
    amqp_end(w, b->list, b->item_count);
    amqp_end(w, b->body, b->body_count);
    rt_out_send(b->rt, b->link, b->at);
    b->total += w->len - b->at;
    b->item_count = 0;
}

// Makes room for one more item of the list under `key`.
static void batch_item(struct batch *b, const char *key)
{
    struct amqp_writer *w = &b->rt->out;
    struct ctl_path path = rt_path(b->rt, ROUTING_SELF, NULL);

    if (b->item_count > 0 && (b->key != key || w->len - b->at > MESSAGE_MAX))
        batch_close(b);
    if (b->item_count++ > 0)
        return;
    b->key = key;
    b->at = rt_out_begin(b->rt);
    b->body = ctl_begin(w, &path, "FLOOD", STR("amqp:/" ROUTING_FLOOD_TO),
                        node_id(b->rt->nodes[ROUTING_SELF]), &b->body_count);
    amqp_put_string(w, str_of(key));
    b->list = amqp_begin_list(w, true);
    b->body_count += 2;
}

static const char have_key[] = "have", want_key[] = "want";

static void put_diffs(struct amqp_writer *w, const struct node *n, uint64_t since)
{
    struct amqp_mark all = amqp_begin_list(w, false), one, part;
    uint32_t count = 0;

    for (const struct diff *d = n->diffs; d; d = d->next) {
        if (d->change <= since)
            continue;
        count++;
        one = amqp_begin_list(w, false);
        ctl_put_int(w, d->mobile_seq);
        part = amqp_begin_list(w, true);
        amqp_put_raw(w, (struct str){d->bytes, d->add_len});
        amqp_end(w, part, d->add_count);
        part = amqp_begin_list(w, true);
        amqp_put_raw(w, (struct str){d->bytes + d->add_len, d->del_len});
        amqp_end(w, part, d->del_count);
        amqp_end(w, one, 3);
    }
    amqp_end(w, all, count);
}

// `with`: bits of enum part to tell in full; differences since `since` are told besides.
static void put_record(struct batch *b, uint32_t number, uint8_t with, uint64_t since)
{
    struct amqp_writer *w = &b->rt->out;
    const struct node *n = b->rt->nodes[number];
    struct amqp_mark mark;

    if (!n->has_instance)
        return;
    batch_item(b, have_key);
    mark = amqp_begin_list(w, false);
    amqp_put_string(w, node_id(n));
    ctl_put_int(w, n->gen);
    ctl_put_int(w, n->instance);
    ctl_put_int(w, n->ls_seq);
    ctl_put_int(w, n->mobile_seq);
    if (with & PART_LS)
        ls_put_peers(b->rt, w, n, false);
    else
        amqp_put_null(w);
    if (with & PART_MA)
        ma_put_exist(w, n);
    else
        amqp_put_null(w);
    if (!(with & PART_MA) && n->ma_change > since)
        put_diffs(w, n, since);
    else
        amqp_put_null(w);
    amqp_end(w, mark, 8);
}

static uint64_t word_of(const struct bits *b, uint32_t at)
{
    return at < b->word_count ? b->words[at] : 0;
}

static void put_asks(struct batch *b, struct rlink *l)
{
    struct routing *rt = b->rt;
    struct amqp_mark mark;

    for (uint32_t i = 0; i < (rt->node_count + 63) / 64; i++) {
        uint64_t bits = word_of(&l->ask_ls, i) | word_of(&l->ask_ma, i);

        for (; bits; bits &= bits - 1) {
            uint32_t number = 64 * i + (uint32_t)__builtin_ctzll(bits);

            batch_item(b, want_key);
            mark = amqp_begin_list(&rt->out, false);
            amqp_put_string(&rt->out, node_id(rt->nodes[number]));
            amqp_put_int(&rt->out, (bits_get(&l->ask_ls, number) ? PART_LS : 0) |
                                       (bits_get(&l->ask_ma, number) ? PART_MA : 0));
            amqp_end(&rt->out, mark, 2);
            bits_clear(&l->ask_ls, number);
            bits_clear(&l->ask_ma, number);
        }
    }
}

static void put_digest(struct batch *b)
{
    for (uint32_t i = 0; i < b->rt->node_count; i++)
        if (is_shared(b->rt->nodes[i]))
            put_record(b, i, 0, UINT64_MAX);
}

// One node whose bit is set in any of the sets.
static void put_due(struct batch *b, struct rlink *l, uint32_t number)
{
    const struct node *n = b->rt->nodes[number];
    bool is_dirty = bits_get(&l->dirty, number);
    uint8_t with = 0;

    if (n->has_ls && (bits_get(&l->want_ls, number) || (is_dirty && n->ls_change > l->flushed)))
        with |= PART_LS;
    if (bits_get(&l->want_ma, number))
        with |= PART_MA;
    put_record(b, number, with, is_dirty ? l->flushed : UINT64_MAX);
    bits_clear(&l->dirty, number);
    bits_clear(&l->want_ls, number);
    bits_clear(&l->want_ma, number);
}

// True when everything has been told.
static bool put_all_due(struct batch *b, struct rlink *l)
{
    for (uint32_t i = 0; i < (b->rt->node_count + 63) / 64; i++) {
        uint64_t bits = word_of(&l->dirty, i) | word_of(&l->want_ls, i) | word_of(&l->want_ma, i);

        for (; bits; bits &= bits - 1) {
            if (b->total > FLUSH_MAX)
                return false;
            put_due(b, l, 64 * i + (uint32_t)__builtin_ctzll(bits));
        }
    }
    return true;
}

static void flush(struct routing *rt, uint32_t link, struct mono now)
{
    struct rlink *l = rt->links + link;
    struct batch b = {.rt = rt, .link = link};

    put_asks(&b, l);
    if (l->need_digest)
        put_digest(&b);
    l->need_digest = false;
    l->is_flush_due = !put_all_due(&b, l);
    batch_close(&b);
    if (!l->is_flush_due)
        l->flushed = rt->change;
    throttle_fire(&l->flush, FLUSH_HOLD_MIN_MS, FLUSH_HOLD_MAX_MS, now);
}

void flood_tick(struct routing *rt, uint32_t link, struct mono now)
{
    struct rlink *l = rt->links + link;

    if (!l->is_adjacent || !l->is_flush_due)
        return;
    if (throttle_is_open(&l->flush, now))
        flush(rt, link, now);
    if (l->is_flush_due)
        rt_wake_link(rt, l->flush.next);
}

void flood_mark(struct routing *rt, uint32_t number, uint32_t from, struct mono now)
{
    for (uint32_t i = 0; i < rt->link_count; i++) {
        struct rlink *l = rt->links + i;

        if (!l->is_ours || !l->is_adjacent || i == from || l->peer == number)
            continue;
        bits_set(&l->dirty, number);
        want_flush(rt, l, now);
    }
}

void flood_link_up(struct routing *rt, uint32_t link, struct mono now)
{
    struct rlink *l = rt->links + link;

    l->flushed = rt->change;
    l->need_digest = true;
    l->same_difference = 0;
    l->differs_since = MONO_NEVER;
    l->digest_hold_ms = DIGEST_HOLD_MIN_MS;
    l->digest_at = now;
    want_flush(rt, l, now);
}

void flood_link_down(struct rlink *l)
{
    bits_fini(&l->dirty);
    bits_fini(&l->want_ls);
    bits_fini(&l->want_ma);
    bits_fini(&l->ask_ls);
    bits_fini(&l->ask_ma);
    l->is_flush_due = l->need_digest = false;
}

void flood_forget(struct routing *rt, uint32_t number)
{
    for (uint32_t i = 0; i < rt->link_count; i++) {
        struct rlink *l = rt->links + i;

        bits_clear(&l->dirty, number);
        bits_clear(&l->want_ls, number);
        bits_clear(&l->want_ma, number);
        bits_clear(&l->ask_ls, number);
        bits_clear(&l->ask_ma, number);
        if (l->peer == number) {
            l->peer = ROUTING_NO_NODE;
            l->is_heard = false;
        }
    }
}

void flood_prune_diffs(struct routing *rt)
{
    uint64_t told = rt->change;
    struct list *first;

    for (uint32_t i = 0; i < rt->link_count; i++)
        if (rt->links[i].is_flush_due && rt->links[i].flushed < told)
            told = rt->links[i].flushed;
    while ((first = list_first(&rt->diffs)) != NULL) {
        struct diff *d = list_entry(first, struct diff, on_diffs);
        struct node *n = rt->nodes[d->node];

        if (d->change > told && rt->diff_bytes <= DIFF_BYTES_MAX)
            return;
        assert(n->diffs == d);
        n->diffs = d->next;
        if (n->diffs == NULL)
            n->diffs_last = NULL;
        rt->diff_bytes -= d->add_len + d->del_len;
        list_remove(first);
        free(d);
    }
}

// --- receiving -----------------------------------------------------------------------------------

// Negative when the record is of an earlier life of the router than we know.
static int compare_life(const struct node *n, const struct ctl_record *rec)
{
    if (!n->has_instance)
        return 1;
    if (rec->gen != n->gen)
        return rec->gen < n->gen ? -1 : 1;
    return (rec->instance > n->instance) - (rec->instance < n->instance);
}

static void tell_back(struct routing *rt, uint32_t link, uint32_t number, struct mono now)
{
    bits_set(&rt->links[link].dirty, number);
    want_flush(rt, rt->links + link, now);
}

// What others say of us. They may remember a life of ours that looks newer than this one, because
// the clock ran backwards or two restarts fell into one second: then we outbid it.
static void hear_of_self(struct routing *rt, uint32_t link, const struct ctl_record *rec,
                         struct mono now)
{
    struct node *self = rt->nodes[ROUTING_SELF];
    int life = compare_life(self, rec);
    bool is_behind =
        life == 0 && (rec->ls_seq > self->ls_seq || rec->mobile_seq > self->mobile_seq);

    if (life < 0 ||
        (life == 0 && (rec->ls_seq < self->ls_seq || rec->mobile_seq < self->mobile_seq)))
        tell_back(rt, link, ROUTING_SELF, now);
    if ((life <= 0 && !is_behind) || !throttle_is_open(&rt->self_throttle, now))
        return;
    throttle_fire(&rt->self_throttle, SELF_HOLD_MIN_MS, SELF_HOLD_MAX_MS, now);
    if (rt->self_throttle.hold_ms > SELF_HOLD_MIN_MS)
        rt_note(rt, &rt->noted, NOTE_DUPLICATE, ROUTING_NO_NODE, link,
                "another router uses our id %s", rt->opts.id);
    if (life > 0)
        self->gen = (uint32_t)rec->gen + 1;
    if (rec->ls_seq > self->ls_seq)
        self->ls_seq = rec->ls_seq;
    if (rec->mobile_seq > self->mobile_seq)
        self->mobile_seq = rec->mobile_seq + 1;
    ma_drop_diffs(rt, self);
    self->ma_change = ++rt->change;
    rt->sum_stale = true;
    rt->is_ls_dirty = true;
}

static void ask(struct routing *rt, uint32_t link, uint32_t number, uint8_t parts, struct mono now)
{
    struct rlink *l = rt->links + link;
    struct node *n = rt->nodes[number];

    if ((n->asked & parts) == parts && mono_before(now, mono_add_ms(n->asked_at, ASK_MS)))
        return;
    n->asked = parts;
    n->asked_at = now;
    if (parts & PART_LS)
        bits_set(&l->ask_ls, number);
    if (parts & PART_MA)
        bits_set(&l->ask_ma, number);
    want_flush(rt, l, now);
}

static bool read_list(struct amqp_reader *r, struct ctl_items *out)
{
    struct amqp_item it;

    if (amqp_read(r, &it) < 0 || it.type != AMQP_LIST)
        return false;
    *out = (struct ctl_items){true, it.count, it.bytes};
    return ctl_check_addresses(out);
}

static void apply_diffs(struct routing *rt, uint32_t number, const struct ctl_items *diffs)
{
    struct amqp_reader all = reader_over(diffs->bytes);
    struct amqp_item it;

    for (uint32_t i = 0; i < diffs->count; i++) {
        struct ctl_items add, del;
        struct amqp_reader r;
        int64_t seq;

        if (amqp_read(&all, &it) < 0 || it.type != AMQP_LIST)
            return;
        r = reader_over(it.bytes);
        if (it.count < 3 || amqp_read(&r, &it) < 0 || !amqp_item_int(&it, &seq) ||
            !read_list(&r, &add) || !read_list(&r, &del))
            return;
        if (seq == rt->nodes[number]->mobile_seq + 1)
            ma_send_diff(rt, number, ma_apply_diff(rt, number, seq, &add, &del));
    }
}

// The parts that are still lacking.
static uint8_t apply_content(struct routing *rt, uint32_t number, const struct ctl_record *rec,
                             struct mono now)
{
    struct node *n = rt->nodes[number];
    uint8_t lacking = 0;

    if (rec->ls_seq > n->ls_seq &&
        !(rec->peers.present && ls_apply(rt, number, rec->ls_seq, &rec->peers, now)))
        lacking |= PART_LS;
    if (rec->mobile_seq > n->mobile_seq) {
        if (rec->exist.present && ctl_check_addresses(&rec->exist))
            ma_apply_exist(rt, number, rec->mobile_seq, &rec->exist);
        else if (rec->diffs.present)
            apply_diffs(rt, number, &rec->diffs);
        if (rec->mobile_seq > n->mobile_seq)
            lacking |= PART_MA;
    }
    return lacking;
}

static void apply_record(struct routing *rt, uint32_t link, const struct ctl_record *rec,
                         struct mono now)
{
    uint32_t number;
    struct node *n;
    uint64_t before = rt->change;
    uint8_t lacking;
    int life;

    if (str_eq(rec->id, node_id(rt->nodes[ROUTING_SELF]))) {
        hear_of_self(rt, link, rec, now);
        return;
    }
    n = rt_learn(rt, rec->id, &number, now);
    if (n == NULL)
        return;
    life = compare_life(n, rec);
    if (life < 0) {
        tell_back(rt, link, number, now);
        return;
    }
    if (life > 0) {
        rt_restart(rt, number, rec->instance, (uint32_t)rec->gen, now);
        n->need_lsr = false;
        n->is_from_ours = true;
    }
    if (rec->ls_seq == n->ls_seq && rec->mobile_seq == n->mobile_seq)
        bits_clear(&rt->links[link].dirty, number); // the peer knows
    else if (rec->ls_seq < n->ls_seq || rec->mobile_seq < n->mobile_seq)
        tell_back(rt, link, number, now);
    lacking = apply_content(rt, number, rec, now);
    if (rec->peers.present || rec->exist.present)
        n->asked = 0; // answered
    if (lacking)
        ask(rt, link, number, lacking, now);
    if (rt->change == before)
        return;
    n->is_from_ours = true;
    ls_tell_plain(rt, number, now);
    rt_check_gap(rt, number, now);
    flood_mark(rt, number, link, now);
}

static bool apply_want(struct routing *rt, struct rlink *l, struct amqp_reader *items)
{
    struct amqp_item it, id;
    struct amqp_reader r;
    int64_t parts;
    uint32_t number;
    const struct node *n;

    if (amqp_read(items, &it) < 0 || it.type != AMQP_LIST || it.count < 2)
        return false;
    r = reader_over(it.bytes);
    if (amqp_read(&r, &id) < 0 || id.type != AMQP_STRING || amqp_read(&r, &it) < 0 ||
        !amqp_item_int(&it, &parts))
        return false;
    n = rt_find(rt, id.bytes, &number);
    if (n == NULL)
        return true;
    if (parts & PART_LS)
        bits_set(&l->want_ls, number);
    if (parts & PART_MA)
        bits_set(&l->want_ma, number);
    return true;
}

void flood_receive(struct routing *rt, uint32_t link, const struct ctl *m, struct mono now)
{
    struct rlink *l = rt->links + link;
    struct amqp_reader have = reader_over(m->have.bytes), want = reader_over(m->want.bytes);
    struct ctl_record rec;
    bool is_good = l->is_ours;

    if (l->is_ours && !l->is_adjacent)
        return; // the digest that follows adjacency brings it again
    for (uint32_t i = 0; is_good && i < m->have.count; i++) {
        is_good = ctl_read_record(&have, &rec);
        if (is_good)
            apply_record(rt, link, &rec, now);
    }
    for (uint32_t i = 0; is_good && i < m->want.count; i++)
        is_good = apply_want(rt, l, &want);
    if (is_good && m->want.count > 0)
        want_flush(rt, l, now);
    if (!is_good)
        rt_note(rt, &l->noted, NOTE_MALFORMED, l->peer, link, "malformed FLOOD message ignored");
}
