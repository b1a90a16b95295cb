/* SPDX-License-Identifier: Apache-2.0
 *
 * option_test.c - one table with a row of every type: defaults, setting from text at and beyond
 * each bound, printing, names of flags and variables, finding by path, what needs a restart.
 */
#include "unit.h"

#include <limits.h>
#include <math.h>

#include "conf/option.h"

#define FISH_WORDS(X)                                                                              \
    X(FISH_CARP, "carp")                                                                           \
    X(FISH_EEL, "eel")                                                                             \
    X(FISH_CATFISH, "catfish")
OPTION_ENUM(fish_kind, FISH_WORDS);
OPTION_WORDS(fish_kind, FISH_WORDS);

#define FISH_OPTIONS(X, T)                                                                         \
    X(T, name, NAME, REQUIRED, 1, 8, RELOAD, "Its name.")                                          \
    X(T, grams, U32, 10, 1, 1000, RELOAD, "Its weight.")                                           \
    X(T, place, STR, REQUIRED, 1, 16, RELOAD, "Where it swims.")
struct fish {
    FISH_OPTIONS(OPTION_MEMBER, fish)
};
OPTION_LIST_OF(fish);
OPTION_TABLE(fish, FISH_OPTIONS, "A fish.");

#define PUMP_OPTIONS(X, T)                                                                         \
    X(T, watts, U32, 40, 1, 500, RESTART, "Its power.")                                            \
    X(T, quiet, BOOL, true, 0, 0, RELOAD, "Whether it is.")
struct pump {
    PUMP_OPTIONS(OPTION_MEMBER, pump)
};
OPTION_TABLE(pump, PUMP_OPTIONS, "A pump.");

#define TANK_OPTIONS(X, T)                                                                         \
    X(T, lit, BOOL, true, 0, 0, RELOAD, "Light.")                                                  \
    X(T, depth_mm, U32, 500, 1, 9000, RESTART, "How deep it is.")                                  \
    X(T, holes, U32, UNSET, 0, 9, RELOAD, "Holes.")                                                \
    X(T, drops, U64, 7, 0, INT64_MAX, RELOAD, "Drops in it.")                                      \
    X(T, seen, U64, UNSET, 0, 9, RELOAD, "Seen.")                                                  \
    X(T, ratio, F64, 0.5, -2, 2, RELOAD, "Some ratio.")                                            \
    X(T, ph, F64, UNSET, 0, 14, RELOAD, "Acid or not.")                                            \
    X(T, glass, STR, "thick", 2, 8, RELOAD, "Its glass.")                                          \
    X(T, owner, STR, UNSET, 0, 8, RESTART, "Whose it is.")                                         \
    X(T, kind, WORD(fish_kind), eel, 0, 0, RELOAD, "Which fish.")                                  \
    X(T, other, WORD(fish_kind), UNSET, 0, 0, RELOAD, "Which other.")                              \
    X(T, plants, LIST, UNSET, 0, 3, RELOAD, "What grows.")                                         \
    X(T, tags, COMMAS, UNSET, 1, 3, RELOAD, "Labels.")                                             \
    X(T, notes, MAP, UNSET, 0, 3, RELOAD, "Notes.")                                                \
    X(T, extra, FREE, UNSET, 0, 100, RELOAD, "Anything.")                                          \
    X(T, pump, TABLE(pump), UNSET, 0, 0, RELOAD, "The pump.")                                      \
    X(T, shoal, TABLES_BY(fish, place), UNSET, 0, 4, RELOAD, "Who swims.")                         \
    X(T, pet, NAMED(fish), UNSET, 0, 4, RELOAD, "Who has a name.")
struct tank {
    TANK_OPTIONS(OPTION_MEMBER, tank)
};
OPTION_TABLE(tank, TANK_OPTIONS, "A tank.");

struct rig {
    struct arena arena;
    struct tank tank;
    char memory[512];
    struct buf text;
};

static int setup(void **state)
{
    static struct rig r;

    arena_init(&r.arena, NULL);
    r.text = buf_on(r.memory, sizeof r.memory);
    option_defaults(&tank_options, &r.tank, &r.arena);
    *state = &r;
    return 0;
}

static int teardown(void **state)
{
    arena_clear(&((struct rig *)*state)->arena);
    return 0;
}

static const struct option *row(const char *key)
{
    const struct option *o = option_find(&tank_options, str_of(key));

    assert_non_null(o);
    return o;
}

static void takes(struct rig *r, const char *key, const char *text)
{
    buf_clear(&r->text);
    assert_int_equal(option_check_text(row(key), str_of(text), &r->text), 0);
    assert_int_equal(option_set_text(row(key), &r->tank, &r->arena, str_of(text), &r->text), 0);
    assert_int_equal(r->text.n, 0);
}

static void refuses(struct rig *r, const char *key, struct str text, const char *problem)
{
    struct tank before = r->tank;

    buf_clear(&r->text);
    assert_int_equal(option_check_text(row(key), text, &r->text), -E_CONF);
    assert_str_is(buf_str(&r->text), problem);
    buf_clear(&r->text);
    assert_int_equal(option_set_text(row(key), &r->tank, &r->arena, text, &r->text), -E_CONF);
    assert_str_is(buf_str(&r->text), problem);
    assert_true(row(key)->type == OPTION_COMMAS || memcmp(&before, &r->tank, sizeof before) == 0);
}

static void prints(struct rig *r, const char *key, const char *shown)
{
    buf_clear(&r->text);
    option_print(row(key), &r->tank, &r->text);
    assert_str_is(buf_str(&r->text), shown);
}

static void test_defaults(void **state)
{
    struct rig *r = *state;
    const struct tank *t = &r->tank;

    assert_true(t->lit);
    assert_int_equal(t->depth_mm, 500);
    assert_int_equal(t->holes, OPTION_UNSET_U32);
    assert_int_equal(t->drops, 7);
    assert_int_equal(t->seen, OPTION_UNSET_U64);
    assert_true(t->ratio == 0.5);
    assert_true(isnan(t->ph));
    assert_str_is(t->glass, "thick");
    assert_null(t->owner.p);
    assert_int_equal(t->kind, FISH_EEL);
    assert_int_equal(t->other, fish_kind_unset);
    assert_int_equal(t->plants.n + t->tags.n + t->notes.n + t->shoal.n + t->pet.n, 0);
    assert_str_is(t->extra, "{}");
    assert_int_equal(t->pump.watts, 40);
    assert_true(t->pump.quiet);
}

static void test_numbers(void **state)
{
    struct rig *r = *state;

    takes(r, "depth_mm", "1");
    assert_int_equal(r->tank.depth_mm, 1);
    takes(r, "depth_mm", "9000");
    assert_int_equal(r->tank.depth_mm, 9000);
    refuses(r, "depth_mm", STR("0"), "0 is too small: at least 1");
    refuses(r, "depth_mm", STR("9001"), "9001 is too large: at most 9000");
    refuses(r, "depth_mm", STR("-1"), "-1 is too small: at least 1");
    refuses(r, "depth_mm", STR("4294967297"), "4294967297 is too large: at most 9000");
    refuses(r, "depth_mm", STR("9223372036854775808"),
            "9223372036854775808 is too large: at most 9000");
    refuses(r, "depth_mm", STR("-9223372036854775808"),
            "-9223372036854775808 is too small: at least 1");
    refuses(r, "depth_mm", STR("18446744073709551616"),
            "\"18446744073709551616\" is not an integer");
    refuses(r, "depth_mm", STR(""), "\"\" is not an integer");
    refuses(r, "depth_mm", STR("-"), "\"-\" is not an integer");
    refuses(r, "depth_mm", STR("1.5"), "\"1.5\" is not an integer");
    refuses(r, "depth_mm", STR(" 1"), "\" 1\" is not an integer");
    refuses(r, "depth_mm", STR("0x10"), "\"0x10\" is not an integer");
    takes(r, "drops", "9223372036854775807");
    assert_true(r->tank.drops == INT64_MAX);
    takes(r, "ratio", "-1.25");
    assert_true(r->tank.ratio == -1.25);
    takes(r, "ratio", "2");
    assert_true(r->tank.ratio == 2);
    refuses(r, "ratio", STR("2.1"), "2.1 is too large: at most 2");
    refuses(r, "ratio", STR("-2.5"), "-2.5 is too small: at least -2");
    refuses(r, "ratio", STR("nan"), "must be a finite number");
    refuses(r, "ratio", STR("1e999"), "must be a finite number");
    refuses(r, "ratio", STR("much"), "\"much\" is not a number");
    refuses(r, "ratio", STR(""), "\"\" is not a number");
    refuses(r, "ratio", STR("1 "), "\"1 \" is not a number");
}

static void test_strings_and_words(void **state)
{
    struct rig *r = *state;

    takes(r, "lit", "false");
    assert_false(r->tank.lit);
    takes(r, "lit", "1");
    assert_true(r->tank.lit);
    refuses(r, "lit", STR("yes"), "must be true or false");
    takes(r, "glass", "12345678");
    refuses(r, "glass", STR("123456789"), "is too long: at most 8 bytes");
    refuses(r, "glass", STR("1"), "is too short: at least 2 bytes");
    refuses(r, "glass", STR(""), "must not be empty");
    refuses(r, "glass", STR("a\0b"), "must not contain a NUL character");
    refuses(r, "glass", STR("a\xff"), "is not UTF-8");
    takes(r, "owner", "");
    assert_non_null(r->tank.owner.p);
    takes(r, "kind", "carp");
    assert_int_equal(r->tank.kind, FISH_CARP);
    refuses(r, "kind", STR("carpp"),
            "must be one of \"carp\", \"eel\", \"catfish\" (did you mean \"carp\"?)");
    refuses(r, "kind", STR("dog"), "must be one of \"carp\", \"eel\", \"catfish\"");
    refuses(r, "kind", STR(""), "must be one of \"carp\", \"eel\", \"catfish\"");
}

static void test_lists(void **state)
{
    struct rig *r = *state;

    takes(r, "plants", "moss, a fern"); /* a LIST's text is one item */
    assert_int_equal(r->tank.plants.n, 1);
    assert_str_is(r->tank.plants.at[0], "moss, a fern");
    buf_clear(&r->text);
    assert_int_equal(option_add_text(row("plants"), &r->tank, &r->arena, STR("reed"), &r->text), 0);
    assert_int_equal(r->tank.plants.n, 2);
    assert_str_is(r->tank.plants.at[0], "moss, a fern");
    assert_str_is(r->tank.plants.at[1], "reed");
    takes(r, "tags", "a, b ,c");
    assert_int_equal(r->tank.tags.n, 3);
    assert_str_is(r->tank.tags.at[1], "b");
    assert_str_is(r->tank.tags.at[2], "c");
    takes(r, "tags", "x"); /* replaces */
    assert_int_equal(r->tank.tags.n, 1);
    refuses(r, "tags", STR("a,b,c,d"), "has 4 entries: at most 3");
    refuses(r, "tags", STR(""), "must not be empty");
    refuses(r, "tags", STR("a,,b"), "must not be empty");
    refuses(r, "tags", STR("a,b,"), "must not be empty");
    refuses(r, "tags", STR("a\xff"), "is not UTF-8 text");
    /* a TABLES_BY is checked by the key that its flag sets */
    buf_clear(&r->text);
    assert_int_equal(option_check_text(row("shoal"), STR("12345678901234567"), &r->text), -E_CONF);
    assert_str_is(buf_str(&r->text), "is too long: at most 16 bytes");
}

static void test_counts(void **state)
{
    struct rig *r = *state;

    assert_int_equal(option_check_count(row("tags"), 3, &r->text), 0);
    assert_int_equal(option_check_count(row("tags"), 4, &r->text), -E_CONF);
    assert_str_is(buf_str(&r->text), "has 4 entries: at most 3");
    buf_clear(&r->text);
    assert_int_equal(option_check_count(row("tags"), 0, &r->text), -E_CONF);
    assert_str_is(buf_str(&r->text), "must not be empty");
}

static void test_print(void **state)
{
    struct rig *r = *state;
    struct str items[] = {STR("a\"b\\"), STR("tab\t\n\x01\x7f")};
    struct str_pair pairs[] = {{STR("TOKEN"), STR("secret")}, {STR("b c"), STR("x")}};

    prints(r, "lit", "true");
    prints(r, "depth_mm", "500");
    prints(r, "holes", "unset");
    prints(r, "seen", "unset");
    prints(r, "ratio", "0.5");
    prints(r, "ph", "unset");
    prints(r, "glass", "\"thick\"");
    prints(r, "owner", "unset");
    prints(r, "kind", "\"eel\"");
    prints(r, "other", "unset");
    prints(r, "plants", "[]");
    prints(r, "notes", "{}");
    prints(r, "extra", "{}");
    r->tank.plants = (struct str_list){items, 2};
    prints(r, "plants", "[\"a\\\"b\\\\\", \"tab\\t\\n\\u0001\\u007F\"]");
    r->tank.notes = (struct str_pairs){pairs, 2};
    prints(r, "notes", "{ TOKEN = \"***\", \"b c\" = \"***\" }"); /* values may be secrets */
}

static void test_nearest(void **state)
{
    unsigned best = UINT_MAX;

    (void)state;
    assert_string_equal(option_nearest(&tank_options, STR("depth")), "depth_mm");
    assert_string_equal(option_nearest(&tank_options, STR("dephts_mm")), "depth_mm");
    assert_string_equal(option_nearest(&tank_options, STR("gras")), "glass");
    assert_null(option_nearest(&tank_options, STR("temperature")));
    assert_null(option_nearest(&tank_options, STR("")));
    assert_string_equal(option_nearest(&fish_options, STR("gram")), "grams");
    assert_null(option_nearest(&fish_options, STR("nam"))); /* NAME is no key */
    assert_true(option_nearer(STR("eel"), STR("eels"), &best));
    assert_false(option_nearer(STR("eel"), STR("eelx"), &best)); /* the first of equals stays */
    assert_null(option_find(&fish_options, STR("name")));
    assert_null(option_find(&tank_options, STR("Lit")));
}

static void test_names(void **state)
{
    struct rig *r = *state;

    option_flag_name(STR("limits.connect_ms"), &r->text);
    assert_str_is(buf_str(&r->text), "limits-connect-ms");
    buf_clear(&r->text);
    option_env_name(STR("limits.connect_ms"), &r->text);
    assert_str_is(buf_str(&r->text), "INFERD_LIMITS_CONNECT_MS");
}

static int list_paths(void *ctx, struct str path, const struct option *o)
{
    buf_add(ctx, path);
    buf_char(ctx, ' ');
    return str_eq(str_of(o->key), STR("quiet")) ? 7 : 0;
}

static void test_walk_and_resolve(void **state)
{
    struct rig *r = *state;
    const struct option *o;
    void *base;

    assert_int_equal(option_each_flag(&tank_options, list_paths, &r->text), 7); /* it stops there */
    assert_str_is(buf_str(&r->text), "lit depth_mm holes drops seen ratio ph glass owner kind "
                                     "other pump.watts pump.quiet ");
    buf_clear(&r->text);
    assert_int_equal(option_each_flag(&fish_options, list_paths, &r->text), 0);
    assert_str_is(buf_str(&r->text), "grams place ");
    assert_true(option_resolve(&tank_options, &r->tank, STR("pump.watts"), &o, &base));
    assert_string_equal(o->key, "watts");
    assert_ptr_equal(option_member(o, base), &r->tank.pump.watts);
    assert_true(option_resolve(&tank_options, &r->tank, STR("shoal"), &o, &base));
    assert_false(option_resolve(&tank_options, &r->tank, STR("shoal.grams"), &o, &base));
    assert_false(option_resolve(&tank_options, &r->tank, STR("pump"), &o, &base));
    assert_false(option_resolve(&tank_options, &r->tank, STR("pump.watt"), &o, &base));
    assert_false(option_resolve(&tank_options, &r->tank, STR("pump."), &o, &base));
    assert_false(option_resolve(&tank_options, &r->tank, STR("plants"), &o, &base));
    assert_false(option_resolve(&tank_options, &r->tank, STR(""), &o, &base));
}

static void test_restarts(void **state)
{
    struct rig *r = *state;
    struct tank now = r->tank;

    now.lit = false; /* reloadable */
    option_restarts(&tank_options, &r->tank, &now, &r->text);
    assert_int_equal(r->text.n, 0);
    now.depth_mm = 1;
    now.owner = STR("me");
    now.pump.watts = 1;
    option_restarts(&tank_options, &r->tank, &now, &r->text);
    assert_str_is(buf_str(&r->text), "depth_mm, owner, pump.watts");
}

static void test_keys(void **state)
{
    struct rig *r = *state;

    option_print_key(STR("a-B_9"), &r->text);
    buf_char(&r->text, ' ');
    option_print_key(STR("a.b"), &r->text);
    buf_char(&r->text, ' ');
    option_print_key(STR(""), &r->text);
    assert_str_is(buf_str(&r->text), "a-B_9 \"a.b\" \"\"");
    assert_true(option_is_required(option_find(&fish_options, STR("place"))));
    assert_false(option_is_required(row("owner")));
    assert_string_equal(option_type_text(row("plants")), "list of strings");
    assert_string_equal(option_type_text(row("pet")), "table of tables");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_defaults, setup, teardown),
        cmocka_unit_test_setup_teardown(test_numbers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_strings_and_words, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lists, setup, teardown),
        cmocka_unit_test_setup_teardown(test_counts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_print, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nearest, setup, teardown),
        cmocka_unit_test_setup_teardown(test_names, setup, teardown),
        cmocka_unit_test_setup_teardown(test_walk_and_resolve, setup, teardown),
        cmocka_unit_test_setup_teardown(test_restarts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_keys, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
