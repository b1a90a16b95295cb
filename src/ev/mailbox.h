/* SPDX-License-Identifier: Apache-2.0
 *
 * mailbox.h - the one way from thread to thread. A mail owns its memory; posting moves it. Mails of
 * one sender arrive in order. The receiver's loop calls `fn` for each, which frees or passes it on.
 */
#pragma once
#include "ev/loop.h"

/* Embedded first in a message allocated with mem_alloc. */
struct mail {
    struct mail *next;
    unsigned kind; /* the receiver's enum */
};

struct mailbox; /* opaque */
typedef void mailbox_fn(void *ctx, struct mail *m);

int mailbox_create(struct loop *l, mailbox_fn *fn, void *ctx, struct mailbox **ret) MUSTCHECK;
/* Any thread. *m is taken. The box must exist: owners close boxes only after all senders ended. */
void mailbox_post(struct mailbox *box, struct mail **m);
/* Loop thread. Undelivered mails are handed to `fn` before it returns. */
void mailbox_close(struct mailbox **box);
