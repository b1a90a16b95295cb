/* SPDX-License-Identifier: Apache-2.0
 *
 * mailbox.c - mailboxes of the simulated world: a list, served in order, some or all of it a turn.
 */
#include "ev/mailbox.h"

#include "base/mem.h"
#include "sim/ev/fake.h"

struct mailbox {
    struct source source;
    struct mail *first, **end;
    mailbox_fn *fn;
    void *ctx;
};

static struct mailbox *box_of(struct source *s) { return container_of(s, struct mailbox, source); }

static struct mail *take_first(struct mailbox *box)
{
    struct mail *m = box->first;

    box->first = m->next;
    if (!box->first)
        box->end = &box->first;
    m->next = NULL;
    return m;
}

static bool mailbox_ready(struct source *s) { return box_of(s)->first != NULL; }

static void mailbox_fire(struct source *s)
{
    struct mailbox *box = box_of(s);

    do
        box->fn(box->ctx, take_first(box));
    while (!box->source.closed && box->first && !world_chance(25));
}

static const struct source_ops mailbox_ops = {"mailbox", mailbox_ready, mailbox_fire, source_never};

int mailbox_create(struct loop *l, mailbox_fn *fn, void *ctx, struct mailbox **ret)
{
    struct mailbox *box = xnew(struct mailbox, .fn = fn, .ctx = ctx);

    box->end = &box->first;
    source_open(l, &box->source, &mailbox_ops);
    *ret = box;
    return 0;
}

void mailbox_post(struct mailbox *box, struct mail **mp)
{
    struct mail *m = TAKE(mp);

    CHECK(!box->source.closed);
    m->next = NULL;
    *box->end = m;
    box->end = &m->next;
}

void mailbox_close(struct mailbox **bp)
{
    struct mailbox *box = TAKE(bp);

    if (!box)
        return;
    while (box->first)
        box->fn(box->ctx, take_first(box));
    source_close(&box->source);
}
