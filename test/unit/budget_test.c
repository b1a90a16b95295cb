/* SPDX-License-Identifier: Apache-2.0
 *
 * budget_test.c - gate/budget and the words of gate/retry: the share, its least, the window that
 * moves, shards that add up; and what a Retry-After means.
 */
#include "unit.h"

#include <string.h>

#include "gate/budget.h"
#include "gate/retry.h"

static unsigned taken(struct budget *own, const struct budget *all, unsigned n, uint32_t percent,
                      uint64_t now_ms)
{
    unsigned got = 0;

    while (got < 10000 && budget_take(own, all, n, percent, now_ms))
        got++;
    return got;
}

static void test_ten_are_always_allowed(void **state)
{
    struct budget b = {0};

    (void)state;
    assert_int_equal(taken(&b, &b, 1, 20, 1000000), 10);
    assert_int_equal(taken(&b, &b, 1, 20, 1009999), 0);
    assert_int_equal(taken(&b, &b, 1, 20, 1010000), 10); /* the window has moved on */
}

static void test_a_share_of_the_last_ten_seconds(void **state)
{
    struct budget b = {0};

    (void)state;
    for (unsigned i = 0; i < 1000; i++)
        budget_count(&b, 1000000 + i * 5); /* five seconds of them */
    assert_int_equal(taken(&b, &b, 1, 20, 1005000), 200);
    budget_count(&b, 1005000);
    assert_int_equal(taken(&b, &b, 1, 20, 1009000), 0);
    /* the first second's 200 requests are out of the window, the attempts are still in it */
    assert_int_equal(taken(&b, &b, 1, 50, 1010000), 400 - 200);
}

static void test_nothing_at_all(void **state)
{
    struct budget b = {0};

    (void)state;
    budget_count(&b, 1000);
    assert_false(budget_take(&b, &b, 1, 0, 1000));
}

static void test_shards_add_up(void **state)
{
    struct budget b[3] = {0};

    (void)state;
    for (unsigned i = 0; i < 300; i++)
        budget_count(&b[i % 3], 50000);
    assert_int_equal(taken(&b[0], b, 3, 10, 50000), 30);
    assert_int_equal(taken(&b[1], b, 3, 10, 50000), 0);
    assert_int_equal(taken(&b[2], b, 3, 10, 59999), 0);
    assert_int_equal(taken(&b[2], b, 3, 10, 60000), 10);
}

static void test_words(void **state)
{
    (void)state;
    assert_int_equal(retry_bit(STR("connect")), RETRY_CONNECT);
    assert_int_equal(retry_bit(STR("504")), RETRY_504);
    assert_int_equal(retry_bit(STR("Connect")), RETRY_NOTHING);
    assert_int_equal(retry_bit(STR("")), RETRY_NOTHING);
    assert_int_equal(retry_bit_of_status(429), RETRY_429);
    assert_int_equal(retry_bit_of_status(501), RETRY_NOTHING);
    assert_int_equal(retry_bit_of_status(200), RETRY_NOTHING);
    assert_int_equal(RETRY_DEFAULT & RETRY_500, 0);
    assert_int_equal(RETRY_DEFAULT & RETRY_TIMEOUT, 0);
    assert_string_equal(retry_words(), "connect, broken, timeout, 429, 500, 502, 503, 504");
}

static void test_retry_after(void **state)
{
    static const struct {
        const char *text;
        uint64_t ms;
    } rows[] = {
        {"1", 1000},         {"0", 1},      {"30", 30000},
        {"99999", 99999000}, {"100000", 0}, {"-1", 0},
        {"1.5", 0},          {"", 0},       {"Fri, 31 Dec 1999 23:59:59 GMT", 0},
        {" 1", 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_int_equal(retry_after_ms(str_of(rows[i].text)), rows[i].ms);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ten_are_always_allowed),
        cmocka_unit_test(test_a_share_of_the_last_ten_seconds),
        cmocka_unit_test(test_nothing_at_all),
        cmocka_unit_test(test_shards_add_up),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_retry_after),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
