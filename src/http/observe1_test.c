// SPDX-License-Identifier: Apache-2.0
#include "http/http.h"

#include <stdlib.h>

#include "check.h"
#include "http/observe_story.h"

// What passes: '>' from the client, '<' from the server, in turns.
struct said {
    const char *client, *server;
};

enum { TURNS = 4 };

static struct story tell(enum http_observe how, const struct said said[TURNS], size_t step)
{
    struct story s = {.o = http_observer_new(how)};

    for (int i = 0; i < TURNS; i++) {
        story_feed(&s, false, str_of(said[i].client), step);
        story_feed(&s, true, str_of(said[i].server), step);
    }
    story_end(&s);
    return s;
}

static void check_story(const char *why, const struct said said[TURNS], const char *want)
{
    static const size_t steps[] = {1 << 20, 1, 2, 3, 7, 64};

    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        struct story s = tell(HTTP_OBSERVE_AUTO, said, steps[i]);

        if (strcmp(s.text, want) != 0)
            fail_msg("%s, in pieces of %zu:\n%snot\n%s", why, steps[i], s.text, want);
    }
}

#define GET "GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
#define OK "HTTP/1.1 200 OK\r\n"

static const struct {
    const char *why;
    struct said said[TURNS];
    const char *want;
} rows[] = {
    {"a body of known length",
     {{GET, OK "Content-Length: 5\r\n\r\nhello"}},
     "0> GET HTTP/1.1\n0< 200 OK\n0. 200: 0 5\n"},
    {"chunks, with an extension and trailers",
     {{GET, OK "Transfer-Encoding: gzip, chunked\r\n\r\n5;x=y\r\nhello\r\n1A\r\n"
               "abcdefghijklmnopqrstuvwxyz\r\n0\r\nX: y\r\n\r\n"}},
     "0> GET HTTP/1.1\n0< 200 OK\n0. 200: 0 31\n"},
    {"a body to the end of the connection",
     {{"GET / HTTP/1.0\r\n\r\n", "HTTP/1.0 200 Fine\r\n\r\nas long as it takes"}},
     "0> GET HTTP/1.0\n0< 200 Fine\n0. 200: 0 19\n"},
    {"a request with a body",
     {{"POST /x HTTP/1.1\r\ncontent-length:  3 \r\n\r\nabc",
       "HTTP/1.1 201\r\ncontent-length: 0\r\n\r\n"}},
     "0> POST HTTP/1.1\n0< 201 \n0. 201: 3 0\n"},
    {"a request in chunks",
     {{"PUT /x HTTP/1.1\nTransfer-Encoding: chunked\n\n3\nabc\n0\n\n", OK "Content-Length: 0\n\n"}},
     "0> PUT HTTP/1.1\n0< 200 OK\n0. 200: 3 0\n"},
    {"keep-alive, with an empty line in between",
     {{GET, OK "Content-Length: 2\r\n\r\nab"}, {"\r\n" GET, OK "Content-Length: 1\r\n\r\na"}},
     "0> GET HTTP/1.1\n0< 200 OK\n0. 200: 0 2\n0> GET HTTP/1.1\n0< 200 OK\n0. 200: 0 1\n"},
    {"pipelining",
     {{GET "HEAD / HTTP/1.1\r\n\r\n" GET,
       OK "Content-Length: 2\r\n\r\nab" OK "Content-Length: 99\r\n\r\n" OK
          "Content-Length: 1\r\n\r\na"}},
     "0> GET HTTP/1.1\n0> HEAD HTTP/1.1\n0> GET HTTP/1.1\n0< 200 OK\n0. 200: 0 2\n"
     "0< 200 OK\n0. 200: 0 0\n0< 200 OK\n0. 200: 0 1\n"},
    {"responses without a body",
     {{GET GET, "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 304 Not Modified\r\n"
                "Content-Length: 7\r\n\r\n"}},
     "0> GET HTTP/1.1\n0> GET HTTP/1.1\n0< 204 No Content\n0. 204: 0 0\n"
     "0< 304 Not Modified\n0. 304: 0 0\n"},
    {"interim responses",
     {{"POST / HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n",
       "HTTP/1.1 100 Continue\r\n\r\n"},
      {"ab", "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" OK "Content-Length: 0\r\n\r\n"}},
     "0> POST HTTP/1.1\n0< 200 OK\n0. 200: 2 0\n"},
    {"an answer before the request is whole",
     {{"POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nab",
       "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n"},
      {"cd" GET, OK "Content-Length: 0\r\n\r\n"}},
     "0> POST HTTP/1.1\n0< 413 Too Large\n0. 413: 4 0\n0> GET HTTP/1.1\n0< 200 OK\n"
     "0. 200: 0 0\n"},
    {"an upgrade is let go",
     {{"GET /chat HTTP/1.1\r\nUpgrade: websocket\r\n\r\n",
       "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x81\x05hello"},
      {"\x81\x85....", GET}},
     "0> GET HTTP/1.1\n0< 101 Switching Protocols\n0. 101: 0 0\n"
     "off: switched to another protocol\n"},
    {"a tunnel is let go",
     {{"CONNECT a:443 HTTP/1.1\r\n\r\n", "HTTP/1.1 200 Established\r\n\r\n"}, {"\x16\x03", ""}},
     "0> CONNECT HTTP/1.1\n0< 200 Established\n0. 200: 0 0\n"
     "off: switched to another protocol\n"},
    {"a tunnel that is refused",
     {{"CONNECT a:443 HTTP/1.1\r\n\r\n", "HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno"}},
     "0> CONNECT HTTP/1.1\n0< 403 No\n0. 403: 0 2\n"},
    {"whose request it is",
     {{"GET / HTTP/1.1\r\nX-Forwarded-For: 192.0.2.1, 10.0.0.1\r\nForwarded: for=9.9.9.9\r\n\r\n"
       "GET / HTTP/1.1\r\nForwarded: proto=http;For=\"[2001:db8::1]:4711\", for=x\r\n\r\n"
       "GET / HTTP/1.1\r\nForwarded: by=x\r\n\r\n",
       ""}},
     "0> GET HTTP/1.1 for 192.0.2.1\n0> GET HTTP/1.1 for [2001:db8::1]:4711\n"
     "0> GET HTTP/1.1\n0. 0: 0 0 cut\n0. 0: 0 0 cut\n0. 0: 0 0 cut\n"},
    {"a client that looks like HTTP/2 for a while",
     {{"PRI * HTTP/1.1\r\n\r\n", OK "Content-Length: 0\r\n\r\n"}},
     "0> PRI HTTP/1.1\n0< 200 OK\n0. 200: 0 0\n"},
    {"a connection that ends in the middle",
     {{GET, OK "Content-Length: 5\r\n\r\nhel"}},
     "0> GET HTTP/1.1\n0< 200 OK\n0. 200: 0 3 cut\n"},
    // What cannot be followed.
    {"not HTTP", {{"SSH-2.0-OpenSSH_9.2\r\n", GET}, {GET, OK}}, "off: not HTTP/1\n"},
    {"octets that are no text", {{"\x16\x03\x01", ""}}, "off: not HTTP/1\n"},
    {"a server that speaks first",
     {{"", "220 mail ESMTP\r\n"}, {"EHLO x\r\n", ""}},
     "off: not HTTP/2\n"},
    {"the beginning of a preface, and other than it",
     {{"PRI * HTTP/2.0\r\n\r\nSMTP", ""}},
     "off: a request line of another protocol\n"},
    {"a method without end", {{"ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFGHIJ", ""}}, "off: not HTTP/1\n"},
    {"another version", {{"GET / HTTP/3.0\r\n", ""}}, "off: a request line of another protocol\n"},
    {"no version", {{"GET /\r\n", ""}}, "off: a request line of another protocol\n"},
    {"a status that is none",
     {{GET, "HTTP/1.1 2x0 OK\r\n"}},
     "0> GET HTTP/1.1\n0. 0: 0 0 cut\noff: a status line of another protocol\n"},
    {"a server of another protocol",
     {{GET, "ICY 200 OK\r\n"}},
     "0> GET HTTP/1.1\n0. 0: 0 0 cut\noff: not HTTP/1\n"},
    {"two lengths",
     {{"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n", ""}},
     "off: a content-length that cannot be followed\n"},
    {"a length beyond all bounds",
     {{"GET / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n", ""}},
     "off: a content-length that cannot be followed\n"},
    {"a length that is no number",
     {{"GET / HTTP/1.1\r\nContent-Length: -1\r\n", ""}},
     "off: a content-length that cannot be followed\n"},
    {"a request with an unknown coding",
     {{"GET / HTTP/1.1\r\nTransfer-Encoding: chunked, gzip\r\n\r\n", ""}},
     "off: a request whose end cannot be told\n"},
    {"a header without a colon",
     {{"GET / HTTP/1.1\r\nnonsense\r\n", ""}},
     "off: a header without a colon\n"},
    {"a response that nobody asked for",
     {{GET, OK "Content-Length: 0\r\n\r\n" OK}},
     "0> GET HTTP/1.1\n0< 200 OK\n0. 200: 0 0\noff: a response that nobody asked for\n"},
    {"a chunk without a size",
     {{GET, OK "Transfer-Encoding: chunked\r\n\r\nxyz\r\n"}},
     "0> GET HTTP/1.1\n0< 200 OK\n0. 200: 0 0 cut\noff: a chunk whose size cannot be read\n"},
    {"a chunk that is longer",
     {{GET, OK "Transfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n"}},
     "0> GET HTTP/1.1\n0< 200 OK\n0. 200: 0 2 cut\n"
     "off: a chunk that is longer than it says\n"},
};

TEST(however_it_is_cut_the_story_is_the_same)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        check_story(rows[i].why, rows[i].said, rows[i].want);
}

TEST(what_was_let_go_is_never_looked_at_again)
{
    struct story s = {.o = http_observer_new(HTTP_OBSERVE_AUTO)};

    story_feed(&s, false, STR("\x01"), 1);
    CHECK(http_observer_is_off(s.o));
    story_feed(&s, false, STR(GET), 100);
    story_feed(&s, true, STR(OK), 100);
    story_end(&s);
    CHECK_STR(str_of(s.text), "off: not HTTP/1\n");
}

static struct str long_line(const char *before, size_t len, const char *after)
{
    char *fill = malloc(len + 1);
    char *text = NULL;

    CHECK(fill != NULL);
    memset(fill, 'a', len);
    fill[len] = '\0';
    text = str_fmt("%s%s%s", before, fill, after);
    free(fill);
    return str_of(text);
}

TEST(a_long_line_is_read_at_both_ends)
{
    static const struct {
        const char *why, *before, *after, *want;
        size_t len;
    } lines[] = {
        {"a target", "GET /", " HTTP/1.1\r\n\r\n", "0> GET HTTP/1.1\n0. 0: 0 0 cut\n", 9000},
        {"a header", "GET / HTTP/1.1\r\nCookie: ", "\r\n\r\n", "0> GET HTTP/1.1\n0. 0: 0 0 cut\n",
         9000},
        {"a length", "GET / HTTP/1.1\r\nContent-Length: ", "\r\n\r\n",
         "off: a content-length that cannot be followed\n", 2000},
        {"a coding", "GET / HTTP/1.1\r\nTransfer-Encoding: ", ", chunked\r\n\r\n",
         "off: a transfer-encoding that cannot be followed\n", 2000},
        {"without end", "GET /", "", "off: a head of more than 256 KiB\n", 300000},
        {"a head without end", "GET / HTTP/1.1\r\nX: ", "\r\n\r\n",
         "off: a head of more than 256 KiB\n", 262140},
    };

    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        struct str text = long_line(lines[i].before, lines[i].len, lines[i].after);

        for (size_t step = 1; step <= 1 << 20; step *= 32) {
            struct story s = {.o = http_observer_new(HTTP_OBSERVE_AUTO)};

            story_feed(&s, false, text, step);
            story_end(&s);
            if (strcmp(s.text, lines[i].want) != 0)
                fail_msg("%s, in pieces of %zu: %s", lines[i].why, step, s.text);
        }
        free((char *)(uintptr_t)text.ptr);
    }
}

TEST(requests_without_a_response_are_followed_up_to_a_limit)
{
    struct story s = {.o = http_observer_new(HTTP_OBSERVE_AUTO)};

    for (int i = 0; i < HTTP_PIPELINE_MAX; i++)
        story_feed(&s, false, STR(GET), 100);
    CHECK_EQ(s.requests, HTTP_PIPELINE_MAX);
    CHECK(!http_observer_is_off(s.o));
    story_feed(&s, false, STR(GET), 100);
    CHECK_EQ(s.ends, HTTP_PIPELINE_MAX);
    CHECK(http_observer_is_off(s.o));
    story_end(&s);
}

TEST(many_requests_in_one_read_are_told_one_by_one)
{
    struct story s = {.o = http_observer_new(HTTP_OBSERVE_1)};
    struct http_event ev;
    char text[8 * 1024];
    size_t len = 0, told = 0;

    while (len + sizeof(GET) < sizeof(text) && told < HTTP_PIPELINE_MAX) {
        memcpy(text + len, GET, sizeof(GET) - 1);
        len += sizeof(GET) - 1;
        told++;
    }
    http_observer_feed(s.o, false, (const uint8_t *)text, len, (struct mono){0});
    while (http_observer_next(s.o, &ev)) {
        CHECK_EQ(ev.type, HTTP_EV_REQUEST);
        told--;
    }
    CHECK_EQ(told, 0);
    story_end(&s);
}

TEST(latency_is_from_the_first_octet_of_the_request_to_the_head_of_the_response)
{
    struct http_observer *o = http_observer_new(HTTP_OBSERVE_AUTO);
    struct http_event ev;
    struct str first = STR("GET / HTT"), rest = STR("P/1.1\r\n\r\n"), answer = STR(OK "\r\n");
    int owner;

    http_observer_feed(o, false, (const uint8_t *)first.ptr, first.len, (struct mono){1000000});
    CHECK(!http_observer_next(o, &ev));
    http_observer_feed(o, false, (const uint8_t *)rest.ptr, rest.len, (struct mono){2000000});
    CHECK(http_observer_next(o, &ev));
    CHECK_EQ(ev.exchange->requested_at.ns, 1000000);
    ev.exchange->user = &owner;
    CHECK(!http_observer_next(o, &ev));
    http_observer_feed(o, true, (const uint8_t *)answer.ptr, answer.len, (struct mono){4500000});
    CHECK(http_observer_next(o, &ev));
    CHECK_EQ(ev.type, HTTP_EV_RESPONSE);
    CHECK_EQ(ev.latency_us, 3500);
    CHECK(ev.exchange->user == &owner);
    http_observer_free(o); // with an exchange that is open
}

TEST_MAIN(CASE(however_it_is_cut_the_story_is_the_same),
          CASE(what_was_let_go_is_never_looked_at_again), CASE(a_long_line_is_read_at_both_ends),
          CASE(requests_without_a_response_are_followed_up_to_a_limit),
          CASE(many_requests_in_one_read_are_told_one_by_one),
          CASE(latency_is_from_the_first_octet_of_the_request_to_the_head_of_the_response))
