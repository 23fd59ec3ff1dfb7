// SPDX-License-Identifier: Apache-2.0
// The frames that the reference exchanged: each is decoded into what it means, and written again
// from nothing but that, to the same octets.
#include "amqp/captured_frames.h"

#include "amqp/hex.h"
#include "amqp/performative.h"
#include "base/err.h"

enum { HEAD = 8 };

// ------------------------------------------------------------------------------------- messages

// A section, or what follows the last one of a stream, which is no section.
static size_t put_section(struct amqp_writer *w, struct str bytes, bool *is_body)
{
    struct amqp_reader at = amqp_reader_of(bytes);
    struct amqp_item section, value;
    struct amqp_val *tree = NULL;
    uint64_t code;

    CHECK_EQ(amqp_read(&at, &section), 0);
    CHECK_EQ(amqp_open_described(&section, &code, &value), 0);
    at = amqp_reader_of(value.whole);
    CHECK_EQ(amqp_val_read(&at, 1000, &tree), 0);
    amqp_put_descriptor(w, code);
    amqp_val_write(w, tree, ((uint8_t)value.whole.ptr[0] & 0xf0) == 0xd0);
    amqp_val_free(tree);
    *is_body = code >= AMQP_SECTION_DATA;
    return section.whole.len;
}

static void put_message(struct amqp_writer *w, struct str bytes, bool is_first)
{
    struct amqp_msg msg;
    bool is_body = !is_first;

    if (is_first) {
        CHECK_EQ(amqp_msg_scan(bytes, true, AMQP_SCAN_RA, &msg), 0);
        if (msg.ra.present)
            amqp_put_ra(w, &msg.ra, STR_NONE);
        bytes = str_skip(bytes, msg.ra_len);
    }
    while (bytes.len > 0 && !is_body)
        bytes = str_skip(bytes, put_section(w, bytes, &is_body));
    amqp_put_raw(w, bytes); // octets of a TCP stream
}

// --------------------------------------------------------------------------------------- frames

static void put_mechanisms(struct amqp_writer *w, struct str body)
{
    struct str encoded, names[8];
    uint32_t count;

    CHECK_EQ(amqp_decode_mechanisms(body, &encoded), 0);
    count = amqp_symbols_of(encoded, names, 8);
    CHECK(count > 0 && count <= 8);
    amqp_put_mechanisms(w, names, count);
}

static void put_transfer(struct amqp_writer *w, struct str body)
{
    struct amqp_transfer_frame t;

    CHECK_EQ(amqp_decode_transfer(body, &t), 0);
    amqp_put_transfer(w, &t);
    // In continuations the delivery id is repeated; here the annotations tell the first.
    struct str payload = str_skip(body, t.payload_at);
    bool is_first = payload.len > 2 && payload.ptr[0] == 0;

    put_message(w, payload, is_first);
}

#define AGAIN(decode, put, type)                                                                   \
    do {                                                                                           \
        struct type f;                                                                             \
                                                                                                   \
        CHECK_EQ(decode(body, &f), 0);                                                             \
        put(w, &f);                                                                                \
    } while (0)

static void put_again(struct amqp_writer *w, struct str body)
{
    switch (amqp_performative_of(body)) {
    case AMQP_SASL_MECHANISMS:
        put_mechanisms(w, body);
        break;
    case AMQP_SASL_INIT:
        AGAIN(amqp_decode_init, amqp_put_init, amqp_init_frame);
        break;
    case AMQP_SASL_OUTCOME:
        AGAIN(amqp_decode_sasl_outcome, amqp_put_sasl_outcome, amqp_sasl_outcome_frame);
        break;
    case AMQP_OPEN:
        AGAIN(amqp_decode_open, amqp_put_open, amqp_open_frame);
        break;
    case AMQP_BEGIN:
        AGAIN(amqp_decode_begin, amqp_put_begin, amqp_begin_frame);
        break;
    case AMQP_ATTACH:
        AGAIN(amqp_decode_attach, amqp_put_attach, amqp_attach_frame);
        break;
    case AMQP_DISPOSITION:
        AGAIN(amqp_decode_disposition, amqp_put_disposition, amqp_disposition_frame);
        break;
    case AMQP_TRANSFER:
        put_transfer(w, body);
        break;
    default:
        fail_msg("a frame of another kind was captured");
    }
}

TEST(captured_frames_are_decoded_and_re_encoded_byte_for_byte)
{
    CHECK_EQ(CAPTURED_COUNT, 29); // all but the protocol header, which is no frame
    for (size_t i = 0; i < CAPTURED_COUNT; i++) {
        struct str frame = exact_copy(captured_frames[i].frame, captured_frames[i].frame.len);
        const uint8_t *head = (const uint8_t *)frame.ptr;
        struct amqp_writer w;

        CHECK_EQ_FOR(captured_frames[i].name, amqp_load_u32(head), frame.len);
        CHECK_EQ_FOR(captured_frames[i].name, head[4], 2);
        amqp_writer_init(&w);
        amqp_put_raw(&w, (struct str){frame.ptr, HEAD});
        put_again(&w, str_skip(frame, HEAD));
        amqp_store_u32(w.buf, (uint32_t)w.len);
        CHECK_BYTES_FOR(captured_frames[i].name, amqp_written(&w), frame);
        amqp_writer_fini(&w);
        exact_free(frame);
    }
}

TEST(captured_messages_mean_what_was_sent)
{
    static const struct {
        const char *name, *to, *ingress;
        uint32_t trace_count, flags;
    } rows[] = {
        {"hello", "amqp:/_local/qdhello", "0/RTR-B", 1, 0},
        {"ra", "amqp:/_topo/0/all/qdrouter", "0/RTR-A", 1, 0},
        {"mau_differential", "_topo/0/all/qdrouter.ma", "0/RTR-B", 1, 0},
        {"query", NULL, NULL, 0, 0},
        {"stream_first", "echo:9090", "0/RTR-A", 1, 5},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct amqp_transfer_frame t;
        struct amqp_msg msg;
        struct str body = STR_NONE;

        for (size_t f = 0; f < CAPTURED_COUNT; f++)
            if (strcmp(captured_frames[f].name, rows[i].name) == 0)
                body = str_skip(captured_frames[f].frame, HEAD);
        CHECK_EQ_FOR(rows[i].name, amqp_decode_transfer(body, &t), 0);
        CHECK_EQ_FOR(rows[i].name,
                     amqp_msg_scan(str_skip(body, t.payload_at), true, AMQP_SCAN_BODY, &msg), 0);
        CHECK_STR(msg.to, rows[i].to);
        CHECK_STR(msg.ra.ingress, rows[i].ingress);
        CHECK_EQ_FOR(rows[i].name, msg.ra.trace_count, rows[i].trace_count);
        CHECK_EQ_FOR(rows[i].name, msg.ra.flags, rows[i].flags);
    }
}

TEST_MAIN(CASE(captured_frames_are_decoded_and_re_encoded_byte_for_byte),
          CASE(captured_messages_mean_what_was_sent))
