/* SPDX-License-Identifier: Apache-2.0
 *
 * mailbox.c - a locked list and a uv_async. The lock is held for a pointer's time; the receiver
 * takes the whole list at once.
 */
#include "ev/mailbox.h"

#include "base/mem.h"
#include "ev/uv_priv.h"

struct mailbox {
    uv_async_t wake;
    uv_mutex_t lock;
    struct mail *first, **last; /* under lock */
    mailbox_fn *fn;
    void *ctx;
};

static void deliver(struct mailbox *box)
{
    struct mail *m;

    uv_mutex_lock(&box->lock);
    m = box->first;
    box->first = NULL;
    box->last = &box->first;
    uv_mutex_unlock(&box->lock);
    while (m) {
        struct mail *next = m->next;

        m->next = NULL;
        box->fn(box->ctx, m);
        m = next;
    }
}

static void on_wake(uv_async_t *h) { deliver(h->data); }

int mailbox_create(struct loop *l, mailbox_fn *fn, void *ctx, struct mailbox **ret)
{
    struct mailbox *box = xnew(struct mailbox, .fn = fn, .ctx = ctx);
    int r = uv_async_init(loop_uv(l), &box->wake, on_wake);

    if (r < 0) {
        mem_free(box);
        return loop_err(r);
    }
    CHECK(uv_mutex_init(&box->lock) == 0);
    box->wake.data = box;
    box->last = &box->first;
    *ret = box;
    return 0;
}

void mailbox_post(struct mailbox *box, struct mail **mp)
{
    struct mail *m = TAKE(mp);
    bool was_empty;

    m->next = NULL;
    uv_mutex_lock(&box->lock);
    was_empty = box->first == NULL;
    *box->last = m;
    box->last = &m->next;
    /* Inside the lock: a sender that still stands in uv_async_send() must not meet a closed box. */
    if (was_empty)
        CHECK(uv_async_send(&box->wake) == 0);
    uv_mutex_unlock(&box->lock);
}

static void on_closed(uv_handle_t *h)
{
    struct mailbox *box = h->data;

    uv_mutex_destroy(&box->lock);
    mem_free(box);
}

void mailbox_close(struct mailbox **bp)
{
    struct mailbox *box = TAKE(bp);

    if (!box)
        return;
    deliver(box);
    uv_close((uv_handle_t *)&box->wake, on_closed);
}
