// SPDX-License-Identifier: Apache-2.0
// What the servers of both sorts of tokens have in common (grants.c, claims.c). The certificate
// goes from its Secret to files in memory alone: the root of the file system may be read-only.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "controller/shell.h"
#include "pki/pki.h"

// The port is a fixed one, to which Services lead: who has it must let go of it.
enum { AGAIN_MS = 2000 };

int token_server_init(struct token_server *t, struct controller *c,
                      const struct token_server_opts *opts, struct why *why)
{
    *t = (struct token_server){.c = c,
                               .what = opts->what,
                               .one = opts->one,
                               .opts = opts->server,
                               .cert = memfd_create("tls.crt", MFD_CLOEXEC),
                               .key = memfd_create("tls.key", MFD_CLOEXEC),
                               .ca = xstrdup(""),
                               .content = xstrdup(""),
                               .trouble = xstrdup(""),
                               .again = {.fire = opts->again, .user = opts->server.user}};
    if (t->cert < 0 || t->key < 0) {
        why_set(why, "certificate of the server of tokens: %s", strerror(errno));
        return ERR_IO;
    }
    snprintf(t->cert_file, sizeof(t->cert_file), "/proc/self/fd/%d", t->cert);
    snprintf(t->key_file, sizeof(t->key_file), "/proc/self/fd/%d", t->key);
    t->opts.cert_file = t->cert_file;
    t->opts.key_file = t->key_file;
    return 0;
}

void token_server_fini(struct token_server *t)
{
    if (!t->content)
        return;
    host_grants_free(t->server);
    token_server_clear(t);
    if (t->cert >= 0)
        close(t->cert);
    if (t->key >= 0)
        close(t->key);
    free(t->ca);
    free(t->content);
    free(t->trouble);
    net_timer_cancel(t->c->loop, &t->again);
    *t = (struct token_server){0};
}

// ------------------------------------------------------------------------------------ certificate

static int fill(int fd, const char *text, struct why *why)
{
    size_t len = strlen(text);

    if (ftruncate(fd, 0) == 0 && pwrite(fd, text, len, 0) == (ssize_t)len)
        return 0;
    why_set(why, "certificate of the server of tokens: %s", strerror(errno));
    return ERR_IO;
}

// True: the Secret has another certificate than before, and the files have it now.
static bool take(struct token_server *t, const json_t *secret, struct why *why)
{
    char *cert = site_secret_get(secret, "tls.crt"), *key = site_secret_get(secret, "tls.key");
    char *ca = site_secret_get(secret, "ca.crt"), digest[65];
    char *all = str_fmt("%s%s%s", cert ? cert : "", key ? key : "", ca ? ca : "");
    bool is_new = false;

    pki_digest(str_of(all), digest);
    if (cert && cert[0] && key && key[0] && ca && strcmp(digest, t->content) != 0 &&
        fill(t->key, key, why) == 0 && fill(t->cert, cert, why) == 0) {
        free(t->content);
        t->content = xstrdup(digest);
        free(t->ca);
        t->ca = xstrdup(ca);
        is_new = true;
    }
    pki_wipe(all);
    free(cert);
    pki_wipe(key);
    free(ca);
    return is_new;
}

// How it went to listen or to show the certificate; "": well. True: something else than before.
static bool went(struct token_server *t, const char *words)
{
    bool is_new = strcmp(words, t->trouble) != 0;

    if (is_new) {
        free(t->trouble);
        t->trouble = xstrdup(words);
    }
    if (words[0])
        net_timer_set(t->c->loop, &t->again, mono_add_ms(net_loop_now(t->c->loop), AGAIN_MS));
    return is_new;
}

static int serve(struct token_server *t, struct why *why)
{
    return t->server ? host_grants_reload(t->server, why)
                     : host_grants_new(t->c->loop, &t->opts, &t->server, why);
}

// With a new certificate, or again after it could not listen.
static void serve_now(struct token_server *t, const char *place)
{
    struct why why = {""};
    bool is_good = serve(t, &why) == 0, is_new = went(t, why.text);

    if (is_good)
        log_write(LOG_AGENT, LOG_INFO, "%s are redeemed at %s", t->what, place);
    else if (is_new)
        log_write(LOG_AGENT, LOG_ERROR, "%s %s: %s", t->what,
                  t->server ? "are redeemed with the old certificate"
                            : "cannot be redeemed, and it is tried again",
                  why.text);
    if (is_good || is_new) // each plan may lead here again
        spaces_mark(t->c);
}

void token_server_show(struct token_server *t, const json_t *secret, const char *place)
{
    struct why why = {""};

    if (take(t, secret, &why) || (!t->server && t->content[0]))
        serve_now(t, place);
    if (why.text[0])
        log_write(LOG_AGENT, LOG_ERROR, "%s cannot be redeemed: %s", t->what, why.text);
}

// ------------------------------------------------------------------------------------------- list

void token_server_clear(struct token_server *t)
{
    for (size_t i = 0; i < t->count; i++) {
        site_grant_fini(&t->list[i]);
        json_decref(t->objects[i]);
    }
    free(t->list);
    free(t->objects);
    t->list = NULL;
    t->objects = NULL;
    t->count = 0;
}

void token_server_add(struct token_server *t, struct site_grant *take, json_t *take_object)
{
    t->list = xrealloc(t->list, t->count + 1, sizeof(*t->list));
    t->objects = xrealloc(t->objects, t->count + 1, sizeof(*t->objects));
    t->list[t->count] = *take;
    t->objects[t->count++] = take_object;
    *take = (struct site_grant){0};
}

void token_server_counted(struct token_server *t, const struct call *call, int err, const char *why)
{
    const struct site_grant *list;
    size_t count = t->opts.grants(t->opts.user, &list), index = 0;
    struct why gone;

    while (index < count && strcmp(list[index].uid, call->uid) != 0)
        index++;
    if (err == 0 && index == count) {
        err = ERR_NOT_FOUND;
        why_set(&gone, "the %s was deleted meanwhile", t->one);
        why = gone.text;
    }
    host_grants_counted(t->server, call->number, index, err, why);
}
