/* SPDX-License-Identifier: Apache-2.0
 *
 * reader_test.c - TOML into structs: every type of row, tables as deep as rows declare them, and
 * above all mistakes: each with its place, its key and what was probably meant, all in one run.
 */
#include "unit.h"

#include "base/mem.h"
#include "conf/reader.h"

#define SHADE_WORDS(X)                                                                             \
    X(SHADE_DARK, "dark")                                                                          \
    X(SHADE_PALE, "pale")
OPTION_ENUM(shade, SHADE_WORDS);
OPTION_WORDS(shade, SHADE_WORDS);

#define VERSION_OPTIONS(X, T)                                                                      \
    X(T, file, STR, REQUIRED, 1, 20, RELOAD, "Its file.")                                          \
    X(T, share, U32, 5, 1, 9, RELOAD, "Its share.")                                                \
    X(T, metadata, FREE, UNSET, 0, 60, RELOAD, "Anything.")
struct version {
    VERSION_OPTIONS(OPTION_MEMBER, version)
};
OPTION_LIST_OF(version);
OPTION_TABLE(version, VERSION_OPTIONS, "A version.");

#define MODEL_OPTIONS(X, T)                                                                        \
    X(T, name, NAME, REQUIRED, 1, 8, RELOAD, "Its name.")                                          \
    X(T, batch, U32, 1, 1, 64, RELOAD, "Its batch.")                                               \
    X(T, version, TABLES(version), UNSET, 0, 3, RELOAD, "Its versions.")
struct model {
    MODEL_OPTIONS(OPTION_MEMBER, model)
};
OPTION_LIST_OF(model);
OPTION_TABLE(model, MODEL_OPTIONS, "A model.");

#define PREDICT_OPTIONS(X, T)                                                                      \
    X(T, threads, U32, 2, 1, 64, RELOAD, "Threads.")                                               \
    X(T, model, NAMED(model), UNSET, 0, 3, RELOAD, "Models.")
struct predict {
    PREDICT_OPTIONS(OPTION_MEMBER, predict)
};
OPTION_TABLE(predict, PREDICT_OPTIONS, "Predict.");

#define ROOT_OPTIONS(X, T)                                                                         \
    X(T, on, BOOL, false, 0, 0, RELOAD, "Whether.")                                                \
    X(T, lanes, U32, 3, 1, 64, RELOAD, "Lanes.")                                                   \
    X(T, bytes, U64, 8, 1, 4294967296, RELOAD, "Bytes.")                                           \
    X(T, ratio, F64, 1, 0, 2, RELOAD, "Ratio.")                                                    \
    X(T, dir, STR, UNSET, 1, 10, RELOAD, "A directory.")                                           \
    X(T, shade, WORD(shade), dark, 0, 0, RELOAD, "A shade.")                                       \
    X(T, command, LIST, UNSET, 1, 3, RELOAD, "A command.")                                         \
    X(T, env, MAP, UNSET, 0, 2, RELOAD, "Variables.")                                              \
    X(T, predict, TABLE(predict), UNSET, 0, 0, RELOAD, "Predict.")                                 \
    X(T, list, TABLES(version), UNSET, 0, 2, RELOAD, "Versions.")
struct root {
    ROOT_OPTIONS(OPTION_MEMBER, root)
};
OPTION_TABLE(root, ROOT_OPTIONS, "Everything.");

struct rig {
    struct arena arena;
    struct root root;
    struct conf_errors errors;
    struct buf text, places;
};

static int setup(void **state)
{
    static struct rig r;

    r = (struct rig){.text = buf_make(1 << 20), .places = buf_make(1 << 20)};
    arena_init(&r.arena, NULL);
    error_init(&r.errors, &r.arena);
    option_defaults(&root_options, &r.root, &r.arena);
    *state = &r;
    return 0;
}

static int teardown(void **state)
{
    struct rig *r = *state;

    arena_clear(&r->arena);
    buf_fini(&r->text);
    buf_fini(&r->places);
    return 0;
}

static void on_set(void *ctx, struct str path, uint32_t line, uint32_t column)
{
    struct rig *r = ctx;

    assert_true(column > 0);
    buf_printf(&r->places, "%.*s:%u ", STR_ARGS(path), line);
}

/* The errors as they are printed, "" for none. */
static const char *read_str(struct rig *r, struct str toml)
{
    struct reader reader = {.table = &root_options,
                            .base = &r->root,
                            .arena = &r->arena,
                            .source = STR("f.toml"),
                            .errors = &r->errors,
                            .on_set = on_set,
                            .ctx = r};
    int code = reader_run(&reader, toml);

    error_print_all(&r->errors, STR(""), &r->text);
    assert_int_equal(code, r->errors.n ? -E_CONF : 0);
    return buf_cstr(&r->text);
}

static const char *read_text(struct rig *r, const char *toml) { return read_str(r, str_of(toml)); }

/* Reads in a rig of its own. */
static void says(struct str toml, const char *errors)
{
    void *state;
    struct rig *r;

    setup(&state);
    r = state;
    if (strcmp(read_str(r, toml), errors) != 0)
        fail_msg("\n%.*s\nsays\n%s\nnot\n%s", STR_ARGS(toml), buf_cstr(&r->text), errors);
    teardown(&state);
}

static void test_every_type(void **state)
{
    struct rig *r = *state;
    const struct root *t = &r->root;

    assert_string_equal(read_text(r, "on = true\nlanes = 64\nbytes = 4_294_967_296\nratio = 0.25\n"
                                     "dir = '/x'\nshade = 'pale'\ncommand = ['a', 'b c']\n"
                                     "env = {B = '1', A = 'two'}\n"),
                        "");
    assert_true(t->on);
    assert_int_equal(t->lanes, 64);
    assert_true(t->bytes == 4294967296);
    assert_true(t->ratio == 0.25);
    assert_str_is(t->dir, "/x");
    assert_int_equal(t->shade, SHADE_PALE);
    assert_int_equal(t->command.n, 2);
    assert_str_is(t->command.at[1], "b c");
    assert_int_equal(t->env.n, 2);
    assert_str_is(t->env.at[0].key, "A"); /* by key */
    assert_str_is(t->env.at[0].value, "two");
    assert_str_is(t->env.at[1].key, "B");
    assert_str_is(buf_str(&r->places),
                  "bytes:3 command:7 dir:5 env:8 lanes:2 on:1 ratio:4 shade:6 ");
}

static void test_nothing_given_leaves_defaults(void **state)
{
    struct rig *r = *state;

    assert_string_equal(read_text(r, "# nothing\n[predict]\n"), "");
    assert_int_equal(r->root.lanes, 3);
    assert_int_equal(r->root.predict.threads, 2);
    assert_null(r->root.dir.p);
    assert_int_equal(r->places.n, 0);
}

static void test_an_integer_will_do_for_a_number(void **state)
{
    struct rig *r = *state;

    assert_string_equal(read_text(r, "ratio = 2"), "");
    assert_true(r->root.ratio == 2);
}

static void test_lists_of_tables_in_named_tables(void **state)
{
    struct rig *r = *state;
    const struct model_list *models = &r->root.predict.model;

    assert_string_equal(read_text(r, "[predict]\nthreads = 4\n"
                                     "[[predict.model.\"b 2\".version]]\nfile = 'one'\n"
                                     "[[predict.model.\"b 2\".version]]\nfile = 'two'\nshare = 9\n"
                                     "[predict.model.a]\nbatch = 7\n"),
                        "");
    assert_int_equal(models->n, 2);
    assert_str_is(models->at[0].name, "a");
    assert_int_equal(models->at[0].batch, 7);
    assert_int_equal(models->at[0].version.n, 0);
    assert_str_is(models->at[1].name, "b 2");
    assert_int_equal(models->at[1].batch, 1);
    assert_int_equal(models->at[1].version.n, 2);
    assert_str_is(models->at[1].version.at[0].file, "one");
    assert_int_equal(models->at[1].version.at[0].share, 5);
    assert_str_is(models->at[1].version.at[1].file, "two");
    assert_int_equal(models->at[1].version.at[1].share, 9);
    assert_str_is(buf_str(&r->places), "predict.model.\"a\".batch:9 "
                                       "predict.model.\"b 2\".version[0].file:4 "
                                       "predict.model.\"b 2\".version[1].file:6 "
                                       "predict.model.\"b 2\".version[1].share:7 "
                                       "predict.threads:2 ");
}

static void test_free_tables_become_json(void **state)
{
    struct rig *r = *state;

    assert_string_equal(read_text(r, "[[list]]\nfile = 'x'\n[list.metadata]\nz = 1\na = 'q\"'\n"
                                     "l = [1.5, true, {}]\nd = 1979-05-27\nn = nan\n"
                                     "[[list]]\nfile = 'y'\n"),
                        "");
    assert_str_is(r->root.list.at[0].metadata,
                  "{\"a\":\"q\\\"\",\"d\":\"1979-05-27\",\"l\":[1.5,true,{}],\"z\":1}");
    assert_str_is(r->root.list.at[1].metadata, "{}");
}

static void test_free_tables_are_bounded(void **state)
{
    struct buf deep = buf_make(1 << 16);

    (void)state;
    says(STR("[[list]]\nfile = 'x'\n[list.metadata]\n"
             "a = '123456789012345678901234567890123456789012345678901234567890'\n"
             "[[list]]\nfile = 'y'\nshare = 10\n"),
         "f.toml:3:7: list[0].metadata: is too large: at most 60 bytes as JSON\n"
         "f.toml:7:1: list[1].share: 10 is too large: at most 9\n");
    buf_text(&deep, "lanes = 65\n[[list]]\nfile = 'x'\nmetadata.a = ");
    for (int i = 0; i < 31; i++)
        buf_char(&deep, '[');
    for (int i = 0; i < 31; i++)
        buf_char(&deep, ']');
    says(buf_str(&deep), "f.toml:1:1: lanes: 65 is too large: at most 64\n"
                         "f.toml:4:1: list[0].metadata: is too large: at most 60 bytes as JSON\n");
    buf_fini(&deep);
}

static void test_unknown_keys_name_the_nearest(void **state)
{
    (void)state;
    says(STR("lane = 4\n"), "f.toml:1:1: lane: unknown key (did you mean `lanes`?)\n");
    says(STR("\n  colour = {a = [1, {}]}\nlanes = 1\n"), "f.toml:2:3: colour: unknown key\n");
    says(STR("threads = 4\n"),
         "f.toml:1:1: threads: unknown key (did you mean `predict.threads`?)\n");
    says(STR("file = 4\n"), "f.toml:1:1: file: unknown key (did you mean `[[list]] file`?)\n");
    says(STR("[predict]\ntreads = 1"),
         "f.toml:2:1: predict.treads: unknown key (did you mean `threads`?)\n");
    says(STR("[predict.model.x]\nname = 'y'"),
         "f.toml:2:1: predict.model.\"x\".name: unknown key\n");
    says(STR("[predict.model.x]\nbatsh = 1"),
         "f.toml:2:1: predict.model.\"x\".batsh: unknown key (did you mean `batch`?)\n");
    says(STR("[[predict.model.x.version]]\nfile = 'a'\nfyle = 'b'"),
         "f.toml:3:1: predict.model.\"x\".version[0].fyle: unknown key (did you mean `file`?)\n");
    says(STR("\"a b.c\" = 1"), "f.toml:1:1: \"a b.c\": unknown key\n");
    says(STR("\"\" = 1"), "f.toml:1:1: \"\": unknown key\n");
}

static void test_bounds(void **state)
{
    (void)state;
    says(STR("lanes = 0"), "f.toml:1:1: lanes: 0 is too small: at least 1\n");
    says(STR("lanes = -9223372036854775808"),
         "f.toml:1:1: lanes: -9223372036854775808 is too small: at least 1\n");
    says(STR("bytes = 4294967297"),
         "f.toml:1:1: bytes: 4294967297 is too large: at most 4294967296\n");
    says(STR("ratio = 2.5"), "f.toml:1:1: ratio: 2.5 is too large: at most 2\n");
    says(STR("ratio = 3"), "f.toml:1:1: ratio: 3 is too large: at most 2\n");
    says(STR("ratio = nan"), "f.toml:1:1: ratio: must be a finite number\n");
    says(STR("dir = '12345678901'"), "f.toml:1:1: dir: is too long: at most 10 bytes\n");
    says(STR("dir = ''"), "f.toml:1:1: dir: must not be empty\n");
    says(STR("dir = \"a\\u0000\""), "f.toml:1:1: dir: must not contain a NUL character\n");
    says(STR("command = []"), "f.toml:1:1: command: must not be empty\n");
    says(STR("command = ['a', 'b', 'c', 'd']"), "f.toml:1:1: command: has 4 entries: at most 3\n");
    says(STR("env = {a = '1', b = '2', c = '3'}"), "f.toml:1:1: env: has 3 entries: at most 2\n");
    says(STR("[[list]]\n[[list]]\n[[list]]\n"), "f.toml:1:3: list: has 3 entries: at most 2\n");
    says(STR("[predict.model.123456789]\n"),
         "f.toml:1:16: predict.model.\"123456789\": is too long: at most 8 bytes\n");
    says(STR("[predict.model.\"\"]\n"), "f.toml:1:16: predict.model.\"\": must not be empty\n");
}

static void test_types(void **state)
{
    (void)state;
    says(STR("lanes = '4'"), "f.toml:1:1: lanes: must be an integer, not a string\n");
    says(STR("lanes = 4.0"), "f.toml:1:1: lanes: must be an integer, not a float\n");
    says(STR("lanes = [4]"), "f.toml:1:1: lanes: must be an integer, not a list\n");
    says(STR("on = 1"), "f.toml:1:1: on: must be true or false, not a number\n");
    says(STR("dir = true"), "f.toml:1:1: dir: must be a string, not a boolean\n");
    says(STR("dir = 1979-05-27"), "f.toml:1:1: dir: must be a string, not a date\n");
    says(STR("ratio = 'x'"), "f.toml:1:1: ratio: must be a number, not a string\n");
    says(STR("shade = 'palee'"),
         "f.toml:1:1: shade: must be one of \"dark\", \"pale\" (did you mean \"pale\"?)\n");
    says(STR("env = ['a']"), "f.toml:1:1: env: must be a table of strings, not a list\n");
    says(STR("[env]\na = 1\n"), "f.toml:2:1: env.a: must be a string, not a number\n");
    says(STR("[env]\n\"\" = '1'\n"),
         "f.toml:2:1: env.\"\": must not be an empty key or contain a NUL character\n");
    says(STR("[env]\na = \"\\u0000\"\n"), "f.toml:2:1: env.a: must not contain a NUL character\n");
    says(STR("command = ['a', 1, ['x']]"),
         "f.toml:1:17: command[1]: must be a string, not a number\n"
         "f.toml:1:20: command[2]: must be a string, not a list\n");
    says(STR("[list]\nfile = 'x'"),
         "f.toml:1:2: list: must be a list of tables, not a table: write [[list]]\n");
    says(STR("list = [1]"), "f.toml:1:9: list[0]: must be a table, not a number\n");
    says(STR("[[predict]]\n"),
         "f.toml:1:3: predict: must be a table, not a list: write [predict]\n");
    says(STR("[[predict.model]]\n"),
         "f.toml:1:11: predict.model: must be a table of tables, not a list: "
         "write [predict.model]\n");
    says(STR("predict.model.x = 1"),
         "f.toml:1:15: predict.model.\"x\": must be a table, not a number\n");
    says(STR("list = [{file = 'x', metadata = 1}]"),
         "f.toml:1:22: list[0].metadata: must be a table, not a number\n");
}

static void test_a_string_for_a_command_shows_the_list(void **state)
{
    (void)state;
    says(STR("command = 'llama-server  -m \"x\" --port ${PORT}'"),
         "f.toml:1:1: command: must be a list of strings, not a string: write command = "
         "[\"llama-server\", \"-m\", \"\\\"x\\\"\", \"--port\", \"${PORT}\"]\n");
    says(STR("command = ''"), "f.toml:1:1: command: must be a list of strings, not a string: "
                              "write command = []\n");
}

static void test_required(void **state)
{
    (void)state;
    says(STR("[[list]]\nshare = 2\n[[list]]\nfile = 'x'\n"), "f.toml:1:1: list[0]: `file` is "
                                                             "missing\n");
    /* given, but wrong: one mistake, not two */
    says(STR("[[list]]\nfile = 1\n"), "f.toml:2:1: list[0].file: must be a string, not a number\n");
}

static void test_all_mistakes_in_one_run_by_line(void **state)
{
    (void)state;
    says(STR("lanes = 0\n[predict]\nthreads = 'x'\n[[list]]\nfile = ''\nno = {a = {b = [1]}}\n"),
         "f.toml:1:1: lanes: 0 is too small: at least 1\n"
         "f.toml:3:1: predict.threads: must be an integer, not a string\n"
         "f.toml:5:1: list[0].file: must not be empty\n"
         "f.toml:6:1: list[0].no: unknown key\n");
}

static void test_no_more_than_a_screenful(void **state)
{
    struct rig *r = *state;
    struct buf toml = buf_make(1 << 16);

    for (int i = 0; i < ERROR_MAX + 5; i++)
        buf_printf(&toml, "x%d = 1\n", i);
    (void)read_str(r, buf_str(&toml));
    assert_int_equal(r->errors.n, ERROR_MAX);
    assert_int_equal(r->errors.more, 5);
    assert_true(str_ends(buf_str(&r->text), STR("and 5 more\n")));
    buf_fini(&toml);
}

static void test_syntax_errors_name_the_place(void **state)
{
    struct rig *r = *state;

    (void)read_text(r, "lanes = 4\ndir = \n");
    assert_true(str_starts(buf_str(&r->text), STR("f.toml:2:7: ")));
    assert_int_equal(r->errors.n, 1);
    assert_int_equal(r->root.lanes, 3); /* nothing was set */
}

/* A path longer than any buffer is cut, not overrun. */
static void test_long_keys(void **state)
{
    struct rig *r = *state;
    struct buf toml = buf_make(1 << 16);

    for (int i = 0; i < 6000; i++)
        buf_char(&toml, 'k');
    buf_text(&toml, " = 1\n[env]\n");
    for (int i = 0; i < 6000; i++)
        buf_char(&toml, 'v');
    buf_text(&toml, " = 1\n");
    (void)read_str(r, buf_str(&toml));
    assert_int_equal(r->errors.n, 2);
    buf_fini(&toml);
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_every_type),
        TEST(test_nothing_given_leaves_defaults),
        TEST(test_an_integer_will_do_for_a_number),
        TEST(test_lists_of_tables_in_named_tables),
        TEST(test_free_tables_become_json),
        TEST(test_free_tables_are_bounded),
        TEST(test_unknown_keys_name_the_nearest),
        TEST(test_bounds),
        TEST(test_types),
        TEST(test_a_string_for_a_command_shows_the_list),
        TEST(test_required),
        TEST(test_all_mistakes_in_one_run_by_line),
        TEST(test_no_more_than_a_screenful),
        TEST(test_syntax_errors_name_the_place),
        TEST(test_long_keys),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
