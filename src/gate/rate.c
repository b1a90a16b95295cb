/* SPDX-License-Identifier: Apache-2.0
 *
 * rate.c - see rate.h.
 */
#include "gate/rate.h"

#include "base/check.h"

enum { DEBT_US = 10 * RATE_WINDOW_US };

/* How much of the window `n` is, rounded up: never free, never more than all of it. */
static uint64_t cost_us(uint64_t per_minute, uint64_t n)
{
    if (n >= per_minute)
        return RATE_WINDOW_US;
    /* n < per_minute <= 2^40, so the product needs more than 64 bits only for absurd limits */
    return (uint64_t)(((unsigned __int128)n * RATE_WINDOW_US + per_minute - 1) / per_minute);
}

bool rate_take(struct rate *r, uint64_t now_us, uint64_t per_minute, uint64_t n, uint64_t *wait_us)
{
    uint64_t due = atomic_load_explicit(&r->due_us, memory_order_relaxed), next;

    do {
        next = max_u64(due, now_us) + cost_us(per_minute, n);
        if (next > now_us + RATE_WINDOW_US) {
            *wait_us = next - (now_us + RATE_WINDOW_US);
            return false;
        }
    } while (!atomic_compare_exchange_weak_explicit(&r->due_us, &due, next, memory_order_relaxed,
                                                    memory_order_relaxed));
    return true;
}

/* The same without the bound of one window: what was used was used. */
static uint64_t used_us(uint64_t per_minute, uint64_t n)
{
    unsigned __int128 us = ((unsigned __int128)n * RATE_WINDOW_US + per_minute - 1) / per_minute;

    return us > DEBT_US ? DEBT_US : (uint64_t)us;
}

void rate_settle(struct rate *r, uint64_t now_us, uint64_t per_minute, uint64_t taken,
                 uint64_t used)
{
    uint64_t had = cost_us(per_minute, taken), is = used_us(per_minute, used);
    uint64_t due = atomic_load_explicit(&r->due_us, memory_order_relaxed), next;

    if (taken == 0)
        had = 0;
    do {
        next = is >= had ? max_u64(due, now_us) + (is - had) : due - min_u64(due, had - is);
        next = min_u64(next, now_us + RATE_WINDOW_US + DEBT_US);
    } while (!atomic_compare_exchange_weak_explicit(&r->due_us, &due, next, memory_order_relaxed,
                                                    memory_order_relaxed));
}

struct rate_view rate_look(const struct rate *r, uint64_t now_us, uint64_t per_minute)
{
    uint64_t due = atomic_load_explicit(&r->due_us, memory_order_relaxed);
    uint64_t owed = due > now_us ? due - now_us : 0;
    uint64_t room = owed < RATE_WINDOW_US ? RATE_WINDOW_US - owed : 0;

    return (struct rate_view){
        .left = (uint64_t)((unsigned __int128)room * per_minute / RATE_WINDOW_US),
        .reset_us = owed,
    };
}
