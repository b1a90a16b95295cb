/* SPDX-License-Identifier: Apache-2.0
 *
 * arena_test.c - alignment, large and empty allocations, hooks, the shared cache, and that what is
 * not handed out is poisoned under ASan.
 */
#include "unit.h"

#include "base/arena.h"
#include "base/buf.h"

#if defined(__SANITIZE_ADDRESS__)
#define ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ASAN 1
#endif
#endif
#ifdef ASAN
#include <sanitizer/asan_interface.h>
#endif

static void test_alignment_and_independence(void **state)
{
    struct arena a;
    unsigned char *p[500];

    (void)state;
    arena_init(&a, NULL);
    for (size_t i = 0; i < ARRAY_LEN(p); i++) {
        p[i] = arena_alloc(&a, i);
        assert_non_null(p[i]);
        assert_int_equal((uintptr_t)p[i] % 16, 0);
        memset(p[i], (int)(i & 0xff), i);
    }
    for (size_t i = 0; i < ARRAY_LEN(p); i++)
        for (size_t j = 0; j < i; j++)
            assert_int_equal(p[i][j], i & 0xff);
    arena_clear(&a);
    assert_null(a.head);
}

static void test_empty_allocations_differ(void **state)
{
    struct arena a;
    void *first, *second;
    struct str none;

    (void)state;
    arena_init(&a, NULL);
    first = arena_alloc(&a, 0);
    second = arena_alloc(&a, 0);
    assert_non_null(first);
    assert_ptr_not_equal(first, second);
    none = arena_str(&a, STR_NONE);
    assert_non_null(none.p);
    assert_int_equal(none.n, 0);
    assert_string_equal(arena_cstr(&a, STR_NONE), "");
    arena_clear(&a);
}

static void test_large_allocation_keeps_the_current_block(void **state)
{
    struct arena a;
    char *small, *large, *next;

    (void)state;
    arena_init(&a, NULL);
    small = arena_alloc(&a, 16);
    large = arena_alloc(&a, 100000);
    next = arena_alloc(&a, 16);
    assert_ptr_equal(next, small + 16);
    memset(large, 1, 100000);
    arena_clear(&a);
    large = arena_alloc(&a, 100000); /* the first allocation of all */
    memset(large, 1, 100000);
    next = arena_zalloc(&a, ARENA_BLOCK_BYTES); /* exactly a block */
    for (int i = 0; i < ARENA_BLOCK_BYTES; i++)
        assert_int_equal(next[i], 0);
    arena_clear(&a);
}

static void test_overflow_aborts(void **state)
{
    volatile size_t huge = SIZE_MAX - 3;
    struct arena a;
    char text[1024];

    (void)state;
    arena_init(&a, NULL);
    assert_dies(arena_alloc(&a, huge), text);
    assert_non_null(strstr(text, "CHECK("));
    arena_clear(&a);
}

static void test_strings(void **state)
{
    struct arena a;
    char text[1000];
    struct str s;

    (void)state;
    arena_init(&a, NULL);
    memset(text, 'q', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    assert_str_is(arena_str(&a, STR("abc")), "abc");
    assert_string_equal(arena_cstr(&a, STR("abc")), "abc");
    assert_str_is(arena_printf(&a, "%d-%s", 7, "x"), "7-x");
    for (size_t n = 250; n < 260; n++) { /* around the size of its own buffer */
        s = arena_printf(&a, "%.*s", (int)n, text);
        assert_int_equal(s.n, n);
        assert_int_equal(s.p[n], '\0');
        assert_memory_equal(s.p, text, n);
    }
    assert_str_is(arena_printf(&a, "%s", text), text);
    arena_clear(&a);
}

struct note {
    struct buf *to;
    char c;
};

static void note_char(void *ctx)
{
    struct note *note = ctx;

    buf_char(note->to, note->c);
}

static void test_hooks_run_newest_first_and_once(void **state)
{
    char text[10];
    struct buf order = buf_on(text, sizeof text);
    struct note one = {&order, '1'}, two = {&order, '2'};
    struct arena a;

    (void)state;
    arena_init(&a, NULL);
    arena_on_clear(&a, note_char, &one);
    arena_on_clear(&a, note_char, &two);
    arena_clear(&a);
    arena_clear(&a);
    assert_str_is(buf_str(&order), "21");
}

static void test_cache_is_bounded_and_reused(void **state)
{
    struct arena_cache cache = {.max = 2};
    struct arena a;
    void *p, *q;

    (void)state;
    arena_init(&a, &cache);
    for (int i = 0; i < 5; i++)
        (void)arena_alloc(&a, ARENA_BLOCK_BYTES);
    (void)arena_alloc(&a, ARENA_BLOCK_BYTES * 2); /* never cached */
    arena_clear(&a);
    assert_int_equal(cache.count, 2);
    p = arena_alloc(&a, 10);
    assert_int_equal(cache.count, 1);
    arena_clear(&a);
    q = arena_alloc(&a, 10);
    assert_ptr_equal(p, q);
    arena_clear(&a);
    arena_cache_fini(&cache);
    assert_int_equal(cache.count, 0);
    assert_null(cache.free);
}

static void test_poison(void **state)
{
#ifdef ASAN
    struct arena_cache cache = {.max = 1};
    struct arena a;
    char *p;

    (void)state;
    arena_init(&a, &cache);
    p = arena_alloc(&a, 10);
    assert_false(__asan_address_is_poisoned(p));
    assert_false(__asan_address_is_poisoned(p + 9));
    assert_true(__asan_address_is_poisoned(p + 10)); /* up to the alignment */
    assert_true(__asan_address_is_poisoned(p + 16)); /* not handed out */
    arena_clear(&a);
    assert_true(__asan_address_is_poisoned(p)); /* in the cache */
    arena_cache_fini(&cache);
#else
    (void)state;
    print_message("not built with ASan: nothing is poisoned\n");
    skip();
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alignment_and_independence),
        cmocka_unit_test(test_empty_allocations_differ),
        cmocka_unit_test(test_large_allocation_keeps_the_current_block),
        cmocka_unit_test(test_overflow_aborts),
        cmocka_unit_test(test_strings),
        cmocka_unit_test(test_hooks_run_newest_first_and_once),
        cmocka_unit_test(test_cache_is_bounded_and_reused),
        cmocka_unit_test(test_poison),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
