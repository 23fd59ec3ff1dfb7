// SPDX-License-Identifier: Apache-2.0
// A list and a watch, with a NUL between: wherever the bytes are cut, the same is told and kept,
// and of objects that were never there nothing is told.
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "kube/inside.h"

static uint64_t fold(uint64_t sum, const void *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        sum = (sum ^ ((const uint8_t *)bytes)[i]) * UINT64_C(1099511628211);
    return sum;
}

static uint64_t tell(struct informer *i, uint64_t sum, size_t *there)
{
    struct kube_event ev;

    while (informer_next(i, &ev)) {
        sum = fold(sum, &ev.type, sizeof(ev.type));
        *there += ev.type == KUBE_EV_ADDED;
        if (ev.type == KUBE_EV_DELETED) {
            assert(*there > 0);
            (*there)--;
        }
        if (ev.object) {
            char *text = json_dumps(ev.object, JSON_COMPACT | JSON_SORT_KEYS);

            sum = fold(sum, text, strlen(text));
            free(text);
        }
    }
    assert(informer_count(i) == *there);
    return sum;
}

// One answer, in pieces of at most `step`.
static void answer(struct informer *i, struct str text, size_t step, struct mono now)
{
    struct outcome o = {.code = 200, .retry_after_ms = -1};
    struct text path = {0};

    informer_ask(i, &path);
    free(path.data);
    informer_began(i, now);
    while (text.len > 0 && o.fail == FAIL_NONE) {
        struct str piece = {text.ptr, text.len < step ? text.len : step};

        if (!informer_feed(i, piece))
            o.fail = FAIL_CUT;
        text = str_skip(text, piece.len);
    }
    informer_ended(i, &o, now);
}

static uint64_t story(const uint8_t *data, size_t len, size_t step)
{
    static const char *const keep[] = {"spec", "metadata.labels[a*]", "status.list.x", NULL};
    const struct kube_watch_opts opts = {.kind = kube_kind("v1", "Pod"),
                                         .keep = data[len - 1] % 2 ? keep : NULL};
    const uint8_t *nul = len ? memchr(data, 0, len) : NULL;
    size_t first = nul ? (size_t)(nul - data) : len, there = 0;
    struct mono now = {NS_PER_S};
    struct informer i;
    struct rng rng;
    uint64_t sum;

    rng_init(&rng, 1);
    informer_init(&i, &opts, &rng);
    answer(&i, (struct str){(const char *)data, first}, step, now);
    sum = tell(&i, 1, &there);
    if (nul)
        answer(&i, (struct str){(const char *)nul + 1, len - first - 1}, step, now);
    sum = tell(&i, sum, &there);
    informer_fini(&i);
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len > 0)
        assert(story(data, len, len) == story(data, len, 1 + data[0] % 16));
    return 0;
}
