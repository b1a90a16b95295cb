/* SPDX-License-Identifier: Apache-2.0
 *
 * jsonindex_test.c - wanted keys of requests and replies: what is found, where, with every cut of
 * the document; repeated keys under any spelling; documents that are no object; bounds of text and
 * names.
 */
#include "unit.h"

#include <stdlib.h>

#include "base/buf.h"
#include "base/jsonindex.h"

enum { MODEL, STREAM, USER, MESSAGES, USAGE, PROMPT_TOKENS, TOTAL_TOKENS, LONGEST, ROWS };

static const struct jsonindex_key wanted[] = {
    [MODEL] = {.name = "model", .text_bytes = 16},
    [STREAM] = {.name = "stream"},
    [USER] = {.name = "user", .text_bytes = 256},
    [MESSAGES] = {.name = "messages"},
    [USAGE] = {.name = "usage"},
    [PROMPT_TOKENS] = {.name = "prompt_tokens", .in = "usage"},
    [TOTAL_TOKENS] = {.name = "total_tokens", .in = "usage", .text_bytes = 8},
    [LONGEST] = {.name = "a_name_of_thirty_two_bytes_in_al", .text_bytes = 488},
};

static struct jsonindex ix;

/* Fed as p[0, cut) and p[cut, n), each a copy of exactly its size. */
static int index_cut(struct str doc, size_t cut)
{
    struct str parts[] = {str_head(doc, cut), str_from(doc, cut)};
    int r = 0;

    jsonindex_init(&ix, wanted, ROWS);
    for (size_t i = 0; i < 2; i++) {
        char *copy = malloc(parts[i].n + 1);

        if (parts[i].n)
            memcpy(copy, parts[i].p, parts[i].n);
        r = jsonindex_feed(&ix, copy, parts[i].n);
        free(copy);
    }
    return r ? r : jsonindex_finish(&ix);
}

static void raw_is(struct str doc, int row, const char *want)
{
    const struct jsonindex_field *f = &ix.fields[row];

    assert_true(f->whole);
    assert_str_is(str_span(doc.p + f->begin, (size_t)(f->end - f->begin)), want);
}

static void test_request(void **state)
{
    const struct str doc =
        STR("{ \"messages\" : [{\"role\":\"user\",\"content\":\"model\",\"model\":1}, []], "
            "\"mod\\u0065l\":"
            "\"\\u006dy-m\xC3\xB6\\u00f6del\" "
            ",\"stream\":true,\"other\":{\"model\":2,\"user\":[{}]},\"user\":7,"
            "\"x\":null}");

    (void)state;
    for (size_t cut = 0; cut <= doc.n; cut++) {
        assert_int_equal(index_cut(doc, cut), 0);
        assert_true(ix.is_object);
        assert_int_equal(ix.duplicate, -1);
        assert_int_equal(ix.fields[MODEL].kind, JSONINDEX_STRING);
        assert_true(ix.fields[MODEL].has_text);
        assert_str_is(ix.fields[MODEL].text, "my-m\xC3\xB6\xC3\xB6"
                                             "del");
        raw_is(doc, MODEL, "\"\\u006dy-m\xC3\xB6\\u00f6del\"");
        assert_int_equal(ix.fields[STREAM].kind, JSONINDEX_BOOL);
        assert_true(ix.fields[STREAM].has_u64);
        assert_int_equal(ix.fields[STREAM].u64, 1);
        raw_is(doc, STREAM, "true");
        assert_int_equal(ix.fields[USER].kind, JSONINDEX_NUMBER);
        assert_int_equal(ix.fields[USER].u64, 7);
        assert_false(ix.fields[USER].has_text);
        raw_is(doc, MESSAGES, "[{\"role\":\"user\",\"content\":\"model\",\"model\":1}, []]");
        assert_int_equal(ix.fields[MESSAGES].kind, JSONINDEX_ARRAY);
        assert_int_equal(ix.fields[USAGE].kind, JSONINDEX_ABSENT);
        assert_int_equal(ix.fields[PROMPT_TOKENS].kind, JSONINDEX_ABSENT);
    }
}

static void test_reply(void **state)
{
    const struct str doc =
        STR("{\"usage\":{\"x\":{\"prompt_tokens\":9},\"prompt_tokens\":12,\"d\":[1],"
            "\"total_tokens\":\"22\",\"model\":1},\"model\":null,\"prompt_tokens\":5}");

    (void)state;
    for (size_t cut = 0; cut <= doc.n; cut++) {
        assert_int_equal(index_cut(doc, cut), 0);
        assert_int_equal(ix.fields[USAGE].kind, JSONINDEX_OBJECT);
        raw_is(
            doc, USAGE,
            "{\"x\":{\"prompt_tokens\":9},\"prompt_tokens\":12,\"d\":[1],\"total_tokens\":\"22\","
            "\"model\":1}");
        assert_true(ix.fields[PROMPT_TOKENS].has_u64);
        assert_int_equal(ix.fields[PROMPT_TOKENS].u64, 12);
        raw_is(doc, PROMPT_TOKENS, "12");
        assert_str_is(ix.fields[TOTAL_TOKENS].text, "22");
        assert_int_equal(ix.fields[MODEL].kind, JSONINDEX_NULL);
        raw_is(doc, MODEL, "null");
    }
}

static int index_whole(const char *doc) { return index_cut(str_of(doc), strlen(doc)); }

static void test_usage_that_is_no_object(void **state)
{
    (void)state;
    assert_int_equal(index_whole("{\"usage\":null,\"model\":\"m\"}"), 0);
    assert_int_equal(ix.fields[USAGE].kind, JSONINDEX_NULL);
    assert_int_equal(index_whole("{\"usage\":[{\"prompt_tokens\":1}],\"model\":\"m\"}"), 0);
    assert_int_equal(ix.fields[USAGE].kind, JSONINDEX_ARRAY);
    assert_int_equal(ix.fields[PROMPT_TOKENS].kind, JSONINDEX_ABSENT);
    assert_str_is(ix.fields[MODEL].text, "m");
    assert_int_equal(index_whole("{\"usage\":{},\"model\":{\"a\":1}}"), 0);
    assert_int_equal(ix.fields[MODEL].kind, JSONINDEX_OBJECT);
    assert_int_equal(ix.fields[MODEL].end, 27);
}

static void repeated(const char *doc, int row)
{
    for (size_t cut = 0; cut <= strlen(doc); cut++) {
        assert_int_equal(index_cut(str_of(doc), cut), -E_EXISTS);
        assert_int_equal(ix.duplicate, row);
        assert_int_equal(ix.scan.err, -E_EXISTS);
    }
}

static void test_repeated_keys(void **state)
{
    (void)state;
    repeated("{\"model\":\"a\",\"model\":\"a\"}", MODEL);
    repeated("{\"model\":\"a\",\"mod\\u0065l\":\"b\"}", MODEL);
    repeated("{\"\\u006d\\u006f\\u0064\\u0065\\u006c\":null,\"x\":1,\"model\":\"b\"}", MODEL);
    repeated("{\"stream\":false,\"stream\":true}", STREAM);
    repeated("{\"messages\":[],\"model\":\"m\",\"messages\":[]}", MESSAGES);
    repeated("{\"usage\":{},\"usage\":{}}", USAGE);
    repeated("{\"usage\":{\"prompt_tokens\":1,\"prompt\\u005ftokens\":2}}", PROMPT_TOKENS);
    /* nobody wanted these */
    assert_int_equal(index_whole("{\"a\":1,\"a\":2,\"messages\":[{\"model\":1,\"model\":2}]}"), 0);
    assert_int_equal(
        index_whole("{\"model\":\"m\",\"Model\":\"n\",\"model \":\"o\",\"model\\u0000\":1}"), 0);
    assert_str_is(ix.fields[MODEL].text, "m");
}

/* Where a reader that ignores case would take the other one. */
static void test_a_key_in_other_letters(void **state)
{
    static const struct jsonindex_key strict[] = {{"model", .text_bytes = 16, .any_case = true},
                                                  {.name = "user"}};
    static const struct {
        const char *text;
        int want;
    } rows[] = {
        {"{\"model\":\"a\",\"Model\":\"b\"}", -E_EXISTS},
        {"{\"mODEL\":\"b\",\"model\":\"a\"}", -E_EXISTS},
        {"{\"\\u004dodel\":\"b\"}", -E_EXISTS},
        {"{\"model\":\"a\",\"User\":1,\"user\":2,\"models\":[],\"x\":{\"Model\":\"b\"}}", 0},
        {"[{\"Model\":1,\"model\":2}]", 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int r;

        jsonindex_init(&ix, strict, ARRAY_LEN(strict));
        r = jsonindex_feed(&ix, rows[i].text, strlen(rows[i].text));
        assert_int_equal(r < 0 ? r : jsonindex_finish(&ix), rows[i].want);
        assert_int_equal(ix.duplicate, r < 0 ? 0 : -1);
    }
}

static void test_text_bounds(void **state)
{
    (void)state;
    assert_int_equal(index_whole("{\"model\":\"0123456789abcdef\"}"), 0);
    assert_true(ix.fields[MODEL].has_text);
    assert_int_equal(index_whole("{\"model\":\"0123456789abcdefg\",\"user\":\"u\"}"), 0);
    assert_false(ix.fields[MODEL].has_text);
    assert_true(ix.fields[MODEL].whole);
    assert_int_equal(ix.fields[MODEL].end, 28);
    assert_str_is(ix.fields[USER].text, "u");
    assert_int_equal(index_whole("{\"model\":\"0123456789abcdef\\u0067\"}"), 0);
    assert_false(ix.fields[MODEL].has_text);
    /* decoded bytes count, not those on the wire */
    assert_int_equal(index_whole("{\"model\":\"\\u0030\\u0031\\u0032\\u0033\\u0034\\u0035\"}"), 0);
    assert_str_is(ix.fields[MODEL].text, "012345");
    assert_int_equal(index_whole("{\"model\":\"\",\"stream\":\"\"}"), 0);
    assert_true(ix.fields[MODEL].has_text);
    assert_int_equal(ix.fields[MODEL].text.n, 0);
    assert_false(ix.fields[STREAM].has_text); /* not asked for */
    assert_int_equal(index_whole("{\"model\":\"a\\u0000b\"}"), 0);
    assert_int_equal(ix.fields[MODEL].text.n, 3);
    assert_memory_equal(ix.fields[MODEL].text.p, "a\0b", 3);
}

static void test_long_names(void **state)
{
    (void)state;
    assert_int_equal(index_whole("{\"a_name_of_thirty_two_bytes_in_al\":\"x\","
                                 "\"a_name_of_thirty_two_bytes_in_all\":\"y\"}"),
                     0);
    assert_str_is(ix.fields[LONGEST].text, "x");
}

static void test_numbers(void **state)
{
    static const struct {
        const char *doc;
        bool has;
        uint64_t u64;
    } rows[] = {
        {"{\"user\":0}", true, 0},
        {"{\"user\":18446744073709551615}", true, UINT64_MAX},
        {"{\"user\":18446744073709551616}", false, 0},
        {"{\"user\":-1}", false, 0},
        {"{\"user\":1.0}", false, 0},
        {"{\"user\":1e2}", false, 0},
        {"{\"user\":false}", true, 0},
        {"{\"user\":null}", false, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(index_whole(rows[i].doc), 0);
        assert_int_equal(ix.fields[USER].has_u64, rows[i].has);
        if (rows[i].has)
            assert_true(ix.fields[USER].u64 == rows[i].u64);
    }
}

static void test_no_object(void **state)
{
    static const char *const docs[] = {
        "[{\"model\":\"m\"}]", "\"model\"", "17", "null", "true", "[]"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(docs); i++) {
        assert_int_equal(index_whole(docs[i]), 0);
        assert_false(ix.is_object);
        for (int row = 0; row < ROWS; row++)
            assert_int_equal(ix.fields[row].kind, JSONINDEX_ABSENT);
    }
    assert_int_equal(index_whole("{}"), 0);
    assert_true(ix.is_object);
}

static void test_errors(void **state)
{
    (void)state;
    assert_int_equal(index_whole(""), -E_SYNTAX);
    assert_int_equal(index_whole("{\"model\":\"m\""), -E_SYNTAX);
    assert_true(ix.fields[MODEL].whole);
    assert_int_equal(index_whole("{\"model\":\"m"), -E_SYNTAX);
    assert_int_equal(ix.fields[MODEL].kind, JSONINDEX_STRING);
    assert_false(ix.fields[MODEL].whole);
    assert_int_equal(index_whole("{\"messages\":[nope]}"), -E_SYNTAX);
    assert_int_equal(ix.scan.error_at, 14);
    assert_string_equal(ix.scan.reason, "unknown word");
    assert_int_equal(ix.duplicate, -1);
}

static void test_tables(void **state)
{
    static const struct jsonindex_key orphan[] = {{.name = "a", .in = "b"}},
                                      grand[] = {{.name = "a"},
                                                 {.name = "b", .in = "a"},
                                                 {.name = "c", .in = "b"}},
                                      long_name[] = {{.name = "a_name_of_thirty_three_bytes_long"}},
                                      greedy[] = {{.name = "a", .text_bytes = 700},
                                                  {.name = "b", .text_bytes = 69}};
    char said[1024];

    (void)state;
    assert_dies(jsonindex_init(&ix, orphan, 1), said);
    assert_dies(jsonindex_init(&ix, grand, 3), said);
    assert_dies(jsonindex_init(&ix, long_name, 1), said);
    assert_dies(jsonindex_init(&ix, greedy, 2), said);
    assert_dies(jsonindex_init(&ix, wanted, JSONINDEX_KEYS_MAX + 1), said);
    assert_true(sizeof ix <= 2048);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request),
        cmocka_unit_test(test_reply),
        cmocka_unit_test(test_usage_that_is_no_object),
        cmocka_unit_test(test_repeated_keys),
        cmocka_unit_test(test_a_key_in_other_letters),
        cmocka_unit_test(test_text_bounds),
        cmocka_unit_test(test_long_names),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_no_object),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_tables),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
