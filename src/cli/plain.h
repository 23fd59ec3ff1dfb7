// SPDX-License-Identifier: Apache-2.0
// What commands share about the Secrets of a site of version 1.
#pragma once

#include "cli/inside.h"

enum { PLAIN_TOKEN_MODE = 0600 };    // of files
#define PLAIN_MAP "skupper-site"     // the ConfigMap of the site
#define PLAIN_TYPE "skupper.io/type" // the label that tells them apart
#define PLAIN_TOKEN "connection-token"
#define PLAIN_CLAIM "token-claim"
#define PLAIN_GENERATED_BY "skupper.io/generated-by"
#define PLAIN_URL "skupper.io/url"
#define PLAIN_STATUS "internal.skupper.io/status"
#define PLAIN_FAILED "internal.skupper.io/last-failed"

// An annotation; "" when it is not there.
const char *plain_note(const json_t *object, const char *key);
bool plain_is_token(const json_t *secret);
// A Secret of that type, which goes with the site.
json_t *plain_secret(const struct store *s, const json_t *site, const char *name, const char *type);
// A claim that this site gives: EXIT_OK, or the reason told.
int plain_issue_claim(struct cli *c, struct store *s, const json_t *site, const char *name,
                      const struct token_wish *w);
