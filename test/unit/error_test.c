/* SPDX-License-Identifier: Apache-2.0
 *
 * error_test.c - how mistakes of a configuration read: every part present or absent, by line, and
 * no more of them than fit on a screen.
 */
#include "unit.h"

#include "conf/error.h"

static const struct {
    struct conf_error error;
    const char *text;
} rows[] = {
    {{.source = {"f.toml", 6},
      .line = 12,
      .column = 9,
      .key = {"a.b", 3},
      .problem = {"is bad", 6}},
     "f.toml:12:9: a.b: is bad"},
    {{.source = {"f.toml", 6}, .line = 12, .problem = {"is bad", 6}}, "f.toml:12: is bad"},
    {{.source = {"--lanes", 7}, .column = 3, .problem = {"is bad", 6}}, "--lanes: is bad"},
    {{.key = {"a", 1}, .problem = {"is bad", 6}, .hint = {"b", 1}},
     "a: is bad (did you mean `b`?)"},
    {{.problem = {"is bad", 6}}, "is bad"},
};

static void test_parts(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf out = buf_make(1000);

        error_print(&rows[i].error, &out);
        assert_str_is(buf_str(&out), rows[i].text);
        buf_fini(&out);
    }
}

static void test_by_line_and_copied(void **state)
{
    struct buf out = buf_make(10000);
    struct conf_errors errors;
    struct arena arena;
    char text[] = "x";

    (void)state;
    arena_init(&arena, NULL);
    error_init(&errors, &arena);
    for (uint32_t line = 3; line > 0; line--)
        error_add(&errors, &(struct conf_error){
                               .source = str_of(text), .line = line, .problem = str_of(text)});
    error_add(&errors, &(struct conf_error){.problem = STR("first")});
    error_add(&errors, &(struct conf_error){.problem = STR("second")});
    text[0] = '#';
    error_print_all(&errors, STR("E: "), &out);
    assert_str_is(buf_str(&out), "E: first\nE: second\nE: x:1: x\nE: x:2: x\nE: x:3: x\n");
    arena_clear(&arena);
    buf_fini(&out);
}

static void test_bounded(void **state)
{
    struct buf out = buf_make(10000);
    struct conf_errors errors;
    struct arena arena;

    (void)state;
    arena_init(&arena, NULL);
    error_init(&errors, &arena);
    error_print_all(&errors, STR("E: "), &out);
    assert_int_equal(out.n, 0);
    for (int i = 0; i < ERROR_MAX * 3; i++)
        error_add(&errors, &(struct conf_error){.problem = STR("p")});
    assert_int_equal(errors.n, ERROR_MAX);
    error_print_all(&errors, STR("E: "), &out);
    assert_int_equal(out.n, ERROR_MAX * strlen("E: p\n") + strlen("E: and 40 more\n"));
    assert_true(str_ends(buf_str(&out), STR("E: and 40 more\n")));
    arena_clear(&arena);
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_by_line_and_copied),
        cmocka_unit_test(test_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
