/* SPDX-License-Identifier: Apache-2.0
 *
 * budget.c - see budget.h.
 */
#include "gate/budget.h"

/* The place of this second, emptied when it held an older one. */
static struct budget_second *place(struct budget *own, uint64_t now_ms)
{
    uint32_t second = (uint32_t)(now_ms / 1000);
    struct budget_second *s = &own->at[second % BUDGET_SECONDS];

    if (atomic_load_explicit(&s->second, memory_order_relaxed) != second) {
        atomic_store_explicit(&s->requests, 0, memory_order_relaxed);
        atomic_store_explicit(&s->retries, 0, memory_order_relaxed);
        atomic_store_explicit(&s->second, second, memory_order_relaxed);
    }
    return s;
}

/* Only its own thread writes: no locked instruction. */
static void add_one(_Atomic uint32_t *n)
{
    atomic_store_explicit(n, atomic_load_explicit(n, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

void budget_count(struct budget *own, uint64_t now_ms) { add_one(&place(own, now_ms)->requests); }

bool budget_take(struct budget *own, const struct budget *all, unsigned n, uint32_t percent,
                 uint64_t now_ms)
{
    uint32_t second = (uint32_t)(now_ms / 1000);
    uint64_t requests = 0, retries = 0, most;

    for (unsigned i = 0; i < n; i++)
        for (unsigned k = 0; k < BUDGET_SECONDS; k++) {
            const struct budget_second *s = &all[i].at[k];

            if (second - atomic_load_explicit(&s->second, memory_order_relaxed) >= BUDGET_SECONDS)
                continue;
            requests += atomic_load_explicit(&s->requests, memory_order_relaxed);
            retries += atomic_load_explicit(&s->retries, memory_order_relaxed);
        }
    most = requests * percent / 100;
    if (percent > 0 && most < BUDGET_LEAST)
        most = BUDGET_LEAST;
    if (retries >= most)
        return false;
    add_one(&place(own, now_ms)->retries);
    return true;
}
