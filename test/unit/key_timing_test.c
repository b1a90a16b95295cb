/* SPDX-License-Identifier: Apache-2.0
 *
 * key_timing_test.c - whether the time of a check tells something of the secret, in the manner of
 * dudect: two classes of input in random order, the slowest tenth cropped, Welch's t of the rest.
 * |t| below 4.5 is no difference that could be seen. A comparison that stops at the first
 * difference is measured too: the same method must find that one.
 *
 * A machine that does other things can fool one run, or a few; a leak is there in every one.
 * INFERD_TIMING_SAMPLES sets how many are taken: 100,000 when it is unset, and 1,000,000 in
 * key_timing_fast, which is this program optimised and without sanitizers.
 */
#include "unit.h"

#include <math.h>
#include <stdlib.h>
#include <time.h>

#include "base/mem.h"
#include "gate/keys.h"

enum { POOL = 256, KEYS = 1000, RUNS = 8 };

#define LIMIT 4.5

struct sample {
    uint64_t ticks;
    bool class;
};

typedef bool measured_fn(const void *ctx, struct str input);

/* What is measured, with inputs of both classes. */
struct subject {
    measured_fn *fn;
    const void *ctx;
    size_t bytes;
    char input[2][POOL][KEYS_TEXT_MAX];
};

static struct key_conf_list list;
static struct keyring *ring;
static char right[KEYS_TEXT_MAX + 1];
static size_t right_n;

static uint64_t ticks(void)
{
#if defined(__x86_64__)
    unsigned aux;

    return __builtin_ia32_rdtscp(&aux);
#else
    struct timespec ts;

    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000U + (uint64_t)ts.tv_nsec;
#endif
}

static size_t samples_wanted(void)
{
    const char *text = getenv("INFERD_TIMING_SAMPLES");
    uint64_t n = 100000;

    if (text && !str_u64(str_of(text), &n))
        fail_msg("INFERD_TIMING_SAMPLES is no number");
    return n;
}

static int by_ticks(const void *a, const void *b)
{
    const struct sample *x = a, *y = b;

    return (x->ticks > y->ticks) - (x->ticks < y->ticks);
}

/* Every input is copied to the same place before it is timed, so that only its bytes differ. */
static void take(const struct subject *s, struct sample *at, size_t n)
{
    static char input[KEYS_TEXT_MAX];
    static volatile bool sink;
    uint64_t random = 0;

    for (size_t i = 0; i < n; i++) {
        if (i % 32 == 0)
            random = digest_random_u64();
        at[i].class = random & 1;
        memcpy(input, s->input[at[i].class][random >> 1 & (POOL - 1)], s->bytes);
        random = random >> 1 | random << 63;
        at[i].ticks = ticks();
        sink = s->fn(s->ctx, str_span(input, s->bytes));
        at[i].ticks = ticks() - at[i].ticks;
    }
    (void)sink;
}

static double welch(const struct sample *at, size_t n, double mean[2])
{
    double sum[2] = {0}, squares[2] = {0}, count[2] = {0}, var[2];

    for (size_t i = 0; i < n; i++) {
        sum[at[i].class] += (double)at[i].ticks;
        count[at[i].class]++;
    }
    for (unsigned c = 0; c < 2; c++)
        mean[c] = sum[c] / count[c];
    for (size_t i = 0; i < n; i++) {
        double d = (double)at[i].ticks - mean[at[i].class];

        squares[at[i].class] += d * d;
    }
    for (unsigned c = 0; c < 2; c++)
        var[c] = squares[c] / (count[c] - 1) / count[c];
    return var[0] + var[1] > 0 ? (mean[0] - mean[1]) / sqrt(var[0] + var[1]) : 0;
}

/* The least |t| of some runs. */
static double least_t(const char *name, const struct subject *s)
{
    size_t n = samples_wanted();
    struct sample *at = mem_alloc(n * sizeof *at);
    double least = INFINITY, mean[2];

    take(s, at, n / 10); /* warms up */
    for (unsigned run = 0; run < RUNS && least >= LIMIT; run++) {
        double t;

        take(s, at, n);
        qsort(at, n, sizeof *at, by_ticks);
        t = fabs(welch(at, n - n / 10, mean));
        print_message("%-44s |t| %8.2f, means %7.1f %7.1f, %zu samples\n", name, t, mean[0],
                      mean[1], n);
        if (t < least)
            least = t;
    }
    mem_free(at);
    return least;
}

/* ---- subjects ---- */

static bool check_key(const void *ctx, struct str input) { return keys_check(ctx, input) != NULL; }

static bool recall_key(const void *ctx, struct str input)
{
    return keys_recall(ring, input, (struct key_memo **)(uintptr_t)ctx) != NULL;
}

static bool compare(const void *ctx, struct str input)
{
    return digest_equal(str_span(ctx, input.n), input);
}

static bool leaky_compare(const void *ctx, struct str input)
{
    const char *other = ctx;

    for (size_t i = 0; i < input.n; i++)
        if (other[i] != input.p[i])
            return false;
    return true;
}

static void change(char *at) { *at = *at == 'A' ? 'B' : 'A'; }

static void random_secret(char *at)
{
    char text[KEYS_TEXT_MAX + 1], id[KEYS_ID_NEW + 1];

    keys_make(text, id);
    memcpy(at, text + 4 + KEYS_ID_NEW + 1, KEYS_SECRET);
}

/* Class 0: all but the last character of the secret is right; class 1: nothing of it. */
static void nearly_right_or_random(struct subject *s)
{
    s->bytes = right_n;
    for (size_t i = 0; i < POOL; i++) {
        memcpy(s->input[0][i], right, right_n);
        change(&s->input[0][i][right_n - 1]);
        memcpy(s->input[1][i], right, right_n);
        random_secret(&s->input[1][i][right_n - KEYS_SECRET]);
    }
}

/* Class 0: the last of n bytes differs; class 1: the first. */
static void last_or_first(struct subject *s, const char *from, size_t n)
{
    s->bytes = n;
    for (size_t i = 0; i < POOL; i++) {
        memcpy(s->input[0][i], from, n);
        change(&s->input[0][i][n - 1]);
        memcpy(s->input[1][i], from, n);
        change(&s->input[1][i][0]);
    }
}

static void test_the_method_finds_a_leak(void **state)
{
    static struct subject s = {.fn = leaky_compare, .ctx = right};
    double t;

    (void)state;
    last_or_first(&s, right, right_n);
    t = least_t("a comparison that stops early", &s);
    if (t < 2 * LIMIT)
        fail_msg("a comparison that leaks was not found: |t| %.2f", t);
}

static void test_comparing_digests(void **state)
{
    static struct subject s = {.fn = compare, .ctx = right};
    double t;

    (void)state;
    last_or_first(&s, right, DIGEST_BYTES);
    t = least_t("two digests, the last or the first byte", &s);
    assert_true(t < LIMIT);
}

static void test_checking_a_key(void **state)
{
    static struct subject s = {.fn = check_key};
    double t;

    (void)state;
    s.ctx = ring;
    nearly_right_or_random(&s);
    t = least_t("a secret that is nearly right, or random", &s);
    assert_true(t < LIMIT);
}

static void test_what_a_connection_remembers(void **state)
{
    static struct subject s = {.fn = recall_key};
    struct key_memo *memo = NULL;
    double t;

    (void)state;
    s.ctx = &memo;
    assert_non_null(keys_recall(ring, str_span(right, right_n), &memo));
    nearly_right_or_random(&s);
    t = least_t("the same beside a connection's right key", &s);
    keys_forget(memo);
    assert_true(t < LIMIT);
}

/* Ids are public; that one is not there must still cost what the others cost. */
static void test_an_unknown_id_costs_the_same(void **state)
{
    static struct subject s = {.fn = check_key};
    struct sample *at = mem_alloc(20000 * sizeof *at);
    double mean[2];

    (void)state;
    s.ctx = ring;
    nearly_right_or_random(&s);
    for (size_t i = 0; i < POOL; i++) {
        memcpy(s.input[0][i], s.input[1][i], right_n);
        memcpy(s.input[0][i] + 4, "zzzzzzzzzzz0", KEYS_ID_NEW);
    }
    take(&s, at, 20000);
    qsort(at, 20000, sizeof *at, by_ticks);
    (void)welch(at, 18000, mean);
    print_message("%-44s means %7.1f %7.1f\n", "an id that nobody has, or somebody", mean[0],
                  mean[1]);
    mem_free(at);
    assert_true(mean[0] > mean[1] * 0.7 && mean[0] < mean[1] * 1.3);
}

static int setup(void **state)
{
    static struct str any[] = {{"*", 1}};
    static char ids[KEYS][KEYS_ID_NEW + 1];

    (void)state;
    list = (struct key_conf_list){mem_alloc(KEYS * sizeof *list.at), KEYS};
    for (unsigned i = 0; i < KEYS; i++) {
        struct str id, secret;

        keys_make(right, ids[i]); /* the last one is the one that is tried */
        assert_true(keys_parse(str_of(right), &id, &secret));
        list.at[i] = (struct key_conf){.id = str_of(ids[i]), .models = {any, 1}};
        keys_digest(secret, list.at[i].digest);
    }
    right_n = strlen(right);
    ring = keys_build(&list, NULL, 7, NULL, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    keys_destroy(&ring);
    mem_free(list.at);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_method_finds_a_leak),
        cmocka_unit_test(test_comparing_digests),
        cmocka_unit_test(test_checking_a_key),
        cmocka_unit_test(test_what_a_connection_remembers),
        cmocka_unit_test(test_an_unknown_id_costs_the_same),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
