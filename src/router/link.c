// SPDX-License-Identifier: Apache-2.0
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "router/core.h"

void link_init(struct router_link *l, struct router_conn *c, enum link_kind kind, bool is_out)
{
    l->conn = c;
    l->kind = kind;
    l->is_out = is_out;
    l->capacity = c->link_capacity;
    l->id = c->router->next_id++;
    l->priority = PRIORITY_DEFAULT;
    l->dry_since = c->router->now;
    list_init(&l->on_address);
    list_init(&l->on_idle); // or `on_lagging`
    list_init(&l->on_stalled);
    list_init(&l->queue); // or `deliveries`, in the same place
    list_init(&l->sent);
    if (is_out)
        list_init(&l->moved);
    list_append(&c->links, &l->on_conn);
    c->router->link_count += c->role != ROUTER_ROLE_SHARD;
}

struct router_link *link_new(struct router_conn *c, struct amqp_link *al, enum link_kind kind,
                             bool is_out)
{
    struct router_link *l = xcalloc(1, sizeof(*l));

    link_init(l, c, kind, is_out);
    l->amqp = al;
    amqp_link_set_user(al, l);
    return l;
}

struct router_link *link_open(struct router_conn *c, struct amqp_session *s, enum link_kind kind,
                              bool is_out, const struct amqp_attach *attach)
{
    struct amqp_link *al = s ? amqp_link_attach(s, attach) : NULL;

    conn_mark(c);
    return al ? link_new(c, al, kind, is_out) : NULL;
}

static const char *refusal(const struct amqp_terminus *t, bool is_out)
{
    if (t->is_coordinator)
        return "amqp:not-implemented";
    if (is_out && t->address.len == 0 && !t->dynamic)
        return "amqp:invalid-field";
    if (t->address.len > ADDRESS_MAX)
        return "amqp:invalid-field";
    return NULL;
}

static const char *refusal_words(const char *condition, const struct amqp_terminus *t)
{
    if (t->is_coordinator)
        return "transactions are not supported";
    if (strcmp(condition, "amqp:not-found") == 0)
        return "Node not found";
    if (strcmp(condition, "amqp:not-allowed") == 0)
        return "what is for another router is received there";
    return t->address.len == 0 ? "a source address, or dynamic, is needed"
                               : "the address is longer than 1024 bytes or malformed";
}

// The address that a dynamic terminus gets, as text for the client.
static void dynamic_address(struct router *r, bool is_out, char *out, size_t size)
{
    char id[RNG_ID_LEN + 1];

    rng_id(&r->rng, id);
    if (!is_out)
        snprintf(out, size, "amqp:/_$temp.%s", id);
    else if (r->mode == ROUTER_EDGE || r->hub_mode == ROUTER_EDGE)
        snprintf(out, size, "amqp:/_edge/%s/temp.%s", r->id, id);
    else
        snprintf(out, size, "amqp:/_topo/0/%s/temp.%s", r->id, id);
}

// A client's link, or a proxy link of an edge router: it names the address it is about.
static void attach_endpoint(struct router_conn *c, struct amqp_link *al)
{
    struct router *r = c->router;
    bool is_out = amqp_link_role(al) == AMQP_SENDER;
    const struct amqp_terminus *t = is_out ? amqp_link_source(al) : amqp_link_target(al);
    const char *condition = refusal(t, is_out);
    char text[ADDRESS_MAX + 64];
    struct str given = STR_NONE;
    struct address *a = NULL;

    if (!condition && t->dynamic) {
        dynamic_address(r, is_out, text, sizeof(text));
        given = str_of(text);
        a = address_obtain(r, given);
    } else if (!condition && t->address.len > 0) {
        a = address_obtain(r, t->address);
        if (!a)
            condition = "amqp:invalid-field";
        else if (a->treatment == ROUTER_UNAVAILABLE)
            condition = "amqp:not-found";
        else if (is_out && strchr("RHANU", a->key.ptr[0]))
            condition = "amqp:not-allowed";
    }
    if (condition) {
        amqp_link_refuse(al, condition, refusal_words(condition, t));
        if (a)
            address_changed(r, a);
        return;
    }

    struct router_link *l = link_new(c, al, LINK_ENDPOINT, is_out);

    l->is_attached = true;
    l->is_proxy = c->role == ROUTER_ROLE_EDGE || c->role == ROUTER_ROLE_INTER_EDGE;
    l->is_router = l->is_proxy || c->role == ROUTER_ROLE_SHARD; // a shard's clients are our own
    l->wants_settled = is_out && amqp_link_snd_settle_mode(al) == 1;
    l->is_streaming = !is_out && amqp_terminus_has(t, "qd.streaming-deliveries");
    l->is_resend = !is_out && amqp_terminus_has(t, "qd.resend-released");
    amqp_link_accept(al, given, l->capacity);
    if (a && !is_out)
        l->target = str_dup(given.len > 0 ? given : t->address);
    if (!a)
        link_refill(l);
    else if (is_out)
        address_add_consumer(a, l);
    else
        address_add_producer(a, l);
    if (a && is_out && l->is_proxy)
        network_tell_reach(r, a);
}

void link_attached(struct router_conn *c, struct amqp_link *al)
{
    struct router_link *l = amqp_link_user(al);

    if (l) { // the answer to ours
        l->is_attached = true;
        network_link_up(l);
        link_pump(l);
        return;
    }
    if (network_attach(c, al) || edge_attach(c, al))
        return;
    attach_endpoint(c, al);
}

void link_refill(struct router_link *l)
{
    if (!l->amqp || l->is_out || l->is_leaving)
        return;
    if (l->address && l->kind == LINK_ENDPOINT && !address_has_destination(l->address))
        return;

    uint32_t standing = l->open_count + amqp_link_credit(l->amqp);

    if (standing < l->capacity) {
        amqp_link_grant(l->amqp, l->capacity - standing);
        conn_mark(l->conn);
    }
    link_note_credit(l);
}

void link_note_credit(struct router_link *l)
{
    if (!l->amqp || amqp_link_credit(l->amqp) > 0)
        l->dry_since = MONO_NEVER;
    else if (l->dry_since.ns == MONO_NEVER.ns)
        l->dry_since = l->conn->router->now;
}

void link_stall(struct router_link *l)
{
    if (!list_empty(&l->on_stalled))
        return;
    if (l->kind == LINK_CONTROL) // routes come first
        list_prepend(&l->conn->stalled, &l->on_stalled);
    else
        list_append(&l->conn->stalled, &l->on_stalled);
}

bool link_is_ready(struct router_link *l)
{
    if (amqp_link_is_ready(l->amqp))
        return true;
    link_stall(l);
    return false;
}

void link_pump(struct router_link *l)
{
    struct list *node;

    if (!l->is_out || !l->is_attached || !l->amqp)
        return;
    if (l->current && !outgoing_write(l->current))
        return;
    while (l->queue_count > 0 && link_is_ready(l)) {
        node = list_pop(&l->queue);
        l->queue_count--;
        if (!outgoing_begin(list_entry(node, struct outgoing, on_link), l))
            return;
    }
    if (l->queue_count == 0 && !l->current && amqp_link_is_draining(l->amqp) &&
        (!l->address || l->address->waiting_count == 0)) {
        amqp_link_drained(l->amqp);
        conn_mark(l->conn);
    }
}

void link_go_on(struct router_link *l)
{
    link_pump(l);
    address_serve(l);
}

void link_detached(struct router_link *l)
{
    struct router *r = l->conn->router;
    struct list *node;

    list_remove(&l->on_conn);
    address_remove_link(r, l);
    network_link_down(l);
    edge_link_down(l);
    while (!l->is_out && (node = list_pop(&l->deliveries)) != NULL)
        delivery_in_lost(list_entry(node, struct delivery, on_link));
    while ((node = list_pop(&l->sent)) != NULL)
        outgoing_lost(list_entry(node, struct outgoing, on_link));
    while (l->is_out && (node = list_pop(&l->queue)) != NULL)
        outgoing_lost(list_entry(node, struct outgoing, on_link));
    while (l->is_out && (node = list_pop(&l->moved)) != NULL)
        list_entry(node, struct outgoing, on_moved)->moved = NULL;
    list_remove(&l->on_stalled);
    list_remove(&l->on_lagging);
    r->link_count -= l->conn->role != ROUTER_ROLE_SHARD;
    counts_free(l);
    if (!l->is_out) {
        free(l->memo);
        free(l->target);
    }
    free(l);
}

void link_close(struct router_link *l, const char *condition, const char *description)
{
    struct amqp_link *al = l->amqp;

    l->amqp = NULL;
    conn_mark(l->conn);
    if (al)
        amqp_link_detach(al, condition, description);
    link_detached(l);
}
