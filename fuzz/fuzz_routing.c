// SPDX-License-Identifier: Apache-2.0
// Arbitrary bytes as control messages. The input is a script: a byte says what happens next (a
// message on one of four links, time passing, a link going down or up), messages carry their length
// in two bytes; a message may also be wrapped, so that most of the input reaches the decoder of
// bodies. Properties: survives; what it holds is bounded by what it was given; tells the same story
// for the same input.
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "amqp/codec.h"
#include "amqp/message.h"
#include "router/routing.h"

enum { LINKS = 4, SCRIPT_MAX = 1 << 16 };

struct script {
    const uint8_t *at, *end;
};

struct story {
    struct routing *rt;
    struct mono now;
    uint64_t sum;
    size_t given, told;
    bool is_up[LINKS];
};

static uint8_t take(struct script *s)
{
    return s->at < s->end ? *s->at++ : 0;
}

static struct str take_bytes(struct script *s)
{
    size_t len = (size_t)take(s) << 8;

    len |= take(s);
    if (len > (size_t)(s->end - s->at))
        len = (size_t)(s->end - s->at);
    s->at += len;
    return (struct str){(const char *)s->at - len, len};
}

static void fold(struct story *st, struct str bytes)
{
    for (size_t i = 0; i < bytes.len; i++)
        st->sum = (st->sum ^ (uint8_t)bytes.ptr[i]) * UINT64_C(0x100000001b3);
    st->told += bytes.len;
}

static void poll(struct story *st)
{
    struct routing_output out;
    struct routing_event ev;

    while (routing_next_output(st->rt, &out)) {
        struct amqp_msg msg;

        assert(st->is_up[out.link]);
        assert(amqp_msg_scan(out.bytes, true, AMQP_SCAN_BODY, &msg) == 0 && msg.ra.present);
        fold(st, out.bytes);
    }
    while (routing_next_event(st->rt, &ev)) {
        st->sum = st->sum * 31 + ev.type + ev.node;
        fold(st, ev.key);
    }
    for (uint32_t i = 0; i < routing_node_count(st->rt); i++)
        st->sum += routing_is_valid_origin(st->rt, i, i / 2) + routing_next_hop(st->rt, i);
    assert(routing_node_count(st->rt) <= st->given + 1);
}

// A body of the input's behind sections that are in order.
static void receive_wrapped(struct story *st, uint32_t link, uint8_t op, struct str body)
{
    static const char *const ops[] = {"HELLO", "RA", "LSR", "LSU", "MAR", "MAU", "FLOOD", "?"};
    static const char *const tos[] = {"amqp:/_local/qdhello", "amqp:/_topo/0/all/qdrouter",
                                      "amqp:/_topo/0/ME/qdrouter", "_topo/0/A/qdrouter.ma"};
    struct amqp_writer w;
    struct amqp_mark mark;

    amqp_writer_init(&w);
    amqp_put_descriptor(&w, AMQP_SECTION_PROPERTIES);
    mark = amqp_begin_list(&w, false);
    amqp_put_null(&w);
    amqp_put_null(&w);
    amqp_put_string(&w, str_of(tos[op / 8 % 4]));
    amqp_end(&w, mark, 3);
    amqp_put_descriptor(&w, AMQP_SECTION_APPLICATION_PROPERTIES);
    mark = amqp_begin_map(&w, false);
    amqp_put_string(&w, STR("opcode"));
    amqp_put_string(&w, str_of(ops[op % 8]));
    amqp_end(&w, mark, 2);
    amqp_put_descriptor(&w, AMQP_SECTION_VALUE);
    amqp_put_raw(&w, body);
    routing_receive(st->rt, link, amqp_written(&w), st->now);
    amqp_writer_fini(&w);
}

static void step(struct story *st, struct script *s)
{
    uint8_t what = take(s);
    uint32_t link = what % LINKS;

    switch (what / LINKS % 4) {
    case 0:
        routing_receive(st->rt, link, take_bytes(s), st->now);
        break;
    case 1:
        what = take(s);
        receive_wrapped(st, link, what, take_bytes(s));
        break;
    case 2:
        st->now = mono_add_ms(st->now, (int64_t)take(s) * take(s));
        routing_tick(st->rt, st->now);
        break;
    case 3:
        if (st->is_up[link])
            routing_link_down(st->rt, link, st->now);
        else
            routing_link_up(st->rt, link, 1 + what / 64, link >= LINKS / 2, st->now);
        st->is_up[link] = !st->is_up[link];
        break;
    }
    poll(st);
}

static uint64_t tell(const uint8_t *data, size_t len)
{
    struct routing_opts opts = {.id = "ME", .instance = 1, .seed = 1};
    struct story st = {.now = {NS_PER_S}, .given = len};
    struct script s = {data, data + len};

    st.rt = routing_new(&opts, st.now);
    for (uint32_t i = 0; i < LINKS; i++) {
        routing_link_up(st.rt, i, 1, i >= LINKS / 2, st.now);
        st.is_up[i] = true;
    }
    routing_address_add(st.rt, STR("Mown"), 3, 1, STR_NONE, st.now);
    poll(&st); // as its owner does after each call
    while (s.at < s.end)
        step(&st, &s);
    routing_free(st.rt);
    return st.sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len <= SCRIPT_MAX)
        assert(tell(data, len) == tell(data, len));
    return 0;
}
