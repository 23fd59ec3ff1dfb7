// SPDX-License-Identifier: Apache-2.0
#include "check.h"

#include <stdlib.h>

#include "amqp/amqp.h"
#include "base/mem.h"
#include "router/routing.h"

// Messages of the existing router as captured on the wire (without the transfer frame).
static const char captured_hello[] =
    "0080534b50522d2d5241d000000021000000044340a107302f5254522d42d00000000d00000001a1"
    "07302f5254522d42005370d0000000050000000142005373d00000001f000000064040a114616d71"
    "703a2f5f6c6f63616c2f716468656c6c6f404040005374d10000001300000002a1066f70636f6465"
    "a10548454c4c4f005377d1000000430000000aa1026964a1055254522d42a10270765401a1046172"
    "6561a10130a108696e7374616e6365716b039e68a1047365656ed00000000b00000001a105525452"
    "2d41";

static const char captured_ra[] =
    "0080534b50522d2d5241d000000021000000044340a107302f5254522d41d00000000d00000001a1"
    "07302f5254522d41005370d0000000050000000142005373d000000025000000064040a11a616d71"
    "703a2f5f746f706f2f302f616c6c2f7164726f75746572404040005374d10000001000000002a106"
    "6f70636f6465a1025241005377d1000000450000000ca1026964a1055254522d41a10270765401a1"
    "0461726561a10130a108696e7374616e6365716b039e66a1066c735f7365715401a10a6d6f62696c"
    "655f7365715401";

static const char captured_lsr[] =
    "0080534b50522d2d5241d000000021000000044340a107302f5254522d41d00000000d00000001a1"
    "07302f5254522d41005370d0000000050000000142005373d000000027000000064040a11c616d71"
    "703a2f5f746f706f2f302f5254522d422f7164726f75746572404040005374d10000001100000002"
    "a1066f70636f6465a1034c5352005377d10000001e00000006a1026964a1055254522d41a1027076"
    "5401a10461726561a10130";

static const char captured_lsu[] =
    "0080534b50522d2d5241d000000021000000044340a107302f5254522d41d00000000d00000001a1"
    "07302f5254522d41005370d0000000050000000142005373d000000027000000064040a11c616d71"
    "703a2f5f746f706f2f302f5254522d422f7164726f75746572404040005374d10000001100000002"
    "a1066f70636f6465a1034c5355005377d10000007b0000000ca1026964a1055254522d41a1027076"
    "5401a10461726561a10130a108696e7374616e6365716b039e66a1066c735f7365715401a1026c73"
    "d10000003b00000008a1026964a1055254522d41a10461726561a10130a1066c735f7365715401a1"
    "057065657273d10000000d00000002a1055254522d425402";

static const char captured_mar[] =
    "0080534b50522d2d5241d000000021000000044340a107302f5254522d42d00000000d00000001a1"
    "07302f5254522d42005370d0000000050000000142005373d000000027000000034040a11f616d71"
    "703a2f5f746f706f2f302f5254522d412f7164726f757465722e6d61005374d10000001100000002"
    "a3066f70636f6465a1034d4152005377d10000002a00000008a3026964a1055254522d42a3027076"
    "5502a30461726561a10130a308686176655f7365715500";

static const char captured_mau_absolute[] =
    "0080534b50522d2d5241d000000021000000044340a107302f5254522d41d00000000d00000001a1"
    "07302f5254522d41005370d0000000050000000142005373d000000027000000034040a11f616d71"
    "703a2f5f746f706f2f302f5254522d422f7164726f757465722e6d61005374d10000001100000002"
    "a3066f70636f6465a1034d4155005377d1000000730000000aa3026964a1055254522d41a3027076"
    "5502a30461726561a10130a30a6d6f62696c655f7365715501a3056578697374d00000003b000000"
    "02d00000001600000003a10c4d7366652e2b675f41633a3054025400d00000001700000003a10d4d"
    "766663722e2b675f41633a3054025400";

static const char captured_mau_differential[] =
    "0080534b50522d2d5241d000000021000000044340a107302f5254522d42d00000000d00000001a1"
    "07302f5254522d42005370d0000000050000000142005373d00000001f000000034040a1175f746f"
    "706f2f302f616c6c2f7164726f757465722e6d61005374d10000001100000002a3066f70636f6465"
    "a1034d4155005377d10000005e0000000ca3026964a1055254522d42a30270765502a30461726561"
    "a10130a30a6d6f62696c655f7365715503a303616464d00000001a00000001d00000001100000003"
    "a1074d646561643a3154035400a30364656cd00000000400000000";

// --- helpers -------------------------------------------------------------------------------------

static const struct mono start = {NS_PER_S};

static struct str from_hex(const char *hex)
{
    size_t len = strlen(hex) / 2;
    char *bytes = xcalloc(1, len + 1);

    for (size_t i = 0; i < len; i++) {
        unsigned value;

        sscanf(hex + 2 * i, "%2x", &value);
        bytes[i] = (char)value;
    }
    return (struct str){bytes, len};
}

static void receive_hex(struct routing *rt, uint32_t link, const char *hex, struct mono now)
{
    struct str bytes = from_hex(hex);

    routing_receive(rt, link, bytes, now);
    free((void *)(uintptr_t)bytes.ptr);
}

static char *to_hex(struct str bytes)
{
    char *hex = xcalloc(bytes.len + 1, 2);

    for (size_t i = 0; i < bytes.len; i++)
        snprintf(hex + 2 * i, 3, "%02x", (unsigned)(uint8_t)bytes.ptr[i]);
    return hex;
}

// Takes all outputs; how many are exactly `hex`?
static int count_sent(struct routing *rt, const char *hex)
{
    struct routing_output out;
    int count = 0;

    while (routing_next_output(rt, &out)) {
        char *got = to_hex(out.bytes);

        count += strcmp(got, hex) == 0;
        free(got);
    }
    return count;
}

// Takes all outputs; how many carry the opcode, on the link (0: any)?
static int count_op(struct routing *rt, uint32_t link, const char *opcode)
{
    struct routing_output out;
    int count = 0;

    while (routing_next_output(rt, &out)) {
        struct amqp_msg msg;
        struct amqp_reader r;
        struct amqp_item key, value;
        uint32_t items;

        CHECK_EQ(amqp_msg_scan(out.bytes, true, AMQP_SCAN_BODY, &msg), 0);
        r = amqp_reader_of(msg.app_properties);
        CHECK_EQ(amqp_read_map(&r, &r, &items), 0);
        CHECK(amqp_read(&r, &key) == 0 && amqp_read(&r, &value) == 0);
        count += (out.link == link || link == 0) && str_is(value.bytes, opcode);
    }
    return count;
}

static int count_events(struct routing *rt, enum routing_event_type type, const char *key)
{
    struct routing_event ev;
    int count = 0;

    while (routing_next_event(rt, &ev))
        count += ev.type == type && (key == NULL || str_is(ev.key, key));
    return count;
}

static struct routing *make(const char *id, int64_t instance)
{
    return routing_new(&(struct routing_opts){.id = id, .instance = instance, .seed = 1}, start);
}

static void drain(struct routing *rt)
{
    struct routing_output out;
    struct routing_event ev;

    while (routing_next_output(rt, &out) || routing_next_event(rt, &ev))
        ;
}

// --- messages made by hand -----------------------------------------------------------------------

struct field {
    const char *key;
    int64_t number;
    const char *text;
    const char *peer; // a map {peer: number}
};

// As a simple peer writes it: longs only; keys as symbols when asked for.
static void receive_made(struct routing *rt, uint32_t link, const char *op, const char *to,
                         const struct field *fields, uint32_t count, bool symbols, struct mono now)
{
    struct amqp_writer w;
    struct amqp_mark mark;

    amqp_writer_init(&w);
    amqp_put_descriptor(&w, AMQP_SECTION_PROPERTIES);
    mark = amqp_begin_list(&w, false);
    amqp_put_null(&w);
    amqp_put_null(&w);
    amqp_put_string(&w, str_of(to));
    amqp_end(&w, mark, 3);
    amqp_put_descriptor(&w, AMQP_SECTION_APPLICATION_PROPERTIES);
    mark = amqp_begin_map(&w, false);
    symbols ? amqp_put_symbol(&w, STR("opcode")) : amqp_put_string(&w, STR("opcode"));
    amqp_put_string(&w, str_of(op));
    amqp_end(&w, mark, 2);
    amqp_put_descriptor(&w, AMQP_SECTION_VALUE);
    mark = amqp_begin_map(&w, false);
    for (uint32_t i = 0; i < count; i++) {
        const struct field *f = fields + i;
        struct amqp_mark inner;

        symbols ? amqp_put_symbol(&w, str_of(f->key)) : amqp_put_string(&w, str_of(f->key));
        if (f->peer != NULL) {
            struct amqp_mark peers;

            inner = amqp_begin_map(&w, false);
            amqp_put_string(&w, STR("ls_seq"));
            amqp_put_long(&w, f->number);
            amqp_put_string(&w, STR("peers"));
            peers = amqp_begin_map(&w, false);
            amqp_put_string(&w, str_of(f->peer));
            amqp_put_long(&w, 1);
            amqp_end(&w, peers, 2);
            amqp_end(&w, inner, 4);
        } else if (strcmp(f->key, "seen") == 0) {
            inner = amqp_begin_list(&w, false);
            amqp_put_string(&w, str_of(f->text));
            amqp_end(&w, inner, 1);
        } else if (strcmp(f->key, "exist") == 0 || strcmp(f->key, "add") == 0 ||
                   strcmp(f->key, "del") == 0) {
            inner = amqp_begin_list(&w, false);
            if (f->text) {
                struct amqp_mark one = amqp_begin_list(&w, false);

                amqp_put_string(&w, str_of(f->text));
                amqp_put_long(&w, f->number);
                amqp_end(&w, one, 2);
            }
            amqp_end(&w, inner, f->text != NULL);
        } else if (f->text != NULL) {
            amqp_put_string(&w, str_of(f->text));
        } else {
            amqp_put_long(&w, f->number);
        }
    }
    amqp_end(&w, mark, 2 * count);
    routing_receive(rt, link, amqp_written(&w), now);
    amqp_writer_fini(&w);
}

#define RECEIVE(rt, link, op, to, now, ...)                                                        \
    do {                                                                                           \
        static const struct field made[] = {__VA_ARGS__};                                          \
                                                                                                   \
        receive_made(rt, link, op, to, made, sizeof(made) / sizeof(made[0]), false, now);          \
    } while (0)

static void hello(struct routing *rt, uint32_t link, const char *id, int64_t instance,
                  struct mono now)
{
    struct field made[] = {{"id", 0, id, NULL},
                           {"pv", 1, NULL, NULL},
                           {"instance", instance, NULL, NULL},
                           {"seen", 0, "ME", NULL}};

    receive_made(rt, link, "HELLO", "amqp:/_local/qdhello", made, 4, false, now);
}

// A router ME with a plain neighbour N1 on link 1 and N2 on link 2, that knows the link state of
// N1.
static struct routing *make_settled(void)
{
    struct routing *rt = make("ME", 5);

    routing_link_up(rt, 1, 1, false, start);
    routing_link_up(rt, 2, 1, false, start);
    hello(rt, 1, "N1", 100, start);
    hello(rt, 2, "N2", 100, start);
    RECEIVE(rt, 1, "LSU", "amqp:/_topo/0/ME/qdrouter", start, {"id", 0, "N1", NULL},
            {"pv", 1, NULL, NULL}, {"instance", 100, NULL, NULL}, {"ls", 5, NULL, "ME"});
    drain(rt);
    return rt;
}

static uint32_t node_of(const struct routing *rt, const char *id)
{
    return routing_find(rt, str_of(id));
}

// --- tests ---------------------------------------------------------------------------------------

TEST(start_of_two_routers_is_as_captured)
{
    struct routing *a = make("RTR-A", 1795399270), *b = make("RTR-B", 1795399272);
    struct mono now = mono_add_ms(start, 10);
    struct routing_output out;
    char *hello_a;

    routing_link_up(a, 3, 2, false, now);
    routing_link_up(b, 4, 2, false, now);
    CHECK(routing_next_output(a, &out));
    hello_a = to_hex(out.bytes);
    drain(b);
    receive_hex(b, 4, hello_a, now); // not listed yet, but heard: answered at once
    CHECK_EQ(count_sent(b, captured_hello), 1);
    free(hello_a);
    receive_hex(a, 3, captured_hello, now);
    CHECK_EQ(count_sent(a, captured_lsr), 1);
    CHECK_EQ(count_events(a, ROUTING_EV_NEIGHBOUR_UP, NULL), 1);
    routing_address_add(a, STR("Msfe.+g_Ac:0"), 2, 0, STR_NONE, now);
    CHECK_EQ(count_sent(a, captured_ra), 1);
    receive_hex(a, 3, captured_hello, mono_add_ms(now, 100));

    // B becomes A's neighbour and hears that A has addresses.
    RECEIVE(b, 4, "HELLO", "amqp:/_local/qdhello", now, {"id", 0, "RTR-A", NULL},
            {"pv", 1, NULL, NULL}, {"instance", 1795399270, NULL, NULL},
            {"seen", 0, "RTR-B", NULL});
    receive_hex(b, 4, captured_ra, now);
    CHECK_EQ(count_sent(b, captured_mar), 1);
    routing_free(a);
    routing_free(b);
}

TEST(answers_are_written_as_captured)
{
    struct routing *a = make("RTR-A", 1795399270);
    struct mono now = mono_add_ms(start, 10);

    routing_address_add(a, STR("Mvfcr.+g_Ac:0"), 2, 0, STR_NONE, start);
    routing_address_add(a, STR("Msfe.+g_Ac:0"), 2, 0, STR_NONE, start);
    routing_link_up(a, 0, 2, false, now);
    receive_hex(a, 0, captured_hello, now);
    drain(a);
    RECEIVE(a, 0, "LSR", "amqp:/_topo/0/RTR-A/qdrouter", now, {"id", 0, "RTR-B", NULL},
            {"pv", 1, NULL, NULL}, {"area", 0, "0", NULL});
    CHECK_EQ(count_sent(a, captured_lsu), 1);
    receive_hex(a, 0, captured_mar, now);
    CHECK_EQ(count_sent(a, captured_mau_absolute), 1);
    RECEIVE(a, 0, "MAR", "amqp:/_topo/0/RTR-A/qdrouter.ma", now, {"id", 0, "RTR-B", NULL},
            {"pv", 2, NULL, NULL}, {"have_seq", 1, NULL, NULL});
    CHECK_EQ(count_op(a, 0, "MAU"), 0); // nothing newer
    routing_free(a);
}

TEST(address_changes_are_written_as_captured)
{
    struct routing *b = make("RTR-B", 1795399272);
    struct mono now = mono_add_ms(start, 1000);

    routing_link_up(b, 0, 1, false, now);
    RECEIVE(b, 0, "HELLO", "amqp:/_local/qdhello", now, {"id", 0, "RTR-A", NULL},
            {"pv", 1, NULL, NULL}, {"instance", 1, NULL, NULL}, {"seen", 0, "RTR-B", NULL});
    routing_address_add(b, STR("Mx"), 3, 0, STR_NONE, now);
    routing_address_del(b, STR("Mx"), mono_add_ms(now, 500));
    drain(b);
    routing_address_add(b, STR("Mdead:1"), 3, 0, STR_NONE, mono_add_ms(now, 1000));
    CHECK_EQ(count_sent(b, captured_mau_differential), 1);
    routing_free(b);
}

TEST(absolute_update_of_the_existing_router_is_understood)
{
    struct routing *b = make("RTR-B", 1);
    struct mono now = start;
    struct routing_event ev;
    int adds = 0;

    routing_link_up(b, 0, 2, false, now);
    receive_hex(b, 0, captured_ra, now);
    receive_hex(b, 0, captured_lsu, now);
    receive_hex(b, 0, captured_mau_absolute, now);
    CHECK_EQ(count_events(b, ROUTING_EV_ADDRESS_ADD, NULL), 0); // not reachable yet
    {
        static const struct field made[] = {{"id", 0, "RTR-A", NULL},
                                            {"pv", 1, NULL, NULL},
                                            {"instance", 1795399270, NULL, NULL},
                                            {"seen", 0, "RTR-B", NULL}};

        receive_made(b, 0, "HELLO", "amqp:/_local/qdhello", made, 4, false, now);
    }
    while (routing_next_event(b, &ev))
        if (ev.type == ROUTING_EV_ADDRESS_ADD) {
            CHECK_STR(ev.key, adds == 0 ? "Msfe.+g_Ac:0" : "Mvfcr.+g_Ac:0");
            CHECK_EQ(ev.treatment, 2);
            CHECK_EQ(ev.node, node_of(b, "RTR-A"));
            adds++;
        }
    CHECK_EQ(adds, 2);
    routing_free(b);
}

TEST(keys_may_be_symbols_and_numbers_of_any_width)
{
    struct routing *rt = make_settled();
    static const struct field exist[] = {
        {"id", 0, "N1", NULL}, {"mobile_seq", 1, NULL, NULL}, {"exist", 3, "Mprobe", NULL}};

    receive_made(rt, 1, "MAU", "amqp:/_topo/0/ME/qdrouter.ma", exist, 3, true, start);
    CHECK_EQ(count_events(rt, ROUTING_EV_ADDRESS_ADD, "Mprobe"), 1);
    routing_free(rt);
}

TEST(differences_follow_each_other_or_are_asked_for)
{
    struct routing *rt = make_settled();

    RECEIVE(rt, 1, "MAU", "_topo/0/all/qdrouter.ma", start, {"id", 0, "N1", NULL},
            {"mobile_seq", 1, NULL, NULL}, {"add", 3, "Mone", NULL}, {"del", 0, NULL, NULL});
    CHECK_EQ(count_events(rt, ROUTING_EV_ADDRESS_ADD, "Mone"), 1);
    RECEIVE(rt, 1, "MAU", "_topo/0/all/qdrouter.ma", start, {"id", 0, "N1", NULL},
            {"mobile_seq", 2, NULL, NULL}, {"add", 0, NULL, NULL}, {"del", 0, "Mone", NULL});
    CHECK_EQ(count_events(rt, ROUTING_EV_ADDRESS_DEL, "Mone"), 1);
    drain(rt);
    RECEIVE(rt, 1, "MAU", "_topo/0/all/qdrouter.ma", start, {"id", 0, "N1", NULL},
            {"mobile_seq", 4, NULL, NULL}, {"add", 3, "Mfour", NULL}, {"del", 0, NULL, NULL});
    CHECK_EQ(count_events(rt, ROUTING_EV_ADDRESS_ADD, NULL), 0);
    CHECK_EQ(count_op(rt, 1, "MAR"), 1);
    RECEIVE(rt, 1, "MAU", "amqp:/_topo/0/ME/qdrouter.ma", start, {"id", 0, "N1", NULL},
            {"mobile_seq", 4, NULL, NULL}, {"exist", 3, "Mfour", NULL});
    CHECK_EQ(count_events(rt, ROUTING_EV_ADDRESS_ADD, "Mfour"), 1);
    RECEIVE(rt, 1, "MAU", "_topo/0/all/qdrouter.ma", start, {"id", 0, "N1", NULL},
            {"mobile_seq", 4, NULL, NULL}, {"add", 3, "Mlate", NULL}, {"del", 0, NULL, NULL});
    CHECK_EQ(count_events(rt, ROUTING_EV_ADDRESS_ADD, NULL), 0);
    routing_free(rt);
}

TEST(update_is_whole_or_a_difference_never_both)
{
    struct routing *rt = make_settled();

    RECEIVE(rt, 1, "MAU", "amqp:/_topo/0/ME/qdrouter.ma", start, {"id", 0, "N1", NULL},
            {"mobile_seq", 1, NULL, NULL}, {"exist", 3, "Ma", NULL}, {"add", 3, "Mb", NULL});
    CHECK_EQ(count_events(rt, ROUTING_EV_NOTE, NULL), 1);
    RECEIVE(rt, 1, "MAU", "amqp:/_topo/0/ME/qdrouter.ma", start, {"id", 0, "N1", NULL},
            {"mobile_seq", 1, NULL, NULL}, {"add", 3, "Mb", NULL});
    CHECK_EQ(count_events(rt, ROUTING_EV_NOTE, NULL), 0); // said once
    CHECK_EQ(count_events(rt, ROUTING_EV_ADDRESS_ADD, NULL), 0);
    routing_free(rt);
}

TEST(advertisement_is_passed_on_while_it_is_news)
{
    struct routing *rt = make_settled();
    struct mono now = mono_add_ms(start, 2000);

    routing_tick(rt, now);
    drain(rt);
    RECEIVE(rt, 1, "RA", "amqp:/_topo/0/all/qdrouter", now, {"id", 0, "FAR", NULL},
            {"pv", 1, NULL, NULL}, {"instance", 7, NULL, NULL}, {"ls_seq", 1, NULL, NULL},
            {"mobile_seq", 0, NULL, NULL});
    CHECK_EQ(count_op(rt, 2, "RA"), 1);
    for (int i = 0; i < 5; i++) {
        RECEIVE(rt, 1, "RA", "amqp:/_topo/0/all/qdrouter", now, {"id", 0, "FAR", NULL},
                {"pv", 1, NULL, NULL}, {"instance", 7, NULL, NULL}, {"ls_seq", 1, NULL, NULL},
                {"mobile_seq", 0, NULL, NULL});
        CHECK_EQ(count_op(rt, 2, "RA"), 0);
    }
    now = mono_add_ms(now, 900);
    RECEIVE(rt, 1, "RA", "amqp:/_topo/0/all/qdrouter", now, {"id", 0, "FAR", NULL},
            {"pv", 1, NULL, NULL}, {"instance", 7, NULL, NULL}, {"ls_seq", 1, NULL, NULL},
            {"mobile_seq", 0, NULL, NULL});
    CHECK_EQ(count_op(rt, 2, "RA"), 1); // a refresh
    routing_free(rt);
}

// Receives the captured RA of RTR-A with the trace "0/RTR-A", then `more`.
TEST(passed_on_messages_keep_ingress_and_extend_the_trace)
{
    struct routing *rt = make_settled();
    struct routing_output out;
    int passed = 0;

    receive_hex(rt, 1, captured_ra, start);
    while (routing_next_output(rt, &out)) {
        struct amqp_msg msg;
        struct amqp_reader at;
        struct str router, want[] = {STR("0/RTR-A"), STR("0/ME")};

        CHECK_EQ(amqp_msg_scan(out.bytes, true, AMQP_SCAN_BODY, &msg), 0);
        if (!str_is(msg.to, "amqp:/_topo/0/all/qdrouter"))
            continue;
        passed++;
        CHECK_EQ(out.link, 2);
        CHECK_STR(msg.ra.ingress, "0/RTR-A");
        at = amqp_reader_of(msg.ra.trace);
        for (int i = 0; i < 2; i++) {
            CHECK(amqp_ra_trace_next(&at, &router));
            CHECK(str_eq(router, want[i]));
        }
        CHECK(!amqp_ra_trace_next(&at, &router));
    }
    CHECK_EQ(passed, 1);
    routing_free(rt);
}

TEST(unicast_goes_along_the_next_hop)
{
    struct routing *rt = make_settled();

    RECEIVE(rt, 2, "LSR", "amqp:/_topo/0/N1/qdrouter", start, {"id", 0, "N2", NULL},
            {"pv", 1, NULL, NULL});
    CHECK_EQ(count_op(rt, 1, "LSR"), 1);
    RECEIVE(rt, 1, "LSR", "amqp:/_topo/0/N1/qdrouter", start, {"id", 0, "N2", NULL},
            {"pv", 1, NULL, NULL});
    CHECK_EQ(count_op(rt, 1, "LSR"), 0); // never back
    RECEIVE(rt, 1, "LSR", "amqp:/_topo/0/NOBODY/qdrouter", start, {"id", 0, "N2", NULL},
            {"pv", 1, NULL, NULL});
    CHECK_EQ(count_op(rt, 1, "LSR"), 0);
    CHECK_EQ(count_events(rt, ROUTING_EV_NOTE, NULL), 1);
    routing_free(rt);
}

TEST(later_version_is_noted_once_for_each_peer)
{
    struct routing *rt = make_settled();

    for (int i = 0; i < 3; i++) {
        RECEIVE(rt, 1, "RA", "amqp:/_topo/0/all/qdrouter", start, {"id", 0, "N1", NULL},
                {"pv", 9, NULL, NULL}, {"instance", 100, NULL, NULL}, {"ls_seq", 50, NULL, NULL},
                {"mobile_seq", 50, NULL, NULL});
        CHECK_EQ(count_events(rt, ROUTING_EV_NOTE, NULL), i == 0);
        CHECK_EQ(count_op(rt, 1, "LSR"), 0);
    }
    routing_free(rt);
}

TEST(our_own_id_is_ignored_and_a_duplicate_noted)
{
    struct routing *rt = make_settled();

    RECEIVE(rt, 1, "RA", "amqp:/_topo/0/all/qdrouter", start, {"id", 0, "ME", NULL},
            {"pv", 1, NULL, NULL}, {"instance", 5, NULL, NULL}, {"ls_seq", 50, NULL, NULL},
            {"mobile_seq", 50, NULL, NULL});
    CHECK_EQ(count_events(rt, ROUTING_EV_NOTE, NULL), 0);
    CHECK_EQ(count_op(rt, 2, "RA"), 0);
    for (int i = 0; i < 3; i++) {
        hello(rt, 1, "ME", 6, start);
        CHECK_EQ(count_events(rt, ROUTING_EV_NOTE, NULL), i == 0);
    }
    routing_free(rt);
}

TEST(numbers_that_run_backwards_are_noted_and_survived)
{
    struct routing *rt = make_settled();

    for (int i = 0; i < 2; i++) {
        RECEIVE(rt, 1, "RA", "amqp:/_topo/0/all/qdrouter", start, {"id", 0, "N1", NULL},
                {"pv", 1, NULL, NULL}, {"instance", 100, NULL, NULL}, {"ls_seq", 2, NULL, NULL},
                {"mobile_seq", 0, NULL, NULL});
        CHECK_EQ(count_events(rt, ROUTING_EV_NOTE, NULL), i == 0);
    }
    CHECK(routing_is_reachable(rt, node_of(rt, "N1")));
    routing_free(rt);
}

TEST(update_of_an_unknown_router_is_noted_once_and_survived)
{
    struct routing *rt = make_settled();

    for (int i = 0; i < 3; i++) {
        RECEIVE(rt, 1, "MAU", "_topo/0/all/qdrouter.ma", start, {"id", 0, "WHO", NULL},
                {"pv", 2, NULL, NULL}, {"mobile_seq", 1, NULL, NULL}, {"add", 3, "Mx", NULL},
                {"del", 0, NULL, NULL});
        CHECK_EQ(count_events(rt, ROUTING_EV_NOTE, NULL), i == 0);
        CHECK_EQ(count_op(rt, 0, "MAR"), 0);
    }
    CHECK_EQ(node_of(rt, "WHO"), ROUTING_NO_NODE);
    CHECK(routing_is_reachable(rt, node_of(rt, "N1")));
    routing_free(rt);
}

TEST(older_peer_is_answered_as_any)
{
    struct routing *rt = make_settled();

    RECEIVE(rt, 1, "LSR", "amqp:/_topo/0/ME/qdrouter", start, {"id", 0, "N1", NULL},
            {"pv", 0, NULL, NULL});
    CHECK_EQ(count_op(rt, 1, "LSU"), 1);
    CHECK_EQ(count_events(rt, ROUTING_EV_NOTE, NULL), 0);
    routing_free(rt);
}

TEST(new_instance_forgets_link_state_and_addresses)
{
    struct routing *rt = make_settled();

    RECEIVE(rt, 1, "MAU", "amqp:/_topo/0/ME/qdrouter.ma", start, {"id", 0, "N1", NULL},
            {"mobile_seq", 7, NULL, NULL}, {"exist", 3, "Mold", NULL});
    drain(rt);
    RECEIVE(rt, 1, "RA", "amqp:/_topo/0/all/qdrouter", start, {"id", 0, "N1", NULL},
            {"pv", 1, NULL, NULL}, {"instance", 90, NULL, NULL}, {"ls_seq", 1, NULL, NULL},
            {"mobile_seq", 0, NULL, NULL});
    CHECK_EQ(count_events(rt, ROUTING_EV_ADDRESS_DEL, "Mold"), 1);
    CHECK_EQ(count_op(rt, 1, "LSR"), 1);
    RECEIVE(rt, 1, "LSU", "amqp:/_topo/0/ME/qdrouter", start, {"id", 0, "N1", NULL},
            {"pv", 1, NULL, NULL}, {"instance", 90, NULL, NULL}, {"ls", 1, NULL, "OTHER"});
    routing_tick(rt, mono_add_ms(start, 200));
    CHECK_EQ(routing_cost(rt, node_of(rt, "OTHER")), 2);
    routing_free(rt);
}

TEST(unanswered_questions_are_asked_again_and_again)
{
    struct routing *rt = make_settled();
    struct mono now = start;
    int asked = 0;

    RECEIVE(rt, 1, "RA", "amqp:/_topo/0/all/qdrouter", now, {"id", 0, "N1", NULL},
            {"pv", 1, NULL, NULL}, {"instance", 100, NULL, NULL}, {"ls_seq", 5, NULL, NULL},
            {"mobile_seq", 3, NULL, NULL});
    CHECK_EQ(count_op(rt, 1, "MAR"), 1);
    for (int i = 0; i < 100; i++) {
        now = mono_add_ms(now, 100);
        hello(rt, 1, "N1", 100, now);
        hello(rt, 2, "N2", 100, now);
        asked += count_op(rt, 0, "MAR");
    }
    CHECK_EQ(asked, 9); // after 0.1, 0.3, 0.7, 1.5, 3.1, 4.7 s and so on, of each neighbour in turn
    routing_free(rt);
}

TEST(answer_that_tells_nothing_new_ends_the_question)
{
    struct routing *rt = make("ME", 5);
    struct mono now = mono_add_ms(start, 100);

    for (int i = 0; i < 2; i++) {
        routing_link_up(rt, 1, 1, false, now);
        hello(rt, 1, "N1", 100, now);
        CHECK_EQ(count_op(rt, 1, "LSR"), 1); // a new link to it
        RECEIVE(rt, 1, "LSU", "amqp:/_topo/0/ME/qdrouter", now, {"id", 0, "N1", NULL},
                {"pv", 1, NULL, NULL}, {"instance", 100, NULL, NULL}, {"ls", 5, NULL, "ME"});
        routing_tick(rt, mono_add_ms(now, 1000));
        CHECK_EQ(count_op(rt, 1, "LSR"), 0);
        routing_link_down(rt, 1, now);
    }
    routing_free(rt);
}

TEST(both_kinds_of_question_go_to_every_neighbour_in_turn)
{
    struct routing *rt = make_settled();
    struct mono now = start;
    struct routing_output out;
    bool mar[3] = {false}, lsr[3] = {false};

    RECEIVE(rt, 1, "RA", "amqp:/_topo/0/all/qdrouter", now, {"id", 0, "N1", NULL},
            {"pv", 1, NULL, NULL}, {"instance", 100, NULL, NULL}, {"ls_seq", 6, NULL, NULL},
            {"mobile_seq", 0, NULL, NULL});
    now = mono_add_ms(now, 50);
    RECEIVE(rt, 1, "RA", "amqp:/_topo/0/all/qdrouter", now, {"id", 0, "N1", NULL},
            {"pv", 1, NULL, NULL}, {"instance", 100, NULL, NULL}, {"ls_seq", 6, NULL, NULL},
            {"mobile_seq", 3, NULL, NULL});
    drain(rt);
    for (int i = 0; i < 200; i++) {
        now = mono_add_ms(now, 100);
        hello(rt, 1, "N1", 100, now);
        hello(rt, 2, "N2", 100, now);
        while (routing_next_output(rt, &out)) {
            struct amqp_msg msg;

            CHECK_EQ(amqp_msg_scan(out.bytes, true, AMQP_SCAN_BODY, &msg), 0);
            lsr[out.link] = lsr[out.link] || str_is(msg.to, "amqp:/_topo/0/N1/qdrouter");
            mar[out.link] = mar[out.link] || str_is(msg.to, "amqp:/_topo/0/N1/qdrouter.ma");
        }
    }
    CHECK(lsr[1] && lsr[2] && mar[1] && mar[2]);
    routing_free(rt);
}

TEST(address_that_comes_and_goes_within_the_hold_down_is_not_sent)
{
    struct routing *rt = make_settled();

    struct mono now = mono_add_ms(start, 100);

    routing_address_add(rt, STR("Ma"), 3, 0, STR_NONE, now);
    CHECK_EQ(count_op(rt, 1, "MAU"), 1);
    routing_address_add(rt, STR("Mb"), 3, 0, STR_NONE, now);
    routing_address_del(rt, STR("Mb"), now);
    routing_address_del(rt, STR("Ma"), now);
    routing_address_add(rt, STR("Ma"), 3, 0, STR_NONE, now);
    drain(rt);
    routing_tick(rt, mono_add_ms(now, 500));
    CHECK_EQ(count_op(rt, 1, "MAU"), 0);
    routing_address_add(rt, STR("Ma"), 2, 0, STR_NONE, mono_add_ms(now, 600));
    CHECK_EQ(count_op(rt, 1, "MAU"), 1); // another treatment is a change
    routing_free(rt);
}

TEST(peer_that_sends_something_is_alive_as_long_as_its_last_hello_lists_us)
{
    for (int lists_us = 0; lists_us < 2; lists_us++) {
        struct routing *rt = make_settled();
        struct mono now = start;
        struct field made[] = {{"id", 0, "N1", NULL},
                               {"pv", 1, NULL, NULL},
                               {"instance", 100, NULL, NULL},
                               {"seen", 0, lists_us ? "ME" : "N2", NULL}};

        receive_made(rt, 1, "HELLO", "amqp:/_local/qdhello", made, 4, false, now);
        for (int i = 0; i < 60; i++) {
            now = mono_add_ms(now, 100);
            routing_link_alive(rt, 1, now);
            routing_tick(rt, now);
        }
        CHECK_EQ(routing_next_hop(rt, node_of(rt, "N1")), lists_us ? 1 : ROUTING_NO_LINK);
        CHECK_EQ(routing_next_hop(rt, node_of(rt, "N2")), ROUTING_NO_LINK); // silent
        routing_free(rt);
    }
}

// What one says to the other over link 1, until both have said all.
static void talk(struct routing *a, struct routing *b, struct mono now)
{
    struct routing_output out;
    bool any = true;

    while (any) {
        any = false;
        for (; routing_next_output(a, &out); any = true)
            routing_receive(b, 1, out.bytes, now);
        for (; routing_next_output(b, &out); any = true)
            routing_receive(a, 1, out.bytes, now);
    }
}

TEST(neighbour_of_ours_is_told_once_that_a_router_ends)
{
    for (int is_ours = 0; is_ours < 2; is_ours++) {
        struct routing *a = make("A", 1), *b = make("B", 1);
        struct mono now = start;

        routing_link_up(a, 1, 1, is_ours, now);
        routing_link_up(b, 1, 1, is_ours, now);
        talk(a, b, now);
        CHECK(routing_is_adjacent(b, 1));
        CHECK_EQ(count_events(b, ROUTING_EV_NEIGHBOUR_ENDS, NULL), 0);
        routing_end_soon(a, now);
        talk(a, b, now);
        CHECK_EQ(count_events(b, ROUTING_EV_NEIGHBOUR_ENDS, NULL), is_ours);
        for (int i = 0; i < 20; i++) { // each HELLO says it
            now = mono_add_ms(now, 100);
            routing_tick(a, now);
            routing_tick(b, now);
            talk(a, b, now);
        }
        CHECK(routing_is_adjacent(b, 1));
        CHECK_EQ(count_events(b, ROUTING_EV_NEIGHBOUR_ENDS, NULL), 0);
        CHECK_EQ(count_events(a, ROUTING_EV_NEIGHBOUR_ENDS, NULL), 0);
        routing_free(a);
        routing_free(b);
    }
}

TEST(lost_link_acts_at_once)
{
    struct routing *rt = make_settled();

    routing_link_down(rt, 1, start);
    CHECK(!routing_is_reachable(rt, node_of(rt, "N1")));
    CHECK_EQ(count_events(rt, ROUTING_EV_NODE_DOWN, NULL), 1);
    routing_free(rt);
}

TEST(cheapest_link_to_a_neighbour_carries_its_traffic_of_equals_the_youngest)
{
    static const struct {
        const char *why;
        int cost;
        uint32_t link; // in use once both are up
        int link_cost;
    } second[] = {{"dearer", 4, 1, 2}, {"cheaper", 1, 3, 1}, {"equal", 2, 3, 2}};

    for (int i = 0; i < 3; i++) {
        struct routing *rt = make("ME", 5);
        uint32_t n1;

        routing_link_up(rt, 1, 2, false, start);
        hello(rt, 1, "N1", 100, start);
        routing_link_up(rt, 3, second[i].cost, false, start);
        hello(rt, 3, "N1", 100, start);
        routing_tick(rt, mono_add_ms(start, 200));
        n1 = node_of(rt, "N1");
        CHECK_EQ_FOR(second[i].why, routing_next_hop(rt, n1), second[i].link);
        CHECK_EQ_FOR(second[i].why, routing_cost(rt, n1), second[i].link_cost);
        routing_link_down(rt, second[i].link, mono_add_ms(start, 300));
        CHECK_EQ_FOR(second[i].why, routing_next_hop(rt, n1), 4 - second[i].link);
        routing_link_down(rt, 4 - second[i].link, mono_add_ms(start, 400));
        CHECK_EQ_FOR(second[i].why, routing_is_reachable(rt, n1), false);
        routing_free(rt);
    }
}

TEST(management_sees_nodes_and_their_peers)
{
    struct routing *rt = make_settled();
    struct routing_node_info info;
    struct str id;
    size_t at = 0;
    int cost;

    CHECK(routing_info(rt, node_of(rt, "N1"), &info));
    CHECK_STR(info.id, "N1");
    CHECK_EQ(info.instance, 100);
    CHECK_EQ(info.link, 1);
    CHECK_EQ(info.next_hop_node, node_of(rt, "N1"));
    CHECK(routing_peer_next(rt, node_of(rt, "N1"), &at, &id, &cost));
    CHECK_STR(id, "ME");
    CHECK_EQ(cost, 1);
    CHECK(!routing_peer_next(rt, node_of(rt, "N1"), &at, &id, &cost));
    CHECK(!routing_info(rt, 999, &info));
    CHECK_EQ(routing_next_hop(rt, 999), ROUTING_NO_LINK);
    CHECK(!routing_is_valid_origin(rt, 999, 0));
    routing_free(rt);
}

TEST(malformed_messages_are_noted_once_for_each_link)
{
    struct routing *rt = make_settled();
    static const char *const bad[] = {"", "00", "005373", "0053770053", "ffffffff"};

    for (int i = 0; i < 5; i++) {
        receive_hex(rt, 1, bad[i], start);
        CHECK_EQ(count_events(rt, ROUTING_EV_NOTE, NULL), i == 0);
    }
    receive_hex(rt, 77, captured_ra, start); // a link that is not up
    CHECK_EQ(node_of(rt, "RTR-A"), ROUTING_NO_NODE);
    routing_free(rt);
}

TEST(too_many_routers_are_left_out)
{
    struct routing *rt = make_settled();
    struct field ra[] = {{"id", 0, NULL, NULL},
                         {"pv", 1, NULL, NULL},
                         {"instance", 1, NULL, NULL},
                         {"ls_seq", 1, NULL, NULL},
                         {"mobile_seq", 0, NULL, NULL}};
    int notes = 0;
    char id[16];

    for (int i = 0; i < ROUTING_NODE_MAX + 10; i++) {
        snprintf(id, sizeof(id), "X%06d", (i * 7919) % 1000003);
        ra[0].text = id;
        receive_made(rt, 1, "RA", "amqp:/_topo/0/all/qdrouter", ra, 5, false, start);
        notes += count_events(rt, ROUTING_EV_NOTE, NULL);
        drain(rt);
    }
    CHECK_EQ(notes, 1);
    CHECK_EQ(routing_node_count(rt), ROUTING_NODE_MAX);
    hello(rt, 1, "N1", 100, mono_add_ms(start, 2500));
    hello(rt, 2, "N2", 100, mono_add_ms(start, 2500));
    routing_tick(rt, mono_add_ms(start, 5100)); // hearsay does not last
    CHECK_EQ(count_events(rt, ROUTING_EV_NODE_GONE, NULL), ROUTING_NODE_MAX - 3);
    routing_free(rt);
}

TEST(who_is_heard_in_the_same_turn_as_others_is_not_given_up_before)
{
    struct routing *rt = make_settled();
    struct mono late = mono_add_ms(start, 5000); // this router stood still meanwhile

    hello(rt, 1, "N1", 100, late);
    hello(rt, 2, "N2", 100, late);
    routing_tick(rt, late);
    CHECK_EQ(count_events(rt, ROUTING_EV_NEIGHBOUR_DOWN, NULL), 0);
    hello(rt, 1, "N1", 100, mono_add_ms(late, 5000));
    routing_tick(rt, mono_add_ms(late, 5000));
    CHECK_EQ(count_events(rt, ROUTING_EV_NEIGHBOUR_DOWN, NULL), 1);
    routing_free(rt);
}

TEST_MAIN(CASE(start_of_two_routers_is_as_captured), CASE(answers_are_written_as_captured),
          CASE(address_changes_are_written_as_captured),
          CASE(absolute_update_of_the_existing_router_is_understood),
          CASE(keys_may_be_symbols_and_numbers_of_any_width),
          CASE(differences_follow_each_other_or_are_asked_for),
          CASE(update_is_whole_or_a_difference_never_both),
          CASE(advertisement_is_passed_on_while_it_is_news),
          CASE(passed_on_messages_keep_ingress_and_extend_the_trace),
          CASE(unicast_goes_along_the_next_hop), CASE(later_version_is_noted_once_for_each_peer),
          CASE(our_own_id_is_ignored_and_a_duplicate_noted),
          CASE(numbers_that_run_backwards_are_noted_and_survived),
          CASE(update_of_an_unknown_router_is_noted_once_and_survived),
          CASE(older_peer_is_answered_as_any), CASE(new_instance_forgets_link_state_and_addresses),
          CASE(unanswered_questions_are_asked_again_and_again),
          CASE(answer_that_tells_nothing_new_ends_the_question),
          CASE(both_kinds_of_question_go_to_every_neighbour_in_turn),
          CASE(address_that_comes_and_goes_within_the_hold_down_is_not_sent),
          CASE(peer_that_sends_something_is_alive_as_long_as_its_last_hello_lists_us),
          CASE(neighbour_of_ours_is_told_once_that_a_router_ends), CASE(lost_link_acts_at_once),
          CASE(cheapest_link_to_a_neighbour_carries_its_traffic_of_equals_the_youngest),
          CASE(management_sees_nodes_and_their_peers),
          CASE(malformed_messages_are_noted_once_for_each_link),
          CASE(too_many_routers_are_left_out),
          CASE(who_is_heard_in_the_same_turn_as_others_is_not_given_up_before))
