/* SPDX-License-Identifier: Apache-2.0
 *
 * flags_test.c - command lines: every form of a flag, what repeats and what may not, words that are
 * no flags, and the message for each mistake.
 */
#include "unit.h"

#include "conf/bundle.h"
#include "conf/flags.h"

#define TONE_WORDS(X)                                                                              \
    X(TONE_LOW, "low")                                                                             \
    X(TONE_HIGH, "high")
OPTION_ENUM(tone, TONE_WORDS);
OPTION_WORDS(tone, TONE_WORDS);

#define OWN_OPTIONS(X, T)                                                                          \
    X(T, port, U32, 80, 0, 65535, RELOAD, "A port.")                                               \
    X(T, ready_file, STR, UNSET, 1, 100, RELOAD, "A file.")                                        \
    X(T, json, BOOL, false, 0, 0, RELOAD, "As JSON.")                                              \
    X(T, follow, SHORT(f), false, 0, 0, RELOAD, "Goes on.")                                        \
    X(T, tone, WORD(tone), low, 0, 0, RELOAD, "A tone.")                                           \
    X(T, header, LIST, UNSET, 0, 3, RELOAD, "Headers.")                                            \
    X(T, models, COMMAS, UNSET, 0, 3, RELOAD, "Models.")                                           \
    X(T, names, REST, UNSET, 1, 2, RELOAD, "Names.")
struct own {
    OWN_OPTIONS(OPTION_MEMBER, own)
};
OPTION_TABLE(own, OWN_OPTIONS, "Own.");

#define STRICT_OPTIONS(X, T) X(T, url, STR, REQUIRED, 1, 100, RELOAD, "Where.")
struct strict {
    STRICT_OPTIONS(OPTION_MEMBER, strict)
};
OPTION_TABLE(strict, STRICT_OPTIONS, "Strict.");

#define PLACE_OPTIONS(X, T)                                                                        \
    X(T, address, STR, REQUIRED, 1, 20, RELOAD, "An address.")                                     \
    X(T, hosts, LIST, UNSET, 0, 3, RELOAD, "Hosts.")
struct place {
    PLACE_OPTIONS(OPTION_MEMBER, place)
};
OPTION_LIST_OF(place);
OPTION_TABLE(place, PLACE_OPTIONS, "A place.");

#define BOUNDS_OPTIONS(X, T) X(T, wait_ms, U32, 5, 1, 9, RELOAD, "Waiting.")
struct bounds {
    BOUNDS_OPTIONS(OPTION_MEMBER, bounds)
};
OPTION_TABLE(bounds, BOUNDS_OPTIONS, "Bounds.");

#define ALL_OPTIONS(X, T)                                                                          \
    X(T, lanes, U32, UNSET, 1, 64, RESTART, "Lanes.")                                              \
    X(T, insecure, BOOL, false, 0, 0, RELOAD, "Insecure.")                                         \
    X(T, listen, TABLES_BY(place, address), UNSET, 0, 9, RELOAD, "Places.")                        \
    X(T, bounds, TABLE(bounds), UNSET, 0, 0, RELOAD, "Bounds.")
struct all {
    ALL_OPTIONS(OPTION_MEMBER, all)
};
OPTION_TABLE(all, ALL_OPTIONS, "All.");

static const struct command up = {.name = "up", .summary = "run", .settings = true};
static const struct command logs = {
    .name = "logs", .words = "NAME...", .summary = "show", .flags = &own_options};
static const struct command strict = {.name = "get", .summary = "get", .flags = &strict_options};

struct rig {
    struct arena arena;
    struct own own;
    struct strict strict;
    struct bundle *overrides;
    struct buf text;
};

static int setup(void **state)
{
    static struct rig r;

    r = (struct rig){.text = buf_make(1 << 20)};
    arena_init(&r.arena, NULL);
    bundle_create(&r.overrides);
    *state = &r;
    return 0;
}

static int teardown(void **state)
{
    struct rig *r = *state;

    arena_clear(&r->arena);
    bundle_destroy(&r->overrides);
    buf_fini(&r->text);
    return 0;
}

#define ARGS(...) ((char *[]){(char[]){"x"}, __VA_ARGS__, NULL})
#define A(text) ((char[]){text})

static enum flags_verdict parse(struct rig *r, const struct command *c, char **argv)
{
    struct flags_input in = {
        .command = c, .settings = c->settings ? &all_options : NULL, .argv = argv};

    while (argv[in.argc])
        in.argc++;
    buf_clear(&r->text);
    return flags_parse(&in, &r->arena, c == &strict ? (void *)&r->strict : &r->own, r->overrides,
                       &r->text);
}

/* The first line of the message, without the program's name. */
static void refuses(struct rig *r, const struct command *c, char **argv, const char *message)
{
    struct str rest;

    assert_int_equal(parse(r, c, argv), FLAGS_WRONG);
    rest = buf_str(&r->text);
    assert_true(str_starts(rest, STR("inferd ")));
    (void)str_cut(&rest, ':');
    assert_str_is(str_trim(str_cut(&rest, '\n')), message);
    assert_true(str_starts(rest, STR("usage: inferd ")));
    assert_true(str_find_str(rest, STR("--help`\n")) < rest.n);
}

static void test_forms(void **state)
{
    struct rig *r = *state;

    assert_int_equal(parse(r, &logs,
                           ARGS(A("--port"), A("81"), A("--ready-file=/x=y"), A("--json"), A("-f"),
                                A("--tone=high"), A("--models"), A("a, b"), A("one"))),
                     FLAGS_OK);
    assert_int_equal(r->text.n, 0);
    assert_int_equal(r->own.port, 81);
    assert_str_is(r->own.ready_file, "/x=y");
    assert_true(r->own.json && r->own.follow);
    assert_int_equal(r->own.tone, TONE_HIGH);
    assert_int_equal(r->own.models.n, 2);
    assert_str_is(r->own.models.at[1], "b");
    assert_int_equal(r->own.names.n, 1);
    assert_str_is(r->own.names.at[0], "one");
}

static void test_defaults(void **state)
{
    struct rig *r = *state;

    assert_int_equal(parse(r, &logs, ARGS(A("n"))), FLAGS_OK);
    assert_int_equal(r->own.port, 80);
    assert_false(r->own.json);
    assert_null(r->own.ready_file.p);
    assert_int_equal(r->own.tone, TONE_LOW);
}

static void test_booleans_take_no_word(void **state)
{
    struct rig *r = *state;

    assert_int_equal(parse(r, &logs, ARGS(A("--json"), A("false"))), FLAGS_OK);
    assert_true(r->own.json);
    assert_str_is(r->own.names.at[0], "false");
    assert_int_equal(parse(r, &logs, ARGS(A("--json=false"), A("n"))), FLAGS_OK);
    assert_false(r->own.json);
    refuses(r, &logs, ARGS(A("--json=maybe"), A("n")), "--json: must be true or false");
}

static void test_repeating(void **state)
{
    struct rig *r = *state;

    assert_int_equal(parse(r, &logs, ARGS(A("--header"), A("a, b"), A("--header=c"), A("n"))),
                     FLAGS_OK);
    assert_int_equal(r->own.header.n, 2);
    assert_str_is(r->own.header.at[0], "a, b");
    refuses(r, &logs, ARGS(A("--port=1"), A("--port=1"), A("n")), "--port: is given twice");
    refuses(r, &logs, ARGS(A("-f"), A("--follow"), A("n")), "--follow: is given twice");
    refuses(r, &logs,
            ARGS(A("--header=1"), A("--header=1"), A("--header=1"), A("--header=1"), A("n")),
            "--header: is given too often");
}

static void test_words(void **state)
{
    struct rig *r = *state;

    assert_int_equal(parse(r, &logs, ARGS(A("a"), A("--"), A("--port"))), FLAGS_OK);
    assert_int_equal(r->own.names.n, 2);
    assert_str_is(r->own.names.at[1], "--port");
    assert_int_equal(parse(r, &logs, ARGS(A("-"))), FLAGS_OK);
    assert_str_is(r->own.names.at[0], "-");
    refuses(r, &logs, ARGS(A("--json")), "NAME... is missing");
    refuses(r, &logs, ARGS(A("a"), A("b"), A("c")), "too many arguments; NAME... is taken");
    refuses(r, &logs, ARGS(A("")), "names: must not be empty");
    refuses(r, &up, ARGS(A("now")), "unexpected argument \"now\"");
}

static void test_values(void **state)
{
    struct rig *r = *state;

    refuses(r, &logs, ARGS(A("n"), A("--port")), "--port: needs a value");
    refuses(r, &logs, ARGS(A("--port"), A("--json"), A("n")),
            "--port: needs a value; \"--json\" looks like a flag (write it with `=` if it is "
            "meant)");
    refuses(r, &logs, ARGS(A("--port=70000"), A("n")), "--port: 70000 is too large: at most 65535");
    refuses(r, &logs, ARGS(A("--port="), A("n")), "--port: \"\" is not an integer");
    refuses(r, &logs, ARGS(A("--tone=lo"), A("n")),
            "--tone: must be one of \"low\", \"high\" (did you mean \"low\"?)");
    assert_int_equal(parse(r, &logs, ARGS(A("--ready-file=-x"), A("n"))), FLAGS_OK);
    assert_str_is(r->own.ready_file, "-x");
    assert_int_equal(parse(r, &logs, ARGS(A("--ready-file"), A("-"), A("n"))), FLAGS_OK);
    assert_str_is(r->own.ready_file, "-");
}

static void test_unknown(void **state)
{
    struct rig *r = *state;

    refuses(r, &logs, ARGS(A("--prot=1")), "unknown flag --prot (did you mean --port?)");
    refuses(r, &logs, ARGS(A("--ready_file=1")),
            "unknown flag --ready_file (did you mean --ready-file?)");
    refuses(r, &logs, ARGS(A("--hlep")), "unknown flag --hlep (did you mean --help?)");
    refuses(r, &logs, ARGS(A("--names=x")), "unknown flag --names");
    refuses(r, &logs, ARGS(A("--frobnicate")), "unknown flag --frobnicate");
    refuses(r, &logs, ARGS(A("-x")), "unknown flag -x");
    refuses(r, &logs, ARGS(A("-ff")), "unknown flag -ff");
    refuses(r, &up, ARGS(A("--bounds-wait=1")),
            "unknown flag --bounds-wait (did you mean --bounds-wait-ms?)");
}

static void test_required(void **state)
{
    struct rig *r = *state;

    refuses(r, &strict, ARGS(A("--")), "--url is missing");
    assert_int_equal(parse(r, &strict, ARGS(A("--url=x"))), FLAGS_OK);
    assert_str_is(r->strict.url, "x");
}

static void test_settings_become_records(void **state)
{
    struct rig *r = *state;
    const struct bundle *b = r->overrides;

    assert_int_equal(parse(r, &up,
                           ARGS(A("--lanes=2"), A("--listen"), A("a:1"), A("--listen=b:2"),
                                A("--bounds-wait-ms"), A("9"), A("--insecure"))),
                     FLAGS_OK);
    assert_int_equal(b->n, 5);
    for (size_t i = 0; i < b->n; i++) {
        assert_int_equal(b->at[i].kind, BUNDLE_FLAG);
        buf_printf(&r->text, "%.*s=%.*s ", STR_ARGS(b->at[i].name), STR_ARGS(b->at[i].value));
    }
    assert_str_is(buf_str(&r->text),
                  "lanes=2 listen=a:1 listen=b:2 bounds.wait_ms=9 insecure=true ");
}

static void test_settings_are_checked_by_their_rows(void **state)
{
    struct rig *r = *state;

    refuses(r, &up, ARGS(A("--lanes=65")), "--lanes: 65 is too large: at most 64");
    refuses(r, &up, ARGS(A("--bounds-wait-ms=0")), "--bounds-wait-ms: 0 is too small: at least 1");
    refuses(r, &up, ARGS(A("--listen=123456789012345678901")),
            "--listen: is too long: at most 20 bytes");
    assert_int_equal(r->overrides->n, 0);
    refuses(r, &up, ARGS(A("--lanes=1"), A("--lanes=1")), "--lanes: is given twice");
    refuses(r, &up, ARGS(A("--bounds=1")), "unknown flag --bounds");
}

static void test_help_and_version(void **state)
{
    struct rig *r = *state;

    assert_int_equal(parse(r, &logs, ARGS(A("-h"))), FLAGS_HELP);
    assert_true(str_starts(buf_str(&r->text), STR("usage: inferd logs [flags] NAME...\n")));
    assert_int_equal(parse(r, &up, ARGS(A("--lanes=1"), A("--help"), A("--wrong"))), FLAGS_HELP);
    assert_true(str_find_str(buf_str(&r->text), STR("--bounds-wait-ms N")) < r->text.n);
    assert_int_equal(parse(r, &logs, ARGS(A("--version"))), FLAGS_VERSION);
    assert_str_is(buf_str(&r->text), "inferd " INFERD_VERSION "\n");
    /* behind `--` they are words */
    assert_int_equal(parse(r, &logs, ARGS(A("--"), A("--help"))), FLAGS_OK);
}

static void test_long_arguments_are_cut_in_messages(void **state)
{
    static char flag[5000], word[5000];
    struct rig *r = *state;

    memset(flag, 'f', sizeof flag - 1);
    memcpy(flag, "--", 2);
    memset(word, 'w', sizeof word - 1);
    assert_int_equal(parse(r, &logs, ARGS(flag)), FLAGS_WRONG);
    assert_true(r->text.n < 400);
    assert_int_equal(parse(r, &up, ARGS(word)), FLAGS_WRONG);
    assert_true(r->text.n < 400);
    refuses(
        r, &up, ARGS(A("--lanes"), word), /* as much as helps */
        "--lanes: \"wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwww\" is not an "
        "integer");
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_forms),
        TEST(test_defaults),
        TEST(test_booleans_take_no_word),
        TEST(test_repeating),
        TEST(test_words),
        TEST(test_values),
        TEST(test_unknown),
        TEST(test_required),
        TEST(test_settings_become_records),
        TEST(test_settings_are_checked_by_their_rows),
        TEST(test_help_and_version),
        TEST(test_long_arguments_are_cut_in_messages),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
