// SPDX-License-Identifier: Apache-2.0
// What a site says it offers, as text: what was understood of it can be announced, and is then
// understood as the same by the next; and what is saved is loaded as the same.
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "site/site.h"

static struct site_sync *listener(const char *id)
{
    struct site_sync_opts o = {.site_id = id, .version = "1"};
    struct site_sync *s = site_sync_new(&o, (struct mono){0});
    json_t *none = json_array();
    struct site_sync_message m;

    assert(site_sync_announce(s, none, (struct mono){0}, NULL) == 0);
    assert(site_sync_next_message(s, &m));
    json_decref(none);
    return s;
}

static json_t *hear(struct site_sync *s, struct str body)
{
    struct site_sync_message m = {.subject = STR(SITE_SYNC_SUBJECT),
                                  .origin = STR("other"),
                                  .version = STR("2"),
                                  .body = body};
    struct site_sync_change c;

    site_sync_heard(s, &m, 1, (struct mono){0}, NULL);
    while (site_sync_next_change(s, &c))
        assert(strcmp(c.origin, "other") == 0 && c.service && c.type == SITE_SYNC_ADDED);
    return site_sync_shared(s);
}

static json_t *services_of(json_t *shared)
{
    return json_object_get(json_array_get(shared, 0), "services");
}

// The text that announces these.
static char *announced(json_t *services)
{
    struct site_sync *s = listener("speaker");
    struct site_sync_message m = {.body = STR("[]")};
    char *text;

    if (site_sync_announce(s, services, (struct mono){0}, NULL) == 0)
        site_sync_next_message(s, &m);
    text = str_dup(m.body);
    site_sync_free(s);
    return text;
}

static void check_saving(struct site_sync *s, const json_t *shared)
{
    struct site_sync *again = listener("me");
    json_t *saved = site_sync_save(s, 1, (struct mono){0}), *loaded;

    assert(site_sync_load(again, saved, 1, (struct mono){0}, NULL) == 0);
    loaded = site_sync_shared(again);
    assert(json_equal(shared, loaded));
    json_decref(loaded);
    json_decref(saved);
    site_sync_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct site_sync *first = listener("me"), *second = listener("me");
    json_t *heard = hear(first, (struct str){(const char *)data, len}), *heard_again;
    char *text = announced(services_of(heard)), *text_again;

    check_saving(first, heard);
    heard_again = hear(second, str_of(text));
    text_again = announced(services_of(heard_again));
    assert(strcmp(text, text_again) == 0);
    free(text);
    free(text_again);
    json_decref(heard);
    json_decref(heard_again);
    site_sync_free(first);
    site_sync_free(second);
    return 0;
}
