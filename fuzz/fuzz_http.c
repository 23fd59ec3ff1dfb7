// SPDX-License-Identifier: Apache-2.0
// HTTP requests: however the stream is cut, the same answers.
#include <assert.h>
#include <stdlib.h>

#include "http/http.h"

static uint64_t story(const uint8_t *data, size_t len, size_t step)
{
    struct pool *pool = pool_new(64, 100000);
    struct http_conn *c = http_conn_new(pool);
    struct http_request request;
    uint64_t hash = 1469598103934665603u;
    struct buf *out = http_conn_output(c);

    for (size_t at = 0; at < len; at += step) {
        size_t part = len - at < step ? len - at : step;

        for (size_t fed = 0; fed < part;) {
            size_t taken = http_conn_feed(c, data + at + fed, part - fed);

            fed += taken;
            while (http_conn_next(c, &request))
                http_conn_respond(c, 200, "text/plain", request.path);
            assert(taken > 0 || http_conn_is_finished(c)); // what is full is answered or refused
        }
    }
    while (out->len > 0) {
        size_t part;
        const uint8_t *front = buf_front(out, &part);

        for (size_t i = 0; i < part; i++)
            hash = (hash ^ front[i]) * 1099511628211u;
        buf_skip(out, part);
    }
    http_conn_free(c);
    assert(pool_used(pool) == 0);
    pool_free(pool);
    return hash;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len > 0)
        assert(story(data, len, len) == story(data, len, 1 + data[0] % 16));
    return 0;
}
