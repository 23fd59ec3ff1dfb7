// SPDX-License-Identifier: Apache-2.0
#include "base/mailbox.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/mem.h"
#include "check.h"

enum { SENDERS = 4, LETTERS = 5000 };

struct letter {
    struct mail mail;
    int sender, number;
};

struct sender {
    struct mailbox *box;
    struct letter letters[LETTERS];
    pthread_t thread;
};

static void *send_all(void *user)
{
    struct sender *s = user;

    for (int i = 0; i < LETTERS; i++)
        mailbox_send(s->box, &s->letters[i].mail);
    return NULL;
}

// As the loop does: sleeps only when there is nothing, and is woken when there is.
static struct mail *wait_for_mail(struct mailbox *box)
{
    if (mailbox_sleep(box)) {
        struct pollfd p = {.fd = box->fd, .events = POLLIN};

        CHECK_EQ(poll(&p, 1, 60000), 1); // a wake-up that was lost would hang
    }
    mailbox_wake(box);
    return mailbox_take(box);
}

TEST(mail_of_many_threads_arrives_once_each_sender_in_order)
{
    struct sender *senders = xcalloc(SENDERS, sizeof(*senders));
    int next[SENDERS] = {0}, received = 0;
    struct mailbox box;

    CHECK_EQ(mailbox_init(&box), 0);
    for (int s = 0; s < SENDERS; s++) {
        senders[s].box = &box;
        for (int i = 0; i < LETTERS; i++)
            senders[s].letters[i] = (struct letter){{NULL}, s, i};
        CHECK_EQ(pthread_create(&senders[s].thread, NULL, send_all, &senders[s]), 0);
    }
    while (received < SENDERS * LETTERS) {
        for (struct mail *m = wait_for_mail(&box), *after; m; m = after) {
            struct letter *l = (struct letter *)(void *)m;

            after = m->next;
            CHECK_EQ(l->number, next[l->sender]);
            next[l->sender]++;
            received++;
        }
    }
    for (int s = 0; s < SENDERS; s++)
        pthread_join(senders[s].thread, NULL);
    CHECK(!mailbox_take(&box));
    mailbox_fini(&box);
    free(senders);
}

TEST(only_a_sleeper_is_woken)
{
    struct letter a = {{NULL}, 0, 0}, b = {{NULL}, 0, 1};
    struct pollfd p = {.events = POLLIN};
    struct mailbox box;

    CHECK_EQ(mailbox_init(&box), 0);
    p.fd = box.fd;
    mailbox_send(&box, &a.mail); // awake: no system call
    CHECK_EQ(poll(&p, 1, 0), 0);
    CHECK(!mailbox_sleep(&box)); // there is mail already
    CHECK(mailbox_take(&box) == &a.mail);
    CHECK(mailbox_sleep(&box));
    mailbox_send(&box, &b.mail);
    CHECK_EQ(poll(&p, 1, 0), 1);
    mailbox_wake(&box);
    CHECK_EQ(poll(&p, 1, 0), 0);
    CHECK(mailbox_take(&box) == &b.mail);
    CHECK(!mailbox_take(&box));
    mailbox_fini(&box);
    mailbox_fini(&box); // nothing to close any more
}

TEST(mail_is_taken_oldest_first)
{
    struct letter letters[5] = {0};
    struct mail *m;
    struct mailbox box;

    CHECK_EQ(mailbox_init(&box), 0);
    for (int i = 0; i < 5; i++)
        mailbox_send(&box, &letters[i].mail);
    m = mailbox_take(&box);
    for (int i = 0; i < 5; i++, m = m->next)
        CHECK(m == &letters[i].mail);
    CHECK(!m);
    mailbox_fini(&box);
}

TEST_MAIN(CASE(mail_of_many_threads_arrives_once_each_sender_in_order),
          CASE(only_a_sleeper_is_woken), CASE(mail_is_taken_oldest_first))
