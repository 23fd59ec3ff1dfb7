// SPDX-License-Identifier: Apache-2.0
#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"
#include "router/core.h"

// The address table: from the text in a message or a terminus to the object that knows who consumes
// it. A key is a class letter and the rest of the text (L local, M mobile, R a router, H an edge
// router, T every router); the rules stand in docs/protocol.md.

// Drops "amqp:/", a host behind it, a leading '/', and one trailing '.' or '/'.
static struct str normalise(struct str text)
{
    if (str_starts(text, STR("amqp:"))) {
        text = str_skip(text, 5);
        if (str_starts(text, STR("//"))) {
            const char *slash = text.len > 2 ? memchr(text.ptr + 2, '/', text.len - 2) : NULL;

            text = slash ? str_skip(text, (size_t)(slash - text.ptr)) : STR_NONE;
        }
    }
    if (text.len > 0 && text.ptr[0] == '/')
        text = str_skip(text, 1);
    if (text.len > 1 && (text.ptr[text.len - 1] == '.' || text.ptr[text.len - 1] == '/'))
        text.len--;
    return text;
}

// Takes "name/" off the front; false when there is no '/'.
static bool take_segment(struct str *text, struct str *segment)
{
    const char *slash = text->len > 0 ? memchr(text->ptr, '/', text->len) : NULL;

    if (!slash)
        return false;
    segment->ptr = text->ptr;
    segment->len = (size_t)(slash - text->ptr);
    *text = str_skip(*text, segment->len + 1);
    return true;
}

static bool compose(char key[ADDRESS_MAX + 64], char letter, struct str rest, struct str *out)
{
    key[0] = letter;
    if (rest.len > 0)
        memcpy(key + 1, rest.ptr, rest.len);
    key[1 + rest.len] = '\0';
    *out = (struct str){key, 1 + rest.len};
    return rest.len > 0;
}

static bool classify_topo(const struct router *r, struct str rest, char key[ADDRESS_MAX + 64],
                          struct str *out)
{
    struct str area, node;

    if (!take_segment(&rest, &area) || !take_segment(&rest, &node))
        return false;
    if (!str_is(area, "0") && !str_is(area, "all"))
        return compose(key, 'A', area, out);
    if (str_is(node, r->id))
        return compose(key, 'L', rest, out);
    if (r->mode == ROUTER_EDGE)
        return compose(key, 'U', STR("p"), out);
    if (str_is(node, "all"))
        return compose(key, 'T', rest, out);
    if (r->mode == ROUTER_SHARD)
        return compose(key, 'U', STR("p"), out);
    return compose(key, 'R', node, out);
}

static bool classify_edge(const struct router *r, struct str rest, char key[ADDRESS_MAX + 64],
                          struct str *out)
{
    struct str node;

    if (!take_segment(&rest, &node))
        return false;
    if (r->mode != ROUTER_EDGE && r->mode != ROUTER_SHARD)
        return compose(key, 'H', node, out);
    if (str_is(node, r->id) && (r->mode == ROUTER_EDGE || r->hub_mode == ROUTER_EDGE))
        return compose(key, 'L', rest, out);
    return compose(key, 'U', STR("p"), out);
}

bool address_classify(const struct router *r, struct str text, char key[ADDRESS_MAX + 64],
                      struct str *out)
{
    struct str rest = normalise(text), ignored;

    if (rest.len == 0 || rest.len > ADDRESS_MAX)
        return false;
    if (rest.ptr[0] == '_') {
        if (str_starts(rest, STR("_local/")))
            return compose(key, 'L', str_skip(rest, 7), out);
        if (str_starts(rest, STR("_topo/")))
            return classify_topo(r, str_skip(rest, 6), key, out);
        if (str_starts(rest, STR("_edge/")))
            return classify_edge(r, str_skip(rest, 6), key, out);
        if (str_starts(rest, STR("_xtopo/"))) {
            rest = str_skip(rest, 7);
            return take_segment(&rest, &ignored) && classify_topo(r, rest, key, out);
        }
        if (str_starts(rest, STR("_xedge/"))) {
            rest = str_skip(rest, 7);
            return take_segment(&rest, &ignored) && classify_edge(r, rest, key, out);
        }
    }
    return compose(key, 'M', rest, out);
}

struct address *address_find_key(const struct router *r, struct str key)
{
    return map_get(&r->addresses, key);
}

struct address *address_find(struct router *r, struct str text)
{
    char key_text[ADDRESS_MAX + 64];
    struct str key;

    if (!address_classify(r, text, key_text, &key))
        return NULL;
    if (key.ptr[0] == 'T')
        return address_obtain_key(r, key);
    if (str_starts(key, STR("Ltemp.")) && !map_get(&r->addresses, key))
        return r->replies;
    return map_get(&r->addresses, key);
}

static void configure(struct router *r, struct address *a)
{
    const struct treatment_rule *rule = NULL;

    a->treatment = ROUTER_CLOSEST;
    a->priority = -1;
    if (a->key.ptr[0] == 'T') {
        a->treatment = ROUTER_FLOOD;
        a->all_nodes = r->mode != ROUTER_SHARD; // a shard's hub knows them
    }
    if (a->key.ptr[0] != 'M')
        return;
    a->treatment = r->default_treatment;
    rule = rule_for(r, str_skip(a->key, 1));
    if (rule) {
        a->treatment = rule_treatment(rule);
        a->priority = rule_priority(rule);
    }
    if (str_starts(a->key, STR("M_$temp.")))
        a->treatment = ROUTER_CLOSEST;
}

struct address *address_obtain_key(struct router *r, struct str key)
{
    struct address *a = map_get(&r->addresses, key);

    if (a)
        return a;
    if (r->addresses.count >= ADDRESS_COUNT_MAX)
        return NULL;
    a = xcalloc(1, sizeof(*a));
    a->key.ptr = str_dup(key);
    a->key.len = key.len;
    list_init(&a->consumers);
    list_init(&a->producers);
    list_init(&a->watches);
    list_init(&a->waiting);
    list_init(&a->on_changed);
    configure(r, a);
    map_put(&r->addresses, key, a);
    return a;
}

struct address *address_obtain(struct router *r, struct str text)
{
    char key_text[ADDRESS_MAX + 64];
    struct str key;

    if (!address_classify(r, text, key_text, &key))
        return NULL;
    return address_obtain_key(r, key);
}

static void address_free(struct address *a)
{
    free((char *)(uintptr_t)a->key.ptr);
    free(a->inside);
    free(a->remotes);
    free(a->outstanding);
    free(a);
}

void address_free_all(struct router *r)
{
    size_t at = 0;
    void *value;

    while (map_next(&r->addresses, &at, NULL, &value))
        address_free(value);
    map_fini(&r->addresses);
}

bool address_has_destination(const struct address *a)
{
    return a->consumer_count > 0 || a->remote_count > 0 || a->inside || a->all_nodes;
}

static bool is_unused(const struct address *a)
{
    return !a->is_pinned && !a->inside && a->consumer_count == 0 && a->producer_count == 0 &&
           a->remote_count == 0 && a->waiting_count == 0 && a->delivery_refs == 0 &&
           list_empty(&a->watches) && !a->proxy_in && !a->proxy_out;
}

void address_changed(struct router *r, struct address *a)
{
    if (list_empty(&a->on_changed))
        list_append(&r->changed_addresses, &a->on_changed);
}

static void destinations_changed(struct address *a)
{
    a->had_destination = address_has_destination(a);
    stream_watch(a);
    list_for_each (node, &a->producers) {
        struct router_link *l = list_entry(node, struct router_link, on_address);

        if (a->had_destination)
            link_refill(l);
        else
            amqp_link_drain(l->amqp);
        conn_mark(l->conn);
    }
}

void address_settle_changes(struct router *r)
{
    struct list *node;

    while ((node = list_pop(&r->changed_addresses)) != NULL) {
        struct address *a = list_entry(node, struct address, on_changed);

        if (a->had_destination != address_has_destination(a))
            destinations_changed(a);
        if (a->waiting_count > 0)
            forward_waiting(r, a);
        network_publish(r, a);
        edge_address_changed(r, a);
        edge_proxy_changed(r, a);
        if (is_unused(a) && list_empty(&a->on_changed)) {
            r->address_generation++;
            map_remove(&r->addresses, a->key);
            address_free(a);
        }
    }
}

void address_add_consumer(struct address *a, struct router_link *l)
{
    struct router *r = l->conn->router;

    assert(!l->address);
    l->address = a;
    list_prepend(&a->consumers, &l->on_address);
    a->consumer_count++;
    a->proxy_count += l->is_proxy;
    address_changed(r, a);
}

void address_add_producer(struct address *a, struct router_link *l)
{
    assert(!l->address);
    l->address = a;
    list_append(&a->producers, &l->on_address);
    a->producer_count++;
    if (address_has_destination(a))
        link_refill(l);
    address_changed(l->conn->router, a);
}

void address_remove_link(struct router *r, struct router_link *l)
{
    struct address *a = l->address;

    if (!a)
        return;
    list_remove(&l->on_address);
    l->address = NULL;
    if (l->is_out) {
        a->consumer_count--;
        a->proxy_count -= l->is_proxy;
    } else {
        a->producer_count--;
    }
    address_changed(r, a);
}

static struct remote *find_remote(const struct address *a, uint32_t node)
{
    for (uint32_t i = 0; i < a->remote_count; i++)
        if (a->remotes[i].node == node)
            return &a->remotes[i];
    return NULL;
}

void address_set_remote(struct router *r, struct address *a, uint32_t node, int treatment)
{
    struct remote *have = find_remote(a, node);

    if (have) {
        have->treatment = treatment;
        return;
    }
    if (a->remote_count == a->remote_size) {
        a->remote_size = a->remote_size ? a->remote_size * 2 : 2;
        a->remotes = xrealloc(a->remotes, a->remote_size, sizeof(*a->remotes));
    }
    a->remotes[a->remote_count++] = (struct remote){node, treatment};
    // Section 8.3: our own configuration, else what the network says, else the default.
    if (a->key.ptr[0] == 'M' && treatment >= ROUTER_FLOOD && treatment <= ROUTER_BALANCED &&
        a->consumer_count == 0 && a->remote_count == 1 && !rule_for(r, str_skip(a->key, 1)))
        a->treatment = (enum router_treatment)treatment;
    address_changed(r, a);
}

void address_unset_remote(struct router *r, struct address *a, uint32_t node)
{
    struct remote *have = find_remote(a, node);

    if (!have)
        return;
    *have = a->remotes[--a->remote_count];
    if (a->remote_count == 0) {
        free(a->remotes);
        a->remotes = NULL;
        a->remote_size = 0;
    }
    address_changed(r, a);
}

static const struct address *known(const struct router *r, const char *address)
{
    char key_text[ADDRESS_MAX + 64];
    struct str key;

    return address_classify(r, str_of(address), key_text, &key) ? map_get(&r->addresses, key)
                                                                : NULL;
}

uint32_t router_destinations(const struct router *r, const char *address)
{
    const struct address *a = known(r, address);

    return a ? a->consumer_count + a->remote_count + (a->inside != NULL) : 0;
}

bool router_is_elsewhere(const struct router *r, const char *address)
{
    const struct address *a = known(r, address);

    return a && a->remote_count > 0;
}

bool router_has_way(struct router *r, struct str text)
{
    const struct address *a = address_find(r, text);

    return r->uplink || (a && address_has_destination(a));
}

uint32_t address_others(const struct address *a)
{
    return a->remote_count + a->proxy_count;
}

uint32_t router_others(const struct router *r, const char *address)
{
    const struct address *a = known(r, address);

    return a ? address_others(a) : 0;
}
