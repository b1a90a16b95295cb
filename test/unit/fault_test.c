/* SPDX-License-Identifier: Apache-2.0
 *
 * fault_test.c - the tables behind a fault, whose it is, and how its sentence is cut.
 */
#include "unit.h"

#include "base/fault.h"

#define AS_ROW(code, status, type) {FAULT_##code, #code, status, type},

static void test_tables(void **state)
{
    static const struct {
        enum fault_code code;
        const char *name;
        int status;
        const char *type;
    } rows[] = {FAULT_CODES(AS_ROW)};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_string_equal(fault_code_name(rows[i].code), rows[i].name);
        assert_int_equal(fault_code_status(rows[i].code), rows[i].status);
        assert_string_equal(fault_code_type(rows[i].code), rows[i].type);
        assert_in_range(rows[i].status, 400, 599);
    }
    assert_string_equal(fault_code_name(FAULT_none), "none");
}

static void test_set_fills_everything(void **state)
{
    struct fault f;

    (void)state;
    memset(&f, 0xee, sizeof f);
    fault_set(&f, FAULT_model_not_found, "The model '%s' does not exist", "x");
    assert_int_equal(f.code, FAULT_model_not_found);
    assert_int_equal(f.status, 404);
    assert_int_equal(f.whose, FAULT_OF_CLIENT);
    assert_string_equal(f.text, "The model 'x' does not exist");
    assert_string_equal(f.param, "");
    assert_int_equal(f.retry_after_s, 0);
}

static void test_type_of_another_status(void **state)
{
    struct fault f;

    (void)state;
    fault_set(&f, FAULT_model_not_found, "x");
    assert_string_equal(fault_type(&f), "invalid_request_error");
    f.status = 503;
    assert_string_equal(fault_type(&f), "server_error");
    fault_set(&f, FAULT_not_implemented, "x");
    assert_string_equal(fault_type(&f), "invalid_request_error");
}

static void test_whose(void **state)
{
    static const struct {
        enum fault_code code;
        enum fault_whose whose;
    } rows[] = {
        {FAULT_bad_request, FAULT_OF_CLIENT},
        {FAULT_client_gone, FAULT_OF_CLIENT},
        {FAULT_internal_error, FAULT_OF_US},
        {FAULT_bad_gateway, FAULT_OF_ENGINE},
        {FAULT_upstream_disconnected, FAULT_OF_ENGINE},
        {FAULT_upstream_timeout, FAULT_OF_ENGINE},
        {FAULT_overloaded, FAULT_OF_NOBODY},
        {FAULT_draining, FAULT_OF_NOBODY},
    };
    struct fault f;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        fault_set(&f, rows[i].code, "x");
        assert_int_equal(f.whose, rows[i].whose);
    }
}

static void test_text_is_cut_at_a_character(void **state)
{
    char text[2000];
    struct fault f;

    (void)state;
    for (size_t i = 0; i + 3 <= sizeof text; i += 3)
        memcpy(text + i, "\xe4\xb8\xad", 3);
    for (int shift = 0; shift < 3; shift++) {
        fault_set(&f, FAULT_bad_request, "%.*s%.1500s", shift, "ab", text);
        assert_in_range(strlen(f.text), sizeof f.text - 3, sizeof f.text - 1);
        assert_true(str_utf8_valid(str_of(f.text)));
    }
    memset(text, '\x80', 600); /* what is no UTF-8 does not make the sentence vanish */
    text[600] = '\0';
    fault_set(&f, FAULT_bad_request, "%s", text);
    assert_int_equal(strlen(f.text), sizeof f.text - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tables),
        cmocka_unit_test(test_set_fills_everything),
        cmocka_unit_test(test_type_of_another_status),
        cmocka_unit_test(test_whose),
        cmocka_unit_test(test_text_is_cut_at_a_character),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
