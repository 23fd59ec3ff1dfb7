// SPDX-License-Identifier: Apache-2.0
#include "web/web.h"

#include "certs.h"
#include "check.h"
#include "http/http.h"
#include "talk.h"

#define GET(path) "GET " path " HTTP/1.1\r\nHost: x\r\n\r\n"
#define GET_LAST(path) "GET " path " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

enum { LARGE = 6 * 1024 * 1024 };

struct site {
    struct net_loop *loop;
    struct web *web;
    int port;
};

static int get_small(void *user, char **text)
{
    (void)user;
    *text = xstrdup("small\n");
    return 200;
}

static int get_absent(void *user, char **text)
{
    (void)user;
    *text = xstrdup("not yet\n");
    return 503;
}

static int get_large(void *user, char **text)
{
    (void)user;
    *text = xcalloc(1, LARGE + 1);
    memset(*text, 'x', LARGE);
    return 200;
}

static const struct web_page pages[] = {{"/small", WEB_TEXT, get_small},
                                        {"/absent", WEB_TEXT, get_absent},
                                        {"/large", WEB_METRICS, get_large},
                                        {0}};

static void begin_with(struct site *s, struct web_opts opts, struct net_tls *tls)
{
    struct net_listener_opts where = {.host = "127.0.0.1", .port = "0", .tls = tls};

    if (!opts.pages)
        opts.pages = pages;
    CHECK_EQ(net_loop_new(&(struct net_hooks){0}, 65536, &s->loop), 0);
    s->web = web_new(&opts);
    CHECK_EQ(web_listen(s->web, s->loop, &where, NULL), 0);
    s->port = web_port(s->web);
}

static void begin(struct site *s, struct web_opts opts)
{
    begin_with(s, opts, NULL);
}

static void end(struct site *s)
{
    web_free(s->web);
    net_loop_free(s->loop);
}

static void turn(struct site *s)
{
    net_loop_turn(s->loop, mono_add_ms(mono_now(), 5));
}

static char *ask(struct site *s, const char *request)
{
    int fd = talk_dial(s->port);

    talk_say(fd, request);
    return talk_hear(s->loop, fd);
}

// A connection that has its place: it was answered, and stays.
static int visit_as(struct site *s, int from)
{
    int fd = talk_dial_as(from, s->port);
    struct mono limit = mono_add_ms(mono_now(), TALK_MS);
    char answer[1000];

    talk_say(fd, GET("/small"));
    while (recv(fd, answer, sizeof(answer), MSG_DONTWAIT) <= 0) {
        CHECK(mono_before(mono_now(), limit));
        turn(s);
    }
    return fd;
}

static void check_closed(struct site *s, int fd)
{
    char *heard = talk_hear(s->loop, fd);

    CHECK_STR(str_of(heard), "");
    free(heard);
}

static void check_begins(const char *request, char *take_answer, const char *want)
{
    if (strncmp(take_answer, want, strlen(want)) != 0)
        fail_msg("%s: %s", request, take_answer);
    free(take_answer);
}

// What follows it.
static const char *check_has(const char *text, const char *part)
{
    const char *at = strstr(text, part);

    if (!at)
        fail_msg("\"%s\" does not say \"%s\"", text, part);
    return at ? at + strlen(part) : "";
}

TEST(each_request_gets_its_page)
{
    static const struct {
        const char *request, *want, *body;
    } rows[] = {
        {GET_LAST("/small"), "HTTP/1.1 200", "\r\n\r\nsmall\n"},
        {GET_LAST("/small?full=1"), "HTTP/1.1 200", "\r\n\r\nsmall\n"},
        {GET_LAST("/absent"), "HTTP/1.1 503", "\r\n\r\nnot yet\n"},
        {GET_LAST("/"), "HTTP/1.1 404", "\r\n\r\nthere are /small and /absent and /large\n"},
        {"HEAD /small HTTP/1.0\r\n\r\n", "HTTP/1.1 200", "Content-Length: 6\r\n"},
        {"POST /small HTTP/1.0\r\n\r\n", "HTTP/1.1 405", "\r\n\r\nonly GET and HEAD\n"},
    };
    struct site s;

    begin(&s, (struct web_opts){0});
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char *answer = ask(&s, rows[i].request);

        check_has(answer, rows[i].body);
        check_begins(rows[i].request, answer, rows[i].want);
    }
    end(&s);
}

TEST(what_is_no_request_or_too_large_is_told_and_closed)
{
    static char head[HTTP_HEAD_MAX + 100];
    const struct {
        const char *request, *want;
    } rows[] = {
        {"nonsense\r\n\r\n", "HTTP/1.1 400"},
        {"\x16\x03\x01 a client hello\n\n", "HTTP/1.1 400"},
        {head, "HTTP/1.1 431"},
        {"POST / HTTP/1.1\r\nContent-Length: 11\r\n\r\n", "HTTP/1.1 413"},
        {"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.1 501"},
    };
    struct site s;

    memset(head, 'x', sizeof(head) - 1);
    begin(&s, (struct web_opts){.body_max = 10});
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        check_begins(rows[i].request, ask(&s, rows[i].request), rows[i].want);
    end(&s);
}

TEST(requests_may_come_in_one_piece_or_byte_by_byte)
{
    static const char requests[] = GET("/small") GET("/absent") GET_LAST("/nothing");
    struct site s;
    char *whole, *pieces;
    int fd;

    begin(&s, (struct web_opts){0});
    whole = ask(&s, requests);
    check_has(check_has(check_has(whole, " 200 OK"), " 503 "), " 404 Not Found"); // in that order
    fd = talk_dial(s.port);
    for (size_t i = 0; i < sizeof(requests) - 1; i++) {
        CHECK_EQ(send(fd, requests + i, 1, MSG_NOSIGNAL), 1);
        net_loop_turn(s.loop, mono_add_ms(mono_now(), 1));
    }
    pieces = talk_hear(s.loop, fd);
    CHECK_STR(str_of(pieces), whole);
    free(whole);
    free(pieces);
    end(&s);
}

TEST(who_sends_no_more_still_gets_all_that_was_asked_for)
{
    struct site s;
    char *answer;
    int fd;

    begin(&s, (struct web_opts){.unread_max = 2 * LARGE});
    fd = talk_dial(s.port);
    talk_say(fd, GET("/large") GET("/small") "GET /half HTTP");
    shutdown(fd, SHUT_WR);
    for (int i = 0; i < 5; i++)
        turn(&s);
    answer = talk_hear(s.loop, fd);
    CHECK(strlen(answer) > LARGE);
    check_has(answer + LARGE, "\r\n\r\nsmall\n");
    free(answer);
    fd = talk_dial(s.port);
    shutdown(fd, SHUT_WR);
    check_closed(&s, fd);
    end(&s);
}

// A client with TLS that asks, says that it has no more to say, and hears the answer.
struct asker {
    struct buf out;
    char heard[1000];
    size_t len;
    bool is_over;
};

static void asker_feed(void *e, const uint8_t *data, size_t len, struct mono now)
{
    struct asker *a = e;

    (void)now;
    CHECK(a->len + len < sizeof(a->heard));
    memcpy(a->heard + a->len, data, len);
    a->len += len;
}

static struct buf *asker_output(void *e, struct mono now)
{
    (void)now;
    return &((struct asker *)e)->out;
}

static void asker_told(void *e, struct mono now)
{
    (void)e, (void)now;
}

static struct mono asker_deadline(const void *e)
{
    (void)e;
    return MONO_NEVER;
}

static bool asker_no(const void *e)
{
    (void)e;
    return false;
}

static bool asker_is_shut(const void *e)
{
    return ((const struct asker *)e)->out.len == 0;
}

static void asker_lost(void *e, const char *why, struct mono now)
{
    (void)why, (void)now;
    ((struct asker *)e)->is_over = true;
}

static const struct net_engine_ops asker_ops = {.feed = asker_feed,
                                                .output = asker_output,
                                                .sent = asker_told,
                                                .deadline = asker_deadline,
                                                .tick = asker_told,
                                                .is_paused = asker_no,
                                                .is_shut = asker_is_shut,
                                                .is_finished = asker_no,
                                                .lost = asker_lost};

static void *asker_ready(void *user, struct net_stream *s, const struct net_engine_ops **ops,
                         struct mono now)
{
    (void)s, (void)now;
    *ops = &asker_ops;
    return user;
}

static void asker_failed(void *user, const char *why, struct mono now)
{
    (void)user, (void)now;
    fail_msg("%s", why);
}

TEST(over_tls_too_who_sends_no_more_gets_its_answer)
{
    struct certs certs;
    struct net_tls *server = NULL, *client = NULL;
    struct net_connector *connector = NULL;
    struct asker a = {.len = 0};
    struct pool *pool = pool_new(4096, 10);
    struct mono limit = mono_add_ms(mono_now(), TALK_MS);
    struct site s;
    char port[16];

    certs_begin(&certs);
    certs_make(&certs, "server", &(struct cert_opts){.san = "IP:127.0.0.1"});
    CHECK_EQ(net_tls_new(&(struct net_tls_opts){.name = "server",
                                                .cert_file = certs_path(&certs, "server.crt"),
                                                .key_file = certs_path(&certs, "server.key"),
                                                .is_server = true},
                         &server, NULL),
             0);
    CHECK_EQ(net_tls_new(
                 &(struct net_tls_opts){.name = "client", .ca_file = certs_path(&certs, "ca.crt")},
                 &client, NULL),
             0);
    begin_with(&s, (struct web_opts){0}, server);
    buf_init(&a.out, pool);
    CHECK(buf_write(&a.out, GET("/small"), sizeof(GET("/small")) - 1));
    snprintf(port, sizeof(port), "%d", s.port);
    CHECK_EQ(
        net_connector_new(s.loop,
                          &(struct net_connector_opts){.host = "127.0.0.1",
                                                       .port = port,
                                                       .tls = client,
                                                       .connect = {asker_ready, asker_failed, &a}},
                          &connector, NULL),
        0);
    while (!a.is_over) {
        CHECK(mono_before(mono_now(), limit));
        turn(&s);
    }
    check_has(a.heard, "\r\n\r\nsmall\n");
    net_connector_free(connector);
    end(&s);
    buf_fini(&a.out);
    net_tls_unref(server);
    net_tls_unref(client);
    certs_end(&certs);
    pool_free(pool);
}

// More than it keeps of requests: what it does not read waits in the sockets.
TEST(who_asks_a_lot_and_reads_late_gets_every_answer)
{
    enum { TIMES = 3000 };
    static const char request[] = GET("/small");
    char *many = xcalloc(TIMES, sizeof(request)), *answer, *at;
    size_t len = TIMES * (sizeof(request) - 1), answers = 0;
    struct site s;
    int fd;

    CHECK(len > HTTP_HEAD_MAX + HTTP_BODY_MAX);
    for (size_t i = 0; i < TIMES; i++)
        memcpy(many + i * (sizeof(request) - 1), request, sizeof(request));
    begin(&s, (struct web_opts){0});
    fd = talk_dial(s.port);
    talk_say(fd, GET("/large"));
    for (size_t said = 0; said < len;) {
        ssize_t n = send(fd, many + said, len - said, MSG_NOSIGNAL | MSG_DONTWAIT);

        CHECK(n >= 0 || errno == EAGAIN);
        said += n > 0 ? (size_t)n : 0;
        for (int i = 0; i < 5; i++)
            turn(&s);
    }
    shutdown(fd, SHUT_WR);
    answer = talk_hear(s.loop, fd);
    for (at = answer; (at = strstr(at, "HTTP/1.1 200")) != NULL; at++)
        answers++;
    CHECK_EQ(answers, TIMES + 1);
    free(answer);
    free(many);
    end(&s);
}

TEST(who_is_slow_is_dropped)
{
    struct site s;
    int half, silent, deaf;
    char *answer;

    begin(&s, (struct web_opts){.patience_ms = 100});
    silent = talk_dial(s.port);
    half = talk_dial(s.port);
    deaf = talk_dial(s.port);
    talk_say(half, "GET /small HT");
    talk_say(deaf, GET("/large"));
    check_closed(&s, silent);
    check_closed(&s, half);
    for (struct mono until = mono_add_ms(mono_now(), 200); mono_before(mono_now(), until);)
        turn(&s);
    answer = talk_hear(s.loop, deaf);
    CHECK(strlen(answer) < LARGE);
    check_begins("what the socket took", answer, "HTTP/1.1 200");
    end(&s);
}

TEST(who_asks_and_does_not_read_is_held_back)
{
    static const char request[] = GET("/small");
    struct pool *pool = pool_new(4096, 100000);
    struct site s;
    char *many = xcalloc(1, 1000 * sizeof(request));
    struct mono limit = mono_add_ms(mono_now(), TALK_MS);
    int fd, size = 4096, idle = 0;

    for (int i = 0; i < 1000; i++)
        strcat(many + (size_t)i * (sizeof(request) - 1), request);
    begin(&s, (struct web_opts){.pool = pool, .unread_max = 64 * 1024});
    fd = talk_dial(s.port);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    while (idle < 20) { // until it is not read any more
        ssize_t n = send(fd, many, strlen(many), MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0 && errno != EAGAIN)
            break; // or not wanted any more
        idle = n < 0 ? idle + 1 : 0;
        turn(&s);
        CHECK(pool_used(pool) * pool_block_size(pool) < 256 * 1024);
        CHECK(mono_before(mono_now(), limit));
    }
    close(fd);
    free(many);
    end(&s);
    CHECK_EQ(pool_used(pool), 0);
    pool_free(pool);
}

TEST(without_memory_for_answers_nothing_is_read)
{
    struct pool *pool = pool_new(4096, 64); // even of the smallest blocks enough for an answer
    struct buf all;
    struct site s;
    char answer[1000];
    int fd;

    begin(&s, (struct web_opts){.pool = pool});
    buf_init(&all, pool);
    while (buf_write(&all, "x", 1) == 1)
        ;
    fd = talk_dial(s.port);
    talk_say(fd, GET_LAST("/small"));
    for (int i = 0; i < 5; i++)
        turn(&s);
    CHECK(recv(fd, answer, sizeof(answer), MSG_DONTWAIT) < 0 && errno == EAGAIN);
    buf_fini(&all);
    check_begins("then", talk_hear(s.loop, fd), "HTTP/1.1 200");
    end(&s);
    pool_free(pool);
}

TEST(when_all_places_are_taken_who_comes_is_closed)
{
    struct site s;
    int first, second;

    begin(&s, (struct web_opts){.visits_max = 2});
    first = visit_as(&s, 1);
    second = visit_as(&s, 1);
    check_closed(&s, talk_dial(s.port));
    shutdown(first, SHUT_WR);
    check_closed(&s, first); // leaves
    close(visit_as(&s, 1));
    talk_say(second, GET_LAST("/small"));
    check_begins("one that stayed", talk_hear(s.loop, second), "HTTP/1.1 200");
    end(&s);
}

TEST(or_the_oldest_leaves)
{
    struct site s;
    int first, second;

    begin(&s, (struct web_opts){.visits_max = 2, .oldest_leaves = true});
    first = visit_as(&s, 1);
    second = visit_as(&s, 1);
    close(visit_as(&s, 1));
    check_closed(&s, first);
    talk_say(second, GET_LAST("/small"));
    check_begins("the younger", talk_hear(s.loop, second), "HTTP/1.1 200");
    end(&s);
}

TEST(one_address_does_not_take_the_places_of_others)
{
    struct site s;
    int first;

    begin(&s, (struct web_opts){.visits_of_one_max = 1});
    first = visit_as(&s, 1);
    check_closed(&s, talk_dial(s.port));
    close(visit_as(&s, 2));
    close(first);
    end(&s);
}

static void answer(void *user, struct web_visit *v, const struct http_request *r, struct mono now)
{
    char *words =
        str_fmt("%.*s of %s with \"%.*s\"", STR_ARG(r->path), web_visit_host(v), STR_ARG(r->body));

    (void)now;
    ++*(int *)user;
    web_respond(v, 403, WEB_TEXT, str_of(words));
    free(words);
}

TEST(requests_may_be_answered_by_other_means_than_pages)
{
    int asked = 0;
    struct site s;
    char *text;

    begin(&s, (struct web_opts){.answer = answer, .tells_date = true, .user = &asked});
    text = ask(&s, "POST /a HTTP/1.0\r\nContent-Length: 2\r\n\r\nhi");
    CHECK_EQ(asked, 1);
    check_has(text, "\r\nDate: ");
    check_has(text, "\r\n\r\n/a of 127.0.0.1:");
    check_has(text, " with \"hi\"");
    check_begins("by hand", text, "HTTP/1.1 403");
    end(&s);
}

TEST(its_end_ends_all_visits)
{
    struct site s;
    int fd;

    begin(&s, (struct web_opts){0});
    fd = visit_as(&s, 1);
    web_free(s.web);
    s.web = NULL;
    check_closed(&s, fd);
    end(&s);
}

struct late {
    struct site s;
    struct net_timer timer;
    uint64_t number;
    int answered;
};

static void answer_late(void *user, struct mono now)
{
    struct late *l = user;
    struct web_visit *v = web_waiting(l->s.web, l->number);

    CHECK(v);
    CHECK(!web_waiting(l->s.web, l->number + 1));
    web_respond(v, 200, WEB_TEXT, ++l->answered == 1 ? STR("first\n") : STR("second\n"));
    web_go_on(v, now);
}

static void ask_to_wait(void *user, struct web_visit *v, const struct http_request *r,
                        struct mono now)
{
    struct late *l = user;

    (void)r;
    l->number = web_wait(v);
    net_timer_set(l->s.loop, &l->timer, now);
}

// One after the other, also for who sends no more after that.
TEST(a_request_may_be_answered_later)
{
    struct late l = {.timer = {.fire = answer_late, .user = &l}};
    char *answer;
    int fd;

    begin(&l.s, (struct web_opts){.answer = ask_to_wait, .user = &l});
    fd = talk_dial(l.s.port);
    talk_say(fd, GET("/") GET("/"));
    shutdown(fd, SHUT_WR);
    answer = talk_hear(l.s.loop, fd);
    check_has(answer, "first\n");
    check_has(strstr(answer, "first\n"), "second\n");
    CHECK_EQ(l.answered, 2);
    CHECK(!web_waiting(l.s.web, l.number));
    free(answer);
    end(&l.s);
}

TEST_MAIN(CASE(each_request_gets_its_page),
          CASE(what_is_no_request_or_too_large_is_told_and_closed),
          CASE(requests_may_come_in_one_piece_or_byte_by_byte),
          CASE(who_sends_no_more_still_gets_all_that_was_asked_for),
          CASE(over_tls_too_who_sends_no_more_gets_its_answer),
          CASE(who_asks_a_lot_and_reads_late_gets_every_answer), CASE(who_is_slow_is_dropped),
          CASE(who_asks_and_does_not_read_is_held_back),
          CASE(without_memory_for_answers_nothing_is_read),
          CASE(when_all_places_are_taken_who_comes_is_closed), CASE(or_the_oldest_leaves),
          CASE(one_address_does_not_take_the_places_of_others),
          CASE(requests_may_be_answered_by_other_means_than_pages),
          CASE(a_request_may_be_answered_later), CASE(its_end_ends_all_visits))
