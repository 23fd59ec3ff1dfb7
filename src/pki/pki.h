// SPDX-License-Identifier: Apache-2.0
// Keys and certificates, on OpenSSL's libcrypto: made, looked at, checked, and when to renew them.
// PEM text in and out, the time passed in as seconds since the epoch; no file and no clock. What is
// made is what sites expect of each other (Skupper's certificate profile): a subject of a CN alone,
// a random serial of 128 bits, key usages for servers and clients alike, SHA-256 signatures.
//
// Texts given may end with more than the certificate or key asked for; what is before it is
// skipped. No call is refused for a lack of entropy: without it the process ends.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "base/why.h"

enum {
    PKI_NAME_MAX = 256,         // of a CN, with its NUL
    PKI_HOSTS_MAX = 256,        // of one certificate
    PKI_HOST_MAX = 254,         // of one host, with its NUL
    PKI_TEXT_MAX = 1024 * 1024, // of a PEM text
    PKI_LIFE_S = 5 * 365 * 86400,
    PKI_SKEW_S = 300, // so much earlier than now they begin, for peers whose clock is behind
};

// ---------------------------------------------------------------------------------------- making

enum pki_key {
    PKI_RSA, // 2048 bits, written as PKCS#1 ("RSA PRIVATE KEY"), which is all that others take
    PKI_EC,  // P-256, written as SEC1 ("EC PRIVATE KEY")
};

struct pki_wish {
    const char *name; // the CN, not empty
    // Each becomes a DNS name, and one that is an IP address an address as well. Space around one
    // is dropped, an empty one left out.
    const char *const *hosts;
    size_t host_count;
    enum pki_key key;
    int64_t not_before, not_after;
};

// A certificate and its key, NUL-terminated.
struct pki_pair {
    char *cert, *key;
};
// Wipes the key. Zeroed memory is fine.
void pki_pair_fini(struct pki_pair *p);

// A CA, signed by itself. Returns 0, or ERR_INVALID with words (no name, a host that is none, an
// end before the beginning) or ERR_LIMIT.
int pki_make_ca(const struct pki_wish *w, struct pki_pair *out, struct why *why);
// Several CAs side by side, each on a thread of its own, since an RSA key takes a quarter of a
// second; at most PKI_CAS_MAX. Returns as pki_make_ca for the first that fails, and none is made
// then.
enum { PKI_CAS_MAX = 8 };
int pki_make_cas(const struct pki_wish *wishes, size_t count, struct pki_pair *out,
                 struct why *why);
// A certificate of that CA, whose key may be PKCS#1, SEC1 or PKCS#8. It begins no earlier and ends
// no later than its CA. Returns as pki_make_ca, and ERR_DECODE or ERR_INVALID when the CA cannot be
// read, is none, has another key, or is valid at no time of what is wished for.
int pki_make_leaf(const struct pki_wish *w, struct str ca_cert, struct str ca_key,
                  struct pki_pair *out, struct why *why);
// The same CA for longer: its subject, extensions and key stay, so what either certificate signed
// is accepted by those who trust the other. Returns 0 with *cert the caller's; ERR_DECODE or
// ERR_INVALID with words as pki_make_leaf, or when it would end before it begins.
int pki_renew_ca(struct str ca_cert, struct str ca_key, int64_t not_before, int64_t not_after,
                 char **cert, struct why *why);

// --------------------------------------------------------------------------------------- looking

struct pki_info {
    char name[PKI_NAME_MAX], issuer[PKI_NAME_MAX]; // their CNs, or the whole name without one
    char serial[48], fingerprint[65];              // hexadecimal; the latter SHA-256
    char key[32];                                  // "RSA 2048", "EC P-256"
    int64_t not_before, not_after;
    bool is_ca, is_self_signed;
    char **hosts; // names and addresses it is for, as text, sorted, each once
    size_t host_count;
};
// The first certificate of a text. Returns 0 with *out the caller's, or ERR_DECODE with words.
int pki_inspect(struct str cert, struct pki_info *out, struct why *why);
void pki_info_fini(struct pki_info *i);
// SHA-256 of a text, in hexadecimal: tells one text from another.
void pki_digest(struct str text, char out[65]);
// Whether the certificate is for exactly these hosts, as pki_make_leaf would make it.
bool pki_has_hosts(const struct pki_info *i, const char *const *hosts, size_t host_count);

// Whether they belong together. 0, ERR_DECODE (one cannot be read) or ERR_INVALID.
int pki_check_key(struct str cert, struct str key, struct why *why);

enum pki_use { PKI_ANY, PKI_SERVER, PKI_CLIENT };
struct pki_check {
    struct str cert;  // and behind it those between it and the CA, if there are any
    struct str ca;    // one or several that are trusted
    const char *host; // name or address that it must be for; NULL: none
    enum pki_use use;
    int64_t now;
};
// Whether a peer would accept it. Returns 0; ERR_DECODE when a text cannot be read; or ERR_INVALID
// with the reason: begins in the future, has ended, is of another CA, is for other hosts.
int pki_check(const struct pki_check *c, struct why *why);

// When to make a new one: after `share_percent` of its life, and as much as a twentieth of it
// later, by the seed, so that those made together are not renewed together.
int64_t pki_renew_at(int64_t not_before, int64_t not_after, int share_percent, uint64_t seed);

// ---------------------------------------------------------------------------------------- chance

enum { PKI_CODE_LEN = 24, PKI_UUID_LEN = 36 };
// Letters and digits, each as likely as any other (142 bits).
void pki_code(char out[PKI_CODE_LEN + 1]);
// Version 4, in small letters.
void pki_uuid(char out[PKI_UUID_LEN + 1]);
// Wipes and frees a text that was secret; NULL is fine.
void pki_wipe(char *text);
