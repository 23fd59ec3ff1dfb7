// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "router/core.h"

// Consumers and senders inside the router. Management is one: the request goes to the agent, its
// answer is routed like any message.

enum { ANSWERS_MAX = 256 };

// Answers are not held back like messages of clients, so who does not read them gets no more; and
// nobody does while twice as much is stored as should be.
static bool may_answer(struct router *r, struct str request)
{
    const struct address *to;
    struct amqp_msg msg;

    amqp_msg_scan(request, true, AMQP_SCAN_PROPERTIES, &msg);
    to = address_find(r, msg.reply_to);
    return (!to || to->delivery_refs < ANSWERS_MAX) && r->stored < 2 * r->stored_max;
}

static void management(void *user, struct str message)
{
    struct router *r = user;
    struct amqp_writer response;
    char *reply_to = NULL;

    if (!r->agent || !may_answer(r, message))
        return;
    router_hold(r, true);
    amqp_writer_init(&response);
    if (mgmt_agent_handle(r->agent, message, &reply_to, &response))
        forward_inside(r, str_of(reply_to), amqp_written(&response));
    free(reply_to);
    amqp_writer_fini(&response);
    router_hold(r, false);
}

static void put_inside(struct address *a, router_receive *receive, void *user)
{
    a->inside = xcalloc(1, sizeof(*a->inside));
    *a->inside = (struct inside){receive, user};
    a->treatment = ROUTER_CLOSEST;
}

static void add_management(struct router *r, struct str key)
{
    struct address *a = address_obtain_key(r, key);

    put_inside(a, management, r);
    a->is_pinned = true;
    a->had_destination = true;
}

void inside_init(struct router *r)
{
    add_management(r, STR("M$management"));
    add_management(r, STR("L$management"));
    add_management(r, STR("L$_management_internal"));
}

int router_consume(struct router *r, const char *address, router_receive *receive, void *user)
{
    struct address *a = address_obtain(r, str_of(address));

    if (!a || a->key.ptr[0] != 'M')
        return ERR_INVALID;
    if (a->inside)
        return ERR_EXISTS;
    put_inside(a, receive, user);
    address_changed(r, a);
    router_settle(r);
    return 0;
}

void router_unconsume(struct router *r, const char *address)
{
    struct address *a = address_find(r, str_of(address));

    if (!a || a->is_pinned)
        return;
    free(a->inside);
    a->inside = NULL;
    address_changed(r, a);
    router_settle(r);
}

bool router_send(struct router *r, const char *to, struct str message)
{
    bool sent = forward_inside(r, str_of(to), message);

    router_settle(r);
    return sent;
}
