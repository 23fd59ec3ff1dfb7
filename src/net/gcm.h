// SPDX-License-Identifier: Apache-2.0
// AES-GCM for the records of TLS by libIPSec_MB, which uses VAES where OpenSSL 3.0 does not: a
// provider of OpenSSL, so that everything else of TLS stays OpenSSL's. See docs/decisions/0008.
#pragma once

#include <openssl/types.h>

// A property query that prefers it, for SSL_CTX_new_ex().
#define GCM_QUERY "?provider=" GCM_PROVIDER
#define GCM_PROVIDER "ipsec-mb"

// The library context with that provider beside OpenSSL's own, or NULL where it would gain nothing
// or is not there: OpenSSL 3.1 or newer, a processor without VAES, no libIPSec_MB.so.1. Made when
// it is first asked for and kept until the process ends; any thread.
//
// Its AES-128-GCM and AES-256-GCM serve records of TLS 1.2 and 1.3 (RFC 5288, RFC 8446 section 5.2)
// and nothing else: for each nonce one piece of at most 16 octets that is authenticated and then
// one that is encrypted too, nonces of 12 octets, tags of 16. What asks for more is refused.
OSSL_LIB_CTX *gcm_library_context(void);
