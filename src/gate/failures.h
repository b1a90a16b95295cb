/* SPDX-License-Identifier: Apache-2.0
 *
 * failures.h - how many requests without a right key an address has made lately: a table of fixed
 * size that all lanes share. It exists so that guessing is slow and floods of wrong keys are
 * cheap; a request with a right key is never counted and never refused for its neighbours' sake.
 *
 * IPv6 addresses count by their /64, which is what one client has. When an attacker has more
 * addresses than there is room for, those that failed longest ago are forgotten.
 */
#pragma once
#include <stdatomic.h>

#include "ev/addr.h"

enum { FAILURES_BUCKETS = 512, FAILURES_WAYS = 8 };

struct failures {
    uint64_t seed;
    /* the address's tag in the upper 16 bits, below it the moment (us) until which its failures are
     * paid for; 0: free */
    _Atomic uint64_t at[FAILURES_BUCKETS][FAILURES_WAYS];
};

/* One more. True: it is beyond `per_s`, of which a second's worth may come at once. */
bool failures_add(struct failures *f, const struct addr *a, uint64_t now_us, uint32_t per_s);
