// SPDX-License-Identifier: Apache-2.0
#include <openssl/err.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>

#include "pki/inside.h"

// Whether a peer would accept a certificate, asked of the same code that will decide it then.

int pki_check_key(struct str cert_text, struct str key_text, struct why *why)
{
    X509 *cert = read_cert(cert_text, "the certificate", why);
    EVP_PKEY *key = cert ? read_key(key_text, "the key", why) : NULL;
    int err = !key ? ERR_DECODE : X509_check_private_key(cert, key) == 1 ? 0 : ERR_INVALID;

    if (err == ERR_INVALID)
        why_set(why, "the key does not belong to the certificate");
    X509_free(cert);
    EVP_PKEY_free(key);
    ERR_clear_error();
    return err;
}

// ----------------------------------------------------------------------------------------- words

// "3 days", "2 h": a length of time as one would say it.
static const char *span_text(int64_t seconds, char *out, size_t size)
{
    static const struct {
        int64_t seconds;
        const char *name;
    } units[] = {{86400, "days"}, {3600, "h"}, {60, "min"}, {1, "s"}};
    size_t i = 0;

    while (i < 3 && seconds < 2 * units[i].seconds)
        i++;
    snprintf(out, size, "%lld %s", (long long)(seconds / units[i].seconds), units[i].name);
    return out;
}

static void tell_time(X509 *cert, const char *name, int64_t now, struct why *why)
{
    int64_t begins = time_value(X509_get0_notBefore(cert));
    int64_t ends = time_value(X509_get0_notAfter(cert));
    char when[TIME_TEXT], span[32];

    if (now < begins)
        why_set(why, "'%s' is valid only from %s on, in %s; is the clock of this machine right?",
                name, time_text(begins, when), span_text(begins - now, span, sizeof(span)));
    else
        why_set(why, "'%s' has ended at %s, %s ago; it has to be made anew", name,
                time_text(ends, when), span_text(now - ends, span, sizeof(span)));
}

static void tell_issuer(X509 *cert, const char *name, STACK_OF(X509) * cas, struct why *why)
{
    char issuer[PKI_NAME_MAX], ca[PKI_NAME_MAX];
    const X509_NAME *signer = X509_get_issuer_name(cert);

    name_text(signer, issuer, sizeof(issuer));
    name_text(X509_get_subject_name(sk_X509_value(cas, 0)), ca, sizeof(ca));
    if (X509_NAME_cmp(signer, X509_get_subject_name(sk_X509_value(cas, 0))) == 0)
        why_set(why,
                "'%.200s' is signed by another CA of the same name '%.200s', with another key: "
                "has that CA been made anew?",
                name, issuer);
    else
        why_set(why, "'%.150s' is signed by '%.150s', but '%.150s' is the CA that is trusted", name,
                issuer, ca);
}

static void tell_hosts(X509 *cert, const char *name, const char *host, struct why *why)
{
    struct host_set set = {0};
    char hosts[300] = "no host";
    size_t len = 0;

    read_hosts(cert, &set);
    for (size_t i = 0; i < set.count && len < sizeof(hosts); i++)
        len += (size_t)snprintf(hosts + len, sizeof(hosts) - len, "%s%s", i > 0 ? ", " : "",
                                set.at[i]);
    why_set(why, "'%.60s' is for %s, not for '%.100s'", name, hosts, host);
    hosts_fini(&set);
}

static void tell(const struct pki_check *c, X509_STORE_CTX *ctx, STACK_OF(X509) * cas,
                 struct why *why)
{
    int error = X509_STORE_CTX_get_error(ctx);
    X509 *cert = X509_STORE_CTX_get_current_cert(ctx);
    char name[PKI_NAME_MAX] = "?";

    if (!cert)
        cert = X509_STORE_CTX_get0_cert(ctx);
    name_text(X509_get_subject_name(cert), name, sizeof(name));
    switch (error) {
    case X509_V_ERR_CERT_NOT_YET_VALID:
    case X509_V_ERR_CERT_HAS_EXPIRED:
        tell_time(cert, name, c->now, why);
        break;
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
        tell_issuer(cert, name, cas, why);
        break;
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        tell_hosts(X509_STORE_CTX_get0_cert(ctx), name, c->host, why);
        break;
    case X509_V_ERR_INVALID_PURPOSE:
        why_set(why, "'%s' may not be used by a %s", name,
                c->use == PKI_SERVER ? "server" : "client");
        break;
    default:
        why_set(why, "'%.200s': %s", name, X509_verify_cert_error_string(error));
    }
}

// -------------------------------------------------------------------------------------- checking

static void set_params(X509_STORE_CTX *ctx, const struct pki_check *c)
{
    X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(ctx);
    uint8_t address[16];
    size_t len = c->host ? host_address(str_of(c->host), address) : 0;

    X509_VERIFY_PARAM_set_time(param, (time_t)c->now);
    X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_PARTIAL_CHAIN);
    if (c->use != PKI_ANY)
        X509_VERIFY_PARAM_set_purpose(param, c->use == PKI_SERVER ? X509_PURPOSE_SSL_SERVER
                                                                  : X509_PURPOSE_SSL_CLIENT);
    if (len > 0)
        X509_VERIFY_PARAM_set1_ip(param, address, len);
    else if (c->host)
        X509_VERIFY_PARAM_set1_host(param, c->host, strlen(c->host));
}

static int verify(const struct pki_check *c, STACK_OF(X509) * certs, STACK_OF(X509) * cas,
                  struct why *why)
{
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    int err = 0;

    if (!store || !ctx || !X509_STORE_CTX_init(ctx, store, sk_X509_value(certs, 0), certs))
        abort(); // no memory
    X509_STORE_CTX_set0_trusted_stack(ctx, cas);
    set_params(ctx, c);
    if (X509_verify_cert(ctx) != 1) {
        tell(c, ctx, cas, why);
        err = ERR_INVALID;
    }
    X509_STORE_CTX_free(ctx);
    X509_STORE_free(store);
    ERR_clear_error();
    return err;
}

int pki_check(const struct pki_check *c, struct why *why)
{
    STACK_OF(X509) *certs = read_certs(c->cert, "the certificate", why);
    STACK_OF(X509) *cas = certs ? read_certs(c->ca, "the CA's certificate", why) : NULL;
    int err = cas ? verify(c, certs, cas, why) : ERR_DECODE;

    sk_X509_pop_free(certs, X509_free);
    sk_X509_pop_free(cas, X509_free);
    return err;
}
