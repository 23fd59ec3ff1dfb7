// SPDX-License-Identifier: Apache-2.0
// Inside of pki.h. Inside the folder pki only.
#pragma once

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "pki/pki.h"

// text.c. Callers free what they get; on failure NULL, with words that call the text `what`.
X509 *read_cert(struct str text, const char *what, struct why *why);
EVP_PKEY *read_key(struct str text, const char *what, struct why *why);
// All certificates of a text, at least one.
STACK_OF(X509) * read_certs(struct str text, const char *what, struct why *why);
char *write_cert(X509 *cert);
char *write_key(EVP_PKEY *key);
// The first CN, or the whole name without one; cut at `size` - 1 bytes.
void name_text(const X509_NAME *name, char *out, size_t size);
// What OpenSSL said last; forgotten with this.
const char *openssl_reason(void);
// As seconds since the epoch; INT64_MIN when it cannot be read.
int64_t time_value(const ASN1_TIME *t);
// "2026-01-31T12:00:00Z"
enum { TIME_TEXT = 32 };
const char *time_text(int64_t t, char out[TIME_TEXT]);

// hosts.c
// The host without space around it.
struct str host_trimmed(const char *host);
// The binary form of an address, 4 or 16 bytes; 0 when it is none.
size_t host_address(struct str host, uint8_t out[16]);
// Sets of hosts in the one form that can be compared: addresses as inet_ntop() writes them, names
// in small letters; sorted, each once. The strings are the set's.
struct host_set {
    char **at;
    size_t count, size;
};
void hosts_add(struct host_set *s, struct str host);
void hosts_add_address(struct host_set *s, const void *address, size_t len); // 4 or 16 bytes
void hosts_sort(struct host_set *s);
void hosts_fini(struct host_set *s);

// look.c: whom a certificate is for; the caller's.
void read_hosts(X509 *cert, struct host_set *set);
