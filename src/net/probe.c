// SPDX-License-Identifier: Apache-2.0
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "base/mem.h"
#include "base/str.h"
#include "net/inside.h"

static_assert(sizeof((struct net_found){0}.address) == sizeof(struct sockaddr_storage),
              "any address");

struct net_probe {
    int fd;
    uint32_t timeout_ms;
    SSL_CTX *ctx; // NULL: no TLS yet
    SSL *ssl;
    bool is_asked;
};

// ---------------------------------------------------------------------------------- name and route

static const struct sockaddr *as_address(const struct net_found *p)
{
    return (const struct sockaddr *)(const void *)p->address;
}

static void place_text(struct net_found *p)
{
    if (getnameinfo(as_address(p), p->len, p->text, sizeof(p->text), NULL, 0, NI_NUMERICHOST) != 0)
        snprintf(p->text, sizeof(p->text), "?");
}

int net_probe_resolve(const char *host, const char *port, struct net_found **out, struct why *why)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG}, *found;
    int count = 0, error = getaddrinfo(host, port, &hints, &found);

    if (error != 0) { // a machine with loopback addresses only
        hints.ai_flags = 0;
        error = getaddrinfo(host, port, &hints, &found);
    }
    if (error != 0) {
        why_set(why, "%s", error == EAI_SYSTEM ? strerror(errno) : gai_strerror(error));
        return ERR_NOT_FOUND;
    }
    *out = NULL;
    for (const struct addrinfo *a = found; a; a = a->ai_next) {
        *out = xrealloc(*out, (size_t)count + 1, sizeof(**out));
        (*out)[count] = (struct net_found){.len = a->ai_addrlen};
        memcpy((*out)[count].address, a->ai_addr, a->ai_addrlen);
        place_text(&(*out)[count]);
        count++;
    }
    freeaddrinfo(found);
    return count;
}

int net_probe_route(const struct net_found *place, char source[48], struct why *why)
{
    struct net_found here = {.len = sizeof(here.address)};
    // Connecting a datagram socket sends nothing, but asks the routing table.
    int fd = socket(as_address(place)->sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool ok = fd >= 0 && connect(fd, as_address(place), place->len) == 0 &&
              getsockname(fd, (struct sockaddr *)(void *)here.address, &here.len) == 0;

    if (ok) {
        place_text(&here);
        memcpy(source, here.text, sizeof(here.text));
    } else {
        why_set(why, "%s", strerror(errno));
    }
    if (fd >= 0)
        close(fd);
    return ok ? 0 : ERR_NOT_FOUND;
}

// ------------------------------------------------------------------------------------------- port

// False when the time is up.
static bool await(int fd, short events, struct mono until)
{
    for (;;) {
        struct pollfd p = {.fd = fd, .events = events};
        int64_t left = mono_ms_between(mono_now(), until);
        int n = poll(&p, 1, left > 0 ? (int)left : 0);

        if (n > 0 || (n == 0 && left <= 0))
            return n > 0;
    }
}

static int connect_error(int error, struct why *why)
{
    why_set(why, "%s", strerror(error));
    switch (error) {
    case ECONNREFUSED:
    case ECONNRESET:
        return ERR_CLOSED;
    case ETIMEDOUT:
        return ERR_AGAIN;
    case ENETUNREACH:
    case EHOSTUNREACH:
        return ERR_NOT_FOUND;
    default:
        return ERR_IO;
    }
}

int net_probe_connect(const struct net_found *place, uint32_t timeout_ms, struct net_probe **out,
                      struct why *why)
{
    int error = 0;
    socklen_t len = sizeof(error);
    int fd = socket(as_address(place)->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return connect_error(errno, why);
    if (connect(fd, as_address(place), place->len) != 0)
        error = errno;
    if (error == EINPROGRESS) {
        if (!await(fd, POLLOUT, mono_add_ms(mono_now(), timeout_ms)))
            error = ETIMEDOUT;
        else if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
            error = errno;
    }
    if (error != 0) {
        close(fd);
        return connect_error(error, why);
    }
    *out = xcalloc(1, sizeof(**out));
    **out = (struct net_probe){.fd = fd, .timeout_ms = timeout_ms};
    return 0;
}

void net_probe_free(struct net_probe *p)
{
    if (!p)
        return;
    SSL_free(p->ssl);
    SSL_CTX_free(p->ctx);
    close(p->fd);
    free(p);
}

// ----------------------------------------------------------------------------------------- tunnel

static int tell_proxy(struct net_probe *p, const struct tunnel *t, struct mono until,
                      struct why *why)
{
    size_t sent = 0;

    while (sent < t->request_len) {
        ssize_t n = send(p->fd, t->request + sent, t->request_len - sent, MSG_NOSIGNAL);

        if (n > 0)
            sent += (size_t)n;
        else if (errno != EAGAIN || !await(p->fd, POLLOUT, until)) {
            tunnel_cut(t, why);
            return ERR_CLOSED;
        }
    }
    return 0;
}

static int hear_proxy(struct net_probe *p, struct tunnel *t, struct mono until, struct why *why)
{
    int result = ERR_AGAIN;

    while (result == ERR_AGAIN) {
        uint8_t data[2048];
        ssize_t n;

        if (!await(p->fd, POLLIN, until)) {
            tunnel_late(t, why);
            return ERR_AGAIN;
        }
        n = recv(p->fd, data, sizeof(data), MSG_PEEK);
        if (n > 0)
            n = recv(p->fd, data, tunnel_feed(t, data, (size_t)n, &result, why), 0);
        if (n <= 0) {
            tunnel_cut(t, why);
            return ERR_CLOSED;
        }
    }
    return result;
}

int net_probe_tunnel(struct net_probe *p, const struct net_proxy_opts *opts, const char *host,
                     const char *port, struct why *why)
{
    struct mono until = mono_add_ms(mono_now(), p->timeout_ms);
    struct net_proxy *proxy = NULL;
    struct tunnel t = {0};
    int err = net_proxy_new(opts, &proxy, why);

    if (!err)
        err = tunnel_init(&t, proxy, host, port, why);
    if (!err)
        err = tell_proxy(p, &t, until, why);
    if (!err)
        err = hear_proxy(p, &t, until, why);
    tunnel_fini(&t);
    net_proxy_unref(proxy);
    return err;
}

// -------------------------------------------------------------------------------------------- TLS

static int asked(SSL *ssl, void *user)
{
    struct net_probe *p = user;

    (void)ssl;
    p->is_asked = true;
    return 1;
}

static bool show(SSL_CTX *ctx, const char *cert_text, const char *key_text)
{
    BIO *in = BIO_new_mem_buf(cert_text, -1), *key_in = BIO_new_mem_buf(key_text, -1);
    X509 *cert = in ? PEM_read_bio_X509(in, NULL, NULL, NULL) : NULL, *more;
    EVP_PKEY *key = key_in ? PEM_read_bio_PrivateKey(key_in, NULL, NULL, NULL) : NULL;
    bool ok = cert && key && SSL_CTX_use_certificate(ctx, cert) == 1 &&
              SSL_CTX_use_PrivateKey(ctx, key) == 1;

    while (ok && (more = PEM_read_bio_X509(in, NULL, NULL, NULL)) != NULL)
        if (SSL_CTX_add_extra_chain_cert(ctx, more) != 1)
            X509_free(more);
    ERR_clear_error();
    X509_free(cert);
    EVP_PKEY_free(key);
    BIO_free(in);
    BIO_free(key_in);
    return ok;
}

// What became of a call that did not do: 0 when it is worth to try again.
static int wait_more(struct net_probe *p, int result, struct mono until, struct why *why)
{
    int code = SSL_get_error(p->ssl, result);
    unsigned long error = ERR_peek_error();
    int reason = ERR_GET_REASON(error);

    if (code == SSL_ERROR_WANT_READ || code == SSL_ERROR_WANT_WRITE) {
        if (await(p->fd, code == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT, until))
            return 0;
        why_set(why, "no answer in time");
        return ERR_AGAIN;
    }
    why_set(why, "%s",
            error && reason != SSL_R_UNEXPECTED_EOF_WHILE_READING
                ? tls_words(error)
                : "the peer ended the connection without a word");
    ERR_clear_error();
    if (code == SSL_ERROR_SSL &&
        (reason == SSL_R_WRONG_VERSION_NUMBER || reason == SSL_R_HTTP_REQUEST ||
         reason == SSL_R_PACKET_LENGTH_TOO_LONG))
        return ERR_DECODE;
    return ERR_CLOSED;
}

int net_probe_tls(struct net_probe *p, const struct net_probe_tls *opts, struct why *why)
{
    struct mono until = mono_add_ms(mono_now(), p->timeout_ms);
    int result, err;

    p->ctx = SSL_CTX_new(TLS_client_method());
    if (!p->ctx)
        abort(); // no memory
    if (opts->cert && opts->key && !show(p->ctx, opts->cert, opts->key)) {
        why_set(why, "the certificate or the key cannot be read, or they do not belong together");
        return ERR_INVALID;
    }
    SSL_CTX_set_verify(p->ctx, SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_cert_cb(p->ctx, asked, p);
    p->ssl = SSL_new(p->ctx);
    if (!p->ssl || SSL_set_fd(p->ssl, p->fd) != 1)
        abort(); // no memory
    if (opts->host)
        tls_expect_host(p->ssl, opts->host);
    while ((result = SSL_connect(p->ssl)) != 1) {
        err = wait_more(p, result, until, why);
        if (err < 0)
            return err;
    }
    return 0;
}

const char *net_probe_protocol(const struct net_probe *p)
{
    return SSL_get_version(p->ssl);
}

char *net_probe_chain(const struct net_probe *p)
{
    STACK_OF(X509) *chain = SSL_get_peer_cert_chain(p->ssl);
    BIO *out = BIO_new(BIO_s_mem());
    char *data, *text;
    long len;

    if (!out)
        abort(); // no memory
    for (int i = 0; i < sk_X509_num(chain); i++)
        PEM_write_bio_X509(out, sk_X509_value(chain, i));
    len = BIO_get_mem_data(out, &data);
    text = len > 0 ? str_dup((struct str){data, (size_t)len}) : NULL;
    BIO_free(out);
    return text;
}

bool net_probe_is_asked(const struct net_probe *p)
{
    return p->is_asked;
}

int net_probe_write(struct net_probe *p, const void *data, size_t len, struct why *why)
{
    struct mono until = mono_add_ms(mono_now(), p->timeout_ms);
    size_t written;
    int result, err;

    // All or nothing, unless partial writes are asked for.
    while ((result = SSL_write_ex(p->ssl, data, len, &written)) != 1) {
        err = wait_more(p, result, until, why);
        if (err < 0)
            return err;
    }
    return 0;
}

int net_probe_read(struct net_probe *p, void *data, size_t max, uint32_t timeout_ms,
                   struct why *why)
{
    struct mono until = mono_add_ms(mono_now(), timeout_ms);
    int n, err;

    while ((n = SSL_read(p->ssl, data, (int)max)) <= 0) {
        err = wait_more(p, n, until, why);
        if (err < 0)
            return err;
    }
    return n;
}
