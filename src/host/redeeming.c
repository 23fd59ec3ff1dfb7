// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "host/inside.h"
#include "net/net.h"
#include "pki/pki.h"

enum { AGAIN_MS = 30000, SECRET_MODE = 0600, PLAIN_MODE = 0644 };

struct attempt {
    struct list on_redeeming;
    struct redeeming *redeeming;
    char *name;
    struct host_redemption *under_way;
};

struct redeeming {
    struct net_loop *loop;
    const struct host_paths *paths;
    struct memory *memory;
    void (*changed)(void *user);
    void *user;
    struct list attempts;
    json_t *facts; // {name: {"redeemed": true} or {"error": words}}
    struct net_timer again;
    bool is_waiting; // for it
};

static void attempt_free(struct attempt *a)
{
    list_remove(&a->on_redeeming);
    free(a->name);
    free(a);
}

static void fire(void *user, struct mono now)
{
    struct redeeming *r = user;

    (void)now;
    r->is_waiting = false;
    r->changed(r->user);
}

struct redeeming *redeeming_new(struct net_loop *loop, const struct host_paths *paths,
                                struct memory *m, void (*changed)(void *user), void *user)
{
    struct redeeming *r = xcalloc(1, sizeof(*r));
    const char *name;
    json_t *one;

    *r = (struct redeeming){.loop = loop,
                            .paths = paths,
                            .memory = m,
                            .changed = changed,
                            .user = user,
                            .facts = json_object(),
                            .again = {.fire = fire, .user = r}};
    list_init(&r->attempts);
    json_object_foreach(memory_object(m, "tokens"), name, one)
        json_object_set_new(r->facts, name, json_pack("{s:b}", "redeemed", 1));
    return r;
}

void redeeming_free(struct redeeming *r)
{
    struct list *node;

    if (!r)
        return;
    while ((node = list_pop(&r->attempts)) != NULL) {
        struct attempt *a = list_entry(node, struct attempt, on_redeeming);

        host_redeem_cancel(a->under_way);
        attempt_free(a);
    }
    net_timer_cancel(r->loop, &r->again);
    json_decref(r->facts);
    free(r);
}

const json_t *redeeming_facts(const struct redeeming *r)
{
    return r->facts;
}

static int store_one(const struct redeeming *r, json_t *resource, struct why *why)
{
    bool is_secret = strcmp(site_text(resource, "kind"), "Secret") == 0;
    char *path = host_path(r->paths, "input/resources/%s-%s.yaml", site_text(resource, "kind"),
                           site_text(resource, "metadata.name"));
    char *text;
    int err;

    if (strcmp(r->paths->ns, "default") != 0)
        json_object_set_new(json_object_get(resource, "metadata"), "namespace",
                            json_string(r->paths->ns));
    text = yaml_write(resource, YAML_BLOCK);
    err = host_write(path, str_of(text), is_secret ? SECRET_MODE : PLAIN_MODE, why);
    pki_wipe(text);
    free(path);
    return err;
}

// The Secret, the Links, and that the token is used up, in this order: a crash in between costs
// nothing but another redemption.
static int keep(struct redeeming *r, const char *name, const struct site_links *links,
                struct why *why)
{
    json_t *link;
    size_t i;
    int err = links->secret ? store_one(r, links->secret, why) : 0;

    json_array_foreach(links->links, i, link)
    {
        if (!err)
            err = store_one(r, link, why);
    }
    if (err < 0)
        return err;
    json_object_set_new(memory_object(r->memory, "tokens"), name,
                        json_pack("{s:b}", "redeemed", 1));
    return memory_save(r->memory, why);
}

static void note_error(struct redeeming *r, const char *name, const char *words)
{
    log_write(LOG_AGENT, LOG_WARNING, "token %s not redeemed: %s", name, words);
    json_object_set_new(r->facts, name, json_pack("{s:s}", "error", words));
    r->is_waiting = true;
    net_timer_set(r->loop, &r->again, mono_add_ms(net_loop_now(r->loop), AGAIN_MS));
}

static void done(void *user, int err, struct site_links *take, const char *words)
{
    struct attempt *a = user;
    struct redeeming *r = a->redeeming;
    struct why why = {""};

    if (!err) {
        err = keep(r, a->name, take, &why);
        words = why.text;
        site_links_fini(take);
    }
    if (err < 0) {
        note_error(r, a->name, words);
    } else {
        log_write(LOG_AGENT, LOG_INFO, "token %s redeemed", a->name);
        json_object_set_new(r->facts, a->name, json_pack("{s:b}", "redeemed", 1));
    }
    attempt_free(a);
    r->changed(r->user);
}

static bool is_under_way(const struct redeeming *r, const char *name)
{
    for (struct list *node = r->attempts.next; node != &r->attempts; node = node->next)
        if (strcmp(list_entry(node, struct attempt, on_redeeming)->name, name) == 0)
            return true;
    return false;
}

static void begin(struct redeeming *r, const json_t *resource)
{
    const char *name = site_text(resource, "metadata.name");
    char *text = yaml_write(resource, YAML_JSON);
    struct host_redeemed then = {.done = done};
    struct site_token token;
    struct why why = {""};
    struct attempt *a;
    int err = site_token_read(name, str_of(text), &token, &why);

    pki_wipe(text);
    if (err < 0) {
        note_error(r, name, why.text);
        return;
    }
    a = xcalloc(1, sizeof(*a));
    *a = (struct attempt){.redeeming = r, .name = xstrdup(name)};
    list_append(&r->attempts, &a->on_redeeming);
    then.user = a;
    err = host_redeem_start(r->loop, &token, memory_text(r->memory, "siteId"), &then, &a->under_way,
                            &why);
    site_token_fini(&token);
    if (err < 0) {
        note_error(r, name, why.text);
        attempt_free(a);
    }
}

// What is gone from the input may come again as another token.
static void forget_gone(struct redeeming *r, const struct site_input *inputs, size_t count)
{
    const char *name;
    json_t *one;
    void *next;

    json_object_foreach_safe(r->facts, next, name, one)
    {
        bool is_there = false;

        for (size_t i = 0; i < count; i++)
            is_there |= strcmp(site_text(inputs[i].value, "kind"), "AccessToken") == 0 &&
                        strcmp(site_text(inputs[i].value, "metadata.name"), name) == 0;
        if (is_there)
            continue;
        json_object_del(memory_object(r->memory, "tokens"), name);
        json_object_del(r->facts, name);
    }
}

void redeeming_set(struct redeeming *r, const struct site_input *inputs, size_t count)
{
    forget_gone(r, inputs, count);
    for (size_t i = 0; i < count; i++) {
        const json_t *resource = inputs[i].value;
        const char *name = site_text(resource, "metadata.name");
        const json_t *fact = json_object_get(r->facts, name);

        if (strcmp(site_text(resource, "kind"), "AccessToken") != 0 || is_under_way(r, name) ||
            json_is_true(json_object_get(fact, "redeemed")))
            continue;
        if (!fact || !r->is_waiting)
            begin(r, resource);
    }
}
