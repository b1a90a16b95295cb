/* SPDX-License-Identifier: Apache-2.0
 *
 * enrol_record_test.c - what a babysitter registers: both records, what [metadata] overrides, and
 * the lists of models that engines answer with.
 */
#include "unit.h"

#include "base/mem.h"
#include "role/enrol_record.h"

static const struct babysitter_conf plain = {
    .name = {"svc", 3},
    .host = {"localhost", 9},
    .port = 6001,
    .type = "vLLM",
    .weight = OPTION_UNSET_U32,
    .metadata = {"{}", 2},
};

/* *ret is the caller's. */
static struct json *read_list(const char *answer)
{
    struct json *list = NULL;
    int r = enrol_record_read_models(str_of(answer), &list);

    assert_int_equal(r, list ? 0 : -E_SYNTAX);
    return list;
}

static void expect_engine(const struct babysitter_conf *c, const char *answer, const char *metadata)
{
    struct json *list = read_list(answer);
    struct enrol_record r;

    assert_non_null(list);
    enrol_record_engine(c, list, &r);
    assert_str_is(r.fields.metadata, metadata);
    enrol_record_fini(&r);
    json_unref(&list);
}

static void test_records(void **state)
{
    struct babysitter_conf c = plain;
    struct enrol_record r;
    struct json *none = json_new_array();

    (void)state;
    enrol_record_own(&c, &r);
    assert_str_is(r.fields.host, "localhost");
    assert_str_is(r.fields.hostname, "localhost");
    assert_str_is(r.fields.url, "http://localhost:6002");
    assert_int_equal(r.fields.port, 6002);
    assert_true(r.fields.weight < 0);
    assert_str_is(r.fields.metadata, "{\"babysitter\":\"enhanced\",\"type\":\"vLLM\"}");
    enrol_record_fini(&r);
    c.host = STR("fd00::7");
    enrol_record_engine(&c, none, &r);
    assert_str_is(r.fields.host, "fd00::7");
    assert_str_is(r.fields.url, "http://[fd00::7]:6001");
    assert_int_equal(r.fields.port, 6001);
    assert_str_is(r.fields.metadata,
                  "{\"babysitter\":\"enhanced\",\"models\":[],\"models_list\":[],"
                  "\"parent_service\":\"svc\",\"type\":\"openai-api\"}");
    enrol_record_fini(&r);
    json_unref(&none);
}

static void test_models_as_they_came(void **state)
{
    (void)state;
    expect_engine(&plain,
                  "{\"object\":\"list\",\"data\":[{\"id\":\"a\",\"created\":1.0},{\"id\":7},5]}",
                  "{\"babysitter\":\"enhanced\",\"models\":[\"a\",\"\",\"\"],\"models_list\":"
                  "[{\"created\":1.0,\"id\":\"a\"},{\"id\":7},5],\"parent_service\":\"svc\","
                  "\"type\":\"openai-api\"}");
    expect_engine(
        &plain, "[{\"id\":\"a\"}]",
        "{\"babysitter\":\"enhanced\",\"models\":[\"a\"],\"models_list\":[{\"id\":\"a\"}],"
        "\"parent_service\":\"svc\",\"type\":\"openai-api\"}");
}

static void test_metadata_goes_over_it(void **state)
{
    struct babysitter_conf c = plain;
    struct enrol_record r;
    struct json *list = read_list("[{\"id\":\"a\"}]");

    (void)state;
    c.metadata = STR("{\"models_list\":[],\"type\":\"mine\",\"weight\":9,\"x\":{\"y\":[1]}}");
    c.weight = 0;
    enrol_record_engine(&c, list, &r);
    assert_int_equal(r.fields.weight, 0);
    assert_str_is(r.fields.metadata,
                  "{\"babysitter\":\"enhanced\",\"models\":[\"a\"],\"models_list\":[],"
                  "\"parent_service\":\"svc\",\"type\":\"mine\",\"weight\":0,\"x\":{\"y\":[1]}}");
    enrol_record_fini(&r);
    json_unref(&list);
}

static void expect_named(const struct babysitter_conf *c, const char *expected)
{
    struct json *list = enrol_record_models(c);
    struct buf text = buf_make(1000);

    if (list)
        json_write(list, &text);
    assert_str_is(buf_str(&text), expected);
    buf_fini(&text);
    json_unref(&list);
}

static void test_models_that_the_configuration_names(void **state)
{
    struct babysitter_conf c = plain;
    struct str names[] = {STR("a"), STR("b")};

    (void)state;
    expect_named(&c, "");
    c.metadata = STR("{\"models\":[\"m\",7]}");
    expect_named(&c, "[{\"id\":\"m\",\"object\":\"model\"}]");
    c.models = (struct str_list){names, 2};
    expect_named(&c, "[{\"id\":\"a\",\"object\":\"model\"},{\"id\":\"b\",\"object\":\"model\"}]");
    c.models.n = 0;
    c.metadata = STR("{\"models\":\"m\"}");
    expect_named(&c, "");
}

static void test_answers_without_a_list(void **state)
{
    static const char *const answers[] = {
        "",
        "{}",
        "[]",
        "{\"data\":[]}",
        "{\"data\":{}}",
        "{\"data\":null}",
        "no",
        "7",
        "[{\"id\":\"a\"}",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(answers); i++)
        assert_null(read_list(answers[i]));
}

/* What an engine nests is in a record three levels deeper, and 64 is what JSON of ours may have. */
static void test_deep_models_do_no_harm(void **state)
{
    char answer[256];

    (void)state;
    for (int depth = 50; depth <= 64; depth++) {
        struct buf b = buf_on(answer, sizeof answer);
        struct json *list = NULL;
        struct enrol_record r;

        for (int i = 0; i < depth; i++)
            buf_char(&b, '[');
        buf_char(&b, '1');
        for (int i = 0; i < depth; i++)
            buf_char(&b, ']');
        if (enrol_record_read_models(buf_str(&b), &list) < 0) {
            assert_true(depth > 60);
            continue;
        }
        enrol_record_engine(&plain, list, &r);
        assert_true(r.fields.metadata.n > 100);
        enrol_record_fini(&r);
        json_unref(&list);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_records),
        cmocka_unit_test(test_models_as_they_came),
        cmocka_unit_test(test_metadata_goes_over_it),
        cmocka_unit_test(test_models_that_the_configuration_names),
        cmocka_unit_test(test_answers_without_a_list),
        cmocka_unit_test(test_deep_models_do_no_harm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
