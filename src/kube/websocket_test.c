// SPDX-License-Identifier: Apache-2.0
#include "kube/websocket.h"

#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "check.h"

// The key and its answer are those of RFC 6455, 1.3.
static const char KEY[] = "dGhlIHNhbXBsZSBub25jZQ==";
#define BEGUN                                                                                      \
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"            \
    "sec-websocket-accept:  s3pPLMBiTxaQ9kYGzzhZRbK+xOo= \r\n"                                     \
    "Sec-WebSocket-Protocol: v4.channel.k8s.io\r\n\r\n"

TEST(a_request_says_who_asks_and_for_what)
{
    char *text = ws_request("/p?ports=1", "h:6443", "skupper", "t0k", KEY);

    CHECK_STR(str_of(text),
              "GET /p?ports=1 HTTP/1.1\r\nHost: h:6443\r\nUser-Agent: skupper\r\n"
              "Authorization: Bearer t0k\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
              "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
              "Sec-WebSocket-Protocol: v4.channel.k8s.io\r\n\r\n");
    free(text);
    text = ws_request("/p", "h", "skupper", NULL, KEY);
    CHECK(!strstr(text, "Authorization"));
    free(text);
}

TEST(the_answer_is_known_when_it_is_whole)
{
    static const struct {
        const char *text;
        int want, code;
        const char *message;
    } rows[] = {
        {BEGUN, sizeof(BEGUN) - 1, 101, NULL},
        {"HTTP/1.1 403 Forbidden\r\nContent-Length: 16\r\n\r\n{\"message\":\"no\"}", ERR_INVALID,
         403, "no"},
        {"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno", ERR_INVALID, 404, NULL},
        {"HTTP/1.1 101 x\r\nSec-WebSocket-Accept: AAAA\r\n"
         "Sec-WebSocket-Protocol: v4.channel.k8s.io\r\n\r\n",
         ERR_DECODE, 101, NULL},
        {"HTTP/1.1 101 x\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n", ERR_DECODE,
         101, NULL},
        {"SSH-2.0\r\n\r\n", ERR_DECODE, 0, NULL},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        size_t len = strlen(rows[i].text);
        json_t *status = NULL;
        int code = 0;

        for (size_t part = 0; part < len; part++)
            CHECK_EQ_FOR(rows[i].text,
                         ws_answer((struct str){rows[i].text, part}, KEY, false, &code, &status),
                         0);
        CHECK_EQ_FOR(rows[i].text, ws_answer(str_of(rows[i].text), KEY, false, &code, &status),
                     rows[i].want);
        CHECK_EQ_FOR(rows[i].text, code, rows[i].code);
        CHECK(!rows[i].message == !status);
        if (status)
            CHECK_STR(str_of(json_string_value(json_object_get(status, "message"))),
                      rows[i].message);
        json_decref(status);
    }
}

TEST(an_answer_that_ends_early_or_never_is_none)
{
    char *longest = xcalloc(1, WS_ANSWER_MAX + 1);
    json_t *status;
    int code;

    CHECK_EQ(ws_answer(STR("HTTP/1.1 101"), KEY, true, &code, &status), ERR_DECODE);
    CHECK_EQ(ws_answer(STR("HTTP/1.1 500 x\r\n\r\nwords"), KEY, false, &code, &status), 0);
    CHECK_EQ(ws_answer(STR("HTTP/1.1 500 x\r\n\r\nwords"), KEY, true, &code, &status), ERR_INVALID);
    CHECK_EQ(ws_answer((struct str){longest, WS_ANSWER_MAX + 1}, KEY, false, &code, &status),
             ERR_LIMIT);
    free(longest);
}

// What was told, as "0:abc", "ping:…", "close:…" and so on, joined pieces of a channel as one.
static char *story(const char *octets, size_t len, size_t step)
{
    char *out = xstrdup("");
    struct ws w = {0};
    struct ws_piece piece = {.event = WS_MORE};
    int last = -1;

    for (size_t at = 0; at < len && piece.event != WS_BROKEN;) {
        size_t part = len - at < step ? len - at : step;

        do {
            static const char *const names[] = {"", "", "ping", "close", "broken"};
            size_t used = ws_feed(&w, (const uint8_t *)octets + at, part, &piece);
            char *more;

            at += used;
            part -= used;
            if (piece.event == WS_MORE)
                break;
            if (piece.event == WS_DATA && piece.channel == last)
                more = str_fmt("%s%.*s", out, STR_ARG(piece.text));
            else if (piece.event == WS_DATA)
                more = str_fmt("%s %d:%.*s", out, piece.channel, STR_ARG(piece.text));
            else
                more = str_fmt("%s %s:%.*s", out, names[piece.event], STR_ARG(piece.text));
            last = piece.event == WS_DATA ? piece.channel : -1;
            free(out);
            out = more;
        } while (piece.event != WS_BROKEN);
    }
    return out;
}

TEST(frames_are_the_same_wherever_they_are_cut)
{
    static const struct {
        const char *octets;
        size_t len;
        const char *want;
    } rows[] = {
#define ROW(octets, want) {octets, sizeof(octets) - 1, want}
        ROW("\x82\x04\0abc\x82\x03\1xy", " 0:abc 1:xy"),
        ROW("\x82\x01\0\x82\x02\0a", " 0:a"), // nothing of a channel
        ROW("\x82\0\x82\x02\0a", " 0:a"),     // nothing at all
        ROW("\x02\x03\0ab\x89\x02hi\x80\x01"
            "c",
            " 0:ab ping:hi 0:c"), // in fragments
        ROW("\x88\x05\x03\xe8"
            "bye",
            " close:bye"),
        ROW("\x88\0", " close:"),
        ROW("\x82\x7e\0\x04\0abc", " 0:abc"), // a longer form of the length
        ROW("\x82\x7f\0\0\0\0\0\0\0\x02\0a", " 0:a"),
        ROW("\x8a\x02hi\x82\x02\0a", " 0:a"),    // a pong nobody asked for
        ROW("\x82\x84\0\0\0\0abcd", " broken:"), // masked
        ROW("\xc2\x02\0a", " broken:"),          // an extension
        ROW("\x80\x01"
            "a",
            " broken:"), // goes on with nothing
        ROW("\x02\x02\0a\x82\x02\0b", " 0:a broken:"),
        ROW("\x09\x01"
            "a",
            " broken:"), // a ping in fragments
        ROW("\x89\x7e\0\x7e", " broken:"),
        ROW("\x83\x01"
            "a",
            " broken:"),
        ROW("\x82\x7f\x7f\0\0\0\0\0\0\0", " broken:"), // larger than anybody sends
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        for (size_t step = 1; step <= rows[i].len; step++) {
            char *got = story(rows[i].octets, rows[i].len, step);

            CHECK_STR(str_of(got), rows[i].want);
            free(got);
        }
    }
}

TEST(what_is_written_is_masked)
{
    static const uint8_t mask[4] = {1, 2, 4, 8};
    uint8_t head[WS_FRAME_HEAD + 1], frame[WS_FRAME_HEAD + WS_CONTROL_MAX];

    CHECK_EQ(ws_head(head, 1, 3, mask), 7);
    CHECK(memcmp(head, "\x82\x84\1\2\4\10\0", 7) == 0);
    CHECK_EQ(ws_head(head, 0, 300, mask), 9);
    CHECK(memcmp(head, "\x82\xfe\1\x2d\1\2\4\10\1", 9) == 0);
    CHECK_EQ(ws_control(frame, WS_PONG, STR("abcde"), mask), 11);
    CHECK(memcmp(frame,
                 "\x8a\x85\1\2\4\10``gl"
                 "d",
                 11) == 0);
}

TEST_MAIN(CASE(a_request_says_who_asks_and_for_what), CASE(the_answer_is_known_when_it_is_whole),
          CASE(an_answer_that_ends_early_or_never_is_none),
          CASE(frames_are_the_same_wherever_they_are_cut), CASE(what_is_written_is_masked))
