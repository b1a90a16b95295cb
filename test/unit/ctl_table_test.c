/* SPDX-License-Identifier: Apache-2.0
 *
 * ctl_table_test.c - widths, sides, columns that are left out, text that must not reach a terminal;
 * and the lengths of time beside it.
 */
#include "unit.h"

#include "role/ctl_show.h"
#include "role/ctl_table.h"

static const struct ctl_column columns[] = {{"NAME", false}, {"N", true}, {"LAST", false}};

static void printed(struct ctl_table *t, const char *want)
{
    struct buf out = buf_make(1 << 16);

    ctl_table_print(t, &out);
    assert_str_is(buf_str(&out), want);
    buf_fini(&out);
    ctl_table_fini(t);
}

static void test_widths(void **state)
{
    struct ctl_table t;

    (void)state;
    ctl_table_init(&t, columns, 3);
    ctl_table_add(&t, STR("a long name"));
    ctl_table_add_u64(&t, 7);
    ctl_table_add(&t, STR("x"));
    ctl_table_add(&t, STR("\xc3\xa9\xe4\xb8\xad"));
    ctl_table_add_u64(&t, 18446744073709551615ull);
    ctl_table_add(&t, STR_NONE);
    printed(&t, "NAME                            N  LAST\n"
                "a long name                     7  x\n"
                "\xc3\xa9\xe4\xb8\xad           18446744073709551615  -\n");
}

static void test_empty_columns(void **state)
{
    struct ctl_table t;

    (void)state;
    ctl_table_init(&t, columns, 3);
    printed(&t, "NAME  N  LAST\n");
    ctl_table_init(&t, columns, 3);
    for (unsigned i = 0; i < 200; i++) {
        ctl_table_add(&t, STR_NONE);
        ctl_table_add(&t, i == 100 ? STR("5") : STR_NONE);
        ctl_table_add(&t, STR_NONE);
    }
    struct buf out = buf_make(1 << 16);

    ctl_table_print(&t, &out);
    assert_true(str_starts(buf_str(&out), STR("N\n-\n-\n")));
    assert_int_equal(out.n, 201 * 2);
    buf_fini(&out);
    ctl_table_fini(&t);
}

static void test_safe(void **state)
{
    char memory[256];
    struct buf out = buf_on(memory, sizeof memory);

    (void)state;
    ctl_table_safe(&out, STR("a\x1b[0m\n\x7f \xc2\x9b \xc2\xa0 \xc3\xa9 \xff \xe4\xb8"));
    assert_str_is(buf_str(&out),
                  "a\\x1b[0m\\x0a\\x7f \\xc2\\x9b \xc2\xa0 \xc3\xa9 \\xff \\xe4\\xb8");
}

static void lasts(uint64_t ms, const char *want)
{
    char memory[32];
    struct buf out = buf_on(memory, sizeof memory);

    ctl_show_duration(ms, &out);
    assert_str_is(buf_str(&out), want);
}

static void test_durations(void **state)
{
    (void)state;
    lasts(0, "0ms");
    lasts(999, "999ms");
    lasts(1000, "1s");
    lasts(119999, "119s");
    lasts(120000, "2m");
    lasts(7199999, "119m");
    lasts(7200000, "2h");
    lasts(172799999, "47h");
    lasts(172800000, "2d");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_widths),
        cmocka_unit_test(test_empty_columns),
        cmocka_unit_test(test_safe),
        cmocka_unit_test(test_durations),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
