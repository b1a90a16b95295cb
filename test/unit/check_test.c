/* SPDX-License-Identifier: Apache-2.0
 *
 * check_test.c - check.h, err.h: how a bug dies, what the small macros promise, the error tables.
 */
#include "unit.h"

#include <errno.h>
#include <limits.h>

#include "base/err.h"

static void dump_says(int fd)
{
    ssize_t ignored = write(fd, "the dump\n", 9);

    (void)ignored;
}

static void dump_fails(int fd)
{
    dump_says(fd);
    CHECK(fd < 0);
}

static void test_failed_check_names_place_and_aborts(void **state)
{
    char text[1024];
    volatile int one = 1;

    (void)state;
    assert_dies(CHECK(one == 2), text);
    assert_non_null(strstr(text, "CHECK(one == 2) failed in test_failed_check_names_place"));
    assert_non_null(strstr(text, "check_test.c:"));
}

static void test_failed_check_prints_the_dump_once(void **state)
{
    char text[1024];
    volatile int one = 1;
    const char *first;

    (void)state;
    check_set_dump(dump_says);
    assert_dies(CHECK(one == 2), text);
    assert_non_null(strstr(text, "the dump\n"));
    check_set_dump(dump_fails);
    assert_dies(CHECK(one == 2), text);
    check_set_dump(NULL);
    first = strstr(text, "the dump\n");
    assert_non_null(first);
    assert_null(strstr(first + 1, "the dump\n"));
    assert_non_null(strstr(first, "CHECK(fd < 0) failed"));
}

static void test_check_evaluates_once(void **state)
{
    int n = 0;

    (void)state;
    CHECK(++n == 1);
    assert_int_equal(n, 1);
}

static void test_macros(void **state)
{
    int value = 3, *p = &value;
    unsigned odd = 0;
    bool hit;
    struct pair {
        char a;
        int b;
    } pair = {'x', 7};

    (void)state;
    assert_ptr_equal(TAKE(&p), &value);
    assert_null(p);
    hit = COUNT_IF(value == 3, &odd);
    assert_true(hit);
    hit = COUNT_IF(value == 4, &odd);
    assert_false(hit);
    assert_int_equal(odd, 1);
    assert_ptr_equal(container_of(&pair.b, struct pair, b), &pair);
    assert_int_equal(min_size(1, 2) + max_size(1, 2), 3);
    assert_int_equal(min_u64(UINT64_MAX, 5), 5);
}

#define AS_CODE(name, number, text) {name, #name, text},
static void test_every_code_has_name_and_text(void **state)
{
    static const struct {
        int code;
        const char *name, *text;
    } rows[] = {ERR_CODES(AS_CODE)};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_string_equal(err_name(-rows[i].code), rows[i].name);
        assert_string_equal(err_text(-rows[i].code), rows[i].text);
        for (size_t j = 0; j < i; j++)
            assert_int_not_equal(rows[i].code, rows[j].code);
    }
    assert_string_equal(err_name(0), "E_?");
    assert_string_equal(err_name(E_EOF), "E_?");
    assert_string_equal(err_name(-9999), "E_?");
    assert_string_equal(err_name(INT_MIN), "E_?");
    assert_string_equal(err_text(INT_MIN), "unknown error");
}

static void test_errno_translation(void **state)
{
    (void)state;
    assert_int_equal(err_sys(EAGAIN), -E_AGAIN);
    assert_int_equal(err_sys(EPIPE), -E_RESET);
    assert_int_equal(err_sys(EMFILE), -E_NO_FDS);
    assert_int_equal(err_sys(ENOSPC), -E_NO_SPACE);
    assert_int_equal(err_sys(ENOTTY), -E_IO);
    for (int e = 1; e < 140; e++) {
        assert_true(err_sys(e) < 0);
        assert_string_not_equal(err_name(err_sys(e)), "E_?");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_failed_check_names_place_and_aborts),
        cmocka_unit_test(test_failed_check_prints_the_dump_once),
        cmocka_unit_test(test_check_evaluates_once),
        cmocka_unit_test(test_macros),
        cmocka_unit_test(test_every_code_has_name_and_text),
        cmocka_unit_test(test_errno_translation),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
