/* SPDX-License-Identifier: Apache-2.0
 *
 * mem_test.c - the heap's door: zeroed, aligned, overflow-checked, and one way to fail.
 */
#include "unit.h"

#include "base/mem.h"

static void test_memory_is_zeroed(void **state)
{
    char *p = mem_alloc(100), *a = mem_alloc_aligned(64, 100), *q = mem_try(0);

    (void)state;
    for (int i = 0; i < 100; i++)
        assert_true(p[i] == 0 && a[i] == 0);
    assert_int_equal((uintptr_t)a % 64, 0);
    assert_non_null(q);
    mem_free(p);
    mem_free(a);
    mem_free(q);
    mem_free(NULL);
}

static void test_try_fails_where_alloc_aborts(void **state)
{
    volatile size_t huge = SIZE_MAX / 2;
    char text[4096];

    (void)state;
#ifndef __SANITIZE_ADDRESS__ /* ASan's allocator reports a size this large by itself */
    assert_null(mem_try(huge));
    assert_dies(mem_free(mem_alloc(huge)), text);
#endif
    assert_dies(mem_free(mem_resize_array(NULL, huge, 4)), text);
    assert_non_null(strstr(text, "CHECK("));
}

static void test_copies(void **state)
{
    char *s = mem_strdup("abc"), *d = mem_dup("xyz", 2), *f = mem_printf("%s-%d", s, 42);
    struct pair {
        int a, b;
    } *pair = xnew(struct pair, .b = 3);

    (void)state;
    assert_string_equal(s, "abc");
    assert_memory_equal(d, "xy", 2);
    assert_string_equal(f, "abc-42");
    assert_true(pair->a == 0 && pair->b == 3);
    s = mem_resize(s, 1000);
    assert_string_equal(s, "abc");
    d = mem_resize_array(d, 10, 10);
    assert_memory_equal(d, "xy", 2);
    mem_free(s);
    mem_free(d);
    mem_free(f);
    xfree(pair);
}

static void test_cleanup_frees(void **state)
{
    (void)state;
    _cleanup_(mem_cleanup) char *freed = mem_alloc(10); /* LeakSanitizer is the assertion */
    _cleanup_(mem_cleanup) char *nothing = NULL;

    assert_non_null(freed);
    assert_null(nothing);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory_is_zeroed),
        cmocka_unit_test(test_try_fails_where_alloc_aborts),
        cmocka_unit_test(test_copies),
        cmocka_unit_test(test_cleanup_frees),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
