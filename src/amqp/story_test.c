// SPDX-License-Identifier: Apache-2.0
#include "amqp/pair.h"
#include "base/rng.h"

// A conversation with a bit of everything is recorded once. Then what one side has heard is fed to
// a fresh engine, cut differently each time: it must tell the same story.

enum { RECORD_MAX = 1 << 18 };

struct record {
    uint8_t bytes[RECORD_MAX];
    size_t len;
};

static bool pass_recorded(struct pair *p, struct side *from, struct side *to, struct record *r)
{
    size_t len;
    uint8_t *bytes = side_output(from, &len);

    CHECK(r->len + len <= RECORD_MAX);
    memcpy(r->bytes + r->len, bytes, len);
    r->len += len;
    side_feed(to, bytes, len, 0, p->now);
    free(bytes);
    return len > 0;
}

static void run_recorded(struct pair *p, struct record *to_b)
{
    bool any = true;

    while (any) {
        any = pass_recorded(p, &p->a, &p->b, to_b);
        any |= pair_pass(p, &p->b, &p->a);
    }
}

static void converse(struct pair *p, struct record *r)
{
    struct amqp_attach one = attach_as("one", AMQP_SENDER), two = attach_as("two", AMQP_RECEIVER);
    uint8_t bytes[40000] = {1, 2, 3};
    struct iovec part = {bytes, sizeof(bytes)};
    struct amqp_session *s;
    struct amqp_delivery *d;
    struct amqp_link *l, *m;
    bool done;

    p->b.settles = true;
    run_recorded(p, r);
    s = amqp_session_begin(p->a.conn, 50);
    l = amqp_link_attach(s, &one);
    m = amqp_link_attach(s, &two);
    amqp_link_grant(m, 5);
    run_recorded(p, r);
    for (size_t i = 0; i < 20; i++)
        send_one(l, i % 3 == 0, i * 100);
    run_recorded(p, r);
    d = amqp_delivery_begin(l, false, 0, NULL);
    amqp_delivery_write(d, &part, 1, true, &done);
    run_recorded(p, r);
    d = amqp_delivery_begin(l, false, 0, NULL);
    amqp_delivery_write(d, &part, 1, false, &done);
    run_recorded(p, r);
    amqp_delivery_abort(d);
    amqp_link_grant(m, 100);
    run_recorded(p, r);
    amqp_link_detach(m, "amqp:internal-error", "words");
    run_recorded(p, r);
    amqp_session_end(s);
    run_recorded(p, r);
    amqp_conn_close(p->a.conn, "amqp:connection:forced", "enough");
    run_recorded(p, r);
}

// Credit and window come back after each event: what the peer may do must not depend on the cut.
static void take(struct side *s, const uint8_t *data, size_t len, struct mono now)
{
    uint8_t *copy = memcpy(xcalloc(1, len), data, len);
    struct amqp_event ev;

    amqp_conn_feed(s->conn, copy, len, now);
    while (amqp_conn_next(s->conn, &ev)) {
        side_event(s, &ev);
        amqp_conn_flush(s->conn);
        buf_fini(amqp_conn_output(s->conn));
        amqp_conn_sent(s->conn);
    }
    free(copy);
}

static struct str replay(const struct record *r, uint32_t block_size, uint64_t seed, size_t most)
{
    struct side *s = xcalloc(1, sizeof(*s));
    struct pool *pool = pool_new(block_size, 1 << 16);
    struct amqp_conn_opts o = pair_opts(pool, true);
    struct mono now = {NS_PER_S};
    struct rng rng;
    struct str text;

    rng_init(&rng, seed);
    s->conn = amqp_conn_new(&o, now);
    s->grants = 100;
    s->settles = true;
    for (size_t at = 0, part; at < r->len; at += part) {
        part = most == 0 ? r->len : seed == 0 ? most : 1 + rng_below(&rng, (uint32_t)most);
        if (part > r->len - at)
            part = r->len - at;
        take(s, r->bytes + at, part, now);
    }
    amqp_conn_free(s->conn);
    CHECK_EQ(pool_used(pool), 0);
    pool_free(pool);
    text = told(s);
    free(s);
    return text;
}

TEST(wherever_the_stream_is_cut_the_story_is_the_same)
{
    static const struct {
        size_t most;
        uint64_t seed;
    } cuts[] = {{1, 0}, {2, 0}, {3, 0}, {7, 0},  {8, 0},   {9, 0},    {64, 0},
                {0, 0}, {5, 1}, {9, 2}, {50, 3}, {500, 4}, {5000, 5}, {50000, 6}};
    static const uint32_t blocks[] = {16, 64, 4096};
    struct record *r = xcalloc(1, sizeof(*r));
    struct pair *p = xcalloc(1, sizeof(*p));
    char *whole;

    pair_init(p);
    converse(p, r);
    whole = str_dup(told(&p->b));
    CHECK(strlen(whole) > 200);
    for (size_t i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++)
        CHECK_STR(replay(r, blocks[i % 3], cuts[i].seed, cuts[i].most), whole);
    free(whole);
    pair_fini(p);
    free(p);
    free(r);
}

TEST_MAIN(CASE(wherever_the_stream_is_cut_the_story_is_the_same))
