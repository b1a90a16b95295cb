/* SPDX-License-Identifier: Apache-2.0
 *
 * tally_test.c - who used what: the sum over lanes is right whatever is asked, also beyond what a
 * table has room for, and also while lanes count on.
 */
#include "unit.h"

#include <pthread.h>

#include "base/mem.h"
#include "gate/tally.h"

static const struct tally_counts one = {
    .requests = 1, .failed = 1, .limited = 1, .tokens_in = 3, .tokens_out = 5};

static void test_sums_over_tables(void **state)
{
    struct tally *t[2] = {tally_create(), tally_create()};
    struct tally_row *rows;
    size_t n;

    (void)state;
    rows = tally_sum(t, 2, &n);
    assert_int_equal(n, 0);
    mem_free(rows);
    tally_add(t[0], 7, 2, &one);
    tally_add(t[0], 7, 2, &one);
    tally_add(t[1], 7, 2, &one);
    tally_add(t[1], 7, 1, &one);
    tally_add(t[1], 0, 0, &one);
    rows = tally_sum(t, 2, &n);
    assert_int_equal(n, 3);
    assert_int_equal(rows[0].key, TALLY_NO_KEY);
    assert_int_equal(rows[1].key, 7);
    assert_int_equal(rows[1].model, 1);
    assert_int_equal(rows[2].model, 2);
    assert_int_equal(rows[2].counts.requests, 3);
    assert_int_equal(rows[2].counts.failed, 3);
    assert_int_equal(rows[2].counts.limited, 3);
    assert_int_equal(rows[2].counts.tokens_in, 9);
    assert_int_equal(rows[2].counts.tokens_out, 15);
    mem_free(rows);
    tally_destroy(&t[0]);
    tally_destroy(&t[1]);
}

static void test_more_pairs_than_there_is_room(void **state)
{
    struct tally *t = tally_create();
    struct tally_row *rows;
    uint64_t sum = 0, others = 0;
    size_t n;

    (void)state;
    for (uint32_t key = 2; key < 100; key++)
        for (uint32_t model = 0; model < 100; model++)
            tally_add(t, key, model, &one);
    rows = tally_sum(&t, 1, &n);
    for (size_t i = 0; i < n; i++) {
        sum += rows[i].counts.requests;
        if (rows[i].key == TALLY_OTHER)
            others += rows[i].counts.requests;
        else
            assert_int_equal(rows[i].counts.requests, 1);
    }
    assert_int_equal(sum, 9800);
    assert_true(others > 0 && n > TALLY_PAIRS / 2 && n <= TALLY_PAIRS);
    mem_free(rows);
    tally_destroy(&t);
}

static void test_names(void **state)
{
    struct tally_names *names = tally_names_create(7);
    uint32_t alice = tally_label(names, STR("alice")), last = 0;

    (void)state;
    assert_true(alice > TALLY_OTHER);
    assert_int_equal(tally_label(names, STR("alice")), alice);
    assert_str_is(tally_name(names, alice), "alice");
    assert_str_is(tally_name(names, TALLY_NO_KEY), "");
    for (unsigned i = 0; i < TALLY_KEYS + 10; i++) {
        char id[16];

        (void)snprintf(id, sizeof id, "key%u", i);
        last = tally_label(names, str_of(id));
    }
    assert_int_equal(last, TALLY_OTHER);
    assert_str_is(tally_name(names, last), "other");
    assert_int_equal(tally_label(names, STR("alice")), alice);
    tally_names_destroy(&names);
}

enum { ROUNDS = 200000 };

static void *count(void *t)
{
    for (uint32_t i = 0; i < ROUNDS; i++)
        tally_add(t, 2 + i % 50, i % 20, &one);
    return NULL;
}

static void test_reading_while_a_lane_counts(void **state)
{
    struct tally *t = tally_create();
    uint64_t sum = 0, before = 0;
    pthread_t lane;

    (void)state;
    assert_int_equal(pthread_create(&lane, NULL, count, t), 0);
    while (sum < ROUNDS) {
        size_t n;
        struct tally_row *rows = tally_sum(&t, 1, &n);

        sum = 0;
        for (size_t i = 0; i < n; i++)
            sum += rows[i].counts.requests;
        assert_true(sum >= before);
        before = sum;
        mem_free(rows);
    }
    assert_int_equal(pthread_join(lane, NULL), 0);
    assert_int_equal(sum, ROUNDS);
    tally_destroy(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sums_over_tables),
        cmocka_unit_test(test_more_pairs_than_there_is_room),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_reading_while_a_lane_counts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
