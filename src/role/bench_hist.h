/* SPDX-License-Identifier: Apache-2.0
 *
 * bench_hist.h - a histogram of microseconds with a bounded relative error, after Tene's HDR
 * histogram: exact up to 2,048, beyond that 1,024 buckets for each doubling, so any value is told
 * to 0.1 %. 216 KiB, counting is one addition, two of them are merged by adding.
 */
#pragma once
#include "base/check.h"

enum {
    BENCH_HIST_BITS = 10,    /* buckets of a doubling, as a power of two */
    BENCH_HIST_DOUBLES = 26, /* up to 2^36 us, 19 hours; what is larger counts as that */
    BENCH_HIST_BUCKETS = (BENCH_HIST_DOUBLES + 1) << BENCH_HIST_BITS,
};

struct bench_hist {
    uint64_t count, sum, min, max; /* exact */
    uint64_t bucket[BENCH_HIST_BUCKETS];
};

void bench_hist_add(struct bench_hist *h, uint64_t us);
void bench_hist_merge(struct bench_hist *into, const struct bench_hist *from);
/* The value that q (0..1) of all values do not exceed: the upper edge of its bucket, never above
 * the largest value. 0 when there is none. */
uint64_t bench_hist_at(const struct bench_hist *h, double q);
/* 0 when there is no value. */
double bench_hist_mean(const struct bench_hist *h);
