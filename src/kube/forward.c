// SPDX-License-Identifier: Apache-2.0
// A port of a pod as a socket of ours. The API server leads to it by the subresource portforward;
// libcurl makes the connection, with everything that a kubeconfig can ask of one, and a thread
// carries octets between it and one end of a pair of sockets, whose other end is the caller's.
// Nobody else on this machine can come in.
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "kube/exchange.h"
#include "kube/inside.h"
#include "kube/websocket.h"

enum {
    PATIENCE_MS = 10000, // for the server to answer, or to take what is sent
    DATA = 0,            // channels of the only port
    TROUBLE = 1,
    CHANNELS = 2,
    PORT_LEN = 2, // each channel begins with the number of the port
};

struct kube_forward {
    CURL *easy;
    curl_socket_t server;
    int ours, theirs; // ends of the pair; the latter -1 once it was taken
    struct ws ws;
    uint8_t passed[CHANNELS]; // octets of PORT_LEN
    char *early;              // came behind the answer
    size_t early_len;
    pthread_t thread;
    bool has_thread;
};

// --------------------------------------------------------------------------------- to the server

static bool await(int fd, short events)
{
    struct pollfd p = {.fd = fd, .events = events};

    return poll(&p, 1, PATIENCE_MS) > 0;
}

static bool send_all(struct kube_forward *f, const void *data, size_t len)
{
    const char *at = data;

    while (len > 0) {
        size_t sent = 0;
        CURLcode code = curl_lib()->easy_send(f->easy, at, len, &sent);

        if (code == CURLE_AGAIN ? !await(f->server, POLLOUT) : code != CURLE_OK)
            return false;
        at += sent;
        len -= sent;
    }
    return true;
}

// Octets that came; 0: none for now, -1: it has ended.
static ssize_t receive(struct kube_forward *f, void *data, size_t size)
{
    size_t len = 0;
    CURLcode code = curl_lib()->easy_recv(f->easy, data, size, &len);

    if (code == CURLE_AGAIN)
        return 0;
    return code == CURLE_OK && len > 0 ? (ssize_t)len : -1;
}

static bool send_control(struct kube_forward *f, uint8_t opcode, struct str text)
{
    uint8_t frame[WS_FRAME_HEAD + WS_CONTROL_MAX], mask[4];

    RAND_bytes(mask, sizeof(mask));
    return send_all(f, frame, ws_control(frame, opcode, text, mask));
}

static bool send_data(struct kube_forward *f, uint8_t *data, size_t len)
{
    uint8_t head[WS_FRAME_HEAD + 1], mask[4];
    size_t head_len;

    RAND_bytes(mask, sizeof(mask));
    head_len = ws_head(head, DATA, len, mask);
    for (size_t i = 0; i < len; i++)
        data[i] ^= mask[(i + 1) % 4]; // the channel was the first
    return send_all(f, head, head_len) && send_all(f, data, len);
}

// ------------------------------------------------------------------------------------ the thread

static bool write_all(int fd, struct str text)
{
    while (text.len > 0) {
        ssize_t n = send(fd, text.ptr, text.len, MSG_NOSIGNAL);

        if (n < 0 && errno != EINTR)
            return false;
        text = str_skip(text, n > 0 ? (size_t)n : 0);
    }
    return true;
}

// Of the port all is handed on; when the pod tells of trouble with it, that is the end.
static bool take_piece(struct kube_forward *f, const struct ws_piece *piece)
{
    struct str text = piece->text;

    if (piece->event == WS_PINGED)
        return send_control(f, WS_PONG, text);
    if (piece->event != WS_DATA || piece->channel >= CHANNELS)
        return piece->event == WS_MORE || piece->event == WS_DATA;
    while (text.len > 0 && f->passed[piece->channel] < PORT_LEN) {
        f->passed[piece->channel]++;
        text = str_skip(text, 1);
    }
    return piece->channel == DATA ? write_all(f->ours, text) : text.len == 0;
}

static bool take(struct kube_forward *f, const uint8_t *data, size_t len)
{
    struct ws_piece piece;

    do {
        size_t used = ws_feed(&f->ws, data, len, &piece);

        data += used;
        len -= used;
        if (!take_piece(f, &piece))
            return false;
    } while (len > 0 || piece.event != WS_MORE);
    return true;
}

static void *carry(void *user)
{
    struct kube_forward *f = user;
    uint8_t data[WS_PIECE_MAX];
    sigset_t pipe;
    bool goes_on;

    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE); // OpenSSL writes without MSG_NOSIGNAL
    pthread_sigmask(SIG_BLOCK, &pipe, NULL);
    goes_on = take(f, (const uint8_t *)f->early, f->early_len);
    while (goes_on) {
        struct pollfd p[] = {{.fd = f->ours, .events = POLLIN},
                             {.fd = f->server, .events = POLLIN}};
        ssize_t n;

        while (goes_on && (n = receive(f, data, sizeof(data))) != 0)
            goes_on = n > 0 && take(f, data, (size_t)n);
        if (!goes_on || poll(p, 2, -1) < 0)
            break;
        if (p[0].revents) {
            n = recv(f->ours, data, sizeof(data), 0);
            goes_on = n > 0 && send_data(f, data, (size_t)n);
        }
    }
    send_control(f, WS_CLOSE, STR("\x03\xe8")); // 1000: in peace
    shutdown(f->ours, SHUT_RDWR);
    return NULL;
}

// --------------------------------------------------------------------------------------- opening

static void make_key(char key[WS_KEY_LEN + 1])
{
    unsigned char random[16];

    RAND_bytes(random, sizeof(random));
    EVP_EncodeBlock((unsigned char *)key, random, sizeof(random));
}

static bool ask(struct kube_forward *f, struct kube *k, const char *path, const char *host,
                const char *key)
{
    const char *token = exchange_token(k);
    char *request = ws_request(path, host, k->manager, token, key);
    bool ok = send_all(f, request, strlen(request));

    explicit_bzero(request, strlen(request));
    free(request);
    return ok;
}

// The answer to the upgrade, judged as any other.
static void hear(struct kube_forward *f, const char *key, struct outcome *o)
{
    struct text text = {0};
    char data[4096];
    int len = 0;
    bool is_over = false;

    while (len == 0) {
        ssize_t n = receive(f, data, sizeof(data));

        if (n > 0)
            text_add(&text, (struct str){data, (size_t)n});
        is_over = n < 0 || (n == 0 && !await(f->server, POLLIN));
        if (n != 0 || is_over)
            len = ws_answer((struct str){text.data, text.len}, key, is_over, &o->code, &o->status);
        if (len == 0 && is_over)
            len = ERR_DECODE;
    }
    if (len > 0) {
        f->early_len = text.len - (size_t)len;
        f->early = str_dup((struct str){text.data + len, f->early_len});
    } else if (len != ERR_INVALID) {
        o->fail = text.len > 0 ? FAIL_CUT : FAIL_LOST;
        why_set(&o->why, "%s", text.len > 0 ? "the answer is not understood" : "no answer");
    }
    free(text.data);
}

static int open_stream(struct kube_forward *f, struct kube *k, const char *path, const char *what,
                       struct why *why)
{
    struct outcome o = {.retry_after_ms = -1};
    struct kube_answer a = {0};
    char key[WS_KEY_LEN + 1], *host = NULL;

    make_key(key);
    f->easy = exchange_connect(k, &host, &o);
    if (f->easy &&
        curl_lib()->easy_getinfo(f->easy, CURLINFO_ACTIVESOCKET, &f->server) == CURLE_OK &&
        ask(f, k, path, host, key))
        hear(f, key, &o);
    else if (o.fail == FAIL_NONE)
        o.fail = FAIL_LOST;
    if (o.fail != FAIL_NONE || o.code != 101)
        judge(&a, &o, what);
    why_set(why, "%s", a.why.text);
    outcome_fini(&o);
    free(host);
    return o.fail == FAIL_NONE && o.code == 101 ? 0 : kube_result_err(a.result);
}

static int start(struct kube_forward *f, struct why *why)
{
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
        why_set(why, "no descriptor is left; the limits of this process are too low");
        return ERR_IO;
    }
    f->ours = pair[0];
    f->theirs = pair[1];
    fcntl(f->theirs, F_SETFL, O_NONBLOCK);
    f->has_thread = pthread_create(&f->thread, NULL, carry, f) == 0;
    if (!f->has_thread)
        why_set(why, "no thread can be made; the limits of this process are too low");
    return f->has_thread ? 0 : ERR_IO;
}

int kube_forward_new(struct kube *k, const char *ns, const char *pod, uint16_t port,
                     struct kube_forward **out, struct why *why)
{
    struct kube_forward *f = xcalloc(1, sizeof(*f));
    // Whoever may not ask this may ask nothing; after it there is a credential.
    struct kube_request first = {.verb = KUBE_GET, .path = "/version", .is_hasty = true};
    struct kube_answer a = {0};
    struct text path = {0};
    char *what = str_fmt("reach port %u of pod %s in namespace %s", port, pod, ns), number[8];
    int err;

    f->ours = f->theirs = -1;
    snprintf(number, sizeof(number), "%u", port);
    kind_path(&path, kube_kind("v1", "Pod"), ns, pod, "portforward");
    text_add_param(&path, "ports", number);
    err = kube_call(k, &first, &a);
    why_set(why, "%s", a.why.text);
    if (!err)
        err = open_stream(f, k, path.data, what, why);
    if (!err)
        err = start(f, why);
    kube_answer_fini(&a);
    free(path.data);
    free(what);
    if (err < 0)
        kube_forward_free(f);
    else
        *out = f;
    return err;
}

int kube_forward_take(struct kube_forward *f)
{
    int fd = f->theirs;

    f->theirs = -1;
    return fd;
}

void kube_forward_free(struct kube_forward *f)
{
    if (!f)
        return;
    if (f->theirs >= 0)
        close(f->theirs);
    if (f->ours >= 0)
        shutdown(f->ours, SHUT_RDWR);
    if (f->has_thread)
        pthread_join(f->thread, NULL);
    if (f->ours >= 0)
        close(f->ours);
    if (f->easy)
        curl_lib()->easy_cleanup(f->easy);
    free(f->early);
    free(f);
}
