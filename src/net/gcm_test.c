// SPDX-License-Identifier: Apache-2.0
#include "net/gcm.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/provider.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>

#include "net/rig_test.h"

// The provider against vectors, against OpenSSL's own cipher, and in whole conversations with a
// peer that knows nothing of it.

enum { TAG = 16, NONCE = 12, LONGEST = 20000 };

static OSSL_LIB_CTX *library;
static struct certs certs;

// Where there is nothing to test, on another processor or with a newer OpenSSL, that is said.
static void needs_library(void)
{
    if (library)
        return;
    print_message("skipped: OpenSSL 3.0, VAES and libIPSec_MB.so.1 are not all here\n");
    skip();
}

struct piece {
    uint8_t key[32], nonce[NONCE], aad[16], tag[TAG], text[LONGEST];
    size_t aad_len, len;
};

static EVP_CIPHER_CTX *keyed(const char *name, OSSL_LIB_CTX *from, const uint8_t *key, bool encrypt)
{
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(from, name, from ? GCM_QUERY : NULL);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();

    CHECK(cipher && ctx && EVP_CipherInit_ex(ctx, cipher, NULL, key, NULL, encrypt) == 1);
    CHECK(!from ||
          strcmp(OSSL_PROVIDER_get0_name(EVP_CIPHER_get0_provider(cipher)), "ipsec-mb") == 0);
    EVP_CIPHER_free(cipher);
    return ctx;
}

// One record as OpenSSL's TLS does it, in place. False: its tag is not right.
static bool run_record(EVP_CIPHER_CTX *ctx, struct piece *p, bool encrypt)
{
    int n = 0;
    bool ok = EVP_CipherInit_ex(ctx, NULL, NULL, NULL, p->nonce, encrypt) == 1;

    if (!encrypt)
        ok &= EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, TAG, p->tag) == 1;
    if (p->aad_len > 0)
        ok &= EVP_CipherUpdate(ctx, NULL, &n, p->aad, (int)p->aad_len) == 1;
    if (p->len > 0)
        ok = ok && EVP_CipherUpdate(ctx, p->text, &n, p->text, (int)p->len) == 1;
    ok = ok && EVP_CipherFinal_ex(ctx, p->text + p->len, &n) == 1;
    if (encrypt)
        ok &= EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, TAG, p->tag) == 1;
    return ok;
}

// The cases 2, 13 and 14 of "The Galois/Counter Mode of Operation", appendix B: all zeros go in.
TEST(what_the_specification_gives_comes_out)
{
    static const struct {
        const char *name;
        size_t len;
        uint8_t text[16], tag[16];
    } cases[] = {
        {"AES-128-GCM",
         16,
         {0x03, 0x88, 0xda, 0xce, 0x60, 0xb6, 0xa3, 0x92, 0xf3, 0x28, 0xc2, 0xb9, 0x71, 0xb2, 0xfe,
          0x78},
         {0xab, 0x6e, 0x47, 0xd4, 0x2c, 0xec, 0x13, 0xbd, 0xf5, 0x3a, 0x67, 0xb2, 0x12, 0x57, 0xbd,
          0xdf}},
        {"AES-256-GCM",
         0,
         {0},
         {0x53, 0x0f, 0x8a, 0xfb, 0xc7, 0x45, 0x36, 0xb9, 0xa9, 0x63, 0xb4, 0xf1, 0xc4, 0xcb, 0x73,
          0x8b}},
        {"AES-256-GCM",
         16,
         {0xce, 0xa7, 0x40, 0x3d, 0x4d, 0x60, 0x6b, 0x6e, 0x07, 0x4e, 0xc5, 0xd3, 0xba, 0xf3, 0x9d,
          0x18},
         {0xd0, 0xd1, 0xc8, 0xa7, 0x99, 0x99, 0x6b, 0xf0, 0x26, 0x5b, 0x98, 0xb5, 0xd4, 0x8a, 0xb9,
          0x19}},
    };

    needs_library();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct piece p = {.len = cases[i].len};
        EVP_CIPHER_CTX *ctx = keyed(cases[i].name, library, p.key, true);

        CHECK(run_record(ctx, &p, true));
        CHECK(memcmp(p.text, cases[i].text, p.len) == 0);
        CHECK(memcmp(p.tag, cases[i].tag, TAG) == 0);
        EVP_CIPHER_CTX_free(ctx);
    }
}

// Each end by either of the two, for records of every length up to a few blocks and some long ones.
TEST(what_one_encrypts_the_other_decrypts_whatever_the_length)
{
    static const char *const names[] = {"AES-128-GCM", "AES-256-GCM"};
    struct piece *p, *clear;

    needs_library();
    p = calloc(1, sizeof(*p));
    clear = calloc(1, sizeof(*clear));
    for (size_t n = 0; n < 2000; n++) {
        OSSL_LIB_CTX *from = n & 1 ? library : NULL, *to = n & 2 ? library : NULL;
        EVP_CIPHER_CTX *out, *in;

        if (!from && !to)
            continue;
        RAND_bytes((uint8_t *)clear, sizeof(*clear));
        clear->aad_len = n % 17;
        clear->len = n < 1200 ? n / 2 : clear->key[0] * 64U + clear->key[1] % 64U;
        *p = *clear;
        out = keyed(names[n / 4 % 2], from, p->key, true);
        in = keyed(names[n / 4 % 2], to, p->key, false);
        CHECK(run_record(out, p, true));
        CHECK(p->len < 16 || memcmp(p->text, clear->text, p->len) != 0);
        CHECK(run_record(in, p, false));
        CHECK(memcmp(p->text, clear->text, LONGEST) == 0); // nothing behind it either
        EVP_CIPHER_CTX_free(out);
        EVP_CIPHER_CTX_free(in);
    }
    free(clear);
    free(p);
}

TEST(one_changed_bit_anywhere_is_refused)
{
    struct piece good = {.len = 100, .aad_len = 5};

    needs_library();

    EVP_CIPHER_CTX *out = keyed("AES-256-GCM", library, good.key, true);
    EVP_CIPHER_CTX *in = keyed("AES-256-GCM", library, good.key, false);

    CHECK(run_record(out, &good, true));
    for (size_t bit = 0; bit < 8 * (100 + 5 + TAG + NONCE); bit++) {
        struct piece bad = good;
        size_t at = bit / 8;
        uint8_t *octet = at < 100   ? bad.text + at
                         : at < 105 ? bad.aad + at - 100
                         : at < 121 ? bad.tag + at - 105
                                    : bad.nonce + at - 121;

        *octet ^= (uint8_t)(1 << bit % 8);
        CHECK(!run_record(in, &bad, false));
    }
    CHECK(run_record(in, &good, false)); // what was refused left nothing behind
    EVP_CIPHER_CTX_free(out);
    EVP_CIPHER_CTX_free(in);
}

TEST(what_it_does_not_do_it_refuses)
{
    struct piece p = {.len = 16};
    uint8_t much[32] = {0};
    int n;

    needs_library();

    EVP_CIPHER_CTX *ctx = keyed("AES-256-GCM", library, p.key, true);

    CHECK(EVP_CipherUpdate(ctx, p.text, &n, p.text, 16) != 1); // no nonce yet
    CHECK(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_IVLEN, 16, NULL) != 1);
    CHECK(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, TAG, p.tag) != 1); // nothing encrypted
    CHECK(EVP_CipherInit_ex(ctx, NULL, NULL, NULL, p.nonce, 1) == 1);
    CHECK(EVP_CipherUpdate(ctx, NULL, &n, much, sizeof(much)) != 1); // more than a record's
    CHECK(EVP_CipherUpdate(ctx, p.text, &n, p.text, 16) == 1);
    CHECK(EVP_CipherUpdate(ctx, p.text, &n, p.text, 16) != 1); // a nonce serves once
    EVP_CIPHER_CTX_free(ctx);
    ctx = keyed("AES-256-GCM", library, p.key, false);
    CHECK(EVP_CipherInit_ex(ctx, NULL, NULL, NULL, p.nonce, 0) == 1);
    CHECK(EVP_CipherUpdate(ctx, p.text, &n, p.text, 16) != 1); // without a tag nothing is right
    EVP_CIPHER_CTX_free(ctx);
}

// ------------------------------------------------------------------------------- conversations

static SSL *peer(OSSL_LIB_CTX *from, bool is_server, int version, const char *cipher)
{
    SSL_CTX *ctx = SSL_CTX_new_ex(from, from ? GCM_QUERY : NULL,
                                  is_server ? TLS_server_method() : TLS_client_method());
    char path[160];
    SSL *ssl;

    CHECK(ctx && SSL_CTX_set_min_proto_version(ctx, version) == 1 &&
          SSL_CTX_set_max_proto_version(ctx, version) == 1);
    CHECK((version == TLS1_3_VERSION ? SSL_CTX_set_ciphersuites(ctx, cipher)
                                     : SSL_CTX_set_cipher_list(ctx, cipher)) == 1);
    if (is_server) {
        snprintf(path, sizeof(path), "%s/server.crt", certs.dir);
        CHECK(SSL_CTX_use_certificate_chain_file(ctx, path) == 1);
        snprintf(path, sizeof(path), "%s/server.key", certs.dir);
        CHECK(SSL_CTX_use_PrivateKey_file(ctx, path, SSL_FILETYPE_PEM) == 1);
    }
    ssl = SSL_new(ctx);
    SSL_CTX_free(ctx);
    CHECK(ssl != NULL);
    return ssl;
}

static void say(SSL *from, SSL *to, const uint8_t *text, size_t len)
{
    uint8_t *heard = malloc(len);
    size_t got = 0, n;

    CHECK(SSL_write_ex(from, text, len, &n) == 1 && n == len);
    while (got < len && SSL_read_ex(to, heard + got, len - got, &n) == 1)
        got += n;
    CHECK(got == len && memcmp(heard, text, len) == 0);
    free(heard);
}

static void meet(SSL *server, SSL *client)
{
    BIO *a, *b;
    int done = 0;

    CHECK(BIO_new_bio_pair(&a, 1 << 20, &b, 1 << 20) == 1);
    SSL_set_bio(server, a, a);
    SSL_set_bio(client, b, b);
    SSL_set_accept_state(server);
    SSL_set_connect_state(client);
    for (int turn = 0; turn < 10 && done < 2; turn++)
        done = (SSL_do_handshake(client) == 1) + (SSL_do_handshake(server) == 1);
    CHECK(done == 2);
}

TEST(it_speaks_both_versions_with_a_peer_that_does_without)
{
    static const struct {
        int version;
        const char *cipher;
    } cases[] = {
        {TLS1_3_VERSION, "TLS_AES_256_GCM_SHA384"},
        {TLS1_3_VERSION, "TLS_AES_128_GCM_SHA256"},
        {TLS1_3_VERSION, "TLS_CHACHA20_POLY1305_SHA256"}, // not ours, and there
        {TLS1_2_VERSION, "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384"},
        {TLS1_2_VERSION, "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256"},
    };
    uint8_t text[LONGEST * 2];

    RAND_bytes(text, sizeof(text));
    needs_library();
    for (size_t i = 0; i < 2 * sizeof(cases) / sizeof(cases[0]); i++) {
        SSL *server = peer(i & 1 ? library : NULL, true, cases[i / 2].version, cases[i / 2].cipher);
        SSL *client =
            peer(i & 1 ? NULL : library, false, cases[i / 2].version, cases[i / 2].cipher);

        meet(server, client);
        for (size_t len = 1; len <= sizeof(text); len = len * 3 + 1) {
            say(client, server, text, len);
            say(server, client, text, len);
        }
        SSL_free(server);
        SSL_free(client);
    }
}

TEST(a_record_that_was_changed_on_the_way_ends_the_connection)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

    needs_library();
    for (size_t i = 0; i < 2; i++) {
        bool v13 = versions[i] == TLS1_3_VERSION;
        const char *cipher = v13 ? "TLS_AES_256_GCM_SHA384"
                                 : "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384";
        SSL *server = peer(library, true, versions[i], cipher);
        SSL *client = peer(library, false, versions[i], cipher);
        uint8_t wire[200], text[100] = "hello";
        size_t n;
        int len;

        meet(server, client);
        say(client, server, text, sizeof(text));
        CHECK(SSL_write_ex(client, text, sizeof(text), &n) == 1);
        len = BIO_read(SSL_get_rbio(server), wire, sizeof(wire));
        CHECK(len > 100);
        wire[len - 30] ^= 1;
        SSL_set0_rbio(server, BIO_new_mem_buf(wire, len));
        CHECK(SSL_read_ex(server, text, sizeof(text), &n) != 1);
        CHECK_STR(str_of(ERR_reason_error_string(ERR_peek_error())),
                  "decryption failed or bad record mac");
        ERR_clear_error();
        SSL_free(server);
        SSL_free(client);
    }
}

static int begin(void **state)
{
    (void)state;
    library = gcm_library_context();
    certs_begin(&certs);
    certs_make(&certs, "server", &(struct cert_opts){.san = "DNS:localhost"});
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
        CASE(what_the_specification_gives_comes_out),
        CASE(what_one_encrypts_the_other_decrypts_whatever_the_length),
        CASE(one_changed_bit_anywhere_is_refused),
        CASE(what_it_does_not_do_it_refuses),
        CASE(it_speaks_both_versions_with_a_peer_that_does_without),
        CASE(a_record_that_was_changed_on_the_way_ends_the_connection),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
