/* SPDX-License-Identifier: Apache-2.0
 *
 * list.h - intrusive doubly linked ring. A head and a node are the same type; an unlinked node
 * points to itself, so list_remove() is harmless twice. The length is not kept: who needs a gauge
 * counts.
 */
#pragma once
#include "base/check.h"

struct list {
    struct list *next, *prev;
};

static inline void list_init(struct list *l) { l->next = l->prev = l; }

static inline bool list_empty(const struct list *l) { return l->next == l; }

static inline void list_insert_(struct list *node, struct list *prev, struct list *next)
{
    node->prev = prev;
    node->next = next;
    prev->next = node;
    next->prev = node;
}

/* `node` must be unlinked. */
static inline void list_append(struct list *head, struct list *node)
{
    list_insert_(node, head->prev, head);
}

static inline void list_prepend(struct list *head, struct list *node)
{
    list_insert_(node, head, head->next);
}

static inline void list_remove(struct list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}

/* Oldest entry, unlinked; NULL when empty. */
static inline struct list *list_shift(struct list *head)
{
    struct list *first = head->next;

    if (first == head)
        return NULL;
    list_remove(first);
    return first;
}

#define list_entry(node, type, member) container_of(node, type, member)
#define list_first(head, type, member)                                                             \
    (list_empty(head) ? NULL : list_entry((head)->next, type, member))
/* The body may remove and free `it`, nothing else of the list. */
#define list_each(it, head, member)                                                                \
    for (__typeof__(it) next_##it,                                                                 \
         it##_init_ = (it = list_entry((head)->next, __typeof__(*it), member));                    \
         (void)it##_init_,                                                                         \
         &it->member != (head) &&                                                                  \
             (next_##it = list_entry(it->member.next, __typeof__(*it), member), true);             \
         it = next_##it)
