// SPDX-License-Identifier: Apache-2.0
// What sites tell each other of their services (drive/sharing.c), with the files of a host: what
// was heard, so that a restart forgets nothing, and what became of it, for the commands.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "host/inside.h"
#include "net/net.h"
#include "pki/pki.h"

enum { PLAIN_MODE = 0644 };

struct sharing {
    char *heard_file, *services_file;
    void (*changed)(void *user);
    void *user;
    struct drive_sharing *exchange;
    char told[65];   // digest of the file of services; "": it tells nothing yet
    bool is_unsaved; // something was heard
};

static void save(struct sharing *s)
{
    json_t *value = drive_sharing_save(s->exchange);
    char *text = yaml_write(value, YAML_JSON);
    struct why why = {""};

    if (host_put(s->heard_file, str_of(text), PLAIN_MODE, &why) < 0)
        log_write(LOG_AGENT, LOG_ERROR, "%s", why.text);
    s->is_unsaved = false;
    free(text);
    json_decref(value);
}

static void has_news(void *user)
{
    struct sharing *s = user;

    s->is_unsaved = true;
    s->changed(s->user);
}

static void load(struct sharing *s)
{
    char *text = NULL;
    size_t len = 0;
    json_t *saved = NULL;
    struct why why = {"it is no JSON"};

    if (host_read(s->heard_file, &text, &len, NULL) < 0)
        return;
    saved = json_loadb(text, len, 0, NULL);
    if (!saved || drive_sharing_load(s->exchange, saved, &why) < 0)
        log_write(LOG_AGENT, LOG_WARNING,
                  "%s is of no use: %s; the other sites are heard again soon", s->heard_file,
                  why.text);
    json_decref(saved);
    free(text);
}

struct sharing *sharing_new(struct net_loop *loop, const struct host_paths *paths,
                            const char *site_id, const char *version, void (*changed)(void *user),
                            void *user)
{
    struct sharing *s = xcalloc(1, sizeof(*s));

    *s = (struct sharing){.heard_file = host_path(paths, "runtime/shared/heard.json"),
                          .services_file = host_path(paths, "runtime/shared/services.json"),
                          .changed = changed,
                          .user = user};
    s->exchange = drive_sharing_new(loop, site_id, version, has_news, s);
    load(s);
    return s;
}

void sharing_free(struct sharing *s)
{
    if (!s)
        return;
    drive_sharing_free(s->exchange);
    free(s->heard_file);
    free(s->services_file);
    free(s);
}

struct drive_sharing *sharing_exchange(const struct sharing *s)
{
    return s->exchange;
}

void sharing_set(struct sharing *s, const json_t *announce, const json_t *services)
{
    char *text = yaml_write(services, YAML_JSON), digest[65];
    struct why why = {""};
    int err;

    drive_sharing_announce(s->exchange, announce);
    if (s->is_unsaved)
        save(s);
    pki_digest(str_of(text), digest);
    if (strcmp(s->told, digest) != 0) {
        err = host_put(s->services_file, str_of(text), PLAIN_MODE, &why);
        if (err < 0)
            log_write(LOG_AGENT, LOG_ERROR, "%s", why.text);
        snprintf(s->told, sizeof(s->told), "%s", err < 0 ? "" : digest);
    }
    free(text);
}

json_t *sharing_facts(const struct sharing *s)
{
    return drive_sharing_shared(s->exchange);
}
