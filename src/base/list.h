// SPDX-License-Identifier: Apache-2.0
// A ring that lives inside what it links. A node on no list points at itself, so list_remove() is
// safe on any initialised node.
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *prev, *next;
};

#define list_entry(node, type, member) ((type *)(void *)((char *)(node)-offsetof(type, member)))

// The body may remove `it`, and nothing else, from the list.
#define list_for_each(it, head)                                                                    \
    for (struct list *it = (head)->next, *it##_next = it->next; it != (head);                      \
         it = it##_next, it##_next = it->next)

static inline void list_init(struct list *node)
{
    node->prev = node->next = node;
}

static inline bool list_empty(const struct list *head)
{
    return head->next == head;
}

// Puts `node`, which is on no list, at the end of the ring.
static inline void list_append(struct list *head, struct list *node)
{
    node->prev = head->prev;
    node->next = head;
    head->prev->next = node;
    head->prev = node;
}

static inline void list_prepend(struct list *head, struct list *node)
{
    list_append(head->next, node);
}

static inline void list_remove(struct list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}

// The first node, taken off the list; NULL when there is none.
static inline struct list *list_pop(struct list *head)
{
    struct list *node = head->next;

    if (node == head)
        return NULL;
    head->next = node->next;
    head->next->prev = head;
    list_init(node);
    return node;
}

static inline struct list *list_first(const struct list *head)
{
    return head->next == head ? NULL : head->next;
}
