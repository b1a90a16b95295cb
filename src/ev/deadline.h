/* SPDX-License-Identifier: Apache-2.0
 *
 * deadline.h - "call me in so many milliseconds unless I say otherwise". Deadlines sit in one list
 * per distinct duration, oldest first, so arming and re-arming are O(1) and a connection costs no
 * timer of its own. Embedded in its owner; zero-initialised is disarmed.
 */
#pragma once
#include "ev/loop.h"

struct deadline;
typedef void deadline_fn(struct deadline *d);

struct deadline_list; /* ev's: all armed deadlines of one duration */

struct deadline {
    struct list node;            /* in its duration's list; next is NULL before the first arming */
    struct deadline_list *queue; /* NULL: disarmed */
    uint64_t due_ms;             /* loop_now_ms() at which it fires */
    deadline_fn *fn;
};

/* Arms or re-arms: `fn` runs once, `ms` from this turn's time on, unless re-armed or stopped. It is
 * disarmed when fn is called; fn may re-arm it, or free the object. ms = 0 disarms: a limit of 0 is
 * "no limit" throughout. Never fires inside this call. */
void deadline_arm(struct loop *l, struct deadline *d, uint64_t ms, deadline_fn *fn);
/* Harmless when disarmed. */
void deadline_stop(struct deadline *d);
static inline bool deadline_armed(const struct deadline *d) { return d->queue != NULL; }
