// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/inside.h"

// A connected socket and the engine behind it. One receive of up to 256 KiB goes straight to the
// engine, or through TLS into the loop's plain memory and from there, many records at once, to the
// engine. What a turn produced leaves in one send: pieces of the output by reference, or, with TLS,
// full records gathered in the loop's memory. Nothing is kept per stream but what a socket did not
// take.

struct net_stream *stream_new(struct net_loop *l, int fd)
{
    struct net_stream *s = xcalloc(1, sizeof(*s));

    s->birth = xcalloc(1, sizeof(*s->birth));
    s->source.fd = fd;
    s->source.is_removed = true; // not in epoll yet
    s->loop = l;
    s->timer.kind = TIMER_STREAM;
    list_init(&s->on_write);
    list_init(&s->on_read);
    list_append(&l->streams, &s->on_loop);
    return s;
}

void stream_free(struct net_stream *s)
{
    SSL_free(s->ssl);
    net_stream_forget_peer(s);
    free(s->pending);
    free(s);
}

void address_text(const struct sockaddr_storage *sa, char *out, size_t size)
{
    char ip[INET6_ADDRSTRLEN] = "";

    if (sa->ss_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)sa;

        inet_ntop(AF_INET6, &v6->sin6_addr, ip, sizeof(ip));
        snprintf(out, size, "[%s]:%u", ip, ntohs(v6->sin6_port));
    } else {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)sa;

        inet_ntop(AF_INET, &v4->sin_addr, ip, sizeof(ip));
        // Its family says what was filled in. NOLINTNEXTLINE(clang-analyzer-core.CallAndMessage)
        snprintf(out, size, "%s:%u", ip, ntohs(v4->sin_port));
    }
}

void stream_names(struct net_stream *s)
{
    struct sockaddr_storage sa = {0};
    socklen_t len = sizeof(sa);

    if (getpeername(s->source.fd, (struct sockaddr *)&sa, &len) == 0)
        address_text(&sa, s->birth->peer.host, sizeof(s->birth->peer.host));
    len = sizeof(sa);
    if (getsockname(s->source.fd, (struct sockaddr *)&sa, &len) == 0)
        address_text(&sa, s->birth->peer.local, sizeof(s->birth->peer.local));
}

const struct net_peer *net_stream_peer(const struct net_stream *s)
{
    static const struct net_peer nobody;

    return s->birth ? &s->birth->peer : &nobody;
}

void net_stream_forget_peer(struct net_stream *s)
{
    if (s->birth) {
        net_tls_unref(s->birth->tls);
        tunnel_fini(&s->birth->tunnel);
    }
    free(s->birth);
    s->birth = NULL;
}

// ---------------------------------------------------------------------------------------- ending

static void unhook(struct net_stream *s)
{
    struct net_loop *l = s->loop;

    s->state = STREAM_CLOSED;
    net_loop_worked(l, STREAM_WORK);
    list_remove(&s->on_write);
    list_remove(&s->on_read);
    heap_cancel(&l->timers, &s->timer.timer);
    source_close(l, &s->source);
    list_remove(&s->on_loop);
    list_append(&l->dead, &s->on_loop);
    while (!list_empty(&l->waiting_listeners)) // a descriptor is free again
        listener_retry((struct net_listener *)(void *)list_pop(&l->waiting_listeners));
}

static void fail(struct net_stream *s, const char *why)
{
    struct net_connector *connector = s->connector;

    if (s->state == STREAM_CLOSED)
        return;
    if (!s->engine) {
        unhook(s);
        if (s->birth && s->birth->listener)
            listener_stream_failed(s, why);
        else if (s->birth && s->birth->dial)
            dial_stream_failed(s, why);
        else if (s->birth && s->birth->attempt)
            race_stream_failed(s, why);
        else if (connector)
            connector_stream_lost(connector);
        return;
    }
    unhook(s);
    s->ops->lost(s->engine, why, s->loop->now);
    s->engine = NULL;
    if (s->connector)
        connector_stream_lost(s->connector);
}

void net_stream_drop(struct net_stream *s, const char *why)
{
    fail(s, why);
}

void net_stream_reset(struct net_stream *s, const char *why)
{
    struct linger none = {.l_onoff = 1, .l_linger = 0};

    if (s->source.fd >= 0)
        setsockopt(s->source.fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
    fail(s, why);
}

static void fail_errno(struct net_stream *s, const char *what)
{
    char why[128];

    snprintf(why, sizeof(why), "%s: %s", what, strerror(errno));
    fail(s, why);
}

// --------------------------------------------------------------------------------------- writing

static void want_out(struct net_stream *s, bool full)
{
    s->is_full = full;
    source_arm(s->loop, &s->source,
               (s->source.armed & (uint32_t)EPOLLIN) | (full ? (uint32_t)EPOLLOUT : 0));
}

// What was kept has left. Memory that was the loop's goes back to it.
static void forget_pending(struct net_stream *s)
{
    struct net_loop *l = s->loop;

    if (s->is_pending_loops && !l->cipher_spare)
        l->cipher_spare = s->pending;
    else
        free(s->pending);
    s->pending = NULL;
    s->is_pending_loops = false;
}

// What the socket does not take now, behind what it did not take before.
static void keep(struct net_stream *s, const uint8_t *data, size_t len)
{
    size_t before = s->pending ? s->pending_len - s->pending_at : 0;
    uint8_t *rest = xrealloc(NULL, before + len, 1);

    if (before > 0)
        memcpy(rest, s->pending + s->pending_at, before);
    memcpy(rest + before, data, len);
    forget_pending(s);
    s->pending = rest;
    s->pending_len = (uint32_t)(before + len);
    s->pending_at = 0;
    want_out(s, true);
}

// Much is left: the memory it lies in becomes the stream's, and the loop takes other memory.
static void keep_in_place(struct net_stream *s, size_t at, size_t len)
{
    struct net_loop *l = s->loop;

    s->pending = l->cipher_out;
    s->is_pending_loops = true;
    s->pending_at = (uint32_t)at;
    s->pending_len = (uint32_t)len;
    l->cipher_out = l->cipher_spare;
    l->cipher_out_size = l->cipher_out ? cipher_size(l) : 0;
    l->cipher_spare = NULL;
    want_out(s, true);
}

// Sends what TLS has made, and keeps what the socket does not take. False: the stream is gone.
static bool flush_cipher(struct net_stream *s)
{
    struct net_loop *l = s->loop;
    size_t len = l->cipher_out_len;
    ssize_t n = len > 0 && !s->pending ? send(s->source.fd, l->cipher_out, len, MSG_NOSIGNAL) : 0;

    l->cipher_out_len = 0;
    if (n < 0 && errno != EAGAIN && errno != EINTR) {
        fail_errno(s, "send");
        return false;
    }
    if (n < 0)
        n = 0;
    if (!s->pending && len - (size_t)n > COPY_MAX)
        keep_in_place(s, (size_t)n, len);
    else if ((size_t)n < len)
        keep(s, l->cipher_out + n, len - (size_t)n);
    return true;
}

// True when nothing is left from before.
static bool send_pending(struct net_stream *s)
{
    ssize_t n;

    if (!s->pending)
        return true;
    n = send(s->source.fd, s->pending + s->pending_at, s->pending_len - s->pending_at,
             MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN && errno != EINTR) {
        fail_errno(s, "send");
        return false;
    }
    if (n > 0)
        s->pending_at += (uint32_t)n;
    if (s->pending_at < s->pending_len)
        return false;
    forget_pending(s);
    want_out(s, false);
    return true;
}

// A contiguous piece of the output, at most one record: a block as it is when it fills a record or
// is all there is, else gathered.
static size_t next_record(struct net_loop *l, const struct buf *out, const uint8_t **data)
{
    size_t len;

    *data = buf_front(out, &len);
    if (len >= RECORD_MAX)
        return RECORD_MAX;
    if (len == out->len)
        return len;
    *data = l->gather;
    return buf_copy(out, 0, l->gather, RECORD_MAX);
}

// OpenSSL keeps no buffer for a stream at rest. While more records follow, it keeps the one it has.
static void more_follow(struct net_stream *s, bool more)
{
    if (more)
        SSL_clear_mode(s->ssl, SSL_MODE_RELEASE_BUFFERS);
    else
        SSL_set_mode(s->ssl, SSL_MODE_RELEASE_BUFFERS);
}

static void flush_tls(struct net_stream *s, struct buf *out)
{
    struct net_loop *l = s->loop;
    bool any = false;

    if (!send_pending(s))
        return;
    while (out->len > 0 && !s->pending) {
        while (out->len > 0 && l->cipher_out_len + RECORD_MAX + RECORD_EXTRA <= cipher_size(l)) {
            const uint8_t *data;
            size_t len = next_record(l, out, &data);
            int n;

            more_follow(s, len < out->len);
            n = SSL_write(s->ssl, data, (int)len); // less where the peer wants small records
            if (n <= 0) {
                char why[256];

                tls_failure(s->ssl, why, sizeof(why));
                l->cipher_out_len = 0;
                fail(s, why);
                return;
            }
            buf_skip(out, (size_t)n);
            any = true;
        }
        if (!flush_cipher(s))
            return;
    }
    if (any)
        s->ops->sent(s->engine, l->now);
}

static void flush_plain(struct net_stream *s, struct buf *out)
{
    struct iovec iov[IOV_COUNT];
    bool any = false;

    while (out->len > 0) {
        struct msghdr msg = {.msg_iov = iov};
        size_t total = 0;
        ssize_t n;

        msg.msg_iovlen = (size_t)buf_peek(out, iov, IOV_COUNT);
        for (size_t i = 0; i < msg.msg_iovlen; i++)
            total += iov[i].iov_len;
        n = sendmsg(s->source.fd, &msg, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN && errno != EINTR) {
            fail_errno(s, "send");
            return;
        }
        if (n > 0) {
            buf_skip(out, (size_t)n);
            any = true;
        }
        if (n < (ssize_t)total) {
            want_out(s, true);
            break;
        }
    }
    if (out->len == 0)
        want_out(s, false);
    if (any)
        s->ops->sent(s->engine, s->loop->now);
}

// The engine has said its last word; the peer may still speak.
static void shut(struct net_stream *s)
{
    s->is_shut = true;
    if (s->ssl && SSL_shutdown(s->ssl) >= 0 && !flush_cipher(s))
        return;
    shutdown(s->source.fd, SHUT_WR);
}

// Reads and forgets, until the peer has closed too.
static void linger(struct net_stream *s)
{
    struct net_loop *l = s->loop;

    for (int i = 0; i < READS_PER_TURN; i++) {
        ssize_t n = recv(s->source.fd, l->scratch, l->scratch_len, 0);

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n <= 0) {
            fail(s, "closed");
            return;
        }
    }
}

// The engine has said its last words. Closing a socket that holds unread bytes resets it, and the
// peer may never see those words; so it is half closed, and waits a moment for the other half.
static void finish(struct net_stream *s)
{
    struct net_loop *l = s->loop;
    struct net_connector *connector = s->connector;

    if (s->ssl && SSL_shutdown(s->ssl) >= 0 && !flush_cipher(s))
        return;
    l->cipher_out_len = 0;
    ERR_clear_error();
    if (s->is_ended) {
        fail(s, "closed"); // so has the peer
        return;
    }
    shutdown(s->source.fd, SHUT_WR);
    s->state = STREAM_LINGERING;
    list_remove(&s->on_read);
    source_arm(l, &s->source, EPOLLIN);
    heap_set(&l->timers, &s->timer.timer, mono_add_ms(l->now, LINGER_MS));
    s->ops->lost(s->engine, "closed", l->now);
    s->engine = NULL;
    s->connector = NULL;
    if (connector)
        connector_stream_lost(connector);
    linger(s);
}

// The engine is done with, its last words are not sent: a peer that does not read them is dropped.
static void wait_for_last_words(struct net_stream *s)
{
    if (!s->is_leaving)
        heap_set(&s->loop->timers, &s->timer.timer, mono_add_ms(s->loop->now, LINGER_MS));
    s->is_leaving = true;
}

void stream_flush(struct net_stream *s)
{
    struct buf *out;

    if (s->state != STREAM_RUNNING)
        return;
    out = s->ops->output(s->engine, s->loop->now);
    if (!s->is_full || s->ssl) {
        if (s->ssl)
            flush_tls(s, out);
        else
            flush_plain(s, out);
    }
    if (s->state != STREAM_RUNNING)
        return;
    if (s->ops->output(s->engine, s->loop->now)->len == 0 && !s->pending) {
        if (s->ops->is_finished(s->engine)) {
            finish(s);
            return;
        }
        if (s->ops->is_shut && !s->is_shut && s->ops->is_shut(s->engine))
            shut(s);
        if (s->state != STREAM_RUNNING)
            return;
    } else if (s->ops->is_finished(s->engine)) {
        wait_for_last_words(s);
        return;
    }
    heap_set(&s->loop->timers, &s->timer.timer, s->ops->deadline(s->engine));
}

void net_want_write(struct net_stream *s)
{
    if (s->state == STREAM_RUNNING && list_empty(&s->on_write))
        list_append(&s->loop->to_write, &s->on_write);
}

// --------------------------------------------------------------------------------------- reading

// Nothing is read any more, and the engine knows.
static void peer_ended(struct net_stream *s)
{
    s->is_ended = true;
    source_arm(s->loop, &s->source, s->source.armed & ~(uint32_t)EPOLLIN);
    s->ops->ended(s->engine, s->loop->now);
    net_want_write(s);
}

// Reading makes TLS speak too: an alert for the peer, an answer to a new key.
static bool flush_answer(struct net_stream *s)
{
    if (s->state == STREAM_RUNNING && s->loop->cipher_out_len > 0)
        return flush_cipher(s);
    s->loop->cipher_out_len = 0;
    return s->state == STREAM_RUNNING;
}

// Everything that was received is decrypted and handed over, many records at once.
static bool decrypt(struct net_stream *s)
{
    struct net_loop *l = s->loop;
    size_t len = 0;
    char why[256];

    while (s->state == STREAM_RUNNING) {
        int n, err;

        more_follow(s, l->cipher_in_len > 0);
        n = SSL_read(s->ssl, l->plain + len, RECORD_MAX);
        err = n > 0 ? SSL_ERROR_NONE : SSL_get_error(s->ssl, n);

        if (n > 0)
            len += (size_t)n;
        if (len > 0 && (n <= 0 || len >= l->scratch_len)) {
            s->ops->feed(s->engine, l->plain, len, l->now);
            len = 0;
        }
        if (n > 0)
            continue;
        if (err == SSL_ERROR_WANT_READ)
            break;
        if (err == SSL_ERROR_ZERO_RETURN && s->state == STREAM_RUNNING && s->ops->ended) {
            flush_answer(s);
            l->cipher_in_len = 0;
            if (s->state == STREAM_RUNNING)
                peer_ended(s);
            return s->state == STREAM_RUNNING;
        }
        if (err == SSL_ERROR_ZERO_RETURN)
            snprintf(why, sizeof(why), "the peer closed the connection");
        else
            tls_failure(s->ssl, why, sizeof(why));
        l->cipher_in_len = 0;
        if (flush_answer(s))
            fail(s, why);
        return false;
    }
    return flush_answer(s);
}

static void run(struct net_stream *s)
{
    s->state = STREAM_RUNNING;
    heap_cancel(&s->loop->timers, &s->timer.timer);
    if (s->birth->listener)
        listener_stream_ready(s);
    else if (s->birth->dial)
        dial_stream_ready(s);
    else
        race_stream_ready(s);
    if (s->state != STREAM_RUNNING)
        return;
    if (!s->engine) {
        fail(s, "not wanted");
        return;
    }
    net_want_write(s);
    if (s->ssl)
        decrypt(s); // what came behind the handshake may be in OpenSSL's hands already
    if (s->state != STREAM_RUNNING || s->is_ended)
        return;
    s->is_parked = s->ops->room && s->ops->room(s->engine) == 0;
    if (source_arm(s->loop, &s->source, s->is_parked ? 0 : (uint32_t)EPOLLIN) < 0)
        fail_errno(s, "epoll");
}

void stream_engine(struct net_stream *s, void *engine, const struct net_engine_ops *ops)
{
    s->engine = engine;
    s->ops = ops;
}

static void handshake(struct net_stream *s)
{
    struct net_loop *l = s->loop;
    int n = SSL_do_handshake(s->ssl), err = SSL_get_error(s->ssl, n);
    char why[256];

    if (n == 1) {
        net_loop_worked(l, NET_HANDSHAKE_WORK);
        if (!flush_cipher(s))
            return;
        tls_describe(s);
        run(s);
        return;
    }
    if (err == SSL_ERROR_WANT_READ &&
        (s->birth->attempt || s->birth->dial || s->birth->handshake_bytes <= HANDSHAKE_BYTES_MAX)) {
        flush_cipher(s);
        return;
    }
    if (err == SSL_ERROR_WANT_READ)
        snprintf(why, sizeof(why), "TLS: more than 16 KiB of handshake");
    else
        tls_failure(s->ssl, why, sizeof(why));
    flush_cipher(s); // the alert
    l->cipher_in_len = 0;
    fail(s, why);
}

// Bytes came from the socket. False: the stream is gone.
static bool received(struct net_stream *s, size_t len)
{
    struct net_loop *l = s->loop;

    if (!s->ssl) {
        s->ops->feed(s->engine, l->scratch, len, l->now);
        return s->state == STREAM_RUNNING;
    }
    l->cipher_in = l->scratch;
    l->cipher_in_len = len;
    if (s->state == STREAM_HANDSHAKE) {
        s->birth->handshake_bytes += (uint32_t)len;
        handshake(s);
    } else {
        decrypt(s);
    }
    l->cipher_in_len = 0;
    return s->state != STREAM_CLOSED;
}

// The first byte tells TLS from plain. False: there is none yet, or the stream is gone.
static bool sniff(struct net_stream *s)
{
    uint8_t first;
    ssize_t n = recv(s->source.fd, &first, 1, MSG_PEEK);

    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        fail(s, "the peer closed the connection");
    if (n <= 0)
        return false;
    if (first == 0x16) {
        s->ssl = tls_ssl_new(s->birth->tls, s);
        s->state = STREAM_HANDSHAKE;
    } else {
        run(s);
    }
    return s->state != STREAM_CLOSED;
}

// How much to read now; 0: nothing.
static size_t wanted(struct net_stream *s)
{
    struct net_loop *l = s->loop;
    size_t room = l->scratch_len;

    if (s->is_ended)
        return 0;
    if (s->state == STREAM_HANDSHAKE) // what comes behind it, the engine may have no room for
        return HANDSHAKE_BYTES_MAX;
    if (s->state != STREAM_RUNNING)
        return room;
    if (s->ops->room) {
        room = s->ops->room(s->engine);
        s->is_parked = room == 0;
        return room < l->scratch_len ? room : l->scratch_len;
    }
    if (!s->ops->is_paused(s->engine))
        return room;
    source_arm(l, &s->source, s->source.armed & ~(uint32_t)EPOLLIN);
    list_append(&l->paused, &s->on_read);
    return 0;
}

void stream_read_more(struct net_stream *s)
{
    struct net_loop *l = s->loop;

    for (int i = 0; i < READS_PER_TURN && s->state != STREAM_CLOSED; i++) {
        size_t most = wanted(s);
        ssize_t n;

        if (most == 0 || s->state == STREAM_LINGERING)
            return;
        n = recv(s->source.fd, l->scratch, most, 0);
        if (n == 0 && s->engine && s->ops->ended) {
            peer_ended(s);
            return;
        }
        if (n == 0) {
            fail(s, s->engine ? "the peer closed the connection"
                              : "the peer closed the connection during the handshake");
            return;
        }
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            source_arm(l, &s->source, s->source.armed | (uint32_t)EPOLLIN);
            return;
        }
        if (n < 0) {
            fail_errno(s, "receive");
            return;
        }
        net_loop_worked(l, (size_t)n);
        if (!received(s, (size_t)n))
            return;
        if ((size_t)n < most) {
            source_arm(l, &s->source, s->source.armed | (uint32_t)EPOLLIN);
            return;
        }
        if (s->ops && s->ops->room)
            break;
    }
    if (s->state != STREAM_CLOSED && list_empty(&s->on_read))
        list_append(&l->read_later, &s->on_read); // there is more; others first
}

void net_stream_resume(struct net_stream *s)
{
    if (!s->is_parked || s->state != STREAM_RUNNING)
        return;
    s->is_parked = false;
    if (list_empty(&s->on_read))
        list_append(&s->loop->to_read, &s->on_read);
}

void stream_resume(struct net_stream *s)
{
    if (s->ops->is_paused(s->engine))
        return;
    list_remove(&s->on_read);
    source_arm(s->loop, &s->source, s->source.armed | (uint32_t)EPOLLIN);
}

// Not read, for lack of room or because its peer has said all: yet it speaks. True: there was
// nothing more to that.
static bool is_quiet(struct net_stream *s, uint32_t events)
{
    int error = 0;
    socklen_t len = sizeof(error);

    if (!s->is_parked && !s->is_ended)
        return false;
    if (events & (EPOLLHUP | EPOLLERR)) {
        getsockopt(s->source.fd, SOL_SOCKET, SO_ERROR, &error, &len);
        if (error != 0) {
            errno = error;
            fail_errno(s, "connection");
            return true;
        }
        source_silence(s->loop, &s->source);
    }
    if (events & EPOLLIN)
        source_arm(s->loop, &s->source, s->source.armed & ~(uint32_t)EPOLLIN);
    return !(events & EPOLLOUT);
}

// The other end hears us: it is time for TLS, or for the engine.
static void begin(struct net_stream *s)
{
    if (!s->birth->tls) {
        run(s);
        return;
    }
    if (source_arm(s->loop, &s->source, (uint32_t)EPOLLIN) < 0) {
        fail_errno(s, "epoll");
        return;
    }
    if (s->birth->may_be_plain)
        return; // its first byte tells
    s->ssl = tls_ssl_new(s->birth->tls, s);
    s->state = STREAM_HANDSHAKE;
    if (s->birth->attempt && race_expected_host(s->birth->attempt))
        tls_expect_host(s->ssl, race_expected_host(s->birth->attempt));
    if (s->birth->dial && dial_expected_host(s->birth->dial))
        tls_expect_host(s->ssl, dial_expected_host(s->birth->dial));
    if (s->birth->dial)
        tls_offer(s->ssl, dial_alpn(s->birth->dial));
    if (s->birth->attempt || s->birth->dial)
        handshake(s);
}

// The proxy's answer is taken from the socket, and nothing of what follows it.
static void read_answer(struct net_stream *s)
{
    struct tunnel *t = &s->birth->tunnel;
    uint8_t data[2048];
    struct why why = {""};
    ssize_t n = recv(s->source.fd, data, sizeof(data), MSG_PEEK);
    int result = ERR_CLOSED;

    if (n > 0)
        n = recv(s->source.fd, data, tunnel_feed(t, data, (size_t)n, &result, &why), 0);
    else if (n == 0)
        tunnel_cut(t, &why);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n < 0)
        fail_errno(s, "the proxy's answer");
    else if (result == 0) {
        tunnel_fini(t);
        begin(s);
    } else if (result != ERR_AGAIN) {
        fail(s, why.text);
    }
}

static void tunnel_ready(struct net_stream *s, uint32_t events)
{
    if (events & EPOLLOUT)
        send_pending(s);
    if (s->state == STREAM_TUNNELLING && events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        read_answer(s);
}

static void ask_proxy(struct net_stream *s)
{
    const struct tunnel *t = &s->birth->tunnel;
    ssize_t n;

    s->state = STREAM_TUNNELLING;
    if (source_arm(s->loop, &s->source, (uint32_t)EPOLLIN) < 0) {
        fail_errno(s, "epoll");
        return;
    }
    n = send(s->source.fd, t->request, t->request_len, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN && errno != EINTR)
        fail_errno(s, "send");
    else if (n < (ssize_t)t->request_len)
        keep(s, (const uint8_t *)t->request + (n < 0 ? 0 : n),
             t->request_len - (size_t)(n < 0 ? 0 : n));
}

static void stream_ready(struct source *self, uint32_t events)
{
    struct net_stream *s = (struct net_stream *)(void *)self;

    if (s->state == STREAM_TUNNELLING) {
        tunnel_ready(s, events);
        return;
    }
    if (s->state == STREAM_LINGERING) {
        linger(s);
        return;
    }
    if (is_quiet(s, events))
        return;
    if (s->state == STREAM_SNIFFING && !sniff(s))
        return;
    if (events & (EPOLLHUP | EPOLLERR) && !(s->source.armed & (uint32_t)EPOLLIN) &&
        !(s->ops && s->ops->room)) {
        fail(s, "the peer broke the connection"); // it is not read at present
        return;
    }
    if (!s->is_parked && !s->is_ended && events & (EPOLLIN | EPOLLHUP | EPOLLERR) &&
        s->state != STREAM_CLOSED && list_empty(&s->on_read))
        stream_read_more(s);
    if (events & EPOLLOUT && s->state == STREAM_RUNNING) {
        s->is_full = false;
        net_want_write(s);
    } else if (events & EPOLLOUT && s->state == STREAM_HANDSHAKE) {
        send_pending(s);
    }
}

void stream_timer(struct net_stream *s)
{
    struct why why;

    if (s->state == STREAM_TUNNELLING) {
        tunnel_late(&s->birth->tunnel, &why);
        fail(s, why.text);
        return;
    }
    if (s->state != STREAM_RUNNING) {
        fail(s, "the TLS handshake did not end in time");
        return;
    }
    if (s->is_leaving) {
        fail(s, "the peer does not read");
        return;
    }
    s->ops->tick(s->engine, s->loop->now);
    net_want_write(s);
}

void stream_start(struct net_stream *s)
{
    s->source.ready = stream_ready;
    stream_names(s);
    if (s->birth->tunnel.request)
        ask_proxy(s);
    else
        begin(s);
}
