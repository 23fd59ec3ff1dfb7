// SPDX-License-Identifier: Apache-2.0
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>

#include "pki/pki.h"

static void random_bytes(uint8_t *out, int len)
{
    if (RAND_bytes(out, len) == 1)
        return;
    fputs("the system gives no random bytes: the process ends\n", stderr);
    abort();
}

void pki_code(char out[PKI_CODE_LEN + 1])
{
    static const char letters[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    size_t len = 0;

    while (len < PKI_CODE_LEN) {
        uint8_t bytes[32];

        random_bytes(bytes, sizeof(bytes));
        for (size_t i = 0; i < sizeof(bytes) && len < PKI_CODE_LEN; i++)
            if (bytes[i] < 4 * 62) // the rest would favour the first letters
                out[len++] = letters[bytes[i] % 62];
    }
    out[len] = '\0';
}

void pki_uuid(char out[PKI_UUID_LEN + 1])
{
    uint8_t b[16];

    random_bytes(b, sizeof(b));
    b[6] = (uint8_t)(0x40 | (b[6] & 0x0f));
    b[8] = (uint8_t)(0x80 | (b[8] & 0x3f));
    snprintf(out, PKI_UUID_LEN + 1,
             "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1],
             b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14],
             b[15]);
}
