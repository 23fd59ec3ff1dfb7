// SPDX-License-Identifier: Apache-2.0
// Finding out which way a connection would go. Inside the folder client only.
#pragma once

#include "client/client.h"

// What came of one request.
struct trace_answer {
    json_t *value; // the asker gives it away; NULL on failure
    int err;
    char *words; // of a failure; freed by who asked
    double ms;
};

// Asks `count` things at once, and returns when each has an answer.
typedef void trace_ask(void *user, const struct client_request *requests,
                       struct trace_answer *answers, size_t count);

int trace_run(trace_ask *ask, void *user, const char *address, json_t **out, struct why *why);
