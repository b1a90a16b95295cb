/* SPDX-License-Identifier: Apache-2.0
 *
 * json_test.c - whole documents: what is read comes out again in the one output form, what may not
 * be read is refused with place and reason, and the value interface.
 */
#include "unit.h"

#include <math.h>
#include <stdlib.h>

#include "base/json.h"

static void rewritten(const char *in, const char *want)
{
    _cleanup_(json_cleanup) struct json *v = NULL;
    struct buf out = buf_make(1 << 20);
    struct json_error error;
    int r = json_read(str_of(in), NULL, &error, &v);

    if (r < 0)
        fail_msg("%s is refused: %s at %llu", in, error.reason, (unsigned long long)error.at);
    json_write(v, &out);
    assert_int_equal(buf_status(&out), 0);
    assert_str_is(buf_str(&out), want);
    buf_fini(&out);
}

static void test_rewriting(void **state)
{
    (void)state;
    rewritten(" { \"b\" : [ 1 , 2 ] , \"a\" : { \"z\" : null , \"y\" : true , \"x\": false } } ",
              "{\"a\":{\"x\":false,\"y\":true,\"z\":null},\"b\":[1,2]}");
    rewritten("{\"b\":1,\"a\\u0000\":2,\"a\":3,\"\":4,\"\\ud83d\\ude00\":5,\"\\uffff\":6,\"B\":7,"
              "\"ab\":8}",
              "{\"\":4,\"B\":7,\"a\":3,\"a\\u0000\":2,\"ab\":8,\"b\":1,\"\xEF\xBF\xBF\":6,"
              "\"\xF0\x9F\x98\x80\":5}");
    rewritten("[\"\\/\\u00e9\\u001f\\u0000\\t\"]", "[\"/\xC3\xA9\\u001f\\u0000\\t\"]");
    rewritten("[]", "[]");
    rewritten("{}", "{}");
    rewritten("[{},[],\"\",{\"a\":[{}]}]", "[{},[],\"\",{\"a\":[{}]}]");
    rewritten("\"x\"", "\"x\"");
    rewritten("null", "null");
}

static void test_numbers(void **state)
{
    (void)state;
    rewritten("[9223372036854775807,-9223372036854775808]",
              "[9223372036854775807,-9223372036854775808]");
    rewritten("[9223372036854775808,18446744073709551615]",
              "[9223372036854775808,18446744073709551615]");
    rewritten("[18446744073709551616,-9223372036854775809]",
              "[1.8446744073709552e+19,-9.223372036854776e+18]");
    rewritten("[0,-0,0.0,-0.0,0e5]", "[0,-0.0,0.0,-0.0,0.0]");
    rewritten("[1.0,1e2,1E-6,0.00001,1e16,1795208933.0]",
              "[1.0,100.0,1e-6,0.00001,1e+16,1795208933.0]");
    rewritten("[123456789012345678901234567890]", "[1.2345678901234568e+29]");
    rewritten("[1e-400,-1e-400,4e-324,2e-324]", "[0.0,-0.0,5e-324,0.0]");
    rewritten("[1.7976931348623157e308]", "[1.7976931348623157e+308]");
}

static void refused(struct str in, const struct json_limits *limits, int err, uint64_t at,
                    const char *reason, const char *key)
{
    struct json_error error;
    struct json *v = NULL;

    assert_int_equal(json_read(in, limits, NULL, &v), err);
    assert_int_equal(json_read(in, limits, &error, &v), err);
    assert_null(v);
    assert_string_equal(error.reason, reason);
    assert_int_equal(error.at, at);
    assert_string_equal(error.key, key);
}

static void test_refusals(void **state)
{
    struct json_limits small = JSON_LIMITS;
    struct buf deep = buf_make(256);

    (void)state;
    refused(STR(""), NULL, -E_SYNTAX, 0, "empty document", "");
    refused(STR("{\"a\":[1,2}"), NULL, -E_SYNTAX, 9, "',' or ']' expected", "");
    refused(STR("{\"a\":1"), NULL, -E_SYNTAX, 6, "unexpected end", "");
    refused(STR("[\"\xC3(\"]"), NULL, -E_SYNTAX, 3, "invalid UTF-8", "");
    refused(STR("[1e309]"), NULL, -E_SYNTAX, 1, "number out of range", "");
    refused(STR("-1e999"), NULL, -E_SYNTAX, 0, "number out of range", "");
    refused(STR("{\"a\":1,\"b\":{\"c\":0},\"a\":1}"), NULL, -E_EXISTS, 19, "repeated key", "a");
    refused(STR("[{\"x\":{\"mod\\u0065l\":1,\"model\":2}}]"), NULL, -E_EXISTS, 22, "repeated key",
            "model");
    refused(STR("{\"\":1,\"\":2}"), NULL, -E_EXISTS, 6, "repeated key", "");
    for (int i = 0; i < 65; i++)
        buf_char(&deep, '[');
    refused(buf_str(&deep), NULL, -E_LIMIT, 64, "nested too deeply", "");
    buf_fini(&deep);
    small.scan.tokens = 3;
    refused(STR("[1,2,3]"), &small, -E_LIMIT, 5, "too many keys and values", "");
    small.heap_bytes = 500;
    refused(STR("{\"a\":[]}"), &small, -E_LIMIT, 5, "document takes too much memory", "");
}

static void test_long_repeated_key(void **state)
{
    char doc[256], key[101];
    struct json_error error;
    struct json *v = NULL;

    (void)state;
    memset(key, 'k', 100);
    key[100] = '\0';
    memcpy(key + 62, "\xC3\xA9", 2); /* the cut at 63 bytes would split it */
    snprintf(doc, sizeof doc, "{\"%s\":1,\"%s\":2}", key, key);
    assert_int_equal(json_read(str_of(doc), NULL, &error, &v), -E_EXISTS);
    assert_int_equal(strlen(error.key), 62);
}

static void test_values(void **state)
{
    _cleanup_(json_cleanup) struct json *o = json_new_object();
    struct json *v, *a = json_new_array();
    struct buf out = buf_make(4096);
    struct str s;
    int64_t i;
    uint64_t u;
    double d;
    bool b;

    (void)state;
    v = json_new_u64(UINT64_MAX);
    assert_int_equal(json_kind_of(v), JSON_KIND_U64);
    assert_false(json_get_str(v, &s));
    assert_false(json_get_i64(v, &i));
    assert_true(json_get_u64(v, &u) && u == UINT64_MAX);
    assert_true(json_get_double(v, &d) && d == 18446744073709551616.0);
    json_push(a, &v);
    assert_null(v);
    v = json_new_u64(5);
    assert_int_equal(json_kind_of(v), JSON_KIND_I64);
    assert_true(json_get_u64(v, &u) && u == 5);
    assert_true(json_get_i64(v, &i) && i == 5);
    assert_true(json_get_double(v, &d) && d == 5);
    json_push(a, &v);
    v = json_new_i64(-5);
    assert_false(json_get_u64(v, &u));
    json_push(a, &v);
    v = json_new_double(2.5);
    assert_int_equal(json_kind_of(v), JSON_KIND_DOUBLE);
    assert_false(json_get_i64(v, &i));
    assert_true(json_get_double(v, &d) && d == 2.5);
    json_push(a, &v);
    v = json_new_bool(true);
    assert_true(json_get_bool(v, &b) && b);
    assert_false(json_get_double(v, &d));
    json_push(a, &v);
    v = json_new_null();
    assert_int_equal(json_kind_of(v), JSON_KIND_NULL);
    json_push(a, &v);
    v = json_new_str(STR("a\xFF\0b"));
    assert_true(json_get_str(v, &s));
    assert_int_equal(s.n, 6);
    json_push(a, &v);
    assert_int_equal(json_count(a), 7);
    assert_true(json_get_double(json_at(a, 3), &d));
    assert_null(json_at(a, 7));
    json_put(o, STR("list"), &a);
    v = json_new_str(STR_NONE);
    json_put(o, STR("k\xC3"), &v); /* not UTF-8 */
    v = json_new_i64(1);
    json_put(o, STR("one"), &v);
    v = json_new_i64(2);
    json_put(o, STR("one"), &v); /* replaces */
    assert_int_equal(json_count(o), 3);
    assert_true(json_get_i64(json_find_cstr(o, "one"), &i) && i == 2);
    assert_true(json_remove(o, STR("one")));
    assert_false(json_remove(o, STR("one")));
    assert_null(json_find(o, STR("one")));
    json_write(o, &out);
    assert_str_is(buf_str(&out),
                  "{\"k\xEF\xBF\xBD\":\"\",\"list\":[18446744073709551615,5,-5,2.5,true,null,"
                  "\"a\xEF\xBF\xBD\\u0000b\"]}");
    buf_fini(&out);
}

static void test_visiting(void **state)
{
    _cleanup_(json_cleanup) struct json *o = NULL;
    struct json *v;
    struct str key;
    unsigned seen = 0;
    int64_t i;

    (void)state;
    assert_int_equal(json_read(STR("{\"a\":1,\"b\":2,\"\":4}"), NULL, NULL, &o), 0);
    for (void *it = NULL; json_next(o, &it, &key, &v);) {
        assert_true(json_get_i64(v, &i));
        assert_true(str_eq(key, i == 1 ? STR("a") : i == 2 ? STR("b") : STR("")));
        seen |= (unsigned)i;
    }
    assert_int_equal(seen, 7);
}

static void test_nothing(void **state)
{
    struct json *none = NULL, *v;
    struct str s = STR_NONE;
    int64_t i = 0;
    bool b = false;
    double d = 0;
    uint64_t u = 0;
    void *it = NULL;

    (void)state;
    assert_int_equal(json_kind_of(NULL), JSON_KIND_NONE);
    assert_int_equal(json_count(NULL), 0);
    assert_null(json_find(NULL, STR("a")));
    assert_null(json_at(NULL, 0));
    assert_false(json_get_str(NULL, &s) || json_get_bool(NULL, &b) || json_get_i64(NULL, &i));
    assert_false(json_get_u64(NULL, &u) || json_get_double(NULL, &d));
    assert_false(json_next(NULL, &it, &s, &v));
    assert_true(json_same(NULL, NULL));
    json_unref(&none);
}

static struct json *read_or_fail(const char *text)
{
    struct json *v = NULL;

    assert_int_equal(json_read(str_of(text), NULL, NULL, &v), 0);
    return v;
}

static void test_same(void **state)
{
    static const struct {
        const char *a, *b;
        bool same;
    } rows[] = {
        {"{\"a\":1,\"b\":[2]}", "{\"b\":[2],\"a\":1}", true},
        {"1", "1.0", false},
        {"18446744073709551615", "18446744073709551615", true},
        {"18446744073709551615", "\"18446744073709551615\"", false},
        {"[1,2]", "[2,1]", false},
        {"true", "false", false},
        {"null", "{}", false},
        {"{\"a\\u0000b\":1}", "{\"a\\u0000c\":1}", false},
        {"{\"a\\u0000b\":1}", "{\"a\\u0000b\":1}", true},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct json *a = read_or_fail(rows[i].a), *b = read_or_fail(rows[i].b);
        struct json *c = json_ref(a);

        assert_int_equal(json_same(a, b), rows[i].same);
        assert_true(json_same(a, c));
        json_unref(&a);
        json_unref(&b);
        assert_int_not_equal(json_kind_of(c), JSON_KIND_NONE); /* our reference holds */
        json_unref(&c);
        assert_null(c);
    }
}

/* The deepest document there can be is read, written and freed. */
static void test_depth(void **state)
{
    char doc[129] = "";

    (void)state;
    memset(doc, '[', 64);
    memset(doc + 64, ']', 64);
    rewritten(doc, doc);
}

static void test_wide_object(void **state)
{
    struct buf doc = buf_make(1 << 20), out = buf_make(1 << 20);
    _cleanup_(json_cleanup) struct json *v = NULL;

    (void)state;
    buf_char(&doc, '{');
    for (int i = 10000; i > 0; i--)
        buf_printf(&doc, "\"%05d\":%d%s", i, i, i > 1 ? "," : "}");
    assert_int_equal(json_read(buf_str(&doc), NULL, NULL, &v), 0);
    assert_int_equal(json_count(v), 10000);
    json_write(v, &out);
    assert_int_equal(out.n, doc.n);
    assert_memory_equal(out.p, "{\"00001\":1,\"00002\":2,", 21);
    buf_fini(&doc);
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rewriting), cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_refusals),  cmocka_unit_test(test_long_repeated_key),
        cmocka_unit_test(test_values),    cmocka_unit_test(test_visiting),
        cmocka_unit_test(test_nothing),   cmocka_unit_test(test_same),
        cmocka_unit_test(test_depth),     cmocka_unit_test(test_wide_object),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
