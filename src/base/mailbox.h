// SPDX-License-Identifier: Apache-2.0
// Work passed between threads: many senders, one receiver. Lock-free push; the receiver takes
// everything at once, in order of arrival. The eventfd is written only when the receiver may sleep.
#pragma once

#include <stdatomic.h>
#include <stdbool.h>

struct mail {
    struct mail *next;
};

struct mailbox {
    _Atomic(struct mail *) top;
    atomic_bool sleeping;
    int fd; // eventfd, readable when there is mail for a sleeping receiver
};

// Returns 0 or ERR_IO.
int mailbox_init(struct mailbox *m);
void mailbox_fini(struct mailbox *m);
// Any thread. The mail belongs to the receiver from here on.
void mailbox_send(struct mailbox *m, struct mail *take);
// Receiver only: all mail, oldest first, linked by `next`; NULL when there is none.
struct mail *mailbox_take(struct mailbox *m);
// Receiver only, around its wait: returns false when there is mail already (do not wait).
bool mailbox_sleep(struct mailbox *m);
void mailbox_wake(struct mailbox *m);
