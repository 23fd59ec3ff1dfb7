// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <string.h>

#include "amqp/engine.h"
#include "base/err.h"

// What comes before the open frames: protocol headers (part 2.2) and SASL (part 5.3), which here
// only says by which means the peer is known: its certificate (EXTERNAL), or not at all
// (ANONYMOUS).

enum { ID_AMQP = 0, ID_SASL = 3 };
enum { OUTCOME_OK = 0, OUTCOME_AUTH = 1 };

static const struct {
    unsigned bit;
    const char *name, *response;
} mechanisms[] = {
    {AMQP_SASL_EXTERNAL, "EXTERNAL", ""},
    {AMQP_SASL_ANONYMOUS, "ANONYMOUS", "anonymous"},
};
enum { MECHANISM_COUNT = sizeof(mechanisms) / sizeof(mechanisms[0]) };

static void put_header(struct amqp_conn *c, uint8_t id)
{
    const uint8_t header[HEAD_LEN] = {'A', 'M', 'Q', 'P', id, 1, 0, 0};

    frame_put_bytes(c, header, sizeof(header));
}

static void put_mechanisms(struct amqp_conn *c)
{
    struct str names[MECHANISM_COUNT];
    struct amqp_writer w;
    uint32_t count = 0;

    for (size_t i = 0; i < MECHANISM_COUNT; i++)
        if (c->opts.sasl_mechanisms & mechanisms[i].bit)
            names[count++] = str_of(mechanisms[i].name);
    frame_begin(&w);
    amqp_put_mechanisms(&w, names, count);
    frame_end(c, &w, FRAME_SASL, 0);
}

static void put_outcome(struct amqp_conn *c, uint8_t code)
{
    struct amqp_sasl_outcome_frame f = {.code = code, .additional = STR_NONE};
    struct amqp_writer w;

    frame_begin(&w);
    amqp_put_sasl_outcome(&w, &f);
    frame_end(c, &w, FRAME_SASL, 0);
}

void sasl_start(struct amqp_conn *c)
{
    if (c->opts.is_server)
        return;
    if (c->opts.sasl_mechanisms) {
        put_header(c, ID_SASL);
        return;
    }
    put_header(c, ID_AMQP);
    conn_put_open(c);
    c->phase = PHASE_SECOND_HEADER;
}

// --------------------------------------------------------------------------------------- headers

static bool is_header(const uint8_t *got, uint8_t id)
{
    const uint8_t want[HEAD_LEN] = {'A', 'M', 'Q', 'P', id, 1, 0, 0};

    return memcmp(got, want, HEAD_LEN) == 0;
}

static void wrong_header(struct amqp_conn *c, const uint8_t *got)
{
    bool is_text = true;

    for (int i = 0; i < HEAD_LEN; i++)
        is_text = is_text && got[i] >= ' ' && got[i] < 0x7f;
    if (memcmp(got, "AMQP", 4) == 0)
        conn_fail(c, "amqp:not-implemented", "the peer wants AMQP protocol %u version %u.%u.%u",
                  got[4], got[5], got[6], got[7]);
    else if (is_text)
        conn_fail(c, "amqp:connection:framing-error",
                  "the peer does not speak AMQP: it began with \"%.8s\"", (const char *)got);
    else
        conn_fail(c, "amqp:connection:framing-error",
                  "the peer does not speak AMQP: it began with %02x %02x %02x %02x", got[0], got[1],
                  got[2], got[3]);
}

static void on_first_header(struct amqp_conn *c, const uint8_t *got)
{
    bool is_server = c->opts.is_server;

    if (is_header(got, ID_SASL) && c->opts.sasl_mechanisms) {
        c->phase = PHASE_SASL;
        if (is_server) {
            put_header(c, ID_SASL);
            put_mechanisms(c);
        }
    } else if (is_server && is_header(got, ID_AMQP) && c->opts.sasl_optional) {
        put_header(c, ID_AMQP);
        c->phase = PHASE_FRAMES;
    } else {
        if (is_server)
            put_header(c, c->opts.sasl_mechanisms ? ID_SASL : ID_AMQP);
        wrong_header(c, got);
    }
}

static void on_second_header(struct amqp_conn *c, const uint8_t *got)
{
    if (c->opts.is_server)
        put_header(c, ID_AMQP);
    if (is_header(got, ID_AMQP))
        c->phase = PHASE_FRAMES;
    else
        wrong_header(c, got);
}

// ------------------------------------------------------------------------------------------ SASL

static void use_mechanism(struct amqp_conn *c, size_t index)
{
    c->peer.sasl_mechanism = str_of(mechanisms[index].name);
}

static bool on_init(struct amqp_conn *c, struct str body)
{
    struct amqp_init_frame f;
    const char *why = "is not offered";

    if (amqp_decode_init(body, &f) < 0)
        return conn_fail(c, "amqp:decode-error", "the sasl-init frame cannot be read");
    for (size_t i = 0; i < MECHANISM_COUNT; i++) {
        if (!(c->opts.sasl_mechanisms & mechanisms[i].bit) ||
            !str_is(f.mechanism, mechanisms[i].name))
            continue;
        if (mechanisms[i].bit == AMQP_SASL_EXTERNAL && !c->opts.external_ok) {
            why = "needs a client certificate";
            break;
        }
        use_mechanism(c, i);
        put_outcome(c, OUTCOME_OK);
        c->phase = PHASE_SECOND_HEADER;
        return true;
    }
    put_outcome(c, OUTCOME_AUTH);
    return conn_fail(c, "amqp:unauthorized-access", "SASL mechanism %.*s %s",
                     (int)(f.mechanism.len < 32 ? f.mechanism.len : 32), f.mechanism.ptr, why);
}

static bool on_mechanisms(struct amqp_conn *c, struct str body)
{
    struct amqp_init_frame f = {.hostname = STR_NONE};
    struct amqp_writer w;
    struct str offered;

    if (amqp_decode_mechanisms(body, &offered) < 0)
        return conn_fail(c, "amqp:decode-error", "the sasl-mechanisms frame cannot be read");
    for (size_t i = 0; i < MECHANISM_COUNT; i++) {
        if (!(c->opts.sasl_mechanisms & mechanisms[i].bit) ||
            !amqp_symbols_have(offered, str_of(mechanisms[i].name)))
            continue;
        use_mechanism(c, i);
        f.mechanism = c->peer.sasl_mechanism;
        f.response = str_of(mechanisms[i].response);
        frame_begin(&w);
        amqp_put_init(&w, &f);
        frame_end(c, &w, FRAME_SASL, 0);
        return true;
    }
    return conn_fail(c, "amqp:unauthorized-access",
                     "the peer offers no SASL mechanism that we use");
}

static bool on_challenge(struct amqp_conn *c, struct str body)
{
    struct amqp_writer w;
    struct str challenge;

    if (amqp_decode_challenge(body, &challenge) < 0)
        return conn_fail(c, "amqp:decode-error", "the sasl-challenge frame cannot be read");
    frame_begin(&w);
    amqp_put_response(&w, STR(""));
    frame_end(c, &w, FRAME_SASL, 0);
    return true;
}

static bool on_outcome(struct amqp_conn *c, struct str body)
{
    struct amqp_sasl_outcome_frame f;

    if (amqp_decode_sasl_outcome(body, &f) < 0)
        return conn_fail(c, "amqp:decode-error", "the sasl-outcome frame cannot be read");
    if (f.code != OUTCOME_OK)
        return conn_fail(c, "amqp:unauthorized-access", "the peer refused us: SASL outcome %u",
                         f.code);
    put_header(c, ID_AMQP);
    conn_put_open(c);
    c->phase = PHASE_SECOND_HEADER;
    return true;
}

static bool on_sasl_frame(struct amqp_conn *c, const struct frame *f)
{
    int code = amqp_performative_of(f->body);
    bool has_chosen = c->peer.sasl_mechanism.len > 0;

    if (f->type != FRAME_SASL)
        return conn_fail(c, "amqp:connection:framing-error", "a frame of type %u came during SASL",
                         f->type);
    if (c->opts.is_server && code == AMQP_SASL_INIT)
        return on_init(c, f->body);
    if (!c->opts.is_server && code == AMQP_SASL_MECHANISMS && !has_chosen)
        return on_mechanisms(c, f->body);
    if (!c->opts.is_server && code == AMQP_SASL_CHALLENGE && has_chosen)
        return on_challenge(c, f->body);
    if (!c->opts.is_server && code == AMQP_SASL_OUTCOME && has_chosen)
        return on_outcome(c, f->body);
    return conn_fail(c, "amqp:not-allowed", "a frame came that does not belong here in SASL");
}

bool sasl_read(struct amqp_conn *c)
{
    const uint8_t *header;
    struct frame f;
    int got;

    if (c->phase != PHASE_SASL) {
        if (frame_next_header(c, &header) == 0)
            return false;
        if (c->phase == PHASE_FIRST_HEADER)
            on_first_header(c, header);
        else
            on_second_header(c, header);
        return true;
    }
    got = frame_next(c, &f);
    if (got == 0)
        return false;
    if (got < 0)
        conn_fail(c, "amqp:connection:framing-error", "a SASL frame is malformed or too large");
    else
        on_sasl_frame(c, &f);
    return true;
}
