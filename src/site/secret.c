// SPDX-License-Identifier: Apache-2.0
// Secrets as they stand in files: keys in base64.
#include <stdlib.h>

#include "base/mem.h"
#include "site/site.h"

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

char *site_base64_write(const char *text)
{
    size_t len = strlen(text), at = 0;
    char *out = xcalloc(1, (len + 2) / 3 * 4 + 1);

    for (size_t i = 0; i < len; i += 3) {
        size_t left = len - i;
        uint32_t bits = (uint32_t)(uint8_t)text[i] << 16;

        if (left > 1)
            bits |= (uint32_t)(uint8_t)text[i + 1] << 8;
        if (left > 2)
            bits |= (uint8_t)text[i + 2];
        out[at++] = digits[bits >> 18];
        out[at++] = digits[bits >> 12 & 63];
        out[at++] = left > 1 ? digits[bits >> 6 & 63] : '=';
        out[at++] = left > 2 ? digits[bits & 63] : '=';
    }
    return out;
}

char *site_base64_read(const char *text)
{
    char *out = xcalloc(1, strlen(text) / 4 * 3 + 4);
    uint32_t bits = 0;
    size_t count = 0, at = 0;
    bool is_ok = true;

    for (; *text && *text != '=' && is_ok; text++) {
        const char *digit = strchr(digits, *text);

        if (strchr(" \t\r\n", *text))
            continue;
        is_ok = digit != NULL;
        if (!is_ok)
            break;
        bits = bits << 6 | (uint32_t)(digit - digits);
        if (++count % 4 != 1)
            out[at++] = (char)(bits >> (6 - 2 * (count - 1) % 8));
    }
    text += strspn(text, "= \t\r\n");
    if (is_ok && *text == '\0' && count % 4 != 1)
        return out;
    free(out);
    return NULL;
}

json_t *site_secret_new(const char *name)
{
    return json_pack("{s:s, s:s, s:{s:s}, s:s, s:{}}", "apiVersion", "v1", "kind", "Secret",
                     "metadata", "name", name, "type", "kubernetes.io/tls", "data");
}

static void put(json_t *data, const char *key, const char *text)
{
    char *encoded;

    if (!text)
        return;
    encoded = site_base64_write(text);
    json_object_set_new(data, key, json_string(encoded));
    free(encoded);
}

void site_secret_fill(json_t *secret, const char *ca, const char *certificate, const char *key)
{
    json_t *data = json_object_get(secret, "data");

    if (!json_is_object(data)) {
        data = json_object();
        json_object_set_new(secret, "data", data);
    }
    put(data, "ca.crt", ca);
    put(data, "tls.crt", certificate);
    put(data, "tls.key", key);
}

char *site_secret_get(const json_t *secret, const char *key)
{
    const char *plain =
        json_string_value(json_object_get(json_object_get(secret, "stringData"), key));
    const char *encoded = json_string_value(json_object_get(json_object_get(secret, "data"), key));

    if (plain)
        return xstrdup(plain);
    return encoded ? site_base64_read(encoded) : NULL;
}
