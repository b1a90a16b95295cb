/* SPDX-License-Identifier: Apache-2.0
 *
 * percent_test.c - every byte there and back, and what is refused.
 */
#include "unit.h"

#include "base/percent.h"

static void encoded(struct str in, const char *want)
{
    struct buf out = buf_make(4096);

    percent_encode(&out, in);
    assert_str_is(buf_str(&out), want);
    buf_fini(&out);
}

static int decoded(const char *in, const char *want)
{
    char memory[32];
    struct buf out = buf_on(memory, sizeof memory);
    int r;

    buf_char(&out, '>');
    r = percent_decode(&out, str_of(in));
    if (r == 0)
        assert_str_is(str_from(buf_str(&out), 1), want);
    return r;
}

static void test_encode(void **state)
{
    (void)state;
    encoded(STR_NONE, "");
    encoded(STR("AZaz09-._~"), "AZaz09-._~");
    encoded(STR("a/b c+d%?#"), "a%2Fb%20c%2Bd%25%3F%23");
    encoded(STR("\0\x7f\xc3\xa9"), "%00%7F%C3%A9");
}

static void test_decode(void **state)
{
    (void)state;
    assert_int_equal(decoded("", ""), 0);
    assert_int_equal(decoded("a/b+c", "a/b+c"), 0);
    assert_int_equal(decoded("%2F%2f%C3%a9%25", "//\xc3\xa9%"), 0);
    assert_int_equal(decoded("%252F", "%2F"), 0);
    assert_int_equal(decoded("%", NULL), -E_SYNTAX);
    assert_int_equal(decoded("a%2", NULL), -E_SYNTAX);
    assert_int_equal(decoded("%g0", NULL), -E_SYNTAX);
    assert_int_equal(decoded("%0G", NULL), -E_SYNTAX);
    assert_int_equal(decoded("%c3", NULL), -E_SYNTAX);
    assert_int_equal(decoded("%c0%af", NULL), -E_SYNTAX);
    assert_int_equal(decoded("\xff", NULL), -E_SYNTAX);
    assert_int_equal(decoded("0123456789012345678901234567890", "0123456789012345678901234567890"),
                     0);
    assert_int_equal(decoded("01234567890123456789012345678901", NULL), -E_LIMIT);
}

static void test_every_byte(void **state)
{
    (void)state;
    for (unsigned c = 0; c < 128; c++) {
        char byte = (char)c, memory[8], back[8];
        struct buf out = buf_on(memory, sizeof memory), again = buf_on(back, sizeof back);

        percent_encode(&out, str_span(&byte, 1));
        assert_int_equal(percent_decode(&again, buf_str(&out)), 0);
        assert_true(str_eq(buf_str(&again), str_span(&byte, 1)));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_encode),
        cmocka_unit_test(test_decode),
        cmocka_unit_test(test_every_byte),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
