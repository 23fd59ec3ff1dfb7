// SPDX-License-Identifier: Apache-2.0
// libcurl's sockets and timer in an epoll instance of the client's own. A loop watches that one
// descriptor; without a loop the client waits for it itself.
#include <errno.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kube/exchange.h"
#include "kube/inside.h"
#include "libcurl/libcurl.h"
#include "net/net.h"

enum {
    EVENTS = 64,
    CONNECTIONS_IDLE_MAX = 4, // kept for later, beside those in use
};

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *user, void *known)
{
    struct kube *k = user;
    struct epoll_event ev = {.data.u64 = (uint64_t)fd};

    (void)easy;
    (void)known;
    if (what == CURL_POLL_REMOVE) {
        epoll_ctl(k->epoll, EPOLL_CTL_DEL, fd, NULL);
        return 0;
    }
    ev.events = (what & CURL_POLL_IN ? EPOLLIN : 0u) | (what & CURL_POLL_OUT ? EPOLLOUT : 0u);
    // A descriptor that was closed is in no epoll instance, whatever libcurl knew of its number.
    if (epoll_ctl(k->epoll, EPOLL_CTL_MOD, fd, &ev) < 0 && errno == ENOENT)
        return epoll_ctl(k->epoll, EPOLL_CTL_ADD, fd, &ev);
    return 0;
}

static int on_timer(CURLM *multi, long ms, void *user)
{
    struct kube *k = user;

    (void)multi;
    wake_set(k, &k->curl_wake, ms < 0 ? MONO_NEVER : mono_add_ms(mono_now(), ms));
    return 0;
}

static void finish(struct kube *k)
{
    const struct curl_lib *lib = curl_lib();
    CURLMsg *msg;
    int left;

    while ((msg = lib->multi_info_read(k->multi, &left)) != NULL) {
        char *x = NULL;
        CURLcode code = msg->data.result;

        if (msg->msg != CURLMSG_DONE)
            continue;
        lib->easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &x);
        exchange_done((struct exchange *)(void *)x, code);
    }
}

static void act(struct kube *k, curl_socket_t fd, int events)
{
    int running;

    curl_lib()->multi_socket_action(k->multi, fd, events, &running);
}

static void curl_timer(void *user, struct mono now)
{
    struct kube *k = user;

    (void)now;
    act(k, CURL_SOCKET_TIMEOUT, 0);
    finish(k);
}

void transport_turn(struct kube *k, struct mono now)
{
    struct epoll_event events[EVENTS];
    int count = epoll_wait(k->epoll, events, EVENTS, 0);

    for (int i = 0; i < count; i++) {
        if (events[i].data.u64 == PLUGIN_EVENT) {
            plugin_ready(k, now);
            continue;
        }
        act(k, (curl_socket_t)events[i].data.u64,
            (events[i].events & EPOLLIN ? CURL_CSELECT_IN : 0) |
                (events[i].events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
                (events[i].events & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0));
    }
    finish(k);
}

// libcurl counts those in use as well: with a fixed number, each request of many would make its own
// connection to a server without HTTP/2.
void transport_carry(struct kube *k, int more)
{
    k->carried_count += more;
    curl_lib()->multi_setopt(k->multi, CURLMOPT_MAXCONNECTS,
                             (long)k->carried_count + CONNECTIONS_IDLE_MAX);
}

static void multi_new(struct kube *k)
{
    const struct curl_lib *lib = curl_lib();

    k->multi = lib->multi_init();
    if (!k->multi)
        abort(); // no memory
    lib->multi_setopt(k->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    lib->multi_setopt(k->multi, CURLMOPT_SOCKETDATA, k);
    lib->multi_setopt(k->multi, CURLMOPT_TIMERFUNCTION, on_timer);
    lib->multi_setopt(k->multi, CURLMOPT_TIMERDATA, k);
    lib->multi_setopt(k->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_MULTIPLEX);
    transport_carry(k, 0);
}

int transport_init(struct kube *k, struct why *why)
{
    if (curl_lib()->why) {
        why_set(why, "the API of Kubernetes cannot be used here: %s", curl_lib()->why);
        return ERR_UNSUPPORTED;
    }
    k->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (k->epoll < 0) {
        why_set(why, "no descriptor is left; the limits of this process are too low");
        return ERR_IO;
    }
    k->curl_wake = (struct wake){.fire = curl_timer, .user = k};
    multi_new(k);
    return 0;
}

void transport_fini(struct kube *k)
{
    if (k->multi)
        curl_lib()->multi_cleanup(k->multi);
    k->multi = NULL;
    wake_set(k, &k->curl_wake, MONO_NEVER);
}

void transport_reset(struct kube *k)
{
    exchanges_lose(k, "nothing is heard of the server");
    transport_fini(k);
    multi_new(k);
}
