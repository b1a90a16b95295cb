/* SPDX-License-Identifier: Apache-2.0
 *
 * loop_priv.h - what the files of ev/ see of a loop. Each implementation of ev (libuv here, virtual
 * time in test/sim) gives deadline.c its clock and its one timer through the two functions below.
 */
#pragma once
#include "ev/deadline.h"
#include "ev/loop.h"

struct deadlines; /* all armed deadlines of one loop, deadline.c */

struct deadlines *deadlines_create(void);
void deadlines_destroy(struct deadlines **d);
/* Fires what is due at `now_ms`, what callbacks arm meanwhile not before the next call. Returns the
 * next due time, or UINT64_MAX. */
uint64_t deadlines_run(struct deadlines *d, uint64_t now_ms);
uint64_t deadlines_next(const struct deadlines *d);

struct deadlines *loop_deadlines(struct loop *l);
/* The loop must call deadlines_run() at `due_ms` or soon after; earlier calls stand. */
void loop_wake_at(struct loop *l, uint64_t due_ms);
