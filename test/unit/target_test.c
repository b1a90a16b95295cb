/* SPDX-License-Identifier: Apache-2.0
 *
 * target_test.c - gate/target.c: what is left of paths with dots in them.
 */
#include "unit.h"

#include "gate/target.h"

static const char *const rows[][2] = {
    {"/", "/"},
    {"/a", "/a"},
    {"/a/", "/a/"},
    {"//", "//"},
    {"/.", "/"},
    {"/..", "/"},
    {"/./", "/"},
    {"/../", "/"},
    {"/a/.", "/a/"},
    {"/a/..", "/"},
    {"/a/b/..", "/a/"},
    {"/a/./b", "/a/b"},
    {"/a/../b", "/b"},
    {"/a/b/../../c", "/c"},
    {"/../../../a", "/a"},
    {"/a/b/c/./../../g", "/a/g"}, /* RFC 3986 section 5.2.4 */
    {"/mid/content=5/../6", "/mid/6"},
    {"/a//../b", "/a/b"},
    {"/%2e%2E/a", "/a"},
    {"/x/.%2e/a", "/a"},
    {"/x/%2e./a", "/a"},
    {"/x/%2e/a", "/x/a"},
    {"/x/%2e%2e", "/"},
    {"/.../a", "/.../a"},
    {"/%2e%2e%2e/a", "/%2e%2e%2e/a"},
    {"/..a/.b/c./d..", "/..a/.b/c./d.."},
    {"/%2f../a", "/%2f../a"},
    {"/%2", "/%2"},
    {"/%25%32%65/a", "/%25%32%65/a"},
};

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char memory[64];
        struct buf out = buf_on(memory, sizeof memory);

        target_resolve(str_of(rows[i][0]), &out);
        assert_int_equal(buf_status(&out), 0);
        assert_str_is(buf_str(&out), rows[i][1]);
    }
}

/* What stood in the buffer before is not climbed into. */
static void test_appends(void **state)
{
    char memory[64];
    struct buf out = buf_on(memory, sizeof memory);

    (void)state;
    buf_text(&out, "/prefix/x");
    target_resolve(STR("/../../a"), &out);
    assert_str_is(buf_str(&out), "/prefix/x/a");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_appends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
