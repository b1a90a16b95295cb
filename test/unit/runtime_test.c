/* SPDX-License-Identifier: Apache-2.0
 *
 * runtime_test.c - the runtime directory: made with its parents, private, locked by one at a time,
 * refused when others could put things into it; the instance follows its real path.
 */
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "unit.h"

#include "role/runtime.h"

struct place {
    char root[64];
    char dir[128];
    char text[1024];
    struct buf problem;
};

static int set_up(void **state)
{
    struct place *p = calloc(1, sizeof *p);

    (void)snprintf(p->root, sizeof p->root, "/tmp/runtime_test.XXXXXX");
    assert_non_null(mkdtemp(p->root));
    (void)snprintf(p->dir, sizeof p->dir, "%s/a/b", p->root);
    p->problem = buf_on(p->text, sizeof p->text);
    *state = p;
    return 0;
}

static int tear_down(void **state)
{
    struct place *p = *state;
    char command[160];

    (void)snprintf(command, sizeof command, "rm -rf '%s'", p->root);
    assert_int_equal(system(command), 0);
    free(p);
    return 0;
}

static bool says(struct place *p, const char *what)
{
    return str_find_str(buf_str(&p->problem), str_of(what)) < p->problem.n;
}

static void made_private_with_its_parents(void **state)
{
    struct place *p = *state;
    struct runtime r;
    struct stat st;

    assert_int_equal(runtime_enter(p->dir, NULL, &r, &p->problem), 0);
    assert_int_equal(stat(p->dir, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    assert_int_equal(strlen(r.instance), SUPERVISE_INSTANCE_BYTES);
    runtime_leave(&r);
    runtime_leave(&r); /* harmless */
}

static void held_by_one_at_a_time(void **state)
{
    struct place *p = *state;
    struct runtime first, second;

    assert_int_equal(runtime_enter(p->dir, NULL, &first, &p->problem), 0);
    assert_int_equal(runtime_enter(p->dir, NULL, &second, &p->problem), -E_BUSY);
    assert_true(says(p, "another inferd runs there"));
    runtime_leave(&first);
    assert_int_equal(runtime_enter(p->dir, NULL, &second, &p->problem), 0);
    assert_string_equal(first.instance, second.instance);
    runtime_leave(&second);
}

static void instance_follows_the_real_path(void **state)
{
    struct place *p = *state;
    struct runtime direct, linked, other;
    char link[128], third[128];

    (void)snprintf(link, sizeof link, "%s/link", p->root);
    (void)snprintf(third, sizeof third, "%s/c", p->root);
    assert_int_equal(runtime_enter(p->dir, NULL, &direct, &p->problem), 0);
    runtime_leave(&direct);
    assert_int_equal(symlink(p->dir, link), 0);
    assert_int_equal(runtime_enter(link, NULL, &linked, &p->problem), 0);
    assert_string_equal(linked.instance, direct.instance);
    assert_int_equal(runtime_enter(third, NULL, &other, &p->problem), 0);
    assert_string_not_equal(other.instance, direct.instance);
    runtime_leave(&linked);
    runtime_leave(&other);
}

static void refuses_what_others_can_write(void **state)
{
    struct place *p = *state;
    struct runtime r;

    assert_int_equal(runtime_enter(p->dir, NULL, &r, &p->problem), 0);
    runtime_leave(&r);
    assert_int_equal(chmod(p->dir, 0777), 0);
    assert_int_equal(runtime_enter(p->dir, NULL, &r, &p->problem), -E_PERM);
    assert_true(says(p, "can be written by others"));
}

static void finds_the_folder_that_shuts_others_out(void **state)
{
    struct place *p = *state;
    struct sandbox_user other = {.uid = 65534, .gid = 65534},
                        us = {.uid = getuid(), .gid = getgid()};
    char folder[RUNTIME_PATH_MAX], middle[128];
    struct runtime r;

    (void)snprintf(middle, sizeof middle, "%s/a", p->root);
    assert_int_equal(runtime_enter(p->dir, NULL, &r, &p->problem), 0);
    assert_int_equal(chmod(p->root, 0755), 0);
    assert_true(runtime_reachable(&r, &other, folder));
    assert_int_equal(chmod(middle, 0700), 0);
    assert_false(runtime_reachable(&r, &other, folder));
    assert_string_equal(folder, middle);
    assert_true(runtime_reachable(&r, &us, folder));
    runtime_leave(&r);
}

static void refuses_what_is_no_directory(void **state)
{
    struct place *p = *state;
    struct runtime r;
    char file[128];
    FILE *f;

    (void)snprintf(file, sizeof file, "%s/file", p->root);
    f = fopen(file, "w");
    assert_non_null(f);
    assert_int_equal(fclose(f), 0);
    assert_true(runtime_enter(file, NULL, &r, &p->problem) < 0);
    assert_true(says(p, "not a directory"));
    buf_clear(&p->problem);
    (void)snprintf(file, sizeof file, "%s/file/below", p->root);
    assert_true(runtime_enter(file, NULL, &r, &p->problem) < 0);
    assert_true(p->problem.n > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(made_private_with_its_parents, set_up, tear_down),
        cmocka_unit_test_setup_teardown(held_by_one_at_a_time, set_up, tear_down),
        cmocka_unit_test_setup_teardown(instance_follows_the_real_path, set_up, tear_down),
        cmocka_unit_test_setup_teardown(refuses_what_others_can_write, set_up, tear_down),
        cmocka_unit_test_setup_teardown(finds_the_folder_that_shuts_others_out, set_up, tear_down),
        cmocka_unit_test_setup_teardown(refuses_what_is_no_directory, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
