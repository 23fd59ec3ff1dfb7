// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/net.h"

struct net_signals {
    int fd;
    struct net_watch *watch;
    void (*caught)(void *user, int number, struct mono now);
    void *user;
};

static void readable(void *user, struct mono now)
{
    struct net_signals *s = user;
    struct signalfd_siginfo info;

    while (read(s->fd, &info, sizeof(info)) == sizeof(info))
        s->caught(s->user, (int)info.ssi_signo, now);
}

int net_signals_new(struct net_loop *l, const int *numbers,
                    void (*caught)(void *user, int number, struct mono now), void *user,
                    struct net_signals **out, struct why *why)
{
    struct net_signals *s = xcalloc(1, sizeof(*s));
    sigset_t set;

    *s = (struct net_signals){.caught = caught, .user = user};
    sigemptyset(&set);
    for (; *numbers; numbers++)
        sigaddset(&set, *numbers);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    s->fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    s->watch = s->fd >= 0 ? net_watch_new(l, s->fd, readable, s) : NULL;
    if (!s->watch) {
        why_set(why, "signals cannot be watched: %s", strerror(errno));
        net_signals_free(s);
        return ERR_IO;
    }
    *out = s;
    return 0;
}

void net_signals_free(struct net_signals *s)
{
    if (!s)
        return;
    net_watch_free(s->watch);
    if (s->fd >= 0)
        close(s->fd);
    free(s);
}
