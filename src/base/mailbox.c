// SPDX-License-Identifier: Apache-2.0
#include "base/mailbox.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/err.h"

int mailbox_init(struct mailbox *m)
{
    atomic_init(&m->top, NULL);
    atomic_init(&m->sleeping, false);
    m->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return m->fd < 0 ? ERR_IO : 0;
}

void mailbox_fini(struct mailbox *m)
{
    if (m->fd >= 0)
        close(m->fd);
    m->fd = -1;
}

void mailbox_send(struct mailbox *m, struct mail *take)
{
    struct mail *top = atomic_load_explicit(&m->top, memory_order_relaxed);
    uint64_t one = 1;

    do
        take->next = top;
    while (!atomic_compare_exchange_weak(&m->top, &top, take));
    if (atomic_exchange(&m->sleeping, false))
        (void)!write(m->fd, &one, sizeof(one));
}

struct mail *mailbox_take(struct mailbox *m)
{
    struct mail *at = atomic_exchange(&m->top, NULL), *first = NULL;

    while (at) { // newest first: turn it round
        struct mail *next = at->next;

        at->next = first;
        first = at;
        at = next;
    }
    return first;
}

bool mailbox_sleep(struct mailbox *m)
{
    atomic_store(&m->sleeping, true);
    if (!atomic_load(&m->top))
        return true;
    atomic_store(&m->sleeping, false);
    return false;
}

void mailbox_wake(struct mailbox *m)
{
    uint64_t count;

    // Still asleep: no sender has written, so there is nothing to read.
    if (!atomic_exchange(&m->sleeping, false))
        (void)!read(m->fd, &count, sizeof(count));
}
