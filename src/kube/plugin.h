// SPDX-License-Identifier: Apache-2.0
// A program that is run to learn who we are.
#pragma once

#include "kube/inside.h"

// Starts it; plugin_done() is called later. ERR_INVALID with words: it cannot be started.
int plugin_start(struct kube *k, struct why *why);
// What it answered, or words, "" none.
void plugin_done(struct kube *k, struct credential *take, const char *words);
