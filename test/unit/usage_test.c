/* SPDX-License-Identifier: Apache-2.0
 *
 * usage_test.c - token counts out of replies, whole and in every two and three pieces.
 */
#include "unit.h"

#include "gate/usage.h"

/* Fed in pieces cut at a and b. */
static struct usage count(const char *text, size_t a, size_t b)
{
    struct usage u;
    size_t n = strlen(text);

    usage_init(&u);
    usage_feed(&u, text, a);
    usage_feed(&u, text + a, b - a);
    usage_feed(&u, text + b, n - b);
    return u;
}

static void expect(const char *text, uint64_t in, uint64_t out)
{
    size_t n = strlen(text);

    for (size_t a = 0; a <= n; a++) {
        for (size_t b = a; b <= n; b += n > 200 ? 7 : 1) {
            struct usage u = count(text, a, b);

            assert_int_equal(u.in, in);
            assert_int_equal(u.out, out);
        }
    }
}

static void test_dialects(void **state)
{
    (void)state;
    expect("{\"id\":\"c\",\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":17,\"total_tokens\":"
           "26}}",
           9, 17);
    expect("{\"usage\" : {\n \"input_tokens\" : 3 ,\n \"output_tokens\" : 5 }\n, \"x\":1}", 3, 5);
    expect("{\"usage\":{\"completion_tokens\":1}}", 0, 1);
    expect("{\"usage\":{}}", 0, 0);
}

static void test_nested_objects_do_not_count(void **state)
{
    (void)state;
    expect("{\"usage\":{\"prompt_tokens_details\":{\"prompt_tokens\":99,\"a\":[1,{\"b\":2}]},"
           "\"prompt_tokens\":4,\"completion_tokens\":6}}",
           4, 6);
    expect("{\"a\":{\"usage\":{\"prompt_tokens\":1}},\"prompt_tokens\":7}", 1, 0);
}

static void test_what_is_no_count(void **state)
{
    (void)state;
    expect("{\"usage\":null,\"prompt_tokens\":1}", 0, 0);
    expect("{\"usage\":[{\"prompt_tokens\":1}]}", 0, 0);
    expect("{\"usage\":\"prompt_tokens\"}", 0, 0);
    expect("{\"x\":\"usage\",\"prompt_tokens\":1}", 0, 0);
    expect("{\"usage\":{\"prompt_tokens\":-3,\"completion_tokens\":1.5}}", 0, 0);
    expect("{\"usage\":{\"prompt_tokens\":99999999999999999999999}}", 0, 0);
    expect("", 0, 0);
}

/* A model that writes the words cannot make counts: its quotes come escaped. */
static void test_text_cannot_pose_as_a_key(void **state)
{
    (void)state;
    expect("{\"content\":\"\\\"usage\\\":{\\\"prompt_tokens\\\":666}\",\"usage\":{\"prompt_"
           "tokens\":2}}",
           2, 0);
    expect("{\"usage\":{\"note\":\"\\\"prompt_tokens\\\":5,}\",\"prompt_tokens\":1}}", 1, 0);
}

static void test_the_newest_counts(void **state)
{
    (void)state;
    expect("data: {\"usage\":{\"input_tokens\":8,\"output_tokens\":1}}\n\n"
           "data: {\"delta\":{},\"usage\":null}\n\ndata: {\"usage\":{\"output_tokens\":30}}\n\n",
           8, 30);
}

static void test_cut_for_good(void **state)
{
    (void)state;
    expect("{\"usage\":{\"prompt_tokens\":12", 0, 0);
    expect("{\"usage", 0, 0);
    expect("{\"usage\"", 0, 0);
    expect("{\"usage\":", 0, 0);
}

/* One that does not fit is given up, and what follows it is still looked at. */
static void test_too_long_in_pieces(void **state)
{
    char text[2048];
    size_t n;
    struct usage u;

    (void)state;
    n = (size_t)snprintf(text, sizeof(text), "{\"usage\":{\"x\":\"%0900d\",\"prompt_tokens\":5}",
                         0);
    (void)snprintf(text + n, sizeof(text) - n, ",\"b\":{\"usage\":{\"prompt_tokens\":7}}}");
    u = count(text, 0, 0);
    assert_int_equal(u.in, 7);
    u = count(text, 20, 600);
    assert_int_equal(u.in, 7);
    for (size_t i = 0; text[i]; i++) { /* byte by byte */
        if (i == 0)
            usage_init(&u);
        usage_feed(&u, text + i, 1);
    }
    assert_int_equal(u.in, 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dialects),
        cmocka_unit_test(test_nested_objects_do_not_count),
        cmocka_unit_test(test_what_is_no_count),
        cmocka_unit_test(test_text_cannot_pose_as_a_key),
        cmocka_unit_test(test_the_newest_counts),
        cmocka_unit_test(test_cut_for_good),
        cmocka_unit_test(test_too_long_in_pieces),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
