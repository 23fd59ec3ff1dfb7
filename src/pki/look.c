// SPDX-License-Identifier: Apache-2.0
#include <ctype.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/rng.h"
#include "pki/inside.h"

static void read_serial(const X509 *cert, char *out, size_t size)
{
    BIGNUM *number = ASN1_INTEGER_to_BN(X509_get0_serialNumber(cert), NULL);
    char *text = number ? BN_bn2hex(number) : NULL;

    snprintf(out, size, "%s", text ? text : "");
    OPENSSL_free(text);
    BN_free(number);
}

static void write_digest(const unsigned char digest[32], char out[65])
{
    for (size_t i = 0; i < 32; i++)
        snprintf(out + 2 * i, 3, "%02x", digest[i]);
}

static void read_fingerprint(const X509 *cert, char out[65])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;

    if (!X509_digest(cert, EVP_sha256(), digest, &len) || len != 32)
        abort(); // no memory
    write_digest(digest, out);
}

void pki_digest(struct str text, char out[65])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;

    if (!EVP_Digest(text.ptr, text.len, digest, &len, EVP_sha256(), NULL) || len != 32)
        abort(); // no memory
    write_digest(digest, out);
}

static void describe_key(X509 *cert, char *out, size_t size)
{
    EVP_PKEY *key = X509_get0_pubkey(cert);
    char group[20] = "";

    if (key && EVP_PKEY_is_a(key, "RSA")) {
        snprintf(out, size, "RSA %d", EVP_PKEY_get_bits(key));
    } else if (key && EVP_PKEY_is_a(key, "EC")) {
        EVP_PKEY_get_utf8_string_param(key, OSSL_PKEY_PARAM_GROUP_NAME, group, sizeof(group), NULL);
        snprintf(out, size, "EC %s", strcmp(group, "prime256v1") == 0 ? "P-256" : group);
    } else {
        snprintf(out, size, "%.30s", key ? EVP_PKEY_get0_type_name(key) : "unreadable");
    }
}

// A name with blanks around it is nobody's: it would be another's without them.
static bool is_name(const unsigned char *data, size_t len)
{
    return len > 0 && len < PKI_HOST_MAX && !memchr(data, '\0', len) && !isspace(data[0]) &&
           !isspace(data[len - 1]);
}

void read_hosts(X509 *cert, struct host_set *set)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);

    for (int i = 0; i < sk_GENERAL_NAME_num(names) && set->count < (size_t)2 * PKI_HOSTS_MAX; i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        int type;
        const ASN1_STRING *value = GENERAL_NAME_get0_value(name, &type);
        const unsigned char *data = type == GEN_DNS || type == GEN_IPADD
                                        ? ASN1_STRING_get0_data(value)
                                        : (const unsigned char *)"";
        size_t len = type == GEN_DNS || type == GEN_IPADD ? (size_t)ASN1_STRING_length(value) : 0;

        if (type == GEN_DNS && is_name(data, len))
            hosts_add(set, (struct str){(const char *)data, len});
        else if (type == GEN_IPADD && (len == 4 || len == 16))
            hosts_add_address(set, data, len);
    }
    GENERAL_NAMES_free(names);
    hosts_sort(set);
}

int pki_inspect(struct str text, struct pki_info *out, struct why *why)
{
    X509 *cert = read_cert(text, "the text", why);
    struct host_set hosts = {0};
    struct pki_info i = {0};

    if (!cert)
        return ERR_DECODE;
    name_text(X509_get_subject_name(cert), i.name, sizeof(i.name));
    name_text(X509_get_issuer_name(cert), i.issuer, sizeof(i.issuer));
    read_serial(cert, i.serial, sizeof(i.serial));
    read_fingerprint(cert, i.fingerprint);
    describe_key(cert, i.key, sizeof(i.key));
    read_hosts(cert, &hosts);
    i.hosts = hosts.at;
    i.host_count = hosts.count;
    i.not_before = time_value(X509_get0_notBefore(cert));
    i.not_after = time_value(X509_get0_notAfter(cert));
    i.is_ca = X509_check_ca(cert) != 0;
    i.is_self_signed = X509_self_signed(cert, 0) == 1;
    X509_free(cert);
    ERR_clear_error();
    if (i.not_before == INT64_MIN || i.not_after == INT64_MIN) {
        why_set(why, "the certificate '%s' has a time that cannot be read", i.name);
        pki_info_fini(&i);
        return ERR_DECODE;
    }
    *out = i;
    return 0;
}

void pki_info_fini(struct pki_info *i)
{
    struct host_set hosts = {.at = i->hosts, .count = i->host_count};

    hosts_fini(&hosts);
    *i = (struct pki_info){0};
}

bool pki_has_hosts(const struct pki_info *i, const char *const *hosts, size_t host_count)
{
    struct host_set wanted = {0};
    bool same;

    for (size_t h = 0; h < host_count; h++) {
        struct str host = host_trimmed(hosts[h]);

        if (host.len > 0)
            hosts_add(&wanted, host);
    }
    hosts_sort(&wanted);
    same = wanted.count == i->host_count;
    for (size_t h = 0; same && h < wanted.count; h++)
        same = strcmp(wanted.at[h], i->hosts[h]) == 0;
    hosts_fini(&wanted);
    return same;
}

int64_t pki_renew_at(int64_t not_before, int64_t not_after, int share_percent, uint64_t seed)
{
    int64_t life = not_after - not_before, slack = life / 20;
    struct rng r;

    rng_init(&r, seed);
    if (slack > UINT32_MAX)
        slack = UINT32_MAX;
    return not_before + life / 100 * share_percent + life % 100 * share_percent / 100 +
           (slack > 0 ? rng_below(&r, (uint32_t)slack) : 0);
}
