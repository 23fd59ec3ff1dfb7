// SPDX-License-Identifier: Apache-2.0
// Management requests: whatever comes in, an answer that is given is itself a well-formed message.
#include <assert.h>
#include <stdlib.h>

#include "base/err.h"
#include "mgmt/mgmt.h"

static void each(void *user, mgmt_emit *emit, void *to)
{
    const struct amqp_val *values[64] = {NULL};
    struct amqp_val *name = amqp_val_string(STR("one"));

    (void)user;
    values[0] = values[1] = name;
    emit(to, values);
    amqp_val_free(name);
}

static int create(void *user, const struct mgmt_entity *e, struct why *why)
{
    (void)user;
    (void)e;
    why_set(why, "no");
    return ERR_EXISTS;
}

static int update(void *user, struct str identity, const struct amqp_val *changes, struct why *why)
{
    (void)user;
    (void)identity;
    (void)changes;
    (void)why;
    return 0;
}

static int erase(void *user, struct str identity, struct why *why)
{
    (void)user;
    (void)identity;
    (void)why;
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct mgmt_agent *agent = mgmt_agent_new();
    struct mgmt_provider provider = {
        mgmt_find_type(STR("sslProfile")), NULL, each, NULL, create, update, erase};
    struct amqp_writer response;
    struct amqp_msg msg;
    char *reply_to = NULL;

    amqp_writer_init(&response);
    mgmt_agent_add(agent, &provider);
    if (mgmt_agent_handle(agent, (struct str){(const char *)data, len}, &reply_to, &response)) {
        assert(reply_to);
        assert(amqp_msg_scan(amqp_written(&response), true, AMQP_SCAN_BODY, &msg) == 0);
        assert(msg.app_properties.len > 0 && msg.body_at < response.len);
    }
    free(reply_to);
    amqp_writer_fini(&response);
    mgmt_agent_free(agent);
    return 0;
}
