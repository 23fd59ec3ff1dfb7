// SPDX-License-Identifier: Apache-2.0
// When something is tried again. Pure.
#include "kube/inside.h"

enum {
    TRIES_MAX = 10,
    // An error within the server without Retry-After may be there to stay (an admission webhook
    // that fails); a few tries get over what is not.
    ERROR_TRIES_MAX = 3,
    RETRY_AFTER_MAX_MS = 60 * 1000,
};

uint32_t pause_next(struct pause *p, struct rng *rng)
{
    uint32_t ms = p->next_ms > p->min_ms ? p->next_ms : p->min_ms;

    p->next_ms = ms > p->max_ms / 2 ? p->max_ms : ms * 2;
    return ms / 2 + rng_below(rng, ms / 2 + 1);
}

void pause_reset(struct pause *p)
{
    p->next_ms = 0;
}

static bool is_server_error(int code)
{
    return code == 500 || code == 502 || code == 503 || code == 504;
}

static bool may_try(enum kube_verb verb, const struct outcome *o, uint32_t tries)
{
    bool is_repeatable = verb != KUBE_CREATE;

    if (o->fail == FAIL_CONNECT || o->code == 429)
        return tries < TRIES_MAX;
    if (o->fail == FAIL_LOST)
        return is_repeatable && tries < TRIES_MAX;
    if (o->fail != FAIL_NONE || !is_server_error(o->code) || !is_repeatable)
        return false;
    return tries < (o->retry_after_ms >= 0 ? TRIES_MAX : ERROR_TRIES_MAX);
}

int64_t retry_after(enum kube_verb verb, const struct outcome *o, uint32_t tries, int64_t left_ms,
                    struct pause *p, struct rng *rng)
{
    int64_t wait_ms;

    if (!may_try(verb, o, tries))
        return -1;
    wait_ms = pause_next(p, rng);
    if (o->retry_after_ms > wait_ms)
        wait_ms = o->retry_after_ms < RETRY_AFTER_MAX_MS ? o->retry_after_ms : RETRY_AFTER_MAX_MS;
    return wait_ms < left_ms ? wait_ms : -1;
}
