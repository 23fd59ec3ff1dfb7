// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>

#include "router/core.h"

// Consumers inside the router. Management is one: the request goes to the agent, its answer is
// routed like any message.

static void management(struct router *r, const struct amqp_msg *msg, struct str bytes)
{
    struct amqp_writer response;
    char *reply_to = NULL;

    if (!r->agent)
        return;
    amqp_writer_init(&response);
    if (mgmt_agent_handle(r->agent, str_skip(bytes, msg->ra_len), &reply_to, &response))
        forward_inside(r, str_of(reply_to), amqp_written(&response));
    free(reply_to);
    amqp_writer_fini(&response);
}

static const struct inside management_consumer = {management};

static void add(struct router *r, struct str key, const struct inside *consumer)
{
    struct address *a = address_obtain_key(r, key);

    a->inside = consumer;
    a->treatment = ROUTER_CLOSEST;
    a->is_pinned = true;
    a->had_destination = true;
}

void inside_init(struct router *r)
{
    add(r, STR("M$management"), &management_consumer);
    add(r, STR("L$management"), &management_consumer);
    add(r, STR("L$_management_internal"), &management_consumer);
}
