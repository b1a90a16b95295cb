/* SPDX-License-Identifier: Apache-2.0
 *
 * measure_test.c - how much text a body asks about, read through a lenient index with every cut of
 * the body; what is odd in one field leaves the others alone.
 */
#include "unit.h"

#include <stdlib.h>

#include "base/jsonindex.h"
#include "gate/measure.h"

enum { MODEL, KEY, MESSAGES, NOBODYS, PROMPT, ROWS };

static const struct jsonindex_key wanted[ROWS] = {
    [MODEL] = {.name = "model", .text_bytes = 8},
    [KEY] = {.name = "prompt_cache_key", .text_bytes = 8},
    [MESSAGES] = {.name = "messages", .told = true},
    [PROMPT] = {.name = "prompt", .told = true},
};

static struct jsonindex ix;
static struct measure m;

static int on_value(void *ctx, unsigned row, const struct jsonscan_event *event)
{
    assert_true(row == MESSAGES || row == PROMPT);
    return measure_event(ctx, row == MESSAGES ? MEASURE_MESSAGES : MEASURE_PROMPT, event);
}

/* Fed as p[0, cut) and p[cut, n), each a copy of exactly its size. */
static int read_cut(struct str doc, size_t cut)
{
    struct str parts[] = {str_head(doc, cut), str_from(doc, cut)};
    int r = 0;

    m = (struct measure){.in_key = false};
    jsonindex_init_lenient(&ix, wanted, ROWS, on_value, &m);
    for (size_t i = 0; i < 2; i++) {
        char *copy = malloc(parts[i].n + 1);

        if (parts[i].n)
            memcpy(copy, parts[i].p, parts[i].n);
        r = jsonindex_feed(&ix, copy, parts[i].n);
        free(copy);
    }
    return r ? r : jsonindex_finish(&ix);
}

static void test_sizes(void **state)
{
    static const struct {
        const char *doc;
        int64_t want; /* -1: it says nothing */
    } rows[] = {
        {"{}", 0},
        {"{\"input\":\"abc\"}", 0},
        /* messages */
        {"{\"messages\":[]}", 0},
        {"{\"messages\":[{\"role\":\"user\",\"content\":\"abc\"}]}", 3},
        {"{\"messages\":[{\"content\":\"abc\"},{\"content\":\"\"},{\"content\":\"d\"}]}", 4},
        {"{\"messages\":[{\"content\":\"a\\u00fc\\n\\ud83d\\ude00\xC3\xBC\"}]}", 10},
        {"{\"messages\":[{\"c\\u006fntent\":\"abc\",\"contents\":\"x\",\"conten\":\"y\"}]}", 3},
        {"{\"messages\":[{\"content\":[{\"type\":\"text\",\"text\":\"abc\"},"
         "{\"type\":\"x\",\"content\":\"de\",\"text\":\"f\"}]}]}",
         6},
        {"{\"messages\":[{\"content\":[\"abc\",7,null,[{\"text\":\"x\"}],{\"text\":5},"
         "{\"text\":[\"y\"]},{\"content\":{\"text\":\"z\"}},{\"text\":\"ok\"}]}]}",
         2},
        {"{\"messages\":[{\"content\":7},{\"content\":null},{\"content\":{\"text\":\"x\"}},\"abc\","
         "[{\"content\":\"y\"}],{\"tool\":{\"content\":\"z\"}},{\"text\":\"t\"},{\"content\":"
         "\"ok\"}]}",
         2},
        {"{\"messages\":[{\"content\":\"abc\"}],\"prompt\":\"abcdef\"}", 3},
        {"{\"prompt\":7,\"messages\":[{\"content\":\"abc\"}]}", 3},
        {"{\"prompt\":\"abcdef\",\"messages\":[]}", 0},
        /* prompt */
        {"{\"prompt\":\"\"}", 0},
        {"{\"prompt\":\"a\\u00fc\"}", 3},
        {"{\"prompt\":[\"abc\",\"de\"]}", 5},
        {"{\"prompt\":[1,2,3]}", 12},
        {"{\"prompt\":[[1,2],[3],[]]}", 12},
        {"{\"prompt\":[\"abc\",7]}", 7},
        {"{\"prompt\":[]}", 0},
        {"{\"prompt\":null}", 0},
        {"{\"prompt\":7}", -1},
        {"{\"prompt\":true}", -1},
        {"{\"prompt\":{\"a\":\"b\"}}", -1},
        {"{\"prompt\":[\"abc\",null]}", -1},
        {"{\"prompt\":[\"abc\",{\"x\":1}]}", -1},
        {"{\"prompt\":[[\"abc\"]]}", -1},
        {"{\"prompt\":[[[1]]]}", -1},
        /* messages that are none */
        {"{\"messages\":\"abc\"}", -1},
        {"{\"messages\":{\"content\":\"abc\"}}", -1},
        {"{\"messages\":7,\"prompt\":\"ab\"}", 2},
        {"{\"prompt\":\"ab\",\"messages\":{}}", 2},
        {"{\"messages\":null,\"prompt\":\"ab\"}", 2},
        {"{\"messages\":null}", 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct str doc = str_of(rows[i].doc);

        for (size_t cut = 0; cut <= doc.n; cut++) {
            uint64_t bytes = 99;
            bool says;

            assert_int_equal(read_cut(doc, cut), 0);
            says = measure_size(&m, &bytes);
            if (says != (rows[i].want >= 0) || (says && bytes != (uint64_t)rows[i].want))
                fail_msg("%s, cut at %zu: %s, %llu", rows[i].doc, cut, says ? "a size" : "no size",
                         (unsigned long long)bytes);
        }
    }
}

static void test_fields_stand_alone(void **state)
{
    static const char doc[] =
        "{\"x\":[[[{}]]],\"messages\":[{\"model\":\"inner\",\"content\":[{\"text\":\"abc\"}]}],"
        "\"model\":\"mine\",\"prompt_cache_key\":{\"model\":1},\"prompt\":[{}],\"\":1}";

    (void)state;
    for (size_t cut = 0; cut < sizeof doc; cut++) {
        uint64_t bytes;

        assert_int_equal(read_cut(str_span(doc, sizeof doc - 1), cut), 0);
        assert_true(ix.is_object);
        assert_str_is(ix.fields[MODEL].text, "mine");
        assert_int_equal(ix.fields[KEY].kind, JSONINDEX_OBJECT);
        assert_false(ix.fields[KEY].has_text);
        assert_int_equal(ix.fields[MESSAGES].kind, JSONINDEX_ARRAY);
        assert_true(ix.fields[MESSAGES].whole);
        assert_int_equal(ix.fields[MESSAGES].end - ix.fields[MESSAGES].begin, 46);
        assert_int_equal(ix.fields[NOBODYS].kind, JSONINDEX_ABSENT);
        assert_true(measure_size(&m, &bytes));
        assert_int_equal(bytes, 3);
    }
}

static void test_repeated_keys_are_noted(void **state)
{
    static const char doc[] = "{\"model\":\"a\",\"Model\":\"b\",\"prompt\":\"ab\",\"model\":[7],"
                              "\"prompt\":\"abcdef\",\"prompt_cache_key\":\"k\",\"y\":1,\"y\":2}";

    (void)state;
    for (size_t cut = 0; cut < sizeof doc; cut++) {
        uint64_t bytes;

        assert_int_equal(read_cut(str_span(doc, sizeof doc - 1), cut), 0);
        assert_true(ix.fields[MODEL].repeated);
        assert_str_is(ix.fields[MODEL].text, "a");
        assert_true(ix.fields[PROMPT].repeated);
        assert_false(ix.fields[KEY].repeated);
        assert_true(measure_size(&m, &bytes));
        assert_int_equal(bytes, 2);
    }
}

static void test_long_texts_are_cut(void **state)
{
    static const char doc[] = "{\"model\":\"0123456789\",\"prompt_cache_key\":\"01234567\"}";

    (void)state;
    for (size_t cut = 0; cut < sizeof doc; cut++) {
        assert_int_equal(read_cut(str_span(doc, sizeof doc - 1), cut), 0);
        assert_true(ix.fields[MODEL].has_text);
        assert_str_is(ix.fields[MODEL].text, "01234567");
        assert_str_is(ix.fields[KEY].text, "01234567");
    }
}

/* More than a strict scan takes: tokens, keys, digits. */
static void test_a_prompt_of_many_tokens(void **state)
{
    enum { TOKENS = 1100000 };
    char *doc = malloc(2 * TOKENS + 16);
    size_t n = 0;
    uint64_t bytes;

    (void)state;
    n += (size_t)sprintf(doc, "{\"prompt\":[1");
    for (size_t i = 1; i < TOKENS; i++, n += 2)
        memcpy(doc + n, ",2", 2);
    n += (size_t)sprintf(doc + n, "]}");
    assert_int_equal(read_cut(str_span(doc, n), n / 2), 0);
    assert_true(measure_size(&m, &bytes));
    assert_int_equal(bytes, 4 * TOKENS);
    free(doc);
}

static void test_what_is_no_json(void **state)
{
    static const char *const docs[] = {
        "",        "{\"model\":\"a\"", "{\"model\":\"a\"}x", "\xEF\xBB\xBF{}",
        "model=a", "{\"prompt\":[1,}"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(docs); i++)
        for (size_t cut = 0; cut <= strlen(docs[i]); cut++)
            assert_true(read_cut(str_of(docs[i]), cut) < 0);
    assert_int_equal(read_cut(STR("[{\"model\":\"a\"}]"), 3), 0);
    assert_false(ix.is_object);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_fields_stand_alone),
        cmocka_unit_test(test_repeated_keys_are_noted),
        cmocka_unit_test(test_long_texts_are_cut),
        cmocka_unit_test(test_a_prompt_of_many_tokens),
        cmocka_unit_test(test_what_is_no_json),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
