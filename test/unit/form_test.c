/* SPDX-License-Identifier: Apache-2.0
 *
 * form_test.c - the field `model` of forms, with every cut of the body.
 */
#include "unit.h"

#include <stdlib.h>

#include "gate/form.h"

static struct form form;

static void read_cut(const char *type, struct str body, size_t cut)
{
    struct str parts[] = {str_head(body, cut), str_from(body, cut)};

    assert_true(form_init(&form, str_of(type)));
    for (size_t i = 0; i < 2; i++) {
        char *copy = malloc(parts[i].n + 1);

        if (parts[i].n)
            memcpy(copy, parts[i].p, parts[i].n);
        form_feed(&form, copy, parts[i].n);
        free(copy);
    }
}

#define TYPE "multipart/form-data; boundary=xyz"
#define DISPOSITION "Content-Disposition: form-data; "
#define PART(head, value) "--xyz\r\n" head "\r\n\r\n" value "\r\n"
#define MODEL(value) PART(DISPOSITION "name=\"model\"", value)
#define END "--xyz--\r\n"

static void test_the_field(void **state)
{
    static const struct {
        const char *body, *want; /* NULL: there is none */
    } rows[] = {
        {MODEL("whisper") END, "whisper"},
        {"preamble\r\n" MODEL("whisper") "--xyz--", "whisper"},
        {PART(DISPOSITION "name=\"file\"; filename=\"a;name=model\"\r\nContent-Type: audio/wav",
              "\r\n--xy\r--xyz\r\n--xyy\r\n\r\n") MODEL("m") END,
         "m"},
        {PART("content-disposition:form-data;name=model", "m") END, "m"},
        {PART("X-A: b\r\n" DISPOSITION "x=\"\\\"\"; Name = \"model\"", "m") END, "m"},
        {PART(DISPOSITION "filename=\"n\\\"; name=\\\"model\"; name=\"x\"", "m") END, NULL},
        {MODEL("") END, ""},
        {MODEL("a\r\nb\r") END, "a\r\nb\r"},
        {MODEL("m") PART(DISPOSITION "name=\"x\"", "n") END, "m"},
        {"--xyz  \r\n" DISPOSITION "name=\"model\"\r\n\r\nm\r\n--xyz\r\n", "m"},
        {"--xyz\r\n" DISPOSITION "name=\"model\"\r\n\r\nm\r\n", NULL}, /* it does not end */
        {"--xyz\r\n" DISPOSITION "name=\"model\"\r\n\r\nm\r\n--xy", NULL},
        {PART(DISPOSITION "name=\"Model\"", "m") END, NULL},
        {PART(DISPOSITION "name=\"mode\"", "m") END, NULL},
        {PART("X-Content-Disposition: form-data; name=\"model\"", "m") END, NULL},
        {"--xyz--\r\n" MODEL("m") END, NULL}, /* it was over */
        {"{\"model\":\"m\"}", NULL},
        {"", NULL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        for (size_t cut = 0; cut <= strlen(rows[i].body); cut++) {
            read_cut(TYPE, str_of(rows[i].body), cut);
            if (form.found != (rows[i].want != NULL) ||
                (form.found && !str_eq(str_span(form.value, form.value_n), str_of(rows[i].want))))
                fail_msg("%s, cut at %zu: %d, %.*s", rows[i].body, cut, form.found, form.value_n,
                         form.value);
            assert_false(form.repeated);
        }
}

static void test_twice(void **state)
{
    (void)state;
    read_cut(TYPE, STR(MODEL("a") MODEL("b") END), 20);
    assert_true(form.found && form.repeated);
    assert_str_is(str_span(form.value, form.value_n), "a");
}

static void test_content_types(void **state)
{
    static const char longest[] =
        "multipart/form-data; boundary="
        "0123456789012345678901234567890123456789012345678901234567890123456789";

    (void)state;
    assert_true(form_init(&form, STR("Multipart/Form-Data ; charset=x; Boundary=\"a b\"")));
    assert_true(form_init(&form, str_of(longest)));
    assert_false(form_init(&form, STR_NONE));
    assert_false(form_init(&form, STR("multipart/form-data")));
    assert_false(form_init(&form, STR("multipart/form-data; boundary=")));
    assert_false(form_init(&form, STR("multipart/form-data; boundary=\"")));
    assert_false(form_init(&form, STR("multipart/mixed; boundary=x")));
    assert_false(form_init(&form, STR("application/json; boundary=x")));
    assert_false(form_init(&form, STR("multipart/form-data; boundary=\""
                                      "0123456789012345678901234567890123456789012345678901234567"
                                      "8901234567890\"")));
}

static void test_bounds(void **state)
{
    static char body[4096];
    size_t n = 0;

    (void)state;
    n += (size_t)sprintf(body, "--xyz\r\nx: %01030d\r\n" DISPOSITION "name=\"model\"\r\n\r\n", 0);
    memset(body + n, 'm', FORM_VALUE_MAX + 9);
    n += FORM_VALUE_MAX + 9;
    n += (size_t)sprintf(body + n, "\r\n" END);
    for (size_t cut = 0; cut <= n; cut++) {
        read_cut(TYPE, str_span(body, n), cut);
        assert_true(form.found);
        assert_int_equal(form.value_n, FORM_VALUE_MAX);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_field),
        cmocka_unit_test(test_twice),
        cmocka_unit_test(test_content_types),
        cmocka_unit_test(test_bounds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
