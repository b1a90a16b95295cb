/* SPDX-License-Identifier: Apache-2.0
 *
 * help_test.c - the texts for the terminal: every flag and setting has its line with what stands
 * for its value, its bounds' words and its default; examples are there; nothing is wider than a
 * terminal.
 */
#include "pages_rig.h"

struct check {
    const struct command *command;
    const struct buf *page;
    size_t flags;
};

/* "  --log-level WORD" begins a line, and the first words of its sentence are there. */
static int has_line(void *ctx, struct str path, const struct option *o)
{
    struct check *c = ctx;
    struct buf line = buf_make(1000);
    const char *value = help_value_name(o);

    buf_text(&line, o->letter ? "\n  -" : "\n  --");
    if (o->letter)
        buf_printf(&line, "%s, --", o->letter);
    option_flag_name(path, &line);
    if (value)
        buf_printf(&line, " %s", value);
    assert_contains(c->page, buf_cstr(&line));
    c->flags++;
    buf_fini(&line);
    return 0;
}

static void assert_narrow(struct str page)
{
    while (page.n) {
        struct str line = str_cut(&page, '\n');

        if (line.n > 80 && str_find(str_trim(line), ' ') < str_trim(line).n)
            fail_msg("%zu columns: %.*s", line.n, STR_ARGS(line));
    }
}

static void test_every_flag_of_every_command(void **state)
{
    (void)state;
    for (const struct command *const *c = role_list(); *c; c++) {
        struct buf page = buf_make(1 << 20);
        struct check check = {.command = *c, .page = &page};

        help_text(*c, pages_settings(*c), &page);
        assert_int_equal(buf_status(&page), 0);
        (void)help_each_flag(*c, pages_settings(*c), has_line, &check);
        assert_true((*c)->flags == NULL || check.flags > 0);
        assert_contains(&page, "--version");
        assert_contains(&page, "-h, --help");
        assert_true(str_starts(buf_str(&page), STR("usage: inferd ")));
        for (size_t i = 0; (*c)->examples && (*c)->examples[i]; i += 2)
            assert_contains(&page, (*c)->examples[i]);
        assert_narrow(buf_str(&page));
        buf_fini(&page);
    }
}

static void test_commands_have_examples(void **state)
{
    (void)state;
    for (const struct command *const *c = role_list(); *c; c++) {
        size_t n = 0;

        if ((*c)->hidden)
            continue;
        while ((*c)->examples && (*c)->examples[n])
            n++;
        if (n == 0 || n % 2)
            fail_msg("inferd %s: examples come in pairs, and there is at least one", (*c)->name);
        for (size_t i = 0; i < n; i += 2)
            if (!strstr((*c)->examples[i], "inferd"))
                fail_msg("inferd %s: \"%s\"", (*c)->name, (*c)->examples[i]);
        assert_false(str_ends(str_of((*c)->summary), STR(".")));
    }
}

static void test_overview_lists_what_is_not_hidden(void **state)
{
    struct buf page = buf_make(1 << 20), line = buf_make(1000);

    (void)state;
    help_overview(role_list(), &page);
    for (const struct command *const *c = role_list(); *c; c++) {
        buf_clear(&line);
        buf_printf(&line, "\n  %s ", (*c)->name);
        assert_true((*c)->hidden == (str_find_str(buf_str(&page), buf_str(&line)) == page.n));
    }
    assert_narrow(buf_str(&page));
    buf_fini(&page);
    buf_fini(&line);
}

static int has_sentence(void *ctx, struct str path, const struct option *o)
{
    (void)ctx;
    /* a sentence or more, with its full stop, and without what pages would have to guess at */
    if (!str_ends(str_of(o->text), STR(".")) || strstr(o->text, "  ") || strchr(o->text, '\n'))
        fail_msg("%.*s: \"%s\"", STR_ARGS(path), o->text);
    return 0;
}

static void test_rows_are_sentences(void **state)
{
    (void)state;
    for (const struct command *const *c = role_list(); *c; c++)
        (void)help_each_flag(*c, pages_settings(*c), has_sentence, NULL);
}

static void test_sentences(void **state)
{
    static const char *const words[] = {NULL, "a", "b"};
    static const struct {
        struct option row;
        const char *text;
    } rows[] = {
        {{.type = OPTION_U32, .dflt = "5", .text = "One."}, "One. [5]"},
        {{.type = OPTION_U32, .dflt = "UNSET", .text = "One."}, "One."},
        {{.type = OPTION_STR, .dflt = "REQUIRED", .text = "One."}, "One. Required."},
        {{.type = OPTION_STR, .dflt = "\"x\"", .text = "One."}, "One. [x]"},
        {{.type = OPTION_BOOL, .dflt = "false", .text = "One."}, "One."},
        {{.type = OPTION_LIST, .dflt = "UNSET", .text = "One."}, "One. May be repeated."},
        {{.type = OPTION_WORD, .dflt = "a", .text = "One.", .words = words, .words_n = 3},
         "One. One of a, b. [a]"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf out = buf_make(1000);

        help_sentences(&rows[i].row, &out);
        assert_str_is(buf_str(&out), rows[i].text);
        buf_fini(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_flag_of_every_command),
        cmocka_unit_test(test_commands_have_examples),
        cmocka_unit_test(test_overview_lists_what_is_not_hidden),
        cmocka_unit_test(test_rows_are_sentences),
        cmocka_unit_test(test_sentences),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
