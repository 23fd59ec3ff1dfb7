// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>

#include "check.h"
#include "flow/heard_test.h"

static char *asked_for(const struct flow_collector *c)
{
    json_t *status = flow_collector_status(c, "service/");
    char *text = json_dumps(status, JSON_COMPACT);

    json_decref(status);
    return text;
}

static void hear_one(struct flow_collector *c, const char *id, const char *name, const char *key)
{
    struct words m;

    begin_records(&m);
    put_record(&m, FLOW_LISTENER, id, FLOW_PARENT, "aaaaa:0", FLOW_NAME, name,
               FLOW_DESTINATION_HOST, "127.0.0.1", FLOW_PROTOCOL, "tcp", FLOW_VAN_ADDRESS, key, 0);
    hear_records(c, "aaaaa:0", &m, 1);
}

TEST(what_a_site_asks_for_is_the_same_however_many_listen_to_a_service)
{
    struct flow_collector *c = flow_collector_new(at(0));
    uint64_t digest;
    char *text;

    hear_small_site(c, 0);
    hear_one(c, "aaaaa:5", "service/web:80", "web:80");
    text = asked_for(c);
    CHECK_STR(str_of(text),
              "{\"addresses\":[{\"name\":\"db\",\"listenerCount\":1},{\"name\":\"web:80\","
              "\"listenerCount\":1}],\"siteStatus\":[{\"site\":{\"identity\":\"site-a\","
              "\"name\":\"a\"},\"routerStatus\":[{\"links\":[],\"routerAccess\":[],"
              "\"listeners\":[{\"name\":\"db\",\"address\":\"db\"}],\"connectors\":[]}]}]}");
    free(text);
    digest = flow_collector_digest(c, "service/");
    hear_one(c, "aaaaa:6", "service/web:80", "web:80");
    CHECK_EQ(flow_collector_digest(c, "service/"), digest);
    hear_one(c, "aaaaa:7", "service/far:80", "far:80");
    CHECK(flow_collector_digest(c, "service/") != digest);
    digest = flow_collector_digest(c, "service/");
    hear_one(c, "aaaaa:8", "mine", "web:80");
    CHECK(flow_collector_digest(c, "service/") != digest);
    flow_collector_free(c);
}

TEST_MAIN(CASE(what_a_site_asks_for_is_the_same_however_many_listen_to_a_service))
