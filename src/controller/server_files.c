// SPDX-License-Identifier: Apache-2.0
// The certificate of a server, from its Secret to files in memory alone: the root of the file
// system may be read-only.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/mem.h"
#include "controller/shell.h"
#include "pki/pki.h"

// The port is a fixed one, to which Services lead: who has it must let go of it.
enum { AGAIN_MS = 2000 };

int server_files_init(struct server_files *f, struct net_loop *l,
                      void (*again)(void *user, struct mono now), void *user, struct why *why)
{
    *f = (struct server_files){.cert = memfd_create("tls.crt", MFD_CLOEXEC),
                               .key = memfd_create("tls.key", MFD_CLOEXEC),
                               .ca = xstrdup(""),
                               .content = xstrdup(""),
                               .trouble = xstrdup(""),
                               .loop = l,
                               .again = {.fire = again, .user = user}};
    if (f->cert < 0 || f->key < 0) {
        why_set(why, "certificate of the server of tokens: %s", strerror(errno));
        return ERR_IO;
    }
    snprintf(f->cert_file, sizeof(f->cert_file), "/proc/self/fd/%d", f->cert);
    snprintf(f->key_file, sizeof(f->key_file), "/proc/self/fd/%d", f->key);
    return 0;
}

void server_files_fini(struct server_files *f)
{
    if (!f->content)
        return;
    if (f->cert >= 0)
        close(f->cert);
    if (f->key >= 0)
        close(f->key);
    free(f->ca);
    free(f->content);
    free(f->trouble);
    net_timer_cancel(f->loop, &f->again);
    *f = (struct server_files){0};
}

static int fill(int fd, const char *text, struct why *why)
{
    size_t len = strlen(text);

    if (ftruncate(fd, 0) == 0 && pwrite(fd, text, len, 0) == (ssize_t)len)
        return 0;
    why_set(why, "certificate of the server of tokens: %s", strerror(errno));
    return ERR_IO;
}

bool server_files_take(struct server_files *f, const json_t *secret, struct why *why)
{
    char *cert = site_secret_get(secret, "tls.crt"), *key = site_secret_get(secret, "tls.key");
    char *ca = site_secret_get(secret, "ca.crt"), digest[65];
    char *all = str_fmt("%s%s%s", cert ? cert : "", key ? key : "", ca ? ca : "");
    bool is_new = false;

    pki_digest(str_of(all), digest);
    if (cert && cert[0] && key && key[0] && ca && strcmp(digest, f->content) != 0 &&
        fill(f->key, key, why) == 0 && fill(f->cert, cert, why) == 0) {
        free(f->content);
        f->content = xstrdup(digest);
        free(f->ca);
        f->ca = xstrdup(ca);
        is_new = true;
    }
    pki_wipe(all);
    free(cert);
    pki_wipe(key);
    free(ca);
    return is_new;
}

bool server_files_went(struct server_files *f, const char *words)
{
    bool is_new = strcmp(words, f->trouble) != 0;

    if (is_new) {
        free(f->trouble);
        f->trouble = xstrdup(words);
    }
    if (words[0])
        net_timer_set(f->loop, &f->again, mono_add_ms(net_loop_now(f->loop), AGAIN_MS));
    return is_new;
}
