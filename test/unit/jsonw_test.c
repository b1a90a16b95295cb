/* SPDX-License-Identifier: Apache-2.0
 *
 * jsonw_test.c - the writer's bytes: nesting and commas, escapes, text that is not UTF-8, doubles,
 * what happens when the buffer is full, and that misuse aborts.
 */
#include "unit.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "base/jsonw.h"

static void test_document(void **state)
{
    struct buf out = buf_make(4096);
    struct jsonw w = jsonw_make(&out);

    (void)state;
    jsonw_begin_object(&w);
    jsonw_key(&w, "a");
    jsonw_begin_array(&w);
    jsonw_u64(&w, UINT64_MAX);
    jsonw_i64(&w, INT64_MIN);
    jsonw_begin_array(&w);
    jsonw_end_array(&w);
    jsonw_begin_object(&w);
    jsonw_end_object(&w);
    jsonw_bool(&w, true);
    jsonw_bool(&w, false);
    jsonw_null(&w);
    jsonw_double(&w, 0.5);
    jsonw_double(&w, NAN);
    jsonw_double(&w, -INFINITY);
    jsonw_cstr(&w, "c");
    jsonw_cstr(&w, NULL);
    jsonw_raw(&w, STR("{\"r\":1}"));
    jsonw_end_array(&w);
    jsonw_key_str(&w, STR("b\"\n"));
    jsonw_str(&w, STR_NONE);
    jsonw_key(&w, "c");
    jsonw_begin_object(&w);
    jsonw_key(&w, "d");
    jsonw_u64(&w, 0);
    jsonw_end_object(&w);
    jsonw_end_object(&w);
    assert_true(w.done);
    assert_int_equal(buf_status(&out), 0);
    assert_str_is(
        buf_str(&out),
        "{\"a\":[18446744073709551615,-9223372036854775808,[],{},true,false,null,0.5,null,"
        "null,\"c\",null,{\"r\":1}],\"b\\\"\\n\":\"\",\"c\":{\"d\":0}}");
    buf_fini(&out);
}

static void escaped(struct str in, const char *want)
{
    char memory[512];
    struct buf out = buf_on(memory, sizeof memory);

    jsonw_escape(&out, in);
    assert_int_equal(buf_status(&out), 0);
    assert_str_is(buf_str(&out), want);
}

static void test_escape(void **state)
{
    (void)state;
    escaped(STR_NONE, "");
    escaped(STR("plain / text"), "plain / text");
    escaped(STR("\"\\\b\t\n\f\r"), "\\\"\\\\\\b\\t\\n\\f\\r");
    escaped(STR("\0\x01\x0B\x1F x\x7F"), "\\u0000\\u0001\\u000b\\u001f x\x7F");
    escaped(STR("h\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x98\x80"),
            "h\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x98\x80");
    escaped(STR("a\xFF"
                "b\xC3"),
            "a\xEF\xBF\xBD"
            "b\xEF\xBF\xBD");
    escaped(STR("\xED\xA0\x80\n"), "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\\n"); /* a surrogate */
    escaped(STR("\xC0\xAF"), "\xEF\xBF\xBD\xEF\xBF\xBD");                      /* overlong */
}

static void test_every_byte_alone(void **state)
{
    (void)state;
    for (int c = 0; c < 256; c++) {
        char memory[16], in = (char)c;
        struct buf out = buf_on(memory, sizeof memory);

        jsonw_escape(&out, str_span(&in, 1));
        assert_true(str_utf8_valid(buf_str(&out)));
        for (size_t i = 0; i < out.n; i++)
            assert_true((unsigned char)out.p[i] >= 0x20);
        assert_true(out.n == 1 || out.n == 2 || out.n == 3 || out.n == 6);
    }
}

static void formatted(double v, const char *want)
{
    char memory[64];
    struct buf out = buf_on(memory, sizeof memory);

    jsonw_format_double(&out, v);
    assert_int_equal(buf_status(&out), 0);
    assert_str_is(buf_str(&out), want);
}

static void test_doubles(void **state)
{
    (void)state;
    formatted(0.0, "0.0");
    formatted(-0.0, "-0.0");
    formatted(1, "1.0");
    formatted(-1.5, "-1.5");
    formatted(0.1, "0.1");
    formatted(0.000757807, "0.000757807");
    formatted(1795208933.0, "1795208933.0");
    formatted(0.00001, "0.00001");
    formatted(0.000012, "0.000012");
    formatted(9.999e-6, "9.999e-6");
    formatted(1e-6, "1e-6");
    formatted(1e15, "1000000000000000.0");
    formatted(9999999999999998.0, "9999999999999998.0");
    formatted(1e16, "1e+16");
    formatted(1.5e16, "1.5e+16");
    formatted(123456789012345680.0, "1.2345678901234568e+17");
    formatted(1e100, "1e+100");
    formatted(1.0 / 3, "0.3333333333333333");
    formatted(2.0 / 3, "0.6666666666666666");
    formatted(1e23, "1e+23");
    formatted(5e-324, "5e-324");
    formatted(1.5e-323, "1.5e-323");
    formatted(DBL_MIN, "2.2250738585072014e-308");
    formatted(DBL_MAX, "1.7976931348623157e+308");
    formatted(0x1p-1074 * 3, "1.5e-323");
    formatted(100, "100.0");
    formatted(123.456, "123.456");
    /* a power of two whose nearest 16 digits miss, while the next ones up read back */
    formatted(0x1p-44, "5.684341886080802e-14");
    formatted(9007199254740993.0, "9007199254740992.0");
}

/* splitmix64: the same numbers on every run */
static uint64_t random_bits(uint64_t *seed)
{
    uint64_t z = *seed += 0x9E3779B97F4A7C15u;

    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

/* The double `steps` away from v > 0. */
static double neighbour(double v, int steps)
{
    uint64_t bits;

    memcpy(&bits, &v, sizeof bits);
    bits += (uint64_t)steps;
    memcpy(&v, &bits, sizeof v);
    return v;
}

static void check_shortest(double v)
{
    char memory[64], shorter[64];
    struct buf out = buf_on(memory, sizeof memory);
    const char *text;
    int digits = 0;

    jsonw_format_double(&out, v);
    text = buf_cstr(&out);
    assert_non_null(text);
    assert_true(strtod(text, NULL) == v);
    assert_true(strpbrk(text, ".e") != NULL);
    for (const char *p = text + strspn(text, "-0."); *p && *p != 'e'; p++)
        digits += *p >= '0' && *p <= '9';
    if (strstr(text, ".0") && !strchr(text, 'e') && text[strlen(text) - 1] == '0')
        return; /* trailing zeros are form, not digits */
    if (digits > 1) {
        snprintf(shorter, sizeof shorter, "%.*e", digits - 2, v);
        if (strtod(shorter, NULL) == v)
            fail_msg("%s could be %s", text, shorter);
    }
}

static void test_doubles_read_back(void **state)
{
    uint64_t seed = 1;

    (void)state;
    for (int e = -1074; e <= 1023; e++) {
        check_shortest(ldexp(1, e));
        check_shortest(neighbour(ldexp(1, e), -1));
        check_shortest(-neighbour(ldexp(1, e), 1));
    }
    for (int i = 0; i < 20000; i++) {
        uint64_t bits = random_bits(&seed);
        double v;

        memcpy(&v, &bits, sizeof v);
        if (isfinite(v) && v != 0)
            check_shortest(v);
        check_shortest((double)(int64_t)(bits >> 20) / 1000);
    }
}

static void test_full_buffer(void **state)
{
    char memory[8];
    struct buf out = buf_on(memory, sizeof memory);
    struct jsonw w = jsonw_make(&out);

    (void)state;
    jsonw_begin_array(&w);
    for (int i = 0; i < 100; i++)
        jsonw_str(&w, STR("text"));
    jsonw_end_array(&w);
    assert_int_equal(buf_status(&out), -E_LIMIT);
    assert_true(w.done);
}

static struct buf scrap = {.cap = 4096};

static struct jsonw fresh(void)
{
    buf_clear(&scrap);
    return jsonw_make(&scrap);
}

/* Dies, and by a CHECK of the writer. */
#define misuse(statement)                                                                          \
    do {                                                                                           \
        char said_[1024];                                                                          \
        assert_dies(statement, said_);                                                             \
        assert_non_null(strstr(said_, "jsonw.c"));                                                 \
    } while (0)

static void test_misuse_aborts(void **state)
{
    struct jsonw w;

    (void)state;
    w = fresh();
    misuse(jsonw_end_object(&w));
    misuse(jsonw_key(&w, "no object"));
    jsonw_begin_object(&w);
    misuse(jsonw_null(&w));
    misuse(jsonw_end_array(&w));
    jsonw_key(&w, "k");
    misuse(jsonw_key(&w, "again"));
    misuse(jsonw_end_object(&w));
    jsonw_null(&w);
    jsonw_end_object(&w);
    misuse(jsonw_null(&w));
    w = fresh();
    jsonw_begin_array(&w);
    misuse(jsonw_key(&w, "in an array"));
    misuse(jsonw_end_object(&w));
    for (int i = 1; i < JSONW_DEPTH_MAX; i++)
        jsonw_begin_array(&w);
    misuse(jsonw_begin_array(&w));
    buf_fini(&scrap);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_document),          cmocka_unit_test(test_escape),
        cmocka_unit_test(test_every_byte_alone),  cmocka_unit_test(test_doubles),
        cmocka_unit_test(test_doubles_read_back), cmocka_unit_test(test_full_buffer),
        cmocka_unit_test(test_misuse_aborts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
