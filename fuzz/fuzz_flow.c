// SPDX-License-Identifier: Apache-2.0
// Telemetry messages: what is read from one can be written again and reads the same; and whatever
// comes as a command or co-record leaves a source that can be asked for everything.
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "flow/flow.h"

static void put_value(struct amqp_writer *w, const struct flow_value *v)
{
    amqp_put_uint(w, v->attr);
    if (v->is_text)
        amqp_put_string(w, v->text);
    else
        amqp_put_ulong(w, v->number);
}

// The record as a map with what we know of it; its number of values in *count.
static bool rewrite(struct amqp_writer *w, struct flow_read rec, uint32_t *count)
{
    struct amqp_mark map = amqp_begin_map(w, false);
    struct flow_value v;
    int got;

    *count = 0;
    amqp_put_uint(w, FLOW_RECORD_TYPE);
    amqp_put_uint(w, rec.type);
    amqp_put_uint(w, FLOW_IDENTITY);
    amqp_put_string(w, rec.id);
    for (; (got = flow_read_value(&rec, &v)) > 0; ++*count)
        put_value(w, &v);
    amqp_end(w, map, 4 + 2 * *count);
    return got == 0;
}

static void read_again(struct str map, const struct flow_read *first, uint32_t count)
{
    struct flow_news n = {.subject = FLOW_IS_RECORD, .record_count = 1};
    struct flow_read rec;
    struct flow_value v;

    n.rest = amqp_reader_of(map);
    assert(flow_read_record(&n, &rec) == 1);
    assert(rec.type == first->type && str_eq(rec.id, first->id));
    while (flow_read_value(&rec, &v) > 0)
        count--;
    assert(count == 0 && flow_read_record(&n, &rec) == 0);
}

static void read_all(struct str message)
{
    struct flow_news n;
    struct flow_read rec;
    struct amqp_writer w;
    uint32_t count;

    if (flow_read(message, &n) < 0 || n.subject != FLOW_IS_RECORD)
        return;
    while (flow_read_record(&n, &rec) > 0) {
        amqp_writer_init(&w);
        if (rewrite(&w, rec, &count))
            read_again(amqp_written(&w), &rec, count);
        amqp_writer_fini(&w);
    }
}

static void tell_source(struct str message)
{
    struct flow_opts o = {.host_name = "x-+g_Ac"};
    struct mono now = {0};
    struct flow *f = flow_new(&o, now);
    struct flow_message m;
    struct flow_news n;
    int records = 0;

    for (int i = 0; i < FLOW_CHANNEL_COUNT; i++)
        flow_set_reached(f, (enum flow_channel)i, true);
    for (int i = 0; i < 8; i++)
        flow_begin(f, FLOW_TPORT, NULL, now);
    flow_corecord(f, message);
    flow_command(f, message);
    for (int i = 0; i < 5; i++) {
        flow_tick(f, flow_deadline(f), 0);
        while (flow_next(f, &m)) {
            assert(flow_read(m.bytes, &n) == 0);
            if (n.subject == FLOW_IS_RECORD)
                records += (int)n.record_count;
        }
    }
    assert(records == 8);
    flow_free(f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct str message = {(const char *)data, len};

    read_all(message);
    tell_source(message);
    return 0;
}
