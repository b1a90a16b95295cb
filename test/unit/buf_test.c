/* SPDX-License-Identifier: Apache-2.0
 *
 * buf_test.c - appending, the cap, memory that is lent, numbers at their limits.
 */
#include "unit.h"

#include "base/buf.h"
#include "base/mem.h"

static void test_grows_and_keeps(void **state)
{
    struct buf b = buf_make(100000);

    (void)state;
    for (int i = 0; i < 10000; i++)
        buf_printf(&b, "%d,", i % 10);
    assert_int_equal(buf_status(&b), 0);
    assert_int_equal(b.n, 20000);
    assert_memory_equal(b.p + 19998, "9,", 2);
    buf_clear(&b);
    assert_int_equal(b.n, 0);
    assert_true(b.size >= 20000);
    buf_fini(&b);
    assert_null(b.p);
    assert_int_equal(b.cap, 100000);
    buf_text(&b, "again"); /* usable after fini, with the same cap */
    assert_str_is(buf_str(&b), "again");
    buf_fini(&b);
}

static void test_cap_refuses_and_stays_refused(void **state)
{
    struct buf b = buf_make(10);

    (void)state;
    buf_text(&b, "12345");
    buf_text(&b, "123456"); /* one too many */
    assert_true(b.full);
    assert_int_equal(buf_status(&b), -E_LIMIT);
    assert_str_is(buf_str(&b), "12345");
    buf_char(&b, 'x'); /* would fit, but the text has a hole by now */
    assert_str_is(buf_str(&b), "12345");
    assert_null(buf_reserve(&b, 1));
    buf_clear(&b);
    assert_int_equal(buf_status(&b), 0);
    buf_text(&b, "1234567890");
    assert_int_equal(buf_status(&b), 0);
    assert_null(buf_cstr(&b)); /* no room for the NUL */
    buf_fini(&b);
}

static void test_reserve_near_size_max(void **state)
{
    struct buf b = buf_make(64);

    (void)state;
    buf_char(&b, 'x');
    assert_null(buf_reserve(&b, SIZE_MAX));
    assert_int_equal(buf_status(&b), -E_LIMIT);
    buf_fini(&b);
}

static void test_lent_memory_never_grows(void **state)
{
    char memory[8];
    struct buf b = buf_on(memory, sizeof memory);

    (void)state;
    buf_text(&b, "12345678");
    assert_int_equal(buf_status(&b), 0);
    assert_ptr_equal(b.p, memory);
    buf_char(&b, '9');
    assert_int_equal(buf_status(&b), -E_LIMIT);
    buf_fini(&b); /* must not free it */
}

static void test_nothing_appended_to_nothing(void **state)
{
    struct buf b = buf_make(10), none = buf_make(0);

    (void)state;
    buf_bytes(&b, NULL, 0);
    buf_add(&b, STR_NONE);
    buf_text(&b, "");
    assert_int_equal(b.n, 0);
    assert_int_equal(buf_status(&b), 0);
    assert_non_null(buf_reserve(&b, 0));
    assert_string_equal(buf_cstr(&b), "");
    buf_add(&none, STR_NONE);
    assert_int_equal(buf_status(&none), 0);
    buf_char(&none, 'x');
    assert_int_equal(buf_status(&none), -E_LIMIT);
    buf_fini(&b);
    buf_fini(&none);
}

static void test_numbers(void **state)
{
    struct buf b = buf_make(1000);

    (void)state;
    buf_u64(&b, 0);
    buf_char(&b, ' ');
    buf_u64(&b, UINT64_MAX);
    buf_char(&b, ' ');
    buf_i64(&b, INT64_MIN);
    buf_char(&b, ' ');
    buf_i64(&b, INT64_MAX);
    buf_char(&b, ' ');
    buf_hex(&b, 0);
    buf_char(&b, ' ');
    buf_hex(&b, 0xdeadbeef01ULL);
    assert_str_is(buf_str(&b), "0 18446744073709551615 -9223372036854775808 9223372036854775807 "
                               "0 deadbeef01");
    buf_fini(&b);
}

static void test_printf_of_any_length(void **state)
{
    static const size_t lengths[] = {0, 1, 510, 511, 512, 513, 5000};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        size_t n = lengths[i];
        char *text = mem_alloc(n + 1);
        struct buf exact = buf_make(n), short_one = buf_make(n ? n - 1 : 0);

        memset(text, 'a', n);
        buf_printf(&exact, "%s", text);
        assert_int_equal(buf_status(&exact), 0);
        assert_str_is(buf_str(&exact), text);
        buf_printf(&short_one, "%s", text);
        assert_int_equal(buf_status(&short_one), n ? -E_LIMIT : 0);
        assert_int_equal(short_one.n, 0);
        buf_fini(&exact);
        buf_fini(&short_one);
        mem_free(text);
    }
}

static void test_reserve_then_count(void **state)
{
    struct buf b = buf_make(100);
    char *p = buf_reserve(&b, 10);

    (void)state;
    memcpy(p, "abc", 3);
    b.n += 3;
    assert_string_equal(buf_cstr(&b), "abc");
    assert_int_equal(b.n, 3);
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_grows_and_keeps),
        cmocka_unit_test(test_cap_refuses_and_stays_refused),
        cmocka_unit_test(test_reserve_near_size_max),
        cmocka_unit_test(test_lent_memory_never_grows),
        cmocka_unit_test(test_nothing_appended_to_nothing),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_printf_of_any_length),
        cmocka_unit_test(test_reserve_then_count),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
