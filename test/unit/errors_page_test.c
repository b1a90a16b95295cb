/* SPDX-License-Identifier: Apache-2.0
 *
 * errors_page_test.c - docs/errors.md (named by INFERD_ERRORS_PAGE) has the rows of base/fault.h,
 * all of them and no others, in that order, with their status and type.
 */
#include "unit.h"

#include <stdlib.h>

#include "base/buf.h"
#include "base/fault.h"

static struct buf page;

static int setup(void **state)
{
    FILE *f = fopen(getenv("INFERD_ERRORS_PAGE"), "re");
    char *room;

    (void)state;
    assert_non_null(f);
    page = buf_make(1 << 20);
    room = buf_reserve(&page, 1 << 19);
    assert_non_null(room);
    page.n = fread(room, 1, 1 << 19, f);
    fclose(f);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    buf_fini(&page);
    return 0;
}

#define AS_CODE(code, status, type) FAULT_##code,
static const enum fault_code codes[] = {FAULT_CODES(AS_CODE)};

static void test_rows(void **state)
{
    struct str rest = buf_str(&page);
    size_t row = 0;

    (void)state;
    while (rest.n > 0) {
        struct str line = str_cut(&rest, '\n');
        char memory[256];
        struct buf want = buf_on(memory, sizeof memory);

        if (!str_starts(line, STR("| `")))
            continue;
        assert_true(row < ARRAY_LEN(codes));
        buf_printf(&want, "| `%s` | %d | `%s` | ", fault_code_name(codes[row]),
                   fault_code_status(codes[row]), fault_code_type(codes[row]));
        assert_str_is(str_head(line, want.n), buf_cstr(&want));
        assert_true(line.n > want.n + 10 && str_ends(line, STR(" |"))); /* it says when */
        row++;
    }
    assert_int_equal(row, ARRAY_LEN(codes));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows)};

    return cmocka_run_group_tests(tests, setup, teardown);
}
