/* SPDX-License-Identifier: Apache-2.0
 *
 * watch_priv.h - readiness of one descriptor, for the files of ev/ that speak to the kernel in
 * other units than a byte stream: packets, pidfds, pipes of children. Level-triggered.
 */
#pragma once
#include "ev/loop.h"

struct watch; /* opaque: one uv_poll */

enum { WATCH_READ = 1, WATCH_WRITE = 2 };

/* `ready` is a set of the above; errors and hang-ups are told as readiness to read: the read says.
 */
typedef void watch_fn(void *ctx, int ready);

/* The descriptor stays the caller's and must outlive the watch. `what` 0: nothing yet. */
int watch_start(struct loop *l, int fd, int what, watch_fn *fn, void *ctx,
                struct watch **ret) MUSTCHECK;
/* Changes what is waited for; 0 pauses. */
void watch_for(struct watch *w, int what);
/* No callback after it; the descriptor may be closed right away. NULL is fine. */
void watch_close(struct watch **w);
