// SPDX-License-Identifier: Apache-2.0
// How long an encoded value is, without looking at what it means: the step that every reader of
// messages and frames takes most often. Internal to amqp.
#pragma once

#include "amqp/codec.h"
#include "base/err.h"

// What follows a constructor, for each of the 256: below AMQP_FORM_VARIABLE the width of the data.
// Above, the low four bits are the width of the size (and of the count).
enum {
    AMQP_FORM_VARIABLE = 0x20,
    AMQP_FORM_COMPOUND = 0x40,
    AMQP_FORM_ARRAY = 0x80,
    AMQP_FORM_DESCRIBED = 0xfe,
    AMQP_FORM_BAD = 0xff,
};
extern const uint8_t amqp_forms[256];

// As amqp_value_len, for what begins with the octet 0.
ptrdiff_t amqp_described_len(const uint8_t *at, const uint8_t *end);

// The code of a descriptor of the specification given by name, or UINT64_MAX.
uint64_t amqp_code_of_symbol(struct str name);

// Octets of data behind a constructor of the given form, or a negative enum err.
static inline ptrdiff_t amqp_data_len(uint8_t form, const uint8_t *at, const uint8_t *end)
{
    if (LIKELY(form < AMQP_FORM_VARIABLE))
        return end - at < form ? ERR_AGAIN : form;
    if (UNLIKELY(form >= AMQP_FORM_DESCRIBED))
        return ERR_DECODE;

    ptrdiff_t width = form & 0x0f;

    if (end - at < width)
        return ERR_AGAIN;

    size_t size = width == 1 ? at[0] : amqp_load_u32(at);

    if (form >= AMQP_FORM_COMPOUND && size < (size_t)width)
        return ERR_DECODE;
    if ((size_t)(end - at - width) < size)
        return ERR_AGAIN;
    return width + (ptrdiff_t)size;
}

// Octets of the value at `at`, constructor included, or ERR_AGAIN when it does not end before
// `end`, ERR_DECODE or ERR_LIMIT.
static inline ptrdiff_t amqp_value_len(const uint8_t *at, const uint8_t *end)
{
    if (UNLIKELY(at == end))
        return ERR_AGAIN;

    uint8_t form = amqp_forms[at[0]];

    if (UNLIKELY(form == AMQP_FORM_DESCRIBED))
        return amqp_described_len(at, end);

    ptrdiff_t len = amqp_data_len(form, at + 1, end);

    return len < 0 ? len : len + 1;
}
