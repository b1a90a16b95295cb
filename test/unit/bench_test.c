/* SPDX-License-Identifier: Apache-2.0
 *
 * bench_test.c - the arithmetic behind `inferd bench`: the histogram against sorted values, and the
 * schedule, which must be the same for any number of threads and whatever becomes of the requests.
 */
#include "unit.h"

#include <stdlib.h>

#include "base/mem.h"
#include "role/bench_hist.h"
#include "role/bench_plan.h"

static uint64_t next_random(uint64_t *s) /* xorshift64* */
{
    *s ^= *s >> 12;
    *s ^= *s << 25;
    *s ^= *s >> 27;
    return *s * 2685821657736338717ULL;
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static void test_small_values_are_exact(void **state)
{
    struct bench_hist *h = xnew(struct bench_hist);

    (void)state;
    assert_int_equal(bench_hist_at(h, 0.5), 0);
    for (uint64_t v = 1; v <= 1000; v++)
        bench_hist_add(h, v);
    assert_int_equal(h->min, 1);
    assert_int_equal(h->max, 1000);
    assert_int_equal(bench_hist_at(h, 0), 1);
    assert_int_equal(bench_hist_at(h, 0.5), 500);
    assert_int_equal(bench_hist_at(h, 0.99), 990);
    assert_int_equal(bench_hist_at(h, 0.999), 999);
    assert_int_equal(bench_hist_at(h, 1), 1000);
    assert_true(bench_hist_mean(h) == 500.5);
    mem_free(h);
}

/* Any share of any mixture of magnitudes is told to 0.1 %, and never below the true value. */
static void test_shares_against_sorted_values(void **state)
{
    enum { N = 20000 };
    static const double shares[] = {0.001, 0.1, 0.5, 0.9, 0.99, 0.999, 1};
    struct bench_hist *h = xnew(struct bench_hist), *part = xnew(struct bench_hist);
    uint64_t *values = mem_alloc(N * sizeof(*values)), r = 7;

    (void)state;
    for (size_t i = 0; i < N; i++) {
        values[i] = next_random(&r) >> (28 + next_random(&r) % 36);
        bench_hist_add(i % 2 ? h : part, values[i]);
    }
    bench_hist_merge(h, part);
    qsort(values, N, sizeof(*values), by_value);
    for (size_t i = 0; i < ARRAY_LEN(shares); i++) {
        uint64_t truth = values[(size_t)(shares[i] * N + 0.5) - 1];
        uint64_t told = bench_hist_at(h, shares[i]);

        assert_true(told >= truth);
        assert_true((double)told <= (double)truth * 1.001);
    }
    assert_int_equal(h->count, N);
    assert_int_equal(h->max, values[N - 1]);
    assert_int_equal(h->min, values[0]);
    mem_free(values);
    mem_free(part);
    mem_free(h);
}

static void test_beyond_the_scale(void **state)
{
    struct bench_hist *h = xnew(struct bench_hist);

    (void)state;
    bench_hist_add(h, UINT64_MAX / 2);
    bench_hist_add(h, 5);
    assert_int_equal(bench_hist_at(h, 0.5), 5);
    assert_true(bench_hist_at(h, 1) >= (1ULL << 36) - 1);
    assert_int_equal(h->max, UINT64_MAX / 2);
    mem_free(h);
}

/* Collects when requests are due, thread by thread. */
static size_t collect(const struct bench_plan *base, unsigned threads, uint64_t *due, size_t room)
{
    size_t n = 0;

    for (unsigned t = 0; t < threads; t++) {
        struct bench_plan p = *base;

        p.threads = threads;
        p.thread = t;
        while (n < room && bench_plan_take(&p, UINT64_MAX - 1, &due[n]) == BENCH_NOW)
            n++;
    }
    qsort(due, n, sizeof(*due), by_value);
    return n;
}

static void test_open_loop_keeps_one_schedule(void **state)
{
    const struct bench_plan base = {
        .rate = 300, .start_us = 1000, .end_us = 1000 + 500000, .requests = UINT64_MAX};
    uint64_t one[400], many[400];

    (void)state;
    assert_int_equal(collect(&base, 1, one, 400), 150); /* 300 a second for half a second */
    assert_int_equal(one[0], 1000);
    assert_int_equal(one[3], 11000);
    assert_int_equal(one[149], 1000 + 496666);
    for (unsigned threads = 2; threads <= 5; threads++) {
        assert_int_equal(collect(&base, threads, many, 400), 150);
        assert_memory_equal(one, many, 150 * sizeof(one[0]));
    }
}

/* The heart of it: a request taken late is due when it was due. */
static void test_late_requests_keep_their_due_time(void **state)
{
    struct bench_plan p = {
        .rate = 1000, .start_us = 0, .end_us = 10000, .requests = UINT64_MAX, .threads = 1};
    uint64_t due = 0;

    (void)state;
    assert_int_equal(bench_plan_take(&p, 0, &due), BENCH_NOW);
    assert_int_equal(due, 0);
    assert_int_equal(bench_plan_take(&p, 999, &due), BENCH_LATER);
    assert_int_equal(due, 1000);
    for (uint64_t i = 1; i < 6; i++) { /* nobody asked for 4.5 ms: five are due at once */
        assert_int_equal(bench_plan_take(&p, 5500, &due), BENCH_NOW);
        assert_int_equal(due, i * 1000);
    }
    assert_int_equal(bench_plan_take(&p, 5500, &due), BENCH_LATER);
    assert_int_equal(due, 6000);
    assert_int_equal(bench_plan_total(&p), 10);
    assert_int_equal(bench_plan_take(&p, 50000, &due), BENCH_NOW); /* behind the end, but due */
    assert_int_equal(due, 6000);
}

static void test_bounds(void **state)
{
    struct bench_plan closed = {.end_us = 100, .requests = 5, .threads = 2, .thread = 1};
    struct bench_plan open = {.rate = 10, .end_us = UINT64_MAX, .requests = 3, .threads = 1};
    uint64_t due = 0;

    (void)state;
    assert_int_equal(bench_plan_take(&closed, 40, &due), BENCH_NOW);
    assert_int_equal(due, 40); /* closed loop: due when taken */
    assert_int_equal(bench_plan_take(&closed, 100, &due), BENCH_OVER);
    assert_int_equal(bench_plan_take(&closed, 99, &due), BENCH_NOW);
    assert_int_equal(bench_plan_take(&closed, 99, &due), BENCH_OVER); /* 1 and 3 of 0..4 */
    assert_int_equal(bench_plan_total(&open), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small_values_are_exact),
        cmocka_unit_test(test_shares_against_sorted_values),
        cmocka_unit_test(test_beyond_the_scale),
        cmocka_unit_test(test_open_loop_keeps_one_schedule),
        cmocka_unit_test(test_late_requests_keep_their_due_time),
        cmocka_unit_test(test_bounds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
