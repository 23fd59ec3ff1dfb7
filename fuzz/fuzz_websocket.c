// SPDX-License-Identifier: Apache-2.0
// A WebSocket with channels: wherever the octets are cut, the same octets of the same channels, and
// the same end; and answers to an upgrade, of which every beginning is safe to look at.
#include <assert.h>

#include "kube/websocket.h"

static uint64_t mix(uint64_t hash, uint8_t octet)
{
    return (hash ^ octet) * 1099511628211u;
}

static uint64_t story(const uint8_t *data, size_t len, size_t step)
{
    uint64_t hash = 1469598103934665603u;
    struct ws w = {0};
    struct ws_piece piece = {.event = WS_MORE};

    for (size_t at = 0; at < len && piece.event != WS_BROKEN;) {
        size_t part = len - at < step ? len - at : step;

        do {
            size_t used = ws_feed(&w, data + at, part, &piece);

            assert(used <= part && (used > 0 || piece.event != WS_DATA));
            at += used;
            part -= used;
            if (piece.event != WS_MORE && piece.event != WS_DATA)
                hash = mix(hash, (uint8_t)piece.event);
            for (size_t i = 0; i < piece.text.len; i++)
                hash = mix(mix(hash, piece.event == WS_DATA ? piece.channel : 255),
                           (uint8_t)piece.text.ptr[i]);
        } while (piece.event != WS_MORE && piece.event != WS_BROKEN);
    }
    return hash;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const char key[] = "dGhlIHNhbXBsZSBub25jZQ==";
    json_t *status = NULL;
    int code = 0;

    if (len == 0)
        return 0;
    assert(story(data, len, len) == story(data, len, 1 + data[len - 1] % 16));
    ws_answer((struct str){(const char *)data, len}, key, data[len - 1] % 2, &code, &status);
    json_decref(status);
    return 0;
}
