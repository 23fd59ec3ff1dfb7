// SPDX-License-Identifier: Apache-2.0
// Texts of tokens and links: one or an error in words, never both; links that were read travel on
// as they are.
#include <assert.h>
#include <stdlib.h>

#include "site/site.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct site_token t = {0};
    struct site_links back = {0};
    struct why why = {""};
    int err = site_token_read("fuzz", (struct str){(const char *)data, len}, &t, &why);
    char *text;

    assert((err == 0) == (t.name != NULL));
    assert((err < 0) == (why.text[0] != '\0'));
    if (err < 0 || t.kind != SITE_TOKEN_LINKS) {
        site_token_fini(&t);
        return 0;
    }
    text = site_links_text(&t.links);
    err = site_links_read("back", str_of(text), &back, NULL);
    assert(err == 0);
    assert(t.links.secret ? json_equal(t.links.secret, back.secret) : !back.secret);
    assert(json_equal(t.links.links, back.links));
    free(text);
    site_links_fini(&back);
    site_token_fini(&t);
    return 0;
}
