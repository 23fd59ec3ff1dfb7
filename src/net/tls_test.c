// SPDX-License-Identifier: Apache-2.0
#include <openssl/err.h>

#include "net/rig_test.h"

static struct certs certs;

static struct net_tls *profile(struct net_tls_opts o)
{
    struct net_tls *t = NULL;
    struct why why = {""};

    o.name = "test";
    if (net_tls_new(&o, &t, &why) < 0)
        fail_msg("%s", why.text);
    return t;
}

static struct net_tls_opts opts_of(const char *name, bool is_server)
{
    static char cert[2][128], key[2][128], ca[128];

    snprintf(ca, sizeof(ca), "%s/ca.crt", certs.dir);
    snprintf(cert[is_server], sizeof(cert[0]), "%s/%s.crt", certs.dir, name);
    snprintf(key[is_server], sizeof(key[0]), "%s/%s.key", certs.dir, name);
    return (struct net_tls_opts){.ca_file = ca,
                                 .cert_file = cert[is_server],
                                 .key_file = key[is_server],
                                 .is_server = is_server,
                                 .is_bulk = true,
                                 .require_peer = is_server};
}

// A connection between the two profiles is tried; the rig is where it came to: both ends ready, or
// somebody's refusal in words. `host` is verified unless NULL.
static void meet(struct rig *r, struct net_tls_opts server, struct net_tls_opts client,
                 const char *host)
{
    struct net_tls *s = profile(server), *c = profile(client);
    bool v6 = host && strchr(host, ':');

    rig_begin(r);
    rig_listen(r, (struct net_listener_opts){.tls = s, .host = v6 ? "::1" : NULL});
    rig_connect(r, (struct net_connector_opts){.tls = c,
                                               .host = host,
                                               .verify_host = host,
                                               .retry_min_ms = 60000,
                                               .retry_max_ms = 60000});
    net_tls_unref(s);
    net_tls_unref(c);
}

TEST(mutual_tls_tells_each_end_who_the_other_is)
{
    static const char *const versions[] = {"TLSv1.2", "TLSv1.3"};

    for (size_t i = 0; i < 2; i++) {
        struct net_tls_opts server = opts_of("server", true), client = opts_of("client", false);
        struct rig r;

        server.protocols = versions[i];
        meet(&r, server, client, "127.0.0.1");
        RIG_UNTIL(&r, r.end_count == 2);
        for (int e = 0; e < 2; e++) {
            const struct net_peer *p = &r.ends[e].peer;

            CHECK(p->is_encrypted && p->is_authenticated);
            CHECK_STR(str_of(p->protocol), versions[i]);
            CHECK_STR(str_of(p->subject), &r.ends[e] == r.client ? "CN=server" : "CN=client");
            CHECK(p->cipher_bits >= 128);
            CHECK(strlen(p->cipher) > 8);
        }
        end_say(&r.ends[0], "hello", 5);
        end_say(&r.ends[1], "hello", 5);
        RIG_UNTIL(&r, r.ends[0].got_len == 5 && r.ends[1].got_len == 5);
        rig_end(&r);
    }
}

TEST(the_host_that_was_dialled_must_be_in_the_certificate)
{
    static const struct {
        const char *why, *cn, *san, *host;
        bool ok;
    } rows[] = {
        {"a DNS name", "x", "DNS:other,DNS:localhost", "localhost", true},
        {"an IPv4 address", "x", "DNS:x,IP:127.0.0.1", "127.0.0.1", true},
        {"an IPv6 address", "x", "IP:::1", "::1", true},
        {"an IPv6 address, long form", "x", "IP:::1", "0:0:0:0:0:0:0:1", true},
        {"no SAN: the common name", "localhost", NULL, "localhost", true},
        {"another DNS name", "localhost", "DNS:example.com", "localhost", false},
        {"another IPv4 address", "x", "IP:127.0.0.2", "127.0.0.1", false},
        {"an IPv4 address as a DNS name", "x", "DNS:127.0.0.1", "127.0.0.1", false},
        {"an address, only a name", "x", "DNS:localhost", "127.0.0.1", false},
        {"another IPv6 address", "x", "IP:::2", "::1", false},
        {"a name, only an address", "x", "IP:127.0.0.1", "localhost", false},
        {"a part of a name", "x", "DNS:local*", "localhost", false},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct rig r;
        struct net_tls_opts server, client = opts_of("client", false);

        if (strchr(rows[i].host, ':') && !has_ipv6())
            continue;
        certs_make(&certs, rows[i].cn, &(struct cert_opts){.san = rows[i].san});
        server = opts_of(rows[i].cn, true);
        meet(&r, server, client, rows[i].host);
        RIG_UNTIL(&r, r.end_count == 2 || r.connects_failed > 0);
        CHECK_EQ_FOR(rows[i].why, r.end_count == 2, rows[i].ok);
        if (!rows[i].ok)
            CHECK_HAS(r.connect_why, "the host that was dialled is not in the certificate");
        rig_end(&r);
    }
}

TEST(a_host_that_is_not_to_be_verified_is_not)
{
    struct rig r;

    certs_make(&certs, "elsewhere", &(struct cert_opts){.san = "DNS:elsewhere"});
    meet(&r, opts_of("elsewhere", true), opts_of("client", false), NULL);
    RIG_UNTIL(&r, r.end_count == 2);
    rig_end(&r);
}

// Another CA in a directory of its own.
static void strangers(struct certs *other)
{
    certs_begin(other);
    certs_make(other, "server", &(struct cert_opts){.san = "IP:127.0.0.1"});
    certs_make(other, "client", &(struct cert_opts){0});
}

TEST(a_certificate_that_does_not_do_is_refused_in_words)
{
    static const struct {
        const char *why, *server, *client, *server_says, *client_says;
        const char *server_protocols;
    } rows[] = {
        {"the server's has expired", "old", "client", "expired",
         "certificate has expired (/CN=old)"
         "; check the clocks",
         NULL},
        {"the server's is not yet valid", "early", "client", "certificate",
         "not yet valid (/CN=early); check the clocks", NULL},
        {"the client's has expired, 1.3", "server", "old", "has expired (/CN=old)", "expired",
         "TLSv1.3"},
        {"the client's has expired, 1.2", "server", "old", "has expired (/CN=old)", "expired",
         "TLSv1.2"},
        {"the client has none, 1.3", "server", NULL, "showed no certificate",
         "give certFile and privateKeyFile", "TLSv1.3"},
        {"the client has none, 1.2", "server", NULL, "showed no certificate", "certificate",
         "TLSv1.2"},
    };

    certs_make(&certs, "old",
               &(struct cert_opts){.san = "IP:127.0.0.1", .from_days = -3, .to_days = -1});
    certs_make(&certs, "early",
               &(struct cert_opts){.san = "IP:127.0.0.1", .from_days = 2, .to_days = 3});
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct net_tls_opts server = opts_of(rows[i].server, true);
        struct net_tls_opts client = opts_of(rows[i].client ? rows[i].client : "client", false);
        struct rig r;

        if (!rows[i].client)
            client.cert_file = client.key_file = NULL;
        server.protocols = rows[i].server_protocols;
        meet(&r, server, client, "127.0.0.1");
        RIG_UNTIL(&r, r.accepts_failed > 0);
        // In 1.3 a client is done before the server has looked at its certificate.
        RIG_UNTIL(&r, r.connects_failed > 0 || (r.client && r.client->is_lost));
        CHECK_HAS(r.accept_why, rows[i].server_says);
        CHECK_HAS(r.connects_failed ? r.connect_why : r.client->why, rows[i].client_says);
        CHECK(strncmp(r.accept_peer, "127.0.0.1:", 10) == 0);
        rig_end(&r);
    }
}

TEST(a_certificate_of_another_ca_is_refused_by_either_side)
{
    struct net_tls_opts server = opts_of("server", true), client = opts_of("client", false);
    char ca[128], cert[128], key[128];
    struct certs other;
    struct rig r;

    strangers(&other);
    snprintf(ca, sizeof(ca), "%s", certs_path(&other, "ca.crt"));
    snprintf(cert, sizeof(cert), "%s", certs_path(&other, "client.crt"));
    snprintf(key, sizeof(key), "%s", certs_path(&other, "client.key"));

    client.ca_file = ca; // the client trusts others
    meet(&r, server, client, "127.0.0.1");
    RIG_UNTIL(&r, r.connects_failed > 0 && r.accepts_failed > 0);
    CHECK_HAS(r.connect_why, "both sides must use certificates of the same CA");
    CHECK_HAS(r.accept_why, "its caCertFile does not hold the CA that signed it");
    rig_end(&r);

    client = opts_of("client", false);
    client.cert_file = cert; // the server trusts others
    client.key_file = key;
    meet(&r, server, client, "127.0.0.1");
    RIG_UNTIL(&r, r.accepts_failed > 0 && r.client && r.client->is_lost);
    CHECK_HAS(r.accept_why, "(/CN=client); both sides must use certificates of the same CA");
    CHECK_HAS(r.client->why, "its caCertFile does not hold the CA that signed it");
    rig_end(&r);
    certs_end(&other);
}

TEST(a_server_that_demands_nothing_takes_a_client_without_certificate)
{
    struct net_tls_opts server = opts_of("server", true), client = opts_of("client", false);
    struct rig r;

    server.require_peer = false;
    client.cert_file = client.key_file = NULL;
    meet(&r, server, client, "127.0.0.1");
    RIG_UNTIL(&r, r.end_count == 2);
    CHECK(r.client->peer.is_authenticated);
    for (int e = 0; e < 2; e++)
        if (&r.ends[e] != r.client)
            CHECK(r.ends[e].peer.is_encrypted && !r.ends[e].peer.is_authenticated);
    rig_end(&r);
}

TEST(versions_and_ciphers_are_what_both_profiles_allow)
{
    static const struct {
        const char *why, *server_protocols, *client_protocols, *server_ciphers, *client_ciphers;
        const char *protocol, *cipher, *refusal;
    } rows[] = {
        {"the highest of both", NULL, NULL, NULL, NULL, "TLSv1.3", NULL, NULL},
        {"the client's only one", NULL, "TLSv1.2", NULL, NULL, "TLSv1.2", NULL, NULL},
        {"nothing in common", "TLSv1.3", "TLSv1.2", NULL, NULL, NULL, NULL, "protocol version"},
        {"a cipher of 1.2", "TLSv1.2", NULL, "ECDHE-ECDSA-AES128-GCM-SHA256", NULL, "TLSv1.2",
         "ECDHE-ECDSA-AES128-GCM-SHA256", NULL},
        {"a suite of 1.3", NULL, NULL, "TLS_CHACHA20_POLY1305_SHA256", NULL, "TLSv1.3",
         "TLS_CHACHA20_POLY1305_SHA256", NULL},
        {"one list for both, 1.3", NULL, NULL,
         "ECDHE-ECDSA-AES256-GCM-SHA384:TLS_AES_128_GCM_SHA256", NULL, "TLSv1.3",
         "TLS_AES_128_GCM_SHA256", NULL},
        {"one list for both, 1.2", NULL, "TLSv1.2",
         "TLS_AES_128_GCM_SHA256:ECDHE-ECDSA-AES256-GCM-SHA384", NULL, "TLSv1.2",
         "ECDHE-ECDSA-AES256-GCM-SHA384", NULL},
        {"no cipher in common", NULL, NULL, "TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384",
         NULL, NULL, "no cipher in common"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct net_tls_opts server = opts_of("server", true), client = opts_of("client", false);
        struct rig r;

        server.protocols = rows[i].server_protocols;
        client.protocols = rows[i].client_protocols;
        server.ciphers = rows[i].server_ciphers;
        client.ciphers = rows[i].client_ciphers;
        if (rows[i].client_ciphers)
            client.protocols = "TLSv1.3";
        meet(&r, server, client, "127.0.0.1");
        RIG_UNTIL(&r, r.end_count == 2 || r.connects_failed > 0);
        CHECK_EQ_FOR(rows[i].why, r.end_count == 2, rows[i].refusal == NULL);
        if (rows[i].protocol)
            CHECK_STR(str_of(r.client->peer.protocol), rows[i].protocol);
        if (rows[i].cipher)
            CHECK_STR(str_of(r.client->peer.cipher), rows[i].cipher);
        if (rows[i].refusal)
            CHECK_HAS(r.connect_why, rows[i].refusal);
        rig_end(&r);
    }
}

TEST(a_bad_profile_is_refused_with_the_name_of_the_bad_thing)
{
    static const struct {
        const char *why, *ca, *cert, *key, *password, *ciphers, *protocols, *says;
        bool is_client, demands;
    } rows[] = {
        {"no CA file", "none.crt", "server.crt", "server.key", NULL, NULL, NULL, "caCertFile", 0,
         1},
        {"no certificate file", "ca.crt", "none.crt", "server.key", NULL, NULL, NULL, "certFile", 0,
         1},
        {"no key file", "ca.crt", "server.crt", "none.key", NULL, NULL, NULL, "privateKeyFile", 0,
         1},
        {"a key for a certificate", "ca.crt", "server.key", "server.key", NULL, NULL, NULL,
         "certFile", 0, 1},
        {"somebody else's key", "ca.crt", "server.crt", "client.key", NULL, NULL, NULL,
         "privateKeyFile", 0, 1},
        {"a key of another kind", "ca.crt", "server.crt", "rsa.key", NULL, NULL, NULL,
         "does not belong to certFile", 0, 1},
        {"a locked key, no password", "ca.crt", "locked.crt", "locked.key", NULL, NULL, NULL,
         "password", 0, 1},
        {"a locked key, another password", "ca.crt", "locked.crt", "locked.key", "wrong", NULL,
         NULL, "password", 0, 1},
        {"a locked key, a variable that is not set", "ca.crt", "locked.crt", "locked.key",
         "env:SKUPPER_NO_SUCH", NULL, NULL, "password", 0, 1},
        {"a locked key, a password file that is not there", "ca.crt", "locked.crt", "locked.key",
         "file:/no/such", NULL, NULL, "password", 0, 1},
        {"a cipher nobody knows", "ca.crt", "server.crt", "server.key", NULL, "ROT13", NULL,
         "ciphers 'ROT13'", 0, 1},
        {"a suite nobody knows", "ca.crt", "server.crt", "server.key", NULL, "TLS_ROT13", NULL,
         "ciphers 'TLS_ROT13'", 0, 1},
        {"a version nobody should use", "ca.crt", "server.crt", "server.key", NULL, NULL, "TLSv1.1",
         "protocols 'TLSv1.1'", 0, 1},
        {"a server without certificate", "ca.crt", NULL, NULL, NULL, NULL, NULL,
         "needs certFile and privateKeyFile", 0, 1},
        {"a server that cannot check", NULL, "server.crt", "server.key", NULL, NULL, NULL,
         "needs caCertFile", 0, 1},
        {"a client with a certificate and no key", "ca.crt", "client.crt", NULL, NULL, NULL, NULL,
         "privateKeyFile", 1, 0},
    };
    char path[3][128];

    certs_make(&certs, "rsa", &(struct cert_opts){.is_rsa = true});
    certs_make(&certs, "locked", &(struct cert_opts){.password = "sesame"});
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct why why = {""};
        struct net_tls *t = NULL;
        const char *names[] = {rows[i].ca, rows[i].cert, rows[i].key};
        struct net_tls_opts o = {.name = "mine",
                                 .password = rows[i].password,
                                 .ciphers = rows[i].ciphers,
                                 .protocols = rows[i].protocols,
                                 .is_server = !rows[i].is_client,
                                 .require_peer = rows[i].demands};

        for (size_t f = 0; f < 3; f++)
            snprintf(path[f], sizeof(path[f]), "%s/%s", certs.dir, names[f] ? names[f] : "");
        o.ca_file = rows[i].ca ? path[0] : NULL;
        o.cert_file = rows[i].cert ? path[1] : NULL;
        o.key_file = rows[i].key ? path[2] : NULL;
        CHECK_EQ_FOR(rows[i].why, net_tls_new(&o, &t, &why) < 0, 1);
        CHECK(!t);
        CHECK_HAS(why.text, "sslProfile 'mine': ");
        CHECK_HAS(why.text, rows[i].says);
        CHECK_EQ_FOR(rows[i].why, ERR_peek_error(), 0);
    }
}

TEST(a_password_is_taken_in_each_of_its_forms)
{
    char file[160], spec[180];
    FILE *f;

    certs_make(&certs, "locked", &(struct cert_opts){.password = "open:sesame"});
    snprintf(file, sizeof(file), "%s", certs_path(&certs, "password.txt"));
    f = fopen(file, "we");
    CHECK(f && fputs("open:sesame\n", f) >= 0);
    fclose(f);
    snprintf(spec, sizeof(spec), "file:%s", file);
    setenv("SKUPPER_TEST_PASSWORD", "open:sesame", 1);

    const char *const forms[] = {"open:sesame", "pass:open:sesame", "literal:open:sesame",
                                 "env:SKUPPER_TEST_PASSWORD", spec};

    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        struct net_tls_opts o = opts_of("locked", true);

        o.password = forms[i];
        net_tls_unref(profile(o));
    }
}

// --------------------------------------------------------------- a client that does as we tell it

struct raw {
    int fd;
    SSL_CTX *ctx;
    SSL *ssl;
    BIO *in, *out;
};

static void raw_begin(struct raw *raw, struct rig *r)
{
    raw->fd = rig_dial(r);
    raw->ctx = SSL_CTX_new(TLS_client_method());
    CHECK_EQ(SSL_CTX_use_certificate_chain_file(raw->ctx, certs_path(&certs, "client.crt")), 1);
    CHECK_EQ(SSL_CTX_use_PrivateKey_file(raw->ctx, certs_path(&certs, "client.key"), 1), 1);
    raw->ssl = SSL_new(raw->ctx);
    raw->in = BIO_new(BIO_s_mem());
    raw->out = BIO_new(BIO_s_mem());
    SSL_set_bio(raw->ssl, raw->in, raw->out);
    SSL_set_connect_state(raw->ssl);
}

static void raw_end(struct raw *raw)
{
    close(raw->fd);
    SSL_free(raw->ssl);
    SSL_CTX_free(raw->ctx);
}

// All that the client has to say, in one packet.
static void raw_send(struct raw *raw)
{
    uint8_t data[65536];
    int n = BIO_read(raw->out, data, sizeof(data));

    if (n > 0)
        CHECK_EQ(send(raw->fd, data, (size_t)n, MSG_NOSIGNAL), n);
}

static void raw_receive(struct raw *raw, struct rig *r)
{
    uint8_t data[65536];
    ssize_t n = rig_recv(r, raw->fd, data, sizeof(data));

    CHECK(n > 0);
    BIO_write(raw->in, data, (int)n);
}

// Up to where the client has all it needs, but has not sent its last flight.
static void raw_handshake(struct raw *raw, struct rig *r)
{
    while (SSL_do_handshake(raw->ssl) != 1) {
        raw_send(raw);
        raw_receive(raw, r);
    }
}

static size_t raw_read(struct raw *raw, struct rig *r, char *out, size_t len)
{
    size_t got = 0;

    while (got < len) {
        int n = SSL_read(raw->ssl, out + got, (int)(len - got));

        if (n > 0)
            got += (size_t)n;
        else if (SSL_get_error(raw->ssl, n) == SSL_ERROR_WANT_READ)
            raw_receive(raw, r);
        else
            break;
    }
    return got;
}

static void raw_listen(struct rig *r)
{
    struct net_tls *t = profile(opts_of("server", true));

    rig_begin(r);
    rig_listen(r, (struct net_listener_opts){.tls = t});
    net_tls_unref(t);
}

TEST(what_comes_in_one_packet_with_the_end_of_the_handshake_is_not_forgotten)
{
    struct raw raw;
    struct rig r;

    raw_listen(&r);
    raw_begin(&raw, &r);
    raw_handshake(&raw, &r);
    CHECK_EQ(SSL_write(raw.ssl, "AMQP", 4), 4);
    raw_send(&raw); // Finished and data together
    RIG_UNTIL(&r, r.end_count == 1 && r.ends[0].got_len == 4);
    raw_end(&raw);
    rig_end(&r);
}

TEST(a_peer_that_wants_small_records_gets_every_byte)
{
    enum { LEN = 100000 };
    char *data = xcalloc(1, LEN), *got = xcalloc(1, LEN);
    struct raw raw;
    struct rig r;

    for (size_t i = 0; i < LEN; i++)
        data[i] = (char)(i * 7 + (i >> 9));
    raw_listen(&r);
    raw_begin(&raw, &r);
    CHECK(SSL_set_tlsext_max_fragment_length(raw.ssl, TLSEXT_max_fragment_length_512));
    raw_handshake(&raw, &r);
    raw_send(&raw);
    RIG_UNTIL(&r, r.end_count == 1);
    end_say(&r.ends[0], data, LEN);
    CHECK_EQ(raw_read(&raw, &r, got, LEN), LEN);
    CHECK(memcmp(got, data, LEN) == 0);
    raw_end(&raw);
    rig_end(&r);
    free(data);
    free(got);
}

TEST(an_alert_for_one_peer_is_not_sent_to_another)
{
    static const uint8_t garbage[] = {23, 3,  3,  0,  20, 1,  2,  3,  4,  5,  6,  7, 8,
                                      9,  10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20};
    struct raw good, bad;
    char got[8];
    struct rig r;

    raw_listen(&r);
    raw_begin(&good, &r);
    raw_handshake(&good, &r);
    raw_send(&good);
    RIG_UNTIL(&r, r.end_count == 1);
    raw_begin(&bad, &r);
    raw_handshake(&bad, &r);
    raw_send(&bad);
    RIG_UNTIL(&r, r.end_count == 2);
    CHECK_EQ(send(bad.fd, garbage, sizeof(garbage), 0), sizeof(garbage));
    RIG_UNTIL(&r, r.ends[1].is_lost);
    end_say(&r.ends[0], "fine", 4);
    CHECK_EQ(raw_read(&good, &r, got, 4), 4);
    CHECK(memcmp(got, "fine", 4) == 0);
    CHECK_EQ(raw_read(&bad, &r, got, 1), 0); // the alert that is its own
    CHECK(ERR_GET_REASON(ERR_peek_error()) == SSL_R_SSLV3_ALERT_BAD_RECORD_MAC);
    ERR_clear_error();
    raw_end(&bad);
    raw_end(&good);
    rig_end(&r);
}

TEST(a_peer_may_change_its_keys_in_mid_stream)
{
    struct raw raw;
    char got[16];
    struct rig r;

    raw_listen(&r);
    raw_begin(&raw, &r);
    raw_handshake(&raw, &r);
    raw_send(&raw);
    RIG_UNTIL(&r, r.end_count == 1);
    for (int round = 1; round <= 3; round++) {
        CHECK_EQ(SSL_key_update(raw.ssl, SSL_KEY_UPDATE_REQUESTED), 1);
        CHECK_EQ(SSL_write(raw.ssl, "ping", 4), 4);
        raw_send(&raw);
        RIG_UNTIL(&r, r.ends[0].got_len == (size_t)round * 4);
        end_say(&r.ends[0], "pong", 4);
        CHECK_EQ(raw_read(&raw, &r, got, 4), 4);
        CHECK(memcmp(got, "pong", 4) == 0);
    }
    raw_end(&raw);
    rig_end(&r);
}

TEST(a_handshake_larger_than_16_kib_is_refused)
{
    struct raw raw;
    struct rig r;

    certs_make(&certs, "client", &(struct cert_opts){.padding = 20000});
    raw_listen(&r);
    raw_begin(&raw, &r);
    raw_handshake(&raw, &r);
    raw_send(&raw);
    RIG_UNTIL(&r, r.accepts_failed == 1);
    CHECK_EQ(r.end_count, 0);
    raw_end(&raw);
    rig_end(&r);
    certs_make(&certs, "client", &(struct cert_opts){.padding = 8000});
    raw_listen(&r);
    raw_begin(&raw, &r);
    raw_handshake(&raw, &r);
    raw_send(&raw);
    RIG_UNTIL(&r, r.end_count == 1);
    raw_end(&raw);
    rig_end(&r);
}

TEST(a_handshake_that_dribbles_is_refused_at_16_kib)
{
    // records of a ClientHello that announces 100,000 bytes
    uint8_t record[5 + 2000] = {22, 3, 1, 2000 >> 8, 2000 & 255, 1, 1, 0x86, 0xa0};
    struct rig r;
    int fd;

    raw_listen(&r);
    fd = rig_dial(&r);
    for (int i = 0; i < 10 && r.accepts_failed == 0; i++) {
        if (i == 1)
            memset(record + 5, 0, 4);
        CHECK(send(fd, record, sizeof(record), MSG_NOSIGNAL) > 0);
        rig_turn(&r);
    }
    RIG_UNTIL(&r, r.accepts_failed == 1);
    CHECK_HAS(r.accept_why, "TLS");
    close(fd);
    rig_end(&r);
}

TEST(what_is_not_tls_is_told_from_it)
{
    static const struct {
        const char *bytes, *says;
    } rows[] = {{"AMQP\0\1\0\0", "is not TLS"}, {"GET / HTTP/1.1\r\n\r\n", "plain HTTP"}};

    for (size_t i = 0; i < 2; i++) {
        struct rig r;
        int fd;

        raw_listen(&r);
        fd = rig_dial(&r);
        CHECK_EQ(send(fd, rows[i].bytes, i == 0 ? 8 : strlen(rows[i].bytes), 0) > 0, 1);
        RIG_UNTIL(&r, r.accepts_failed == 1);
        CHECK_HAS(r.accept_why, rows[i].says);
        close(fd);
        rig_end(&r);
    }
}

TEST(a_listener_where_tls_is_optional_takes_both)
{
    struct net_tls *t = profile(opts_of("server", true));
    struct raw raw;
    struct rig r;
    int plain, silent;

    rig_begin(&r);
    rig_listen(&r, (struct net_listener_opts){.tls = t, .tls_optional = true, .handshake_ms = 300});
    net_tls_unref(t);
    silent = rig_dial(&r);
    plain = rig_dial(&r);
    CHECK_EQ(send(plain, "AMQP", 4, 0), 4);
    RIG_UNTIL(&r, r.end_count == 1 && r.ends[0].got_len == 4);
    CHECK(!r.ends[0].peer.is_encrypted);
    raw_begin(&raw, &r);
    raw_handshake(&raw, &r);
    raw_send(&raw);
    RIG_UNTIL(&r, r.end_count == 2);
    CHECK(r.ends[1].peer.is_encrypted);
    RIG_UNTIL(&r, r.accepts_failed == 1); // who says nothing is not waited for
    close(silent);
    close(plain);
    raw_end(&raw);
    rig_end(&r);
}

TEST(much_goes_through_tls_both_ways_though_sockets_are_small)
{
    enum { LEN = 2000000 };
    int size = 32768;
    char *data = xcalloc(1, LEN);
    struct rig r;

    for (size_t i = 0; i < LEN; i++)
        data[i] = (char)(i * 11 + (i >> 9));
    meet(&r, opts_of("server", true), opts_of("client", false), "127.0.0.1");
    r.echoes = true;
    RIG_UNTIL(&r, r.end_count == 2);
    setsockopt(r.client->stream->source.fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    setsockopt(r.client->stream->source.fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    end_say(r.client, data, LEN);
    RIG_UNTIL(&r, r.client->got_len == LEN);
    CHECK(memcmp(r.client->got, data, LEN) == 0);
    CHECK_IDLE(&r);
    r.client->is_finished = true;
    net_want_write(r.client->stream);
    RIG_UNTIL(&r, r.ends[0].is_lost && r.ends[1].is_lost);
    CHECK_STR(str_of(&r.ends[0] == r.client ? r.ends[1].why : r.ends[0].why),
              "the peer closed the connection");
    rig_end(&r);
    free(data);
}

static int begin(void **state)
{
    (void)state;
    certs_begin(&certs);
    certs_make(&certs, "server", &(struct cert_opts){.san = "DNS:localhost,IP:127.0.0.1"});
    certs_make(&certs, "client", &(struct cert_opts){0});
    return 0;
}

static int end(void **state)
{
    (void)state;
    certs_end(&certs);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(mutual_tls_tells_each_end_who_the_other_is),
        CASE(the_host_that_was_dialled_must_be_in_the_certificate),
        CASE(a_host_that_is_not_to_be_verified_is_not),
        CASE(a_certificate_that_does_not_do_is_refused_in_words),
        CASE(a_certificate_of_another_ca_is_refused_by_either_side),
        CASE(a_server_that_demands_nothing_takes_a_client_without_certificate),
        CASE(versions_and_ciphers_are_what_both_profiles_allow),
        CASE(a_bad_profile_is_refused_with_the_name_of_the_bad_thing),
        CASE(a_password_is_taken_in_each_of_its_forms),
        CASE(what_comes_in_one_packet_with_the_end_of_the_handshake_is_not_forgotten),
        CASE(a_peer_that_wants_small_records_gets_every_byte),
        CASE(an_alert_for_one_peer_is_not_sent_to_another),
        CASE(a_peer_may_change_its_keys_in_mid_stream),
        CASE(what_is_not_tls_is_told_from_it),
        CASE(a_listener_where_tls_is_optional_takes_both),
        CASE(much_goes_through_tls_both_ways_though_sockets_are_small),
        CASE(a_handshake_that_dribbles_is_refused_at_16_kib),
        CASE(a_handshake_larger_than_16_kib_is_refused),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
