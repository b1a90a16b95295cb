/* SPDX-License-Identifier: Apache-2.0
 *
 * deadline.c - one list per distinct duration. Within a list the oldest stands first, so arming is
 * an append and the loop's timer only ever needs the earliest list head. A program has some twenty
 * durations; back-off delays with jitter add a list each while armed, and empty lists are reused,
 * so looking through the lists linearly is right. Pure: the clock and the timer are the loop's.
 */
#include "ev/deadline.h"

#include "base/mem.h"
#include "ev/loop_priv.h"

struct deadline_list {
    uint64_t ms;
    struct list armed; /* of struct deadline.node, oldest first */
};

struct deadlines {
    struct deadline_list **lists;
    unsigned count;
};

struct deadlines *deadlines_create(void) { return xnew(struct deadlines); }

void deadlines_destroy(struct deadlines **dp)
{
    struct deadlines *d = TAKE(dp);

    if (!d)
        return;
    for (unsigned i = 0; i < d->count; i++) {
        CHECK(list_empty(&d->lists[i]->armed));
        mem_free(d->lists[i]);
    }
    mem_free(d->lists);
    mem_free(d);
}

static struct deadline_list *empty_list(const struct deadlines *d)
{
    for (unsigned i = 0; i < d->count; i++)
        if (list_empty(&d->lists[i]->armed))
            return d->lists[i];
    return NULL;
}

/* The list of that duration: found, reused, or new. */
static struct deadline_list *list_for(struct deadlines *d, uint64_t ms)
{
    struct deadline_list *q;

    for (unsigned i = 0; i < d->count; i++)
        if (d->lists[i]->ms == ms)
            return d->lists[i];
    /* short tables keep their settings' lists, long ones recycle */
    q = d->count >= 32 ? empty_list(d) : NULL;
    if (q) {
        q->ms = ms;
        return q;
    }
    q = xnew(struct deadline_list, .ms = ms);
    list_init(&q->armed);
    d->lists = mem_resize_array(d->lists, d->count + 1, sizeof(struct deadline_list *));
    d->lists[d->count++] = q;
    return q;
}

void deadline_arm(struct loop *l, struct deadline *d, uint64_t ms, deadline_fn *fn)
{
    struct deadline_list *q = d->queue;

    deadline_stop(d);
    if (ms == 0)
        return;
    if (!q || q->ms != ms)
        q = list_for(loop_deadlines(l), ms);
    d->fn = fn;
    d->queue = q;
    d->due_ms = (loop_now_us(l) + 999) / 1000 + ms; /* the begun millisecond counts as none */
    if (list_empty(&q->armed))
        loop_wake_at(l, d->due_ms);
    list_init(&d->node);
    list_append(&q->armed, &d->node);
}

void deadline_stop(struct deadline *d)
{
    if (!d->queue)
        return;
    list_remove(&d->node);
    d->queue = NULL;
}

uint64_t deadlines_next(const struct deadlines *d)
{
    uint64_t next = UINT64_MAX;

    for (unsigned i = 0; i < d->count; i++) {
        struct deadline *first = list_first(&d->lists[i]->armed, struct deadline, node);

        if (first && first->due_ms < next)
            next = first->due_ms;
    }
    return next;
}

/* The earliest deadline that is due, or NULL. */
static struct deadline *earliest_due(struct deadlines *d, uint64_t now_ms)
{
    struct deadline *best = NULL;

    for (unsigned i = 0; i < d->count; i++) {
        struct deadline *first = list_first(&d->lists[i]->armed, struct deadline, node);

        if (first && first->due_ms <= now_ms && (!best || first->due_ms < best->due_ms))
            best = first;
    }
    return best;
}

uint64_t deadlines_run(struct deadlines *d, uint64_t now_ms)
{
    struct deadline *due;

    while (
        (due = earliest_due(d, now_ms))) { /* terminates: an armed one is due 1 ms later at least */
        deadline_stop(due);
        due->fn(due);
    }
    return deadlines_next(d);
}
