// SPDX-License-Identifier: Apache-2.0
// Configuration text: an error in words or a configuration, never both, never neither.
#include <assert.h>

#include "mgmt/mgmt.h"

static const char *no_environment(const char *name)
{
    return name[0] == 'X' ? "value" : NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct mgmt_config *config = NULL;
    struct why why = {""};
    int err = mgmt_config_parse("fuzz", (struct str){(const char *)data, len}, no_environment,
                                &config, &why);

    assert((err == 0) == (config != NULL));
    assert((err < 0) == (why.text[0] != '\0'));
    mgmt_config_free(config);
    return 0;
}
