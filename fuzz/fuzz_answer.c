// SPDX-License-Identifier: Apache-2.0
// An answer of some router's management: whatever can be read of it is the same after a way through
// JSON, AMQP and JSON again.
#include <assert.h>
#include <stdlib.h>

#include "client/client.h"

enum { VALUES_MAX = 10000 };

static void check_value(struct str encoded)
{
    struct amqp_reader at = amqp_reader_of(encoded);
    struct amqp_val *v = NULL, *again;
    json_t *first, *second;

    if (encoded.len == 0 || amqp_val_read(&at, VALUES_MAX, &v) < 0)
        return;
    first = client_json(v);
    again = client_value(first);
    second = client_json(again);
    assert(first && json_equal(first, second));
    amqp_val_free(v);
    amqp_val_free(again);
    json_decref(first);
    json_decref(second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct client_message m;

    if (client_read_message((struct str){(const char *)data, size}, &m) < 0)
        return 0;
    check_value(m.application_properties);
    check_value(m.value);
    return 0;
}
