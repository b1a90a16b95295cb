/* SPDX-License-Identifier: Apache-2.0
 *
 * clients_test.c - connections per address: which addresses are one, which are not counted, that a
 * count is never too low, and that threads which come and go leave nothing behind.
 */
#include "unit.h"

#include <pthread.h>

#include "base/check.h"
#include "gate/clients.h"

static struct addr ip(const char *text)
{
    struct addr a;

    assert_int_equal(addr_parse_ip(str_of(text), 80, &a), 0);
    return a;
}

static uint32_t enter(struct clients *c, const char *text)
{
    struct addr a = ip(text);

    return clients_enter(c, &a);
}

static void leave(struct clients *c, const char *text)
{
    struct addr a = ip(text);

    clients_leave(c, &a);
}

static void test_which_addresses_are_one(void **state)
{
    struct clients *c;

    (void)state;
    clients_create(1, &c);
    assert_int_equal(enter(c, "192.0.2.1"), 1);
    assert_int_equal(enter(c, "192.0.2.1"), 2);
    assert_int_equal(enter(c, "192.0.2.2"), 1);
    assert_int_equal(enter(c, "::ffff:192.0.2.1"), 3); /* the same client on a dual socket */
    assert_int_equal(enter(c, "2001:db8:1:2::1"), 1);
    assert_int_equal(enter(c, "2001:db8:1:2:ffff::9"), 2); /* its /64 */
    assert_int_equal(enter(c, "2001:db8:1:3::1"), 1);
    leave(c, "192.0.2.1");
    leave(c, "192.0.2.1");
    assert_int_equal(enter(c, "192.0.2.1"), 2);
    clients_destroy(&c);
    assert_null(c);
    clients_destroy(&c);
}

static void test_who_is_not_counted(void **state)
{
    static const char *const loopback[] = {"127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"};
    struct addr path;
    struct clients *c;

    (void)state;
    clients_create(1, &c);
    for (size_t i = 0; i < ARRAY_LEN(loopback); i++) {
        assert_int_equal(enter(c, loopback[i]), 0);
        leave(c, loopback[i]); /* harmless */
    }
    assert_int_equal(addr_parse(STR("unix:/run/x"), &path), 0);
    assert_int_equal(clients_enter(c, &path), 0);
    assert_int_equal(enter(NULL, "192.0.2.1"), 0);
    clients_destroy(&c);
}

/* 10,000 addresses at once: never below the truth, and nearly never above. */
static void test_many_addresses(void **state)
{
    struct addr a = ip("10.0.0.0");
    struct clients *c;
    unsigned above = 0;

    (void)state;
    clients_create(99, &c);
    for (unsigned round = 1; round <= 3; round++) {
        for (unsigned i = 0; i < 10000; i++) {
            uint32_t n;

            a.ip[2] = (uint8_t)(i >> 8);
            a.ip[3] = (uint8_t)i;
            n = clients_enter(c, &a);
            assert_true(n >= round);
            above += n > round;
        }
    }
    assert_true(above < 3 * 10000 / 10);
    for (unsigned round = 1; round <= 3; round++) {
        for (unsigned i = 0; i < 10000; i++) {
            a.ip[2] = (uint8_t)(i >> 8);
            a.ip[3] = (uint8_t)i;
            clients_leave(c, &a);
        }
    }
    assert_int_equal(clients_enter(c, &a), 1);
    clients_destroy(&c);
}

static void *come_and_go(void *arg)
{
    struct addr a = ip("192.0.2.7");

    for (unsigned i = 0; i < 100000; i++) {
        CHECK(clients_enter(arg, &a) > 0);
        clients_leave(arg, &a);
    }
    return NULL;
}

static void test_threads(void **state)
{
    pthread_t t[4];
    struct clients *c;

    (void)state;
    clients_create(3, &c);
    for (unsigned i = 0; i < ARRAY_LEN(t); i++)
        assert_int_equal(pthread_create(&t[i], NULL, come_and_go, c), 0);
    for (unsigned i = 0; i < ARRAY_LEN(t); i++)
        assert_int_equal(pthread_join(t[i], NULL), 0);
    assert_int_equal(enter(c, "192.0.2.7"), 1);
    clients_destroy(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_which_addresses_are_one),
        cmocka_unit_test(test_who_is_not_counted),
        cmocka_unit_test(test_many_addresses),
        cmocka_unit_test(test_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
