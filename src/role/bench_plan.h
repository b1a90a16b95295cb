/* SPDX-License-Identifier: Apache-2.0
 *
 * bench_plan.h - when requests are due. Open loop (a rate): request i is due i / rate seconds
 * behind the start, whatever became of those before it; a request that is sent late, because no
 * connection was free, still counts from when it was due. That is what makes the figures safe
 * against coordinated omission: a target that stalls cannot keep requests from being counted.
 * Closed loop (no rate): a request is due when a connection is free.
 *
 * Pure: the caller gives the time. One plan a thread; with `threads` of them thread k has the
 * requests k, k + threads, ... so that together they keep the one schedule.
 */
#pragma once
#include "base/check.h"

struct bench_plan {
    double rate;       /* a second, of all threads; 0: closed loop */
    uint64_t start_us; /* of the schedule */
    uint64_t end_us;   /* nothing is due from here on; UINT64_MAX: no bound */
    uint64_t requests; /* of all threads; UINT64_MAX: no bound */
    unsigned thread, threads;
    uint64_t taken; /* requests of this thread that have been taken */
};

/* What bench_plan_take() found. */
enum bench_turn {
    BENCH_NOW,   /* send one now: *ret is when it was due */
    BENCH_LATER, /* the next is due at *ret */
    BENCH_OVER,  /* there is no further one */
};

/* Takes a request if one is due. */
enum bench_turn bench_plan_take(struct bench_plan *p, uint64_t now_us, uint64_t *ret);
/* How many this thread's plan has in all: those that were due before the end. Open loop. */
uint64_t bench_plan_total(const struct bench_plan *p);
