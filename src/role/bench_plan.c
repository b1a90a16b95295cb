/* SPDX-License-Identifier: Apache-2.0
 *
 * bench_plan.c - see bench_plan.h.
 */
#include "role/bench_plan.h"

/* The number, among all threads' requests, of this thread's n-th. */
static uint64_t index_of(const struct bench_plan *p, uint64_t n)
{
    return n * p->threads + p->thread;
}

static uint64_t due_of(const struct bench_plan *p, uint64_t index)
{
    return p->start_us + (uint64_t)((double)index * 1e6 / p->rate);
}

enum bench_turn bench_plan_take(struct bench_plan *p, uint64_t now_us, uint64_t *ret)
{
    uint64_t index = index_of(p, p->taken), due = p->rate > 0 ? due_of(p, index) : now_us;

    if (index >= p->requests || due >= p->end_us)
        return BENCH_OVER;
    *ret = due;
    if (due > now_us)
        return BENCH_LATER;
    p->taken++;
    return BENCH_NOW;
}

uint64_t bench_plan_total(const struct bench_plan *p)
{
    struct bench_plan rest = *p;
    uint64_t due;

    while (bench_plan_take(&rest, UINT64_MAX - 1, &due) == BENCH_NOW)
        ;
    return rest.taken;
}
