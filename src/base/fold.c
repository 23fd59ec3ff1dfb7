// SPDX-License-Identifier: Apache-2.0
#include "base/fold.h"

#include <assert.h>
#include <stdlib.h>

#include "base/yaml.h"

void json_fold(json_t **value)
{
    char *text;

    if (!*value || json_is_string(*value))
        return;
    text = json_text(*value, JSON_COMPACT);
    json_decref(*value);
    *value = json_string_nocheck(text);
    free(text);
}

void json_unfold(json_t **value)
{
    json_t *text = *value;

    if (!json_is_string(text))
        return;
    *value = json_loadb(json_string_value(text), json_string_length(text), JSON_ALLOW_NUL, NULL);
    assert(*value);
    json_decref(text);
}
