/* SPDX-License-Identifier: Apache-2.0
 *
 * failures.c - see failures.h. Lanes race for a word by compare-and-swap; who loses looks again.
 */
#include "gate/failures.h"

enum { SECOND_US = 1000000, TAG_SHIFT = 48 };

#define TIME_MASK (((uint64_t)1 << TAG_SHIFT) - 1)

static uint64_t hash_of(const struct failures *f, const struct addr *a)
{
    return str_hash(addr_client(a), f->seed);
}

/* The address's place in the bucket, else the one that is free or oldest. */
static unsigned place_of(_Atomic uint64_t *bucket, uint64_t tag)
{
    unsigned oldest = 0;
    uint64_t age = UINT64_MAX;

    for (unsigned i = 0; i < FAILURES_WAYS; i++) {
        uint64_t word = atomic_load_explicit(&bucket[i], memory_order_relaxed);

        if (word >> TAG_SHIFT == tag)
            return i;
        if ((word & TIME_MASK) < age) {
            age = word & TIME_MASK;
            oldest = i;
        }
    }
    return oldest;
}

bool failures_add(struct failures *f, const struct addr *a, uint64_t now_us, uint32_t per_s)
{
    uint64_t hash = hash_of(f, a), tag = hash >> TAG_SHIFT ? hash >> TAG_SHIFT : 1;
    _Atomic uint64_t *bucket = f->at[hash % FAILURES_BUCKETS];

    now_us &= TIME_MASK;
    for (;;) {
        unsigned i = place_of(bucket, tag);
        uint64_t word = atomic_load_explicit(&bucket[i], memory_order_relaxed);
        uint64_t due = word >> TAG_SHIFT == tag ? word & TIME_MASK : 0;
        uint64_t next = (due > now_us ? due : now_us) + SECOND_US / per_s;

        if (next > now_us + SECOND_US)
            return true;
        if (atomic_compare_exchange_weak_explicit(&bucket[i], &word, tag << TAG_SHIFT | next,
                                                  memory_order_relaxed, memory_order_relaxed))
            return false;
    }
}
