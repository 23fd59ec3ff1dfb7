// SPDX-License-Identifier: Apache-2.0
// YAML text: values or an error in words, never both, never neither; and what was read, once
// written, reads back the same.
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/yaml.h"

static void check_round(const json_t *value, enum yaml_form form)
{
    char *text = yaml_write(value, form);
    struct yaml_docs *y = NULL;
    int err = yaml_docs_parse("back", str_of(text), &y, NULL);

    if (strlen(text) <= YAML_TEXT_MAX) {
        assert(err == 0);
        assert(yaml_docs_count(y) == 1);
        assert(json_equal(yaml_docs_at(y, 0), value));
    }
    yaml_docs_free(y);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct yaml_docs *y = NULL;
    struct why why = {""};
    int err = yaml_docs_parse("fuzz", (struct str){(const char *)data, len}, &y, &why);

    assert((err == 0) == (y != NULL));
    assert((err < 0) == (strncmp(why.text, "fuzz:", 5) == 0));
    for (size_t i = 0; y && i < yaml_docs_count(y); i++) {
        assert(yaml_docs_line(y, i, "a[0].b") >= yaml_docs_line(y, i, ""));
        check_round(yaml_docs_at(y, i), YAML_BLOCK);
        check_round(yaml_docs_at(y, i), YAML_JSON);
    }
    yaml_docs_free(y);
    return 0;
}
