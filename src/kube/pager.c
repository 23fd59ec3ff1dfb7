// SPDX-License-Identifier: Apache-2.0
// Lists, page by page. Pure.
#include <stdlib.h>

#include "base/mem.h"
#include "kube/inside.h"

enum { REST_MAX = 64 * 1024 };
#define PAGE "500" // objects

void pager_fini(struct pager *p)
{
    cutter_fini(&p->cutter);
    free(p->next);
    free(p->version);
    *p = (struct pager){0};
}

void pager_restart(struct pager *p)
{
    free(p->next);
    p->next = NULL;
}

void pager_begin(struct pager *p, struct text *path)
{
    p->cutter.item_max = KUBE_OBJECT_MAX;
    p->cutter.rest_max = REST_MAX;
    cutter_reset(&p->cutter, CUT_ITEMS);
    if (!p->is_whole)
        text_add_param(path, "limit", PAGE);
    if (p->next)
        text_add_param(path, "continue", p->next);
}

int pager_next(struct pager *p, struct str *in, json_t **item)
{
    int got = cutter_next(&p->cutter, in);
    const json_t *name;

    if (got <= 0)
        return got;
    *item = json_loadb(p->cutter.item.data, p->cutter.item.len, JSON_ALLOW_NUL, NULL);
    name = json_object_get(json_object_get(*item, "metadata"), "name");
    if (json_string_length(name) > 0)
        return 1;
    json_decref(*item);
    return ERR_DECODE;
}

int pager_end(struct pager *p)
{
    json_t *rest =
        json_loadb(p->cutter.rest.data ? p->cutter.rest.data : "", p->cutter.rest.len, 0, NULL);
    const json_t *meta = json_object_get(rest, "metadata");
    const char *next = json_string_value(json_object_get(meta, "continue"));
    const char *version = json_string_value(json_object_get(meta, "resourceVersion"));
    bool is_list = version && version[0] && json_object_get(rest, "items");

    pager_restart(p);
    if (is_list && next && next[0]) {
        p->next = xstrdup(next);
    } else if (is_list) {
        free(p->version);
        p->version = xstrdup(version);
        p->is_whole = false;
    }
    json_decref(rest);
    return is_list ? p->next != NULL : ERR_DECODE;
}

bool pager_is_expired(struct pager *p, const struct outcome *o)
{
    bool is_expired = o->fail == FAIL_NONE && o->code == 410 && p->next;

    if (is_expired) {
        pager_restart(p);
        p->is_whole = true;
    }
    return is_expired;
}
