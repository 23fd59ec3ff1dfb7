// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>

#include "amqp/engine.h"
#include "base/err.h"
#include "base/mem.h"

// Frames as lines of text, for people who look for a fault. Incoming ones are seen where they are
// cut; outgoing ones where the shell takes the output, whose end is always the end of a frame.

enum {
    LINES_MAX = 4096,
    SHOWN_MAX = 8192,  // octets of a frame that are looked at
    VALUES_MAX = 2000, // in a performative
};

struct trace {
    char *lines[LINES_MAX];
    uint32_t first, count;
    uint64_t skipped;
    size_t output_at; // octets of the output that have been seen
};

static void add_line(struct trace *t, char *take)
{
    if (t->count == LINES_MAX) {
        t->skipped++;
        free(take);
        return;
    }
    t->lines[(t->first + t->count++) % LINES_MAX] = take;
}

char *amqp_conn_next_trace(struct amqp_conn *c)
{
    struct trace *t = c->trace;
    uint64_t skipped = t ? t->skipped : 0;
    char *line;

    if (!t)
        return NULL;
    if (t->count == 0) {
        t->skipped = 0;
        return skipped ? str_fmt("(%llu more frames)", (unsigned long long)skipped) : NULL;
    }
    line = t->lines[t->first];
    t->first = (t->first + 1) % LINES_MAX;
    t->count--;
    return line;
}

bool amqp_conn_is_traced(const struct amqp_conn *c)
{
    return c->trace != NULL;
}

void amqp_conn_trace(struct amqp_conn *c, bool on)
{
    char *line;

    if (on == (c->trace != NULL))
        return;
    if (on) {
        c->trace = xcalloc(1, sizeof(*c->trace));
        c->trace->output_at = c->output.len;
        return;
    }
    while ((line = amqp_conn_next_trace(c)) != NULL)
        free(line);
    free(c->trace);
    c->trace = NULL;
}

static const char *name_of(uint64_t code)
{
    static const char *const frames[] = {"open",        "begin",  "attach", "flow", "transfer",
                                         "disposition", "detach", "end",    "close"};
    static const char *const sasl[] = {"sasl-mechanisms", "sasl-init", "sasl-challenge",
                                       "sasl-response", "sasl-outcome"};

    if (code >= AMQP_OPEN && code <= AMQP_CLOSE)
        return frames[code - AMQP_OPEN];
    if (code >= AMQP_SASL_MECHANISMS && code <= AMQP_SASL_OUTCOME)
        return sasl[code - AMQP_SASL_MECHANISMS];
    return NULL;
}

// What a peer proves itself with is nobody's business.
static bool is_secret(uint64_t code)
{
    return code >= AMQP_SASL_INIT && code <= AMQP_SASL_RESPONSE;
}

static char *say_body(struct str body, size_t cut)
{
    struct amqp_reader at = amqp_reader_of(body);
    struct amqp_val *v = NULL;
    char *fields, *line;
    uint64_t code;

    if (body.len + cut == 0)
        return xstrdup("(empty)");
    if (amqp_val_read(&at, VALUES_MAX, &v) < 0 || v->type != AMQP_DESCRIBED ||
        v->items[0]->type != AMQP_ULONG || !name_of(v->items[0]->u)) {
        amqp_val_free(v);
        return str_fmt("(%zu octets that cannot be shown)", body.len + cut);
    }
    code = v->items[0]->u;
    fields = is_secret(code) ? xstrdup("(hidden)") : amqp_val_text(v->items[1]);
    cut += (size_t)(at.end - at.at);
    line = cut ? str_fmt("@%s %s (%zu octets)", name_of(code), fields, cut)
               : str_fmt("@%s %s", name_of(code), fields);
    free(fields);
    amqp_val_free(v);
    return line;
}

static void add_frame(struct trace *t, const char *arrow, uint16_t channel, struct str body,
                      size_t cut)
{
    char *text = say_body(body, cut);

    add_line(t, str_fmt("%u %s %s", channel, arrow, text));
    free(text);
}

void trace_input(struct amqp_conn *c, uint16_t channel, struct str body)
{
    size_t len = body.len < SHOWN_MAX ? body.len : SHOWN_MAX;

    add_frame(c->trace, "<-", channel, (struct str){body.ptr, len}, body.len - len);
}

void trace_output(struct amqp_conn *c)
{
    struct trace *t = c->trace;
    char frame[SHOWN_MAX];

    while (t->output_at + HEAD_LEN <= c->output.len) {
        size_t len = buf_copy(&c->output, t->output_at, frame, sizeof(frame));
        const uint8_t *head = (const uint8_t *)frame;
        size_t size = amqp_load_u32(head);

        if (memcmp(frame, "AMQP", 4) == 0) {
            t->output_at += HEAD_LEN;
            continue;
        }
        len = len < size ? len : size;
        add_frame(t, "->", amqp_load_u16(head + 6), (struct str){frame + HEAD_LEN, len - HEAD_LEN},
                  size - len);
        t->output_at += size;
    }
}

void trace_sent(struct amqp_conn *c)
{
    c->trace->output_at = c->output.len;
}
