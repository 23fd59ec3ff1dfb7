// SPDX-License-Identifier: Apache-2.0
// Texts of two kubeconfig files, and a plugin's answer, with a NUL between: a configuration or
// words, never both; a credential or words, never both.
#include <assert.h>
#include <string.h>

#include "kube/config.h"
#include "kube/inside.h"

static struct str cut(struct str *rest)
{
    const char *end = rest->len ? memchr(rest->ptr, '\0', rest->len) : NULL;
    struct str part = {rest->ptr, end ? (size_t)(end - rest->ptr) : rest->len};

    *rest = str_skip(*rest, part.len + (end != NULL));
    return part;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct str rest = {(const char *)data, len};
    struct config_source sources[] = {{"/a/first", cut(&rest)}, {"second", cut(&rest)}};
    struct kube_config_opts opts = {.ns = NULL};
    struct kube_config *c = NULL;
    struct credential credential = {0};
    struct why why = {""};
    int err = config_read(sources, 2, &opts, &c, &why);

    assert((err == 0) == (c != NULL));
    assert((err < 0) == (why.text[0] != '\0'));
    if (c) {
        assert(kube_config_namespace(c)[0] && kube_config_context(c)[0]);
        assert(strncmp(kube_config_server(c), "http", 4) == 0);
        assert(!c->exec.argv || c->exec.argv[0]);
    }
    kube_config_free(c);
    why.text[0] = '\0';
    err = credential_read(rest, "client.authentication.k8s.io/v1", &credential, &why);
    assert((err == 0) == (credential.token || (credential.cert && credential.key)));
    assert((err < 0) == (why.text[0] != '\0'));
    credential_fini(&credential);
    return 0;
}
