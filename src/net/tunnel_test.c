// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "check.h"
#include "net/inside.h"

static struct net_proxy *proxy_of(const char *username, const char *password)
{
    struct net_proxy_opts opts = {
        .name = "out", .host = "proxy", .port = "3128", .username = username, .password = password};
    struct net_proxy *p = NULL;

    CHECK_EQ(net_proxy_new(&opts, &p, NULL), 0);
    return p;
}

static void check_request(const char *host, const char *port, const char *username,
                          const char *password, const char *want)
{
    struct net_proxy *p = proxy_of(username, password);
    struct tunnel t;

    CHECK_EQ(tunnel_init(&t, p, host, port, NULL), 0);
    CHECK_STR(str_of(t.request), want);
    CHECK_EQ(t.request_len, strlen(want));
    tunnel_fini(&t);
    net_proxy_unref(p);
}

TEST(the_far_host_is_told_as_it_is)
{
    check_request(
        "east.example.org", "55671", NULL, NULL,
        "CONNECT east.example.org:55671 HTTP/1.1\r\nHost: east.example.org:55671\r\n\r\n");
    check_request("2001:db8::1", "55671", NULL, "",
                  "CONNECT [2001:db8::1]:55671 HTTP/1.1\r\nHost: [2001:db8::1]:55671\r\n\r\n");
    check_request("e", "amqps", "", NULL, "CONNECT e:5671 HTTP/1.1\r\nHost: e:5671\r\n\r\n");
    check_request("e", "https", NULL, NULL, "CONNECT e:443 HTTP/1.1\r\nHost: e:443\r\n\r\n");
}

TEST(a_far_host_cannot_add_lines_to_the_request)
{
    static const char *const rows[][2] = {{"e\r\nX: y", "1"}, {"e", "1\r\nX: y"}, {"e\n", "1"}};
    struct net_proxy *p = proxy_of(NULL, NULL);

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct why why = {""};
        struct tunnel t;

        CHECK_EQ(tunnel_init(&t, p, rows[i][0], rows[i][1], &why), ERR_INVALID);
        CHECK(strstr(why.text, "control character") != NULL);
        tunnel_fini(&t);
    }
    net_proxy_unref(p);
}

#define REQUEST(coded)                                                                             \
    "CONNECT e:1 HTTP/1.1\r\nHost: e:1\r\nProxy-Authorization: Basic " coded "\r\n\r\n"

TEST(credentials_are_basic_ones)
{
    // The example of RFC 7617, 2, and others of each length modulo 3.
    check_request("e", "1", "Aladdin", "open sesame", REQUEST("QWxhZGRpbjpvcGVuIHNlc2FtZQ=="));
    check_request("e", "1", "Aladdin", "pass:open sesame", REQUEST("QWxhZGRpbjpvcGVuIHNlc2FtZQ=="));
    check_request("e", "1", "a", "literal:b", REQUEST("YTpi"));
    check_request("e", "1", "a", NULL, REQUEST("YTo="));
}

TEST(a_password_is_read_for_each_connection)
{
    char path[] = "/tmp/tunnel-XXXXXX", spec[64];
    int fd = mkstemp(path);

    snprintf(spec, sizeof(spec), "file:%s", path);
    CHECK_EQ(write(fd, "b\nmore\n", 7), 7);
    check_request("e", "1", "a", spec, REQUEST("YTpi"));
    CHECK_EQ(pwrite(fd, "c\r\n", 3, 0), 3);
    check_request("e", "1", "a", spec, REQUEST("YTpj"));
    close(fd);
    unlink(path);
    setenv("TUNNEL_TEST", "b", 1);
    check_request("e", "1", "a", "env:TUNNEL_TEST", REQUEST("YTpi"));
}

TEST(a_password_that_is_not_there_is_told)
{
    char longest[5 + TUNNEL_SECRET_MAX + 1] = "pass:";
    const char *const specs[] = {"file:/nowhere/at/all", "env:TUNNEL_TEST_NONE", longest};

    memset(longest + 5, 'x', TUNNEL_SECRET_MAX);
    for (size_t i = 0; i < sizeof(specs) / sizeof(specs[0]); i++) {
        struct net_proxy *p = proxy_of("a", specs[i]);
        struct why why = {""};
        struct tunnel t;

        CHECK_EQ_FOR(specs[i], tunnel_init(&t, p, "e", "1", &why), ERR_INVALID);
        CHECK(strstr(why.text, "proxyProfile 'out': its password cannot be read") != NULL);
        CHECK(!strstr(why.text, "xxx"));
        tunnel_fini(&t);
        net_proxy_unref(p);
    }
}

TEST(profiles_that_make_no_sense_are_refused)
{
    static const struct {
        struct net_proxy_opts opts;
        const char *why;
    } rows[] = {
        {{"p", NULL, "1", NULL, NULL}, "proxyProfile 'p': host and port are needed"},
        {{"p", "h", "", NULL, NULL}, "proxyProfile 'p': host and port are needed"},
        {{"p", "h", "1", "a:b", NULL},
         "proxyProfile 'p': username: a colon or a control character cannot be in it"},
        {{"p", "h", "1", "a\n", NULL},
         "proxyProfile 'p': username: a colon or a control character cannot be in it"},
        {{"p", "h", "1", "", "x"}, "proxyProfile 'p': password: it needs a username"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct net_proxy *p = NULL;
        struct why why = {""};

        CHECK_EQ_FOR(rows[i].why, net_proxy_new(&rows[i].opts, &p, &why), ERR_INVALID);
        CHECK_STR(str_of(why.text), rows[i].why);
    }
}

// Feeds the answer in pieces of `step` octets. Returns the result, *used octets of it.
static int answer(const char *text, size_t len, size_t step, const char *username, size_t *used,
                  struct why *why)
{
    struct net_proxy *p = proxy_of(username, username ? "secret" : NULL);
    struct tunnel t;
    int result = ERR_AGAIN;

    *used = 0;
    why->text[0] = '\0';
    CHECK_EQ(tunnel_init(&t, p, "e", "1", NULL), 0);
    while (*used < len && result == ERR_AGAIN) {
        size_t part = len - *used < step ? len - *used : step;
        size_t taken = tunnel_feed(&t, (const uint8_t *)text + *used, part, &result, why);

        CHECK(taken == part || result != ERR_AGAIN);
        *used += taken;
    }
    tunnel_fini(&t);
    net_proxy_unref(p);
    return result;
}

#define BASIC "Proxy-Authenticate: Basic realm=\"x\"\r\n"
#define END " (proxyProfile 'out')"

// The answer, up to '|', where the far end's octets begin.
static const struct {
    const char *text, *username;
    int want;
    const char *why;
} answers[] = {
    {"HTTP/1.1 200 Connection established\r\n\r\n|\x16\x03", NULL, 0, ""},
    {"HTTP/1.0 200 OK\nVia: x\n\n|AMQP", NULL, 0, ""},
    {"HTTP/1.1 204\r\nContent-Length: 5\r\n\r\n|HTTP/1.1 407\r\n\r\n", NULL, 0, ""},
    {"HTTP/1.1 100 Continue\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\n\r\n|", NULL, 0, ""},
    {"HTTP/1.1 200 OK\r\n", NULL, ERR_AGAIN, ""},
    {"HTTP/1.1 407 Who\r\n" BASIC "\r\n|body", NULL, ERR_CLOSED,
     "the proxy answers 407: it wants credentials: give a username and a password" END},
    {"HTTP/1.1 407 Who\r\nproxy-authenticate:\tBASIC\r\n\r\n|", "a", ERR_CLOSED,
     "the proxy answers 407: it refuses the credentials: correct the username or the password" END},
    {"HTTP/1.1 407 Who\r\nProxy-Authenticate: Negotiate\r\n\r\n|", "a", ERR_CLOSED,
     "the proxy answers 407: it wants other credentials than Basic ones, which are all that can be "
     "given" END},
    {"HTTP/1.1 403 Basic YTpzZWNyZXQ=\r\n\r\n|", "a", ERR_CLOSED,
     "the proxy answers 403: it does not allow this: whoever runs the proxy has to allow CONNECT "
     "to that host and port" END},
    {"HTTP/1.1 502 Bad Gateway\r\n\r\n|<html>", NULL, ERR_CLOSED,
     "the proxy answers 502: it cannot reach that host and port: are they right, and is the site "
     "there running?" END},
    {"HTTP/1.1 302 Found\r\n\r\n|", NULL, ERR_CLOSED,
     "the proxy answers 302: it refuses: its log tells why" END},
};

TEST(an_answer_means_the_same_wherever_it_is_cut)
{
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        const char *text = answers[i].text, *bar = strchr(text, '|');
        size_t head = bar ? (size_t)(bar - text) : strlen(text);
        size_t rest = bar ? strlen(bar + 1) : 0, used;
        char *octets = malloc(head + rest + 1);
        struct why why;

        memcpy(octets, text, head);
        memcpy(octets + head, text + strlen(text) - rest, rest);
        for (size_t step = 1; step <= head + rest; step++) {
            CHECK_EQ_FOR(text, answer(octets, head + rest, step, answers[i].username, &used, &why),
                         answers[i].want);
            CHECK_EQ_FOR(text, used, head);
            CHECK_STR(str_of(why.text), answers[i].why);
        }
        free(octets);
    }
}

TEST(what_is_no_answer_is_known_at_once)
{
    static const struct {
        const char *text;
        size_t len, used;
    } rows[] = {
        {"AMQP\x03\x01\x00\x00", 8, 1}, {"HTTP/2.0 200 OK\r\n", 17, 6}, {"HTTP/1.1 2OO", 12, 11},
        {"HTTP/1.1 2000 OK", 16, 13},   {"HTTP/1.1\r\n", 10, 10},       {"\r\n", 2, 2},
        {"HTTP/1.1 099 x\r\n", 16, 16}, {"SSH-2.0-x\r\n", 11, 1},       {"\0\0\0\0", 4, 1},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct why why;
        size_t used;

        for (size_t step = 1; step <= rows[i].len; step++) {
            CHECK_EQ_FOR(rows[i].text, answer(rows[i].text, rows[i].len, step, NULL, &used, &why),
                         ERR_DECODE);
            CHECK_EQ_FOR(rows[i].text, used, rows[i].used);
            CHECK_STR(str_of(why.text),
                      "what answers is no HTTP proxy: are host and port of the proxyProfile 'out' "
                      "right?");
        }
    }
}

TEST(an_answer_has_an_end)
{
    static const char head[] = "HTTP/1.1 200 OK\r\nX: ";
    char *longest = malloc(TUNNEL_ANSWER_MAX + 1);
    struct why why;
    size_t used;

    memset(longest, 'x', TUNNEL_ANSWER_MAX + 1);
    memcpy(longest, head, sizeof(head) - 1);
    CHECK_EQ(answer(longest, TUNNEL_ANSWER_MAX + 1, 100, NULL, &used, &why), ERR_LIMIT);
    CHECK(strstr(why.text, "longer than 8192 octets") != NULL);
    memcpy(longest + TUNNEL_ANSWER_MAX - 4, "\r\n\r\n", 4);
    CHECK_EQ(answer(longest, TUNNEL_ANSWER_MAX, 100, NULL, &used, &why), 0);
    CHECK_EQ(used, TUNNEL_ANSWER_MAX);
    free(longest);
}

TEST_MAIN(CASE(the_far_host_is_told_as_it_is), CASE(a_far_host_cannot_add_lines_to_the_request),
          CASE(credentials_are_basic_ones), CASE(a_password_is_read_for_each_connection),
          CASE(a_password_that_is_not_there_is_told), CASE(profiles_that_make_no_sense_are_refused),
          CASE(an_answer_means_the_same_wherever_it_is_cut),
          CASE(what_is_no_answer_is_known_at_once), CASE(an_answer_has_an_end))
