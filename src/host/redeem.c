// SPDX-License-Identifier: Apache-2.0
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/mem.h"
#include "host/host.h"
#include "libcurl/libcurl.h"
#include "net/net.h"

// Redeeming a token with the site that issued it, over libcurl: one request, trusted for its CA and
// nothing else. In the agent a thread waits for the answer; until it has ended, all of the struct
// is its own but the word that it is not wanted any more.

// ---------------------------------------------------------------------------------------- asking

struct body {
    char *data;
    size_t len;
    bool is_over;
};

static size_t receive(char *data, size_t size, size_t count, void *user)
{
    struct body *b = user;
    size_t len = size * count;

    if (len > HOST_ANSWER_MAX - b->len) {
        b->is_over = true;
        return 0; // ends the transfer
    }
    b->data = xrealloc(b->data, b->len + len + 1, 1);
    memcpy(b->data + b->len, data, len);
    b->len += len;
    return len;
}

static struct curl_slist *header(struct curl_slist *list, const char *name, const char *value)
{
    char *line = str_fmt("%s: %s", name, value);
    struct curl_slist *longer = curl_lib()->slist_append(list, line);

    if (!longer)
        abort(); // no memory
    free(line);
    return longer;
}

static struct curl_slist *headers(const struct site_redeeming *how)
{
    // A name and a colon alone takes a header away that curl would add.
    struct curl_slist *list = curl_lib()->slist_append(NULL, "Content-Type:");

    if (!list)
        abort(); // no memory
    for (size_t i = 0; i < how->count; i++)
        list = header(list, how->names[i], how->values[i]);
    return list;
}

static void set_options(CURL *c, const struct site_token *t, const struct site_redeeming *how,
                        struct curl_slist *list)
{
    const struct curl_lib *lib = curl_lib();
    struct curl_blob ca = {.data = t->ca, .len = strlen(t->ca), .flags = CURL_BLOB_COPY};

    lib->easy_setopt(c, CURLOPT_URL, how->url);
    lib->easy_setopt(c, CURLOPT_PROTOCOLS_STR, "https");
    lib->easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    lib->easy_setopt(c, CURLOPT_HTTPHEADER, list);
    lib->easy_setopt(c, CURLOPT_POSTFIELDSIZE, (long)strlen(t->code));
    lib->easy_setopt(c, CURLOPT_POSTFIELDS, t->code);
    lib->easy_setopt(c, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_3);
    lib->easy_setopt(c, CURLOPT_CAINFO, NULL);
    lib->easy_setopt(c, CURLOPT_CAPATH, NULL);
    lib->easy_setopt(c, CURLOPT_CAINFO_BLOB, &ca);
    lib->easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 1L);
    lib->easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 2L);
    lib->easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
    lib->easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)HOST_REDEEM_MS);
    lib->easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    lib->easy_setopt(c, CURLOPT_USERAGENT, "skupper");
    lib->easy_setopt(c, CURLOPT_WRITEFUNCTION, receive);
}

// Why there was no answer, and what may help.
static int explain(CURLcode code, const char *url, const char *detail, struct why *why)
{
    const char *said = detail[0] ? detail : curl_lib()->easy_strerror(code);

    switch (code) {
    case CURLE_OPERATION_TIMEDOUT:
        why_set(why, "%.200s: no answer within %d s; is it reachable from here?", url,
                HOST_REDEEM_MS / 1000);
        return ERR_IO;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
        why_set(why, "%.200s: %.150s; is it reachable from here?", url, said);
        return ERR_IO;
    case CURLE_PEER_FAILED_VERIFICATION:
        why_set(why, "%.200s: its certificate is not accepted: %.150s%s", url, said,
                strstr(said, "not yet valid") || strstr(said, "expired")
                    ? "; is the clock of this machine right?"
                    : "; is the token from that site?");
        return ERR_IO;
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
        why_set(why, "%.200s: the CA in the token cannot be read; is the token whole?", url);
        return ERR_INVALID;
    case CURLE_WRITE_ERROR:
        why_set(why, "%.200s: an answer of more than %d KiB; is the URL the right one?", url,
                HOST_ANSWER_MAX / 1024);
        return ERR_INVALID;
    default:
        why_set(why, "%.200s: %.200s", url, said);
        return ERR_IO;
    }
}

// Asked by curl about once a second, and whenever something happens.
static int is_unwanted(void *user, curl_off_t in_all, curl_off_t in, curl_off_t out_all,
                       curl_off_t out)
{
    (void)in_all;
    (void)in;
    (void)out_all;
    (void)out;
    return atomic_load((const atomic_bool *)user);
}

static int ask(const struct site_token *t, const struct site_redeeming *how, atomic_bool *unwanted,
               long *status, struct body *body, struct why *why)
{
    const struct curl_lib *lib = curl_lib();
    CURL *c = lib->easy_init();
    struct curl_slist *list = headers(how);
    char detail[CURL_ERROR_SIZE] = "";
    int code_err;
    CURLcode code;

    if (!c)
        abort(); // no memory
    set_options(c, t, how, list);
    lib->easy_setopt(c, CURLOPT_WRITEDATA, body);
    lib->easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
    lib->easy_setopt(c, CURLOPT_XFERINFOFUNCTION, is_unwanted);
    lib->easy_setopt(c, CURLOPT_XFERINFODATA, unwanted);
    lib->easy_setopt(c, CURLOPT_ERRORBUFFER, detail);
    code = lib->easy_perform(c);
    lib->easy_getinfo(c, CURLINFO_RESPONSE_CODE, status);
    lib->easy_cleanup(c);
    lib->slist_free_all(list);
    if (code == CURLE_OK)
        return 0;
    code_err = explain(code, t->url, detail, why);
    if (t->is_for_controller)
        why_prefix(why, "Controller got error");
    return code_err;
}

static bool is_line(const char *text)
{
    for (; *text; text++)
        if (*text < ' ' || *text > '~')
            return false;
    return true;
}

static int redeem(const struct site_token *t, const char *subject, atomic_bool *unwanted,
                  struct site_links *out, struct why *why)
{
    struct site_redeeming how = {0};
    struct body body = {0};
    long status = 0;
    int err;

    if (!is_line(subject)) {
        why_set(why, "the id of this site is not printable");
        return ERR_INVALID;
    }
    err = site_redeeming_make(t, subject, &how, why);
    if (err < 0)
        return err;
    if (curl_lib()->why) {
        why_set(why, "tokens cannot be redeemed here: %s", curl_lib()->why);
        free(how.url);
        return ERR_UNSUPPORTED;
    }
    err = ask(t, &how, unwanted, &status, &body, why);
    if (err == 0)
        err = site_redeeming_read(t, (int)status, (struct str){body.data, body.len}, out, why);
    if (body.data)
        explicit_bzero(body.data, body.len);
    free(body.data);
    free(how.url);
    return err;
}

int host_redeem(const struct site_token *t, const char *subject, struct site_links *out,
                struct why *why)
{
    atomic_bool unwanted = false;

    return redeem(t, subject, &unwanted, out, why);
}

// -------------------------------------------------------------------------------------- a thread

struct host_redemption {
    pthread_t thread;
    int fd; // eventfd: the thread is about to end
    struct net_watch *watch;
    struct host_redeemed then;
    atomic_bool unwanted;
    struct site_token token;
    char *subject;
    struct site_links links;
    struct why why;
    int err;
};

static void redemption_free(struct host_redemption *r)
{
    net_watch_free(r->watch);
    if (r->fd >= 0)
        close(r->fd);
    site_token_fini(&r->token);
    site_links_fini(&r->links);
    free(r->subject);
    free(r);
}

static void *run(void *arg)
{
    struct host_redemption *r = arg;
    uint64_t one = 1;

    r->err = redeem(&r->token, r->subject, &r->unwanted, &r->links, &r->why);
    (void)!write(r->fd, &one, sizeof(one));
    return NULL;
}

static void ended(void *user, struct mono now)
{
    struct host_redemption *r = user;
    struct site_links links;

    (void)now;
    pthread_join(r->thread, NULL);
    links = r->links;
    r->links = (struct site_links){0};
    r->then.done(r->then.user, r->err, &links, r->why.text);
    redemption_free(r);
}

static struct site_token copy_token(const struct site_token *t)
{
    return (struct site_token){.kind = t->kind,
                               .name = xstrdup(t->name),
                               .url = xstrdup(t->url),
                               .code = xstrdup(t->code),
                               .ca = xstrdup(t->ca),
                               .origin = xstrdup(t->origin),
                               .link_cost = t->link_cost,
                               .is_for_controller = t->is_for_controller};
}

int host_redeem_start(struct net_loop *l, const struct site_token *t, const char *subject,
                      const struct host_redeemed *then, struct host_redemption **out,
                      struct why *why)
{
    struct host_redemption *r = xcalloc(1, sizeof(*r));

    r->token = copy_token(t);
    r->subject = xstrdup(subject);
    r->then = *then;
    r->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    r->watch = r->fd >= 0 ? net_watch_new(l, r->fd, ended, r) : NULL;
    if (!r->watch || pthread_create(&r->thread, NULL, run, r) != 0) {
        why_set(why, "no descriptor or thread for it; the limits of this process are too low");
        redemption_free(r);
        return ERR_IO;
    }
    *out = r;
    return 0;
}

void host_redeem_cancel(struct host_redemption *r)
{
    if (!r)
        return;
    atomic_store(&r->unwanted, true);
    pthread_join(r->thread, NULL);
    redemption_free(r);
}
