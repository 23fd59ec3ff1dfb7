// SPDX-License-Identifier: Apache-2.0
// PEM texts: what is in them or an error in words, never both; hosts are sorted, each once, and are
// the ones the certificate is for.
#include <assert.h>
#include <string.h>

#include "pki/pki.h"

static void look(const struct pki_info *i)
{
    for (size_t h = 1; h < i->host_count; h++)
        assert(strcmp(i->hosts[h - 1], i->hosts[h]) < 0);
    assert(pki_has_hosts(i, (const char *const *)i->hosts, i->host_count));
    assert(strlen(i->fingerprint) == 64);
    assert(i->host_count <= 2 * PKI_HOSTS_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct str text = {(const char *)data, len};
    struct pki_info info = {0};
    struct why why = {""};
    int err = pki_inspect(text, &info, &why);

    assert((err == 0) == (info.fingerprint[0] != '\0'));
    assert((err < 0) == (why.text[0] != '\0'));
    if (err == 0)
        look(&info);
    pki_info_fini(&info);
    why.text[0] = '\0';
    err = pki_check_key(text, text, &why);
    assert((err < 0) == (why.text[0] != '\0'));
    why.text[0] = '\0';
    err = pki_check(&(struct pki_check){.cert = text, .ca = text, .host = "a", .now = 1800000000},
                    &why);
    assert((err < 0) == (why.text[0] != '\0'));
    return 0;
}
