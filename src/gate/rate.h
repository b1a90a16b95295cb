/* SPDX-License-Identifier: Apache-2.0
 *
 * rate.h - so much a minute, as one 64-bit word that many threads share: the generic cell rate
 * algorithm. The word is the moment until which what was taken is paid for; a minute's worth may be
 * taken at once, and comes back evenly. One compare-and-swap to take, none when it is refused.
 *
 * Times are microseconds of the monotonic clock. Threads' clocks may differ by a loop's turn: that
 * much is forgiven.
 */
#pragma once
#include <stdatomic.h>

#include "base/str.h"

enum { RATE_WINDOW_US = 60000000 };

/* Zero: nothing was taken. */
struct rate {
    _Atomic uint64_t due_us;
};

/* What is left, for those who want to tell. */
struct rate_view {
    uint64_t left;     /* that could be taken now */
    uint64_t reset_us; /* until all of it could be */
};

/* Takes `n` of `per_minute` (>= 1); more than a minute's worth counts as a minute's. False: it is
 * refused, and would not be after *wait_us. */
bool rate_take(struct rate *r, uint64_t now_us, uint64_t per_minute, uint64_t n, uint64_t *wait_us);
/* `taken` were taken and it came to `used`: the difference is given back, or taken too, even when
 * it is not there. The debt has an end: ten minutes. */
void rate_settle(struct rate *r, uint64_t now_us, uint64_t per_minute, uint64_t taken,
                 uint64_t used);
struct rate_view rate_look(const struct rate *r, uint64_t now_us, uint64_t per_minute);
