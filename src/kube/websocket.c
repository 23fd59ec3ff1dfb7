// SPDX-License-Identifier: Apache-2.0
#include "kube/websocket.h"

#include <ctype.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "base/mem.h"

static const char PROTOCOL[] = "v4.channel.k8s.io";

// --------------------------------------------------------------------------------------- upgrade

char *ws_request(const char *path, const char *host, const char *agent, const char *token,
                 const char key[WS_KEY_LEN + 1])
{
    return str_fmt("GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: %s\r\n%s%s%s"
                   "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                   "Sec-WebSocket-Key: %s\r\nSec-WebSocket-Protocol: %s\r\n\r\n",
                   path, host, agent, token ? "Authorization: Bearer " : "", token ? token : "",
                   token ? "\r\n" : "", key, PROTOCOL);
}

// The value of a header field in a head; STR_NONE: it is not there.
static struct str field(struct str head, const char *name)
{
    size_t len = strlen(name);

    for (const char *at = memchr(head.ptr, '\n', head.len); at;) {
        struct str line = {at + 1, (size_t)(head.ptr + head.len - at - 1)};

        at = line.len ? memchr(line.ptr, '\n', line.len) : NULL;
        line.len = at ? (size_t)(at - line.ptr) : line.len;
        if (line.len <= len || line.ptr[len] != ':' || strncasecmp(line.ptr, name, len) != 0)
            continue;
        line = str_skip(line, len + 1);
        while (line.len && isspace((unsigned char)line.ptr[0]))
            line = str_skip(line, 1);
        while (line.len && isspace((unsigned char)line.ptr[line.len - 1]))
            line.len--;
        return line;
    }
    return STR_NONE;
}

static bool is_accepted(struct str head, const char *key)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int len = 0;
    char text[EVP_MAX_MD_SIZE * 2];
    char *both = str_fmt("%s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
    bool ok = EVP_Digest(both, strlen(both), digest, &len, EVP_sha1(), NULL) == 1;

    free(both);
    EVP_EncodeBlock((unsigned char *)text, digest, (int)len);
    return ok && str_is(field(head, "Sec-WebSocket-Accept"), text) &&
           str_is(field(head, "Sec-WebSocket-Protocol"), PROTOCOL);
}

// "HTTP/1.1 403 …"; 0: it is none.
static int code_of(struct str head)
{
    int code = 0;

    if (head.len < 12 || memcmp(head.ptr, "HTTP/1.", 7) != 0 || head.ptr[8] != ' ')
        return 0;
    for (size_t i = 9; i < 12; i++) {
        if (!isdigit((unsigned char)head.ptr[i]))
            return 0;
        code = code * 10 + head.ptr[i] - '0';
    }
    return code;
}

// Its body is whole, as far as it says how long it is.
static bool is_whole(struct str head, struct str body, bool is_over)
{
    struct str length = field(head, "Content-Length");
    size_t want = 0;

    if (length.len == 0 || length.len > 9)
        return is_over;
    for (size_t i = 0; i < length.len; i++)
        want = want * 10 + (size_t)(length.ptr[i] - '0');
    return is_over || body.len >= want;
}

int ws_answer(struct str text, const char key[WS_KEY_LEN + 1], bool is_over, int *code,
              json_t **status)
{
    const char *end = text.len ? memmem(text.ptr, text.len, "\r\n\r\n", 4) : NULL;
    struct str head = {text.ptr, end ? (size_t)(end + 4 - text.ptr) : text.len}, body;

    *status = NULL;
    if (text.len > WS_ANSWER_MAX)
        return ERR_LIMIT;
    if (!end)
        return is_over ? ERR_DECODE : 0;
    *code = code_of(head);
    if (*code == 101)
        return is_accepted(head, key) ? (int)head.len : ERR_DECODE;
    if (*code < 200)
        return ERR_DECODE;
    body = str_skip(text, head.len);
    if (!is_whole(head, body, is_over))
        return 0;
    *status = json_loadb(body.ptr, body.len, JSON_ALLOW_NUL | JSON_DISABLE_EOF_CHECK, NULL);
    return ERR_INVALID;
}

// --------------------------------------------------------------------------------------- writing

static size_t put_head(uint8_t *out, uint8_t opcode, size_t len, const uint8_t mask[4])
{
    size_t at = 2;

    out[0] = (uint8_t)(0x80 | opcode);
    out[1] = (uint8_t)(0x80 | (len < 126 ? len : 126));
    if (len >= 126) {
        out[at++] = (uint8_t)(len >> 8);
        out[at++] = (uint8_t)len;
    }
    memcpy(out + at, mask, 4);
    return at + 4;
}

size_t ws_head(uint8_t out[WS_FRAME_HEAD + 1], uint8_t channel, size_t len, const uint8_t mask[4])
{
    size_t at = put_head(out, 2, len + 1, mask);

    out[at] = channel ^ mask[0];
    return at + 1;
}

size_t ws_control(uint8_t out[WS_FRAME_HEAD + WS_CONTROL_MAX], uint8_t opcode, struct str text,
                  const uint8_t mask[4])
{
    size_t at = put_head(out, opcode, text.len, mask);

    for (size_t i = 0; i < text.len; i++)
        out[at + i] = (uint8_t)text.ptr[i] ^ mask[i % 4];
    return at + text.len;
}

// --------------------------------------------------------------------------------------- reading

static size_t head_size(const struct ws *w)
{
    return w->head_len < 2 ? 2 : (w->head[1] & 127) < 126 ? 2 : (w->head[1] & 127) == 126 ? 4 : 10;
}

// The head is whole. False: nobody of this protocol sends such.
static bool begin_frame(struct ws *w)
{
    uint8_t opcode = w->head[0] & 15;
    size_t size = head_size(w);

    w->left = size == 2 ? w->head[1] & 127 : 0;
    for (size_t i = 2; i < size; i++)
        w->left = w->left << 8 | w->head[i];
    w->head_len = 0;
    w->has_frame = true;
    w->opcode = opcode;
    w->is_final = w->head[0] >> 7;
    w->control_len = 0;
    if (w->head[0] & 0x70 || w->head[1] & 0x80) // extensions, or masked
        return false;
    if (opcode >= WS_CLOSE)
        return opcode <= WS_PONG && w->is_final && w->left <= WS_CONTROL_MAX;
    if (opcode > 2 || w->left > WS_FRAME_MAX)
        return false;
    if (opcode == 0)
        return w->has_channel; // goes on with the message before
    if (w->has_channel)
        return false;
    return true;
}

static void end_frame(struct ws *w, struct ws_piece *piece)
{
    struct str text = {(const char *)w->control, w->control_len};

    w->has_frame = false;
    if (w->opcode < WS_CLOSE && w->is_final)
        w->has_channel = false;
    if (w->opcode == WS_PING)
        *piece = (struct ws_piece){.event = WS_PINGED, .text = text};
    if (w->opcode == WS_CLOSE) // two octets of a code, then words
        *piece = (struct ws_piece){.event = WS_CLOSED,
                                   .text = str_skip(text, text.len < 2 ? text.len : 2)};
}

// Octets of the payload: those of a control frame are kept, all others are told as they come.
static size_t take_payload(struct ws *w, const uint8_t *data, size_t len, struct ws_piece *piece)
{
    size_t take = len < w->left ? len : (size_t)w->left;

    if (w->opcode >= WS_CLOSE) {
        memcpy(w->control + w->control_len, data, take);
        w->control_len += (uint8_t)take;
    } else if (!w->has_channel && take > 0) {
        w->channel = data[0];
        w->has_channel = true;
        take = 1;
    } else if (take > 0) {
        *piece = (struct ws_piece){WS_DATA, w->channel, {(const char *)data, take}};
    }
    w->left -= take;
    return take;
}

size_t ws_feed(struct ws *w, const uint8_t *data, size_t len, struct ws_piece *piece)
{
    size_t used = 0;

    *piece = (struct ws_piece){.event = WS_MORE};
    while (piece->event == WS_MORE) {
        if (w->has_frame && w->left == 0) {
            end_frame(w, piece);
            continue;
        }
        if (used == len)
            break;
        if (w->has_frame) {
            used += take_payload(w, data + used, len - used, piece);
            continue;
        }
        w->head[w->head_len++] = data[used++];
        if (w->head_len >= 2 && w->head_len == head_size(w) && !begin_frame(w))
            piece->event = WS_BROKEN;
    }
    return used;
}
