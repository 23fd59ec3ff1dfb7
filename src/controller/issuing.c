// SPDX-License-Identifier: Apache-2.0
// Keys are made beside the loop, in a thread that shares nothing: an RSA key may take seconds on a
// machine that is busy, and the lease wants to be renewed meanwhile. One after the other.
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/list.h"
#include "base/mem.h"
#include "controller/shell.h"

struct job {
    struct list on_issuing;
    json_t *wish, *ca, *before; // copies of its own
    int64_t now;
    issued *done;
    void *user;
    int err; // what came of it
    json_t *secret;
    struct why why;
};

struct issuing {
    struct net_watch *watch;
    struct list waiting;
    struct job *running;
    pthread_t thread;
    int fd; // the thread says that it has ended
};

static void job_free(struct job *j)
{
    json_decref(j->wish);
    json_decref(j->ca);
    json_decref(j->before);
    json_decref(j->secret);
    free(j);
}

struct errand {
    struct job *job;
    int fd;
};

static void *work(void *arg)
{
    struct errand *e = arg;
    struct job *j = e->job;
    uint64_t one = 1;
    int fd = e->fd;

    free(e);
    j->err = controller_issue(j->wish, j->ca, j->before, j->now, &j->secret, &j->why);
    while (write(fd, &one, sizeof(one)) < 0 && errno == EINTR)
        continue;
    return NULL;
}

static void tell(struct job *take)
{
    take->done(take->user, take->err, take->secret, take->wish, take->why.text);
    take->secret = NULL;
    job_free(take);
}

static void start_next(struct issuing *i)
{
    struct list *node;
    struct errand *e;

    while (!i->running && (node = list_pop(&i->waiting)) != NULL) {
        struct job *j = list_entry(node, struct job, on_issuing);

        e = xcalloc(1, sizeof(*e));
        *e = (struct errand){j, i->fd};
        if (pthread_create(&i->thread, NULL, work, e) == 0) {
            i->running = j;
            return;
        }
        free(e);
        j->err = ERR_IO;
        why_set(&j->why, "no thread for making keys: %s", strerror(errno));
        tell(j);
    }
}

static void ended(void *user, struct mono now)
{
    struct issuing *i = user;
    struct job *j = i->running;
    uint64_t count;

    (void)now;
    if (read(i->fd, &count, sizeof(count)) < 0 || !j)
        return;
    pthread_join(i->thread, NULL);
    i->running = NULL;
    tell(j);
    start_next(i);
}

int issuing_new(struct net_loop *loop, struct issuing **out, struct why *why)
{
    struct issuing *i = xcalloc(1, sizeof(*i));

    list_init(&i->waiting);
    i->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (i->fd < 0) {
        why_set(why, "eventfd: %s", strerror(errno));
        free(i);
        return ERR_IO;
    }
    i->watch = net_watch_new(loop, i->fd, ended, i);
    *out = i;
    return 0;
}

void issuing_free(struct issuing *i)
{
    struct list *node;

    if (!i)
        return;
    if (i->running) {
        pthread_join(i->thread, NULL);
        job_free(i->running);
    }
    while ((node = list_pop(&i->waiting)) != NULL)
        job_free(list_entry(node, struct job, on_issuing));
    net_watch_free(i->watch);
    close(i->fd);
    free(i);
}

void issuing_start(struct issuing *i, const json_t *wish, const json_t *ca, const json_t *before,
                   int64_t now, issued *done, void *user)
{
    struct job *j = xcalloc(1, sizeof(*j));

    *j = (struct job){.wish = json_deep_copy(wish),
                      .ca = ca ? json_deep_copy(ca) : NULL,
                      .before = before ? json_deep_copy(before) : NULL,
                      .now = now,
                      .done = done,
                      .user = user};
    list_append(&i->waiting, &j->on_issuing);
    start_next(i);
}
