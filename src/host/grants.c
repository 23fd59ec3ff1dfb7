// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "host/host.h"
#include "http/http.h"
#include "net/net.h"
#include "pki/pki.h"
#include "web/web.h"

// The server for redemptions. What is answered to a request is decided by site_grant_judge().
// Between its yes and the answer stands the count, kept on disk, so that no crash gives out more
// than was allowed.
//
// It faces the network, so all is bounded: visits in all and from one address, time for each, and
// how often one address may be wrong. When all places are taken the oldest visit ends.

enum {
    PATIENCE_MS = 60000,
    VISITS_MAX = 128,
    VISITS_OF_ONE_MAX = 16,
    SOURCES_MAX = 256, // addresses remembered for having been wrong
    WRONG_BURST = 10,  // so often at once, and once a second from then on
};

struct wrong {
    struct web_source of;
    struct log_limit limit; // the same bucket does
};

// A redemption that is being counted, and who waits for it.
struct late {
    struct list on_grants;
    uint64_t number; // for host_grants_counted()
    uint64_t visit;  // for web_waiting()
    char *name, *subject;
};

struct host_grants {
    struct net_loop *loop;
    struct host_grants_opts opts;
    char *cert_file, *key_file;
    struct net_tls *tls;
    struct web *web;
    struct wrong wrongs[SOURCES_MAX];
    size_t wrong_count;
    struct log_limit lines;
    struct list late;
    uint64_t late_count; // ever
};

// ---------------------------------------------------------------------------------------- wrongs

static struct wrong *find_wrong(struct host_grants *g, struct web_source of)
{
    for (size_t i = 0; i < g->wrong_count; i++)
        if (web_source_is_same(g->wrongs[i].of, of))
            return &g->wrongs[i];
    return NULL;
}

// Its bucket; the one used longest ago makes room.
static struct wrong *make_wrong(struct host_grants *g, struct web_source of)
{
    struct wrong *w = find_wrong(g, of);

    if (w)
        return w;
    if (g->wrong_count < SOURCES_MAX) {
        w = &g->wrongs[g->wrong_count++];
    } else {
        w = &g->wrongs[0];
        for (size_t i = 1; i < SOURCES_MAX; i++)
            if (mono_before(g->wrongs[i].limit.last, w->limit.last))
                w = &g->wrongs[i];
    }
    *w = (struct wrong){.of = of};
    return w;
}

// Whether that address has been wrong too often of late; its next attempts are not looked at.
static bool must_wait(struct host_grants *g, struct web_source of, struct mono now)
{
    const struct wrong *w = find_wrong(g, of);

    return w && w->limit.tokens + (double)(now.ns - w->limit.last.ns) / (double)NS_PER_S < 1.0;
}

// --------------------------------------------------------------------------------------- serving

static void tell(struct host_grants *g, enum log_level level, struct mono now, const char *what,
                 const char *words, const struct web_visit *v)
{
    uint32_t skipped = 0;

    if (!log_limit_pass(&g->lines, 20, now, &skipped))
        return;
    log_write(LOG_AGENT, level, "%s peer=%s %s%s", what, web_visit_host(v), words,
              skipped > 0 ? " (and more, left out)" : "");
}

static void respond(struct web_visit *v, int status, const char *text)
{
    web_respond(v, status, "text/plain; charset=utf-8", str_of(text));
}

// The redemption is counted: whatever happens now, it is used up.
static void give(struct host_grants *g, struct web_visit *v, size_t index, const char *name,
                 const char *subject, struct mono now)
{
    char *text = NULL, *words;
    struct why why = {""};
    int err = g->opts.give(g->opts.user, index, name, subject, &text, &why);

    if (err < 0) {
        tell(g, LOG_ERROR, now, "a redeemed token could not be answered", why.text, v);
        words = str_fmt("%s\n", why.text);
        respond(v, 500, words);
        free(words);
        return;
    }
    respond(v, 200, text);
    pki_wipe(text);
    words = str_fmt("name=%s subject=%s", name, subject);
    tell(g, LOG_INFO, now, "token redeemed", words, v);
    free(words);
}

static void not_counted(struct host_grants *g, struct web_visit *v, const char *why,
                        struct mono now)
{
    tell(g, LOG_ERROR, now, "a redemption could not be kept", why, v);
    respond(v, 503, SITE_GRANT_NOT_KEPT);
}

static void wait(struct host_grants *g, struct web_visit *v,
                 const struct site_grant_verdict *verdict)
{
    struct late *l = xcalloc(1, sizeof(*l));

    *l = (struct late){.number = g->late_count,
                       .visit = web_wait(v),
                       .name = xstrdup(verdict->name),
                       .subject = xstrdup(verdict->subject)};
    list_append(&g->late, &l->on_grants);
}

static void redeem(struct host_grants *g, struct web_visit *v,
                   const struct site_grant_verdict *verdict, struct mono now)
{
    struct why why = {""};
    int err = g->opts.count(g->opts.user, verdict->index, ++g->late_count, &why);

    if (err == HOST_COUNT_LATER)
        wait(g, v, verdict);
    else if (err < 0)
        not_counted(g, v, why.text, now);
    else
        give(g, v, verdict->index, verdict->name, verdict->subject, now);
}

static void late_free(struct late *l)
{
    list_remove(&l->on_grants);
    free(l->name);
    free(l->subject);
    free(l);
}

static struct late *late_of(const struct host_grants *g, uint64_t number)
{
    list_for_each (node, &g->late) {
        struct late *l = list_entry(node, struct late, on_grants);

        if (l->number == number)
            return l;
    }
    return NULL;
}

void host_grants_counted(struct host_grants *g, uint64_t number, size_t index, int err,
                         const char *why)
{
    struct late *l = late_of(g, number);
    struct web_visit *v = l ? web_waiting(g->web, l->visit) : NULL;
    struct mono now = net_loop_now(g->loop);

    if (v && err < 0)
        not_counted(g, v, why, now);
    else if (v)
        give(g, v, index, l->name, l->subject, now);
    if (v)
        web_go_on(v, now);
    if (l)
        late_free(l);
}

static void refuse(struct host_grants *g, struct web_visit *v,
                   const struct site_grant_verdict *verdict, struct mono now)
{
    uint32_t skipped = 0;
    char words[128];

    log_limit_pass(&make_wrong(g, web_visit_source(v))->limit, WRONG_BURST, now, &skipped);
    snprintf(words, sizeof(words), "status=%d %.*s", verdict->status,
             (int)strcspn(verdict->words, "\n"), verdict->words);
    tell(g, LOG_WARNING, now, "redemption refused", words, v);
    respond(v, verdict->status, verdict->words);
}

static struct site_grant_request asked_for(const struct host_grants *g,
                                           const struct http_request *request)
{
    struct site_grant_request r = {.method = request->method,
                                   .path = request->path,
                                   .body = request->body,
                                   .is_claim = g->opts.is_of_claims,
                                   .query = request->query};

    if (r.is_claim) {
        r.subject = http_request_field(request, "skupper-site-name");
    } else {
        r.name = http_request_field(request, "name");
        r.subject = http_request_field(request, "subject");
    }
    return r;
}

static void answer(void *user, struct web_visit *v, const struct http_request *request,
                   struct mono now)
{
    struct host_grants *g = user;
    struct site_grant_request r = asked_for(g, request);
    struct site_grant_verdict verdict;
    const struct site_grant *grants;
    size_t count;

    if (must_wait(g, web_visit_source(v), now)) {
        respond(v, 429, "Too many wrong requests from this address\n");
        return;
    }
    count = g->opts.grants(g->opts.user, &grants);
    site_grant_judge(grants, count, &r, (int64_t)time(NULL), &verdict);
    if (verdict.status == 0)
        redeem(g, v, &verdict, now);
    else
        refuse(g, v, &verdict, now);
}

// ---------------------------------------------------------------------------------------- server

static int load_tls(const struct host_grants *g, struct net_tls **out, struct why *why)
{
    struct net_tls_opts o = {.name = g->opts.is_of_claims ? "skupper-claims-server"
                                                          : "skupper-grant-server",
                             .cert_file = g->cert_file,
                             .key_file = g->key_file,
                             .protocols = "TLSv1.3",
                             .is_server = true};

    return net_tls_new(&o, out, why);
}

static struct web *new_web(struct host_grants *g)
{
    struct web_opts o = {
        .patience_ms = g->opts.patience_ms ? g->opts.patience_ms : PATIENCE_MS,
        .body_max = SITE_GRANT_CODE_MAX,
        .visits_max = VISITS_MAX,
        .visits_of_one_max = VISITS_OF_ONE_MAX,
        .oldest_leaves = true,
        .tells_date = true, // whose clock is wrong can be seen by it: "skupper link doctor" does
        .answer = answer,
        .user = g,
    };

    return web_new(&o);
}

int host_grants_new(struct net_loop *l, const struct host_grants_opts *opts,
                    struct host_grants **out, struct why *why)
{
    struct host_grants *g = xcalloc(1, sizeof(*g));
    struct net_listener_opts where = {
        .host = opts->host, .port = opts->port, .pending_of_one_max = VISITS_OF_ONE_MAX};
    int err;

    g->loop = l;
    list_init(&g->late);
    g->opts = *opts;
    g->cert_file = xstrdup(opts->cert_file);
    g->key_file = xstrdup(opts->key_file);
    g->web = new_web(g);
    err = load_tls(g, &g->tls, why);
    where.tls = g->tls;
    if (err == 0)
        err = web_listen(g->web, l, &where, why);
    if (err < 0) {
        why_prefix(why, "the server for redemptions");
        host_grants_free(g);
        return err;
    }
    *out = g;
    return 0;
}

void host_grants_free(struct host_grants *g)
{
    struct list *node;

    if (!g)
        return;
    web_free(g->web);
    while ((node = list_pop(&g->late)) != NULL)
        late_free(list_entry(node, struct late, on_grants));
    net_tls_unref(g->tls);
    free(g->cert_file);
    free(g->key_file);
    free(g);
}

int host_grants_port(const struct host_grants *g)
{
    return web_port(g->web);
}

int host_grants_reload(struct host_grants *g, struct why *why)
{
    struct net_tls *fresh = NULL;
    int err = load_tls(g, &fresh, why);

    if (err < 0)
        return err;
    net_tls_swap(g->tls, fresh);
    net_tls_unref(fresh);
    return 0;
}

// ---------------------------------------------------------------------------------------- giving

// The hosts of the endpoints, borrowed; the caller frees the array.
static const char **hosts_of(const json_t *endpoints, size_t *count)
{
    const char **hosts = xcalloc(json_array_size(endpoints) + 1, sizeof(*hosts));
    json_t *endpoint;
    size_t i;

    *count = 0;
    json_array_foreach(endpoints, i, endpoint)
    {
        const char *host = site_text(endpoint, "host");
        bool is_new = host[0] != '\0';

        for (size_t k = 0; k < *count; k++)
            is_new &= strcmp(hosts[k], host) != 0;
        if (is_new)
            hosts[(*count)++] = host;
    }
    return hosts;
}

int host_grant_links(struct str ca_cert, struct str ca_key, const json_t *endpoints,
                     const char *name, const char *subject, enum pki_key key, int64_t now,
                     char **text, struct why *why)
{
    struct pki_wish wish = {
        .name = subject, .key = key, .not_before = now - PKI_SKEW_S, .not_after = now + PKI_LIFE_S};
    struct site_links links = {0};
    struct pki_pair pair = {0};
    const char **hosts = hosts_of(endpoints, &wish.host_count);
    char *ca;
    int err;

    wish.hosts = hosts;
    err = pki_make_leaf(&wish, ca_cert, ca_key, &pair, why);
    free(hosts);
    if (err < 0)
        return err;
    ca = str_dup(ca_cert);
    if (site_links_make(name, ca, pair.cert, pair.key, endpoints, &links)) {
        *text = site_links_text(&links);
    } else {
        why_set(why, "No valid endpoints found for site");
        err = ERR_NOT_FOUND;
    }
    free(ca);
    site_links_fini(&links);
    pki_pair_fini(&pair);
    return err;
}
