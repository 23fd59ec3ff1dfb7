// SPDX-License-Identifier: Apache-2.0
// The stream behind a subresource of a pod, as a value: a WebSocket (RFC 6455) whose messages carry
// the octets of numbered channels, as the API server's v4.channel.k8s.io has them: the first octet
// of a message is the channel. Octets come in, pieces of channels come out; nothing is kept but the
// head of a frame. No socket and no clock.
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"
#include "base/why.h"

enum {
    WS_KEY_LEN = 24,                 // of Sec-WebSocket-Key
    WS_ANSWER_MAX = 64 * 1024,       // octets of the answer to the upgrade, with its body
    WS_FRAME_HEAD = 14,              // of one that is written, at most
    WS_PIECE_MAX = 16 * 1024,        // octets of a frame that is written
    WS_FRAME_MAX = 64 * 1024 * 1024, // of one that is read
    WS_CONTROL_MAX = 125,            // octets in a ping or close
};

// A request for the upgrade. `token`: NULL, none. The caller wipes and frees it.
char *ws_request(const char *path, const char *host, const char *agent, const char *token,
                 const char key[WS_KEY_LEN + 1]);

// What was answered, as much as is there. Returns 0: more is needed; the length of the head when
// the stream has begun; or a negative enum err: ERR_INVALID, it was refused, *code and *status (the
// caller's, or NULL) say how; ERR_DECODE, this is no such answer; ERR_LIMIT.
int ws_answer(struct str text, const char key[WS_KEY_LEN + 1], bool is_over, int *code,
              json_t **status);

// The head of a binary frame for a channel, `len` octets of it follow, each combined with
// mask[i % 4]; the octet of the channel is in the head. Returns its length.
size_t ws_head(uint8_t out[WS_FRAME_HEAD + 1], uint8_t channel, size_t len, const uint8_t mask[4]);
// A whole frame of that opcode: a pong, or a close. Returns its length.
enum { WS_CLOSE = 8, WS_PING = 9, WS_PONG = 10 };
size_t ws_control(uint8_t out[WS_FRAME_HEAD + WS_CONTROL_MAX], uint8_t opcode, struct str text,
                  const uint8_t mask[4]);

struct ws {
    uint8_t head[10];
    uint8_t head_len;
    uint8_t opcode;
    bool is_final, has_frame, has_channel; // in a frame; of the message the channel is known
    uint8_t channel;
    uint64_t left; // of the frame
    uint8_t control[WS_CONTROL_MAX];
    uint8_t control_len;
};

enum ws_event {
    WS_MORE,   // more octets are needed
    WS_DATA,   // text, of `channel`
    WS_PINGED, // text, to be sent back as a pong
    WS_CLOSED, // text: why, may be empty
    WS_BROKEN, // this is no such stream
};

struct ws_piece {
    enum ws_event event;
    uint8_t channel;
    struct str text; // borrowed from what was fed, or from the value
};

// Takes some of the octets and says how many; *piece is what they meant.
size_t ws_feed(struct ws *w, const uint8_t *data, size_t len, struct ws_piece *piece);
