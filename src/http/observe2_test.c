// SPDX-License-Identifier: Apache-2.0
#include <nghttp2/nghttp2.h>
#include <stdlib.h>

#include "check.h"
#include "http/http.h"
#include "http/observe_story.h"

// Both ends of a connection, as octets in the order in which they pass. Header blocks are written
// by nghttp2's encoder, with its dynamic table.
enum { DATA = 0, HEADERS = 1, RST_STREAM = 3, SETTINGS = 4, PUSH_PROMISE = 5, CONTINUATION = 9 };
enum { END_STREAM = 1, END_HEADERS = 4, PADDED = 8, PRIORITY = 32 };

struct talk {
    nghttp2_hd_deflater *deflaters[2];
    uint8_t octets[1 << 17];
    bool from_server[1 << 17]; // each octet
    size_t len;
};

static void put(struct talk *t, bool server, const void *data, size_t len)
{
    CHECK(t->len + len <= sizeof(t->octets));
    memcpy(t->octets + t->len, data, len);
    memset(t->from_server + t->len, server, len);
    t->len += len;
}

static void frame(struct talk *t, bool server, uint8_t type, uint8_t flags, uint32_t stream,
                  const void *payload, size_t len)
{
    uint8_t head[9] = {(uint8_t)(len >> 16),
                       (uint8_t)(len >> 8),
                       (uint8_t)len,
                       type,
                       flags,
                       (uint8_t)(stream >> 24),
                       (uint8_t)(stream >> 16),
                       (uint8_t)(stream >> 8),
                       (uint8_t)stream};

    put(t, server, head, sizeof(head));
    put(t, server, payload, len);
}

static size_t deflate(struct talk *t, bool server, const char *const headers[][2], uint8_t *out)
{
    nghttp2_nv nv[16];
    size_t count = 0;
    ssize_t len;

    for (; headers[count][0]; count++)
        nv[count] = (nghttp2_nv){(uint8_t *)(uintptr_t)headers[count][0],
                                 (uint8_t *)(uintptr_t)headers[count][1], strlen(headers[count][0]),
                                 strlen(headers[count][1]), 0};
    len = nghttp2_hd_deflate_hd(t->deflaters[server], out, 8192, nv, count);
    CHECK(len >= 0);
    return (size_t)len;
}

static struct talk *talk_new(void)
{
    struct talk *t = calloc(1, sizeof(*t));

    CHECK(t != NULL);
    for (int i = 0; i < 2; i++)
        CHECK_EQ(nghttp2_hd_deflate_new(&t->deflaters[i], 4096), 0);
    put(t, false, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24);
    frame(t, false, SETTINGS, 0, 0, "", 0);
    frame(t, true, SETTINGS, 0, 0, "\0\3\0\0\0\x64", 6);
    return t;
}

static void talk_free(struct talk *t)
{
    for (int i = 0; i < 2; i++)
        nghttp2_hd_deflate_del(t->deflaters[i]);
    free(t);
}

static void request(struct talk *t, uint32_t stream, const char *method, bool ends)
{
    const char *const headers[][2] = {{":method", method},
                                      {":path", "/a/path"},
                                      {":scheme", "http"},
                                      {"x-forwarded-for", "192.0.2.7, 10.0.0.1"},
                                      {"cookie", "a-rather-long-value-that-is-indexed"},
                                      {NULL, NULL}};
    uint8_t block[8192];
    size_t len = deflate(t, false, headers, block);

    frame(t, false, HEADERS, (uint8_t)(END_HEADERS | (ends ? END_STREAM : 0)), stream, block, len);
}

static void response(struct talk *t, uint32_t stream, const char *status, bool ends)
{
    const char *const headers[][2] = {{":status", status}, {"server", "test"}, {NULL, NULL}};
    uint8_t block[8192];
    size_t len = deflate(t, true, headers, block);

    frame(t, true, HEADERS, (uint8_t)(END_HEADERS | (ends ? END_STREAM : 0)), stream, block, len);
}

static void data(struct talk *t, bool server, uint32_t stream, size_t len, bool ends)
{
    uint8_t *zeros = calloc(1, len + 1);

    CHECK(zeros != NULL);
    frame(t, server, DATA, ends ? END_STREAM : 0, stream, zeros, len);
    free(zeros);
}

static struct story *tell(const struct talk *t, enum http_observe how, size_t step)
{
    struct story *s = calloc(1, sizeof(*s));
    size_t at = 0;

    CHECK(s != NULL);
    s->o = http_observer_new(how);
    while (at < t->len) {
        size_t len = 1;

        while (at + len < t->len && t->from_server[at + len] == t->from_server[at])
            len++;
        story_feed(s, t->from_server[at], (struct str){(const char *)t->octets + at, len}, step);
        at += len;
    }
    story_end(s);
    return s;
}

static void check_story(const char *why, struct talk *take, const char *want)
{
    static const size_t steps[] = {1 << 20, 1, 2, 5, 16};

    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        struct story *s = tell(take, i % 2 ? HTTP_OBSERVE_2 : HTTP_OBSERVE_AUTO, steps[i]);

        if (strcmp(s->text, want) != 0)
            fail_msg("%s, in pieces of %zu:\n%snot\n%s", why, steps[i], s->text, want);
        free(s);
    }
    talk_free(take);
}

TEST(a_request_and_its_response)
{
    struct talk *t = talk_new();

    request(t, 1, "GET", true);
    response(t, 1, "200", false);
    data(t, true, 1, 1000, false);
    data(t, true, 1, 24, true);
    check_story("GET", t, "1> GET HTTP/2 for 192.0.2.7\n1< 200 \n1. 200: 0 1024\n");
}

TEST(streams_pass_side_by_side)
{
    struct talk *t = talk_new();

    request(t, 1, "POST", false);
    request(t, 3, "GET", true);
    data(t, false, 1, 10, false);
    response(t, 3, "404", true);
    request(t, 5, "GET", true);
    data(t, false, 1, 5, true);
    response(t, 5, "200", false);
    response(t, 1, "201", false);
    data(t, true, 5, 7, true);
    data(t, true, 1, 0, true);
    check_story("three", t,
                "1> POST HTTP/2 for 192.0.2.7\n3> GET HTTP/2 for 192.0.2.7\n3< 404 \n"
                "3. 404: 0 0\n5> GET HTTP/2 for 192.0.2.7\n5< 200 \n1< 201 \n5. 200: 0 7\n"
                "1. 201: 15 0\n");
}

TEST(interim_responses_trailers_and_padding_are_understood)
{
    struct talk *t = talk_new();
    const char *const trailers[][2] = {{"grpc-status", "0"}, {NULL, NULL}};
    uint8_t block[8192];
    size_t len;

    request(t, 1, "POST", false);
    response(t, 1, "103", false);
    frame(t, false, DATA, PADDED | END_STREAM, 1, "\3abcd\0\0\0", 8);
    frame(t, false, DATA, PADDED, 99, "\2\0\0", 3); // of a stream that nobody knows
    response(t, 1, "200", false);
    data(t, true, 1, 5, false);
    len = deflate(t, true, trailers, block);
    frame(t, true, HEADERS, END_HEADERS | END_STREAM, 1, block, len);
    check_story("gRPC", t, "1> POST HTTP/2 for 192.0.2.7\n1< 200 \n1. 200: 4 5\n");
}

TEST(a_header_block_may_come_in_pieces)
{
    const char *const headers[][2] = {{":method", "DELETE"}, {":path", "/"}, {NULL, NULL}};
    struct talk *t = talk_new();
    uint8_t block[8192], payload[8192] = {2, 0, 0, 0, 0, 16}; // padding 2, priority
    size_t len = deflate(t, false, headers, block);

    memcpy(payload + 6, block, 3);
    frame(t, false, HEADERS, PADDED | PRIORITY | END_STREAM, 1, payload, 6 + 3 + 2);
    frame(t, false, CONTINUATION, 0, 1, block + 3, 2);
    frame(t, false, CONTINUATION, 0, 1, "", 0);
    frame(t, false, CONTINUATION, END_HEADERS, 1, block + 5, len - 5);
    response(t, 1, "204", true);
    check_story("pieces", t, "1> DELETE HTTP/2\n1< 204 \n1. 204: 0 0\n");
}

TEST(a_promise_is_decoded_for_its_effects_and_not_told)
{
    const char *const headers[][2] = {
        {":method", "GET"}, {":path", "/style"}, {"x", "indexed"}, {NULL, NULL}};
    struct talk *t = talk_new();
    uint8_t payload[8192] = {0, 0, 0, 2};
    size_t len;

    request(t, 1, "GET", true);
    len = deflate(t, true, headers, payload + 4);
    frame(t, true, PUSH_PROMISE, END_HEADERS, 1, payload, 4 + len);
    response(t, 2, "200", true);
    response(t, 1, "200", true);
    check_story("push", t, "1> GET HTTP/2 for 192.0.2.7\n1< 200 \n1. 200: 0 0\n");
}

TEST(a_stream_that_is_reset_was_cut)
{
    struct talk *t = talk_new();

    request(t, 1, "GET", true);
    request(t, 3, "GET", true);
    response(t, 3, "200", false);
    frame(t, true, RST_STREAM, 0, 1, "\0\0\0\2", 4);
    frame(t, false, RST_STREAM, 0, 3, "\0\0\0\x8", 4);
    frame(t, false, RST_STREAM, 0, 3, "\0\0\0\x8", 4); // and once more
    check_story("reset", t,
                "1> GET HTTP/2 for 192.0.2.7\n3> GET HTTP/2 for 192.0.2.7\n3< 200 \n"
                "1. 0: 0 0 cut\n3. 200: 0 0 cut\n");
}

TEST(streams_beyond_the_limit_are_passed_over)
{
    struct talk *t = talk_new();
    struct story *s = NULL;

    for (uint32_t i = 0; i < HTTP_STREAMS_MAX + 10; i++)
        request(t, 2 * i + 1, "GET", true);
    for (uint32_t i = 0; i < HTTP_STREAMS_MAX + 10; i++)
        response(t, 2 * i + 1, "200", true);
    request(t, 1001, "GET", true);
    response(t, 1001, "200", true);
    s = tell(t, HTTP_OBSERVE_AUTO, 1 << 20);
    CHECK_EQ(s->requests, HTTP_STREAMS_MAX + 1);
    CHECK_EQ(s->ends, HTTP_STREAMS_MAX + 1);
    CHECK(!strstr(s->text, "cut") && !strstr(s->text, "off"));
    free(s);
    talk_free(t);
}

TEST(tables_that_take_too_much_memory_are_let_go)
{
    struct talk *t = talk_new();
    struct story *s = NULL;

    // The smallest entries are the dearest: many of them, on both sides, in 4096 octets of table.
    for (uint32_t i = 0; i < 150; i++) {
        char name[16];
        const char *const headers[][2] = {{":method", "GET"}, {name, "v"}, {NULL, NULL}};
        uint8_t block[8192];

        snprintf(name, sizeof(name), "%c%c", 'a' + (int)(i / 26), 'a' + (int)(i % 26));
        frame(t, false, HEADERS, END_HEADERS | END_STREAM, 2 * i + 1, block,
              deflate(t, false, headers, block));
        frame(t, true, HEADERS, END_HEADERS | END_STREAM, 2 * i + 1, block,
              deflate(t, true, headers + 1, block));
    }
    s = tell(t, HTTP_OBSERVE_AUTO, 1 << 20);
    CHECK(strstr(s->text, "off: header tables that take too much memory\n") != NULL);
    CHECK_EQ(s->requests, s->ends);
    free(s);
    talk_free(t);
}

TEST(what_is_no_http_2_is_let_go)
{
    static const struct {
        const char *why;
        bool server;
        uint8_t type, flags;
        uint32_t stream;
        struct str payload;
        const char *want;
    } rows[] = {
        {"a continuation of nothing",
         false,
         CONTINUATION,
         END_HEADERS,
         1,
         {"", 0},
         "off: a header block that is interrupted\n"},
        {"headers for no stream",
         false,
         HEADERS,
         END_HEADERS,
         0,
         {"\x82", 1},
         "off: a header block without a stream\n"},
        {"an index that is not there",
         false,
         HEADERS,
         END_HEADERS,
         1,
         {"\xff\xff\xff\x7f", 4},
         "off: a header block that cannot be decoded\n"},
        {"a block that ends in the middle",
         false,
         HEADERS,
         END_HEADERS,
         1,
         {"\x40\x05x", 3},
         "off: a header block that cannot be decoded\n"},
        {"no room for what the flags say",
         false,
         HEADERS,
         END_HEADERS | PRIORITY,
         1,
         {"\x82", 1},
         "off: a frame that is too short\n"},
        {"padding beyond the frame",
         true,
         DATA,
         PADDED,
         1,
         {"\x09xx", 3},
         "off: more padding than there is room\n"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct talk *t = talk_new();

        frame(t, rows[i].server, rows[i].type, rows[i].flags, rows[i].stream, rows[i].payload.ptr,
              rows[i].payload.len);
        check_story(rows[i].why, t, rows[i].want);
    }
}

TEST(the_first_frame_must_be_settings)
{
    struct talk *t = talk_new();

    t->len = 24;
    frame(t, false, DATA, 0, 1, "x", 1);
    check_story("data first", t, "off: not HTTP/2\n");
}

TEST(a_server_may_send_its_settings_first)
{
    struct story s = {.o = http_observer_new(HTTP_OBSERVE_AUTO)};
    struct talk *t = talk_new();

    story_feed(&s, true, STR("\0\0\0\4\0\0\0\0\0"), 4);
    request(t, 1, "GET", true);
    response(t, 1, "200", true);
    for (size_t i = 0; i < t->len; i++)
        story_feed(&s, t->from_server[i], (struct str){(const char *)t->octets + i, 1}, 1);
    CHECK_STR(str_of(s.text), "1> GET HTTP/2 for 192.0.2.7\n1< 200 \n1. 200: 0 0\n");
    story_end(&s);
    talk_free(t);
}

TEST_MAIN(CASE(a_request_and_its_response), CASE(streams_pass_side_by_side),
          CASE(interim_responses_trailers_and_padding_are_understood),
          CASE(a_header_block_may_come_in_pieces),
          CASE(a_promise_is_decoded_for_its_effects_and_not_told),
          CASE(a_stream_that_is_reset_was_cut), CASE(streams_beyond_the_limit_are_passed_over),
          CASE(tables_that_take_too_much_memory_are_let_go), CASE(what_is_no_http_2_is_let_go),
          CASE(the_first_frame_must_be_settings), CASE(a_server_may_send_its_settings_first))
