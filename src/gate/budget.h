/* SPDX-License-Identifier: Apache-2.0
 *
 * budget.h - how many attempts may be made beyond the first: a share of the requests of the last
 * BUDGET_SECONDS, BUDGET_LEAST at least, so that a fleet in trouble is not asked several times as
 * much as one in health. One shard a lane, written by it alone; who wants to try again adds all of
 * them up.
 */
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { BUDGET_SECONDS = 10, BUDGET_LEAST = 10 };

struct budget_second {
    _Atomic uint32_t second; /* which one it is */
    _Atomic uint32_t requests, retries;
};

struct budget {
    _Alignas(64) struct budget_second at[BUDGET_SECONDS];
};

/* A request that may be tried again, counted once. The shard's own thread. */
void budget_count(struct budget *own, uint64_t now_ms);
/* One more attempt, of all shards' budget; false: it is used up. The own shard's thread; two lanes
 * at once may overdraw by one each. */
bool budget_take(struct budget *own, const struct budget *all, unsigned n, uint32_t percent,
                 uint64_t now_ms);
