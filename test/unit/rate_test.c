/* SPDX-License-Identifier: Apache-2.0
 *
 * rate_test.c - rates on a clock of the test's own: what may be taken at once, how it comes back,
 * what is settled, who fails too often (failures.h).
 */
#include "unit.h"

#include "base/digest.h"
#include "base/mem.h"
#include "gate/failures.h"
#include "gate/rate.h"

#define SECOND ((uint64_t)1000000)
#define START (1000 * SECOND)

static void test_a_minute_at_once_then_evenly(void **state)
{
    struct rate r = {0};
    uint64_t wait = 0;

    (void)state;
    for (unsigned i = 0; i < 60; i++)
        assert_true(rate_take(&r, START, 60, 1, &wait));
    assert_false(rate_take(&r, START, 60, 1, &wait));
    assert_int_equal(wait, SECOND);
    assert_false(rate_take(&r, START + SECOND - 1, 60, 1, &wait));
    assert_int_equal(wait, 1);
    assert_true(rate_take(&r, START + SECOND, 60, 1, &wait));
    assert_false(rate_take(&r, START + SECOND, 60, 1, &wait));
    assert_int_equal(rate_look(&r, START + 31 * SECOND, 60).left, 30);
    assert_int_equal(rate_look(&r, START + 500 * SECOND, 60).left, 60);
    assert_int_equal(rate_look(&r, START + 500 * SECOND, 60).reset_us, 0);
}

/* Over any hour: never more than a minute's worth ahead of the rate, and never less than the rate
 * when somebody always asks. */
static void test_over_an_hour(void **state)
{
    static const uint64_t limits[] = {1, 2, 7, 60, 1000, 99991};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
        struct rate r = {0};
        uint64_t now = START, taken = 0, wait = 0;

        while (now < START + 3600 * SECOND) {
            uint64_t minutes_us = now - START;

            if (rate_take(&r, now, limits[i], 1, &wait))
                taken++;
            else
                now += wait;
            assert_true(taken <= limits[i] + (limits[i] * minutes_us) / (60 * SECOND) + 1);
        }
        assert_true(taken >= limits[i] * 60 - limits[i] / 100);
    }
}

static void test_more_than_there_is(void **state)
{
    struct rate r = {0};
    uint64_t wait = 0;

    (void)state;
    assert_true(rate_take(&r, START, 10, 1000, &wait)); /* all of it: or it could never be had */
    assert_false(rate_take(&r, START + 59 * SECOND, 10, 1000, &wait));
    assert_true(rate_take(&r, START + 60 * SECOND, 10, 1000, &wait));
}

static void test_settling(void **state)
{
    struct rate r = {0};
    uint64_t wait = 0;

    (void)state;
    assert_true(rate_take(&r, START, 100, 80, &wait));
    rate_settle(&r, START, 100, 80, 30);
    assert_int_equal(rate_look(&r, START, 100).left, 70);
    rate_settle(&r, START, 100, 0, 20); /* nothing was reserved */
    assert_int_equal(rate_look(&r, START, 100).left, 50);
    assert_true(rate_take(&r, START, 100, 50, &wait));
    rate_settle(&r, START, 100, 50, 150);
    assert_int_equal(rate_look(&r, START, 100).left, 0);
    assert_int_equal(rate_look(&r, START + 60 * SECOND, 100).left, 0);
    assert_int_equal(rate_look(&r, START + 61 * SECOND, 100).left, 1);
    rate_settle(&r, START, 100, 1, UINT64_MAX); /* an engine that lies */
    assert_true(rate_look(&r, START, 100).reset_us <= 11 * 60 * SECOND);
    rate_settle(&r, START + 700 * SECOND, 100, 50, 0); /* it gives back what is not owed any more */
    assert_int_equal(rate_look(&r, START + 700 * SECOND, 100).left, 100);
}

static struct addr ip(const char *text)
{
    struct addr a;

    assert_int_equal(addr_parse_ip(str_of(text), 0, &a), 0);
    return a;
}

static unsigned allowed(struct failures *f, const char *address, uint64_t now, unsigned tries)
{
    struct addr a = ip(address);
    unsigned n = 0;

    for (unsigned i = 0; i < tries; i++)
        n += !failures_add(f, &a, now, 10);
    return n;
}

static void test_failures_by_address(void **state)
{
    struct failures *f = xnew(struct failures, .seed = 99);

    (void)state;
    assert_int_equal(allowed(f, "10.0.0.1", START, 50), 10);
    assert_int_equal(allowed(f, "10.0.0.2", START, 50), 10);
    assert_int_equal(allowed(f, "10.0.0.1", START + SECOND / 2, 50), 5);
    assert_int_equal(allowed(f, "10.0.0.1", START + 100 * SECOND, 50), 10);
    assert_int_equal(allowed(f, "2001:db8::1", START, 50), 10);
    assert_int_equal(allowed(f, "2001:db8::ffff:1", START, 50), 0); /* the same /64 */
    assert_int_equal(allowed(f, "2001:db8:0:1::1", START, 50), 10);
    assert_int_equal(allowed(f, "::ffff:10.0.0.3", START, 50), 10); /* a dual socket's clients: */
    assert_int_equal(allowed(f, "::ffff:10.0.0.4", START, 50), 10); /* each is itself */
    assert_int_equal(allowed(f, "10.0.0.3", START, 50), 0);
    mem_free(f);
}

/* A flood from a million addresses: the table stays what it is, and one that fails all the time is
 * limited again as soon as it is back in it. */
static void test_failures_of_many_addresses(void **state)
{
    struct failures *f = xnew(struct failures, .seed = digest_random_u64());
    unsigned let = 0;

    (void)state;
    for (uint32_t i = 0; i < 1000000; i++) {
        struct addr a = {.family = ADDR_IP4};

        memcpy(a.ip, &i, sizeof i);
        let += !failures_add(f, &a, START + i, 10);
    }
    assert_true(let > 900000);
    assert_int_equal(allowed(f, "127.0.0.1", START + 2 * SECOND, 100), 10);
    mem_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_minute_at_once_then_evenly),
        cmocka_unit_test(test_over_an_hour),
        cmocka_unit_test(test_more_than_there_is),
        cmocka_unit_test(test_settling),
        cmocka_unit_test(test_failures_by_address),
        cmocka_unit_test(test_failures_of_many_addresses),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
