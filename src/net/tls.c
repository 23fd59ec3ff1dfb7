// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "net/gcm.h"
#include "net/inside.h"

// TLS by OpenSSL: profiles, the BIO between SSL and the loop's memory, and words for failures.

// ------------------------------------------------------------------------------------------- BIO

// Reads what the loop has received for this stream, writes to what the loop will send for it: no
// system call inside, so one receive and one send carry many records.

static int bio_read(BIO *bio, char *out, int len)
{
    struct net_stream *s = BIO_get_data(bio);
    struct net_loop *l = s->loop;
    size_t n = l->cipher_in_len < (size_t)len ? l->cipher_in_len : (size_t)len;

    BIO_clear_retry_flags(bio);
    if (n == 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    memcpy(out, l->cipher_in, n);
    l->cipher_in += n;
    l->cipher_in_len -= n;
    return (int)n;
}

static int bio_write(BIO *bio, const char *data, int len)
{
    struct net_stream *s = BIO_get_data(bio);
    struct net_loop *l = s->loop;
    size_t wanted = l->cipher_out_len + (size_t)len;

    if (wanted > l->cipher_out_size) {
        l->cipher_out_size = wanted < cipher_size(l) ? cipher_size(l) : wanted;
        l->cipher_out = xrealloc(l->cipher_out, l->cipher_out_size, 1);
    }
    memcpy(l->cipher_out + l->cipher_out_len, data, (size_t)len);
    l->cipher_out_len += (size_t)len;
    return len;
}

static long bio_ctrl(BIO *bio, int cmd, long num, void *ptr)
{
    (void)bio;
    (void)num;
    (void)ptr;
    return cmd == BIO_CTRL_FLUSH ? 1 : 0;
}

BIO_METHOD *tls_bio_method(void)
{
    BIO_METHOD *m = BIO_meth_new(BIO_TYPE_SOURCE_SINK | BIO_get_new_index(), "loop");

    if (!m)
        abort();
    BIO_meth_set_read(m, bio_read);
    BIO_meth_set_write(m, bio_write);
    BIO_meth_set_ctrl(m, bio_ctrl);
    return m;
}

SSL *tls_ssl_new(struct net_tls *t, struct net_stream *s)
{
    SSL *ssl = SSL_new(t->ctx);
    BIO *bio = BIO_new(s->loop->bio_method);

    if (!ssl || !bio)
        abort(); // no memory
    BIO_set_data(bio, s);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl, bio, bio);
    SSL_set_app_data(ssl, s);
    if (t->is_server)
        SSL_set_accept_state(ssl);
    else
        SSL_set_connect_state(ssl);
    return ssl;
}

void tls_expect_host(SSL *ssl, const char *host)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    uint8_t address[16];

    if (inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1) {
        X509_VERIFY_PARAM_set1_ip_asc(param, host);
        return;
    }
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    X509_VERIFY_PARAM_set1_host(param, host, 0);
    // The macro for this drops const, which clang refuses.
    SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, (void *)(uintptr_t)host);
}

void tls_describe(struct net_stream *s)
{
    struct net_peer *p = &s->birth->peer;
    X509 *cert = SSL_get0_peer_certificate(s->ssl);
    const unsigned char *alpn = NULL;
    unsigned alpn_len = 0;

    p->is_encrypted = true;
    snprintf(p->protocol, sizeof(p->protocol), "%s", SSL_get_version(s->ssl));
    snprintf(p->cipher, sizeof(p->cipher), "%s", SSL_get_cipher(s->ssl));
    p->cipher_bits = SSL_get_cipher_bits(s->ssl, NULL);
    SSL_get0_alpn_selected(s->ssl, &alpn, &alpn_len);
    if (alpn_len < sizeof(p->alpn) && alpn_len > 0)
        memcpy(p->alpn, alpn, alpn_len);
    if (!cert || SSL_get_verify_result(s->ssl) != X509_V_OK)
        return;
    p->is_authenticated = true;

    BIO *bio = BIO_new(BIO_s_mem());
    int n = 0;

    if (bio && X509_NAME_print_ex(bio, X509_get_subject_name(cert), 0, XN_FLAG_RFC2253) > 0)
        n = BIO_read(bio, p->subject, (int)sizeof(p->subject) - 1);
    p->subject[n > 0 ? n : 0] = '\0';
    BIO_free(bio);
    ERR_clear_error();
}

// Called for each fault of a certificate while OpenSSL still has it at hand.
static int remember_refused(int ok, X509_STORE_CTX *store)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    X509 *cert = X509_STORE_CTX_get_current_cert(store);
    struct net_stream *s = SSL_get_app_data(ssl);

    if (!ok && cert)
        X509_NAME_oneline(X509_get_subject_name(cert), s->loop->refused, sizeof(s->loop->refused));
    return ok;
}

static const char *hint_for(long verify)
{
    switch (verify) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return "; check the clocks, or renew the certificate";
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        return "; the host that was dialled is not in the certificate";
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
        return "; both sides must use certificates of the same CA";
    default:
        return "";
    }
}

const char *tls_words(unsigned long err)
{
    static const struct {
        int reason;
        const char *words;
    } table[] = {
        {SSL_R_TLSV1_ALERT_UNKNOWN_CA,
         "the peer refuses our certificate: its caCertFile does not hold the CA that signed it"},
        {SSL_R_TLSV1_ALERT_DECRYPT_ERROR, // a CA of the same name, as of a site made anew
         "the peer refuses our certificate: its caCertFile does not hold the CA that signed it"},
        {SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED,
         "the peer refuses our certificate: it has expired; check the clocks, or renew it"},
        {SSL_R_SSLV3_ALERT_BAD_CERTIFICATE, "the peer refuses our certificate"},
        {SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN, "the peer refuses our certificate"},
        {SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED,
         "the peer demands a certificate; give certFile and privateKeyFile in the sslProfile"},
        {SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE,
         "the peer refuses: no cipher in common, or it demands a certificate"},
        {SSL_R_TLSV1_ALERT_PROTOCOL_VERSION, "the peer refuses our protocol versions"},
        {SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE,
         "the peer showed no certificate, and this listener demands one"},
        {SSL_R_WRONG_VERSION_NUMBER, "what the peer speaks on this port is not TLS"},
        {SSL_R_HTTP_REQUEST, "the peer speaks plain HTTP, and this port TLS"},
        {SSL_R_NO_SHARED_CIPHER, "no cipher in common"},
        {SSL_R_UNSUPPORTED_PROTOCOL, "the peer's protocol versions are not among ours"},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        if (ERR_GET_LIB(err) == ERR_LIB_SSL && ERR_GET_REASON(err) == table[i].reason)
            return table[i].words;
    return err && ERR_reason_error_string(err) ? ERR_reason_error_string(err)
                                               : "the peer broke off";
}

void tls_failure(SSL *ssl, char *out, size_t size)
{
    const struct net_stream *s = SSL_get_app_data(ssl);
    long verify = SSL_get_verify_result(ssl);

    if (verify != X509_V_OK)
        snprintf(out, size, "TLS: the peer's certificate is refused: %s (%.100s)%s",
                 X509_verify_cert_error_string(verify), s->loop->refused, hint_for(verify));
    else
        snprintf(out, size, "TLS: %s", tls_words(ERR_peek_error()));
    ERR_clear_error();
}

// --------------------------------------------------------------------------------------- profiles

static const char *reason(void)
{
    const char *text = ERR_reason_error_string(ERR_peek_error());

    return text ? text : "no such file, or not readable";
}

struct password {
    const char *spec; // as secret_read() takes it
    bool is_asked;    // the key is locked
};

static int read_password(char *buf, int size, int for_writing, void *user)
{
    struct password *password = user;
    int len = secret_read(password->spec, buf, (size_t)size);

    (void)for_writing;
    password->is_asked = true;
    return len < 0 ? 0 : len;
}

static int set_protocols(SSL_CTX *ctx, const char *protocols, struct why *why)
{
    bool v12 = !protocols || strstr(protocols, "TLSv1.2");
    bool v13 = !protocols || strstr(protocols, "TLSv1.3");

    if (!v12 && !v13) {
        why_set(why, "protocols '%s' holds neither TLSv1.2 nor TLSv1.3", protocols);
        return ERR_INVALID;
    }
    SSL_CTX_set_min_proto_version(ctx, v12 ? TLS1_2_VERSION : TLS1_3_VERSION);
    SSL_CTX_set_max_proto_version(ctx, v13 ? TLS1_3_VERSION : TLS1_2_VERSION);
    return 0;
}

// One list for both: names that begin with TLS_ are suites of 1.3, the rest is for 1.2.
static int set_ciphers(SSL_CTX *ctx, const char *ciphers, struct why *why)
{
    size_t size = ciphers ? strlen(ciphers) + 2 : 1;
    char *suites = xcalloc(1, size), *older = xcalloc(1, size);
    bool ok = true;

    for (const char *at = ciphers; at && *at;) {
        size_t len = strcspn(at, ":, ");
        char *list = strncmp(at, "TLS_", 4) == 0 ? suites : older;

        if (len > 0 && list[0])
            strcat(list, ":");
        strncat(list, at, len);
        at += len + (at[len] != '\0');
    }
    if (suites[0])
        ok = SSL_CTX_set_ciphersuites(ctx, suites) == 1;
    if (older[0] && ok)
        ok = SSL_CTX_set_cipher_list(ctx, older) == 1;
    free(suites);
    free(older);
    if (ok)
        return 0;
    why_set(why, "ciphers '%s': OpenSSL does not know them (see `openssl ciphers -s -v`)", ciphers);
    return ERR_INVALID;
}

static int load_files(SSL_CTX *ctx, const struct net_tls_opts *o, const struct password *password,
                      struct why *why)
{
    ERR_clear_error();
    if (o->cert_file && SSL_CTX_use_certificate_chain_file(ctx, o->cert_file) != 1) {
        why_set(why, "certFile %s: %s", o->cert_file, reason());
        return ERR_IO;
    }
    if (o->key_file && SSL_CTX_use_PrivateKey_file(ctx, o->key_file, SSL_FILETYPE_PEM) != 1) {
        if (password->is_asked)
            why_set(why, "privateKeyFile %s is locked, and %s", o->key_file,
                    o->password ? "its password is not the one given" : "no password is given");
        else
            why_set(why, "privateKeyFile %s: %s", o->key_file, reason());
        return ERR_IO;
    }
    if (o->cert_file && o->key_file && SSL_CTX_check_private_key(ctx) != 1) {
        why_set(why, "privateKeyFile %s does not belong to certFile %s", o->key_file, o->cert_file);
        return ERR_INVALID;
    }
    if (o->ca_file && SSL_CTX_load_verify_locations(ctx, o->ca_file, NULL) != 1) {
        why_set(why, "caCertFile %s: %s", o->ca_file, reason());
        return ERR_IO;
    }
    if (!o->ca_file && !o->is_server)
        SSL_CTX_set_default_verify_paths(ctx);
    return 0;
}

// What the client offers first and a web server may speak.
static int pick_http(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                     const unsigned char *in, unsigned in_len, void *user)
{
    static const unsigned char known[] = "\x08http/1.1\x02h2";

    (void)ssl;
    (void)user;
    // In the order of `in`, which is the client's.
    return SSL_select_next_proto((unsigned char **)(uintptr_t)out, out_len, in, in_len, known,
                                 sizeof(known) - 1) == OPENSSL_NPN_NEGOTIATED
               ? SSL_TLSEXT_ERR_OK
               : SSL_TLSEXT_ERR_NOACK;
}

void tls_offer(SSL *ssl, const char *alpn)
{
    unsigned char wire[256];
    size_t len = alpn ? strlen(alpn) : 0;

    if (len == 0 || len > 255)
        return;
    wire[0] = (unsigned char)len;
    memcpy(wire + 1, alpn, len);
    SSL_set_alpn_protos(ssl, wire, (unsigned)len + 1);
}

static void set_server(SSL_CTX *ctx, const struct net_tls_opts *o)
{
    static const unsigned char session_id[] = "skrouterd";

    SSL_CTX_set_session_id_context(ctx, session_id, sizeof(session_id) - 1);
    SSL_CTX_set_num_tickets(ctx, 0);
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_CIPHER_SERVER_PREFERENCE);
    if (o->ca_file)
        SSL_CTX_set_client_CA_list(ctx, SSL_load_client_CA_file(o->ca_file));
    if (o->offer_http)
        SSL_CTX_set_alpn_select_cb(ctx, pick_http, NULL);
}

int net_tls_new(const struct net_tls_opts *o, struct net_tls **out, struct why *why)
{
    struct net_tls *t = xcalloc(1, sizeof(*t));
    struct password password = {o->password, false};
    int err = ERR_INVALID, verify = SSL_VERIFY_PEER;

    ERR_clear_error();
    t->refs = 1;
    t->is_server = o->is_server;
    t->name = xstrdup(o->name);
    t->ctx = SSL_CTX_new_ex(o->is_bulk ? gcm_library_context() : NULL, GCM_QUERY,
                            o->is_server ? TLS_server_method() : TLS_client_method());
    if (!t->ctx)
        abort(); // no memory
    SSL_CTX_set_mode(t->ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                 SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_options(t->ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_session_cache_mode(t->ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_read_ahead(t->ctx, 1);
    SSL_CTX_set_default_passwd_cb(t->ctx, read_password);
    SSL_CTX_set_default_passwd_cb_userdata(t->ctx, &password);
    if (o->is_server)
        verify =
            o->require_peer ? SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT : SSL_VERIFY_NONE;
    SSL_CTX_set_verify(t->ctx, verify, remember_refused);
    if (o->is_server)
        SSL_CTX_set_max_cert_list(t->ctx, HANDSHAKE_BYTES_MAX);
    if (o->is_server)
        set_server(t->ctx, o);
    if (o->is_server && (!o->cert_file || !o->key_file))
        why_set(why, "a listener's sslProfile needs certFile and privateKeyFile");
    else if (o->is_server && o->require_peer && !o->ca_file)
        why_set(why, "a listener that demands certificates needs caCertFile to check them");
    else if (!o->cert_file != !o->key_file)
        why_set(why, "certFile and privateKeyFile are needed both, or neither");
    else
        err = load_files(t->ctx, o, &password, why);
    if (err == 0)
        err = set_protocols(t->ctx, o->protocols, why);
    if (err == 0)
        err = set_ciphers(t->ctx, o->ciphers, why);
    SSL_CTX_set_default_passwd_cb_userdata(t->ctx, NULL);
    ERR_clear_error();
    if (err < 0) {
        why_prefix(why, "sslProfile '%s'", o->name);
        net_tls_unref(t);
        return err;
    }
    *out = t;
    return 0;
}

void net_tls_swap(struct net_tls *a, struct net_tls *b)
{
    SSL_CTX *ctx = a->ctx;

    a->ctx = b->ctx;
    b->ctx = ctx;
}

struct net_tls *net_tls_ref(struct net_tls *t)
{
    if (t)
        __atomic_add_fetch(&t->refs, 1, __ATOMIC_RELAXED);
    return t;
}

void net_tls_unref(struct net_tls *t)
{
    if (!t || __atomic_sub_fetch(&t->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    SSL_CTX_free(t->ctx);
    free(t->name);
    free(t);
}
