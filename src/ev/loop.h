/* SPDX-License-Identifier: Apache-2.0
 *
 * loop.h - one event loop: the thread that runs it, its clock, its lent read buffer and its
 * graveyard. ev/ is the only folder that waits or reads a clock; nothing that runs on a loop may
 * block. Every object of a loop belongs to its thread; only mailboxes (ev/mailbox.h) are touched
 * from outside.
 *
 * test/sim implements these headers on virtual time, so nothing above ev/ may assume a kernel.
 */
#pragma once
#include "base/err.h"
#include "base/list.h"

struct loop; /* opaque */

/* `-E_NO_FDS`, `-E_NO_MEM`. */
int loop_create(struct loop **ret) MUSTCHECK;
/* Everything on it must have been closed; runs what is left in the graveyard. NULL is fine. */
void loop_destroy(struct loop **l);
/* Until loop_stop(). */
void loop_run(struct loop *l);
/* Returns from loop_run() at the end of this turn. Loop thread only. */
void loop_stop(struct loop *l);

/* Monotonic time, read once a turn. Never goes back; says nothing about the time of day. */
uint64_t loop_now_us(struct loop *l);
uint64_t loop_now_ms(struct loop *l);
/* loop_now_ms() when the loop last went on after a time in which it did not run although deadlines
 * were over: the process was stopped, or starved. What came meanwhile was told before they were.
 * 0: never. */
uint64_t loop_late_ms(const struct loop *l);
/* Read at this moment: for measuring what happens inside one turn. */
uint64_t loop_fresh_us(struct loop *l);
/* Microseconds since the epoch, read once a turn, for text only (logs, Date): never compared, never
 * added to. */
uint64_t loop_wall_us(struct loop *l);

/* What must not be freed inside a callback is buried: `fn` runs at the end of the turn, in order of
 * burial. A grave is embedded in the object and buried at most once. */
struct grave {
    struct list node;
    void (*fn)(struct grave *g);
};
void loop_bury(struct loop *l, struct grave *g, void (*fn)(struct grave *g));

/* Empties the graveyard now: for owners that tear down after loop_run() has returned. */
void loop_settle(struct loop *l);

/* Runs `fn(ctx)` at the end of every turn, before the loop waits: one hook a loop (log flushing,
 * coalesced publications). */
void loop_on_turn(struct loop *l, void (*fn)(void *ctx), void *ctx);

/* A place for the loop's owner: what its streams' users share (chunk pool, arena cache). */
void loop_set_user(struct loop *l, void *user);
void *loop_user(const struct loop *l);
