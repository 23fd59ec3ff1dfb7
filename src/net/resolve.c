// SPDX-License-Identifier: Apache-2.0
#include <netdb.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/mem.h"
#include "net/inside.h"

// Looking up a name may block for seconds, so it is done by a thread of its own that shares nothing
// and answers by mail.

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

    resolve(l, AI_ADDRCONFIG);
    if (l->error != 0)
        resolve(l, 0); // a machine with loopback addresses only
    mailbox_send(&l->loop->lookups, &l->mail);
    return NULL;
}

struct lookup *lookup_start(struct net_loop *loop, struct net_connector *c, const char *host,
                            const char *port, int family)
{
    struct lookup *l = xcalloc(1, sizeof(*l));
    pthread_attr_t attr;
    pthread_t thread;

    l->loop = loop;
    l->connector = c;
    l->host = xstrdup(host);
    l->port = xstrdup(port);
    l->family = family;
    loop->lookup_count++;
    resolve(l, AI_NUMERICHOST);
    if (l->error == 0) { // no name, nothing to wait for
        mailbox_send(&loop->lookups, &l->mail);
        return l;
    }
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, 256 * 1024);
    if (pthread_create(&thread, &attr, work, l) != 0)
        mailbox_send(&loop->lookups, &l->mail); // with the error of the numeric attempt
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
