// SPDX-License-Identifier: Apache-2.0
#include "http/http.h"

#include <stdlib.h>

#include "check.h"

// Feeds `in` in pieces of at most `step`, answers every request with its path, and returns all that
// came out.
static char *story(const char *in, size_t len, size_t step)
{
    struct pool *pool = pool_new(16, 100000);
    struct http_conn *c = http_conn_new(pool);
    struct http_request request;
    char *out = calloc(1, 1 << 20);

    for (size_t at = 0; at < len; at += step) {
        size_t part = len - at < step ? len - at : step;

        for (size_t fed = 0; fed < part;) {
            fed += http_conn_feed(c, (const uint8_t *)in + at + fed, part - fed);
            while (http_conn_next(c, &request)) {
                char *path = str_dup(request.path);

                http_conn_respond(c, 200, "text/plain", str_of(path));
                free(path);
            }
        }
    }
    buf_copy(http_conn_output(c), 0, out, (1 << 20) - 1);
    http_conn_free(c);
    CHECK_EQ(pool_used(pool), 0);
    pool_free(pool);
    return out;
}

TEST(each_request_gets_its_answer_however_it_is_cut)
{
    static const char in[] = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
                             "POST /a?b=c HTTP/1.1\r\nContent-Length: 3\r\n\r\nxyz"
                             "HEAD /last HTTP/1.0\r\n\r\n";
    char *whole = story(in, sizeof(in) - 1, sizeof(in));

    CHECK(strstr(whole, "Content-Length: 8\r\n\r\n/healthz"));
    CHECK(strstr(whole, "\r\n\r\n/a"));
    CHECK(strstr(whole, "Connection: close"));
    CHECK(!strstr(whole, "\r\n\r\n/last"));
    for (size_t step = 1; step < 20; step++) {
        char *cut = story(in, sizeof(in) - 1, step);

        CHECK_STR(str_of(cut), whole);
        free(cut);
    }
    free(whole);
}

TEST(an_answer_tells_the_time_that_it_was_told)
{
    static const char in[] = "GET /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\n";
    struct pool *pool = pool_new(4096, 16);
    struct http_conn *c = http_conn_new(pool);
    struct http_request request;
    char out[512] = "";

    CHECK_EQ(http_conn_feed(c, (const uint8_t *)in, sizeof(in) - 1), sizeof(in) - 1);
    CHECK(http_conn_next(c, &request));
    http_conn_respond(c, 200, "text/plain", STR("a"));
    buf_copy(http_conn_output(c), 0, out, sizeof(out) - 1);
    CHECK(!strstr(out, "Date"));
    http_conn_set_date(c, 784111777);
    CHECK(http_conn_next(c, &request));
    http_conn_respond(c, 200, "text/plain", STR("b"));
    buf_copy(http_conn_output(c), 0, out, sizeof(out) - 1);
    CHECK(strstr(out, "\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\nb"));
    http_conn_free(c);
    pool_free(pool);
}

TEST(what_is_wrong_gets_its_status)
{
    static const struct {
        const char *in, *want;
    } rows[] = {
        {"\x16\x03\x01 garbage\r\n\r\n", "HTTP/1.1 400"},
        {"GET nothing HTTP/1.1\r\n\r\n", "HTTP/1.1 400"},
        {"GET / HTTP/3.0\r\n\r\n", "HTTP/1.1 400"},
        {"GET / HTTP/1.1\r\nno colon\r\n\r\n", "HTTP/1.1 400"},
        {"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", "HTTP/1.1 400"},
        {"GET / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n", "HTTP/1.1 413"},
        {"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nab", "HTTP/1.1 400"},
        {"GET / HTTP/1.1\r\nContent-Length:\r\n\r\n", "HTTP/1.1 400"},
        {"GET / HTTP/1.1\r\n: nameless\r\n\r\n", "HTTP/1.1 400"},
        {"\r\n\r\n", "HTTP/1.1 400"},
        {"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.1 501"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char *out = story(rows[i].in, strlen(rows[i].in), 1000);

        CHECK(strncmp(out, rows[i].want, strlen(rows[i].want)) == 0);
        free(out);
    }
}

TEST(more_requests_than_fit_at_once_are_all_answered_however_they_are_cut)
{
    static const char one[] = "GET /abc HTTP/1.1\r\nContent-Length: 5000\r\n\r\n";
    enum { COUNT = 40, LEN = sizeof(one) - 1 + 5000 };
    char *in = calloc(1, COUNT * LEN), *whole, *cut;

    for (size_t i = 0; i < COUNT; i++)
        memcpy(in + i * LEN, one, sizeof(one) - 1);
    whole = story(in, COUNT * LEN, COUNT * LEN);
    cut = story(in, COUNT * LEN, 777);
    CHECK_STR(str_of(cut), whole);
    CHECK_EQ(strlen(whole) % COUNT, 0);
    CHECK(strncmp(whole, "HTTP/1.1 200 OK", 15) == 0);
    free(in);
    free(whole);
    free(cut);
}

TEST(a_head_without_end_is_refused_at_its_limit)
{
    char *in = malloc(20000), *out = NULL;

    memset(in, 'a', 20000);
    out = story(in, 20000, 1000);
    CHECK(strncmp(out, "HTTP/1.1 431", 12) == 0);
    free(in);
    free(out);
}

TEST(fields_of_the_head_are_found_by_name)
{
    static const char in[] = "POST /a HTTP/1.1\r\nName:  west \r\nempty:\r\nname: second\r\n"
                             "Content-Length: 9\r\n\r\nbody: no\n";
    struct pool *pool = pool_new(16, 1000);
    struct http_conn *c = http_conn_new(pool);
    struct http_request request;

    CHECK_EQ(http_conn_feed(c, (const uint8_t *)in, sizeof(in) - 1), sizeof(in) - 1);
    CHECK(http_conn_next(c, &request));
    CHECK_STR(http_request_field(&request, "name"), "west");
    CHECK_STR(http_request_field(&request, "EMPTY"), "");
    CHECK(http_request_field(&request, "empty").ptr);
    CHECK(!http_request_field(&request, "body").ptr);
    CHECK(!http_request_field(&request, "nam").ptr);
    http_conn_free(c);
    pool_free(pool);
}

TEST_MAIN(CASE(each_request_gets_its_answer_however_it_is_cut),
          CASE(an_answer_tells_the_time_that_it_was_told), CASE(what_is_wrong_gets_its_status),
          CASE(more_requests_than_fit_at_once_are_all_answered_however_they_are_cut),
          CASE(a_head_without_end_is_refused_at_its_limit),
          CASE(fields_of_the_head_are_found_by_name))
