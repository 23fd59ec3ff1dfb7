// SPDX-License-Identifier: Apache-2.0
// The server for redemptions and the client, each with the other, over the sockets of this machine.
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "check.h"
#include "host/host.h"
#include "net/net.h"
#include "pki/pki.h"

struct rig {
    char dir[64];
    struct net_loop *loop;
    struct host_grants *server;
    struct host_grant_store *store;
    struct pki_pair server_ca, site_ca;
    json_t *endpoints;
    bool cannot_keep, cannot_give, counts_late;
    struct net_timer late;
    size_t late_index;
    uint64_t late_number;
    enum pki_key key;
    // of the redemption under way
    bool is_done;
    int err;
    struct site_links links;
    char why[WHY_MAX];
};

static char *rig_path(const struct rig *r, const char *name)
{
    return str_fmt("%s/%s", r->dir, name);
}

static void rig_write(const struct rig *r, const char *name, const char *text)
{
    char *path = rig_path(r, name);

    CHECK_EQ(host_write(path, str_of(text), 0600, NULL), 0);
    free(path);
}

static struct pki_pair make_ca(const char *name)
{
    struct pki_wish w = {
        .name = name, .key = PKI_EC, .not_before = time(NULL) - 60, .not_after = time(NULL) + 3600};
    struct pki_pair ca = {0};

    CHECK_EQ(pki_make_ca(&w, &ca, NULL), 0);
    return ca;
}

// The server's certificate and its key in files.
static void write_certificate(const struct rig *r, const char *host)
{
    struct pki_wish w = {.name = "skupper-grant-server",
                         .hosts = &host,
                         .host_count = 1,
                         .key = PKI_EC,
                         .not_before = time(NULL) - 60,
                         .not_after = time(NULL) + 3600};
    struct pki_pair pair = {0};

    CHECK_EQ(pki_make_leaf(&w, str_of(r->server_ca.cert), str_of(r->server_ca.key), &pair, NULL),
             0);
    rig_write(r, "tls.crt", pair.cert);
    rig_write(r, "tls.key", pair.key);
    pki_pair_fini(&pair);
}

static size_t grants(void *user, const struct site_grant **out)
{
    struct rig *r = user;

    return host_grant_store_grants(r->store, out);
}

// Later: the next turn of the loop.
static void count_late(void *user, struct mono now)
{
    struct rig *r = user;
    struct why why = {""};
    int err = r->cannot_keep ? ERR_IO : host_grant_store_count(r->store, r->late_index, &why);

    (void)now;
    host_grants_counted(r->server, r->late_number + 1, r->late_index, 0, ""); // nobody
    host_grants_counted(r->server, r->late_number, r->late_index, err, "the disk is full");
    host_grants_counted(r->server, r->late_number, r->late_index, 0, ""); // not once more
}

static int count(void *user, size_t index, uint64_t number, struct why *why)
{
    struct rig *r = user;

    if (r->counts_late) {
        r->late_index = index;
        r->late_number = number;
        r->late = (struct net_timer){.fire = count_late, .user = r};
        net_timer_set(r->loop, &r->late, net_loop_now(r->loop));
        return HOST_COUNT_LATER;
    }
    if (!r->cannot_keep)
        return host_grant_store_count(r->store, index, why);
    why_set(why, "the disk is full");
    return ERR_IO;
}

static int give(void *user, size_t index, const char *name, const char *subject, char **text,
                struct why *why)
{
    struct rig *r = user;

    (void)index;
    if (!r->cannot_give)
        return host_grant_links(str_of(r->site_ca.cert), str_of(r->site_ca.key), r->endpoints, name,
                                subject, r->key, time(NULL), text, why);
    why_set(why, "Could not get issuer for requested certificate");
    return ERR_NOT_FOUND;
}

static json_t *grant_resource(const char *name, int allowed)
{
    return json_pack("{s:s, s:{s:s}, s:{s:i}}", "kind", "AccessGrant", "metadata", "name", name,
                     "spec", "redemptionsAllowed", allowed);
}

static void allow(struct rig *r, const char *name, int allowed)
{
    json_t *list = json_pack("[o]", grant_resource(name, allowed));

    CHECK(host_grant_store_set(r->store, list, time(NULL)));
    json_decref(list);
}

static void rig_begin(struct rig *r)
{
    struct host_grants_opts o = {.host = "127.0.0.1",
                                 .port = "0",
                                 .grants = grants,
                                 .count = count,
                                 .give = give,
                                 .user = r};
    struct why why = {""};
    char *cert, *key, *kept;

    *r = (struct rig){.dir = "/tmp/skupper-grants-XXXXXX", .key = PKI_EC};
    CHECK(mkdtemp(r->dir));
    r->server_ca = make_ca("SkupperGrantServerCA");
    r->site_ca = make_ca("site CA");
    r->endpoints = json_pack("[{s:s, s:s, s:s}]", "name", "inter-router", "host", "203.0.113.7",
                             "port", "55671");
    write_certificate(r, "127.0.0.1");
    CHECK_EQ(net_loop_new(&(struct net_hooks){0}, 65536, &r->loop), 0);
    cert = rig_path(r, "tls.crt");
    key = rig_path(r, "tls.key");
    kept = rig_path(r, "grants");
    CHECK_EQ(host_grant_store_open(kept, &r->store, NULL), 0);
    o.cert_file = cert;
    o.key_file = key;
    if (host_grants_new(r->loop, &o, &r->server, &why) < 0)
        fail_msg("%s", why.text);
    free(cert);
    free(key);
    free(kept);
}

static void rig_end(struct rig *r)
{
    host_grants_free(r->server);
    net_loop_free(r->loop);
    host_grant_store_free(r->store);
    CHECK_EQ(host_remove(r->dir, NULL), 0);
    site_links_fini(&r->links);
    pki_pair_fini(&r->server_ca);
    pki_pair_fini(&r->site_ca);
    json_decref(r->endpoints);
}

static struct site_token token_of(const struct rig *r)
{
    const struct site_grant *g = NULL;

    CHECK_EQ(host_grant_store_grants(r->store, &g), 1);
    return (struct site_token){
        .name = xstrdup("west-token"),
        .url = str_fmt("https://127.0.0.1:%d/%s", host_grants_port(r->server), g[0].uid),
        .code = xstrdup(g[0].code),
        .ca = xstrdup(r->server_ca.cert),
        .origin = xstrdup("")};
}

static void done(void *user, int err, struct site_links *take, const char *why)
{
    struct rig *r = user;

    r->is_done = true;
    r->err = err;
    site_links_fini(&r->links);
    r->links = *take;
    snprintf(r->why, sizeof(r->why), "%s", why);
}

static void redeem(struct rig *r, const struct site_token *t)
{
    struct host_redemption *redemption;

    r->is_done = false;
    CHECK_EQ(host_redeem_start(r->loop, t, "1b9f-site", &(struct host_redeemed){done, r},
                               &redemption, NULL),
             0);
    while (!r->is_done)
        net_loop_turn(r->loop, MONO_NEVER);
}

static int64_t used(const struct rig *r)
{
    const struct site_grant *g = NULL;

    CHECK_EQ(host_grant_store_grants(r->store, &g), 1);
    return g[0].used;
}

TEST(a_token_becomes_a_secret_and_a_link)
{
    struct rig r;
    struct site_token t;
    struct pki_info info = {0};
    char *cert, *key, *ca;

    rig_begin(&r);
    r.key = PKI_RSA;
    allow(&r, "the-grant", 1);
    t = token_of(&r);
    redeem(&r, &t);
    CHECK_STR(str_of(r.why), "");
    CHECK_EQ(r.err, 0);
    CHECK_EQ(used(&r), 1);
    CHECK_STR(str_of(site_text(r.links.secret, "metadata.name")), "west-token");
    CHECK_EQ(json_array_size(r.links.links), 1);
    CHECK_STR(str_of(site_text(json_array_get(r.links.links, 0), "spec.endpoints[0].host")),
              "203.0.113.7");
    cert = site_secret_get(r.links.secret, "tls.crt");
    key = site_secret_get(r.links.secret, "tls.key");
    ca = site_secret_get(r.links.secret, "ca.crt");
    CHECK_STR(str_of(ca), r.site_ca.cert);
    CHECK_EQ(pki_check_key(str_of(cert), str_of(key), NULL), 0);
    CHECK(str_starts(str_of(key), STR("-----BEGIN RSA PRIVATE KEY-----")));
    CHECK_EQ(pki_check(&(struct pki_check){.cert = str_of(cert),
                                           .ca = str_of(ca),
                                           .host = "203.0.113.7",
                                           .use = PKI_CLIENT,
                                           .now = time(NULL)},
                       NULL),
             0);
    CHECK_EQ(pki_inspect(str_of(cert), &info, NULL), 0);
    CHECK_STR(str_of(info.name), "1b9f-site");
    pki_info_fini(&info);
    free(cert);
    pki_wipe(key);
    free(ca);
    site_token_fini(&t);
    rig_end(&r);
}

TEST(a_token_is_redeemed_no_more_often_than_allowed)
{
    struct rig r;
    struct site_token t;

    rig_begin(&r);
    allow(&r, "the-grant", 2);
    t = token_of(&r);
    redeem(&r, &t);
    CHECK_EQ(r.err, 0);
    redeem(&r, &t);
    CHECK_EQ(r.err, 0);
    redeem(&r, &t);
    CHECK_EQ(r.err, ERR_NOT_FOUND);
    CHECK(strstr(r.why, "answered 404 No such access granted"));
    allow(&r, "the-grant", 3);
    redeem(&r, &t);
    CHECK_EQ(r.err, 0);
    CHECK_EQ(used(&r), 3);
    site_token_fini(&t);
    rig_end(&r);
}

TEST(a_wrong_code_is_refused_and_not_counted)
{
    struct rig r;
    struct site_token t;

    rig_begin(&r);
    allow(&r, "the-grant", 1);
    t = token_of(&r);
    t.code[3] ^= 1;
    redeem(&r, &t);
    CHECK_EQ(r.err, ERR_INVALID);
    CHECK(strstr(r.why, "answered 403 Redemption of access token refused"));
    CHECK_EQ(used(&r), 0);
    t.code[3] ^= 1;
    redeem(&r, &t);
    CHECK_EQ(r.err, 0);
    site_token_fini(&t);
    rig_end(&r);
}

TEST(who_is_wrong_too_often_waits)
{
    struct rig r;
    struct site_token t;
    int refused = 0;

    rig_begin(&r);
    allow(&r, "the-grant", 1);
    t = token_of(&r);
    t.code[3] ^= 1;
    do {
        redeem(&r, &t);
        CHECK(r.err == ERR_INVALID || r.err == ERR_AGAIN);
    } while (r.err == ERR_INVALID && ++refused < 1000);
    CHECK(refused >= 10 && refused < 1000);
    CHECK(strstr(r.why, "answered 429"));
    t.code[3] ^= 1; // the right one is not looked at either
    redeem(&r, &t);
    CHECK_EQ(r.err, ERR_AGAIN);
    CHECK_EQ(used(&r), 0);
    site_token_fini(&t);
    rig_end(&r);
}

TEST(nothing_is_given_out_that_could_not_be_kept)
{
    struct rig r;
    struct site_token t;

    rig_begin(&r);
    allow(&r, "the-grant", 1);
    t = token_of(&r);
    r.cannot_keep = true;
    redeem(&r, &t);
    CHECK_EQ(r.err, ERR_AGAIN);
    CHECK(strstr(r.why, "answered 503 Internal error"));
    CHECK_EQ(used(&r), 0);
    r.cannot_keep = false;
    redeem(&r, &t);
    CHECK_EQ(r.err, 0);
    site_token_fini(&t);
    rig_end(&r);
}

TEST(what_is_counted_later_is_given_out_later)
{
    struct rig r;
    struct site_token t;

    rig_begin(&r);
    allow(&r, "the-grant", 1);
    t = token_of(&r);
    r.counts_late = r.cannot_keep = true;
    redeem(&r, &t);
    CHECK_EQ(r.err, ERR_AGAIN);
    CHECK(strstr(r.why, "answered 503 Internal error"));
    r.cannot_keep = false;
    redeem(&r, &t);
    CHECK_EQ(r.err, 0);
    CHECK_EQ(used(&r), 1);
    site_token_fini(&t);
    rig_end(&r);
}

TEST(a_certificate_that_cannot_be_made_uses_up_the_token)
{
    struct rig r;
    struct site_token t;

    rig_begin(&r);
    allow(&r, "the-grant", 2);
    t = token_of(&r);
    r.cannot_give = true;
    redeem(&r, &t);
    CHECK_EQ(r.err, ERR_AGAIN);
    CHECK(strstr(r.why, "answered 500 Could not get issuer for requested certificate"));
    CHECK_EQ(used(&r), 1);
    r.cannot_give = false;
    json_array_clear(r.endpoints);
    redeem(&r, &t);
    CHECK(strstr(r.why, "answered 500 No valid endpoints found for site"));
    CHECK_EQ(used(&r), 2);
    site_token_fini(&t);
    rig_end(&r);
}

TEST(only_the_ca_of_the_token_is_trusted)
{
    struct rig r;
    struct site_token t;

    rig_begin(&r);
    allow(&r, "the-grant", 1);
    t = token_of(&r);
    free(t.ca);
    t.ca = xstrdup(r.site_ca.cert);
    redeem(&r, &t);
    CHECK_EQ(r.err, ERR_IO);
    CHECK(strstr(r.why, "its certificate is not accepted"));
    CHECK(strstr(r.why, "is the token from that site?"));
    free(t.ca);
    t.ca = xstrdup("no certificate");
    redeem(&r, &t);
    CHECK_EQ(r.err, ERR_INVALID);
    CHECK(strstr(r.why, "the CA in the token cannot be read"));
    CHECK_EQ(used(&r), 0);
    site_token_fini(&t);
    rig_end(&r);
}

TEST(the_certificate_must_be_for_the_host_and_may_be_changed)
{
    struct rig r;
    struct site_token t;
    struct why why = {""};

    rig_begin(&r);
    allow(&r, "the-grant", 1);
    t = token_of(&r);
    write_certificate(&r, "127.0.0.2");
    CHECK_EQ(host_grants_reload(r.server, NULL), 0);
    redeem(&r, &t);
    CHECK_EQ(r.err, ERR_IO);
    CHECK(strstr(r.why, "its certificate is not accepted"));
    rig_write(&r, "tls.key", "no key");
    CHECK(host_grants_reload(r.server, &why) < 0);
    CHECK(strstr(why.text, "tls.key"));
    redeem(&r, &t);
    CHECK_EQ(r.err, ERR_IO); // the old one still serves
    write_certificate(&r, "127.0.0.1");
    CHECK_EQ(host_grants_reload(r.server, NULL), 0);
    redeem(&r, &t);
    CHECK_EQ(r.err, 0);
    site_token_fini(&t);
    rig_end(&r);
}

TEST(where_nobody_listens_is_told)
{
    struct rig r;
    struct site_token t;

    rig_begin(&r);
    allow(&r, "the-grant", 1);
    t = token_of(&r);
    free(t.url);
    t.url = xstrdup("https://127.0.0.1:1/x");
    redeem(&r, &t);
    CHECK_EQ(r.err, ERR_IO);
    CHECK(strstr(r.why, "is it reachable from here?"));
    free(t.url);
    t.url = xstrdup("http://127.0.0.1:1/x");
    redeem(&r, &t);
    CHECK_EQ(r.err, ERR_INVALID);
    CHECK(strstr(r.why, "its scheme must be https"));
    site_token_fini(&t);
    rig_end(&r);
}

TEST(a_redemption_may_be_given_up)
{
    struct rig r;
    struct site_token t;
    struct host_redemption *redemption;

    rig_begin(&r);
    allow(&r, "the-grant", 2);
    t = token_of(&r);
    CHECK_EQ(
        host_redeem_start(r.loop, &t, "s", &(struct host_redeemed){done, &r}, &redemption, NULL),
        0);
    host_redeem_cancel(redemption);
    redeem(&r, &t); // the other thread may be served too
    CHECK_EQ(r.err, 0);
    site_token_fini(&t);
    rig_end(&r);
}

TEST(grants_are_found_again_after_a_restart)
{
    struct rig r;
    struct site_token t;
    char *kept;

    rig_begin(&r);
    allow(&r, "the-grant", 2);
    t = token_of(&r);
    redeem(&r, &t);
    CHECK_EQ(r.err, 0);
    host_grant_store_free(r.store);
    kept = rig_path(&r, "grants");
    CHECK_EQ(host_grant_store_open(kept, &r.store, NULL), 0);
    CHECK_EQ(used(&r), 1);
    redeem(&r, &t);
    CHECK_EQ(r.err, 0);
    redeem(&r, &t);
    CHECK_EQ(r.err, ERR_NOT_FOUND);
    free(kept);
    site_token_fini(&t);
    rig_end(&r);
}

TEST(a_grant_that_is_gone_is_gone_for_good)
{
    struct rig r;
    struct site_token t, again;
    json_t *none = json_array();

    rig_begin(&r);
    allow(&r, "the-grant", 1);
    t = token_of(&r);
    CHECK(host_grant_store_set(r.store, none, time(NULL)));
    CHECK(!host_grant_store_set(r.store, none, time(NULL)));
    redeem(&r, &t);
    CHECK_EQ(r.err, ERR_NOT_FOUND);
    allow(&r, "the-grant", 1);
    again = token_of(&r);
    CHECK(strcmp(again.url, t.url) != 0 && strcmp(again.code, t.code) != 0);
    redeem(&r, &t);
    CHECK_EQ(r.err, ERR_NOT_FOUND);
    redeem(&r, &again);
    CHECK_EQ(r.err, 0);
    site_token_fini(&t);
    site_token_fini(&again);
    json_decref(none);
    rig_end(&r);
}

TEST(what_is_known_of_grants_is_told)
{
    struct rig r;
    json_t *facts, *bad = json_pack("[{s:{s:s}, s:{s:s}}]", "metadata", "name", "bad", "spec",
                                    "expirationWindow", "soon");

    rig_begin(&r);
    allow(&r, "the-grant", 1);
    facts = host_grant_store_facts(r.store, "h:9090", "PEM");
    CHECK(str_starts(str_of(site_text(json_object_get(facts, "the-grant"), "url")),
                     STR("https://h:9090/")));
    CHECK_STR(str_of(site_text(json_object_get(facts, "the-grant"), "ca")), "PEM");
    CHECK_EQ(strlen(site_text(json_object_get(facts, "the-grant"), "code")), 24);
    json_decref(facts);
    facts = host_grant_store_facts(r.store, "", "");
    CHECK_STR(str_of(site_text(json_object_get(facts, "the-grant"), "url")), "");
    json_decref(facts);
    CHECK(host_grant_store_set(r.store, bad, time(NULL)));
    facts = host_grant_store_facts(r.store, "h:9090", "PEM");
    CHECK_EQ(json_object_size(facts), 1);
    CHECK(strstr(site_text(json_object_get(facts, "bad"), "error"), "Invalid duration"));
    json_decref(facts);
    json_decref(bad);
    rig_end(&r);
}

TEST(a_broken_file_is_kept_and_serves_nobody)
{
    static const char other[] = "{\"name\": \"other\", \"uid\": \"u\", \"code\": \"c\", "
                                "\"redemptionsAllowed\": 1, \"redemptions\": 0}";
    static const char *const texts[] = {"{", "{\"name\": \"x\"}", other};

    for (size_t i = 0; i < 3; i++) {
        struct rig r;
        json_t *list = json_pack("[o]", grant_resource("x", 1)), *facts;
        char *kept, *path, *text = NULL;
        size_t len;

        rig_begin(&r);
        rig_write(&r, "grants/x.json", texts[i]);
        host_grant_store_free(r.store);
        kept = rig_path(&r, "grants");
        path = rig_path(&r, "grants/x.json");
        CHECK_EQ(host_grant_store_open(kept, &r.store, NULL), 0);
        CHECK(host_grant_store_set(r.store, list, time(NULL))); // an error is news
        facts = host_grant_store_facts(r.store, "h:1", "PEM");
        CHECK(strstr(site_text(json_object_get(facts, "x"), "error"), "cannot be used"));
        CHECK_EQ(host_read(path, &text, &len, NULL), 0);
        CHECK_STR(str_of(text), texts[i]);
        free(text);
        free(path);
        free(kept);
        json_decref(facts);
        json_decref(list);
        rig_end(&r);
    }
}

TEST_MAIN(CASE(a_token_becomes_a_secret_and_a_link),
          CASE(a_token_is_redeemed_no_more_often_than_allowed),
          CASE(a_wrong_code_is_refused_and_not_counted), CASE(who_is_wrong_too_often_waits),
          CASE(nothing_is_given_out_that_could_not_be_kept),
          CASE(what_is_counted_later_is_given_out_later),
          CASE(a_certificate_that_cannot_be_made_uses_up_the_token),
          CASE(only_the_ca_of_the_token_is_trusted),
          CASE(the_certificate_must_be_for_the_host_and_may_be_changed),
          CASE(where_nobody_listens_is_told), CASE(a_redemption_may_be_given_up),
          CASE(grants_are_found_again_after_a_restart), CASE(a_grant_that_is_gone_is_gone_for_good),
          CASE(what_is_known_of_grants_is_told), CASE(a_broken_file_is_kept_and_serves_nobody))
