// SPDX-License-Identifier: Apache-2.0
// A collector hears messages of a router that may say anything. The status can always be told;
// equal knowledge is an equal status; and when the router falls silent nothing of it is left.
//
// The input is cut into messages: two octets of length, one of time, and the message.
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "flow/captured_messages.h"
#include "flow/flow.h"

static const char ADDRESS[] = "mc/sfe.+g_Ac:0"; // of the router of the beacon

static void obey(struct flow_collector *c)
{
    struct flow_want w;

    while (flow_collector_next(c, &w))
        assert(w.address[0]);
}

static void hear(struct flow_collector *c, struct str message, struct mono now)
{
    flow_collector_hear(c, ADDRESS, message, now);
    obey(c);
    flow_collector_tick(c, now);
    obey(c);
    assert(mono_before(now, flow_collector_deadline(c)) || flow_collector_has_news(c));
}

static void append(void *user, struct str piece)
{
    char **all = user, *longer = str_fmt("%s%.*s", *all, STR_ARG(piece));

    free(*all);
    *all = longer;
}

static void check_status(struct flow_collector *c, struct mono now)
{
    char *text = str_fmt("%s", "");
    json_t *value = flow_collector_status(c, NULL), *told;

    flow_collector_tell(c, now, append, &text);
    told = json_loads(text, 0, NULL);
    assert(told && json_equal(told, value) && !flow_collector_has_news(c));
    free(text);
    json_decref(told);
    json_decref(value);
}

static void check_nothing_left(struct flow_collector *c, struct mono now)
{
    struct flow_collector_stats stats;

    flow_collector_tick(c, mono_add_ms(now, FLOW_SILENT_MS));
    obey(c);
    flow_collector_stats(c, &stats);
    assert(stats.sources == 0 && stats.records == 0 && stats.octets == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mono now = {NS_PER_S};
    struct flow_collector *c = flow_collector_new(now);

    hear(c, (struct str){(const char *)captured_beacon, sizeof(captured_beacon)}, now);
    hear(c, (struct str){(const char *)captured_records, sizeof(captured_records)}, now);
    while (size >= 3) {
        size_t len = (size_t)(data[0] << 8 | data[1]);

        now = mono_add_ms(now, data[2] * 200);
        data += 3;
        size -= 3;
        if (len > size)
            len = size;
        hear(c, (struct str){(const char *)data, len}, now);
        data += len;
        size -= len;
    }
    check_status(c, now);
    check_nothing_left(c, now);
    flow_collector_free(c);
    return 0;
}
