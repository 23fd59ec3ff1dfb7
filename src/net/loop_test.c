// SPDX-License-Identifier: Apache-2.0
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>

#include "net/rig_test.h"

struct log {
    char text[64];
    struct net_timer timers[4];
    struct net_loop *loop;
};

static void note(struct log *l, char c)
{
    size_t len = strlen(l->text);

    CHECK(len + 1 < sizeof(l->text));
    l->text[len] = c;
}

static struct log *noted;

static void fired(void *user, struct mono now)
{
    (void)now;
    note(noted, *(const char *)user);
}

TEST(timers_fire_in_the_order_of_their_deadlines_and_once)
{
    static const char names[] = "abcd";
    struct log log = {.text = ""};
    struct net_loop *l = NULL;
    struct mono now = mono_now();

    noted = &log;
    CHECK_EQ(net_loop_new(&(struct net_hooks){0}, 65536, &l), 0);
    for (int i = 0; i < 4; i++) {
        log.timers[i].fire = fired;
        log.timers[i].user = (void *)(uintptr_t)&names[i];
        net_timer_set(l, &log.timers[i], mono_add_ms(now, 4 - i));
    }
    net_timer_set(l, &log.timers[0], mono_add_ms(now, 2)); // moved to the front of b
    net_timer_cancel(l, &log.timers[2]);
    while (strlen(log.text) < 3)
        net_loop_turn(l, MONO_NEVER);
    CHECK_STR(str_of(log.text), "dab");
    net_loop_turn(l, mono_add_ms(mono_now(), 5));
    CHECK_STR(str_of(log.text), "dab");
    net_loop_free(l);
}

TEST(where_the_kernel_waits_for_milliseconds_only_nothing_fires_early_or_never)
{
    struct log log = {.text = ""};
    struct net_loop *l = NULL;
    struct mono at = {mono_now().ns + 2 * NS_PER_MS + 300000};

    noted = &log;
    CHECK_EQ(net_loop_new(&(struct net_hooks){0}, 65536, &l), 0);
    l->is_coarse = true;
    log.timers[0] = (struct net_timer){.fire = fired, .user = (void *)(uintptr_t) "a"};
    net_timer_set(l, &log.timers[0], at);
    net_loop_turn(l, MONO_NEVER); // one turn: it has waited long enough
    CHECK_STR(str_of(log.text), "a");
    CHECK(!mono_before(mono_now(), at));
    net_loop_stop(l);
    net_loop_turn(l, MONO_NEVER); // woken, not asleep for ever
    net_loop_free(l);
}

TEST(a_loop_that_has_more_to_do_does_not_wait)
{
    struct net_loop *l = NULL;
    struct mono later = mono_add_ms(mono_now(), 20), far = mono_add_ms(mono_now(), 60000);

    CHECK_EQ(net_loop_new(&(struct net_hooks){0}, 65536, &l), 0);
    net_loop_again(l);
    net_loop_turn(l, far); // does not take a minute
    net_loop_turn(l, later);
    CHECK(!mono_before(mono_now(), later)); // that was once
    net_loop_free(l);
}

static void readable(void *user, struct mono now)
{
    uint64_t count;

    (void)now;
    CHECK(read(*(int *)user, &count, sizeof(count)) == sizeof(count));
    note(noted, 'w');
}

static void free_other(void *user, struct mono now)
{
    struct net_watch **other = user;

    (void)now;
    net_watch_free(*other);
    *other = NULL;
    note(noted, 'f');
}

TEST(a_watch_tells_when_its_descriptor_can_be_read)
{
    uint64_t one = 1;
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    struct log log = {.text = ""};
    struct net_loop *l = NULL;
    struct net_watch *w;

    noted = &log;
    CHECK_EQ(net_loop_new(&(struct net_hooks){0}, 65536, &l), 0);
    w = net_watch_new(l, fd, readable, &fd);
    CHECK(w);
    CHECK_EQ(write(fd, &one, sizeof(one)), sizeof(one));
    net_loop_turn(l, mono_add_ms(mono_now(), 1000));
    net_loop_turn(l, mono_add_ms(mono_now(), 5));
    CHECK_STR(str_of(log.text), "w");
    net_watch_free(w);
    CHECK(!net_watch_new(l, -1, readable, &fd));
    close(fd);
    net_loop_free(l);
}

TEST(a_watch_may_be_freed_by_another_in_the_same_turn)
{
    uint64_t one = 1;
    int fds[2] = {eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
    struct log log = {.text = ""};
    struct net_loop *l = NULL;
    struct net_watch *w[2];

    noted = &log;
    CHECK_EQ(net_loop_new(&(struct net_hooks){0}, 65536, &l), 0);
    w[0] = net_watch_new(l, fds[0], free_other, &w[1]);
    w[1] = net_watch_new(l, fds[1], free_other, &w[0]);
    for (int i = 0; i < 2; i++)
        CHECK_EQ(write(fds[i], &one, sizeof(one)), sizeof(one));
    net_loop_turn(l, mono_add_ms(mono_now(), 1000));
    CHECK_STR(str_of(log.text), "f"); // whichever came first
    CHECK(!w[0] != !w[1]);
    net_watch_free(w[0]);
    net_watch_free(w[1]);
    close(fds[0]);
    close(fds[1]);
    net_loop_free(l);
}

// --------------------------------------------------------------------------- mail between threads

enum { SENDERS = 3, LETTERS = 2000 };

struct letter {
    struct mail mail;
    int sender, number;
};

struct office {
    struct net_loop *loop;
    struct mailbox box;
    struct letter letters[SENDERS][LETTERS];
    int next[SENDERS], received, batches;
};

static void *send_letters(void *user)
{
    struct letter *letters = user;
    struct office *o = (struct office *)(void *)letters[0].mail.next;

    for (int i = 0; i < LETTERS; i++)
        mailbox_send(&o->box, &letters[i].mail);
    return NULL;
}

static void mail(void *user, struct mail *first, struct mono now)
{
    struct office *o = user;

    (void)now;
    o->batches++;
    for (struct mail *m = first; m; m = m->next) {
        const struct letter *l = (const struct letter *)(void *)m;

        CHECK_EQ(l->number, o->next[l->sender]);
        o->next[l->sender]++;
        o->received++;
    }
    if (o->received == SENDERS * LETTERS)
        net_loop_stop(o->loop);
}

TEST(mail_of_other_threads_wakes_the_loop_and_comes_in_order)
{
    struct office *o = xcalloc(1, sizeof(*o));
    pthread_t threads[SENDERS];

    CHECK_EQ(net_loop_new(&(struct net_hooks){0}, 65536, &o->loop), 0);
    CHECK_EQ(mailbox_init(&o->box), 0);
    net_loop_set_mailbox(o->loop, &o->box, mail, o);
    for (int s = 0; s < SENDERS; s++) {
        for (int i = 0; i < LETTERS; i++)
            o->letters[s][i] = (struct letter){{NULL}, s, i};
        o->letters[s][0].mail.next = (struct mail *)(void *)o; // told once, then overwritten
        CHECK_EQ(pthread_create(&threads[s], NULL, send_letters, o->letters[s]), 0);
    }
    net_loop_run(o->loop);
    for (int s = 0; s < SENDERS; s++)
        pthread_join(threads[s], NULL);
    CHECK_EQ(o->received, SENDERS * LETTERS);
    net_loop_free(o->loop);
    mailbox_fini(&o->box);
    free(o);
}

static void *stop(void *user)
{
    net_loop_stop(user);
    return NULL;
}

TEST(a_loop_that_sleeps_is_stopped_from_outside)
{
    struct net_loop *l = NULL;
    pthread_t thread;

    CHECK_EQ(net_loop_new(&(struct net_hooks){0}, 65536, &l), 0);
    CHECK_EQ(pthread_create(&thread, NULL, stop, l), 0);
    net_loop_run(l);
    pthread_join(thread, NULL);
    net_loop_free(l);
}

TEST(one_busy_stream_does_not_keep_others_from_their_turn)
{
    enum { MUCH = 65536 * READS_PER_TURN * 3 };
    char *data = xcalloc(1, MUCH);
    struct rig r;
    int busy, quiet, sent = 0;

    rig_begin(&r);
    rig_listen(&r, (struct net_listener_opts){0});
    busy = rig_dial(&r);
    RIG_UNTIL(&r, r.end_count == 1);
    quiet = rig_dial(&r);
    RIG_UNTIL(&r, r.end_count == 2);
    while (sent < MUCH) {
        ssize_t n = send(busy, data, (size_t)(MUCH - sent), MSG_DONTWAIT);

        if (n <= 0)
            break;
        sent += (int)n;
    }
    CHECK(sent > 65536 * READS_PER_TURN);
    CHECK_EQ(send(quiet, "x", 1, 0), 1);
    rig_turn(&r);
    CHECK_EQ(r.ends[1].got_len, 1);
    CHECK(r.ends[0].got_len <= 65536 * READS_PER_TURN);
    RIG_UNTIL(&r, r.ends[0].got_len == (size_t)sent);
    close(busy);
    close(quiet);
    rig_end(&r);
    free(data);
}

TEST(the_end_of_the_loop_ends_every_stream)
{
    struct rig r;

    rig_begin(&r);
    rig_listen(&r, (struct net_listener_opts){0});
    rig_connect(&r, (struct net_connector_opts){0});
    RIG_UNTIL(&r, r.end_count == 2);
    net_loop_drop_all(r.loop, "good night");
    CHECK_STR(str_of(r.ends[0].why), "good night");
    CHECK_STR(str_of(r.ends[1].why), "good night");
    rig_end(&r);
}

static void count_rest(void *user, bool is_quiet)
{
    CHECK(is_quiet);
    (*(int *)user)++;
}

struct rests {
    int quiet, other;
};

static void tell_rest(void *user, bool is_quiet)
{
    struct rests *told = user;

    told->quiet += is_quiet;
    told->other += !is_quiet;
}

TEST(a_loop_rests_when_it_has_little_to_do_after_much)
{
    int rests = 0;
    struct net_loop *l = NULL;
    struct mono began = mono_now();

    CHECK_EQ(net_loop_new(&(struct net_hooks){.user = &rests, .rest = count_rest}, 65536, &l), 0);
    net_loop_worked(l, REST_WORK - 1);
    CHECK_EQ(heap_deadline(&l->timers).ns, MONO_NEVER.ns);
    net_loop_worked(l, 1);
    net_loop_worked(l, REST_WORK); // and it goes on
    net_loop_turn(l, MONO_NEVER);
    CHECK_EQ(rests, 0);
    while (rests == 0)
        net_loop_turn(l, MONO_NEVER);
    CHECK(mono_ms_between(began, mono_now()) >= 2 * REST_MS - 1);
    while (rests == 1) // for what is kept a while after the load
        net_loop_turn(l, MONO_NEVER);
    CHECK(mono_ms_between(began, mono_now()) >= 2 * REST_MS + REST_AGAIN_MS - 1);
    CHECK_EQ(rests, 2);
    CHECK_EQ(heap_deadline(&l->timers).ns, MONO_NEVER.ns);
    net_loop_free(l);
}

TEST(little_work_for_a_long_time_is_nothing_to_rest_from)
{
    struct net_loop *l = NULL;

    CHECK_EQ(net_loop_new(&(struct net_hooks){0}, 65536, &l), 0);
    for (int half_seconds = 0; half_seconds < 20; half_seconds++) {
        net_loop_worked(l, REST_WORK / 3);
        CHECK_EQ(heap_deadline(&l->timers).ns, MONO_NEVER.ns);
        l->now = mono_add_ms(l->now, REST_MS / 2);
    }
    net_loop_free(l);
}

TEST(who_is_at_work_while_resting_keeps_what_it_works_with)
{
    struct rests told = {0, 0};
    struct net_loop *l = NULL;

    CHECK_EQ(net_loop_new(&(struct net_hooks){.user = &told, .rest = tell_rest}, 65536, &l), 0);
    net_loop_worked(l, REST_WORK);
    net_loop_worked(l, QUIET_WORK);
    while (told.quiet + told.other == 0)
        net_loop_turn(l, MONO_NEVER);
    CHECK(told.other == 1 && told.quiet == 0);
    l->rests = 0; // as after the second time
    net_loop_worked(l, QUIET_WORK);
    heap_set(&l->timers, &l->rest_timer.timer, l->now);
    net_loop_turn(l, l->now);
    CHECK(told.other == 1 && told.quiet == 0); // it is told nothing more …
    CHECK(heap_deadline(&l->timers).ns != MONO_NEVER.ns);
    l->work = l->work_before = 0;
    heap_set(&l->timers, &l->rest_timer.timer, l->now);
    net_loop_turn(l, l->now);
    CHECK(told.other == 1 && told.quiet == 1); // … until it is quiet
    CHECK_EQ(heap_deadline(&l->timers).ns, MONO_NEVER.ns);
    net_loop_free(l);
}

static void caught(void *user, int number, struct mono now)
{
    (void)now;
    note(user, number == SIGTERM ? 't' : number == SIGHUP ? 'h' : '?');
}

TEST(signals_are_told_in_the_loop_and_do_nothing_else)
{
    static const int numbers[] = {SIGTERM, SIGHUP, 0};
    struct net_signals *signals = NULL;
    struct log log = {.text = ""};
    struct net_loop *l = NULL;

    CHECK_EQ(net_loop_new(&(struct net_hooks){0}, 65536, &l), 0);
    CHECK_EQ(net_signals_new(l, numbers, caught, &log, &signals, NULL), 0);
    raise(SIGPIPE);
    raise(SIGTERM);
    CHECK_STR(str_of(log.text), "");
    net_loop_turn(l, MONO_NEVER);
    CHECK_STR(str_of(log.text), "t");
    raise(SIGTERM);
    raise(SIGHUP);
    net_loop_turn(l, MONO_NEVER);
    CHECK(strlen(log.text) == 3 && strchr(log.text, 'h')); // in whatever order
    net_signals_free(signals);
    raise(SIGHUP);
    net_loop_turn(l, mono_add_ms(mono_now(), 5));
    CHECK_EQ(strlen(log.text), 3);
    net_loop_free(l);
}

TEST_MAIN(CASE(timers_fire_in_the_order_of_their_deadlines_and_once),
          CASE(where_the_kernel_waits_for_milliseconds_only_nothing_fires_early_or_never),
          CASE(a_loop_that_has_more_to_do_does_not_wait),
          CASE(a_watch_tells_when_its_descriptor_can_be_read),
          CASE(a_watch_may_be_freed_by_another_in_the_same_turn),
          CASE(mail_of_other_threads_wakes_the_loop_and_comes_in_order),
          CASE(a_loop_that_sleeps_is_stopped_from_outside),
          CASE(one_busy_stream_does_not_keep_others_from_their_turn),
          CASE(the_end_of_the_loop_ends_every_stream),
          CASE(a_loop_rests_when_it_has_little_to_do_after_much),
          CASE(little_work_for_a_long_time_is_nothing_to_rest_from),
          CASE(who_is_at_work_while_resting_keeps_what_it_works_with),
          CASE(signals_are_told_in_the_loop_and_do_nothing_else))
