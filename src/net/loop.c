// SPDX-License-Identifier: Apache-2.0
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/inside.h"

// One event loop. Where to read:
//
//   loop.c       waiting, timers, the order of a turn
//   stream.c     a connected socket and the engine behind it; plain and TLS
//   tls.c        profiles, certificates, words for what went wrong
//   listener.c   sockets that accept; resolve.c  names
//   connector.c  connections that are kept up; race.c  which of several places answers first
//   dial.c       connections that are made once
//
// The loop owns everything made on it. Streams, listeners and connectors are sources: the first
// member says what to call when epoll speaks. Descriptors stay registered for reading; writing is
// asked for only while a socket takes less than there is. A stream that ends is unhooked at once
// and freed at the end of the turn, so callbacks may drop anything.

enum { EVENTS = 256, EVENTS_MAX = 0x7fffffff };

int source_add(struct net_loop *l, struct source *s, uint32_t events)
{
    struct epoll_event ev = {.events = events, .data.ptr = s};

    s->armed = events & EVENTS_MAX;
    return epoll_ctl(l->epoll, EPOLL_CTL_ADD, s->fd, &ev) < 0 ? ERR_IO : 0;
}

int source_arm(struct net_loop *l, struct source *s, uint32_t events)
{
    struct epoll_event ev = {.events = events, .data.ptr = s};

    if ((s->armed == events && !s->is_removed) || s->fd < 0)
        return 0;
    if (epoll_ctl(l->epoll, s->is_removed ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, s->fd, &ev) < 0)
        return ERR_IO;
    s->armed = events & EVENTS_MAX;
    s->is_removed = false;
    return 0;
}

// Nothing is heard of it until it is armed again.
void source_silence(struct net_loop *l, struct source *s)
{
    if (s->fd >= 0 && !s->is_removed)
        epoll_ctl(l->epoll, EPOLL_CTL_DEL, s->fd, NULL);
    s->is_removed = true;
}

void source_close(struct net_loop *l, struct source *s)
{
    if (s->fd < 0)
        return;
    (void)l;
    close(s->fd); // which takes it out of epoll too
    s->fd = -1;
}

// Events that were fetched for this turn may still point at it.
void loop_free_later(struct net_loop *l, void *ptr)
{
    if (l->rubbish_count == l->rubbish_size) {
        l->rubbish_size = l->rubbish_size ? l->rubbish_size * 2 : 16;
        l->rubbish = xrealloc(l->rubbish, l->rubbish_size, sizeof(void *));
    }
    l->rubbish[l->rubbish_count++] = ptr;
}

static void lookups_ready(struct source *self, uint32_t events)
{
    struct net_loop *l =
        (struct net_loop *)(void *)((char *)self - offsetof(struct net_loop, lookup_source));
    struct mail *m;

    (void)events;
    mailbox_wake(&l->answers->box);
    do { // what comes while we are at it wakes nobody
        m = mailbox_take(&l->answers->box);
        while (m) {
            struct lookup *found = (struct lookup *)(void *)m;

            m = m->next;
            l->lookup_count--;
            if (found->target)
                target_looked_up(found->target, found);
            if (found->name)
                name_looked_up(found->name, found);
            if (found->way)
                race_looked_up(found);
            lookup_free(found);
        }
    } while (!mailbox_sleep(&l->answers->box));
}

static void woken(struct source *self, uint32_t events)
{
    uint64_t count;

    (void)events;
    (void)!read(self->fd, &count, sizeof(count));
}

static void mail_ready(struct source *self, uint32_t events)
{
    (void)self;
    (void)events; // taken at the top of every turn
}

int net_loop_new(const struct net_hooks *hooks, size_t scratch_len, struct net_loop **out)
{
    struct net_loop *l = xcalloc(1, sizeof(*l));

    l->hooks = *hooks;
    l->scratch_len = scratch_len;
    heap_init(&l->timers);
    list_init(&l->to_write);
    list_init(&l->to_read);
    list_init(&l->read_later);
    list_init(&l->paused);
    list_init(&l->streams);
    list_init(&l->dead);
    list_init(&l->waiting_listeners);
    l->rest_timer.kind = TIMER_REST;
    l->now = mono_now();
    l->epoll = epoll_create1(EPOLL_CLOEXEC);
    l->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    l->bio_method = tls_bio_method();
    l->wake_source = (struct source){.ready = woken, .fd = l->wake_fd};
    l->answers = answers_new();
    if (l->epoll < 0 || l->wake_fd < 0 || !l->answers) {
        net_loop_free(l);
        return ERR_IO;
    }
    l->lookup_source = (struct source){.ready = lookups_ready, .fd = l->answers->box.fd};
    mailbox_sleep(&l->answers->box);
    if (source_add(l, &l->wake_source, EPOLLIN) < 0 ||
        source_add(l, &l->lookup_source, EPOLLIN) < 0) {
        net_loop_free(l);
        return ERR_IO;
    }
    l->scratch = xcalloc(1, scratch_len);
    l->plain = xcalloc(1, scratch_len + RECORD_MAX);
    l->gather = xcalloc(1, RECORD_MAX);
    *out = l;
    return 0;
}

static void bury(struct net_loop *l)
{
    struct list *node;

    while ((node = list_pop(&l->dead)) != NULL)
        stream_free(list_entry(node, struct net_stream, on_loop));
    while (l->rubbish_count > 0)
        free(l->rubbish[--l->rubbish_count]);
}

void net_loop_drop_all(struct net_loop *l, const char *why)
{
    while (!list_empty(&l->streams))
        net_stream_drop(list_entry(l->streams.next, struct net_stream, on_loop), why);
    bury(l);
}

void net_loop_free(struct net_loop *l)
{
    if (!l)
        return;
    net_loop_drop_all(l, "the loop ends");
    answers_unref(l->answers);
    heap_fini(&l->timers);
    if (l->wake_fd >= 0)
        close(l->wake_fd);
    if (l->epoll >= 0)
        close(l->epoll);
    BIO_meth_free(l->bio_method);
    free(l->scratch);
    free(l->plain);
    free(l->gather);
    free(l->cipher_out);
    free(l->cipher_spare);
    free(l->rubbish);
    free(l);
}

static void count_work(struct net_loop *l)
{
    int64_t ms = mono_ms_between(l->work_since, l->now);

    if (ms < REST_MS)
        return;
    l->work_before = ms < INT64_C(2) * REST_MS ? l->work : 0;
    l->work = 0;
    l->work_since = l->now;
}

static void rest_later(struct net_loop *l)
{
    l->work = l->work_before = 0;
    l->work_since = l->now;
    l->rests = 2;
    heap_set(&l->timers, &l->rest_timer.timer, mono_add_ms(l->now, REST_MS));
}

// Little work for a long time is no load: who rests from that keeps resting while clients wait.
void net_loop_worked(struct net_loop *l, size_t work)
{
    count_work(l);
    l->work += work;
    if (l->work >= REST_WORK && l->rests < 2)
        rest_later(l);
}

// Memory goes back when load goes, and once more when what is kept for a while after it has gone.
static void maybe_rest(struct net_loop *l)
{
    bool is_busy, is_quiet;

    count_work(l);
    is_busy = l->work >= REST_WORK || l->work_before >= REST_WORK;
    is_quiet = l->work + l->work_before < QUIET_WORK;
    if (is_busy) {
        rest_later(l);
        return;
    }
    if (l->rests > 1 || !is_quiet)
        heap_set(&l->timers, &l->rest_timer.timer, mono_add_ms(l->now, REST_AGAIN_MS));
    if (l->rests == 0 && !is_quiet)
        return; // only the quiet is waited for
    if (l->rests > 0)
        l->rests--;
    mem_forget(l->scratch, l->scratch_len);
    mem_forget(l->plain, l->scratch_len + RECORD_MAX);
    mem_forget(l->cipher_out, l->cipher_out_size);
    free(l->cipher_spare);
    l->cipher_spare = NULL;
    if (l->hooks.rest)
        l->hooks.rest(l->hooks.user, is_quiet);
}

static void fire(struct net_loop *l, struct timer *t)
{
    struct loop_timer *lt = (struct loop_timer *)(void *)t;
    struct net_stream *s;

    switch (lt->kind) {
    case TIMER_USER: {
        struct net_timer *user = (struct net_timer *)(void *)t;

        user->fire(user->user, l->now);
        break;
    }
    case TIMER_STREAM:
        s = (struct net_stream *)(void *)((char *)lt - offsetof(struct net_stream, timer));
        stream_timer(s);
        break;
    case TIMER_LISTENER:
        listener_timer(lt);
        break;
    case TIMER_CONNECTOR:
        connector_timer(lt);
        break;
    case TIMER_RACE:
        race_timer(lt);
        break;
    case TIMER_DIAL:
        dial_timer(lt);
        break;
    case TIMER_REST:
        maybe_rest(l);
        break;
    }
}

static void take_mail(struct net_loop *l)
{
    struct mail *m = l->mailbox ? mailbox_take(l->mailbox) : NULL;

    if (m)
        l->mail(l->mail_user, m, l->now);
}

// Kernels before 5.11, and some sandboxes, know only whole milliseconds.
static int wait_until(struct net_loop *l, struct epoll_event *events, const struct timespec *left)
{
    int count = l->is_coarse ? -1 : epoll_pwait2(l->epoll, events, EVENTS, left, NULL);
    int64_t ms = -1;

    if (!l->is_coarse && (count >= 0 || (errno != ENOSYS && errno != EPERM)))
        return count;
    l->is_coarse = true;
    if (left) // not too early
        ms = (int64_t)left->tv_sec * 1000 + (left->tv_nsec + NS_PER_MS - 1) / NS_PER_MS;
    return epoll_wait(l->epoll, events, EVENTS, ms > INT_MAX ? INT_MAX : (int)ms);
}

static int wait_for_events(struct net_loop *l, struct mono until, struct epoll_event *events)
{
    struct mono at = mono_min(until, heap_deadline(&l->timers));
    struct timespec ts, *timeout = NULL;
    bool may_sleep = !l->is_unfinished && list_empty(&l->to_read) && list_empty(&l->read_later) &&
                     list_empty(&l->to_write) && (!l->mailbox || mailbox_sleep(l->mailbox));
    int count;

    if (at.ns != MONO_NEVER.ns || !may_sleep) {
        int64_t left = may_sleep ? at.ns - mono_now().ns : 0;

        if (left < 0)
            left = 0;
        ts = (struct timespec){left / NS_PER_S, left % NS_PER_S};
        timeout = &ts;
    }
    count = wait_until(l, events, timeout);
    if (l->mailbox && may_sleep)
        mailbox_wake(l->mailbox);
    return count;
}

void net_loop_turn(struct net_loop *l, struct mono until)
{
    struct epoll_event events[EVENTS];
    int count = wait_for_events(l, until, events);
    struct list *node, again;
    struct timer *t;

    l->now = mono_now();
    l->is_unfinished = false;
    take_mail(l);
    list_init(&again);
    while ((node = list_pop(&l->to_read)) != NULL)
        list_append(&again, node);
    while ((node = list_pop(&l->read_later)) != NULL)
        list_append(&again, node);
    for (int i = 0; i < count; i++) {
        struct source *s = events[i].data.ptr;

        if (s->fd >= 0)
            s->ready(s, events[i].events);
    }
    while ((node = list_pop(&again)) != NULL)
        stream_read_more(list_entry(node, struct net_stream, on_read));
    while ((t = heap_pop_due(&l->timers, l->now)) != NULL)
        fire(l, t);
    if (l->hooks.turn)
        l->hooks.turn(l->hooks.user, l->now);
    while ((node = list_pop(&l->to_write)) != NULL)
        stream_flush(list_entry(node, struct net_stream, on_write));
    list_for_each (it, &l->paused)
        stream_resume(list_entry(it, struct net_stream, on_read));
    bury(l);
}

void net_loop_run(struct net_loop *l)
{
    while (!__atomic_load_n(&l->stopping, __ATOMIC_RELAXED))
        net_loop_turn(l, MONO_NEVER);
}

void net_loop_stop(struct net_loop *l)
{
    uint64_t one = 1;

    __atomic_store_n(&l->stopping, true, __ATOMIC_RELAXED);
    (void)!write(l->wake_fd, &one, sizeof(one));
}

void net_loop_again(struct net_loop *l)
{
    l->is_unfinished = true;
}

struct mono net_loop_now(const struct net_loop *l)
{
    return l->now;
}

void net_timer_set(struct net_loop *l, struct net_timer *t, struct mono at)
{
    t->kind = TIMER_USER;
    heap_set(&l->timers, &t->timer, at);
}

void net_timer_cancel(struct net_loop *l, struct net_timer *t)
{
    heap_cancel(&l->timers, &t->timer);
}

struct net_watch {
    struct source source;
    struct net_loop *loop;
    void (*readable)(void *user, struct mono now);
    void *user;
};

static void watch_ready(struct source *self, uint32_t events)
{
    struct net_watch *w = (struct net_watch *)(void *)self;

    (void)events;
    w->readable(w->user, w->loop->now);
}

struct net_watch *net_watch_new(struct net_loop *l, int fd,
                                void (*readable)(void *user, struct mono now), void *user)
{
    struct net_watch *w = xcalloc(1, sizeof(*w));

    *w = (struct net_watch){{.ready = watch_ready, .fd = fd}, l, readable, user};
    if (source_add(l, &w->source, EPOLLIN) < 0) {
        free(w);
        return NULL;
    }
    return w;
}

// The descriptor stays its owner's.
void net_watch_free(struct net_watch *w)
{
    if (!w)
        return;
    epoll_ctl(w->loop->epoll, EPOLL_CTL_DEL, w->source.fd, NULL);
    w->source.fd = -1;
    loop_free_later(w->loop, w);
}

void net_loop_set_mailbox(struct net_loop *l, struct mailbox *m,
                          void (*mail)(void *user, struct mail *first, struct mono now), void *user)
{
    l->mailbox = m;
    l->mail = mail;
    l->mail_user = user;
    l->mail_source = (struct source){.ready = mail_ready, .fd = m->fd};
    source_add(l, &l->mail_source, EPOLLIN);
}
