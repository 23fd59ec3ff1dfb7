// SPDX-License-Identifier: Apache-2.0
// One request and its answer, over libcurl. Where HTTP/2 is offered all of them share a connection.
//
// How a connection that leads nowhere is noticed: the kernel probes it (keep-alive, and what was
// sent must be acknowledged), which finds a network that is cut; a server that is there but does
// nothing is found by a request that has no answer in time, or a watch that is silent although
// bookmarks come each minute. If then nothing at all was heard since it was sent, every connection
// is given up, for others share it.
#include "kube/exchange.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "kube/config.h"
#include "net/net.h"

enum {
    CONNECT_MS = 10 * 1000,
    KEEPALIVE_IDLE_S = 10,
    KEEPALIVE_EACH_S = 5,
    KEEPALIVE_COUNT = 3,
    UNACKNOWLEDGED_MS = 25 * 1000,
    // Until a watch is answered; then, from what came last. Bookmarks come each minute.
    ANSWER_MS = 15 * 1000,
    SILENCE_MS = 90 * 1000,
    STATUS_MAX = 64 * 1024, // of an answer that is no success
    BUFFER = 16 * 1024,
};

struct exchange {
    struct list on_kube; // all
    struct list on_over; // ended, not told yet
    struct kube *k;
    struct exchange_opts opts; // method and content type are literals; path and body our own
    char *path, *body;
    CURL *easy; // NULL: waits for a credential, or is over
    struct curl_slist *headers, *connect_to;
    char detail[CURL_ERROR_SIZE];
    struct text status;
    struct outcome outcome;
    struct wake silence;
    struct mono started;
    bool has_begun;
};

// --------------------------------------------------------------------------------------- ending

static void detach(struct exchange *x)
{
    const struct curl_lib *lib = curl_lib();

    if (x->easy) {
        lib->multi_remove_handle(x->k->multi, x->easy);
        lib->easy_cleanup(x->easy);
        transport_carry(x->k, -1);
    }
    lib->slist_free_all(x->headers);
    lib->slist_free_all(x->connect_to);
    x->easy = NULL;
    x->headers = x->connect_to = NULL;
    wake_set(x->k, &x->silence, MONO_NEVER);
}

static void exchange_free(struct exchange *x)
{
    detach(x);
    list_remove(&x->on_kube);
    list_remove(&x->on_over);
    outcome_fini(&x->outcome);
    free(x->status.data);
    free(x->path);
    if (x->body)
        explicit_bzero(x->body, x->opts.body.len);
    free(x->body);
    free(x);
}

void exchange_cancel(struct exchange *x)
{
    if (x)
        exchange_free(x);
}

static void over(struct exchange *x, enum fail fail, const char *words)
{
    if (!list_empty(&x->on_over))
        return;
    x->outcome.fail = fail;
    if (words)
        why_set(&x->outcome.why, "%s", words);
    detach(x);
    list_append(&x->k->over, &x->on_over);
}

void exchanges_lose(struct kube *k, const char *why)
{
    list_for_each (node, &k->exchanges) {
        struct exchange *x = list_entry(node, struct exchange, on_kube);

        if (x->easy)
            over(x, FAIL_LOST, why);
    }
}

void exchanges_tell(struct kube *k, struct mono now)
{
    struct list *node;

    while ((node = list_pop(&k->over)) != NULL) {
        struct exchange *x = list_entry(node, struct exchange, on_over);

        if (x->outcome.fail == FAIL_NONE && x->status.len > 0)
            x->outcome.status = json_loadb(x->status.data, x->status.len, JSON_ALLOW_NUL, NULL);
        count_answer(k, x->outcome.code);
        if (x->opts.timeout_ms > 0) // not a watch
            count_time(k, x->path, (double)(now.ns - x->started.ns) / (double)NS_PER_S);
        x->opts.ended(x->opts.user, &x->outcome, now);
        exchange_free(x);
    }
}

// ------------------------------------------------------------------------------- libcurl's calls

static int code_of(const struct exchange *x)
{
    long code = 0;

    curl_lib()->easy_getinfo(x->easy, CURLINFO_RESPONSE_CODE, &code);
    return (int)code;
}

static void watch_silence(struct exchange *x, struct mono now)
{
    if (x->opts.timeout_ms == 0)
        wake_set(x->k, &x->silence, mono_add_ms(now, x->has_begun ? SILENCE_MS : ANSWER_MS));
}

// A header line, the status line first. An empty one ends them.
static size_t on_header(char *data, size_t size, size_t count, void *user)
{
    struct exchange *x = user;
    size_t len = size * count;
    int code = code_of(x);

    x->k->heard = mono_now();
    if (len == 2 && !x->has_begun && code >= 200 && code < 300) {
        x->has_begun = true;
        watch_silence(x, x->k->heard);
        if (x->opts.began)
            x->opts.began(x->opts.user, x->k->heard);
    }
    (void)data;
    return len;
}

static size_t on_body(char *data, size_t size, size_t count, void *user)
{
    struct exchange *x = user;
    size_t len = size * count;

    x->k->heard = mono_now();
    if (x->k->loop)
        net_loop_worked(x->k->loop, len);
    if (!x->has_begun) {
        if (len <= STATUS_MAX - x->status.len)
            text_add(&x->status, (struct str){data, len});
        return len;
    }
    watch_silence(x, x->k->heard);
    return x->opts.feed(x->opts.user, (struct str){data, len}) ? len : 0;
}

static int on_new_socket(void *user, curl_socket_t fd, curlsocktype type)
{
    static const struct {
        int level, name, value;
    } options[] = {
        {SOL_SOCKET, SO_KEEPALIVE, 1},
        {IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S},
        {IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_EACH_S},
        {IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_COUNT},
        {IPPROTO_TCP, TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS},
    };
    struct kube *k = user;

    (void)type;
    if (k->loop)
        net_loop_worked(k->loop, NET_HANDSHAKE_WORK);
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
        (void)setsockopt(fd, options[i].level, options[i].name, &options[i].value,
                         sizeof(options[i].value)); // what a system lacks, it lacks
    return CURL_SOCKOPT_OK;
}

// --------------------------------------------------------------------------------------- starting

static void header(struct exchange *x, const char *name, const char *value)
{
    char *line = str_fmt("%s: %s", name, value);
    struct curl_slist *longer = curl_lib()->slist_append(x->headers, line);

    if (!longer)
        abort(); // no memory
    x->headers = longer;
    explicit_bzero(line, strlen(line));
    free(line);
}

static void set_blob(CURL *c, CURLoption option, const char *text)
{
    struct curl_blob blob = {
        .data = (void *)(uintptr_t)text, .len = strlen(text), .flags = CURL_BLOB_COPY};

    curl_lib()->easy_setopt(c, option, &blob);
}

// Where `server` has its host: after the scheme, up to the port or path.
static struct str host_of(const char *server, const char **rest)
{
    const char *host = strstr(server, "://") + 3;
    size_t len = host[0] == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":/");

    *rest = host + len;
    return (struct str){host, len};
}

static bool is_here(struct str host)
{
    return str_is_nocase(host, "localhost") || str_is(host, "[::1]") ||
           str_starts(host, STR("127."));
}

// The certificate must name `tls_name`: to libcurl that is the host, and the real one is where it
// connects to instead.
static char *url_of(struct exchange *x)
{
    const struct kube_config *c = x->k->config;
    const char *rest;
    struct str host = host_of(c->server, &rest);
    char *to;

    if (!c->tls_name || strncmp(c->server, "https://", 8) != 0)
        return str_fmt("%s%s", c->server, x->path);
    to = str_fmt("%.*s%.*s", STR_ARG(host), (int)strcspn(rest, "/"), rest);
    header(x, "Host", to);
    free(to);
    to = str_fmt("::%.*s:", STR_ARG(host));
    x->connect_to = curl_lib()->slist_append(NULL, to);
    free(to);
    if (!x->connect_to)
        abort(); // no memory
    return str_fmt("https://%s%s%s", c->tls_name, rest, x->path);
}

static void set_tls(CURL *c, const struct kube_config *config, const struct credential *of_plugin)
{
    const struct curl_lib *lib = curl_lib();
    const char *cert = of_plugin->cert ? of_plugin->cert : config->cert.text;
    const char *key = of_plugin->cert ? of_plugin->key : config->key.text;

    if (config->ca.text) {
        lib->easy_setopt(c, CURLOPT_CAINFO, NULL);
        lib->easy_setopt(c, CURLOPT_CAPATH, NULL);
        set_blob(c, CURLOPT_CAINFO_BLOB, config->ca.text);
    }
    if (config->is_insecure) {
        lib->easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 0L);
        lib->easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 0L);
    }
    if (cert && key) {
        set_blob(c, CURLOPT_SSLCERT_BLOB, cert);
        set_blob(c, CURLOPT_SSLKEY_BLOB, key);
    }
    lib->easy_setopt(c, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
}

static void set_calls(CURL *c, struct exchange *x)
{
    const struct curl_lib *lib = curl_lib();

    lib->easy_setopt(c, CURLOPT_PRIVATE, x);
    lib->easy_setopt(c, CURLOPT_ERRORBUFFER, x->detail);
    lib->easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
    lib->easy_setopt(c, CURLOPT_HEADERDATA, x);
    lib->easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
    lib->easy_setopt(c, CURLOPT_WRITEDATA, x);
    lib->easy_setopt(c, CURLOPT_SOCKOPTFUNCTION, on_new_socket);
    lib->easy_setopt(c, CURLOPT_SOCKOPTDATA, x->k);
}

static void set_request(CURL *c, struct exchange *x)
{
    const struct curl_lib *lib = curl_lib();

    lib->easy_setopt(c, CURLOPT_CUSTOMREQUEST, x->opts.method);
    lib->easy_setopt(c, CURLOPT_USERAGENT, x->k->manager);
    if (x->body) {
        header(x, "Content-Type", x->opts.content_type);
        lib->easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)x->opts.body.len);
        lib->easy_setopt(c, CURLOPT_POSTFIELDS, x->body);
    }
    header(x, "Accept", "application/json");
    header(x, "Expect", ""); // no second round for a large body
    lib->easy_setopt(c, CURLOPT_HTTPHEADER, x->headers);
}

static void set_connection(CURL *c, struct exchange *x)
{
    const struct curl_lib *lib = curl_lib();
    const struct kube_config *config = x->k->config;
    const char *rest;

    lib->easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    lib->easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
    lib->easy_setopt(c, CURLOPT_PIPEWAIT, 1L); // for the connection that is being made
    lib->easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
    lib->easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    lib->easy_setopt(c, CURLOPT_QUICK_EXIT, 1L); // never waits for a name server
    lib->easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
    lib->easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)x->opts.timeout_ms);
    lib->easy_setopt(c, CURLOPT_BUFFERSIZE, (long)BUFFER);
    if (config->proxy)
        lib->easy_setopt(c, CURLOPT_PROXY, config->proxy);
    else if (is_here(host_of(config->server, &rest)))
        lib->easy_setopt(c, CURLOPT_PROXY, ""); // whatever the environment says
}

const char *exchange_token(const struct kube *k)
{
    return k->credential.token ? k->credential.token : k->config->token.text;
}

static void launch(struct exchange *x)
{
    const struct curl_lib *lib = curl_lib();
    const struct kube *k = x->k;
    const char *token = exchange_token(k);
    char *url = url_of(x);
    CURL *c = lib->easy_init();

    if (!c)
        abort(); // no memory
    x->easy = c;
    lib->easy_setopt(c, CURLOPT_URL, url);
    free(url);
    if (x->connect_to)
        lib->easy_setopt(c, CURLOPT_CONNECT_TO, x->connect_to);
    if (token) {
        char *value = str_fmt("Bearer %s", token);

        header(x, "Authorization", value);
        explicit_bzero(value, strlen(value));
        free(value);
    }
    set_connection(c, x);
    set_tls(c, k->config, &k->credential);
    set_calls(c, x);
    set_request(c, x);
    x->started = mono_now();
    watch_silence(x, x->started);
    transport_carry(x->k, 1);
    if (lib->multi_add_handle(k->multi, c) != CURLM_OK)
        abort(); // no memory
}

static void go(struct exchange *x)
{
    struct why why = {""};
    struct kube_config *c = x->k->config;
    int err = credential_get(x->k, mono_now(), &why);

    if (err == ERR_AGAIN)
        return;
    if (!err)
        err = material_refresh(&c->ca, &why);
    if (!err && exchange_token(x->k) && strpbrk(exchange_token(x->k), "\r\n")) {
        why_set(&why, "the token is no line of text (%.200s)", c->source);
        err = ERR_INVALID;
    }
    if (err < 0)
        over(x, FAIL_CREDENTIALS, why.text);
    else
        launch(x);
}

void exchanges_go(struct kube *k)
{
    list_for_each (node, &k->exchanges) {
        struct exchange *x = list_entry(node, struct exchange, on_kube);

        if (!x->easy && list_empty(&x->on_over))
            go(x);
    }
}

static void is_silent(void *user, struct mono now)
{
    struct exchange *x = user;
    bool is_suspicious = !x->has_begun && x->easy && mono_before(x->k->heard, x->started);
    struct kube *k = x->k;

    (void)now;
    over(x, FAIL_LOST, x->has_begun ? "nothing came for a while" : "no answer");
    if (is_suspicious)
        transport_reset(k);
}

struct exchange *exchange_new(struct kube *k, const struct exchange_opts *opts)
{
    struct exchange *x = xcalloc(1, sizeof(*x));

    x->k = k;
    x->opts = *opts;
    x->path = xstrdup(opts->path);
    x->body = opts->body.ptr ? str_dup(opts->body) : NULL;
    x->outcome.retry_after_ms = -1;
    x->silence = (struct wake){.fire = is_silent, .user = x};
    list_init(&x->on_over);
    list_append(&k->exchanges, &x->on_kube);
    go(x);
    kube_arm(k);
    return x;
}

// ------------------------------------------------------------------------------------- how it
// ended

static enum fail fail_of(struct exchange *x, CURLcode code)
{
    curl_off_t sent_us = 0;

    curl_lib()->easy_getinfo(x->easy, CURLINFO_PRETRANSFER_TIME_T, &sent_us);
    switch (code) {
    case CURLE_OK:
        return FAIL_NONE;
    case CURLE_WRITE_ERROR:
        return FAIL_CUT;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
        return FAIL_TLS;
    default:
        return sent_us > 0 ? FAIL_LOST : FAIL_CONNECT;
    }
}

static void explain(struct exchange *x, CURLcode code)
{
    const struct kube_config *c = x->k->config;
    const char *said = x->detail[0] ? x->detail : curl_lib()->easy_strerror(code);
    const char *advice = x->outcome.fail == FAIL_TLS
                             ? "is certificate-authority that of this cluster?"
                             : "is the cluster running, and reachable from here?";

    if (x->outcome.fail == FAIL_CUT)
        why_set(&x->outcome.why, "%.120s: the answer is not understood, or too large", c->server);
    else
        why_set(&x->outcome.why, "%.120s: %.150s; %s (%.100s)", c->server, said, advice, c->source);
}

void exchange_done(struct exchange *x, CURLcode code)
{
    curl_off_t retry_after_s = 0;
    struct kube *k = x->k;
    bool is_suspicious = code == CURLE_OPERATION_TIMEDOUT && mono_before(k->heard, x->started);
    char *type = NULL;

    curl_lib()->easy_getinfo(x->easy, CURLINFO_RETRY_AFTER, &retry_after_s);
    curl_lib()->easy_getinfo(x->easy, CURLINFO_CONTENT_TYPE, &type);
    x->outcome.code = code_of(x);
    x->outcome.is_json = type && strncmp(type, "application/json", 16) == 0;
    x->outcome.fail = fail_of(x, code);
    if (retry_after_s > 0)
        x->outcome.retry_after_ms = retry_after_s * 1000;
    if (code != CURLE_OK)
        explain(x, code);
    over(x, x->outcome.fail, NULL);
    if (is_suspicious)
        transport_reset(k);
}

// ------------------------------------------------------------------------------- a connection
// alone

CURL *exchange_connect(struct kube *k, char **host, struct outcome *o)
{
    const struct curl_lib *lib = curl_lib();
    struct exchange x = {.k = k, .path = (char[]){""}, .opts = {.timeout_ms = CONNECT_MS}};
    const char *server = strstr(k->config->server, "://") + 3;
    char *url = url_of(&x);
    CURL *c = lib->easy_init();
    CURLcode code;

    if (!c)
        abort(); // no memory
    x.easy = c;
    lib->easy_setopt(c, CURLOPT_URL, url);
    if (x.connect_to)
        lib->easy_setopt(c, CURLOPT_CONNECT_TO, x.connect_to);
    set_connection(c, &x);
    set_tls(c, k->config, &k->credential);
    lib->easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    lib->easy_setopt(c, CURLOPT_CONNECT_ONLY, 1L);
    lib->easy_setopt(c, CURLOPT_ERRORBUFFER, x.detail);
    code = lib->easy_perform(c);
    *host = str_fmt("%.*s", (int)strcspn(server, "/"), server);
    if (code != CURLE_OK) {
        x.outcome.fail = fail_of(&x, code);
        explain(&x, code);
        *o = x.outcome;
        lib->easy_cleanup(c);
        c = NULL;
    } else {
        lib->easy_setopt(c, CURLOPT_ERRORBUFFER, NULL);
    }
    lib->slist_free_all(x.connect_to);
    lib->slist_free_all(x.headers);
    free(url);
    return c;
}
