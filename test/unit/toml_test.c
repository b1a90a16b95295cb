/* SPDX-License-Identifier: Apache-2.0
 *
 * toml_test.c - the bridge: every kind of value becomes its event, keys and errors carry the right
 * place, nesting is bounded before toml++ sees it, and a callback can stop the walk.
 */
#include "unit.h"

#include <math.h>

#include "base/buf.h"
#include "base/mem.h"
#include "conf/toml.h"

struct sink {
    struct buf out;
    bool places;
    int stop_at, events;
};

static void add_value(struct buf *out, const struct toml_event *e)
{
    switch (e->kind) {
    case TOML_TABLE:
        buf_printf(out, "{%zu", e->count);
        return;
    case TOML_ARRAY:
        buf_printf(out, "[%zu", e->count);
        return;
    case TOML_TABLE_END:
        buf_char(out, '}');
        return;
    case TOML_ARRAY_END:
        buf_char(out, ']');
        return;
    case TOML_STRING:
        buf_printf(out, "s'%.*s'", STR_ARGS(e->text));
        return;
    case TOML_TIME:
        buf_printf(out, "t'%.*s'", STR_ARGS(e->text));
        return;
    case TOML_INTEGER:
        buf_printf(out, "i%lld", (long long)e->integer);
        return;
    case TOML_FLOAT:
        buf_printf(out, "f%g", e->number);
        return;
    case TOML_BOOLEAN:
        buf_text(out, e->boolean ? "true" : "false");
        return;
    }
}

static int on_event(void *ctx, const struct toml_event *e)
{
    struct sink *s = ctx;

    if (++s->events == s->stop_at)
        return -42;
    buf_text(&s->out, s->out.n ? " " : "");
    if (e->keyed)
        buf_printf(&s->out, "%.*s=", STR_ARGS(e->key));
    add_value(&s->out, e);
    if (s->places && e->kind != TOML_TABLE_END && e->kind != TOML_ARRAY_END)
        buf_printf(&s->out, "@%u:%u", e->line, e->column);
    return 0;
}

static void becomes(const char *toml, const char *events)
{
    struct sink s = {.out = buf_make(1 << 16)};
    struct toml_error error;

    assert_int_equal(toml_parse(str_of(toml), on_event, &s, &error), 0);
    assert_str_is(buf_str(&s.out), events);
    buf_fini(&s.out);
}

static void stands_at(const char *toml, const char *events)
{
    struct sink s = {.out = buf_make(1 << 16), .places = true};
    struct toml_error error;

    assert_int_equal(toml_parse(str_of(toml), on_event, &s, &error), 0);
    assert_str_is(buf_str(&s.out), events);
    buf_fini(&s.out);
}

/* `column` 0: the line will do, releases of toml++ differ. */
static void fails(struct str toml, uint32_t line, uint32_t column)
{
    struct sink s = {.out = buf_make(1 << 16)};
    struct toml_error error = {.line = 0};

    assert_int_equal(toml_parse(toml, on_event, &s, &error), -E_SYNTAX);
    assert_int_equal(s.events, 0); /* the whole document is parsed before the first event */
    if (error.line != line || (column && error.column != column) || !error.column)
        fail_msg("%.*s: %u:%u %s, not %u:%u", STR_ARGS(str_head(toml, 60)), error.line,
                 error.column, error.text, line, column);
    assert_true(strlen(error.text) > 5 && strlen(error.text) < TOML_ERROR_BYTES);
    buf_fini(&s.out);
}

static void test_scalars(void **state)
{
    (void)state;
    becomes("", "{0 }");
    becomes("a = 'x'\nb = \"\\u00e4\\t\"\nc = '''\nm\nn'''\n",
            "{3 a=s'x' b=s'\xc3\xa4\t' c=s'm\nn' }");
    becomes("a = 9223372036854775807\nb = -9223372036854775808\nc = 0xff\nd = 0o17\ne = 0b101\n"
            "f = 1_000",
            "{6 a=i9223372036854775807 b=i-9223372036854775808 c=i255 d=i15 e=i5 f=i1000 }");
    becomes("a = 1.5\nb = 5e+22\nc = inf\nd = -inf\n", "{4 a=f1.5 b=f5e+22 c=finf d=f-inf }");
    becomes("a = true\nb = false", "{2 a=true b=false }");
}

static int on_nan(void *ctx, const struct toml_event *e)
{
    *(bool *)ctx |= e->kind == TOML_FLOAT && isnan(e->number);
    return 0;
}

static void test_nan(void **state)
{
    struct toml_error error;
    bool seen = false;

    (void)state;
    assert_int_equal(toml_parse(STR("a = nan"), on_nan, &seen, &error), 0);
    assert_true(seen);
}

static void test_times(void **state)
{
    (void)state;
    becomes(
        "a = 1979-05-27\nb = 07:32:00\nc = 00:32:00.999990\nd = 1979-05-27T07:32:00Z\n"
        "e = 1979-05-27T00:32:00-07:30\nf = 1979-05-27 07:32:00.5\ng = 1979-05-27T07:32:00+01:00",
        "{7 a=t'1979-05-27' b=t'07:32:00' c=t'00:32:00.99999' d=t'1979-05-27T07:32:00Z' "
        "e=t'1979-05-27T00:32:00-07:30' f=t'1979-05-27T07:32:00.5' "
        "g=t'1979-05-27T07:32:00+01:00' }");
}

static void test_nesting(void **state)
{
    (void)state;
    becomes("a = [1, 'x', [2]]\nb = {c = {}, d = []}",
            "{2 a=[3 i1 s'x' [1 i2 ] ] b={2 c={0 } d=[0 ] } }");
    becomes("[[e]]\nn = 1\n[[e]]\nn = 2\n[t.u]\nv = 3\n",
            "{2 e=[2 {1 n=i1 } {1 n=i2 } ] t={1 u={1 v=i3 } } }");
    becomes("a.b.c = 1\na.\"x.y\" = 2", "{1 a={2 b={1 c=i1 } x.y=i2 } }");
    becomes("[[p.m.\"N 1\".v]]\nx = 1\n[[p.m.\"N 1\".v]]\nx = 2\n",
            "{1 p={1 m={1 N 1={1 v=[2 {1 x=i1 } {1 x=i2 } ] } } } }");
}

static void test_members_come_by_key_and_places_by_file(void **state)
{
    (void)state;
    stands_at("b = 1\n  a = [10,\n 20]\n[t]\nx.y = 'v'\n[[l]]\nk = 1",
              "{4@1:1 a=[2@2:3 i10@2:8 i20@3:2 ] b=i1@1:1 l=[1@6:3 {1@6:1 k=i1@7:1 } ] "
              "t={1@4:2 x={1@5:1 y=s'v'@5:3 } } }");
}

static void test_errors_have_places(void **state)
{
    (void)state;
    fails(STR("a = 1\nb = \n"), 2, 5);
    fails(STR("a = 1\na = 2\n"), 2, 0);
    fails(STR("a = 1 2"), 1, 0);
    fails(STR("a = 'x\n"), 1, 0);
    fails(STR("a = [1,\n"), 1, 0);
    fails(STR("a = 99999999999999999999"), 1, 0);
    fails(STR("[t]\n[t]\n"), 2, 0);
    fails(STR("a = \"\\q\""), 1, 0);
    fails(STR("\xc3\xa4\xc3\xa4 = 1"), 1, 1);
    fails(STR("a = '\xff'"), 1, 0);
    fails(STR("a = 1\0"), 1, 0);
    fails(STR("a = 1979-13-01"), 1, 0);
}

/* Called unreachable by toml++'s test for blanks. */
static void test_letters_that_are_no_blanks(void **state)
{
    (void)state;
    fails(STR("\xc3\xa4 = 1"), 1, 1);
    fails(STR("a = 1 \xd1\x8f"), 1, 0);
    fails(STR("a = 1 \xe3\x80\x81"), 1, 0);
    fails(STR("a \xef\xbd\x81 = 1"), 1, 0);
    becomes("a = \"\"\"\\\n  \xc3\xa4\"\"\"", "{1 a=s'\xc3\xa4' }");
    becomes("# \xc3\xa4\n\"\xc3\xa4\" = '\xe3\x80\x81'", "{1 \xc3\xa4=s'\xe3\x80\x81' }");
}

/* `n` times `open`, then `middle`, then `n` times `close`. */
static char *nest(const char *open, size_t n, const char *middle, const char *close)
{
    struct buf b = buf_make(8 << 20);
    char *text;

    for (size_t i = 0; i < n; i++)
        buf_text(&b, open);
    buf_text(&b, middle);
    for (size_t i = 0; i < n; i++)
        buf_text(&b, close);
    text = mem_strdup(buf_cstr(&b));
    buf_fini(&b);
    return text;
}

static int parse_nested(const char *before, const char *open, size_t n, const char *middle,
                        const char *close, struct toml_error *error)
{
    char *nested = nest(open, n, middle, close), *text = mem_printf("%s%s", before, nested);
    struct sink s = {.out = buf_make(1 << 20)};
    int r = toml_parse(str_of(text), on_event, &s, error);

    buf_fini(&s.out);
    mem_free(nested);
    mem_free(text);
    return r;
}

static void test_depth_is_bounded(void **state)
{
    struct toml_error error;

    (void)state;
    assert_int_equal(parse_nested("a = ", "[", TOML_NESTED_MAX, "", "]", &error), 0);
    assert_int_equal(parse_nested("a = ", "[", TOML_NESTED_MAX + 1, "", "]", &error), -E_SYNTAX);
    assert_string_equal(error.text, "nested too deep");
    assert_int_equal(error.line, 1);
    assert_int_equal(error.column, 5 + TOML_NESTED_MAX);
    assert_int_equal(parse_nested("a = ", "[", 1000000, "", "]", &error), -E_SYNTAX);
    assert_int_equal(parse_nested("a = ", "{b = ", TOML_NESTED_MAX, "1", "}", &error), 0);
    assert_int_equal(parse_nested("a = ", "{b = ", TOML_NESTED_MAX + 1, "1", "}", &error),
                     -E_SYNTAX);
    assert_int_equal(parse_nested("a", ".a", TOML_NESTED_MAX - 1, " = 1", "", &error), 0);
    assert_int_equal(parse_nested("a", ".a", TOML_NESTED_MAX, " = 1", "", &error), -E_SYNTAX);
    assert_int_equal(parse_nested("a", ".a", 1000000, " = 1", "", &error), -E_SYNTAX);
    assert_int_equal(parse_nested("[a", ".a", 1000000, "]", "", &error), -E_SYNTAX);
    assert_int_equal(parse_nested("a = {b", ".b", 1000000, " = 1}", "", &error), -E_SYNTAX);
}

static void test_depth_is_not_counted_in_text(void **state)
{
    struct toml_error error;

    (void)state;
    assert_int_equal(parse_nested("a = '", "[", 1000, "'", "", &error), 0);
    assert_int_equal(parse_nested("a = \"\\\"", "[", 1000, "\"", "", &error), 0);
    assert_int_equal(parse_nested("a = '''", "'[\n", 1000, "''' # ", ".", &error), 0);
    assert_int_equal(parse_nested("a = \"\"\"\"", "[", 1000, "\"\"\"\" # ", ".", &error), 0);
    assert_int_equal(parse_nested("# ", "[", 1000, "\na = 1", "", &error), 0);
    assert_int_equal(parse_nested("a = [", "0.5, ", 1000, "]", "", &error), 0);
    assert_int_equal(parse_nested("a.b = 1\n", "# .\n", 1000, "", "", &error), 0);
}

static void test_callback_stops_the_walk(void **state)
{
    (void)state;
    for (int at = 1; at <= 6; at++) {
        struct sink s = {.out = buf_make(1 << 16), .stop_at = at};
        struct toml_error error;

        assert_int_equal(toml_parse(STR("a = [1]\nb = 2"), on_event, &s, &error), -42);
        assert_int_equal(s.events, at);
        buf_fini(&s.out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scalars),
        cmocka_unit_test(test_nan),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_nesting),
        cmocka_unit_test(test_members_come_by_key_and_places_by_file),
        cmocka_unit_test(test_errors_have_places),
        cmocka_unit_test(test_letters_that_are_no_blanks),
        cmocka_unit_test(test_depth_is_bounded),
        cmocka_unit_test(test_depth_is_not_counted_in_text),
        cmocka_unit_test(test_callback_stops_the_walk),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
