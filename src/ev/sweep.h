/* SPDX-License-Identifier: Apache-2.0
 *
 * sweep.h - ends processes by the mark in their environment. A child's parent-death signal and its
 * group reach only what stayed where it was put; what left (a daemon's double fork, a new session)
 * is found by INFERD_UNIT, which it inherited. There are no pid files: a number in a file may
 * belong to somebody else by now, a pidfd may not.
 *
 * Looked at: processes of our own user, of every user when we are root. TERM, a grace, KILL; then
 * again for what was forked meanwhile.
 */
#pragma once
#include "base/str.h"
#include "ev/loop.h"

#define SWEEP_MARK "INFERD_UNIT"

enum { SWEEP_GRACE_MS = 2000 /* what a sweep gives when nobody is in a hurry */ };

struct sweep; /* opaque, one run */

/* True: leave that process alone. `mark` is the variable's value. */
typedef bool sweep_spare_fn(void *ctx, struct str mark);
/* `ended` processes are gone; `left` could not be ended. The sweep is forgotten when this is
 * called. */
typedef void sweep_done_fn(void *ctx, unsigned ended, unsigned left);

/* Ends processes whose mark begins with `prefix` and is not spared (`spare` may be NULL: none is):
 * TERM, and KILL after `grace_ms`; 0: KILL at once. Always succeeds; `done` is called later than
 * this call returns. */
void sweep_start(struct loop *l, struct str prefix, unsigned grace_ms, sweep_spare_fn *spare,
                 sweep_done_fn *done, void *ctx, struct sweep **ret);
/* No callback after it; what was signalled stays signalled. NULL is fine. */
void sweep_cancel(struct sweep **s);
