/* SPDX-License-Identifier: Apache-2.0
 *
 * chaos_test.c - the judge of `inferd chaos`, who must believe nothing: what is good, what is a
 * truthful error, what is a lie; and the table itself.
 */
#include "unit.h"

#include "role/chaos_report.h"

#define MARK 123
#define DONE "data: [DONE]\n\n"
#define ERROR "{\"error\":{\"code\":\"c\",\"message\":\"m\",\"param\":null,\"type\":\"t\"}}"

/* n events of the good stream, then `tail`. */
static enum chaos_outcome stream(unsigned n, const char *tail, bool clean)
{
    struct buf b = buf_make(1 << 16);
    struct chaos_reply reply = {.status = 200};
    struct chaos_seen seen = {
        .mark = MARK, .asked_stream = true, .event_stream = true, .clean = clean};
    enum chaos_outcome o;

    for (unsigned i = 0; i < n; i++)
        chaos_answer_event(MARK, i, &b);
    buf_text(&b, tail);
    seen.answer = buf_str(&b);
    o = chaos_answer_judge(&seen, &reply);
    buf_fini(&b);
    return o;
}

static void test_streams(void **state)
{
    const unsigned all = CHAOS_EVENTS_N;

    (void)state;
    assert_int_equal(stream(all, DONE, true), CHAOS_GOOD);
    assert_int_equal(stream(all, DONE, false), CHAOS_UNENDED);
    assert_int_equal(stream(all, "", true), CHAOS_AS_SAID);
    assert_int_equal(stream(3, "data: " ERROR "\n\n", false), CHAOS_EVENT);
    assert_int_equal(stream(3, "data: " ERROR "\n\n", true), CHAOS_EVENT_ENDED);
    assert_int_equal(stream(3, "", false), CHAOS_CUT);
    assert_int_equal(stream(3, "", true), CHAOS_LIE);
    assert_int_equal(stream(3, DONE, true), CHAOS_LIE);
    assert_int_equal(stream(all, DONE DONE, true), CHAOS_LIE);
    assert_int_equal(stream(all, DONE "data: " ERROR "\n\n", false), CHAOS_LIE);
    assert_int_equal(stream(3, "data: " ERROR "\n\n" DONE, false), CHAOS_LIE);
    assert_int_equal(stream(3, "data: " ERROR "\n\ndata: {}\n\n", false), CHAOS_LIE);
    assert_int_equal(stream(all, DONE "data: x", true), CHAOS_LIE);
}

static enum chaos_outcome whole(unsigned status, const char *text, bool clean, char code[48])
{
    struct chaos_reply reply = {.status = status};
    struct chaos_seen seen = {.answer = str_of(text), .mark = MARK, .clean = clean};
    enum chaos_outcome o = chaos_answer_judge(&seen, &reply);

    if (code)
        memcpy(code, reply.code, sizeof(reply.code));
    return o;
}

static void test_whole_answers(void **state)
{
    struct buf b = buf_make(1 << 16);
    char code[48];

    (void)state;
    chaos_answer_whole(MARK, &b);
    assert_int_equal(whole(200, buf_cstr(&b), true, NULL), CHAOS_GOOD);
    assert_int_equal(whole(200, buf_cstr(&b), false, NULL), CHAOS_CUT);
    assert_int_equal(whole(200, "{}", true, NULL), CHAOS_AS_SAID);
    assert_int_equal(whole(0, "", true, NULL), CHAOS_NOTHING);
    assert_int_equal(whole(502, ERROR, true, code), CHAOS_ERROR);
    assert_string_equal(code, "c");
    assert_int_equal(whole(502, ERROR, false, NULL), CHAOS_BARE);
    assert_int_equal(whole(502, "<html>", true, NULL), CHAOS_BARE);
    assert_int_equal(whole(503, "{\"error\":\"x\"}", true, NULL), CHAOS_BARE);
    assert_int_equal(whole(503,
                           "{\"error\":{\"code\":\"engine_503\",\"message\":\"m\",\"type\":\"t\"}}",
                           true, NULL),
                     CHAOS_OWN);
    buf_fini(&b);
}

/* Another request's answer, a stream begun twice, pieces out of order. */
static void test_what_was_said(void **state)
{
    struct buf b = buf_make(1 << 16);

    (void)state;
    chaos_answer_whole(MARK, &b);
    assert_true(chaos_answer_said(buf_str(&b), MARK));
    assert_false(chaos_answer_said(buf_str(&b), MARK + 1));
    assert_false(chaos_answer_said(STR_NONE, MARK));
    assert_false(chaos_answer_said(STR("alpha bravo charlie mark-000123 delta echo"), MARK));
    assert_true(chaos_answer_said(STR("alpha bravo mark-000123 charlie delta echo"), MARK));
    assert_false(
        chaos_answer_said(STR("alpha bravo alpha bravo mark-000123 charlie delta echo"), MARK));
    buf_fini(&b);
}

/* What every row must have, so that playing it says something. */
static void test_the_table(void **state)
{
    size_t n;
    const struct chaos_row *rows = chaos_table(&n);

    (void)state;
    assert_true(n >= 16);
    for (size_t i = 0; i < n; i++) {
        const struct chaos_row *r = &rows[i];

        assert_true(r->name && r->does && r->sees && r->ms > 0);
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(r->name, rows[j].name);
        assert_true(chaos_answer_truthful(r->want) || r->want == CHAOS_AS_SAID);
        assert_true(r->script.act[0] || r->event != CHAOS_NO_EVENT);
        assert_true(!r->solo || r->event == CHAOS_NO_EVENT);
        if (r->want == CHAOS_GOOD && r->attempts == 2 && !r->solo && !r->kept)
            assert_true(r->requests || r->script.act[1]); /* somebody is left to answer */
    }
}

static void test_the_report(void **state)
{
    size_t n;
    struct chaos_result r[3] = {{.row = chaos_table(&n), .verdict = CHAOS_PASS},
                                {.row = chaos_table(&n), .verdict = CHAOS_SAFE, .missed = true},
                                {.row = chaos_table(&n), .verdict = CHAOS_FAIL, .note = "n"}};
    struct buf out = buf_make(1 << 16);

    (void)state;
    r[0].seen[CHAOS_GOOD] = 2;
    chaos_report_sum(r, 3, &out);
    assert_str_is(buf_str(&out), "1 pass, 1 safe, 1 fail\n");
    buf_clear(&out);
    chaos_report_line(&r[0], &out);
    assert_true(str_ends(buf_str(&out), STR("2 x the good answer\n")));
    buf_clear(&out);
    chaos_report_json(r, 3, &out);
    assert_true(str_starts(buf_str(&out), STR("{\"fail\":1,\"missed\":1,\"pass\":1,\"rows\":[{")));
    assert_true(str_ends(buf_str(&out), STR("],\"safe\":1}\n")));
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_streams),       cmocka_unit_test(test_whole_answers),
        cmocka_unit_test(test_what_was_said), cmocka_unit_test(test_the_table),
        cmocka_unit_test(test_the_report),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
