// SPDX-License-Identifier: Apache-2.0
#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/mem.h"
#include "pki/inside.h"

// Certificates of one profile, so that those of ours and of others cannot be told apart.

// OpenSSL fails here for lack of memory or of entropy only.
static void must(int ok)
{
    if (ok <= 0)
        abort();
}

// -------------------------------------------------------------------------------------- checking

static bool is_printable_utf8(const char *text)
{
    int left = (int)strlen(text);

    while (left > 0) {
        unsigned long value;
        int len = UTF8_getc((const unsigned char *)text, left, &value);

        if (len <= 0 || value < 0x20 || value == 0x7f)
            return false;
        text += len;
        left -= len;
    }
    return true;
}

static int check_host(struct str host, struct why *why)
{
    static const char others[] = "._-:*";

    if (host.len >= PKI_HOST_MAX) {
        why_set(why, "a host of %zu characters; a name has at most 253", host.len);
        return ERR_LIMIT;
    }
    for (size_t i = 0; i < host.len; i++) {
        char c = host.ptr[i];

        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
            (c && strchr(others, c)))
            continue;
        why_set(why, "host '%.*s': neither a DNS name nor an address", STR_ARG(host));
        return ERR_INVALID;
    }
    return 0;
}

static int check_wish(const struct pki_wish *w, struct why *why)
{
    if (!w->name || !w->name[0] || !is_printable_utf8(w->name)) {
        why_set(why, "a certificate needs a name of printable text");
        return ERR_INVALID;
    }
    if (strlen(w->name) >= PKI_NAME_MAX || w->host_count > PKI_HOSTS_MAX) {
        why_set(why, "a certificate's name has at most 255 bytes, and it is for at most 256 hosts");
        return ERR_LIMIT;
    }
    if (w->not_before >= w->not_after) {
        why_set(why, "the certificate '%s' would end before it begins", w->name);
        return ERR_INVALID;
    }
    for (size_t i = 0; i < w->host_count; i++) {
        int err = check_host(host_trimmed(w->hosts[i]), why);

        if (err < 0)
            return err;
    }
    return 0;
}

// --------------------------------------------------------------------------------------- profile

static void add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509_EXTENSION *extension;

    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    must(extension != NULL);
    must(X509_add_ext(cert, extension, -1));
    X509_EXTENSION_free(extension);
}

static void add_name(GENERAL_NAMES *names, int type, const void *data, size_t len)
{
    GENERAL_NAME *name = GENERAL_NAME_new();
    ASN1_STRING *value = type == GEN_IPADD ? ASN1_OCTET_STRING_new() : ASN1_IA5STRING_new();

    must(name && value && ASN1_STRING_set(value, data, (int)len));
    GENERAL_NAME_set0_value(name, type, value);
    must(sk_GENERAL_NAME_push(names, name));
}

static bool has_before(const struct pki_wish *w, size_t index)
{
    struct str host = host_trimmed(w->hosts[index]);

    for (size_t i = 0; i < index; i++)
        if (str_eq(host_trimmed(w->hosts[i]), host))
            return true;
    return false;
}

static void add_hosts(X509 *cert, const struct pki_wish *w)
{
    GENERAL_NAMES *names = GENERAL_NAMES_new();

    must(names != NULL);
    for (size_t i = 0; i < w->host_count; i++) {
        struct str host = host_trimmed(w->hosts[i]);
        uint8_t address[16];
        size_t len = host_address(host, address);

        if (host.len == 0 || has_before(w, i))
            continue;
        add_name(names, GEN_DNS, host.ptr, host.len);
        if (len > 0)
            add_name(names, GEN_IPADD, address, len);
    }
    if (sk_GENERAL_NAME_num(names) > 0)
        must(X509_add1_ext_i2d(cert, NID_subject_alt_name, names, 0, X509V3_ADD_DEFAULT));
    GENERAL_NAMES_free(names);
}

static void set_serial(X509 *cert)
{
    BIGNUM *serial = BN_new();

    must(serial && BN_rand(serial, 128, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY));
    must(BN_to_ASN1_INTEGER(serial, X509_get_serialNumber(cert)) != NULL);
    BN_free(serial);
}

// `ca` NULL: one that signs itself.
static X509 *make(const struct pki_wish *w, EVP_PKEY *key, X509 *ca, int64_t not_before,
                  int64_t not_after)
{
    X509 *cert = X509_new();
    X509_NAME *subject;

    must(cert != NULL);
    must(X509_set_version(cert, X509_VERSION_3));
    set_serial(cert);
    must(ASN1_TIME_set(X509_getm_notBefore(cert), (time_t)not_before) != NULL);
    must(ASN1_TIME_set(X509_getm_notAfter(cert), (time_t)not_after) != NULL);
    subject = X509_get_subject_name(cert);
    must(X509_NAME_add_entry_by_NID(subject, NID_commonName, V_ASN1_UTF8STRING,
                                    (const unsigned char *)w->name, (int)strlen(w->name), -1, 0));
    must(X509_set_issuer_name(cert, ca ? X509_get_subject_name(ca) : subject));
    must(X509_set_pubkey(cert, key));
    add_extension(cert, ca, NID_key_usage,
                  ca ? "critical,digitalSignature,keyEncipherment"
                     : "critical,digitalSignature,keyEncipherment,keyCertSign");
    add_extension(cert, ca, NID_ext_key_usage, "serverAuth,clientAuth");
    add_extension(cert, ca, NID_basic_constraints, ca ? "critical,CA:FALSE" : "critical,CA:TRUE");
    if (!ca)
        add_extension(cert, cert, NID_subject_key_identifier, "hash");
    else if (X509_get0_subject_key_id(ca)) // tells CAs of one name from each other
        add_extension(cert, ca, NID_authority_key_identifier, "keyid:always");
    add_hosts(cert, w);
    return cert;
}

static EVP_PKEY *make_key(enum pki_key kind)
{
    EVP_PKEY *key = kind == PKI_RSA ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256");

    must(key != NULL);
    return key;
}

static void finish(X509 *cert, EVP_PKEY *signer, EVP_PKEY *key, struct pki_pair *out)
{
    must(X509_sign(cert, signer, EVP_sha256()));
    *out = (struct pki_pair){write_cert(cert), write_key(key)};
}

int pki_make_ca(const struct pki_wish *w, struct pki_pair *out, struct why *why)
{
    int err = check_wish(w, why);
    EVP_PKEY *key;
    X509 *cert;

    if (err < 0)
        return err;
    key = make_key(w->key);
    cert = make(w, key, NULL, w->not_before, w->not_after);
    finish(cert, key, key, out);
    X509_free(cert);
    EVP_PKEY_free(key);
    return 0;
}

struct making {
    const struct pki_wish *wish;
    struct pki_pair *out;
    struct why why;
    int err;
};

static void *make_one(void *arg)
{
    struct making *m = arg;

    m->err = pki_make_ca(m->wish, m->out, &m->why);
    return NULL;
}

int pki_make_cas(const struct pki_wish *wishes, size_t count, struct pki_pair *out, struct why *why)
{
    struct making making[PKI_CAS_MAX] = {0};
    pthread_t threads[PKI_CAS_MAX];
    bool is_apart[PKI_CAS_MAX] = {false};
    int err = count > PKI_CAS_MAX ? ERR_LIMIT : 0;

    for (size_t i = 0; !err && i < count; i++) {
        out[i] = (struct pki_pair){0};
        making[i] = (struct making){.wish = &wishes[i], .out = &out[i]};
        is_apart[i] = pthread_create(&threads[i], NULL, make_one, &making[i]) == 0;
        if (!is_apart[i])
            make_one(&making[i]);
    }
    for (size_t i = 0; i < count && i < PKI_CAS_MAX; i++) {
        if (is_apart[i])
            pthread_join(threads[i], NULL);
        if (making[i].err < 0 && !err) {
            err = making[i].err;
            why_set(why, "%s", making[i].why.text);
        }
    }
    for (size_t i = 0; err < 0 && i < count && i < PKI_CAS_MAX; i++)
        pki_pair_fini(&out[i]);
    return err;
}

// --------------------------------------------------------------------------------------- of a CA

static int check_signer(X509 *ca, EVP_PKEY *key, struct why *why)
{
    char name[PKI_NAME_MAX];

    name_text(X509_get_subject_name(ca), name, sizeof(name));
    if (X509_check_ca(ca) == 0)
        why_set(why, "the certificate '%s' is not one of a CA", name);
    else if (X509_check_private_key(ca, key) != 1)
        why_set(why, "the key of the CA '%s' does not belong to its certificate", name);
    else
        return 0;
    ERR_clear_error();
    return ERR_INVALID;
}

static int check_ca(X509 *ca, EVP_PKEY *key, const struct pki_wish *w, struct why *why)
{
    char name[PKI_NAME_MAX], when[TIME_TEXT];
    int64_t begins = time_value(X509_get0_notBefore(ca)), ends = time_value(X509_get0_notAfter(ca));
    int err = check_signer(ca, key, why);

    if (err < 0)
        return err;
    name_text(X509_get_subject_name(ca), name, sizeof(name));
    if (w->not_after <= begins)
        why_set(why, "the CA '%s' is valid from %s on only; is the clock right?", name,
                time_text(begins, when));
    else if (w->not_before >= ends)
        why_set(why, "the CA '%s' has ended at %s; it signs nothing more", name,
                time_text(ends, when));
    else
        return 0;
    return ERR_INVALID;
}

static void make_of(const struct pki_wish *w, X509 *ca, EVP_PKEY *ca_key, struct pki_pair *out)
{
    int64_t begins = time_value(X509_get0_notBefore(ca)), ends = time_value(X509_get0_notAfter(ca));
    EVP_PKEY *key = make_key(w->key);
    X509 *cert = make(w, key, ca, w->not_before > begins ? w->not_before : begins,
                      w->not_after < ends ? w->not_after : ends);

    finish(cert, ca_key, key, out);
    X509_free(cert);
    EVP_PKEY_free(key);
}

int pki_make_leaf(const struct pki_wish *w, struct str ca_cert, struct str ca_key,
                  struct pki_pair *out, struct why *why)
{
    int err = check_wish(w, why);
    X509 *ca = err == 0 ? read_cert(ca_cert, "the CA's certificate", why) : NULL;
    EVP_PKEY *key = ca ? read_key(ca_key, "the CA's key", why) : NULL;

    if (err == 0 && !key)
        err = ERR_DECODE;
    if (err == 0)
        err = check_ca(ca, key, w, why);
    if (err == 0)
        make_of(w, ca, key, out);
    X509_free(ca);
    EVP_PKEY_free(key);
    return err;
}

int pki_renew_ca(struct str ca_cert, struct str ca_key, int64_t not_before, int64_t not_after,
                 char **cert, struct why *why)
{
    X509 *ca = read_cert(ca_cert, "the CA's certificate", why), *longer = NULL;
    EVP_PKEY *key = ca ? read_key(ca_key, "the CA's key", why) : NULL;
    int err = key ? check_signer(ca, key, why) : ERR_DECODE;

    if (!err && not_before >= not_after) {
        why_set(why, "the CA would end before it begins");
        err = ERR_INVALID;
    }
    if (!err) {
        longer = X509_dup(ca);
        must(longer != NULL);
        set_serial(longer);
        must(ASN1_TIME_set(X509_getm_notBefore(longer), (time_t)not_before) != NULL);
        must(ASN1_TIME_set(X509_getm_notAfter(longer), (time_t)not_after) != NULL);
        must(X509_sign(longer, key, EVP_sha256()));
        *cert = write_cert(longer);
    }
    X509_free(longer);
    X509_free(ca);
    EVP_PKEY_free(key);
    return err;
}
