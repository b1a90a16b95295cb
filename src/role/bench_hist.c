/* SPDX-License-Identifier: Apache-2.0
 *
 * bench_hist.c - see bench_hist.h. Bucket 0..2047 are the values themselves; a larger value v with
 * its highest bit at position p lies in the doubling p - 10, of which its top eleven bits name the
 * bucket.
 */
#include "role/bench_hist.h"

#include "base/str.h"

static unsigned shift_of(uint64_t us)
{
    unsigned top = 63 - (unsigned)__builtin_clzll(us | 1);

    return top > BENCH_HIST_BITS ? top - BENCH_HIST_BITS : 0;
}

static size_t bucket_of(uint64_t us)
{
    unsigned shift = shift_of(us);
    size_t i = ((size_t)shift << BENCH_HIST_BITS) + (size_t)(us >> shift);

    return min_size(i, BENCH_HIST_BUCKETS - 1);
}

/* The largest value that bucket i counts. */
static uint64_t edge_of(size_t i)
{
    size_t shift = i >> BENCH_HIST_BITS;

    if (shift > 0)
        shift--;
    return ((i - (shift << BENCH_HIST_BITS) + 1) << shift) - 1;
}

void bench_hist_add(struct bench_hist *h, uint64_t us)
{
    if (h->count == 0 || us < h->min)
        h->min = us;
    if (us > h->max)
        h->max = us;
    h->count++;
    h->sum += us;
    h->bucket[bucket_of(us)]++;
}

void bench_hist_merge(struct bench_hist *into, const struct bench_hist *from)
{
    if (from->count == 0)
        return;
    if (into->count == 0 || from->min < into->min)
        into->min = from->min;
    if (from->max > into->max)
        into->max = from->max;
    into->count += from->count;
    into->sum += from->sum;
    for (size_t i = 0; i < BENCH_HIST_BUCKETS; i++)
        into->bucket[i] += from->bucket[i];
}

uint64_t bench_hist_at(const struct bench_hist *h, double q)
{
    double exact = q * (double)h->count;
    uint64_t rank = (uint64_t)exact, seen = 0;

    if ((double)rank < exact)
        rank++; /* the first value at or above the share */
    if (rank == 0)
        rank = 1;
    for (size_t i = 0; i < BENCH_HIST_BUCKETS; i++) {
        seen += h->bucket[i];
        if (seen >= rank)
            return min_u64(edge_of(i), h->max);
    }
    return h->max;
}

double bench_hist_mean(const struct bench_hist *h)
{
    return h->count ? (double)h->sum / (double)h->count : 0;
}
