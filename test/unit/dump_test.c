/* SPDX-License-Identifier: Apache-2.0
 *
 * dump_test.c - a struct as TOML again: own values before tables, nested tables under the headers a
 * file would give them, each value with the path it is asked about; read back it is the same.
 */
#include "unit.h"

#include "conf/dump.h"
#include "conf/reader.h"

#define PART_OPTIONS(X, T)                                                                         \
    X(T, name, NAME, REQUIRED, 1, 20, RELOAD, "Its name.")                                         \
    X(T, size, U32, 1, 1, 9, RELOAD, "Its size.")
struct part {
    PART_OPTIONS(OPTION_MEMBER, part)
};
OPTION_LIST_OF(part);
OPTION_TABLE(part, PART_OPTIONS, "A part.");

#define UNIT_OPTIONS(X, T)                                                                         \
    X(T, part, NAMED(part), UNSET, 0, 9, RELOAD, "Parts.")                                         \
    X(T, words, LIST, UNSET, 0, 9, RELOAD, "Words.")                                               \
    X(T, env, MAP, UNSET, 0, 9, RELOAD, "Variables.")                                              \
    X(T, free, FREE, UNSET, 0, 99, RELOAD, "Anything.")
struct unit {
    UNIT_OPTIONS(OPTION_MEMBER, unit)
};
OPTION_LIST_OF(unit);
OPTION_TABLE(unit, UNIT_OPTIONS, "A unit.");

#define SUB_OPTIONS(X, T) X(T, on, BOOL, true, 0, 0, RELOAD, "Whether.")
struct sub {
    SUB_OPTIONS(OPTION_MEMBER, sub)
};
OPTION_TABLE(sub, SUB_OPTIONS, "A table.");

#define ROOT_OPTIONS(X, T)                                                                         \
    X(T, sub, TABLE(sub), UNSET, 0, 0, RELOAD, "A table.")                                         \
    X(T, unit, TABLES(unit), UNSET, 0, 9, RELOAD, "Units.")                                        \
    X(T, lanes, U32, 3, 1, 9, RELOAD, "Lanes.")                                                    \
    X(T, dir, STR, UNSET, 1, 99, RELOAD, "A directory.")
struct root {
    ROOT_OPTIONS(OPTION_MEMBER, root)
};
OPTION_TABLE(root, ROOT_OPTIONS, "Everything.");

static struct str same_path(void *ctx, struct str path)
{
    (void)ctx;
    return path;
}

static void read_root(struct root *root, struct arena *arena, struct str toml)
{
    struct conf_errors errors;
    struct reader reader = {.table = &root_options,
                            .base = root,
                            .arena = arena,
                            .source = STR("f"),
                            .errors = &errors};

    error_init(&errors, arena);
    option_defaults(&root_options, root, arena);
    assert_int_equal(reader_run(&reader, toml), 0);
}

/* Without the blanks that stand before comments. */
static void dump(const struct root *root, struct buf *out)
{
    struct buf all = buf_make(1 << 16);

    buf_clear(out);
    dump_print(&root_options, root, same_path, NULL, &all);
    for (size_t i = 0; i < all.n; i++)
        if (all.p[i] != ' ' || i == 0 || all.p[i - 1] != ' ')
            buf_char(out, all.p[i]);
    buf_fini(&all);
}

static void test_dump(void **state)
{
    struct buf out = buf_make(1 << 16), again = buf_make(1 << 16);
    struct root root;
    struct arena arena;

    (void)state;
    arena_init(&arena, NULL);
    read_root(&root, &arena,
              STR("lanes = 4\n[[unit]]\nwords = ['a', \"b\\n\"]\nenv.T = 'hidden'\n"
                  "free.x = 1\n[unit.part.\"p q\"]\nsize = 2\n[[unit]]\n"));
    dump(&root, &out);
    assert_str_is(buf_str(&out), "lanes = 4 # lanes\n"
                                 "# dir = unset # dir\n"
                                 "\n[sub]\n"
                                 "on = true # sub.on\n"
                                 "\n[[unit]]\n"
                                 "words = [\"a\", \"b\\n\"] # unit[0].words\n"
                                 "# env = { T = \"***\" } # unit[0].env\n"
                                 "# free = {\"x\":1} # unit[0].free\n"
                                 "\n[unit.part.\"p q\"]\n"
                                 "size = 2 # unit[0].part.\"p q\".size\n"
                                 "\n[[unit]]\n"
                                 "words = [] # unit[1].words\n"
                                 "# env = {} # unit[1].env\n"
                                 "# free = {} # unit[1].free\n");
    root.unit.at[0].env.n = 0; /* what is hidden cannot come back */
    root.unit.at[0].free = STR("{}");
    dump(&root, &out);
    read_root(&root, &arena, buf_str(&out));
    dump(&root, &again);
    assert_true(str_eq(buf_str(&out), buf_str(&again)));
    arena_clear(&arena);
    buf_fini(&out);
    buf_fini(&again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dump),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
