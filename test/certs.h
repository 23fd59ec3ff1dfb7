// SPDX-License-Identifier: Apache-2.0
// Certificates for tests, made on the spot in a temporary directory that goes away with it.
//
//     struct certs c;
//     certs_begin(&c);                       // a CA in ca.crt
//     certs_make(&c, "server", &(struct cert_opts){.san = "DNS:localhost,IP:127.0.0.1"});
//     certs_path(&c, "server.crt")           // and server.key
//     certs_end(&c);
#pragma once

#include <dirent.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <unistd.h>

#include "check.h"

struct certs {
    char dir[64];
    int serial;
    EVP_PKEY *ca_key;
    X509 *ca;
};

struct cert_opts {
    const char *san;         // "DNS:…,IP:…"; NULL: none
    const char *password;    // encrypts the key
    long from_days, to_days; // of validity, from now; 0, 0: from yesterday to tomorrow
    bool is_rsa;             // else a P-256 key
    int padding;             // bytes of comment that make it large
};

// Good until eight more have been asked for.
static inline const char *certs_path(struct certs *c, const char *file)
{
    static char paths[8][320];
    static int next;
    char *path = paths[next++ % 8];

    snprintf(path, sizeof(paths[0]), "%.60s/%s", c->dir, file);
    return path;
}

static inline void certs_extension(struct certs *c, X509 *cert, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509_EXTENSION *ext;

    X509V3_set_ctx(&ctx, c->ca ? c->ca : cert, cert, NULL, NULL, 0);
    ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    CHECK(ext);
    X509_add_ext(cert, ext, -1);
    X509_EXTENSION_free(ext);
}

static inline X509 *certs_sign(struct certs *c, EVP_PKEY *key, const char *name,
                               const struct cert_opts *o)
{
    X509 *cert = X509_new();
    X509_NAME *subject = X509_get_subject_name(cert);
    bool usual = o->from_days == 0 && o->to_days == 0;

    X509_set_version(cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), ++c->serial);
    X509_gmtime_adj(X509_getm_notBefore(cert), (usual ? -1 : o->from_days) * 86400L);
    X509_gmtime_adj(X509_getm_notAfter(cert), (usual ? 1 : o->to_days) * 86400L);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(cert, c->ca ? X509_get_subject_name(c->ca) : subject);
    X509_set_pubkey(cert, key);
    if (!c->ca)
        certs_extension(c, cert, NID_basic_constraints, "critical,CA:TRUE");
    if (o->san)
        certs_extension(c, cert, NID_subject_alt_name, o->san);
    if (o->padding > 0) {
        char *text = calloc(1, (size_t)o->padding + 1);

        memset(text, 'x', (size_t)o->padding);
        certs_extension(c, cert, NID_netscape_comment, text);
        free(text);
    }
    CHECK(X509_sign(cert, c->ca_key ? c->ca_key : key, EVP_sha256()) > 0);
    return cert;
}

static inline void certs_write(struct certs *c, const char *name, X509 *cert, EVP_PKEY *key,
                               const char *password)
{
    char file[64];
    FILE *f;

    snprintf(file, sizeof(file), "%s.crt", name);
    f = fopen(certs_path(c, file), "we");
    CHECK(f && PEM_write_X509(f, cert) == 1);
    fclose(f);
    snprintf(file, sizeof(file), "%s.key", name);
    f = fopen(certs_path(c, file), "we");
    CHECK(f && PEM_write_PKCS8PrivateKey(f, key, password ? EVP_aes_128_cbc() : NULL, NULL, 0, NULL,
                                         (void *)(uintptr_t)password) == 1);
    fclose(f);
}

static inline EVP_PKEY *certs_key(bool is_rsa)
{
    EVP_PKEY *key = is_rsa ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256");

    CHECK(key);
    return key;
}

// A certificate of the CA for `name`, with its key.
static inline void certs_make(struct certs *c, const char *name, const struct cert_opts *o)
{
    EVP_PKEY *key = certs_key(o->is_rsa);
    X509 *cert = certs_sign(c, key, name, o);

    certs_write(c, name, cert, key, o->password);
    X509_free(cert);
    EVP_PKEY_free(key);
}

// A directory and a CA in it, ca.crt.
static inline void certs_begin(struct certs *c)
{
    EVP_PKEY *key = certs_key(false);
    X509 *ca;

    *c = (struct certs){.dir = "/tmp/skupper-certs-XXXXXX"};
    CHECK(mkdtemp(c->dir));
    ca = certs_sign(c, key, "test CA", &(struct cert_opts){0});
    certs_write(c, "ca", ca, key, NULL);
    c->ca = ca;
    c->ca_key = key;
}

static inline void certs_end(struct certs *c)
{
    DIR *dir = opendir(c->dir);
    struct dirent *entry;

    while (dir && (entry = readdir(dir)) != NULL)
        if (entry->d_name[0] != '.')
            unlink(certs_path(c, entry->d_name));
    closedir(dir);
    rmdir(c->dir);
    X509_free(c->ca);
    EVP_PKEY_free(c->ca_key);
}
