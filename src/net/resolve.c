// SPDX-License-Identifier: Apache-2.0
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "net/inside.h"

// Looking up a name may block for seconds, so it is done by a thread of its own that shares nothing
// and answers by mail. Nobody waits for it, not even a loop that ends: whoever lets go of the
// mailbox last throws away what is in it.

struct answers *answers_new(void)
{
    struct answers *a = xcalloc(1, sizeof(*a));

    a->refs = 1;
    if (mailbox_init(&a->box) == 0)
        return a;
    free(a);
    return NULL;
}

void answers_unref(struct answers *a)
{
    struct mail *m;

    if (!a || __atomic_sub_fetch(&a->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    m = mailbox_take(&a->box);
    while (m) {
        struct lookup *l = (struct lookup *)(void *)m;

        m = m->next;
        lookup_free(l);
    }
    mailbox_fini(&a->box);
    free(a);
}

static void resolve(struct lookup *l, int flags)
{
    struct addrinfo hints = {
        .ai_family = l->family,
        .ai_socktype = SOCK_STREAM,
        .ai_flags = flags,
    };

    l->error = getaddrinfo(l->host, l->port, &hints, &l->result);
}

static void *work(void *arg)
{
    struct lookup *l = arg;
    struct answers *answers = l->answers; // `l` is not ours once it is sent

    resolve(l, AI_ADDRCONFIG);
    if (l->error != 0)
        resolve(l, 0); // a machine with loopback addresses only
    mailbox_send(&answers->box, &l->mail);
    answers_unref(answers);
    return NULL;
}

struct lookup *lookup_start(struct net_loop *loop, const char *host, const char *port, int family)
{
    struct lookup *l = xcalloc(1, sizeof(*l));
    pthread_attr_t attr;
    pthread_t thread;

    l->answers = loop->answers;
    l->host = xstrdup(host);
    l->port = xstrdup(port);
    l->family = family;
    loop->lookup_count++;
    resolve(l, AI_NUMERICHOST);
    if (l->error == 0) { // no name, nothing to wait for
        mailbox_send(&loop->answers->box, &l->mail);
        return l;
    }
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, (size_t)256 * 1024);
    __atomic_add_fetch(&l->answers->refs, 1, __ATOMIC_RELAXED);
    if (pthread_create(&thread, &attr, work, l) != 0) {
        answers_unref(l->answers);
        mailbox_send(&loop->answers->box, &l->mail); // with the error of the numeric attempt
    }
    pthread_attr_destroy(&attr);
    return l;
}

void lookup_free(struct lookup *l)
{
    if (l->result)
        freeaddrinfo(l->result);
    free(l->host);
    free(l->port);
    free(l);
}

// Families in turn, as the resolver ordered them.
void addresses_take(struct net_addresses *out, const struct addrinfo *found)
{
    const struct addrinfo *a = found, *b = found;
    int first_family = found ? found->ai_family : AF_UNSPEC;

    out->count = 0;
    while ((a || b) && out->count < ADDRESSES_MAX) {
        const struct addrinfo **turn = out->count % 2 == 0 ? &a : &b;

        while (a && a->ai_family != first_family)
            a = a->ai_next;
        while (b && b->ai_family == first_family)
            b = b->ai_next;
        if (!*turn)
            turn = a ? &a : &b;
        if (!*turn)
            break;
        memcpy(&out->at[out->count], (*turn)->ai_addr, (*turn)->ai_addrlen);
        out->lengths[out->count++] = (*turn)->ai_addrlen;
        *turn = (*turn)->ai_next;
    }
}

// False when the host is a name.
bool addresses_of_number(struct net_addresses *out, const char *host, const char *port)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST};
    struct addrinfo *found = NULL;

    if (getaddrinfo(host, port, &hints, &found) != 0)
        return false;
    addresses_take(out, found);
    freeaddrinfo(found);
    return true;
}

struct net_name {
    struct net_loop *loop;
    struct lookup *lookup;
    void (*found)(void *user, const struct net_addresses *addresses, const char *why,
                  struct mono now);
    void *user;
};

struct net_name *net_name_find(struct net_loop *l, const char *host, const char *port,
                               void (*found)(void *user, const struct net_addresses *addresses,
                                             const char *why, struct mono now),
                               void *user)
{
    struct net_name *n = xcalloc(1, sizeof(*n));

    *n = (struct net_name){l, lookup_start(l, host, port_text(port), AF_UNSPEC), found, user};
    n->lookup->name = n;
    return n;
}

void net_name_cancel(struct net_name *n)
{
    if (!n)
        return;
    n->lookup->name = NULL;
    free(n);
}

void name_looked_up(struct net_name *n, const struct lookup *l)
{
    struct net_name was = *n;
    struct net_addresses addresses;

    free(n);
    if (l->error != 0) {
        was.found(was.user, NULL, gai_strerror(l->error), was.loop->now);
        return;
    }
    addresses_take(&addresses, l->result);
    was.found(was.user, &addresses, NULL, was.loop->now);
}

// A peer that is gone without a word is noticed after `seconds` and about half as much again.
void set_keepalive(int fd, uint32_t seconds)
{
    int one = 1, idle = (int)seconds, count = 4, interval = idle / 8 > 0 ? idle / 8 : 1;

    if (seconds == 0)
        return;
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
}

void set_nodelay(int fd)
{
    int one = 1;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}
