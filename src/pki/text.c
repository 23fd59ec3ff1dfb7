// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/mem.h"
#include "pki/inside.h"

// PEM text and what is inside. Where to read on in this folder:
//
//   make.c    certificates made; the profile of all of them is in one place there
//   look.c    what a certificate says; hosts.c compares whom it is for
//   check.c   whether a peer would accept it, and the words when not
//   chance.c  codes and UUIDs

const char *openssl_reason(void)
{
    unsigned long error = ERR_peek_last_error();
    const char *reason = error ? ERR_reason_error_string(error) : NULL;

    ERR_clear_error();
    return reason ? reason : "no reason given";
}

// Never asks a terminal.
static int no_password(char *buf, int size, int rwflag, void *user)
{
    (void)buf;
    (void)size;
    (void)rwflag;
    (void)user;
    return -1;
}

static BIO *open_text(struct str text, const char *what, struct why *why)
{
    BIO *bio;

    ERR_clear_error();
    if (text.len == 0 || text.len > PKI_TEXT_MAX) {
        why_set(why, "%s is %s", what, text.len == 0 ? "empty" : "larger than 1 MiB");
        return NULL;
    }
    bio = BIO_new_mem_buf(text.ptr, (int)text.len);
    if (!bio)
        abort(); // no memory
    return bio;
}

X509 *read_cert(struct str text, const char *what, struct why *why)
{
    BIO *bio = open_text(text, what, why);
    X509 *cert = bio ? PEM_read_bio_X509(bio, NULL, no_password, NULL) : NULL;

    if (bio && !cert)
        why_set(why, "%s holds no certificate that can be read: %s", what, openssl_reason());
    BIO_free(bio);
    return cert;
}

EVP_PKEY *read_key(struct str text, const char *what, struct why *why)
{
    BIO *bio = open_text(text, what, why);
    EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL) : NULL;

    if (bio && !key)
        why_set(why, "%s holds no private key that can be read without a password: %s", what,
                openssl_reason());
    BIO_free(bio);
    return key;
}

STACK_OF(X509) * read_certs(struct str text, const char *what, struct why *why)
{
    BIO *bio = open_text(text, what, why);
    STACK_OF(X509) *certs = bio ? sk_X509_new_null() : NULL;
    X509 *cert;

    while (certs && (cert = PEM_read_bio_X509(bio, NULL, no_password, NULL)) != NULL)
        sk_X509_push(certs, cert);
    if (certs && sk_X509_num(certs) == 0) {
        why_set(why, "%s holds no certificate that can be read: %s", what, openssl_reason());
        sk_X509_free(certs);
        certs = NULL;
    }
    ERR_clear_error();
    BIO_free(bio);
    return certs;
}

// What has been written to it, as text; the BIO wipes its own when it goes.
static char *close_text(BIO *bio, int ok)
{
    char *data, *text;
    long len = BIO_get_mem_data(bio, &data);

    if (!ok)
        abort(); // no memory
    text = str_dup((struct str){data, (size_t)len});
    BIO_free(bio);
    return text;
}

char *write_cert(X509 *cert)
{
    BIO *bio = BIO_new(BIO_s_mem());

    return close_text(bio, bio && PEM_write_bio_X509(bio, cert));
}

char *write_key(EVP_PKEY *key)
{
    BIO *bio = BIO_new(BIO_s_mem());

    return close_text(
        bio, bio && PEM_write_bio_PrivateKey_traditional(bio, key, NULL, NULL, 0, NULL, NULL));
}

void pki_wipe(char *text)
{
    if (text)
        OPENSSL_cleanse(text, strlen(text));
    free(text);
}

void pki_pair_fini(struct pki_pair *p)
{
    free(p->cert);
    pki_wipe(p->key);
    *p = (struct pki_pair){0};
}

void name_text(const X509_NAME *name, char *out, size_t size)
{
    int at = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
    const X509_NAME_ENTRY *entry = at >= 0 ? X509_NAME_get_entry(name, at) : NULL;
    unsigned char *utf8 = NULL;
    BIO *bio;
    int len;

    out[0] = '\0';
    if (entry) {
        len = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(entry));
        if (len >= 0)
            snprintf(out, size, "%.*s", len, (const char *)utf8);
        OPENSSL_free(utf8);
        return;
    }
    bio = BIO_new(BIO_s_mem());
    if (bio && X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253) >= 0) {
        len = BIO_read(bio, out, (int)size - 1);
        out[len > 0 ? len : 0] = '\0';
    }
    BIO_free(bio);
}

int64_t time_value(const ASN1_TIME *t)
{
    struct tm tm;

    return t && ASN1_TIME_to_tm(t, &tm) ? (int64_t)timegm(&tm) : INT64_MIN;
}

const char *time_text(int64_t t, char out[TIME_TEXT])
{
    time_t seconds = (time_t)t;
    struct tm tm;

    if (!gmtime_r(&seconds, &tm) || strftime(out, TIME_TEXT, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
        snprintf(out, TIME_TEXT, "%lld", (long long)t);
    return out;
}
