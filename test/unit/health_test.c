/* SPDX-License-Identifier: Apache-2.0
 *
 * health_test.c - from outcomes of tests to one word.
 */
#include "unit.h"

#include "fleet/health.h"

/* One letter an outcome: '.' alive, 'l' loading, 's' silent, 'f' failed, 'a' absent. True when the
 * last of them changed the word. */
static bool feed(struct health *h, const char *outcomes)
{
    bool changed = false;

    for (; *outcomes; outcomes++) {
        enum health_outcome o = *outcomes == '.'   ? HEALTH_ALIVE
                                : *outcomes == 'l' ? HEALTH_LOADING
                                : *outcomes == 's' ? HEALTH_SILENT
                                : *outcomes == 'f' ? HEALTH_FAILED
                                                   : HEALTH_ABSENT;

        changed = health_note(h, o, 3, 2);
    }
    return changed;
}

static void test_three_in_a_row_eject(void **state)
{
    static const char *const harmless[] = {"",      "f",      "ff",      "a",        "ff.ff", ".ss",
                                           "fs.ll", "af.af.", "....ff.", "lf.sa.ff", "f.f.f", NULL};

    (void)state;
    for (unsigned i = 0; harmless[i]; i++) {
        struct health h = {.word = CELL_NO_WORD};

        feed(&h, harmless[i]);
        assert_true(health_is_good(&h));
        feed(&h, harmless[i][0] == '\0' ? "ff" : ".ff");
        assert_true(health_is_good(&h));
        assert_true(feed(&h, "f"));
        assert_false(health_is_good(&h));
        assert_int_equal(h.word, CELL_BAD);
        assert_int_equal(h.failures, 3);
    }
}

static void test_two_in_a_row_return(void **state)
{
    struct health h = {.word = CELL_NO_WORD};

    (void)state;
    feed(&h, "aaa");
    assert_false(feed(&h, "."));
    assert_false(feed(&h, "a"));
    assert_false(feed(&h, "."));
    assert_int_equal(h.word, CELL_BAD);
    assert_true(feed(&h, "."));
    assert_int_equal(h.word, CELL_GOOD);
    assert_false(feed(&h, "."));
    assert_false(feed(&h, "ff"));
    assert_true(feed(&h, "f"));
}

/* The first answer of one that was never heard is a word. */
static void test_the_first_answer(void **state)
{
    struct health h = {.word = CELL_NO_WORD};

    (void)state;
    assert_true(health_is_good(&h));
    assert_false(health_is_doubtful(&h));
    assert_true(feed(&h, "."));
    assert_int_equal(h.word, CELL_GOOD);
}

/* Which word, the last failure says, also while it is out. */
static void test_the_word_follows_the_last_failure(void **state)
{
    static const struct {
        const char *outcomes;
        enum cell_verdict word;
    } rows[] = {{"ffl", CELL_COMING},  {"lla", CELL_BAD},       {"sss", CELL_COMING},
                {"aaas", CELL_COMING}, {"aaasf", CELL_BAD},     {"lll.", CELL_COMING},
                {"lll.a", CELL_BAD},   {"aaa.l.", CELL_COMING}, {"aaa.l..", CELL_GOOD}};

    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        struct health h = {.word = CELL_NO_WORD};

        feed(&h, rows[i].outcomes);
        assert_int_equal(h.word, rows[i].word);
    }
}

static void test_doubt(void **state)
{
    struct health h = {.word = CELL_NO_WORD};

    (void)state;
    feed(&h, ".f");
    assert_true(health_is_doubtful(&h));
    feed(&h, ".");
    assert_false(health_is_doubtful(&h));
    feed(&h, "fff.");
    assert_true(health_is_doubtful(&h));
    feed(&h, ".");
    assert_false(health_is_doubtful(&h));
}

static void test_what_a_babysitter_says(void **state)
{
    static const struct {
        unsigned status;
        const char *body;
        enum health_outcome outcome;
    } rows[] = {
        {200, "", HEALTH_ALIVE},
        {204, "", HEALTH_ALIVE},
        {299, "{}", HEALTH_ALIVE},
        {199, "", HEALTH_FAILED},
        {300, "", HEALTH_FAILED},
        {404, "{\"infinilm_server_ready\":true}", HEALTH_FAILED},
        {429, "", HEALTH_FAILED},
        {500, "", HEALTH_FAILED},
        {503, "{\"infinilm_server_ready\":true}", HEALTH_LOADING},
        {200, "{\"infinilm_server_ready\":true,\"status\":\"healthy\"}", HEALTH_ALIVE},
        {200, "{\"infinilm_server_ready\":false}", HEALTH_LOADING},
        {204, " {\"a\":[1,{}], \"infinilm_server_ready\" : false }\n", HEALTH_LOADING},
        {200, "{\"infinilm_server_ready\":0}", HEALTH_ALIVE},
        {200, "{\"infinilm_server_ready\":\"false\"}", HEALTH_ALIVE},
        {200, "{\"a\":{\"infinilm_server_ready\":false}}", HEALTH_ALIVE},
        {200, "[{\"infinilm_server_ready\":false}]", HEALTH_ALIVE},
        {200, "{\"infinilm_server_ready\":false", HEALTH_ALIVE},
        {200, "\"infinilm_server_ready\":false", HEALTH_ALIVE},
        {200, "not ready", HEALTH_ALIVE},
    };

    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++)
        assert_int_equal(health_strictly(rows[i].status, str_of(rows[i].body)), rows[i].outcome);
}

static void test_when_a_bad_one_is_asked_again(void **state)
{
    static const uint32_t ms[] = {1000, 1000, 2000, 4000, 8000, 16000, 30000, 30000};

    (void)state;
    for (uint32_t i = 0; i < ARRAY_LEN(ms); i++)
        assert_int_equal(health_again_ms(&(struct health){.failures = i}, 30000), ms[i]);
    assert_int_equal(health_again_ms(&(struct health){.failures = 1}, 500), 500);
    assert_int_equal(health_again_ms(&(struct health){.failures = 3}, 3000), 3000);
    assert_int_equal(health_again_ms(&(struct health){.failures = UINT32_MAX}, 86400000), 86400000);
}

static void test_every_outcome_has_a_text(void **state)
{
    (void)state;
    for (unsigned o = HEALTH_ALIVE; o <= HEALTH_ABSENT; o++)
        assert_true(strlen(health_text((enum health_outcome)o)) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_three_in_a_row_eject),
        cmocka_unit_test(test_two_in_a_row_return),
        cmocka_unit_test(test_the_first_answer),
        cmocka_unit_test(test_the_word_follows_the_last_failure),
        cmocka_unit_test(test_doubt),
        cmocka_unit_test(test_what_a_babysitter_says),
        cmocka_unit_test(test_when_a_bad_one_is_asked_again),
        cmocka_unit_test(test_every_outcome_has_a_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
