// SPDX-License-Identifier: Apache-2.0
// What sources say, for tests of what is made of it.
#pragma once

#include <stdarg.h>
#include <stdlib.h>

#include "flow/inside.h"

static inline struct mono at(int64_t ms)
{
    return (struct mono){1000 * NS_PER_S + ms * NS_PER_MS};
}

// --------------------------------------------------------------------------- messages of sources

struct words {
    struct amqp_writer w;
    struct amqp_mark list;
    uint32_t count;
};

static inline void begin_message(struct words *m, const char *to, const char *subject)
{
    struct amqp_mark mark;

    amqp_writer_init(&m->w);
    m->count = 0;
    amqp_put_descriptor(&m->w, AMQP_SECTION_PROPERTIES);
    mark = amqp_begin_list(&m->w, false);
    amqp_put_null(&m->w);
    amqp_put_null(&m->w);
    amqp_put_string(&m->w, str_of(to));
    amqp_put_string(&m->w, str_of(subject));
    amqp_end(&m->w, mark, 4);
}

static inline void begin_records(struct words *m)
{
    begin_message(m, "", "RECORD");
    amqp_put_descriptor(&m->w, AMQP_SECTION_VALUE);
    m->list = amqp_begin_list(&m->w, true);
}

// Attributes follow, each with a text or an uint64_t, as is its kind; 0 ends.
static inline void put_record(struct words *m, enum flow_type type, const char *id, ...)
{
    struct amqp_mark map = amqp_begin_map(&m->w, true);
    uint32_t items = 4;
    va_list args;
    int attr;

    amqp_put_uint(&m->w, FLOW_RECORD_TYPE);
    amqp_put_uint(&m->w, type);
    amqp_put_uint(&m->w, FLOW_IDENTITY);
    amqp_put_string(&m->w, str_of(id));
    va_start(args, id);
    while ((attr = va_arg(args, int)) != 0) {
        amqp_put_uint(&m->w, (uint32_t)attr);
        if (attr_is_text((uint32_t)attr))
            amqp_put_string(&m->w, str_of(va_arg(args, const char *)));
        else
            amqp_put_ulong(&m->w, va_arg(args, uint64_t));
        items += 2;
    }
    va_end(args);
    amqp_end(&m->w, map, items);
    m->count++;
}

static inline struct str end_records(struct words *m)
{
    amqp_end(&m->w, m->list, m->count);
    return amqp_written(&m->w);
}

static inline void hear_records(struct flow_collector *c, const char *source, struct words *m,
                                int64_t ms)
{
    char *address = str_fmt("mc/sfe.%s", source);

    flow_collector_hear(c, address, end_records(m), at(ms));
    amqp_writer_fini(&m->w);
    free(address);
}

static inline void put_pair(struct amqp_writer *w, const char *key, const char *value)
{
    amqp_put_string(w, str_of(key));
    amqp_put_string(w, str_of(value));
}

// Application properties up to what every such message has in them.
static inline struct amqp_mark begin_properties(struct words *m, const char *to,
                                                const char *subject)
{
    struct amqp_mark map;

    begin_message(m, to, subject);
    amqp_put_descriptor(&m->w, AMQP_SECTION_APPLICATION_PROPERTIES);
    map = amqp_begin_map(&m->w, true);
    amqp_put_string(&m->w, STR("v"));
    amqp_put_uint(&m->w, 1);
    return map;
}

static inline void hear_beacon(struct flow_collector *c, const char *source, const char *type,
                               int64_t ms)
{
    char *address = str_fmt("mc/sfe.%s", source);
    struct words m;
    struct amqp_mark map = begin_properties(&m, "mc/sfe.all", "BEACON");

    put_pair(&m.w, "sourceType", type);
    put_pair(&m.w, "id", source);
    put_pair(&m.w, "address", address);
    put_pair(&m.w, "direct", address + 3);
    amqp_end(&m.w, map, 10);
    flow_collector_hear(c, "mc/sfe.all", amqp_written(&m.w), at(ms));
    amqp_writer_fini(&m.w);
    free(address);
}

static inline void hear_heartbeat(struct flow_collector *c, const char *source, int64_t ms)
{
    struct words m;
    struct amqp_mark map = begin_properties(&m, "", "HEARTBEAT");

    put_pair(&m.w, "id", source);
    amqp_end(&m.w, map, 4);
    flow_collector_hear(c, "mc/sfe.x", amqp_written(&m.w), at(ms));
    amqp_writer_fini(&m.w);
}

// A router "aaaaa:0" of site "site-a" with one listener.
static inline void put_router(struct words *m, const char *source, const char *name,
                              const char *site, uint64_t start)
{
    put_record(m, FLOW_ROUTER, source, FLOW_PARENT, site, FLOW_START_TIME, start, FLOW_NAME, name,
               FLOW_MODE, "interior", 0);
}

static inline void put_listener_at(struct words *m, const char *id, const char *router,
                                   const char *service, const char *host)
{
    put_record(m, FLOW_LISTENER, id, FLOW_PARENT, router, FLOW_NAME, service, FLOW_DESTINATION_HOST,
               host, FLOW_DESTINATION_PORT, "1024", FLOW_PROTOCOL, "tcp", FLOW_VAN_ADDRESS, service,
               FLOW_COUNT_L4, UINT64_C(0), 0);
}

static inline void put_listener(struct words *m, const char *id, const char *router,
                                const char *service)
{
    put_listener_at(m, id, router, service, "127.0.0.1");
}

static inline void hear_small_site(struct flow_collector *c, int64_t ms)
{
    struct words m;

    hear_beacon(c, "aaaaa:0", "ROUTER", ms);
    begin_records(&m);
    put_record(&m, FLOW_SITE, "site-a", FLOW_NAME, "a", 0);
    put_router(&m, "aaaaa:0", "0/A", "site-a", 5);
    put_listener(&m, "aaaaa:4", "aaaaa:0", "db");
    hear_records(c, "aaaaa:0", &m, ms);
}
